//! What happened: alarms, positions, comings and goings, dialogs, operations, and numbers made of them (bvcsp 2.11).
//!
//! All of it is in the store (`store::history`); filters, order and pages are the database's. Device files and their
//! download have a place of their own.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use sqlx::Row;
use utoipa::ToSchema;

use crate::session::{Command, Reply};
use crate::store::NOT_DELETED;
use crate::store::history::{
    AlarmRow, DialogRow, NoticeRow, OperationRow, PositionRow, PresenceRow,
};
use crate::store::table::{Filter, Value};

use super::ApiState;
use super::auth::unix_s;
use super::caller::{Admin, Caller};
use super::device::read_puid;
use super::envelope::{Answer, Body, Failure, Path, wrong_reply};
use super::list::{ListRequest, bad, ids, not_found, text};

// ---- alarms ----

/// Which alarms.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct AlarmFilter {
    /// Unix seconds, the first that counts.
    begin_time: Option<i64>,
    /// Unix seconds, the last that counts.
    end_time: Option<i64>,
    #[serde(alias = "devID")]
    pu_id: Option<String>,
    /// Of bvcsp 1.3.
    r#type: Option<i64>,
    /// 1 raised, 2 handled.
    status: Option<i64>,
    /// A part of the name of the device, the description or the note.
    keyword: String,
}

/// An alarm (bvcsp 1.3), as `/ws/event/alarm` told it, and what became of it.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AlarmInfo {
    /// Names it in `handle` and `del`.
    #[schema(example = "7340032000000000")]
    pub key: String,
    #[schema(example = 4097)]
    pub r#type: i64,
    /// Unix seconds.
    pub time: i64,
    #[serde(rename = "userID")]
    pub user_id: String,
    pub user_name: String,
    #[serde(rename = "devID")]
    #[schema(example = "PU_34020000001110000001")]
    pub dev_id: String,
    pub dev_name: String,
    /// Index of the channel; -1 = the device.
    pub sub_dev_idx: i64,
    /// 1 raised, 2 handled.
    pub status: i64,
    #[schema(example = "motion")]
    pub desc: String,
    pub lat: f64,
    pub lng: f64,
    /// The alarm as the device told it, as JSON.
    pub payload: String,
    /// 1 (highest) to 4.
    pub priority: i64,
    pub processed: bool,
    #[serde(rename = "processerID")]
    pub processor_id: String,
    #[serde(rename = "processerDesc")]
    pub processor_desc: String,
    /// Unix seconds; 0 = not handled.
    pub process_time: i64,
}

impl From<AlarmRow> for AlarmInfo {
    fn from(row: AlarmRow) -> AlarmInfo {
        AlarmInfo {
            key: row.id.to_string(),
            r#type: row.alarm_type,
            time: row.time,
            user_id: String::new(),
            user_name: String::new(),
            dev_id: row.device,
            dev_name: row.name,
            sub_dev_idx: row.place.unwrap_or(-1),
            status: row.status,
            desc: row.description,
            lat: row.latitude.unwrap_or(0.0),
            lng: row.longitude.unwrap_or(0.0),
            payload: row.payload,
            priority: row.priority,
            processed: row.status == HANDLED,
            processor_id: row.processor_id,
            processor_desc: row.note,
            process_time: row.processed.unwrap_or(0),
        }
    }
}

/// Fields of an alarm that are called otherwise in the store.
const ALARM_FIELDS: &[(&str, &str)] = &[
    ("key", "id"),
    ("type", "alarm_type"),
    ("devID", "device"),
    ("devName", "name"),
    ("subDevIdx", "place"),
    ("desc", "description"),
    ("lat", "CAST(NULLIF(latitude, '') AS DOUBLE PRECISION)"),
    ("lng", "CAST(NULLIF(longitude, '') AS DOUBLE PRECISION)"),
    ("processerID", "processor_id"),
    ("processerDesc", "note"),
    ("processTime", "processed"),
];

/// Of an alarm: somebody has seen to it.
const HANDLED: i64 = 2;

