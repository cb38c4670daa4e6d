//! Other people's GB/T 28181 messages: every body is read as its index says, every request gets its answer from a
//! platform that knows the sender, and every answer to a live view is taken.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Instant;

use bytes::Bytes;
use gantry::gb28181::manscdp::{self, Body, Flaws};
use gantry::gb28181::offer::Offer;
use gantry::gb28181::quirk::Quirks;
use gantry::gb28181::{Command, Config, Counters, DeviceAuth, MediaTransport, Output, Platform};
use gantry::id::{ChannelId, DeviceId, Ssrc};
use gantry::sip::{Carrier, Message, Path as SipPath, Transport};
use gantry::time::WallClock;

use crate::vectors;

/// The messages of the index: file, kind, bytes.
fn messages(folder: &Path) -> Vec<(String, String, Vec<u8>)> {
    vectors::table(&folder.join("INDEX.tsv"))
        .into_iter()
        .filter_map(|row| {
            let [file, kind, ..] = &row[..] else {
                return None;
            };
            let raw = std::fs::read(folder.join(file)).expect("a file of the index");
            Some((file.clone(), kind.clone(), raw))
        })
        .collect()
}

fn body_of(raw: &[u8]) -> &[u8] {
    let at = memchr::memmem::find(raw, b"\r\n\r\n").expect("an end of the head");
    &raw[at + 4..]
}

#[test]
fn bodies_are_read_as_their_index_says() {
    let Some(folder) = vectors::folder("gb28181") else {
        return;
    };
    let mut read = 0;
    for (file, kind, raw) in messages(&folder) {
        let Some((root, cmd)) = kind
            .split_once(' ')
            .and_then(|(_, what)| what.split_once(':'))
        else {
            continue;
        };
        let message = manscdp::parse(body_of(&raw)).unwrap_or_else(|e| panic!("{file}: {e}"));
        assert_eq!(format!("{:?}", message.root), root, "{file}");
        assert_eq!(message.cmd.name(), cmd, "{file}");
        assert!(message.sn.is_some(), "{file}");
        // A Broadcast notification names a source and a target instead.
        assert_eq!(
            message.device.is_none(),
            root == "Notify" && cmd == "Broadcast",
            "{file}"
        );
        assert_eq!(message.flaws, Flaws::default(), "{file}");
        if let Body::Catalog(page) = message.body {
            assert_eq!((page.total, page.items.len()), (Some(1), 1), "{file}");
            assert!(page.items[0].online, "{file}");
        }
        read += 1;
    }
    assert!(read >= 40, "only {read} bodies were found");
}

/// A platform that lets the device in without a password, and has let it in.
fn platform_with(device: DeviceId, now: Instant, path: SipPath) -> Platform {
    let wall = WallClock {
        at: now,
        unix_ms: 1_700_000_000_000,
    };
    let config = Config {
        query_on_register: false,
        ..Config::new("34020000002000000001".parse().expect("a code"))
    };
    let mut platform = Platform::new(config, [1; 32], now, wall);
    let auth = DeviceAuth::NotNeeded;
    platform.handle_command(now, Command::SetAuth { device, auth });
    let register = format!(
        "REGISTER sip:x SIP/2.0\r\nVia: SIP/2.0/UDP {};branch=z9hG4bKfirst\r\nFrom: <sip:{device}@x>;tag=1\r\n\
         To: <sip:{device}@x>\r\nCall-ID: first\r\nCSeq: 1 REGISTER\r\nExpires: 60\r\nContent-Length: 0\r\n\r\n",
        path.peer
    );
    platform.handle_message(now, path, Bytes::from(register));
    while platform.poll_output().is_some() {}
    assert_eq!(platform.gauges().devices_online, 1);
    platform
}

