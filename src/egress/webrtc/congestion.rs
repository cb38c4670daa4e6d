//! Whether the path to a viewer can take its stream, by transport-wide feedback.
//!
//! draft-holmer-rmcat-transport-wide-cc-extensions-01 gives the arrival time of each packet by its number; we know when we
//! sent it. Two signs are read, over windows of one second:
//!
//! - *Standing queue*, as CoDel sees it (RFC 8289, 3): the smallest one-way delay in the window less the smallest of the last
//!   minute. A burst of a key frame delays its own packets, but some packet of a second finds an empty queue as long as
//!   the path takes the stream's mean rate; if none does for two windows, it does not.
//! - *Loss* of more than [`LOSS_MAX`]: what is lost below that is sent again.
//!
//! A stream has one rate, which cannot be lowered for one viewer. So a congested viewer is given no picture for a while and
//! then goes on at a key frame; if that does not last, the pause is doubled ([`CONGESTION_PAUSE_MS_MIN`] to
//! [`CONGESTION_PAUSE_MS_MAX`]), which lowers its mean rate. Sound goes on.
//! A viewer without transport-wide feedback is judged by the loss in its receiver reports alone.
//! Not done: an estimate of the path's rate, probing, pacing by it.
//!
//! Bounds: [`BURSTS_KNOWN_MAX`].

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::rtcp::{Arrival, Transport};
use crate::limits::{BURSTS_KNOWN_MAX, CONGESTION_PAUSE_MS_MAX, CONGESTION_PAUSE_MS_MIN};

const WINDOW: Duration = Duration::from_secs(1);
/// Windows in a row that must be bad.
const BAD_WINDOWS: u8 = 2;
/// 256ths of the packets of a window; 15 %.
const LOSS_MAX: u32 = 38;
/// Fewer packets in a window say nothing about loss.
const PACKETS_MIN: u32 = 20;
/// A standing queue that a jitter buffer of some hundred milliseconds still hides.
const STANDING_QUEUE_MAX_US: i64 = 150_000;
/// Half of the time over which the smallest delay is remembered: clocks drift, and paths change.
const BASE_WINDOW: Duration = Duration::from_secs(30);
/// After so long without congestion the next pause is a short one again.
const FORGIVEN_AFTER: Duration = Duration::from_secs(30);

/// What is known of one viewer's path.
#[derive(Debug)]
pub(super) struct Congestion {
    /// Times are counted from here.
    epoch: Instant,
    /// What was sent, oldest first.
    bursts: VecDeque<Burst>,
    /// The first number that no burst has yet.
    next: u16,
    /// The last feedback's reference time, unwrapped, in its unit of 64 ms.
    reference: Option<i64>,
    base: Base,
    window: Window,
    bad_windows: u8,
    pause: Duration,
    /// End of the last pause.
    resumed: Instant,
}

/// Packets sent together.
#[derive(Clone, Copy, Debug)]
struct Burst {
    first: u16,
    count: u16,
    at_us: i64,
}

#[derive(Debug)]
struct Window {
    since: Instant,
    received: u32,
    lost: u32,
    delay_min: Option<i64>,
}

impl Window {
    fn new(since: Instant) -> Self {
        Window {
            since,
            received: 0,
            lost: 0,
            delay_min: None,
        }
    }
}

/// Smallest delays of the half minute that runs and the one before.
#[derive(Debug)]
struct Base {
    since: Instant,
    now: Option<i64>,
    before: Option<i64>,
}

impl Base {
    fn add(&mut self, now: Instant, delay: i64) {
        if now.saturating_duration_since(self.since) >= BASE_WINDOW {
            self.before = self.now.take();
            self.since = now;
        }
        self.now = Some(self.now.map_or(delay, |least| least.min(delay)));
    }

    fn get(&self) -> Option<i64> {
        self.now.into_iter().chain(self.before).min()
    }
}

impl Congestion {
    /// `next`: the first transport-wide number that will be sent.
    pub(super) fn new(now: Instant, next: u16) -> Self {
        Congestion {
            epoch: now,
            bursts: VecDeque::new(),
            next,
            reference: None,
            base: Base {
                since: now,
                now: None,
                before: None,
            },
            window: Window::new(now),
            bad_windows: 0,
            pause: Duration::from_millis(CONGESTION_PAUSE_MS_MIN),
            resumed: now,
        }
    }

    /// All numbers before `next` have been sent by now.
    pub(super) fn sent(&mut self, now: Instant, next: u16) {
        let count = next.wrapping_sub(self.next);
        if count == 0 {
            return;
        }
        if self.bursts.len() >= BURSTS_KNOWN_MAX {
            self.bursts.pop_front();
        }
        self.bursts.push_back(Burst {
            first: self.next,
            count,
            at_us: now.saturating_duration_since(self.epoch).as_micros() as i64,
        });
        self.next = next;
    }

