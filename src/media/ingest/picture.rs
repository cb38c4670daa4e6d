//! Access units of H.264 and H.265 from pieces of an Annex B stream, built in the form in which frames are kept.
//!
//! ITU-T H.264, 7.4.1.2.3 and annex B; ITU-T H.265, 7.4.2.4.4 and annex B; ISO/IEC 14496-15, 5.3 (lengths).
//!
//! Pieces may be cut anywhere. Each payload byte is copied once, to its place in the access unit; a length stands where
//! the start code stood. Parameter sets are lifted out into the track; delimiters, SEI and filler are left out. Which
//! codec it is, the parameter sets themselves say.
//!
//! A unit ends where the next begins (first slice, parameter set, delimiter, or a new time at a slice whose first part
//! is missing), or, without waiting for that, at the RTP marker until a marker was seen to be wrong.
//!
//! Bounds: [`crate::limits::ACCESS_UNIT_BYTES_MAX`], [`crate::limits::PARAMETER_SET_BYTES_MAX`]. Memory: units are cut
//! from chunks of [`CHUNK_BYTES`]; a key frame that needs more has its own, sized by the key frames before it.

use std::sync::Arc;
use std::time::Instant;

use bytes::{BufMut, Bytes, BytesMut};

use crate::limits;
use crate::media::codec::annexb::{find_start_code, trim_zeros};
use crate::media::codec::{h264, h265};
use crate::media::frame::{Codec, Params, Track, TrackId, VideoParams};

/// Units are cut from buffers of this size: a frame that is kept keeps its whole chunk, so a chunk is small beside a
/// group of pictures and holds a dozen usual frames.
const CHUNK_BYTES: usize = 64 * 1024;
/// A PES this long was probably cut by its writer and goes on in the next, whatever the RTP marker says.
const FULL_PES_BYTES: u32 = 60_000;
const LENGTH_BYTES: usize = 4;
const HEAD_BYTES: usize = 3;

/// From which packet the bytes come.
#[derive(Clone, Copy, Debug)]
pub(super) struct Origin {
    pub received: Instant,
    pub rtp: Option<u32>,
}

/// Times of a PES header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Times {
    pub pts: Option<u64>,
    pub dts: Option<u64>,
}

/// A finished access unit.
#[derive(Debug)]
pub(super) struct Unit {
    pub payload: Bytes,
    pub key: bool,
    pub damaged: bool,
    pub times: Times,
    pub origin: Origin,
}

#[derive(Debug)]
pub(super) enum Made {
    /// Comes before the first unit that needs it.
    Track(Track),
    Unit(Unit),
    /// A unit was left out: too long, or no parameter sets yet.
    Dropped,
    /// Start codes of a coding that is none of ours, by the number it has in a program stream map.
    Foreign(u8),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Slice,
    Vps,
    Sps,
    Pps,
    /// Not kept.
    Left,
}

/// The NAL unit that is open.
#[derive(Clone, Copy, Debug)]
struct Nal {
    /// Its first bytes, until they are enough to tell what it is.
    head: [u8; HEAD_BYTES],
    head_len: usize,
    kind: Option<Kind>,
    /// Where its length stands in the buffer.
    start: usize,
}

/// What is known of the unit that is open.
#[derive(Clone, Copy, Debug, Default)]
struct Open {
    origin: Option<Origin>,
    times: Times,
    slices: bool,
    key: bool,
    damaged: bool,
}

/// Parameter sets as they came last.
#[derive(Debug, Default)]
struct Sets {
    vps: Option<Bytes>,
    sps: Option<Bytes>,
    pps: Option<Bytes>,
    pps_id: Option<u32>,
    changed: bool,
}

#[derive(Debug)]
pub(super) struct Picture {
    codec: Option<Codec>,
    /// Finished NAL units of the open unit, then the open one.
    buffer: BytesMut,
    nal: Option<Nal>,
    /// Zeros held back: they may belong to a start code.
    zeros: usize,
    open: Open,
    /// Times of the unit that begins next.
    next_times: Option<Times>,
    /// Packets were lost since the last unit ended.
    hole: bool,
    sets: Sets,
    track: Option<Track>,
    fields: bool,
    pes_bytes: u32,
    marker_trusted: bool,
    /// The last unit ended by a marker and nothing has come since.
    ended_by_marker: bool,
    key_bytes: usize,
    other_bytes: usize,
}

impl Picture {
    pub fn new() -> Picture {
        Picture {
            codec: None,
            buffer: BytesMut::new(),
            nal: None,
            zeros: 0,
            open: Open::default(),
            next_times: None,
            hole: false,
            sets: Sets::default(),
            track: None,
            fields: false,
            pes_bytes: 0,
            marker_trusted: true,
            ended_by_marker: false,
            key_bytes: 0,
            other_bytes: 0,
        }
    }

