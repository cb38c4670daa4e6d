//! `/pu/group` and `/pu/class`: groups and categories into which people sort devices (bvcsp 2.5, 2.6).
//!
//! The root has the id `""` and is always there. Groups make a tree, categories do not. What is deleted leaves its devices
//! without; a group with groups under it cannot be deleted.
//!
//! Bound: [`limits::GROUPS_MAX`] of each.

use axum::extract::State;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::limits;
use crate::store::rows::{DeviceClass, DeviceFacts, DeviceGroup};
use crate::store::table::{Filter, Table};

use super::ApiState;
use super::caller::{Admin, Caller};
use super::envelope::{Answer, Body, Code, Done, Failure, Path};
use super::list::{ListRequest, bad, name, not_found, text};

/// Which groups or categories.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct GroupFilter {
    /// Those right under this group; `""` = the root.
    parent: Option<String>,
    /// A part of the name.
    keyword: String,
}

/// A group or category as it shall be; what is missing stays as it is, or is empty.
#[derive(Debug, Deserialize, ToSchema)]
pub struct GroupRequest {
    #[schema(example = "North gate")]
    name: Option<String>,
    /// The group above; of a category without meaning.
    parent: Option<String>,
    abbreviation: Option<String>,
    #[serde(alias = "desc")]
    description: Option<String>,
}

/// The id of what was made.
#[derive(Debug, serde::Serialize, ToSchema)]
pub struct Made {
    #[schema(example = "g-5f3a9c1e")]
    pub id: String,
}

/// Makes an id, if there is room for one more.
pub async fn new_id<T: Table>(
    state: &ApiState,
    prefix: &str,
    what: &str,
) -> Result<String, Failure> {
    if state.store.count::<T>(Filter::all()).await? >= limits::GROUPS_MAX {
        return Err(Failure::new(
            Code::Busy,
            format!("busy: at the limit {what}"),
        ));
    }
    Ok(format!(
        "{prefix}-{:016x}",
        u64::from_be_bytes(state.store.random())
    ))
}

async fn group(state: &ApiState, id: &str) -> Result<DeviceGroup, Failure> {
    if id.is_empty() || id == "root" {
        return Ok(root());
    }
    let found = state.store.find(Filter::all().equal("id", id)).await?;
    found.ok_or_else(|| not_found("group"))
}

async fn class(state: &ApiState, id: &str) -> Result<DeviceClass, Failure> {
    let found = state.store.find(Filter::all().equal("id", id)).await?;
    found.ok_or_else(|| not_found("category"))
}

/// That a device may be put there.
pub async fn check_group(state: &ApiState, id: &str) -> Result<(), Failure> {
    group(state, id).await.map(|_| ())
}

pub async fn check_class(state: &ApiState, id: &str) -> Result<(), Failure> {
    if id.is_empty() {
        return Ok(());
    }
    class(state, id).await.map(|_| ())
}

fn root() -> DeviceGroup {
    DeviceGroup {
        name: "root".into(),
        ..DeviceGroup::default()
    }
}

/// The root of all groups.
#[utoipa::path(get, path = "/bvcsp/v1/pu/group/root", operation_id = "rootGroup", tag = "device", security(("token" = [])),
    responses((status = 200, body = Answer<DeviceGroup>)))]
pub async fn root_group(_: Caller) -> Answer<DeviceGroup> {
    Answer::data(root())
}

/// Groups, by name.
#[utoipa::path(post, path = "/bvcsp/v1/pu/group/list", operation_id = "listGroups", tag = "device", security(("token" = [])),
    request_body(content = ListRequest<GroupFilter>, example = json!({"page": 0, "pageSize": 100, "filter": {"parent": ""}})),
    responses((status = 200, body = Answer<Vec<DeviceGroup>>)))]
pub async fn list_groups(
    State(state): State<ApiState>,
    _: Caller,
    Body(mut request): Body<ListRequest<GroupFilter>>,
) -> Result<Answer<Vec<DeviceGroup>>, Failure> {
    let asked = request.take_filter();
    let filter = Filter::all()
        .equal_if("parent", asked.parent)
        .contains(&["name", "abbreviation"], &asked.keyword);
    request.run(&state, filter, "name").await
}

