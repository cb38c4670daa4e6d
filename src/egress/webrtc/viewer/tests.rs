//! A viewer from its offer to sealed packets, with a DTLS that stands in.

use std::sync::Arc;

use super::super::dtls::{DtlsError, Event as DtlsEvent, Fingerprints};
use super::super::srtp::{Masters, Profile};
use super::super::stun::{Class, Message, Writer};
use super::*;
use crate::limits::{ICE_SILENCE_S_MAX, SEQUENCE_RUNS};
use crate::media::frame::{AudioParams, Codec, Params, Track, VideoParams};

/// Stands in for DTLS: the datagram [20, profile] ends the handshake, [21] is close_notify, [22] a failure.
struct FakeIdentity;
struct FakeAssociation;

fn masters(profile: Profile) -> Masters {
    let material: Vec<u8> = (0..profile.material_len() as u8).collect();
    Masters::new(profile, &material).expect("the right length")
}

impl Identify for FakeIdentity {
    fn fingerprint(&self) -> &str {
        "sha-256 00"
    }
    fn accept(&self, _: Fingerprints, _: Instant) -> Box<dyn Associate> {
        Box::new(FakeAssociation)
    }
}

impl Associate for FakeAssociation {
    fn handle_datagram(
        &mut self,
        _: Instant,
        datagram: &[u8],
        out: &mut dyn FnMut(&[u8]),
    ) -> Result<Option<DtlsEvent>, DtlsError> {
        out(b"\x16answer");
        match datagram {
            [20, n] => {
                let profile = if *n == 7 {
                    Profile::Gcm128
                } else {
                    Profile::Cm80
                };
                Ok(Some(DtlsEvent::Keys {
                    profile,
                    masters: masters(profile),
                }))
            }
            [21, ..] => Ok(Some(DtlsEvent::PeerClosed)),
            [22, ..] => Err(DtlsError::Fingerprint),
            _ => Ok(None),
        }
    }
    fn handle_timeout(&mut self, _: Instant, _: &mut dyn FnMut(&[u8])) -> Result<(), DtlsError> {
        Ok(())
    }
    fn next_deadline(&self) -> Option<Instant> {
        None
    }
    fn confirmed(&mut self) {}
    fn close(&mut self, _: Instant, out: &mut dyn FnMut(&[u8])) {
        out(b"\x15bye");
    }
}

fn at(port: u16) -> Address {
    Address::Udp(([192, 0, 2, 1], port).into())
}

fn tracks() -> (Track, Track) {
    let video = VideoParams {
        sps: vec![0x67, 0x42, 0xc0, 0x1e].into(),
        ..VideoParams::default()
    };
    let audio = AudioParams {
        sample_rate: 8000,
        channels: 1,
        config: bytes::Bytes::new(),
    };
    (
        Track {
            id: TrackId::Video,
            codec: Codec::H264,
            params: Arc::new(Params::Video(video)),
        },
        Track {
            id: TrackId::Audio,
            codec: Codec::G711A,
            params: Arc::new(Params::Audio(audio)),
        },
    )
}

/// An offer with H.264 at 102, RTX at 103 if wanted, and PCMA.
fn offer(rtx: bool) -> String {
    let common = "c=IN IP4 0.0.0.0\r\na=ice-ufrag:them\r\na=setup:actpass\r\na=rtcp-mux\r\na=recvonly\r\na=fingerprint:sha-256 "
            .to_owned()
            + &["00"; 32].join(":");
    let (list, map) = if rtx {
        (
            "102 103",
            "a=rtpmap:103 rtx/90000\r\na=fmtp:103 apt=102\r\n",
        )
    } else {
        ("102", "")
    };
    format!(
        "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=group:BUNDLE v a\r\nm=video 9 UDP/TLS/RTP/SAVPF {list}\r\n{common}\r\n\
             a=mid:v\r\na=extmap:5 http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01\r\n\
             a=rtpmap:102 H264/90000\r\na=rtcp-fb:102 nack\r\na=rtcp-fb:102 transport-cc\r\n\
             a=fmtp:102 packetization-mode=1;profile-level-id=42e01f\r\n{map}m=audio 9 UDP/TLS/RTP/SAVPF 8\r\n{common}\r\na=mid:a\r\n\
             a=rtpmap:8 PCMA/8000\r\n"
    )
}

