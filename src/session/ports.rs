//! Ports of sessions: a pair for each stream, RTP on the even one and RTCP on the next (RFC 3550, 11), from a range.
//!
//! A port is a [`Lease`]: it comes back when the lease is dropped, wherever that is, and there is no other way to give it
//! back, so none leaks and none is in use twice. Then it rests for [`limits::PORT_QUARANTINE_S`]: a sender that missed our
//! BYE must not find another stream behind its port. The search goes round, so that the same port comes back as late as
//! possible.
//!
//! Bounds: the range.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::limits;

/// Pairs given back since the pool looked last, by their place in the range.
type Returned = Arc<Mutex<Vec<u16>>>;

/// Gives out ports.
#[derive(Debug)]
pub(super) struct Ports {
    /// Even.
    first: u16,
    taken: Vec<bool>,
    next: usize,
    /// Pairs at rest, each with the time from which it can be given out; still `taken`.
    resting: VecDeque<(Instant, u16)>,
    returned: Returned,
}

/// A pair of ports for as long as this lives.
#[derive(Debug)]
pub(super) struct Lease {
    rtp: u16,
    place: u16,
    returned: Returned,
}

impl Lease {
    /// The port of RTP; RTCP has the next one.
    pub fn rtp(&self) -> u16 {
        self.rtp
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut returned = self.returned.lock().unwrap_or_else(PoisonError::into_inner);
        returned.push(self.place);
    }
}

impl Ports {
    /// The pairs that lie within `first..=last`.
    pub fn new(first: u16, last: u16) -> Ports {
        let first = first.saturating_add(first % 2);
        let ports = (u32::from(last) + 1).saturating_sub(u32::from(first));
        Ports {
            first,
            taken: vec![false; ports as usize / 2],
            next: 0,
            resting: VecDeque::new(),
            returned: Returned::default(),
        }
    }

    /// A free pair; `None` when all are in use or at rest.
    pub fn take(&mut self, now: Instant) -> Option<Lease> {
        self.settle(now);
        let pairs = self.taken.len();
        let place = (0..pairs)
            .map(|n| (self.next + n) % pairs)
            .find(|place| !self.taken[*place])?;
        self.taken[place] = true;
        self.next = (place + 1) % pairs;
        let place = u16::try_from(place).expect("a range of ports has less than 32,768 pairs");
        Some(Lease {
            rtp: self.first + place * 2,
            place,
            returned: Arc::clone(&self.returned),
        })
    }

    /// Pairs that someone holds, without those at rest.
    pub fn in_use(&self) -> usize {
        let returned = self.returned.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = self.taken.iter().filter(|taken| **taken).count();
        taken - self.resting.len() - returned.len()
    }

    fn settle(&mut self, now: Instant) {
        let until = now + Duration::from_secs(limits::PORT_QUARANTINE_S);
        let mut returned = self.returned.lock().unwrap_or_else(PoisonError::into_inner);
        self.resting
            .extend(returned.drain(..).map(|place| (until, place)));
        drop(returned);
        while let Some((until, place)) = self.resting.front().copied() {
            if until > now {
                break;
            }
            self.resting.pop_front();
            self.taken[usize::from(place)] = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    const REST: Duration = Duration::from_secs(limits::PORT_QUARANTINE_S);

    #[test]
    fn pairs_lie_within_the_range_and_begin_even() {
        let now = Instant::now();
        for (first, last, want) in [
            (30_000, 30_003, vec![30_000, 30_002]),
            (30_001, 30_005, vec![30_002, 30_004]),
            (30_001, 30_002, vec![]),
            (65_532, 65_535, vec![65_532, 65_534]),
        ] {
            let mut ports = Ports::new(first, last);
            let leases: Vec<Lease> = std::iter::from_fn(|| ports.take(now)).collect();
            let got: Vec<u16> = leases.iter().map(Lease::rtp).collect();
            assert_eq!(got, want);
        }
    }

    #[test]
    fn field_08_no_port_leaks_and_none_is_given_out_twice() {
        let mut now = Instant::now();
        let mut ports = Ports::new(20_000, 20_199);
        let mut held: Vec<Lease> = Vec::new();
        let mut dice = 7u64;
        for _ in 0..20_000 {
            dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let n = (dice >> 33) as usize;
            now += Duration::from_millis(n as u64 % 500);
            if n.is_multiple_of(3) && !held.is_empty() {
                // An error path, a panic, a closed stream: all end in the drop.
                drop(held.swap_remove(n / 3 % held.len()));
            } else if let Some(lease) = ports.take(now) {
                assert!(held.iter().all(|other| other.rtp() != lease.rtp()));
                held.push(lease);
            }
            assert_eq!(ports.in_use(), held.len());
            assert!(held.len() <= 100);
        }
        held.clear();
        assert_eq!(ports.in_use(), 0);
        let all: Vec<Lease> = std::iter::from_fn(|| ports.take(now + REST)).collect();
        let different: HashSet<u16> = all.iter().map(Lease::rtp).collect();
        assert_eq!(different.len(), 100);
    }

    #[test]
    fn field_07_a_used_port_rests() {
        let now = Instant::now();
        let mut ports = Ports::new(20_000, 20_001);
        drop(ports.take(now).expect("the only one"));
        assert!(ports.take(now).is_none());
        assert!(ports.take(now + REST - Duration::from_millis(1)).is_none());
        assert!(ports.take(now + REST).is_some());
    }

    #[test]
    fn field_08_two_threads_never_hold_the_same_port() {
        let now = Instant::now();
        let mut ports = Ports::new(20_000, 20_999);
        let leases: Vec<Lease> = (0..500).filter_map(|_| ports.take(now)).collect();
        let mut halves = leases.into_iter();
        let first: Vec<Lease> = halves.by_ref().take(250).collect();
        let second: Vec<Lease> = halves.collect();
        let dropped = [first, second].map(|half| std::thread::spawn(move || drop(half)));
        for thread in dropped {
            thread.join().expect("dropping does not panic");
        }
        assert_eq!(ports.in_use(), 0);
        assert_eq!(
            std::iter::from_fn(|| ports.take(now + REST)).count(),
            0,
            "all rest from when the pool looked"
        );
        assert_eq!(
            std::iter::from_fn(|| ports.take(now + REST + REST))
                .take(1)
                .count(),
            1
        );
    }
}