    pub fn track(&self) -> Option<&Track> {
        self.track.as_ref()
    }

    /// A PES begins.
    pub fn pes(&mut self, times: Times) {
        self.pes_bytes = 0;
        if times.pts.is_none() || (self.open.origin.is_some() && self.open.times == times) {
            return;
        }
        if self.open.origin.is_some() && !self.open.slices {
            self.open.times = times;
        } else {
            self.next_times = Some(times);
        }
    }

    /// A piece of the stream.
    pub fn payload(&mut self, origin: Origin, mut data: &[u8], put: &mut impl FnMut(Made)) {
        self.pes_bytes = self.pes_bytes.saturating_add(data.len() as u32);
        if self.zeros > 0 {
            let Some(zeros) = data.iter().position(|b| *b != 0) else {
                self.zeros += data.len();
                return;
            };
            if data[zeros] == 1 && self.zeros + zeros >= 2 {
                data = &data[zeros + 1..];
                self.begin_nal(origin, put);
            } else {
                let held = std::mem::take(&mut self.zeros);
                self.append_zeros(origin, held, put);
            }
            self.zeros = 0;
        }
        while let Some(at) = find_start_code(data) {
            self.append(origin, trim_zeros(&data[..at]), put);
            self.begin_nal(origin, put);
            data = &data[at + 3..];
        }
        let body = trim_zeros(data);
        self.zeros = data.len() - body.len();
        self.append(origin, body, put);
    }

    /// The RTP packet that held the last piece, and ended with the end of a PES, has the marker.
    pub fn marker(&mut self, put: &mut impl FnMut(Made)) {
        if !self.marker_trusted || self.pes_bytes >= FULL_PES_BYTES {
            return;
        }
        self.end_nal(put);
        if self.open.slices {
            self.end_unit(put);
            self.ended_by_marker = true;
        }
    }

    /// A marker came where no picture can end.
    pub fn distrust_marker(&mut self) {
        self.marker_trusted = false;
    }

    /// Packets are missing here. `same_picture`: what comes next belongs to the open unit.
    pub fn lose(&mut self, same_picture: bool, put: &mut impl FnMut(Made)) {
        self.zeros = 0;
        self.open.damaged |= self.open.origin.is_some();
        if !same_picture || self.open.origin.is_none() {
            self.hole = true;
        }
        if !same_picture {
            self.finish(put);
        }
    }

    /// Gives out the open unit as it is.
    pub fn finish(&mut self, put: &mut impl FnMut(Made)) {
        self.zeros = 0;
        self.end_nal(put);
        self.end_unit(put);
        self.next_times = None;
    }

    fn begin_nal(&mut self, origin: Origin, put: &mut impl FnMut(Made)) {
        self.end_nal(put);
        self.nal = Some(Nal {
            head: [0; HEAD_BYTES],
            head_len: 0,
            kind: None,
            start: 0,
        });
        // A unit that begins with this NAL has this packet's time, also when the bytes that tell come in the next.
        if self.open.origin.is_none() {
            self.open.origin = Some(origin);
            self.open.times = self.next_times.take().unwrap_or_default();
            self.open.damaged = std::mem::take(&mut self.hole);
        }
    }

    fn append_zeros(&mut self, origin: Origin, mut count: usize, put: &mut impl FnMut(Made)) {
        const ZEROS: [u8; 64] = [0; 64];
        while count > 0 && self.nal.is_some() {
            let take = count.min(ZEROS.len());
            self.append(origin, &ZEROS[..take], put);
            count -= take;
        }
    }

    #[inline]
    fn append(&mut self, origin: Origin, mut body: &[u8], put: &mut impl FnMut(Made)) {
        if body.is_empty() {
            return;
        }
        let Some(mut nal) = self.nal else {
            // Before any start code. Behind a marker it is the rest of the picture that the marker cut off.
            if self.ended_by_marker && !self.hole {
                self.marker_trusted = false;
                self.hole = true;
            }
            return;
        };
        if nal.kind.is_none() {
            let take = body.len().min(HEAD_BYTES - nal.head_len);
            nal.head[nal.head_len..nal.head_len + take].copy_from_slice(&body[..take]);
            nal.head_len += take;
            self.nal = Some(nal);
            if nal.head_len < HEAD_BYTES {
                return;
            }
            body = &body[take..];
            self.classify(origin, put);
            let Some(classified) = self.nal else {
                return;
            };
            nal = classified;
        }
        if nal.kind == Some(Kind::Left) {
            return;
        }
        if self.buffer.len() + body.len() > limits::ACCESS_UNIT_BYTES_MAX {
            self.drop_unit(put);
            return;
        }
        self.make_room(body.len());
        self.buffer.extend_from_slice(body);
    }

