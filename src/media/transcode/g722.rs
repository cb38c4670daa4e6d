//! G.722 at 64 kbit/s to linear samples (ITU-T G.722, 4: the SB-ADPCM decoder, mode 1).
//!
//! Two bands, each an adaptive quantiser with a predictor of two poles and six zeros, joined by a quadrature mirror filter
//! of 24 taps. Block names in the comments are those of clause 6.2. Integer arithmetic throughout, as the clause has it.

/// Logarithmic step to linear (table 10).
const STEP: [i32; 32] = [
    2048, 2093, 2139, 2186, 2233, 2282, 2332, 2383, 2435, 2489, 2543, 2599, 2656, 2714, 2774, 2834,
    2896, 2960, 3025, 3091, 3158, 3228, 3298, 3371, 3444, 3520, 3597, 3676, 3756, 3838, 3922, 4008,
];
/// What a code of the lower band adds to its logarithmic step, by the four high bits (table 12).
const LOW_STEP: [i32; 16] = [
    -60, 3042, 1198, 538, 334, 172, 58, -30, 3042, 1198, 538, 334, 172, 58, -30, -60,
];
/// Quantiser of four bits, which alone steers the adaptation (table 9).
const LOW_4: [i32; 16] = [
    0, -20456, -12896, -8968, -6288, -4240, -2584, -1200, 20456, 12896, 8968, 6288, 4240, 2584,
    1200, 0,
];
/// Quantiser of six bits, for the sound (table 7).
const LOW_6: [i32; 64] = [
    -136, -136, -136, -136, -24808, -21904, -19008, -16704, -14984, -13512, -12280, -11192, -10232,
    -9360, -8576, -7856, -7192, -6576, -6000, -5456, -4944, -4464, -4008, -3576, -3168, -2776,
    -2400, -2032, -1688, -1360, -1040, -728, 24808, 21904, 19008, 16704, 14984, 13512, 12280,
    11192, 10232, 9360, 8576, 7856, 7192, 6576, 6000, 5456, 4944, 4464, 4008, 3576, 3168, 2776,
    2400, 2032, 1688, 1360, 1040, 728, 432, 136, -432, -136,
];
const HIGH_2: [i32; 4] = [-7408, -1616, 7408, 1616];
const HIGH_STEP: [i32; 4] = [798, -214, 798, -214];
/// Half of the mirror filter; the other half is the same backwards (table 11).
const FILTER: [i32; 12] = [3, -11, 12, 32, -210, 951, 3876, -805, 362, -156, 53, -11];
const LOW_LOG_STEP_MAX: i32 = 18_432;
const HIGH_LOG_STEP_MAX: i32 = 22_528;

/// A stream of G.722 on its way.
#[derive(Debug)]
pub struct Decoder {
    low: Band,
    high: Band,
    /// Sums and differences of the bands, newest first in pairs.
    history: [i32; 24],
}

#[derive(Debug, Default)]
struct Band {
    /// The logarithm of the step, and the step.
    log_step: i32,
    step: i32,
    predictor: Predictor,
}

/// The adaptive predictor (block 4).
#[derive(Debug, Default)]
struct Predictor {
    /// Reconstructed signal and partial signal, newest first.
    signal: [i32; 2],
    partial: [i32; 2],
    poles: [i32; 2],
    /// Quantised differences, newest first.
    differences: [i32; 6],
    zeros: [i32; 6],
    from_zeros: i32,
    estimate: i32,
}

impl Default for Decoder {
    fn default() -> Self {
        Decoder::new()
    }
}

impl Decoder {
    pub fn new() -> Decoder {
        let band = |step| Band {
            step,
            ..Band::default()
        };
        Decoder {
            low: band(32),
            high: band(8),
            history: [0; 24],
        }
    }

