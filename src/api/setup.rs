//! `/pu/config`: what GB/T 28181 carries of a device's configuration, in the words of the API (bvcsp 2.6, 2.28).
//!
//! | call | ConfigType |
//! |---|---|
//! | `general` | BasicParam, as text with the JSON Schema of what may stand in it |
//! | `server` | BasicParam: registration and keepalive; the address is the one that the device uses |
//! | `encoder` | VideoParamAttribute, and VideoParamOpt for what there is to choose from |
//! | `videoin` | PictureMask and FrameMirror |
//! | `overlay` | OSDConfig |
//! | `storage/schedule` | VideoRecordPlan |
//! | `storage/rule` | VideoAlarmRecord |
//! | `alertin` | AlarmReport |
//!
//! Each call has a type that says how it reads and writes these ([`Setup`]); asking, setting, rights and failures are the
//! same for all. What the standard does not have is left out of the types; the calls that it does not have at all stand in
//! `unsupported`. `storage/media`, `storage/status`, `gps` and `snapshot` are no configuration of the standard: they are
//! here as what they are, a question, a subscription, and a setting of the platform's own.

use axum::extract::State;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::gb28181::settings::{
    AlarmReport, BasicParam, ConfigType, DaySchedule, Mirror, OsdConfig, OsdText, PictureMask,
    Region, Settings, StreamParam, TimeSegment, VideoAlarmRecord, VideoParamAttribute,
    VideoRecordPlan,
};
use crate::gb28181::{Answer as DeviceAnswer, Ask, Question};

use super::ApiState;
use super::caller::{Admin, Caller};
use super::envelope::{Answer, Body, Code, Done, Failure, InQuery, Path, wrong_reply};
use super::gimbal::ask;
use super::list::bad;

/// What one call is in terms of the standard.
pub trait Setup: Serialize + DeserializeOwned + Send {
    /// What is asked for.
    const KINDS: &'static [ConfigType];

    /// From what the device answered. `None`: what is needed is not in it.
    fn read(told: Vec<Settings>) -> Option<Self>;

    /// What is set, each in an order of its own. Errors: a value that the standard does not have.
    fn settings(self) -> Result<Vec<Settings>, Failure>;
}

type Place = (String, u32);

async fn told(
    state: &ApiState,
    puid: &str,
    index: Option<u32>,
    kinds: &[ConfigType],
) -> Result<Vec<Settings>, Failure> {
    let question = Ask::Query(Question::Config(kinds.to_vec()));
    let DeviceAnswer::Config(told) = ask(state, puid, index, question).await? else {
        return Err(wrong_reply());
    };
    Ok(told)
}

async fn get<S: Setup>(
    state: &ApiState,
    puid: &str,
    index: Option<u32>,
) -> Result<Answer<S>, Failure> {
    let told = told(state, puid, index, S::KINDS).await?;
    let names: Vec<&str> = S::KINDS.iter().map(|kind| kind.name()).collect();
    let read = S::read(told).ok_or_else(|| {
        Failure::new(
            Code::Fail,
            format!("the device's answer does not hold {}", names.join(", ")),
        )
    })?;
    Ok(Answer::data(read))
}

/// Sets it, one type after the other.
pub async fn set_all(
    state: &ApiState,
    puid: &str,
    index: Option<u32>,
    all: Vec<Settings>,
) -> Result<Done, Failure> {
    if all.is_empty() {
        return Err(bad("there is nothing to set"));
    }
    for settings in all {
        ask(state, puid, index, Ask::Set(settings)).await?;
    }
    Ok(Done::new())
}

