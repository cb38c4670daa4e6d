//! SDP: one offer of a viewer in, the one answer out.
//!
//! RFC 8829 (JSEP), RFC 8866, RFC 8839 (ICE), RFC 8842 (DTLS), RFC 9143 (BUNDLE), RFC 8285 (extmap), RFC 6184, 8.2.2 (H.264
//! offer/answer), RFC 7798, 7.2.2 (H.265), RFC 4588 (RTX), RFC 8830 (msid), RFC 6544 (ICE-TCP).
//!
//! What players depend on: every rtpmap line is a line of the offer, byte for byte; all candidates stand in the answer;
//! picture and sound share one msid stream; `setup:passive`, so that we choose the SRTP profile.
//! A line that can be filled is `sendonly`; one that cannot (no such track, a second line of a kind) stays in the BUNDLE as
//! `inactive`; other media (data channels) are refused with port 0.
//! Not done: sound from the browser (such offers are refused by [`AnswerError::Upstream`]), media without BUNDLE on several
//! ports, simulcast, FEC.
//!
//! Bounds: [`SDP_OFFER_BYTES_MAX`], [`SDP_MEDIA_MAX`].

use std::fmt::{self, Write};
use std::net::{IpAddr, SocketAddr};

use sdp_types::{Attribute, Media, Session};

use super::Address;
use super::dtls::{Fingerprint, Fingerprints};
use super::ice::Credentials;
use crate::limits::{SDP_MEDIA_MAX, SDP_OFFER_BYTES_MAX};
use crate::media::frame::{Codec, Track};

/// Transport-wide congestion control: the header extension that numbers packets over all streams of a viewer.
const TRANSPORT_CC: &str =
    "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01";
/// The one media stream that picture and sound belong to.
const STREAM: &str = "gantry";

/// What there is to send. AAC cannot go over WebRTC: its stand-in (Opus or G.711) must be given.
#[derive(Clone, Copy, Debug, Default)]
pub struct Offered<'a> {
    pub video: Option<&'a Track>,
    pub audio: Option<&'a Track>,
}

/// Our part of an answer.
#[derive(Clone, Copy, Debug)]
pub struct Local<'a> {
    pub credentials: &'a Credentials,
    /// Value of `a=fingerprint`.
    pub fingerprint: &'a str,
    /// Best first.
    pub candidates: &'a [Address],
    pub session: u64,
    pub cname: &'a str,
    pub video: Ssrcs,
    pub audio: Ssrcs,
}

#[derive(Clone, Copy, Debug)]
pub struct Ssrcs {
    pub media: u32,
    pub rtx: u32,
}

/// What was agreed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub text: String,
    pub remote_ufrag: String,
    pub fingerprints: Fingerprints,
    pub video: Option<Stream>,
    pub audio: Option<Stream>,
}

/// How one track is to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stream {
    pub payload_type: u8,
    /// Ticks of its RTP timestamp per second.
    pub clock_rate: u32,
    /// Payload type of retransmissions (RFC 4588).
    pub rtx: Option<u8>,
    /// The viewer may ask for lost packets.
    pub nack: bool,
    /// Id (1 to 14) of the transport-wide sequence number, if each packet is to carry one.
    pub transport_cc: Option<u8>,
}

/// Why an offer cannot be answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AnswerError {
    TooLong,
    TooManyMedia,
    Syntax(String),
    /// Something every browser sends is not there.
    Missing(&'static str),
    /// The offer wants us to be the DTLS client.
    Setup,
    /// The offer wants to send sound or picture to us.
    Upstream,
    /// A line is there for the track, but none of its payloads fits the codec.
    NoCommonCodec(Codec),
    /// No line of the offer can be filled from the stream.
    NothingToSend,
    /// The node was given no address to offer.
    NoCandidates,
}

impl fmt::Display for AnswerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AnswerError::TooLong => write!(f, "SDP offer over {SDP_OFFER_BYTES_MAX} bytes"),
            AnswerError::TooManyMedia => write!(f, "more than {SDP_MEDIA_MAX} media lines"),
            AnswerError::Syntax(why) => write!(f, "not an SDP offer: {why}"),
            AnswerError::Missing(what) => write!(f, "the SDP offer has no {what}"),
            AnswerError::Setup => f.write_str("the SDP offer must let us be the DTLS server"),
            AnswerError::Upstream => {
                f.write_str("sound or picture from the viewer (intercom) is not taken here")
            }
            AnswerError::NoCommonCodec(codec) => {
                write!(f, "the stream's {} is not in the SDP offer", codec.name())
            }
            AnswerError::NothingToSend => {
                f.write_str("the stream has nothing that the SDP offer wants")
            }
            AnswerError::NoCandidates => f.write_str("no address is known to offer to the viewer"),
        }
    }
}

impl std::error::Error for AnswerError {}

/// Answers an offer. LF-only line ends are taken too.
///
/// Errors: [`AnswerError`]; nothing is kept.
pub fn answer(offer: &str, offered: Offered<'_>, local: &Local<'_>) -> Result<Answer, AnswerError> {
    if offer.len() > SDP_OFFER_BYTES_MAX {
        return Err(AnswerError::TooLong);
    }
    if local.candidates.is_empty() {
        return Err(AnswerError::NoCandidates);
    }
    let session =
        Session::parse(offer.as_bytes()).map_err(|e| AnswerError::Syntax(e.to_string()))?;
    if session.medias.is_empty() {
        return Err(AnswerError::Missing("media line"));
    }
    if session.medias.len() > SDP_MEDIA_MAX {
        return Err(AnswerError::TooManyMedia);
    }
    let lines: Vec<Line<'_>> = session.medias.iter().map(Line::new).collect();
    refuse_upstream(&lines)?;
    let roles = cast(&lines, offered)?;
    let transport = Transport::read(&session, &lines, &roles)?;

    let mut answer = Answer {
        text: String::with_capacity(2048),
        remote_ufrag: transport.ufrag,
        fingerprints: transport.fingerprints,
        video: None,
        audio: None,
    };
    put_session(&mut answer.text, &session, &lines, &roles, local);
    for (line, role) in lines.iter().zip(&roles) {
        let stream = line.put(&mut answer.text, role, local);
        match (role, line.kind) {
            (Role::Send(_), Kind::Video) => answer.video = stream,
            (Role::Send(_), Kind::Audio) => answer.audio = stream,
            (Role::Send(_), Kind::Other) | (Role::Inactive | Role::Refuse, _) => {}
        }
    }
    Ok(answer)
}

