//! Every bound: name with unit, reason, what happens at it.

// ---- ids ----

/// Length of a [`crate::id::StreamName`]. At it: refused with 400.
pub const STREAM_NAME_BYTES_MAX: usize = 64;

// ---- sip ----

/// Bytes of one SIP message on a stream. A MANSCDP list of some hundred items fits. At it: the connection is closed.
pub const SIP_MESSAGE_BYTES_MAX: usize = 1 << 20;

/// Bytes of start line and headers of one message; offsets into them are 16 bits. At it: dropped and counted.
pub const SIP_HEAD_BYTES_MAX: usize = 16 * 1024;

/// Header lines of one message. RFC 4475's longest has under 60. At it: 400.
pub const SIP_HEADER_LINES_MAX: usize = 128;

/// Requests of ours without a final answer: 20,000 devices asked at once, three times over. At it: the request is refused.
pub const SIP_CLIENT_TRANSACTIONS_MAX: usize = 65_536;

/// Requests other than INVITE that are being answered or whose answer is kept for retransmissions. A client retransmits
/// for the last time within T2 (4 s) of a lost answer, so this suffices for 5,000 registrations (two requests each) per
/// second for 13 s. At it: the oldest is forgotten.
pub const SIP_SERVER_TRANSACTIONS_MAX: usize = 131_072;

/// Bytes of answers kept for retransmissions. At it: the oldest is forgotten.
pub const SIP_RESPONSE_CACHE_BYTES_MAX: usize = 64 << 20;

/// INVITEs to us in progress. At it: 503.
pub const SIP_INVITE_SERVER_TRANSACTIONS_MAX: usize = 16_384;

/// Timers that fire in one call of `handle_timeout`; the rest fire in the next, which is due at once. Bounds the output
/// queue.
pub const SIP_TIMERS_PER_TURN_MAX: usize = 1_024;

/// Nonces whose use is remembered against replay. At it: the oldest are forgotten and every nonce as old becomes stale.
pub const SIP_NONCES_MAX: usize = 65_536;

/// Route values of a dialog. At it: the dialog is refused.
pub const SIP_ROUTES_MAX: usize = 16;

/// Bytes of an SDP body. At it: refused.
pub const SDP_BYTES_MAX: usize = 16 * 1024;

/// Lines of an SDP body. At it: refused.
pub const SDP_LINES_MAX: usize = 256;

/// Media descriptions of an SDP body. At it: refused.
pub const SDP_MEDIA_MAX: usize = 16;

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
