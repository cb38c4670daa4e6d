//! What media threads are told, by whom, and what they tell the session core.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc as std_mpsc;
use std::time::Instant;

use bytes::Bytes;
use mio::Waker;
use tokio::sync::mpsc;

use crate::egress::fan::Framing;
use crate::egress::rtp::RtpPayload;
use crate::egress::{AudioPolicy, Form, Unit};
use crate::id::{SessionId, StreamId};
use crate::limits;
use crate::media::frame::Track;
use crate::net::cutoff::Cutoff;
use crate::net::peer::{Arrival, NewPeer, RestartIce};
use crate::net::sound::Made;
use crate::net::stream::FanKey;
use crate::session::port::{MediaCommand, MediaEvent};
use crate::time::MediaTime;

/// What a media thread is told.
pub(in crate::net) enum Order {
    Media(MediaCommand),
    AddViewer(Box<NewViewer>),
    AddPeer(Box<NewPeer>),
    Shard(ShardMessage),
    /// Sound that was converted for a stream at home here.
    Sound(Made),
    Stop,
}

/// What media threads tell each other.
pub(in crate::net) enum ShardMessage {
    /// A viewer of a stream that is at home elsewhere. `snapshot` is there when no mirror is.
    AddMirrored {
        new: Box<NewViewer>,
        snapshot: Option<(Unit, Vec<Unit>)>,
    },
    /// The next units of a mirrored rendition, with its new initialisation if that changed.
    Units {
        key: FanKey,
        units: Vec<Unit>,
        init: Option<Unit>,
    },
    /// The rendition is over, or nobody watches it here any more.
    MirrorEnd {
        key: FanKey,
    },
    /// A mirrored viewer left shard `from`.
    ViewerLeft {
        key: FanKey,
        from: u8,
    },
    AddMirroredPeer {
        new: Box<NewPeer>,
        tracks: Vec<Track>,
        snapshot: Option<Vec<RtpPayload>>,
        newest: Option<(Instant, MediaTime)>,
    },
    Payloads {
        stream: StreamId,
        payloads: Vec<RtpPayload>,
        newest: Option<(Instant, MediaTime)>,
    },
    PayloadsEnd {
        stream: StreamId,
    },
    PeerLeft {
        stream: StreamId,
        from: u8,
    },
    /// A datagram for a WebRTC viewer of the receiver that came in on another shard's socket.
    Datagram {
        from: SocketAddr,
        data: Bytes,
        via: u8,
    },
    /// Shard `shard` has verified (or given up) that a viewer of its own is at this address.
    Bound {
        address: SocketAddr,
        shard: u8,
        bound: bool,
    },
    CloseSession(SessionId),
    RestartIce(Box<RestartIce>),
    /// A WebRTC connection whose first check names a viewer of the receiver.
    Path(Arrival),
}

/// A viewer of a muxed rendition that has an open session.
pub(in crate::net) struct NewViewer {
    pub stream: StreamId,
    pub session: SessionId,
    pub form: Form,
    pub framing: Framing,
    pub audio: AudioPolicy,
    /// Response head, written before the rendition's initialisation.
    pub preface: Bytes,
    pub io: NewIo,
}

pub(in crate::net) enum NewIo {
    Socket(std::net::TcpStream),
    Channel(mpsc::Sender<Bytes>, Option<Cutoff>),
}

impl NewViewer {
    pub(super) fn key(&self) -> FanKey {
        FanKey {
            stream: self.stream,
            form: self.form,
            audio: self.audio,
        }
    }
}

/// A way to a media thread.
#[derive(Clone, Debug)]
pub(in crate::net) struct ShardLink {
    pub orders: std_mpsc::SyncSender<Order>,
    pub waker: Arc<Waker>,
}

impl ShardLink {
    /// `false` = the thread's queue is full or it is gone; the order was not taken.
    pub fn send(&self, order: Order) -> bool {
        let sent = self.orders.try_send(order).is_ok();
        if sent {
            // Failing to wake means that the poll object is gone, and with it the thread.
            let _ = self.waker.wake();
        }
        sent
    }
}

/// Events to the session core. What must not be lost waits here when the core is behind; statistics are dropped.
pub(in crate::net) struct EventSender {
    sender: mpsc::Sender<MediaEvent>,
    pub(super) waiting: VecDeque<MediaEvent>,
    pub dropped: u64,
}

impl EventSender {
    pub fn new(sender: mpsc::Sender<MediaEvent>) -> Self {
        EventSender {
            sender,
            waiting: VecDeque::new(),
            dropped: 0,
        }
    }

    pub fn send(&mut self, event: MediaEvent) {
        let is_statistic = matches!(
            event,
            MediaEvent::Stats { .. } | MediaEvent::Viewer { .. } | MediaEvent::Service(_)
        );
        if self.waiting.is_empty() {
            match self.sender.try_send(event) {
                Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => {}
                Err(mpsc::error::TrySendError::Full(event)) if !is_statistic => {
                    self.waiting.push_back(event)
                }
                Err(mpsc::error::TrySendError::Full(_)) => self.dropped += 1,
            }
        } else if is_statistic || self.waiting.len() >= limits::MEDIA_EVENTS_WAITING_MAX {
            self.dropped += 1;
        } else {
            self.waiting.push_back(event);
        }
    }

    pub(super) fn retry(&mut self) {
        while let Some(event) = self.waiting.pop_front() {
            if let Err(mpsc::error::TrySendError::Full(event)) = self.sender.try_send(event) {
                self.waiting.push_front(event);
                return;
            }
        }
    }
}
