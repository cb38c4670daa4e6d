//! What one WebRTC viewer costs: live heap while it plays, and processor time of its joining. The limit holds for all that
//! belongs to the viewer: ICE, DTLS, SRTP, RTCP, what it knows of its packets, and its place in the router.
#![cfg(feature = "node")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use gantry::egress::webrtc::srtp::{Masters, Profile, Sealer};
use gantry::egress::webrtc::viewer::{Packet, Viewer};
use gantry::egress::webrtc::{Address, Identity, Offered, Router, dtls};
use gantry::media::frame::{Codec, Params, Track, TrackId, VideoParams};
use gantry::time::{MediaTime, WallClock};
use hmac::{Hmac, KeyInit, Mac};
use rtc_crypto::RTCCryptoProvider;
use rtc_crypto::providers::RingProvider;
use rtc_dtls::config::ConfigBuilder;
use rtc_dtls::crypto::Certificate;
use rtc_dtls::endpoint::Endpoint;
use rtc_dtls::extension::extension_use_srtp::SrtpProtectionProfile;
use rtc_shared::TransportProtocol;

/// Counts the bytes that are allocated and not yet freed.
struct Counting;

static LIVE: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.dealloc(ptr, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const VIEWERS: usize = 100;
/// The promise for a viewer, kernel and allocator overhead apart.
const VIEWER_BYTES_MAX: usize = 8 * 1024;
const SERVER: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9);

/// A browser's side in memory.
struct Client {
    dtls: Endpoint,
    fingerprint: String,
    address: SocketAddr,
}

impl Client {
    fn new(n: usize, provider: &Arc<dyn RTCCryptoProvider>, now: Instant) -> Self {
        let certificate =
            Certificate::generate_self_signed(vec!["peer".to_owned()], provider.crypto())
                .expect("a certificate");
        let fingerprint = dtls::fingerprint(&certificate.certificate[0]);
        let config = ConfigBuilder::default()
            .with_crypto_provider(provider.clone())
            .with_certificates(vec![certificate])
            .with_srtp_protection_profiles(vec![SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm])
            .with_insecure_skip_verify(true)
            .build(true, Some(SERVER))
            .expect("a configuration");
        let address = SocketAddr::from(([127, 0, 0, 1], 10_000 + n as u16));
        let mut dtls = Endpoint::new(address, TransportProtocol::UDP, None);
        dtls.connect(now, SERVER, Arc::new(config), None)
            .expect("a hello");
        Client {
            dtls,
            fingerprint,
            address,
        }
    }

    fn offer(&self) -> String {
        format!(
            "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\nm=video 9 UDP/TLS/RTP/SAVPF 102 103\r\nc=IN IP4 0.0.0.0\r\n\
             a=ice-ufrag:them\r\na=ice-pwd:0123456789012345678901\r\na=fingerprint:{}\r\na=setup:actpass\r\na=mid:0\r\n\
             a=extmap:3 http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01\r\na=recvonly\r\n\
             a=rtcp-mux\r\na=rtpmap:102 H264/90000\r\na=rtcp-fb:102 nack\r\na=rtcp-fb:102 transport-cc\r\n\
             a=fmtp:102 packetization-mode=1;profile-level-id=42e01f\r\na=rtpmap:103 rtx/90000\r\na=fmtp:103 apt=102\r\n",
            self.fingerprint
        )
    }

    /// Goes through ICE and DTLS; gives the processor time that the viewer took.
    fn join(
        &mut self,
        now: Instant,
        viewer: &mut Viewer,
        answer: &str,
        router: &mut Router,
        slot: u32,
    ) -> Duration {
        let from = Address::Udp(self.address);
        let mut busy = Duration::ZERO;
        let mut to_client: Vec<Vec<u8>> = Vec::new();
        let mut inbox = vec![Client::check(answer)];
        while !viewer.is_ready() {
            inbox.extend(
                std::iter::from_fn(|| self.dtls.poll_transmit()).map(|t| t.message.to_vec()),
            );
            assert!(!inbox.is_empty(), "the handshake goes on");
            for mut datagram in inbox.drain(..) {
                let is_check = datagram[0] == 0;
                let began = Instant::now();
                let handled = viewer.handle_datagram(now, from, &mut datagram, &mut |_, d| {
                    to_client.push(d.to_vec());
                });
                busy += began.elapsed();
                if let Some(address) = handled.learned {
                    router.bind(address, slot);
                }
                if is_check {
                    assert_eq!(to_client.drain(..).count(), 1, "the check is answered");
                }
            }
            for datagram in to_client.drain(..) {
                self.dtls
                    .read(now, SERVER, None, datagram[..].into())
                    .expect("the server's flight");
            }
        }
        busy
    }

