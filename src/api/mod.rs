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

pub(crate) mod access;
mod audit;
pub mod auth;
mod caller;
pub(crate) mod certificate;
pub mod chronicle;
mod command;
mod control;
mod device;
mod device_auth;
mod diagnosis;
mod dialog;
mod door;
mod download;
mod envelope;
mod event;
mod examples;
mod gb28181in;
mod gimbal;
mod group;
mod handshake;
mod history;
mod ingest;
mod list;
pub mod live;
mod login;
mod manage;
mod observe;
mod openapi;
mod order;
mod plan;
mod playback;
mod policy;
pub(crate) mod problem;
mod read;
mod record;
mod recordfile;
mod setup;
mod sip;
mod unsupported;
mod view;
mod whep;
mod words;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::http::{HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::Response;
use axum::routing::{any, delete, get, post, put};
use tokio::sync::broadcast;
use tower_http::cors::{AllowHeaders, AllowOrigin, Any, CorsLayer};

use crate::config::Config;
use crate::limits;
use crate::metrics::Metrics;
use crate::net::MediaHandle;
use crate::record::Downloads;
use crate::session::shell::Handle;
use crate::store::Store;

use auth::Auth;
use command::Commands;

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
    /// Absent where only the API runs.
    downloads: Option<Downloads>,
    pub certificates: certificate::Certificates,
    /// How long an event WebSocket may stay silent.
    pub event_idle: Duration,
    pub commands: Commands,
    /// Alarms that somebody has seen to, as messages for [`event`].
    handled: broadcast::Sender<event::Handled>,
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
            downloads: None,
            certificates: certificate::Certificates::default(),
            event_idle: Duration::from_secs(limits::EVENT_SOCKET_IDLE_S_MAX),
            commands: Commands::default(),
            handled: broadcast::Sender::new(limits::HANDLED_WAITING_MAX),
        }
    }
}

impl ApiState {
    /// Seconds by which the clocks of devices are east of UTC.
    pub fn utc_offset_s(&self) -> i32 {
        self.config.sip.utc_offset_min * 60
    }

    /// With a place for files.
    pub fn with_downloads(self, downloads: Downloads) -> ApiState {
        ApiState {
            downloads: Some(downloads),
            ..self
        }
    }

    pub fn downloads(&self) -> Option<&Downloads> {
        self.downloads.as_ref()
    }
}

/// Seconds that a browser may remember the answer to a preflight.
const PREFLIGHT_AGE: Duration = Duration::from_secs(3_600);

/// All routes of the API. The web page is merged by the caller.
pub fn router(state: ApiState) -> Router {
    let cors = cors(&state.config);
    Router::new()
        .nest("/bvcsp/v1", bvcsp())
        .route("/bvnru/v1/download/{fileid}", get(recordfile::bytes))
        .route("/whep/{stream}", post(whep::open_named))
        .route("/whep/{puid}/{index}", post(whep::open_channel))
        // "dialog" is no device's id, so this path is free.
        .route(
            "/whep/dialog/{dialogid}",
            axum::routing::delete(whep::close).patch(whep::trickle),
        )
        .route("/whep/playback/{dialogid}", post(whep::open_playback))
        .route("/live/{*path}", any(live::serve))
        .route("/playback/{*path}", any(live::serve_playback))
        .route("/gantry/v1/playback", post(playback::start))
        .route(
            "/gantry/v1/playback/{dialogid}",
            get(playback::state)
                .put(playback::order)
                .delete(playback::end),
        )
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
        .route("/gantry/v1/devices/{puid}/tree", post(gb28181in::tree))
        .route(
            "/gantry/v1/devices/{puid}/subscriptions",
            get(order::list_subscriptions),
        )
        .route(
            "/gantry/v1/devices/{puid}/subscriptions/{topic}",
            put(order::subscribe).delete(order::unsubscribe),
        )
        .route(
            "/gantry/v1/devices/{puid}/notices/list",
            post(history::notices),
        )
        .route("/gantry/v1/ws/notices", get(event::notices))
        .route("/gantry/v1/snapshots/list", post(order::list_snapshots))
        .route("/gantry/v1/snapshots/{id}", get(order::snapshot_info))
        .route(
            "/gantry/v1/snapshots/{id}/{number}",
            get(order::snapshot_picture),
        )
        .route(
            "/gantry/v1/snapshots/{id}/upload/{token}",
            post(door::upload)
                .put(door::upload)
                .layer(DefaultBodyLimit::max(limits::SNAPSHOT_BYTES_MAX)),
        )
        .route("/gantry/v1/command/{userid}", post(command::send))
        .route("/gantry/v1/devices/{puid}/sip", get(sip::list))
        .route("/gantry/v1/devices/{puid}/sip.pcap", get(sip::download))
        .route("/gantry/v1/sip/handshakes", get(handshake::failed))
        .route("/gantry/v1/downloads/list", post(download::list))
        .route(
            "/gantry/v1/downloads/{taskid}/resume",
            post(download::resume),
        )
        .route(
            "/gantry/v1/downloads/{taskid}",
            axum::routing::delete(download::remove),
        )
        .route("/gantry/v1/certificates/crl", get(certificate::revocations))
        .route(
            "/gantry/v1/certificates/inuse",
            put(certificate::put_in_use),
        )
        .route("/healthz", get(observe::health))
        .route("/metrics", get(observe::metrics))
        .route("/openapi.json", get(openapi::serve))
        .layer(axum::middleware::from_fn_with_state(
            state.clone(),
            audit::write_down,
        ))
        .layer(DefaultBodyLimit::max(limits::API_BODY_BYTES_MAX))
        .layer(cors)
        .layer(axum::middleware::from_fn(accept_post))
        .with_state(state)
}

