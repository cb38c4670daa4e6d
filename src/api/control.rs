//! Orders, questions and settings of GB/T 28181 that bvcsp has no call for, under `/gantry/v1/device`, and those bvcsp
//! calls that are one order or question: recording, restart, position, storage (bvcsp 2.5, 2.6).
//!
//! Every order of [`Control`], every [`Question`] and every type of [`Settings`] can be reached here; of PTZCmd the scan and
//! the switches: the rest has its calls in `gimbal`. Restart, upgrade, formatting and settings need an administrator.

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::gb28181::answer::SdCard;
use crate::gb28181::control::{Area, HomePosition, PtzPrecise, Tracking, Upgrade};
use crate::gb28181::notice::{Alarm, PtzPosition};
use crate::gb28181::ptz::{Ptz, ScanOrder, TWELVE_BITS_MAX, WIPER};
use crate::gb28181::question::{AlarmFilter, RecordFilter};
use crate::gb28181::settings::{ConfigType, Settings};
use crate::gb28181::{Answer as DeviceAnswer, Ask, Control, Question};
use crate::id::{DeviceId, GbId};
use crate::limits;
use crate::session::alarms::AlarmMark;
use crate::session::{Command, DeviceView, PlacedPosition, Reply};
use crate::store::history::{AlarmRow, Entry, PositionRow};
use crate::store::table::{Filter, Page};

use super::ApiState;
use super::caller::{Caller, HttpAdmin, HttpCaller};
use super::chronicle;
use super::device::find;
use super::envelope::{Answer, Code, Done, Failure, InQuery, Path, wrong_reply};
use super::gimbal;
use super::problem::{HttpPath, Problem, read_body};

/// An order.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(tag = "order", rename_all = "camelCase")]
pub enum Order {
    /// Starts the device anew.
    TeleBoot,
    Record {
        start: bool,
        /// 0 the main stream, and so on.
        stream: Option<u32>,
    },
    Guard {
        set: bool,
    },
    ResetAlarm {
        method: Option<String>,
        kind: Option<String>,
    },
    /// A key frame at once.
    KeyFrame,
    DragZoom {
        closer: bool,
        area: Area,
    },
    HomePosition(HomePosition),
    PtzPrecise(PtzPrecise),
    Upgrade(Upgrade),
    FormatSdCard {
        /// Counts from 1; 0 is all.
        card: u32,
    },
    TargetTrack {
        /// `Auto`, `Manual` or `Stop`.
        mode: String,
        /// Code of the channel with the panorama.
        panorama: Option<String>,
        area: Option<Area>,
    },
    /// Lets a camera look to and fro between two edges (annex A.3.6).
    Scan {
        /// Which one.
        scan: u8,
        action: ScanAction,
        /// With `speed`, and only then: 0 to 4095.
        speed: Option<u16>,
    },
    /// An auxiliary switch (annex A.3.7).
    Auxiliary {
        /// 1 to 255; 1 is the wiper.
        number: u8,
        on: bool,
    },
    Wiper {
        on: bool,
    },
}

/// What a scan is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum ScanAction {
    Start,
    /// Ends it, and whatever else moves the camera.
    Stop,
    /// Its left edge is where the camera looks now.
    Left,
    /// Its right edge is where the camera looks now.
    Right,
    Speed,
}

/// The order of a scan.
fn scan_order(scan: u8, action: ScanAction, speed: Option<u16>) -> Result<Ptz, Problem> {
    let order = match (action, speed) {
        (ScanAction::Speed, Some(speed)) if speed <= TWELVE_BITS_MAX => ScanOrder::Speed(speed),
        (ScanAction::Speed, _) => {
            return Err(bad(&format!("speed must be 0 to {TWELVE_BITS_MAX}")));
        }
        (_, Some(_)) => return Err(bad("speed goes with the action speed only")),
        (ScanAction::Stop, None) => return Ok(Ptz::STOP),
        (ScanAction::Start, None) => ScanOrder::Start,
        (ScanAction::Left, None) => ScanOrder::LeftEdge,
        (ScanAction::Right, None) => ScanOrder::RightEdge,
    };
    Ok(Ptz::Scan { scan, order })
}

