//! Frames to viewers: a folder or file a protocol. Nothing here owns a socket.
//!
//! A *rendition* is a stream muxed in one form, once, for all its viewers; a [`Unit`] is a piece of it that any viewer can
//! be given. Encryption is the only work done per viewer.
//!
//! What a unit costs beside the payload, which it shares with the hub: 18 to 33 bytes of head and tail in FLV, 116 or 122
//! in fMP4, cut from one buffer; no allocation of its own.

mod decoder_config;
pub mod fan;
pub mod flv;
pub mod fmp4;
pub mod rtp;
pub mod unit;
pub mod webrtc;
pub mod websocket;

pub use unit::{AudioPolicy, Unit};

use crate::media::frame::{Codec, Frame, Track, TrackId};

/// A way in which a viewer can be given a stream. Routes, listings and metrics follow from [`PROTOCOLS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Protocol {
    pub name: &'static str,
    /// What stands before the stream's name in a URL.
    pub prefix: &'static str,
    /// What stands after it.
    pub suffix: &'static str,
    /// The Content-Type of its answer.
    pub mime: &'static str,
    pub transports: &'static [Transport],
    /// The muxer, for those that are made of units.
    pub form: Option<Form>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    Http,
    WebSocket,
    WebRtc,
}

pub static PROTOCOLS: [Protocol; 3] = [
    Protocol {
        name: "flv",
        prefix: "/live/",
        suffix: ".flv",
        mime: flv::MIME,
        transports: &[Transport::Http, Transport::WebSocket],
        form: Some(Form::Flv),
    },
    Protocol {
        name: "fmp4",
        prefix: "/live/",
        suffix: ".mp4",
        mime: fmp4::MIME,
        transports: &[Transport::Http, Transport::WebSocket],
        form: Some(Form::Fmp4),
    },
    Protocol {
        name: "webrtc",
        prefix: "/whep/",
        suffix: "",
        mime: "application/sdp",
        transports: &[Transport::WebRtc],
        form: None,
    },
];

/// The protocol that a URL path names, and the stream's part of the path: `/live/cam.flv` is `flv` and `cam`.
pub fn protocol_of_path(path: &str) -> Option<(&'static Protocol, &str)> {
    PROTOCOLS.iter().find_map(|protocol| {
        let stream = path
            .strip_prefix(protocol.prefix)?
            .strip_suffix(protocol.suffix)?;
        (!stream.is_empty()).then_some((protocol, stream))
    })
}

/// How a rendition is muxed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Form {
    Flv,
    Fmp4,
}

/// What becomes of a sound track on its way into a rendition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Sound {
    Drop,
    AsIs,
    /// Through one [`crate::media::transcode::AudioTranscoder`] per stream and codec, shared by all renditions.
    As(Codec),
}

impl Form {
    pub const ALL: [Form; 2] = [Form::Flv, Form::Fmp4];

    /// The Content-Type of its answer.
    pub fn mime(self) -> &'static str {
        match self {
            Form::Flv => flv::MIME,
            Form::Fmp4 => fmp4::MIME,
        }
    }

    /// What to do with sound of `codec` under `policy`.
    pub fn sound(self, policy: AudioPolicy, codec: Codec) -> Sound {
        let (playable, copy) = match codec {
            Codec::Aac => (Sound::AsIs, Sound::AsIs),
            Codec::G711A | Codec::G711U => (Sound::As(Codec::Aac), Sound::AsIs),
            Codec::G722 | Codec::G726(_) => (Sound::As(Codec::Aac), Sound::Drop),
            Codec::Opus | Codec::H264 | Codec::H265 => (Sound::Drop, Sound::Drop),
        };
        match policy {
            AudioPolicy::Playable => playable,
            AudioPolicy::Copy => copy,
            AudioPolicy::None => Sound::Drop,
        }
    }
}

/// Muxer of one rendition, by form.
#[derive(Debug)]
pub enum Mux {
    Flv(flv::Mux),
    Fmp4(fmp4::Mux),
}

