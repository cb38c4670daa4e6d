//! Who calls: the token of a request and its peer.
//!
//! A token may stand in `Authorization` (raw as the vendor's clients send it, or `Bearer`), in a cookie of that name, or in
//! the query (bvcsp 1.1).

use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Uri, header};

use crate::session::Owner;

use super::ApiState;
use super::auth::Login;
use super::envelope::{Code, Failure};
use super::problem::Problem;

/// Somebody with a valid token, for bvcsp calls: without one the answer is code 9.
pub struct Caller {
    pub login: Login,
    pub owner: Owner,
}

/// An administrator, for calls that change what belongs to all: without a token the answer is code 9, without the right
/// code 16.
pub struct Admin;

impl FromRequestParts<ApiState> for Admin {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, Failure> {
        let caller = Caller::from_request_parts(parts, state).await?;
        if caller.login.admin {
            Ok(Admin)
        } else {
            Err(Failure::new(
                Code::NoPermission,
                "an administrator is needed",
            ))
        }
    }
}

/// The same where HTTP statuses speak: without a token the answer is 401.
pub struct HttpCaller {
    pub login: Login,
}

/// An administrator where HTTP statuses speak: without a token 401, without the right 403.
pub struct HttpAdmin {
    pub login: Login,
}

/// Who wants media: a login, or anybody where the config opens media. Without: 401.
pub struct Viewer(pub Owner);

/// Where a request came from, if the server said so.
pub struct Peer(pub Option<SocketAddr>);

impl Peer {
    /// Requests without a peer share one source.
    pub fn source(&self) -> IpAddr {
        self.0
            .map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.ip())
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Peer {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Peer(peer(parts)))
    }
}

impl FromRequestParts<ApiState> for Caller {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, Failure> {
        match login(parts, state) {
            Some(login) => Ok(Caller {
                owner: owner(&login, peer(parts)),
                login,
            }),
            None => Err(Failure::new(
                Code::AuthFail,
                "the token is missing, has ended or was logged out",
            )),
        }
    }
}

impl FromRequestParts<ApiState> for HttpCaller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, Problem> {
        let login = login(parts, state).ok_or_else(Problem::unauthorised)?;
        Ok(HttpCaller { login })
    }
}

impl FromRequestParts<ApiState> for HttpAdmin {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, Problem> {
        let HttpCaller { login } = HttpCaller::from_request_parts(parts, state).await?;
        if login.admin {
            Ok(HttpAdmin { login })
        } else {
            Err(Problem::admin_needed())
        }
    }
}

impl FromRequestParts<ApiState> for Viewer {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, Problem> {
        let peer = peer(parts);
        match login(parts, state) {
            Some(login) => Ok(Viewer(owner(&login, peer))),
            None if state.config.http.open_media => Ok(Viewer(nobody(peer))),
            None => Err(Problem::unauthorised()),
        }
    }
}

/// On whose behalf a session is opened.
pub fn owner(login: &Login, peer: Option<SocketAddr>) -> Owner {
    Owner {
        user: login.user.to_string(),
        token_id: login.token_id,
        peer,
    }
}

/// The owner of sessions that need no login.
pub fn nobody(peer: Option<SocketAddr>) -> Owner {
    Owner {
        peer,
        ..Owner::default()
    }
}

/// Where a request came from.
pub fn peer_of(parts: &Parts) -> Option<SocketAddr> {
    peer(parts)
}

/// Whose token a request carries, if it is valid.
pub fn login_of(parts: &Parts, state: &ApiState) -> Option<Login> {
    login(parts, state)
}

fn peer(parts: &Parts) -> Option<SocketAddr> {
    parts
        .extensions
        .get::<ConnectInfo<SocketAddr>>()
        .map(|ConnectInfo(peer)| *peer)
}

fn login(parts: &Parts, state: &ApiState) -> Option<Login> {
    let token = header_token(&parts.headers)
        .map(str::to_owned)
        .or_else(|| query_token(&parts.uri))?;
    state.auth.check(&token)
}

/// The token of `Authorization`, or of the cookie of that name.
pub fn header_token(headers: &HeaderMap) -> Option<&str> {
    let header = headers.get(header::AUTHORIZATION);
    if let Some(value) = header.and_then(|value| value.to_str().ok()) {
        return Some(bare(value));
    }
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|cookies| cookies.split(';'))
        .filter_map(|cookie| cookie.trim().split_once('='))
        .find(|(name, _)| name.eq_ignore_ascii_case("authorization"))
        .map(|(_, value)| bare(value))
}

fn query_token(uri: &Uri) -> Option<String> {
    query_value(uri.query().unwrap_or_default(), "token")
}

/// Without `Bearer`.
fn bare(value: &str) -> &str {
    let value = value.trim();
    match value.split_at_checked(7) {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer ") => token.trim(),
        Some(_) | None => value,
    }
}

/// The value of a key of a query string, percent-decoded. `None`: not there, or not UTF-8.
pub fn query_value(query: &str, key: &str) -> Option<String> {
    query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .find(|(name, _)| *name == key)
        .and_then(|(_, value)| percent_decode(value))
}

/// RFC 3986, 2.1. A `%` without two hex digits stays as it is.
fn percent_decode(text: &str) -> Option<String> {
    if !text.contains('%') {
        return Some(text.to_owned());
    }
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let digit = |at: usize| after.get(at).and_then(|b| char::from(*b).to_digit(16));
        match (byte, digit(0), digit(1)) {
            (b'%', Some(high), Some(low)) => {
                out.push((high * 16 + low) as u8);
                rest = &after[2..];
            }
            _ => {
                out.push(byte);
                rest = after;
            }
        }
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_found_where_clients_put_it() {
        let headers = |name: &'static str, value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(name, value.parse().expect("a header value"));
            headers
        };
        assert_eq!(header_token(&headers("authorization", "abc")), Some("abc"));
        assert_eq!(
            header_token(&headers("authorization", "Bearer abc")),
            Some("abc")
        );
        assert_eq!(
            header_token(&headers("authorization", "bearer  abc ")),
            Some("abc")
        );
        let cookies = headers("cookie", "a=b; Authorization=abc; c=d");
        assert_eq!(header_token(&cookies), Some("abc"));
        assert_eq!(header_token(&headers("cookie", "a=b")), None);
        assert_eq!(
            query_value("a=1&token=x%2By&b=2", "token"),
            Some("x+y".into())
        );
        assert_eq!(query_value("token=%4", "token"), Some("%4".into()));
        assert_eq!(query_value("token=%ff", "token"), None);
        assert_eq!(query_value("", "token"), None);
    }
}
