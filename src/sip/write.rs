//! Writes requests and responses. What comes out is well-formed whatever went in.
//!
//! RFC 3261, 7, 8.1.1, 8.2.6, 18.2.1; RFC 3581, 4 (`received` and `rport`). The user of the stack names what is his
//! (method, addresses, headers, body); Via, tags, Call-ID, CSeq, Max-Forwards, product and Content-Length are filled in
//! by the [endpoint](super::endpoint). Header lines come in the order of RFC 3261's examples, Via first: some devices
//! read no other order. CR, LF and NUL in a value become spaces, so no value can add a line.

use std::io::Write;
use std::net::IpAddr;

use bytes::Bytes;

use super::header::{NameAddr, Params, Via, split_list};
use super::message::Message;
use super::name::{HeaderName, Method};
use super::transaction::{Path, Transport};

/// Header lines of the user, ready to send.
#[derive(Clone, Debug, Default)]
struct Lines {
    text: Vec<u8>,
    has: u64,
}

impl Lines {
    fn push(&mut self, name: &str, value: &[u8]) {
        line(&mut self.text, name, value);
    }

    fn has(&self, name: HeaderName) -> bool {
        self.has & name.bit() != 0
    }

    /// Headers that the endpoint writes are not taken.
    fn set(&mut self, name: HeaderName, value: &[u8]) {
        let own = HeaderName::Via.bit() | HeaderName::ContentLength.bit() | HeaderName::Other.bit();
        if own & name.bit() == 0 {
            self.has |= name.bit();
            self.push(name.as_str(), value);
        }
    }
}

/// A request to be sent. Every setter may be called in any order.
#[derive(Clone, Debug)]
pub struct Request {
    pub(super) method: Method,
    pub(super) uri: String,
    pub(super) from: String,
    pub(super) to: String,
    pub(super) call_id: Option<String>,
    pub(super) cseq: Option<u32>,
    lines: Lines,
    body: Bytes,
}

impl Request {
    /// A request to `uri`, which is also the address of To until [`Request::to`] says otherwise.
    pub fn new(method: Method, uri: impl Into<String>) -> Request {
        let uri = clean(uri.into());
        Request {
            method,
            to: format!("<{uri}>"),
            uri,
            from: String::new(),
            call_id: None,
            cseq: None,
            lines: Lines::default(),
            body: Bytes::new(),
        }
    }

    /// `<sip:id@domain>` or with a display name; a tag is added unless it has one.
    pub fn from(mut self, address: impl Into<String>) -> Request {
        self.from = clean(address.into());
        self
    }

    pub fn to(mut self, address: impl Into<String>) -> Request {
        self.to = clean(address.into());
        self
    }

    pub fn call_id(mut self, call_id: impl Into<String>) -> Request {
        self.call_id = Some(clean(call_id.into()));
        self
    }

    /// The sequence number; 1 unless it is set.
    pub fn cseq(mut self, number: u32) -> Request {
        self.cseq = Some(number);
        self
    }

    pub fn contact(self, address: impl AsRef<[u8]>) -> Request {
        self.header(HeaderName::Contact, address)
    }

    /// Adds a header line. From, To, Call-ID and CSeq have setters of their own; Via and Content-Length are the
    /// endpoint's: they are not taken here.
    pub fn header(mut self, name: HeaderName, value: impl AsRef<[u8]>) -> Request {
        let own = [
            HeaderName::From,
            HeaderName::To,
            HeaderName::CallId,
            HeaderName::CSeq,
        ];
        if !own.contains(&name) {
            self.lines.set(name, value.as_ref());
        }
        self
    }

    /// Adds a header that has no [`HeaderName`].
    pub fn header_named(mut self, name: &str, value: impl AsRef<[u8]>) -> Request {
        self.lines.push(name, value.as_ref());
        self
    }

    pub fn body(mut self, content_type: &str, body: impl Into<Bytes>) -> Request {
        self.lines
            .set(HeaderName::ContentType, content_type.as_bytes());
        self.body = body.into();
        self
    }

    pub fn call_id_text(&self) -> Option<&str> {
        self.call_id.as_deref()
    }

    /// The values of From and To as they will be written, once the request is complete.
    pub fn parties(&self) -> (&str, &str) {
        (&self.from, &self.to)
    }

    pub fn content(&self) -> &[u8] {
        &self.body
    }

