//! Files of this node, which are the downloads that are done, with what users write beside them: `/recordfile` and
//! `/recordfile/timeline` of bvcsp (2.11, 2.17), and `/bvnru/v1/download`, by which the vendor's player fetches them.
//!
//! Not done: thumbnails; files other than videos.
//!
//! Bounds: [`limits::RECORD_MARKS_MAX`] marks a file, [`limits::RECORD_NOTE_BYTES_MAX`] bytes of one or of a description.

use std::collections::HashMap;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::limits;
use crate::record::{State as TaskState, Task};
use crate::store::table::Filter;
use crate::store::{Mark, Note};

use super::ApiState;
use super::caller::Caller;
use super::device::read_puid;
use super::download;
use super::envelope::{Answer, Body, Code, Done, Failure, Path};
use super::list::{ListRequest, bad};
use super::playback::When;

/// A file of this node.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct FileInfo {
    #[schema(example = "T3")]
    pub id: String,
    #[serde(rename = "fileID")]
    pub file_id: String,
    #[serde(rename = "nruID")]
    pub nru_id: String,
    #[serde(rename = "puID")]
    pub pu_id: String,
    pub pu_name: String,
    #[serde(rename = "userID")]
    pub user_id: String,
    pub channel_index: u32,
    /// Always empty: where a file lies is nobody's business.
    pub file_path: String,
    /// Always `video`.
    pub file_type: &'static str,
    pub file_size: u64,
    /// Always empty.
    pub file_hash: String,
    /// Unix seconds.
    pub begin_time: u32,
    pub end_time: u32,
    pub insert_time: i64,
    /// Always `download`.
    pub record_reason: &'static str,
    pub desc1: String,
    pub desc2: String,
    pub file_name: String,
}

#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct FilesFilter {
    /// Files that hold anything from this time on; Unix seconds or local time.
    begin_time: Option<When>,
    end_time: Option<When>,
    #[serde(rename = "puID", alias = "puid")]
    pu_id: Option<String>,
    /// Those of other types are not here.
    file_type: Option<Vec<String>>,
}

/// Fields of a file that are called otherwise in the store.
const FILE_FIELDS: &[(&str, &str)] = &[
    ("fileID", "id"),
    ("puID", "device"),
    ("userID", "owner"),
    ("channelIndex", "channel"),
    ("fileSize", "bytes"),
    ("beginTime", "begin_s"),
    ("endTime", "end_s"),
    ("insertTime", "created_s"),
    ("fileName", NOTED_NAME),
];

/// The name that a user gave to a file; empty if it has that which it was born with.
const NOTED_NAME: &str =
    "COALESCE((SELECT name FROM record_notes WHERE file = 'T' || downloads.id), '')";

/// Fields of a mark that are called otherwise in the store.
const MARK_FIELDS: &[(&str, &str)] = &[
    ("fileId", "file"),
    ("userId", "owner"),
    ("addTime", "added_s"),
    ("timestamp", "added_s"),
];

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct FileChange {
    #[schema(example = "Gate, the accident")]
    file_name: Option<String>,
    desc1: Option<String>,
    desc2: Option<String>,
}

/// A mark on the time line of a file.
#[derive(Debug, Deserialize, ToSchema)]
pub struct NewMark {
    /// Where in the file: kept as it is written.
    #[schema(example = 12.5, value_type = Value)]
    time: Value,
    /// What is to be said of it: kept as it is written.
    #[schema(example = "a car comes", value_type = Value)]
    data: Value,
}

