//! What SIP messages mean in GB/T 28181: devices register, are asked for their channels, and are invited to send.

pub mod manscdp;
pub mod types;

pub use types::*;
