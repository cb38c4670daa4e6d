//! `/ws/event/onlinestatus`, `/ws/event/alarm`, `/ws/gpsdata`: devices that come and go, alarms, and positions, as
//! WebSocket messages (bvcsp 1.3, 3.6); and `/gantry/v1/ws/notices`: what else devices tell.
//!
//! Downlink: JSON text, one event a message, nothing older than the upgrade. Uplink: for positions
//! `{"badd": true, "puid": ["PU_…"]}` adds devices, with `false` it removes them; everything else is ignored, and keeps the
//! socket open. A token offered as subprotocol is echoed, or browsers drop the connection.
//!
//! Bounds: [`limits::EVENT_SOCKET_IDLE_S_MAX`]; the facade's event queue and [`limits::EVENT_SOCKET_SEND_S_MAX`], both
//! closed with 1013.

use std::collections::BTreeSet;
use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::extract::State;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use axum::http::header::SEC_WEBSOCKET_PROTOCOL;
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast;
use tokio::time::{Instant, timeout, timeout_at};

use crate::gb28181::notice::{Alarm, alarm_name};
use crate::id::DeviceId;
use crate::limits;
use crate::session::{AlarmView, DeviceView, DirectoryChange, Event, PlacedPosition};
use crate::time::parse_local;

use super::ApiState;
use super::auth::{Auth, unix_s};
use super::caller::{Caller, header_token, query_value};
use super::chronicle::{DIRECTORY, PTZ_POSITION, VIDEO_UPLOAD};
use super::device::{Network, PuInfo, condition_name, network, show};
use super::envelope::{Code, Failure};
use super::login::UserInfo;

/// A device came or went.
#[derive(Debug, Serialize)]
struct StatusMessage {
    /// `PU`: a device without a user of its own.
    r#type: &'static str,
    time: u64,
    status: u8,
    network: Network,
    user: UserInfo,
    device: PuInfo,
}

/// An alarm (bvcsp 1.3).
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct AlarmMessage {
    key: String,
    r#type: u32,
    /// Unix seconds.
    time: i64,
    #[serde(rename = "userID")]
    user_id: String,
    user_name: String,
    #[serde(rename = "devID")]
    dev_id: String,
    dev_name: String,
    /// Index of the channel; -1 = the device.
    sub_dev_idx: i64,
    status: u8,
    desc: String,
    lat: f64,
    lng: f64,
    /// The alarm as the device told it, as JSON.
    payload: String,
}

/// A position (bvcsp 1.3).
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct GpsMessage {
    dev_id: String,
    /// Index of the channel that is there; -1 = the device.
    sub_dev_idx: i64,
    /// Code of the channel, or of what else in the directory of the device is there.
    #[serde(skip_serializing_if = "Option::is_none")]
    channel_id: Option<String>,
    lat: f64,
    lng: f64,
    height: f64,
    /// km/h.
    #[serde(skip_serializing_if = "Option::is_none")]
    speed: Option<f64>,
    /// Degrees from the north, clockwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    angle: Option<f64>,
    /// Unix seconds.
    time: i64,
}

/// Something else that a device told.
#[derive(Debug, Serialize)]
struct NoticeMessage {
    /// `ptzPosition`, `videoUpload` or `directory`.
    r#type: &'static str,
    puid: String,
    /// Index of the channel; -1 = the device.
    index: i64,
    /// Unix seconds.
    time: u64,
    data: serde_json::Value,
}

/// An item of a directory after a change.
#[derive(Debug, Serialize)]
struct DirectoryNotice {
    /// Its code.
    id: String,
    name: String,
    /// It was taken out of the directory.
    gone: bool,
    /// Of a channel: 0 offline, 1 online.
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u8>,
    /// Of a channel: `videoLost` or `defect`.
    #[serde(skip_serializing_if = "Option::is_none")]
    condition: Option<&'static str>,
}

