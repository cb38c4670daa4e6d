//! The reorder window under any sequence of packets and pauses.

use std::time::{Duration, Instant};

use super::Script;
use crate::limits;
use crate::media::jitter::{Delivery, Jitter};
use crate::media::rtp::sequence_distance;

/// What the window promised so far.
#[derive(Default)]
struct Told {
    last: Option<u16>,
    delivered: u64,
}

impl Told {
    fn take(&mut self, delivery: &Delivery<'_>, now: Instant) {
        let packet = delivery.packet;
        let sequence = u16::from_be_bytes([packet[0], packet[1]]);
        self.delivered += 1;
        assert!(delivery.received <= now);
        if delivery.restart {
            // How much is missing before a new start cannot be known: something is.
            assert!(delivery.lost <= 1);
        } else if let Some(last) = self.last {
            let distance = sequence_distance(last, sequence);
            assert!(distance > 0, "{sequence} after {last}");
            assert_eq!(
                distance as u32,
                delivery.lost + 1,
                "what is missing is told"
            );
        }
        self.last = Some(sequence);
    }
}

/// Packets come out in order and at most once, what is missing is counted, nothing waits longer than the window, and no
/// packet counts twice.
pub fn jitter(data: &[u8]) {
    let mut script = Script::new(data);
    let wait = script.chance(4);
    let mut jitter = Jitter::new(!wait);
    let mut now = Instant::now();
    let mut told = Told::default();
    let (mut sequence, mut pushed) = (script.word(), 0u64);
    while !script.is_over() {
        let op = script.byte();
        match op % 8 {
            0..4 => sequence = sequence.wrapping_add(1),
            4 => sequence = sequence.wrapping_add(u16::from(op >> 3)),
            5 => sequence = sequence.wrapping_sub(u16::from(op >> 3)),
            6 => now += Duration::from_millis(u64::from(op >> 3) * 5),
            _ => sequence = script.word(),
        }
        if op % 8 == 6 {
            jitter.handle_timeout(now, &mut |d| told.take(&d, now));
        } else {
            pushed += 1;
            let packet = sequence.to_be_bytes();
            jitter.push(now, sequence, &packet, &mut |d| told.take(&d, now));
        }
        if let Some(at) = jitter.next_deadline() {
            assert!(at <= now + Duration::from_millis(limits::REORDER_WAIT_MS_MAX));
        }
        let counted = jitter.counters();
        assert!(told.delivered + counted.duplicate + counted.late <= pushed + counted.restarts);
        assert!(counted.reordered <= told.delivered + limits::REORDER_PACKETS_MAX as u64);
    }
    let before = told.delivered;
    jitter.flush(&mut |d| told.take(&d, now));
    assert!(told.delivered - before <= limits::REORDER_PACKETS_MAX as u64);
    assert_eq!(jitter.next_deadline(), None);
}
