//! The control thread: the session core and the GB/T 28181 platform with their SIP sockets.
//!
//! One thread, no locks: datagrams, connections, calls of the API and events of the media threads come in, each core is
//! driven until it has nothing more to say, and then the thread waits for the next of them or for the nearest deadline.
//!
//! Every message passes [`Platform::admits`] before it is copied or read. When there are many the thread rests a moment
//! between turns, so that one wake-up and one system call serve several.

mod conns;
mod routes;
mod tls;

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket as StdUdpSocket};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::io::Interest;
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::{broadcast, mpsc, oneshot};

use conns::{Connections, Said};
use routes::Routes;
pub(crate) use routes::route_to;
use tls::Shaken;
pub use tls::{Failures, Tls};

use super::core::{Core, Persist, RequestId};
use super::port::MediaEvent;
use super::types::{Command, Error, Event, Reply};
use super::wiring::{self, Outward};
use crate::gb28181::Platform;
use crate::gb28181::gb35114::Refusal;
use crate::id::DeviceId;
use crate::limits;
use crate::net::MediaHandle;
use crate::net::outbox::Outbox;
use crate::net::udp::RecvBatch;
use crate::sip::endpoint::Transmit;
use crate::sip::{Path, Transport};
use crate::time::earliest;

/// A command with the place for its answer.
pub type Call = (Command, oneshot::Sender<Result<Reply, Error>>);

/// Talks to the control thread. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Handle {
    calls: mpsc::Sender<Call>,
    events: broadcast::Sender<Event>,
    handshakes: Arc<Failures>,
    refusals: Arc<Mutex<HashMap<DeviceId, (Refusal, i64)>>>,
}

impl Handle {
    /// `calls` leads to the control thread; `events` is where it tells.
    pub fn new(calls: mpsc::Sender<Call>, events: broadcast::Sender<Event>) -> Handle {
        Handle {
            calls,
            events,
            handshakes: Arc::default(),
            refusals: Arc::default(),
        }
    }

    /// Why GB 35114 refused a device the last time, and when in Unix ms.
    pub fn refusal(&self, device: DeviceId) -> Option<(Refusal, i64)> {
        let refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        refusals.get(&device).copied()
    }

    fn note_refusals(&self, new: Vec<(DeviceId, Refusal, i64)>) {
        let mut refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        for (device, why, unix_ms) in new {
            if refusals.len() < limits::GM_REFUSALS_KEPT_MAX || refusals.contains_key(&device) {
                refusals.insert(device, (why, unix_ms));
            }
        }
    }

    /// What failed at the TLS door of SIP.
    pub fn handshakes(&self) -> &Failures {
        &self.handshakes
    }

    /// Asks and waits for the answer. [`Error::ShuttingDown`] when the control thread is gone.
    pub async fn call(&self, command: Command) -> Result<Reply, Error> {
        let (answer, wait) = oneshot::channel();
        self.calls
            .send((command, answer))
            .await
            .map_err(|_| Error::ShuttingDown)?;
        wait.await.map_err(|_| Error::ShuttingDown)?
    }

    /// Waits until the control thread is gone.
    pub async fn ended(&self) {
        self.calls.closed().await;
    }

    /// What happens from now on. A receiver that falls behind loses the oldest.
    pub fn events(&self) -> broadcast::Receiver<Event> {
        self.events.subscribe()
    }
}

/// Is shown both cores and the sockets' counters.
pub type Observer = Box<dyn FnMut(&Platform, &Core, SipCounters) + Send>;

/// What the control thread is made with.
pub struct Setup {
    pub sip_udp: StdUdpSocket,
    pub sip_tcp: std::net::TcpListener,
    /// `None` = no SIP over TLS.
    pub sip_tls: Option<Tls>,
    /// Address that devices are told; `None` = by the route to each.
    pub announced: Option<IpAddr>,
    pub platform: Platform,
    pub core: Core,
    pub media: MediaHandle,
    pub media_events: mpsc::Receiver<MediaEvent>,
    /// Takes what must survive a restart; never waits.
    pub persist: Box<dyn FnMut(Persist) + Send>,
    /// Is shown both cores once a second.
    pub observe: Observer,
}

/// What the SIP sockets count.
#[derive(Clone, Copy, Debug, Default)]
pub struct SipCounters {
    pub received: u64,
    pub sent: u64,
    /// Datagrams that the kernel could not take at once; SIP sends them again.
    pub send_failed: u64,
    /// Datagrams that the kernel dropped because the socket's buffer was full.
    pub kernel_dropped: u64,
    pub connections: u64,
    pub connections_refused: u64,
    /// Closed by us: too much or too long half a message, or no device showed.
    pub connections_cut_off: u64,
    /// Failed TLS handshakes, by [`crate::diagnosis::handshake::Failure::index`].
    pub handshakes_failed: [u64; crate::diagnosis::handshake::Failure::ALL.len()],
}

