//! What takes longer than a call: subscriptions, new software, pictures (GB/T 28181-2016, 9.11; 2022, 9.13, 9.14).
//!
//! Each is kept in the store. Subscriptions are made again after a restart and when a device comes back; of the two
//! others the last word is the device's notification, which `chronicle` writes.
//!
//! Bounds: [`limits::SNAPSHOT_BYTES_MAX`], [`limits::SNAPSHOT_ORDERS_MAX`].

use std::net::SocketAddr;

use axum::extract::{RawQuery, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::gb28181::control::Upgrade;
use crate::gb28181::settings::{Settings, SnapShotConfig};
use crate::gb28181::subscribe::{Subject, SubscriptionState, Topic, Wanted};
use crate::gb28181::{Ask, Control};
use crate::id::DeviceId;
use crate::limits;
use crate::session::shell::route_to;
use crate::session::{Command, Reply};
use crate::store::rows::{OwnSetting, Snapshot, SubscriptionRow, UpgradeRow};
use crate::store::table::Filter;

use super::ApiState;
use super::auth::unix_s;
use super::caller::{Admin, Caller, HttpCaller, query_value};
use super::device::{find, read_puid};
use super::door::{folder, image_type, make_room, settle_old};
use super::envelope::{Answer, Body, Done, Failure, Path, wrong_reply};
use super::gimbal::ask;
use super::list::{ListRequest, bad, ids, not_found, text};
use super::problem::{HttpPath, Problem};
use super::words::{Lack, either, fixed, lacking};

fn now() -> i64 {
    i64::try_from(unix_s()).unwrap_or(0)
}

// ---- subscriptions ----

/// A subscription at a device.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SubscriptionInfo {
    /// `catalog`, `alarm`, `position` or `ptz`.
    #[schema(example = "alarm")]
    pub topic: String,
    /// Index of the channel that it is for; missing = the device itself, with all that it has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channel: Option<u32>,
    /// true = wanted for this device; false = the config wants it for all, or nobody does.
    pub own: bool,
    /// Seconds that it lasts before it is refreshed.
    pub expires: i64,
    /// Of positions: seconds between two.
    pub interval: i64,
    /// `none`, `asking`, `active`, `waiting` (the device did not answer) or `refused`.
    #[schema(example = "active")]
    pub state: String,
    /// The SIP status of a refusal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
}

/// How a subscription shall be.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default)]
pub struct SubscriptionRequest {
    /// Seconds, 60 to 86400; 3600 if missing.
    #[schema(example = 3600)]
    expires: Option<u32>,
    /// Of positions: seconds between two, 1 to 3600; 5 if missing.
    #[schema(example = 5)]
    interval: Option<u32>,
}

fn topic_of(name: &str) -> Result<Topic, Failure> {
    Topic::from_name(name).ok_or_else(|| bad("topic must be catalog, alarm, position or ptz"))
}

/// The topic of a call, and whose it is: the device's, or that of the channel with the index in the query.
async fn subject_of(
    state: &ApiState,
    puid: &str,
    topic: &str,
    query: Option<&str>,
) -> Result<Subject, Failure> {
    let topic = topic_of(topic)?;
    let given = query_value(query.unwrap_or_default(), "channel");
    let Some(given) = given.filter(|given| !given.is_empty()) else {
        return Ok(topic.into());
    };
    let index: usize = given
        .parse()
        .map_err(|_| bad("channel must be the index of a channel"))?;
    if topic == Topic::Catalog {
        return Err(bad("channel goes with alarm, position and ptz"));
    }
    let view = find(state, puid).await?;
    let channel = view.channel(index).ok_or_else(|| not_found("channel"))?;
    Ok(Subject {
        topic,
        channel: Some(channel.channel.0),
    })
}

fn code_of(subject: Subject) -> String {
    subject
        .channel
        .map_or_else(String::new, |channel| channel.to_string())
}

fn row_of(device: DeviceId, subject: Subject) -> Filter {
    Filter::all()
        .equal("device", device.to_string())
        .equal("topic", subject.topic.name())
        .equal("channel", code_of(subject))
}

