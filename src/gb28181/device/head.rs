//! Where a simulated camera looks: a pure function of the orders it got and of the time.

use std::time::{Duration, Instant};

use crate::gb28181::notice::PtzPosition;
use crate::gb28181::ptz::{Focus, Iris, Lens, Move, Pan, Tilt, Zoom};

/// Degrees a second at full speed, and what zoom gains.
const PAN_PER_S: f64 = 100.0;
const TILT_PER_S: f64 = 60.0;
const ZOOM_PER_S: f64 = 8.0;
/// Share of its way that focus and iris go in a second at full speed.
const LENS_PER_S: f64 = 1.0;
const TILT_MIN: f64 = -30.0;
const TILT_MAX: f64 = 90.0;
const ZOOM_MAX: f64 = 32.0;
/// The way to a preset takes as long wherever it is.
pub const TRAVEL: Duration = Duration::from_secs(2);

/// Degrees and times of zoom.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Place {
    pub pan: f64,
    pub tilt: f64,
    pub zoom: f64,
}

impl Place {
    fn towards(self, to: Place, share: f64) -> Place {
        let share = share.clamp(0.0, 1.0);
        let mix = |a: f64, b: f64| a + (b - a) * share;
        // The short way round.
        let turn = (to.pan - self.pan + 540.0).rem_euclid(360.0) - 180.0;
        Place {
            pan: (self.pan + turn * share).rem_euclid(360.0),
            tilt: mix(self.tilt, to.tilt),
            zoom: mix(self.zoom, to.zoom),
        }
    }
}

impl From<Place> for PtzPosition {
    fn from(place: Place) -> PtzPosition {
        let rounded = |value: f64| Some((value * 100.0).round() / 100.0);
        PtzPosition {
            pan: rounded(place.pan),
            tilt: rounded(place.tilt),
            zoom: rounded(place.zoom),
            ..PtzPosition::default()
        }
    }
}

#[derive(Clone, Debug)]
enum Motion {
    Still,
    Turning(Move),
    Going {
        to: Place,
    },
    /// Points one after the other, with a stay at each.
    Cruising {
        points: Vec<Place>,
        stay: Duration,
    },
    /// Between two pans and back.
    Scanning {
        left: f64,
        right: f64,
        per_s: f64,
    },
}

#[derive(Clone, Debug)]
pub struct Head {
    /// Where it was when the motion began.
    from: Place,
    since: Instant,
    motion: Motion,
    lens: Lens,
    lens_since: Instant,
    /// 0 near, 1 far.
    focus: f64,
    /// 0 closed, 1 open.
    iris: f64,
}

impl Head {
    pub fn new(now: Instant) -> Head {
        Head {
            from: Place {
                pan: 0.0,
                tilt: 0.0,
                zoom: 1.0,
            },
            since: now,
            motion: Motion::Still,
            lens: Lens::default(),
            lens_since: now,
            focus: 0.5,
            iris: 0.5,
        }
    }

    /// Where it looks.
    pub fn at(&self, now: Instant) -> Place {
        let t = now.saturating_duration_since(self.since).as_secs_f64();
        let from = self.from;
        match &self.motion {
            Motion::Still => from,
            Motion::Going { to } => from.towards(*to, t / TRAVEL.as_secs_f64()),
            Motion::Turning(m) => turned(from, m, t),
            Motion::Cruising { points, stay } => cruised(from, points, *stay, t),
            Motion::Scanning { left, right, per_s } => {
                let width = (right - left).rem_euclid(360.0).max(1.0);
                let way = (t * per_s).rem_euclid(2.0 * width);
                let off = if way <= width { way } else { 2.0 * width - way };
                Place {
                    pan: (left + off).rem_euclid(360.0),
                    ..from
                }
            }
        }
    }

    pub fn is_moving(&self, now: Instant) -> bool {
        match &self.motion {
            Motion::Still => false,
            Motion::Going { .. } => now.saturating_duration_since(self.since) < TRAVEL,
            Motion::Turning(m) => m.pan.is_some() || m.tilt.is_some() || m.zoom.is_some(),
            Motion::Cruising { .. } | Motion::Scanning { .. } => true,
        }
    }

    /// Focus and iris, each from 0 to 1.
    pub fn lens_at(&self, now: Instant) -> (f64, f64) {
        let t = now.saturating_duration_since(self.lens_since).as_secs_f64();
        let way = |speed: u8| f64::from(speed) / 255.0 * LENS_PER_S * t;
        let focus = match self.lens.focus {
            Some(Focus::Far) => self.focus + way(self.lens.focus_speed),
            Some(Focus::Near) => self.focus - way(self.lens.focus_speed),
            None => self.focus,
        };
        let iris = match self.lens.iris {
            Some(Iris::Open) => self.iris + way(self.lens.iris_speed),
            Some(Iris::Close) => self.iris - way(self.lens.iris_speed),
            None => self.iris,
        };
        (focus.clamp(0.0, 1.0), iris.clamp(0.0, 1.0))
    }