fn ptz(order: Ptz) -> Control {
    Control::Ptz {
        order,
        preset_name: None,
        cruise_name: None,
    }
}

/// A question.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(tag = "query", rename_all = "camelCase")]
pub enum Query {
    DeviceStatus,
    Records(RecordFilter),
    Alarms(AlarmFilter),
    Presets,
    Position,
    HomePosition,
    CruiseTracks,
    CruiseTrack {
        number: u32,
    },
    PtzPosition,
    SdCards,
    Config {
        /// `BasicParam`, `VideoParamOpt`, `SVACEncodeConfig`, `SVACDecodeConfig`, `VideoParamAttribute`,
        /// `VideoRecordPlan`, `VideoAlarmRecord`, `PictureMask`, `FrameMirror`, `AlarmReport`, `OSDConfig`,
        /// `SnapShotConfig`.
        types: Vec<String>,
    },
}

impl Order {
    fn needs_admin(&self) -> bool {
        match self {
            Order::TeleBoot | Order::Upgrade(_) | Order::FormatSdCard { .. } => true,
            Order::Record { .. }
            | Order::Guard { .. }
            | Order::ResetAlarm { .. }
            | Order::KeyFrame
            | Order::DragZoom { .. }
            | Order::HomePosition(_)
            | Order::PtzPrecise(_)
            | Order::TargetTrack { .. }
            | Order::Scan { .. }
            | Order::Auxiliary { .. }
            | Order::Wiper { .. } => false,
        }
    }

    fn control(self) -> Result<Control, Problem> {
        Ok(match self {
            Order::TeleBoot => Control::TeleBoot,
            Order::Record { start, stream } => Control::Record { start, stream },
            Order::Guard { set } => Control::Guard { set },
            Order::ResetAlarm { method, kind } => Control::ResetAlarm { method, kind },
            Order::KeyFrame => Control::KeyFrame,
            Order::DragZoom { closer, area } => Control::DragZoom { closer, area },
            Order::HomePosition(home) => Control::HomePosition(home),
            Order::PtzPrecise(precise) => Control::PtzPrecise(precise),
            Order::Upgrade(upgrade) => Control::Upgrade(upgrade),
            Order::FormatSdCard { card } => Control::FormatSdCard { card },
            Order::TargetTrack {
                mode,
                panorama,
                area,
            } => Control::TargetTrack {
                mode: Tracking::from_name(&mode)
                    .ok_or_else(|| bad("mode must be Auto, Manual or Stop"))?,
                panorama: panorama
                    .map(|code| code.parse::<GbId>())
                    .transpose()
                    .map_err(|_| bad("panorama must be a code of 1 to 20 digits"))?,
                area,
            },
            Order::Scan {
                scan,
                action,
                speed,
            } => ptz(scan_order(scan, action, speed)?),
            Order::Auxiliary { number: 0, .. } => return Err(bad("number must be 1 to 255")),
            Order::Auxiliary { number, on } => ptz(Ptz::Auxiliary { number, on }),
            Order::Wiper { on } => ptz(Ptz::Auxiliary { number: WIPER, on }),
        })
    }
}

impl Query {
    fn question(self) -> Result<Question, Problem> {
        Ok(match self {
            Query::DeviceStatus => Question::DeviceStatus,
            Query::Records(filter) => Question::Records(filter),
            Query::Alarms(filter) => Question::Alarms(filter),
            Query::Presets => Question::Presets,
            Query::Position => Question::Position,
            Query::HomePosition => Question::HomePosition,
            Query::CruiseTracks => Question::CruiseTracks,
            Query::CruiseTrack { number } => Question::CruiseTrack { number },
            Query::PtzPosition => Question::PtzPosition,
            Query::SdCards => Question::SdCards,
            Query::Config { types } => {
                let kinds = types.iter().map(|name| {
                    ConfigType::from_name(name)
                        .ok_or_else(|| bad(&format!("types: {name} is not known")))
                });
                Question::Config(kinds.collect::<Result<_, _>>()?)
            }
        })
    }
}