async fn subscriptions_of(state: &ApiState, puid: &str) -> Result<Vec<SubscriptionInfo>, Failure> {
    let device = read_puid(puid)?;
    let command = Command::Subscriptions { device };
    let Reply::Subscriptions(states) = state.session.call(command).await? else {
        return Err(wrong_reply());
    };
    let view = find(state, puid).await?;
    let filter = Filter::all().equal("device", device.to_string());
    let bound = Topic::ALL.len() + limits::CHANNEL_SUBSCRIPTIONS_MAX;
    let kept: Vec<SubscriptionRow> = state.store.every(filter, bound).await?;
    let show = |subject: Subject| {
        let code = code_of(subject);
        let row = kept
            .iter()
            .find(|row| row.topic == subject.topic.name() && row.channel == code);
        let usual = Wanted::new(subject.topic);
        let seconds = |d: std::time::Duration| i64::try_from(d.as_secs()).unwrap_or(0);
        let state = states
            .iter()
            .find(|(of, _)| *of == subject)
            .map(|(_, state)| *state);
        let (word, status) = match state {
            None => ("none", None),
            Some(SubscriptionState::Asking) => ("asking", None),
            Some(SubscriptionState::Active) => ("active", None),
            Some(SubscriptionState::Waiting) => ("waiting", None),
            Some(SubscriptionState::Refused { status }) => ("refused", Some(status)),
        };
        let place = subject
            .channel
            .and_then(|channel| view.channels.iter().position(|c| c.channel.0 == channel));
        SubscriptionInfo {
            topic: subject.topic.name().to_owned(),
            channel: place.and_then(|place| u32::try_from(place).ok()),
            own: row.is_some(),
            expires: row.map_or(seconds(usual.expires), |row| row.expires_s),
            interval: row.map_or(seconds(usual.interval), |row| row.interval_s),
            state: word.to_owned(),
            status,
        }
    };
    let of_channels = states.iter().map(|(subject, _)| *subject);
    let of_channels = of_channels.filter(|subject| subject.channel.is_some());
    let all = Topic::ALL.into_iter().map(Subject::from).chain(of_channels);
    Ok(all.map(show).collect())
}

async fn subscribe_to(
    state: &ApiState,
    puid: &str,
    subject: Subject,
    request: SubscriptionRequest,
) -> Result<Done, Failure> {
    let device = read_puid(puid)?;
    let within = |field: &str, value: Option<u32>, usual: u32, min: u32, max: u32| {
        let value = value.unwrap_or(usual);
        let fits = (min..=max).contains(&value);
        fits.then_some(value)
            .ok_or_else(|| bad(format_args!("{field} must be {min} to {max}")))
    };
    let expires = within("expires", request.expires, 3_600, 60, 86_400)?;
    let interval = within("interval", request.interval, 5, 1, 3_600)?;
    let wanted = Wanted {
        topic: subject.topic,
        channel: subject.channel,
        expires: std::time::Duration::from_secs(expires.into()),
        interval: std::time::Duration::from_secs(interval.into()),
    };
    state
        .session
        .call(Command::Subscribe { device, wanted })
        .await?;
    let row = SubscriptionRow {
        device: device.to_string(),
        topic: subject.topic.name().to_owned(),
        channel: code_of(subject),
        expires_s: expires.into(),
        interval_s: interval.into(),
    };
    state.store.put(&row).await?;
    Ok(Done::new())
}

async fn unsubscribe_from(state: &ApiState, puid: &str, subject: Subject) -> Result<Done, Failure> {
    let device = read_puid(puid)?;
    state
        .session
        .call(Command::Unsubscribe { device, subject })
        .await?;
    state
        .store
        .remove::<SubscriptionRow>(row_of(device, subject))
        .await?;
    Ok(Done::new())
}

/// What a device is subscribed to for.
#[utoipa::path(get, path = "/gantry/v1/devices/{puid}/subscriptions", operation_id = "listSubscriptions", tag = "gb28181", security(("token" = [])),
    params(("puid" = String, Path, example = "PU_34020000001110000001")),
    responses((status = 200, body = Answer<Vec<SubscriptionInfo>>, description = "in the envelope of bvcsp")))]
pub async fn list_subscriptions(
    State(state): State<ApiState>,
    _: Caller,
    Path(puid): Path<String>,
) -> Result<Answer<Vec<SubscriptionInfo>>, Failure> {
    Ok(Answer::data(subscriptions_of(&state, &puid).await?))
}

