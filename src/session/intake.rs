//! What the session core is told of a stream, and whose a packet is that nobody expected: the decisions of a media thread that
//! need no socket. The media threads use them, and the simulated node of the tests does.
//!
//! Bounds: no memory but the tracks that were told.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::port::{IngestOptions, Progress};
use crate::gb28181::MediaTransport;
use crate::id::Ssrc;
use crate::limits;
use crate::media::frame::Track;
use crate::media::hub::Hub;
use crate::media::ingest::{self, Fact};

/// How the packets of a stream are read.
pub fn ingest_config(
    ssrc: Option<Ssrc>,
    transport: MediaTransport,
    options: &IngestOptions,
) -> ingest::Config {
    ingest::Config {
        ssrc,
        any_ssrc: options.any_ssrc,
        reliable: match transport {
            MediaTransport::Udp => false,
            MediaTransport::TcpPassive | MediaTransport::TcpActive => true,
        },
        maps: options.maps,
        pace: options.pace,
    }
}

/// What the session core wants to know of a fact. `has_picture`: as [`ingest::Ingest::has_picture`] says.
pub fn progress_of(fact: Fact, has_picture: Option<bool>) -> Option<Progress> {
    match fact {
        Fact::FirstRtp { .. } => Some(Progress::FirstRtp),
        Fact::ForeignSsrc { seen } => Some(Progress::ForeignSsrc { seen }),
        Fact::FirstPs => Some(Progress::FirstPs),
        Fact::UnsupportedVideo { stream_type } => Some(Progress::UnsupportedCodec { stream_type }),
        // Beside a picture it only costs the sound.
        Fact::UnsupportedAudio { stream_type } => {
            (has_picture == Some(false)).then_some(Progress::UnsupportedCodec { stream_type })
        }
        Fact::NoProgramStream => None,
    }
}

/// Decides when viewers can start.
#[derive(Debug, Default)]
pub struct Liveness {
    /// Reported as live with these tracks.
    told: Option<Vec<Track>>,
}

impl Liveness {
    /// A track was found: told until the stream is live.
    pub fn found(&self, hub: &Hub) -> Option<Progress> {
        let tracks = || hub.tracks().cloned().collect();
        self.told
            .is_none()
            .then(|| Progress::Tracks { tracks: tracks() })
    }

    /// Live once a viewer could start: a key frame is there, and the sound had a moment to show up. Sound alone is enough
    /// where the source has no picture. Told again when the tracks are others. `sound_wanted`: false where sound is dropped.
    pub fn check(
        &mut self,
        now: Instant,
        hub: &Hub,
        has_picture: Option<bool>,
        sound_wanted: bool,
    ) -> Option<Progress> {
        if !hub.can_start() {
            return None;
        }
        if self.told.is_none() {
            let first = hub.frames().next().map_or(now, |f| f.received);
            let waited = now.saturating_duration_since(first);
            let sound_may_come = sound_wanted
                && hub.audio().is_none()
                && waited < Duration::from_millis(limits::SOUND_WAIT_MS);
            let picture_may_come = hub.video().is_none()
                && match has_picture {
                    Some(has) => has,
                    None => waited < Duration::from_millis(limits::PICTURE_WAIT_MS),
                };
            if sound_may_come || picture_may_come {
                return None;
            }
        }
        let same = |told: &Vec<Track>| told.iter().eq(hub.tracks());
        if self.told.as_ref().is_some_and(same) {
            return None;
        }
        let tracks: Vec<Track> = hub.tracks().cloned().collect();
        self.told = Some(tracks.clone());
        Some(Progress::Live { tracks })
    }
}

/// Whether a source fell silent just now, from when it was last heard; none says that it may be silent. `stalled` is that it
/// is silent, or gone, and that this was told. Called once a second.
pub fn fell_silent(now: Instant, heard: Option<Instant>, stalled: &mut bool) -> bool {
    let silence = Duration::from_secs(limits::INGEST_SILENCE_S_MAX);
    let silent = heard.is_some_and(|at| now.saturating_duration_since(at) > silence);
    let fell = silent && !*stalled;
    *stalled = silent;
    fell
}

/// A stream that shares its port with others, as [`claim`] sees it.
#[derive(Clone, Copy, Debug)]
pub struct Claimant {
    pub ssrc: Option<Ssrc>,
    /// Where the device said it sends from.
    pub remote: Option<SocketAddr>,
    /// No packet has come.
    pub silent: bool,
}

/// A stream that waits for whatever comes, for an SSRC that nobody has: the one whose device said it sends from there, else
/// the only silent one of a device at that IP address (NAT and TCP change ports), else the one that takes any SSRC. RTCP
/// claims nothing: its SSRC may not be that of the media.
pub fn claim<K>(
    all: impl Iterator<Item = (K, Claimant)> + Clone,
    from: SocketAddr,
    is_rtcp: bool,
) -> Option<K> {
    if is_rtcp {
        return None;
    }
    let silent_there =
        |c: &Claimant| c.silent && c.remote.is_some_and(|remote| remote.ip() == from.ip());
    let only_there = || {
        let mut silent = all.clone().filter(|(_, c)| silent_there(c));
        silent.next().filter(|_| silent.next().is_none())
    };
    let mut said = all.clone().filter(|(_, c)| c.remote == Some(from));
    said.next()
        .or_else(only_there)
        .or_else(|| all.clone().find(|(_, c)| c.ssrc.is_none()))
        .map(|(key, _)| key)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(host: u8, port: u16) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, host], port))
    }

    #[test]
    fn a_packet_of_nobody_goes_to_the_one_it_can_only_be_for() {
        let of = |remote, silent| Claimant {
            ssrc: Some(Ssrc(1)),
            remote,
            silent,
        };
        let any = Claimant {
            ssrc: None,
            ..of(None, true)
        };
        let said = of(Some(at(1, 9_000)), false);
        let (here, twin) = (of(Some(at(2, 9_000)), true), of(Some(at(2, 9_002)), true));
        let to =
            |all: &[Claimant], from, is_rtcp| claim(all.iter().copied().enumerate(), from, is_rtcp);
        let all = [any, here, said];
        assert_eq!(to(&all, at(1, 9_000), false), Some(2), "it said so");
        assert_eq!(to(&all, at(2, 7), false), Some(1), "another port");
        assert_eq!(to(&all, at(3, 7), false), Some(0), "who takes any");
        assert_eq!(to(&all, at(1, 9_000), true), None, "RTCP claims nothing");
        assert_eq!(
            to(&[here, twin], at(2, 7), false),
            None,
            "it may be either's"
        );
        assert_eq!(to(&[said], at(1, 7), false), None, "that one has its own");
    }
}
