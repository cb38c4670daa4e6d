//! Players over TCP: one epoll loop that counts bytes and throws them away in the kernel; and one that reads tags.
//!
//! Each turn of the loop is preceded by a short nap, so that one wake-up serves many players: the players share the
//! machine with the node, and a costly player would be measured as a slow node.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Registry, Token};

use crate::process::PATIENCE;
use crate::sys;

pub const NAP: Duration = Duration::from_millis(4);
const DISCARD_BYTES_MAX: usize = 1 << 20;
/// Bytes that a player that looks at what comes reads in one call.
pub const PIECES: usize = 64 * 1024;

struct Shared {
    stop: AtomicBool,
    /// Bytes that each player got.
    bytes: Vec<AtomicU64>,
    /// Connections that the other side closed.
    closed: AtomicU64,
}

/// Counting players. Dropping them closes their connections.
pub struct Players {
    shared: Arc<Shared>,
    registry: Registry,
    sockets: Vec<TcpStream>,
    thread: Option<JoinHandle<()>>,
}

impl Players {
    /// Room for `most` players.
    pub fn new(most: usize) -> Players {
        let mut poll = Poll::new().expect("epoll");
        let registry = poll.registry().try_clone().expect("epoll");
        let shared = Arc::new(Shared {
            stop: AtomicBool::new(false),
            bytes: (0..most).map(|_| AtomicU64::new(0)).collect(),
            closed: AtomicU64::new(0),
        });
        let seen = shared.clone();
        let thread = std::thread::spawn(move || {
            let mut events = Events::with_capacity(1024);
            while !seen.stop.load(Ordering::Relaxed) {
                std::thread::sleep(NAP);
                if poll.poll(&mut events, Some(NAP)).is_err() {
                    continue;
                }
                for event in &events {
                    let (n, fd) = split(event.token());
                    drain(&seen, n, fd);
                }
            }
        });
        Players {
            shared,
            registry,
            sockets: Vec::new(),
            thread: Some(thread),
        }
    }

    /// Connects one more player that asks for a path and waits for its 200.
    pub fn open(&mut self, http: SocketAddr, path: &str) {
        let (socket, _) = get(http, path);
        self.adopt(socket);
    }

    /// Takes a connection whose every byte counts. Its token is the number of the player and its descriptor.
    pub fn adopt(&mut self, socket: TcpStream) {
        let n = self.sockets.len();
        assert!(n < self.shared.bytes.len(), "room was asked for fewer");
        let fd = socket.as_raw_fd();
        let token = Token(n << 32 | fd as usize);
        self.registry
            .register(&mut SourceFd(&fd), token, Interest::READABLE)
            .expect("a fresh descriptor");
        self.sockets.push(socket);
    }

    /// Bytes of each player so far.
    pub fn bytes(&self) -> Vec<u64> {
        let players = self.shared.bytes.iter().take(self.sockets.len());
        players.map(|b| b.load(Ordering::Relaxed)).collect()
    }

    pub fn closed(&self) -> u64 {
        self.shared.closed.load(Ordering::Relaxed)
    }
}

impl Drop for Players {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has said so.
            let _ = thread.join();
        }
    }
}

fn split(token: Token) -> (usize, i32) {
    (token.0 >> 32, (token.0 & 0x7fff_ffff) as i32)
}

/// mio tells of a socket once, so it is read until less comes than was asked for.
fn drain(shared: &Shared, n: usize, fd: i32) {
    loop {
        match sys::discard(fd, DISCARD_BYTES_MAX) {
            Ok(0) => {
                shared.closed.fetch_add(1, Ordering::Relaxed);
                return;
            }
            Ok(len) => {
                shared.bytes[n].fetch_add(len as u64, Ordering::Relaxed);
                if len < DISCARD_BYTES_MAX {
                    return;
                }
            }
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => return,
            Err(_) => {
                shared.closed.fetch_add(1, Ordering::Relaxed);
                return;
            }
        }
    }
}

/// Asks for a path. The connection behind the head of the answer, and what of the body came with it.
pub fn get(http: SocketAddr, path: &str) -> (TcpStream, Vec<u8>) {
    let mut socket = TcpStream::connect(http).expect("the node listens");
    socket
        .set_read_timeout(Some(PATIENCE))
        .expect("a valid time");
    let request = format!("GET {path} HTTP/1.1\r\nHost: {http}\r\n\r\n");
    socket
        .write_all(request.as_bytes())
        .expect("the node reads");
    let mut head = Vec::new();
    loop {
        let mut buffer = [0; 2048];
        let n = socket.read(&mut buffer).expect("the node answers");
        assert_ne!(n, 0, "the node closed {path}");
        head.extend_from_slice(&buffer[..n]);
        if let Some(at) = head.windows(4).position(|w| w == b"\r\n\r\n") {
            let text = String::from_utf8_lossy(&head);
            assert!(text.starts_with("HTTP/1.1 200"), "{path}: {text}");
            return (socket, head.split_off(at + 4));
        }
    }
}

/// Plays FLV until the first key frame is there whole (a video tag with a key frame that is no decoder configuration), and
/// says when that was.
pub fn first_key_frame(http: SocketAddr, path: &str) -> Instant {
    const FILE_HEADER_BYTES: usize = 13;
    const TAG_HEADER_BYTES: usize = 11;
    const TAG_SIZE_BYTES: usize = 4;
    const VIDEO: u8 = 9;
    /// Frame type 1 (key frame), codec 7 (AVC), packet type 1 (NAL units).
    const AVC_KEY_FRAME: [u8; 2] = [0x17, 1];
    let (mut socket, mut bytes) = get(http, path);
    let mut at = FILE_HEADER_BYTES;
    let mut buffer = vec![0; PIECES];
    loop {
        while let Some(tag) = bytes.get(at..at + TAG_HEADER_BYTES) {
            let size = u32::from_be_bytes([0, tag[1], tag[2], tag[3]]) as usize;
            let end = at + TAG_HEADER_BYTES + size;
            let kind = tag[0] & 0x1f;
            let Some(body) = bytes.get(at + TAG_HEADER_BYTES..end) else {
                break;
            };
            if kind == VIDEO && body.starts_with(&AVC_KEY_FRAME) {
                return Instant::now();
            }
            at = end + TAG_SIZE_BYTES;
        }
        let n = socket.read(&mut buffer).expect("the node sends");
        assert_ne!(n, 0, "the node closed {path}");
        bytes.extend_from_slice(&buffer[..n]);
    }
}
