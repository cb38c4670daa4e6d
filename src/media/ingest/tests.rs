//! Behaviour of a whole stream: made by our muxer and packetiser, then cut, lost, reordered and spoilt.

use std::time::Duration;

use bytes::Bytes;

use super::*;
use crate::limits;
use crate::media::frame::{Codec, Params, TrackId, VideoParams, nals};
use crate::media::ps::mux::Mux;
use crate::time::MediaTime;

mod field;
mod payloads;

const SSRC: Ssrc = Ssrc(100_000_001);
const SPS: [u8; 26] = [
    0x67, 0x64, 0x00, 0x20, 0xac, 0xd9, 0x40, 0xc0, 0x29, 0xb0, 0x11, 0x00, 0x00, 0x03, 0x00, 0x01,
    0x00, 0x00, 0x03, 0x00, 0x32, 0x0f, 0x18, 0x31, 0x96, 0x00,
];
const PPS: [u8; 6] = [0x68, 0xeb, 0xe3, 0xcb, 0x22, 0xc0];

/// Numbers that repeat from run to run.
struct Dice(u64);

impl Dice {
    fn new(seed: u64) -> Dice {
        Dice(seed | 1)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }
}

/// Everything that came out.
#[derive(Debug, Default)]
struct Seen {
    tracks: Vec<Track>,
    pictures: Vec<Frame>,
    sounds: Vec<Frame>,
    facts: Vec<Fact>,
}

impl Sink for Seen {
    fn put(&mut self, output: Output) {
        match output {
            Output::Track(track) => self.tracks.push(track),
            Output::Frame(frame) => {
                assert!(frame.pts >= frame.dts);
                let frames = match frame.track {
                    TrackId::Video => &mut self.pictures,
                    TrackId::Audio => &mut self.sounds,
                };
                if let Some(last) = frames.last() {
                    assert!(frame.dts > last.dts, "time goes on");
                }
                assert!(
                    self.tracks.iter().any(|t| t.id == frame.track),
                    "its track is known"
                );
                frames.push(frame);
            }
            Output::Fact(fact) => {
                assert!(!self.facts.contains(&fact), "told once");
                self.facts.push(fact);
            }
        }
    }
}

/// A device that sends H.264 (25 a second, a key frame every ten) and G.711A.
struct Device {
    mux: Mux,
    writer: rtp::Writer,
    dice: Dice,
    number: u64,
    ps: Vec<u8>,
    payload_max: usize,
    /// Payloads of the pictures sent.
    pictures: Vec<Vec<u8>>,
    start: Instant,
}

impl Device {
    fn new() -> Device {
        let video = Track {
            id: TrackId::Video,
            codec: Codec::H264,
            params: std::sync::Arc::new(Params::Video(VideoParams {
                vps: None,
                sps: Bytes::from_static(&SPS[..25]),
                pps: Bytes::from_static(&PPS),
                width: 768,
                height: 320,
                fps_milli: Some(25_000),
            })),
        };
        let audio = crate::media::codec::g711::track(Codec::G711A);
        Device {
            mux: Mux::new(Some(&video), Some(&audio)),
            writer: rtp::Writer::new(SSRC, 96, 65_000),
            dice: Dice::new(7),
            number: 0,
            ps: Vec::new(),
            payload_max: 1400,
            pictures: Vec::new(),
            start: Instant::now(),
        }
    }

    fn nal(&mut self, head: &[u8], len: usize) -> Vec<u8> {
        let mut nal = head.to_vec();
        // No zeros: what must not look like a start code.
        nal.extend((0..len).map(|_| self.dice.below(255) as u8 + 1));
        nal
    }

