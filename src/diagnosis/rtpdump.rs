//! RTP dumps of rtptools as packets: a line of text, 16 bytes, then for each packet its length here, its own length, the
//! milliseconds since the first, and its bytes.
//!
//! Not done: the text forms of `rtpdump -F ascii` and its relatives.
//!
//! Bounds: what is given out are slices of the file, which is the caller's.

use bytes::Bytes;

/// What the file begins with.
const MAGIC: &[u8] = b"#!rtpplay1.0 ";
/// Start, address and port of the recording.
const HEADER_BYTES: usize = 16;
/// In front of each packet.
const RECORD_BYTES: usize = 8;

/// A packet and when it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Since the recording began.
    pub ms: u32,
    pub packet: Bytes,
}

/// Reads a file; one that is cut at its end is read up to there. `None`: not a dump.
pub fn read(file: &Bytes) -> Option<Vec<Record>> {
    if !file.starts_with(MAGIC) {
        return None;
    }
    let mut at = memchr::memchr(b'\n', file)? + 1 + HEADER_BYTES;
    let mut records = Vec::new();
    while let Some(head) = file.get(at..at + RECORD_BYTES) {
        let len = usize::from(u16::from_be_bytes([head[0], head[1]]));
        let of_packet = usize::from(u16::from_be_bytes([head[2], head[3]]));
        let end = at + len;
        if len < RECORD_BYTES || end > file.len() {
            break;
        }
        let from = at + RECORD_BYTES;
        // Zero marks RTCP, which has its length in itself.
        let until = if of_packet == 0 {
            end
        } else {
            end.min(from + of_packet)
        };
        records.push(Record {
            ms: u32::from_be_bytes([head[4], head[5], head[6], head[7]]),
            packet: file.slice(from..until),
        });
        at = end;
    }
    Some(records)
}
