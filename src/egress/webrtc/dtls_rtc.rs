//! DTLS by `rtc-dtls`: our certificate, and one association per viewer.
//!
//! Around the crate stand four things that it does not do:
//! - the profile is chosen before the crate sees the ClientHello ([`super::dtls::Hello`]);
//! - flights are sent again by a timer of ours. The crate's own timer stops for good as soon as any record of an unfinished
//!   flight comes in, so that one lost datagram of the server's flight would hang the handshake. The datagrams are sent
//!   again as they are: what came through is dropped by the client's replay window, what did not is new to it;
//! - records are looked at first. An unreadable record or a forged alert in the clear would end the crate's handshake;
//! - as soon as the handshake is over the association is written down (some hundred bytes) and dropped, 20 kB of it; our
//!   last flight is kept until the client shows that it has it, and sent again as it was when the client repeats its own
//!   (RFC 6347, 4.2.4). The association is built anew for the few alerts that may still come, and to say close_notify.
//!
//! Bounds: [`DTLS_HANDSHAKE_S_MAX`], [`DTLS_HANDSHAKE_BYTES_MAX`], [`DTLS_LATE_ALERTS_MAX`], [`DTLS_LAST_FLIGHTS_MAX`].

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use rtc_crypto::RTCCryptoProvider;
use rtc_crypto::providers::RingProvider;
use rtc_dtls::cipher_suite::CipherSuiteId;
use rtc_dtls::config::{ClientAuthType, ConfigBuilder, ExtendedMasterSecretType, HandshakeConfig};
use rtc_dtls::crypto::Certificate;
use rtc_dtls::endpoint::{Endpoint, EndpointEvent};
use rtc_dtls::extension::extension_use_srtp::SrtpProtectionProfile;
use rtc_dtls::state::State;
use rtc_shared::TransportProtocol;

use super::dtls::{
    Associate, CONTENT_ALERT, CONTENT_CHANGE_CIPHER_SPEC, CONTENT_HANDSHAKE, DtlsError, Event,
    Fingerprints, Hello, Identify, fingerprint, records,
};
use super::srtp::{Masters, Profile};
use crate::limits::{
    DTLS_HANDSHAKE_BYTES_MAX, DTLS_HANDSHAKE_S_MAX, DTLS_LAST_FLIGHTS_MAX, DTLS_LATE_ALERTS_MAX,
};

/// Label of the exporter (RFC 5764, 4.2).
const EXPORTER: &str = "EXTRACTOR-dtls_srtp";
/// First wait for an answer to a flight; doubled up to the second (RFC 6347, 4.2.4.1 asks for 1 s where the round trip is
/// not known; ICE has just measured a path that answers within tens of milliseconds).
const RETRANSMIT_FIRST: Duration = Duration::from_millis(200);
const RETRANSMIT_LAST: Duration = Duration::from_secs(2);
/// How long the last flight can be asked for again, without any other sign of life.
const LINGER: Duration = Duration::from_secs(20);
/// Alignment of the crate's written-down state.
const ARCHIVE_ALIGN: usize = 16;
/// An association knows its peer by a name only; addresses are the business of ICE.
const PEER: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 1);

/// Our certificate with one ready server configuration per profile. Made once per process.
pub struct Identity {
    provider: Arc<dyn RTCCryptoProvider>,
    fingerprint: String,
    profiles: Box<[Profile]>,
    gcm128: Arc<HandshakeConfig>,
    cm80: Arc<HandshakeConfig>,
}

/// Why there is no identity. Only a broken random source or library can cause it.
#[derive(Debug)]
pub struct IdentityError(String);

impl fmt::Display for IdentityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no DTLS certificate could be made: {}", self.0)
    }
}

impl std::error::Error for IdentityError {}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("fingerprint", &self.fingerprint)
            .finish_non_exhaustive()
    }
}

impl Identity {
    /// Makes a self-signed P-256 certificate, as browsers do (RFC 8827, 6.5), for viewers with any of our profiles.
    pub fn generate() -> Result<Self, IdentityError> {
        Self::with_profiles(&Profile::BEST_FIRST)
    }

