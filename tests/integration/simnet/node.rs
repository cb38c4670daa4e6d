//! A node made of the cores: platform, session core, ingest, hub and FLV, and a store that outlives it. The cores are driven
//! by `session::wiring`, and packets are judged by `session::intake` and `media::source`, as in the program; what stands here
//! in place of sockets is who holds which connection, and a viewer's file.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use gantry::egress::{Form, Mux, Unit};
use gantry::gb28181::{self, MediaTransport, Platform};
use gantry::id::{DeviceId, SessionId, Ssrc, StreamId};
use gantry::limits;
use gantry::media::frame::{Frame, Track, TrackId};
use gantry::media::hold::{HoldBack, Verdict};
use gantry::media::hub::Hub;
use gantry::media::ingest::{self, Ingest};
use gantry::media::rfc4571::Framer;
use gantry::media::rtp;
use gantry::media::source::{Admit, SourceGuard};
use gantry::session::intake::{self, Claimant, Liveness};
use gantry::session::port::{IngestOptions, MediaCommand, MediaEvent, Progress, ViewerStats};
use gantry::session::wiring::{self, Outward};
use gantry::session::{
    Command, Core, CoreConfig, DevicePolicy, Error, Event, Owner, Persist, Reply, RequestId,
    RestoredDevice, Target, ViewKind,
};
use gantry::sip::Transmit;
use gantry::time::{WallClock, earliest};

pub const PLATFORM: &str = "34020000002000000001";
/// The port that all streams share, unless they have their own.
const RTP_PORT: u16 = 30_000;
/// What a ring may hold in these tests.
pub const RING_BYTES: usize = 4 << 20;

/// What a node is made with; the same before and after a restart.
#[derive(Clone)]
pub struct Setup {
    pub sip: SocketAddr,
    pub transport: MediaTransport,
    pub fallback: bool,
    /// First and last port of streams that each have their own.
    pub session_ports: Option<(u16, u16)>,
    pub keepalive: Duration,
    pub wall: WallClock,
    /// Whether viewers keep what they are given.
    pub keep: bool,
}

/// What the node wants of the world.
pub enum Act {
    Transmit(Transmit),
    /// TCP active: our call to a device.
    Connect {
        stream: StreamId,
        remote: SocketAddr,
    },
}

/// What a viewer was given.
#[derive(Default)]
pub struct Watch {
    pub opened_at: Option<Instant>,
    pub closed_at: Option<Instant>,
    pub session: Option<SessionId>,
    pub failed: Option<Error>,
    pub flv: Vec<u8>,
    pub pictures: Vec<Seen>,
    /// Where the viewer's own rendition stands.
    mux: Option<Mux>,
}

/// A picture as a viewer got it.
pub struct Seen {
    pub at: Instant,
    pub frame: Frame,
}

pub struct Node {
    pub platform: Platform,
    pub core: Core,
    media: Media,
    setup: Setup,
    next_request: u64,
    /// By the request that opened it.
    pub watches: HashMap<RequestId, Watch>,
    by_session: HashMap<SessionId, RequestId>,
    pub acts: Vec<Act>,
    pub shut_down: bool,
    shutdown: Option<RequestId>,
    /// Devices that went on or off since they were last taken.
    pub presence: Vec<(DeviceId, bool)>,
}

/// What survives the node.
#[derive(Default)]
pub struct Store {
    devices: BTreeMap<DeviceId, RestoredDevice>,
    policies: BTreeMap<DeviceId, DevicePolicy>,
}

impl Store {
    pub fn set_policy(&mut self, device: DeviceId, policy: DevicePolicy) {
        self.policies.insert(device, policy);
    }

    fn restored(&self) -> Vec<RestoredDevice> {
        let rows = self.devices.iter().map(|(device, row)| RestoredDevice {
            policy: self.policies.get(device).copied().unwrap_or_default(),
            ..row.clone()
        });
        rows.collect()
    }

