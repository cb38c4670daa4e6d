//! Pieces of sound from PES payloads: AAC access units out of ADTS, G.711, G.722 and G.726 as they come.
//!
//! ISO/IEC 14496-3, 1.A.2 (ADTS); ITU-T G.711; GB/T 28181-2016, annex C.
//!
//! What the map says and what the bytes are do not always agree. Bytes that are ADTS, or are not, time after time win.
//! Without a map, ADTS is AAC and everything else is PCMA, the field's default. G.726 has four rates and one stream type, and
//! G.722 comes under the type of G.722.1: there the bytes between two times decide.
//!
//! Bounds: an ADTS frame (8,191 bytes) and one piece of payload are held at most; G.711 is cut at
//! [`crate::limits::SOUND_FRAME_BYTES_MAX`].

use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::picture::{Origin, Times};
use crate::limits;
use crate::media::codec::aac::{ADTS_HEADER_BYTES, Adts, SAMPLES_PER_FRAME, config_format};
use crate::media::codec::g726::{G726, Packing};
use crate::media::codec::{g711, g722};
use crate::media::frame::{AudioParams, Codec, Params, Track, TrackId};
use crate::media::ps::{Coding, coding};
use crate::time::TICKS_PER_SECOND;

/// Pieces are cut from buffers of this size, a dozen or so from each.
const CHUNK_BYTES: usize = 8 * 1024;
/// PES packets in a row that must contradict the map before it is not believed.
const CONTRADICTIONS_MIN: u8 = 5;
/// PES packets in a row that must agree while there is no map.
const AGREEMENTS_MIN: u8 = 2;
/// Rates by which G.726, G.722 and G.722.1 are told, in kbit/s. G.722.1 shares two with G.726, but not the stream type.
const METERED_KBITS: [u32; 6] = [16, 24, 32, 40, 48, 64];
/// PES packets in a row that must give the same rate.
const METER_AGREEMENTS_MIN: u8 = 3;
/// PES packets after which the rate is no longer waited for.
const METER_PES_MAX: u8 = 25;
/// Stream type of G.722.1, under which some devices send G.722.
const G722_1: u8 = 0x92;
/// G.711 comes in blocks of 10 ms.
const G711_BLOCK_BYTES: u32 = 80;

/// A finished piece of sound.
#[derive(Debug)]
pub(super) struct Piece {
    pub payload: Bytes,
    pub damaged: bool,
    pub times: Times,
    pub origin: Origin,
    /// Ticks of 1/90,000 s.
    pub duration: i64,
}

#[derive(Debug)]
pub(super) enum Made {
    Track(Track),
    Piece(Piece),
    /// The sound is coded in a way that is not supported.
    Unsupported(u8),
}

#[derive(Debug)]
pub(super) struct Sound {
    /// What the map says; `None`: nothing yet, or a type of no meaning.
    declared: Option<Coding>,
    codec: Option<Codec>,
    /// What the bytes looked like lately, against what is believed, and how often in a row.
    looks: Option<Codec>,
    looks_count: u8,
    meter: Meter,
    pes_begins: bool,
    pes_bytes: Option<u32>,
    buffer: BytesMut,
    origin: Option<Origin>,
    times: Times,
    /// Bytes of the buffer that belong to what began before the PES whose times these are.
    times_after: usize,
    damaged: bool,
    adts: Option<Adts>,
    track: Option<Track>,
}

impl Sound {
    pub fn new() -> Sound {
        Sound {
            declared: None,
            codec: None,
            looks: None,
            looks_count: 0,
            meter: Meter::default(),
            pes_begins: false,
            pes_bytes: None,
            buffer: BytesMut::new(),
            origin: None,
            times: Times::default(),
            times_after: 0,
            damaged: false,
            adts: None,
            track: None,
        }
    }

    pub fn track(&self) -> Option<&Track> {
        self.track.as_ref()
    }

    /// What a program stream map says of the sound. Type 0 says nothing.
    pub fn declare(&mut self, stream_type: u8) {
        let declared = (stream_type != 0).then(|| coding(stream_type));
        if self.declared != declared {
            self.declared = declared;
            self.codec = None;
            self.looks = None;
            self.meter = Meter::default();
        }
    }

