//! Calls of the API that GB/T 28181 has no command for and that are no data of a platform: each is answered with code 8
//! and what it is that is not supported. One table, one handler.

use axum::Router;
use axum::http::Method;
use axum::routing::{MethodFilter, MethodRouter, on};
use utoipa::openapi::path::{HttpMethod, OperationBuilder, ParameterBuilder, ParameterIn};
use utoipa::openapi::{ContentBuilder, Ref, Required, ResponseBuilder, ResponsesBuilder};

use super::ApiState;
use super::caller::Caller;
use super::envelope::{Code, Failure};

/// Method, path under `/bvcsp/v1`, and what the device would have to understand.
const CALLS: &[(&str, &str, &str)] = &[
    ("POST", "/auth/qrcode", "a login by QR code"),
    ("POST", "/auth/qrcode/batch", "a login by QR code"),
    ("GET", "/pu/battery/{puid}", "the state of a battery"),
    ("POST", "/pu/transparent/{puid}", "a pass-through command"),
    ("POST", "/pu/shutdown/{puid}", "turning a device off"),
    ("PUT", "/pu/config/power/{puid}", "power configuration"),
    (
        "GET",
        "/pu/config/ethernet/{puid}/{index}",
        "Ethernet configuration",
    ),
    (
        "PUT",
        "/pu/config/ethernet/{puid}/{index}",
        "Ethernet configuration",
    ),
    (
        "GET",
        "/pu/config/wifi/{puid}/{index}",
        "Wi-Fi configuration",
    ),
    (
        "PUT",
        "/pu/config/wifi/{puid}/{index}",
        "Wi-Fi configuration",
    ),
    (
        "GET",
        "/pu/config/radio/{puid}/{index}",
        "mobile network configuration",
    ),
    (
        "PUT",
        "/pu/config/radio/{puid}/{index}",
        "mobile network configuration",
    ),
    (
        "GET",
        "/pu/config/audioin/{puid}/{index}",
        "audio input configuration",
    ),
    (
        "PUT",
        "/pu/config/audioin/{puid}/{index}",
        "audio input configuration",
    ),
    (
        "GET",
        "/pu/config/audioout/{puid}/{index}",
        "audio output configuration",
    ),
    (
        "PUT",
        "/pu/config/audioout/{puid}/{index}",
        "audio output configuration",
    ),
    (
        "PUT",
        "/pu/config/storage/media/{puid}/{index}",
        "setting up a storage medium",
    ),
    ("GET", "/pu/config/upload/{puid}", "upload settings"),
    ("PUT", "/pu/config/upload/{puid}", "upload settings"),
    (
        "GET",
        "/pu/config/zfy/{puid}",
        "law enforcement device information",
    ),
    (
        "PUT",
        "/pu/config/zfy/{puid}",
        "law enforcement device information",
    ),
    ("GET", "/pu/config/sensor/{puid}", "sensor data"),
    ("PUT", "/pu/config/sensor/{puid}", "sensor data"),
    (
        "GET",
        "/pu/config/onlinecontrol/{puid}",
        "online and offline control",
    ),
    (
        "PUT",
        "/pu/config/onlinecontrol/{puid}",
        "online and offline control",
    ),
    (
        "GET",
        "/pu/config/language/{puid}",
        "the language of a device",
    ),
    (
        "PUT",
        "/pu/config/language/{puid}",
        "the language of a device",
    ),
    ("POST", "/dialog/conference/webrtc", "a voice conference"),
    ("POST", "/dialog/conference/bvrtc", "a voice conference"),
    ("POST", "/dialog/conference/bvwsc", "a voice conference"),
    ("POST", "/dialog/push/webrtc", "pushing from a browser"),
    (
        "POST",
        "/28181in/platform/push/{platformid}",
        "output to a superior platform",
    ),
    ("GET", "/ws/event/im", "instant messaging"),
    ("GET", "/ws/event/conference", "a voice conference"),
    ("POST", "/ws/push", "pushing events to third parties"),
];

fn filter(method: &str) -> (MethodFilter, HttpMethod) {
    match method {
        "GET" => (MethodFilter::GET, HttpMethod::Get),
        "PUT" => (MethodFilter::PUT, HttpMethod::Put),
        "DELETE" => (MethodFilter::DELETE, HttpMethod::Delete),
        _ => (MethodFilter::POST, HttpMethod::Post),
    }
}

/// A route for each of them.
pub fn routes() -> Router<ApiState> {
    CALLS
        .iter()
        .fold(Router::new(), |router, (method, path, what)| {
            let answer = move |_: Caller, _: Method| async move {
                let msg = format!("not supported: GB/T 28181 has no command for {what}");
                Failure::new(Code::Unsupported, msg)
            };
            let route: MethodRouter<ApiState> = on(filter(method).0, answer);
            router.route(path, route)
        })
}

/// Describes them.
pub fn describe(document: &mut utoipa::openapi::OpenApi) {
    for (number, (method, path, what)) in CALLS.iter().enumerate() {
        let done = ContentBuilder::new()
            .schema(Some(Ref::from_schema_name("Done")))
            .example(Some(serde_json::json!({
                "code": 8, "msg": format!("not supported: GB/T 28181 has no command for {what}")
            })))
            .build();
        let answer = ResponseBuilder::new()
            .description("always code 8")
            .content("application/json", done)
            .build();
        let mut operation = OperationBuilder::new()
            .operation_id(Some(format!("unsupported{number}")))
            .tag("unsupported")
            .summary(Some(format!("Not supported: {what}.")))
            .securities(Some([utoipa::openapi::SecurityRequirement::new::<
                _,
                [String; 0],
                String,
            >("token", [])]))
            .responses(ResponsesBuilder::new().response("200", answer).build());
        for name in path.split(['{', '}']).skip(1).step_by(2) {
            operation = operation.parameter(
                ParameterBuilder::new()
                    .name(name)
                    .parameter_in(ParameterIn::Path)
                    .required(Required::True)
                    .schema(Some(
                        utoipa::openapi::ObjectBuilder::new()
                            .schema_type(utoipa::openapi::schema::Type::String)
                            .build(),
                    )),
            );
        }
        document.paths.add_path_operation(
            format!("/bvcsp/v1{path}"),
            vec![filter(method).1],
            operation.build(),
        );
    }
}
