//! Tests from outside, in one binary: a module a subject.

#[cfg(feature = "node")]
mod answers;
#[cfg(feature = "node")]
mod api;
#[cfg(feature = "node")]
mod bvcsp_calls;
#[cfg(feature = "node")]
mod configuration;
#[cfg(feature = "node")]
mod device_auth;
#[cfg(feature = "node")]
mod diagnosis;
#[cfg(feature = "node")]
mod digest;
#[cfg(feature = "node")]
mod directory;
#[cfg(feature = "node")]
mod doors;
#[cfg(feature = "node")]
mod download;
mod egress_chromium;
mod egress_files;
mod egress_rtp;
mod field_reports;
mod field_signalling;
#[cfg(feature = "node")]
mod flood;
mod flv;
#[cfg(feature = "node")]
mod gb35114;
#[cfg(feature = "node")]
mod gb_table;
mod gb_vectors;
#[cfg(feature = "node")]
mod gimbal;
#[cfg(feature = "node")]
mod ingest;
#[cfg(feature = "node")]
mod kernel_drops;
#[cfg(feature = "node")]
mod lists;
#[cfg(feature = "node")]
mod live;
#[cfg(feature = "node")]
mod management;
mod media_allocations;
mod media_files;
mod media_vectors;
#[cfg(feature = "node")]
mod node;
#[cfg(feature = "node")]
mod path;
#[cfg(feature = "node")]
mod payloads;
#[cfg(feature = "node")]
mod platform;
#[cfg(feature = "node")]
mod playback;
#[cfg(feature = "node")]
mod playback_speeds;
#[cfg(feature = "node")]
mod player;
#[cfg(feature = "node")]
mod probe;
#[cfg(feature = "node")]
mod relay;
#[cfg(feature = "node")]
mod replay;
#[cfg(feature = "node")]
mod replay_known;
#[cfg(feature = "node")]
mod restart;
#[cfg(feature = "node")]
mod rights;
mod simnet;
mod sip_endpoint;
#[cfg(feature = "node")]
mod sip_tls;
mod sip_torture;
mod sip_vectors;
#[cfg(feature = "node")]
mod slow;
#[cfg(feature = "node")]
mod socket;
#[cfg(feature = "node")]
mod start;
#[cfg(feature = "node")]
mod tls;
mod transcode;
mod vectors;
#[cfg(feature = "node")]
mod walk;
#[cfg(feature = "node")]
mod webrtc_chromium;
#[cfg(feature = "node")]
mod whep;
#[cfg(feature = "node")]
mod whep_chromium;
#[cfg(feature = "node")]
mod whep_gstreamer;
#[cfg(feature = "node")]
mod whep_ice;
