//! `/pu/group` and `/pu/class`: groups and categories into which people sort devices (bvcsp 2.5, 2.6).
//!
//! The root has the id `""` and is always there. Groups make a tree, categories do not. What is deleted leaves its devices
//! without; a group with groups under it cannot be deleted.
//!
//! Bound: [`limits::GROUPS_MAX`] of each.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::limits;
use crate::store::rows::{DeviceClass, DeviceFacts, DeviceGroup};
use crate::store::table::{Filter, Table};

use super::ApiState;
use super::caller::{Admin, Caller};
use super::envelope::{Answer, Body, Code, Done, Failure, Path};
use super::list::{ListRequest, bad, name, not_found, text};
use super::words::either;

/// Which groups or categories.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct GroupFilter {
    /// Those right under this group; `""` = the root.
    parent: Option<String>,
    /// The same.
    parent_id: Option<String>,
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
    /// The same.
    #[serde(rename = "parentId")]
    #[schema(example = "")]
    parent_id: Option<String>,
    abbreviation: Option<String>,
    description: Option<String>,
    /// The same.
    #[schema(example = "Everything north of the river")]
    desc: Option<String>,
}

impl GroupRequest {
    /// With one word for what has two. Errors: they differ.
    fn settled(self) -> Result<GroupRequest, Failure> {
        Ok(GroupRequest {
            parent: either(("parentId", self.parent_id), ("parent", self.parent))?,
            description: either(("desc", self.desc), ("description", self.description))?,
            parent_id: None,
            desc: None,
            ..self
        })
    }
}

/// A group (bvcsp 2.27).
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct GroupInfo {
    #[serde(flatten)]
    group: DeviceGroup,
    /// The same as `parent`.
    #[schema(example = "")]
    parent_id: String,
    /// The same as `description`.
    #[schema(example = "Everything north of the river")]
    desc: String,
}

impl From<DeviceGroup> for GroupInfo {
    fn from(group: DeviceGroup) -> GroupInfo {
        GroupInfo {
            parent_id: group.parent.clone(),
            desc: group.description.clone(),
            group,
        }
    }
}

/// A category.
#[derive(Debug, Serialize, ToSchema)]
pub struct ClassInfo {
    #[serde(flatten)]
    class: DeviceClass,
    /// The same as `description`.
    #[schema(example = "Turns and zooms")]
    desc: String,
}

impl From<DeviceClass> for ClassInfo {
    fn from(class: DeviceClass) -> ClassInfo {
        ClassInfo {
            desc: class.description.clone(),
            class,
        }
    }
}

/// The id of what was made.
#[derive(Debug, Serialize, ToSchema)]
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
    responses((status = 200, body = Answer<GroupInfo>)))]
pub async fn root_group(_: Caller) -> Answer<GroupInfo> {
    Answer::data(root().into())
}

/// Groups, by name.
#[utoipa::path(post, path = "/bvcsp/v1/pu/group/list", operation_id = "listGroups", tag = "device", security(("token" = [])),
    request_body(content = ListRequest<GroupFilter>, example = json!({"page": 0, "pageSize": 100, "filter": {"parent": ""}})),
    responses((status = 200, body = Answer<Vec<GroupInfo>>)))]
pub async fn list_groups(
    State(state): State<ApiState>,
    _: Caller,
    Body(mut request): Body<ListRequest<GroupFilter>>,
) -> Result<Answer<Vec<GroupInfo>>, Failure> {
    let asked = request.take_filter();
    let parent = either(("parentId", asked.parent_id), ("parent", asked.parent))?;
    let filter = Filter::all()
        .equal_if("parent", parent)
        .contains(&["name", "abbreviation"], &asked.keyword);
    let groups = request.run::<DeviceGroup>(&state, filter, "name");
    Ok(groups.await?.map(GroupInfo::from))
}

/// One group.
#[utoipa::path(get, path = "/bvcsp/v1/pu/group/info/{groupid}", operation_id = "groupInfo", tag = "device", security(("token" = [])),
    params(("groupid" = String, Path, example = "root")),
    responses((status = 200, body = Answer<GroupInfo>)))]
pub async fn group_info(
    State(state): State<ApiState>,
    _: Caller,
    Path(id): Path<String>,
) -> Result<Answer<GroupInfo>, Failure> {
    Ok(Answer::data(group(&state, &id).await?.into()))
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
    let request = request.settled()?;
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
    let request = request.settled()?;
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
    responses((status = 200, body = Answer<Vec<ClassInfo>>)))]
pub async fn list_classes(
    State(state): State<ApiState>,
    _: Caller,
    Body(mut request): Body<ListRequest<GroupFilter>>,
) -> Result<Answer<Vec<ClassInfo>>, Failure> {
    let filter = Filter::all().contains(&["name"], &request.take_filter().keyword);
    let classes = request.run::<DeviceClass>(&state, filter, "name");
    Ok(classes.await?.map(ClassInfo::from))
}

/// One category.
#[utoipa::path(get, path = "/bvcsp/v1/pu/class/info/{classid}", operation_id = "classInfo", tag = "device", security(("token" = [])),
    params(("classid" = String, Path, example = "c-5f3a9c1e")),
    responses((status = 200, body = Answer<ClassInfo>)))]
pub async fn class_info(
    State(state): State<ApiState>,
    _: Caller,
    Path(id): Path<String>,
) -> Result<Answer<ClassInfo>, Failure> {
    Ok(Answer::data(class(&state, &id).await?.into()))
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
    let request = request.settled()?;
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
    let request = request.settled()?;
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
