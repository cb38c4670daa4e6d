//! What every way to watch has in common: open a session, bring its viewer, and clean up when that fails.

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::egress::AudioPolicy;
use crate::id::SessionId;
use crate::net::ViewerError;
use crate::net::cutoff::Cutoff;
use crate::session::{self, Command, Opened, Owner, Reply, Target, ViewKind};

use super::ApiState;
use super::envelope::{Failure, wrong_reply};
use super::problem::Problem;

/// Why a view did not come about.
#[derive(Debug)]
pub enum ViewError {
    Session(session::Error),
    Viewer(ViewerError),
    /// The facade gave a reply that belongs to another command.
    Reply,
}

impl From<session::Error> for ViewError {
    fn from(error: session::Error) -> Self {
        ViewError::Session(error)
    }
}

impl From<ViewError> for Failure {
    fn from(error: ViewError) -> Self {
        match error {
            ViewError::Session(error) => error.into(),
            ViewError::Viewer(error) => error.into(),
            ViewError::Reply => wrong_reply(),
        }
    }
}

impl From<ViewError> for Problem {
    fn from(error: ViewError) -> Self {
        match error {
            ViewError::Session(error) => error.into(),
            ViewError::Viewer(error) => error.into(),
            ViewError::Reply => Problem::wrong_reply(),
        }
    }
}

/// A WebRTC view: the session and the SDP answer. `host` = `host:port` by which the browser reached us.
pub async fn open_webrtc(
    state: &ApiState,
    target: Target,
    owner: Owner,
    offer: String,
    host: Option<String>,
) -> Result<(SessionId, String), ViewError> {
    // Before a device is woken for nothing.
    if !offer.trim_start().starts_with("v=0") {
        return Err(ViewError::Viewer(ViewerError::Offer("it is no SDP".into())));
    }
    let opened = open(state, target, ViewKind::WebRtc, owner).await?;
    let answer = state
        .media
        .add_webrtc(opened.stream, opened.session, offer, host)
        .await;
    match answer {
        Ok(answer) => Ok((opened.session, answer)),
        Err(error) => Err(abandon(state, opened.session, error).await),
    }
}

/// A view whose bytes the caller writes, to the connection that `cutoff` ends.
pub async fn open_channel(
    state: &ApiState,
    target: Target,
    owner: Owner,
    kind: ViewKind,
    audio: AudioPolicy,
    cutoff: Option<Cutoff>,
) -> Result<(SessionId, mpsc::Receiver<Bytes>), ViewError> {
    let opened = open(state, target, kind, owner).await?;
    let bytes = state
        .media
        .add_channel(opened.stream, opened.session, kind, audio, cutoff)
        .await;
    match bytes {
        Ok(bytes) => Ok((opened.session, bytes)),
        Err(error) => Err(abandon(state, opened.session, error).await),
    }
}

async fn open(
    state: &ApiState,
    target: Target,
    kind: ViewKind,
    owner: Owner,
) -> Result<Opened, ViewError> {
    let command = Command::Open {
        target,
        kind,
        owner,
    };
    let Reply::Opened(opened) = state.session.call(command).await? else {
        return Err(ViewError::Reply);
    };
    Ok(opened)
}

/// Without its viewer the session would be closed anyway, but only after the time to claim it.
async fn abandon(state: &ApiState, session: SessionId, error: ViewerError) -> ViewError {
    let _ = state.session.call(Command::Close { session }).await;
    ViewError::Viewer(error)
}