struct Bench {
    viewer: Viewer,
    answer: String,
    opener: Opener,
    sealer: Sealer,
    now: Instant,
}

impl Bench {
    fn new(rtx: bool) -> Self {
        let now = Instant::now();
        let (video, audio) = tracks();
        let media = Offered {
            video: Some(&video),
            audio: Some(&audio),
        };
        let (viewer, answer) = Viewer::answer(
            &FakeIdentity,
            &offer(rtx),
            media,
            &[at(9000)],
            "ours".to_owned(),
            [5; 32],
            now,
        )
        .expect("an answer");
        let m = masters(Profile::Gcm128);
        Bench {
            viewer,
            answer,
            opener: Opener::new(Profile::Gcm128, &m.server),
            sealer: Sealer::new(Profile::Gcm128, &m.client),
            now,
        }
    }

    fn feed(&mut self, from: Address, datagram: &[u8]) -> (Handled, Vec<Vec<u8>>) {
        let mut sent = Vec::new();
        let handled =
            self.viewer
                .handle_datagram(self.now, from, &mut datagram.to_vec(), &mut |to, d| {
                    assert_eq!(to, from);
                    sent.push(d.to_vec());
                });
        (handled, sent)
    }

    fn check(&self, nominate: bool) -> Vec<u8> {
        let password = self
            .answer
            .lines()
            .find_map(|l| l.strip_prefix("a=ice-pwd:"))
            .expect("a password");
        Writer::new(Class::Request, &[1; 12])
            .check("ours:them", 1, true, nominate)
            .finish(password.as_bytes())
            .to_vec()
    }

    fn ready(rtx: bool) -> Self {
        let mut b = Bench::new(rtx);
        let check = b.check(true);
        b.feed(at(1), &check);
        b.feed(at(1), &[20, 7]);
        assert_eq!(b.viewer.poll_event(), Some(Event::Ready));
        b
    }

    fn ssrc(&self, track: TrackId) -> u32 {
        self.viewer.sender(track).expect("agreed").ssrcs.media
    }

    fn rtcp(&mut self, kind: u8, fmt: u8, ssrc: u32, rest: &[u8]) {
        let mut p = vec![0x80 | fmt, kind, 0, (2 + rest.len() / 4) as u8, 0, 0, 0, 9];
        p.extend_from_slice(&ssrc.to_be_bytes());
        p.extend_from_slice(rest);
        self.sealer.seal_rtcp(&mut p, 0, 9);
        self.feed(at(1), &p);
    }

    fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.viewer.poll_event()).collect()
    }
}

fn packet(track: TrackId, body: &[u8]) -> Packet<'_> {
    Packet {
        track,
        prefix: &[0x7c, 0x85],
        body,
        padding: 0,
        marker: true,
        timestamp: 90,
    }
}

fn sequence(packet: &[u8]) -> u16 {
    u16::from_be_bytes([packet[2], packet[3]])
}

#[test]
fn it_is_ready_with_keys_and_a_nomination_in_either_order() {
    for nomination_first in [true, false] {
        let mut b = Bench::new(true);
        let (plain, nominating) = (b.check(false), b.check(true));
        // Nothing but STUN is heard from an address that has not verified.
        assert_eq!(b.feed(at(1), &[20, 7]), (Handled::default(), vec![]));
        let (handled, sent) = b.feed(
            at(1),
            if nomination_first {
                &nominating
            } else {
                &plain
            },
        );
        assert_eq!(handled.learned, Some(at(1)));
        assert!(Message::parse(&sent[0]).is_ok_and(|m| m.class == Class::Success));
        assert_eq!(b.feed(at(1), &[20, 7]).1, [b"\x16answer".to_vec()]);
        assert_eq!(b.viewer.is_ready(), nomination_first);
        b.feed(at(1), &nominating);
        assert_eq!(b.events(), [Event::Ready]);
        assert_eq!(b.viewer.remote(), Some(at(1)));
    }
}

