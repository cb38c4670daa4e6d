//! RTP payloads of a stream, made once for all its WebRTC viewers.
//!
//! RFC 6184 (H.264: single NAL unit, STAP-A, FU-A), RFC 7798 (H.265: single NAL unit, AP, FU), RFC 3551 (G.711),
//! RFC 7587 (Opus). The twelve bytes of header (sequence number, SSRC, payload type) are each viewer's own and written
//! when the packet is encrypted.
//!
//! A payload is a prefix of up to three bytes and a slice of the frame: nothing is copied. Fragments of one NAL unit are
//! of equal length, the last one by a few bytes of padding (RFC 3550, 5.1), since a batch of UDP datagrams goes out in one
//! call only if they are; the one that may be shorter at the end is left to the sound. Parameter sets
//! go out of band in a track; here they stand before each key frame, in one aggregation packet if they fit. Those inside a
//! frame, access unit delimiters and filler are left out.
//!
//! G.711 is cut by [`limits::RTP_G711_MS_MIN`] and [`limits::RTP_G711_MS_MAX`]. AAC, G.722 and G.726 are
//! ignored: they come through a transcoder, as Opus.
//!
//! Not done: interleaved modes, PACI, DONL.

use bytes::{BufMut, Bytes, BytesMut};

use super::Sound;
use crate::limits;
use crate::media::frame::{Codec, Frame, Track, TrackId, nals};
use crate::time::{MediaTime, TICKS_PER_SECOND};

/// What to do with sound of a codec on its way to WebRTC (RFC 7874: Opus and G.711 are there in every browser).
pub fn sound(codec: Codec) -> Sound {
    match codec {
        Codec::Aac | Codec::G722 | Codec::G726(_) => Sound::As(Codec::Opus),
        Codec::G711A | Codec::G711U | Codec::Opus => Sound::AsIs,
        Codec::H264 | Codec::H265 => Sound::Drop,
    }
}

/// RTP clock of a codec in Hz.
pub fn clock_rate(codec: Codec) -> u32 {
    match codec {
        Codec::H264 | Codec::H265 | Codec::Aac => TICKS_PER_SECOND as u32,
        Codec::G711A | Codec::G711U | Codec::G722 | Codec::G726(_) => 8000,
        Codec::Opus => 48_000,
    }
}

/// The payload of one RTP packet: `prefix`, then `body`.
#[derive(Clone, Debug)]
pub struct RtpPayload {
    pub body: Bytes,
    /// In the track's RTP clock ([`clock_rate`]), 0 at media time 0. A viewer adds an offset of its own.
    pub timestamp: u32,
    pub prefix: Prefix,
    /// Bytes of RTP padding behind `body`, the last of which says how many they are.
    pub padding: u8,
    /// Last packet of a picture.
    pub marker: bool,
    /// First packet of a picture at which a viewer can start. Never on sound.
    pub key: bool,
    pub track: TrackId,
}

impl RtpPayload {
    /// Bytes of payload, without RTP header and padding.
    pub fn len(&self) -> usize {
        self.prefix.len() + self.body.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Appends the payload.
    pub fn put(&self, out: &mut impl BufMut) {
        out.put_slice(&self.prefix);
        out.put_slice(&self.body);
    }
}

/// Up to four bytes before a slice of a frame, held in place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Prefix {
    len: u8,
    bytes: [u8; 4],
}

impl Prefix {
    fn of(bytes: &[u8]) -> Prefix {
        let mut prefix = Prefix {
            len: bytes.len() as u8,
            bytes: [0; 4],
        };
        prefix.bytes[..bytes.len()].copy_from_slice(bytes);
        prefix
    }
}

impl std::ops::Deref for Prefix {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

/// Makes the payloads of a stream.
#[derive(Debug)]
pub struct Packetizer {
    payload_len_max: usize,
    video: Option<Picture>,
    audio: Option<SoundTrack>,
}

impl Packetizer {
    /// `payload_len_max`: bytes after the RTP header and before the authentication tag, at least 64. With 1,200 bytes
    /// of UDP payload, 12 of header, 8 of extensions and 16 of tag: 1,164.
    pub fn new(payload_len_max: usize) -> Packetizer {
        Packetizer {
            payload_len_max: payload_len_max.max(64),
            video: None,
            audio: None,
        }
    }

    /// The tracks as they are from now on. A G.711 piece that waits for more is dropped if its track changed.
    pub fn set_tracks(&mut self, tracks: &[Track]) {
        let of = |id| tracks.iter().rfind(|t: &&Track| t.id == id);
        self.video = of(TrackId::Video).and_then(|t| Picture::of(t, self.payload_len_max));
        let audio = of(TrackId::Audio).and_then(SoundTrack::of);
        if audio.as_ref().map(|a| a.codec) != self.audio.as_ref().map(|a| a.codec) {
            self.audio = audio;
        }
    }

