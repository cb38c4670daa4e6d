//! Records of devices played back: `/dialog/playback` of bvcsp (2.23, 3.1), and the same under `/gantry/v1/playback` for
//! viewers of FLV and MP4.
//!
//! A playback begins at once (a picture is needed to say what is in it); the first `PLAY` of the vendor's player then finds
//! it playing. It is over when the device has sent all, or its last viewer has gone.
//!
//! Pictures come in real time on a smooth time line at every scale: at scale 2 a minute of viewing shows two minutes of the
//! record. There is sound at scale 1 alone. Seconds of a `range` count from the beginning of the playback.
//!
//! Bounds: [`limits::RECORD_SPAN_S_MAX`], [`limits::PLAYBACKS_PER_CHANNEL_MAX`], [`limits::PLAYBACKS_MAX`].

use std::str::FromStr;

use axum::Json;
use axum::extract::{Path as UrlPath, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::gb28181::mansrtsp::Scale;
use crate::gb28181::{Footage, Span};
use crate::id::{DeviceId, SessionId};
use crate::limits;
use crate::session::{Command, Opened, PlayOrder, PlayView, Reply, SessionView, Target, ViewKind};
use crate::time::parse_local;

use super::ApiState;
use super::caller::{Caller, HttpCaller};
use super::device::read_puid;
use super::dialog::Dialog;
use super::envelope::{Answer, Body, Code, Failure, Path, wrong_reply};
use super::problem::{Problem, read_body};
use super::view;

/// A time: Unix seconds, or the local time of the device as text.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum When {
    Unix(i64),
    Local(String),
}

impl When {
    /// Unix seconds. Errors: names the field.
    pub fn read(&self, field: &str, offset_s: i32) -> Result<u32, Failure> {
        let unix_s = match self {
            When::Unix(unix_s) => Some(*unix_s),
            When::Local(text) => match text.trim().parse() {
                Ok(unix_s) => Some(unix_s),
                Err(_) => parse_local(text, offset_s),
            },
        };
        unix_s.and_then(|s| u32::try_from(s).ok()).ok_or_else(|| {
            let what = "must be Unix seconds or a time such as 2026-06-14T10:00:00";
            Failure::new(Code::ErrorParam, format!("{field} {what}"))
        })
    }
}

/// Names a stretch of what a channel recorded: `{index}-{begin}-{end}`, in Unix seconds. It can be made for any stretch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileId {
    pub index: u32,
    pub span: Span,
}

impl std::fmt::Display for FileId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Span {
            begin_unix_s,
            end_unix_s,
        } = self.span;
        write!(f, "{}-{begin_unix_s}-{end_unix_s}", self.index)
    }
}

impl FromStr for FileId {
    type Err = Failure;

    fn from_str(text: &str) -> Result<FileId, Failure> {
        let bad = || {
            let msg = "fileid must be {index}-{begin}-{end}, in Unix seconds";
            Failure::new(Code::ErrorParam, msg)
        };
        let mut parts = text.split('-').map(|part| part.parse::<u32>());
        let mut next = || parts.next().and_then(Result::ok).ok_or_else(bad);
        let (index, begin, end) = (next()?, next()?, next()?);
        if parts.next().is_some() {
            return Err(bad());
        }
        let span = span(begin, end)?;
        Ok(FileId { index, span })
    }
}

/// A stretch that may be asked for.
pub fn span(begin: u32, end: u32) -> Result<Span, Failure> {
    let bad = |msg: String| Failure::new(Code::ErrorParam, msg);
    let span =
        Span::new(begin, end).ok_or_else(|| bad("endTime must lie after beginTime".into()))?;
    if span.seconds() > limits::RECORD_SPAN_S_MAX {
        let most = limits::RECORD_SPAN_S_MAX / 3_600;
        return Err(bad(format!(
            "endTime may lie at most {most} hours after beginTime"
        )));
    }
    Ok(span)
}

pub fn read_scale(scale: f64) -> Result<Scale, Failure> {
    Scale::new(scale).ok_or_else(|| {
        let msg = "scale must be 0.25 to 8, or -0.25 to -8 where the device can";
        Failure::new(Code::ErrorParam, msg)
    })
}

