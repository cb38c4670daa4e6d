//! What a simulated camera remembers, and what orders do to it.
//!
//! Bounds: presets 255 and cruises 256 by their numbers, points of a cruise [`CRUISE_POINTS_MAX`].

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::head::{Head, Place};
use crate::gb28181::answer::{CruiseDetail, CruisePoint, CruiseTrack, Preset};
use crate::gb28181::control::{Control, HomePosition, PtzPrecise, Tracking};
use crate::gb28181::ptz::{CruiseOrder, PresetOrder, Ptz, ScanOrder};
use crate::gb28181::settings::{
    AlarmReport, BasicParam, ConfigType, DaySchedule, Mirror, OsdConfig, PictureMask, Settings,
    StreamParam, TimeSegment, VideoAlarmRecord, VideoParamAttribute, VideoParamOpt,
    VideoRecordPlan,
};

/// Points of one cruise; bvcsp has 32. At it: the order changes nothing.
pub const CRUISE_POINTS_MAX: usize = 32;
/// Seconds at a point of a cruise that nobody set.
const STAY_S: u16 = 5;

struct Point {
    name: Option<String>,
    place: Place,
}

#[derive(Default)]
struct Cruise {
    name: Option<String>,
    points: Vec<u8>,
    speed: Option<u16>,
    stay_s: Option<u16>,
}

#[derive(Clone, Copy, Default)]
struct Scan {
    left: f64,
    right: f64,
    speed: u16,
}

/// One camera of a device.
pub struct Camera {
    head: Head,
    presets: BTreeMap<u8, Point>,
    cruises: BTreeMap<u8, Cruise>,
    scans: BTreeMap<u8, Scan>,
    home: HomePosition,
    /// When the last order came that a head obeys.
    ordered: Instant,
    settings: BTreeMap<ConfigType, Settings>,
    pub switches: BTreeSet<u8>,
    pub recording: bool,
    pub tracking: bool,
    pub key_frames: u32,
}

/// What a camera comes with: every type but that of an order for pictures, and SVAC, which it does not have.
fn usual() -> BTreeMap<ConfigType, Settings> {
    let stream = |stream_number, resolution: &str, kbps: &str| StreamParam {
        stream_number,
        video_format: "2".into(),
        resolution: resolution.into(),
        frame_rate: "25".into(),
        bit_rate_type: "2".into(),
        video_bit_rate: Some(kbps.into()),
    };
    let all_day = |week_day_num| DaySchedule {
        week_day_num,
        segments: vec![TimeSegment {
            stop_hour: 23,
            stop_min: 59,
            stop_sec: 59,
            ..TimeSegment::default()
        }],
    };
    let all = [
        Settings::Basic(BasicParam {
            name: Some("Camera".into()),
            expiration: Some(3_600),
            heart_beat_interval: Some(60),
            heart_beat_count: Some(3),
        }),
        Settings::VideoOptions(VideoParamOpt {
            download_speed: Some("1/2/4".into()),
            resolution: Some("4/5/6".into()),
        }),
        Settings::VideoAttributes(VideoParamAttribute {
            streams: vec![stream(0, "6", "4096"), stream(1, "4", "512")],
        }),
        Settings::RecordPlan(VideoRecordPlan {
            record_enable: 1,
            days: (1..=7).map(all_day).collect(),
            stream_number: 0,
        }),
        Settings::AlarmRecord(VideoAlarmRecord {
            record_enable: 0,
            record_time: Some(60),
            pre_record_time: Some(10),
            stream_number: 0,
        }),
        Settings::PictureMask(PictureMask::default()),
        Settings::FrameMirror(Mirror::default()),
        Settings::AlarmReport(AlarmReport {
            motion_detection: 0,
            field_detection: 0,
        }),
        Settings::Osd(OsdConfig {
            length: 1920,
            width: 1080,
            time_x: 32,
            time_y: 32,
            time_enable: Some(1),
            time_type: Some(0),
            text_enable: Some(0),
            texts: Vec::new(),
        }),
    ];
    all.into_iter().map(|one| (one.kind(), one)).collect()
}

impl Camera {
    pub fn new(now: Instant) -> Camera {
        Camera {
            head: Head::new(now),
            presets: BTreeMap::new(),
            cruises: BTreeMap::new(),
            scans: BTreeMap::new(),
            home: HomePosition::default(),
            ordered: now,
            settings: usual(),
            switches: BTreeSet::new(),
            recording: false,
            tracking: false,
            key_frames: 0,
        }
    }

