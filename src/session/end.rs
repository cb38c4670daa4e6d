//! How sessions and streams end. Every way out goes through here, so that nothing is left behind: the dialog, the
//! ingest, the SSRC, the deadlines, the session's record.

use std::time::Instant;

use tracing::info;

use crate::gb28181::{Command, Footage};
use crate::id::{SessionId, StreamId, StreamKey};

use super::core::{Core, Output};
use super::counters::{Closed, Ended};
use super::port::MediaCommand;
use super::record::State;
use super::stream::{Source, Stream};
use super::timers::Timer;
use super::types::{Error, Event, SessionView, Stage, ViewFailure};

impl Core {
    /// Ends one session; a session that is gone is none of our business any more.
    pub(super) fn close_session(&mut self, now: Instant, id: SessionId, why: Closed) {
        let Some(session) = self.sessions.get(&id) else {
            return;
        };
        let key = session.key.clone();
        let Some(stream) = self.streams.get_mut(&key) else {
            return;
        };
        stream.sessions.remove(&id);
        let view = session.view(id, stream, self.traces.get(&key), &self.wall);
        let waits = matches!(session.state, State::Waiting { .. });
        let (stream, session) = (stream.id, id);
        if !waits && why != Closed::ViewerGone {
            self.media(stream.shard, MediaCommand::CloseViewer { stream, session });
        }
        let gone = Error::NotFound { what: "session" };
        self.file(now, view, stream, why, None, gone);
        self.watch_for_nobody(now, &key);
    }

    /// `CloseOwner`. The token 0 is nobody's login and closes nothing.
    pub(super) fn close_owner(&mut self, now: Instant, token_id: u64) {
        if token_id == 0 {
            return;
        }
        let theirs = self.sessions.iter();
        let theirs: Vec<SessionId> = theirs
            .filter(|(_, session)| session.owner.token_id == token_id)
            .map(|(id, _)| *id)
            .collect();
        for id in theirs {
            self.close_session(now, id, Closed::ByOwner);
        }
    }

    /// A session waited long enough: for a named stream, or for its viewer.
    pub(super) fn session_deadline(&mut self, now: Instant, id: SessionId) {
        let Some(session) = self.sessions.get(&id) else {
            return;
        };
        match session.state {
            State::Waiting { .. } => self.named_missing(now, id),
            State::Unclaimed => self.close_session(now, id, Closed::Unclaimed),
            State::Watching => {}
        }
    }

    /// A stream that nobody watches goes on for the linger, one that nobody waits for ends; named ones stay.
    pub(super) fn watch_for_nobody(&mut self, now: Instant, key: &StreamKey) {
        let Some(stream) = self.streams.get_mut(key) else {
            return;
        };
        if !stream.sessions.is_empty() {
            return;
        }
        match stream.source {
            Source::Named { .. } => {}
            Source::Device(_) if stream.is_ending() => {}
            // Nobody comes back to a file that nobody writes.
            Source::Device(_) if stream.is_download() => {
                self.end_stream(now, key, Ended::ByClient);
            }
            Source::Device(_) if stream.phase.is_live() => {
                stream.lingering = true;
                self.timers
                    .set(Timer::Stream(stream.id), now + self.config.linger);
            }
            Source::Device(_) => self.end_stream(now, key, Ended::Cancelled),
        }
    }

    /// Ends a stream with its dialog and its sessions.
    pub(super) fn end_stream(&mut self, now: Instant, key: &StreamKey, why: Ended) {
        // Where the device ended it the dialog is over, and `by_invite` knows it no more.
        let Some(mut stream) = self.take_attempt(now, key, true) else {
            return;
        };
        info!(%key, stream = stream.id.number, why = why.name(), "stream ended");
        let position_ms = stream.stats.position_ms;
        stream.ended = Some(why);
        if let Some(playing) = stream.playing_mut() {
            playing.close(why, position_ms);
        }
        let (closed, failure, error) = match why {
            Ended::Shutdown => (Closed::Shutdown, None, Error::ShuttingDown),
            Ended::ByDevice => failed(&stream, ViewFailure::EndedByDevice),
            Ended::DeviceLost | Ended::Revoked => failed(&stream, ViewFailure::DeviceLost),
            Ended::ByClient | Ended::Cancelled | Ended::Unwatched => {
                let error = Error::NotFound { what: "stream" };
                (Closed::StreamEnded, None, error)
            }
            Ended::Stalled | Ended::Failed => {
                let missing = stream.phase.missing(&stream.stats);
                failed(&stream, missing)
            }
        };
        if failure.is_some() {
            self.counters.failed(&error);
        }
        self.counters.ended(why);
        self.close_all(now, &mut stream, closed, failure, error);
    }

