//! What devices tell without being asked: alarms, positions, ends of files, results of what takes long
//! (GB/T 28181-2016, 9.4, 9.11 and A.2.5; 2022, A.2.5). Both ways.
//!
//! They come as MESSAGE, or as NOTIFY of a [subscription](super::subscribe). Catalog changes come as NOTIFY alone.

use super::edition::Edition;
use super::manscdp::fields::{BadField, Leaf, Record, read_list, record, write_list};
use super::manscdp::tree::Element;
use super::manscdp::{CmdType, encode};
use super::types::CatalogItem;
use crate::limits::{ANSWER_ITEMS_MAX, MANSCDP_ITEMS_MAX};

/// One notification.
#[derive(Clone, Debug, PartialEq)]
pub enum Notice {
    Alarm(Box<Alarm>),
    Positions(Vec<Position>),
    PtzPosition(PtzPosition),
    /// `NotifyType`; 121 is the end of a file that is played back or downloaded.
    MediaStatus {
        notify_type: u32,
    },
    SnapShots(SnapShots),
    Upgraded(UpgradeResult),
    /// A device that records has begun to upload what it recorded.
    VideoUpload(VideoUpload),
    Catalog(Vec<CatalogChange>),
}

/// `NotifyType` of the end of a file (GB/T 28181-2016, A.2.5 d).
pub const FILE_ENDED: u32 = 121;

record! {
    /// An alarm (A.2.5 b).
    pub struct Alarm {
        /// 1 (highest) to 4.
        pub priority: u32 = leaf "AlarmPriority" [1..=4];
        /// 1 telephone, 2 device, 3 short message, 4 GPS, 5 video, 6 failure of the device, 7 other.
        pub method: u32 = leaf "AlarmMethod" [1..=7];
        /// Local to the device, `2026-06-14T12:01:02`.
        pub time: String = leaf "AlarmTime" [len 1..=32];
        pub description: Option<String> = leaf "AlarmDescription" [len 0..=1024];
        pub longitude: Option<f64> = leaf "Longitude" [-180..=180];
        pub latitude: Option<f64> = leaf "Latitude" [-90..=90];
        pub info: Option<AlarmInfo> = group "Info";
    }
}

record! {
    pub struct AlarmInfo {
        /// What it means depends on the method; see [`alarm_name`].
        pub alarm_type: Option<u32> = leaf "AlarmType" [0..=255];
        pub param: Option<AlarmParam> = group "AlarmTypeParam";
    }
}

record! {
    pub struct AlarmParam {
        /// Of an intrusion: 1 came in, 2 went out.
        pub event_type: Option<u32> = leaf "EventType" [1..=2];
    }
}

impl Alarm {
    pub fn alarm_type(&self) -> Option<u32> {
        self.info.as_ref().and_then(|info| info.alarm_type)
    }
}

/// What an alarm is, in the words of A.2.5 b; `None`: not of the annex.
pub fn alarm_name(method: u32, alarm_type: Option<u32>) -> Option<&'static str> {
    const DEVICE: [&str; 5] = [
        "video lost",
        "device opened",
        "storage full",
        "device too hot",
        "device too cold",
    ];
    const VIDEO: [&str; 13] = [
        "raised by hand",
        "motion",
        "object left behind",
        "object taken away",
        "line crossed",
        "intrusion",
        "against the direction",
        "loitering",
        "people counted",
        "crowd",
        "picture abnormal",
        "moving fast",
        "picture covered",
    ];
    const FAILURE: [&str; 2] = ["disk failed", "fan failed"];
    let of = |names: &[&'static str], plain| match alarm_type {
        None | Some(0) => Some(plain),
        Some(n) => names.get(n as usize - 1).copied(),
    };
    match method {
        1 => Some("telephone"),
        2 => of(&DEVICE, "device"),
        3 => Some("short message"),
        4 => Some("GPS"),
        5 => of(&VIDEO, "video"),
        6 => of(&FAILURE, "failure"),
        7 => Some("other"),
        _ => None,
    }
}

record! {
    /// Where something is (2016, A.2.5 e; 2022, A.2.1.14). Decimal degrees.
    pub struct Position {
        /// Of a list: whose position it is.
        pub device_id: Option<String> = leaf "DeviceID";
        /// Local to the device.
        pub time: Option<String> = leaf "CapTime";
        pub longitude: f64 = leaf "Longitude" [-180..=180];
        pub latitude: f64 = leaf "Latitude" [-90..=90];
        /// km/h.
        pub speed: Option<f64> = leaf "Speed";
        /// Degrees from the north, clockwise.
        pub direction: Option<f64> = leaf "Direction" [0..=360];
        /// Metres above the sea.
        pub altitude: Option<f64> = leaf "Altitude";
        /// 2022: metres above the ground.
        pub height: Option<f64> = leaf "Height";
    }
}

