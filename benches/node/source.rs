//! Devices: one thread that sends the same program stream as many RTP streams, each with its own socket, SSRC and phase.
//!
//! A picture leaves when it is due, a large one in chunks of eight packets over 20 ms, as cameras behind a shaper send it.
//! The whole run is muxed beforehand, so that sending costs a header and a system call a chunk. At its end the run begins
//! again (the clocks in it jump back once a minute, as when a device sets its clock).

use std::net::{SocketAddr, UdpSocket};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use gantry::media::ps::mux::Mux;

use crate::clip::{Clip, GROUP, RATE};
use crate::sys::{self, Datagram, SEND_BATCH};

/// Seconds of one round.
const SECONDS: usize = 60;
/// Seconds from one key frame to the next: phases are spread over it.
pub const GROUP_SECONDS: u64 = (GROUP / RATE) as u64;
const TICKS_PER_ROUND: u32 = SECONDS as u32 * 90_000;
const PAYLOAD_TYPE: u8 = 96;
/// With RTP, UDP and IP header 1,400 bytes.
const PAYLOAD_BYTES_MAX: usize = 1360;
/// Over which time the chunks of a large picture are spread.
const SPREAD: Duration = Duration::from_millis(20);
/// How often the thread looks what is due.
const TICK: Duration = Duration::from_millis(2);
/// Streams that one sending thread carries.
const STREAMS_PER_THREAD: usize = 200;

struct Piece {
    due: Duration,
    time: u32,
    bytes: Range<usize>,
}

/// A program stream with the time of each frame.
pub struct Script {
    bytes: Vec<u8>,
    pieces: Vec<Piece>,
}

impl Script {
    pub fn new() -> Script {
        let clip = Clip::new(SECONDS);
        let mut mux = Mux::new(Some(&clip.video), Some(&clip.audio));
        let mut bytes = Vec::new();
        let pieces = clip.frames.iter().map(|frame| {
            let start = bytes.len();
            mux.push(frame, &mut bytes);
            Piece {
                due: Duration::from_micros(frame.dts.0 as u64 * 100 / 9),
                time: frame.dts.0 as u32,
                bytes: start..bytes.len(),
            }
        });
        Script {
            pieces: pieces.collect(),
            bytes,
        }
    }

    /// RTP packets that a stream has in a second, in the mean.
    pub fn packets_per_second(&self) -> f64 {
        let packets = self.pieces.iter().map(|p| p.packets());
        packets.sum::<usize>() as f64 / SECONDS as f64
    }

    /// Bytes of program stream from one key frame to the next, in the mean.
    pub fn group_bytes(&self) -> f64 {
        self.bytes.len() as f64 / (SECONDS as f64 / GROUP_SECONDS as f64)
    }

    /// Bits of program stream in a second, in the mean.
    pub fn bits_per_second(&self) -> f64 {
        self.bytes.len() as f64 * 8.0 / SECONDS as f64
    }
}

impl Piece {
    fn packets(&self) -> usize {
        self.bytes.len().div_ceil(PAYLOAD_BYTES_MAX)
    }
}

/// Where a stream goes.
#[derive(Clone, Copy)]
pub struct Source {
    pub to: SocketAddr,
    pub ssrc: u32,
    /// How long after the start its first key frame is due.
    pub phase: Duration,
}

/// Phases that no run shares with another stream but every run repeats (splitmix64).
pub fn phase(n: usize) -> Duration {
    let mut z = (n as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    Duration::from_micros((z ^ (z >> 31)) % (GROUP_SECONDS * 1_000_000))
}

/// What the threads have done so far.
#[derive(Default)]
struct Counters {
    stop: AtomicBool,
    packets: AtomicU64,
    refused: AtomicU64,
    /// Microseconds by which the latest chunk left late.
    late_max: AtomicU64,
    /// Microseconds from the start to the first packet of the first stream, and to the last of its first picture, plus one.
    first: AtomicU64,
    first_picture: AtomicU64,
}

/// Running senders. Dropping them ends them.
pub struct Senders {
    counters: Arc<Counters>,
    start: Instant,
    threads: Vec<JoinHandle<()>>,
}

impl Senders {
    pub fn start(script: &Arc<Script>, sources: &[Source]) -> Senders {
        let counters = Arc::new(Counters::default());
        let start = Instant::now() + Duration::from_millis(5);
        let threads = sources
            .chunks(STREAMS_PER_THREAD)
            .enumerate()
            .map(|(i, sources)| {
                let (script, counters) = (script.clone(), counters.clone());
                let mut streams: Vec<Stream> = sources
                    .iter()
                    .enumerate()
                    .map(|(n, source)| Stream::new(source, start, i == 0 && n == 0))
                    .collect();
                std::thread::spawn(move || {
                    let mut next = start;
                    while !counters.stop.load(Ordering::Relaxed) {
                        std::thread::sleep(next.saturating_duration_since(Instant::now()));
                        let now = Instant::now();
                        for stream in &mut streams {
                            while stream.due <= now {
                                stream.send(&script, now, start, &counters);
                            }
                        }
                        next = (next + TICK).max(Instant::now());
                    }
                })
            });
        Senders {
            threads: threads.collect(),
            counters,
            start,
        }
    }

    /// Packets sent so far.
    pub fn packets(&self) -> u64 {
        self.counters.packets.load(Ordering::Relaxed)
    }

    /// Packets that the kernel did not take.
    pub fn refused(&self) -> u64 {
        self.counters.refused.load(Ordering::Relaxed)
    }

    /// By how much the latest packet left late.
    pub fn late_max(&self) -> Duration {
        Duration::from_micros(self.counters.late_max.load(Ordering::Relaxed))
    }

    /// When the first stream's first packet and the last packet of its first picture left. `None`: not yet.
    pub fn first_picture(&self) -> Option<(Instant, Instant)> {
        let at = |us: &AtomicU64| {
            let us = us.load(Ordering::Relaxed).checked_sub(1)?;
            Some(self.start + Duration::from_micros(us))
        };
        Some((at(&self.counters.first)?, at(&self.counters.first_picture)?))
    }
}

impl Drop for Senders {
    fn drop(&mut self) {
        self.counters.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // A thread that panicked has said so.
            let _ = thread.join();
        }
    }
}