/// Subscribes to something at a device, from now on, over its absences and over restarts.
#[utoipa::path(put, path = "/gantry/v1/devices/{puid}/subscriptions/{topic}", operation_id = "subscribe", tag = "gb28181", security(("token" = [])),
    params(("puid" = String, Path, example = "PU_34020000001110000001"), ("topic" = String, Path, example = "alarm"),
        ("channel" = Option<u32>, Query, description = "index of a channel, such as one of a lower platform; missing = the device itself")),
    request_body(content = SubscriptionRequest, example = json!({"expires": 3600})),
    responses((status = 200, body = Done, description = "in the envelope of bvcsp", example = json!({"code": 0, "msg": "success"}))))]
pub async fn subscribe(
    State(state): State<ApiState>,
    _: Admin,
    Path((puid, topic)): Path<(String, String)>,
    RawQuery(query): RawQuery,
    Body(request): Body<SubscriptionRequest>,
) -> Result<Done, Failure> {
    let subject = subject_of(&state, &puid, &topic, query.as_deref()).await?;
    subscribe_to(&state, &puid, subject, request).await
}

/// Ends a subscription at a device. What the config wants of all devices comes back when the device registers anew.
#[utoipa::path(delete, path = "/gantry/v1/devices/{puid}/subscriptions/{topic}", operation_id = "unsubscribe", tag = "gb28181", security(("token" = [])),
    params(("puid" = String, Path, example = "PU_34020000001110000001"), ("topic" = String, Path, example = "alarm"),
        ("channel" = Option<u32>, Query, description = "index of a channel; missing = the device itself")),
    responses((status = 200, body = Done, description = "in the envelope of bvcsp", example = json!({"code": 0, "msg": "success"}))))]
pub async fn unsubscribe(
    State(state): State<ApiState>,
    _: Admin,
    Path((puid, topic)): Path<(String, String)>,
    RawQuery(query): RawQuery,
) -> Result<Done, Failure> {
    let subject = subject_of(&state, &puid, &topic, query.as_deref()).await?;
    unsubscribe_from(&state, &puid, subject).await
}

/// Positions of a device (bvcsp 2.28): its subscription to them.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct GpsConfig {
    enable: bool,
    /// Seconds between two positions, 1 to 3600.
    #[serde(default)]
    #[schema(example = 5)]
    interval: Option<u32>,
}

/// Whether a device is subscribed to for its positions. `index` has no meaning.
#[utoipa::path(get, path = "/bvcsp/v1/pu/config/gps/{puid}/{index}", operation_id = "getGpsConfig", tag = "management", security(("token" = [])),
    params(("puid" = String, Path, example = "PU_34020000001110000001"), ("index" = u32, Path, example = 0)),
    responses((status = 200, body = Answer<GpsConfig>)))]
pub async fn get_gps(
    State(state): State<ApiState>,
    _: Caller,
    Path((puid, _)): Path<(String, u32)>,
) -> Result<Answer<GpsConfig>, Failure> {
    let all = subscriptions_of(&state, &puid).await?;
    let of_positions = all
        .into_iter()
        .find(|one| one.topic == Topic::MobilePosition.name());
    let of_positions = of_positions.ok_or_else(wrong_reply)?;
    Ok(Answer::data(GpsConfig {
        enable: of_positions.state != "none",
        interval: u32::try_from(of_positions.interval).ok(),
    }))
}

/// Subscribes to the positions of a device, or ends that. `index` has no meaning.
#[utoipa::path(put, path = "/bvcsp/v1/pu/config/gps/{puid}/{index}", operation_id = "setGpsConfig", tag = "management", security(("token" = [])),
    params(("puid" = String, Path, example = "PU_34020000001110000001"), ("index" = u32, Path, example = 0)),
    request_body = GpsConfig,
    responses((status = 200, body = Done, example = json!({"code": 0, "msg": "success"}))))]
pub async fn set_gps(
    State(state): State<ApiState>,
    _: Admin,
    Path((puid, _)): Path<(String, u32)>,
    Body(config): Body<GpsConfig>,
) -> Result<Done, Failure> {
    if !config.enable {
        return unsubscribe_from(&state, &puid, Topic::MobilePosition.into()).await;
    }
    let request = SubscriptionRequest {
        expires: None,
        interval: config.interval,
    };
    subscribe_to(&state, &puid, Topic::MobilePosition.into(), request).await
}

