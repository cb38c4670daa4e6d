//! Fragmented MP4 muxer: frames in, one `moof` and `mdat` a frame out, the same units for HTTP and WebSocket.
//!
//! ISO/IEC 14496-12, 8.8 (fragments); W3C "ISO BMFF Byte Stream Format" for Media Source Extensions.
//!
//! One unit is one fragment of one sample: `head` holds the WebSocket header, `moof` and the header of `mdat`, `body` the
//! payload as it lies in the hub, `tail` nothing. No frame waits for the next one: a sample's duration is the
//! running mean of its track, while its decoding time is exact and in 64 bits.
//!
//! A hole in a track: by step 3 of the coded frame processing algorithm of Media Source Extensions, a decoding time that
//! jumps by more than two durations makes the player drop the pictures of *every* track until a key frame, so that one
//! lost datagram of sound blacks out the picture. So the sample after a hole gets the decoding time at which it was due,
//! with the hole in its composition offset and in its duration: presentation stays exact.
//!
//! The boxes are written by hand: a fragment is one fixed layout of 112 bytes that must be written in place without an
//! allocation, and for the dozen boxes of the initialisation segment `mp4-atom` would bring some twenty crates.
//!
//! Not done: edit lists, Opus. Times before zero are shown as zero.
//!
//! Bounds: a hole is bridged up to [`limits::FMP4_BRIDGE_TICKS_MAX`].

mod boxes;

use bytes::{BufMut, Bytes};

use super::unit::{Carver, Unit, WS_HEADER_BYTES_MAX, put_ws_header, whole};
use super::{Kept, decoder_config};
use crate::limits;
use crate::media::frame::{Codec, Frame, Track, TrackId};
use crate::time::{MediaTime, TICKS_PER_SECOND};

/// The type by which this form is served over HTTP.
pub const MIME: &str = "video/mp4";

/// `moof` with one `traf` of one sample: 8 + mfhd 16 + traf 8 + tfhd 16 + tfdt 20 + trun 36.
const MOOF_BYTES: usize = 104;
const MDAT_HEADER_BYTES: usize = 8;
/// Of a track whose rate is not known yet: 25 pictures a second.
const DEFAULT_FRAME_TICKS: i64 = TICKS_PER_SECOND / 25;
/// Sound whose time stamps stray by less than this part of a second from its sample count is laid end to end.
const SNAP_PER_SECOND: i64 = 50;

/// Muxer of one rendition.
#[derive(Debug)]
pub struct Mux {
    kept: Kept,
    init: Unit,
    mime: String,
    carver: Carver,
    sequence: u32,
    video: Clock,
    audio: Clock,
    last_dts: MediaTime,
}

impl Mux {
    /// Tracks that fMP4 cannot hold (Opus, pictures without whole parameter sets) are left out.
    pub fn new(tracks: &[Track]) -> Mux {
        let kept = Kept::of(tracks, holds);
        Mux {
            init: whole(&boxes::init(&kept), MediaTime(0)),
            mime: mime(&kept),
            carver: Carver::default(),
            sequence: 0,
            video: Clock::of(kept.video.as_ref()),
            audio: Clock::of(kept.audio.as_ref()),
            last_dts: MediaTime(0),
            kept,
        }
    }

    /// The initialisation segment: `ftyp` and `moov`.
    pub fn init(&self) -> Unit {
        self.init.clone()
    }

    /// `video/mp4; codecs="avc1.640028,mp4a.40.2"`; `audio/mp4` without picture. G.711 has no name that a browser knows
    /// and is left out of the list.
    pub fn mime(&self) -> &str {
        &self.mime
    }

