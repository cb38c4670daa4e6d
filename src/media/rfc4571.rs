//! RTP over TCP: a 16-bit length before each packet.
//!
//! RFC 4571, 2; GB/T 28181-2016, annex D (RTP over TCP). The four-byte prefix of RTSP interleaving (`$`, channel, length;
//! RFC 2326, 10.12) is taken too, as some devices send it.
//!
//! Packets that lie whole in the input are given on without a copy; only a cut one is kept. Some devices lose bytes when
//! their send buffer is full (field report 12). Framing then finds its place again, in three ways:
//! - a packet that swallowed the head of a later one (a header with its own SSRC, payload type and a number shortly after its
//!   own stands in it) is left out, and reading goes on at that head;
//! - a length that cannot be right, or bytes behind it that are no RTP of the known SSRC, start a search for the next
//!   header of that SSRC;
//! - while no SSRC is known, the search is for a program stream's pack header (ISO/IEC 13818-1, 2.5.3.3) right behind
//!   something that can be an RTP header: a stream begins with one.
//!
//! Some recorders send a head of their own before their first packet: 256 bytes that begin with 1, 0 and a version, and then
//! the prefix of RTSP. It is stepped over.
//!
//! What was left out shows as a gap in the sequence numbers, as on any path that loses.
//!
//! Bounds: one cut packet (65,539 bytes); [`crate::limits::RFC4571_SCAN_BYTES_MAX`] bytes searched in one go before the
//! connection is given up.

use memchr::memmem;

use super::rtp;
use crate::limits;

/// The longest packet with the longest prefix.
const STASH_BYTES_MAX: usize = INTERLEAVED_PREFIX_BYTES + u16::MAX as usize;
const PREFIX_BYTES: usize = 2;
const INTERLEAVED_PREFIX_BYTES: usize = 4;
/// Bytes that say whether a frame is plausible: the longer prefix, a fixed RTP header, and what its payload begins with.
const LOOK_BYTES: usize = INTERLEAVED_PREFIX_BYTES + rtp::HEADER_BYTES + PACK_START.len();
/// What a private head begins with, and how long it is.
const PRIVATE_HEAD: [u8; 2] = [1, 0];
const PRIVATE_HEAD_BYTES: usize = 256;
/// The shortest thing that is framed: an RTCP packet with its sender (RFC 3550, 6.6).
const PACKET_BYTES_MIN: usize = 8;
/// How much later a packet may be whose head stands in another one: what fits into the send buffer of a device.
const SWALLOWED_AHEAD_MAX: i32 = 1_024;
/// Start code of a pack header.
const PACK_START: [u8; 4] = [0, 0, 1, 0xba];

/// No frame could be found in [`crate::limits::RFC4571_SCAN_BYTES_MAX`] bytes. The connection is of no use any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lost;

/// Takes the bytes of one connection, gives packets.
#[derive(Debug, Default)]
pub struct Framer {
    stash: Vec<u8>,
    /// Bytes 8 to 11 of the RTP packets of this connection.
    ssrc: Option<[u8; 4]>,
    /// Bytes passed over since framing was lost; `None` = in step.
    scanned: Option<usize>,
    resyncs: u64,
}

enum Look {
    /// Whole prefix and packet length.
    Frame {
        prefix: usize,
        len: usize,
    },
    /// A private head of so many bytes, all of them there.
    Head(usize),
    NeedMore,
    Nonsense,
}

impl Framer {
    pub fn new() -> Framer {
        Framer::default()
    }

    /// Times that framing was lost and found again.
    pub fn resyncs(&self) -> u64 {
        self.resyncs
    }

    /// Takes what a read gave, cut anywhere, and gives `put` every packet that is whole.
    ///
    /// Errors: [`Lost`]; the connection should be closed.
    pub fn push(&mut self, mut input: &[u8], put: &mut impl FnMut(&[u8])) -> Result<(), Lost> {
        while !self.stash.is_empty() && !input.is_empty() {
            let before = self.stash.len();
            let wanted = self.wanted();
            let take = (wanted - before).min(input.len());
            self.stash.extend_from_slice(&input[..take]);
            input = &input[take..];
            let mut stash = std::mem::take(&mut self.stash);
            let used = self.walk(&stash, put);
            stash.drain(..used.unwrap_or(stash.len()));
            self.stash = stash;
            used?;
        }
        let used = self.walk(input, put)?;
        self.stash.extend_from_slice(&input[used..]);
        Ok(())
    }

    /// How long the stash must be before another look at it makes sense.
    fn wanted(&self) -> usize {
        let wanted = match self.look(&self.stash) {
            Look::Frame { prefix, len } => prefix + len,
            Look::Head(_) | Look::NeedMore | Look::Nonsense => self.stash.len() + LOOK_BYTES,
        };
        wanted.max(self.stash.len() + 1).min(STASH_BYTES_MAX)
    }