/// What of which channel.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RecordOf {
    /// Device: `PU_` and its code.
    #[serde(default)]
    #[schema(example = "PU_34020000001110000001")]
    pub id: String,
    /// Channel of the device.
    #[serde(default)]
    #[schema(example = 0)]
    pub index: u32,
    /// Unix seconds, or local time of the device.
    #[schema(example = 1_781_402_400)]
    pub begin_time: Option<When>,
    #[schema(example = 1_781_406_000)]
    pub end_time: Option<When>,
    /// Instead of index and times: as in a list of records.
    #[serde(rename = "fileid", alias = "fileId", alias = "fileID")]
    #[schema(example = "0-1781402400-1781406000")]
    pub file_id: Option<String>,
}

impl RecordOf {
    pub fn read(&self, state: &ApiState) -> Result<(DeviceId, FileId), Failure> {
        let device = read_puid(&self.id)?;
        if let Some(id) = self.file_id.as_deref().filter(|id| !id.is_empty()) {
            return Ok((device, id.parse()?));
        }
        let offset_s = state.utc_offset_s();
        let needed = |field: &str| Failure::new(Code::ErrorParam, format!("{field} is needed"));
        let begin = self
            .begin_time
            .as_ref()
            .ok_or_else(|| needed("beginTime"))?;
        let end = self.end_time.as_ref().ok_or_else(|| needed("endTime"))?;
        let begin = begin.read("beginTime", offset_s)?;
        let end = end.read("endTime", offset_s)?;
        let span = span(begin, end)?;
        let index = self.index;
        Ok((device, FileId { index, span }))
    }
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct OpenPlayback {
    #[serde(flatten)]
    of: RecordOf,
    /// The offer, of WebRTC. A file id may stand in its `u=`.
    #[serde(default)]
    sdp: String,
    /// `host:port` by which the browser reached this API.
    #[serde(default)]
    host: Option<String>,
}

/// An order to a playback.
#[derive(Debug, Deserialize, ToSchema)]
pub struct PlaybackOrder {
    /// `PLAY` goes on, or elsewhere; `SEEK` does too, but leaves what is paused paused; `PAUSE`.
    #[schema(example = "SEEK")]
    cmd: String,
    /// 0.25 to 8; negative is backwards. Missing: as before.
    #[schema(example = 2.0)]
    scale: Option<f64>,
    /// Seconds from the beginning, to where, and its length (which is not looked at); -1 is where it is.
    #[schema(example = json!([120.0, 3600.0]))]
    range: Option<Vec<f64>>,
}

impl PlaybackOrder {
    fn read(&self) -> Result<PlayOrder, Failure> {
        let scale = self.scale.map(read_scale).transpose()?;
        let bad = |msg: &str| Failure::new(Code::ErrorParam, msg);
        let to = self.range.as_ref().and_then(|r| r.first()).copied();
        let from_ms = match to {
            None | Some(-1.0) => None,
            Some(s) if s.is_finite() && s >= 0.0 => Some((s * 1_000.0) as u64),
            Some(_) => return Err(bad("range must begin with seconds from 0, or -1")),
        };
        match self.cmd.to_ascii_uppercase().as_str() {
            "PAUSE" => Ok(PlayOrder::Pause),
            "PLAY" => Ok(PlayOrder::Play {
                scale,
                from_ms,
                keep_paused: false,
            }),
            "SEEK" => Ok(PlayOrder::Play {
                scale,
                from_ms,
                keep_paused: true,
            }),
            _ => Err(bad("cmd must be PLAY, SEEK or PAUSE")),
        }
    }
}

/// Where a playback is, for the vendor's player.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Played {
    /// Seconds: where it is, and its length.
    pub range: [f64; 2],
    pub scale: f64,
    /// Of the first RTP packet after the order: not known here, always 0.
    pub seq: u32,
    pub rtp_time: u32,
}

impl From<&PlayView> for Played {
    fn from(view: &PlayView) -> Played {
        Played {
            range: range(view),
            scale: view.scale.times(),
            seq: 0,
            rtp_time: 0,
        }
    }
}

fn range(view: &PlayView) -> [f64; 2] {
    let s = |ms: u64| ms as f64 / 1_000.0;
    [s(view.position_ms), s(view.duration_ms)]
}

/// How a playback stands.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlaybackState {
    #[schema(example = "D1f")]
    pub dialogid: String,
    pub begin_time: u32,
    pub end_time: u32,
    /// `playing`, `paused` or `ended`.
    pub state: &'static str,
    /// Seconds: where it is, and its length.
    pub range: [f64; 2],
    pub scale: f64,
    /// Why it is over: `end of file`, or what went wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end: Option<String>,
    /// Media URLs; with `?token=`.
    pub flv: String,
    pub mp4: String,
    pub whep: String,
}

