//! The session core: commands, platform events and media events in; replies, orders and events out.
//!
//! ```text
//!  REST, WebSocket ── Command ──►┌──────┐── gb28181::Command ──► platform (SIP) ── devices
//!                 ◄── Reply ─────│ Core │◄─ gb28181::Event ─────
//!                 ◄── Event ─────│      │── MediaCommand ──────► media threads (RTP in, viewers out)
//!  store          ◄── Persist ───└──────┘◄─ MediaEvent ─────────
//! ```
//!
//! The caller drains [`Core::poll_output`] after every `handle_*` and calls [`Core::handle_timeout`] at
//! [`Core::next_deadline`]. Time never goes back. Every request has exactly one [`Output::Reply`].
//!
//! Not done here: who may do what (the API knows its users), bytes of any kind, and the store itself.
//!
//! Bounds: streams, sessions and devices by [`CoreConfig`]; records and channels by [`crate::limits`].

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use crate::gb28181::gb35114::SharedKey;
use crate::gb28181::subscribe::Wanted;
use crate::gb28181::{self, AskId, CatalogItem, DeviceInfo, InviteId, MediaTransport};
use crate::id::{ChannelId, DeviceId, SessionId, Ssrc, StreamId, StreamKey};
use crate::limits;
use crate::time::WallClock;

use super::alarms::Retold;
use super::config::CoreConfig;
use super::counters::{Closed, Counters, Ended, Gauges};
use super::playback::Ordered;
use super::port::{MediaCommand, MediaEvent, ViewerStats};
use super::ports::Ports;
use super::record::{History, Session, State};
use super::registry::{Registry, RestoredDevice};
use super::ssrc::Pool;
use super::stream::Stream;
use super::timers::{Timer, Timers};
use super::trace::Trace;
use super::types::{Command, Error, Event, MediaServiceView, Presence, Reply, SessionView};

/// The caller's number of a request; never used twice in one run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// What the core wants done.
#[derive(Clone, Debug)]
pub enum Output {
    Reply(RequestId, Result<Reply, Error>),
    Platform(gb28181::Command),
    Media {
        shard: u8,
        command: MediaCommand,
    },
    Event(Event),
    Persist(Persist),
    /// To be answered with [`gb28181::Platform::messages`], which this core does not hold.
    Messages {
        request: RequestId,
        device: DeviceId,
    },
}

/// Facts for the store, in order.
#[derive(Clone, Debug)]
pub enum Persist {
    /// What the platform wants kept.
    Platform(gb28181::Persist),
    Info {
        device: DeviceId,
        info: DeviceInfo,
    },
    /// By what a picture came after another way had brought none.
    Transport {
        device: DeviceId,
        transport: MediaTransport,
    },
    /// The nodes of a device's directory, those that are no channels; replaces those before.
    Directory {
        device: DeviceId,
        nodes: Vec<CatalogItem>,
    },
    /// A channel that is new or otherwise than before, by index.
    Channel {
        device: DeviceId,
        place: u32,
        item: Box<CatalogItem>,
    },
    /// A node of a device's directory that is new or otherwise than before; `None`: it is no more.
    Node {
        device: DeviceId,
        id: String,
        item: Option<Box<CatalogItem>>,
    },
    /// The whole list of a device by index; replaces the one before.
    Channels {
        device: DeviceId,
        channels: Vec<CatalogItem>,
        partial: bool,
    },
}

/// Whether the core takes commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Running {
    Yes,
    /// Every dialog is being ended; the request is answered when they are.
    Draining(RequestId),
    No,
}

