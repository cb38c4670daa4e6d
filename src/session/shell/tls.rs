//! SIP over TLS: the door before the connections (RFC 3261, 26.2.1; RFC 8446, RFC 5246).
//!
//! Handshakes and the encryption of what follows run on the runtime that the caller gives, not on the control thread: a
//! thousand cameras that come back at once cost it nothing. A connection whose handshake is done goes through a bounded
//! queue to the control thread, and from there on is one like any of SIP over TCP: same framer, limits and flows.
//!
//! What fails is counted by kind and kept by address ([`crate::diagnosis::handshake`]).
//!
//! Bounds: handshakes under way in all and of one source ([`SIP_TLS_HANDSHAKES_MAX`],
//! [`SIP_TLS_HANDSHAKES_PER_SOURCE_MAX`]) and their seconds ([`SIP_TLS_HANDSHAKE_S_MAX`]); connections that wait for the
//! control thread ([`SIP_TLS_WAITING_MAX`]), at which handshakes wait within their time.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::{self, ServerConfig};
use tokio_rustls::server::TlsStream;

use crate::diagnosis::handshake::{Book, Failure, Line};
use crate::limits::{
    ACCEPT_RETRY_MS, SIP_TLS_HANDSHAKE_S_MAX, SIP_TLS_HANDSHAKES_MAX,
    SIP_TLS_HANDSHAKES_PER_SOURCE_MAX, SIP_TLS_WAITING_MAX,
};

/// What the door is made with.
pub struct Tls {
    pub listener: std::net::TcpListener,
    pub config: Arc<ServerConfig>,
    /// Where handshakes and encryption run.
    pub runtime: tokio::runtime::Handle,
}

/// A connection whose handshake is done.
pub(super) struct Shaken {
    pub stream: TlsStream<TcpStream>,
    pub peer: SocketAddr,
    pub local: SocketAddr,
}

/// What failed at the door so far.
#[derive(Debug, Default)]
pub struct Failures {
    counts: [AtomicU64; Failure::ALL.len()],
    book: Mutex<Book>,
}

impl Failures {
    /// By [`Failure::index`].
    pub fn counts(&self) -> [u64; Failure::ALL.len()] {
        std::array::from_fn(|n| self.counts[n].load(Ordering::Relaxed))
    }

    /// The newest first.
    pub fn lines(&self) -> Vec<Line> {
        let book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
        book.lines()
    }

    fn note(&self, peer: SocketAddr, failure: Failure, detail: &str) {
        self.counts[failure.index()].fetch_add(1, Ordering::Relaxed);
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH);
        let now_ms = since_epoch.map_or(0, |d| i64::try_from(d.as_millis()).unwrap_or(i64::MAX));
        let ip = peer.ip().to_canonical();
        let mut book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
        let new = book.note(now_ms, ip, failure, detail);
        drop(book);
        let kind = failure.name();
        if new {
            tracing::warn!(%peer, kind, detail, "a TLS handshake of SIP failed: {}", failure.words().0);
        } else {
            tracing::debug!(%peer, kind, detail, "a TLS handshake of SIP failed again");
        }
    }
}

/// Handshakes under way, in all and by source.
#[derive(Default)]
struct Pending {
    all: usize,
    by_source: HashMap<IpAddr, usize>,
}

/// One handshake under way, until it is dropped.
struct Place {
    pending: Arc<Mutex<Pending>>,
    ip: IpAddr,
}

impl Place {
    /// `None` at a bound.
    fn take(pending: &Arc<Mutex<Pending>>, ip: IpAddr) -> Option<Place> {
        let ip = ip.to_canonical();
        let mut table = pending.lock().unwrap_or_else(PoisonError::into_inner);
        let of_source = table.by_source.get(&ip).copied().unwrap_or(0);
        if table.all >= SIP_TLS_HANDSHAKES_MAX || of_source >= SIP_TLS_HANDSHAKES_PER_SOURCE_MAX {
            return None;
        }
        table.all += 1;
        table.by_source.insert(ip, of_source + 1);
        let pending = pending.clone();
        Some(Place { pending, ip })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut table = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        table.all -= 1;
        if let Some(of_source) = table.by_source.get_mut(&self.ip) {
            *of_source -= 1;
            if *of_source == 0 {
                table.by_source.remove(&self.ip);
            }
        }
    }
}

