//! ICE at the node itself, check by check: over IPv4, IPv6 and TCP, and restarted.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};

use gantry::egress::webrtc::stun::{Class, Message, Writer};
use gantry::limits::ICE_TCP_FRAME_BYTES_MAX;

use super::node::{Node, PATIENCE, Response};
use super::whep::{PUID, stage_with};

/// An offer as far as ICE is concerned.
fn offer() -> String {
    let fingerprint = ["00"; 32].join(":");
    format!(
        "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\nm=video 9 UDP/TLS/RTP/SAVPF 102\r\nc=IN IP4 0.0.0.0\r\n\
         a=ice-ufrag:them\r\na=ice-pwd:0123456789012345678901\r\na=fingerprint:sha-256 {fingerprint}\r\na=setup:actpass\r\n\
         a=mid:0\r\na=recvonly\r\na=rtcp-mux\r\na=rtpmap:102 H264/90000\r\n\
         a=fmtp:102 packetization-mode=1;profile-level-id=42e01f\r\n"
    )
}

/// What an answer or a fragment says.
struct Told {
    ufrag: String,
    password: String,
    udp: Vec<SocketAddr>,
    tcp: Vec<SocketAddr>,
}

impl Told {
    fn read(text: &str) -> Told {
        let value = |name: &str| {
            let found = text.lines().find_map(|l| l.strip_prefix(name));
            found
                .unwrap_or_else(|| panic!("no {name} in {text}"))
                .to_owned()
        };
        let candidates = |kind: &str| {
            let lines = text.lines().filter(|l| l.starts_with("a=candidate:"));
            let fields = lines.map(|l| l.split(' ').collect::<Vec<_>>());
            fields
                .filter(|f| f[2] == kind)
                .map(|f| {
                    let ip = f[4].parse().expect("an address");
                    SocketAddr::new(ip, f[5].parse().expect("a port"))
                })
                .collect()
        };
        Told {
            ufrag: value("a=ice-ufrag:"),
            password: value("a=ice-pwd:"),
            udp: candidates("udp"),
            tcp: candidates("tcp"),
        }
    }

    fn check(&self, theirs: &str, transaction: u8) -> Vec<u8> {
        Writer::new(Class::Request, &[transaction; 12])
            .check(&format!("{}:{theirs}", self.ufrag), 1, true, true)
            .finish(self.password.as_bytes())
            .to_vec()
    }

    /// Whether it is a success for that transaction, under our password.
    fn is_success(&self, answer: &[u8], transaction: u8) -> bool {
        let answer = Message::parse(answer).expect("STUN");
        answer.class == Class::Success
            && answer.transaction == [transaction; 12]
            && answer.verify(self.password.as_bytes())
    }
}

fn open(node: &Node, token: &str) -> (Response, Told) {
    let path = format!("/whep/{PUID}/0");
    let opened = node.request("POST", &path, Some(token), "application/sdp", &offer());
    let answer = String::from_utf8(opened.body.clone()).expect("SDP is text");
    assert_eq!(opened.status, 201, "{answer}");
    let told = Told::read(&answer);
    (opened, told)
}

/// A socket of the family of an address, connected to it.
fn connected(to: SocketAddr) -> UdpSocket {
    let any = SocketAddr::new(to.ip(), 0);
    let socket = UdpSocket::bind(any).expect("a port");
    socket.connect(to).expect("loopback");
    socket.set_read_timeout(Some(PATIENCE)).expect("a socket");
    socket
}

fn ask(socket: &UdpSocket, check: &[u8]) -> Vec<u8> {
    let mut buffer = [0; 2048];
    socket.send(check).expect("loopback takes it");
    let n = socket.recv(&mut buffer).expect("an answer");
    buffer[..n].to_vec()
}

#[test]
fn a_dual_stack_node_answers_over_both_families() {
    let (node, _devices, token, _runtime) = stage_with(&[
        ("GANTRY_WEBRTC_LISTEN", "[::]:0"),
        ("GANTRY_WEBRTC_ADVERTISED_IPS", "::1"),
    ]);
    let (_, told) = open(&node, &token);
    for loopback in ["127.0.0.1", "::1"] {
        let ip: std::net::IpAddr = loopback.parse().expect("an address");
        let at = told.udp.iter().find(|a| a.ip() == ip);
        let socket = connected(*at.expect("a candidate"));
        assert!(told.is_success(&ask(&socket, &told.check("them", 1)), 1));
        assert!(told.tcp.iter().any(|a| a.ip() == ip));
    }
}

