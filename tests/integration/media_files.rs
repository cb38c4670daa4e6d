//! Real elementary streams as tracks and frames, and the outside judges: ffprobe and ffmpeg.
//!
//! The splitters here are the tests' own, so that what they check does not check itself. Shared by tests and benches.
#![allow(dead_code)]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use gantry::media::frame::{AudioParams, Codec, Frame, Params, Track, TrackId, VideoParams};
use gantry::time::MediaTime;

/// A track and its frames, in decoding order.
pub struct Source {
    pub track: Track,
    pub frames: Vec<Frame>,
}

/// The file of the vectors, if they are there.
pub fn vector(name: &str) -> Option<PathBuf> {
    let root = std::env::var_os("GANTRY_VECTORS").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/vectors"),
        PathBuf::from,
    );
    let path = root.join("media").join(name);
    path.exists().then_some(path)
}

pub fn has_tool(name: &str) -> bool {
    Command::new(name)
        .arg("-version")
        .output()
        .or_else(|_| Command::new(name).arg("--version").output())
        .is_ok()
}

/// A folder that goes when the test ends.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("gantry-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("the temporary folder is writable");
        Folder(path)
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub fn write(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.file(name);
        std::fs::write(&path, content).expect("the temporary folder is writable");
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Runs a tool; both of its outputs must be there, and it must succeed.
pub fn run(tool: &str, args: &[&str]) -> (String, String) {
    let output = Command::new(tool).args(args).output().expect(tool);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        output.status.success(),
        "{tool} {args:?}: {}",
        text(&output.stderr)
    );
    (text(&output.stdout), text(&output.stderr))
}

/// A made picture: moving pattern, 25 frames a second, a key frame each second, no reordering, as a camera sends it.
pub fn make_video(folder: &Folder, codec: Codec, seconds: u32, size: &str, fps: u32) -> PathBuf {
    let (encoder, options, suffix) = match codec {
        Codec::H264 => (
            "libx264",
            ["-tune", "zerolatency", "-profile:v", "main"],
            "h264",
        ),
        _ => (
            "libx265",
            [
                "-tune",
                "zerolatency",
                "-x265-params",
                "log-level=none:repeat-headers=1",
            ],
            "h265",
        ),
    };
    let path = folder.file(&format!("made.{suffix}"));
    let source = format!("testsrc2=size={size}:rate={fps}:duration={seconds}");
    let gop = fps.to_string();
    let mut args = vec![
        "-v", "error", "-y", "-f", "lavfi", "-i", &source, "-pix_fmt", "yuv420p", "-c:v", encoder,
    ];
    args.extend(options);
    args.extend(["-preset", "ultrafast", "-g", &gop, "-bf", "0"]);
    args.push(path.to_str().expect("a plain path"));
    run("ffmpeg", &args);
    path
}

/// An Annex B stream at a fixed rate. Presentation order and size come from ffprobe.
pub fn video(codec: Codec, path: &Path, fps: i64) -> Source {
    let bytes = Bytes::from(std::fs::read(path).expect("a readable stream"));
    let mut params = VideoParams::default();
    let mut frames: Vec<Vec<Bytes>> = Vec::new();
    let mut picture_done = true;
    for nal in annexb(&bytes) {
        let (kind, first_slice) = match codec {
            Codec::H264 => (
                nal[0] & 0x1f,
                matches!(nal[0] & 0x1f, 1..=5) && nal[1] & 0x80 != 0,
            ),
            _ => (
                nal[0] >> 1 & 0x3f,
                nal[0] >> 1 & 0x3f < 32 && nal[2] & 0x80 != 0,
            ),
        };
        match (codec, kind) {
            (Codec::H264, 7) | (Codec::H265, 33) => params.sps = nal,
            (Codec::H264, 8) | (Codec::H265, 34) => params.pps = nal,
            (Codec::H265, 32) => params.vps = Some(nal),
            (Codec::H264, 9) | (Codec::H265, 35) => {}
            _ => {
                if first_slice && picture_done {
                    frames.push(Vec::new());
                }
                let slice = match codec {
                    Codec::H264 => kind <= 5,
                    _ => kind < 32,
                };
                // What is not a slice opens the next picture.
                if !slice && picture_done {
                    frames.push(Vec::new());
                    picture_done = false;
                } else if slice {
                    picture_done = true;
                }
                frames.last_mut().expect("a picture was opened").push(nal);
            }
        }
    }
    let (order, width, height) = display_order(path, frames.len());
    params.width = width;
    params.height = height;
    let ticks = 90_000 / fps;
    let start = Instant::now();
    let frames = frames
        .into_iter()
        .enumerate()
        .map(|(n, nals)| Frame {
            track: TrackId::Video,
            dts: MediaTime(n as i64 * ticks),
            pts: MediaTime(order[n] * ticks),
            key: nals.iter().any(|nal| match codec {
                Codec::H264 => nal[0] & 0x1f == 5,
                _ => (16..=21).contains(&(nal[0] >> 1 & 0x3f)),
            }),
            damaged: false,
            payload: canonical(&nals),
            received: start,
        })
        .collect();
    Source {
        track: Track {
            id: TrackId::Video,
            codec,
            params: Arc::new(Params::Video(params)),
        },
        frames,
    }
}

