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

/// Messages of one device that are kept to be looked at. At it: the oldest goes.
pub const SIP_LOG_MESSAGES_MAX: usize = 200;

/// Bytes of one device's kept messages: two hundred of an ordinary length. At it: the oldest goes.
pub const SIP_LOG_DEVICE_BYTES_MAX: usize = 256 * 1024;

/// Bytes kept of one message: a directory page of some forty cameras. At it: the rest is cut off, its length is noted.
pub const SIP_LOG_MESSAGE_BYTES_MAX: usize = 16 * 1024;

// ---- gb28181 ----

/// Messages cut over several datagrams whose rest is waited for. At it: the oldest is read as far as it came.
pub const SIP_SPLIT_MESSAGES_MAX: usize = 1_024;

/// Bytes of all of them. At it: the same.
pub const SIP_SPLIT_BYTES_MAX: usize = 8 << 20;

/// Milliseconds that the rest of such a message is waited for: less than a device waits before it sends it again (T1, 500
/// ms). At it: it is read as far as it came.
pub const SIP_SPLIT_WAIT_MS: u64 = 400;

/// Bytes of one MANSCDP body. The largest honest one is a Catalog of some hundred items over TCP. At it: 400.
pub const MANSCDP_BODY_BYTES_MAX: usize = 256 * 1024;

/// Items of one Catalog message that are taken. At it: the rest of that message is left out and counted.
pub const MANSCDP_ITEMS_MAX: usize = 2_000;

/// Bytes of one value (a name, an address) in UTF-8. At it: the value is cut at a character and counted.
pub const MANSCDP_VALUE_BYTES_MAX: usize = 512;

/// Damaged places of one body behind which reading goes on; each may cost one look at the rest of the body. At it: the
/// rest of the body is left out and counted.
pub const MANSCDP_REPAIRS_MAX: u16 = 64;

/// Depth of a MANSCDP body; the annex nests five deep. At it: what is deeper is left out.
pub const MANSCDP_DEPTH_MAX: usize = 8;

/// Elements of a MANSCDP body read as a tree: a page of 1,000 records has 12,000. At it: further ones are left out.
pub const MANSCDP_ELEMENTS_MAX: usize = 20_000;

/// Bytes of one text of such a body; `ExtraInfo` has up to 1,024 characters. At it: the text is cut at a character.
pub const MANSCDP_TEXT_BYTES_MAX: usize = 4_096;

/// Questions and orders to devices under way at once, about 300 bytes each. At it: [`crate::gb28181::AskFailure::TooMany`].
pub const ASKS_MAX: usize = 8_192;

/// The same for one device, so that one that is silent leaves room for the others.
pub const ASKS_PER_DEVICE_MAX: usize = 64;

/// Seconds that the answer to a question or order is waited for; counted anew after each page of records.
pub const ASK_ANSWER_S: u64 = 10;

/// Records of one answer (a month of five-minute files of one camera has 8,928). At it: the answer counts as partial.
pub const RECORDS_MAX: usize = 20_000;

/// Records held for all answers that are coming in. At it: further pages are left out and the answers count as partial.
pub const RECORDS_HELD_MAX: usize = 200_000;

/// Items of any other list in an answer: presets, cruises, positions, cards. At it: the rest is left out.
pub const ANSWER_ITEMS_MAX: usize = 1_024;

/// Subscriptions at all devices together: four of every device of a large node. At it: refused.
pub const SUBSCRIPTIONS_MAX: usize = 40_000;

/// Nodes of a device's directory in the store that notifications may add. Beyond: left out until the next directory.
pub const DIRECTORY_NODES_MAX: i64 = 100_000;

/// Changes of single nodes of one device that wait for the store, a few hundred bytes each. Beyond: left out until the next
/// directory.
pub const NODE_CHANGES_WAITING_MAX: usize = 1_000;

/// Subscriptions for single channels at one device, such as a lower platform. At it: busy.
pub const CHANNEL_SUBSCRIPTIONS_MAX: usize = 1_000;

/// Seconds before the end of a subscription at which it is refreshed, or a third of its life if that is less.
pub const SUBSCRIBE_AHEAD_S: u64 = 60;

/// Seconds before a subscription that a device did not answer is tried again.
pub const SUBSCRIBE_RETRY_S: u64 = 60;

/// Items of one directory: the 100,000 channels of a large platform and the nodes above them. At it: further ones are left
/// out and the directory counts as partial.
pub const CATALOG_CHANNELS_MAX: usize = 120_000;

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

/// Playbacks and downloads of one channel at once. Recorders have a handful of channels to play on; at it: busy.
pub const PLAYBACKS_PER_CHANNEL_MAX: usize = 8;

/// Longest stretch of a record that is asked for at once. Recorders hold a file an hour or a day; at it: bad parameter.
pub const RECORD_SPAN_S_MAX: u32 = 86_400;

