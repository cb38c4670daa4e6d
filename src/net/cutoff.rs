//! The socket of an HTTP connection, whose other end must take what it asked for.
//!
//! A write that the peer does not take waits without end: hyper, rustls and the WebSocket above them have no limit for it, and
//! a peer that keeps its window closed keeps the connection alive. `Patient` stands under all of them and fails such a write
//! - at once, when the media thread has given up on the viewer that the connection carries ([`Cutoff::cut`]): the same rules as
//!   for viewers whose sockets media threads write themselves; and
//! - when it took no byte for [`crate::limits::HTTP_STUCK_S_MAX`], whatever the connection carries; counted.
//!
//! Not done: a least rate. Who takes a little now and then is a viewer's matter (it falls out of its ring), or has its file
//! some day.
//!
//! Bounds: one timer a connection, made when a write first waits.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::task::AtomicWaker;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

use crate::metrics::Metrics;

/// Ends a connection from elsewhere. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Cutoff(Arc<State>);

#[derive(Debug, Default)]
struct State {
    cut: AtomicBool,
    writer: AtomicWaker,
}

impl Cutoff {
    /// Fails the write that waits, and every later one.
    pub fn cut(&self) {
        self.0.cut.store(true, Ordering::Release);
        self.0.writer.wake();
    }

    pub fn is_cut(&self) -> bool {
        self.0.cut.load(Ordering::Acquire)
    }
}

/// A socket whose writes do not wait for ever.
#[derive(Debug)]
pub(super) struct Patient<S> {
    socket: S,
    cutoff: Cutoff,
    metrics: Arc<Metrics>,
    /// How long a write may wait.
    stuck: Duration,
    /// Until when the write at hand may wait.
    until: Option<Pin<Box<Sleep>>>,
    waits: bool,
}

impl<S> Patient<S> {
    /// `stuck`: how long a write may wait for the peer to take a byte.
    pub fn new(socket: S, stuck: Duration, metrics: Arc<Metrics>) -> Self {
        Patient {
            socket,
            cutoff: Cutoff::default(),
            metrics,
            stuck,
            until: None,
            waits: false,
        }
    }

    pub fn cutoff(&self) -> Cutoff {
        self.cutoff.clone()
    }

    /// What a write comes to that the socket answered with `done`.
    fn judge(
        &mut self,
        context: &mut Context<'_>,
        done: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if done.is_ready() {
            self.waits = false;
            return done;
        }
        // Before the look at the flag, so that a cut in between is not missed.
        self.cutoff.0.writer.register(context.waker());
        if self.cutoff.is_cut() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        let stuck = self.stuck;
        let until = self
            .until
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(stuck)));
        if !std::mem::replace(&mut self.waits, true) {
            until.as_mut().reset(Instant::now() + stuck);
        }
        if until.as_mut().poll(context).is_pending() {
            return Poll::Pending;
        }
        self.metrics.connections_cut_off.add(&["http"], 1);
        self.cutoff.cut();
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.cutoff.is_cut() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        let done = Pin::new(&mut self.socket).poll_write(context, bytes);
        self.judge(context, done)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.cutoff.is_cut() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        let done = Pin::new(&mut self.socket).poll_write_vectored(context, bytes);
        self.judge(context, done)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

    const ROOM: usize = 64;
    const LONG: Duration = Duration::from_secs(3_600);

    fn pair(stuck: Duration) -> (Patient<DuplexStream>, DuplexStream, Arc<Metrics>) {
        let metrics = Arc::new(Metrics::new());
        let (near, far) = duplex(ROOM);
        (Patient::new(near, stuck, metrics.clone()), far, metrics)
    }

    fn run(test: impl Future<Output = ()>) {
        tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .expect("a runtime")
            .block_on(test);
    }

    #[test]
    fn who_takes_nothing_is_cut_off_and_counted_once() {
        run(async {
            let stuck = Duration::from_millis(20);
            let (mut patient, _far, metrics) = pair(stuck);
            let began = Instant::now();
            let failed = patient.write_all(&[1; 2 * ROOM]).await;
            let kind = failed.map_err(|e| e.kind());
            assert_eq!(kind, Err(io::ErrorKind::TimedOut));
            assert!(began.elapsed() >= stuck);
            assert!(patient.write_all(&[1]).await.is_err());
            assert_eq!(metrics.connections_cut_off.get(&["http"]), 1);
        });
    }

    #[test]
    fn who_takes_a_byte_has_the_whole_time_again() {
        run(async {
            let (mut patient, mut far, metrics) = pair(LONG);
            let mut context = Context::from_waker(std::task::Waker::noop());
            let mut write =
                |patient: &mut Patient<_>| Pin::new(patient).poll_write(&mut context, &[1; ROOM]);
            let until = |patient: &Patient<_>| patient.until.as_ref().map(|at| at.deadline());
            assert!(write(&mut patient).is_ready());
            assert_eq!(until(&patient), None, "nothing waits");
            assert!(write(&mut patient).is_pending());
            let first = until(&patient).expect("it waits");
            assert!(write(&mut patient).is_pending());
            assert_eq!(until(&patient), Some(first), "it waits since then");
            far.read_u8().await.expect("it is there");
            assert!(write(&mut patient).is_ready());
            assert!(write(&mut patient).is_pending());
            assert!(until(&patient) > Some(first));
            assert_eq!(metrics.connections_cut_off.get(&["http"]), 0);
        });
    }

    #[test]
    fn a_cut_ends_the_write_that_waits() {
        run(async {
            let (mut patient, _far, metrics) = pair(LONG);
            let cutoff = patient.cutoff();
            let bytes = [1; 2 * ROOM];
            // Both are polled in turn, so that the write waits when the cut comes.
            let (written, ()) = tokio::join!(patient.write_all(&bytes), async { cutoff.cut() });
            let kind = written.map_err(|e| e.kind());
            assert_eq!(kind, Err(io::ErrorKind::ConnectionAborted));
            assert_eq!(metrics.connections_cut_off.get(&["http"]), 0, "not by us");
        });
    }
}
