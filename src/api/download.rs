//! Downloads of what devices recorded: `/28181in/recordfile/task` of bvcsp (2.14, 3.3), `/pu/download`, and what bvcsp has
//! no call for under `/gantry/v1/downloads`.
//!
//! A task is the user's who made it; an administrator sees all. A file is sent with ranges, so that players seek in it.
//!
//! Bounds: those of [`crate::record`], [`limits::DOWNLOAD_SPEED_MAX`].

use std::io::SeekFrom;

use axum::Json;
use axum::body::Body as HttpBody;
use axum::extract::{Path as UrlPath, RawQuery, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use utoipa::ToSchema;

use crate::limits;
use crate::record::{State as TaskState, Task, shell::Refused};
use crate::session::{Command, Reply};
use crate::store::DownloadRow;
use crate::store::table::Filter;

use super::ApiState;
use super::audit::Changed;
use super::auth::Login;
use super::caller::{Caller, HttpCaller, query_value};
use super::device::read_puid;
use super::envelope::{Answer, Body, Code, Done, Failure, Path, kind, wrong_reply};
use super::list::ListRequest;
use super::playback::{FileId, RecordOf};
use super::problem::Problem;

/// Bytes read of a file at a time.
const PIECE_BYTES: usize = 256 << 10;
/// Seconds after which a client may ask again for a file that is being fetched.
const RETRY_AFTER_S: u16 = 5;

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CreateTask {
    #[serde(flatten)]
    of: RecordOf,
    /// How many times as fast as it was recorded the device is to send; 1 to 16. Many devices send as fast as they like.
    #[schema(example = 4)]
    speed: Option<u32>,
}

/// A download.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TaskInfo {
    #[schema(example = "T3")]
    pub taskid: String,
    #[schema(example = "PU_34020000001110000001")]
    pub puid: String,
    pub index: u32,
    /// Unix seconds.
    pub begin_time: u32,
    pub end_time: u32,
    pub speed: u8,
    /// `waiting`, `running`, `done`, `failed` or `cancelled`.
    #[schema(example = "running")]
    pub state: &'static str,
    /// 0 to 100, from the times of the pictures that came; 100 is a file that can be fetched.
    pub progress: u8,
    /// Seconds of the record that are here, and in all.
    pub position: f64,
    pub total: f64,
    /// Bytes of the file, or of what is here.
    pub file_size: u64,
    /// Why it failed.
    pub reason: String,
    pub userid: String,
    /// Unix seconds.
    pub create_time: i64,
}

impl From<Task> for TaskInfo {
    fn from(task: Task) -> TaskInfo {
        let s = |ms: u64| ms as f64 / 1_000.0;
        TaskInfo {
            taskid: show_id(task.id),
            puid: task.device.pu_id(),
            index: task.index,
            begin_time: task.span.begin_unix_s,
            end_time: task.span.end_unix_s,
            speed: task.speed,
            state: task.state.name(),
            progress: task.percent(),
            position: s(task.position_ms),
            total: s(task.total_ms()),
            file_size: task.bytes,
            reason: task.reason,
            userid: task.owner,
            create_time: task.created_unix_s,
        }
    }
}

pub fn show_id(id: u64) -> String {
    format!("T{id}")
}

fn read_id(text: &str) -> Option<u64> {
    text.strip_prefix('T')?.parse().ok()
}

#[derive(Debug, Default, Deserialize, ToSchema)]
pub struct TaskFilter {
    puid: Option<String>,
    state: Option<String>,
}

/// Fields of a task that are called otherwise in the store.
const TASK_FIELDS: &[(&str, &str)] = &[
    ("taskid", "id"),
    ("puid", "device"),
    ("index", "channel"),
    ("beginTime", "begin_s"),
    ("endTime", "end_s"),
    (
        "progress",
        "CASE state WHEN 'done' THEN 100 ELSE position_ms / ((end_s - begin_s) * 10) END",
    ),
    ("position", "position_ms"),
    ("total", "end_s - begin_s"),
    ("fileSize", "bytes"),
    ("userid", "owner"),
    ("createTime", "created_s"),
];

#[derive(Debug, Serialize, ToSchema)]
pub struct TaskId {
    #[schema(example = "T3")]
    taskid: String,
}

