//! SDP bodies with what GB/T 28181 adds to them.
//!
//! RFC 8866 (by `sdp-types`), RFC 4145 (`setup`, `connection`), RFC 3264 (directions); GB/T 28181-2016, annex F and
//! GB/T 28181-2022, annex G: `y=` (SSRC in ten digits), `f=` (media parameters), `u=` (`id:type` of what is played back).
//! `sdp-types` drops `y=` and `f=`: they are lifted out before it reads and put back behind its text, `y=` and then `f=`.
//! Some devices refuse an offer in which anything but `f=` follows `y=`.
//!
//! Tolerated, each as a [`Defect`]: lines that are no `x=value`, text that is not UTF-8, and lines that `sdp-types` refuses
//! (an `o=` of seven fields, a second `c=`), which are left out. `v=` and `m=` must be sound. `y=` and `f=` may stand
//! anywhere. Line ends: CRLF, LF, NUL padding.
//!
//! Bounds: [`SDP_BYTES_MAX`], [`SDP_LINES_MAX`], [`SDP_MEDIA_MAX`]; [`DEFECTS_MAX`] lines may be left out.

use std::net::IpAddr;

use sdp_types::{Attribute, Connection, Media, Origin, ParserError, Session, Time};
use smallvec::SmallVec;

use crate::limits::{SDP_BYTES_MAX, SDP_LINES_MAX, SDP_MEDIA_MAX};

/// Lines that may be left out before a body counts as no SDP.
pub const DEFECTS_MAX: usize = 8;

/// Why a body is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SdpError {
    pub kind: SdpErrorKind,
    /// Counted from 1; 0 = the whole.
    pub line: u32,
}

/// See [`SdpError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SdpErrorKind {
    TooLong,
    TooManyLines,
    TooManyMedia,
    /// The first line is not `v=0`.
    NoVersion,
    /// An `m=` line without kind, port, protocol or format.
    BadMedia,
    TooManyDefects,
}

impl std::fmt::Display for SdpError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let what = match self.kind {
            SdpErrorKind::TooLong => "too long",
            SdpErrorKind::TooManyLines => "too many lines",
            SdpErrorKind::TooManyMedia => "too many media",
            SdpErrorKind::NoVersion => "no v=0",
            SdpErrorKind::BadMedia => "bad m=",
            SdpErrorKind::TooManyDefects => "too many bad lines",
        };
        write!(f, "SDP: {what} (line {})", self.line)
    }
}

impl std::error::Error for SdpError {}

/// A tolerated deviation and its line, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Defect {
    /// Not `x=value`; left out.
    NotALine(u32),
    /// Not UTF-8; what is wrong was replaced.
    Charset(u32),
    /// Refused by the grammar; left out. The letter of the line.
    LeftOut(u32, u8),
    /// A second `y=` or `f=`; left out.
    Repeated(u32),
}

/// A session description. `y` and `f` are the texts behind `y=` and `f=`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sdp {
    pub session: Session,
    pub y: Option<String>,
    pub f: Option<String>,
    pub defects: SmallVec<[Defect; 2]>,
}

struct CleanLine {
    text: String,
    number: u32,
}

impl Sdp {
    /// Parses a body.
    pub fn parse(body: &[u8]) -> Result<Sdp, SdpError> {
        let fail = |kind, line| SdpError { kind, line };
        if body.len() > SDP_BYTES_MAX {
            return Err(fail(SdpErrorKind::TooLong, 0));
        }
        let (mut y, mut f) = (None, None);
        let mut defects = SmallVec::new();
        let mut lines: Vec<CleanLine> = Vec::new();
        let mut media = 0;
        for (i, raw) in body.split(|b| *b == b'\n').enumerate() {
            let number = i as u32 + 1;
            if i >= SDP_LINES_MAX {
                return Err(fail(SdpErrorKind::TooManyLines, number));
            }
            // Bodies are padded with NUL, and a stray CR would end the line for the reader below.
            let raw = raw[..memchr::memchr2(0, b'\r', raw).unwrap_or(raw.len())].trim_ascii_end();
            if raw.is_empty() {
                continue;
            }
            let text = String::from_utf8_lossy(raw);
            if matches!(text, std::borrow::Cow::Owned(_)) {
                defects.push(Defect::Charset(number));
            }
            match raw {
                [b'y', b'=', ..] => lift(&mut y, &text[2..], number, &mut defects),
                [b'f', b'=', ..] => lift(&mut f, &text[2..], number, &mut defects),
                [letter, b'=', ..] if letter.is_ascii_lowercase() => {
                    media += usize::from(*letter == b'm');
                    if media > SDP_MEDIA_MAX {
                        return Err(fail(SdpErrorKind::TooManyMedia, number));
                    }
                    let text = text.into_owned();
                    lines.push(CleanLine { text, number });
                }
                _ => defects.push(Defect::NotALine(number)),
            }
        }
        let session = read(&mut lines, &mut defects)?;
        Ok(Sdp {
            session,
            y,
            f,
            defects,
        })
    }

