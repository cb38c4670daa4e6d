//! One SIP message as offsets over the bytes that came.
//!
//! RFC 3261, 7 (format), 7.3.1 (headers, folding, compact forms), 8.1.1 (what every request has), 18.3 (where a body
//! ends), 20. Headers and bodies may hold any bytes: devices send GBK. Nothing is copied but in a folded message, whose
//! line breaks become spaces in a copy of equal length.
//!
//! Tolerated: lines that end in LF alone, `Name :`, more than one space in a start line, a status line without reason,
//! lower-case `sip/2.0`, empty lines before the start line, a datagram that ends without the empty line. Refused, as
//! RFC 4475 asks: white space or `<>` or headers in a Request-URI, two values where one may stand, numbers that overflow,
//! a CSeq of another method, a body shorter than its Content-Length. A datagram longer than Content-Length says is cut.
//!
//! Not done: multipart bodies are not opened; Date is not checked.
//!
//! Bounds: [`SIP_HEAD_BYTES_MAX`], [`SIP_HEADER_LINES_MAX`]; the length of the whole is the datagram's or
//! [`super::framing`]'s.

use std::borrow::Cow;

use bytes::{Buf, Bytes};
use memchr::memchr;
use smallvec::SmallVec;

use super::error::{ErrorKind, ParseError};
use super::header::{CSeq, NameAddr, Via, number, split_list, trim};
use super::name::{HeaderName, Method};
use super::uri::Uri;
use crate::limits::{SIP_HEAD_BYTES_MAX, SIP_HEADER_LINES_MAX};

/// What carried a message, and so where its body ends (RFC 3261, 18.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carrier {
    /// Without Content-Length the body is the rest of the datagram.
    Datagram,
    /// Without Content-Length there is no body.
    Stream,
}

/// A request or response. Cloning it copies offsets, not bytes.
#[derive(Clone, Debug)]
pub struct Message {
    raw: Bytes,
    start: Start,
    lines: SmallVec<[Line; 20]>,
    body: (u32, u32),
}

#[derive(Clone, Copy, Debug)]
enum Start {
    Request {
        method: Option<Method>,
        method_len: u16,
        uri: Span,
    },
    Response {
        status: u16,
        reason: Span,
    },
}

/// Offset and length within the head.
#[derive(Clone, Copy, Debug, Default)]
struct Span {
    at: u16,
    len: u16,
}

#[derive(Clone, Copy, Debug)]
struct Line {
    name: HeaderName,
    key: Span,
    value: Span,
}

impl Span {
    fn new(from: usize, to: usize) -> Span {
        // The head is at most SIP_HEAD_BYTES_MAX long, which fits 16 bits.
        Span {
            at: from as u16,
            len: (to - from) as u16,
        }
    }

    fn of(self, raw: &[u8]) -> &[u8] {
        &raw[usize::from(self.at)..usize::from(self.at) + usize::from(self.len)]
    }
}

const _: () = assert!(SIP_HEAD_BYTES_MAX <= u16::MAX as usize);

impl Message {
    /// Parses and checks one message: a whole datagram, or what [`super::framing`] cut out of a stream.
    ///
    /// Errors: the first defect found; [`ErrorKind::answer`] says whether and how a request of it can be answered.
    pub fn parse(raw: Bytes, carrier: Carrier) -> Result<Message, ParseError> {
        match Message::scan(raw, carrier)? {
            (message, None) => message.check().map(|()| message),
            (_, Some(defect)) => Err(defect),
        }
    }

