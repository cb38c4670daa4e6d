//! How a view starts (design, section 5).
//!
//! The stream is there: subscribe. It is not: one opening for its key, and whoever comes meanwhile waits for the same
//! one. An opening is a row of attempts, one a transport: SSRC and shard are picked, the shard is told, the device
//! invited; each step has its deadline, and each failure its name. When a transport brings no packet the next is tried,
//! and what worked is remembered for the device.

use std::collections::{BTreeSet, VecDeque};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use tracing::{info, warn};

use crate::gb28181::{
    Command, EndedBy, Footage, Invite, InviteFailure, InviteId, MediaAnswer, MediaTransport,
};
use crate::id::{ChannelId, DeviceId, SessionId, Ssrc, StreamId, StreamKey};
use crate::limits;
use crate::media::ingest::Pace;

use super::core::{Core, Output, Persist, RequestId};
use super::counters::Ended;
use super::declared::hints;
use super::devices::ended_by;
use super::playback::Playing;
use super::policy::ForeignSsrcPolicy;
use super::port::{IngestOptions, MediaCommand, Progress, ViewerStats};
use super::ports::Lease;
use super::record::{Session, State};
use super::ssrc::of_history;
use super::stream::{Dialog, Early, Input, Outcome, Phase, Source, Stream};
use super::timers::Timer;
use super::trace::Trace;
use super::types::{
    Error, Event, IngestStats, Opened, Owner, Reply, Target, ViewFailure, ViewKind,
};

/// The port that an SDP names when nobody listens there (RFC 4145, section 4.1: "discard").
const DISCARD_PORT: u16 = 9;

/// What an attempt is given of what there is only so much of.
struct Means {
    ssrc: Ssrc,
    ssrc_is_ours: bool,
    port: Option<Lease>,
}

impl Core {
    /// `Open`: the reply comes when the picture does.
    pub(super) fn open(
        &mut self,
        now: Instant,
        request: RequestId,
        target: Target,
        kind: ViewKind,
        owner: Owner,
    ) {
        self.counters.opens += 1;
        if let Err(error) = self.try_open(now, request, target, kind, owner) {
            self.counters.failed(&error);
            self.reply(request, Err(error));
        }
    }

    fn try_open(
        &mut self,
        now: Instant,
        request: RequestId,
        target: Target,
        kind: ViewKind,
        owner: Owner,
    ) -> Result<(), Error> {
        let id = self.new_session_id();
        let footage = match &target {
            Target::Record { footage, .. } => *footage,
            Target::Channel { .. } | Target::Named(_) | Target::Playback(_) => Footage::Live,
        };
        let (key, index) = self.resolve(target, id)?;
        if self.sessions.len() >= self.config.sessions_max {
            return Err(Error::Busy { limit: "sessions" });
        }
        match self.streams.get(&key) {
            Some(stream) if stream.phase.is_live() => self.counters.joined_live += 1,
            Some(_) => self.counters.joined_opening += 1,
            None => self.begin(now, &key, footage)?,
        }
        self.sessions.insert(
            id,
            Session {
                key: key.clone(),
                index,
                kind,
                owner,
                state: State::Waiting { request },
                created: now,
                first_frame_ms: None,
                viewer: ViewerStats::default(),
            },
        );
        self.push(Output::Event(Event::SessionOpened { session: id }));
        let Some(stream) = self.streams.get_mut(&key) else {
            return Ok(());
        };
        stream.sessions.insert(id);
        if std::mem::take(&mut stream.lingering) {
            self.counters.linger_joined += 1;
            if !stream.is_ending() {
                self.timers.clear(Timer::Stream(stream.id));
            }
        }
        if stream.phase.is_live() {
            self.answer(now, id);
        } else if let Source::Named { .. } = stream.source {
            let until = now + self.config.rtp_timeout + self.config.picture_timeout;
            self.timers.set(Timer::Session(id), until);
        }
        Ok(())
    }