pub fn canonical(nals: &[Bytes]) -> Bytes {
    let mut out = Vec::new();
    for nal in nals {
        out.extend_from_slice(&(nal.len() as u32).to_be_bytes());
        out.extend_from_slice(nal);
    }
    out.into()
}

fn annexb(bytes: &Bytes) -> Vec<Bytes> {
    let starts: Vec<usize> = (0..bytes.len().saturating_sub(2))
        .filter(|at| bytes[*at..].starts_with(&[0, 0, 1]))
        .collect();
    let mut out = Vec::new();
    for (n, start) in starts.iter().enumerate() {
        let mut end = starts.get(n + 1).copied().unwrap_or(bytes.len());
        while end > start + 3 && bytes[end - 1] == 0 {
            end -= 1;
        }
        out.push(bytes.slice(start + 3..end));
    }
    out
}

/// For each coded picture its place in presentation, late enough that none is shown before it is decoded; and the size.
fn display_order(path: &Path, count: usize) -> (Vec<i64>, u32, u32) {
    let (text, _) = run(
        "ffprobe",
        &[
            "-v",
            "error",
            "-show_entries",
            "frame=pkt_pos,width,height",
            "-of",
            "csv=p=0",
            path.to_str().expect("a plain path"),
        ],
    );
    let rows: Vec<Vec<i64>> = text
        .lines()
        .map(|l| l.split(',').filter_map(|n| n.parse().ok()).collect())
        .filter(|row: &Vec<i64>| row.len() == 3)
        .collect();
    assert_eq!(rows.len(), count, "ffprobe and the splitter disagree");
    // Places in the file, in the order of presentation; their ranks are the order of decoding.
    let places: Vec<i64> = rows.iter().map(|row| row[0]).collect();
    let mut sorted = places.clone();
    sorted.sort_unstable();
    let coded: Vec<i64> = places
        .iter()
        .map(|place| sorted.partition_point(|p| p < place) as i64)
        .collect();
    let late = coded
        .iter()
        .enumerate()
        .map(|(shown, coded)| coded - shown as i64)
        .max()
        .unwrap_or(0);
    let mut order = vec![0; count];
    for (shown, coded) in coded.iter().enumerate() {
        order[*coded as usize] = shown as i64 + late;
    }
    (order, rows[0][1] as u32, rows[0][2] as u32)
}

/// An ADTS stream.
pub fn aac(path: &Path) -> Source {
    const RATES: [u32; 12] = [
        96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025,
        8_000,
    ];
    let bytes = Bytes::from(std::fs::read(path).expect("a readable stream"));
    let index = bytes[2] >> 2 & 0xf;
    let channels = (bytes[2] & 1) << 2 | bytes[3] >> 6;
    let rate = RATES[usize::from(index)];
    let config = vec![2 << 3 | index >> 1, index << 7 | channels << 3];
    let mut frames = Vec::new();
    let mut at = 0;
    let start = Instant::now();
    while at + 7 <= bytes.len() {
        let len = usize::from(bytes[at + 3] & 3) << 11
            | usize::from(bytes[at + 4]) << 3
            | usize::from(bytes[at + 5]) >> 5;
        let time = MediaTime(frames.len() as i64 * 1024 * 90_000 / i64::from(rate));
        frames.push(sound(time, bytes.slice(at + 7..at + len), start));
        at += len;
    }
    Source {
        track: audio_track(Codec::Aac, rate, channels, config.into()),
        frames,
    }
}

/// Bare G.711 in pieces of `piece` bytes.
pub fn g711(codec: Codec, bytes: Bytes, piece: usize) -> Source {
    let start = Instant::now();
    let frames = (0..bytes.len())
        .step_by(piece)
        .map(|at| {
            let time = MediaTime(at as i64 * 90_000 / 8000);
            sound(time, bytes.slice(at..(at + piece).min(bytes.len())), start)
        })
        .collect();
    Source {
        track: audio_track(codec, 8000, 1, Bytes::new()),
        frames,
    }
}

pub fn sound(time: MediaTime, payload: Bytes, received: Instant) -> Frame {
    Frame {
        track: TrackId::Audio,
        dts: time,
        pts: time,
        key: true,
        damaged: false,
        payload,
        received,
    }
}

pub fn audio_track(codec: Codec, sample_rate: u32, channels: u8, config: Bytes) -> Track {
    Track {
        id: TrackId::Audio,
        codec,
        params: Arc::new(Params::Audio(AudioParams {
            sample_rate,
            channels,
            config,
        })),
    }
}

/// Frames of several tracks as they would come, by decoding time.
pub fn interleave(sources: &[&[Frame]]) -> Vec<Frame> {
    let mut frames: Vec<Frame> = sources.iter().flat_map(|s| s.iter().cloned()).collect();
    frames.sort_by_key(|f| f.dts);
    frames
}
