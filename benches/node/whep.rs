//! A WHEP player: a real offer, ICE check and DTLS handshake, after which its socket is handed over for counting. What
//! comes is not decrypted: RTP headers are in the clear, and a player that decrypts would be measured as a slow node.
//!
//! RFC 8445 (checks of the controlling side), RFC 8489 (STUN), RFC 5764 (DTLS-SRTP), draft-ietf-wish-whep.
//!
//! Not done: ending the session (the node does, by the silence that follows), feedback of any kind.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use gantry::egress::webrtc::dtls;
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
        self.shake_hands(&mut path)
            .map_err(|e| format!("DTLS: {e}"))?;
        let resent = path.resent;
        receivers.adopt(socket, check);
        Ok(resent)
    }

    fn shake_hands(&self, path: &mut Path<'_>) -> Result<(), String> {
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
                return Ok(());
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
