//! Sockets and media threads.
//!
//! [`start`] binds what a node listens on and runs one thread a shard; [`MediaHandle`] talks to them; [`front`] is the HTTP
//! door.

pub mod budget;
pub mod buffer;
mod conn;
pub mod counters;
pub mod cutoff;
pub mod front;
mod interfaces;
pub mod outbox;
mod peer;
mod shard;
mod sound;
mod stream;
pub mod udp;
mod viewer;
mod websocket;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::mpsc as std_mpsc;
use std::time::Duration;

use bytes::Bytes;
use mio::{Poll, Waker};
use tokio::sync::{mpsc, oneshot};

use crate::egress::fan::Framing;
use crate::egress::webrtc::Identity;
use crate::egress::webrtc::fragment::Restart;
use crate::egress::{AudioPolicy, Form};
use crate::id::{SessionId, StreamId};
use crate::limits;
use crate::session::ViewKind;
use crate::session::port::{MediaCommand, MediaEvent};
use crate::time::WallClock;
use budget::Budget;
use buffer::Buffered;
use counters::ShardCounters;
use cutoff::Cutoff;
use shard::{NewIo, NewViewer, Order, Shard, ShardLink, ShardMessage, ShardSetup};

/// What the media threads are made with.
pub struct Setup {
    pub shards: u8,
    /// Address to receive media on.
    pub ip: IpAddr,
    /// Port of shard 0, UDP and TCP; shard `n` has this plus `n`. 0 = any.
    pub rtp_port: u16,
    pub receive_buffer_bytes: usize,
    /// Payload bytes a stream's ring may hold.
    pub ring_bytes: usize,
    pub budget: Arc<Budget>,
    /// One UDP port for all WebRTC viewers. Port 0 = any.
    pub webrtc: SocketAddr,
    /// The same port for TCP too.
    pub webrtc_tcp: bool,
    /// Addresses to put into answers, with their port if it is another than the socket's. Empty: by how the browser came.
    pub webrtc_announced: Vec<IpAddr>,
    pub identity: Arc<Identity>,
    pub wall: WallClock,
    pub flv_hold: Duration,
    pub fmp4_hold: Duration,
    pub rtp_hold: Duration,
}

/// The running media threads.
pub struct Media {
    pub handle: MediaHandle,
    /// Port of each shard, in order.
    pub rtp_ports: Vec<u16>,
    /// Of each of those ports, as the kernel says: the smallest.
    pub receive_buffer_bytes: usize,
    /// Of each kind of socket what was asked for and what the kernel gave, at least.
    buffers: Vec<(Buffered, usize, usize)>,
    pub webrtc_port: u16,
    pub counters: Vec<Arc<ShardCounters>>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

/// Talks to the media threads. Cheap to clone. The default one has no threads: it knows no stream.
#[derive(Clone, Debug, Default)]
pub struct MediaHandle {
    links: Vec<ShardLink>,
}

/// Why a viewer could not be brought to a stream.
#[derive(Debug)]
pub enum ViewerError {
    /// The stream ended meanwhile.
    StreamGone,
    /// The SDP offer cannot be answered.
    Offer(String),
    Busy {
        limit: &'static str,
    },
}

impl std::fmt::Display for ViewerError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ViewerError::StreamGone => f.write_str("the stream ended before the viewer came"),
            ViewerError::Offer(what) => write!(f, "the SDP offer cannot be answered: {what}"),
            ViewerError::Busy { limit } => write!(f, "busy: at the limit {limit}"),
        }
    }
}

impl std::error::Error for ViewerError {}