impl AlarmFilter {
    fn rows(&self) -> Result<Filter, Failure> {
        Ok(Filter::all()
            .within("time", self.begin_time, self.end_time)
            .equal_if("device", pu_id(self.pu_id.as_deref())?)
            .equal_if("alarm_type", self.r#type)
            .equal_if("status", self.status)
            .contains(&["name", "description", "note"], &self.keyword))
    }
}

/// `PU_` and the code, however it was given.
fn pu_id(given: Option<&str>) -> Result<Option<String>, Failure> {
    match given.map(str::trim).filter(|id| !id.is_empty()) {
        Some(id) => Ok(Some(read_puid(id)?.pu_id())),
        None => Ok(None),
    }
}

/// Alarms, newest first.
#[utoipa::path(post, path = "/bvcsp/v1/alarm", operation_id = "listAlarms", tag = "history", security(("token" = [])),
    request_body(content = ListRequest<AlarmFilter>, example = json!({"page": 0, "pageSize": 20, "filter": {"status": 1}, "sort": "-time"})),
    responses((status = 200, body = Answer<Vec<AlarmInfo>>)))]
pub async fn alarms(
    State(state): State<ApiState>,
    _: Caller,
    Body(mut request): Body<ListRequest<AlarmFilter>>,
) -> Result<Answer<Vec<AlarmInfo>>, Failure> {
    let filter = request.take_filter().rows()?;
    let rows = request.run_by::<AlarmRow>(&state, filter, "-id", ALARM_FIELDS);
    Ok(rows.await?.map(AlarmInfo::from))
}

/// Which alarms somebody has seen to.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct HandleRequest {
    /// Their keys, at most 1,000; or else `filter`.
    #[serde(default)]
    keys: Vec<String>,
    /// All alarms that fit, if there are no keys.
    #[serde(default)]
    filter: Option<AlarmFilter>,
    /// What was done.
    #[serde(default, alias = "processerDesc")]
    #[schema(example = "a cat")]
    desc: Option<String>,
}

impl HandleRequest {
    fn rows(self) -> Result<(Filter, String), Failure> {
        let note = text("desc", self.desc)?;
        let filter = match (self.keys.is_empty(), self.filter) {
            (true, Some(filter)) => filter.rows()?,
            (_, _) => {
                let keys = ids("keys", self.keys)?.into_iter().map(|key| {
                    let number: Result<i64, _> = key.parse();
                    number
                        .map(Value::Number)
                        .map_err(|_| bad(format_args!("keys: {key:.32} is none")))
                });
                Filter::all().one_of("id", keys.collect::<Result<_, _>>()?)
            }
        };
        Ok((filter, note))
    }
}

/// How many rows a call changed.
#[derive(Debug, Serialize, ToSchema)]
pub struct Changed {
    #[schema(example = 1)]
    pub count: u64,
}

/// Acknowledges alarms, by key or by condition.
#[utoipa::path(put, path = "/bvcsp/v1/alarm/handle", operation_id = "handleAlarm", tag = "history", security(("token" = [])),
    request_body(content = HandleRequest, example = json!({"keys": ["7340032000000000"], "desc": "a cat"})),
    responses((status = 200, body = Answer<Changed>, example = json!({"code": 0, "msg": "success", "data": {"count": 1}}))))]
pub async fn handle(
    State(state): State<ApiState>,
    caller: Caller,
    Body(request): Body<HandleRequest>,
) -> Result<Answer<Changed>, Failure> {
    let by_key = !request.keys.is_empty();
    let (filter, note) = request.rows()?;
    state.store.chronicle().flush().await;
    let now = i64::try_from(unix_s()).unwrap_or(0);
    let values = vec![
        HANDLED.into(),
        Value::from(&*caller.login.user),
        note.into(),
        now.into(),
    ];
    let set = "status = ?, processor_id = ?, note = ?, processed = ?";
    let count = state.store.change::<AlarmRow>(set, values, filter).await?;
    if by_key && count == 0 {
        return Err(not_found("alarm"));
    }
    Ok(Answer::data(Changed { count }))
}

