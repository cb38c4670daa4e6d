//! Payloads that are no program stream, and sources that change their mind.

use super::*;
use crate::media::ps::write_time;
use crate::media::ts;

fn body(head: &[u8], len: usize) -> Vec<u8> {
    let mut out = head.to_vec();
    out.extend((0..len).map(|n| (n % 251) as u8 + 1));
    out
}

/// Writes single packets: each payload as it is, with marker and time.
struct Packets {
    writer: rtp::Writer,
    time: u32,
    ingest: Ingest,
    seen: Seen,
    now: Instant,
}

impl Packets {
    fn new(payload_type: u8, maps: &[(u8, &str, &str)]) -> Packets {
        let mut config = config();
        for (slot, (payload_type, rtpmap, fmtp)) in config.maps.iter_mut().zip(maps) {
            *slot = RtpMap::parse(*payload_type, rtpmap, fmtp);
            assert!(slot.is_some(), "{rtpmap}");
        }
        Packets {
            writer: rtp::Writer::new(SSRC, payload_type, 65_000),
            time: 0xffff_f000,
            ingest: Ingest::new(config),
            seen: Seen::default(),
            now: Instant::now(),
        }
    }

    fn put(&mut self, payload: &[u8], marker: bool) {
        let (ingest, seen, now) = (&mut self.ingest, &mut self.seen, self.now);
        self.writer.write(payload, self.time, 65_000, &mut |p| {
            let mut p = p.to_vec();
            if !marker {
                p[1] &= 0x7f;
            }
            ingest.push(now, &p, seen);
        });
    }

    fn step(&mut self, ticks: u32, ms: u64) {
        self.time = self.time.wrapping_add(ticks);
        self.now += Duration::from_millis(ms);
    }

    /// From now on under another type, with running numbers.
    fn become_type(&mut self, payload_type: u8) {
        self.writer = rtp::Writer::new(SSRC, payload_type, self.writer.next_sequence());
    }

    /// One picture by RFC 6184: a STAP-A with the sets, then a slice in three fragments.
    fn h264(&mut self, key: bool) {
        if key {
            let mut stap = vec![0x78];
            for set in [&SPS[..25], &PPS] {
                stap.extend((set.len() as u16).to_be_bytes());
                stap.extend(set);
            }
            self.put(&stap, false);
        }
        let kind = if key { 5 } else { 1 };
        let content = body(&[0x88], 2_999);
        for (n, part) in content.chunks(1_000).enumerate() {
            let ends = [0x80, 0, 0x40][n];
            let fragment = [&[0x7c, ends | kind][..], part].concat();
            self.put(&fragment, n == 2);
        }
        self.step(3600, 40);
    }

    fn ps(&mut self) {
        let sets = [&[0, 0, 0, 1][..], &SPS[..25], &[0, 0, 0, 1], &PPS].concat();
        let picture = [sets, vec![0, 0, 0, 1], body(&[0x65, 0x88], 2_000)].concat();
        let mut ps = vec![0, 0, 1, 0xba, 0x44, 0, 4, 0, 4, 1, 0, 0x10, 3, 0xf8];
        ps.extend([0, 0, 1, 0xe0]);
        ps.extend((picture.len() as u16 + 8).to_be_bytes());
        ps.extend([0x80, 0x80, 5]);
        ps.extend(write_time(2, u64::from(self.time)));
        ps.extend(picture);
        self.put(&ps, true);
        self.step(3600, 40);
    }
}

#[test]
fn h264_without_a_container_is_recognised() {
    for maps in [&[][..], &[(98, "H264/90000", "")]] {
        let mut source = Packets::new(98, maps);
        for n in 0..20 {
            source.h264(n % 10 == 0);
        }
        assert_eq!(source.seen.pictures.len(), 20);
        assert!(
            source
                .seen
                .pictures
                .iter()
                .all(|f| !f.damaged && f.payload.len() == 3_005)
        );
        // Times go on through the wrap of the RTP time.
        let mut times = source
            .seen
            .pictures
            .windows(2)
            .map(|w| w[1].pts.0 - w[0].pts.0);
        assert!(times.all(|step| step == 3600));
        assert_eq!(source.ingest.has_picture(), Some(true));
        let stats = source.ingest.stats(source.now);
        assert_eq!((stats.time_jumps, stats.ps_errors), (0, 0));
        assert!(source.seen.facts.contains(&Fact::FirstPs));
    }
}

