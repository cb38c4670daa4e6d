//! What receiver reports tell of a stream (RFC 3550, 6.4.1 and A.8).

use std::time::Instant;

use super::RTP_TICKS_PER_MS;
use crate::id::Ssrc;
use crate::media::rtcp;

/// What receiver reports tell (RFC 3550, 6.4.1 and A.8).
#[derive(Debug, Default)]
pub(super) struct Reception {
    pub base: Option<u32>,
    pub received: u64,
    pub transit: Option<f64>,
    pub jitter: f64,
    pub start: Option<Instant>,
    pub expected_before: u64,
    pub received_before: u64,
    pub last_sr: Option<(u32, Instant)>,
    /// Of the sender, as known at the last report.
    pub restarts: u64,
}

impl Reception {
    #[inline]
    pub fn count(&mut self, now: Instant, timestamp: u32) {
        let start = *self.start.get_or_insert(now);
        self.received += 1;
        let arrival =
            now.saturating_duration_since(start).as_secs_f64() * 1000.0 * RTP_TICKS_PER_MS;
        let transit = arrival - f64::from(timestamp);
        if let Some(last) = self.transit {
            let d = (transit - last).abs();
            // A wrap or a jump of the sender's clock is not jitter.
            if d < RTP_TICKS_PER_MS * 10_000.0 {
                self.jitter += (d - self.jitter) / 16.0;
            }
        }
        self.transit = Some(transit);
    }

    pub fn report(
        &mut self,
        now: Instant,
        ssrc: Ssrc,
        base: u32,
        highest: u32,
    ) -> rtcp::ReportBlock {
        let expected = u64::from(highest.wrapping_sub(base)) + 1;
        let expected_since = expected.saturating_sub(self.expected_before);
        let received_since = self.received.saturating_sub(self.received_before);
        let lost_since = expected_since.saturating_sub(received_since);
        self.expected_before = expected;
        self.received_before = self.received;
        let (last_sr, delay) = self.last_sr.map_or((0, 0), |(ntp, at)| {
            let delay = now.saturating_duration_since(at).as_micros() * 65_536 / 1_000_000;
            (ntp, delay.min(u128::from(u32::MAX)) as u32)
        });
        let lost = expected as i64 - self.received as i64;
        rtcp::ReportBlock {
            ssrc: ssrc.0,
            fraction_lost: (lost_since * 256)
                .checked_div(expected_since)
                .map_or(0, |f| f.min(255) as u8),
            lost: lost.clamp(-0x80_0000, 0x7f_ffff) as i32,
            highest_sequence: highest,
            jitter: self.jitter as u32,
            last_sr,
            delay_since_last_sr: delay,
        }
    }
}
