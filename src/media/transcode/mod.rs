//! Sound from the codec of a device to one that a viewer can play: G.711, G.722, G.726 or AAC in, AAC-LC or Opus out, always mono.
//!
//! ITU-T G.711, G.722, G.726; ISO/IEC 14496-3 (AAC-LC); RFC 6716 (Opus). One transcoder serves all renditions of a stream.
//!
//! AAC is made at 32 kHz from the 8 kHz of G.711: a frame is then 32 ms long instead of 128 ms, and a player waits for two
//! of them. At 32 kbit/s that costs 0.6 dB of signal to noise against 16 kHz.
//!
//! Time: a frame out has the time of the sound that a decoder gives out for it, so the encoder's delay is taken off. Time
//! follows the sample count; where the time stamps of a device stray from it by more than
//! [`limits::TRANSCODE_JITTER_MS_MAX`], missing sound is replaced by silence and surplus is cut. After a hole of over
//! [`limits::TRANSCODE_SILENCE_MS_MAX`] the count starts anew; the part of a frame that waited is dropped.
//!
//! Not done: stereo, Opus in, G.711 out (a device's voice talk codes its own frames with [`g711`]).
//!
//! Bounds: holds less than one frame out, the filter's history, and the samples of one frame in.

pub mod g711;
pub mod g722;
pub mod g726;
mod resample;

use std::fmt;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use crate::limits;
use crate::media::codec;
use crate::media::frame::{AudioParams, Codec, Frame, Params, Track, TrackId};
use crate::time::{MediaTime, TICKS_PER_SECOND};
use resample::Resampler;

const G711_RATE: u32 = 8_000;
const AAC_RATE: u32 = 32_000;
const AAC_BITS_PER_SECOND: u32 = 32_000;
const AAC_FRAME_SAMPLES: usize = 1024;
const OPUS_RATE: u32 = 48_000;
const OPUS_BITS_PER_SECOND: u32 = 32_000;
/// 20 ms, what WebRTC expects.
const OPUS_FRAME_SAMPLES: usize = 960;
/// Of ten; each step beyond costs more time than it gains at speech rates.
const OPUS_COMPLEXITY: u8 = 5;
/// The longest frame of Opus (RFC 6716, 3.4).
const OPUS_FRAME_BYTES_MAX: usize = 1275;
/// Encoded frames are cut from buffers of this many bytes: about two seconds of sound share one allocation.
const PACKET_CHUNK_BYTES: usize = 8192;

/// Why there is no transcoder for a track.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsupported {
    /// This pair of codecs is not done.
    Pair { from: Codec, to: Codec },
    /// The track's AudioSpecificConfig is none that can be decoded.
    Config,
}

impl fmt::Display for Unsupported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unsupported::Pair { from, to } => {
                write!(f, "{} is not converted to {}", from.name(), to.name())
            }
            Unsupported::Config => f.write_str("the AudioSpecificConfig cannot be decoded"),
        }
    }
}

impl std::error::Error for Unsupported {}

/// Converts the sound of one stream.
pub struct AudioTranscoder {
    decoder: Decoder,
    /// For the rate in the field beside it; made when the first sound is decoded, since HE-AAC doubles its rate there.
    resampler: Option<(u32, Resampler)>,
    encoder: Encoder,
    track: Track,
    run: Option<Run>,
    /// Samples of one frame in.
    decoded: Vec<f32>,
    /// Samples at the encoder's rate that wait for a whole frame.
    waiting: Vec<f32>,
    packets: BytesMut,
    errors: u64,
}

/// Sound without a break, counted from its first sample.
#[derive(Clone, Copy, Debug)]
struct Run {
    start: MediaTime,
    taken: i64,
    emitted_frames: i64,
}

impl AudioTranscoder {
    /// From G.711, G.722 or G.726 to AAC or Opus, from AAC to Opus. What is in the right codec already needs no transcoder and is refused.
    pub fn new(from: &Track, to: Codec) -> Result<AudioTranscoder, Unsupported> {
        let pair = Unsupported::Pair {
            from: from.codec,
            to,
        };
        let decoder = match from.codec {
            Codec::G711A => Decoder::G711(g711::from_alaw),
            Codec::G711U => Decoder::G711(g711::from_ulaw),
            Codec::G722 => Decoder::G722(Box::default()),
            Codec::G726(which) => Decoder::G726(Box::new(g726::Decoder::new(which))),
            Codec::Aac if to != Codec::Aac => Decoder::aac(from).ok_or(Unsupported::Config)?,
            Codec::Aac | Codec::Opus | Codec::H264 | Codec::H265 => return Err(pair),
        };
        let encoder = match to {
            Codec::Aac => Encoder::aac(),
            Codec::Opus => Encoder::opus(),
            Codec::G711A
            | Codec::G711U
            | Codec::G722
            | Codec::G726(_)
            | Codec::H264
            | Codec::H265 => return Err(pair),
        };
        let track = Track {
            id: TrackId::Audio,
            codec: to,
            params: Arc::new(Params::Audio(AudioParams {
                sample_rate: encoder.rate(),
                channels: 1,
                config: encoder.config(),
            })),
        };
        Ok(AudioTranscoder {
            decoder,
            resampler: None,
            encoder,
            track,
            run: None,
            decoded: Vec::new(),
            waiting: Vec::new(),
            packets: BytesMut::new(),
            errors: 0,
        })
    }

