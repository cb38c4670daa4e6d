//! What people do with devices: make them known, name them, sort them, remove them, send them away (bvcsp 2.6).
//!
//! GB/T 28181 has no word for any of it but the end of a registration: names, groups, categories and tags are the
//! platform's own, and stand in place of what a device says of itself.

use std::collections::HashMap;

use axum::extract::State;
use serde::Deserialize;
use sqlx::Row;
use utoipa::ToSchema;

use crate::gb28181::DeviceAuth;
use crate::id::DeviceId;
use crate::limits;
use crate::session::{Command, DeviceView, Reply};
use crate::store::rows::{ChannelFacts, DeviceFacts};
use crate::store::table::{Filter, Value};

use super::ApiState;
use super::auth::unix_s;
use super::caller::{Admin, Caller};
use super::certificate;
use super::device::{PuInfo, find, order_of, read_puid, show};
use super::envelope::{Answer, Body, Done, Failure, Path, wrong_reply};
use super::group::{check_class, check_group};
use super::list::{ListRequest, NoFilter, bad, ids, not_found, text};

/// What people say of a device; what is missing stays as it is.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct DeviceChange {
    /// `""` = as the device calls itself.
    #[schema(example = "Gate 7")]
    pub name: Option<String>,
    /// The group; `""` = the root.
    pub gid: Option<String>,
    /// The category; `""` = none.
    #[serde(rename = "classID")]
    pub class_id: Option<String>,
    #[serde(alias = "desc")]
    pub description: Option<String>,
    /// Words.
    pub tags: Option<Vec<String>>,
}

/// A device that shall be known before it registers.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeviceRequest {
    /// Its code, with or without `PU_`.
    #[schema(example = "PU_34020000001110000009")]
    id: String,
    /// Its own password, 1 to 64 bytes; missing = that of the config.
    #[serde(default)]
    password: Option<String>,
    #[serde(flatten)]
    change: DeviceChange,
}

/// What is kept of a device, or what would be.
pub async fn facts(state: &ApiState, device: DeviceId) -> Result<DeviceFacts, Failure> {
    let found = state
        .store
        .find(Filter::all().equal("device", device.to_string()))
        .await?;
    Ok(found.unwrap_or_else(|| DeviceFacts {
        device: device.to_string(),
        kind: "device".into(),
        made_s: i64::try_from(unix_s()).unwrap_or(0),
        ..DeviceFacts::default()
    }))
}

impl DeviceChange {
    pub async fn apply(self, state: &ApiState, facts: &mut DeviceFacts) -> Result<(), Failure> {
        if self.name.is_some() {
            facts.name = text("name", self.name)?;
        }
        if self.description.is_some() {
            facts.description = text("description", self.description)?;
        }
        if let Some(tags) = self.tags {
            let joined = text("tags", Some(tags.join(",")))?;
            if tags.iter().any(|tag| tag.contains(',')) {
                return Err(bad("tags must have no comma"));
            }
            facts.tags = joined;
        }
        if let Some(gid) = self.gid {
            check_group(state, &gid).await?;
            facts.group_id = gid;
        }
        if let Some(class) = self.class_id {
            check_class(state, &class).await?;
            facts.class_id = class;
        }
        Ok(())
    }
}

/// How a device logs in, as a request gives it.
pub fn auth_of(password: Option<String>) -> Result<DeviceAuth, Failure> {
    match password {
        None => Ok(DeviceAuth::Default),
        Some(password) => {
            let fits = (1..=limits::DEVICE_PASSWORD_BYTES_MAX).contains(&password.len())
                && !password.chars().any(char::is_control);
            fits.then_some(DeviceAuth::Password(password))
                .ok_or_else(|| bad("password must have 1 to 64 bytes and no control characters"))
        }
    }
}

/// Makes a device known before it registers.
pub async fn adopt(
    state: &ApiState,
    id: &str,
    password: Option<String>,
    change: DeviceChange,
    kind: &'static str,
) -> Result<DeviceId, Failure> {
    let device = read_puid(id).map_err(|failure| bad(format_args!("id: {}", failure.msg)))?;
    if password.is_some() {
        certificate::leave_alone(state, device).await?;
    }
    let auth = match certificate::proof_of(state, device).await? {
        Some(proof) => proof,
        None => auth_of(password)?,
    };
    let mut row = facts(state, device).await?;
    row.kind = kind.into();
    change.apply(state, &mut row).await?;
    state.session.call(Command::Adopt { device, auth }).await?;
    state.store.put(&row).await?;
    Ok(device)
}

