//! A media thread: its sockets, its streams with their renditions, and its viewers. Nothing on it is shared or locked.
//!
//! One turn: wait for readiness (or the next deadline), take what the sockets have, give completed frames to the
//! renditions, write the renditions that are due to all their viewers. A stream with more viewers than
//! [`limits::VIEWERS_BEFORE_SPREAD`] has its further viewers on other shards: those hold a mirror of the rendition, fed the
//! finished units once a flush.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::mpsc as std_mpsc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use mio::net::TcpListener;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token, Waker};
use slab::Slab;
use tokio::sync::mpsc;

use super::conn::Conn;
use super::counters::{ShardCounters, Snapshot};
use super::peer::{Arrival, NewPeer, Paths, Peers};
use super::stream::{Fan, FanKey, Holds, PsErrors, Stream};
use super::udp::RecvBatch;
use super::viewer::{Closed, Io, Shared, Viewer};
use crate::egress::fan::Framing;
use crate::egress::rtp::RtpPayload;
use crate::egress::{AudioPolicy, Form, Unit};
use crate::gb28181::MediaTransport;
use crate::id::{SessionId, Ssrc, StreamId};
use crate::limits;
use crate::media::frame::Track;
use crate::media::rtp;
use crate::session::port::{MediaCommand, MediaEvent, Progress};
use crate::session::{IngestStats, MediaServiceView};
use crate::time::MediaTime;

const RTP: Token = Token(0);
const RTP_TCP: Token = Token(1);
const WAKER: Token = Token(2);
const WEBRTC: Token = Token(3);
const WEBRTC_TCP: Token = Token(4);
/// Tokens of viewers, of media connections and of WebRTC connections are their key plus one of these.
const VIEWERS: usize = 1 << 32;
const CONNS: usize = 2 << 32;
const PATHS: usize = 3 << 32;
const KEY_MASK: usize = VIEWERS - 1;

/// What a media thread is told.
pub(super) enum Order {
    Media(MediaCommand),
    AddViewer(Box<NewViewer>),
    AddPeer(Box<NewPeer>),
    Shard(ShardMessage),
    Stop,
}

/// What media threads tell each other.
pub(super) enum ShardMessage {
    /// A viewer of a stream that is at home elsewhere. `snapshot` is there when no mirror is.
    AddMirrored {
        new: Box<NewViewer>,
        snapshot: Option<(Unit, Vec<Unit>)>,
    },
    /// The next units of a mirrored rendition, with its new initialisation if that changed.
    Units {
        key: FanKey,
        units: Vec<Unit>,
        init: Option<Unit>,
    },
    /// The rendition is over, or nobody watches it here any more.
    MirrorEnd {
        key: FanKey,
    },
    /// A mirrored viewer left shard `from`.
    ViewerLeft {
        key: FanKey,
        from: u8,
    },
    AddMirroredPeer {
        new: Box<NewPeer>,
        tracks: Vec<Track>,
        snapshot: Option<Vec<RtpPayload>>,
        newest: Option<(Instant, MediaTime)>,
    },
    Payloads {
        stream: StreamId,
        payloads: Vec<RtpPayload>,
        newest: Option<(Instant, MediaTime)>,
    },
    PayloadsEnd {
        stream: StreamId,
    },
    PeerLeft {
        stream: StreamId,
        from: u8,
    },
    /// A datagram for a WebRTC viewer of the receiver that came in on another shard's socket.
    Datagram {
        from: SocketAddr,
        data: Bytes,
        via: u8,
    },
    /// Shard `shard` has verified (or given up) that a viewer of its own is at this address.
    Bound {
        address: SocketAddr,
        shard: u8,
        bound: bool,
    },
    CloseSession(SessionId),
    /// A WebRTC connection whose first check names a viewer of the receiver.
    Path(Arrival),
}

/// A viewer of a muxed rendition that has an open session.
pub(super) struct NewViewer {
    pub stream: StreamId,
    pub session: SessionId,
    pub form: Form,
    pub framing: Framing,
    pub audio: AudioPolicy,
    /// Response head, written before the rendition's initialisation.
    pub preface: Bytes,
    pub io: NewIo,
}

pub(super) enum NewIo {
    Socket(std::net::TcpStream),
    Channel(mpsc::Sender<Bytes>),
}

impl NewViewer {
    fn key(&self) -> FanKey {
        FanKey {
            stream: self.stream,
            form: self.form,
            audio: self.audio,
        }
    }
}

/// A way to a media thread.
#[derive(Clone, Debug)]
pub(super) struct ShardLink {
    pub orders: std_mpsc::SyncSender<Order>,
    pub waker: Arc<Waker>,
}

impl ShardLink {
    /// `false` = the thread's queue is full or it is gone; the order was not taken.
    pub fn send(&self, order: Order) -> bool {
        let sent = self.orders.try_send(order).is_ok();
        if sent {
            // Failing to wake means that the poll object is gone, and with it the thread.
            let _ = self.waker.wake();
        }
        sent
    }
}

/// Events to the session core. What must not be lost waits here when the core is behind; statistics are dropped.
pub(super) struct EventSender {
    sender: mpsc::Sender<MediaEvent>,
    waiting: VecDeque<MediaEvent>,
    pub dropped: u64,
}

impl EventSender {
    pub fn new(sender: mpsc::Sender<MediaEvent>) -> Self {
        EventSender {
            sender,
            waiting: VecDeque::new(),
            dropped: 0,
        }
    }

    pub fn send(&mut self, event: MediaEvent) {
        let is_statistic = matches!(
            event,
            MediaEvent::Stats { .. } | MediaEvent::Viewer { .. } | MediaEvent::Service(_)
        );
        if self.waiting.is_empty() {
            match self.sender.try_send(event) {
                Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => {}
                Err(mpsc::error::TrySendError::Full(event)) if !is_statistic => {
                    self.waiting.push_back(event)
                }
                Err(mpsc::error::TrySendError::Full(_)) => self.dropped += 1,
            }
        } else if is_statistic || self.waiting.len() >= limits::MEDIA_EVENTS_WAITING_MAX {
            self.dropped += 1;
        } else {
            self.waiting.push_back(event);
        }
    }