#[test]
fn a_packet_has_header_number_and_the_payload() {
    let mut b = Bench::ready(true);
    let mut out = vec![9; 5];
    let body = [3; 100];
    let len = b
        .viewer
        .seal_rtp(70, &packet(TrackId::Video, &body), &mut out);
    assert_eq!((len, out.len()), (20 + 2 + 100 + 16, 5 + len));
    let p = &out[5..];
    assert_eq!(p[..2], [0x90, 0x80 | 102]);
    assert_eq!(p[8..12], b.ssrc(TrackId::Video).to_be_bytes());
    assert_eq!(p[12..17], [0xbe, 0xde, 0, 1, 5 << 4 | 1]);
    assert!(
        sequence(p) < 1 << 15,
        "the roll-over counter starts at zero"
    );
    let len = b
        .viewer
        .seal_rtp(1, &packet(TrackId::Audio, &body), &mut out);
    let p = &out[out.len() - len..];
    assert_eq!((p[0], p[1] & 0x7f, len), (0x80, 8, 12 + 2 + 100 + 16));

    // With the keys of the other side it opens to what went in (RFC 7714, 8.2).
    let m = masters(Profile::Gcm128);
    let mut again = out[out.len() - len..][..12].to_vec();
    let sender = Sealer::new(Profile::Gcm128, &m.server);
    again.extend_from_slice(&[0x7c, 0x85]);
    again.extend_from_slice(&body);
    let (ssrc, index) = (b.ssrc(TrackId::Audio), u64::from(sequence(p)));
    sender.seal_rtp(&mut again, 0, 12, ssrc, index);
    assert_eq!(again, p);
}

#[test]
fn nothing_is_sealed_without_keys_or_agreement() {
    let mut b = Bench::new(true);
    let mut out = Vec::new();
    assert_eq!(
        b.viewer
            .seal_rtp(0, &packet(TrackId::Video, &[1]), &mut out),
        0
    );
    assert!(out.is_empty());
}

#[test]
fn a_nack_becomes_an_index_over_gaps_and_wraps() {
    let mut b = Bench::ready(true);
    let ssrc = b.ssrc(TrackId::Video);
    let mut sent = Vec::new();
    // Three runs, the first of which is longer than 16 bits can count.
    for index in (0..70_000).chain(80_000..80_010).chain(90_000..90_010) {
        let mut out = Vec::new();
        b.viewer
            .seal_rtp(index, &packet(TrackId::Video, &[7; 10]), &mut out);
        sent.push((index, sequence(&out)));
    }
    for &(index, number) in [
        &sent[sent.len() - 1],
        &sent[sent.len() - 10],
        &sent[sent.len() - 11],
        &sent[sent.len() - 500],
    ] {
        let [h, l] = number.to_be_bytes();
        b.rtcp(205, 1, ssrc, &[h, l, 0, 0]);
        let events = b.events();
        assert!(
            matches!(events[..], [Event::Resend(r)] if r.index == index && r.track == TrackId::Video),
            "{index}: {events:?}"
        );
    }
    // Not sent yet; of another source.
    let [h, l] = sent[sent.len() - 1].1.wrapping_add(1).to_be_bytes();
    b.rtcp(205, 1, ssrc, &[h, l, 0, 0]);
    b.rtcp(205, 1, ssrc ^ 2, &[h, l, 0, 0]);
    assert_eq!(b.events(), []);
    assert_eq!(b.viewer.path().resends_refused, 1);
}

#[test]
fn old_runs_are_forgotten() {
    let mut b = Bench::ready(true);
    let mut numbers = Vec::new();
    for n in 0..=SEQUENCE_RUNS as u64 {
        let mut out = Vec::new();
        b.viewer
            .seal_rtp(n * 100, &packet(TrackId::Video, &[7; 10]), &mut out);
        numbers.push(sequence(&out));
    }
    let sender = b.viewer.sender(TrackId::Video).expect("agreed");
    assert_eq!(sender.find(numbers[0]), None);
    assert_eq!(sender.find(numbers[1]).map(|f| f.1), Some(100));
}