#[derive(Debug, Deserialize, ToSchema)]
pub struct NewMarks {
    timelines: Vec<NewMark>,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct OldMarks {
    #[schema(example = json!(["1"]))]
    id_list: Vec<String>,
}

/// Which marks: those of one file.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct MarksFilter {
    #[schema(example = "T3")]
    file_id: String,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct MarkInfo {
    pub id: String,
    pub file_id: String,
    pub user_id: String,
    /// As it was written.
    #[schema(value_type = Value)]
    pub time: Value,
    #[schema(value_type = Value)]
    pub data: Value,
    /// Unix seconds.
    pub add_time: i64,
    pub timestamp: i64,
}

impl From<Mark> for MarkInfo {
    fn from(mark: Mark) -> MarkInfo {
        let value = |text: &str| serde_json::from_str(text).unwrap_or(Value::Null);
        MarkInfo {
            id: mark.id.to_string(),
            file_id: mark.file,
            user_id: mark.owner,
            time: value(&mark.place),
            data: value(&mark.data),
            add_time: mark.added_s,
            timestamp: mark.added_s,
        }
    }
}

fn too_long(field: &str) -> Failure {
    let most = limits::RECORD_NOTE_BYTES_MAX;
    Failure::new(Code::ErrorParam, format!("{field} may have {most} bytes"))
}

/// A file that is there and the caller's.
fn find(state: &ApiState, caller: &Caller, fileid: &str) -> Result<Task, Failure> {
    download::find(state, &caller.login, fileid)
        .filter(|task| task.state == TaskState::Done)
        .ok_or_else(|| Failure::new(Code::NotFound, "file not found"))
}

fn show(state: &ApiState, task: Task, note: Note) -> FileInfo {
    let id = download::show_id(task.id);
    let device = task.device;
    let file_name = if note.name.is_empty() {
        format!("{device}-{}-{}.mp4", task.index, task.span.begin_unix_s)
    } else {
        note.name
    };
    FileInfo {
        file_id: id.clone(),
        id,
        nru_id: format!("NRU_{}", state.config.node.name),
        pu_id: device.pu_id(),
        pu_name: String::new(),
        user_id: task.owner,
        channel_index: task.index,
        file_path: String::new(),
        file_type: "video",
        file_size: task.bytes,
        file_hash: String::new(),
        begin_time: task.span.begin_unix_s,
        end_time: task.span.end_unix_s,
        insert_time: task.created_unix_s,
        record_reason: "download",
        desc1: note.desc1,
        desc2: note.desc2,
        file_name,
    }
}

/// Files of this node, newest first: an administrator sees all, others their own. Filter, order and page are the database's;
/// `sort` is `id`, `puID`, `userID`, `channelIndex`, `fileSize`, `beginTime`, `endTime`, `insertTime` or `fileName`.
#[utoipa::path(post, path = "/bvcsp/v1/recordfile/filter", operation_id = "listFiles", tag = "history", security(("token" = [])),
    request_body(content = ListRequest<FilesFilter>, example = json!({"page": 0, "pageSize": 100, "sort": "-beginTime",
        "filter": {"beginTime": 1_781_366_400, "endTime": 1_781_452_800, "fileType": ["video"]}})),
    responses((status = 200, body = Answer<Vec<FileInfo>>, example = json!({"code": 0, "msg": "success", "data": [],
        "pageInfo": {"page": 0, "pageSize": 100, "totalCount": 0}}))))]
pub async fn list(
    State(state): State<ApiState>,
    caller: Caller,
    Body(mut request): Body<ListRequest<FilesFilter>>,
) -> Result<Answer<Vec<FileInfo>>, Failure> {
    let filter = request.take_filter();
    let offset_s = state.utc_offset_s();
    let time = |when: &Option<When>, field| {
        let read = when.as_ref().map(|when| when.read(field, offset_s));
        read.transpose().map(|unix_s| unix_s.map(i64::from))
    };
    let begin = time(&filter.begin_time, "beginTime")?;
    let end = time(&filter.end_time, "endTime")?;
    let device = match filter.pu_id.as_deref() {
        None | Some("") => None,
        Some(puid) => Some(read_puid(puid)?.to_string()),
    };
    let videos = filter.file_type.is_none_or(|types| {
        types.is_empty() || types.iter().any(|t| t.eq_ignore_ascii_case("video"))
    });
    let mut rows = download::seen_by(&caller.login)
        .equal("state", TaskState::Done.name())
        .equal_if("device", device)
        .within("end_s", begin.map(|begin| begin + 1), None)
        .within("begin_s", None, end.map(|end| end - 1));
    if !videos {
        rows = rows.one_of("id", Vec::new());
    }
    let page = request.run_by(&state, rows, "-id", FILE_FIELDS).await?;
    let (rows, page) = page.split();
    let tasks = download::now(&state, rows);
    let ids = tasks.iter().map(|task| download::show_id(task.id).into());
    let of_page = Filter::all().one_of("file", ids.collect());
    let notes: Vec<Note> = state.store.every(of_page, tasks.len()).await?;
    let mut notes: HashMap<String, Note> = notes
        .into_iter()
        .map(|note| (note.file.clone(), note))
        .collect();
    let files = tasks.into_iter().map(|task| {
        let note = notes.remove(&download::show_id(task.id));
        show(&state, task, note.unwrap_or_default())
    });
    Ok(page.with(files.collect()))
}

