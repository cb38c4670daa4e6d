//! Packets made by hand, cut, lost and spoilt.

use super::*;
use crate::media::ps::demux::Pes;
use crate::media::ps::write_time;

#[derive(Debug, Default, PartialEq)]
struct Found {
    maps: Vec<StreamMap>,
    pes: Vec<(u8, Option<u64>, Vec<u8>, bool)>,
    holes: Vec<u8>,
    errors: Vec<Error>,
}

impl Sink for Found {
    fn map(&mut self, map: &StreamMap) {
        self.maps.push(map.clone());
    }
    fn pes(&mut self, pes: Pes) {
        self.pes.push((pes.stream_id, pes.pts, Vec::new(), false));
    }
    fn payload(&mut self, stream_id: u8, bytes: &[u8]) {
        let last = self.pes.iter_mut().rfind(|p| p.0 == stream_id);
        last.expect("a header first").2.extend_from_slice(bytes);
    }
    fn pes_end(&mut self, stream_id: u8) {
        let last = self.pes.iter_mut().rfind(|p| p.0 == stream_id);
        last.expect("a header first").3 = true;
    }
    fn hole(&mut self, stream_id: u8) {
        self.holes.push(stream_id);
    }
    fn error(&mut self, error: Error) {
        self.errors.push(error);
    }
}

/// Writes packets with running counters.
#[derive(Default)]
struct Writer {
    counters: std::collections::HashMap<u16, u8>,
    out: Vec<u8>,
}

impl Writer {
    fn put(&mut self, pid: u16, mut content: &[u8]) {
        let mut starts = true;
        while !content.is_empty() {
            let counter = self.counters.entry(pid).or_default();
            let take = content.len().min(184);
            let stuffing = 184 - take;
            let flags = if stuffing > 0 { 0x30 } else { 0x10 };
            let high = u8::from(starts) << 6 | (pid >> 8) as u8;
            self.out.extend([SYNC, high, pid as u8, flags | *counter]);
            *counter = (*counter + 1) & 15;
            if stuffing > 0 {
                self.out.push(stuffing as u8 - 1);
                if stuffing > 1 {
                    self.out.push(0);
                    self.out.resize(self.out.len() + stuffing - 2, 0xff);
                }
            }
            self.out.extend(&content[..take]);
            content = &content[take..];
            starts = false;
        }
    }

    fn section(&mut self, pid: u16, table: u8, body: &[u8]) {
        let length = body.len() as u16 + 9;
        let mut section = vec![0, table, 0xb0 | (length >> 8) as u8, length as u8];
        section.extend([0, 1, 0xc1, 0, 0]);
        section.extend(body);
        section.extend([0; 4]);
        self.put(pid, &section);
    }

    /// H.265 on 0x100 by registration, G.711A on 0x101, AAC on 0x102, with their map on 0x1000.
    fn tables(&mut self) {
        self.section(0, 0, &[0, 0, 0xe0, 0x10, 0, 1, 0xf0, 0]);
        let mut map = vec![0xe1, 0, 0xf0, 0];
        map.extend([6, 0xe1, 0, 0xf0, 6, 5, 4, b'H', b'E', b'V', b'C']);
        map.extend([0x90, 0xe1, 1, 0xf0, 0, 0x0f, 0xe1, 2, 0xf0, 0]);
        self.section(0x1000, 2, &map);
    }

    fn pes(&mut self, pid: u16, id: u8, pts: u64, body: &[u8], bounded: bool) {
        let length = if bounded { body.len() as u16 + 8 } else { 0 };
        let mut pes = vec![
            0,
            0,
            1,
            id,
            (length >> 8) as u8,
            length as u8,
            0x80,
            0x80,
            5,
        ];
        pes.extend(write_time(2, pts));
        pes.extend(body);
        self.put(pid, &pes);
    }
}

fn body(seed: u8, len: usize) -> Vec<u8> {
    (0..len)
        .map(|n| (n as u8).wrapping_mul(31) ^ seed)
        .collect()
}

fn stream() -> Writer {
    let mut writer = Writer::default();
    writer.tables();
    writer.pes(0x100, 0xe0, (1 << 33) - 1, &body(1, 1000), false);
    writer.pes(0x101, 0xc0, 5, &body(2, 320), true);
    writer.pes(0x102, 0xc1, 6, &body(3, 100), true);
    writer.pes(0x100, 0xe0, 3600, &body(4, 500), false);
    writer
}

fn demux(parts: &[&[u8]]) -> Found {
    let mut found = Found::default();
    let mut demux = Demux::new();
    for part in parts {
        demux.push(part, &mut found);
    }
    found
}

