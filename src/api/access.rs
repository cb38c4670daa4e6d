//! `/bwlist`: which devices may register and which users may log in (bvcsp 1.4, 2.22).
//!
//! Mode 0 leaves both lists out, 1 refuses who is on the black list, 2 takes only who is on the white list. A device that
//! may not register any more goes offline at once. The user `admin` always may: without, nobody could undo a mistake.
//!
//! Bounds: [`limits::ACCESS_ENTRIES_MAX`], [`limits::IDS_PER_CALL_MAX`].

use std::collections::BTreeSet;

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::gb28181::Access;
use crate::id::DeviceId;
use crate::limits;
use crate::session::Command;
use crate::store::rows::AccessEntry;
use crate::store::table::Filter;
use crate::store::{self, Store};

use super::ApiState;
use super::auth::{ADMIN, unix_s};
use super::caller::{Admin, Caller};
use super::device::read_puid;
use super::envelope::{Answer, Body, Code, Done, Failure};
use super::list::{ListRequest, bad, ids, name};

const MODE: &str = "bwlist_mode";
const DEVICE: i64 = 1;
const USER: i64 = 2;

/// Which list counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AccessConfig {
    /// 0 none, 1 the black list, 2 the white list.
    #[schema(example = 1)]
    pub mode: u8,
}

/// Who may come in, as the lists say.
#[derive(Clone, Debug, Default)]
pub struct Lists {
    pub devices: Access,
    mode: u8,
    users: BTreeSet<String>,
}

impl Lists {
    /// Reads them from the store.
    pub async fn read(store: &Store) -> Result<Lists, store::Error> {
        let mode = store.fact(MODE).await?;
        let mode = mode.and_then(|text| text.parse().ok()).unwrap_or(0);
        if mode == 0 {
            return Ok(Lists::default());
        }
        let bound = usize::try_from(limits::ACCESS_ENTRIES_MAX).unwrap_or(usize::MAX);
        let filter = Filter::all().equal("black", i64::from(mode == 1));
        let entries: Vec<AccessEntry> = store.every(filter, bound).await?;
        let of = |kind: i64| {
            entries
                .iter()
                .filter(move |e| e.obj_type == kind)
                .map(|e| e.obj_id.as_str())
        };
        let devices = of(DEVICE)
            .filter_map(|id| DeviceId::from_pu_id(id).ok())
            .collect();
        Ok(Lists {
            devices: if mode == 1 {
                Access::AllBut(devices)
            } else {
                Access::Only(devices)
            },
            mode,
            users: of(USER).map(str::to_owned).collect(),
        })
    }

    /// Whether a user may log in.
    pub fn admits(&self, user: &str) -> bool {
        user == ADMIN || self.mode == 0 || (self.mode == 2) == self.users.contains(user)
    }
}

/// Reads the lists anew and lets them count.
async fn apply(state: &ApiState) -> Result<(), Failure> {
    let lists = Lists::read(&state.store).await?;
    state
        .session
        .call(Command::SetAccess(lists.devices.clone()))
        .await?;
    for token_id in state.auth.set_lists(lists).await? {
        state.session.call(Command::CloseOwner { token_id }).await?;
    }
    Ok(())
}

/// Which list counts.
#[utoipa::path(get, path = "/bvcsp/v1/bwlist/config", operation_id = "accessConfig", tag = "access", security(("token" = [])),
    responses((status = 200, body = Answer<AccessConfig>, example = json!({"code": 0, "msg": "success", "data": {"mode": 1}}))))]
pub async fn config(
    State(state): State<ApiState>,
    _: Caller,
) -> Result<Answer<AccessConfig>, Failure> {
    let mode = state.store.fact(MODE).await?;
    let mode = mode.and_then(|text| text.parse().ok()).unwrap_or(0);
    Ok(Answer::data(AccessConfig { mode }))
}

/// Chooses which list counts, from now on and for those who are in already.
#[utoipa::path(put, path = "/bvcsp/v1/bwlist/config", operation_id = "setAccessConfig", tag = "access", security(("token" = [])),
    request_body(content = AccessConfig, example = json!({"mode": 1})),
    responses((status = 200, body = Done, example = json!({"code": 0, "msg": "success"}))))]