    /// Two samples from one byte.
    pub fn decode(&mut self, byte: u8) -> [i16; 2] {
        let low = self.low(usize::from(byte & 0x3f));
        let high = self.high(usize::from(byte >> 6));
        self.history.copy_within(2.., 0);
        self.history[22] = low + high;
        self.history[23] = low - high;
        let (mut first, mut second) = (0, 0);
        for (n, pair) in self.history.chunks_exact(2).enumerate() {
            second += pair[0] * FILTER[n];
            first += pair[1] * FILTER[11 - n];
        }
        [first, second].map(|sum| saturate(sum >> 11) as i16)
    }

    fn low(&mut self, code: usize) -> i32 {
        let band = &mut self.low;
        let sound = band.predictor.estimate + ((band.step * LOW_6[code]) >> 15);
        let code = code >> 2;
        let difference = (band.step * LOW_4[code]) >> 15;
        band.adapt(LOW_STEP[code], LOW_LOG_STEP_MAX, 8);
        band.predictor.update(difference);
        sound.clamp(-16_384, 16_383)
    }

    fn high(&mut self, code: usize) -> i32 {
        let band = &mut self.high;
        let difference = (band.step * HIGH_2[code]) >> 15;
        let sound = band.predictor.estimate + difference;
        band.adapt(HIGH_STEP[code], HIGH_LOG_STEP_MAX, 10);
        band.predictor.update(difference);
        sound.clamp(-16_384, 16_383)
    }
}

impl Band {
    /// LOGSCL and SCALEL, LOGSCH and SCALEH.
    fn adapt(&mut self, change: i32, max: i32, octaves: i32) {
        self.log_step = (((self.log_step * 127) >> 7) + change).clamp(0, max);
        let mantissa = STEP[(self.log_step >> 6 & 31) as usize];
        let shift = octaves - (self.log_step >> 11);
        let step = if shift < 0 {
            mantissa << -shift
        } else {
            mantissa >> shift
        };
        self.step = step << 2;
    }
}

impl Predictor {
    fn update(&mut self, difference: i32) {
        // RECONS and PARREC.
        let signal = saturate(self.estimate + difference);
        let partial = saturate(self.from_zeros + difference);
        let with_last = (partial < 0) == (self.partial[0] < 0);
        let with_second = (partial < 0) == (self.partial[1] < 0);
        // UPPOL2.
        let first = saturate(self.poles[0] << 2);
        let pull = if with_last {
            (-first).min(32_767)
        } else {
            first
        };
        let push = if with_second { 128 } else { -128 };
        let second_pole =
            ((pull >> 7) + push + ((self.poles[1] * 32_512) >> 15)).clamp(-12_288, 12_288);
        // UPPOL1.
        let push = if with_last { 192 } else { -192 };
        let bound = saturate(15_360 - second_pole);
        let first_pole = saturate(push + ((self.poles[0] * 32_640) >> 15)).clamp(-bound, bound);
        // UPZERO.
        let weight = if difference == 0 { 0 } else { 128 };
        for (zero, old) in self.zeros.iter_mut().zip(self.differences) {
            let push = if (old < 0) == (difference < 0) {
                weight
            } else {
                -weight
            };
            *zero = saturate(push + ((*zero * 32_640) >> 15));
        }
        // DELAYA.
        self.differences.copy_within(..5, 1);
        self.differences[0] = difference;
        self.signal = [signal, self.signal[0]];
        self.partial = [partial, self.partial[0]];
        self.poles = [first_pole, second_pole];
        // FILTEP, FILTEZ, PREDIC.
        let product = |factor: i32, value: i32| (factor * saturate(value << 1)) >> 15;
        let from_poles = saturate(
            product(self.poles[0], self.signal[0]) + product(self.poles[1], self.signal[1]),
        );
        let terms = self.zeros.iter().zip(self.differences);
        self.from_zeros = saturate(terms.map(|(zero, old)| product(*zero, old)).sum());
        self.estimate = saturate(from_poles + self.from_zeros);
    }
}

fn saturate(value: i32) -> i32 {
    value.clamp(-32_768, 32_767)
}
