//! A program stream that loses and damages packets: what comes out keeps to its form, and the stream is found again.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use super::Script;
use crate::media::frame::{Codec, Frame, Params, Track, TrackId, VideoParams};
use crate::media::ps::StreamMap;
use crate::media::ps::demux::{Demux, Error, Pes, Sink};
use crate::media::ps::mux::Mux;
use crate::time::MediaTime;

#[derive(Default)]
struct Found {
    open: Option<(Pes, Vec<u8>)>,
    /// Something was lost or changed since the last PES began.
    damaged: bool,
    /// Payload of each PES that came to its end.
    whole: Vec<Vec<u8>>,
}

impl Sink for Found {
    fn map(&mut self, map: &StreamMap) {
        assert!(map.entries.len() <= crate::limits::PSM_STREAMS_MAX);
    }

    fn pes(&mut self, pes: Pes) {
        for time in [pes.pts, pes.dts].into_iter().flatten() {
            assert!(time < 1 << 33);
        }
        self.open = Some((pes, Vec::new()));
        self.damaged = false;
    }

    fn payload(&mut self, stream_id: u8, bytes: &[u8]) {
        assert!(!bytes.is_empty());
        // What goes on behind the end of its PES belongs to it still.
        if let Some((pes, payload)) = &mut self.open {
            assert_eq!(pes.stream_id, stream_id);
            payload.extend_from_slice(bytes);
        }
    }

    fn pes_end(&mut self, stream_id: u8) {
        let (pes, payload) = self.open.as_ref().expect("an end follows a header");
        assert_eq!(pes.stream_id, stream_id);
        // Over a hole in a picture its payload goes on.
        if let (Some(len), false) = (pes.payload_bytes, self.damaged) {
            assert!(payload.len() >= len as usize);
        }
        self.whole.push(payload.clone());
    }

    fn hole(&mut self, _: u8) {
        self.damaged = true;
    }

    fn error(&mut self, error: Error) {
        assert!(Error::ALL.contains(&error));
    }
}

fn frame(n: i64, len: usize) -> Frame {
    // No zeros: nothing in it looks like a start code.
    let nal: Vec<u8> = [if n % 4 == 0 { 0x65 } else { 0x41 }]
        .into_iter()
        .chain((0..len).map(|i| (i % 251) as u8 + 1))
        .collect();
    let mut payload = (nal.len() as u32).to_be_bytes().to_vec();
    payload.extend(nal);
    Frame {
        track: TrackId::Video,
        dts: MediaTime(n * 3600),
        pts: MediaTime(n * 3600),
        key: n % 4 == 0,
        damaged: false,
        payload: payload.into(),
        received: Instant::now(),
    }
}

/// The script says how long pictures are, how they are cut, and which pieces are lost or changed.
pub fn ps_loss(data: &[u8]) {
    let mut script = Script::new(data);
    let params = VideoParams {
        sps: Bytes::from_static(&[0x67, 0x42, 0xc0, 0x1e, 0xd9]),
        pps: Bytes::from_static(&[0x68, 0xce, 0x3c, 0x80]),
        ..VideoParams::default()
    };
    let track = Track {
        id: TrackId::Video,
        codec: Codec::H264,
        params: Arc::new(Params::Video(params)),
    };
    let mut mux = Mux::new(Some(&track), None);
    let mut demux = Demux::new();
    let mut found = Found::default();
    let mut n = 0;
    while !script.is_over() && n < 64 {
        let (len, size) = (
            1 + usize::from(script.word()) % 5_000,
            1 + script.below(200) * 8,
        );
        let mut ps = Vec::new();
        mux.push(&frame(n, len), &mut ps);
        n += 1;
        for piece in ps.chunks(size) {
            match script.byte() {
                0..8 => {
                    found.damaged = true;
                    demux.lose(script.chance(2));
                }
                8..16 => {
                    let mut changed = piece.to_vec();
                    let at = script.below(changed.len());
                    changed[at] = script.byte();
                    found.damaged = true;
                    demux.push(&changed, &mut found);
                }
                _ => demux.push(piece, &mut found),
            }
        }
    }
    // Two whole pictures later everything is as if nothing had been; the second one proves it.
    let len = 1_000;
    for n in [n * 4, n * 4 + 4] {
        let mut ps = Vec::new();
        mux.push(&frame(n, len), &mut ps);
        demux.lose(false);
        demux.push(&ps, &mut found);
    }
    let picture = &frame(0, len).payload[4..];
    let last = found.whole.last().expect("a picture came whole");
    assert!(last.ends_with(picture));
}
