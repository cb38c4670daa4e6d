//! `/live/{puid}/{index}.flv|.mp4` and `/live/{stream}.flv|.mp4`, over HTTP and WebSocket. `/playback/{dialogid}.flv|.mp4` and
//! `/playback/{puid}/{index}.flv|.mp4?begin=&end=&scale=` are the same for what was recorded.
//!
//! [`parse`] and [`authorise`] are for every server of these URLs; [`serve`] is the one for TLS and kept-alive connections,
//! where axum owns the socket. Query: `token`, and `audio` = `copy` (as the device sent it) or `none`.
//!
//! Bounds: the channel of [`crate::net::MediaHandle::add_channel`]; a viewer that does not take its bytes is moved forward
//! or given up by the media thread, which then ends the write that waits for it ([`Cutoff`]).

use std::convert::Infallible;
use std::net::SocketAddr;

use axum::body::Body;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{FromRequestParts, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream;
use tokio::sync::mpsc;

use crate::egress::{AudioPolicy, Form};
use crate::gb28181::mansrtsp::Scale;
use crate::gb28181::{Footage, Span};
use crate::id::{DeviceId, SessionId};
use crate::limits;
use crate::net::cutoff::Cutoff;
use crate::session::{Owner, Target, ViewKind};

use super::ApiState;
use super::auth::Auth;
use super::caller::{Peer, header_token, nobody, owner, query_value};
use super::playback;
use super::problem::Problem;
use super::view;

/// What a media URL asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveRequest {
    pub target: Target,
    pub form: Form,
    pub audio: AudioPolicy,
    /// From the query.
    pub token: Option<String>,
    /// At what speed a record is to be played, if not as it was recorded.
    pub scale: Option<Scale>,
}

/// Why a URL is no media URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LiveError {
    /// Not `/live/…` with `.flv` or `.mp4`.
    Path,
    Device,
    Index,
    Stream,
    Audio,
    Playback,
    Span,
    Scale,
}

impl LiveError {
    pub fn status(self) -> StatusCode {
        match self {
            LiveError::Path | LiveError::Playback => StatusCode::NOT_FOUND,
            LiveError::Device
            | LiveError::Index
            | LiveError::Stream
            | LiveError::Audio
            | LiveError::Span
            | LiveError::Scale => StatusCode::BAD_REQUEST,
        }
    }
}

impl std::fmt::Display for LiveError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            LiveError::Path => {
                "media URLs are /live/{puid}/{index} or /live/{stream}, with .flv or .mp4"
            }
            LiveError::Device => "the device is not PU_ and a code of 1 to 20 digits",
            LiveError::Index => "the index of the channel is not a number",
            LiveError::Stream => "a stream name is 1 to 64 of letters, digits, '.', '_' and '-'",
            LiveError::Playback => "playback not found",
            LiveError::Span => "begin and end are Unix seconds, the end later by a day at most",
            LiveError::Scale => "scale is 0.25 to 8, or -0.25 to -8",
            LiveError::Audio => "audio is \"copy\" or \"none\"",
        })
    }
}

impl std::error::Error for LiveError {}

impl From<LiveError> for Problem {
    fn from(error: LiveError) -> Problem {
        Problem::new(error.status(), error.to_string())
    }
}

impl LiveRequest {
    /// How it is watched, by whether the request asks for a WebSocket.
    pub fn kind(&self, websocket: bool) -> ViewKind {
        match (self.form, websocket) {
            (Form::Flv, false) => ViewKind::HttpFlv,
            (Form::Flv, true) => ViewKind::WsFlv,
            (Form::Fmp4, false) => ViewKind::HttpFmp4,
            (Form::Fmp4, true) => ViewKind::WsFmp4,
        }
    }
}

/// Reads path and query (without `?`) of a media URL.
pub fn parse(path: &str, query: &str) -> Result<LiveRequest, LiveError> {
    let (rest, recorded) = match path.strip_prefix("/live/") {
        Some(rest) => (rest, false),
        None => (
            path.strip_prefix("/playback/").ok_or(LiveError::Path)?,
            true,
        ),
    };
    let (name, form) = if let Some(name) = rest.strip_suffix(".flv") {
        (name, Form::Flv)
    } else if let Some(name) = rest.strip_suffix(".mp4") {
        (name, Form::Fmp4)
    } else {
        return Err(LiveError::Path);
    };
    let target = match name.split_once('/') {
        Some((device, index)) => {
            let device = DeviceId::from_pu_id(device).map_err(|_| LiveError::Device)?;
            let index = index.parse().map_err(|_| LiveError::Index)?;
            if recorded {
                let footage = Footage::Playback(read_span(query).ok_or(LiveError::Span)?);
                Target::Record {
                    device,
                    index,
                    footage,
                }
            } else {
                Target::Channel { device, index }
            }
        }
        None if recorded => Target::Playback(name.parse().map_err(|_| LiveError::Playback)?),
        None => Target::Named(name.parse().map_err(|_| LiveError::Stream)?),
    };
    let audio = match query_value(query, "audio").as_deref() {
        None | Some("") => AudioPolicy::Playable,
        Some("copy") => AudioPolicy::Copy,
        Some("none") => AudioPolicy::None,
        Some(_) => return Err(LiveError::Audio),
    };
    Ok(LiveRequest {
        target,
        form,
        audio,
        token: query_value(query, "token"),
        scale: match query_value(query, "scale").filter(|_| recorded) {
            None => None,
            Some(text) => {
                let times = text.parse().map_err(|_| LiveError::Scale)?;
                Some(Scale::new(times).ok_or(LiveError::Scale)?)
            }
        },
    })
}