    fn take(&mut self, persist: Persist) {
        match persist {
            Persist::Platform(gb28181::Persist::Device(stored)) => {
                let row = self
                    .devices
                    .entry(stored.device)
                    .or_insert_with(|| RestoredDevice {
                        stored: stored.clone(),
                        info: Default::default(),
                        transport: None,
                        channels: Vec::new(),
                        partial: false,
                        policy: Default::default(),
                    });
                row.stored = stored;
            }
            Persist::Platform(gb28181::Persist::Seen { device, unix_s }) => {
                if let Some(row) = self.devices.get_mut(&device) {
                    row.stored.last_seen_unix_s = unix_s;
                }
            }
            Persist::Platform(gb28181::Persist::Offline { device }) => {
                if let Some(row) = self.devices.get_mut(&device) {
                    row.stored.online = false;
                }
            }
            // No world here is read by level, killed in the middle of a view, or of GB 35114.
            Persist::Platform(
                gb28181::Persist::DialogBegun { .. }
                | gb28181::Persist::DialogOver { .. }
                | gb28181::Persist::Key { .. },
            )
            | Persist::Directory { .. }
            | Persist::Node { .. } => {}
            Persist::Channel {
                device,
                place,
                item,
            } => {
                if let Some(row) = self.devices.get_mut(&device) {
                    let place = place as usize;
                    match row.channels.get_mut(place) {
                        Some(channel) => *channel = *item,
                        None => row.channels.push(*item),
                    }
                }
            }
            Persist::Info { device, info } => {
                if let Some(row) = self.devices.get_mut(&device) {
                    row.info = info;
                }
            }
            Persist::Transport { device, transport } => {
                if let Some(row) = self.devices.get_mut(&device) {
                    row.transport = Some(transport);
                }
            }
            Persist::Channels {
                device,
                channels,
                partial,
            } => {
                if let Some(row) = self.devices.get_mut(&device) {
                    row.channels = channels;
                    row.partial = partial;
                }
            }
        }
    }
}

impl Node {
    pub fn new(setup: Setup, store: &mut Store, seed: [u8; 32], now: Instant) -> Node {
        let id = PLATFORM.parse().expect("a code");
        let platform = gb28181::Config {
            address: setup.sip,
            default_password: Some(super::camera::PASSWORD.to_owned()),
            keepalive: setup.keepalive,
            ..gb28181::Config::new(id)
        };
        let core = CoreConfig {
            shards: 1,
            rtp_ports: vec![RTP_PORT],
            ssrc_realm: CoreConfig::realm_of(id),
            session_ports: setup.session_ports,
            media_address: gantry::session::MediaAddress {
                configured: Some(setup.sip.ip()),
                ..Default::default()
            },
            transport: setup.transport,
            fallback: setup.fallback,
            ..CoreConfig::default()
        };
        let mut node = Node {
            platform: Platform::new(platform, seed, now, setup.wall),
            core: Core::new(core, seed, now, setup.wall),
            media: Media::new(now),
            setup,
            next_request: 0,
            watches: HashMap::new(),
            by_session: HashMap::new(),
            acts: Vec::new(),
            shut_down: false,
            shutdown: None,
            presence: Vec::new(),
        };
        node.core.restore(store.restored());
        node.drain(now, store);
        node
    }

    pub fn ask(&mut self, now: Instant, command: Command) -> RequestId {
        self.next_request += 1;
        let request = RequestId(self.next_request);
        if matches!(command, Command::Shutdown) {
            self.shutdown = Some(request);
        }
        self.core.handle_command(now, request, command);
        request
    }

    /// A viewer comes. What it gets is in [`Node::watches`].
    pub fn watch(&mut self, now: Instant, device: DeviceId, index: u32) -> RequestId {
        let target = Target::Channel { device, index };
        let request = self.ask(
            now,
            Command::Open {
                target,
                kind: ViewKind::HttpFlv,
                owner: Owner::default(),
            },
        );
        self.watches.insert(request, Watch::default());
        request
    }

    /// The viewer goes: its connection is closed.
    pub fn leave(&mut self, now: Instant, request: RequestId) {
        let session = self.watches.get(&request).and_then(|w| w.session);
        if let Some(session) = session {
            self.media.remove_viewer(session);
            self.core
                .handle_media(now, MediaEvent::ViewerClosed { session });
        }
    }

    /// A datagram of media came `to` a port.
    pub fn media_datagram(&mut self, now: Instant, from: SocketAddr, to: u16, packet: &[u8]) {
        self.media.datagram(now, from, to, packet);
    }

    /// A connection is up: one that the node made for a stream, or one of somebody who came to a port.
    pub fn conn_opened(
        &mut self,
        conn: u64,
        peer: SocketAddr,
        made_for: Option<StreamId>,
        to: u16,
    ) {
        self.media.conn_opened(conn, peer, made_for, to);
    }

    pub fn conn_failed(&mut self, stream: StreamId) {
        self.media.progress(stream, Progress::ConnectFailed);
    }