/// A call to read and one to set.
macro_rules! setup {
    ($get:ident, $get_id:literal, $set:ident, $set_id:literal, device $path:literal, $type:ty, $what:literal) => {
        #[doc = concat!("Asks a device for ", $what, ".")]
        #[utoipa::path(get, path = $path, operation_id = $get_id, tag = "management", security(("token" = [])),
            params(("puid" = String, Path, example = "PU_34020000001110000001")),
            responses((status = 200, body = Answer<$type>)))]
        pub async fn $get(State(state): State<ApiState>, _: Caller, Path(puid): Path<String>) -> Result<Answer<$type>, Failure> {
            get::<$type>(&state, &puid, None).await
        }

        #[doc = concat!("Sets ", $what, " of a device.")]
        #[utoipa::path(put, path = $path, operation_id = $set_id, tag = "management", security(("token" = [])),
            params(("puid" = String, Path, example = "PU_34020000001110000001")), request_body = $type,
            responses((status = 200, body = Done, example = json!({"code": 0, "msg": "success"}))))]
        pub async fn $set(State(state): State<ApiState>, _: Admin, Path(puid): Path<String>, Body(asked): Body<$type>) -> Result<Done, Failure> {
            set_all(&state, &puid, None, asked.settings()?).await
        }
    };
    ($get:ident, $get_id:literal, $set:ident, $set_id:literal, channel $path:literal, $type:ty, $what:literal) => {
        #[doc = concat!("Asks a device for ", $what, " of a channel.")]
        #[utoipa::path(get, path = $path, operation_id = $get_id, tag = "management", security(("token" = [])),
            params(("puid" = String, Path, example = "PU_34020000001110000001"), ("index" = u32, Path, example = 0)),
            responses((status = 200, body = Answer<$type>)))]
        pub async fn $get(State(state): State<ApiState>, _: Caller, Path((puid, index)): Path<Place>) -> Result<Answer<$type>, Failure> {
            get::<$type>(&state, &puid, Some(index)).await
        }

        #[doc = concat!("Sets ", $what, " of a channel.")]
        #[utoipa::path(put, path = $path, operation_id = $set_id, tag = "management", security(("token" = [])),
            params(("puid" = String, Path, example = "PU_34020000001110000001"), ("index" = u32, Path, example = 0)), request_body = $type,
            responses((status = 200, body = Done, example = json!({"code": 0, "msg": "success"}))))]
        pub async fn $set(State(state): State<ApiState>, _: Admin, Path((puid, index)): Path<Place>, Body(asked): Body<$type>) -> Result<Done, Failure> {
            set_all(&state, &puid, Some(index), asked.settings()?).await
        }
    };
}

/// One of the answered settings.
macro_rules! pick {
    ($told:expr, $kind:ident) => {
        $told.iter().find_map(|one| {
            let Settings::$kind(value) = one else {
                return None;
            };
            Some(value.clone())
        })
    };
}

/// Basic parameters as text (bvcsp 2.28).
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct GeneralConfig {
    /// JSON Schema of `config`; read only.
    #[serde(default)]
    schema: String,
    /// `{"name", "expiration", "heartBeatInterval", "heartBeatCount"}`; what is missing stays as it is.
    #[schema(example = "{\"heartBeatInterval\":60}")]
    config: String,
}

/// JSON Schema of [`BasicParam`].
const GENERAL_SCHEMA: &str = r#"{"type":"object","additionalProperties":false,"properties":{"name":{"type":"string","maxLength":256},"expiration":{"type":"integer","minimum":60,"maximum":604800},"heartBeatInterval":{"type":"integer","minimum":5,"maximum":3600},"heartBeatCount":{"type":"integer","minimum":1,"maximum":255}}}"#;

impl Setup for GeneralConfig {
    const KINDS: &'static [ConfigType] = &[ConfigType::Basic];

    fn read(told: Vec<Settings>) -> Option<GeneralConfig> {
        let basic = pick!(told, Basic)?;
        Some(GeneralConfig {
            schema: GENERAL_SCHEMA.to_owned(),
            config: serde_json::to_string(&basic).ok()?,
        })
    }

    fn settings(self) -> Result<Vec<Settings>, Failure> {
        let basic: BasicParam =
            serde_json::from_str(&self.config).map_err(|e| bad(format_args!("config: {e}")))?;
        Ok(vec![Settings::Basic(basic)])
    }
}