/// Removes alarms, by key or by condition.
#[utoipa::path(post, path = "/bvcsp/v1/alarm/del", operation_id = "deleteAlarms", tag = "history", security(("token" = [])),
    request_body(content = HandleRequest, example = json!({"keys": ["7340032000000000"]})),
    responses((status = 200, body = Answer<Changed>, example = json!({"code": 0, "msg": "success", "data": {"count": 1}}))))]
pub async fn delete_alarms(
    State(state): State<ApiState>,
    _: Admin,
    Body(request): Body<HandleRequest>,
) -> Result<Answer<Changed>, Failure> {
    let by_key = !request.keys.is_empty();
    let (filter, _) = request.rows()?;
    state.store.chronicle().flush().await;
    let count = state.store.remove::<AlarmRow>(filter).await?;
    if by_key && count == 0 {
        return Err(not_found("alarm"));
    }
    Ok(Answer::data(Changed { count }))
}

// ---- positions ----

/// Fields of a position that are texts in the store.
const POSITION_FIELDS: &[(&str, &str)] = &[
    ("lng", "CAST(NULLIF(lng, '') AS DOUBLE PRECISION)"),
    ("lat", "CAST(NULLIF(lat, '') AS DOUBLE PRECISION)"),
    ("height", "CAST(NULLIF(height, '') AS DOUBLE PRECISION)"),
    ("speed", "CAST(NULLIF(speed, '') AS DOUBLE PRECISION)"),
    ("angle", "CAST(NULLIF(angle, '') AS DOUBLE PRECISION)"),
];

/// Which positions of a device.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TrackFilter {
    /// Unix seconds, the first that counts.
    begin_time: Option<i64>,
    /// Unix seconds, the last that counts.
    end_time: Option<i64>,
    /// Index of the channel; -1 = of the device itself. Missing = both.
    index: Option<i64>,
}

/// Where a device and its channels were, oldest first.
#[utoipa::path(post, path = "/bvcsp/v1/pu/gpsdata/filter/{puid}", operation_id = "deviceTrack", tag = "history", security(("token" = [])),
    params(("puid" = String, Path, example = "PU_34020000001110000001")),
    request_body(content = ListRequest<TrackFilter>, example = json!({"page": 0, "pageSize": 1000, "filter": {"beginTime": 1792000000, "endTime": 1792086400, "index": 0}})),
    responses((status = 200, body = Answer<Vec<PositionRow>>)))]
pub async fn track(
    State(state): State<ApiState>,
    _: Caller,
    Path(puid): Path<String>,
    Body(mut request): Body<ListRequest<TrackFilter>>,
) -> Result<Answer<Vec<PositionRow>>, Failure> {
    let device = super::device::find(&state, &puid).await?;
    let puid = device.device.map(|device| device.pu_id()).unwrap_or(puid);
    let asked = request.take_filter();
    let filter = Filter::all()
        .equal("device", puid)
        .equal_if("place", asked.index)
        .within("time", asked.begin_time, asked.end_time);
    request.run_by(&state, filter, "id", POSITION_FIELDS).await
}

/// Which notices.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct NoticeFilter {
    /// `ptzPosition` or `videoUpload`.
    kind: Option<String>,
    /// Index of the channel.
    index: Option<u32>,
    /// Unix seconds, the first that counts.
    begin_time: Option<i64>,
    /// Unix seconds, the last that counts.
    end_time: Option<i64>,
}

/// What a device told beside alarms and positions, newest first: where its cameras look, that it uploaded a video.
#[utoipa::path(post, path = "/gantry/v1/devices/{puid}/notices/list", operation_id = "listNotices", tag = "history", security(("token" = [])),
    params(("puid" = String, Path, example = "PU_34020000001110000001")),
    request_body(content = ListRequest<NoticeFilter>, example = json!({"page": 0, "pageSize": 100, "filter": {"kind": "ptzPosition"}})),
    responses((status = 200, body = Answer<Vec<NoticeRow>>, description = "in the envelope of bvcsp")))]
