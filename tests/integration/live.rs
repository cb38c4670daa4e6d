//! Live view end to end: simulated devices, the real node, and players that are not ours (ffprobe, ffmpeg, curl).
//!
//! `GANTRY_TEST_PLAY_S` sets how many seconds ffmpeg decodes of each stream (3 if it is not set). `GANTRY_TEST_FFMPEG` names an
//! ffmpeg that reads Enhanced FLV (6.1 and later), for H.265 in FLV.

use std::io::Write as _;
use std::net::SocketAddr;

use serde_json::Value;

use super::node::{Devices, Node, fresh_folder, tool, wait_until};
use super::player::{self, Flv, HttpStream, WebSocket};

/// A device of one camera.
struct Kind {
    id: &'static str,
    codec: &'static str,
    audio: &'static str,
    /// As ffprobe names it.
    video_codec: &'static str,
    /// Of `?audio=copy`, as ffprobe names it.
    audio_codec: &'static str,
}

const H264_G711: Kind = Kind {
    id: "34020000001320000001",
    codec: "h264",
    audio: "g711a",
    video_codec: "h264",
    audio_codec: "pcm_alaw",
};
const H264_AAC: Kind = Kind {
    id: "34020000001320000011",
    audio: "aac",
    audio_codec: "aac",
    ..H264_G711
};
const H265_G711: Kind = Kind {
    id: "34020000001320000021",
    codec: "h265",
    video_codec: "hevc",
    ..H264_G711
};

impl Kind {
    fn start(&self, node: &Node) -> Devices {
        let one = ["--count", "1", "--channels", "1", "--id-base", self.id];
        let coded = ["--codec", self.codec, "--audio", self.audio];
        Devices::start(node, &[one.as_slice(), &coded].concat())
    }

    fn puid(&self) -> String {
        format!("PU_{}", self.id)
    }

    /// Path and query of its camera.
    fn path(&self, form: &str, token: &str, query: &str) -> String {
        format!("/live/{}/0.{form}?token={token}{query}", self.puid())
    }
}

/// Starts a camera at a node of its own, and signs in.
fn one_camera(kind: &Kind, variables: &[(&str, &str)]) -> (Node, Devices, String) {
    let node = Node::start(variables);
    let devices = kind.start(&node);
    let token = node.login();
    node.wait_for_device(&token, &kind.puid(), 1);
    (node, devices, token)
}

#[test]
fn devices_that_send_over_udp_play() {
    every_kind_plays("udp");
}

#[test]
fn devices_that_connect_to_us_play() {
    every_kind_plays("tcp-passive");
}

#[test]
fn devices_that_we_connect_to_play() {
    every_kind_plays("tcp-active");
}

fn every_kind_plays(transport: &str) {
    let node = Node::start(&[
        ("GANTRY_MEDIA_TRANSPORT", transport),
        ("GANTRY_MEDIA_FALLBACK", "false"),
    ]);
    let kinds = [H264_G711, H264_AAC, H265_G711];
    let _devices = kinds.each_ref().map(|kind| kind.start(&node));
    let token = node.login();
    std::thread::scope(|scope| {
        for kind in &kinds {
            let (node, token) = (&node, &token);
            scope.spawn(move || {
                node.wait_for_device(token, &kind.puid(), 1);
                plays(node, token, kind);
            });
        }
    });
    let lost = node.metric("gantry_ps_errors_total");
    assert_eq!(lost, 0.0, "the program streams are whole");
    let live = node.metric_where("gantry_invites_total", "outcome=\"live\"");
    assert_eq!(live, 3.0, "one INVITE a device serves all its viewers");
}

