//! What a track carries, in the words that people compare: profile, level, size, rate, parameter sets.
//!
//! ITU-T H.264, A.2 and A.3; H.265, A.3 and A.4.

use crate::media::codec::{h264, h265};
use crate::media::frame::{Codec, Params, Track, VideoParams};

/// One track.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(feature = "node", derive(serde::Serialize, utoipa::ToSchema))]
#[cfg_attr(feature = "node", serde(rename_all = "camelCase"))]
pub struct TrackFacts {
    /// `video` or `audio`.
    pub kind: &'static str,
    pub codec: &'static str,
    #[cfg_attr(feature = "node", serde(skip_serializing_if = "Option::is_none"))]
    pub profile: Option<String>,
    #[cfg_attr(feature = "node", serde(skip_serializing_if = "Option::is_none"))]
    pub level: Option<String>,
    #[cfg_attr(feature = "node", serde(skip_serializing_if = "Option::is_none"))]
    pub width: Option<u32>,
    #[cfg_attr(feature = "node", serde(skip_serializing_if = "Option::is_none"))]
    pub height: Option<u32>,
    /// Frames per second that the stream declares.
    #[cfg_attr(feature = "node", serde(skip_serializing_if = "Option::is_none"))]
    pub fps: Option<f64>,
    #[cfg_attr(feature = "node", serde(skip_serializing_if = "Option::is_none"))]
    pub sample_rate: Option<u32>,
    #[cfg_attr(feature = "node", serde(skip_serializing_if = "Option::is_none"))]
    pub channels: Option<u8>,
    /// Hex of the NAL units, without start codes.
    #[cfg_attr(feature = "node", serde(skip_serializing_if = "Option::is_none"))]
    pub vps: Option<String>,
    #[cfg_attr(feature = "node", serde(skip_serializing_if = "Option::is_none"))]
    pub sps: Option<String>,
    #[cfg_attr(feature = "node", serde(skip_serializing_if = "Option::is_none"))]
    pub pps: Option<String>,
}

impl TrackFacts {
    pub fn of(track: &Track) -> TrackFacts {
        let codec = track.codec.name();
        match &*track.params {
            Params::Video(video) => {
                let (profile, level) = profile_and_level(track.codec, video);
                TrackFacts {
                    kind: "video",
                    codec,
                    profile,
                    level,
                    width: Some(video.width),
                    height: Some(video.height),
                    fps: video.fps_milli.map(|fps| f64::from(fps) / 1_000.0),
                    vps: video.vps.as_ref().map(|vps| hex(vps)),
                    sps: Some(hex(&video.sps)),
                    pps: Some(hex(&video.pps)),
                    ..TrackFacts::default()
                }
            }
            Params::Audio(audio) => TrackFacts {
                kind: "audio",
                codec,
                sample_rate: Some(audio.sample_rate),
                channels: Some(audio.channels),
                ..TrackFacts::default()
            },
        }
    }
}

fn profile_and_level(codec: Codec, video: &VideoParams) -> (Option<String>, Option<String>) {
    if codec == Codec::H264
        && let Some(sps) = h264::Sps::parse(&video.sps)
    {
        let level = format!("{}.{}", sps.level / 10, sps.level % 10);
        return (Some(h264_profile(&sps)), Some(level));
    }
    if codec == Codec::H265
        && let Some(sps) = h265::Sps::parse(&video.sps)
    {
        let level = format!("{}.{}", sps.level / 30, sps.level % 30 / 3);
        return (Some(h265_profile(&sps)), Some(level));
    }
    (None, None)
}

fn h264_profile(sps: &h264::Sps) -> String {
    // constraint_set1_flag (A.2.1.1).
    let constrained = sps.constraints & 0x40 != 0;
    match sps.profile {
        66 if constrained => "Constrained Baseline".into(),
        66 => "Baseline".into(),
        77 => "Main".into(),
        88 => "Extended".into(),
        100 => "High".into(),
        110 => "High 10".into(),
        122 => "High 4:2:2".into(),
        244 => "High 4:4:4 Predictive".into(),
        other => format!("profile_idc {other}"),
    }
}

fn h265_profile(sps: &h265::Sps) -> String {
    let tier = if sps.profile_byte & 0x20 == 0 {
        "Main tier"
    } else {
        "High tier"
    };
    let profile = match sps.profile_byte & 0x1f {
        1 => "Main".into(),
        2 => "Main 10".into(),
        3 => "Main Still Picture".into(),
        4 => "Range extensions".into(),
        other => format!("profile {other}"),
    };
    format!("{profile}, {tier}")
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut out = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        // Writing to a String cannot fail.
        let _ = write!(out, "{byte:02x}");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::frame::TrackId;
    use std::sync::Arc;

    #[test]
    fn a_real_parameter_set_is_named() {
        // Main profile, level 3.1, 1280 x 720: the example that ffmpeg's x264 wrote for a test pattern.
        let sps: &[u8] = &[
            0x67, 0x4d, 0x40, 0x1f, 0xec, 0xa0, 0x28, 0x02, 0xdd, 0x80, 0x88, 0x00, 0x00, 0x03,
            0x00, 0x08, 0x00, 0x00, 0x03, 0x01, 0x90, 0x78, 0xc1, 0x8c, 0xb0,
        ];
        let track = Track {
            id: TrackId::Video,
            codec: Codec::H264,
            params: Arc::new(Params::Video(VideoParams {
                sps: bytes::Bytes::from_static(sps),
                pps: bytes::Bytes::from_static(&[0x68, 0xeb]),
                width: 1280,
                height: 720,
                fps_milli: Some(25_000),
                vps: None,
            })),
        };
        let facts = TrackFacts::of(&track);
        assert_eq!(facts.profile.as_deref(), Some("Main"));
        assert_eq!(facts.level.as_deref(), Some("3.1"));
        assert_eq!(facts.pps.as_deref(), Some("68eb"));
        assert_eq!(facts.fps, Some(25.0));
    }
}