/// How a device stays registered (bvcsp 2.28, what the standard has of it).
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServerConfig {
    /// Seconds between two keepalives, 5 to 3600.
    #[schema(example = 60)]
    keepalive: Option<u32>,
    /// Keepalives that may be missing.
    #[schema(example = 3)]
    keepalive_count: Option<u32>,
    /// Seconds of a registration, 60 to 604800.
    #[schema(example = 3600)]
    expires: Option<u32>,
}

impl Setup for ServerConfig {
    const KINDS: &'static [ConfigType] = &[ConfigType::Basic];

    fn read(told: Vec<Settings>) -> Option<ServerConfig> {
        let basic = pick!(told, Basic)?;
        Some(ServerConfig {
            keepalive: basic.heart_beat_interval,
            keepalive_count: basic.heart_beat_count,
            expires: basic.expiration,
        })
    }

    fn settings(self) -> Result<Vec<Settings>, Failure> {
        Ok(vec![Settings::Basic(BasicParam {
            name: None,
            expiration: self.expires,
            heart_beat_interval: self.keepalive,
            heart_beat_count: self.keepalive_count,
        })])
    }
}

/// What a channel sends (bvcsp 2.28). Values are those of annex G of the standard.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct EncoderConfig {
    streams: Vec<StreamParam>,
    /// What there is to choose from; read only.
    #[serde(default, skip_deserializing)]
    resolutions: Vec<String>,
    /// At which speeds records can be downloaded; read only.
    #[serde(default, skip_deserializing, rename = "downloadSpeeds")]
    download_speeds: Vec<String>,
}

impl Setup for EncoderConfig {
    const KINDS: &'static [ConfigType] = &[ConfigType::VideoAttributes, ConfigType::VideoOptions];

    fn read(told: Vec<Settings>) -> Option<EncoderConfig> {
        let options = pick!(told, VideoOptions).unwrap_or_default();
        let split = |text: Option<String>| -> Vec<String> {
            let text = text.unwrap_or_default();
            text.split('/')
                .filter(|word| !word.is_empty())
                .map(str::to_owned)
                .collect()
        };
        Some(EncoderConfig {
            streams: pick!(told, VideoAttributes)?.streams,
            resolutions: split(options.resolution),
            download_speeds: split(options.download_speed),
        })
    }

    fn settings(self) -> Result<Vec<Settings>, Failure> {
        let streams = self.streams;
        Ok(vec![Settings::VideoAttributes(VideoParamAttribute {
            streams,
        })])
    }
}

/// How the picture stands and what of it is hidden (bvcsp 2.28, what the standard has of it).
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct VideoInConfig {
    /// 0 none, 1 left and right, 2 up and down, 3 both; missing = as it is.
    #[schema(example = 0)]
    mirror: Option<u32>,
    /// Hidden parts, at most 4; missing = as it is.
    shelter: Option<Shelter>,
}

#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Shelter {
    enable: bool,
    #[serde(default)]
    rects: Vec<Rect>,
}

/// Corners in pixels.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, ToSchema)]
pub struct Rect {
    left: u32,
    top: u32,
    right: u32,
    bottom: u32,
}

impl Rect {
    fn read(point: &str) -> Option<Rect> {
        let mut corners = point.split(',').map(|n| n.trim().parse::<u32>());
        let mut next = || corners.next()?.ok();
        Some(Rect {
            left: next()?,
            top: next()?,
            right: next()?,
            bottom: next()?,
        })
    }
}

impl Setup for VideoInConfig {
    const KINDS: &'static [ConfigType] = &[ConfigType::FrameMirror, ConfigType::PictureMask];

