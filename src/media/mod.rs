//! Packets to frames: RTP, reordering, program stream, access units, and the ring of a stream's last frames.

pub mod frame;
pub mod hub;
pub mod transcode;
