//! SIP messages as a capture file that Wireshark and tshark read: the classic pcap format with raw IP packets.
//!
//! draft-ietf-opsawg-pcap (little-endian, microseconds), LINKTYPE_RAW (101); RFC 791, 8200, 768, 9293. Headers are made
//! from what the log knows: addresses and ports are true, identifications, windows and sequence numbers are not. A TCP
//! connection begins with a handshake that was not seen, and carries each message in segments of an Ethernet's size.
//!
//! Bounds: none of its own; what is written is what [`crate::sip::log`] holds.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use crate::sip::Transport;
use crate::sip::log::Direction;

const MAGIC: u32 = 0xa1b2_c3d4;
const LINKTYPE_RAW: u32 = 101;
/// Longest IP packet that has a 16-bit length.
const SNAPLEN: u32 = 65_535;
const TCP_SEGMENT_BYTES: usize = 1_460;
const PROTOCOL_TCP: u8 = 6;
const PROTOCOL_UDP: u8 = 17;
const SYN: u8 = 0x02;
const ACK: u8 = 0x10;
const PSH: u8 = 0x08;

/// One message to be written.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a> {
    /// Microseconds since the Unix epoch.
    pub unix_us: i64,
    pub direction: Direction,
    pub peer: SocketAddr,
    pub local: SocketAddr,
    pub transport: Transport,
    pub payload: &'a [u8],
    /// Bytes on the wire, when `payload` was cut.
    pub whole: usize,
}

/// Writes one file.
#[derive(Debug)]
pub struct Writer {
    out: Vec<u8>,
    /// Next sequence number of each direction (from the peer, from us) of each connection.
    connections: HashMap<(Transport, SocketAddr), [u32; 2]>,
    identification: u16,
}

impl Default for Writer {
    fn default() -> Self {
        Writer::new()
    }
}

impl Writer {
    pub fn new() -> Writer {
        let mut out = Vec::new();
        out.extend_from_slice(&MAGIC.to_le_bytes());
        out.extend_from_slice(&2u16.to_le_bytes());
        out.extend_from_slice(&4u16.to_le_bytes());
        out.extend_from_slice(&[0; 8]);
        out.extend_from_slice(&SNAPLEN.to_le_bytes());
        out.extend_from_slice(&LINKTYPE_RAW.to_le_bytes());
        Writer {
            out,
            connections: HashMap::new(),
            identification: 0,
        }
    }

    pub fn push(&mut self, packet: &Packet<'_>) {
        let (from, to) = match packet.direction {
            Direction::In => (packet.peer, packet.local),
            Direction::Out => (packet.local, packet.peer),
        };
        match packet.transport {
            Transport::Udp => {
                let (from, to) = same_family(from, to);
                let mut udp = Vec::with_capacity(8 + packet.payload.len());
                udp.extend_from_slice(&from.port().to_be_bytes());
                udp.extend_from_slice(&to.port().to_be_bytes());
                // A datagram that IP cannot carry was never sent; the field has 16 bits.
                let length = u16::try_from(8 + packet.whole).unwrap_or(u16::MAX);
                udp.extend_from_slice(&length.to_be_bytes());
                udp.extend_from_slice(&[0, 0]);
                udp.extend_from_slice(packet.payload);
                if packet.whole == packet.payload.len() {
                    let sum = match checksum(from.ip(), to.ip(), PROTOCOL_UDP, &udp) {
                        0 => 0xffff,
                        sum => sum,
                    };
                    udp[6..8].copy_from_slice(&sum.to_be_bytes());
                }
                let cut = packet.whole - packet.payload.len();
                self.ip(packet.unix_us, from.ip(), to.ip(), PROTOCOL_UDP, &udp, cut);
            }
            // Without its encryption: a reader wants the messages.
            Transport::Tcp(_) | Transport::Tls(_) => self.tcp(packet, from, to),
        }
    }

    pub fn finish(self) -> Vec<u8> {
        self.out
    }

