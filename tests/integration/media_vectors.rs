//! Streams that others made: the same access units as ffprobe finds, and our streams read by ffprobe.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use gantry::id::Ssrc;
use gantry::media::codec::annexb;
use gantry::media::frame::{Codec, Frame, Track, TrackId, nals};
use gantry::media::ingest::{Config, Fact, Ingest, Output, Sink};
use gantry::media::ps::StreamMap;
use gantry::media::ps::demux::{self, Demux, Pes};
use gantry::media::ps::mux::Mux;
use gantry::media::rfc4571::{self, Framer};
use gantry::media::rtp::{self, Packet};

use super::vectors::folder;

const SSRC: Ssrc = Ssrc(100_000_001);

/// Everything that came out.
#[derive(Debug, Default)]
struct Seen {
    tracks: Vec<Track>,
    pictures: Vec<Frame>,
    sounds: Vec<Frame>,
    facts: Vec<Fact>,
}

impl Sink for Seen {
    fn put(&mut self, output: Output) {
        match output {
            Output::Track(track) => self.tracks.push(track),
            Output::Frame(frame) if frame.track == TrackId::Video => self.pictures.push(frame),
            Output::Frame(frame) => self.sounds.push(frame),
            Output::Fact(fact) => self.facts.push(fact),
        }
    }
}

/// Takes a program stream and keeps nothing.
struct Nothing;

impl demux::Sink for Nothing {
    fn map(&mut self, _: &StreamMap) {}
    fn pes(&mut self, _: Pes) {}
    fn payload(&mut self, _: u8, _: &[u8]) {}
    fn pes_end(&mut self, _: u8) {}
    fn hole(&mut self, _: u8) {}
    fn error(&mut self, _: demux::Error) {}
}

fn run(program: &str, args: &[&str]) -> Option<Vec<u8>> {
    match Command::new(program).args(args).output() {
        Ok(output) => Some(output.stdout),
        Err(_) => {
            println!("skipped, there is no {program}");
            None
        }
    }
}

#[derive(Debug)]
struct Probed {
    pts: Option<i64>,
    size: usize,
    key: bool,
}

/// What ffprobe finds in the first stream of a kind (`v`, `a`).
fn probe(file: &str, kind: &str) -> Option<Vec<Probed>> {
    let args = [
        "-v",
        "error",
        "-select_streams",
        kind,
        "-show_entries",
        "packet=pts,size,flags",
        "-of",
        "compact=p=0:nk=1",
        file,
    ];
    let text = String::from_utf8(run("ffprobe", &args)?).expect("ASCII");
    let read = |line: &str| {
        let mut fields = line.split('|');
        Some(Probed {
            pts: fields.next()?.parse().ok(),
            size: fields.next()?.parse().ok()?,
            key: fields.next()?.starts_with('K'),
        })
    };
    Some(text.lines().filter_map(read).collect())
}

/// The program stream in RTP packets without markers or times of their own, as a file has none.
fn ingest_file(bytes: &[u8]) -> Seen {
    let mut ingest = Ingest::new(Config::default());
    let mut seen = Seen::default();
    let mut writer = rtp::Writer::new(SSRC, 96, 0);
    let now = Instant::now();
    writer.write(bytes, 0, 1400, &mut |p| {
        let mut p = p.to_vec();
        p[1] &= 0x7f;
        ingest.push(now, &p, &mut seen);
    });
    ingest.finish(&mut seen);
    seen
}

/// All slices of a stream, in order.
fn slices<'a>(codec: Codec, nals: impl Iterator<Item = &'a [u8]>) -> Vec<Vec<u8>> {
    let is_slice = |nal: &[u8]| match codec {
        Codec::H265 => nal[0] >> 1 & 0x3f < 32,
        _ => matches!(nal[0] & 0x1f, 1..=5),
    };
    nals.filter(|n| is_slice(n)).map(<[u8]>::to_vec).collect()
}

