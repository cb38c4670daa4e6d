//! What devices answer (GB/T 28181-2016, A.2.6; 2022, A.2.6). Both ways: platforms read, simulated devices write.

use super::control::HomePosition;
use super::edition::Edition;
use super::manscdp::fields::{BadField, Group, Leaf, Record, read_list, record, write_list};
use super::manscdp::tree::Element;
use super::manscdp::{CmdType, Root, encode};
use super::notice::{Position, PtzPosition};
use super::settings::Settings;
use crate::limits::ANSWER_ITEMS_MAX;

/// An answer to a [`Question`](super::question::Question), or the end of an order.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "node", derive(serde::Serialize, utoipa::ToSchema))]
#[cfg_attr(feature = "node", serde(rename_all = "camelCase"))]
pub enum Answer {
    /// An order or setting is done, as far as the device says.
    Done,
    DeviceStatus(DeviceStatus),
    /// All that came. `partial`: some of them never did.
    Records {
        records: Vec<FileRecord>,
        partial: bool,
    },
    Presets(Vec<Preset>),
    Positions(Vec<Position>),
    HomePosition(HomePosition),
    CruiseTracks(Vec<CruiseTrack>),
    CruiseTrack(CruiseDetail),
    PtzPosition(PtzPosition),
    SdCards(Vec<SdCard>),
    Config(Vec<Settings>),
}

/// Why a question or order ended without an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AskFailure {
    DeviceUnknown,
    DeviceOffline,
    /// At a bound of ours, named.
    TooMany {
        limit: &'static str,
    },
    /// The dialog that the order belongs to is not there (any more).
    NoDialog {
        sent: &'static str,
    },
    /// By SIP.
    Refused {
        sent: &'static str,
        status: u16,
        reason: String,
        too_new: Option<Edition>,
    },
    /// `Result` is ERROR.
    Failed {
        sent: &'static str,
        too_new: Option<Edition>,
    },
    NoAnswer {
        /// What was asked, by its name in the annex.
        sent: &'static str,
        waited_ms: u64,
        /// Whether the SIP message was at least taken.
        taken: bool,
        /// The edition of the device, if the command is of a later one.
        too_new: Option<Edition>,
    },
    /// An answer that does not say what it must.
    BadAnswer {
        sent: &'static str,
        what: String,
    },
    /// The device went offline while it was asked.
    DeviceLost,
}

impl std::fmt::Display for AskFailure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let newer = |f: &mut std::fmt::Formatter<'_>, too_new: &Option<Edition>| match too_new {
            Some(edition) => write!(
                f,
                "; the device says that it is of {}, which does not have this command",
                edition.name()
            ),
            None => Ok(()),
        };
        match self {
            AskFailure::DeviceUnknown => f.write_str("device not found"),
            AskFailure::DeviceOffline => f.write_str("the device is offline"),
            AskFailure::TooMany { limit } => write!(f, "busy: at the limit {limit}"),
            AskFailure::Refused {
                sent,
                status,
                reason,
                too_new,
            } => {
                write!(f, "the device refused {sent}: {status} {reason}")?;
                newer(f, too_new)
            }
            AskFailure::Failed { sent, too_new } => {
                write!(f, "the device answered ERROR to {sent}")?;
                newer(f, too_new)
            }
            AskFailure::NoAnswer {
                sent,
                waited_ms,
                taken,
                too_new,
            } => {
                let seconds = *waited_ms as f64 / 1000.0;
                if *taken {
                    write!(
                        f,
                        "the device took {sent} but did not answer within {seconds:.1} s"
                    )?;
                } else {
                    write!(f, "no answer to {sent} within {seconds:.1} s")?;
                }
                newer(f, too_new)
            }
            AskFailure::BadAnswer { sent, what } => {
                write!(f, "the answer to {sent} cannot be used: {what}")
            }
            AskFailure::NoDialog { sent } => {
                write!(
                    f,
                    "{sent} was not sent: the device's dialog is over or not there yet"
                )
            }
            AskFailure::DeviceLost => f.write_str("the device went offline while it was asked"),
        }
    }
}

impl std::error::Error for AskFailure {}