#[test]
fn a_restart_gives_new_credentials_and_the_old_hold_until_they_are_used() {
    let (node, _devices, token, _runtime) = stage_with(&[]);
    let (opened, old) = open(&node, &token);
    let location = opened.header("location").expect("where").to_owned();
    let tag = opened.header("etag").expect("an entity tag").to_owned();
    assert_eq!(tag, format!("\"{}\"", old.ufrag));
    let socket = connected(old.udp[0]);
    assert!(old.is_success(&ask(&socket, &old.check("them", 1)), 1));

    let fragment = "m=video 9 UDP/TLS/RTP/SAVPF 102\r\na=mid:0\r\na=ice-ufrag:anew\r\na=ice-pwd:abcdefghijklmnopqrstuv\r\n";
    let patch = |headers: &str, body: &str| {
        let kind = format!("application/trickle-ice-sdpfrag{headers}");
        node.request("PATCH", &location, None, &kind, body)
    };
    assert_eq!(
        patch("", fragment).status,
        204,
        "without If-Match it is trickle"
    );
    let answered = patch("\r\nIf-Match: *", fragment);
    assert_eq!(answered.status, 200);
    assert_ne!(answered.header("etag"), Some(tag.as_str()));
    let new = Told::read(std::str::from_utf8(&answered.body).expect("text"));
    assert_eq!(new.udp, old.udp);
    assert!(new.ufrag != old.ufrag && new.password != old.password);

    assert!(old.is_success(&ask(&socket, &old.check("them", 2)), 2));
    assert!(new.is_success(&ask(&socket, &new.check("anew", 3)), 3));
    // From here on the old ones are not answered: the answer that comes is that to the next check.
    socket
        .send(&old.check("them", 4))
        .expect("loopback takes it");
    assert!(new.is_success(&ask(&socket, &new.check("anew", 5)), 5));

    // A viewer that is gone cannot be restarted.
    assert_eq!(
        node.request("DELETE", &location, None, "text/plain", "")
            .status,
        200
    );
    node.wait_for_metric("gantry_viewers", "protocol=\"webrtc\"", |n| n == 0.0);
    assert_eq!(patch("\r\nIf-Match: *", fragment).status, 404);
}

fn framed(message: &[u8]) -> Vec<u8> {
    [&(message.len() as u16).to_be_bytes()[..], message].concat()
}

/// Whether the node has closed a connection, or will within [`PATIENCE`].
fn is_closed(mut tcp: TcpStream) -> bool {
    tcp.set_read_timeout(Some(PATIENCE)).expect("a socket");
    matches!(tcp.read(&mut [0; 64]), Ok(0) | Err(_))
}

#[test]
fn checks_over_tcp_are_answered_on_whatever_thread_the_viewer_is() {
    let (node, _devices, token, _runtime) = stage_with(&[]);
    let mut first = None;
    // More viewers than stay on one thread.
    for n in 0..2 * gantry::limits::PEERS_BEFORE_SPREAD + 2 {
        let (_, told) = open(&node, &token);
        let mut tcp = TcpStream::connect(told.tcp[0]).expect("the node listens");
        tcp.set_read_timeout(Some(PATIENCE)).expect("a socket");
        let check = framed(&told.check("them", n as u8));
        // Cut anywhere, and the next one right behind it.
        tcp.write_all(&check[..n + 1]).expect("the node reads");
        tcp.write_all(&[&check[n + 1..], &check].concat())
            .expect("the node reads");
        for _ in 0..2 {
            let mut len = [0; 2];
            tcp.read_exact(&mut len).expect("an answer");
            let mut answer = vec![0; usize::from(u16::from_be_bytes(len))];
            tcp.read_exact(&mut answer).expect("an answer");
            assert!(told.is_success(&answer, n as u8));
        }
        first.get_or_insert((told, tcp));
    }
    let (told, mut bound) = first.expect("some were");
    // A stranger's connection ends with its first frame, a viewer's with one that is too long.
    for junk in [
        framed(b"GET / HTTP/1.1\r\n"),
        framed(&told.check("nobody", 1)),
        (ICE_TCP_FRAME_BYTES_MAX as u16 + 1).to_be_bytes().to_vec(),
    ] {
        let mut tcp = TcpStream::connect(told.tcp[0]).expect("the node listens");
        tcp.write_all(&junk).expect("the node reads");
        assert!(is_closed(tcp));
    }
    bound.write_all(&[0xff, 0xff]).expect("the node reads");
    assert!(is_closed(bound));
}

#[test]
fn without_tcp_there_is_no_candidate_for_it() {
    let (node, _devices, token, _runtime) = stage_with(&[("GANTRY_WEBRTC_TCP", "false")]);
    let (_, told) = open(&node, &token);
    assert!(!told.udp.is_empty() && told.tcp.is_empty());
}