/// Sound from the viewer: a line that only sends, or the intercom's pair of audio lines of which one sends.
fn refuse_upstream(lines: &[Line<'_>]) -> Result<(), AnswerError> {
    let audio = lines.iter().filter(|l| l.kind == Kind::Audio).count();
    let upstream = lines.iter().any(|l| match (l.kind, l.direction) {
        (Kind::Audio | Kind::Video, Direction::SendOnly) => true,
        (Kind::Audio, Direction::SendRecv) => audio > 1,
        (Kind::Video, Direction::SendRecv)
        | (Kind::Audio | Kind::Video, Direction::RecvOnly | Direction::Inactive)
        | (Kind::Other, _) => false,
    });
    if upstream {
        return Err(AnswerError::Upstream);
    }
    Ok(())
}

/// Gives every line its role.
fn cast(lines: &[Line<'_>], offered: Offered<'_>) -> Result<Vec<Role>, AnswerError> {
    let (mut video, mut audio) = (offered.video, offered.audio);
    let mut no_common = None;
    let mut roles = Vec::with_capacity(lines.len());
    for line in lines {
        let track = match (line.kind, line.direction) {
            (_, Direction::SendOnly | Direction::Inactive) | (Kind::Other, _) => None,
            (Kind::Video, Direction::RecvOnly | Direction::SendRecv) => video.take(),
            (Kind::Audio, Direction::RecvOnly | Direction::SendRecv) => audio.take(),
        };
        let chosen = track.and_then(|t| line.choose(t));
        if let (Some(track), None) = (track, &chosen) {
            // A stream without its picture would be no answer to "show me"; without its sound it is.
            if track.codec.is_video() {
                return Err(AnswerError::NoCommonCodec(track.codec));
            }
            no_common = Some(track.codec);
        }
        roles.push(match (chosen, line.kind) {
            (Some(choice), _) => Role::Send(choice),
            (None, Kind::Audio | Kind::Video) if !line.payloads.is_empty() => Role::Inactive,
            (None, Kind::Audio | Kind::Video | Kind::Other) => Role::Refuse,
        });
    }
    if roles.iter().any(|r| matches!(r, Role::Send(_))) {
        Ok(roles)
    } else {
        Err(no_common.map_or(AnswerError::NothingToSend, AnswerError::NoCommonCodec))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Audio,
    Video,
    Other,
}

/// From the offerer's side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Direction {
    SendRecv,
    SendOnly,
    RecvOnly,
    Inactive,
}

enum Role {
    Send(Choice),
    Inactive,
    Refuse,
}

/// A payload of the offer that fits a track.
struct Choice {
    payload: u8,
    clock_rate: u32,
    /// What `a=fmtp` of the answer says, without the payload number.
    fmtp: Option<String>,
}

/// One media line of the offer.
struct Line<'a> {
    media: &'a Media,
    kind: Kind,
    direction: Direction,
    payloads: Vec<u8>,
}

impl<'a> Line<'a> {
    fn new(media: &'a Media) -> Self {
        let kind = match media.media.as_str() {
            "audio" => Kind::Audio,
            "video" => Kind::Video,
            _ => Kind::Other,
        };
        let has = |name| values(&media.attributes, name).next().is_some();
        let direction = if has("sendonly") {
            Direction::SendOnly
        } else if has("recvonly") {
            Direction::RecvOnly
        } else if has("inactive") || (media.port == 0 && !has("bundle-only")) {
            Direction::Inactive
        } else {
            Direction::SendRecv
        };
        let payloads = media
            .fmt
            .split_ascii_whitespace()
            .filter_map(|p| p.parse().ok())
            .filter(|p| *p < 128)
            .collect();
        Line {
            media,
            kind,
            direction,
            payloads,
        }
    }

    /// The first value of an attribute.
    fn value(&self, name: &str) -> Option<&'a str> {
        values(&self.media.attributes, name).next()
    }

    /// The rest of the first `name` line of a payload.
    fn of_payload(&self, name: &str, payload: u8) -> Option<&'a str> {
        values(&self.media.attributes, name).find_map(|v| strip_payload(v, payload))
    }

    /// Encoding name and clock rate. The static payloads 0 and 8 need no rtpmap (RFC 3551, 6).
    fn encoding(&self, payload: u8) -> Option<(&'a str, u32)> {
        match self.of_payload("rtpmap", payload) {
            Some(map) => {
                let mut parts = map.trim().split('/');
                Some((parts.next()?, parts.next()?.parse().ok()?))
            }
            None if payload == 0 => Some(("PCMU", 8000)),
            None if payload == 8 => Some(("PCMA", 8000)),
            None => None,
        }
    }

    /// The payload that fits a track best. Among equals the offer's order decides.
    fn choose(&self, track: &Track) -> Option<Choice> {
        let (name, clock_rate) = match track.codec {
            Codec::H264 => ("H264", 90_000),
            Codec::H265 => ("H265", 90_000),
            Codec::G711A => ("PCMA", 8000),
            Codec::G711U => ("PCMU", 8000),
            Codec::Opus => ("opus", 48_000),
            Codec::Aac | Codec::G722 | Codec::G726(_) => return None,
        };
        let fitting = self.payloads.iter().filter(|p| {
            self.encoding(**p)
                .is_some_and(|(n, c)| n.eq_ignore_ascii_case(name) && c == clock_rate)
        });
        let sps = track.video().map_or(&[][..], |v| &v.sps);
        let payload = *fitting.min_by_key(|p| {
            let fmtp = self.of_payload("fmtp", **p).unwrap_or("");
            match track.codec {
                Codec::H264 => h264_distance(fmtp, sps),
                Codec::H265 => h265_distance(fmtp, sps),
                Codec::G711A
                | Codec::G711U
                | Codec::G722
                | Codec::G726(_)
                | Codec::Opus
                | Codec::Aac => 0,
            }
        })?;
        let offered = self.of_payload("fmtp", payload);
        let fmtp = match track.codec {
            Codec::H264 => offered.map(|f| h264_answer(f, sps)),
            Codec::H265 | Codec::Opus => offered.map(str::to_owned),
            Codec::G711A | Codec::G711U | Codec::G722 | Codec::G726(_) | Codec::Aac => None,
        };
        Some(Choice {
            payload,
            clock_rate,
            fmtp,
        })
    }

    /// Payload of the retransmissions of `payload` (RFC 4588, 8.6).
    fn rtx_of(&self, payload: u8) -> Option<u8> {
        self.payloads.iter().copied().find(|p| {
            self.encoding(*p)
                .is_some_and(|(n, _)| n.eq_ignore_ascii_case("rtx"))
                && self
                    .of_payload("fmtp", *p)
                    .and_then(|f| parameter(f, "apt"))
                    .and_then(|apt| apt.parse().ok())
                    == Some(payload)
        })
    }

    /// Id of the transport-wide extension, if it fits the one-byte form and the viewer takes it, and what the answer puts
    /// behind the id: the direction turned round (RFC 8285, 6).
    fn transport_cc(&self) -> Option<(u8, &'static str)> {
        values(&self.media.attributes, "extmap").find_map(|v| {
            let (id, uri) = v.split_once(' ')?;
            let (id, direction) = match id.split_once('/') {
                None => (id, ""),
                Some((id, "sendrecv")) => (id, ""),
                Some((id, "recvonly")) => (id, "/sendonly"),
                Some(_) => return None,
            };
            let id: u8 = id.parse().ok()?;
            (uri.trim() == TRANSPORT_CC && (1..=14).contains(&id)).then_some((id, direction))
        })
    }

    /// Writes the line's part of the answer.
    fn put(&self, out: &mut String, role: &Role, local: &Local<'_>) -> Option<Stream> {
        let first = local.candidates[0].socket_addr();
        let choice = match role {
            Role::Refuse => {
                put_line(
                    out,
                    format_args!(
                        "m={} 0 {} {}",
                        self.media.media, self.media.proto, self.media.fmt
                    ),
                );
                put_line(out, format_args!("c=IN IP4 0.0.0.0"));
                put_line(out, format_args!("a=inactive"));
                self.put_mid(out);
                return None;
            }
            Role::Inactive => None,
            Role::Send(choice) => Some(choice),
        };
        let payload = choice.map_or(self.payloads[0], |c| c.payload);
        let stream = choice.map(|c| self.stream(c));
        let rtx = stream.and_then(|s| s.rtx);
        let _ = write!(
            out,
            "m={} {} {} {payload}",
            self.media.media,
            first.port(),
            self.media.proto
        );
        if let Some(rtx) = rtx {
            let _ = write!(out, " {rtx}");
        }
        out.push_str("\r\n");
        put_line(out, format_args!("c=IN {}", connection(first)));
        self.put_mid(out);
        self.put_transport(out, local);
        put_line(
            out,
            format_args!(
                "a={}",
                if choice.is_some() {
                    "sendonly"
                } else {
                    "inactive"
                }
            ),
        );
        if stream.is_some_and(|s| s.transport_cc.is_some())
            && let Some((id, direction)) = self.transport_cc()
        {
            put_line(out, format_args!("a=extmap:{id}{direction} {TRANSPORT_CC}"));
        }
        if let Some(map) = self.of_payload("rtpmap", payload) {
            put_line(out, format_args!("a=rtpmap:{payload} {map}"));
        }
        if let (Some(choice), Some(stream)) = (choice, &stream) {
            self.put_feedback(out, payload, stream);
            if let Some(fmtp) = &choice.fmtp {
                put_line(out, format_args!("a=fmtp:{payload} {fmtp}"));
            }
            self.put_sources(out, rtx, local);
        }
        local.put_candidates(out);
        stream
    }

    fn stream(&self, choice: &Choice) -> Stream {
        let feedback = |name: &str| self.feedback(choice.payload).any(|f| f == name);
        let is_video = self.kind == Kind::Video;
        let nack = is_video && feedback("nack");
        let rtx = if nack {
            self.rtx_of(choice.payload)
        } else {
            None
        };
        // Without RTX a lost packet is sent again under its own sequence number, and SRTP allows that only if it is the same
        // to the last bit: it must not carry a number of its own.
        let numbered = feedback("transport-cc") && (rtx.is_some() || !nack);
        Stream {
            payload_type: choice.payload,
            clock_rate: choice.clock_rate,
            rtx,
            nack,
            transport_cc: self.transport_cc().filter(|_| numbered).map(|(id, _)| id),
        }
    }

    /// Feedback that the offer names for a payload or for all.
    fn feedback(&self, payload: u8) -> impl Iterator<Item = &'a str> {
        values(&self.media.attributes, "rtcp-fb").filter_map(move |v| {
            strip_payload(v, payload).or_else(|| v.strip_prefix("* ").map(str::trim))
        })
    }

    fn put_feedback(&self, out: &mut String, payload: u8, stream: &Stream) {
        for name in ["nack", "nack pli", "ccm fir", "goog-remb", "transport-cc"] {
            let ours = match name {
                "nack" => stream.nack,
                "transport-cc" => stream.transport_cc.is_some(),
                _ => self.kind == Kind::Video,
            };
            if ours && self.feedback(payload).any(|f| f == name) {
                put_line(out, format_args!("a=rtcp-fb:{payload} {name}"));
            }
        }
    }

    fn put_sources(&self, out: &mut String, rtx: Option<u8>, local: &Local<'_>) {
        let (ssrcs, track) = match self.kind {
            Kind::Video => (local.video, "video"),
            Kind::Audio | Kind::Other => (local.audio, "audio"),
        };
        put_line(out, format_args!("a=msid:{STREAM} {track}"));
        if let Some(rtx) = rtx {
            for name in ["rtpmap", "fmtp"] {
                if let Some(value) = self.of_payload(name, rtx) {
                    put_line(out, format_args!("a={name}:{rtx} {value}"));
                }
            }
            put_line(
                out,
                format_args!("a=ssrc-group:FID {} {}", ssrcs.media, ssrcs.rtx),
            );
        }
        let count = if rtx.is_some() { 2 } else { 1 };
        for ssrc in [ssrcs.media, ssrcs.rtx].iter().take(count) {
            put_line(out, format_args!("a=ssrc:{ssrc} cname:{}", local.cname));
            put_line(out, format_args!("a=ssrc:{ssrc} msid:{STREAM} {track}"));
        }
    }

    fn put_mid(&self, out: &mut String) {
        if let Some(mid) = self.value("mid") {
            put_line(out, format_args!("a=mid:{mid}"));
        }
    }

    fn put_transport(&self, out: &mut String, local: &Local<'_>) {
        put_line(out, format_args!("a=ice-ufrag:{}", local.credentials.ufrag));
        put_line(
            out,
            format_args!("a=ice-pwd:{}", local.credentials.password),
        );
        put_line(out, format_args!("a=fingerprint:{}", local.fingerprint));
        put_line(out, format_args!("a=setup:passive"));
        put_line(out, format_args!("a=rtcp-mux"));
        if self.value("rtcp-rsize").is_some() {
            put_line(out, format_args!("a=rtcp-rsize"));
        }
    }
}

