//! Small players of our own, by the standards and not by the library: HTTP without end, WebSocket (RFC 6455), FLV tags
//! (Flash Video 10.1, annex E), boxes (ISO/IEC 14496-12).

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use sha1::{Digest as _, Sha1};

use super::node::PATIENCE;

fn connect(addr: SocketAddr) -> TcpStream {
    let socket = TcpStream::connect(addr).expect("the node listens");
    socket
        .set_read_timeout(Some(PATIENCE))
        .expect("a valid time");
    socket
}

/// In one piece, as clients do.
fn send(socket: &mut TcpStream, request: &str) {
    socket
        .write_all(request.as_bytes())
        .expect("the node reads");
}

/// Reads a response head; the bytes after it stay in the socket.
fn read_head(socket: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        socket.read_exact(&mut byte).expect("the node answers");
        head.push(byte[0]);
    }
    String::from_utf8(head).expect("a head is text")
}

fn status(head: &str) -> u16 {
    head.split(' ')
        .nth(1)
        .and_then(|s| s.parse().ok())
        .expect("a status")
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = head.lines().filter_map(|l| l.split_once(':'));
    lines
        .find(|(n, _)| n.eq_ignore_ascii_case(name))
        .map(|(_, v)| v.trim())
}

/// A connection on which one request was answered already.
fn used(addr: SocketAddr) -> TcpStream {
    let mut socket = connect(addr);
    send(
        &mut socket,
        &format!("GET /healthz HTTP/1.1\r\nHost: {addr}\r\n\r\n"),
    );
    let head = read_head(&mut socket);
    let len = header(&head, "content-length")
        .and_then(|v| v.parse().ok())
        .expect("a length");
    let mut body = vec![0; len];
    socket.read_exact(&mut body).expect("the whole body");
    socket
}

/// The answer to a GET, read as it comes.
pub struct HttpStream {
    socket: TcpStream,
    pub status: u16,
    pub head: String,
}

impl HttpStream {
    /// On a fresh connection.
    pub fn open(addr: SocketAddr, path: &str) -> HttpStream {
        HttpStream::ask(connect(addr), addr, path)
    }

    /// On a connection that was used before.
    pub fn reused(addr: SocketAddr, path: &str) -> HttpStream {
        HttpStream::ask(used(addr), addr, path)
    }

    /// With room for so many bytes that it does not read.
    pub fn slow(addr: SocketAddr, path: &str, receive_buffer: usize) -> HttpStream {
        let socket = connect(addr);
        socket2::SockRef::from(&socket)
            .set_recv_buffer_size(receive_buffer)
            .expect("a size that the kernel takes");
        HttpStream::ask(socket, addr, path)
    }

    /// At most `most` bytes that are there already.
    pub fn waiting(&mut self, most: usize) -> Option<Vec<u8>> {
        let mut bytes = vec![0; most];
        self.socket.set_nonblocking(true).expect("a socket");
        let read = self.socket.read(&mut bytes);
        self.socket.set_nonblocking(false).expect("a socket");
        match read {
            Ok(0) => panic!("the node ended the stream"),
            Ok(n) => {
                bytes.truncate(n);
                Some(bytes)
            }
            Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => None,
            Err(e) => panic!("the stream stopped: {e}"),
        }
    }

    fn ask(mut socket: TcpStream, addr: SocketAddr, path: &str) -> HttpStream {
        send(
            &mut socket,
            &format!("GET {path} HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\n\r\n"),
        );
        let head = read_head(&mut socket);
        HttpStream {
            status: status(&head),
            head,
            socket,
        }
    }

    /// The next bytes; none = the node has ended the stream.
    pub fn next(&mut self) -> Option<Vec<u8>> {
        let mut bytes = vec![0; 64 << 10];
        match self.socket.read(&mut bytes) {
            Ok(0) => None,
            Ok(n) => {
                bytes.truncate(n);
                Some(bytes)
            }
            Err(e) if e.kind() == std::io::ErrorKind::ConnectionReset => None,
            Err(e) => panic!("the stream stopped: {e}"),
        }
    }

    /// The next bytes of a stream that goes on.
    pub fn some(&mut self) -> Vec<u8> {
        self.next().expect("the stream goes on")
    }

    /// All the rest of a body that ends.
    pub fn rest(&mut self) -> String {
        assert_ne!(self.status, 200, "a stream has no end:\n{}", self.head);
        let mut body = Vec::new();
        self.socket.read_to_end(&mut body).expect("the whole body");
        String::from_utf8(body).expect("text")
    }
}

/// A WebSocket client that only listens.
pub struct WebSocket(TcpStream);

impl WebSocket {
    pub fn connect(addr: SocketAddr, path: &str, reused: bool) -> WebSocket {
        let mut socket = if reused { used(addr) } else { connect(addr) };
        let key = BASE64.encode(b"sixteen bytes ok");
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {addr}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: {key}\r\n\r\n"
        );
        send(&mut socket, &request);
        let head = read_head(&mut socket);
        assert_eq!(status(&head), 101, "{head}");
        let expected = Sha1::digest(format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11"));
        assert_eq!(
            header(&head, "sec-websocket-accept"),
            Some(BASE64.encode(expected).as_str())
        );
        WebSocket(socket)
    }

