//! Recordings of others, and captures made here of what goes wrong.

use std::path::PathBuf;

use super::*;
use crate::diagnosis::pcap;
use crate::diagnosis::sentence::Kind;
use crate::sip::Transport;
use crate::sip::log::Direction;

const SSRC: Ssrc = Ssrc(200_000_001);
const PEER: &str = "198.51.100.7";

/// A file of the vectors; `None` where the folder is not there.
fn vector(name: &str) -> Option<Bytes> {
    let dir = std::env::var_os("GANTRY_VECTORS")
        .map_or_else(|| "../shared/vectors".into(), PathBuf::from);
    if !dir.exists() {
        eprintln!("SKIPPED: no vectors");
        return None;
    }
    Some(
        std::fs::read(dir.join("media").join(name))
            .expect("the vector is readable")
            .into(),
    )
}

fn looked(file: &Bytes) -> Report {
    look(Instant::now(), file).expect("a recording")
}

#[test]
fn program_streams_of_other_muxers_are_healthy() {
    for (name, codec, sound) in [
        ("gst-h264.ps", "H264", false),
        ("srsbench-h264-aac.ps", "H264", true),
        ("ffmpeg-vob-h265-nopsm.mpg", "H265", false),
    ] {
        let Some(file) = vector(name) else { return };
        let report = looked(&file);
        assert_eq!(
            report.verdict().kind,
            Kind::Well,
            "{name}: {}",
            report.to_text()
        );
        let stream = &report.streams[0];
        assert_eq!(stream.tracks[0].codec, codec, "{name}");
        assert!(
            stream.key_frames > 0 && stream.tracks[0].sps.is_some(),
            "{name}"
        );
        assert_eq!(stream.sound_frames > 0, sound, "{name}");
        let text = report.to_text();
        assert!(
            text.starts_with("OK: all is well\n") && text.contains(codec),
            "{text}"
        );
    }
}

#[test]
fn a_codec_that_is_not_supported_is_named() {
    let Some(file) = vector("ffmpeg-vob-mpeg2-mp2.mpg") else {
        return;
    };
    let report = looked(&file);
    assert!(!report.verdict().kind.is_healthy(), "{}", report.to_text());
    assert!(report.to_text().starts_with("PROBLEM: "));
}

#[test]
fn a_dump_of_a_device_is_read() {
    let Some(file) = vector("srsbench-tcp-h264-aac.rtpdump") else {
        return;
    };
    let report = looked(&file);
    assert_eq!((report.kind, report.streams.len()), ("rtpdump", 1));
    assert_eq!(report.verdict().kind, Kind::Well, "{}", report.to_text());
    let json: serde_json::Value = serde_json::from_str(&report.to_json()).expect("JSON");
    assert_eq!(json["verdict"]["kind"], "well");
    assert_eq!(json["streams"][0]["lost"], 0);
}

#[test]
fn nonsense_is_not_a_recording() {
    for bytes in [
        &b""[..],
        b"GIF89a",
        b"#!rtpplay1.0 ",
        &[0x47; 100],
        &[0, 0, 1],
    ] {
        let report = look(Instant::now(), &Bytes::copy_from_slice(bytes));
        assert!(
            report.is_none_or(|r| r.verdict().kind == Kind::Nothing),
            "{bytes:?}"
        );
    }
}

/// A capture of one view.
struct Scene {
    writer: pcap::Writer,
    us: i64,
}

impl Scene {
    fn new() -> Scene {
        Scene {
            writer: pcap::Writer::new(),
            us: 1_700_000_000_000_000,
        }
    }

    fn push(&mut self, direction: Direction, ports: (u16, u16), payload: &[u8]) {
        self.us += 1_000;
        let ours = "203.0.113.5";
        self.writer.push(&pcap::Packet {
            unix_us: self.us,
            direction,
            peer: format!("{PEER}:{}", ports.0).parse().expect("an address"),
            local: format!("{ours}:{}", ports.1).parse().expect("an address"),
            transport: Transport::Udp,
            payload,
            whole: payload.len(),
        });
    }