fn refused(refused: Refused) -> Failure {
    let code = match &refused {
        Refused::NotFound => Code::NotFound,
        Refused::Not(_) | Refused::Full { .. } => Code::Busy,
        Refused::Store(_) => Code::ErrorDatabase,
    };
    Failure::new(code, refused.to_string())
}

fn refused_problem(refused: Refused) -> Problem {
    let status = match &refused {
        Refused::NotFound => StatusCode::NOT_FOUND,
        Refused::Not(_) => StatusCode::CONFLICT,
        Refused::Full { .. } => StatusCode::TOO_MANY_REQUESTS,
        Refused::Store(_) => StatusCode::INTERNAL_SERVER_ERROR,
    };
    Problem::new(status, refused.to_string())
}

/// The task of an id, if it is the caller's; somebody else's is not there.
pub fn find(state: &ApiState, login: &Login, taskid: &str) -> Option<Task> {
    let task = state.downloads()?.get(read_id(taskid)?)?;
    (login.admin || task.owner == *login.user).then_some(task)
}

fn not_found() -> Failure {
    Failure::new(Code::NotFound, "download not found")
}

fn problem_not_found() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "download not found")
}

pub fn now_unix_s() -> i64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |d| d.as_secs() as i64)
}

async fn create(
    state: &ApiState,
    login: &Login,
    puid: &str,
    file: FileId,
    speed: u8,
) -> Result<Task, Failure> {
    let device = read_puid(puid)?;
    // A task for what is not there would only fail later.
    let Reply::Device(view) = state.session.call(Command::Device { device }).await? else {
        return Err(wrong_reply());
    };
    if view.channel(file.index as usize).is_none() {
        return Err(Failure::new(Code::NotFound, "channel not found"));
    }
    if !view.online {
        let (code, _) = kind(&crate::session::Error::DeviceOffline);
        return Err(Failure::new(code, "the device is offline"));
    }
    let downloads = state.downloads().ok_or_else(not_found)?;
    let now = now_unix_s();
    downloads
        .create(&login.user, device, file.index, file.span, speed, now)
        .await
        .map_err(refused)
}

/// Fetches a stretch of a record as an MP4 file of this node. It begins when its turn comes.
#[utoipa::path(post, path = "/bvcsp/v1/28181in/recordfile/task/create", operation_id = "createDownload", tag = "history", security(("token" = [])),
    request_body(content = CreateTask, example = json!({"id": "PU_34020000001110000001", "index": 0,
        "beginTime": 1_781_402_400, "endTime": 1_781_406_000, "speed": 4})),
    responses((status = 200, body = Answer<TaskId>, example = json!({"code": 0, "msg": "success", "data": {"taskid": "T3"}}))))]
pub async fn create_task(
    State(state): State<ApiState>,
    caller: Caller,
    Body(request): Body<CreateTask>,
) -> Result<Answer<TaskId>, Failure> {
    let (device, file) = request.of.read(&state)?;
    let speed = request.speed.unwrap_or(1);
    let most = limits::DOWNLOAD_SPEED_MAX;
    let speed = u8::try_from(speed)
        .ok()
        .filter(|speed| (1..=most).contains(speed))
        .ok_or_else(|| Failure::new(Code::ErrorParam, format!("speed must be 1 to {most}")))?;
    let task = create(&state, &caller.login, &device.pu_id(), file, speed).await?;
    let taskid = show_id(task.id);
    Ok(Answer::data(TaskId { taskid }))
}

/// How far a download is.
#[utoipa::path(get, path = "/bvcsp/v1/28181in/recordfile/progress/{taskid}", operation_id = "downloadProgress", tag = "history", security(("token" = [])),
    params(("taskid" = String, Path, example = "T3")),
    responses((status = 200, body = Answer<TaskInfo>, example = json!({"code": 0, "msg": "success", "data":
        {"taskid": "T3", "puid": "PU_34020000001110000001", "index": 0, "beginTime": 1_781_402_400,
        "endTime": 1_781_406_000, "speed": 4, "state": "running", "progress": 12, "position": 433.2, "total": 3600.0,
        "fileSize": 65_000_000, "reason": "", "userid": "admin", "createTime": 1_781_500_000}}))))]
pub async fn progress(
    State(state): State<ApiState>,
    caller: Caller,
    Path(taskid): Path<String>,
) -> Result<Answer<TaskInfo>, Failure> {
    let task = find(&state, &caller.login, &taskid).ok_or_else(not_found)?;
    Ok(Answer::data(task.into()))
}

