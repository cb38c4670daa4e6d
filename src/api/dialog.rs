//! `/dialog`: open media between a client and a device, and what is known about it (bvcsp 2.23, 3.1).

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::id::{SessionId, StreamKey};
use crate::media::frame::{Params, Track};
use crate::session::{Command, IngestStats, MediaServiceView, Reply, SessionView, Stage, Target};

use super::ApiState;
use super::caller::Caller;
use super::device::{MEDIA_DIR_SENDS, read_puid};
use super::diagnosis::{Diagnosis, decodes_h265};
use super::envelope::{Answer, Body, Code, Done, Failure, InQuery, Path, wrong_reply};
use super::list::{Field, Key, ListRequest};
use super::{playback, sip, view};

#[derive(Debug, Deserialize, ToSchema)]
pub struct OpenRequest {
    /// Device: `PU_` and its code.
    #[schema(example = "PU_34020000001110000001")]
    id: String,
    /// Channel of the device.
    #[serde(default)]
    index: u32,
    /// The offer.
    #[serde(default)]
    sdp: String,
    /// `host:port` by which the browser reached this API.
    #[serde(default)]
    #[schema(example = "192.168.1.10:9780")]
    host: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct Dialog {
    #[schema(example = "D1f")]
    pub dialogid: String,
    /// The answer, with all candidates.
    pub sdp: String,
}

#[derive(Debug, Default, Deserialize, ToSchema)]
pub struct DialogFilter {
    #[serde(default)]
    userid: Option<String>,
    #[serde(default)]
    puid: Option<String>,
    /// `webrtc`, `http-flv`, `ws-flv`, `http-fmp4`, `ws-fmp4`, `control` or `file`.
    #[serde(default)]
    transport: Option<String>,
    /// `device`, `playback` or `stream`; of `conference` and `push` there are none.
    #[serde(default)]
    #[schema(example = "device")]
    kind: Option<String>,
    /// Those of this streaming service, as `/dialog/vtdu/list` names it.
    #[serde(default)]
    #[schema(example = "VTDU_gantry")]
    vtdu: Option<String>,
    /// true = those that are over, newest first, instead of those that are open.
    #[serde(default)]
    closed: bool,
}

/// One dialog with its live statistics.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DialogInfo {
    #[serde(rename = "dialogid")]
    #[schema(example = "D1f")]
    pub dialog_id: String,
    /// `device`, `playback` (and downloads), or `stream` for a source opened by name.
    pub kind: &'static str,
    /// Where a record is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub playback: Option<playback::Played>,
    /// Why a record is over: `end of file`, or what went wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end: Option<String>,
    pub transport: &'static str,
    /// Device, or "" for a source opened by name.
    pub puid: String,
    /// Code of the channel, or name of the source.
    pub stream: String,
    pub index: u32,
    pub media_dir: u8,
    pub userid: String,
    pub peer: String,
    /// `opening`, `connected` or `closed`.
    pub state: &'static str,
    /// How far it has come: `inviting`, `answered`, `receiving`, `parsed`, `live` or `closed`.
    pub stage: &'static str,
    /// Why no picture came, with the name of the stage that failed first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
    /// Why it is over, once it is: `client`, `owner`, `unclaimed`, `viewer gone`, `unwatched`, `device`, `device lost`,
    /// `certificate revoked`, `stalled`, `failed`, `cancelled`, `shutdown`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended: Option<&'static str>,
    /// Unix seconds.
    pub create_time: i64,
    /// Unix seconds, when it has ended. It can be asked for a while longer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub close_time: Option<i64>,
    /// Milliseconds from the call to the first key frame.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_frame_ms: Option<u32>,
    pub sent_bytes: u64,
    /// Times this viewer was moved forward because it was too slow.
    pub skipped: u32,
    /// Times that was because the path of a WebRTC viewer could not take the stream: it got no picture for a while.
    pub congested: u32,
    /// That is so now.
    pub is_congested: bool,
    pub tracks: Vec<TrackInfo>,
    pub ingest: IngestInfo,
    /// Of `/dialog/info` alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub diagnosis: Option<Diagnosis>,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TrackInfo {
    /// `video` or `audio`.
    pub kind: &'static str,
    #[schema(example = "H264")]
    pub codec: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub width: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub height: Option<u32>,
    /// Frames per second that the stream declares.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fps: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sample_rate: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channels: Option<u8>,
}

