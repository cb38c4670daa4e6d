//! The HTTP door: one port for the page, the API and live media.
//!
//! A fresh plain connection whose first request is `GET /live/…` is answered here and its socket is handed to the media
//! thread of the stream, which writes it from then on. Everything else (API, page, TLS, a live request on a connection that
//! was used before) goes through the router.
//!
//! Bounds: connections by [`limits::HTTP_CONNS_MAX`], of one source by [`limits::HTTP_CONNS_PER_SOURCE_MAX`], a request head by [`limits::HTTP_HEAD_BYTES_MAX`] and
//! [`limits::HTTP_HEAD_S_MAX`], an answer that is not taken by [`limits::HTTP_STUCK_S_MAX`] (`Patient`).

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use bytes::Bytes;
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt;

use super::cutoff::{Cutoff, Patient};
use super::{MediaHandle, websocket};
use crate::api::auth::Auth;
use crate::api::live::{self, LiveRequest};
use crate::api::problem::Problem;
use crate::egress::fan::Framing;
use crate::limits;
use crate::metrics::Metrics;
use crate::session::shell::Handle;
use crate::session::{Command, Reply};

/// What the door needs of the rest of the node.
#[derive(Clone)]
pub struct Front {
    pub session: Handle,
    pub media: MediaHandle,
    pub auth: Auth,
    /// Live media needs no token.
    pub open_media: bool,
    pub router: Router,
    pub connections: Arc<Semaphore>,
    sources: Arc<Sources>,
    metrics: Arc<Metrics>,
}

/// Connections by source.
type Sources = Mutex<HashMap<IpAddr, usize>>;

/// One connection of a source, until it is dropped.
struct Place {
    sources: Arc<Sources>,
    ip: IpAddr,
}

impl Place {
    /// `None` at [`limits::HTTP_CONNS_PER_SOURCE_MAX`].
    fn take(sources: &Arc<Sources>, ip: IpAddr) -> Option<Place> {
        let ip = ip.to_canonical();
        let mut table = sources.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = table.entry(ip).or_default();
        if *taken >= limits::HTTP_CONNS_PER_SOURCE_MAX {
            return None;
        }
        *taken += 1;
        let sources = sources.clone();
        Some(Place { sources, ip })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut table = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(taken) = table.get_mut(&self.ip) {
            *taken -= 1;
            if *taken == 0 {
                table.remove(&self.ip);
            }
        }
    }
}

impl Front {
    pub fn new(
        session: Handle,
        media: MediaHandle,
        auth: Auth,
        open_media: bool,
        router: Router,
        metrics: Arc<Metrics>,
    ) -> Self {
        let connections = Arc::new(Semaphore::new(limits::HTTP_CONNS_MAX));
        Front {
            session,
            media,
            auth,
            open_media,
            router,
            connections,
            sources: Arc::default(),
            metrics,
        }
    }

