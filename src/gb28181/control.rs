//! DeviceControl: orders to a device (GB/T 28181-2016, 9.3 and A.2.3; 2022, A.2.3.1).
//!
//! | order | element | since | answered |
//! |---|---|---|---|
//! | [`Control::Ptz`] | `PTZCmd` | 2011 | no |
//! | [`Control::TeleBoot`] | `TeleBoot` | 2011 | no |
//! | [`Control::Record`] | `RecordCmd` | 2011 | yes |
//! | [`Control::Guard`] | `GuardCmd` | 2011 | yes |
//! | [`Control::ResetAlarm`] | `AlarmCmd` | 2011 | yes |
//! | [`Control::KeyFrame`] | `IFameCmd` in 2016, as printed there; `IFrameCmd` in 2022 | 2016 | no |
//! | [`Control::DragZoom`] | `DragZoomIn`, `DragZoomOut` | 2016 | no |
//! | [`Control::HomePosition`] | `HomePosition` | 2016 | yes |
//! | [`Control::PtzPrecise`] | `PTZPreciseCtrl` | 2022 | no |
//! | [`Control::Upgrade`] | `DeviceUpgrade` | 2022 | yes |
//! | [`Control::FormatSdCard`] | `FormatSDCard` | 2022 | no |
//! | [`Control::TargetTrack`] | `TargetTrack` | 2022 | no |
//!
//! An order that is answered has `Result` OK or ERROR in a message of its own; one that is not is done with the 200 OK.

use super::edition::Edition;
use super::manscdp::encode::element;
use super::manscdp::fields::{BadField, Flaw, Group, Leaf, Record, record};
use super::manscdp::tree::Element;
use super::ptz::Ptz;
use crate::id::GbId;

/// One order.
#[derive(Clone, Debug, PartialEq)]
pub enum Control {
    Ptz {
        order: Ptz,
        /// 2022: names a preset that is set.
        preset_name: Option<String>,
        /// 2022: names a cruise that is made.
        cruise_name: Option<String>,
    },
    /// Starts the device anew.
    TeleBoot,
    Record {
        start: bool,
        /// 2022: 0 the main stream, 1 the first sub-stream, and so on.
        stream: Option<u32>,
    },
    Guard {
        set: bool,
    },
    ResetAlarm {
        /// Methods, as numbers with `/` between; none is all.
        method: Option<String>,
        /// Types, likewise.
        kind: Option<String>,
    },
    KeyFrame,
    DragZoom {
        closer: bool,
        area: Area,
    },
    HomePosition(HomePosition),
    PtzPrecise(PtzPrecise),
    Upgrade(Upgrade),
    /// Counts from 1; 0 is all cards.
    FormatSdCard {
        card: u32,
    },
    TargetTrack {
        mode: Tracking,
        /// The channel with the panorama on which the area was marked.
        panorama: Option<GbId>,
        area: Option<Area>,
    },
}

/// How a dome follows what moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tracking {
    Auto,
    Manual,
    Stop,
}

impl Tracking {
    const ALL: [Tracking; 3] = [Tracking::Auto, Tracking::Manual, Tracking::Stop];

    pub fn name(self) -> &'static str {
        match self {
            Tracking::Auto => "Auto",
            Tracking::Manual => "Manual",
            Tracking::Stop => "Stop",
        }
    }

    pub fn from_name(name: &str) -> Option<Tracking> {
        Tracking::ALL
            .into_iter()
            .find(|mode| mode.name().eq_ignore_ascii_case(name))
    }
}

record! {
    /// An area marked on a picture, in pixels of the window that shows it; the origin is the upper left corner.
    pub struct Area {
        /// Width of the window.
        pub length: u32 = leaf "Length" [1..=65_535];
        /// Height of the window.
        pub width: u32 = leaf "Width" [1..=65_535];
        pub mid_point_x: u32 = leaf "MidPointX" [0..=65_535];
        pub mid_point_y: u32 = leaf "MidPointY" [0..=65_535];
        pub length_x: u32 = leaf "LengthX" [1..=65_535];
        pub length_y: u32 = leaf "LengthY" [1..=65_535];
    }
}

record! {
    /// The preset to which a camera returns by itself.
    pub struct HomePosition {
        /// 0 off, 1 on.
        pub enabled: u32 = leaf "Enabled" [0..=1];
        /// Seconds without an order after which it returns.
        pub reset_time: Option<u32> = leaf "ResetTime" [1..=86_400];
        pub preset_index: Option<u32> = leaf "PresetIndex" [0..=255];
    }
}