/// What came from the device, since it was opened or reset.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct IngestInfo {
    pub packets: u64,
    pub bytes: u64,
    pub lost: u64,
    pub reordered: u64,
    pub duplicate: u64,
    /// Packets of an SSRC that is not this stream's.
    pub foreign: u64,
    pub ps_errors: u64,
    pub frames: u64,
    pub key_frames: u64,
    /// Frames with packets missing in or just before them.
    pub damaged_frames: u64,
    /// Pictures held back because of that, until the next key frame.
    pub held_frames: u64,
    /// Times that the device's clock jumped.
    pub time_jumps: u64,
    /// Times that its packets began to come from another address.
    pub source_moves: u64,
    /// How much faster its clock runs than ours, in parts per million; left out until it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clock_drift_ppm: Option<i64>,
    /// Bits per second, of late.
    pub bit_rate: u64,
    /// Frames per second, of late.
    pub fps: f64,
}

/// This node as a streaming service.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Service {
    #[schema(example = "VTDU_gantry")]
    pub id: String,
    pub name: String,
    pub status: u8,
    pub software_version: &'static str,
    pub dialog_count: u32,
    pub stream_count: u32,
    /// To viewers, KB/s.
    pub used_up: u64,
    /// From devices, KB/s.
    pub used_down: u64,
    pub sent_bytes: u64,
    pub received_bytes: u64,
    pub tcp_port: u16,
    pub udp_candidates: Vec<String>,
    pub shards: Vec<Shard>,
}

/// One media thread.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Shard {
    pub shard: u8,
    pub rtp_port: u16,
    pub streams: u32,
    pub viewers: u32,
    pub sent_bytes: u64,
    pub received_bytes: u64,
    pub sent_bytes_per_s: u64,
    pub received_bytes_per_s: u64,
}

impl From<SessionView> for DialogInfo {
    fn from(view: SessionView) -> DialogInfo {
        let kind = kind_of(&view.key);
        let (puid, stream) = match &view.key {
            StreamKey::Live { device, channel }
            | StreamKey::Record {
                device, channel, ..
            } => (device.pu_id(), channel.to_string()),
            StreamKey::Named(name) => (String::new(), name.to_string()),
        };
        let playback = view.playing.as_ref().map(playback::Played::from);
        let end = view.playing.as_ref().and_then(|p| p.end.as_ref());
        let end = end.map(ToString::to_string);
        DialogInfo {
            dialog_id: view.session.to_string(),
            kind,
            playback,
            end,
            transport: view.kind.name(),
            puid,
            stream,
            index: view.index,
            media_dir: MEDIA_DIR_SENDS,
            userid: view.owner.user,
            peer: view.owner.peer.map_or_else(String::new, |p| p.to_string()),
            state: if view.closed_unix_s.is_some() {
                "closed"
            } else {
                state_of(view.stage)
            },
            stage: view.stage.name(),
            failure: view.failure.map(|failure| failure.to_string()),
            ended: view.ended,
            create_time: view.created_unix_s,
            close_time: view.closed_unix_s,
            first_frame_ms: view.first_frame_ms,
            sent_bytes: view.sent_bytes,
            skipped: view.skipped,
            congested: view.congested,
            is_congested: view.is_congested,
            tracks: view.tracks.iter().map(show_track).collect(),
            ingest: view.ingest.into(),
            diagnosis: None,
        }
    }
}

/// Kinds of dialogs (bvcsp 3.1), and `stream`, which is our own.
const KINDS: [&str; 5] = ["device", "playback", "stream", "conference", "push"];

fn kind_of(key: &StreamKey) -> &'static str {
    match key {
        StreamKey::Live { .. } => "device",
        StreamKey::Named(_) => "stream",
        StreamKey::Record { .. } => "playback",
    }
}

fn state_of(stage: Stage) -> &'static str {
    match stage {
        Stage::Inviting | Stage::Answered | Stage::Receiving | Stage::Parsed => "opening",
        Stage::Live => "connected",
        Stage::Closed => "closed",
    }
}

fn show_track(track: &Track) -> TrackInfo {
    let codec = track.codec.name();
    match &*track.params {
        Params::Video(video) => TrackInfo {
            kind: "video",
            codec,
            width: Some(video.width),
            height: Some(video.height),
            fps: video.fps_milli.map(|fps| f64::from(fps) / 1_000.0),
            sample_rate: None,
            channels: None,
        },
        Params::Audio(audio) => TrackInfo {
            kind: "audio",
            codec,
            width: None,
            height: None,
            fps: None,
            sample_rate: Some(audio.sample_rate),
            channels: Some(audio.channels),
        },
    }
}

