//! `/28181in`: devices and lower platforms that register here by GB/T 28181 (bvcsp 2.14, 3.3), and the directory that a
//! platform sends.
//!
//! A platform is what was made as one, or whose code says so (digits 11 to 13 from 200 on). Both are devices to all other
//! calls. Directory nodes (civil codes, business groups 215, virtual organisations 216) and channels lie in the database,
//! and a level of the tree is read by page: a platform may have 100,000 channels.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::gb28181::DeviceAuth;
use crate::session::{Command, DeviceView};
use crate::store::rows::{ChannelRow, NodeRow};
use crate::store::table::{Filter, Page};
use crate::store::{NOT_DELETED, condition_in};

use super::ApiState;
use super::caller::{Admin, Caller};
use super::certificate;
use super::device::{condition_name, find, order_of, read_puid};
use super::envelope::{Answer, Body, Done, Failure, Path};
use super::list::{ListRequest, bad, not_found};
use super::manage::{self, DeviceChange, adopt, auth_of, facts};

/// A device or platform that registers here.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Registrant {
    /// Its code.
    #[schema(example = "34020000001180000001")]
    pub id: String,
    #[schema(example = "PU_34020000001180000001")]
    pub puid: String,
    pub name: String,
    /// `device` or `platform`.
    pub kind: String,
    /// `UDP` or `TCP`, as it registered last.
    pub transport: String,
    #[schema(example = "192.168.1.64:5060")]
    pub address: String,
    /// 0 offline, 1 online.
    pub status: u8,
    pub channel_count: usize,
    /// Last sign of life, Unix seconds.
    pub last_keepalive: i64,
    pub desc: String,
}

/// A device or platform as it shall be; what is missing stays as it is.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RegistrantRequest {
    /// Its code, when it is made.
    #[serde(default)]
    #[schema(example = "34020000002000000002")]
    id: Option<String>,
    /// Its own password, 1 to 64 bytes; `""` = that of the config.
    #[serde(default)]
    password: Option<String>,
    #[serde(flatten)]
    change: DeviceChange,
}

/// That a row of `devices` is a platform.
const IS_PLATFORM: &str = "(SUBSTR(devices.id, 11, 3) LIKE '2__' OR EXISTS \
    (SELECT 1 FROM device_facts f WHERE f.device = devices.id AND f.kind = 'platform'))";

fn of_kind(kind: &str) -> Filter {
    match kind {
        "platform" => Filter::all().sql(IS_PLATFORM, []),
        _ => Filter::all().sql(format!("NOT {IS_PLATFORM}"), []),
    }
}

fn show(view: &DeviceView, kind: &str, info: super::device::PuInfo) -> Registrant {
    Registrant {
        id: view
            .device
            .map_or_else(String::new, |device| device.to_string()),
        puid: info.id,
        name: info.name,
        kind: kind.to_owned(),
        transport: if view.over_tcp { "TCP" } else { "UDP" }.to_owned(),
        address: view.peer.map_or_else(String::new, |peer| peer.to_string()),
        status: u8::from(view.online),
        channel_count: info.channel_count,
        last_keepalive: view.last_seen_unix_s,
        desc: info.desc,
    }
}

/// Which of them.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RegistrantFilter {
    /// 0 offline, 1 online.
    status: Option<u8>,
    /// A part of the code or of the name that it gives itself.
    keyword: String,
}

async fn registrants(
    state: &ApiState,
    mut request: ListRequest<RegistrantFilter>,
    kind: &str,
) -> Result<Answer<Vec<Registrant>>, Failure> {
    let asked = request.take_filter();
    let filter = of_kind(kind)
        .equal_if("online", asked.status.map(|status| i64::from(status != 0)))
        .contains(&["id", "name"], &asked.keyword);
    let order = order_of(request.sort.as_deref())?;
    let page = manage::page_of_devices(state, filter, request.paging, order, true).await?;
    let infos = page.data.unwrap_or_default();
    let codes: Vec<String> = infos
        .iter()
        .map(|info| info.id.trim_start_matches("PU_").to_owned())
        .collect();
    let views = manage::views(state, &codes).await?;
    let shown = views
        .iter()
        .zip(infos)
        .map(|(view, info)| show(view, kind, info))
        .collect();
    Ok(Answer {
        page_info: page.page_info,
        ..Answer::data(shown)
    })
}