fn plays(node: &Node, token: &str, kind: &Kind) {
    let url =
        |form: &str, query: &str| format!("http://{}{}", node.http, kind.path(form, token, query));
    let shown = |form, query, audio: Option<&str>| {
        let Some(streams) = probe(&url(form, query)) else {
            return;
        };
        is_picture_with(
            &streams,
            kind.video_codec,
            audio,
            &format!("{}.{form}{query}", kind.id),
        );
    };
    shown("mp4", "", Some("aac"));
    shown("mp4", "&audio=none", None);
    decodes(&url("mp4", ""));
    if kind.video_codec == "h264" {
        shown("flv", "", Some("aac"));
        shown("flv", "&audio=copy", Some(kind.audio_codec));
        shown("flv", "&audio=none", None);
        decodes(&url("flv", ""));
    } else {
        // H.265 in FLV is Enhanced FLV, which the ffmpeg 5.1 of Debian 12 cannot read: the tags are read here, and what is
        // in them is given to ffmpeg as a bare stream. A newer ffmpeg, where there is one, reads the whole.
        h265_in_flv(node, kind, token);
        if let Some(newer) = std::env::var("GANTRY_TEST_FFMPEG")
            .ok()
            .filter(|path| !path.is_empty())
        {
            decodes_by(&newer, &url("flv", ""));
        }
    }
}

/// What ffprobe finds, or nothing where there is no ffprobe.
fn probe(url: &str) -> Option<Vec<Value>> {
    let output = tool(
        "ffprobe",
        &[
            "-v",
            "error",
            "-rw_timeout",
            "60000000",
            "-analyzeduration",
            "1500000",
            "-of",
            "json",
            "-show_streams",
            url,
        ],
    )?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && stderr.is_empty(),
        "{url}: {stderr}"
    );
    let found: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    Some(found["streams"].as_array().expect("streams").clone())
}

fn is_picture_with(streams: &[Value], video: &str, audio: Option<&str>, what: &str) {
    let of = |kind: &str| {
        let mut found = streams.iter().filter(|s| s["codec_type"] == kind);
        (found.next(), found.count())
    };
    let (picture, more) = of("video");
    let picture = picture.unwrap_or_else(|| panic!("{what}: no picture in {streams:?}"));
    assert_eq!(more, 0, "{what}: one picture");
    assert_eq!(picture["codec_name"], video, "{what}");
    assert_eq!(
        (&picture["width"], &picture["height"]),
        (&1280.into(), &720.into()),
        "{what}"
    );
    assert_eq!(picture["r_frame_rate"], "25/1", "{what}");
    let (sound, more) = of("audio");
    assert_eq!(more, 0, "{what}: one sound at most");
    let codec = sound.map(|s| s["codec_name"].as_str().expect("a name"));
    assert_eq!(codec, audio, "{what}");
}

fn decodes(url: &str) {
    decodes_by("ffmpeg", url);
}

/// That ffmpeg decodes some seconds and has nothing to say.
fn decodes_by(ffmpeg: &str, url: &str) {
    let seconds = std::env::var("GANTRY_TEST_PLAY_S").unwrap_or_else(|_| "3".to_string());
    let Some(output) = tool(
        ffmpeg,
        &[
            "-v",
            "error",
            "-rw_timeout",
            "60000000",
            "-t",
            &seconds,
            "-i",
            url,
            "-f",
            "null",
            "-",
        ],
    ) else {
        return;
    };
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{url}: {said}");
}

fn h265_in_flv(node: &Node, kind: &Kind, token: &str) {
    let mut stream = HttpStream::open(node.http, &kind.path("flv", token, ""));
    assert_eq!(stream.status, 200, "{}", stream.head);
    let mut flv = Flv::default();
    while flv.tags(9).count() < 52 {
        flv.push(&stream.some());
    }
    let sound = flv.tags(8).next().expect("sound comes with the picture");
    assert_eq!(sound.body[0] >> 4, 10, "AAC");
    let pictures: Vec<_> = flv.tags(9).collect();
    for tag in &pictures {
        assert_eq!(tag.body[0] & 0x80, 0x80, "Enhanced FLV");
        assert_eq!(&tag.body[1..5], b"hvc1");
    }
    assert_eq!(
        pictures[0].body[0] & 0x0f,
        0,
        "the configuration comes first"
    );
    assert_eq!(pictures[1].body[0] >> 4 & 7, 1, "then a key frame");
    let steps: Vec<u32> = pictures[1..]
        .windows(2)
        .map(|w| w[1].time_ms - w[0].time_ms)
        .collect();
    assert!(steps.iter().all(|ms| *ms == 40), "25 a second: {steps:?}");

    let folder = fresh_folder();
    let path = folder.join("picture.h265");
    std::fs::write(&path, player::hevc_of_flv(&pictures))
        .expect("the temporary folder can be written");
    let path = path.to_str().expect("a plain path");
    let found = tool(
        "ffprobe",
        &["-v", "error", "-of", "json", "-show_streams", path],
    );
    let decoded = tool("ffmpeg", &["-v", "error", "-i", path, "-f", "null", "-"]);
    if let (Some(found), Some(decoded)) = (found, decoded) {
        let found: Value = serde_json::from_slice(&found.stdout).expect("JSON");
        let streams = found["streams"].as_array().expect("streams");
        is_picture_with(streams, "hevc", None, "H.265 from FLV");
        assert_eq!(String::from_utf8_lossy(&decoded.stderr), "");
    }
    let _ = std::fs::remove_dir_all(folder);
}

