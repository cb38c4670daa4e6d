//! The ways out of a media thread to its WebRTC viewers: the shared UDP port, and connections of those that UDP does not
//! reach (ICE-TCP, RFC 6544, passive).
//!
//! RFC 4571 framing: two bytes of length before what would be a datagram. One thread accepts; the first frame of a
//! connection must be a STUN check, whose user fragment says on which thread its viewer lives, and the socket goes there
//! ([`Arrival`]). From then on the connection is one more address of that viewer.
//!
//! Nothing waits here: what a socket does not take at once is kept, one pace of packets at most, and until it is gone its
//! viewer is sent nothing more. Then it goes on at the newest key frame if one has come meanwhile.
//! Not done: connections that we make (we are passive), simultaneous open, TLS.
//!
//! Bounds: [`limits::ICE_TCP_CONNS_MAX`] and [`limits::ICE_TCP_CONNS_PER_SOURCE_MAX`],
//! [`limits::ICE_TCP_FRAME_BYTES_MAX`] of a half-read frame, [`limits::ICE_TCP_OUT_BYTES_MAX`] unsent,
//! [`limits::ICE_TCP_CHECK_S_MAX`] until a check.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::net::{TcpListener, TcpStream};
use mio::{Interest, Registry, Token};
use slab::Slab;

use super::super::counters::ShardCounters;
use super::super::udp::Sender;
use crate::egress::webrtc::Address;
use crate::limits;

/// A connection that belongs to another thread, with what was read of it.
pub(in super::super) struct Arrival {
    pub socket: std::net::TcpStream,
    pub from: SocketAddr,
    pub read: Vec<u8>,
}

/// All ways out, and the buffer in which packets are sealed.
pub(super) struct Outlet {
    pub sender: Sender,
    pub run: Vec<u8>,
    pub paths: Paths,
}

impl Outlet {
    /// Sends a message of a core. One that does not leave is lost like on the way: checks and handshakes are repeated.
    pub fn send(&mut self, to: Address, datagram: &[u8]) {
        match to {
            Address::Udp(to) => {
                let _ = self.sender.send(to, datagram);
            }
            Address::Tcp(to) => self.paths.send(to, datagram),
        }
    }
}

/// The connections of one thread.
pub(in super::super) struct Paths {
    registry: Registry,
    /// Added to a key to make a token.
    tokens: usize,
    listener: Option<TcpListener>,
    conns: Slab<Conn>,
    by_address: HashMap<SocketAddr, usize>,
    /// When an unbound connection must be looked at.
    check_at: Option<Instant>,
}

struct Conn {
    socket: TcpStream,
    from: SocketAddr,
    /// The start of a frame.
    held: Vec<u8>,
    /// What the socket has not taken yet.
    unsent: Vec<u8>,
    since: Instant,
    /// A check of a viewer came by it.
    bound: bool,
}

/// What a connection that could be written again means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flushed {
    /// All is written: more can be sent there.
    Clear(SocketAddr),
    Waiting,
}

impl Paths {
    /// Keys of connections plus `tokens` are the tokens under which they are watched; the listener has `listening`.
    pub fn new(
        registry: Registry,
        tokens: usize,
        listener: Option<(std::net::TcpListener, Token)>,
    ) -> io::Result<Self> {
        let listener = match listener {
            Some((listener, token)) => {
                listener.set_nonblocking(true)?;
                let mut listener = TcpListener::from_std(listener);
                registry.register(&mut listener, token, Interest::READABLE)?;
                Some(listener)
            }
            None => None,
        };
        Ok(Paths {
            registry,
            tokens,
            listener,
            conns: Slab::new(),
            by_address: HashMap::new(),
            check_at: None,
        })
    }

    pub fn next_deadline(&self) -> Option<Instant> {
        self.check_at
    }