/// Playbacks and downloads of this node at once; each is a stream with a ring of its own. At it: busy.
pub const PLAYBACKS_MAX: usize = 1_000;

/// Channels of a device whose records are searched by one call for any channel. Beyond: bad parameter, a channel must be named.
pub const RECORD_SEARCH_CHANNELS_MAX: usize = 64;

/// Of them, so many are asked at once; fewer than [`ASKS_PER_DEVICE_MAX`], so that others are served meanwhile.
pub const RECORD_SEARCHES_AT_ONCE: usize = 4;

/// Download tasks that are known, with those that are done; about 300 bytes each. At it: busy.
pub const DOWNLOAD_TASKS_MAX: usize = 10_000;

/// How long after it was made a download waits for a device that is not there, in seconds: a week. After that it fails when
/// the device is found away again, and can be taken up by hand.
pub const DOWNLOAD_AWAY_S_MAX: i64 = 7 * 86_400;

/// Samples of one track of a downloaded file, about 40 bytes each while it is made: a day at 60 pictures a second. Beyond:
/// the task fails.
pub const DOWNLOAD_SAMPLES_MAX: usize = 6_000_000;

/// Bytes of a box of a part other than its media. Ours have a few hundred; a longer one is not read.
pub const DOWNLOAD_BOX_BYTES_MAX: u64 = 1 << 20;

/// Marks on the time line of a file. At it: busy.
pub const RECORD_MARKS_MAX: usize = 1_000;

/// Bytes of a mark, or of a name or description of a file. Beyond: bad parameter.
pub const RECORD_NOTE_BYTES_MAX: usize = 4_096;

/// Fastest speed at which a download is asked for.
pub const DOWNLOAD_SPEED_MAX: u8 = 16;

/// How long packets may be under way after a device said that it has sent all; more than a second, so that where it ended is
/// known from the counts that come once a second.
pub const PLAYBACK_DRAIN_MS: u64 = 1_200;

/// How long after we have ended a playback an end of file, told outside of a dialog, is taken for that of this playback and not of
/// another one of its channel.
pub const TORN_DOWN_MS: u64 = 2_000;

/// Bytes of an order to a device that plays back. Three short lines are needed; what is longer is none.
pub const MANSRTSP_BYTES_MAX: usize = 1024;

/// Payload types of a device's answer that are looked at: our offer has four. At it: the rest is left out.
pub const ANSWER_PAYLOADS_MAX: usize = 8;

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

/// Packets without anything that is known after which the payload is said to be unknown. What comes then is still looked at.
pub const NO_PS_PACKETS_MAX: u64 = 64;

/// Payload types of one source: a picture, a sound and a spare of each. At it: the oldest makes room.
pub const PAYLOAD_TYPES_MAX: usize = 4;

/// Packets that must look alike, one after the other, before a payload without a certain sign is taken for what it looks
/// like: of bytes that are anything, one packet in a dozen looks like H.264.
pub const PAYLOAD_LOOKS_MIN: u8 = 6;

/// The same for a payload that was already decided otherwise.
pub const PAYLOAD_LOOKS_TO_CHANGE_MIN: u8 = 16;

/// Streams remembered of a transport stream's program map. At it: the rest of the map is left out.
pub const TS_STREAMS_MAX: usize = 16;

/// Bytes of a section of a transport stream, the longest by the standard. At it: the section is left out.
pub const TS_SECTION_BYTES_MAX: usize = 1024;

/// Bytes of a PES header that was cut by a packet's end: 9 and 255. At it: impossible by construction.
pub const TS_PES_HEAD_BYTES_MAX: usize = 9 + 255 + 188;

/// Bytes of one AAC access unit that comes in several RTP packets, or of one packet of LATM. At it: dropped.
pub const AAC_UNIT_BYTES_MAX: usize = 8 * 1024;

// ---- egress ----

/// Media time kept before the newest key unit for viewers that are a little behind. At it: they go on at the key unit.
pub const FAN_SLACK_MS: u64 = 1_000;

/// Units in a rendition's ring: twenty seconds of picture and sound. At it: the oldest goes.
pub const FAN_UNITS_MAX: usize = 2_000;

/// Bytes that are joined into one piece for all viewers at a place in a rendition's ring: a large key frame with what is
/// beside it, and about what a socket takes at once. At it: the rest is the next write.
pub const FAN_JOIN_BYTES_MAX: usize = 256 << 10;

/// Bytes that the buffer of joined pieces keeps between two flushes. At it: the rest goes back to the allocator.
pub const FAN_JOIN_BYTES_KEPT: usize = 128 << 10;

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

/// Frames of one stream's sound that wait to be converted: a second or two. At it: new ones are dropped, counted.
pub const SOUND_FRAMES_WAITING_MAX: usize = 50;

