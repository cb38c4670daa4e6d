//! Other people's messages at the real sockets: each gets the answer its kind deserves, and the node is well afterwards.
//!
//! Addresses are rewritten to loopback ones of the same length before anything is sent, so that Content-Length stays right
//! and nothing can leave the machine. Answers go to where the packet came from, whatever Via and Contact say.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::path::Path;
use std::time::{Duration, Instant};

use gantry::sip::{Carrier, Framer, Message, framing::Frame};

use super::node::{Devices, Node, PATIENCE};
use super::player::HttpStream;
use crate::vectors;

/// What must come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// One of these final answers.
    Status(&'static [u16]),
    /// Nothing: an answer, an ACK, a sign of life.
    Silence,
    /// Whatever it is, the next message works: lengths that are not what they say, two messages in one datagram.
    Anything,
}

/// The folders of the set that hold messages of their own; what stands in the index decides about each.
fn wanted(file: &str, kind: &str, length: &str) -> Wanted {
    if length.contains("body=") {
        return Wanted::Anything;
    }
    let first = kind.split([' ', '/']).next().unwrap_or("");
    match first {
        // Nobody has shown a password: a challenge, or a refusal where the code is unreadable.
        "REGISTER" => Wanted::Status(&[401, 400]),
        // From somebody who is not registered.
        "MESSAGE" | "NOTIFY" => Wanted::Status(&[403, 400]),
        "OPTIONS" => Wanted::Status(&[200]),
        "BYE" | "INFO" => Wanted::Status(&[481]),
        // From strangers, for something that is not offered.
        "INVITE" | "SUBSCRIBE" => Wanted::Status(&[400, 403, 405, 481, 489]),
        "ACK" => Wanted::Silence,
        _ if first.parse::<u16>().is_ok() || !file.ends_with(".sip") => Wanted::Silence,
        _ => panic!("{file}: {kind} is new here"),
    }
}

/// A dotted quad of the same length in 127/8; 0.0.0.0 and loopback stay.
fn loopback(quad: &[u8]) -> Vec<u8> {
    if quad.starts_with(b"127.") || quad == b"0.0.0.0" {
        return quad.to_vec();
    }
    let widths = match quad.len() {
        9 => [1, 1, 1],
        10 => [1, 1, 2],
        11 => [1, 2, 2],
        12 => [2, 2, 2],
        13 => [2, 2, 3],
        14 => [2, 3, 3],
        15 => [3, 3, 3],
        // Too short for 127.x.x.x: made of zeros and ones, which no packet is ever sent to.
        _ => return vec![b'0'; quad.len()],
    };
    let hash = quad
        .iter()
        .fold(7u32, |h, b| h.wrapping_mul(31) + u32::from(*b));
    let mut out = b"127".to_vec();
    for (n, width) in widths.into_iter().enumerate() {
        let (low, high) = match width {
            1 => (1, 9),
            2 => (10, 99),
            _ => (100, 254),
        };
        let number = low + (hash >> (8 * n)) % (high - low + 1);
        out.extend(format!(".{number}").into_bytes());
    }
    out
}

/// Rewrites every IPv4 address.
fn to_loopback(raw: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(raw.len());
    let mut rest = raw;
    while !rest.is_empty() {
        let len = rest
            .iter()
            .take_while(|b| b.is_ascii_digit() || **b == b'.')
            .count();
        if len == 0 {
            out.push(rest[0]);
            rest = &rest[1..];
            continue;
        }
        let (run, after) = rest.split_at(len);
        let numbers: Vec<Option<u8>> = std::str::from_utf8(run)
            .unwrap_or("")
            .split('.')
            .map(|n| n.parse().ok())
            .collect();
        let is_address = numbers.len() == 4 && numbers.iter().all(Option::is_some);
        if is_address {
            out.extend(loopback(run));
        } else {
            out.extend_from_slice(run);
        }
        rest = after;
    }
    out
}

#[test]
fn addresses_are_rewritten_in_place() {
    let text =
        b"Via: SIP/2.0/UDP 192.168.1.64:5060;x 1.2.3 c=IN IP4 116.62.118.20 0.0.0.0 127.0.0.1";
    let new = to_loopback(text);
    assert_eq!(new.len(), text.len());
    let new = String::from_utf8(new).expect("text");
    assert!(new.contains("UDP 127.") && new.contains("IP4 127.") && new.contains(" 1.2.3 "));
    assert!(new.ends_with("0.0.0.0 127.0.0.1"));
    assert!(!new.contains("192.") && !new.contains("116."));
}