#[test]
fn a_lost_fragment_marks_its_picture() {
    let mut source = Packets::new(98, &[]);
    source.h264(true);
    source.h264(false);
    let content = body(&[0x88], 999);
    source.put(&[&[0x7c, 0x81][..], &content].concat(), false);
    let next = source.writer.next_sequence().wrapping_add(1);
    source.writer = rtp::Writer::new(SSRC, 98, next);
    source.put(&[&[0x7c, 0x41][..], &content].concat(), true);
    source.step(3600, 40);
    source.h264(false);
    source.now += Duration::from_secs(1);
    source.ingest.handle_timeout(source.now, &mut source.seen);
    source.h264(false);
    let damaged: Vec<bool> = source.seen.pictures.iter().map(|f| f.damaged).collect();
    assert_eq!(damaged, [false, false, true, false, false]);
}

#[test]
fn annex_b_in_packets_is_recognised() {
    let mut source = Packets::new(97, &[]);
    for _ in 0..5 {
        let mut picture = [&[0, 0, 0, 1][..], &SPS[..25], &[0, 0, 0, 1], &PPS].concat();
        picture.extend([0, 0, 0, 1]);
        picture.extend(body(&[0x65, 0x88], 3_000));
        let parts: Vec<&[u8]> = picture.chunks(1_000).collect();
        for (n, part) in parts.iter().enumerate() {
            source.put(part, n + 1 == parts.len());
        }
        source.step(3600, 40);
    }
    assert_eq!(source.seen.pictures.len(), 5);
    assert!(
        source
            .seen
            .pictures
            .iter()
            .all(|f| f.key && f.payload.len() == 3_006)
    );
}

#[test]
fn a_transport_stream_is_recognised_whatever_the_size_of_its_packets() {
    for packet_bytes in [188, 7 * 188, 1_300] {
        let mut source = Packets::new(33, &[]);
        let mut counter = 0u8;
        for n in 0..12u64 {
            let mut pes = vec![0, 0, 1, 0xe0, 0, 0, 0x80, 0x80, 5];
            pes.extend(write_time(2, n * 3600));
            for nal in [&SPS[..25], &PPS, &body(&[0x65, 0x88], 2_000)] {
                pes.extend([0, 0, 0, 1]);
                pes.extend(nal);
            }
            pes.resize(pes.len().next_multiple_of(184), 0);
            let mut out = Vec::new();
            for (at, part) in pes.chunks(184).enumerate() {
                let start = if at == 0 { 0x41 } else { 1 };
                out.extend([ts::SYNC, start, 0, 0x10 | counter]);
                counter = (counter + 1) & 15;
                out.extend(part);
            }
            for part in out.chunks(packet_bytes) {
                source.put(part, false);
            }
            source.step(3600, 40);
        }
        // The first packets decide, and the last picture is open.
        assert!(
            source.seen.pictures.len() >= 10,
            "{}",
            source.seen.pictures.len()
        );
        assert!(
            source
                .seen
                .pictures
                .iter()
                .skip(1)
                .all(|f| !f.damaged && f.payload.len() == 2_006)
        );
        assert_eq!(source.ingest.stats(source.now).ps_errors, 0);
    }
}

#[test]
fn a_source_that_changes_its_payload_is_decided_anew() {
    // H.264, then a program stream in the same type, and back.
    let mut source = Packets::new(96, &[]);
    source.h264(true);
    source.h264(false);
    for _ in 0..5 {
        source.ps();
    }
    let by_ps = source.seen.pictures.len();
    assert_eq!(by_ps, 7);
    for n in 0..40 {
        source.h264(n % 10 == 0);
    }
    let sizes: Vec<usize> = source
        .seen
        .pictures
        .iter()
        .map(|f| f.payload.len())
        .collect();
    assert_eq!(&sizes[..2], [3_005; 2]);
    assert_eq!(&sizes[2..7], [2_006; 5]);
    let again = sizes.iter().rev().take_while(|len| **len == 3_005).count();
    assert!(again >= 20, "{sizes:?}");
    assert!(
        source
            .seen
            .pictures
            .iter()
            .rev()
            .take(again - 1)
            .all(|f| !f.damaged)
    );
}