/// The file of a download that is done; code 7 while it is not.
#[utoipa::path(get, path = "/bvcsp/v1/28181in/recordfile/download/{taskid}", operation_id = "downloadFile", tag = "history", security(("token" = [])),
    params(("taskid" = String, Path, example = "T3"), ("token" = Option<String>, Query, description = "or Authorization"),
        ("download" = Option<bool>, Query, description = "true = to be saved, with a name"),
        ("Range" = Option<String>, Header, description = "bytes=0-1023")),
    responses((status = 200, description = "the MP4 file; JSON with a code if there is none", content((Vec<u8> = "video/mp4"), (Done = "application/json"))),
        (status = 206, description = "a part of it"), (status = 416, description = "no such part")))]
pub async fn file(
    State(state): State<ApiState>,
    caller: Caller,
    Path(taskid): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let task = find(&state, &caller.login, &taskid).ok_or_else(not_found)?;
    match task.state {
        TaskState::Done => {}
        TaskState::Failed => return Err(Failure::new(Code::Fail, task.reason)),
        TaskState::Waiting | TaskState::Running | TaskState::Cancelled => {
            let msg = format!(
                "the download is {}: {} %",
                task.state.name(),
                task.percent()
            );
            return Err(Failure::new(Code::Busy, msg));
        }
    }
    send(&state, &task, query.as_deref(), &headers)
        .await
        .map_err(|error| Failure::new(Code::NotFound, format!("the file is gone: {error}")))
}

/// A file of a device. It is fetched when it is asked for first: until it is here, 202 with how far it is.
#[utoipa::path(get, path = "/bvcsp/v1/pu/download/{puid}/{fileid}", operation_id = "downloadRecord", tag = "history", security(("token" = [])),
    params(("puid" = String, Path, example = "PU_34020000001110000001"),
        ("fileid" = String, Path, example = "0-1781402400-1781406000"),
        ("token" = Option<String>, Query, description = "or Authorization"),
        ("download" = Option<bool>, Query, description = "true = to be saved, with a name"),
        ("Range" = Option<String>, Header, description = "bytes=0-1023")),
    responses((status = 200, description = "the MP4 file; JSON with a code if there is none", content((Vec<u8> = "video/mp4"), (Done = "application/json"))),
        (status = 202, body = Answer<TaskInfo>, description = "it is being fetched; ask again after Retry-After"),
        (status = 206, description = "a part of it"), (status = 416, description = "no such part")))]
pub async fn of_device(
    State(state): State<ApiState>,
    caller: Caller,
    Path((puid, fileid)): Path<(String, String)>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let device = read_puid(&puid)?;
    let file: FileId = fileid.parse()?;
    let downloads = state.downloads().ok_or_else(not_found)?;
    let login = &caller.login;
    let owner = (!login.admin).then_some(&*login.user);
    match downloads.find(device, file.index, file.span, owner) {
        Some(task) => answer_of(&state, task, query.as_deref(), &headers).await,
        None => {
            let task = create(&state, login, &puid, file, limits::DOWNLOAD_SPEED_MAX).await?;
            let mut response = answer_of(&state, task, query.as_deref(), &headers).await?;
            response.extensions_mut().insert(Changed::default());
            Ok(response)
        }
    }
}

/// The file of a task, or how far it is.
async fn answer_of(
    state: &ApiState,
    task: Task,
    query: Option<&str>,
    headers: &HeaderMap,
) -> Result<Response, Failure> {
    match task.state {
        TaskState::Done => send(state, &task, query, headers)
            .await
            .map_err(|error| Failure::new(Code::NotFound, format!("the file is gone: {error}"))),
        TaskState::Failed => Err(Failure::new(Code::Fail, task.reason)),
        TaskState::Waiting | TaskState::Running | TaskState::Cancelled => {
            let retry = [(header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER_S))];
            let info = Answer::data(TaskInfo::from(task));
            Ok((StatusCode::ACCEPTED, retry, Json(info)).into_response())
        }
    }
}

/// The rows of tasks that a caller may see: an administrator all, others their own.
pub fn seen_by(login: &Login) -> Filter {
    Filter::all().equal_if("owner", (!login.admin).then(|| login.user.to_string()))
}