fn call_id(raw: &[u8]) -> Option<String> {
    let raw = bytes::Bytes::copy_from_slice(raw);
    let message = Message::parse(raw, Carrier::Datagram).ok()?;
    Some(message.call_id().to_owned())
}

/// Sends OPTIONS behind a message, and gathers what came before its answer: so nothing has to be waited for that never
/// comes. Answers are those of the message's own Call-ID, or all of them if it has none that can be read.
pub(super) struct Udp {
    pub socket: UdpSocket,
    /// What the node asked; it was told that it came.
    pub asked: Vec<Message>,
    probes: u32,
}

impl Udp {
    pub fn new(node: &Node) -> Udp {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
        socket.connect(node.sip).expect("a route");
        socket
            .set_read_timeout(Some(Duration::from_millis(500)))
            .expect("a valid time");
        Udp {
            socket,
            asked: Vec::new(),
            probes: 0,
        }
    }

    pub fn exchange(&mut self, raw: &[u8]) -> Vec<Message> {
        self.socket.send(raw).expect("the node listens");
        self.probes += 1;
        let probe = options(self.probes, "UDP");
        let began = Instant::now();
        let mut answers = Vec::new();
        self.socket.send(&probe).expect("the node listens");
        loop {
            match self.next() {
                Some(answer) if answer.call_id() == format!("probe-{}", self.probes) => {
                    return answers;
                }
                Some(answer) => answers.extend((!answer.is_request()).then_some(answer)),
                None => {
                    assert!(began.elapsed() < PATIENCE, "the node answers no OPTIONS");
                    self.socket.send(&probe).expect("the node listens");
                }
            }
        }
    }

    /// The next message, if one comes within half a second. A request is answered with 200 and kept.
    fn next(&mut self) -> Option<Message> {
        let mut buffer = [0; 65_535];
        let n = self.socket.recv(&mut buffer).ok()?;
        let raw = bytes::Bytes::copy_from_slice(&buffer[..n]);
        let message = Message::parse(raw, Carrier::Datagram).expect("our own SIP");
        if message.is_request() {
            let head = message.head_lossy();
            let echoed = head.lines().filter(|line| {
                let name = line.split(':').next().unwrap_or("").to_ascii_lowercase();
                ["via", "from", "to", "call-id", "cseq"].contains(&name.as_str())
            });
            let echoed: String = echoed.map(|line| format!("{line}\r\n")).collect();
            let ok = format!("SIP/2.0 200 OK\r\n{echoed}Content-Length: 0\r\n\r\n");
            self.socket.send(ok.as_bytes()).expect("the node listens");
            self.asked.push(message.clone());
        }
        Some(message)
    }

    /// Waits until the node has asked what `right` says, and takes it.
    pub fn wait_for_request(&mut self, what: &str, right: impl Fn(&str) -> bool) -> String {
        let began = Instant::now();
        loop {
            let bodies = self.asked.iter();
            let mut bodies = bodies.map(|m| String::from_utf8_lossy(m.body()).into_owned());
            if let Some(at) = bodies.position(|body| right(&body)) {
                let found = self.asked.remove(at);
                return String::from_utf8_lossy(found.body()).into_owned();
            }
            assert!(began.elapsed() < PATIENCE, "nobody asked for {what}");
            self.next();
        }
    }
}

fn options(n: u32, transport: &str) -> Vec<u8> {
    format!(
        "OPTIONS sip:node SIP/2.0\r\nVia: SIP/2.0/{transport} 127.0.0.1:9;rport;branch=z9hG4bKprobe{n}\r\n\
         From: <sip:probe@127.0.0.1>;tag=p\r\nTo: <sip:node@127.0.0.1>\r\nCall-ID: probe-{n}\r\nCSeq: {n} OPTIONS\r\n\
         Max-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
    )
    .into_bytes()
}

/// The same over a connection of its own for each message: what is wrong with one must not be taken for the next.
fn over_tcp(node: &Node, raw: &[u8], probe: u32, patience: Duration) -> Option<Vec<Message>> {
    let mut socket = TcpStream::connect(node.sip).expect("the node listens");
    socket
        .set_read_timeout(Some(patience))
        .expect("a valid time");
    socket.write_all(raw).ok()?;
    socket.write_all(&options(probe, "TCP")).ok()?;
    let mut framer = Framer::new();
    let mut answers = Vec::new();
    let mut buffer = [0; 16_384];
    loop {
        let n = socket.read(&mut buffer).ok().filter(|n| *n > 0)?;
        framer.push(&buffer[..n]);
        while let Some(Ok(frame)) = framer.next() {
            let Frame::Message(raw) = frame else { continue };
            let answer = Message::parse(raw, Carrier::Stream).expect("our own SIP");
            if answer.call_id() == format!("probe-{probe}") {
                return Some(answers);
            }
            answers.push(answer);
        }
    }
}