    /// As [`Identity::generate`], with the SRTP profiles that are allowed, best first.
    pub fn with_profiles(profiles: &[Profile]) -> Result<Self, IdentityError> {
        let provider: Arc<dyn RTCCryptoProvider> = Arc::new(RingProvider::new());
        let certificate =
            Certificate::generate_self_signed(vec!["gantry".to_owned()], provider.crypto())
                .map_err(|e| IdentityError(e.to_string()))?;
        let config = |profile| {
            ConfigBuilder::default()
                .with_crypto_provider(provider.clone())
                .with_certificates(vec![certificate.clone()])
                .with_cipher_suites(vec![
                    CipherSuiteId::Tls_Ecdhe_Ecdsa_With_Aes_128_Gcm_Sha256,
                    CipherSuiteId::Tls_Ecdhe_Ecdsa_With_ChaCha20_Poly1305_Sha256,
                ])
                .with_srtp_protection_profiles(vec![profile])
                // The certificate is asked for and its key proven; which one it is, we check by fingerprint.
                .with_client_auth(ClientAuthType::RequireAnyClientCert)
                .with_insecure_skip_verify(true)
                .with_extended_master_secret(ExtendedMasterSecretType::Request)
                .build(false, None)
                .map(Arc::new)
                .map_err(|e| IdentityError(e.to_string()))
        };
        Ok(Identity {
            fingerprint: fingerprint(&certificate.certificate[0]),
            profiles: profiles.into(),
            gcm128: config(SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm)?,
            cm80: config(SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80)?,
            provider,
        })
    }
}

impl Identify for Arc<Identity> {
    fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    fn accept(&self, fingerprints: Fingerprints, now: Instant) -> Box<dyn Associate> {
        Box::new(Association {
            identity: self.clone(),
            state: Stage::Hello(Hello::default()),
            fingerprints,
            deadline: now + Duration::from_secs(DTLS_HANDSHAKE_S_MAX),
            bytes: 0,
        })
    }
}

/// ```text
/// Hello ──whole──► Handshake ──Finished──► Resting, until confirmed or 20 s with our last flight
///   └───── error, deadline ────┴──► (dropped by the viewer)
/// ```
enum Stage {
    Hello(Hello),
    Handshake(Box<Handshake>),
    /// Keys are out.
    Resting {
        state: Box<[u8]>,
        alerts_left: u8,
        last_flight: Option<Box<LastFlight>>,
    },
    /// close_notify was said or heard.
    Closed,
}

struct Handshake {
    endpoint: Endpoint,
    profile: Profile,
    /// Our last flight, to be sent again.
    flight: Vec<BytesMut>,
    resend_at: Instant,
    wait: Duration,
}

/// What the client may still ask for, until [`Association::deadline`].
struct LastFlight {
    datagrams: Vec<Box<[u8]>>,
    repeats_left: u8,
}

struct Association {
    identity: Arc<Identity>,
    state: Stage,
    fingerprints: Fingerprints,
    /// End of the handshake, then of the time in which the last flight can be asked for again.
    deadline: Instant,
    /// Fed to the unfinished handshake so far.
    bytes: usize,
}

impl Associate for Association {
    fn handle_datagram(
        &mut self,
        now: Instant,
        datagram: &[u8],
        out: &mut dyn FnMut(&[u8]),
    ) -> Result<Option<Event>, DtlsError> {
        match &mut self.state {
            Stage::Hello(_) | Stage::Handshake(_) => {
                self.bytes += datagram.len();
                if self.bytes > DTLS_HANDSHAKE_BYTES_MAX {
                    return Err(DtlsError::TooMuch);
                }
                self.advance(now, datagram, out)
            }
            Stage::Resting {
                state,
                alerts_left,
                last_flight,
            } => {
                if let Some(flight) = last_flight
                    && flight.repeats_left > 0
                    && has_finished(datagram)
                {
                    flight.repeats_left -= 1;
                    flight.datagrams.iter().for_each(|d| out(d));
                    return Ok(None);
                }
                if *alerts_left == 0 || !is_late_alert(datagram) {
                    return Ok(None);
                }
                *alerts_left -= 1;
                let Some(mut endpoint) = self.identity.revive(state, now) else {
                    return Ok(None);
                };
                let events = read(&mut endpoint, now, datagram);
                drain(&mut endpoint, out);
                Ok(self.peer_closed(&events))
            }
            Stage::Closed => Ok(None),
        }
    }