    /// The Request-URI.
    pub fn uri_text(&self) -> &str {
        &self.uri
    }

    pub fn method(&self) -> Method {
        self.method
    }

    /// Writes the request; From (with its tag), Call-ID and CSeq must be set.
    pub(super) fn write(&self, out: &mut Vec<u8>, path: &Path, branch: &str, product: &str) {
        out.extend_from_slice(self.method.as_str().as_bytes());
        put(out, format_args!(" {} SIP/2.0\r\n", self.uri));
        put_via(out, path, branch);
        line(out, "From", self.from.as_bytes());
        line(out, "To", self.to.as_bytes());
        line(
            out,
            "Call-ID",
            self.call_id.as_deref().unwrap_or("").as_bytes(),
        );
        let cseq = self.cseq.unwrap_or(1);
        put(out, format_args!("CSeq: {cseq} {}\r\n", self.method));
        let needs_contact = matches!(self.method, Method::Invite | Method::Subscribe);
        if needs_contact && !self.lines.has(HeaderName::Contact) {
            put_contact(
                out,
                user_of(self.from.as_bytes()),
                path,
                self.uri.as_bytes(),
            );
        }
        if !self.lines.has(HeaderName::MaxForwards) {
            out.extend_from_slice(b"Max-Forwards: 70\r\n");
        }
        out.extend_from_slice(&self.lines.text);
        if !product.is_empty() && !self.lines.has(HeaderName::UserAgent) {
            line(out, "User-Agent", product.as_bytes());
        }
        put_body(out, &self.body);
    }
}

/// An answer to be sent. To, Via and the rest come from the request it answers.
#[derive(Clone, Debug)]
pub struct Response {
    pub(super) status: u16,
    reason: Option<String>,
    to_tag: Option<String>,
    lines: Lines,
    body: Bytes,
}

impl Response {
    /// `status` 100 to 699, else it becomes 500.
    pub fn new(status: u16) -> Response {
        Response {
            status: if (100..700).contains(&status) {
                status
            } else {
                500
            },
            reason: None,
            to_tag: None,
            lines: Lines::default(),
            body: Bytes::new(),
        }
    }

    pub fn status(&self) -> u16 {
        self.status
    }

    /// Replaces the usual reason phrase.
    pub fn reason(mut self, reason: impl Into<String>) -> Response {
        self.reason = Some(clean(reason.into()));
        self
    }

    /// Replaces the tag that the endpoint would add to To.
    pub fn to_tag(mut self, tag: impl Into<String>) -> Response {
        self.to_tag = Some(clean(tag.into()));
        self
    }

    pub fn contact(self, address: impl AsRef<[u8]>) -> Response {
        self.header(HeaderName::Contact, address)
    }

    /// Adds a header line. Via, From, To, Call-ID, CSeq, Record-Route and Content-Length are not taken: they are copied
    /// from the request or made by the endpoint.
    pub fn header(mut self, name: HeaderName, value: impl AsRef<[u8]>) -> Response {
        let copied = [
            HeaderName::From,
            HeaderName::To,
            HeaderName::CallId,
            HeaderName::CSeq,
            HeaderName::RecordRoute,
        ];
        if !copied.contains(&name) {
            self.lines.set(name, value.as_ref());
        }
        self
    }

    /// Adds a header that has no [`HeaderName`].
    pub fn header_named(mut self, name: &str, value: impl AsRef<[u8]>) -> Response {
        self.lines.push(name, value.as_ref());
        self
    }

    pub fn body(mut self, content_type: &str, body: impl Into<Bytes>) -> Response {
        self.lines
            .set(HeaderName::ContentType, content_type.as_bytes());
        self.body = body.into();
        self
    }