fn read_span(query: &str) -> Option<Span> {
    let second = |key| query_value(query, key)?.parse::<u32>().ok();
    let span = Span::new(second("begin")?, second("end")?)?;
    (span.seconds() <= limits::RECORD_SPAN_S_MAX).then_some(span)
}

/// On whose behalf a media URL is opened. `header` is the value of `Authorization`, raw or `Bearer`. `None`: 401.
pub fn authorise(
    request: &LiveRequest,
    header: Option<&str>,
    auth: &Auth,
    open_media: bool,
    peer: Option<SocketAddr>,
) -> Option<Owner> {
    let login = header
        .or(request.token.as_deref())
        .and_then(|t| auth.check(t));
    match login {
        Some(login) => Some(owner(&login, peer)),
        None => open_media.then(|| nobody(peer)),
    }
}

/// A record of a channel, played back from its beginning or, by its `dialogid`, from where it is.
#[utoipa::path(get, path = "/playback/{path}", operation_id = "playback", tag = "media",
    params(("path" = String, Path, description = "{dialogid} or {puid}/{index}, and .flv or .mp4",
            example = "PU_34020000001110000001/0.mp4"),
        ("begin" = Option<u32>, Query, description = "Unix seconds, with {puid}/{index}"),
        ("end" = Option<u32>, Query, description = "Unix seconds, with {puid}/{index}"),
        ("scale" = Option<f64>, Query, description = "0.25 to 8; negative is backwards, where the device can"),
        ("token" = Option<String>, Query, description = "or Authorization"),
        ("audio" = Option<String>, Query, description = "copy = as the device sent it; none = no sound")),
    responses((status = 200, description = "FLV or fragmented MP4 up to the end of the record", body = Vec<u8>, content_type = "video/mp4"),
        (status = 101, description = "the same as binary WebSocket messages"),
        (status = 400, body = Problem), (status = 401, body = Problem),
        (status = 404, body = Problem, description = "there is none, or it is over"),
        (status = 409, body = Problem, description = "the device is offline"),
        (status = 424, body = Problem, description = "the device refused, or no answer, no RTP or no key frame; see stage"),
        (status = 429, body = Problem, description = "at a limit")))]
pub async fn serve_playback(State(state): State<ApiState>, request: Request) -> Response {
    match answer(&state, request).await {
        Ok(response) => response,
        Err(problem) => problem.into_response(),
    }
}

/// The live stream of a channel or of a named source, until either side ends it.
#[utoipa::path(get, path = "/live/{path}", operation_id = "live", tag = "media",
    params(("path" = String, Path, description = "{puid}/{index} or {stream}, and .flv or .mp4",
            example = "PU_34020000001110000001/0.flv"),
        ("token" = Option<String>, Query, description = "or Authorization"),
        ("audio" = Option<String>, Query, description = "copy = as the device sent it; none = no sound")),
    responses((status = 200, description = "FLV or fragmented MP4 without end", body = Vec<u8>, content_type = "video/x-flv"),
        (status = 101, description = "the same as binary WebSocket messages"),
        (status = 401, body = Problem), (status = 404, body = Problem),
        (status = 409, body = Problem, description = "the device is offline"),
        (status = 424, body = Problem, description = "the device refused, or no answer, no RTP or no key frame; see stage"),
        (status = 429, body = Problem, description = "at a limit")))]
pub async fn serve(State(state): State<ApiState>, request: Request) -> Response {
    match answer(&state, request).await {
        Ok(response) => response,
        Err(problem) => problem.into_response(),
    }
}