pub async fn notices(
    State(state): State<ApiState>,
    _: Caller,
    Path(puid): Path<String>,
    Body(mut request): Body<ListRequest<NoticeFilter>>,
) -> Result<Answer<Vec<NoticeRow>>, Failure> {
    super::device::find(&state, &puid).await?;
    let asked = request.take_filter();
    let filter = Filter::all()
        .equal("device", read_puid(&puid)?.pu_id())
        .equal_if("kind", asked.kind)
        .equal_if("place", asked.index.map(i64::from))
        .within("time", asked.begin_time, asked.end_time);
    request.run(&state, filter, "-id").await
}

// ---- logs ----

/// Which rows of a log.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct LogFilter {
    /// Unix seconds, the first that counts.
    begin_time: Option<i64>,
    /// Unix seconds, the last that counts.
    end_time: Option<i64>,
    pu_id: Option<String>,
    #[serde(alias = "userId")]
    user_id: Option<String>,
    /// A part of an id, a name, a path or a description.
    keyword: String,
}

impl LogFilter {
    fn times(&self) -> Filter {
        Filter::all().within("time", self.begin_time, self.end_time)
    }
}

async fn presences(
    state: ApiState,
    mut request: ListRequest<LogFilter>,
    kind: &'static str,
) -> Result<Answer<Vec<PresenceRow>>, Failure> {
    let asked = request.take_filter();
    let of_device = pu_id(asked.pu_id.as_deref())?;
    let filter = asked
        .times()
        .equal("kind", kind)
        .equal_if("name", of_device.or_else(|| asked.user_id.clone()))
        .contains(&["name", "address"], &asked.keyword);
    request.run(&state, filter, "-id").await
}

/// When devices came and went, newest first.
#[utoipa::path(post, path = "/bvcsp/v1/log/pu/login", operation_id = "deviceLog", tag = "history", security(("token" = [])),
    request_body(content = ListRequest<LogFilter>, example = json!({"page": 0, "pageSize": 20})),
    responses((status = 200, body = Answer<Vec<PresenceRow>>)))]
pub async fn device_log(
    State(state): State<ApiState>,
    _: Caller,
    Body(request): Body<ListRequest<LogFilter>>,
) -> Result<Answer<Vec<PresenceRow>>, Failure> {
    presences(state, request, "PU").await
}

/// When users came and went, newest first.
#[utoipa::path(post, path = "/bvcsp/v1/log/user/login", operation_id = "userLog", tag = "history", security(("token" = [])),
    request_body(content = ListRequest<LogFilter>, example = json!({"page": 0, "pageSize": 20})),
    responses((status = 200, body = Answer<Vec<PresenceRow>>)))]
pub async fn user_log(
    State(state): State<ApiState>,
    _: Caller,
    Body(request): Body<ListRequest<LogFilter>>,
) -> Result<Answer<Vec<PresenceRow>>, Failure> {
    presences(state, request, "CU").await
}

/// How often and how long somebody was there.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PresenceSum {
    /// `PU_` and the code of a device, or the name of a user.
    #[schema(example = "PU_34020000001110000001")]
    pub name: String,
    /// Times that it came.
    pub online_count: i64,
    /// Times that it went.
    pub offline_count: i64,
    /// Seconds that it was there, as far as it has gone again.
    pub total_duration: i64,
    /// When it came last, Unix seconds.
    pub last_time: i64,
}

/// The columns in which the fields of a sum stand.
const SUM_FIELDS: &[(&str, &str)] = &[
    ("name", "1"),
    ("onlineCount", "2"),
    ("offlineCount", "3"),
    ("totalDuration", "4"),
    ("lastTime", "5"),
];

