//! The certificates of GB 35114 as this node keeps them: its own keys, requests of devices with what was issued, and which
//! devices must prove themselves.
//!
//! One sealed record of the store, written whole at each change: changes are rare and made by hand. Private keys never leave
//! it but into the platform.
//!
//! Bounds: [`GM_SERVERS_MAX`] keys of our own, [`GM_REQUESTS_MAX`] requests, as many devices; at them code 7.

use serde::{Deserialize, Serialize};

use crate::gb28181::DeviceAuth;
use crate::gb28181::gb35114::x509::{self, Terms};
use crate::gb28181::gb35114::{Certificate, CertificateRequest, Identity, Key};
use crate::id::DeviceId;
use crate::limits::{GM_REQUESTS_MAX, GM_SERVERS_MAX};

use super::super::envelope::{Code, Failure};

const DAY_S: i64 = 86_400;

/// A key of ours.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Server {
    pub id: u32,
    pub name: String,
    pub subject: String,
    pub key: Vec<u8>,
    pub request: String,
    /// PEM, once there is one.
    pub certificate: Option<String>,
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = CertCsrStatus)]
pub enum Status {
    Pending,
    Issued,
    Rejected,
    Revoked,
}

impl Status {
    /// As in the API.
    pub fn name(self) -> &'static str {
        match self {
            Status::Pending => "pending",
            Status::Issued => "issued",
            Status::Rejected => "rejected",
            Status::Revoked => "revoked",
        }
    }
}

/// A request of a device.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Asked {
    pub id: u32,
    pub name: String,
    pub device: String,
    pub subject: String,
    pub request: String,
    pub status: Status,
    pub certificate: Option<String>,
    pub serial: String,
    /// Unix seconds.
    pub revoked_at: i64,
}

/// A device that is to prove itself.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Device {
    pub id: String,
    pub name: String,
    pub module: String,
    pub level: String,
    pub on: bool,
}

/// All of it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Book {
    last: u32,
    pub servers: Vec<Server>,
    /// The one that signs, by id.
    pub in_use: Option<u32>,
    pub requests: Vec<Asked>,
    pub devices: Vec<Device>,
    /// Number of the last revocation list.
    lists: u64,
}

fn not_found(what: &str) -> Failure {
    Failure::new(Code::NotFound, format!("{what} not found"))
}

fn wrong(field: &str, e: impl std::fmt::Display) -> Failure {
    Failure::new(Code::ErrorParam, format!("{field}: {e}"))
}

impl Book {
    fn next(&mut self) -> u32 {
        self.last += 1;
        self.last
    }

    /// A new key with its request.
    pub fn add_server(&mut self, name: String, subject: &str, key: &Key) -> Result<u32, Failure> {
        if self.servers.len() >= GM_SERVERS_MAX {
            return Err(Failure::new(Code::Busy, "too many server keys"));
        }
        let id = self.next();
        self.servers.push(Server {
            id,
            name,
            subject: subject.to_owned(),
            key: key.to_bytes(),
            request: CertificateRequest::make(key, subject).pem(),
            certificate: None,
        });
        Ok(id)
    }

    pub fn server(&mut self, id: u32) -> Result<&mut Server, Failure> {
        let mut servers = self.servers.iter_mut();
        servers
            .find(|s| s.id == id)
            .ok_or_else(|| not_found("server certificate"))
    }

    /// Signs a key of ours with itself: it is an authority from now on, and the one in use.
    pub fn self_sign(
        &mut self,
        id: u32,
        serial: &[u8],
        now_s: i64,
        days: i64,
    ) -> Result<(), Failure> {
        let server = self.server(id)?;
        let key = key_of(server)?;
        let terms = Terms {
            serial,
            subject: &server.subject,
            issuer: &server.subject,
            from_unix_s: now_s - DAY_S,
            until_unix_s: now_s + days * DAY_S,
            authority: true,
        };
        let made = x509::issue(&terms, &key.public(), &key).map_err(|e| wrong("certid", e))?;
        server.certificate = Some(made.pem());
        self.in_use = Some(id);
        Ok(())
    }