    /// The track that the frames out belong to.
    pub fn track(&self) -> Track {
        self.track.clone()
    }

    /// Frames that could not be decoded or encoded; silence stands for them.
    pub fn errors(&self) -> u64 {
        self.errors
    }

    /// Appends the frames that became whole. Frames of pictures are ignored.
    pub fn push(&mut self, frame: &Frame, out: &mut Vec<Frame>) {
        if frame.track != TrackId::Audio {
            return;
        }
        self.decoded.clear();
        if frame.damaged {
            self.decoder.lose();
        }
        let Some(rate) = self.decoder.decode(&frame.payload, &mut self.decoded) else {
            self.errors += 1;
            return;
        };
        if self.resampler.as_ref().is_none_or(|(of, _)| *of != rate) {
            self.run = None;
            self.resampler =
                Resampler::new(rate, self.encoder.rate()).map(|resampler| (rate, resampler));
        }
        let skip = self.keep_time(frame.pts, rate);
        let Some((_, resampler)) = &mut self.resampler else {
            self.errors += 1;
            return;
        };
        let samples = self.decoded.get(skip..).unwrap_or_default();
        resampler.push(samples, &mut self.waiting);
        if let Some(run) = &mut self.run {
            run.taken += samples.len() as i64;
        }
        self.encode(frame, out);
    }

    /// Brings the sample count in line with the time stamps. Returns how many of the decoded samples are surplus.
    fn keep_time(&mut self, pts: MediaTime, rate: u32) -> usize {
        const TICKS_PER_MS: i64 = TICKS_PER_SECOND / 1000;
        let Some((_, resampler)) = &mut self.resampler else {
            return 0;
        };
        let samples = |ticks: i64| (ticks * i64::from(rate) / TICKS_PER_SECOND) as usize;
        let stray = self.run.map(|run| pts.0 - run.time_of(run.taken, rate).0);
        match stray {
            Some(stray) if stray < -limits::TRANSCODE_JITTER_MS_MAX * TICKS_PER_MS => {
                samples(-stray)
            }
            Some(stray) if stray <= limits::TRANSCODE_JITTER_MS_MAX * TICKS_PER_MS => 0,
            Some(stray) if stray <= limits::TRANSCODE_SILENCE_MS_MAX * TICKS_PER_MS => {
                let missing = samples(stray);
                resampler.push(&vec![0.0; missing], &mut self.waiting);
                if let Some(run) = &mut self.run {
                    run.taken += missing as i64;
                }
                0
            }
            Some(_) | None => {
                self.waiting.clear();
                resampler.reset();
                self.run = Some(Run {
                    start: pts,
                    taken: 0,
                    emitted_frames: 0,
                });
                0
            }
        }
    }

    fn encode(&mut self, frame: &Frame, out: &mut Vec<Frame>) {
        let Some(run) = &mut self.run else {
            return;
        };
        let frame_samples = self.encoder.frame_samples();
        let whole = self.waiting.len() / frame_samples * frame_samples;
        for samples in self.waiting[..whole].chunks_exact(frame_samples) {
            let sample = run.emitted_frames * frame_samples as i64 - self.encoder.delay();
            run.emitted_frames += 1;
            let Some(payload) = self.encoder.encode(samples, &mut self.packets) else {
                self.errors += 1;
                continue;
            };
            let time = run.time_of(sample, self.encoder.rate());
            out.push(Frame {
                track: TrackId::Audio,
                dts: time,
                pts: time,
                key: true,
                damaged: frame.damaged,
                payload,
                received: frame.received,
            });
        }
        self.waiting.drain(..whole);
    }
}

impl Run {
    /// The time of a sample of this run, counted at `rate`.
    fn time_of(&self, sample: i64, rate: u32) -> MediaTime {
        MediaTime(self.start.0 + (sample * TICKS_PER_SECOND).div_euclid(i64::from(rate)))
    }
}

enum Decoder {
    G711(fn(u8) -> i16),
    G722(Box<g722::Decoder>),
    G726(Box<g726::Decoder>),
    Aac(Box<AacDecoder>),
}

struct AacDecoder {
    inner: syom::Decoder,
    config: Bytes,
}