fn bad(what: &str) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, format!("bad parameter: {what}"))
}

/// `-` is the device itself.
fn channel_of(index: &str) -> Result<Option<u32>, Problem> {
    match index {
        "-" => Ok(None),
        number => number
            .parse()
            .map(Some)
            .map_err(|_| bad("index must be a number, or - for the device itself")),
    }
}

/// Before a device is asked for its alarms: those that are written keep their ids.
async fn know_alarms(state: &ApiState, puid: &str) -> Result<(), Problem> {
    let device = device_of(puid)?;
    let page = Page {
        skip: 0,
        take: i64::try_from(limits::ALARMS_KNOWN_MAX).unwrap_or(i64::MAX),
        order: "id DESC".into(),
    };
    let written = Filter::all().equal("device", device.pu_id());
    let read = state.store.list::<AlarmRow>(written, &page).await;
    let (rows, _) = read.map_err(Failure::from)?;
    let mark = |row: AlarmRow| {
        let alarm: Alarm = serde_json::from_str(&row.payload).ok()?;
        let index = row.place.and_then(|place| u32::try_from(place).ok());
        Some((AlarmMark::of(index, &alarm), row.id))
    };
    let known = rows.into_iter().filter_map(mark).collect();
    let command = Command::KnownAlarms { device, known };
    state.session.call(command).await?;
    Ok(())
}

fn device_of(puid: &str) -> Result<DeviceId, Problem> {
    DeviceId::from_pu_id(puid).map_err(|_| bad("puid must be PU_ and a code of 1 to 20 digits"))
}

async fn ask(
    state: &ApiState,
    (puid, index): &(String, String),
    ask: Ask,
) -> Result<DeviceAnswer, Problem> {
    let device = device_of(puid)?;
    let channel = channel_of(index)?;
    let ask = Box::new(ask);
    let command = Command::Ask {
        device,
        channel,
        ask,
    };
    let Reply::Answer(answer) = state.session.call(command).await? else {
        return Err(Problem::wrong_reply());
    };
    Ok(*answer)
}

/// Orders a device or one of its channels.
#[utoipa::path(post, path = "/gantry/v1/device/control/{puid}/{index}", operation_id = "controlDevice", tag = "gb28181", security(("token" = [])),
    params(("puid" = String, Path, example = "PU_34020000001110000001"), ("index" = String, Path, description = "of the channel; - is the device itself", example = "0")),
    request_body(content = Order, example = json!({"order": "guard", "set": true})),
    responses((status = 204, description = "done, as far as the device says"), (status = 400, body = Problem),
        (status = 401, body = Problem), (status = 403, body = Problem), (status = 404, body = Problem),
        (status = 409, body = Problem, description = "the device is offline"),
        (status = 424, body = Problem, description = "the device refused (code 1 or 8), or did not answer (code 6): what was sent and how long was waited"),
        (status = 429, body = Problem, description = "at a limit")))]
