//! Capture files as datagrams and ordered bytes of connections: classic pcap and pcapng, IP, UDP, TCP.
//!
//! draft-ietf-opsawg-pcap, draft-ietf-opsawg-pcapng (section header, interface description, enhanced, simple and obsolete
//! packet blocks); IEEE 802.3 with 802.1Q, Linux cooked captures 1 and 2, BSD loopback, raw IP; RFC 791 and 8200 with their
//! fragments, RFC 768, RFC 9293.
//!
//! A capture is what somebody saw: it begins in the middle, misses packets and has them twice. What cannot be read is
//! counted and stepped over. Bytes of a TCP connection come in order; over a hole that is never filled they go on behind it.
//!
//! Not done: checksums (they are computed by the network card and wrong in captures of the sender), IPsec, tunnels.
//!
//! Bounds: [`CAPTURE_FRAGMENTS_MAX`] datagrams in pieces, [`CAPTURE_SEGMENTS_WAITING_MAX`] segments that wait for a missing
//! one in each direction of a connection. The file itself is the caller's.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use bytes::{Bytes, BytesMut};

use crate::limits::{CAPTURE_FRAGMENTS_MAX, CAPTURE_SEGMENTS_WAITING_MAX};

/// A file that is no capture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotACapture;

/// What carried the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Carrier {
    Udp,
    Tcp,
}

/// A datagram, or the next bytes of one direction of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Microseconds since the Unix epoch, never before it. A time that no clock can show is the last that fits.
    pub unix_us: i64,
    pub carrier: Carrier,
    pub from: SocketAddr,
    pub to: SocketAddr,
    pub data: Bytes,
}

/// A whole file.
#[derive(Debug, Default)]
pub struct Capture {
    /// As they came.
    pub packets: Vec<Packet>,
    /// Of the file, whatever they hold.
    pub frames: u64,
    /// Frames that hold no UDP or TCP that can be read.
    pub skipped: u64,
}

/// Whether a file begins as a capture does.
pub fn is_capture(file: &[u8]) -> bool {
    classic(file).is_some() || file.starts_with(&SECTION.to_be_bytes())
}

/// Reads a file. What is cut at its end is left out.
pub fn read(file: &Bytes) -> Result<Capture, NotACapture> {
    let mut reader = Reader::default();
    if let Some(format) = classic(file) {
        reader.classic(file, format);
    } else if file.starts_with(&SECTION.to_be_bytes()) {
        reader.blocks(file);
    } else {
        return Err(NotACapture);
    }
    reader.flush();
    Ok(reader.capture)
}

const SECTION: u32 = 0x0a0d_0d0a;
const BYTE_ORDER: u32 = 0x1a2b_3c4d;

#[derive(Clone, Copy)]
struct Format {
    big_endian: bool,
    /// Fractions in a second.
    resolution: u64,
}

fn classic(file: &[u8]) -> Option<Format> {
    let (big_endian, resolution) = match file.get(..4)? {
        [0xd4, 0xc3, 0xb2, 0xa1] => (false, 1_000_000),
        [0xa1, 0xb2, 0xc3, 0xd4] => (true, 1_000_000),
        [0x4d, 0x3c, 0xb2, 0xa1] => (false, 1_000_000_000),
        [0xa1, 0xb2, 0x3c, 0x4d] => (true, 1_000_000_000),
        _ => return None,
    };
    (file.len() >= 24).then_some(Format {
        big_endian,
        resolution,
    })
}

fn u32_at(bytes: &[u8], at: usize, big_endian: bool) -> Option<u32> {
    let four: [u8; 4] = bytes.get(at..at + 4)?.try_into().ok()?;
    Some(if big_endian {
        u32::from_be_bytes(four)
    } else {
        u32::from_le_bytes(four)
    })
}

fn u16_at(bytes: &[u8], at: usize, big_endian: bool) -> Option<u16> {
    let two: [u8; 2] = bytes.get(at..at + 2)?.try_into().ok()?;
    Some(if big_endian {
        u16::from_be_bytes(two)
    } else {
        u16::from_le_bytes(two)
    })
}

/// An interface of a pcapng section.
struct Interface {
    link: u32,
    resolution: u64,
    snaplen: usize,
}

#[derive(Default)]
struct Reader {
    capture: Capture,
    fragments: HashMap<Fragmented, Pieces>,
    flows: HashMap<(SocketAddr, SocketAddr), Flow>,
}

type Fragmented = (IpAddr, IpAddr, u8, u32);