    pub fn conn_data(&mut self, now: Instant, conn: u64, bytes: &[u8]) {
        self.media.conn_data(now, conn, bytes);
    }

    pub fn conn_closed(&mut self, conn: u64) {
        self.media.conn_closed(conn);
    }

    /// Whether a connection is still held; the node may have given it up.
    pub fn has_conn(&self, conn: u64) -> bool {
        self.media.conns.contains_key(&conn)
    }

    pub fn next_deadline(&self) -> Option<Instant> {
        let cores = earliest(self.platform.next_deadline(), self.core.next_deadline());
        earliest(cores, self.media.next_deadline())
    }

    pub fn handle_timeout(&mut self, now: Instant) {
        self.platform.handle_timeout(now);
        self.core.handle_timeout(now);
        self.media.handle_timeout(now);
    }

    pub fn sizes(&self) -> Sizes {
        let gauges = self.core.gauges();
        Sizes {
            streams: gauges.streams,
            sessions: gauges.sessions,
            ssrcs: gauges.ssrcs_in_use,
            ports: gauges.ports_in_use,
            ports_open: self.media.by_port.len(),
            invites: self.platform.gauges().invites,
            ingests: self.media.streams.len(),
            conns: self.media.conns.len(),
            viewers: self.media.viewers.len(),
        }
    }

    /// Bytes that the streams' rings hold.
    pub fn ring_bytes(&self) -> usize {
        self.media.streams.values().map(|s| s.hub.bytes()).sum()
    }

    /// RTP packets that the streams miss.
    pub fn packets_lost(&mut self, now: Instant) -> u64 {
        let streams = self.media.streams.values_mut();
        streams.map(|s| s.ingest.stats(now).lost).sum()
    }

    /// How often the streams' packets came from another address from then on, and how many were refused for theirs.
    pub fn source_moves(&self) -> (u64, u64) {
        let sources = self.media.streams.values().map(|s| &s.source);
        sources.fold((0, 0), |(moves, refused), source| {
            (moves + source.moves(), refused + source.refused())
        })
    }

    /// Ports that another program had when a stream was to have them.
    pub fn ports_refused(&self) -> u64 {
        self.media.ports_refused
    }

    /// Drives the cores until nobody has anything to say, as the control thread does.
    pub fn drain(&mut self, now: Instant, store: &mut Store) {
        loop {
            self.deliver(now);
            let mut idle = true;
            while let Some(event) = self.media.events.pop_front() {
                idle = false;
                self.core.handle_media(now, event);
            }
            while let Some(outward) = wiring::poll(now, &mut self.platform, &mut self.core) {
                idle = false;
                self.output(now, outward, store);
            }
            if idle {
                return;
            }
        }
    }

    fn output(&mut self, now: Instant, outward: Outward, store: &mut Store) {
        match outward {
            Outward::Transmit(transmit) => self.acts.push(Act::Transmit(transmit)),
            Outward::Reply(request, reply) => {
                self.shut_down |= self.shutdown == Some(request);
                self.replied(now, request, reply);
            }
            Outward::Media { shard, command } => {
                assert_eq!(shard, 0);
                if let Some(act) = self.media.command(command) {
                    self.acts.push(act);
                }
            }
            Outward::Event(Event::DeviceOnline { device }) => {
                self.presence
                    .extend(device.device.map(|device| (device, true)));
            }
            Outward::Event(Event::DeviceOffline { device }) => {
                self.presence
                    .extend(device.device.map(|device| (device, false)));
            }
            Outward::Event(Event::SessionClosed { session }) => {
                if let Some(request) = self.by_session.remove(&session)
                    && let Some(watch) = self.watches.get_mut(&request)
                {
                    watch.closed_at = Some(now);
                }
            }
            Outward::Event(_) => {}
            Outward::Persist(persist) => store.take(persist),
        }
    }

    fn replied(&mut self, now: Instant, request: RequestId, reply: Result<Reply, Error>) {
        let Some(watch) = self.watches.get_mut(&request) else {
            return;
        };
        match reply {
            Ok(Reply::Opened(opened)) => {
                watch.opened_at = Some(now);
                watch.session = Some(opened.session);
                self.by_session.insert(opened.session, request);
                self.media
                    .add_viewer(opened.session, opened.stream, request);
                let Some(stream) = self.media.streams.get(&opened.stream) else {
                    return;
                };
                let tracks: Vec<Track> = stream.hub.video().cloned().into_iter().collect();
                let mut mux = Mux::new(Form::Flv, &tracks);
                if self.setup.keep {
                    put(&mut watch.flv, &mux.init());
                    for frame in stream.hub.frames() {
                        watch.take(now, &mut mux, frame);
                    }
                }
                watch.mux = Some(mux);
            }
            Ok(_) => {}
            Err(error) => watch.failed = Some(error),
        }
    }