async fn registrant(state: &ApiState, id: &str, kind: &str) -> Result<Registrant, Failure> {
    let device = read_puid(id).map_err(|failure| bad(format_args!("id: {}", failure.msg)))?;
    let fits = of_kind(kind).equal("id", device.to_string());
    if state.store.stats().pending > 0 {
        let _ = state.store.flush().await;
    }
    if state
        .store
        .number("SELECT COUNT(*) FROM devices", fits)
        .await?
        == 0
    {
        return Err(not_found(kind));
    }
    let view = find(state, id).await?;
    let mut info = [super::device::show(view.clone(), true)];
    manage::dress(state, &mut info).await?;
    let [info] = info;
    Ok(show(&view, kind, info))
}

async fn change(
    state: &ApiState,
    id: &str,
    request: RegistrantRequest,
    kind: &str,
) -> Result<Done, Failure> {
    registrant(state, id, kind).await?;
    let device = read_puid(id)?;
    let auth = match request.password {
        None => None,
        Some(password) if password.is_empty() => Some(DeviceAuth::Default),
        Some(password) => Some(auth_of(Some(password))?),
    };
    if auth.is_some() {
        certificate::leave_alone(state, device).await?;
    }
    let mut row = facts(state, device).await?;
    row.kind = kind.to_owned();
    request.change.apply(state, &mut row).await?;
    state.store.put(&row).await?;
    if let Some(auth) = auth {
        state
            .session
            .call(Command::SetDeviceAuth { device, auth })
            .await?;
    }
    Ok(Done::new())
}

async fn create(
    state: &ApiState,
    request: RegistrantRequest,
    kind: &'static str,
) -> Result<Done, Failure> {
    let id = request.id.ok_or_else(|| bad("id is missing"))?;
    let password = request.password.filter(|password| !password.is_empty());
    adopt(state, &id, password, request.change, kind).await?;
    Ok(Done::new())
}

async fn remove(state: &ApiState, id: &str, kind: &str) -> Result<Done, Failure> {
    registrant(state, id, kind).await?;
    let device = read_puid(id)?;
    state.session.call(Command::Forget { device }).await?;
    state.store.remove_device(device).await?;
    certificate::forget_device(state, device).await?;
    Ok(Done::new())
}

/// The five calls of one kind.
macro_rules! calls {
    ($kind:literal, $list:ident, $list_path:literal, $list_id:literal, $info:ident, $info_path:literal, $info_id:literal,
     $create:ident, $create_path:literal, $create_id:literal, $change:ident, $change_id:literal, $path:literal,
     $remove:ident, $remove_id:literal, $place:literal) => {
        #[doc = concat!("Every ", $kind, " that registers here, by code.")]
        #[utoipa::path(post, path = $list_path, operation_id = $list_id, tag = "28181in", security(("token" = [])),
            request_body(content = ListRequest<RegistrantFilter>, example = json!({"page": 0, "pageSize": 100, "filter": {"status": 1}})),
            responses((status = 200, body = Answer<Vec<Registrant>>)))]
        pub async fn $list(State(state): State<ApiState>, _: Caller, Body(request): Body<ListRequest<RegistrantFilter>>) -> Result<Answer<Vec<Registrant>>, Failure> {
            registrants(&state, request, $kind).await
        }

        #[doc = concat!("One ", $kind, " that registers here.")]
        #[utoipa::path(get, path = $info_path, operation_id = $info_id, tag = "28181in", security(("token" = [])),
            params(($place = String, Path, example = "34020000001180000001")),
            responses((status = 200, body = Answer<Registrant>)))]
        pub async fn $info(State(state): State<ApiState>, _: Caller, Path(id): Path<String>) -> Result<Answer<Registrant>, Failure> {
            Ok(Answer::data(registrant(&state, &id, $kind).await?))
        }

        #[doc = concat!("Makes a ", $kind, " known before it registers.")]
        #[utoipa::path(post, path = $create_path, operation_id = $create_id, tag = "28181in", security(("token" = [])),
            request_body(content = RegistrantRequest, example = json!({"id": "34020000001180000009", "name": "Gate 7", "password": "gate-7-camera"})),
            responses((status = 200, body = Done, example = json!({"code": 0, "msg": "success"}))))]
        pub async fn $create(State(state): State<ApiState>, _: Admin, Body(request): Body<RegistrantRequest>) -> Result<Done, Failure> {
            create(&state, request, $kind).await
        }

        #[doc = concat!("Changes a ", $kind, "; a new password counts from its next registration.")]
        #[utoipa::path(put, path = $path, operation_id = $change_id, tag = "28181in", security(("token" = [])),
            params(($place = String, Path, example = "34020000001180000001")),
            request_body(content = RegistrantRequest, example = json!({"name": "Gate 7"})),
            responses((status = 200, body = Done, example = json!({"code": 0, "msg": "success"}))))]
        pub async fn $change(State(state): State<ApiState>, _: Admin, Path(id): Path<String>, Body(request): Body<RegistrantRequest>) -> Result<Done, Failure> {
            change(&state, &id, request, $kind).await
        }

        #[doc = concat!("Removes a ", $kind, " with all that hangs on it; what happened stays.")]
        #[utoipa::path(delete, path = $path, operation_id = $remove_id, tag = "28181in", security(("token" = [])),
            params(($place = String, Path, example = "34020000001180000009")),
            responses((status = 200, body = Done, example = json!({"code": 0, "msg": "success"}))))]
        pub async fn $remove(State(state): State<ApiState>, _: Admin, Path(id): Path<String>) -> Result<Done, Failure> {
            remove(&state, &id, $kind).await
        }
    };
}

