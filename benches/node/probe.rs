//! FLV players that time what they get: when each picture came, beside the time that stands on it.
//!
//! The added latency of a picture is its arrival less its timestamp, less the smallest such difference of the same player:
//! what the path cost beyond its best. A key frame's own sending (20 ms) is in it.

use std::io::Read;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::players::{self, PIECES};

/// Differences of arrival and timestamp in milliseconds, from an origin of the player's own.
type Seen = Arc<Mutex<Vec<f64>>>;

struct Probe {
    socket: TcpStream,
    seen: Seen,
    thread: Option<JoinHandle<()>>,
}

/// Timing players. Dropping them closes their connections.
pub struct Probes(Vec<Probe>);

impl Probes {
    /// One player for each path.
    pub fn open(http: SocketAddr, paths: &[String]) -> Probes {
        Probes(paths.iter().map(|path| Probe::open(http, path)).collect())
    }

    /// Forgets what was seen so far.
    pub fn begin(&self) {
        for probe in &self.0 {
            probe.lock().clear();
        }
    }

    /// The 99th percentile of the added latency of all pictures since [`Probes::begin`], in milliseconds, and how many
    /// there were.
    pub fn p99(&self) -> (f64, usize) {
        let mut added = Vec::new();
        for probe in &self.0 {
            let seen = probe.lock();
            let least = seen.iter().copied().fold(f64::INFINITY, f64::min);
            added.extend(seen.iter().map(|at| at - least));
        }
        added.sort_by(f64::total_cmp);
        let at = added.len() * 99 / 100;
        (added.get(at).copied().unwrap_or(f64::INFINITY), added.len())
    }
}

impl Probe {
    fn open(http: SocketAddr, path: &str) -> Probe {
        let (socket, body) = players::get(http, path);
        let seen = Seen::default();
        let (mut reader, kept) = (socket.try_clone().expect("a socket"), seen.clone());
        let thread = std::thread::spawn(move || {
            let origin = Instant::now();
            let mut tags = Tags::after_header(body);
            let mut buffer = vec![0; PIECES];
            // The end of the connection is the end of the run.
            while let Ok(n @ 1..) = reader.read(&mut buffer) {
                let came = origin.elapsed();
                tags.push(&buffer[..n], |time| {
                    let late = came.as_secs_f64() * 1e3 - time.as_secs_f64() * 1e3;
                    kept.lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .push(late);
                });
            }
        });
        Probe {
            socket,
            seen,
            thread: Some(thread),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<f64>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        // Already closed is as good.
        let _ = self.socket.shutdown(Shutdown::Both);
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has said so.
            let _ = thread.join();
        }
    }
}

/// Follows the tags of an FLV file as its bytes come.
struct Tags(Vec<u8>);

impl Tags {
    const FILE_HEADER_BYTES: usize = 13;
    const TAG_HEADER_BYTES: usize = 11;
    const TAG_SIZE_BYTES: usize = 4;
    const VIDEO: u8 = 9;

    fn after_header(mut start: Vec<u8>) -> Tags {
        // The file's header comes in one piece with what follows; a player joins while the stream runs.
        start.drain(..Self::FILE_HEADER_BYTES.min(start.len()));
        Tags(start)
    }

    /// Tells the time of each picture that is complete.
    fn push(&mut self, bytes: &[u8], mut picture: impl FnMut(Duration)) {
        self.0.extend_from_slice(bytes);
        let mut at = 0;
        while let Some(head) = self.0.get(at..at + Self::TAG_HEADER_BYTES) {
            let size = u32::from_be_bytes([0, head[1], head[2], head[3]]) as usize;
            let time = u32::from_be_bytes([head[7], head[4], head[5], head[6]]);
            let is_picture = head[0] & 0x1f == Self::VIDEO;
            let end = at + Self::TAG_HEADER_BYTES + size + Self::TAG_SIZE_BYTES;
            if end > self.0.len() {
                break;
            }
            if is_picture {
                picture(Duration::from_millis(u64::from(time)));
            }
            at = end;
        }
        self.0.drain(..at);
    }
}