    /// Gives what the ingests completed to their viewers.
    fn deliver(&mut self, now: Instant) {
        for (id, stream) in &mut self.media.streams {
            let outputs = std::mem::take(&mut stream.outputs);
            let mut told = Vec::new();
            for output in outputs {
                match output {
                    ingest::Output::Track(track) => {
                        stream.hub.set_track(track);
                        told.extend(stream.liveness.found(&stream.hub));
                        let tracks: Vec<Track> = stream.hub.video().cloned().into_iter().collect();
                        for request in &stream.viewers {
                            if let Some(watch) = self.watches.get_mut(request)
                                && let Some(mux) = &mut watch.mux
                            {
                                let mut units = Vec::new();
                                mux.set_tracks(&tracks, &mut units);
                                units.iter().for_each(|unit| put(&mut watch.flv, unit));
                            }
                        }
                    }
                    ingest::Output::Frame(frame) => {
                        if matches!(stream.hold.judge(&frame), Verdict::Hold { .. }) {
                            continue;
                        }
                        stream.hub.push(frame.clone());
                        for request in stream.viewers.iter().filter(|_| self.setup.keep) {
                            if let Some(watch) = self.watches.get_mut(request)
                                && let Some(mut mux) = watch.mux.take()
                            {
                                watch.take(now, &mut mux, &frame);
                                watch.mux = Some(mux);
                            }
                        }
                    }
                    ingest::Output::Fact(fact) => {
                        let has_picture = stream.ingest.has_picture();
                        told.extend(intake::progress_of(fact, has_picture));
                    }
                }
            }
            let has_picture = stream.ingest.has_picture();
            told.extend(stream.liveness.check(now, &stream.hub, has_picture, true));
            for progress in told {
                let stream = *id;
                self.media
                    .events
                    .push_back(MediaEvent::Progress { stream, progress });
            }
        }
    }
}

/// How many of each thing there are; all zero when nothing goes on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sizes {
    pub streams: usize,
    pub sessions: usize,
    pub ssrcs: usize,
    /// Pairs of ports given out, as the session core counts.
    pub ports: usize,
    /// The same as the media side has them open.
    pub ports_open: usize,
    pub invites: usize,
    pub ingests: usize,
    pub conns: usize,
    pub viewers: usize,
}

impl Watch {
    fn take(&mut self, now: Instant, mux: &mut Mux, frame: &Frame) {
        let mut units = Vec::new();
        mux.push(frame, &mut units);
        units.iter().for_each(|unit| put(&mut self.flv, unit));
        if frame.track != TrackId::Video {
            return;
        }
        self.pictures.push(Seen {
            at: now,
            frame: frame.clone(),
        });
    }
}

fn put(out: &mut Vec<u8>, unit: &Unit) {
    out.extend_from_slice(&unit.head[usize::from(unit.ws_header_len)..]);
    out.extend_from_slice(&unit.body);
    out.extend_from_slice(&unit.tail);
}

/// Every hundredth port of a range is one that somebody else has open.
fn is_of_another_program(port: u16) -> bool {
    port.is_multiple_of(100)
}

/// One media thread.
struct Media {
    streams: BTreeMap<StreamId, Stream>,
    /// Streams that share a port.
    by_ssrc: HashMap<Ssrc, StreamId>,
    /// Those that have their own.
    by_port: HashMap<u16, StreamId>,
    ports_refused: u64,
    conns: BTreeMap<u64, Conn>,
    viewers: HashMap<SessionId, StreamId>,
    events: VecDeque<MediaEvent>,
    next_second: Instant,
}

struct Stream {
    ingest: Ingest,
    source: SourceGuard,
    hold: HoldBack,
    hub: Hub,
    ssrc: Option<Ssrc>,
    own_port: Option<u16>,
    transport: MediaTransport,
    remote: Option<SocketAddr>,
    outputs: Vec<ingest::Output>,
    viewers: Vec<RequestId>,
    liveness: Liveness,
    stalled: bool,
}

