//! Records at every speed in every output: HTTP-FLV, WS-FLV, HTTP fMP4, WS fMP4 and WHEP, side by side.
//!
//! What is judged is the time that stands in the media: how far two pictures lie apart for the viewer, against how far the
//! simulated recorder has them apart in its record. The clock of the wall decides nothing, so a slow machine only takes longer.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::flv::Flv;
use super::media_files::{Folder, has_tool, run};
use super::node::wait_until;
use super::playback::Rig;
use super::player::{HttpStream, WebSocket};
use super::whep::Client;

/// Between two pictures of the record, and between two key frames, in ms.
const PICTURE_MS: f64 = 40.0;
const KEY_FRAME_MS: f64 = 1_000.0;
/// Pictures at the speed of the record before anything is ordered.
const PICTURES_BEFORE: usize = 30;
/// What a viewer sees after each order, in ms of its own time, and how much of it may belong to what was before.
const SEEN_MS: f64 = 5_000.0;
const SETTLE_MS: f64 = 1_500.0;
/// How far sound may lie from the picture beside it.
const SOUND_OFF_MS: f64 = 1_000.0;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Output {
    HttpFlv,
    WsFlv,
    HttpFmp4,
    WsFmp4,
    Whep,
}

const OUTPUTS: [Output; 5] = [
    Output::HttpFlv,
    Output::WsFlv,
    Output::HttpFmp4,
    Output::WsFmp4,
    Output::Whep,
];

/// What a viewer was given.
#[derive(Default)]
struct Seen {
    /// When each picture is to be shown, in ms.
    pictures: Vec<f64>,
    /// How many pictures were before each piece of sound, and when it is to be heard if the output says so.
    sounds: Vec<(usize, Option<f64>)>,
    /// As a player would keep it.
    file: Vec<u8>,
}

impl Seen {
    fn last(&self) -> f64 {
        self.pictures.last().copied().unwrap_or(0.0)
    }

    fn sound(&mut self, time: Option<f64>) {
        self.sounds.push((self.pictures.len(), time));
    }
}

/// FLV with H.264 and any sound.
#[derive(Default)]
struct FlvReader(Flv);

impl FlvReader {
    fn push(&mut self, bytes: &[u8], seen: &mut Seen) {
        seen.file.extend_from_slice(bytes);
        self.0.push(bytes);
        for tag in self.0.take() {
            let time = f64::from(tag.time_ms);
            match (tag.kind, tag.body.get(1)) {
                (9, Some(1)) => seen.pictures.push(time),
                // AAC's configuration is no sound.
                (8, Some(0)) if tag.body[0] >> 4 == 10 => {}
                (8, _) => seen.sound(Some(time)),
                _ => {}
            }
        }
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let word = bytes[at..at + 4].try_into().expect("four bytes");
    u32::from_be_bytes(word)
}

/// Type and content of a box.
type Boxed<'a> = (&'a [u8], &'a [u8]);

/// The boxes that these bytes begin with, and how many bytes are whole boxes.
fn boxes(bytes: &[u8]) -> (Vec<Boxed<'_>>, usize) {
    let (mut found, mut at) = (Vec::new(), 0);
    while bytes.len() >= at + 8 {
        let end = at + u32_at(bytes, at) as usize;
        if end > bytes.len() {
            break;
        }
        found.push((&bytes[at + 4..at + 8], &bytes[at + 8..end]));
        at = end;
    }
    (found, at)
}

/// The content of the first box of a type.
fn child<'a>(bytes: &'a [u8], kind: &[u8]) -> &'a [u8] {
    let (found, _) = boxes(bytes);
    let found = found.into_iter().find(|(k, _)| *k == kind);
    found.expect("a box that must be there").1
}

/// Fragmented MP4 (ISO/IEC 14496-12) with a sample a fragment.
#[derive(Default)]
struct Fmp4Reader {
    waiting: Vec<u8>,
    /// Ticks a second by number of track.
    scales: HashMap<u32, f64>,
    picture: Option<u32>,
}

impl Fmp4Reader {
    fn push(&mut self, bytes: &[u8], seen: &mut Seen) {
        seen.file.extend_from_slice(bytes);
        let mut waiting = std::mem::take(&mut self.waiting);
        waiting.extend_from_slice(bytes);
        let (found, whole) = boxes(&waiting);
        for (kind, content) in found {
            match kind {
                b"moov" => self.tracks(content),
                b"moof" => self.fragment(content, seen),
                _ => {}
            }
        }
        self.waiting = waiting.split_off(whole);
    }