/// A file of this node.
#[utoipa::path(get, path = "/bvcsp/v1/recordfile/info/{fileid}", operation_id = "fileInfo", tag = "history", security(("token" = [])),
    params(("fileid" = String, Path, example = "T3")),
    responses((status = 200, body = Answer<FileInfo>, example = json!({"code": 2, "msg": "file not found"}))))]
pub async fn info(
    State(state): State<ApiState>,
    caller: Caller,
    Path(fileid): Path<String>,
) -> Result<Answer<FileInfo>, Failure> {
    let task = find(&state, &caller, &fileid)?;
    let note = state.store.note(&fileid).await?;
    Ok(Answer::data(show(&state, task, note)))
}

/// Changes the name or the descriptions of a file; what is missing stays.
#[utoipa::path(put, path = "/bvcsp/v1/recordfile/info/{fileid}", operation_id = "changeFile", tag = "history", security(("token" = [])),
    params(("fileid" = String, Path, example = "T3")),
    request_body(content = FileChange, example = json!({"fileName": "Gate", "desc1": "the accident"})),
    responses((status = 200, body = Done, example = json!({"code": 0, "msg": "success"}))))]
pub async fn change(
    State(state): State<ApiState>,
    caller: Caller,
    Path(fileid): Path<String>,
    Body(change): Body<FileChange>,
) -> Result<Done, Failure> {
    find(&state, &caller, &fileid)?;
    let old = state.store.note(&fileid).await?;
    let note = Note {
        file: fileid,
        name: change.file_name.unwrap_or(old.name),
        desc1: change.desc1.unwrap_or(old.desc1),
        desc2: change.desc2.unwrap_or(old.desc2),
    };
    for (field, text) in [
        ("fileName", &note.name),
        ("desc1", &note.desc1),
        ("desc2", &note.desc2),
    ] {
        if text.len() > limits::RECORD_NOTE_BYTES_MAX {
            return Err(too_long(field));
        }
    }
    state.store.put(&note).await?;
    Ok(Done::new())
}

/// Adds marks to the time line of a file.
#[utoipa::path(post, path = "/bvcsp/v1/recordfile/timeline/{fileid}", operation_id = "addMarks", tag = "history", security(("token" = [])),
    params(("fileid" = String, Path, example = "T3")),
    request_body(content = NewMarks, example = json!({"timelines": [{"time": 12.5, "data": "a car comes"}]})),
    responses((status = 200, body = Done, example = json!({"code": 0, "msg": "success"}))))]
pub async fn add_marks(
    State(state): State<ApiState>,
    caller: Caller,
    Path(fileid): Path<String>,
    Body(request): Body<NewMarks>,
) -> Result<Done, Failure> {
    find(&state, &caller, &fileid)?;
    let now = download::now_unix_s();
    let mut marks = Vec::new();
    for mark in request.timelines {
        let (place, data) = (mark.time.to_string(), mark.data.to_string());
        if place.len() + data.len() > limits::RECORD_NOTE_BYTES_MAX {
            return Err(too_long("timelines"));
        }
        marks.push(Mark {
            id: 0,
            file: fileid.clone(),
            owner: caller.login.user.to_string(),
            place,
            data,
            added_s: now,
        });
    }
    let held = state.store.count::<Mark>(marks_of(&fileid)).await?;
    let held = usize::try_from(held).unwrap_or(usize::MAX);
    if held.saturating_add(marks.len()) > limits::RECORD_MARKS_MAX {
        let limit = "RECORD_MARKS_MAX";
        return Err(Failure::new(
            Code::Busy,
            format!("busy: at the limit {limit}"),
        ));
    }
    state.store.add_marks(&marks).await?;
    Ok(Done::new())
}

