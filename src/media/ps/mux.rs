//! Program stream muxer: frames in, one pack a frame out. For simulated devices and for sending to other platforms.
//!
//! ISO/IEC 13818-1, 2.5.3.3 (pack header), 2.5.3.5 (system header), 2.5.4.1 (program stream map), 2.4.3.6 (PES);
//! GB/T 28181-2016, annex C. Key frames carry the system header, the map and the parameter sets; the first frame, and
//! every frame of a stream of sound alone, carries header and map too.
//!
//! Pictures come in canonical form and leave with start codes where the lengths stood; AAC leaves in ADTS. A picture is
//! split into PES packets of at most [`PES_PAYLOAD_BYTES_MAX`]; the first alone has the time. Opus has no stream type in a
//! program stream: its frames are left out.

use super::{PACK_HEADER, STREAM_MAP, SYSTEM_HEADER, stream_type, write_time};
use crate::media::codec::aac::adts_header;
use crate::media::frame::{Codec, Frame, Params, Track, TrackId, nals};

const VIDEO_ID: u8 = 0xe0;
const AUDIO_ID: u8 = 0xc0;
/// Payload of one PES, so that header and payload fit its 16-bit length.
pub const PES_PAYLOAD_BYTES_MAX: usize = 65_000;
/// In units of 50 bytes per second: 25 Mbit/s.
const MUX_RATE: u32 = 62_500;
const START_CODE: [u8; 4] = [0, 0, 0, 1];
const TIME_MASK: u64 = (1 << 33) - 1;

/// Writes the frames of a picture and a sound track as one program stream.
#[derive(Clone, Debug)]
pub struct Mux {
    video: Option<Track>,
    audio: Option<Track>,
    /// The map has been written: before it nobody can tell what the streams are.
    started: bool,
}

impl Mux {
    pub fn new(video: Option<&Track>, audio: Option<&Track>) -> Mux {
        Mux {
            video: video.cloned(),
            audio: audio.cloned(),
            started: false,
        }
    }

    /// Appends one frame. Frames of a track that was not given to [`Mux::new`] are left out, as are AAC frames longer
    /// than ADTS can say.
    pub fn push(&mut self, frame: &Frame, out: &mut Vec<u8>) {
        let dts = frame.dts.0 as u64 & TIME_MASK;
        let pts = frame.pts.0 as u64 & TIME_MASK;
        match frame.track {
            TrackId::Video => self.push_video(frame, pts, dts, out),
            TrackId::Audio => self.push_audio(frame, pts, out),
        }
    }

    fn push_video(&mut self, frame: &Frame, pts: u64, dts: u64, out: &mut Vec<u8>) {
        let Some(track) = &self.video else {
            return;
        };
        write_pack_header(dts, out);
        if frame.key || !self.started {
            self.write_system_header(out);
            self.write_map(out);
            self.started = true;
        }
        let mut sets: [&[u8]; 3] = [&[]; 3];
        if let (true, Params::Video(video)) = (frame.key, &*track.params) {
            sets = [
                video.vps.as_deref().unwrap_or_default(),
                &video.sps,
                &video.pps,
            ];
        }
        let units = || {
            let sets = sets.iter().copied().filter(|s| !s.is_empty());
            sets.chain(nals(&frame.payload))
        };
        let mut body = Body {
            out,
            stream_id: VIDEO_ID,
            times: Some((pts, (dts != pts).then_some(dts))),
            to_come: units().map(|n| START_CODE.len() + n.len()).sum(),
            left_in_pes: 0,
        };
        for nal in units() {
            body.put(&START_CODE);
            body.put(nal);
        }
    }

    fn push_audio(&mut self, frame: &Frame, pts: u64, out: &mut Vec<u8>) {
        let Some(track) = &self.audio else {
            return;
        };
        let header = match (track.codec, &*track.params) {
            (Codec::Aac, Params::Audio(audio)) => {
                match adts_header(&audio.config, frame.payload.len()) {
                    Some(header) => Some(header),
                    None => return,
                }
            }
            (Codec::G711A | Codec::G711U | Codec::G722 | Codec::G726(_), _) => None,
            (Codec::H264 | Codec::H265 | Codec::Opus | Codec::Aac, _) => return,
        };
        // A stream of sound alone has no key frames that could carry its map.
        write_pack_header(pts, out);
        if self.video.is_none() || !self.started {
            self.write_system_header(out);
            self.write_map(out);
            self.started = true;
        }
        let header: &[u8] = header.as_ref().map_or(&[], |h| h);
        let mut body = Body {
            out,
            stream_id: AUDIO_ID,
            times: Some((pts, None)),
            to_come: header.len() + frame.payload.len(),
            left_in_pes: 0,
        };
        body.put(header);
        body.put(&frame.payload);
    }

    fn write_system_header(&self, out: &mut Vec<u8>) {
        let audio = self.audio.is_some();
        let video = self.video.is_some();
        let streams = usize::from(audio) + usize::from(video);
        out.extend_from_slice(&[0, 0, 1, SYSTEM_HEADER, 0, (6 + 3 * streams) as u8]);
        out.extend_from_slice(&[
            0x80 | (MUX_RATE >> 15) as u8,
            (MUX_RATE >> 7) as u8,
            (MUX_RATE << 1) as u8 | 1,
            u8::from(audio) << 2,
            // Audio and video locked, marker, number of pictures.
            0xe0 | u8::from(video),
            0x7f,
        ]);
        if video {
            // Buffer bound in units of 1,024 bytes.
            out.extend_from_slice(&[VIDEO_ID, 0xe0 | (2048u16 >> 8) as u8, 0]);
        }
        if audio {
            // In units of 128 bytes.
            out.extend_from_slice(&[AUDIO_ID, 0xc0, 64]);
        }
    }