/// Binds the media sockets and starts a thread a shard. Events go to `events`.
pub fn start(setup: Setup, events: mpsc::Sender<MediaEvent>) -> io::Result<Media> {
    let mut prepared = Vec::new();
    let mut links = Vec::new();
    let (mut receive_buffer_bytes, mut webrtc_buffer_bytes) = (usize::MAX, usize::MAX);
    let (mut webrtc, mut webrtc_tcp) = (setup.webrtc, None);
    if setup.webrtc_tcp {
        let listener = bind_webrtc_tcp(webrtc)?;
        webrtc.set_port(listener.local_addr()?.port());
        webrtc_tcp = Some(listener);
    }
    for index in 0..setup.shards {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), Shard::WAKER)?);
        let (orders, taken) = std_mpsc::sync_channel(limits::SHARD_ORDERS_MAX);
        links.push(ShardLink { orders, waker });
        let port = if setup.rtp_port == 0 {
            0
        } else {
            setup.rtp_port + u16::from(index)
        };
        let (rtp, rtp_tcp, got) =
            bind_rtp(SocketAddr::new(setup.ip, port), setup.receive_buffer_bytes)?;
        receive_buffer_bytes = receive_buffer_bytes.min(got);
        let options = udp::Options {
            reuse_port: true,
            receive_buffer_bytes: limits::WEBRTC_RECEIVE_BUFFER_BYTES,
            send_buffer_bytes: limits::WEBRTC_SEND_BUFFER_BYTES,
        };
        let (socket, got) =
            udp::bind(webrtc, options).map_err(|e| said(e, "WebRTC UDP", webrtc))?;
        webrtc_buffer_bytes = webrtc_buffer_bytes.min(got);
        webrtc.set_port(socket.local_addr()?.port());
        prepared.push((poll, taken, rtp, rtp_tcp, socket));
    }
    let mut media = Media {
        handle: MediaHandle {
            links: links.clone(),
        },
        rtp_ports: Vec::new(),
        receive_buffer_bytes,
        buffers: vec![
            (
                Buffered::Rtp,
                setup.receive_buffer_bytes,
                receive_buffer_bytes,
            ),
            (
                Buffered::Webrtc,
                limits::WEBRTC_RECEIVE_BUFFER_BYTES,
                webrtc_buffer_bytes,
            ),
        ],
        webrtc_port: webrtc.port(),
        counters: Vec::new(),
        threads: Vec::new(),
    };
    for (index, (poll, orders, rtp, rtp_tcp, socket)) in prepared.into_iter().enumerate() {
        let counters = Arc::new(ShardCounters::default());
        media.rtp_ports.push(rtp.local_addr()?.port());
        media.counters.push(counters.clone());
        let shard = Shard::new(ShardSetup {
            index: index as u8,
            ip: setup.ip,
            rtp,
            rtp_tcp,
            webrtc: socket,
            webrtc_tcp: webrtc_tcp.take(),
            orders,
            links: links.clone(),
            poll,
            events: events.clone(),
            holds: stream::Holds {
                flv: setup.flv_hold,
                fmp4: setup.fmp4_hold,
                rtp: setup.rtp_hold,
            },
            ring_bytes: setup.ring_bytes,
            budget: setup.budget.clone(),
            peers: peer::Setup {
                identity: setup.identity.clone(),
                announced: setup.webrtc_announced.clone(),
                wall: setup.wall,
                tcp: setup.webrtc_tcp,
            },
            counters,
        })?;
        media.threads.push(
            std::thread::Builder::new()
                .name(format!("media-{index}"))
                .spawn(move || shard.run())?,
        );
    }
    Ok(media)
}

/// Binds the TCP side of the WebRTC port. Where any port will do, it is one that is free in UDP at this moment too.
fn bind_webrtc_tcp(addr: SocketAddr) -> io::Result<std::net::TcpListener> {
    let mut tries = 0;
    loop {
        tries += 1;
        let listener =
            std::net::TcpListener::bind(addr).map_err(|e| said(e, "WebRTC TCP", addr))?;
        if addr.port() != 0 || tries == limits::BIND_TRIES {
            return Ok(listener);
        }
        if std::net::UdpSocket::bind(listener.local_addr()?).is_ok() {
            return Ok(listener);
        }
    }
}

/// Binds UDP and TCP on one port. With it comes the size of the receive buffer, as the kernel says.
fn bind_rtp(
    addr: SocketAddr,
    receive_buffer_bytes: usize,
) -> io::Result<(std::net::UdpSocket, std::net::TcpListener, usize)> {
    let options = udp::Options {
        reuse_port: false,
        receive_buffer_bytes,
        send_buffer_bytes: 1 << 16,
    };
    let mut last = None;
    // With port 0 the free UDP port may be taken in TCP.
    for _ in 0..limits::BIND_TRIES {
        let (rtp, got) = udp::bind(addr, options).map_err(|e| said(e, "RTP UDP", addr))?;
        let both = rtp.local_addr()?;
        match std::net::TcpListener::bind(both) {
            Ok(listener) => return Ok((rtp, listener, got)),
            Err(e) if addr.port() != 0 => return Err(said(e, "RTP TCP", addr)),
            Err(e) => last = Some(said(e, "RTP TCP", both)),
        }
    }
    Err(last.unwrap_or_else(|| io::ErrorKind::AddrInUse.into()))
}

fn said(e: io::Error, what: &str, addr: SocketAddr) -> io::Error {
    io::Error::new(e.kind(), format!("cannot open {what} port {addr}: {e}"))
}

impl Media {
    /// Says how large the receive buffers are. Not part of the start, whose failure is one line.
    pub fn note_buffers(&self) {
        for (kind, asked, got) in &self.buffers {
            buffer::note(*kind, *asked, *got);
        }
    }

    /// Closes every viewer and ends the threads.
    pub fn stop(self) {
        for link in &self.handle.links {
            // A thread whose queue is full is overwhelmed, but it will take this sooner or later.
            let _ = link.orders.send(Order::Stop);
            let _ = link.waker.wake();
        }
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("a media thread had panicked");
            }
        }
    }
}

impl MediaHandle {
    /// Passes a command of the session core on. `false` = the shard does not take it.
    pub fn command(&self, shard: u8, command: MediaCommand) -> bool {
        self.links
            .get(usize::from(shard))
            .is_some_and(|link| link.send(Order::Media(command)))
    }

