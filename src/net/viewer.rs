//! A viewer of a muxed rendition: a socket that the media thread writes itself, or a channel to whoever writes it.
//!
//! Writing never waits. What a socket does not take now it is offered again when it says that it can, or with the next
//! flush. A viewer that falls out of the ring goes on at a key unit; one that does so again and again, or takes nothing at
//! all for long, is closed.

use std::io::{self, IoSlice, Read, Write};
use std::net::Shutdown;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use mio::net::TcpStream;
use tokio::sync::mpsc;

use super::cutoff::Cutoff;
use super::websocket;
use crate::egress::Unit;
use crate::egress::fan::{Cursor, Framing, UnitRing};
use crate::id::SessionId;
use crate::limits;
use crate::session::port::ViewerStats;

/// Slices handed to one `writev` of a viewer that stands alone. The kernel's bound is 1,024.
const PIECES_MAX: usize = 192;

/// Where the bytes of a viewer go.
#[derive(Debug)]
pub(super) enum Io {
    Socket(TcpStream),
    /// Whole units; the other end frames and writes them, to a connection that can be cut off.
    Channel(mpsc::Sender<Bytes>, Option<Cutoff>),
}

/// Why a viewer is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Closed {
    /// Its end of the connection is gone.
    ByPeer,
    /// It fell behind too often or took nothing for too long.
    TooSlow,
}

#[derive(Debug)]
pub(super) struct Viewer {
    pub session: SessionId,
    /// Key of its rendition in the shard.
    pub fan: usize,
    io: Io,
    framing: Framing,
    /// Response head and initialisation, until they are written.
    preface: Bytes,
    cursor: Cursor,
    /// A control message for the peer, waiting for the end of the unit that is being written.
    control: Bytes,
    incoming: Option<Box<websocket::Incoming>>,
    pub sent_bytes: u64,
    first_byte: Option<Instant>,
    /// Last time that the peer took a byte or had none to take.
    last_progress: Instant,
    /// Skips counted when the current window began.
    skipped_at_window: u32,
    window_began: Instant,
}

/// What one walk over the viewers of a rendition makes once for all of them: the bytes of a place in the ring in one piece
/// for the sockets that stand there, as one plain write costs the kernel less than a vector of small pieces, and the whole
/// units that channels are given.
#[derive(Default)]
pub(super) struct Shared {
    place: Option<(u64, Framing)>,
    bytes: Vec<u8>,
    /// The first unit in `units`.
    units_from: u64,
    units: Vec<Bytes>,
}

impl Shared {
    /// Forgets what was made, for a ring that has changed or another one. The buffer stays, unless a key frame made it
    /// large.
    pub fn clear(&mut self) {
        self.place = None;
        self.bytes.clear();
        self.bytes.shrink_to(limits::FAN_JOIN_BYTES_KEPT);
        self.units.clear();
    }

    /// The bytes from `place` on.
    fn joined(&mut self, ring: &UnitRing, place: u64, framing: Framing) -> &[u8] {
        if self.place != Some((place, framing)) {
            self.bytes.clear();
            ring.join_from(place, framing, limits::FAN_JOIN_BYTES_MAX, &mut self.bytes);
            self.place = Some((place, framing));
        }
        &self.bytes
    }

    /// The plain bytes of a unit in one piece. Viewers that follow ask for the same few units, in order.
    fn unit(&mut self, seq: u64, unit: &Unit) -> Bytes {
        let made = seq
            .checked_sub(self.units_from)
            .and_then(|at| self.units.get(usize::try_from(at).ok()?));
        if let Some(made) = made {
            return made.clone();
        }
        let mut whole = BytesMut::with_capacity(unit.len_http());
        whole.extend_from_slice(&unit.head[usize::from(unit.ws_header_len)..]);
        whole.extend_from_slice(&unit.body);
        whole.extend_from_slice(&unit.tail);
        let whole = whole.freeze();
        if self.units_from + self.units.len() as u64 != seq {
            self.units.clear();
            self.units_from = seq;
        }
        self.units.push(whole.clone());
        whole
    }
}