    fn handle_timeout(
        &mut self,
        now: Instant,
        out: &mut dyn FnMut(&[u8]),
    ) -> Result<(), DtlsError> {
        match &mut self.state {
            Stage::Hello(_) | Stage::Handshake(_) if now >= self.deadline => {
                return Err(DtlsError::Timeout);
            }
            Stage::Handshake(h) => {
                if now >= h.resend_at && !h.flight.is_empty() {
                    h.flight.iter().for_each(|d| out(d));
                    h.wait = (h.wait * 2).min(RETRANSMIT_LAST);
                    h.resend_at = now + h.wait;
                }
            }
            Stage::Resting { last_flight, .. } if now >= self.deadline => *last_flight = None,
            Stage::Hello(_) | Stage::Resting { .. } | Stage::Closed => {}
        }
        Ok(())
    }

    fn next_deadline(&self) -> Option<Instant> {
        match &self.state {
            Stage::Hello(_) => Some(self.deadline),
            Stage::Handshake(h) => Some(self.deadline.min(h.resend_at)),
            Stage::Resting { last_flight, .. } => last_flight.as_ref().map(|_| self.deadline),
            Stage::Closed => None,
        }
    }

    fn confirmed(&mut self) {
        if let Stage::Resting { last_flight, .. } = &mut self.state {
            *last_flight = None;
        }
    }

    fn close(&mut self, now: Instant, out: &mut dyn FnMut(&[u8])) {
        let mut endpoint = match std::mem::replace(&mut self.state, Stage::Closed) {
            Stage::Resting { state, .. } => match self.identity.revive(&state, now) {
                Some(endpoint) => endpoint,
                None => return,
            },
            Stage::Hello(_) | Stage::Handshake(_) | Stage::Closed => return,
        };
        endpoint.stop(now, PEER);
        drain(&mut endpoint, out);
    }
}

impl Association {
    fn advance(
        &mut self,
        now: Instant,
        datagram: &[u8],
        out: &mut dyn FnMut(&[u8]),
    ) -> Result<Option<Event>, DtlsError> {
        if !is_sane(datagram)? {
            return Ok(None);
        }
        let mut event = None;
        match &mut self.state {
            Stage::Hello(hello) => {
                let Some(profile) = hello.push(datagram, &self.identity.profiles)? else {
                    return Ok(None);
                };
                let held = std::mem::take(hello).into_held();
                let config = self.identity.config(profile);
                let mut h = Box::new(Handshake {
                    endpoint: Endpoint::new(PEER, TransportProtocol::UDP, Some(config)),
                    profile,
                    flight: Vec::new(),
                    resend_at: now,
                    wait: RETRANSMIT_FIRST,
                });
                for datagram in held {
                    event = h.feed(now, &datagram, &self.fingerprints, out)?.or(event);
                }
                self.state = Stage::Handshake(h);
            }
            Stage::Handshake(h) => event = h.feed(now, datagram, &self.fingerprints, out)?,
            Stage::Resting { .. } | Stage::Closed => {}
        }
        if event.is_some()
            && let Stage::Handshake(h) = std::mem::replace(&mut self.state, Stage::Closed)
        {
            self.state = h.rest(now);
            self.deadline = now + LINGER;
        }
        Ok(event)
    }

    fn peer_closed(&mut self, events: &[EndpointEvent]) -> Option<Event> {
        let closed = events
            .iter()
            .any(|e| matches!(e, EndpointEvent::PeerClosed));
        closed.then(|| {
            self.state = Stage::Closed;
            Event::PeerClosed
        })
    }
}

