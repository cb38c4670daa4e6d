//! What devices have recorded: `/pu/recordfile` and `/28181in/recordfile` of bvcsp (2.11, 2.14, fields 1.3).
//!
//! The device is asked each time (RecordInfo, over as many messages as it takes); nothing of it is kept here. A file of the
//! answer is a stretch of time of a channel, and so is its id: what a device calls its files says nothing to others.
//!
//! Bounds: [`limits::RECORD_SEARCH_CHANNELS_MAX`], [`limits::RECORD_SEARCHES_AT_ONCE`].
//!
//! Not done: deleting files of a device, which GB/T 28181 has no command for (code 8).

use axum::extract::State;
use futures_util::{StreamExt, stream};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::gb28181::answer::FileRecord;
use crate::gb28181::question::RecordFilter;
use crate::gb28181::{Answer as DeviceAnswer, Ask, Condition, Question, Span};
use crate::id::DeviceId;
use crate::limits;
use crate::session::DeviceView;
use crate::time::{local_text, parse_local};

use super::ApiState;
use super::caller::Caller;
use super::device::{find, read_puid};
use super::envelope::{Answer, Body, Code, Done, Failure, Path, wrong_reply};
use super::gimbal;
use super::list::{Field, Key, ListRequest};
use super::playback::{FileId, When, span};

#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RecordsFilter {
    /// Unix seconds, or local time of the device.
    #[schema(example = 1_781_366_400)]
    begin_time: Option<When>,
    /// At most 31 days after it.
    #[schema(example = 1_781_452_800)]
    end_time: Option<When>,
    /// -1, or none: any channel, of a device with at most 64.
    #[schema(example = 0)]
    channel_index: Option<i64>,
    /// `time`, `alarm`, `manual`; none is all.
    #[schema(example = json!(["alarm", "manual"]))]
    record_reason: Option<Vec<String>>,
    /// Devices have videos: a list without `video` finds nothing.
    #[schema(example = json!(["video"]))]
    file_type: Option<Vec<String>>,
    /// 0 open records, 1 secret ones; none is 0.
    #[schema(example = 0)]
    secrecy: Option<u32>,
    /// A part of the path, as the device reads it.
    #[schema(example = "/record")]
    file_path: Option<String>,
    /// Where it was recorded, in the words of the device.
    #[schema(example = "East gate")]
    address: Option<String>,
    /// Who or what had it recorded, in the words of the device.
    #[serde(rename = "recorderID")]
    #[schema(example = "34020000003000000001")]
    recorder_id: Option<String>,
    /// 1: also what fits only in part.
    #[schema(example = 0)]
    indistinct_query: Option<u32>,
    /// Of 2022: 0 the main stream, 1 the second one.
    #[schema(example = 0)]
    stream_number: Option<u32>,
    /// Of 2022: by which alarms it was caused, numbers with `/` between.
    #[schema(example = "5")]
    alarm_method: Option<String>,
    #[schema(example = "2")]
    alarm_type: Option<String>,
}

/// Why something was recorded, in the words of GB/T 28181-2016, A.2.6.7.
const REASONS: [&str; 3] = ["time", "alarm", "manual"];

/// For which of several reasons the device is asked; it can be asked for one, or for all.
fn asked_reason(wanted: &[String]) -> Result<&str, Failure> {
    let known = |reason: &String| REASONS.contains(&reason.as_str());
    if !wanted.iter().all(known) {
        let msg = "recordReason must be of time, alarm and manual";
        return Err(Failure::new(Code::ErrorParam, msg));
    }
    match wanted {
        [one] => Ok(one),
        _ => Ok("all"),
    }
}

/// A file of a device.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RecordFile {
    #[schema(example = "0-1781402400-1781406000")]
    pub id: String,
    #[serde(rename = "fileID")]
    pub file_id: String,
    #[serde(rename = "puID")]
    pub pu_id: String,
    pub pu_name: String,
    pub channel_index: u32,
    /// As the device calls it.
    pub file_path: String,
    pub file_name: String,
    /// Always `video`.
    pub file_type: &'static str,
    /// Bytes; 0 = the device does not say.
    pub file_size: u64,
    /// Unix seconds.
    pub begin_time: u32,
    pub end_time: u32,
    /// `time`, `alarm` or `manual`.
    pub record_reason: String,
    /// Always empty: it lies on the device.
    #[serde(rename = "nruID")]
    #[schema(example = "")]
    pub nru_id: String,
    /// Who had it recorded, if the device says so.
    #[serde(rename = "userID")]
    #[schema(example = "")]
    pub user_id: String,
    /// As the three after it, unknown: devices do not tell.
    #[schema(example = "")]
    pub file_hash: String,
    /// -1 = unknown.
    #[schema(example = -1)]
    pub insert_time: i64,
    #[schema(example = "")]
    pub desc1: String,
    #[schema(example = "")]
    pub desc2: String,
}