    fn retry(&mut self) {
        while let Some(event) = self.waiting.pop_front() {
            if let Err(mpsc::error::TrySendError::Full(event)) = self.sender.try_send(event) {
                self.waiting.push_front(event);
                return;
            }
        }
    }
}

/// What a media thread is made with.
pub(super) struct ShardSetup {
    pub index: u8,
    pub rtp: UdpSocket,
    pub rtp_tcp: std::net::TcpListener,
    pub webrtc: UdpSocket,
    /// On one thread only, if at all.
    pub webrtc_tcp: Option<std::net::TcpListener>,
    pub orders: std_mpsc::Receiver<Order>,
    pub links: Vec<ShardLink>,
    pub poll: Poll,
    pub events: mpsc::Sender<MediaEvent>,
    pub holds: Holds,
    pub ring_bytes: usize,
    pub budget: Arc<super::budget::Budget>,
    pub peers: super::peer::Setup,
    pub counters: Arc<ShardCounters>,
}

pub(super) struct Shard {
    index: u8,
    poll: Poll,
    orders: std_mpsc::Receiver<Order>,
    links: Vec<ShardLink>,
    events: EventSender,
    rtp: UdpSocket,
    rtp_port: u16,
    rtp_tcp: TcpListener,
    batch: RecvBatch,
    read_buffer: Box<[u8]>,
    holds: Holds,
    ring_bytes: usize,
    budget: Arc<super::budget::Budget>,
    ring_bytes_reported: usize,
    streams: Slab<Stream>,
    by_id: HashMap<StreamId, usize>,
    by_ssrc: HashMap<Ssrc, usize>,
    fans: Slab<Fan>,
    fan_by_key: HashMap<FanKey, usize>,
    viewers: Slab<Viewer>,
    viewer_by_session: HashMap<SessionId, usize>,
    conns: Slab<Conn>,
    peers: Peers,
    /// Streams that a defect of ours broke in this turn.
    broken: Vec<StreamId>,
    /// Streams that took packets in this turn.
    touched: Vec<usize>,
    /// Streams whose reorder window has something waiting.
    reordering: Vec<usize>,
    next_flush: Option<Instant>,
    next_second: Instant,
    counters: Arc<ShardCounters>,
    received_bytes: u64,
    sent_bytes_gone: u64,
    skipped_gone: u64,
    /// Counts of streams that are over, or were reset.
    ingest_gone: IngestStats,
    ps_errors_gone: PsErrors,
    last_service: (Instant, u64, u64),
    statistics_from: (u64, u64),
}

impl Shard {
    pub fn new(setup: ShardSetup) -> io::Result<Self> {
        let now = Instant::now();
        setup.rtp_tcp.set_nonblocking(true)?;
        let mut rtp_tcp = TcpListener::from_std(setup.rtp_tcp);
        let registry = setup.poll.registry();
        registry.register(
            &mut SourceFd(&setup.rtp.as_raw_fd()),
            RTP,
            Interest::READABLE,
        )?;
        registry.register(
            &mut SourceFd(&setup.webrtc.as_raw_fd()),
            WEBRTC,
            Interest::READABLE,
        )?;
        registry.register(&mut rtp_tcp, RTP_TCP, Interest::READABLE)?;
        let listener = setup.webrtc_tcp.map(|listener| (listener, WEBRTC_TCP));
        let paths = Paths::new(registry.try_clone()?, PATHS, listener)?;
        let rtp_port = setup.rtp.local_addr()?.port();
        Ok(Shard {
            index: setup.index,
            poll: setup.poll,
            orders: setup.orders,
            peers: Peers::new(setup.index, setup.webrtc, paths, setup.peers)?,
            links: setup.links,
            events: EventSender::new(setup.events),
            rtp: setup.rtp,
            rtp_port,
            rtp_tcp,
            batch: RecvBatch::new(limits::UDP_DATAGRAM_BYTES_MAX),
            read_buffer: vec![0; limits::MEDIA_CONN_READ_BYTES].into_boxed_slice(),
            holds: setup.holds,
            ring_bytes: setup.ring_bytes,
            budget: setup.budget,
            ring_bytes_reported: 0,
            streams: Slab::new(),
            by_id: HashMap::new(),
            by_ssrc: HashMap::new(),
            fans: Slab::new(),
            fan_by_key: HashMap::new(),
            viewers: Slab::new(),
            viewer_by_session: HashMap::new(),
            conns: Slab::new(),
            broken: Vec::new(),
            touched: Vec::new(),
            reordering: Vec::new(),
            next_flush: None,
            next_second: now + Duration::from_secs(1),
            counters: setup.counters,
            received_bytes: 0,
            sent_bytes_gone: 0,
            skipped_gone: 0,
            ingest_gone: IngestStats::default(),
            ps_errors_gone: PsErrors::default(),
            last_service: (now, 0, 0),
            statistics_from: (0, 0),
        })
    }

    /// The token that wakes a shard for its orders.
    pub const WAKER: Token = WAKER;

    /// Runs until [`Order::Stop`].
    pub fn run(mut self) {
        let mut events = Events::with_capacity(limits::SHARD_EVENTS_PER_TURN);
        let mut last_turn = Instant::now();
        loop {
            let now = Instant::now();
            self.coalesce(now, last_turn);
            let timeout = self
                .next_deadline()
                .saturating_duration_since(Instant::now());
            if let Err(e) = self.poll.poll(&mut events, Some(timeout))
                && e.kind() != io::ErrorKind::Interrupted
            {
                tracing::error!(shard = self.index, error = %e, "a media thread cannot wait for its sockets and ends");
                return;
            }
            last_turn = Instant::now();
            // Orders first: packets of a stream that was just opened may have come in the same turn.
            if !self.take_orders(last_turn) {
                self.close_all();
                return;
            }
            for event in events.iter() {
                self.on_ready(
                    last_turn,
                    event.token(),
                    event.is_readable(),
                    event.is_writable(),
                );
            }
            self.handle_timeouts(last_turn);
            self.deliver(last_turn);
            self.close_broken(last_turn);
            self.flush_due(last_turn);
            self.peers.turn(
                last_turn,
                &mut self.streams,
                &self.by_id,
                &mut self.events,
                &self.links,
            );
            self.events.retry();
            if last_turn >= self.next_second {
                self.each_second(last_turn);
            }
        }
    }