    fn tracks(&mut self, moov: &[u8]) {
        for (_, track) in boxes(moov).0.iter().filter(|(kind, _)| *kind == b"trak") {
            let number = u32_at(child(track, b"tkhd"), 12);
            let media = child(track, b"mdia");
            let scale = u32_at(child(media, b"mdhd"), 12);
            self.scales.insert(number, f64::from(scale));
            if &child(media, b"hdlr")[8..12] == b"vide" {
                self.picture = Some(number);
            }
        }
    }

    fn fragment(&mut self, moof: &[u8], seen: &mut Seen) {
        let track = child(moof, b"traf");
        let number = u32_at(child(track, b"tfhd"), 4);
        let decode = child(track, b"tfdt");
        assert_eq!(decode[0], 1, "64 bits");
        let decode =
            (f64::from(u32_at(decode, 4)) * 4_294_967_296.0) + f64::from(u32_at(decode, 8));
        let run = child(track, b"trun");
        assert_eq!(u32_at(run, 0) & 0xff_ffff, 0xf01);
        assert_eq!(u32_at(run, 4), 1, "one sample");
        let time = (decode + f64::from(u32_at(run, 24))) * 1_000.0 / self.scales[&number];
        if self.picture == Some(number) {
            seen.pictures.push(time);
        } else {
            seen.sound(Some(time));
        }
    }
}

/// H.264 in RTP (RFC 6184), made into a bare stream.
#[derive(Default)]
struct RtpReader {
    /// The RTP time of the picture that comes, without wraps.
    time: Option<(u32, i64)>,
    picture: Vec<u8>,
    /// Parameter sets have come: a client may miss what comes before its track is there.
    begun: bool,
}

impl RtpReader {
    fn push(&mut self, video: bool, time: u32, payload: &[u8], seen: &mut Seen) {
        if !video {
            seen.sound(None);
            return;
        }
        let (last, at) = self.time.unwrap_or((time, 0));
        if self.time.is_none() || time != last {
            let at = at + i64::from(time.wrapping_sub(last) as i32);
            self.time = Some((time, at));
            let sets = |nal: &[u8]| nal[..4] == [0, 0, 0, 1] && nal[4] & 0x1f == 7;
            self.begun |= self.picture.windows(5).any(sets);
            if self.begun {
                seen.file.append(&mut self.picture);
            }
            self.picture.clear();
            seen.pictures.push(at as f64 / 90.0);
        }
        let start = [0, 0, 0, 1];
        match payload[0] & 0x1f {
            24 => {
                let mut rest = &payload[1..];
                while let Some((len, after)) = rest.split_first_chunk::<2>() {
                    let (nal, next) = after.split_at(usize::from(u16::from_be_bytes(*len)));
                    self.picture.extend_from_slice(&start);
                    self.picture.extend_from_slice(nal);
                    rest = next;
                }
            }
            28 => {
                if payload[1] & 0x80 != 0 {
                    self.picture.extend_from_slice(&start);
                    self.picture.push(payload[0] & 0xe0 | payload[1] & 0x1f);
                }
                self.picture.extend_from_slice(&payload[2..]);
            }
            _ => {
                self.picture.extend_from_slice(&start);
                self.picture.extend_from_slice(payload);
            }
        }
    }
}

/// A viewer in a thread of its own.
struct Viewer {
    output: Output,
    seen: Arc<Mutex<Seen>>,
}

impl Viewer {
    fn look<T>(&self, see: impl FnOnce(&Seen) -> T) -> T {
        see(&self
            .seen
            .lock()
            .expect("no viewer panics while it holds this"))
    }

    /// Watches until the stream is over, or `stop` is set for one whose end nobody tells.
    fn watch(&self, rig: &Rig, play: &str, runtime: &tokio::runtime::Handle, stop: &AtomicBool) {
        let path = |ext: &str| format!("/playback/{play}.{ext}?token={}", rig.token);
        let (mut flv, mut fmp4) = (FlvReader::default(), Fmp4Reader::default());
        let seen = || self.seen.lock().expect("as above");
        match self.output {
            Output::HttpFlv => {
                let mut stream = HttpStream::open(rig.node.http, &path("flv"));
                while let Some(bytes) = stream.next() {
                    flv.push(&bytes, &mut seen());
                }
            }
            Output::HttpFmp4 => {
                let mut stream = HttpStream::open(rig.node.http, &path("mp4"));
                while let Some(bytes) = stream.next() {
                    fmp4.push(&bytes, &mut seen());
                }
            }
            Output::WsFlv => {
                let mut stream = WebSocket::connect(rig.node.http, &path("flv"), false);
                while let Some(bytes) = stream.message() {
                    flv.push(&bytes, &mut seen());
                }
            }
            Output::WsFmp4 => {
                let mut stream = WebSocket::connect(rig.node.http, &path("mp4"), false);
                while let Some(bytes) = stream.message() {
                    fmp4.push(&bytes, &mut seen());
                }
            }
            Output::Whep => runtime.block_on(async {
                let mut client = Client::of_playback(&rig.node, &rig.token, play).await;
                let mut rtp = RtpReader::default();
                while !stop.load(Ordering::Relaxed) {
                    let packet = client.packet().await;
                    rtp.push(packet.video, packet.time, &packet.payload, &mut seen());
                }
                client.close().await;
            }),
        }
    }
}

