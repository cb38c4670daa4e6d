//! `/pu`: devices and their channels (bvcsp 1.2, 1.3, 2.5).

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::gb28181::Condition;
use crate::id::DeviceId;
use crate::limits;
use crate::session::{ChannelView, Command, DeviceView, Reply};
use crate::store::rows::ChannelFacts;
use crate::store::table::Filter;

use super::ApiState;
use super::caller::Caller;
use super::envelope::{Answer, Body, Code, Failure, Paging, Path, wrong_reply};
use super::manage;

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
    /// `id`, `name`, `lastTime` or `status`; with `-` before it from the greatest down.
    #[serde(default)]
    sort: Option<String>,
}

#[derive(Debug, Default, Deserialize, ToSchema)]
pub struct DeviceFilter {
    /// A part of the id or name of the device, or of one of its channels.
    #[serde(default)]
    keyword: String,
    /// 0 offline, 1 online.
    #[serde(default)]
    status: Option<u8>,
    /// Those in this group.
    #[serde(default)]
    gid: Option<String>,
    /// Those in this category.
    #[serde(default, rename = "classID")]
    class_id: Option<String>,
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
    /// What people say of it.
    pub desc: String,
    pub tags: Vec<String>,
    /// Of channels in all; `channels` shows the first 1,000 of them.
    pub channel_count: usize,
    /// Nodes of its tree (districts, business groups, organisations), which `POST /gantry/v1/devices/{puid}/tree` shows.
    #[schema(example = 3)]
    pub node_count: i64,
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
    /// Why it is offline, if the device said so: `videoLost` or `defect`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub condition: Option<&'static str>,
    /// The code of what it hangs under in the device's tree.
    pub parent_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gps: Option<Position>,
}

/// Decimal degrees.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[schema(as = GpsPosition)]
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
    let is_there = |channel: &ChannelView| channel.condition != Condition::Deleted;
    let channel_count = view.channels.iter().filter(|c| is_there(c)).count();
    let channels: Vec<Channel> = (0..)
        .zip(view.channels)
        .filter(|(_, channel)| is_there(channel))
        .take(limits::LIST_CHANNELS_MAX)
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
        desc: String::new(),
        tags: Vec::new(),
        channel_count,
        node_count: 0,
    }
}

impl Channel {
    /// Puts what people say of it over what the device says; `time` is the device's.
    pub fn dress(&mut self, facts: ChannelFacts, time: i64) {
        if !facts.name.is_empty() {
            self.name = facts.name;
        }
        if let Some(ptz) = facts.ptz {
            self.ptz = if ptz > 0 { i64::from(self.index) } else { -1 };
        }
        if let (Some(lng), Some(lat)) = (facts.longitude, facts.latitude) {
            self.gps = Some(Position { lng, lat, time });
        }
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
        condition: condition_name(channel.condition),
        parent_id: channel.parent_id,
        gps,
    }
}

/// What callers are told of a channel beyond being there or not.
pub fn condition_name(condition: Condition) -> Option<&'static str> {
    match condition {
        Condition::Described | Condition::Deleted => None,
        Condition::VideoLost => Some("videoLost"),
        Condition::Defect => Some("defect"),
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
    fn rows(self) -> Filter {
        let fact = |column| {
            format!(
                "EXISTS (SELECT 1 FROM device_facts f WHERE f.device = devices.id AND f.{column} = ?)"
            )
        };
        let mut filter = Filter::all().equal_if("online", self.status.map(|s| i64::from(s != 0)));
        if let Some(gid) = self.gid.filter(|gid| !gid.is_empty()) {
            filter = filter.sql(fact("group_id"), [gid.into()]);
        }
        if let Some(class) = self.class_id.filter(|class| !class.is_empty()) {
            filter = filter.sql(fact("class_id"), [class.into()]);
        }
        let word = self.keyword.trim();
        if word.is_empty() {
            return filter;
        }
        // The id as the API writes it, what the device and people call it, and the same of its channels.
        let own = Filter::pattern(word.strip_prefix("PU_").unwrap_or(word));
        let part = |of: &str| format!("LOWER({of}) LIKE ? ESCAPE '\\'");
        let condition = format!(
            "({} OR {} OR EXISTS (SELECT 1 FROM device_facts f WHERE f.device = devices.id AND {}) \
             OR EXISTS (SELECT 1 FROM channels c WHERE c.device = devices.id AND (c.flags & 24) <> 24 AND ({} OR {})))",
            part("devices.id"),
            part("devices.name"),
            part("f.name"),
            part("c.id"),
            part("c.name"),
        );
        filter.sql(condition, vec![own; 5])
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
    let filter = request.filter.unwrap_or_default().rows();
    let order = order_of(request.sort.as_deref())?;
    manage::page_of_devices(&state, filter, request.paging, order, request.need_status).await
}

/// In which order devices are listed, in the words of the database.
///
/// Errors: code 4 for another field.
pub fn order_of(sort: Option<&str>) -> Result<&'static str, Failure> {
    Ok(match sort.map(str::trim).unwrap_or_default() {
        "" | "id" => "id",
        "-id" => "id DESC",
        "name" => "name, id",
        "-name" => "name DESC, id DESC",
        // As `/28181in` calls it.
        "lastTime" | "lastKeepalive" => "last_seen_s, id",
        "-lastTime" | "-lastKeepalive" => "last_seen_s DESC, id DESC",
        "status" => "online, id",
        "-status" => "online DESC, id DESC",
        _ => {
            return Err(super::list::bad(
                "sort must be id, name, lastTime or status",
            ));
        }
    })
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
    let mut shown = [show(view, true)];
    manage::dress(&state, &mut shown).await?;
    let [shown] = shown;
    Ok(Answer::data(shown))
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

pub async fn find(state: &ApiState, puid: &str) -> Result<DeviceView, Failure> {
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
