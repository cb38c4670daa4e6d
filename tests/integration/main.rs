//! Tests that need nothing but the library's public face, in one binary: a module a subject.

#[cfg(feature = "node")]
mod api;
mod gb_vectors;
mod ingest;
mod live;
mod media_allocations;
#[path = "../media_files/mod.rs"]
mod media_files;
mod media_vectors;
mod node;
mod player;
mod restart;
mod sip_endpoint;
mod sip_torture;
mod sip_vectors;
mod start;
mod vectors;
mod whep;
