//! The initialisation segment: `ftyp` and `moov` (ISO/IEC 14496-12, 4.3, 8.2 to 8.5, 8.8.1 to 8.8.3).
//!
//! Sample entries: `avc1` and `hvc1` (ISO/IEC 14496-15), `mp4a` with `esds` (ISO/IEC 14496-14, 5.6), `alaw` and `ulaw`
//! (QuickTime File Format), which players other than browsers read.

use bytes::BufMut;

use super::super::{Kept, decoder_config};
use crate::media::frame::{AudioParams, Codec, Params, Track, TrackId, VideoParams};
use crate::time::TICKS_PER_SECOND;

/// The unity matrix of `mvhd` and `tkhd`.
const MATRIX: [u32; 9] = [0x1_0000, 0, 0, 0, 0x1_0000, 0, 0, 0, 0x4000_0000];

/// `track_ID`: picture 1, sound 2, in every rendition.
pub(super) fn track_number(id: TrackId) -> u32 {
    match id {
        TrackId::Video => 1,
        TrackId::Audio => 2,
    }
}

/// `ftyp` and `moov`. `moov` has no samples; `mvex` announces fragments.
pub(super) fn init(kept: &Kept) -> Vec<u8> {
    let mut out = Vec::with_capacity(1500);
    boxed(&mut out, b"ftyp", |out| {
        out.put_slice(b"iso5");
        out.put_u32(0x200);
        out.put_slice(b"iso5iso6mp41");
    });
    boxed(&mut out, b"moov", |out| {
        full_box(out, b"mvhd", 0, 0, |out| {
            put_u32s(out, &[0, 0, 1000, 0, 0x1_0000]);
            out.put_u16(0x100);
            out.put_u16(0);
            put_u32s(out, &[0, 0]);
            put_u32s(out, &MATRIX);
            put_u32s(out, &[0; 6]);
            out.put_u32(3);
        });
        for track in kept.iter() {
            trak(out, track);
        }
        boxed(out, b"mvex", |out| {
            for track in kept.iter() {
                full_box(out, b"trex", 0, 0, |out| {
                    put_u32s(out, &[track_number(track.id), 1, 0, 0, 0]);
                });
            }
        });
    });
    out
}

fn trak(out: &mut Vec<u8>, track: &Track) {
    const ENABLED_IN_MOVIE: u32 = 3;
    let (timescale, volume, width, height) = match &*track.params {
        Params::Video(v) => (TICKS_PER_SECOND as u32, 0, v.width, v.height),
        Params::Audio(a) => (a.sample_rate, 0x100, 0, 0),
    };
    boxed(out, b"trak", |out| {
        full_box(out, b"tkhd", 0, ENABLED_IN_MOVIE, |out| {
            put_u32s(out, &[0, 0, track_number(track.id), 0, 0]);
            put_u32s(out, &[0, 0]);
            out.put_u16(0);
            out.put_u16(0);
            out.put_u16(volume);
            out.put_u16(0);
            put_u32s(out, &MATRIX);
            put_u32s(out, &[width << 16, height << 16]);
        });
        boxed(out, b"mdia", |out| {
            const UNDETERMINED: u16 = 0x55c4;
            full_box(out, b"mdhd", 0, 0, |out| {
                put_u32s(out, &[0, 0, timescale, 0]);
                out.put_u16(UNDETERMINED);
                out.put_u16(0);
            });
            let handler: &[u8; 4] = match &*track.params {
                Params::Video(_) => b"vide",
                Params::Audio(_) => b"soun",
            };
            full_box(out, b"hdlr", 0, 0, |out| {
                out.put_u32(0);
                out.put_slice(handler);
                put_u32s(out, &[0; 3]);
                out.put_slice(b"gantry\0");
            });
            boxed(out, b"minf", |out| minf(out, track));
        });
    });
}

fn minf(out: &mut Vec<u8>, track: &Track) {
    match &*track.params {
        Params::Video(_) => full_box(out, b"vmhd", 0, 1, |out| out.put_u64(0)),
        Params::Audio(_) => full_box(out, b"smhd", 0, 0, |out| out.put_u32(0)),
    }
    boxed(out, b"dinf", |out| {
        full_box(out, b"dref", 0, 0, |out| {
            const IN_THIS_FILE: u32 = 1;
            out.put_u32(1);
            full_box(out, b"url ", 0, IN_THIS_FILE, |_| {});
        });
    });
    boxed(out, b"stbl", |out| {
        full_box(out, b"stsd", 0, 0, |out| {
            out.put_u32(1);
            match &*track.params {
                Params::Video(params) => video_entry(out, track, params),
                Params::Audio(params) => audio_entry(out, track, params),
            }
        });
        full_box(out, b"stts", 0, 0, |out| out.put_u32(0));
        full_box(out, b"stsc", 0, 0, |out| out.put_u32(0));
        full_box(out, b"stsz", 0, 0, |out| out.put_u64(0));
        full_box(out, b"stco", 0, 0, |out| out.put_u32(0));
    });
}

