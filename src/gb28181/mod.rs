//! What SIP messages mean in GB/T 28181: devices register, are asked for their channels, and are invited to send.
//!
//! [`Platform`] is the door. [`device::Device`] is the same from a device's side, for simulations and tests.

pub mod answer;
pub mod catalog;
pub mod control;
pub mod counters;
pub mod device;
pub mod edition;
pub mod fuzzing;
pub mod gate;
pub mod gb35114;
pub mod manscdp;
pub mod mansrtsp;
pub mod notice;
pub mod offer;
pub mod platform;
pub mod ptz;
pub mod query;
pub mod question;
pub mod quirk;
pub mod records;
pub mod registrar;
pub mod settings;
pub mod split;
pub mod subscribe;
pub mod types;

pub use answer::{Answer, AskFailure};
pub use control::Control;
pub use counters::{Counters, Gauges};
pub use notice::Notice;
pub use platform::{Config, Output, Platform};
pub use question::{Ask, Question};
pub use types::*;
