//! Questions to a device beyond Catalog and DeviceInfo (GB/T 28181-2016, 9.5, 9.7 and A.2.4; 2022, A.2.4), and
//! [`Ask`], whatever is asked of a device and has one outcome.

use super::control::Control;
use super::edition::Edition;
use super::manscdp::fields::{BadField, Flaw, Leaf, Record, record};
use super::manscdp::tree::Element;
use super::manscdp::{Charset, CmdType, Root, encode};
use super::settings::{ConfigType, Settings};
use crate::id::GbId;

/// One question.
#[derive(Clone, Debug, PartialEq)]
pub enum Question {
    DeviceStatus,
    Records(RecordFilter),
    Alarms(AlarmFilter),
    Presets,
    /// Where a device that moves is.
    Position,
    HomePosition,
    CruiseTracks,
    CruiseTrack {
        number: u32,
    },
    PtzPosition,
    SdCards,
    Config(Vec<ConfigType>),
}

/// What is asked of a device: an order, a setting or a question.
#[derive(Clone, Debug, PartialEq)]
pub enum Ask {
    Control(Control),
    Set(Settings),
    Query(Question),
}

record! {
    /// Which records. Times are local to the device, `2026-06-14T10:00:00`.
    pub struct RecordFilter {
        pub start_time: String = leaf "StartTime" [len 19..=32];
        pub end_time: String = leaf "EndTime" [len 19..=32];
        pub file_path: Option<String> = leaf "FilePath" [len 0..=1024];
        pub address: Option<String> = leaf "Address" [len 0..=1024];
        /// 0 open, 1 secret.
        pub secrecy: Option<u32> = leaf "Secrecy" [0..=1];
        /// `time`, `alarm`, `manual` or `all`.
        pub kind: Option<String> = leaf "Type" [len 0..=16];
        pub recorder_id: Option<String> = leaf "RecorderID" [len 0..=64];
        /// 1 also takes what fits only in part.
        pub indistinct_query: Option<u32> = leaf "IndistinctQuery" [0..=1];
        /// 2022: 0 the main stream, and so on.
        pub stream_number: Option<u32> = leaf "StreamNumber" [0..=255];
        /// 2022: methods of the alarms that caused the records, with `/` between.
        pub alarm_method: Option<String> = leaf "AlarmMethod" [len 0..=64];
        pub alarm_type: Option<String> = leaf "AlarmType" [len 0..=64];
    }
}

record! {
    /// Which alarms, of a question or a subscription. Missing is all.
    pub struct AlarmFilter {
        /// 0 all, 1 (highest) to 4.
        pub start_alarm_priority: Option<u32> = leaf "StartAlarmPriority" [0..=4];
        pub end_alarm_priority: Option<u32> = leaf "EndAlarmPriority" [0..=4];
        /// As numbers with `/` between.
        pub alarm_method: Option<String> = leaf "AlarmMethod" [len 0..=64];
        pub alarm_type: Option<String> = leaf "AlarmType" [len 0..=64];
        pub start_alarm_time: Option<String> = leaf "StartAlarmTime" [len 0..=32];
        pub end_alarm_time: Option<String> = leaf "EndAlarmTime" [len 0..=32];
    }
}

impl Question {
    pub fn cmd(&self) -> CmdType {
        match self {
            Question::DeviceStatus => CmdType::DeviceStatus,
            Question::Records(_) => CmdType::RecordInfo,
            Question::Alarms(_) => CmdType::Alarm,
            Question::Presets => CmdType::PresetQuery,
            Question::Position => CmdType::MobilePosition,
            Question::HomePosition => CmdType::HomePositionQuery,
            Question::CruiseTracks => CmdType::CruiseTrackListQuery,
            Question::CruiseTrack { .. } => CmdType::CruiseTrackQuery,
            Question::PtzPosition => CmdType::PtzPosition,
            Question::SdCards => CmdType::SdCardStatus,
            Question::Config(_) => CmdType::ConfigDownload,
        }
    }

    /// The edition it came with.
    pub fn since(&self) -> Edition {
        match self {
            Question::DeviceStatus | Question::Records(_) | Question::Alarms(_) => Edition::Y2011,
            Question::Presets | Question::Position => Edition::Y2016,
            Question::HomePosition
            | Question::CruiseTracks
            | Question::CruiseTrack { .. }
            | Question::PtzPosition
            | Question::SdCards => Edition::Y2022,
            Question::Config(kinds) => kinds
                .iter()
                .map(|kind| kind.since())
                .max()
                .unwrap_or(Edition::Y2016),
        }
    }

