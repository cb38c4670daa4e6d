//! The bvcsp envelope: `{code, msg[, data][, pageInfo]}`, always HTTP 200 (bvcsp 1.1).
//!
//! The vendor's client throws away the body of any other status and looks at `code` alone.

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::gb28181::AskFailure;
use crate::limits;
use crate::net::ViewerError;
use crate::session::{self, ViewFailure};

use super::read;

/// What a call came to (bvcsp 1.1, table of codes).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Code {
    Success = 0,
    Fail = 1,
    NotFound = 2,
    Exist = 3,
    ErrorParam = 4,
    Offline = 5,
    Timeout = 6,
    Busy = 7,
    Unsupported = 8,
    /// No token, or one that is not valid.
    AuthFail = 9,
    Forbidden = 10,
    ServerError = 11,
    #[expect(
        dead_code,
        reason = "a node always has a streaming unit; the table is whole"
    )]
    VtduNone = 12,
    #[expect(
        dead_code,
        reason = "no call needs a storage unit yet; the table is whole"
    )]
    NruNone = 13,
    ErrorPassword = 14,
    ErrorDatabase = 15,
    NoPermission = 16,
    MaxRetries = 17,
}

/// An answer to a call that went well.
#[derive(Debug, Serialize, ToSchema)]
pub struct Answer<T> {
    /// 0 = success; the table of codes stands in the description of the API.
    pub code: u8,
    pub msg: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<T>,
    #[serde(rename = "pageInfo", skip_serializing_if = "Option::is_none")]
    pub page_info: Option<PageInfo>,
}

/// An answer without data.
#[derive(Debug, Serialize, ToSchema)]
pub struct Done {
    /// 0 = success; the table of codes stands in the description of the API.
    pub code: u8,
    pub msg: String,
}

/// Which part of a list this is. Pages count from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PageInfo {
    pub page: u32,
    /// As used, which may be less than asked for.
    pub page_size: u32,
    /// Items that match, on all pages.
    pub total_count: usize,
}

impl<T> Answer<T> {
    pub fn data(data: T) -> Answer<T> {
        Answer {
            code: Code::Success as u8,
            msg: "success".into(),
            data: Some(data),
            page_info: None,
        }
    }
}

/// The code of an answer, for who looks at it on its way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CodeOf(pub u8);

fn with_code(code: u8, body: impl Serialize) -> Response {
    let mut response = Json(body).into_response();
    response.extensions_mut().insert(CodeOf(code));
    response
}

impl<T> Answer<Vec<T>> {
    /// The same page of other items.
    pub fn map<U>(self, show: impl FnMut(T) -> U) -> Answer<Vec<U>> {
        Answer {
            code: self.code,
            msg: self.msg,
            data: self.data.map(|items| items.into_iter().map(show).collect()),
            page_info: self.page_info,
        }
    }

    /// The items, and the answer without them.
    pub fn split(mut self) -> (Vec<T>, Answer<Vec<T>>) {
        (self.data.take().unwrap_or_default(), self)
    }

    /// The same page with these items.
    pub fn with<U>(self, items: Vec<U>) -> Answer<Vec<U>> {
        Answer {
            code: self.code,
            msg: self.msg,
            data: Some(items),
            page_info: self.page_info,
        }
    }
}

impl<T: Serialize> IntoResponse for Answer<T> {
    fn into_response(self) -> Response {
        with_code(self.code, self)
    }
}

impl Done {
    pub fn new() -> Done {
        Done {
            code: Code::Success as u8,
            msg: "success".into(),
        }
    }
}

impl IntoResponse for Done {
    fn into_response(self) -> Response {
        with_code(self.code, self)
    }
}

/// A call that failed. HTTP 200 all the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub code: Code,
    pub msg: String,
}

impl Failure {
    pub fn new(code: Code, msg: impl Into<String>) -> Failure {
        Failure {
            code,
            msg: msg.into(),
        }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        Done {
            code: self.code as u8,
            msg: self.msg,
        }
        .into_response()
    }
}

impl From<crate::store::Error> for Failure {
    fn from(error: crate::store::Error) -> Failure {
        tracing::error!(%error, "the database refuses a call");
        Failure::new(Code::ErrorDatabase, "the database refused; see the log")
    }
}

