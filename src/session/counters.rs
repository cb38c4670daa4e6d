//! What the core counts, for metrics.

use std::collections::BTreeMap;

use super::types::{Error, ViewFailure};

/// Why a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Closed {
    /// [`super::Command::Close`].
    ByClient,
    /// [`super::Command::CloseOwner`]: logout or kick-out.
    ByOwner,
    /// No viewer came in time.
    Unclaimed,
    /// The viewer's connection ended.
    ViewerGone,
    /// Its stream ended.
    StreamEnded,
    /// The view did not come about.
    Failed,
    Shutdown,
}

impl Closed {
    /// Short stable name, for metrics.
    pub fn name(self) -> &'static str {
        match self {
            Closed::ByClient => "client",
            Closed::ByOwner => "owner",
            Closed::Unclaimed => "unclaimed",
            Closed::ViewerGone => "viewer gone",
            Closed::StreamEnded => "stream ended",
            Closed::Failed => "failed",
            Closed::Shutdown => "shutdown",
        }
    }
}

/// Why a stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Ended {
    /// Nobody watched for the time of the linger.
    Unwatched,
    /// The device sent BYE.
    ByDevice,
    /// The device went offline, or its dialog was lost.
    DeviceLost,
    /// The device's certificate was revoked (GB 35114).
    Revoked,
    Stalled,
    /// [`super::Command::CloseIngest`].
    ByClient,
    /// No picture came.
    Failed,
    /// Nobody waited for the opening any more.
    Cancelled,
    Shutdown,
}

impl Ended {
    /// Short stable name, for metrics.
    pub fn name(self) -> &'static str {
        match self {
            Ended::Unwatched => "unwatched",
            Ended::ByDevice => "device",
            Ended::DeviceLost => "device lost",
            Ended::Revoked => "certificate revoked",
            Ended::Stalled => "stalled",
            Ended::ByClient => "client",
            Ended::Failed => "failed",
            Ended::Cancelled => "cancelled",
            Ended::Shutdown => "shutdown",
        }
    }
}

/// Counts since the start of the node.
#[derive(Clone, Debug, Default)]
pub struct Counters {
    /// `Open` commands.
    pub opens: u64,
    /// Of them, those that found their stream live.
    pub joined_live: u64,
    /// Of them, those that waited for an opening that had begun.
    pub joined_opening: u64,
    /// INVITEs.
    pub attempts: u64,
    /// Attempts by another transport after one that brought nothing.
    pub fallbacks: u64,
    /// Openings that such an attempt saved.
    pub fallbacks_live: u64,
    /// Openings that came to a picture.
    pub live: u64,
    /// Openings that did not, by [`ViewFailure::stage`] or a short name of the error.
    pub failures: BTreeMap<&'static str, u64>,
    /// Answers that named another SSRC than the offer.
    pub ssrc_changed: u64,
    /// Ports that another program had open.
    pub ports_taken: u64,
    /// Foreign SSRCs that were adopted.
    pub ssrc_adopted: u64,
    /// Ends of files (MediaStatus 121) that belong to no view.
    pub file_ends_foreign: u64,
    /// Key frames that devices were asked for by IFameCmd.
    pub key_frames_asked: u64,
    /// Streams that a viewer came back to in their linger.
    pub linger_joined: u64,
    pub sessions_closed: BTreeMap<Closed, u64>,
    pub streams_ended: BTreeMap<Ended, u64>,
    /// Named streams that were opened anew after a stall or a refused connection.
    pub ingest_reopened: u64,
    /// Devices left out at the bound.
    pub devices_refused: u64,
    /// Catalog items left out at the bound.
    pub channels_refused: u64,
    /// Catalog items that are not channels: directory nodes, outputs, unreadable codes.
    pub items_not_channels: u64,
}

impl Counters {
    pub(super) fn failed(&mut self, error: &Error) {
        *self.failures.entry(failure_name(error)).or_default() += 1;
    }

    pub(super) fn closed(&mut self, why: Closed) {
        *self.sessions_closed.entry(why).or_default() += 1;
    }

    pub(super) fn ended(&mut self, why: Ended) {
        *self.streams_ended.entry(why).or_default() += 1;
    }
}

/// Short stable name of what made an opening fail: [`ViewFailure::stage`], or the error's own.
pub(super) fn failure_name(error: &Error) -> &'static str {
    match error {
        Error::View(failure, _) => ViewFailure::stage(failure),
        Error::NotFound { .. } | Error::PlaybackOver { .. } => "not found",
        Error::Exists { .. } => "exists",
        Error::BadParameter { .. } | Error::BadField(_) => "bad parameter",
        Error::Ask(_) => "device did not do it",
        Error::DeviceOffline => "device offline",
        Error::Busy { .. } => "busy",
        Error::ShuttingDown => "shutting down",
    }
}

/// What there is now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gauges {
    pub streams: usize,
    /// Of them, those that are live.
    pub streams_live: usize,
    pub sessions: usize,
    /// Of them, those that wait for their stream.
    pub sessions_waiting: usize,
    pub devices: usize,
    pub devices_online: usize,
    pub ssrcs_in_use: usize,
    /// Pairs of ports that streams have to themselves.
    pub ports_in_use: usize,
}