    pub fn turn(&mut self, now: Instant, order: Move) {
        self.begin(now, Motion::Turning(order));
    }

    pub fn set_lens(&mut self, now: Instant, lens: Lens) {
        (self.focus, self.iris) = self.lens_at(now);
        self.lens = lens;
        self.lens_since = now;
    }

    pub fn go(&mut self, now: Instant, to: Place) {
        let to = Place {
            pan: to.pan.rem_euclid(360.0),
            tilt: to.tilt.clamp(TILT_MIN, TILT_MAX),
            zoom: to.zoom.clamp(1.0, ZOOM_MAX),
        };
        self.begin(now, Motion::Going { to });
    }

    pub fn cruise(&mut self, now: Instant, points: Vec<Place>, stay: Duration) {
        self.begin(now, Motion::Cruising { points, stay });
    }

    pub fn scan(&mut self, now: Instant, left: f64, right: f64, per_s: f64) {
        self.begin(now, Motion::Scanning { left, right, per_s });
    }

    fn begin(&mut self, now: Instant, motion: Motion) {
        self.from = self.at(now);
        self.since = now;
        self.motion = motion;
    }
}

fn turned(from: Place, m: &Move, t: f64) -> Place {
    let share = |speed: u8| f64::from(speed) / 255.0;
    let pan = match m.pan {
        Some(Pan::Right) => from.pan + share(m.pan_speed) * PAN_PER_S * t,
        Some(Pan::Left) => from.pan - share(m.pan_speed) * PAN_PER_S * t,
        None => from.pan,
    };
    let tilt = match m.tilt {
        Some(Tilt::Up) => from.tilt + share(m.tilt_speed) * TILT_PER_S * t,
        Some(Tilt::Down) => from.tilt - share(m.tilt_speed) * TILT_PER_S * t,
        None => from.tilt,
    };
    let zoom_way = f64::from(m.zoom_speed) / 15.0 * ZOOM_PER_S * t;
    let zoom = match m.zoom {
        Some(Zoom::In) => from.zoom + zoom_way,
        Some(Zoom::Out) => from.zoom - zoom_way,
        None => from.zoom,
    };
    Place {
        pan: pan.rem_euclid(360.0),
        tilt: tilt.clamp(TILT_MIN, TILT_MAX),
        zoom: zoom.clamp(1.0, ZOOM_MAX),
    }
}

fn cruised(from: Place, points: &[Place], stay: Duration, t: f64) -> Place {
    let travel = TRAVEL.as_secs_f64();
    let period = travel + stay.as_secs_f64();
    let leg = (t / period) as usize;
    let Some(to) = points.get(leg % points.len().max(1)) else {
        return from;
    };
    let start = match leg.checked_sub(1) {
        None => from,
        Some(before) => points[before % points.len()],
    };
    start.towards(*to, (t - leg as f64 * period) / travel)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_moves_while_it_is_told_to() {
        let now = Instant::now();
        let s = Duration::from_secs(1);
        let mut head = Head::new(now);
        head.turn(
            now,
            Move {
                pan: Some(Pan::Left),
                tilt: Some(Tilt::Up),
                zoom: Some(Zoom::In),
                pan_speed: 255,
                tilt_speed: 255,
                zoom_speed: 15,
            },
        );
        let place = head.at(now + s);
        assert_eq!((place.pan, place.tilt, place.zoom), (260.0, 60.0, 9.0));
        assert_eq!(head.at(now + 9 * s).tilt, TILT_MAX);
        head.turn(now + s, Move::default());
        assert_eq!(head.at(now + 9 * s), place);
        assert!(!head.is_moving(now + 9 * s));
    }

    #[test]
    fn a_cruise_goes_round_and_a_scan_to_and_fro() {
        let now = Instant::now();
        let s = Duration::from_secs(1);
        let place = |pan| Place {
            pan,
            tilt: 0.0,
            zoom: 1.0,
        };
        let mut head = Head::new(now);
        head.cruise(now, vec![place(10.0), place(350.0)], 3 * s);
        let pan = |head: &Head, t| head.at(now + t * s).pan.round();
        assert_eq!(
            [1, 2, 4, 6, 7, 9, 11, 12].map(|t| pan(&head, t)),
            [5.0, 10.0, 10.0, 0.0, 350.0, 350.0, 0.0, 10.0]
        );
        head.scan(now + 12 * s, 0.0, 20.0, 10.0);
        assert_eq!(
            [13, 14, 15, 16].map(|t| pan(&head, t)),
            [10.0, 20.0, 10.0, 0.0]
        );
    }
}
