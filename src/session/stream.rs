//! One stream as the core sees it, and the phases of an attempt to get its picture.
//!
//! ```text
//!            answered        first RTP       first PS             live
//! Inviting ──────────► Rtp ───────────► Ps ──────────► KeyFrame ───────► Live ◄─┐ other tracks
//!     │ (what comes before    │             │              │               │ └────┘
//!     │  the answer is kept)  │             │              │               └─ stalled: the stream ends
//!     └───────────────────────┴─────────────┴──────────────┴─ deadline, stall, refusal: the attempt fails, named
//! ```
//!
//! A named stream begins in `Rtp` and has no deadline of its own: those who wait for it have theirs. The phases only say
//! what an input means; the core (`open.rs`, `named.rs`, `end.rs`) acts on it.

use std::collections::{BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::Instant;

use crate::gb28181::{Footage, Invite, InviteId, MediaTransport};
use crate::id::{DeviceId, SessionId, Ssrc, StreamId, StreamKey};
use crate::media::frame::Track;
use crate::media::ingest::RtpMaps;

use super::counters::Ended;
use super::playback::Playing;
use super::policy::LossChoice;
use super::port::Progress;
use super::ports::Lease;
use super::types::{IngestStats, Stage, ViewFailure};

/// A stream that is open or being opened. Its `id` is that of the present attempt.
#[derive(Debug)]
pub(super) struct Stream {
    pub key: StreamKey,
    pub id: StreamId,
    pub source: Source,
    pub transport: MediaTransport,
    /// The SSRC that the shard was told to take; no other stream of the shard has it.
    pub expects: Option<Ssrc>,
    pub phase: Phase,
    pub stats: IngestStats,
    /// Those who watch it or wait for it.
    pub sessions: BTreeSet<SessionId>,
    pub lingering: bool,
    /// Its own port; `None` = that of its shard.
    pub port: Option<Lease>,
    /// Goes out when that port is open: a device on the same network sends before a thread has taken an order.
    pub invite_waits: Option<Invite>,
    /// When the device was last asked for a key frame.
    pub key_frame_asked: Option<Instant>,
    /// Why it is over; set while its sessions are closed.
    pub ended: Option<Ended>,
}

/// Where a stream comes from, with what that needs.
#[derive(Debug)]
pub(super) enum Source {
    Device(Dialog),
    Named {
        /// What the user said; `None` takes what comes first.
        ssrc: Option<Ssrc>,
        /// TCP active: where to connect to.
        remote: Option<SocketAddr>,
        /// What it says of its payload types.
        payloads: RtpMaps,
        loss: LossChoice,
        /// Declared in the present attempt.
        unsupported: Option<u8>,
    },
}

/// The INVITE of a stream and what can still be tried.
#[derive(Debug)]
pub(super) struct Dialog {
    pub device: DeviceId,
    pub invite: InviteId,
    pub ssrc: Ssrc,
    /// From our pool, so that no other stream has it.
    pub ssrc_is_ours: bool,
    /// Ports that other programs had.
    pub ports_tried: u8,
    /// Transports that have not been tried.
    pub rest: VecDeque<MediaTransport>,
    /// When the first attempt began.
    pub started: Instant,
    /// What is played back; `None`: live.
    pub playing: Option<Playing>,
    /// The failure of the attempt that came furthest so far.
    pub furthest: Option<(Stage, ViewFailure)>,
}

impl Dialog {
    pub fn footage(&self) -> Footage {
        self.playing.as_ref().map_or(Footage::Live, |p| p.footage)
    }
}

/// How far an attempt has come.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Phase {
    Inviting { early: Early },
    Rtp { foreign: Option<Ssrc> },
    Ps,
    KeyFrame,
    Live { tracks: Vec<Track> },
}

/// Media that came before the answer: UDP may overtake the 200 OK.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) enum Early {
    #[default]
    None,
    Foreign(Ssrc),
    Rtp,
    Ps,
    Live(Vec<Track>),
}

/// What happens to a phase.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Input {
    Answered,
    Progress(Progress),
    Deadline,
}

/// What an input meant.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Outcome {
    /// Nothing to do.
    Stay,
    /// One step further: the next deadline runs.
    Moved,
    /// The picture is there.
    BecameLive,
    /// Live already, with other tracks.
    TracksChanged,
    /// Packets of an SSRC that nobody agreed on.
    Foreign(Ssrc),
    /// The INVITE can go out.
    PortOpen,
    /// Another port is needed.
    PortTaken,
    Failed(ViewFailure),
    /// Was live and brings nothing more.
    Stalled,
}

