//! Those who hold a door open: connections without end, messages that never become whole, and readers who do not read. At
//! the real sockets of the real program, beside a camera that must not notice.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use gantry::id::Ssrc;
use gantry::limits;
use gantry::media::{rfc4571, rtp};
use serde_json::json;
use socket2::{Domain, Socket, Type};

use super::node::{Devices, Node, PATIENCE, wait_until};
use super::player::{Flv, HttpStream};
use super::{playback, tls};

const ID: &str = "34020000001320000011";

/// A connection from an address of the loopback network, with a small window so that it fills soon.
fn connect_from(host: u8, to: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.set_recv_buffer_size(4 << 10)?;
    let from = IpAddr::from(Ipv4Addr::new(127, 0, 0, host));
    socket.bind(&SocketAddr::new(from, 0).into())?;
    socket.connect(&to.into())?;
    let socket = TcpStream::from(socket);
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.set_write_timeout(Some(PATIENCE))?;
    Ok(socket)
}

/// Whether the other side hangs up within the time that the socket waits for it.
fn is_over(socket: &mut TcpStream) -> bool {
    let mut rest = [0; 64 << 10];
    loop {
        match socket.read(&mut rest) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(e) => {
                let waited = [std::io::ErrorKind::WouldBlock, std::io::ErrorKind::TimedOut];
                return !waited.contains(&e.kind());
            }
        }
    }
}

fn pings(socket: &mut TcpStream) -> bool {
    let mut pong = [0; 2];
    socket.write_all(b"\r\n\r\n").is_ok()
        && socket.read_exact(&mut pong).is_ok()
        && pong == *b"\r\n"
}

/// A camera is let in, whoever else is at the door.
fn a_camera_comes(node: &Node, token: &str, id: &str) -> Devices {
    let one = ["--count", "1", "--channels", "1", "--id-base", id];
    let devices = Devices::start(node, &one);
    node.wait_for_device(token, &format!("PU_{id}"), 1);
    devices
}

#[test]
fn sip_connections_of_one_source_have_a_bound_and_others_get_in() {
    let node = Node::start(&[]);
    let token = node.login();
    let most = limits::SIP_CONNS_PER_SOURCE_MAX;
    let mut held: Vec<TcpStream> = (0..most)
        .map(|_| connect_from(9, node.sip).expect("the node listens"))
        .collect();
    // Each of them was taken: the last one is answered.
    assert!(pings(held.last_mut().expect("many")));
    let door = "door=\"sip\"";
    assert_eq!(
        node.metric_where("gantry_connections_refused_total", door),
        0.0
    );
    let mut more = connect_from(9, node.sip).expect("the kernel takes it");
    assert!(is_over(&mut more), "one more is closed");
    node.wait_for_metric("gantry_connections_refused_total", door, |n| n == 1.0);
    let mut other = connect_from(10, node.sip).expect("the node listens");
    assert!(pings(&mut other), "another source gets in");
    let _camera = a_camera_comes(&node, &token, ID);
    // A place that was given back is there for the next.
    drop(held.pop());
    wait_until("a place is free again", || {
        let mut next = connect_from(9, node.sip).expect("the kernel takes it");
        pings(&mut next).then_some(())
    });
}

#[test]
fn half_read_messages_of_one_source_have_a_bound() {
    let node = Node::start(&[]);
    let token = node.login();
    let body = limits::SIP_MESSAGE_BYTES_MAX - (64 << 10);
    let head = format!(
        "MESSAGE sip:34020000002000000001@3402000000 SIP/2.0\r\nVia: SIP/2.0/TCP 127.0.0.9;branch=z9hG4bK1\r\n\
         From: <sip:{ID}@3402000000>;tag=1\r\nTo: <sip:{ID}@3402000000>\r\nCall-ID: 1\r\nCSeq: 1 MESSAGE\r\n\
         Content-Length: {body}\r\n\r\n"
    );
    // All but the last byte of each: the source holds as much as it may, and then more.
    let part = vec![b' '; body - 1];
    let fit = limits::SIP_HALF_READ_BYTES_PER_SOURCE_MAX / (head.len() + part.len());
    let mut held: Vec<TcpStream> = (0..fit + 1)
        .map(|_| connect_from(9, node.sip).expect("the node listens"))
        .collect();
    for socket in &mut held {
        // The last one may be cut off while it still writes.
        let _ = socket.write_all(head.as_bytes());
        let _ = socket.write_all(&part);
    }
    let door = "door=\"sip\"";
    node.wait_for_metric("gantry_connections_cut_off_total", door, |n| n >= 1.0);
    let mut other = connect_from(10, node.sip).expect("the node listens");
    assert!(pings(&mut other), "another source is served");
    let _camera = a_camera_comes(&node, &token, ID);
    assert!(node.resident_bytes() < 512 << 20);
    // What the others hold is bounded in time.
    let began = Instant::now();
    assert!(held.iter_mut().all(is_over));
    let bound = Duration::from_secs(limits::SIP_CONN_STRANGER_S_MAX) + PATIENCE / 2;
    assert!(began.elapsed() < bound, "{:?}", began.elapsed());
}