impl From<IngestStats> for IngestInfo {
    fn from(stats: IngestStats) -> IngestInfo {
        IngestInfo {
            packets: stats.packets,
            bytes: stats.bytes,
            lost: stats.lost,
            reordered: stats.reordered,
            duplicate: stats.duplicate,
            foreign: stats.foreign,
            ps_errors: stats.ps_errors,
            frames: stats.frames,
            key_frames: stats.key_frames,
            damaged_frames: stats.path.damaged_frames,
            held_frames: stats.path.held_frames,
            time_jumps: stats.path.time_jumps,
            source_moves: stats.path.source_moves,
            clock_drift_ppm: stats.path.drift_ppm,
            bit_rate: stats.bits_per_s,
            fps: f64::from(stats.fps_milli) / 1_000.0,
        }
    }
}

impl From<MediaServiceView> for Shard {
    fn from(view: MediaServiceView) -> Shard {
        Shard {
            shard: view.shard,
            rtp_port: view.rtp_port,
            streams: view.streams,
            viewers: view.viewers,
            sent_bytes: view.sent_bytes,
            received_bytes: view.received_bytes,
            sent_bytes_per_s: view.sent_bytes_per_s,
            received_bytes_per_s: view.received_bytes_per_s,
        }
    }
}

/// Opens the live picture of a channel over WebRTC: offer in, answer out, nothing more to signal.
#[utoipa::path(post, path = "/bvcsp/v1/dialog/device/webrtc", operation_id = "openWebrtc", tag = "dialog", security(("token" = [])),
    request_body = OpenRequest,
    responses((status = 200, body = Answer<Dialog>, example = json!(
        {"code": 0, "msg": "success", "data": {"dialogid": "D1f", "sdp": "v=0\r\n…"}}))))]
pub async fn open_webrtc(
    State(state): State<ApiState>,
    caller: Caller,
    Body(request): Body<OpenRequest>,
) -> Result<Answer<Dialog>, Failure> {
    let target = Target::Channel {
        device: read_puid(&request.id)?,
        index: request.index,
    };
    let host = request.host.filter(|host| !host.is_empty());
    let (session, sdp) = view::open_webrtc(&state, target, caller.owner, request.sdp, host).await?;
    Ok(Answer::data(Dialog {
        dialogid: session.to_string(),
        sdp,
    }))
}

/// The vendor's own transport, which is not public: always code 8. Its player then stays with WebRTC.
#[utoipa::path(post, path = "/bvcsp/v1/dialog/device/bvrtc", operation_id = "openBvrtc", tag = "dialog", security(("token" = [])),
    request_body = OpenRequest,
    responses((status = 200, body = Done, description = "always code 8", example = json!({"code": 8, "msg": "bvrtc is not supported; use webrtc"}))))]
pub async fn open_bvrtc(_: Caller) -> Failure {
    Failure::new(Code::Unsupported, "bvrtc is not supported; use webrtc")
}

/// Ends a dialog. One that is gone already is a success.
#[utoipa::path(post, path = "/bvcsp/v1/dialog/close/{dialogid}", operation_id = "closeDialog", tag = "dialog", security(("token" = [])),
    params(("dialogid" = String, Path, example = "D1f")),
    responses((status = 200, body = Done, example = json!({"code": 0, "msg": "success"}))))]
pub async fn close(
    State(state): State<ApiState>,
    caller: Caller,
    Path(dialogid): Path<String>,
) -> Result<Done, Failure> {
    // An id that was never ours is as gone as one from before a restart.
    let Ok(session) = dialogid.parse::<SessionId>() else {
        return Ok(Done::new());
    };
    match find(&state, &caller, session).await {
        Ok(_) => {
            state.session.call(Command::Close { session }).await?;
            Ok(Done::new())
        }
        Err(failure) if failure.code == Code::NotFound => Ok(Done::new()),
        Err(failure) => Err(failure),
    }
}