/// What one order was answered with, and how many pictures each viewer had then.
fn order(rig: &Rig, play: &str, order: &Value, viewers: &[Viewer]) -> Vec<usize> {
    let answer = rig.order(play, order);
    assert_eq!(answer["code"], 0, "{order}: {answer}");
    let counts = viewers.iter().map(|v| v.look(|seen| seen.pictures.len()));
    counts.collect()
}

/// Waits until each viewer has seen so much of its own time since those pictures.
fn until_seen(viewers: &[Viewer], from: &[usize], what: &str) {
    wait_until(what, || {
        let enough = |(viewer, from): (&Viewer, &usize)| {
            viewer.look(|seen| {
                let at = seen.pictures.get(*from);
                at.is_some_and(|at| seen.last() - at > SEEN_MS)
            })
        };
        viewers.iter().zip(from).all(enough).then_some(())
    });
}

/// Steps between pictures from one place on that lie behind what was there before, up to another.
fn settled(pictures: &[f64], from: usize, to: usize) -> (usize, Vec<f64>) {
    let start = pictures[from] + SETTLE_MS;
    let first = from + pictures[from..].iter().take_while(|t| **t < start).count();
    let steps = pictures[first.min(to)..to].windows(2);
    (first, steps.map(|w| w[1] - w[0]).collect())
}

/// Nearly all steps are the one that they should be: what a stalled machine makes the node measure once is left out.
fn are(steps: &[f64], want: f64, what: &str) {
    let right = steps.iter().filter(|s| (**s - want).abs() <= 2.5).count();
    assert!(
        steps.len() >= 2 && right * 5 >= steps.len() * 4,
        "{what}: {right} of {} steps are {want} ms: {steps:?}",
        steps.len()
    );
}

/// Ends a playback and with it its viewers, also when a test fails that they would outlive.
struct Over<'a>(&'a Rig, &'a str, &'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.2.store(true, Ordering::Relaxed);
        let path = format!("/gantry/v1/playback/{}", self.1);
        self.0.call("DELETE", &path, &json!({}));
    }
}

/// One playback: at its own speed, at another from another place, and at its own again from a third.
fn at_speed(rig: &Rig, scale: f64, runtime: &tokio::runtime::Handle) {
    let play = rig.play(3_600);
    let stop = AtomicBool::new(false);
    let viewers = OUTPUTS.map(|output| Viewer {
        output,
        seen: Arc::default(),
    });
    let (there, back) = std::thread::scope(|scope| {
        let over = Over(rig, &play, &stop);
        let mut by_packets = Vec::new();
        for viewer in &viewers {
            let (play, stop) = (&play, &stop);
            let watching = scope.spawn(move || viewer.watch(rig, play, runtime, stop));
            if viewer.output == Output::Whep {
                by_packets.push(watching);
            }
        }
        wait_until(&format!("everybody watches at {scale}"), || {
            let begun = |v: &Viewer| v.look(|seen| seen.pictures.len() > PICTURES_BEFORE);
            viewers.iter().all(begun).then_some(())
        });
        let elsewhere = json!({"cmd": "PLAY", "scale": scale, "range": [1_000]});
        let there = order(rig, &play, &elsewhere, &viewers);
        until_seen(&viewers, &there, &format!("five seconds at {scale}"));
        let at = rig.position(&play);
        let span = if scale > 0.0 {
            1_000.0..=3_600.0
        } else {
            1.0..=1_000.0
        };
        assert!(span.contains(&at), "{scale}: at {at} s");
        let home = json!({"cmd": "PLAY", "scale": 1, "range": [10]});
        let back = order(rig, &play, &home, &viewers);
        until_seen(&viewers, &back, &format!("five seconds after {scale}"));
        stop.store(true, Ordering::Relaxed);
        for watching in by_packets {
            watching.join().expect("the viewer saw it all");
        }
        drop(over);
        (there, back)
    });
    for ((viewer, there), back) in viewers.iter().zip(there).zip(back) {
        viewer.look(|seen| {
            judge(
                seen,
                scale,
                there,
                back,
                &format!("{scale} {:?}", viewer.output),
            )
        });
        let folder = Folder::new(&format!("speed-{scale}-{:?}", viewer.output));
        viewer.look(|seen| decodes(&folder, viewer.output, &seen.file));
    }
}