/// By what the files are sorted.
const FIELDS: &[Field<RecordFile>] = &[
    ("id", |file| file.id.as_str().into()),
    ("fileID", |file| file.id.as_str().into()),
    ("channelIndex", |file| {
        Key::Number(file.channel_index.into())
    }),
    ("filePath", |file| file.file_path.as_str().into()),
    ("fileName", |file| file.file_name.as_str().into()),
    ("fileSize", |file| {
        Key::Number(i64::try_from(file.file_size).unwrap_or(i64::MAX))
    }),
    ("beginTime", |file| Key::Number(file.begin_time.into())),
    ("endTime", |file| Key::Number(file.end_time.into())),
    ("recordReason", |file| file.record_reason.as_str().into()),
];

/// Longest time over which a device is asked.
const SEARCH_S_MAX: u32 = 31 * 86_400;

/// Files that a device recorded, as it says now, in its order. It is asked by this filter; what it answers is sorted and
/// paged here, as no database has it. `sort` is `id`, `channelIndex`, `filePath`, `fileName`, `fileSize`, `beginTime`,
/// `endTime` or `recordReason`.
#[utoipa::path(post, path = "/bvcsp/v1/pu/recordfile/filter/{puid}", operation_id = "deviceRecords", tag = "history", security(("token" = [])),
    params(("puid" = String, Path, example = "PU_34020000001110000001")),
    request_body(content = ListRequest<RecordsFilter>, example = json!({"page": 0, "pageSize": 100,
        "sort": "-beginTime",
        "filter": {"beginTime": 1_781_366_400, "endTime": 1_781_452_800, "channelIndex": 0}})),
    responses((status = 200, body = Answer<Vec<RecordFile>>, example = json!({"code": 0, "msg": "success", "data":
        [{"id": "0-1781402400-1781406000", "fileID": "0-1781402400-1781406000", "puID": "PU_34020000001110000001",
        "puName": "Yard", "channelIndex": 0, "filePath": "/record/1.mp4", "fileName": "Yard 10", "fileType": "video",
        "fileSize": 540_000_000, "beginTime": 1_781_402_400, "endTime": 1_781_406_000, "recordReason": "time",
        "nruID": "", "userID": "", "fileHash": "", "insertTime": -1, "desc1": "", "desc2": ""}],
        "pageInfo": {"page": 0, "pageSize": 100, "totalCount": 1}}))))]
pub async fn of_device(
    State(state): State<ApiState>,
    _: Caller,
    Path(puid): Path<String>,
    Body(request): Body<ListRequest<RecordsFilter>>,
) -> Result<Answer<Vec<RecordFile>>, Failure> {
    search(&state, &puid, request).await
}

/// The same by the code of the device.
#[utoipa::path(post, path = "/bvcsp/v1/28181in/recordfile/filter/{id}", operation_id = "gbRecords", tag = "history", security(("token" = [])),
    params(("id" = String, Path, example = "34020000001110000001")),
    request_body(content = ListRequest<RecordsFilter>, example = json!({"page": 0, "pageSize": 100,
        "filter": {"beginTime": "2026-06-14T00:00:00", "endTime": "2026-06-15T00:00:00", "channelIndex": 0}})),
    responses((status = 200, body = Answer<Vec<RecordFile>>, example = json!({"code": 5, "msg": "the device is offline"}))))]
pub async fn of_code(
    State(state): State<ApiState>,
    _: Caller,
    Path(id): Path<String>,
    Body(request): Body<ListRequest<RecordsFilter>>,
) -> Result<Answer<Vec<RecordFile>>, Failure> {
    search(&state, &id, request).await
}

/// Always code 8: GB/T 28181 has no command by which a device deletes what it recorded.
#[utoipa::path(post, path = "/bvcsp/v1/pu/recordfile/del/{puid}", operation_id = "deleteRecords", tag = "history", security(("token" = [])),
    params(("puid" = String, Path, example = "PU_34020000001110000001")),
    request_body(content = Object, description = "nothing of it is read", example = json!({"fileid": "0-1781402400-1781406000"})),
    responses((status = 200, body = Done, description = "always code 8", example = json!({"code": 8, "msg": "GB/T 28181 has no command that deletes records"}))))]
