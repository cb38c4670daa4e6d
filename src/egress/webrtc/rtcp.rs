//! RTCP between us and a viewer: our sender reports, the viewer's feedback.
//!
//! RFC 3550, 6.4 to 6.6 (SR, RR, SDES, BYE); RFC 4585, 6.2.1 (generic NACK) and 6.3.1 (PLI); RFC 5104, 4.3.1 (FIR);
//! draft-holmer-rmcat-transport-wide-cc-extensions-01, 3.1; draft-alvestrand-rmcat-remb-03.
//! Apart from `media::rtcp`, which serves receivers of plain RTP and steps over feedback.
//!
//! Packets are read on the way through a compound, without a copy; what is not known is stepped over by its length. A
//! packet whose inside does not fit is left out, and the next one is read.
//! Not done: XR, BYE of the viewer (a browser that goes says close_notify or stops its checks).
//!
//! Bounds: [`RTCP_COMPOUND_MAX`] packets of a compound, [`TRANSPORT_FEEDBACK_PACKETS_MAX`] of a transport-wide feedback.

use crate::limits::{RTCP_COMPOUND_MAX, TRANSPORT_FEEDBACK_PACKETS_MAX};

const SENDER_REPORT: u8 = 200;
const RECEIVER_REPORT: u8 = 201;
const SOURCE_DESCRIPTION: u8 = 202;
const GOODBYE: u8 = 203;
const TRANSPORT_FEEDBACK: u8 = 205;
const PAYLOAD_FEEDBACK: u8 = 206;

const FMT_NACK: u8 = 1;
const FMT_TRANSPORT_CC: u8 = 15;
const FMT_PLI: u8 = 1;
const FMT_FIR: u8 = 4;
const FMT_APPLICATION: u8 = 15;

const REPORT_BLOCK_BYTES: usize = 24;
const SDES_CNAME: u8 = 1;

/// What a viewer says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Feedback<'a> {
    Report(Block),
    /// Lost packets of a source.
    Nack {
        ssrc: u32,
        lost: Lost<'a>,
    },
    /// A key frame is wanted (PLI or FIR).
    KeyFrame {
        ssrc: u32,
    },
    Transport(Transport<'a>),
    /// Receiver's estimate in bit/s.
    Bandwidth(u64),
}

/// One report block (RFC 3550, 6.4.1), as far as a sender needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    pub ssrc: u32,
    /// 256ths lost since the last report.
    pub fraction_lost: u8,
    /// In RTP ticks.
    pub jitter: u32,
    /// Middle 32 bits of the NTP time of the last SR; 0 = none came.
    pub last_sr: u32,
    /// In 1/65,536 s.
    pub delay_since_last_sr: u32,
}

/// What became of a packet, by its transport-wide number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    Lost,
    /// Microseconds after the feedback's reference time.
    At(i64),
    /// It came; when is not said.
    Untimed,
}

/// A transport-wide feedback: what became of consecutive packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transport<'a> {
    first: u16,
    count: u16,
    reference: u32,
    chunks: &'a [u8],
    deltas: &'a [u8],
}

impl<'a> Transport<'a> {
    /// `None`: cut short, or about more packets than any receiver gathers.
    fn parse(body: &'a [u8]) -> Option<Self> {
        let count = be16(body.get(..16)?, 10);
        if usize::from(count) > TRANSPORT_FEEDBACK_PACKETS_MAX {
            return None;
        }
        let rest = &body[16..];
        let (mut covered, mut len) = (0, 0);
        while covered < usize::from(count) {
            let word = be16(rest.get(len..len + 2)?, 0);
            covered += match (word >> 15, word >> 14 & 1) {
                (0, _) => usize::from(word & 0x1fff),
                (_, 0) => 14,
                (_, _) => 7,
            };
            len += 2;
        }
        let (chunks, deltas) = rest.split_at(len);
        Some(Transport {
            first: be16(body, 8),
            count,
            reference: be32(body, 12) >> 8,
            chunks,
            deltas,
        })
    }

    /// Time to which arrivals are relative, in 64 ms, 24 bits.
    pub fn reference(&self) -> u32 {
        self.reference
    }

