//! FLV muxer: frames in, tags out, the same units for HTTP-FLV and WebSocket-FLV.
//!
//! Adobe Flash Video File Format 10.1, annex E (header, tags, onMetaData); Enhanced RTMP/FLV v1 (H.265 by FourCC `hvc1`).
//!
//! One unit is one tag: `head` holds the WebSocket header, the tag header and the codec's header, `body` the payload as it
//! lies in the hub, `tail` the PreviousTagSize that closes the tag.
//!
//! Time stamps are the decoding time in milliseconds, rounded down, 32 bits with the extension byte: they wrap after 49.7
//! days of one stream. Times before zero are shown as zero.
//!
//! Not done: H.265 by the unregistered codec id 12; Opus.
//!
//! Bounds: a frame of over [`limits::FLV_FRAME_BYTES_MAX`] is left out.

use bytes::{BufMut, Bytes};

use super::unit::{Carver, Unit, WS_HEADER_BYTES_MAX, put_ws_header, whole};
use super::{Kept, decoder_config};
use crate::limits;
use crate::media::frame::{Codec, Frame, Params, Track};
use crate::time::MediaTime;

/// The type by which this form is served.
pub const MIME: &str = "video/x-flv";

const TAG_AUDIO: u8 = 8;
const TAG_VIDEO: u8 = 9;
const TAG_SCRIPT: u8 = 18;
const TAG_HEADER_BYTES: usize = 11;
/// Enhanced video: flags, FourCC, composition time.
const CODEC_HEADER_BYTES_MAX: usize = 8;
const FOURCC_HEVC: [u8; 4] = *b"hvc1";

/// Muxer of one rendition.
#[derive(Debug)]
pub struct Mux {
    kept: Kept,
    init: Unit,
    carver: Carver,
    last_dts: MediaTime,
}

impl Mux {
    /// Tracks that FLV cannot hold (Opus, pictures without whole parameter sets) are left out.
    pub fn new(tracks: &[Track]) -> Mux {
        let kept = Kept::of(tracks, holds);
        let init = whole(&init_bytes(&kept), MediaTime(0));
        Mux {
            kept,
            init,
            carver: Carver::default(),
            last_dts: MediaTime(0),
        }
    }

    /// File header, onMetaData and sequence headers: what each viewer is given first.
    pub fn init(&self) -> Unit {
        self.init.clone()
    }

    /// Always [`MIME`].
    pub fn mime(&self) -> &str {
        MIME
    }

    /// Appends the tag of a frame. Frames of tracks that are not in the rendition are ignored.
    pub fn push(&mut self, frame: &Frame, out: &mut Vec<Unit>) {
        let Some(track) = self.kept.get(frame.track) else {
            return;
        };
        if frame.payload.len() > limits::FLV_FRAME_BYTES_MAX {
            return;
        }
        let codec = track.codec;
        let mut header = CodecHeader::default();
        header.coded(codec, frame);
        let (head, tail, ws_header_len) = self.carve(codec, &header, frame);
        self.last_dts = self.last_dts.max(frame.dts);
        out.push(Unit {
            ws_header_len,
            head,
            body: frame.payload.clone(),
            tail,
            key: self.kept.starts_at(frame),
            dts: frame.dts,
        });
    }

    /// Takes new tracks. If they differ, `init` is new, and a unit with their metadata and sequence headers is appended
    /// for the viewers there are. Returns whether they differed.
    pub fn set_tracks(&mut self, tracks: &[Track], out: &mut Vec<Unit>) -> bool {
        let kept = Kept::of(tracks, holds);
        if kept == self.kept {
            return false;
        }
        self.kept = kept;
        self.init = whole(&init_bytes(&self.kept), MediaTime(0));
        let mut tags = Vec::new();
        put_setup(&mut tags, &self.kept, timestamp_ms(self.last_dts));
        if !tags.is_empty() {
            out.push(whole(&tags, self.last_dts));
        }
        true
    }