record! {
    /// Where a camera shall look. Missing values stay as they are.
    pub struct PtzPrecise {
        /// Degrees from 0 to 360.
        pub pan: Option<f64> = leaf "Pan" [0..=360];
        /// Degrees from -30 to 90.
        pub tilt: Option<f64> = leaf "Tilt" [-30..=90];
        /// Times of optical zoom.
        pub zoom: Option<f64> = leaf "Zoom" [1..=1000];
    }
}

record! {
    /// New software; `DeviceUpgradeResult` follows.
    pub struct Upgrade {
        pub firmware: String = leaf "Firmware" [len 1..=256];
        pub file_url: String = leaf "FileURL" [len 1..=1024];
        pub manufacturer: String = leaf "Manufacturer" [len 0..=256];
        /// Letters, digits and dashes; it ties the result to the order.
        pub session_id: String = leaf "SessionID" [len 32..=128];
    }
}

impl Control {
    /// The element that the order is, in the words of an edition.
    pub fn name(&self, edition: Option<Edition>) -> &'static str {
        match self {
            Control::Ptz { .. } => "PTZCmd",
            Control::TeleBoot => "TeleBoot",
            Control::Record { .. } => "RecordCmd",
            Control::Guard { .. } => "GuardCmd",
            Control::ResetAlarm { .. } => "AlarmCmd",
            Control::KeyFrame if edition >= Some(Edition::Y2022) => "IFrameCmd",
            Control::KeyFrame => "IFameCmd",
            Control::DragZoom { closer: true, .. } => "DragZoomIn",
            Control::DragZoom { closer: false, .. } => "DragZoomOut",
            Control::HomePosition(_) => "HomePosition",
            Control::PtzPrecise(_) => "PTZPreciseCtrl",
            Control::Upgrade(_) => "DeviceUpgrade",
            Control::FormatSdCard { .. } => "FormatSDCard",
            Control::TargetTrack { .. } => "TargetTrack",
        }
    }

    /// The edition it came with.
    pub fn since(&self) -> Edition {
        match self {
            Control::Ptz { .. }
            | Control::TeleBoot
            | Control::Record { .. }
            | Control::Guard { .. }
            | Control::ResetAlarm { .. } => Edition::Y2011,
            Control::KeyFrame | Control::DragZoom { .. } | Control::HomePosition(_) => {
                Edition::Y2016
            }
            Control::PtzPrecise(_)
            | Control::Upgrade(_)
            | Control::FormatSdCard { .. }
            | Control::TargetTrack { .. } => Edition::Y2022,
        }
    }

    /// Whether the device says in a message of its own how it went.
    pub fn is_answered(&self) -> bool {
        match self {
            Control::Record { .. }
            | Control::Guard { .. }
            | Control::ResetAlarm { .. }
            | Control::HomePosition(_)
            | Control::Upgrade(_) => true,
            Control::Ptz { .. }
            | Control::TeleBoot
            | Control::KeyFrame
            | Control::DragZoom { .. }
            | Control::PtzPrecise(_)
            | Control::FormatSdCard { .. }
            | Control::TargetTrack { .. } => false,
        }
    }

    /// Holds every number against its range.
    pub fn check(&self) -> Result<(), BadField> {
        match self {
            Control::Ptz {
                preset_name,
                cruise_name,
                ..
            } => {
                check_name("name", preset_name)?;
                check_name("name", cruise_name)
            }
            Control::DragZoom { area, .. } => Record::check(area),
            Control::TargetTrack { area, .. } => Group::check(area),
            Control::HomePosition(home) => Record::check(home),
            Control::PtzPrecise(precise) => Record::check(precise),
            Control::Upgrade(upgrade) => Record::check(upgrade),
            Control::TeleBoot
            | Control::Record { .. }
            | Control::Guard { .. }
            | Control::ResetAlarm { .. }
            | Control::KeyFrame
            | Control::FormatSdCard { .. } => Ok(()),
        }
    }

    /// Writes the elements of the order, in the words of the device's edition.
    pub fn write(&self, edition: Option<Edition>, out: &mut String) {
        let name = self.name(edition);
        match self {
            Control::Ptz {
                order,
                preset_name,
                cruise_name,
            } => {
                element(out, name, &order.text());
                if preset_name.is_some() || cruise_name.is_some() {
                    out.push_str("<PTZCmdParams>\r\n");
                    preset_name.write("PresetName", out);
                    cruise_name.write("CruiseTrackName", out);
                    out.push_str("</PTZCmdParams>\r\n");
                }
                out.push_str("<Info>\r\n<ControlPriority>5</ControlPriority>\r\n</Info>\r\n");
            }
            Control::TeleBoot => element(out, name, "Boot"),
            Control::Record { start, stream } => {
                element(out, name, if *start { "Record" } else { "StopRecord" });
                stream.write("StreamNumber", out);
            }
            Control::Guard { set } => {
                element(out, name, if *set { "SetGuard" } else { "ResetGuard" });
            }
            Control::ResetAlarm { method, kind } => {
                element(out, name, "ResetAlarm");
                if method.is_some() || kind.is_some() {
                    out.push_str("<Info>\r\n");
                    method.write("AlarmMethod", out);
                    kind.write("AlarmType", out);
                    out.push_str("</Info>\r\n");
                }
            }
            Control::KeyFrame => element(out, name, "Send"),
            Control::DragZoom { area, .. } => Group::write(area, name, out),
            Control::HomePosition(home) => Group::write(home, name, out),
            Control::PtzPrecise(precise) => Group::write(precise, name, out),
            Control::Upgrade(upgrade) => Group::write(upgrade, name, out),
            Control::FormatSdCard { card } => card.write(name, out),
            Control::TargetTrack {
                mode,
                panorama,
                area,
            } => {
                element(out, name, mode.name());
                panorama.write("DeviceID2", out);
                Group::write(area, "TargetArea", out);
            }
        }
    }

    /// Reads the order of a DeviceControl.
    ///
    /// Errors: none of those known here is in it, or it cannot be read; a PTZCmd says why in the log of the reader.
    pub fn read(from: &Element) -> Result<Control, BadField> {
        let bad = |field, flaw| BadField { field, flaw };
        if let Some(text) = from.value("PTZCmd") {
            let order = Ptz::parse(text).map_err(|_| bad("ptz_cmd", Flaw::Unreadable))?;
            let named = |name| {
                let params = from.child("PTZCmdParams")?;
                params.value(name).map(str::to_owned)
            };
            return Ok(Control::Ptz {
                order,
                preset_name: named("PresetName"),
                cruise_name: named("CruiseTrackName"),
            });
        }
        if from.value("TeleBoot").is_some() {
            return Ok(Control::TeleBoot);
        }
        if let Some(word) = from.value("RecordCmd") {
            return Ok(Control::Record {
                start: one_of("record_cmd", word, "Record", "StopRecord")?,
                stream: Leaf::read(from, "StreamNumber")
                    .map_err(|flaw| bad("stream_number", flaw))?,
            });
        }
        if let Some(word) = from.value("GuardCmd") {
            let set = one_of("guard_cmd", word, "SetGuard", "ResetGuard")?;
            return Ok(Control::Guard { set });
        }
        if from.value("AlarmCmd").is_some() {
            let told = |name| from.child("Info").and_then(|info| info.value(name));
            return Ok(Control::ResetAlarm {
                method: told("AlarmMethod").map(str::to_owned),
                kind: told("AlarmType").map(str::to_owned),
            });
        }
        Control::read_picture(from)
    }

    /// The orders that came with 2016 and 2022.
    fn read_picture(from: &Element) -> Result<Control, BadField> {
        let bad = |field, flaw| BadField { field, flaw };
        if from.child("IFameCmd").or(from.child("IFrameCmd")).is_some() {
            return Ok(Control::KeyFrame);
        }
        for (name, closer) in [("DragZoomIn", true), ("DragZoomOut", false)] {
            if from.child(name).is_some() {
                let area = Group::read(from, name)?;
                return Ok(Control::DragZoom { closer, area });
            }
        }
        if from.child("HomePosition").is_some() {
            return Ok(Control::HomePosition(Group::read(from, "HomePosition")?));
        }
        if from.child("PTZPreciseCtrl").is_some() {
            return Ok(Control::PtzPrecise(Group::read(from, "PTZPreciseCtrl")?));
        }
        if from.child("DeviceUpgrade").is_some() {
            return Ok(Control::Upgrade(Group::read(from, "DeviceUpgrade")?));
        }
        if from.child("FormatSDCard").is_some() {
            let card = Leaf::read(from, "FormatSDCard").map_err(|flaw| bad("card", flaw))?;
            return Ok(Control::FormatSdCard { card });
        }
        if let Some(word) = from.value("TargetTrack") {
            let mode = Tracking::from_name(word).ok_or(bad("target_track", Flaw::Unreadable))?;
            return Ok(Control::TargetTrack {
                mode,
                panorama: Leaf::read(from, "DeviceID2").map_err(|flaw| bad("panorama", flaw))?,
                area: Group::read(from, "TargetArea")?,
            });
        }
        Err(bad("control", Flaw::Missing))
    }
}