    /// Answers a WebRTC offer for a session that was opened. `host` = `host:port` by which the browser reached us.
    pub async fn add_webrtc(
        &self,
        stream: StreamId,
        session: SessionId,
        offer: String,
        host: Option<String>,
    ) -> Result<String, ViewerError> {
        let (answer, wait) = oneshot::channel();
        let new = peer::NewPeer {
            stream,
            session,
            offer,
            host,
            answer,
        };
        if self.links.get(usize::from(stream.shard)).is_none() {
            return Err(ViewerError::StreamGone);
        }
        if !self.send(stream, Order::AddPeer(Box::new(new))) {
            return Err(ViewerError::Busy {
                limit: "SHARD_ORDERS_MAX",
            });
        }
        wait.await.map_err(|_| ViewerError::StreamGone)?
    }

    /// Restarts ICE of a WebRTC viewer and gives the SDP fragment that answers. `None`: the session has no viewer, or its
    /// thread is overwhelmed.
    pub async fn restart_ice(
        &self,
        session: SessionId,
        restart: Restart,
        host: Option<String>,
    ) -> Option<String> {
        let (answer, mut answered) = mpsc::channel(1);
        let asked = peer::RestartIce {
            session,
            restart,
            host,
            answer,
        };
        // A viewer may be on another thread than its stream.
        for link in &self.links {
            let asked = Box::new(asked.clone());
            link.send(Order::Shard(ShardMessage::RestartIce(asked)));
        }
        drop(asked);
        answered.recv().await
    }

    /// A viewer whose bytes are written by the caller (TLS, kept-alive HTTP connections): the initialisation first, then
    /// unit by unit, without WebSocket framing. Dropping the receiver ends it. `cutoff`: of the connection, if it is one; a
    /// viewer that takes nothing, or falls behind again and again, is ended by it.
    pub async fn add_channel(
        &self,
        stream: StreamId,
        session: SessionId,
        kind: ViewKind,
        audio: AudioPolicy,
        cutoff: Option<Cutoff>,
    ) -> Result<mpsc::Receiver<Bytes>, ViewerError> {
        let (form, framing) = match kind {
            ViewKind::HttpFlv => (Form::Flv, Framing::Http),
            ViewKind::WsFlv => (Form::Flv, Framing::WebSocket),
            ViewKind::HttpFmp4 | ViewKind::File => (Form::Fmp4, Framing::Http),
            ViewKind::WsFmp4 => (Form::Fmp4, Framing::WebSocket),
            ViewKind::WebRtc | ViewKind::Control => {
                return Err(ViewerError::Offer("this view is not a byte stream".into()));
            }
        };
        let (sender, receiver) = mpsc::channel(limits::CHANNEL_UNITS_MAX);
        let io = NewIo::Channel(sender, cutoff);
        let new = NewViewer {
            stream,
            session,
            form,
            framing,
            audio,
            preface: Bytes::new(),
            io,
        };
        if self.send(stream, Order::AddViewer(Box::new(new))) {
            Ok(receiver)
        } else {
            Err(ViewerError::Busy {
                limit: "SHARD_ORDERS_MAX",
            })
        }
    }

    /// Hands a viewer's socket over. If the thread does not take it the socket is closed, and the unclaimed session with it.
    #[expect(
        clippy::too_many_arguments,
        reason = "they are the facts of one viewer, named at the call"
    )]
    fn add_socket(
        &self,
        stream: StreamId,
        session: SessionId,
        form: Form,
        framing: Framing,
        audio: AudioPolicy,
        preface: Bytes,
        socket: std::net::TcpStream,
    ) {
        let io = NewIo::Socket(socket);
        let new = NewViewer {
            stream,
            session,
            form,
            framing,
            audio,
            preface,
            io,
        };
        if !self.send(stream, Order::AddViewer(Box::new(new))) {
            tracing::warn!(%session, "a media thread is too busy to take a viewer");
        }
    }

    /// `false` = not taken: the thread's queue is full.
    fn send(&self, stream: StreamId, order: Order) -> bool {
        self.links
            .get(usize::from(stream.shard))
            .is_some_and(|link| link.send(order))
    }
}

/// Raises this process's limit of open files towards what it may need, as far as the system lets it.
pub fn allow_files(wanted: usize) {
    let wanted = wanted as libc::rlim_t;
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: both calls take a pointer to a live rlimit of the type that they expect.
    unsafe {
        if libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) == 0 && limit.rlim_cur < wanted {
            limit.rlim_cur = wanted.min(limit.rlim_max);
            // Where it is refused, opening a socket will say so.
            let _ = libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit);
        }
    }
}

/// Asks the kernel for no huge pages. The allocator asks for them, and then every viewer or stream that touches a few
/// kilobytes of a fresh arena makes two megabytes resident.
pub fn refuse_huge_pages() {
    // SAFETY: this call takes numbers only. A kernel without the switch goes on as before.
    let _ = unsafe { libc::prctl(libc::PR_SET_THP_DISABLE, 1, 0, 0, 0) };
}
