//! What SIP messages mean in GB/T 28181: devices register, are asked for their channels, and are invited to send.
//!
//! [`Platform`] is the door. [`device::Device`] is the same from a device's side, for simulations and tests.

pub mod catalog;
pub mod counters;
pub mod device;
pub mod fuzzing;
pub mod gate;
pub mod manscdp;
pub mod offer;
pub mod platform;
pub mod query;
pub mod quirk;
pub mod registrar;
pub mod types;

pub use counters::{Counters, Gauges};
pub use platform::{Config, Output, Platform};
pub use types::*;