impl PlaybackState {
    fn of(play: SessionId, view: &PlayView) -> PlaybackState {
        let span = view.footage.span();
        PlaybackState {
            dialogid: play.to_string(),
            begin_time: span.map_or(0, |s| s.begin_unix_s),
            end_time: span.map_or(0, |s| s.end_unix_s),
            state: match (&view.end, view.paused) {
                (Some(_), _) => "ended",
                (None, true) => "paused",
                (None, false) => "playing",
            },
            range: range(view),
            scale: view.scale.times(),
            end: view.end.as_ref().map(ToString::to_string),
            flv: format!("/playback/{play}.flv"),
            mp4: format!("/playback/{play}.mp4"),
            whep: format!("/whep/playback/{play}"),
        }
    }
}

/// Opens a record of a device over WebRTC: offer in, answer out. It plays at once.
#[utoipa::path(post, path = "/bvcsp/v1/dialog/playback", operation_id = "openPlayback", tag = "dialog", security(("token" = [])),
    request_body(content = OpenPlayback, example = json!({"id": "PU_34020000001110000001", "sdp": "v=0\r\n…",
        "fileid": "0-1781402400-1781406000", "host": "192.168.1.10:9780"})),
    responses((status = 200, body = Answer<Dialog>, example = json!(
        {"code": 0, "msg": "success", "data": {"dialogid": "D1f", "sdp": "v=0\r\n…"}}))))]
pub async fn open(
    State(state): State<ApiState>,
    caller: Caller,
    Body(mut request): Body<OpenPlayback>,
) -> Result<Answer<Dialog>, Failure> {
    if request.sdp.contains("WSBV/RTP/AVP") {
        let msg = "bvrtc is not supported; offer WebRTC";
        return Err(Failure::new(Code::Unsupported, msg));
    }
    if request.of.file_id.is_none() && request.of.begin_time.is_none() {
        let named = request.sdp.lines().find_map(|line| line.strip_prefix("u="));
        request.of.file_id = named.map(|id| id.trim().to_owned());
    }
    let (device, file) = request.of.read(&state)?;
    let target = Target::Record {
        device,
        index: file.index,
        footage: Footage::Playback(file.span),
    };
    let host = request.host.filter(|host| !host.is_empty());
    let (session, sdp) = view::open_webrtc(&state, target, caller.owner, request.sdp, host).await?;
    Ok(Answer::data(Dialog {
        dialogid: session.to_string(),
        sdp,
    }))
}

/// Orders a playback: the answer comes when the device has obeyed.
#[utoipa::path(put, path = "/bvcsp/v1/dialog/playback/{dialogid}", operation_id = "controlPlayback", tag = "dialog", security(("token" = [])),
    params(("dialogid" = String, Path, example = "D1f")),
    request_body(content = PlaybackOrder, example = json!({"cmd": "SEEK", "scale": 2.0, "range": [120.0, 3600.0]})),
    responses((status = 200, body = Answer<Played>, example = json!({"code": 0, "msg": "success", "data":
        {"range": [120.0, 3600.0], "scale": 2.0, "seq": 0, "rtpTime": 0}}))))]
pub async fn control(
    State(state): State<ApiState>,
    caller: Caller,
    Path(dialogid): Path<String>,
    Body(order): Body<PlaybackOrder>,
) -> Result<Answer<Played>, Failure> {
    let play = dialogid.parse::<SessionId>().map_err(|_| not_found())?;
    let order = order.read()?;
    owned(&state, play, caller.login.admin, &caller.login.user).await?;
    let view = give_order(&state, play, order).await?;
    Ok(Answer::data(Played::from(&view)))
}

/// Opens a record of a device to be watched by its media URLs. It plays at once; who opens a URL within ten seconds sees it
/// from its beginning on.
#[utoipa::path(post, path = "/gantry/v1/playback", operation_id = "startPlayback", tag = "media", security(("token" = [])),
    request_body(content = StartPlayback, example = json!({"id": "PU_34020000001110000001", "index": 0,
        "beginTime": 1_781_402_400, "endTime": 1_781_406_000, "scale": 1.0})),
    responses((status = 200, body = PlaybackState), (status = 400, body = Problem), (status = 401, body = Problem),
        (status = 404, body = Problem), (status = 409, body = Problem, description = "the device is offline"),
        (status = 424, body = Problem, description = "the device refused, or no answer, no RTP or no key frame; see stage"),
        (status = 429, body = Problem, description = "at a limit")))]