    fn read(told: Vec<Settings>) -> Option<VideoInConfig> {
        let mirror = pick!(told, FrameMirror).map(|mirror| mirror.mode);
        let shelter = pick!(told, PictureMask).map(|mask| Shelter {
            enable: mask.on != 0,
            rects: mask
                .regions
                .iter()
                .filter_map(|region| Rect::read(&region.point))
                .collect(),
        });
        (mirror.is_some() || shelter.is_some()).then_some(VideoInConfig { mirror, shelter })
    }

    fn settings(self) -> Result<Vec<Settings>, Failure> {
        let mirror = self
            .mirror
            .map(|mode| Settings::FrameMirror(Mirror { mode }));
        let shelter = self.shelter.map(|shelter| {
            let regions = (1..).zip(shelter.rects).map(
                |(
                    seq,
                    Rect {
                        left,
                        top,
                        right,
                        bottom,
                    },
                )| Region {
                    seq,
                    point: format!("{left},{top},{right},{bottom}"),
                },
            );
            Settings::PictureMask(PictureMask {
                on: u32::from(shelter.enable),
                regions: regions.collect(),
            })
        });
        Ok(mirror.into_iter().chain(shelter).collect())
    }
}

/// What is written on the picture (bvcsp 2.28). Places are pixels of a picture of `width` by `height`.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct OverlayConfig {
    #[schema(example = 1920)]
    width: u32,
    #[schema(example = 1080)]
    height: u32,
    time_x: u32,
    time_y: u32,
    time_enable: Option<bool>,
    /// 0 digits, 1 with the Chinese words for year, month and day.
    time_format: Option<u32>,
    text_enable: Option<bool>,
    #[serde(default)]
    texts: Vec<OsdText>,
}

impl Setup for OverlayConfig {
    const KINDS: &'static [ConfigType] = &[ConfigType::Osd];

    fn read(told: Vec<Settings>) -> Option<OverlayConfig> {
        let osd = pick!(told, Osd)?;
        Some(OverlayConfig {
            width: osd.length,
            height: osd.width,
            time_x: osd.time_x,
            time_y: osd.time_y,
            time_enable: osd.time_enable.map(|on| on != 0),
            time_format: osd.time_type,
            text_enable: osd.text_enable.map(|on| on != 0),
            texts: osd.texts,
        })
    }

    fn settings(self) -> Result<Vec<Settings>, Failure> {
        Ok(vec![Settings::Osd(OsdConfig {
            length: self.width,
            width: self.height,
            time_x: self.time_x,
            time_y: self.time_y,
            time_enable: self.time_enable.map(u32::from),
            time_type: self.time_format,
            text_enable: self.text_enable.map(u32::from),
            texts: self.texts,
        })])
    }
}

/// When a channel records (bvcsp 2.28).
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct StorageSchedule {
    enable: bool,
    /// 0 the main stream, 1 the first sub-stream, and so on.
    #[serde(default)]
    stream: u32,
    /// Seven days from Sunday on, each with at most eight slices.
    week: Vec<Vec<Slice>>,
}

/// From then to then on one day.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Slice {
    /// `hh:mm:ss`.
    #[schema(example = "08:00:00")]
    begin: String,
    /// `hh:mm:ss`.
    #[schema(example = "17:59:59")]
    end: String,
}

fn clock(field: &str, text: &str) -> Result<[u32; 3], Failure> {
    let number = |part: &str| part.parse::<u32>().ok().filter(|_| part.len() <= 2);
    let parts: Option<Vec<u32>> = text.split(':').map(number).collect();
    let read = match parts.as_deref() {
        Some([hour, minute]) => Some([*hour, *minute, 0]),
        Some([hour, minute, second]) => Some([*hour, *minute, *second]),
        Some(_) | None => None,
    };
    read.filter(|[h, m, s]| *h < 24 && *m < 60 && *s < 60)
        .ok_or_else(|| bad(format_args!("{field} must be hh:mm:ss")))
}

/// Days of the standard count from Monday as 1, those of the API from Sunday as 0.
fn day_of_standard(day: usize) -> u32 {
    if day == 0 { 7 } else { day as u32 }
}