    /// Finds what is meant; a device must be there and online.
    fn resolve(&self, target: Target, session: SessionId) -> Result<(StreamKey, u32), Error> {
        match target {
            Target::Channel { device, index } => {
                let channel = self.channel(device, index)?;
                Ok((StreamKey::Live { device, channel }, index))
            }
            Target::Record {
                device,
                index,
                footage,
            } => {
                let channel = self.channel(device, index)?;
                if footage == Footage::Live {
                    let what = "a record has a beginning and an end";
                    return Err(Error::BadParameter { what });
                }
                let key = StreamKey::Record {
                    device,
                    channel,
                    play: session,
                };
                self.room_to_play(&key)?;
                Ok((key, index))
            }
            Target::Playback(play) => {
                let missing = Error::NotFound { what: "playback" };
                let key = self.play_key(play).ok_or(missing.clone())?;
                let stream = self.streams.get(&key).ok_or(missing)?;
                if let Some(end) = stream.playing().and_then(|p| p.end.clone()) {
                    return Err(Error::PlaybackOver { end });
                }
                let first = stream.sessions.iter().next();
                let index = first.and_then(|id| self.sessions.get(id)).map(|s| s.index);
                let known = key
                    .place()
                    .and_then(|(device, channel)| self.registry.get(device)?.index(channel));
                Ok((key, index.or(known).unwrap_or(0)))
            }
            Target::Named(name) => {
                let key = StreamKey::Named(name);
                if self.streams.contains_key(&key) {
                    Ok((key, 0))
                } else {
                    Err(Error::NotFound { what: "stream" })
                }
            }
        }
    }

    /// A channel of a device that is there and online.
    fn channel(&self, device: DeviceId, index: u32) -> Result<ChannelId, Error> {
        let known = self
            .registry
            .get(device)
            .ok_or(Error::NotFound { what: "device" })?;
        if !known.online {
            return Err(Error::DeviceOffline);
        }
        known
            .channel(index)
            .ok_or(Error::NotFound { what: "channel" })
    }

    /// Begins the opening of a channel's stream.
    fn begin(&mut self, now: Instant, key: &StreamKey, footage: Footage) -> Result<(), Error> {
        let Some((device, channel)) = key.place() else {
            return Err(Error::NotFound { what: "stream" });
        };
        if self.streams.len() >= self.config.streams_max {
            return Err(Error::Busy { limit: "streams" });
        }
        let known = self.registry.get(device);
        let forced = known.map(|d| d.policy.transport).unwrap_or_default();
        let worked = known.and_then(|d| d.transport);
        let mut rest = VecDeque::from(self.config.attempts(forced, worked));
        let transport = rest.pop_front().unwrap_or(self.config.transport);
        let means = self.means(now, transport, footage)?;
        let dialog = Dialog {
            device,
            playing: (footage != Footage::Live).then(|| Playing::new(footage)),
            invite: InviteId(0),
            ssrc: means.ssrc,
            ssrc_is_ours: means.ssrc_is_ours,
            ports_tried: 0,
            rest,
            started: now,
            furthest: None,
        };
        let sessions = BTreeSet::new();
        self.attempt(now, key, channel, dialog, transport, means.port, sessions);
        Ok(())
    }

    /// The SSRC and the port of an attempt. With a port of its own the SSRC is one of the pool as long as there is one, and
    /// shared when there is none.
    fn means(
        &mut self,
        now: Instant,
        transport: MediaTransport,
        footage: Footage,
    ) -> Result<Means, Error> {
        let port = match (&mut self.ports, transport) {
            (Some(ports), MediaTransport::Udp | MediaTransport::TcpPassive) => {
                let busy = Error::Busy {
                    limit: "media ports",
                };
                Some(ports.take(now).ok_or(busy)?)
            }
            (Some(_), MediaTransport::TcpActive) | (None, _) => None,
        };
        let own = self.ssrcs.take(now);
        let ssrc_is_ours = own.is_some();
        let ssrc = match (own, &port) {
            (Some(ssrc), _) => ssrc,
            (None, Some(_)) => self.ssrcs.share(),
            (None, None) => return Err(Error::Busy { limit: "SSRCs" }),
        };
        let ssrc = match footage {
            Footage::Live => ssrc,
            Footage::Playback(_) | Footage::Download { .. } => of_history(ssrc),
        };
        Ok(Means {
            ssrc,
            ssrc_is_ours,
            port,
        })
    }

