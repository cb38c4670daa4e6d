//! What a camera can send (2022, A.2.1.20) and what it sends (A.2.1.13). Values are those of `f=` in annex G.

use crate::gb28181::manscdp::fields::{BadField, Flaw, Record, check_items, read_many, record};
use crate::gb28181::manscdp::tree::Element;

record! {
    /// Ranges; several values stand behind each other with `/` between.
    pub struct VideoParamOpt {
        pub download_speed: Option<String> = leaf "DownloadSpeed" [len 0..=256];
        pub resolution: Option<String> = leaf "Resolution" [len 0..=256];
    }
}

record! {
    /// One stream of a camera.
    pub struct StreamParam {
        /// 0 the main stream, 1 the first sub-stream, and so on.
        pub stream_number: u32 = leaf "StreamNumber" [0..=255];
        pub video_format: String = leaf "VideoFormat" [len 0..=32];
        pub resolution: String = leaf "Resolution" [len 0..=32];
        pub frame_rate: String = leaf "FrameRate" [len 0..=32];
        pub bit_rate_type: String = leaf "BitRateType" [len 0..=32];
        /// Needed for a constant bit rate.
        pub video_bit_rate: Option<String> = leaf "VideoBitRate" [len 0..=32];
    }
}

/// The streams of a camera. The list itself is the element.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(
    feature = "node",
    derive(serde::Serialize, serde::Deserialize, utoipa::ToSchema)
)]
#[cfg_attr(feature = "node", serde(rename_all = "camelCase", deny_unknown_fields))]
pub struct VideoParamAttribute {
    pub streams: Vec<StreamParam>,
}

const STREAMS_MAX: usize = 16;

impl StreamParam {
    /// Holds the numbers that stand in texts against annex G.
    fn check_values(&self) -> Result<(), BadField> {
        let within = |field, text: &str, min: i64, max: i64| {
            // Nothing but digits: `+5` and ` 5` are numbers to us alone.
            let digits = text.bytes().all(|byte| byte.is_ascii_digit());
            let number: Option<i64> = text.parse().ok().filter(|_| digits);
            let fits = number.is_some_and(|number| (min..=max).contains(&number));
            let flaw = Flaw::Outside { min, max };
            fits.then_some(()).ok_or(BadField { field, flaw })
        };
        within("video_format", &self.video_format, 1, 5)?;
        if !is_size(&self.resolution) {
            within("resolution", &self.resolution, 1, 6)?;
        }
        within("frame_rate", &self.frame_rate, 0, 99)?;
        within("bit_rate_type", &self.bit_rate_type, 1, 2)?;
        match &self.video_bit_rate {
            Some(rate) => within("video_bit_rate", rate, 0, 100_000),
            None => Ok(()),
        }
    }
}

/// `3840x2160`, as 2022 writes a resolution without a number.
fn is_size(text: &str) -> bool {
    let side = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        digits && text.parse::<u16>().is_ok_and(|pixels| pixels > 0)
    };
    let sides = text.split_once(['x', 'X', '*']);
    sides.is_some_and(|(width, height)| side(width) && side(height))
}

impl Record for VideoParamAttribute {
    fn write(&self, out: &mut String) {
        for stream in &self.streams {
            crate::gb28181::manscdp::fields::Group::write(stream, "Item", out);
        }
    }

    fn read(from: &Element) -> Result<VideoParamAttribute, BadField> {
        Ok(VideoParamAttribute {
            streams: read_many(from, "Item", STREAMS_MAX),
        })
    }

    fn check(&self) -> Result<(), BadField> {
        check_items("streams", &self.streams, STREAMS_MAX)?;
        self.streams.iter().try_for_each(StreamParam::check_values)
    }
}
