//! A media connection: RTP over TCP (RFC 4571), accepted from a device or made to one.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::net::TcpStream;

use crate::id::StreamId;
use crate::limits;
use crate::media::rfc4571::{self, Framer};

pub(super) struct Conn {
    socket: TcpStream,
    peer: SocketAddr,
    framer: Framer,
    /// The rest of a packet for the peer: at most one.
    unsent: Vec<u8>,
    stream: Option<StreamId>,
    /// The stream whose own port it came to: what it brings is for that stream, or for none.
    port_of: Option<StreamId>,
    /// We called and are not through yet.
    connecting: bool,
    opened: Instant,
    last_byte: Instant,
}

impl Conn {
    /// `port_of`: the stream whose own port took it; `None` = the port that all streams of the thread share.
    pub fn accepted(
        socket: TcpStream,
        peer: SocketAddr,
        port_of: Option<StreamId>,
        now: Instant,
    ) -> Self {
        Conn {
            socket,
            // A socket for both families writes IPv4 as IPv6.
            peer: SocketAddr::new(peer.ip().to_canonical(), peer.port()),
            framer: Framer::new(),
            unsent: Vec::new(),
            stream: None,
            port_of,
            connecting: false,
            opened: now,
            last_byte: now,
        }
    }

    /// Starts to connect; whether it came about is told by [`Conn::connected`].
    pub fn connect(peer: SocketAddr, stream: StreamId, now: Instant) -> io::Result<Self> {
        let socket = TcpStream::connect(peer)?;
        let framer = Framer::new();
        Ok(Conn {
            socket,
            peer,
            framer,
            unsent: Vec::new(),
            stream: Some(stream),
            port_of: None,
            connecting: true,
            opened: now,
            last_byte: now,
        })
    }

    pub fn socket_mut(&mut self) -> &mut TcpStream {
        &mut self.socket
    }

    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// The stream it carries, once that is known.
    pub fn stream(&self) -> Option<StreamId> {
        self.stream
    }

    pub fn port_of(&self) -> Option<StreamId> {
        self.port_of
    }

    /// Times that its framing was lost and found again.
    pub fn resyncs(&self) -> u64 {
        self.framer.resyncs()
    }

    /// Sends a packet to the peer behind its length. What the socket does not take at once goes before the next packet; one
    /// that would have to wait for that is left out, like a datagram that is lost.
    pub fn send(&mut self, packet: &[u8]) {
        if self.flush() {
            rfc4571::write_frame(packet, &mut self.unsent);
            self.flush();
        }
    }

    /// Whether nothing waits any more. A connection that is broken shows that when it is read.
    fn flush(&mut self) -> bool {
        while !self.unsent.is_empty() {
            match self.socket.write(&self.unsent) {
                Ok(n) if n > 0 => drop(self.unsent.drain(..n)),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Ok(_) | Err(_) => return false,
            }
        }
        true
    }

    pub fn bind(&mut self, stream: StreamId) {
        self.stream = Some(stream);
    }

    /// The stream that waits for this connection to be made.
    pub fn connecting(&self) -> Option<StreamId> {
        if self.connecting { self.stream } else { None }
    }

    /// Called when the socket is writable: the outcome of our call, once.
    pub fn connected(&mut self) -> Option<(StreamId, bool)> {
        let stream = self.connecting()?;
        match self.socket.take_error() {
            Ok(Some(_)) | Err(_) => Some((stream, false)),
            Ok(None) => match self.socket.peer_addr() {
                Ok(_) => {
                    self.connecting = false;
                    Some((stream, true))
                }
                Err(e) if e.kind() == io::ErrorKind::NotConnected => None,
                Err(_) => Some((stream, false)),
            },
        }
    }

    /// Silent for too long, or open without a packet of any stream for too long.
    pub fn is_idle(&self, now: Instant) -> bool {
        let since = |at: Instant| now.saturating_duration_since(at);
        let silent = since(self.last_byte) > Duration::from_secs(limits::MEDIA_CONN_IDLE_S_MAX);
        let unclaimed = self.stream.is_none()
            && since(self.opened) > Duration::from_secs(limits::MEDIA_CONN_CLAIM_S_MAX);
        silent || unclaimed
    }

    /// Reads what is there, through `buffer`, and gives each packet to `put`. `false` = the connection is over. Readiness is
    /// edge-triggered, so it reads until nothing is left: what the socket's own buffer holds, as packets are taken faster
    /// than a peer can send them.
    pub fn read(&mut self, now: Instant, buffer: &mut [u8], mut put: impl FnMut(&[u8])) -> bool {
        loop {
            match self.socket.read(buffer) {
                Ok(0) => return false,
                Ok(n) => {
                    self.last_byte = now;
                    if self.framer.push(&buffer[..n], &mut put).is_err() {
                        return false;
                    }
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return true,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return false,
            }
        }
    }
}