/// Puts what people say of devices over what these say of themselves, for devices and their channels.
pub async fn dress(state: &ApiState, shown: &mut [PuInfo]) -> Result<(), Failure> {
    let codes = |info: &PuInfo| Value::from(info.id.trim_start_matches("PU_"));
    let all: Vec<Value> = shown.iter().map(codes).collect();
    let filter = Filter::all().one_of("device", all);
    let bound = shown.len().max(1);
    let counted = state.store.grouped(
        "device, COUNT(*)",
        "directory",
        filter.clone(),
        "GROUP BY device",
    );
    let mut nodes: HashMap<String, i64> = HashMap::new();
    for row in counted.await? {
        let read = (row.try_get::<String, _>(0), row.try_get(1));
        if let (Ok(device), Ok(count)) = read {
            nodes.insert(format!("PU_{device}"), count);
        }
    }
    let rows: Vec<DeviceFacts> = state.store.every(filter.clone(), bound).await?;
    let mut rows: HashMap<String, DeviceFacts> = rows
        .into_iter()
        .map(|row| (format!("PU_{}", row.device), row))
        .collect();
    let channels: Vec<ChannelFacts> = state
        .store
        .every(filter, limits::CATALOG_CHANNELS_MAX)
        .await?;
    let mut channels: HashMap<(String, String), ChannelFacts> = channels
        .into_iter()
        .map(|row| ((format!("PU_{}", row.device), row.channel.clone()), row))
        .collect();
    for info in shown {
        info.node_count = nodes.get(&info.id).copied().unwrap_or(0);
        if let Some(row) = rows.remove(&info.id) {
            if !row.name.is_empty() {
                info.name = row.name;
            }
            info.gid = row.group_id;
            info.class_id = row.class_id;
            info.desc = row.description;
            info.tags = row
                .tags
                .split(',')
                .filter(|tag| !tag.is_empty())
                .map(str::to_owned)
                .collect();
        }
        if channels.is_empty() {
            continue;
        }
        for channel in &mut info.channels {
            if let Some(row) = channels.remove(&(info.id.clone(), channel.id.clone())) {
                channel.dress(row, info.last_time);
            }
        }
    }
    Ok(())
}

/// Makes a device known before it registers.
#[utoipa::path(post, path = "/bvcsp/v1/pu/create", operation_id = "createDevice", tag = "management", security(("token" = [])),
    request_body(content = DeviceRequest, example = json!({"id": "PU_34020000001110000009", "name": "Gate 7", "password": "gate-7-camera"})),
    responses((status = 200, body = Done, example = json!({"code": 0, "msg": "success"}))))]
pub async fn create(
    State(state): State<ApiState>,
    _: Admin,
    Body(request): Body<DeviceRequest>,
) -> Result<Done, Failure> {
    adopt(
        &state,
        &request.id,
        request.password,
        request.change,
        "device",
    )
    .await?;
    Ok(Done::new())
}

/// Removes a device with all that hangs on it; what happened stays. It may register anew with the right password; the
/// black list keeps it away.
#[utoipa::path(delete, path = "/bvcsp/v1/pu/{puid}", operation_id = "deleteDevice", tag = "management", security(("token" = [])),
    params(("puid" = String, Path, example = "PU_34020000001110000009")),
    responses((status = 200, body = Done, example = json!({"code": 0, "msg": "success"}))))]
pub async fn delete(
    State(state): State<ApiState>,
    _: Admin,
    Path(puid): Path<String>,
) -> Result<Done, Failure> {
    let device = read_puid(&puid)?;
    state.session.call(Command::Forget { device }).await?;
    state.store.remove_device(device).await?;
    certificate::forget_device(&state, device).await?;
    Ok(Done::new())
}

/// Changes what people say of a device.
#[utoipa::path(put, path = "/bvcsp/v1/pu/info/{puid}", operation_id = "changeDevice", tag = "management", security(("token" = [])),
    params(("puid" = String, Path, example = "PU_34020000001110000001")),
    request_body(content = DeviceChange, example = json!({"name": "Gate 7", "tags": ["outside"]})),
    responses((status = 200, body = Done, example = json!({"code": 0, "msg": "success"}))))]