// ---- new software ----

/// New software for a device.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct UpgradeRequest {
    /// Its version.
    #[serde(default)]
    #[schema(example = "V5.7.1")]
    firmware: Option<String>,
    /// The same.
    #[serde(default)]
    #[schema(example = "V5.7.1")]
    name: Option<String>,
    /// Where the device fetches it: a URL with a host.
    #[serde(default)]
    #[schema(example = "http://192.168.1.2/firmware.bin")]
    file_url: Option<String>,
    /// The same.
    #[serde(default)]
    #[schema(example = "http://192.168.1.2/firmware.bin")]
    path: Option<String>,
    /// 1 = now: devices of GB/T 28181 begin when they are told to.
    #[serde(default)]
    #[schema(example = 1)]
    promptly: Option<u8>,
    #[serde(default)]
    manufacturer: String,
}

impl UpgradeRequest {
    /// The order in the words of the standard. Errors: what is missing, two words that differ, no URL.
    fn order(self, session_id: String) -> Result<Upgrade, Failure> {
        let firmware = either(("name", self.name), ("firmware", self.firmware))?;
        let file_url = either(("path", self.path), ("fileUrl", self.file_url))?;
        match self.promptly {
            None | Some(1) => {}
            Some(0) => fixed("promptly", Some(&0), &1)?,
            Some(_) => return Err(bad("promptly must be 0 or 1")),
        }
        let file_url = file_url.ok_or_else(|| bad("fileUrl, or path, is missing"))?;
        if !is_url(&file_url) {
            return Err(bad(
                "fileUrl must be a URL such as http://192.168.1.2/firmware.bin",
            ));
        }
        let firmware = firmware.ok_or_else(|| bad("firmware, or name, is missing"))?;
        Ok(Upgrade {
            firmware: text("firmware", Some(firmware))?,
            file_url,
            manufacturer: self.manufacturer,
            session_id,
        })
    }
}

/// Whether a text is a URL with a scheme and a host, by which something can be fetched.
fn is_url(text: &str) -> bool {
    let uri: Result<axum::http::Uri, _> = text.parse();
    uri.is_ok_and(|uri| uri.scheme().is_some() && uri.host().is_some_and(|host| !host.is_empty()))
}

/// How an upgrade goes (bvcsp 2.28).
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct UpgradeStatus {
    #[schema(example = "PU_34020000001110000001")]
    pub id: String,
    /// -1 none was ordered, 0 under way, 100 done: the standard has no more.
    #[schema(example = 100)]
    pub percent: i32,
    /// Below 0: it failed.
    pub speed: i32,
    pub version: String,
    /// Unix seconds; 0 = not finished.
    pub finish_time: i64,
    /// Why it failed, in the words of the device.
    pub detail: String,
}

/// Names an order of ours to a device: 32 hex digits.
fn new_session(state: &ApiState) -> String {
    let random: [u8; 16] = state.store.random();
    random.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Lets a device fetch and install new software.
#[utoipa::path(post, path = "/bvcsp/v1/pu/upgrade/{puid}", operation_id = "upgradeDevice", tag = "management", security(("token" = [])),
    params(("puid" = String, Path, example = "PU_34020000001110000001")),
    request_body(content = UpgradeRequest, example = json!({"firmware": "V5.7.1", "fileUrl": "http://192.168.1.2/firmware.bin"})),
    responses((status = 200, body = Done, example = json!({"code": 0, "msg": "success"}))))]
pub async fn upgrade(
    State(state): State<ApiState>,
    _: Admin,
    Path(puid): Path<String>,
    Body(request): Body<UpgradeRequest>,
) -> Result<Done, Failure> {
    let device = read_puid(&puid)?;
    let order = request.order(new_session(&state))?;
    let row = UpgradeRow {
        device: device.to_string(),
        session: order.session_id.clone(),
        firmware: order.firmware.clone(),
        state: "running".into(),
        begun_s: now(),
        ..UpgradeRow::default()
    };
    let order = Control::Upgrade(order);
    // Written before: the device may be done before it has answered.
    let before: Option<UpgradeRow> = state
        .store
        .find(Filter::all().equal("device", row.device.clone()))
        .await?;
    state.store.put(&row).await?;
    if let Err(failure) = ask(&state, &puid, None, Ask::Control(order)).await {
        match before {
            Some(before) => state.store.put(&before).await?,
            None => {
                let filter = Filter::all().equal("device", row.device);
                state.store.remove::<UpgradeRow>(filter).await?;
            }
        }
        return Err(failure);
    }
    Ok(Done::new())
}

