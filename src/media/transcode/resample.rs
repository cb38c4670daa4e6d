//! Sampling rate conversion of mono sound by a polyphase filter.
//!
//! A windowed sinc (Kaiser, 80 dB) in one table of phases per pair of rates. The filter looks ahead half its length and
//! the output is aligned: sample 0 out stands at the time of sample 0 in, so time stamps need no correction.
//!
//! Bounds: only the rates of ISO/IEC 14496-3, table 1.18, so at most 640 phases; history of one filter length.

/// Sampling rates of AAC, and so of everything that is converted here.
pub const RATES: [u32; 13] = [
    96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000,
    7_350,
];

/// Taps of a phase at the lower of both rates. At 8 kHz: flat to 3.4 kHz, down by 60 dB from 4.6 kHz.
const TAPS: usize = 32;
/// Share of the lower band that passes.
const PASS: f64 = 0.94;
const KAISER_BETA: f64 = 8.0;

/// Converts one run of sound.
#[derive(Debug)]
pub struct Resampler {
    /// Phases, and input samples times phases per output sample.
    up: usize,
    down: usize,
    taps: usize,
    /// `up` rows of `taps`.
    filter: Vec<f32>,
    history: Vec<f32>,
    phase: usize,
}

impl Resampler {
    /// `None` if a rate is not in [`RATES`].
    pub fn new(from: u32, to: u32) -> Option<Resampler> {
        if !RATES.contains(&from) || !RATES.contains(&to) {
            return None;
        }
        let divisor = greatest_common_divisor(from, to);
        let (up, down) = ((to / divisor) as usize, (from / divisor) as usize);
        let band = (f64::from(to) / f64::from(from)).min(1.0);
        let taps = if up == down {
            2
        } else {
            (TAPS as f64 / band / 2.0).ceil() as usize * 2
        };
        let mut resampler = Resampler {
            up,
            down,
            taps,
            filter: filter(up, taps, band * PASS),
            history: Vec::with_capacity(taps + 2048),
            phase: 0,
        };
        resampler.reset();
        Some(resampler)
    }

    /// Forgets what was pushed: the next sample is sample 0.
    pub fn reset(&mut self) {
        self.history.clear();
        self.history.resize(self.taps / 2 - 1, 0.0);
        self.phase = 0;
    }

    /// Appends what can be made of the input so far, limited to -1.0..=1.0.
    pub fn push(&mut self, input: &[f32], out: &mut Vec<f32>) {
        if self.up == self.down {
            out.extend(input.iter().map(|s| s.clamp(-1.0, 1.0)));
            return;
        }
        self.history.extend_from_slice(input);
        let mut at = 0;
        while let Some(window) = self.history.get(at..at + self.taps) {
            let row = &self.filter[self.phase * self.taps..][..self.taps];
            out.push(dot(window, row).clamp(-1.0, 1.0));
            self.phase += self.down;
            at += self.phase / self.up;
            self.phase %= self.up;
        }
        // A step is shorter than the filter for every pair of rates, so the next window begins within what is there.
        self.history.drain(..at);
    }
}

/// Sums in four lanes, which the compiler can put in one register.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0.0; 4];
    let (a4, b4) = (a.chunks_exact(4), b.chunks_exact(4));
    let rest: f32 = a4
        .remainder()
        .iter()
        .zip(b4.remainder())
        .map(|(x, y)| x * y)
        .sum();
    for (x, y) in a4.zip(b4) {
        for lane in 0..4 {
            lanes[lane] += x[lane] * y[lane];
        }
    }
    lanes.iter().sum::<f32>() + rest
}

fn filter(up: usize, taps: usize, cutoff: f64) -> Vec<f32> {
    let half = (taps / 2) as f64;
    let mut out = Vec::with_capacity(up * taps);
    for phase in 0..up {
        let row: Vec<f64> = (0..taps)
            .map(|tap| {
                let t = tap as f64 - (half - 1.0) - phase as f64 / up as f64;
                sinc(cutoff * t) * kaiser(t / half)
            })
            .collect();
        let sum: f64 = row.iter().sum();
        out.extend(row.iter().map(|v| (v / sum) as f32));
    }
    out
}

fn sinc(x: f64) -> f64 {
    if x == 0.0 {
        return 1.0;
    }
    let x = x * std::f64::consts::PI;
    x.sin() / x
}

fn kaiser(x: f64) -> f64 {
    if x.abs() >= 1.0 {
        return 0.0;
    }
    bessel_i0(KAISER_BETA * (1.0 - x * x).sqrt()) / bessel_i0(KAISER_BETA)
}

/// The modified Bessel function of order zero by its power series, which converges within 30 terms for the arguments here.
fn bessel_i0(x: f64) -> f64 {
    let mut sum = 1.0;
    let mut term = 1.0;
    for n in 1..40 {
        term *= (x / 2.0 / f64::from(n)).powi(2);
        sum += term;
    }
    sum
}

fn greatest_common_divisor(a: u32, b: u32) -> u32 {
    if b == 0 {
        a
    } else {
        greatest_common_divisor(b, a % b)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sine(rate: u32, hz: f64, samples: usize) -> Vec<f32> {
        (0..samples)
            .map(|n| (0.5 * (std::f64::consts::TAU * hz * n as f64 / f64::from(rate)).sin()) as f32)
            .collect()
    }

    /// Signal to error of a converted sine against the same sine at the other rate, in dB.
    fn snr_db(from: u32, to: u32, hz: f64) -> f64 {
        let mut resampler = Resampler::new(from, to).expect("both rates are in the table");
        let mut out = Vec::new();
        for chunk in sine(from, hz, from as usize).chunks(160) {
            resampler.push(chunk, &mut out);
        }
        let want = sine(to, hz, out.len());
        assert!(out.len() + 200 > to as usize, "{} of {to}", out.len());
        let (mut signal, mut error) = (0.0, 0.0);
        for (got, want) in out.iter().zip(&want).skip(500) {
            signal += f64::from(want * want);
            error += f64::from((got - want) * (got - want));
        }
        10.0 * (signal / error).log10()
    }

    #[test]
    fn a_sine_comes_out_at_its_place_and_clean() {
        for (from, to, hz) in [
            (8_000, 32_000, 1000.0),
            (8_000, 32_000, 3000.0),
            (44_100, 48_000, 5000.0),
            (11_025, 48_000, 1000.0),
            (96_000, 48_000, 5000.0),
            (7_350, 48_000, 800.0),
            (48_000, 48_000, 440.0),
        ] {
            let snr = snr_db(from, to, hz);
            assert!(snr > 60.0, "{from} to {to} at {hz} Hz: {snr:.1} dB");
        }
    }

    #[test]
    fn what_the_lower_rate_cannot_hold_is_filtered_out() {
        let mut resampler = Resampler::new(48_000, 8_000).expect("both rates are in the table");
        let mut out = Vec::new();
        resampler.push(&sine(48_000, 6000.0, 48_000), &mut out);
        let loudest = out[100..].iter().fold(0.0f32, |a, b| a.max(b.abs()));
        assert!(loudest < 0.001, "{loudest}");
    }

    #[test]
    fn only_rates_of_the_table_are_converted() {
        assert!(Resampler::new(44_101, 48_000).is_none());
        assert!(Resampler::new(48_000, 0).is_none());
    }
}