/// THE table of failures: which code and which HTTP status each has.
///
/// No status of a failing server for what a caller or a device can cause: monitors would take a camera for a broken node.
/// What a device does or leaves undone is 424, a bound of ours 429, what may be there soon 409. 503 is our own end alone.
pub fn kind(error: &session::Error) -> (Code, StatusCode) {
    use session::Error;
    match error {
        Error::NotFound { .. } | Error::PlaybackOver { .. } => {
            (Code::NotFound, StatusCode::NOT_FOUND)
        }
        Error::Exists { .. } => (Code::Exist, StatusCode::CONFLICT),
        Error::Ask(failure) => ask_kind(failure),
        Error::BadField(_) | Error::BadParameter { .. } => {
            (Code::ErrorParam, StatusCode::BAD_REQUEST)
        }
        // WHEP answers 409 with Retry-After when there is nothing to watch yet (draft-ietf-wish-whep, 4.2).
        Error::DeviceOffline => (Code::Offline, StatusCode::CONFLICT),
        Error::View(failure, _) => view_kind(failure),
        Error::Busy { .. } => (Code::Busy, StatusCode::TOO_MANY_REQUESTS),
        Error::ShuttingDown => (Code::Forbidden, StatusCode::SERVICE_UNAVAILABLE),
    }
}

fn ask_kind(failure: &AskFailure) -> (Code, StatusCode) {
    match failure {
        AskFailure::DeviceUnknown | AskFailure::NoDialog { .. } => {
            (Code::NotFound, StatusCode::NOT_FOUND)
        }
        AskFailure::DeviceOffline | AskFailure::DeviceLost => (Code::Offline, StatusCode::CONFLICT),
        AskFailure::TooMany { .. } => (Code::Busy, StatusCode::TOO_MANY_REQUESTS),
        AskFailure::NoAnswer { .. } => (Code::Timeout, StatusCode::FAILED_DEPENDENCY),
        // The device says ERROR to what it does not know, and 404 to a channel that it does not have.
        AskFailure::Failed {
            too_new: Some(_), ..
        }
        | AskFailure::Refused {
            status: 405 | 415 | 488 | 501 | 606,
            ..
        } => (Code::Unsupported, StatusCode::FAILED_DEPENDENCY),
        AskFailure::Refused { status: 404, .. } => (Code::NotFound, StatusCode::NOT_FOUND),
        AskFailure::Refused {
            status: 486 | 503 | 600,
            ..
        } => (Code::Busy, StatusCode::CONFLICT),
        AskFailure::Refused { .. } | AskFailure::Failed { .. } | AskFailure::BadAnswer { .. } => {
            (Code::Fail, StatusCode::FAILED_DEPENDENCY)
        }
    }
}

fn view_kind(failure: &ViewFailure) -> (Code, StatusCode) {
    match failure {
        ViewFailure::NoAnswer
        | ViewFailure::NoConnection
        | ViewFailure::NoRtp
        | ViewFailure::NoKeyFrame => (Code::Timeout, StatusCode::FAILED_DEPENDENCY),
        ViewFailure::Rejected { status, .. } => match status {
            404 => (Code::NotFound, StatusCode::NOT_FOUND),
            480 => (Code::Offline, StatusCode::CONFLICT),
            486 | 503 | 600 => (Code::Busy, StatusCode::CONFLICT),
            415 | 488 | 606 => (Code::Unsupported, StatusCode::FAILED_DEPENDENCY),
            _ => (Code::Fail, StatusCode::FAILED_DEPENDENCY),
        },
        ViewFailure::NoProgramStream
        | ViewFailure::NoPsm
        | ViewFailure::UnsupportedCodec { .. } => {
            (Code::Unsupported, StatusCode::FAILED_DEPENDENCY)
        }
        ViewFailure::BadAnswer { .. }
        | ViewFailure::ForeignSsrc { .. }
        | ViewFailure::EndedByDevice => (Code::Fail, StatusCode::FAILED_DEPENDENCY),
        ViewFailure::DeviceLost => (Code::Offline, StatusCode::CONFLICT),
    }
}

impl From<session::Error> for Failure {
    fn from(error: session::Error) -> Failure {
        Failure::new(kind(&error).0, error.to_string())
    }
}

/// The same for a viewer that could not be brought to its stream, with what to say.
pub fn viewer_kind(error: &ViewerError) -> (Code, StatusCode, String) {
    match error {
        ViewerError::StreamGone => (
            Code::Fail,
            StatusCode::CONFLICT,
            "the stream ended while the viewer came; try again".into(),
        ),
        ViewerError::Offer(problem) => (
            Code::ErrorParam,
            StatusCode::BAD_REQUEST,
            format!("the SDP offer cannot be answered: {problem}"),
        ),
        ViewerError::Busy { limit } => (
            Code::Busy,
            StatusCode::TOO_MANY_REQUESTS,
            format!("busy: at the limit {limit}"),
        ),
    }
}