    /// The next picture as packets.
    fn picture(&mut self) -> Vec<Vec<u8>> {
        let key = self.number.is_multiple_of(10);
        let size = if key { 150_000 } else { 3000 } + self.dice.below(3000) as usize;
        let first = if key { [0x65, 0x88] } else { [0x41, 0x9a] };
        let slices = [
            self.nal(&first, size / 2),
            self.nal(&[first[0], 0x40], size / 2),
        ];
        let mut payload = Vec::new();
        for slice in slices {
            payload.extend((slice.len() as u32).to_be_bytes());
            payload.extend(slice);
        }
        self.pictures.push(payload.clone());
        let time = MediaTime(self.number as i64 * 3600);
        self.number += 1;
        self.send(Frame {
            track: TrackId::Video,
            dts: time,
            pts: time,
            key,
            damaged: false,
            payload: payload.into(),
            received: self.start,
        })
    }

    /// 40 ms of sound as packets.
    fn sound(&mut self) -> Vec<Vec<u8>> {
        let time = MediaTime(self.number as i64 * 3600);
        self.send(Frame {
            track: TrackId::Audio,
            dts: time,
            pts: time,
            key: true,
            damaged: false,
            payload: vec![0xd5; 320].into(),
            received: self.start,
        })
    }

    fn send(&mut self, frame: Frame) -> Vec<Vec<u8>> {
        self.ps.clear();
        self.mux.push(&frame, &mut self.ps);
        let mut packets = Vec::new();
        let time = frame.dts.0 as u32;
        self.writer
            .write(&self.ps, time, self.payload_max, &mut |p| {
                packets.push(p.to_vec());
            });
        packets
    }
}

fn config() -> Config {
    Config {
        ssrc: Some(SSRC),
        any_ssrc: false,
        reliable: false,
        ..Config::default()
    }
}

fn push_all(ingest: &mut Ingest, now: Instant, packets: &[Vec<u8>], seen: &mut Seen) {
    for p in packets {
        ingest.push(now, p, seen);
    }
}

fn clear_marker(packets: &mut [Vec<u8>]) {
    for p in packets {
        p[1] &= 0x7f;
    }
}

#[test]
fn a_picture_comes_out_with_its_last_packet() {
    let mut device = Device::new();
    let mut ingest = Ingest::new(config());
    let mut seen = Seen::default();
    for n in 0..30 {
        let packets = device.picture();
        let (last, others) = packets.split_last().expect("not empty");
        push_all(&mut ingest, device.start, others, &mut seen);
        assert_eq!(seen.pictures.len(), n, "not before it is whole");
        push_all(
            &mut ingest,
            device.start,
            std::slice::from_ref(last),
            &mut seen,
        );
        assert_eq!(seen.pictures.len(), n + 1, "as soon as it is whole");
        assert_eq!(seen.pictures[n].payload, device.pictures[n]);
        assert_eq!(seen.pictures[n].key, n % 10 == 0);
        assert!(!seen.pictures[n].damaged);
        push_all(&mut ingest, device.start, &device.sound(), &mut seen);
        assert_eq!(seen.sounds.len(), n + 1);
    }
    assert_eq!(seen.tracks.len(), 2);
    assert_eq!(seen.facts, [Fact::FirstRtp { ssrc: SSRC }, Fact::FirstPs]);
    let steps: Vec<_> = seen
        .pictures
        .windows(2)
        .map(|w| w[1].pts.0 - w[0].pts.0)
        .collect();
    assert_eq!(steps, [3600; 29]);
    let stats = ingest.stats(device.start);
    assert_eq!((stats.frames, stats.key_frames, stats.lost), (30, 3, 0));
    assert!(stats.psm_seen);
}

#[test]
fn without_markers_a_picture_comes_out_with_the_next() {
    let mut device = Device::new();
    let mut ingest = Ingest::new(config());
    let mut seen = Seen::default();
    for n in 0..30 {
        let mut packets = device.picture();
        clear_marker(&mut packets);
        push_all(&mut ingest, device.start, &packets, &mut seen);
        assert_eq!(seen.pictures.len(), n);
    }
    ingest.finish(&mut seen);
    let got: Vec<_> = seen.pictures.iter().map(|f| f.payload.to_vec()).collect();
    assert_eq!(got, device.pictures);
}

