//! Offers of browsers and others, and what is answered.

use std::sync::Arc;

use super::*;
use crate::media::frame::{AudioParams, Params, TrackId, VideoParams};

fn video(codec: Codec, sps: &'static [u8]) -> Track {
    Track {
        id: TrackId::Video,
        codec,
        params: Arc::new(Params::Video(VideoParams {
            sps: sps.into(),
            ..VideoParams::default()
        })),
    }
}

fn audio(codec: Codec) -> Track {
    let params = AudioParams {
        sample_rate: 8000,
        channels: 1,
        config: bytes::Bytes::new(),
    };
    Track {
        id: TrackId::Audio,
        codec,
        params: Arc::new(Params::Audio(params)),
    }
}

const HIGH_40: &[u8] = &[0x67, 0x64, 0x00, 0x28, 0xac];
const MAIN_31: &[u8] = &[0x67, 0x4d, 0x00, 0x1f, 0xac];
const BASELINE_30: &[u8] = &[0x67, 0x42, 0xc0, 0x1e, 0xac];

const TRANSPORT: &str = "a=ice-ufrag:yrZq\r\na=ice-pwd:JuXW8Wt4KDbUIuZSmLnJBDsF\r\na=setup:actpass\r\n\
        a=fingerprint:sha-256 00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF\r\n";
const FEEDBACK: [&str; 5] = ["goog-remb", "transport-cc", "ccm fir", "nack", "nack pli"];

/// Video payloads as Chromium 156 lists them: H.264 in four profiles and two modes, each with rtx, between others.
const CHROMIUM_H264: [(u8, u8, &str); 8] = [
    (102, 1, "42001f"),
    (104, 0, "42001f"),
    (108, 1, "42e01f"),
    (114, 0, "42e01f"),
    (116, 1, "4d001f"),
    (39, 0, "4d001f"),
    (41, 1, "f4001f"),
    (43, 0, "f4001f"),
];

fn chromium_audio(mid: &str, direction: &str) -> String {
    format!(
        "m=audio 9 UDP/TLS/RTP/SAVPF 111 63 9 0 8 13 110 126\r\nc=IN IP4 0.0.0.0\r\n{TRANSPORT}a=mid:{mid}\r\n\
             a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level\r\na=extmap:3 {TRANSPORT_CC}\r\na={direction}\r\n\
             a=rtcp-mux\r\na=rtcp-rsize\r\na=rtpmap:111 opus/48000/2\r\na=rtcp-fb:111 transport-cc\r\n\
             a=fmtp:111 minptime=10;useinbandfec=1\r\na=rtpmap:63 red/48000/2\r\na=fmtp:63 111/111\r\na=rtpmap:9 G722/8000\r\n\
             a=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:13 CN/8000\r\na=rtpmap:110 telephone-event/48000\r\n\
             a=rtpmap:126 telephone-event/8000\r\n"
    )
}

fn chromium_video(mid: &str, direction: &str) -> String {
    let mut list = String::from("96 97");
    let mut maps = String::new();
    let mut one = |pt: u8, rtx: u8, map: &str, fmtp: &str| {
        if pt != 96 {
            let _ = write!(list, " {pt} {rtx}");
        }
        let _ = write!(maps, "a=rtpmap:{pt} {map}\r\n");
        FEEDBACK.iter().for_each(|f| {
            let _ = write!(maps, "a=rtcp-fb:{pt} {f}\r\n");
        });
        if !fmtp.is_empty() {
            let _ = write!(maps, "a=fmtp:{pt} {fmtp}\r\n");
        }
        let _ = write!(
            maps,
            "a=rtpmap:{rtx} rtx/90000\r\na=fmtp:{rtx} apt={pt}\r\n"
        );
    };
    one(96, 97, "VP8/90000", "");
    for (pt, mode, id) in CHROMIUM_H264 {
        one(
            pt,
            pt + 1,
            "H264/90000",
            &format!("level-asymmetry-allowed=1;packetization-mode={mode};profile-level-id={id}"),
        );
    }
    one(45, 46, "AV1/90000", "level-idx=5;profile=0;tier=0");
    format!(
        "m=video 9 UDP/TLS/RTP/SAVPF {list}\r\nc=IN IP4 0.0.0.0\r\n{TRANSPORT}a=mid:{mid}\r\n\
             a=extmap:14 urn:ietf:params:rtp-hdrext:toffset\r\na=extmap:3 {TRANSPORT_CC}\r\na={direction}\r\na=rtcp-mux\r\n\
             a=rtcp-rsize\r\n{maps}"
    )
}

