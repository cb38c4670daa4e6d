//! RTP over TCP: a 16-bit length before each packet.
//!
//! RFC 4571, 2; GB/T 28181-2016, annex D (RTP over TCP). The four-byte prefix of RTSP interleaving (`$`, channel, length;
//! RFC 2326, 10.12) is taken too, as some devices send it.
//!
//! Packets that lie whole in the input are given on without a copy; only a cut one is kept. A length that cannot be
//! right (too short for RTP, or what follows is not RTP of the SSRC known from this connection) makes the framer look
//! for the next header by that SSRC: some devices lose bytes when their send buffer is full.
//!
//! Bounds: one cut packet (65,539 bytes); [`crate::limits::RFC4571_SCAN_BYTES_MAX`] bytes searched in one go
//! before the connection is given up.

use memchr::memmem;

use super::rtp;
use crate::limits;

/// The longest packet with the longest prefix.
const STASH_BYTES_MAX: usize = INTERLEAVED_PREFIX_BYTES + u16::MAX as usize;
const PREFIX_BYTES: usize = 2;
const INTERLEAVED_PREFIX_BYTES: usize = 4;
/// Bytes that say whether a frame is plausible: the longer prefix and a fixed RTP header.
const LOOK_BYTES: usize = INTERLEAVED_PREFIX_BYTES + rtp::HEADER_BYTES;
/// The shortest thing that is framed: an RTCP packet with its sender (RFC 3550, 6.6).
const PACKET_BYTES_MIN: usize = 8;

/// No frame could be found in [`crate::limits::RFC4571_SCAN_BYTES_MAX`] bytes, or none can be looked for since no SSRC
/// is known yet. The connection is of no use any more.
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
    /// Errors: [`Lost`]; the connection should be closed, later input is ignored by giving `Lost` again.
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
            Look::NeedMore | Look::Nonsense => self.stash.len() + LOOK_BYTES,
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
                    if self.ssrc.is_none() && !rtp::is_rtcp(packet) {
                        self.ssrc = packet.get(8..12).and_then(|s| s.try_into().ok());
                    }
                    put(packet);
                    at += prefix + len;
                }
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
            Look::Frame { prefix, len }
        } else {
            Look::Nonsense
        }
    }

    /// Looks for a header of the known SSRC. Gives bytes to pass over and whether a header stands there.
    fn scan(&mut self, b: &[u8]) -> Result<(usize, bool), Lost> {
        let ssrc = self.ssrc.ok_or(Lost)?;
        let scanned = self.scanned.unwrap_or(0);
        for at in memmem::find_iter(b, &ssrc) {
            let Some(start) = at.checked_sub(8 + PREFIX_BYTES) else {
                continue;
            };
            let len = usize::from(u16::from_be_bytes([b[start], b[start + 1]]));
            let second = b[start + 3];
            if b[start + 2] >> 6 == 2 && len >= rtp::HEADER_BYTES && !(192..=207).contains(&second)
            {
                self.scanned = None;
                // An interleaved prefix has its `$` and channel two bytes before the length.
                let start = match start.checked_sub(2) {
                    Some(dollar) if b[dollar] == b'$' && b[dollar + 1] < 4 => dollar,
                    Some(_) | None => start,
                };
                return Ok((start, true));
            }
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

    #[test]
    fn missing_bytes_cost_the_packets_they_touch() {
        let all = packets(8, 200);
        for step in [1, 10, 333, 100_000] {
            let mut bytes = framed(&all);
            // The device's send buffer was full in the middle of the third packet.
            bytes.drain(2 * 214 + 50..2 * 214 + 90);
            let mut framer = Framer::new();
            let mut got = Vec::new();
            for chunk in bytes.chunks(step) {
                framer
                    .push(chunk, &mut |p| got.push(p.to_vec()))
                    .expect("found again");
            }
            assert_eq!(framer.resyncs(), 1);
            assert_eq!(got[..2], all[..2]);
            // The third swallowed the start of the fourth.
            assert_eq!(got[3..], all[4..], "read in steps of {step}");
        }
    }

    #[test]
    fn searching_has_an_end() {
        let mut framer = Framer::new();
        let good = framed(&packets(1, 100));
        framer.push(&good, &mut |_| {}).expect("in step");
        let junk = vec![0x11; limits::RFC4571_SCAN_BYTES_MAX];
        assert_eq!(framer.push(&junk, &mut |_| {}), Ok(()));
        assert_eq!(framer.push(&junk[..100], &mut |_| {}), Err(Lost));
    }

    #[test]
    fn junk_before_any_packet_is_given_up_at_once() {
        assert_eq!(Framer::new().push(&[0x11; 64], &mut |_| {}), Err(Lost));
    }
}
