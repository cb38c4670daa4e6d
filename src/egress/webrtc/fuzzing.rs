//! Bodies of the fuzz targets `stun`, `webrtc_offer`, `viewer_rtcp` and `dtls_hello`: any bytes in, invariants asserted.
//!
//! They lie in the library so that a usual build checks them. Not for other use.

use std::sync::Arc;
use std::time::Instant;

use super::demux::{Route, Router};
use super::dtls::{Hello, records};
use super::fragment::Restart;
use super::ice::{Agent, Checked, Credentials};
use super::rtcp::{self, Feedback};
use super::sdp::{self, Local, Offered, Ssrcs};
use super::srtp::{Masters, Opener, Profile};
use super::stun::Message;
use super::{Address, Kind, kind};
use crate::limits;
use crate::media::frame::{AudioParams, Codec, Params, Track, TrackId, VideoParams};

const HERE: Address = Address::Udp(std::net::SocketAddr::V4(std::net::SocketAddrV4::new(
    std::net::Ipv4Addr::LOCALHOST,
    8189,
)));

fn credentials() -> Credentials {
    Credentials {
        ufrag: "AAAAAAAAAA".into(),
        password: "0123456789012345678901".into(),
    }
}

/// A datagram on the WebRTC port from nobody: it is routed, and what is STUN is answered only if it is signed.
pub fn stun(data: &[u8]) {
    let mut router = Router::new(0);
    let taken = router.reserve(0);
    assert!(taken.is_ok());
    if kind(data) != Kind::Stun {
        assert_eq!(router.route(HERE, data), Route::Unknown);
    }
    let mut agent = Agent::new(credentials(), "them", Instant::now());
    let mut answers = 0;
    let checked = agent.handle_datagram(Instant::now(), HERE, data, &mut |to, answer| {
        assert_eq!(to, HERE);
        assert!(answer.len() <= limits::STUN_BYTES_MAX);
        answers += 1;
    });
    match checked {
        Checked::Answered { .. } => assert!(agent.knows(HERE)),
        Checked::Refused(_) => assert!(!agent.knows(HERE)),
        Checked::Dropped(_) => assert!(answers == 0 && !agent.knows(HERE)),
    }
    if let Ok(message) = Message::parse(data) {
        assert!(data.len() <= limits::STUN_BYTES_MAX);
        let _ = message.verify(b"some password");
    }
}

/// An SDP offer, and the same as a fragment that restarts ICE.
pub fn webrtc_offer(data: &[u8]) {
    let Ok(offer) = std::str::from_utf8(data) else {
        return;
    };
    if let Some(restart) = Restart::parse(offer) {
        let answer = restart.answer(&credentials(), &[HERE]);
        assert!(Restart::parse(&answer).is_some_and(|r| r.ufrag == "AAAAAAAAAA"));
    }
    let video = Track {
        id: TrackId::Video,
        codec: Codec::H264,
        params: Arc::new(Params::Video(VideoParams::default())),
    };
    let audio = Track {
        id: TrackId::Audio,
        codec: Codec::G711A,
        params: Arc::new(Params::Audio(AudioParams {
            sample_rate: 8000,
            channels: 1,
            config: bytes::Bytes::new(),
        })),
    };
    let ssrcs = |media| Ssrcs {
        media,
        rtx: media + 1,
    };
    let local = Local {
        credentials: &credentials(),
        fingerprint: "sha-256 FF:EE",
        candidates: &[HERE],
        session: 7,
        cname: "c",
        video: ssrcs(1),
        audio: ssrcs(3),
    };
    let offered = Offered {
        video: Some(&video),
        audio: Some(&audio),
    };
    let Ok(answer) = sdp::answer(offer, offered, &local) else {
        return;
    };
    assert!(offer.len() <= limits::SDP_OFFER_BYTES_MAX);
    assert!(answer.video.is_some() || answer.audio.is_some());
    assert!(!answer.fingerprints.is_empty() && !answer.remote_ufrag.is_empty());
    for stream in answer.video.iter().chain(&answer.audio) {
        assert!(stream.payload_type < 128);
        assert!(stream.transport_cc.is_none_or(|id| (1..=14).contains(&id)));
    }
    let lines = |text: &str| text.lines().filter(|l| l.starts_with("m=")).count();
    assert!(lines(&answer.text) <= limits::SDP_MEDIA_MAX);
}

/// What an SRTCP packet of a viewer says once it is open, and the bytes as a sealed one.
pub fn viewer_rtcp(data: &[u8]) {
    rtcp::read(data, |feedback| match feedback {
        Feedback::Nack { lost, .. } => assert!(lost.iter().count() <= data.len() / 4 * 17),
        Feedback::Transport(transport) => {
            let mut count = 0;
            transport.each(|_, _| count += 1);
            assert!(count <= limits::TRANSPORT_FEEDBACK_PACKETS_MAX);
        }
        Feedback::Report(_) | Feedback::KeyFrame { .. } | Feedback::Bandwidth(_) => {}
    });
    for profile in Profile::BEST_FIRST {
        let material = vec![7; profile.material_len()];
        if let Some(masters) = Masters::new(profile, &material) {
            let mut opener = Opener::new(profile, &masters.client);
            let _ = opener.open_rtcp(&mut data.to_vec());
        }
    }
}

/// The first datagrams of a DTLS client: each a length of one byte, times eight, and as many bytes.
pub fn dtls_hello(data: &[u8]) {
    let mut hello = Hello::default();
    let mut rest = data;
    while let Some((len, after)) = rest.split_first() {
        let (datagram, after) = after.split_at(after.len().min(usize::from(*len) * 8));
        rest = after;
        if let Some(records) = records(datagram) {
            let bodies: usize = records.iter().map(|r| r.body.len() + 13).sum();
            assert_eq!(bodies, datagram.len());
        }
        if !matches!(hello.push(datagram, &Profile::BEST_FIRST), Ok(None)) {
            break;
        }
    }
    let held = hello.into_held();
    assert!(held.len() <= limits::DTLS_HELLO_DATAGRAMS_MAX);
    assert!(held.iter().all(|d| d.len() <= limits::DTLS_HELLO_BYTES_MAX));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bodies_run() {
        let mut state = 1u64;
        for len in (0..1_500).step_by(7) {
            let bytes: Vec<u8> = (0..len)
                .map(|_| {
                    state = state
                        .wrapping_mul(6_364_136_223_846_793_005)
                        .wrapping_add(1);
                    (state >> 33) as u8
                })
                .collect();
            for body in [stun, webrtc_offer, viewer_rtcp, dtls_hello] {
                body(&bytes);
            }
        }
    }
}
