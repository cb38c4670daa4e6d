//! `/openapi.json`, generated from the routes. The checked-in copy beside this file is what reviewers read.

use std::sync::LazyLock;

use axum::http::header;
use axum::response::{IntoResponse, Response};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, SecurityScheme};
use utoipa::{Modify, OpenApi};

use super::{
    certificate, control, device, device_auth, dialog, event, gimbal, handshake, ingest, live,
    login, observe, policy, sip, whep,
};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Gantry",
        description = "A media node for video surveillance. Calls under /bvcsp/v1 always answer HTTP 200 with {code, msg, \
            data, pageInfo}; code: 0 success, 1 failed, 2 not found, 3 exists, 4 bad parameter, 5 device offline, \
            6 time-out, 7 busy, 8 unsupported, 9 token missing or ended, 10 forbidden, 11 server error, 12 no streaming \
            unit, 13 no storage unit, 14 wrong password, 15 database, 16 no permission, 17 too many tries. Everything \
            else answers with HTTP statuses and problem documents (RFC 9457)."
    ),
    paths(
        login::login, login::logout, login::refresh, login::info,
        device::list, device::info, device::online_status,
        control::control, control::query, control::set, control::position,
        control::start_record, control::stop_record, control::reboot, control::gps, control::format,
        control::format_progress,
        gimbal::camera, gimbal::list_presets, gimbal::add_preset, gimbal::change_preset, gimbal::delete_preset,
        gimbal::go_to_preset, gimbal::list_cruises, gimbal::add_cruise, gimbal::start_cruise, gimbal::stop_cruise,
        gimbal::delete_cruise,
        dialog::open_webrtc, dialog::open_bvrtc, dialog::close, dialog::list, dialog::info,
        dialog::services, dialog::reset_service,
        event::online_status, event::alarm, event::gps,
        whep::open_channel, whep::open_named, whep::close, whep::trickle,
        live::serve,
        ingest::open, ingest::close, policy::show, policy::set, device_auth::set,
        sip::list, sip::download, handshake::failed,
        certificate::create_server, certificate::list_servers, certificate::server, certificate::change_server,
        certificate::delete_server, certificate::self_sign, certificate::create_request, certificate::list_requests,
        certificate::issue, certificate::change_request, certificate::request, certificate::delete_request,
        certificate::create_device, certificate::list_devices, certificate::change_device, certificate::delete_device,
        certificate::device, certificate::revocations,
        observe::health, observe::metrics, serve,
    ),
    modifiers(&Token)
)]
struct Document;

/// The token of a login, raw or with `Bearer`.
struct Token;

impl Modify for Token {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let key = ApiKeyValue::with_description(
            "Authorization",
            "token of /auth/login, raw or with Bearer",
        );
        document
            .components
            .get_or_insert_default()
            .add_security_scheme("token", SecurityScheme::ApiKey(ApiKey::Header(key)));
    }
}

static TEXT: LazyLock<String> = LazyLock::new(|| {
    let mut text = Document::openapi()
        .to_pretty_json()
        .expect("a document of plain strings and maps can be written");
    text.push('\n');
    text
});

/// The document as served and checked in.
pub fn document() -> &'static str {
    &TEXT
}

/// This description.
#[utoipa::path(get, path = "/openapi.json", operation_id = "openapi", tag = "operation", responses((status = 200, content_type = "application/json")))]
pub async fn serve() -> Response {
    let content_type = [(header::CONTENT_TYPE, "application/json")];
    (content_type, document()).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `GANTRY_REGENERATE=1 cargo test` writes the file anew.
    #[test]
    fn the_checked_in_copy_is_the_document() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/api/openapi.json");
        if std::env::var_os("GANTRY_REGENERATE").is_some() {
            std::fs::write(path, document()).expect("the source folder can be written");
        }
        let text = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            text == document(),
            "src/api/openapi.json differs from the routes; GANTRY_REGENERATE=1 cargo test writes it anew"
        );
    }
}
