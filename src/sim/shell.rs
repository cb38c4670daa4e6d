//! Runs simulated devices on threads of their own: sockets, clock, poll.
//!
//! Each thread has one poll over the SIP sockets of its devices and the TCP sockets of its streams. Between two polls it
//! lets every deadline that has come pass: of devices (registration, keepalive, transactions) and of streams (the next
//! frame), each kept in one ordered set.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token, Waker};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use tokio_rustls::rustls::ClientConfig;

use crate::gb28181::MediaTransport;
use crate::gb28181::device::{Device, Event, LOCAL_OFFSET_S, MediaOffer, Output};
use crate::gb28181::notice::{Alarm, AlarmInfo};
use crate::gb28181::platform::local_time;
use crate::id::DeviceId;
use crate::limits::SIM_ACTS_WAITING_MAX;
use crate::net::udp;
use crate::sip::{ConnId, Path};

use super::plan::{Config, Plan};
use super::reel::{Picture, Reel, Sound};
use super::stream::{End, Link, Sent, Stream};
use super::upload;
use super::wire::{Carrier, Wire};
use super::{Act, Quirk, security};
use crate::time::WallClock;

/// Token of the waker; those of devices count from 0, those of streams from [`STREAMS`].
const WAKER: Token = Token(usize::MAX - 1);
const STREAMS: usize = 1 << 32;
/// Largest datagram that a device takes.
const DATAGRAM_BYTES_MAX: usize = 65_535;
/// How long devices have to say goodbye.
const STOP_TIMEOUT: Duration = Duration::from_secs(3);
/// Pause before a device whose connection ended opens a new one.
const RECONNECT: Duration = Duration::from_secs(2);
/// Datagrams taken from one device before others have their turn.
const DATAGRAMS_PER_TURN: usize = 64;

/// Between two alarms of a device that raises them.
const ALARM_EVERY: Duration = Duration::from_secs(15);
/// `AlarmMethod` and `AlarmType` of something that moves in the picture (GB/T 28181-2016, A.2.5 b).
const BY_VIDEO: u32 = 5;
const MOTION: u32 = 2;

/// What a simulation has done so far. Gauges and counters, all threads together.
#[derive(Debug, Default)]
pub struct Stats {
    pub registered: AtomicU64,
    pub register_failures: AtomicU64,
    /// Views that are being sent now.
    pub streaming: AtomicU64,
    pub invites: AtomicU64,
    pub frames: AtomicU64,
    pub packets: AtomicU64,
    pub bytes: AtomicU64,
    /// Frames that a socket did not take.
    pub dropped: AtomicU64,
    /// Frames sent more than 40 ms after their time: the machine is too slow for this many.
    pub late: AtomicU64,
}

/// A running simulation. Dropping it stops the devices without waiting for them.
#[derive(Debug)]
pub struct Sim {
    stats: Arc<Stats>,
    stop: Arc<AtomicBool>,
    threads: Vec<(Arc<Waker>, JoinHandle<()>)>,
    /// To each thread.
    acts: Vec<SyncSender<(usize, Act)>>,
    /// Each device's place in the plan.
    places: HashMap<DeviceId, usize>,
}

impl Sim {
    /// Lets a device do something. False: there is no such device, its thread is gone, or too much waits for it.
    pub fn act(&self, device: DeviceId, act: Act) -> bool {
        let Some(place) = self.places.get(&device) else {
            return false;
        };
        let thread = place % self.acts.len();
        let sent = self.acts[thread].try_send((place / self.acts.len(), act));
        // One that is gone takes no message either.
        _ = self.threads.get(thread).map(|(waker, _)| waker.wake());
        sent.is_ok()
    }

    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// Ends every view, unregisters every device, and waits for it: at most three seconds.
    pub fn stop(mut self) {
        self.signal();
        for (_, thread) in self.threads.drain(..) {
            // A thread that panicked has said so.
            _ = thread.join();
        }
    }

    fn signal(&self) {
        self.stop.store(true, Relaxed);
        for (waker, _) in &self.threads {
            // A thread that is gone needs no waking.
            _ = waker.wake();
        }
    }
}