    /// Takes the connections that wait.
    pub fn accept(&mut self, now: Instant, counters: &ShardCounters) {
        while let Some(Ok((socket, from))) = self.listener.as_ref().map(TcpListener::accept) {
            let same_source = self.conns.iter().filter(|(_, c)| c.from.ip() == from.ip());
            if self.conns.len() >= limits::ICE_TCP_CONNS_MAX
                || same_source.count() >= limits::ICE_TCP_CONNS_PER_SOURCE_MAX
            {
                counters.conns_refused.inc();
                continue;
            }
            self.watch(now, socket, from);
        }
    }

    /// Takes a connection over from the thread that accepted it. What was read of it is in the answer's frames.
    pub fn adopt(
        &mut self,
        now: Instant,
        arrival: Arrival,
        counters: &ShardCounters,
    ) -> Option<usize> {
        if self.conns.len() >= limits::ICE_TCP_CONNS_MAX {
            counters.conns_refused.inc();
            return None;
        }
        let key = self.watch(now, TcpStream::from_std(arrival.socket), arrival.from)?;
        self.conns[key].held = arrival.read;
        Some(key)
    }

    fn watch(&mut self, now: Instant, mut socket: TcpStream, from: SocketAddr) -> Option<usize> {
        let entry = self.conns.vacant_entry();
        let token = Token(self.tokens | entry.key());
        let interest = Interest::READABLE | Interest::WRITABLE;
        // Packets of sound are small and must not wait for each other; a small buffer keeps a slow path's delay small.
        let ready = socket
            .set_nodelay(true)
            .and_then(|()| {
                socket2::SockRef::from(&socket)
                    .set_send_buffer_size(limits::ICE_TCP_SEND_BUFFER_BYTES)
            })
            .and_then(|()| self.registry.register(&mut socket, token, interest));
        if let Err(e) = ready {
            tracing::warn!(%from, error = %e, "cannot watch a WebRTC connection");
            return None;
        }
        let key = entry.key();
        entry.insert(Conn {
            socket,
            from,
            held: Vec::new(),
            unsent: Vec::new(),
            since: now,
            bound: false,
        });
        self.by_address.insert(from, key);
        let check = now + Duration::from_secs(limits::ICE_TCP_CHECK_S_MAX);
        self.check_at = crate::time::earliest(self.check_at, Some(check));
        Some(key)
    }

