//! The time line of a stream under any sequence of frames, jumps of the device's clock, pauses and orders.

use std::time::{Duration, Instant};

use super::Script;
use crate::media::frame::TrackId;
use crate::media::timeline::{Pace, Stamp, Timeline};
use crate::time::{TICKS_PER_SECOND, ticks};

/// It has nothing that could grow.
const _: () = assert!(!std::mem::needs_drop::<Timeline>());

/// How much a frame of a live stream may run ahead of those before it, beside the time that passed: what the time line
/// takes for a step, and the longest piece of sound.
const AHEAD_TICKS_MAX: i64 = 3 * TICKS_PER_SECOND;
const PRESENTATION_TICKS_MAX: i64 = 5 * TICKS_PER_SECOND;
const PACES: [i32; 10] = [
    1_000, 2_000, 4_000, 16_000, 500, 250, 64_000, -1_000, -4_000, 1,
];

/// A device and what was made of its times.
struct Device<'a> {
    script: Script<'a>,
    line: Timeline,
    start: Instant,
    now: Instant,
    /// What its clock shows, by track: 33 bits of 1/90,000 s.
    clocks: [u64; 2],
    last: [Option<i64>; 2],
    frames: u64,
    /// No order was given: its times run as ours do.
    is_live: bool,
}

impl Device<'_> {
    fn pace(&mut self) -> Pace {
        Pace {
            milli: self.script.pick(&PACES).unwrap_or(1_000),
            keep: self.script.chance(4),
        }
    }

    fn order(&mut self) {
        let pace = self.pace();
        let target = self
            .script
            .chance(2)
            .then(|| i64::from(self.script.word()) * 90_000);
        self.line.set_pace(self.now, pace, target);
        self.is_live = false;
    }

    fn frame(&mut self) {
        let sound = self.script.chance(3);
        let (n, track) = if sound {
            (1, TrackId::Audio)
        } else {
            (0, TrackId::Video)
        };
        let kind = self.script.byte();
        let time = self.clocks[n] & ((1 << 33) - 1);
        let later = time.wrapping_add(u64::from(kind >> 4) * 3_600) & ((1 << 33) - 1);
        let stamp = Stamp {
            pts: (kind & 1 == 0).then_some(later),
            dts: (kind & 2 == 0).then_some(time),
            rtp: (kind & 4 == 0).then_some(time as u32),
            received: self.now,
            duration: sound.then(|| 1 + i64::from(self.script.byte()) * 300),
        };
        let (dts, pts) = self.line.place(track, &stamp);
        self.frames += 1;
        assert!(dts.0 >= 0);
        assert!((dts.0..=dts.0 + PRESENTATION_TICKS_MAX).contains(&pts.0));
        assert!(
            self.last[n].is_none_or(|last| dts.0 > last),
            "{dts:?} after {:?}",
            self.last[n]
        );
        self.last[n] = Some(dts.0);
        if self.is_live {
            let passed = ticks(self.now.saturating_duration_since(self.start));
            let most = TICKS_PER_SECOND + passed + self.frames as i64 * AHEAD_TICKS_MAX;
            assert!(dts.0 <= most, "{dts:?} is far ahead of {most}");
        }
    }
}

/// Decoding times grow and never lie far ahead of the clock, presentation follows within its bound, and what is counted and
/// measured stays in its limits.
pub fn timeline(data: &[u8]) {
    let mut script = Script::new(data);
    let start = Instant::now();
    let first = u64::from(script.word()) << 17;
    let mut device = Device {
        clocks: [first, if script.chance(2) { first } else { 0 }],
        script,
        line: Timeline::new(),
        start,
        now: start,
        last: [None; 2],
        frames: 0,
        is_live: true,
    };
    if device.script.chance(4) {
        let pace = device.pace();
        device.line.begin(pace);
        device.is_live = pace == Pace::NORMAL;
    }
    while !device.script.is_over() {
        let op = device.script.byte();
        let step = u64::from(op >> 3);
        match op % 8 {
            0..4 => {
                device.now += Duration::from_millis(step * 5);
                for clock in &mut device.clocks {
                    *clock = clock.wrapping_add(step * 450);
                }
            }
            4 => device.clocks[usize::from(op >> 7)] = u64::from(device.script.word()) << 17,
            5 => device.clocks[usize::from(op >> 7)] ^= 1 << (op >> 3 & 0xf),
            6 => device.now += Duration::from_millis(u64::from(device.script.word())),
            _ => device.order(),
        }
        device.frame();
        assert!(device.line.jumps() <= device.frames);
        assert!(device.line.position() >= 0);
        let drift = device.line.drift_ppm();
        assert!(drift.is_none_or(|ppm| ppm.abs() <= 1_000_000));
    }
}
