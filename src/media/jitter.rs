//! Puts the packets of one SSRC in order, waiting a little for those that are missing.
//!
//! RFC 3550, A.1 (a sender that starts its sequence numbers again).
//!
//! A packet that is next in order passes straight through: it is neither stored nor copied. Only packets behind a gap
//! are copied, into buffers that are used again. Playing out at an even pace is not done here; viewers do that.
//!
//! Bounds: [`crate::limits::REORDER_PACKETS_MAX`] packets, [`crate::limits::REORDER_BYTES_MAX`] bytes,
//! [`crate::limits::REORDER_WAIT_MS_MAX`]; at each the missing packet counts as lost.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::rtp::sequence_distance;
use crate::limits;

/// A gap beyond which the sender may have started anew rather than lost packets (RFC 3550, A.1, MAX_DROPOUT).
const DROPOUT_PACKETS_MAX: i32 = 3000;
/// How far behind a packet may be and still be called late (RFC 3550, A.1, MAX_MISORDER).
const MISORDER_PACKETS_MAX: i32 = 100;

/// A packet in its place.
#[derive(Clone, Copy, Debug)]
pub struct Delivery<'a> {
    pub packet: &'a [u8],
    /// When it came.
    pub received: Instant,
    /// Packets missing just before it.
    pub lost: u32,
    /// The sender started its sequence numbers anew with this packet.
    pub restart: bool,
}

/// What has been seen. Each packet pushed counts in at most one of `reordered`, `duplicate`, `late`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Never came in time.
    pub lost: u64,
    /// Came after a later one, and in time.
    pub reordered: u64,
    pub duplicate: u64,
    /// Came after it had been given up.
    pub late: u64,
    /// Times that the sender started anew.
    pub restarts: u64,
}

#[derive(Debug)]
struct Waiting {
    sequence: u16,
    received: Instant,
    packet: Vec<u8>,
}

/// The order of one SSRC.
#[derive(Debug)]
pub struct Jitter {
    window: Duration,
    /// Sequence number of the next packet in order; `None` before the first.
    next: Option<u16>,
    /// Extended highest number delivered (RFC 3550, A.1).
    cycles: u32,
    /// Bit n: the packet `next - 1 - n` was delivered.
    delivered: u128,
    /// Sorted by distance from `next`, none of them equal to it.
    waiting: VecDeque<Waiting>,
    waiting_bytes: usize,
    /// Buffers to use again.
    spare: Vec<Vec<u8>>,
    /// A packet far from the expected number: the first of a new start, if the next one follows it.
    probe: Option<Waiting>,
    counters: Counters,
}

impl Jitter {
    /// `wait`: whether gaps are waited for. Over TCP nothing can come out of order, so a gap is a loss at once.
    pub fn new(wait: bool) -> Jitter {
        Jitter {
            window: if wait {
                Duration::from_millis(limits::REORDER_WAIT_MS_MAX)
            } else {
                Duration::ZERO
            },
            next: None,
            cycles: 0,
            delivered: 0,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            spare: Vec::new(),
            probe: None,
            counters: Counters::default(),
        }
    }

    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Goes on counting from here.
    pub fn set_counters(&mut self, counters: Counters) {
        self.counters = counters;
    }

    /// Extended highest sequence number delivered; 0 before the first.
    pub fn highest_sequence(&self) -> u32 {
        self.next.map_or(0, |next| {
            let extended = self.cycles.wrapping_shl(16) | u32::from(next);
            extended.wrapping_sub(1)
        })
    }

    /// Extended highest sequence number that came, delivered or waiting (RFC 3550, 6.4.1); 0 before the first.
    pub fn highest_received(&self) -> u32 {
        let (Some(next), Some(last)) = (self.next, self.waiting.back()) else {
            return self.highest_sequence();
        };
        let ahead = sequence_distance(next, last.sequence).max(0) as u32;
        self.highest_sequence().wrapping_add(ahead + 1)
    }