#[test]
fn a_program_stream_may_change_its_type() {
    let mut source = Packets::new(96, &[]);
    source.ps();
    source.become_type(98);
    source.ps();
    source.become_type(8);
    source.ps();
    assert_eq!(source.seen.pictures.len(), 3);
    assert!(source.seen.sounds.is_empty());
}

#[test]
fn a_declaration_is_not_believed_against_the_bytes() {
    let mut source = Packets::new(96, &[(96, "H264/90000", "")]);
    for _ in 0..3 {
        source.ps();
    }
    assert_eq!(source.seen.pictures.len(), 3);
    let mut source = Packets::new(96, &[(96, "PS/90000", "")]);
    for n in 0..40 {
        source.h264(n % 5 == 0);
    }
    assert!(
        source.seen.pictures.len() >= 25,
        "{}",
        source.seen.pictures.len()
    );
}

#[test]
fn sound_alone_is_known_by_its_type_or_its_declaration() {
    use crate::media::codec::g726::G726;
    for (payload_type, maps, bytes, ticks, codec) in [
        (8, &[][..], 160, 160, Codec::G711A),
        (0, &[], 160, 160, Codec::G711U),
        (9, &[], 160, 160, Codec::G722),
        (
            97,
            &[(97, "G726-32/8000", "")],
            80,
            160,
            Codec::G726(G726::USUAL),
        ),
        (97, &[(97, "PCMA/8000", "")], 160, 160, Codec::G711A),
        // A device whose sound runs at the clock of the picture.
        (8, &[], 160, 1_800, Codec::G711A),
    ] {
        let mut source = Packets::new(payload_type, maps);
        for _ in 0..20 {
            source.put(&vec![0xd5; bytes], false);
            source.step(ticks, 20);
        }
        assert_eq!(source.seen.tracks[0].codec, codec);
        assert!(source.seen.sounds.len() >= 18, "{codec:?}");
        let mut last = source.seen.sounds.windows(2).skip(2);
        assert!(last.all(|w| w[1].dts.0 - w[0].dts.0 == 1_800), "{codec:?}");
    }
}

#[test]
fn aac_by_rfc_3640_and_adts_is_taken() {
    let fmtp = "mode=AAC-hbr;sizelength=13;indexlength=3;indexdeltalength=3;config=1408";
    let mut source = Packets::new(97, &[(97, "MPEG4-GENERIC/16000/1", fmtp)]);
    for n in 0..10u8 {
        let packet = [&[0, 16, 3, 0x20][..], &[n | 0x40; 100]].concat();
        source.put(&packet, true);
        source.step(1_024, 64);
    }
    assert_eq!(source.seen.sounds.len(), 10);
    assert_eq!(source.seen.sounds[3].payload, vec![0x43; 100]);
    let audio = source.seen.tracks[0].audio().expect("sound");
    assert_eq!(
        (audio.sample_rate, &audio.config[..]),
        (16_000, &[0x14, 8][..])
    );
    assert_eq!(
        source.seen.sounds[9].dts.0 - source.seen.sounds[0].dts.0,
        9 * 5_760
    );

    let mut source = Packets::new(97, &[]);
    for _ in 0..10 {
        let header = crate::media::codec::aac::adts_header(&[0x14, 8], 100).expect("fits");
        source.put(&[&header[..], &[0x41; 100]].concat(), true);
        source.step(5_760, 64);
    }
    assert!(
        source.seen.sounds.len() >= 4,
        "{}",
        source.seen.sounds.len()
    );
    assert_eq!(source.seen.sounds[0].payload, vec![0x41; 100]);
}