pub async fn delete(_: Caller, Path(puid): Path<String>) -> Result<Done, Failure> {
    read_puid(&puid)?;
    let msg = "GB/T 28181 has no command that deletes records";
    Err(Failure::new(Code::Unsupported, msg))
}

async fn search(
    state: &ApiState,
    puid: &str,
    mut request: ListRequest<RecordsFilter>,
) -> Result<Answer<Vec<RecordFile>>, Failure> {
    let device = read_puid(puid)?;
    request.check(FIELDS)?;
    let filter = request.take_filter();
    let named = match filter.channel_index {
        None | Some(-1) => None,
        Some(index) => Some(
            u32::try_from(index)
                .map_err(|_| Failure::new(Code::ErrorParam, "channelIndex must be -1 or more"))?,
        ),
    };
    let offset_s = state.utc_offset_s();
    let wanted = read_span(&filter, offset_s)?;
    let reasons = filter.record_reason.unwrap_or_default();
    let kind = asked_reason(&reasons)?.to_owned();
    let videos = filter.file_type.is_none_or(|types| {
        types.is_empty() || types.iter().any(|t| t.eq_ignore_ascii_case("video"))
    });
    let view = find(state, puid).await?;
    let indexes = match (videos, named) {
        (false, _) => Vec::new(),
        (true, Some(index)) => vec![index],
        (true, None) => any_channel(&view)?,
    };
    let text = |unix_s: u32| local_text(unix_s.into(), offset_s);
    let question = RecordFilter {
        start_time: text(wanted.begin_unix_s),
        end_time: text(wanted.end_unix_s),
        file_path: filter.file_path,
        address: filter.address,
        secrecy: Some(filter.secrecy.unwrap_or(0)),
        kind: Some(kind),
        recorder_id: filter.recorder_id,
        indistinct_query: filter.indistinct_query,
        stream_number: filter.stream_number,
        alarm_method: filter.alarm_method,
        alarm_type: filter.alarm_type,
    };
    let answers = stream::iter(indexes)
        .map(|index| {
            let question = question.clone();
            async move { (index, records_of(state, puid, index, question).await) }
        })
        .buffered(limits::RECORD_SEARCHES_AT_ONCE)
        .collect::<Vec<_>>()
        .await;
    let asked = answers.len();
    let mut files = Vec::new();
    let mut failures = Vec::new();
    let mut partial = false;
    for (index, answer) in answers {
        match answer {
            Ok((records, cut)) => {
                partial |= cut;
                let name = &view.info.name;
                let shown = records.into_iter();
                let shown = shown.filter_map(|r| show(r, device, name, index, offset_s));
                // Devices answer with all of them when several are wanted, and some when one is.
                // One that says nothing of its reason was found by the device.
                let fits = |file: &RecordFile| {
                    let reason = &file.record_reason;
                    reasons.is_empty() || reason.is_empty() || reasons.contains(reason)
                };
                files.extend(shown.filter(fits));
            }
            Err(failure) => failures.push(failure),
        }
    }
    let failed = failures.len();
    if failed == asked
        && let Some(first) = failures.into_iter().next()
    {
        return Err(first);
    }
    if named.is_none() {
        files.sort_by_key(|file| (file.begin_time, file.channel_index));
    }
    let mut answer = request.cut(files, FIELDS, |file| file)?;
    if failed > 0 {
        answer.msg = format!("partial: {failed} of {asked} channels did not answer");
    } else if partial {
        answer.msg = "partial: the device did not send all that it announced".into();
    }
    Ok(answer)
}

/// The channels that a search for any of them asks.
fn any_channel(view: &DeviceView) -> Result<Vec<u32>, Failure> {
    let there = (0..).zip(&view.channels);
    let there: Vec<u32> = there
        .filter(|(_, channel)| channel.condition != Condition::Deleted)
        .map(|(index, _)| index)
        .collect();
    if there.len() > limits::RECORD_SEARCH_CHANNELS_MAX {
        let msg = format!(
            "channelIndex must name a channel: the device has more than {}",
            limits::RECORD_SEARCH_CHANNELS_MAX
        );
        return Err(Failure::new(Code::ErrorParam, msg));
    }
    Ok(there)
}

/// What one channel recorded, and whether the device left some of it out.
async fn records_of(
    state: &ApiState,
    puid: &str,
    index: u32,
    filter: RecordFilter,
) -> Result<(Vec<FileRecord>, bool), Failure> {
    let question = Ask::Query(Question::Records(filter));
    let answer = gimbal::ask(state, puid, Some(index), question).await?;
    let DeviceAnswer::Records { records, partial } = answer else {
        return Err(wrong_reply());
    };
    Ok((records, partial))
}

