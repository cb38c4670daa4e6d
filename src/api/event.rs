//! `/ws/event/onlinestatus`: devices that come and go, as WebSocket messages (bvcsp 1.3, 3.6).
//!
//! Downlink: JSON text, one event a message, nothing older than the upgrade. Uplink: ignored whatever it is; it keeps the
//! socket open. A token offered as subprotocol is echoed, or browsers drop the connection.
//!
//! Bounds: [`limits::EVENT_SOCKET_IDLE_S_MAX`]; the facade's event queue and [`limits::EVENT_SOCKET_SEND_S_MAX`], both
//! closed with 1013.

use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::extract::State;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use axum::http::header::SEC_WEBSOCKET_PROTOCOL;
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use tokio::sync::broadcast;
use tokio::time::{Instant, timeout, timeout_at};

use crate::limits;
use crate::session::{DeviceView, Event};

use super::ApiState;
use super::auth::{Auth, unix_s};
use super::caller::{Caller, header_token, query_value};
use super::device::{Network, PuInfo, network, show};
use super::envelope::{Code, Failure};
use super::login::UserInfo;

/// A device came or went.
#[derive(Debug, Serialize)]
struct StatusMessage {
    /// `PU`: a device without a user of its own.
    r#type: &'static str,
    time: u64,
    status: u8,
    network: Network,
    user: UserInfo,
    device: PuInfo,
}

/// Somebody with a valid token, which may also be a subprotocol.
pub struct SocketCaller {
    /// To be echoed.
    protocol: Option<String>,
    token: String,
}

impl FromRequestParts<ApiState> for SocketCaller {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, Response> {
        if let Some(token) = protocol_token(&parts.headers, &state.auth) {
            return Ok(SocketCaller {
                protocol: Some(token.clone()),
                token,
            });
        }
        match Caller::from_request_parts(parts, state).await {
            Ok(_) => {
                let query = parts.uri.query().unwrap_or_default();
                let token = header_token(&parts.headers).map(str::to_owned);
                let token = token.or_else(|| query_value(query, "token"));
                Ok(SocketCaller {
                    protocol: None,
                    token: token.unwrap_or_default(),
                })
            }
            // No upgrade; a status says so even to clients that do not read the body.
            Err(failure) => Err((StatusCode::UNAUTHORIZED, failure).into_response()),
        }
    }
}

/// The first offered subprotocol that is a valid token.
fn protocol_token(headers: &HeaderMap, auth: &Auth) -> Option<String> {
    headers
        .get_all(SEC_WEBSOCKET_PROTOCOL)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .find(|token| auth.check(token).is_some())
        .map(str::to_owned)
}

/// Upgrades to a WebSocket of online_status messages. It is closed after a minute without a message from the client, and
/// when the login ends.
#[utoipa::path(get, path = "/bvcsp/v1/ws/event/onlinestatus", operation_id = "onlineStatusEvents", tag = "event", security(("token" = [])),
    params(("token" = Option<String>, Query, description = "or as Sec-WebSocket-Protocol, or Authorization")),
    responses((status = 101, description = "online_status messages follow"),
        (status = 401, description = "bad token: no upgrade")))]
pub async fn online_status(
    State(state): State<ApiState>,
    caller: SocketCaller,
    upgrade: Result<WebSocketUpgrade, axum::extract::ws::rejection::WebSocketUpgradeRejection>,
) -> Response {
    let upgrade = match upgrade {
        Ok(upgrade) => upgrade,
        Err(_) => {
            return Failure::new(Code::ErrorParam, "a WebSocket upgrade is needed").into_response();
        }
    };
    // Subscribed before the upgrade is answered: a client that lists devices after it misses nothing.
    let events = state.session.events();
    let upgrade = upgrade.max_message_size(limits::EVENT_SOCKET_MESSAGE_BYTES_MAX);
    let upgrade = match caller.protocol {
        Some(protocol) => upgrade.protocols([protocol]),
        None => upgrade,
    };
    upgrade.on_upgrade(move |socket| serve(socket, events, state, caller.token))
}

async fn serve(
    mut socket: WebSocket,
    mut events: broadcast::Receiver<Event>,
    state: ApiState,
    token: String,
) {
    let mut last_uplink = Instant::now();
    loop {
        let idle_end = last_uplink + state.event_idle;
        let step = tokio::select! {
            biased;
            uplink = timeout_at(idle_end, socket.recv()) => Step::Uplink(uplink.ok()),
            event = events.recv() => Step::Event(event),
        };
        if state.auth.check(&token).is_none() {
            return close(socket, close_code::POLICY, "the login has ended").await;
        }
        match step {
            Step::Event(Ok(event)) => {
                let Some(text) = message(event, &state) else {
                    continue;
                };
                let limit = Duration::from_secs(limits::EVENT_SOCKET_SEND_S_MAX);
                match timeout(limit, socket.send(Message::text(text))).await {
                    Ok(Ok(())) => {}
                    Ok(Err(_)) => return,
                    Err(_) => return close(socket, close_code::AGAIN, "too slow").await,
                }
            }
            Step::Event(Err(broadcast::error::RecvError::Lagged(_))) => {
                return close(socket, close_code::AGAIN, "too slow").await;
            }
            Step::Event(Err(broadcast::error::RecvError::Closed)) => {
                return close(socket, close_code::AWAY, "the node is shutting down").await;
            }
            Step::Uplink(Some(Some(Ok(_)))) => last_uplink = Instant::now(),
            Step::Uplink(Some(Some(Err(_)) | None)) => return,
            Step::Uplink(None) => {
                return close(socket, close_code::NORMAL, "a minute without traffic").await;
            }
        }
    }
}

enum Step {
    Event(Result<Event, broadcast::error::RecvError>),
    /// The outer `None`: nothing came in time.
    Uplink(Option<Option<Result<Message, axum::Error>>>),
}

async fn close(mut socket: WebSocket, code: u16, reason: &'static str) {
    let frame = CloseFrame {
        code,
        reason: reason.into(),
    };
    let limit = Duration::from_secs(limits::EVENT_SOCKET_SEND_S_MAX);
    let _ = timeout(limit, socket.send(Message::Close(Some(frame)))).await;
}

/// The text of an event, if subscribers of this channel want it.
fn message(event: Event, state: &ApiState) -> Option<String> {
    let (status, view) = match event {
        Event::DeviceOnline { device } => (1, device),
        Event::DeviceOffline { device } => (0, device),
        Event::DeviceChanged { .. } | Event::SessionClosed { .. } => return None,
    };
    serde_json::to_string(&status_message(status, view, state)).ok()
}

fn status_message(status: u8, view: DeviceView, state: &ApiState) -> StatusMessage {
    StatusMessage {
        r#type: "PU",
        time: unix_s(),
        status,
        network: network(&view, state.config.sip.listen),
        user: UserInfo::default(),
        device: show(view, true),
    }
}