/// Jobs of one sound thread that wait: half a second of 160 streams. At it: frames are dropped, counted, and no further
/// conversion begins.
pub const SOUND_JOBS_MAX: usize = 4_096;

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
/// Times our last flight is sent again to a client that repeats its own; it does so with doubled pauses, and has given up
/// by then. At it: not sent again.
pub const DTLS_LAST_FLIGHTS_MAX: u8 = 8;
/// Bytes of an SDP offer; Chromium with every codec sends 8,000. At it: refused.
pub const SDP_OFFER_BYTES_MAX: usize = 64 * 1024;
/// Packets of one RTCP compound of a viewer; browsers send up to 5. At it: the rest is not read.
pub const RTCP_COMPOUND_MAX: usize = 16;
/// Packets of one transport-wide feedback of a viewer; browsers send one every 50 to 250 ms, about some seventy. At it: it
/// is not read.
pub const TRANSPORT_FEEDBACK_PACKETS_MAX: usize = 1_024;
/// Times of sending that are remembered for a viewer's feedback: two seconds of pictures and sound. At it: the oldest is
/// forgotten, and feedback on it tells of loss only.
pub const BURSTS_KNOWN_MAX: usize = 96;
/// Milliseconds without picture for a viewer whose path cannot take the stream: twice a usual group of pictures, and the most
/// after repeated ones.
pub const CONGESTION_PAUSE_MS_MIN: u64 = 1_000;
pub const CONGESTION_PAUSE_MS_MAX: u64 = 16_000;
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
/// Addresses whose check was passed to another shard and is not yet known to have verified: joins of a moment, which take a
/// millisecond each. At it: all are forgotten; their viewers repeat a datagram.
pub const ROUTER_EXPECTED_MAX: usize = 1_024;
/// Bytes of an RTP payload, so that header, number, retransmission and tag stay in a datagram of 1,200 bytes, which passes
/// every path that WebRTC meets (RFC 8831, 5 has the same figure). At it: the packetiser cuts.
pub const RTP_PAYLOAD_BYTES_MAX: usize = 1200 - 12 - 8 - 2 - 16;

// ---- session ----

/// Calls of the API waiting for the control thread. At it: callers wait.
pub const CALLS_WAITING_MAX: usize = 1_024;

/// Events kept for a listener that is behind. At it: it loses the oldest and is told how many.
pub const EVENTS_WAITING_MAX: usize = 4_096;

/// Milliseconds that events gather before they go to the history: 200,000 of them a second find room meanwhile.
pub const EVENTS_GATHER_MS: u64 = 20;

/// Events of the media threads taken in one turn of the control thread. At it: SIP has its turn first.
pub const MEDIA_EVENTS_PER_TURN: usize = 1_024;

/// Batches of datagrams taken in one turn of the control thread. At it: calls and connections have their turn.
pub const SIP_BATCHES_PER_TURN: usize = 8;

/// Longest SIP datagram: the longest that UDP has. A Catalog of forty cameras is some 15 kB.
pub const SIP_DATAGRAM_BYTES_MAX: usize = 65_535;

/// Messages a second, and at once, from the address of a device, beyond what is paid back for good ones (see
/// [`crate::gb28181::gate`]). A gateway may stand for 20,000 devices, whose first logins come at once. At it: dropped, counted.
pub const SIP_DEVICE_MESSAGES_PER_S: u32 = 200;
pub const SIP_DEVICE_BURST: u32 = 10_000;

/// The same for a source at which no device is known. A few thousand cameras behind one NAT may log in at once. At it:
/// dropped, counted.
pub const SIP_SOURCE_MESSAGES_PER_S: u32 = 200;
pub const SIP_SOURCE_BURST: u32 = 5_000;

/// The same for all of these sources together: reading and refusing 2,000 messages takes a twentieth of a core. At it:
/// dropped, counted.
pub const SIP_STRANGERS_MESSAGES_PER_S: u32 = 2_000;
pub const SIP_STRANGERS_BURST: u32 = 20_000;

/// Sources whose rate is remembered, 64 bytes each. At it: the older half is forgotten.
pub const SIP_SOURCES_MAX: usize = 65_536;

/// Datagrams in a second from which on the control thread rests a little between turns, so that one wake-up serves several;
/// and that rest. An answer comes that much later.
pub const SIP_GATHER_FROM_PER_S: u32 = 1_000;
pub const SIP_GATHER_US: u64 = 3_000;

/// Answers given to the kernel by one call. More would overrun the receive buffer of a small gateway. At it: another call.
pub const SIP_SEND_BATCH: usize = 16;

/// Peers whose route is remembered. At it: all are forgotten and asked for again.
pub const ROUTES_KNOWN_MAX: usize = 65_536;
/// Seconds for which it is. A card or a tunnel that comes or goes changes routes. At it: asked for again.
pub const ROUTE_KNOWN_S_MAX: u64 = 60;

