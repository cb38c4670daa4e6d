//! G.722 at 64 kbit/s: one byte is two samples, 16,000 samples a second, one channel. ITU-T G.722; RFC 3551, 4.5.2.
//!
//! Only facts; bytes are turned into samples in `media::transcode`. Its RTP clock runs at 8,000 Hz by an old mistake that
//! RFC 3551 keeps.

use std::sync::Arc;

use bytes::Bytes;

use crate::media::frame::{AudioParams, Codec, Params, Track, TrackId};

/// Samples per second.
pub const SAMPLE_RATE: u32 = 16_000;
/// Bytes per second.
pub const BYTES_PER_S: u32 = 8_000;

/// The track of such a stream.
pub fn track() -> Track {
    Track {
        id: TrackId::Audio,
        codec: Codec::G722,
        params: Arc::new(Params::Audio(AudioParams {
            sample_rate: SAMPLE_RATE,
            channels: 1,
            config: Bytes::new(),
        })),
    }
}