    /// Gives on every whole packet; returns how many bytes are done with.
    fn walk(&mut self, bytes: &[u8], put: &mut impl FnMut(&[u8])) -> Result<usize, Lost> {
        let mut at = 0;
        loop {
            let rest = &bytes[at..];
            if self.scanned.is_some() {
                match self.scan(rest)? {
                    (skip, true) => at += skip,
                    (skip, false) => return Ok(at + skip),
                }
                continue;
            }
            match self.look(rest) {
                Look::Frame { prefix, len } if rest.len() >= prefix + len => {
                    let packet = &rest[prefix..prefix + len];
                    if let Some(head) = swallowed_head(packet) {
                        self.resyncs += 1;
                        at += prefix + head;
                        continue;
                    }
                    if !rtp::is_rtcp(packet) {
                        self.ssrc = packet.get(8..12).and_then(|s| s.try_into().ok());
                    }
                    put(packet);
                    at += prefix + len;
                }
                Look::Head(bytes) => at += bytes,
                Look::Frame { .. } | Look::NeedMore => return Ok(at),
                Look::Nonsense => {
                    self.scanned = Some(0);
                    self.resyncs += 1;
                }
            }
        }
    }

    fn look(&self, b: &[u8]) -> Look {
        if b.len() < PREFIX_BYTES + 2 {
            return Look::NeedMore;
        }
        // As a length it would be that of an RTP packet, which has its version there.
        if self.ssrc.is_none() && b[..2] == PRIVATE_HEAD && b[2] != 0 && b[2] >> 6 != 2 {
            return match b.get(PRIVATE_HEAD_BYTES..PRIVATE_HEAD_BYTES + 2) {
                Some([b'$', 0..4]) => Look::Head(PRIVATE_HEAD_BYTES),
                // The plain prefix: two more bytes belong to the head.
                Some(_) => Look::Head(PRIVATE_HEAD_BYTES + 2),
                None => Look::NeedMore,
            };
        }
        let interleaved = b[0] == b'$' && b[1] < 4 && b[2] >> 6 != 2;
        let prefix = if interleaved {
            INTERLEAVED_PREFIX_BYTES
        } else {
            PREFIX_BYTES
        };
        let len = usize::from(u16::from_be_bytes([b[prefix - 2], b[prefix - 1]]));
        let Some(header) = b.get(prefix..prefix + rtp::HEADER_BYTES.min(len)) else {
            return if len < PACKET_BYTES_MIN {
                Look::Nonsense
            } else {
                Look::NeedMore
            };
        };
        if len < PACKET_BYTES_MIN || header[0] >> 6 != 2 {
            return Look::Nonsense;
        }
        let known = match self.ssrc {
            Some(ssrc) if !rtp::is_rtcp(header) => header.get(8..12) == Some(&ssrc),
            Some(_) | None => true,
        };
        if known {
            return Look::Frame { prefix, len };
        }
        // A sender that starts anew with another SSRC does so with a pack header.
        let payload = prefix + rtp::HEADER_BYTES;
        match b.get(payload..payload + PACK_START.len()) {
            Some(start) if start == PACK_START => Look::Frame { prefix, len },
            None if len >= rtp::HEADER_BYTES + PACK_START.len() => Look::NeedMore,
            Some(_) | None => Look::Nonsense,
        }
    }

    /// Looks for the next header. Gives bytes to pass over and whether a header stands there.
    fn scan(&mut self, b: &[u8]) -> Result<(usize, bool), Lost> {
        let scanned = self.scanned.unwrap_or(0);
        let found = match &self.ssrc {
            Some(ssrc) => memmem::find_iter(b, ssrc)
                .find_map(|at| head_before(b, at.checked_sub(8 + PREFIX_BYTES)?)),
            None => memmem::find_iter(b, &PACK_START)
                .find_map(|at| head_before(b, at.checked_sub(rtp::HEADER_BYTES + PREFIX_BYTES)?)),
        };
        if let Some(start) = found {
            self.scanned = None;
            return Ok((start, true));
        }
        // A header may begin in the last bytes and go on in the next read.
        let skip = b.len().saturating_sub(LOOK_BYTES - 1);
        if scanned + skip > limits::RFC4571_SCAN_BYTES_MAX {
            return Err(Lost);
        }
        self.scanned = Some(scanned + skip);
        Ok((skip, false))
    }
}

