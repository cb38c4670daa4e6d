//! RTP packets: a view over the bytes, and a writer for simulated devices.
//!
//! RFC 3550, 5.1 (fixed header), 5.3.1 (extension), A.1 (validity); RFC 5761, 4 (RTP and RTCP on one port).
//!
//! A view is validated once, when it is made; its accessors cannot fail. Not done: header extensions are stepped over,
//! contributing sources are not read.

use crate::id::Ssrc;

/// Bytes of the fixed header.
pub const HEADER_BYTES: usize = 12;

/// Why bytes are not an RTP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// Fewer bytes than the fixed header, the contributing sources or the extension need.
    Short,
    /// The version is not 2.
    Version(u8),
    /// The last byte claims more padding than there is, or none.
    Padding,
}

/// An RTP packet. Borrowed; the payload range is validated.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a> {
    bytes: &'a [u8],
    payload_from: usize,
    payload_to: usize,
}

impl<'a> Packet<'a> {
    /// Validates the header and finds the payload, which may be empty.
    ///
    /// Errors: see [`Error`]. Source: RFC 3550, 5.1.
    #[inline]
    pub fn parse(bytes: &'a [u8]) -> Result<Packet<'a>, Error> {
        if let Some(first) = bytes.first()
            && bytes.len() >= HEADER_BYTES
            && first >> 6 != 2
        {
            return Err(Error::Version(first >> 6));
        }
        Packet::parse_any_version(bytes)
    }

    /// The same without a look at the version, for a source that is known otherwise: some devices write 0 or 1 there.
    #[inline]
    pub fn parse_any_version(bytes: &'a [u8]) -> Result<Packet<'a>, Error> {
        if bytes.len() < HEADER_BYTES {
            return Err(Error::Short);
        }
        let first = bytes[0];
        let mut from = HEADER_BYTES + usize::from(first & 0x0f) * 4;
        if first & 0x10 != 0 {
            let words = bytes.get(from + 2..from + 4).ok_or(Error::Short)?;
            from += 4 + usize::from(u16::from_be_bytes([words[0], words[1]])) * 4;
        }
        let mut to = bytes.len();
        if from > to {
            return Err(Error::Short);
        }
        if first & 0x20 != 0 {
            let padding = usize::from(bytes[to - 1]);
            if padding == 0 || padding > to - from {
                return Err(Error::Padding);
            }
            to -= padding;
        }
        Ok(Packet {
            bytes,
            payload_from: from,
            payload_to: to,
        })
    }

    #[inline]
    pub fn marker(&self) -> bool {
        self.bytes[1] & 0x80 != 0
    }

    #[inline]
    pub fn payload_type(&self) -> u8 {
        self.bytes[1] & 0x7f
    }

    #[inline]
    pub fn sequence(&self) -> u16 {
        u16::from_be_bytes([self.bytes[2], self.bytes[3]])
    }

    #[inline]
    pub fn timestamp(&self) -> u32 {
        u32::from_be_bytes([self.bytes[4], self.bytes[5], self.bytes[6], self.bytes[7]])
    }

    #[inline]
    pub fn ssrc(&self) -> Ssrc {
        Ssrc(u32::from_be_bytes([
            self.bytes[8],
            self.bytes[9],
            self.bytes[10],
            self.bytes[11],
        ]))
    }

    /// Without padding.
    #[inline]
    pub fn payload(&self) -> &'a [u8] {
        &self.bytes[self.payload_from..self.payload_to]
    }

    /// The whole packet.
    #[inline]
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }
}

/// Whether a datagram is RTCP rather than RTP: its second byte is 192 to 207, which as RTP would be a marker with payload
/// type 64 to 79 (RFC 5761, 4). Media payload types of that range are not given out.
#[inline]
pub fn is_rtcp(bytes: &[u8]) -> bool {
    bytes.len() >= 8 && bytes[0] >> 6 == 2 && (192..=207).contains(&bytes[1])
}

/// The sender's SSRC of an RTP or RTCP packet, without further validation. `None`: too short or not version 2.
#[inline]
pub fn peek_ssrc(bytes: &[u8]) -> Option<Ssrc> {
    let at = if is_rtcp(bytes) { 4 } else { 8 };
    let ssrc = bytes.get(at..)?.first_chunk::<4>()?;
    (bytes[0] >> 6 == 2).then(|| Ssrc(u32::from_be_bytes(*ssrc)))
}

/// Where the SSRC of an RTP packet would be, whatever the version is. `None`: shorter than a header.
#[inline]
pub fn peek_ssrc_any_version(bytes: &[u8]) -> Option<Ssrc> {
    let header = bytes.first_chunk::<HEADER_BYTES>()?;
    let [.., a, b, c, d] = *header;
    Some(Ssrc(u32::from_be_bytes([a, b, c, d])))
}

/// Cuts frames into RTP packets with running sequence numbers. One buffer is used again for every packet.
#[derive(Debug)]
pub struct Writer {
    ssrc: Ssrc,
    payload_type: u8,
    sequence: u16,
    buffer: Vec<u8>,
}

impl Writer {
    /// `payload_type` 0 to 127 (96 for PS by GB/T 28181-2016, annex C).
    pub fn new(ssrc: Ssrc, payload_type: u8, first_sequence: u16) -> Writer {
        Writer {
            ssrc,
            payload_type: payload_type & 0x7f,
            sequence: first_sequence,
            buffer: Vec::new(),
        }
    }

