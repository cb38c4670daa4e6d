//! The way from a device to the node, when it misbehaves: addresses that change, strangers, connections that come twice,
//! bytes that go missing, SSRCs that are not unique, restarts in the middle of a view.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use gantry::id::Ssrc;
use gantry::media::frame::Codec;
use gantry::media::ps::mux::Mux;
use gantry::media::{rfc4571, rtcp, rtp};
use serde_json::{Value, json};

use super::media_files::{g711, has_tool, interleave, video};
use super::node::{Devices, Node, PATIENCE, fresh_folder, tool, wait_until};
use super::player::{Flv, HttpStream};

const PAYLOAD_BYTES: usize = 1_300;
const SSRC: u32 = 77_001;

/// A packet and when it is due after the first.
type Timed = (Duration, Vec<u8>);

/// Some seconds of the package's clip as packets. `None`: the splitter of the tests needs ffprobe.
fn packets(seconds: u64) -> Option<Vec<Timed>> {
    if !has_tool("ffprobe") {
        assert!(!crate::vectors::is_ci(), "ffprobe is missing");
        eprintln!("SKIPPED: ffprobe is not installed");
        return None;
    }
    let clips = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/sim/clips");
    let picture = video(Codec::H264, &clips.join("yard.h264"), 25);
    let sound = std::fs::read(clips.join("melody.alaw")).expect("a clip of the package");
    let sound = g711(Codec::G711A, Bytes::from(sound), 320);
    let span = picture.frames.len() as i64 * 3_600;
    let frames = interleave(&[&picture.frames, &sound.frames]);
    let mut mux = Mux::new(Some(&picture.track), Some(&sound.track));
    let mut writer = rtp::Writer::new(Ssrc(SSRC), 96, 65_400);
    let mut out = Vec::new();
    for round in 0.. {
        for frame in frames.iter().filter(|frame| frame.dts.0 < span) {
            let mut frame = frame.clone();
            frame.dts.0 += round * span;
            frame.pts.0 += round * span;
            let due = Duration::from_millis((frame.dts.0 / 90) as u64);
            if due > Duration::from_secs(seconds) {
                return Some(out);
            }
            let mut bytes = Vec::new();
            mux.push(&frame, &mut bytes);
            writer.write(&bytes, frame.pts.0 as u32, PAYLOAD_BYTES, &mut |packet| {
                out.push((due, packet.to_vec()));
            });
        }
    }
    None
}

/// Gives each packet to `send` when it is due.
fn play(packets: &[Timed], mut send: impl FnMut(usize, &[u8])) {
    let began = Instant::now();
    for (n, (due, packet)) in packets.iter().enumerate() {
        std::thread::park_timeout(due.saturating_sub(began.elapsed()));
        send(n, packet);
    }
}

fn open(node: &Node, token: &str, name: &str, transport: &str) -> SocketAddr {
    open_ssrc(node, token, name, transport, SSRC)
}

fn open_ssrc(node: &Node, token: &str, name: &str, transport: &str, ssrc: u32) -> SocketAddr {
    let body = json!({"stream": name, "ssrc": ssrc, "transport": transport}).to_string();
    let path = "/gantry/v1/ingest";
    let answer = node.request("POST", path, Some(token), "application/json", &body);
    assert_eq!(answer.status, 200, "{}", answer.json());
    let port = answer.json()["port"].as_u64().expect("a port") as u16;
    SocketAddr::from(([127, 0, 0, 1], port))
}

/// Watches a stream in a thread until it has a picture at `until`, and gives its file.
fn watch(node: &Node, path: String, until: Duration) -> std::thread::JoinHandle<(Flv, Vec<u8>)> {
    let http = node.http;
    std::thread::spawn(move || {
        let mut stream = HttpStream::open(http, &path);
        assert_eq!(stream.status, 200, "{}", stream.head);
        let (mut flv, mut file) = (Flv::default(), Vec::new());
        let began = Instant::now();
        loop {
            let bytes = stream.some();
            flv.push(&bytes);
            file.extend_from_slice(&bytes);
            let last = flv.tags(9).last().map_or(0, |tag| tag.time_ms);
            if Duration::from_millis(u64::from(last)) >= until {
                return (flv, file);
            }
            assert!(began.elapsed() < PATIENCE, "pictures up to {last} ms only");
        }
    })
}