pub async fn control(
    State(state): State<ApiState>,
    caller: HttpCaller,
    HttpPath(place): HttpPath<(String, String)>,
    body: Bytes,
) -> Result<StatusCode, Problem> {
    let order: Order = read_body(&body)?;
    if order.needs_admin() && !caller.login.admin {
        return Err(Problem::admin_needed());
    }
    ask(&state, &place, Ask::Control(order.control()?)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Asks a device or one of its channels.
#[utoipa::path(post, path = "/gantry/v1/device/query/{puid}/{index}", operation_id = "queryDevice", tag = "gb28181", security(("token" = [])),
    params(("puid" = String, Path, example = "PU_34020000001110000001"), ("index" = String, Path, description = "of the channel; - is the device itself", example = "0")),
    request_body(content = Query, example = json!({"query": "config", "types": ["BasicParam"]})),
    responses((status = 200, body = DeviceAnswer, example = json!({"presets": [{"id": 1, "name": "Gate"}]})),
        (status = 400, body = Problem), (status = 401, body = Problem), (status = 404, body = Problem),
        (status = 409, body = Problem, description = "the device is offline"),
        (status = 424, body = Problem, description = "the device refused (code 1 or 8), or did not answer (code 6): what was sent and how long was waited"),
        (status = 429, body = Problem, description = "at a limit")))]
pub async fn query(
    State(state): State<ApiState>,
    _: HttpCaller,
    HttpPath(place): HttpPath<(String, String)>,
    body: Bytes,
) -> Result<Json<DeviceAnswer>, Problem> {
    let query: Query = read_body(&body)?;
    if matches!(query, Query::Alarms(_)) {
        know_alarms(&state, &place.0).await?;
    }
    let answer = ask(&state, &place, Ask::Query(query.question()?)).await?;
    Ok(Json(answer))
}

/// Sets one type of configuration.
#[utoipa::path(put, path = "/gantry/v1/device/settings/{puid}/{index}", operation_id = "setDevice", tag = "gb28181", security(("token" = [])),
    params(("puid" = String, Path, example = "PU_34020000001110000001"), ("index" = String, Path, description = "of the channel; - is the device itself", example = "0")),
    request_body(content = Settings, example = json!({"FrameMirror": {"mode": 1}})),
    responses((status = 204, description = "done"), (status = 400, body = Problem), (status = 401, body = Problem),
        (status = 403, body = Problem), (status = 404, body = Problem),
        (status = 409, body = Problem, description = "the device is offline"),
        (status = 424, body = Problem, description = "the device refused (code 1 or 8), or did not answer (code 6)"),
        (status = 429, body = Problem, description = "at a limit")))]
pub async fn set(
    State(state): State<ApiState>,
    _: HttpAdmin,
    HttpPath(place): HttpPath<(String, String)>,
    body: Bytes,
) -> Result<StatusCode, Problem> {
    let settings: Settings = read_body(&body)?;
    ask(&state, &place, Ask::Set(settings)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Where a camera looks (GB/T 28181-2022).
#[utoipa::path(get, path = "/gantry/v1/ptz/{puid}/{index}", operation_id = "ptzPosition", tag = "gb28181", security(("token" = [])),
    params(("puid" = String, Path, example = "PU_34020000001110000001"), ("index" = String, Path, example = "0")),
    responses((status = 200, body = PtzPosition, example = json!({"pan": 180.0, "tilt": -10.5, "zoom": 4.0})),
        (status = 400, body = Problem), (status = 401, body = Problem), (status = 404, body = Problem),
        (status = 409, body = Problem), (status = 424, body = Problem), (status = 429, body = Problem)))]
pub async fn position(
    State(state): State<ApiState>,
    _: HttpCaller,
    HttpPath(place): HttpPath<(String, String)>,
) -> Result<Json<PtzPosition>, Problem> {
    let answer = ask(&state, &place, Ask::Query(Question::PtzPosition)).await?;
    let DeviceAnswer::PtzPosition(position) = answer else {
        return Err(Problem::new(
            StatusCode::FAILED_DEPENDENCY,
            "the device answered something else",
        ));
    };
    Ok(Json(position))
}

// ---- bvcsp ----

fn admin(caller: &Caller) -> Result<(), Failure> {
    if caller.login.admin {
        Ok(())
    } else {
        let msg = "an administrator is needed";
        Err(Failure::new(Code::NoPermission, msg))
    }
}