impl Viewer {
    /// `preface`: bytes before the first unit, HTTP head included.
    pub fn new(
        session: SessionId,
        fan: usize,
        io: Io,
        framing: Framing,
        preface: Bytes,
        now: Instant,
    ) -> Self {
        let incoming = match (framing, &io) {
            (Framing::WebSocket, Io::Socket(_)) => Some(Box::default()),
            (Framing::WebSocket, Io::Channel(..)) | (Framing::Http, _) => None,
        };
        Viewer {
            session,
            fan,
            io,
            framing,
            preface,
            cursor: Cursor::default(),
            control: Bytes::new(),
            incoming,
            sent_bytes: 0,
            first_byte: None,
            last_progress: now,
            skipped_at_window: 0,
            window_began: now,
        }
    }

    pub fn socket_mut(&mut self) -> Option<&mut TcpStream> {
        match &mut self.io {
            Io::Socket(socket) => Some(socket),
            Io::Channel(..) => None,
        }
    }

    pub fn skipped(&self) -> u32 {
        self.cursor.skipped()
    }

    pub fn stats(&self) -> ViewerStats {
        ViewerStats {
            sent_bytes: self.sent_bytes,
            skipped: self.skipped(),
            first_byte: self.first_byte,
            ..ViewerStats::default()
        }
    }

    /// Writes what there is and the peer takes. `shared` holds for one walk over the viewers of `ring`.
    pub fn write(
        &mut self,
        ring: &UnitRing,
        shared: &mut Shared,
        now: Instant,
    ) -> Result<(), Closed> {
        let skipped = self.cursor.skipped();
        let done = match self.io {
            Io::Socket(_) => self.write_socket(ring, shared, now),
            Io::Channel(..) => self.write_channel(ring, shared, now),
        };
        if self.first_byte.is_none() && self.sent_bytes > 0 {
            self.first_byte = Some(now);
        }
        if self.cursor.skipped() != skipped {
            self.strike(now)?;
        }
        done
    }

    /// Closes a viewer that takes nothing. Called once a second.
    pub fn check(&mut self, ring: &UnitRing, now: Instant) -> Result<(), Closed> {
        let waits = !self.preface.is_empty() || !self.cursor.is_at_end(ring);
        if !waits {
            // A source that rested is nothing that its viewers did not take.
            self.last_progress = now;
        }
        let stuck = now.saturating_duration_since(self.last_progress)
            > Duration::from_secs(limits::VIEWER_STUCK_S_MAX);
        if let Io::Channel(channel, _) = &self.io
            && channel.is_closed()
        {
            return Err(Closed::ByPeer);
        }
        if waits && stuck {
            Err(Closed::TooSlow)
        } else {
            Ok(())
        }
    }