struct Conn {
    framer: Framer,
    peer: SocketAddr,
    /// Whose port it came to.
    port_of: Option<StreamId>,
    stream: Option<StreamId>,
    last_byte: Option<Instant>,
}

impl Media {
    fn new(now: Instant) -> Media {
        Media {
            streams: BTreeMap::new(),
            by_ssrc: HashMap::new(),
            by_port: HashMap::new(),
            ports_refused: 0,
            conns: BTreeMap::new(),
            viewers: HashMap::new(),
            events: VecDeque::new(),
            next_second: now + Duration::from_secs(1),
        }
    }

    fn progress(&mut self, stream: StreamId, progress: Progress) {
        self.events
            .push_back(MediaEvent::Progress { stream, progress });
    }

    fn command(&mut self, command: MediaCommand) -> Option<Act> {
        match command {
            MediaCommand::OpenIngest {
                stream,
                ssrc,
                transport,
                options,
            } => {
                if let Some(port) = options.port {
                    if is_of_another_program(port) || self.by_port.contains_key(&port) {
                        self.ports_refused += 1;
                        self.progress(stream, Progress::PortTaken);
                        return None;
                    }
                    self.by_port.insert(port, stream);
                    self.progress(stream, Progress::PortOpen);
                } else if let Some(ssrc) = ssrc {
                    self.by_ssrc.insert(ssrc, stream);
                }
                let opened = Stream::new(ssrc, transport, &options);
                self.streams.insert(stream, opened);
            }
            MediaCommand::UpdateIngest {
                stream: id,
                ssrc,
                remote,
                ..
            } => {
                let stream = self.streams.get_mut(&id)?;
                if let Some(new) = ssrc {
                    let old = stream.ssrc.replace(new);
                    if stream.own_port.is_none() {
                        if let Some(old) = old {
                            self.by_ssrc.remove(&old);
                        }
                        self.by_ssrc.insert(new, id);
                    }
                    stream.ingest.set_ssrc(Some(new));
                    stream.source = SourceGuard::default();
                }
                stream.remote = remote.or(stream.remote);
                if let (MediaTransport::TcpActive, Some(remote)) = (stream.transport, remote) {
                    return Some(Act::Connect { stream: id, remote });
                }
            }
            MediaCommand::DescribeIngest { stream: id, hints } => {
                self.streams.get_mut(&id)?.ingest.set_hints(hints);
            }
            MediaCommand::CloseIngest { stream: id } => {
                match self.streams.remove(&id).map(|s| (s.own_port, s.ssrc)) {
                    Some((Some(port), _)) => {
                        self.by_port.remove(&port);
                    }
                    Some((None, Some(ssrc))) => {
                        self.by_ssrc.remove(&ssrc);
                    }
                    Some((None, None)) | None => {}
                }
                self.conns
                    .retain(|_, conn| conn.stream.or(conn.port_of) != Some(id));
                self.viewers.retain(|_, stream| *stream != id);
            }
            MediaCommand::CloseViewer { session, .. } => self.remove_viewer(session),
            _ => {}
        }
        None
    }

    fn add_viewer(&mut self, session: SessionId, stream: StreamId, request: RequestId) {
        self.viewers.insert(session, stream);
        if let Some(stream) = self.streams.get_mut(&stream) {
            stream.viewers.push(request);
        }
        let stats = ViewerStats::default();
        self.events.push_back(MediaEvent::Viewer { session, stats });
    }

    fn remove_viewer(&mut self, session: SessionId) {
        self.viewers.remove(&session);
    }

    /// Whose packet this is.
    fn owner(&self, from: SocketAddr, packet: &[u8]) -> Option<StreamId> {
        let ssrc = rtp::peek_ssrc(packet)?;
        let claimant = |stream: &Stream| Claimant {
            ssrc: stream.ssrc,
            remote: stream.remote,
            silent: stream.ingest.is_silent(),
        };
        self.by_ssrc.get(&ssrc).copied().or_else(|| {
            let all = self.streams.iter().filter(|(_, s)| s.own_port.is_none());
            let all = all.map(|(id, stream)| (*id, claimant(stream)));
            intake::claim(all, from, rtp::is_rtcp(packet))
        })
    }

    fn datagram(&mut self, now: Instant, from: SocketAddr, to: u16, packet: &[u8]) {
        let owner = match to {
            RTP_PORT => self.owner(from, packet),
            own => self.by_port.get(&own).copied(),
        };
        if let Some(id) = owner
            && let Some(stream) = self.streams.get_mut(&id)
        {
            let follows = stream.ingest.ssrc();
            if stream.source.admit_packet(now, from, follows, packet) != Admit::Refused {
                stream.push(now, packet);
            }
        }
    }