    /// Writes the answer to `request`, which came by `path`. Headers that the request lacks are left out, so that a
    /// malformed request can be refused too.
    pub(super) fn write(
        &self,
        out: &mut Vec<u8>,
        request: &Message,
        path: &Path,
        tag: &str,
        product: &str,
    ) {
        let reason = self.reason.as_deref().unwrap_or(reason_phrase(self.status));
        put(out, format_args!("SIP/2.0 {} {reason}\r\n", self.status));
        let in_dialog = matches!(
            request.method(),
            Some(Method::Invite | Method::Subscribe | Method::Refer)
        );
        let makes_dialog = in_dialog && (101..300).contains(&self.status);
        let mut top = true;
        for (name, _, value) in request.headers() {
            if name == HeaderName::Via {
                if std::mem::take(&mut top) {
                    put_via_back(out, value, path);
                } else {
                    line(out, "Via", value);
                }
            } else if name == HeaderName::RecordRoute && makes_dialog {
                line(out, "Record-Route", value);
            }
        }
        for name in [
            HeaderName::From,
            HeaderName::To,
            HeaderName::CallId,
            HeaderName::CSeq,
        ] {
            let Some(value) = request.header(name) else {
                continue;
            };
            let add_tag = name == HeaderName::To
                && self.status > 100
                && NameAddr::parse(value).is_ok_and(|to| to.tag().is_none());
            if add_tag {
                let tag = self.to_tag.as_deref().unwrap_or(tag);
                out.extend_from_slice(b"To: ");
                put_clean(out, value);
                put(out, format_args!(";tag={tag}\r\n"));
            } else {
                line(out, name.as_str(), value);
            }
        }
        if makes_dialog && !self.lines.has(HeaderName::Contact) {
            let user = request.header(HeaderName::To).and_then(user_of);
            put_contact(out, user, path, request.uri());
        }
        out.extend_from_slice(&self.lines.text);
        if !product.is_empty() && !self.lines.has(HeaderName::Server) {
            line(out, "Server", product.as_bytes());
        }
        put_body(out, &self.body);
    }
}

/// ACK of a final answer other than 2xx, or CANCEL: of the same branch, numbers and route as the INVITE (RFC 3261, 9.1
/// and 17.1.1.3). `to` is the To of the answer for ACK, of the INVITE for CANCEL.
pub(super) fn write_after_invite(out: &mut Vec<u8>, invite: &Message, method: Method, to: &[u8]) {
    out.extend_from_slice(method.as_str().as_bytes());
    out.push(b' ');
    put_clean(out, invite.uri());
    out.extend_from_slice(b" SIP/2.0\r\n");
    for (name, _, value) in invite.headers() {
        let kept = [
            HeaderName::Via,
            HeaderName::From,
            HeaderName::CallId,
            HeaderName::Route,
        ];
        if kept.contains(&name) {
            line(out, name.as_str(), value);
        }
    }
    line(out, "To", to);
    let number = invite.cseq().map_or(1, |c| c.number);
    put(out, format_args!("CSeq: {number} {method}\r\n"));
    out.extend_from_slice(b"Max-Forwards: 70\r\nContent-Length: 0\r\n\r\n");
}

fn put(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("a Vec takes every write");
}

fn put_clean(out: &mut Vec<u8>, value: &[u8]) {
    let from = out.len();
    out.extend_from_slice(value);
    for b in &mut out[from..] {
        if matches!(*b, b'\r' | b'\n' | 0) {
            *b = b' ';
        }
    }
}

fn clean(mut text: String) -> String {
    if text.contains(['\r', '\n', '\0']) {
        text = text.replace(['\r', '\n', '\0'], " ");
    }
    text
}

fn line(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    put_clean(out, name.as_bytes());
    out.extend_from_slice(b": ");
    put_clean(out, value);
    out.extend_from_slice(b"\r\n");
}

fn put_body(out: &mut Vec<u8>, body: &[u8]) {
    put(out, format_args!("Content-Length: {}\r\n\r\n", body.len()));
    out.extend_from_slice(body);
}

fn put_via(out: &mut Vec<u8>, path: &Path, branch: &str) {
    let transport = match path.transport {
        Transport::Udp => "UDP",
        Transport::Tcp(_) => "TCP",
        Transport::Tls(_) => "TLS",
    };
    put(
        out,
        format_args!(
            "Via: SIP/2.0/{transport} {};rport;branch={branch}\r\n",
            path.local
        ),
    );
}

/// `of`: the Request-URI. One that is `sips:` wants a Contact that is (RFC 3261, 8.1.1.8 and 12.1.1); else the transport is
/// named, also TLS, because devices follow the parameter and few know the other scheme.
fn put_contact(out: &mut Vec<u8>, user: Option<&str>, path: &Path, of: &[u8]) {
    let secure = of
        .get(..5)
        .is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"sips:"));
    let (scheme, transport) = match (path.transport, secure) {
        (Transport::Udp, _) => ("sip", ""),
        (Transport::Tcp(_), _) => ("sip", ";transport=tcp"),
        (Transport::Tls(_), false) => ("sip", ";transport=tls"),
        (Transport::Tls(_), true) => ("sips", ""),
    };
    let local = path.local;
    match user {
        Some(user) => put(
            out,
            format_args!("Contact: <{scheme}:{user}@{local}{transport}>\r\n"),
        ),
        None => put(
            out,
            format_args!("Contact: <{scheme}:{local}{transport}>\r\n"),
        ),
    }
}