    /// The open unit is too long to be one: it and the rest of its NAL unit are left out.
    fn drop_unit(&mut self, put: &mut impl FnMut(Made)) {
        self.buffer = BytesMut::new();
        self.open = Open::default();
        self.hole = true;
        if let Some(nal) = &mut self.nal {
            nal.kind = Some(Kind::Left);
        }
        put(Made::Dropped);
    }

    /// Decides what the open NAL unit is from its first bytes, and ends the unit before it if it begins a new one.
    fn classify(&mut self, origin: Origin, put: &mut impl FnMut(Made)) {
        let Some(mut nal) = self.nal else {
            return;
        };
        let head = &nal.head[..nal.head_len];
        self.sniff(head, put);
        let (kind, begins, key, first) = match self.codec {
            Some(Codec::H265) => self.kind_265(head),
            Some(_) => self.kind_264(head),
            None => (Kind::Left, false, false, true),
        };
        if begins && self.open.slices {
            self.end_unit(put);
            self.open.origin = Some(origin);
            self.open.times = self.next_times.take().unwrap_or_default();
            self.open.damaged = std::mem::take(&mut self.hole);
        }
        if kind == Kind::Slice {
            if !first && !self.open.slices {
                // The first part of this picture is missing: lost, or given out too early by a marker.
                if self.ended_by_marker && !self.open.damaged {
                    self.marker_trusted = false;
                }
                self.open.damaged = true;
            }
            self.ended_by_marker = false;
            self.open.slices = true;
            self.open.key |= key;
        }
        if kind != Kind::Left {
            let expected = if key || kind != Kind::Slice {
                self.key_bytes
            } else {
                self.other_bytes
            };
            if self.buffer.is_empty() {
                self.make_room(expected);
            }
            self.make_room(LENGTH_BYTES + HEAD_BYTES);
            nal.start = self.buffer.len();
            self.buffer.put_u32(0);
            self.buffer.extend_from_slice(&nal.head[..nal.head_len]);
        }
        nal.kind = Some(kind);
        self.nal = Some(nal);
    }

    /// Learns the codec from a parameter set; a later set of the other codec wins, as devices change their minds.
    fn sniff(&mut self, head: &[u8], put: &mut impl FnMut(Made)) {
        let codec = if h265::is_parameter_set(head) {
            Codec::H265
        } else if h264::is_sps(head) {
            Codec::H264
        } else {
            if self.codec.is_none() {
                match head.first() {
                    // Sequence header of MPEG-2; of MPEG-4 part 2.
                    Some(0xb3) => put(Made::Foreign(0x02)),
                    Some(0xb0) => put(Made::Foreign(0x10)),
                    Some(_) | None => {}
                }
            }
            return;
        };
        if self.codec == Some(codec) {
            return;
        }
        if self.codec.is_some() {
            self.end_unit(put);
            self.open.origin = None;
        }
        self.codec = Some(codec);
        self.sets = Sets::default();
    }

    fn kind_264(&self, head: &[u8]) -> (Kind, bool, bool, bool) {
        match h264::nal(head) {
            // The second field of a picture begins anew too, but its PES does not.
            h264::Nal::Slice { key, first } => {
                let begins = (first && !self.fields) || self.next_times.is_some();
                (Kind::Slice, begins, key, first)
            }
            h264::Nal::Sps => (Kind::Sps, true, true, true),
            h264::Nal::Pps => (Kind::Pps, true, true, true),
            h264::Nal::Between => (Kind::Left, true, false, true),
            h264::Nal::Extra => (Kind::Left, false, false, true),
        }
    }

    fn kind_265(&self, head: &[u8]) -> (Kind, bool, bool, bool) {
        match h265::nal(head) {
            h265::Nal::Slice { key, first } => {
                let begins = first || self.next_times.is_some();
                (Kind::Slice, begins, key, first)
            }
            h265::Nal::Vps => (Kind::Vps, true, true, true),
            h265::Nal::Sps => (Kind::Sps, true, true, true),
            h265::Nal::Pps => (Kind::Pps, true, true, true),
            h265::Nal::Between => (Kind::Left, true, false, true),
            h265::Nal::Extra => (Kind::Left, false, false, true),
        }
    }