impl Handshake {
    fn feed(
        &mut self,
        now: Instant,
        datagram: &[u8],
        fingerprints: &Fingerprints,
        out: &mut dyn FnMut(&[u8]),
    ) -> Result<Option<Event>, DtlsError> {
        let result = self.endpoint.read(now, PEER, None, datagram.into());
        let mut sent = Vec::new();
        while let Some(t) = self.endpoint.poll_transmit() {
            out(&t.message);
            sent.push(t.message);
        }
        if !sent.is_empty() {
            self.flight = sent;
            self.wait = RETRANSMIT_FIRST;
            self.resend_at = now + self.wait;
        }
        let events = result.map_err(|e| DtlsError::Handshake(e.to_string()))?;
        let complete = events
            .iter()
            .any(|e| matches!(e, EndpointEvent::HandshakeComplete));
        if !complete {
            return Ok(None);
        }
        let state = self
            .endpoint
            .get_connection_state(PEER)
            .ok_or_else(|| DtlsError::Handshake("the association is gone".to_owned()))?;
        let certificate = state
            .peer_certificates
            .first()
            .ok_or(DtlsError::Fingerprint)?;
        if !fingerprints.iter().any(|f| f.matches(certificate)) {
            return Err(DtlsError::Fingerprint);
        }
        let material = state
            .export_keying_material(EXPORTER, &[], self.profile.material_len())
            .map_err(|e| DtlsError::Handshake(e.to_string()))?
            .into_bytes();
        let masters = Masters::new(self.profile, &material)
            .ok_or_else(|| DtlsError::Handshake("keying material of a wrong length".to_owned()))?;
        Ok(Some(Event::Keys {
            profile: self.profile,
            masters,
        }))
    }

    /// The finished association, written down.
    fn rest(mut self, now: Instant) -> Stage {
        // The crate gives the state away only with the connection, and writes a close_notify at that; nobody gets it.
        let Some(connection) = self.endpoint.stop(now, PEER) else {
            return Stage::Closed;
        };
        match connection.connection_state().marshal_binary() {
            Ok(state) => Stage::Resting {
                state: state.into(),
                alerts_left: DTLS_LATE_ALERTS_MAX,
                last_flight: Some(Box::new(LastFlight {
                    datagrams: self.flight.iter().map(|d| d[..].into()).collect(),
                    repeats_left: DTLS_LAST_FLIGHTS_MAX,
                })),
            },
            Err(_) => Stage::Closed,
        }
    }
}

impl Identity {
    fn config(&self, profile: Profile) -> Arc<HandshakeConfig> {
        match profile {
            Profile::Gcm128 => self.gcm128.clone(),
            Profile::Cm80 => self.cm80.clone(),
        }
    }

    /// A finished association from what was written down. The crate lets only the connecting side start from a state; the
    /// role that the keys follow is that of the state.
    fn revive(&self, state: &[u8], now: Instant) -> Option<Endpoint> {
        let mut revived = State::new(self.provider.clone(), false);
        // The archive can be read only at an address of its alignment.
        let mut room = vec![0; state.len() + ARCHIVE_ALIGN];
        let at = room.as_ptr().align_offset(ARCHIVE_ALIGN);
        let aligned = room.get_mut(at..at + state.len())?;
        aligned.copy_from_slice(state);
        revived.unmarshal_binary(aligned).ok()?;
        let mut endpoint = Endpoint::new(PEER, TransportProtocol::UDP, None);
        endpoint
            .connect(now, PEER, self.gcm128.clone(), Some(revived))
            .ok()?;
        Some(endpoint)
    }
}

fn read(endpoint: &mut Endpoint, now: Instant, datagram: &[u8]) -> Vec<EndpointEvent> {
    // After the handshake an error of one datagram is no reason to end a viewer: the next may be genuine.
    endpoint
        .read(now, PEER, None, datagram.into())
        .unwrap_or_default()
}

fn drain(endpoint: &mut Endpoint, out: &mut dyn FnMut(&[u8])) {
    while let Some(t) = endpoint.poll_transmit() {
        out(&t.message);
    }
}

