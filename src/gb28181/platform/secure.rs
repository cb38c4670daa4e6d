//! GB 35114 at A level in the platform: the exchange at REGISTER, and the Note of messages both ways.
//!
//! Only devices whose [`DeviceAuth`](crate::gb28181::DeviceAuth) is a certificate are asked for it; everything else passes
//! untouched. See [`gb35114`](crate::gb28181::gb35114).
//!
//! Bounds: a session a device of the table; [`GM_REFUSALS_WAITING_MAX`] refusals that nobody has taken.

use std::collections::HashMap;
use std::time::Instant;

use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::SeedableRng;

use super::Platform;
use super::register::{local_time, parse_local_time};
use crate::gb28181::gb35114::{
    Certificate, Claim, Identity, Noted, Refusal, Scheme, Session, SharedKey, Value, header,
};
use crate::gb28181::registrar::Slot;
use crate::gb28181::types::{DeviceAuth, Event, Persist};
use crate::id::DeviceId;
use crate::limits::{GM_DATE_WINDOW_S, GM_REFUSALS_WAITING_MAX};
use crate::sip::{Endpoint, HeaderName, Incoming, Message, Request, Response};

/// What the platform keeps for GB 35114.
pub(super) struct Secure {
    pub identity: Option<Box<Identity>>,
    sessions: HashMap<Slot, Session>,
    pub refusals: Vec<(DeviceId, Refusal, i64)>,
    rng: ChaCha12Rng,
}

impl Secure {
    pub fn new(endpoint: &mut Endpoint) -> Secure {
        let mut seed = [0; 32];
        for chunk in seed.chunks_exact_mut(8) {
            chunk.copy_from_slice(&endpoint.random_u64().to_le_bytes());
        }
        Secure {
            identity: None,
            sessions: HashMap::new(),
            refusals: Vec::new(),
            rng: ChaCha12Rng::from_seed(seed),
        }
    }
}

/// How far a REGISTER came.
pub(super) enum Proof {
    /// The value of SecurityInfo.
    Done(String),
    /// The value of WWW-Authenticate.
    Asked(String),
}

impl Platform {
    /// Whether a device is one of GB 35114.
    pub(super) fn must_prove(&self, slot: Slot) -> bool {
        match &self.registrar.get(slot).auth {
            DeviceAuth::Certificate { .. } => true,
            DeviceAuth::Default | DeviceAuth::Password(_) | DeviceAuth::NotNeeded => false,
        }
    }

    /// What was agreed with a device is void: it logs in otherwise from now on, or with another certificate.
    pub(super) fn forget_key(&mut self, slot: Slot) {
        let gone = self.secure.sessions.remove(&slot);
        if gone.is_some_and(|session| session.vkek().is_some()) {
            let device = self.registrar.get(slot).id;
            self.event(Event::Persist(Persist::Key { device, key: None }));
        }
    }

    /// A key that was agreed before a restart. What was signed before now may have been seen then, so it is refused.
    pub(super) fn restore_key(&mut self, now: Instant, device: DeviceId, key: SharedKey) {
        let Some(slot) = self.registrar.find(device) else {
            return;
        };
        if self.must_prove(slot) {
            let session = self.secure.sessions.entry(slot).or_default();
            session.restore(key, self.wall.unix_ms(now));
        }
    }

    pub(super) fn prove(
        &mut self,
        now: Instant,
        slot: Slot,
        der: &[u8],
        revoked: bool,
        message: &Message,
    ) -> Result<Proof, Refusal> {
        if revoked {
            return Err(Refusal::Revoked);
        }
        let certificate = Certificate::read(der).map_err(|_| Refusal::NoCertificate)?;
        let unix_ms = self.wall.unix_ms(now);
        if let Some(date) = self.date_of(message)
            && (date - unix_ms).abs() > GM_DATE_WINDOW_S * 1000
        {
            return Err(Refusal::Late);
        }
        let device = self.registrar.get(slot).id.to_string();
        let Secure {
            identity,
            sessions,
            rng,
            ..
        } = &mut self.secure;
        let us = identity.as_deref().ok_or(Refusal::NoServerKey)?;
        let session = sessions.entry(slot).or_default();
        let authorization = message.header(HeaderName::Authorization);
        let value = authorization.map(Value::read);
        match value {
            None => Ok(Proof::Asked(session.challenge(now, rng))),
            // A digest: it knows nothing of GB 35114.
            Some(None) => Err(Refusal::Missing),
            Some(Some(value)) if value.scheme == Scheme::Capability => {
                Ok(Proof::Asked(session.challenge(now, rng)))
            }
            Some(Some(value)) => {
                let claim = Claim {
                    value: &value,
                    device: &device,
                    server: self.config.id.as_str(),
                    certificate: &certificate,
                    revoked,
                    unix_ms,
                };
                let info = session.accept(now, &claim, us, rng)?;
                let key = session.vkek().copied().map(SharedKey);
                let device = self.registrar.get(slot).id;
                self.event(Event::Persist(Persist::Key { device, key }));
                Ok(Proof::Done(info))
            }
        }
    }

