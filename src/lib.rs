//! Gantry: a media node for video surveillance. GB/T 28181 devices in, browsers and players out.
//!
//! ```text
//! socket ─► net (batch) ─► media::ingest: rtp → jitter → ps → access unit ─► Frame ─► hub (ring, last GOPs)
//!                                                                                 │
//!  viewers ◄─ socket writes ◄─ units shared by all ◄─ rendition ◄─────────────────┘  one muxer per (stream, form)
//! ```
//!
//! Start reading at [`session`] (what can be asked of a node), then [`gb28181`] (how a device is asked) and [`media`]
//! (how its packets become frames). Everything outside the feature `node` is pure: bytes, time and randomness come in,
//! bytes, events and one deadline go out.
//!
//! Specifications: RFC 3261, 3581, 7616, 4566, 3550, 4571, 6184, 7798, 8445, 8489, 5764, 7714; GB/T 28181-2011, 2016,
//! 2022; ISO/IEC 13818-1, 14496-3, 14496-12, 14496-15; Enhanced RTMP/FLV v1; draft-ietf-wish-whep.

pub mod diagnosis;
pub mod egress;
pub mod fuzzing;
pub mod gb28181;
pub mod id;
pub mod limits;
pub mod media;
pub mod session;
pub mod sip;
pub mod time;

#[cfg(feature = "node")]
pub mod api;
#[cfg(feature = "node")]
pub mod app;
#[cfg(feature = "node")]
pub mod config;
#[cfg(feature = "node")]
pub mod console;
#[cfg(feature = "node")]
pub mod metrics;
#[cfg(feature = "node")]
pub mod net;
#[cfg(feature = "node")]
pub mod probe;
#[cfg(feature = "node")]
pub mod record;
#[cfg(feature = "node")]
pub mod sim;
#[cfg(feature = "node")]
pub mod store;
