//! Packets to frames: RTP, reordering, program stream, access units, and the ring of a stream's last frames.

pub mod codec;
pub mod frame;
#[doc(hidden)]
pub mod fuzzing;
pub mod hold;
pub mod hub;
pub mod ingest;
pub mod jitter;
pub mod ps;
pub mod report;
pub mod rfc4571;
pub mod rtcp;
pub mod rtp;
pub mod source;
pub mod timeline;
pub mod transcode;
pub mod ts;
