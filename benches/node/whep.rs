//! A WHEP player: a real offer, ICE check and DTLS handshake, after which its socket is handed over for counting. What
//! comes is not decrypted: RTP headers are in the clear, and a player that decrypts would be measured as a slow node.
//!
//! RFC 8445 (checks of the controlling side), RFC 8489 (STUN), RFC 5764 (DTLS-SRTP), draft-ietf-wish-whep.
//!
//! [`Lossy`] is one that loses a twentieth of its pictures' packets and asks for them again.
//!
//! Not done: ending the session (the node does, by the silence that follows), feedback but that of [`Lossy`].

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use gantry::egress::webrtc::dtls;
use gantry::egress::webrtc::srtp::{Masters, Profile, Sealer};
use hmac::{Hmac, KeyInit, Mac};
use rtc_crypto::RTCCryptoProvider;
use rtc_crypto::providers::RingProvider;
use rtc_dtls::config::{ConfigBuilder, HandshakeConfig};
use rtc_dtls::crypto::Certificate;
use rtc_dtls::endpoint::{Endpoint, EndpointEvent};
use rtc_dtls::extension::extension_use_srtp::SrtpProtectionProfile;
use rtc_shared::TransportProtocol;

use crate::datagrams::Receivers;
use crate::process::Node;

/// How long an answer is waited for before the last flight is sent again, and how often that is done.
const RESEND_AFTER: Duration = Duration::from_millis(200);
const RESENDS_MAX: u64 = 25;
/// The association knows the node by a name only.
const NODE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 1);

/// Label of the exporter (RFC 5764, 4.2).
const EXPORTER: &str = "EXTRACTOR-dtls_srtp";

/// What all players share: one certificate.
pub struct Joiner {
    config: Arc<HandshakeConfig>,
    fingerprint: String,
}

impl Joiner {
    pub fn new() -> Joiner {
        let provider: Arc<dyn RTCCryptoProvider> = Arc::new(RingProvider::new());
        let certificate =
            Certificate::generate_self_signed(vec!["player".to_owned()], provider.crypto());
        let certificate = certificate.expect("a certificate");
        let fingerprint = dtls::fingerprint(&certificate.certificate[0]);
        let config = ConfigBuilder::default()
            .with_crypto_provider(provider)
            .with_certificates(vec![certificate])
            .with_srtp_protection_profiles(vec![
                SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80,
                SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm,
            ])
            .with_insecure_skip_verify(true)
            .build(true, Some(NODE))
            .expect("a configuration");
        Joiner {
            config: Arc::new(config),
            fingerprint,
        }
    }

    /// Joins one more player to a stream. Gives how many flights had to be sent again; an error says at which step it
    /// failed.
    pub fn join(
        &self,
        node: &Node,
        stream: &str,
        receivers: &mut Receivers,
    ) -> Result<u64, String> {
        let joined = self.connect(node, stream)?;
        receivers.adopt(joined.socket, joined.check);
        Ok(joined.resent)
    }

    fn connect(&self, node: &Node, stream: &str) -> Result<Joined, String> {
        let path = format!("/whep/{stream}");
        let (status, answer) = node.request("POST", &path, "application/sdp", &self.offer());
        if status != 201 {
            return Err(format!("{status}: {answer}"));
        }
        let at = candidate(&answer).ok_or_else(|| format!("no candidate on loopback: {answer}"))?;
        let socket = Receivers::socket();
        let ready = socket
            .set_read_timeout(Some(RESEND_AFTER))
            .and_then(|()| socket.connect(at));
        ready.map_err(|e| e.to_string())?;
        let check = check(&answer).ok_or("no ICE credentials in the answer")?;
        let mut path = Path {
            socket: &socket,
            flight: Vec::new(),
            resent: 0,
        };
        path.send(vec![check.clone()])
            .map_err(|e| format!("ICE: {e}"))?;
        let success = path.recv().map_err(|e| format!("ICE: {e}"))?;
        if success.first_chunk() != Some(&[1, 1]) {
            return Err("ICE: the check was not answered with success".to_owned());
        }
        let masters = self
            .shake_hands(&mut path)
            .map_err(|e| format!("DTLS: {e}"))?;
        let resent = path.resent;
        Ok(Joined {
            socket,
            check,
            resent,
            masters,
        })
    }