/// The tasks of a page as they are now: one that runs is further than the store knows.
pub fn now(state: &ApiState, rows: Vec<DownloadRow>) -> Vec<Task> {
    let live = |task: Task| match state.downloads().and_then(|d| d.get(task.id)) {
        Some(live) if live.state == task.state => live,
        Some(_) | None => task,
    };
    let tasks = rows.into_iter().filter_map(Task::of_row);
    tasks.map(live).collect()
}

/// Downloads, newest first: an administrator sees all, others their own. Filter, order and page are the database's; `sort`
/// is any field of a task.
#[utoipa::path(post, path = "/gantry/v1/downloads/list", operation_id = "listDownloads", tag = "history", security(("token" = [])),
    request_body(content = ListRequest<TaskFilter>, example = json!({"page": 0, "pageSize": 100, "filter": {"state": "running"}, "sort": "-createTime"})),
    responses((status = 200, body = Answer<Vec<TaskInfo>>, example = json!({"code": 0, "msg": "success", "data": [],
        "pageInfo": {"page": 0, "pageSize": 100, "totalCount": 0}}))))]
pub async fn list(
    State(state): State<ApiState>,
    caller: Caller,
    Body(mut request): Body<ListRequest<TaskFilter>>,
) -> Result<Answer<Vec<TaskInfo>>, Failure> {
    let filter = request.take_filter();
    let device = match filter.puid.as_deref() {
        None | Some("") => None,
        Some(puid) => Some(read_puid(puid)?.to_string()),
    };
    let wanted = filter.state.filter(|state| !state.is_empty());
    if let Some(wanted) = &wanted
        && !TaskState::ALL.iter().any(|state| state.name() == wanted)
    {
        let msg = "state must be waiting, running, done, failed or cancelled";
        return Err(Failure::new(Code::ErrorParam, msg));
    }
    let rows = seen_by(&caller.login)
        .equal_if("device", device)
        .equal_if("state", wanted);
    let page = request.run_by(&state, rows, "-id", TASK_FIELDS).await?;
    let (rows, page) = page.split();
    let tasks = now(&state, rows).into_iter().map(TaskInfo::from);
    Ok(page.with(tasks.collect()))
}

/// Takes up a download that failed where it was.
#[utoipa::path(post, path = "/gantry/v1/downloads/{taskid}/resume", operation_id = "resumeDownload", tag = "history", security(("token" = [])),
    params(("taskid" = String, Path, example = "T3")),
    responses((status = 200, body = TaskInfo), (status = 401, body = Problem), (status = 404, body = Problem),
        (status = 409, body = Problem, description = "it runs, or is done")))]
pub async fn resume(
    State(state): State<ApiState>,
    caller: HttpCaller,
    UrlPath(taskid): UrlPath<String>,
) -> Result<Json<TaskInfo>, Problem> {
    let task = find(&state, &caller.login, &taskid).ok_or_else(problem_not_found)?;
    let downloads = state.downloads().ok_or_else(problem_not_found)?;
    let task = downloads.resume(task.id).await.map_err(refused_problem)?;
    Ok(Json(task.into()))
}

/// Ends a download, and removes its file.
#[utoipa::path(delete, path = "/gantry/v1/downloads/{taskid}", operation_id = "removeDownload", tag = "history", security(("token" = [])),
    params(("taskid" = String, Path, example = "T3")),
    responses((status = 204, description = "removed"), (status = 401, body = Problem), (status = 404, body = Problem)))]
pub async fn remove(
    State(state): State<ApiState>,
    caller: HttpCaller,
    UrlPath(taskid): UrlPath<String>,
) -> Result<StatusCode, Problem> {
    let task = find(&state, &caller.login, &taskid).ok_or_else(problem_not_found)?;
    let downloads = state.downloads().ok_or_else(problem_not_found)?;
    downloads.remove(task.id).await.map_err(refused_problem)?;
    // Notes of a file that is gone are read by nobody; what is left of them goes with the next of its name.
    let _ = state.store.forget_notes(&show_id(task.id)).await;
    Ok(StatusCode::NO_CONTENT)
}

