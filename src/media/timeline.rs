//! Puts the times that a device writes on one line per stream: unwrapped, without jumps, picture and sound on one base.
//!
//! ISO/IEC 13818-1, 2.4.3.6 (33-bit PTS and DTS at 90 kHz); RFC 3550, 5.1 (32-bit RTP time).
//!
//! A time that does not follow from the one before and from the wall clock (the device set its clock, started anew, or
//! wrapped early) re-anchors the line once: the frame lands where the wall clock says, and the other track finds the new
//! base when it jumps too. A wrap at 32 bits in the 33-bit field (devices that count in RTP time) is none. Missing times come
//! from RTP time, else from the frame rate.
//!
//! Slow drift of the device's clock against ours is left in the times and measured beside them ([`Timeline::drift_ppm`]):
//! over each [`DRIFT_WINDOW`] the frame that took the shortest way says how the clocks stand, so that queues on the path do
//! not count.

use std::time::{Duration, Instant};

use crate::media::frame::TrackId;
use crate::time::{MediaTime, TICKS_PER_SECOND, ticks};

/// Where a stream starts: so that sound that lies a little before the first picture is not below zero.
const START: i64 = TICKS_PER_SECOND / 5;
/// How far a track's time may run ahead of the wall clock between two frames, or apart from the other track.
const AHEAD_TICKS_MAX: i64 = 2 * TICKS_PER_SECOND;
/// How far it may go back (reordered pictures without DTS, jitter of the device's clock).
const BACK_TICKS_MAX: i64 = TICKS_PER_SECOND / 2;
/// How far presentation may lie behind decoding.
const PRESENTATION_TICKS_MAX: i64 = 5 * TICKS_PER_SECOND;
/// Duration of a picture while the rate is not known: 25 a second.
const PICTURE_TICKS: i64 = TICKS_PER_SECOND / 25;
/// Over how long the shortest way of a frame is looked for.
pub const DRIFT_WINDOW: Duration = Duration::from_secs(10);
/// A clock further off than this is not drifting but wrong (a device that counts in other units); shown as this.
const DRIFT_PPM_MAX: i64 = 1_000_000;

/// What is known of a frame's time.
#[derive(Clone, Copy, Debug)]
pub struct Stamp {
    /// 33 bits.
    pub pts: Option<u64>,
    /// 33 bits.
    pub dts: Option<u64>,
    /// RTP time of its first packet, if that runs at 90 kHz.
    pub rtp: Option<u32>,
    pub received: Instant,
    /// How long the frame lasts, if its content says so.
    pub duration: Option<i64>,
}

#[derive(Clone, Copy, Debug)]
struct Line {
    /// Device time of the last frame, unwrapped to 64 bits.
    raw: i64,
    /// What is taken from device time to give stream time.
    origin: i64,
    rtp: Option<u32>,
    received: Instant,
    /// Stream time given last.
    dts: i64,
    /// How long that frame lasts by the best guess.
    duration: i64,
}

/// The time line of one stream.
#[derive(Debug, Default)]
pub struct Timeline {
    picture: Option<Line>,
    sound: Option<Line>,
    jumps: u64,
    drift: Drift,
}

/// The device's clock against ours, of the track that came first.
#[derive(Debug, Default)]
struct Drift {
    track: Option<TrackId>,
    /// Where both clocks stood when the measurement began.
    start: Option<(Instant, i64)>,
    /// Shortest way (ticks by our clock less ticks by the device's) of the first window, and when it was seen.
    first: Option<(Instant, i64)>,
    /// Of the window that runs.
    window: Option<(Instant, i64)>,
    window_end: Option<Instant>,
    ppm: Option<i64>,
}

impl Drift {
    fn restart(&mut self) {
        *self = Drift {
            ppm: self.ppm,
            ..Drift::default()
        };
    }

    #[inline]
    fn note(&mut self, track: TrackId, received: Instant, raw: i64) {
        if *self.track.get_or_insert(track) != track {
            return;
        }
        let (began, first_raw) = *self.start.get_or_insert((received, raw));
        let end = *self.window_end.get_or_insert(received + DRIFT_WINDOW);
        if received >= end {
            self.close_window();
            self.window_end = Some(received + DRIFT_WINDOW);
        }
        let way = ticks(received.saturating_duration_since(began)) - (raw - first_raw);
        if self.window.is_none_or(|(_, shortest)| way < shortest) {
            self.window = Some((received, way));
        }
    }

    fn close_window(&mut self) {
        let Some((at, way)) = self.window.take() else {
            return;
        };
        let Some((first_at, first_way)) = self.first else {
            self.first = Some((at, way));
            return;
        };
        let passed = ticks(at.saturating_duration_since(first_at));
        if passed > 0 {
            let ppm = (first_way - way).saturating_mul(1_000_000) / passed;
            self.ppm = Some(ppm.clamp(-DRIFT_PPM_MAX, DRIFT_PPM_MAX));
        }
    }
}