impl Setup for StorageSchedule {
    const KINDS: &'static [ConfigType] = &[ConfigType::RecordPlan];

    fn read(told: Vec<Settings>) -> Option<StorageSchedule> {
        let plan = pick!(told, RecordPlan)?;
        let text = |h: u32, m: u32, s: u32| format!("{h:02}:{m:02}:{s:02}");
        let week = (0..7).map(|day| {
            let of_day = plan
                .days
                .iter()
                .filter(|d| d.week_day_num == day_of_standard(day));
            let slices = of_day.flat_map(|d| &d.segments).map(|s| Slice {
                begin: text(s.start_hour, s.start_min, s.start_sec),
                end: text(s.stop_hour, s.stop_min, s.stop_sec),
            });
            slices.collect()
        });
        Some(StorageSchedule {
            enable: plan.record_enable != 0,
            stream: plan.stream_number,
            week: week.collect(),
        })
    }

    fn settings(self) -> Result<Vec<Settings>, Failure> {
        if self.week.len() != 7 {
            return Err(bad("week must have 7 days"));
        }
        let mut days = Vec::new();
        for (day, slices) in self
            .week
            .into_iter()
            .enumerate()
            .filter(|(_, s)| !s.is_empty())
        {
            let mut segments = Vec::new();
            for slice in slices {
                let [start_hour, start_min, start_sec] = clock("begin", &slice.begin)?;
                let [stop_hour, stop_min, stop_sec] = clock("end", &slice.end)?;
                segments.push(TimeSegment {
                    start_hour,
                    start_min,
                    start_sec,
                    stop_hour,
                    stop_min,
                    stop_sec,
                });
            }
            days.push(DaySchedule {
                week_day_num: day_of_standard(day),
                segments,
            });
        }
        Ok(vec![Settings::RecordPlan(VideoRecordPlan {
            record_enable: u32::from(self.enable),
            days,
            stream_number: self.stream,
        })])
    }
}

/// How a channel records on alarms (bvcsp 2.28, what the standard has of it).
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct StorageRule {
    alarm_record: bool,
    /// Seconds after the alarm.
    #[schema(example = 30)]
    alarm_seconds: Option<u32>,
    /// Seconds before the alarm.
    #[schema(example = 5)]
    pre_seconds: Option<u32>,
    #[serde(default)]
    stream: u32,
}

impl Setup for StorageRule {
    const KINDS: &'static [ConfigType] = &[ConfigType::AlarmRecord];

    fn read(told: Vec<Settings>) -> Option<StorageRule> {
        let rule = pick!(told, AlarmRecord)?;
        Some(StorageRule {
            alarm_record: rule.record_enable != 0,
            alarm_seconds: rule.record_time,
            pre_seconds: rule.pre_record_time,
            stream: rule.stream_number,
        })
    }

    fn settings(self) -> Result<Vec<Settings>, Failure> {
        Ok(vec![Settings::AlarmRecord(VideoAlarmRecord {
            record_enable: u32::from(self.alarm_record),
            record_time: self.alarm_seconds,
            pre_record_time: self.pre_seconds,
            stream_number: self.stream,
        })])
    }
}

/// Which alarms a channel reports (bvcsp 2.28, what the standard has of it).
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AlertInConfig {
    motion_detection: bool,
    field_detection: bool,
}

impl Setup for AlertInConfig {
    const KINDS: &'static [ConfigType] = &[ConfigType::AlarmReport];

    fn read(told: Vec<Settings>) -> Option<AlertInConfig> {
        let report = pick!(told, AlarmReport)?;
        Some(AlertInConfig {
            motion_detection: report.motion_detection != 0,
            field_detection: report.field_detection != 0,
        })
    }

    fn settings(self) -> Result<Vec<Settings>, Failure> {
        Ok(vec![Settings::AlarmReport(AlarmReport {
            motion_detection: u32::from(self.motion_detection),
            field_detection: u32::from(self.field_detection),
        })])
    }
}

