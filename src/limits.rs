//! Every bound: name with unit, reason, what happens at it.

// ---- ids ----

/// Length of a [`crate::id::StreamName`]. At it: refused with 400.
pub const STREAM_NAME_BYTES_MAX: usize = 64;

// ---- sip ----

// ---- gb28181 ----

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