#[test]
fn websocket_messages_are_whole_pieces_and_make_a_playable_file() {
    let (node, _devices, token) = one_camera(&H264_G711, &[]);
    let folder = fresh_folder();
    for (name, form, reused) in [
        ("direct.flv", "flv", false),
        ("direct.mp4", "mp4", false),
        // On a connection that was used before, another part of the server answers.
        ("reused.flv", "flv", true),
        ("reused.mp4", "mp4", true),
    ] {
        let mut socket = WebSocket::connect(node.http, &H264_G711.path(form, &token, ""), reused);
        let mut file = Vec::new();
        let mut ended = 0;
        // Sound is held back until the encoder has enough, so more messages than pictures alone need.
        while ended < 150 {
            let message = socket.message().expect("the stream goes on");
            match form {
                "flv" => {
                    let tags = if file.is_empty() {
                        assert!(
                            message.starts_with(b"FLV\x01"),
                            "{:x?}",
                            &message[..message.len().min(16)]
                        );
                        &message[13..]
                    } else {
                        &message[..]
                    };
                    let mut flv = Flv::headless();
                    flv.push(tags);
                    assert!(
                        flv.is_at_tag(),
                        "message {ended} of {name} ends inside a tag"
                    );
                }
                _ => {
                    let boxes = player::boxes(&message);
                    let first = if file.is_empty() { "ftyp" } else { "moof" };
                    assert_eq!(
                        boxes.first().map(String::as_str),
                        Some(first),
                        "message {ended} of {name}: {boxes:?}"
                    );
                }
            }
            file.extend_from_slice(&message);
            ended += 1;
        }
        socket.close();
        let path = folder.join(name);
        std::fs::write(&path, &file).expect("the temporary folder can be written");
        if let Some(streams) = probe_file(path.to_str().expect("a plain path")) {
            is_picture_with(&streams, "h264", Some("aac"), name);
        }
    }
    let _ = std::fs::remove_dir_all(folder);
    node.wait_for_metric("gantry_viewers", "", |viewers| viewers == 0.0);
}

fn probe_file(path: &str) -> Option<Vec<Value>> {
    let output = tool(
        "ffprobe",
        &["-v", "error", "-of", "json", "-show_streams", path],
    )?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && stderr.is_empty(),
        "{path}: {stderr}"
    );
    let found: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    Some(found["streams"].as_array().expect("streams").clone())
}

#[test]
fn live_media_comes_over_https_too() {
    let (node, _devices, token) = one_camera(&H264_G711, &[]);
    for form in ["flv", "mp4"] {
        let url = format!("https://{}{}", node.https, H264_G711.path(form, &token, ""));
        if let Some(streams) = probe(&url) {
            is_picture_with(&streams, "h264", Some("aac"), &url);
        }
        decodes(&url);
    }
    let unsigned = format!("https://{}/live/{}/0.flv", node.https, H264_G711.puid());
    let curl = [
        "-k",
        "-s",
        "-m",
        "30",
        "-o",
        "/dev/null",
        "-w",
        "%{http_code}",
    ];
    if let Some(output) = tool("curl", &[curl.as_slice(), &[&unsigned]].concat()) {
        assert_eq!(String::from_utf8_lossy(&output.stdout), "401");
    }
    node.wait_for_metric("gantry_viewers", "", |viewers| viewers == 0.0);
}

