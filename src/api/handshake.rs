//! `/gantry/v1/sip/handshakes`: devices that did not get through the TLS door of SIP, and why.
//!
//! They have no code yet, so the per-device view of messages cannot show them.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use crate::diagnosis::handshake::Line;

use super::ApiState;
use super::caller::HttpCaller;
use super::problem::Problem;

/// What went wrong with one address.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(example = json!({"address": "192.168.1.64", "kind": "not-tls", "times": 12, "first": 1767225600000_i64,
    "last": 1767226200000_i64, "detail": "received corrupt message of type InvalidContentType",
    "en": "Something other than TLS came to the TLS port.", "zh": "发到 TLS 端口的不是 TLS。"}))]
pub struct FailedHandshake {
    pub address: String,
    /// A stable name: `not-tls`, `no-certificate`, `wrong-certificate`, `refused-by-peer`, `nothing-in-common`, `too-slow`,
    /// `gone`, `broken` or `too-many`.
    pub kind: &'static str,
    pub times: u64,
    /// Unix milliseconds.
    pub first: i64,
    /// Unix milliseconds.
    pub last: i64,
    /// The TLS library's words.
    pub detail: String,
    /// What is wrong and what to try.
    pub en: &'static str,
    /// The same in Chinese.
    pub zh: &'static str,
}

impl From<Line> for FailedHandshake {
    fn from(line: Line) -> FailedHandshake {
        let (en, zh) = line.failure.words();
        FailedHandshake {
            address: line.address.to_string(),
            kind: line.failure.name(),
            times: line.times,
            first: line.first_ms,
            last: line.last_ms,
            detail: line.detail,
            en,
            zh,
        }
    }
}

/// Failed TLS handshakes of SIP since the start, one line an address and kind, the newest first; at most 256.
#[utoipa::path(get, path = "/gantry/v1/sip/handshakes", operation_id = "failedHandshakes", tag = "device",
    security(("token" = [])),
    responses((status = 200, body = Vec<FailedHandshake>), (status = 401, body = Problem)))]
pub async fn failed(
    State(state): State<ApiState>,
    _caller: HttpCaller,
) -> Json<Vec<FailedHandshake>> {
    let lines = state.session.handshakes().lines();
    Json(lines.into_iter().map(Into::into).collect())
}