    fn write_map(&self, out: &mut Vec<u8>) {
        let start = out.len();
        let video = self.video.as_ref().and_then(|t| stream_type(t.codec));
        let audio = self.audio.as_ref().and_then(|t| stream_type(t.codec));
        let entries = [(video, VIDEO_ID), (audio, AUDIO_ID)];
        let count = entries.iter().filter(|e| e.0.is_some()).count();
        out.extend_from_slice(&[0, 0, 1, STREAM_MAP, 0, (10 + 4 * count) as u8]);
        // Current, version 1; no descriptors.
        out.extend_from_slice(&[0xe1, 0xff, 0, 0, 0, (4 * count) as u8]);
        for (stream_type, stream_id) in entries {
            if let Some(stream_type) = stream_type {
                out.extend_from_slice(&[stream_type, stream_id, 0, 0]);
            }
        }
        let crc = crc32(&out[start..]);
        out.extend_from_slice(&crc.to_be_bytes());
    }
}

/// Payload on its way into PES packets.
struct Body<'a> {
    out: &'a mut Vec<u8>,
    stream_id: u8,
    /// Of the first packet: presentation, and decoding if it differs.
    times: Option<(u64, Option<u64>)>,
    to_come: usize,
    left_in_pes: usize,
}

impl Body<'_> {
    fn put(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.left_in_pes == 0 {
                self.left_in_pes = self.to_come.min(PES_PAYLOAD_BYTES_MAX);
                self.write_header();
            }
            let take = bytes.len().min(self.left_in_pes);
            self.out.extend_from_slice(&bytes[..take]);
            bytes = &bytes[take..];
            self.left_in_pes -= take;
            self.to_come -= take;
        }
    }

    fn write_header(&mut self) {
        let (flags, fields) = match self.times {
            None => (0, 0),
            Some((_, None)) => (0x80, 5),
            Some((_, Some(_))) => (0xc0, 10),
        };
        let length = 3 + fields + self.left_in_pes;
        self.out.extend_from_slice(&[0, 0, 1, self.stream_id]);
        self.out.extend_from_slice(&(length as u16).to_be_bytes());
        self.out.extend_from_slice(&[0x80, flags, fields as u8]);
        match self.times.take() {
            None => {}
            Some((pts, None)) => self.out.extend_from_slice(&write_time(2, pts)),
            Some((pts, Some(dts))) => {
                self.out.extend_from_slice(&write_time(3, pts));
                self.out.extend_from_slice(&write_time(1, dts));
            }
        }
    }
}

fn write_pack_header(clock: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(&[
        0,
        0,
        1,
        PACK_HEADER,
        0x44 | (clock >> 27) as u8 & 0x38 | (clock >> 28) as u8 & 3,
        (clock >> 20) as u8,
        (clock >> 12) as u8 & 0xf8 | 4 | (clock >> 13) as u8 & 3,
        (clock >> 5) as u8,
        (clock << 3) as u8 | 4,
        1,
        (MUX_RATE >> 14) as u8,
        (MUX_RATE >> 6) as u8,
        (MUX_RATE << 2) as u8 | 3,
        0xf8,
    ]);
}

/// CRC of 13818-1, annex A: polynomial 0x04c11db7, starting with ones, nothing reflected.
fn crc32(bytes: &[u8]) -> u32 {
    bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte) << 24, |crc, _| {
            crc << 1 ^ if crc >> 31 == 1 { 0x04c1_1db7 } else { 0 }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_that_of_other_muxers() {
        // The map of GStreamer's program stream, checksum last.
        let map = [
            0, 0, 1, 0xbc, 0, 0x18, 0xe1, 0xff, 0, 0, 0, 0x0e, 0x1b, 0xe0, 0, 0x0a, 5, 8, 0x48,
            0x44, 0x4d, 0x56, 0xff, 0x1b, 0x44, 0x3f,
        ];
        assert_eq!(crc32(&map), 0x9d70_5ebf);
    }

    #[test]
    fn a_pack_header_holds_its_clock() {
        // 90,000 ticks and their header as ffmpeg writes the fields: read back bit by bit.
        for clock in [0u64, 90_000, (1 << 33) - 1, 0x1_5555_5555] {
            let mut out = Vec::new();
            write_pack_header(clock, &mut out);
            let b: Vec<u64> = out.iter().map(|b| u64::from(*b)).collect();
            let read = (b[4] >> 3 & 7) << 30
                | (b[4] & 3) << 28
                | b[5] << 20
                | (b[6] >> 3) << 15
                | (b[6] & 3) << 13
                | b[7] << 5
                | b[8] >> 3;
            assert_eq!(read, clock);
            assert_eq!(
                (b[4] >> 6, b[4] >> 2 & 1, b[6] >> 2 & 1, b[8] >> 2 & 1),
                (1, 1, 1, 1)
            );
        }
    }
}