    /// Finds start line, headers and body. A message with a defect that can be answered comes back together with it, so
    /// that the answer can be written from the headers that are sound.
    pub(super) fn scan(
        mut raw: Bytes,
        carrier: Carrier,
    ) -> Result<(Message, Option<ParseError>), ParseError> {
        let blank = raw
            .iter()
            .take_while(|b| matches!(b, b'\r' | b'\n'))
            .count();
        raw.advance(blank);
        let mut scan = Scan::default();
        if scan.head(&raw)? == Folded::Yes {
            raw = unfold(&raw);
            scan = Scan::default();
            scan.head(&raw)?;
        }
        let start = scan.start.ok_or(ParseError {
            kind: ErrorKind::NotSip,
            offset: 0,
        })?;
        let body = scan.body(raw.len(), carrier);
        let message = Message {
            raw,
            start,
            lines: scan.lines,
            body,
        };
        Ok((message, scan.defect))
    }

    /// What RFC 3261, 8.1.1 demands of every message, and the values of the headers that transactions rest on.
    pub(super) fn check(&self) -> Result<(), ParseError> {
        let mut seen = 0u64;
        for line in &self.lines {
            let fail = |kind| ParseError {
                kind,
                offset: u32::from(line.value.at),
            };
            let bit = line.name.bit();
            if seen & bit & HeaderName::SINGLE != 0 {
                return Err(fail(ErrorKind::RepeatedHeader));
            }
            seen |= bit;
            self.check_value(line.name, line.value.of(&self.raw))
                .map_err(fail)?;
        }
        let at_start = |kind| ParseError { kind, offset: 0 };
        if seen & HeaderName::REQUIRED != HeaderName::REQUIRED {
            return Err(at_start(ErrorKind::MissingHeader));
        }
        if let Start::Request { uri, .. } = self.start {
            let fail = |kind| ParseError {
                kind,
                offset: u32::from(uri.at),
            };
            let uri = Uri::parse(uri.of(&self.raw)).map_err(fail)?;
            if !uri.headers.is_empty() {
                return Err(fail(ErrorKind::BadUri));
            }
            if !uri.is_sip() && !uri.scheme.eq_ignore_ascii_case("tel") {
                return Err(fail(ErrorKind::UnsupportedScheme));
            }
        }
        Ok(())
    }

    fn check_value(&self, name: HeaderName, value: &[u8]) -> Result<(), ErrorKind> {
        if name == HeaderName::Via {
            split_list(value).try_for_each(|one| Via::parse(one).map(|_| ()))
        } else if name == HeaderName::From || name == HeaderName::To {
            NameAddr::parse(value).map(|_| ())
        } else if name == HeaderName::CallId {
            let ok = !value.is_empty() && std::str::from_utf8(value).is_ok();
            ok.then_some(()).ok_or(ErrorKind::BadCallId)
        } else if name == HeaderName::CSeq {
            let cseq = CSeq::parse(value)?;
            let ok = !self.is_request() || cseq.method == self.method_text();
            ok.then_some(()).ok_or(ErrorKind::MethodMismatch)
        } else if name == HeaderName::MaxForwards {
            let ok = number(value).is_some_and(|n| n <= 255);
            ok.then_some(()).ok_or(ErrorKind::BadMaxForwards)
        } else {
            Ok(())
        }
    }

    pub fn is_request(&self) -> bool {
        matches!(self.start, Start::Request { .. })
    }

    /// `None` for responses and for methods we do not know.
    pub fn method(&self) -> Option<Method> {
        match self.start {
            Start::Request { method, .. } => method,
            Start::Response { .. } => None,
        }
    }

    /// The method as sent; empty for responses.
    pub fn method_text(&self) -> &[u8] {
        match self.start {
            Start::Request { method_len, .. } => &self.raw[..usize::from(method_len)],
            Start::Response { .. } => b"",
        }
    }

    /// The Request-URI; empty for responses.
    pub fn uri(&self) -> &[u8] {
        match self.start {
            Start::Request { uri, .. } => uri.of(&self.raw),
            Start::Response { .. } => b"",
        }
    }

    /// User part of the Request-URI.
    pub fn uri_user(&self) -> Option<&str> {
        Uri::parse(self.uri()).ok()?.user
    }