    /// A PES begins.
    pub fn pes(&mut self, times: Times, payload_bytes: Option<u32>) {
        self.pes_begins = true;
        self.pes_bytes = payload_bytes;
        if self.is_metered() {
            self.meter.pes(times.pts, payload_bytes);
        }
        if self.codec != Some(Codec::Aac) {
            self.buffer.clear();
        }
        self.times = times;
        self.times_after = self.buffer.len();
    }

    /// A piece of its payload.
    pub fn payload(&mut self, origin: Origin, bytes: &[u8], put: &mut impl FnMut(Made)) {
        if std::mem::take(&mut self.pes_begins) {
            self.decide(bytes, put);
        }
        match self.codec {
            Some(Codec::Aac) => self.push_adts(origin, bytes, put),
            Some(codec @ (Codec::G711A | Codec::G711U | Codec::G722 | Codec::G726(_))) => {
                for piece in bytes.chunks(limits::SOUND_FRAME_BYTES_MAX) {
                    if self.buffer.len() + piece.len() > limits::SOUND_FRAME_BYTES_MAX {
                        self.end_samples(codec, put);
                    }
                    self.append(origin, piece);
                }
            }
            Some(Codec::H264 | Codec::H265 | Codec::Opus) | None => {}
        }
    }

    /// The PES is whole.
    pub fn pes_end(&mut self, put: &mut impl FnMut(Made)) {
        if let Some(codec) = self.codec
            && bytes_per_s(codec).is_some()
        {
            self.end_samples(codec, put);
        }
    }

    /// Sound that came in RTP packets of its own payload type, without a program stream.
    pub fn bare(
        &mut self,
        codec: Codec,
        origin: Origin,
        times: Times,
        bytes: &[u8],
        put: &mut impl FnMut(Made),
    ) {
        if self.codec != Some(codec) {
            self.codec = Some(codec);
            self.buffer.clear();
            self.origin = None;
        }
        self.times = times;
        for piece in bytes.chunks(limits::SOUND_FRAME_BYTES_MAX) {
            self.append(origin, piece);
            self.end_samples(codec, put);
        }
    }

    /// One access unit of AAC that came without ADTS, under its AudioSpecificConfig.
    pub fn aac_unit(
        &mut self,
        config: &[u8],
        origin: Origin,
        times: Times,
        unit: &[u8],
        put: &mut impl FnMut(Made),
    ) {
        let Some((sample_rate, channels)) = config_format(config) else {
            put(Made::Unsupported(0x0f));
            return;
        };
        let known = self.track.as_ref().filter(|t| t.codec == Codec::Aac);
        if known
            .and_then(Track::audio)
            .is_none_or(|a| a.config != config)
        {
            self.codec = None;
            self.buffer.clear();
            self.origin = None;
            self.tell(
                aac_track(sample_rate, channels, Bytes::copy_from_slice(config)),
                put,
            );
        }
        self.append(origin, unit);
        self.origin = None;
        put(Made::Piece(Piece {
            payload: self.buffer.split().freeze(),
            damaged: std::mem::take(&mut self.damaged),
            times,
            origin,
            duration: SAMPLES_PER_FRAME * TICKS_PER_SECOND / i64::from(sample_rate),
        }));
    }

    fn tell(&mut self, track: Track, put: &mut impl FnMut(Made)) {
        if self.track.as_ref() != Some(&track) {
            self.track = Some(track.clone());
            put(Made::Track(track));
        }
    }

    /// Packets are missing here.
    pub fn lose(&mut self) {
        self.buffer.clear();
        self.origin = None;
        self.times_after = 0;
        self.damaged = true;
    }

    fn append(&mut self, origin: Origin, bytes: &[u8]) {
        if self.buffer.capacity() - self.buffer.len() < bytes.len() {
            let held = self.buffer.len();
            let mut chunk = BytesMut::with_capacity(CHUNK_BYTES.max(held + bytes.len()));
            chunk.extend_from_slice(&self.buffer);
            self.buffer = chunk;
        }
        self.buffer.extend_from_slice(bytes);
        self.origin.get_or_insert(origin);
    }