async fn answer(state: &ApiState, request: Request) -> Result<Response, Problem> {
    let wanted = parse(
        request.uri().path(),
        request.uri().query().unwrap_or_default(),
    )?;
    if request.method() != Method::GET && request.method() != Method::HEAD {
        return Err(Problem::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "GET is needed",
        ));
    }
    let (mut parts, _) = request.into_parts();
    let Ok(Peer(peer)) = Peer::from_request_parts(&mut parts, state).await;
    let cutoff = parts.extensions.get::<Cutoff>().cloned();
    let token = header_token(&parts.headers);
    let owner = authorise(
        &wanted,
        token,
        &state.auth,
        state.config.http.open_media,
        peer,
    )
    .ok_or_else(Problem::unauthorised)?;
    if parts.method == Method::HEAD {
        return Ok(stream_head(wanted.form, Body::empty()));
    }
    if !is_upgrade(&parts.headers) {
        let kind = wanted.kind(false);
        let (session, bytes) =
            view::open_channel(state, wanted.target, owner, kind, wanted.audio, cutoff).await?;
        go_at(state, session, wanted.scale).await?;
        return Ok(stream_head(wanted.form, body(bytes)));
    }
    let upgrade = WebSocketUpgrade::from_request_parts(&mut parts, state)
        .await
        .map_err(|e| Problem::new(StatusCode::BAD_REQUEST, e.body_text()))?;
    let kind = wanted.kind(true);
    let (session, bytes) =
        view::open_channel(state, wanted.target, owner, kind, wanted.audio, cutoff).await?;
    go_at(state, session, wanted.scale).await?;
    Ok(upgrade.on_upgrade(move |socket| pump(socket, bytes)))
}

async fn go_at(state: &ApiState, session: SessionId, scale: Option<Scale>) -> Result<(), Problem> {
    if let Some(scale) = scale {
        playback::begin_at(state, session, scale).await?;
    }
    Ok(())
}

fn is_upgrade(headers: &HeaderMap) -> bool {
    headers
        .get(header::UPGRADE)
        .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"))
}

fn stream_head(form: Form, body: Body) -> Response {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    let content_type = HeaderValue::from_static(form.mime());
    headers.insert(header::CONTENT_TYPE, content_type);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn body(mut bytes: mpsc::Receiver<Bytes>) -> Body {
    Body::from_stream(stream::poll_fn(move |context| {
        bytes
            .poll_recv(context)
            .map(|piece| piece.map(Ok::<_, Infallible>))
    }))
}

/// Each piece is one message. What the client says is read only to see it leave.
async fn pump(mut socket: WebSocket, mut bytes: mpsc::Receiver<Bytes>) {
    loop {
        tokio::select! {
            piece = bytes.recv() => {
                let Some(piece) = piece else {
                    let _ = socket.send(Message::Close(None)).await;
                    return;
                };
                if socket.send(Message::Binary(piece)).await.is_err() {
                    return;
                }
            }
            uplink = socket.recv() => match uplink {
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(device: &str, index: u32) -> Target {
        Target::Channel {
            device: DeviceId::from_pu_id(device).expect("a code"),
            index,
        }
    }

    #[test]
    fn channels_and_names_are_read() {
        let id = "PU_34020000001110000001";
        let request = parse(&format!("/live/{id}/3.flv"), "token=abc&audio=copy").expect("a URL");
        assert_eq!(request.target, target(id, 3));
        assert_eq!(request.form, Form::Flv);
        assert_eq!(request.audio, AudioPolicy::Copy);
        assert_eq!(request.token.as_deref(), Some("abc"));
        assert_eq!(request.kind(true), ViewKind::WsFlv);

        let request = parse("/live/34020000001110000001/0.mp4", "audio=none").expect("a URL");
        assert_eq!(request.target, target(id, 0));
        assert_eq!(request.audio, AudioPolicy::None);
        assert_eq!(request.kind(false), ViewKind::HttpFmp4);

        let request = parse("/live/my.cam-1.mp4", "").expect("a URL");
        assert_eq!(
            request.target,
            Target::Named("my.cam-1".parse().expect("a name"))
        );
        assert_eq!(request.audio, AudioPolicy::Playable);
        assert_eq!(request.token, None);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (path, query, error) in [
            ("/live/a", "", LiveError::Path),
            ("/live/a.ts", "", LiveError::Path),
            ("/lives/a.flv", "", LiveError::Path),
            ("/live/.flv", "", LiveError::Stream),
            ("/live/a%20b.flv", "", LiveError::Stream),
            ("/live/PU_x/0.flv", "", LiveError::Device),
            ("/live/PU_1/x.flv", "", LiveError::Index),
            ("/live/PU_1/-1.flv", "", LiveError::Index),
            ("/live/PU_1/0/1.flv", "", LiveError::Index),
            ("/live/a.flv", "audio=loud", LiveError::Audio),
            ("/playback/x.flv", "", LiveError::Playback),
            ("/playback/PU_1/0.flv", "begin=5", LiveError::Span),
            ("/playback/PU_1/0.flv", "begin=5&end=5", LiveError::Span),
            (
                "/playback/PU_1/0.flv",
                "begin=5&end=9&scale=99",
                LiveError::Scale,
            ),
        ] {
            assert_eq!(parse(path, query), Err(error), "{path}?{query}");
        }
    }
}