impl Phase {
    pub fn stage(&self) -> Stage {
        match self {
            Phase::Inviting { .. } => Stage::Inviting,
            Phase::Rtp { .. } => Stage::Answered,
            Phase::Ps => Stage::Receiving,
            Phase::KeyFrame => Stage::Parsed,
            Phase::Live { .. } => Stage::Live,
        }
    }

    pub fn tracks(&self) -> &[Track] {
        match self {
            Phase::Live { tracks } => tracks,
            Phase::Inviting { .. } | Phase::Rtp { .. } | Phase::Ps | Phase::KeyFrame => &[],
        }
    }

    pub fn is_live(&self) -> bool {
        self.stage() == Stage::Live
    }

    /// Why there is no picture, if the time is up now. `stats` tells a stream without PSM from one without key frames.
    pub fn missing(&self, stats: &IngestStats) -> ViewFailure {
        match self {
            Phase::Inviting { .. } => ViewFailure::NoAnswer,
            Phase::Rtp { foreign: None } => ViewFailure::NoRtp,
            Phase::Rtp {
                foreign: Some(seen),
            } => ViewFailure::ForeignSsrc { seen: *seen },
            Phase::Ps => ViewFailure::NoProgramStream,
            Phase::KeyFrame if !stats.psm_seen && stats.frames == 0 => ViewFailure::NoPsm,
            Phase::KeyFrame | Phase::Live { .. } => ViewFailure::NoKeyFrame,
        }
    }

    /// Takes one input. Inputs that a phase has behind it mean nothing: progress is told once and in order, but the
    /// answer and the media race.
    pub fn step(&mut self, input: Input, stats: &IngestStats) -> Outcome {
        match input {
            Input::Answered => self.answered(),
            Input::Progress(progress) => self.progress(progress, stats),
            Input::Deadline => match self {
                Phase::Live { .. } => Outcome::Stay,
                Phase::Inviting { .. } | Phase::Rtp { .. } | Phase::Ps | Phase::KeyFrame => {
                    Outcome::Failed(self.missing(stats))
                }
            },
        }
    }

    fn answered(&mut self) -> Outcome {
        let Phase::Inviting { early } = self else {
            return Outcome::Stay;
        };
        match std::mem::take(early) {
            Early::None => self.to(Phase::Rtp { foreign: None }, Outcome::Moved),
            Early::Foreign(seen) => self.to(
                Phase::Rtp {
                    foreign: Some(seen),
                },
                Outcome::Foreign(seen),
            ),
            Early::Rtp => self.to(Phase::Ps, Outcome::Moved),
            Early::Ps => self.to(Phase::KeyFrame, Outcome::Moved),
            Early::Live(tracks) => self.to(Phase::Live { tracks }, Outcome::BecameLive),
        }
    }

    fn to(&mut self, next: Phase, outcome: Outcome) -> Outcome {
        *self = next;
        outcome
    }

