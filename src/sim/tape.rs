//! Where in a record a simulated device is: which picture is next and when it leaves, at any speed, forwards and backwards.
//!
//! Pictures carry the times of the record, as those of real recorders do. Played at eight times the speed, or backwards, only
//! key frames are sent; to be kept, all. Begins on a key frame wherever it is sent to.

use std::time::{Duration, Instant};

use crate::gb28181::mansrtsp::{From, Order};
use crate::time::TICKS_PER_SECOND;

/// Speeds from which on only key frames are sent, in thousandths.
const KEY_FRAMES_ONLY_MILLI: i32 = 8_000;

/// A record that is sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tape {
    /// Ticks from one picture to the next, and pictures from one key frame to the next.
    step: i64,
    gop: i64,
    /// Pictures in all.
    pictures: i64,
    /// The next one.
    pub next: i64,
    milli: i32,
    /// Every picture is sent, however fast.
    whole: bool,
    paused: bool,
    /// When which time of the record left.
    anchor: (Instant, i64),
}

impl Tape {
    /// `milli`: thousandths of the speed at which it was recorded. `whole`: to be kept.
    pub fn new(now: Instant, seconds: u32, step: i64, gop: i64, milli: i32, whole: bool) -> Tape {
        Tape {
            step,
            gop: gop.max(1),
            pictures: i64::from(seconds) * TICKS_PER_SECOND / step,
            next: 0,
            milli,
            whole,
            paused: false,
            anchor: (now, 0),
        }
    }

    /// Time of the record of a picture, in ticks.
    pub fn time(&self, picture: i64) -> i64 {
        picture * self.step
    }

    /// Whether sound goes with the pictures: at the speed of the record, and to be kept.
    pub fn is_forwards(&self) -> bool {
        self.milli > 0
    }

    /// All was sent, in either direction.
    pub fn is_over(&self) -> bool {
        !(0..self.pictures).contains(&self.next)
    }

    /// How much of it was sent, in thousandths.
    pub fn sent_milli(&self) -> i64 {
        self.next * 1_000 / self.pictures.max(1)
    }

    /// When the next picture leaves; `None`: not before another order, or never.
    pub fn due(&self) -> Option<Instant> {
        if self.paused || self.is_over() {
            return None;
        }
        let (at, time) = self.anchor;
        let ticks = (self.time(self.next) - time).unsigned_abs() * 1_000;
        let ticks = ticks / u64::from(self.milli.unsigned_abs());
        Some(at + Duration::from_micros(ticks * 1_000_000 / TICKS_PER_SECOND as u64))
    }

    /// Only key frames are sent.
    fn is_sparse(&self) -> bool {
        self.milli < 0 || self.milli >= KEY_FRAMES_ONLY_MILLI && !self.whole
    }

    pub fn advance(&mut self) {
        self.next += if self.milli < 0 {
            -self.gop
        } else if self.is_sparse() {
            self.gop
        } else {
            1
        };
    }

    pub fn obey(&mut self, now: Instant, order: Order) {
        match order {
            Order::Pause => self.paused = true,
            Order::Teardown => self.next = self.pictures,
            Order::Play { scale, from } => {
                self.paused = false;
                if let Some(scale) = scale {
                    self.milli = scale.milli();
                }
                let at = match from {
                    Some(From::At(second)) => i64::from(second) * TICKS_PER_SECOND / self.step,
                    Some(From::Now) | None => self.next,
                };
                if matches!(from, Some(From::At(_))) || self.is_sparse() {
                    self.next = at - at.rem_euclid(self.gop);
                }
                self.anchor = (now, self.time(self.next));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gb28181::mansrtsp::Scale;

    fn tape(now: Instant) -> Tape {
        Tape::new(now, 60, 3_600, 25, 1_000, false)
    }

    fn play(times: Option<f64>, from: Option<From>) -> Order {
        Order::Play {
            scale: times.map(|t| Scale::new(t).expect("in range")),
            from,
        }
    }

    /// Pictures sent within a second of the clock, from the first that is due.
    fn in_a_second(tape: &mut Tape, from: Instant) -> i64 {
        let until = from + Duration::from_secs(1);
        let mut count = 0;
        while tape.due().is_some_and(|at| at < until) {
            tape.advance();
            count += 1;
        }
        count
    }

    #[test]
    fn each_speed_sends_as_many_pictures_as_it_should() {
        for (times, want) in [
            (0.25, 7),
            (0.5, 13),
            (1.0, 25),
            (2.0, 50),
            (4.0, 100),
            (8.0, 8),
        ] {
            let now = Instant::now();
            let mut tape = tape(now);
            tape.obey(now, play(Some(times), None));
            assert_eq!(in_a_second(&mut tape, now), want, "{times}");
        }
    }

    #[test]
    fn what_is_kept_is_sent_whole() {
        let now = Instant::now();
        let mut tape = Tape::new(now, 60, 3_600, 25, 16_000, true);
        assert_eq!(in_a_second(&mut tape, now), 400);
    }

    #[test]
    fn it_rests_goes_elsewhere_and_back() {
        let now = Instant::now();
        let mut tape = tape(now);
        in_a_second(&mut tape, now);
        tape.obey(now, Order::Pause);
        assert_eq!(tape.due(), None);
        let later = now + Duration::from_secs(30);
        tape.obey(later, play(None, Some(From::Now)));
        assert_eq!(tape.due(), Some(later), "it goes on where it was, at once");
        assert_eq!(tape.next, 25);
        tape.obey(later, play(None, Some(From::At(40))));
        assert_eq!(tape.next, 1_000);
        tape.obey(later, play(None, Some(From::At(10))));
        assert_eq!(tape.next, 250);
        tape.obey(later, play(Some(-2.0), None));
        in_a_second(&mut tape, later);
        assert_eq!(tape.next, 200, "two seconds of the record back");
    }

    #[test]
    fn it_ends_at_both_ends() {
        let now = Instant::now();
        let mut tape = tape(now);
        tape.obey(now, play(None, Some(From::At(59))));
        assert_eq!(in_a_second(&mut tape, now), 25);
        assert!(tape.is_over());
        assert_eq!(tape.due(), None);
        tape.obey(now, play(Some(-1.0), Some(From::At(1))));
        for _ in 0..2 {
            assert!(!tape.is_over());
            tape.advance();
        }
        assert!(tape.is_over());
    }
}
