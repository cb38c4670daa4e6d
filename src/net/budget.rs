//! The bytes that all rings of the node may hold, shared by its streams.
//!
//! As long as all rings fit, each may fill what the config gives one. When they do not, the budget is filled like water: who
//! needs less than the level keeps all it has, and who needs more is held to the level. So a few streams of a high rate are
//! evicted before many small ones, and all of one rate are treated alike. No level is below [`limits::RING_BYTES_MIN`].
//!
//! Once a second each media thread says what its streams need, and reads the level. A ring that is over it is given up at
//! its next frame and starts again at the next key frame.
//!
//! What is needed is kept in classes, four to a power of two: a level is exact to the width of one, and never too high.

use std::sync::atomic::{AtomicI64, Ordering};

use crate::limits;

/// Classes of size, four to a power of two, up to 2^48 bytes.
const CLASSES: usize = 4 * 48;

/// The class of a size of at least four bytes.
fn class(bytes: usize) -> usize {
    let power = bytes.ilog2() as usize;
    (4 * power + (bytes >> (power - 2)) % 4).min(CLASSES - 1)
}

/// Every size of a class is below this.
fn below(class: usize) -> i64 {
    (5 + class as i64 % 4) << (class / 4 - 2)
}

/// What the streams of one media thread need: how many of each class, and their bytes.
#[derive(Clone, Debug)]
pub(super) struct Needs {
    streams: [i64; CLASSES],
    bytes: [i64; CLASSES],
}

impl Default for Needs {
    fn default() -> Self {
        Needs {
            streams: [0; CLASSES],
            bytes: [0; CLASSES],
        }
    }
}

impl Needs {
    /// A stream whose group of pictures has that many bytes. One that has none yet counts as [`limits::RING_BYTES_MIN`].
    pub fn add(&mut self, bytes: usize) {
        let bytes = bytes.max(limits::RING_BYTES_MIN);
        let class = class(bytes);
        self.streams[class] += 1;
        self.bytes[class] += bytes as i64;
    }
}

#[derive(Debug)]
pub struct Budget {
    total: usize,
    streams: [AtomicI64; CLASSES],
    bytes: [AtomicI64; CLASSES],
}

impl Budget {
    /// `total`: payload bytes that all rings may hold.
    pub fn new(total: usize) -> Self {
        Budget {
            total,
            streams: [const { AtomicI64::new(0) }; CLASSES],
            bytes: [const { AtomicI64::new(0) }; CLASSES],
        }
    }

    /// What one ring may hold now, at most `wanted`.
    pub(super) fn ring_bytes(&self, wanted: usize) -> usize {
        let load = |of: &AtomicI64| of.load(Ordering::Relaxed).max(0);
        let mut rest = self.total as i64;
        if self.bytes.iter().map(load).sum::<i64>() <= rest {
            return wanted;
        }
        let mut streams: i64 = self.streams.iter().map(load).sum();
        for class in 0..CLASSES {
            let n = load(&self.streams[class]);
            // Whether this class and all above could be as large as its largest may be. If so, it is below the level.
            if n > 0 && streams.saturating_mul(below(class)) > rest {
                let level = usize::try_from(rest / streams).unwrap_or(0);
                return level.max(limits::RING_BYTES_MIN).min(wanted);
            }
            rest -= load(&self.bytes[class]);
            streams -= n;
        }
        wanted
    }

    /// A media thread needs `now` in place of what it needed `before`.
    pub(super) fn needs(&self, before: &Needs, now: &Needs) {
        for class in 0..CLASSES {
            let add = |to: &AtomicI64, before: i64, now: i64| {
                if before != now {
                    to.fetch_add(now - before, Ordering::Relaxed);
                }
            };
            add(
                &self.streams[class],
                before.streams[class],
                now.streams[class],
            );
            add(&self.bytes[class], before.bytes[class], now.bytes[class]);
        }
    }

    pub fn total_bytes(&self) -> usize {
        self.total
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIN: usize = limits::RING_BYTES_MIN;
    const WANTED: usize = 64 * MIN;

    fn level(budget: &Budget, needs: &[usize]) -> usize {
        let mut now = Needs::default();
        needs.iter().for_each(|bytes| now.add(*bytes));
        budget.needs(&Needs::default(), &now);
        let level = budget.ring_bytes(WANTED);
        budget.needs(&now, &Needs::default());
        level
    }

    #[test]
    fn classes_hold_their_sizes() {
        for bytes in [MIN, MIN + 1, 5 * MIN / 4, 7 * MIN - 1, 7 * MIN, 1 << 40] {
            let class = class(bytes);
            let (from, to) = (below(class - 1), below(class));
            assert!((from..to).contains(&(bytes as i64)), "{bytes}");
        }
    }

    #[test]
    fn as_long_as_all_fit_each_may_fill_what_it_wants() {
        let budget = Budget::new(100 * MIN);
        assert_eq!(level(&budget, &[]), WANTED);
        assert_eq!(level(&budget, &[MIN; 100]), WANTED);
        assert_eq!(level(&budget, &[40 * MIN, 60 * MIN]), WANTED);
        assert_eq!(level(&budget, &[0; 100]), WANTED, "new ones");
    }

    #[test]
    fn small_streams_keep_their_rings_and_large_ones_are_held_to_the_level() {
        let budget = Budget::new(100 * MIN);
        let mut needs = vec![2 * MIN; 30];
        needs.extend([30 * MIN; 4]);
        // 30 x 2 fit; the four share the other 40.
        let level = level(&budget, &needs);
        assert_eq!(level, 10 * MIN);
        let held: usize = needs.iter().filter(|need| **need <= level).sum();
        assert_eq!(held, 60 * MIN, "the small ones are whole");
    }

    #[test]
    fn streams_of_one_size_share_evenly_and_nobody_starves() {
        let budget = Budget::new(100 * MIN);
        assert_eq!(level(&budget, &[12 * MIN; 10]), 10 * MIN);
        assert_eq!(level(&budget, &[2 * MIN; 1_000]), MIN);
    }

    /// Whatever is needed, what is held at the level fits.
    #[test]
    fn what_is_held_fits() {
        let budget = Budget::new(100 * MIN);
        let mut seed = 1u64;
        for n in 1..90 {
            let needs: Vec<usize> = (0..n)
                .map(|_| {
                    seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    MIN + (seed >> 33) as usize % (MIN << (seed >> 60))
                })
                .collect();
            let level = level(&budget, &needs);
            let held: usize = needs.iter().map(|need| (*need).min(level)).sum();
            assert!(held <= 100 * MIN || level == MIN, "{n}: {held} at {level}");
        }
    }
}