pub async fn start(
    State(state): State<ApiState>,
    caller: HttpCaller,
    body: axum::body::Bytes,
) -> Result<Json<PlaybackState>, Problem> {
    let request: StartPlayback = read_body(&body)?;
    let (device, file) = request.of.read(&state).map_err(bad)?;
    let scale = request.scale.map(read_scale).transpose().map_err(bad)?;
    let command = Command::Open {
        target: Target::Record {
            device,
            index: file.index,
            footage: Footage::Playback(file.span),
        },
        kind: ViewKind::Control,
        owner: super::caller::owner(&caller.login, None),
    };
    let Reply::Opened(Opened { session: play, .. }) = state.session.call(command).await? else {
        return Err(Problem::wrong_reply());
    };
    let view = match scale.filter(|s| *s != Scale::NORMAL) {
        None => show(&state, play).await?,
        Some(scale) => begin_at(&state, play, scale).await?,
    };
    Ok(Json(PlaybackState::of(play, &view)))
}

#[derive(Debug, Deserialize, ToSchema)]
pub struct StartPlayback {
    #[serde(flatten)]
    of: RecordOf,
    /// 0.25 to 8; negative is backwards, where the device can.
    #[schema(example = 1.0)]
    scale: Option<f64>,
}

/// How a playback stands, also for a while after its end.
#[utoipa::path(get, path = "/gantry/v1/playback/{dialogid}", operation_id = "playbackState", tag = "media", security(("token" = [])),
    params(("dialogid" = String, Path, example = "D1f")),
    responses((status = 200, body = PlaybackState), (status = 401, body = Problem), (status = 404, body = Problem)))]
pub async fn state(
    State(state): State<ApiState>,
    caller: HttpCaller,
    UrlPath(dialogid): UrlPath<String>,
) -> Result<Json<PlaybackState>, Problem> {
    let play = named(&state, &caller, &dialogid).await?;
    let view = show(&state, play).await?;
    Ok(Json(PlaybackState::of(play, &view)))
}

/// Orders a playback, as `/bvcsp/v1/dialog/playback/{dialogid}` does.
#[utoipa::path(put, path = "/gantry/v1/playback/{dialogid}", operation_id = "orderPlayback", tag = "media", security(("token" = [])),
    params(("dialogid" = String, Path, example = "D1f")),
    request_body(content = PlaybackOrder, example = json!({"cmd": "PLAY", "scale": 2.0, "range": [120.0]})),
    responses((status = 200, body = PlaybackState), (status = 400, body = Problem), (status = 401, body = Problem),
        (status = 404, body = Problem, description = "there is none, or it is over"),
        (status = 409, body = Problem),
        (status = 424, body = Problem, description = "the device refused (code 1 or 8), or did not answer (code 6)"),
        (status = 429, body = Problem, description = "at a limit")))]
pub async fn order(
    State(state): State<ApiState>,
    caller: HttpCaller,
    UrlPath(dialogid): UrlPath<String>,
    body: axum::body::Bytes,
) -> Result<Json<PlaybackState>, Problem> {
    let play = named(&state, &caller, &dialogid).await?;
    let order: PlaybackOrder = read_body(&body)?;
    let order = order.read().map_err(bad)?;
    let view = give_order(&state, play, order).await?;
    Ok(Json(PlaybackState::of(play, &view)))
}

/// Ends a playback for everybody. One that is over already is a success.
#[utoipa::path(delete, path = "/gantry/v1/playback/{dialogid}", operation_id = "endPlayback", tag = "media", security(("token" = [])),
    params(("dialogid" = String, Path, example = "D1f")),
    responses((status = 204, description = "over"), (status = 401, body = Problem), (status = 404, body = Problem)))]
