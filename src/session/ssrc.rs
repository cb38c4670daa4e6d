//! Synchronisation sources by the numbering of GB/T 28181-2016, annex F: ten decimal digits, `0` for live (`1` for
//! history), five digits of the realm, four digits of our own.
//!
//! A number rests for [`limits::SSRC_QUARANTINE_S`] after its stream, and the search goes round, so that the same one comes
//! back as late as possible: senders that missed a BYE go on for a while (field reports 1 and 7).
//!
//! Bounds: 10,000 numbers, whatever is asked.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::id::Ssrc;
use crate::limits;

/// Numbers of one realm.
const SERIALS: u16 = 10_000;

/// The first digit of a record's number.
const HISTORY: u32 = 1_000_000_000;

/// The number of a record: that of a live view with `1` in front. They share their last nine digits with none.
pub(super) fn of_history(ssrc: Ssrc) -> Ssrc {
    Ssrc(ssrc.0 % HISTORY + HISTORY)
}

/// Gives out and takes back.
#[derive(Debug)]
pub(super) struct Pool {
    /// `0` + realm + `0000`.
    base: u32,
    next: u16,
    taken: Vec<bool>,
    taken_count: usize,
    /// Numbers at rest, each with the time from which it can be given out; still counted as taken in `taken`.
    resting: VecDeque<(Instant, u16)>,
}

impl Pool {
    /// `start` is where the search begins: any number, so that a restarted node does not begin with the SSRCs of the run
    /// before it.
    pub fn new(realm: [u8; 5], start: u32) -> Pool {
        let realm = realm
            .iter()
            .fold(0, |n, d| n * 10 + u32::from(d.wrapping_sub(b'0') % 10));
        Pool {
            base: realm * u32::from(SERIALS),
            next: (start % u32::from(SERIALS)) as u16,
            taken: vec![false; usize::from(SERIALS)],
            taken_count: 0,
            resting: VecDeque::new(),
        }
    }

    /// The next free number; `None` when all are in use or at rest.
    pub fn take(&mut self, now: Instant) -> Option<Ssrc> {
        while let Some((until, serial)) = self.resting.front().copied() {
            if until > now {
                break;
            }
            self.resting.pop_front();
            self.taken[usize::from(serial)] = false;
        }
        for _ in 0..SERIALS {
            let serial = self.next;
            self.next = (self.next + 1) % SERIALS;
            let taken = &mut self.taken[usize::from(serial)];
            if !*taken {
                *taken = true;
                self.taken_count += 1;
                return Some(Ssrc(self.base + u32::from(serial)));
            }
        }
        None
    }

    /// A number that another stream may have too, for streams whose packets are told apart by their port.
    pub fn share(&mut self) -> Ssrc {
        let serial = self.next;
        self.next = (self.next + 1) % SERIALS;
        Ssrc(self.base + u32::from(serial))
    }

    /// Ends the use of a number that [`Pool::take`] gave; it rests from now on.
    pub fn give_back(&mut self, now: Instant, ssrc: Ssrc) {
        if let Some(serial) = self.serial(ssrc) {
            self.taken_count = self.taken_count.saturating_sub(1);
            let until = now + Duration::from_secs(limits::SSRC_QUARANTINE_S);
            self.resting.push_back((until, serial));
        }
    }

    /// Whether a number is one that we could have given out, now or in a former run.
    pub fn is_ours(&self, ssrc: Ssrc) -> bool {
        self.serial(ssrc).is_some()
    }

    /// Numbers in use, without those at rest.
    pub fn in_use(&self) -> usize {
        self.taken_count
    }

    fn serial(&self, ssrc: Ssrc) -> Option<u16> {
        let serial = (ssrc.0 % HISTORY).checked_sub(self.base)?;
        (serial < u32::from(SERIALS)).then_some(serial as u16)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn a_number_has_the_form_of_annex_f() {
        let mut pool = Pool::new(*b"20000", 41);
        let ssrc = pool.take(Instant::now()).expect("an empty pool");
        assert_eq!(ssrc.to_string(), "0200000041");
        assert!(pool.is_ours(Ssrc(200_009_999)));
        assert!(!pool.is_ours(Ssrc(200_010_000)));
        assert!(!pool.is_ours(Ssrc(199_999_999)));
        let highest = Pool::new(*b"99999", 9_999).take(Instant::now());
        assert_eq!(highest, Some(Ssrc(999_999_999)));
    }

    #[test]
    fn ten_thousand_are_there_and_each_once() {
        let now = Instant::now();
        let mut pool = Pool::new(*b"20000", 9_999);
        let all: HashSet<Ssrc> = (0..10_000).filter_map(|_| pool.take(now)).collect();
        assert_eq!(all.len(), 10_000);
        assert_eq!(pool.take(now), None);
        assert_eq!(pool.in_use(), 10_000);
    }

    #[test]
    fn field_09_a_port_of_its_own_needs_no_number_of_its_own() {
        let now = Instant::now();
        let mut pool = Pool::new(*b"20000", 0);
        let all = (0..10_000).filter_map(|_| pool.take(now)).count();
        assert_eq!((all, pool.take(now)), (10_000, None));
        let shared = pool.share();
        assert!(pool.is_ours(shared));
        assert_eq!(pool.in_use(), 10_000);
    }

    #[test]
    fn field_01_a_used_number_rests() {
        let now = Instant::now();
        let rest = Duration::from_secs(limits::SSRC_QUARANTINE_S);
        let mut pool = Pool::new(*b"20000", 0);
        let all: Vec<Ssrc> = (0..10_000).filter_map(|_| pool.take(now)).collect();
        pool.give_back(now, all[7]);
        assert_eq!(pool.in_use(), 9_999);
        assert_eq!(pool.take(now + rest - Duration::from_millis(1)), None);
        assert_eq!(pool.take(now + rest), Some(all[7]));
    }
}
