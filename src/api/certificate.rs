//! `/28181in/cert` and `/28181in/gmdevice`: the certificates of GB 35114 and the devices that use them (bvcsp 2.14, 3.3).
//!
//! | call | what it does |
//! |---|---|
//! | `cert/server/csr` | makes a key and a request for it |
//! | `cert/server/selfsign/{certid}` | makes it an authority, which is in use from then on |
//! | `PUT cert/server/{certid}` | renames it, or installs a certificate that somebody else issued |
//! | `cert/device/csr` | takes the request of a device |
//! | `cert/device/issue/{csrid}` | issues its certificate |
//! | `PUT cert/device/csr/{csrid}` | renames, rejects (`rejected`) or revokes (`revoked`) |
//! | `gmdevice/create`, `PUT gmdevice/{id}` | says that a device must prove itself, or no more (`status` 1 or 0) |
//!
//! Beside them `GET /gantry/v1/certificates/crl`: the revocation list, in PEM; and `PUT /gantry/v1/certificates/inuse`: which
//! of our certificates is in use, or that none is, which bvcsp has no call for.
//!
//! Only administrators may call; private keys are never shown, and lie encrypted in the store.

mod book;
pub mod lists;

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex, MutexGuard};
use utoipa::ToSchema;

use crate::gb28181::DeviceAuth;
use crate::gb28181::gb35114::{Certificate, Key};
use crate::id::DeviceId;
use crate::limits::GM_CERTIFICATE_DAYS_MAX;
use crate::session::Command;

use super::ApiState;
use super::caller::Caller;
use super::envelope::{Answer, Body, Code, Done, Failure, Path};
use book::{Asked, Book, Device, Server, Status};

/// The record of the store.
const RECORD: &str = "gb35114";

/// The book, read from the store when it is needed first.
#[derive(Clone, Debug, Default)]
pub struct Certificates(Arc<Mutex<Option<Book>>>);

/// The book in hand, to be looked at or changed.
struct Open<'a> {
    state: &'a ApiState,
    book: MutexGuard<'a, Option<Book>>,
}

impl<'a> Open<'a> {
    async fn new(state: &'a ApiState, caller: &Caller) -> Result<Open<'a>, Failure> {
        if !caller.login.admin {
            return Err(Failure::new(Code::NoPermission, "for administrators only"));
        }
        Open::read(state).await
    }

    async fn read(state: &'a ApiState) -> Result<Open<'a>, Failure> {
        let mut book = state.certificates.0.lock().await;
        if book.is_none() {
            let kept = state.store.sealed(RECORD).await.map_err(broken)?;
            *book = Some(match kept {
                None => Book::default(),
                Some(bytes) => serde_json::from_slice(&bytes)
                    .map_err(|e| Failure::new(Code::ErrorDatabase, e.to_string()))?,
            });
        }
        Ok(Open { state, book })
    }

    fn book(&mut self) -> &mut Book {
        self.book.get_or_insert_default()
    }

    /// Writes a change to the store; at a failure it is undone.
    async fn keep(&mut self) -> Result<(), Failure> {
        let bytes = serde_json::to_vec(self.book()).expect("a book is plain data");
        let written = self.state.store.put_sealed(RECORD, &bytes).await;
        if let Err(e) = written {
            *self.book = None;
            return Err(broken(e));
        }
        Ok(())
    }

    /// Tells the platform who we are now.
    async fn present(&mut self) -> Result<(), Failure> {
        let command = Command::SetIdentity(self.book().identity());
        self.state.session.call(command).await?;
        Ok(())
    }

    /// Tells the platform how a device logs in now.
    async fn apply(&mut self, device: &str) -> Result<(), Failure> {
        if let Some((device, auth)) = self.book().auth_of(device) {
            let command = Command::SetDeviceAuth { device, auth };
            self.state.session.call(command).await?;
        }
        Ok(())
    }
}

fn broken(e: crate::store::Error) -> Failure {
    Failure::new(Code::ErrorDatabase, e.to_string())
}

/// Refuses to let a device log in otherwise while it must prove itself: a call that sets a password would undo that unseen.
///
/// Errors: code 3 for such a device; the store cannot be read.
pub async fn leave_alone(state: &ApiState, device: DeviceId) -> Result<(), Failure> {
    match proof_of(state, device).await? {
        None => Ok(()),
        Some(_) => Err(Failure::new(
            Code::Exist,
            "the device must prove itself by GB 35114: set its status to 0 at /28181in/gmdevice first",
        )),
    }
}

/// How a device logs in if it must prove itself; `None`: it need not.
///
/// Errors: the store cannot be read.
pub async fn proof_of(state: &ApiState, device: DeviceId) -> Result<Option<DeviceAuth>, Failure> {
    let mut open = Open::read(state).await?;
    let auth = open.book().auth_of(&device.to_string());
    Ok(auth.and_then(|(_, auth)| match auth {
        DeviceAuth::Certificate { .. } => Some(auth),
        DeviceAuth::Default | DeviceAuth::Password(_) | DeviceAuth::NotNeeded => None,
    }))
}

/// A device was removed with all that hangs on it: it is no device of GB 35114 any more. What was issued for it stays known.
///
/// Errors: the store cannot be read or written.
pub async fn forget_device(state: &ApiState, device: DeviceId) -> Result<(), Failure> {
    let mut open = Open::read(state).await?;
    if open.book().remove_device(device) {
        open.keep().await?;
    }
    Ok(())
}

/// Tells the platform at the start who we are.
pub async fn start(state: &ApiState) -> Result<(), String> {
    let mut open = Open::read(state).await.map_err(|e| e.msg)?;
    open.present().await.map_err(|e| e.msg)
}

fn now_s() -> i64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH);
    since_epoch.map_or(0, |d| i64::try_from(d.as_secs()).unwrap_or(i64::MAX))
}

