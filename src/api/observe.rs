//! What operators look at: `/healthz` and `/metrics`.

use axum::Json;
use axum::extract::{FromRequestParts, Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::metrics;
use crate::session::Command;

use super::ApiState;
use super::caller::HttpCaller;
use super::problem::Problem;

#[derive(Debug, Serialize, ToSchema)]
pub struct Health {
    #[schema(example = "ok")]
    pub status: &'static str,
    #[schema(example = "gantry")]
    pub name: String,
    #[schema(example = "0.1.0")]
    pub version: &'static str,
}

/// Whether the node can work: its control thread answers.
#[utoipa::path(get, path = "/healthz", operation_id = "health", tag = "operation",
    responses((status = 200, body = Health), (status = 503, body = Problem)))]
pub async fn health(State(state): State<ApiState>) -> Result<Json<Health>, Problem> {
    state.session.call(Command::MediaServices).await?;
    Ok(Json(Health {
        status: "ok",
        name: state.config.node.name.clone(),
        version: env!("CARGO_PKG_VERSION"),
    }))
}

/// Counters for Prometheus. Needs a token if `http.open_metrics` is false.
#[utoipa::path(get, path = "/metrics", operation_id = "metrics", tag = "operation",
    responses((status = 200, body = String, content_type = "application/openmetrics-text"), (status = 401, body = Problem)))]
pub async fn metrics(State(state): State<ApiState>, request: Request) -> Result<Response, Problem> {
    if !state.config.http.open_metrics {
        let (mut parts, _) = request.into_parts();
        HttpCaller::from_request_parts(&mut parts, &state).await?;
    }
    let store = state.store.stats();
    state.metrics.store_written.set(&[], store.written);
    state.metrics.store_failed.set(&[], store.failed);
    state.metrics.queue_depth.set(&["store"], store.pending);
    state.metrics.queue_dropped.set(&["store"], store.dropped);
    let content_type = [(header::CONTENT_TYPE, metrics::CONTENT_TYPE)];
    Ok((StatusCode::OK, content_type, state.metrics.encode()).into_response())
}
