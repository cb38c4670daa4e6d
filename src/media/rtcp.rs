//! RTCP: sender and receiver reports, source descriptions, goodbyes; read and written.
//!
//! RFC 3550, 6.4 (SR, RR), 6.5 (SDES), 6.6 (BYE), A.3 and A.8 (loss and jitter); written only: RFC 4585, 6.3.1 (picture loss
//! indication), and RFC 5104, 4.3.1 (full intra request). Packets of other types (APP, feedback) are stepped over by their length.
//!
//! Bounds: at most [`crate::limits::RTCP_PACKETS_MAX`] packets are read of one compound; a packet counts at most 31
//! blocks or sources by its own field.

use crate::id::Ssrc;
use crate::limits;

const SENDER_REPORT: u8 = 200;
const RECEIVER_REPORT: u8 = 201;
const SOURCE_DESCRIPTION: u8 = 202;
const GOODBYE: u8 = 203;
const PAYLOAD_FEEDBACK: u8 = 206;
const PICTURE_LOSS: u8 = 1;
const FULL_INTRA_REQUEST: u8 = 4;

const REPORT_BLOCK_BYTES: usize = 24;
const SDES_CNAME: u8 = 1;

/// One report block (RFC 3550, 6.4.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReportBlock {
    /// Whom it is about.
    pub ssrc: u32,
    /// 256ths lost since the last report.
    pub fraction_lost: u8,
    /// Lost in all, 24 bits signed.
    pub lost: i32,
    /// Extended highest sequence number received.
    pub highest_sequence: u32,
    /// Interarrival jitter in RTP ticks.
    pub jitter: u32,
    /// Middle 32 bits of the NTP time of the last SR; 0 = none came.
    pub last_sr: u32,
    /// Since that SR, in 1/65,536 s.
    pub delay_since_last_sr: u32,
}

/// The sender's part of an SR.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SenderInfo {
    /// NTP time, 32.32 fixed point.
    pub ntp: u64,
    pub rtp_timestamp: u32,
    pub packets: u32,
    pub octets: u32,
}

/// One packet of a compound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packet<'a> {
    SenderReport {
        ssrc: Ssrc,
        info: SenderInfo,
        blocks: Blocks<'a>,
    },
    ReceiverReport {
        ssrc: Ssrc,
        blocks: Blocks<'a>,
    },
    /// The first source and its CNAME, if it gives one.
    SourceDescription {
        ssrc: Ssrc,
        cname: Option<&'a [u8]>,
    },
    /// The first source that leaves.
    Goodbye {
        ssrc: Option<Ssrc>,
    },
    /// Another type, not read further.
    Other {
        packet_type: u8,
        body: &'a [u8],
    },
}

/// Report blocks, read on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Blocks<'a>(&'a [u8]);

impl Blocks<'_> {
    pub fn iter(&self) -> impl Iterator<Item = ReportBlock> {
        self.0
            .chunks_exact(REPORT_BLOCK_BYTES)
            .map(|b| ReportBlock {
                ssrc: be32(b, 0),
                fraction_lost: b[4],
                lost: (be32(b, 4) << 8) as i32 >> 8,
                highest_sequence: be32(b, 8),
                jitter: be32(b, 12),
                last_sr: be32(b, 16),
                delay_since_last_sr: be32(b, 20),
            })
    }
}

/// Why a compound could not be read on. What came before is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// A length runs past the end.
    Short {
        offset: usize,
    },
    Version {
        offset: usize,
    },
    /// More packets than [`crate::limits::RTCP_PACKETS_MAX`].
    TooMany,
}

/// Walks the packets of a compound. Ends after the first error.
#[derive(Clone, Debug)]
pub struct Packets<'a> {
    bytes: &'a [u8],
    offset: usize,
    count: usize,
}

impl<'a> Packets<'a> {
    pub fn new(bytes: &'a [u8]) -> Packets<'a> {
        Packets {
            bytes,
            offset: 0,
            count: 0,
        }
    }

    fn read(&mut self) -> Result<Packet<'a>, Error> {
        let offset = self.offset;
        let short = Error::Short { offset };
        let rest = &self.bytes[offset..];
        let header = rest.first_chunk::<4>().ok_or(short)?;
        if header[0] >> 6 != 2 {
            return Err(Error::Version { offset });
        }
        if self.count == limits::RTCP_PACKETS_MAX {
            return Err(Error::TooMany);
        }
        let len = usize::from(u16::from_be_bytes([header[2], header[3]])) * 4;
        let mut body = rest.get(4..4 + len).ok_or(short)?;
        self.offset += 4 + len;
        self.count += 1;
        if header[0] & 0x20 != 0 {
            let padding = usize::from(*body.last().ok_or(short)?);
            body = body
                .get(..body.len().checked_sub(padding).ok_or(short)?)
                .ok_or(short)?;
        }
        read_body(header[1], usize::from(header[0] & 0x1f), body).ok_or(short)
    }
}