fn rng(state: &ApiState) -> ChaCha12Rng {
    ChaCha12Rng::from_seed(state.store.random())
}

fn serial(state: &ApiState) -> [u8; 16] {
    let mut serial = [0; 16];
    rng(state).fill_bytes(&mut serial);
    // Positive, and never zero.
    serial[0] = (serial[0] & 0x7f) | 0x40;
    serial
}

/// A key of this node with its certificate.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CertInfo {
    #[schema(example = "1")]
    pub id: String,
    pub name: String,
    #[schema(example = "34020000002000000001")]
    pub subject: String,
    pub issuer: String,
    /// Hex.
    pub serial: String,
    /// Unix seconds; 0 = no certificate yet.
    pub not_before: i64,
    /// Unix seconds; 0 = no certificate yet.
    pub not_after: i64,
    #[schema(example = "SM2/SM3")]
    pub alg: &'static str,
    /// `request`, `idle` or `inuse`.
    pub status: &'static str,
    /// The certificate.
    pub pem: String,
    /// The request for it.
    pub csr: String,
}

fn show_server(server: &Server, in_use: bool) -> CertInfo {
    let pem = server.certificate.clone().unwrap_or_default();
    let read = Certificate::read(pem.as_bytes()).ok();
    let of = |get: fn(&Certificate) -> String| read.as_ref().map(get).unwrap_or_default();
    CertInfo {
        id: server.id.to_string(),
        name: server.name.clone(),
        subject: server.subject.clone(),
        issuer: of(|c| c.issuer.clone()),
        serial: of(|c| c.serial.clone()),
        not_before: read.as_ref().map_or(0, |c| c.not_before_unix_s),
        not_after: read.as_ref().map_or(0, |c| c.not_after_unix_s),
        alg: "SM2/SM3",
        status: match (in_use, read.is_some()) {
            (true, _) => "inuse",
            (false, true) => "idle",
            (false, false) => "request",
        },
        csr: server.request.clone(),
        pem,
    }
}