/// ffmpeg decodes it without a word.
fn decodes(file: &[u8]) {
    let folder = fresh_folder();
    let path = folder.join("picture.flv");
    std::fs::write(&path, file).expect("the temporary folder can be written");
    let path = path.to_str().expect("a plain path");
    // Ends in the middle of a tag, which is the test's doing: only the picture is looked at.
    let decoded = tool(
        "ffmpeg",
        &["-v", "error", "-i", path, "-an", "-f", "null", "-"],
    );
    if let Some(decoded) = decoded {
        assert_eq!(String::from_utf8_lossy(&decoded.stderr), "");
    }
    let _ = std::fs::remove_dir_all(folder);
}

/// The greatest step between two pictures.
fn widest_gap_ms(flv: &Flv) -> u32 {
    let times: Vec<u32> = flv.tags(9).skip(1).map(|tag| tag.time_ms).collect();
    let steps = times.windows(2).map(|pair| pair[1] - pair[0]);
    steps.max().expect("pictures")
}

#[test]
fn field_45_a_sender_that_moves_is_followed_and_a_stranger_is_not_mixed_in() {
    let Some(packets) = packets(6) else { return };
    let node = Node::start(&[("GANTRY_MEDIA_SHARDS", "1")]);
    let token = node.login();
    let to = open(&node, &token, "moving", "udp");
    let [first, second, stranger] =
        [(); 3].map(|()| UdpSocket::bind("127.0.0.1:0").expect("loopback"));
    let path = format!("/live/moving.flv?token={token}");
    let watched = watch(&node, path, Duration::from_secs(5));
    play(&packets, |n, packet| {
        // The NAT gives the sender another port in the middle of a frame.
        let socket = if n < packets.len() / 2 {
            &first
        } else {
            &second
        };
        socket.send_to(packet, to).expect("loopback");
        // A former sender of the same SSRC goes on elsewhere, with numbers of its own.
        let mut other = packet.to_vec();
        other[2] ^= 0x40;
        stranger.send_to(&other, to).expect("loopback");
    });
    let (flv, file) = watched.join().expect("the viewer was content");
    assert!(widest_gap_ms(&flv) <= 80, "{}", widest_gap_ms(&flv));
    decodes(&file);
    node.wait_for_metric("gantry_rtp_source_moves_total", "", |n| n == 1.0);
    let refused = packets.len() as f64;
    node.wait_for_metric("gantry_rtp_source_refused_total", "", |n| n == refused);
    assert_eq!(node.metric("gantry_frames_damaged_total"), 0.0);
}

#[test]
fn a_device_hears_by_rtcp_how_its_packets_arrive() {
    let Some(packets) = packets(9) else { return };
    let node = Node::start(&[("GANTRY_MEDIA_SHARDS", "1")]);
    let token = node.login();
    let to = open(&node, &token, "reporting", "udp");
    let [media, control] = [(); 2].map(|()| UdpSocket::bind("127.0.0.1:0").expect("loopback"));
    for socket in [&media, &control] {
        socket.set_nonblocking(true).expect("a socket can be");
    }
    let mut report = Vec::new();
    let info = rtcp::SenderInfo {
        ntp: 0x1234_5678_9abc_def0,
        ..rtcp::SenderInfo::default()
    };
    rtcp::write_sender_report(Ssrc(SSRC), &info, &mut report);
    let mut heard = Vec::new();
    let mut buffer = [0; 1500];
    let mut at_media = 0;
    play(&packets, |n, packet| {
        // Every 50th packet is lost, and after the first the device sends a report from a port of its own.
        if n % 50 != 49 {
            media.send_to(packet, to).expect("loopback");
        }
        if n == 1 {
            control.send_to(&report, to).expect("loopback");
        }
        if let Ok((length, from)) = control.recv_from(&mut buffer) {
            assert_eq!(from, to, "symmetric: from where the media goes to");
            heard.push(buffer[..length].to_vec());
        }
        at_media += usize::from(media.recv_from(&mut buffer).is_ok());
    });
    assert_eq!(
        at_media, 0,
        "reports go where the device's reports come from"
    );
    let mut reports = 0;
    let mut wishes = 0;
    for compound in &heard {
        let all: Result<Vec<_>, _> = rtcp::Packets::new(compound).collect();
        let all = all.expect("well formed");
        let rtcp::Packet::ReceiverReport { ssrc, blocks } = all[0] else {
            panic!("a compound begins with a report: {all:?}");
        };
        assert_ne!(ssrc, Ssrc(SSRC));
        let block = blocks.iter().next().expect("one block");
        assert_eq!(block.ssrc, SSRC);
        assert_eq!(block.last_sr, 0x5678_9abc, "the middle of our NTP time");
        assert!(block.lost > 0 || block.highest_sequence < 65_400 + 50);
        assert!(matches!(all[1], rtcp::Packet::SourceDescription { .. }));
        reports += 1;
        // A picture loss indication, and a full intra request beside it.
        let asked = feedback(compound);
        assert!(asked.is_empty() || asked == [1, 4], "{asked:?}");
        wishes += usize::from(!asked.is_empty());
    }
    assert!(reports >= 2, "{reports} reports in nine seconds");
    assert!(wishes >= 1, "lost packets make it ask for a key frame");
    node.wait_for_metric("gantry_rtcp_reports_total", "", |n| n >= reports as f64);
    node.wait_for_metric("gantry_key_frames_asked_total", "", |n| n >= 1.0);
}