impl Position {
    /// One position at the top, as in 2016, or a list of them, as in 2022.
    pub fn read_all(from: &Element) -> Result<Vec<Position>, BadField> {
        let list: Vec<Position> = read_list(from, "DeviceList", "Item", ANSWER_ITEMS_MAX);
        if !list.is_empty() {
            return Ok(list);
        }
        let mut position = Position::read(from)?;
        position.time = from.value("Time").map(str::to_owned).or(position.time);
        Ok(vec![position])
    }

    /// One stands at the top, several in a list.
    pub fn write_all(positions: &[Position], out: &mut String) {
        match positions {
            [one] => {
                one.time.write("Time", out);
                let plain = Position {
                    device_id: None,
                    time: None,
                    ..one.clone()
                };
                plain.write(out);
            }
            many => {
                many.len().to_string().write("SumNum", out);
                write_list(many, "DeviceList", "Item", out);
            }
        }
    }
}

record! {
    /// Where a camera looks (2022, A.2.6.15).
    pub struct PtzPosition {
        /// Degrees from 0 to 360.
        pub pan: Option<f64> = leaf "Pan";
        /// Degrees from -30 to 90.
        pub tilt: Option<f64> = leaf "Tilt";
        /// Times of optical zoom.
        pub zoom: Option<f64> = leaf "Zoom";
        /// Degrees.
        pub horizontal_field_angle: Option<f64> = leaf "HorizontalFieldAngle";
        /// Degrees.
        pub vertical_field_angle: Option<f64> = leaf "VerticalFieldAngle";
        /// Metres.
        pub max_view_distance: Option<f64> = leaf "MaxViewDistance";
    }
}

/// The pictures of a [`SnapShotConfig`](super::settings::SnapShotConfig) are uploaded.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SnapShots {
    pub session_id: String,
    pub files: Vec<String>,
}

impl SnapShots {
    fn read(from: &Element) -> Result<SnapShots, BadField> {
        let session_id = Leaf::read(from, "SessionID").map_err(|flaw| BadField {
            field: "session_id",
            flaw,
        })?;
        let files = from.child("SnapShotList").map_or_else(Vec::new, |list| {
            list.all("SnapShotFileID")
                .map(|file| file.text().to_owned())
                .take(ANSWER_ITEMS_MAX)
                .collect()
        });
        Ok(SnapShots { session_id, files })
    }

    fn write(&self, out: &mut String) {
        self.session_id.write("SessionID", out);
        out.push_str("<SnapShotList>\r\n");
        for file in &self.files {
            file.write("SnapShotFileID", out);
        }
        out.push_str("</SnapShotList>\r\n");
    }
}

record! {
    /// How a [`Upgrade`](super::control::Upgrade) ended (2022, A.2.5.9).
    pub struct UpgradeResult {
        pub session_id: String = leaf "SessionID" [len 32..=128];
        /// OK or ERROR.
        pub result: String = leaf "UpgradeResult" [len 1..=16];
        /// What runs now.
        pub firmware: String = leaf "Firmware" [len 0..=256];
        pub failed_reason: Option<String> = leaf "UpgradeFailedReason" [len 0..=1024];
    }
}

record! {
    /// 2022, A.2.5.8.
    pub struct VideoUpload {
        pub time: String = leaf "Time" [len 1..=32];
        pub longitude: Option<f64> = leaf "Longitude" [-180..=180];
        pub latitude: Option<f64> = leaf "Latitude" [-90..=90];
    }
}

/// What happened to a channel (GB/T 28181-2016, 9.11.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ChannelEvent {
    On,
    Off,
    VideoLost,
    Defect,
    Add,
    Delete,
    Update,
}

impl ChannelEvent {
    pub const ALL: [ChannelEvent; 7] = [
        ChannelEvent::On,
        ChannelEvent::Off,
        ChannelEvent::VideoLost,
        ChannelEvent::Defect,
        ChannelEvent::Add,
        ChannelEvent::Delete,
        ChannelEvent::Update,
    ];

    pub fn name(self) -> &'static str {
        match self {
            ChannelEvent::On => "ON",
            ChannelEvent::Off => "OFF",
            ChannelEvent::VideoLost => "VLOST",
            ChannelEvent::Defect => "DEFECT",
            ChannelEvent::Add => "ADD",
            ChannelEvent::Delete => "DEL",
            ChannelEvent::Update => "UPDATE",
        }
    }

    pub fn from_name(name: &str) -> Option<ChannelEvent> {
        ChannelEvent::ALL
            .into_iter()
            .find(|event| event.name().eq_ignore_ascii_case(name))
    }

    /// Whether a channel to which it happened can be watched. `None`: as the item says.
    pub fn is_online(self) -> Option<bool> {
        match self {
            ChannelEvent::On => Some(true),
            ChannelEvent::Off
            | ChannelEvent::VideoLost
            | ChannelEvent::Defect
            | ChannelEvent::Delete => Some(false),
            ChannelEvent::Add | ChannelEvent::Update => None,
        }
    }
}