setup!(get_general, "getGeneralConfig", set_general, "setGeneralConfig", device "/bvcsp/v1/pu/config/general/{puid}", GeneralConfig, "basic parameters");
setup!(get_server, "getServerConfig", set_server, "setServerConfig", device "/bvcsp/v1/pu/config/server/{puid}", ServerConfig, "registration and keepalive");
setup!(get_encoder, "getEncoderConfig", set_encoder, "setEncoderConfig", channel "/bvcsp/v1/pu/config/encoder/{puid}/{index}", EncoderConfig, "codecs, sizes and rates");
setup!(get_video_in, "getVideoInConfig", set_video_in, "setVideoInConfig", channel "/bvcsp/v1/pu/config/videoin/{puid}/{index}", VideoInConfig, "mirror and hidden parts");
setup!(get_overlay, "getOverlayConfig", set_overlay, "setOverlayConfig", channel "/bvcsp/v1/pu/config/overlay/{puid}/{index}", OverlayConfig, "texts on the picture");
setup!(get_schedule, "getStorageSchedule", set_schedule, "setStorageSchedule", channel "/bvcsp/v1/pu/config/storage/schedule/{puid}/{index}", StorageSchedule, "the times of recording");
setup!(get_rule, "getStorageRule", set_rule, "setStorageRule", channel "/bvcsp/v1/pu/config/storage/rule/{puid}/{index}", StorageRule, "recording on alarms");
setup!(get_alert_in, "getAlertInConfig", set_alert_in, "setAlertInConfig", channel "/bvcsp/v1/pu/config/alertin/{puid}/{index}", AlertInConfig, "which alarms are reported");

// ---- questions ----

/// A card or disk of a device (bvcsp 2.28).
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct StorageMedium {
    pub name: String,
    /// 1 card or disk.
    pub r#type: u32,
    /// MB.
    #[schema(example = 32000)]
    pub total: u32,
    /// MB.
    #[schema(example = 12000)]
    pub free: u32,
    pub formatted: bool,
    /// In the words of the standard: `ok`, `formatting`, `unformatted`, `idle`, `error`.
    pub status: String,
}

/// Asks a device for one of its cards; `index` counts from 0.
#[utoipa::path(get, path = "/bvcsp/v1/pu/config/storage/media/{puid}/{index}", operation_id = "getStorageMedium", tag = "management", security(("token" = [])),
    params(("puid" = String, Path, example = "PU_34020000001110000001"), ("index" = u32, Path, example = 0)),
    responses((status = 200, body = Answer<StorageMedium>)))]
pub async fn get_medium(
    State(state): State<ApiState>,
    _: Caller,
    Path((puid, index)): Path<Place>,
) -> Result<Answer<StorageMedium>, Failure> {
    let DeviceAnswer::SdCards(cards) =
        ask(&state, &puid, None, Ask::Query(Question::SdCards)).await?
    else {
        return Err(wrong_reply());
    };
    let card = cards
        .into_iter()
        .find(|card| card.id.checked_sub(1) == Some(index));
    let card = card.ok_or_else(|| Failure::new(Code::NotFound, "the device has no such card"))?;
    let status = card.status.unwrap_or_default();
    Ok(Answer::data(StorageMedium {
        name: card.hdd_name.unwrap_or_default(),
        r#type: 1,
        total: card.capacity.unwrap_or(0),
        free: card.free_space.unwrap_or(0),
        formatted: status != "unformatted",
        status,
    }))
}

/// What a device records now (bvcsp 2.28).
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct StorageStatus {
    pub record_video: bool,
    /// In the words of the device.
    pub status: String,
    pub reason: String,
}

/// Whose state is wanted.
#[derive(Debug, Default, Deserialize)]
pub struct StatusQuery {
    index: Option<u32>,
}