record! {
    /// How a device is (A.2.6.6).
    pub struct DeviceStatus {
        /// ONLINE or OFFLINE.
        pub online: Option<String> = leaf "Online";
        /// OK or ERROR.
        pub status: Option<String> = leaf "Status";
        pub reason: Option<String> = leaf "Reason";
        /// ON or OFF.
        pub encode: Option<String> = leaf "Encode";
        /// ON or OFF.
        pub record: Option<String> = leaf "Record";
        /// The clock of the device.
        pub device_time: Option<String> = leaf "DeviceTime";
        pub alarms: Vec<AlarmInput> = list "Alarmstatus" ["Item", 1024, ""];
    }
}

record! {
    /// An alarm input.
    pub struct AlarmInput {
        pub device_id: String = leaf "DeviceID";
        /// ONDUTY, OFFDUTY or ALARM.
        pub duty_status: String = leaf "DutyStatus";
    }
}

record! {
    /// One record of a device (A.2.1.10). Times are local to the device.
    pub struct FileRecord {
        pub start_time: Option<String> = leaf "StartTime";
        pub end_time: Option<String> = leaf "EndTime";
        pub device_id: Option<String> = leaf "DeviceID";
        pub name: Option<String> = leaf "Name";
        pub file_path: Option<String> = leaf "FilePath";
        pub address: Option<String> = leaf "Address";
        pub secrecy: Option<u32> = leaf "Secrecy";
        pub kind: Option<String> = leaf "Type";
        pub recorder_id: Option<String> = leaf "RecorderID";
        /// Bytes, as the device writes it.
        pub file_size: Option<String> = leaf "FileSize";
        /// 2022: what it is recorded on.
        pub record_location: Option<String> = leaf "RecordLocation";
        pub stream_number: Option<u32> = leaf "StreamNumber";
    }
}

record! {
    pub struct Preset {
        #[cfg_attr(feature = "node", serde(rename = "id"))]
        pub preset_id: u32 = leaf "PresetID";
        #[cfg_attr(feature = "node", serde(rename = "name"))]
        pub preset_name: Option<String> = leaf "PresetName";
    }
}

record! {
    /// A cruise as the list has it.
    pub struct CruiseTrack {
        pub number: u32 = leaf "Number";
        pub name: Option<String> = leaf "Name";
    }
}

record! {
    /// A cruise whole.
    pub struct CruiseDetail {
        pub number: u32 = leaf "Number";
        pub name: Option<String> = leaf "Name";
        pub points: Vec<CruisePoint> = list "CruisePointList" ["CruisePoint", 1024, "SumNum"];
    }
}

record! {
    pub struct CruisePoint {
        pub preset_index: u32 = leaf "PresetIndex";
        /// Seconds.
        pub stay_time: Option<u32> = leaf "StayTime";
        pub speed: Option<u32> = leaf "Speed";
    }
}

record! {
    pub struct SdCard {
        pub id: u32 = leaf "ID";
        pub hdd_name: Option<String> = leaf "HddName";
        /// `ok`, `formatting`, `unformatted`, `idle` or `error`.
        pub status: Option<String> = leaf "Status";
        /// Percent, while it is formatted.
        pub format_progress: Option<u32> = leaf "FormatProgress";
        /// MB.
        pub capacity: Option<u32> = leaf "Capacity";
        /// MB.
        pub free_space: Option<u32> = leaf "FreeSpace";
    }
}

/// The point list of a cruise as some write it, after an older draft.
const POINTS_OLD: (&str, &str) = ("CruiseTrack", "Item");