async fn record(state: &ApiState, puid: &str, index: u32, start: bool) -> Result<Done, Failure> {
    let stream = None;
    let order = Ask::Control(Control::Record { start, stream });
    gimbal::ask(state, puid, Some(index), order).await?;
    Ok(Done::new())
}

/// Lets a device record one of its channels, on itself.
#[utoipa::path(post, path = "/bvcsp/v1/pu/record/start/{puid}/{index}", operation_id = "startRecord", tag = "device", security(("token" = [])),
    params(("puid" = String, Path, example = "PU_34020000001110000001"), ("index" = u32, Path, example = 0)),
    responses((status = 200, body = Done, example = json!({"code": 0, "msg": "success"}))))]
pub async fn start_record(
    State(state): State<ApiState>,
    _: Caller,
    Path((puid, index)): Path<(String, u32)>,
) -> Result<Done, Failure> {
    record(&state, &puid, index, true).await
}

/// Ends what `record/start` began.
#[utoipa::path(post, path = "/bvcsp/v1/pu/record/stop/{puid}/{index}", operation_id = "stopRecord", tag = "device", security(("token" = [])),
    params(("puid" = String, Path, example = "PU_34020000001110000001"), ("index" = u32, Path, example = 0)),
    responses((status = 200, body = Done, example = json!({"code": 0, "msg": "success"}))))]
pub async fn stop_record(
    State(state): State<ApiState>,
    _: Caller,
    Path((puid, index)): Path<(String, u32)>,
) -> Result<Done, Failure> {
    record(&state, &puid, index, false).await
}

/// Starts a device anew.
#[utoipa::path(post, path = "/bvcsp/v1/pu/reboot/{puid}", operation_id = "rebootDevice", tag = "device", security(("token" = [])),
    params(("puid" = String, Path, example = "PU_34020000001110000001")),
    responses((status = 200, body = Done, example = json!({"code": 0, "msg": "success"}))))]
pub async fn reboot(
    State(state): State<ApiState>,
    caller: Caller,
    Path(puid): Path<String>,
) -> Result<Done, Failure> {
    admin(&caller)?;
    gimbal::ask(&state, &puid, None, Ask::Control(Control::TeleBoot)).await?;
    Ok(Done::new())
}

/// Where a device or a channel of it is.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct GpsData {
    #[schema(example = "PU_34020000001110000001")]
    pub dev_id: String,
    /// Index of the channel; -1 = the device.
    pub sub_dev_idx: i64,
    /// When it was there, Unix seconds.
    #[schema(example = 1792000000)]
    pub time: i64,
    #[schema(example = 117.28)]
    pub lng: f64,
    #[schema(example = 31.86)]
    pub lat: f64,
    /// Metres above the sea.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub height: Option<f64>,
    /// km/h.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub speed: Option<f64>,
    /// Degrees from the north, clockwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub angle: Option<f64>,
}

/// Whose position is wanted.
#[derive(Debug, Default, Deserialize)]
pub struct GpsQuery {
    index: Option<u32>,
}

/// Asks a device where it is, or where a channel of it is. From a device that does not say, where it was last, or where its
/// directory has it; `time` tells how old that is.
#[utoipa::path(get, path = "/bvcsp/v1/pu/gpsdata/{puid}", operation_id = "deviceGps", tag = "device", security(("token" = [])),
    params(("puid" = String, Path, example = "PU_34020000001110000001"),
        ("index" = Option<u32>, Query, description = "of the channel; none = the device itself")),
    responses((status = 200, body = Answer<GpsData>, example = json!({"code": 0, "msg": "success", "data":
        {"devId": "PU_34020000001110000001", "subDevIdx": -1, "time": 1792000000, "lng": 117.28, "lat": 31.86, "speed": 36.0}}))))]