/// SIP connections in all and of one address (a recorder needs one, a NAT may hide many). At it: refused, counted.
pub const SIP_CONNS_MAX: usize = 20_000;
pub const SIP_CONNS_PER_SOURCE_MAX: usize = 1_024;
/// Messages read from connections that wait for the control thread. At it: readers wait, and TCP slows the peers.
pub const SIP_CONN_MESSAGES_WAITING_MAX: usize = 4_096;
/// Messages waiting for one connection that does not read. At it: the connection is given up.
pub const SIP_CONN_OUT_MAX: usize = 256;
/// Seconds in which a connection must have shown a device, and in which a message that has begun must be whole. At it:
/// closed, counted.
pub const SIP_CONN_STRANGER_S_MAX: u64 = 40;
pub const SIP_CONN_MESSAGE_S_MAX: u64 = 20;
/// Bytes of messages that have begun to come on all connections of one source, and on all connections. At it: the connection
/// that asks for more is closed, counted.
pub const SIP_HALF_READ_BYTES_PER_SOURCE_MAX: usize = 4 << 20;
pub const SIP_HALF_READ_BYTES_MAX: usize = 64 << 20;
/// Messages of connections taken in one turn of the control thread. At it: datagrams have their turn.
pub const SIP_CONN_MESSAGES_PER_TURN: usize = 64;
/// Seconds a SIP connection may be silent: three keepalive intervals of the slowest devices. At it: closed.
pub const SIP_CONN_IDLE_S_MAX: u64 = 600;
/// Bytes read from a SIP connection at once: memory of an idle one.
pub const SIP_CONN_READ_BYTES: usize = 4 << 10;
/// TLS handshakes of SIP under way, in all and of one address: each costs a millisecond of a core, and one that says nothing
/// holds its place. At it: closed at once, counted; devices try again.
pub const SIP_TLS_HANDSHAKES_MAX: usize = 1_024;
pub const SIP_TLS_HANDSHAKES_PER_SOURCE_MAX: usize = 128;
/// Seconds for a TLS handshake of SIP: three round trips of a bad mobile link. At it: closed, counted.
pub const SIP_TLS_HANDSHAKE_S_MAX: u64 = 10;
/// Connections with a finished handshake that wait for the control thread. At it: handshakes wait, within their time.
pub const SIP_TLS_WAITING_MAX: usize = 64;
/// Seconds that a challenge of GB 35114 can be answered: the patience of a transaction (64 T1) twice. At it: refused as late.
pub const GM_CHALLENGE_S_MAX: u64 = 64;
/// Seconds by which the Date of a message of GB 35114 may differ from our clock: cameras without NTP drift by minutes. At it:
/// refused as late.
pub const GM_DATE_WINDOW_S: i64 = 600;
/// Messages of one GB 35114 device that are remembered so that none counts twice, 16 bytes each: a directory of 1,000 messages
/// within one second of a clock without fractions, alarms and keepalives of ten minutes. At it: whatever is not newer than the
/// oldest of them is refused as late.
pub const GM_NOTES_KEPT_MAX: usize = 2_048;
/// Refusals of GB 35114 that wait for the shell, which takes them every second. At it: counted and logged only.
pub const GM_REFUSALS_WAITING_MAX: usize = 256;
/// Devices whose last refusal by GB 35114 is kept to be looked up. At it: no more are noted until a node starts.
pub const GM_REFUSALS_KEPT_MAX: usize = 4_096;
/// Keys of this node for GB 35114; certificate requests of devices, and devices that must prove themselves. At it: code 7.
pub const GM_SERVERS_MAX: usize = 16;
pub const GM_REQUESTS_MAX: usize = 4_096;
/// Days that a certificate which this node issues may be valid: twenty years. At it: code 4.
pub const GM_CERTIFICATE_DAYS_MAX: i64 = 7_300;
/// Bytes of a header value of GB 35114, and its parameters: two signatures and a sealed key have 700 and 7. At it: not read.
pub const GM_HEADER_BYTES_MAX: usize = 4 << 10;
pub const GM_HEADER_PARAMETERS_MAX: usize = 16;
/// Bytes of a certificate, request or revocation list that is read, as PEM. At it: refused.
pub const GM_CERTIFICATE_BYTES_MAX: usize = 64 << 10;
/// Failed TLS handshakes of SIP that are kept to be looked up, one line an address and kind. At it: the line that was quiet
/// for longest is forgotten.
pub const SIP_TLS_FAILURES_KEPT_MAX: usize = 256;

/// Seconds a caller has to bring its viewer after [`crate::session::Reply::Opened`]. At it: the session is closed.
pub const SESSION_CLAIM_S_MAX: u64 = 10;

/// Streams open or being opened at once, on all shards together: well under the 10,000 SSRCs that the GB/T 28181 numbering
/// gives one platform, so that quarantine always has some to hold back. At it: `Busy`.
pub const STREAMS_MAX: usize = 4096;

/// Sessions (viewers and those who wait) at once. About 300 bytes each. At it: `Busy`.
pub const SESSIONS_MAX: usize = 20_000;

