//! Puts the times that a device writes on one line per stream: unwrapped, without jumps, picture and sound on one base.
//!
//! ISO/IEC 13818-1, 2.4.3.6 (33-bit PTS and DTS at 90 kHz); RFC 3550, 5.1 (32-bit RTP time).
//!
//! A time that does not follow from the one before and from the wall clock (the device set its clock, started anew, or
//! wrapped early) re-anchors the line once: the frame lands where the wall clock says, and the other track finds the new
//! base when it jumps too. A wrap at 32 bits in the 33-bit field (devices that count in RTP time) is none. Missing times come
//! from RTP time, else from the frame rate: that of the pictures that have times, else that of the parameter sets.
//!
//! What a device plays back at another [`Pace`] it stamps with the times of the record: they run faster, slower or
//! backwards. Unless they are to be kept (a download), they are brought to the pace at which the pictures really come, so
//! that viewers play smoothly; a device that stamps by its clock, or cannot keep the pace that was ordered, is measured.
//! After an order the first step that does not follow is the jump that was asked for: the line goes on without a hole.
//! [`Timeline::position`] says how far into the record it is.
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
/// Duration of a picture where nothing tells the rate: 25 a second.
const PICTURE_TICKS: i64 = TICKS_PER_SECOND / 25;
/// Over how long the shortest way of a frame is looked for.
pub const DRIFT_WINDOW: Duration = Duration::from_secs(10);
/// A clock further off than this is not drifting but wrong (a device that counts in other units); shown as this.
const DRIFT_PPM_MAX: i64 = 1_000_000;

/// How long after an order a jump of the times is the one that was ordered.
const ORDER_WINDOW: Duration = Duration::from_secs(5);
/// A step longer than this at the ordered pace is a jump, right after an order.
const ORDERED_STEP_TICKS_MAX: i64 = TICKS_PER_SECOND * 6 / 10;
/// How far behind the other one a track's own clock is followed.
const BEHIND_TICKS_MAX: i64 = 86_400 * TICKS_PER_SECOND;
/// A track that was silent for longer than this beside the other one lies by the other's time.
const RESTED_TICKS: i64 = TICKS_PER_SECOND;
/// How long after an order what was sent before it may still come.
const IN_FLIGHT: Duration = Duration::from_secs(1);
/// Over how long the pace at which pictures come is measured.
const PACE_WINDOW: Duration = Duration::from_secs(2);
/// A pause in the pictures after which a measurement begins anew.
const PACE_GAP: Duration = Duration::from_secs(1);
/// A measured pace that is off by less is the ordered one, in percent.
const PACE_TOLERANCE_PERCENT: i64 = 15;
/// How much of a record may come at once when it is downloaded: a device may send as fast as the network takes.
const DOWNLOAD_STEP_FACTOR: i64 = 64;

/// How the times of a device run against the wall clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Thousandths of the speed at which it was recorded; negative is backwards. Never 0.
    pub milli: i32,
    /// The times of the record are kept, however fast it comes.
    pub keep: bool,
}

impl Pace {
    pub const NORMAL: Pace = Pace {
        milli: 1_000,
        keep: false,
    };
}

impl Default for Pace {
    fn default() -> Self {
        Pace::NORMAL
    }
}

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
    /// Device time of the anchor, which lies at `base` of the stream.
    origin: i64,
    base: i64,
    rtp: Option<u32>,
    received: Instant,
    /// Stream time given last.
    dts: i64,
    /// How long that frame lasts by the best guess.
    duration: i64,
    spacing: Spacing,
}

/// How far the frames of a track lie apart, by those that have times.
#[derive(Clone, Copy, Debug, Default)]
struct Spacing {
    /// Device time of the last one that has, and how many came since.
    from: Option<(i64, i64)>,
    /// Ticks from one frame to the next.
    step: Option<i64>,
}

impl Spacing {
    /// Takes the next frame, which lies at `raw`; `told`: because its time says so, or its packet's.
    fn next(mut self, raw: i64, told: bool) -> Spacing {
        match &mut self.from {
            Some((_, since)) if !told => *since += 1,
            None if !told => {}
            from => {
                let step = from.map_or(0, |(at, since)| (raw - at) / (since + 1));
                if (1..TICKS_PER_SECOND).contains(&step) {
                    self.step = Some(step);
                }
                *from = Some((raw, 0));
            }
        }
        self
    }
}