fn same_as_ffprobe(file: &Path, codec: Codec, format: &str, seen: &Seen) {
    let name = file.to_str().expect("UTF-8");
    let Some(want) = probe(name, "v") else {
        return;
    };
    assert!(want.len() > 100);
    assert_eq!(seen.pictures.len(), want.len());
    let (mut ours, mut theirs) = (None, None);
    for (n, (got, want)) in seen.pictures.iter().zip(&want).enumerate() {
        assert_eq!(got.key, want.key, "picture {n}");
        assert!(!got.damaged);
        // Theirs has parameter sets, SEI and delimiters too, and three or four bytes a start code.
        assert!(got.payload.len() <= want.size + 4, "picture {n}");
        assert!(got.payload.len() + 2500 > want.size, "picture {n}");
        if let Some(pts) = want.pts {
            let (ours, theirs) = (*ours.get_or_insert(got.pts.0), *theirs.get_or_insert(pts));
            assert_eq!(got.pts.0 - ours, pts - theirs, "picture {n}");
        }
    }
    let args = [
        "-v", "error", "-i", name, "-map", "0:v", "-c", "copy", "-f", format, "-",
    ];
    let Some(elementary) = run("ffmpeg", &args) else {
        return;
    };
    let want = slices(codec, annexb::nals(&elementary));
    let got = slices(codec, seen.pictures.iter().flat_map(|f| nals(&f.payload)));
    assert!(got == want, "the slices are the same byte by byte");
}

fn same_sound_as_ffprobe(file: &Path, seen: &Seen) {
    let Some(want) = probe(file.to_str().expect("UTF-8"), "a") else {
        return;
    };
    assert!(want.len() > 100);
    assert_eq!(seen.sounds.len(), want.len());
    let first = (seen.sounds[0].pts.0, want[0].pts.expect("a time"));
    for (n, (got, want)) in seen.sounds.iter().zip(&want).enumerate() {
        assert_eq!(got.payload.len() + 7, want.size, "frame {n}");
        let theirs = want.pts.expect("every frame has one") - first.1;
        // Theirs are rounded from a time base of their own.
        assert!((got.pts.0 - first.0 - theirs).abs() <= 2, "frame {n}");
    }
}

#[test]
fn the_program_stream_of_gstreamer() {
    let Some(dir) = folder("media") else {
        return;
    };
    let file = dir.join("gst-h264.ps");
    let seen = ingest_file(&std::fs::read(&file).expect("readable"));
    same_as_ffprobe(&file, Codec::H264, "h264", &seen);
    let video = seen.tracks[0].video().expect("a picture");
    assert_eq!(
        (video.width, video.height, video.fps_milli),
        (768, 320, Some(25_000))
    );
}

#[test]
fn the_program_stream_of_srs_bench() {
    let Some(dir) = folder("media") else {
        return;
    };
    let file = dir.join("srsbench-h264-aac.ps");
    let seen = ingest_file(&std::fs::read(&file).expect("readable"));
    same_as_ffprobe(&file, Codec::H264, "h264", &seen);
    same_sound_as_ffprobe(&file, &seen);
    assert_eq!(seen.tracks.len(), 2);
}

#[test]
fn a_program_stream_without_map_is_known_by_its_bytes() {
    let Some(dir) = folder("media") else {
        return;
    };
    let file = dir.join("ffmpeg-vob-h265-nopsm.mpg");
    let seen = ingest_file(&std::fs::read(&file).expect("readable"));
    same_as_ffprobe(&file, Codec::H265, "hevc", &seen);
    let video = seen.tracks[0].video().expect("a picture");
    assert_eq!(seen.tracks[0].codec, Codec::H265);
    assert_eq!(
        (video.width, video.height, video.fps_milli),
        (768, 320, Some(25_000))
    );
}

#[test]
fn what_is_mpeg_2_is_said_to_be_unsupported() {
    let Some(dir) = folder("media") else {
        return;
    };
    let file = dir.join("ffmpeg-vob-mpeg2-mp2.mpg");
    let seen = ingest_file(&std::fs::read(&file).expect("readable"));
    assert_eq!((seen.pictures.len(), seen.sounds.len()), (0, 0));
    for fact in [
        Fact::UnsupportedVideo { stream_type: 2 },
        Fact::UnsupportedAudio { stream_type: 3 },
    ] {
        assert!(seen.facts.contains(&fact), "{fact:?} in {:?}", seen.facts);
    }
}

/// The packets of an rtpdump file (rtptools): a line, 16 bytes, then records of length, packet length and time.
fn rtpdump(bytes: &[u8]) -> Vec<&[u8]> {
    let line = bytes.iter().position(|b| *b == b'\n').expect("a line");
    let mut rest = &bytes[line + 1 + 16..];
    let mut packets = Vec::new();
    while rest.len() >= 8 {
        let len = usize::from(u16::from_be_bytes([rest[0], rest[1]]));
        packets.push(&rest[8..len]);
        rest = &rest[len..];
    }
    packets
}