    fn tcp(&mut self, packet: &Packet<'_>, from: SocketAddr, to: SocketAddr) {
        let key = (packet.transport, packet.peer);
        let of_us = usize::from(packet.direction == Direction::Out);
        let us = packet.unix_us;
        let [mut mine, mut theirs] = match self.connections.get(&key) {
            Some(next) => [next[of_us], next[1 - of_us]],
            None => {
                self.segment(us, from, to, [0, 0], SYN, b"");
                self.segment(us, to, from, [0, 1], SYN | ACK, b"");
                self.segment(us, from, to, [1, 1], ACK, b"");
                [1, 1]
            }
        };
        for piece in packet.payload.chunks(TCP_SEGMENT_BYTES) {
            self.segment(us, from, to, [mine, theirs], PSH | ACK, piece);
            mine = mine.wrapping_add(piece.len() as u32);
        }
        // What was cut off is a hole in the capture, as it would be for a reader that missed packets.
        mine = mine.wrapping_add((packet.whole - packet.payload.len()) as u32);
        let mut next = [0; 2];
        next[of_us] = mine;
        next[1 - of_us] = std::mem::take(&mut theirs);
        self.connections.insert(key, next);
    }

    fn segment(
        &mut self,
        us: i64,
        from: SocketAddr,
        to: SocketAddr,
        [seq, ack]: [u32; 2],
        flags: u8,
        data: &[u8],
    ) {
        let (from, to) = same_family(from, to);
        let mut tcp = Vec::with_capacity(20 + data.len());
        tcp.extend_from_slice(&from.port().to_be_bytes());
        tcp.extend_from_slice(&to.port().to_be_bytes());
        tcp.extend_from_slice(&seq.to_be_bytes());
        tcp.extend_from_slice(&ack.to_be_bytes());
        tcp.extend_from_slice(&[5 << 4, flags, 0xff, 0xff, 0, 0, 0, 0]);
        tcp.extend_from_slice(data);
        let sum = checksum(from.ip(), to.ip(), PROTOCOL_TCP, &tcp);
        tcp[16..18].copy_from_slice(&sum.to_be_bytes());
        self.ip(us, from.ip(), to.ip(), PROTOCOL_TCP, &tcp, 0);
    }

    /// `cut` bytes of the payload are not there.
    fn ip(&mut self, us: i64, from: IpAddr, to: IpAddr, protocol: u8, payload: &[u8], cut: usize) {
        let length = payload.len() + cut;
        let mut header = Vec::with_capacity(40);
        match (from, to) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                let total = u16::try_from(20 + length).unwrap_or(u16::MAX);
                self.identification = self.identification.wrapping_add(1);
                header.extend_from_slice(&[0x45, 0]);
                header.extend_from_slice(&total.to_be_bytes());
                header.extend_from_slice(&self.identification.to_be_bytes());
                header.extend_from_slice(&[0, 0, 64, protocol, 0, 0]);
                header.extend_from_slice(&from.octets());
                header.extend_from_slice(&to.octets());
                let sum = fold(sum(&header));
                header[10..12].copy_from_slice(&sum.to_be_bytes());
            }
            (from, to) => {
                let length = u16::try_from(length).unwrap_or(u16::MAX);
                header.extend_from_slice(&[0x60, 0, 0, 0]);
                header.extend_from_slice(&length.to_be_bytes());
                header.extend_from_slice(&[protocol, 64]);
                header.extend_from_slice(&v6(from).octets());
                header.extend_from_slice(&v6(to).octets());
            }
        }
        let captured = header.len() + payload.len();
        let whole = captured + cut;
        let (seconds, micros) = (us.div_euclid(1_000_000), us.rem_euclid(1_000_000));
        self.out.extend_from_slice(&(seconds as u32).to_le_bytes());
        self.out.extend_from_slice(&(micros as u32).to_le_bytes());
        self.out.extend_from_slice(&(captured as u32).to_le_bytes());
        self.out.extend_from_slice(&(whole as u32).to_le_bytes());
        self.out.extend_from_slice(&header);
        self.out.extend_from_slice(payload);
    }
}

/// Both addresses as IPv4 if both are, else both as IPv6.
fn same_family(a: SocketAddr, b: SocketAddr) -> (SocketAddr, SocketAddr) {
    let (ip_a, ip_b) = (a.ip().to_canonical(), b.ip().to_canonical());
    let as_v6 = |ip: IpAddr, port| SocketAddr::new(IpAddr::V6(v6(ip)), port);
    if ip_a.is_ipv4() && ip_b.is_ipv4() {
        (
            SocketAddr::new(ip_a, a.port()),
            SocketAddr::new(ip_b, b.port()),
        )
    } else {
        (as_v6(ip_a, a.port()), as_v6(ip_b, b.port()))
    }
}

fn v6(ip: IpAddr) -> Ipv6Addr {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    }
}