    /// Appends the packets of a frame: none, or all of a picture, or what sound is due.
    pub fn push(&mut self, frame: &Frame, out: &mut Vec<RtpPayload>) {
        match frame.track {
            TrackId::Video => {
                if let Some(picture) = &self.video {
                    picture.push(frame, self.payload_len_max, out);
                }
            }
            TrackId::Audio => {
                if let Some(sound) = &mut self.audio {
                    sound.push(frame, self.payload_len_max, out);
                }
            }
        }
    }
}

/// H.264 or H.265, which differ in the length of the NAL header and in a few numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Family {
    H264,
    H265,
}

impl Family {
    fn nal_header_len(self) -> usize {
        match self {
            Family::H264 => 1,
            Family::H265 => 2,
        }
    }

    /// Parameter sets (they are sent before a key frame), delimiters and filler.
    fn left_out(self, nal: &[u8]) -> bool {
        match self {
            Family::H264 => matches!(nal[0] & 0x1f, 7 | 8 | 9 | 12),
            Family::H265 => matches!(nal[0] >> 1 & 0x3f, 32..=35 | 38),
        }
    }

    /// What replaces the NAL header in a fragment (RFC 6184, 5.8; RFC 7798, 4.4.3).
    fn fragment_prefix(self, nal: &[u8], first: bool, last: bool) -> Prefix {
        const FU_A: u8 = 28;
        const FU: u8 = 49;
        let ends = u8::from(first) << 7 | u8::from(last) << 6;
        match self {
            Family::H264 => Prefix::of(&[nal[0] & 0xe0 | FU_A, ends | nal[0] & 0x1f]),
            Family::H265 => {
                Prefix::of(&[nal[0] & 0x81 | FU << 1, nal[1], ends | nal[0] >> 1 & 0x3f])
            }
        }
    }

    /// The header of an aggregation packet (RFC 6184, 5.7.1; RFC 7798, 4.4.2): the highest NRI, or the lowest layer and
    /// temporal id, of the sets in it.
    fn put_aggregation_header(self, sets: &[&Bytes], out: &mut BytesMut) {
        const STAP_A: u8 = 24;
        const AP: u8 = 48;
        match self {
            Family::H264 => {
                let nri = sets.iter().map(|s| s[0] & 0x60).max().unwrap_or(0x60);
                out.put_u8(nri | STAP_A);
            }
            Family::H265 => out.put_slice(&[AP << 1, 1]),
        }
    }
}

#[derive(Debug)]
struct Picture {
    family: Family,
    /// What is sent before each key frame: one aggregation packet, or the sets one by one if they do not fit in one.
    sets: Vec<Bytes>,
}

impl Picture {
    fn of(track: &Track, payload_len_max: usize) -> Option<Picture> {
        let params = track.video()?;
        let family = match track.codec {
            Codec::H264 => Family::H264,
            Codec::H265 => Family::H265,
            Codec::Aac
            | Codec::G711A
            | Codec::G711U
            | Codec::G722
            | Codec::G726(_)
            | Codec::Opus => return None,
        };
        let sets: Vec<&Bytes> = [params.vps.as_ref(), Some(&params.sps), Some(&params.pps)]
            .into_iter()
            .flatten()
            .filter(|set| set.len() > family.nal_header_len())
            .collect();
        let aggregated = family.nal_header_len() + sets.iter().map(|s| 2 + s.len()).sum::<usize>();
        let sets = if sets.len() > 1 && aggregated <= payload_len_max {
            let mut packet = BytesMut::with_capacity(aggregated);
            family.put_aggregation_header(&sets, &mut packet);
            for set in sets {
                packet.put_u16(set.len() as u16);
                packet.put_slice(set);
            }
            vec![packet.freeze()]
        } else {
            sets.into_iter().cloned().collect()
        };
        Some(Picture { family, sets })
    }

    fn push(&self, frame: &Frame, payload_len_max: usize, out: &mut Vec<RtpPayload>) {
        let first = out.len();
        let timestamp = frame.pts.0 as u32;
        if frame.key {
            for set in &self.sets {
                self.put_nal(set, set, timestamp, payload_len_max, out);
            }
        }
        let before = out.len();
        for nal in nals(&frame.payload) {
            if nal.len() > self.family.nal_header_len() && !self.family.left_out(nal) {
                self.put_nal(&frame.payload, nal, timestamp, payload_len_max, out);
            }
        }
        if out.len() == before {
            // Parameter sets alone are no picture.
            out.truncate(first);
            return;
        }
        out[first].key = frame.key;
        out.last_mut().expect("one was put").marker = true;
    }