    fn shake_hands(&self, path: &mut Path<'_>) -> Result<Masters, String> {
        let mut dtls = Endpoint::new(NODE, TransportProtocol::UDP, None);
        dtls.connect(Instant::now(), NODE, self.config.clone(), None)
            .map_err(|e| e.to_string())?;
        loop {
            let flight: Vec<Vec<u8>> = std::iter::from_fn(|| dtls.poll_transmit())
                .map(|out| out.message.to_vec())
                .collect();
            if !flight.is_empty() {
                path.send(flight)?;
            }
            let datagram = path.recv()?;
            let events = dtls.read(Instant::now(), NODE, None, datagram[..].into());
            let events = events.map_err(|e| e.to_string())?;
            let complete = |e: &EndpointEvent| matches!(e, EndpointEvent::HandshakeComplete);
            if events.iter().any(complete) {
                // The node prefers it, and both are offered.
                const PROFILE: Profile = Profile::Gcm128;
                let state = dtls.get_connection_state(NODE).ok_or("no association")?;
                let material = state
                    .export_keying_material(EXPORTER, &[], PROFILE.material_len())
                    .map_err(|e| e.to_string())?
                    .into_bytes();
                return Masters::new(PROFILE, &material).ok_or("no keys".to_owned());
            }
        }
    }

    /// What a browser would offer to receive, in short.
    fn offer(&self) -> String {
        let media = |kind: &str, mid: u8, types: &str, lines: &str| {
            format!(
                "m={kind} 9 UDP/TLS/RTP/SAVPF {types}\r\nc=IN IP4 0.0.0.0\r\na=ice-ufrag:them\r\n\
                 a=ice-pwd:0123456789012345678901\r\na=fingerprint:{}\r\na=setup:actpass\r\na=mid:{mid}\r\n\
                 a=recvonly\r\na=rtcp-mux\r\n{lines}",
                self.fingerprint
            )
        };
        let audio = "a=rtpmap:111 opus/48000/2\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:0 PCMU/8000\r\n";
        let video = "a=rtpmap:102 H264/90000\r\na=rtcp-fb:102 nack\r\na=rtcp-fb:102 nack pli\r\n\
                     a=fmtp:102 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f\r\n";
        format!(
            "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0 1\r\n{}{}",
            media("audio", 0, "111 8 0", audio),
            media("video", 1, "102", video)
        )
    }
}

/// A player that has joined.
struct Joined {
    socket: UdpSocket,
    /// What keeps it alive.
    check: Vec<u8>,
    resent: u64,
    masters: Masters,
}

/// A player whose path loses one packet in twenty, and that asks for what it misses (RFC 4585, 6.2.1).
pub struct Lossy {
    shared: Arc<LossyShared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct LossyShared {
    stop: AtomicBool,
    came: AtomicU64,
    lost: AtomicU64,
}

impl Lossy {
    pub fn open(joiner: &Joiner, node: &Node, stream: &str) -> Lossy {
        let joined = joiner
            .connect(node, stream)
            .unwrap_or_else(|e| panic!("the lossy player could not join: {e}"));
        let shared = Arc::new(LossyShared::default());
        let seen = shared.clone();
        Lossy {
            shared,
            thread: Some(std::thread::spawn(move || lose(&joined, &seen))),
        }
    }

    /// Media packets that came through, and that were lost.
    pub fn counts(&self) -> (u64, u64) {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        (of(&self.shared.came), of(&self.shared.lost))
    }
}

impl Drop for Lossy {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has said so.
            let _ = thread.join();
        }
    }
}

fn lose(joined: &Joined, shared: &LossyShared) {
    /// Packets of these types are RTCP (RFC 5761, 4).
    const RTCP: std::ops::RangeInclusive<u8> = 192..=223;
    const ONE_IN: u64 = 20;
    const CHECK_EVERY: Duration = Duration::from_secs(2);
    let mut feedback = Sealer::new(Profile::Gcm128, &joined.masters.client);
    let mut newest: Vec<([u8; 4], u16)> = Vec::new();
    let (mut random, mut checked) = (1u64, Instant::now());
    let mut buffer = [0; 2048];
    while !shared.stop.load(Ordering::Relaxed) {
        if checked.elapsed() > CHECK_EVERY {
            checked = Instant::now();
            // A node that has gone is noticed by what does not come.
            let _ = joined.socket.send(&joined.check);
        }
        // The socket's own bound on waiting lets the loop look at the clock.
        let Ok(n) = joined.socket.recv(&mut buffer) else {
            continue;
        };
        let Some(&[first, second, high, low, _, _, _, _, s0, s1, s2, s3]) =
            buffer[..n].first_chunk()
        else {
            continue;
        };
        if first >> 6 != 2 || RTCP.contains(&second) {
            continue;
        }
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        if (random >> 33).is_multiple_of(ONE_IN) {
            shared.lost.fetch_add(1, Ordering::Relaxed);
            continue;
        }
        shared.came.fetch_add(1, Ordering::Relaxed);
        let (number, ssrc) = (u16::from_be_bytes([high, low]), [s0, s1, s2, s3]);
        let Some((_, last)) = newest.iter_mut().find(|(of, _)| *of == ssrc) else {
            newest.push((ssrc, number));
            continue;
        };
        let step = number.wrapping_sub(*last);
        if step == 0 || step > 0x7fff {
            continue;
        }
        let missing = last.wrapping_add(1);
        *last = number;
        if step > 1 {
            // The first that is missing, and up to sixteen behind it as bits.
            let more = step.min(18) - 2;
            let bits = ((1u32 << more) - 1) as u16;
            let mut out = vec![0x81, 205, 0, 3, 0, 0, 0, 1];
            out.extend_from_slice(&ssrc);
            out.extend_from_slice(&missing.to_be_bytes());
            out.extend_from_slice(&bits.to_be_bytes());
            feedback.seal_rtcp(&mut out, 0, 1);
            // One that gets lost is a picture that is not mended.
            let _ = joined.socket.send(&out);
        }
    }
}

