//! SIP over TCP and TLS: the connections of the control thread.
//!
//! A task a connection reads and frames (RFC 3261, 18.3); what it reads goes through one bounded queue in which
//! connections wait their turn, so a slow control thread slows the readers instead of filling memory, and one that
//! floods does not push others aside.
//!
//! Bounds: connections in all and of one source ([`SIP_CONNS_MAX`], [`SIP_CONNS_PER_SOURCE_MAX`]); bytes of messages that
//! have begun ([`SIP_HALF_READ_BYTES_MAX`], [`SIP_HALF_READ_BYTES_PER_SOURCE_MAX`]) and the seconds such a message may take
//! ([`SIP_CONN_MESSAGE_S_MAX`]); seconds until a connection must have shown a device ([`SIP_CONN_STRANGER_S_MAX`]).

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::tls::Shaken;
use crate::limits::{
    SIP_CONN_IDLE_S_MAX, SIP_CONN_MESSAGE_S_MAX, SIP_CONN_OUT_MAX, SIP_CONN_READ_BYTES,
    SIP_CONN_STRANGER_S_MAX, SIP_CONNS_MAX, SIP_CONNS_PER_SOURCE_MAX, SIP_HALF_READ_BYTES_MAX,
    SIP_HALF_READ_BYTES_PER_SOURCE_MAX,
};
use crate::sip::framing::{Frame, Framer};
use crate::sip::{ConnId, Path, Transport};

/// What a connection's task tells the control thread.
pub(super) enum Said {
    Message(Path, Bytes),
    Ping(Path),
    Closed(ConnId),
}

struct Connection {
    path: Path,
    since: Instant,
    out: mpsc::Sender<Bytes>,
}

/// The connections of one source.
#[derive(Default)]
struct Source {
    conns: usize,
    half_read: Arc<AtomicUsize>,
}

/// All connections.
pub(super) struct Connections {
    by_id: HashMap<ConnId, Connection>,
    sources: HashMap<IpAddr, Source>,
    half_read: Arc<AtomicUsize>,
    /// Closed by their own task at a bound.
    cut_off: Arc<AtomicU64>,
    next: u64,
    refused: u64,
    /// Closed here because no device showed.
    strangers: u64,
    said: mpsc::Sender<Said>,
}

impl Connections {
    pub fn new(said: mpsc::Sender<Said>) -> Connections {
        Connections {
            by_id: HashMap::new(),
            sources: HashMap::new(),
            half_read: Arc::default(),
            cut_off: Arc::default(),
            next: 0,
            refused: 0,
            strangers: 0,
            said,
        }
    }

    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Not even taken.
    pub fn refused(&self) -> u64 {
        self.refused
    }

    /// Closed because they held too much, took too long over a message, or showed no device.
    pub fn cut_off(&self) -> u64 {
        self.strangers + self.cut_off.load(Ordering::Relaxed)
    }

    /// Takes a connection, or closes it at a bound. `local`: our address as the peer can reach it.
    pub fn accept(&mut self, now: Instant, socket: TcpStream, peer: SocketAddr, local: SocketAddr) {
        if let Some(begun) = self.begin(now, peer, local, Transport::Tcp) {
            let (reader, writer) = socket.into_split();
            tokio::spawn(serve(reader, writer, begun));
        }
    }

    /// The same for one over TLS, which stays on the runtime that made its handshake.
    pub fn accept_tls(&mut self, now: Instant, shaken: Shaken, local: SocketAddr, on: &Handle) {
        if let Some(begun) = self.begin(now, shaken.peer, local, Transport::Tls) {
            let (reader, writer) = tokio::io::split(shaken.stream);
            on.spawn(serve(reader, writer, begun));
        }
    }