    /// Takes one transport-wide feedback. `Some(until)`: the path does not take the stream; no picture should be sent before
    /// that time.
    pub(super) fn feedback(&mut self, now: Instant, feedback: &Transport<'_>) -> Option<Instant> {
        let reference_us = self.unwrap(feedback.reference()) * 64_000;
        feedback.each(|number, arrival| match arrival {
            Arrival::Lost => self.window.lost += 1,
            Arrival::Untimed => self.window.received += 1,
            Arrival::At(us) => {
                self.window.received += 1;
                let burst = self.bursts.iter().rev();
                let mut burst = burst.filter(|b| number.wrapping_sub(b.first) < b.count);
                if let Some(burst) = burst.next() {
                    let delay = reference_us + us - burst.at_us;
                    self.base.add(now, delay);
                    let least = self.window.delay_min.map_or(delay, |d| d.min(delay));
                    self.window.delay_min = Some(least);
                }
            }
        });
        self.judge(now)
    }

    /// Takes the loss of a receiver report, in 256ths, of a viewer that sends no transport-wide feedback.
    pub(super) fn report(&mut self, now: Instant, fraction_lost: u8) -> Option<Instant> {
        self.window.lost += u32::from(fraction_lost);
        self.window.received += 256 - u32::from(fraction_lost);
        self.judge(now)
    }

    /// Delay that no packet of the last whole window escaped.
    fn standing_queue_us(&self) -> i64 {
        match (self.window.delay_min, self.base.get()) {
            (Some(least), Some(base)) => least - base,
            _ => 0,
        }
    }

    fn judge(&mut self, now: Instant) -> Option<Instant> {
        if now < self.window.since + WINDOW {
            return None;
        }
        let standing = self.standing_queue_us();
        let window = std::mem::replace(&mut self.window, Window::new(now));
        let all = window.received + window.lost;
        let lossy = all >= PACKETS_MIN && window.lost * 256 > LOSS_MAX * all;
        if !lossy && standing <= STANDING_QUEUE_MAX_US {
            self.bad_windows = 0;
            return None;
        }
        self.bad_windows += 1;
        // What was sent before the pause still comes in at its end.
        if self.bad_windows < BAD_WINDOWS || now < self.resumed {
            return None;
        }
        self.bad_windows = 0;
        let least = Duration::from_millis(CONGESTION_PAUSE_MS_MIN);
        let most = Duration::from_millis(CONGESTION_PAUSE_MS_MAX);
        self.pause = if now.saturating_duration_since(self.resumed) >= FORGIVEN_AFTER {
            least
        } else {
            (self.pause * 2).clamp(least, most)
        };
        self.resumed = now + self.pause;
        Some(self.resumed)
    }

    fn unwrap(&mut self, reference: u32) -> i64 {
        let known = self.reference.unwrap_or(i64::from(reference));
        // The difference of two numbers of 24 bits, with its sign.
        let ahead = (reference.wrapping_sub(known as u32) << 8) as i32 >> 8;
        let unwrapped = known + i64::from(ahead);
        self.reference = Some(unwrapped);
        unwrapped
    }
}

#[cfg(test)]
mod tests {
    use super::super::rtcp::{self, Feedback};
    use super::*;

    /// A path of so many bytes a second with a queue of so many seconds, that loses every `lose`-th packet.
    struct Link {
        bytes_per_s: u64,
        queue_s: f64,
        lose: Option<usize>,
        free_at: f64,
        sent: usize,
    }

    impl Link {
        /// Time of arrival of a packet sent at `t`.
        fn pass(&mut self, t: f64, bytes: u64) -> Option<f64> {
            self.sent += 1;
            if self.lose.is_some_and(|n| self.sent.is_multiple_of(n)) {
                return None;
            }
            let begins = self.free_at.max(t);
            if begins - t > self.queue_s {
                return None;
            }
            self.free_at = begins + bytes as f64 / self.bytes_per_s as f64;
            Some(self.free_at + 0.02)
        }
    }