impl Answer {
    /// Reads an answer to a question of that command. `None`: it is no answer of one message (records have
    /// `RecordPage`).
    ///
    /// Errors: something that it must say is missing.
    pub fn read(cmd: CmdType, from: &Element) -> Result<Option<Answer>, BadField> {
        let items = ANSWER_ITEMS_MAX;
        Ok(Some(match cmd {
            CmdType::DeviceControl | CmdType::DeviceConfig | CmdType::Alarm => Answer::Done,
            CmdType::DeviceStatus => Answer::DeviceStatus(Record::read(from)?),
            CmdType::PresetQuery => Answer::Presets(read_list(from, "PresetList", "Item", items)),
            CmdType::MobilePosition => Answer::Positions(Position::read_all(from)?),
            CmdType::HomePositionQuery => Answer::HomePosition(match from.child("HomePosition") {
                Some(home) => Record::read(home)?,
                None => Record::read(from)?,
            }),
            CmdType::CruiseTrackListQuery => {
                let list = "CruiseTrackList";
                let mut tracks = read_list(from, list, "CruiseTrack", items);
                if tracks.is_empty() {
                    tracks = read_list(from, list, "Item", items);
                }
                Answer::CruiseTracks(tracks)
            }
            CmdType::CruiseTrackQuery => {
                let mut detail = <CruiseDetail as Record>::read(from)?;
                if detail.points.is_empty() {
                    detail.points = read_old_points(from);
                }
                Answer::CruiseTrack(detail)
            }
            CmdType::PtzPosition => Answer::PtzPosition(Record::read(from)?),
            CmdType::SdCardStatus => {
                Answer::SdCards(read_list(from, "SDCardStatusInfo", "Item", items))
            }
            CmdType::ConfigDownload => Answer::Config(Settings::read_all(from)?),
            CmdType::RecordInfo
            | CmdType::Keepalive
            | CmdType::Catalog
            | CmdType::DeviceInfo
            | CmdType::MediaStatus
            | CmdType::Broadcast
            | CmdType::UploadSnapShotFinished
            | CmdType::VideoUploadNotify
            | CmdType::DeviceUpgradeResult
            | CmdType::Unknown => return Ok(None),
        }))
    }

    /// Writes what follows the head of the answer.
    pub fn write(&self, out: &mut String) {
        match self {
            Answer::Done => encode::element(out, "Result", "OK"),
            Answer::DeviceStatus(status) => {
                encode::element(out, "Result", "OK");
                Record::write(status, out);
            }
            Answer::Records { records, .. } => write_records(records, records.len(), out),
            Answer::Presets(presets) => {
                presets.len().to_string().write("SumNum", out);
                write_list(presets, "PresetList", "Item", out);
            }
            Answer::Positions(positions) => Position::write_all(positions, out),
            Answer::HomePosition(home) => Group::write(home, "HomePosition", out),
            Answer::CruiseTracks(tracks) => {
                tracks.len().to_string().write("SumNum", out);
                write_list(tracks, "CruiseTrackList", "CruiseTrack", out);
            }
            Answer::CruiseTrack(detail) => Record::write(detail, out),
            Answer::PtzPosition(position) => Record::write(position, out),
            Answer::SdCards(cards) => {
                cards.len().to_string().write("SumNum", out);
                write_list(cards, "SDCardStatusInfo", "Item", out);
            }
            Answer::Config(all) => {
                encode::element(out, "Result", "OK");
                all.iter().for_each(|settings| settings.write(out));
            }
        }
    }

    /// The element that the answer is: where a device is comes as a notification.
    pub fn root(&self) -> Root {
        match self {
            Answer::Positions(_) => Root::Notify,
            Answer::Done
            | Answer::DeviceStatus(_)
            | Answer::Records { .. }
            | Answer::Presets(_)
            | Answer::HomePosition(_)
            | Answer::CruiseTracks(_)
            | Answer::CruiseTrack(_)
            | Answer::PtzPosition(_)
            | Answer::SdCards(_)
            | Answer::Config(_) => Root::Response,
        }
    }
}

fn read_old_points(from: &Element) -> Vec<CruisePoint> {
    let (list, item) = POINTS_OLD;
    let Some(list) = from.child(list) else {
        return Vec::new();
    };
    list.all(item)
        .filter_map(|point| {
            Some(CruisePoint {
                preset_index: point.value("PresetID")?.parse().ok()?,
                stay_time: Leaf::read(point, "StayTime").ok()?,
                speed: Leaf::read(point, "Speed").ok()?,
            })
        })
        .take(ANSWER_ITEMS_MAX)
        .collect()
}

/// One message of a RecordInfo answer.
pub fn write_records(records: &[FileRecord], total: usize, out: &mut String) {
    total.to_string().write("SumNum", out);
    write_list(records, "RecordList", "Item", out);
}

/// Whether the device says that it did not do it.
pub fn is_error(from: &Element) -> bool {
    from.value("Result")
        .is_some_and(|word| word.eq_ignore_ascii_case("ERROR"))
}