/// A path to the node with what was sent on it last.
struct Path<'a> {
    socket: &'a UdpSocket,
    flight: Vec<Vec<u8>>,
    resent: u64,
}

impl Path<'_> {
    fn send(&mut self, flight: Vec<Vec<u8>>) -> Result<(), String> {
        self.flight = flight;
        self.send_flight()
    }

    fn send_flight(&self) -> Result<(), String> {
        for datagram in &self.flight {
            self.socket.send(datagram).map_err(|e| e.to_string())?;
        }
        Ok(())
    }

    /// The next datagram; while none comes, the last flight is sent again.
    fn recv(&mut self) -> Result<Vec<u8>, String> {
        let mut buffer = [0; 2048];
        loop {
            match self.socket.recv(&mut buffer) {
                Ok(n) => return Ok(buffer[..n].to_vec()),
                Err(e) if e.kind() != std::io::ErrorKind::WouldBlock => return Err(e.to_string()),
                Err(_) if self.resent >= RESENDS_MAX => return Err("no answer".to_owned()),
                Err(_) => {
                    self.resent += 1;
                    self.send_flight()?;
                }
            }
        }
    }
}

fn value<'a>(sdp: &'a str, name: &str) -> Option<&'a str> {
    sdp.lines().find_map(|l| l.trim_end().strip_prefix(name))
}

/// The first UDP candidate on loopback.
fn candidate(sdp: &str) -> Option<SocketAddr> {
    sdp.lines().find_map(|line| {
        let fields: Vec<&str> = line
            .strip_prefix("a=candidate:")?
            .split_whitespace()
            .collect();
        let [_, _, transport, _, ip, port, ..] = fields[..] else {
            return None;
        };
        let at = SocketAddr::new(ip.parse().ok()?, port.parse().ok()?);
        (transport.eq_ignore_ascii_case("udp") && at.ip().is_loopback()).then_some(at)
    })
}

/// A nominating check for the credentials of the answer (RFC 8445, 7.1 and 8.1.1).
fn check(answer: &str) -> Option<Vec<u8>> {
    const USERNAME: u16 = 0x0006;
    const MESSAGE_INTEGRITY: u16 = 0x0008;
    const PRIORITY: u16 = 0x0024;
    const USE_CANDIDATE: u16 = 0x0025;
    const FINGERPRINT: u16 = 0x8028;
    const ICE_CONTROLLING: u16 = 0x802a;
    const FINGERPRINT_XOR: u32 = 0x5354_554e;
    let username = format!("{}:them", value(answer, "a=ice-ufrag:")?);
    let mut m = vec![0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42];
    m.extend_from_slice(&[7; 12]);
    put(&mut m, USERNAME, username.as_bytes());
    put(&mut m, PRIORITY, &0x6e00_01ffu32.to_be_bytes());
    put(&mut m, ICE_CONTROLLING, &[0; 8]);
    put(&mut m, USE_CANDIDATE, &[]);
    // The length that is signed counts the attribute that holds the signature.
    set_length(&mut m, 24);
    let mut mac =
        Hmac::<sha1::Sha1>::new_from_slice(value(answer, "a=ice-pwd:")?.as_bytes()).ok()?;
    mac.update(&m);
    let tag = mac.finalize().into_bytes();
    put(&mut m, MESSAGE_INTEGRITY, &tag);
    set_length(&mut m, 8);
    let crc = crc32(&m) ^ FINGERPRINT_XOR;
    put(&mut m, FINGERPRINT, &crc.to_be_bytes());
    Some(m)
}

fn put(message: &mut Vec<u8>, kind: u16, value: &[u8]) {
    message.extend_from_slice(&kind.to_be_bytes());
    message.extend_from_slice(&(value.len() as u16).to_be_bytes());
    message.extend_from_slice(value);
    message.resize(message.len().next_multiple_of(4), 0);
}

/// Writes the length as it will be with `to_come` more bytes.
fn set_length(message: &mut [u8], to_come: usize) {
    let len = (message.len() - 20 + to_come) as u16;
    message[2..4].copy_from_slice(&len.to_be_bytes());
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |c, b| {
        (0..8).fold(c ^ u32::from(*b), |c, _| {
            (c >> 1) ^ if c & 1 == 1 { 0xedb8_8320 } else { 0 }
        })
    })
}