/// `there` and `back`: pictures that had come when the orders were answered.
fn judge(seen: &Seen, scale: f64, there: usize, back: usize, what: &str) {
    let apart = if !(0.0..8.0).contains(&scale) {
        KEY_FRAME_MS
    } else {
        PICTURE_MS
    };
    let want = apart / scale.abs();
    let steps: Vec<f64> = seen.pictures.windows(2).map(|w| w[1] - w[0]).collect();
    let (least, most) = steps
        .iter()
        .fold((f64::MAX, 0.0f64), |(a, b), s| (a.min(*s), b.max(*s)));
    assert!(least > 0.0, "{what}: goes back by {least} ms");
    let bound = 2.0 * want.max(PICTURE_MS) + 100.0;
    assert!(
        most <= bound,
        "{what}: a step of {most} ms, {bound} are allowed"
    );
    let (first, at_speed) = settled(&seen.pictures, there, back);
    are(&at_speed, want, what);
    let heard = |range: std::ops::Range<usize>| {
        seen.sounds
            .iter()
            .filter(|(n, _)| range.contains(n))
            .count()
    };
    let at_speed_heard = heard(first..back);
    assert_eq!(
        at_speed_heard > 0,
        scale == 1.0,
        "{what}: {at_speed_heard} sounds"
    );
    assert!(heard(0..there) > 0, "{what}: no sound before");
    let (first, at_home) = settled(&seen.pictures, back, seen.pictures.len());
    are(&at_home, PICTURE_MS, &format!("{what}, back"));
    assert!(
        heard(first..usize::MAX) > 20,
        "{what}: the sound does not come back"
    );
    let times: Vec<f64> = seen.sounds.iter().filter_map(|(_, time)| *time).collect();
    assert!(
        times.windows(2).all(|w| w[0] < w[1]),
        "{what}: sound goes back"
    );
    for (n, time) in seen.sounds.iter().filter(|(n, _)| *n > first) {
        let picture = seen.pictures[n - 1];
        let off = time.map_or(0.0, |time| time - picture);
        assert!(
            off.abs() < SOUND_OFF_MS,
            "{what}: sound lies {off} ms from its picture"
        );
    }
    println!(
        "{what}: {} pictures, steps of {want} ms at speed, longest {most:.1} ms, {} sounds",
        seen.pictures.len(),
        seen.sounds.len()
    );
}

/// ffmpeg decodes all of it and has nothing to say.
fn decodes(folder: &Folder, output: Output, bytes: &[u8]) {
    if !has_tool("ffmpeg") {
        return;
    }
    let (name, format) = match output {
        Output::HttpFlv | Output::WsFlv => ("seen.flv", "flv"),
        Output::HttpFmp4 | Output::WsFmp4 => ("seen.mp4", "mp4"),
        Output::Whep => ("seen.h264", "h264"),
    };
    let path = folder.write(name, bytes);
    let path = path.to_str().expect("a plain path");
    // Its output counts in the times of the input, not in those of the first pictures' rate.
    let arguments = [
        "-v",
        "error",
        "-f",
        format,
        "-i",
        path,
        "-fps_mode",
        "passthrough",
        "-enc_time_base",
        "-1",
        "-f",
        "null",
        "-",
    ];
    let (_, errors) = run("ffmpeg", &arguments);
    assert_eq!(errors, "", "{output:?}: {path}");
}

/// Eight playbacks of one channel at once, each watched in every output.
#[test]
fn field_27_every_speed_is_the_viewers_time_in_every_output() {
    let rig = Rig::new(&["--quirk", "reverse"], &[]);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    std::thread::scope(|scope| {
        for scale in [0.25, 0.5, 1.0, 2.0, 4.0, 8.0, -1.0, -4.0] {
            let (rig, runtime) = (&rig, runtime.handle());
            scope.spawn(move || at_speed(rig, scale, runtime));
        }
    });
}
