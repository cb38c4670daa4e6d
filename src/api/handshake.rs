//! `/gantry/v1/sip/handshakes`: devices that did not get through the TLS door of SIP, and why.
//!
//! They have no code yet, so the per-device view of messages cannot show them.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use crate::diagnosis::handshake::Line;
use crate::limits;

use super::ApiState;
use super::caller::HttpCaller;
use super::list::{Field, Key, ListQuery, holds};
use super::problem::{HttpQuery, Problem};

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

/// By what they are sorted.
const FIELDS: &[Field<FailedHandshake>] = &[
    ("address", |line| line.address.as_str().into()),
    ("kind", |line| line.kind.into()),
    ("times", |line| {
        Key::Number(i64::try_from(line.times).unwrap_or(i64::MAX))
    }),
    ("first", |line| Key::Number(line.first)),
    ("last", |line| Key::Number(line.last)),
    ("detail", |line| line.detail.as_str().into()),
];

/// Failed TLS handshakes of SIP since the start, one line an address and kind, the newest first; at most 256. They live in
/// memory, so order and page are not the database's here; `sort` is any field but `en` and `zh`.
#[utoipa::path(get, path = "/gantry/v1/sip/handshakes", operation_id = "failedHandshakes", tag = "device",
    security(("token" = [])),
    params(("page" = Option<u32>, Query, description = "counts from 0"), ("pageSize" = Option<u32>, Query, description = "1 to 1000; none = 1000"),
        ("sort" = Option<String>, Query, description = "a field, with - before it from the greatest down", example = "-last"),
        ("keyword" = Option<String>, Query, description = "a part of the address, the kind or the detail")),
    responses((status = 200, body = Vec<FailedHandshake>), (status = 400, body = Problem), (status = 401, body = Problem)))]
pub async fn failed(
    State(state): State<ApiState>,
    _caller: HttpCaller,
    HttpQuery(query): HttpQuery<ListQuery>,
) -> Result<Json<Vec<FailedHandshake>>, Problem> {
    let lines = state.session.handshakes().lines();
    let lines = lines.into_iter().map(FailedHandshake::from);
    let found = lines.filter(|line| {
        let texts = [&*line.address, line.kind, &*line.detail];
        holds(&texts, &query.keyword)
    });
    let found = found.collect();
    let page = query
        .request(limits::API_PAGE_ITEMS_MAX)
        .cut(found, FIELDS, |line| line)?;
    Ok(Json(page.data.unwrap_or_default()))
}