fn offer(lines: &[String]) -> String {
    let mids: String = (0..lines.len()).map(|n| format!(" {n}")).collect();
    format!(
        "v=0\r\no=- 33835671 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE{mids}\r\na=extmap-allow-mixed\r\n\
             a=msid-semantic: WMS\r\n{}",
        lines.concat()
    )
}

fn run(offer: &str, video: Option<&Track>, audio: Option<&Track>) -> Result<Answer, AnswerError> {
    let credentials = Credentials {
        ufrag: "AAAAAAAAAA".into(),
        password: "0123456789012345678901".into(),
    };
    let local = Local {
        credentials: &credentials,
        fingerprint: "sha-256 FF:EE",
        candidates: &[
            Address::Udp(([127, 0, 0, 1], 9782).into()),
            Address::Udp("[2001:db8::1]:9782".parse().expect("an address")),
            Address::Tcp(([127, 0, 0, 1], 9783).into()),
        ],
        session: 77,
        cname: "c",
        video: Ssrcs {
            media: 1001,
            rtx: 1002,
        },
        audio: Ssrcs {
            media: 2001,
            rtx: 2002,
        },
    };
    answer(offer, Offered { video, audio }, &local)
}

/// Holds for every answer: each rtpmap is a line of the offer, the m-lines are the offer's in order, one msid stream.
fn check(offer: &str, text: &str) {
    let lines = |s: &str, p: &str| -> Vec<String> {
        s.lines()
            .filter(|l| l.starts_with(p))
            .map(str::to_owned)
            .collect()
    };
    for map in lines(text, "a=rtpmap:") {
        assert!(offer.lines().any(|l| l == map), "{map} is not in the offer");
    }
    let kinds = |s| {
        lines(s, "m=")
            .iter()
            .map(|l| l.split(' ').next().map(str::to_owned))
            .collect::<Vec<_>>()
    };
    assert_eq!(kinds(text), kinds(offer));
    assert_eq!(lines(text, "a=mid:"), lines(offer, "a=mid:"));
    assert!(
        lines(text, "a=msid:")
            .iter()
            .all(|l| l.starts_with("a=msid:gantry "))
    );
    assert!(
        text.split("\r\n").all(|l| !l.contains('\n')),
        "CRLF everywhere"
    );
    assert!(Session::parse(text.as_bytes()).is_ok());
}