    pub fn check(&self) -> Result<(), BadField> {
        match self {
            Question::Records(filter) => filter.check(),
            Question::Alarms(filter) => filter.check(),
            Question::Config(kinds) if kinds.is_empty() => Err(BadField {
                field: "config_type",
                flaw: Flaw::Missing,
            }),
            Question::DeviceStatus
            | Question::Presets
            | Question::Position
            | Question::HomePosition
            | Question::CruiseTracks
            | Question::CruiseTrack { .. }
            | Question::PtzPosition
            | Question::SdCards
            | Question::Config(_) => Ok(()),
        }
    }

    pub fn write(&self, out: &mut String) {
        match self {
            Question::Records(filter) => filter.write(out),
            Question::Alarms(filter) => filter.write(out),
            Question::CruiseTrack { number } => number.write("Number", out),
            Question::Config(kinds) => {
                let names: Vec<&str> = kinds.iter().map(|kind| kind.name()).collect();
                encode::element(out, "ConfigType", &names.join("/"));
            }
            Question::DeviceStatus
            | Question::Presets
            | Question::Position
            | Question::HomePosition
            | Question::CruiseTracks
            | Question::PtzPosition
            | Question::SdCards => {}
        }
    }

    /// Reads a query of a platform. `None`: it is none of these.
    ///
    /// Errors: what it needs is missing or unreadable. Types of configuration that are not known are left out.
    pub fn read(cmd: CmdType, from: &Element) -> Result<Option<Question>, BadField> {
        let bad = |field| move |flaw| BadField { field, flaw };
        Ok(Some(match cmd {
            CmdType::DeviceStatus => Question::DeviceStatus,
            CmdType::RecordInfo => Question::Records(Record::read(from)?),
            CmdType::Alarm => Question::Alarms(Record::read(from)?),
            CmdType::PresetQuery => Question::Presets,
            CmdType::MobilePosition => Question::Position,
            CmdType::HomePositionQuery => Question::HomePosition,
            CmdType::CruiseTrackListQuery => Question::CruiseTracks,
            CmdType::CruiseTrackQuery => Question::CruiseTrack {
                number: Leaf::read(from, "Number").map_err(bad("number"))?,
            },
            CmdType::PtzPosition => Question::PtzPosition,
            CmdType::SdCardStatus => Question::SdCards,
            CmdType::ConfigDownload => {
                let names: String = Leaf::read(from, "ConfigType").map_err(bad("config_type"))?;
                let kinds = names.split('/').filter_map(ConfigType::from_name);
                Question::Config(kinds.collect())
            }
            CmdType::Keepalive
            | CmdType::Catalog
            | CmdType::DeviceInfo
            | CmdType::MediaStatus
            | CmdType::Broadcast
            | CmdType::DeviceControl
            | CmdType::DeviceConfig
            | CmdType::UploadSnapShotFinished
            | CmdType::VideoUploadNotify
            | CmdType::DeviceUpgradeResult
            | CmdType::Unknown => return Ok(None),
        }))
    }
}

impl Ask {
    pub fn cmd(&self) -> CmdType {
        match self {
            Ask::Control(_) => CmdType::DeviceControl,
            Ask::Set(_) => CmdType::DeviceConfig,
            Ask::Query(question) => question.cmd(),
        }
    }

    /// What was asked, for people.
    pub fn name(&self, edition: Option<Edition>) -> &'static str {
        match self {
            Ask::Control(control) => control.name(edition),
            Ask::Set(settings) => settings.kind().name(),
            Ask::Query(question) => question.cmd().name(),
        }
    }

    pub fn since(&self) -> Edition {
        match self {
            Ask::Control(control) => control.since(),
            Ask::Set(settings) => settings.kind().since(),
            Ask::Query(question) => question.since(),
        }
    }

    /// Whether something follows the 200 OK.
    pub fn is_answered(&self) -> bool {
        match self {
            Ask::Control(control) => control.is_answered(),
            Ask::Set(_) | Ask::Query(_) => true,
        }
    }

    pub fn check(&self) -> Result<(), BadField> {
        match self {
            Ask::Control(control) => control.check(),
            Ask::Set(settings) => settings.check(),
            Ask::Query(question) => question.check(),
        }
    }

    /// The body that asks it.
    pub fn body(
        &self,
        sn: u32,
        target: GbId,
        edition: Option<Edition>,
        charset: Charset,
    ) -> Vec<u8> {
        let root = match self {
            Ask::Control(_) | Ask::Set(_) => Root::Control,
            Ask::Query(_) => Root::Query,
        };
        encode::document(root, self.cmd(), sn, target, charset, |out| match self {
            Ask::Control(control) => control.write(edition, out),
            Ask::Set(settings) => settings.write(out),
            Ask::Query(question) => question.write(out),
        })
    }
}