async fn upgrade_of(state: &ApiState, puid: &str) -> Result<UpgradeStatus, Failure> {
    let view = find(state, puid).await?;
    let device = read_puid(puid)?;
    let row: Option<UpgradeRow> = state
        .store
        .find(Filter::all().equal("device", device.to_string()))
        .await?;
    let none = UpgradeStatus {
        id: device.pu_id(),
        percent: -1,
        speed: 0,
        version: view.info.firmware,
        finish_time: 0,
        detail: String::new(),
    };
    Ok(match row {
        None => none,
        Some(row) => UpgradeStatus {
            percent: if row.state == "done" { 100 } else { 0 },
            speed: if row.state == "failed" { -1 } else { 0 },
            version: row.firmware,
            finish_time: row.finished_s.unwrap_or(0),
            detail: row.detail,
            ..none
        },
    })
}

/// How the last upgrade of a device goes.
#[utoipa::path(get, path = "/bvcsp/v1/pu/upgrade/status/{puid}", operation_id = "upgradeStatus", tag = "management", security(("token" = [])),
    params(("puid" = String, Path, example = "PU_34020000001110000001")),
    responses((status = 200, body = Answer<UpgradeStatus>)))]
pub async fn upgrade_status(
    State(state): State<ApiState>,
    _: Caller,
    Path(puid): Path<String>,
) -> Result<Answer<UpgradeStatus>, Failure> {
    Ok(Answer::data(upgrade_of(&state, &puid).await?))
}

#[derive(Debug, Deserialize, ToSchema)]
pub struct DeviceIds {
    /// At most 1,000.
    #[serde(default)]
    #[schema(example = json!(["PU_34020000001110000001"]))]
    ids: Vec<String>,
}

/// How the last upgrades of devices go.
#[utoipa::path(post, path = "/bvcsp/v1/pu/upgrade/batch/status", operation_id = "upgradeStatuses", tag = "management", security(("token" = [])),
    request_body(content = DeviceIds, example = json!({"ids": ["PU_34020000001110000001"]})),
    responses((status = 200, body = Answer<Vec<UpgradeStatus>>)))]
pub async fn upgrade_statuses(
    State(state): State<ApiState>,
    _: Caller,
    Body(request): Body<DeviceIds>,
) -> Result<Answer<Vec<UpgradeStatus>>, Failure> {
    let mut all = Vec::new();
    for puid in ids("ids", request.ids)? {
        all.push(upgrade_of(&state, &puid).await?);
    }
    Ok(Answer::data(all))
}

// ---- pictures ----

/// How many pictures a channel takes when it is told to (bvcsp 2.28): kept by this node, and sent with each order.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SnapshotConfig {
    /// 1 to 10.
    #[schema(example = 1)]
    pic_count: u32,
    /// Milliseconds between two, whole seconds from 1000 on.
    #[serde(default)]
    #[schema(example = 1000)]
    interval: Option<u32>,
    /// As those after it: how a picture is made is the camera's own business in the standard.
    #[serde(default)]
    sizes: Lack,
    #[serde(default)]
    size_index: Lack,
    #[serde(default)]
    quality: Lack,
    #[serde(default)]
    delay: Lack,
    #[serde(default)]
    max_count: Lack,
    #[serde(default)]
    overlay: Lack,
}

impl SnapshotConfig {
    fn check(self) -> Result<SnapshotConfig, Failure> {
        lacking([
            ("sizes", self.sizes),
            ("sizeIndex", self.size_index),
            ("quality", self.quality),
            ("delay", self.delay),
            ("maxCount", self.max_count),
            ("overlay", self.overlay),
        ])?;
        if !(1..=10).contains(&self.pic_count) {
            return Err(bad("picCount must be 1 to 10"));
        }
        if self
            .interval
            .is_some_and(|ms| !(1_000..=86_400_000).contains(&ms))
        {
            return Err(bad("interval must be 1000 to 86400000"));
        }
        Ok(self)
    }
}

