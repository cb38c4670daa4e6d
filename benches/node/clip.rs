//! The stream that the benches carry: H.264 720p at 25 pictures a second, a key frame every two seconds, 2.0 Mbit/s, with
//! G.711A beside it in pieces of 40 ms. Cut into packets of 1,400 bytes it has about 216 of them a second.
//!
//! The simulator's clip gives parameter sets and the beginning of every slice; the slices are filled up to the sizes of a
//! 2 Mbit/s camera with bytes that an entropy coder could have made. A node cannot tell, as nothing on its way decodes.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use gantry::media::codec::{annexb, g711};
use gantry::media::frame::{Codec, Frame, Params, Track, TrackId, VideoParams};
use gantry::time::{MediaTime, TICKS_PER_SECOND};

/// Pictures from one key frame to the next.
pub const GROUP: usize = 50;
/// Pictures a second, and pieces of sound.
pub const RATE: usize = 25;
/// Ticks from one picture, or piece of sound, to the next.
const STEP: i64 = TICKS_PER_SECOND / RATE as i64;
const KEY_BYTES: usize = 90_000;
const OTHER_BYTES: usize = 8_000;
/// Sizes of the other pictures go from [`OTHER_BYTES`] less half of this to as much more.
const OTHER_SPREAD: usize = 3_000;
const SOUND_BYTES: usize = 320;

const PICTURES: &[u8] = include_bytes!("../../src/sim/clips/yard.h264");
const SOUND: &[u8] = include_bytes!("../../src/sim/clips/melody.alaw");

/// Tracks and frames in order of time; the sound of a moment lies half a picture behind it.
pub struct Clip {
    pub video: Track,
    pub audio: Track,
    pub frames: Vec<Frame>,
}

impl Clip {
    /// `seconds`: a multiple of two, so that groups of pictures are whole.
    pub fn new(seconds: usize) -> Clip {
        let mut params = VideoParams {
            width: 1280,
            height: 720,
            ..VideoParams::default()
        };
        let (mut keys, mut others) = (Vec::new(), Vec::new());
        for nal in annexb::nals(PICTURES) {
            match nal[0] & 0x1f {
                7 => params.sps = Bytes::from_static(nal),
                8 => params.pps = Bytes::from_static(nal),
                5 => keys.push(nal),
                1 => others.push(nal),
                _ => {}
            }
        }
        let video = Track {
            id: TrackId::Video,
            codec: Codec::H264,
            params: Arc::new(Params::Video(params)),
        };
        let mut seed = 0x1234_5678_9abc_def1;
        let received = Instant::now();
        let mut frames = Vec::with_capacity(2 * seconds * RATE);
        let sounds: Vec<&'static [u8]> = SOUND.chunks_exact(SOUND_BYTES).collect();
        for n in 0..seconds * RATE {
            let key = n % GROUP == 0;
            let (slice, len) = if key {
                (keys[n / GROUP % keys.len()], KEY_BYTES)
            } else {
                let len = OTHER_BYTES - OTHER_SPREAD / 2 + n * 7919 % OTHER_SPREAD;
                (others[n % others.len()], len)
            };
            let time = n as i64 * STEP;
            let frame = |track, time, key, payload| Frame {
                track,
                dts: MediaTime(time),
                pts: MediaTime(time),
                key,
                damaged: false,
                payload,
                received,
            };
            let picture = canonical(slice, len, &mut seed);
            frames.push(frame(TrackId::Video, time, key, picture));
            let sound = Bytes::from_static(sounds[n % sounds.len()]);
            frames.push(frame(TrackId::Audio, time + STEP / 2, true, sound));
        }
        Clip {
            video,
            audio: g711::track(Codec::G711A),
            frames,
        }
    }
}

/// A slice filled up to `len` bytes, behind its length.
fn canonical(slice: &[u8], len: usize, seed: &mut u64) -> Bytes {
    let mut out = Vec::with_capacity(4 + len.max(slice.len()));
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(slice);
    while out.len() < 4 + len {
        *seed ^= *seed << 13;
        *seed ^= *seed >> 7;
        *seed ^= *seed << 17;
        let byte = (*seed >> 24) as u8;
        // No start code may come about.
        let zeros = out.ends_with(&[0, 0]);
        out.push(if zeros && byte <= 3 { 9 } else { byte });
    }
    let nal_len = out.len() as u32 - 4;
    out[..4].copy_from_slice(&nal_len.to_be_bytes());
    out.into()
}
