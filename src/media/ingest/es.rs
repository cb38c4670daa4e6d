//! Elementary streams in RTP: NAL units and AAC access units out of payloads.
//!
//! RFC 6184, 5.6 to 5.8 (single NAL unit, STAP-A, STAP-B, FU-A, FU-B); RFC 7798, 4.4 (single NAL unit, AP, FU); RFC 3640, 3.2
//! (AU headers); RFC 6416, 6.3 (length fields of LATM).
//!
//! NAL units leave as pieces of an Annex B stream: a start code, then slices of the payload, so that they take the path of
//! those from a program stream. Not done: interleaving (a decoding order number is stepped over), MTAP, PACI, several
//! access units of AAC out of order.
//!
//! Bounds: an AAC unit that comes in several packets, [`crate::limits::AAC_UNIT_BYTES_MAX`].

use super::payload::AacFormat;
use crate::limits;

const START_CODE: [u8; 3] = [0, 0, 1];

/// NAL units on their way.
#[derive(Debug, Default)]
pub(super) struct Nals {
    /// The first fragment of the open NAL unit has come.
    fragment: bool,
}

impl Nals {
    /// Packets are missing: what is left of a fragmented unit is not taken.
    pub fn lose(&mut self) {
        self.fragment = false;
    }

    /// Takes a payload of RFC 6184. Gives whether a NAL unit ended with it.
    pub fn push_h264(&mut self, payload: &[u8], put: &mut impl FnMut(&[u8])) -> bool {
        match payload {
            [head, ..] if matches!(head & 0x1f, 1..=23) => self.single(payload, put),
            [head, units @ ..] if head & 0x1f == 24 => self.aggregate(units, put),
            [head, _, _, units @ ..] if head & 0x1f == 25 => self.aggregate(units, put),
            [head, fragment, body @ ..] if matches!(head & 0x1f, 28 | 29) => {
                let starts = fragment & 0x80 != 0;
                // FU-B has a decoding order number in its first fragment.
                let skip = if starts && head & 0x1f == 29 { 2 } else { 0 };
                let nal = [head & 0xe0 | fragment & 0x1f];
                self.fragment(*fragment, &nal, body.get(skip..).unwrap_or_default(), put)
            }
            _ => false,
        }
    }

    /// Takes a payload of RFC 7798. Gives whether a NAL unit ended with it.
    pub fn push_h265(&mut self, payload: &[u8], put: &mut impl FnMut(&[u8])) -> bool {
        match payload {
            [head, _, units @ ..] if head >> 1 & 0x3f == 48 => self.aggregate(units, put),
            [head, second, fragment, body @ ..] if head >> 1 & 0x3f == 49 => {
                let nal = [head & 0x81 | (fragment & 0x3f) << 1, *second];
                self.fragment(*fragment, &nal, body, put)
            }
            [head, _, _, ..] if head >> 1 & 0x3f < 48 => self.single(payload, put),
            _ => false,
        }
    }

    fn single(&mut self, nal: &[u8], put: &mut impl FnMut(&[u8])) -> bool {
        self.fragment = false;
        put(&START_CODE);
        put(nal);
        true
    }

    fn aggregate(&mut self, mut units: &[u8], put: &mut impl FnMut(&[u8])) -> bool {
        self.fragment = false;
        while let [high, low, rest @ ..] = units {
            let len = usize::from(u16::from_be_bytes([*high, *low])).min(rest.len());
            let (nal, after) = rest.split_at(len);
            if !nal.is_empty() {
                put(&START_CODE);
                put(nal);
            }
            units = after;
        }
        true
    }

    fn fragment(&mut self, head: u8, nal: &[u8], body: &[u8], put: &mut impl FnMut(&[u8])) -> bool {
        if head & 0x80 != 0 {
            put(&START_CODE);
            put(nal);
            self.fragment = true;
        }
        if !self.fragment {
            return false;
        }
        put(body);
        let ends = head & 0x40 != 0;
        self.fragment = !ends;
        ends
    }
}

/// Access units of AAC on their way.
#[derive(Debug, Default)]
pub(super) struct AacUnits {
    /// A unit that comes in several packets, and how long it will be; 0 = it ends with the marker.
    held: Vec<u8>,
    wanted: usize,
}

