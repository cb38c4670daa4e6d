//! Sessions: those that are, and a record of those that were.
//!
//! Bounds: records [`limits::SESSIONS_CLOSED_MAX`], the oldest forgotten first.

use std::collections::{HashMap, VecDeque};
use std::time::Instant;

use crate::id::{SessionId, StreamId, StreamKey};
use crate::limits;
use crate::time::WallClock;

use super::core::RequestId;
use super::counters::Ended;
use super::port::ViewerStats;
use super::stream::Stream;
use super::trace::Trace;
use super::types::{Owner, PlayView, SessionView, Stage, ViewFailure, ViewKind};

/// One thing a client asked for.
#[derive(Debug)]
pub(super) struct Session {
    pub key: StreamKey,
    pub index: u32,
    pub kind: ViewKind,
    pub owner: Owner,
    pub state: State,
    pub created: Instant,
    pub first_frame_ms: Option<u32>,
    /// As its media thread told last.
    pub viewer: ViewerStats,
}

/// How far a session is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// For the picture; the request has no reply yet.
    Waiting {
        request: RequestId,
    },
    /// The reply is out and the viewer has not come.
    Unclaimed,
    Watching,
}

impl Session {
    /// As lists and details show it. `trace` is that of the stream.
    pub fn view(
        &self,
        id: SessionId,
        stream: &Stream,
        trace: Option<&Trace>,
        wall: &WallClock,
    ) -> SessionView {
        let known = match stream.phase.tracks() {
            [] => trace.map_or(&[][..], Trace::tracks),
            tracks => tracks,
        };
        SessionView {
            session: id,
            key: self.key.clone(),
            index: self.index,
            kind: self.kind,
            owner: self.owner.clone(),
            stage: stream.phase.stage(),
            created_unix_s: wall.unix_ms(self.created).div_euclid(1000),
            first_frame_ms: self.first_frame_ms,
            tracks: known.to_vec(),
            ingest: stream.stats,
            sent_bytes: self.viewer.sent_bytes,
            skipped: self.viewer.skipped,
            congested: self.viewer.congested,
            is_congested: self.viewer.is_congested,
            failure: None,
            ended: stream.ended.map(Ended::name),
            closed_unix_s: None,
            attempts: trace.map_or_else(Vec::new, |t| t.attempts().to_vec()),
            opened: self.created,
            first_byte: self.viewer.first_byte,
            playing: stream.play_view(),
            sip_peer: None,
        }
    }
}

/// A closed session as it was at its end.
#[derive(Debug)]
pub(super) struct Record {
    pub view: SessionView,
    pub stream: StreamId,
}

/// The last closed sessions.
#[derive(Debug, Default)]
pub(super) struct History {
    order: VecDeque<SessionId>,
    records: HashMap<SessionId, Record>,
}

impl History {
    /// Files a session. With a `failure` its stage stays the one it had reached.
    pub fn add(
        &mut self,
        mut view: SessionView,
        stream: StreamId,
        failure: Option<(Stage, ViewFailure)>,
        closed_unix_s: i64,
    ) {
        if self.order.len() >= limits::SESSIONS_CLOSED_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.records.remove(&oldest);
        }
        view.closed_unix_s = Some(closed_unix_s);
        match failure {
            Some((stage, failure)) => {
                view.stage = stage;
                view.failure = Some(failure);
            }
            None => view.stage = Stage::Closed,
        }
        self.order.push_back(view.session);
        self.records.insert(view.session, Record { view, stream });
    }

    /// Who opened a playback may have gone before it ended; it is asked for by them all the same.
    pub fn playback_ended(&mut self, opener: SessionId, view: PlayView) {
        if let Some(record) = self.records.get_mut(&opener) {
            record.view.playing = Some(view);
        }
    }

    pub fn get(&self, id: SessionId) -> Option<&Record> {
        self.records.get(&id)
    }

    pub fn newest_first(&self) -> impl Iterator<Item = SessionView> {
        let records = self.order.iter().rev().map(|id| self.records.get(id));
        records.flatten().map(|record| record.view.clone())
    }

    #[cfg(test)]
    pub fn len(&self) -> usize {
        debug_assert_eq!(self.order.len(), self.records.len());
        self.order.len()
    }
}