/// Removes marks of a file. Those that are gone already are a success.
#[utoipa::path(delete, path = "/bvcsp/v1/recordfile/timeline/{fileid}", operation_id = "removeMarks", tag = "history", security(("token" = [])),
    params(("fileid" = String, Path, example = "T3")),
    request_body(content = OldMarks, example = json!({"idList": ["1"]})),
    responses((status = 200, body = Done, example = json!({"code": 0, "msg": "success"}))))]
pub async fn remove_marks(
    State(state): State<ApiState>,
    caller: Caller,
    Path(fileid): Path<String>,
    Body(request): Body<OldMarks>,
) -> Result<Done, Failure> {
    find(&state, &caller, &fileid)?;
    for id in request.id_list.iter().take(limits::RECORD_MARKS_MAX) {
        let id: i64 = id.parse().map_err(|_| {
            Failure::new(Code::ErrorParam, "idList must be ids of marks of this file")
        })?;
        let one = marks_of(&fileid).equal("id", id);
        state.store.remove::<Mark>(one).await?;
    }
    Ok(Done::new())
}

fn marks_of(fileid: &str) -> Filter {
    Filter::all().equal("file", fileid)
}

/// Marks of a file, oldest first. Order and page are the database's; `sort` is `id`, `userId`, `data` or `addTime`.
#[utoipa::path(post, path = "/bvcsp/v1/recordfile/timeline/filter", operation_id = "listMarks", tag = "history", security(("token" = [])),
    request_body(content = ListRequest<MarksFilter>, example = json!({"page": 0, "pageSize": 1000, "filter": {"fileId": "T3"}, "sort": "-addTime"})),
    responses((status = 200, body = Answer<Vec<MarkInfo>>, example = json!({"code": 0, "msg": "success", "data": [],
        "pageInfo": {"page": 0, "pageSize": 1000, "totalCount": 0}}))))]
pub async fn list_marks(
    State(state): State<ApiState>,
    caller: Caller,
    Body(mut request): Body<ListRequest<MarksFilter>>,
) -> Result<Answer<Vec<MarkInfo>>, Failure> {
    let file = request.take_filter().file_id;
    if file.is_empty() {
        return Err(bad("filter.fileId is missing"));
    }
    find(&state, &caller, &file)?;
    let rows = marks_of(&file);
    let marks = request.run_by::<Mark>(&state, rows, "id", MARK_FIELDS);
    Ok(marks.await?.map(MarkInfo::from))
}

/// The bytes of a file of this node.
#[utoipa::path(get, path = "/bvnru/v1/download/{fileid}", operation_id = "nruDownload", tag = "history", security(("token" = [])),
    params(("fileid" = String, Path, example = "T3"), ("token" = Option<String>, Query, description = "or Authorization"),
        ("Range" = Option<String>, Header, description = "bytes=0-1023")),
    responses((status = 200, description = "the MP4 file; JSON with a code if there is none", content((Vec<u8> = "video/mp4"), (Done = "application/json"))),
        (status = 206, description = "a part of it"), (status = 416, description = "no such part")))]
pub async fn bytes(
    State(state): State<ApiState>,
    caller: Caller,
    Path(fileid): Path<String>,
    axum::extract::RawQuery(query): axum::extract::RawQuery,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let task = find(&state, &caller, &fileid)?;
    download::send(&state, &task, query.as_deref(), &headers)
        .await
        .map_err(|error| Failure::new(Code::NotFound, format!("the file is gone: {error}")))
}
