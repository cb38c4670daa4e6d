//! REST and WebSocket: the bvcsp calls, WHEP, media URLs, sources without SIP, and what operators look at.
//!
//! Every call becomes one [`session::Command`](crate::session::Command); nothing here keeps state but logins. Under
//! `/bvcsp/v1` every answer is HTTP 200 with an envelope (`envelope.rs`); elsewhere HTTP statuses speak, with a problem
//! document (RFC 9457) as the body.
//!
//! The server that calls [`router`] puts `axum::extract::ConnectInfo<SocketAddr>` into each request's extensions.
//!
//! Not done: rights below `admin` beyond "own dialogs only"; rate limits of calls other than login.
//!
//! Bounds: [`limits::API_BODY_BYTES_MAX`], [`limits::API_PAGE_ITEMS_MAX`].

pub mod auth;
mod caller;
pub(crate) mod certificate;
mod control;
mod device;
mod device_auth;
mod diagnosis;
mod dialog;
mod envelope;
mod event;
mod gimbal;
mod handshake;
mod ingest;
pub mod live;
mod login;
mod observe;
mod openapi;
mod policy;
pub(crate) mod problem;
mod sip;
mod view;
mod whep;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::http::{HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::Response;
use axum::routing::{any, get, post, put};
use tower_http::cors::{AllowHeaders, AllowOrigin, Any, CorsLayer};

use crate::config::Config;
use crate::limits;
use crate::metrics::Metrics;
use crate::net::MediaHandle;
use crate::session::shell::Handle;
use crate::store::Store;

use auth::Auth;

pub use openapi::document as openapi_document;

/// What every route works with. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ApiState {
    pub session: Handle,
    pub media: MediaHandle,
    pub store: Store,
    pub auth: Auth,
    pub metrics: Arc<Metrics>,
    pub config: Arc<Config>,
    pub certificates: certificate::Certificates,
    /// How long an event WebSocket may stay silent.
    pub event_idle: Duration,
}

impl ApiState {
    pub fn new(
        session: Handle,
        media: MediaHandle,
        store: Store,
        auth: Auth,
        metrics: Arc<Metrics>,
        config: Arc<Config>,
    ) -> ApiState {
        ApiState {
            session,
            media,
            store,
            auth,
            metrics,
            config,
            certificates: certificate::Certificates::default(),
            event_idle: Duration::from_secs(limits::EVENT_SOCKET_IDLE_S_MAX),
        }
    }
}

/// Seconds that a browser may remember the answer to a preflight.
const PREFLIGHT_AGE: Duration = Duration::from_secs(3_600);

/// All routes of the API. The web page is merged by the caller.
pub fn router(state: ApiState) -> Router {
    let cors = cors(&state.config);
    Router::new()
        .nest("/bvcsp/v1", bvcsp())
        .route("/whep/{stream}", post(whep::open_named))
        .route("/whep/{puid}/{index}", post(whep::open_channel))
        // "dialog" is no device's id, so this path is free.
        .route(
            "/whep/dialog/{dialogid}",
            axum::routing::delete(whep::close).patch(whep::trickle),
        )
        .route("/live/{*path}", any(live::serve))
        .route("/gantry/v1/ptz/{puid}/{index}", get(control::position))
        .route(
            "/gantry/v1/device/control/{puid}/{index}",
            post(control::control),
        )
        .route(
            "/gantry/v1/device/query/{puid}/{index}",
            post(control::query),
        )
        .route(
            "/gantry/v1/device/settings/{puid}/{index}",
            put(control::set),
        )
        .route("/gantry/v1/ingest", post(ingest::open))
        .route(
            "/gantry/v1/devices/{puid}/policy",
            get(policy::show).put(policy::set),
        )
        .route(
            "/gantry/v1/ingest/{stream}",
            axum::routing::delete(ingest::close),
        )
        .route(
            "/gantry/v1/devices/{puid}/auth",
            axum::routing::put(device_auth::set),
        )
        .route("/gantry/v1/devices/{puid}/sip", get(sip::list))
        .route("/gantry/v1/devices/{puid}/sip.pcap", get(sip::download))
        .route("/gantry/v1/sip/handshakes", get(handshake::failed))
        .route("/gantry/v1/certificates/crl", get(certificate::revocations))
        .route("/healthz", get(observe::health))
        .route("/metrics", get(observe::metrics))
        .route("/openapi.json", get(openapi::serve))
        .layer(DefaultBodyLimit::max(limits::API_BODY_BYTES_MAX))
        .layer(cors)
        .layer(axum::middleware::from_fn(accept_post))
        .with_state(state)
}