    /// Decides from the map and the first bytes of a PES how the sound is coded.
    fn decide(&mut self, head: &[u8], put: &mut impl FnMut(Made)) {
        let adts = Adts::parse(head).is_some();
        let blocks = self.pes_bytes.is_some_and(|n| n % G711_BLOCK_BYTES == 0);
        let (codec, enough) = match self.declared {
            Some(Coding::Unsupported(G722_1) | Coding::Supported(Codec::G726(_))) => {
                if self.is_metered() {
                    self.decide_by_rate(put);
                }
                return;
            }
            Some(Coding::Unsupported(number)) => {
                put(Made::Unsupported(number));
                return;
            }
            Some(Coding::Supported(Codec::Aac)) => match self.codec {
                Some(Codec::G711A) if !adts => return,
                // In the middle of an ADTS frame a PES may begin anyhow; blocks of G.711 say more.
                Some(_) | None if !adts && blocks => (Codec::G711A, CONTRADICTIONS_MIN),
                Some(_) | None => (Codec::Aac, 1),
            },
            Some(Coding::Supported(codec)) => match self.codec {
                Some(Codec::Aac) if adts => return,
                Some(_) | None if adts => (Codec::Aac, CONTRADICTIONS_MIN),
                Some(_) | None => (codec, 1),
            },
            None if adts => (Codec::Aac, AGREEMENTS_MIN),
            None if is_mpeg_audio(head) => {
                if self.codec.is_none() {
                    // Later PES packets need not begin with a frame, so this is kept.
                    self.declared = Some(Coding::Unsupported(0x03));
                    put(Made::Unsupported(0x03));
                }
                return;
            }
            None if self.codec == Some(Codec::Aac) => return,
            None => (Codec::G711A, AGREEMENTS_MIN),
        };
        if self.codec == Some(codec) {
            self.looks = None;
            return;
        }
        if self.looks == Some(codec) {
            self.looks_count += 1;
        } else {
            self.looks = Some(codec);
            self.looks_count = 1;
        }
        if self.looks_count >= enough {
            self.codec = Some(codec);
            self.looks = None;
            self.adts = None;
            self.buffer.clear();
            self.times_after = 0;
        }
    }

    /// The rate is not known and decides what the sound is.
    fn is_metered(&self) -> bool {
        matches!(
            self.declared,
            Some(Coding::Unsupported(G722_1) | Coding::Supported(Codec::G726(_)))
        ) && self.codec.is_none()
    }

    fn decide_by_rate(&mut self, put: &mut impl FnMut(Made)) {
        let Some(rate) = self.meter.rate() else {
            return;
        };
        self.codec = match (self.declared, rate) {
            (Some(Coding::Unsupported(_)), Some(64)) => Some(Codec::G722),
            (Some(Coding::Unsupported(number)), _) => {
                put(Made::Unsupported(number));
                None
            }
            (_, rate) => {
                let told = rate.and_then(|kbit| G726::new(kbit, Packing::Rfc3551));
                Some(Codec::G726(told.unwrap_or(G726::USUAL)))
            }
        };
    }

    fn end_samples(&mut self, codec: Codec, put: &mut impl FnMut(Made)) {
        let Some(origin) = self.origin.take() else {
            return;
        };
        if self.track.as_ref().is_none_or(|t| t.codec != codec) {
            let track = match codec {
                Codec::G722 => g722::track(),
                Codec::G726(which) => which.track(),
                other => g711::track(other),
            };
            self.tell(track, put);
        }
        let payload = self.buffer.split().freeze();
        put(Made::Piece(Piece {
            duration: duration_ticks(codec, payload.len()),
            payload,
            damaged: std::mem::take(&mut self.damaged),
            times: std::mem::take(&mut self.times),
            origin,
        }));
    }

    fn push_adts(&mut self, origin: Origin, bytes: &[u8], put: &mut impl FnMut(Made)) {
        self.append(origin, bytes);
        while self.buffer.len() >= ADTS_HEADER_BYTES {
            let Some(adts) = Adts::parse(&self.buffer) else {
                self.skip_to_sync();
                continue;
            };
            if self.buffer.len() < adts.frame_bytes {
                return;
            }
            self.renew_aac(&adts, put);
            let times = self.take_times(adts.frame_bytes);
            let mut frame = self.buffer.split_to(adts.frame_bytes);
            let payload = frame.split_off(adts.header_bytes).freeze();
            let began = self.origin.take().unwrap_or(origin);
            if !self.buffer.is_empty() {
                self.origin = Some(origin);
            }
            put(Made::Piece(Piece {
                payload,
                damaged: std::mem::take(&mut self.damaged),
                times,
                origin: began,
                duration: SAMPLES_PER_FRAME * TICKS_PER_SECOND / i64::from(adts.sample_rate()),
            }));
        }
    }

