//! REGISTER: who may come in, and what the answer says (GB/T 28181-2016, 9.1; RFC 3261, 10.3 and 22; RFC 2617, 7616).
//!
//! The device is named by From, as every device does; To is asked when From holds no code. Its address is where the
//! packet came from, not what Contact says, because of NAT. Registrations are kept by device, so that a new Call-ID, a
//! CSeq that starts again and an `Expires: 0` that comes first are all the same to us.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::secure::Proof;
use super::{Platform, uri_at};
use crate::gb28181::edition::Edition;
use crate::gb28181::gb35114::Refusal;
use crate::gb28181::quirk::Quirks;
use crate::gb28181::registrar::Slot;
use crate::gb28181::types::{Access, DeviceAuth, OfflineReason};
use crate::id::DeviceId;
use crate::limits::GB_VERSION_BYTES_MAX;
use crate::sip::digest::{Credentials, Verdict};
use crate::sip::{HeaderName, Incoming, Message, Request, Response};

/// Which edition a side is of (2022, annex I).
const GB_VERSION: &str = "X-GB-Ver";

/// What becomes of a REGISTER.
enum Admission {
    Accepted,
    Challenge {
        stale: bool,
    },
    Refused,
    /// GB 35114: in, with what the answer says in SecurityInfo.
    Proven(String),
    /// GB 35114: the value of WWW-Authenticate.
    Prove(String),
    /// GB 35114: out.
    NotProven(Refusal),
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
            Admission::Accepted => self.accept_register(now, device, incoming, None),
            Admission::Proven(info) => self.accept_register(now, device, incoming, Some(info)),
            Admission::Prove(challenge) => {
                self.counters.registers_challenged += 1;
                let date = self.date(now);
                let response = Response::new(401)
                    .header(HeaderName::WwwAuthenticate, challenge)
                    .header(HeaderName::Date, date);
                self.refuse(incoming, own_version(response));
            }
            Admission::NotProven(why) => self.not_proven(now, device, incoming, why),
            Admission::Challenge { stale } => {
                let source = incoming.path.peer.ip();
                let mut response = Response::new(401);
                response = own_version(response);
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
            Some(DeviceAuth::Certificate { der, revoked }) => {
                let (der, revoked) = (der.clone(), *revoked);
                let Some(slot) = slot else {
                    return Admission::Refused;
                };
                return match self.prove(now, slot, &der, revoked, &incoming.message) {
                    Ok(Proof::Done(info)) => Admission::Proven(info),
                    Ok(Proof::Asked(challenge)) => Admission::Prove(challenge),
                    Err(why) => Admission::NotProven(why),
                };
            }
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

    fn accept_register(
        &mut self,
        now: Instant,
        device: DeviceId,
        incoming: &Incoming,
        info: Option<String>,
    ) {
        let with_info = |response: Response| match &info {
            Some(info) => response.header_named("SecurityInfo", info),
            None => response,
        };
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
            return self.respond(now, incoming, with_info(response));
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
                self.respond(now, incoming, with_info(response));
                self.came_online(now, slot, first);
            }
            Err(_) => {
                self.counters.registers_no_room += 1;
                self.respond(now, incoming, Response::new(503));
            }
        }
    }

    /// Changes how a device logs in. One that must prove itself from now on, with another certificate or not at all any more,
    /// is sent away with its streams: what it came in with counts no longer.
    pub(super) fn set_auth(&mut self, now: Instant, device: DeviceId, auth: DeviceAuth) {
        self.suspects.clear_device(device);
        let known = self.registrar.find(device);
        if let Some(slot) = known.filter(|slot| self.registrar.get(*slot).auth == auth) {
            // The store may have forgotten it.
            return self.persist_device(now, slot);
        }
        match self.registrar.set_auth(now, device, auth) {
            Ok(slot) => {
                // Before the key goes: its streams are ended by messages that it believes.
                match &self.registrar.get(slot).auth {
                    DeviceAuth::Certificate { revoked: true, .. } => {
                        self.send_away(now, device, OfflineReason::Revoked);
                    }
                    DeviceAuth::Certificate { revoked: false, .. } => self.kick(now, device),
                    DeviceAuth::Default | DeviceAuth::Password(_) | DeviceAuth::NotNeeded => {}
                }
                self.forget_key(slot);
                self.persist_device(now, slot);
            }
            Err(_) => self.counters.registers_no_room += 1,
        }
    }

    pub(super) fn kick(&mut self, now: Instant, device: DeviceId) {
        self.send_away(now, device, OfflineReason::Kicked);
    }

    fn send_away(&mut self, now: Instant, device: DeviceId, why: OfflineReason) {
        if let Some(slot) = self.registrar.find(device)
            && self.registrar.unregister(slot)
        {
            self.went_offline(now, slot, why);
        }
    }

    pub(super) fn forget(&mut self, now: Instant, device: DeviceId) {
        self.kick(now, device);
        self.suspects.clear_device(device);
        if let Some(slot) = self.registrar.find(device) {
            for subject in self.subscriptions.of(slot) {
                self.subscriptions.remove(slot, subject);
            }
            self.registrar.force_quirks(slot, Quirks::default());
            self.forget_key(slot);
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
        let mut response = Response::new(200)
            .header(HeaderName::Expires, seconds.to_string())
            .header(HeaderName::Date, self.date(now));
        if seconds > 0 {
            response = response.contact(format!("{contact};expires={seconds}"));
        }
        own_version(response)
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
    let value = message.header_named(GB_VERSION)?;
    let text = std::str::from_utf8(value).ok()?.trim();
    let fits = !text.is_empty()
        && text.len() <= GB_VERSION_BYTES_MAX
        && text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    fits.then_some(text)
}

impl Platform {
    /// Tells our own edition in a request to a device that told its own when it registered (2022, annex I). One that never did
    /// is of an edition without that header, and gets its requests as they always were.
    pub(super) fn with_version(&self, slot: Option<Slot>, request: Request) -> Request {
        let told = slot.is_some_and(|slot| self.registrar.get(slot).gb_version.is_some());
        if told {
            request.header_named(GB_VERSION, Edition::Y2022.version())
        } else {
            request
        }
    }
}

/// Tells our own edition, whatever the device's is: both sides say theirs when a device registers (2022, annex I).
fn own_version(response: Response) -> Response {
    response.header_named(GB_VERSION, Edition::Y2022.version())
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
    let seconds = crate::time::local_text(ms.div_euclid(1000), 0);
    format!("{seconds}.{:03}", ms.rem_euclid(1000))
}

/// The reverse of [`local_time`]; fractions of a second may be missing, or a `Z` may follow. `None`: it is no such time.
pub(super) fn parse_local_time(text: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(text).ok()?;
    let seconds = crate::time::parse_local(text, 0)?;
    let fraction = text.trim().trim_end_matches('Z').split_once('.');
    let fraction = fraction.map_or("0", |(_, digits)| digits);
    let digits = fraction.get(..fraction.len().min(3))?;
    let milli = i64::from(digits.parse::<u16>().ok()?) * [1000, 100, 10, 1][digits.len()];
    Some(seconds * 1000 + milli)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_that_is_written_is_read() {
        for ms in [
            0,
            951_782_399_999,
            1_790_000_000_123,
            4_102_444_800_000,
            68_256_000_000,
        ] {
            assert_eq!(parse_local_time(local_time(ms).as_bytes()), Some(ms));
        }
        let read = |text: &str| parse_local_time(text.as_bytes());
        assert_eq!(read("2024-01-31T14:40:49"), Some(1_706_712_049_000));
        assert_eq!(read("2024-01-31T14:40:49.5Z"), Some(1_706_712_049_500));
        for broken in [
            "",
            "2024",
            "2024-13-01T00:00:00",
            "2024-01-31T24:00:00",
            "2024-01-31T1:2",
            "x-y-zTa:b:c",
            "2024-01-31T14:40:49.é",
        ] {
            assert_eq!(read(broken), None, "{broken}");
        }
    }
}