    /// Appends the fragment of a frame. Frames of tracks that are not in the rendition are ignored.
    pub fn push(&mut self, frame: &Frame, out: &mut Vec<Unit>) {
        if self.kept.get(frame.track).is_none() {
            return;
        }
        let clock = match frame.track {
            TrackId::Video => &mut self.video,
            TrackId::Audio => &mut self.audio,
        };
        let sample = clock.place(frame);
        self.sequence = self.sequence.wrapping_add(1);
        self.last_dts = self.last_dts.max(frame.dts);
        let (head, ws_header_len) = self.carve(frame, &sample);
        out.push(Unit {
            ws_header_len,
            head,
            body: frame.payload.clone(),
            tail: Bytes::new(),
            key: self.kept.starts_at(frame),
            dts: frame.dts,
        });
    }

    /// Takes new tracks. If they differ, `init` is new and is appended as a unit: a new initialisation segment is what
    /// Media Source Extensions want at a change. Returns whether they differed.
    pub fn set_tracks(&mut self, tracks: &[Track], out: &mut Vec<Unit>) -> bool {
        let kept = Kept::of(tracks, holds);
        if kept == self.kept {
            return false;
        }
        if kept.video != self.kept.video {
            self.video = Clock::of(kept.video.as_ref());
        }
        if kept.audio != self.kept.audio {
            self.audio = Clock::of(kept.audio.as_ref());
        }
        self.kept = kept;
        let init = boxes::init(&self.kept);
        self.init = whole(&init, MediaTime(0));
        self.mime = mime(&self.kept);
        out.push(Unit {
            dts: self.last_dts,
            ..self.init.clone()
        });
        true
    }

    fn carve(&mut self, frame: &Frame, sample: &Sample) -> (Bytes, u8) {
        let payload_len = frame.payload.len();
        let buf = self
            .carver
            .room(WS_HEADER_BYTES_MAX + MOOF_BYTES + MDAT_HEADER_BYTES);
        let ws_header_len = put_ws_header(buf, MOOF_BYTES + MDAT_HEADER_BYTES + payload_len);
        let start = buf.len();
        buf.put_u32(MOOF_BYTES as u32);
        buf.put_slice(b"moof");
        buf.put_u32(16);
        buf.put_slice(b"mfhd");
        buf.put_u32(0);
        buf.put_u32(self.sequence);
        buf.put_u32((MOOF_BYTES - 24) as u32);
        buf.put_slice(b"traf");
        const DEFAULT_BASE_IS_MOOF: u32 = 0x02_0000;
        buf.put_u32(16);
        buf.put_slice(b"tfhd");
        buf.put_u32(DEFAULT_BASE_IS_MOOF);
        buf.put_u32(boxes::track_number(frame.track));
        buf.put_u32(20);
        buf.put_slice(b"tfdt");
        buf.put_u32(0x0100_0000);
        buf.put_u64(sample.decode as u64);
        // Data offset; duration, size, flags and composition offset of each sample.
        const PRESENT: u32 = 0x0f01;
        buf.put_u32(36);
        buf.put_slice(b"trun");
        buf.put_u32(PRESENT);
        buf.put_u32(1);
        buf.put_u32((MOOF_BYTES + MDAT_HEADER_BYTES) as u32);
        buf.put_u32(sample.duration as u32);
        buf.put_u32(payload_len as u32);
        buf.put_u32(sample_flags(frame));
        buf.put_u32(sample.composition as u32);
        debug_assert_eq!(buf.len() - start, MOOF_BYTES);
        buf.put_u32((MDAT_HEADER_BYTES + payload_len) as u32);
        buf.put_slice(b"mdat");
        (self.carver.cut(), ws_header_len)
    }
}

/// ISO/IEC 14496-12, 8.8.3.1: depends on no other sample, or depends on others and is no sync sample.
fn sample_flags(frame: &Frame) -> u32 {
    match (frame.track, frame.key) {
        (TrackId::Audio, _) | (TrackId::Video, true) => 0x0200_0000,
        (TrackId::Video, false) => 0x0101_0000,
    }
}

fn holds(track: &Track) -> bool {
    match track.codec {
        Codec::H264 | Codec::H265 => decoder_config::record(track).is_some(),
        Codec::Aac | Codec::G711A | Codec::G711U => {
            track.audio().is_some_and(|a| a.sample_rate > 0)
        }
        Codec::G722 | Codec::G726(_) | Codec::Opus => false,
    }
}