    fn sip(&mut self, direction: Direction, start: &str, method: &str, body: &str) {
        let message = format!(
            "{start}\r\nVia: SIP/2.0/UDP 203.0.113.5:5060;branch=z9hG4bK1\r\nFrom: <sip:1@a>;tag=1\r\nTo: <sip:2@b>;tag=2\r\n\
             Call-ID: 7\r\nCSeq: 1 {method}\r\nMax-Forwards: 70\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        self.push(direction, (5060, 5060), message.as_bytes());
    }

    fn sdp(ip: &str, port: u16) -> String {
        format!(
            "v=0\r\no=1 0 0 IN IP4 {ip}\r\ns=Play\r\nc=IN IP4 {ip}\r\nt=0 0\r\nm=video {port} RTP/AVP 96\r\n\
             a=rtpmap:96 PS/90000\r\ny={SSRC}\r\n"
        )
    }

    fn invite(&mut self, ip: &str) {
        self.sip(
            Direction::Out,
            "INVITE sip:2@b SIP/2.0",
            "INVITE",
            &Scene::sdp(ip, 30_000),
        );
    }

    fn answer(&mut self, body: &str) {
        self.sip(Direction::In, "SIP/2.0 200 OK", "INVITE", body);
    }

    fn media(&mut self, ssrc: Ssrc, file: &Bytes, keep: impl Fn(usize) -> bool) {
        for (n, packet) in media::packets_of_file(file, ssrc).iter().enumerate() {
            if keep(n) {
                self.push(Direction::In, (15_060, 30_000), &packet.packet);
            }
        }
    }

    fn report(self) -> Report {
        looked(&self.writer.finish().into())
    }
}

/// A view to its 200 OK.
fn opened() -> Scene {
    let mut scene = Scene::new();
    scene.invite("203.0.113.5");
    scene.answer(&Scene::sdp(PEER, 15_060));
    scene.sip(Direction::Out, "ACK sip:2@b SIP/2.0", "ACK", "");
    scene
}

#[test]
fn a_capture_of_a_view_is_healthy() {
    let Some(file) = vector("gst-h264.ps") else {
        return;
    };
    let mut scene = opened();
    scene.media(SSRC, &file, |_| true);
    let report = scene.report();
    assert_eq!(report.verdict().kind, Kind::Well, "{}", report.to_text());
    assert_eq!(
        (report.views.len(), report.streams.len(), report.sip.len()),
        (1, 1, 3)
    );
    assert_eq!(
        report.views[0].offered.as_deref(),
        Some("203.0.113.5:30000")
    );
    assert_eq!(report.views[0].answer_ms, Some(1));
    assert_eq!(report.skipped, Some(0));
}

#[test]
fn what_is_wrong_first_is_named() {
    let Some(file) = vector("gst-h264.ps") else {
        return;
    };
    let verdict = |scene: Scene| scene.report().verdict();

    let mut scene = Scene::new();
    scene.invite("203.0.113.5");
    assert_eq!(verdict(scene).kind, Kind::NoAnswer);

    let mut scene = Scene::new();
    scene.invite("203.0.113.5");
    scene.sip(
        Direction::In,
        "SIP/2.0 488 Not Acceptable Here",
        "INVITE",
        "",
    );
    let found = verdict(scene);
    assert_eq!(found.kind, Kind::Rejected);
    assert!(found.en.contains("488 Not Acceptable Here"), "{}", found.en);

    let mut scene = Scene::new();
    scene.invite("203.0.113.5");
    scene.answer("");
    assert_eq!(verdict(scene).kind, Kind::NoSdp);

    assert_eq!(verdict(opened()).kind, Kind::NoRtp);

    let mut scene = Scene::new();
    scene.invite("192.168.1.10");
    scene.answer(&Scene::sdp(PEER, 15_060));
    let found = verdict(scene);
    assert_eq!(found.kind, Kind::UnreachableAddress);
    assert!(found.en.contains("192.168.1.10:30000"), "{}", found.en);

    let mut scene = opened();
    scene.media(Ssrc(77), &file, |_| true);
    assert_eq!(verdict(scene).kind, Kind::ForeignSsrc);

    let mut scene = opened();
    scene.media(SSRC, &Bytes::from(vec![0x55; 200_000]), |_| true);
    assert_eq!(verdict(scene).kind, Kind::NoPs);

    let mut scene = opened();
    scene.media(SSRC, &file, |n| n % 10 != 3);
    assert_eq!(verdict(scene).kind, Kind::Loss);

    let mut scene = opened();
    scene.sip(Direction::In, "BYE sip:1@a SIP/2.0", "BYE", "");
    assert_eq!(verdict(scene).kind, Kind::EndedByDevice);

    let mut scene = Scene::new();
    scene.sip(Direction::In, "REGISTER sip:1@a SIP/2.0", "REGISTER", "");
    scene.sip(Direction::Out, "SIP/2.0 401 Unauthorized", "REGISTER", "");
    assert_eq!(verdict(scene).kind, Kind::NotRegistered);

    assert_eq!(verdict(Scene::new()).kind, Kind::Nothing);
}

#[test]
fn secrets_of_a_capture_are_not_printed() {
    let mut scene = Scene::new();
    let start =
        "REGISTER sip:1@a SIP/2.0\r\nAuthorization: Digest username=\"1\", response=\"abcdef\"";
    scene.sip(
        Direction::In,
        start,
        "REGISTER",
        "<Password>abcdef</Password>",
    );
    let report = scene.report();
    assert!(!report.to_json().contains("abcdef") && !report.to_text().contains("abcdef"));
    assert_eq!(report.sip.len(), 1);
}