    /// The sequence number of the next packet.
    pub fn next_sequence(&self) -> u16 {
        self.sequence
    }

    /// Gives `payload` to `put` as packets of at most `payload_max` payload bytes each; the last has the marker. An empty
    /// payload makes no packet. `timestamp` in ticks of 1/90,000 s for PS.
    pub fn write(
        &mut self,
        payload: &[u8],
        timestamp: u32,
        payload_max: usize,
        put: &mut impl FnMut(&[u8]),
    ) {
        let mut chunks = payload.chunks(payload_max.max(1)).peekable();
        while let Some(chunk) = chunks.next() {
            let marker = if chunks.peek().is_none() { 0x80 } else { 0 };
            self.buffer.clear();
            self.buffer
                .extend_from_slice(&[0x80, marker | self.payload_type]);
            self.buffer.extend_from_slice(&self.sequence.to_be_bytes());
            self.buffer.extend_from_slice(&timestamp.to_be_bytes());
            self.buffer.extend_from_slice(&self.ssrc.0.to_be_bytes());
            self.buffer.extend_from_slice(chunk);
            put(&self.buffer);
            self.sequence = self.sequence.wrapping_add(1);
        }
    }
}

/// How far `to` lies ahead of `from` on a 16-bit circle; negative = behind.
#[inline]
pub fn sequence_distance(from: u16, to: u16) -> i32 {
    i32::from(to.wrapping_sub(from) as i16)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: [u8; 14] = [
        0x80, 0xe0, 0x12, 0x34, 0, 0, 0x0e, 0x10, 0x05, 0xf5, 0xe1, 0x00, 0xaa, 0xbb,
    ];

    #[test]
    fn a_plain_packet_is_read_field_by_field() {
        let p = Packet::parse(&PLAIN).expect("valid");
        assert!(p.marker());
        assert_eq!(p.payload_type(), 96);
        assert_eq!(p.sequence(), 0x1234);
        assert_eq!(p.timestamp(), 3600);
        assert_eq!(p.ssrc(), Ssrc(100_000_000));
        assert_eq!(p.payload(), [0xaa, 0xbb]);
    }

    #[test]
    fn sources_extension_and_padding_are_stepped_over() {
        let mut b = vec![0xb1, 96, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1];
        b.extend([9, 9, 9, 9]); // one contributing source
        b.extend([0xbe, 0xde, 0, 1, 7, 7, 7, 7]); // one word of extension
        b.extend([1, 2, 3, 0, 2]); // two bytes of padding
        assert_eq!(
            Packet::parse(&b).map(|p| p.payload().to_vec()),
            Ok(vec![1, 2, 3])
        );
        let last = b.len() - 1;
        b[last] = 5;
        assert_eq!(Packet::parse(&b).map(|p| p.payload().len()), Ok(0));
        b[last] = 6;
        assert_eq!(Packet::parse(&b).err(), Some(Error::Padding));
        b[last] = 0;
        assert_eq!(Packet::parse(&b).err(), Some(Error::Padding));
    }

    #[test]
    fn what_is_cut_or_of_another_version_is_refused() {
        for n in 0..HEADER_BYTES {
            assert_eq!(Packet::parse(&PLAIN[..n]).err(), Some(Error::Short));
        }
        let mut b = PLAIN;
        b[0] = 0x40;
        assert_eq!(Packet::parse(&b).err(), Some(Error::Version(1)));
        b[0] = 0x81; // a contributing source that is not there
        assert_eq!(Packet::parse(&b).err(), Some(Error::Short));
        b[0] = 0x90; // an extension that is not there
        assert_eq!(Packet::parse(&b).err(), Some(Error::Short));
    }

    #[test]
    fn rtcp_is_told_apart() {
        for second in [200, 201, 202, 203, 204, 205, 206, 207] {
            assert!(is_rtcp(&[0x80, second, 0, 1, 0, 0, 0, 7]));
        }
        for second in [96, 224, 8, 136, 98, 226] {
            assert!(!is_rtcp(&[0x80, second, 0, 1, 0, 0, 0, 7]));
        }
        assert_eq!(peek_ssrc(&[0x80, 200, 0, 1, 0, 0, 0, 7]), Some(Ssrc(7)));
        assert_eq!(peek_ssrc(&PLAIN), Some(Ssrc(100_000_000)));
        assert_eq!(peek_ssrc(&PLAIN[..11]), None);
        let mut other = PLAIN;
        other[0] = 0;
        assert_eq!(peek_ssrc(&other), None);
        assert_eq!(peek_ssrc_any_version(&other), Some(Ssrc(100_000_000)));
        assert_eq!(peek_ssrc_any_version(&other[..11]), None);
    }

    #[test]
    fn a_written_frame_has_one_marker_and_running_numbers() {
        let mut writer = Writer::new(Ssrc(5), 96, 65_535);
        let mut seen = Vec::new();
        writer.write(&[1; 2500], 90, 1000, &mut |packet| {
            let p = Packet::parse(packet).expect("valid");
            seen.push((p.sequence(), p.marker(), p.payload().len(), p.timestamp()));
        });
        assert_eq!(
            seen,
            [
                (65_535, false, 1000, 90),
                (0, false, 1000, 90),
                (1, true, 500, 90)
            ]
        );
    }
}