/// Feedback messages of a compound (RFC 4585): their formats.
fn feedback(compound: &[u8]) -> Vec<u8> {
    let mut formats = Vec::new();
    let mut rest = compound;
    while let [first, kind, high, low, ..] = *rest {
        if kind == 206 {
            formats.push(first & 0x1f);
        }
        let words = usize::from(u16::from_be_bytes([high, low]));
        rest = rest.get(4 + words * 4..).unwrap_or_default();
    }
    formats
}

/// Over TCP the same goes back on the connection, to a device that sends reports there itself. One that sends none may never
/// read, and gets nothing.
#[test]
fn a_device_on_tcp_hears_by_rtcp_how_its_packets_arrive_if_it_sends_reports_itself() {
    let Some(packets) = packets(9) else { return };
    let node = Node::start(&[("GANTRY_MEDIA_SHARDS", "1")]);
    let token = node.login();
    let to = open(&node, &token, "reporting", "tcp-passive");
    let mut socket = TcpStream::connect(to).expect("loopback");
    let mut back = socket.try_clone().expect("a socket can be");
    back.set_read_timeout(Some(PATIENCE)).expect("a valid time");
    let reader = std::thread::spawn(move || {
        let (mut framer, mut heard) = (rfc4571::Framer::new(), Vec::new());
        let mut buffer = [0; 4096];
        while let Ok(n) = back.read(&mut buffer)
            && n > 0
        {
            let framed = framer.push(&buffer[..n], &mut |p| heard.push(p.to_vec()));
            framed.expect("RFC 4571");
        }
        heard
    });
    let mut report = Vec::new();
    let info = rtcp::SenderInfo {
        ntp: 0x1234_5678_9abc_def0,
        ..rtcp::SenderInfo::default()
    };
    rtcp::write_sender_report(Ssrc(SSRC), &info, &mut report);
    let mut bytes = Vec::new();
    play(&packets, |n, packet| {
        bytes.clear();
        if n == 1 {
            rfc4571::write_frame(&report, &mut bytes);
        }
        // Whole packets that its send buffer did not take.
        if n % 50 != 49 {
            rfc4571::write_frame(packet, &mut bytes);
        }
        socket.write_all(&bytes).expect("the connection stays");
    });
    socket
        .shutdown(std::net::Shutdown::Both)
        .expect("it is open");
    let heard = reader.join().expect("only RFC 4571 comes back");
    assert!(heard.len() >= 2, "{} reports in nine seconds", heard.len());
    for compound in &heard {
        let mut all = rtcp::Packets::new(compound);
        let Some(Ok(rtcp::Packet::ReceiverReport { ssrc, blocks })) = all.next() else {
            panic!("a compound begins with a report: {compound:?}");
        };
        assert_ne!(ssrc, Ssrc(SSRC));
        let block = blocks.iter().next().expect("one block");
        assert_eq!((block.ssrc, block.last_sr), (SSRC, 0x5678_9abc));
    }
    let asked: Vec<Vec<u8>> = heard.iter().map(|c| feedback(c)).collect();
    assert!(asked.contains(&vec![1, 4]), "PLI and FIR: {asked:?}");
    assert_eq!(node.metric("gantry_rtp_resyncs_total"), 0.0);
}

