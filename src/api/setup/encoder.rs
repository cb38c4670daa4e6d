//! `/pu/config/encoder`: what a channel sends, in the words of bvcsp 2.28 beside those of GB/T 28181-2022.
//!
//! The values of the standard are VideoParamAttribute (A.2.1.13), numbered as in `f=` of annex G; what there is to choose
//! from is VideoParamOpt (A.2.1.20).
//!
//! | bvcsp | the standard |
//! |---|---|
//! | `streamType` 0 storage, 1 transfer | `streamNumber` 0 the main stream, 1 the first sub-stream; others have no type |
//! | `codecs`, `codecIndex` | `videoFormat` |
//! | `sizes`, `sizeIndex` | `resolution` |
//! | `fps`, thousandths | `frameRate` |
//! | `rateControl` 0 CBR, 1 VBR | `bitRateType` 1, 2 |
//! | `kbpsCustom` | `videoBitRate` |
//!
//! Not done: what the standard has no value for (see [`lacking`]); `params` for parts of a day: a stream is the same all day.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Failure, Settings, Setup, bad};
use crate::api::words::{Lack, either, either_form, lacking};
use crate::gb28181::settings::{ConfigType, StreamParam, VideoParamAttribute};

/// What a channel sends. Each value stands under its word of bvcsp and under that of the standard; either may be set.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct EncoderConfig {
    /// null: the standard has none.
    name: Lack,
    streams: Vec<StreamConfig>,
    /// What there is to choose from; read only.
    #[serde(skip_deserializing)]
    #[schema(example = json!(["4", "5", "6"]))]
    resolutions: Vec<String>,
    /// At which speeds records can be downloaded; read only.
    #[serde(skip_deserializing)]
    #[schema(example = json!(["1", "2", "4"]))]
    download_speeds: Vec<String>,
    /// null, as the three after it: a channel of the standard is one camera.
    video_in_index: Lack,
    audio_in_index: Lack,
    audio_out_index: Lack,
    ptz_index: Lack,
}

/// One stream of a channel.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct StreamConfig {
    /// 0 the main stream, 1 the first sub-stream, and so on.
    #[schema(example = 0)]
    stream_number: Option<u32>,
    /// 1 MPEG-4, 2 H.264, 3 SVAC, 4 3GP, 5 H.265.
    #[schema(example = "2")]
    video_format: Option<String>,
    /// 1 QCIF, 2 CIF, 3 4CIF, 4 D1, 5 720p, 6 1080p, or `3840x2160`.
    #[schema(example = "6")]
    resolution: Option<String>,
    /// Frames per second, 0 to 99.
    #[schema(example = "25")]
    frame_rate: Option<String>,
    /// 1 constant, 2 variable.
    #[schema(example = "1")]
    bit_rate_type: Option<String>,
    /// kbit/s, 0 to 100000.
    #[schema(example = "4096")]
    video_bit_rate: Option<String>,
    /// 0 storage (the main stream), 1 transfer (the first sub-stream), null another.
    #[schema(example = 0)]
    stream_type: Option<u32>,
    /// null: the standard sends each stream that is asked for.
    enable_transfer: Lack,
    /// One: it holds all day.
    params: Vec<StreamParams>,
}

/// How a stream is made.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct StreamParams {
    video: VideoEncoder,
    /// null: the standard sets no sound.
    audio: Lack,
}

/// How the picture is made. null: the device did not say, or the standard has no such value.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct VideoEncoder {
    enable: Lack,
    /// Every codec that the standard can name; a device need not have all of them.
    #[schema(example = json!(["MPEG-4", "H.264", "SVAC", "3GP", "H.265"]))]
    codecs: Vec<String>,
    #[schema(example = 1)]
    codec_index: Option<usize>,
    /// 0 CBR, 1 VBR; the standard has no CVBR (2).
    #[schema(example = 0)]
    rate_control: Option<u32>,
    /// What the device offers, and what it has now.
    sizes: Vec<Size>,
    #[schema(example = 2)]
    size_index: Option<usize>,
    /// Thousandths of a frame per second, whole thousands.
    #[schema(example = 25_000)]
    fps: Option<u32>,
    gop: Lack,
    quality: Lack,
    /// null: the limits of the bit rate, which devices do not tell.
    kbps: Lack,
    /// kbit/s.
    #[schema(example = 4096)]
    kbps_custom: Option<u32>,
    overlay: Lack,
    crop: Lack,
}

/// Pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = PictureSize)]
pub struct Size {
    #[schema(example = 1920)]
    w: u32,
    #[schema(example = 1080)]
    h: u32,
}

/// Names of the codecs; the value of the standard is the place from 1 on.
const CODECS: [&str; 5] = ["MPEG-4", "H.264", "SVAC", "3GP", "H.265"];

/// Sizes of the resolutions; the value of the standard is the place from 1 on.
const SIZES: [Size; 6] = [
    Size { w: 176, h: 144 },
    Size { w: 352, h: 288 },
    Size { w: 704, h: 576 },
    Size { w: 720, h: 576 },
    Size { w: 1280, h: 720 },
    Size { w: 1920, h: 1080 },
];

/// The place in a table of which the standard counts from 1.
fn place(text: &str, table: usize) -> Option<usize> {
    let number: usize = text.trim().parse().ok()?;
    number.checked_sub(1).filter(|place| *place < table)
}

fn size_of(resolution: &str) -> Option<Size> {
    if let Some(place) = place(resolution, SIZES.len()) {
        return Some(SIZES[place]);
    }
    let (w, h) = resolution.trim().split_once(['x', 'X', '*'])?;
    Some(Size {
        w: w.parse().ok()?,
        h: h.parse().ok()?,
    })
}

fn resolution_of(size: Size) -> String {
    match SIZES.iter().position(|known| *known == size) {
        Some(place) => (place + 1).to_string(),
        None => format!("{}x{}", size.w, size.h),
    }
}

/// A number of the standard as text, within its range.
fn number(text: &str) -> Option<u32> {
    text.trim().parse().ok()
}

/// Values with `/` between.
fn split(text: Option<String>) -> Vec<String> {
    let text = text.unwrap_or_default();
    let words = text
        .split('/')
        .map(str::trim)
        .filter(|word| !word.is_empty());
    words.map(str::to_owned).collect()
}

impl Setup for EncoderConfig {
    const KINDS: &'static [ConfigType] = &[ConfigType::VideoAttributes, ConfigType::VideoOptions];

    fn read(told: Vec<Settings>) -> Option<EncoderConfig> {
        let options = super::pick!(told, VideoOptions).unwrap_or_default();
        let resolutions = split(options.resolution);
        let offered: Vec<Size> = resolutions.iter().filter_map(|one| size_of(one)).collect();
        let streams = super::pick!(told, VideoAttributes)?.streams.into_iter();
        Some(EncoderConfig {
            streams: streams
                .map(|one| StreamConfig::show(one, &offered))
                .collect(),
            resolutions,
            download_speeds: split(options.download_speed),
            ..EncoderConfig::default()
        })
    }

    fn settings(self) -> Result<Vec<Settings>, Failure> {
        lacking([
            ("name", self.name),
            ("videoInIndex", self.video_in_index),
            ("audioInIndex", self.audio_in_index),
            ("audioOutIndex", self.audio_out_index),
            ("ptzIndex", self.ptz_index),
        ])?;
        if self.streams.is_empty() {
            return Err(bad("streams is missing"));
        }
        let streams: Result<Vec<StreamParam>, Failure> =
            self.streams.into_iter().map(StreamConfig::take).collect();
        Ok(vec![Settings::VideoAttributes(VideoParamAttribute {
            streams: streams?,
        })])
    }
}