/// The checksum of UDP and TCP with its pseudo header (RFC 768, RFC 9293, 3.1, RFC 8200, 8.1).
fn checksum(from: IpAddr, to: IpAddr, protocol: u8, segment: &[u8]) -> u16 {
    let addresses = match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => sum(&from.octets()) + sum(&to.octets()),
        (from, to) => sum(&v6(from).octets()) + sum(&v6(to).octets()),
    };
    fold(addresses + u64::from(protocol) + segment.len() as u64 + sum(segment))
}

/// Sum of 16-bit words (RFC 1071).
fn sum(bytes: &[u8]) -> u64 {
    let words = bytes.chunks(2).map(|word| match word {
        [high, low] => u64::from(u16::from_be_bytes([*high, *low])),
        [high] => u64::from(*high) << 8,
        _ => 0,
    });
    words.sum()
}

fn fold(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    !(sum as u16)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::ConnId;

    fn packet(transport: Transport, direction: Direction, payload: &[u8]) -> Packet<'_> {
        Packet {
            unix_us: 1_700_000_000_123_456,
            direction,
            peer: "192.0.2.9:5061".parse().expect("an address"),
            local: "192.0.2.1:5060".parse().expect("an address"),
            transport,
            payload,
            whole: payload.len(),
        }
    }

    /// Each packet: captured bytes and bytes on the wire.
    fn packets(file: &[u8]) -> Vec<(&[u8], u32)> {
        let word = |at: usize| u32::from_le_bytes(file[at..at + 4].try_into().expect("four"));
        assert_eq!((word(0), word(20)), (MAGIC, LINKTYPE_RAW));
        let mut out = Vec::new();
        let mut at = 24;
        while at < file.len() {
            let captured = word(at + 8) as usize;
            out.push((&file[at + 16..at + 16 + captured], word(at + 12)));
            at += 16 + captured;
        }
        out
    }

    #[test]
    fn a_datagram_has_its_headers_and_right_sums() {
        let mut writer = Writer::new();
        writer.push(&packet(Transport::Udp, Direction::In, b"hello"));
        let file = writer.finish();
        let all = packets(&file);
        let (ip, whole) = all[0];
        assert_eq!((ip.len(), whole), (33, 33));
        assert_eq!(
            fold(sum(&ip[..20])),
            0,
            "the sum over a right header is zero"
        );
        assert_eq!(&ip[12..20], [192, 0, 2, 9, 192, 0, 2, 1]);
        let from = "192.0.2.9".parse().expect("an address");
        let to = "192.0.2.1".parse().expect("an address");
        assert_eq!(checksum(from, to, PROTOCOL_UDP, &ip[20..]), 0);
        assert_eq!(&ip[28..], b"hello");
    }

    #[test]
    fn a_connection_counts_its_bytes() {
        let mut writer = Writer::new();
        let tcp = Transport::Tcp(ConnId(7));
        let long = vec![b'x'; TCP_SEGMENT_BYTES + 10];
        writer.push(&packet(tcp, Direction::In, &long));
        writer.push(&packet(tcp, Direction::Out, b"yes"));
        writer.push(&packet(tcp, Direction::In, b"more"));
        let file = writer.finish();
        let numbers: Vec<(u32, u32, usize)> = packets(&file)
            .iter()
            .map(|(ip, _)| {
                let word = |at: usize| u32::from_be_bytes(ip[at..at + 4].try_into().expect("four"));
                (word(24), word(28), ip.len() - 40)
            })
            .collect();
        let n = long.len() as u32;
        let first = TCP_SEGMENT_BYTES as u32;
        assert_eq!(
            numbers,
            [
                (0, 0, 0),
                (0, 1, 0),
                (1, 1, 0),
                (1, 1, TCP_SEGMENT_BYTES),
                (1 + first, 1, 10),
                (1, 1 + n, 3),
                (1 + n, 4, 4),
            ]
        );
    }

    #[test]
    fn what_was_cut_is_marked_and_mixed_families_are_mapped() {
        let mut writer = Writer::new();
        let mut cut = packet(Transport::Udp, Direction::Out, b"begin");
        cut.whole = 500;
        cut.peer = "[2001:db8::9]:5061".parse().expect("an address");
        writer.push(&cut);
        let file = writer.finish();
        let (ip, whole) = packets(&file)[0];
        assert_eq!((ip.len(), whole), (40 + 8 + 5, 40 + 8 + 500));
        assert_eq!(ip[0] >> 4, 6);
        assert_eq!(&ip[18..24], [0xff, 0xff, 192, 0, 2, 1]);
    }
}