const SNAPSHOT: &str = "snapshot";

async fn snapshot_config(
    state: &ApiState,
    device: DeviceId,
    index: u32,
) -> Result<SnapshotConfig, Failure> {
    let filter = Filter::all()
        .equal("device", device.to_string())
        .equal("place", i64::from(index))
        .equal("kind", SNAPSHOT);
    let row: Option<OwnSetting> = state.store.find(filter).await?;
    let kept = row.and_then(|row| serde_json::from_str(&row.value).ok());
    Ok(kept.unwrap_or(SnapshotConfig {
        pic_count: 1,
        interval: Some(1_000),
        ..SnapshotConfig::default()
    }))
}

/// How many pictures a channel takes when it is told to.
#[utoipa::path(get, path = "/bvcsp/v1/pu/config/snapshot/{puid}/{index}", operation_id = "getSnapshotConfig", tag = "management", security(("token" = [])),
    params(("puid" = String, Path, example = "PU_34020000001110000001"), ("index" = u32, Path, example = 0)),
    responses((status = 200, body = Answer<SnapshotConfig>)))]
pub async fn get_snapshot_config(
    State(state): State<ApiState>,
    _: Caller,
    Path((puid, index)): Path<(String, u32)>,
) -> Result<Answer<SnapshotConfig>, Failure> {
    find(&state, &puid).await?;
    Ok(Answer::data(
        snapshot_config(&state, read_puid(&puid)?, index).await?,
    ))
}

/// Sets how many pictures a channel takes when it is told to.
#[utoipa::path(put, path = "/bvcsp/v1/pu/config/snapshot/{puid}/{index}", operation_id = "setSnapshotConfig", tag = "management", security(("token" = [])),
    params(("puid" = String, Path, example = "PU_34020000001110000001"), ("index" = u32, Path, example = 0)),
    request_body = SnapshotConfig,
    responses((status = 200, body = Done, example = json!({"code": 0, "msg": "success"}))))]
pub async fn set_snapshot_config(
    State(state): State<ApiState>,
    _: Admin,
    Path((puid, index)): Path<(String, u32)>,
    Body(config): Body<SnapshotConfig>,
) -> Result<Done, Failure> {
    let config = config.check()?;
    let view = find(&state, &puid).await?;
    if view.channel(index as usize).is_none() {
        return Err(not_found("channel"));
    }
    let row = OwnSetting {
        device: read_puid(&puid)?.to_string(),
        place: i64::from(index),
        kind: SNAPSHOT.into(),
        value: serde_json::to_string(&config).unwrap_or_default(),
    };
    state.store.put(&row).await?;
    Ok(Done::new())
}

/// An order for pictures; what is missing is as configured.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct SnapshotRequest {
    /// 1 to 10.
    #[schema(example = 1)]
    pic_count: Option<u32>,
    /// Milliseconds between two.
    #[schema(example = 1000)]
    interval: Option<u32>,
}

/// Lets a channel take pictures and upload them here (SnapShotConfig, 2022).
#[utoipa::path(post, path = "/bvcsp/v1/pu/snapshot/{puid}/{index}", operation_id = "takeSnapshot", tag = "device", security(("token" = [])),
    params(("puid" = String, Path, example = "PU_34020000001110000001"), ("index" = u32, Path, example = 0)),
    request_body(content = SnapshotRequest, example = json!({"picCount": 1})),
    responses((status = 200, body = Answer<Snapshot>)))]