    /// With many streams there is always a packet waiting: a short pause lets a batch gather, so that a wake-up serves many.
    fn coalesce(&self, now: Instant, last_turn: Instant) {
        let pause = match self.streams.len() {
            0..limits::COALESCE_STREAMS_MIN => return,
            limits::COALESCE_STREAMS_MIN..limits::COALESCE_STREAMS_MANY => {
                Duration::from_micros(limits::COALESCE_US)
            }
            _ => Duration::from_micros(limits::COALESCE_MANY_US),
        };
        let until = (last_turn + pause).min(self.next_deadline());
        let rest = until.saturating_duration_since(now);
        if !rest.is_zero() {
            std::thread::sleep(rest);
        }
    }

    fn next_deadline(&self) -> Instant {
        let mut next = self.next_second;
        for at in [self.next_flush, self.peers.next_deadline()]
            .into_iter()
            .flatten()
        {
            next = next.min(at);
        }
        for key in &self.reordering {
            if let Some(at) = self.streams.get(*key).and_then(Stream::next_deadline) {
                next = next.min(at);
            }
        }
        next
    }

    fn on_ready(&mut self, now: Instant, token: Token, readable: bool, writable: bool) {
        match token {
            RTP => self.take_datagrams(now),
            RTP_TCP => self.accept(now),
            WAKER => {}
            WEBRTC => self.peers.take_datagrams(now, &self.links, &self.counters),
            WEBRTC_TCP => self.peers.accept(now, &self.counters),
            Token(t) if t >= PATHS => {
                let key = t & KEY_MASK;
                let (links, counters) = (&self.links, &self.counters);
                self.peers
                    .on_path(now, key, readable, writable, links, counters);
            }
            Token(t) if t >= CONNS => self.on_conn(now, t & KEY_MASK, readable, writable),
            Token(t) => self.on_viewer(now, t & KEY_MASK, readable, writable),
        }
    }

    fn take_datagrams(&mut self, now: Instant) {
        loop {
            let n = match self.batch.recv(&self.rtp) {
                Ok(n) => n,
                Err(e) => {
                    tracing::warn!(shard = self.index, error = %e, "cannot receive RTP");
                    return;
                }
            };
            for i in 0..n {
                let Some((from, packet)) = self.batch.get(i) else {
                    continue;
                };
                self.received_bytes += packet.len() as u64;
                let Some(ssrc) = rtp::peek_ssrc(packet) else {
                    self.counters.malformed.inc();
                    continue;
                };
                let found = self
                    .by_ssrc
                    .get(&ssrc)
                    .copied()
                    .or_else(|| claim(&self.streams, from, rtp::is_rtcp(packet)));
                let Some(key) = found else {
                    self.counters.unclaimed.inc();
                    continue;
                };
                let Some(stream) = self.streams.get_mut(key) else {
                    continue;
                };
                if stream.ssrc.is_none() {
                    stream.ssrc = Some(ssrc);
                    stream.ingest.set_ssrc(Some(ssrc));
                    self.by_ssrc.insert(ssrc, key);
                }
                if guarded(&self.counters, || stream.push_packet(now, packet)).is_none() {
                    self.broken.push(stream.id);
                    continue;
                }
                touch(&mut self.touched, key, stream, &mut self.reordering);
            }
            if n < limits::UDP_BATCH_PACKETS {
                return;
            }
        }
    }

    fn take_orders(&mut self, now: Instant) -> bool {
        while let Ok(order) = self.orders.try_recv() {
            match order {
                Order::Media(command) => self.on_command(now, command),
                Order::AddViewer(new) => self.add_viewer(now, *new),
                Order::AddPeer(new) => self.add_peer(now, *new),
                Order::Shard(message) => self.on_shard_message(now, message),
                Order::Stop => return false,
            }
        }
        true
    }

    fn on_command(&mut self, now: Instant, command: MediaCommand) {
        match command {
            MediaCommand::OpenIngest {
                stream,
                ssrc,
                transport,
            } => self.open_ingest(stream, ssrc, transport),
            MediaCommand::UpdateIngest {
                stream,
                ssrc,
                remote,
            } => self.update_ingest(now, stream, ssrc, remote),
            MediaCommand::CloseIngest { stream } => self.close_ingest(now, stream),
            MediaCommand::CloseViewer { session, .. } => self.close_session(now, session, true),
            MediaCommand::ResetStatistics => {
                self.statistics_from = (self.received_bytes, self.sent_bytes());
                for (_, stream) in &mut self.streams {
                    self.ingest_gone = add(self.ingest_gone, &stream.stats(now));
                    self.ps_errors_gone = add_errors(self.ps_errors_gone, &stream.last_ps_errors);
                    self.ps_errors_gone = add_errors(self.ps_errors_gone, &stream.last_ps_errors);
                    stream.reset_stats();
                }
            }
        }
    }

    fn open_ingest(&mut self, id: StreamId, ssrc: Option<Ssrc>, transport: MediaTransport) {
        let ring_bytes = self.budget.ring_bytes(self.ring_bytes);
        let key = self
            .streams
            .insert(Stream::new(id, ssrc, transport, ring_bytes));
        self.by_id.insert(id, key);
        if let Some(ssrc) = ssrc {
            self.by_ssrc.insert(ssrc, key);
        }
        self.budget.stream_opened();
    }

