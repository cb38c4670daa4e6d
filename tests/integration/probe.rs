//! `gantry probe` on files as people have them: what FFmpeg and GStreamer make, what a capture holds, and the same with
//! something wrong. The sentence and the exit code are what a person and a script see.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use bytes::Bytes;
use gantry::diagnosis::pcap;
use gantry::id::Ssrc;
use gantry::media::frame::Codec;
use gantry::media::ps::mux::Mux;
use gantry::media::rtp;
use gantry::sip::Transport;
use gantry::sip::log::Direction;
use serde_json::Value;

use super::media_files::{Folder, g711, has_tool, interleave, make_video, run, vector, video};
use super::node::{Devices, Node, binary, tool};

const SSRC: u32 = 200_000_001;

/// A capture that is wrong: its name, the answer to its INVITE, its packets, the kind of what is wrong, and words that say it.
type Case<'a> = (
    &'a str,
    Option<&'a str>,
    &'a [(Duration, Vec<u8>)],
    &'a str,
    &'a [&'a str],
);

/// The exit code, and what was printed.
fn probe(arguments: &[&str], file: &Path) -> (i32, String) {
    let output = Command::new(binary())
        .arg("probe")
        .args(arguments)
        .arg(file)
        .output()
        .expect("the binary starts");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let code = output.status.code().expect("it ends by itself");
    (code, text(&output.stdout) + &text(&output.stderr))
}

/// A file that is well: what is said of it holds these words.
fn is_well(file: &Path, words: &[&str]) {
    let (code, text) = probe(&[], file);
    assert_eq!(code, 0, "{}: {text}", file.display());
    assert!(text.starts_with("OK: all is well\n"), "{text}");
    for word in words {
        assert!(text.contains(word), "{word} in {text}");
    }
}

/// A file with something wrong: its kind for scripts, and the words for people.
fn is_wrong(file: &Path, kind: &str, words: &[&str]) {
    let (code, text) = probe(&[], file);
    assert_eq!(code, 1, "{}: {text}", file.display());
    let first = text.lines().next().unwrap_or_default();
    assert!(first.starts_with("PROBLEM: "), "{text}");
    for word in words {
        assert!(first.contains(word), "{word} in {first}");
    }
    let (code, json) = probe(&["--json"], file);
    let json: Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!((code, &json["verdict"]["kind"]), (1, &kind.into()));
}

fn tools_are_there() -> bool {
    let there = has_tool("ffmpeg") && has_tool("ffprobe");
    assert!(
        there || std::env::var_os("CI").is_none(),
        "ffmpeg is missing"
    );
    if !there {
        eprintln!("SKIPPED: ffmpeg is not installed");
    }
    there
}

#[test]
fn files_of_ffmpeg_are_well_unless_their_codec_is_not_known() {
    if !tools_are_there() {
        return;
    }
    let folder = Folder::new("probe-ffmpeg");
    for (codec, name) in [(Codec::H264, "H264"), (Codec::H265, "H265")] {
        let picture = make_video(&folder, codec, 4, "320x240", 25);
        let picture = picture.to_str().expect("a plain path");
        for (format, suffix, kind) in [
            ("mpegts", "ts", "transport stream"),
            ("vob", "ps", "program stream"),
        ] {
            let file = folder.file(&format!("{name}.{suffix}"));
            let sound = "sine=frequency=440:duration=4";
            let mut arguments = vec![
                "-v", "error", "-y", "-r", "25", "-i", picture, "-f", "lavfi", "-i", sound, "-c:v",
                "copy",
            ];
            // A DVD has no AAC.
            if suffix == "ts" {
                arguments.extend(["-c:a", "aac"]);
            } else {
                arguments.push("-an");
            }
            arguments.extend(["-f", format, file.to_str().expect("a plain path")]);
            run("ffmpeg", &arguments);
            is_well(&file, &[name, kind, "320 x 240"]);
        }
    }
    let file = folder.file("mpeg2.ts");
    let source = "testsrc2=size=320x240:rate=25:duration=4";
    let made = file.to_str().expect("a plain path");
    let arguments = ["-v", "error", "-y", "-f", "lavfi", "-i", source];
    let coded = ["-c:v", "mpeg2video", "-f", "mpegts", made];
    run("ffmpeg", &[&arguments[..], &coded].concat());
    is_wrong(&file, "unsupported-codec", &["0x02"]);
}