pub async fn take_snapshot(
    State(state): State<ApiState>,
    _: Caller,
    Path((puid, index)): Path<(String, u32)>,
    Body(request): Body<SnapshotRequest>,
) -> Result<Answer<Snapshot>, Failure> {
    let device = read_puid(&puid)?;
    let view = find(&state, &puid).await?;
    let kept = snapshot_config(&state, device, index).await?;
    let config = SnapshotConfig {
        pic_count: request.pic_count.unwrap_or(kept.pic_count),
        interval: request.interval.or(kept.interval),
        ..SnapshotConfig::default()
    }
    .check()?;
    settle_old(&state).await?;
    make_room(&state).await?;
    let id = new_session(&state);
    let token = state.auth.capability(&format!("snapshot {id}"));
    let at = here(&state, view.peer);
    let mut row = Snapshot {
        id: id.clone(),
        device: device.pu_id(),
        place: i64::from(index),
        wanted: i64::from(config.pic_count),
        state: "running".into(),
        made_s: now(),
        ..Snapshot::default()
    };
    state.store.put(&row).await?;
    let order = Ask::Set(Settings::SnapShot(SnapShotConfig {
        snap_num: config.pic_count,
        interval: config.interval.map(|ms| (ms / 1_000).max(1)),
        upload_url: format!("http://{at}/gantry/v1/snapshots/{id}/upload/{token}"),
        session_id: id,
    }));
    if let Err(failure) = ask(&state, &puid, Some(index), order).await {
        row.state = "failed".into();
        row.detail.clone_from(&failure.msg);
        row.finished_s = Some(now());
        state.store.put(&row).await?;
        return Err(failure);
    }
    Ok(Answer::data(row))
}

/// By which of our addresses a device reaches our HTTP port.
fn here(state: &ApiState, peer: Option<SocketAddr>) -> SocketAddr {
    let listen = state.config.http.listen;
    let ip = state
        .config
        .sip
        .advertised_ip
        .or_else(|| (!listen.ip().is_unspecified()).then_some(listen.ip()));
    SocketAddr::new(
        ip.or_else(|| route_to(peer?.ip())).unwrap_or(listen.ip()),
        listen.port(),
    )
}

/// Which orders for pictures.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct SnapshotFilter {
    pu_id: Option<String>,
    /// Unix seconds, the first that counts.
    begin_time: Option<i64>,
    /// Unix seconds, the last that counts.
    end_time: Option<i64>,
}

/// Orders for pictures, newest first.
#[utoipa::path(post, path = "/gantry/v1/snapshots/list", operation_id = "listSnapshots", tag = "device", security(("token" = [])),
    request_body(content = ListRequest<SnapshotFilter>, example = json!({"page": 0, "pageSize": 20})),
    responses((status = 200, body = Answer<Vec<Snapshot>>, description = "in the envelope of bvcsp")))]
pub async fn list_snapshots(
    State(state): State<ApiState>,
    _: Caller,
    Body(mut request): Body<ListRequest<SnapshotFilter>>,
) -> Result<Answer<Vec<Snapshot>>, Failure> {
    settle_old(&state).await?;
    let asked = request.take_filter();
    let device = match asked.pu_id {
        Some(puid) => Some(read_puid(&puid)?.pu_id()),
        None => None,
    };
    let filter =
        Filter::all()
            .equal_if("device", device)
            .within("made_s", asked.begin_time, asked.end_time);
    request.run(&state, filter, "-madeS").await
}

/// One order for pictures.
#[utoipa::path(get, path = "/gantry/v1/snapshots/{id}", operation_id = "snapshotInfo", tag = "device", security(("token" = [])),
    params(("id" = String, Path, example = "7d5f0a1b2c3d4e5f60718293a4b5c6d7")),
    responses((status = 200, body = Answer<Snapshot>, description = "in the envelope of bvcsp")))]
pub async fn snapshot_info(
    State(state): State<ApiState>,
    _: Caller,
    Path(id): Path<String>,
) -> Result<Answer<Snapshot>, Failure> {
    settle_old(&state).await?;
    let row: Option<Snapshot> = state.store.find(Filter::all().equal("id", id)).await?;
    row.map(Answer::data).ok_or_else(|| not_found("snapshot"))
}

/// A picture of an order, counted from 1.
#[utoipa::path(get, path = "/gantry/v1/snapshots/{id}/{number}", operation_id = "snapshotPicture", tag = "device", security(("token" = [])),
    params(("id" = String, Path, example = "7d5f0a1b2c3d4e5f60718293a4b5c6d7"), ("number" = u32, Path, example = 1)),
    responses((status = 200, content_type = "image/jpeg", body = Vec<u8>), (status = 400, body = Problem), (status = 401, body = Problem),
        (status = 404, body = Problem)))]