#[test]
fn picture_and_sound_of_a_program_come_out() {
    let found = demux(&[&stream().out]);
    let entries: Vec<_> = found.maps[0]
        .entries
        .iter()
        .map(|e| (e.stream_type, e.stream_id))
        .collect();
    assert_eq!(entries, [(0x24, 0xe0), (0x90, 0xc0)]);
    assert_eq!(
        found.pes,
        [
            (0xe0, Some((1 << 33) - 1), body(1, 1000), true),
            (0xc0, Some(5), body(2, 320), true),
            (0xe0, Some(3600), body(4, 500), false),
        ]
    );
    assert_eq!((found.holes, found.errors), (vec![], vec![]));
}

#[test]
fn the_cut_of_the_input_changes_nothing() {
    let out = stream().out;
    let whole = demux(&[&out]);
    for size in [1, 7, 187, 188, 189, 1316, 1400] {
        let parts: Vec<&[u8]> = out.chunks(size).collect();
        assert_eq!(demux(&parts), whole, "{size}");
    }
}

#[test]
fn a_missing_packet_is_a_hole_and_a_repeated_one_nothing() {
    let mut out = stream().out;
    // Tables, then six packets of the first picture.
    let third = 4 * 188..5 * 188;
    let again = out[third.clone()].to_vec();
    let mut twice = out.clone();
    twice.splice(third.end..third.end, again);
    assert_eq!(demux(&[&twice]).pes, demux(&[&out]).pes);
    out.drain(third);
    let found = demux(&[&out]);
    assert_eq!(found.holes, [0xe0]);
    assert_eq!(found.errors, [Error::Continuity]);
    assert_eq!(found.pes[0].2.len(), 1000 - 184);
    assert_eq!(found.pes[2].2, body(4, 500));
}

#[test]
fn sync_is_found_again_behind_junk() {
    let mut out = stream().out;
    let at = 2 * 188;
    out.splice(at..at, [SYNC, 1, 2, SYNC, 9]);
    let found = demux(&[&out]);
    assert_eq!(found.errors.first(), Some(&Error::Sync));
    assert!(found.pes.iter().any(|p| p.2 == body(4, 500)));
    // And at the start.
    let mut out = vec![SYNC; 3];
    out.extend(stream().out);
    let found = demux(&[&out]);
    assert_eq!(found.pes.len(), 3);
}

#[test]
fn without_tables_the_streams_are_known_by_their_ids() {
    let mut writer = Writer::default();
    writer.pes(0x100, 0xe0, 1, &body(1, 300), false);
    writer.pes(0x200, 0xc0, 2, &body(2, 160), true);
    writer.pes(0x300, 0xe1, 3, &body(3, 50), false);
    let found = demux(&[&writer.out]);
    let seen: Vec<_> = found.pes.iter().map(|p| (p.0, p.1)).collect();
    assert_eq!(seen, [(0xe0, Some(1)), (0xc0, Some(2))]);
    assert!(found.maps.is_empty());
}

#[test]
fn a_map_over_two_packets_is_read_and_one_that_is_too_long_is_not() {
    let mut writer = Writer::default();
    writer.section(0, 0, &[0, 1, 0xf0, 0]);
    let mut map = vec![0xe1, 0, 0xf0, 200];
    map.extend([0u8; 200]);
    map.extend([0x1b, 0xe1, 0, 0xf0, 0]);
    writer.section(0x1000, 2, &map);
    let found = demux(&[&writer.out]);
    assert_eq!(found.maps.len(), 1);
    assert_eq!(found.maps[0].entries[0].stream_type, 0x1b);
    let mut writer = Writer::default();
    writer.section(0, 0, &[0, 1, 0xf0, 0]);
    for length in [
        limits::TS_SECTION_BYTES_MAX - 12,
        limits::TS_SECTION_BYTES_MAX - 11,
    ] {
        let mut map = vec![0u8; length];
        map[..4].copy_from_slice(&[0xe1, 0, 0xf0, 0]);
        writer.section(0x1000, 2, &map);
    }
    assert_eq!(demux(&[&writer.out]).maps.len(), 1, "the one at the bound");
}

#[test]
fn more_streams_than_the_bound_are_left_out() {
    let mut writer = Writer::default();
    writer.section(0, 0, &[0, 1, 0xf0, 0]);
    let mut map = vec![0xe1, 0, 0xf0, 0];
    for n in 0..limits::TS_STREAMS_MAX as u8 + 5 {
        map.extend([0x1b, 0xe1, n, 0xf0, 0]);
    }
    writer.section(0x1000, 2, &map);
    let mut demux = Demux::new();
    demux.push(&writer.out, &mut Found::default());
    assert_eq!(demux.streams.len(), limits::TS_STREAMS_MAX);
}