    /// Serves a listener until `stop` turns true. With `tls`, every connection is encrypted.
    pub async fn serve(
        self,
        listener: TcpListener,
        tls: Option<TlsAcceptor>,
        mut stop: watch::Receiver<bool>,
    ) {
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = stopped(&mut stop) => return,
            };
            let (socket, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(e) => {
                    // Out of descriptors, most likely: what is open goes on, and a short rest keeps this from spinning.
                    tracing::warn!(error = %e, "cannot take an HTTP connection");
                    tokio::time::sleep(Duration::from_millis(limits::ACCEPT_RETRY_MS)).await;
                    continue;
                }
            };
            let place = self.connections.clone().try_acquire_owned().ok();
            let of_source = Place::take(&self.sources, peer.ip());
            let Some((place, of_source)) = place.zip(of_source) else {
                self.metrics.connections_refused.add(&["http"], 1);
                tracing::debug!(%peer, "HTTP connection refused: too many");
                continue;
            };
            let (front, tls, stop) = (self.clone(), tls.clone(), stop.clone());
            tokio::spawn(async move {
                // A connection that fails ends; there is nobody else to tell.
                let _ = socket.set_nodelay(true);
                match tls {
                    None => front.plain(socket, peer, stop).await,
                    Some(tls) => {
                        let socket = front.patient(socket);
                        let cutoff = socket.cutoff();
                        let wait = Duration::from_secs(limits::HTTP_HEAD_S_MAX);
                        if let Ok(Ok(stream)) = tokio::time::timeout(wait, tls.accept(socket)).await
                        {
                            Box::pin(front.route(stream, cutoff, peer, stop)).await;
                        }
                    }
                }
                drop((place, of_source));
            });
        }
    }

    async fn plain(self, socket: TcpStream, peer: SocketAddr, stop: watch::Receiver<bool>) {
        const LIVE: &[u8] = b"GET /live/";
        let mut start = [0; LIVE.len()];
        let wait = Duration::from_secs(limits::HTTP_HEAD_S_MAX);
        match tokio::time::timeout(wait, socket.peek(&mut start)).await {
            Ok(Ok(n)) if n > 0 => {}
            _ => return,
        }
        if start == LIVE {
            // An error is a peer that went away: nobody is left to answer.
            let _ = self.live(socket, peer).await;
        } else {
            let socket = self.patient(socket);
            let cutoff = socket.cutoff();
            // On the heap, so that a task that only brings a viewer in does not take the room of a whole HTTP connection.
            Box::pin(self.route(socket, cutoff, peer, stop)).await;
        }
    }

    /// A socket that is written here, by the rules for those that media threads write.
    fn patient(&self, socket: TcpStream) -> Patient<TcpStream> {
        // Where it is refused the kernel's own bound holds.
        let _ = SockRef::from(&socket).set_tcp_notsent_lowat(limits::VIEWER_UNSENT_BYTES_MAX);
        let stuck = Duration::from_secs(limits::HTTP_STUCK_S_MAX);
        Patient::new(socket, stuck, self.metrics.clone())
    }

    /// Serves a connection that `cutoff` ends.
    async fn route<S>(
        self,
        io: S,
        cutoff: Cutoff,
        peer: SocketAddr,
        mut stop: watch::Receiver<bool>,
    ) where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    {
        let router = self.router;
        let service = hyper::service::service_fn(move |mut request: hyper::Request<Incoming>| {
            request.extensions_mut().insert(ConnectInfo(peer));
            request.extensions_mut().insert(cutoff.clone());
            let router = router.clone();
            async move {
                let response = router.oneshot(request.map(axum::body::Body::new)).await;
                Ok::<_, Infallible>(response.unwrap_or_else(|never| match never {}))
            }
        });
        let mut http = hyper::server::conn::http1::Builder::new();
        http.timer(TokioTimer::new())
            .header_read_timeout(Duration::from_secs(limits::HTTP_IDLE_S_MAX));
        let connection = http
            .serve_connection(TokioIo::new(io), service)
            .with_upgrades();
        tokio::pin!(connection);
        tokio::select! {
            // A connection that fails ends; there is nobody else to tell.
            _ = &mut connection => {}
            () = stopped(&mut stop) => {
                connection.as_mut().graceful_shutdown();
                let _ = tokio::time::timeout(Duration::from_secs(1), connection).await;
            }
        }
    }

    /// Answers a live request and hands the socket over.
    async fn live(self, mut socket: TcpStream, peer: SocketAddr) -> std::io::Result<()> {
        let wait = Duration::from_secs(limits::HTTP_HEAD_S_MAX);
        let head = match tokio::time::timeout(wait, read_head(&mut socket)).await {
            Ok(Ok(head)) => head,
            Ok(Err(e)) => return Err(e),
            Err(_) => return Ok(()),
        };
        let request = match Head::parse(&head) {
            Some(request) => request,
            None => {
                let what = "the request head cannot be read";
                return refuse(&mut socket, Problem::new(StatusCode::BAD_REQUEST, what)).await;
            }
        };
        let live = match live::parse(request.path, request.query) {
            Ok(live) => live,
            Err(e) => return refuse(&mut socket, e.into()).await,
        };
        let Some(owner) = live::authorise(
            &live,
            request.authorization,
            &self.auth,
            self.open_media,
            Some(peer),
        ) else {
            return refuse(&mut socket, Problem::unauthorised()).await;
        };
        let kind = live.kind(request.websocket_key.is_some());
        let command = Command::Open {
            target: live.target.clone(),
            kind,
            owner,
        };
        let opened = match self.session.call(command).await {
            Ok(Reply::Opened(opened)) => opened,
            Ok(other) => unreachable_reply(&other),
            Err(e) => return refuse(&mut socket, e.into()).await,
        };
        let (preface, framing) = match request.websocket_key {
            Some(key) => (
                switching(key, request.websocket_protocol),
                Framing::WebSocket,
            ),
            None => (ok(&live), Framing::Http),
        };
        self.media.add_socket(
            opened.stream,
            opened.session,
            live.form,
            framing,
            live.audio,
            preface,
            socket.into_std()?,
        );
        Ok(())
    }
}