/// An order that the times may still have to follow.
#[derive(Clone, Copy, Debug)]
struct Ordered {
    /// Until when a jump is the ordered one.
    until: Instant,
    /// Where in the record it leads, in ticks.
    target: Option<i64>,
    /// Which tracks have not jumped.
    picture: bool,
    sound: bool,
}

impl Ordered {
    fn pending(&mut self, track: TrackId) -> &mut bool {
        match track {
            TrackId::Video => &mut self.picture,
            TrackId::Audio => &mut self.sound,
        }
    }
}

/// Of the pace at which pictures come.
#[derive(Clone, Copy, Debug)]
struct Measure {
    ordered: Instant,
    /// Device time when it was ordered, or where it was sent to.
    from: Option<i64>,
    /// Where the window began.
    began: Option<(Instant, i64)>,
}

/// The time line of one stream.
#[derive(Debug, Default)]
pub struct Timeline {
    picture: Option<Line>,
    sound: Option<Line>,
    jumps: u64,
    drift: Drift,
    pace: Pace,
    /// Thousandths by which times of the device are divided; 0 stands for 1,000.
    divisor: i64,
    ordered: Option<Ordered>,
    measure: Option<Measure>,
    /// Ticks into the record.
    position: i64,
    /// Ticks of a picture as its parameter sets have it.
    picture_ticks: Option<i64>,
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

    /// How the first times run; to be said before they come.
    pub fn begin(&mut self, pace: Pace) {
        self.pace = pace;
        if !pace.keep {
            self.divisor = i64::from(pace.milli.unsigned_abs());
        }
    }