#[test]
fn chromium_gets_its_picture_and_sound() {
    let offer = offer(&[
        chromium_audio("0", "recvonly"),
        chromium_video("1", "recvonly"),
    ]);
    let a = run(
        &offer,
        Some(&video(Codec::H264, HIGH_40)),
        Some(&audio(Codec::G711A)),
    )
    .expect("an answer");
    check(&offer, &a.text);
    // High is not offered: the strongest of the weaker ones, mode 1, with the stream's level.
    assert_eq!(
        a.video,
        Some(Stream {
            payload_type: 116,
            clock_rate: 90_000,
            rtx: Some(117),
            nack: true,
            transport_cc: Some(3)
        })
    );
    assert_eq!(
        a.audio,
        Some(Stream {
            payload_type: 8,
            clock_rate: 8000,
            rtx: None,
            nack: false,
            transport_cc: None
        })
    );
    assert_eq!(a.remote_ufrag, "yrZq");
    assert_eq!(a.fingerprints.len(), 1);
    let want = "v=0\r\no=- 77 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=ice-lite\r\na=group:BUNDLE 0 1\r\na=msid-semantic: WMS gantry\r\n\
            m=audio 9782 UDP/TLS/RTP/SAVPF 8\r\nc=IN IP4 127.0.0.1\r\na=mid:0\r\na=ice-ufrag:AAAAAAAAAA\r\na=ice-pwd:0123456789012345678901\r\n\
            a=fingerprint:sha-256 FF:EE\r\na=setup:passive\r\na=rtcp-mux\r\na=rtcp-rsize\r\na=sendonly\r\na=rtpmap:8 PCMA/8000\r\n\
            a=msid:gantry audio\r\na=ssrc:2001 cname:c\r\na=ssrc:2001 msid:gantry audio\r\n\
            a=candidate:1 1 udp 2130706431 127.0.0.1 9782 typ host\r\na=candidate:2 1 udp 2130706175 2001:db8::1 9782 typ host\r\n\
            a=candidate:3 1 tcp 2122317311 127.0.0.1 9783 typ host tcptype passive\r\na=end-of-candidates\r\n\
            m=video 9782 UDP/TLS/RTP/SAVPF 116 117\r\nc=IN IP4 127.0.0.1\r\na=mid:1\r\na=ice-ufrag:AAAAAAAAAA\r\na=ice-pwd:0123456789012345678901\r\n\
            a=fingerprint:sha-256 FF:EE\r\na=setup:passive\r\na=rtcp-mux\r\na=rtcp-rsize\r\na=sendonly\r\n\
            a=extmap:3 http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01\r\n\
            a=rtpmap:116 H264/90000\r\na=rtcp-fb:116 nack\r\na=rtcp-fb:116 nack pli\r\na=rtcp-fb:116 ccm fir\r\na=rtcp-fb:116 goog-remb\r\n\
            a=rtcp-fb:116 transport-cc\r\na=fmtp:116 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=4d0028\r\n\
            a=msid:gantry video\r\na=rtpmap:117 rtx/90000\r\na=fmtp:117 apt=116\r\na=ssrc-group:FID 1001 1002\r\n\
            a=ssrc:1001 cname:c\r\na=ssrc:1001 msid:gantry video\r\na=ssrc:1002 cname:c\r\na=ssrc:1002 msid:gantry video\r\n\
            a=candidate:1 1 udp 2130706431 127.0.0.1 9782 typ host\r\na=candidate:2 1 udp 2130706175 2001:db8::1 9782 typ host\r\n\
            a=candidate:3 1 tcp 2122317311 127.0.0.1 9783 typ host tcptype passive\r\na=end-of-candidates\r\n";
    assert_eq!(a.text, want);
}

#[test]
fn the_profile_follows_the_stream_and_the_offer() {
    let chromium = offer(&[chromium_video("0", "recvonly")]);
    let pick = |offer: &str, sps| {
        let a = run(offer, Some(&video(Codec::H264, sps)), None).expect("an answer");
        let pt = a.video.expect("a picture").payload_type;
        let fmtp = a
            .text
            .lines()
            .find_map(|l| l.strip_prefix(&format!("a=fmtp:{pt} ")))
            .map(str::to_owned);
        (pt, fmtp.expect("parameters"))
    };
    let said =
        |id: &str| format!("level-asymmetry-allowed=1;packetization-mode=1;profile-level-id={id}");
    assert_eq!(pick(&chromium, HIGH_40), (116, said("4d0028")));
    assert_eq!(pick(&chromium, MAIN_31), (116, said("4d001f")));
    assert_eq!(pick(&chromium, BASELINE_30), (108, said("42e01e")));
    assert_eq!(
        pick(&chromium, &[0x67, 0x42, 0, 0x1e]),
        (102, said("42001e"))
    );
    assert_eq!(pick(&chromium, &[]), (108, said("42e01f")));
    // A browser with hardware offers High.
    let high = chromium.replace("profile-level-id=f4001f", "profile-level-id=64001f");
    assert_eq!(pick(&high, HIGH_40), (41, said("640028")));
    assert_eq!(pick(&high, MAIN_31).0, 116);
    // Where levels must be alike, the offer's stays.
    let strict = chromium.replace("level-asymmetry-allowed=1;", "");
    assert_eq!(
        pick(&strict, HIGH_40),
        (
            116,
            "packetization-mode=1;profile-level-id=4d001f".to_owned()
        )
    );
    // Mode 0 only: still better than no picture.
    let mode0 = chromium.replace("packetization-mode=1", "packetization-mode=0");
    assert_eq!(pick(&mode0, MAIN_31).0, 116);
    let one_mode1 = mode0.replacen("packetization-mode=0", "packetization-mode=1", 1);
    assert_eq!(pick(&one_mode1, HIGH_40).0, 102);
}