/// Attempts of one opening whose steps are remembered: one a transport, and one more. At it: the oldest is forgotten.
pub const ATTEMPTS_TRACED_MAX: usize = 4;

/// Closed sessions whose record can still be asked for. At it: the oldest is forgotten.
pub const SESSIONS_CLOSED_MAX: usize = 1_000;

/// Channels of one device (a lower platform can have thousands). At it: the rest of the catalog is left out, the list is
/// marked partial, and it is counted.
pub const CHANNELS_PER_DEVICE_MAX: usize = 120_000;

/// Seconds an SSRC rests after its stream: a sender that missed our BYE must be silent, or be known as foreign, before its
/// number means another picture. At it: the SSRC can be given out again.
pub const SSRC_QUARANTINE_S: u64 = 60;

/// Seconds after which a shutdown is answered although devices have not answered BYE; the whole node has 5. At it: `Done`.
pub const SHUTDOWN_S_MAX: u64 = 4;

/// Seconds between two requests for a key frame of one stream: a device makes one in less, and a burst of losses is one
/// matter. At it: not asked again; the next key frame of its own comes.
pub const KEY_FRAME_ASK_S: u64 = 2;

/// Seconds that a port of a stream rests after it, for the same reason as its SSRC. At it: the port can be given out again.
pub const PORT_QUARANTINE_S: u64 = 60;

/// Ports tried for one stream when other programs have them open. At it: `Busy`.
pub const PORT_TRIES: u8 = 4;

/// Seconds until a named stream tries again to connect to a sender that refused. At it: the next attempt.
pub const INGEST_RETRY_S: u64 = 5;

// ---- net ----

/// Open files that a node may need beside its viewers': SIP and media connections, the database, the API.
pub const OPEN_FILES_BESIDE_VIEWERS: usize = 45_000;

/// WebRTC viewers of a stream on its own thread before others take some: each costs more than an FLV viewer.
pub const PEERS_BEFORE_SPREAD: usize = 8;

/// Packets a WebRTC viewer is given at once, and the pause before the next: 64 of 1,200 bytes in 4 ms are 150 Mbit/s, which
/// a key frame leaves by without overrunning a switch. At it: the rest follows after the pause.
pub const PACE_PACKETS: usize = 64;
pub const PACE_MS: u64 = 4;

/// Milliseconds that a packet of sound waits for the next picture of WebRTC viewers: one picture's time at 25 a second,
/// well within what a player's jitter buffer holds. At it: the sound goes by itself.
pub const SOUND_WITH_PICTURE_MS: u64 = 40;

/// Grid of the timers of WebRTC viewers, ms.
pub const PEER_TIMER_MS: u64 = 20;

/// Candidates in an answer: more only delay the checks. At it: the rest is left out.
pub const CANDIDATES_MAX: usize = 8;

/// Media threads. Each has a port and a queue of its own. At it: no more are started.
pub const SHARDS_MAX: usize = 64;

/// Socket buffer asked for per media thread: a third of a second of 400 streams of 2 Mbit/s. The kernel may give less.
pub const RTP_RECEIVE_BUFFER_BYTES: usize = 32 << 20;

/// The same for a port of one stream: two seconds of 8 Mbit/s.
pub const OWN_PORT_RECEIVE_BUFFER_BYTES: usize = 2 << 20;

/// The same for its RTCP port: some hundred reports.
pub const OWN_RTCP_PORT_RECEIVE_BUFFER_BYTES: usize = 64 << 10;

/// Socket buffers asked for SIP: some 8,000 registrations that come at once, after a power cut.
pub const SIP_SOCKET_BUFFER_BYTES: usize = 8 << 20;

/// Seconds that stopping a node may take. At it: what is left is left.
pub const STOP_S_MAX: u64 = 5;

/// HTTP connections that the router serves or that are being taken. Viewers handed to media threads do not count. At it:
/// closed at once.
pub const HTTP_CONNS_MAX: usize = 8_192;
/// Of these, of one address: a proxy may stand for many users, but no single one takes every place. At it: closed at once,
/// counted.
pub const HTTP_CONNS_PER_SOURCE_MAX: usize = HTTP_CONNS_MAX / 2;
/// Bytes and headers of a request head, and seconds it may take. At it: closed.
pub const HTTP_HEAD_BYTES_MAX: usize = 16 << 10;
pub const HTTP_HEADERS_MAX: usize = 64;
pub const HTTP_HEAD_S_MAX: u64 = 10;
/// Seconds a kept-alive connection may wait between requests. At it: closed.
pub const HTTP_IDLE_S_MAX: u64 = 75;
/// Seconds in which an HTTP connection takes no byte of an answer: a phone finds its net again in less. Viewers are given up
/// sooner, after [`VIEWER_STUCK_S_MAX`]. At it: closed, counted.
pub const HTTP_STUCK_S_MAX: u64 = 60;
/// Pause after a connection could not be taken (no descriptors left).
pub const ACCEPT_RETRY_MS: u64 = 50;

