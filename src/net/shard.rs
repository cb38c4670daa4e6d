//! A media thread: its sockets, its streams with their renditions, and its viewers. Nothing on it is shared or locked.
//!
//! One turn: wait for readiness (or the next deadline), take what the sockets have, give completed frames to the
//! renditions, write the renditions that are due to all their viewers. A stream with more viewers than
//! [`limits::VIEWERS_BEFORE_SPREAD`] has its further viewers on other shards: those hold a mirror of the rendition, fed the
//! finished units once a flush.

mod ingest;
mod mirror;
mod order;
mod ports;
mod report;
mod tcp;
mod viewers;

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::mpsc as std_mpsc;
use std::time::{Duration, Instant};

use mio::net::TcpListener;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use slab::Slab;
use tokio::sync::mpsc;

pub(super) use order::{EventSender, NewIo, NewViewer, Order, ShardLink, ShardMessage};

use super::budget::Needs;
use super::conn::Conn;
use super::counters::ShardCounters;
use super::peer::{NewPeer, Paths, Peers};
use super::sound::SoundLink;
use super::stream::{Fan, FanKey, Holds, PsErrors, Stream};
use super::udp::{RecvBatch, Sender};
use super::viewer::{Shared, Viewer};
use crate::id::{SessionId, Ssrc, StreamId};
use crate::limits;
use crate::session::IngestStats;
use crate::session::port::{MediaCommand, MediaEvent};
use ports::OwnPort;
use report::{add, add_errors};

const RTP: Token = Token(0);
const RTP_TCP: Token = Token(1);
const WAKER: Token = Token(2);
const WEBRTC: Token = Token(3);
const WEBRTC_TCP: Token = Token(4);
/// Tokens of viewers, of media connections and of WebRTC connections are their key plus one of these.
const VIEWERS: usize = 1 << 32;
const CONNS: usize = 2 << 32;
const PATHS: usize = 3 << 32;
/// The same of ports of single streams, with the kind of socket in the lowest bits.
const PORTS: usize = 4 << 32;
const PORTS_KIND_BITS: u32 = 2;
const KEY_MASK: usize = VIEWERS - 1;

/// What a media thread is made with.
pub(super) struct ShardSetup {
    pub index: u8,
    /// Where ports of single streams are opened.
    pub ip: IpAddr,
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
    ip: IpAddr,
    poll: Poll,
    orders: std_mpsc::Receiver<Order>,
    links: Vec<ShardLink>,
    events: EventSender,
    /// Receives RTP and sends reports.
    rtp: Sender,
    rtp_port: u16,
    rtp_tcp: TcpListener,
    /// A report on its way out.
    rtcp_out: Vec<u8>,
    batch: RecvBatch,
    read_buffer: Box<[u8]>,
    holds: Holds,
    ring_bytes: usize,
    budget: Arc<super::budget::Budget>,
    ring_bytes_reported: usize,
    ring_overflows_gone: u64,
    /// What its streams needed when it was last said.
    needs: Needs,
    streams: Slab<Stream>,
    /// Converts their sound.
    sound: SoundLink,
    by_id: HashMap<StreamId, usize>,
    by_ssrc: HashMap<Ssrc, usize>,
    own_ports: Slab<OwnPort>,
    own_dropped_gone: u64,
    /// Datagrams that the kernel dropped on the RTP socket of this thread, as it last said.
    rtp_dropped: u32,
    fans: Slab<Fan>,
    fan_by_key: HashMap<FanKey, usize>,
    viewers: Slab<Viewer>,
    shared: Shared,
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
        let (own, counters) = (
            setup.links[usize::from(setup.index)].clone(),
            Arc::clone(&setup.counters),
        );
        let sound = SoundLink::spawn(
            &format!("sound {}", setup.index),
            Box::new(move |made| {
                let taken = own.send(Order::Sound(made));
                if !taken {
                    counters.orders_refused.inc();
                }
                taken
            }),
        )?;
        Ok(Shard {
            index: setup.index,
            ip: setup.ip,
            poll: setup.poll,
            orders: setup.orders,
            peers: Peers::new(setup.index, setup.webrtc, paths, setup.peers)?,
            links: setup.links,
            events: EventSender::new(setup.events),
            rtp: Sender::new(setup.rtp)?,
            rtp_port,
            rtp_tcp,
            rtcp_out: Vec::with_capacity(256),
            batch: RecvBatch::new(limits::UDP_DATAGRAM_BYTES_MAX),
            read_buffer: vec![0; limits::MEDIA_CONN_READ_BYTES].into_boxed_slice(),
            holds: setup.holds,
            ring_bytes: setup.ring_bytes,
            budget: setup.budget,
            ring_bytes_reported: 0,
            ring_overflows_gone: 0,
            needs: Needs::default(),
            streams: Slab::new(),
            sound,
            by_id: HashMap::new(),
            by_ssrc: HashMap::new(),
            own_ports: Slab::new(),
            own_dropped_gone: 0,
            rtp_dropped: 0,
            fans: Slab::new(),
            fan_by_key: HashMap::new(),
            viewers: Slab::new(),
            shared: Shared::default(),
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
                &self.counters,
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
            Token(t) if t >= PORTS => self.on_own_port(now, t),
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

    fn take_orders(&mut self, now: Instant) -> bool {
        while let Ok(order) = self.orders.try_recv() {
            match order {
                Order::Media(command) => self.on_command(now, command),
                Order::AddViewer(new) => self.add_viewer(now, *new),
                Order::AddPeer(new) => self.add_peer(now, *new),
                Order::Shard(message) => self.on_shard_message(now, message),
                Order::Sound(made) => self.take_sound(now, made),
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
                options,
            } => self.open_ingest(stream, ssrc, transport, options),
            MediaCommand::UpdateIngest {
                stream,
                ssrc,
                remote,
            } => self.update_ingest(now, stream, ssrc, remote),
            MediaCommand::DescribeIngest { stream, hints } => {
                if let Some(key) = self.by_id.get(&stream)
                    && let Some(stream) = self.streams.get_mut(*key)
                {
                    stream.ingest.set_hints(hints);
                }
            }
            MediaCommand::SetPace {
                stream,
                pace,
                paused,
                target_ms,
            } => self.set_pace(now, stream, pace, paused, target_ms),
            MediaCommand::CloseIngest { stream } => self.close_ingest(now, stream),
            MediaCommand::CloseViewer { session, .. } => self.close_session(now, session, true),
            MediaCommand::ResetStatistics => {
                self.statistics_from = (self.received_bytes, self.sent_bytes());
                let dropped = u64::from(self.rtp_dropped);
                for (_, stream) in &mut self.streams {
                    self.ingest_gone = add(self.ingest_gone, &stream.stats(now, dropped));
                    self.ps_errors_gone = add_errors(self.ps_errors_gone, &stream.last_ps_errors);
                    stream.reset_stats();
                }
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
}

/// Runs what works on one stream or viewer. `None` = it panicked: what it worked on must be given up.
pub(super) fn guarded<T>(counters: &ShardCounters, work: impl FnOnce() -> T) -> Option<T> {
    let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
    if done.is_err() {
        counters.panics.inc();
    }
    done.ok()
}