fn read_span(filter: &RecordsFilter, offset_s: i32) -> Result<Span, Failure> {
    let needed = |field: &str| Failure::new(Code::ErrorParam, format!("{field} is needed"));
    let begin = filter
        .begin_time
        .as_ref()
        .ok_or_else(|| needed("beginTime"))?;
    let end = filter.end_time.as_ref().ok_or_else(|| needed("endTime"))?;
    let begin = begin.read("beginTime", offset_s)?;
    let end = end.read("endTime", offset_s)?;
    let bad = |msg| Failure::new(Code::ErrorParam, msg);
    let span = Span::new(begin, end).ok_or_else(|| bad("endTime must lie after beginTime"))?;
    if span.seconds() > SEARCH_S_MAX {
        return Err(bad("endTime may lie at most 31 days after beginTime"));
    }
    Ok(span)
}

/// `None`: a record without times, which nobody could play. One longer than may be asked for is cut.
fn show(
    record: FileRecord,
    device: DeviceId,
    name: &str,
    index: u32,
    offset_s: i32,
) -> Option<RecordFile> {
    let second =
        |text: &Option<String>| u32::try_from(parse_local(text.as_deref()?, offset_s)?).ok();
    let (begin, end) = (second(&record.start_time)?, second(&record.end_time)?);
    let last = begin.checked_add(limits::RECORD_SPAN_S_MAX)?;
    let span = span(begin, end.min(last)).ok()?;
    let id = FileId { index, span }.to_string();
    Some(RecordFile {
        file_id: id.clone(),
        id,
        pu_id: device.pu_id(),
        pu_name: name.to_owned(),
        channel_index: index,
        file_path: record.file_path.unwrap_or_default(),
        file_name: record.name.unwrap_or_default(),
        file_type: "video",
        file_size: record
            .file_size
            .and_then(|bytes| bytes.trim().parse().ok())
            .unwrap_or(0),
        begin_time: span.begin_unix_s,
        end_time: span.end_unix_s,
        record_reason: record.kind.unwrap_or_default(),
        nru_id: String::new(),
        user_id: record.recorder_id.unwrap_or_default(),
        file_hash: String::new(),
        insert_time: -1,
        desc1: String::new(),
        desc2: String::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::ChannelView;

    #[test]
    fn a_file_of_a_device_has_every_field_of_a_file() {
        let record = FileRecord {
            start_time: Some("2026-06-14T10:00:00".into()),
            end_time: Some("2026-06-14T11:00:00".into()),
            recorder_id: Some("34020000002000000001".into()),
            ..FileRecord::default()
        };
        let device = DeviceId("34020000001110000001".parse().expect("a code"));
        let file = show(record, device, "Yard", 0, 0).expect("a file");
        let shown = serde_json::to_value(file).expect("written");
        for field in [
            "id",
            "fileID",
            "nruID",
            "puID",
            "puName",
            "userID",
            "channelIndex",
            "filePath",
            "fileType",
            "fileSize",
            "fileHash",
            "beginTime",
            "endTime",
            "insertTime",
            "recordReason",
            "desc1",
            "desc2",
            "fileName",
        ] {
            assert!(
                shown.get(field).is_some_and(|value| !value.is_null()),
                "{field}"
            );
        }
        assert_eq!(shown["userID"], "34020000002000000001");
        assert_eq!(shown["insertTime"], -1);
    }

    #[test]
    fn a_search_for_any_channel_has_a_bound_and_leaves_out_what_is_gone() {
        let channel = |n: usize| ChannelView {
            channel: crate::id::ChannelId(format!("{n}").parse().expect("a code")),
            name: String::new(),
            online: true,
            ptz: false,
            longitude: None,
            latitude: None,
            parent_id: String::new(),
            condition: if n == 1 {
                Condition::Deleted
            } else {
                Condition::Described
            },
        };
        let most = limits::RECORD_SEARCH_CHANNELS_MAX;
        let mut view = DeviceView {
            channels: (0..=most).map(channel).collect(),
            ..DeviceView::default()
        };
        let asked = any_channel(&view).expect("as many as may be");
        assert_eq!((asked.len(), &asked[..2]), (most, &[0, 2][..]));
        view.channels.push(channel(most + 1));
        assert_eq!(
            any_channel(&view).expect_err("one more").code,
            Code::ErrorParam
        );
    }
}
