//! G.726: 2 to 5 bits a sample, 8,000 samples a second, one channel. ITU-T G.726; RFC 3551, 4.5.4; ITU-T I.366.2, annex E.
//!
//! Only facts; bytes are turned into samples in `media::transcode`.
//!
//! There are two ways to lay the codes into bytes, and nothing in the bytes tells them apart: RFC 3551 begins at the low
//! bits (`G726-32` in an rtpmap; what cameras write into a program stream), I.366.2 at the high ones (`AAL2-G726-32`).

use std::sync::Arc;

use bytes::Bytes;

use crate::media::frame::{AudioParams, Codec, Params, Track, TrackId};

/// Samples per second.
pub const SAMPLE_RATE: u32 = 8_000;

/// Where in a byte the first code lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Packing {
    /// In the low bits (RFC 3551).
    Rfc3551,
    /// In the high bits (ITU-T I.366.2, ATM adaptation layer 2).
    Aal2,
}

/// One of the four rates and its packing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct G726 {
    /// Bits of a code.
    bits: u8,
    pub packing: Packing,
}

impl G726 {
    /// 32 kbit/s as RFC 3551 packs it: the usual one.
    pub const USUAL: G726 = G726 {
        bits: 4,
        packing: Packing::Rfc3551,
    };

    /// `None`: not 16, 24, 32 or 40 kbit/s.
    pub fn new(kbit_per_s: u32, packing: Packing) -> Option<G726> {
        matches!(kbit_per_s, 16 | 24 | 32 | 40).then_some(G726 {
            bits: (kbit_per_s / 8) as u8,
            packing,
        })
    }

    /// Bits of a code: 2 to 5.
    pub fn bits(self) -> u8 {
        self.bits
    }

    pub fn bytes_per_s(self) -> u32 {
        u32::from(self.bits) * 1_000
    }

    /// The name in an rtpmap.
    pub fn name(self) -> &'static str {
        match (self.packing, self.bits) {
            (Packing::Rfc3551, 2) => "G726-16",
            (Packing::Rfc3551, 3) => "G726-24",
            (Packing::Rfc3551, 4) => "G726-32",
            (Packing::Rfc3551, _) => "G726-40",
            (Packing::Aal2, 2) => "AAL2-G726-16",
            (Packing::Aal2, 3) => "AAL2-G726-24",
            (Packing::Aal2, 4) => "AAL2-G726-32",
            (Packing::Aal2, _) => "AAL2-G726-40",
        }
    }

    /// The track of such a stream.
    pub fn track(self) -> Track {
        Track {
            id: TrackId::Audio,
            codec: Codec::G726(self),
            params: Arc::new(Params::Audio(AudioParams {
                sample_rate: SAMPLE_RATE,
                channels: 1,
                config: Bytes::new(),
            })),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_four_rates() {
        for kbit in 0..50 {
            let one = G726::new(kbit, Packing::Aal2);
            assert_eq!(one.is_some(), [16, 24, 32, 40].contains(&kbit), "{kbit}");
            if let Some(one) = one {
                assert_eq!(one.bytes_per_s(), kbit * 125);
                assert_eq!(one.name(), format!("AAL2-G726-{kbit}"));
            }
        }
        assert_eq!(Some(G726::USUAL), G726::new(32, Packing::Rfc3551));
        assert_eq!(G726::USUAL.name(), "G726-32");
    }
}