impl From<ViewerError> for Failure {
    fn from(error: ViewerError) -> Failure {
        let (code, _, msg) = viewer_kind(&error);
        Failure::new(code, msg)
    }
}

/// A reply that the facade does not give to this command.
pub fn wrong_reply() -> Failure {
    Failure::new(Code::ServerError, "the control thread gave another reply")
}

/// What stands in the path. A value that cannot be read is code 4, not a bare 400.
pub struct Path<T>(pub T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        let read = axum::extract::Path::<T>::from_request_parts(parts, state).await;
        read.map(|axum::extract::Path(value)| Path(value))
            .map_err(|error| {
                let what = read::path_error(parts, error);
                Failure::new(
                    Code::ErrorParam,
                    format!("bad parameter in the path: {what}"),
                )
            })
    }
}

/// What stands behind the `?`. A value that cannot be read is code 4.
pub struct InQuery<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for InQuery<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        let read = axum::extract::Query::<T>::from_request_parts(parts, state).await;
        read.map(|axum::extract::Query(value)| InQuery(value))
            .map_err(|error| {
                let what = format!("bad parameter in the query: {}", error.body_text());
                Failure::new(Code::ErrorParam, what)
            })
    }
}

/// A JSON body; an empty one counts as `{}`. The content type is not looked at: clients differ.
pub struct Body<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, state: &S) -> Result<Self, Failure> {
        let bytes = Bytes::from_request(request, state)
            .await
            .map_err(|e: BytesRejection| Failure::new(Code::ErrorParam, e.body_text()))?;
        parse(&bytes).map(Body)
    }
}

/// As [`Body`], with the letter case of top-level keys ignored: some clients send `Username` (bvcsp 1.1). The type's
/// keys are in lower case.
pub struct LooseBody<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for LooseBody<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, state: &S) -> Result<Self, Failure> {
        type Object = serde_json::Map<String, serde_json::Value>;
        let Body(object) = Body::<Object>::from_request(request, state).await?;
        let object: Object = object
            .into_iter()
            .map(|(key, value)| (key.to_ascii_lowercase(), value))
            .collect();
        read::object(object).map(LooseBody).map_err(bad_body)
    }
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Failure> {
    let bytes = if bytes.trim_ascii().is_empty() {
        b"{}"
    } else {
        bytes
    };
    read::json(bytes).map_err(bad_body)
}

fn bad_body(error: String) -> Failure {
    Failure::new(
        Code::ErrorParam,
        format!("the body cannot be read: {error}"),
    )
}

/// Which page of a list is wanted.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Paging {
    /// Counts from 0.
    #[serde(default)]
    pub page: u32,
    /// 1 to 1000; 0 = 100.
    #[serde(default)]
    pub page_size: u32,
}

impl Paging {
    const SIZE_DEFAULT: u32 = 100;

    pub fn size(self) -> u32 {
        match self.page_size {
            0 => Paging::SIZE_DEFAULT,
            size => size.min(limits::API_PAGE_ITEMS_MAX),
        }
    }

    /// Items before the page.
    pub fn skip(self) -> i64 {
        i64::from(self.page) * i64::from(self.size())
    }

    /// A page that the database cut.
    pub fn answer<T>(self, items: Vec<T>, total_count: u64) -> Answer<Vec<T>> {
        Answer {
            page_info: Some(PageInfo {
                page: self.page,
                page_size: self.size(),
                total_count: usize::try_from(total_count).unwrap_or(usize::MAX),
            }),
            ..Answer::data(items)
        }
    }

    /// Cuts the page out of a list and says where it lies. `show` runs for the items of the page alone.
    pub fn cut<T, U>(self, items: Vec<T>, show: impl FnMut(T) -> U) -> Answer<Vec<U>> {
        let size = self.size();
        let total_count = items.len();
        let skip = (self.page as usize).saturating_mul(size as usize);
        let page: Vec<U> = items
            .into_iter()
            .skip(skip)
            .take(size as usize)
            .map(show)
            .collect();
        Answer {
            page_info: Some(PageInfo {
                page: self.page,
                page_size: size,
                total_count,
            }),
            ..Answer::data(page)
        }
    }
}

