//! What real devices get wrong in their payloads. The number in a test's name is the line of the field reports.

use super::*;
use crate::media::codec::g726::{G726, Packing};
use crate::media::ps::write_time;

const PACK: [u8; 14] = [0, 0, 1, 0xba, 0x44, 0, 4, 0, 4, 1, 0, 0x10, 3, 0xf8];

/// A PES with a time. `length`: what its length field says instead of the truth.
fn pes(id: u8, pts: u64, body: &[u8], length: Option<u16>) -> Vec<u8> {
    let length = length.unwrap_or(body.len() as u16 + 8);
    let mut out = vec![0, 0, 1, id];
    out.extend(length.to_be_bytes());
    out.extend([0x80, 0x80, 5]);
    out.extend(write_time(2, pts));
    out.extend(body);
    out
}

/// A map of picture and sound types.
fn map(entries: &[(u8, u8)]) -> Vec<u8> {
    let len = entries.len() as u16 * 4;
    let mut out = vec![0, 0, 1, 0xbc];
    out.extend((len + 10).to_be_bytes());
    out.extend([0xe1, 0xff, 0, 0]);
    out.extend(len.to_be_bytes());
    for (stream_type, id) in entries {
        out.extend([*stream_type, *id, 0, 0]);
    }
    out.extend([1, 2, 3, 4]);
    out
}

fn nal(head: &[u8], len: usize) -> Vec<u8> {
    let mut out = vec![0, 0, 0, 1];
    out.extend(head);
    out.extend((0..len).map(|n| (n % 251) as u8 + 1));
    out
}

fn sets() -> Vec<u8> {
    [&[0, 0, 0, 1][..], &SPS[..25], &[0, 0, 0, 1], &PPS].concat()
}

fn key() -> Vec<u8> {
    [sets(), nal(&[0x65, 0x88], 3000)].concat()
}

/// Sends program stream pieces, each as the packets of one time.
struct Sender {
    writer: rtp::Writer,
    ingest: Ingest,
    seen: Seen,
    now: Instant,
    ticks: u64,
}

impl Sender {
    fn new() -> Sender {
        Sender {
            writer: rtp::Writer::new(SSRC, 96, 0),
            ingest: Ingest::new(config()),
            seen: Seen::default(),
            now: Instant::now(),
            ticks: 0,
        }
    }

    fn send(&mut self, ps: &[u8]) {
        let (ingest, seen, now) = (&mut self.ingest, &mut self.seen, self.now);
        self.writer.write(ps, self.ticks as u32, 1400, &mut |p| {
            ingest.push(now, p, seen);
        });
        self.ticks += 3600;
        self.now += Duration::from_millis(40);
    }

    /// A picture in one PES behind a pack header.
    fn picture(&mut self, body: &[u8]) {
        let pts = self.ticks;
        self.send(&[&PACK[..], &pes(0xe0, pts, body, None)].concat());
    }

    fn sizes(&self) -> Vec<usize> {
        let len = |f: &Frame| nals(&f.payload).map(<[u8]>::len).sum();
        self.seen.pictures.iter().map(len).collect()
    }
}

#[test]
fn field_13_private_pes_with_start_codes_swallows_nothing() {
    let mut sender = Sender::new();
    for _ in 0..4 {
        // Its content looks like NAL units, a pack header and the start of a picture's PES.
        let inside = [&nal(&[0x65], 30)[..], &PACK, &[0, 0, 1, 0xe0, 0, 0]].concat();
        let private = pes(0xbd, sender.ticks, &inside, None);
        let picture = pes(0xe0, sender.ticks, &key(), None);
        sender.send(&[&PACK[..], &private, &picture, &private].concat());
    }
    assert_eq!(sender.sizes(), [3002; 4]);
    assert!(sender.seen.pictures.iter().all(|f| f.key && !f.damaged));
    assert_eq!(sender.ingest.stats(sender.now).ps_errors, 0);
}