impl Local<'_> {
    /// Host candidates of component 1 (RFC 8839, 5.1; RFC 6544, 4.5 for TCP).
    fn put_candidates(&self, out: &mut String) {
        const HOST: u32 = 126;
        for (i, candidate) in self.candidates.iter().enumerate() {
            // TCP after any UDP; inside a kind as given.
            let (transport, preference, tail) = match candidate {
                Address::Udp(_) => ("udp", 65_535, ""),
                Address::Tcp(_) => ("tcp", 32_767, " tcptype passive"),
            };
            let priority = (HOST << 24) + ((preference - (i as u32).min(255)) << 8) + 255;
            let addr = candidate.socket_addr();
            put_line(
                out,
                format_args!(
                    "a=candidate:{} 1 {transport} {priority} {} {} typ host{tail}",
                    i + 1,
                    addr.ip().to_canonical(),
                    addr.port()
                ),
            );
        }
        put_line(out, format_args!("a=end-of-candidates"));
    }
}

/// What the offer says about its transport. All lines share one (BUNDLE), so the first line we use speaks for it.
struct Transport {
    ufrag: String,
    fingerprints: Fingerprints,
}

impl Transport {
    fn read(session: &Session, lines: &[Line<'_>], roles: &[Role]) -> Result<Self, AnswerError> {
        let used: Vec<&Line<'_>> = lines
            .iter()
            .zip(roles)
            .filter_map(|(l, r)| matches!(r, Role::Send(_)).then_some(l))
            .collect();
        let first = used.first().ok_or(AnswerError::NothingToSend)?;
        let of = |name| {
            first
                .value(name)
                .or_else(|| values(&session.attributes, name).next())
        };
        if used.iter().any(|l| l.value("rtcp-mux").is_none()) {
            return Err(AnswerError::Missing("a=rtcp-mux"));
        }
        let bundle: Vec<&str> = bundle(session);
        let bundled = |l: &&Line<'_>| l.value("mid").is_some_and(|m| bundle.contains(&m));
        if used.len() > 1 && !used.iter().all(bundled) {
            return Err(AnswerError::Missing("a=group:BUNDLE over its lines"));
        }
        match of("setup") {
            Some("actpass" | "active") => {}
            Some(_) | None => return Err(AnswerError::Setup),
        }
        let ufrag = of("ice-ufrag").ok_or(AnswerError::Missing("a=ice-ufrag"))?;
        // RFC 8839, 5.4: 4 to 256 characters.
        if !(4..=256).contains(&ufrag.len()) {
            return Err(AnswerError::Syntax(
                "a=ice-ufrag of a wrong length".to_owned(),
            ));
        }
        let fingerprints: Fingerprints = values(&first.media.attributes, "fingerprint")
            .chain(values(&session.attributes, "fingerprint"))
            .filter_map(Fingerprint::parse)
            .take(4)
            .collect();
        if fingerprints.is_empty() {
            return Err(AnswerError::Missing("a=fingerprint with SHA-256 or better"));
        }
        Ok(Transport {
            ufrag: ufrag.to_owned(),
            fingerprints,
        })
    }
}

/// The mids of the first BUNDLE group.
fn bundle(session: &Session) -> Vec<&str> {
    values(&session.attributes, "group")
        .find_map(|g| g.strip_prefix("BUNDLE"))
        .map(|mids| mids.split_ascii_whitespace().collect())
        .unwrap_or_default()
}

fn put_session(
    out: &mut String,
    session: &Session,
    lines: &[Line<'_>],
    roles: &[Role],
    local: &Local<'_>,
) {
    put_line(out, format_args!("v=0"));
    put_line(out, format_args!("o=- {} 1 IN IP4 0.0.0.0", local.session));
    put_line(out, format_args!("s=-"));
    put_line(out, format_args!("t=0 0"));
    put_line(out, format_args!("a=ice-lite"));
    let bundle = bundle(session);
    if !bundle.is_empty() {
        out.push_str("a=group:BUNDLE");
        for (line, role) in lines.iter().zip(roles) {
            match (role, line.value("mid")) {
                (Role::Send(_) | Role::Inactive, Some(mid)) if bundle.contains(&mid) => {
                    let _ = write!(out, " {mid}");
                }
                (Role::Send(_) | Role::Inactive | Role::Refuse, _) => {}
            }
        }
        out.push_str("\r\n");
    }
    put_line(out, format_args!("a=msid-semantic: WMS {STREAM}"));
}

fn put_line(out: &mut String, line: fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = out.write_fmt(line);
    out.push_str("\r\n");
}

/// `IP4 192.0.2.1` or `IP6 2001:db8::1`.
fn connection(addr: SocketAddr) -> String {
    match addr.ip().to_canonical() {
        IpAddr::V4(ip) => format!("IP4 {ip}"),
        IpAddr::V6(ip) => format!("IP6 {ip}"),
    }
}

/// All values of an attribute; "" for a flag.
fn values<'a>(attributes: &'a [Attribute], name: &str) -> impl Iterator<Item = &'a str> {
    attributes
        .iter()
        .filter(move |a| a.attribute == name)
        .map(|a| a.value.as_deref().unwrap_or(""))
}