impl From<&DirectoryChange> for DirectoryNotice {
    fn from(change: &DirectoryChange) -> DirectoryNotice {
        DirectoryNotice {
            id: change.id.clone(),
            name: change.name.clone(),
            gone: change.gone,
            status: change.index.map(|_| u8::from(change.online)),
            condition: condition_name(change.condition),
        }
    }
}

/// Which devices a socket wants the positions of.
#[derive(Debug, Deserialize)]
struct GpsUplink {
    badd: bool,
    puid: Vec<String>,
}

/// What a socket is told.
enum Channel {
    OnlineStatus,
    Alarm,
    Notices,
    /// Of these devices.
    Gps(BTreeSet<DeviceId>),
}

impl Channel {
    /// What a client sends. Only positions are asked for; everything else is ignored.
    fn take(&mut self, uplink: &Message) {
        let (Channel::Gps(devices), Message::Text(text)) = (self, uplink) else {
            return;
        };
        let Ok(change) = serde_json::from_str::<GpsUplink>(text.as_str()) else {
            return;
        };
        for puid in &change.puid {
            let Ok(device) = DeviceId::from_pu_id(puid) else {
                continue;
            };
            if !change.badd {
                devices.remove(&device);
            } else if devices.len() < limits::EVENT_SOCKET_DEVICES_MAX {
                devices.insert(device);
            }
        }
    }
}

/// Somebody with a valid token, which may also be a subprotocol.
pub struct SocketCaller {
    /// To be echoed.
    pub(super) protocol: Option<String>,
    pub(super) token: String,
}

impl FromRequestParts<ApiState> for SocketCaller {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, Response> {
        if let Some(token) = protocol_token(&parts.headers, &state.auth) {
            return Ok(SocketCaller {
                protocol: Some(token.clone()),
                token,
            });
        }
        match Caller::from_request_parts(parts, state).await {
            Ok(_) => {
                let query = parts.uri.query().unwrap_or_default();
                let token = header_token(&parts.headers).map(str::to_owned);
                let token = token.or_else(|| query_value(query, "token"));
                Ok(SocketCaller {
                    protocol: None,
                    token: token.unwrap_or_default(),
                })
            }
            // No upgrade; a status says so even to clients that do not read the body.
            Err(failure) => Err((StatusCode::UNAUTHORIZED, failure).into_response()),
        }
    }
}

/// The first offered subprotocol that is a valid token.
fn protocol_token(headers: &HeaderMap, auth: &Auth) -> Option<String> {
    headers
        .get_all(SEC_WEBSOCKET_PROTOCOL)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .find(|token| auth.check(token).is_some())
        .map(str::to_owned)
}

/// Upgrades to a WebSocket of online_status messages: devices that come and go, and devices of which a channel came, went or
/// changed, as they are now (of more than 256 channels that is told by `/gantry/v1/ws/notices` alone). It is closed after a minute without a message from the client, and
/// when the login ends.
#[utoipa::path(get, path = "/bvcsp/v1/ws/event/onlinestatus", operation_id = "onlineStatusEvents", tag = "event", security(("token" = [])),
    params(("token" = Option<String>, Query, description = "or as Sec-WebSocket-Protocol, or Authorization")),
    responses((status = 101, description = "online_status messages follow"),
        (status = 401, description = "bad token: no upgrade")))]
pub async fn online_status(
    State(state): State<ApiState>,
    caller: SocketCaller,
    upgrade: Upgrade,
) -> Response {
    open(state, caller, upgrade, Channel::OnlineStatus)
}

/// Upgrades to a WebSocket of alarm_info messages: alarms of all devices as they come.
#[utoipa::path(get, path = "/bvcsp/v1/ws/event/alarm", operation_id = "alarmEvents", tag = "event", security(("token" = [])),
    params(("token" = Option<String>, Query, description = "or as Sec-WebSocket-Protocol, or Authorization")),
    responses((status = 101, description = "alarm_info messages follow"),
        (status = 401, description = "bad token: no upgrade")))]
pub async fn alarm(
    State(state): State<ApiState>,
    caller: SocketCaller,
    upgrade: Upgrade,
) -> Response {
    open(state, caller, upgrade, Channel::Alarm)
}

