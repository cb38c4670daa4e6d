//! Links: when a datagram arrives, how often, or never; and when the bytes of a connection do.
//!
//! Loss comes in bursts (E. N. Gilbert, 1960; E. O. Elliott, 1963): in the bad state everything is lost, in the good one
//! nothing, and the chances of changing over follow from the mean loss and the mean length of a burst.

use std::time::{Duration, Instant};

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng};

/// Seeded dice.
pub struct Dice(ChaCha8Rng);

impl Dice {
    pub fn new(seed: u64) -> Dice {
        Dice(ChaCha8Rng::seed_from_u64(seed))
    }

    pub fn below(&mut self, n: u64) -> u64 {
        self.0.next_u64() % n.max(1)
    }

    pub fn chance(&mut self, p: f64) -> bool {
        f64::from(self.0.next_u32()) < p * f64::from(u32::MAX)
    }

    pub fn up_to(&mut self, time: Duration) -> Duration {
        Duration::from_micros(self.below(time.as_micros() as u64 + 1))
    }

    pub fn seed(&mut self) -> [u8; 32] {
        let mut seed = [0; 32];
        self.0.fill_bytes(&mut seed);
        seed
    }
}

/// What a link does to what is sent over it.
#[derive(Clone, Copy, Debug)]
pub struct Quality {
    /// Mean share of packets lost, 0 to 1.
    pub loss: f64,
    /// Mean number of packets lost in a row.
    pub burst: f64,
    /// Share of packets that arrive later than those behind them.
    pub reorder: f64,
    /// How much later at most.
    pub late_max: Duration,
    pub duplicate: f64,
    pub delay: Duration,
    pub jitter: Duration,
    /// Bytes a second; `None` = as much as comes.
    pub rate: Option<u64>,
    /// What would wait longer than this for its turn is dropped.
    pub queue_max: Duration,
}

impl Quality {
    pub const CLEAN: Quality = Quality {
        loss: 0.0,
        burst: 1.0,
        reorder: 0.0,
        late_max: Duration::from_millis(40),
        duplicate: 0.0,
        delay: Duration::from_millis(10),
        jitter: Duration::ZERO,
        rate: None,
        queue_max: Duration::from_millis(500),
    };
}

/// One direction between two hosts.
#[derive(Clone, Debug)]
pub struct Link {
    pub quality: Quality,
    bad: bool,
    /// When the last bit sent so far has left.
    free_at: Option<Instant>,
    /// Arrival of the last packet that kept its place.
    last: Option<Instant>,
    pub lost: u64,
}

impl Link {
    pub fn new(quality: Quality) -> Link {
        Link {
            quality,
            bad: false,
            free_at: None,
            last: None,
            lost: 0,
        }
    }

    /// Nothing arrives before this: the connection is still being made.
    pub fn open_at(&mut self, at: Instant) {
        self.last = Some(at);
    }

    /// When a datagram of so many bytes arrives: never, once, or twice.
    pub fn datagram(&mut self, now: Instant, len: usize, dice: &mut Dice) -> [Option<Instant>; 2] {
        let q = self.quality;
        if self.is_lost(dice) {
            self.lost += 1;
            return [None; 2];
        }
        let Some(leaves) = self.leave(now, len) else {
            self.lost += 1;
            return [None; 2];
        };
        let mut at = leaves + q.delay + dice.up_to(q.jitter);
        if dice.chance(q.reorder) {
            at += dice.up_to(q.late_max);
        } else {
            at = self.last.map_or(at, |last| last.max(at));
            self.last = Some(at);
        }
        let again = dice
            .chance(q.duplicate)
            .then(|| at + dice.up_to(q.late_max));
        [Some(at), again]
    }