/// 2022 gives a cruise 32 bytes; presets are held to the same.
const NAME_BYTES_MAX: usize = 32;

fn check_name(field: &'static str, name: &Option<String>) -> Result<(), BadField> {
    if name.as_ref().is_some_and(|n| n.len() > NAME_BYTES_MAX) {
        let flaw = Flaw::Length {
            min: 0,
            max: NAME_BYTES_MAX,
        };
        return Err(BadField { field, flaw });
    }
    Ok(())
}

fn one_of(field: &'static str, word: &str, yes: &str, no: &str) -> Result<bool, BadField> {
    if word.eq_ignore_ascii_case(yes) {
        Ok(true)
    } else if word.eq_ignore_ascii_case(no) {
        Ok(false)
    } else {
        let flaw = Flaw::Unreadable;
        Err(BadField { field, flaw })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::gb28181::manscdp::tree::tree;

    /// Every order with every field set.
    pub(crate) fn examples() -> Vec<Control> {
        let area = Area {
            length: 704,
            width: 576,
            mid_point_x: 300,
            mid_point_y: 200,
            length_x: 50,
            length_y: 40,
        };
        vec![
            Control::Ptz {
                order: Ptz::STOP,
                preset_name: Some("门".into()),
                cruise_name: None,
            },
            Control::TeleBoot,
            Control::Record {
                start: true,
                stream: Some(1),
            },
            Control::Record {
                start: false,
                stream: None,
            },
            Control::Guard { set: true },
            Control::Guard { set: false },
            Control::ResetAlarm {
                method: Some("2".into()),
                kind: Some("1".into()),
            },
            Control::KeyFrame,
            Control::DragZoom {
                closer: true,
                area: area.clone(),
            },
            Control::DragZoom {
                closer: false,
                area: area.clone(),
            },
            Control::HomePosition(HomePosition {
                enabled: 1,
                reset_time: Some(60),
                preset_index: Some(3),
            }),
            Control::PtzPrecise(PtzPrecise {
                pan: Some(180.5),
                tilt: Some(-10.0),
                zoom: Some(2.0),
            }),
            Control::Upgrade(Upgrade {
                firmware: "V2".into(),
                file_url: "http://192.0.2.1/v2.bin".into(),
                manufacturer: "M".into(),
                session_id: "u".repeat(32),
            }),
            Control::FormatSdCard { card: 0 },
            Control::TargetTrack {
                mode: Tracking::Manual,
                panorama: Some("34020000001320000009".parse().expect("a code")),
                area: Some(area),
            },
        ]
    }

    fn body_of(control: &Control, edition: Option<Edition>) -> String {
        let mut body = String::from("<Control>");
        control.write(edition, &mut body);
        body.push_str("</Control>");
        body
    }

    #[test]
    fn every_order_is_read_as_it_was_written_in_every_edition() {
        for control in examples() {
            assert_eq!(control.check(), Ok(()));
            for edition in [None, Some(Edition::Y2016), Some(Edition::Y2022)] {
                let body = body_of(&control, edition);
                let read = Control::read(&tree(body.as_bytes()).expect("our writing"));
                assert_eq!(read, Ok(control.clone()), "{body}");
                let element = format!("<{}>", control.name(edition));
                assert!(body.contains(&element), "{body}");
            }
        }
    }

    #[test]
    fn a_key_frame_is_asked_for_in_the_words_of_the_edition() {
        let body = |edition| body_of(&Control::KeyFrame, edition);
        assert!(body(None).contains("<IFameCmd>Send</IFameCmd>"));
        assert!(body(Some(Edition::Y2016)).contains("<IFameCmd>"));
        assert!(body(Some(Edition::Y2022)).contains("<IFrameCmd>Send</IFrameCmd>"));
    }

    #[test]
    fn what_cannot_be_done_is_named() {
        let read = |body: &str| {
            Control::read(&tree(body.as_bytes()).expect("an element"))
                .expect_err("no order")
                .to_string()
        };
        assert_eq!(read("<Control/>"), "control is missing");
        assert_eq!(
            read("<Control><PTZCmd>A5</PTZCmd></Control>"),
            "ptzCmd cannot be read"
        );
        assert_eq!(
            read("<Control><RecordCmd>Often</RecordCmd></Control>"),
            "recordCmd cannot be read"
        );
        assert_eq!(
            read("<Control><HomePosition/></Control>"),
            "enabled is missing"
        );
        let precise = |tilt| {
            Control::PtzPrecise(PtzPrecise {
                tilt: Some(tilt),
                ..PtzPrecise::default()
            })
        };
        assert_eq!(precise(90.0).check(), Ok(()));
        assert!(precise(90.5).check().is_err());
        assert_eq!(precise(-30.0).check(), Ok(()));
        assert!(precise(-30.5).check().is_err());
    }
}
