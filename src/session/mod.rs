//! The control facade: what can be asked of a node ([`Command`] → [`Reply`]) and what it tells ([`Event`]).
//!
//! REST, WebSocket and later cascade and cluster all come through here. Only this module starts or ends a stream. It is
//! pure: [`Core`] decides, [`port`] holds the values it exchanges with the media threads, and the shell carries both.
//!
//! Start with [`core`] (what goes in and out), then `open` (how a view starts), then `stream` (the states of one stream).

mod address;
pub mod alarms;
mod asks;
mod config;
pub mod core;
mod counters;
mod declared;
mod devices;
mod end;
pub mod intake;
mod named;
mod open;
mod playback;
mod policy;
pub mod port;
mod ports;
mod record;
mod registry;
#[cfg(feature = "node")]
pub mod shell;
mod ssrc;
mod stream;
#[cfg(test)]
mod tests;
mod timers;
mod trace;
pub mod types;
pub mod wiring;

pub use address::{MediaAddress, Network, NotANetwork};
pub use config::CoreConfig;
pub use core::{Core, Output, Persist, RequestId};
pub use counters::{Closed, Counters, Ended, Gauges};
pub use policy::{DevicePolicy, ForeignSsrcPolicy, LossChoice, NotAPolicy, TransportPolicy};
pub use registry::RestoredDevice;
pub use trace::Attempt;
pub use types::*;