    /// The body as text: `sdp-types`' order, then `y=`, then `f=`.
    pub fn write(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(512);
        self.session
            .write(&mut out)
            .expect("a Vec takes every write");
        for (letter, value) in [('y', &self.y), ('f', &self.f)] {
            if let Some(value) = value {
                let value: String = value
                    .chars()
                    .filter(|c| !matches!(c, '\r' | '\n' | '\0'))
                    .collect();
                out.extend_from_slice(format!("{letter}={value}\r\n").as_bytes());
            }
        }
        out
    }

    /// `s=`: `Play`, `Playback`, `Download`, `Talk`, or whatever was sent.
    pub fn name(&self) -> &str {
        self.session.session_name.trim()
    }

    /// `u=`.
    pub fn uri(&self) -> Option<&str> {
        self.session.uri.as_deref()
    }

    /// User name of `o=`: a device id.
    pub fn owner(&self) -> Option<&str> {
        self.session.origin.username.as_deref()
    }

    /// The address of the session's `c=`, or of the first media that has one.
    pub fn connection_ip(&self) -> Option<IpAddr> {
        self.session
            .connection
            .as_ref()
            .or_else(|| {
                self.session
                    .medias
                    .iter()
                    .find_map(|m| m.connections.first())
            })
            .and_then(ip)
    }

    /// The first `t=`, as sent (seconds; GB/T 28181 counts them from 1970).
    pub fn times(&self) -> Option<(u64, u64)> {
        self.session
            .times
            .first()
            .map(|t| (t.start_time, t.stop_time))
    }

    /// `y=` as a number. `None` where it is missing, longer than ten digits (some put a device id there) or too large.
    pub fn ssrc(&self) -> Option<u32> {
        let text = self.y.as_deref()?.trim();
        let digits = (1..=10).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
        text.parse().ok().filter(|_| digits)
    }

    /// Each `m=` in order.
    pub fn media(&self) -> impl Iterator<Item = MediaView<'_>> {
        self.session.medias.iter().map(|media| MediaView {
            session: &self.session,
            media,
        })
    }

    /// The first `m=` of a kind (`video`, `audio`).
    pub fn first(&self, kind: &str) -> Option<MediaView<'_>> {
        self.media().find(|m| m.kind().eq_ignore_ascii_case(kind))
    }
}

fn lift(slot: &mut Option<String>, text: &str, number: u32, defects: &mut SmallVec<[Defect; 2]>) {
    match slot {
        None => *slot = Some(text.to_owned()),
        Some(_) => defects.push(Defect::Repeated(number)),
    }
}

/// Lets `sdp-types` judge, and leaves out the lines that it refuses.
fn read(
    lines: &mut Vec<CleanLine>,
    defects: &mut SmallVec<[Defect; 2]>,
) -> Result<Session, SdpError> {
    let version = lines.first().map(|l| l.text.as_str());
    if version != Some("v=0") {
        return Err(SdpError {
            kind: SdpErrorKind::NoVersion,
            line: lines.first().map_or(0, |l| l.number),
        });
    }
    loop {
        let text: String = lines
            .iter()
            .flat_map(|l| [l.text.as_str(), "\r\n"])
            .collect();
        let error = match Session::parse(text.as_bytes()) {
            Ok(session) => return Ok(session),
            Err(error) => error,
        };
        let at = refused(&error).saturating_sub(1).min(lines.len() - 1);
        let number = lines[at].number;
        let letter = lines[at].text.as_bytes()[0];
        let kind = match letter {
            b'm' => Some(SdpErrorKind::BadMedia),
            b'v' => Some(SdpErrorKind::NoVersion),
            _ if defects.len() >= DEFECTS_MAX => Some(SdpErrorKind::TooManyDefects),
            _ => None,
        };
        if let Some(kind) = kind {
            return Err(SdpError { kind, line: number });
        }
        defects.push(Defect::LeftOut(number, letter));
        lines.remove(at);
    }
}