struct Stream {
    socket: UdpSocket,
    ssrc: [u8; 4],
    sequence: u16,
    /// When its current round began.
    round: Instant,
    /// Added to the RTP time of the script.
    time: u32,
    piece: usize,
    /// Packets of the piece that are out.
    sent: usize,
    /// When the next chunk is due.
    due: Instant,
    /// Its first picture is timed.
    timed: bool,
}

impl Stream {
    fn new(source: &Source, start: Instant, timed: bool) -> Stream {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("loopback has a free port");
        socket.connect(source.to).expect("loopback can be reached");
        let round = start + source.phase;
        Stream {
            socket,
            ssrc: source.ssrc.to_be_bytes(),
            sequence: source.ssrc as u16,
            round,
            time: source.ssrc,
            piece: 0,
            sent: 0,
            due: round,
            timed,
        }
    }

    /// Sends the chunk that is due.
    fn send(&mut self, script: &Script, now: Instant, start: Instant, counters: &Counters) {
        let late = now.saturating_duration_since(self.due).as_micros() as u64;
        counters.late_max.fetch_max(late, Ordering::Relaxed);
        let piece = &script.pieces[self.piece];
        let packets = piece.packets();
        let chunk = SEND_BATCH.min(packets - self.sent);
        let time = self.time.wrapping_add(piece.time).to_be_bytes();
        let mut heads = [[0u8; 12]; SEND_BATCH];
        for (i, head) in heads.iter_mut().enumerate().take(chunk) {
            let last = self.sent + i + 1 == packets;
            head[0] = 0x80;
            head[1] = PAYLOAD_TYPE | if last { 0x80 } else { 0 };
            head[2..4].copy_from_slice(&self.sequence.wrapping_add(i as u16).to_be_bytes());
            head[4..8].copy_from_slice(&time);
            head[8..].copy_from_slice(&self.ssrc);
        }
        let bytes = &script.bytes[piece.bytes.clone()];
        let bodies = bytes.chunks(PAYLOAD_BYTES_MAX).skip(self.sent);
        let datagrams: [Datagram<'_>; SEND_BATCH] = {
            let mut pairs = heads.iter().zip(bodies);
            std::array::from_fn(|_| match pairs.next() {
                Some((head, body)) => Datagram { head, body },
                None => Datagram {
                    head: &[],
                    body: &[],
                },
            })
        };
        let taken = sys::send_batch(&self.socket, &datagrams[..chunk]).unwrap_or(0);
        counters.packets.fetch_add(taken as u64, Ordering::Relaxed);
        counters
            .refused
            .fetch_add((chunk - taken) as u64, Ordering::Relaxed);
        self.sequence = self.sequence.wrapping_add(chunk as u16);
        self.sent += chunk;
        if self.timed {
            let since = now.saturating_duration_since(start).as_micros() as u64 + 1;
            if self.sent == chunk {
                counters.first.store(since, Ordering::Relaxed);
            }
            if self.sent == packets {
                counters.first_picture.store(since, Ordering::Relaxed);
                self.timed = false;
            }
        }
        self.plan(script);
    }

    /// Finds what comes next and when.
    fn plan(&mut self, script: &Script) {
        if self.sent == script.pieces[self.piece].packets() {
            self.sent = 0;
            self.piece += 1;
            if self.piece == script.pieces.len() {
                self.piece = 0;
                self.round += Duration::from_secs(SECONDS as u64);
                self.time = self.time.wrapping_add(TICKS_PER_ROUND);
            }
        }
        let piece = &script.pieces[self.piece];
        let chunks = piece.packets().div_ceil(SEND_BATCH) as u32;
        let chunk = (self.sent / SEND_BATCH) as u32;
        self.due = self.round + piece.due + SPREAD * chunk / chunks;
    }
}
