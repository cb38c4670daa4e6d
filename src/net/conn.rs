//! A media connection: RTP over TCP (RFC 4571), accepted from a device or made to one.

use std::io::{self, Read};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::net::TcpStream;

use crate::id::StreamId;
use crate::limits;
use crate::media::rfc4571::Framer;

pub(super) struct Conn {
    socket: TcpStream,
    peer: SocketAddr,
    framer: Framer,
    stream: Option<StreamId>,
    /// We called and are not through yet.
    connecting: bool,
    last_byte: Instant,
}

impl Conn {
    pub fn accepted(socket: TcpStream, peer: SocketAddr, now: Instant) -> Self {
        Conn {
            socket,
            peer,
            framer: Framer::new(),
            stream: None,
            connecting: false,
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
            stream: Some(stream),
            connecting: true,
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

    /// Silent for too long.
    pub fn is_idle(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.last_byte)
            > Duration::from_secs(limits::MEDIA_CONN_IDLE_S_MAX)
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
