//! Messages of real devices and platforms parse to what their index and Wireshark say.

use std::path::Path;

use bytes::Bytes;
use gantry::sip::{Carrier, ErrorKind, Framer, Message, ParseError, Sdp};
use gantry::sip::{framing, typed};

use crate::vectors;

/// Messages that are refused, and why.
const REFUSED: &[(&str, ErrorKind)] = &[
    // Their Content-Length is longer than the datagram: what is missing cannot be told from what was cut off (RFC 3261,
    // 18.3 asks for 400).
    (
        "quirk-content-length/uvp-invite-realplay.sip",
        ErrorKind::BodyTooShort,
    ),
    (
        "quirk-content-length/uvp-keepalive-message.sip",
        ErrorKind::BodyTooShort,
    ),
];

/// Cells in which Wireshark and we differ, and why.
const DIFFERENT: &[(&str, &str, &str)] = &[(
    "stack-output/srsbench-04-message-notify-keepalive.sip",
    "branch",
    "Wireshark joins the branches of both Via values in the line; the transaction is that of the first",
)];

fn parse(folder: &Path, file: &str) -> Result<Message, ParseError> {
    let raw = std::fs::read(folder.join(file)).expect("a file of the index");
    Message::parse(Bytes::from(raw), Carrier::Datagram)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Our reading of the columns of `EXPECT_tshark.tsv`.
fn columns(m: &Message) -> Vec<(&'static str, String)> {
    let cseq = m.cseq().expect("checked");
    let mut row = vec![
        ("method", text(m.method_text())),
        (
            "status",
            m.status().map_or(String::new(), |s| s.to_string()),
        ),
        ("uri", text(m.uri())),
        ("call-id", m.call_id().to_owned()),
        ("cseq number", cseq.number.to_string()),
        ("cseq method", text(cseq.method)),
        ("from user", m.from_user().unwrap_or("").to_owned()),
        ("to user", m.to_user().unwrap_or("").to_owned()),
        (
            "branch",
            m.via_top()
                .expect("checked")
                .branch()
                .unwrap_or("")
                .to_owned(),
        ),
        (
            "content-length",
            m.header_str(gantry::sip::HeaderName::ContentLength)
                .unwrap_or("")
                .to_owned(),
        ),
    ];
    let sdp = m
        .body()
        .starts_with(b"v=")
        .then(|| Sdp::parse(m.body()).expect("SDP"));
    let media = |s: &Sdp| {
        s.session
            .medias
            .iter()
            .map(|m| format!("{} {} {} {}", m.media, m.port, m.proto, m.fmt))
            .collect::<Vec<_>>()
            .join(",")
    };
    row.push((
        "s=",
        sdp.as_ref().map_or(String::new(), |s| s.name().to_owned()),
    ));
    row.push(("m=", sdp.as_ref().map_or(String::new(), media)));
    let ip = sdp.as_ref().and_then(Sdp::connection_ip);
    row.push(("c=", ip.map_or(String::new(), |ip| ip.to_string())));
    row
}

#[test]
fn every_message_reads_as_wireshark_reads_it() {
    let Some(folder) = vectors::folder("gb28181") else {
        return;
    };
    let rows = vectors::table(&folder.join("EXPECT_tshark.tsv"));
    let mut wrong = Vec::new();
    let mut read = 0;
    for row in &rows {
        let file = row[0].as_str();
        let message = match parse(&folder, file) {
            Ok(message) => message,
            Err(error) => {
                if !REFUSED.contains(&(file, error.kind)) {
                    wrong.push(format!("{file}: {error}"));
                }
                continue;
            }
        };
        read += 1;
        for ((name, ours), theirs) in columns(&message).iter().zip(&row[1..]) {
            let told = DIFFERENT.iter().any(|(f, n, _)| *f == file && n == name);
            if (ours != theirs) != told {
                wrong.push(format!("{file}: {name}: {ours:?}, not {theirs:?}"));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{} wrong:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    assert!(read + REFUSED.len() >= rows.len());
}

#[test]
fn every_message_is_of_the_kind_its_index_says() {
    let Some(folder) = vectors::folder("gb28181") else {
        return;
    };
    let mut seen = 0;
    for row in vectors::table(&folder.join("INDEX.tsv")) {
        let (file, kind, length) = (row[0].as_str(), row[1].as_str(), row[4].as_str());
        let Ok(m) = parse(&folder, file) else {
            let told = REFUSED.iter().any(|(f, _)| *f == file);
            let ping = kind.contains("keepalive") && length == "-";
            assert!(told || ping, "{file} is refused");
            continue;
        };
        seen += 1;
        let first = kind.split(' ').next().unwrap_or("");
        let start = match m.status() {
            Some(status) => format!("{status}/{}", text(m.cseq().expect("checked").method)),
            None => text(m.method_text()),
        };
        assert_eq!(start, first, "{file}");
        if let Some(name) = kind.split(" s=").nth(1) {
            let sdp = Sdp::parse(m.body()).expect("SDP");
            assert_eq!(sdp.name(), name, "{file}");
            assert!(sdp.defects.is_empty(), "{file}: {:?}", sdp.defects);
        }
        if length == "ok" {
            let declared = m.header_str(gantry::sip::HeaderName::ContentLength);
            assert_eq!(
                declared.and_then(|l| l.parse().ok()),
                Some(m.body().len()),
                "{file}"
            );
        }
    }
    assert!(seen > 150, "only {seen} messages were read");
}

#[test]
fn every_message_comes_whole_out_of_a_stream() {
    let Some(folder) = vectors::folder("gb28181") else {
        return;
    };
    let mut framer = Framer::new();
    for row in vectors::table(&folder.join("INDEX.tsv")) {
        if row[4] != "ok" {
            continue;
        }
        let raw = std::fs::read(folder.join(&row[0])).expect("a file of the index");
        for piece in raw.chunks(100) {
            framer.push(piece);
            if piece.len() == 100 && framer.buffered() < raw.len() {
                assert_eq!(framer.next(), None, "{}", row[0]);
            }
        }
        let frame = framer.next();
        assert_eq!(
            frame,
            Some(Ok(framing::Frame::Message(Bytes::from(raw)))),
            "{}",
            row[0]
        );
    }
    assert_eq!(framer.buffered(), 0);
}

/// `rsip` reads what we normalised: a second opinion on our own light views.
#[test]
fn rsip_agrees_on_via_and_contact() {
    let Some(folder) = vectors::folder("gb28181") else {
        return;
    };
    let (mut vias, mut contacts) = (0, 0);
    for row in vectors::table(&folder.join("INDEX.tsv")) {
        let Ok(m) = parse(&folder, &row[0]) else {
            continue;
        };
        if let Ok(via) = typed::via(&m) {
            let ours = m.via_top().expect("checked");
            assert_eq!(
                via.branch().map(|b| b.to_string()).as_deref(),
                ours.branch(),
                "{}",
                row[0]
            );
            assert_eq!(via.uri.port().map(|p| *p.value()), ours.port, "{}", row[0]);
            vias += 1;
        }
        if let (Ok(theirs), Ok(ours)) = (typed::contact(&m), m.contact()) {
            let uri = ours.parse_uri().expect("rsip read it");
            assert_eq!(theirs.uri.user(), uri.user, "{}", row[0]);
            assert_eq!(theirs.uri.host().to_string(), uri.host, "{}", row[0]);
            contacts += 1;
        }
    }
    assert!(
        vias > 150 && contacts > 20,
        "{vias} vias, {contacts} contacts"
    );
}

/// Camera, kinds of its media, encoding of the first, defects we tolerate.
const CAMERAS: &[(&str, &str, &str, usize)] = &[
    ("anjvision_describe.txt", "video", "H265", 0),
    ("anpviz_sdp.txt", "video audio", "H264", 0),
    (
        "dahua_describe_h264_aac_onvif.txt",
        "video audio application",
        "H264",
        0,
    ),
    ("dahua_describe_h265_pcma.txt", "video audio", "H265", 0),
    ("geovision_sdp.txt", "video application", "H264", 0),
    ("gw_main_describe.txt", "video audio", "H264", 0),
    ("h264dvr_describe.txt", "video audio", "H264", 0),
    ("hikvision_describe.txt", "video application", "H264", 0),
    ("macrovideo_describe.txt", "video", "H264", 0),
    (
        "missing_content_type_describe.txt",
        "video audio",
        "H264",
        0,
    ),
    (
        "reolink_describe_control_first.txt",
        "video audio",
        "H264",
        0,
    ),
    // Its o= has seven fields.
    (
        "tplink_sdp.txt",
        "video audio application/TP-LINK",
        "H265",
        1,
    ),
    ("vstarcam_describe.txt", "video audio", "H264", 0),
];

#[test]
fn descriptions_of_many_cameras() {
    let Some(folder) = vectors::folder("sdp-cameras") else {
        return;
    };
    let mut files = 0;
    for (file, kinds, codec, defects) in CAMERAS {
        let raw = std::fs::read(folder.join(file)).expect("a camera's file");
        let from = raw.windows(4).position(|w| w == b"v=0\r" || w == b"v=0\n");
        let sdp = Sdp::parse(&raw[from.expect("SDP")..]).expect("SDP");
        let ours: Vec<_> = sdp.media().map(|m| m.kind()).collect();
        assert_eq!(ours.join(" "), *kinds, "{file}");
        let first = sdp.media().next().expect("one");
        let pt = first.payload_types().next().expect("one");
        assert_eq!(first.rtpmap(pt).map(|m| m.name), Some(*codec), "{file}");
        assert_eq!(sdp.defects.len(), *defects, "{file}: {:?}", sdp.defects);
        files += 1;
    }
    assert_eq!(files, std::fs::read_dir(folder).expect("a folder").count());
}