    /// Writes the open NAL unit's length, or lifts it out if it is a parameter set.
    fn end_nal(&mut self, put: &mut impl FnMut(Made)) {
        if let (
            Some(Nal {
                kind: None,
                head_len: 1..,
                ..
            }),
            Some(origin),
        ) = (self.nal, self.open.origin)
        {
            self.classify(origin, put);
        }
        let Some(nal) = self.nal.take() else {
            return;
        };
        let Some(kind) = nal.kind else {
            return;
        };
        if kind == Kind::Left {
            return;
        }
        let body = nal.start + LENGTH_BYTES;
        let len = (self.buffer.len() - body) as u32;
        self.buffer[nal.start..body].copy_from_slice(&len.to_be_bytes());
        if kind == Kind::Slice {
            return;
        }
        let set = &self.buffer[body..];
        if set.len() <= limits::PARAMETER_SET_BYTES_MAX && !self.sets.lift(kind, self.codec, set) {
            return;
        }
        self.buffer.truncate(nal.start);
    }

    fn end_unit(&mut self, put: &mut impl FnMut(Made)) {
        let open = std::mem::take(&mut self.open);
        let Some(origin) = open.origin.filter(|_| open.slices) else {
            self.buffer.clear();
            // What was said of the unit so far goes on to the one that follows.
            self.hole |= open.damaged;
            if open.times != Times::default() && self.next_times.is_none() {
                self.next_times = Some(open.times);
            }
            return;
        };
        if self.sets.changed {
            self.renew_track(put);
        }
        if self.track.is_none() {
            self.buffer.clear();
            put(Made::Dropped);
            return;
        }
        let payload = self.buffer.split().freeze();
        let seen = if open.key {
            &mut self.key_bytes
        } else {
            &mut self.other_bytes
        };
        *seen = (*seen - *seen / 16).max(payload.len() + payload.len() / 8);
        put(Made::Unit(Unit {
            payload,
            key: open.key,
            damaged: open.damaged,
            times: open.times,
            origin,
        }));
    }

    fn renew_track(&mut self, put: &mut impl FnMut(Made)) {
        let Some(track) = self.sets.track(self.codec, &mut self.fields) else {
            return;
        };
        self.sets.changed = false;
        if self.track.as_ref() != Some(&track) {
            self.track = Some(track.clone());
            put(Made::Track(track));
        }
    }

    /// Makes sure that `more` bytes fit. What the open unit has so far moves only if it outgrows its chunk.
    #[inline]
    fn make_room(&mut self, more: usize) {
        if self.buffer.capacity() - self.buffer.len() < more {
            self.new_chunk(more);
        }
    }

    #[cold]
    fn new_chunk(&mut self, more: usize) {
        let held = self.buffer.len();
        let mut chunk = BytesMut::with_capacity(CHUNK_BYTES.max(2 * held + more));
        chunk.extend_from_slice(&self.buffer);
        self.buffer = chunk;
    }
}

impl Sets {
    /// Keeps a parameter set. `false`: it must stay in the payload, as it is a further PPS beside the one kept.
    fn lift(&mut self, kind: Kind, codec: Option<Codec>, set: &[u8]) -> bool {
        let place = match kind {
            Kind::Vps => &mut self.vps,
            Kind::Sps => {
                if self.sps.as_deref() != Some(set) {
                    // A new sequence brings its own pictures' parameters.
                    self.pps_id = None;
                }
                &mut self.sps
            }
            Kind::Pps => {
                let id = match codec {
                    Some(Codec::H265) => h265::pps_id(set),
                    Some(_) | None => h264::pps_id(set),
                };
                if self.pps_id.is_some() && self.pps_id != id {
                    return false;
                }
                self.pps_id = id;
                &mut self.pps
            }
            Kind::Slice | Kind::Left => return true,
        };
        if place.as_deref() != Some(set) {
            *place = Some(Bytes::copy_from_slice(set));
            self.changed = true;
        }
        true
    }

    /// The track that these sets describe, once they are whole and readable.
    fn track(&self, codec: Option<Codec>, fields: &mut bool) -> Option<Track> {
        let (codec, sps, pps) = (codec?, self.sps.clone()?, self.pps.clone()?);
        let (width, height, fps_milli) = if codec == Codec::H265 {
            self.vps.as_ref()?;
            let sps = h265::Sps::parse(&sps)?;
            *fields = false;
            (sps.width, sps.height, sps.fps_milli)
        } else {
            let sps = h264::Sps::parse(&sps)?;
            *fields = !sps.frames_only;
            (sps.width, sps.height, sps.fps_milli)
        };
        Some(Track {
            id: TrackId::Video,
            codec,
            params: Arc::new(Params::Video(VideoParams {
                vps: (codec == Codec::H265).then(|| self.vps.clone()).flatten(),
                sps,
                pps,
                width,
                height,
                fps_milli,
            })),
        })
    }
}