impl Drop for Sim {
    fn drop(&mut self) {
        self.signal();
    }
}

/// Starts the devices; they register one after the other at the rate of the config.
pub fn start(config: Config, seed: u64) -> io::Result<Sim> {
    let stats = Arc::new(Stats::default());
    let stop = Arc::new(AtomicBool::new(false));
    let local = local_ip(config.server)?;
    let reels = reels(&config);
    let tls = match config.carrier {
        Carrier::Tls => Some(config.tls.config()?),
        Carrier::Udp | Carrier::Tcp => None,
    };
    let count = config.threads.max(1);
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH);
    let wall = WallClock {
        at: Instant::now(),
        unix_ms: since_epoch.map_or(0, |d| d.as_millis() as i64),
    };
    let devices = (0..).zip(&config.devices);
    let places = devices.map(|(place, plan)| (plan.id, place)).collect();
    let (mut threads, mut acts) = (Vec::new(), Vec::new());
    for n in 0..count {
        let (sender, receiver) = sync_channel(SIM_ACTS_WAITING_MAX);
        acts.push(sender);
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
        let mut worker = Worker {
            poll,
            local,
            devices: Vec::new(),
            streams: HashMap::new(),
            next_stream: 0,
            next_conn: 0,
            carrier: config.carrier,
            tls: tls.clone(),
            wall,
            timers: BTreeSet::new(),
            reels: reels.clone(),
            rng: ChaCha8Rng::seed_from_u64(seed.wrapping_add(n as u64)),
            stats: Arc::clone(&stats),
            leaving: 0,
            acts: receiver,
        };
        let now = Instant::now();
        let pause = Duration::from_secs(1) / config.registrations_per_s.max(1);
        for (place, plan) in config.devices.iter().enumerate() {
            if place % count == n {
                worker.add(&config, plan, now + pause * place as u32)?;
            }
        }
        let stop = Arc::clone(&stop);
        let thread = std::thread::Builder::new()
            .name(format!("sim-{n}"))
            .spawn(move || worker.run(&stop))?;
        threads.push((waker, thread));
    }
    Ok(Sim {
        stats,
        stop,
        threads,
        acts,
        places,
    })
}

/// The address by which this machine reaches the server.
fn local_ip(server: SocketAddr) -> io::Result<IpAddr> {
    let any: IpAddr = match server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let probe = std::net::UdpSocket::bind((any, 0))?;
    probe.connect(server)?;
    Ok(probe.local_addr()?.ip())
}

type Reels = HashMap<(Picture, Sound), Arc<Reel>>;

/// Every reel that a device of this simulation can be asked for.
fn reels(config: &Config) -> Reels {
    let mut reels = Reels::new();
    for plan in &config.devices {
        for picture in &plan.pictures {
            reels
                .entry((*picture, plan.sound))
                .or_insert_with(|| Arc::new(Reel::new(*picture, plan.sound)));
        }
    }
    reels
}

/// Whose time has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    Start(usize),
    Connect(usize),
    Device(usize),
    Alarm(usize),
    Stream(u64),
}

struct Peer {
    device: Device,
    plan: Plan,
    wire: Wire,
    path: Path,
    registered: bool,
    deaf: bool,
    /// The deadline that stands in the set.
    deadline: Option<Instant>,
    /// Views of this device, by the place of its stream.
    streams: Vec<u64>,
}

struct Worker {
    poll: Poll,
    local: IpAddr,
    devices: Vec<Peer>,
    streams: HashMap<u64, Stream>,
    next_stream: u64,
    next_conn: u64,
    carrier: Carrier,
    tls: Option<Arc<ClientConfig>>,
    wall: WallClock,
    timers: BTreeSet<(Instant, Timer)>,
    reels: Reels,
    rng: ChaCha8Rng,
    stats: Arc<Stats>,
    /// Devices that have not yet said goodbye.
    leaving: usize,
    acts: Receiver<(usize, Act)>,
}