/// Upgrades to a WebSocket of what devices tell beside alarms and positions: `{"type": "ptzPosition", "puid": "PU_…",
/// "index": 0, "time": 1792000000, "data": {"pan": 180.0}}`, `videoUpload` likewise, and what changed in a directory:
/// `{"type": "directory", …, "data": {"id": "3402…", "name": "Gate", "gone": false, "status": 0, "condition": "videoLost"}}`, of a
/// node without `status` and with index -1.
#[utoipa::path(get, path = "/gantry/v1/ws/notices", operation_id = "noticeEvents", tag = "event", security(("token" = [])),
    params(("token" = Option<String>, Query, description = "or as Sec-WebSocket-Protocol, or Authorization")),
    responses((status = 101, description = "notices follow"),
        (status = 401, description = "bad token: no upgrade")))]
pub async fn notices(
    State(state): State<ApiState>,
    caller: SocketCaller,
    upgrade: Upgrade,
) -> Response {
    open(state, caller, upgrade, Channel::Notices)
}

/// Upgrades to a WebSocket of positions, of the devices that the client names with `{"badd": true, "puid": ["PU_…"]}` and of
/// their channels: `{"devId": "PU_…", "subDevIdx": 2, "channelId": "3402…", "lng": 117.28, "lat": 31.86, …}`, where a
/// `subDevIdx` of -1 is the device itself.
#[utoipa::path(get, path = "/bvcsp/v1/ws/gpsdata", operation_id = "gpsEvents", tag = "event", security(("token" = [])),
    params(("token" = Option<String>, Query, description = "or as Sec-WebSocket-Protocol, or Authorization")),
    responses((status = 101, description = "positions follow"),
        (status = 401, description = "bad token: no upgrade")))]
pub async fn gps(
    State(state): State<ApiState>,
    caller: SocketCaller,
    upgrade: Upgrade,
) -> Response {
    open(state, caller, upgrade, Channel::Gps(BTreeSet::new()))
}

pub(super) type Upgrade =
    Result<WebSocketUpgrade, axum::extract::ws::rejection::WebSocketUpgradeRejection>;

fn open(state: ApiState, caller: SocketCaller, upgrade: Upgrade, channel: Channel) -> Response {
    let upgrade = match upgrade {
        Ok(upgrade) => upgrade,
        Err(_) => {
            return Failure::new(Code::ErrorParam, "a WebSocket upgrade is needed").into_response();
        }
    };
    // Subscribed before the upgrade is answered: a client that lists devices after it misses nothing.
    let events = state.session.events();
    let upgrade = upgrade.max_message_size(limits::EVENT_SOCKET_MESSAGE_BYTES_MAX);
    let upgrade = match caller.protocol {
        Some(protocol) => upgrade.protocols([protocol]),
        None => upgrade,
    };
    upgrade.on_upgrade(move |socket| serve(socket, events, state, caller.token, channel))
}

async fn serve(
    mut socket: WebSocket,
    mut events: broadcast::Receiver<Event>,
    state: ApiState,
    token: String,
    mut channel: Channel,
) {
    let mut last_uplink = Instant::now();
    loop {
        let idle_end = last_uplink + state.event_idle;
        let step = tokio::select! {
            biased;
            uplink = timeout_at(idle_end, socket.recv()) => Step::Uplink(uplink.ok()),
            event = events.recv() => Step::Event(event),
        };
        if state.auth.check(&token).is_none() {
            return close(socket, close_code::POLICY, "the login has ended").await;
        }
        match step {
            Step::Event(Ok(event)) => {
                for text in messages(&channel, event, &state) {
                    let limit = Duration::from_secs(limits::EVENT_SOCKET_SEND_S_MAX);
                    match timeout(limit, socket.send(Message::text(text))).await {
                        Ok(Ok(())) => {}
                        Ok(Err(_)) => return,
                        Err(_) => return close(socket, close_code::AGAIN, "too slow").await,
                    }
                }
            }
            Step::Event(Err(broadcast::error::RecvError::Lagged(_))) => {
                return close(socket, close_code::AGAIN, "too slow").await;
            }
            Step::Event(Err(broadcast::error::RecvError::Closed)) => {
                return close(socket, close_code::AWAY, "the node is shutting down").await;
            }
            Step::Uplink(Some(Some(Ok(uplink)))) => {
                last_uplink = Instant::now();
                channel.take(&uplink);
            }
            Step::Uplink(Some(Some(Err(_)) | None)) => return,
            Step::Uplink(None) => {
                return close(socket, close_code::NORMAL, "a minute without traffic").await;
            }
        }
    }
}

