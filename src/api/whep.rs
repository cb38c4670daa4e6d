//! WHEP: a browser or player takes a stream by posting an SDP offer (draft-ietf-wish-whep).
//!
//! `POST /whep/{puid}/{index}` or `/whep/{stream}` answers 201 with the SDP and a `Location`; `DELETE` on that ends it;
//! `PATCH` with trickled candidates is taken and needs nothing done, as the answer has all candidates and checks from any
//! address are accepted; with `If-Match: *` and new credentials it restarts ICE (RFC 9725, 4.3.3). The `Location` carries a key, so that a client which put its token into the first URL can end its session.
//!
//! The entity tag is our ICE user fragment. Not done: refusing candidates of an ICE session that is over (they change
//! nothing), server-sent events.

use axum::Extension;
use axum::body::Bytes;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::egress::webrtc::fragment::Restart;
use crate::id::{DeviceId, SessionId};
use crate::session::{Command, Owner, Reply, Target};

use super::ApiState;
use super::audit::Changed;
use super::caller::{Viewer, header_token, query_value};
use super::problem::Problem;
use super::view;

const SDP: &str = "application/sdp";
const FRAGMENT: &str = "application/trickle-ice-sdpfrag";

/// Watches a channel.
#[utoipa::path(post, path = "/whep/{puid}/{index}", operation_id = "whepChannel", tag = "media", security(("token" = [])),
    params(("puid" = String, Path, example = "PU_34020000001110000001"), ("index" = u32, Path, example = 0),
        ("token" = Option<String>, Query, description = "or Authorization")),
    request_body(content = String, content_type = "application/sdp", description = "the offer", example = "v=0\r\n…"),
    responses((status = 201, body = String, content_type = "application/sdp", description = "the answer, with all candidates",
            headers(("Location" = String, description = "DELETE it to stop"))),
        (status = 400, body = Problem), (status = 401, body = Problem), (status = 404, body = Problem),
        (status = 409, body = Problem, description = "the device is offline"),
        (status = 415, body = Problem, description = "the body is not application/sdp"),
        (status = 424, body = Problem, description = "the device refused, or no answer, no RTP or no key frame; see stage"),
        (status = 429, body = Problem, description = "at a limit")))]
pub async fn open_channel(
    State(state): State<ApiState>,
    Viewer(owner): Viewer,
    Path((puid, index)): Path<(String, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let device = DeviceId::from_pu_id(&puid).map_err(|e| bad(e.to_string()))?;
    let index = index
        .parse()
        .map_err(|_| bad("the index of the channel is not a number"))?;
    let target = Target::Channel { device, index };
    open(&state, owner, target, &headers, &body).await
}

/// Watches a source opened by name.
#[utoipa::path(post, path = "/whep/{stream}", operation_id = "whepStream", tag = "media", security(("token" = [])),
    params(("stream" = String, Path, example = "cam1"), ("token" = Option<String>, Query, description = "or Authorization")),
    request_body(content = String, content_type = "application/sdp", description = "the offer", example = "v=0\r\n…"),
    responses((status = 201, body = String, content_type = "application/sdp", description = "the answer, with all candidates",
            headers(("Location" = String, description = "DELETE it to stop"))),
        (status = 401, body = Problem), (status = 404, body = Problem)))]
pub async fn open_named(
    State(state): State<ApiState>,
    Viewer(owner): Viewer,
    Path(stream): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let name = stream
        .parse()
        .map_err(|e: crate::id::NotAStreamName| bad(e.to_string()))?;
    open(&state, owner, Target::Named(name), &headers, &body).await
}

/// Watches a record that is played back, opened by `/gantry/v1/playback` or `/dialog/playback`.
#[utoipa::path(post, path = "/whep/playback/{dialogid}", operation_id = "whepPlayback", tag = "media", security(("token" = [])),
    params(("dialogid" = String, Path, example = "D1f"), ("token" = Option<String>, Query, description = "or Authorization")),
    request_body(content = String, content_type = "application/sdp", description = "the offer", example = "v=0\r\n…"),
    responses((status = 201, body = String, content_type = "application/sdp", description = "the answer, with all candidates",
            headers(("Location" = String, description = "DELETE it to stop"))),
        (status = 400, body = Problem), (status = 401, body = Problem),
        (status = 404, body = Problem, description = "there is none, or it is over"),
        (status = 409, body = Problem),
        (status = 415, body = Problem, description = "the body is not application/sdp")))]
pub async fn open_playback(
    State(state): State<ApiState>,
    Viewer(owner): Viewer,
    Path(dialogid): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let play = dialogid
        .parse()
        .map_err(|_| Problem::new(StatusCode::NOT_FOUND, "playback not found"))?;
    open(&state, owner, Target::Playback(play), &headers, &body).await
}