#[test]
fn field_19_loss_holds_pictures_back_until_the_next_key_frame() {
    let Some(packets) = packets(8) else { return };
    let node = Node::start(&[("GANTRY_MEDIA_SHARDS", "1")]);
    let token = node.login();
    let to = open(&node, &token, "lossy", "udp");
    let socket = UdpSocket::bind("127.0.0.1:0").expect("loopback");
    let path = format!("/live/lossy.flv?token={token}");
    let watched = watch(&node, path, Duration::from_secs(7));
    play(&packets, |n, packet| {
        if n % 97 != 96 {
            socket.send_to(packet, to).expect("loopback");
        }
    });
    let (_, file) = watched.join().expect("the viewer was content");
    decodes(&file);
    node.wait_for_metric("gantry_rtp_lost_total", "", |n| n > 0.0);
    node.wait_for_metric("gantry_frames_held_total", "", |n| n > 0.0);
}

/// The same network, two sources: one holds back, which was said of it, the other shows what comes, which the config says.
#[test]
fn loss_is_met_as_each_source_was_opened() {
    let Some(packets) = packets(6) else { return };
    let node = Node::start(&[("GANTRY_MEDIA_SHARDS", "1"), ("GANTRY_MEDIA_LOSS", "show")]);
    let token = node.login();
    let post = |body: Value| {
        let body = body.to_string();
        let path = "/gantry/v1/ingest";
        node.request("POST", path, Some(&token), "application/json", &body)
    };
    let refused = post(json!({"stream": "x", "transport": "udp", "loss": "mosaic"}));
    assert_eq!(refused.status, 400);
    let source = |name: &str, ssrc: u32, loss: &str| {
        let body = json!({"stream": name, "ssrc": ssrc, "transport": "udp", "loss": loss});
        let answer = post(body);
        assert_eq!(answer.status, 200, "{}", answer.json());
        let port = answer.json()["port"].as_u64().expect("a port") as u16;
        SocketAddr::from(([127, 0, 0, 1], port))
    };
    let to = source("held", SSRC, "hold-back");
    assert_eq!(source("shown", SSRC + 1, "auto"), to);
    let socket = UdpSocket::bind("127.0.0.1:0").expect("loopback");
    let [held, shown] = ["held", "shown"].map(|name| {
        let path = format!("/live/{name}.flv?token={token}");
        watch(&node, path, Duration::from_secs(5))
    });
    play(&packets, |n, packet| {
        if n % 97 != 96 {
            socket.send_to(packet, to).expect("loopback");
            let mut twin = packet.to_vec();
            twin[8..12].copy_from_slice(&(SSRC + 1).to_be_bytes());
            socket.send_to(&twin, to).expect("loopback");
        }
    });
    let (held, file) = held.join().expect("the viewer was content");
    let (shown, _) = shown.join().expect("the viewer was content");
    decodes(&file);
    let pictures = |flv: &Flv| flv.tags(9).count();
    assert!(
        pictures(&held) < pictures(&shown),
        "{} held, {} shown",
        pictures(&held),
        pictures(&shown)
    );
    assert!(widest_gap_ms(&shown) <= 200, "{}", widest_gap_ms(&shown));
}

#[test]
fn field_12_a_tcp_sender_that_loses_bytes_is_read_on() {
    let Some(packets) = packets(8) else { return };
    let node = Node::start(&[("GANTRY_MEDIA_SHARDS", "1")]);
    let token = node.login();
    let to = open(&node, &token, "overflowing", "tcp-passive");
    let mut socket = TcpStream::connect(to).expect("loopback");
    let path = format!("/live/overflowing.flv?token={token}");
    let watched = watch(&node, path, Duration::from_secs(7));
    let mut bytes = Vec::new();
    play(&packets, |n, packet| {
        bytes.clear();
        rfc4571::write_frame(packet, &mut bytes);
        // Its send buffer was full: from here on the packet, and the head of the next, go nowhere.
        match n % 200 {
            150 => bytes.truncate(bytes.len() / 2),
            151 if n > 400 => drop(bytes.drain(..20)),
            _ => {}
        }
        socket.write_all(&bytes).expect("the connection stays");
    });
    let (_, file) = watched.join().expect("the viewer was content");
    decodes(&file);
    node.wait_for_metric("gantry_rtp_resyncs_total", "", |n| n >= 2.0);
    assert_eq!(
        node.metric_where("gantry_media_connections_total", "idle"),
        0.0
    );
}