    fn carve(&mut self, codec: Codec, header: &CodecHeader, frame: &Frame) -> (Bytes, Bytes, u8) {
        let data_len = header.len + frame.payload.len();
        let tag_len = TAG_HEADER_BYTES + data_len;
        let buf = self.carver.room(
            WS_HEADER_BYTES_MAX + TAG_HEADER_BYTES + CODEC_HEADER_BYTES_MAX + size_of::<u32>(),
        );
        let ws_header_len = put_ws_header(buf, tag_len + size_of::<u32>());
        let kind = if codec.is_video() {
            TAG_VIDEO
        } else {
            TAG_AUDIO
        };
        put_tag_header(buf, kind, data_len, timestamp_ms(frame.dts));
        buf.put_slice(&header.bytes[..header.len]);
        let head = self.carver.cut();
        self.carver.room(size_of::<u32>()).put_u32(tag_len as u32);
        (head, self.carver.cut(), ws_header_len)
    }
}

fn holds(track: &Track) -> bool {
    match track.codec {
        Codec::H264 | Codec::H265 => decoder_config::record(track).is_some(),
        Codec::Aac | Codec::G711A | Codec::G711U => true,
        Codec::G722 | Codec::G726(_) | Codec::Opus => false,
    }
}

/// Decoding time in whole milliseconds, modulo 2^32, zero before the start.
fn timestamp_ms(dts: MediaTime) -> u32 {
    dts.as_ms().max(0) as u32
}

/// What stands between the tag header and the payload.
#[derive(Default)]
struct CodecHeader {
    bytes: [u8; CODEC_HEADER_BYTES_MAX],
    len: usize,
}