#[test]
fn without_rtx_the_picture_carries_no_transport_wide_number() {
    let mut lines = chromium_video("0", "recvonly");
    lines = lines
        .lines()
        .filter(|l| !l.contains("rtx") && !l.contains("apt="))
        .fold(String::new(), |s, l| s + l + "\r\n");
    let a = run(&offer(&[lines]), Some(&video(Codec::H264, MAIN_31)), None).expect("an answer");
    let v = a.video.expect("a picture");
    assert_eq!((v.rtx, v.nack, v.transport_cc), (None, true, None));
    assert!(
        !a.text.contains("transport-cc") && !a.text.contains("extmap") && !a.text.contains("FID")
    );
}

#[test]
fn opus_keeps_its_parameters_and_may_carry_the_number() {
    let offer = offer(&[chromium_audio("0", "recvonly")]);
    let a = run(&offer, None, Some(&audio(Codec::Opus))).expect("an answer");
    check(&offer, &a.text);
    assert!(a.text.contains("a=fmtp:111 minptime=10;useinbandfec=1\r\n"));
    assert_eq!(
        a.audio
            .map(|s| (s.payload_type, s.clock_rate, s.transport_cc)),
        Some((111, 48_000, Some(3)))
    );
}

#[test]
fn a_line_that_cannot_be_filled_stays_inactive() {
    let both = offer(&[
        chromium_audio("0", "recvonly"),
        chromium_video("1", "recvonly"),
    ]);
    // No sound at all, and sound that a browser cannot play.
    for sound in [None, Some(audio(Codec::Aac))] {
        let a = run(&both, Some(&video(Codec::H264, MAIN_31)), sound.as_ref()).expect("an answer");
        check(&both, &a.text);
        assert_eq!(a.audio, None);
        assert!(a.text.contains("a=group:BUNDLE 0 1\r\n"));
        let first = a.text.split("m=video").next().expect("a part");
        assert!(
            first.contains("a=inactive\r\n")
                && first.contains("m=audio 9782 ")
                && !first.contains("msid:")
        );
    }
    // A second video line of one page, a data channel.
    let data = format!(
        "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\n{TRANSPORT}a=mid:2\r\na=sctp-port:5000\r\n"
    );
    let more = offer(&[
        chromium_video("0", "recvonly"),
        chromium_video("1", "recvonly"),
        data,
    ]);
    let a = run(&more, Some(&video(Codec::H264, MAIN_31)), None).expect("an answer");
    check(&more, &a.text);
    assert!(a.text.contains("a=group:BUNDLE 0 1\r\n"));
    assert!(
        a.text
            .contains("m=application 0 UDP/DTLS/SCTP webrtc-datachannel\r\n")
    );
    assert_eq!(a.text.matches("a=sendonly").count(), 1);
}