fn mime(kept: &Kept) -> String {
    let kind = if kept.video.is_some() || kept.audio.is_none() {
        MIME
    } else {
        "audio/mp4"
    };
    let names: Vec<String> = kept.iter().filter_map(decoder_config::name).collect();
    format!("{kind}; codecs=\"{}\"", names.join(","))
}

/// Where a sample stands, in ticks of its track.
#[derive(Debug, PartialEq, Eq)]
struct Sample {
    decode: i64,
    duration: i64,
    /// Presentation less decoding; never negative.
    composition: i64,
}

/// The time line of a track in ticks of its own: 90,000 a second for pictures, one a sample for sound.
#[derive(Debug)]
struct Clock {
    timescale: i64,
    kind: Kind,
    last: Option<Last>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Mean distance of frames, in sixteenths of a tick so that the mean does not stick.
    Video { mean_16: i64 },
    /// 1024 samples a frame.
    Aac,
    /// A sample a byte.
    G711,
}

#[derive(Clone, Copy, Debug)]
struct Last {
    /// As the frame came.
    real: i64,
    /// As it was written.
    decode: i64,
    duration: i64,
}

impl Clock {
    fn of(track: Option<&Track>) -> Clock {
        let fps_milli = track
            .and_then(Track::video)
            .and_then(|v| v.fps_milli)
            .map(i64::from)
            .filter(|fps| (1000..=240_000).contains(fps));
        let nominal = fps_milli.map_or(DEFAULT_FRAME_TICKS, |fps| TICKS_PER_SECOND * 1000 / fps);
        let (timescale, kind) = match track.map(|t| (t.codec, t.audio())) {
            Some((Codec::Aac | Codec::Opus, Some(audio))) => {
                (i64::from(audio.sample_rate), Kind::Aac)
            }
            Some((Codec::G711A | Codec::G711U, Some(audio))) => {
                (i64::from(audio.sample_rate), Kind::G711)
            }
            Some(_) | None => (
                TICKS_PER_SECOND,
                Kind::Video {
                    mean_16: nominal * 16,
                },
            ),
        };
        Clock {
            timescale,
            kind,
            last: None,
        }
    }

    /// Places the next frame of the track.
    ///
    /// Sound that strays little from its sample count is laid end to end, since a player makes a click of each seam. A
    /// frame that comes more than about two durations after the one before is decoded when the one before ends, and its
    /// duration reaches to where the next one is due.
    fn place(&mut self, frame: &Frame) -> Sample {
        let real = self.scaled(frame.dts.0.max(0));
        let presented = self.scaled(frame.pts.0.max(0)).max(real);
        let nominal = self.nominal(frame, real);
        let decode = match self.last {
            None => real,
            Some(last) => {
                let due = last.decode + last.duration;
                let hole_min = 2 * last.duration - last.duration / 8;
                let bridge_max = self.scaled(limits::FMP4_BRIDGE_TICKS_MAX);
                let since = real - last.decode;
                let bridged = since > hole_min && since <= bridge_max;
                if bridged || self.snaps(real - due, nominal) {
                    due
                } else {
                    real.max(last.decode)
                }
            }
        };
        let late = (real - decode).max(0);
        let lasting = match self.kind {
            Kind::Video { .. } => late,
            // Under the snapping distance the next frame is due where this one ends.
            Kind::Aac | Kind::G711 if self.snaps(late, nominal) => 0,
            Kind::Aac | Kind::G711 => late,
        };
        let sample = Sample {
            decode,
            duration: nominal + lasting,
            composition: match self.kind {
                Kind::Video { .. } => (presented - decode).max(0),
                Kind::Aac | Kind::G711 => lasting,
            },
        };
        self.last = Some(Last {
            real,
            decode,
            duration: sample.duration,
        });
        sample
    }