impl CodecHeader {
    fn put(&mut self, bytes: &[u8]) {
        self.bytes[self.len..self.len + bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len();
    }

    /// For a frame. Composition time is the difference of the rounded times, so that presentation does not jitter.
    fn coded(&mut self, codec: Codec, frame: &Frame) {
        let composition_ms = (frame.pts.as_ms() - frame.dts.as_ms()).clamp(0, 0x7f_ffff) as u32;
        let composition = &composition_ms.to_be_bytes()[1..];
        let kind = if frame.key { 1 } else { 2 };
        match codec {
            Codec::H264 => {
                self.put(&[kind << 4 | 7, 1]);
                self.put(composition);
            }
            Codec::H265 => {
                const CODED_FRAMES: u8 = 1;
                const CODED_FRAMES_X: u8 = 3;
                let packet = if composition_ms == 0 {
                    CODED_FRAMES_X
                } else {
                    CODED_FRAMES
                };
                self.put(&[0x80 | kind << 4 | packet]);
                self.put(&FOURCC_HEVC);
                if composition_ms != 0 {
                    self.put(composition);
                }
            }
            Codec::Aac => self.put(&[AAC_FLAGS, 1]),
            Codec::G711A => self.put(&[0x72]),
            Codec::G711U => self.put(&[0x82]),
            Codec::G722 | Codec::G726(_) | Codec::Opus => {}
        }
    }
}

/// Codec 10, "44 kHz", 16 bits, stereo: the values that E.4.2.1 fixes for AAC whatever the stream is.
const AAC_FLAGS: u8 = 0xaf;

fn put_tag_header(out: &mut impl BufMut, kind: u8, data_len: usize, timestamp: u32) {
    out.put_u8(kind);
    out.put_uint(data_len as u64, 3);
    out.put_uint(u64::from(timestamp & 0xff_ffff), 3);
    out.put_u8((timestamp >> 24) as u8);
    out.put_uint(0, 3);
}

fn put_tag(out: &mut Vec<u8>, kind: u8, timestamp: u32, data: &[u8]) {
    put_tag_header(out, kind, data.len(), timestamp);
    out.extend_from_slice(data);
    out.put_u32((TAG_HEADER_BYTES + data.len()) as u32);
}

fn init_bytes(kept: &Kept) -> Vec<u8> {
    let flags = u8::from(kept.audio.is_some()) << 2 | u8::from(kept.video.is_some());
    let mut out = b"FLV\x01".to_vec();
    out.push(flags);
    out.extend_from_slice(&[0, 0, 0, 9, 0, 0, 0, 0]);
    put_setup(&mut out, kept, 0);
    out
}

/// onMetaData and sequence headers.
fn put_setup(out: &mut Vec<u8>, kept: &Kept, timestamp: u32) {
    if kept.video.is_none() && kept.audio.is_none() {
        return;
    }
    put_tag(out, TAG_SCRIPT, timestamp, &metadata(kept));
    for track in kept.iter() {
        let mut data = Vec::new();
        match track.codec {
            Codec::H264 => data.extend_from_slice(&[0x17, 0, 0, 0, 0]),
            Codec::H265 => {
                data.push(0x90);
                data.extend_from_slice(&FOURCC_HEVC);
            }
            Codec::Aac => data.extend_from_slice(&[AAC_FLAGS, 0]),
            Codec::G711A | Codec::G711U | Codec::G722 | Codec::G726(_) | Codec::Opus => continue,
        }
        let kind = match &*track.params {
            Params::Video(_) => {
                data.extend_from_slice(&decoder_config::record(track).unwrap_or_default());
                TAG_VIDEO
            }
            Params::Audio(params) => {
                data.extend_from_slice(&params.config);
                TAG_AUDIO
            }
        };
        put_tag(out, kind, timestamp, &data);
    }
}

/// The script data of onMetaData: an AMF0 string and an ECMA array (annex E.4.4, E.5).
fn metadata(kept: &Kept) -> Vec<u8> {
    let mut fields: Vec<(&str, f64)> = Vec::with_capacity(8);
    if let Some((track, video)) = kept.video.as_ref().and_then(|t| Some((t, t.video()?))) {
        fields.push(("width", f64::from(video.width)));
        fields.push(("height", f64::from(video.height)));
        if let Some(fps_milli) = video.fps_milli {
            fields.push(("framerate", f64::from(fps_milli) / 1000.0));
        }
        fields.push(("videocodecid", codec_number(track.codec)));
    }
    if let Some((track, audio)) = kept.audio.as_ref().and_then(|t| Some((t, t.audio()?))) {
        fields.push(("audiocodecid", codec_number(track.codec)));
        fields.push(("audiosamplerate", f64::from(audio.sample_rate)));
        fields.push(("audiosamplesize", 16.0));
    }
    let mut out = Vec::with_capacity(256);
    const AMF_NUMBER: u8 = 0;
    const AMF_STRING: u8 = 2;
    const AMF_ECMA_ARRAY: u8 = 8;
    out.push(AMF_STRING);
    put_amf_text(&mut out, "onMetaData");
    out.push(AMF_ECMA_ARRAY);
    out.put_u32(fields.len() as u32);
    for (name, value) in fields {
        put_amf_text(&mut out, name);
        out.push(AMF_NUMBER);
        out.put_f64(value);
    }
    out.extend_from_slice(&[0, 0, 9]);
    out
}

fn put_amf_text(out: &mut Vec<u8>, text: &str) {
    out.put_u16(text.len() as u16);
    out.extend_from_slice(text.as_bytes());
}

/// CodecID and SoundFormat; for enhanced video the FourCC as a number.
fn codec_number(codec: Codec) -> f64 {
    match codec {
        Codec::H264 => 7.0,
        Codec::H265 => f64::from(u32::from_be_bytes(FOURCC_HEVC)),
        Codec::Aac => 10.0,
        Codec::G711A => 7.0,
        Codec::G711U => 8.0,
        // No number is theirs: a rendition never holds them.
        Codec::G722 | Codec::G726(_) => 0.0,
        Codec::Opus => f64::from(u32::from_be_bytes(*b"Opus")),
    }
}