    /// Where it looks. A camera with a home returns to it when nobody has ordered anything for long enough.
    pub fn look(&mut self, now: Instant) -> Place {
        self.return_home(now);
        self.head.at(now)
    }

    pub fn is_moving(&mut self, now: Instant) -> bool {
        self.return_home(now);
        self.head.is_moving(now)
    }

    /// Focus and iris, each from 0 to 1.
    pub fn lens(&self, now: Instant) -> (f64, f64) {
        self.head.lens_at(now)
    }

    pub fn home(&self) -> &HomePosition {
        &self.home
    }

    pub fn presets(&self) -> Vec<Preset> {
        let all = self.presets.iter();
        all.map(|(number, point)| Preset {
            preset_id: u32::from(*number),
            preset_name: point.name.clone(),
        })
        .collect()
    }

    pub fn cruises(&self) -> Vec<CruiseTrack> {
        let all = self.cruises.iter();
        all.map(|(number, cruise)| CruiseTrack {
            number: u32::from(*number),
            name: cruise.name.clone(),
        })
        .collect()
    }

    pub fn cruise(&self, number: u32) -> Option<CruiseDetail> {
        let key = u8::try_from(number).ok()?;
        let cruise = self.cruises.get(&key)?;
        let points = cruise.points.iter().map(|preset| CruisePoint {
            preset_index: u32::from(*preset),
            stay_time: Some(u32::from(cruise.stay_s.unwrap_or(STAY_S))),
            speed: cruise.speed.map(u32::from),
        });
        Some(CruiseDetail {
            number,
            name: cruise.name.clone(),
            points: points.collect(),
        })
    }

    pub fn set(&mut self, settings: Settings) {
        self.settings.insert(settings.kind(), settings);
    }

    /// What it has of these types: what was set, or else what it came with.
    pub fn settings(&self, kinds: &[ConfigType]) -> Vec<Settings> {
        let found = kinds.iter().filter_map(|kind| self.settings.get(kind));
        found.cloned().collect()
    }

    /// Obeys an order that concerns one camera. False: it cannot.
    pub fn obey(&mut self, now: Instant, control: &Control) -> bool {
        match control {
            Control::Ptz {
                order,
                preset_name,
                cruise_name,
            } => {
                self.return_home(now);
                self.ordered = now;
                return self.steer(now, *order, preset_name, cruise_name);
            }
            Control::PtzPrecise(to) => self.go_precisely(now, to),
            Control::HomePosition(home) => {
                self.home = home.clone();
                self.ordered = now;
            }
            Control::Record { start, .. } => self.recording = *start,
            Control::KeyFrame => self.key_frames += 1,
            Control::TargetTrack { mode, .. } => self.tracking = *mode != Tracking::Stop,
            Control::DragZoom { closer, area } => {
                let place = self.look(now);
                let times = f64::from(area.length) / f64::from(area.length_x.max(1));
                let zoom = if *closer {
                    place.zoom * times
                } else {
                    place.zoom / times
                };
                self.ordered = now;
                self.head.go(now, Place { zoom, ..place });
            }
            Control::TeleBoot
            | Control::Guard { .. }
            | Control::ResetAlarm { .. }
            | Control::Upgrade(_)
            | Control::FormatSdCard { .. } => return false,
        }
        true
    }

    fn return_home(&mut self, now: Instant) {
        let (1, Some(after)) = (self.home.enabled, self.home.reset_time) else {
            return;
        };
        let due = self.ordered + Duration::from_secs(u64::from(after));
        let preset = self.home.preset_index.and_then(|n| u8::try_from(n).ok());
        if now < due {
            return;
        }
        if let Some(point) = preset.and_then(|n| self.presets.get(&n)) {
            self.head.go(due, point.place);
            // Not again before somebody orders something.
            self.ordered = now + Duration::from_secs(365 * 86_400);
        }
    }

    fn go_precisely(&mut self, now: Instant, to: &PtzPrecise) {
        let place = self.look(now);
        self.ordered = now;
        self.head.go(
            now,
            Place {
                pan: to.pan.unwrap_or(place.pan),
                tilt: to.tilt.unwrap_or(place.tilt),
                zoom: to.zoom.unwrap_or(place.zoom),
            },
        );
    }