/// The line, counted from 1, that an error of the crate names.
#[allow(
    deprecated,
    reason = "the crate keeps variants that it no longer makes"
)]
fn refused(error: &ParserError) -> usize {
    match error {
        ParserError::UnexpectedLine(n, _)
        | ParserError::InvalidLineFormat(n, _)
        | ParserError::InvalidFieldEncoding(n, _)
        | ParserError::InvalidFieldFormat(n, _)
        | ParserError::MissingField(n, _)
        | ParserError::FieldTrailingData(n, _)
        | ParserError::InvalidVersion(n, _)
        | ParserError::MultipleVersions(n)
        | ParserError::MultipleOrigins(n)
        | ParserError::MultipleSessionNames(n)
        | ParserError::MultipleSessionDescription(n)
        | ParserError::MultipleUris(n)
        | ParserError::MultipleConnections(n)
        | ParserError::MultipleTimeZones(n)
        | ParserError::MultipleMediaTitles(n)
        | ParserError::MultipleKeys(n)
        | ParserError::RepeatWithoutTime(n) => *n,
        ParserError::NoVersion | ParserError::NoOrigin | ParserError::NoSessionName => 1,
    }
}

/// Without the TTL of a multicast address.
fn ip(connection: &Connection) -> Option<IpAddr> {
    let text = connection.connection_address.as_str();
    text.split('/').next()?.parse().ok()
}

/// Who opens a TCP connection (RFC 4145, 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setup {
    Active,
    Passive,
    ActPass,
    HoldConn,
}

impl Setup {
    pub fn as_str(self) -> &'static str {
        match self {
            Setup::Active => "active",
            Setup::Passive => "passive",
            Setup::ActPass => "actpass",
            Setup::HoldConn => "holdconn",
        }
    }

    fn parse(text: &str) -> Option<Setup> {
        [
            Setup::Active,
            Setup::Passive,
            Setup::ActPass,
            Setup::HoldConn,
        ]
        .into_iter()
        .find(|s| s.as_str().eq_ignore_ascii_case(text.trim()))
    }
}

/// Who sends (RFC 8866, 6.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    SendRecv,
    SendOnly,
    RecvOnly,
    Inactive,
}

impl Direction {
    pub fn as_str(self) -> &'static str {
        match self {
            Direction::SendRecv => "sendrecv",
            Direction::SendOnly => "sendonly",
            Direction::RecvOnly => "recvonly",
            Direction::Inactive => "inactive",
        }
    }

    const ALL: [Direction; 4] = [
        Direction::SendRecv,
        Direction::SendOnly,
        Direction::RecvOnly,
        Direction::Inactive,
    ];
}

/// `a=rtpmap` of one payload type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RtpMap<'a> {
    pub payload_type: u8,
    /// As sent: `PS`, `H264`, `PCMA`.
    pub name: &'a str,
    /// Hz.
    pub clock: u32,
    pub channels: Option<u8>,
}

impl<'a> RtpMap<'a> {
    fn parse(text: &'a str) -> Option<RtpMap<'a>> {
        let (payload_type, rest) = text.trim().split_once([' ', '\t'])?;
        let mut parts = rest.trim().split('/');
        Some(RtpMap {
            payload_type: payload_type.parse().ok()?,
            name: parts.next()?,
            clock: parts.next()?.trim().parse().ok()?,
            channels: parts.next().and_then(|c| c.trim().parse().ok()),
        })
    }
}

/// One media description; attributes that it lacks come from the session.
#[derive(Clone, Copy, Debug)]
pub struct MediaView<'a> {
    session: &'a Session,
    media: &'a Media,
}

