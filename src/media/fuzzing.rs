//! Bodies of the fuzz targets `rtp`, `rtcp`, `ps_demux`, `h264` and `h265`: any bytes in, invariants asserted.
//!
//! They lie in the library so that a usual build checks them. Not for other use.

use std::time::{Duration, Instant};

use super::codec::{annexb, h264, h265};
use super::frame::{TrackId, nals};
use super::ingest::{Config, Ingest, Output};
use super::ps::StreamMap;
use super::ps::demux::{Demux, Error, Pes, Sink};
use super::rfc4571::Framer;
use super::rtcp;
use super::rtp::{self, Packet};
use crate::id::Ssrc;

/// One packet is read, then the bytes as a TCP connection and as a stream of packets go through a whole ingest.
pub fn rtp(data: &[u8]) {
    if let Ok(packet) = Packet::parse(data) {
        assert!(packet.payload().len() + rtp::HEADER_BYTES <= data.len());
        assert_eq!(rtp::peek_ssrc(data).is_some(), !data.is_empty());
    }
    let now = Instant::now();
    let mut whole = Vec::new();
    let _ = Framer::new().push(data, &mut |p| whole.push(p.to_vec()));
    let mut pieces = Vec::new();
    let mut framer = Framer::new();
    for piece in data.chunks(3) {
        if framer
            .push(piece, &mut |p| pieces.push(p.to_vec()))
            .is_err()
        {
            break;
        }
    }
    assert_eq!(whole, pieces, "framing does not depend on the reads");
    for reliable in [false, true] {
        let mut ingest = Ingest::new(Config {
            ssrc: None,
            any_ssrc: false,
            reliable,
        });
        let mut check = Checked::default();
        for (n, packet) in data
            .chunks(64)
            .chain(whole.iter().map(Vec::as_slice))
            .enumerate()
        {
            let at = now + Duration::from_millis(n as u64 * 7);
            ingest.push(at, packet, &mut |o| check.put(o));
            ingest.handle_timeout(at, &mut |o| check.put(o));
            if !reliable {
                assert!(ingest.next_deadline().is_none_or(|deadline| deadline > at));
            }
        }
        ingest.finish(&mut |o| check.put(o));
    }
}

/// What is read of a compound and can be written reads the same again.
pub fn rtcp(data: &[u8]) {
    let mut walked = 0;
    for packet in rtcp::Packets::new(data) {
        let Ok(packet) = packet else {
            continue;
        };
        walked += 4;
        assert!(walked <= data.len());
        let mut out = Vec::new();
        match packet {
            rtcp::Packet::SenderReport { ssrc, info, .. } => {
                rtcp::write_sender_report(ssrc, &info, &mut out);
                let again = rtcp::Packets::new(&out).next();
                assert!(matches!(
                    again,
                    Some(Ok(rtcp::Packet::SenderReport { ssrc: s, info: i, .. })) if (s, i) == (ssrc, info)
                ));
            }
            rtcp::Packet::ReceiverReport { ssrc, blocks } => {
                for block in blocks.iter() {
                    out.clear();
                    rtcp::write_receiver_report(ssrc, &block, &mut out);
                    let Some(Ok(rtcp::Packet::ReceiverReport { blocks, .. })) =
                        rtcp::Packets::new(&out).next()
                    else {
                        panic!("what was written is not read");
                    };
                    assert_eq!(blocks.iter().next(), Some(block));
                }
            }
            rtcp::Packet::SourceDescription { .. }
            | rtcp::Packet::Goodbye { .. }
            | rtcp::Packet::Other { .. } => {}
        }
    }
}

/// The cut of the input does not change what is found; payload follows its header and keeps to its length. The first
/// byte chooses the size of the pieces.
pub fn ps_demux(data: &[u8]) {
    let Some((size, data)) = data.split_first() else {
        return;
    };
    let mut whole = Found::default();
    Demux::new().push(data, &mut whole);
    let mut pieces = Found::default();
    let mut demux = Demux::new();
    for piece in data.chunks(usize::from(*size).max(1)) {
        demux.push(piece, &mut pieces);
    }
    assert_eq!(whole, pieces);
    // Loss at any place leaves it working.
    let mut lossy = Demux::new();
    let mut found = Found::default();
    for (n, piece) in data.chunks(usize::from(*size).max(1)).enumerate() {
        match n % 5 {
            1 => lossy.lose(true),
            3 => lossy.lose(false),
            _ => lossy.push(piece, &mut found),
        }
    }
    stream(data, *size);
}

/// Parameter sets, and the bytes as an H.264 stream.
pub fn h264(data: &[u8]) {
    if let Some(sps) = h264::Sps::parse(data) {
        assert!((1..=16_384).contains(&sps.width) && (1..=16_384).contains(&sps.height));
    }
    let _ = (h264::pps_id(data), h264::nal(data));
    for nal in annexb::nals(data) {
        assert!(!nal.is_empty() && !nal.ends_with(&[0]));
        assert_eq!(annexb::find_start_code(nal), None);
    }
    let sets: [&[u8]; 2] = [
        &[0x67, 0x42, 0xc0, 0x1e, 0xd9, 0x00, 0xa0, 0x47, 0xfe, 0xc8],
        &[0x68, 0xce, 0x3c, 0x80],
    ];
    elementary(&sets, data);
}

/// Parameter sets, and the bytes as an H.265 stream.
pub fn h265(data: &[u8]) {
    if let Some(sps) = h265::Sps::parse(data) {
        assert!((1..=16_384).contains(&sps.width) && (1..=16_384).contains(&sps.height));
        assert!(sps.bit_depth_luma <= 16 && sps.chroma_format <= 3);
    }
    let _ = (h265::pps_id(data), h265::nal(data));
    let sets: [&[u8]; 1] = [&[0x40, 0x01, 0x0c, 0x01]];
    elementary(&sets, data);
}