#[test]
fn what_cannot_be_shown_says_why() {
    let (node, devices, token) = one_camera(&H264_G711, &[]);
    let puid = H264_G711.puid();
    let refused = |path: &str, status: u16, says: &str| {
        // The door answers a fresh connection, the router one that was used before. Both say the same.
        for mut stream in [
            HttpStream::open(node.http, path),
            HttpStream::reused(node.http, path),
        ] {
            let body = stream.rest();
            assert_eq!(stream.status, status, "{path}: {body}");
            assert!(body.contains(says), "{path}: {body}");
            let problem: Value = serde_json::from_str(&body).expect("a problem document");
            assert_eq!(problem["status"], status, "{path}: {body}");
        }
    };
    refused(&format!("/live/{puid}/0.flv"), 401, "token");
    refused(&format!("/live/{puid}/0.flv?token=nonsense"), 401, "token");
    refused(
        &format!("/live/PU_34020000001329999999/0.flv?token={token}"),
        404,
        "device not found",
    );
    refused(
        &format!("/live/{puid}/7.mp4?token={token}"),
        404,
        "channel not found",
    );
    refused(
        &format!("/live/{puid}/first.mp4?token={token}"),
        400,
        "index",
    );
    refused(
        &format!("/live/{puid}/0.avi?token={token}"),
        404,
        "media URLs",
    );
    refused(&format!("/live/nobody.flv?token={token}"), 404, "not found");
    refused(
        &format!("/live/{puid}/0.flv?token={token}&audio=loud"),
        400,
        "audio",
    );

    devices.leave();
    wait_until("the device is offline", || {
        let answer = node
            .get(&format!("/bvcsp/v1/pu/onlinestatus/{puid}"), Some(&token))
            .json();
        (answer["data"]["status"] == 0 || answer["data"] == 0).then_some(())
    });
    refused(
        &format!("/live/{puid}/0.flv?token={token}"),
        409,
        "the device is offline",
    );
}

#[test]
fn a_device_that_does_wrong_is_named_or_forgiven() {
    // Short times where a failure is wanted; what should play has the usual ones of its own node.
    let strict = Node::start(&[
        ("GANTRY_MEDIA_FALLBACK", "false"),
        ("GANTRY_MEDIA_RTP_TIMEOUT_MS", "1500"),
        ("GANTRY_MEDIA_PICTURE_TIMEOUT_MS", "2500"),
    ]);
    let mild = Node::start(&[]);
    let calling = Node::start(&[
        ("GANTRY_MEDIA_TRANSPORT", "tcp-passive"),
        ("GANTRY_MEDIA_FALLBACK", "false"),
    ]);
    std::thread::scope(|scope| {
        scope.spawn(|| fails(&strict, "silent", 424, "no RTP"));
        scope.spawn(|| fails(&strict, "no-key-frame", 424, "no key frame"));
        scope.spawn(|| fails(&strict, "tcp-only", 424, "rejected 488"));
        scope.spawn(|| forgiven(&mild, "tcp-only"));
        scope.spawn(|| forgiven(&mild, "udp-lost"));
        scope.spawn(|| forgiven(&strict, "wrong-ssrc"));
        scope.spawn(|| forgiven(&calling, "wrong-ssrc"));
    });
    for outcome in ["no RTP", "no key frame", "rejected"] {
        let label = format!("outcome=\"{outcome}\"");
        strict.wait_for_metric("gantry_invites_total", &label, |n| n == 1.0);
    }
    mild.wait_for_metric("gantry_invites_total", "outcome=\"live\"", |n| n == 2.0);
    // By the address that it sends from, with no second INVITE.
    strict.wait_for_metric("gantry_invites_total", "outcome=\"live\"", |n| n == 1.0);
    // Nothing is left of the failures, at the node or at the devices.
    strict.wait_for_metric("gantry_streams", "", |n| n == 0.0);
    strict.wait_for_metric("gantry_sessions", "", |n| n == 0.0);
}