impl Decoder {
    fn aac(track: &Track) -> Option<Decoder> {
        let config = track.audio()?.config.clone();
        let options = syom::DecodeOptions::unbounded().with_channel_mode(syom::ChannelMode::Mono);
        let inner = syom::Decoder::from_asc(&config, options).ok()?;
        Some(Decoder::Aac(Box::new(AacDecoder { inner, config })))
    }

    /// Bytes are missing before the next frame.
    fn lose(&mut self) {
        match self {
            Decoder::G726(decoder) => decoder.lose(),
            Decoder::G711(_) | Decoder::G722(_) | Decoder::Aac(_) => {}
        }
    }

    /// Appends the samples, -1.0 to 1.0, and tells their rate. `None`: not decodable; the next frame can be.
    fn decode(&mut self, payload: &[u8], out: &mut Vec<f32>) -> Option<u32> {
        match self {
            Decoder::G711(expand) => {
                out.extend(payload.iter().map(|b| linear(expand(*b))));
                Some(G711_RATE)
            }
            Decoder::G722(decoder) => {
                let samples = payload.iter().flat_map(|b| decoder.decode(*b));
                out.extend(samples.map(linear));
                Some(codec::g722::SAMPLE_RATE)
            }
            Decoder::G726(decoder) => {
                for byte in payload {
                    decoder.decode(*byte, &mut |sample| out.push(linear(sample)));
                }
                Some(codec::g726::SAMPLE_RATE)
            }
            Decoder::Aac(aac) => {
                let mut rate = None;
                let decoded = aac.inner.decode_au(payload, |frame| {
                    rate = Some(frame.sample_rate);
                    out.extend(frame.planar.first().copied().unwrap_or_default());
                    Ok(())
                });
                if decoded.is_err() {
                    aac.inner.reset();
                    // The configuration was accepted when the decoder was made.
                    aac.inner.set_asc(&aac.config).ok()?;
                    return None;
                }
                rate
            }
        }
    }
}

fn linear(sample: i16) -> f32 {
    f32::from(sample) / 32768.0
}

enum Encoder {
    Aac(Box<syom::Encoder>),
    Opus {
        inner: Box<ropus::Encoder>,
        delay: i64,
    },
}

impl Encoder {
    fn aac() -> Encoder {
        let options = syom::EncodeOptions::raw().with_bitrate_bps(AAC_BITS_PER_SECOND);
        Encoder::Aac(Box::new(
            syom::Encoder::new(AAC_RATE, 1, &options)
                .expect("a rate of the AAC table, one channel"),
        ))
    }

    fn opus() -> Encoder {
        let inner =
            ropus::Encoder::builder(OPUS_RATE, ropus::Channels::Mono, ropus::Application::Audio)
                .bitrate(ropus::Bitrate::Bits(OPUS_BITS_PER_SECOND))
                .complexity(OPUS_COMPLEXITY)
                .build()
                .expect("a rate of Opus, one channel");
        Encoder::Opus {
            delay: i64::from(inner.lookahead()),
            inner: Box::new(inner),
        }
    }

    fn rate(&self) -> u32 {
        match self {
            Encoder::Aac(_) => AAC_RATE,
            Encoder::Opus { .. } => OPUS_RATE,
        }
    }

    fn frame_samples(&self) -> usize {
        match self {
            Encoder::Aac(_) => AAC_FRAME_SAMPLES,
            Encoder::Opus { .. } => OPUS_FRAME_SAMPLES,
        }
    }

    /// Samples by which the decoder's output lags: the overlap of AAC's windows, the look-ahead of Opus (RFC 7845, 4.2).
    fn delay(&self) -> i64 {
        match self {
            Encoder::Aac(_) => AAC_FRAME_SAMPLES as i64,
            Encoder::Opus { delay, .. } => *delay,
        }
    }

    fn config(&self) -> Bytes {
        match self {
            Encoder::Aac(inner) => Bytes::copy_from_slice(inner.asc()),
            Encoder::Opus { .. } => Bytes::new(),
        }
    }

    /// One frame from exactly [`Self::frame_samples`] samples.
    fn encode(&mut self, samples: &[f32], packets: &mut BytesMut) -> Option<Bytes> {
        if packets.capacity() - packets.len() < OPUS_FRAME_BYTES_MAX {
            *packets = BytesMut::with_capacity(PACKET_CHUNK_BYTES);
        }
        match self {
            Encoder::Aac(inner) => {
                let fed = inner.feed(&[samples], |frame| {
                    packets.extend_from_slice(frame.payload);
                    Ok(())
                });
                if fed.is_err() {
                    packets.clear();
                    // Only settings that were accepted at the start are tried again.
                    inner.reset().ok()?;
                    return None;
                }
            }
            Encoder::Opus { inner, .. } => {
                packets.resize(OPUS_FRAME_BYTES_MAX, 0);
                let len = inner.encode_float(samples, packets).unwrap_or(0);
                packets.truncate(len);
            }
        }
        (!packets.is_empty()).then(|| packets.split().freeze())
    }
}