#[test]
fn the_packets_of_a_device_over_tcp_and_in_order() {
    let Some(dir) = folder("media") else {
        return;
    };
    let dump = std::fs::read(dir.join("srsbench-tcp-h264-aac.rtpdump")).expect("readable");
    let ps = dir.join("srsbench-h264-aac.ps");
    let packets = rtpdump(&dump);
    assert!(packets.len() > 400);
    let mut tcp = Vec::new();
    packets
        .iter()
        .for_each(|p| rfc4571::write_frame(p, &mut tcp));
    for step in [1, 777, 65_536] {
        let mut framer = Framer::new();
        let mut ingest = Ingest::new(Config {
            ssrc: None,
            any_ssrc: false,
            reliable: true,
            ..Default::default()
        });
        let mut seen = Seen::default();
        let now = Instant::now();
        for read in tcp.chunks(step) {
            framer
                .push(read, &mut |p| ingest.push(now, p, &mut seen))
                .expect("in step");
        }
        ingest.finish(&mut seen);
        let stats = ingest.stats(now);
        assert_eq!((stats.packets, stats.lost), (packets.len() as u64, 0));
        assert_eq!(
            (framer.resyncs(), stats.ps_errors, stats.invalid),
            (0, 0, 0)
        );
        // It is the same clip as the program stream beside it.
        same_as_ffprobe(&ps, Codec::H264, "h264", &seen);
        same_sound_as_ffprobe(&ps, &seen);
    }
}

#[test]
fn every_cut_of_a_real_stream_gives_the_same_frames() {
    let Some(dir) = folder("media") else {
        return;
    };
    let bytes = std::fs::read(dir.join("srsbench-h264-aac.ps")).expect("readable");
    let bytes = &bytes[..20_000];
    let read = |cuts: &[usize]| {
        let mut ingest = Ingest::new(Config::default());
        let mut seen = Seen::default();
        let mut writer = rtp::Writer::new(SSRC, 96, 0);
        let mut from = 0;
        for to in cuts.iter().copied().chain([bytes.len()]) {
            writer.write(&bytes[from..to], 0, 65_000, &mut |p| {
                let mut p = p.to_vec();
                p[1] &= 0x7f;
                ingest.push(Instant::now(), &p, &mut seen);
            });
            from = to;
        }
        ingest.finish(&mut seen);
        let frames = seen.pictures.iter().chain(&seen.sounds);
        frames
            .map(|f| (f.pts, f.payload.clone()))
            .collect::<Vec<_>>()
    };
    let want = read(&[]);
    assert!(want.len() > 10);
    for cut in 1..bytes.len() {
        assert!(read(&[cut]) == want, "cut at {cut}");
    }
    let all: Vec<usize> = (1..bytes.len()).collect();
    assert!(read(&all) == want, "byte by byte");
}