/// Firefox: session-level fingerprint and options, no ssrc, 126 and 97 for H.264, rtx listed at the end, VP8 first.
fn firefox() -> String {
    let video = "m=video 9 UDP/TLS/RTP/SAVPF 120 124 126 127 97 98 123 122\r\nc=IN IP4 0.0.0.0\r\na=recvonly\r\n\
            a=extmap:3 urn:ietf:params:rtp-hdrext:sdes:mid\r\n\
            a=extmap:7/recvonly http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01\r\n\
            a=fmtp:126 profile-level-id=42e01f;level-asymmetry-allowed=1;packetization-mode=1\r\n\
            a=fmtp:97 profile-level-id=42e01f;level-asymmetry-allowed=1\r\na=fmtp:120 max-fs=12288;max-fr=60\r\n\
            a=fmtp:124 apt=120\r\na=fmtp:127 apt=126\r\na=fmtp:98 apt=97\r\na=ice-pwd:f8d9e1f0aa4d0d4c0b2bb8a8f1c2d3e4\r\n\
            a=ice-ufrag:0c1d2e3f\r\na=mid:0\r\na=rtcp-fb:126 nack\r\na=rtcp-fb:126 nack pli\r\na=rtcp-fb:126 ccm fir\r\n\
            a=rtcp-fb:126 goog-remb\r\na=rtcp-fb:126 transport-cc\r\na=rtcp-mux\r\na=rtcp-rsize\r\na=rtpmap:120 VP8/90000\r\n\
            a=rtpmap:124 rtx/90000\r\na=rtpmap:126 H264/90000\r\na=rtpmap:127 rtx/90000\r\na=rtpmap:97 H264/90000\r\n\
            a=rtpmap:98 rtx/90000\r\na=rtpmap:123 ulpfec/90000\r\na=rtpmap:122 red/90000\r\na=setup:actpass\r\n";
    let audio = "m=audio 9 UDP/TLS/RTP/SAVPF 109 9 0 8 101\r\nc=IN IP4 0.0.0.0\r\na=recvonly\r\n\
            a=fmtp:109 maxplaybackrate=48000;stereo=1;useinbandfec=1\r\na=fmtp:101 0-15\r\n\
            a=ice-pwd:f8d9e1f0aa4d0d4c0b2bb8a8f1c2d3e4\r\na=ice-ufrag:0c1d2e3f\r\na=mid:1\r\na=rtcp-mux\r\n\
            a=rtpmap:109 opus/48000/2\r\na=rtpmap:9 G722/8000/1\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\n\
            a=rtpmap:101 telephone-event/8000/1\r\na=setup:actpass\r\n";
    let fingerprint = TRANSPORT
        .lines()
        .find(|l| l.contains("fingerprint"))
        .unwrap_or("");
    format!(
        "v=0\r\no=mozilla...THIS_IS_SDPARTA-99.0 5312 0 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=sendrecv\r\n{fingerprint}\r\n\
             a=group:BUNDLE 0 1\r\na=ice-options:trickle\r\na=msid-semantic:WMS *\r\n{video}{audio}"
    )
}

#[test]
fn firefox_is_answered() {
    let offer = firefox();
    let a = run(
        &offer,
        Some(&video(Codec::H264, HIGH_40)),
        Some(&audio(Codec::G711U)),
    )
    .expect("an answer");
    check(&offer, &a.text);
    assert_eq!(
        a.video,
        Some(Stream {
            payload_type: 126,
            clock_rate: 90_000,
            rtx: Some(127),
            nack: true,
            transport_cc: Some(7)
        })
    );
    assert_eq!(a.audio.map(|s| s.payload_type), Some(0));
    assert!(a.text.contains("a=extmap:7/sendonly http://www.ietf.org"));
    assert_eq!(a.remote_ufrag, "0c1d2e3f");
}