/// Starts the control thread. It ends after [`Command::Shutdown`] is answered.
pub fn start(setup: Setup) -> io::Result<(Handle, std::thread::JoinHandle<()>)> {
    let (calls, calls_taken) = mpsc::channel(limits::CALLS_WAITING_MAX);
    let (events, _) = broadcast::channel(limits::EVENTS_WAITING_MAX);
    let handle = Handle::new(calls, events.clone());
    let tls_runtime = setup.sip_tls.as_ref().map(|tls| tls.runtime.clone());
    let shaken = match setup.sip_tls {
        Some(tls) => Some(tls::open(tls, handle.handshakes.clone())?),
        None => None,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let control = {
        let _inside = runtime.enter();
        setup.sip_udp.set_nonblocking(true)?;
        setup.sip_tcp.set_nonblocking(true)?;
        let (said, heard) = mpsc::channel(limits::SIP_CONN_MESSAGES_WAITING_MAX);
        let local = setup.sip_udp.local_addr()?;
        Control {
            local,
            outbox: Outbox::new(local),
            pace: Pace::new(Instant::now()),
            udp: UdpSocket::from_std(setup.sip_udp)?,
            tcp: TcpListener::from_std(setup.sip_tcp)?,
            batch: RecvBatch::new(limits::SIP_DATAGRAM_BYTES_MAX),
            routes: Routes::new(setup.announced),
            platform: setup.platform,
            core: setup.core,
            media: setup.media,
            media_events: setup.media_events,
            persist: setup.persist,
            observe: setup.observe,
            calls: calls_taken,
            events,
            waiting: HashMap::new(),
            next_request: 0,
            shutdown: None,
            done: false,
            conns: Connections::new(said),
            heard,
            tls: tls_runtime.zip(shaken),
            handle: handle.clone(),
            counters: SipCounters::default(),
        }
    };
    let thread = std::thread::Builder::new()
        .name("control".into())
        .spawn(move || runtime.block_on(control.run()))?;
    Ok((handle, thread))
}

/// Whether datagrams come so often that it pays to let them gather.
struct Pace {
    since: Instant,
    taken: u32,
    busy: bool,
    last_turn: Instant,
}

impl Pace {
    /// A tenth of a second tells the rate.
    const WINDOW: Duration = Duration::from_millis(100);

    fn new(now: Instant) -> Pace {
        Pace {
            since: now,
            taken: 0,
            busy: false,
            last_turn: now,
        }
    }

    fn took(&mut self, now: Instant, datagrams: usize) {
        self.last_turn = now;
        self.taken = self
            .taken
            .saturating_add(u32::try_from(datagrams).unwrap_or(u32::MAX));
        if now.duration_since(self.since) >= Self::WINDOW {
            self.busy = self.taken >= limits::SIP_GATHER_FROM_PER_S / 10;
            (self.since, self.taken) = (now, 0);
        }
    }

    /// How long to rest before the next turn; nothing when little comes or something is due sooner.
    fn rest(&self, now: Instant, deadline: Option<Instant>) -> Duration {
        if !self.busy {
            return Duration::ZERO;
        }
        let until = self.last_turn + Duration::from_micros(limits::SIP_GATHER_US);
        earliest(Some(until), deadline)
            .unwrap_or(until)
            .saturating_duration_since(now)
    }
}

struct Control {
    udp: UdpSocket,
    tcp: TcpListener,
    local: SocketAddr,
    batch: RecvBatch,
    outbox: Outbox,
    pace: Pace,
    routes: Routes,
    platform: Platform,
    core: Core,
    media: MediaHandle,
    media_events: mpsc::Receiver<MediaEvent>,
    persist: Box<dyn FnMut(Persist) + Send>,
    observe: Observer,
    calls: mpsc::Receiver<Call>,
    events: broadcast::Sender<Event>,
    waiting: HashMap<RequestId, oneshot::Sender<Result<Reply, Error>>>,
    next_request: u64,
    shutdown: Option<RequestId>,
    done: bool,
    conns: Connections,
    heard: mpsc::Receiver<Said>,
    /// Where connections over TLS are served, and where those with a finished handshake come from.
    tls: Option<(tokio::runtime::Handle, mpsc::Receiver<Shaken>)>,
    /// What others see of this thread, where counters and last refusals are noted.
    handle: Handle,
    counters: SipCounters,
}

impl Control {
    async fn run(mut self) {
        let mut second = tokio::time::interval(Duration::from_secs(1));
        second.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        self.drain(Instant::now());
        while !self.done {
            let deadline = earliest(self.platform.next_deadline(), self.core.next_deadline());
            let rest = self.pace.rest(Instant::now(), deadline);
            if !rest.is_zero() {
                std::thread::sleep(rest);
            }
            let timer = async {
                match deadline {
                    Some(at) => tokio::time::sleep_until(at.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                ready = self.udp.readable() => {
                    if let Err(e) = ready {
                        tracing::error!(error = %e, "the SIP socket cannot be read any more");
                        return;
                    }
                    self.take_datagrams();
                }
                Some(call) = self.calls.recv() => self.take_call(call),
                Some(event) = self.media_events.recv() => self.take_media_events(event),
                Some(said) = self.heard.recv() => self.take_said(said),
                accepted = self.tcp.accept() => match accepted {
                    Ok((socket, peer)) => self.accept(socket, peer),
                    Err(e) => tracing::debug!(error = %e, "cannot take a SIP connection"),
                },
                Some(shaken) = next_shaken(&mut self.tls) => self.accept_tls(shaken),
                _ = second.tick() => {
                    self.pace.took(Instant::now(), 0);
                    self.conns.close_strangers(Instant::now(), |path| self.platform.knows(path));
                    self.counters.connections = self.conns.len() as u64;
                    self.counters.connections_refused = self.conns.refused();
                    self.counters.connections_cut_off = self.conns.cut_off();
                    self.counters.handshakes_failed = self.handle.handshakes.counts();
                    self.counters.kernel_dropped = u64::from(self.batch.kernel_dropped());
                    self.handle.note_refusals(self.platform.take_refusals());
                    (self.observe)(&self.platform, &self.core, self.counters);
                }
                () = timer => {}
            }
            let now = Instant::now();
            self.platform.handle_timeout(now);
            self.core.handle_timeout(now);
            self.drain(now);
        }
    }

    fn take_datagrams(&mut self) {
        for _ in 0..limits::SIP_BATCHES_PER_TURN {
            let (batch, udp) = (&mut self.batch, &self.udp);
            let n = udp.try_io(Interest::READABLE, || match batch.recv(udp) {
                Ok(0) => Err(io::ErrorKind::WouldBlock.into()),
                other => other,
            });
            let Ok(n) = n else { return };
            let now = Instant::now();
            self.pace.took(now, n);
            for i in 0..n {
                let Some((peer, datagram)) = self.batch.get(i) else {
                    continue;
                };
                self.counters.received += 1;
                let local = self.routes.local_for(now, peer.ip(), self.local);
                let path = Path {
                    peer,
                    local,
                    transport: Transport::Udp,
                };
                if self.platform.admits(now, &path, datagram) {
                    self.platform
                        .handle_message(now, path, Bytes::copy_from_slice(datagram));
                }
            }
            self.drain(now);
        }
    }

    fn take_call(&mut self, (command, answer): Call) {
        let request = RequestId(self.next_request);
        self.next_request += 1;
        self.waiting.insert(request, answer);
        match command {
            Command::Shutdown => self.shutdown = Some(request),
            Command::Open { .. }
            | Command::Close { .. }
            | Command::CloseOwner { .. }
            | Command::Playback { .. }
            | Command::Play { .. }
            | Command::ClosePlayback { .. }
            | Command::Sessions
            | Command::Session { .. }
            | Command::Devices
            | Command::Device { .. }
            | Command::DevicesOf { .. }
            | Command::Presence { .. }
            | Command::Adopt { .. }
            | Command::Kick { .. }
            | Command::Forget { .. }
            | Command::SetAccess(_)
            | Command::Subscribe { .. }
            | Command::Unsubscribe { .. }
            | Command::Subscriptions { .. }
            | Command::KnownAlarms { .. }
            | Command::RefreshCatalog { .. }
            | Command::Ask { .. }
            | Command::SetDeviceAuth { .. }
            | Command::SetIdentity(_)
            | Command::DevicePolicy { .. }
            | Command::SetDevicePolicy { .. }
            | Command::Messages { .. }
            | Command::ClosedSessions
            | Command::OpenIngest { .. }
            | Command::CloseIngest { .. }
            | Command::MediaServices
            | Command::ResetStatistics => {}
        }
        self.core.handle_command(Instant::now(), request, command);
    }

    fn take_media_events(&mut self, first: MediaEvent) {
        let now = Instant::now();
        self.core.handle_media(now, first);
        for _ in 0..limits::MEDIA_EVENTS_PER_TURN {
            let Ok(event) = self.media_events.try_recv() else {
                return;
            };
            self.core.handle_media(now, event);
        }
    }

    fn take_said(&mut self, first: Said) {
        let now = Instant::now();
        self.hear(now, first);
        for _ in 1..limits::SIP_CONN_MESSAGES_PER_TURN {
            let Ok(said) = self.heard.try_recv() else {
                return;
            };
            self.hear(now, said);
        }
    }

    fn hear(&mut self, now: Instant, said: Said) {
        match said {
            Said::Message(path, raw) => {
                self.counters.received += 1;
                if self.platform.admits(now, &path, &raw) {
                    self.platform.handle_message(now, path, raw);
                }
            }
            Said::Ping(path) => {
                self.send_stream(path, Bytes::from_static(b"\r\n"));
                self.platform.handle_ping(now, path);
            }
            Said::Closed(conn) => {
                self.conns.remove(conn);
                self.platform.handle_closed(now, conn);
            }
        }
    }

    /// Drives both cores until neither has anything to say.
    fn drain(&mut self, now: Instant) {
        while let Some(outward) = wiring::poll(now, &mut self.platform, &mut self.core) {
            match outward {
                Outward::Transmit(transmit) => self.transmit(transmit),
                Outward::Reply(request, reply) => {
                    self.done |= self.shutdown == Some(request);
                    if let Some(answer) = self.waiting.remove(&request) {
                        // A caller that went away wants no answer.
                        let _ = answer.send(reply);
                    }
                }
                Outward::Media { shard, command } => {
                    if !self.media.command(shard, command) {
                        tracing::error!(shard, "a media thread does not take commands");
                    }
                }
                Outward::Event(event) => {
                    // Nobody may be listening.
                    let _ = self.events.send(event);
                }
                Outward::Persist(persist) => (self.persist)(persist),
            }
        }
        self.flush();
    }

    fn transmit(&mut self, Transmit { path, payload }: Transmit) {
        self.counters.sent += 1;
        match path.transport {
            Transport::Udp => {
                if self.outbox.push(path.peer, payload) {
                    self.flush();
                }
            }
            Transport::Tcp(_) | Transport::Tls(_) => self.send_stream(path, payload),
        }
    }

    /// Gives the kernel what waits to be sent.
    fn flush(&mut self) {
        let (lost, why) = self.outbox.flush(&self.udp);
        self.counters.send_failed += lost as u64;
        if let Some(error) = why {
            tracing::debug!(lost, %error, "SIP datagrams could not be sent");
        }
    }

    fn send_stream(&mut self, path: Path, payload: Bytes) {
        if let Some(id) = path.transport.connection()
            && !self.conns.send(id, payload)
        {
            self.counters.send_failed += 1;
        }
    }

    fn accept(&mut self, socket: TcpStream, peer: SocketAddr) {
        let local = self
            .routes
            .reached_at(socket.local_addr().unwrap_or(self.local));
        self.conns.accept(Instant::now(), socket, peer, local);
    }

    fn accept_tls(&mut self, shaken: Shaken) {
        let local = self.routes.reached_at(shaken.local);
        if let Some((runtime, _)) = &self.tls {
            self.conns
                .accept_tls(Instant::now(), shaken, local, runtime);
        }
    }
}

async fn next_shaken(
    tls: &mut Option<(tokio::runtime::Handle, mpsc::Receiver<Shaken>)>,
) -> Option<Shaken> {
    match tls {
        Some((_, shaken)) => shaken.recv().await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn datagrams_gather_only_when_there_are_many() {
        let start = Instant::now();
        let ms = Duration::from_millis;
        let mut pace = Pace::new(start);
        let run = |pace: &mut Pace, from: Instant, per_ms: usize| {
            for i in 1..=101 {
                pace.took(from + ms(i), per_ms);
            }
            from + ms(101)
        };
        let now = run(&mut pace, start, 2);
        let full = Duration::from_micros(limits::SIP_GATHER_US);
        assert_eq!(pace.rest(now, None), full);
        assert_eq!(pace.rest(now, Some(now)), Duration::ZERO);
        assert_eq!(pace.rest(now + full, None), Duration::ZERO);
        let now = run(&mut pace, now, 0);
        assert_eq!(pace.rest(now, None), Duration::ZERO);
    }
}