#[test]
fn a_resend_is_rtx_or_the_same_packet_again() {
    for rtx in [true, false] {
        let mut b = Bench::ready(rtx);
        let ssrc = b.ssrc(TrackId::Video);
        let mut first = Vec::new();
        for index in 0..3 {
            first.clear();
            b.viewer.seal_rtp(
                index,
                &packet(TrackId::Video, &[index as u8; 10]),
                &mut first,
            );
        }
        let [h, l] = sequence(&first).to_be_bytes();
        b.rtcp(205, 1, ssrc, &[h, l, 0, 0]);
        let Some(Event::Resend(resend)) = b.viewer.poll_event() else {
            panic!("no resend");
        };
        assert_eq!(resend.index, 2);
        let mut second = Vec::new();
        b.viewer
            .seal_resend(resend, &packet(TrackId::Video, &[2; 10]), &mut second);
        if rtx {
            assert_eq!(second.len(), first.len() + 2);
            assert_eq!(second[1] & 0x7f, 103);
            assert_eq!(second[4..8], first[4..8], "the timestamp of the original");
            assert_ne!(second[8..12], first[8..12]);
        } else {
            assert_eq!(second, first, "to the last bit, or the key is given away");
        }
    }
}

#[test]
fn resends_have_a_bound_that_refills() {
    let mut b = Bench::ready(true);
    let ssrc = b.ssrc(TrackId::Video);
    let mut out = Vec::new();
    for index in 0..1000 {
        out.clear();
        b.viewer
            .seal_rtp(index, &packet(TrackId::Video, &[7; 10]), &mut out);
    }
    let last = sequence(&out);
    let ask = |b: &mut Bench| {
        for n in 0..40u16 {
            let [h, l] = last.wrapping_sub(n * 17 + 16).to_be_bytes();
            b.rtcp(205, 1, ssrc, &[h, l, 0xff, 0xff]);
        }
        b.events().len()
    };
    // More than may wait are not queued; then no more than a second's worth is left.
    assert_eq!(ask(&mut b), RESENDS_PENDING_MAX);
    assert_eq!(
        ask(&mut b),
        RESENDS_PER_S_MAX as usize - RESENDS_PENDING_MAX
    );
    assert_eq!(ask(&mut b), 0);
    assert_eq!(
        b.viewer.path().resends_refused,
        3 * 680 - u64::from(RESENDS_PER_S_MAX)
    );
    b.now += Duration::from_millis(100);
    assert_eq!(ask(&mut b), RESENDS_PER_S_MAX as usize / 10);
}

#[test]
fn key_frame_requests_are_heard_now_and_then() {
    let mut b = Bench::ready(true);
    let ssrc = b.ssrc(TrackId::Video);
    b.rtcp(206, 1, ssrc, &[]);
    b.rtcp(206, 1, ssrc, &[]);
    assert_eq!(b.events(), [Event::KeyFrameRequest]);
    b.now += Duration::from_millis(KEY_FRAME_REQUEST_MS_MIN - 1);
    b.rtcp(206, 1, ssrc, &[]);
    assert_eq!(b.events(), []);
    b.now += Duration::from_millis(1);
    b.rtcp(206, 4, 0, &[ssrc.to_be_bytes(), [1, 0, 0, 0]].concat());
    assert_eq!(b.events(), [Event::KeyFrameRequest]);
}