    fn progress(&mut self, progress: Progress, stats: &IngestStats) -> Outcome {
        match progress {
            Progress::Connected | Progress::Tracks { .. } => Outcome::Stay,
            Progress::ConnectFailed => match self {
                Phase::Rtp { .. } => Outcome::Failed(ViewFailure::NoConnection),
                Phase::Inviting { .. } | Phase::Ps | Phase::KeyFrame | Phase::Live { .. } => {
                    Outcome::Stay
                }
            },
            Progress::PortOpen => match self {
                Phase::Inviting { .. } => Outcome::PortOpen,
                Phase::Rtp { .. } | Phase::Ps | Phase::KeyFrame | Phase::Live { .. } => {
                    Outcome::Stay
                }
            },
            Progress::PortTaken => match self {
                Phase::Inviting { .. } => Outcome::PortTaken,
                Phase::Rtp { .. } | Phase::Ps | Phase::KeyFrame | Phase::Live { .. } => {
                    Outcome::Stay
                }
            },
            Progress::ForeignSsrc { seen } => match self {
                Phase::Inviting { early } if *early == Early::None => {
                    *early = Early::Foreign(seen);
                    Outcome::Stay
                }
                Phase::Rtp { foreign } => {
                    *foreign = Some(seen);
                    Outcome::Foreign(seen)
                }
                // A device that was restarted sends on in the same dialog, with another SSRC.
                Phase::Live { .. } => Outcome::Foreign(seen),
                Phase::Inviting { .. } | Phase::Ps | Phase::KeyFrame => Outcome::Stay,
            },
            Progress::FirstRtp => match self {
                Phase::Inviting { early } => keep(early, Early::Rtp),
                Phase::Rtp { .. } => self.to(Phase::Ps, Outcome::Moved),
                Phase::Ps | Phase::KeyFrame | Phase::Live { .. } => Outcome::Stay,
            },
            Progress::FirstPs => match self {
                Phase::Inviting { early } => keep(early, Early::Ps),
                // The deadline of the picture began with the first packet; it does not begin again.
                Phase::Ps => self.to(Phase::KeyFrame, Outcome::Stay),
                Phase::Rtp { .. } => self.to(Phase::KeyFrame, Outcome::Moved),
                Phase::KeyFrame | Phase::Live { .. } => Outcome::Stay,
            },
            Progress::UnsupportedCodec { stream_type } => match self {
                Phase::Inviting { .. } | Phase::Rtp { .. } | Phase::Ps | Phase::KeyFrame => {
                    Outcome::Failed(ViewFailure::UnsupportedCodec { stream_type })
                }
                Phase::Live { .. } => Outcome::Stay,
            },
            Progress::Live { tracks } => match self {
                Phase::Inviting { early } => keep(early, Early::Live(tracks)),
                Phase::Rtp { .. } | Phase::Ps | Phase::KeyFrame => {
                    self.to(Phase::Live { tracks }, Outcome::BecameLive)
                }
                Phase::Live { .. } => self.to(Phase::Live { tracks }, Outcome::TracksChanged),
            },
            Progress::Stalled => match self {
                // Nothing can have stalled before the device agreed to send; the INVITE has its own deadline.
                Phase::Inviting { .. } => Outcome::Stay,
                Phase::Rtp { .. } | Phase::Ps | Phase::KeyFrame => {
                    Outcome::Failed(self.missing(stats))
                }
                Phase::Live { .. } => Outcome::Stalled,
            },
        }
    }
}