fn video_entry(out: &mut Vec<u8>, track: &Track, params: &VideoParams) {
    let (entry, config): (&[u8; 4], &[u8; 4]) = match track.codec {
        Codec::H265 => (b"hvc1", b"hvcC"),
        Codec::H264
        | Codec::Aac
        | Codec::G711A
        | Codec::G711U
        | Codec::G722
        | Codec::G726(_)
        | Codec::Opus => (b"avc1", b"avcC"),
    };
    boxed(out, entry, |out| {
        out.put_slice(&[0; 6]);
        out.put_u16(1);
        out.put_slice(&[0; 16]);
        out.put_u16(params.width as u16);
        out.put_u16(params.height as u16);
        put_u32s(out, &[0x48_0000, 0x48_0000, 0]);
        out.put_u16(1);
        out.put_slice(&[0; 32]);
        out.put_u16(24);
        out.put_u16(0xffff);
        boxed(out, config, |out| {
            out.put_slice(&decoder_config::record(track).unwrap_or_default());
        });
    });
}

fn audio_entry(out: &mut Vec<u8>, track: &Track, params: &AudioParams) {
    let entry: &[u8; 4] = match track.codec {
        Codec::G711A => b"alaw",
        Codec::G711U => b"ulaw",
        Codec::Aac | Codec::H264 | Codec::H265 | Codec::G722 | Codec::G726(_) | Codec::Opus => {
            b"mp4a"
        }
    };
    boxed(out, entry, |out| {
        out.put_slice(&[0; 6]);
        out.put_u16(1);
        out.put_u64(0);
        out.put_u16(u16::from(params.channels));
        out.put_u16(16);
        out.put_u32(0);
        // 16.16: rates from 65,536 on are told by the decoder's configuration alone.
        out.put_u32(u16::try_from(params.sample_rate).map_or(0, u32::from) << 16);
        if track.codec == Codec::Aac {
            full_box(out, b"esds", 0, 0, |out| esds(out, &params.config));
        }
    });
}

/// ES_Descriptor (ISO/IEC 14496-1, 7.2.6.5).
fn esds(out: &mut Vec<u8>, config: &[u8]) {
    const ES: u8 = 3;
    const DECODER_CONFIG: u8 = 4;
    const DECODER_SPECIFIC: u8 = 5;
    const SYNC_LAYER: u8 = 6;
    const MPEG4_AUDIO: u8 = 0x40;
    const AUDIO_STREAM: u8 = 0x15;
    // An AudioSpecificConfig has some bytes; 64 is far beyond what LC and HE need, and keeps each length in one byte.
    let config = &config[..config.len().min(64)];
    let specific_len = config.len() as u8;
    let decoder_len = 13 + 2 + specific_len;
    out.put_u8(ES);
    out.put_u8(3 + 2 + decoder_len + 3);
    out.put_u16(0);
    out.put_u8(0);
    out.put_u8(DECODER_CONFIG);
    out.put_u8(decoder_len);
    out.put_slice(&[MPEG4_AUDIO, AUDIO_STREAM, 0, 0, 0]);
    put_u32s(out, &[0, 0]);
    out.put_u8(DECODER_SPECIFIC);
    out.put_u8(specific_len);
    out.put_slice(config);
    out.put_slice(&[SYNC_LAYER, 1, 2]);
}

fn boxed(out: &mut Vec<u8>, kind: &[u8; 4], content: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.put_u32(0);
    out.put_slice(kind);
    content(out);
    let len = (out.len() - start) as u32;
    out[start..start + 4].copy_from_slice(&len.to_be_bytes());
}

fn full_box(
    out: &mut Vec<u8>,
    kind: &[u8; 4],
    version: u8,
    flags: u32,
    content: impl FnOnce(&mut Vec<u8>),
) {
    boxed(out, kind, |out| {
        out.put_u32(u32::from(version) << 24 | flags);
        content(out);
    });
}

fn put_u32s(out: &mut Vec<u8>, values: &[u32]) {
    for value in values {
        out.put_u32(*value);
    }
}
