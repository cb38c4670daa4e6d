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
        out.push_str(&candidates(local.candidates));
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

/// Lines of host candidates of component 1 (RFC 8839, 5.1; RFC 6544, 4.5 for TCP), and that there are no more.
pub(super) fn candidates(at: &[Address]) -> String {
    const HOST: u32 = 126;
    let mut out = String::new();
    for (i, candidate) in at.iter().enumerate() {
        // TCP after any UDP; inside a kind as given.
        let (transport, preference, tail) = match candidate {
            Address::Udp(_) => ("udp", 65_535, ""),
            Address::Tcp(_) => ("tcp", 32_767, " tcptype passive"),
        };
        let priority = (HOST << 24) + ((preference - (i as u32).min(255)) << 8) + 255;
        let addr = candidate.socket_addr();
        put_line(
            &mut out,
            format_args!(
                "a=candidate:{} 1 {transport} {priority} {} {} typ host{tail}",
                i + 1,
                addr.ip().to_canonical(),
                addr.port()
            ),
        );
    }
    put_line(&mut out, format_args!("a=end-of-candidates"));
    out
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
mod tests;