    /// Reads once into `buffer`, behind what was held: whose it is, how many bytes are there, and whether more may come.
    pub(super) fn read(
        &mut self,
        key: usize,
        buffer: &mut [u8],
    ) -> Option<(SocketAddr, usize, Reading)> {
        let conn = self.conns.get_mut(key)?;
        let mut filled = conn.held.len();
        buffer[..filled].copy_from_slice(&conn.held);
        conn.held.clear();
        let room = &mut buffer[filled..];
        let reading = if room.is_empty() {
            Reading::More
        } else {
            match conn.socket.read(room) {
                Ok(0) => Reading::Over,
                Ok(n) => {
                    filled += n;
                    Reading::More
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => Reading::Waiting,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => Reading::More,
                Err(_) => Reading::Over,
            }
        };
        Some((conn.from, filled, reading))
    }

    /// Keeps what was read and is no whole frame.
    pub fn hold(&mut self, key: usize, rest: &[u8]) {
        if let Some(conn) = self.conns.get_mut(key) {
            conn.held.extend_from_slice(rest);
        }
    }

    /// A viewer's check came by it.
    pub fn bind(&mut self, key: usize) {
        if let Some(conn) = self.conns.get_mut(key) {
            conn.bound = true;
        }
    }

    pub fn is_bound(&self, key: usize) -> bool {
        self.conns.get(key).is_some_and(|c| c.bound)
    }

    /// Takes a connection out, to be given to another thread.
    pub fn give_away(&mut self, key: usize) -> Option<Arrival> {
        let mut conn = self.conns.try_remove(key)?;
        self.by_address.remove(&conn.from);
        // A socket that is not watched any more needs no more.
        let _ = self.registry.deregister(&mut conn.socket);
        Some(Arrival {
            socket: conn.socket.into(),
            from: conn.from,
            read: conn.held,
        })
    }

    /// Closes a connection and gives its address.
    pub fn close(&mut self, key: usize) -> Option<SocketAddr> {
        self.give_away(key).map(|gone| gone.from)
    }

    pub fn close_address(&mut self, from: SocketAddr) {
        if let Some(key) = self.by_address.get(&from).copied() {
            self.close(key);
        }
    }

    /// The socket can be written again.
    pub(super) fn flush(&mut self, key: usize) -> Flushed {
        let Some(conn) = self.conns.get_mut(key) else {
            return Flushed::Waiting;
        };
        if !conn.unsent.is_empty() && conn.flush() {
            Flushed::Clear(conn.from)
        } else {
            Flushed::Waiting
        }
    }

    /// Whether everything that was sent there has gone.
    pub fn is_clear(&self, to: SocketAddr) -> bool {
        self.conn(to).is_some_and(|c| c.unsent.is_empty())
    }

    /// Sends frames that are complete with their lengths. Only where [`Paths::is_clear`].
    pub fn write(&mut self, to: SocketAddr, frames: &[u8]) {
        let key = self.by_address.get(&to).copied();
        if let Some(conn) = key.and_then(|key| self.conns.get_mut(key)) {
            conn.write(frames);
        }
    }

    fn send(&mut self, to: SocketAddr, datagram: &[u8]) {
        let Ok(len) = u16::try_from(datagram.len()) else {
            return;
        };
        let mut frame = Vec::with_capacity(datagram.len() + 2);
        frame.extend_from_slice(&len.to_be_bytes());
        frame.extend_from_slice(datagram);
        self.write(to, &frame);
    }

    fn conn(&self, at: SocketAddr) -> Option<&Conn> {
        self.conns.get(*self.by_address.get(&at)?)
    }

    /// Closes connections that have shown no check in time.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.check_at.is_none_or(|at| at > now) {
            return;
        }
        let patience = Duration::from_secs(limits::ICE_TCP_CHECK_S_MAX);
        let unbound = |c: &&Conn| !c.bound;
        let late: Vec<usize> = self
            .conns
            .iter()
            .filter(|(_, c)| unbound(c) && now >= c.since + patience)
            .map(|(key, _)| key)
            .collect();
        for key in late {
            self.close(key);
        }
        let waiting = self.conns.iter().map(|(_, c)| c).filter(unbound);
        self.check_at = waiting.map(|c| c.since + patience).min();
    }
}

impl Conn {
    fn write(&mut self, frames: &[u8]) {
        if self.unsent.is_empty() {
            let written = match self.socket.write(frames) {
                Ok(n) => n,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => 0,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => 0,
                // Reading says so too, and ends the connection.
                Err(_) => return,
            };
            self.unsent.extend_from_slice(&frames[written..]);
        } else if self.unsent.len() + frames.len() <= limits::ICE_TCP_OUT_BYTES_MAX {
            self.unsent.extend_from_slice(frames);
        }
    }

    /// `true` = nothing is left.
    fn flush(&mut self) -> bool {
        let mut done = 0;
        while done < self.unsent.len() {
            match self.socket.write(&self.unsent[done..]) {
                Ok(n) => done += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        if done == self.unsent.len() {
            self.unsent = Vec::new();
            return true;
        }
        self.unsent.drain(..done);
        false
    }
}

/// How reading ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    More,
    Waiting,
    Over,
}

/// A frame longer than any that a viewer sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooLong;

/// The first whole frame, without its length. `None` = more bytes are needed.
pub(super) fn frame(bytes: &mut [u8]) -> Option<Result<&mut [u8], TooLong>> {
    let len = usize::from(u16::from_be_bytes(*bytes.first_chunk()?));
    if len > limits::ICE_TCP_FRAME_BYTES_MAX {
        return Some(Err(TooLong));
    }
    bytes.get_mut(2..2 + len).map(Ok)
}