fn certificates() -> Router<ApiState> {
    use certificate as c;
    Router::new()
        .route("/cert/server/csr", post(c::create_server))
        .route("/cert/server/list", post(c::lists::list_servers))
        .route("/cert/server/info/{certid}", get(c::server))
        .route(
            "/cert/server/{certid}",
            put(c::change_server).delete(c::delete_server),
        )
        .route("/cert/server/selfsign/{certid}", post(c::self_sign))
        .route("/cert/device/csr", post(c::create_request))
        .route("/cert/device/csr/list", post(c::lists::list_requests))
        .route("/cert/device/csr/info/{csrid}", get(c::request))
        .route(
            "/cert/device/csr/{csrid}",
            put(c::change_request).delete(c::delete_request),
        )
        .route("/cert/device/issue/{csrid}", post(c::issue))
        .route("/gmdevice/create", post(c::create_device))
        .route("/gmdevice/list", post(c::lists::list_devices))
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
        .route("/auth/password", post(login::change_password))
        .route("/pu/list", post(device::list))
        .route("/pu/info/{puid}", get(device::info))
        .route("/pu/onlinestatus/{puid}", get(device::online_status))
        .merge(gimbal())
        .merge(management())
        .merge(configuration())
        .merge(history())
        .merge(gb28181in())
        .merge(orders())
        .merge(unsupported::routes())
        .route(
            "/bwlist/config",
            get(access::config).put(access::set_config),
        )
        .route("/bwlist/list", post(access::list))
        .route("/bwlist/add", post(access::add))
        .route("/bwlist/del", post(access::remove))
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
        .route("/dialog/playback", post(playback::open))
        .route("/dialog/playback/{dialogid}", put(playback::control))
        .merge(records())
        .route("/dialog/close/{dialogid}", post(dialog::close))
        .route("/dialog/list", post(dialog::list))
        .route("/dialog/info/{dialogid}", get(dialog::info))
        .route("/dialog/vtdu/list", get(dialog::services))
        .route("/dialog/vtdu/reset/{vtduid}", post(dialog::reset_service))
        .route("/ws/event/onlinestatus", get(event::online_status))
        .route("/ws/event/onlinestatus/", get(event::online_status))
        .route("/ws/event/alarm", get(event::alarm))
        .route("/ws/gpsdata", get(event::gps))
        .route("/ws/event/command", get(command::open))
        .fallback(envelope::unknown_call)
        .method_not_allowed_fallback(envelope::unknown_call)
}

fn records() -> Router<ApiState> {
    Router::new()
        .route("/pu/recordfile/filter/{puid}", post(record::of_device))
        .route("/28181in/recordfile/filter/{id}", post(record::of_code))
        .route("/pu/recordfile/del/{puid}", post(record::delete))
        .route("/pu/download/{puid}/{fileid}", get(download::of_device))
        .route(
            "/28181in/recordfile/task/create",
            post(download::create_task),
        )
        .route(
            "/28181in/recordfile/progress/{taskid}",
            get(download::progress),
        )
        .route("/28181in/recordfile/download/{taskid}", get(download::file))
        .route("/recordfile/filter", post(recordfile::list))
        .route(
            "/recordfile/info/{fileid}",
            get(recordfile::info).put(recordfile::change),
        )
        .route("/recordfile/timeline/filter", post(recordfile::list_marks))
        .route(
            "/recordfile/timeline/{fileid}",
            post(recordfile::add_marks).delete(recordfile::remove_marks),
        )
}