impl<'a> MediaView<'a> {
    pub fn kind(&self) -> &'a str {
        &self.media.media
    }

    /// 0 = refused.
    pub fn port(&self) -> u16 {
        self.media.port
    }

    pub fn proto(&self) -> &'a str {
        &self.media.proto
    }

    /// `TCP/RTP/AVP` and its kin.
    pub fn is_tcp(&self) -> bool {
        self.proto()
            .split('/')
            .any(|part| part.eq_ignore_ascii_case("TCP"))
    }

    /// Its own `c=`, else the session's.
    pub fn ip(&self) -> Option<IpAddr> {
        self.media
            .connections
            .first()
            .or(self.session.connection.as_ref())
            .and_then(ip)
    }

    /// In order of preference; formats that are no payload types are left out.
    pub fn payload_types(&self) -> impl Iterator<Item = u8> + 'a {
        self.media
            .fmt
            .split_ascii_whitespace()
            .filter_map(|f| f.parse().ok())
            .filter(|pt| *pt < 128)
    }

    pub fn rtpmaps(&self) -> impl Iterator<Item = RtpMap<'a>> {
        self.media
            .attributes
            .iter()
            .filter(|a| a.attribute.eq_ignore_ascii_case("rtpmap"))
            .filter_map(|a| RtpMap::parse(a.value.as_deref()?))
    }

    pub fn rtpmap(&self, payload_type: u8) -> Option<RtpMap<'a>> {
        self.rtpmaps().find(|m| m.payload_type == payload_type)
    }

    /// Parameters of `a=fmtp` of a payload type.
    pub fn fmtp(&self, payload_type: u8) -> Option<&'a str> {
        self.media
            .attributes
            .iter()
            .filter(|a| a.attribute.eq_ignore_ascii_case("fmtp"))
            .filter_map(|a| a.value.as_deref()?.trim().split_once([' ', '\t']))
            .find(|(of, _)| of.parse() == Ok(payload_type))
            .map(|(_, parameters)| parameters.trim())
    }

    /// `None`: neither here nor in the session, or an unknown word.
    pub fn setup(&self) -> Option<Setup> {
        Setup::parse(self.attribute("setup")?)
    }

    /// `a=connection`: `Some(true)` = new, `Some(false)` = existing.
    pub fn connection_new(&self) -> Option<bool> {
        self.attribute("connection")
            .map(|v| !v.trim().eq_ignore_ascii_case("existing"))
    }

    /// `sendrecv` where nothing is said.
    pub fn direction(&self) -> Direction {
        let find = |attributes: &[Attribute]| {
            attributes.iter().find_map(|a| {
                Direction::ALL
                    .into_iter()
                    .find(|d| d.as_str().eq_ignore_ascii_case(a.attribute.trim()))
            })
        };
        find(&self.media.attributes)
            .or_else(|| find(&self.session.attributes))
            .unwrap_or(Direction::SendRecv)
    }

    /// The first attribute of a name, here or in the session: `Some("")` for one without value.
    pub fn attribute(&self, name: &str) -> Option<&'a str> {
        let find = |attributes: &'a [Attribute]| {
            attributes
                .iter()
                .find(|a| a.attribute.eq_ignore_ascii_case(name))
                .map(|a| a.value.as_deref().unwrap_or(""))
        };
        find(&self.media.attributes).or_else(|| find(&self.session.attributes))
    }
}

/// A media description to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MediaLine {
    /// `video` or `audio`.
    pub kind: &'static str,
    pub port: u16,
    /// `TCP/RTP/AVP` instead of `RTP/AVP`.
    pub tcp: bool,
    pub direction: Direction,
    /// Payload type, encoding name, clock rate in Hz.
    pub payloads: Vec<(u8, String, u32)>,
    pub setup: Option<Setup>,
    /// Writes `a=connection:new`.
    pub connection_new: bool,
    /// More attributes, name and value, behind the others.
    pub attributes: Vec<(String, Option<String>)>,
}

/// Makes an offer or answer.
#[derive(Clone, Debug)]
pub struct SdpBuilder {
    sdp: Sdp,
}

impl SdpBuilder {
    /// `owner` is the user name of `o=` (a device id), `ip` the address of `o=` and `c=`, `name` goes to `s=`.
    pub fn new(owner: &str, ip: IpAddr, name: &str) -> SdpBuilder {
        let mut origin = Origin::with_ip_addr("0", 0, ip);
        origin.username = Some(owner.to_owned());
        let mut session = Session::new(origin, name);
        session.connection = Some(Connection::from_ip_addr(ip));
        SdpBuilder {
            sdp: Sdp {
                session,
                y: None,
                f: None,
                defects: SmallVec::new(),
            },
        }
    }

    pub fn uri(mut self, uri: &str) -> Self {
        self.sdp.session.uri = Some(uri.to_owned());
        self
    }