impl StreamConfig {
    fn show(one: StreamParam, offered: &[Size]) -> StreamConfig {
        let mut sizes = offered.to_vec();
        let size = size_of(&one.resolution);
        if let Some(size) = size.filter(|size| !sizes.contains(size)) {
            sizes.push(size);
        }
        let video = VideoEncoder {
            codecs: CODECS.map(str::to_owned).to_vec(),
            codec_index: place(&one.video_format, CODECS.len()),
            rate_control: rate_control_of(&one.bit_rate_type),
            size_index: size.and_then(|size| sizes.iter().position(|known| *known == size)),
            sizes,
            fps: number(&one.frame_rate).and_then(|fps| fps.checked_mul(1_000)),
            kbps_custom: one.video_bit_rate.as_deref().and_then(number),
            ..VideoEncoder::default()
        };
        StreamConfig {
            stream_type: Some(one.stream_number).filter(|number| *number < 2),
            stream_number: Some(one.stream_number),
            video_format: Some(one.video_format),
            resolution: Some(one.resolution),
            frame_rate: Some(one.frame_rate),
            bit_rate_type: Some(one.bit_rate_type),
            video_bit_rate: one.video_bit_rate,
            enable_transfer: Lack::default(),
            params: vec![StreamParams {
                video,
                audio: Lack::default(),
            }],
        }
    }

    fn take(self) -> Result<StreamParam, Failure> {
        let mut params = self.params.into_iter();
        let StreamParams { video, audio } = params.next().unwrap_or_default();
        if params.next().is_some() {
            return Err(bad(
                "params must have one item: a stream is the same all day",
            ));
        }
        if self.stream_type.is_some_and(|kind| kind > 1) {
            return Err(bad("streamType must be 0 or 1"));
        }
        lacking([
            ("enableTransfer", self.enable_transfer),
            ("audio", audio),
            ("enable", video.enable),
            ("gop", video.gop),
            ("quality", video.quality),
            ("kbps", video.kbps),
            ("overlay", video.overlay),
            ("crop", video.crop),
        ])?;
        let number_of = either(
            ("streamType", self.stream_type),
            ("streamNumber", self.stream_number),
        )?;
        let codec = ("codecIndex", video.codec()?);
        let size = ("sizeIndex", video.size()?);
        let fps = ("fps", video.frame_rate()?);
        let control = ("rateControl", video.rate_control()?);
        let needed = |name: &str, other: &str, value: Option<String>| {
            value.ok_or_else(|| bad(format_args!("{name}, or {other}, is missing")))
        };
        let place_in = |text: &str| place(text, CODECS.len());
        let format = ("videoFormat", self.video_format);
        let format = either_form(codec, format, place_in, |place| (place + 1).to_string())?;
        let resolution = ("resolution", self.resolution);
        let resolution = either_form(size, resolution, size_of, resolution_of)?;
        let rate = ("frameRate", self.frame_rate);
        let rate = either_form(fps, rate, number, |fps| fps.to_string())?;
        let kind = ("bitRateType", self.bit_rate_type);
        let kind = either_form(control, kind, rate_control_of, |rc| (rc + 1).to_string())?;
        let kbps = ("kbpsCustom", video.kbps_custom);
        let text = ("videoBitRate", self.video_bit_rate);
        Ok(StreamParam {
            stream_number: number_of
                .ok_or_else(|| bad("streamNumber, or streamType, is missing"))?,
            video_format: needed("videoFormat", "codecIndex", format)?,
            resolution: needed("resolution", "sizeIndex", resolution)?,
            frame_rate: needed("frameRate", "fps", rate)?,
            bit_rate_type: needed("bitRateType", "rateControl", kind)?,
            video_bit_rate: either_form(kbps, text, number, |kbps| kbps.to_string())?,
        })
    }
}

/// 0 CBR, 1 VBR.
fn rate_control_of(bit_rate_type: &str) -> Option<u32> {
    number(bit_rate_type)?.checked_sub(1).filter(|rc| *rc < 2)
}