/// Sends the file of a task, or the range that is asked for (RFC 9110, 14.2: one range).
pub async fn send(
    state: &ApiState,
    task: &Task,
    query: Option<&str>,
    headers: &HeaderMap,
) -> std::io::Result<Response> {
    let missing = || std::io::Error::from(std::io::ErrorKind::NotFound);
    let path = state.downloads().ok_or_else(missing)?.path(task.id);
    let mut file = tokio::fs::File::open(path).await?;
    let len = file.metadata().await?.len();
    let range = headers.get(header::RANGE).and_then(|v| v.to_str().ok());
    let range = range.map(|text| read_range(text, len));
    let (status, first, count) = match range {
        None | Some(Wanted::All) => (StatusCode::OK, 0, len),
        Some(Wanted::Part { first, last }) => {
            (StatusCode::PARTIAL_CONTENT, first, last + 1 - first)
        }
        Some(Wanted::Beyond) => {
            let all = format!("bytes */{len}");
            let response = (
                StatusCode::RANGE_NOT_SATISFIABLE,
                [(header::CONTENT_RANGE, all)],
            );
            return Ok(response.into_response());
        }
    };
    file.seek(SeekFrom::Start(first)).await?;
    let body = stream::try_unfold((file, count), |(mut file, left)| async move {
        if left == 0 {
            return Ok::<_, std::io::Error>(None);
        }
        let mut piece = vec![0; left.min(PIECE_BYTES as u64) as usize];
        let read = file.read(&mut piece).await?;
        if read == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        piece.truncate(read);
        Ok(Some((Bytes::from(piece), (file, left - read as u64))))
    });
    let mut response = Response::new(HttpBody::from_stream(body));
    *response.status_mut() = status;
    let out = response.headers_mut();
    out.insert(header::CONTENT_TYPE, HeaderValue::from_static("video/mp4"));
    out.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    out.insert(header::CONTENT_LENGTH, HeaderValue::from(count));
    if status == StatusCode::PARTIAL_CONTENT {
        let part = format!("bytes {first}-{}/{len}", first + count - 1);
        out.extend(HeaderValue::try_from(part).map(|v| (header::CONTENT_RANGE, v)));
    }
    if query_value(query.unwrap_or_default(), "download").is_some_and(|v| v == "true") {
        let name = format!(
            "attachment; filename=\"{}-{}-{}.mp4\"",
            task.device, task.index, task.span.begin_unix_s
        );
        out.extend(HeaderValue::try_from(name).map(|v| (header::CONTENT_DISPOSITION, v)));
    }
    Ok(response)
}

/// What of a file is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    All,
    /// Both inclusive.
    Part {
        first: u64,
        last: u64,
    },
    Beyond,
}

/// `bytes=a-b`, `bytes=a-`, `bytes=-n`. What is none of these, or several, means all (RFC 9110, 14.2).
fn read_range(text: &str, len: u64) -> Wanted {
    let Some((first, last)) = text
        .strip_prefix("bytes=")
        .and_then(|range| range.trim().split_once('-'))
    else {
        return Wanted::All;
    };
    let end = len.saturating_sub(1);
    match (first.parse::<u64>().ok(), last.parse::<u64>().ok()) {
        (Some(first), _) if first >= len => Wanted::Beyond,
        (Some(first), None) if last.is_empty() => Wanted::Part { first, last: end },
        (Some(first), Some(last)) if first <= last => Wanted::Part {
            first,
            last: last.min(end),
        },
        (None, Some(0)) if first.is_empty() => Wanted::Beyond,
        (None, Some(count)) if first.is_empty() && len > 0 => Wanted::Part {
            first: len.saturating_sub(count),
            last: end,
        },
        _ => Wanted::All,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_the_standard_has_them() {
        let part = |first, last| Wanted::Part { first, last };
        for (text, want) in [
            ("bytes=0-99", part(0, 99)),
            ("bytes=0-", part(0, 999)),
            ("bytes=900-5000", part(900, 999)),
            ("bytes=-100", part(900, 999)),
            ("bytes=-5000", part(0, 999)),
            ("bytes=1000-", Wanted::Beyond),
            ("bytes=-0", Wanted::Beyond),
            ("bytes=9-3", Wanted::All),
            ("bytes=0-1,5-6", Wanted::All),
            ("lines=0-1", Wanted::All),
            ("bytes=a-b", Wanted::All),
        ] {
            assert_eq!(read_range(text, 1_000), want, "{text}");
        }
        assert_eq!(read_range("bytes=0-", 0), Wanted::Beyond);
    }

    #[test]
    fn ids_go_both_ways() {
        assert_eq!(read_id(&show_id(17)), Some(17));
        for bad in ["", "17", "T", "Tx", "T-1"] {
            assert_eq!(read_id(bad), None, "{bad}");
        }
    }
}
