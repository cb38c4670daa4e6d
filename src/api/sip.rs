//! `/gantry/v1/devices/{puid}/sip`: the last SIP messages of a device, as JSON and as a capture file.
//!
//! Secrets are masked in both ([`crate::diagnosis::message`]).

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::diagnosis::{message, pcap};
use crate::id::DeviceId;
use crate::session::{Command, Error, Reply};
use crate::sip::log::{Direction, Entry};
use crate::time::WallClock;

use super::ApiState;
use super::caller::HttpCaller;
use super::envelope::PageInfo;
use super::list::{Field, Key, ListQuery, holds};
use super::problem::{HttpPath, HttpQuery, Problem};

/// One message as it went over the wire.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SipMessage {
    /// Unix milliseconds.
    pub time: i64,
    /// `in` = from the device, `out` = to it.
    pub direction: &'static str,
    /// `udp` or `tcp`.
    pub transport: &'static str,
    #[schema(example = "192.168.1.64:5060")]
    pub peer: String,
    #[schema(example = "192.168.1.10:5060")]
    pub local: String,
    /// On the wire; more than `head` and `body` have when the message was cut.
    pub bytes: u32,
    /// How many times this exchange took place: REGISTER and Keepalive are shown once.
    pub count: u32,
    /// Unix milliseconds of the first of them.
    pub since: i64,
    /// The first line.
    pub start: String,
    /// All lines up to the empty one, secrets masked.
    pub head: String,
    /// In the charset that its bytes are in, secrets masked.
    pub body: String,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SipMessages {
    /// Oldest first.
    pub messages: Vec<SipMessage>,
    pub page_info: PageInfo,
}

impl SipMessage {
    pub fn of(entry: &Entry, wall: &WallClock) -> SipMessage {
        let (head, body) = message::shown(&entry.raw);
        SipMessage {
            time: wall.unix_ms(entry.at),
            direction: match entry.direction {
                Direction::In => "in",
                Direction::Out => "out",
            },
            transport: entry.path.transport.name(),
            peer: entry.path.peer.to_string(),
            local: entry.path.local.to_string(),
            bytes: entry.bytes,
            count: entry.count,
            since: wall.unix_ms(entry.since),
            start: head.trim_start().lines().next().unwrap_or_default().into(),
            head,
            body,
        }
    }
}

/// The clock by which moments of this process become dates.
pub fn wall_now() -> WallClock {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH);
    WallClock {
        at: Instant::now(),
        unix_ms: since_epoch.map_or(0, |d| d.as_millis() as i64),
    }
}

/// A capture file of messages, oldest first.
pub fn capture(entries: &[Entry], wall: &WallClock) -> Vec<u8> {
    let mut writer = pcap::Writer::new();
    for entry in entries {
        let payload = message::masked(&entry.raw);
        writer.push(&pcap::Packet {
            unix_us: unix_us(wall, entry.at),
            direction: entry.direction,
            peer: entry.path.peer,
            local: entry.path.local,
            transport: entry.path.transport,
            payload: &payload,
            whole: (entry.bytes as usize).max(payload.len()),
        });
    }
    writer.finish()
}

fn unix_us(wall: &WallClock, at: Instant) -> i64 {
    let before = wall.at.saturating_duration_since(at).as_micros() as i64;
    let after = at.saturating_duration_since(wall.at).as_micros() as i64;
    wall.unix_ms * 1_000 - before + after
}

/// By what messages are sorted.
const FIELDS: &[Field<SipMessage>] = &[
    ("time", |message| Key::Number(message.time)),
    ("direction", |message| message.direction.into()),
    ("transport", |message| message.transport.into()),
    ("peer", |message| message.peer.as_str().into()),
    ("bytes", |message| Key::Number(message.bytes.into())),
    ("count", |message| Key::Number(message.count.into())),
    ("start", |message| message.start.as_str().into()),
];

