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

/// Bytes of a STUN message. A browser's check has about 120. At it: dropped before it is read.
pub const STUN_BYTES_MAX: usize = 548;
/// Attributes of a STUN message. A browser's check has 7 to 9. At it: dropped.
pub const STUN_ATTRIBUTES_MAX: usize = 24;
/// Addresses at which one viewer is known. A host has one per interface and address family. At it: the oldest that is not
/// in use is forgotten.
pub const ICE_ADDRESSES_MAX: usize = 8;
/// Seconds without a verified check. Browsers send one every 0.5 to 2.5 s; RFC 7675 gives 30 s. At it: the viewer is closed.
pub const ICE_SILENCE_S_MAX: u64 = 15;
/// Seconds from the first DTLS datagram to keys. At it: the viewer is closed.
pub const DTLS_HANDSHAKE_S_MAX: u64 = 15;
/// Bytes of all datagrams fed to one unfinished handshake; a real one needs 3,000. At it: the viewer is closed. It also
/// keeps the reassembly buffer of `rtc-dtls` (2 MB by itself) small.
pub const DTLS_HANDSHAKE_BYTES_MAX: usize = 64 * 1024;
/// Bytes of a ClientHello. Chromium's has 1,413, with post-quantum key shares. At it: the viewer is closed.
pub const DTLS_HELLO_BYTES_MAX: usize = 4096;
/// Datagrams kept until the ClientHello is whole; Chromium needs 2. At it: the oldest is forgotten.
pub const DTLS_HELLO_DATAGRAMS_MAX: usize = 8;
/// Alerts looked at after the handshake state was put away; each costs a key expansion. At it: no more are read, and the
/// silence limit of ICE ends the viewer.
pub const DTLS_LATE_ALERTS_MAX: u8 = 8;
/// Bytes of an SDP offer; Chromium with every codec sends 8,000. At it: refused.
pub const SDP_OFFER_BYTES_MAX: usize = 64 * 1024;
/// Media lines of an SDP offer; players send 1 to 3. At it: refused.
pub const SDP_MEDIA_MAX: usize = 16;
/// Packets of one RTCP compound of a viewer; browsers send up to 5. At it: the rest is not read.
pub const RTCP_COMPOUND_MAX: usize = 16;
/// Sources of SRTCP at one viewer; a browser has one per media line. At it: packets of a further one are not opened.
pub const SRTCP_SOURCES_MAX: usize = 8;
/// Lost packets of one viewer that wait to be sent again; a NACK names up to 17. At it: not sent again.
pub const RESENDS_PENDING_MAX: usize = 128;
/// Packets sent again to one viewer in a second, and at once: more than the stream's own rate (200 to 300) would feed the
/// congestion that lost them. At it: not sent again; the viewer will ask for a key frame.
pub const RESENDS_PER_S_MAX: u32 = 200;
/// Milliseconds between two key frame requests of one viewer. At it: the later one is not heard.
pub const KEY_FRAME_REQUEST_MS_MIN: u64 = 500;
/// Gaps in its sequence of payloads over which a viewer can still find a lost packet. Gaps come from skips to a key frame,
/// seconds apart; lost packets are asked for within one. At it: the oldest is forgotten, its packets are not sent again.
pub const SEQUENCE_RUNS: usize = 4;
/// Viewers of one shard. A core carries some 2,000. At it: no further viewer is taken.
pub const ROUTER_VIEWERS_MAX: usize = 16_384;
/// Addresses that one shard knows, those of other shards' viewers too. At it: no further address is bound; its viewer
/// gets no keys and ends by the handshake's deadline.
pub const ROUTER_ADDRESSES_MAX: usize = 65_536;
/// Bytes of an RTP payload, so that header, number, retransmission and tag stay in a datagram of 1,200 bytes, which passes
/// every path that WebRTC meets (RFC 8831, 5 has the same figure). At it: the packetiser cuts.
pub const RTP_PAYLOAD_BYTES_MAX: usize = 1200 - 12 - 8 - 2 - 16;

// ---- session ----

/// Seconds a caller has to bring its viewer after [`crate::session::Reply::Opened`]. At it: the session is closed.
pub const SESSION_CLAIM_S_MAX: u64 = 10;

// ---- net ----

// ---- store and api ----

// ---- sim ----