#[test]
fn field_23_of_two_connections_of_one_stream_the_newer_wins() {
    let Some(packets) = packets(6) else { return };
    let node = Node::start(&[("GANTRY_MEDIA_SHARDS", "1")]);
    let token = node.login();
    let to = open(&node, &token, "twice", "tcp-passive");
    let mut first = TcpStream::connect(to).expect("loopback");
    let mut second = None;
    let path = format!("/live/twice.flv?token={token}");
    let watched = watch(&node, path, Duration::from_secs(5));
    let mut bytes = Vec::new();
    play(&packets, |n, packet| {
        bytes.clear();
        rfc4571::write_frame(packet, &mut bytes);
        if n < packets.len() / 2 {
            first.write_all(&bytes).expect("loopback");
        } else {
            let newer = second.get_or_insert_with(|| TcpStream::connect(to).expect("loopback"));
            newer.write_all(&bytes).expect("the newer one stays");
        }
    });
    let (flv, file) = watched.join().expect("the viewer was content");
    // What the older one still had on its way may come behind the newer one's first: lost, up to the next key frame.
    assert!(widest_gap_ms(&flv) <= 2_500, "{}", widest_gap_ms(&flv));
    decodes(&file);
    first
        .set_read_timeout(Some(PATIENCE))
        .expect("a valid time");
    let over = first.read(&mut [0; 16]);
    assert!(
        matches!(over, Ok(0) | Err(_)),
        "{over:?}: the older is closed"
    );
    let label = "outcome=\"replaced\"";
    node.wait_for_metric("gantry_media_connections_total", label, |n| n == 1.0);
}

/// On a port of its own a stream takes more than the agreed SSRC, but not in the middle of it: a second connection that
/// brings another one, or RTCP, ends nothing; one that brings the right one takes the first one's place.
#[test]
fn field_23_on_ports_of_their_own_a_stranger_takes_nobody_s_place() {
    let Some(packets) = packets(1) else { return };
    let (first, last) = port_range();
    let node = Node::start(&[
        ("GANTRY_MEDIA_SESSION_PORT_FIRST", &first),
        ("GANTRY_MEDIA_SESSION_PORT_LAST", &last),
        ("GANTRY_MEDIA_TRANSPORT", "tcp-passive"),
        ("GANTRY_MEDIA_FALLBACK", "false"),
    ]);
    let id = "34020000001320000321";
    let puid = format!("PU_{id}");
    let _devices = cameras(&node, id, "1", &[]);
    let token = node.login();
    node.wait_for_device(&token, &puid, 1);
    let mut stream = HttpStream::open(node.http, &format!("/live/{puid}/0.flv?token={token}"));
    assert_eq!(stream.status, 200, "{}", stream.head);
    let (port, ssrc) = invited(&node, &token, &puid);
    let mut flv = Flv::default();
    let mut watch = |until: usize| {
        let began = Instant::now();
        while flv.tags(9).count() < until {
            assert!(began.elapsed() < PATIENCE, "the picture stands");
            flv.push(&stream.some());
        }
        widest_gap_ms(&flv)
    };
    let connect = || {
        let socket = TcpStream::connect((node.http.ip(), port)).expect("the port is open");
        socket.set_nodelay(true).expect("a socket");
        socket
    };
    let framed = |ssrc: u32| {
        let mut bytes = Vec::new();
        for (_, packet) in &packets {
            let mut packet = packet.clone();
            packet[8..12].copy_from_slice(&ssrc.to_be_bytes());
            rfc4571::write_frame(&packet, &mut bytes);
        }
        bytes
    };
    let mut report = Vec::new();
    rtcp::write_sender_report(Ssrc(ssrc), &rtcp::SenderInfo::default(), &mut report);
    let mut stranger = Vec::new();
    rfc4571::write_frame(&report, &mut stranger);
    stranger.extend(framed(ssrc + 1));
    let mut other = connect();
    other.write_all(&stranger).expect("the node reads");
    // All of it was looked at.
    let count = packets.len() as f64 + 1.0;
    node.wait_for_metric("gantry_rtp_foreign_total", "", |n| n == count);
    let replaced = "outcome=\"replaced\"";
    let connections = "gantry_media_connections_total";
    assert_eq!(node.metric_where(connections, replaced), 0.0);
    assert_eq!(watch(100), 40, "no picture is missing");

    let mut newer = connect();
    newer.write_all(&framed(ssrc)).expect("the node reads");
    node.wait_for_metric(connections, replaced, |n| n == 1.0);
}