/// Whether a prefix and an RTP header can stand at `start`; gives where the prefix begins.
fn head_before(b: &[u8], start: usize) -> Option<usize> {
    let head = b.get(start..start + PREFIX_BYTES + 2)?;
    let len = usize::from(u16::from_be_bytes([head[0], head[1]]));
    if head[2] >> 6 != 2 || len < rtp::HEADER_BYTES || (192..=207).contains(&head[3]) {
        return None;
    }
    // An interleaved prefix has its `$` and channel two bytes before the length.
    Some(match start.checked_sub(2) {
        Some(dollar) if b[dollar] == b'$' && b[dollar + 1] < 4 => dollar,
        Some(_) | None => start,
    })
}

/// Where in a packet the prefix of a later packet of the same sender stands: bytes between the two were lost, and this
/// one's end is not its own.
#[inline]
fn swallowed_head(packet: &[u8]) -> Option<usize> {
    let own = packet.first_chunk::<{ rtp::HEADER_BYTES }>()?;
    if rtp::is_rtcp(own) {
        return None;
    }
    let sequence = |b: &[u8]| u16::from_be_bytes([b[2], b[3]]);
    // The first occurrence is the packet's own header.
    memmem::find_iter(&packet[rtp::HEADER_BYTES..], &own[8..12]).find_map(|at| {
        let header_at = (rtp::HEADER_BYTES + at).checked_sub(8)?;
        let start = header_at
            .checked_sub(PREFIX_BYTES)
            .filter(|start| *start >= rtp::HEADER_BYTES)?;
        let header = &packet[header_at..];
        let ahead = rtp::sequence_distance(sequence(own), sequence(header));
        let follows = (1..SWALLOWED_AHEAD_MAX).contains(&ahead);
        let same_kind = header[0] >> 6 == 2 && header[1] & 0x7f == own[1] & 0x7f;
        if follows && same_kind {
            head_before(packet, start)
        } else {
            None
        }
    })
}

