//! Every bound: name with unit, reason, what happens at it.

// ---- ids ----

/// Length of a [`crate::id::StreamName`]. At it: refused with 400.
pub const STREAM_NAME_BYTES_MAX: usize = 64;

// ---- sip ----

// ---- gb28181 ----

/// Bytes of one MANSCDP body. The largest honest one is a Catalog of some hundred items over TCP. At it: 400.
pub const MANSCDP_BODY_BYTES_MAX: usize = 256 * 1024;

/// Items of one Catalog message that are taken. At it: the rest of that message is left out and counted.
pub const MANSCDP_ITEMS_MAX: usize = 2_000;

/// Bytes of one value (a name, an address) in UTF-8. At it: the value is cut at a character and counted.
pub const MANSCDP_VALUE_BYTES_MAX: usize = 512;

/// Damaged places of one body behind which reading goes on; each may cost one look at the rest of the body. At it: the
/// rest of the body is left out and counted.
pub const MANSCDP_REPAIRS_MAX: u16 = 64;

// ---- media ----

/// Seconds without a packet after which a stream counts as stalled. At it: the session core ends the stream.
pub const INGEST_SILENCE_S_MAX: u64 = 10;

// ---- egress ----

// ---- webrtc ----

// ---- session ----

/// Seconds a caller has to bring its viewer after [`crate::session::Reply::Opened`]. At it: the session is closed.
pub const SESSION_CLAIM_S_MAX: u64 = 10;

// ---- net ----

// ---- store and api ----

// ---- sim ----
