//! A clip ready to be sent: each frame as its piece of program stream, muxed once, with the places of its clocks, so that
//! a stream only has to add its own time.
//!
//! ISO/IEC 13818-1, 2.5.3.3 (system clock reference of a pack), 2.4.3.6 (PTS and DTS of a PES packet).

use crate::media::frame::Codec;
use crate::media::ps::mux::Mux;
use crate::media::ps::{is_audio, is_video, read_time, write_time};

use super::clip::{self, Clip};

const YARD: &[u8] = include_bytes!("clips/yard.h264");
const GATE: &[u8] = include_bytes!("clips/gate.h264");
const HALL: &[u8] = include_bytes!("clips/hall.h265");
const A_LAW: &[u8] = include_bytes!("clips/melody.alaw");
const AAC: &[u8] = include_bytes!("clips/melody.aac");

/// What a camera shows: 1280x720, 25 pictures and one key frame a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, clap::ValueEnum)]
pub enum Picture {
    /// H.264 High, about 1.2 Mbit/s.
    Yard,
    /// H.264 Main, about 0.6 Mbit/s.
    Gate,
    /// H.265 Main, about 0.9 Mbit/s.
    Hall,
}

/// What a camera sounds like: a scale.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, clap::ValueEnum)]
pub enum Sound {
    /// G.711 A-law, 8 kHz.
    G711a,
    /// AAC-LC, 16 kHz.
    Aac,
    None,
}

impl Picture {
    pub fn codec(self) -> Codec {
        match self {
            Picture::Yard | Picture::Gate => Codec::H264,
            Picture::Hall => Codec::H265,
        }
    }

    fn clip(self) -> Clip {
        let stream = match self {
            Picture::Yard => YARD,
            Picture::Gate => GATE,
            Picture::Hall => HALL,
        };
        clip::pictures(self.codec(), stream)
    }
}

impl Sound {
    fn clip(self) -> Option<Clip> {
        match self {
            Sound::G711a => Some(clip::a_law(A_LAW)),
            Sound::Aac => Some(clip::aac(AAC)),
            Sound::None => None,
        }
    }
}

/// One frame as program stream.
#[derive(Clone, Debug)]
pub(super) struct Piece {
    pub bytes: Vec<u8>,
    pub key: bool,
    clocks: Vec<Clock>,
    /// Where the first PES packet begins.
    body: usize,
}

/// A clock in a piece, by the offset of its first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Clock {
    /// Six bytes of a pack header.
    Reference(usize),
    /// Five bytes of a PES header.
    Stamp(usize),
}

/// Frames of one track, in a loop.
#[derive(Clone, Debug)]
pub(super) struct Loop {
    pub pieces: Vec<Piece>,
    /// Ticks from one frame to the next.
    pub step: i64,
}

/// Picture and sound of a camera.
#[derive(Clone, Debug)]
pub(super) struct Reel {
    pub picture: Loop,
    pub sound: Option<Loop>,
}

impl Reel {
    pub fn new(picture: Picture, sound: Sound) -> Reel {
        let picture = picture.clip();
        let sound = sound.clip();
        let mut mux = Mux::new(Some(&picture.track), sound.as_ref().map(|s| &s.track));
        let mut looped = |clip: &Clip| Loop {
            pieces: clip
                .frames
                .iter()
                .map(|frame| {
                    let mut bytes = Vec::new();
                    mux.push(frame, &mut bytes);
                    Piece::new(frame.key, bytes)
                })
                .collect(),
            step: clip.step,
        };
        Reel {
            picture: looped(&picture),
            sound: sound.as_ref().map(looped),
        }
    }
}

impl Loop {
    /// The frame in place `n`, counted through all rounds.
    pub fn piece(&self, n: u64) -> &Piece {
        &self.pieces[(n % self.pieces.len() as u64) as usize]
    }
}

impl Piece {
    fn new(key: bool, bytes: Vec<u8>) -> Piece {
        let clocks = clocks(&bytes);
        let first_stamp = clocks.iter().find_map(|clock| match *clock {
            Clock::Reference(_) => None,
            Clock::Stamp(at) => Some(at),
        });
        Piece {
            // The stamp stands behind nine bytes of its packet.
            body: first_stamp.map_or(bytes.len(), |at| at - 9),
            bytes,
            key,
            clocks,
        }
    }

    /// What stands before the frame itself: pack header, and on key frames system header and map.
    pub fn without_frame(&self) -> Piece {
        let body = self.body;
        let within = |clock: &Clock| match *clock {
            Clock::Reference(at) | Clock::Stamp(at) => at < body,
        };
        Piece {
            bytes: self.bytes[..body].to_vec(),
            key: false,
            clocks: self.clocks.iter().copied().filter(within).collect(),
            body,
        }
    }