pub async fn gps(
    State(state): State<ApiState>,
    _: Caller,
    Path(puid): Path<String>,
    InQuery(query): InQuery<GpsQuery>,
) -> Result<Answer<GpsData>, Failure> {
    let view = find(&state, &puid).await?;
    let question = Ask::Query(Question::Position);
    let row = match gimbal::ask(&state, &puid, query.index, question).await {
        Ok(DeviceAnswer::Positions(positions)) if !positions.is_empty() => {
            let device = view.device.ok_or_else(wrong_reply)?;
            let channel = query.index.and_then(|index| view.channel(index as usize));
            let mut told = positions.into_iter().map(|position| PlacedPosition {
                about: channel.map_or(device.0, |channel| channel.channel.0),
                index: query.index,
                position,
            });
            let row = told
                .next()
                .map(|told| chronicle::position(&state, device, &told));
            let row = row.ok_or_else(wrong_reply)?;
            state.store.chronicle().note(Entry::Position(row.clone()));
            row
        }
        Ok(_) => {
            let none = Failure::new(Code::NotFound, "the device told no position");
            last_position(&state, &view, query.index)
                .await?
                .ok_or(none)?
        }
        Err(failure) => match failure.code {
            Code::Offline | Code::Timeout | Code::Fail | Code::Unsupported => {
                last_position(&state, &view, query.index)
                    .await?
                    .ok_or(failure)?
            }
            _ => return Err(failure),
        },
    };
    Ok(Answer::data(GpsData {
        dev_id: puid,
        sub_dev_idx: query.index.map_or(-1, i64::from),
        time: row.time,
        lng: row.lng.unwrap_or(0.0),
        lat: row.lat.unwrap_or(0.0),
        height: row.height,
        speed: row.speed,
        angle: row.angle,
    }))
}

/// Where a device or a channel of it was when it told last, or where the directory has it.
async fn last_position(
    state: &ApiState,
    view: &DeviceView,
    index: Option<u32>,
) -> Result<Option<PositionRow>, Failure> {
    let device = view.device.map_or_else(String::new, |id| id.pu_id());
    let page = Page {
        skip: 0,
        take: 1,
        order: "time DESC".into(),
    };
    let told = Filter::all()
        .equal("device", device)
        .equal("place", index.map_or(-1, i64::from));
    let (rows, _) = state.store.list::<PositionRow>(told, &page).await?;
    if let Some(row) = rows.into_iter().next() {
        return Ok(Some(row));
    }
    let mut of = view.channels.iter();
    let listed = match index {
        Some(index) => view.channel(index as usize),
        None => of.find(|channel| channel.longitude.is_some()),
    };
    let place = listed.and_then(|channel| channel.longitude.zip(channel.latitude));
    Ok(place.map(|(lng, lat)| PositionRow {
        time: view.last_seen_unix_s,
        lng: Some(lng),
        lat: Some(lat),
        ..PositionRow::default()
    }))
}

/// How far the formatting of a card is (bvcsp 2.28).
#[derive(Debug, Serialize, ToSchema)]
pub struct FormatProgress {
    /// 0 idle, 1 running.
    pub action: u8,
    /// 0 to 100; -1 failed.
    pub percent: i32,
}

/// Formats a card of a device. `index` counts from 0.
#[utoipa::path(post, path = "/bvcsp/v1/pu/storage/format/{puid}/{index}", operation_id = "formatStorage", tag = "device", security(("token" = [])),
    params(("puid" = String, Path, example = "PU_34020000001110000001"), ("index" = u32, Path, example = 0)),
    responses((status = 200, body = Done, example = json!({"code": 0, "msg": "success"}))))]
pub async fn format(
    State(state): State<ApiState>,
    caller: Caller,
    Path((puid, index)): Path<(String, u32)>,
) -> Result<Done, Failure> {
    admin(&caller)?;
    let card = index.saturating_add(1);
    let order = Ask::Control(Control::FormatSdCard { card });
    gimbal::ask(&state, &puid, None, order).await?;
    Ok(Done::new())
}

