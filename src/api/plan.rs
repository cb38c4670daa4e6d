//! `/configplan`: settings that many devices shall have (bvcsp 2.6, 3.7).
//!
//! A plan is a list of settings of GB/T 28181. A device that is added is set at once, and so are all devices of a plan
//! that is changed; how each went is kept. One that is offline is told so (`failed`) and is set when it is added again.
//!
//! Bounds: [`crate::limits::GROUPS_MAX`] plans, [`crate::limits::IDS_PER_CALL_MAX`] devices a call.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::gb28181::settings::Settings;
use crate::limits;
use crate::store::rows::{ConfigPlanDevice, ConfigPlanRow};
use crate::store::table::Filter;

use super::ApiState;
use super::auth::unix_s;
use super::caller::{Admin, Caller};
use super::device::{PuInfo, find, order_of, read_puid};
use super::envelope::{Answer, Body, Code, Done, Failure, Path};
use super::group::{Made, new_id};
use super::list::{ListRequest, NoFilter, bad, ids, name, not_found, text};
use super::{manage, setup};

/// Settings that many devices shall have.
#[derive(Debug, Serialize, ToSchema)]
pub struct ConfigPlan {
    #[schema(example = "p-5f3a9c1e")]
    pub id: String,
    pub name: String,
    pub desc: String,
    pub settings: Vec<Settings>,
}

/// A plan as it shall be; what is missing stays as it is.
#[derive(Debug, Deserialize, ToSchema)]
pub struct PlanRequest {
    #[schema(example = "Night")]
    name: Option<String>,
    #[serde(alias = "description")]
    desc: Option<String>,
    settings: Option<Vec<Settings>>,
}

impl From<ConfigPlanRow> for ConfigPlan {
    fn from(row: ConfigPlanRow) -> ConfigPlan {
        ConfigPlan {
            settings: serde_json::from_str(&row.settings).unwrap_or_default(),
            id: row.id,
            name: row.name,
            desc: row.description,
        }
    }
}

async fn plan(state: &ApiState, id: &str) -> Result<ConfigPlanRow, Failure> {
    let found = state.store.find(Filter::all().equal("id", id)).await?;
    found.ok_or_else(|| not_found("configuration plan"))
}

/// The settings as they are kept. Errors: one is outside of what the standard allows.
fn settings_text(settings: &[Settings]) -> Result<String, Failure> {
    if settings.len() > crate::gb28181::settings::ConfigType::ALL.len() {
        return Err(bad("settings has too many items"));
    }
    for one in settings {
        one.check()
            .map_err(|flaw| bad(format_args!("{}: {flaw}", one.kind().name())))?;
    }
    Ok(serde_json::to_string(settings).unwrap_or_default())
}

async fn check_name(state: &ApiState, own: &str, wanted: &str) -> Result<(), Failure> {
    let same: Option<ConfigPlanRow> = state
        .store
        .find(Filter::all().equal("name", wanted))
        .await?;
    match same {
        Some(other) if other.id != own => Err(Failure::new(
            Code::Exist,
            "a plan of this name exists already",
        )),
        Some(_) | None => Ok(()),
    }
}

/// Makes a plan.
#[utoipa::path(post, path = "/bvcsp/v1/configplan/create", operation_id = "createPlan", tag = "management", security(("token" = [])),
    request_body(content = PlanRequest, example = json!({"name": "Night", "settings": [{"FrameMirror": {"mode": 0}}]})),
    responses((status = 200, body = Answer<Made>, example = json!({"code": 0, "msg": "success", "data": {"id": "p-5f3a9c1e"}}))))]
pub async fn create(
    State(state): State<ApiState>,
    _: Admin,
    Body(request): Body<PlanRequest>,
) -> Result<Answer<Made>, Failure> {
    let row = ConfigPlanRow {
        name: name("name", request.name)?,
        description: text("desc", request.desc)?,
        settings: settings_text(&request.settings.unwrap_or_default())?,
        id: new_id::<ConfigPlanRow>(&state, "p", "configuration plans").await?,
        made_s: i64::try_from(unix_s()).unwrap_or(0),
    };
    check_name(&state, &row.id, &row.name).await?;
    state.store.put(&row).await?;
    Ok(Answer::data(Made { id: row.id }))
}

/// Changes a plan; new settings go to its devices at once.
#[utoipa::path(put, path = "/bvcsp/v1/configplan/{planid}", operation_id = "changePlan", tag = "management", security(("token" = [])),
    params(("planid" = String, Path, example = "p-5f3a9c1e")),
    request_body(content = PlanRequest, example = json!({"settings": [{"FrameMirror": {"mode": 1}}]})),
    responses((status = 200, body = Done, example = json!({"code": 0, "msg": "success"}))))]