/// What a device's answer says of its sound is believed; what it says against the bytes is not, whenever it says so.
#[test]
fn a_hint_helps_and_never_harms() {
    let hinted = |source: &mut Packets, payload_type, rtpmap, fmtp| {
        let mut hints = RtpMaps::default();
        hints[0] = RtpMap::parse(payload_type, rtpmap, fmtp);
        assert!(hints[0].is_some(), "{rtpmap}");
        source.ingest.set_hints(hints);
    };
    let fmtp = "mode=AAC-hbr;sizelength=13;indexlength=3;indexdeltalength=3;config=1408";
    let aac = [&[0, 16, 3, 0x20][..], &[0x41; 100]].concat();
    // The answer comes before the first packet, or after it.
    for early in [true, false] {
        let mut source = Packets::new(97, &[]);
        for n in 0..10 {
            if n == u8::from(!early) {
                hinted(&mut source, 97, "MPEG4-GENERIC/16000/1", fmtp);
            }
            source.put(&aac, true);
            source.step(1_024, 64);
        }
        let sounds = &source.seen.sounds;
        assert!(sounds.len() >= 8, "{}", sounds.len());
        assert_eq!(sounds[0].payload, vec![0x41; 100]);
        let steps = sounds.windows(2).map(|w| w[1].dts.0 - w[0].dts.0);
        assert!(steps.skip(1).all(|step| step == 5_760));
    }
    // Beside a picture every packet counts.
    let mut source = Packets::new(96, &[]);
    hinted(&mut source, 104, "G726-32/8000", "");
    source.ps();
    for _ in 0..5 {
        source.become_type(104);
        source.put(&[0x55; 160], true);
        source.become_type(96);
        source.ps();
    }
    assert_eq!(source.seen.sounds.len(), 5);
    assert_eq!(source.seen.pictures.len(), 6);
    // Nonsense: a sound where the picture comes.
    for rtpmap in ["PCMA/8000", "G7221/16000"] {
        let mut source = Packets::new(96, &[]);
        hinted(&mut source, 96, rtpmap, "");
        (0..3).for_each(|_| source.ps());
        assert_eq!(source.seen.pictures.len(), 3, "{rtpmap}");
        let mut source = Packets::new(96, &[]);
        hinted(&mut source, 96, rtpmap, "");
        (0..20).for_each(|n| source.h264(n % 5 == 0));
        assert!(source.seen.pictures.len() >= 15, "{rtpmap}");
        assert!(source.seen.sounds.is_empty(), "{rtpmap}");
    }
}

#[test]
fn the_private_byte_before_the_program_stream_is_taken_away() {
    let mut source = Packets::new(96, &[]);
    let mut device = Device::new();
    for _ in 0..3 {
        for packet in device.picture() {
            let packet = Packet::parse(&packet).expect("ours");
            let payload = [&[0x0d][..], packet.payload()].concat();
            source.put(&payload, packet.marker());
        }
        source.step(3600, 40);
    }
    let got: Vec<_> = source
        .seen
        .pictures
        .iter()
        .map(|f| f.payload.to_vec())
        .collect();
    assert_eq!(got, device.pictures);
}

#[test]
fn what_is_declared_and_not_supported_is_named() {
    let mut source = Packets::new(99, &[(99, "SVAC/90000", "")]);
    source.put(&[1, 2, 3], true);
    assert!(
        source
            .seen
            .facts
            .contains(&Fact::UnsupportedVideo { stream_type: 0x80 })
    );
    // G.722.1 under the payload type of G.722.
    let mut source = Packets::new(9, &[]);
    for _ in 0..10 {
        source.put(&[0x55; 60], true);
        source.step(320, 20);
    }
    assert!(
        source
            .seen
            .facts
            .contains(&Fact::UnsupportedAudio { stream_type: 0x92 })
    );
    let mut source = Packets::new(18, &[]);
    for _ in 0..5 {
        source.put(&[0x55; 20], true);
    }
    assert!(
        source
            .seen
            .facts
            .contains(&Fact::UnsupportedAudio { stream_type: 0x99 })
    );
}

#[test]
fn payload_types_have_a_bound() {
    let mut source = Packets::new(96, &[]);
    source.ps();
    for n in 0..3 * limits::PAYLOAD_TYPES_MAX as u8 {
        source.become_type(100 + n);
        source.put(&[0x9c, 1, 2, 3], true);
        source.step(3600, 40);
    }
    source.become_type(96);
    source.ps();
    source.ps();
    source.ingest.finish(&mut source.seen);
    assert_eq!(source.seen.pictures.len(), 3);
}