async fn open(
    state: &ApiState,
    owner: Owner,
    target: Target,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Response, Problem> {
    let content_type = headers.get(header::CONTENT_TYPE);
    let content_type = content_type.and_then(|value| value.to_str().ok());
    let content_type = content_type.unwrap_or_default().split(';').next();
    if !content_type
        .unwrap_or_default()
        .trim()
        .eq_ignore_ascii_case(SDP)
    {
        return Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "the body must be application/sdp",
        ));
    }
    let offer = std::str::from_utf8(body).map_err(|_| bad("the offer is not UTF-8"))?;
    let host = headers
        .get(header::HOST)
        .and_then(|value| value.to_str().ok());
    let host = host.map(str::to_owned);
    let (session, answer) = view::open_webrtc(state, target, owner, offer.to_owned(), host).await?;
    let id = session.to_string();
    let location = format!("/whep/dialog/{id}?key={}", state.auth.capability(&id));
    let headers = [
        (header::CONTENT_TYPE, SDP.to_owned()),
        (header::LOCATION, location),
        (header::ETAG, entity_tag(&answer)),
    ];
    Ok((StatusCode::CREATED, headers, answer).into_response())
}

/// Stops watching. A session that is gone already is a success.
#[utoipa::path(delete, path = "/whep/dialog/{dialogid}", operation_id = "whepClose", tag = "media", security(("token" = [])),
    params(("dialogid" = String, Path, example = "D1f"),
        ("key" = Option<String>, Query, description = "as in Location; or a token of the owner")),
    responses((status = 200, description = "ended"), (status = 401, body = Problem), (status = 404, body = Problem)))]
pub async fn close(
    State(state): State<ApiState>,
    Path(dialogid): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let (session, changed) = allowed(&state, &dialogid, query.as_deref(), &headers).await?;
    state.session.call(Command::Close { session }).await?;
    Ok((Extension(changed), StatusCode::OK).into_response())
}

/// Takes trickled candidates, of which none is needed, and restarts ICE.
#[utoipa::path(patch, path = "/whep/dialog/{dialogid}", operation_id = "whepTrickle", tag = "media", security(("token" = [])),
    params(("dialogid" = String, Path, example = "D1f"),
        ("key" = Option<String>, Query, description = "as in Location; or a token of the owner"),
        ("If-Match" = Option<String>, Header, description = "* with new credentials restarts ICE")),
    request_body(content = String, content_type = "application/trickle-ice-sdpfrag", example = "a=ice-ufrag:…\r\n"),
    responses((status = 200, body = String, content_type = "application/trickle-ice-sdpfrag",
            description = "ICE is restarted; the old credentials hold until a check has shown the new ones"),
        (status = 204, description = "taken"), (status = 401, body = Problem), (status = 404, body = Problem)))]
pub async fn trickle(
    State(state): State<ApiState>,
    Path(dialogid): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let (session, changed) = allowed(&state, &dialogid, query.as_deref(), &headers).await?;
    let named = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let is_restart = named(header::IF_MATCH).is_some_and(|tag| tag.trim() == "*");
    let restart = std::str::from_utf8(&body).ok().and_then(Restart::parse);
    let Some(restart) = restart.filter(|_| is_restart) else {
        return Ok((Extension(changed), StatusCode::NO_CONTENT).into_response());
    };
    let host = named(header::HOST).map(str::to_owned);
    let answer = state.media.restart_ice(session, restart, host).await;
    let answer =
        answer.ok_or_else(|| Problem::new(StatusCode::NOT_FOUND, "the dialog has no viewer"))?;
    let headers = [
        (header::CONTENT_TYPE, FRAGMENT.to_owned()),
        (header::ETAG, entity_tag(&answer)),
    ];
    Ok((StatusCode::OK, Extension(changed), headers, answer).into_response())
}

/// Names the ICE session of an answer.
fn entity_tag(answer: &str) -> String {
    let ufrag = answer.lines().find_map(|l| l.strip_prefix("a=ice-ufrag:"));
    format!("\"{}\"", ufrag.unwrap_or_default())
}

/// The session of a resource, if the caller was given its key, owns it, or is an administrator; with who is to be written
/// down for what is done with it.
async fn allowed(
    state: &ApiState,
    dialogid: &str,
    query: Option<&str>,
    headers: &HeaderMap,
) -> Result<(SessionId, Changed), Problem> {
    let session = dialogid
        .parse::<SessionId>()
        .map_err(|_| Problem::new(StatusCode::NOT_FOUND, "dialog not found"))?;
    let query = query.unwrap_or_default();
    let key = query_value(query, "key");
    // Over the canonical form: leading zeros and letter case name the same session.
    if key.is_some_and(|key| state.auth.has_capability(&session.to_string(), &key)) {
        // Who has the key acts for whom it was given to. A session that is gone has nobody, and nothing to be changed.
        let found = state.session.call(Command::Session { session }).await;
        let user = match found {
            Ok(Reply::Session(view)) => view.owner.user,
            Ok(_) | Err(_) => String::new(),
        };
        return Ok((session, Changed { user }));
    }
    let token = header_token(headers).map(str::to_owned);
    let token = token.or_else(|| query_value(query, "token"));
    let login = token
        .and_then(|token| state.auth.check(&token))
        .ok_or_else(Problem::unauthorised)?;
    let user = login.user.to_string();
    if login.admin {
        return Ok((session, Changed { user }));
    }
    let Reply::Session(view) = state.session.call(Command::Session { session }).await? else {
        return Err(Problem::wrong_reply());
    };
    if view.owner.user == *login.user {
        Ok((session, Changed { user }))
    } else {
        Err(Problem::new(StatusCode::NOT_FOUND, "dialog not found"))
    }
}

fn bad(detail: impl Into<String>) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, detail)
}
