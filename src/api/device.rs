//! `/pu`: devices and their channels (bvcsp 1.2, 1.3, 2.5).

use axum::extract::{Path, State};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::id::DeviceId;
use crate::session::{ChannelView, Command, DeviceView, Reply};

use super::ApiState;
use super::caller::Caller;
use super::envelope::{Answer, Body, Code, Failure, Paging, wrong_reply};

/// Bits of `mediaDir`, from the device's side: 1 sends picture, 4 sends sound.
pub const MEDIA_DIR_SENDS: u8 = 1 | 4;

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeviceListRequest {
    #[serde(flatten)]
    paging: Paging,
    /// true = each device has its `status`.
    #[serde(default)]
    need_status: bool,
    #[serde(default)]
    filter: Option<DeviceFilter>,
}

#[derive(Debug, Default, Deserialize, ToSchema)]
pub struct DeviceFilter {
    /// A part of the id or name of the device, or of one of its channels.
    #[serde(default)]
    keyword: String,
    /// 0 offline, 1 online.
    #[serde(default)]
    status: Option<u8>,
}

/// A device.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PuInfo {
    #[schema(example = "PU_34020000001110000001")]
    pub id: String,
    pub gid: String,
    pub name: String,
    pub manufacturer: String,
    pub product: String,
    pub software_version: String,
    pub hardware_version: String,
    #[serde(rename = "classID")]
    pub class_id: String,
    pub channels: Vec<Channel>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gps: Option<Position>,
    /// Last sign of life, Unix seconds.
    pub last_time: i64,
    /// 0 offline, 1 online.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u8>,
    /// The device did not send all of its channels when it was asked last.
    pub partial: bool,
}

/// A camera or alarm input of a device.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Channel {
    /// By which calls name it. It never changes.
    pub index: u32,
    /// Its GB/T 28181 code.
    #[schema(example = "34020000001310000001")]
    pub id: String,
    pub name: String,
    /// Bits from the device's side: 1 sends picture, 2 takes picture, 4 sends sound, 8 takes sound.
    pub media_dir: u8,
    /// Index of its PTZ; -1 = none.
    pub ptz: i64,
    /// 0 offline, 1 online, as the device says.
    pub status: u8,
    /// The code of what it hangs under in the device's tree.
    pub parent_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gps: Option<Position>,
}

/// Decimal degrees.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub struct Position {
    pub lng: f64,
    pub lat: f64,
    /// Unix seconds.
    pub time: i64,
}

/// By what a device is connected.
#[derive(Debug, Default, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Network {
    #[schema(example = "192.168.1.64:5060")]
    pub device_addr: String,
    pub server_addr: String,
    #[serde(rename = "TCP1OrUDP2")]
    pub tcp1_or_udp2: u8,
    pub protocol: String,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct OnlineStatus {
    pub id: String,
    /// 0 offline, 1 online.
    pub status: u8,
    /// Last sign of life, Unix seconds.
    pub last_time: i64,
    pub network: Network,
}

/// A device as the API shows it. `status` only if it was asked for (bvcsp 1.2).
pub fn show(view: DeviceView, with_status: bool) -> PuInfo {
    let code = view.device.map_or_else(String::new, |d| d.to_string());
    let time = view.last_seen_unix_s;
    let channels: Vec<Channel> = (0..)
        .zip(view.channels)
        .map(|(index, channel)| show_channel(index, channel, time))
        .collect();
    PuInfo {
        id: view.device.map_or_else(String::new, |d| d.pu_id()),
        gid: String::new(),
        name: if view.info.name.is_empty() {
            code
        } else {
            view.info.name
        },
        manufacturer: view.info.manufacturer,
        product: view.info.model,
        software_version: view.info.firmware,
        hardware_version: String::new(),
        class_id: String::new(),
        gps: channels.iter().find_map(|channel| channel.gps),
        channels,
        last_time: time,
        status: with_status.then_some(u8::from(view.online)),
        partial: view.partial,
    }
}

fn show_channel(index: u32, channel: ChannelView, time: i64) -> Channel {
    let gps = channel
        .longitude
        .zip(channel.latitude)
        .map(|(lng, lat)| Position { lng, lat, time });
    Channel {
        index,
        id: channel.channel.to_string(),
        name: channel.name,
        media_dir: MEDIA_DIR_SENDS,
        ptz: if channel.ptz { i64::from(index) } else { -1 },
        status: u8::from(channel.online),
        parent_id: channel.parent_id,
        gps,
    }
}