impl<'a> Iterator for Packets<'a> {
    type Item = Result<Packet<'a>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.offset >= self.bytes.len() {
            return None;
        }
        let read = self.read();
        if read.is_err() {
            self.offset = self.bytes.len();
        }
        Some(read)
    }
}

fn read_body(packet_type: u8, count: usize, body: &[u8]) -> Option<Packet<'_>> {
    let blocks = |from: usize| {
        body.get(from..from + count * REPORT_BLOCK_BYTES)
            .map(Blocks)
    };
    let ssrc = || (body.len() >= 4).then(|| Ssrc(be32(body, 0)));
    Some(match packet_type {
        SENDER_REPORT => {
            let blocks = blocks(24)?;
            Packet::SenderReport {
                ssrc: ssrc()?,
                info: SenderInfo {
                    ntp: u64::from(be32(body, 4)) << 32 | u64::from(be32(body, 8)),
                    rtp_timestamp: be32(body, 12),
                    packets: be32(body, 16),
                    octets: be32(body, 20),
                },
                blocks,
            }
        }
        RECEIVER_REPORT => Packet::ReceiverReport {
            blocks: blocks(4)?,
            ssrc: ssrc()?,
        },
        SOURCE_DESCRIPTION if count > 0 => Packet::SourceDescription {
            ssrc: ssrc()?,
            cname: find_cname(&body[4..]),
        },
        GOODBYE => Packet::Goodbye {
            ssrc: (count > 0).then(ssrc).flatten(),
        },
        packet_type => Packet::Other { packet_type, body },
    })
}

fn find_cname(mut items: &[u8]) -> Option<&[u8]> {
    loop {
        let [kind, len, rest @ ..] = items else {
            return None;
        };
        let len = usize::from(*len);
        if *kind == 0 {
            return None;
        }
        let text = rest.get(..len)?;
        if *kind == SDES_CNAME {
            return Some(text);
        }
        items = &rest[len..];
    }
}

fn be32(b: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([b[at], b[at + 1], b[at + 2], b[at + 3]])
}

/// Appends a sender report without blocks.
pub fn write_sender_report(ssrc: Ssrc, info: &SenderInfo, out: &mut Vec<u8>) {
    out.extend_from_slice(&[0x80, SENDER_REPORT, 0, 6]);
    out.extend_from_slice(&ssrc.0.to_be_bytes());
    out.extend_from_slice(&info.ntp.to_be_bytes());
    out.extend_from_slice(&info.rtp_timestamp.to_be_bytes());
    out.extend_from_slice(&info.packets.to_be_bytes());
    out.extend_from_slice(&info.octets.to_be_bytes());
}

/// Appends a receiver report with one block.
pub fn write_receiver_report(ssrc: Ssrc, block: &ReportBlock, out: &mut Vec<u8>) {
    out.extend_from_slice(&[0x81, RECEIVER_REPORT, 0, 7]);
    out.extend_from_slice(&ssrc.0.to_be_bytes());
    out.extend_from_slice(&block.ssrc.to_be_bytes());
    let lost = block.lost.clamp(-0x80_0000, 0x7f_ffff) as u32 & 0xff_ffff;
    out.extend_from_slice(&(u32::from(block.fraction_lost) << 24 | lost).to_be_bytes());
    out.extend_from_slice(&block.highest_sequence.to_be_bytes());
    out.extend_from_slice(&block.jitter.to_be_bytes());
    out.extend_from_slice(&block.last_sr.to_be_bytes());
    out.extend_from_slice(&block.delay_since_last_sr.to_be_bytes());
}

/// Appends a source description with one CNAME, cut at 255 bytes.
pub fn write_source_description(ssrc: Ssrc, cname: &str, out: &mut Vec<u8>) {
    let text = &cname.as_bytes()[..cname.len().min(255)];
    // SSRC, item header, text, and one to four zeros up to a full word.
    let padded = (4 + 2 + text.len()) / 4 * 4 + 4;
    out.extend_from_slice(&[0x81, SOURCE_DESCRIPTION]);
    out.extend_from_slice(&((padded / 4) as u16).to_be_bytes());
    out.extend_from_slice(&ssrc.0.to_be_bytes());
    out.extend_from_slice(&[SDES_CNAME, text.len() as u8]);
    out.extend_from_slice(text);
    out.resize(out.len() + padded - 6 - text.len(), 0);
}