calls!(
    "device",
    list_devices,
    "/bvcsp/v1/28181in/device/list",
    "listGbDevices",
    device_info,
    "/bvcsp/v1/28181in/device/info/{id}",
    "gbDeviceInfo",
    create_device,
    "/bvcsp/v1/28181in/device/create",
    "createGbDevice",
    change_device,
    "changeGbDevice",
    "/bvcsp/v1/28181in/device/{id}",
    remove_device,
    "deleteGbDevice",
    "id"
);
calls!(
    "platform",
    list_platforms,
    "/bvcsp/v1/28181in/platform/list",
    "listGbPlatforms",
    platform_info,
    "/bvcsp/v1/28181in/platform/info/{platformid}",
    "gbPlatformInfo",
    create_platform,
    "/bvcsp/v1/28181in/platform/create",
    "createGbPlatform",
    change_platform,
    "changeGbPlatform",
    "/bvcsp/v1/28181in/platform/{platformid}",
    remove_platform,
    "deleteGbPlatform",
    "platformid"
);

/// What is typed into a device so that it registers here.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct GbConfig {
    #[schema(example = "34020000002000000001")]
    pub server_id: String,
    #[schema(example = "3402000000")]
    pub realm: String,
    /// Of this node as it is configured; `0.0.0.0` = the address by which the device reaches it.
    #[schema(example = "192.168.1.2")]
    pub ip: String,
    #[schema(example = 5060)]
    pub port: u16,
    /// Of devices that have none of their own; shown to administrators.
    pub password: String,
    /// Seconds between two keepalives.
    pub keepalive: u64,
    pub keepalive_count: u32,
    /// Seconds of a registration.
    pub expires: u64,
}

/// What is typed into a device so that it registers here.
#[utoipa::path(get, path = "/bvcsp/v1/28181in/config", operation_id = "gbConfig", tag = "28181in", security(("token" = [])),
    responses((status = 200, body = Answer<GbConfig>)))]
pub async fn config(
    State(state): State<ApiState>,
    caller: Caller,
) -> Result<Answer<GbConfig>, Failure> {
    let sip = &state.config.sip;
    let password = match (caller.login.admin, sip.device_password.0.as_str()) {
        (false, _) => String::new(),
        (true, "") => {
            let made = state.store.secret("device_password", Vec::new).await?;
            String::from_utf8_lossy(&made).into_owned()
        }
        (true, given) => given.to_owned(),
    };
    Ok(Answer::data(GbConfig {
        server_id: sip.id.to_string(),
        realm: state.config.sip_realm().to_owned(),
        ip: sip.advertised_ip.unwrap_or(sip.listen.ip()).to_string(),
        port: sip.listen.port(),
        password,
        keepalive: sip.keepalive_s.duration().as_secs(),
        keepalive_count: sip.keepalive_misses,
        expires: sip.expires_default_s.duration().as_secs(),
    }))
}

/// Changes what people say of a channel, as `PUT /pu/channel`; with an empty body the directory is asked for anew.
#[utoipa::path(put, path = "/bvcsp/v1/28181in/channel/{id}/{index}", operation_id = "changeGbChannel", tag = "28181in", security(("token" = [])),
    params(("id" = String, Path, example = "34020000001180000001"), ("index" = u32, Path, example = 0)),
    request_body(content = manage::ChannelChange, example = json!({"name": "East"})),
    responses((status = 200, body = Done, example = json!({"code": 0, "msg": "success"}))))]
pub async fn change_channel(
    State(state): State<ApiState>,
    _: Admin,
    Path((id, index)): Path<(String, u32)>,
    Body(request): Body<manage::ChannelChange>,
) -> Result<Done, Failure> {
    if request.is_empty() {
        let device = read_puid(&id)?;
        state
            .session
            .call(Command::RefreshCatalog { device })
            .await?;
        return Ok(Done::new());
    }
    request.apply(&state, &id, index).await
}