impl Timeline {
    pub fn new() -> Timeline {
        Timeline::default()
    }

    /// Times that the line was re-anchored.
    pub fn jumps(&self) -> u64 {
        self.jumps
    }

    /// Counts jumps from 0 again.
    pub fn reset_jumps(&mut self) {
        self.jumps = 0;
    }

    /// How much faster the device's clock runs than ours, in parts per million; negative = slower. `None` until two
    /// windows of [`DRIFT_WINDOW`] have passed. Measured anew after a jump; until then the last value stands.
    pub fn drift_ppm(&self) -> Option<i64> {
        self.drift.ppm
    }

    /// Gives a frame its decoding and presentation time. Decoding times of a track strictly grow.
    pub fn place(&mut self, track: TrackId, stamp: &Stamp) -> (MediaTime, MediaTime) {
        let own = *self.line(track);
        let other = *self.line(match track {
            TrackId::Video => TrackId::Audio,
            TrackId::Audio => TrackId::Video,
        });
        let (raw, origin) = match (own, stamp.dts.or(stamp.pts)) {
            (Some(own), Some(time)) => match self.follow(&own, time, stamp) {
                Some(raw) => (raw, own.origin),
                None => {
                    let (raw, origin, joined) =
                        anchor(Some(&own), other.as_ref(), time as i64, stamp);
                    // The second track only follows the first one's jump.
                    self.jumps += u64::from(!joined);
                    self.drift.restart();
                    (raw, origin)
                }
            },
            (Some(own), None) => (own.raw + missing(&own, stamp), own.origin),
            (None, Some(time)) => {
                let (raw, origin, _) = anchor(None, other.as_ref(), time as i64, stamp);
                (raw, origin)
            }
            (None, None) => match (&other, stamp.rtp) {
                // Sound without any time, beside a picture: it lies where it comes.
                (Some(other), _) => {
                    let elapsed = elapsed(other, stamp.received);
                    (other.raw + elapsed, other.origin)
                }
                (None, rtp) => {
                    let raw = i64::from(rtp.unwrap_or(0));
                    (raw, raw - START)
                }
            },
        };
        if stamp.dts.or(stamp.pts).is_some() {
            self.drift.note(track, stamp.received, raw);
        }
        let mut dts = raw - origin;
        if let Some(own) = &own {
            dts = dts.max(own.dts + 1);
        }
        let dts = dts.max(0);
        let offset = match (stamp.pts, stamp.dts) {
            (Some(pts), Some(dts)) => difference_33(dts, pts),
            (Some(_), None) | (None, Some(_)) | (None, None) => 0,
        };
        let pts = (raw - origin + offset).clamp(dts, dts + PRESENTATION_TICKS_MAX);
        let duration = stamp.duration.unwrap_or(match &own {
            Some(own) if (1..TICKS_PER_SECOND).contains(&(raw - own.raw)) => raw - own.raw,
            Some(own) => own.duration,
            None => PICTURE_TICKS,
        });
        *self.line(track) = Some(Line {
            raw,
            origin,
            rtp: stamp.rtp,
            received: stamp.received,
            dts,
            duration,
        });
        (MediaTime(dts), MediaTime(pts))
    }

    fn line(&mut self, track: TrackId) -> &mut Option<Line> {
        match track {
            TrackId::Video => &mut self.picture,
            TrackId::Audio => &mut self.sound,
        }
    }

    /// The unwrapped time, if it follows from the last one.
    fn follow(&self, own: &Line, time: u64, stamp: &Stamp) -> Option<i64> {
        let ahead = AHEAD_TICKS_MAX + elapsed(own, stamp.received);
        step(own.raw, time, -BACK_TICKS_MAX..=ahead).map(|step| own.raw + step)
    }
}

/// Where a first time, or one that jumped, lies: on the other track's base if it is near it, else where the wall clock
/// says. Gives unwrapped time and origin, and whether the base is the other track's.
fn anchor(own: Option<&Line>, other: Option<&Line>, raw: i64, stamp: &Stamp) -> (i64, i64, bool) {
    if let Some(other) = other {
        let near = AHEAD_TICKS_MAX + elapsed(other, stamp.received);
        if let Some(step) = step(other.raw, raw as u64, -near..=near) {
            return (other.raw + step, other.origin, true);
        }
    }
    let dts = match (own, other) {
        (Some(own), _) => own.dts + elapsed(own, stamp.received).max(own.duration),
        (None, Some(other)) => other.dts + elapsed(other, stamp.received),
        (None, None) => START,
    };
    (raw, raw - dts, false)
}