/// How far the formatting of a card is.
#[utoipa::path(get, path = "/bvcsp/v1/pu/storage/format/{puid}/{index}", operation_id = "formatProgress", tag = "device", security(("token" = [])),
    params(("puid" = String, Path, example = "PU_34020000001110000001"), ("index" = u32, Path, example = 0)),
    responses((status = 200, body = Answer<FormatProgress>, example = json!({"code": 0, "msg": "success", "data": {"action": 1, "percent": 40}}))))]
pub async fn format_progress(
    State(state): State<ApiState>,
    _: Caller,
    Path((puid, index)): Path<(String, u32)>,
) -> Result<Answer<FormatProgress>, Failure> {
    let answer = gimbal::ask(&state, &puid, None, Ask::Query(Question::SdCards)).await?;
    let DeviceAnswer::SdCards(cards) = answer else {
        return Err(wrong_reply());
    };
    let card = cards
        .into_iter()
        .find(|card| card.id.checked_sub(1) == Some(index));
    let card = card.ok_or_else(|| Failure::new(Code::NotFound, "the device has no such card"))?;
    Ok(Answer::data(progress_of(&card)))
}

fn progress_of(card: &SdCard) -> FormatProgress {
    match card.status.as_deref() {
        Some("formatting") => FormatProgress {
            action: 1,
            percent: card.format_progress.unwrap_or(0).min(100) as i32,
        },
        Some("error") => FormatProgress {
            action: 0,
            percent: -1,
        },
        Some(_) | None => FormatProgress {
            action: 0,
            percent: 100,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scans_and_switches_are_read_and_bounded() {
        let order = |body: &str| -> Result<String, Problem> {
            let order: Order = read_body(&Bytes::copy_from_slice(body.as_bytes()))?;
            match order.control()? {
                Control::Ptz { order, .. } => Ok(order.text()),
                other => panic!("{other:?}"),
            }
        };
        for (body, text) in [
            (
                r#"{"order": "scan", "scan": 3, "action": "start"}"#,
                "A50F018903000041",
            ),
            (
                r#"{"order": "scan", "scan": 3, "action": "left"}"#,
                "A50F018903010042",
            ),
            (
                r#"{"order": "scan", "scan": 3, "action": "right"}"#,
                "A50F018903020043",
            ),
            (
                r#"{"order": "scan", "scan": 3, "action": "stop"}"#,
                "A50F0100000000B5",
            ),
            (
                r#"{"order": "scan", "scan": 3, "action": "speed", "speed": 4095}"#,
                "A50F018A03FFF031",
            ),
            (
                r#"{"order": "auxiliary", "number": 2, "on": true}"#,
                "A50F018C02000043",
            ),
            (r#"{"order": "wiper", "on": true}"#, "A50F018C01000042"),
            (r#"{"order": "wiper", "on": false}"#, "A50F018D01000043"),
        ] {
            assert_eq!(order(body).as_deref(), Ok(text), "{body}");
        }
        for (body, what) in [
            (
                r#"{"order": "scan", "scan": 3, "action": "speed", "speed": 4096}"#,
                "speed",
            ),
            (
                r#"{"order": "scan", "scan": 3, "action": "speed"}"#,
                "speed",
            ),
            (
                r#"{"order": "scan", "scan": 3, "action": "left", "speed": 1}"#,
                "speed",
            ),
            (r#"{"order": "scan", "scan": 256, "action": "left"}"#, "256"),
            (r#"{"order": "scan", "scan": 3, "action": "up"}"#, "up"),
            (
                r#"{"order": "auxiliary", "number": 0, "on": true}"#,
                "number",
            ),
        ] {
            let problem = order(body).expect_err(body);
            assert_eq!(problem.status, 400);
            assert!(problem.detail.contains(what), "{}", problem.detail);
        }
    }
}
