//! REGISTER: who may come in, and what the answer says (GB/T 28181-2016, 9.1; RFC 3261, 10.3 and 22; RFC 2617, 7616).
//!
//! The device is named by From, as every device does; To is asked when From holds no code. Its address is where the
//! packet came from, not what Contact says, because of NAT. Registrations are kept by device, so that a new Call-ID, a
//! CSeq that starts again and an `Expires: 0` that comes first are all the same to us.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::{Platform, uri_at};
use crate::gb28181::quirk::Quirks;
use crate::gb28181::registrar::Slot;
use crate::gb28181::subscribe::Topic;
use crate::gb28181::types::{Access, DeviceAuth, OfflineReason};
use crate::id::DeviceId;
use crate::limits::GB_VERSION_BYTES_MAX;
use crate::sip::digest::{Credentials, Verdict};
use crate::sip::{HeaderName, Incoming, Message, Response};

/// What becomes of a REGISTER.
enum Admission {
    Accepted,
    Challenge { stale: bool },
    Refused,
}

impl Platform {
    pub(super) fn on_register(&mut self, now: Instant, incoming: &Incoming) {
        let Some(device) = device_of(&incoming.message) else {
            self.counters.malformed_id += 1;
            tracing::debug!(peer = %incoming.path.peer, "REGISTER without a device code");
            let response = Response::new(400).reason("No device code in From");
            return self.refuse(incoming, response);
        };
        match self.admit(now, device, incoming) {
            Admission::Accepted => self.accept_register(now, device, incoming),
            Admission::Challenge { stale } => {
                let source = incoming.path.peer.ip();
                let mut response = Response::new(401);
                for challenge in self.authenticator.challenge(now, source, stale) {
                    response = response.header(HeaderName::WwwAuthenticate, challenge);
                }
                self.refuse(incoming, response);
            }
            Admission::Refused => {
                self.counters.registers_refused += 1;
                self.refuse(incoming, Response::new(403));
            }
        }
    }

    fn admit(&mut self, now: Instant, device: DeviceId, incoming: &Incoming) -> Admission {
        let source = incoming.path.peer.ip();
        if !self.access.admits(device) {
            return Admission::Refused;
        }
        let slot = self.registrar.find(device);
        let known = slot.map(|slot| self.registrar.get(slot));
        let password = match known.map(|d| &d.auth) {
            Some(DeviceAuth::NotNeeded) => return Admission::Accepted,
            Some(DeviceAuth::Password(password)) => Some(password.as_str()),
            Some(DeviceAuth::Default) | None => self.config.default_password.as_deref(),
        };
        let Some(password) = password else {
            return Admission::Refused;
        };
        let trusted =
            known.is_some_and(|d| d.is_online() && d.peer.map(|p| p.ip()) == Some(source));
        if self.suspects.is_paused(now, source, device, trusted) {
            return Admission::Refused;
        }
        let Some(credentials) = Credentials::of(&incoming.message) else {
            self.counters.registers_challenged += 1;
            return Admission::Challenge { stale: false };
        };
        let method = incoming.message.method_text();
        match self
            .authenticator
            .verify(now, source, method, &credentials, password)
        {
            Verdict::Accepted => {
                self.suspects.clear(source, device);
                Admission::Accepted
            }
            Verdict::Stale | Verdict::Replayed => {
                self.counters.registers_challenged += 1;
                Admission::Challenge { stale: true }
            }
            Verdict::Wrong(what) => {
                tracing::debug!(%device, peer = %incoming.path.peer, what, "wrong credentials");
                if self.suspects.wrong(now, source, device) {
                    return Admission::Refused;
                }
                self.counters.registers_wrong += 1;
                Admission::Challenge { stale: false }
            }
        }
    }

    fn accept_register(&mut self, now: Instant, device: DeviceId, incoming: &Incoming) {
        let asked = incoming
            .message
            .expires()
            .map_or(self.config.expires_default, |s| {
                Duration::from_secs(s.into())
            });
        let expires = asked.min(self.config.expires_max);
        if expires.is_zero() {
            self.counters.unregisters += 1;
            if let Some(slot) = self.registrar.find(device)
                && self.registrar.unregister(slot)
            {
                self.went_offline(now, slot, OfflineReason::Unregistered);
            }
            let response = self.register_response(now, device, expires, incoming);
            return self.respond(now, incoming, response);
        }
        let version = gb_version(&incoming.message);
        match self
            .registrar
            .register(now, device, incoming.path, expires, version)
        {
            Ok((slot, first)) => {
                self.counters.registers_ok += 1;
                self.earned = 2;
                self.learn_quirks(slot, &incoming.message);
                let response = self.register_response(now, device, expires, incoming);
                self.respond(now, incoming, response);
                self.came_online(now, slot, first);
            }
            Err(_) => {
                self.counters.registers_no_room += 1;
                self.respond(now, incoming, Response::new(503));
            }
        }
    }