/// `96 rest` → `rest` if the number is `payload`.
fn strip_payload(value: &str, payload: u8) -> Option<&str> {
    let (number, rest) = value.split_once(' ')?;
    (number.parse() == Ok(payload)).then_some(rest)
}

/// One parameter of an fmtp value.
fn parameter<'a>(fmtp: &'a str, name: &str) -> Option<&'a str> {
    fmtp.split(';').find_map(|p| {
        let (n, v) = p.split_once('=')?;
        n.trim().eq_ignore_ascii_case(name).then(|| v.trim())
    })
}

/// Profiles of H.264 by what a decoder must be able to do, weakest first (RFC 6184, 8.1, table 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum H264Profile {
    ConstrainedBaseline,
    Baseline,
    Main,
    High,
    Other,
}

impl H264Profile {
    fn new(idc: u8, constraints: u8) -> Self {
        match (idc, constraints) {
            (0x42, c) if c & 0x40 != 0 => H264Profile::ConstrainedBaseline,
            (0x4d, c) if c & 0x80 != 0 => H264Profile::ConstrainedBaseline,
            (0x42, _) => H264Profile::Baseline,
            (0x4d, _) => H264Profile::Main,
            (0x64, _) => H264Profile::High,
            _ => H264Profile::Other,
        }
    }
}

/// profile_idc, constraint flags, level_idc. Without the parameter: Baseline, level 1 (RFC 6184, 8.1).
fn profile_level_id(fmtp: &str) -> [u8; 3] {
    parameter(fmtp, "profile-level-id")
        .filter(|id| id.len() == 6)
        .and_then(|id| u32::from_str_radix(id, 16).ok())
        .map_or([0x42, 0, 10], |id| {
            let b = id.to_be_bytes();
            [b[1], b[2], b[3]]
        })
}

/// How badly a payload fits a stream. Packets are made for mode 1, so mode 0 is the last resort. Then the same profile, the
/// next one that includes it, the next weaker one: cameras send High, Chromium offers at most Main and decodes it.
fn h264_distance(fmtp: &str, sps: &[u8]) -> u32 {
    let [idc, constraints, _] = profile_level_id(fmtp);
    let offered = H264Profile::new(idc, constraints);
    let stream = match sps {
        [_, idc, constraints, ..] => H264Profile::new(*idc, *constraints),
        _ => H264Profile::ConstrainedBaseline,
    };
    let profile = if offered == stream {
        0
    } else if offered == H264Profile::Other {
        30
    } else if offered > stream {
        offered as u32 - stream as u32
    } else {
        10 + (stream as u32 - offered as u32)
    };
    let mode = match parameter(fmtp, "packetization-mode") {
        Some("1") => 0,
        Some(_) | None => 100,
    };
    profile + mode
}

/// The answer's parameters. The profile must stay the offer's, by which browsers find the payload again; the level is the
/// stream's where the offer allows levels to differ (RFC 6184, 8.2.2).
fn h264_answer(fmtp: &str, sps: &[u8]) -> String {
    let [idc, constraints, mut level] = profile_level_id(fmtp);
    let asymmetric = parameter(fmtp, "level-asymmetry-allowed") == Some("1");
    if let (true, [_, _, _, stream, ..]) = (asymmetric, sps) {
        level = *stream;
    }
    let mut out = String::new();
    if asymmetric {
        out.push_str("level-asymmetry-allowed=1;");
    }
    if let Some(mode @ ("0" | "1")) = parameter(fmtp, "packetization-mode") {
        let _ = write!(out, "packetization-mode={mode};");
    }
    let _ = write!(
        out,
        "profile-level-id={idc:02x}{constraints:02x}{level:02x}"
    );
    out
}