    /// A feedback on consecutive packets, each with a delta of two bytes, as section 3.1 of the draft lays it out.
    fn feedback(first: u16, arrivals: &[Option<f64>]) -> Vec<u8> {
        let mut body = vec![0, 0, 0, 1, 0, 0, 0, 2];
        body.extend_from_slice(&first.to_be_bytes());
        body.extend_from_slice(&(arrivals.len() as u16).to_be_bytes());
        let start = arrivals.iter().flatten().copied().fold(f64::MAX, f64::min);
        let reference = if start < f64::MAX {
            (start / 0.064) as u32
        } else {
            0
        };
        body.extend_from_slice(&reference.to_be_bytes()[1..]);
        body.push(0);
        for seven in arrivals.chunks(7) {
            let symbols = seven.iter().enumerate();
            let bits = symbols.fold(0u16, |w, (i, a)| {
                w | (if a.is_some() { 2 } else { 0 }) << (12 - 2 * i)
            });
            body.extend_from_slice(&(0xc000 | bits).to_be_bytes());
        }
        let mut at = i64::from(reference) * 256;
        for arrival in arrivals.iter().flatten() {
            let ticks = (arrival * 4000.0) as i64;
            body.extend_from_slice(&((ticks - at) as i16).to_be_bytes());
            at = ticks;
        }
        body.resize(body.len().next_multiple_of(4), 0);
        let mut packet = vec![0x8f, 205];
        packet.extend_from_slice(&((body.len() / 4) as u16).to_be_bytes());
        packet.extend(body);
        packet
    }

    /// 2 Mbit/s with a key frame of 60 kB every two seconds, over a link. Times in seconds at which it was found congested;
    /// pictures are left out during pauses.
    fn play(mut link: Link, seconds: usize) -> Vec<f64> {
        let start = Instant::now();
        let at = |t: f64| start + Duration::from_secs_f64(t);
        let mut number = 65_000u16;
        let mut congestion = Congestion::new(start, number);
        let (mut found, mut pause, mut told) = (Vec::new(), None, Vec::new());
        for picture in 0..seconds * 25 {
            let t = picture as f64 * 0.04;
            let key = picture % 50 == 0;
            if key && pause.is_some_and(|until| at(t) >= until) {
                pause = None;
            }
            let packets = match (pause, key) {
                (Some(_), _) => 0,
                (None, true) => 50,
                (None, false) => 8,
            };
            for _ in 0..packets {
                told.push(link.pass(t, 1200));
                number = number.wrapping_add(1);
            }
            // Sound goes on.
            told.push(link.pass(t, 350));
            number = number.wrapping_add(1);
            congestion.sent(at(t), number);
            if picture % 3 == 2 {
                let first = number.wrapping_sub(told.len() as u16);
                let packet = feedback(first, &told);
                told.clear();
                rtcp::read(&packet, |f| {
                    if let Feedback::Transport(transport) = f
                        && let Some(until) = congestion.feedback(at(t + 0.05), &transport)
                    {
                        found.push(t);
                        pause = Some(until);
                    }
                });
            }
        }
        found
    }

    fn link(kbit_per_s: u64, lose: Option<usize>) -> Link {
        Link {
            bytes_per_s: kbit_per_s * 125,
            queue_s: 1.0,
            lose,
            free_at: 0.0,
            sent: 0,
        }
    }

    #[test]
    fn a_path_that_takes_the_stream_is_never_congested_whatever_its_key_frames() {
        for kbit in [3_000, 5_000, 100_000] {
            assert!(play(link(kbit, None), 60).is_empty(), "{kbit} kbit/s");
        }
        assert!(play(link(5_000, Some(20)), 60).is_empty(), "5 % lost");
    }

    #[test]
    fn a_path_that_does_not_is_found_within_seconds_and_paused_for_longer_each_time() {
        let found = play(link(1_200, None), 60);
        assert!(found.len() >= 2 && found[0] < 6.0, "{found:?}");
        // It ends in a rate that the path takes, not in a pause without end.
        assert!(found.len() <= 12, "{found:?}");
        let lossy = play(link(100_000, Some(4)), 30);
        assert!(!lossy.is_empty() && lossy[0] < 4.0, "{lossy:?}");
    }

    #[test]
    fn reports_alone_tell_of_loss() {
        let start = Instant::now();
        let second = |n| start + Duration::from_secs(n);
        let mut congestion = Congestion::new(start, 0);
        for n in 1..20 {
            assert_eq!(congestion.report(second(n), 13), None, "5 %");
        }
        assert_eq!(congestion.report(second(20), 77), None);
        let until = congestion.report(second(21), 77).expect("30 % twice");
        assert!(until > second(21));
    }

    #[test]
    fn what_was_sent_is_remembered_for_a_bounded_time() {
        let now = Instant::now();
        let mut congestion = Congestion::new(now, 0);
        for n in 0..2 * BURSTS_KNOWN_MAX as u16 {
            congestion.sent(now, n);
            assert!(congestion.bursts.len() <= BURSTS_KNOWN_MAX);
        }
        assert_eq!(congestion.bursts.len(), BURSTS_KNOWN_MAX);
    }
}
