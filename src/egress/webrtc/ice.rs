//! ICE-lite agent of one viewer: answers connectivity checks, learns the peer's addresses, says which one is nominated.
//!
//! RFC 8445, 2.5 and 6.1.1 (lite), 7.3 (server procedures), 8.1.1 (nomination); RFC 7675 (consent). We answer the offer of a
//! full agent, so we are always controlled. Own rather than `rtc-ice`: in lite mode that crate answers a nomination only
//! after a check of its own has succeeded, which costs 250 ms and never ends with a client that answers no checks.
//!
//! A check is verified first (USERNAME, MESSAGE-INTEGRITY, FINGERPRINT) and answered at once. What does not verify is
//! dropped without an answer, so that the port reflects nothing to forged addresses. A verified check makes its source an
//! address of the peer (peer-reflexive; the offer's candidates are not read at all). USE-CANDIDATE nominates; the last one
//! wins, because a browser that roams nominates its new path.
//! A lite agent sends no checks: consent is the time since the last verified one.
//! Not done: ICE restart, candidates of the peer, checks of our own, switching to controlling (a peer that says it is controlled gets 487).
//!
//! Bounds: [`ICE_ADDRESSES_MAX`] of one peer; silence [`ICE_SILENCE_S_MAX`].

use std::time::{Duration, Instant};

use smallvec::SmallVec;

use super::Address;
use super::stun::{Class, Message, StunError, Writer};
use crate::limits::{ICE_ADDRESSES_MAX, ICE_SILENCE_S_MAX};

/// Credentials of our side, as they stand in the answer: 4 and 22 or more characters of `A-Z a-z 0-9 + /` (RFC 8839, 5.4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    pub ufrag: Box<str>,
    pub password: Box<str>,
}

/// What a check meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checked {
    /// Answered. `new_address`: the peer had not been seen there before; `forgotten` made room for it.
    Answered {
        new_address: bool,
        forgotten: Option<Address>,
        nominated: bool,
    },
    /// Verified, and answered with an error (role conflict, unknown attribute).
    Refused(u16),
    /// Not a check that proves anything; dropped.
    Dropped(Dropped),
}

/// Why a datagram was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dropped {
    Malformed(StunError),
    NotARequest,
    /// USERNAME is not "ours:theirs".
    Username,
    Integrity,
}

/// The agent. One per viewer.
#[derive(Debug)]
pub struct Agent {
    local: Credentials,
    remote_ufrag: Box<str>,
    addresses: SmallVec<[Address; 2]>,
    nominated: Option<Address>,
    last_verified: Instant,
}

impl Agent {
    /// `remote_ufrag` from the offer. The silence limit runs from `now`.
    pub fn new(local: Credentials, remote_ufrag: &str, now: Instant) -> Self {
        Agent {
            local,
            remote_ufrag: remote_ufrag.into(),
            addresses: SmallVec::new(),
            nominated: None,
            last_verified: now,
        }
    }

    /// Verifies a datagram and answers it through `out`.
    pub fn handle_datagram(
        &mut self,
        now: Instant,
        from: Address,
        datagram: &[u8],
        out: &mut impl FnMut(Address, &[u8]),
    ) -> Checked {
        let message = match Message::parse(datagram) {
            Ok(m) => m,
            Err(e) => return Checked::Dropped(Dropped::Malformed(e)),
        };
        if message.class != Class::Request {
            return Checked::Dropped(Dropped::NotARequest);
        }
        if !message.username.is_some_and(|u| self.is_username(u)) {
            return Checked::Dropped(Dropped::Username);
        }
        let password = self.local.password.as_bytes();
        if !message.verify(password) {
            return Checked::Dropped(Dropped::Integrity);
        }
        let refusal = if let Some(kind) = message.unknown {
            Some((420, "Unknown Attribute", Some(kind)))
        } else if message.controlled.is_some() {
            // RFC 8445, 7.3.1.1: a lite agent cannot take the controlling role, so the peer must.
            Some((487, "Role Conflict", None))
        } else {
            None
        };
        if let Some((code, reason, unknown)) = refusal {
            let mut w =
                Writer::new(Class::Error, &message.transaction).error(code, reason, unknown);
            out(from, w.finish(password));
            return Checked::Refused(code);
        }
        let new_address = !self.addresses.contains(&from);
        let forgotten = if new_address { self.learn(from) } else { None };
        self.last_verified = now;
        if message.use_candidate {
            self.nominated = Some(from);
        }
        let mut w = Writer::new(Class::Success, &message.transaction).mapped(from.socket_addr());
        out(from, w.finish(self.local.password.as_bytes()));
        Checked::Answered {
            new_address,
            forgotten,
            nominated: message.use_candidate,
        }
    }