/// Ports tried when any free port will do but UDP and TCP must be the same.
pub const BIND_TRIES: usize = 16;

/// WebRTC connections (ICE-TCP) of one media thread and of one address: behind some proxies all viewers share one. At it:
/// closed at once, counted.
pub const ICE_TCP_CONNS_MAX: usize = 4_096;
pub const ICE_TCP_CONNS_PER_SOURCE_MAX: usize = 1_024;
/// Bytes of a frame from a viewer: checks, handshakes and reports fit into a datagram. At it: the connection is closed.
pub const ICE_TCP_FRAME_BYTES_MAX: usize = 2_048;
/// Bytes read from a WebRTC connection at once: some frames.
pub const ICE_TCP_READ_BYTES: usize = 8 << 10;
/// Bytes that wait for a WebRTC connection that takes no more: one pace of packets and a few reports. At it: reports are
/// left out; media is not put there at all while anything waits.
pub const ICE_TCP_OUT_BYTES_MAX: usize = 160 << 10;
/// Kernel's buffer of a WebRTC connection: half a second of 2 Mbit/s, so that a slow path shows before it delays much.
pub const ICE_TCP_SEND_BUFFER_BYTES: usize = 128 << 10;
/// Seconds until the first verified check of a WebRTC connection. At it: closed.
pub const ICE_TCP_CHECK_S_MAX: u64 = 10;

/// Socket buffers of the WebRTC port of one shard: small messages in, a frame for many viewers out.
pub const WEBRTC_RECEIVE_BUFFER_BYTES: usize = 4 << 20;
pub const WEBRTC_SEND_BUFFER_BYTES: usize = 8 << 20;

/// Viewers of a rendition on its stream's own thread before others take some. Below it one thread has time to spare, and
/// mirroring would cost more than it brings.
pub const VIEWERS_BEFORE_SPREAD: usize = 32;

/// How much larger a rendition's ring of units is than the hub's: the newest group of pictures, what is kept before it for
/// viewers a little behind, and the converted sound.
pub const FAN_RINGS: usize = 2;

/// RTP payloads of pictures kept for sending and resending beyond [`RTP_SLACK_MS`]: one group of about five seconds of 4
/// Mbit/s. At it: the oldest goes; a viewer that asks for it is given the next key frame instead.
pub const RTP_RING_PACKETS_MAX: usize = 2_048;
pub const RTP_RING_BYTES_MAX: usize = 8 << 20;
/// For how long pictures before the newest key frame can be sent again: several round trips of a bad path. At it: they go.
pub const RTP_SLACK_MS: u64 = 2_000;
/// RTP payloads of sound kept, which is five seconds in pieces of 20 ms. At it: the oldest goes.
pub const RTP_SOUND_PACKETS_MAX: usize = 256;

/// How long a picture waits for its sound before a stream counts as live: a sound that is there shows within a few packets.
pub const SOUND_WAIT_MS: u64 = 120;

/// How long sound that nothing describes waits for a picture before a stream counts as live with sound alone. Within the
/// frames that a hub keeps of sound ([`HUB_SOUND_FRAMES`] of 20 ms), which is what the wait is measured by.
pub const PICTURE_WAIT_MS: u64 = 800;

/// Readiness events taken in one turn of a media thread. At it: the rest comes with the next turn.
pub const SHARD_EVENTS_PER_TURN: usize = 1_024;

/// Orders waiting for a media thread. At it: the order is refused and counted, its session closed.
pub const SHARD_ORDERS_MAX: usize = 8_192;

/// State events waiting for a session core that is behind. At it: the event is dropped and counted.
pub const MEDIA_EVENTS_WAITING_MAX: usize = 65_536;

/// Events on their way to the session core. At it: statistics are dropped, state waits in the thread.
pub const MEDIA_EVENTS_MAX: usize = 16_384;

/// From this many streams on, a media thread pauses between turns so that packets gather to batches.
pub const COALESCE_STREAMS_MIN: usize = 4;
pub const COALESCE_US: u64 = 2_000;
/// From this many streams on, for longer: latency grows by 4 ms at most, and what a wake-up costs is shared by more packets.
pub const COALESCE_STREAMS_MANY: usize = 64;
pub const COALESCE_MANY_US: u64 = 4_000;

/// Media connections (RTP over TCP) of one thread. At it: refused, counted.
pub const MEDIA_CONNS_MAX: usize = 4_096;
/// Media connections of one address: a recorder sends each channel over its own. At it: refused, counted.
pub const MEDIA_CONNS_PER_SOURCE_MAX: usize = 512;
/// Seconds in which a media connection sends nothing or is not yet set up. At it: closed.
pub const MEDIA_CONN_IDLE_S_MAX: u64 = 20;
/// Seconds in which a media connection must have brought a packet of a stream that is waited for, whatever else it
/// brings. At it: closed, counted.
pub const MEDIA_CONN_CLAIM_S_MAX: u64 = 10;
/// Bytes read from a media connection in one call. At it: another call.
pub const MEDIA_CONN_READ_BYTES: usize = 64 << 10;