    fn update_ingest(
        &mut self,
        now: Instant,
        id: StreamId,
        ssrc: Option<Ssrc>,
        remote: Option<SocketAddr>,
    ) {
        let Some(&key) = self.by_id.get(&id) else {
            return;
        };
        let Some(stream) = self.streams.get_mut(key) else {
            return;
        };
        if let Some(new) = ssrc {
            if let Some(old) = stream.ssrc.replace(new) {
                self.by_ssrc.remove(&old);
            }
            self.by_ssrc.insert(new, key);
            stream.ingest.set_ssrc(Some(new));
        }
        let Some(remote) = remote else { return };
        stream.remote = Some(remote);
        if stream.transport == MediaTransport::TcpActive {
            match Conn::connect(remote, id, now) {
                Ok(conn) => self.add_conn(conn),
                Err(_) => self.events.send(MediaEvent::Progress {
                    stream: id,
                    progress: Progress::ConnectFailed,
                }),
            }
        }
    }

    fn close_ingest(&mut self, now: Instant, id: StreamId) {
        let Some(key) = self.by_id.remove(&id) else {
            return;
        };
        let Some(mut stream) = self.streams.try_remove(key) else {
            return;
        };
        self.ingest_gone = add(self.ingest_gone, &stream.stats(now));
        self.ps_errors_gone = add_errors(self.ps_errors_gone, &stream.last_ps_errors);
        if let Some(ssrc) = stream.ssrc {
            self.by_ssrc.remove(&ssrc);
        }
        self.budget.stream_closed();
        self.touched.retain(|k| *k != key);
        self.reordering.retain(|k| *k != key);
        for fan in std::mem::take(&mut stream.fans) {
            self.remove_fan(fan);
        }
        if let Some(rtp) = stream.rtp.take() {
            self.peers.close_stream(now, &rtp.peers, &mut self.events);
            for (shard, n) in rtp.mirrors.iter().enumerate() {
                if *n > 0 {
                    self.tell(shard, ShardMessage::PayloadsEnd { stream: id });
                }
            }
        }
        let conns: Vec<usize> = self
            .conns
            .iter()
            .filter(|(_, c)| c.stream() == Some(id))
            .map(|(k, _)| k)
            .collect();
        for conn in conns {
            self.remove_conn(conn);
        }
    }

    /// A defect ends the stream that showed it, not the thread: the session core is told that it stalled.
    fn close_broken(&mut self, now: Instant) {
        for stream in std::mem::take(&mut self.broken) {
            tracing::error!(
                stream = stream.number,
                shard = self.index,
                "a stream is closed because of a defect of this program"
            );
            self.close_ingest(now, stream);
            self.events.send(MediaEvent::Progress {
                stream,
                progress: Progress::Stalled,
            });
        }
    }

    /// Closes a rendition's viewers here and on the other shards.
    fn remove_fan(&mut self, key: usize) {
        let Some(mut fan) = self.fans.try_remove(key) else {
            return;
        };
        self.fan_by_key.remove(&fan.key);
        for viewer in std::mem::take(&mut fan.viewers) {
            self.drop_viewer(viewer);
        }
        for (shard, n) in fan.mirrors.iter().enumerate() {
            if *n > 0 {
                self.tell(shard, ShardMessage::MirrorEnd { key: fan.key });
            }
        }
    }

    fn tell(&mut self, shard: usize, message: ShardMessage) {
        if let Some(link) = self.links.get(shard)
            && !link.send(Order::Shard(message))
        {
            self.counters.orders_refused.inc();
        }
    }

    // ---- media over TCP ----

    fn accept(&mut self, now: Instant) {
        while let Ok((socket, from)) = self.rtp_tcp.accept() {
            let same_source = self
                .conns
                .iter()
                .filter(|(_, c)| c.peer().ip() == from.ip())
                .count();
            if self.conns.len() >= limits::MEDIA_CONNS_MAX
                || same_source >= limits::MEDIA_CONNS_PER_SOURCE_MAX
            {
                self.counters.conns_refused.inc();
                continue;
            }
            self.add_conn(Conn::accepted(socket, from, now));
        }
    }

    fn add_conn(&mut self, conn: Conn) {
        let entry = self.conns.vacant_entry();
        let token = Token(CONNS | entry.key());
        let conn = entry.insert(conn);
        if let Err(e) = self.poll.registry().register(
            conn.socket_mut(),
            token,
            Interest::READABLE | Interest::WRITABLE,
        ) {
            tracing::warn!(shard = self.index, error = %e, "cannot watch a media connection");
            self.conns.remove(token.0 & KEY_MASK);
        }
    }

    fn remove_conn(&mut self, key: usize) {
        if let Some(mut conn) = self.conns.try_remove(key) {
            // The socket is closed on drop, which ends the registration as well.
            let _ = self.poll.registry().deregister(conn.socket_mut());
        }
    }