impl AacUnits {
    pub fn lose(&mut self) {
        self.held.clear();
        self.wanted = 0;
    }

    /// Takes a payload; `put` is given whole access units in order, with their place among those of this payload.
    pub fn push(
        &mut self,
        format: &AacFormat,
        payload: &[u8],
        marker: bool,
        put: &mut impl FnMut(usize, &[u8]),
    ) {
        match format.header_bits {
            Some(bits) => self.push_generic(bits, payload, put),
            None => self.push_latm(payload, marker, put),
        }
    }

    fn push_generic(&mut self, bits: (u8, u8), payload: &[u8], put: &mut impl FnMut(usize, &[u8])) {
        let (size_bits, index_bits) = (usize::from(bits.0), usize::from(bits.1));
        let [high, low, rest @ ..] = payload else {
            return;
        };
        let header_bits = usize::from(u16::from_be_bytes([*high, *low]));
        let Some((headers, mut data)) = rest.split_at_checked(header_bits.div_ceil(8)) else {
            return;
        };
        let each = size_bits + index_bits;
        if each == 0 || size_bits == 0 {
            return;
        }
        for n in 0..header_bits / each {
            let size = read_bits(headers, n * each, size_bits);
            if size > limits::AAC_UNIT_BYTES_MAX {
                self.lose();
                return;
            }
            if let Some((unit, after)) = data.split_at_checked(size) {
                self.lose();
                if !unit.is_empty() {
                    put(n, unit);
                }
                data = after;
            } else {
                // A fragment: each packet of it repeats the size of the whole.
                self.hold(size, data, put);
                return;
            }
        }
    }

    fn hold(&mut self, size: usize, piece: &[u8], put: &mut impl FnMut(usize, &[u8])) {
        if self.wanted != size {
            self.held.clear();
            self.wanted = size;
        }
        let room = size - self.held.len();
        self.held.extend_from_slice(&piece[..piece.len().min(room)]);
        if self.held.len() == size {
            put(0, &self.held);
            self.lose();
        }
    }

    fn push_latm(&mut self, payload: &[u8], marker: bool, put: &mut impl FnMut(usize, &[u8])) {
        if self.held.len() + payload.len() > limits::AAC_UNIT_BYTES_MAX {
            self.lose();
            return;
        }
        if !marker {
            self.held.extend_from_slice(payload);
            return;
        }
        let held = std::mem::take(&mut self.held);
        if held.is_empty() {
            latm_units(payload, put);
        } else {
            let mut whole = held;
            whole.extend_from_slice(payload);
            latm_units(&whole, put);
            whole.clear();
            self.held = whole;
        }
    }
}

/// Each unit stands behind its length: bytes of 255, then one below, all added.
fn latm_units(mut data: &[u8], put: &mut impl FnMut(usize, &[u8])) {
    let mut n = 0;
    while let Some(full) = data.iter().position(|b| *b != 0xff) {
        let size = full * 255 + usize::from(data[full]);
        let Some((unit, after)) = data[full + 1..].split_at_checked(size) else {
            return;
        };
        if !unit.is_empty() {
            put(n, unit);
        }
        n += 1;
        data = after;
    }
}

/// `count` bits, at most 16, from bit `at` on; what lies behind the end is zero.
fn read_bits(bytes: &[u8], at: usize, count: usize) -> usize {
    (at..at + count).fold(0, |value, bit| {
        let byte = bytes.get(bit / 8).copied().unwrap_or(0);
        value << 1 | usize::from(byte >> (7 - bit % 8) & 1)
    })
}

#[cfg(test)]
mod tests {
    use super::super::payload::{Kind, RtpMap};
    use super::*;

    fn joined(payloads: &[&[u8]], h265: bool) -> (Vec<u8>, Vec<bool>) {
        let (mut nals, mut out) = (Nals::default(), Vec::new());
        let ends = payloads.iter().map(|payload| {
            let mut put = |b: &[u8]| out.extend_from_slice(b);
            if h265 {
                nals.push_h265(payload, &mut put)
            } else {
                nals.push_h264(payload, &mut put)
            }
        });
        let ends = ends.collect();
        (out, ends)
    }