/// See the [module](self).
#[derive(Debug)]
pub struct Core {
    pub(super) config: CoreConfig,
    pub(super) wall: WallClock,
    pub(super) ssrcs: Pool,
    /// `None`: streams share the ports of their shards.
    pub(super) ports: Option<Ports>,
    /// Which SSRC each shard was told to take, and for which stream.
    pub(super) expected: HashMap<(u8, Ssrc), StreamId>,
    pub(super) registry: Registry,
    pub(super) streams: BTreeMap<StreamKey, Stream>,
    /// How each of them was opened.
    pub(super) traces: HashMap<StreamKey, Trace>,
    pub(super) by_stream: HashMap<StreamId, StreamKey>,
    pub(super) by_invite: HashMap<InviteId, StreamKey>,
    /// Streams of each shard.
    pub(super) load: Vec<u32>,
    pub(super) sessions: BTreeMap<SessionId, Session>,
    pub(super) history: History,
    pub(super) services: Vec<MediaServiceView>,
    pub(super) timers: Timers,
    pub(super) counters: Counters,
    pub(super) running: Running,
    next_session: u64,
    next_stream: u32,
    next_invite: u64,
    next_ask: u64,
    /// Of the last alarm.
    pub(super) last_alarm: i64,
    pub(super) retold: Retold,
    /// Who waits for the outcome of which question or order.
    pub(super) asks: HashMap<AskId, RequestId>,
    /// Orders to playbacks that are not answered yet.
    pub(super) orders: HashMap<AskId, Ordered>,
    /// Playbacks that were ended here a moment ago, oldest first; at most [`limits::PLAYBACKS_MAX`].
    pub(super) torn_down: VecDeque<(Instant, DeviceId, ChannelId)>,
    outputs: VecDeque<Output>,
}

impl Core {
    /// A core without devices. Panics if the config has no shard or not one port for each: that is a mistake of the
    /// program, not of a user.
    pub fn new(config: CoreConfig, seed: [u8; 32], now: Instant, wall: WallClock) -> Core {
        assert!(config.shards > 0, "a node has at least one shard");
        assert_eq!(
            config.rtp_ports.len(),
            usize::from(config.shards),
            "every shard has a port"
        );
        let mut rng = ChaCha8Rng::from_seed(seed);
        let shards = 0..config.shards;
        let services = shards.zip(&config.rtp_ports);
        Core {
            ssrcs: Pool::new(config.ssrc_realm, rng.next_u32()),
            ports: config
                .session_ports
                .map(|(first, last)| Ports::new(first, last)),
            expected: HashMap::new(),
            registry: Registry::default(),
            streams: BTreeMap::new(),
            traces: HashMap::new(),
            by_stream: HashMap::new(),
            by_invite: HashMap::new(),
            load: vec![0; usize::from(config.shards)],
            sessions: BTreeMap::new(),
            history: History::default(),
            services: services
                .map(|(shard, port)| MediaServiceView {
                    shard,
                    rtp_port: *port,
                    ..MediaServiceView::default()
                })
                .collect(),
            timers: Timers::default(),
            counters: Counters::default(),
            running: Running::Yes,
            // A page that was open before a restart must not close a session of the new run by its old id.
            next_session: (wall.unix_ms(now).max(0) as u64 / 1000) << 20,
            next_stream: 0,
            next_invite: 0,
            next_ask: 0,
            last_alarm: 0,
            retold: Retold::default(),
            asks: HashMap::new(),
            orders: HashMap::new(),
            torn_down: VecDeque::new(),
            outputs: VecDeque::new(),
            config,
            wall,
        }
    }

    /// What the store knows, before anything else comes in. Devices that were online stay so: a restart of ours is no
    /// event of theirs.
    pub fn restore(&mut self, devices: Vec<RestoredDevice>) {
        for restored in devices {
            let command = gb28181::Command::Restore(restored.stored.clone());
            let (device, quirks) = (restored.stored.device, restored.policy.quirks);
            if self.registry.restore(restored, self.config.devices_max) {
                self.push(Output::Platform(command));
                if quirks != gb28181::quirk::Quirks::default() {
                    let command = gb28181::Command::ForceQuirks { device, quirks };
                    self.push(Output::Platform(command));
                }
            } else {
                self.counters.devices_refused += 1;
            }
        }
    }