/// Whether an unfinished handshake may see the datagram. Errors: [`DtlsError::PeerAlert`].
fn is_sane(datagram: &[u8]) -> Result<bool, DtlsError> {
    const FATAL: u8 = 2;
    let Some(records) = records(datagram) else {
        return Ok(false);
    };
    for r in &records {
        match (r.content, r.epoch) {
            (CONTENT_HANDSHAKE, 0 | 1) => {}
            (CONTENT_CHANGE_CIPHER_SPEC, 0) if r.body == [1] => {}
            (CONTENT_ALERT, 0) => {
                return match r.body {
                    [FATAL, code] => Err(DtlsError::PeerAlert(*code)),
                    _ => Ok(false),
                };
            }
            _ => return Ok(false),
        }
    }
    Ok(true)
}

/// Whether a datagram has a sealed record of a handshake in it, which is the client's Finished.
fn has_finished(datagram: &[u8]) -> bool {
    records(datagram).is_some_and(|r| {
        r.iter()
            .any(|r| r.content == CONTENT_HANDSHAKE && r.epoch == 1)
    })
}

/// Whether a datagram is one sealed alert: nonce, two bytes and tag, or without the nonce for ChaCha20.
fn is_late_alert(datagram: &[u8]) -> bool {
    records(datagram).is_some_and(|r| {
        matches!(r[..], [alert] if alert.content == CONTENT_ALERT && alert.epoch == 1
            && matches!(alert.body.len(), 18 | 26))
    })
}

#[cfg(test)]
mod tests {
    use super::super::dtls::Fingerprint;
    use super::*;
    use rtc_crypto::RTCCryptoProvider;

    /// A client by the same crate, with whatever profiles.
    struct Client {
        endpoint: Endpoint,
        fingerprint: String,
    }

    impl Client {
        fn new(profiles: Vec<SrtpProtectionProfile>, now: Instant) -> Self {
            let provider: Arc<dyn RTCCryptoProvider> = Arc::new(RingProvider::new());
            let certificate =
                Certificate::generate_self_signed(vec!["peer".to_owned()], provider.crypto())
                    .expect("a certificate");
            let fingerprint = fingerprint(&certificate.certificate[0]);
            let config = ConfigBuilder::default()
                .with_crypto_provider(provider)
                .with_certificates(vec![certificate])
                .with_srtp_protection_profiles(profiles)
                .with_insecure_skip_verify(true)
                .with_mtu(300)
                .build(true, Some(PEER))
                .expect("a configuration");
            let mut endpoint = Endpoint::new(PEER, TransportProtocol::UDP, None);
            endpoint
                .connect(now, PEER, Arc::new(config), None)
                .expect("a hello");
            Client {
                endpoint,
                fingerprint,
            }
        }

        fn sent(&mut self) -> Vec<Vec<u8>> {
            std::iter::from_fn(|| self.endpoint.poll_transmit())
                .map(|t| t.message.to_vec())
                .collect()
        }

        /// Server write key and salt side of the exporter, as this side sees it.
        fn material(&self, len: usize) -> Vec<u8> {
            self.endpoint
                .get_connection_state(PEER)
                .expect("connected")
                .export_keying_material(EXPORTER, &[], len)
                .expect("keys")
                .into_bytes()
        }
    }

    const GCM: SrtpProtectionProfile = SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm;
    const CM: SrtpProtectionProfile = SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80;

    fn identity() -> Arc<Identity> {
        Arc::new(Identity::generate().expect("an identity"))
    }

    /// Runs both ends in virtual time; `lost(n)` says whether the n-th datagram on the wire is lost.
    fn run(
        client: &mut Client,
        server: &mut dyn Associate,
        mut now: Instant,
        mut lost: impl FnMut(usize) -> bool,
    ) -> (Result<Event, DtlsError>, Instant) {
        let end = now + Duration::from_secs(60);
        let (mut count, mut client_done, mut event) = (0, false, None);
        while now < end {
            loop {
                let mut to_client: Vec<Vec<u8>> = Vec::new();
                let sent = client.sent();
                let idle = sent.is_empty();
                for d in sent {
                    count += 1;
                    if !lost(count) {
                        match server.handle_datagram(now, &d, &mut |o| to_client.push(o.to_vec())) {
                            Ok(Some(e)) => event = Some(e),
                            Ok(None) => {}
                            Err(e) => return (Err(e), now),
                        }
                    }
                }
                if let Err(e) = server.handle_timeout(now, &mut |o| to_client.push(o.to_vec())) {
                    return (Err(e), now);
                }
                let idle = idle && to_client.is_empty();
                for d in to_client {
                    count += 1;
                    if !lost(count) {
                        let events = client.endpoint.read(now, PEER, None, d[..].into());
                        client_done |= events.is_ok_and(|e| {
                            e.iter()
                                .any(|e| matches!(e, EndpointEvent::HandshakeComplete))
                        });
                    }
                }
                if idle {
                    break;
                }
            }
            if client_done && let Some(e) = event {
                return (Ok(e), now);
            }
            now += Duration::from_millis(10);
            let _ = client.endpoint.handle_timeout(PEER, now);
        }
        (Err(DtlsError::Timeout), now)
    }

