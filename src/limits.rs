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

/// RTCP packets read of one compound. At it: the rest is left unread and counted as an error.
pub const RTCP_PACKETS_MAX: usize = 16;

/// Bytes searched for the next RTP header on a TCP connection whose framing broke. At it: the connection is closed.
pub const RFC4571_SCAN_BYTES_MAX: usize = 1 << 20;

/// Packets that wait for a missing one. At it: the missing one counts as lost.
pub const REORDER_PACKETS_MAX: usize = 64;

/// Bytes that wait for a missing packet (a datagram can have 65,507). At it: the missing one counts as lost.
pub const REORDER_BYTES_MAX: usize = 256 * 1024;

/// Milliseconds that a packet waits for a missing one: more than the spread of paths, less than a viewer notices. At it:
/// the missing one counts as lost.
pub const REORDER_WAIT_MS_MAX: u64 = 60;

/// Bytes of a program stream header that was cut by a packet's end: the longest is a program stream map (6 + 1,018). At
/// it: impossible by construction, longer headers are refused by their length field.
pub const PS_STASH_BYTES_MAX: usize = 1024;

/// Streams remembered of a program stream map. At it: the rest of the map is left out.
pub const PSM_STREAMS_MAX: usize = 16;

/// Bytes of a system header, far more than its 64 streams need. At it: taken for damage, start codes are searched.
pub const PS_SYSTEM_HEADER_BYTES_MAX: usize = 1024;

/// Bytes of one access unit; a 4K key frame at the highest rate has about 2 MB. At it: the unit is dropped and counted.
pub const ACCESS_UNIT_BYTES_MAX: usize = 4 << 20;

/// Bytes of a parameter set. At it: the set is ignored and counted.
pub const PARAMETER_SET_BYTES_MAX: usize = 4096;

/// Bytes of one piece of G.711 (half a second). At it: cut into several frames.
pub const SOUND_FRAME_BYTES_MAX: usize = 4000;

/// Packets without any program stream header after which the payload is said not to be one.
pub const NO_PS_PACKETS_MAX: u64 = 64;

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