    fn begin(
        &mut self,
        now: Instant,
        peer: SocketAddr,
        local: SocketAddr,
        transport: fn(ConnId) -> Transport,
    ) -> Option<Begun> {
        let ip = peer.ip().to_canonical();
        let of_source = self.sources.get(&ip).map_or(0, |s| s.conns);
        if self.by_id.len() >= SIP_CONNS_MAX || of_source >= SIP_CONNS_PER_SOURCE_MAX {
            self.refused += 1;
            return None;
        }
        let id = ConnId(self.next);
        self.next += 1;
        let path = Path {
            peer,
            local,
            transport: transport(id),
        };
        let (out, queue) = mpsc::channel(SIP_CONN_OUT_MAX);
        let source = self.sources.entry(ip).or_default();
        source.conns += 1;
        let held = Held {
            bytes: 0,
            source: source.half_read.clone(),
            all: self.half_read.clone(),
        };
        let since = now;
        self.by_id.insert(id, Connection { path, since, out });
        let (said, cut_off) = (self.said.clone(), self.cut_off.clone());
        Some(Begun {
            path,
            id,
            said,
            queue,
            held,
            cut_off,
        })
    }

    /// Gives bytes to a connection. False if it is gone, or is given up because its peer does not read.
    pub fn send(&mut self, id: ConnId, payload: Bytes) -> bool {
        let taken = self
            .by_id
            .get(&id)
            .is_some_and(|c| c.out.try_send(payload).is_ok());
        if !taken {
            self.remove(id);
        }
        taken
    }

    /// Forgets a connection; its task ends when it finds its queue closed. Does nothing for one that is forgotten.
    pub fn remove(&mut self, id: ConnId) {
        let Some(connection) = self.by_id.remove(&id) else {
            return;
        };
        let ip = connection.path.peer.ip().to_canonical();
        if let Some(source) = self.sources.get_mut(&ip) {
            source.conns -= 1;
            if source.conns == 0 {
                self.sources.remove(&ip);
            }
        }
    }

    /// Closes the connections at which no device showed in time.
    pub fn close_strangers(&mut self, now: Instant, is_device: impl Fn(&Path) -> bool) {
        let patience = Duration::from_secs(SIP_CONN_STRANGER_S_MAX);
        let strangers: Vec<ConnId> = self
            .by_id
            .iter()
            .filter(|(_, c)| now.duration_since(c.since) >= patience && !is_device(&c.path))
            .map(|(id, _)| *id)
            .collect();
        self.strangers += strangers.len() as u64;
        for id in strangers {
            self.remove(id);
        }
    }
}

/// The bytes of a message that has begun to come, as they count for its source and for all.
struct Held {
    bytes: usize,
    source: Arc<AtomicUsize>,
    all: Arc<AtomicUsize>,
}

impl Held {
    /// Counts what is held now. False beyond the bounds.
    fn set(&mut self, bytes: usize) -> bool {
        let more = bytes > self.bytes;
        let change = |counter: &AtomicUsize| {
            if more {
                let by = bytes - self.bytes;
                counter.fetch_add(by, Ordering::Relaxed) + by
            } else {
                counter.fetch_sub(self.bytes - bytes, Ordering::Relaxed);
                0
            }
        };
        let (source, all) = (change(&self.source), change(&self.all));
        self.bytes = bytes;
        source <= SIP_HALF_READ_BYTES_PER_SOURCE_MAX && all <= SIP_HALF_READ_BYTES_MAX
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.set(0);
    }
}

/// What a connection's task is given.
struct Begun {
    path: Path,
    id: ConnId,
    said: mpsc::Sender<Said>,
    queue: mpsc::Receiver<Bytes>,
    held: Held,
    cut_off: Arc<AtomicU64>,
}