#[test]
fn field_14_a_map_that_is_wrong_or_not_there_does_not_hide_the_picture() {
    let good = map(&[(0x1b, 0xe0)]);
    let mut wrong_info = good.clone();
    wrong_info[8] = 0x0f;
    let mut wrong_length = good.clone();
    wrong_length[11] = 200;
    let wrong_codec = map(&[(0x24, 0xe0)]);
    let wrong_id = map(&[(0x1b, 0xe5)]);
    for (name, map) in [
        ("none", Vec::new()),
        ("info length", wrong_info),
        ("map length", wrong_length),
        ("H.265 said, H.264 sent", wrong_codec),
        ("good", good),
    ] {
        let mut sender = Sender::new();
        for _ in 0..3 {
            let picture = pes(0xe0, sender.ticks, &key(), None);
            sender.send(&[&PACK[..], &map, &picture].concat());
        }
        assert_eq!(sender.sizes(), [3002; 3], "{name}");
        assert_eq!(sender.seen.tracks[0].codec, Codec::H264, "{name}");
    }
    // A map that names another picture than the one that comes hides nothing for long either: there is no other.
    let mut sender = Sender::new();
    for _ in 0..3 {
        let picture = pes(0xe5, sender.ticks, &key(), None);
        sender.send(&[&PACK[..], &wrong_id, &picture].concat());
    }
    assert_eq!(sender.sizes(), [3002; 3]);
}

#[test]
fn field_16_stream_types_of_sound_are_known() {
    let sound_of = |stream_type: u8, bytes: usize| {
        let mut sender = Sender::new();
        for _ in 0..40 {
            let map = map(&[(0x1b, 0xe0), (stream_type, 0xc0)]);
            let picture = pes(0xe0, sender.ticks, &key(), None);
            let sound = pes(0xc0, sender.ticks, &vec![0xd5; bytes], None);
            sender.send(&[&PACK[..], &map, &picture, &sound].concat());
        }
        assert_eq!(sender.seen.pictures.len(), 40, "{stream_type:#x}");
        let audio = sender.seen.tracks.iter().find(|t| t.id == TrackId::Audio);
        let unsupported = sender.seen.facts.iter().find_map(|f| match f {
            Fact::UnsupportedAudio { stream_type } => crate::media::ps::name(*stream_type),
            _ => None,
        });
        (audio.map(|t| t.codec), unsupported)
    };
    // 40 ms at 64 kbit/s are 320 bytes.
    assert_eq!(sound_of(0x90, 320), (Some(Codec::G711A), None));
    assert_eq!(sound_of(0x91, 320), (Some(Codec::G711U), None));
    assert_eq!(sound_of(0x92, 160), (None, Some("G.722.1")));
    assert_eq!(sound_of(0x93, 48), (None, Some("G.723.1")));
    assert_eq!(sound_of(0x99, 40), (None, Some("G.729")));
    assert_eq!(sound_of(0x9b, 320), (None, Some("SVAC audio")));
    // What the type does not tell, the rate does.
    assert_eq!(sound_of(0x92, 320), (Some(Codec::G722), None));
    for (kbit, bytes) in [(16, 80), (24, 120), (32, 160), (40, 200)] {
        let want = G726::new(kbit, Packing::Rfc3551).map(Codec::G726);
        assert_eq!(sound_of(0x96, bytes), (want, None), "{kbit} kbit/s");
    }
}

#[test]
fn field_16_svac_pictures_are_named() {
    let mut sender = Sender::new();
    let picture = pes(0xe0, 0, &nal(&[0x17], 100), None);
    sender.send(&[&PACK[..], &map(&[(0x80, 0xe0)]), &picture].concat());
    let svac = Fact::UnsupportedVideo { stream_type: 0x80 };
    assert!(sender.seen.facts.contains(&svac));
    assert_eq!(crate::media::ps::name(0x80), Some("SVAC video"));
}

#[test]
fn field_17_a_declared_sound_that_never_comes_holds_nothing_back() {
    let mut sender = Sender::new();
    for _ in 0..5 {
        let picture = pes(0xe0, sender.ticks, &key(), None);
        let map = map(&[(0x1b, 0xe0), (0x0f, 0xc0)]);
        sender.send(&[&PACK[..], &map, &picture].concat());
    }
    assert_eq!(sender.seen.pictures.len(), 5);
    assert_eq!(
        sender.seen.tracks.len(),
        1,
        "no track for sound that is not there"
    );
    assert_eq!(sender.ingest.has_picture(), Some(true));
}

#[test]
fn field_20_parameter_sets_before_every_picture_are_no_pictures() {
    let mut sender = Sender::new();
    sender.picture(&key());
    for n in 0..6 {
        sender.picture(&[sets(), nal(&[0x41, 0x9a], 500 + n)].concat());
    }
    let want: Vec<usize> = [3002].into_iter().chain((0..6).map(|n| 502 + n)).collect();
    assert_eq!(sender.sizes(), want);
    assert_eq!(
        sender.seen.tracks.len(),
        1,
        "the same sets make no new track"
    );
    assert!(sender.seen.pictures[1..].iter().all(|f| !f.key));
}