    /// Refuses what GB 35114 does not let in.
    pub(super) fn not_proven(
        &mut self,
        now: Instant,
        device: DeviceId,
        incoming: &Incoming,
        why: Refusal,
    ) {
        self.counters.gm_refused[why.index()] += 1;
        let peer = incoming.path.peer;
        let method = String::from_utf8_lossy(incoming.message.method_text()).into_owned();
        tracing::warn!(%device, %peer, method, reason = why.name(), "GB 35114: {}", why.words().0);
        if self.secure.refusals.len() < GM_REFUSALS_WAITING_MAX {
            let unix_ms = self.wall.unix_ms(now);
            self.secure.refusals.push((device, why, unix_ms));
        }
        let response = Response::new(403).reason(format!("GB 35114: {}", why.name()));
        self.refuse(incoming, response);
    }

    /// Whether a request of a device may be believed; always for one that is not of GB 35114.
    pub(super) fn check_note(
        &mut self,
        now: Instant,
        slot: Slot,
        message: &Message,
    ) -> Result<(), Refusal> {
        match &self.registrar.get(slot).auth {
            DeviceAuth::Certificate { revoked: true, .. } => return Err(Refusal::Revoked),
            DeviceAuth::Certificate { revoked: false, .. } => {}
            DeviceAuth::Default | DeviceAuth::Password(_) | DeviceAuth::NotNeeded => return Ok(()),
        }
        let header = |name| message.header(name).unwrap_or_default();
        let noted = Noted {
            method: message.method_text(),
            from: header(HeaderName::From),
            to: header(HeaderName::To),
            call_id: header(HeaderName::CallId),
            date: header(HeaderName::Date),
            body: message.body(),
        };
        let date = self.date_of(message);
        let unix_ms = self.wall.unix_ms(now);
        let note = message.header_named("Note");
        let session = self.secure.sessions.entry(slot).or_default();
        session.check(note, &noted, date, unix_ms)
    }

    /// Signs a request to a device with which a key was agreed.
    pub(super) fn with_note(
        &mut self,
        now: Instant,
        slot: Option<Slot>,
        mut request: Request,
    ) -> Request {
        let vkek = slot.and_then(|slot| self.secure.sessions.get(&slot)?.vkek().copied());
        let Some(vkek) = vkek else {
            return request;
        };
        if self.endpoint.complete(&mut request).is_err() {
            // It will not be sent either.
            return request;
        }
        let date = self.date(now);
        let (from, to) = request.parties();
        let noted = Noted {
            method: request.method().as_str().as_bytes(),
            from: from.as_bytes(),
            to: to.as_bytes(),
            call_id: request.call_id_text().unwrap_or_default().as_bytes(),
            date: date.as_bytes(),
            body: request.content(),
        };
        let note = header::write_note(&noted.nonce(&vkek));
        request
            .header(HeaderName::Date, date)
            .header_named("Note", note)
    }

    /// The Date that devices are told: local time (GB/T 28181-2016, 9.10.2).
    pub(super) fn date(&self, now: Instant) -> String {
        local_time(self.wall.unix_ms(now) + i64::from(self.config.utc_offset_s) * 1000)
    }

    /// The Date of a message in Unix ms.
    fn date_of(&self, message: &Message) -> Option<i64> {
        let local = parse_local_time(message.header(HeaderName::Date)?)?;
        Some(local - i64::from(self.config.utc_offset_s) * 1000)
    }
}
