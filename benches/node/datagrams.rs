//! Receivers over UDP: one epoll loop that counts the RTP packets of many sockets and the gaps in their numbers.

use std::net::UdpSocket;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Registry, Token};

use crate::players::NAP;
use crate::sys::Batch;

/// How often a sign of life is sent: browsers check their path every 0.5 to 2.5 s.
const CHECK_EVERY: Duration = Duration::from_secs(2);
/// For half a second of a stream, so that a busy machine loses nothing on the receivers' side.
const RECEIVE_BUFFER_BYTES: usize = 1 << 20;

/// A socket, and what is sent on it from time to time (empty: nothing).
struct Place {
    socket: UdpSocket,
    check: Vec<u8>,
    tracks: Vec<Track>,
}

/// The numbers of one RTP source.
struct Track {
    ssrc: [u8; 4],
    newest: u16,
}

#[derive(Default)]
struct Counted {
    packets: AtomicU64,
    bytes: AtomicU64,
    /// Numbers jumped over, less packets that came late.
    lost: AtomicU64,
}

struct Shared {
    stop: AtomicBool,
    counted: Vec<Counted>,
}

/// Packets and bytes of one receiver.
#[derive(Clone, Copy)]
pub struct Count {
    pub packets: u64,
    pub bytes: u64,
    pub lost: u64,
}

/// Counting receivers. Dropping them closes their sockets.
pub struct Receivers {
    shared: Arc<Shared>,
    registry: Registry,
    places: mpsc::Sender<Place>,
    len: usize,
    thread: Option<JoinHandle<()>>,
}

impl Receivers {
    /// Room for `most` sockets.
    pub fn new(most: usize) -> Receivers {
        let poll = Poll::new().expect("epoll");
        let registry = poll.registry().try_clone().expect("epoll");
        let shared = Arc::new(Shared {
            stop: AtomicBool::new(false),
            counted: (0..most).map(|_| Counted::default()).collect(),
        });
        let (places, new_places) = mpsc::channel();
        let seen = shared.clone();
        let thread = std::thread::spawn(move || run(poll, &seen, &new_places));
        Receivers {
            shared,
            registry,
            places,
            len: 0,
            thread: Some(thread),
        }
    }

    /// A socket on loopback with a buffer large enough for [`Receivers::adopt`].
    pub fn socket() -> UdpSocket {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("loopback has a free port");
        // What the kernel does not grant shows as loss.
        let _ = socket2::SockRef::from(&socket).set_recv_buffer_size(RECEIVE_BUFFER_BYTES);
        socket
    }

    /// Takes a socket; a connected one if there is a `check` to send.
    pub fn adopt(&mut self, socket: UdpSocket, check: Vec<u8>) {
        assert!(
            self.len < self.shared.counted.len(),
            "room was asked for fewer"
        );
        let fd = socket.as_raw_fd();
        let place = Place {
            socket,
            check,
            tracks: Vec::new(),
        };
        // The loop must know the place before it can hear of it; it ends only when `self` does.
        let _ = self.places.send(place);
        self.registry
            .register(&mut SourceFd(&fd), Token(self.len), Interest::READABLE)
            .expect("a fresh descriptor");
        self.len += 1;
    }

    pub fn counts(&self) -> Vec<Count> {
        let counted = self.shared.counted.iter().take(self.len);
        let count = |c: &Counted| Count {
            packets: c.packets.load(Ordering::Relaxed),
            bytes: c.bytes.load(Ordering::Relaxed),
            lost: c.lost.load(Ordering::Relaxed),
        };
        counted.map(count).collect()
    }
}

impl Drop for Receivers {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has said so.
            let _ = thread.join();
        }
    }
}

fn run(mut poll: Poll, shared: &Shared, new_places: &mpsc::Receiver<Place>) {
    let mut events = Events::with_capacity(1024);
    let mut batch = Batch::new();
    let mut places: Vec<Place> = Vec::new();
    let mut next_check = Instant::now() + CHECK_EVERY;
    while !shared.stop.load(Ordering::Relaxed) {
        std::thread::sleep(NAP);
        if poll.poll(&mut events, Some(NAP)).is_err() {
            continue;
        }
        places.extend(new_places.try_iter());
        for event in &events {
            let n = event.token().0;
            let (place, counted) = (&mut places[n], &shared.counted[n]);
            // mio tells of a socket once, so it is read until a batch is not full.
            while batch.recv(place.socket.as_raw_fd(), false) > 0 {
                for datagram in batch.datagrams() {
                    count(datagram, &mut place.tracks, counted);
                }
                if !batch.is_full() {
                    break;
                }
            }
        }
        let now = Instant::now();
        if now >= next_check {
            next_check = now + CHECK_EVERY;
            for place in places.iter().filter(|p| !p.check.is_empty()) {
                // A node that has gone is noticed by what does not come.
                let _ = place.socket.send(&place.check);
            }
        }
    }
}

/// Counts one datagram if it is RTP: version 2 and not one of RTCP's types (RFC 5761, 4).
fn count(datagram: &[u8], tracks: &mut Vec<Track>, counted: &Counted) {
    let Some(&[first, second, high, low, _, _, _, _, s0, s1, s2, s3]) = datagram.first_chunk()
    else {
        return;
    };
    if first >> 6 != 2 || (192..=223).contains(&second) {
        return;
    }
    counted.packets.fetch_add(1, Ordering::Relaxed);
    counted
        .bytes
        .fetch_add(datagram.len() as u64, Ordering::Relaxed);
    let (number, ssrc) = (u16::from_be_bytes([high, low]), [s0, s1, s2, s3]);
    let Some(track) = tracks.iter_mut().find(|t| t.ssrc == ssrc) else {
        tracks.push(Track {
            ssrc,
            newest: number,
        });
        return;
    };
    match number.wrapping_sub(track.newest) {
        0 => {}
        ahead @ 1..=0x7fff => {
            counted
                .lost
                .fetch_add(u64::from(ahead - 1), Ordering::Relaxed);
            track.newest = number;
        }
        // One that had been counted as lost.
        0x8000.. => {
            let _ = counted
                .lost
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1));
        }
    }
}