    /// `t=`; `0 0` unless it is set.
    pub fn times(mut self, start: u64, stop: u64) -> Self {
        self.sdp.session.times = vec![Time::new(start, stop)];
        self
    }

    pub fn media(mut self, line: MediaLine) -> Self {
        let numbers: Vec<String> = line.payloads.iter().map(|p| p.0.to_string()).collect();
        let mut attributes = vec![Attribute::new(line.direction.as_str())];
        for (number, name, clock) in &line.payloads {
            attributes.push(Attribute::with_value(
                "rtpmap",
                format!("{number} {name}/{clock}"),
            ));
        }
        if let Some(setup) = line.setup {
            attributes.push(Attribute::with_value("setup", setup.as_str()));
        }
        if line.connection_new {
            attributes.push(Attribute::with_value("connection", "new"));
        }
        for (name, value) in line.attributes {
            attributes.push(Attribute {
                attribute: name,
                value,
            });
        }
        self.sdp.session.medias.push(Media {
            media: line.kind.to_owned(),
            port: line.port,
            num_ports: None,
            proto: if line.tcp { "TCP/RTP/AVP" } else { "RTP/AVP" }.to_owned(),
            fmt: numbers.join(" "),
            media_title: None,
            connections: Vec::new(),
            bandwidths: Vec::new(),
            key: None,
            attributes,
        });
        self
    }

    /// `y=` in ten digits.
    pub fn y(mut self, ssrc: u32) -> Self {
        self.sdp.y = Some(format!("{ssrc:010}"));
        self
    }

    pub fn f(mut self, text: &str) -> Self {
        self.sdp.f = Some(text.to_owned());
        self
    }