/// aiortc: sendrecv by default, several hashes, static payloads, LF only after a careless copy, no rsize, no extensions.
#[test]
fn aiortc_is_answered_with_bare_line_feeds_too() {
    let offer = "v=0\r\no=- 3906 3906 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0 1\r\na=msid-semantic:WMS *\r\n\
            m=audio 50012 UDP/TLS/RTP/SAVPF 96 0 8\r\nc=IN IP4 192.0.2.7\r\na=recvonly\r\na=mid:0\r\na=rtcp-mux\r\n\
            a=rtpmap:96 opus/48000/2\r\na=candidate:1 1 udp 2130706431 192.0.2.7 50012 typ host\r\na=end-of-candidates\r\n\
            a=ice-ufrag:9t3b\r\na=ice-pwd:abcdefghijklmnopqrstuv\r\na=fingerprint:sha-512 00\r\na=setup:actpass\r\n\
            m=video 50013 UDP/TLS/RTP/SAVPF 97 98 99 100\r\nc=IN IP4 192.0.2.7\r\na=sendrecv\r\na=mid:1\r\na=rtcp-mux\r\n\
            a=rtpmap:97 VP8/90000\r\na=rtpmap:98 rtx/90000\r\na=fmtp:98 apt=97\r\na=rtpmap:99 H264/90000\r\na=rtcp-fb:* nack\r\n\
            a=rtcp-fb:* nack pli\r\na=fmtp:99 packetization-mode=1;level-asymmetry-allowed=1;profile-level-id=42e01f\r\n\
            a=rtpmap:100 rtx/90000\r\na=fmtp:100 apt=99\r\na=ice-ufrag:9t3b\r\na=ice-pwd:abcdefghijklmnopqrstuv\r\na=setup:actpass\r\n"
            .to_owned()
            + "a=fingerprint:sha-256 " + &["0A"; 32].join(":") + "\r\n";
    // The fingerprint that counts stands in the second line only.
    let offer = offer.replace(
        "a=fingerprint:sha-512 00\r\n",
        &format!("a=fingerprint:sha-256 {}\r\n", ["0A"; 32].join(":")),
    );
    let (v, s) = (video(Codec::H264, BASELINE_30), audio(Codec::G711A));
    let a = run(&offer, Some(&v), Some(&s)).expect("an answer");
    check(&offer, &a.text);
    assert_eq!(
        a.audio.map(|s| s.payload_type),
        Some(8),
        "static, without a map"
    );
    assert!(!a.text.contains("rtpmap:8"));
    assert_eq!(
        a.video.map(|s| (s.payload_type, s.rtx, s.nack)),
        Some((99, Some(100), true))
    );
    assert_eq!(
        run(&offer.replace("\r\n", "\n"), Some(&v), Some(&s)).map(|b| b.text),
        Ok(a.text)
    );
}

#[test]
fn h265_is_answered_only_where_it_is_offered() {
    const SPS: &[u8] = &[0x42, 0x01, 0x01, 0x01, 0x60];
    let chromium = offer(&[chromium_video("0", "recvonly")]);
    assert_eq!(
        run(&chromium, Some(&video(Codec::H265, SPS)), None),
        Err(AnswerError::NoCommonCodec(Codec::H265))
    );
    let safari = chromium
        .replace("a=rtpmap:39 H264/90000", "a=rtpmap:39 H265/90000")
        .replace("a=rtpmap:41 H264/90000", "a=rtpmap:41 H265/90000")
        .replace(
            "a=fmtp:39 level-asymmetry-allowed=1;packetization-mode=0;profile-level-id=4d001f",
            "a=fmtp:39 level-id=93;profile-id=2;tier-flag=0;tx-mode=SRST",
        )
        .replace(
            "a=fmtp:41 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=f4001f",
            "a=fmtp:41 level-id=93;profile-id=1;tier-flag=0;tx-mode=SRST",
        );
    let a = run(&safari, Some(&video(Codec::H265, SPS)), None).expect("an answer");
    check(&safari, &a.text);
    assert!(
        a.text
            .contains("a=fmtp:41 level-id=93;profile-id=1;tier-flag=0;tx-mode=SRST\r\n")
    );
}

#[test]
fn sound_from_the_viewer_is_refused_by_name() {
    let track = audio(Codec::G711A);
    for lines in [
        vec![
            chromium_audio("0", "sendrecv"),
            chromium_audio("1", "recvonly"),
        ],
        vec![chromium_audio("0", "sendonly")],
        vec![
            chromium_audio("0", "recvonly"),
            chromium_video("1", "sendonly"),
        ],
    ] {
        assert_eq!(
            run(&offer(&lines), None, Some(&track)),
            Err(AnswerError::Upstream)
        );
    }
    // One line that could do both is given what it can take.
    let a = run(
        &offer(&[chromium_audio("0", "sendrecv")]),
        None,
        Some(&track),
    )
    .expect("an answer");
    assert!(a.text.contains("a=sendonly\r\n"));
}