/// Units on their way to a viewer whose bytes someone else writes. At it: the viewer is behind and keeps its place.
pub const CHANNEL_UNITS_MAX: usize = 32;

/// Least bytes a hub's ring is given however many streams share the budget, and what a new stream counts for: a group of pictures of 1 s at 2 Mbit/s.
pub const RING_BYTES_MIN: usize = 256 << 10;

/// Seconds in which a viewer with something to take takes nothing. At it: closed.
pub const VIEWER_STUCK_S_MAX: u64 = 15;

/// Times a viewer may fall out of the ring within [`VIEWER_STRIKE_WINDOW_S`]. At it: closed; its path cannot take the stream.
pub const VIEWER_STRIKES_MAX: u32 = 20;
pub const VIEWER_STRIKE_WINDOW_S: u64 = 60;

/// Bytes that the kernel holds unsent for one viewer: two seconds at 2 Mbit/s, and more than a large key frame. At it: the
/// viewer is behind and keeps its place in the ring, until it falls out of that and goes on at a key frame. Without it the
/// kernel would take some megabytes, and a slow viewer would see a picture of half a minute ago.
pub const VIEWER_UNSENT_BYTES_MAX: u32 = 512 << 10;

/// Reads of 1 KiB from one viewer in one wake-up: it has nothing to say that matters. At it: the rest waits.
pub const VIEWER_READS_PER_WAKE: usize = 4;

/// Datagrams taken by one system call. Larger batches win little and cost stack.
pub const UDP_BATCH_PACKETS: usize = 64;

/// Longest datagram taken. RTP is sent below the path MTU of Ethernet; GB/T 28181 devices stay below 1,500. At it: cut.
pub const UDP_DATAGRAM_BYTES_MAX: usize = 2048;

/// Segments in one `UDP_SEGMENT` send: the kernel's own bound (UDP_MAX_SEGMENTS). At it: a second call.
pub const GSO_SEGMENTS_MAX: usize = 64;

/// Seconds after a query for alarms in which what a device tells is held against what is known.
pub const ALARMS_RETOLD_S: u64 = 60;

/// Devices that are asked for their alarms at once. At it: of the first that was asked, alarms come as new.
pub const ALARM_QUERIES_MAX: usize = 64;

/// Alarms of a device that are known while it is asked, the newest. At it: others come as new.
pub const ALARMS_KNOWN_MAX: usize = 1_000;

// ---- store and api ----

/// Seconds by which the clock of a device may be behind when it tells of something: it may have kept that for days. Beyond
/// it: the time when it came here is taken.
pub const DEVICE_CLOCK_BEHIND_S_MAX: i64 = 30 * 86_400;

/// The same, ahead: clocks that are not set, and time zones that are wrong.
pub const DEVICE_CLOCK_AHEAD_S_MAX: i64 = 300;

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

/// Entries of history that wait to be written, about 500 bytes each: two seconds of the positions of 20,000 devices. At
/// it: what somebody did waits, what a device told is dropped and counted.
pub const HISTORY_WAITING_MAX: usize = 8_192;

/// Entries of history in one transaction. At it: the rest goes into the next.
pub const HISTORY_BATCH_MAX: usize = 1_000;

/// Bytes of a name, a note or another text that people give. At it: refused with code 4.
pub const TEXT_BYTES_MAX: usize = 512;

/// Bytes of a request that are kept in the operation log. At it: cut at a character.
pub const OPERATION_BYTES_MAX: usize = 1_024;

/// Device groups, and as many categories and configuration plans. At it: refused as busy (7).
pub const GROUPS_MAX: u64 = 10_000;

/// Entries of the black and white lists together: every device of a large node. At it: refused as busy (7).
pub const ACCESS_ENTRIES_MAX: u64 = 100_000;

/// Ids in one call that changes many (bvcsp 1.4). At it: refused with code 4.
pub const IDS_PER_CALL_MAX: usize = 1_000;

/// Channels of a device that lists of devices show; the rest is asked for by page. At it: left out.
pub const LIST_CHANNELS_MAX: usize = 1_000;

/// Bytes of one uploaded picture. At it: refused with 413.
pub const SNAPSHOT_BYTES_MAX: usize = 16 << 20;

/// Seconds in which the pictures of an order are taken; ten of them at the usual distance are ten seconds. At it: the order
/// has failed, and its token is good no more.
pub const SNAPSHOT_ORDER_S: i64 = 900;

/// Bytes of all pictures on the disk. At it: the oldest orders go with their files.
pub const SNAPSHOT_DISK_BYTES_MAX: i64 = 8 << 30;