    pub fn status(&self) -> Option<u16> {
        match self.start {
            Start::Request { .. } => None,
            Start::Response { status, .. } => Some(status),
        }
    }

    /// The reason phrase; empty for requests.
    pub fn reason(&self) -> &[u8] {
        match self.start {
            Start::Request { .. } => b"",
            Start::Response { reason, .. } => reason.of(&self.raw),
        }
    }

    /// The first line of a header, without white space around it and unfolded.
    pub fn header(&self, name: HeaderName) -> Option<&[u8]> {
        self.lines
            .iter()
            .find(|l| l.name == name)
            .map(|l| l.value.of(&self.raw))
    }

    /// [`Message::header`] where it is UTF-8.
    pub fn header_str(&self, name: HeaderName) -> Option<&str> {
        self.header(name).and_then(|v| std::str::from_utf8(v).ok())
    }

    /// A header by its long name, in any case; for those without a [`HeaderName`].
    pub fn header_named(&self, name: &str) -> Option<&[u8]> {
        self.lines
            .iter()
            .find(|l| l.key.of(&self.raw).eq_ignore_ascii_case(name.as_bytes()))
            .map(|l| l.value.of(&self.raw))
    }

    /// All header lines in order: what it is, its name as sent, its value.
    pub fn headers(&self) -> impl Iterator<Item = (HeaderName, &[u8], &[u8])> {
        self.lines
            .iter()
            .map(|l| (l.name, l.key.of(&self.raw), l.value.of(&self.raw)))
    }

    /// All values of a header: of each of its lines, split at commas (see [`split_list`]).
    pub fn values(&self, name: HeaderName) -> impl Iterator<Item = &[u8]> {
        self.lines
            .iter()
            .filter(move |l| l.name == name)
            .flat_map(|l| split_list(l.value.of(&self.raw)))
    }

    /// The body, byte for byte.
    pub fn body(&self) -> &[u8] {
        &self.raw[self.body.0 as usize..self.body.1 as usize]
    }

    /// The body, sharing the buffer of the message.
    pub fn body_bytes(&self) -> Bytes {
        self.raw.slice(self.body.0 as usize..self.body.1 as usize)
    }

    /// Start line, headers and body as they came (unfolded).
    pub fn raw(&self) -> &Bytes {
        &self.raw
    }