enum Step {
    Event(Result<Event, broadcast::error::RecvError>),
    /// The outer `None`: nothing came in time.
    Uplink(Option<Option<Result<Message, axum::Error>>>),
}

pub(super) async fn close(mut socket: WebSocket, code: u16, reason: &'static str) {
    let frame = CloseFrame {
        code,
        reason: reason.into(),
    };
    let limit = Duration::from_secs(limits::EVENT_SOCKET_SEND_S_MAX);
    let _ = timeout(limit, socket.send(Message::Close(Some(frame)))).await;
}

/// The texts of an event for a channel; none if it is not told this.
fn messages(channel: &Channel, event: Event, state: &ApiState) -> Vec<String> {
    match (channel, event) {
        (Channel::OnlineStatus, Event::DeviceOnline { device }) => {
            text(&status_message(1, device, state))
        }
        (Channel::OnlineStatus, Event::DeviceOffline { device }) => {
            text(&status_message(0, device, state))
        }
        (Channel::Alarm, Event::Alarm(view)) => text(&alarm_message(*view, state.utc_offset_s())),
        (Channel::Gps(wanted), Event::Positions { device, positions })
            if wanted.contains(&device) =>
        {
            positions
                .into_iter()
                .flat_map(|position| text(&gps_message(device, &position, state.utc_offset_s())))
                .collect()
        }
        (
            Channel::Notices,
            Event::PtzPosition {
                device,
                index,
                position,
            },
        ) => text(&notice_message(PTZ_POSITION, device, index, &position)),
        (
            Channel::Notices,
            Event::VideoUploaded {
                device,
                index,
                upload,
            },
        ) => text(&notice_message(VIDEO_UPLOAD, device, index, &upload)),
        (
            Channel::OnlineStatus,
            Event::DirectoryChanged {
                view: Some(device), ..
            },
        ) => text(&status_message(u8::from(device.online), *device, state)),
        (
            Channel::Notices,
            Event::DirectoryChanged {
                device, changes, ..
            },
        ) => changes
            .iter()
            .flat_map(|change| {
                let told = DirectoryNotice::from(change);
                text(&notice_message(DIRECTORY, device, change.index, &told))
            })
            .collect(),
        (
            Channel::OnlineStatus | Channel::Alarm | Channel::Notices | Channel::Gps(_),
            Event::DeviceOnline { .. }
            | Event::DirectoryChanged { .. }
            | Event::DeviceOffline { .. }
            | Event::DeviceChanged { .. }
            | Event::SessionOpened { .. }
            | Event::SessionClosed { .. }
            | Event::Alarm(_)
            | Event::SnapShots { .. }
            | Event::Upgraded { .. }
            | Event::PtzPosition { .. }
            | Event::VideoUploaded { .. }
            | Event::Positions { .. },
        ) => Vec::new(),
    }
}

fn text(message: &impl Serialize) -> Vec<String> {
    serde_json::to_string(message).into_iter().collect()
}

fn alarm_message(view: AlarmView, offset_s: i32) -> AlarmMessage {
    let alarm = &view.alarm;
    let name = alarm_name(alarm.method, alarm.alarm_type()).unwrap_or("alarm");
    AlarmMessage {
        key: view.id.to_string(),
        r#type: alarm_type(alarm),
        time: told_at(offset_s, Some(&alarm.time), view.unix_s),
        user_id: String::new(),
        user_name: String::new(),
        dev_id: view.device.pu_id(),
        dev_name: view.name,
        sub_dev_idx: view.index.map_or(-1, i64::from),
        status: 1,
        desc: match alarm.description.as_deref() {
            Some(told) if !told.is_empty() => told.to_owned(),
            Some(_) | None => name.to_owned(),
        },
        lat: alarm.latitude.unwrap_or(0.0),
        lng: alarm.longitude.unwrap_or(0.0),
        payload: serde_json::to_string(alarm).unwrap_or_default(),
    }
}