    #[test]
    fn h264_packets_become_nal_units() {
        // RFC 6184, 5.7.1 and 5.8.
        let (out, ends) = joined(
            &[
                &[0x67, 1, 2],
                &[0x78, 0, 2, 0x68, 3, 0, 3, 0x06, 4, 5],
                &[0x7c, 0x85, 9],
                &[0x7c, 0x05, 8],
                &[0x7c, 0x45, 7],
            ],
            false,
        );
        assert_eq!(
            out,
            [
                0, 0, 1, 0x67, 1, 2, 0, 0, 1, 0x68, 3, 0, 0, 1, 0x06, 4, 5, 0, 0, 1, 0x65, 9, 8, 7
            ]
        );
        assert_eq!(ends, [true, true, false, false, true]);
    }

    #[test]
    fn h265_packets_become_nal_units() {
        let (out, ends) = joined(
            &[
                &[0x60, 1, 0, 3, 0x40, 1, 2, 0, 3, 0x44, 1, 3],
                &[0x62, 1, 0x93, 9],
                &[0x62, 1, 0x53, 8],
                &[0x02, 1, 0xd0, 4],
            ],
            true,
        );
        assert_eq!(
            out,
            [
                0, 0, 1, 0x40, 1, 2, 0, 0, 1, 0x44, 1, 3, 0, 0, 1, 0x26, 1, 9, 8, 0, 0, 1, 0x02, 1,
                0xd0, 4
            ]
        );
        assert_eq!(ends, [true, false, true, true]);
    }

    #[test]
    fn fragments_without_their_first_are_left_out() {
        let (out, ends) = joined(&[&[0x7c, 0x05, 8], &[0x7c, 0x45, 7], &[0x41, 1]], false);
        assert_eq!(out, [0, 0, 1, 0x41, 1]);
        assert_eq!(ends, [false, false, true]);
        for wrong in [&[][..], &[0x7c], &[0x00, 1], &[0x1e, 1, 2]] {
            assert_eq!(joined(&[wrong], false), (vec![], vec![false]));
        }
    }

    fn format(rtpmap: &str, fmtp: &str) -> AacFormat {
        match RtpMap::parse(97, rtpmap, fmtp).map(|m| m.kind) {
            Some(Kind::Aac(format)) => format,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn aac_units_are_cut_out_and_put_together() {
        let generic = format("MPEG4-GENERIC/16000", "config=1408");
        let mut units = AacUnits::default();
        let mut seen: Vec<(usize, Vec<u8>)> = Vec::new();
        let mut push = |payload: &[u8], marker| {
            units.push(&generic, payload, marker, &mut |n, unit| {
                seen.push((n, unit.to_vec()));
            });
        };
        // Two whole units, then one of five bytes in two packets, then a header without its unit.
        push(&[0, 32, 0, 2 << 3, 0, 1 << 3, 1, 2, 3], true);
        push(&[0, 16, 0, 5 << 3, 4, 5, 6], false);
        push(&[0, 16, 0, 5 << 3, 7, 8], true);
        push(&[0, 16, 0, 5 << 3], true);
        push(&[0, 200, 1], true);
        assert_eq!(
            seen,
            [(0, vec![1, 2]), (1, vec![3]), (0, vec![4, 5, 6, 7, 8])]
        );
    }

    #[test]
    fn latm_lengths_are_followed() {
        let latm = format("MP4A-LATM/16000/1", "cpresent=0;config=400028103FC0");
        let mut units = AacUnits::default();
        let mut seen = Vec::new();
        let long = [&[255u8, 1][..], &[7; 256], &[2, 8, 9]].concat();
        let (first, second) = long.split_at(100);
        for (part, marker) in [(first, false), (second, true)] {
            units.push(&latm, part, marker, &mut |n, unit| {
                seen.push((n, unit.len()))
            });
        }
        assert_eq!(seen, [(0, 256), (1, 2)]);
        // More than a unit can have, and no marker.
        for _ in 0..2 * limits::AAC_UNIT_BYTES_MAX / 100 {
            units.push(&latm, &[1; 100], false, &mut |_, _| panic!("no unit ends"));
            assert!(units.held.len() <= limits::AAC_UNIT_BYTES_MAX);
        }
    }
}