pub(super) fn judge(file: &str, wanted: Wanted, raw: &[u8], answers: &[Message]) {
    let own = call_id(raw);
    let finals: Vec<u16> = answers
        .iter()
        .filter(|a| own.as_deref().is_none_or(|own| a.call_id() == own))
        .filter_map(Message::status)
        .filter(|s| *s >= 200)
        .collect();
    match wanted {
        Wanted::Status(right) => assert!(
            finals.len() == 1 && right.contains(&finals[0]),
            "{file}: {finals:?}, not one of {right:?}"
        ),
        Wanted::Silence => assert!(finals.is_empty(), "{file}: {finals:?}"),
        Wanted::Anything => assert!(finals.len() <= 2, "{file}: {finals:?}"),
    }
}

fn folder_of(file: &str) -> &str {
    file.split('/').next().unwrap_or(file)
}

pub(super) fn messages(folder: &Path) -> Vec<(String, String, String, Vec<u8>)> {
    vectors::table(&folder.join("INDEX.tsv"))
        .into_iter()
        .filter_map(|row| {
            let [file, kind, _, _, length, ..] = &row[..] else {
                return None;
            };
            let raw = std::fs::read(folder.join(file)).expect("a file of the index");
            let raw = to_loopback(&raw);
            Some((file.clone(), kind.clone(), length.clone(), raw))
        })
        .collect()
}

/// Devices register, a picture plays, and nothing was caught.
fn is_well(node: &Node) {
    assert_eq!(node.get("/healthz", None).status, 200);
    let token = node.login();
    let _device = Devices::start(
        node,
        &[
            "--count",
            "1",
            "--channels",
            "1",
            "--id-base",
            "34020000001320009999",
        ],
    );
    node.wait_for_device(&token, "PU_34020000001320009999", 1);
    let path = format!("/live/PU_34020000001320009999/0.flv?token={token}");
    let mut stream = HttpStream::open(node.http, &path);
    let mut bytes = 0;
    while bytes < 200_000 {
        bytes += stream.some().len();
    }
    assert_eq!(node.metric("gantry_panics_total"), 0.0);
}

#[test]
fn every_message_of_others_gets_its_answer_over_udp() {
    let Some(folder) = vectors::needed("gb28181") else {
        return;
    };
    let node = Node::start(&[]);
    let mut udp = Udp::new(&node);
    let mut sent: BTreeMap<String, u32> = BTreeMap::new();
    for (file, kind, length, raw) in messages(&folder) {
        let answers = udp.exchange(&raw);
        judge(&file, wanted(&file, &kind, &length), &raw, &answers);
        *sent.entry(folder_of(&file).to_owned()).or_default() += 1;
    }
    println!("{sent:?}");
    assert!(sent.values().sum::<u32>() >= 170, "{sent:?}");
    is_well(&node);
}

#[test]
fn every_message_of_others_gets_its_answer_over_tcp() {
    let Some(folder) = vectors::needed("gb28181") else {
        return;
    };
    let node = Node::start(&[]);
    let (mut answered, mut closed) = (0, 0);
    for (n, (file, kind, length, raw)) in (1..).zip(messages(&folder)) {
        let wanted = wanted(&file, &kind, &length);
        // On a stream a length that lies swallows what follows, and none at all leaves no end: the connection is closed.
        let has_no_length = length == "no-CL" || wanted == Wanted::Anything;
        // What a length that lies makes the node wait for never comes.
        let patience = if has_no_length {
            Duration::from_secs(1)
        } else {
            PATIENCE
        };
        match over_tcp(&node, &raw, n, patience) {
            Some(answers) => {
                judge(&file, wanted, &raw, &answers);
                answered += 1;
            }
            None => {
                assert!(
                    has_no_length,
                    "{file}: no answer, or the connection was closed"
                );
                closed += 1;
            }
        }
    }
    println!("{answered} answered, {closed} connections closed");
    assert!(answered >= 160, "{answered}");
    is_well(&node);
}