fn user_of(address: &[u8]) -> Option<&str> {
    NameAddr::parse(address).ok()?.parse_uri().ok()?.user
}

/// The topmost Via line of a request with what RFC 3261, 18.2.1 and RFC 3581, 4 add to its first value.
fn put_via_back(out: &mut Vec<u8>, value: &[u8], path: &Path) {
    let top = split_list(value).next().unwrap_or(b"");
    let Ok(via) = Via::parse(top) else {
        line(out, "Via", value);
        return;
    };
    let peer = path.peer.ip().to_canonical();
    let asked = via.rport().is_some();
    let moved = via.host.parse::<IpAddr>().map(|ip| ip.to_canonical()) != Ok(peer);
    if !asked && !moved {
        line(out, "Via", value);
        return;
    }
    out.extend_from_slice(b"Via: ");
    let end = memchr::memchr(b';', top).unwrap_or(top.len());
    put_clean(out, &top[..end]);
    for (name, text) in Params(&top[end..]).iter() {
        if name.eq_ignore_ascii_case(b"received") {
            continue;
        }
        out.push(b';');
        put_clean(out, name);
        if name.eq_ignore_ascii_case(b"rport") {
            put(out, format_args!("={}", path.peer.port()));
        } else if !text.is_empty() {
            out.push(b'=');
            put_clean(out, text);
        }
    }
    put(out, format_args!(";received={peer}"));
    let rest = &value[top.len().min(value.len())..];
    put_clean(out, rest);
    out.extend_from_slice(b"\r\n");
}

