//! Senders that we did not write, in every payload that they know, into the real binary; ffmpeg judges what comes out.

use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use gantry::id::Ssrc;
use gantry::media::frame::Codec;
use gantry::media::rtp;
use serde_json::{Value, json};

use super::media_files::{Folder, has_tool, make_video, run};
use super::node::Node;

/// A process that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn ffmpeg(args: &[&str]) -> Running {
    let child = Command::new("ffmpeg")
        .args(["-v", "error", "-nostdin", "-re"])
        .args(args)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    Running(child.expect("ffmpeg starts"))
}

fn open(node: &Node, token: &str, body: &Value) -> SocketAddr {
    let path = "/gantry/v1/ingest";
    let answer = node.request(
        "POST",
        path,
        Some(token),
        "application/json",
        &body.to_string(),
    );
    assert_eq!(answer.status, 200, "{body}: {}", answer.json());
    let port = answer.json()["port"].as_u64().expect("a port") as u16;
    SocketAddr::new(node.http.ip(), port)
}

/// The codecs that a viewer gets, and that they decode without a complaint for two seconds.
fn judged(node: &Node, token: &str, file: &str) -> Vec<String> {
    let url = format!("http://{}/live/{file}?token={token}", node.http);
    let (codecs, _) = run(
        "ffprobe",
        &[
            "-v",
            "error",
            "-show_entries",
            "stream=codec_name",
            "-of",
            "csv=p=0",
            &url,
        ],
    );
    let (_, complaints) = run(
        "ffmpeg",
        &["-v", "error", "-t", "2", "-i", &url, "-f", "null", "-"],
    );
    // What begins in the middle of a live stream may begin at any time.
    let complaints: Vec<&str> = complaints
        .lines()
        .filter(|line| !line.contains("non monotonically increasing dts"))
        .collect();
    assert!(complaints.is_empty(), "{file}: {complaints:?}");
    let mut codecs: Vec<String> = codecs
        .lines()
        .map(|l| l.trim_matches(',').to_owned())
        // FLV's script data.
        .filter(|codec| codec != "text")
        .collect();
    codecs.sort();
    codecs
}

