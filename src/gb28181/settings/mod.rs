//! Configuration of a device: DeviceConfig sets it, ConfigDownload asks for it (GB/T 28181-2016, A.2.3 and A.2.4;
//! 2022, A.2.1.11 to A.2.1.24, A.2.3.2, A.2.4.7).
//!
//! One table says which types there are, in which element each stands and since which edition; the fields of each are a
//! [`record!`](crate::gb28181::manscdp::fields) of their own in one of the files here.
//!
//! Not done: VideoParamConfig and AudioParamConfig of 2011, which later editions have dropped.

mod basic;
mod picture;
mod recording;
mod svac;
mod video;

pub use basic::{AlarmReport, BasicParam, SnapShotConfig};
pub use picture::{Mirror, OsdConfig, OsdText, PictureMask, Region};
pub use recording::{DaySchedule, TimeSegment, VideoAlarmRecord, VideoRecordPlan};
pub use svac::{
    AudioParam, DecodeLayers, DecodeSurveillance, EncodeLayers, RegionOfInterest,
    RegionsOfInterest, Surveillance, SvacDecode, SvacEncode,
};
pub use video::{StreamParam, VideoParamAttribute, VideoParamOpt};

use super::edition::Edition;
use super::manscdp::fields::{BadField, Group};
use super::manscdp::tree::Element;

macro_rules! settings {
    ($($(#[$meta:meta])* $kind:ident($type:ty) = $element:literal, $config:literal, $edition:ident;)*) => {
        /// Names a type of configuration, `ConfigType`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum ConfigType {
            $($(#[$meta])* $kind,)*
        }

        impl ConfigType {
            pub const ALL: &'static [ConfigType] = &[$(ConfigType::$kind,)*];

            /// As ConfigDownload names it.
            pub fn name(self) -> &'static str {
                match self {
                    $(ConfigType::$kind => $config,)*
                }
            }

            /// The edition it came with.
            pub fn since(self) -> Edition {
                match self {
                    $(ConfigType::$kind => Edition::$edition,)*
                }
            }

            pub fn from_name(name: &str) -> Option<ConfigType> {
                ConfigType::ALL.iter().copied().find(|kind| kind.name().eq_ignore_ascii_case(name.trim()))
            }
        }

        /// The values of one type.
        #[derive(Clone, Debug, PartialEq)]
        #[cfg_attr(feature = "node", derive(serde::Serialize, serde::Deserialize, utoipa::ToSchema))]
        pub enum Settings {
            $(
                #[cfg_attr(feature = "node", serde(rename = $config))]
                $kind($type),
            )*
        }

        impl Settings {
            pub fn kind(&self) -> ConfigType {
                match self {
                    $(Settings::$kind(_) => ConfigType::$kind,)*
                }
            }

            pub fn write(&self, out: &mut String) {
                match self {
                    $(Settings::$kind(value) => Group::write(value, $element, out),)*
                }
            }

            /// Holds every value against its range.
            pub fn check(&self) -> Result<(), BadField> {
                match self {
                    $(Settings::$kind(value) => Group::check(value),)*
                }
            }

            /// Every type that stands in a DeviceConfig or in an answer to ConfigDownload.
            ///
            /// Errors: one is there and cannot be read.
            pub fn read_all(from: &Element) -> Result<Vec<Settings>, BadField> {
                let mut all = Vec::new();
                $(if from.child($element).is_some() {
                    all.push(Settings::$kind(Group::read(from, $element)?));
                })*
                // The answer of 2022 has the snapshots under a name of their own.
                if from.child("SnapShot").is_some() {
                    all.push(Settings::SnapShot(Group::read(from, "SnapShot")?));
                }
                Ok(all)
            }
        }
    };
}

settings! {
    /// Name, life of the registration, keepalive.
    Basic(BasicParam) = "BasicParam", "BasicParam", Y2016;
    /// What resolutions and download speeds there are.
    VideoOptions(VideoParamOpt) = "VideoParamOpt", "VideoParamOpt", Y2016;
    SvacEncode(SvacEncode) = "SVACEncodeConfig", "SVACEncodeConfig", Y2016;
    SvacDecode(SvacDecode) = "SVACDecodeConfig", "SVACDecodeConfig", Y2016;
    /// Codec, resolution, frame rate and bit rate of each stream.
    VideoAttributes(VideoParamAttribute) = "VideoParamAttribute", "VideoParamAttribute", Y2022;
    RecordPlan(VideoRecordPlan) = "VideoRecordPlan", "VideoRecordPlan", Y2022;
    AlarmRecord(VideoAlarmRecord) = "VideoAlarmRecord", "VideoAlarmRecord", Y2022;
    PictureMask(PictureMask) = "PictureMask", "PictureMask", Y2022;
    FrameMirror(Mirror) = "FrameMirror", "FrameMirror", Y2022;
    AlarmReport(AlarmReport) = "AlarmReport", "AlarmReport", Y2022;
    Osd(OsdConfig) = "OSDConfig", "OSDConfig", Y2022;
    SnapShot(SnapShotConfig) = "SnapShotConfig", "SnapShotConfig", Y2022;
}

#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) use tests::examples;