/// Reads, frames and writes one connection until it ends, is silent for too long, or the control thread gives it up.
async fn serve(
    mut reader: impl AsyncRead + Unpin,
    mut writer: impl AsyncWrite + Unpin,
    begun: Begun,
) {
    let Begun {
        path,
        id,
        said,
        mut queue,
        held,
        cut_off,
    } = begun;
    let read = async {
        if let Err(why) = read(&mut reader, path, &said, held).await {
            cut_off.fetch_add(1, Ordering::Relaxed);
            tracing::debug!(peer = %path.peer, why, "a SIP connection is closed");
        }
    };
    let write = async {
        while let Some(payload) = queue.recv().await {
            // TLS holds back what the socket did not take until it is flushed.
            if writer.write_all(&payload).await.is_err() || writer.flush().await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = read => {}
        () = write => {}
    }
    // Over TLS the end is said, so that the peer knows that nothing was cut off. One that does not read is not waited for.
    let _ = tokio::time::timeout(Duration::from_secs(1), writer.shutdown()).await;
    // The control thread may be gone already.
    let _ = said.send(Said::Closed(id)).await;
}

/// Reads until the peer ends the connection; an error is why we end it.
async fn read(
    reader: &mut (impl AsyncRead + Unpin),
    path: Path,
    said: &mpsc::Sender<Said>,
    mut held: Held,
) -> Result<(), &'static str> {
    let idle = Duration::from_secs(SIP_CONN_IDLE_S_MAX);
    let mut framer = Framer::new();
    let mut buffer = vec![0; SIP_CONN_READ_BYTES];
    let mut begun: Option<tokio::time::Instant> = None;
    loop {
        let until = match begun {
            Some(begun) => begun + Duration::from_secs(SIP_CONN_MESSAGE_S_MAX),
            None => tokio::time::Instant::now() + idle,
        };
        let n = match tokio::time::timeout_at(until, reader.read(&mut buffer)).await {
            Ok(Ok(0) | Err(_)) => return Ok(()),
            Ok(Ok(n)) => n,
            Err(_) if begun.is_some() => return Err("its message took too long"),
            Err(_) => return Ok(()),
        };
        framer.push(&buffer[..n]);
        let mut whole = false;
        while let Some(frame) = framer.next() {
            let message = match frame {
                Ok(Frame::Message(raw)) => Said::Message(path, raw),
                Ok(Frame::Ping) => Said::Ping(path),
                Err(_) => return Err("its framing is lost"),
            };
            whole = true;
            if said.send(message).await.is_err() {
                return Ok(());
            }
        }
        let rest = framer.buffered();
        begun = match begun {
            _ if rest == 0 => None,
            Some(begun) if !whole => Some(begun),
            Some(_) | None => Some(tokio::time::Instant::now()),
        };
        if !held.set(rest) {
            return Err("too many bytes of messages that are not whole");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_read_messages_are_counted_by_source_and_given_back() {
        let all = Arc::new(AtomicUsize::new(0));
        let of = |source: &Arc<AtomicUsize>| Held {
            bytes: 0,
            source: source.clone(),
            all: all.clone(),
        };
        let (one, two) = (Arc::default(), Arc::default());
        let mut held: Vec<Held> = (0..4).map(|_| of(&one)).collect();
        for held in &mut held {
            assert!(held.set(SIP_HALF_READ_BYTES_PER_SOURCE_MAX / 4));
        }
        let mut more = of(&one);
        assert!(!more.set(1));
        assert!(of(&two).set(1));
        assert!(held[0].set(0));
        assert!(more.set(2));
        drop((held, more));
        assert_eq!(all.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn all_sources_together_have_a_bound() {
        let all: Arc<AtomicUsize> = Arc::default();
        let mut held = Vec::new();
        for _ in 0..SIP_HALF_READ_BYTES_MAX / SIP_HALF_READ_BYTES_PER_SOURCE_MAX {
            let mut one = Held {
                bytes: 0,
                source: Arc::default(),
                all: all.clone(),
            };
            assert!(one.set(SIP_HALF_READ_BYTES_PER_SOURCE_MAX));
            held.push(one);
        }
        let mut more = Held {
            bytes: 0,
            source: Arc::default(),
            all: all.clone(),
        };
        assert!(!more.set(1));
    }
}