pub async fn change(
    State(state): State<ApiState>,
    _: Admin,
    Path(id): Path<String>,
    Body(request): Body<PlanRequest>,
) -> Result<Done, Failure> {
    let mut row = plan(&state, &id).await?;
    if request.name.is_some() {
        row.name = name("name", request.name)?;
        check_name(&state, &row.id, &row.name).await?;
    }
    if request.desc.is_some() {
        row.description = text("desc", request.desc)?;
    }
    let anew = request.settings.is_some();
    if let Some(settings) = request.settings {
        row.settings = settings_text(&settings)?;
    }
    state.store.put(&row).await?;
    if anew {
        let filter = Filter::all().equal("plan", id);
        let devices: Vec<ConfigPlanDevice> = state.store.every(filter, limits::DEVICES_MAX).await?;
        apply(state, devices, row.into());
    }
    Ok(Done::new())
}

/// Removes a plan. Its devices keep their settings.
#[utoipa::path(delete, path = "/bvcsp/v1/configplan/{planid}", operation_id = "deletePlan", tag = "management", security(("token" = [])),
    params(("planid" = String, Path, example = "p-5f3a9c1e")),
    responses((status = 200, body = Done, example = json!({"code": 0, "msg": "success"}))))]
pub async fn delete(
    State(state): State<ApiState>,
    _: Admin,
    Path(id): Path<String>,
) -> Result<Done, Failure> {
    plan(&state, &id).await?;
    state
        .store
        .remove::<ConfigPlanDevice>(Filter::all().equal("plan", id.clone()))
        .await?;
    state
        .store
        .remove::<ConfigPlanRow>(Filter::all().equal("id", id))
        .await?;
    Ok(Done::new())
}

/// One plan.
#[utoipa::path(get, path = "/bvcsp/v1/configplan/info/{planid}", operation_id = "planInfo", tag = "management", security(("token" = [])),
    params(("planid" = String, Path, example = "p-5f3a9c1e")),
    responses((status = 200, body = Answer<ConfigPlan>)))]
pub async fn info(
    State(state): State<ApiState>,
    _: Caller,
    Path(id): Path<String>,
) -> Result<Answer<ConfigPlan>, Failure> {
    Ok(Answer::data(plan(&state, &id).await?.into()))
}

/// Plans, by name.
#[utoipa::path(post, path = "/bvcsp/v1/configplan/list", operation_id = "listPlans", tag = "management", security(("token" = [])),
    request_body(content = ListRequest<NoFilter>, example = json!({"page": 0, "pageSize": 100})),
    responses((status = 200, body = Answer<Vec<ConfigPlan>>)))]
pub async fn list(
    State(state): State<ApiState>,
    _: Caller,
    Body(request): Body<ListRequest<NoFilter>>,
) -> Result<Answer<Vec<ConfigPlan>>, Failure> {
    let rows = request
        .run::<ConfigPlanRow>(&state, Filter::all(), "name")
        .await?;
    Ok(rows.map(ConfigPlan::from))
}

/// Devices of a plan.
#[derive(Debug, Deserialize, ToSchema)]
pub struct PlanDevices {
    /// At most 1,000.
    #[serde(default)]
    #[schema(example = json!(["PU_34020000001110000001"]))]
    ids: Vec<String>,
}

/// Adds devices to a plan and sets them. A device is in one plan only: the one that it was added to last.
#[utoipa::path(post, path = "/bvcsp/v1/configplan/pu/add/{planid}", operation_id = "addPlanDevices", tag = "management", security(("token" = [])),
    params(("planid" = String, Path, example = "p-5f3a9c1e")),
    request_body(content = PlanDevices, example = json!({"ids": ["PU_34020000001110000001"]})),
    responses((status = 200, body = Done, example = json!({"code": 0, "msg": "success"}))))]
pub async fn add(
    State(state): State<ApiState>,
    _: Admin,
    Path(id): Path<String>,
    Body(request): Body<PlanDevices>,
) -> Result<Done, Failure> {
    let row = plan(&state, &id).await?;
    let mut devices = Vec::new();
    for puid in ids("ids", request.ids)? {
        find(&state, &puid).await?;
        devices.push(ConfigPlanDevice {
            device: read_puid(&puid)?.pu_id(),
            plan: id.clone(),
            state: "waiting".into(),
            detail: String::new(),
            changed_s: i64::try_from(unix_s()).unwrap_or(0),
        });
    }
    for device in &devices {
        state.store.put(device).await?;
    }
    apply(state, devices, row.into());
    Ok(Done::new())
}