fn keep(early: &mut Early, seen: Early) -> Outcome {
    *early = seen;
    Outcome::Stay
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEEN: Ssrc = Ssrc(77);

    fn phases() -> [Phase; 5] {
        let early = Early::None;
        let tracks = Vec::new();
        [
            Phase::Inviting { early },
            Phase::Rtp { foreign: None },
            Phase::Ps,
            Phase::KeyFrame,
            Phase::Live { tracks },
        ]
    }

    /// Every phase under every input: the stage after it, and what it meant.
    #[test]
    fn table_of_transitions() {
        use Outcome::{BecameLive, Failed, Foreign, Moved, Stalled, Stay, TracksChanged};
        use Stage::{Answered, Inviting, Live, Parsed, Receiving};
        use ViewFailure as F;
        let p = Input::Progress;
        let live = || p(Progress::Live { tracks: Vec::new() });
        let codec = F::UnsupportedCodec { stream_type: 0x24 };
        let table: [(Input, [(Stage, Outcome); 5]); 12] = [
            (
                Input::Answered,
                [
                    (Answered, Moved),
                    (Answered, Stay),
                    (Receiving, Stay),
                    (Parsed, Stay),
                    (Live, Stay),
                ],
            ),
            (
                p(Progress::Connected),
                [
                    (Inviting, Stay),
                    (Answered, Stay),
                    (Receiving, Stay),
                    (Parsed, Stay),
                    (Live, Stay),
                ],
            ),
            (
                p(Progress::ConnectFailed),
                [
                    (Inviting, Stay),
                    (Answered, Failed(F::NoConnection)),
                    (Receiving, Stay),
                    (Parsed, Stay),
                    (Live, Stay),
                ],
            ),
            (
                p(Progress::PortOpen),
                [
                    (Inviting, Outcome::PortOpen),
                    (Answered, Stay),
                    (Receiving, Stay),
                    (Parsed, Stay),
                    (Live, Stay),
                ],
            ),
            (
                p(Progress::PortTaken),
                [
                    (Inviting, Outcome::PortTaken),
                    (Answered, Stay),
                    (Receiving, Stay),
                    (Parsed, Stay),
                    (Live, Stay),
                ],
            ),
            (
                p(Progress::ForeignSsrc { seen: SEEN }),
                [
                    (Inviting, Stay),
                    (Answered, Foreign(SEEN)),
                    (Receiving, Stay),
                    (Parsed, Stay),
                    (Live, Foreign(SEEN)),
                ],
            ),
            (
                p(Progress::FirstRtp),
                [
                    (Inviting, Stay),
                    (Receiving, Moved),
                    (Receiving, Stay),
                    (Parsed, Stay),
                    (Live, Stay),
                ],
            ),
            (
                p(Progress::FirstPs),
                [
                    (Inviting, Stay),
                    (Parsed, Moved),
                    (Parsed, Stay),
                    (Parsed, Stay),
                    (Live, Stay),
                ],
            ),
            (
                p(Progress::UnsupportedCodec { stream_type: 0x24 }),
                [
                    (Inviting, Failed(codec.clone())),
                    (Answered, Failed(codec.clone())),
                    (Receiving, Failed(codec.clone())),
                    (Parsed, Failed(codec.clone())),
                    (Live, Stay),
                ],
            ),
            (
                live(),
                [
                    (Inviting, Stay),
                    (Live, BecameLive),
                    (Live, BecameLive),
                    (Live, BecameLive),
                    (Live, TracksChanged),
                ],
            ),
            (
                p(Progress::Stalled),
                [
                    (Inviting, Stay),
                    (Answered, Failed(F::NoRtp)),
                    (Receiving, Failed(F::NoProgramStream)),
                    (Parsed, Failed(F::NoPsm)),
                    (Live, Stalled),
                ],
            ),
            (
                Input::Deadline,
                [
                    (Inviting, Failed(F::NoAnswer)),
                    (Answered, Failed(F::NoRtp)),
                    (Receiving, Failed(F::NoProgramStream)),
                    (Parsed, Failed(F::NoPsm)),
                    (Live, Stay),
                ],
            ),
        ];
        for (input, want) in table {
            for (mut phase, (stage, outcome)) in phases().into_iter().zip(want) {
                let before = phase.clone();
                let got = phase.step(input.clone(), &IngestStats::default());
                assert_eq!(
                    (phase.stage(), got),
                    (stage, outcome),
                    "{before:?} under {input:?}"
                );
            }
        }
    }

    #[test]
    fn what_overtakes_the_answer_is_not_lost() {
        let stats = IngestStats::default();
        let after = |progress: &[Progress]| {
            let mut phase = Phase::Inviting { early: Early::None };
            for p in progress {
                assert_eq!(
                    phase.step(Input::Progress(p.clone()), &stats),
                    Outcome::Stay
                );
            }
            let outcome = phase.step(Input::Answered, &stats);
            (phase.stage(), outcome)
        };
        let foreign = Progress::ForeignSsrc { seen: SEEN };
        let live = Progress::Live { tracks: Vec::new() };
        assert_eq!(
            after(&[Progress::FirstRtp]),
            (Stage::Receiving, Outcome::Moved)
        );
        assert_eq!(
            after(&[Progress::FirstRtp, Progress::FirstPs]),
            (Stage::Parsed, Outcome::Moved)
        );
        assert_eq!(
            after(&[Progress::FirstRtp, Progress::FirstPs, live]),
            (Stage::Live, Outcome::BecameLive)
        );
        assert_eq!(
            after(std::slice::from_ref(&foreign)),
            (Stage::Answered, Outcome::Foreign(SEEN))
        );
        assert_eq!(
            after(&[foreign, Progress::FirstRtp]),
            (Stage::Receiving, Outcome::Moved)
        );
    }

    #[test]
    fn what_is_missing_is_named() {
        let none = IngestStats::default();
        let psm = IngestStats {
            psm_seen: true,
            ..none
        };
        let sniffed = IngestStats { frames: 3, ..none };
        assert_eq!(Phase::KeyFrame.missing(&none), ViewFailure::NoPsm);
        assert_eq!(Phase::KeyFrame.missing(&psm), ViewFailure::NoKeyFrame);
        assert_eq!(Phase::KeyFrame.missing(&sniffed), ViewFailure::NoKeyFrame);
        let foreign = Some(SEEN);
        assert_eq!(
            Phase::Rtp { foreign }.missing(&none),
            ViewFailure::ForeignSsrc { seen: SEEN }
        );
    }
}
