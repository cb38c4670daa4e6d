//! When receiver reports go to a device (RFC 3550, 6.2 and 6.3, for one sender and one receiver).
//!
//! Some devices stop sending when they hear nothing, and a report is also what keeps a NAT binding open. The interval is five
//! seconds, half of it before the first report, each time between half and one and a half of it so that the reports of many
//! streams do not come together.
//!
//! Not done: timer reconsideration (it is for groups), BYE (the SIP dialog ends the stream).

use std::time::{Duration, Instant};

/// RFC 3550, 6.2: the recommended minimum.
const INTERVAL: Duration = Duration::from_secs(5);
/// RFC 3550, 6.3.1: e - 3/2, by which the interval is divided.
const COMPENSATION: f64 = 1.218_281_828;

/// The schedule of one stream.
#[derive(Debug)]
pub struct Reporter {
    due: Option<Instant>,
    dice: u64,
}

impl Reporter {
    /// `seed`: any number, another one for each stream.
    pub fn new(seed: u64) -> Reporter {
        Reporter {
            due: None,
            dice: seed,
        }
    }

    /// Whether a report is due; if so the next one is set. The first call only begins the schedule.
    pub fn is_due(&mut self, now: Instant) -> bool {
        match self.due {
            Some(due) if due > now => false,
            Some(_) => {
                self.due = Some(now + self.spread(INTERVAL));
                true
            }
            None => {
                self.due = Some(now + self.spread(INTERVAL / 2));
                false
            }
        }
    }

    fn spread(&mut self, interval: Duration) -> Duration {
        // splitmix64
        self.dice = self.dice.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.dice;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        let share = 0.5 + (z >> 11) as f64 / (1u64 << 53) as f64;
        interval.mul_f64(share / COMPENSATION)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_come_at_the_interval_of_the_standard_spread_around_it() {
        let t0 = Instant::now();
        for seed in 0..50 {
            let mut reporter = Reporter::new(seed);
            assert!(!reporter.is_due(t0));
            let mut reports = Vec::new();
            for ms in 0..300_000u64 {
                let now = t0 + Duration::from_millis(ms);
                if reporter.is_due(now) {
                    reports.push(ms);
                }
            }
            // Half the interval before the first.
            assert!((1_000..=3_100).contains(&reports[0]), "{}", reports[0]);
            for pair in reports.windows(2) {
                let pause = pair[1] - pair[0];
                assert!((2_000..=6_200).contains(&pause), "{pause}");
            }
            assert!((60..=90).contains(&reports.len()), "{}", reports.len());
        }
    }

    #[test]
    fn streams_report_at_different_times() {
        let t0 = Instant::now();
        let first = |seed| {
            let mut reporter = Reporter::new(seed);
            reporter.is_due(t0);
            reporter.due
        };
        assert_ne!(first(1), first(2));
    }
}