    /// `nal` lies within `owner`. An aggregation packet is a NAL unit to this function, and never too long.
    fn put_nal(
        &self,
        owner: &Bytes,
        nal: &[u8],
        timestamp: u32,
        payload_len_max: usize,
        out: &mut Vec<RtpPayload>,
    ) {
        let packet = |prefix, body, padding| RtpPayload {
            body,
            timestamp,
            prefix,
            padding,
            marker: false,
            key: false,
            track: TrackId::Video,
        };
        if nal.len() <= payload_len_max {
            out.push(packet(Prefix::default(), owner.slice_ref(nal), 0));
            return;
        }
        let header_len = self.family.nal_header_len();
        let content = owner.slice_ref(&nal[header_len..]);
        let room = payload_len_max - header_len - 1;
        let count = content.len().div_ceil(room);
        let each = content.len().div_ceil(count);
        let mut at = 0;
        while at < content.len() {
            let end = (at + each).min(content.len());
            let prefix = self
                .family
                .fragment_prefix(nal, at == 0, end == content.len());
            let padding = u8::try_from(at + each - end).unwrap_or(0);
            out.push(packet(prefix, content.slice(at..end), padding));
            at = end;
        }
    }
}

/// G.711 or Opus.
#[derive(Debug)]
struct SoundTrack {
    codec: Codec,
    /// G.711 that is too short for a packet, and when it begins.
    waiting: BytesMut,
    waiting_since: u32,
    /// Time stamp at which the next sample is due.
    due: Option<u32>,
}

/// Bytes of G.711 a millisecond.
const G711_BYTES_PER_MS: usize = 8;

impl SoundTrack {
    fn of(track: &Track) -> Option<SoundTrack> {
        match track.codec {
            Codec::G711A | Codec::G711U | Codec::Opus => Some(SoundTrack {
                codec: track.codec,
                waiting: BytesMut::new(),
                waiting_since: 0,
                due: None,
            }),
            Codec::Aac | Codec::G722 | Codec::G726(_) | Codec::H264 | Codec::H265 => None,
        }
    }

    fn push(&mut self, frame: &Frame, payload_len_max: usize, out: &mut Vec<RtpPayload>) {
        if frame.payload.is_empty() {
            return;
        }
        match self.codec {
            Codec::Opus => {
                // A packet of Opus cannot be cut; encoders are set to stay far below.
                if frame.payload.len() <= payload_len_max {
                    let timestamp = scaled(frame.dts, self.codec);
                    out.push(sound_packet(timestamp, frame.payload.clone()));
                }
            }
            Codec::G711A | Codec::G711U => self.push_g711(frame, payload_len_max, out),
            Codec::Aac | Codec::G722 | Codec::G726(_) | Codec::H264 | Codec::H265 => {}
        }
    }

    fn push_g711(&mut self, frame: &Frame, payload_len_max: usize, out: &mut Vec<RtpPayload>) {
        const LEN_MIN: usize = limits::RTP_G711_MS_MIN * G711_BYTES_PER_MS;
        let len_max = (limits::RTP_G711_MS_MAX * G711_BYTES_PER_MS).min(payload_len_max);
        let at = self.timestamp(frame);
        let payload = &frame.payload;
        if !self.waiting.is_empty() {
            let continues = self.due == Some(at);
            if continues && self.waiting.len() + payload.len() <= len_max {
                self.waiting.extend_from_slice(payload);
                if self.waiting.len() >= LEN_MIN {
                    self.flush(out);
                }
                self.due = Some(at.wrapping_add(payload.len() as u32));
                return;
            }
            self.flush(out);
        }
        if payload.len() < LEN_MIN {
            self.waiting.reserve(LEN_MIN * 2);
            self.waiting.extend_from_slice(payload);
            self.waiting_since = at;
        } else {
            let count = payload.len().div_ceil(len_max);
            let each = payload.len().div_ceil(count);
            for start in (0..payload.len()).step_by(each) {
                let body = payload.slice(start..(start + each).min(payload.len()));
                out.push(sound_packet(at.wrapping_add(start as u32), body));
            }
        }
        self.due = Some(at.wrapping_add(payload.len() as u32));
    }

    fn flush(&mut self, out: &mut Vec<RtpPayload>) {
        let body = self.waiting.split().freeze();
        out.push(sound_packet(self.waiting_since, body));
    }

    /// The frame's time stamp; the due one where it strays by less than a packet: devices stamp with jitter, and a
    /// player takes each gap for lost sound.
    fn timestamp(&self, frame: &Frame) -> u32 {
        const STRAY_MAX: i32 = (limits::RTP_G711_MS_MAX * G711_BYTES_PER_MS) as i32;
        let told = scaled(frame.dts, self.codec);
        match self.due {
            Some(due) if (told.wrapping_sub(due) as i32).abs() < STRAY_MAX => due,
            Some(_) | None => told,
        }
    }
}

fn scaled(time: MediaTime, codec: Codec) -> u32 {
    let rate = i64::from(clock_rate(codec));
    (time.0 * rate).div_euclid(TICKS_PER_SECOND) as u32
}

fn sound_packet(timestamp: u32, body: Bytes) -> RtpPayload {
    RtpPayload {
        body,
        timestamp,
        prefix: Prefix::default(),
        padding: 0,
        marker: false,
        key: false,
        track: TrackId::Audio,
    }
}