    /// The topmost value of Via.
    pub fn via_top(&self) -> Result<Via<'_>, ErrorKind> {
        let line = self.header(HeaderName::Via).ok_or(ErrorKind::BadVia)?;
        let top = split_list(line).next().ok_or(ErrorKind::BadVia)?;
        Via::parse(top)
    }

    pub fn from(&self) -> Result<NameAddr<'_>, ErrorKind> {
        self.address(HeaderName::From)
    }

    pub fn to(&self) -> Result<NameAddr<'_>, ErrorKind> {
        self.address(HeaderName::To)
    }

    /// The first Contact.
    pub fn contact(&self) -> Result<NameAddr<'_>, ErrorKind> {
        let line = self
            .header(HeaderName::Contact)
            .ok_or(ErrorKind::MissingHeader)?;
        let first = split_list(line).next().ok_or(ErrorKind::MissingHeader)?;
        NameAddr::parse(first)
    }

    /// Host and port of the first Contact; 5060 where it names none.
    pub fn contact_host_port(&self) -> Option<(&str, u16)> {
        let uri = self.contact().ok()?.parse_uri().ok()?;
        (!uri.host.is_empty()).then(|| (uri.host, uri.port.unwrap_or(5060)))
    }

    fn address(&self, name: HeaderName) -> Result<NameAddr<'_>, ErrorKind> {
        NameAddr::parse(self.header(name).ok_or(ErrorKind::MissingHeader)?)
    }

    pub fn from_tag(&self) -> Option<&str> {
        self.from().ok()?.tag()
    }

    pub fn to_tag(&self) -> Option<&str> {
        self.to().ok()?.tag()
    }

    /// User part of From's URI.
    pub fn from_user(&self) -> Option<&str> {
        self.from().ok()?.parse_uri().ok()?.user
    }

    /// User part of To's URI.
    pub fn to_user(&self) -> Option<&str> {
        self.to().ok()?.parse_uri().ok()?.user
    }

    /// Never empty in a message that [`Message::parse`] let through.
    pub fn call_id(&self) -> &str {
        self.header_str(HeaderName::CallId).unwrap_or("")
    }

    /// Never `None` in a message that [`Message::parse`] let through.
    pub fn cseq(&self) -> Option<CSeq<'_>> {
        CSeq::parse(self.header(HeaderName::CSeq)?).ok()
    }

    /// Seconds for which a registration or subscription is asked or granted: `expires` of the first Contact, else the
    /// Expires header (RFC 3261, 10.2.1.1). Numbers that overflow count as 2^32-1.
    pub fn expires(&self) -> Option<u32> {
        let of_contact = self.contact().ok().and_then(|c| c.params.get("expires"));
        let text = of_contact.or_else(|| self.header(HeaderName::Expires))?;
        let digits = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
        digits.then(|| number(text).unwrap_or(u32::MAX))
    }

    /// Whether Content-Type is this one, parameters and case aside. True without a body as well as without the header.
    pub fn content_is(&self, mime: &str) -> bool {
        self.header(HeaderName::ContentType).is_none_or(|v| {
            let end = memchr(b';', v).unwrap_or(v.len());
            trim(&v[..end]).eq_ignore_ascii_case(mime.as_bytes())
        })
    }

    /// For logs: the head with anything that is not UTF-8 replaced.
    pub fn head_lossy(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.raw[..self.body.0 as usize])
    }
}

/// Whether folded lines were met, so that the scan stopped.
#[derive(PartialEq, Eq)]
enum Folded {
    Yes,
    No,
}

#[derive(Default)]
struct Scan {
    start: Option<Start>,
    lines: SmallVec<[Line; 20]>,
    head_len: usize,
    content_length: Option<u32>,
    defect: Option<ParseError>,
}

impl Scan {
    fn defect(&mut self, kind: ErrorKind, at: usize) {
        self.defect.get_or_insert(ParseError {
            kind,
            offset: at as u32,
        });
    }

    fn head(&mut self, raw: &[u8]) -> Result<Folded, ParseError> {
        let head = &raw[..raw.len().min(SIP_HEAD_BYTES_MAX)];
        let mut at = 0;
        while at < head.len() {
            let (end, next) = match memchr(b'\n', &head[at..]) {
                Some(n) => (at + n, at + n + 1),
                // Only a datagram can end here; a head that is too long never shows its end.
                None if raw.len() > head.len() => break,
                None => (head.len(), head.len()),
            };
            let end = end - usize::from(end > at && head[end - 1] == b'\r');
            if end == at && at > 0 {
                self.head_len = next;
                return Ok(Folded::No);
            }
            if at == 0 {
                self.start_line(&head[..end])?;
            } else if matches!(head[at], b' ' | b'\t') {
                if !head[at..end].iter().all(|b| matches!(b, b' ' | b'\t')) {
                    return Ok(Folded::Yes);
                }
            } else {
                self.header_line(head, at, end);
            }
            at = next;
        }
        if raw.len() > head.len() {
            return Err(ParseError {
                kind: ErrorKind::HeadTooLong,
                offset: head.len() as u32,
            });
        }
        self.head_len = raw.len();
        Ok(Folded::No)
    }