    /// Adds an address. At the limit the oldest one that is not in use makes room and is returned: a roaming peer must not
    /// lock itself out.
    fn learn(&mut self, address: Address) -> Option<Address> {
        let forgotten = if self.addresses.len() >= ICE_ADDRESSES_MAX {
            let old = self
                .addresses
                .iter()
                .position(|a| Some(*a) != self.nominated);
            old.map(|old| self.addresses.remove(old))
        } else {
            None
        };
        self.addresses.push(address);
        forgotten
    }

    /// Where media goes, once the peer has nominated.
    pub fn nominated(&self) -> Option<Address> {
        self.nominated
    }

    /// Whether a verified check came from there.
    pub fn knows(&self, address: Address) -> bool {
        self.addresses.contains(&address)
    }

    /// An address is gone for good: a connection that ended.
    pub fn forget(&mut self, address: Address) {
        self.addresses.retain(|a| *a != address);
        if self.nominated == Some(address) {
            self.nominated = None;
        }
    }

    /// When the peer counts as gone unless a verified check comes before.
    pub fn silence_deadline(&self) -> Instant {
        self.last_verified + Duration::from_secs(ICE_SILENCE_S_MAX)
    }

    fn is_username(&self, username: &[u8]) -> bool {
        let (ours, theirs) = (self.local.ufrag.as_bytes(), self.remote_ufrag.as_bytes());
        username.len() == ours.len() + 1 + theirs.len()
            && username.starts_with(ours)
            && username[ours.len()] == b':'
            && username.ends_with(theirs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWORD: &str = "0123456789abcdefghijkl";

    fn agent(now: Instant) -> Agent {
        let local = Credentials {
            ufrag: "ours".into(),
            password: PASSWORD.into(),
        };
        Agent::new(local, "them", now)
    }

    fn at(port: u16) -> Address {
        Address::Udp(([192, 0, 2, 1], port).into())
    }

    fn check(nominate: bool) -> Vec<u8> {
        Writer::new(Class::Request, &[9; 12])
            .check("ours:them", 5, true, nominate)
            .finish(PASSWORD.as_bytes())
            .to_vec()
    }

    /// Class, error code and mapped address of an answer.
    type Told = (Class, Option<u16>, Option<std::net::SocketAddr>);

    /// Feeds one datagram; gives the outcome and the parsed answer's (class, error code, mapped address).
    fn feed(
        agent: &mut Agent,
        now: Instant,
        from: Address,
        datagram: &[u8],
    ) -> (Checked, Option<Told>) {
        let mut answer = None;
        let checked = agent.handle_datagram(now, from, datagram, &mut |to, bytes| {
            assert_eq!(to, from);
            let m = Message::parse(bytes).expect("our answer parses");
            assert!(m.verify(PASSWORD.as_bytes()));
            assert_eq!(m.transaction, [9; 12]);
            answer = Some((m.class, m.error_code, m.mapped));
        });
        (checked, answer)
    }

    #[test]
    fn a_nomination_is_answered_at_once() {
        let now = Instant::now();
        let mut agent = agent(now);
        let (checked, answer) = feed(&mut agent, now, at(1), &check(false));
        assert_eq!(
            checked,
            Checked::Answered {
                new_address: true,
                forgotten: None,
                nominated: false
            }
        );
        assert_eq!(
            answer,
            Some((Class::Success, None, Some(at(1).socket_addr())))
        );
        assert_eq!(agent.nominated(), None);
        let (checked, _) = feed(&mut agent, now, at(1), &check(true));
        assert_eq!(
            checked,
            Checked::Answered {
                new_address: false,
                forgotten: None,
                nominated: true
            }
        );
        assert_eq!(agent.nominated(), Some(at(1)));
        // The peer roams: its last nomination counts.
        feed(&mut agent, now, at(2), &check(true));
        assert_eq!(agent.nominated(), Some(at(2)));
    }

    #[test]
    fn what_does_not_verify_gets_no_answer_and_no_consent() {
        let now = Instant::now();
        let mut agent = agent(now);
        let later = now + Duration::from_secs(5);
        let deadline = agent.silence_deadline();
        let forged = |user: &str, password: &[u8]| {
            Writer::new(Class::Request, &[9; 12])
                .check(user, 5, true, true)
                .finish(password)
                .to_vec()
        };
        for (datagram, want) in [
            (forged("ours:them", b"wrong"), Dropped::Integrity),
            (forged("ours:tham", PASSWORD.as_bytes()), Dropped::Username),
            (forged("ours", PASSWORD.as_bytes()), Dropped::Username),
            (
                Writer::new(Class::Success, &[9; 12])
                    .finish(PASSWORD.as_bytes())
                    .to_vec(),
                Dropped::NotARequest,
            ),
            (
                check(true)[..40].to_vec(),
                Dropped::Malformed(StunError::NotStun),
            ),
        ] {
            assert_eq!(
                feed(&mut agent, later, at(1), &datagram),
                (Checked::Dropped(want), None)
            );
        }
        assert_eq!(agent.nominated(), None);
        assert!(!agent.knows(at(1)));
        assert_eq!(agent.silence_deadline(), deadline);
    }

    #[test]
    fn consent_follows_the_last_verified_check() {
        let now = Instant::now();
        let mut agent = agent(now);
        let later = now + Duration::from_secs(3);
        feed(&mut agent, later, at(1), &check(true));
        assert_eq!(
            agent.silence_deadline(),
            later + Duration::from_secs(ICE_SILENCE_S_MAX)
        );
    }

    #[test]
    fn a_peer_in_the_wrong_role_is_told_so() {
        let now = Instant::now();
        let mut agent = agent(now);
        let datagram = Writer::new(Class::Request, &[9; 12])
            .check("ours:them", 5, false, true)
            .finish(PASSWORD.as_bytes())
            .to_vec();
        let (checked, answer) = feed(&mut agent, now, at(1), &datagram);
        assert_eq!(checked, Checked::Refused(487));
        assert_eq!(answer, Some((Class::Error, Some(487), None)));
        assert_eq!(agent.nominated(), None);
    }

    #[test]
    fn an_attribute_that_must_be_understood_is_refused() {
        let now = Instant::now();
        let mut agent = agent(now);
        let datagram = Writer::new(Class::Request, &[9; 12])
            .check("ours:them", 5, true, true)
            .raw(0x7abc, b"?")
            .finish(PASSWORD.as_bytes())
            .to_vec();
        assert_eq!(
            feed(&mut agent, now, at(1), &datagram).0,
            Checked::Refused(420)
        );
    }

    #[test]
    fn a_peer_keeps_few_addresses_and_its_nominated_one() {
        let now = Instant::now();
        let mut agent = agent(now);
        feed(&mut agent, now, at(1), &check(true));
        for port in 2..=ICE_ADDRESSES_MAX as u16 {
            feed(&mut agent, now, at(port), &check(false));
        }
        assert!((1..=ICE_ADDRESSES_MAX as u16).all(|p| agent.knows(at(p))));
        let (checked, _) = feed(&mut agent, now, at(1000), &check(false));
        assert_eq!(
            checked,
            Checked::Answered {
                new_address: true,
                forgotten: Some(at(2)),
                nominated: false
            }
        );
        assert!(agent.knows(at(1)) && agent.knows(at(1000)) && !agent.knows(at(2)));
        assert_eq!(agent.addresses.len(), ICE_ADDRESSES_MAX);
    }
}
