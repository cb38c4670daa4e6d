//! What `/dialog/info` says of the opening of a stream: the steps it took, what was exchanged, what came, and one
//! sentence.

use std::collections::BTreeMap;
use std::time::Instant;

use serde::Serialize;
use utoipa::ToSchema;

use crate::diagnosis::sentence::{self, Facts};
use crate::diagnosis::track::TrackFacts;
use crate::diagnosis::{exchange, sentence::Finding};
use crate::gb28181::MediaTransport;
use crate::id::{Ssrc, StreamKey};
use crate::media::frame::{Codec, TrackId};
use crate::media::ps::demux;
use crate::session::{Attempt, IngestStats, SessionView, Stage};
use crate::sip::log::Entry;
use crate::time::WallClock;

use super::sip::SipMessage;

/// Why there is a picture, or none.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Diagnosis {
    pub healthy: bool,
    /// A stable name of what is the matter, such as `well`, `no-rtp` or `foreign-ssrc`.
    #[schema(example = "well")]
    pub kind: &'static str,
    /// What is wrong and what to try.
    pub en: String,
    /// The same in Chinese.
    pub zh: String,
    /// In order: `invite`, `answer`, `rtp`, `ps`, `tracks`, `keyFrame`, `firstByte`.
    pub steps: Vec<Step>,
    /// One a transport, in the order in which they were tried.
    pub attempts: Vec<AttemptInfo>,
    pub path: MediaPath,
    pub counters: Counters,
    /// What is known of picture and sound, also of a stream without a key frame.
    pub tracks: Vec<TrackFacts>,
    /// The SIP messages of this view, oldest first, as far as they are still kept.
    pub messages: Vec<SipMessage>,
}

/// One step of an opening.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Step {
    pub name: &'static str,
    /// `done`, `failed`, `waiting` (it is the next), `open` (not reached) or `none` (a source without SIP has no INVITE).
    pub state: &'static str,
    /// Milliseconds since the INVITE of this attempt; of `firstByte` since the session began, if the stream ran before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ms: Option<u64>,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AttemptInfo {
    /// `udp`, `tcp-passive` or `tcp-active`.
    pub transport: &'static str,
    /// Unix milliseconds.
    pub time: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ssrc: Option<String>,
    /// An SSRC that came and was not agreed upon.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub foreign_ssrc: Option<String>,
    /// How far it came.
    pub stage: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
}

/// Addresses of the media.
#[derive(Debug, Default, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct MediaPath {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transport: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ssrc: Option<String>,
    /// Where the device was told to send to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offered: Option<String>,
    /// Where its answer says that it sends from or listens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answered: Option<String>,
    /// Where its packets come from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Where its SIP comes from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sip_peer: Option<String>,
}

/// What came that should not, beside what `ingest` counts.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Counters {
    /// Packets that came after they had been given up.
    pub late: u64,
    /// Neither RTP nor RTCP.
    pub invalid: u64,
    /// Pictures left out: before the first parameter sets, or too long.
    pub dropped_frames: u64,
    /// Times that the sender began its sequence numbers anew.
    pub restarts: u64,
    /// Packets of the right SSRC from an address that is not the sender's.
    pub source_refused: u64,
    /// Key frames that the device was asked for.
    pub key_frames_asked: u64,
    pub rtcp_received: u64,
    pub reports_sent: u64,
    /// Datagrams that the kernel dropped at this port since the stream was opened.
    pub kernel_dropped: u64,
    /// Errors of the program stream by kind; kinds without one are left out.
    pub ps_errors: BTreeMap<&'static str, u64>,
}

impl Diagnosis {
    /// `entries` are the messages of the device; `decodes_h265` is what the viewer says of itself.
    pub fn of(
        view: &SessionView,
        entries: &[Entry],
        decodes_h265: Option<bool>,
        wall: &WallClock,
    ) -> Diagnosis {
        let attempt = shown(view);
        let ssrcs: Vec<Ssrc> = view.attempts.iter().filter_map(|a| a.ssrc).collect();
        let exchange = match view.attempts.first() {
            Some(first) if view.key.place().is_some() => {
                exchange::find(entries, &ssrcs, first.began)
            }
            Some(_) | None => exchange::Exchange::default(),
        };
        let stats = match attempt {
            Some(attempt) if attempt.failure.is_some() => attempt.stats,
            Some(_) | None => view.ingest,
        };
        let codec = |id| view.tracks.iter().find(|t| t.id == id).map(|t| t.codec);
        let facts = Facts {
            stage: view.stage,
            failure: view.failure.clone(),
            closed: view.closed_unix_s.is_some(),
            was_live: attempt.is_some_and(|a| a.live.is_some()),
            transport: attempt.map(|a| a.transport),
            offered: exchange.offered,
            answered: attempt.and_then(|a| a.remote),
            sip_peer: view.sip_peer,
            ssrc: attempt.and_then(|a| a.ssrc),
            stats,
            video: codec(TrackId::Video),
            audio: codec(TrackId::Audio),
            viewer_decodes_h265: decodes_h265,
            refusal: exchange.refusal.clone(),
        };
        let Finding { kind, en, zh } = sentence::find(&facts);
        Diagnosis {
            healthy: kind.is_healthy(),
            kind: kind.name(),
            en,
            zh,
            steps: steps(view, attempt),
            attempts: view.attempts.iter().map(|a| show(a, wall)).collect(),
            path: path(&facts),
            counters: counters(&stats),
            tracks: view.tracks.iter().map(TrackFacts::of).collect(),
            messages: exchange
                .messages
                .iter()
                .map(|entry| SipMessage::of(entry, wall))
                .collect(),
        }
    }
}

