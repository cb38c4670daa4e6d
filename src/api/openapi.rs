//! `/openapi.json`, generated from the routes. The checked-in copy beside this file is what reviewers read.

use std::sync::LazyLock;

use axum::http::header;
use axum::response::{IntoResponse, Response};
use utoipa::openapi::path::Operation;
use utoipa::openapi::schema::{KnownFormat, ObjectBuilder, Schema, SchemaFormat, Type};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, SecurityScheme};
use utoipa::openapi::{Content, RefOr};
use utoipa::{Modify, OpenApi};

use super::{
    access, certificate, command, control, device, device_auth, dialog, door, download, event,
    examples, gb28181in, gimbal, group, handshake, history, ingest, live, login, manage, observe,
    order, plan, playback, policy, record, recordfile, setup, sip, unsupported, whep,
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
        login::login, login::logout, login::refresh, login::info, login::change_password,
        manage::create, manage::delete, manage::change, manage::batch_group, manage::batch_class,
        manage::change_channel, manage::kick, manage::ungrouped,
        group::root_group, group::list_groups, group::group_info, group::create_group, group::change_group,
        group::delete_group, group::list_classes, group::class_info, group::create_class, group::change_class,
        group::delete_class,
        setup::get_general, setup::set_general, setup::get_server, setup::set_server, setup::get_encoder,
        setup::set_encoder, setup::get_video_in, setup::set_video_in, setup::get_overlay, setup::set_overlay,
        setup::get_schedule, setup::set_schedule, setup::get_rule, setup::set_rule, setup::get_alert_in,
        setup::set_alert_in, setup::get_medium, setup::get_storage_status,
        history::alarms, history::handle, history::delete_alarms, history::track, history::device_log,
        history::user_log, history::device_log_sums, history::user_log_sums, history::operations, history::dialogs,
        history::system_alarms, history::statistics, history::dialog_statistics, history::offline_statistics,
        gb28181in::list_devices, gb28181in::device_info, gb28181in::create_device, gb28181in::change_device,
        gb28181in::remove_device, gb28181in::list_platforms, gb28181in::platform_info, gb28181in::create_platform,
        gb28181in::change_platform, gb28181in::remove_platform, gb28181in::config, gb28181in::change_channel,
        gb28181in::list_groups, gb28181in::tree,
        order::list_subscriptions, order::subscribe, order::unsubscribe, order::get_gps, order::set_gps,
        order::upgrade, order::upgrade_status, order::upgrade_statuses, order::get_snapshot_config,
        order::set_snapshot_config, order::take_snapshot, order::list_snapshots, order::snapshot_info,
        order::snapshot_picture, door::upload,
        plan::create, plan::change, plan::delete, plan::info, plan::list, plan::add, plan::remove, plan::devices,
        plan::of_device, plan::without,
        command::send, command::open,
        access::config, access::set_config, access::list, access::add, access::remove,
        device::list, device::info, device::online_status,
        control::control, control::query, control::set, control::position,
        control::start_record, control::stop_record, control::reboot, control::gps, control::format,
        control::format_progress,
        gimbal::camera, gimbal::list_presets, gimbal::add_preset, gimbal::change_preset, gimbal::delete_preset,
        gimbal::go_to_preset, gimbal::list_cruises, gimbal::add_cruise, gimbal::start_cruise, gimbal::stop_cruise,
        gimbal::delete_cruise,
        dialog::open_webrtc, dialog::open_bvrtc, dialog::close, dialog::list, dialog::info,
        dialog::services, dialog::reset_service,
        event::online_status, event::alarm, event::gps, event::notices, history::notices,
        playback::open, playback::control, playback::start, playback::state, playback::order, playback::end,
        record::of_device, record::of_code, record::delete,
        download::create_task, download::progress, download::file, download::of_device, download::list,
        download::resume, download::remove,
        recordfile::list, recordfile::info, recordfile::change, recordfile::add_marks, recordfile::remove_marks,
        recordfile::list_marks, recordfile::bytes,
        whep::open_playback, live::serve_playback,
        whep::open_channel, whep::open_named, whep::close, whep::trickle,
        live::serve,
        ingest::open, ingest::close, policy::show, policy::set, device_auth::set,
        sip::list, sip::download, handshake::failed,
        certificate::create_server, certificate::lists::list_servers, certificate::server, certificate::change_server,
        certificate::delete_server, certificate::self_sign, certificate::create_request, certificate::lists::list_requests,
        certificate::issue, certificate::change_request, certificate::request, certificate::delete_request,
        certificate::create_device, certificate::lists::list_devices, certificate::change_device, certificate::delete_device,
        certificate::device, certificate::revocations, certificate::put_in_use,
        observe::health, observe::metrics, serve,
    ),
    modifiers(&Token, &Unsupported, &Problems, &Files, &Examples)
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