    pub(super) fn kick(&mut self, now: Instant, device: DeviceId) {
        if let Some(slot) = self.registrar.find(device)
            && self.registrar.unregister(slot)
        {
            self.went_offline(now, slot, OfflineReason::Kicked);
        }
    }

    pub(super) fn forget(&mut self, now: Instant, device: DeviceId) {
        self.kick(now, device);
        self.suspects.clear_device(device);
        if let Some(slot) = self.registrar.find(device) {
            for topic in Topic::ALL {
                self.subscriptions.remove(slot, topic);
            }
            self.registrar.force_quirks(slot, Quirks::default());
            // It is in the table, so there is room.
            _ = self.registrar.set_auth(now, device, DeviceAuth::Default);
        }
    }

    pub(super) fn set_access(&mut self, now: Instant, access: Access) {
        self.access = access;
        let barred: Vec<DeviceId> = self
            .registrar
            .ids()
            .filter(|device| !self.access.admits(*device))
            .collect();
        for device in barred {
            self.kick(now, device);
        }
    }

    fn learn_quirks(&mut self, slot: Slot, message: &Message) {
        let agent = message.header(HeaderName::UserAgent).unwrap_or_default();
        let quirks = self.config.quirks.for_agent(agent);
        self.registrar.learn_quirks(slot, quirks);
    }

    fn register_response(
        &self,
        now: Instant,
        device: DeviceId,
        expires: Duration,
        incoming: &Incoming,
    ) -> Response {
        let message = &incoming.message;
        let seconds = expires.as_secs();
        let contact = contact_of(message, device, incoming.path.peer);
        let unix_ms = self.wall.unix_ms(now) + i64::from(self.config.utc_offset_s) * 1000;
        let mut response = Response::new(200)
            .header(HeaderName::Expires, seconds.to_string())
            .header(HeaderName::Date, local_time(unix_ms));
        if seconds > 0 {
            response = response.contact(format!("{contact};expires={seconds}"));
        }
        match gb_version(message) {
            Some(version) => response.header_named("X-GB-Ver", version),
            None => response,
        }
    }
}

/// The device that a request speaks for.
pub(super) fn device_of(message: &Message) -> Option<DeviceId> {
    [message.from_user(), message.to_user()]
        .into_iter()
        .flatten()
        .find_map(|user| user.parse().ok())
        .map(DeviceId)
}

/// `X-GB-Ver` (GB/T 28181-2022, annex I): digits and points.
fn gb_version(message: &Message) -> Option<&str> {
    let value = message.header_named("X-GB-Ver")?;
    let text = std::str::from_utf8(value).ok()?.trim();
    let fits = !text.is_empty()
        && text.len() <= GB_VERSION_BYTES_MAX
        && text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    fits.then_some(text)
}

/// The binding that the answer confirms: the device's own Contact, or one made from where it is.
fn contact_of(message: &Message, device: DeviceId, peer: SocketAddr) -> String {
    message
        .contact()
        .ok()
        .and_then(|contact| std::str::from_utf8(contact.uri).ok())
        .filter(|uri| uri.starts_with("sip"))
        .map_or_else(
            || format!("<{}>", uri_at(device.0, peer)),
            |uri| format!("<{uri}>"),
        )
}

/// `yyyy-MM-dd'T'HH:mm:ss.SSS` (GB/T 28181-2016, 9.10.2) of a local time in milliseconds since 1970.
pub(crate) fn local_time(ms: i64) -> String {
    let days = ms.div_euclid(86_400_000);
    let of_day = ms.rem_euclid(86_400_000);
    let (year, month, day) = crate::time::civil(days);
    let (h, m, s, milli) = (
        of_day / 3_600_000,
        of_day / 60_000 % 60,
        of_day / 1000 % 60,
        of_day % 1000,
    );
    format!("{year:04}-{month:02}-{day:02}T{h:02}:{m:02}:{s:02}.{milli:03}")
}