/// A request of a device and what became of it.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CertCsrInfo {
    #[schema(example = "2")]
    pub id: String,
    pub name: String,
    #[schema(example = "34020000001320000001")]
    pub subject: String,
    #[schema(example = "SM2/SM3")]
    pub alg: &'static str,
    /// The request.
    pub pem: String,
    pub status: Status,
    #[schema(example = "34020000001320000001")]
    pub device_id: String,
    /// The certificate, once it is issued.
    pub certificate: String,
    /// Hex, once it is issued.
    pub serial: String,
}

fn show_request(asked: &Asked) -> CertCsrInfo {
    CertCsrInfo {
        id: asked.id.to_string(),
        name: asked.name.clone(),
        subject: asked.subject.clone(),
        alg: "SM2/SM3",
        pem: asked.request.clone(),
        status: asked.status,
        device_id: asked.device.clone(),
        certificate: asked.certificate.clone().unwrap_or_default(),
        serial: asked.serial.clone(),
    }
}

/// A device that proves itself by GB 35114.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct GmDevice {
    #[schema(example = "34020000001320000001")]
    pub id: String,
    pub name: String,
    pub crypto_module_id: String,
    pub cert_serial: String,
    #[schema(example = "A")]
    pub level: String,
    /// 1 = it must prove itself, 0 = it logs in with a password.
    pub status: u8,
    /// Why it was refused last, if it was since the start: a stable name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<&'static str>,
    /// What is wrong and what to try.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub en: Option<&'static str>,
    /// The same in Chinese.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zh: Option<&'static str>,
    /// When, in Unix milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused_time: Option<i64>,
}

fn show_device(state: &ApiState, book: &Book, device: &Device) -> GmDevice {
    let id = device.id.parse().ok().map(DeviceId);
    let refused = id.and_then(|id| state.session.refusal(id));
    GmDevice {
        id: device.id.clone(),
        name: device.name.clone(),
        crypto_module_id: device.module.clone(),
        cert_serial: book.serial_of(&device.id),
        level: device.level.clone(),
        status: u8::from(device.on),
        refused: refused.map(|(why, _)| why.name()),
        en: refused.map(|(why, _)| why.words().0),
        zh: refused.map(|(why, _)| why.words().1),
        refused_time: refused.map(|(_, at)| at),
    }
}

#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
#[schema(example = json!({"name": "server"}))]
pub struct ServerCertRequest {
    name: String,
    /// The code in it; ours if it is missing.
    subject: String,
}

#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
#[schema(example = json!({"name": "server"}))]
pub struct ServerCertChange {
    name: Option<String>,
    /// A certificate for this key that somebody else issued.
    pem: Option<String>,
}

#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default)]
#[schema(as = CertTerm, example = json!({"days": 3650}))]
pub struct Term {
    /// Days that it is valid, 1 to 7300; 3650 if missing.
    days: Option<i64>,
}

impl Term {
    fn days(&self) -> Result<i64, Failure> {
        let days = self.days.unwrap_or(3650);
        if !(1..=GM_CERTIFICATE_DAYS_MAX).contains(&days) {
            return Err(Failure::new(Code::ErrorParam, "days must be 1 to 7300"));
        }
        Ok(days)
    }
}

#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
#[schema(example = json!({"name": "gate", "pem": "-----BEGIN CERTIFICATE REQUEST-----"}))]
pub struct DeviceCsrRequest {
    name: String,
    /// The request, PEM.
    pem: String,
    /// The device's code; the name in the request if it is missing.
    device_id: String,
}

#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
#[schema(example = json!({"status": "revoked"}))]
pub struct DeviceCsrChange {
    name: Option<String>,
    /// `rejected` for a pending one, `revoked` for an issued one.
    status: Option<Status>,
}

#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
#[schema(example = json!({"id": "34020000001320000001", "name": "gate", "status": 1}))]
pub struct GmDeviceRequest {
    id: String,
    name: String,
    crypto_module_id: String,
    level: String,
    /// 1 if missing.
    status: Option<u8>,
}

#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
#[schema(example = json!({"status": 0}))]
pub struct GmDeviceChange {
    name: Option<String>,
    crypto_module_id: Option<String>,
    level: Option<String>,
    status: Option<u8>,
}

fn is_on(status: u8) -> Result<bool, Failure> {
    match status {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(Failure::new(Code::ErrorParam, "status must be 0 or 1")),
    }
}

