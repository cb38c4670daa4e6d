//! The control facade: what can be asked of a node ([`Command`] → [`Reply`]) and what it tells ([`Event`]).
//!
//! REST, WebSocket and later cascade and cluster all come through here. Only this module starts or ends a stream. It is
//! pure: [`port`] holds the values it exchanges with the media threads.

pub mod port;
#[cfg(feature = "node")]
pub mod shell;
pub mod types;

pub use types::*;