    fn conn_opened(&mut self, id: u64, peer: SocketAddr, made_for: Option<StreamId>, to: u16) {
        self.conns.insert(
            id,
            Conn {
                framer: Framer::new(),
                peer,
                port_of: self.by_port.get(&to).copied(),
                stream: made_for,
                last_byte: None,
            },
        );
        if let Some(stream) = made_for {
            self.progress(stream, Progress::Connected);
        }
    }

    fn conn_data(&mut self, now: Instant, id: u64, bytes: &[u8]) {
        let Some(conn) = self.conns.get_mut(&id) else {
            return;
        };
        conn.last_byte = Some(now);
        let mut packets = Vec::new();
        let open = conn
            .framer
            .push(bytes, &mut |p| packets.push(p.to_vec()))
            .is_ok();
        let (peer, port_of, mut bound) = (conn.peer, conn.port_of, conn.stream);
        for packet in packets {
            let known = bound.or(port_of);
            let Some(stream) = known.or_else(|| self.owner(peer, &packet)) else {
                continue;
            };
            if bound.is_none() && !rtp::is_rtcp(&packet) {
                bound = Some(stream);
                // The newer connection takes the place of the older one.
                self.conns.retain(|_, c| c.stream != Some(stream));
                self.progress(stream, Progress::Connected);
            }
            if let Some(stream) = self.streams.get_mut(&stream) {
                stream.push(now, &packet);
            }
        }
        if let Some(conn) = self.conns.get_mut(&id) {
            conn.stream = bound;
        }
        if !open {
            self.conn_closed(id);
        }
    }

    fn conn_closed(&mut self, id: u64) {
        let Some(stream) = self.conns.remove(&id).and_then(|c| c.stream) else {
            return;
        };
        if self.conns.values().any(|c| c.stream == Some(stream)) {
            return;
        }
        if let Some(known) = self.streams.get_mut(&stream) {
            let outputs = &mut known.outputs;
            known.ingest.finish(&mut |o| outputs.push(o));
            known.stalled = true;
            self.progress(stream, Progress::Stalled);
        }
    }

    fn next_deadline(&self) -> Option<Instant> {
        let busy = !self.streams.is_empty() || !self.conns.is_empty();
        let second = busy.then_some(self.next_second);
        self.streams
            .values()
            .filter_map(|s| s.ingest.next_deadline())
            .chain(second)
            .min()
    }

    fn handle_timeout(&mut self, now: Instant) {
        for stream in self.streams.values_mut() {
            if stream.ingest.next_deadline().is_some_and(|at| at <= now) {
                let outputs = &mut stream.outputs;
                stream.ingest.handle_timeout(now, &mut |o| outputs.push(o));
            }
        }
        if now < self.next_second {
            return;
        }
        self.next_second = now + Duration::from_secs(1);
        let mut stalled = Vec::new();
        for (id, stream) in &mut self.streams {
            if intake::fell_silent(now, stream.ingest.last_packet(), &mut stream.stalled) {
                stalled.push(*id);
            }
        }
        for id in stalled {
            self.progress(id, Progress::Stalled);
        }
        for session in self.viewers.keys() {
            let (session, stats) = (*session, ViewerStats::default());
            self.events.push_back(MediaEvent::Viewer { session, stats });
        }
        let idle = Duration::from_secs(limits::MEDIA_CONN_IDLE_S_MAX);
        self.conns.retain(|_, conn| {
            let last = *conn.last_byte.get_or_insert(now);
            now.saturating_duration_since(last) <= idle
        });
    }
}

impl Stream {
    fn new(ssrc: Option<Ssrc>, transport: MediaTransport, options: &IngestOptions) -> Stream {
        Stream {
            ingest: Ingest::new(intake::ingest_config(ssrc, transport, options)),
            source: SourceGuard::default(),
            hold: HoldBack::new(options.loss),
            hub: Hub::new(RING_BYTES),
            ssrc,
            own_port: options.port,
            transport,
            remote: None,
            outputs: Vec::new(),
            viewers: Vec::new(),
            liveness: Liveness::default(),
            stalled: false,
        }
    }

    fn push(&mut self, now: Instant, packet: &[u8]) {
        let outputs = &mut self.outputs;
        self.ingest.push(now, packet, &mut |o| outputs.push(o));
    }
}