pub async fn set_config(
    State(state): State<ApiState>,
    _: Admin,
    Body(config): Body<AccessConfig>,
) -> Result<Done, Failure> {
    if config.mode > 2 {
        return Err(bad("mode must be 0 to 2"));
    }
    state.store.set_fact(MODE, &config.mode.to_string()).await?;
    apply(&state).await?;
    Ok(Done::new())
}

/// Which entries.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct AccessFilter {
    /// true = black list.
    black: Option<bool>,
    /// 1 device, 2 user.
    obj_type: Option<i64>,
    /// A part of the id.
    keyword: String,
}

/// Entries of both lists.
#[utoipa::path(post, path = "/bvcsp/v1/bwlist/list", operation_id = "listAccess", tag = "access", security(("token" = [])),
    request_body(content = ListRequest<AccessFilter>, example = json!({"page": 0, "pageSize": 100, "filter": {"black": true}})),
    responses((status = 200, body = Answer<Vec<AccessEntry>>)))]
pub async fn list(
    State(state): State<ApiState>,
    _: Caller,
    Body(mut request): Body<ListRequest<AccessFilter>>,
) -> Result<Answer<Vec<AccessEntry>>, Failure> {
    let asked = request.take_filter();
    let filter = Filter::all()
        .equal_if("black", asked.black.map(i64::from))
        .equal_if("obj_type", asked.obj_type)
        .contains(&["obj_id"], &asked.keyword);
    request.run(&state, filter, "objId").await
}

/// An entry to be added or removed.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AccessItem {
    /// true = black list.
    #[schema(example = true)]
    black: bool,
    /// 1 device, 2 user.
    #[schema(example = 1)]
    obj_type: i64,
    #[serde(alias = "objID")]
    #[schema(example = "PU_34020000001110000001")]
    obj_id: String,
}

#[derive(Debug, Deserialize, ToSchema)]
pub struct AccessItems {
    /// At most 1,000.
    #[serde(default)]
    items: Vec<AccessItem>,
}

impl AccessItem {
    fn entry(self) -> Result<AccessEntry, Failure> {
        let obj_id = match self.obj_type {
            DEVICE => read_puid(&self.obj_id)?.pu_id(),
            USER => name("objId", Some(self.obj_id))?,
            _ => return Err(bad("objType must be 1 or 2")),
        };
        Ok(AccessEntry {
            black: self.black,
            obj_type: self.obj_type,
            obj_id,
            made_s: i64::try_from(unix_s()).unwrap_or(0),
        })
    }
}

/// Adds entries.
#[utoipa::path(post, path = "/bvcsp/v1/bwlist/add", operation_id = "addAccess", tag = "access", security(("token" = [])),
    request_body(content = AccessItems, example = json!({"items": [{"black": true, "objType": 1, "objId": "PU_34020000001110000001"}]})),
    responses((status = 200, body = Done, example = json!({"code": 0, "msg": "success"}))))]
pub async fn add(
    State(state): State<ApiState>,
    _: Admin,
    Body(request): Body<AccessItems>,
) -> Result<Done, Failure> {
    let entries = ids("items", request.items)?
        .into_iter()
        .map(AccessItem::entry);
    let entries = entries.collect::<Result<Vec<_>, _>>()?;
    let there = state.store.count::<AccessEntry>(Filter::all()).await?;
    if there + entries.len() as u64 > limits::ACCESS_ENTRIES_MAX {
        return Err(Failure::new(
            Code::Busy,
            "busy: at the limit entries of the lists",
        ));
    }
    for entry in &entries {
        state.store.put(entry).await?;
    }
    apply(&state).await?;
    Ok(Done::new())
}

/// Removes entries.
#[utoipa::path(post, path = "/bvcsp/v1/bwlist/del", operation_id = "deleteAccess", tag = "access", security(("token" = [])),
    request_body(content = AccessItems, example = json!({"items": [{"black": true, "objType": 1, "objId": "PU_34020000001110000001"}]})),
    responses((status = 200, body = Done, example = json!({"code": 0, "msg": "success"}))))]
pub async fn remove(
    State(state): State<ApiState>,
    _: Admin,
    Body(request): Body<AccessItems>,
) -> Result<Done, Failure> {
    for item in ids("items", request.items)? {
        let entry = item.entry()?;
        let filter = Filter::all()
            .equal("black", i64::from(entry.black))
            .equal("obj_type", entry.obj_type)
            .equal("obj_id", entry.obj_id);
        state.store.remove::<AccessEntry>(filter).await?;
    }
    apply(&state).await?;
    Ok(Done::new())
}