/// A message that has begun must be whole in time, and a connection must show a device in time.
#[test]
fn sip_connections_that_stay_half_open_are_closed_in_time() {
    let node = Node::start(&[]);
    let closed_after = |say: &'static [u8]| {
        let mut socket = connect_from(9, node.sip).expect("the node listens");
        socket
            .set_read_timeout(Some(PATIENCE * 2))
            .expect("a valid time");
        std::thread::spawn(move || {
            let began = Instant::now();
            socket.write_all(say).expect("the node reads");
            assert!(is_over(&mut socket), "it is closed");
            began.elapsed().as_secs_f64()
        })
    };
    let half = closed_after(b"REGISTER sip:34020000002000000001@3402000000 SIP/2.0\r\nVia: SIP");
    let mute = closed_after(b"");
    let only_pings = closed_after(b"\r\n\r\n\r\n\r\n");
    let message = limits::SIP_CONN_MESSAGE_S_MAX as f64;
    let stranger = limits::SIP_CONN_STRANGER_S_MAX as f64;
    let slack = PATIENCE.as_secs_f64() / 2.0;
    for (what, thread, least) in [
        ("half a message", half, message),
        ("nothing", mute, stranger),
        ("pings", only_pings, stranger),
    ] {
        let took = thread.join().expect("it was closed");
        assert!(
            took >= least - 1.0 && took < least + slack,
            "{what}: closed after {took} s"
        );
    }
    let door = "door=\"sip\"";
    node.wait_for_metric("gantry_connections_cut_off_total", door, |n| n == 3.0);
}

/// Media connections whose first packet never becomes whole: a source holds so many and no more, others are served beside
/// them, and each has its time.
#[test]
fn half_read_media_connections_of_one_source_have_a_bound() {
    const SSRC: u32 = 77_002;
    let node = Node::start(&[("GANTRY_MEDIA_SHARDS", "1")]);
    let token = node.login();
    let body = json!({"stream": "door", "ssrc": SSRC, "transport": "tcp-passive"});
    let answer = node.post("/gantry/v1/ingest", Some(&token), &body);
    let port = answer["port"].as_u64().expect("a port") as u16;
    let to = SocketAddr::new(node.http.ip(), port);
    let before = node.resident_bytes();
    let began = Instant::now();
    // The length of a long packet, and a part of it.
    let mut half = 60_000u16.to_be_bytes().to_vec();
    half.resize(30_000, 0x80);
    let mut held: Vec<TcpStream> = (0..limits::MEDIA_CONNS_PER_SOURCE_MAX)
        .map(|_| {
            let mut socket = connect_from(9, to).expect("the node listens");
            socket.write_all(&half).expect("the node reads");
            socket
        })
        .collect();
    let mut more = connect_from(9, to).expect("the kernel takes it");
    assert!(is_over(&mut more), "one more is closed");
    assert!(
        began.elapsed() < Duration::from_secs(limits::MEDIA_CONN_CLAIM_S_MAX),
        "not for the time that the others took"
    );
    let closed = |outcome: &str, right: fn(f64) -> bool| {
        let label = format!("outcome=\"{outcome}\"");
        node.wait_for_metric("gantry_media_connections_total", &label, right)
    };
    closed("refused", |n| n == 1.0);
    let mut other = connect_from(10, to).expect("the node listens");
    let mut framed = Vec::new();
    let mut writer = rtp::Writer::new(Ssrc(SSRC), 96, 0);
    writer.write(&[7; 100], 0, 1_300, &mut |packet| {
        rfc4571::write_frame(packet, &mut framed);
    });
    other.write_all(&framed).expect("the node reads");
    node.wait_for_metric("gantry_rtp_packets_total", "", |n| n == 1.0);
    let grown = node.resident_bytes().saturating_sub(before);
    let each = 64 << 10;
    assert!(
        grown < (held.len() as u64 + 256) * each,
        "{grown} bytes for {} connections",
        held.len()
    );
    assert!(held.iter_mut().all(is_over));
    let bound = Duration::from_secs(limits::MEDIA_CONN_CLAIM_S_MAX) + PATIENCE / 2;
    assert!(began.elapsed() < bound, "{:?}", began.elapsed());
    closed("idle", |n| n >= limits::MEDIA_CONNS_PER_SOURCE_MAX as f64);
    let mut next = connect_from(9, to).expect("the node listens");
    next.write_all(&framed).expect("the node reads");
    // The source is still there, and a place for its next connection.
    node.wait_for_metric("gantry_rtp_packets_total", "", |n| n == 2.0);
}