pub async fn change(
    State(state): State<ApiState>,
    _: Admin,
    Path(puid): Path<String>,
    Body(request): Body<DeviceChange>,
) -> Result<Done, Failure> {
    let device = read_puid(&puid)?;
    find(&state, &puid).await?;
    let mut row = facts(&state, device).await?;
    request.apply(&state, &mut row).await?;
    state.store.put(&row).await?;
    Ok(Done::new())
}

/// Devices that belong together from now on.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct BatchRequest {
    /// At most 1,000.
    #[serde(default, alias = "puIDs")]
    #[schema(example = json!(["PU_34020000001110000001"]))]
    ids: Vec<String>,
    /// The group, of `batch/group`; `""` = the root.
    #[serde(default)]
    gid: Option<String>,
    /// The category, of `batch/class`; `""` = none.
    #[serde(default, rename = "classID")]
    class_id: Option<String>,
}

async fn batch(
    state: &ApiState,
    all: Vec<String>,
    change: impl Fn() -> DeviceChange,
) -> Result<Done, Failure> {
    for puid in ids("ids", all)? {
        let device = read_puid(&puid)?;
        find(state, &puid).await?;
        let mut row = facts(state, device).await?;
        change().apply(state, &mut row).await?;
        state.store.put(&row).await?;
    }
    Ok(Done::new())
}

/// Puts devices into a group.
#[utoipa::path(put, path = "/bvcsp/v1/pu/batch/group", operation_id = "groupDevices", tag = "management", security(("token" = [])),
    request_body(content = BatchRequest, example = json!({"ids": ["PU_34020000001110000001"], "gid": ""})),
    responses((status = 200, body = Done, example = json!({"code": 0, "msg": "success"}))))]
pub async fn batch_group(
    State(state): State<ApiState>,
    _: Admin,
    Body(request): Body<BatchRequest>,
) -> Result<Done, Failure> {
    let gid = request.gid.ok_or_else(|| bad("gid is missing"))?;
    let change = || DeviceChange {
        gid: Some(gid.clone()),
        ..DeviceChange::default()
    };
    batch(&state, request.ids, change).await
}

/// Puts devices into a category.
#[utoipa::path(put, path = "/bvcsp/v1/pu/batch/class", operation_id = "classifyDevices", tag = "management", security(("token" = [])),
    request_body(content = BatchRequest, example = json!({"ids": ["PU_34020000001110000001"], "classID": ""})),
    responses((status = 200, body = Done, example = json!({"code": 0, "msg": "success"}))))]
pub async fn batch_class(
    State(state): State<ApiState>,
    _: Admin,
    Body(request): Body<BatchRequest>,
) -> Result<Done, Failure> {
    let class = request.class_id.ok_or_else(|| bad("classID is missing"))?;
    let change = || DeviceChange {
        class_id: Some(class.clone()),
        ..DeviceChange::default()
    };
    batch(&state, request.ids, change).await
}

/// What people say of a channel; what is missing stays as it is.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ChannelChange {
    /// `""` = as the device calls it.
    #[serde(default)]
    #[schema(example = "East")]
    name: Option<String>,
    /// Whether it can be turned: 1 or more yes, 0 no, -1 as the device says.
    #[serde(default)]
    ptz: Option<i64>,
    /// Decimal degrees.
    #[serde(default)]
    lng: Option<f64>,
    /// Decimal degrees.
    #[serde(default)]
    lat: Option<f64>,
}

/// Changes what people say of a channel.
#[utoipa::path(put, path = "/bvcsp/v1/pu/channel/{puid}/{index}", operation_id = "changeChannel", tag = "management", security(("token" = [])),
    params(("puid" = String, Path, example = "PU_34020000001110000001"), ("index" = u32, Path, example = 0)),
    request_body(content = ChannelChange, example = json!({"name": "East", "lng": 117.28, "lat": 31.86})),
    responses((status = 200, body = Done, example = json!({"code": 0, "msg": "success"}))))]
pub async fn change_channel(
    State(state): State<ApiState>,
    _: Admin,
    Path((puid, index)): Path<(String, u32)>,
    Body(request): Body<ChannelChange>,
) -> Result<Done, Failure> {
    request.apply(&state, &puid, index).await
}

impl ChannelChange {
    /// Nothing is to be changed.
    pub fn is_empty(&self) -> bool {
        self.name.is_none() && self.ptz.is_none() && self.lng.is_none() && self.lat.is_none()
    }