/// The SDP of every INVITE that a device was sent, oldest first.
pub fn offers(node: &Node, token: &str, puid: &str) -> Vec<String> {
    let answer = node.get(&format!("/gantry/v1/devices/{puid}/sip"), Some(token));
    let page = answer.json();
    let messages = page["messages"].as_array().expect("a list");
    let invites = messages.iter().filter(|m| {
        m["start"]
            .as_str()
            .is_some_and(|s| s.starts_with("INVITE "))
    });
    let body = |m: &Value| m["body"].as_str().expect("an SDP").to_owned();
    invites.map(body).collect()
}

fn last_offer(node: &Node, token: &str, puid: &str) -> String {
    offers(node, token, puid).pop().expect("it was invited")
}

/// Port and SSRC of the last INVITE that a device was sent.
pub fn invited(node: &Node, token: &str, puid: &str) -> (u16, u32) {
    let text = last_offer(node, token, puid);
    let number = |before: &str| {
        let (_, after) = text.split_once(before).expect("an SDP");
        let digits: String = after.chars().take_while(char::is_ascii_digit).collect();
        digits.parse::<u32>().expect("a number")
    };
    (number("m=video ") as u16, number("\ny="))
}

#[test]
fn a_connection_that_brings_nothing_is_closed() {
    let node = Node::start(&[("GANTRY_MEDIA_SHARDS", "1")]);
    let token = node.login();
    let to = open(&node, &token, "nobody", "tcp-passive");
    let mut mute = TcpStream::connect(to).expect("loopback");
    mute.set_read_timeout(Some(PATIENCE)).expect("a valid time");
    let began = Instant::now();
    assert!(matches!(mute.read(&mut [0; 16]), Ok(0) | Err(_)));
    assert!(began.elapsed() < PATIENCE, "it was closed by the node");
    let label = "outcome=\"idle\"";
    node.wait_for_metric("gantry_media_connections_total", label, |n| n == 1.0);
}

/// Cameras of one channel each, from `id` on.
pub fn cameras(node: &Node, id: &str, count: &str, more: &[&str]) -> Devices {
    let base = ["--count", count, "--channels", "1", "--id-base", id];
    Devices::start(node, &[base.as_slice(), more].concat())
}

fn plays(node: &Node, token: &str, puid: &str, until: Duration) -> (Flv, Vec<u8>) {
    node.wait_for_device(token, puid, 1);
    let path = format!("/live/{puid}/0.flv?token={token}");
    watch(node, path, until)
        .join()
        .expect("the viewer was content")
}

/// A range in which ports are probably free; those that are not are passed over.
pub fn port_range() -> (String, String) {
    let probe = UdpSocket::bind("127.0.0.1:0").expect("loopback");
    let port = probe
        .local_addr()
        .expect("bound")
        .port()
        .clamp(20_000, 65_000);
    (port.to_string(), (port + 63).to_string())
}

#[test]
fn field_06_devices_with_one_ssrc_play_on_ports_of_their_own() {
    let (first, last) = port_range();
    for transport in ["udp", "tcp-passive"] {
        let node = Node::start(&[
            ("GANTRY_MEDIA_SESSION_PORT_FIRST", &first),
            ("GANTRY_MEDIA_SESSION_PORT_LAST", &last),
            ("GANTRY_MEDIA_TRANSPORT", transport),
            ("GANTRY_MEDIA_FALLBACK", "false"),
        ]);
        let _devices = cameras(
            &node,
            "34020000001320000301",
            "2",
            &["--quirk", "same-ssrc"],
        );
        let token = node.login();
        std::thread::scope(|scope| {
            for puid in ["PU_34020000001320000301", "PU_34020000001320000302"] {
                let (node, token) = (&node, &token);
                scope.spawn(move || {
                    let (flv, file) = plays(node, token, puid, Duration::from_secs(3));
                    assert!(widest_gap_ms(&flv) <= 80);
                    decodes(&file);
                });
            }
        });
        node.wait_for_metric("gantry_session_ports", "", |n| n == 2.0);
        assert_eq!(node.metric("gantry_ps_errors_total"), 0.0);
        assert_eq!(node.metric("gantry_frames_damaged_total"), 0.0);
    }
}