#[derive(Default)]
struct Pieces {
    by_offset: BTreeMap<usize, Bytes>,
    /// Known once the last one came.
    len: Option<usize>,
}

/// One direction of a connection.
#[derive(Default)]
struct Flow {
    next: Option<u32>,
    /// By distance from `base`, so that numbers that wrap stay in order.
    waiting: Vec<(u32, i64, Bytes)>,
}

impl Reader {
    fn classic(&mut self, file: &Bytes, format: Format) {
        let Some(link) = u32_at(file, 20, format.big_endian) else {
            return;
        };
        let mut at = 24;
        let word = |at| u32_at(file, at, format.big_endian);
        while let (Some(s), Some(fraction), Some(len)) = (word(at), word(at + 4), word(at + 8)) {
            let from = at + 16;
            let Some(until) = from
                .checked_add(len as usize)
                .filter(|end| *end <= file.len())
            else {
                return;
            };
            let us = i64::from(s) * 1_000_000
                + (u64::from(fraction) * 1_000_000 / format.resolution) as i64;
            self.frame(us, link & 0x0fff_ffff, file.slice(from..until));
            at = until;
        }
    }

    fn blocks(&mut self, file: &Bytes) {
        let mut at = 0;
        let mut big_endian = false;
        let mut interfaces: Vec<Interface> = Vec::new();
        while at + 12 <= file.len() {
            if file[at..].starts_with(&SECTION.to_be_bytes()) {
                big_endian = u32_at(file, at + 8, true) == Some(BYTE_ORDER);
                interfaces.clear();
            }
            let (Some(kind), Some(len)) = (
                u32_at(file, at, big_endian),
                u32_at(file, at + 4, big_endian),
            ) else {
                return;
            };
            let end = at.saturating_add(len as usize);
            if len < 12 || end > file.len() {
                return;
            }
            let body = file.slice(at + 8..end - 4);
            match kind {
                1 => interfaces.extend(interface(&body, big_endian)),
                2 | 6 => self.packet_block(&body, kind == 2, big_endian, &interfaces),
                3 => {
                    if let (Some(i), Some(len)) = (interfaces.first(), u32_at(&body, 0, big_endian))
                    {
                        let len = (len as usize).min(i.snaplen).min(body.len() - 4);
                        self.frame(0, i.link, body.slice(4..4 + len));
                    }
                }
                _ => {}
            }
            at = end;
        }
    }

    fn packet_block(&mut self, body: &Bytes, old: bool, big_endian: bool, all: &[Interface]) {
        let word = |at| u32_at(body, at, big_endian);
        let number = if old {
            u16_at(body, 0, big_endian).map(u32::from)
        } else {
            word(0)
        };
        let interface = number.and_then(|n| all.get(n as usize));
        let (Some(interface), Some(high), Some(low), Some(len)) =
            (interface, word(4), word(8), word(12))
        else {
            self.capture.skipped += 1;
            return;
        };
        let ticks = u64::from(high) << 32 | u64::from(low);
        let us = u128::from(ticks) * 1_000_000 / u128::from(interface.resolution);
        let Some(data) = body.get(20..20usize.saturating_add(len as usize)) else {
            self.capture.skipped += 1;
            return;
        };
        let us = i64::try_from(us).unwrap_or(i64::MAX);
        self.frame(us, interface.link, body.slice_ref(data));
    }

    fn frame(&mut self, us: i64, link: u32, frame: Bytes) {
        self.capture.frames += 1;
        let read = ip_of(link, &frame).and_then(|at| self.ip(us, frame.slice(at..)));
        self.capture.skipped += u64::from(read.is_none());
    }

    /// `None`: nothing that can be read.
    fn ip(&mut self, us: i64, packet: Bytes) -> Option<()> {
        match packet.first()? >> 4 {
            4 => {
                let header = usize::from(packet[0] & 0xf) * 4;
                let total = usize::from(u16_at(&packet, 2, true)?);
                // A length of zero: the network card cuts what the kernel gave it whole.
                let end = if total == 0 {
                    packet.len()
                } else {
                    total.min(packet.len())
                };
                let address = |at: usize| {
                    let four: [u8; 4] = packet.get(at..at + 4)?.try_into().ok()?;
                    Some(IpAddr::V4(Ipv4Addr::from(four)))
                };
                let (from, to) = (address(12)?, address(16)?);
                if header < 20 || header > end {
                    return None;
                }
                let flags = u16_at(&packet, 6, true)?;
                let payload = packet.slice(header..end);
                let protocol = packet[9];
                let offset = usize::from(flags & 0x1fff) * 8;
                let more = flags & 0x2000 != 0;
                if offset == 0 && !more {
                    return self.transport(us, protocol, from, to, payload);
                }
                let id = u32::from(u16_at(&packet, 4, true)?);
                self.fragment(us, (from, to, protocol, id), offset, more, payload)
            }
            6 => self.ipv6(us, &packet),
            _ => None,
        }
    }

