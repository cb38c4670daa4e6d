//! `/gantry/v1/devices/{puid}/auth`: how a device proves who it is when it registers (GB/T 28181-2016, 9.1).
//!
//! The vendor's API keeps a password in its list of devices that may register, which this node does not need: whoever
//! knows the right password comes in. So this is a call beside it, for administrators. A password is never shown again, and
//! lies encrypted in the store. A device that must prove itself by GB 35114 is left to `/28181in/gmdevice`.

use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::gb28181;
use crate::id::DeviceId;
use crate::limits::DEVICE_PASSWORD_BYTES_MAX;
use crate::session::Command;

use super::ApiState;
use super::caller::HttpAdmin;
use super::certificate;
use super::envelope::Code;
use super::problem::{HttpPath, Problem};

/// What is asked of a device at REGISTER.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum DeviceAuthKind {
    /// The password of the config (`sip.device_password`).
    Default,
    /// A password of its own.
    Password,
    /// Nothing: it is let in by its code.
    None,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = DeviceAuth, example = json!({"kind": "password", "password": "gate-7-camera"}))]
pub struct DeviceAuthRequest {
    kind: DeviceAuthKind,
    /// With `password`, and only then: 1 to 64 bytes, no control characters.
    #[serde(default)]
    password: Option<String>,
}

/// Sets how a device logs in, also one that has never been seen. It counts from the device's next REGISTER.
#[utoipa::path(put, path = "/gantry/v1/devices/{puid}/auth", operation_id = "setDeviceAuth", tag = "device", security(("token" = [])),
    params(("puid" = String, Path, description = "PU_ and the code", example = "PU_34020000001110000001")),
    request_body(content = DeviceAuthRequest, examples(
        ("own password" = (value = json!({"kind": "password", "password": "gate-7-camera"}))),
        ("default password" = (value = json!({"kind": "default"}))),
        ("none" = (value = json!({"kind": "none"}))))),
    responses((status = 204, description = "set"), (status = 400, body = Problem), (status = 401, body = Problem),
        (status = 403, body = Problem, description = "an administrator is needed"),
        (status = 409, body = Problem, description = "it must prove itself by GB 35114")))]
pub async fn set(
    State(state): State<ApiState>,
    caller: HttpAdmin,
    HttpPath(puid): HttpPath<String>,
    body: Bytes,
) -> Result<StatusCode, Problem> {
    let device = DeviceId::from_pu_id(&puid).map_err(|e| bad(format!("puid is {e}")))?;
    // The parser's own words would show a part of the password.
    let request: DeviceAuthRequest = serde_json::from_slice(&body)
        .map_err(|_| bad("the body must be {kind: default, password or none; password}"))?;
    let auth = read(request).map_err(bad)?;
    certificate::leave_alone(&state, device)
        .await
        .map_err(|failure| {
            let status = if failure.code == Code::Exist {
                StatusCode::CONFLICT
            } else {
                StatusCode::INTERNAL_SERVER_ERROR
            };
            Problem::new(status, failure.msg)
        })?;
    let kind = match auth {
        gb28181::DeviceAuth::Default => "default",
        gb28181::DeviceAuth::Password(_) => "password",
        gb28181::DeviceAuth::NotNeeded => "none",
        gb28181::DeviceAuth::Certificate { .. } => "certificate",
    };
    tracing::info!(%device, kind, user = %caller.login.user, "how the device logs in was changed");
    let command = Command::SetDeviceAuth { device, auth };
    state.session.call(command).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn read(request: DeviceAuthRequest) -> Result<gb28181::DeviceAuth, &'static str> {
    match (request.kind, request.password) {
        (DeviceAuthKind::Default, None) => Ok(gb28181::DeviceAuth::Default),
        (DeviceAuthKind::None, None) => Ok(gb28181::DeviceAuth::NotNeeded),
        (DeviceAuthKind::Password, Some(password)) => {
            let fits = (1..=DEVICE_PASSWORD_BYTES_MAX).contains(&password.len())
                && !password.chars().any(char::is_control);
            fits.then_some(gb28181::DeviceAuth::Password(password))
                .ok_or("password must have 1 to 64 bytes and no control characters")
        }
        (DeviceAuthKind::Password, None) => Err("kind password needs password"),
        (DeviceAuthKind::Default | DeviceAuthKind::None, Some(_)) => {
            Err("password goes with kind password only")
        }
    }
}

fn bad(detail: impl Into<String>) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_goes_with_its_kind_and_has_a_bound() {
        let ask = |kind, password: Option<String>| read(DeviceAuthRequest { kind, password });
        let own = |n: usize| Some("x".repeat(n));
        assert!(ask(DeviceAuthKind::Password, own(DEVICE_PASSWORD_BYTES_MAX)).is_ok());
        assert!(ask(DeviceAuthKind::Password, own(DEVICE_PASSWORD_BYTES_MAX + 1)).is_err());
        assert!(ask(DeviceAuthKind::Password, own(0)).is_err());
        assert!(ask(DeviceAuthKind::Password, Some("a\r\nb".into())).is_err());
        assert!(ask(DeviceAuthKind::Password, None).is_err());
        assert!(ask(DeviceAuthKind::None, own(1)).is_err());
        assert_eq!(
            ask(DeviceAuthKind::None, None),
            Ok(gb28181::DeviceAuth::NotNeeded)
        );
        assert_eq!(
            ask(DeviceAuthKind::Default, None),
            Ok(gb28181::DeviceAuth::Default)
        );
    }
}
