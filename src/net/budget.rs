//! The bytes that all rings of the node may hold, shared evenly by its streams.
//!
//! Each stream may fill its ring up to what the config gives one, as long as all fit; with more streams each gets an equal
//! share, never less than [`limits::RING_BYTES_MIN`]. Shares are recomputed once a second, so a ring that is over its new
//! share is given up at its next frame and starts again at the next key frame.

use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};

use crate::limits;

#[derive(Debug)]
pub struct Budget {
    total: usize,
    streams: AtomicUsize,
    held: AtomicI64,
}

impl Budget {
    /// `total`: payload bytes that all rings may hold.
    pub fn new(total: usize) -> Self {
        Budget {
            total,
            streams: AtomicUsize::new(0),
            held: AtomicI64::new(0),
        }
    }

    /// What one ring may hold now, at most `wanted`.
    pub(super) fn ring_bytes(&self, wanted: usize) -> usize {
        let share = self.total / self.streams.load(Ordering::Relaxed).max(1);
        share.max(limits::RING_BYTES_MIN).min(wanted)
    }

    pub(super) fn stream_opened(&self) {
        self.streams.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn stream_closed(&self) {
        self.streams.fetch_sub(1, Ordering::Relaxed);
    }

    /// A media thread holds `change` bytes more (or less) than it said before.
    pub(super) fn held(&self, change: i64) {
        self.held.fetch_add(change, Ordering::Relaxed);
    }

    pub fn total_bytes(&self) -> usize {
        self.total
    }

    /// Payload bytes in all rings, as of the last second.
    pub fn held_bytes(&self) -> usize {
        usize::try_from(self.held.load(Ordering::Relaxed)).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_share_evenly_and_nobody_starves() {
        let budget = Budget::new(100 * limits::RING_BYTES_MIN);
        assert_eq!(budget.ring_bytes(8 << 20), 8 << 20);
        (0..10).for_each(|_| budget.stream_opened());
        assert_eq!(budget.ring_bytes(8 << 20), 10 * limits::RING_BYTES_MIN);
        (0..1_000).for_each(|_| budget.stream_opened());
        assert_eq!(budget.ring_bytes(8 << 20), limits::RING_BYTES_MIN);
        (0..1_010).for_each(|_| budget.stream_closed());
        assert_eq!(budget.ring_bytes(1 << 20), 1 << 20);
    }
}