/// An item of a Catalog notification. But for ADD and UPDATE only its id counts.
#[derive(Clone, Debug, PartialEq)]
pub struct CatalogChange {
    pub event: ChannelEvent,
    pub item: CatalogItem,
}

impl Notice {
    pub fn cmd(&self) -> CmdType {
        match self {
            Notice::Alarm(_) => CmdType::Alarm,
            Notice::Positions(_) => CmdType::MobilePosition,
            Notice::PtzPosition(_) => CmdType::PtzPosition,
            Notice::MediaStatus { .. } => CmdType::MediaStatus,
            Notice::SnapShots(_) => CmdType::UploadSnapShotFinished,
            Notice::Upgraded(_) => CmdType::DeviceUpgradeResult,
            Notice::VideoUpload(_) => CmdType::VideoUploadNotify,
            Notice::Catalog(_) => CmdType::Catalog,
        }
    }

    /// The edition it came with.
    pub fn since(&self) -> Edition {
        match self {
            Notice::Alarm(_) | Notice::MediaStatus { .. } | Notice::Catalog(_) => Edition::Y2011,
            Notice::Positions(_) => Edition::Y2016,
            Notice::PtzPosition(_)
            | Notice::SnapShots(_)
            | Notice::Upgraded(_)
            | Notice::VideoUpload(_) => Edition::Y2022,
        }
    }

    /// Reads a notification. `None`: it is none of these.
    ///
    /// Errors: something that it must say is missing.
    pub fn read(cmd: CmdType, from: &Element) -> Result<Option<Notice>, BadField> {
        Ok(Some(match cmd {
            CmdType::Alarm => Notice::Alarm(Box::new(Record::read(from)?)),
            CmdType::MobilePosition => Notice::Positions(Position::read_all(from)?),
            CmdType::PtzPosition => Notice::PtzPosition(Record::read(from)?),
            CmdType::MediaStatus => Notice::MediaStatus {
                notify_type: Leaf::read(from, "NotifyType").map_err(|flaw| BadField {
                    field: "notify_type",
                    flaw,
                })?,
            },
            CmdType::UploadSnapShotFinished => Notice::SnapShots(SnapShots::read(from)?),
            CmdType::DeviceUpgradeResult => Notice::Upgraded(Record::read(from)?),
            CmdType::VideoUploadNotify => Notice::VideoUpload(Record::read(from)?),
            CmdType::Catalog => Notice::Catalog(read_changes(from)),
            CmdType::Keepalive
            | CmdType::DeviceInfo
            | CmdType::DeviceStatus
            | CmdType::RecordInfo
            | CmdType::Broadcast
            | CmdType::DeviceControl
            | CmdType::DeviceConfig
            | CmdType::ConfigDownload
            | CmdType::PresetQuery
            | CmdType::HomePositionQuery
            | CmdType::CruiseTrackListQuery
            | CmdType::CruiseTrackQuery
            | CmdType::SdCardStatus
            | CmdType::Unknown => return Ok(None),
        }))
    }

    /// Writes what follows the head.
    pub fn write(&self, out: &mut String) {
        match self {
            Notice::Alarm(alarm) => alarm.write(out),
            Notice::Positions(positions) => Position::write_all(positions, out),
            Notice::PtzPosition(position) => position.write(out),
            Notice::MediaStatus { notify_type } => notify_type.write("NotifyType", out),
            Notice::SnapShots(shots) => shots.write(out),
            Notice::Upgraded(result) => result.write(out),
            Notice::VideoUpload(upload) => upload.write(out),
            Notice::Catalog(changes) => {
                changes.len().to_string().write("SumNum", out);
                out.push_str(&format!("<DeviceList Num=\"{}\">\r\n", changes.len()));
                for change in changes {
                    encode::catalog_item(out, &change.item, Some(change.event.name()));
                }
                out.push_str("</DeviceList>\r\n");
            }
        }
    }
}

/// The items that have an event and a code.
fn read_changes(from: &Element) -> Vec<CatalogChange> {
    let Some(list) = from.child("DeviceList") else {
        return Vec::new();
    };
    list.all("Item")
        .filter_map(|item| {
            let id = item.value("DeviceID")?;
            let event = match item.value("Event") {
                Some(word) => ChannelEvent::from_name(word)?,
                // The whole directory as a notification: what a device sends when it is subscribed to.
                None => ChannelEvent::Update,
            };
            Some(CatalogChange {
                event,
                item: super::manscdp::catalog_item(id, item),
            })
        })
        .take(MANSCDP_ITEMS_MAX)
        .collect()
}