pub async fn end(
    State(state): State<ApiState>,
    caller: HttpCaller,
    UrlPath(dialogid): UrlPath<String>,
) -> Result<StatusCode, Problem> {
    let play = named(&state, &caller, &dialogid).await?;
    state.session.call(Command::ClosePlayback { play }).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn named(
    state: &ApiState,
    caller: &HttpCaller,
    dialogid: &str,
) -> Result<SessionId, Problem> {
    let missing = || Problem::new(StatusCode::NOT_FOUND, "playback not found");
    let play = dialogid.parse::<SessionId>().map_err(|_| missing())?;
    let login = &caller.login;
    match owned(state, play, login.admin, &login.user).await {
        Ok(()) => Ok(play),
        Err(_) => Err(missing()),
    }
}

/// Whether a playback is the caller's; somebody else's is not there.
async fn owned(state: &ApiState, play: SessionId, admin: bool, user: &str) -> Result<(), Failure> {
    if admin {
        return Ok(());
    }
    let command = Command::Session { session: play };
    let Reply::Session(view) = state.session.call(command).await? else {
        return Err(wrong_reply());
    };
    let SessionView { owner, .. } = *view;
    if owner.user == user {
        Ok(())
    } else {
        Err(not_found())
    }
}

/// A playback that was just opened goes to another speed; if it cannot, it is closed.
pub async fn begin_at(
    state: &ApiState,
    play: SessionId,
    scale: Scale,
) -> Result<PlayView, crate::session::Error> {
    let order = PlayOrder::Play {
        scale: Some(scale),
        from_ms: None,
        keep_paused: false,
    };
    let begun = give_order(state, play, order).await;
    if begun.is_err() {
        let _ = state.session.call(Command::ClosePlayback { play }).await;
    }
    begun
}

async fn give_order(
    state: &ApiState,
    play: SessionId,
    order: PlayOrder,
) -> Result<PlayView, crate::session::Error> {
    match state.session.call(Command::Play { play, order }).await? {
        Reply::Playback(view) => Ok(*view),
        _ => Err(crate::session::Error::NotFound { what: "playback" }),
    }
}

pub async fn show(state: &ApiState, play: SessionId) -> Result<PlayView, crate::session::Error> {
    match state.session.call(Command::Playback { play }).await? {
        Reply::Playback(view) => Ok(*view),
        _ => Err(crate::session::Error::NotFound { what: "playback" }),
    }
}

fn bad(failure: Failure) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, failure.msg)
}

fn not_found() -> Failure {
    Failure::new(Code::NotFound, "playback not found")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_id_goes_both_ways_and_what_is_wrong_is_code_4() {
        let id: FileId = "2-1781402400-1781406000".parse().expect("an id");
        assert_eq!((id.index, id.span.seconds()), (2, 3_600));
        assert_eq!(id.to_string(), "2-1781402400-1781406000");
        for bad in [
            "",
            "2",
            "0-5-5",
            "0-6-5",
            "a-1-2",
            "0-1-2-3",
            "0-0-99999999",
            "0--1-5",
        ] {
            let failure = bad.parse::<FileId>().expect_err(bad);
            assert_eq!(failure.code, Code::ErrorParam, "{bad}");
        }
    }

    #[test]
    fn orders_are_read_and_what_is_wrong_is_named() {
        let read = |text| {
            serde_json::from_str::<PlaybackOrder>(text)
                .expect("an order")
                .read()
        };
        let play = |scale: Option<f64>, from_ms, keep_paused| PlayOrder::Play {
            scale: scale.map(|s| Scale::new(s).expect("in range")),
            from_ms,
            keep_paused,
        };
        assert_eq!(
            read(r#"{"cmd":"PLAY","scale":1}"#),
            Ok(play(Some(1.0), None, false))
        );
        assert_eq!(
            read(r#"{"cmd":"seek","scale":-2,"range":[12.5,60]}"#),
            Ok(play(Some(-2.0), Some(12_500), true))
        );
        assert_eq!(
            read(r#"{"cmd":"PLAY","range":[-1,60]}"#),
            Ok(play(None, None, false))
        );
        assert_eq!(read(r#"{"cmd":"PAUSE"}"#), Ok(PlayOrder::Pause));
        for (text, field) in [
            (r#"{"cmd":"STOP"}"#, "cmd"),
            (r#"{"cmd":"PLAY","scale":9}"#, "scale"),
            (r#"{"cmd":"PLAY","scale":0}"#, "scale"),
            (r#"{"cmd":"SEEK","range":[-7]}"#, "range"),
        ] {
            let failure = read(text).expect_err(text);
            assert_eq!(failure.code, Code::ErrorParam);
            assert!(failure.msg.starts_with(field), "{}", failure.msg);
        }
    }

    #[test]
    fn times_are_numbers_or_local_texts() {
        let east = 8 * 3_600;
        let read = |text| {
            serde_json::from_str::<When>(text)
                .expect("a time")
                .read("t", east)
        };
        assert_eq!(read("1781402400"), Ok(1_781_402_400));
        assert_eq!(read("\"1781402400\""), Ok(1_781_402_400));
        assert_eq!(read("\"2026-06-14T10:00:00\""), Ok(1_781_402_400));
        for bad in ["-5", "\"yesterday\"", "99999999999"] {
            assert!(read(bad).is_err_and(|f| f.msg.starts_with("t ")), "{bad}");
        }
    }
}