/// The bytes, behind parameter sets, as the picture of a program stream.
fn elementary(sets: &[&[u8]], data: &[u8]) {
    let mut ps = vec![0, 0, 1, 0xe0, 0, 0, 0x80, 0, 0];
    for nal in sets.iter().copied().chain([data]) {
        ps.extend([0, 0, 1]);
        ps.extend(nal);
    }
    stream(&ps, 50);
}

/// A program stream through a whole ingest, with a marker now and then.
fn stream(ps: &[u8], size: u8) {
    let mut ingest = Ingest::new(Config::default());
    let mut check = Checked::default();
    let mut writer = rtp::Writer::new(Ssrc(1), 96, 0);
    let now = Instant::now();
    let size = usize::from(size).max(16);
    for (n, part) in ps.chunks(size * 3).enumerate() {
        writer.write(part, n as u32 * 3600, size, &mut |p| {
            ingest.push(now, p, &mut |o| check.put(o));
        });
    }
    ingest.finish(&mut |o| check.put(o));
    assert_eq!(ingest.stats(now).lost, 0);
}

/// What must hold of everything that an ingest gives out.
#[derive(Default)]
struct Checked {
    video: Option<i64>,
    audio: Option<i64>,
    known: [bool; 2],
}

impl Checked {
    fn put(&mut self, output: Output) {
        match output {
            Output::Track(track) => self.known[usize::from(track.id == TrackId::Audio)] = true,
            Output::Fact(_) => {}
            Output::Frame(frame) => {
                assert!(self.known[usize::from(frame.track == TrackId::Audio)]);
                assert!(frame.pts >= frame.dts && frame.dts.0 >= 0);
                let last = match frame.track {
                    TrackId::Video => &mut self.video,
                    TrackId::Audio => &mut self.audio,
                };
                assert!(last.is_none_or(|last| frame.dts.0 > last));
                *last = Some(frame.dts.0);
                if frame.track == TrackId::Video {
                    let walked: usize = nals(&frame.payload).map(|n| n.len() + 4).sum();
                    assert_eq!(walked, frame.payload.len());
                    assert!(walked > 4);
                }
            }
        }
    }
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Found {
    maps: Vec<StreamMap>,
    pes: Vec<(Pes, Vec<u8>, bool)>,
    errors: Vec<Error>,
}

impl Sink for Found {
    fn map(&mut self, map: &StreamMap) {
        self.maps.push(map.clone());
    }

    fn pes(&mut self, pes: Pes) {
        self.pes.push((pes, Vec::new(), false));
    }

    fn payload(&mut self, stream_id: u8, bytes: &[u8]) {
        let last = self.pes.last_mut().expect("payload follows a header");
        assert_eq!(last.0.stream_id, stream_id);
        assert!(!bytes.is_empty());
        last.1.extend_from_slice(bytes);
    }

    fn pes_end(&mut self, stream_id: u8) {
        let last = self.pes.last_mut().expect("an end follows a header");
        assert_eq!(last.0.stream_id, stream_id);
        last.2 = true;
    }

    fn error(&mut self, error: Error) {
        self.errors.push(error);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every target over noise, over damaged program streams and over what is nearly right.
    #[test]
    fn the_targets_hold_on_noise() {
        let mut seed = 0x9e37_79b9_7f4a_7c15u64;
        let mut roll = || {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            seed
        };
        let pieces: [&[u8]; 12] = [
            &[0, 0, 1, 0xba, 0x44, 0, 4, 0, 4, 1, 0, 0x10, 3, 0xf8],
            &[0, 0, 1, 0xe0, 0, 20, 0x80, 0x80, 5, 0x21, 0, 1, 0, 1],
            &[0, 0, 1, 0xe0, 0, 0, 0x80, 0, 0],
            &[
                0, 0, 1, 0xc0, 0, 11, 0x80, 0, 0, 0xff, 0xf1, 0x50, 0x80, 1, 0x5f, 0xfc, 1,
            ],
            &[
                0, 0, 1, 0xbc, 0, 10, 0xe1, 0xff, 0, 0, 0, 4, 0x1b, 0xe0, 0, 0,
            ],
            &[
                0, 0, 1, 0x67, 0x42, 0xc0, 0x1e, 0xd9, 0x00, 0xa0, 0x47, 0xfe, 0xc8,
            ],
            &[0, 0, 1, 0x68, 0xce, 0x3c, 0x80],
            &[0, 0, 0, 1, 0x65, 0x88, 0x84],
            &[0, 0, 1, 0x41, 0x9a, 9],
            &[0, 0, 1, 0x40, 1, 0, 0, 1, 0x42, 1, 1],
            &[0x80, 0xe0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1],
            &[0, 0],
        ];
        for _ in 0..20_000 {
            let mut data = vec![roll() as u8];
            for _ in 0..roll() % 20 {
                if roll() % 4 == 0 {
                    data.extend((0..roll() % 12).map(|n| (n * 37) as u8));
                } else {
                    data.extend(pieces[(roll() % 12) as usize]);
                }
            }
            if roll() % 2 == 0 {
                let at = (roll() % data.len() as u64) as usize;
                data[at] = roll() as u8;
            }
            rtp(&data);
            rtp(&data[1..]);
            rtcp(&data);
            ps_demux(&data);
            h264(&data);
            h265(&data);
        }
    }
}