#[test]
fn reports_tie_both_tracks_to_one_clock() {
    let mut b = Bench::ready(true);
    let mut out = Vec::new();
    b.viewer
        .seal_rtp(0, &packet(TrackId::Video, &[7; 10]), &mut out);
    b.viewer
        .seal_rtp(0, &packet(TrackId::Audio, &[7; 10]), &mut out);
    let wall = WallClock {
        at: b.now,
        unix_ms: 1_000_500,
    };
    b.viewer.set_clock(b.now, &wall, MediaTime(90_000));
    let due = b.viewer.next_deadline().expect("a report is due");
    assert!(due <= b.now);
    b.now += Duration::from_millis(250);
    let mut sent = Vec::new();
    b.viewer.handle_timeout(b.now, &mut |to, d| {
        assert_eq!(to, at(1));
        sent.push(d.to_vec());
    });
    assert_eq!(b.viewer.next_deadline(), Some(b.now + REPORT_INTERVAL));
    let compound = b.opener.open_rtcp(&mut sent[0]).expect("ours").to_vec();
    let (video, audio) = (&compound[..28], &compound[28..56]);
    let word = |b: &[u8], at: usize| u32::from_be_bytes([b[at], b[at + 1], b[at + 2], b[at + 3]]);
    for (sr, track, media) in [
        (video, TrackId::Video, 112_500),
        (audio, TrackId::Audio, 10_000),
    ] {
        let sender = b.viewer.sender(track).expect("agreed");
        assert_eq!((sr[1], word(sr, 4)), (200, sender.ssrcs.media));
        assert_eq!(u64::from(word(sr, 8)), NTP_UNIX_S + 1000);
        assert_eq!(word(sr, 12) >> 30, 3, "a half and a quarter of a second");
        assert_eq!(word(sr, 16).wrapping_sub(sender.timestamp_offset), media);
        assert_eq!((word(sr, 20), word(sr, 24)), (1, 12));
    }
    assert_eq!(compound[57], 202);

    // The receiver's report gives the round trip: it answers that SR after 100 ms, 30 ms on the way.
    let middle = word(video, 8) << 16 | word(video, 12) >> 16;
    let mut rr = vec![0x81, 201, 0, 7, 0, 0, 0, 9];
    rr.extend_from_slice(&b.ssrc(TrackId::Video).to_be_bytes());
    rr.extend_from_slice(&[13, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
    rr.extend_from_slice(&middle.to_be_bytes());
    rr.extend_from_slice(&6554u32.to_be_bytes());
    b.sealer.seal_rtcp(&mut rr, 0, 9);
    b.now += Duration::from_millis(130);
    b.feed(at(1), &rr);
    let path = *b.viewer.path();
    assert_eq!(path.fraction_lost, 13);
    let rtt = path.rtt.expect("measured").as_micros();
    assert!((29_900..30_100).contains(&rtt), "{rtt}");
    // A replayed report is refused and counted.
    b.feed(at(1), &rr);
    assert_eq!(b.viewer.path().rtcp_refused, 1);
}

#[test]
fn silence_ends_it() {
    let mut b = Bench::ready(true);
    let end = b.now + Duration::from_secs(ICE_SILENCE_S_MAX);
    assert_eq!(b.viewer.next_deadline(), Some(end));
    b.viewer
        .handle_timeout(end - Duration::from_millis(1), &mut |_, _| ());
    assert!(b.viewer.is_ready());
    b.viewer.handle_timeout(end, &mut |_, _| ());
    assert_eq!(b.viewer.closed(), Some(&CloseReason::Silence));
    assert_eq!(
        (b.viewer.next_deadline(), b.viewer.is_ready()),
        (None, false)
    );
}

#[test]
fn dtls_can_end_it_and_so_can_we() {
    let mut b = Bench::ready(true);
    b.feed(at(1), &[21]);
    assert_eq!(b.viewer.closed(), Some(&CloseReason::PeerClosed));
    let mut b = Bench::ready(true);
    b.feed(at(1), &[22]);
    assert_eq!(
        b.viewer.closed(),
        Some(&CloseReason::Dtls(DtlsError::Fingerprint))
    );
    let mut b = Bench::ready(true);
    let mut sent = Vec::new();
    b.viewer.close(b.now, &mut |_, d| sent.push(d.to_vec()));
    assert_eq!(sent.len(), 2);
    let bye = b.opener.open_rtcp(&mut sent[0]).expect("ours");
    assert_eq!((bye[1], bye[9]), (201, 203));
    assert_eq!(sent[1], b"\x15bye");
    assert_eq!(b.viewer.closed(), Some(&CloseReason::Local));
    // Nothing more comes of it.
    b.viewer.close(b.now, &mut |_, _| panic!("closed"));
    let check = b.check(true);
    assert_eq!(b.feed(at(1), &check), (Handled::default(), vec![]));
}

#[test]
fn noise_from_the_peers_address_changes_nothing() {
    let mut b = Bench::ready(true);
    let mut state = 9u64;
    let mut random = move || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 33) as u8
    };
    for len in (0..1500).step_by(7) {
        let mut noise: Vec<u8> = (0..len).map(|_| random()).collect();
        if let [first, second, ..] = &mut noise[..] {
            *first = 128 + (*first & 63);
            *second = 192 + (*second & 31);
        }
        let from = at(1 + u16::from(random() & 1));
        assert_eq!(b.feed(from, &noise), (Handled::default(), vec![]));
    }
    assert!(b.viewer.is_ready() && b.events().is_empty());
}