    fn accept(identity: &Arc<Identity>, client: &Client, now: Instant) -> Box<dyn Associate> {
        let f = Fingerprint::parse(&client.fingerprint).expect("a fingerprint");
        identity.accept(Fingerprints::from_iter([f]), now)
    }

    #[test]
    fn both_sides_get_the_same_keys_and_gcm_wins() {
        let identity = identity();
        let now = Instant::now();
        for (offer, want) in [
            (vec![CM, GCM], Profile::Gcm128),
            (vec![GCM], Profile::Gcm128),
            (vec![CM], Profile::Cm80),
        ] {
            let mut client = Client::new(offer, now);
            let mut server = accept(&identity, &client, now);
            let (event, _) = run(&mut client, &mut *server, now, |_| false);
            let Ok(Event::Keys { profile, masters }) = event else {
                panic!("no keys");
            };
            assert_eq!(profile, want);
            let theirs = Masters::new(want, &client.material(want.material_len())).expect("keys");
            // What the server's key seals, the client's idea of it opens.
            let mut packet = vec![0x80, 200, 0, 2, 0, 0, 0, 1, 9, 9, 9, 9];
            super::super::srtp::Sealer::new(profile, &masters.server).seal_rtcp(&mut packet, 0, 1);
            let mut opener = super::super::srtp::Opener::new(want, &theirs.server);
            let opened = opener.open_rtcp(&mut packet).expect("the same key");
            assert_eq!(opened[8..], [9, 9, 9, 9]);
        }
    }

    #[test]
    fn a_certificate_that_the_offer_did_not_name_gets_no_keys() {
        let now = Instant::now();
        let (mut client, other) = (Client::new(vec![GCM], now), Client::new(vec![GCM], now));
        let mut server = accept(&identity(), &other, now);
        let (event, _) = run(&mut client, &mut *server, now, |_| false);
        assert_eq!(event.err(), Some(DtlsError::Fingerprint));
    }

    #[test]
    fn a_client_without_our_profiles_is_refused() {
        let now = Instant::now();
        let mut client = Client::new(
            vec![SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_32],
            now,
        );
        let mut server = accept(&identity(), &client, now);
        let (event, _) = run(&mut client, &mut *server, now, |_| false);
        assert_eq!(event.err(), Some(DtlsError::NoProfile));
    }

    #[test]
    fn every_single_loss_is_made_good() {
        let identity = identity();
        for n in 1..16 {
            let now = Instant::now();
            let mut client = Client::new(vec![CM, GCM], now);
            let mut server = accept(&identity, &client, now);
            let (event, end) = run(&mut client, &mut *server, now, |count| count == n);
            assert!(event.is_ok(), "datagram {n} lost: {:?}", event.err());
            assert!(
                end - now < Duration::from_secs(3),
                "datagram {n}: {:?}",
                end - now
            );
        }
    }

    #[test]
    fn a_fifth_of_all_datagrams_may_be_lost() {
        let identity = identity();
        let mut waits = Vec::new();
        for seed in 0..40u64 {
            let now = Instant::now();
            let mut client = Client::new(vec![CM, GCM], now);
            let mut server = accept(&identity, &client, now);
            let mut state = seed;
            let (event, end) = run(&mut client, &mut *server, now, |_| {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                (state >> 33).is_multiple_of(5)
            });
            match event {
                Ok(_) => waits.push((end - now).as_millis()),
                Err(e) => println!("seed {seed}: {e}"),
            }
        }
        waits.sort_unstable();
        println!(
            "{} of 40, p50 {} ms, max {:?}",
            waits.len(),
            waits[waits.len() / 2],
            waits.last()
        );
        assert!(waits.len() >= 38);
    }