    fn on_conn(&mut self, now: Instant, key: usize, readable: bool, writable: bool) {
        let Some(conn) = self.conns.get_mut(key) else {
            return;
        };
        if writable && let Some((stream, connected)) = conn.connected() {
            let progress = if connected {
                Progress::Connected
            } else {
                Progress::ConnectFailed
            };
            self.events.send(MediaEvent::Progress { stream, progress });
            if !connected {
                return self.remove_conn(key);
            }
        }
        if !readable {
            return;
        }
        let (streams, by_id, by_ssrc) = (&mut self.streams, &self.by_id, &mut self.by_ssrc);
        let (touched, reordering, counters) =
            (&mut self.touched, &mut self.reordering, &self.counters);
        let broken = &mut self.broken;
        let peer = conn.peer();
        let mut received = 0u64;
        let mut bound = conn.stream();
        let mut newly_bound = None;
        let open = conn.read(now, &mut self.read_buffer, |packet| {
            received += packet.len() as u64;
            let Some(ssrc) = rtp::peek_ssrc(packet) else {
                counters.malformed.inc();
                return;
            };
            let found = match bound {
                Some(id) => by_id.get(&id).copied(),
                None => by_ssrc
                    .get(&ssrc)
                    .copied()
                    .or_else(|| claim(streams, peer, rtp::is_rtcp(packet))),
            };
            let Some((found, stream)) = found.and_then(|k| Some((k, streams.get_mut(k)?))) else {
                counters.unclaimed.inc();
                return;
            };
            if bound.is_none() {
                bound = Some(stream.id);
                newly_bound = Some(stream.id);
            }
            if stream.ssrc.is_none() {
                stream.ssrc = Some(ssrc);
                stream.ingest.set_ssrc(Some(ssrc));
                by_ssrc.insert(ssrc, found);
            }
            if guarded(counters, || stream.push_packet(now, packet)).is_none() {
                broken.push(stream.id);
                return;
            }
            touch(touched, found, stream, reordering);
        });
        self.received_bytes += received;
        if let Some(id) = newly_bound {
            if let Some(conn) = self.conns.get_mut(key) {
                conn.bind(id);
            }
            self.events.send(MediaEvent::Progress {
                stream: id,
                progress: Progress::Connected,
            });
        }
        if !open {
            let stream = self.conns.get(key).and_then(Conn::stream);
            self.remove_conn(key);
            let other = |c: &Conn| c.stream() == stream;
            if let Some(id) = stream
                && !self.conns.iter().any(|(_, c)| other(c))
                && let Some(stream) = self.by_id.get(&id).and_then(|k| self.streams.get_mut(*k))
            {
                stream.finish();
                stream.stalled = true;
                self.events.send(MediaEvent::Progress {
                    stream: id,
                    progress: Progress::Stalled,
                });
            }
        }
    }

    // ---- frames to viewers ----

    fn handle_timeouts(&mut self, now: Instant) {
        let (streams, touched) = (&mut self.streams, &mut self.touched);
        self.reordering.retain(|key| {
            let Some(stream) = streams.get_mut(*key) else {
                return false;
            };
            if stream.next_deadline().is_some_and(|at| at <= now) {
                stream.handle_timeout(now);
                if !touched.contains(key) {
                    touched.push(*key);
                }
            }
            stream.next_deadline().is_some()
        });
    }

    fn deliver(&mut self, now: Instant) {
        for key in std::mem::take(&mut self.touched) {
            let Some(stream) = self.streams.get_mut(key) else {
                continue;
            };
            if !stream.has_output() {
                continue;
            }
            let id = stream.id;
            let events = &mut self.events;
            let (fans, holds) = (&mut self.fans, &self.holds);
            let done = guarded(&self.counters, || {
                stream.deliver(now, fans, holds, &mut |progress| {
                    events.send(MediaEvent::Progress {
                        stream: id,
                        progress,
                    })
                });
            });
            if done.is_none() {
                self.broken.push(id);
                continue;
            }
            for fan in &stream.fans {
                let at = self.fans.get(*fan).and_then(|fan| fan.flush_at);
                self.next_flush = crate::time::earliest(self.next_flush, at);
            }
            let at = stream.rtp.as_ref().and_then(|rtp| rtp.flush_at);
            self.next_flush = crate::time::earliest(self.next_flush, at);
        }
    }

    fn flush_due(&mut self, now: Instant) {
        if self.next_flush.is_none_or(|at| at > now) {
            return;
        }
        let mut next = None;
        let mut due = Vec::new();
        for (key, fan) in &self.fans {
            match fan.flush_at {
                Some(at) if at <= now => due.push(key),
                at => next = crate::time::earliest(next, at),
            }
        }
        for key in due {
            self.flush_fan(now, key);
        }
        let rtp_next = self
            .peers
            .flush_due(now, &mut self.streams, &self.links, &self.counters);
        self.next_flush = crate::time::earliest(next, rtp_next);
    }

    /// Writes a rendition to its viewers here, and hands its new units to its mirrors.
    fn flush_fan(&mut self, now: Instant, key: usize) {
        let Some(fan) = self.fans.get_mut(key) else {
            return;
        };
        fan.flush_at = None;
        let mut closed = Vec::new();
        let mut shared = Shared::default();
        for viewer in &fan.viewers {
            if let Some(v) = self.viewers.get_mut(*viewer)
                && let Err(why) = v.write(&fan.ring, &mut shared, now)
            {
                closed.push((*viewer, why));
            }
        }
        if fan.is_mirrored() {
            let units: Vec<Unit> = fan.ring.from(fan.mirrored).cloned().collect();
            fan.mirrored = fan.ring.end();
            let init = std::mem::take(&mut fan.init_changed).then(|| fan.init.clone());
            for (shard, n) in fan.mirrors.iter().enumerate() {
                if *n == 0 {
                    continue;
                }
                let message = ShardMessage::Units {
                    key: fan.key,
                    units: units.clone(),
                    init: init.clone(),
                };
                if !self.links[shard].send(Order::Shard(message)) {
                    self.counters.orders_refused.inc();
                }
            }
        }
        for (viewer, why) in closed {
            self.close_viewer(viewer, why);
        }
    }

