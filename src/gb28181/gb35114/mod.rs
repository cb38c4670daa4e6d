//! GB 35114-2017 at A level: devices and platform prove who they are with SM2 certificates, and messages are hashed with a key
//! that they agree on.
//!
//! The text of the standard was not at hand; this follows what its annex C is quoted to say, and what open implementations
//! and a public client that was run against a commercial platform agree on:
//!
//! - `sign1` is the device's signature of `random2 random1 serverid`, `sign2` the platform's of `random1 random2 deviceid
//!   cryptkey`: the header values one behind the other, as base64 text, not decoded. Some describe `sign2` with `random2`
//!   first; `random1` first is what that client checks, and what is written here.
//! - `cryptkey` is the VKEK, 16 bytes, sealed with the key of the device's certificate: base64 of the DER of GB/T 35276.
//! - `Note` is the SM3 hash of method, From, To, Call-ID, Date, VKEK and body, one behind the other: the values as they stand
//!   in the header, with tags; the VKEK as bytes, none of them zero, so that it does not matter who takes it for text.
//! - `deviceid` is missing in the Authorization of some devices.
//!
//! Not certain: how wide the window of Date is ([`GM_DATE_WINDOW_S`](crate::limits::GM_DATE_WINDOW_S) is ours); whether the
//! VKEK changes between registrations (here at each); whether responses carry a Note (here they do not).
//!
//! Not done: levels B and C (signed and encrypted media), SM1, cipher modules, certificates within the exchange (`cnonce`): a
//! device's certificate is known before it comes.

pub mod exchange;
pub mod header;
pub mod key;
pub mod x509;

pub use exchange::{Camera, Claim, Identity, Noted, Refusal, Session, SharedKey};
pub use header::{Scheme, Value};
pub use key::Key;
pub use x509::{Certificate, CertificateRequest};
