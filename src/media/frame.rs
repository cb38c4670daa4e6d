//! What flows between ingest and every output: tracks and frames.
//!
//! Canonical payload of H.264 and H.265: NAL units each behind a 4-byte big-endian length, parameter sets out of band in
//! the track (ISO/IEC 14496-15, 5.3 and 8.3). FLV and fMP4 take it as it is, the RTP packetiser walks the lengths, PS
//! output writes a start code where the length stood. AAC: raw access units without ADTS. G.711, G.722, G.726: the bytes.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use super::codec::g726::G726;
use crate::time::MediaTime;

/// How a track is coded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Codec {
    H264,
    H265,
    Aac,
    /// PCMA, 8 kHz, one byte a sample.
    G711A,
    /// PCMU, 8 kHz, one byte a sample.
    G711U,
    /// 64 kbit/s, 16 kHz, one byte for two samples.
    G722,
    /// 16 to 40 kbit/s, 8 kHz.
    G726(G726),
    Opus,
}

impl Codec {
    pub fn is_video(self) -> bool {
        match self {
            Codec::H264 | Codec::H265 => true,
            Codec::Aac
            | Codec::G711A
            | Codec::G711U
            | Codec::G722
            | Codec::G726(_)
            | Codec::Opus => false,
        }
    }

    /// The field's usual name.
    pub fn name(self) -> &'static str {
        match self {
            Codec::H264 => "H264",
            Codec::H265 => "H265",
            Codec::Aac => "AAC",
            Codec::G711A => "PCMA",
            Codec::G711U => "PCMU",
            Codec::G722 => "G722",
            Codec::G726(g726) => g726.name(),
            Codec::Opus => "opus",
        }
    }
}

/// Index of a track in its stream: at most one picture and one sound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TrackId {
    Video,
    Audio,
}

/// A track as its decoder must know it. Changes (a new SPS) make a new `Track`; frames after it belong to the new one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Track {
    pub id: TrackId,
    pub codec: Codec,
    pub params: Arc<Params>,
}

/// Parameters of a track.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Params {
    Video(VideoParams),
    Audio(AudioParams),
}

/// Parameter sets and what they say. Each set is one NAL unit without start code or length.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VideoParams {
    /// H.265 only.
    pub vps: Option<Bytes>,
    pub sps: Bytes,
    pub pps: Bytes,
    /// Luma samples after cropping.
    pub width: u32,
    pub height: u32,
    /// Frames per 1,000 seconds from the VUI, if it is there and sane.
    pub fps_milli: Option<u32>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AudioParams {
    /// Samples per second.
    pub sample_rate: u32,
    pub channels: u8,
    /// AudioSpecificConfig (ISO/IEC 14496-3, 1.6.2.1) for AAC; empty for others.
    pub config: Bytes,
}

impl Track {
    pub fn video(&self) -> Option<&VideoParams> {
        match &*self.params {
            Params::Video(v) => Some(v),
            Params::Audio(_) => None,
        }
    }

    pub fn audio(&self) -> Option<&AudioParams> {
        match &*self.params {
            Params::Audio(a) => Some(a),
            Params::Video(_) => None,
        }
    }
}

/// One access unit or one piece of sound. Cloning copies no payload.
#[derive(Clone, Debug)]
pub struct Frame {
    pub track: TrackId,
    /// Decoding time; never goes back within a track.
    pub dts: MediaTime,
    /// Presentation time; `pts >= dts`.
    pub pts: MediaTime,
    /// A decoder can start here (IDR, CRA or BLA; every audio frame).
    pub key: bool,
    /// Packets were lost inside it or just before it.
    pub damaged: bool,
    pub payload: Bytes,
    /// When its first packet came.
    pub received: Instant,
}

/// Walks the NAL units of a canonical payload. A length that runs past the end stops the walk.
pub fn nals(payload: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = payload;
    std::iter::from_fn(move || {
        let (len, after) = rest.split_first_chunk::<4>()?;
        let len = u32::from_be_bytes(*len) as usize;
        let nal = after.get(..len)?;
        rest = &after[len..];
        Some(nal)
    })
}
