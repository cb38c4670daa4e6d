//! MANSCDP: the XML bodies by which platforms and devices ask, answer and notify (GB/T 28181-2016, annex A).
//!
//! [`parse`] reads what real devices send: any charset ([`charset`]), a bare `&`, NUL bytes, single quotes, `CmdType` as
//! an element or as an attribute of the root, elements in any order, spaces around values, tags that are damaged or
//! missing. One bad `<Item>` never costs the others. [`encode`] writes queries, and the answers of a simulated device.
//!
//! Read by [`parse`]: the head of every message, and Keepalive, Catalog, DeviceInfo and DeviceStatus whole. The contents
//! of all others are read from a [`tree`] by the tables of [`fields`]: [`control`](super::control),
//! [`settings`](super::settings), [`question`](super::question), [`answer`](super::answer), [`notice`](super::notice).
//!
//! Bounds: body [`MANSCDP_BODY_BYTES_MAX`](crate::limits::MANSCDP_BODY_BYTES_MAX), items in a message
//! [`MANSCDP_ITEMS_MAX`](crate::limits::MANSCDP_ITEMS_MAX), one value
//! [`MANSCDP_VALUE_BYTES_MAX`](crate::limits::MANSCDP_VALUE_BYTES_MAX), damaged places
//! [`MANSCDP_REPAIRS_MAX`](crate::limits::MANSCDP_REPAIRS_MAX). Depth costs nothing: the reader keeps no stack.

pub mod charset;
pub mod encode;
pub mod fields;
mod parse;
pub mod tree;

use super::types::{CatalogItem, DeviceInfo};
use crate::id::GbId;

pub use charset::Charset;
pub use parse::{catalog_item, parse};

/// The element that a message is (GB/T 28181-2016, A.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Root {
    Query,
    Control,
    Notify,
    Response,
    /// Something else, for example a presence document.
    Other,
}

impl Root {
    fn from_name(name: &str) -> Root {
        match name {
            "Query" => Root::Query,
            "Control" => Root::Control,
            "Notify" => Root::Notify,
            "Response" => Root::Response,
            _ => Root::Other,
        }
    }
}

macro_rules! cmd_types {
    ($($variant:ident = $name:literal,)*) => {
        /// The command of a message, `CmdType` (GB/T 28181-2016, A.2.3 to A.2.6; 2022, A.2).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum CmdType {
            $($variant,)*
            /// Not of the standard, or of an edition newer than those read here.
            Unknown,
        }

        impl CmdType {
            /// Every command that is known by name.
            pub const ALL: &'static [CmdType] = &[$(CmdType::$variant,)*];

            /// As it is written in a body; empty for [`CmdType::Unknown`].
            pub fn name(self) -> &'static str {
                match self {
                    $(CmdType::$variant => $name,)*
                    CmdType::Unknown => "",
                }
            }

            fn from_name(name: &str) -> CmdType {
                match name {
                    $($name => CmdType::$variant,)*
                    _ => [$(CmdType::$variant,)*]
                        .into_iter()
                        .find(|cmd| cmd.name().eq_ignore_ascii_case(name))
                        .unwrap_or(CmdType::Unknown),
                }
            }
        }
    };
}

cmd_types! {
    Keepalive = "Keepalive",
    Catalog = "Catalog",
    DeviceInfo = "DeviceInfo",
    DeviceStatus = "DeviceStatus",
    Alarm = "Alarm",
    MediaStatus = "MediaStatus",
    MobilePosition = "MobilePosition",
    RecordInfo = "RecordInfo",
    Broadcast = "Broadcast",
    DeviceControl = "DeviceControl",
    DeviceConfig = "DeviceConfig",
    ConfigDownload = "ConfigDownload",
    PresetQuery = "PresetQuery",
    HomePositionQuery = "HomePositionQuery",
    CruiseTrackListQuery = "CruiseTrackListQuery",
    CruiseTrackQuery = "CruiseTrackQuery",
    PtzPosition = "PTZPosition",
    SdCardStatus = "SDCardStatus",
    UploadSnapShotFinished = "UploadSnapShotFinished",
    VideoUploadNotify = "VideoUploadNotify",
    DeviceUpgradeResult = "DeviceUpgradeResult",
}

/// One message.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    pub root: Root,
    pub cmd: CmdType,
    /// `SN`, by which an answer names its question. `None` when it is missing or no number of 32 bits.
    pub sn: Option<u32>,
    /// `DeviceID`, the device or channel that is asked or answers.
    pub device: Option<GbId>,
    pub body: Body,
    pub flaws: Flaws,
}

/// What a message says beyond its head.
#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    /// A query, or a command whose contents are not read here.
    Plain,
    Keepalive {
        /// `Status` is OK.
        ok: bool,
    },
    Catalog(CatalogPage),
    DeviceInfo(Box<DeviceInfo>),
    DeviceStatus {
        online: bool,
        recording: bool,
    },
}

/// One message of a Catalog response or notification.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CatalogPage {
    /// `SumNum`: items in all messages of this answer.
    pub total: Option<u32>,
    pub items: Vec<CatalogItem>,
    /// Items that came but cannot be used: they have no `DeviceID`.
    pub unusable: u32,
}

/// What had to be tolerated in one message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flaws {
    /// Bytes that are no text, or NUL.
    pub charset: bool,
    /// Places where the markup was damaged and reading went on behind it.
    pub repairs: u16,
    /// Items without an id.
    pub unusable_items: u32,
    /// Something was left out at a bound of ours.
    pub truncated: bool,
}

/// Why a body is no message. Whoever sent it gets 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParseError {
    /// Longer than [`MANSCDP_BODY_BYTES_MAX`](crate::limits::MANSCDP_BODY_BYTES_MAX).
    TooLong,
    /// No element in it.
    NotXml,
    /// One of the four roots, but it does not say what it is about.
    NoCmdType,
}

impl std::fmt::Display for ParseError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            ParseError::TooLong => "the body is longer than the bound",
            ParseError::NotXml => "the body holds no XML element",
            ParseError::NoCmdType => "the body has no CmdType",
        })
    }
}

impl std::error::Error for ParseError {}
