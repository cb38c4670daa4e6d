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
//! same for all. Where bvcsp and the standard have different words for a value, answers have both and requests take either;
//! what the standard does not have is `null` or left out, and code 8 where somebody sets it (`words`). The calls that it does
//! not have at all stand in `unsupported`. `storage/media`, `storage/status`, `gps` and `snapshot` are no configuration of
//! the standard: they are here as what they are, a question, a subscription, and a setting of the platform's own.

mod encoder;
mod server;

use std::net::{IpAddr, SocketAddr};

use axum::extract::State;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::gb28181::settings::{
    AlarmReport, BasicParam, ConfigType, DaySchedule, Mirror, OsdConfig, OsdText, PictureMask,
    Region, Settings, TimeSegment, VideoAlarmRecord, VideoRecordPlan,
};
use crate::gb28181::{Answer as DeviceAnswer, Ask, Question, SipTransport};
use crate::session::DeviceView;
use crate::session::shell::route_to;

use super::ApiState;
use super::caller::{Admin, Caller};
use super::device::find;
use super::envelope::{Answer, Body, Code, Done, Failure, InQuery, Path, wrong_reply};
use super::gimbal::ask;
use super::list::bad;
use super::words::{Lack, either, lacking};
use encoder::EncoderConfig;
use server::ServerConfig;

/// What one call is in terms of the standard.
pub trait Setup: Serialize + DeserializeOwned + Send {
    /// What is asked for.
    const KINDS: &'static [ConfigType];

    /// From what the device answered. `None`: what is needed is not in it.
    fn read(told: Vec<Settings>) -> Option<Self>;

    /// Adds what this node knows beside the device's answer. `at`: by which address of ours it reaches us.
    fn complete(&mut self, _: &DeviceView, _at: Option<SocketAddr>) {}

    /// Holds what cannot be set against what is. Errors: it shall be otherwise.
    fn compare(&self, _: &DeviceView, _at: Option<SocketAddr>) -> Result<(), Failure> {
        Ok(())
    }

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
    let names = names.join(", ");
    // A device that knows the question and none of the types says OK, and nothing else.
    if told.is_empty() {
        let msg = format!("the device has no {names}");
        return Err(Failure::new(Code::Unsupported, msg));
    }
    let mut read = S::read(told).ok_or_else(|| {
        let msg = format!("the device's answer does not hold {names}");
        Failure::new(Code::Fail, msg)
    })?;
    let view = find(state, puid).await?;
    read.complete(&view, reached_at(state, &view));
    Ok(Answer::data(read))
}

async fn set<S: Setup>(
    state: &ApiState,
    puid: &str,
    index: Option<u32>,
    asked: S,
) -> Result<Done, Failure> {
    let view = find(state, puid).await?;
    asked.compare(&view, reached_at(state, &view))?;
    set_all(state, puid, index, asked.settings()?).await
}

/// By which SIP address of ours a device reaches us.
fn reached_at(state: &ApiState, view: &DeviceView) -> Option<SocketAddr> {
    let sip = &state.config.sip;
    let listen = match view.transport {
        SipTransport::Udp | SipTransport::Tcp => sip.listen,
        SipTransport::Tls => sip.tls_listen?,
    };
    let fixed = |ip: IpAddr| (!ip.is_unspecified()).then_some(ip);
    let ip = sip.advertised_ip.or_else(|| fixed(listen.ip()));
    let ip = ip.or_else(|| route_to(view.peer?.ip()))?;
    Some(SocketAddr::new(ip, listen.port()))
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
            set(&state, &puid, None, asked).await
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
            set(&state, &puid, Some(index), asked).await
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
use pick;

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
    /// Sum of 1 the time, 2 texts; the same as `timeEnable` and `textEnable`. The standard has no others.
    #[schema(example = 3)]
    #[serde(default)]
    bits: Option<u32>,
    #[serde(default)]
    separator: Lack,
}

/// Bits of [`OverlayConfig::bits`].
const OVERLAY_TIME: u32 = 1;
const OVERLAY_TEXT: u32 = 2;

impl Setup for OverlayConfig {
    const KINDS: &'static [ConfigType] = &[ConfigType::Osd];