    /// An empty receiver report under the client's keys.
    fn report(&self, now: Instant, viewer: &mut Viewer) {
        let profile = Profile::Gcm128;
        let state = self.dtls.get_connection_state(SERVER).expect("connected");
        let material = state
            .export_keying_material("EXTRACTOR-dtls_srtp", &[], profile.material_len())
            .expect("keys")
            .into_bytes();
        let masters = Masters::new(profile, &material).expect("of the right length");
        let mut report = vec![0x80, 201, 0, 1, 0, 0, 0, 1];
        Sealer::new(profile, &masters.client).seal_rtcp(&mut report, 0, 1);
        viewer.handle_datagram(now, Address::Udp(self.address), &mut report, &mut |_, _| ());
        assert_eq!(viewer.path().rtcp_refused, 0);
    }

    /// A nominating check (RFC 8445, 7.1.1) for the credentials of the answer.
    fn check(answer: &str) -> Vec<u8> {
        let value = |name: &str| {
            answer
                .lines()
                .find_map(|l| l.strip_prefix(name))
                .expect("there")
        };
        let username = format!("{}:them", value("a=ice-ufrag:"));
        let mut m = vec![0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42];
        m.extend_from_slice(&[7; 12]);
        let put = |m: &mut Vec<u8>, kind: u16, value: &[u8]| {
            m.extend_from_slice(&kind.to_be_bytes());
            m.extend_from_slice(&(value.len() as u16).to_be_bytes());
            m.extend_from_slice(value);
            m.resize(m.len().next_multiple_of(4), 0);
        };
        put(&mut m, 0x0006, username.as_bytes());
        put(&mut m, 0x0024, &[0, 0, 0, 1]);
        put(&mut m, 0x802a, &[0; 8]);
        put(&mut m, 0x0025, &[]);
        m[3] = (m.len() - 20 + 24) as u8;
        let mut mac =
            Hmac::<sha1::Sha1>::new_from_slice(value("a=ice-pwd:").as_bytes()).expect("a key");
        mac.update(&m);
        let tag = mac.finalize().into_bytes();
        put(&mut m, 0x0008, &tag);
        m[3] = (m.len() - 20 + 8) as u8;
        let crc = crc32(&m) ^ 0x5354_554e;
        put(&mut m, 0x8028, &crc.to_be_bytes());
        m
    }
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |c, b| {
        (0..8).fold(c ^ u32::from(*b), |c, _| {
            if c & 1 == 1 {
                0xedb8_8320 ^ (c >> 1)
            } else {
                c >> 1
            }
        })
    })
}

/// Joins [`VIEWERS`] viewers, sends each a second of media, and gives the live bytes and the processor time of one viewer.
/// `confirm`: the browser's first report comes, with which the state of the handshake is put away.
fn cost(confirm: bool) -> (usize, Duration) {
    let provider: Arc<dyn RTCCryptoProvider> = Arc::new(RingProvider::new());
    let identity = Arc::new(Identity::generate().expect("an identity"));
    let params = VideoParams {
        sps: vec![0x67, 0x42, 0xc0, 0x1e].into(),
        ..VideoParams::default()
    };
    let track = Track {
        id: TrackId::Video,
        codec: Codec::H264,
        params: Arc::new(Params::Video(params)),
    };
    let now = Instant::now();
    let mut busy = Duration::ZERO;
    let mut router = Router::new(0);
    let mut viewers = Vec::with_capacity(VIEWERS);
    for n in 0..VIEWERS {
        let mut client = Client::new(n, &provider, now);
        let offer = client.offer();
        let began = Instant::now();
        let (slot, ufrag) = router.reserve(n as u32).expect("room");
        let media = Offered {
            video: Some(&track),
            audio: None,
        };
        let candidates = [Address::Udp(SERVER)];
        let (mut viewer, answer) = Viewer::answer(
            &identity,
            &offer,
            media,
            &candidates,
            ufrag,
            [n as u8; 32],
            now,
        )
        .expect("an answer");
        busy += began.elapsed();
        busy += client.join(now, &mut viewer, &answer, &mut router, slot);
        let mut out = Vec::with_capacity(2048);
        let wall = WallClock {
            at: now,
            unix_ms: 1_790_000_000_000,
        };
        viewer.set_clock(now, &wall, MediaTime(0));
        for index in 0..200 {
            out.clear();
            let packet = Packet {
                track: TrackId::Video,
                prefix: &[1, 2],
                body: &[5; 1160],
                padding: 0,
                marker: false,
                timestamp: 0,
            };
            assert_eq!(viewer.seal_rtp(index, &packet, &mut out), 1198);
        }
        viewer.handle_timeout(now + Duration::from_secs(1), &mut |_, _| ());
        if confirm {
            client.report(now, &mut viewer);
        }
        viewers.push((slot, viewer));
    }
    let with = LIVE.load(Ordering::Relaxed);
    drop(viewers);
    drop(router);
    let bytes = (with - LIVE.load(Ordering::Relaxed)) / VIEWERS;
    (bytes, busy / VIEWERS as u32)
}

#[test]
fn a_playing_viewer_is_small() {
    let (joining, busy) = cost(false);
    let (playing, _) = cost(true);
    println!(
        "one viewer: {} us to join, {joining} bytes with the handshake at hand, {playing} bytes playing",
        busy.as_micros()
    );
    assert!(playing <= VIEWER_BYTES_MAX);
    assert!(joining <= 4 * VIEWER_BYTES_MAX);
}