/// What the index of the packets of a real camera says of each, as counts: (units read, pieces of sound, errors).
#[test]
fn the_packets_of_a_real_camera() {
    let Some(dir) = folder("ps-packets") else {
        return;
    };
    // Program stream pieces, each on its own: a cut header, payload alone, junk before a pack start code.
    for (name, units) in [
        ("PsPacketDecodePartialPesHeader-1.ps", 0),
        ("PsPacketDecodePartialPesHeader2-1.ps", 0),
        ("PsPacketDecodeRecover-1.ps", 0),
        ("PsPacketDecodeRecover-2.ps", 0),
        ("PsPacketDecodeRecover-4.ps", 1),
        ("PsRecoverLimit2-1.ps", 0),
        ("PsSkipUtilPack-1.rtp", 0),
        ("PsSkipUtilPack-2.ps", 0),
        ("PsSkipUtilPack-4.ps", 0),
        ("PsSkipUtilPack-5.ps", 0),
        ("PsPacketDecodeInvalidStartCode-1.ps", 0),
    ] {
        let bytes = std::fs::read(dir.join(name)).expect("readable");
        let mut demux = Demux::new();
        demux.push(&bytes, &mut Nothing);
        assert_eq!(demux.units(), units, "{name}");
        // Junk is skipped up to the pack start code: the rest of a pack header makes a unit of it.
        if name.starts_with("PsSkip") {
            demux.push(&[0x44, 0, 4, 0, 4, 1, 0, 0x10, 3, 0xf8], &mut Nothing);
            assert_eq!(demux.units(), 1, "{name}");
        }
    }
    // Whole RTP packets: a PES of 110 bytes with one ADTS frame of 100.
    for name in [
        "PsPacketDecodeRegularMessage-1.rtp",
        "PsPacketDecodeRegularMessage2-1.rtp",
    ] {
        let bytes = std::fs::read(dir.join(name)).expect("readable");
        let packet = Packet::parse(&bytes).expect("valid");
        assert_eq!(packet.ssrc(), Ssrc(0x0beb_d135));
        assert_eq!((packet.payload_type(), packet.sequence()), (96, 31_916));
        assert_eq!(packet.timestamp(), 95_652_000);
        let mut ingest = Ingest::new(Config::default());
        let mut seen = Seen::default();
        // Without a map one packet is not enough to say what it is.
        let mut again = bytes.clone();
        ingest.push(Instant::now(), &bytes, &mut seen);
        again[2..4].copy_from_slice(&31_917u16.to_be_bytes());
        ingest.push(Instant::now(), &again, &mut seen);
        assert_eq!(seen.sounds.len(), 1, "{name}");
        assert_eq!(seen.sounds[0].payload.len(), 93);
        assert_eq!(seen.tracks[0].audio().map(|a| a.sample_rate), Some(44_100));
    }
}

#[test]
fn ffprobe_reads_what_our_muxer_makes() {
    let Some(dir) = folder("media") else {
        return;
    };
    for (name, codec, format) in [
        ("srsbench-h264-aac.ps", "h264", "h264"),
        ("ffmpeg-vob-h265-nopsm.mpg", "hevc", "hevc"),
    ] {
        let seen = ingest_file(&std::fs::read(dir.join(name)).expect("readable"));
        let audio = seen.tracks.iter().find(|t| t.id == TrackId::Audio);
        let video = seen
            .tracks
            .iter()
            .find(|t| t.id == TrackId::Video)
            .expect("a picture");
        let mut mux = Mux::new(Some(video), audio);
        let mut frames: Vec<&Frame> = seen.pictures.iter().chain(&seen.sounds).collect();
        frames.sort_by_key(|f| f.dts);
        let mut out = Vec::new();
        frames.iter().for_each(|f| mux.push(f, &mut out));
        let file = std::env::temp_dir().join(format!("gantry-{}-{name}", std::process::id()));
        std::fs::write(&file, &out).expect("room in the temporary folder");
        let made = ingest_file(&out);
        same_as_ffprobe(&file, video.codec, format, &made);
        let path = file.to_str().expect("UTF-8");
        let args = ["-v", "error", "-i", path, "-f", "null", "-"];
        if let Ok(output) = Command::new("ffmpeg").args(args).output() {
            let text = String::from_utf8_lossy(&output.stderr);
            // The H.265 file has reordered pictures and no times at all: what fills them is the decoding order.
            let mut complaints = text.lines().filter(|l| !l.contains("non monotonically"));
            assert_eq!(
                complaints.next(),
                None,
                "ffmpeg decodes {name} without complaint"
            );
        }
        let entries = [
            "-v",
            "error",
            "-show_entries",
            "stream=codec_name,width,sample_rate",
            "-of",
            "compact=p=0:nk=1",
            path,
        ];
        if let Some(text) = run("ffprobe", &entries) {
            let text = String::from_utf8_lossy(&text).into_owned();
            assert!(text.contains(&format!("{codec}|768")), "{text}");
            assert_eq!(text.contains("aac|44100"), audio.is_some(), "{text}");
        }
        std::fs::remove_file(&file).expect("it was just made");
        let want: Vec<_> = seen
            .pictures
            .iter()
            .map(|f| (f.key, f.payload.clone()))
            .collect();
        let got: Vec<_> = made
            .pictures
            .iter()
            .map(|f| (f.key, f.payload.clone()))
            .collect();
        assert!(want == got, "{name} survives");
        let step = |frames: &[Frame]| -> Vec<i64> {
            frames.iter().map(|f| f.pts.0 - frames[0].dts.0).collect()
        };
        assert_eq!(step(&made.pictures), step(&seen.pictures));
    }
}