#[test]
fn requests_get_their_answers() {
    let Some(folder) = vectors::folder("gb28181") else {
        return;
    };
    let path = SipPath {
        peer: SocketAddr::from(([10, 0, 0, 9], 5060)),
        local: SocketAddr::from(([10, 0, 0, 1], 5060)),
        transport: Transport::Udp,
    };
    let mut answered = 0;
    for (file, kind, raw) in messages(&folder) {
        // Two messages in one read are for the framer; wrong lengths are told apart below, in `sip`.
        if file.starts_with("quirk-") || file.contains("InOneBuffer") || file.contains("Expires") {
            continue;
        }
        let Ok(message) = Message::parse(Bytes::from(raw.clone()), Carrier::Datagram) else {
            continue;
        };
        let (true, Some(sender)) = (message.is_request(), message.from_user()) else {
            continue;
        };
        let Ok(sender) = sender.parse() else {
            continue;
        };
        let expected = match kind.split(' ').next().expect("a kind") {
            "REGISTER" | "MESSAGE" | "NOTIFY" | "OPTIONS" => Some(200),
            "BYE" | "INFO" => Some(481),
            "INVITE" | "SUBSCRIBE" => Some(405),
            "ACK" => None,
            other => panic!("{file}: {other}"),
        };
        // A presence document is no MANSCDP, but NOTIFY does not care.
        let now = Instant::now();
        let mut platform = platform_with(DeviceId(sender), now, path);
        platform.handle_message(now, path, Bytes::from(raw));
        let mut status = None;
        while let Some(output) = platform.poll_output() {
            if let Output::Transmit(t) = output {
                let answer = Message::parse(t.payload, Carrier::Datagram).expect("our own SIP");
                status = answer.status().filter(|s| *s >= 200).or(status);
            }
        }
        assert_eq!(status, expected, "{file}");
        answered += 1;
    }
    assert!(answered >= 60, "only {answered} requests were found");
}

#[test]
fn answers_to_live_views_are_taken() {
    let Some(folder) = vectors::folder("gb28181") else {
        return;
    };
    let mut taken = 0;
    for (file, kind, raw) in messages(&folder) {
        if !kind.starts_with("200/INVITE s=Play") {
            continue;
        }
        let body = body_of(&raw);
        let tcp = memchr::memmem::find(body, b"TCP/RTP/AVP").is_some();
        let offer = Offer {
            platform: "34020000002000000001".parse().expect("a code"),
            channel: ChannelId("34020000001320000001".parse().expect("a code")),
            footage: gantry::gb28181::Footage::Live,
            ssrc: Ssrc(1),
            transport: if tcp {
                MediaTransport::TcpPassive
            } else {
                MediaTransport::Udp
            },
            media: SocketAddr::from(([10, 0, 0, 1], 30_000)),
        };
        let peer = SocketAddr::from(([10, 0, 0, 9], 5060)).ip();
        let mut counters = Counters::default();
        let checked = offer.check(body, Quirks::default(), peer, &mut counters);
        if memchr::memmem::find(body, b"m=video").is_none() {
            // Voice announced as a live view.
            assert_eq!(checked, Err("SDP without a video line"), "{file}");
            continue;
        }
        let answer = checked.unwrap_or_else(|what| panic!("{file}: {what}"));
        let first = answer.payloads.first();
        assert_eq!(first.map(|p| p.payload_type), Some(96), "{file}");
        assert!(answer.ssrc.is_some() && answer.remote.is_some(), "{file}");
        taken += 1;
    }
    assert!(taken >= 4, "only {taken} answers were found");
}

/// Names and texts of all elements, in order, without the number and whatever varies with the writer.
fn shape(element: &manscdp::tree::Element, depth: usize, out: &mut Vec<String>) {
    let own = if element.children.is_empty() {
        element.text()
    } else {
        ""
    };
    if !matches!(element.name.as_str(), "SN" | "SumNum") {
        out.push(format!("{}{}={own}", " ".repeat(depth), element.name));
    }
    for child in &element.children {
        shape(child, depth + 1, out);
    }
}

