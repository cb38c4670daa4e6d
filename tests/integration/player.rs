//! Small players of our own, by the standards and not by the library: HTTP without end, WebSocket (RFC 6455), boxes
//! (ISO/IEC 14496-12).

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use sha1::{Digest as _, Sha1};

pub use super::flv::{Flv, hevc_of_flv};
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
    /// Of a body in chunks: what waits for the rest of its chunk.
    chunk: Option<Vec<u8>>,
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
        let chunked = header(&head, "transfer-encoding") == Some("chunked");
        HttpStream {
            status: status(&head),
            head,
            socket,
            chunk: chunked.then(Vec::new),
        }
    }

    /// The next bytes; none = the node has ended the stream.
    pub fn next(&mut self) -> Option<Vec<u8>> {
        loop {
            let bytes = self.read()?;
            let Some(waiting) = &mut self.chunk else {
                return Some(bytes);
            };
            waiting.extend_from_slice(&bytes);
            let whole = dechunk(waiting);
            if !whole.is_empty() {
                return Some(whole);
            }
        }
    }

    fn read(&mut self) -> Option<Vec<u8>> {
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

/// Takes the whole chunks (RFC 9112, 7.1) from the front and gives what is in them.
fn dechunk(waiting: &mut Vec<u8>) -> Vec<u8> {
    let mut out = Vec::new();
    let mut at = 0;
    while let Some(line) = waiting[at..].windows(2).position(|w| w == b"\r\n") {
        let size = std::str::from_utf8(&waiting[at..at + line]).expect("a size is text");
        let size = usize::from_str_radix(size, 16).expect("a size is hexadecimal");
        let from = at + line + 2;
        if waiting.len() < from + size + 2 {
            break;
        }
        out.extend_from_slice(&waiting[from..from + size]);
        at = from + size + 2;
    }
    waiting.drain(..at);
    out
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

    /// The next message, of text or bytes; `None` once the node has said goodbye or hung up.
    pub fn message(&mut self) -> Option<Vec<u8>> {
        let mut message = Vec::new();
        loop {
            let (last, opcode, payload) = self.frame()?;
            match opcode {
                0..=2 => message.extend_from_slice(&payload),
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