/// The type of the API for a method and type of the standard (bvcsp 1.3); what has none there is a custom one.
pub(super) fn alarm_type(alarm: &Alarm) -> u32 {
    const CUSTOM: u32 = 0x1000_0000;
    let kind = alarm.alarm_type().unwrap_or(0);
    let param = alarm.info.as_ref().and_then(|info| info.param.as_ref());
    let left = param.and_then(|param| param.event_type) == Some(2);
    match (alarm.method, kind) {
        (2, 0) => 4099,
        (2, 1) => 4096,
        (2, 2) => 4114,
        (2, 3) => 2,
        (2, 4) => 4104,
        (2, 5) => 4103,
        (5, 2) => 4097,
        (5, 6) if left => 4108,
        (5, 6) => 4107,
        (5, 13) => 4098,
        (6, 1) => 1,
        (method, kind) => CUSTOM | ((method & 0xff) << 8) | (kind & 0xff),
    }
}

fn gps_message(device: DeviceId, told: &PlacedPosition, offset_s: i32) -> GpsMessage {
    let position = &told.position;
    GpsMessage {
        dev_id: device.pu_id(),
        sub_dev_idx: told.index.map_or(-1, i64::from),
        channel_id: channel_of(device, told),
        lat: position.latitude,
        lng: position.longitude,
        height: position.altitude.or(position.height).unwrap_or(0.0),
        speed: position.speed,
        angle: position.direction,
        time: told_at(offset_s, position.time.as_deref(), now_s()),
    }
}

/// When something happened, by the clock of the device that tells of it; when it came, if that clock is missing or
/// cannot be right. What a device kept while it was not connected lies in the past.
pub(super) fn told_at(offset_s: i32, told: Option<&str>, received: i64) -> i64 {
    told.and_then(|told| plausible(parse_local(told, offset_s)?, received))
        .unwrap_or(received)
}

fn now_s() -> i64 {
    i64::try_from(unix_s()).unwrap_or(0)
}

fn plausible(told: i64, received: i64) -> Option<i64> {
    let kept = received - limits::DEVICE_CLOCK_BEHIND_S_MAX;
    let ahead = received + limits::DEVICE_CLOCK_AHEAD_S_MAX;
    (kept..=ahead).contains(&told).then_some(told)
}

/// Code of the channel that a position is of, or of what else is not the device itself.
pub(super) fn channel_of(device: DeviceId, told: &PlacedPosition) -> Option<String> {
    (told.index.is_some() || told.about != device.0).then(|| told.about.to_string())
}

fn notice_message(
    kind: &'static str,
    device: DeviceId,
    index: Option<u32>,
    told: &impl Serialize,
) -> NoticeMessage {
    NoticeMessage {
        r#type: kind,
        puid: device.pu_id(),
        index: index.map_or(-1, i64::from),
        time: unix_s(),
        data: serde_json::to_value(told).unwrap_or_default(),
    }
}