#[test]
fn program_streams_of_others_are_well() {
    for (name, words) in [
        ("gst-h264.ps", &["H264", "program stream"][..]),
        ("srsbench-h264-aac.ps", &["H264", "AAC"]),
    ] {
        let Some(file) = vector(name) else { return };
        is_well(&file, words);
    }
}

/// Some seconds of the package's clip as RTP, with when each packet came.
fn packets() -> Vec<(Duration, Vec<u8>)> {
    let clips = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/sim/clips");
    let picture = video(Codec::H264, &clips.join("yard.h264"), 25);
    let sound = std::fs::read(clips.join("melody.alaw")).expect("a clip of the package");
    let sound = g711(Codec::G711A, Bytes::from(sound), 320);
    let mut mux = Mux::new(Some(&picture.track), Some(&sound.track));
    let mut writer = rtp::Writer::new(Ssrc(SSRC), 96, 65_400);
    let mut out = Vec::new();
    for frame in interleave(&[&picture.frames, &sound.frames]) {
        let at = Duration::from_millis((frame.dts.0 / 90) as u64);
        let mut bytes = Vec::new();
        mux.push(&frame, &mut bytes);
        writer.write(&bytes, frame.pts.0 as u32, 1_300, &mut |packet| {
            out.push((at, packet.to_vec()));
        });
    }
    out
}

/// The format of rtptools (rtpdump -F dump).
fn rtpdump(packets: &[(Duration, Vec<u8>)]) -> Vec<u8> {
    let mut out = b"#!rtpplay1.0 192.0.2.1/30000\n".to_vec();
    out.extend([0; 16]);
    for (at, packet) in packets {
        out.extend((packet.len() as u16 + 8).to_be_bytes());
        out.extend((packet.len() as u16).to_be_bytes());
        out.extend((at.as_millis() as u32).to_be_bytes());
        out.extend_from_slice(packet);
    }
    out
}

