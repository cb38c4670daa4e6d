//! How the opening of a stream went: its attempts, one a transport, with the time of every step.
//!
//! Written beside the states, never asked by them: what is decided does not depend on it.
//!
//! Bounds: [`ATTEMPTS_TRACED_MAX`] attempts, at which the oldest is forgotten (a named stream that is opened anew for ever).

use std::net::SocketAddr;
use std::time::Instant;

use crate::gb28181::MediaTransport;
use crate::id::Ssrc;
use crate::limits::ATTEMPTS_TRACED_MAX;
use crate::media::frame::Track;

use super::port::Progress;
use super::types::{IngestStats, Stage, ViewFailure};

/// One attempt to get a picture.
#[derive(Clone, Debug)]
pub struct Attempt {
    pub transport: MediaTransport,
    /// Agreed upon.
    pub ssrc: Option<Ssrc>,
    /// The INVITE was sent, or the source opened.
    pub began: Instant,
    pub answered: Option<Instant>,
    pub first_rtp: Option<Instant>,
    pub first_ps: Option<Instant>,
    /// The first track was known.
    pub tracked: Option<Instant>,
    /// A viewer could start: tracks and a key frame.
    pub live: Option<Instant>,
    /// From the device's SDP.
    pub remote: Option<SocketAddr>,
    /// The last SSRC that came and was not the one agreed upon.
    pub foreign: Option<Ssrc>,
    /// How far it had come, and why no further.
    pub failure: Option<(Stage, ViewFailure)>,
    /// As they were when it failed.
    pub stats: IngestStats,
}

/// All attempts of one stream.
#[derive(Clone, Debug, Default)]
pub(super) struct Trace {
    attempts: Vec<Attempt>,
    /// Known so far, also without a key frame.
    tracks: Vec<Track>,
}

impl Trace {
    pub fn begin(&mut self, now: Instant, transport: MediaTransport, ssrc: Option<Ssrc>) {
        if self.attempts.len() >= ATTEMPTS_TRACED_MAX {
            self.attempts.remove(0);
        }
        self.tracks.clear();
        self.attempts.push(Attempt {
            transport,
            ssrc,
            began: now,
            answered: None,
            first_rtp: None,
            first_ps: None,
            tracked: None,
            live: None,
            remote: None,
            foreign: None,
            failure: None,
            stats: IngestStats::default(),
        });
    }

    pub fn answered(&mut self, now: Instant, remote: Option<SocketAddr>) {
        if let Some(attempt) = self.attempts.last_mut() {
            attempt.answered.get_or_insert(now);
            attempt.remote = remote;
        }
    }

    pub fn progress(&mut self, now: Instant, progress: &Progress) {
        let Some(attempt) = self.attempts.last_mut() else {
            return;
        };
        match progress {
            Progress::FirstRtp => _ = attempt.first_rtp.get_or_insert(now),
            Progress::FirstPs => _ = attempt.first_ps.get_or_insert(now),
            Progress::ForeignSsrc { seen } => attempt.foreign = Some(*seen),
            Progress::Tracks { tracks } => {
                attempt.tracked.get_or_insert(now);
                self.tracks.clone_from(tracks);
            }
            Progress::Live { tracks } => {
                attempt.tracked.get_or_insert(now);
                attempt.live.get_or_insert(now);
                self.tracks.clone_from(tracks);
            }
            Progress::Connected
            | Progress::ConnectFailed
            | Progress::PortOpen
            | Progress::PortTaken
            | Progress::UnsupportedCodec { .. }
            | Progress::Stalled => {}
        }
    }

    pub fn failed(&mut self, stage: Stage, failure: &ViewFailure, stats: IngestStats) {
        if let Some(attempt) = self.attempts.last_mut() {
            attempt.failure = Some((stage, failure.clone()));
            attempt.stats = stats;
        }
    }

    pub fn attempts(&self) -> &[Attempt] {
        &self.attempts
    }

    pub fn tracks(&self) -> &[Track] {
        &self.tracks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_timed_once_and_attempts_are_bounded() {
        let start = Instant::now();
        let at = |ms| start + std::time::Duration::from_millis(ms);
        let mut trace = Trace::default();
        trace.progress(start, &Progress::FirstRtp);
        assert!(trace.attempts().is_empty(), "nothing had begun");
        for n in 0..ATTEMPTS_TRACED_MAX as u64 + 1 {
            trace.begin(at(n), MediaTransport::Udp, Some(Ssrc(n as u32)));
        }
        assert_eq!(trace.attempts().len(), ATTEMPTS_TRACED_MAX);
        assert_eq!(trace.attempts()[0].ssrc, Some(Ssrc(1)), "the oldest went");
        trace.answered(at(10), None);
        trace.progress(at(20), &Progress::FirstRtp);
        trace.progress(at(30), &Progress::FirstRtp);
        trace.progress(at(40), &Progress::Live { tracks: Vec::new() });
        let last = trace.attempts().last().expect("many");
        assert_eq!(
            (last.answered, last.first_rtp),
            (Some(at(10)), Some(at(20)))
        );
        assert_eq!((last.tracked, last.live), (Some(at(40)), Some(at(40))));
    }
}
