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

/// Bytes of the buffers from which heads and tails of units are cut. One lives until the last unit cut from it has gone, so
/// it is kept to some dozens of units. At it: the next buffer is begun.
pub const UNIT_CHUNK_BYTES: usize = 4096;

/// Bytes of a frame that FLV can hold: its tag size has 24 bits. At it: the frame is left out of the rendition.
pub const FLV_FRAME_BYTES_MAX: usize = 0xff_ffff - 16;

/// Ticks (1/90,000 s) of a hole in a track over which fMP4 keeps the decoding times continuous. A longer one is a break
/// of the source; at it the decoding time jumps and Chromium waits for the next key frame.
pub const FMP4_BRIDGE_TICKS_MAX: i64 = 10 * 90_000;

/// Milliseconds of G.711 in one RTP packet, at least: small pieces are merged, since each packet costs every viewer an
/// encryption and a system call.
pub const RTP_G711_MS_MIN: usize = 20;

/// Milliseconds of G.711 in one RTP packet, at most: longer pieces are split, since a player's jitter buffer has to hold
/// one whole packet before it plays.
pub const RTP_G711_MS_MAX: usize = 60;

/// Milliseconds of missing sound that a transcoder fills with silence. At it: its time line starts anew at the next frame.
pub const TRANSCODE_SILENCE_MS_MAX: i64 = 1000;

/// Milliseconds by which sound may stray from its time stamps before a transcoder inserts silence or drops samples.
/// Devices stamp by arrival or in whole milliseconds; what is under it is jitter.
pub const TRANSCODE_JITTER_MS_MAX: i64 = 100;

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