    fn header_line(&mut self, head: &[u8], at: usize, end: usize) {
        if self.lines.len() == SIP_HEADER_LINES_MAX {
            self.defect(ErrorKind::TooManyHeaders, at);
            return;
        }
        // Names are short: a plain loop finds the colon faster than a search with set-up.
        let mut colon = at;
        while colon < end && head[colon] != b':' {
            colon += 1;
        }
        let mut name_end = colon;
        while name_end > at && matches!(head[name_end - 1], b' ' | b'\t') {
            name_end -= 1;
        }
        if colon == end || name_end == at {
            self.defect(ErrorKind::BadHeaderLine, at);
            return;
        }
        let mut from = colon + 1;
        while from < end && matches!(head[from], b' ' | b'\t' | b'\r') {
            from += 1;
        }
        let mut to = end;
        while to > from && matches!(head[to - 1], b' ' | b'\t' | b'\r') {
            to -= 1;
        }
        let name = HeaderName::from_bytes(&head[at..name_end]);
        if name == HeaderName::ContentLength {
            let length = number(&head[from..to]);
            if length.is_none() || self.content_length.is_some_and(|l| Some(l) != length) {
                self.defect(ErrorKind::BadContentLength, from);
            }
            self.content_length = length;
        }
        self.lines.push(Line {
            name,
            key: Span::new(at, name_end),
            value: Span::new(from, to),
        });
    }

    fn start_line(&mut self, line: &[u8]) -> Result<(), ParseError> {
        let fail = |kind, at: usize| ParseError {
            kind,
            offset: at as u32,
        };
        if line.len() >= 4 && line[..4].eq_ignore_ascii_case(b"SIP/") {
            self.start = Some(status_line(line)?);
            return Ok(());
        }
        let line = {
            let mut end = line.len();
            while end > 0 && matches!(line[end - 1], b' ' | b'\t') {
                end -= 1;
            }
            &line[..end]
        };
        let method_len = memchr(b' ', line).ok_or(fail(ErrorKind::NotSip, 0))?;
        let version_at = memchr::memrchr(b' ', line).map_or(0, |at| at + 1);
        let version = &line[version_at..];
        if version.len() < 4 || !version[..4].eq_ignore_ascii_case(b"SIP/") {
            return Err(fail(ErrorKind::NotSip, version_at));
        }
        if &version[4..] != b"2.0" {
            self.defect(ErrorKind::BadVersion, version_at);
        }
        let method = &line[..method_len];
        if method.is_empty() || !method.iter().all(|b| is_token(*b)) {
            return Err(fail(ErrorKind::NotSip, 0));
        }
        let (mut from, mut to) = (method_len, version_at);
        while from < to && matches!(line[from], b' ' | b'\t') {
            from += 1;
        }
        while to > from && matches!(line[to - 1], b' ' | b'\t') {
            to -= 1;
        }
        if from == to || line[from..to].iter().any(|b| matches!(b, b' ' | b'\t')) {
            self.defect(ErrorKind::BadRequestLine, from);
        }
        self.start = Some(Start::Request {
            method: Method::from_bytes(method),
            method_len: method_len as u16,
            uri: Span::new(from, to),
        });
        Ok(())
    }

    fn body(&mut self, raw_len: usize, carrier: Carrier) -> (u32, u32) {
        let rest = raw_len - self.head_len;
        let len = match (self.content_length, carrier) {
            (Some(length), _) if length as usize > rest => {
                self.defect(ErrorKind::BodyTooShort, self.head_len);
                rest
            }
            (Some(length), _) => length as usize,
            (None, Carrier::Datagram) => rest,
            (None, Carrier::Stream) => 0,
        };
        (self.head_len as u32, (self.head_len + len) as u32)
    }
}

fn status_line(line: &[u8]) -> Result<Start, ParseError> {
    let fail = |kind, at: usize| ParseError {
        kind,
        offset: at as u32,
    };
    let space = memchr(b' ', line).ok_or(fail(ErrorKind::NotSip, 0))?;
    if &line[4..space] != b"2.0" {
        return Err(fail(ErrorKind::NotSip, 4));
    }
    let mut at = space;
    while at < line.len() && line[at] == b' ' {
        at += 1;
    }
    let digits = line[at..].iter().take_while(|b| b.is_ascii_digit()).count();
    let ends = line.get(at + digits).is_none_or(|b| *b == b' ');
    let status = number(&line[at..at + digits]).filter(|s| (100..700).contains(s));
    let Some(status) = status.filter(|_| digits == 3 && ends) else {
        return Err(fail(ErrorKind::BadStatus, at));
    };
    let reason = (at + 4).min(line.len());
    Ok(Start::Response {
        status: status as u16,
        reason: Span::new(reason, line.len()),
    })
}