impl Worker {
    fn add(&mut self, config: &Config, plan: &Plan, start: Instant) -> io::Result<()> {
        let place = self.devices.len();
        let (wire, path) = self.wire(place, config.server)?;
        let mut seed = [0; 32];
        self.rng.fill_bytes(&mut seed);
        let security = match &config.gb35114 {
            None => None,
            Some(folder) => Some(security::of(
                folder,
                plan.id,
                config.server_id,
                self.wall,
                seed,
            )?),
        };
        self.devices.push(Peer {
            device: Device::new(plan.device(config, path, security), seed),
            plan: plan.clone(),
            wire,
            path,
            registered: false,
            deaf: false,
            deadline: None,
            streams: Vec::new(),
        });
        self.timers.insert((start, Timer::Start(place)));
        if plan.raises_alarms(config) {
            self.timers
                .insert((start + ALARM_EVERY, Timer::Alarm(place)));
        }
        Ok(())
    }

    /// A new socket for a device, and the way that its messages go.
    fn wire(&mut self, place: usize, server: SocketAddr) -> io::Result<(Wire, Path)> {
        let registry = self.poll.registry();
        let wire = match self.carrier {
            Carrier::Udp => Wire::udp(SocketAddr::new(self.local, 0), registry, Token(place))?,
            Carrier::Tcp => Wire::connect(server, None, registry, Token(place))?,
            Carrier::Tls => Wire::connect(server, self.tls.as_ref(), registry, Token(place))?,
        };
        let conn = ConnId(self.next_conn);
        self.next_conn += 1;
        let path = Path {
            peer: server,
            local: wire.local_addr()?,
            transport: wire.transport(conn),
        };
        Ok((wire, path))
    }

    /// Gives a device whose connection ended a new one, and lets it register again.
    fn reconnect(&mut self, now: Instant, place: usize) {
        match self.wire(place, self.devices[place].path.peer) {
            Ok((wire, path)) => {
                let peer = &mut self.devices[place];
                peer.wire = wire;
                peer.path = path;
                peer.device.set_path(path);
                peer.device.start(now);
                self.settle(now, place);
            }
            Err(error) => {
                tracing::warn!(device = %self.devices[place].plan.id, %error, "cannot connect");
                self.timers.insert((now + RECONNECT, Timer::Connect(place)));
            }
        }
    }

    fn disconnected(&mut self, now: Instant, place: usize, error: &io::Error) {
        let peer = &mut self.devices[place];
        tracing::warn!(device = %peer.plan.id, %error, "its SIP connection ended");
        if std::mem::replace(&mut peer.registered, false) {
            self.stats.registered.fetch_sub(1, Relaxed);
        } else {
            self.stats.register_failures.fetch_add(1, Relaxed);
        }
        if let Some(conn) = peer.path.transport.connection() {
            peer.device.handle_closed(now, conn);
        }
        self.timers.insert((now + RECONNECT, Timer::Connect(place)));
    }

    fn run(mut self, stop: &AtomicBool) {
        let mut events = Events::with_capacity(1024);
        let mut datagram = vec![0; DATAGRAM_BYTES_MAX];
        let mut packets = Vec::new();
        let mut waiting = VecDeque::new();
        let mut leave_by = None;
        loop {
            let now = Instant::now();
            if leave_by.is_none() && stop.load(Relaxed) {
                leave_by = Some(now + STOP_TIMEOUT);
                self.leave(now);
            }
            if leave_by.is_some_and(|by| self.leaving == 0 || now >= by) {
                return;
            }
            self.pass(now, &mut packets);
            let next = self.timers.first().map(|(at, _)| *at);
            let timeout = match (waiting.is_empty(), next) {
                (false, _) => Some(Duration::ZERO),
                (true, Some(at)) => Some(at.saturating_duration_since(Instant::now())),
                (true, None) => None,
            };
            let timeout = match leave_by {
                Some(_) => Some(timeout.map_or(STOP_TIMEOUT, |t| t.min(Duration::from_millis(50)))),
                None => timeout,
            };
            if let Err(error) = self.poll.poll(&mut events, timeout)
                && error.kind() != io::ErrorKind::Interrupted
            {
                tracing::error!(%error, "simulated devices stop: poll failed");
                return;
            }
            let now = Instant::now();
            for event in &events {
                match event.token() {
                    WAKER => self.act(now),
                    Token(n) if n >= STREAMS => self.stream_event(now, (n - STREAMS) as u64),
                    Token(n) => waiting.push_back(n),
                }
            }
            for _ in 0..waiting.len() {
                if let Some(place) = waiting.pop_front()
                    && self.receive(now, place, &mut datagram)
                {
                    waiting.push_back(place);
                }
            }
        }
    }