pub async fn snapshot_picture(
    State(state): State<ApiState>,
    _: HttpCaller,
    HttpPath((id, number)): HttpPath<(String, String)>,
) -> Result<Response, Problem> {
    let missing = || Problem::new(StatusCode::NOT_FOUND, "there is no such picture");
    let number: u32 = number
        .parse()
        .map_err(|_| Problem::new(StatusCode::BAD_REQUEST, "bad parameter: number"))?;
    if id.len() != 32 || !id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(missing());
    }
    let path = folder(&state, &id).join(number.to_string());
    let bytes = tokio::fs::read(path).await.map_err(|_| missing())?;
    let kind = image_type(&bytes).unwrap_or("application/octet-stream");
    Ok(([(header::CONTENT_TYPE, kind)], bytes).into_response())
}

#[cfg(test)]
mod tests {
    use super::super::envelope::Code;
    use super::*;

    #[test]
    fn new_software_is_ordered_in_either_word_from_a_place_that_can_be_asked() {
        use serde_json::json;
        let order = |body: serde_json::Value| {
            let request: UpgradeRequest = serde_json::from_value(body).expect("readable");
            request.order("s".repeat(32))
        };
        let url = "http://192.168.1.2:8080/a.bin?x=1";
        let by_standard = order(json!({"firmware": "V2", "fileUrl": url})).expect("an order");
        let by_bvcsp = order(json!({"name": "V2", "path": url, "promptly": 1})).expect("an order");
        assert_eq!(by_standard, by_bvcsp);
        assert_eq!(
            (by_bvcsp.firmware.as_str(), by_bvcsp.file_url.as_str()),
            ("V2", url)
        );
        assert!(order(json!({"name": "V2", "path": "ftp://u:p@[2001:db8::1]/a"})).is_ok());
        for wrong in [
            "x",
            "",
            "/a.bin",
            "http:///a.bin",
            "http://h/a b",
            "a.bin:80",
            "192.168.1.2/a.bin",
        ] {
            let failure = order(json!({"firmware": "V2", "fileUrl": wrong})).expect_err(wrong);
            assert_eq!(failure.code, Code::ErrorParam, "{wrong}");
            assert!(failure.msg.contains("fileUrl"), "{}", failure.msg);
        }
        for (body, code, named) in [
            (json!({"fileUrl": url}), Code::ErrorParam, "firmware"),
            (json!({"firmware": "V2"}), Code::ErrorParam, "fileUrl"),
            (
                json!({"firmware": "V2", "name": "V3", "path": url}),
                Code::ErrorParam,
                "name",
            ),
            (
                json!({"name": "V2", "path": url, "fileUrl": "http://h/"}),
                Code::ErrorParam,
                "path",
            ),
            (
                json!({"name": "V2", "path": url, "promptly": 0}),
                Code::Unsupported,
                "promptly",
            ),
            (
                json!({"name": "V2", "path": url, "promptly": 2}),
                Code::ErrorParam,
                "promptly",
            ),
        ] {
            let failure = order(body).expect_err(named);
            assert_eq!(failure.code, code, "{}", failure.msg);
            assert!(failure.msg.contains(named), "{}", failure.msg);
        }
    }

    #[test]
    fn how_a_picture_is_made_is_null_and_cannot_be_set() {
        use serde_json::json;
        for name in [
            "sizes",
            "sizeIndex",
            "quality",
            "delay",
            "maxCount",
            "overlay",
        ] {
            let with = |value: serde_json::Value| {
                let body = json!({"picCount": 1, name: value});
                let config: SnapshotConfig = serde_json::from_value(body).expect("readable");
                config.check()
            };
            let shown = with(json!(null)).map(serde_json::to_value);
            let shown = shown.expect("nothing is set").expect("written");
            assert_eq!(shown.get(name), Some(&json!(null)), "{name}");
            let failure = with(json!(1)).expect_err(name);
            assert_eq!(failure.code, Code::Unsupported);
            assert!(failure.msg.contains(name), "{}", failure.msg);
        }
    }

    #[test]
    fn pictures_of_an_order_have_bounds() {
        let config = |pic_count, interval| {
            SnapshotConfig {
                pic_count,
                interval,
                ..SnapshotConfig::default()
            }
            .check()
        };
        assert!(config(1, None).is_ok() && config(10, Some(1_000)).is_ok());
        for (count, interval) in [(0, None), (11, None), (1, Some(999)), (1, Some(86_400_001))] {
            assert_eq!(
                config(count, interval).expect_err("outside").code,
                Code::ErrorParam
            );
        }
    }
}