/// Asks a device, or one of its channels, whether it records.
#[utoipa::path(get, path = "/bvcsp/v1/pu/storage/status/{puid}", operation_id = "getStorageStatus", tag = "management", security(("token" = [])),
    params(("puid" = String, Path, example = "PU_34020000001110000001"),
        ("index" = Option<u32>, Query, description = "of the channel; none = the device itself")),
    responses((status = 200, body = Answer<StorageStatus>)))]
pub async fn get_storage_status(
    State(state): State<ApiState>,
    _: Caller,
    Path(puid): Path<String>,
    InQuery(query): InQuery<StatusQuery>,
) -> Result<Answer<StorageStatus>, Failure> {
    let question = Ask::Query(Question::DeviceStatus);
    let DeviceAnswer::DeviceStatus(told) = ask(&state, &puid, query.index, question).await? else {
        return Err(wrong_reply());
    };
    Ok(Answer::data(StorageStatus {
        record_video: told
            .record
            .is_some_and(|word| word.eq_ignore_ascii_case("ON")),
        status: told.status.unwrap_or_default(),
        reason: told.reason.unwrap_or_default(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a call sets is what it reads again.
    fn round<S: Setup>(json: serde_json::Value) {
        let asked: S = serde_json::from_value(json.clone()).expect("readable");
        let settings = asked.settings().expect("of the standard");
        assert!(
            settings
                .iter()
                .all(|one| S::KINDS.contains(&one.kind()) && one.check().is_ok())
        );
        let read = S::read(settings).expect("whole");
        let mut read = serde_json::to_value(&read).expect("written");
        if let (Some(read), Some(json)) = (read.as_object_mut(), json.as_object()) {
            read.retain(|key, _| json.contains_key(key));
        }
        assert_eq!(read, json);
    }

    #[test]
    fn what_is_set_is_what_is_read() {
        use serde_json::json;
        round::<GeneralConfig>(
            json!({"config": "{\"name\":\"门\",\"expiration\":null,\"heartBeatInterval\":60,\"heartBeatCount\":null}"}),
        );
        round::<ServerConfig>(json!({"keepalive": 30, "keepaliveCount": 3, "expires": 600}));
        round::<EncoderConfig>(
            json!({"streams": [{"streamNumber": 0, "videoFormat": "2", "resolution": "6",
            "frameRate": "25", "bitRateType": "1", "videoBitRate": "2048"}]}),
        );
        round::<VideoInConfig>(json!({"mirror": 2, "shelter": {"enable": true, "rects": [
            {"left": 1, "top": 2, "right": 30, "bottom": 40}]}}));
        round::<OverlayConfig>(
            json!({"width": 1920, "height": 1080, "timeX": 1, "timeY": 2, "timeEnable": true,
            "timeFormat": 1, "textEnable": false, "texts": [{"text": "东", "x": 3, "y": 4}]}),
        );
        let mut week = vec![json!([]); 7];
        week[0] = json!([{"begin": "00:00:00", "end": "23:59:59"}]);
        week[3] = json!([{"begin": "08:00:00", "end": "12:00:00"}, {"begin": "13:30:00", "end": "18:00:00"}]);
        round::<StorageSchedule>(json!({"enable": true, "stream": 1, "week": week}));
        round::<StorageRule>(
            json!({"alarmRecord": true, "alarmSeconds": 30, "preSeconds": 5, "stream": 0}),
        );
        round::<AlertInConfig>(json!({"motionDetection": true, "fieldDetection": false}));
    }

    #[test]
    fn times_are_of_a_day() {
        assert_eq!(clock("begin", "8:05").expect("a time"), [8, 5, 0]);
        for wrong in [
            "24:00:00",
            "8",
            "08:60:00",
            "a:b:c",
            "",
            "-1:00:00",
            "008:00:00",
        ] {
            assert!(
                clock("begin", wrong)
                    .expect_err("none")
                    .msg
                    .contains("begin")
            );
        }
        let days: Vec<u32> = (0..7).map(day_of_standard).collect();
        assert_eq!(days, [7, 1, 2, 3, 4, 5, 6]);
    }
}