    fn add_viewer(&mut self, now: Instant, new: NewViewer) {
        let Some(&stream_key) = self.by_id.get(&new.stream) else {
            return self.events.send(MediaEvent::ViewerClosed {
                session: new.session,
            });
        };
        let key = new.key();
        let shards = self.links.len();
        let fan_key = match self.fan_by_key.get(&key) {
            Some(fan_key) => *fan_key,
            None => {
                let Some(stream) = self.streams.get_mut(stream_key) else {
                    return;
                };
                let fan = stream.make_fan(key, self.ring_bytes * limits::FAN_RINGS, shards, now);
                let fan_key = self.fans.insert(fan);
                stream.fans.push(fan_key);
                self.fan_by_key.insert(key, fan_key);
                fan_key
            }
        };
        let Some(fan) = self.fans.get_mut(fan_key) else {
            return;
        };
        let here = fan.viewers.len();
        let me = usize::from(self.index);
        let other = (0..shards)
            .filter(|i| *i != me)
            .min_by_key(|i| fan.mirrors[*i]);
        if here >= limits::VIEWERS_BEFORE_SPREAD
            && let Some(other) = other
            && (fan.mirrors[other] as usize) < here
        {
            let session = new.session;
            if !fan.is_mirrored() {
                fan.mirrored = fan.ring.end();
            }
            let snapshot = (fan.mirrors[other] == 0).then(|| {
                let from = fan.ring.newest_key().unwrap_or(fan.mirrored);
                let n = usize::try_from(fan.mirrored.saturating_sub(from)).unwrap_or(0);
                (
                    fan.init.clone(),
                    fan.ring.from(from).take(n).cloned().collect(),
                )
            });
            fan.mirrors[other] += 1;
            let message = ShardMessage::AddMirrored {
                new: Box::new(new),
                snapshot,
            };
            if !self.links[other].send(Order::Shard(message)) {
                fan.mirrors[other] -= 1;
                self.counters.orders_refused.inc();
                self.events.send(MediaEvent::ViewerClosed { session });
            }
            return;
        }
        self.place_viewer(now, fan_key, new);
    }

    /// Puts a viewer on a rendition of this shard and writes it its start.
    fn place_viewer(&mut self, now: Instant, fan_key: usize, new: NewViewer) {
        let Some(fan) = self.fans.get_mut(fan_key) else {
            return;
        };
        let session = new.session;
        let io = match new.io {
            NewIo::Socket(socket) => Io::Socket(mio::net::TcpStream::from_std(socket)),
            NewIo::Channel(channel) => Io::Channel(channel),
        };
        let init: &[u8] = match (new.framing, &io) {
            (Framing::WebSocket, Io::Socket(_)) => &fan.init.head,
            (Framing::Http, _) | (_, Io::Channel(_)) => {
                &fan.init.head[usize::from(fan.init.ws_header_len)..]
            }
        };
        let mut preface = BytesMut::with_capacity(new.preface.len() + init.len());
        preface.extend_from_slice(&new.preface);
        preface.extend_from_slice(init);
        let entry = self.viewers.vacant_entry();
        let key = entry.key();
        let viewer = entry.insert(Viewer::new(
            session,
            fan_key,
            io,
            new.framing,
            preface.freeze(),
            now,
        ));
        if let Some(socket) = viewer.socket_mut()
            && self
                .poll
                .registry()
                .register(
                    socket,
                    Token(VIEWERS | key),
                    Interest::READABLE | Interest::WRITABLE,
                )
                .is_err()
        {
            self.viewers.remove(key);
            return self.events.send(MediaEvent::ViewerClosed { session });
        }
        fan.viewers.push(key);
        self.viewer_by_session.insert(session, key);
        self.events.send(MediaEvent::Viewer {
            session,
            sent_bytes: 0,
            skipped: 0,
        });
        self.write_viewer(now, key);
    }

    fn write_viewer(&mut self, now: Instant, key: usize) {
        let Some(viewer) = self.viewers.get_mut(key) else {
            return;
        };
        let Some(fan) = self.fans.get(viewer.fan) else {
            return;
        };
        if let Err(why) = viewer.write(&fan.ring, &mut Shared::default(), now) {
            self.close_viewer(key, why);
        }
    }

    fn on_viewer(&mut self, now: Instant, key: usize, readable: bool, writable: bool) {
        let Some(viewer) = self.viewers.get_mut(key) else {
            return;
        };
        if readable && let Err(why) = viewer.read() {
            return self.close_viewer(key, why);
        }
        // An edge: the socket takes bytes again after it had refused some.
        if writable {
            self.write_viewer(now, key);
        }
    }

    /// A viewer is over by its own doing: its rendition is told.
    fn close_viewer(&mut self, key: usize, why: Closed) {
        let Some(fan_key) = self.viewers.get(key).map(|v| v.fan) else {
            return;
        };
        if why == Closed::TooSlow {
            self.counters.too_slow.inc();
        }
        self.drop_viewer(key);
        let Some(fan) = self.fans.get_mut(fan_key) else {
            return;
        };
        fan.viewers.retain(|v| *v != key);
        let fan = &self.fans[fan_key];
        if fan.key.stream.shard != self.index {
            let message = ShardMessage::ViewerLeft {
                key: fan.key,
                from: self.index,
            };
            return self.tell(usize::from(fan.key.stream.shard), message);
        }
        self.end_unwatched(fan_key);
    }

    /// Ends a rendition that nobody watches on any shard.
    fn end_unwatched(&mut self, fan_key: usize) {
        let Some(fan) = self.fans.get(fan_key) else {
            return;
        };
        if !fan.viewers.is_empty() || fan.is_mirrored() {
            return;
        }
        let stream = self.by_id.get(&fan.key.stream).copied();
        self.remove_fan(fan_key);
        if let Some(stream) = stream.and_then(|key| self.streams.get_mut(key)) {
            stream.fans.retain(|f| *f != fan_key);
            stream.drop_unused_conversions(&self.fans);
        }
    }

    fn drop_viewer(&mut self, key: usize) {
        let Some(mut viewer) = self.viewers.try_remove(key) else {
            return;
        };
        self.viewer_by_session.remove(&viewer.session);
        self.sent_bytes_gone += viewer.sent_bytes;
        self.skipped_gone += u64::from(viewer.skipped());
        viewer.close();
        if let Some(socket) = viewer.socket_mut() {
            // The socket is closed on drop, which ends the registration as well.
            let _ = self.poll.registry().deregister(socket);
        }
        self.events.send(MediaEvent::ViewerClosed {
            session: viewer.session,
        });
    }

