//! Reads the elementary streams in the package into tracks and frames.
//!
//! H.264 and H.265 in byte stream format (annex B of either), AAC in ADTS, A-law samples. They are ours (`clips/make.sh`),
//! so what cannot be read is a mistake of the build and panics.

use std::sync::Arc;
use std::time::Instant;

use bytes::{BufMut, Bytes, BytesMut};

use crate::media::codec::aac::Adts;
use crate::media::codec::{aac, annexb, h264, h265};
use crate::media::frame::{AudioParams, Codec, Frame, Params, Track, TrackId, VideoParams};
use crate::time::{MediaTime, TICKS_PER_SECOND};

/// Ticks of a picture at 25 a second.
pub(super) const PICTURE_TICKS: i64 = TICKS_PER_SECOND / 25;
/// Samples of A-law in one frame: 40 ms, as cameras send it.
const A_LAW_SAMPLES: usize = 320;
const A_LAW_RATE: i64 = 8_000;

/// One elementary stream.
#[derive(Clone, Debug)]
pub(super) struct Clip {
    pub track: Track,
    pub frames: Vec<Frame>,
    /// Ticks from one frame to the next.
    pub step: i64,
}

/// What a unit is, by either codec.
enum Unit {
    Slice { key: bool, first: bool },
    Vps,
    Sps,
    Pps,
    Other,
}

fn unit(codec: Codec, nal: &[u8]) -> Unit {
    match codec {
        Codec::H265 => match h265::nal(nal) {
            h265::Nal::Slice { key, first } => Unit::Slice { key, first },
            h265::Nal::Vps => Unit::Vps,
            h265::Nal::Sps => Unit::Sps,
            h265::Nal::Pps => Unit::Pps,
            h265::Nal::Between | h265::Nal::Extra => Unit::Other,
        },
        Codec::H264
        | Codec::Aac
        | Codec::G711A
        | Codec::G711U
        | Codec::G722
        | Codec::G726(_)
        | Codec::Opus => match h264::nal(nal) {
            h264::Nal::Slice { key, first } => Unit::Slice { key, first },
            h264::Nal::Sps => Unit::Sps,
            h264::Nal::Pps => Unit::Pps,
            h264::Nal::Between | h264::Nal::Extra => Unit::Other,
        },
    }
}

/// Pictures of a byte stream, 25 a second.
pub(super) fn pictures(codec: Codec, stream: &'static [u8]) -> Clip {
    let mut params = VideoParams::default();
    let mut frames: Vec<(bool, BytesMut)> = Vec::new();
    for nal in annexb::nals(stream) {
        match unit(codec, nal) {
            Unit::Vps => params.vps = Some(Bytes::from_static(nal)),
            Unit::Sps => params.sps = Bytes::from_static(nal),
            Unit::Pps => params.pps = Bytes::from_static(nal),
            Unit::Other => {}
            Unit::Slice { key, first } => {
                if first {
                    frames.push((key, BytesMut::new()));
                }
                let (_, payload) = frames.last_mut().expect("a picture has a first slice");
                payload.put_u32(nal.len() as u32);
                payload.put_slice(nal);
            }
        }
    }
    (params.width, params.height, params.fps_milli) = match codec {
        Codec::H265 => {
            let sps = h265::Sps::parse(&params.sps).expect("the clip has an SPS");
            (sps.width, sps.height, sps.fps_milli)
        }
        Codec::H264
        | Codec::Aac
        | Codec::G711A
        | Codec::G711U
        | Codec::G722
        | Codec::G726(_)
        | Codec::Opus => {
            let sps = h264::Sps::parse(&params.sps).expect("the clip has an SPS");
            (sps.width, sps.height, sps.fps_milli)
        }
    };
    let track = Track {
        id: TrackId::Video,
        codec,
        params: Arc::new(Params::Video(params)),
    };
    let payloads = frames
        .into_iter()
        .map(|(key, payload)| (key, payload.freeze()));
    clip(track, PICTURE_TICKS, payloads)
}

/// Access units of an ADTS stream.
pub(super) fn aac(stream: &'static [u8]) -> Clip {
    let first = Adts::parse(stream).expect("the clip begins with a header");
    let track = sound_track(Codec::Aac, first.sample_rate(), first.config());
    let step = aac::SAMPLES_PER_FRAME * TICKS_PER_SECOND / i64::from(first.sample_rate());
    let mut rest = stream;
    let units = std::iter::from_fn(move || {
        let adts = Adts::parse(rest)?;
        let (frame, after) = rest.split_at_checked(adts.frame_bytes)?;
        rest = after;
        Some((true, Bytes::from_static(&frame[adts.header_bytes..])))
    });
    clip(track, step, units)
}

/// A-law samples, cut into frames of 40 ms.
pub(super) fn a_law(samples: &'static [u8]) -> Clip {
    let track = sound_track(Codec::G711A, A_LAW_RATE as u32, Bytes::new());
    let step = A_LAW_SAMPLES as i64 * TICKS_PER_SECOND / A_LAW_RATE;
    let pieces = samples.chunks_exact(A_LAW_SAMPLES);
    clip(track, step, pieces.map(|p| (true, Bytes::from_static(p))))
}

fn sound_track(codec: Codec, sample_rate: u32, config: Bytes) -> Track {
    let params = AudioParams {
        sample_rate,
        channels: 1,
        config,
    };
    Track {
        id: TrackId::Audio,
        codec,
        params: Arc::new(Params::Audio(params)),
    }
}

fn clip(track: Track, step: i64, payloads: impl Iterator<Item = (bool, Bytes)>) -> Clip {
    let received = Instant::now();
    let frames = (0..).zip(payloads).map(|(n, (key, payload))| Frame {
        track: track.id,
        dts: MediaTime(n * step),
        pts: MediaTime(n * step),
        key,
        damaged: false,
        payload,
        received,
    });
    let frames: Vec<Frame> = frames.collect();
    assert!(!frames.is_empty(), "a clip has frames");
    Clip {
        track,
        frames,
        step,
    }
}