    /// Reads what the peer says: nothing that matters over HTTP, control messages over WebSocket.
    pub fn read(&mut self) -> Result<(), Closed> {
        let Io::Socket(socket) = &mut self.io else {
            return Ok(());
        };
        let mut buffer = [0u8; 1024];
        for _ in 0..limits::VIEWER_READS_PER_WAKE {
            match socket.read(&mut buffer) {
                Ok(0) => return Err(Closed::ByPeer),
                Ok(n) => {
                    let Some(incoming) = &mut self.incoming else {
                        continue;
                    };
                    match incoming.push(&buffer[..n]) {
                        websocket::Said::Nothing => {}
                        websocket::Said::Ping(pong) => self.control = pong,
                        websocket::Said::Close => return Err(Closed::ByPeer),
                    }
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Err(Closed::ByPeer),
            }
        }
        Ok(())
    }

    /// Lets whoever writes its bytes not wait for it any longer.
    pub fn cut_off(&self) {
        if let Io::Channel(_, Some(cutoff)) = &self.io {
            cutoff.cut();
        }
    }

    /// Says goodbye where the protocol has a way to.
    pub fn close(&mut self) {
        if let Io::Socket(socket) = &mut self.io {
            if self.framing == Framing::WebSocket
                && !self.cursor.is_inside_unit()
                && self.preface.is_empty()
            {
                // Best effort: the connection ends either way.
                let _ = socket.write(&websocket::CLOSE_GOING_AWAY);
            }
            let _ = socket.shutdown(Shutdown::Both);
        }
    }

    fn strike(&mut self, now: Instant) -> Result<(), Closed> {
        if now.saturating_duration_since(self.window_began)
            > Duration::from_secs(limits::VIEWER_STRIKE_WINDOW_S)
        {
            self.window_began = now;
            self.skipped_at_window = self.cursor.skipped() - 1;
        }
        if self.cursor.skipped() - self.skipped_at_window > limits::VIEWER_STRIKES_MAX {
            Err(Closed::TooSlow)
        } else {
            Ok(())
        }
    }

    fn write_socket(
        &mut self,
        ring: &UnitRing,
        shared: &mut Shared,
        now: Instant,
    ) -> Result<(), Closed> {
        loop {
            let something = self.cursor.settle(ring);
            if !something && self.preface.is_empty() && self.control.is_empty() {
                self.last_progress = now;
                return Ok(());
            }
            let plain_place = if self.preface.is_empty() && self.control.is_empty() {
                self.cursor.place()
            } else {
                None
            };
            let Io::Socket(socket) = &mut self.io else {
                return Ok(());
            };
            let (offered, result) = if let Some(place) = plain_place {
                let bytes = shared.joined(ring, place, self.framing);
                (bytes.len(), socket.write(bytes))
            } else {
                let mut slices = Vec::with_capacity(PIECES_MAX);
                let control_now = !self.control.is_empty()
                    && self.preface.is_empty()
                    && !self.cursor.is_inside_unit();
                if control_now {
                    slices.push(IoSlice::new(&self.control));
                } else {
                    if !self.preface.is_empty() {
                        slices.push(IoSlice::new(&self.preface));
                    }
                    if something {
                        self.cursor
                            .slices(ring, self.framing, PIECES_MAX, &mut slices);
                    }
                }
                (total(&slices), socket.write_vectored(&slices))
            };
            match result {
                Ok(n) => {
                    self.sent_bytes += n as u64;
                    self.last_progress = now;
                    self.wrote(n, ring);
                    if n < offered {
                        return Ok(());
                    }
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Err(Closed::ByPeer),
            }
        }
    }

    /// Accounts for `n` bytes, in the order in which they were offered.
    fn wrote(&mut self, n: usize, ring: &UnitRing) {
        if !self.control.is_empty() && self.preface.is_empty() && !self.cursor.is_inside_unit() {
            self.control = self.control.slice(n.min(self.control.len())..);
            return;
        }
        let of_preface = n.min(self.preface.len());
        if of_preface == self.preface.len() {
            self.preface = Bytes::new();
        } else {
            self.preface = self.preface.slice(of_preface..);
        }
        self.cursor.advance(ring, self.framing, n - of_preface);
    }

    fn write_channel(
        &mut self,
        ring: &UnitRing,
        shared: &mut Shared,
        now: Instant,
    ) -> Result<(), Closed> {
        let Io::Channel(channel, _) = &self.io else {
            return Ok(());
        };
        while let Ok(place) = channel.try_reserve() {
            let bytes = if !self.preface.is_empty() {
                std::mem::take(&mut self.preface)
            } else if self.cursor.settle(ring)
                && let Some(seq) = self.cursor.place()
                && let Some(unit) = ring.from(seq).next()
            {
                let whole = shared.unit(seq, unit);
                self.cursor
                    .advance(ring, self.framing, self.framing.len(unit));
                whole
            } else {
                break;
            };
            self.sent_bytes += bytes.len() as u64;
            self.last_progress = now;
            place.send(bytes);
        }
        if channel.is_closed() {
            Err(Closed::ByPeer)
        } else {
            Ok(())
        }
    }
}

fn total(slices: &[IoSlice<'_>]) -> usize {
    slices.iter().map(|s| s.len()).sum()
}