    /// Takes a certificate that somebody else issued for a key of ours.
    pub fn install(&mut self, id: u32, pem: &str) -> Result<(), Failure> {
        let server = self.server(id)?;
        let key = key_of(server)?;
        let read = Certificate::read(pem.as_bytes()).map_err(|e| wrong("pem", e))?;
        if read.public != key.public() {
            return Err(wrong("pem", "it is for another key"));
        }
        server.certificate = Some(read.pem());
        self.in_use = Some(id);
        Ok(())
    }

    /// Which of ours signs from now on; `None`: none does.
    ///
    /// Errors: there is none of that id, or no certificate for it yet.
    pub fn put_in_use(&mut self, id: Option<u32>) -> Result<(), Failure> {
        if let Some(id) = id
            && self.server(id)?.certificate.is_none()
        {
            return Err(wrong("certid", "there is no certificate for this key yet"));
        }
        self.in_use = id;
        Ok(())
    }

    pub fn remove_server(&mut self, id: u32) -> Result<(), Failure> {
        self.server(id)?;
        if self.in_use == Some(id) {
            return Err(Failure::new(Code::Busy, "it is in use"));
        }
        self.servers.retain(|s| s.id != id);
        Ok(())
    }

    /// Who we are to devices.
    pub fn identity(&self) -> Option<Box<Identity>> {
        let server = self.servers.iter().find(|s| Some(s.id) == self.in_use)?;
        let key = key_of(server).ok()?;
        let certificate = Certificate::read(server.certificate.as_deref()?.as_bytes()).ok()?;
        Some(Box::new(Identity { key, certificate }))
    }

    pub fn add_request(&mut self, name: String, device: &str, pem: &str) -> Result<u32, Failure> {
        if self.requests.len() >= GM_REQUESTS_MAX {
            return Err(Failure::new(
                Code::Busy,
                "too many requests: delete old ones",
            ));
        }
        let read = CertificateRequest::read(pem.as_bytes()).map_err(|e| wrong("pem", e))?;
        let device = if device.is_empty() {
            read.subject.clone()
        } else {
            device.to_owned()
        };
        device
            .parse::<crate::id::GbId>()
            .map_err(|e| wrong("deviceId", e))?;
        let id = self.next();
        self.requests.push(Asked {
            id,
            name,
            device,
            subject: read.subject.clone(),
            request: read.pem(),
            status: Status::Pending,
            certificate: None,
            serial: String::new(),
            revoked_at: 0,
        });
        Ok(id)
    }

    pub fn request(&mut self, id: u32) -> Result<&mut Asked, Failure> {
        let mut requests = self.requests.iter_mut();
        requests
            .find(|r| r.id == id)
            .ok_or_else(|| not_found("certificate request"))
    }

    /// Issues a certificate for a request; the one that the device had is not revoked by it.
    pub fn issue(&mut self, id: u32, serial: &[u8], now_s: i64, days: i64) -> Result<(), Failure> {
        let us = self.identity().ok_or_else(|| {
            Failure::new(
                Code::NotFound,
                "no server certificate in use: make one first",
            )
        })?;
        let asked = self.request(id)?;
        if asked.status != Status::Pending {
            return Err(Failure::new(Code::Exist, "it is not pending any more"));
        }
        let request =
            CertificateRequest::read(asked.request.as_bytes()).map_err(|e| wrong("csrid", e))?;
        let terms = Terms {
            serial,
            subject: &asked.device,
            issuer: &us.certificate.subject,
            from_unix_s: now_s - DAY_S,
            until_unix_s: now_s + days * DAY_S,
            authority: false,
        };
        let made = x509::issue(&terms, &request.public, &us.key).map_err(|e| wrong("csrid", e))?;
        asked.serial.clone_from(&made.serial);
        asked.certificate = Some(made.pem());
        asked.status = Status::Issued;
        Ok(())
    }