/// Appends a picture loss indication: `media` should send a key frame. It stands behind a report (RFC 4585, 3.1).
pub fn write_picture_loss(own: Ssrc, media: Ssrc, out: &mut Vec<u8>) {
    out.extend_from_slice(&[0x80 | PICTURE_LOSS, PAYLOAD_FEEDBACK, 0, 2]);
    out.extend_from_slice(&own.0.to_be_bytes());
    out.extend_from_slice(&media.0.to_be_bytes());
}

/// Appends a full intra request: the same wish for devices that know it by this name. `number` is another one for each wish
/// and the same when it is repeated (RFC 5104, 4.3.1.1); the field of the media source is 0 there.
pub fn write_full_intra_request(own: Ssrc, media: Ssrc, number: u8, out: &mut Vec<u8>) {
    out.extend_from_slice(&[0x80 | FULL_INTRA_REQUEST, PAYLOAD_FEEDBACK, 0, 4]);
    out.extend_from_slice(&own.0.to_be_bytes());
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&media.0.to_be_bytes());
    out.extend_from_slice(&[number, 0, 0, 0]);
}

/// Appends a goodbye of one source.
pub fn write_goodbye(ssrc: Ssrc, out: &mut Vec<u8>) {
    out.extend_from_slice(&[0x81, GOODBYE, 0, 1]);
    out.extend_from_slice(&ssrc.0.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_written_compound_is_read_again() {
        let info = SenderInfo {
            ntp: 0x0102_0304_0506_0708,
            rtp_timestamp: 9,
            packets: 10,
            octets: 11,
        };
        let block = ReportBlock {
            ssrc: 7,
            fraction_lost: 25,
            lost: -3,
            highest_sequence: 70_000,
            jitter: 12,
            last_sr: 13,
            delay_since_last_sr: 14,
        };
        for cname in ["", "a", "ab", "abc", "abcd", "gantry@node"] {
            let mut out = Vec::new();
            write_sender_report(Ssrc(1), &info, &mut out);
            write_receiver_report(Ssrc(2), &block, &mut out);
            write_source_description(Ssrc(2), cname, &mut out);
            write_goodbye(Ssrc(2), &mut out);
            write_picture_loss(Ssrc(2), Ssrc(7), &mut out);
            write_full_intra_request(Ssrc(2), Ssrc(7), 9, &mut out);
            assert_eq!(out.len() % 4, 0);
            let all: Result<Vec<_>, _> = Packets::new(&out).collect();
            let all = all.expect("well formed");
            assert!(
                matches!(all[0], Packet::SenderReport { ssrc: Ssrc(1), info: i, .. } if i == info)
            );
            let Packet::ReceiverReport { blocks, .. } = all[1] else {
                panic!("an RR stands second");
            };
            assert_eq!(blocks.iter().collect::<Vec<_>>(), [block]);
            assert_eq!(
                all[2],
                Packet::SourceDescription {
                    ssrc: Ssrc(2),
                    cname: Some(cname.as_bytes())
                }
            );
            assert_eq!(
                all[3],
                Packet::Goodbye {
                    ssrc: Some(Ssrc(2))
                }
            );
            let body = &[0, 0, 0, 2, 0, 0, 0, 7];
            assert_eq!(
                all[4],
                Packet::Other {
                    packet_type: 206,
                    body
                }
            );
            let body = &[0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 7, 9, 0, 0, 0];
            assert_eq!(
                all[5],
                Packet::Other {
                    packet_type: 206,
                    body
                }
            );
        }
    }

    #[test]
    fn lengths_that_lie_are_errors_with_their_place() {
        let mut out = Vec::new();
        write_goodbye(Ssrc(2), &mut out);
        out.extend([0x81, RECEIVER_REPORT, 0, 7, 0, 0, 0, 1]);
        let all: Vec<_> = Packets::new(&out).collect();
        assert_eq!(all.len(), 2);
        assert_eq!(all[1], Err(Error::Short { offset: 8 }));
        // More blocks counted than the length holds.
        let lying = [0x9f, RECEIVER_REPORT, 0, 1, 0, 0, 0, 1];
        assert_eq!(
            Packets::new(&lying).next(),
            Some(Err(Error::Short { offset: 0 }))
        );
    }

    #[test]
    fn a_compound_ends_at_its_bound() {
        let mut out = Vec::new();
        for _ in 0..limits::RTCP_PACKETS_MAX {
            write_goodbye(Ssrc(1), &mut out);
        }
        assert!(Packets::new(&out).all(|p| p.is_ok()));
        write_goodbye(Ssrc(1), &mut out);
        assert_eq!(Packets::new(&out).last(), Some(Err(Error::TooMany)));
    }
}
