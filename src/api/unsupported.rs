//! Calls of the API that GB/T 28181 has no command for and that are no data of a platform: each is answered with code 8
//! and what it is that is not supported. One table, one handler.

use axum::Router;
use axum::http::Method;
use axum::routing::{MethodFilter, MethodRouter, on};
use serde_json::Value;
use utoipa::openapi::path::{HttpMethod, OperationBuilder, ParameterBuilder, ParameterIn};
use utoipa::openapi::request_body::{RequestBody, RequestBodyBuilder};
use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, Schema, Type};
use utoipa::openapi::{ContentBuilder, Ref, RefOr, Required, ResponseBuilder, ResponsesBuilder};

use super::ApiState;
use super::caller::Caller;
use super::envelope::{Code, Failure};

/// Method, path under `/bvcsp/v1`, what the device would have to understand, and a body as bvcsp (2.28, 3.1, 3.6) has it:
/// `{}` where it does not say, nothing where there is none. Nothing of a body is read.
const CALLS: &[(&str, &str, &str, &str)] = &[
    ("POST", "/auth/qrcode", "a login by QR code", "{}"),
    ("POST", "/auth/qrcode/batch", "a login by QR code", "{}"),
    ("GET", "/pu/battery/{puid}", "the state of a battery", ""),
    (
        "POST",
        "/pu/transparent/{puid}",
        "a pass-through command",
        "{}",
    ),
    ("POST", "/pu/shutdown/{puid}", "turning a device off", "{}"),
    (
        "PUT",
        "/pu/config/power/{puid}",
        "power configuration",
        r#"{"turnOffDelay": 60, "enableTimer": false, "lowPowerAlarm": true, "threshold": 20000}"#,
    ),
    (
        "GET",
        "/pu/config/ethernet/{puid}/{index}",
        "Ethernet configuration",
        "",
    ),
    (
        "PUT",
        "/pu/config/ethernet/{puid}/{index}",
        "Ethernet configuration",
        r#"{"dhcp": 0, "pppoe": -1, "autoDNS": 0, "ip": "192.168.1.64", "mask": "255.255.255.0", "gateway": "192.168.1.1", "dns": ["192.168.1.1"]}"#,
    ),
    (
        "GET",
        "/pu/config/wifi/{puid}/{index}",
        "Wi-Fi configuration",
        "",
    ),
    (
        "PUT",
        "/pu/config/wifi/{puid}/{index}",
        "Wi-Fi configuration",
        r#"{"enable": true, "mode": 0, "general": {"ssid": "warehouse", "security": 3, "crypt": 4, "keys": ["a long passphrase"], "dhcp": 1}}"#,
    ),
    (
        "GET",
        "/pu/config/radio/{puid}/{index}",
        "mobile network configuration",
        "",
    ),
    (
        "PUT",
        "/pu/config/radio/{puid}/{index}",
        "mobile network configuration",
        r#"{"enable": true, "typeIndex": 0, "user": "", "password": "", "apn": "cmnet", "accessNum": "*99#"}"#,
    ),
    (
        "GET",
        "/pu/config/audioin/{puid}/{index}",
        "audio input configuration",
        "",
    ),
    (
        "PUT",
        "/pu/config/audioin/{puid}/{index}",
        "audio input configuration",
        r#"{"input": 0, "channels": 1, "sampleRate": 8000, "bits": 16, "volume": 50, "noise": {"enable": true, "index": 0}, "halfDuplex": false}"#,
    ),
    (
        "GET",
        "/pu/config/audioout/{puid}/{index}",
        "audio output configuration",
        "",
    ),
    (
        "PUT",
        "/pu/config/audioout/{puid}/{index}",
        "audio output configuration",
        r#"{"decoder": {"enable": true, "index": 0}, "channels": 1, "sampleRate": 8000, "bits": 16, "volume": 50}"#,
    ),
    (
        "PUT",
        "/pu/config/storage/media/{puid}/{index}",
        "setting up a storage medium",
        r#"{"name": "SD card", "disable": false}"#,
    ),
    ("GET", "/pu/config/upload/{puid}", "upload settings", ""),
    (
        "PUT",
        "/pu/config/upload/{puid}",
        "upload settings",
        r#"{"snapshotAutoUpload": 1, "fileAutoUpload": 1, "delUploaded": 0}"#,
    ),
    (
        "GET",
        "/pu/config/zfy/{puid}",
        "law enforcement device information",
        "",
    ),
    (
        "PUT",
        "/pu/config/zfy/{puid}",
        "law enforcement device information",
        r#"{"serial": "ZF000123", "userNo": "110234", "userName": "Wang Lei", "unitNo": "340200", "unitName": "North district", "postName": "patrol", "policeType": 0}"#,
    ),
    ("GET", "/pu/config/sensor/{puid}", "sensor data", ""),
    (
        "PUT",
        "/pu/config/sensor/{puid}",
        "sensor data",
        r#"[{"key": "body_T", "alarmMin": 35, "alarmMax": 38}]"#,
    ),
    (
        "GET",
        "/pu/config/onlinecontrol/{puid}",
        "online and offline control",
        "",
    ),
    (
        "PUT",
        "/pu/config/onlinecontrol/{puid}",
        "online and offline control",
        r#"{"powerOnOnline": true, "sms": {"numbers": ["13800000000"], "content": "online", "reply": true}}"#,
    ),
    (
        "GET",
        "/pu/config/language/{puid}",
        "the language of a device",
        "",
    ),
    (
        "PUT",
        "/pu/config/language/{puid}",
        "the language of a device",
        r#"{"index": 1}"#,
    ),
    (
        "POST",
        "/dialog/conference/webrtc",
        "a voice conference",
        r#"{"id": "G7", "index": 1, "sdp": "v=0\r\n…", "host": "192.168.1.10:9780"}"#,
    ),
    (
        "POST",
        "/dialog/conference/bvrtc",
        "a voice conference",
        r#"{"id": "G7", "index": 1, "sdp": "v=0\r\n…", "host": "192.168.1.10:9780"}"#,
    ),
    (
        "POST",
        "/dialog/conference/bvwsc",
        "a voice conference",
        r#"{"id": "G7", "index": 1}"#,
    ),
    (
        "POST",
        "/dialog/push/webrtc",
        "pushing from a browser",
        r#"{"sdp": "v=0\r\n…", "host": "192.168.1.10:9780"}"#,
    ),
    (
        "POST",
        "/28181in/platform/push/{platformid}",
        "output to a superior platform",
        "{}",
    ),
    ("GET", "/ws/event/im", "instant messaging", ""),
    ("GET", "/ws/event/conference", "a voice conference", ""),
    (
        "POST",
        "/ws/push",
        "pushing events to third parties",
        r#"{"url": "http://192.168.1.20/events", "events": ["alarm"], "secret": "a long random word"}"#,
    ),
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
        .fold(Router::new(), |router, (method, path, what, _)| {
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
    for (number, (method, path, what, body)) in CALLS.iter().enumerate() {
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
                    .schema(Some(ObjectBuilder::new().schema_type(Type::String).build())),
            );
        }
        if !body.is_empty() {
            operation = operation.request_body(Some(request(body)));
        }
        document.paths.add_path_operation(
            format!("/bvcsp/v1{path}"),
            vec![filter(method).1],
            operation.build(),
        );
    }
}