    #[test]
    fn a_close_is_heard_and_said_after_the_state_was_put_away() {
        let identity = identity();
        let now = Instant::now();
        for rest in [false, true] {
            let mut client = Client::new(vec![CM, GCM], now);
            let mut server = accept(&identity, &client, now);
            assert!(run(&mut client, &mut *server, now, |_| false).0.is_ok());
            if rest {
                server.confirmed();
                assert_eq!(server.next_deadline(), None);
            }
            // Ours is understood.
            let mut said = Vec::new();
            server.close(now, &mut |d| said.push(d.to_vec()));
            assert_eq!(said.len(), 1);
            let events = client.endpoint.read(now, PEER, None, said[0][..].into());
            assert!(events.is_ok_and(|e| matches!(e[..], [EndpointEvent::PeerClosed])));

            // Theirs too.
            let mut client = Client::new(vec![CM, GCM], now);
            let mut server = accept(&identity, &client, now);
            assert!(run(&mut client, &mut *server, now, |_| false).0.is_ok());
            if rest {
                server.confirmed();
            }
            let forged = [
                &[21, 0xfe, 0xfd, 0, 1, 0, 0, 0, 0, 0, 9, 0, 26][..],
                &[3; 26],
            ]
            .concat();
            assert!(matches!(
                server.handle_datagram(now, &forged, &mut |_| ()),
                Ok(None)
            ));
            client.endpoint.close(now).expect("open");
            let said = client.sent();
            let mut heard = Ok(None);
            for d in &said {
                heard = server.handle_datagram(now, d, &mut |_| ());
            }
            assert!(
                matches!(heard, Ok(Some(Event::PeerClosed))),
                "resting: {rest}"
            );
        }
    }

    #[test]
    fn our_last_flight_is_sent_again_a_few_times_until_the_client_has_it() {
        let identity = identity();
        let now = Instant::now();
        let joined = || {
            let mut client = Client::new(vec![GCM], now);
            let mut server = accept(&identity, &client, now);
            let mut sent = Vec::new();
            assert!(run(&mut client, &mut *server, now, |_| false).0.is_ok());
            // A sealed handshake record is all that the server can know of a Finished that came again.
            let again = [
                &[22, 0xfe, 0xfd, 0, 1, 0, 0, 0, 0, 0, 0, 0, 40][..],
                &[3; 40],
            ]
            .concat();
            let mut flights = move |server: &mut dyn Associate| {
                sent.clear();
                let heard = server.handle_datagram(now, &again, &mut |d| sent.push(d.to_vec()));
                assert!(matches!(heard, Ok(None)));
                sent.concat()
            };
            let first = flights(&mut *server);
            assert!(first.starts_with(&[CONTENT_CHANGE_CIPHER_SPEC]) && first.len() < 200);
            (server, flights, first)
        };
        let (mut server, mut flights, first) = joined();
        for _ in 1..DTLS_LAST_FLIGHTS_MAX {
            assert_eq!(flights(&mut *server), first);
        }
        assert!(flights(&mut *server).is_empty());
        let (mut server, mut flights, _) = joined();
        server.confirmed();
        assert!(flights(&mut *server).is_empty());
        let (mut server, mut flights, _) = joined();
        let end = server.next_deadline().expect("it is kept for a while");
        assert_eq!(server.handle_timeout(end, &mut |_| ()), Ok(()));
        assert_eq!(server.next_deadline(), None);
        assert!(flights(&mut *server).is_empty());
    }

