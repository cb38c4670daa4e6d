//! `/auth`: log in and out (bvcsp 1.1, 2.1).

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::session::Command;
use crate::store::history::{Entry, PresenceRow};

use super::ApiState;
use super::auth::{Issued, Login, LoginError, Proof, proof_of, unix_s};
use super::caller::{Caller, Peer};
use super::envelope::{Answer, Code, Done, Failure, LooseBody};

/// Keys may be in any letter case.
#[derive(Debug, Deserialize, ToSchema)]
pub struct LoginRequest {
    #[schema(example = "admin")]
    username: String,
    /// `SHA256:` and hex(sha256(username "_" password)); or `SHA256_T:` and hex(sha256(that hex "_" timestamp)).
    #[schema(example = "SHA256:6848d6405bf34bf9b2d82ed8822c756807632d3eaefedec90ac33cb32ac83671")]
    #[serde(default)]
    password_encrypted: Option<String>,
    /// The password itself, for tools; only over HTTPS.
    #[serde(default)]
    password: Option<String>,
    /// Unix seconds, for `SHA256_T:`.
    #[serde(default)]
    timestamp: Option<Timestamp>,
}

/// A number, or its digits in a string.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(untagged)]
enum Timestamp {
    Number(u64),
    Text(String),
}

#[derive(Debug, Serialize, ToSchema)]
pub struct Token {
    /// Sent back as `Authorization` (raw or `Bearer`), or as `?token=`.
    pub token: String,
    /// Seconds until it ends.
    #[schema(example = 14400)]
    pub timeout: u64,
}

/// Somebody who can log in, as far as this node knows.
#[derive(Debug, Default, Serialize, ToSchema)]
pub struct UserInfo {
    #[schema(example = "admin")]
    pub id: String,
    pub enable: bool,
    pub gid: String,
    pub name: String,
    /// As those after it: empty, as this node keeps nothing of a user but the name.
    #[schema(example = "")]
    pub idcard: String,
    #[schema(example = "")]
    pub creator: String,
    /// Unix seconds; 0 = without an end.
    #[schema(example = 0)]
    pub validity_time: i64,
    #[schema(example = "")]
    pub position: String,
    #[schema(example = "")]
    pub phone: String,
    #[schema(example = "")]
    pub email: String,
    #[schema(example = "")]
    pub desc: String,
    pub roles: Vec<String>,
    /// When the password was set, Unix seconds.
    pub password_time: i64,
}

impl From<Issued> for Token {
    fn from(issued: Issued) -> Token {
        Token {
            token: issued.token,
            timeout: issued.timeout_s,
        }
    }
}

impl LoginRequest {
    fn proof(&self) -> Option<Proof> {
        let timestamp = match &self.timestamp {
            Some(Timestamp::Number(n)) => Some(*n),
            Some(Timestamp::Text(text)) => text.trim().parse().ok(),
            None => None,
        };
        match (&self.password_encrypted, &self.password) {
            (Some(encrypted), _) => Proof::parse(encrypted, timestamp),
            (None, Some(password)) => Some(Proof::Plain(password.clone())),
            (None, None) => None,
        }
    }
}

/// Logs in. Too many failures pause the source for a minute (code 17).
#[utoipa::path(post, path = "/bvcsp/v1/auth/login", operation_id = "login", tag = "auth", request_body = LoginRequest,
    responses((status = 200, body = Answer<Token>, example = json!(
        {"code": 0, "msg": "success", "data": {"token": "AX…", "timeout": 14400}}))))]