fn certificates() -> Router<ApiState> {
    use certificate as c;
    Router::new()
        .route("/cert/server/csr", post(c::create_server))
        .route("/cert/server/list", post(c::list_servers))
        .route("/cert/server/info/{certid}", get(c::server))
        .route(
            "/cert/server/{certid}",
            put(c::change_server).delete(c::delete_server),
        )
        .route("/cert/server/selfsign/{certid}", post(c::self_sign))
        .route("/cert/device/csr", post(c::create_request))
        .route("/cert/device/csr/list", post(c::list_requests))
        .route("/cert/device/csr/info/{csrid}", get(c::request))
        .route(
            "/cert/device/csr/{csrid}",
            put(c::change_request).delete(c::delete_request),
        )
        .route("/cert/device/issue/{csrid}", post(c::issue))
        .route("/gmdevice/create", post(c::create_device))
        .route("/gmdevice/list", post(c::list_devices))
        .route("/gmdevice/info/{id}", get(c::device))
        .route(
            "/gmdevice/{id}",
            put(c::change_device).delete(c::delete_device),
        )
}

fn bvcsp() -> Router<ApiState> {
    Router::new()
        .route("/auth/login", post(login::login))
        .route("/auth/logout", post(login::logout))
        .route("/auth/refresh", post(login::refresh))
        .route("/auth/info", get(login::info))
        .route("/pu/list", post(device::list))
        .route("/pu/info/{puid}", get(device::info))
        .route("/pu/onlinestatus/{puid}", get(device::online_status))
        .merge(gimbal())
        .nest("/28181in", certificates())
        .route(
            "/pu/record/start/{puid}/{index}",
            post(control::start_record),
        )
        .route("/pu/record/stop/{puid}/{index}", post(control::stop_record))
        .route("/pu/reboot/{puid}", post(control::reboot))
        .route("/pu/gpsdata/{puid}", get(control::gps))
        .route(
            "/pu/storage/format/{puid}/{index}",
            post(control::format).get(control::format_progress),
        )
        .route("/dialog/device/webrtc", post(dialog::open_webrtc))
        .route("/dialog/device/bvrtc", post(dialog::open_bvrtc))
        .route("/dialog/close/{dialogid}", post(dialog::close))
        .route("/dialog/list", post(dialog::list))
        .route("/dialog/info/{dialogid}", get(dialog::info))
        .route("/dialog/vtdu/list", get(dialog::services))
        .route("/dialog/vtdu/reset/{vtduid}", post(dialog::reset_service))
        .route("/ws/event/onlinestatus", get(event::online_status))
        .route("/ws/event/onlinestatus/", get(event::online_status))
        .route("/ws/event/alarm", get(event::alarm))
        .route("/ws/gpsdata", get(event::gps))
        .fallback(envelope::unknown_call)
        .method_not_allowed_fallback(envelope::unknown_call)
}

fn gimbal() -> Router<ApiState> {
    Router::new()
        .route("/pu/ptz/camera/{puid}/{index}", post(gimbal::camera))
        .route(
            "/pu/ptz/preset/list/{puid}/{index}",
            get(gimbal::list_presets),
        )
        .route("/pu/ptz/preset/{puid}/{index}", post(gimbal::add_preset))
        .route(
            "/pu/ptz/preset/{puid}/{index}/{id}",
            put(gimbal::change_preset).delete(gimbal::delete_preset),
        )
        .route(
            "/pu/ptz/preset/go/{puid}/{index}/{id}",
            put(gimbal::go_to_preset),
        )
        .route(
            "/pu/ptz/cruise/list/{puid}/{index}",
            get(gimbal::list_cruises),
        )
        .route("/pu/ptz/cruise/{puid}/{index}", post(gimbal::add_cruise))
        .route(
            "/pu/ptz/cruise/start/{puid}/{index}/{id}",
            put(gimbal::start_cruise),
        )
        .route(
            "/pu/ptz/cruise/stop/{puid}/{index}/{id}",
            put(gimbal::stop_cruise),
        )
        .route(
            "/pu/ptz/cruise/{puid}/{index}/{id}",
            axum::routing::delete(gimbal::delete_cruise),
        )
}

/// The vendor's player calls from other origins with `authorization` and `content-type` (bvcsp 3.1.1). Cookies are not
/// allowed across origins, so any origin may be.
fn cors(config: &Config) -> CorsLayer {
    let origins = &config.http.cors_origins;
    let origin = if origins.iter().any(|origin| origin == "*") {
        AllowOrigin::from(Any)
    } else {
        let listed = origins.iter().filter_map(|o| HeaderValue::from_str(o).ok());
        AllowOrigin::list(listed)
    };
    CorsLayer::new()
        .allow_origin(origin)
        .allow_methods([
            Method::GET,
            Method::POST,
            Method::PUT,
            Method::PATCH,
            Method::DELETE,
        ])
        .allow_headers(AllowHeaders::mirror_request())
        .expose_headers([header::LOCATION, header::RETRY_AFTER])
        .max_age(PREFLIGHT_AGE)
}

/// A WHEP endpoint says on OPTIONS what it takes (draft-ietf-wish-whep, 4.2). Outside the CORS layer, which answers
/// OPTIONS itself.
async fn accept_post(request: Request, next: Next) -> Response {
    let whep = request.method() == Method::OPTIONS && request.uri().path().starts_with("/whep/");
    let mut response = next.run(request).await;
    if whep {
        let value = HeaderValue::from_static("application/sdp");
        response.headers_mut().insert("accept-post", value);
    }
    response
}