    fn steer(
        &mut self,
        now: Instant,
        order: Ptz,
        preset_name: &Option<String>,
        cruise_name: &Option<String>,
    ) -> bool {
        match order {
            Ptz::Move(order) => self.head.turn(now, order),
            Ptz::Lens(lens) => self.head.set_lens(now, lens),
            Ptz::Preset { number: 0, .. } => return false,
            Ptz::Preset { order, number } => match order {
                PresetOrder::Set => {
                    let place = self.head.at(now);
                    let name = preset_name.clone();
                    self.presets.insert(number, Point { name, place });
                }
                PresetOrder::Go => match self.presets.get(&number) {
                    Some(point) => self.head.go(now, point.place),
                    None => return false,
                },
                PresetOrder::Delete => return self.presets.remove(&number).is_some(),
            },
            Ptz::Cruise { cruise, order } => {
                return self.steer_cruise(now, cruise, order, cruise_name);
            }
            Ptz::Scan { scan, order } => self.steer_scan(now, scan, order),
            Ptz::Auxiliary { number, on } => {
                if on {
                    self.switches.insert(number);
                } else {
                    self.switches.remove(&number);
                }
            }
        }
        true
    }

    fn steer_cruise(
        &mut self,
        now: Instant,
        number: u8,
        order: CruiseOrder,
        name: &Option<String>,
    ) -> bool {
        match order {
            CruiseOrder::Remove { preset: 0 } => return self.cruises.remove(&number).is_some(),
            CruiseOrder::Start => {
                let Some(cruise) = self.cruises.get(&number) else {
                    return false;
                };
                let points = cruise.points.iter();
                let places: Vec<Place> = points
                    .filter_map(|preset| self.presets.get(preset))
                    .map(|point| point.place)
                    .collect();
                if places.is_empty() {
                    return false;
                }
                let stay = Duration::from_secs(u64::from(cruise.stay_s.unwrap_or(STAY_S)));
                self.head.cruise(now, places, stay);
                return true;
            }
            CruiseOrder::Add { .. }
            | CruiseOrder::Remove { .. }
            | CruiseOrder::Speed(_)
            | CruiseOrder::Dwell(_) => {}
        }
        let cruise = self.cruises.entry(number).or_default();
        cruise.name = name.clone().or(cruise.name.take());
        match order {
            CruiseOrder::Add { preset } if cruise.points.len() < CRUISE_POINTS_MAX => {
                cruise.points.push(preset);
            }
            CruiseOrder::Add { .. } => return false,
            CruiseOrder::Remove { preset } => cruise.points.retain(|point| *point != preset),
            CruiseOrder::Speed(speed) => cruise.speed = Some(speed),
            CruiseOrder::Dwell(seconds) => cruise.stay_s = Some(seconds),
            CruiseOrder::Start => {}
        }
        true
    }

    fn steer_scan(&mut self, now: Instant, number: u8, order: ScanOrder) {
        let pan = self.head.at(now).pan;
        let scan = self.scans.entry(number).or_default();
        match order {
            ScanOrder::LeftEdge => scan.left = pan,
            ScanOrder::RightEdge => scan.right = pan,
            ScanOrder::Speed(speed) => scan.speed = speed,
            ScanOrder::Start => {
                let scan = *scan;
                let per_s = f64::from(scan.speed.max(1)) / 4095.0 * 100.0;
                self.head.scan(now, scan.left, scan.right, per_s);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_camera_comes_with_a_configuration_of_the_standard() {
        let now = Instant::now();
        let mut camera = Camera::new(now);
        let came = camera.settings(ConfigType::ALL);
        for one in &came {
            assert_eq!(one.check(), Ok(()), "{:?}", one.kind());
        }
        let without = [
            ConfigType::SvacEncode,
            ConfigType::SvacDecode,
            ConfigType::SnapShot,
        ];
        assert_eq!(came.len() + without.len(), ConfigType::ALL.len());
        assert!(camera.settings(&without).is_empty());
        camera.set(Settings::FrameMirror(Mirror { mode: 3 }));
        let mirror = camera.settings(&[ConfigType::FrameMirror]);
        assert_eq!(mirror, [Settings::FrameMirror(Mirror { mode: 3 })]);
    }
}
