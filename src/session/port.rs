//! What the session core and the media threads say to each other.

use std::net::SocketAddr;
use std::time::Instant;

use crate::gb28181::MediaTransport;
use crate::id::{SessionId, Ssrc, StreamId};
use crate::media::frame::Track;
use crate::media::hold::LossPolicy;
use crate::media::ingest::{Pace, RtpMaps};

use super::types::{IngestStats, MediaServiceView};

/// Session core → media thread `stream.shard`.
#[derive(Clone, Debug)]
pub enum MediaCommand {
    /// Waits for (or fetches) RTP. `ssrc` `None` takes the first unclaimed SSRC that comes.
    OpenIngest {
        stream: StreamId,
        ssrc: Option<Ssrc>,
        transport: MediaTransport,
        options: IngestOptions,
    },
    /// The device's answer says what to expect: another SSRC, and the address that it sends from, or that is to be
    /// connected to (TCP active).
    UpdateIngest {
        stream: StreamId,
        ssrc: Option<Ssrc>,
        remote: Option<SocketAddr>,
    },
    /// The device's answer says what its payload types stand for. Their bytes count more.
    DescribeIngest {
        stream: StreamId,
        hints: RtpMaps,
    },
    /// The device was ordered to play back otherwise. `target_ms`: where in the record it goes on.
    SetPace {
        stream: StreamId,
        pace: Pace,
        /// Nothing comes, and that is right.
        paused: bool,
        target_ms: Option<u64>,
    },
    /// Ends the stream and closes its viewers.
    CloseIngest {
        stream: StreamId,
    },
    /// Closes the viewer of a session, if it has come.
    CloseViewer {
        stream: StreamId,
        session: SessionId,
    },
    ResetStatistics,
}

/// How a stream is taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IngestOptions {
    /// A port of its own, with RTCP on the next one; `None` = the one that all streams of the thread share.
    pub port: Option<u16>,
    /// Any SSRC on its own port is this stream's.
    pub any_ssrc: bool,
    /// What becomes of pictures with loss.
    pub loss: LossPolicy,
    /// What the source says of its payload types.
    pub maps: RtpMaps,
    /// How the times of a record run.
    pub pace: Pace,
}

/// What one viewer was given so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ViewerStats {
    pub sent_bytes: u64,
    /// Times it was moved forward to a key frame.
    pub skipped: u32,
    /// When the first bytes of media left for it.
    pub first_byte: Option<Instant>,
    /// Times its path could not take the stream, so that it got no picture for a while.
    pub congested: u32,
    /// That is so now.
    pub is_congested: bool,
}

/// Media thread → session core.
#[derive(Clone, Debug)]
pub enum MediaEvent {
    /// How far a stream has come. Each is sent once, in order; `Live` again whenever the tracks change.
    Progress {
        stream: StreamId,
        progress: Progress,
    },
    /// A picture was held back because of loss: the device should send a key frame.
    KeyFrameWanted { stream: StreamId },
    /// Once a second for every stream.
    Stats {
        stream: StreamId,
        stats: Box<IngestStats>,
    },
    /// Once a second for every viewer, and when it has come.
    Viewer {
        session: SessionId,
        stats: ViewerStats,
    },
    /// The viewer's connection is over, whoever ended it.
    ViewerClosed { session: SessionId },
    /// Once a second.
    Service(MediaServiceView),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// TCP connection up (in either direction).
    Connected,
    ConnectFailed,
    /// The port of its own that the stream was given is open: the device can be told.
    PortOpen,
    /// Another program has the port that the stream was given; it was not opened.
    PortTaken,
    /// First RTP packet of the right SSRC.
    FirstRtp,
    /// RTP of another SSRC came while none of the right one had, or none comes any more.
    ForeignSsrc {
        seen: Ssrc,
    },
    /// First program stream header or elementary unit was parsed.
    FirstPs,
    /// A stream type that is not supported was declared for the picture.
    UnsupportedCodec {
        stream_type: u8,
    },
    /// What the source carries, as far as is known; again when more is. Only until it is live.
    Tracks {
        tracks: Vec<Track>,
    },
    /// Tracks are known and a key frame is in the ring.
    Live {
        tracks: Vec<Track>,
    },
    /// Nothing came for [`crate::limits::INGEST_SILENCE_S_MAX`], or TCP was closed by the device.
    Stalled,
}