    fn scaled(&self, ticks: i64) -> i64 {
        if self.timescale == TICKS_PER_SECOND {
            return ticks;
        }
        (ticks * self.timescale + TICKS_PER_SECOND / 2) / TICKS_PER_SECOND
    }

    /// The distance to the next frame, as far as it can be known now. At least one tick.
    fn nominal(&mut self, frame: &Frame, real: i64) -> i64 {
        match &mut self.kind {
            Kind::Video { mean_16 } => {
                if let Some(last) = self.last {
                    let since = real - last.real;
                    if (1..=TICKS_PER_SECOND * 2).contains(&since) {
                        *mean_16 += (since * 16 - *mean_16) / 8;
                    }
                }
                ((*mean_16 + 8) / 16).max(1)
            }
            Kind::Aac => 1024,
            Kind::G711 => (frame.payload.len() as i64).max(1),
        }
    }

    fn snaps(&self, stray: i64, nominal: i64) -> bool {
        match self.kind {
            Kind::Video { .. } => false,
            Kind::Aac | Kind::G711 => {
                stray.abs() <= (nominal / 2).min(self.timescale / SNAP_PER_SECOND)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::frame::{AudioParams, Params};
    use std::time::Instant;

    fn frame(track: TrackId, dts: i64) -> Frame {
        Frame {
            track,
            dts: MediaTime(dts),
            pts: MediaTime(dts),
            key: true,
            damaged: false,
            payload: Bytes::from_static(&[0; 4]),
            received: Instant::now(),
        }
    }

    /// Decoding time, duration and composition offset of pictures that come at `times`.
    fn pictures(times: &[i64]) -> Vec<(i64, i64, i64)> {
        let mut clock = Clock::of(None);
        times
            .iter()
            .map(|t| {
                let sample = clock.place(&frame(TrackId::Video, *t));
                (sample.decode, sample.duration, sample.composition)
            })
            .collect()
    }

    #[test]
    fn a_hole_moves_into_composition_and_duration_of_the_sample_after_it() {
        assert_eq!(
            pictures(&[0, 3600, 7200 + 18_000, 10_800 + 18_000])[..3],
            [(0, 3600, 0), (3600, 3600, 0), (7200, 18_000 + 5850, 18_000)]
        );
        let placed = pictures(&[0, 3600, 7200 + 18_000, 10_800 + 18_000]);
        assert_eq!((placed[3].0, placed[3].2), (28_800, 0), "and it is over");
    }

    #[test]
    fn a_single_lost_picture_needs_no_bridge_in_time() {
        // Two durations would be a tie that rounding decides, so it is bridged too; presentation is what counts.
        for (decode, _, composition) in pictures(&[0, 3600, 10_800, 14_400]) {
            assert!([0, 3600, 10_800, 14_400].contains(&(decode + composition)));
        }
    }

    #[test]
    fn a_hole_is_bridged_up_to_the_bound() {
        let after = |gap| pictures(&[0, gap])[1];
        let bound = limits::FMP4_BRIDGE_TICKS_MAX;
        assert_eq!(after(bound).0, 3600);
        assert_eq!(after(bound + 1).0, bound + 1);
    }

    #[test]
    fn sound_is_laid_end_to_end_through_jitter() {
        let track = Track {
            id: TrackId::Audio,
            codec: Codec::Aac,
            params: std::sync::Arc::new(Params::Audio(AudioParams {
                sample_rate: 44_100,
                channels: 1,
                config: Bytes::from_static(&[0x12, 0x08]),
            })),
        };
        let mut clock = Clock::of(Some(&track));
        for (n, jitter) in [0, 40, -700, 900, -100].into_iter().enumerate() {
            let time = n as i64 * 1024 * 90_000 / 44_100 + jitter;
            let sample = clock.place(&frame(TrackId::Audio, time));
            assert_eq!(
                sample,
                Sample {
                    decode: n as i64 * 1024,
                    duration: 1024,
                    composition: 0
                }
            );
        }
    }
}