    fn ipv6(&mut self, us: i64, packet: &Bytes) -> Option<()> {
        let address = |at: usize| {
            let bytes: [u8; 16] = packet.get(at..at + 16)?.try_into().ok()?;
            Some(IpAddr::V6(Ipv6Addr::from(bytes)))
        };
        let (from, to) = (address(8)?, address(24)?);
        let end = (40 + usize::from(u16_at(packet, 4, true)?)).min(packet.len());
        let mut next = packet[6];
        let mut at = 40;
        loop {
            match next {
                // Hop-by-hop, routing, destination options.
                0 | 43 | 60 => {
                    next = *packet.get(at)?;
                    at += 8 + usize::from(*packet.get(at + 1)?) * 8;
                }
                44 => {
                    let protocol = *packet.get(at)?;
                    let offset = u16_at(packet, at + 2, true)?;
                    let id = u32_at(packet, at + 4, true)?;
                    let payload = packet.get(at + 8..end)?;
                    let payload = packet.slice_ref(payload);
                    let (at, more) = (usize::from(offset & !7), offset & 1 != 0);
                    return self.fragment(us, (from, to, protocol, id), at, more, payload);
                }
                _ => {
                    let payload = packet.slice_ref(packet.get(at..end)?);
                    return self.transport(us, next, from, to, payload);
                }
            }
        }
    }

    fn fragment(
        &mut self,
        us: i64,
        key: Fragmented,
        offset: usize,
        more: bool,
        payload: Bytes,
    ) -> Option<()> {
        if self.fragments.len() >= CAPTURE_FRAGMENTS_MAX && !self.fragments.contains_key(&key) {
            self.fragments.clear();
        }
        let pieces = self.fragments.entry(key).or_default();
        if !more {
            pieces.len = Some(offset + payload.len());
        }
        pieces.by_offset.insert(offset, payload);
        let Some(len) = pieces.len else {
            return Some(());
        };
        let mut whole = BytesMut::new();
        for (at, piece) in &pieces.by_offset {
            if *at > whole.len() {
                return Some(());
            }
            let known = whole.len() - at;
            whole.extend_from_slice(piece.get(known..).unwrap_or_default());
        }
        if whole.len() < len {
            return Some(());
        }
        self.fragments.remove(&key);
        let (from, to, protocol, _) = key;
        self.transport(us, protocol, from, to, whole.freeze())
    }

    fn transport(
        &mut self,
        us: i64,
        protocol: u8,
        from: IpAddr,
        to: IpAddr,
        segment: Bytes,
    ) -> Option<()> {
        let from = SocketAddr::new(from, u16_at(&segment, 0, true)?);
        let to = SocketAddr::new(to, u16_at(&segment, 2, true)?);
        match protocol {
            17 => {
                let len = usize::from(u16_at(&segment, 4, true)?);
                let end = if len < 8 {
                    segment.len()
                } else {
                    len.min(segment.len())
                };
                let data = segment.slice_ref(segment.get(8..end)?);
                self.give(us, Carrier::Udp, from, to, data);
                Some(())
            }
            6 => {
                let header = usize::from(segment.get(12)? >> 4) * 4;
                let flags = *segment.get(13)?;
                let seq = u32_at(&segment, 4, true)?;
                let data = segment.slice_ref(segment.get(header..)?);
                self.segment(us, (from, to), seq, flags, data);
                Some(())
            }
            _ => None,
        }
    }

    fn segment(
        &mut self,
        us: i64,
        key: (SocketAddr, SocketAddr),
        seq: u32,
        flags: u8,
        data: Bytes,
    ) {
        const SYN: u8 = 0x02;
        let flow = self.flows.entry(key).or_default();
        if flags & SYN != 0 {
            *flow = Flow {
                next: Some(seq.wrapping_add(1)),
                waiting: Vec::new(),
            };
            return;
        }
        if data.is_empty() {
            return;
        }
        let next = *flow.next.get_or_insert(seq);
        if (seq.wrapping_sub(next) as i32) > 0 {
            flow.waiting.push((seq, us, data));
            if flow.waiting.len() > CAPTURE_SEGMENTS_WAITING_MAX {
                self.go_on(key);
            }
            return;
        }
        self.in_order(us, key, seq, data);
        self.drain(key);
    }