fn short(field: &str, text: &str) -> Result<String, Failure> {
    if text.len() > 128 || text.chars().any(char::is_control) {
        let msg = format!("{field} has at most 128 bytes and no control characters");
        return Err(Failure::new(Code::ErrorParam, msg));
    }
    Ok(text.to_owned())
}

#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
#[schema(as = CertInUse, example = json!({"certid": "1"}))]
pub struct InUse {
    /// A key of ours that has a certificate; `""` = none is in use.
    certid: Option<String>,
}

/// Puts a certificate of ours into use, or the one that is in use out of it. While none is, no device certificates are
/// issued and devices that must prove themselves are refused; one that is out of use can be deleted.
#[utoipa::path(put, path = "/gantry/v1/certificates/inuse", operation_id = "useServerCert", tag = "28181in", security(("token" = [])),
    request_body = InUse,
    responses((status = 200, body = Done, description = "in the envelope of bvcsp", example = json!({"code": 0, "msg": "success"}))))]
pub async fn put_in_use(
    State(state): State<ApiState>,
    caller: Caller,
    Body(request): Body<InUse>,
) -> Result<Done, Failure> {
    let mut open = Open::new(&state, &caller).await?;
    let wrong = || {
        let msg = "bad parameter: certid must name a certificate";
        Failure::new(Code::ErrorParam, msg)
    };
    let certid = request.certid.ok_or_else(wrong)?;
    let id = match certid.trim() {
        "" => None,
        id => Some(id.parse::<u32>().map_err(|_| wrong())?),
    };
    open.book().put_in_use(id)?;
    open.keep().await?;
    open.present().await?;
    tracing::info!(certificate = ?id, user = %caller.login.user, "another server certificate is in use, or none");
    Ok(Done::new())
}

/// Makes an SM2 key and a request for its certificate.
#[utoipa::path(post, path = "/bvcsp/v1/28181in/cert/server/csr", operation_id = "createServerCsr", tag = "28181in", security(("token" = [])),
    request_body = ServerCertRequest,
    responses((status = 200, body = Answer<CertInfo>, example = json!({"code": 4, "msg": "subject: not a code"}))))]
pub async fn create_server(
    State(state): State<ApiState>,
    caller: Caller,
    Body(request): Body<ServerCertRequest>,
) -> Result<Answer<CertInfo>, Failure> {
    let name = short("name", &request.name)?;
    let subject = match request.subject.as_str() {
        "" => state.config.sip.id.to_string(),
        given => short("subject", given)?,
    };
    let key = Key::new(&mut rng(&state));
    let mut open = Open::new(&state, &caller).await?;
    let id = open.book().add_server(name, &subject, &key)?;
    open.keep().await?;
    Ok(Answer::data(show_server(open.book().server(id)?, false)))
}

/// One key with its certificate and request.
#[utoipa::path(get, path = "/bvcsp/v1/28181in/cert/server/info/{certid}", operation_id = "serverCertInfo", tag = "28181in", security(("token" = [])),
    params(("certid" = String, Path, example = "1")),
    responses((status = 200, body = Answer<CertInfo>, example = json!({"code": 2, "msg": "server certificate not found"}))))]
pub async fn server(
    State(state): State<ApiState>,
    caller: Caller,
    Path(id): Path<u32>,
) -> Result<Answer<CertInfo>, Failure> {
    let mut open = Open::new(&state, &caller).await?;
    let in_use = open.book().in_use == Some(id);
    Ok(Answer::data(show_server(open.book().server(id)?, in_use)))
}

/// Renames a key, or installs a certificate that somebody else issued for it.
#[utoipa::path(put, path = "/bvcsp/v1/28181in/cert/server/{certid}", operation_id = "changeServerCert", tag = "28181in", security(("token" = [])),
    params(("certid" = String, Path, example = "1")),
    request_body = ServerCertChange,
    responses((status = 200, body = Done, example = json!({"code": 0, "msg": "success"}))))]
