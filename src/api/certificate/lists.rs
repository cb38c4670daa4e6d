//! The lists of `/28181in/cert` and `/28181in/gmdevice`.
//!
//! The book of certificates is one sealed record of the store, for there are private keys in it, so no database can look
//! into it: these lists are filtered, sorted and cut by [`ListRequest::cut`].
//!
//! Bounds: those of the book.

use axum::extract::State;
use serde::Deserialize;
use utoipa::ToSchema;

use super::super::ApiState;
use super::super::caller::Caller;
use super::super::envelope::{Answer, Body, Failure};
use super::super::list::{Field, Key, ListRequest, bad, holds};
use super::book::Status;
use super::{CertCsrInfo, CertInfo, GmDevice, Open, show_device, show_request, show_server};

/// Which keys of ours.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct CertFilter {
    /// A part of the name, the subject or the issuer.
    keyword: String,
    /// `request`, `idle` or `inuse`.
    status: Option<String>,
}

/// Which requests of devices.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct CertCsrFilter {
    /// A part of the name, the subject or the code of the device.
    keyword: String,
    status: Option<Status>,
}

/// Which devices of GB 35114.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct GmDeviceFilter {
    /// A part of the code or the name.
    keyword: String,
    /// 1 = it must prove itself, 0 = it need not.
    status: Option<u8>,
}

const CERT_FIELDS: &[Field<CertInfo>] = &[
    ("id", |cert| number(&cert.id)),
    ("name", |cert| cert.name.as_str().into()),
    ("subject", |cert| cert.subject.as_str().into()),
    ("issuer", |cert| cert.issuer.as_str().into()),
    ("serial", |cert| cert.serial.as_str().into()),
    ("notBefore", |cert| Key::Number(cert.not_before)),
    ("notAfter", |cert| Key::Number(cert.not_after)),
    ("status", |cert| cert.status.into()),
];

const CSR_FIELDS: &[Field<CertCsrInfo>] = &[
    ("id", |csr| number(&csr.id)),
    ("name", |csr| csr.name.as_str().into()),
    ("subject", |csr| csr.subject.as_str().into()),
    ("deviceId", |csr| csr.device_id.as_str().into()),
    ("serial", |csr| csr.serial.as_str().into()),
    ("status", |csr| csr.status.name().into()),
];

const DEVICE_FIELDS: &[Field<GmDevice>] = &[
    ("id", |device| device.id.as_str().into()),
    ("name", |device| device.name.as_str().into()),
    ("cryptoModuleId", |device| {
        device.crypto_module_id.as_str().into()
    }),
    ("certSerial", |device| device.cert_serial.as_str().into()),
    ("status", |device| Key::Number(device.status.into())),
    ("refusedTime", |device| {
        Key::Number(device.refused_time.unwrap_or(0))
    }),
];

/// Ids are numbers that are shown as texts.
fn number(id: &str) -> Key {
    Key::Number(id.parse().unwrap_or(0))
}

/// Keys of this node with their certificates, oldest first. `sort` is `id`, `name`, `subject`, `issuer`, `serial`,
/// `notBefore`, `notAfter` or `status`.
#[utoipa::path(post, path = "/bvcsp/v1/28181in/cert/server/list", operation_id = "listServerCerts", tag = "28181in", security(("token" = [])),
    request_body(content = ListRequest<CertFilter>, example = json!({"page": 0, "pageSize": 100, "filter": {"status": "idle"}, "sort": "-notAfter"})),
    responses((status = 200, body = Answer<Vec<CertInfo>>, example = json!({"code": 0, "msg": "success", "data": []}))))]
pub async fn list_servers(
    State(state): State<ApiState>,
    caller: Caller,
    Body(mut request): Body<ListRequest<CertFilter>>,
) -> Result<Answer<Vec<CertInfo>>, Failure> {
    let filter = request.take_filter();
    let wanted = filter.status.filter(|status| !status.is_empty());
    if let Some(wanted) = &wanted
        && !["request", "idle", "inuse"].contains(&wanted.as_str())
    {
        return Err(bad("status must be request, idle or inuse"));
    }
    let mut open = Open::new(&state, &caller).await?;
    let book = open.book();
    let in_use = book.in_use;
    let all = book.servers.iter();
    let shown = all.map(|server| show_server(server, in_use == Some(server.id)));
    let found = shown.filter(|cert| {
        holds(&[&cert.name, &cert.subject, &cert.issuer], &filter.keyword)
            && wanted.as_ref().is_none_or(|wanted| wanted == cert.status)
    });
    request.cut(found.collect(), CERT_FIELDS, |cert| cert)
}

/// Requests of devices, oldest first. `sort` is `id`, `name`, `subject`, `deviceId`, `serial` or `status`.
#[utoipa::path(post, path = "/bvcsp/v1/28181in/cert/device/csr/list", operation_id = "listDeviceCsrs", tag = "28181in", security(("token" = [])),
    request_body(content = ListRequest<CertCsrFilter>, example = json!({"page": 0, "pageSize": 100, "filter": {"status": "pending"}, "sort": "name"})),
    responses((status = 200, body = Answer<Vec<CertCsrInfo>>, example = json!({"code": 0, "msg": "success", "data": []}))))]
pub async fn list_requests(
    State(state): State<ApiState>,
    caller: Caller,
    Body(mut request): Body<ListRequest<CertCsrFilter>>,
) -> Result<Answer<Vec<CertCsrInfo>>, Failure> {
    let filter = request.take_filter();
    let mut open = Open::new(&state, &caller).await?;
    let shown = open.book().requests.iter().map(show_request);
    let found = shown.filter(|csr| {
        holds(&[&csr.name, &csr.subject, &csr.device_id], &filter.keyword)
            && filter.status.is_none_or(|wanted| wanted == csr.status)
    });
    request.cut(found.collect(), CSR_FIELDS, |csr| csr)
}

/// Devices of GB 35114, oldest first. `sort` is `id`, `name`, `cryptoModuleId`, `certSerial`, `status` or `refusedTime`.
#[utoipa::path(post, path = "/bvcsp/v1/28181in/gmdevice/list", operation_id = "listGmDevices", tag = "28181in", security(("token" = [])),
    request_body(content = ListRequest<GmDeviceFilter>, example = json!({"page": 0, "pageSize": 100, "filter": {"status": 1}, "sort": "id"})),
    responses((status = 200, body = Answer<Vec<GmDevice>>, example = json!({"code": 0, "msg": "success", "data": []}))))]
pub async fn list_devices(
    State(state): State<ApiState>,
    caller: Caller,
    Body(mut request): Body<ListRequest<GmDeviceFilter>>,
) -> Result<Answer<Vec<GmDevice>>, Failure> {
    let filter = request.take_filter();
    let mut open = Open::new(&state, &caller).await?;
    let book = &*open.book();
    let shown = book.devices.iter().map(|d| show_device(&state, book, d));
    let found = shown.filter(|device| {
        holds(&[&device.id, &device.name], &filter.keyword)
            && filter.status.is_none_or(|wanted| wanted == device.status)
    });
    request.cut(found.collect(), DEVICE_FIELDS, |device| device)
}