/// The usual phrase of a status (RFC 3261, 21).
pub fn reason_phrase(status: u16) -> &'static str {
    match status {
        100 => "Trying",
        180 => "Ringing",
        181 => "Call Is Being Forwarded",
        183 => "Session Progress",
        200 => "OK",
        202 => "Accepted",
        301 => "Moved Permanently",
        302 => "Moved Temporarily",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        407 => "Proxy Authentication Required",
        408 => "Request Timeout",
        413 => "Request Entity Too Large",
        415 => "Unsupported Media Type",
        416 => "Unsupported URI Scheme",
        420 => "Bad Extension",
        423 => "Interval Too Brief",
        480 => "Temporarily Unavailable",
        481 => "Call/Transaction Does Not Exist",
        482 => "Loop Detected",
        483 => "Too Many Hops",
        486 => "Busy Here",
        487 => "Request Terminated",
        488 => "Not Acceptable Here",
        489 => "Bad Event",
        491 => "Request Pending",
        500 => "Server Internal Error",
        501 => "Not Implemented",
        503 => "Service Unavailable",
        504 => "Server Time-out",
        505 => "Version Not Supported",
        600 => "Busy Everywhere",
        603 => "Decline",
        _ => match status / 100 {
            1 => "Progress",
            2 => "OK",
            3 => "Redirection",
            4 => "Request Failure",
            5 => "Server Failure",
            _ => "Global Failure",
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::message::Carrier;

    fn path(peer: &str) -> Path {
        Path {
            peer: peer.parse().expect("an address"),
            local: "10.0.0.1:5060".parse().expect("an address"),
            transport: Transport::Udp,
        }
    }

    fn read(bytes: Vec<u8>) -> Message {
        Message::parse(Bytes::from(bytes), Carrier::Stream).expect("we write what we can read")
    }

    #[test]
    fn a_written_request_reads_back_with_its_body_byte_for_byte() {
        let body = b"\xce\xd2\r\n\r\n\x00\xff".as_slice();
        let mut request = Request::new(Method::Message, "sip:1@h")
            .from("<sip:2@h>;tag=t\r\nEvil: yes")
            .call_id("c")
            .header(HeaderName::Subject, b"\xb8\x5c\nx")
            .header(HeaderName::ContentLength, "99")
            .header_named("X-GB-Ver", "3.0")
            .body("Application/MANSCDP+xml", body);
        request.cseq = Some(3);
        let mut out = Vec::new();
        request.write(&mut out, &path("10.0.0.2:5060"), "z9hG4bKb", "P");
        let m = read(out);
        assert_eq!(m.body(), body);
        assert_eq!(m.header(HeaderName::Subject), Some(&b"\xb8\x5c x"[..]));
        assert_eq!(m.header_named("x-gb-ver"), Some(&b"3.0"[..]));
        assert_eq!(m.header_named("Evil"), None);
        assert_eq!(m.cseq().map(|c| c.number), Some(3));
        assert_eq!(m.via_top().map(|v| v.rport()), Ok(Some(None)));
    }

    #[test]
    fn via_and_contact_say_by_what_the_answer_is_to_come() {
        use crate::sip::ConnId;
        let conn = ConnId(1);
        for (transport, uri, via, contact) in [
            (Transport::Udp, "sip:1@h", "UDP", "<sip:2@10.0.0.1:5060>"),
            (
                Transport::Tcp(conn),
                "sip:1@h",
                "TCP",
                "<sip:2@10.0.0.1:5060;transport=tcp>",
            ),
            (
                Transport::Tls(conn),
                "sip:1@h",
                "TLS",
                "<sip:2@10.0.0.1:5060;transport=tls>",
            ),
            (
                Transport::Tls(conn),
                "SIPS:1@h",
                "TLS",
                "<sips:2@10.0.0.1:5060>",
            ),
        ] {
            let mut request = Request::new(Method::Invite, uri)
                .from("<sip:2@h>;tag=t")
                .call_id("c");
            request.cseq = Some(1);
            let path = Path {
                transport,
                ..path("10.0.0.2:5060")
            };
            let mut out = Vec::new();
            request.write(&mut out, &path, "z9hG4bKb", "P");
            let m = read(out);
            let text =
                |name| String::from_utf8_lossy(m.header(name).unwrap_or_default()).into_owned();
            assert!(text(HeaderName::Via).starts_with(&format!("SIP/2.0/{via} 10.0.0.1:5060;")));
            assert_eq!(text(HeaderName::Contact), contact);
        }
    }

    fn answer(via: &str, peer: &str) -> Message {
        let text = format!(
            "INVITE sip:1@h SIP/2.0\r\nv: {via}\r\nVia: SIP/2.0/UDP next;branch=z9hG4bKn\r\nRecord-Route: <sip:p;lr>\r\n\
             From: <sip:2@h>;tag=a\r\nTo: <sip:1@h>\r\nCall-ID: c\r\nCSeq: 7 INVITE\r\n\r\n"
        );
        let request = Message::parse(Bytes::from(text), Carrier::Datagram).expect("well-formed");
        let mut out = Vec::new();
        Response::new(200).write(&mut out, &request, &path(peer), "T", "");
        read(out)
    }

    #[test]
    fn an_answer_carries_vias_routes_and_a_tag() {
        let m = answer(
            "SIP/2.0/UDP 192.168.1.64:5060;rport;branch=z9hG4bK1, SIP/2.0/TCP second;branch=x",
            "203.0.113.9:40000",
        );
        let vias: Vec<_> = m.values(HeaderName::Via).collect();
        assert_eq!(vias.len(), 3);
        let top = m.via_top().expect("well-formed");
        assert_eq!(top.rport(), Some(Some(40000)));
        assert_eq!(top.received(), Some("203.0.113.9"));
        assert_eq!(top.branch(), Some("z9hG4bK1"));
        assert_eq!(m.to_tag(), Some("T"));
        assert_eq!(m.header(HeaderName::RecordRoute), Some(&b"<sip:p;lr>"[..]));
        assert_eq!(m.contact().map(|c| c.uri), Ok(&b"sip:1@10.0.0.1:5060"[..]));
    }

    #[test]
    fn received_is_added_only_where_it_tells_something() {
        let m = answer("SIP/2.0/UDP 10.0.0.9:5060;branch=z9hG4bK1", "10.0.0.9:5060");
        assert_eq!(m.via_top().map(|v| v.received()), Ok(None));
        let m = answer("SIP/2.0/UDP cam.local;branch=z9hG4bK1", "10.0.0.9:5060");
        assert_eq!(m.via_top().map(|v| v.received()), Ok(Some("10.0.0.9")));
        assert_eq!(m.via_top().map(|v| v.rport()), Ok(None));
    }
}