    pub async fn apply(self, state: &ApiState, puid: &str, index: u32) -> Result<Done, Failure> {
        let device = read_puid(puid)?;
        let view = find(state, puid).await?;
        let place = usize::try_from(index).unwrap_or(usize::MAX);
        let channel = view
            .channel(place)
            .ok_or_else(|| not_found("channel"))?
            .channel
            .to_string();
        let filter = Filter::all()
            .equal("device", device.to_string())
            .equal("channel", channel.clone());
        let mut row = state
            .store
            .find(filter)
            .await?
            .unwrap_or_else(|| ChannelFacts {
                device: device.to_string(),
                channel,
                ..ChannelFacts::default()
            });
        if self.name.is_some() {
            row.name = text("name", self.name)?;
        }
        if let Some(ptz) = self.ptz {
            row.ptz = (ptz >= 0).then_some(ptz.min(1));
        }
        for (field, given, bound, kept) in [
            ("lng", self.lng, 180.0, &mut row.longitude),
            ("lat", self.lat, 90.0, &mut row.latitude),
        ] {
            if let Some(degrees) = given {
                if degrees.abs() > bound {
                    return Err(bad(format_args!("{field} must be -{bound} to {bound}")));
                }
                *kept = Some(degrees);
            }
        }
        state.store.put(&row).await?;
        Ok(Done::new())
    }
}

/// Sends a device away: it counts as offline until it registers anew.
#[utoipa::path(post, path = "/bvcsp/v1/pu/kickout/{puid}", operation_id = "kickDevice", tag = "management", security(("token" = [])),
    params(("puid" = String, Path, example = "PU_34020000001110000001")),
    responses((status = 200, body = Done, example = json!({"code": 0, "msg": "success"}))))]
pub async fn kick(
    State(state): State<ApiState>,
    _: Admin,
    Path(puid): Path<String>,
) -> Result<Done, Failure> {
    let device = read_puid(&puid)?;
    state.session.call(Command::Kick { device }).await?;
    Ok(Done::new())
}

/// Devices by their codes, in that order.
pub async fn views(state: &ApiState, codes: &[String]) -> Result<Vec<DeviceView>, Failure> {
    let devices = codes
        .iter()
        .filter_map(|code| code.parse().ok())
        .map(DeviceId)
        .collect();
    let command = Command::DevicesOf { devices };
    let Reply::Devices(views) = state.session.call(command).await? else {
        return Err(wrong_reply());
    };
    Ok(views)
}

/// Devices in no group.
#[utoipa::path(post, path = "/bvcsp/v1/pu/ungrouped/list", operation_id = "listUngrouped", tag = "management", security(("token" = [])),
    request_body(content = ListRequest<NoFilter>, example = json!({"page": 0, "pageSize": 100})),
    responses((status = 200, body = Answer<Vec<PuInfo>>)))]
pub async fn ungrouped(
    State(state): State<ApiState>,
    _: Caller,
    Body(request): Body<ListRequest<NoFilter>>,
) -> Result<Answer<Vec<PuInfo>>, Failure> {
    let condition = "NOT EXISTS (SELECT 1 FROM device_facts f WHERE f.device = devices.id AND f.group_id <> '')";
    let filter = Filter::all().sql(condition, []);
    page_of_devices(
        &state,
        filter,
        request.paging,
        order_of(request.sort.as_deref())?,
        true,
    )
    .await
}

/// A page of the devices that fit, as they are shown.
pub async fn page_of_devices(
    state: &ApiState,
    filter: Filter,
    paging: super::envelope::Paging,
    order: &str,
    with_status: bool,
) -> Result<Answer<Vec<PuInfo>>, Failure> {
    if state.store.stats().pending > 0 {
        // Who has just come is to be seen; a database that refuses says so by what follows.
        let _ = state.store.flush().await;
    }
    let total = state
        .store
        .number("SELECT COUNT(*) FROM devices", filter.clone())
        .await?;
    let tail = format!(
        "ORDER BY {order} LIMIT {} OFFSET {}",
        paging.size(),
        paging.skip()
    );
    let rows = state.store.grouped("id", "devices", filter, &tail).await?;
    let codes: sqlx::Result<Vec<String>> =
        rows.iter().map(|row| sqlx::Row::try_get(row, 0)).collect();
    let codes = codes.map_err(crate::store::Error::reading)?;
    let views = views(state, &codes).await?;
    let mut shown: Vec<PuInfo> = views
        .into_iter()
        .map(|view| show(view, with_status))
        .collect();
    dress(state, &mut shown).await?;
    Ok(paging.answer(shown, u64::try_from(total).unwrap_or(0)))
}
