//! `/gantry/v1/devices/{puid}/policy`: how one device is treated where the usual way does not fit it.

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::id::DeviceId;
use crate::session::{Command, DevicePolicy, Reply};

use super::ApiState;
use super::caller::{HttpAdmin, HttpCaller};
use super::problem::{HttpPath, Problem, read_body};

/// The policies of a device. Each is `auto` unless it was forced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Policy {
    /// How it is asked to send: `auto`, `udp`, `tcp-passive` (it connects to us), `tcp-active` (we connect to it).
    #[schema(example = "tcp-passive")]
    transport: String,
    /// Packets of an SSRC that nobody agreed on: `auto`, `switch` to it, or `refuse`.
    #[schema(example = "auto")]
    foreign_ssrc: String,
    /// Pictures with loss: `auto`, `hold-back` until the next key frame, or `show`.
    #[schema(example = "auto")]
    loss: String,
    /// The address that it is told to send media to: `auto`, or an IP address.
    #[schema(example = "203.0.113.9")]
    media_ip: String,
    /// In which charset it is asked: `auto`, `gb2312`, `utf8`.
    #[schema(example = "auto")]
    charset: String,
    /// Whose code stands in `o=` of our offers: `auto`, `channel`, `platform`.
    #[schema(example = "auto")]
    owner: String,
    /// What a 200 OK without SDP means: `auto`, `assume` our offer, `refuse`.
    #[schema(example = "auto")]
    missing_sdp: String,
    /// What it means when both sides want to listen: `auto`, `tolerate`, `refuse`.
    #[schema(example = "auto")]
    tcp_role: String,
    /// Which address may speak for it: `auto`, `same-ip`, `any-ip`.
    #[schema(example = "auto")]
    moved: String,
    /// Whether a playback is stopped by TEARDOWN before BYE: `auto` (it is), `send`, `skip`.
    #[schema(example = "auto")]
    teardown: String,
}

impl Policy {
    fn fields(&mut self) -> [(&'static str, &mut String); 10] {
        [
            ("transport", &mut self.transport),
            ("foreign_ssrc", &mut self.foreign_ssrc),
            ("loss", &mut self.loss),
            ("media_ip", &mut self.media_ip),
            ("charset", &mut self.charset),
            ("owner", &mut self.owner),
            ("missing_sdp", &mut self.missing_sdp),
            ("tcp_role", &mut self.tcp_role),
            ("moved", &mut self.moved),
            ("teardown", &mut self.teardown),
        ]
    }
}

impl Default for Policy {
    fn default() -> Policy {
        DevicePolicy::default().into()
    }
}

impl From<DevicePolicy> for Policy {
    fn from(policy: DevicePolicy) -> Policy {
        let mut shown = Policy {
            transport: String::new(),
            foreign_ssrc: String::new(),
            loss: String::new(),
            media_ip: String::new(),
            charset: String::new(),
            owner: String::new(),
            missing_sdp: String::new(),
            tcp_role: String::new(),
            moved: String::new(),
            teardown: String::new(),
        };
        for ((name, field), (key, word)) in shown.fields().into_iter().zip(policy.entries()) {
            debug_assert_eq!(name, key);
            *field = word;
        }
        shown
    }
}

/// The policies of a device.
#[utoipa::path(get, path = "/gantry/v1/devices/{puid}/policy", operation_id = "devicePolicy", tag = "device", security(("token" = [])),
    params(("puid" = String, Path, description = "PU_ and the code", example = "PU_34020000001110000001")),
    responses((status = 200, body = Policy), (status = 400, body = Problem), (status = 401, body = Problem),
        (status = 404, body = Problem)))]
pub async fn show(
    State(state): State<ApiState>,
    _: HttpCaller,
    HttpPath(puid): HttpPath<String>,
) -> Result<Json<Policy>, Problem> {
    let device = read(&puid)?;
    let Reply::DevicePolicy(policy) = state.session.call(Command::DevicePolicy { device }).await?
    else {
        return Err(Problem::wrong_reply());
    };
    Ok(Json((*policy).into()))
}

/// Forces policies of a device; what is left out is `auto`. It counts from the next view on, and over restarts.
#[utoipa::path(put, path = "/gantry/v1/devices/{puid}/policy", operation_id = "setDevicePolicy", tag = "device", security(("token" = [])), request_body = Policy,
    params(("puid" = String, Path, description = "PU_ and the code", example = "PU_34020000001110000001")),
    responses((status = 200, body = Policy), (status = 400, body = Problem, description = "no such policy"),
        (status = 401, body = Problem), (status = 403, body = Problem, description = "an administrator is needed"),
        (status = 404, body = Problem)))]
pub async fn set(
    State(state): State<ApiState>,
    caller: HttpAdmin,
    HttpPath(puid): HttpPath<String>,
    body: Bytes,
) -> Result<Json<Policy>, Problem> {
    let device = read(&puid)?;
    let mut asked: Policy = read_body(&body)?;
    let mut policy = DevicePolicy::default();
    for (key, word) in asked.fields() {
        policy.set(key, word).map_err(|e| bad(e.to_string()))?;
    }
    state
        .session
        .call(Command::SetDevicePolicy { device, policy })
        .await?;
    state.store.save_policy(device, policy).await.map_err(|e| {
        tracing::error!(%device, error = %e, "a device's policy counts but could not be stored");
        Problem::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "the policy counts until the next restart: it could not be stored",
        )
    })?;
    tracing::info!(%device, user = %caller.login.user, policy = policy.to_text(), "policy of a device set");
    Ok(Json(policy.into()))
}

fn read(puid: &str) -> Result<DeviceId, Problem> {
    DeviceId::from_pu_id(puid).map_err(|e| bad(format!("puid is {e}")))
}

fn bad(detail: impl Into<String>) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_session_in_its_order() {
        let mut shown = Policy::default();
        let names: Vec<&str> = shown.fields().iter().map(|(name, _)| *name).collect();
        let entries = DevicePolicy::default().entries();
        assert_eq!(names, entries.map(|(key, _)| key));
        assert!(shown.fields().iter().all(|(_, word)| *word == "auto"));
    }
}