pub async fn login(
    State(state): State<ApiState>,
    peer: Peer,
    LooseBody(request): LooseBody<LoginRequest>,
) -> Result<Answer<Token>, Failure> {
    let Some(proof) = request.proof() else {
        return Err(Failure::new(
            Code::ErrorParam,
            "password_encrypted must be SHA256:<hex>, or SHA256_T:<hex> with a timestamp",
        ));
    };
    let outcome = state
        .auth
        .login(&request.username, &proof, peer.source())
        .await;
    let (name, answer) = match outcome {
        Ok(issued) => {
            came(&state, &issued.login, &peer).await;
            ("ok", Ok(Answer::data(issued.into())))
        }
        Err(LoginError::Wrong) => (
            "wrong",
            Err(Failure::new(
                Code::ErrorPassword,
                "wrong user name or password",
            )),
        ),
        Err(LoginError::Paused { seconds }) => (
            "paused",
            Err(Failure::new(
                Code::MaxRetries,
                format!("too many failed logins; try again in {seconds} s"),
            )),
        ),
        Err(LoginError::Clock { ours }) => (
            "clock",
            Err(Failure::new(
                Code::ErrorParam,
                format!("timestamp is too far from this node's clock, which is at {ours}"),
            )),
        ),
        Err(LoginError::Barred) => (
            "barred",
            Err(Failure::new(
                Code::NoPermission,
                "the black or white list does not let this user in",
            )),
        ),
        Err(LoginError::Store(error)) => ("store", Err(database(&error))),
    };
    state.metrics.logins.add(&[name], 1);
    if name != "ok" {
        tracing::info!(peer = %peer.source(), outcome = name, "login refused");
    }
    answer
}

/// Ends this login with all its tokens and its dialogs.
#[utoipa::path(post, path = "/bvcsp/v1/auth/logout", operation_id = "logout", tag = "auth", security(("token" = [])),
    responses((status = 200, body = Done, example = json!({"code": 0, "msg": "success"}))))]
pub async fn logout(State(state): State<ApiState>, caller: Caller) -> Result<Done, Failure> {
    let stored = state.auth.logout(&caller.login).await;
    let token_id = caller.login.token_id;
    state.session.call(Command::CloseOwner { token_id }).await?;
    stored.map_err(|error| database(&error))?;
    went(&state, &caller.login.user, token_id).await;
    Ok(Done::new())
}

/// Writes down that somebody logged in.
async fn came(state: &ApiState, login: &Login, peer: &Peer) {
    let chronicle = state.store.chronicle();
    let row = PresenceRow {
        id: chronicle.next_id(),
        time: i64::try_from(unix_s()).unwrap_or(0),
        kind: "CU".into(),
        name: login.user.to_string(),
        address: peer.0.map_or_else(String::new, |peer| peer.to_string()),
        token_id: format!("{:016x}", login.token_id),
        ..PresenceRow::default()
    };
    chronicle.write(Entry::Came(row)).await;
}

/// Writes down that a login ended.
async fn went(state: &ApiState, user: &str, token_id: u64) {
    let entry = Entry::Went {
        kind: "CU",
        name: user.to_owned(),
        token_id: format!("{token_id:016x}"),
        time: i64::try_from(unix_s()).unwrap_or(0),
    };
    state.store.chronicle().write(entry).await;
}

/// The old password in one of the forms of a login, and the new one.
#[derive(Debug, Deserialize, ToSchema)]
pub struct PasswordRequest {
    /// As in a login, of the old password.
    #[serde(default)]
    password_encrypted: Option<String>,
    /// The old password itself, for tools; only over HTTPS.
    #[serde(default)]
    password: Option<String>,
    /// Unix seconds, for `SHA256_T:`.
    #[serde(default)]
    timestamp: Option<Timestamp>,
    /// `SHA256:` and hex(sha256(username "_" new password)).
    #[serde(default)]
    new_password_encrypted: Option<String>,
    /// The new password itself, at least 8 bytes; only over HTTPS.
    #[serde(default)]
    new_password: Option<String>,
}

/// Bytes of a new password that is given as it is; one that is given as a hash cannot be held against this.
const PASSWORD_BYTES_MIN: usize = 8;

/// Changes the password of who is logged in; all other logins of that user end.
#[utoipa::path(post, path = "/bvcsp/v1/auth/password", operation_id = "changePassword", tag = "auth", security(("token" = [])),
    request_body(content = PasswordRequest, example = json!({"password": "the old one", "new_password": "a better one"})),
    responses((status = 200, body = Done, example = json!({"code": 0, "msg": "success"}))))]