    /// Ends an opening that failed: everybody who waited is told why. The attempt was taken out before.
    pub(super) fn close_failed(
        &mut self,
        now: Instant,
        mut stream: Stream,
        stage: Stage,
        error: Error,
    ) {
        self.counters.failed(&error);
        self.counters.ended(Ended::Failed);
        if let Some(playing) = stream.playing_mut() {
            playing.close(Ended::Failed, 0);
        }
        let failure = match &error {
            Error::View(failure, _) => Some((stage, failure.clone())),
            Error::DeviceOffline => Some((stage, ViewFailure::DeviceLost)),
            Error::NotFound { .. }
            | Error::Exists { .. }
            | Error::BadParameter { .. }
            | Error::BadField(_)
            | Error::Ask(_)
            | Error::PlaybackOver { .. }
            | Error::Busy { .. }
            | Error::ShuttingDown => None,
        };
        self.close_all(now, &mut stream, Closed::Failed, failure, error);
    }

    /// Takes a stream out of every list and tells the shard and, if `dialog`, the device. Its sessions are the caller's.
    pub(super) fn take_attempt(
        &mut self,
        now: Instant,
        key: &StreamKey,
        dialog: bool,
    ) -> Option<Stream> {
        let stream = self.streams.remove(key)?;
        let id = stream.id;
        self.by_stream.remove(&id);
        self.timers.clear(Timer::Stream(id));
        if let Some(ssrc) = stream.expects.filter(|_| stream.port.is_none()) {
            self.expected.remove(&(id.shard, ssrc));
        }
        let load = &mut self.load[usize::from(id.shard)];
        *load = load.saturating_sub(1);
        if let Source::Device(d) = &stream.source {
            let alive = self.by_invite.remove(&d.invite).is_some() && stream.invite_waits.is_none();
            let plays = d
                .playing
                .as_ref()
                .is_some_and(|p| matches!(p.footage, Footage::Playback(_)) && p.end.is_none());
            if dialog && alive && plays {
                self.note_torn_down(now, key);
            }
            if dialog && alive {
                self.push(Output::Platform(Command::EndInvite { id: d.invite }));
            }
            if d.ssrc_is_ours {
                self.ssrcs.give_back(now, d.ssrc);
            }
        }
        self.media(id.shard, MediaCommand::CloseIngest { stream: id });
        Some(stream)
    }

    /// Closes the sessions of a stream that was taken out.
    pub(super) fn close_all(
        &mut self,
        now: Instant,
        stream: &mut Stream,
        why: Closed,
        failure: Option<(Stage, ViewFailure)>,
        error: Error,
    ) {
        let ids = std::mem::take(&mut stream.sessions);
        for id in ids {
            if let Some(session) = self.sessions.get(&id) {
                let trace = self.traces.get(&stream.key);
                let view = session.view(id, stream, trace, &self.wall);
                self.file(now, view, stream.id, why, failure.clone(), error.clone());
            }
        }
        if let (StreamKey::Record { play, .. }, Some(view)) = (&stream.key, stream.play_view()) {
            self.history.playback_ended(*play, view);
        }
        self.traces.remove(&stream.key);
    }

    /// Takes a session out, answers it with `error` if it still waits, and keeps its record.
    pub(super) fn file(
        &mut self,
        now: Instant,
        mut view: SessionView,
        stream: StreamId,
        why: Closed,
        failure: Option<(Stage, ViewFailure)>,
        mut error: Error,
    ) {
        let id = view.session;
        let Some(session) = self.sessions.remove(&id) else {
            return;
        };
        self.timers.clear(Timer::Session(id));
        let unix_s = self.wall.unix_ms(now).div_euclid(1000);
        view.ended = match why {
            // The stream knows more.
            Closed::StreamEnded => view.ended.or(Some(why.name())),
            Closed::ByClient
            | Closed::ByOwner
            | Closed::Unclaimed
            | Closed::ViewerGone
            | Closed::Failed
            | Closed::Shutdown => Some(why.name()),
        };
        view.sip_peer = self.sip_peer(&view.key);
        self.history.add(view, stream, failure, unix_s);
        self.counters.closed(why);
        if let State::Waiting { request } = session.state {
            if let Error::View(_, waited) = &mut error {
                *waited = Some(now - session.created);
            }
            self.reply(request, Err(error));
        }
        self.push(Output::Event(Event::SessionClosed { session: id }));
    }
}

/// How the sessions of a stream end that brings no picture (any more): those who wait are told, and it is a failure;
/// those who watched have had theirs.
fn failed(stream: &Stream, failure: ViewFailure) -> (Closed, Option<(Stage, ViewFailure)>, Error) {
    if stream.phase.is_live() {
        (Closed::StreamEnded, None, failure.into())
    } else {
        let recorded = Some((stream.phase.stage(), failure.clone()));
        (Closed::Failed, recorded, failure.into())
    }
}