fn is_token(b: u8) -> bool {
    b.is_ascii_alphanumeric()
        || matches!(
            b,
            b'-' | b'.' | b'!' | b'%' | b'*' | b'_' | b'+' | b'`' | b'\'' | b'~'
        )
}

/// Copies a message and makes spaces of the line breaks of its head that a space or tab follows (RFC 3261, 7.3.1).
fn unfold(raw: &Bytes) -> Bytes {
    let mut copy = raw.to_vec();
    let mut at = 0;
    while let Some(n) = memchr(b'\n', &copy[at..]) {
        let lf = at + n;
        let line_len = n - usize::from(n > 0 && copy[lf - 1] == b'\r');
        if line_len == 0 && at > 0 {
            break;
        }
        if matches!(copy.get(lf + 1), Some(b' ' | b'\t')) {
            copy[lf] = b' ';
            if n > 0 && copy[lf - 1] == b'\r' {
                copy[lf - 1] = b' ';
            }
        }
        at = lf + 1;
    }
    Bytes::from(copy)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Message, ParseError> {
        Message::parse(
            Bytes::copy_from_slice(text.replace('\n', "\r\n").as_bytes()),
            Carrier::Datagram,
        )
    }

    fn kind(text: &str) -> Option<ErrorKind> {
        parse(text).err().map(|e| e.kind)
    }

    const HEAD: &str = "MESSAGE sip:1@h SIP/2.0\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\nFrom: <sip:2@h>;tag=a\n\
                        To: <sip:1@h>\nCall-ID: c\nCSeq: 7 MESSAGE\n";

    #[test]
    fn a_body_is_the_rest_of_a_datagram_or_as_long_as_declared() {
        let m = parse(&format!("{HEAD}\nabc")).expect("well-formed");
        assert_eq!(m.body(), b"abc");
        let m = parse(&format!("{HEAD}l: 2\n\nabc")).expect("well-formed");
        assert_eq!(&m.body_bytes()[..], b"ab");
        assert_eq!(
            kind(&format!("{HEAD}Content-Length: 4\n\nabc")),
            Some(ErrorKind::BodyTooShort)
        );
        assert_eq!(
            kind(&format!("{HEAD}Content-Length: 3\nl: 2\n\nabc")),
            Some(ErrorKind::BadContentLength)
        );
        assert_eq!(
            kind(&format!("{HEAD}Content-Length: -3\n\nabc")),
            Some(ErrorKind::BadContentLength)
        );
    }

    #[test]
    fn a_stream_message_without_length_has_no_body() {
        let raw = Bytes::from(format!("{HEAD}\n").replace('\n', "\r\n") + "next");
        let m = Message::parse(raw, Carrier::Stream).expect("well-formed");
        assert_eq!(m.body(), b"");
    }

    #[test]
    fn any_bytes_are_taken_in_headers_and_body() {
        let mut raw = HEAD.replace('\n', "\r\n").into_bytes();
        raw.extend_from_slice(b"Subject : \xce\xd2,\x00\r\n\r\n\xff\xfe\x00\r\n");
        let m = Message::parse(Bytes::from(raw), Carrier::Datagram).expect("well-formed");
        assert_eq!(m.header(HeaderName::Subject), Some(&b"\xce\xd2,\x00"[..]));
        assert_eq!(m.header_str(HeaderName::Subject), None);
        assert_eq!(m.body(), b"\xff\xfe\x00\r\n");
    }

    #[test]
    fn folded_lines_and_bare_line_feeds() {
        let text = HEAD.replace("To: <sip:1@h>", "t :\n  <sip:1@h>\n\t;tag=x");
        let m = parse(&format!("{text}\nabc\n d")).expect("well-formed");
        assert_eq!(m.to_tag(), Some("x"));
        assert_eq!(m.body(), b"abc\r\n d");
        let m = Message::parse(Bytes::from(format!("\n{text}\nabc\n d")), Carrier::Datagram)
            .expect("well-formed");
        assert_eq!((m.to_tag(), m.body()), (Some("x"), &b"abc\n d"[..]));
    }

    #[test]
    fn defects_are_told_with_their_place() {
        assert_eq!(kind("GET / HTTP/1.1\n\n"), Some(ErrorKind::NotSip));
        assert_eq!(kind(""), Some(ErrorKind::NotSip));
        assert_eq!(kind("SIP/2.0 4294967301 x\n\n"), Some(ErrorKind::BadStatus));
        assert_eq!(
            kind(&HEAD.replace("CSeq: 7 MESSAGE", "CSeq: 7 INFO")),
            Some(ErrorKind::MethodMismatch)
        );
        assert_eq!(
            kind(&HEAD.replace("Call-ID: c", "Call-ID:")),
            Some(ErrorKind::BadCallId)
        );
        assert_eq!(
            kind(&HEAD.replace("To: <sip:1@h>\n", "")),
            Some(ErrorKind::MissingHeader)
        );
        assert_eq!(
            kind(&HEAD.replace("SIP/2.0\n", "SIP/7.0\n")),
            Some(ErrorKind::BadVersion)
        );
        assert_eq!(
            kind(&HEAD.replace("sip:1@h SIP", "sip:1@h; lr SIP")),
            Some(ErrorKind::BadRequestLine)
        );
        let error = parse(&format!("{HEAD}From: <sip:3@h>\n\n")).expect_err("two of From");
        assert_eq!(error.kind, ErrorKind::RepeatedHeader);
        assert_eq!(error.offset as usize, HEAD.replace('\n', "\r\n").len() + 6);
        assert_eq!(
            kind(&format!("{HEAD}nonsense\n\n")),
            Some(ErrorKind::BadHeaderLine)
        );
    }

    #[test]
    fn lines_and_bytes_of_a_head_are_bounded_from_both_sides() {
        let own = HEAD.lines().count() - 1;
        let fill = |n: usize| format!("{HEAD}{}\n", "X: y\n".repeat(n));
        assert!(parse(&fill(SIP_HEADER_LINES_MAX - own)).is_ok());
        assert_eq!(
            kind(&fill(SIP_HEADER_LINES_MAX - own + 1)),
            Some(ErrorKind::TooManyHeaders)
        );
        let base = format!("{HEAD}X: \n\n").replace('\n', "\r\n").len();
        let pad = |n: usize| format!("{HEAD}X: {}\n\n", "y".repeat(n));
        assert!(parse(&pad(SIP_HEAD_BYTES_MAX - base)).is_ok());
        assert_eq!(
            kind(&(pad(SIP_HEAD_BYTES_MAX - base + 1) + "body")),
            Some(ErrorKind::HeadTooLong)
        );
    }

    #[test]
    fn expires_of_contact_goes_before_the_header() {
        let m = parse(&format!(
            "{HEAD}Contact: <sip:a@b>;expires=60\nExpires: 3600\n\n"
        ))
        .expect("well-formed");
        assert_eq!(m.expires(), Some(60));
        assert_eq!(m.contact_host_port(), Some(("b", 5060)));
        let m = parse(&format!("{HEAD}Expires: 36000000000000\n\n")).expect("well-formed");
        assert_eq!(m.expires(), Some(u32::MAX));
        let m = parse(&format!("{HEAD}Expires: soon\n\n")).expect("well-formed");
        assert_eq!(m.expires(), None);
    }
}
