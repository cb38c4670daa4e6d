//! Viewers that do not keep up, beside healthy ones: one that reads nothing, one that reads at half the rate, and one whose
//! path loses a twentieth. The healthy lose nothing, memory is bounded, and the slow are moved forward to key frames and
//! counted. And the node's budget for rings: who is evicted when it is too small.

use std::io::Write as _;
use std::net::TcpStream;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use gantry::id::Ssrc;
use gantry::media::frame::{Codec, Frame, Track, TrackId};
use gantry::media::ps::mux::Mux;
use gantry::media::{rfc4571, rtp};
use gantry::time::MediaTime;
use serde_json::json;

use super::media_files::{has_tool, video};
use super::node::{Node, PATIENCE};
use super::player::{Flv, HttpStream};
use super::relay::Relay;
use super::whep::{Client, PUID, stage_with};

/// Pictures of the camera come so often.
const STEP_MS: u32 = 40;
/// What the node may grow by for slow viewers: their places in a ring that is there anyway, and what the allocator keeps.
const GROWTH_BYTES_MAX: u64 = 16 << 20;
/// The bytes of the sender that wait at a slow viewer's end.
const RECEIVE_BUFFER_BYTES: usize = 64 << 10;

/// Times of the pictures, without the configuration that comes first.
fn picture_times(flv: &Flv) -> Vec<u32> {
    flv.tags(9).skip(1).map(|tag| tag.time_ms).collect()
}

/// Where pictures are missing: how many times, all of which go on at a key frame.
fn skips(flv: &Flv) -> usize {
    let pictures: Vec<_> = flv.tags(9).skip(1).collect();
    let gaps = pictures
        .windows(2)
        .filter(|pair| pair[1].time_ms - pair[0].time_ms > STEP_MS);
    gaps.map(|pair| assert_eq!(pair[1].body[0], 0x17, "goes on at a key frame"))
        .count()
}

#[test]
fn slow_viewers_are_moved_forward_and_the_others_lose_nothing() {
    let (node, _devices, token, runtime) = stage_with(&[]);
    let path = format!("/live/{PUID}/0.flv?token={token}");
    let mut healthy = [(); 2].map(|()| (HttpStream::open(node.http, &path), Flv::default()));
    let relay = Relay::start();
    let watch = |nacks: bool, path: Option<&Relay>| {
        let client = runtime.block_on(Client::joined(&node, &token, nacks, path));
        client.expect("it joins")
    };
    let mut beside = watch(false, None);
    let mut lossy = watch(true, Some(&relay));
    let before = node.resident_bytes();
    let deaf = HttpStream::slow(node.http, &path, RECEIVE_BUFFER_BYTES);
    let mut half = HttpStream::slow(node.http, &path, RECEIVE_BUFFER_BYTES);
    let (mut half_flv, mut owed) = (Flv::default(), 0);

    let deadline = Instant::now() + 3 * PATIENCE;
    for turn in 0u32.. {
        let first = healthy.each_mut().map(|(stream, flv)| {
            let bytes = stream.some();
            flv.push(&bytes);
            bytes.len()
        })[0];
        // Whatever the clock says: it reads half of what the others do.
        owed += first / 2;
        while owed > 0 {
            let Some(bytes) = half.waiting(owed) else {
                break;
            };
            owed -= bytes.len();
            half_flv.push(&bytes);
        }
        if turn.is_multiple_of(50)
            && skips(&half_flv) >= 2
            && node.metric("gantry_viewers_too_slow_total") >= 1.0
            && node.metric("gantry_webrtc_resent_total") >= 10.0
        {
            break;
        }
        assert!(
            Instant::now() < deadline,
            "skips {}, closed {}, resent {}\n{}",
            skips(&half_flv),
            node.metric("gantry_viewers_too_slow_total"),
            node.metric("gantry_webrtc_resent_total"),
            node.log()
        );
    }
    drop(deaf);

    let skipped = node.metric("gantry_viewers_skipped_total");
    assert!(skipped >= skips(&half_flv) as f64, "each was counted");
    for (_, flv) in &healthy {
        let times = picture_times(flv);
        assert!(
            times.windows(2).all(|w| w[1] - w[0] == STEP_MS),
            "no picture is missing: {times:?}"
        );
    }
    let (received, span) = beside.pictures();
    assert!(
        received > 500 && received * 100 >= span * 99,
        "the healthy WebRTC viewer has {received} packets of {span}"
    );
    let (passed, lost) = relay.counts();
    assert!(
        lost * 100 > passed * 3,
        "the path loses: {lost} of {passed}"
    );
    let (of_lossy, _) = lossy.pictures();
    assert!(
        of_lossy * 100 > received * 80,
        "it plays on: {of_lossy} beside {received}"
    );
    let growth = node.resident_bytes().saturating_sub(before);
    assert!(growth < GROWTH_BYTES_MAX, "grew by {growth}");
    runtime.block_on(async {
        beside.close().await;
        lossy.close().await;
    });
}

/// A source of pictures of one size, over TCP so that none is lost.
struct Feed {
    socket: TcpStream,
    mux: Mux,
    writer: rtp::Writer,
    frame_bytes: usize,
    sent: i64,
}

/// Pictures in a group.
const GROUP: i64 = 50;