    /// Lets every deadline that has come pass.
    fn pass(&mut self, now: Instant, packets: &mut Vec<u8>) {
        while let Some(&(at, timer)) = self.timers.first() {
            if at > now {
                return;
            }
            self.timers.pop_first();
            match timer {
                Timer::Start(place) => {
                    self.devices[place].device.start(now);
                    self.settle(now, place);
                }
                Timer::Connect(place) => self.reconnect(now, place),
                Timer::Device(place) => {
                    let peer = &mut self.devices[place];
                    peer.deadline = None;
                    peer.device.handle_timeout(now);
                    self.settle(now, place);
                }
                Timer::Alarm(place) => self.raise_alarm(now, place),
                Timer::Stream(id) => {
                    if now.duration_since(at) > Duration::from_millis(40) {
                        self.stats.late.fetch_add(1, Relaxed);
                    }
                    self.send_due(now, id, packets);
                }
            }
        }
    }

    /// Lets devices do what they are told to.
    fn act(&mut self, now: Instant) {
        while let Ok((place, act)) = self.acts.try_recv() {
            let peer = &mut self.devices[place];
            let device = &mut peer.device;
            match act {
                Act::Alarm { about, alarm } => _ = device.raise_alarm(now, about, *alarm),
                Act::Directory(changes) => _ = device.directory_changed(now, changes),
                Act::Tell { about, notice } => device.tell(now, about, &notice),
                Act::Silence(silent) => device.set_silent(silent),
                Act::Refuse(status) => device.set_refusal(status),
                Act::Deafness(deaf) => peer.deaf = deaf,
            }
            self.settle(now, place);
        }
    }