/// A view by SIP and what came of it, as a capture.
fn capture(answer: Option<&str>, packets: &[(Duration, Vec<u8>)]) -> Vec<u8> {
    let mut writer = pcap::Writer::new();
    let mut put = |at: Duration, direction, ports: (u16, u16), payload: &[u8]| {
        writer.push(&pcap::Packet {
            unix_us: 1_770_000_000_000_000 + at.as_micros() as i64,
            direction,
            peer: format!("198.51.100.7:{}", ports.0).parse().expect("one"),
            local: format!("203.0.113.5:{}", ports.1).parse().expect("one"),
            transport: Transport::Udp,
            payload,
            whole: payload.len(),
        });
    };
    let sdp = |ip: &str, port: u16| {
        format!(
            "v=0\r\no=1 0 0 IN IP4 {ip}\r\ns=Play\r\nc=IN IP4 {ip}\r\nt=0 0\r\nm=video {port} RTP/AVP 96\r\n\
             a=rtpmap:96 PS/90000\r\ny={SSRC:010}\r\n"
        )
    };
    let sip = |start: &str, method: &str, body: &str| {
        format!(
            "{start}\r\nVia: SIP/2.0/UDP 203.0.113.5:5060;branch=z9hG4bK1\r\nFrom: <sip:1@a>;tag=1\r\nTo: <sip:2@b>;tag=2\r\n\
             Call-ID: 7\r\nCSeq: 1 {method}\r\nMax-Forwards: 70\r\nContent-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    let ms = Duration::from_millis;
    let offer = sip(
        "INVITE sip:34020000001310000001@198.51.100.7 SIP/2.0",
        "INVITE",
        &sdp("203.0.113.5", 30_000),
    );
    put(ms(0), Direction::Out, (5060, 5060), offer.as_bytes());
    if let Some(status) = answer {
        let body = if status.starts_with("200") {
            sdp("198.51.100.7", 15_060)
        } else {
            String::new()
        };
        let answer = sip(&format!("SIP/2.0 {status}"), "INVITE", &body);
        put(ms(20), Direction::In, (5060, 5060), answer.as_bytes());
        let ack = sip("ACK sip:2@198.51.100.7 SIP/2.0", "ACK", "");
        put(ms(21), Direction::Out, (5060, 5060), ack.as_bytes());
    }
    for (at, packet) in packets {
        put(ms(50) + *at, Direction::In, (15_060, 30_000), packet);
    }
    writer.finish()
}

#[test]
fn dumps_and_captures_say_what_came_and_what_is_wrong() {
    if !tools_are_there() {
        return;
    }
    let folder = Folder::new("probe-captures");
    let whole = packets();
    // A key frame comes through before the loss begins.
    let lossy = whole.iter().enumerate();
    let lossy: Vec<_> = lossy
        .filter(|(n, _)| *n < whole.len() / 3 || n % 10 != 3)
        .map(|(_, packet)| packet.clone())
        .collect();
    is_well(&folder.write("well.rtpdump", &rtpdump(&whole)), &["H264"]);
    let file = folder.write("lossy.rtpdump", &rtpdump(&lossy));
    is_wrong(&file, "loss", &["%", "TCP"]);

    let well = folder.write("well.pcap", &capture(Some("200 OK"), &whole));
    is_well(&well, &["H264", "INVITE"]);
    let cases: [Case<'_>; 4] = [
        ("lossy", Some("200 OK"), &lossy, "loss", &["%", "TCP"]),
        (
            "silent",
            Some("200 OK"),
            &[],
            "no-rtp",
            &["203.0.113.5:30000", "UDP"],
        ),
        (
            "refused",
            Some("486 Busy Here"),
            &[],
            "rejected",
            &["486 Busy Here"],
        ),
        ("mute", None, &[], "no-answer", &["INVITE"]),
    ];
    for (name, answer, packets, kind, words) in cases {
        let file = folder.write(&format!("{name}.pcap"), &capture(answer, packets));
        is_wrong(&file, kind, words);
    }
    // The same capture as Wireshark's own format, written by its own tool.
    let converted = folder.file("well.pcapng");
    let names = [&well, &converted].map(|path| path.to_str().expect("a plain path"));
    if tool("tshark", &["-r", names[0], "-F", "pcapng", "-w", names[1]]).is_some() {
        is_well(&converted, &["H264", "INVITE"]);
    }
}

#[test]
fn a_capture_that_the_node_gives_out_is_read() {
    let node = Node::start(&[("GANTRY_MEDIA_FALLBACK", "false")]);
    let token = node.login();
    let id = "34020000001320000011";
    let quirk = [
        "--count",
        "1",
        "--channels",
        "1",
        "--id-base",
        id,
        "--quirk",
        "tcp-only",
    ];
    let _devices = Devices::start(&node, &quirk);
    node.wait_for_device(&token, &format!("PU_{id}"), 1);
    let path = format!("/live/PU_{id}/0.flv?token={token}");
    assert_eq!(node.get(&path, None).status, 424);
    let path = format!("/gantry/v1/devices/PU_{id}/sip.pcap");
    let answer = node.get(&path, Some(&token));
    assert_eq!(answer.status, 200);
    let folder = Folder::new("probe-own");
    is_wrong(
        &folder.write("own.pcap", &answer.body),
        "rejected",
        &["488"],
    );
}

#[test]
fn what_is_no_recording_is_refused() {
    let folder = Folder::new("probe-nonsense");
    for (name, bytes) in [
        ("empty", &b""[..]),
        ("picture.gif", b"GIF89a and more of it"),
        ("text", &[b'x'; 10_000]),
    ] {
        let (code, text) = probe(&[], &folder.write(name, bytes));
        assert_eq!(code, 2, "{text}");
        assert!(
            text.contains(name) && text.starts_with("gantry: "),
            "{text}"
        );
    }
    let (code, text) = probe(&[], &folder.file("not there"));
    assert!(code == 2 && text.contains("not there"), "{code} {text}");
}