/// By what dialogs are sorted.
const FIELDS: &[Field<SessionView>] = &[
    ("dialogid", |view| number(view.session.0)),
    ("transport", |view| view.kind.name().into()),
    ("puid", |view| {
        let place = view.key.place();
        Key::Text(place.map_or_else(String::new, |(device, _)| device.pu_id()))
    }),
    ("stream", |view| Key::Text(view.key.to_string())),
    ("index", |view| Key::Number(view.index.into())),
    ("userid", |view| view.owner.user.as_str().into()),
    ("peer", |view| {
        Key::Text(view.owner.peer.map_or_else(String::new, |p| p.to_string()))
    }),
    ("stage", |view| view.stage.name().into()),
    ("createTime", |view| Key::Number(view.created_unix_s)),
    ("closeTime", |view| {
        Key::Number(view.closed_unix_s.unwrap_or(i64::MAX))
    }),
    ("firstFrameMs", |view| {
        Key::Number(view.first_frame_ms.map_or(i64::MAX, i64::from))
    }),
    ("sentBytes", |view| number(view.sent_bytes)),
    ("skipped", |view| Key::Number(view.skipped.into())),
    ("congested", |view| Key::Number(view.congested.into())),
];

fn number(value: u64) -> Key {
    Key::Number(i64::try_from(value).unwrap_or(i64::MAX))
}

/// Open dialogs, oldest first, or the last that are over, newest first: an administrator sees all, others their own. They
/// live in memory with their statistics, so filter, order and page are not the database's here; `/log/dialog` is the same in
/// the store. `sort` is `dialogid`, `transport`, `puid`, `stream`, `index`, `userid`, `peer`, `stage`, `createTime`,
/// `closeTime`, `firstFrameMs`, `sentBytes`, `skipped` or `congested`.
#[utoipa::path(post, path = "/bvcsp/v1/dialog/list", operation_id = "listDialogs", tag = "dialog", security(("token" = [])),
    request_body(content = ListRequest<DialogFilter>, example = json!({"page": 0, "pageSize": 100, "sort": "-createTime"})),
    responses((status = 200, body = Answer<Vec<DialogInfo>>, example = json!({"code": 0, "msg": "success",
        "data": [], "pageInfo": {"page": 0, "pageSize": 100, "totalCount": 0}}))))]
pub async fn list(
    State(state): State<ApiState>,
    caller: Caller,
    Body(mut request): Body<ListRequest<DialogFilter>>,
) -> Result<Answer<Vec<DialogInfo>>, Failure> {
    let filter = request.take_filter();
    let which = if filter.closed {
        Command::ClosedSessions
    } else {
        Command::Sessions
    };
    let Reply::Sessions(mut sessions) = state.session.call(which).await? else {
        return Err(wrong_reply());
    };
    let device = match filter.puid.as_deref() {
        None | Some("") => None,
        Some(puid) => Some(read_puid(puid)?),
    };
    let differs = |wanted: &Option<String>, is: &str| {
        wanted
            .as_deref()
            .is_some_and(|wanted| !wanted.is_empty() && wanted != is)
    };
    let kind = filter.kind.as_deref().filter(|kind| !kind.is_empty());
    if kind.is_some_and(|kind| !KINDS.contains(&kind)) {
        let msg = format!("kind must be one of {}", KINDS.join(", "));
        return Err(Failure::new(Code::ErrorParam, msg));
    }
    // Every dialog is of this node.
    if differs(&filter.vtdu, &service_id(&state)) {
        sessions.clear();
    }
    sessions.retain(|view| {
        let of_device = |wanted| view.key.place().is_some_and(|(device, _)| device == wanted);
        sees(&caller, view)
            && device.is_none_or(of_device)
            && !differs(&filter.userid, &view.owner.user)
            && !differs(&filter.transport, view.kind.name())
            && kind.is_none_or(|kind| kind == kind_of(&view.key))
    });
    if !filter.closed {
        sessions.sort_by_key(|view| view.session);
    }
    request.cut(sessions, FIELDS, DialogInfo::from)
}

/// What a viewer says of itself when it asks for a diagnosis.
#[derive(Debug, Deserialize)]
pub struct InfoQuery {
    decodes: Option<String>,
}

/// One dialog with its stage, its failure if it failed, its statistics, and why there is a picture or none. Dialogs that
/// are over can be asked for as long as their record is kept (the last thousand).
#[utoipa::path(get, path = "/bvcsp/v1/dialog/info/{dialogid}", operation_id = "dialogInfo", tag = "dialog", security(("token" = [])),
    params(("dialogid" = String, Path, example = "D1f"), ("decodes" = Option<String>, Query,
        description = "picture codecs that the viewer can decode, such as h264,h265", example = "h264")),
    responses((status = 200, body = Answer<DialogInfo>, example = json!({"code": 2, "msg": "dialog not found"}))))]
