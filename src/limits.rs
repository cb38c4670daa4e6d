//! Every bound: name with unit, reason, what happens at it.

// ---- ids ----

/// Length of a [`crate::id::StreamName`]. At it: refused with 400.
pub const STREAM_NAME_BYTES_MAX: usize = 64;

// ---- sip ----

// ---- gb28181 ----

// ---- media ----

/// Frames in a hub's ring: twenty seconds of picture and sound. At it: the group of pictures is given up, counted.
pub const HUB_FRAMES_MAX: usize = 2_000;

/// Frames kept of a stream without picture: about a second of sound. At it: the oldest goes.
pub const HUB_SOUND_FRAMES: usize = 50;

/// Seconds without a packet after which a stream counts as stalled. At it: the session core ends the stream.
pub const INGEST_SILENCE_S_MAX: u64 = 10;

// ---- egress ----

/// Media time kept before the newest key unit for viewers that are a little behind. At it: they go on at the key unit.
pub const FAN_SLACK_MS: u64 = 1_000;

/// Units in a rendition's ring: twenty seconds of picture and sound. At it: the oldest goes.
pub const FAN_UNITS_MAX: usize = 2_000;

// ---- webrtc ----

// ---- session ----

/// Seconds a caller has to bring its viewer after [`crate::session::Reply::Opened`]. At it: the session is closed.
pub const SESSION_CLAIM_S_MAX: u64 = 10;

// ---- net ----

/// Datagrams taken by one system call. Larger batches win little and cost stack.
pub const UDP_BATCH_PACKETS: usize = 64;

/// Longest datagram taken. RTP is sent below the path MTU of Ethernet; GB/T 28181 devices stay below 1,500. At it: cut.
pub const UDP_DATAGRAM_BYTES_MAX: usize = 2048;

/// Segments in one `UDP_SEGMENT` send: the kernel's own bound (UDP_MAX_SEGMENTS). At it: a second call.
pub const GSO_SEGMENTS_MAX: usize = 64;

// ---- store and api ----

// ---- sim ----