/// Appends `packet` behind its length. Packets over 65,535 bytes cannot be framed and are left out.
pub fn write_frame(packet: &[u8], out: &mut Vec<u8>) {
    if let Ok(len) = u16::try_from(packet.len()) {
        out.extend_from_slice(&len.to_be_bytes());
        out.extend_from_slice(packet);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Ssrc;

    /// The head of some recorders, in front of the prefix of RTSP and of two bytes more, cut at every place.
    #[test]
    fn a_private_head_before_the_first_packet_is_stepped_over() {
        let sent = packets(3, 700);
        for interleaved in [true, false] {
            let mut bytes = vec![1, 0, 1, 0];
            bytes.resize(PRIVATE_HEAD_BYTES + if interleaved { 0 } else { 2 }, 0x55);
            for packet in &sent {
                if interleaved {
                    bytes.extend([b'$', 0]);
                }
                write_frame(packet, &mut bytes);
            }
            for cut in 0..bytes.len() {
                let mut framer = Framer::new();
                let mut got = Vec::new();
                for piece in [&bytes[..cut], &bytes[cut..]] {
                    let pushed = framer.push(piece, &mut |p| got.push(p.to_vec()));
                    assert_eq!(pushed, Ok(()), "{cut}");
                }
                assert_eq!(got, sent, "cut at {cut}");
                assert_eq!(framer.resyncs(), 0);
            }
        }
        // Later the same bytes are damage, and 256 bytes of RTP are no head.
        let mut bytes = Vec::new();
        write_frame(&packets(1, 256 - rtp::HEADER_BYTES)[0], &mut bytes);
        assert_eq!(bytes[..2], PRIVATE_HEAD);
        let (mut framer, mut got) = (Framer::new(), 0);
        let pushed = framer.push(&bytes, &mut |p| got += p.len());
        assert_eq!((pushed, got), (Ok(()), 256));
    }

    fn packets(count: usize, size: usize) -> Vec<Vec<u8>> {
        let mut all = Vec::new();
        let mut writer = rtp::Writer::new(Ssrc(0x0102_0304), 96, 9);
        for n in 0..count {
            writer.write(&vec![n as u8; size], 0, 1400, &mut |p| all.push(p.to_vec()));
        }
        all
    }

    fn framed(packets: &[Vec<u8>]) -> Vec<u8> {
        let mut out = Vec::new();
        for p in packets {
            write_frame(p, &mut out);
        }
        out
    }

    #[test]
    fn any_cut_gives_the_same_packets() {
        let want = packets(5, 40);
        let bytes = framed(&want);
        for step in 1..bytes.len() {
            let mut framer = Framer::new();
            let mut got = Vec::new();
            for chunk in bytes.chunks(step) {
                framer
                    .push(chunk, &mut |p| got.push(p.to_vec()))
                    .expect("in step");
            }
            assert_eq!(got, want, "read in steps of {step}");
            assert!(framer.stash.len() <= STASH_BYTES_MAX);
        }
    }

    #[test]
    fn the_prefix_of_interleaving_is_taken() {
        let want = packets(3, 40);
        let mut bytes = Vec::new();
        for p in &want {
            bytes.extend([b'$', 0]);
            write_frame(p, &mut bytes);
        }
        for step in [1, 3, 7, bytes.len()] {
            let mut framer = Framer::new();
            let mut got = Vec::new();
            for chunk in bytes.chunks(step) {
                framer
                    .push(chunk, &mut |p| got.push(p.to_vec()))
                    .expect("in step");
            }
            assert_eq!(got, want);
        }
    }

    fn read(bytes: &[u8], step: usize) -> (Framer, Vec<Vec<u8>>) {
        let mut framer = Framer::new();
        let mut got = Vec::new();
        for chunk in bytes.chunks(step) {
            framer
                .push(chunk, &mut |p| got.push(p.to_vec()))
                .expect("found again");
        }
        (framer, got)
    }

    /// The device's send buffer was full in the middle of the third packet, and 40 bytes went nowhere: only that packet is
    /// missing, and never is one given on whose end belongs to another.
    #[test]
    fn field_12_bytes_lost_inside_a_packet_cost_that_packet() {
        let all = packets(8, 200);
        for step in [1, 10, 333, 100_000] {
            let mut bytes = framed(&all);
            bytes.drain(2 * 214 + 50..2 * 214 + 90);
            let (framer, got) = read(&bytes, step);
            assert_eq!(framer.resyncs(), 1);
            assert_eq!(got[..2], all[..2]);
            assert_eq!(got[2..], all[3..], "read in steps of {step}");
        }
    }

    #[test]
    fn field_12_a_lost_head_is_searched_by_the_known_ssrc() {
        let all = packets(8, 200);
        for step in [1, 10, 333, 100_000] {
            let mut bytes = framed(&all);
            // From the middle of the third packet to behind the head of the fourth.
            bytes.drain(2 * 214 + 50..3 * 214 + 30);
            let (framer, got) = read(&bytes, step);
            assert!(framer.resyncs() >= 1);
            assert_eq!(got[..2], all[..2]);
            assert_eq!(got[got.len() - 3..], all[5..], "read in steps of {step}");
            let whole = |p: &Vec<u8>| all.contains(p);
            assert!(got.iter().filter(|p| !whole(p)).count() <= 1);
        }
    }

    #[test]
    fn field_12_every_cut_of_a_stream_is_recovered_from() {
        let all = packets(12, 60);
        let whole = framed(&all);
        for from in (2 * 74..6 * 74).step_by(7) {
            for lost in [1, 2, 13, 40, 74, 75, 150] {
                let mut bytes = whole.clone();
                bytes.drain(from..from + lost);
                let (_, got) = read(&bytes, 50);
                assert_eq!(
                    got.last(),
                    all.last(),
                    "{lost} bytes lost at {from}: the last packet is there"
                );
            }
        }
    }

    #[test]
    fn the_first_packet_is_found_behind_junk_by_its_pack_header() {
        let mut all = Vec::new();
        let mut writer = rtp::Writer::new(Ssrc(0x0102_0304), 96, 9);
        let mut pack = PACK_START.to_vec();
        pack.extend([0x44; 60]);
        for _ in 0..3 {
            writer.write(&pack, 0, 1400, &mut |p| all.push(p.to_vec()));
        }
        let mut bytes = vec![0x11; 500];
        bytes.extend(framed(&all));
        for step in [1, 7, 499, 100_000] {
            let (framer, got) = read(&bytes, step);
            assert_eq!(framer.resyncs(), 1);
            assert_eq!(got, all, "read in steps of {step}");
        }
    }

    #[test]
    fn a_sender_that_starts_anew_with_another_ssrc_is_read_on() {
        let mut all = packets(3, 40);
        let mut writer = rtp::Writer::new(Ssrc(0x0908_0706), 96, 700);
        let mut pack = PACK_START.to_vec();
        pack.extend([0x44; 60]);
        writer.write(&pack, 0, 1400, &mut |p| all.push(p.to_vec()));
        writer.write(&[1; 60], 0, 1400, &mut |p| all.push(p.to_vec()));
        for step in [1, 9, 100_000] {
            let (framer, got) = read(&framed(&all), step);
            assert_eq!((framer.resyncs(), got), (0, all.clone()));
        }
    }

    #[test]
    fn searching_has_an_end() {
        for good in [framed(&packets(1, 100)), Vec::new()] {
            let mut framer = Framer::new();
            framer.push(&good, &mut |_| {}).expect("in step");
            let junk = vec![0x11; limits::RFC4571_SCAN_BYTES_MAX];
            assert_eq!(framer.push(&junk, &mut |_| {}), Ok(()));
            assert_eq!(framer.push(&junk[..100], &mut |_| {}), Err(Lost));
        }
    }
}