/// Sets devices one after the other, in a task of its own: each may take its time to answer.
fn apply(state: ApiState, devices: Vec<ConfigPlanDevice>, plan: ConfigPlan) {
    tokio::spawn(async move {
        for mut device in devices {
            let set = match plan.settings.is_empty() {
                true => Ok(Done::new()),
                false => setup::set_all(&state, &device.device, None, plan.settings.clone()).await,
            };
            let (how, detail) = match set {
                Ok(_) => ("done", String::new()),
                Err(failure) => ("failed", failure.msg),
            };
            device.state = how.into();
            device.detail = detail;
            device.changed_s = i64::try_from(unix_s()).unwrap_or(0);
            // Not of a device that was taken out meanwhile.
            let still = Filter::all()
                .equal("device", device.device.clone())
                .equal("plan", device.plan.clone());
            let values = vec![
                device.state.into(),
                device.detail.into(),
                device.changed_s.into(),
            ];
            let set = "state = ?, detail = ?, changed_s = ?";
            if let Err(error) = state
                .store
                .change::<ConfigPlanDevice>(set, values, still)
                .await
            {
                tracing::error!(%error, "how a device took a plan could not be written");
            }
        }
    });
}

/// Takes devices out of a plan. They keep their settings.
#[utoipa::path(post, path = "/bvcsp/v1/configplan/pu/del/{planid}", operation_id = "deletePlanDevices", tag = "management", security(("token" = [])),
    params(("planid" = String, Path, example = "p-5f3a9c1e")),
    request_body(content = PlanDevices, example = json!({"ids": ["PU_34020000001110000001"]})),
    responses((status = 200, body = Done, example = json!({"code": 0, "msg": "success"}))))]
pub async fn remove(
    State(state): State<ApiState>,
    _: Admin,
    Path(id): Path<String>,
    Body(request): Body<PlanDevices>,
) -> Result<Done, Failure> {
    plan(&state, &id).await?;
    for puid in ids("ids", request.ids)? {
        let filter = Filter::all()
            .equal("device", read_puid(&puid)?.pu_id())
            .equal("plan", id.clone());
        state.store.remove::<ConfigPlanDevice>(filter).await?;
    }
    Ok(Done::new())
}

/// Devices of a plan, and how each took it.
#[utoipa::path(post, path = "/bvcsp/v1/configplan/pu/list/{planid}", operation_id = "listPlanDevices", tag = "management", security(("token" = [])),
    params(("planid" = String, Path, example = "p-5f3a9c1e")),
    request_body(content = ListRequest<NoFilter>, example = json!({"page": 0, "pageSize": 100})),
    responses((status = 200, body = Answer<Vec<ConfigPlanDevice>>)))]
pub async fn devices(
    State(state): State<ApiState>,
    _: Caller,
    Path(id): Path<String>,
    Body(request): Body<ListRequest<NoFilter>>,
) -> Result<Answer<Vec<ConfigPlanDevice>>, Failure> {
    plan(&state, &id).await?;
    request
        .run(&state, Filter::all().equal("plan", id), "device")
        .await
}

/// Which plan a device is in, and how it took it.
#[utoipa::path(get, path = "/bvcsp/v1/configplan/pu/info/{puid}", operation_id = "planOfDevice", tag = "management", security(("token" = [])),
    params(("puid" = String, Path, example = "PU_34020000001110000001")),
    responses((status = 200, body = Answer<ConfigPlanDevice>)))]
pub async fn of_device(
    State(state): State<ApiState>,
    _: Caller,
    Path(puid): Path<String>,
) -> Result<Answer<ConfigPlanDevice>, Failure> {
    let filter = Filter::all().equal("device", read_puid(&puid)?.pu_id());
    let row = state.store.find(filter).await?;
    row.map(Answer::data)
        .ok_or_else(|| not_found("configuration plan of the device"))
}

/// Devices in no plan.
#[utoipa::path(post, path = "/bvcsp/v1/configplan/pu/unassociated/list", operation_id = "listWithoutPlan", tag = "management", security(("token" = [])),
    request_body(content = ListRequest<NoFilter>, example = json!({"page": 0, "pageSize": 100})),
    responses((status = 200, body = Answer<Vec<PuInfo>>)))]
pub async fn without(
    State(state): State<ApiState>,
    _: Caller,
    Body(request): Body<ListRequest<NoFilter>>,
) -> Result<Answer<Vec<PuInfo>>, Failure> {
    let condition =
        "NOT EXISTS (SELECT 1 FROM config_plan_devices p WHERE p.device = 'PU_' || devices.id)";
    let filter = Filter::all().sql(condition, []);
    let order = order_of(request.sort.as_deref())?;
    manage::page_of_devices(&state, filter, request.paging, order, true).await
}