fn management() -> Router<ApiState> {
    Router::new()
        .route("/pu/create", post(manage::create))
        .route("/pu/{puid}", delete(manage::delete))
        .route("/pu/info/{puid}", put(manage::change))
        .route("/pu/batch/group", put(manage::batch_group))
        .route("/pu/batch/class", put(manage::batch_class))
        .route("/pu/channel/{puid}/{index}", put(manage::change_channel))
        .route("/pu/kickout/{puid}", post(manage::kick))
        .route("/pu/ungrouped/list", post(manage::ungrouped))
        .route("/pu/group/root", get(group::root_group))
        .route("/pu/group/list", post(group::list_groups))
        .route("/pu/group/info/{groupid}", get(group::group_info))
        .route("/pu/group/create", post(group::create_group))
        .route(
            "/pu/group/{groupid}",
            put(group::change_group).delete(group::delete_group),
        )
        .route("/pu/class/list", post(group::list_classes))
        .route("/pu/class/info/{classid}", get(group::class_info))
        .route("/pu/class/create", post(group::create_class))
        .route(
            "/pu/class/{classid}",
            put(group::change_class).delete(group::delete_class),
        )
}

fn configuration() -> Router<ApiState> {
    use setup::*;
    let of_device = [
        ("general", get(get_general).put(set_general)),
        ("server", get(get_server).put(set_server)),
    ];
    let of_channel = [
        ("encoder", get(get_encoder).put(set_encoder)),
        ("videoin", get(get_video_in).put(set_video_in)),
        ("overlay", get(get_overlay).put(set_overlay)),
        ("storage/schedule", get(get_schedule).put(set_schedule)),
        ("storage/rule", get(get_rule).put(set_rule)),
        ("storage/media", get(get_medium)),
        ("alertin", get(get_alert_in).put(set_alert_in)),
    ];
    let mut router = Router::new().route("/pu/storage/status/{puid}", get(get_storage_status));
    for (name, calls) in of_device {
        router = router.route(&format!("/pu/config/{name}/{{puid}}"), calls);
    }
    for (name, calls) in of_channel {
        router = router.route(&format!("/pu/config/{name}/{{puid}}/{{index}}"), calls);
    }
    router
}

fn gb28181in() -> Router<ApiState> {
    use gb28181in::*;
    Router::new()
        .route("/28181in/device/list", post(list_devices))
        .route("/28181in/device/info/{id}", get(device_info))
        .route("/28181in/device/create", post(create_device))
        .route(
            "/28181in/device/{id}",
            put(change_device).delete(remove_device),
        )
        .route("/28181in/platform/list", post(list_platforms))
        .route("/28181in/platform/info/{platformid}", get(platform_info))
        .route("/28181in/platform/create", post(create_platform))
        .route(
            "/28181in/platform/{platformid}",
            put(change_platform).delete(remove_platform),
        )
        .route(
            "/28181in/platform/group/list/{platformid}",
            post(list_groups),
        )
        .route("/28181in/config", get(config))
        .route("/28181in/channel/{id}/{index}", put(change_channel))
}

fn orders() -> Router<ApiState> {
    use order::*;
    Router::new()
        .route("/pu/config/gps/{puid}/{index}", get(get_gps).put(set_gps))
        .route(
            "/pu/config/snapshot/{puid}/{index}",
            get(get_snapshot_config).put(set_snapshot_config),
        )
        .route("/pu/snapshot/{puid}/{index}", post(take_snapshot))
        .route("/pu/upgrade/status/{puid}", get(upgrade_status))
        .route("/pu/upgrade/batch/status", post(upgrade_statuses))
        .route("/pu/upgrade/{puid}", post(upgrade))
        .route("/configplan/create", post(plan::create))
        .route(
            "/configplan/{planid}",
            put(plan::change).delete(plan::delete),
        )
        .route("/configplan/info/{planid}", get(plan::info))
        .route("/configplan/list", post(plan::list))
        .route("/configplan/pu/add/{planid}", post(plan::add))
        .route("/configplan/pu/del/{planid}", post(plan::remove))
        .route("/configplan/pu/list/{planid}", post(plan::devices))
        .route("/configplan/pu/info/{puid}", get(plan::of_device))
        .route("/configplan/pu/unassociated/list", post(plan::without))
}

fn history() -> Router<ApiState> {
    Router::new()
        .route("/alarm", post(history::alarms))
        .route("/alarm/handle", put(history::handle))
        .route("/alarm/del", post(history::delete_alarms))
        .route("/pu/gpsdata/filter/{puid}", post(history::track))
        .route("/log/pu/login", post(history::device_log))
        .route("/log/user/login", post(history::user_log))
        .route("/log/pu/login/extend", post(history::device_log_sums))
        .route("/log/user/login/extend", post(history::user_log_sums))
        .route("/log/operate", post(history::operations))
        .route("/log/dialog", post(history::dialogs))
        .route("/log/alarm", post(history::system_alarms))
        .route("/statistics/base", post(history::statistics))
        .route("/statistics/dialog", post(history::dialog_statistics))
        .route("/statistics/offline", post(history::offline_statistics))
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