fn quirky(node: &Node, quirk: &str) -> (Devices, String, String) {
    let n = match quirk {
        "silent" => 1,
        "no-key-frame" => 2,
        "tcp-only" => 3,
        "udp-lost" => 4,
        "wrong-ssrc" => 5,
        other => panic!("{other} is not known here"),
    };
    let id = format!("3402000000132000010{n}");
    let devices = Devices::start(
        node,
        &[
            "--count",
            "1",
            "--channels",
            "1",
            "--id-base",
            &id,
            "--quirk",
            quirk,
        ],
    );
    let token = node.login();
    let puid = format!("PU_{id}");
    node.wait_for_device(&token, &puid, 1);
    (devices, puid, token)
}

fn fails(node: &Node, quirk: &str, status: u16, says: &str) {
    let (_devices, puid, token) = quirky(node, quirk);
    let mut stream = HttpStream::open(node.http, &format!("/live/{puid}/0.flv?token={token}"));
    let body = stream.rest();
    assert_eq!(stream.status, status, "{quirk}: {body}");
    assert!(body.contains(says), "{quirk}: {body}");
}

fn forgiven(node: &Node, quirk: &str) {
    let (_devices, puid, token) = quirky(node, quirk);
    let mut stream = HttpStream::open(node.http, &format!("/live/{puid}/0.flv?token={token}"));
    assert_eq!(stream.status, 200, "{quirk}: {}", stream.head);
    let mut flv = Flv::default();
    while flv.tags(9).count() < 30 {
        flv.push(&stream.some());
    }
}

/// Garbage at every socket, while somebody watches.
#[test]
fn garbage_at_the_sockets_is_counted_and_disturbs_nobody() {
    let (node, _devices, token) = one_camera(&H264_G711, &[]);
    let mut watched = HttpStream::open(node.http, &H264_G711.path("flv", &token, ""));
    assert_eq!(watched.status, 200);
    let mut flv = Flv::default();
    flv.push(&watched.some());
    let before = |kind: &str| node.metric_where("gantry_malformed_total", kind);
    let (sip, rtp, webrtc) = (
        before("kind=\"sip "),
        before("kind=\"rtp "),
        before("kind=\"webrtc "),
    );

    let host = node.http.ip();
    let udp = std::net::UdpSocket::bind((host, 0)).expect("a free port");
    // Never RTP nor a SIP message: the first two bits are not version 2, and no line ends.
    let garbage: Vec<u8> = (0..600u32)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8 & 0x7f | 0x40)
        .collect();
    let media = node
        .rtp_ports
        .iter()
        .map(|port| SocketAddr::new(host, *port));
    let webrtc_addr = SocketAddr::new(host, node.webrtc_port);
    for to in media.clone().chain([node.sip, webrtc_addr]) {
        for len in [1, 11, 12, 40, 300, 600] {
            udp.send_to(&garbage[..len], to)
                .expect("the loopback takes it");
        }
    }
    let half = b"INVITE sip:x@y SIP/2.0\r\nContent-Length: -5\r\n\r\n";
    udp.send_to(half, node.sip).expect("the loopback takes it");
    for to in media.chain([node.sip, node.http, node.https]) {
        let mut socket = std::net::TcpStream::connect(to).expect("the node listens");
        // A node that has hung up already is as good.
        let _ = socket.write_all(&garbage);
        let _ = socket.write_all(b"\r\n\r\n");
    }

    node.wait_for_metric("gantry_malformed_total", "kind=\"sip ", |n| n > sip);
    node.wait_for_metric("gantry_malformed_total", "kind=\"rtp ", |n| n > rtp);
    node.wait_for_metric("gantry_malformed_total", "kind=\"webrtc ", |n| n > webrtc);
    assert_eq!(node.get("/healthz", None).json()["status"], "ok");
    let seen = flv.tags(9).count();
    while flv.tags(9).count() < seen + 75 {
        flv.push(&watched.some());
    }
    let times: Vec<u32> = flv.tags(9).skip(1).map(|tag| tag.time_ms).collect();
    assert!(
        times.windows(2).all(|w| w[1] - w[0] == 40),
        "no picture is missing: {times:?}"
    );
    assert_eq!(node.metric("gantry_ps_errors_total"), 0.0);
    node.wait_for_device(&token, &H264_G711.puid(), 1);
}
