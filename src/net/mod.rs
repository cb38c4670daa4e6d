//! Sockets and media threads.

pub mod udp;

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::egress::AudioPolicy;
use crate::id::{SessionId, StreamId};
use crate::session::ViewKind;

/// Talks to the media threads. Cheap to clone.
#[derive(Clone, Debug)]
pub struct MediaHandle {}

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

impl MediaHandle {
    /// Answers a WebRTC offer for a session that was opened. `host` = `host:port` by which the browser reached us.
    pub async fn add_webrtc(
        &self,
        stream: StreamId,
        session: SessionId,
        offer: String,
        host: Option<String>,
    ) -> Result<String, ViewerError> {
        let _ = (stream, session, offer, host);
        Err(ViewerError::StreamGone)
    }

    /// A viewer whose bytes are written by the caller (TLS, kept-alive HTTP connections). Dropping the receiver ends it.
    pub async fn add_channel(
        &self,
        stream: StreamId,
        session: SessionId,
        kind: ViewKind,
        audio: AudioPolicy,
    ) -> Result<mpsc::Receiver<Bytes>, ViewerError> {
        let _ = (stream, session, kind, audio);
        Err(ViewerError::StreamGone)
    }
}