#[test]
fn field_20_two_pictures_in_one_pes_are_two() {
    let mut sender = Sender::new();
    sender.picture(&key());
    for _ in 0..3 {
        // Two slices of one picture, then the first of the next: first_mb_in_slice is zero in `9a` and not in `40`.
        let two = [
            nal(&[0x41, 0x9a], 400),
            nal(&[0x41, 0x40], 300),
            nal(&[0x41, 0x9a], 200),
        ];
        sender.picture(&two.concat());
    }
    sender.ingest.finish(&mut sender.seen);
    assert_eq!(sender.sizes(), [3002, 704, 202, 704, 202, 704, 202]);
}

#[test]
fn field_20_pictures_without_markers_are_not_merged() {
    let mut device = Device::new();
    let mut ingest = Ingest::new(config());
    let mut seen = Seen::default();
    for _ in 0..5 {
        let mut packets = device.picture();
        clear_marker(&mut packets);
        push_all(&mut ingest, device.start, &packets, &mut seen);
    }
    ingest.finish(&mut seen);
    let got: Vec<_> = seen.pictures.iter().map(|f| f.payload.to_vec()).collect();
    assert_eq!(got, device.pictures);
}

#[test]
fn field_22_a_wrong_pes_length_costs_little() {
    for length in [0, 9, 100, 2_000, 3_500, 9_000, 65_535] {
        let mut sender = Sender::new();
        sender.picture(&key());
        let spoilt = pes(0xe0, sender.ticks, &nal(&[0x41, 0x9a], 1_000), Some(length));
        sender.send(&[&PACK[..], &spoilt].concat());
        for _ in 0..70 {
            sender.picture(&key());
        }
        let whole = sender.sizes().iter().filter(|len| **len == 3002).count();
        // A length that is far too great swallows what it says and no more.
        let swallowed = usize::from(length) / 3_000 + 2;
        assert!(whole + swallowed >= 71, "{length}: {whole} whole pictures");
        assert_eq!(sender.sizes().last(), Some(&3002), "{length}");
    }
}

#[test]
fn field_22_a_pes_without_length_ends_at_the_next_unit() {
    let mut sender = Sender::new();
    for _ in 0..4 {
        let open = pes(0xe0, sender.ticks, &key(), Some(0));
        let sound = pes(0xc0, sender.ticks, &[0xd5; 320], None);
        sender.send(&[&PACK[..], &open, &sound].concat());
    }
    sender.ingest.finish(&mut sender.seen);
    assert_eq!(sender.sizes(), [3002; 4]);
    assert!(!sender.seen.sounds.is_empty());
}

#[test]
fn field_24_after_heavy_loss_pictures_are_whole_again() {
    let mut device = Device::new();
    let mut ingest = Ingest::new(config());
    let mut seen = Seen::default();
    let mut dice = Dice::new(24);
    let mut now = device.start;
    for n in 0..60 {
        let mut packets = device.picture();
        if n < 40 {
            packets.retain(|_| dice.below(5) > 0);
        }
        push_all(&mut ingest, now, &packets, &mut seen);
        now += Duration::from_millis(100);
        ingest.handle_timeout(now, &mut seen);
    }
    let whole: Vec<_> = seen.pictures.iter().rev().take(19).collect();
    assert!(whole.iter().all(|f| !f.damaged));
    let sent: Vec<_> = device.pictures.iter().rev().take(19).collect();
    assert!(
        whole
            .iter()
            .map(|f| f.payload.to_vec())
            .eq(sent.into_iter().cloned())
    );
}

#[test]
fn field_deviation_rtp_of_another_version_is_taken_from_the_right_ssrc() {
    let mut device = Device::new();
    let mut ingest = Ingest::new(config());
    let mut seen = Seen::default();
    for _ in 0..3 {
        let mut packets = device.picture();
        for packet in &mut packets {
            packet[0] &= 0x3f;
        }
        push_all(&mut ingest, device.start, &packets, &mut seen);
    }
    assert_eq!(seen.pictures.len(), 3);
    let mut stranger = rtp::Writer::new(Ssrc(4), 96, 0);
    stranger.write(&[1; 50], 0, 100, &mut |p| {
        let mut p = p.to_vec();
        p[0] = 0x40;
        ingest.push(device.start, &p, &mut seen);
    });
    let stats = ingest.stats(device.start);
    assert_eq!((stats.invalid, stats.foreign), (1, 0));
}