    /// When bytes of a connection arrive: always, in order, later where the link had lost them.
    pub fn bytes(&mut self, now: Instant, len: usize, dice: &mut Dice) -> Instant {
        let q = self.quality;
        let leaves = now.max(self.free_at.unwrap_or(now)) + transmit_time(q.rate, len);
        self.free_at = Some(leaves);
        let mut at = leaves + q.delay + dice.up_to(q.jitter);
        if self.is_lost(dice) || dice.chance(q.reorder) {
            // Sent again after a round trip and the receiver's duplicate acknowledgements.
            at += q.delay * 3 + dice.up_to(q.late_max);
        }
        at = self.last.map_or(at, |last| last.max(at));
        self.last = Some(at);
        at
    }

    fn is_lost(&mut self, dice: &mut Dice) -> bool {
        let q = self.quality;
        let leave_bad = 1.0 / q.burst.max(1.0);
        self.bad = if self.bad {
            !dice.chance(leave_bad)
        } else {
            q.loss > 0.0 && dice.chance(leave_bad * q.loss / (1.0 - q.loss).max(0.01))
        };
        self.bad &= q.loss > 0.0;
        self.bad
    }

    fn leave(&mut self, now: Instant, len: usize) -> Option<Instant> {
        let Some(rate) = self.quality.rate else {
            return Some(now);
        };
        let begins = now.max(self.free_at.unwrap_or(now));
        if begins - now > self.quality.queue_max {
            return None;
        }
        let leaves = begins + transmit_time(Some(rate), len);
        self.free_at = Some(leaves);
        Some(leaves)
    }
}

fn transmit_time(rate: Option<u64>, len: usize) -> Duration {
    rate.map_or(Duration::ZERO, |rate| {
        Duration::from_nanos(len as u64 * 1_000_000_000 / rate.max(1))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loss_is_what_was_asked_for_and_comes_in_bursts() {
        let start = Instant::now();
        for (loss, burst) in [(0.0, 1.0), (0.01, 3.0), (0.05, 3.0), (0.2, 4.0)] {
            let mut dice = Dice::new(7);
            let mut link = Link::new(Quality {
                loss,
                burst,
                ..Quality::CLEAN
            });
            let (mut lost, mut bursts, mut before) = (0, 0, false);
            for n in 0..200_000 {
                let at = start + Duration::from_micros(n);
                let gone = link.datagram(at, 1_000, &mut dice)[0].is_none();
                lost += u32::from(gone);
                bursts += u32::from(gone && !before);
                before = gone;
            }
            let share = f64::from(lost) / 200_000.0;
            assert!((share - loss).abs() <= loss * 0.1, "{share} for {loss}");
            if loss > 0.0 {
                let mean = f64::from(lost) / f64::from(bursts);
                assert!((mean - burst).abs() < burst * 0.1, "{mean} for {burst}");
            }
        }
    }

    #[test]
    fn a_rate_delays_and_then_drops() {
        let start = Instant::now();
        let mut dice = Dice::new(7);
        let mut link = Link::new(Quality {
            rate: Some(100_000),
            queue_max: Duration::from_millis(100),
            delay: Duration::ZERO,
            ..Quality::CLEAN
        });
        let arrivals: Vec<_> = (0..20)
            .map(|_| link.datagram(start, 1_000, &mut dice)[0])
            .collect();
        assert_eq!(arrivals[0], Some(start + Duration::from_millis(10)));
        assert_eq!(arrivals.iter().filter(|a| a.is_some()).count(), 11);
        // Bytes of a connection wait instead.
        let last = (0..20)
            .map(|_| link.bytes(start, 1_000, &mut dice))
            .last()
            .expect("twenty");
        assert_eq!(last, start + Duration::from_millis(310));
    }

    #[test]
    fn only_late_packets_change_places() {
        let start = Instant::now();
        let mut dice = Dice::new(7);
        let mut link = Link::new(Quality {
            jitter: Duration::from_millis(30),
            ..Quality::CLEAN
        });
        let arrivals = |link: &mut Link, dice: &mut Dice| -> Vec<Instant> {
            (0..1_000)
                .filter_map(|n| link.datagram(start + Duration::from_millis(n), 100, dice)[0])
                .collect()
        };
        assert!(arrivals(&mut link, &mut dice).is_sorted());
        link.quality.reorder = 0.3;
        assert!(!arrivals(&mut link, &mut dice).is_sorted());
    }
}