#[test]
fn markers_on_every_packet_are_not_believed() {
    let mut device = Device::new();
    let mut ingest = Ingest::new(config());
    let mut seen = Seen::default();
    for _ in 0..30 {
        let mut packets = device.picture();
        packets.iter_mut().for_each(|p| p[1] |= 0x80);
        push_all(&mut ingest, device.start, &packets, &mut seen);
    }
    ingest.finish(&mut seen);
    let got: Vec<_> = seen.pictures.iter().map(|f| f.payload.to_vec()).collect();
    assert_eq!(got, device.pictures);
    assert!(seen.pictures.iter().all(|f| !f.damaged));
}

#[test]
fn markers_at_every_pes_cost_one_picture_at_most() {
    // Each slice in a PES of its own with a marker: the first picture is cut short, then the marker is not believed.
    let mut device = Device::new();
    let mut ingest = Ingest::new(config());
    let mut seen = Seen::default();
    for n in 0..20u32 {
        device.picture();
        let time = n * 3600;
        let pts = super::super::ps::write_time(2, u64::from(time));
        let payload = device.pictures[n as usize].clone();
        let sets: [&[u8]; 2] = [&SPS[..25], &PPS];
        let sets = sets.iter().copied().filter(|_| n % 10 == 0);
        for nal in sets.chain(nals(&payload)) {
            // A PES per NAL unit, cut into packets of its own.
            for part in nal.chunks(50_000) {
                let begins = part.as_ptr() == nal.as_ptr();
                let code: &[u8] = if begins { &[0, 0, 0, 1] } else { &[] };
                let len = (8 + code.len() + part.len()) as u16;
                let mut pes = vec![0, 0, 1, 0xe0];
                pes.extend(len.to_be_bytes());
                pes.extend([0x80, 0x80, 5]);
                pes.extend(pts);
                pes.extend(code);
                pes.extend(part);
                device.writer.write(&pes, time, 1400, &mut |p| {
                    ingest.push(device.start, p, &mut seen);
                });
            }
        }
    }
    ingest.finish(&mut seen);
    let got: Vec<_> = seen.pictures.iter().map(|f| f.payload.to_vec()).collect();
    let last = got.len() - 19;
    assert_eq!(got[last..], device.pictures[1..]);
    assert!(seen.pictures[..last].len() <= 3);
}

#[test]
fn two_pictures_in_one_pes_are_parted() {
    let mut ingest = Ingest::new(config());
    let mut seen = Seen::default();
    let mut writer = rtp::Writer::new(SSRC, 96, 0);
    let now = Instant::now();
    for n in 0..4u64 {
        let mut body = Vec::new();
        for nal in [
            &SPS[..25],
            &PPS,
            &[0x65, 0x88, 1],
            &[0x41, 0x9a, 2],
            &[0x41, 0x9a, 3],
        ] {
            body.extend([0, 0, 1]);
            body.extend(nal);
        }
        let mut pes = vec![0, 0, 1, 0xe0];
        pes.extend((8 + body.len() as u16).to_be_bytes());
        pes.extend([0x80, 0x80, 5]);
        pes.extend(super::super::ps::write_time(2, n * 10_800));
        pes.extend(&body);
        writer.write(&pes, n as u32 * 10_800, 1400, &mut |p| {
            ingest.push(now, p, &mut seen);
        });
    }
    let keys: Vec<_> = seen.pictures.iter().map(|f| f.key).collect();
    assert_eq!(keys, [true, false, false].repeat(4));
    assert_eq!(seen.pictures[1].payload[..], [0, 0, 0, 3, 0x41, 0x9a, 2]);
    // Only the first of each PES has a time; the rate of the stream fills the others once it is known.
    let times: Vec<_> = seen.pictures.iter().step_by(3).map(|f| f.pts.0).collect();
    assert_eq!(
        times.windows(2).map(|w| w[1] - w[0]).collect::<Vec<_>>(),
        [10_800; 3]
    );
}