impl Mux {
    /// `tracks`: what is to be in the rendition, so after [`Form::sound`]: none, as is, or the transcoder's track. Those
    /// that the form cannot hold are left out.
    pub fn new(form: Form, tracks: &[Track]) -> Mux {
        match form {
            Form::Flv => Mux::Flv(flv::Mux::new(tracks)),
            Form::Fmp4 => Mux::Fmp4(fmp4::Mux::new(tracks)),
        }
    }

    /// What each viewer is given first, all of it in `head`. Holds until `set_tracks` returns true.
    pub fn init(&self) -> Unit {
        match self {
            Mux::Flv(mux) => mux.init(),
            Mux::Fmp4(mux) => mux.init(),
        }
    }

    /// The type with its codecs, as `MediaSource.isTypeSupported` takes it.
    pub fn mime(&self) -> &str {
        match self {
            Mux::Flv(mux) => mux.mime(),
            Mux::Fmp4(mux) => mux.mime(),
        }
    }

    /// Appends the unit of a frame; none if its track is not in the rendition.
    pub fn push(&mut self, frame: &Frame, out: &mut Vec<Unit>) {
        match self {
            Mux::Flv(mux) => mux.push(frame, out),
            Mux::Fmp4(mux) => mux.push(frame, out),
        }
    }

    /// Takes the tracks as they are from now on. If they differ: `init` is new, a unit that tells running viewers is
    /// appended, and true is returned.
    pub fn set_tracks(&mut self, tracks: &[Track], out: &mut Vec<Unit>) -> bool {
        match self {
            Mux::Flv(mux) => mux.set_tracks(tracks, out),
            Mux::Fmp4(mux) => mux.set_tracks(tracks, out),
        }
    }
}

/// The tracks of a rendition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Kept {
    video: Option<Track>,
    audio: Option<Track>,
}

impl Kept {
    /// Of several tracks with one id the last counts.
    fn of(tracks: &[Track], holds: fn(&Track) -> bool) -> Kept {
        let mut kept = Kept::default();
        for track in tracks.iter().filter(|t| holds(t)) {
            match track.id {
                TrackId::Video => kept.video = Some(track.clone()),
                TrackId::Audio => kept.audio = Some(track.clone()),
            }
        }
        kept
    }

    fn get(&self, id: TrackId) -> Option<&Track> {
        match id {
            TrackId::Video => self.video.as_ref(),
            TrackId::Audio => self.audio.as_ref(),
        }
    }

    fn iter(&self) -> impl Iterator<Item = &Track> {
        self.video.iter().chain(&self.audio)
    }

    /// Whether a viewer can start at this frame: sound alone only where there is no picture to wait for.
    fn starts_at(&self, frame: &Frame) -> bool {
        match frame.track {
            TrackId::Video => frame.key,
            TrackId::Audio => self.video.is_none(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_names_its_protocol() {
        let of = |path| protocol_of_path(path).map(|(p, stream)| (p.name, stream));
        assert_eq!(of("/live/PU_1/0.flv"), Some(("flv", "PU_1/0")));
        assert_eq!(of("/live/cam.mp4"), Some(("fmp4", "cam")));
        assert_eq!(of("/whep/cam"), Some(("webrtc", "cam")));
        assert_eq!(of("/live/.flv"), None);
        assert_eq!(of("/live/cam"), None);
        assert_eq!(of("/other/cam.flv"), None);
    }

    #[test]
    fn g711_is_made_playable_unless_it_is_asked_for() {
        for form in Form::ALL {
            assert_eq!(
                form.sound(AudioPolicy::Playable, Codec::G711A),
                Sound::As(Codec::Aac)
            );
            assert_eq!(form.sound(AudioPolicy::Copy, Codec::G711A), Sound::AsIs);
            assert_eq!(form.sound(AudioPolicy::None, Codec::Aac), Sound::Drop);
            assert_eq!(form.sound(AudioPolicy::Playable, Codec::Aac), Sound::AsIs);
        }
    }
}