/// Same profile first (RFC 7798, 7.1: profile-id is 1, Main, if absent). general_profile_idc is in the fourth byte of the
/// SPS (H.265, 7.3.2.2 and 7.3.3).
fn h265_distance(fmtp: &str, sps: &[u8]) -> u32 {
    let offered = parameter(fmtp, "profile-id").unwrap_or("1");
    let stream = sps.get(3).map_or(1, |b| b & 0x1f);
    u32::from(offered.parse() != Ok(stream))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::media::frame::{AudioParams, Params, TrackId, VideoParams};

    fn video(codec: Codec, sps: &'static [u8]) -> Track {
        Track {
            id: TrackId::Video,
            codec,
            params: Arc::new(Params::Video(VideoParams {
                sps: sps.into(),
                ..VideoParams::default()
            })),
        }
    }

    fn audio(codec: Codec) -> Track {
        let params = AudioParams {
            sample_rate: 8000,
            channels: 1,
            config: bytes::Bytes::new(),
        };
        Track {
            id: TrackId::Audio,
            codec,
            params: Arc::new(Params::Audio(params)),
        }
    }

    const HIGH_40: &[u8] = &[0x67, 0x64, 0x00, 0x28, 0xac];
    const MAIN_31: &[u8] = &[0x67, 0x4d, 0x00, 0x1f, 0xac];
    const BASELINE_30: &[u8] = &[0x67, 0x42, 0xc0, 0x1e, 0xac];

    const TRANSPORT: &str = "a=ice-ufrag:yrZq\r\na=ice-pwd:JuXW8Wt4KDbUIuZSmLnJBDsF\r\na=setup:actpass\r\n\
        a=fingerprint:sha-256 00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF\r\n";
    const FEEDBACK: [&str; 5] = ["goog-remb", "transport-cc", "ccm fir", "nack", "nack pli"];

    /// Video payloads as Chromium 156 lists them: H.264 in four profiles and two modes, each with rtx, between others.
    const CHROMIUM_H264: [(u8, u8, &str); 8] = [
        (102, 1, "42001f"),
        (104, 0, "42001f"),
        (108, 1, "42e01f"),
        (114, 0, "42e01f"),
        (116, 1, "4d001f"),
        (39, 0, "4d001f"),
        (41, 1, "f4001f"),
        (43, 0, "f4001f"),
    ];

    fn chromium_audio(mid: &str, direction: &str) -> String {
        format!(
            "m=audio 9 UDP/TLS/RTP/SAVPF 111 63 9 0 8 13 110 126\r\nc=IN IP4 0.0.0.0\r\n{TRANSPORT}a=mid:{mid}\r\n\
             a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level\r\na=extmap:3 {TRANSPORT_CC}\r\na={direction}\r\n\
             a=rtcp-mux\r\na=rtcp-rsize\r\na=rtpmap:111 opus/48000/2\r\na=rtcp-fb:111 transport-cc\r\n\
             a=fmtp:111 minptime=10;useinbandfec=1\r\na=rtpmap:63 red/48000/2\r\na=fmtp:63 111/111\r\na=rtpmap:9 G722/8000\r\n\
             a=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:13 CN/8000\r\na=rtpmap:110 telephone-event/48000\r\n\
             a=rtpmap:126 telephone-event/8000\r\n"
        )
    }

    fn chromium_video(mid: &str, direction: &str) -> String {
        let mut list = String::from("96 97");
        let mut maps = String::new();
        let mut one = |pt: u8, rtx: u8, map: &str, fmtp: &str| {
            if pt != 96 {
                let _ = write!(list, " {pt} {rtx}");
            }
            let _ = write!(maps, "a=rtpmap:{pt} {map}\r\n");
            FEEDBACK.iter().for_each(|f| {
                let _ = write!(maps, "a=rtcp-fb:{pt} {f}\r\n");
            });
            if !fmtp.is_empty() {
                let _ = write!(maps, "a=fmtp:{pt} {fmtp}\r\n");
            }
            let _ = write!(
                maps,
                "a=rtpmap:{rtx} rtx/90000\r\na=fmtp:{rtx} apt={pt}\r\n"
            );
        };
        one(96, 97, "VP8/90000", "");
        for (pt, mode, id) in CHROMIUM_H264 {
            one(
                pt,
                pt + 1,
                "H264/90000",
                &format!(
                    "level-asymmetry-allowed=1;packetization-mode={mode};profile-level-id={id}"
                ),
            );
        }
        one(45, 46, "AV1/90000", "level-idx=5;profile=0;tier=0");
        format!(
            "m=video 9 UDP/TLS/RTP/SAVPF {list}\r\nc=IN IP4 0.0.0.0\r\n{TRANSPORT}a=mid:{mid}\r\n\
             a=extmap:14 urn:ietf:params:rtp-hdrext:toffset\r\na=extmap:3 {TRANSPORT_CC}\r\na={direction}\r\na=rtcp-mux\r\n\
             a=rtcp-rsize\r\n{maps}"
        )
    }

    fn offer(lines: &[String]) -> String {
        let mids: String = (0..lines.len()).map(|n| format!(" {n}")).collect();
        format!(
            "v=0\r\no=- 33835671 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE{mids}\r\na=extmap-allow-mixed\r\n\
             a=msid-semantic: WMS\r\n{}",
            lines.concat()
        )
    }

    fn run(
        offer: &str,
        video: Option<&Track>,
        audio: Option<&Track>,
    ) -> Result<Answer, AnswerError> {
        let credentials = Credentials {
            ufrag: "AAAAAAAAAA".into(),
            password: "0123456789012345678901".into(),
        };
        let local = Local {
            credentials: &credentials,
            fingerprint: "sha-256 FF:EE",
            candidates: &[
                Address::Udp(([127, 0, 0, 1], 9782).into()),
                Address::Udp("[2001:db8::1]:9782".parse().expect("an address")),
                Address::Tcp(([127, 0, 0, 1], 9783).into()),
            ],
            session: 77,
            cname: "c",
            video: Ssrcs {
                media: 1001,
                rtx: 1002,
            },
            audio: Ssrcs {
                media: 2001,
                rtx: 2002,
            },
        };
        answer(offer, Offered { video, audio }, &local)
    }

    /// Holds for every answer: each rtpmap is a line of the offer, the m-lines are the offer's in order, one msid stream.
    fn check(offer: &str, text: &str) {
        let lines = |s: &str, p: &str| -> Vec<String> {
            s.lines()
                .filter(|l| l.starts_with(p))
                .map(str::to_owned)
                .collect()
        };
        for map in lines(text, "a=rtpmap:") {
            assert!(offer.lines().any(|l| l == map), "{map} is not in the offer");
        }
        let kinds = |s| {
            lines(s, "m=")
                .iter()
                .map(|l| l.split(' ').next().map(str::to_owned))
                .collect::<Vec<_>>()
        };
        assert_eq!(kinds(text), kinds(offer));
        assert_eq!(lines(text, "a=mid:"), lines(offer, "a=mid:"));
        assert!(
            lines(text, "a=msid:")
                .iter()
                .all(|l| l.starts_with("a=msid:gantry "))
        );
        assert!(
            text.split("\r\n").all(|l| !l.contains('\n')),
            "CRLF everywhere"
        );
        assert!(Session::parse(text.as_bytes()).is_ok());
    }

    #[test]
    fn chromium_gets_its_picture_and_sound() {
        let offer = offer(&[
            chromium_audio("0", "recvonly"),
            chromium_video("1", "recvonly"),
        ]);
        let a = run(
            &offer,
            Some(&video(Codec::H264, HIGH_40)),
            Some(&audio(Codec::G711A)),
        )
        .expect("an answer");
        check(&offer, &a.text);
        // High is not offered: the strongest of the weaker ones, mode 1, with the stream's level.
        assert_eq!(
            a.video,
            Some(Stream {
                payload_type: 116,
                clock_rate: 90_000,
                rtx: Some(117),
                nack: true,
                transport_cc: Some(3)
            })
        );
        assert_eq!(
            a.audio,
            Some(Stream {
                payload_type: 8,
                clock_rate: 8000,
                rtx: None,
                nack: false,
                transport_cc: None
            })
        );
        assert_eq!(a.remote_ufrag, "yrZq");
        assert_eq!(a.fingerprints.len(), 1);
        let want = "v=0\r\no=- 77 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=ice-lite\r\na=group:BUNDLE 0 1\r\na=msid-semantic: WMS gantry\r\n\
            m=audio 9782 UDP/TLS/RTP/SAVPF 8\r\nc=IN IP4 127.0.0.1\r\na=mid:0\r\na=ice-ufrag:AAAAAAAAAA\r\na=ice-pwd:0123456789012345678901\r\n\
            a=fingerprint:sha-256 FF:EE\r\na=setup:passive\r\na=rtcp-mux\r\na=rtcp-rsize\r\na=sendonly\r\na=rtpmap:8 PCMA/8000\r\n\
            a=msid:gantry audio\r\na=ssrc:2001 cname:c\r\na=ssrc:2001 msid:gantry audio\r\n\
            a=candidate:1 1 udp 2130706431 127.0.0.1 9782 typ host\r\na=candidate:2 1 udp 2130706175 2001:db8::1 9782 typ host\r\n\
            a=candidate:3 1 tcp 2122317311 127.0.0.1 9783 typ host tcptype passive\r\na=end-of-candidates\r\n\
            m=video 9782 UDP/TLS/RTP/SAVPF 116 117\r\nc=IN IP4 127.0.0.1\r\na=mid:1\r\na=ice-ufrag:AAAAAAAAAA\r\na=ice-pwd:0123456789012345678901\r\n\
            a=fingerprint:sha-256 FF:EE\r\na=setup:passive\r\na=rtcp-mux\r\na=rtcp-rsize\r\na=sendonly\r\n\
            a=extmap:3 http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01\r\n\
            a=rtpmap:116 H264/90000\r\na=rtcp-fb:116 nack\r\na=rtcp-fb:116 nack pli\r\na=rtcp-fb:116 ccm fir\r\na=rtcp-fb:116 goog-remb\r\n\
            a=rtcp-fb:116 transport-cc\r\na=fmtp:116 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=4d0028\r\n\
            a=msid:gantry video\r\na=rtpmap:117 rtx/90000\r\na=fmtp:117 apt=116\r\na=ssrc-group:FID 1001 1002\r\n\
            a=ssrc:1001 cname:c\r\na=ssrc:1001 msid:gantry video\r\na=ssrc:1002 cname:c\r\na=ssrc:1002 msid:gantry video\r\n\
            a=candidate:1 1 udp 2130706431 127.0.0.1 9782 typ host\r\na=candidate:2 1 udp 2130706175 2001:db8::1 9782 typ host\r\n\
            a=candidate:3 1 tcp 2122317311 127.0.0.1 9783 typ host tcptype passive\r\na=end-of-candidates\r\n";
        assert_eq!(a.text, want);
    }

    #[test]
    fn the_profile_follows_the_stream_and_the_offer() {
        let chromium = offer(&[chromium_video("0", "recvonly")]);
        let pick = |offer: &str, sps| {
            let a = run(offer, Some(&video(Codec::H264, sps)), None).expect("an answer");
            let pt = a.video.expect("a picture").payload_type;
            let fmtp = a
                .text
                .lines()
                .find_map(|l| l.strip_prefix(&format!("a=fmtp:{pt} ")))
                .map(str::to_owned);
            (pt, fmtp.expect("parameters"))
        };
        let said = |id: &str| {
            format!("level-asymmetry-allowed=1;packetization-mode=1;profile-level-id={id}")
        };
        assert_eq!(pick(&chromium, HIGH_40), (116, said("4d0028")));
        assert_eq!(pick(&chromium, MAIN_31), (116, said("4d001f")));
        assert_eq!(pick(&chromium, BASELINE_30), (108, said("42e01e")));
        assert_eq!(
            pick(&chromium, &[0x67, 0x42, 0, 0x1e]),
            (102, said("42001e"))
        );
        assert_eq!(pick(&chromium, &[]), (108, said("42e01f")));
        // A browser with hardware offers High.
        let high = chromium.replace("profile-level-id=f4001f", "profile-level-id=64001f");
        assert_eq!(pick(&high, HIGH_40), (41, said("640028")));
        assert_eq!(pick(&high, MAIN_31).0, 116);
        // Where levels must be alike, the offer's stays.
        let strict = chromium.replace("level-asymmetry-allowed=1;", "");
        assert_eq!(
            pick(&strict, HIGH_40),
            (
                116,
                "packetization-mode=1;profile-level-id=4d001f".to_owned()
            )
        );
        // Mode 0 only: still better than no picture.
        let mode0 = chromium.replace("packetization-mode=1", "packetization-mode=0");
        assert_eq!(pick(&mode0, MAIN_31).0, 116);
        let one_mode1 = mode0.replacen("packetization-mode=0", "packetization-mode=1", 1);
        assert_eq!(pick(&one_mode1, HIGH_40).0, 102);
    }

    #[test]
    fn without_rtx_the_picture_carries_no_transport_wide_number() {
        let mut lines = chromium_video("0", "recvonly");
        lines = lines
            .lines()
            .filter(|l| !l.contains("rtx") && !l.contains("apt="))
            .fold(String::new(), |s, l| s + l + "\r\n");
        let a = run(&offer(&[lines]), Some(&video(Codec::H264, MAIN_31)), None).expect("an answer");
        let v = a.video.expect("a picture");
        assert_eq!((v.rtx, v.nack, v.transport_cc), (None, true, None));
        assert!(
            !a.text.contains("transport-cc")
                && !a.text.contains("extmap")
                && !a.text.contains("FID")
        );
    }

    #[test]
    fn opus_keeps_its_parameters_and_may_carry_the_number() {
        let offer = offer(&[chromium_audio("0", "recvonly")]);
        let a = run(&offer, None, Some(&audio(Codec::Opus))).expect("an answer");
        check(&offer, &a.text);
        assert!(a.text.contains("a=fmtp:111 minptime=10;useinbandfec=1\r\n"));
        assert_eq!(
            a.audio
                .map(|s| (s.payload_type, s.clock_rate, s.transport_cc)),
            Some((111, 48_000, Some(3)))
        );
    }

    #[test]
    fn a_line_that_cannot_be_filled_stays_inactive() {
        let both = offer(&[
            chromium_audio("0", "recvonly"),
            chromium_video("1", "recvonly"),
        ]);
        // No sound at all, and sound that a browser cannot play.
        for sound in [None, Some(audio(Codec::Aac))] {
            let a =
                run(&both, Some(&video(Codec::H264, MAIN_31)), sound.as_ref()).expect("an answer");
            check(&both, &a.text);
            assert_eq!(a.audio, None);
            assert!(a.text.contains("a=group:BUNDLE 0 1\r\n"));
            let first = a.text.split("m=video").next().expect("a part");
            assert!(
                first.contains("a=inactive\r\n")
                    && first.contains("m=audio 9782 ")
                    && !first.contains("msid:")
            );
        }
        // A second video line of one page, a data channel.
        let data = format!(
            "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\n{TRANSPORT}a=mid:2\r\na=sctp-port:5000\r\n"
        );
        let more = offer(&[
            chromium_video("0", "recvonly"),
            chromium_video("1", "recvonly"),
            data,
        ]);
        let a = run(&more, Some(&video(Codec::H264, MAIN_31)), None).expect("an answer");
        check(&more, &a.text);
        assert!(a.text.contains("a=group:BUNDLE 0 1\r\n"));
        assert!(
            a.text
                .contains("m=application 0 UDP/DTLS/SCTP webrtc-datachannel\r\n")
        );
        assert_eq!(a.text.matches("a=sendonly").count(), 1);
    }

    /// Firefox: session-level fingerprint and options, no ssrc, 126 and 97 for H.264, rtx listed at the end, VP8 first.
    fn firefox() -> String {
        let video = "m=video 9 UDP/TLS/RTP/SAVPF 120 124 126 127 97 98 123 122\r\nc=IN IP4 0.0.0.0\r\na=recvonly\r\n\
            a=extmap:3 urn:ietf:params:rtp-hdrext:sdes:mid\r\n\
            a=extmap:7/recvonly http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01\r\n\
            a=fmtp:126 profile-level-id=42e01f;level-asymmetry-allowed=1;packetization-mode=1\r\n\
            a=fmtp:97 profile-level-id=42e01f;level-asymmetry-allowed=1\r\na=fmtp:120 max-fs=12288;max-fr=60\r\n\
            a=fmtp:124 apt=120\r\na=fmtp:127 apt=126\r\na=fmtp:98 apt=97\r\na=ice-pwd:f8d9e1f0aa4d0d4c0b2bb8a8f1c2d3e4\r\n\
            a=ice-ufrag:0c1d2e3f\r\na=mid:0\r\na=rtcp-fb:126 nack\r\na=rtcp-fb:126 nack pli\r\na=rtcp-fb:126 ccm fir\r\n\
            a=rtcp-fb:126 goog-remb\r\na=rtcp-fb:126 transport-cc\r\na=rtcp-mux\r\na=rtcp-rsize\r\na=rtpmap:120 VP8/90000\r\n\
            a=rtpmap:124 rtx/90000\r\na=rtpmap:126 H264/90000\r\na=rtpmap:127 rtx/90000\r\na=rtpmap:97 H264/90000\r\n\
            a=rtpmap:98 rtx/90000\r\na=rtpmap:123 ulpfec/90000\r\na=rtpmap:122 red/90000\r\na=setup:actpass\r\n";
        let audio = "m=audio 9 UDP/TLS/RTP/SAVPF 109 9 0 8 101\r\nc=IN IP4 0.0.0.0\r\na=recvonly\r\n\
            a=fmtp:109 maxplaybackrate=48000;stereo=1;useinbandfec=1\r\na=fmtp:101 0-15\r\n\
            a=ice-pwd:f8d9e1f0aa4d0d4c0b2bb8a8f1c2d3e4\r\na=ice-ufrag:0c1d2e3f\r\na=mid:1\r\na=rtcp-mux\r\n\
            a=rtpmap:109 opus/48000/2\r\na=rtpmap:9 G722/8000/1\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\n\
            a=rtpmap:101 telephone-event/8000/1\r\na=setup:actpass\r\n";
        let fingerprint = TRANSPORT
            .lines()
            .find(|l| l.contains("fingerprint"))
            .unwrap_or("");
        format!(
            "v=0\r\no=mozilla...THIS_IS_SDPARTA-99.0 5312 0 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=sendrecv\r\n{fingerprint}\r\n\
             a=group:BUNDLE 0 1\r\na=ice-options:trickle\r\na=msid-semantic:WMS *\r\n{video}{audio}"
        )
    }

    #[test]
    fn firefox_is_answered() {
        let offer = firefox();
        let a = run(
            &offer,
            Some(&video(Codec::H264, HIGH_40)),
            Some(&audio(Codec::G711U)),
        )
        .expect("an answer");
        check(&offer, &a.text);
        assert_eq!(
            a.video,
            Some(Stream {
                payload_type: 126,
                clock_rate: 90_000,
                rtx: Some(127),
                nack: true,
                transport_cc: Some(7)
            })
        );
        assert_eq!(a.audio.map(|s| s.payload_type), Some(0));
        assert!(a.text.contains("a=extmap:7/sendonly http://www.ietf.org"));
        assert_eq!(a.remote_ufrag, "0c1d2e3f");
    }

    /// aiortc: sendrecv by default, several hashes, static payloads, LF only after a careless copy, no rsize, no extensions.
    #[test]
    fn aiortc_is_answered_with_bare_line_feeds_too() {
        let offer = "v=0\r\no=- 3906 3906 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0 1\r\na=msid-semantic:WMS *\r\n\
            m=audio 50012 UDP/TLS/RTP/SAVPF 96 0 8\r\nc=IN IP4 192.0.2.7\r\na=recvonly\r\na=mid:0\r\na=rtcp-mux\r\n\
            a=rtpmap:96 opus/48000/2\r\na=candidate:1 1 udp 2130706431 192.0.2.7 50012 typ host\r\na=end-of-candidates\r\n\
            a=ice-ufrag:9t3b\r\na=ice-pwd:abcdefghijklmnopqrstuv\r\na=fingerprint:sha-512 00\r\na=setup:actpass\r\n\
            m=video 50013 UDP/TLS/RTP/SAVPF 97 98 99 100\r\nc=IN IP4 192.0.2.7\r\na=sendrecv\r\na=mid:1\r\na=rtcp-mux\r\n\
            a=rtpmap:97 VP8/90000\r\na=rtpmap:98 rtx/90000\r\na=fmtp:98 apt=97\r\na=rtpmap:99 H264/90000\r\na=rtcp-fb:* nack\r\n\
            a=rtcp-fb:* nack pli\r\na=fmtp:99 packetization-mode=1;level-asymmetry-allowed=1;profile-level-id=42e01f\r\n\
            a=rtpmap:100 rtx/90000\r\na=fmtp:100 apt=99\r\na=ice-ufrag:9t3b\r\na=ice-pwd:abcdefghijklmnopqrstuv\r\na=setup:actpass\r\n"
            .to_owned()
            + "a=fingerprint:sha-256 " + &["0A"; 32].join(":") + "\r\n";
        // The fingerprint that counts stands in the second line only.
        let offer = offer.replace(
            "a=fingerprint:sha-512 00\r\n",
            &format!("a=fingerprint:sha-256 {}\r\n", ["0A"; 32].join(":")),
        );
        let (v, s) = (video(Codec::H264, BASELINE_30), audio(Codec::G711A));
        let a = run(&offer, Some(&v), Some(&s)).expect("an answer");
        check(&offer, &a.text);
        assert_eq!(
            a.audio.map(|s| s.payload_type),
            Some(8),
            "static, without a map"
        );
        assert!(!a.text.contains("rtpmap:8"));
        assert_eq!(
            a.video.map(|s| (s.payload_type, s.rtx, s.nack)),
            Some((99, Some(100), true))
        );
        assert_eq!(
            run(&offer.replace("\r\n", "\n"), Some(&v), Some(&s)).map(|b| b.text),
            Ok(a.text)
        );
    }

    #[test]
    fn h265_is_answered_only_where_it_is_offered() {
        const SPS: &[u8] = &[0x42, 0x01, 0x01, 0x01, 0x60];
        let chromium = offer(&[chromium_video("0", "recvonly")]);
        assert_eq!(
            run(&chromium, Some(&video(Codec::H265, SPS)), None),
            Err(AnswerError::NoCommonCodec(Codec::H265))
        );
        let safari = chromium
            .replace("a=rtpmap:39 H264/90000", "a=rtpmap:39 H265/90000")
            .replace("a=rtpmap:41 H264/90000", "a=rtpmap:41 H265/90000")
            .replace(
                "a=fmtp:39 level-asymmetry-allowed=1;packetization-mode=0;profile-level-id=4d001f",
                "a=fmtp:39 level-id=93;profile-id=2;tier-flag=0;tx-mode=SRST",
            )
            .replace(
                "a=fmtp:41 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=f4001f",
                "a=fmtp:41 level-id=93;profile-id=1;tier-flag=0;tx-mode=SRST",
            );
        let a = run(&safari, Some(&video(Codec::H265, SPS)), None).expect("an answer");
        check(&safari, &a.text);
        assert!(
            a.text
                .contains("a=fmtp:41 level-id=93;profile-id=1;tier-flag=0;tx-mode=SRST\r\n")
        );
    }

    #[test]
    fn sound_from_the_viewer_is_refused_by_name() {
        let track = audio(Codec::G711A);
        for lines in [
            vec![
                chromium_audio("0", "sendrecv"),
                chromium_audio("1", "recvonly"),
            ],
            vec![chromium_audio("0", "sendonly")],
            vec![
                chromium_audio("0", "recvonly"),
                chromium_video("1", "sendonly"),
            ],
        ] {
            assert_eq!(
                run(&offer(&lines), None, Some(&track)),
                Err(AnswerError::Upstream)
            );
        }
        // One line that could do both is given what it can take.
        let a = run(
            &offer(&[chromium_audio("0", "sendrecv")]),
            None,
            Some(&track),
        )
        .expect("an answer");
        assert!(a.text.contains("a=sendonly\r\n"));
    }

    #[test]
    fn an_offer_that_cannot_be_answered_says_why() {
        let good = offer(&[
            chromium_audio("0", "recvonly"),
            chromium_video("1", "recvonly"),
        ]);
        let (v, s) = (video(Codec::H264, MAIN_31), audio(Codec::G711A));
        let with = |from: &str, to: &str| run(&good.replace(from, to), Some(&v), Some(&s)).err();
        assert_eq!(with("x", "x"), None);
        assert_eq!(
            with("a=rtcp-mux\r\n", ""),
            Some(AnswerError::Missing("a=rtcp-mux"))
        );
        assert_eq!(
            with("a=setup:actpass", "a=setup:passive"),
            Some(AnswerError::Setup)
        );
        assert_eq!(
            with("a=ice-ufrag:yrZq\r\n", ""),
            Some(AnswerError::Missing("a=ice-ufrag"))
        );
        assert_eq!(
            with("sha-256", "sha-1"),
            Some(AnswerError::Missing("a=fingerprint with SHA-256 or better"))
        );
        assert_eq!(
            with("a=group:BUNDLE 0 1\r\n", ""),
            Some(AnswerError::Missing("a=group:BUNDLE over its lines"))
        );
        assert_eq!(
            with("H264", "H263"),
            Some(AnswerError::NoCommonCodec(Codec::H264))
        );
        assert_eq!(run(&good, None, None), Err(AnswerError::NothingToSend));
        assert_eq!(
            run(&good, None, Some(&audio(Codec::Aac))),
            Err(AnswerError::NoCommonCodec(Codec::Aac))
        );
        assert!(matches!(
            run("hello", Some(&v), None),
            Err(AnswerError::Syntax(_))
        ));
        assert_eq!(
            run(
                "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n",
                Some(&v),
                None
            ),
            Err(AnswerError::Missing("media line"))
        );
    }

    #[test]
    fn offers_have_bounds() {
        let (v, s) = (video(Codec::H264, MAIN_31), audio(Codec::G711A));
        let mut good = offer(&[chromium_video("0", "recvonly")]);
        good.push_str("a=x:");
        good.extend(std::iter::repeat_n(
            'x',
            SDP_OFFER_BYTES_MAX - good.len() - 2,
        ));
        good.push_str("\r\n");
        assert!(run(&good, Some(&v), None).is_ok());
        assert_eq!(
            run(&(good + "a"), Some(&v), None),
            Err(AnswerError::TooLong)
        );

        let many = |n: usize| {
            offer(
                &(0..n)
                    .map(|i| chromium_audio(&i.to_string(), "recvonly"))
                    .collect::<Vec<_>>(),
            )
        };
        assert!(run(&many(SDP_MEDIA_MAX), None, Some(&s)).is_ok());
        assert_eq!(
            run(&many(SDP_MEDIA_MAX + 1), None, Some(&s)),
            Err(AnswerError::TooManyMedia)
        );
    }

    #[test]
    fn mutated_offers_are_survived() {
        let good = firefox();
        let (v, s) = (video(Codec::H264, MAIN_31), audio(Codec::G711A));
        let mut state = 3u64;
        let mut random = move || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 33) as usize
        };
        for _ in 0..3000 {
            let mut bytes = good.clone().into_bytes();
            for _ in 0..=random() % 5 {
                let at = random() % bytes.len();
                match random() % 3 {
                    0 => bytes[at] = b" \r\n:;=/0a"[random() % 9],
                    1 => {
                        bytes.remove(at);
                    }
                    _ => bytes.insert(at, b"0 ;=:9m\n"[random() % 8]),
                }
            }
            let text = String::from_utf8(bytes).expect("ASCII");
            if let Ok(a) = run(&text, Some(&v), Some(&s)) {
                assert!(a.video.is_some() || a.audio.is_some());
                assert!(a.text.contains("a=candidate:1 1 udp"));
            }
        }
    }
}