/// Two devices behind one relay: the same address and port, and only the SSRC says whose a packet is. One of them stops in
/// the middle, which the other does not notice.
#[test]
fn field_06_two_devices_behind_one_relay_are_told_apart_by_their_ssrc() {
    let Some(packets) = packets(7) else { return };
    let node = Node::start(&[("GANTRY_MEDIA_SHARDS", "1")]);
    let token = node.login();
    let other = SSRC + 1;
    let to = open(&node, &token, "left", "udp");
    assert_eq!(open_ssrc(&node, &token, "right", "udp", other), to);
    let relay = UdpSocket::bind("127.0.0.1:0").expect("loopback");
    let [left, right] = [("left", 6), ("right", 3)].map(|(name, seconds)| {
        let path = format!("/live/{name}.flv?token={token}");
        watch(&node, path, Duration::from_secs(seconds))
    });
    play(&packets, |n, packet| {
        relay.send_to(packet, to).expect("loopback");
        if n < packets.len() * 2 / 3 {
            let mut twin = packet.to_vec();
            twin[8..12].copy_from_slice(&other.to_be_bytes());
            relay.send_to(&twin, to).expect("loopback");
        }
    });
    for watched in [left, right] {
        let (flv, file) = watched.join().expect("the viewer was content");
        assert_eq!(widest_gap_ms(&flv), 40, "no picture is missing");
        decodes(&file);
    }
    for name in [
        "gantry_rtp_foreign_total",
        "gantry_rtp_duplicate_total",
        "gantry_rtp_lost_total",
        "gantry_frames_damaged_total",
    ] {
        assert_eq!(node.metric(name), 0.0, "{name}");
    }
}

#[test]
fn field_10_ports_come_back_when_their_views_are_over() {
    let (first, last) = port_range();
    let node = Node::start(&[
        ("GANTRY_MEDIA_SESSION_PORT_FIRST", &first),
        ("GANTRY_MEDIA_SESSION_PORT_LAST", &last),
        ("GANTRY_MEDIA_LINGER_S", "0"),
    ]);
    let _devices = cameras(&node, "34020000001320000311", "3", &[]);
    let token = node.login();
    for round in 0..3 {
        for n in 1..=3 {
            let puid = format!("PU_3402000000132000031{n}");
            plays(&node, &token, &puid, Duration::from_secs(1));
        }
        node.wait_for_metric("gantry_session_ports", "", |n| n == 0.0);
        let live = node.metric_where("gantry_invites_total", "outcome=\"live\"");
        assert_eq!(live, f64::from(3 * (round + 1)));
    }
    let none = |name: &str| node.wait_for_metric(name, "", |n| n == 0.0);
    none("gantry_streams");
    none("gantry_sessions");
}

#[test]
fn a_device_that_is_restarted_in_the_middle_plays_on() {
    for (transport, ports) in [("udp", false), ("udp", true), ("tcp-passive", false)] {
        let (first, last) = port_range();
        let own = [
            ("GANTRY_MEDIA_SESSION_PORT_FIRST", first.as_str()),
            ("GANTRY_MEDIA_SESSION_PORT_LAST", last.as_str()),
        ];
        let way = [("GANTRY_MEDIA_TRANSPORT", transport)];
        let variables = [&way[..], if ports { &own[..] } else { &[] }].concat();
        let node = Node::start(&variables);
        let _devices = cameras(&node, "34020000001320000321", "1", &["--quirk", "new-ssrc"]);
        let token = node.login();
        let until = Duration::from_secs(9);
        let (flv, file) = plays(&node, &token, "PU_34020000001320000321", until);
        // Two seconds until it is sure that the old SSRC is silent, then to the next key frame.
        let gap = widest_gap_ms(&flv);
        assert!(
            (1_500..=6_000).contains(&gap),
            "{transport} {ports}: {gap} ms"
        );
        decodes(&file);
        let live = node.metric_where("gantry_invites_total", "outcome=\"live\"");
        assert_eq!(live, 1.0, "{transport} {ports}: in the same dialog");
    }
}