#[test]
fn what_we_write_has_the_shape_of_what_others_write() {
    use gantry::gb28181::question::{Ask, Question};
    use gantry::gb28181::settings::Settings;
    use gantry::gb28181::{Answer, Control, Notice};
    let Some(folder) = vectors::folder("gb28181") else {
        return;
    };
    let charset = manscdp::Charset::Gb2312;
    let mut compared = 0;
    for (file, kind, raw) in messages(&folder) {
        // Bodies of SUBSCRIBE say more than those of the question of the same name.
        let chosen = file.starts_with("gmv-reference/") || file.starts_with("misc/");
        if !chosen || kind.starts_with("SUBSCRIBE") {
            continue;
        }
        let Some((root, _)) = kind
            .split_once(' ')
            .and_then(|(_, what)| what.split_once(':'))
        else {
            continue;
        };
        let body = body_of(&raw);
        let head = manscdp::parse(body).unwrap_or_else(|e| panic!("{file}: {e}"));
        let theirs = manscdp::tree::tree(body).unwrap_or_else(|e| panic!("{file}: {e}"));
        let (Some(about), Some(sn)) = (head.device, head.sn) else {
            continue;
        };
        let ask = match (root, head.cmd) {
            ("Control", manscdp::CmdType::DeviceControl) => Some(Ask::Control(
                Control::read(&theirs).unwrap_or_else(|e| panic!("{file}: {e}")),
            )),
            ("Control", manscdp::CmdType::DeviceConfig) => {
                let mut all = Settings::read_all(&theirs).unwrap_or_else(|e| panic!("{file}: {e}"));
                Some(Ask::Set(all.remove(0)))
            }
            ("Query", cmd) => Question::read(cmd, &theirs)
                .unwrap_or_else(|e| panic!("{file}: {e}"))
                .map(Ask::Query),
            _ => None,
        };
        let ours = if let Some(ask) = ask {
            assert_eq!(ask.check(), Ok(()), "{file}");
            ask.body(sn, about, None, charset)
        } else if root == "Notify"
            && let Ok(Some(notice)) = Notice::read(head.cmd, &theirs)
        {
            manscdp::encode::document(head.root, head.cmd, sn, about, charset, |out| {
                notice.write(out);
            })
        } else if root == "Response"
            && let Ok(Some(answer)) = Answer::read(head.cmd, &theirs)
        {
            manscdp::encode::document(head.root, head.cmd, sn, about, charset, |out| {
                answer.write(out);
            })
        } else {
            continue;
        };
        let ours = manscdp::tree::tree(&ours).expect("our own writing");
        let (mut want, mut got) = (Vec::new(), Vec::new());
        shape(&theirs, 0, &mut want);
        shape(&ours, 0, &mut got);
        // What only some write: the priority of an order, a presence of OK, and empty lists of the older draft.
        let optional = |line: &String| {
            ["Info=", "ControlPriority=", "Status=OK", "Result=OK"]
                .iter()
                .any(|name| line.trim_start().starts_with(name))
        };
        want.retain(|line| !optional(line));
        got.retain(|line| !optional(line));
        compared += 1;
        // The cruises of this writer stand in `Item`, those of the annex in elements of their own; numbers are the same.
        let texts = |lines: &[String]| -> Vec<String> {
            let values = lines.iter().filter_map(|line| line.split_once('='));
            values
                .filter(|(_, text)| !text.is_empty())
                .map(|(_, text)| match text.parse::<f64>() {
                    Ok(number) if text.len() < 16 => number.to_string(),
                    _ => text.to_owned(),
                })
                .collect()
        };
        let changed = kind.contains("Cruise")
            || kind.contains("PTZPosition")
            || kind.contains("Alarm")
            || kind.contains("DeviceStatus");
        if changed {
            let (mut got, mut want) = (texts(&got), texts(&want));
            got.sort_unstable();
            want.sort_unstable();
            assert_eq!(got, want, "{file}");
        } else if !kind.contains("Catalog") {
            assert_eq!(got, want, "{file}");
        }
    }
    assert!(compared >= 25, "only {compared} bodies were compared");
}
