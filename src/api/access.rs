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
use super::words::{either, flag};

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
    /// 1 black list, 0 white list; or true and false.
    #[serde(deserialize_with = "flag")]
    #[schema(value_type = Option<u8>, example = 1)]
    black: Option<bool>,
    /// 1 device, 2 user.
    obj_type: Option<i64>,
    /// A part of the id.
    keyword: String,
}

/// Entries of both lists.
#[utoipa::path(post, path = "/bvcsp/v1/bwlist/list", operation_id = "listAccess", tag = "access", security(("token" = [])),
    request_body(content = ListRequest<AccessFilter>, example = json!({"page": 0, "pageSize": 100, "filter": {"black": 1}})),
    responses((status = 200, body = Answer<Vec<AccessInfo>>)))]
pub async fn list(
    State(state): State<ApiState>,
    _: Caller,
    Body(mut request): Body<ListRequest<AccessFilter>>,
) -> Result<Answer<Vec<AccessInfo>>, Failure> {
    let asked = request.take_filter();
    let filter = Filter::all()
        .equal_if("black", asked.black.map(i64::from))
        .equal_if("obj_type", asked.obj_type)
        .contains(&["obj_id"], &asked.keyword);
    let fields = [("objID", "obj_id")];
    let entries = request.run_by::<AccessEntry>(&state, filter, "objId", &fields);
    Ok(entries.await?.map(AccessInfo::from))
}

/// An entry of the black or white list (bvcsp 1.4).
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AccessInfo {
    /// Names it in `/bwlist/del`.
    #[schema(example = "1-1-PU_34020000001110000001")]
    id: String,
    /// 1 black list, 0 white list.
    #[schema(example = 1)]
    black: u8,
    /// 1 device, 2 user.
    #[schema(example = 1)]
    obj_type: i64,
    /// `PU_` and the code of a device, or the name of a user.
    #[serde(rename = "objID")]
    #[schema(example = "PU_34020000001110000001")]
    obj_id: String,
    /// The same.
    #[serde(rename = "objId")]
    #[schema(example = "PU_34020000001110000001")]
    same_id: String,
    /// Unix seconds.
    #[schema(example = 1792000000)]
    made_s: i64,
}

impl From<AccessEntry> for AccessInfo {
    fn from(entry: AccessEntry) -> AccessInfo {
        let black = u8::from(entry.black);
        AccessInfo {
            id: format!("{black}-{}-{}", entry.obj_type, entry.obj_id),
            black,
            obj_type: entry.obj_type,
            same_id: entry.obj_id.clone(),
            obj_id: entry.obj_id,
            made_s: entry.made_s,
        }
    }
}

/// An entry to be added or removed: by its three fields, or by the id that lists show.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct AccessItem {
    #[schema(example = "1-1-PU_34020000001110000001")]
    id: Option<String>,
    /// 1 black list, 0 white list; or true and false.
    #[serde(deserialize_with = "flag")]
    #[schema(value_type = Option<u8>, example = 1)]
    black: Option<bool>,
    /// 1 device, 2 user.
    #[schema(example = 1)]
    obj_type: Option<i64>,
    /// `PU_` and the code of a device, or the name of a user.
    #[serde(rename = "objID")]
    #[schema(example = "PU_34020000001110000001")]
    obj_id: Option<String>,
    /// The same.
    #[serde(rename = "objId")]
    #[schema(example = "PU_34020000001110000001")]
    same_id: Option<String>,
}

#[derive(Debug, Deserialize, ToSchema)]
pub struct AccessItems {
    /// At most 1,000.
    #[serde(default)]
    items: Vec<AccessItem>,
}

impl AccessItem {
    fn entry(self) -> Result<AccessEntry, Failure> {
        let (mut black, mut obj_type, mut obj_id) = (None, None, None);
        if let Some(id) = self.id.filter(|id| !id.is_empty()) {
            let mut parts = id.splitn(3, '-');
            black = match parts.next() {
                Some("0") => Some(false),
                Some("1") => Some(true),
                Some(_) | None => None,
            };
            obj_type = parts.next().and_then(|part| part.parse().ok());
            obj_id = parts.next().map(str::to_owned);
            if black.is_none() || obj_type.is_none() || obj_id.is_none() {
                return Err(bad("id is none of a list"));
            }
        }
        let black = either(("id", black), ("black", self.black))?;
        let obj_type = either(("id", obj_type), ("objType", self.obj_type))?;
        let given = either(("objID", self.obj_id), ("objId", self.same_id))?;
        let obj_id = either(("id", obj_id), ("objID", given))?;
        let black = black.ok_or_else(|| bad("black is missing"))?;
        let obj_type = obj_type.ok_or_else(|| bad("objType is missing"))?;
        let obj_id = match obj_type {
            DEVICE => read_puid(&name("objID", obj_id)?)?.pu_id(),
            USER => name("objID", obj_id)?,
            _ => return Err(bad("objType must be 1 or 2")),
        };
        Ok(AccessEntry {
            black,
            obj_type,
            obj_id,
            made_s: i64::try_from(unix_s()).unwrap_or(0),
        })
    }
}

/// Adds entries.
#[utoipa::path(post, path = "/bvcsp/v1/bwlist/add", operation_id = "addAccess", tag = "access", security(("token" = [])),
    request_body(content = AccessItems, example = json!({"items": [{"black": 1, "objType": 1, "objID": "PU_34020000001110000001"}]})),
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
    request_body(content = AccessItems, example = json!({"items": [{"black": 1, "objType": 1, "objID": "PU_34020000001110000001"}]})),
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    const PUID: &str = "PU_34020000001110000001";

    fn entry(item: Value) -> Result<AccessEntry, Failure> {
        let item: AccessItem = serde_json::from_value(item).expect("readable");
        item.entry()
    }

    #[test]
    fn an_entry_is_read_by_its_fields_in_either_word_and_by_its_id() {
        for item in [
            json!({"black": 1, "objType": 1, "objID": PUID}),
            json!({"black": true, "objType": 1, "objId": PUID}),
            json!({"black": 1, "objType": 1, "objID": PUID, "objId": PUID}),
            json!({"id": format!("1-1-{PUID}")}),
        ] {
            let read = entry(item.clone()).expect("an entry");
            assert_eq!((read.black, read.obj_type), (true, 1), "{item}");
            let shown = serde_json::to_value(AccessInfo::from(read)).expect("written");
            assert_eq!(shown["id"], format!("1-1-{PUID}"));
            assert_eq!(
                (&shown["black"], &shown["objID"], &shown["objId"]),
                (&json!(1), &json!(PUID), &json!(PUID))
            );
        }
        // A name may have what an id is cut at.
        let user = entry(json!({"id": "0-2-a-b"})).expect("an entry");
        assert_eq!(
            (user.black, user.obj_type, user.obj_id.as_str()),
            (false, 2, "a-b")
        );
        for (wrong, field) in [
            (json!({"objType": 1, "objID": PUID}), "black"),
            (json!({"black": 1, "objID": PUID}), "objType"),
            (json!({"black": 1, "objType": 3, "objID": PUID}), "objType"),
            (json!({"black": 1, "objType": 1}), "objID"),
            (
                json!({"black": 1, "objType": 2, "objID": "a", "objId": "b"}),
                "objID",
            ),
            (json!({"id": "7"}), "id"),
            (json!({"id": "1-2-a", "black": 0}), "black"),
        ] {
            let failure = entry(wrong.clone()).expect_err("refused");
            assert_eq!(failure.code, Code::ErrorParam, "{wrong}");
            assert!(failure.msg.contains(field), "{wrong}: {}", failure.msg);
        }
    }
}