/// One group.
#[utoipa::path(get, path = "/bvcsp/v1/pu/group/info/{groupid}", operation_id = "groupInfo", tag = "device", security(("token" = [])),
    params(("groupid" = String, Path, example = "root")),
    responses((status = 200, body = Answer<DeviceGroup>)))]
pub async fn group_info(
    State(state): State<ApiState>,
    _: Caller,
    Path(id): Path<String>,
) -> Result<Answer<DeviceGroup>, Failure> {
    Ok(Answer::data(group(&state, &id).await?))
}

/// Makes a group.
#[utoipa::path(post, path = "/bvcsp/v1/pu/group/create", operation_id = "createGroup", tag = "device", security(("token" = [])),
    request_body(content = GroupRequest, example = json!({"name": "North gate", "parent": ""})),
    responses((status = 200, body = Answer<Made>, example = json!({"code": 0, "msg": "success", "data": {"id": "g-5f3a9c1e"}}))))]
pub async fn create_group(
    State(state): State<ApiState>,
    _: Admin,
    Body(request): Body<GroupRequest>,
) -> Result<Answer<Made>, Failure> {
    let parent = request.parent.unwrap_or_default();
    check_group(&state, &parent).await?;
    let row = DeviceGroup {
        id: new_id::<DeviceGroup>(&state, "g", "groups").await?,
        parent,
        name: name("name", request.name)?,
        abbreviation: text("abbreviation", request.abbreviation)?,
        description: text("description", request.description)?,
    };
    state.store.put(&row).await?;
    Ok(Answer::data(Made { id: row.id }))
}

/// Changes a group; what is missing stays as it is.
#[utoipa::path(put, path = "/bvcsp/v1/pu/group/{groupid}", operation_id = "changeGroup", tag = "device", security(("token" = [])),
    params(("groupid" = String, Path, example = "g-5f3a9c1e")),
    request_body(content = GroupRequest, example = json!({"name": "South gate"})),
    responses((status = 200, body = Done, example = json!({"code": 0, "msg": "success"}))))]
pub async fn change_group(
    State(state): State<ApiState>,
    _: Admin,
    Path(id): Path<String>,
    Body(request): Body<GroupRequest>,
) -> Result<Done, Failure> {
    let mut row = group(&state, &id).await?;
    if row.id.is_empty() {
        return Err(Failure::new(Code::Forbidden, "the root cannot be changed"));
    }
    if let Some(parent) = request.parent {
        let mut above = group(&state, &parent).await?;
        while !above.id.is_empty() {
            if above.id == row.id {
                return Err(bad("parent lies under the group itself"));
            }
            above = group(&state, &above.parent).await?;
        }
        row.parent = parent;
    }
    if request.name.is_some() {
        row.name = name("name", request.name)?;
    }
    if request.abbreviation.is_some() {
        row.abbreviation = text("abbreviation", request.abbreviation)?;
    }
    if request.description.is_some() {
        row.description = text("description", request.description)?;
    }
    state.store.put(&row).await?;
    Ok(Done::new())
}

/// Removes a group without groups under it; its devices are then in none.
#[utoipa::path(delete, path = "/bvcsp/v1/pu/group/{groupid}", operation_id = "deleteGroup", tag = "device", security(("token" = [])),
    params(("groupid" = String, Path, example = "g-5f3a9c1e")),
    responses((status = 200, body = Done, example = json!({"code": 0, "msg": "success"}))))]
pub async fn delete_group(
    State(state): State<ApiState>,
    _: Admin,
    Path(id): Path<String>,
) -> Result<Done, Failure> {
    let row = group(&state, &id).await?;
    if row.id.is_empty() {
        return Err(Failure::new(Code::Forbidden, "the root cannot be deleted"));
    }
    let under = Filter::all().equal("parent", row.id.clone());
    if state.store.count::<DeviceGroup>(under).await? > 0 {
        return Err(Failure::new(Code::Busy, "there are groups under it"));
    }
    state
        .store
        .remove::<DeviceGroup>(Filter::all().equal("id", row.id.clone()))
        .await?;
    let devices = Filter::all().equal("group_id", row.id);
    state
        .store
        .change::<DeviceFacts>("group_id = ''", Vec::new(), devices)
        .await?;
    Ok(Done::new())
}

