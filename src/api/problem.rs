//! Failures outside bvcsp: an HTTP status with a problem document (RFC 9457).

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;
use utoipa::ToSchema;

use crate::net::ViewerError;
use crate::session;

use super::envelope::{Code, Failure, kind, viewer_kind};
use super::read;

/// Seconds after which a client may ask again when there is nothing to watch yet, or no room.
const RETRY_AFTER_S: u16 = 5;

/// What went wrong, as `application/problem+json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Problem {
    /// The HTTP status again.
    pub status: u16,
    pub title: String,
    /// For people; a failed view names its stage first.
    pub detail: String,
    /// The code that bvcsp has for it, if it has one: 2 not found, 4 bad parameter, 5 offline, 6 no answer, 7 busy, 8 not
    /// supported, 9 no token, 16 no permission.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<u8>,
    /// The stage at which a view failed, such as "no RTP".
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stage: Option<String>,
}

impl Problem {
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Problem {
        Problem {
            status: status.as_u16(),
            title: status.canonical_reason().unwrap_or("Failed").into(),
            detail: detail.into(),
            code: match status {
                StatusCode::BAD_REQUEST => Some(Code::ErrorParam as u8),
                StatusCode::UNAUTHORIZED => Some(Code::AuthFail as u8),
                StatusCode::FORBIDDEN => Some(Code::NoPermission as u8),
                StatusCode::NOT_FOUND => Some(Code::NotFound as u8),
                StatusCode::TOO_MANY_REQUESTS => Some(Code::Busy as u8),
                _ => None,
            },
            stage: None,
        }
    }

    pub fn unauthorised() -> Problem {
        Problem::new(
            StatusCode::UNAUTHORIZED,
            "a token is needed: Authorization: Bearer, or ?token=",
        )
    }

    pub fn admin_needed() -> Problem {
        Problem::new(StatusCode::FORBIDDEN, "an administrator is needed")
    }

    /// A reply that the facade does not give to this command.
    pub fn wrong_reply() -> Problem {
        Problem::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "the control thread gave another reply",
        )
    }

    pub fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// The document, for servers that write their own response.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// What stands in the path, where HTTP statuses speak: a value that cannot be read is 400.
pub struct HttpPath<T>(pub T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for HttpPath<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let read = axum::extract::Path::<T>::from_request_parts(parts, state).await;
        read.map(|axum::extract::Path(value)| HttpPath(value))
            .map_err(|error| {
                let what = read::path_error(parts, error);
                let what = format!("bad parameter in the path: {what}");
                Problem::new(StatusCode::BAD_REQUEST, what)
            })
    }
}

/// What stands behind the `?`, where HTTP statuses speak: a value that cannot be read is 400.
pub struct HttpQuery<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for HttpQuery<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let read = axum::extract::Query::<T>::from_request_parts(parts, state).await;
        read.map(|axum::extract::Query(value)| HttpQuery(value))
            .map_err(|error| {
                let what = format!("bad parameter in the query: {}", error.body_text());
                Problem::new(StatusCode::BAD_REQUEST, what)
            })
    }
}

impl From<session::Error> for Problem {
    fn from(error: session::Error) -> Problem {
        let stage = match &error {
            session::Error::View(failure, _) => Some(failure.stage().to_owned()),
            session::Error::NotFound { .. }
            | session::Error::Exists { .. }
            | session::Error::BadParameter { .. }
            | session::Error::BadField(_)
            | session::Error::Ask(_)
            | session::Error::PlaybackOver { .. }
            | session::Error::DeviceOffline
            | session::Error::Busy { .. }
            | session::Error::ShuttingDown => None,
        };
        let (code, status) = kind(&error);
        Problem {
            code: Some(code as u8),
            stage,
            ..Problem::new(status, error.to_string())
        }
    }
}

/// What helpers of both worlds refuse.
impl From<Failure> for Problem {
    fn from(failure: Failure) -> Problem {
        let status = match failure.code {
            Code::ErrorParam => StatusCode::BAD_REQUEST,
            Code::NotFound => StatusCode::NOT_FOUND,
            Code::NoPermission => StatusCode::FORBIDDEN,
            Code::AuthFail => StatusCode::UNAUTHORIZED,
            Code::Busy => StatusCode::TOO_MANY_REQUESTS,
            Code::Exist | Code::Offline => StatusCode::CONFLICT,
            Code::Success
            | Code::Fail
            | Code::Timeout
            | Code::Unsupported
            | Code::Forbidden
            | Code::VtduNone
            | Code::NruNone
            | Code::ErrorPassword
            | Code::MaxRetries => StatusCode::FAILED_DEPENDENCY,
            Code::ServerError | Code::ErrorDatabase => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Problem {
            code: Some(failure.code as u8),
            ..Problem::new(status, failure.msg)
        }
    }
}

impl From<ViewerError> for Problem {
    fn from(error: ViewerError) -> Problem {
        let (code, status, detail) = viewer_kind(&error);
        Problem {
            code: Some(code as u8),
            ..Problem::new(status, detail)
        }
    }
}

/// A JSON body, where HTTP statuses speak: one that cannot be read is 400.
pub fn read_body<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    read::json(bytes).map_err(|what| {
        let what = format!("bad parameter: the body cannot be read: {what}");
        Problem::new(StatusCode::BAD_REQUEST, what)
    })
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = self.status();
        let mut response = (status, self.to_json()).into_response();
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if matches!(
            status,
            StatusCode::CONFLICT | StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE
        ) {
            headers.insert(header::RETRY_AFTER, RETRY_AFTER_S.into());
        }
        response
    }
}