    /// The times of the PES belong to the first frame that begins in it.
    fn take_times(&mut self, bytes: usize) -> Times {
        if self.times_after == 0 {
            return std::mem::take(&mut self.times);
        }
        self.times_after = self.times_after.saturating_sub(bytes);
        Times::default()
    }

    fn skip_to_sync(&mut self) {
        let at = self.buffer[1..]
            .iter()
            .position(|b| *b == 0xff)
            .map_or(self.buffer.len(), |at| at + 1);
        self.times_after = self.times_after.saturating_sub(at);
        let _ = self.buffer.split_to(at);
        self.damaged = true;
        if self.buffer.is_empty() {
            self.origin = None;
        }
    }

    fn renew_aac(&mut self, adts: &Adts, put: &mut impl FnMut(Made)) {
        let same = self.adts.as_ref().is_some_and(|old| old.same_stream(adts));
        self.adts = Some(*adts);
        if same {
            return;
        }
        let track = aac_track(adts.sample_rate(), adts.channel_count(), adts.config());
        self.tell(track, put);
    }
}

fn aac_track(sample_rate: u32, channels: u8, config: Bytes) -> Track {
    Track {
        id: TrackId::Audio,
        codec: Codec::Aac,
        params: Arc::new(Params::Audio(AudioParams {
            sample_rate,
            channels,
            config,
        })),
    }
}

/// Bytes of a second, of sound that has a fixed rate.
fn bytes_per_s(codec: Codec) -> Option<u32> {
    match codec {
        Codec::G711A | Codec::G711U => Some(g711::SAMPLE_RATE),
        Codec::G722 => Some(g722::BYTES_PER_S),
        Codec::G726(which) => Some(which.bytes_per_s()),
        Codec::Aac | Codec::Opus | Codec::H264 | Codec::H265 => None,
    }
}

/// Ticks of 1/90,000 s that so many bytes of sound last; 0 where their number does not tell.
pub(super) fn duration_ticks(codec: Codec, bytes: usize) -> i64 {
    bytes_per_s(codec).map_or(0, |rate| bytes as i64 * TICKS_PER_SECOND / i64::from(rate))
}

/// The rate of sound by the times of its PES packets, for types that do not tell it.
#[derive(Debug, Default)]
struct Meter {
    pts: Option<u64>,
    bytes: u32,
    /// In kbit/s, and how often in a row.
    rate: u32,
    agreed: u8,
    seen: u8,
}

impl Meter {
    /// A PES begins: what came since the last one lasted until now.
    fn pes(&mut self, pts: Option<u64>, payload_bytes: Option<u32>) {
        self.seen = self.seen.saturating_add(1);
        if let (Some(last), Some(now)) = (self.pts, pts) {
            let ticks = now.wrapping_sub(last) & ((1 << 33) - 1);
            let bits = u64::from(self.bytes) * 8 * TICKS_PER_SECOND as u64;
            let rate = bits.checked_div(ticks * 1_000).unwrap_or(0) as u32;
            // Devices stamp in whole milliseconds, and not always evenly.
            let near = METERED_KBITS
                .into_iter()
                .find(|k| rate.abs_diff(*k) * 20 <= *k);
            match near {
                Some(near) if near == self.rate => self.agreed += 1,
                Some(near) => (self.rate, self.agreed) = (near, 1),
                None => self.agreed = 0,
            }
        }
        self.pts = pts;
        self.bytes = payload_bytes.unwrap_or(0);
    }

    /// kbit/s, once it is certain: `Some(None)` = it cannot be told.
    fn rate(&self) -> Option<Option<u32>> {
        if self.agreed >= METER_AGREEMENTS_MIN {
            Some(Some(self.rate))
        } else {
            (self.seen >= METER_PES_MAX).then_some(None)
        }
    }
}

/// Whether bytes begin with a header of MPEG-1 or MPEG-2 audio, layers 1 to 3 (ISO/IEC 11172-3, 2.4.1.3).
fn is_mpeg_audio(head: &[u8]) -> bool {
    match head {
        [0xff, b, c, ..] => {
            b >> 5 == 7
                && b >> 3 & 3 != 1
                && b >> 1 & 3 != 0
                && !matches!(c >> 4, 0 | 15)
                && c >> 2 & 3 != 3
        }
        _ => false,
    }
}