#[test]
fn any_packet_size_gives_the_same_frames() {
    let mut want = None;
    for payload_max in [1, 2, 3, 4, 5, 7, 13, 100, 1400, 9000] {
        let mut device = Device::new();
        device.payload_max = payload_max;
        let mut ingest = Ingest::new(config());
        let mut seen = Seen::default();
        for _ in 0..3 {
            let packets = device.picture();
            push_all(&mut ingest, device.start, &packets, &mut seen);
            let packets = device.sound();
            push_all(&mut ingest, device.start, &packets, &mut seen);
        }
        let got: Vec<_> = seen
            .pictures
            .iter()
            .chain(&seen.sounds)
            .map(|f| (f.pts, f.key, f.damaged, f.payload.clone()))
            .collect();
        assert_eq!(got.len(), 6);
        assert_eq!(
            *want.get_or_insert(got.clone()),
            got,
            "packets of {payload_max}"
        );
    }
}

#[test]
fn a_lost_packet_marks_its_picture_and_no_other() {
    let mut device = Device::new();
    let mut ingest = Ingest::new(config());
    let mut seen = Seen::default();
    for n in 0..10 {
        let mut packets = device.picture();
        if n == 4 {
            packets.remove(1);
        }
        push_all(&mut ingest, device.start, &packets, &mut seen);
        ingest.handle_timeout(device.start + Duration::from_secs(1), &mut seen);
    }
    let damaged: Vec<_> = seen.pictures.iter().map(|f| f.damaged).collect();
    assert_eq!(
        damaged,
        [
            false, false, false, false, true, false, false, false, false, false
        ]
    );
    assert_eq!(ingest.stats(device.start).lost, 1);
    let hole = &seen.pictures[4].payload;
    assert!(hole.len() < device.pictures[4].len() && hole.len() > 1000);
}

#[test]
fn a_lost_end_does_not_spoil_the_next_picture() {
    let mut device = Device::new();
    let mut ingest = Ingest::new(config());
    let mut seen = Seen::default();
    for n in 0..6 {
        let mut packets = device.picture();
        if n == 2 {
            packets.pop();
        }
        push_all(&mut ingest, device.start, &packets, &mut seen);
        ingest.handle_timeout(device.start + Duration::from_secs(1), &mut seen);
    }
    assert_eq!(seen.pictures.len(), 6);
    assert!(seen.pictures[2].damaged);
    assert!(seen.pictures[3].damaged, "something before it is missing");
    assert_eq!(seen.pictures[3].payload, device.pictures[3]);
    assert!(!seen.pictures[4].damaged);
}

#[test]
fn a_picture_in_which_its_connection_breaks_is_marked() {
    for (left_out, damaged) in [(0, false), (1, true), (2, true)] {
        let mut device = Device::new();
        let mut ingest = Ingest::new(config());
        let mut seen = Seen::default();
        let mut packets = device.picture();
        packets.extend(device.picture());
        assert!(packets.len() > 4);
        packets.truncate(packets.len() - left_out);
        push_all(&mut ingest, device.start, &packets, &mut seen);
        ingest.finish(&mut seen);
        let last = seen.pictures.last().expect("two pictures");
        assert_eq!((seen.pictures.len(), last.damaged), (2, damaged));
    }
}

#[test]
fn reordered_and_doubled_packets_change_nothing() {
    let mut device = Device::new();
    let mut ingest = Ingest::new(config());
    let mut seen = Seen::default();
    let mut dice = Dice::new(3);
    for _ in 0..20 {
        let mut packets = device.picture();
        // The very first packet of a stream has nothing to be behind of.
        for n in 1..packets.len() - 1 {
            if dice.below(3) == 0 {
                packets.swap(n, n + 1);
            }
        }
        let doubled = packets[packets.len() / 2].clone();
        packets.push(doubled);
        push_all(&mut ingest, device.start, &packets, &mut seen);
    }
    let got: Vec<_> = seen.pictures.iter().map(|f| f.payload.to_vec()).collect();
    assert_eq!(got, device.pictures);
    let stats = ingest.stats(device.start);
    assert_eq!((stats.duplicate, stats.lost), (20, 0));
    assert!(stats.reordered > 50);
}