    /// Calls `each` for every packet in order of its number.
    pub fn each(&self, mut each: impl FnMut(u16, Arrival)) {
        let (mut number, mut left) = (self.first, self.count);
        let (mut deltas, mut at_us) = (self.deltas, 0);
        let mut put = |symbol: u16| {
            if left == 0 {
                return;
            }
            let delta = match symbol {
                0 => None,
                1 => deltas.split_first().map(|(d, rest)| (i64::from(*d), rest)),
                2 => deltas
                    .split_first_chunk()
                    .map(|(d, rest)| (i64::from(i16::from_be_bytes(*d)), rest)),
                _ => None,
            };
            let arrival = match (symbol, delta) {
                (0, _) => Arrival::Lost,
                (_, Some((ticks, rest))) => {
                    deltas = rest;
                    // Deltas are in 250 µs.
                    at_us += ticks * 250;
                    Arrival::At(at_us)
                }
                (_, None) => Arrival::Untimed,
            };
            each(number, arrival);
            number = number.wrapping_add(1);
            left -= 1;
        };
        for chunk in self.chunks.chunks_exact(2) {
            let word = be16(chunk, 0);
            // 0 = not received, 1 and 2 = received with a small or large delta, 3 = received without a time.
            match (word >> 15, word >> 14 & 1) {
                (0, _) => (0..word & 0x1fff).for_each(|_| put(word >> 13 & 3)),
                (_, 0) => (0..14).rev().for_each(|bit| put(word >> bit & 1)),
                (_, _) => (0..7).rev().for_each(|n| put(word >> (2 * n) & 3)),
            }
        }
    }
}

/// Sequence numbers of a NACK: pairs of a number and a bit mask of the 16 after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lost<'a>(&'a [u8]);

impl<'a> Lost<'a> {
    pub fn iter(&self) -> impl Iterator<Item = u16> + use<'a> {
        self.0.chunks_exact(4).flat_map(|pair| {
            let first = u16::from_be_bytes([pair[0], pair[1]]);
            let mask = u16::from_be_bytes([pair[2], pair[3]]);
            std::iter::once(first).chain(
                (0..16)
                    .filter(move |bit| mask >> bit & 1 == 1)
                    .map(move |bit| first.wrapping_add(bit + 1)),
            )
        })
    }
}

/// Calls `each` for all that is understood of a compound packet. Ends at the first length that does not fit.
pub fn read<'a>(compound: &'a [u8], mut each: impl FnMut(Feedback<'a>)) {
    let mut rest = compound;
    for _ in 0..RTCP_COMPOUND_MAX {
        let Some((&[first, kind, l0, l1], after)) = rest.split_first_chunk::<4>() else {
            return;
        };
        let len = usize::from(u16::from_be_bytes([l0, l1])) * 4;
        let (2, Some(body)) = (first >> 6, after.get(..len)) else {
            return;
        };
        rest = &after[len..];
        let count = first & 0x1f;
        match (kind, count) {
            (SENDER_REPORT, n) => blocks(body.get(24..), n, &mut each),
            (RECEIVER_REPORT, n) => blocks(body.get(4..), n, &mut each),
            (TRANSPORT_FEEDBACK, FMT_NACK) if body.len() > 8 => each(Feedback::Nack {
                ssrc: be32(body, 4),
                lost: Lost(&body[8..]),
            }),
            (TRANSPORT_FEEDBACK, FMT_TRANSPORT_CC) => {
                if let Some(transport) = Transport::parse(body) {
                    each(Feedback::Transport(transport));
                }
            }
            (PAYLOAD_FEEDBACK, FMT_PLI) if body.len() >= 8 => each(Feedback::KeyFrame {
                ssrc: be32(body, 4),
            }),
            (PAYLOAD_FEEDBACK, FMT_FIR) => {
                // The media source of the header is 0; each entry names its own.
                let entries = body.get(8..).unwrap_or(&[]).chunks_exact(8);
                entries.for_each(|e| each(Feedback::KeyFrame { ssrc: be32(e, 0) }));
            }
            (PAYLOAD_FEEDBACK, FMT_APPLICATION) => {
                if let Some(bits) = remb(body) {
                    each(Feedback::Bandwidth(bits));
                }
            }
            _ => {}
        }
    }
}