    /// What the parameter sets say of the frame rate, in frames per 1,000 seconds. It counts where no times tell more.
    pub fn set_frame_rate(&mut self, fps_milli: Option<u32>) {
        let ticks = |fps| TICKS_PER_SECOND * 1_000 / i64::from(fps);
        self.picture_ticks = fps_milli.filter(|fps| *fps > 0).map(ticks);
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

    /// Ticks of the record up to the newest frame, from where it began to be played. At least 0.
    pub fn position(&self) -> i64 {
        self.position.max(0)
    }

    /// An order changed the pace, or the place if there is a `target` (ticks into the record), or lets it go on.
    pub fn set_pace(&mut self, now: Instant, pace: Pace, target: Option<i64>) {
        let turned = (self.pace.milli < 0) != (pace.milli < 0);
        self.rebase();
        let newest = self.newest().map(|line| line.raw);
        for line in [&mut self.picture, &mut self.sound].into_iter().flatten() {
            line.spacing.from = None;
            if turned {
                (line.raw, line.origin) = (-line.raw, -line.origin);
                // What lay far behind would lie as far ahead.
                if line.raw - line.origin > AHEAD_TICKS_MAX {
                    line.origin = line.raw;
                }
            }
        }
        self.pace = pace;
        self.divisor = if pace.keep {
            1_000
        } else {
            i64::from(pace.milli.unsigned_abs())
        };
        self.ordered = Some(Ordered {
            until: now + ORDER_WINDOW,
            target,
            picture: true,
            sound: true,
        });
        let paced = !pace.keep && pace.milli != 1_000;
        self.measure = paced.then_some(Measure {
            ordered: now,
            from: newest.map(|raw| if turned { -raw } else { raw }),
            began: None,
        });
        if let Some(target) = target {
            self.position = target;
        }
        self.drift.restart();
    }

    fn newest(&self) -> Option<Line> {
        let lines = [self.picture, self.sound].into_iter().flatten();
        lines.max_by_key(|line| line.dts)
    }

    /// Anchors both tracks at the newest frame, so that another pace counts from there on. Tracks on one base stay on one;
    /// one that counts on a base of its own is anchored at what its clock shows there.
    fn rebase(&mut self) {
        let Some(newest) = self.newest() else { return };
        let divisor = self.divisor();
        for line in [&mut self.picture, &mut self.sound].into_iter().flatten() {
            let joined = (line.origin, line.base) == (newest.origin, newest.base);
            line.origin = if joined {
                newest.raw
            } else {
                let behind = (newest.dts - line.dts).min(BEHIND_TICKS_MAX);
                line.raw + behind * divisor / 1_000
            };
            line.base = newest.dts;
        }
    }

    fn divisor(&self) -> i64 {
        if self.divisor == 0 {
            1_000
        } else {
            self.divisor
        }
    }

    /// Ticks of the stream for ticks of the device.
    fn paced(&self, device_ticks: i64) -> i64 {
        match self.divisor() {
            1_000 => device_ticks,
            divisor => device_ticks * 1_000 / divisor,
        }
    }

    /// A time as it runs forwards.
    fn forwards(&self, time: u64) -> u64 {
        if self.pace.milli < 0 {
            time.wrapping_neg() & ((1 << 33) - 1)
        } else {
            time
        }
    }

    /// Compares the pace at which pictures come with that of their times, and follows what is far from the order.
    fn measure(&mut self, received: Instant, raw: i64, last: Option<&Line>) {
        let Some(Measure {
            ordered,
            from,
            began,
        }) = &mut self.measure
        else {
            return;
        };
        let from = *from.get_or_insert(raw);
        let gap = last.is_some_and(|l| received.saturating_duration_since(l.received) > PACE_GAP);
        let settled = received.saturating_duration_since(*ordered) >= IN_FLIGHT;
        let Some((since, first)) = began.filter(|_| !gap) else {
            *began = settled.then_some((received, raw));
            return;
        };
        let passed = received.saturating_duration_since(since);
        if passed < PACE_WINDOW {
            return;
        }
        *began = Some((received, raw));
        let found = (raw - first) * 1_000 / ticks(passed).max(1);
        let now = self.divisor();
        if found > 0 && (found - now).abs() * 100 > now * PACE_TOLERANCE_PERCENT {
            self.rebase();
            let counted_anew = self.is_restamped();
            self.divisor = found.clamp(50, 64_000);
            // What was counted as the record's time so far was the clock's.
            if !counted_anew && self.is_restamped() {
                let milli = i64::from(self.pace.milli);
                self.position += (raw - from) * (milli - milli.signum() * 1_000) / 1_000;
            }
        }
    }

    /// The times run at the pace of the clock though another was ordered: the device stamps by its clock.
    fn is_restamped(&self) -> bool {
        (self.divisor() - 1_000).abs() * 100 <= 1_000 * PACE_TOLERANCE_PERCENT
    }

    /// The place in the record goes with the picture, and with the sound where there is none. A device whose times run at
    /// the pace of the clock stamps anew: there the ordered pace counts.
    fn advance(&mut self, track: TrackId, own: Option<&Line>, dts: i64) {
        if track == TrackId::Audio && self.picture.is_some() {
            return;
        }
        let Some(own) = own else { return };
        let divisor = self.divisor();
        let rate = match self.pace {
            Pace { keep: true, .. } => 1_000,
            Pace { milli, .. } if self.is_restamped() => i64::from(milli),
            Pace { milli, .. } => divisor * i64::from(milli.signum()),
        };
        self.position += (dts - own.dts) * rate / 1_000;
    }

    /// Gives a frame its decoding and presentation time. Decoding times of a track strictly grow.
    pub fn place(&mut self, track: TrackId, stamp: &Stamp) -> (MediaTime, MediaTime) {
        let stamp = &Stamp {
            pts: stamp.pts.map(|t| self.forwards(t)),
            dts: stamp.dts.map(|t| self.forwards(t)),
            ..*stamp
        };
        let own = *self.line(track);
        let other = *self.line(match track {
            TrackId::Video => TrackId::Audio,
            TrackId::Audio => TrackId::Video,
        });
        let stamped = stamp.dts.or(stamp.pts).is_some();
        let mut told = stamped;
        let (raw, origin, base) = match (own, stamp.dts.or(stamp.pts)) {
            (Some(own), Some(time)) => {
                match self.follow(&own, other.as_ref(), time, stamp, track) {
                    Some(raw) => (raw, own.origin, own.base),
                    None if self.awaits_jump(stamp.received, track) => {
                        self.jump_as_ordered(&own, other.as_ref(), time, stamp, track)
                    }
                    None => {
                        let (raw, origin, base, joined) =
                            anchor(Some(&own), other.as_ref(), time as i64, stamp);
                        // The second track only follows the first one's jump.
                        self.jumps += u64::from(!joined);
                        self.drift.restart();
                        (raw, origin, base)
                    }
                }
            }
            (Some(own), None) => {
                let (step, by_rtp) = missing(&own, stamp);
                told |= by_rtp;
                (own.raw + step, own.origin, own.base)
            }
            (None, Some(time)) => {
                let (raw, origin, base, _) = anchor(None, other.as_ref(), time as i64, stamp);
                (raw, origin, base)
            }
            (None, None) => match (&other, stamp.rtp) {
                // Sound without any time, beside a picture: it lies where it comes.
                (Some(other), _) => {
                    let elapsed = elapsed(other, stamp.received);
                    (other.raw + elapsed, other.origin, other.base)
                }
                (None, rtp) => {
                    let raw = i64::from(rtp.unwrap_or(0));
                    (raw, raw, START)
                }
            },
        };
        if stamped {
            self.drift.note(track, stamp.received, raw);
        }
        let mut dts = base + self.paced(raw - origin);
        if let Some(own) = &own {
            dts = dts.max(own.dts + 1);
        }
        let dts = dts.max(0);
        let offset = match (stamp.pts, stamp.dts) {
            (Some(pts), Some(dts)) => difference_33(dts, pts),
            (Some(_), None) | (None, Some(_)) | (None, None) => 0,
        };
        let offset = if self.pace.milli < 0 {
            0
        } else {
            self.paced(offset)
        };
        let pts = (dts + offset).clamp(dts, dts + PRESENTATION_TICKS_MAX);
        let spacing = match &own {
            // Behind a jump the step is none.
            Some(own) if own.origin != origin => Spacing {
                from: None,
                ..own.spacing
            },
            Some(own) => own.spacing,
            None => Spacing::default(),
        };
        let spacing = spacing.next(raw, told);
        let known = stamp.duration.or(spacing.step).or(self.picture_ticks);
        let duration = known.unwrap_or(PICTURE_TICKS);
        self.advance(track, own.as_ref(), dts);
        *self.line(track) = Some(Line {
            raw,
            origin,
            base,
            rtp: stamp.rtp,
            received: stamp.received,
            dts,
            duration,
            spacing,
        });
        if track == TrackId::Video {
            self.measure(stamp.received, raw, own.as_ref());
        }
        (MediaTime(dts), MediaTime(pts))
    }

    fn line(&mut self, track: TrackId) -> &mut Option<Line> {
        match track {
            TrackId::Video => &mut self.picture,
            TrackId::Audio => &mut self.sound,
        }
    }

    /// The unwrapped time, if it follows from the last one.
    fn follow(
        &self,
        own: &Line,
        other: Option<&Line>,
        time: u64,
        stamp: &Stamp,
        track: TrackId,
    ) -> Option<i64> {
        let times = (i64::from(self.pace.milli.unsigned_abs()) / 1_000).max(1);
        let awaits_jump = self.awaits_jump(stamp.received, track);
        let ahead = if self.pace.keep {
            (AHEAD_TICKS_MAX + elapsed(own, stamp.received)) * DOWNLOAD_STEP_FACTOR
        } else if awaits_jump {
            ORDERED_STEP_TICKS_MAX * times
        } else {
            (AHEAD_TICKS_MAX + elapsed(own, stamp.received)) * times
        };
        let way = step(own.raw, time, -BACK_TICKS_MAX..=ahead)?;
        // Sound that lies nearer to the new place of the picture than to its own old one has come there too.
        let picture = other.filter(|_| awaits_jump && track == TrackId::Audio);
        let there = picture.filter(|_| self.ordered.is_some_and(|o| !o.picture));
        let to_picture = there.and_then(|p| step(p.raw, time, -AHEAD_TICKS_MAX..=AHEAD_TICKS_MAX));
        if to_picture.is_some_and(|to| to.abs() < (way - own.duration).abs()) {
            return None;
        }
        Some(own.raw + way)
    }

    /// Whether a jump of a track is the one that was ordered.
    fn awaits_jump(&self, received: Instant, track: TrackId) -> bool {
        self.ordered
            .is_some_and(|mut ordered| received < ordered.until && *ordered.pending(track))
    }

    /// The times went where an order sent them: the frame follows the one before it, without a hole. The picture leads:
    /// sound that is there already comes onto its base, and sound that comes later joins it. Sound on a base of its own goes
    /// on by itself; if it rested while the picture ran, it lies where it comes.
    fn jump_as_ordered(
        &mut self,
        own: &Line,
        other: Option<&Line>,
        time: u64,
        stamp: &Stamp,
        track: TrackId,
    ) -> (i64, i64, i64) {
        let before = self.ordered;
        if let Some(ordered) = &mut self.ordered {
            *ordered.pending(track) = false;
        }
        let target = before.and_then(|ordered| ordered.target);
        let raw = time as i64;
        let follows = own.dts + self.paced(own.duration).max(1);
        let near = other.and_then(|other| {
            let way = step(other.raw, time, -AHEAD_TICKS_MAX..=AHEAD_TICKS_MAX)?;
            Some((other, way))
        });
        if track == TrackId::Video || other.is_none() {
            self.position = target.unwrap_or(self.position);
            if let Some(measure) = &mut self.measure {
                measure.began = None;
                measure.from = None;
            }
            let sound_is_there = before.is_some_and(|ordered| !ordered.sound);
            if let (Some((_, way)), Some(sound)) = (near, &mut self.sound)
                && sound_is_there
            {
                (sound.raw, sound.origin, sound.base) = (raw - way, raw, follows);
            }
            return (raw, raw, follows);
        }
        let rested = other.filter(|picture| has_rested(own, picture));
        // As long as the picture is to go elsewhere, a place near its old one says nothing.
        let picture_is_there = target.is_none() || before.is_some_and(|ordered| !ordered.picture);
        match near {
            Some((picture, way)) if picture_is_there || rested.is_some() => {
                (picture.raw + way, picture.origin, picture.base)
            }
            Some(_) | None => {
                let beside =
                    rested.map_or(0, |picture| picture.dts + elapsed(picture, stamp.received));
                (raw, raw, follows.max(beside))
            }
        }
    }
}

/// Where a first time, or one that jumped, lies: on the other track's base if it is near it, else where the wall clock
/// says. Gives unwrapped time, origin and base, and whether these are the other track's.
fn anchor(
    own: Option<&Line>,
    other: Option<&Line>,
    raw: i64,
    stamp: &Stamp,
) -> (i64, i64, i64, bool) {
    if let Some(other) = other {
        let near = AHEAD_TICKS_MAX + elapsed(other, stamp.received);
        if let Some(step) = step(other.raw, raw as u64, -near..=near) {
            return (other.raw + step, other.origin, other.base, true);
        }
    }
    let dts = match (own, other) {
        (Some(own), Some(other)) if has_rested(own, other) => {
            (other.dts + elapsed(other, stamp.received)).max(own.dts + own.duration)
        }
        (Some(own), _) => own.dts + elapsed(own, stamp.received).max(own.duration),
        (None, Some(other)) => other.dts + elapsed(other, stamp.received),
        (None, None) => START,
    };
    (raw, raw, dts, false)
}

/// Whether a track was silent while the other one went on.
fn has_rested(own: &Line, other: &Line) -> bool {
    elapsed(own, other.received) > RESTED_TICKS
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

/// How far a frame without time lies behind the one before, and whether RTP time says so.
fn missing(own: &Line, stamp: &Stamp) -> (i64, bool) {
    let by_rtp = match (own.rtp, stamp.rtp) {
        (Some(last), Some(now)) => i64::from(now.wrapping_sub(last) as i32),
        (Some(_), None) | (None, Some(_)) | (None, None) => 0,
    };
    let ahead = AHEAD_TICKS_MAX + elapsed(own, stamp.received);
    match stamp.duration {
        // Sound that follows without a gap is placed by its samples, which are exact.
        Some(_) if (by_rtp - own.duration).abs() <= BACK_TICKS_MAX => (own.duration, false),
        Some(_) | None if by_rtp > 0 && by_rtp <= ahead => (by_rtp, true),
        Some(_) | None => (own.duration, false),
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

    /// Steps of pictures of which only every `nth` has a time, or none has (0), with parameter sets that say `fps_milli`.
    fn filled(fps_milli: Option<u32>, nth: u64, step: u64) -> Vec<i64> {
        let mut d = Device::new();
        d.line.set_frame_rate(fps_milli);
        let times: Vec<i64> = (0..200u64)
            .map(|n| {
                let pts = nth != 0 && n % nth == 0;
                let ms = n * step / 90;
                d.at(TrackId::Video, ms, pts.then_some(n * step), Some(77))
            })
            .collect();
        assert_eq!(d.line.jumps(), 0);
        times.windows(2).map(|w| w[1] - w[0]).collect()
    }

    #[test]
    fn missing_times_are_filled_from_the_frame_rate() {
        for (fps_milli, step) in [
            (None, 3_600),
            (Some(25_000), 3_600),
            (Some(50_000), 1_800),
            (Some(12_500), 7_200),
            (Some(29_970), 3_003),
            (Some(0), 3_600),
        ] {
            let steps = filled(fps_milli, 0, 3_600);
            assert!(steps.iter().all(|s| *s == step), "{fps_milli:?}: {steps:?}");
            // Key frames with times, the others without: it fits at once where the rate is said.
            let steps = filled(fps_milli, 20, step as u64);
            assert!(steps.iter().all(|s| *s == step), "{fps_milli:?}: {steps:?}");
        }
        // Parameter sets that lie are found out by the first times that come.
        for lie in [Some(60_000), Some(15_000), None] {
            let steps = filled(lie, 10, 4_500);
            let settled = &steps[20..];
            assert!(settled.iter().all(|s| *s == 4_500), "{lie:?}: {steps:?}");
        }
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

    /// A recorder that plays 10 s of its record at `times` the speed, with the times of the record, or stamped by its
    /// clock: gives the times of the pictures on our line, in ms, and where it is in the record.
    fn recorded(ordered: f64, real: f64, restamps: bool) -> (Vec<i64>, i64) {
        let mut line = Timeline::new();
        let start = Instant::now();
        let mut at = Duration::ZERO;
        let mut times = Vec::new();
        for n in 0..25 * 40u64 {
            if n == 25 {
                let pace = Pace {
                    milli: (ordered * 1_000.0) as i32,
                    keep: false,
                };
                line.set_pace(start + at, pace, None);
            }
            let pts = if restamps {
                ticks(at) as u64
            } else {
                n * 3_600
            };
            let stamp = Stamp {
                pts: Some(7_000_000 + pts),
                dts: None,
                rtp: None,
                received: start + at,
                duration: None,
            };
            times.push(line.place(TrackId::Video, &stamp).0.as_ms());
            let step = if n < 25 { 1.0 } else { real };
            at += Duration::from_secs_f64(0.04 / step);
        }
        (times, line.position() / 90_000)
    }

    #[test]
    fn field_27_times_are_brought_to_the_pace_at_which_pictures_come() {
        for (ordered, real, restamps) in [
            (2.0, 2.0, false),
            (4.0, 4.0, false),
            (8.0, 8.0, false),
            (0.5, 0.5, false),
            (0.25, 0.25, false),
            // Stamps by its clock, and cannot do what it was ordered to.
            (4.0, 4.0, true),
            (4.0, 2.0, false),
        ] {
            let (times, position_s) = recorded(ordered, real, restamps);
            let what = format!("{ordered} {real} {restamps}");
            let step = 40.0 / real;
            // From where a device that does otherwise than ordered has been found out.
            let settled = 25 + (3.2 * 25.0 * real) as usize;
            for pair in times[settled..].windows(2) {
                let got = (pair[1] - pair[0]) as f64;
                assert!(
                    (got - step).abs() <= step * 0.16 + 1.0,
                    "{what}: {got} of {step}"
                );
            }
            assert!((38..=41).contains(&position_s), "{what}: at {position_s} s");
        }
    }

    #[test]
    fn a_place_that_was_ordered_leaves_no_hole_and_counts_from_there() {
        for seconds in [300u64, 3, 0] {
            let mut line = Timeline::new();
            let start = Instant::now();
            let place = |line: &mut Timeline, ms: u64, pts: u64| {
                let stamp = Stamp {
                    pts: Some(pts),
                    dts: None,
                    rtp: None,
                    received: start + Duration::from_millis(ms),
                    duration: None,
                };
                line.place(TrackId::Video, &stamp).0.0
            };
            for n in 0..50 {
                place(&mut line, n * 40, 900_000 + n * 3_600);
            }
            let target = seconds as i64 * 90_000;
            // One picture was under way, and it was paused for a minute.
            let before = place(&mut line, 2_000, 900_000 + 50 * 3_600);
            let ordered = start + Duration::from_millis(61_900);
            line.set_pace(ordered, Pace::NORMAL, Some(target));
            let after = place(&mut line, 62_000, 900_000 + seconds * 90_000);
            assert_eq!(after - before, 3_600, "to {seconds} s");
            place(&mut line, 62_040, 900_000 + seconds * 90_000 + 3_600);
            let position = line.position();
            assert!(
                (target..=target + 9_000).contains(&position),
                "{position} for {target}"
            );
            assert_eq!(line.jumps(), 0);
        }
    }

    /// A recorder with sound whose clock starts `apart` ticks from that of the picture: where both tracks lie on our line,
    /// in ticks, for a time of the record that leaves at a time of the wall clock.
    struct Recorder {
        line: Timeline,
        start: Instant,
        apart: u64,
    }

    impl Recorder {
        fn new(apart: u64) -> Recorder {
            Recorder {
                line: Timeline::new(),
                start: Instant::now(),
                apart,
            }
        }

        fn send(&mut self, track: TrackId, wall_ms: u64, record_ms: u64) -> i64 {
            let apart = if track == TrackId::Audio {
                self.apart
            } else {
                0
            };
            let stamp = Stamp {
                pts: Some(9_000_000 + apart + record_ms * 90),
                dts: None,
                rtp: None,
                received: self.start + Duration::from_millis(wall_ms),
                duration: (track == TrackId::Audio).then_some(3_600),
            };
            self.line.place(track, &stamp).0.0
        }

        /// Both tracks for so long from there; how far the sound lies behind its picture in the end, and the longest step.
        fn run(&mut self, wall_ms: u64, record_ms: u64, for_ms: u64) -> (i64, i64) {
            let (mut last, mut longest, mut apart) = (None, 0, 0);
            for at in (0..for_ms).step_by(40) {
                let picture = self.send(TrackId::Video, wall_ms + at, record_ms + at);
                let sound = self.send(TrackId::Audio, wall_ms + at + 1, record_ms + at);
                longest = longest.max(picture - last.replace(picture).unwrap_or(picture));
                apart = sound - picture;
            }
            (apart, longest)
        }

        fn order(&mut self, wall_ms: u64, milli: i32, target_ms: Option<u64>) {
            let target = target_ms.map(|ms| ms as i64 * 90);
            let pace = Pace { milli, keep: false };
            let now = self.start + Duration::from_millis(wall_ms);
            self.line.set_pace(now, pace, target);
        }
    }

    /// Clocks of sound and picture that start together, a little or hours apart.
    const APART: [u64; 3] = [0, 40 * 3_600 * 90_000, 700_000];

    #[test]
    fn sound_stays_with_its_picture_through_every_order() {
        for apart in APART {
            let mut r = Recorder::new(apart);
            let (began, _) = r.run(0, 0, 2_000);
            assert!(began.abs() < 200, "{apart}: {began}");
            // The same order again, as after a pause of half a minute.
            r.order(32_000, 1_000, None);
            let (held, longest) = r.run(32_000, 2_000, 2_000);
            assert!((held - began).abs() < 200, "{apart}, paused: {held}");
            assert_eq!(longest, 3_600, "{apart}");
            // On and back, further than a track may run by itself and less.
            let (mut wall, mut apart_now) = (34_000, held);
            for target in [600_000, 20_000, 21_000, 40_000, 39_000] {
                r.order(wall + 25_000, 1_000, Some(target));
                wall += 25_000;
                let last = r.line.picture.expect("it runs").dts;
                let first = r.send(TrackId::Video, wall, target);
                assert_eq!(first - last, 3_600, "{apart}: to {target}");
                let (now, longest) = r.run(wall + 40, target + 40, 7_000);
                assert!(
                    (now - apart_now).abs() < 400,
                    "{apart}: {now} after {target}"
                );
                assert_eq!(longest, 3_600, "{apart}: to {target}");
                (wall, apart_now) = (wall + 7_040, now);
            }
            assert_eq!(r.line.jumps(), 0, "{apart}");
        }
    }

    /// Most devices send no sound at other speeds: when it comes again it lies beside the picture.
    #[test]
    fn sound_that_rested_comes_back_beside_the_picture() {
        for (apart, off) in [(APART[0], 1), (APART[1], 4_000)] {
            for (speed, rested_ms) in [(4, 30_000u64), (8, 600), (2, 3_000)] {
                let mut r = Recorder::new(apart);
                r.run(0, 0, 2_000);
                r.order(2_000, speed * 1_000, None);
                let speed = speed as u64;
                for n in 0..rested_ms * speed / 40 {
                    r.send(TrackId::Video, 2_000 + n * 40 / speed, 2_000 + n * 40);
                }
                let (wall, record) = (2_000 + rested_ms, 2_000 + rested_ms * speed);
                r.order(wall, 1_000, None);
                let (now, _) = r.run(wall, record, 8_000);
                // By a clock of its own nothing tells how far it is from the picture but when it comes.
                let most = if apart == 0 || rested_ms > 1_000 {
                    off
                } else {
                    90_000
                };
                assert!(now.abs() <= most, "{apart}, {speed}: {now}");
                assert_eq!(r.line.jumps(), 0);
            }
        }
    }

    #[test]
    fn sound_that_is_first_at_a_new_place_is_joined_by_the_picture() {
        for target in [700_000, 3_000, 1_000] {
            let mut r = Recorder::new(0);
            r.run(0, 0, 2_000);
            r.order(2_000, 1_000, Some(target));
            let mut last = r.line.sound.expect("it runs").dts;
            for n in 0..3 {
                let sound = r.send(TrackId::Audio, 2_000 + n * 40, target + n * 40);
                assert!(
                    sound > last && sound - last < 9_000,
                    "{target}: {}",
                    sound - last
                );
                last = sound;
            }
            let (now, longest) = r.run(2_120, target, 6_000);
            assert!(now.abs() < 400, "{target}: {now}");
            assert!(longest <= 3_600, "{target}: {longest}");
        }
    }

    #[test]
    fn backwards_runs_forwards_on_our_line() {
        let mut line = Timeline::new();
        let start = Instant::now();
        let mut last = -1;
        for n in 0..100u64 {
            let at = start + Duration::from_millis(n * 40);
            if n == 50 {
                let pace = Pace {
                    milli: -2_000,
                    keep: false,
                };
                line.set_pace(at, pace, None);
            }
            // Key frames only, one a second of the record, half a second apart.
            if n >= 50 && (n - 50) % 12 != 0 {
                continue;
            }
            let turn = 9_000_000 + 50 * 3_600;
            let pts = if n < 50 {
                9_000_000 + n * 3_600
            } else {
                turn - (n - 50) * 7_200
            };
            let stamp = Stamp {
                pts: Some(pts),
                dts: None,
                rtp: None,
                received: at,
                duration: None,
            };
            let time = line.place(TrackId::Video, &stamp).0.0;
            assert!(time > last);
            assert!(time - last < 90_000, "picture {n}: {}", time - last);
            last = time;
        }
        assert!(line.position() < 100_000, "{}", line.position());
    }

    /// Far faster than real time, with key frames seconds apart: no jump, and the times stay those of the record.
    #[test]
    fn field_31_a_fast_download_is_no_jump() {
        let mut line = Timeline::new();
        line.begin(Pace {
            milli: 4_000,
            keep: true,
        });
        let start = Instant::now();
        let mut last = None;
        for n in 0..500u64 {
            let stamp = Stamp {
                pts: Some(n * 360_000),
                dts: None,
                rtp: None,
                received: start + Duration::from_millis(n),
                duration: None,
            };
            let time = line.place(TrackId::Video, &stamp).0.0;
            if let Some(last) = last {
                assert_eq!(time - last, 360_000);
            }
            last = Some(time);
        }
        assert_eq!(line.jumps(), 0);
        assert_eq!(line.position() / 90_000, 499 * 4);
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