async fn presence_sums(
    state: ApiState,
    mut request: ListRequest<LogFilter>,
    kind: &'static str,
) -> Result<Answer<Vec<PresenceSum>>, Failure> {
    let asked = request.take_filter();
    let of_device = pu_id(asked.pu_id.as_deref())?;
    let filter = asked
        .times()
        .equal("kind", kind)
        .equal_if("name", of_device.or_else(|| asked.user_id.clone()))
        .contains(&["name", "address"], &asked.keyword);
    let total = state
        .store
        .number("SELECT COUNT(DISTINCT name) FROM presences", filter.clone())
        .await?;
    let columns = "name, COUNT(*), CAST(SUM(CASE WHEN offline_time >= 0 THEN 1 ELSE 0 END) AS BIGINT), \
                   CAST(SUM(CASE WHEN offline_time >= 0 THEN duration ELSE 0 END) AS BIGINT), MAX(time)";
    let order = request.order("name", SUM_FIELDS)?;
    let tail = format!(
        "GROUP BY name ORDER BY {order} LIMIT {} OFFSET {}",
        request.paging.size(),
        request.paging.skip()
    );
    let rows = state
        .store
        .grouped(columns, "presences", filter, &tail)
        .await?;
    let read = rows.iter().map(|row| -> sqlx::Result<PresenceSum> {
        Ok(PresenceSum {
            name: row.try_get(0)?,
            online_count: row.try_get(1)?,
            offline_count: row.try_get(2)?,
            total_duration: row.try_get(3)?,
            last_time: row.try_get(4)?,
        })
    });
    let sums: sqlx::Result<Vec<PresenceSum>> = read.collect();
    let sums = sums.map_err(crate::store::Error::reading)?;
    Ok(request
        .paging
        .answer(sums, u64::try_from(total).unwrap_or(0)))
}

/// How often and how long each device was there, by its id.
#[utoipa::path(post, path = "/bvcsp/v1/log/pu/login/extend", operation_id = "deviceLogSums", tag = "history", security(("token" = [])),
    request_body(content = ListRequest<LogFilter>, example = json!({"page": 0, "pageSize": 20})),
    responses((status = 200, body = Answer<Vec<PresenceSum>>)))]
pub async fn device_log_sums(
    State(state): State<ApiState>,
    _: Caller,
    Body(request): Body<ListRequest<LogFilter>>,
) -> Result<Answer<Vec<PresenceSum>>, Failure> {
    presence_sums(state, request, "PU").await
}

/// How often and how long each user was there, by name.
#[utoipa::path(post, path = "/bvcsp/v1/log/user/login/extend", operation_id = "userLogSums", tag = "history", security(("token" = [])),
    request_body(content = ListRequest<LogFilter>, example = json!({"page": 0, "pageSize": 20})),
    responses((status = 200, body = Answer<Vec<PresenceSum>>)))]
pub async fn user_log_sums(
    State(state): State<ApiState>,
    _: Caller,
    Body(request): Body<ListRequest<LogFilter>>,
) -> Result<Answer<Vec<PresenceSum>>, Failure> {
    presence_sums(state, request, "CU").await
}

/// Who changed what, newest first.
#[utoipa::path(post, path = "/bvcsp/v1/log/operate", operation_id = "operationLog", tag = "history", security(("token" = [])),
    request_body(content = ListRequest<LogFilter>, example = json!({"page": 0, "pageSize": 20, "filter": {"keyword": "bwlist"}})),
    responses((status = 200, body = Answer<Vec<OperationRow>>)))]
pub async fn operations(
    State(state): State<ApiState>,
    _: Admin,
    Body(mut request): Body<ListRequest<LogFilter>>,
) -> Result<Answer<Vec<OperationRow>>, Failure> {
    let asked = request.take_filter();
    let filter = asked
        .times()
        .equal_if("user_id", asked.user_id.clone())
        .contains(&["target"], asked.pu_id.as_deref().unwrap_or_default())
        .contains(&["path", "target", "description"], &asked.keyword);
    state.store.chronicle().flush().await;
    request.run(&state, filter, "-id").await
}

/// Dialogs, newest first. Those without `closeTime` are open.
#[utoipa::path(post, path = "/bvcsp/v1/log/dialog", operation_id = "dialogLog", tag = "history", security(("token" = [])),
    request_body(content = ListRequest<LogFilter>, example = json!({"page": 0, "pageSize": 20})),
    responses((status = 200, body = Answer<Vec<DialogRow>>)))]