/// The attempt that tells most: the one whose failure was reported, else the last.
fn shown(view: &SessionView) -> Option<&Attempt> {
    let reported = view.attempts.iter().find(|attempt| {
        let failure = attempt.failure.as_ref().map(|(_, failure)| failure);
        view.failure.is_some() && failure == view.failure.as_ref()
    });
    reported.or(view.attempts.last())
}

fn steps(view: &SessionView, attempt: Option<&Attempt>) -> Vec<Step> {
    let named = matches!(view.key, StreamKey::Named(_));
    let Some(attempt) = attempt else {
        return Vec::new();
    };
    let since = |from: Instant, at: Instant| at.saturating_duration_since(from).as_millis() as u64;
    // Who came to a stream that ran already waited from then on.
    let joined = attempt.live.is_some_and(|live| view.opened > live);
    let watch_from = if joined { view.opened } else { attempt.began };
    let times = [
        ("invite", Some(attempt.began), attempt.began),
        ("answer", attempt.answered, attempt.began),
        ("rtp", attempt.first_rtp, attempt.began),
        ("ps", attempt.first_ps, attempt.began),
        ("tracks", attempt.tracked, attempt.began),
        ("keyFrame", attempt.live, attempt.began),
        ("firstByte", view.first_byte, watch_from),
    ];
    // A step that was overtaken (media before the 200 OK, sound without PS) is no step that is missing.
    let last = times
        .iter()
        .rposition(|(_, at, _)| at.is_some())
        .unwrap_or(0);
    let ended = view.failure.is_some() || view.closed_unix_s.is_some();
    let state = |n: usize, name: &str, at: Option<Instant>| match at {
        _ if named && matches!(name, "invite" | "answer") => "none",
        Some(_) => "done",
        None if n < last => "none",
        None if n == last + 1 && view.failure.is_some() => "failed",
        None if n == last + 1 && !ended => "waiting",
        None => "open",
    };
    let step = |(n, (name, at, from)): (usize, (&'static str, Option<Instant>, Instant))| Step {
        name,
        state: state(n, name, at),
        ms: at.filter(|_| !named || n > 1).map(|at| since(from, at)),
    };
    times.into_iter().enumerate().map(step).collect()
}

fn show(attempt: &Attempt, wall: &WallClock) -> AttemptInfo {
    let stage = match &attempt.failure {
        Some((stage, _)) => *stage,
        None if attempt.live.is_some() => Stage::Live,
        None if attempt.first_ps.is_some() => Stage::Parsed,
        None if attempt.first_rtp.is_some() => Stage::Receiving,
        None if attempt.answered.is_some() => Stage::Answered,
        None => Stage::Inviting,
    };
    AttemptInfo {
        transport: transport(attempt.transport),
        time: wall.unix_ms(attempt.began),
        ssrc: attempt.ssrc.map(|ssrc| ssrc.to_string()),
        foreign_ssrc: attempt.foreign.map(|ssrc| ssrc.to_string()),
        stage: stage.name(),
        failure: attempt.failure.as_ref().map(|(_, f)| f.to_string()),
    }
}

fn transport(transport: MediaTransport) -> &'static str {
    match transport {
        MediaTransport::Udp => "udp",
        MediaTransport::TcpPassive => "tcp-passive",
        MediaTransport::TcpActive => "tcp-active",
    }
}

fn path(facts: &Facts) -> MediaPath {
    let text = |addr: Option<std::net::SocketAddr>| addr.map(|a| a.to_string());
    let told = match facts.transport {
        // The port of our offer means nothing there.
        Some(MediaTransport::TcpActive) => None,
        Some(MediaTransport::Udp | MediaTransport::TcpPassive) | None => facts.offered,
    };
    MediaPath {
        transport: facts.transport.map(transport),
        ssrc: facts.ssrc.map(|ssrc| ssrc.to_string()),
        offered: text(told),
        answered: text(facts.answered),
        source: text(facts.stats.detail.source),
        sip_peer: text(facts.sip_peer),
    }
}

fn counters(stats: &IngestStats) -> Counters {
    let detail = &stats.detail;
    let kinds = demux::Error::ALL.iter().zip(detail.ps_errors_by_kind);
    Counters {
        late: stats.path.late,
        invalid: detail.invalid,
        dropped_frames: detail.dropped_frames,
        restarts: stats.path.restarts,
        source_refused: stats.path.source_refused,
        key_frames_asked: stats.path.key_frames_asked,
        rtcp_received: stats.path.rtcp_received,
        reports_sent: stats.path.reports_sent,
        kernel_dropped: detail.kernel_dropped,
        ps_errors: kinds
            .filter(|(_, n)| *n > 0)
            .map(|(kind, n)| (kind.name(), n))
            .collect(),
    }
}

/// Whether a viewer that names its decoders has one for H.265; `None` = it names none.
pub fn decodes_h265(decodes: Option<&str>) -> Option<bool> {
    let wanted = Codec::H265.name();
    let named = decodes.filter(|list| !list.is_empty())?;
    Some(
        named
            .split(',')
            .any(|one| one.trim().eq_ignore_ascii_case(wanted)),
    )
}