pub async fn change_server(
    State(state): State<ApiState>,
    caller: Caller,
    Path(id): Path<u32>,
    Body(change): Body<ServerCertChange>,
) -> Result<Done, Failure> {
    let mut open = Open::new(&state, &caller).await?;
    if let Some(name) = &change.name {
        open.book().server(id)?.name = short("name", name)?;
    }
    if let Some(pem) = &change.pem {
        open.book().install(id, pem)?;
    }
    open.book().server(id)?;
    open.keep().await?;
    open.present().await?;
    tracing::info!(certificate = id, user = %caller.login.user, "a server certificate was changed");
    Ok(Done::new())
}

/// Deletes a key; not the one in use.
#[utoipa::path(delete, path = "/bvcsp/v1/28181in/cert/server/{certid}", operation_id = "deleteServerCert", tag = "28181in", security(("token" = [])),
    params(("certid" = String, Path, example = "1")),
    responses((status = 200, body = Done, example = json!({"code": 7, "msg": "it is in use"}))))]
pub async fn delete_server(
    State(state): State<ApiState>,
    caller: Caller,
    Path(id): Path<u32>,
) -> Result<Done, Failure> {
    let mut open = Open::new(&state, &caller).await?;
    open.book().remove_server(id)?;
    open.keep().await?;
    tracing::info!(certificate = id, user = %caller.login.user, "a server key was deleted");
    Ok(Done::new())
}

/// Signs a key with itself: the node is an authority with it from now on.
#[utoipa::path(post, path = "/bvcsp/v1/28181in/cert/server/selfsign/{certid}", operation_id = "selfSignServerCert", tag = "28181in", security(("token" = [])),
    params(("certid" = String, Path, example = "1")),
    request_body = Term,
    responses((status = 200, body = Answer<CertInfo>, example = json!({"code": 2, "msg": "server certificate not found"}))))]
pub async fn self_sign(
    State(state): State<ApiState>,
    caller: Caller,
    Path(id): Path<u32>,
    Body(term): Body<Term>,
) -> Result<Answer<CertInfo>, Failure> {
    let days = term.days()?;
    let mut open = Open::new(&state, &caller).await?;
    open.book().self_sign(id, &serial(&state), now_s(), days)?;
    open.keep().await?;
    open.present().await?;
    tracing::info!(certificate = id, user = %caller.login.user, "a server certificate was self-signed");
    Ok(Answer::data(show_server(open.book().server(id)?, true)))
}

/// Takes the certificate request of a device.
#[utoipa::path(post, path = "/bvcsp/v1/28181in/cert/device/csr", operation_id = "uploadDeviceCsr", tag = "28181in", security(("token" = [])),
    request_body = DeviceCsrRequest,
    responses((status = 200, body = Answer<CertCsrInfo>, example = json!({"code": 4, "msg": "pem: its signature is wrong"}))))]
pub async fn create_request(
    State(state): State<ApiState>,
    caller: Caller,
    Body(request): Body<DeviceCsrRequest>,
) -> Result<Answer<CertCsrInfo>, Failure> {
    let name = short("name", &request.name)?;
    let mut open = Open::new(&state, &caller).await?;
    let id = open
        .book()
        .add_request(name, &request.device_id, &request.pem)?;
    open.keep().await?;
    Ok(Answer::data(show_request(open.book().request(id)?)))
}

/// Issues the certificate that a device asked for.
#[utoipa::path(post, path = "/bvcsp/v1/28181in/cert/device/issue/{csrid}", operation_id = "issueDeviceCert", tag = "28181in", security(("token" = [])),
    params(("csrid" = String, Path, example = "1")),
    request_body = Term,
    responses((status = 200, body = Answer<CertCsrInfo>, example = json!({"code": 2, "msg": "no server certificate in use: make one first"}))))]
