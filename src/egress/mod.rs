//! Frames to viewers: a folder or file a protocol. Nothing here owns a socket.
//!
//! A *rendition* is a stream muxed in one form, once, for all its viewers; a [`Unit`] is a piece of it that any viewer can
//! be given. Encryption is the only work done per viewer.

pub mod fan;
pub mod unit;

pub use unit::{AudioPolicy, Unit};
