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

/// Bytes of one MANSCDP body. The largest honest one is a Catalog of some hundred items over TCP. At it: 400.
pub const MANSCDP_BODY_BYTES_MAX: usize = 256 * 1024;

/// Items of one Catalog message that are taken. At it: the rest of that message is left out and counted.
pub const MANSCDP_ITEMS_MAX: usize = 2_000;

/// Bytes of one value (a name, an address) in UTF-8. At it: the value is cut at a character and counted.
pub const MANSCDP_VALUE_BYTES_MAX: usize = 512;

/// Damaged places of one body behind which reading goes on; each may cost one look at the rest of the body. At it: the
/// rest of the body is left out and counted.
pub const MANSCDP_REPAIRS_MAX: u16 = 64;

/// Channels of one device. At it: further ones are left out and the directory counts as partial.
pub const CATALOG_CHANNELS_MAX: usize = 100_000;

/// Catalog items held for all directories that are coming in. At it: further messages are left out.
pub const CATALOG_ITEMS_HELD_MAX: usize = 400_000;

/// Directories that come in at the same time. At it: what a device sends unasked is left out, and no query is sent.
pub const CATALOGS_COMING_MAX: usize = 1_024;

/// Devices in the table, registered or not. Only the store, an operator or a right password puts one in. At it: 503.
pub const DEVICES_MAX: usize = 100_000;

/// Seconds that a registration counts beyond its end: many devices renew it only when it has ended.
pub const REGISTRATION_GRACE_S: u64 = 30;

/// Seconds between two writes of a device's last sign of life to the store.
pub const SEEN_PERSIST_S: u64 = 60;

/// Wrong passwords of one device from one address. At it: 403, and a pause of [`WRONG_PASSWORD_PAUSE_S`].
pub const WRONG_PASSWORDS_MAX: u32 = 3;

/// Wrong passwords from one address for any device. At it: 403 and a pause for devices not online from there.
pub const WRONG_PASSWORDS_PER_IP_MAX: u32 = 60;

/// Seconds of the pause after too many wrong passwords, and seconds that wrong ones count.
pub const WRONG_PASSWORD_PAUSE_S: u64 = 60;

/// Sources with wrong passwords that are remembered. At it: the older half is forgotten.
pub const SUSPECTS_MAX: usize = 8_192;

/// Live views at the same time, under way or running. At it: [`crate::gb28181::InviteFailure::TooMany`].
pub const INVITES_MAX: usize = 10_000;

/// Seconds that the answer to our BYE or CANCEL is waited for. At it: the view counts as lost.
pub const INVITE_END_S: u64 = 8;

/// Queries that wait for their turn: two of every device. At it: further ones are not sent, and whoever asked is told.
pub const QUERIES_WAITING_MAX: usize = 2 * DEVICES_MAX;

/// Seconds that a query takes up one of the places for queries under way. Its answer counts also when it comes later.
pub const QUERY_SLOT_S: u64 = 4;

/// Seconds that an answer of a query is waited for.
pub const QUERY_ANSWER_S: u64 = 20;

/// Seconds that a shutdown waits for the answers to BYE.
pub const PLATFORM_DRAIN_S: u64 = 4;

/// Bytes of `X-GB-Ver` that are kept.
pub const GB_VERSION_BYTES_MAX: usize = 8;

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

/// Views of one simulated device at the same time. At it: 486.
pub const SIM_MEDIA_MAX: usize = 64;