pub async fn issue(
    State(state): State<ApiState>,
    caller: Caller,
    Path(id): Path<u32>,
    Body(term): Body<Term>,
) -> Result<Answer<CertCsrInfo>, Failure> {
    let days = term.days()?;
    let mut open = Open::new(&state, &caller).await?;
    open.book().issue(id, &serial(&state), now_s(), days)?;
    open.keep().await?;
    let shown = show_request(open.book().request(id)?);
    open.apply(&shown.device_id).await?;
    tracing::info!(request = id, device = shown.device_id, user = %caller.login.user, "a device certificate was issued");
    Ok(Answer::data(shown))
}

/// Renames a request, rejects it, or revokes what was issued for it.
#[utoipa::path(put, path = "/bvcsp/v1/28181in/cert/device/csr/{csrid}", operation_id = "changeDeviceCsr", tag = "28181in", security(("token" = [])),
    params(("csrid" = String, Path, example = "1")),
    request_body = DeviceCsrChange,
    responses((status = 200, body = Done, example = json!({"code": 0, "msg": "success"}))))]
pub async fn change_request(
    State(state): State<ApiState>,
    caller: Caller,
    Path(id): Path<u32>,
    Body(change): Body<DeviceCsrChange>,
) -> Result<Done, Failure> {
    let mut open = Open::new(&state, &caller).await?;
    if let Some(name) = &change.name {
        open.book().request(id)?.name = short("name", name)?;
    }
    if let Some(status) = change.status {
        open.book().judge(id, status, now_s())?;
    }
    let device = open.book().request(id)?.device.clone();
    open.keep().await?;
    open.apply(&device).await?;
    tracing::info!(request = id, status = ?change.status, user = %caller.login.user, "a certificate request was changed");
    Ok(Done::new())
}

/// One request with what was issued for it.
#[utoipa::path(get, path = "/bvcsp/v1/28181in/cert/device/csr/info/{csrid}", operation_id = "deviceCsrInfo", tag = "28181in", security(("token" = [])),
    params(("csrid" = String, Path, example = "1")),
    responses((status = 200, body = Answer<CertCsrInfo>, example = json!({"code": 2, "msg": "certificate request not found"}))))]
pub async fn request(
    State(state): State<ApiState>,
    caller: Caller,
    Path(id): Path<u32>,
) -> Result<Answer<CertCsrInfo>, Failure> {
    let mut open = Open::new(&state, &caller).await?;
    Ok(Answer::data(show_request(open.book().request(id)?)))
}

/// Deletes a request; not one whose certificate is issued or revoked.
#[utoipa::path(delete, path = "/bvcsp/v1/28181in/cert/device/csr/{csrid}", operation_id = "deleteDeviceCsr", tag = "28181in", security(("token" = [])),
    params(("csrid" = String, Path, example = "1")),
    responses((status = 200, body = Done, example = json!({"code": 7, "msg": "revoke its certificate, which must stay known"}))))]
pub async fn delete_request(
    State(state): State<ApiState>,
    caller: Caller,
    Path(id): Path<u32>,
) -> Result<Done, Failure> {
    let mut open = Open::new(&state, &caller).await?;
    match open.book().request(id)?.status {
        Status::Pending | Status::Rejected => open.book().requests.retain(|r| r.id != id),
        Status::Issued | Status::Revoked => {
            return Err(Failure::new(
                Code::Busy,
                "revoke its certificate, which must stay known",
            ));
        }
    }
    open.keep().await?;
    Ok(Done::new())
}

/// Says that a device must prove itself by GB 35114.
#[utoipa::path(post, path = "/bvcsp/v1/28181in/gmdevice/create", operation_id = "createGmDevice", tag = "28181in", security(("token" = [])),
    request_body = GmDeviceRequest,
    responses((status = 200, body = Done, example = json!({"code": 2, "msg": "no certificate was issued for the device"}))))]
pub async fn create_device(
    State(state): State<ApiState>,
    caller: Caller,
    Body(request): Body<GmDeviceRequest>,
) -> Result<Done, Failure> {
    let device = Device {
        id: short("id", &request.id)?,
        name: short("name", &request.name)?,
        module: short("cryptoModuleId", &request.crypto_module_id)?,
        level: match request.level.as_str() {
            "" | "A" => "A".into(),
            _ => {
                return Err(Failure::new(
                    Code::Unsupported,
                    "level: only A is supported",
                ));
            }
        },
        on: is_on(request.status.unwrap_or(1))?,
    };
    let id = device.id.clone();
    let mut open = Open::new(&state, &caller).await?;
    open.book().add_device(device)?;
    open.keep().await?;
    open.apply(&id).await?;
    tracing::info!(device = id, user = %caller.login.user, "a device must prove itself by GB 35114");
    Ok(Done::new())
}

