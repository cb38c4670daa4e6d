//! A network in virtual time: cameras behind lossy links and NAT, and a node made of the real cores, without a socket, a
//! thread or a sleep. Everything follows from a seed, so a run that fails can be run again.
//!
//! ```text
//!  Camera (gb28181::device, PS muxer, RTP) ── Link: loss, order, delay, NAT, cuts ──► Node (gb28181::Platform,
//!        ▲                                                                            session::Core, media::ingest,
//!        └───────────────────────────── World: one queue of what happens when ◄──────  hub, FLV rendition)
//! ```
//!
//! The node's wiring follows `session::shell` and `net::shard`; what those add (sockets, batches, threads) is left out.

mod camera;
mod clip;
mod day;
mod link;
mod matrix;
mod node;
mod trouble;
mod world;