pub async fn dialogs(
    State(state): State<ApiState>,
    caller: Caller,
    Body(mut request): Body<ListRequest<LogFilter>>,
) -> Result<Answer<Vec<DialogRow>>, Failure> {
    let asked = request.take_filter();
    let own = (!caller.login.admin).then(|| caller.login.user.to_string());
    let filter = asked
        .times()
        .equal_if("device", pu_id(asked.pu_id.as_deref())?)
        .equal_if("user_id", own.or_else(|| asked.user_id.clone()))
        .contains(&["device", "user_id", "kind", "failure"], &asked.keyword);
    request.run(&state, filter, "-id").await
}

/// Types of alarms that say something of the platform or of a device as a whole (bvcsp 1.3): disk, device gone, tampering.
const SYSTEM_ALARMS: [i64; 8] = [1, 2, 4096, 4099, 4103, 4104, 4113, 4114];

/// Alarms of the devices themselves, not of what they see: disks, heat, tampering.
#[utoipa::path(post, path = "/bvcsp/v1/log/alarm", operation_id = "systemAlarms", tag = "history", security(("token" = [])),
    request_body(content = ListRequest<AlarmFilter>, example = json!({"page": 0, "pageSize": 20})),
    responses((status = 200, body = Answer<Vec<AlarmInfo>>)))]
pub async fn system_alarms(
    State(state): State<ApiState>,
    _: Caller,
    Body(mut request): Body<ListRequest<AlarmFilter>>,
) -> Result<Answer<Vec<AlarmInfo>>, Failure> {
    let types = SYSTEM_ALARMS.map(Value::Number).to_vec();
    let filter = request.take_filter().rows()?.one_of("alarm_type", types);
    let rows = request.run_by::<AlarmRow>(&state, filter, "-id", ALARM_FIELDS);
    Ok(rows.await?.map(AlarmInfo::from))
}

// ---- numbers ----

/// What there is now.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct BaseStatistics {
    #[schema(example = 120)]
    pub device_count: u64,
    pub device_online: u64,
    pub channel_count: u64,
    pub user_count: u64,
    pub dialog_count: u64,
    /// Alarms that nobody has handled.
    pub alarm_open: u64,
    /// Alarms of the last 24 hours.
    pub alarm_today: u64,
}

/// Numbers of what there is now.
#[utoipa::path(post, path = "/bvcsp/v1/statistics/base", operation_id = "baseStatistics", tag = "history", security(("token" = [])),
    responses((status = 200, body = Answer<BaseStatistics>)))]
pub async fn statistics(
    State(state): State<ApiState>,
    _: Caller,
) -> Result<Answer<BaseStatistics>, Failure> {
    let store = &state.store;
    store.flush().await?;
    let count = |select: &'static str, filter: Filter| async move {
        let number = store.number(select, filter).await?;
        Ok::<u64, Failure>(u64::try_from(number).unwrap_or(0))
    };
    let day_ago = i64::try_from(unix_s()).unwrap_or(0) - 86_400;
    let Reply::Sessions(sessions) = state.session.call(Command::Sessions).await? else {
        return Err(wrong_reply());
    };
    Ok(Answer::data(BaseStatistics {
        device_count: count("SELECT COUNT(*) FROM devices", Filter::all()).await?,
        device_online: count(
            "SELECT COUNT(*) FROM devices",
            Filter::all().equal("online", 1),
        )
        .await?,
        channel_count: count(
            "SELECT COUNT(*) FROM channels",
            Filter::all().sql(NOT_DELETED, []),
        )
        .await?,
        user_count: count("SELECT COUNT(*) FROM users", Filter::all()).await?,
        dialog_count: sessions.len() as u64,
        alarm_open: store
            .count::<AlarmRow>(Filter::all().equal("status", 1))
            .await?,
        alarm_today: store
            .count::<AlarmRow>(Filter::all().within("time", Some(day_ago), None))
            .await?,
    }))
}

