//! G.711: one byte a sample, 8,000 samples a second, one channel. ITU-T G.711; RFC 3551, 4.5.14.
//!
//! Only facts; samples are turned into others in `media::transcode`.

use std::sync::Arc;

use bytes::Bytes;

use crate::media::frame::{AudioParams, Codec, Params, Track, TrackId};
use crate::time::TICKS_PER_SECOND;

/// Samples per second.
pub const SAMPLE_RATE: u32 = 8000;

/// Ticks of 1/90,000 s that `samples` last.
pub fn duration_ticks(samples: usize) -> i64 {
    samples as i64 * TICKS_PER_SECOND / i64::from(SAMPLE_RATE)
}

/// The track of such a stream. `codec` is [`Codec::G711A`] or [`Codec::G711U`].
pub fn track(codec: Codec) -> Track {
    Track {
        id: TrackId::Audio,
        codec,
        params: Arc::new(Params::Audio(AudioParams {
            sample_rate: SAMPLE_RATE,
            channels: 1,
            config: Bytes::new(),
        })),
    }
}