    /// The next binary message; `None` once the node has said goodbye or hung up.
    pub fn message(&mut self) -> Option<Vec<u8>> {
        let mut message = Vec::new();
        loop {
            let (last, opcode, payload) = self.frame()?;
            match opcode {
                0 | 2 => message.extend_from_slice(&payload),
                8 => return None,
                9 | 10 => continue,
                other => panic!("opcode {other}"),
            }
            if last {
                return Some(message);
            }
        }
    }

    fn frame(&mut self) -> Option<(bool, u8, Vec<u8>)> {
        let mut head = [0; 2];
        self.0.read_exact(&mut head).ok()?;
        assert_eq!(head[0] & 0x70, 0, "no extension was agreed");
        assert_eq!(head[1] & 0x80, 0, "a server does not mask");
        let len = match head[1] {
            126 => u64::from(u16::from_be_bytes(self.array())),
            127 => u64::from_be_bytes(self.array()),
            short => short.into(),
        };
        let mut payload = vec![0; usize::try_from(len).expect("a sane length")];
        self.0.read_exact(&mut payload).expect("the whole frame");
        Some((head[0] & 0x80 != 0, head[0] & 0x0f, payload))
    }

    fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.0.read_exact(&mut bytes).expect("the whole header");
        bytes
    }

    /// Says goodbye, masked as a client must.
    pub fn close(mut self) {
        // The node may have been faster.
        let _ = self.0.write_all(&[0x88, 0x80, 1, 2, 3, 4]);
    }
}

pub struct Tag {
    /// 8 = sound, 9 = picture, 18 = metadata.
    pub kind: u8,
    pub time_ms: u32,
    pub body: Vec<u8>,
}

/// Reads FLV from pieces cut anywhere.
#[derive(Default)]
pub struct Flv {
    waiting: Vec<u8>,
    headed: bool,
    tags: Vec<Tag>,
}

impl Flv {
    /// For pieces that begin with a tag.
    pub fn headless() -> Flv {
        Flv {
            headed: true,
            ..Flv::default()
        }
    }

    pub fn push(&mut self, bytes: &[u8]) {
        self.waiting.extend_from_slice(bytes);
        if !self.headed && self.waiting.len() >= 13 {
            assert_eq!(&self.waiting[..4], b"FLV\x01");
            assert_eq!(self.waiting[5..13], [0, 0, 0, 9, 0, 0, 0, 0]);
            self.waiting.drain(..13);
            self.headed = true;
        }
        while self.headed && self.waiting.len() >= 11 {
            let head = &self.waiting[..11];
            let size = u32::from_be_bytes([0, head[1], head[2], head[3]]) as usize;
            let whole = 11 + size + 4;
            if self.waiting.len() < whole {
                return;
            }
            let time_ms = u32::from_be_bytes([head[7], head[4], head[5], head[6]]);
            let kind = head[0];
            assert!(matches!(kind, 8 | 9 | 18), "tag type {kind}");
            assert_eq!(
                self.waiting[11 + size..whole],
                (11 + size as u32).to_be_bytes(),
                "PreviousTagSize"
            );
            let body = self.waiting[11..11 + size].to_vec();
            self.waiting.drain(..whole);
            self.tags.push(Tag {
                kind,
                time_ms,
                body,
            });
        }
    }

    /// Nothing of a tag waits for its end.
    pub fn is_at_tag(&self) -> bool {
        self.waiting.is_empty()
    }

    /// The tags of a type so far.
    pub fn tags(&self, kind: u8) -> impl Iterator<Item = &Tag> {
        self.tags.iter().filter(move |tag| tag.kind == kind)
    }
}

/// The bare H.265 stream in the picture tags of Enhanced FLV, the first of which is the configuration.
pub fn hevc_of_flv(tags: &[&Tag]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut unit = |nal: &[u8]| {
        out.extend_from_slice(&[0, 0, 0, 1]);
        out.extend_from_slice(nal);
    };
    // HEVCDecoderConfigurationRecord (ISO/IEC 14496-15, 8.3.3.1): 22 bytes, then arrays of units of one type.
    let config = &tags[0].body[5..];
    let mut at = 23;
    for _ in 0..config[22] {
        let count = u16::from_be_bytes([config[at + 1], config[at + 2]]);
        at += 3;
        for _ in 0..count {
            let len = usize::from(u16::from_be_bytes([config[at], config[at + 1]]));
            unit(&config[at + 2..at + 2 + len]);
            at += 2 + len;
        }
    }
    for tag in &tags[1..] {
        // Packet type 1 has a composition time of three bytes, type 3 has none.
        let mut rest = match tag.body[0] & 0x0f {
            1 => &tag.body[8..],
            3 => &tag.body[5..],
            other => panic!("packet type {other}"),
        };
        while let Some((len, after)) = rest.split_first_chunk::<4>() {
            let (nal, next) = after.split_at(u32::from_be_bytes(*len) as usize);
            unit(nal);
            rest = next;
        }
    }
    out
}

/// The types of the boxes that make up these bytes, which must end where a box ends.
pub fn boxes(mut bytes: &[u8]) -> Vec<String> {
    let mut types = Vec::new();
    while !bytes.is_empty() {
        let (head, _) = bytes
            .split_first_chunk::<8>()
            .expect("a whole header of a box");
        let size = u32::from_be_bytes([head[0], head[1], head[2], head[3]]) as usize;
        types.push(String::from_utf8_lossy(&head[4..]).into_owned());
        bytes = bytes
            .get(size..)
            .filter(|_| size >= 8)
            .expect("a whole box");
    }
    types
}
