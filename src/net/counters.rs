//! What a media thread counts for those who look from outside. Written by one thread, read by others.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::media::ps::demux;
use crate::session::IngestStats;

/// A number that one thread raises and others read.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    pub(super) fn inc(&self) {
        self.add(1);
    }

    pub(super) fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Counters of one media thread since the node's start.
#[derive(Debug, Default)]
pub struct ShardCounters {
    /// Datagrams and framed packets that are neither RTP nor RTCP.
    pub malformed: Count,
    /// Packets of an SSRC that no stream waits for.
    pub unclaimed: Count,
    pub conns_refused: Count,
    /// Media connections closed because a newer one of the same stream brought a packet.
    pub conns_replaced: Count,
    /// Media connections closed because they were silent, or brought nothing that is waited for.
    pub conns_idle: Count,
    /// Times that the framing of a media connection was lost and found again.
    pub resyncs: Count,
    /// Orders that a full queue of another thread refused.
    pub orders_refused: Count,
    /// Viewers closed because their path could not take the stream.
    pub too_slow: Count,
    /// Times that the path of a WebRTC viewer could not take its stream.
    pub congested: Count,
    /// RTP packets that WebRTC viewers missed and were sent again.
    pub resent: Count,
    /// Defects of ours that ended one stream or one viewer instead of the thread.
    pub panics: Count,
    /// Datagrams on the WebRTC port that belong to no viewer.
    pub stray_datagrams: Count,
    snapshot: Mutex<Snapshot>,
}

/// Sums of one media thread as of the last second. What streams and viewers counted that are gone is in them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Snapshot {
    pub received_bytes: u64,
    pub sent_bytes: u64,
    /// Datagrams that the kernel dropped because the buffer of the RTP socket was full.
    pub kernel_dropped: u64,
    /// The same of the ports of single streams, all together.
    pub ports_kernel_dropped: u64,
    /// The same of the WebRTC socket.
    pub webrtc_kernel_dropped: u64,
    /// The fastest and the slowest clock of a device beside ours, in parts per million.
    pub drift_ppm: (i64, i64),
    pub streams: u64,
    pub flv_viewers: u64,
    pub fmp4_viewers: u64,
    pub webrtc_viewers: u64,
    /// Times that viewers were moved forward to a key frame.
    pub skipped: u64,
    pub ring_bytes: u64,
    /// Groups of pictures given up because they outgrew their ring.
    pub ring_overflows: u64,
    /// Events that wait for the session core.
    pub events_waiting: u64,
    pub events_dropped: u64,
    /// Frames of sound that were not converted because others waited.
    pub sound_dropped: u64,
    pub ingest: IngestStats,
    /// In the order of [`demux::Error::ALL`].
    pub ps_errors: [u64; demux::Error::ALL.len()],
}

impl ShardCounters {
    /// The sums of the last second.
    pub fn snapshot(&self) -> Snapshot {
        *self.snapshot.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn publish(&self, snapshot: Snapshot) {
        *self.snapshot.lock().unwrap_or_else(PoisonError::into_inner) = snapshot;
    }
}