    /// Bytes that begin at or before the next one wanted.
    fn in_order(&mut self, us: i64, key: (SocketAddr, SocketAddr), seq: u32, data: Bytes) {
        let Some(flow) = self.flows.get_mut(&key) else {
            return;
        };
        let next = flow.next.unwrap_or(seq);
        let known = next.wrapping_sub(seq) as usize;
        if known >= data.len() {
            return;
        }
        flow.next = Some(seq.wrapping_add(data.len() as u32));
        self.give(us, Carrier::Tcp, key.0, key.1, data.slice(known..));
    }

    fn drain(&mut self, key: (SocketAddr, SocketAddr)) {
        loop {
            let Some(flow) = self.flows.get_mut(&key) else {
                return;
            };
            let next = flow.next.unwrap_or(0);
            let ready = |(seq, _, _): &(u32, i64, Bytes)| (seq.wrapping_sub(next) as i32) <= 0;
            let Some(at) = flow.waiting.iter().position(ready) else {
                return;
            };
            let (seq, us, data) = flow.waiting.remove(at);
            self.in_order(us, key, seq, data);
        }
    }

    /// Gives a hole up: what waits nearest behind it is next.
    fn go_on(&mut self, key: (SocketAddr, SocketAddr)) {
        if let Some(flow) = self.flows.get_mut(&key) {
            let next = flow.next.unwrap_or(0);
            let nearest = flow.waiting.iter().map(|(seq, _, _)| *seq);
            let nearest = nearest.min_by_key(|seq| seq.wrapping_sub(next));
            flow.next = nearest.or(flow.next);
        }
        self.drain(key);
    }

    fn flush(&mut self) {
        let keys: Vec<_> = self.flows.keys().copied().collect();
        for key in keys {
            while self
                .flows
                .get(&key)
                .is_some_and(|flow| !flow.waiting.is_empty())
            {
                self.go_on(key);
            }
        }
    }

    fn give(&mut self, us: i64, carrier: Carrier, from: SocketAddr, to: SocketAddr, data: Bytes) {
        if !data.is_empty() {
            self.capture.packets.push(Packet {
                unix_us: us,
                carrier,
                from,
                to,
                data,
            });
        }
    }
}

fn interface(body: &Bytes, big_endian: bool) -> Option<Interface> {
    let link = u32::from(u16_at(body, 0, big_endian)?);
    let snaplen = match u32_at(body, 4, big_endian)? {
        0 => usize::MAX,
        n => n as usize,
    };
    let mut resolution = 1_000_000;
    let mut at = 8;
    while let (Some(code), Some(len)) = (
        u16_at(body, at, big_endian),
        u16_at(body, at + 2, big_endian),
    ) {
        if code == 0 {
            break;
        }
        // if_tsresol: a power of ten, or of two with the highest bit.
        if code == 9
            && let Some(byte) = body.get(at + 4)
        {
            let power = u32::from(byte & 0x7f);
            let base: u64 = if byte & 0x80 == 0 { 10 } else { 2 };
            resolution = base.checked_pow(power).unwrap_or(resolution);
        }
        at += 4 + usize::from(len).next_multiple_of(4);
    }
    Some(Interface {
        link,
        resolution,
        snaplen,
    })
}