    /// Keys of GB 35114 that the store knows, after [`Core::restore`].
    pub fn restore_keys(&mut self, keys: Vec<(DeviceId, SharedKey)>) {
        for (device, key) in keys {
            let command = gb28181::Command::RestoreKey { device, key };
            self.push(Output::Platform(command));
        }
    }

    /// Subscriptions that the store knows, after [`Core::restore`].
    pub fn restore_subscriptions(&mut self, all: Vec<(DeviceId, Wanted)>) {
        for (device, wanted) in all {
            if self.registry.get(device).is_some() {
                let command = gb28181::Command::Subscribe { device, wanted };
                self.push(Output::Platform(command));
            }
        }
    }

    /// Ends dialogs that an earlier run left behind, after [`Core::restore`].
    pub fn end_left_over(&mut self, dialogs: Vec<(DeviceId, String)>) {
        for (device, dialog) in dialogs {
            let command = gb28181::Command::EndLeftOver { device, dialog };
            self.push(Output::Platform(command));
        }
    }

    /// Who may register, as the store knows it, before anything else comes in.
    pub fn restore_access(&mut self, access: gb28181::Access) {
        self.push(Output::Platform(gb28181::Command::SetAccess(access)));
    }

    /// One thing asked of the node; the reply may come later.
    pub fn handle_command(&mut self, now: Instant, request: RequestId, command: Command) {
        if self.running != Running::Yes {
            self.reply(request, Err(Error::ShuttingDown));
            return;
        }
        let result = match command {
            Command::Open {
                target,
                kind,
                owner,
            } => {
                self.open(now, request, target, kind, owner);
                return;
            }
            Command::Shutdown => {
                self.shut_down(now, request);
                return;
            }
            Command::Close { session } => {
                self.close_session(now, session, Closed::ByClient);
                Ok(Reply::Done)
            }
            Command::Playback { play } => self.show_playback(play),
            Command::Play { play, order } => match self.play(request, play, order) {
                Ok(None) => return,
                Ok(Some(reply)) => Ok(reply),
                Err(error) => Err(error),
            },
            Command::ClosePlayback { play } => {
                self.close_playback(now, play);
                Ok(Reply::Done)
            }
            Command::CloseOwner { token_id } => {
                self.close_owner(now, token_id);
                Ok(Reply::Done)
            }
            Command::Sessions => Ok(self.list_sessions()),
            Command::Session { session } => self.show_session(session),
            Command::Devices => {
                let all = self.registry.iter().map(|(id, device)| device.view(id));
                Ok(Reply::Devices(all.collect()))
            }
            Command::Device { device } => match self.registry.get(device) {
                Some(found) => Ok(Reply::Device(Box::new(found.view(device)))),
                None => Err(Error::NotFound { what: "device" }),
            },
            Command::DevicesOf { devices } => {
                let of = |id: DeviceId| Some(self.registry.get(id)?.view(id));
                Ok(Reply::Devices(devices.into_iter().filter_map(of).collect()))
            }
            Command::Presence { devices } => {
                let of = |device: DeviceId| {
                    let known = self.registry.get(device)?;
                    Some(Presence {
                        device,
                        online: known.online,
                        last_seen_unix_s: known.last_seen_unix_s,
                    })
                };
                let found = devices.into_iter().filter_map(of).collect();
                Ok(Reply::Presence(found))
            }
            Command::Adopt { device, auth } => self.adopt_device(device, auth),
            Command::Kick { device } => self.kick(device),
            Command::Forget { device } => self.forget(now, device),
            Command::SetAccess(access) => {
                self.push(Output::Platform(gb28181::Command::SetAccess(access)));
                Ok(Reply::Done)
            }
            Command::Subscribe { device, wanted } => self.subscribe(device, wanted),
            Command::Unsubscribe { device, subject } => self.unsubscribe(device, subject),
            Command::Subscriptions { device } => match self.registry.get(device) {
                Some(known) => {
                    let all = known.subscriptions.iter();
                    let all = all.map(|(subject, state)| (*subject, *state)).collect();
                    Ok(Reply::Subscriptions(all))
                }
                None => Err(Error::NotFound { what: "device" }),
            },
            Command::KnownAlarms { device, known } => {
                self.retold.expect(now, device, known);
                Ok(Reply::Done)
            }
            Command::RefreshCatalog { device } => self.refresh_catalog(device),
            Command::Ask {
                device,
                channel,
                ask,
            } => match self.ask(request, device, channel, ask) {
                Ok(()) => return,
                Err(error) => Err(error),
            },
            Command::Messages { device } => {
                self.push(Output::Messages { request, device });
                return;
            }
            Command::ClosedSessions => Ok(Reply::Sessions(self.history.newest_first().collect())),
            Command::SetIdentity(identity) => {
                self.push(Output::Platform(gb28181::Command::SetIdentity(identity)));
                Ok(Reply::Done)
            }
            Command::SetDeviceAuth { device, auth } => {
                self.push(Output::Platform(gb28181::Command::SetAuth { device, auth }));
                Ok(Reply::Done)
            }
            Command::DevicePolicy { device } => match self.registry.get(device) {
                Some(known) => Ok(Reply::DevicePolicy(Box::new(known.policy))),
                None => Err(Error::NotFound { what: "device" }),
            },
            Command::SetDevicePolicy { device, policy } => self.set_policy(device, policy),
            Command::OpenIngest {
                name,
                ssrc,
                transport,
                remote,
                payloads,
                loss,
            } => self.open_ingest(name, ssrc, transport, remote, payloads, loss),
            Command::CloseIngest { name } => self.close_ingest(now, name),
            Command::MediaServices => Ok(Reply::MediaServices(self.services.clone())),
            Command::ResetStatistics => {
                for shard in 0..self.config.shards {
                    self.media(shard, MediaCommand::ResetStatistics);
                }
                Ok(Reply::Done)
            }
        };
        self.reply(request, result);
    }

