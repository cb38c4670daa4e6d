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

/// Devices whose changes wait to be written. At it: changes of further devices are dropped and counted; a device
/// registers again within its expiry and is written then. 65,536 records are about 20 MiB.
pub const STORE_PENDING_DEVICES_MAX: usize = 65_536;

/// Devices written in one transaction. At it: the batch is committed and the next one begins.
pub const STORE_BATCH_DEVICES_MAX: usize = 500;

/// Milliseconds that a change may wait for company before it is written: what a crash can lose.
pub const STORE_BATCH_WAIT_MS_MAX: u64 = 50;

/// Milliseconds between two attempts to write when the database refuses.
pub const STORE_RETRY_MS: u64 = 1_000;

/// Connections to the database. At it: a query waits for a free one.
pub const STORE_CONNECTIONS_MAX: u32 = 4;

/// Bytes of a request body. At it: refused with code 4 (413 outside bvcsp). An SDP offer of a browser is 6 to 12 KiB.
pub const API_BODY_BYTES_MAX: usize = 256 * 1024;

/// Items of one page of a list. At it: the page is cut, and the answer's `pageSize` says so.
pub const API_PAGE_ITEMS_MAX: u32 = 1_000;

/// Logins that are valid at one time. At it: the one that would end first is ended.
pub const LOGINS_MAX: usize = 10_000;

/// Failed logins of one source (an IPv4 address or an IPv6 /64) within [`LOGIN_PAUSE_S`]. At it: the source is refused
/// for that long, right password or not.
pub const LOGIN_FAILURES_MAX: u32 = 5;

/// Seconds that a source is refused after too many failed logins.
pub const LOGIN_PAUSE_S: u64 = 60;

/// Sources with failed logins that are remembered. At it: the oldest is forgotten.
pub const LOGIN_SOURCES_MAX: usize = 4_096;

/// Seconds by which the `timestamp` of a login may differ from our clock. Beyond: refused, so that a proof cannot be
/// replayed later.
pub const LOGIN_CLOCK_SKEW_S_MAX: u64 = 300;

/// Bytes of a token. Longer ones are refused unread.
pub const TOKEN_BYTES_MAX: usize = 256;

/// Seconds an event WebSocket may stay without a message from the client. At it: closed.
pub const EVENT_SOCKET_IDLE_S_MAX: u64 = 60;

/// Seconds a client may take to accept one event. At it: closed with 1013.
pub const EVENT_SOCKET_SEND_S_MAX: u64 = 10;

/// Bytes of a message that a client sends on an event WebSocket; its content is ignored. At it: closed.
pub const EVENT_SOCKET_MESSAGE_BYTES_MAX: usize = 64 * 1024;

// ---- sim ----