    /// `ask_others`: the viewer may be on another shard.
    fn close_session(&mut self, now: Instant, session: SessionId, ask_others: bool) {
        if let Some(key) = self.viewer_by_session.get(&session).copied() {
            return self.close_viewer(key, Closed::ByPeer);
        }
        if self.peers.close_session(
            now,
            session,
            &mut self.streams,
            &self.by_id,
            &mut self.events,
            &self.links,
        ) || !ask_others
        {
            return;
        }
        let me = usize::from(self.index);
        for shard in 0..self.links.len() {
            if shard != me {
                self.tell(shard, ShardMessage::CloseSession(session));
            }
        }
    }

    fn add_peer(&mut self, now: Instant, new: NewPeer) {
        let Some(stream) = self
            .by_id
            .get(&new.stream)
            .and_then(|key| self.streams.get_mut(*key))
        else {
            return new.refuse(super::ViewerError::StreamGone);
        };
        self.peers.add(
            now,
            new,
            stream,
            &mut self.events,
            &self.links,
            &self.counters,
        );
        let at = stream.rtp.as_ref().and_then(|rtp| rtp.flush_at);
        self.next_flush = crate::time::earliest(self.next_flush, at);
    }

    fn on_shard_message(&mut self, now: Instant, message: ShardMessage) {
        match message {
            ShardMessage::AddMirrored { new, snapshot } => {
                let key = new.key();
                if let Some((init, units)) = snapshot {
                    let mut fan = Fan::mirror(key, init, self.ring_bytes * limits::FAN_RINGS);
                    units.into_iter().for_each(|unit| fan.ring.push(unit));
                    if let Some(old) = self.fan_by_key.get(&key).copied() {
                        self.remove_fan(old);
                    }
                    let fan_key = self.fans.insert(fan);
                    self.fan_by_key.insert(key, fan_key);
                }
                match self.fan_by_key.get(&key).copied() {
                    Some(fan_key) => self.place_viewer(now, fan_key, *new),
                    None => self.events.send(MediaEvent::ViewerClosed {
                        session: new.session,
                    }),
                }
            }
            ShardMessage::Units {
                key,
                mut units,
                init,
            } => {
                let Some(fan_key) = self.fan_by_key.get(&key).copied() else {
                    return;
                };
                if let Some(fan) = self.fans.get_mut(fan_key) {
                    if let Some(init) = init {
                        fan.init = init;
                    }
                    fan.append(&mut units, now, Duration::ZERO);
                    self.flush_fan(now, fan_key);
                }
            }
            ShardMessage::MirrorEnd { key } => {
                if let Some(fan_key) = self.fan_by_key.get(&key).copied() {
                    self.remove_fan(fan_key);
                }
            }
            ShardMessage::ViewerLeft { key, from } => {
                let Some(fan_key) = self.fan_by_key.get(&key).copied() else {
                    return;
                };
                let Some(fan) = self.fans.get_mut(fan_key) else {
                    return;
                };
                let Some(n) = fan.mirrors.get_mut(usize::from(from)) else {
                    return;
                };
                *n = n.saturating_sub(1);
                if *n == 0 {
                    self.tell(usize::from(from), ShardMessage::MirrorEnd { key });
                }
                self.end_unwatched(fan_key);
            }
            ShardMessage::CloseSession(session) => self.close_session(now, session, false),
            ShardMessage::Path(arrival) => {
                self.peers.adopt(now, arrival, &self.links, &self.counters);
            }
            ShardMessage::AddMirroredPeer {
                new,
                tracks,
                snapshot,
                newest,
            } => {
                self.peers.add_mirrored(
                    now,
                    *new,
                    &tracks,
                    snapshot,
                    newest,
                    &mut self.events,
                    &self.links,
                );
            }
            ShardMessage::Payloads {
                stream,
                payloads,
                newest,
            } => self.peers.mirror_payloads(now, stream, payloads, newest),
            ShardMessage::PayloadsEnd { stream } => {
                self.peers.mirror_end(now, stream, &mut self.events)
            }
            ShardMessage::PeerLeft { stream, from } => {
                if let Some(stream) = self
                    .by_id
                    .get(&stream)
                    .and_then(|key| self.streams.get_mut(*key))
                {
                    self.peers.mirrored_left(stream, from, &self.links);
                    stream.drop_unused_conversions(&self.fans);
                }
            }
            ShardMessage::Datagram { from, data, via } => {
                let mut data = data.to_vec();
                self.peers.take_datagram(
                    now,
                    from,
                    &mut data,
                    Some(via),
                    &self.links,
                    &self.counters,
                );
            }
            ShardMessage::Bound {
                address,
                shard,
                bound,
            } => self.peers.bind_foreign(address, shard, bound),
        }
    }

    // ---- once a second ----

    fn each_second(&mut self, now: Instant) {
        self.next_second = now + Duration::from_secs(1);
        let silence = Duration::from_secs(limits::INGEST_SILENCE_S_MAX);
        let mut ring_bytes = 0;
        let ring_bytes_max = self.budget.ring_bytes(self.ring_bytes);
        for (_, stream) in &mut self.streams {
            stream.hub.set_bytes_max(ring_bytes_max);
            ring_bytes += stream.hub.bytes();
            let stats = stream.stats(now);
            self.events.send(MediaEvent::Stats {
                stream: stream.id,
                stats,
            });
            let last = stream.ingest.last_packet();
            let silent = last.is_some_and(|at| now.saturating_duration_since(at) > silence);
            if silent && !std::mem::replace(&mut stream.stalled, true) {
                self.events.send(MediaEvent::Progress {
                    stream: stream.id,
                    progress: Progress::Stalled,
                });
            }
            stream.stalled &= silent;
        }
        self.budget
            .held(ring_bytes as i64 - self.ring_bytes_reported as i64);
        self.ring_bytes_reported = ring_bytes;
        let mut closed = Vec::new();
        for (key, viewer) in &self.viewers {
            let Some(fan) = self.fans.get(viewer.fan) else {
                continue;
            };
            if let Err(why) = viewer.check(&fan.ring, now) {
                closed.push((key, why));
            }
            let (sent_bytes, skipped) = (viewer.sent_bytes, viewer.skipped());
            self.events.send(MediaEvent::Viewer {
                session: viewer.session,
                sent_bytes,
                skipped,
            });
        }
        for (key, why) in closed {
            self.close_viewer(key, why);
        }
        self.peers
            .each_second(&self.streams, &self.by_id, &mut self.events);
        let idle: Vec<usize> = self
            .conns
            .iter()
            .filter(|(_, c)| c.is_idle(now))
            .map(|(key, _)| key)
            .collect();
        for key in idle {
            if let Some(stream) = self.conns.get(key).and_then(Conn::connecting) {
                self.events.send(MediaEvent::Progress {
                    stream,
                    progress: Progress::ConnectFailed,
                });
            }
            self.remove_conn(key);
        }
        self.report_service(now);
    }