fn status_message(status: u8, view: DeviceView, state: &ApiState) -> StatusMessage {
    StatusMessage {
        r#type: "PU",
        time: unix_s(),
        status,
        network: network(&view, state.config.sip.listen),
        user: UserInfo::default(),
        device: show(view, true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gb28181::notice::{AlarmInfo, AlarmParam, Position};

    fn alarm(method: u32, kind: Option<u32>, event_type: Option<u32>) -> Alarm {
        Alarm {
            method,
            info: Some(AlarmInfo {
                alarm_type: kind,
                param: Some(AlarmParam { event_type }),
            }),
            ..Alarm::default()
        }
    }

    #[test]
    fn alarms_of_the_standard_have_types_of_the_api() {
        for (method, kind, event_type, wanted) in [
            (2, None, None, 4099),
            (2, Some(1), None, 4096),
            (5, Some(2), None, 4097),
            (5, Some(13), None, 4098),
            (5, Some(6), Some(1), 4107),
            (5, Some(6), Some(2), 4108),
            (6, Some(1), None, 1),
            (4, None, None, 0x1000_0400),
            (5, Some(9), None, 0x1000_0509),
        ] {
            let got = alarm_type(&alarm(method, kind, event_type));
            assert_eq!(got, wanted, "{method} {kind:?}");
        }
        let view = AlarmView {
            id: 7,
            device: DeviceId("34020000001110000001".parse().expect("a code")),
            name: "Gate".into(),
            index: None,
            unix_s: 7,
            again: false,
            alarm: alarm(5, Some(2), None),
        };
        let message = alarm_message(view, 0);
        assert_eq!((message.desc.as_str(), message.sub_dev_idx), ("motion", -1));
    }

    #[test]
    fn the_clock_of_a_device_counts_while_it_can_be_right() {
        const RECEIVED: i64 = 1_781_402_400;
        let at = |told: Option<&str>| told_at(8 * 3_600, told, RECEIVED) - RECEIVED;
        assert_eq!(at(Some("2026-06-14T10:00:00")), 0);
        assert_eq!(at(Some("2026-06-14T03:00:00")), -7 * 3_600);
        assert_eq!(at(Some("2026-06-14T10:05:00")), 300);
        for wrong in [
            "2026-06-14T10:05:01",
            "2026-05-15T09:59:59",
            "1970-01-01T00:00:00",
            "soon",
        ] {
            assert_eq!(at(Some(wrong)), 0, "{wrong}");
        }
        assert_eq!(at(Some("2026-05-15T10:00:00")), -30 * 86_400);
        assert_eq!(at(None), 0);
    }

    #[test]
    fn a_position_says_whose_it_is() {
        let device = DeviceId("34020000001110000001".parse().expect("a code"));
        let told = |about: &str, index| PlacedPosition {
            about: about.parse().expect("a code"),
            index,
            position: Position::default(),
        };
        for (about, index, channel) in [
            ("34020000001110000001", None, None),
            // Many cameras give their one channel their own code.
            (
                "34020000001110000001",
                Some(0),
                Some("34020000001110000001"),
            ),
            (
                "34020000001310000003",
                Some(2),
                Some("34020000001310000003"),
            ),
            ("34020000002150000001", None, Some("34020000002150000001")),
        ] {
            let message = gps_message(device, &told(about, index), 0);
            assert_eq!(message.dev_id, "PU_34020000001110000001");
            assert_eq!(message.sub_dev_idx, index.map_or(-1, i64::from));
            assert_eq!(message.channel_id.as_deref(), channel);
        }
    }

    #[test]
    fn a_socket_wants_the_devices_it_names_up_to_a_bound() {
        let mut channel = Channel::Gps(BTreeSet::new());
        let wants = |channel: &Channel| match channel {
            Channel::Gps(devices) => devices.len(),
            Channel::OnlineStatus | Channel::Alarm | Channel::Notices => 0,
        };
        let change = |badd: bool, numbers: std::ops::Range<usize>| {
            let puid: Vec<String> = numbers.map(|n| format!("PU_{n}")).collect();
            Message::text(serde_json::json!({ "badd": badd, "puid": puid }).to_string())
        };
        for rubbish in ["", "{", "[]", r#"{"badd":true,"puid":["PU_x",""]}"#] {
            channel.take(&Message::text(rubbish));
        }
        assert_eq!(wants(&channel), 0);
        channel.take(&change(true, 0..5));
        channel.take(&change(false, 3..9));
        assert_eq!(wants(&channel), 3);
        let max = limits::EVENT_SOCKET_DEVICES_MAX;
        channel.take(&change(true, 0..max));
        assert_eq!(wants(&channel), max);
        channel.take(&change(true, max..max + 1));
        assert_eq!(wants(&channel), max);
    }
}