/// Waits until the node stops.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    // A sender that is gone means the same.
    let _ = stop.wait_for(|stop| *stop).await;
}

/// The session core answers `Open` with `Opened` or an error, nothing else.
fn unreachable_reply(reply: &Reply) -> ! {
    unreachable!("Open was answered with {reply:?}")
}

/// Reads up to the blank line. What a client sends after it (nothing, for GET) is left in the socket or lost with it.
async fn read_head(socket: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let mut head = Vec::with_capacity(1024);
    loop {
        if head.len() >= limits::HTTP_HEAD_BYTES_MAX {
            return Err(std::io::ErrorKind::InvalidData.into());
        }
        if socket.read_buf(&mut head).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        if memchr::memmem::find(&head, b"\r\n\r\n").is_some() {
            return Ok(head);
        }
    }
}

/// What matters of a request for live media.
struct Head<'a> {
    path: &'a str,
    query: &'a str,
    authorization: Option<&'a str>,
    websocket_key: Option<&'a str>,
    websocket_protocol: Option<&'a str>,
}

impl<'a> Head<'a> {
    fn parse(bytes: &'a [u8]) -> Option<Self> {
        let mut headers = [httparse::EMPTY_HEADER; limits::HTTP_HEADERS_MAX];
        let mut request = httparse::Request::new(&mut headers);
        if !request.parse(bytes).ok()?.is_complete() {
            return None;
        }
        let (path, query) = request.path?.split_once('?').unwrap_or((request.path?, ""));
        let header = |name: &str| {
            let found = request
                .headers
                .iter()
                .find(|h| h.name.eq_ignore_ascii_case(name))?;
            std::str::from_utf8(found.value).ok().map(str::trim)
        };
        let upgrade = header("upgrade").is_some_and(|v| v.eq_ignore_ascii_case("websocket"));
        Some(Head {
            path,
            query,
            authorization: header("authorization"),
            websocket_key: if upgrade {
                header("sec-websocket-key")
            } else {
                None
            },
            websocket_protocol: header("sec-websocket-protocol"),
        })
    }
}

fn ok(live: &LiveRequest) -> Bytes {
    let mime = live.form.mime();
    format!(
        "HTTP/1.1 200 OK\r\nContent-Type: {mime}\r\nCache-Control: no-store\r\nConnection: close\r\n\
         Access-Control-Allow-Origin: *\r\nX-Content-Type-Options: nosniff\r\n\r\n"
    )
    .into()
}

fn switching(key: &str, protocol: Option<&str>) -> Bytes {
    let accept = websocket::accept_key(key);
    // A browser that offered a subprotocol drops the connection unless one of them is named (RFC 6455, 4.1).
    let protocol = protocol
        .and_then(|offered| offered.split(',').next())
        .map(|first| format!("Sec-WebSocket-Protocol: {}\r\n", first.trim()))
        .unwrap_or_default();
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n{protocol}\r\n"
    )
    .into()
}

/// Answers as the router would, so that a client meets one set of statuses and bodies whoever answers it.
async fn refuse(socket: &mut TcpStream, problem: Problem) -> std::io::Result<()> {
    let body = problem.to_json();
    let response = problem.into_response();
    let mut head = format!("HTTP/1.1 {}\r\n", response.status()).into_bytes();
    for (name, value) in response.headers() {
        if name == header::CONTENT_LENGTH {
            continue;
        }
        head.extend_from_slice(name.as_str().as_bytes());
        head.extend_from_slice(b": ");
        head.extend_from_slice(value.as_bytes());
        head.extend_from_slice(b"\r\n");
    }
    let rest = format!(
        "Content-Length: {}\r\nConnection: close\r\nAccess-Control-Allow-Origin: *\r\n\r\n{body}",
        body.len()
    );
    head.extend_from_slice(rest.as_bytes());
    socket.write_all(&head).await?;
    socket.shutdown().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_source_does_not_take_every_place() {
        let sources: Arc<Sources> = Arc::default();
        let (one, two) = ([10, 0, 0, 1].into(), [10, 0, 0, 2].into());
        let mut places: Vec<Place> = (0..limits::HTTP_CONNS_PER_SOURCE_MAX)
            .map(|_| Place::take(&sources, one).expect("there is room"))
            .collect();
        assert!(Place::take(&sources, one).is_none());
        assert!(Place::take(&sources, two).is_some());
        places.pop();
        assert!(Place::take(&sources, one).is_some());
        drop(places);
        assert!(sources.lock().expect("no panic").is_empty());
    }
}