    fn read(told: Vec<Settings>) -> Option<OverlayConfig> {
        let osd = pick!(told, Osd)?;
        let bits = osd.time_enable.zip(osd.text_enable);
        Some(OverlayConfig {
            bits: bits.map(|(time, text)| {
                let bit = |on: u32, bit: u32| if on == 0 { 0 } else { bit };
                bit(time, OVERLAY_TIME) | bit(text, OVERLAY_TEXT)
            }),
            separator: Lack::default(),
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
        lacking([("separator", self.separator)])?;
        if self
            .bits
            .is_some_and(|bits| bits & !(OVERLAY_TIME | OVERLAY_TEXT) != 0)
        {
            return Err(bad("bits must be a sum of 1 and 2"));
        }
        let bit = |bit: u32| self.bits.map(|bits| bits & bit != 0);
        let time = either(
            ("bits", bit(OVERLAY_TIME)),
            ("timeEnable", self.time_enable),
        )?;
        let text = either(
            ("bits", bit(OVERLAY_TEXT)),
            ("textEnable", self.text_enable),
        )?;
        Ok(vec![Settings::Osd(OsdConfig {
            length: self.width,
            width: self.height,
            time_x: self.time_x,
            time_y: self.time_y,
            time_enable: time.map(u32::from),
            time_type: self.time_format,
            text_enable: text.map(u32::from),
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
    /// As the two after it: a plan of the standard holds until it is changed, and says nothing of pictures.
    #[serde(default)]
    begin: Lack,
    #[serde(default)]
    end: Lack,
    #[serde(default)]
    week_snapshot: Lack,
    #[serde(default)]
    record_audio: Lack,
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
            begin: Lack::default(),
            end: Lack::default(),
            week_snapshot: Lack::default(),
            record_audio: Lack::default(),
        })
    }

    fn settings(self) -> Result<Vec<Settings>, Failure> {
        lacking([
            ("begin", self.begin),
            ("end", self.end),
            ("weekSnapshot", self.week_snapshot),
            ("recordAudio", self.record_audio),
        ])?;
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
    /// As those after it: how a device keeps its files is its own business in the standard.
    #[serde(default)]
    no_space: Lack,
    #[serde(default)]
    alarm_space: Lack,
    #[serde(default)]
    reserve_days: Lack,
    #[serde(default)]
    file_length: Lack,
    #[serde(default, rename = "recordGPS")]
    record_gps: Lack,
    #[serde(default)]
    name_rules: Lack,
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
            no_space: Lack::default(),
            alarm_space: Lack::default(),
            reserve_days: Lack::default(),
            file_length: Lack::default(),
            record_gps: Lack::default(),
            name_rules: Lack::default(),
        })
    }

    fn settings(self) -> Result<Vec<Settings>, Failure> {
        lacking([
            ("noSpace", self.no_space),
            ("alarmSpace", self.alarm_space),
            ("reserveDays", self.reserve_days),
            ("fileLength", self.file_length),
            ("recordGPS", self.record_gps),
            ("nameRules", self.name_rules),
        ])?;
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
    /// As those after it: the standard sets no inputs, only which alarms of the picture are reported.
    #[serde(default)]
    mode: Lack,
    #[serde(default)]
    status: Lack,
    #[serde(default)]
    count: Lack,
    #[serde(default)]
    name: Lack,
    #[serde(default)]
    count_begin: Lack,
    #[serde(default)]
    week: Lack,
    #[serde(default)]
    r#type: Lack,
    #[serde(default)]
    delay: Lack,
}

impl Setup for AlertInConfig {
    const KINDS: &'static [ConfigType] = &[ConfigType::AlarmReport];

    fn read(told: Vec<Settings>) -> Option<AlertInConfig> {
        let report = pick!(told, AlarmReport)?;
        Some(AlertInConfig {
            motion_detection: report.motion_detection != 0,
            field_detection: report.field_detection != 0,
            mode: Lack::default(),
            status: Lack::default(),
            count: Lack::default(),
            name: Lack::default(),
            count_begin: Lack::default(),
            week: Lack::default(),
            r#type: Lack::default(),
            delay: Lack::default(),
        })
    }

    fn settings(self) -> Result<Vec<Settings>, Failure> {
        lacking([
            ("mode", self.mode),
            ("status", self.status),
            ("count", self.count),
            ("name", self.name),
            ("countBegin", self.count_begin),
            ("week", self.week),
            ("type", self.r#type),
            ("delay", self.delay),
        ])?;
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
    /// As the one after it: the standard does not say.
    pub fs: Lack,
    pub disable: Lack,
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
        fs: Lack::default(),
        disable: Lack::default(),
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
    /// As those after it: the standard tells of recording alone.
    pub record_audio: Lack,
    #[serde(rename = "recordGPS")]
    pub record_gps: Lack,
    pub record_image: Lack,
    pub file_names: Lack,
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
        record_audio: Lack::default(),
        record_gps: Lack::default(),
        record_image: Lack::default(),
        file_names: Lack::default(),
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
        let read = serde_json::to_value(&read).expect("written");
        holds(&read, &json);
        let again: S = serde_json::from_value(read).expect("what is read can be set");
        assert!(again.settings().is_ok());
    }

    /// Every field of `json` is in `read`, with its value.
    fn holds(read: &serde_json::Value, json: &serde_json::Value) {
        use serde_json::Value::{Array, Object};
        match (read, json) {
            (Object(read), Object(json)) => {
                for (key, value) in json {
                    holds(read.get(key).unwrap_or_else(|| panic!("{key}")), value);
                }
            }
            (Array(read), Array(json)) => {
                assert_eq!(read.len(), json.len());
                read.iter()
                    .zip(json)
                    .for_each(|(one, other)| holds(one, other));
            }
            (read, json) => assert_eq!(read, json),
        }
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
    fn fields_that_the_standard_lacks_are_null_and_refused_by_name() {
        use serde_json::json;
        fn each<S: Setup>(base: serde_json::Value, names: &[&str]) {
            for name in names {
                let with = |value: serde_json::Value| {
                    let mut body = base.clone();
                    body[*name] = value;
                    serde_json::from_value::<S>(body)
                        .expect("readable")
                        .settings()
                };
                let settings = with(json!(null)).expect("nothing is set");
                let read = S::read(settings).expect("whole");
                let shown = serde_json::to_value(&read).expect("written");
                assert_eq!(shown.get(*name), Some(&json!(null)), "{name}");
                let failure = with(json!(1)).expect_err(name);
                assert_eq!(failure.code, Code::Unsupported, "{name}");
                assert!(failure.msg.contains(name), "{}", failure.msg);
            }
        }
        let overlay = json!({"width": 1, "height": 1, "timeX": 0, "timeY": 0});
        each::<OverlayConfig>(overlay, &["separator"]);
        let schedule = json!({"enable": true, "week": [[], [], [], [], [], [], []]});
        each::<StorageSchedule>(schedule, &["begin", "end", "weekSnapshot", "recordAudio"]);
        let rule = [
            "noSpace",
            "alarmSpace",
            "reserveDays",
            "fileLength",
            "recordGPS",
            "nameRules",
        ];
        each::<StorageRule>(json!({"alarmRecord": true}), &rule);
        let inputs = [
            "mode",
            "status",
            "count",
            "name",
            "countBegin",
            "week",
            "type",
            "delay",
        ];
        let alarms = json!({"motionDetection": true, "fieldDetection": false});
        each::<AlertInConfig>(alarms, &inputs);
    }

    #[test]
    fn what_is_drawn_stands_in_bits_too() {
        use serde_json::json;
        let osd = |given: serde_json::Value| {
            let mut body = json!({"width": 1920, "height": 1080, "timeX": 0, "timeY": 0});
            let fields = given.as_object().cloned().expect("an object");
            body.as_object_mut().expect("an object").extend(fields);
            let asked: OverlayConfig = serde_json::from_value(body).expect("readable");
            let settings = asked.settings()?.pop().expect("one");
            let Settings::Osd(osd) = settings else {
                panic!("another type");
            };
            Ok::<_, Failure>((osd.time_enable, osd.text_enable))
        };
        assert_eq!(osd(json!({"bits": 2})), Ok((Some(0), Some(1))));
        let both = json!({"bits": 3, "timeEnable": true, "textEnable": true});
        assert_eq!(osd(both), Ok((Some(1), Some(1))));
        assert_eq!(osd(json!({})), Ok((None, None)));
        let failure = osd(json!({"bits": 3, "timeEnable": false})).expect_err("differ");
        assert!(
            failure.msg.contains("bits and timeEnable"),
            "{}",
            failure.msg
        );
        let failure = osd(json!({"bits": 4})).expect_err("positions are not drawn");
        assert!(failure.msg.contains("bits"), "{}", failure.msg);
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