    /// Tells the platform that something moves, and will again.
    fn raise_alarm(&mut self, now: Instant, place: usize) {
        self.timers.insert((now + ALARM_EVERY, Timer::Alarm(place)));
        let peer = &mut self.devices[place];
        if !peer.registered {
            return;
        }
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH);
        let ms = since_1970.map_or(0, |d| d.as_millis() as i64);
        let alarm = Alarm {
            priority: 2,
            method: BY_VIDEO,
            time: local_time(ms + i64::from(LOCAL_OFFSET_S) * 1_000),
            info: Some(AlarmInfo {
                alarm_type: Some(MOTION),
                param: None,
            }),
            ..Alarm::default()
        };
        let about = peer.plan.id.0;
        peer.device.raise_alarm(now, about, alarm);
        self.settle(now, place);
    }

    /// Takes what waits for a device. True: there may be more.
    fn receive(&mut self, now: Instant, place: usize, datagram: &mut [u8]) -> bool {
        let mut more = true;
        let Some(peer) = self.devices.get_mut(place) else {
            return false;
        };
        match &mut peer.wire {
            Wire::Datagrams(socket) => {
                for _ in 0..DATAGRAMS_PER_TURN {
                    match socket.recv_from(datagram) {
                        Ok(_) if peer.deaf => {}
                        Ok((length, from)) => {
                            let path = Path {
                                peer: from,
                                ..peer.path
                            };
                            let raw = Bytes::copy_from_slice(&datagram[..length]);
                            peer.device.handle_message(now, path, raw);
                        }
                        Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                            more = false;
                            break;
                        }
                        // The server is not there (yet): its port answered with ICMP.
                        Err(_) => {}
                    }
                }
            }
            Wire::Connection(connection) => {
                let (device, path) = (&mut peer.device, peer.path);
                let ended = connection.turn(datagram, |raw| device.handle_message(now, path, raw));
                more = false;
                if let Err(error) = ended {
                    self.disconnected(now, place, &error);
                }
            }
        }
        self.settle(now, place);
        more
    }

    /// Does what a device wants done, then notes its next deadline.
    fn settle(&mut self, now: Instant, place: usize) {
        while let Some(output) = self.devices[place].device.poll_output() {
            match output {
                Output::Transmit(transmit) => {
                    let peer = &mut self.devices[place];
                    match &mut peer.wire {
                        // What cannot be sent is repeated by its transaction.
                        Wire::Datagrams(socket) => {
                            _ = socket.send_to(&transmit.payload, transmit.path.peer);
                        }
                        Wire::Connection(connection) => {
                            // For another connection: that one is gone, and what it asked with it. An error comes again
                            // when the socket is read.
                            if transmit.path.transport == peer.path.transport {
                                _ = connection.send(&transmit.payload);
                            }
                        }
                    }
                }
                Output::Event(event) => self.device_event(now, place, event),
                Output::Upload { url, pictures } => upload::start(url, pictures),
            }
        }
        let peer = &mut self.devices[place];
        let next = peer.device.next_deadline();
        if next != peer.deadline {
            if let Some(at) = peer.deadline {
                self.timers.remove(&(at, Timer::Device(place)));
            }
            if let Some(at) = next {
                self.timers.insert((at, Timer::Device(place)));
            }
            peer.deadline = next;
        }
    }

    fn device_event(&mut self, now: Instant, place: usize, event: Event) {
        match event {
            Event::Registered => {
                if !std::mem::replace(&mut self.devices[place].registered, true) {
                    self.stats.registered.fetch_add(1, Relaxed);
                }
            }
            Event::RegisterFailed { status } => {
                let peer = &mut self.devices[place];
                tracing::warn!(device = %peer.plan.id, status, "registration failed");
                self.stats.register_failures.fetch_add(1, Relaxed);
                if std::mem::replace(&mut peer.registered, false) {
                    self.stats.registered.fetch_sub(1, Relaxed);
                }
            }
            Event::Unregistered => {
                if std::mem::replace(&mut self.devices[place].registered, false) {
                    self.stats.registered.fetch_sub(1, Relaxed);
                }
                self.leaving = self.leaving.saturating_sub(1);
            }
            Event::Invited(offer) => {
                self.stats.invites.fetch_add(1, Relaxed);
                self.invited(now, place, &offer);
            }
            Event::StartMedia(offer) => {
                if let Some(id) = self.find(place, &offer.id) {
                    self.start_media(now, id);
                }
            }
            Event::Ordered { id, order } => {
                if let Some(id) = self.find(place, &id)
                    && let Some(stream) = self.streams.get_mut(&id)
                {
                    stream.obey(now, order);
                    self.timers.retain(|(_, t)| *t != Timer::Stream(id));
                    self.timers.insert((now, Timer::Stream(id)));
                }
            }
            Event::StopMedia { id, .. } => {
                if let Some(id) = self.find(place, &id) {
                    self.remove(id);
                }
            }
        }
    }

    fn find(&self, place: usize, media: &crate::gb28181::device::MediaId) -> Option<u64> {
        let mut streams = self.devices[place].streams.iter().copied();
        streams.find(|id| self.streams.get(id).is_some_and(|s| s.id == *media))
    }

    fn invited(&mut self, now: Instant, place: usize, offer: &MediaOffer) {
        let plan = &self.devices[place].plan;
        if plan.quirk == Quirk::TcpOnly && offer.transport == MediaTransport::Udp {
            return self.devices[place].device.refuse(now, offer.id, 488);
        }
        let id = self.next_stream;
        self.next_stream += 1;
        let (link, media) = match self.link(id, offer, plan.quirk) {
            Ok(link) => link,
            Err(error) => {
                tracing::warn!(device = %plan.id, %error, "no socket for a view");
                return self.devices[place].device.refuse(now, offer.id, 500);
            }
        };
        let picture = plan.picture(offer.channel);
        let reel = Arc::clone(&self.reels[&(picture, plan.sound)]);
        let quirk = plan.quirk;
        let seed = self.rng.next_u64();
        let stream = Stream::new(place, offer, reel, quirk, link, seed);
        self.streams.insert(id, stream);
        let peer = &mut self.devices[place];
        peer.streams.push(id);
        peer.device.accept(now, offer.id, media);
    }

    /// The way for a view, and the address that our answer names.
    fn link(&self, id: u64, offer: &MediaOffer, quirk: Quirk) -> io::Result<(Link, SocketAddr)> {
        let any = SocketAddr::new(self.local, 0);
        let mute = match quirk {
            Quirk::Silent => true,
            Quirk::UdpLost => offer.transport == MediaTransport::Udp,
            Quirk::None
            | Quirk::WrongSsrc
            | Quirk::SameSsrc
            | Quirk::NewSsrc
            | Quirk::TcpOnly
            | Quirk::NoKeyFrame
            | Quirk::StopsEarly
            | Quirk::SilentEnd
            | Quirk::EndOutside
            | Quirk::Reverse
            | Quirk::HangsUp => false,
        };
        match offer.transport {
            MediaTransport::Udp => {
                let options = udp::Options {
                    reuse_port: false,
                    // Reports of the platform are not read.
                    receive_buffer_bytes: 4 << 10,
                    send_buffer_bytes: 1 << 20,
                };
                let (socket, _) = udp::bind(any, options)?;
                let local = socket.local_addr()?;
                let sender = udp::Sender::new(socket)?;
                let to = offer.remote;
                let link = if mute {
                    Link::Mute
                } else {
                    Link::Udp { sender, to }
                };
                Ok((link, local))
            }
            MediaTransport::TcpPassive if mute => Ok((Link::Mute, any)),
            MediaTransport::TcpPassive => Ok((Link::ToConnect(offer.remote), any)),
            MediaTransport::TcpActive => {
                let mut listener = TcpListener::bind(any)?;
                let local = listener.local_addr()?;
                if mute {
                    // Nobody listens there any more.
                    return Ok((Link::Mute, local));
                }
                let token = Token(STREAMS + id as usize);
                self.poll
                    .registry()
                    .register(&mut listener, token, Interest::READABLE)?;
                Ok((Link::Listening(listener), local))
            }
        }
    }

    /// The platform has acknowledged.
    fn start_media(&mut self, now: Instant, id: u64) {
        let Some(stream) = self.streams.get_mut(&id) else {
            return;
        };
        stream.started = true;
        if let Link::ToConnect(to) = stream.link {
            let connected = TcpStream::connect(to).and_then(|mut tcp| {
                let token = Token(STREAMS + id as usize);
                let both = Interest::READABLE | Interest::WRITABLE;
                self.poll.registry().register(&mut tcp, token, both)?;
                Ok(tcp)
            });
            match connected {
                Ok(stream_) => {
                    stream.link = Link::Tcp {
                        stream: stream_,
                        backlog: VecDeque::new(),
                    }
                }
                Err(error) => return self.lost(now, id, &error),
            }
        }
        self.begin(now, id);
    }

    /// Sends the first frame as soon as there is a way.
    fn begin(&mut self, now: Instant, id: u64) {
        if let Some(stream) = self.streams.get_mut(&id)
            && stream.is_ready()
            && stream.is_new()
        {
            stream.begin(now, id);
            self.stats.streaming.fetch_add(1, Relaxed);
            self.timers.insert((now, Timer::Stream(id)));
        }
    }

    fn send_due(&mut self, now: Instant, id: u64, packets: &mut Vec<u8>) {
        let Some(stream) = self.streams.get_mut(&id) else {
            return;
        };
        let mut sent = Sent::default();
        let next = stream.send_due(now, packets, &mut sent);
        let stats = &self.stats;
        stats.frames.fetch_add(sent.frames, Relaxed);
        stats.packets.fetch_add(sent.packets, Relaxed);
        stats.bytes.fetch_add(sent.bytes, Relaxed);
        stats.dropped.fetch_add(sent.dropped, Relaxed);
        match next {
            Ok(Some(at)) => {
                self.timers.insert((at, Timer::Stream(id)));
            }
            Ok(None) => self.end_of_record(now, id),
            Err(error) => self.lost(now, id, &error),
        }
    }

    /// Nothing more is due: a record is over, or rests.
    fn end_of_record(&mut self, now: Instant, id: u64) {
        let Some(stream) = self.streams.get_mut(&id) else {
            return;
        };
        let (place, media) = (stream.device, stream.id);
        let Some(end) = stream.take_end() else { return };
        let device = &mut self.devices[place].device;
        match end {
            End::Told { inside } => device.end_of_file(now, media, inside),
            End::HungUp => device.end_media(now, media),
        }
        self.settle(now, place);
    }

    fn stream_event(&mut self, now: Instant, id: u64) {
        let Some(stream) = self.streams.get_mut(&id) else {
            return;
        };
        if let Link::Listening(listener) = &stream.link {
            let Ok((mut tcp, _)) = listener.accept() else {
                return;
            };
            // The listener's token is free for it: one connection a view.
            let token = Token(STREAMS + id as usize);
            let both = Interest::READABLE | Interest::WRITABLE;
            if let Err(error) = self.poll.registry().register(&mut tcp, token, both) {
                return self.lost(now, id, &error);
            }
            stream.link = Link::Tcp {
                stream: tcp,
                backlog: VecDeque::new(),
            };
            return self.begin(now, id);
        }
        if let Err(error) = stream.service() {
            self.lost(now, id, &error);
        }
    }

    /// The connection of a view is gone: the device says BYE.
    fn lost(&mut self, now: Instant, id: u64, error: &io::Error) {
        let Some(stream) = self.streams.get(&id) else {
            return;
        };
        let (place, media) = (stream.device, stream.id);
        tracing::debug!(device = %self.devices[place].plan.id, %error, "media connection lost");
        self.devices[place].device.end_media(now, media);
        self.settle(now, place);
    }

    fn remove(&mut self, id: u64) {
        if let Some(stream) = self.streams.remove(&id) {
            self.devices[stream.device].streams.retain(|s| *s != id);
            if !stream.is_new() {
                self.stats.streaming.fetch_sub(1, Relaxed);
            }
        }
    }

    /// Everybody says goodbye.
    fn leave(&mut self, now: Instant) {
        self.timers.retain(|(_, timer)| match timer {
            Timer::Start(_) | Timer::Connect(_) | Timer::Alarm(_) => false,
            Timer::Device(_) | Timer::Stream(_) => true,
        });
        for place in 0..self.devices.len() {
            if self.devices[place].registered {
                self.leaving += 1;
                self.devices[place].device.stop(now);
                self.settle(now, place);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn acts_wait_up_to_a_bound_and_are_for_devices_that_are_there() {
        let id = |code: &str| DeviceId(code.parse().expect("a code"));
        let device = id("34020000001320000001");
        let (sender, waiting) = sync_channel(SIM_ACTS_WAITING_MAX);
        let sim = Sim {
            stats: Arc::default(),
            stop: Arc::default(),
            threads: Vec::new(),
            acts: vec![sender],
            places: HashMap::from([(device, 0)]),
        };
        assert!(!sim.act(id("34020000001320000002"), Act::Silence(true)));
        for _ in 0..SIM_ACTS_WAITING_MAX {
            assert!(sim.act(device, Act::Silence(true)));
        }
        assert!(!sim.act(device, Act::Silence(false)), "too many wait");
        assert_eq!(waiting.try_iter().count(), SIM_ACTS_WAITING_MAX);
        drop(waiting);
        assert!(!sim.act(device, Act::Silence(false)), "its thread is gone");
    }
}
