//! The floors: the bare system calls and ciphers that the work cannot do without, on the same machine in the same run,
//! each on one thread whose own processor time is counted.

use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gantry::net::udp;
use ring::aead::{AES_128_GCM, AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};

use crate::clip::RATE;
use crate::datagrams::Receivers;
use crate::players::Players;
use crate::source::{self, Script, Senders, Source};
use crate::sys::{Batch, thread_cpu};

const RECEIVE_BUFFER_BYTES: usize = 4 << 20;
/// Bytes that the receiving floor copies into, as large as a few streams' rings, so that it does not write to one cache line.
const COPY_BYTES: usize = 4 << 20;

/// Takes the packets of `n` streams by `recvmmsg` and copies each once: as soon as one comes, or (`gather`) at intervals,
/// when many wait. Milliseconds of processor time per stream-second.
pub fn receive(
    script: &Arc<Script>,
    n: usize,
    gather: Option<Duration>,
    settle: Duration,
    window: Duration,
) -> f64 {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("loopback has a free port");
    // What the kernel does not grant shows as a floor that is too low, never too high.
    let _ = socket2::SockRef::from(&socket).set_recv_buffer_size(RECEIVE_BUFFER_BYTES);
    socket
        .set_read_timeout(Some(Duration::from_millis(50)))
        .expect("a valid time");
    let to = socket.local_addr().expect("bound");
    let sources: Vec<Source> = (0..n)
        .map(|i| Source {
            to,
            ssrc: i as u32 + 1,
            phase: source::phase(i),
        })
        .collect();
    let senders = Senders::start(script, &sources);
    let receiver = std::thread::spawn(move || {
        let start = Instant::now();
        let mut copy = Copy::new();
        while start.elapsed() < settle {
            copy.turn(&socket, gather);
        }
        let (began, cpu) = (Instant::now(), thread_cpu());
        while began.elapsed() < window {
            copy.turn(&socket, gather);
        }
        let cpu = thread_cpu() - cpu;
        cpu.as_secs_f64() * 1e3 / (n as f64 * began.elapsed().as_secs_f64())
    });
    let cost = receiver.join().expect("it does not panic");
    drop(senders);
    cost
}

/// Where the bytes of packets go, over and over.
struct Copy {
    batch: Batch,
    ring: Vec<u8>,
    at: usize,
}

impl Copy {
    fn new() -> Copy {
        Copy {
            batch: Batch::new(),
            ring: vec![0; COPY_BYTES],
            at: 0,
        }
    }

    /// Waits for packets and takes what there is.
    fn turn(&mut self, socket: &UdpSocket, gather: Option<Duration>) {
        if let Some(interval) = gather {
            std::thread::sleep(interval);
        }
        let mut wait = gather.is_none();
        loop {
            self.batch.recv(socket.as_raw_fd(), wait);
            for datagram in self.batch.datagrams() {
                if self.at + datagram.len() > self.ring.len() {
                    self.at = 0;
                }
                self.ring[self.at..self.at + datagram.len()].copy_from_slice(datagram);
                self.at += datagram.len();
            }
            std::hint::black_box(&mut self.ring);
            if !self.batch.is_full() {
                return;
            }
            wait = false;
        }
    }
}

/// Writes `bytes_per_second` to each of `m` players in `writes` writes a second. Milliseconds of processor time per
/// viewer-second.
pub fn write(
    m: usize,
    writes: f64,
    bytes_per_second: f64,
    settle: Duration,
    window: Duration,
) -> f64 {
    let (players, sockets) = connected(m);
    let bytes = vec![0x5a; (bytes_per_second / writes) as usize];
    let cost = paced(writes, settle, window, |_| {
        for socket in &sockets {
            // A player whose buffer is full misses a write; it is then served late by the node, too.
            let _ = std::io::Write::write(&mut &*socket, &bytes);
        }
    });
    drop(players);
    cost / m as f64
}

