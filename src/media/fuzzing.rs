//! Bodies of the fuzz targets `rtp`, `rtcp`, `ps_demux`, `ts_demux`, `payload`, `h264` and `h265`: any bytes in, invariants asserted.
//!
//! They lie in the library so that a usual build checks them. Not for other use.

use std::time::{Duration, Instant};

use super::codec::g726::{G726, Packing};
use super::codec::{annexb, h264, h265};
use super::frame::{TrackId, nals};
use super::ingest::{Config, Ingest, Kind, Output, RtpMap};
use super::ps::StreamMap;
use super::ps::demux::{Demux, Error, Pes, Sink};
use super::rfc4571::Framer;
use super::rtcp;
use super::rtp::{self, Packet};
use super::{transcode, ts};
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
            reliable,
            ..Config::default()
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

/// No more payload comes out than went in, behind a header of its stream; a loss anywhere leaves it working. The first byte
/// chooses the size of the pieces.
pub fn ts_demux(data: &[u8]) {
    let Some((size, data)) = data.split_first() else {
        return;
    };
    let size = usize::from(*size).max(1);
    for lossy in [false, true] {
        let mut demux = ts::Demux::new();
        let mut found = Streams::default();
        for (n, piece) in data.chunks(size).enumerate() {
            if lossy && n % 5 == 3 {
                demux.lose();
            } else {
                demux.push(piece, &mut found);
            }
        }
        assert!(found.payload_bytes <= data.len());
        assert!(demux.packets() as usize <= data.len() / ts::PACKET_BYTES);
    }
    let map = RtpMap {
        payload_type: 33,
        kind: Kind::Ts,
        clock_hz: 90_000,
    };
    packets(data, size, 33, Some(map));
}

/// Packets of any content and length under any payload type, declared or not, and an rtpmap of the same bytes.
pub fn payload(data: &[u8]) {
    let [size, payload_type, declared, data @ ..] = data else {
        return;
    };
    let names = [
        "PS/90000",
        "MP2T/90000",
        "H264/90000",
        "H265/90000",
        "PCMA/8000",
        "G722/8000",
        "AAL2-G726-24/8000",
        "G729/8000",
    ];
    let payload_type = payload_type & 0x7f;
    let fmtp = "cpresent=0;config=400028103FC0";
    let map = match usize::from(*declared) {
        n if n < names.len() => RtpMap::parse(payload_type, names[n], ""),
        8 => RtpMap::parse(payload_type, "MPEG4-GENERIC/16000", "config=1408"),
        9 => RtpMap::parse(payload_type, "MP4A-LATM/16000", fmtp),
        _ => None,
    };
    packets(data, usize::from(*size).max(1), payload_type, map);
    if let Ok(text) = std::str::from_utf8(data) {
        let (rtpmap, fmtp) = text.split_once('\n').unwrap_or((text, ""));
        if let Some(map) = RtpMap::parse(96, rtpmap, fmtp) {
            assert!(map.clock_hz > 0);
        }
    }
    let mut wide = transcode::g722::Decoder::new();
    for byte in data {
        let _ = wide.decode(*byte);
    }
    for (kbit, packing) in [
        (16, Packing::Aal2),
        (24, Packing::Rfc3551),
        (32, Packing::Aal2),
        (40, Packing::Rfc3551),
    ] {
        let which = G726::new(kbit, packing).expect("one of the four");
        let mut decoder = transcode::g726::Decoder::new(which);
        let mut samples = 0;
        for byte in data {
            decoder.decode(*byte, &mut |_| samples += 1);
        }
        assert_eq!(samples, data.len() * 8 / usize::from(which.bits()));
    }
}

/// Chunks as the payloads of packets: each third has the marker, and every eleventh is missing.
fn packets(data: &[u8], size: usize, payload_type: u8, map: Option<RtpMap>) {
    let mut config = Config::default();
    config.maps[0] = map;
    let mut ingest = Ingest::new(config);
    let mut check = Checked::default();
    let now = Instant::now();
    for (n, part) in data.chunks(size).enumerate() {
        if n % 11 == 10 {
            continue;
        }
        let at = now + Duration::from_millis(n as u64 * 13);
        let mut packet = vec![0x80, payload_type, (n >> 8) as u8, n as u8];
        packet[1] |= if n % 3 == 2 { 0x80 } else { 0 };
        packet.extend((n as u32 / 3 * 3600).to_be_bytes());
        packet.extend([0, 0, 0, 9]);
        packet.extend_from_slice(part);
        ingest.push(at, &packet, &mut |o| check.put(o));
        ingest.handle_timeout(at, &mut |o| check.put(o));
    }
    ingest.finish(&mut |o| check.put(o));
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
    holes: Vec<u8>,
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

    fn hole(&mut self, stream_id: u8) {
        self.holes.push(stream_id);
    }

    fn error(&mut self, error: Error) {
        self.errors.push(error);
    }
}

/// What must hold of everything that comes out of a transport stream.
#[derive(Default)]
struct Streams {
    open: [bool; 2],
    payload_bytes: usize,
}

impl Streams {
    fn open(&mut self, stream_id: u8) -> &mut bool {
        assert!(matches!(stream_id, 0xe0 | 0xc0));
        &mut self.open[usize::from(stream_id == 0xc0)]
    }
}

impl Sink for Streams {
    fn map(&mut self, map: &StreamMap) {
        assert!(map.entries.len() <= 2);
    }

    fn pes(&mut self, pes: Pes) {
        *self.open(pes.stream_id) = true;
    }

    fn payload(&mut self, stream_id: u8, bytes: &[u8]) {
        assert!(*self.open(stream_id) && !bytes.is_empty());
        self.payload_bytes += bytes.len();
    }

    fn pes_end(&mut self, stream_id: u8) {
        assert!(*self.open(stream_id));
    }

    fn hole(&mut self, stream_id: u8) {
        let _ = self.open(stream_id);
    }

    fn error(&mut self, _: Error) {}
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
        let mut sync = [0u8; 188];
        sync[..12].copy_from_slice(&[0x47, 0x41, 0, 0x10, 0, 0, 1, 0xe0, 0, 0, 0x80, 0]);
        let pieces: [&[u8]; 13] = [
            &sync,
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
                    data.extend(pieces[(roll() % 13) as usize]);
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
            ts_demux(&data);
            payload(&data);
        }
    }
}
