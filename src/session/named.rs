//! Streams without SIP: a source that a user opened by name. It lives until it is closed, whether anything comes or not;
//! those who want to see it wait, each with a deadline.
//!
//! After a stall the ingest is opened anew under another id, so that the next sender (with another SSRC, another clock)
//! finds it fresh. A refused connection (TCP active) is tried again every [`limits::INGEST_RETRY_S`].

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::gb28181::MediaTransport;
use crate::id::{SessionId, Ssrc, StreamKey, StreamName};
use crate::limits;
use crate::media::ingest::{Pace, RtpMaps};

use super::core::Core;
use super::counters::{Closed, Ended};
use super::policy::LossChoice;
use super::port::{IngestOptions, MediaCommand};
use super::record::State;
use super::stream::{Outcome, Phase, Source, Stream};
use super::timers::Timer;
use super::types::{Error, IngestStats, Reply, ViewFailure};

impl Core {
    /// `OpenIngest`.
    pub(super) fn open_ingest(
        &mut self,
        name: StreamName,
        ssrc: Option<Ssrc>,
        transport: MediaTransport,
        remote: Option<SocketAddr>,
        payloads: RtpMaps,
        loss: LossChoice,
    ) -> Result<Reply, Error> {
        let key = StreamKey::Named(name);
        if self.streams.contains_key(&key) {
            return Err(Error::Exists { what: "stream" });
        }
        if transport == MediaTransport::TcpActive && remote.is_none() {
            let what = "tcp-active needs host and port";
            return Err(Error::BadParameter { what });
        }
        if self.streams.len() >= self.config.streams_max {
            return Err(Error::Busy { limit: "streams" });
        }
        // One port takes one stream of an SSRC: a second goes to another shard, if there is one.
        let free = |shard: &u8| !ssrc.is_some_and(|s| self.expected.contains_key(&(*shard, s)));
        let shard = (0..self.config.shards)
            .filter(free)
            .min_by_key(|shard| self.load[usize::from(*shard)])
            .ok_or(Error::Exists { what: "SSRC" })?;
        let source = Source::Named {
            ssrc,
            remote,
            payloads,
            loss,
            unsupported: None,
        };
        self.open_named(key, shard, source, transport, BTreeSet::new());
        Ok(Reply::Ingest {
            port: self.config.rtp_ports[usize::from(shard)],
            ssrc,
        })
    }

    /// `CloseIngest`.
    pub(super) fn close_ingest(&mut self, now: Instant, name: StreamName) -> Result<Reply, Error> {
        let key = StreamKey::Named(name);
        if !self.streams.contains_key(&key) {
            return Err(Error::NotFound { what: "stream" });
        }
        self.end_stream(now, &key, Ended::ByClient);
        Ok(Reply::Done)
    }

    fn open_named(
        &mut self,
        key: StreamKey,
        shard: u8,
        source: Source,
        transport: MediaTransport,
        sessions: BTreeSet<SessionId>,
    ) {
        let id = self.new_stream_id(shard);
        let (ssrc, remote, payloads, loss) = match &source {
            Source::Named {
                ssrc,
                remote,
                payloads,
                loss,
                ..
            } => (*ssrc, *remote, *payloads, *loss),
            Source::Device(_) => (None, None, RtpMaps::default(), LossChoice::Auto),
        };
        self.add_stream(Stream {
            key,
            id,
            source,
            transport,
            expects: ssrc,
            phase: Phase::Rtp { foreign: None },
            stats: IngestStats::default(),
            sessions,
            lingering: false,
            port: None,
            invite_waits: None,
            key_frame_asked: None,
            ended: None,
        });
        let stream = id;
        self.media(
            shard,
            MediaCommand::OpenIngest {
                stream,
                ssrc,
                transport,
                options: IngestOptions {
                    pace: Pace::NORMAL,
                    port: None,
                    any_ssrc: false,
                    loss: loss.or(self.config.loss),
                    maps: payloads,
                },
            },
        );
        if transport == MediaTransport::TcpActive {
            let ssrc = None;
            self.media(
                shard,
                MediaCommand::UpdateIngest {
                    stream,
                    ssrc,
                    remote,
                },
            );
        }
    }

    /// Does what an outcome means for a named stream.
    pub(super) fn named_outcome(&mut self, now: Instant, key: &StreamKey, outcome: Outcome) {
        match outcome {
            Outcome::Stay
            | Outcome::Moved
            | Outcome::TracksChanged
            | Outcome::Foreign(_)
            | Outcome::PortOpen
            | Outcome::PortTaken => {}
            Outcome::BecameLive => self.became_live(now, key),
            Outcome::Stalled => self.reopen(now, key),
            Outcome::Failed(failure) => self.named_failed(now, key, failure),
        }
    }

    /// Before the first picture: an unsupported codec is told to all who wait, anything else is tried again.
    fn named_failed(&mut self, now: Instant, key: &StreamKey, failure: ViewFailure) {
        let Some(stream) = self.streams.get_mut(key) else {
            return;
        };
        if let ViewFailure::UnsupportedCodec { stream_type } = failure {
            if let Source::Named { unsupported, .. } = &mut stream.source {
                *unsupported = Some(stream_type);
            }
            let waiting: Vec<SessionId> = stream.sessions.iter().copied().collect();
            for id in waiting {
                self.named_missing(now, id);
            }
            return;
        }
        if stream.transport == MediaTransport::TcpActive {
            let at = now + Duration::from_secs(limits::INGEST_RETRY_S);
            self.timers.set(Timer::Stream(stream.id), at);
        } else if !matches!(stream.phase, Phase::Rtp { .. }) {
            self.reopen(now, key);
        }
    }

    /// Opens the ingest anew under another id. Viewers go, those who wait stay.
    pub(super) fn reopen(&mut self, now: Instant, key: &StreamKey) {
        let Some(mut stream) = self.take_attempt(now, key, false) else {
            return;
        };
        self.counters.ingest_reopened += 1;
        let waits = |id: &SessionId| {
            let session = self.sessions.get(id);
            session.is_some_and(|s| matches!(s.state, State::Waiting { .. }))
        };
        let (waiting, watching): (BTreeSet<_>, BTreeSet<_>) = std::mem::take(&mut stream.sessions)
            .into_iter()
            .partition(waits);
        stream.sessions = watching;
        let gone = Error::NotFound { what: "stream" };
        self.close_all(now, &mut stream, Closed::StreamEnded, None, gone);
        let mut source = stream.source;
        if let Source::Named { unsupported, .. } = &mut source {
            *unsupported = None;
        }
        let shard = stream.id.shard;
        self.open_named(key.clone(), shard, source, stream.transport, waiting);
    }

    /// Tells one who waits for a named stream what is missing.
    pub(super) fn named_missing(&mut self, now: Instant, id: SessionId) {
        let Some(session) = self.sessions.get(&id) else {
            return;
        };
        let Some(stream) = self.streams.get_mut(&session.key) else {
            return;
        };
        let missing = match stream.source {
            Source::Named {
                unsupported: Some(stream_type),
                ..
            } => ViewFailure::UnsupportedCodec { stream_type },
            Source::Named { .. } | Source::Device(_) => stream.phase.missing(&stream.stats),
        };
        stream.sessions.remove(&id);
        let view = session.view(id, stream, self.traces.get(&session.key), &self.wall);
        let stream_id = stream.id;
        let error = Error::View(missing.clone(), None);
        self.counters.failed(&error);
        let failure = Some((view.stage, missing));
        self.file(now, view, stream_id, Closed::Failed, failure, error);
    }
}