#[test]
fn foreign_packets_and_junk_are_counted_and_left_out() {
    let mut device = Device::new();
    let mut ingest = Ingest::new(config());
    let mut seen = Seen::default();
    let mut foreign = rtp::Writer::new(Ssrc(9), 96, 0);
    let now = device.start;
    for _ in 0..2 {
        foreign.write(&[1, 2, 3], 0, 100, &mut |p| ingest.push(now, p, &mut seen));
    }
    assert_eq!(seen.facts, [Fact::ForeignSsrc { seen: Ssrc(9) }]);
    push_all(&mut ingest, now, &device.picture(), &mut seen);
    foreign.write(&[1, 2, 3], 0, 100, &mut |p| ingest.push(now, p, &mut seen));
    for junk in [&[][..], &[0x80], &[0x40; 40], &[0xff; 11]] {
        ingest.push(now, junk, &mut seen);
    }
    let stats = ingest.stats(now);
    assert_eq!((stats.foreign, stats.invalid), (3, 4));
    assert_eq!(seen.pictures.len(), 1);
}

/// Whether a newer connection of one who sends an SSRC takes the place of an older one.
#[test]
fn field_23_what_fits_is_what_would_be_taken() {
    let other = Ssrc(9);
    for (agreed, any_ssrc, fits_first, fits_later) in [
        // Refused by policy, or the port is shared: the agreed one alone.
        (Some(SSRC), false, [true, false], [true, false]),
        // Another one while the agreed one does not come.
        (Some(SSRC), true, [true, true], [true, true]),
        (None, false, [true, true], [true, true]),
    ] {
        let mut device = Device::new();
        let now = device.start;
        let mut ingest = Ingest::new(Config {
            ssrc: agreed,
            any_ssrc,
            ..config()
        });
        let fits = |ingest: &Ingest, now| [SSRC, other].map(|ssrc| ingest.fits(now, ssrc));
        assert_eq!(fits(&ingest, now), fits_first, "{agreed:?} {any_ssrc}");
        push_all(&mut ingest, now, &device.picture(), &mut Seen::default());
        assert_eq!(fits(&ingest, now), [true, false], "it comes");
        let later = now + LATCH_SILENCE;
        assert_eq!(fits(&ingest, later), fits_later, "it came");
        assert_eq!(ingest.ssrc(), Some(SSRC), "asking changes nothing");
    }
}

#[test]
fn field_05_rtcp_does_not_pin_the_ssrc() {
    let mut device = Device::new();
    let mut ingest = Ingest::new(Config::default());
    let mut seen = Seen::default();
    let mut report = Vec::new();
    rtcp::write_sender_report(Ssrc(77), &rtcp::SenderInfo::default(), &mut report);
    ingest.push(device.start, &report, &mut seen);
    push_all(&mut ingest, device.start, &device.picture(), &mut seen);
    assert_eq!(seen.facts[0], Fact::FirstRtp { ssrc: SSRC });
    assert_eq!(ingest.stats(device.start).rtcp_packets, 1);
}

#[test]
fn another_ssrc_may_take_over_when_none_was_agreed_and_the_old_is_silent() {
    let mut ingest = Ingest::new(Config::default());
    let mut seen = Seen::default();
    let mut device = Device::new();
    let start = device.start;
    push_all(&mut ingest, start, &device.picture(), &mut seen);
    let mut again = Device::new();
    again.writer = rtp::Writer::new(Ssrc(5), 96, 3);
    let packets = again.picture();
    push_all(
        &mut ingest,
        start + Duration::from_millis(100),
        &packets,
        &mut seen,
    );
    assert_eq!(seen.pictures.len(), 1);
    push_all(&mut ingest, start + LATCH_SILENCE, &packets, &mut seen);
    assert_eq!(seen.pictures.len(), 2);
}