/// By what a device is connected to the SIP address `server`.
pub fn network(view: &DeviceView, server: std::net::SocketAddr) -> Network {
    Network {
        device_addr: view.peer.map_or_else(String::new, |peer| peer.to_string()),
        server_addr: server.to_string(),
        tcp1_or_udp2: if view.over_tcp { 1 } else { 2 },
        protocol: "GB28181".into(),
    }
}

impl DeviceFilter {
    fn takes(&self, view: &DeviceView) -> bool {
        if self
            .status
            .is_some_and(|status| (status != 0) != view.online)
        {
            return false;
        }
        let word = self.keyword.trim().to_lowercase();
        let has = |text: &str| text.to_lowercase().contains(&word);
        word.is_empty()
            || view.device.is_some_and(|device| has(&device.pu_id()))
            || has(&view.info.name)
            || view
                .channels
                .iter()
                .any(|c| has(&c.name) || has(c.channel.0.as_str()))
    }
}

/// Devices, by id.
#[utoipa::path(post, path = "/bvcsp/v1/pu/list", operation_id = "listDevices", tag = "device", security(("token" = [])),
    request_body(content = DeviceListRequest, example = json!({"page": 0, "pageSize": 100, "needStatus": true})),
    responses((status = 200, body = Answer<Vec<PuInfo>>, example = json!({"code": 0, "msg": "success",
        "data": [{"id": "PU_34020000001110000001", "gid": "", "name": "Gate", "manufacturer": "", "product": "",
            "softwareVersion": "", "hardwareVersion": "", "classID": "", "lastTime": 1792000000, "status": 1,
            "partial": false, "channels": [{"index": 0, "id": "34020000001310000001", "name": "Gate 1",
                "mediaDir": 5, "ptz": -1, "status": 1, "parentId": ""}]}],
        "pageInfo": {"page": 0, "pageSize": 100, "totalCount": 1}}))))]
pub async fn list(
    State(state): State<ApiState>,
    _: Caller,
    Body(request): Body<DeviceListRequest>,
) -> Result<Answer<Vec<PuInfo>>, Failure> {
    let Reply::Devices(mut devices) = state.session.call(Command::Devices).await? else {
        return Err(wrong_reply());
    };
    if let Some(filter) = &request.filter {
        devices.retain(|view| filter.takes(view));
    }
    devices.sort_by_key(|view| view.device);
    let with_status = request.need_status;
    Ok(request.paging.cut(devices, |view| show(view, with_status)))
}

/// One device with its channels.
#[utoipa::path(get, path = "/bvcsp/v1/pu/info/{puid}", operation_id = "deviceInfo", tag = "device", security(("token" = [])),
    params(("puid" = String, Path, description = "PU_ and the code", example = "PU_34020000001110000001")),
    responses((status = 200, body = Answer<PuInfo>, example = json!({"code": 2, "msg": "device not found"}))))]
pub async fn info(
    State(state): State<ApiState>,
    _: Caller,
    Path(puid): Path<String>,
) -> Result<Answer<PuInfo>, Failure> {
    let view = find(&state, &puid).await?;
    Ok(Answer::data(show(view, true)))
}

/// Whether a device is online, and how it is connected.
#[utoipa::path(get, path = "/bvcsp/v1/pu/onlinestatus/{puid}", operation_id = "deviceOnlineStatus", tag = "device", security(("token" = [])),
    params(("puid" = String, Path, description = "PU_ and the code", example = "PU_34020000001110000001")),
    responses((status = 200, body = Answer<OnlineStatus>, example = json!({"code": 0, "msg": "success", "data":
        {"id": "PU_34020000001110000001", "status": 1, "lastTime": 1792000000, "network": {"deviceAddr":
            "192.168.1.64:5060", "serverAddr": "0.0.0.0:5060", "TCP1OrUDP2": 2, "protocol": "GB28181"}}}))))]
pub async fn online_status(
    State(state): State<ApiState>,
    _: Caller,
    Path(puid): Path<String>,
) -> Result<Answer<OnlineStatus>, Failure> {
    let view = find(&state, &puid).await?;
    Ok(Answer::data(OnlineStatus {
        id: view.device.map_or(puid, |device| device.pu_id()),
        status: u8::from(view.online),
        last_time: view.last_seen_unix_s,
        network: network(&view, state.config.sip.listen),
    }))
}

async fn find(state: &ApiState, puid: &str) -> Result<DeviceView, Failure> {
    let device = read_puid(puid)?;
    let Reply::Device(view) = state.session.call(Command::Device { device }).await? else {
        return Err(wrong_reply());
    };
    Ok(*view)
}

/// `PU_` and a code, or the code alone.
pub fn read_puid(puid: &str) -> Result<DeviceId, Failure> {
    DeviceId::from_pu_id(puid).map_err(|e| Failure::new(Code::ErrorParam, format!("puid is {e}")))
}