/// A name, what ffmpeg is told, what is declared, the form watched, and the codecs wanted in it.
type Case<'a> = (&'a str, Vec<&'a [&'a str]>, Value, &'a str, &'a [&'a str]);

const PICTURE: [&str; 4] = ["-f", "lavfi", "-i", "testsrc2=size=320x240:rate=25"];
const TONE: [&str; 4] = ["-f", "lavfi", "-i", "sine=frequency=440:sample_rate=16000"];
const H264: [&str; 12] = [
    "-c:v",
    "libx264",
    "-preset",
    "ultrafast",
    "-tune",
    "zerolatency",
    "-g",
    "25",
    "-bf",
    "0",
    "-pix_fmt",
    "yuv420p",
];
const H265: [&str; 14] = [
    "-c:v",
    "libx265",
    "-preset",
    "ultrafast",
    "-tune",
    "zerolatency",
    "-g",
    "25",
    "-bf",
    "0",
    "-x265-params",
    "log-level=none:repeat-headers=1",
    "-pix_fmt",
    "yuv420p",
];

fn tools_are_there() -> bool {
    let there = has_tool("ffmpeg") && has_tool("ffprobe");
    if !there {
        assert!(!crate::vectors::is_ci(), "ffmpeg is missing");
        eprintln!("SKIPPED: ffmpeg is not installed");
    }
    there
}

#[test]
fn what_ffmpeg_sends_in_any_payload_plays() {
    if !tools_are_there() {
        return;
    }
    let node = Node::start(&[]);
    let token = node.login();
    let tone_8k = ["-f", "lavfi", "-i", "sine=frequency=440:sample_rate=8000"];
    let aac_config = "sizelength=13;indexlength=3;indexdeltalength=3;config=1408";
    let g726 = ["-c:a", "g726le", "-b:a", "32k", "-ar", "8000", "-ac", "1"];
    let cases: [Case<'_>; 8] = [
        (
            "transport",
            vec![&PICTURE, &TONE, &H264, &["-c:a", "aac", "-f", "rtp_mpegts"]],
            json!([]),
            "flv",
            &["aac", "h264"],
        ),
        (
            "transport265",
            vec![&PICTURE, &H265, &["-f", "rtp_mpegts"]],
            json!([]),
            "mp4",
            &["hevc"],
        ),
        (
            "h264",
            vec![&PICTURE, &H264, &["-f", "rtp", "-payload_type", "98"]],
            json!([]),
            "flv",
            &["h264"],
        ),
        (
            "h265",
            vec![&PICTURE, &H265, &["-f", "rtp", "-payload_type", "100"]],
            json!([]),
            "mp4",
            &["hevc"],
        ),
        (
            "pcma",
            vec![&tone_8k, &["-c:a", "pcm_alaw", "-f", "rtp"]],
            json!([]),
            "flv",
            &["aac"],
        ),
        (
            "g722",
            vec![&TONE, &["-c:a", "g722", "-f", "rtp"]],
            json!([]),
            "flv",
            &["aac"],
        ),
        (
            "g726",
            vec![&tone_8k, &g726, &["-f", "rtp", "-payload_type", "97"]],
            json!([{ "payloadType": 97, "rtpmap": "G726-32/8000" }]),
            "flv",
            &["aac"],
        ),
        (
            "aac",
            vec![&TONE, &["-c:a", "aac", "-f", "rtp", "-payload_type", "97"]],
            json!([{ "payloadType": 97, "rtpmap": "MPEG4-GENERIC/16000/1", "fmtp": aac_config }]),
            "flv",
            &["aac"],
        ),
    ];
    for (name, args, payloads, form, want) in cases {
        let body = json!({ "stream": name, "transport": "udp", "payloads": payloads });
        let to = open(&node, &token, &body);
        let url = format!("rtp://{to}?pkt_size=1316");
        let args: Vec<&str> = args
            .into_iter()
            .flatten()
            .copied()
            .chain([url.as_str()])
            .collect();
        let sender = ffmpeg(&args);
        assert_eq!(
            judged(&node, &token, &format!("{name}.{form}")),
            want,
            "{name}"
        );
        drop(sender);
        let path = format!("/gantry/v1/ingest/{name}");
        let closed = node.request("DELETE", &path, Some(&token), "application/json", "");
        assert_eq!(closed.status, 204, "{name}");
        println!("{name}: {want:?} in {form}");
    }
    assert_eq!(node.metric("gantry_ps_errors_total"), 0.0);
}

/// Sends a file as the payload of RTP, at the rate that makes it last so long, again and again.
fn send_paced(bytes: &[u8], lasts: Duration, to: SocketAddr, until: Instant) {
    let socket = UdpSocket::bind((to.ip(), 0)).expect("a free port");
    socket.connect(to).expect("the loopback");
    let mut writer = rtp::Writer::new(Ssrc(5), 96, 0);
    let began = Instant::now();
    let per_packet = lasts.div_f64(bytes.len().div_ceil(1_300) as f64);
    let mut due = Duration::ZERO;
    for chunk in std::iter::repeat(bytes).flat_map(|b| b.chunks(1_300)) {
        std::thread::park_timeout(due.saturating_sub(began.elapsed()));
        let ticks = (due.as_secs_f64() * 90_000.0) as u32;
        writer.write(chunk, ticks, 1_300, &mut |p| {
            let _ = socket.send(p);
        });
        due += per_packet;
        if Instant::now() >= until {
            return;
        }
    }
}

/// The pictures as another muxer packs them. Its packs are cut anywhere by the packets.
fn packed_by_gstreamer(folder: &Folder, muxer: &str, picture: &Path) -> Vec<u8> {
    let out = folder.file(muxer);
    run(
        "gst-launch-1.0",
        &[
            "-q",
            "filesrc",
            &format!("location={}", picture.display()),
            "!",
            "h264parse",
            "config-interval=-1",
            "!",
            muxer,
            "!",
            "filesink",
            &format!("location={}", out.display()),
        ],
    );
    std::fs::read(out).expect("GStreamer wrote it")
}

#[test]
fn what_gstreamer_packs_plays() {
    if !tools_are_there() || !has_tool("gst-launch-1.0") {
        eprintln!("SKIPPED: GStreamer or ffmpeg is not installed");
        return;
    }
    let folder = Folder::new("packed");
    let picture = make_video(&folder, Codec::H264, 4, "320x240", 25);
    let node = Node::start(&[]);
    let token = node.login();
    for muxer in ["mpegpsmux", "mpegtsmux"] {
        let bytes = packed_by_gstreamer(&folder, muxer, &picture);
        let body = json!({ "stream": muxer, "ssrc": 5, "transport": "udp" });
        let to = open(&node, &token, &body);
        let until = Instant::now() + Duration::from_secs(25);
        std::thread::scope(|scope| {
            scope.spawn(|| send_paced(&bytes, Duration::from_secs(4), to, until));
            assert_eq!(
                judged(&node, &token, &format!("{muxer}.flv")),
                ["h264"],
                "{muxer}"
            );
        });
        let path = format!("/gantry/v1/ingest/{muxer}");
        node.request("DELETE", &path, Some(&token), "application/json", "");
    }
}

#[test]
fn payloads_that_cannot_be_are_refused() {
    let node = Node::start(&[]);
    let token = node.login();
    let one =
        |payload_type: u32, rtpmap: &str| json!({ "payloadType": payload_type, "rtpmap": rtpmap });
    for payloads in [
        json!([one(97, "VP8/90000")]),
        json!([one(97, "MPEG4-GENERIC/16000")]),
        json!([one(128, "PS/90000")]),
        json!(vec![
            one(97, "PS/90000");
            gantry::limits::PAYLOAD_TYPES_MAX + 1
        ]),
    ] {
        let body = json!({ "stream": "x", "transport": "udp", "payloads": payloads });
        let answer = node.request(
            "POST",
            "/gantry/v1/ingest",
            Some(&token),
            "application/json",
            &body.to_string(),
        );
        assert_eq!(answer.status, 400, "{body}");
    }
    let most = json!(vec![one(97, "PS/90000"); gantry::limits::PAYLOAD_TYPES_MAX]);
    open(
        &node,
        &token,
        &json!({ "stream": "x", "transport": "udp", "payloads": most }),
    );
}