    pub fn build(self) -> Sdp {
        self.sdp
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: &str = "v=0\r\no=34020000001320000003 1073 1073 IN IP4 192.168.137.11\r\ns=Play\r\n\
        c=IN IP4 192.168.137.11\r\nt=0 0\r\ny=0000630886\r\nm=video 15060 TCP/RTP/AVP 96 98\r\na=setup:active\r\n\
        a=sendonly\r\na=rtpmap:96 PS/90000\r\na=rtpmap:98 H264/90000 \r\na=filesize:0\r\nf=\r\n";

    #[test]
    fn y_and_f_are_lifted_out_and_put_back_last() {
        let sdp = Sdp::parse(ANSWER.as_bytes()).expect("SDP");
        assert_eq!((sdp.ssrc(), sdp.f.as_deref()), (Some(630_886), Some("")));
        let text = String::from_utf8(sdp.write()).expect("UTF-8");
        assert!(
            text.ends_with("a=filesize:0\r\ny=0000630886\r\nf=\r\n"),
            "{text}"
        );
        assert_eq!(Sdp::parse(text.as_bytes()), Ok(sdp));
    }

    #[test]
    fn what_an_answer_says() {
        let sdp = Sdp::parse(ANSWER.as_bytes()).expect("SDP");
        assert_eq!(sdp.owner(), Some("34020000001320000003"));
        let video = sdp.first("video").expect("one");
        assert_eq!((video.port(), video.is_tcp()), (15060, true));
        assert_eq!(video.ip(), "192.168.137.11".parse().ok());
        assert_eq!(video.setup(), Some(Setup::Active));
        assert_eq!(video.direction(), Direction::SendOnly);
        assert_eq!(video.payload_types().collect::<Vec<_>>(), [96, 98]);
        assert_eq!(
            video.rtpmap(98).map(|m| (m.name, m.clock)),
            Some(("H264", 90_000))
        );
        assert_eq!(video.attribute("filesize"), Some("0"));
        assert_eq!(video.connection_new(), None);
        assert!(sdp.first("audio").is_none());
    }

    #[test]
    fn an_offer_is_written_as_devices_expect_it() {
        let offer = SdpBuilder::new(
            "34020000001320000001",
            IpAddr::from([192, 168, 1, 10]),
            "Play",
        )
        .media(MediaLine {
            kind: "video",
            port: 30000,
            tcp: true,
            direction: Direction::RecvOnly,
            payloads: vec![(96, "PS".to_owned(), 90_000)],
            setup: Some(Setup::Passive),
            connection_new: true,
            attributes: Vec::new(),
        })
        .y(100_000_001)
        .build();
        let expected = "v=0\r\no=34020000001320000001 0 0 IN IP4 192.168.1.10\r\ns=Play\r\nc=IN IP4 192.168.1.10\r\n\
             t=0 0\r\nm=video 30000 TCP/RTP/AVP 96\r\na=recvonly\r\na=rtpmap:96 PS/90000\r\na=setup:passive\r\n\
             a=connection:new\r\ny=0100000001\r\n";
        assert_eq!(String::from_utf8(offer.write()).as_deref(), Ok(expected));
    }

    #[test]
    fn odd_lines_are_left_out_and_told() {
        let text = b"v=0\no=- 1 2 3 IN IP4 x\ns=\xce\xd2\nc=IN IP4 1.2.3.4\nc=IN IP4 5.6.7.8\nrubbish\nt=now\n\
            m=audio 0 RTP/AVP 8\t\ny=1\ny=2\n\x00\x00";
        let sdp = Sdp::parse(text).expect("tolerated");
        assert_eq!(sdp.connection_ip(), "1.2.3.4".parse().ok());
        assert_eq!(sdp.ssrc(), Some(1));
        let defects = &sdp.defects;
        for defect in [
            Defect::LeftOut(2, b'o'),
            Defect::Charset(3),
            Defect::LeftOut(5, b'c'),
            Defect::NotALine(6),
            Defect::LeftOut(7, b't'),
            Defect::Repeated(10),
        ] {
            assert!(defects.contains(&defect), "{defect:?} in {defects:?}");
        }
        let audio = sdp.first("audio").expect("one");
        assert_eq!(audio.payload_types().collect::<Vec<_>>(), [8]);
    }

    #[test]
    fn y_may_be_anything_but_a_number() {
        for (y, ssrc) in [
            ("0100000001", Some(100_000_001)),
            ("100000001", Some(100_000_001)),
            ("4294967295", Some(u32::MAX)),
            ("4294967296", None),
            ("34020000001320000001", None),
            ("", None),
            ("+1", None),
        ] {
            let sdp = Sdp::parse(format!("v=0\ny={y}\n").as_bytes()).expect("SDP");
            assert_eq!(sdp.ssrc(), ssrc, "{y}");
        }
    }

    #[test]
    fn what_cannot_be_used_is_refused() {
        let kind = |text: &str| Sdp::parse(text.as_bytes()).err().map(|e| (e.kind, e.line));
        assert_eq!(kind(""), Some((SdpErrorKind::NoVersion, 0)));
        assert_eq!(kind("s=x\nv=0"), Some((SdpErrorKind::NoVersion, 1)));
        assert_eq!(
            kind("v=0\ns=x\nm=video x RTP/AVP 96"),
            Some((SdpErrorKind::BadMedia, 3))
        );
        // What stands behind a NUL is not part of the line.
        assert_eq!(
            kind("v=0\nm=video 0 RTP/AVP \0 96"),
            Some((SdpErrorKind::BadMedia, 2))
        );
        let bad = format!("v=0\n{}", "t=x\n".repeat(DEFECTS_MAX + 1));
        assert_eq!(
            kind(&bad),
            Some((SdpErrorKind::TooManyDefects, DEFECTS_MAX as u32 + 2))
        );
    }

    #[test]
    fn bytes_lines_and_media_are_bounded_from_both_sides() {
        let parse = |text: String| Sdp::parse(text.as_bytes()).map(|_| ());
        let kind = |text: String| parse(text).map_err(|e| e.kind);
        let pad = |n: usize| format!("v=0\ns={}", "x".repeat(n - 6));
        assert_eq!(kind(pad(SDP_BYTES_MAX)), Ok(()));
        assert_eq!(kind(pad(SDP_BYTES_MAX + 1)), Err(SdpErrorKind::TooLong));
        let lines = |n: usize| format!("v=0\n{}", vec!["a=x"; n - 1].join("\n"));
        assert_eq!(kind(lines(SDP_LINES_MAX)), Ok(()));
        assert_eq!(
            kind(lines(SDP_LINES_MAX + 1)),
            Err(SdpErrorKind::TooManyLines)
        );
        let media = |n: usize| format!("v=0\n{}", "m=video 1 RTP/AVP 96\n".repeat(n));
        assert_eq!(kind(media(SDP_MEDIA_MAX)), Ok(()));
        assert_eq!(
            kind(media(SDP_MEDIA_MAX + 1)),
            Err(SdpErrorKind::TooManyMedia)
        );
    }
}