    fn sent_bytes(&self) -> u64 {
        self.sent_bytes_gone
            + self.viewers.iter().map(|(_, v)| v.sent_bytes).sum::<u64>()
            + self.peers.sent_bytes()
    }

    fn report_service(&mut self, now: Instant) {
        let (received, sent) = (self.received_bytes, self.sent_bytes());
        let (at, received_then, sent_then) =
            std::mem::replace(&mut self.last_service, (now, received, sent));
        let seconds = now.saturating_duration_since(at).as_secs_f64().max(0.001);
        let rate = |new: u64, old: u64| (new.saturating_sub(old) as f64 / seconds) as u64;
        let of = |form: Form| {
            self.viewers
                .iter()
                .filter(|(_, v)| self.form_of(v) == Some(form))
                .count() as u64
        };
        self.counters.publish(Snapshot {
            received_bytes: received,
            sent_bytes: sent,
            kernel_dropped: u64::from(self.batch.kernel_dropped()),
            streams: self.streams.len() as u64,
            flv_viewers: of(Form::Flv),
            fmp4_viewers: of(Form::Fmp4),
            webrtc_viewers: self.peers.len() as u64,
            skipped: self.skipped_gone
                + self
                    .viewers
                    .iter()
                    .map(|(_, v)| u64::from(v.skipped()))
                    .sum::<u64>()
                + self.peers.skipped(),
            ring_bytes: self.ring_bytes_reported as u64,
            events_waiting: self.events.waiting.len() as u64,
            events_dropped: self.events.dropped,
            ps_errors: self
                .streams
                .iter()
                .fold(self.ps_errors_gone, |sum, (_, s)| {
                    add_errors(sum, &s.last_ps_errors)
                }),
            ingest: self
                .streams
                .iter()
                .fold(self.ingest_gone, |sum, (_, s)| add(sum, &s.last_stats)),
        });
        self.events.send(MediaEvent::Service(MediaServiceView {
            shard: self.index,
            streams: self.streams.len() as u32,
            viewers: (self.viewers.len() + self.peers.len()) as u32,
            received_bytes: received.saturating_sub(self.statistics_from.0),
            sent_bytes: sent.saturating_sub(self.statistics_from.1),
            received_bytes_per_s: rate(received, received_then),
            sent_bytes_per_s: rate(sent, sent_then),
            rtp_port: self.rtp_port,
        }));
    }

    fn form_of(&self, viewer: &Viewer) -> Option<Form> {
        self.fans.get(viewer.fan).map(|fan| fan.key.form)
    }

    fn close_all(&mut self) {
        let keys: Vec<usize> = self.viewers.iter().map(|(key, _)| key).collect();
        for key in keys {
            self.drop_viewer(key);
        }
        self.peers.close_all(Instant::now(), &mut self.events);
    }
}

fn add_errors(sum: PsErrors, more: &PsErrors) -> PsErrors {
    std::array::from_fn(|kind| sum[kind] + more[kind])
}

fn add(sum: IngestStats, more: &IngestStats) -> IngestStats {
    IngestStats {
        packets: sum.packets + more.packets,
        bytes: sum.bytes + more.bytes,
        lost: sum.lost + more.lost,
        reordered: sum.reordered + more.reordered,
        duplicate: sum.duplicate + more.duplicate,
        foreign: sum.foreign + more.foreign,
        ps_errors: sum.ps_errors + more.ps_errors,
        frames: sum.frames + more.frames,
        key_frames: sum.key_frames + more.key_frames,
        ..sum
    }
}

/// Runs what works on one stream or viewer. `None` = it panicked: what it worked on must be given up.
pub(super) fn guarded<T>(counters: &ShardCounters, work: impl FnOnce() -> T) -> Option<T> {
    let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
    if done.is_err() {
        counters.panics.inc();
    }
    done.ok()
}

/// A stream that waits for whatever comes, for an SSRC that nobody has: the one whose device said it sends from there, else
/// the only silent one of a device at that IP address (NAT and TCP change ports), else the one that takes any SSRC. RTCP
/// claims nothing: its SSRC may not be that of the media.
fn claim(streams: &Slab<Stream>, from: SocketAddr, is_rtcp: bool) -> Option<usize> {
    if is_rtcp {
        return None;
    }
    let from_there = |s: &Stream| s.remote == Some(from);
    let silent_there =
        |s: &Stream| s.remote.is_some_and(|r| r.ip() == from.ip()) && s.ingest.is_silent();
    let find = |wanted: &dyn Fn(&Stream) -> bool| streams.iter().find(|(_, s)| wanted(s));
    let only_there = || {
        let mut silent = streams.iter().filter(|(_, s)| silent_there(s));
        silent.next().filter(|_| silent.next().is_none())
    };
    find(&from_there)
        .or_else(only_there)
        .or_else(|| find(&|s| s.ssrc.is_none()))
        .map(|(key, _)| key)
}

fn touch(touched: &mut Vec<usize>, key: usize, stream: &Stream, reordering: &mut Vec<usize>) {
    if touched.last() != Some(&key) && stream.has_output() && !touched.contains(&key) {
        touched.push(key);
    }
    if stream.next_deadline().is_some() && !reordering.contains(&key) {
        reordering.push(key);
    }
}
