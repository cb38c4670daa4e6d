//! Media time and wall time. No clock is read here: cores are told the time.

use std::time::{Duration, Instant};

/// Ticks per second of every track in a hub: the clock of PS and of RTP video (ISO/IEC 13818-1, 2.4.2.1; RFC 3551).
pub const TICKS_PER_SECOND: i64 = 90_000;

/// A point on a stream's own time line, in ticks of 1/90,000 s. It starts near zero and never wraps (64 bits).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MediaTime(pub i64);

impl MediaTime {
    /// Whole milliseconds, rounded down.
    pub fn as_ms(self) -> i64 {
        self.0.div_euclid(TICKS_PER_SECOND / 1000)
    }
}

/// Ties the monotonic clock to the wall clock once, so that a core can write a date without reading a clock.
#[derive(Clone, Copy, Debug)]
pub struct WallClock {
    pub at: Instant,
    /// Milliseconds since the Unix epoch at `at`.
    pub unix_ms: i64,
}

impl WallClock {
    /// Milliseconds since the Unix epoch at `now`.
    pub fn unix_ms(&self, now: Instant) -> i64 {
        match now.checked_duration_since(self.at) {
            Some(d) => self.unix_ms + d.as_millis() as i64,
            None => self.unix_ms - (self.at - now).as_millis() as i64,
        }
    }
}

/// The earlier of two optional deadlines.
pub fn earliest(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

/// Ticks of a duration, rounded down.
pub fn ticks(d: Duration) -> i64 {
    (d.as_micros() as i64) * TICKS_PER_SECOND / 1_000_000
}