#[test]
fn what_is_no_program_stream_is_said_so_once() {
    let mut ingest = Ingest::new(config());
    let mut seen = Seen::default();
    let mut writer = rtp::Writer::new(SSRC, 98, 0);
    let now = Instant::now();
    for n in 0..limits::NO_PS_PACKETS_MAX * 2 {
        let told = seen.facts.contains(&Fact::NoProgramStream);
        assert_eq!(told, n >= limits::NO_PS_PACKETS_MAX);
        writer.write(&[0x9c, 0x85, 0x88, 4], 0, 100, &mut |p| {
            ingest.push(now, p, &mut seen)
        });
    }
}

#[test]
fn field_15_bare_sound_beside_the_program_stream_is_taken() {
    let mut device = Device::new();
    let mut ingest = Ingest::new(config());
    let mut seen = Seen::default();
    let now = device.start;
    for n in 0..4u64 {
        push_all(
            &mut ingest,
            now + Duration::from_millis(40 * n),
            &device.picture(),
            &mut seen,
        );
        let sequence = device.writer.next_sequence();
        let mut bare = rtp::Writer::new(SSRC, 8, sequence);
        bare.write(&[0xd5; 320], 320 * n as u32, 1400, &mut |p| {
            ingest.push(now + Duration::from_millis(40 * n), p, &mut seen);
        });
        device.writer = rtp::Writer::new(SSRC, 96, sequence + 1);
    }
    assert_eq!((seen.pictures.len(), seen.sounds.len()), (4, 4));
    assert!(seen.pictures.iter().all(|f| !f.damaged));
    assert_eq!(seen.sounds[3].dts.0 - seen.sounds[0].dts.0, 3 * 3600);
    assert_eq!(ingest.stats(now).ps_errors, 0);
}

#[test]
fn a_new_sps_makes_a_new_track() {
    let mut device = Device::new();
    let mut ingest = Ingest::new(config());
    let mut seen = Seen::default();
    for _ in 0..11 {
        push_all(&mut ingest, device.start, &device.picture(), &mut seen);
    }
    assert_eq!(seen.tracks.len(), 1, "the same sets again change nothing");
    // x264's, 1918x1078.
    let sps = [
        0x67, 0x64, 0x00, 0x28, 0xac, 0xd9, 0x40, 0x78, 0x02, 0x27, 0xa9, 0xb0, 0x11, 0x00, 0x00,
        0x03, 0x00, 0x01, 0x00, 0x00, 0x03, 0x00, 0x3c, 0x0f, 0x18, 0x31, 0x96,
    ];
    let mut track = seen.tracks[0].clone();
    let Params::Video(mut video) = (*track.params).clone() else {
        panic!("a picture");
    };
    assert_eq!(
        (video.width, video.height, video.fps_milli),
        (768, 320, Some(25_000))
    );
    video.sps = Bytes::copy_from_slice(&sps);
    track.params = std::sync::Arc::new(Params::Video(video));
    device.mux = Mux::new(Some(&track), None);
    device.number = 20;
    push_all(&mut ingest, device.start, &device.picture(), &mut seen);
    let video = seen
        .tracks
        .last()
        .and_then(|t| t.video())
        .expect("a picture");
    assert_eq!(
        (seen.tracks.len(), video.width, video.height),
        (2, 1918, 1078)
    );
}