#[test]
fn an_offer_that_cannot_be_answered_says_why() {
    let good = offer(&[
        chromium_audio("0", "recvonly"),
        chromium_video("1", "recvonly"),
    ]);
    let (v, s) = (video(Codec::H264, MAIN_31), audio(Codec::G711A));
    let with = |from: &str, to: &str| run(&good.replace(from, to), Some(&v), Some(&s)).err();
    assert_eq!(with("x", "x"), None);
    assert_eq!(
        with("a=rtcp-mux\r\n", ""),
        Some(AnswerError::Missing("a=rtcp-mux"))
    );
    assert_eq!(
        with("a=setup:actpass", "a=setup:passive"),
        Some(AnswerError::Setup)
    );
    assert_eq!(
        with("a=ice-ufrag:yrZq\r\n", ""),
        Some(AnswerError::Missing("a=ice-ufrag"))
    );
    assert_eq!(
        with("sha-256", "sha-1"),
        Some(AnswerError::Missing("a=fingerprint with SHA-256 or better"))
    );
    assert_eq!(
        with("a=group:BUNDLE 0 1\r\n", ""),
        Some(AnswerError::Missing("a=group:BUNDLE over its lines"))
    );
    assert_eq!(
        with("H264", "H263"),
        Some(AnswerError::NoCommonCodec(Codec::H264))
    );
    assert_eq!(run(&good, None, None), Err(AnswerError::NothingToSend));
    assert_eq!(
        run(&good, None, Some(&audio(Codec::Aac))),
        Err(AnswerError::NoCommonCodec(Codec::Aac))
    );
    assert!(matches!(
        run("hello", Some(&v), None),
        Err(AnswerError::Syntax(_))
    ));
    assert_eq!(
        run(
            "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n",
            Some(&v),
            None
        ),
        Err(AnswerError::Missing("media line"))
    );
}

#[test]
fn offers_have_bounds() {
    let (v, s) = (video(Codec::H264, MAIN_31), audio(Codec::G711A));
    let mut good = offer(&[chromium_video("0", "recvonly")]);
    good.push_str("a=x:");
    good.extend(std::iter::repeat_n(
        'x',
        SDP_OFFER_BYTES_MAX - good.len() - 2,
    ));
    good.push_str("\r\n");
    assert!(run(&good, Some(&v), None).is_ok());
    assert_eq!(
        run(&(good + "a"), Some(&v), None),
        Err(AnswerError::TooLong)
    );

    let many = |n: usize| {
        offer(
            &(0..n)
                .map(|i| chromium_audio(&i.to_string(), "recvonly"))
                .collect::<Vec<_>>(),
        )
    };
    assert!(run(&many(SDP_MEDIA_MAX), None, Some(&s)).is_ok());
    assert_eq!(
        run(&many(SDP_MEDIA_MAX + 1), None, Some(&s)),
        Err(AnswerError::TooManyMedia)
    );
}

#[test]
fn mutated_offers_are_survived() {
    let good = firefox();
    let (v, s) = (video(Codec::H264, MAIN_31), audio(Codec::G711A));
    let mut state = 3u64;
    let mut random = move || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 33) as usize
    };
    for _ in 0..3000 {
        let mut bytes = good.clone().into_bytes();
        for _ in 0..=random() % 5 {
            let at = random() % bytes.len();
            match random() % 3 {
                0 => bytes[at] = b" \r\n:;=/0a"[random() % 9],
                1 => {
                    bytes.remove(at);
                }
                _ => bytes.insert(at, b"0 ;=:9m\n"[random() % 8]),
            }
        }
        let text = String::from_utf8(bytes).expect("ASCII");
        if let Ok(a) = run(&text, Some(&v), Some(&s)) {
            assert!(a.video.is_some() || a.audio.is_some());
            assert!(a.text.contains("a=candidate:1 1 udp"));
        }
    }
}