/// The way from a time to the next one, by the wrap at 33 bits or, for devices that wrap early, at 32; `None`: neither is
/// within `bounds`.
fn step(from: i64, to: u64, bounds: std::ops::RangeInclusive<i64>) -> Option<i64> {
    let at_33 = difference_33(from as u64, to);
    if bounds.contains(&at_33) {
        return Some(at_33);
    }
    let at_32 = i64::from((to as u32).wrapping_sub(from as u32) as i32);
    bounds.contains(&at_32).then_some(at_32)
}

/// How far a frame without time lies behind the one before.
fn missing(own: &Line, stamp: &Stamp) -> i64 {
    let by_rtp = match (own.rtp, stamp.rtp) {
        (Some(last), Some(now)) => i64::from(now.wrapping_sub(last) as i32),
        (Some(_), None) | (None, Some(_)) | (None, None) => 0,
    };
    let ahead = AHEAD_TICKS_MAX + elapsed(own, stamp.received);
    match stamp.duration {
        // Sound that follows without a gap is placed by its samples, which are exact.
        Some(_) if (by_rtp - own.duration).abs() <= BACK_TICKS_MAX => own.duration,
        Some(_) | None if by_rtp > 0 && by_rtp <= ahead => by_rtp,
        Some(_) | None => own.duration,
    }
}

fn elapsed(line: &Line, now: Instant) -> i64 {
    ticks(
        now.saturating_duration_since(line.received)
            .min(Duration::from_secs(86_400)),
    )
}