#[test]
fn a_device_on_ipv6_plays() {
    for transport in ["udp", "tcp-passive", "tcp-active"] {
        let node = Node::start(&[
            ("GANTRY_SIP_LISTEN", "[::1]:0"),
            ("GANTRY_MEDIA_TRANSPORT", transport),
            ("GANTRY_MEDIA_FALLBACK", "false"),
        ]);
        assert!(node.sip.is_ipv6());
        let _devices = cameras(&node, "34020000001320000331", "1", &[]);
        let token = node.login();
        let until = Duration::from_secs(2);
        let (_, file) = plays(&node, &token, "PU_34020000001320000331", until);
        decodes(&file);
    }
}

/// One node, two families: each camera is told the address by which it reaches us, whatever is announced to the other.
#[test]
fn field_47_on_several_addresses_each_device_is_told_its_own() {
    let node = Node::start(&[
        ("GANTRY_SIP_LISTEN", "[::]:0"),
        ("GANTRY_MEDIA_PUBLIC_IP", "203.0.113.9"),
        ("GANTRY_MEDIA_ADVERTISED_IP", "127.0.0.1"),
    ]);
    let token = node.login();
    for (server, id, line) in [
        (
            "127.0.0.1",
            "34020000001320000351",
            "\nc=IN IP4 127.0.0.1\r",
        ),
        ("::1", "34020000001320000352", "\nc=IN IP6 ::1\r"),
    ] {
        let server = SocketAddr::new(server.parse().expect("an address"), node.sip.port());
        let one = ["--count", "1", "--channels", "1", "--id-base", id];
        let server = ["--server", &server.to_string()].map(str::to_owned);
        let server = server.each_ref().map(String::as_str);
        let password = ["--password", "12345678"];
        let _devices = Devices::at(&[server.as_slice(), &password, &one].concat());
        let puid = format!("PU_{id}");
        let (_, file) = plays(&node, &token, &puid, Duration::from_secs(1));
        decodes(&file);
        let offer = last_offer(&node, &token, &puid);
        assert!(offer.contains(line), "{offer}");
    }
}

#[test]
fn policies_of_a_device_are_forced_by_the_api_and_kept() {
    let node = Node::start(&[("GANTRY_MEDIA_LINGER_S", "0")]);
    let _devices = cameras(&node, "34020000001320000341", "1", &[]);
    let token = node.login();
    let puid = "PU_34020000001320000341";
    node.wait_for_device(&token, puid, 1);
    let path = format!("/gantry/v1/devices/{puid}/policy");
    let put = |node: &Node, token: &str, body: Value| {
        let body = body.to_string();
        let answer = node.request("PUT", &path, Some(token), "application/json", &body);
        (answer.status, answer.json())
    };
    let shown = node.get(&path, Some(&token)).json();
    assert!(
        shown
            .as_object()
            .expect("an object")
            .values()
            .all(|word| word == "auto")
    );
    for bad in [
        json!({"transport": "pigeon"}),
        json!({"colour": "blue"}),
        json!({"media_ip": "here"}),
    ] {
        assert_eq!(put(&node, &token, bad).0, 400);
    }
    let unknown = "/gantry/v1/devices/PU_34020000001320000349/policy";
    assert_eq!(node.get(unknown, Some(&token)).status, 404);
    let forced = json!({"transport": "tcp-passive", "loss": "show", "media_ip": "127.0.0.1"});
    let (status, answer) = put(&node, &token, forced);
    assert_eq!((status, &answer["transport"]), (200, &json!("tcp-passive")));
    assert_eq!(answer["charset"], "auto");
    plays(&node, &token, puid, Duration::from_secs(1));
    let inviting = || {
        let log = node.log();
        let mut lines = log.lines().filter(|line| line.contains("\"inviting\""));
        lines.next_back().map(str::to_owned)
    };
    let line = wait_until("an INVITE is in the log", inviting);
    assert!(line.contains("TcpPassive"), "{line}");
    // A restart keeps it.
    let ended = node.terminate();
    let node = Node::start_in(ended.dir, &[]);
    let token = node.login();
    let shown = node.get(&path, Some(&token)).json();
    assert_eq!(shown["transport"], "tcp-passive");
    assert_eq!(shown["loss"], "show");
}