/// A node of a platform's directory.
#[utoipa::path(post, path = "/bvcsp/v1/28181in/platform/group/list/{platformid}", operation_id = "listGbGroups", tag = "28181in", security(("token" = [])),
    params(("platformid" = String, Path, example = "34020000002000000002")),
    request_body(content = ListRequest<TreeFilter>, example = json!({"page": 0, "pageSize": 100, "filter": {"parent": ""}})),
    responses((status = 200, body = Answer<Vec<NodeRow>>)))]
pub async fn list_groups(
    State(state): State<ApiState>,
    _: Caller,
    Path(id): Path<String>,
    Body(mut request): Body<ListRequest<TreeFilter>>,
) -> Result<Answer<Vec<NodeRow>>, Failure> {
    find(&state, &id).await?;
    let device = read_puid(&id)?;
    let asked = request.take_filter();
    let filter = Filter::all()
        .equal("device", device.to_string())
        .equal_if("parent", asked.parent)
        .contains(&["id", "name"], &asked.keyword);
    request.run(&state, filter, "place").await
}

/// Which level of a directory.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default)]
pub struct TreeFilter {
    /// Code of the node above; `""` = the top; missing = all levels.
    parent: Option<String>,
    /// A part of the code or name.
    keyword: String,
}

/// Something in a device's directory.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TreeItem {
    #[schema(example = "34020000002160000001")]
    pub id: String,
    pub name: String,
    pub civil_code: String,
    /// Of a channel: by which calls name it; missing = a node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub index: Option<i64>,
    /// Of a channel: 0 offline, 1 online.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u8>,
    /// Of a channel: why it is offline, if the device said so: `videoLost` or `defect`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub condition: Option<&'static str>,
}

/// One level of a device's directory: nodes first, then channels, in the order of the directory or by `id` or `name`.
#[utoipa::path(post, path = "/gantry/v1/devices/{puid}/tree", operation_id = "deviceTree", tag = "28181in", security(("token" = [])),
    params(("puid" = String, Path, example = "PU_34020000002000000002")),
    request_body(content = ListRequest<TreeFilter>, example = json!({"page": 0, "pageSize": 100, "filter": {"parent": ""}})),
    responses((status = 200, body = Answer<Vec<TreeItem>>, description = "in the envelope of bvcsp")))]
pub async fn tree(
    State(state): State<ApiState>,
    _: Caller,
    Path(puid): Path<String>,
    Body(mut request): Body<ListRequest<TreeFilter>>,
) -> Result<Answer<Vec<TreeItem>>, Failure> {
    let device = read_puid(&puid)?.to_string();
    let asked = request.take_filter();
    let of_device = Filter::all()
        .equal("device", device.clone())
        .contains(&["id", "name"], &asked.keyword);
    let nodes = of_device.clone().equal_if("parent", asked.parent.clone());
    let of_device = of_device.sql(NOT_DELETED, []);
    let channels = of_device.equal_if("node", asked.parent.as_deref());
    let order = match request.sort.as_deref().map(str::trim).unwrap_or_default() {
        "" => "place",
        "id" => "id, place",
        "-id" => "id DESC, place",
        "name" => "name, place",
        "-name" => "name DESC, place",
        _ => return Err(bad("sort must be id or name")),
    };
    let (skip, take) = (request.paging.skip(), i64::from(request.paging.size()));
    let page = |skip: i64, take: i64| Page {
        skip,
        take,
        order: order.into(),
    };
    let (found, node_count) = state
        .store
        .list::<NodeRow>(nodes, &page(skip, take))
        .await?;
    let before = i64::try_from(node_count).unwrap_or(i64::MAX);
    let mut items: Vec<TreeItem> = found
        .into_iter()
        .map(|node| TreeItem {
            id: node.id,
            name: node.name,
            civil_code: node.civil_code,
            index: None,
            status: None,
            condition: None,
        })
        .collect();
    let left = take - i64::try_from(items.len()).unwrap_or(0);
    let rest = page((skip - before).max(0), left);
    let (found, channel_count) = state.store.list::<ChannelRow>(channels, &rest).await?;
    items.extend(found.into_iter().map(|channel| TreeItem {
        id: channel.id,
        name: channel.name,
        civil_code: channel.civil_code,
        index: Some(channel.place),
        status: Some(u8::from(channel.flags & 4 != 0)),
        condition: condition_name(condition_in(channel.flags)),
    }));
    Ok(request.paging.answer(items, node_count + channel_count))
}