    #[test]
    fn late_alerts_are_looked_at_a_few_times_only() {
        let identity = identity();
        let now = Instant::now();
        for (forgeries, heard) in [
            (DTLS_LATE_ALERTS_MAX - 1, true),
            (DTLS_LATE_ALERTS_MAX, false),
        ] {
            let mut client = Client::new(vec![GCM], now);
            let mut server = accept(&identity, &client, now);
            assert!(run(&mut client, &mut *server, now, |_| false).0.is_ok());
            server.confirmed();
            for n in 0..forgeries {
                let forged = [
                    &[21, 0xfe, 0xfd, 0, 1, 0, 0, 0, 0, 9, n, 0, 26][..],
                    &[3; 26],
                ]
                .concat();
                assert!(matches!(
                    server.handle_datagram(now, &forged, &mut |_| ()),
                    Ok(None)
                ));
            }
            client.endpoint.close(now).expect("open");
            let last = client.sent().pop().expect("an alert");
            let event = server.handle_datagram(now, &last, &mut |_| ());
            assert_eq!(matches!(event, Ok(Some(Event::PeerClosed))), heard);
        }
    }

    #[test]
    fn an_unfinished_handshake_ends_by_time_and_by_bytes() {
        let now = Instant::now();
        let mut client = Client::new(vec![GCM], now);
        let first = client.sent();
        let mut server = accept(&identity(), &client, now);
        for d in &first {
            assert!(server.handle_datagram(now, d, &mut |_| ()).is_ok());
        }
        let end = now + Duration::from_secs(DTLS_HANDSHAKE_S_MAX);
        assert_eq!(
            server.handle_timeout(end - Duration::from_millis(1), &mut |_| ()),
            Ok(())
        );
        assert_eq!(
            server.handle_timeout(end, &mut |_| ()),
            Err(DtlsError::Timeout)
        );

        let junk = [
            &[22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 9, 9, 0x03, 0xe8][..],
            &[0x42; 1000],
        ]
        .concat();
        let mut server = accept(&identity(), &client, now);
        let fit = DTLS_HANDSHAKE_BYTES_MAX / junk.len();
        for _ in 0..fit {
            assert!(server.handle_datagram(now, &junk, &mut |_| ()).is_ok());
        }
        assert_eq!(
            server.handle_datagram(now, &junk, &mut |_| ()).err(),
            Some(DtlsError::TooMuch)
        );
    }

    #[test]
    fn noise_before_every_datagram_does_not_panic_and_forged_plain_text_does_not_end_it() {
        let identity = identity();
        let mut state = 7u64;
        let mut random = move || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 33) as usize
        };
        for round in 0..60 {
            let now = Instant::now();
            let mut client = Client::new(vec![CM, GCM], now);
            let mut server = accept(&identity, &client, now);
            for _ in 0..12 {
                let mut to_client: Vec<Vec<u8>> = Vec::new();
                for d in client.sent() {
                    for _ in 0..30 {
                        let mut bad = d.clone();
                        for _ in 0..=random() % 3 {
                            let at = random() % bad.len();
                            bad[at] = random() as u8;
                        }
                        if random().is_multiple_of(4) {
                            bad.truncate(random() % bad.len());
                        }
                        // Mutants go to a server of their own: they may end a handshake, but never the process.
                        let mut victim = accept(&identity, &client, now);
                        for d in [&d, &bad, &d] {
                            let _ = victim.handle_datagram(now, d, &mut |_| ());
                        }
                    }
                    // Clear-text noise that is no handshake record is harmless to the real one.
                    for noise in [
                        &[23, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1, 0][..],
                        &[21, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 1, 0, 2, 1, 0],
                        &[20, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1, 7],
                        &[22, 0xfe, 0xfd, 0],
                    ] {
                        assert!(server.handle_datagram(now, noise, &mut |_| ()).is_ok());
                    }
                    let _ = server
                        .handle_datagram(now, &d, &mut |o| to_client.push(o.to_vec()))
                        .map(|e| {
                            if let Some(Event::Keys { .. }) = e {
                                to_client.push(Vec::new())
                            }
                        });
                }
                for d in to_client {
                    if !d.is_empty() {
                        let _ = client.endpoint.read(now, PEER, None, d[..].into());
                    }
                }
            }
            assert_eq!(client.material(10).len(), 10, "round {round}");
        }
    }
}