#[test]
fn unsupported_types_are_told_once() {
    let map = |video: u8, audio: u8| {
        let mut b = vec![0, 0, 1, 0xbc, 0, 18, 0xe1, 0xff, 0, 0, 0, 8];
        b.extend([video, 0xe0, 0, 0, audio, 0xc0, 0, 0, 1, 2, 3, 4]);
        b.extend([0, 0, 1, 0xc0, 0, 11, 0x80, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8]);
        b
    };
    let mut ingest = Ingest::new(config());
    let mut seen = Seen::default();
    let mut writer = rtp::Writer::new(SSRC, 96, 0);
    for _ in 0..3 {
        writer.write(&map(0x80, 0x93), 0, 1400, &mut |p| {
            ingest.push(Instant::now(), p, &mut seen);
        });
    }
    assert_eq!(
        seen.facts[1..],
        [
            Fact::UnsupportedVideo { stream_type: 0x80 },
            Fact::UnsupportedAudio { stream_type: 0x93 },
            Fact::FirstPs
        ]
    );
}

#[test]
fn field_18_the_bytes_win_over_the_map() {
    // The map says AAC, the device sends PCMA in blocks of 10 ms; later it sends ADTS after all.
    let mut ingest = Ingest::new(config());
    let mut seen = Seen::default();
    let mut writer = rtp::Writer::new(SSRC, 96, 0);
    let now = Instant::now();
    let mut send = |body: &[u8], n: u64, seen: &mut Seen| {
        let mut b = vec![
            0, 0, 1, 0xbc, 0, 14, 0xe1, 0xff, 0, 0, 0, 4, 0x0f, 0xc0, 0, 0, 1, 2, 3, 4,
        ];
        b.extend([0, 0, 1, 0xc0]);
        b.extend((8 + body.len() as u16).to_be_bytes());
        b.extend([0x80, 0x80, 5]);
        b.extend(super::super::ps::write_time(2, n * 1800));
        b.extend(body);
        writer.write(&b, n as u32 * 1800, 1400, &mut |p| {
            ingest.push(now, p, seen)
        });
    };
    for n in 0..10 {
        send(&[0xd5; 160], n, &mut seen);
    }
    assert_eq!(seen.tracks.len(), 1);
    assert_eq!(seen.tracks[0].codec, Codec::G711A);
    assert_eq!(seen.sounds.len(), 6);
}

#[test]
fn sound_in_adts_may_be_cut_by_the_pes() {
    let mut ingest = Ingest::new(config());
    let mut seen = Seen::default();
    let mut writer = rtp::Writer::new(SSRC, 96, 0);
    let now = Instant::now();
    let mut bytes = Vec::new();
    for n in 0..40u8 {
        let header = crate::media::codec::aac::adts_header(&[0x12, 0x10], 100).expect("fits");
        bytes.extend(header);
        bytes.extend([n | 0x40; 100]);
    }
    // PES packets begin anywhere in the frames; each has the time of the first frame that begins in it.
    for (n, part) in bytes.chunks(250).enumerate() {
        let mut b = vec![
            0, 0, 1, 0xbc, 0, 14, 0xe1, 0xff, 0, 0, 0, 4, 0x0f, 0xc0, 0, 0, 1, 2, 3, 4,
        ];
        b.extend([0, 0, 1, 0xc0]);
        b.extend((8 + part.len() as u16).to_be_bytes());
        b.extend([0x80, 0x80, 5]);
        let frame = (n * 250).div_ceil(107) as u64;
        b.extend(super::super::ps::write_time(2, frame * 2089));
        b.extend(part);
        writer.write(&b, 0, 90, &mut |p| ingest.push(now, p, &mut seen));
    }
    assert_eq!(seen.sounds.len(), 40);
    let audio = seen.tracks[0].audio().expect("sound");
    assert_eq!((audio.sample_rate, audio.channels), (44_100, 2));
    for (n, frame) in seen.sounds.iter().enumerate() {
        assert_eq!(frame.payload, vec![n as u8 | 0x40; 100]);
        assert_eq!(frame.pts.0 - seen.sounds[0].pts.0, n as i64 * 2089);
    }
}