    /// Something a media thread reports. What it says of streams and sessions that are gone is out of date and ignored.
    pub fn handle_media(&mut self, now: Instant, event: MediaEvent) {
        match event {
            MediaEvent::Progress { stream, progress } => self.progress(now, stream, progress),
            MediaEvent::KeyFrameWanted { stream } => self.want_key_frame(now, stream),
            MediaEvent::Stats { stream, stats } => {
                if let Some(key) = self.by_stream.get(&stream)
                    && let Some(stream) = self.streams.get_mut(key)
                {
                    stream.stats = *stats;
                }
            }
            MediaEvent::Viewer { session, stats } => self.viewer(session, stats),
            MediaEvent::ViewerClosed { session } => {
                let opened = self.sessions.get(&session);
                if opened.is_some_and(|s| matches!(s.state, State::Unclaimed | State::Watching)) {
                    self.close_session(now, session, Closed::ViewerGone);
                }
            }
            MediaEvent::Service(view) => {
                if let Some(service) = self.services.get_mut(usize::from(view.shard)) {
                    *service = view;
                }
            }
        }
    }

    /// Lets deadlines pass.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(timer) = self.timers.pop_due(now) {
            match timer {
                Timer::Stream(id) => self.stream_deadline(now, id),
                Timer::Session(id) => self.session_deadline(now, id),
                Timer::Shutdown => self.drained(),
            }
        }
    }

    /// The next thing to do; `None` = drained.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When [`Core::handle_timeout`] has something to do.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.timers.next()
    }

    /// Counts since the start.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// What there is now. Walks the lists: for once-a-second use.
    pub fn gauges(&self) -> Gauges {
        let streams = self.streams.values();
        let sessions = self.sessions.values();
        Gauges {
            streams: self.streams.len(),
            streams_live: streams.filter(|s| s.phase.is_live()).count(),
            sessions: self.sessions.len(),
            sessions_waiting: sessions
                .filter(|s| matches!(s.state, State::Waiting { .. }))
                .count(),
            devices: self.registry.len(),
            devices_online: self.registry.iter().filter(|(_, d)| d.online).count(),
            ssrcs_in_use: self.ssrcs.in_use(),
            ports_in_use: self.ports.as_ref().map_or(0, Ports::in_use),
        }
    }

    /// A viewer reports: it has come, and so much it was given.
    fn viewer(&mut self, id: SessionId, stats: ViewerStats) {
        match self.sessions.get_mut(&id) {
            Some(session) => {
                session.viewer = stats;
                if session.state == State::Unclaimed {
                    session.state = State::Watching;
                    self.timers.clear(Timer::Session(id));
                }
            }
            // The viewer came when its session had been closed.
            None => {
                if let Some(record) = self.history.get(id) {
                    let stream = record.stream;
                    let session = id;
                    self.media(stream.shard, MediaCommand::CloseViewer { stream, session });
                }
            }
        }
    }

    fn list_sessions(&self) -> Reply {
        let all = self.sessions.iter().filter_map(|(id, session)| {
            let stream = self.streams.get(&session.key)?;
            Some(self.view(*id, session, stream))
        });
        Reply::Sessions(all.collect())
    }

    fn view(&self, id: SessionId, session: &Session, stream: &Stream) -> SessionView {
        let trace = self.traces.get(&stream.key);
        SessionView {
            sip_peer: self.sip_peer(&stream.key),
            ..session.view(id, stream, trace, &self.wall)
        }
    }

    /// Where the SIP of a stream's device comes from.
    pub(super) fn sip_peer(&self, key: &StreamKey) -> Option<SocketAddr> {
        let (device, _) = key.place()?;
        self.registry.get(device)?.peer
    }

    fn show_session(&self, id: SessionId) -> Result<Reply, Error> {
        let open = self.sessions.get(&id).and_then(|session| {
            let stream = self.streams.get(&session.key)?;
            Some(self.view(id, session, stream))
        });
        open.or_else(|| self.history.get(id).map(|record| record.view.clone()))
            .map(|view| Reply::Session(Box::new(view)))
            .ok_or(Error::NotFound { what: "session" })
    }

    fn shut_down(&mut self, now: Instant, request: RequestId) {
        self.running = Running::Draining(request);
        let keys: Vec<StreamKey> = self.streams.keys().cloned().collect();
        for key in keys {
            self.end_stream(now, &key, Ended::Shutdown);
        }
        self.push(Output::Platform(gb28181::Command::Shutdown));
        self.timers.set(
            Timer::Shutdown,
            now + Duration::from_secs(limits::SHUTDOWN_S_MAX),
        );
    }

    /// Every dialog is over, or the time is.
    pub(super) fn drained(&mut self) {
        if let Running::Draining(request) = self.running {
            self.running = Running::No;
            self.timers.clear(Timer::Shutdown);
            self.reply(request, Ok(Reply::Done));
        }
    }

    pub(super) fn push(&mut self, output: Output) {
        self.outputs.push_back(output);
    }

    pub(super) fn reply(&mut self, request: RequestId, result: Result<Reply, Error>) {
        self.push(Output::Reply(request, result));
    }

    pub(super) fn media(&mut self, shard: u8, command: MediaCommand) {
        self.push(Output::Media { shard, command });
    }

    pub(super) fn new_session_id(&mut self) -> SessionId {
        self.next_session += 1;
        SessionId(self.next_session)
    }

    pub(super) fn new_stream_id(&mut self, shard: u8) -> StreamId {
        self.next_stream = self.next_stream.wrapping_add(1);
        StreamId {
            shard,
            number: self.next_stream,
        }
    }

    pub(super) fn new_invite_id(&mut self) -> InviteId {
        self.next_invite += 1;
        InviteId(self.next_invite)
    }

    pub(super) fn new_ask_id(&mut self) -> AskId {
        self.next_ask += 1;
        AskId(self.next_ask)
    }

    /// The shard with the fewest streams.
    pub(super) fn shard(&self) -> u8 {
        let shards = (0..self.config.shards).zip(&self.load);
        shards
            .min_by_key(|(_, load)| **load)
            .map_or(0, |(shard, _)| shard)
    }
}
