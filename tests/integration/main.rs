//! Tests from outside, in one binary: a module a subject.

#[cfg(feature = "node")]
mod api;
mod egress_chromium;
mod egress_files;
mod egress_rtp;
mod gb_vectors;
mod media_allocations;
mod media_files;
mod media_vectors;
mod sip_endpoint;
mod sip_torture;
mod sip_vectors;
mod transcode;
mod vectors;
#[cfg(feature = "node")]
mod webrtc_chromium;