#[test]
fn an_access_unit_has_a_bound() {
    for (size, kept) in [
        (limits::ACCESS_UNIT_BYTES_MAX - 8, true),
        (limits::ACCESS_UNIT_BYTES_MAX + 1, false),
    ] {
        let mut ingest = Ingest::new(config());
        let mut seen = Seen::default();
        let mut device = Device::new();
        push_all(&mut ingest, device.start, &device.picture(), &mut seen);
        let mut body = vec![0, 0, 1, 0xe0, 0, 0, 0x80, 0, 0, 0, 0, 1, 0x41, 0x9a];
        body.resize(body.len() + size - 6, 0x55);
        device.writer.write(&body, 3600, 1400, &mut |p| {
            ingest.push(device.start, p, &mut seen);
        });
        device.number = 10;
        push_all(&mut ingest, device.start, &device.picture(), &mut seen);
        assert_eq!(seen.pictures.len(), if kept { 3 } else { 2 });
        assert_eq!(ingest.stats(device.start).dropped_frames, u64::from(!kept));
        assert!(seen.pictures.last().is_some_and(|f| f.key));
    }
}

#[test]
fn noise_loss_and_damage_never_panic() {
    for seed in 0..60 {
        let mut dice = Dice::new(seed * 977 + 5);
        let mut device = Device::new();
        device.payload_max = 300 + dice.below(1200) as usize;
        let reliable = dice.below(2) == 0;
        let mut ingest = Ingest::new(Config {
            ssrc: Some(SSRC),
            any_ssrc: false,
            reliable,
            ..Config::default()
        });
        let mut seen = Seen::default();
        let mut now = device.start;
        for _ in 0..12 {
            let mut packets = device.picture();
            packets.extend(device.sound());
            for packet in &mut packets {
                match dice.below(40) {
                    0 => continue,
                    1 => {
                        let at = dice.below(packet.len() as u64) as usize;
                        packet[at] = dice.below(256) as u8;
                    }
                    2 => packet.truncate(dice.below(packet.len() as u64) as usize),
                    3 => {
                        let at = 12 + dice.below(8) as usize;
                        packet.splice(at..at, [0, 0, 1, 0xb9 + dice.below(71) as u8]);
                    }
                    4 => ingest.push(now, &packet.clone(), &mut seen),
                    _ => {}
                }
                now += Duration::from_micros(dice.below(3000));
                ingest.push(now, packet, &mut seen);
                ingest.handle_timeout(now, &mut seen);
            }
        }
        ingest.finish(&mut seen);
        for frame in &seen.pictures {
            let walked: usize = nals(&frame.payload).map(|n| n.len() + 4).sum();
            assert_eq!(walked, frame.payload.len(), "lengths cover the payload");
        }
    }
}

#[test]
fn a_receiver_report_counts_what_is_missing() {
    let mut device = Device::new();
    let mut ingest = Ingest::new(config());
    let mut seen = Seen::default();
    let mut out = Vec::new();
    assert!(!ingest.receiver_report(device.start, Ssrc(1), &mut out));
    let packets = device.picture();
    let kept: Vec<_> = packets
        .iter()
        .enumerate()
        .filter(|(n, _)| n % 4 != 2)
        .map(|(_, p)| p.clone())
        .collect();
    push_all(&mut ingest, device.start, &kept, &mut seen);
    ingest.finish(&mut seen);
    assert!(ingest.receiver_report(device.start, Ssrc(1), &mut out));
    let Some(Ok(rtcp::Packet::ReceiverReport { blocks, .. })) = rtcp::Packets::new(&out).next()
    else {
        panic!("a receiver report");
    };
    let block = blocks.iter().next().expect("one block");
    assert_eq!(block.ssrc, SSRC.0);
    assert_eq!(block.lost as usize, packets.len() - kept.len());
    assert!((55..75).contains(&block.fraction_lost), "a quarter of 256");
    assert_eq!(block.highest_sequence, 65_000 + packets.len() as u32 - 1);
}
