//! The operation log: one row for every call that changes something, with who, when, what, from where and how it ended.
//!
//! A call changes something if it is no GET and none of those that only read though their lists come by POST
//! ([`changes`]). Bodies are kept without secrets, cut at [`limits::OPERATION_BYTES_MAX`].

use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde_json::Value;

use crate::limits;
use crate::store::history::{Entry, OperationRow};

use super::ApiState;
use super::auth::unix_s;
use super::caller;
use super::envelope::{Code, CodeOf, Failure};
use super::problem::Problem;

/// Words in the path of calls that read by POST: lists, searches, questions, logs.
const READS: [&str; 8] = [
    "list",
    "filter",
    "query",
    "log",
    "statistics",
    "requirement",
    "check",
    "tree",
];

/// Whether a call changes something. Not asked of logins, which have a log of their own, nor of pictures that devices
/// upload.
pub fn changes(method: &Method, path: &str) -> bool {
    if matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS) {
        return false;
    }
    let mut words = path.split('/');
    let reads = words.any(|word| READS.contains(&word));
    let of_its_own = [
        "/bvcsp/v1/alarm",
        "/bvcsp/v1/pu/upgrade/batch/status",
        "/bvcsp/v1/auth/login",
        "/bvcsp/v1/auth/refresh",
        "/gantry/v1/snapshots/{id}/upload/{token}",
        "/openapi.json",
    ]
    .contains(&path);
    !reads && !of_its_own
}

/// Put into a response by a call that changed something though its method or its caller do not show it: a file that was
/// fetched for the first time, a session that was ended by its key.
#[derive(Clone, Debug, Default)]
pub struct Changed {
    /// On whose behalf, if the request carries no token.
    pub user: String,
}

/// A GET that makes a task when what it asks for is not there yet.
const MAKES_BY_GET: &str = "/bvcsp/v1/pu/download/{puid}/{fileid}";

/// Writes the row after the call.
pub async fn write_down(State(state): State<ApiState>, request: Request, next: Next) -> Response {
    let matched = request.extensions().get::<MatchedPath>();
    let Some(path) = matched.map(|path| path.as_str().to_owned()) else {
        return next.run(request).await;
    };
    let only_if_changed = !changes(request.method(), &path);
    if only_if_changed && path != MAKES_BY_GET {
        return next.run(request).await;
    }
    let (parts, body) = request.into_parts();
    let who = caller::login_of(&parts, &state);
    let address = caller::peer_of(&parts).map_or_else(String::new, |peer| peer.to_string());
    let method = parts.method.to_string();
    let target = target(&path, parts.uri.path());
    let body = match axum::body::to_bytes(body, limits::API_BODY_BYTES_MAX).await {
        Ok(bytes) => bytes,
        Err(error) => return too_long(&path, &error),
    };
    let description = without_secrets(&body);
    let response = next.run(Request::from_parts(parts, Body::from(body))).await;
    let changed = response.extensions().get::<Changed>();
    if only_if_changed && changed.is_none() {
        return response;
    }
    // Who has neither a token nor the key of a session changes nothing.
    let by_key = changed.map(|changed| &changed.user);
    let by_key = by_key.filter(|user| !user.is_empty()).cloned();
    let user = who.map(|login| login.user.to_string()).or(by_key);
    if let Some(user_id) = user {
        let code = response.extensions().get::<CodeOf>();
        let result = code.map_or(i64::from(response.status().as_u16()), |code| {
            i64::from(code.0)
        });
        let chronicle = state.store.chronicle();
        let row = OperationRow {
            id: chronicle.next_id(),
            time: i64::try_from(unix_s()).unwrap_or(0),
            user_id,
            address,
            method,
            path,
            target,
            result,
            description,
        };
        chronicle.write(Entry::Operation(Box::new(row))).await;
    }
    response
}

/// As the call itself would have answered, had it read the body.
fn too_long(path: &str, error: &axum::Error) -> Response {
    if path.starts_with("/bvcsp/") {
        Failure::new(Code::ErrorParam, error.to_string()).into_response()
    } else {
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, error.to_string()).into_response()
    }
}

/// What stands in the places of a path, with `/` between.
fn target(matched: &str, path: &str) -> String {
    let words = matched.split('/').zip(path.split('/'));
    let words = words
        .filter(|(place, _)| place.starts_with('{'))
        .map(|(_, word)| word);
    let mut target = words.collect::<Vec<_>>().join("/");
    cut(&mut target, 256);
    target
}

/// The body as it may be kept: JSON with secret values taken out, anything else as its length.
fn without_secrets(body: &[u8]) -> String {
    if body.trim_ascii().is_empty() {
        return String::new();
    }
    let Ok(mut value) = serde_json::from_slice::<Value>(body) else {
        return format!("{} bytes", body.len());
    };
    redact(&mut value);
    let mut text = value.to_string();
    cut(&mut text, limits::OPERATION_BYTES_MAX);
    text
}

fn redact(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                let key = key.to_ascii_lowercase();
                let secret = ["password", "secret", "token", "key", "pem", "sdp", "csr"];
                if secret.iter().any(|word| key.contains(word)) {
                    *value = Value::from("…");
                } else {
                    redact(value);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(redact),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn cut(text: &mut String, bytes: usize) {
    let mut end = bytes.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn secrets_are_not_kept() {
        let body = json!({"name": "门", "password": "geheim", "auth": [{"oldPassword": "geheim"}], "Token": "geheim"});
        let kept = without_secrets(body.to_string().as_bytes());
        assert!(kept.contains("门") && !kept.contains("geheim"), "{kept}");
        assert_eq!(without_secrets(b"password=geheim"), "15 bytes");
        assert_eq!(without_secrets(b" "), "");
        let long = json!({"name": "门".repeat(1_000)}).to_string();
        let kept = without_secrets(long.as_bytes());
        assert!(
            kept.len() <= limits::OPERATION_BYTES_MAX
                && kept.len() > limits::OPERATION_BYTES_MAX - 4
        );
    }

    #[test]
    fn reading_by_post_is_no_change() {
        for (path, want) in [
            ("/bvcsp/v1/pu/list", false),
            ("/bvcsp/v1/alarm", false),
            ("/bvcsp/v1/log/operate", false),
            ("/gantry/v1/device/query/{puid}/{index}", false),
            ("/bvcsp/v1/pu/group/create", true),
            ("/bvcsp/v1/bwlist/add", true),
            ("/bvcsp/v1/alarm/del", true),
            ("/gantry/v1/device/control/{puid}/{index}", true),
        ] {
            assert_eq!(changes(&Method::POST, path), want, "{path}");
        }
        assert!(!changes(&Method::GET, "/bvcsp/v1/pu/info/{puid}"));
        assert!(changes(&Method::PUT, "/bvcsp/v1/bwlist/config"));
        assert_eq!(target("/a/{puid}/b/{index}", "/a/PU_1/b/0"), "PU_1/0");
    }
}