/// Categories, by name.
#[utoipa::path(post, path = "/bvcsp/v1/pu/class/list", operation_id = "listClasses", tag = "device", security(("token" = [])),
    request_body(content = ListRequest<GroupFilter>, example = json!({"page": 0, "pageSize": 100})),
    responses((status = 200, body = Answer<Vec<DeviceClass>>)))]
pub async fn list_classes(
    State(state): State<ApiState>,
    _: Caller,
    Body(mut request): Body<ListRequest<GroupFilter>>,
) -> Result<Answer<Vec<DeviceClass>>, Failure> {
    let filter = Filter::all().contains(&["name"], &request.take_filter().keyword);
    request.run(&state, filter, "name").await
}

/// One category.
#[utoipa::path(get, path = "/bvcsp/v1/pu/class/info/{classid}", operation_id = "classInfo", tag = "device", security(("token" = [])),
    params(("classid" = String, Path, example = "c-5f3a9c1e")),
    responses((status = 200, body = Answer<DeviceClass>)))]
pub async fn class_info(
    State(state): State<ApiState>,
    _: Caller,
    Path(id): Path<String>,
) -> Result<Answer<DeviceClass>, Failure> {
    Ok(Answer::data(class(&state, &id).await?))
}

/// Makes a category.
#[utoipa::path(post, path = "/bvcsp/v1/pu/class/create", operation_id = "createClass", tag = "device", security(("token" = [])),
    request_body(content = GroupRequest, example = json!({"name": "Dome"})),
    responses((status = 200, body = Answer<Made>, example = json!({"code": 0, "msg": "success", "data": {"id": "c-5f3a9c1e"}}))))]
pub async fn create_class(
    State(state): State<ApiState>,
    _: Admin,
    Body(request): Body<GroupRequest>,
) -> Result<Answer<Made>, Failure> {
    let row = DeviceClass {
        id: new_id::<DeviceClass>(&state, "c", "categories").await?,
        name: name("name", request.name)?,
        description: text("description", request.description)?,
    };
    state.store.put(&row).await?;
    Ok(Answer::data(Made { id: row.id }))
}

/// Changes a category; what is missing stays as it is.
#[utoipa::path(put, path = "/bvcsp/v1/pu/class/{classid}", operation_id = "changeClass", tag = "device", security(("token" = [])),
    params(("classid" = String, Path, example = "c-5f3a9c1e")),
    request_body(content = GroupRequest, example = json!({"name": "Bullet"})),
    responses((status = 200, body = Done, example = json!({"code": 0, "msg": "success"}))))]
pub async fn change_class(
    State(state): State<ApiState>,
    _: Admin,
    Path(id): Path<String>,
    Body(request): Body<GroupRequest>,
) -> Result<Done, Failure> {
    let mut row = class(&state, &id).await?;
    if request.name.is_some() {
        row.name = name("name", request.name)?;
    }
    if request.description.is_some() {
        row.description = text("description", request.description)?;
    }
    state.store.put(&row).await?;
    Ok(Done::new())
}

/// Removes a category; its devices are then in none.
#[utoipa::path(delete, path = "/bvcsp/v1/pu/class/{classid}", operation_id = "deleteClass", tag = "device", security(("token" = [])),
    params(("classid" = String, Path, example = "c-5f3a9c1e")),
    responses((status = 200, body = Done, example = json!({"code": 0, "msg": "success"}))))]
pub async fn delete_class(
    State(state): State<ApiState>,
    _: Admin,
    Path(id): Path<String>,
) -> Result<Done, Failure> {
    let row = class(&state, &id).await?;
    state
        .store
        .remove::<DeviceClass>(Filter::all().equal("id", row.id.clone()))
        .await?;
    let devices = Filter::all().equal("class_id", row.id);
    state
        .store
        .change::<DeviceFacts>("class_id = ''", Vec::new(), devices)
        .await?;
    Ok(Done::new())
}