/// The last SIP messages of a device, oldest first: at most 200, REGISTER and Keepalive counted instead of repeated. Devices
/// that are refused have some too. They live in memory, so order and page are not the database's here; `sort` is `time`,
/// `direction`, `transport`, `peer`, `bytes`, `count` or `start`.
#[utoipa::path(get, path = "/gantry/v1/devices/{puid}/sip", operation_id = "deviceSip", tag = "diagnosis", security(("token" = [])),
    params(("puid" = String, Path, description = "PU_ and the code", example = "PU_34020000001110000001"),
        ("page" = Option<u32>, Query, description = "counts from 0"), ("pageSize" = Option<u32>, Query),
        ("sort" = Option<String>, Query, description = "a field, with - before it from the greatest down", example = "-time"),
        ("keyword" = Option<String>, Query, description = "a part of the message")),
    responses((status = 200, body = SipMessages), (status = 400, body = Problem), (status = 401, body = Problem),
        (status = 404, body = Problem, description = "neither the device nor a message of it is known")))]
pub async fn list(
    State(state): State<ApiState>,
    _: HttpCaller,
    HttpPath(puid): HttpPath<String>,
    HttpQuery(query): HttpQuery<ListQuery>,
) -> Result<Json<SipMessages>, Problem> {
    let device = read(&puid)?;
    let entries = messages(&state, device).await?;
    let wall = wall_now();
    let shown = entries.iter().map(|entry| SipMessage::of(entry, &wall));
    let found = shown.filter(|m| holds(&[&m.head, &m.body], &query.keyword));
    let found = found.collect();
    let page = query.request(100).cut(found, FIELDS, |message| message)?;
    Ok(Json(SipMessages {
        messages: page.data.unwrap_or_default(),
        page_info: page
            .page_info
            .expect("a page that was cut says where it lies"),
    }))
}

/// The same as a capture file for Wireshark.
#[utoipa::path(get, path = "/gantry/v1/devices/{puid}/sip.pcap", operation_id = "deviceSipCapture", tag = "diagnosis", security(("token" = [])),
    params(("puid" = String, Path, description = "PU_ and the code", example = "PU_34020000001110000001")),
    responses((status = 200, body = Vec<u8>, content_type = "application/vnd.tcpdump.pcap"), (status = 400, body = Problem),
        (status = 401, body = Problem), (status = 404, body = Problem)))]
pub async fn download(
    State(state): State<ApiState>,
    _: HttpCaller,
    HttpPath(puid): HttpPath<String>,
) -> Result<Response, Problem> {
    let device = read(&puid)?;
    let entries = messages(&state, device).await?;
    let mut response = capture(&entries, &wall_now()).into_response();
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/vnd.tcpdump.pcap"),
    );
    if let Ok(name) = format!("attachment; filename=\"{device}.pcap\"").parse() {
        headers.insert(header::CONTENT_DISPOSITION, name);
    }
    Ok(response)
}

/// What the log holds of a device. Empty is an answer for a device that is known.
async fn messages(state: &ApiState, device: DeviceId) -> Result<Vec<Entry>, Problem> {
    let entries = of_device(state, device).await?;
    if entries.is_empty() {
        state.session.call(Command::Device { device }).await?;
    }
    Ok(entries)
}

/// Messages of a device, oldest first; none if it is not known.
pub async fn of_device(state: &ApiState, device: DeviceId) -> Result<Vec<Entry>, Error> {
    match state.session.call(Command::Messages { device }).await? {
        Reply::Messages(entries) => Ok(entries),
        Reply::Done
        | Reply::Opened(_)
        | Reply::Sessions(_)
        | Reply::Session(_)
        | Reply::Devices(_)
        | Reply::Device(_)
        | Reply::Presence(_)
        | Reply::DevicePolicy(_)
        | Reply::Answer(_)
        | Reply::Playback(_)
        | Reply::Ingest { .. }
        | Reply::Subscriptions(_)
        | Reply::MediaServices(_) => Ok(Vec::new()),
    }
}

fn read(puid: &str) -> Result<DeviceId, Problem> {
    DeviceId::from_pu_id(puid)
        .map_err(|e| Problem::new(StatusCode::BAD_REQUEST, format!("puid is {e}")))
}