/// Seals `bytes_per_second` for each of `m` players as TLS 1.3 does (RFC 8446, 5.2: records of up to 16 KiB under AES-256-GCM)
/// and writes them, in `writes` writes a second. Milliseconds of processor time per viewer-second.
pub fn seal_and_write(
    m: usize,
    writes: f64,
    bytes_per_second: f64,
    settle: Duration,
    window: Duration,
) -> f64 {
    const RECORD_BYTES: usize = 16 * 1024;
    let (players, sockets) = connected(m);
    let keys: Vec<LessSafeKey> = (0..m)
        .map(|n| {
            let key = UnboundKey::new(&AES_256_GCM, &[n as u8; 32]).expect("32 bytes");
            LessSafeKey::new(key)
        })
        .collect();
    let bytes = vec![0x5a; (bytes_per_second / writes) as usize];
    let mut out = Vec::new();
    let mut number = 0u64;
    let cost = paced(writes, settle, window, |_| {
        for (socket, key) in sockets.iter().zip(&keys) {
            out.clear();
            for record in bytes.chunks(RECORD_BYTES) {
                number += 1;
                let mut nonce = [0; NONCE_LEN];
                nonce[4..].copy_from_slice(&number.to_be_bytes());
                let len = (record.len() + AES_256_GCM.tag_len()) as u16;
                let [high, low] = len.to_be_bytes();
                let head = [23, 3, 3, high, low];
                out.extend_from_slice(&head);
                let start = out.len();
                out.extend_from_slice(record);
                let tag = key.seal_in_place_separate_tag(
                    Nonce::assume_unique_for_key(nonce),
                    Aad::from(head),
                    &mut out[start..],
                );
                out.extend_from_slice(tag.expect("short enough").as_ref());
            }
            // As in the floor without TLS.
            let _ = std::io::Write::write(&mut &*socket, &out);
        }
    });
    drop(players);
    cost / m as f64
}

/// Players on loopback, and the other ends of their connections.
fn connected(m: usize) -> (Players, Vec<TcpStream>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    let at = listener.local_addr().expect("bound");
    let mut players = Players::new(m);
    let sockets = (0..m).map(|_| {
        players.adopt(TcpStream::connect(at).expect("it listens"));
        let (socket, _) = listener.accept().expect("it has connected");
        socket.set_nodelay(true).expect("TCP");
        socket.set_nonblocking(true).expect("a socket");
        socket
    });
    let sockets = sockets.collect();
    (players, sockets)
}

/// Seals `packets_per_second` packets of `packet_bytes` for each of `m` viewers and sends them as one segmented datagram a
/// picture. Milliseconds of processor time per viewer-second.
pub fn seal(
    m: usize,
    packets_per_second: f64,
    packet_bytes: usize,
    settle: Duration,
    window: Duration,
) -> f64 {
    const HEADER_BYTES: usize = 12;
    let mut receivers = Receivers::new(m);
    let viewers: Vec<(SocketAddr, LessSafeKey)> = (0..m)
        .map(|n| {
            let socket = Receivers::socket();
            let at = socket.local_addr().expect("bound");
            receivers.adopt(socket, Vec::new());
            let key = UnboundKey::new(&AES_128_GCM, &[n as u8; 16]).expect("16 bytes");
            (at, LessSafeKey::new(key))
        })
        .collect();
    let options = udp::Options {
        reuse_port: false,
        receive_buffer_bytes: RECEIVE_BUFFER_BYTES,
        send_buffer_bytes: RECEIVE_BUFFER_BYTES,
    };
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let (socket, _) = udp::bind(any, options).expect("loopback has a free port");
    let mut sender = udp::Sender::new(socket).expect("bound");
    let body = vec![0xa5; packet_bytes.saturating_sub(HEADER_BYTES + AES_128_GCM.tag_len())];
    let mut out = Vec::with_capacity(64 * 1024);
    let mut sent = 0;
    paced(RATE as f64, settle, window, |round| {
        let due = (packets_per_second * (round + 1) as f64 / RATE as f64) as u64;
        for (at, key) in &viewers {
            out.clear();
            for number in sent..due {
                let start = out.len() + HEADER_BYTES;
                out.extend_from_slice(&[0x80, 96, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
                out[start - 10..start - 8].copy_from_slice(&(number as u16).to_be_bytes());
                out.extend_from_slice(&body);
                let mut nonce = [0; NONCE_LEN];
                nonce[4..].copy_from_slice(&number.to_be_bytes());
                let (head, payload) = out.split_at_mut(start);
                let aad = Aad::from(&head[start - HEADER_BYTES..]);
                let tag = key.seal_in_place_separate_tag(
                    Nonce::assume_unique_for_key(nonce),
                    aad,
                    payload,
                );
                out.extend_from_slice(tag.expect("short enough").as_ref());
            }
            // A full buffer is loss, as it is for the node.
            let _ = sender.send_segments(*at, &out, packet_bytes);
        }
        sent = due;
    }) / m as f64
}

/// Does `work` so often a second; milliseconds of processor time that it took in a second of rounds, once settled.
fn paced(per_second: f64, settle: Duration, window: Duration, mut work: impl FnMut(u64)) -> f64 {
    let before = (settle.as_secs_f64() * per_second).ceil() as u64;
    let counted = (window.as_secs_f64() * per_second).round().max(1.0) as u64;
    let start = Instant::now();
    let mut cpu = Duration::ZERO;
    for round in 0..before + counted {
        let due = start + Duration::from_secs_f64(round as f64 / per_second);
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        if round == before {
            cpu = thread_cpu();
        }
        work(round);
    }
    (thread_cpu() - cpu).as_secs_f64() * 1e3 * per_second / counted as f64
}
