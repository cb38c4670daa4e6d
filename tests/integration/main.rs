//! Tests that need nothing but the library's public face, in one binary: a module a subject.

#[cfg(feature = "node")]
mod api;
mod gb_vectors;
mod media_allocations;
mod media_vectors;
mod sip_endpoint;
mod sip_torture;
mod sip_vectors;
mod vectors;