pub async fn change_password(
    State(state): State<ApiState>,
    caller: Caller,
    LooseBody(request): LooseBody<PasswordRequest>,
) -> Result<Done, Failure> {
    let user = &caller.login.user;
    let new_proof = match (&request.new_password_encrypted, &request.new_password) {
        (Some(encrypted), _) => {
            let hash = encrypted
                .strip_prefix("SHA256:")
                .map(str::to_ascii_lowercase);
            hash.filter(|hash| hash.len() == 64 && hash.bytes().all(|b| b.is_ascii_hexdigit()))
        }
        (None, Some(new)) if new.len() >= PASSWORD_BYTES_MIN => Some(proof_of(user, new)),
        (None, _) => None,
    };
    let new_proof = new_proof.ok_or_else(|| {
        let msg = "bad parameter: new_password must have 8 bytes or more, or new_password_encrypted be SHA256:<hex>";
        Failure::new(Code::ErrorParam, msg)
    })?;
    let old = LoginRequest {
        username: user.to_string(),
        password_encrypted: request.password_encrypted,
        password: request.password,
        timestamp: request.timestamp,
    };
    let old = old.proof().ok_or_else(|| {
        Failure::new(
            Code::ErrorParam,
            "bad parameter: password or password_encrypted is missing",
        )
    })?;
    let changed = state
        .auth
        .change_password(&caller.login, &old, new_proof)
        .await;
    let Some(ended) = changed.map_err(|error| database(&error))? else {
        return Err(Failure::new(Code::ErrorPassword, "wrong password"));
    };
    for token_id in ended {
        state.session.call(Command::CloseOwner { token_id }).await?;
        went(&state, user, token_id).await;
    }
    Ok(Done::new())
}

/// A new token of the same login. The old one stays valid until its own end.
#[utoipa::path(post, path = "/bvcsp/v1/auth/refresh", operation_id = "refreshToken", tag = "auth", security(("token" = [])),
    responses((status = 200, body = Answer<Token>, example = json!(
        {"code": 0, "msg": "success", "data": {"token": "AX…", "timeout": 14400}}))))]
pub async fn refresh(
    State(state): State<ApiState>,
    caller: Caller,
) -> Result<Answer<Token>, Failure> {
    let issued = state.auth.refresh(&caller.login).await;
    let issued = issued.map_err(|error| database(&error))?;
    Ok(Answer::data(issued.into()))
}

/// Who is logged in with this token.
#[utoipa::path(get, path = "/bvcsp/v1/auth/info", operation_id = "loginInfo", tag = "auth", security(("token" = [])),
    responses((status = 200, body = Answer<UserInfo>, example = json!({"code": 0, "msg": "success", "data":
        {"id": "admin", "enable": true, "gid": "", "name": "admin", "idcard": "", "creator": "", "validity_time": 0,
        "position": "", "phone": "", "email": "", "desc": "", "roles": ["admin"], "password_time": 1792000000}}))))]
pub async fn info(
    State(state): State<ApiState>,
    caller: Caller,
) -> Result<Answer<UserInfo>, Failure> {
    let user = state
        .auth
        .user(&caller.login.user)
        .ok_or_else(|| Failure::new(Code::NotFound, "user not found"))?;
    Ok(Answer::data(UserInfo {
        id: user.name.clone(),
        enable: user.enabled,
        gid: String::new(),
        name: user.name,
        roles: if user.admin {
            vec!["admin".into()]
        } else {
            vec![]
        },
        password_time: user.password_unix_s,
        ..UserInfo::default()
    }))
}

fn database(error: &crate::store::Error) -> Failure {
    tracing::error!(%error, "a login could not be written");
    Failure::new(Code::ErrorDatabase, "the database refused; see the log")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_has_every_field_of_user_info() {
        let shown = serde_json::to_value(UserInfo::default()).expect("written");
        let mut fields: Vec<&str> = shown
            .as_object()
            .expect("an object")
            .keys()
            .map(String::as_str)
            .collect();
        fields.sort_unstable();
        let wanted = [
            "creator",
            "desc",
            "email",
            "enable",
            "gid",
            "id",
            "idcard",
            "name",
            "password_time",
            "phone",
            "position",
            "roles",
            "validity_time",
        ];
        assert_eq!(fields, wanted);
    }
}