/// A body that is not read, with the types of its example.
fn request(body: &str) -> RequestBody {
    let example: Value = serde_json::from_str(body).expect("the table holds JSON");
    let description = match body {
        "{}" => "bvcsp does not say which fields; nothing of it is read",
        _ => "fields as bvcsp names them; nothing of it is read",
    };
    let content = ContentBuilder::new()
        .schema(Some(shape(&example)))
        .example(Some(example))
        .build();
    RequestBodyBuilder::new()
        .description(Some(description))
        .required(Some(Required::False))
        .content("application/json", content)
        .build()
}

fn shape(example: &Value) -> Schema {
    let kind = match example {
        Value::Object(fields) => {
            let object = ObjectBuilder::new().schema_type(Type::Object);
            let object = fields.iter().fold(object, |object, (name, value)| {
                object.property(name, shape(value))
            });
            return object.into();
        }
        Value::Array(items) => {
            let item = items.first().map_or_else(Schema::default, shape);
            return ArrayBuilder::new().items(RefOr::T(item)).into();
        }
        Value::String(_) => Type::String,
        Value::Number(_) => Type::Integer,
        Value::Bool(_) => Type::Boolean,
        Value::Null => Type::Null,
    };
    ObjectBuilder::new().schema_type(kind).into()
}