/// How a reader who does not read comes to its stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// A media thread writes it.
    Handed,
    /// The HTTP server writes it: the connection was used before.
    Kept,
    Tls,
}

/// A reader who reads the status of its answer and nothing more.
fn reader(node: &Node, way: Way, path: &str, websocket: bool) -> TcpStream {
    let to = match way {
        Way::Handed | Way::Kept => node.http,
        Way::Tls => node.https,
    };
    let mut socket = connect_from(9, to).expect("the node listens");
    if way == Way::Kept {
        let warm_up = b"GET /healthz HTTP/1.1\r\nHost: gantry\r\n\r\n";
        socket.write_all(warm_up).expect("it is read");
        let mut answer = Vec::new();
        while !answer.ends_with(b"}") {
            let mut byte = [0];
            socket.read_exact(&mut byte).expect("an answer");
            answer.push(byte[0]);
        }
    }
    let upgrade = if websocket {
        "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: c2l4dGVlbiBieXRlcyBvaw==\r\n"
    } else {
        ""
    };
    let request = format!("GET {path} HTTP/1.1\r\nHost: gantry\r\n{upgrade}\r\n");
    let mut status = [0; 12];
    if way == Way::Tls {
        let mut tls = tls::over(socket);
        tls.write_all(request.as_bytes()).expect("it is read");
        tls.read_exact(&mut status).expect("an answer");
        socket = tls.sock;
    } else {
        socket.write_all(request.as_bytes()).expect("it is read");
        socket.read_exact(&mut status).expect("an answer");
    }
    let wanted: &[u8] = if websocket { b"101" } else { b"200" };
    assert_eq!(&status[9..], wanted, "{way:?} {request}");
    socket
}

/// Readers who stop reading are closed, whoever writes their socket; who reads beside them loses no picture, and neither
/// memory nor descriptors stay with them.
#[test]
fn readers_who_do_not_read_are_cut_off() {
    let node = Node::start(&[]);
    let token = node.login();
    let _camera = a_camera_comes(&node, &token, ID);
    let path = |form: &str| format!("/live/PU_{ID}/0.{form}?token={token}");
    let begin = playback::search(&node, &token, &format!("PU_{ID}"))[0]["beginTime"]
        .as_u64()
        .expect("a time");
    let record = |form: &str| {
        let end = begin + 3_000;
        format!("/playback/PU_{ID}/0.{form}?begin={begin}&end={end}&token={token}")
    };
    let mut watched = HttpStream::open(node.http, &path("flv"));
    assert_eq!(watched.status, 200);
    let mut flv = Flv::default();
    flv.push(&watched.some());
    let before = node.resident_bytes();
    let sockets_before = node.open_sockets();
    let mut slow = Vec::new();
    for way in [Way::Handed, Way::Kept, Way::Tls] {
        for (form, websocket) in [("flv", false), ("mp4", false), ("flv", true), ("mp4", true)] {
            slow.push(reader(&node, way, &path(form), websocket));
            flv.push(&watched.some());
        }
    }
    for (way, form, websocket) in [(Way::Handed, "flv", false), (Way::Tls, "mp4", true)] {
        slow.push(reader(&node, way, &record(form), websocket));
        flv.push(&watched.some());
    }
    // Heads that never end are closed too.
    let mut half_a_head = connect_from(9, node.http).expect("the node listens");
    half_a_head
        .write_all(b"GET /live/PU_")
        .expect("the node reads");

    let name = "gantry_viewers_too_slow_total";
    let began = Instant::now();
    while node.metric(name) < slow.len() as f64 {
        assert!(began.elapsed() < PATIENCE * 2, "{}", node.metric(name));
        flv.push(&watched.some());
    }
    // Given back by the node, while the readers still hold their ends and have taken nothing.
    wait_until("the descriptors are free", || {
        flv.push(&watched.some());
        (node.open_sockets() <= sockets_before).then_some(())
    });
    assert!(slow.iter_mut().all(is_over));
    assert!(is_over(&mut half_a_head));
    assert_eq!(node.metric(name), slow.len() as f64, "each is counted once");
    let times: Vec<u32> = flv.tags(9).skip(1).map(|tag| tag.time_ms).collect();
    assert!(times.len() > 100, "{}", times.len());
    assert!(
        times.windows(2).all(|w| w[1] - w[0] == 40),
        "who reads misses nothing: {times:?}"
    );
    let grown = node.resident_bytes().saturating_sub(before);
    assert!(grown < 48 << 20, "{grown} bytes");
}