    /// One INVITE. `dialog.ssrc` and `lease` are fresh; the ids are made here.
    #[expect(
        clippy::too_many_arguments,
        reason = "they are what one attempt is made of"
    )]
    fn attempt(
        &mut self,
        now: Instant,
        key: &StreamKey,
        channel: ChannelId,
        mut dialog: Dialog,
        transport: MediaTransport,
        lease: Option<Lease>,
        sessions: BTreeSet<SessionId>,
    ) {
        let shard = self.shard();
        let id = self.new_stream_id(shard);
        dialog.invite = self.new_invite_id();
        let ssrc = dialog.ssrc;
        let known = self.registry.get(dialog.device);
        let policy = known.map(|d| d.policy).unwrap_or_default();
        let own_port = lease.as_ref().map(Lease::rtp);
        let port = own_port.unwrap_or(self.config.rtp_ports[usize::from(shard)]);
        let playing = dialog.playing.clone();
        let footage = playing.as_ref().map_or(Footage::Live, |p| p.footage);
        let invite = Invite {
            id: dialog.invite,
            device: dialog.device,
            channel,
            footage,
            ssrc,
            transport,
            media_port: match transport {
                MediaTransport::Udp | MediaTransport::TcpPassive => port,
                MediaTransport::TcpActive => DISCARD_PORT,
            },
            media_ip: self.media_ip(dialog.device),
        };
        info!(device = %dialog.device, %channel, %ssrc, stream = id.number, shard, ?transport, "inviting");
        self.counters.attempts += 1;
        let trace = self.traces.entry(key.clone()).or_default();
        trace.begin(now, transport, Some(ssrc));
        self.by_invite.insert(dialog.invite, key.clone());
        self.add_stream(Stream {
            key: key.clone(),
            id,
            source: Source::Device(dialog),
            transport,
            expects: Some(ssrc),
            phase: Phase::Inviting { early: Early::None },
            stats: IngestStats::default(),
            sessions,
            lingering: false,
            port: lease,
            invite_waits: own_port.is_some().then(|| invite.clone()),
            key_frame_asked: None,
            ended: None,
        });
        self.media(
            shard,
            MediaCommand::OpenIngest {
                stream: id,
                ssrc: Some(ssrc),
                transport,
                options: IngestOptions {
                    port: own_port,
                    any_ssrc: own_port.is_some()
                        && policy.foreign_ssrc != ForeignSsrcPolicy::Refuse,
                    loss: policy.loss.or(self.config.loss),
                    // What it says of them comes with its answer.
                    maps: Default::default(),
                    pace: playing.as_ref().map_or(Pace::NORMAL, Playing::pace),
                },
            },
        );
        if own_port.is_none() {
            self.push(Output::Platform(Command::Invite(invite)));
        }
        self.arm(now, key);
    }

    /// Enters a stream with its attempt everywhere but in `by_invite`.
    pub(super) fn add_stream(&mut self, stream: Stream) {
        self.load[usize::from(stream.id.shard)] += 1;
        self.by_stream.insert(stream.id, stream.key.clone());
        if let Some(ssrc) = stream.expects.filter(|_| stream.port.is_none()) {
            self.expected.insert((stream.id.shard, ssrc), stream.id);
        }
        self.streams.insert(stream.key.clone(), stream);
    }

    /// 200 OK with usable SDP.
    pub(super) fn invite_answered(&mut self, now: Instant, id: InviteId, answer: MediaAnswer) {
        let Some(key) = self.by_invite.get(&id).cloned() else {
            return;
        };
        let Some(stream) = self.streams.get_mut(&key) else {
            return;
        };
        if !matches!(stream.phase, Phase::Inviting { .. }) {
            return;
        }
        if let Some(playing) = stream.playing_mut() {
            playing.file_bytes = answer.file_bytes;
        }
        let stats = stream.stats;
        let active = stream.transport == MediaTransport::TcpActive;
        if active && answer.remote.is_none() {
            let what = "no address to connect to";
            self.fail(now, &key, ViewFailure::BadAnswer { what }.into(), true);
            return;
        }
        let hints = match hints(&answer.payloads) {
            Ok(hints) => hints,
            Err(failure) => return self.fail(now, &key, failure.into(), true),
        };
        let outcome = stream.phase.step(Input::Answered, &stats);
        if let Some(trace) = self.traces.get_mut(&key) {
            trace.answered(now, answer.remote);
        }
        let stream_id = stream.id;
        let other = answer
            .ssrc
            .filter(|s| s.0 != 0 && stream.expects != Some(*s));
        let other = other.filter(|ssrc| self.expect(&key, *ssrc));
        if other.is_some() {
            self.counters.ssrc_changed += 1;
        }
        if hints.iter().any(Option::is_some) {
            let stream = stream_id;
            self.media(stream.shard, MediaCommand::DescribeIngest { stream, hints });
        }
        // Where it sends from tells its packets apart when they have an SSRC that nobody knows.
        if other.is_some() || answer.remote.is_some() {
            self.media(
                stream_id.shard,
                MediaCommand::UpdateIngest {
                    stream: stream_id,
                    ssrc: other,
                    remote: answer.remote,
                },
            );
        }
        self.arm(now, &key);
        self.act(now, &key, outcome);
    }

    /// The INVITE came to nothing; there is no dialog to end.
    pub(super) fn invite_failed(&mut self, now: Instant, id: InviteId, failure: InviteFailure) {
        let Some(key) = self.by_invite.get(&id).cloned() else {
            return;
        };
        let error = match failure {
            InviteFailure::DeviceUnknown => Error::NotFound { what: "device" },
            InviteFailure::DeviceOffline => Error::DeviceOffline,
            InviteFailure::NoAnswer | InviteFailure::Cancelled => ViewFailure::NoAnswer.into(),
            InviteFailure::Rejected { status, reason } => {
                ViewFailure::Rejected { status, reason }.into()
            }
            InviteFailure::BadAnswer { what } => ViewFailure::BadAnswer { what }.into(),
            InviteFailure::TooMany => Error::Busy { limit: "INVITEs" },
        };
        self.fail(now, &key, error, false);
    }

    /// The dialog is over and we did not end it: of those we end nothing is known here any more.
    pub(super) fn invite_ended(&mut self, now: Instant, id: InviteId, by: EndedBy) {
        let Some(key) = self.by_invite.remove(&id) else {
            return;
        };
        let Some(stream) = self.streams.get(&key) else {
            return;
        };
        if stream.phase.is_live() && stream.playing().is_some() {
            return self.end_soon(now, &key, ended_by(by));
        }
        if stream.phase.is_live() {
            self.end_stream(now, &key, ended_by(by));
            return;
        }
        let failure = match by {
            EndedBy::Device => ViewFailure::EndedByDevice,
            EndedBy::Us | EndedBy::Lost | EndedBy::Revoked => ViewFailure::DeviceLost,
        };
        self.fail(now, &key, failure.into(), false);
    }

    /// The shard reports how far a stream has come.
    pub(super) fn progress(&mut self, now: Instant, id: StreamId, progress: Progress) {
        let Some(key) = self.by_stream.get(&id).cloned() else {
            return;
        };
        let Some(stream) = self.streams.get_mut(&key) else {
            return;
        };
        let stats = stream.stats;
        let trace = self.traces.entry(key.clone()).or_insert_with(|| {
            let mut trace = Trace::default();
            trace.begin(now, stream.transport, stream.expects);
            trace
        });
        trace.progress(now, &progress);
        let outcome = stream.phase.step(Input::Progress(progress), &stats);
        match stream.source {
            Source::Device(_) => {
                if outcome == Outcome::Moved {
                    self.arm(now, &key);
                }
                self.act(now, &key, outcome);
            }
            Source::Named { .. } => self.named_outcome(now, &key, outcome),
        }
    }

    /// The time of a stream's phase, of its linger or of its rest is over.
    pub(super) fn stream_deadline(&mut self, now: Instant, id: StreamId) {
        let Some(key) = self.by_stream.get(&id).cloned() else {
            return;
        };
        let Some(stream) = self.streams.get_mut(&key) else {
            return;
        };
        match stream.source {
            Source::Named { .. } => self.reopen(now, &key),
            Source::Device(_) if stream.is_ending() => {
                let why = stream.playing().and_then(|p| p.ending);
                self.end_stream(now, &key, why.unwrap_or(Ended::ByDevice));
            }
            Source::Device(_) if stream.lingering => self.end_stream(now, &key, Ended::Unwatched),
            Source::Device(_) => {
                let stats = stream.stats;
                let outcome = stream.phase.step(Input::Deadline, &stats);
                self.act(now, &key, outcome);
            }
        }
    }

    /// Does what an outcome means for the stream of a device.
    fn act(&mut self, now: Instant, key: &StreamKey, outcome: Outcome) {
        match outcome {
            Outcome::Stay | Outcome::Moved | Outcome::TracksChanged => {}
            Outcome::BecameLive => self.became_live(now, key),
            Outcome::Foreign(seen) => self.adopt(key, seen),
            Outcome::PortOpen => {
                let stream = self.streams.get_mut(key);
                if let Some(invite) = stream.and_then(|s| s.invite_waits.take()) {
                    self.push(Output::Platform(Command::Invite(invite)));
                }
            }
            Outcome::PortTaken => self.change_port(now, key),
            Outcome::Failed(failure) => self.fail(now, key, failure.into(), true),
            Outcome::Stalled => self.end_stream(now, key, Ended::Stalled),
        }
    }

    /// Starts the deadline of the present phase.
    fn arm(&mut self, now: Instant, key: &StreamKey) {
        let Some(stream) = self.streams.get(key) else {
            return;
        };
        let timer = Timer::Stream(stream.id);
        let time = match stream.phase {
            Phase::Inviting { .. } => self.config.invite_timeout,
            Phase::Rtp { .. } => self.config.rtp_timeout,
            Phase::Ps | Phase::KeyFrame => self.config.picture_timeout,
            Phase::Live { .. } => return self.timers.clear(timer),
        };
        let at = match &stream.source {
            Source::Device(dialog) => {
                (now + time).min(dialog.started + self.config.opening_timeout)
            }
            Source::Named { .. } => now + time,
        };
        self.timers.set(timer, at);
    }

    pub(super) fn became_live(&mut self, now: Instant, key: &StreamKey) {
        let Some(stream) = self.streams.get(key) else {
            return;
        };
        self.timers.clear(Timer::Stream(stream.id));
        self.counters.live += 1;
        let mut learned = None;
        if let Source::Device(dialog) = &stream.source {
            let ms = now.saturating_duration_since(dialog.started).as_millis() as u64;
            info!(device = %dialog.device, ssrc = %dialog.ssrc, stream = stream.id.number, ms, "live");
            if dialog.furthest.is_some() {
                self.counters.fallbacks_live += 1;
                let (device, transport) = (dialog.device, stream.transport);
                if let Some(known) = self.registry.get_mut(device)
                    && known.transport.replace(transport) != Some(transport)
                {
                    learned = Some(Persist::Transport { device, transport });
                }
            }
        }
        let waiting: Vec<SessionId> = stream.sessions.iter().copied().collect();
        if let Some(fact) = learned {
            self.push(Output::Persist(fact));
        }
        for id in waiting {
            self.answer(now, id);
        }
        self.watch_for_nobody(now, key);
    }

    /// Replies to a session that waits: its stream is live.
    fn answer(&mut self, now: Instant, id: SessionId) {
        let Some(session) = self.sessions.get_mut(&id) else {
            return;
        };
        let State::Waiting { request } = session.state else {
            return;
        };
        let Some(stream) = self.streams.get(&session.key) else {
            return;
        };
        let waited = now.saturating_duration_since(session.created);
        session.first_frame_ms = Some(u32::try_from(waited.as_millis()).unwrap_or(u32::MAX));
        session.state = State::Unclaimed;
        let opened = Opened {
            session: id,
            stream: stream.id,
            tracks: stream.phase.tracks().to_vec(),
        };
        self.timers.set(Timer::Session(id), now + self.config.claim);
        self.reply(request, Ok(Reply::Opened(opened)));
    }

    /// Takes the SSRC that the device really sends, when that can only be this stream's: it is the one we asked for, or
    /// none of our numbering (an old sender, even of a former run, has one of ours), and no other stream of the device
    /// waits for its first packet.
    fn adopt(&mut self, key: &StreamKey, seen: Ssrc) {
        let Some(Stream {
            id,
            source: Source::Device(dialog),
            ..
        }) = self.streams.get(key)
        else {
            return;
        };
        let (id, device, offered) = (*id, dialog.device, dialog.ssrc);
        let waits = |k: &StreamKey| {
            let stream = self.streams.get(k);
            stream.is_some_and(|s| matches!(s.phase, Phase::Inviting { .. } | Phase::Rtp { .. }))
        };
        let only = !self
            .streams_of(device)
            .iter()
            .any(|other| other != key && waits(other));
        let known = self.registry.get(device);
        let sure = match known.map(|d| d.policy.foreign_ssrc).unwrap_or_default() {
            ForeignSsrcPolicy::Auto => seen == offered || (only && !self.ssrcs.is_ours(seen)),
            ForeignSsrcPolicy::Switch => true,
            ForeignSsrcPolicy::Refuse => false,
        };
        if !self.config.adopt_foreign_ssrc || !sure || !self.expect(key, seen) {
            return;
        }
        warn!(%device, ssrc = %offered, %seen, stream = id.number, "takes the SSRC that the device really sends");
        self.counters.ssrc_adopted += 1;
        self.media(
            id.shard,
            MediaCommand::UpdateIngest {
                stream: id,
                ssrc: Some(seen),
                remote: None,
            },
        );
    }

    /// A media thread holds pictures back: the device is asked for a key frame, not more often than
    /// [`limits::KEY_FRAME_ASK_S`].
    pub(super) fn want_key_frame(&mut self, now: Instant, id: StreamId) {
        let Some(stream) = self
            .by_stream
            .get(&id)
            .and_then(|key| self.streams.get_mut(key))
        else {
            return;
        };
        let (Source::Device(dialog), StreamKey::Live { channel, .. }) =
            (&stream.source, &stream.key)
        else {
            return;
        };
        let pause = Duration::from_secs(limits::KEY_FRAME_ASK_S);
        let rests = |at: Instant| now.saturating_duration_since(at) < pause;
        if stream.key_frame_asked.is_some_and(rests) {
            return;
        }
        let (device, channel) = (dialog.device, *channel);
        stream.key_frame_asked = Some(now);
        self.counters.key_frames_asked += 1;
        self.push(Output::Platform(Command::RequestKeyFrame {
            device,
            channel,
        }));
    }

    /// Makes a stream wait for another SSRC, unless another stream of its shard has that one.
    fn expect(&mut self, key: &StreamKey, ssrc: Ssrc) -> bool {
        let Some(stream) = self.streams.get_mut(key) else {
            return false;
        };
        let shard = stream.id.shard;
        if stream.port.is_some() {
            stream.expects = Some(ssrc);
            return true;
        }
        if self.expected.contains_key(&(shard, ssrc)) {
            return false;
        }
        if let Some(old) = stream.expects.replace(ssrc) {
            self.expected.remove(&(shard, old));
        }
        self.expected.insert((shard, ssrc), stream.id);
        true
    }

    /// An attempt failed. Tries the next transport if that can help and there is time, else ends the opening with the
    /// failure of the attempt that came furthest. `dialog` = there is an INVITE to be ended.
    fn fail(&mut self, now: Instant, key: &StreamKey, error: Error, dialog: bool) {
        let Some(mut stream) = self.take_attempt(now, key, dialog) else {
            return;
        };
        let stage = stream.phase.stage();
        let (Source::Device(dialog), Some((_, channel))) = (&mut stream.source, key.place()) else {
            return;
        };
        warn!(device = %dialog.device, %channel, ssrc = %dialog.ssrc, stream = stream.id.number,
            transport = ?stream.transport, stage = stage.name(), %error, "attempt failed");
        if let Some(trace) = self.traces.get_mut(key)
            && let Error::View(failure, _) = &error
        {
            trace.failed(stage, failure, stream.stats);
        }
        let Error::View(failure, _) = error else {
            self.close_failed(now, stream, stage, error);
            return;
        };
        let retry = another_transport_may_help(&failure);
        let further = !matches!(&dialog.furthest, Some((before, _)) if *before >= stage);
        if further {
            dialog.furthest = Some((stage, failure));
        }
        let in_time = now < dialog.started + self.config.fallback_window;
        if retry
            && in_time
            && let Some(transport) = dialog.rest.pop_front()
            && let Ok(means) = self.means(now, transport, dialog.footage())
        {
            self.counters.fallbacks += 1;
            let dialog = Dialog {
                device: dialog.device,
                playing: dialog.playing.take(),
                invite: dialog.invite,
                ssrc: means.ssrc,
                ssrc_is_ours: means.ssrc_is_ours,
                ports_tried: dialog.ports_tried,
                rest: std::mem::take(&mut dialog.rest),
                started: dialog.started,
                furthest: dialog.furthest.take(),
            };
            let sessions = std::mem::take(&mut stream.sessions);
            self.attempt(now, key, channel, dialog, transport, means.port, sessions);
            return;
        }
        let (stage, failure) = dialog
            .furthest
            .take()
            .expect("it was set above if it was not before");
        self.close_failed(now, stream, stage, failure.into());
    }

    /// Another program has the port: the INVITE that would have named it is not sent, and the next one names another.
    fn change_port(&mut self, now: Instant, key: &StreamKey) {
        let Some(mut stream) = self.take_attempt(now, key, true) else {
            return;
        };
        self.counters.ports_taken += 1;
        let (transport, stage) = (stream.transport, stream.phase.stage());
        let (Source::Device(dialog), Some((_, channel))) = (&mut stream.source, key.place()) else {
            return;
        };
        let port = stream.port.as_ref().map(Lease::rtp);
        warn!(device = %dialog.device, %channel, ?port, "another program has a port of the range for media");
        let more = dialog.ports_tried + 1 < limits::PORT_TRIES;
        let footage = dialog.footage();
        match more.then(|| self.means(now, transport, footage)) {
            Some(Ok(means)) => {
                let dialog = Dialog {
                    device: dialog.device,
                    playing: dialog.playing.take(),
                    invite: dialog.invite,
                    ssrc: means.ssrc,
                    ssrc_is_ours: means.ssrc_is_ours,
                    ports_tried: dialog.ports_tried + 1,
                    rest: std::mem::take(&mut dialog.rest),
                    started: dialog.started,
                    furthest: dialog.furthest.take(),
                };
                let sessions = std::mem::take(&mut stream.sessions);
                self.attempt(now, key, channel, dialog, transport, means.port, sessions);
            }
            Some(Err(_)) | None => {
                let busy = Error::Busy {
                    limit: "media ports",
                };
                self.close_failed(now, stream, stage, busy);
            }
        }
    }

    /// The address that a device is told to send to; `None` = the one by which it reached us.
    fn media_ip(&self, device: DeviceId) -> Option<IpAddr> {
        let known = self.registry.get(device);
        let peer = known.and_then(|d| d.peer).map(|peer| peer.ip());
        let forced = known.and_then(|d| d.policy.media_ip);
        self.config.media_address.choose(forced, peer)
    }

    /// Everything that is played back or downloaded; their keys come last.
    fn records(&self) -> impl Iterator<Item = &StreamKey> {
        let keys = self.streams.keys().rev();
        keys.take_while(|key| matches!(key, StreamKey::Record { .. }))
    }

    /// Every stream of a device.
    pub(super) fn streams_of(&self, device: DeviceId) -> Vec<StreamKey> {
        let lowest = "0".parse().expect("one digit is a code");
        let from = StreamKey::Live {
            device,
            channel: ChannelId(lowest),
        };
        self.streams
            .range(from..)
            .map(|(key, _)| key)
            .take_while(|key| matches!(key, StreamKey::Live { device: d, .. } if *d == device))
            .chain(
                self.records().filter(
                    |key| matches!(key, StreamKey::Record { device: d, .. } if *d == device),
                ),
            )
            .cloned()
            .collect()
    }
}

/// Whether a failure can be the transport's: no way for the packets, or none that the device offers.
fn another_transport_may_help(failure: &ViewFailure) -> bool {
    match failure {
        ViewFailure::NoRtp
        | ViewFailure::NoConnection
        | ViewFailure::EndedByDevice
        | ViewFailure::BadAnswer { .. } => true,
        // 415 Unsupported Media Type, 488 and 606 Not Acceptable (RFC 3261, section 21).
        ViewFailure::Rejected { status, .. } => matches!(status, 415 | 488 | 606),
        ViewFailure::NoAnswer
        | ViewFailure::ForeignSsrc { .. }
        | ViewFailure::NoProgramStream
        | ViewFailure::NoPsm
        | ViewFailure::NoKeyFrame
        | ViewFailure::UnsupportedCodec { .. }
        | ViewFailure::DeviceLost => false,
    }
}

impl From<ViewFailure> for Error {
    fn from(failure: ViewFailure) -> Error {
        Error::View(failure, None)
    }
}
