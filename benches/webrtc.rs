//! Time per packet of a WebRTC viewer's hot path, beside its floor: the bare AEAD and the copy of the same bytes.

use std::sync::Arc;
use std::time::Instant;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use gantry::egress::webrtc::dtls::{Associate, DtlsError, Event, Fingerprints, Identify};
use gantry::egress::webrtc::srtp::{Masters, Profile};
use gantry::egress::webrtc::viewer::{Packet, Viewer};
use gantry::egress::webrtc::{Address, Offered};
use gantry::media::frame::{Codec, Params, Track, TrackId, VideoParams};
use hmac::{Hmac, KeyInit, Mac};
use ring::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

/// A handshake that is over with its first datagram.
struct Ready(Profile);

impl Identify for Ready {
    fn fingerprint(&self) -> &str {
        "sha-256 00"
    }
    fn accept(&self, _: Fingerprints, _: Instant) -> Box<dyn Associate> {
        Box::new(Ready(self.0))
    }
}

impl Associate for Ready {
    fn handle_datagram(
        &mut self,
        _: Instant,
        _: &[u8],
        _: &mut dyn FnMut(&[u8]),
    ) -> Result<Option<Event>, DtlsError> {
        let material = vec![7; self.0.material_len()];
        let masters = Masters::new(self.0, &material).expect("of the right length");
        Ok(Some(Event::Keys {
            profile: self.0,
            masters,
        }))
    }
    fn handle_timeout(&mut self, _: Instant, _: &mut dyn FnMut(&[u8])) -> Result<(), DtlsError> {
        Ok(())
    }
    fn next_deadline(&self) -> Option<Instant> {
        None
    }
    fn confirmed(&mut self) {}
    fn close(&mut self, _: Instant, _: &mut dyn FnMut(&[u8])) {}
}

fn viewer(profile: Profile) -> Viewer {
    let params = VideoParams {
        sps: vec![0x67, 0x42, 0xc0, 0x1e].into(),
        ..VideoParams::default()
    };
    let track = Track {
        id: TrackId::Video,
        codec: Codec::H264,
        params: Arc::new(Params::Video(params)),
    };
    let offer = format!(
        "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\nm=video 9 UDP/TLS/RTP/SAVPF 102 103\r\nc=IN IP4 0.0.0.0\r\n\
         a=ice-ufrag:them\r\na=fingerprint:sha-256 {}\r\na=setup:actpass\r\na=mid:0\r\na=recvonly\r\na=rtcp-mux\r\n\
         a=extmap:3 http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01\r\na=rtpmap:102 H264/90000\r\n\
         a=rtcp-fb:102 nack\r\na=rtcp-fb:102 transport-cc\r\na=fmtp:102 packetization-mode=1;profile-level-id=42e01f\r\n\
         a=rtpmap:103 rtx/90000\r\na=fmtp:103 apt=102\r\n",
        ["00"; 32].join(":")
    );
    let from = Address::Udp(([127, 0, 0, 1], 9).into());
    let media = Offered {
        video: Some(&track),
        audio: None,
    };
    let now = Instant::now();
    let (mut viewer, answer) = Viewer::answer(
        &Ready(profile),
        &offer,
        media,
        &[from],
        "ours".into(),
        [1; 32],
        now,
    )
    .expect("an answer");
    viewer.handle_datagram(now, from, &mut check(&answer), &mut |_, _| ());
    viewer.handle_datagram(now, from, &mut [22], &mut |_, _| ());
    assert!(viewer.is_ready());
    viewer
}

/// A nominating check for the answer's credentials.
fn check(answer: &str) -> Vec<u8> {
    let password = answer
        .lines()
        .find_map(|l| l.strip_prefix("a=ice-pwd:"))
        .expect("a password");
    let mut m = vec![0, 1, 0, 44, 0x21, 0x12, 0xa4, 0x42];
    m.extend_from_slice(&[7; 12]);
    m.extend_from_slice(&[0, 6, 0, 9]);
    m.extend_from_slice(b"ours:them\0\0\0");
    m.extend_from_slice(&[0, 0x25, 0, 0]);
    let mut mac = Hmac::<sha1::Sha1>::new_from_slice(password.as_bytes()).expect("a key");
    mac.update(&m);
    m.extend_from_slice(&[0, 8, 0, 20]);
    m.extend_from_slice(&mac.finalize().into_bytes());
    m[3] += 8;
    let crc = !m.iter().fold(!0u32, |c, b| {
        (0..8).fold(c ^ u32::from(*b), |c, _| {
            if c & 1 == 1 {
                0xedb8_8320 ^ (c >> 1)
            } else {
                c >> 1
            }
        })
    });
    m.extend_from_slice(&[0x80, 0x28, 0, 4]);
    m.extend_from_slice(&(crc ^ 0x5354_554e).to_be_bytes());
    m
}

/// A batch as it goes into one UDP_SEGMENT call.
const BATCH: usize = 8;

fn seal(c: &mut Criterion) {
    let mut group = c.benchmark_group("webrtc seal of 8 packets of 1160 bytes");
    group.throughput(Throughput::Elements(BATCH as u64));
    let body = vec![3; 1160];
    let mut out = Vec::with_capacity(BATCH * 1300);
    for profile in Profile::BEST_FIRST {
        let mut viewer = viewer(profile);
        let mut index = 0;
        group.bench_function(format!("viewer {profile:?}"), |b| {
            b.iter(|| {
                out.clear();
                for _ in 0..BATCH {
                    let packet = Packet {
                        track: TrackId::Video,
                        prefix: &[0x7c, 0x05],
                        body: &body,
                        padding: 0,
                        marker: false,
                        timestamp: index as u32,
                    };
                    viewer.seal_rtp(index, &packet, &mut out);
                    index += 1;
                }
                out.len()
            });
        });
    }
    let key = LessSafeKey::new(UnboundKey::new(&AES_128_GCM, &[1; 16]).expect("16 bytes"));
    group.bench_function("floor: ring AES-128-GCM and copy", |b| {
        b.iter(|| {
            out.clear();
            for n in 0..BATCH as u8 {
                let start = out.len();
                out.extend_from_slice(&body);
                let nonce = Nonce::assume_unique_for_key([n; 12]);
                let tag =
                    key.seal_in_place_separate_tag(nonce, Aad::from([0; 20]), &mut out[start..]);
                out.extend_from_slice(tag.expect("short").as_ref());
            }
            out.len()
        });
    });
    group.bench_function("floor: copy", |b| {
        b.iter(|| {
            out.clear();
            for _ in 0..BATCH {
                out.extend_from_slice(std::hint::black_box(&body));
            }
            out.len()
        });
    });
    group.finish();
}

criterion_group!(benches, seal);
criterion_main!(benches);
