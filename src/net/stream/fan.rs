//! A muxed rendition of a stream, and how long its pieces wait for company.

use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::egress::fan::UnitRing;
use crate::egress::{AudioPolicy, Form, Mux, Sound, Unit};
use crate::id::StreamId;
use crate::media::frame::Track;

/// Which rendition of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::net) struct FanKey {
    pub stream: StreamId,
    pub form: Form,
    pub audio: AudioPolicy,
}

/// A rendition as its media thread holds it. On another thread than the stream's it is a mirror: fed units, not frames.
pub(in crate::net) struct Fan {
    pub key: FanKey,
    pub init: Unit,
    /// What the last viewer was given before its first unit, shared with the next if that is given the same.
    pub preface: Option<Bytes>,
    pub ring: UnitRing,
    /// Keys of viewers in the shard.
    pub viewers: Vec<usize>,
    pub flush_at: Option<Instant>,
    /// The muxer, where the stream is at home.
    pub(super) mux: Option<Mux>,
    /// Viewers on each other shard.
    pub mirrors: Vec<u32>,
    /// Units up to here were given to the mirrors.
    pub mirrored: u64,
    /// `init` changed since it was given to the mirrors.
    pub init_changed: bool,
}

impl Fan {
    pub fn mirror(key: FanKey, init: Unit, ring_bytes_max: usize) -> Self {
        Fan {
            key,
            init,
            preface: None,
            ring: UnitRing::new(ring_bytes_max),
            viewers: Vec::new(),
            flush_at: None,
            mux: None,
            mirrors: Vec::new(),
            mirrored: 0,
            init_changed: false,
        }
    }

    pub fn is_mirrored(&self) -> bool {
        self.mirrors.iter().any(|n| *n > 0)
    }

    pub fn append(&mut self, units: &mut Vec<Unit>, now: Instant, hold: Duration) {
        if units.is_empty() {
            return;
        }
        for unit in units.drain(..) {
            self.ring.push(unit);
        }
        if self.flush_at.is_none() {
            self.flush_at = Some(now + hold);
        }
    }

    /// Which sound of the stream goes into it.
    pub(super) fn sound(&self, audio: Option<&Track>) -> Sound {
        audio.map_or(Sound::Drop, |track| {
            self.key.form.sound(self.key.audio, track.codec)
        })
    }
}

/// How long pieces may wait for others to be written with them.
#[derive(Clone, Copy, Debug)]
pub(in crate::net) struct Holds {
    pub flv: Duration,
    pub fmp4: Duration,
    pub rtp: Duration,
}

impl Holds {
    pub fn of(&self, form: Form) -> Duration {
        match form {
            Form::Flv => self.flv,
            Form::Fmp4 => self.fmp4,
        }
    }
}