/// The calls that are answered with code 8 by name.
struct Unsupported;

impl Modify for Unsupported {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        unsupported::describe(document);
    }
}

/// Failures outside bvcsp go as what RFC 9457 calls them.
struct Problems;

impl Modify for Problems {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let operations = operations(document);
        for response in operations.flat_map(|operation| operation.responses.responses.values_mut())
        {
            if let RefOr::T(response) = response
                && let Some(RefOr::T(content)) = response.content.get("application/json")
                && matches!(&content.schema, Some(RefOr::Ref(schema)) if schema.ref_location.ends_with("/Problem"))
                && let Some(content) = response.content.shift_remove("application/json")
            {
                let problem = "application/problem+json".to_owned();
                response.content.insert(problem, content);
            }
        }
    }
}

/// Files and streams are bytes, of which a part is no other type than the whole.
struct Files;

impl Modify for Files {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        for operation in operations(document) {
            if let Some(RefOr::T(body)) = &mut operation.request_body {
                body.content.iter_mut().for_each(to_bytes);
            }
            let responses = &mut operation.responses.responses;
            for response in responses.values_mut() {
                if let RefOr::T(response) = response {
                    response.content.iter_mut().for_each(to_bytes);
                }
            }
            let Some(RefOr::T(whole)) = responses.get("200") else {
                continue;
            };
            let files = whole.content.clone().into_iter();
            let files: Vec<_> = files.filter(|(name, _)| !is_json(name)).collect();
            if let Some(RefOr::T(part)) = responses.get_mut("206") {
                part.content.extend(files);
            }
        }
    }
}

fn is_json(media_type: &str) -> bool {
    media_type.ends_with("json")
}

fn to_bytes((media_type, content): (&String, &mut RefOr<Content>)) {
    if let RefOr::T(content) = content
        && !is_json(media_type)
        && matches!(content.schema, None | Some(RefOr::T(Schema::Array(_))))
    {
        let binary = SchemaFormat::KnownFormat(KnownFormat::Binary);
        let bytes = ObjectBuilder::new()
            .schema_type(Type::String)
            .format(Some(binary));
        content.schema = Some(bytes.into());
    }
}

/// Something to read for whoever calls.
struct Examples;

impl Modify for Examples {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        examples::fill(document);
    }
}

/// Every call.
pub fn operations(document: &mut utoipa::openapi::OpenApi) -> impl Iterator<Item = &mut Operation> {
    document.paths.paths.values_mut().flat_map(|path| {
        let all = [
            &mut path.get,
            &mut path.put,
            &mut path.post,
            &mut path.delete,
            &mut path.patch,
        ];
        all.into_iter().flatten()
    })
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
#[utoipa::path(get, path = "/openapi.json", operation_id = "openapi", tag = "operation",
    responses((status = 200, body = Object, description = "this document",
        example = json!({"openapi": "3.1.0", "info": {"title": "Gantry", "version": "0.1.0"}, "paths": {}}))))]
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