/// Orders for pictures whose files are kept. At it: the oldest goes with its files.
pub const SNAPSHOT_ORDERS_MAX: u64 = 10_000;

/// Seconds that a client may take to answer a command on `/ws/event/command`. At it: code 6 to who sent it.
pub const COMMAND_ANSWER_S: u64 = 10;

/// Commands to clients that wait for their answer. At it: refused as busy (7).
pub const COMMANDS_WAITING_MAX: usize = 1_024;

/// Bytes of a request body. At it: refused with code 4 (413 outside bvcsp). An SDP offer of a browser is 6 to 12 KiB.
pub const API_BODY_BYTES_MAX: usize = 256 * 1024;

/// Items of one page of a list. At it: the page is cut, and the answer's `pageSize` says so.
pub const API_PAGE_ITEMS_MAX: u32 = 1_000;

/// Fields of a body that are tried for which of them is wrong. Calls have twenty at most; beyond, the field is not named.
pub const API_FIELDS_TRIED_MAX: usize = 64;

/// Items of a list outside the database that are sorted for one page: a month of 64 channels with a file an hour
/// is a quarter of it. At it: refused as busy (7), with the advice to narrow the filter; unsorted pages are cut all the same.
pub const LIST_ITEMS_MAX: usize = 200_000;

/// Logins that are valid at one time. At it: the one that would end first is ended.
pub const LOGINS_MAX: usize = 10_000;

/// Failed logins of one source (an IPv4 address or an IPv6 /64) within [`LOGIN_PAUSE_S`]. At it: the source is refused
/// for that long, right password or not.
pub const LOGIN_FAILURES_MAX: u32 = 5;

/// Bytes of a device's own password: what devices have room for, and more. At it: refused with 400.
pub const DEVICE_PASSWORD_BYTES_MAX: usize = 64;

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

/// Devices whose position one WebSocket is told. At it: further ones are not added.
pub const EVENT_SOCKET_DEVICES_MAX: usize = 10_000;

/// Bytes of a message that a client sends on an event WebSocket; its content is ignored. At it: closed.
pub const EVENT_SOCKET_MESSAGE_BYTES_MAX: usize = 64 * 1024;

/// Channels of a device that is told whole when one of them changes (the largest recorders have 256). Beyond: only what changed is
/// told, so that a change costs no more than itself.
pub const EVENT_CHANNELS_MAX: usize = 256;

// ---- diagnosis ----

/// Datagrams of a capture that are being put together from fragments. At it: all of them are given up.
pub const CAPTURE_FRAGMENTS_MAX: usize = 256;

/// Segments of one direction of a captured connection that wait for a missing one. At it: the hole stays.
pub const CAPTURE_SEGMENTS_WAITING_MAX: usize = 256;

/// Bytes of a file that `gantry probe` reads: ten minutes of a dozen cameras. At it: refused.
pub const PROBE_FILE_BYTES_MAX: u64 = 1 << 30;

/// SIP messages and streams of a recording that are shown. At it: the rest is left out; messages are counted.
pub const PROBE_SIP_MESSAGES_MAX: usize = 10_000;
pub const PROBE_STREAMS_MAX: usize = 64;

// ---- sim ----

/// Bytes that a simulated device keeps for a platform that reads its TCP connection too slowly, about five seconds of a
/// picture. At it: frames are left out up to the next key frame, as cameras do.
pub const SIM_TCP_BACKLOG_BYTES_MAX: usize = 1 << 20;
/// Bytes of SIP that a connection of a simulated device has not taken. At it: the connection is given up, and opened again.
pub const SIM_SIP_BACKLOG_BYTES_MAX: usize = 256 << 10;

/// Devices of one simulation: their codes have seven digits of their own, five for the device and two for its channels.
/// At it: refused.
pub const SIM_DEVICES_MAX: u32 = 50_000;

/// Channels of one simulated device, the directory node included. At it: refused.
pub const SIM_CHANNELS_MAX: u32 = 99;

/// Views of one simulated device at the same time. At it: 486.
pub const SIM_MEDIA_MAX: usize = 64;

/// Subscriptions at one simulated device: four topics of two platforms, and eight of channels. At it: 503.
pub const SIM_SUBSCRIPTIONS_MAX: usize = 16;

/// Acts of simulated devices that their thread has not come to. At it: a further one is refused.
pub const SIM_ACTS_WAITING_MAX: usize = 4_096;

/// Alarms that one simulated device remembers for who asks. Beyond: the oldest is forgotten.
pub const SIM_ALARMS_KEPT_MAX: usize = 64;

/// Positions in one message of a simulated device: its own and those of its first channels. Beyond: left out.
pub const SIM_POSITIONS_MAX: usize = 4;

/// Upgrades and series of pictures that one simulated device has under way. At it: the order gets ERROR.
pub const SIM_JOBS_MAX: usize = 16;