    /// Sets the clocks of this piece to `time` (33 bits of ticks) where it was copied to: `place` says where a byte of the
    /// piece stands in `out`.
    pub fn set_clocks(&self, time: u64, out: &mut [u8], place: impl Fn(usize) -> usize) {
        for clock in &self.clocks {
            match *clock {
                Clock::Reference(at) => {
                    for (n, byte) in reference(time).into_iter().enumerate() {
                        out[place(at + n)] = byte;
                    }
                }
                Clock::Stamp(at) => {
                    let prefix = self.bytes[at] >> 4;
                    for (n, byte) in write_time(prefix, time).into_iter().enumerate() {
                        out[place(at + n)] = byte;
                    }
                }
            }
        }
    }
}

/// System clock reference of `time` ticks with extension 0 (table 2-39).
fn reference(time: u64) -> [u8; 6] {
    [
        0x44 | (time >> 27) as u8 & 0x38 | (time >> 28) as u8 & 3,
        (time >> 20) as u8,
        (time >> 12) as u8 & 0xf8 | 4 | (time >> 13) as u8 & 3,
        (time >> 5) as u8,
        (time << 3) as u8 | 4,
        1,
    ]
}

/// Finds the clocks in a piece that our muxer wrote. All of them say the same time: there are no B-frames in the clips.
fn clocks(bytes: &[u8]) -> Vec<Clock> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(&[0, 0, 1, id]) = bytes[at..].first_chunk::<4>() {
        if id == 0xba {
            found.push(Clock::Reference(at + 4));
            at += 14 + usize::from(bytes[at + 13] & 7);
            continue;
        }
        if is_video(id) || is_audio(id) {
            let flags = bytes[at + 7] >> 6;
            let stamps = usize::from(flags & 2 != 0) + usize::from(flags & 1 != 0);
            found.extend((0..stamps).map(|n| Clock::Stamp(at + 9 + 5 * n)));
        }
        at += 6 + usize::from(u16::from_be_bytes([bytes[at + 4], bytes[at + 5]]));
    }
    assert_eq!(at, bytes.len(), "the muxer writes whole packets");
    let same = |clock: &Clock| match *clock {
        Clock::Reference(_) => true,
        Clock::Stamp(at) => {
            let stamp = bytes[at..].first_chunk().map(read_time);
            let first = found.iter().find_map(|c| match *c {
                Clock::Stamp(first) => bytes[first..].first_chunk().map(read_time),
                Clock::Reference(_) => None,
            });
            stamp == first
        }
    };
    assert!(found.iter().all(same), "a clip has no B-frames");
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clips_are_what_they_claim() {
        for (picture, sound) in [
            (Picture::Yard, Sound::G711a),
            (Picture::Gate, Sound::None),
            (Picture::Hall, Sound::Aac),
        ] {
            let reel = Reel::new(picture, sound);
            assert_eq!(reel.picture.pieces.len(), 125, "five seconds");
            let keys = reel.picture.pieces.iter().map(|p| p.key);
            assert!(keys.eq((0..125).map(|n| n % 25 == 0)), "one a second");
            let clip = picture.clip();
            let video = clip.track.video().expect("a picture");
            assert_eq!((video.width, video.height), (1280, 720));
            assert_eq!(video.fps_milli, Some(25_000));
            let (count, step) = match sound {
                Sound::G711a => (125, 3_600),
                Sound::Aac => (80, 5_760),
                Sound::None => (0, 0),
            };
            let looped = reel.sound.map_or((0, 0), |s| (s.pieces.len(), s.step));
            assert_eq!(looped, (count, step));
        }
    }

    #[test]
    fn every_clock_of_a_piece_is_set() {
        let reel = Reel::new(Picture::Yard, Sound::G711a);
        for (n, piece) in (0..).zip(&reel.picture.pieces) {
            let stamps = piece.clocks.iter();
            assert_eq!(stamps.filter(|c| matches!(c, Clock::Stamp(_))).count(), 1);
            let mut out = piece.bytes.clone();
            // Set to what it says, a piece does not change; so the clocks are found and written as the muxer does.
            piece.set_clocks(n * reel.picture.step as u64, &mut out, |at| at);
            assert_eq!(out, piece.bytes);
            let time = (1 << 33) - 5;
            piece.set_clocks(time, &mut out, |at| at);
            assert_eq!(clocks(&out), piece.clocks);
            assert_ne!(out, piece.bytes);
            let Some(Clock::Stamp(at)) = piece.clocks.iter().find(|c| matches!(c, Clock::Stamp(_)))
            else {
                panic!("a stamp")
            };
            assert_eq!(out[*at..].first_chunk().map(read_time), Some(time));
        }
    }
}
