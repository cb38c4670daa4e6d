//! SIP (RFC 3261) over UDP and TCP. Knows nothing of GB/T 28181.
//!
//! Start reading at [`endpoint`]: bytes of a message come in, requests and responses of the transaction user come out.
//! Below it lie [`message`] (bytes to headers), [`mod@write`] (headers to bytes), [`transaction`] (who retransmits what and
//! when), [`framing`] (messages of a stream); beside it [`dialog`], [`digest`] and [`sdp`], which its users call.

pub mod dialog;
pub mod digest;
pub mod endpoint;
pub mod error;
pub mod framing;
pub mod fuzzing;
pub mod header;
pub mod log;
pub mod message;
pub mod name;
pub mod sdp;
pub mod transaction;
pub mod typed;
pub mod uri;
pub mod write;

pub use dialog::{Dialog, DialogId};
pub use endpoint::{Config, Counters, Endpoint, Event, Incoming, Output, SendError, Transmit};
pub use error::{ErrorKind, ParseError};
pub use framing::Framer;
pub use message::{Carrier, Message};
pub use name::{HeaderName, Method};
pub use sdp::Sdp;
pub use transaction::{ConnId, Path, ServerId, Timers, TransactionId, Transport};
pub use uri::Uri;
pub use write::{Request, Response};