    /// When the oldest waiting packet has waited long enough.
    pub fn next_deadline(&self) -> Option<Instant> {
        let oldest = self.waiting.iter().map(|w| w.received).min()?;
        Some(oldest + self.window)
    }

    /// Takes a packet and gives on what is in order now.
    #[inline]
    pub fn push(
        &mut self,
        now: Instant,
        sequence: u16,
        packet: &[u8],
        put: &mut impl FnMut(Delivery<'_>),
    ) {
        let next = *self.next.get_or_insert(sequence);
        if sequence == next && self.waiting.is_empty() {
            self.advance(1);
            self.delivered |= 1;
            put(Delivery {
                packet,
                received: now,
                lost: 0,
                restart: false,
            });
            return;
        }
        self.push_out_of_order(now, sequence, packet, put);
    }

    /// Gives up on what has been missing too long.
    pub fn handle_timeout(&mut self, now: Instant, put: &mut impl FnMut(Delivery<'_>)) {
        while self.next_deadline().is_some_and(|at| at <= now) {
            self.release_first(put);
        }
    }

    /// Gives on all that waits, and what is missing between counts as lost.
    pub fn flush(&mut self, put: &mut impl FnMut(Delivery<'_>)) {
        while !self.waiting.is_empty() {
            self.release_first(put);
        }
    }

    fn push_out_of_order(
        &mut self,
        now: Instant,
        sequence: u16,
        packet: &[u8],
        put: &mut impl FnMut(Delivery<'_>),
    ) {
        let next = self.next.unwrap_or(sequence);
        let ahead = sequence_distance(next, sequence);
        if !(-MISORDER_PACKETS_MAX..DROPOUT_PACKETS_MAX).contains(&ahead) {
            self.probe(now, sequence, packet, put);
            return;
        }
        if ahead < 0 {
            let bit = 1u128 << (-ahead - 1).min(127);
            if self.delivered & bit != 0 {
                self.counters.duplicate += 1;
            } else {
                self.counters.late += 1;
            }
            return;
        }
        if ahead == 0 {
            self.counters.reordered += 1;
            self.advance(1);
            self.delivered |= 1;
            put(Delivery {
                packet,
                received: now,
                lost: 0,
                restart: false,
            });
            self.release_in_order(put);
        } else {
            self.store(now, next, sequence, packet);
            while self.window.is_zero() && !self.waiting.is_empty() {
                self.release_first(put);
            }
        }
        while self.waiting.len() > limits::REORDER_PACKETS_MAX
            || self.waiting_bytes > limits::REORDER_BYTES_MAX
        {
            self.release_first(put);
        }
        self.handle_timeout(now, put);
    }

    fn store(&mut self, now: Instant, next: u16, sequence: u16, packet: &[u8]) {
        let ahead = sequence_distance(next, sequence);
        let place = self
            .waiting
            .binary_search_by_key(&ahead, |w| sequence_distance(next, w.sequence));
        let Err(place) = place else {
            self.counters.duplicate += 1;
            return;
        };
        if place < self.waiting.len() {
            self.counters.reordered += 1;
        }
        let mut buffer = self.spare.pop().unwrap_or_default();
        buffer.extend_from_slice(packet);
        self.waiting_bytes += packet.len();
        let waiting = Waiting {
            sequence,
            received: now,
            packet: buffer,
        };
        self.waiting.insert(place, waiting);
    }

    /// Gives on the first waiting packet, whatever is missing before it, and those in order after it.
    fn release_first(&mut self, put: &mut impl FnMut(Delivery<'_>)) {
        let (Some(first), Some(next)) = (self.waiting.pop_front(), self.next) else {
            return;
        };
        let lost = sequence_distance(next, first.sequence).max(0) as u32;
        self.counters.lost += u64::from(lost);
        self.advance(lost + 1);
        self.delivered |= 1;
        self.give(first, lost, put);
        self.release_in_order(put);
    }

    fn release_in_order(&mut self, put: &mut impl FnMut(Delivery<'_>)) {
        while self
            .waiting
            .front()
            .is_some_and(|w| Some(w.sequence) == self.next)
        {
            if let Some(first) = self.waiting.pop_front() {
                self.advance(1);
                self.delivered |= 1;
                self.give(first, 0, put);
            }
        }
    }

    fn give(&mut self, waiting: Waiting, lost: u32, put: &mut impl FnMut(Delivery<'_>)) {
        put(Delivery {
            packet: &waiting.packet,
            received: waiting.received,
            lost,
            restart: false,
        });
        self.waiting_bytes -= waiting.packet.len();
        let mut buffer = waiting.packet;
        // Only buffers of usual datagrams are kept, so that a burst of huge ones does not stay in memory.
        if buffer.capacity() <= 2048 && self.spare.len() < limits::REORDER_PACKETS_MAX {
            buffer.clear();
            self.spare.push(buffer);
        }
        if self.waiting.is_empty() && self.spare.len() > 8 {
            self.spare.truncate(8);
        }
    }

    #[inline]
    fn advance(&mut self, by: u32) {
        let next = self.next.unwrap_or(0);
        let sum = u32::from(next) + by;
        self.cycles = self.cycles.wrapping_add(sum >> 16);
        self.next = Some(sum as u16);
        self.delivered = self.delivered.checked_shl(by).unwrap_or(0);
    }

    /// A packet far away: one alone is an accident, two in a row are a new start.
    fn probe(
        &mut self,
        now: Instant,
        sequence: u16,
        packet: &[u8],
        put: &mut impl FnMut(Delivery<'_>),
    ) {
        match self.probe.take() {
            Some(first) if first.sequence.wrapping_add(1) == sequence => {
                self.flush(put);
                self.counters.restarts += 1;
                self.cycles = self.cycles.wrapping_add(1);
                self.next = Some(sequence.wrapping_add(1));
                self.delivered = 0b11;
                put(Delivery {
                    packet: &first.packet,
                    received: first.received,
                    lost: 1,
                    restart: true,
                });
                put(Delivery {
                    packet,
                    received: now,
                    lost: 0,
                    restart: false,
                });
            }
            Some(first) if first.sequence == sequence => {
                self.counters.duplicate += 1;
                self.probe = Some(first);
            }
            other => {
                self.counters.late += u64::from(other.is_some());
                self.probe = Some(Waiting {
                    sequence,
                    received: now,
                    packet: packet.to_vec(),
                });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Bench {
        jitter: Jitter,
        start: Instant,
        got: Vec<(u16, u32, bool)>,
    }

    impl Bench {
        fn new(wait: bool) -> Bench {
            Bench {
                jitter: Jitter::new(wait),
                start: Instant::now(),
                got: Vec::new(),
            }
        }

        fn push(&mut self, at_ms: u64, sequence: u16) {
            let got = &mut self.got;
            self.jitter.push(
                self.start + Duration::from_millis(at_ms),
                sequence,
                &sequence.to_be_bytes(),
                &mut |d| {
                    let sequence = u16::from_be_bytes([d.packet[0], d.packet[1]]);
                    got.push((sequence, d.lost, d.restart));
                },
            );
        }

        fn order(&self) -> Vec<u16> {
            self.got.iter().map(|g| g.0).collect()
        }
    }

    #[test]
    fn in_order_packets_are_not_stored() {
        let mut b = Bench::new(true);
        for s in [65_534, 65_535, 0, 1] {
            b.push(0, s);
            assert_eq!(b.jitter.next_deadline(), None);
        }
        assert_eq!(b.order(), [65_534, 65_535, 0, 1]);
        assert_eq!(b.jitter.highest_sequence(), 0x1_0001);
        assert_eq!(b.jitter.counters(), Counters::default());
    }

    #[test]
    fn swapped_packets_are_put_right() {
        let mut b = Bench::new(true);
        for s in [10, 12, 13, 11, 14] {
            b.push(0, s);
        }
        assert_eq!(b.order(), [10, 11, 12, 13, 14]);
        assert_eq!(b.jitter.counters().reordered, 1);
        assert_eq!(b.jitter.counters().lost, 0);
    }

    #[test]
    fn a_missing_packet_is_given_up_in_time() {
        let mut b = Bench::new(true);
        b.push(0, 10);
        b.push(5, 12);
        let deadline = b.jitter.next_deadline().expect("waiting");
        assert_eq!(
            deadline,
            b.start + Duration::from_millis(5 + limits::REORDER_WAIT_MS_MAX)
        );
        let got = &mut b.got;
        b.jitter
            .handle_timeout(deadline - Duration::from_millis(1), &mut |_| {
                panic!("too early")
            });
        b.jitter.handle_timeout(deadline, &mut |d| {
            got.push((12, d.lost, d.restart));
        });
        assert_eq!(b.got, [(10, 0, false), (12, 1, false)]);
        b.push(100, 11);
        b.push(100, 12);
        let c = b.jitter.counters();
        assert_eq!((c.lost, c.late, c.duplicate), (1, 1, 1));
    }

    #[test]
    fn what_waits_has_been_received() {
        let mut b = Bench::new(true);
        for s in [65_534, 65_535] {
            b.push(0, s);
        }
        assert_eq!(b.jitter.highest_received(), 65_535);
        // 0 is missing; 1 and 2 wait for it.
        b.push(0, 1);
        b.push(0, 2);
        assert_eq!(b.jitter.highest_sequence(), 65_535);
        assert_eq!(b.jitter.highest_received(), 0x1_0002);
        b.push(0, 0);
        assert_eq!(b.jitter.highest_sequence(), 0x1_0002);
        assert_eq!(b.jitter.highest_received(), 0x1_0002);
    }

    #[test]
    fn the_window_is_bounded_in_packets() {
        let mut b = Bench::new(true);
        b.push(0, 0);
        for s in 0..limits::REORDER_PACKETS_MAX {
            b.push(0, 2 + s as u16);
        }
        assert_eq!(b.got.len(), 1);
        b.push(0, 2 + limits::REORDER_PACKETS_MAX as u16);
        assert_eq!(b.got.len(), 2 + limits::REORDER_PACKETS_MAX);
        assert_eq!(b.jitter.counters().lost, 1);
    }

    #[test]
    fn the_window_is_bounded_in_bytes() {
        let mut jitter = Jitter::new(true);
        let now = Instant::now();
        let big = vec![0; limits::REORDER_BYTES_MAX / 4];
        let mut count = 0;
        for s in [0, 2, 3, 4, 5] {
            jitter.push(now, s, &big, &mut |_| count += 1);
        }
        assert_eq!(count, 1);
        jitter.push(now, 6, &big, &mut |_| count += 1);
        assert_eq!(count, 6);
    }

    #[test]
    fn over_tcp_a_gap_is_a_loss_at_once() {
        let mut b = Bench::new(false);
        b.push(0, 1);
        b.push(0, 4);
        assert_eq!(b.got, [(1, 0, false), (4, 2, false)]);
    }

    #[test]
    fn a_sender_that_starts_anew_is_followed_after_two_packets() {
        let mut b = Bench::new(true);
        b.push(0, 1);
        b.push(0, 2);
        b.push(0, 40_000);
        assert_eq!(b.order(), [1, 2]);
        b.push(0, 3);
        assert_eq!(b.order(), [1, 2, 3]);
        b.push(0, 30_000);
        b.push(0, 30_001);
        b.push(0, 30_002);
        assert_eq!(b.order(), [1, 2, 3, 30_000, 30_001, 30_002]);
        assert!(b.got[3].2);
        assert_eq!(b.jitter.counters().restarts, 1);
    }
}