/// Calls that this version does not have: the vendor's client understands a code, not a 404.
pub async fn unknown_call(method: Method, uri: Uri) -> Failure {
    Failure::new(
        Code::Unsupported,
        format!("there is no call {method} {}", uri.path()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_count_from_zero_and_are_bounded() {
        let cut = |page, page_size| {
            let answer = Paging { page, page_size }.cut((0..2_500).collect(), |n: u32| n);
            (answer.data.expect("data"), answer.page_info.expect("info"))
        };
        let (items, info) = cut(1, 10);
        assert_eq!((items[0], items.len(), info.total_count), (10, 10, 2_500));
        let (items, info) = cut(0, u32::MAX);
        assert_eq!(items.len(), limits::API_PAGE_ITEMS_MAX as usize);
        assert_eq!(info.page_size, limits::API_PAGE_ITEMS_MAX);
        assert_eq!(cut(2, limits::API_PAGE_ITEMS_MAX).0.len(), 500);
        assert_eq!(cut(0, 0).0.len(), 100);
        assert!(cut(u32::MAX, u32::MAX).0.is_empty());
    }

    #[test]
    fn what_a_caller_or_device_causes_is_no_failure_of_the_server() {
        use crate::session::{Error, PlayEnd};
        let rejected = |status| {
            let reason = String::new();
            Error::View(ViewFailure::Rejected { status, reason }, None)
        };
        let refused = |status| {
            let reason = String::new();
            Error::Ask(AskFailure::Refused {
                sent: "x",
                status,
                reason,
                too_new: None,
            })
        };
        let mut errors = vec![
            Error::NotFound { what: "device" },
            Error::Exists { what: "device" },
            Error::BadParameter { what: "x" },
            Error::DeviceOffline,
            Error::PlaybackOver {
                end: PlayEnd::Closed,
            },
            Error::Busy { limit: "x" },
            Error::Ask(AskFailure::DeviceUnknown),
            Error::Ask(AskFailure::DeviceOffline),
            Error::Ask(AskFailure::DeviceLost),
            Error::Ask(AskFailure::TooMany { limit: "x" }),
            Error::Ask(AskFailure::NoDialog { sent: "x" }),
            Error::Ask(AskFailure::Failed {
                sent: "x",
                too_new: None,
            }),
            Error::Ask(AskFailure::NoAnswer {
                sent: "x",
                waited_ms: 1,
                taken: true,
                too_new: None,
            }),
            Error::Ask(AskFailure::BadAnswer {
                sent: "x",
                what: String::new(),
            }),
        ];
        let views = [
            ViewFailure::NoAnswer,
            ViewFailure::BadAnswer { what: "x" },
            ViewFailure::NoConnection,
            ViewFailure::NoRtp,
            ViewFailure::NoProgramStream,
            ViewFailure::NoPsm,
            ViewFailure::NoKeyFrame,
            ViewFailure::UnsupportedCodec { stream_type: 0x80 },
            ViewFailure::EndedByDevice,
            ViewFailure::DeviceLost,
        ];
        errors.extend(views.map(|failure| Error::View(failure, None)));
        errors.extend((300..700).map(rejected));
        errors.extend((300..700).map(refused));
        for error in errors {
            let (_, status) = kind(&error);
            assert!(status.is_client_error(), "{error:?}: {status}");
        }
        let (_, status, _) = viewer_kind(&ViewerError::Busy { limit: "x" });
        assert_eq!(status, StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(
            kind(&Error::ShuttingDown).1,
            StatusCode::SERVICE_UNAVAILABLE
        );
    }

    #[test]
    fn the_stage_that_failed_is_in_the_message() {
        let failures = [
            (ViewFailure::NoAnswer, Code::Timeout),
            (ViewFailure::NoRtp, Code::Timeout),
            (
                ViewFailure::Rejected {
                    status: 486,
                    reason: "Busy Here".into(),
                },
                Code::Busy,
            ),
            (
                ViewFailure::UnsupportedCodec { stream_type: 0x80 },
                Code::Unsupported,
            ),
            (ViewFailure::NoPsm, Code::Unsupported),
            (ViewFailure::DeviceLost, Code::Offline),
        ];
        for (failure, code) in failures {
            let stage = failure.stage();
            let failure = Failure::from(session::Error::View(failure, None));
            assert_eq!(failure.code, code);
            assert!(
                failure.msg.starts_with(stage),
                "{} in {}",
                stage,
                failure.msg
            );
        }
    }
}