/// `to - from` on the 33-bit circle.
fn difference_33(from: u64, to: u64) -> i64 {
    ((to.wrapping_sub(from) << 31) as i64) >> 31
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Device {
        line: Timeline,
        start: Instant,
    }

    impl Device {
        fn new() -> Device {
            Device {
                line: Timeline::new(),
                start: Instant::now(),
            }
        }

        fn at(&mut self, track: TrackId, ms: u64, pts: Option<u64>, rtp: Option<u32>) -> i64 {
            let stamp = Stamp {
                pts,
                dts: None,
                rtp,
                received: self.start + Duration::from_millis(ms),
                duration: (track == TrackId::Audio).then_some(1800),
            };
            self.line.place(track, &stamp).0.0
        }
    }

    const WRAP: u64 = 1 << 33;

    #[test]
    fn a_wrap_is_no_jump() {
        let mut d = Device::new();
        let first = d.at(TrackId::Video, 0, Some(WRAP - 3600), None);
        assert_eq!(first, START);
        assert_eq!(d.at(TrackId::Video, 40, Some(0), None), START + 3600);
        assert_eq!(
            d.at(TrackId::Audio, 40, Some(WRAP - 900), None),
            START + 2700
        );
        assert_eq!(d.line.jumps(), 0);
    }

    #[test]
    fn a_jump_is_anchored_once_for_both_tracks() {
        let mut d = Device::new();
        d.at(TrackId::Video, 0, Some(1_000_000), None);
        d.at(TrackId::Audio, 0, Some(1_000_000), None);
        // The device's clock is set an hour on, then the sound from before the jump still comes.
        let hour = 1_000_000 + 3600 * 90_000;
        assert_eq!(d.at(TrackId::Video, 40, Some(hour), None), START + 3600);
        assert_eq!(
            d.at(TrackId::Audio, 40, Some(1_001_800), None),
            START + 1800
        );
        assert_eq!(
            d.at(TrackId::Audio, 60, Some(hour + 1800), None),
            START + 5400
        );
        assert_eq!(
            d.at(TrackId::Video, 80, Some(hour + 3600), None),
            START + 7200
        );
        // Both were re-anchored, on one base: one jump.
        assert_eq!(d.line.jumps(), 1);
        // And back again.
        assert_eq!(d.at(TrackId::Video, 120, Some(500), None), START + 10_800);
        assert_eq!(d.at(TrackId::Video, 160, Some(4100), None), START + 14_400);
        assert_eq!(d.line.jumps(), 2);
    }

    /// A wrap at 32 bits in the 33-bit field, with the sound behind the picture: both go on.
    #[test]
    fn an_early_wrap_is_no_jump() {
        let mut d = Device::new();
        let wrap = 1u64 << 32;
        d.at(TrackId::Video, 0, Some(wrap - 3600), None);
        d.at(TrackId::Audio, 0, Some(wrap - 3600), None);
        for n in 0..4 {
            let at = 40 + n * 40;
            let pts = n * 3600;
            assert_eq!(
                d.at(TrackId::Video, at, Some(pts), None),
                START + 3600 + pts as i64
            );
        }
        assert_eq!(
            d.at(TrackId::Audio, 160, Some(wrap - 1800), None),
            START + 1800
        );
        assert_eq!(d.at(TrackId::Audio, 160, Some(0), None), START + 3600);
        assert_eq!(d.line.jumps(), 0);
    }

    /// One jump, then every packet lies far from where the first clock would have it: nothing is squeezed or dropped, steps
    /// stay those of the device.
    #[test]
    fn field_25_after_a_rollback_steps_are_the_devices_own() {
        let mut d = Device::new();
        let mut last = d.at(TrackId::Video, 0, Some(900_000_000), None);
        for n in 1..200u64 {
            let pts = if n < 50 {
                900_000_000 + n * 3600
            } else {
                n * 3600
            };
            let t = d.at(TrackId::Video, n * 40, Some(pts), None);
            assert_eq!(t - last, 3600, "picture {n}");
            last = t;
        }
        assert_eq!(d.line.jumps(), 1);
    }

    /// Another clock from one packet to the next (a re-INVITE upstream): the time line goes on from where it was, hours
    /// do not appear in it.
    #[test]
    fn field_26_another_clock_does_not_leave_a_hole() {
        let mut d = Device::new();
        let mut t = 0;
        for n in 0..10u64 {
            t = d.at(TrackId::Video, n * 40, Some(n * 3600), None);
        }
        let hours_41 = 41 * 3600 * 90_000;
        for n in 10..20u64 {
            let next = d.at(TrackId::Video, n * 40, Some(hours_41 + n * 3600), None);
            assert_eq!(next - t, 3600);
            t = next;
        }
    }

    #[test]
    fn drift_is_measured_through_the_jitter_of_the_path() {
        for ppm in [-300i64, 0, 50, 1000] {
            let mut d = Device::new();
            let mut noise = 1u64;
            for n in 0..25 * 120u64 {
                noise = noise
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                let late_ms = (noise >> 33) % 30;
                let clock = n * 3600;
                let pts = clock.wrapping_add_signed(clock as i64 * ppm / 1_000_000);
                d.at(TrackId::Video, n * 40 + late_ms, Some(pts), None);
            }
            let got = d.line.drift_ppm().expect("two minutes are enough");
            assert!((got - ppm).abs() <= 20, "{got} for {ppm}");
            // The device's clock is set: the last value stands until the next one is known.
            d.at(TrackId::Video, 120_000, Some(77), None);
            assert_eq!(d.line.drift_ppm(), Some(got));
        }
    }

    #[test]
    fn a_silence_with_honest_times_is_no_jump() {
        let mut d = Device::new();
        d.at(TrackId::Video, 0, Some(0), None);
        let t = d.at(TrackId::Video, 8_000, Some(8 * 90_000), None);
        assert_eq!(t, START + 8 * 90_000);
        assert_eq!(d.line.jumps(), 0);
    }

    #[test]
    fn missing_times_come_from_rtp_then_from_the_rate() {
        let mut d = Device::new();
        d.at(TrackId::Video, 0, Some(0), Some(100));
        assert_eq!(d.at(TrackId::Video, 33, None, Some(3100)), START + 3000);
        assert_eq!(d.at(TrackId::Video, 66, None, Some(3100)), START + 6000);
        assert_eq!(d.at(TrackId::Video, 99, None, None), START + 9000);
    }

    #[test]
    fn times_of_a_track_never_go_back() {
        let mut d = Device::new();
        let mut last = -1;
        for pts in [9000, 8000, 8100, 12_000, 11_000, 9000] {
            let t = d.at(TrackId::Video, 0, Some(pts), None);
            assert!(t > last);
            last = t;
        }
    }

    #[test]
    fn sound_on_a_base_of_its_own_lies_beside_the_picture() {
        let mut d = Device::new();
        d.at(TrackId::Video, 0, Some(5_000_000_000), None);
        let a = d.at(TrackId::Audio, 20, Some(77), None);
        assert_eq!(a, START + 1800);
        d.at(TrackId::Video, 40, Some(5_000_003_600), None);
        assert_eq!(
            d.at(TrackId::Audio, 40, Some(77 + 1800), None),
            START + 3600
        );
        assert_eq!(d.line.jumps(), 0);
    }

    #[test]
    fn presentation_is_not_before_decoding() {
        let mut line = Timeline::new();
        let mut stamp = Stamp {
            pts: Some(7200),
            dts: Some(3600),
            rtp: None,
            received: Instant::now(),
            duration: None,
        };
        assert_eq!(
            line.place(TrackId::Video, &stamp),
            (MediaTime(START), MediaTime(START + 3600))
        );
        stamp.pts = Some(100);
        stamp.dts = Some(7200);
        let (dts, pts) = line.place(TrackId::Video, &stamp);
        assert_eq!(
            (dts, pts),
            (MediaTime(START + 3600), MediaTime(START + 3600))
        );
    }
}