/// Opens the door. It closes when the receiver is dropped.
pub(super) fn open(tls: Tls, failures: Arc<Failures>) -> io::Result<mpsc::Receiver<Shaken>> {
    tls.listener.set_nonblocking(true)?;
    let listener = {
        let _inside = tls.runtime.enter();
        TcpListener::from_std(tls.listener)?
    };
    let (done, shaken) = mpsc::channel(SIP_TLS_WAITING_MAX);
    let acceptor = TlsAcceptor::from(tls.config);
    tls.runtime
        .spawn(accept(listener, acceptor, done, failures));
    Ok(shaken)
}

async fn accept(
    listener: TcpListener,
    acceptor: TlsAcceptor,
    done: mpsc::Sender<Shaken>,
    failures: Arc<Failures>,
) {
    let pending = Arc::default();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = done.closed() => return,
        };
        let (socket, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(e) => {
                // Out of descriptors, most likely: a short rest keeps this from spinning.
                tracing::warn!(error = %e, "cannot take a SIP connection over TLS");
                tokio::time::sleep(Duration::from_millis(ACCEPT_RETRY_MS)).await;
                continue;
            }
        };
        let Some(place) = Place::take(&pending, peer.ip()) else {
            failures.note(peer, Failure::TooMany, "");
            continue;
        };
        let (acceptor, done, failures) = (acceptor.clone(), done.clone(), failures.clone());
        tokio::spawn(async move {
            let wait = Duration::from_secs(SIP_TLS_HANDSHAKE_S_MAX);
            let shake = shake(&acceptor, socket, peer, &done);
            match tokio::time::timeout(wait, shake).await {
                Ok(Ok(())) => {}
                Ok(Err(e)) => failures.note(peer, failure_of(&e), &e.to_string()),
                Err(_) => failures.note(peer, Failure::TooSlow, ""),
            }
            drop(place);
        });
    }
}

async fn shake(
    acceptor: &TlsAcceptor,
    socket: TcpStream,
    peer: SocketAddr,
    done: &mpsc::Sender<Shaken>,
) -> io::Result<()> {
    socket.set_nodelay(true)?;
    let local = socket.local_addr()?;
    let stream = acceptor.accept(socket).await?;
    let shaken = Shaken {
        stream,
        peer,
        local,
    };
    // The control thread is gone only when the node ends.
    let _ = done.send(shaken).await;
    Ok(())
}

fn failure_of(error: &io::Error) -> Failure {
    let of_tls = error
        .get_ref()
        .and_then(|e| e.downcast_ref::<rustls::Error>());
    match of_tls {
        None => Failure::Gone,
        Some(rustls::Error::InvalidMessage(_)) => Failure::NotTls,
        Some(rustls::Error::NoCertificatesPresented) => Failure::NoCertificate,
        Some(rustls::Error::InvalidCertificate(_)) => Failure::WrongCertificate,
        Some(rustls::Error::AlertReceived(_)) => Failure::RefusedByPeer,
        Some(rustls::Error::PeerIncompatible(_)) => Failure::NothingInCommon,
        // The library may have further kinds at any time.
        Some(_) => Failure::Broken,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handshakes_of_a_source_and_of_all_have_a_bound_and_are_given_back() {
        let pending = Arc::default();
        let ip = |n: usize| IpAddr::from([10, 0, (n >> 8) as u8, n as u8]);
        let take = |n| Place::take(&pending, ip(n));
        let mut held: Vec<_> = (0..SIP_TLS_HANDSHAKES_PER_SOURCE_MAX)
            .map(|_| take(0).expect("below the bound of a source"))
            .collect();
        assert!(take(0).is_none());
        held.pop();
        held.push(take(0).expect("one was given back"));
        for n in held.len()..SIP_TLS_HANDSHAKES_MAX {
            held.push(take(n).expect("below the bound of all"));
        }
        assert!(take(9_999).is_none());
        held.clear();
        let table = pending.lock().expect("nobody panics");
        assert_eq!((table.all, table.by_source.len()), (0, 0));
    }
}