    /// Rejects what is pending, revokes what is issued.
    pub fn judge(&mut self, id: u32, status: Status, now_s: i64) -> Result<(), Failure> {
        let asked = self.request(id)?;
        match (asked.status, status) {
            (Status::Pending, Status::Rejected) => asked.status = Status::Rejected,
            (Status::Issued, Status::Revoked) => {
                asked.status = Status::Revoked;
                asked.revoked_at = now_s;
            }
            (from, to) if from == to => {}
            (_, _) => {
                return Err(wrong(
                    "status",
                    "pending can become rejected, issued can become revoked",
                ));
            }
        }
        Ok(())
    }

    /// The newest certificate of a device, and whether it is revoked.
    fn certificate_of(&self, device: &str) -> Option<(Vec<u8>, bool)> {
        let mut requests = self.requests.iter().rev().filter(|r| r.device == device);
        let asked = requests.find(|r| r.certificate.is_some())?;
        let read = Certificate::read(asked.certificate.as_deref()?.as_bytes()).ok()?;
        Some((read.der, asked.status == Status::Revoked))
    }

    /// How a device logs in after what changed; `None`: this book does not say.
    pub fn auth_of(&self, device: &str) -> Option<(DeviceId, DeviceAuth)> {
        let known = self.devices.iter().find(|d| d.id == device)?;
        let id = DeviceId(device.parse().ok()?);
        if !known.on {
            return Some((id, DeviceAuth::Default));
        }
        let (der, revoked) = self.certificate_of(device).unwrap_or_default();
        Some((id, DeviceAuth::Certificate { der, revoked }))
    }

    pub fn add_device(&mut self, device: Device) -> Result<(), Failure> {
        if self.devices.iter().any(|d| d.id == device.id) {
            return Err(Failure::new(Code::Exist, "the device is there already"));
        }
        if self.devices.len() >= GM_REQUESTS_MAX {
            return Err(Failure::new(Code::Busy, "too many devices"));
        }
        device
            .id
            .parse::<crate::id::GbId>()
            .map_err(|e| wrong("id", e))?;
        if device.on && self.certificate_of(&device.id).is_none() {
            return Err(Failure::new(
                Code::NotFound,
                "no certificate was issued for the device",
            ));
        }
        self.devices.push(device);
        Ok(())
    }

    pub fn device(&mut self, id: &str) -> Result<&mut Device, Failure> {
        let mut devices = self.devices.iter_mut();
        devices
            .find(|d| d.id == id)
            .ok_or_else(|| not_found("device"))
    }

    /// Answers whether it was there.
    pub fn remove_device(&mut self, device: DeviceId) -> bool {
        let (code, before) = (device.to_string(), self.devices.len());
        self.devices.retain(|known| known.id != code);
        self.devices.len() < before
    }

    /// Serial of the certificate that counts for a device.
    pub fn serial_of(&self, device: &str) -> String {
        let mut requests = self.requests.iter().rev().filter(|r| r.device == device);
        let issued = requests.find(|r| r.certificate.is_some());
        issued.map_or_else(String::new, |r| r.serial.clone())
    }

    /// The revocation list, in PEM.
    pub fn revocations(&mut self, now_s: i64) -> Result<String, Failure> {
        let us = self
            .identity()
            .ok_or_else(|| not_found("server certificate"))?;
        self.lists += 1;
        let revoked: Vec<(String, i64)> = self
            .requests
            .iter()
            .filter(|r| r.status == Status::Revoked)
            .map(|r| (r.serial.clone(), r.revoked_at))
            .collect();
        let issuer = &us.certificate.subject;
        Ok(x509::revocation_list(
            &us.key, issuer, now_s, self.lists, &revoked,
        ))
    }
}

fn key_of(server: &Server) -> Result<Key, Failure> {
    Key::from_bytes(&server.key)
        .ok_or_else(|| Failure::new(Code::ServerError, "the key in the store is damaged"))
}
