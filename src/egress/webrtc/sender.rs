//! One RTP stream of a viewer: its numbers, its headers, and where in the caller's ring a number came from.
//!
//! RFC 3550, 5.1 (header), RFC 8285, 4.2 (one-byte header extensions), RFC 4588, 4 (retransmissions).
//!
//! Nothing is kept per packet. As long as payloads are sent without a gap in their indexes, sequence number and index
//! grow together; a skip begins a new run, and the last runs are remembered.
//!
//! Bounds: [`SEQUENCE_RUNS`].

use rand_chacha::rand_core::Rng;

use super::sdp::{Ssrcs, Stream};
use super::srtp::Sealer;
use crate::limits::SEQUENCE_RUNS;
use crate::media::frame::TrackId;
use crate::time::{MediaTime, TICKS_PER_SECOND};

const RTP_HEADER_LEN: usize = 12;
/// The P bit of the first byte.
const PADDING: u8 = 0x20;
/// Header extension with one element of two bytes (RFC 8285, 4.2).
const EXTENSION_LEN: usize = 8;
/// Original sequence number in front of a retransmitted payload (RFC 4588, 4).
const OSN_LEN: usize = 2;

/// A shared RTP payload, borrowed from the caller's ring.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a> {
    pub track: TrackId,
    /// Bytes before `body` (FU header, NAL header).
    pub prefix: &'a [u8],
    pub body: &'a [u8],
    /// Bytes of padding behind `body` (RFC 3550, 5.1). A retransmission by RTX has none.
    pub padding: u8,
    pub marker: bool,
    /// In ticks of the track's clock, zero at [`MediaTime`] zero; the viewer adds an offset of its own.
    pub timestamp: u32,
}

/// One RTP stream of the viewer, and its RTX stream.
pub(super) struct Sender {
    pub(super) stream: Stream,
    pub(super) ssrcs: Ssrcs,
    /// Added to every timestamp (RFC 3550, 5.1).
    pub(super) timestamp_offset: u32,
    /// Next sequence number, roll-over counter above its 16 bits.
    sequence: u64,
    rtx_sequence: u64,
    pub(super) packets: u32,
    pub(super) octets: u32,
    /// The payload index that would go on with the newest run.
    next_index: Option<u64>,
    /// Newest last; the first `runs_len` count.
    runs: [Run; SEQUENCE_RUNS],
    runs_len: usize,
}

impl Sender {
    pub(super) fn new(stream: Stream, ssrcs: Ssrcs, random: &mut impl Rng) -> Self {
        // In the lower half, so that the numbers do not wrap in the first packets (RFC 3711, 3.3.1, note).
        let first = |n: u32| u64::from(n as u16 >> 1);
        Sender {
            stream,
            ssrcs,
            timestamp_offset: random.next_u32(),
            sequence: first(random.next_u32()),
            rtx_sequence: first(random.next_u32()),
            packets: 0,
            octets: 0,
            next_index: None,
            runs: [Run::default(); SEQUENCE_RUNS],
            runs_len: 0,
        }
    }

    /// Takes the next sequence number for the payload at `index`.
    pub(super) fn begin(&mut self, index: u64) -> u64 {
        let sequence = self.sequence;
        self.sequence += 1;
        if self.next_index != Some(index) {
            if self.runs_len == SEQUENCE_RUNS {
                self.runs.rotate_left(1);
                self.runs_len -= 1;
            }
            self.runs[self.runs_len] = Run { sequence, index };
            self.runs_len += 1;
        }
        self.next_index = Some(index + 1);
        sequence
    }

    /// The full sequence number and the payload index of one that was sent; `None` if it never was or too much was skipped
    /// since.
    pub(super) fn find(&self, number: u16) -> Option<(u64, u64)> {
        let back = (self.sequence as u16).wrapping_sub(number);
        // 0 would be the number that is sent next.
        let sequence = self
            .sequence
            .checked_sub(u64::from(back))
            .filter(|_| back > 0)?;
        let run = self.runs[..self.runs_len]
            .iter()
            .rev()
            .find(|r| r.sequence <= sequence)?;
        Some((sequence, run.index + (sequence - run.sequence)))
    }

    pub(super) fn timestamp(&self, media: MediaTime) -> u32 {
        let ticks = media.0 * i64::from(self.stream.clock_rate) / TICKS_PER_SECOND;
        (ticks as u32).wrapping_add(self.timestamp_offset)
    }

    pub(super) fn seal_media(
        &self,
        sealer: &Sealer,
        sequence: u64,
        number: Option<(u8, u16)>,
        packet: &Packet<'_>,
        out: &mut Vec<u8>,
    ) -> usize {
        let start = out.len();
        self.put_header(
            out,
            self.stream.payload_type,
            self.ssrcs.media,
            sequence,
            number,
            packet,
        );
        let header_len = out.len() - start;
        out.extend_from_slice(packet.prefix);
        out.extend_from_slice(packet.body);
        if packet.padding > 0 {
            out[start] |= PADDING;
            out.resize(out.len() + usize::from(packet.padding) - 1, 0);
            out.push(packet.padding);
        }
        sealer.seal_rtp(out, start, header_len, self.ssrcs.media, sequence);
        out.len() - start
    }

    pub(super) fn seal_rtx(
        &mut self,
        sealer: &Sealer,
        payload_type: u8,
        original: u64,
        number: Option<(u8, u16)>,
        packet: &Packet<'_>,
        out: &mut Vec<u8>,
    ) -> usize {
        let start = out.len();
        let sequence = self.rtx_sequence;
        self.rtx_sequence += 1;
        self.put_header(out, payload_type, self.ssrcs.rtx, sequence, number, packet);
        let header_len = out.len() - start;
        out.extend_from_slice(&(original as u16).to_be_bytes());
        out.extend_from_slice(packet.prefix);
        out.extend_from_slice(packet.body);
        sealer.seal_rtp(out, start, header_len, self.ssrcs.rtx, sequence);
        out.len() - start
    }

    /// RFC 3550, 5.1, with the transport-wide number as the only header extension.
    fn put_header(
        &self,
        out: &mut Vec<u8>,
        payload_type: u8,
        ssrc: u32,
        sequence: u64,
        number: Option<(u8, u16)>,
        packet: &Packet<'_>,
    ) {
        // One growth at most, for header, payload and tag together.
        out.reserve(
            RTP_HEADER_LEN
                + EXTENSION_LEN
                + OSN_LEN
                + packet.prefix.len()
                + packet.body.len()
                + usize::from(packet.padding)
                + 16,
        );
        let mut header = [0; RTP_HEADER_LEN + EXTENSION_LEN];
        header[0] = 0x80 | if number.is_some() { 0x10 } else { 0 };
        header[1] = payload_type | if packet.marker { 0x80 } else { 0 };
        header[2..4].copy_from_slice(&(sequence as u16).to_be_bytes());
        let timestamp = packet.timestamp.wrapping_add(self.timestamp_offset);
        header[4..8].copy_from_slice(&timestamp.to_be_bytes());
        header[8..12].copy_from_slice(&ssrc.to_be_bytes());
        let mut len = RTP_HEADER_LEN;
        if let Some((id, number)) = number {
            let [high, low] = number.to_be_bytes();
            header[12..20].copy_from_slice(&[0xbe, 0xde, 0, 1, id << 4 | 1, high, low, 0]);
            len += EXTENSION_LEN;
        }
        out.extend_from_slice(&header[..len]);
    }
}

/// From some sequence number on, payloads were sent without a gap in their indexes.
#[derive(Clone, Copy, Debug, Default)]
struct Run {
    sequence: u64,
    index: u64,
}
