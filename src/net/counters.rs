//! What a media thread counts for those who look from outside. Written by one thread, read by others.

use std::sync::atomic::{AtomicU64, Ordering};

/// A number that one thread raises and others read.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    pub(super) fn inc(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
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
    /// Orders that a full queue of another thread refused.
    pub orders_refused: Count,
    /// Viewers closed because their path could not take the stream.
    pub too_slow: Count,
    /// Datagrams on the WebRTC port that belong to no viewer.
    pub stray_datagrams: Count,
    // As of the last second:
    pub received_bytes: Count,
    pub sent_bytes: Count,
    /// Datagrams that the kernel dropped because the socket's buffer was full.
    pub kernel_dropped: Count,
    pub viewers: Count,
    pub ring_bytes: Count,
}

impl ShardCounters {
    pub(super) fn publish(&self, received: u64, sent: u64, kernel_dropped: u32, viewers: usize, ring_bytes: usize) {
        self.received_bytes.set(received);
        self.sent_bytes.set(sent);
        self.kernel_dropped.set(u64::from(kernel_dropped));
        self.viewers.set(viewers as u64);
        self.ring_bytes.set(ring_bytes as u64);
    }
}