impl VideoEncoder {
    /// Place in [`CODECS`]: of the list that was given, or of that one.
    fn codec(&self) -> Result<Option<usize>, Failure> {
        let Some(index) = self.codec_index else {
            return Ok(None);
        };
        let place = match self.codecs.get(index) {
            Some(name) => CODECS.iter().position(|known| known == name),
            None if self.codecs.is_empty() => Some(index).filter(|index| *index < CODECS.len()),
            None => None,
        };
        let place = place.ok_or_else(|| bad("codecIndex names no codec of the standard"))?;
        Ok(Some(place))
    }

    /// One of the list that was given.
    fn size(&self) -> Result<Option<Size>, Failure> {
        let Some(index) = self.size_index else {
            return Ok(None);
        };
        let size = self.sizes.get(index);
        let size = size.ok_or_else(|| bad("sizeIndex names none of sizes"))?;
        Ok(Some(*size))
    }

    fn frame_rate(&self) -> Result<Option<u32>, Failure> {
        match self.fps {
            Some(fps) if fps % 1_000 != 0 => Err(bad(
                "fps must be whole thousands: the standard has whole frames per second",
            )),
            fps => Ok(fps.map(|fps| fps / 1_000)),
        }
    }

    fn rate_control(&self) -> Result<Option<u32>, Failure> {
        match self.rate_control {
            Some(2..) => Err(bad("rateControl must be 0 or 1")),
            rate_control => Ok(rate_control),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::envelope::Code;
    use crate::gb28181::settings::VideoParamOpt;
    use serde_json::json;

    fn stream() -> StreamParam {
        StreamParam {
            stream_number: 0,
            video_format: "2".into(),
            resolution: "6".into(),
            frame_rate: "25".into(),
            bit_rate_type: "1".into(),
            video_bit_rate: Some("4096".into()),
        }
    }

    fn taken(body: serde_json::Value) -> Result<StreamParam, Failure> {
        let config: EncoderConfig =
            serde_json::from_value(json!({"streams": [body]})).expect("readable");
        let settings = config.settings()?.pop().expect("one");
        let Settings::VideoAttributes(mut all) = settings else {
            panic!("another type");
        };
        Ok(all.streams.pop().expect("one"))
    }

    #[test]
    fn what_a_camera_sends_has_both_words() {
        let told = vec![
            Settings::VideoOptions(VideoParamOpt {
                resolution: Some("4/5/2560x1440".into()),
                download_speed: Some("1/2".into()),
            }),
            Settings::VideoAttributes(VideoParamAttribute {
                streams: vec![
                    stream(),
                    StreamParam {
                        stream_number: 2,
                        video_format: "9".into(),
                        resolution: "large".into(),
                        frame_rate: "".into(),
                        bit_rate_type: "".into(),
                        video_bit_rate: None,
                    },
                ],
            }),
        ];
        let read = EncoderConfig::read(told).expect("whole");
        let shown = serde_json::to_value(&read).expect("written");
        let first = &shown["streams"][0];
        assert_eq!(
            (&first["streamType"], &first["videoFormat"]),
            (&json!(0), &json!("2"))
        );
        let video = &first["params"][0]["video"];
        assert_eq!(
            video["codecs"][video["codecIndex"].as_u64().expect("one") as usize],
            "H.264"
        );
        assert_eq!(video["sizes"][2], json!({"w": 2560, "h": 1440}));
        assert_eq!(
            video["sizes"][3],
            json!({"w": 1920, "h": 1080}),
            "what it has now"
        );
        assert_eq!(video["sizeIndex"], 3);
        assert_eq!(
            (&video["fps"], &video["rateControl"], &video["kbpsCustom"]),
            (&json!(25_000), &json!(0), &json!(4096))
        );
        for none in ["gop", "quality", "kbps", "overlay", "crop", "enable"] {
            assert_eq!(video.get(none), Some(&json!(null)), "{none}");
        }
        let other = &shown["streams"][1];
        let video = &other["params"][0]["video"];
        for none in [
            "codecIndex",
            "sizeIndex",
            "fps",
            "rateControl",
            "kbpsCustom",
        ] {
            assert_eq!(
                video[none],
                json!(null),
                "{none} of a stream that nobody can read"
            );
        }
        assert_eq!(other["streamType"], json!(null));
        // What was read can be sent back as it is.
        let again: EncoderConfig =
            serde_json::from_value(json!({"streams": [first]})).expect("readable");
        let settings = again.settings().expect("taken");
        let wanted = VideoParamAttribute {
            streams: vec![stream()],
        };
        assert_eq!(settings, [Settings::VideoAttributes(wanted)]);
    }

    #[test]
    fn either_word_sets_a_stream() {
        let video = json!({"codecs": ["H.265", "H.264"], "codecIndex": 1, "rateControl": 0, "fps": 25_000,
            "sizes": [{"w": 1920, "h": 1080}], "sizeIndex": 0, "kbpsCustom": 4096});
        let of_bvcsp = json!({"streamType": 0, "params": [{"video": video}]});
        assert_eq!(taken(of_bvcsp.clone()), Ok(stream()));
        let of_standard = json!({"streamNumber": 0, "videoFormat": "2", "resolution": "6", "frameRate": "25",
            "bitRateType": "1", "videoBitRate": "4096"});
        assert_eq!(taken(of_standard), Ok(stream()));
        for (key, value, named) in [
            ("videoFormat", "5", "codecIndex and videoFormat"),
            ("resolution", "5", "sizeIndex and resolution"),
            ("frameRate", "30", "fps and frameRate"),
            ("bitRateType", "2", "rateControl and bitRateType"),
            ("videoBitRate", "2048", "kbpsCustom and videoBitRate"),
        ] {
            let mut both = of_bvcsp.clone();
            both[key] = json!(value);
            let failure = taken(both).expect_err(key);
            assert_eq!(failure.code, Code::ErrorParam, "{key}");
            assert!(failure.msg.contains(named), "{}", failure.msg);
        }
        let mut both = of_bvcsp.clone();
        both["streamNumber"] = json!(1);
        assert!(taken(both).expect_err("differ").msg.contains("streamType"));
    }

    #[test]
    fn what_no_camera_of_the_standard_has_is_refused_by_name() {
        let with = |key: &str, value: serde_json::Value| {
            let mut video = json!({"codecIndex": 1, "rateControl": 0, "fps": 25_000,
                "sizes": [{"w": 1920, "h": 1080}], "sizeIndex": 0});
            video[key] = value;
            taken(json!({"streamType": 0, "params": [{"video": video}]}))
        };
        assert!(with("gop", json!(null)).is_ok());
        for (key, value, code) in [
            ("gop", json!(50), Code::Unsupported),
            ("quality", json!(3), Code::Unsupported),
            ("crop", json!({}), Code::Unsupported),
            ("codecIndex", json!(5), Code::ErrorParam),
            ("rateControl", json!(2), Code::ErrorParam),
            ("sizeIndex", json!(1), Code::ErrorParam),
            ("fps", json!(12_500), Code::ErrorParam),
            ("codecIndex", json!(null), Code::ErrorParam),
        ] {
            let failure = with(key, value).expect_err(key);
            assert_eq!(failure.code, code, "{key}");
            assert!(failure.msg.contains(key), "{}", failure.msg);
        }
        let failure = taken(json!({"streamNumber": 0})).expect_err("nothing set");
        assert!(failure.msg.contains("videoFormat"), "{}", failure.msg);
        let none = serde_json::from_value::<EncoderConfig>(json!({})).expect("readable");
        assert!(
            none.settings()
                .expect_err("nothing")
                .msg
                .contains("streams")
        );
    }

    #[test]
    fn resolutions_and_sizes_are_each_others_inverse() {
        for number in 1..=SIZES.len() {
            let text = number.to_string();
            assert_eq!(resolution_of(size_of(&text).expect("a size")), text);
        }
        assert_eq!(size_of("3840x2160"), Some(Size { w: 3840, h: 2160 }));
        assert_eq!(resolution_of(Size { w: 3840, h: 2160 }), "3840x2160");
        for none in ["0", "7", "", "x", "1920"] {
            assert_eq!(size_of(none), None, "{none}");
        }
    }
}