pub async fn info(
    State(state): State<ApiState>,
    caller: Caller,
    Path(dialogid): Path<String>,
    InQuery(query): InQuery<InfoQuery>,
) -> Result<Answer<DialogInfo>, Failure> {
    let session = dialogid.parse::<SessionId>().map_err(|_| not_found())?;
    let view = find(&state, &caller, session).await?;
    let messages = match view.key.place() {
        Some((device, _)) => sip::of_device(&state, device).await?,
        None => Vec::new(),
    };
    let decodes = decodes_h265(query.decodes.as_deref());
    let diagnosis = Diagnosis::of(&view, &messages, decodes, &sip::wall_now());
    Ok(Answer::data(DialogInfo {
        diagnosis: Some(diagnosis),
        ..view.into()
    }))
}

async fn find(
    state: &ApiState,
    caller: &Caller,
    session: SessionId,
) -> Result<SessionView, Failure> {
    let Reply::Session(view) = state.session.call(Command::Session { session }).await? else {
        return Err(wrong_reply());
    };
    // Somebody else's dialog is not there.
    if sees(caller, &view) {
        Ok(*view)
    } else {
        Err(not_found())
    }
}

fn not_found() -> Failure {
    Failure::new(Code::NotFound, "dialog not found")
}

fn sees(caller: &Caller, view: &SessionView) -> bool {
    caller.login.admin || view.owner.user == *caller.login.user
}

/// Streaming services: this node, with its media threads.
#[utoipa::path(get, path = "/bvcsp/v1/dialog/vtdu/list", operation_id = "listServices", tag = "dialog", security(("token" = [])),
    responses((status = 200, body = Answer<Vec<Service>>, example = json!({"code": 0, "msg": "success", "data":
        [{"id": "VTDU_gantry", "name": "gantry", "status": 1, "softwareVersion": "0.1.0", "dialogCount": 0,
        "streamCount": 0, "usedUp": 0, "usedDown": 0, "sentBytes": 0, "receivedBytes": 0, "tcpPort": 9780,
        "udpCandidates": ["0.0.0.0:8189"], "shards": []}]}))))]
pub async fn services(
    State(state): State<ApiState>,
    _: Caller,
) -> Result<Answer<Vec<Service>>, Failure> {
    let Reply::MediaServices(shards) = state.session.call(Command::MediaServices).await? else {
        return Err(wrong_reply());
    };
    let sum = |field: fn(&MediaServiceView) -> u64| shards.iter().map(field).sum::<u64>();
    let config = &state.config;
    let webrtc_port = config.webrtc.listen.port();
    let mut udp_candidates = vec![config.webrtc.listen.to_string()];
    udp_candidates.extend(
        config
            .webrtc
            .advertised_ips
            .iter()
            .map(|ip| std::net::SocketAddr::new(*ip, webrtc_port).to_string()),
    );
    let service = Service {
        id: service_id(&state),
        name: config.node.name.clone(),
        status: 1,
        software_version: env!("CARGO_PKG_VERSION"),
        dialog_count: shards.iter().map(|s| s.viewers).sum(),
        stream_count: shards.iter().map(|s| s.streams).sum(),
        used_up: sum(|s| s.sent_bytes_per_s) / 1_000,
        used_down: sum(|s| s.received_bytes_per_s) / 1_000,
        sent_bytes: sum(|s| s.sent_bytes),
        received_bytes: sum(|s| s.received_bytes),
        tcp_port: config.http.listen.port(),
        udp_candidates,
        shards: shards.into_iter().map(Shard::from).collect(),
    };
    Ok(Answer::data(vec![service]))
}

fn service_id(state: &ApiState) -> String {
    format!("VTDU_{}", state.config.node.name)
}

/// Sets the cumulative counters to zero. Dialogs go on.
#[utoipa::path(post, path = "/bvcsp/v1/dialog/vtdu/reset/{vtduid}", operation_id = "resetService", tag = "dialog", security(("token" = [])),
    params(("vtduid" = String, Path, example = "VTDU_gantry")),
    responses((status = 200, body = Done, example = json!({"code": 0, "msg": "success"}))))]
pub async fn reset_service(
    State(state): State<ApiState>,
    caller: Caller,
    Path(vtduid): Path<String>,
) -> Result<Done, Failure> {
    if !caller.login.admin {
        return Err(Failure::new(
            Code::NoPermission,
            "an administrator is needed",
        ));
    }
    if vtduid != service_id(&state) {
        return Err(Failure::new(Code::NotFound, "streaming service not found"));
    }
    state.session.call(Command::ResetStatistics).await?;
    Ok(Done::new())
}
