//! The deadlines of the core: at most one a thing, the earliest first.
//!
//! Setting a timer replaces the old deadline of the same thing, so there are never more entries than things that live.

use std::collections::{BTreeSet, HashMap};
use std::time::Instant;

use crate::id::{SessionId, StreamId};

/// Whose deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Timer {
    /// The current phase of a stream's attempt, its linger, or its next attempt to connect.
    Stream(StreamId),
    /// A session that waits for a named stream, or for its viewer.
    Session(SessionId),
    Shutdown,
}

#[derive(Debug, Default)]
pub(super) struct Timers {
    queue: BTreeSet<(Instant, Timer)>,
    at: HashMap<Timer, Instant>,
}

impl Timers {
    pub fn set(&mut self, timer: Timer, at: Instant) {
        self.clear(timer);
        self.at.insert(timer, at);
        self.queue.insert((at, timer));
    }

    pub fn clear(&mut self, timer: Timer) {
        if let Some(at) = self.at.remove(&timer) {
            self.queue.remove(&(at, timer));
        }
    }

    /// Takes one timer whose time has come.
    pub fn pop_due(&mut self, now: Instant) -> Option<Timer> {
        let (at, timer) = *self.queue.first()?;
        if at > now {
            return None;
        }
        self.clear(timer);
        Some(timer)
    }

    pub fn next(&self) -> Option<Instant> {
        self.queue.first().map(|(at, _)| *at)
    }

    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.queue.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_thing_has_one_deadline() {
        let t0 = Instant::now();
        let s = |n| Timer::Session(SessionId(n));
        let mut timers = Timers::default();
        timers.set(s(1), t0 + Duration::from_secs(5));
        timers.set(s(1), t0 + Duration::from_secs(2));
        timers.set(s(2), t0 + Duration::from_secs(3));
        assert_eq!(timers.len(), 2);
        assert_eq!(timers.next(), Some(t0 + Duration::from_secs(2)));
        assert_eq!(timers.pop_due(t0 + Duration::from_secs(1)), None);
        assert_eq!(timers.pop_due(t0 + Duration::from_secs(2)), Some(s(1)));
        timers.clear(s(2));
        assert_eq!(timers.next(), None);
    }
}