/// Dialogs or comings and goings of one day.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DayStatistics {
    /// When the day begins in UTC, Unix seconds.
    #[schema(example = 1791936000)]
    pub time: i64,
    pub count: i64,
    /// Seconds of all of them together.
    pub duration: i64,
    /// Of dialogs: those without a picture. Of comings and goings: those that ended.
    pub failed: i64,
}

/// The columns in which the fields of a day stand.
const DAY_FIELDS: &[(&str, &str)] = &[
    ("time", "1"),
    ("count", "2"),
    ("duration", "3"),
    ("failed", "4"),
];

async fn by_day(
    state: ApiState,
    mut request: ListRequest<LogFilter>,
    from: &'static str,
    failed: &'static str,
    filter: impl FnOnce(Filter, &LogFilter) -> Result<Filter, Failure>,
) -> Result<Answer<Vec<DayStatistics>>, Failure> {
    let asked = request.take_filter();
    let filter = filter(asked.times(), &asked)?;
    let day = "time / 86400";
    let total = state
        .store
        .number(
            &format!("SELECT COUNT(DISTINCT {day}) FROM {from}"),
            filter.clone(),
        )
        .await?;
    let columns = format!(
        "{day}, COUNT(*), CAST(SUM(CASE WHEN duration > 0 THEN duration ELSE 0 END) AS BIGINT), \
         CAST(SUM(CASE WHEN {failed} THEN 1 ELSE 0 END) AS BIGINT)"
    );
    let order = request.order("-time", DAY_FIELDS)?;
    let tail = format!(
        "GROUP BY {day} ORDER BY {order} LIMIT {} OFFSET {}",
        request.paging.size(),
        request.paging.skip()
    );
    let rows = state.store.grouped(&columns, from, filter, &tail).await?;
    let read = rows.iter().map(|row| -> sqlx::Result<DayStatistics> {
        Ok(DayStatistics {
            time: row.try_get::<i64, _>(0)? * 86_400,
            count: row.try_get(1)?,
            duration: row.try_get(2)?,
            failed: row.try_get(3)?,
        })
    });
    let days: sqlx::Result<Vec<DayStatistics>> = read.collect();
    let days = days.map_err(crate::store::Error::reading)?;
    Ok(request
        .paging
        .answer(days, u64::try_from(total).unwrap_or(0)))
}

/// Dialogs by day, newest first.
#[utoipa::path(post, path = "/bvcsp/v1/statistics/dialog", operation_id = "dialogStatistics", tag = "history", security(("token" = [])),
    request_body(content = ListRequest<LogFilter>, example = json!({"page": 0, "pageSize": 31})),
    responses((status = 200, body = Answer<Vec<DayStatistics>>)))]
pub async fn dialog_statistics(
    State(state): State<ApiState>,
    _: Caller,
    Body(request): Body<ListRequest<LogFilter>>,
) -> Result<Answer<Vec<DayStatistics>>, Failure> {
    by_day(
        state,
        request,
        "dialogs",
        "failure <> ''",
        |filter, asked| {
            Ok(filter
                .equal_if("device", pu_id(asked.pu_id.as_deref())?)
                .equal_if("user_id", asked.user_id.clone()))
        },
    )
    .await
}

/// Comings and goings of devices by day, newest first.
#[utoipa::path(post, path = "/bvcsp/v1/statistics/offline", operation_id = "offlineStatistics", tag = "history", security(("token" = [])),
    request_body(content = ListRequest<LogFilter>, example = json!({"page": 0, "pageSize": 31})),
    responses((status = 200, body = Answer<Vec<DayStatistics>>)))]
pub async fn offline_statistics(
    State(state): State<ApiState>,
    _: Caller,
    Body(request): Body<ListRequest<LogFilter>>,
) -> Result<Answer<Vec<DayStatistics>>, Failure> {
    by_day(
        state,
        request,
        "presences",
        "offline_time >= 0",
        |filter, asked| {
            Ok(filter
                .equal("kind", "PU")
                .equal_if("name", pu_id(asked.pu_id.as_deref())?))
        },
    )
    .await
}