/// Changes a device of GB 35114; `status` 0 lets it log in with a password again.
#[utoipa::path(put, path = "/bvcsp/v1/28181in/gmdevice/{id}", operation_id = "changeGmDevice", tag = "28181in", security(("token" = [])),
    params(("id" = String, Path, example = "34020000001320000001")),
    request_body = GmDeviceChange,
    responses((status = 200, body = Done, example = json!({"code": 0, "msg": "success"}))))]
pub async fn change_device(
    State(state): State<ApiState>,
    caller: Caller,
    Path(id): Path<String>,
    Body(change): Body<GmDeviceChange>,
) -> Result<Done, Failure> {
    let mut open = Open::new(&state, &caller).await?;
    let device = open.book().device(&id)?;
    if let Some(name) = &change.name {
        device.name = short("name", name)?;
    }
    if let Some(module) = &change.crypto_module_id {
        device.module = short("cryptoModuleId", module)?;
    }
    if change.level.as_deref().is_some_and(|level| level != "A") {
        return Err(Failure::new(
            Code::Unsupported,
            "level: only A is supported",
        ));
    }
    if let Some(status) = change.status {
        device.on = is_on(status)?;
    }
    open.keep().await?;
    open.apply(&id).await?;
    tracing::info!(device = id, status = ?change.status, user = %caller.login.user, "a device of GB 35114 was changed");
    Ok(Done::new())
}

/// Removes a device from those of GB 35114; it logs in with a password again.
#[utoipa::path(delete, path = "/bvcsp/v1/28181in/gmdevice/{id}", operation_id = "deleteGmDevice", tag = "28181in", security(("token" = [])),
    params(("id" = String, Path, example = "34020000001320000001")),
    responses((status = 200, body = Done, example = json!({"code": 2, "msg": "device not found"}))))]
pub async fn delete_device(
    State(state): State<ApiState>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Done, Failure> {
    let mut open = Open::new(&state, &caller).await?;
    open.book().device(&id)?.on = false;
    open.apply(&id).await?;
    open.book().devices.retain(|d| d.id != id);
    open.keep().await?;
    tracing::info!(device = id, user = %caller.login.user, "a device need not prove itself by GB 35114 any more");
    Ok(Done::new())
}

/// One device of GB 35114, and why it was refused last.
#[utoipa::path(get, path = "/bvcsp/v1/28181in/gmdevice/info/{id}", operation_id = "gmDeviceInfo", tag = "28181in", security(("token" = [])),
    params(("id" = String, Path, example = "34020000001320000001")),
    responses((status = 200, body = Answer<GmDevice>, example = json!({"code": 2, "msg": "device not found"}))))]
pub async fn device(
    State(state): State<ApiState>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Answer<GmDevice>, Failure> {
    let mut open = Open::new(&state, &caller).await?;
    let found = open.book().device(&id)?.clone();
    let book = &*open.book();
    Ok(Answer::data(show_device(&state, book, &found)))
}

/// The revocation list of the certificate in use, PEM.
#[utoipa::path(get, path = "/gantry/v1/certificates/crl", operation_id = "revocationList", tag = "28181in",
    security(("token" = [])), responses((status = 200, description = "the list; JSON with a code if there is none",
        content((String = "application/x-pem-file"), (Done = "application/json")))))]
pub async fn revocations(
    State(state): State<ApiState>,
    caller: Caller,
) -> Result<impl IntoResponse, Failure> {
    let mut open = Open::new(&state, &caller).await?;
    let list = open.book().revocations(now_s())?;
    open.keep().await?;
    Ok(([(header::CONTENT_TYPE, "application/x-pem-file")], list))
}