impl Feed {
    fn open(node: &Node, token: &str, track: &Track, n: u32, frame_bytes: usize) -> Feed {
        let ssrc = 1_000 + n;
        let body = json!({ "stream": format!("s{n}"), "ssrc": ssrc, "transport": "tcp-passive" });
        let answer = node.post("/gantry/v1/ingest", Some(token), &body);
        let port = answer["port"].as_u64().and_then(|p| u16::try_from(p).ok());
        let port = port.unwrap_or_else(|| panic!("{answer}"));
        Feed {
            socket: TcpStream::connect((node.http.ip(), port)).expect("the node listens"),
            mux: Mux::new(Some(track), None),
            writer: rtp::Writer::new(Ssrc(ssrc), 96, 0),
            frame_bytes,
            sent: 0,
        }
    }

    /// Sends the next picture: a slice of the right type, filled with what is no start code.
    fn send(&mut self) {
        let key = self.sent % GROUP == 0;
        let mut payload = BytesMut::zeroed(self.frame_bytes);
        payload.fill(0x5a);
        let len = (self.frame_bytes - 4) as u32;
        payload[..4].copy_from_slice(&len.to_be_bytes());
        payload[4..7].copy_from_slice(&[if key { 0x65 } else { 0x41 }, 0x88, 0x84]);
        let time = MediaTime(self.sent * i64::from(STEP_MS) * 90);
        let frame = Frame {
            track: TrackId::Video,
            dts: time,
            pts: time,
            key,
            damaged: false,
            payload: payload.freeze(),
            received: Instant::now(),
        };
        let (mut bytes, mut framed) = (Vec::new(), Vec::new());
        self.mux.push(&frame, &mut bytes);
        self.writer
            .write(&bytes, time.0 as u32, 1_300, &mut |packet| {
                rfc4571::write_frame(packet, &mut framed);
            });
        self.socket.write_all(&framed).expect("the node reads");
        self.sent += 1;
    }
}

/// Four streams of a high rate are too much for the smallest budget there is; the twenty small ones beside them keep theirs.
#[test]
fn a_full_budget_evicts_who_needs_more_than_the_share() {
    const BUDGET: usize = 16 << 20;
    const SMALL: u32 = 20;
    const SMALL_FRAME: usize = 4 << 10;
    const LARGE_FRAME: usize = 100 << 10;
    // The splitter of the tests asks ffprobe for the order of the pictures.
    if !has_tool("ffprobe") {
        assert!(!crate::vectors::is_ci(), "ffprobe is missing");
        eprintln!("SKIPPED: ffprobe is not installed");
        return;
    }
    let clip = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/sim/clips/yard.h264");
    let track = video(Codec::H264, &clip, 25).track;
    let node = Node::start(&[
        ("GANTRY_MEDIA_RING_BYTES_TOTAL", &BUDGET.to_string()),
        ("GANTRY_MEDIA_RING_BYTES", &(BUDGET / 2).to_string()),
    ]);
    let token = node.login();
    let feed = |n, bytes| Feed::open(&node, &token, &track, n, bytes);
    let feeds: Mutex<Vec<Feed>> = Mutex::default();
    let (stop, small_rest) = (AtomicBool::new(false), AtomicBool::new(false));
    let add = |n, bytes| {
        feeds
            .lock()
            .expect("nothing panics in it")
            .push(feed(n, bytes))
    };
    let overflows = || node.metric("gantry_ring_overflows_total");
    let held = || node.metric("gantry_ring_bytes");
    assert_eq!(node.metric("gantry_ring_budget_bytes"), BUDGET as f64);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Relaxed) {
                for feed in feeds.lock().expect("nothing panics in it").iter_mut() {
                    let small = feed.frame_bytes == SMALL_FRAME;
                    // It rests in the middle of a group.
                    if !small || !small_rest.load(Relaxed) || feed.sent % GROUP != GROUP / 2 {
                        feed.send();
                    }
                }
                std::thread::park_timeout(Duration::from_millis(u64::from(STEP_MS)));
            }
        });
        let _end = OnDrop(&stop);
        (0..SMALL).for_each(|n| add(n, SMALL_FRAME));
        add(SMALL, LARGE_FRAME);
        // As long as all fit, each keeps its whole group, also the one that is larger than an even share.
        let whole = GROUP as usize * (LARGE_FRAME + SMALL as usize * SMALL_FRAME);
        node.wait_for_metric("gantry_ring_bytes", "", |n| n > 0.5 * whole as f64);
        assert_eq!(overflows(), 0.0);

        (1..4).for_each(|n| add(SMALL + n, LARGE_FRAME));
        // Each has been over its share twice: what they need is known.
        node.wait_for_metric("gantry_ring_overflows_total", "", |n| n >= 8.0);
        let known = overflows();
        let mut most = 0.0;
        while overflows() < known + 8.0 {
            most = f64::max(most, held());
        }
        assert!(most <= BUDGET as f64, "{most} of {BUDGET}");
        assert!(most > 0.25 * BUDGET as f64, "it is used: {most}");

        // Nothing more comes from the small ones, and whoever comes now starts at the key frame that they kept.
        small_rest.store(true, Relaxed);
        for n in 0..SMALL {
            let path = format!("/live/s{n}.flv?token={token}");
            let mut stream = HttpStream::open(node.http, &path);
            assert_eq!(stream.status, 200, "{}", stream.head);
            let mut flv = Flv::default();
            while flv.tags(9).count() < 2 {
                flv.push(&stream.some());
            }
            let first = flv.tags(9).nth(1).expect("counted");
            assert_eq!(first.body[0], 0x17, "s{n}");
        }
        println!("held at most {most} of {BUDGET}, {} given up", overflows());
    });
}

/// Lets a thread of the test end however the test does.
struct OnDrop<'a>(&'a AtomicBool);

impl Drop for OnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}