/// Where the IP packet begins in a frame.
fn ip_of(link: u32, frame: &[u8]) -> Option<usize> {
    let is_ip = |kind: u16| matches!(kind, 0x0800 | 0x86dd);
    match link {
        // BSD loopback: an address family.
        0 | 108 => Some(4),
        1 => {
            let mut at = 12;
            let mut kind = u16_at(frame, at, true)?;
            while matches!(kind, 0x8100 | 0x88a8) {
                at += 4;
                kind = u16_at(frame, at, true)?;
            }
            is_ip(kind).then_some(at + 2)
        }
        12 | 14 | 101 | 228 | 229 => Some(0),
        113 => is_ip(u16_at(frame, 14, true)?).then_some(16),
        276 => is_ip(u16_at(frame, 0, true)?).then_some(20),
        _ => None,
    }
    .filter(|at| *at < frame.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnosis::pcap;
    use crate::sip::log::Direction;
    use crate::sip::{ConnId, Transport};

    fn addr(text: &str) -> SocketAddr {
        text.parse().expect("an address")
    }

    fn written(transport: Transport, payloads: &[&[u8]]) -> Bytes {
        let mut writer = pcap::Writer::new();
        for payload in payloads {
            writer.push(&pcap::Packet {
                unix_us: 1_700_000_000_000_001,
                direction: Direction::In,
                peer: addr("192.0.2.9:5061"),
                local: addr("192.0.2.1:5060"),
                transport,
                payload,
                whole: payload.len(),
            });
        }
        Bytes::from(writer.finish())
    }

    #[test]
    fn what_our_writer_wrote_is_read() {
        let capture = read(&written(Transport::Udp, &[b"one", b"two"])).expect("a capture");
        assert_eq!(
            (capture.frames, capture.skipped, capture.packets.len()),
            (2, 0, 2)
        );
        let first = &capture.packets[0];
        assert_eq!(first.unix_us, 1_700_000_000_000_001);
        assert_eq!(
            (first.from, first.to),
            (addr("192.0.2.9:5061"), addr("192.0.2.1:5060"))
        );
        assert_eq!(&first.data[..], b"one");
    }

    #[test]
    fn bytes_of_a_connection_come_in_order_and_once() {
        let long = vec![7; 4_000];
        let file = written(Transport::Tcp(ConnId(1)), &[&long, b"end"]);
        // Handshake of three, three segments, one more: the records, put in another order and one of them twice.
        let mut records = Vec::new();
        let mut at = 24;
        while at < file.len() {
            let len = u32_at(&file, at + 8, false).expect("a length") as usize;
            records.push(file.slice(at..at + 16 + len));
            at += 16 + len;
        }
        assert_eq!(records.len(), 7);
        for order in [
            [0, 1, 2, 3, 4, 5, 6, 3],
            [0, 1, 2, 6, 5, 4, 3, 4],
            [0, 1, 2, 4, 3, 3, 6, 5],
        ] {
            let mut shuffled = BytesMut::from(&file[..24]);
            for n in order {
                shuffled.extend_from_slice(&records[n]);
            }
            let capture = read(&shuffled.freeze()).expect("a capture");
            let bytes: Vec<u8> = capture
                .packets
                .iter()
                .flat_map(|p| p.data.to_vec())
                .collect();
            assert_eq!(bytes, [&long[..], b"end"].concat(), "{order:?}");
        }
        // A segment that nobody saw: what is behind it is not lost.
        let mut holed = BytesMut::from(&file[..24]);
        for n in [0, 1, 2, 3, 5, 6] {
            holed.extend_from_slice(&records[n]);
        }
        let capture = read(&holed.freeze()).expect("a capture");
        let bytes: usize = capture.packets.iter().map(|p| p.data.len()).sum();
        assert_eq!(bytes, 4_003 - 1_460);
    }

    #[test]
    fn a_datagram_in_fragments_is_put_together() {
        let payload: Vec<u8> = (0..3_000u32).map(|n| n as u8).collect();
        let whole = written(Transport::Udp, &[&payload]);
        let ip = &whole[40..];
        let piece = |from: usize, until: usize, more: bool| {
            let mut packet = ip[..20].to_vec();
            packet[2..4].copy_from_slice(&((20 + until - from) as u16).to_be_bytes());
            let flags = (from / 8) as u16 | if more { 0x2000 } else { 0 };
            packet[6..8].copy_from_slice(&flags.to_be_bytes());
            packet.extend_from_slice(&ip[20 + from..20 + until]);
            let mut record = whole[24..32].to_vec();
            record.extend_from_slice(&(packet.len() as u32).to_le_bytes());
            record.extend_from_slice(&(packet.len() as u32).to_le_bytes());
            [record, packet].concat()
        };
        let mut file = BytesMut::from(&whole[..24]);
        file.extend_from_slice(&piece(1_480, 2_960, true));
        file.extend_from_slice(&piece(2_960, 3_008, false));
        file.extend_from_slice(&piece(0, 1_480, true));
        let capture = read(&file.freeze()).expect("a capture");
        assert_eq!(capture.packets.len(), 1);
        assert_eq!(&capture.packets[0].data[..], payload);
    }

    #[test]
    fn nonsense_is_refused_or_stepped_over() {
        assert!(read(&Bytes::from_static(b"GIF89a")).is_err());
        assert!(read(&Bytes::new()).is_err());
        let file = written(Transport::Udp, &[b"one", b"two"]);
        for cut in 24..file.len() {
            let capture = read(&file.slice(..cut)).expect("a head");
            assert!(capture.packets.len() < 2);
        }
        let mut damaged = file.to_vec();
        for at in 24..damaged.len() {
            damaged[at] ^= 0xff;
            assert!(read(&Bytes::copy_from_slice(&damaged)).is_ok());
            damaged[at] ^= 0xff;
        }
    }
}