fn blocks<'a>(bytes: Option<&'a [u8]>, count: u8, each: &mut impl FnMut(Feedback<'a>)) {
    let blocks = bytes.unwrap_or(&[]).chunks_exact(REPORT_BLOCK_BYTES);
    for b in blocks.take(usize::from(count)) {
        each(Feedback::Report(Block {
            ssrc: be32(b, 0),
            fraction_lost: b[4],
            jitter: be32(b, 12),
            last_sr: be32(b, 16),
            delay_since_last_sr: be32(b, 20),
        }));
    }
}

/// Bit rate of a REMB message: 6 bits of exponent, 18 of mantissa.
fn remb(body: &[u8]) -> Option<u64> {
    let b = body.get(8..16)?;
    (&b[..4] == b"REMB").then_some(())?;
    let word = be32(b, 4);
    let (exponent, mantissa) = (word >> 18 & 0x3f, u64::from(word & 0x3_ffff));
    mantissa.checked_shl(exponent).or(Some(u64::MAX))
}

fn be16(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

fn be32(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// The sender's part of an SR.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SenderReport {
    pub ssrc: u32,
    /// NTP time, 32.32 fixed point.
    pub ntp: u64,
    pub timestamp: u32,
    pub packets: u32,
    /// Of payload, without headers.
    pub octets: u32,
}

/// Appends an SR without report blocks.
pub fn put_sender_report(out: &mut Vec<u8>, r: &SenderReport) {
    out.extend_from_slice(&[0x80, SENDER_REPORT, 0, 6]);
    out.extend_from_slice(&r.ssrc.to_be_bytes());
    out.extend_from_slice(&r.ntp.to_be_bytes());
    for word in [r.timestamp, r.packets, r.octets] {
        out.extend_from_slice(&word.to_be_bytes());
    }
}

/// Appends an SDES with one CNAME (at most 255 bytes of it) for every source.
pub fn put_source_description(out: &mut Vec<u8>, ssrcs: &[u32], cname: &str) {
    let cname = &cname.as_bytes()[..cname.len().min(255)];
    let start = out.len();
    out.extend_from_slice(&[0x80 | ssrcs.len() as u8, SOURCE_DESCRIPTION, 0, 0]);
    for ssrc in ssrcs {
        out.extend_from_slice(&ssrc.to_be_bytes());
        out.extend_from_slice(&[SDES_CNAME, cname.len() as u8]);
        out.extend_from_slice(cname);
        // A chunk ends with one to four zeros, on a word.
        let len = out.len() - start;
        out.resize(start + (len + 1).next_multiple_of(4), 0);
    }
    put_len(out, start);
}

/// Appends an empty RR, with which a compound may begin, and a BYE.
pub fn put_goodbye(out: &mut Vec<u8>, ssrcs: &[u32]) {
    out.extend_from_slice(&[0x80, RECEIVER_REPORT, 0, 1]);
    out.extend_from_slice(&ssrcs.first().copied().unwrap_or(0).to_be_bytes());
    let start = out.len();
    out.extend_from_slice(&[0x80 | ssrcs.len() as u8, GOODBYE, 0, 0]);
    ssrcs
        .iter()
        .for_each(|s| out.extend_from_slice(&s.to_be_bytes()));
    put_len(out, start);
}

fn put_len(out: &mut [u8], start: usize) {
    let words = ((out.len() - start) / 4 - 1) as u16;
    out[start + 2..start + 4].copy_from_slice(&words.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(compound: &[u8]) -> Vec<Feedback<'_>> {
        let mut found = Vec::new();
        read(compound, |f| found.push(f));
        found
    }

    /// A feedback packet as RFC 4585, 6.1 lays it out.
    fn packet(kind: u8, fmt: u8, media: u32, rest: &[u8]) -> Vec<u8> {
        let mut p = vec![0x80 | fmt, kind, 0, 0, 0, 0, 0, 1];
        p.extend_from_slice(&media.to_be_bytes());
        p.extend_from_slice(rest);
        put_len(&mut p, 0);
        p
    }

    #[test]
    fn a_browsers_compound_is_read() {
        let mut compound = vec![0x81, RECEIVER_REPORT, 0, 7, 0, 0, 0, 1];
        compound.extend_from_slice(&[
            0, 0, 3, 0xe9, 64, 0, 0, 5, 0, 1, 0, 9, 0, 0, 0, 7, 1, 2, 3, 4, 0, 1, 0, 0,
        ]);
        compound.extend(packet(PAYLOAD_FEEDBACK, FMT_PLI, 1001, &[]));
        compound.extend(packet(
            TRANSPORT_FEEDBACK,
            FMT_NACK,
            1001,
            &[0xff, 0xff, 0x80, 0x01],
        ));
        compound.extend(packet(
            PAYLOAD_FEEDBACK,
            FMT_FIR,
            0,
            &[0, 0, 3, 0xe9, 1, 0, 0, 0],
        ));
        compound.extend(packet(
            PAYLOAD_FEEDBACK,
            FMT_APPLICATION,
            0,
            b"REMB\x01\x0b\xd0\x90\0\0\x03\xe9",
        ));
        let found = all(&compound);
        assert_eq!(found.len(), 5);
        assert_eq!(
            found[0],
            Feedback::Report(Block {
                ssrc: 1001,
                fraction_lost: 64,
                jitter: 7,
                last_sr: 0x0102_0304,
                delay_since_last_sr: 65_536
            })
        );
        assert_eq!(found[1], Feedback::KeyFrame { ssrc: 1001 });
        let Feedback::Nack { ssrc: 1001, lost } = found[2] else {
            panic!("no NACK");
        };
        assert_eq!(lost.iter().collect::<Vec<_>>(), [0xffff, 0, 15]);
        assert_eq!(found[3], Feedback::KeyFrame { ssrc: 1001 });
        // 0x3d090 << 2 bit/s.
        assert_eq!(found[4], Feedback::Bandwidth(1_000_000));
    }

    #[test]
    fn transport_wide_feedback_counts_what_came() {
        // 20 packets: a run of 9 received; a vector of one-bit symbols of which the first 11 count.
        let fci = |chunks: &[u8]| {
            let mut f = vec![0, 1, 0, 20, 0, 0, 9, 1];
            f.extend_from_slice(chunks);
            f.resize(f.len().next_multiple_of(4), 0);
            packet(TRANSPORT_FEEDBACK, FMT_TRANSPORT_CC, 1001, &f)
        };
        let counts = |packet: &[u8]| {
            all(packet).first().map(|f| {
                let Feedback::Transport(transport) = f else {
                    panic!("{f:?}");
                };
                let (mut received, mut lost, mut numbers) = (0, 0, Vec::new());
                transport.each(|number, arrival| {
                    numbers.push(number);
                    match arrival {
                        Arrival::Lost => lost += 1,
                        Arrival::At(_) | Arrival::Untimed => received += 1,
                    }
                });
                assert!(numbers.into_iter().eq(1..21));
                (received, lost)
            })
        };
        let one_bit = fci(&[0x20, 9, 0b1010_1111, 0b1111_1111, 0, 0]);
        assert_eq!(counts(&one_bit), Some((19, 1)));
        // A run of 13 lost, then two-bit symbols: received small, lost, received large, then four lost.
        let two_bit = fci(&[0x00, 13, 0b1101_0010, 0, 0, 0]);
        assert_eq!(counts(&two_bit), Some((2, 18)));
        // A count that the chunks do not reach, and one that no receiver gathers.
        assert_eq!(counts(&fci(&[0x20, 9, 0x20, 9])), None);
        let claim = |count: u16| {
            let mut f = vec![0, 1, 0, 0, 0, 0, 9, 1];
            f[2..4].copy_from_slice(&count.to_be_bytes());
            f.extend_from_slice(&[0x1f, 0xff, 0, 0]);
            packet(TRANSPORT_FEEDBACK, FMT_TRANSPORT_CC, 1001, &f)
        };
        let most = TRANSPORT_FEEDBACK_PACKETS_MAX as u16;
        assert_eq!(all(&claim(most)).len(), 1);
        assert_eq!(all(&claim(most + 1)).len(), 0);
    }

    #[test]
    fn transport_wide_feedback_says_when_packets_came() {
        // Reference 2 (128 ms); small 8 ticks, lost, large -4 ticks, received without a time.
        let mut f = vec![0xff, 0xff, 0, 4, 0, 0, 2, 7];
        f.extend_from_slice(&[0b1101_0010, 0b1100_0000, 8, 0xff, 0xfc, 0, 0, 0]);
        let packet = packet(TRANSPORT_FEEDBACK, FMT_TRANSPORT_CC, 1001, &f);
        let found = all(&packet);
        let [Feedback::Transport(transport)] = found[..] else {
            panic!("{found:?}");
        };
        assert_eq!(transport.reference(), 2);
        let mut arrivals = Vec::new();
        transport.each(|number, arrival| arrivals.push((number, arrival)));
        assert_eq!(
            arrivals,
            [
                (0xffff, Arrival::At(2_000)),
                (0, Arrival::Lost),
                (1, Arrival::At(1_000)),
                (2, Arrival::Untimed),
            ]
        );
    }

    #[test]
    fn a_compound_has_a_bound() {
        let pli = packet(PAYLOAD_FEEDBACK, FMT_PLI, 7, &[]);
        assert_eq!(all(&pli.repeat(RTCP_COMPOUND_MAX)).len(), RTCP_COMPOUND_MAX);
        assert_eq!(
            all(&pli.repeat(RTCP_COMPOUND_MAX + 1)).len(),
            RTCP_COMPOUND_MAX
        );
    }

    #[test]
    fn what_we_write_is_well_formed() {
        let mut out = Vec::new();
        let report = SenderReport {
            ssrc: 0x0102_0304,
            ntp: 0x1112_1314_1516_1718,
            timestamp: 9,
            packets: 2,
            octets: 3,
        };
        put_sender_report(&mut out, &report);
        assert_eq!(
            out,
            [
                0x80, 200, 0, 6, 1, 2, 3, 4, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18, 0, 0,
                0, 9, 0, 0, 0, 2, 0, 0, 0, 3
            ]
        );
        for len in 0..9 {
            let mut out = Vec::new();
            let cname = &"abcdefgh"[..len];
            put_source_description(&mut out, &[1, 2], cname);
            let words = usize::from(out[3]);
            assert_eq!((out[0], out[1], (words + 1) * 4), (0x82, 202, out.len()));
            let chunk = (out.len() - 4) / 2;
            for c in out[4..].chunks(chunk) {
                assert_eq!(
                    (c[4], usize::from(c[5]), &c[6..6 + len]),
                    (1, len, cname.as_bytes())
                );
                assert!(
                    c[6 + len..].iter().all(|b| *b == 0)
                        && c.len() > 6 + len
                        && c.len() <= 10 + len
                );
            }
        }
        let mut out = Vec::new();
        put_goodbye(&mut out, &[5, 6]);
        assert_eq!(
            out,
            [
                0x80, 201, 0, 1, 0, 0, 0, 5, 0x82, 203, 0, 2, 0, 0, 0, 5, 0, 0, 0, 6
            ]
        );
    }

    #[test]
    fn seeds_of_other_stacks_and_their_mutants_are_survived() {
        let folder = std::env::var_os("GANTRY_VECTORS").map_or_else(
            || concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/vectors").into(),
            std::path::PathBuf::from,
        );
        let mut state = 5u64;
        let mut random = move || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 33) as usize
        };
        let mut seeds = 0;
        for name in ["fuzz/janus-rtcp", "fuzz/pjproject-rtcp"] {
            let Ok(dir) = std::fs::read_dir(folder.join(name)) else {
                println!("skipped: {name} is not there");
                continue;
            };
            for seed in dir.flatten().filter_map(|e| std::fs::read(e.path()).ok()) {
                seeds += 1;
                for _ in 0..500 {
                    let mut raw = seed.clone();
                    for _ in 0..random() % 4 {
                        if !raw.is_empty() {
                            let at = random() % raw.len();
                            raw[at] = random() as u8;
                        }
                    }
                    raw.truncate(raw.len() - random() % (raw.len() / 8 + 1));
                    read(&raw, |f| match f {
                        Feedback::Nack { lost, .. } => {
                            assert!(lost.iter().count() <= raw.len() * 5)
                        }
                        Feedback::Transport(transport) => {
                            let mut count = 0;
                            transport.each(|_, _| count += 1);
                            assert!(count <= TRANSPORT_FEEDBACK_PACKETS_MAX);
                        }
                        Feedback::Report(_)
                        | Feedback::KeyFrame { .. }
                        | Feedback::Bandwidth(_) => {}
                    });
                }
            }
        }
        println!("{seeds} seeds");
    }
}
