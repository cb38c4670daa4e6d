//! Bodies of the fuzz targets of the recordings that people bring: captures and dumps.
//!
//! They are here so that a normal build checks their types and a normal test runs the seeds. Not for other use.

use std::collections::HashMap;
use std::net::SocketAddr;

use bytes::Bytes;

use super::{capture, rtpdump};
use crate::fuzzing::Script;
use crate::limits::CAPTURE_SEGMENTS_WAITING_MAX;

/// What a frame costs at least: the smallest block of a pcapng that holds one, or the header of a classic one.
const FRAME_BYTES_MIN: usize = 16;
/// How captures begin.
const HEADS: [&[u8]; 3] = [
    // Classic, microseconds, little-endian, raw IP.
    b"\xd4\xc3\xb2\xa1\x02\0\x04\0\0\0\0\0\0\0\0\0\xff\xff\0\0\x65\0\0\0",
    // The same with Ethernet, in nanoseconds.
    b"\x4d\x3c\xb2\xa1\x02\0\x04\0\0\0\0\0\0\0\0\0\xff\xff\0\0\x01\0\0\0",
    // pcapng, little-endian, one interface with Ethernet and a resolution of 10^-9.
    b"\x0a\x0d\x0d\x0a\x1c\0\0\0\x4d\x3c\x2b\x1a\x01\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff\x1c\0\0\0\
      \x01\0\0\0\x1c\0\0\0\x01\0\0\0\0\0\0\0\x09\0\x01\0\x09\0\0\0\x1c\0\0\0",
];

/// The bytes as a capture, as they are and behind the head of each kind; and read as a script, the segments of a connection
/// that come in any order, more than once and overlapping.
pub fn capture(data: &[u8]) {
    is_read(data);
    for head in HEADS {
        is_read(&[head, data].concat());
    }
    connection(data);
}

/// No more comes out than the file holds, nothing is empty, and no time lies before the epoch.
fn is_read(data: &[u8]) {
    let file = Bytes::copy_from_slice(data);
    let Ok(found) = capture::read(&file) else {
        assert!(!capture::is_capture(data));
        return;
    };
    assert!(capture::is_capture(data));
    assert!(found.frames as usize * FRAME_BYTES_MIN <= data.len());
    let mut bytes = 0;
    for packet in &found.packets {
        assert!(!packet.data.is_empty() && packet.unix_us >= 0);
        bytes += packet.data.len();
    }
    assert!(bytes <= data.len(), "no byte of the file comes twice");
}

/// What byte `at` of the connection is.
fn content(at: usize) -> u8 {
    (at ^ at >> 7 ^ at >> 11) as u8
}

/// One direction of a connection, cut and shuffled by the script: as long as no more segments wait than may, everything
/// comes out once and in order.
fn connection(data: &[u8]) {
    let mut script = Script::new(data);
    let first_sequence = u32::from(script.word()) << 16 | 0xff00;
    let mut file = HEADS[0].to_vec();
    segment(&mut file, first_sequence.wrapping_sub(1), 0x02, &[]);
    let mut len = 0;
    let mut batch: Vec<(usize, Vec<u8>)> = Vec::new();
    while !script.is_over() && len < 1 << 16 {
        let overlap = script.below(4) * usize::from(script.chance(4)) * 10;
        let from = len - overlap.min(len);
        let until = len + 1 + script.below(200);
        batch.push((from, (from..until).map(content).collect()));
        len = until;
        if batch.len() > script.below(CAPTURE_SEGMENTS_WAITING_MAX / 2) {
            send(&mut file, first_sequence, &mut batch, &mut script);
        }
    }
    send(&mut file, first_sequence, &mut batch, &mut script);
    let found = capture::read(&file.into()).expect("a capture");
    assert_eq!(found.skipped, 0);
    let mut came: HashMap<(SocketAddr, SocketAddr), Vec<u8>> = HashMap::new();
    for packet in found.packets {
        let flow = came.entry((packet.from, packet.to)).or_default();
        flow.extend_from_slice(&packet.data);
    }
    assert!(came.len() <= 1);
    let came = came.into_values().next().unwrap_or_default();
    assert!(came.iter().copied().eq((0..len).map(content)));
}

/// Sends segments in an order of the script's, some of them again, but no more than may wait for the first.
fn send(
    file: &mut Vec<u8>,
    first_sequence: u32,
    batch: &mut Vec<(usize, Vec<u8>)>,
    script: &mut Script<'_>,
) {
    let mut again = batch.len();
    while !batch.is_empty() {
        let at = script.below(batch.len());
        let (from, bytes) = if again > 0 && script.chance(8) {
            again -= 1;
            batch[at].clone()
        } else {
            batch.remove(at)
        };
        segment(file, first_sequence.wrapping_add(from as u32), 0x10, &bytes);
    }
}

/// Appends a TCP segment in an IPv4 packet to a classic capture of raw IP.
fn segment(file: &mut Vec<u8>, sequence: u32, flags: u8, bytes: &[u8]) {
    let len = 40 + bytes.len();
    file.extend_from_slice(&[0; 8]);
    file.extend_from_slice(&(len as u32).to_le_bytes());
    file.extend_from_slice(&(len as u32).to_le_bytes());
    file.extend_from_slice(&[0x45, 0]);
    file.extend_from_slice(&(len as u16).to_be_bytes());
    file.extend_from_slice(&[0, 0, 0, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
    file.extend_from_slice(&[0x13, 0xc4, 0x75, 0x30]);
    file.extend_from_slice(&sequence.to_be_bytes());
    file.extend_from_slice(&[0, 0, 0, 0, 0x50, flags, 0, 0, 0, 0, 0, 0]);
    file.extend_from_slice(bytes);
}

/// The bytes as a dump, as they are and behind its first line.
pub fn dump(data: &[u8]) {
    for head in [&b""[..], b"#!rtpplay1.0 192.0.2.1/30000\n"] {
        let file = Bytes::from([head, data].concat());
        let Some(records) = rtpdump::read(&file) else {
            assert!(head.is_empty(), "it has the first line of a dump");
            continue;
        };
        let bytes: usize = records.iter().map(|r| r.packet.len() + 8).sum();
        assert!(bytes <= file.len());
    }
}
