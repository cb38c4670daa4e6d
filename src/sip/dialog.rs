//! Dialogs: what both sides of a call agreed on, and the requests within it.
//!
//! RFC 3261, 12 (state), 12.2.1.1 (requests), 13.2.2.4 (ACK), 15 (BYE). ACK of a refusal and CANCEL belong to the
//! transaction and are the [endpoint](super::endpoint)'s.
//!
//! Strict routing (RFC 2543 proxies, a route without `lr`) is not done: the route set is copied as it is.
//! Bound: [`SIP_ROUTES_MAX`].

use super::error::ErrorKind;
use super::header::NameAddr;
use super::message::Message;
use super::name::{HeaderName, Method};
use super::write::Request;
use crate::limits::SIP_ROUTES_MAX;

/// Requests that a dialog may have made since it was written as text.
const WRITTEN_BEHIND: u32 = 100_000;

/// Names a dialog (RFC 3261, 12).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DialogId {
    pub call_id: String,
    pub local_tag: String,
    /// Empty if the peer sends none (RFC 2543).
    pub remote_tag: String,
}

/// One dialog.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dialog {
    id: DialogId,
    /// From of our requests, with tag.
    local: String,
    /// To of our requests, with tag.
    remote: String,
    /// Request-URI of our requests: the peer's Contact.
    pub remote_target: String,
    routes: Vec<String>,
    local_cseq: u32,
    remote_cseq: Option<u32>,
    invite_cseq: u32,
}

fn text(value: &[u8]) -> String {
    String::from_utf8_lossy(value).into_owned()
}

fn routes(message: &Message) -> Result<Vec<String>, ErrorKind> {
    let routes: Vec<String> = message
        .values(HeaderName::RecordRoute)
        .filter(|v| !v.is_empty())
        .take(SIP_ROUTES_MAX + 1)
        .map(text)
        .collect();
    if routes.len() > SIP_ROUTES_MAX {
        return Err(ErrorKind::TooManyHeaders);
    }
    Ok(routes)
}

impl Dialog {
    /// The dialog of a request of ours, from its 2xx (or 1xx with a To tag).
    ///
    /// Errors: the kind of the header that cannot be read. Without Contact the peer's To address takes its place.
    pub fn from_answer(response: &Message) -> Result<Dialog, ErrorKind> {
        let (from, to) = (response.from()?, response.to()?);
        let number = response.cseq().ok_or(ErrorKind::BadCSeq)?.number;
        let mut routes = routes(response)?;
        // The caller sees the route set in reverse (RFC 3261, 12.1.2).
        routes.reverse();
        Ok(Dialog {
            id: DialogId {
                call_id: response.call_id().to_owned(),
                local_tag: from.tag().unwrap_or("").to_owned(),
                remote_tag: to.tag().unwrap_or("").to_owned(),
            },
            local: text(response.header(HeaderName::From).unwrap_or(b"")),
            remote: text(response.header(HeaderName::To).unwrap_or(b"")),
            remote_target: target(response, &to),
            routes,
            local_cseq: number,
            remote_cseq: None,
            invite_cseq: number,
        })
    }

    /// The dialog of a peer's request that we answer with `local_tag` (see
    /// [`Endpoint::local_tag`](super::endpoint::Endpoint::local_tag)).
    pub fn from_request(request: &Message, local_tag: &str) -> Result<Dialog, ErrorKind> {
        let (from, to) = (request.from()?, request.to()?);
        let number = request.cseq().ok_or(ErrorKind::BadCSeq)?.number;
        let mut local = text(request.header(HeaderName::To).unwrap_or(b""));
        if to.tag().is_none() {
            local.push_str(";tag=");
            local.push_str(local_tag);
        }
        Ok(Dialog {
            id: DialogId {
                call_id: request.call_id().to_owned(),
                local_tag: local_tag.to_owned(),
                remote_tag: from.tag().unwrap_or("").to_owned(),
            },
            local,
            remote: text(request.header(HeaderName::From).unwrap_or(b"")),
            remote_target: target(request, &from),
            routes: routes(request)?,
            local_cseq: 0,
            remote_cseq: Some(number),
            invite_cseq: number,
        })
    }

    pub fn id(&self) -> &DialogId {
        &self.id
    }

    /// Whether a request of the peer belongs to this dialog: To holds our tag, From the peer's.
    pub fn matches(&self, request: &Message) -> bool {
        request.call_id() == self.id.call_id
            && request.to_tag().unwrap_or("") == self.id.local_tag
            && request.from_tag().unwrap_or("") == self.id.remote_tag
    }

    /// Counts the peer's CSeq; `false`: it is out of order, answer 500 (RFC 3261, 12.2.2).
    pub fn accept_cseq(&mut self, request: &Message) -> bool {
        let Some(number) = request.cseq().map(|c| c.number) else {
            return false;
        };
        let in_order = self.remote_cseq.is_none_or(|last| number > last);
        if in_order {
            self.remote_cseq = Some(number);
        }
        in_order
    }

    /// A request within the dialog, with the next CSeq.
    pub fn request(&mut self, method: Method) -> Request {
        self.local_cseq += 1;
        self.numbered(method, self.local_cseq)
    }

    /// The ACK of the 2xx: it has the CSeq of the INVITE.
    pub fn ack(&self) -> Request {
        self.numbered(Method::Ack, self.invite_cseq)
    }

    fn numbered(&self, method: Method, number: u32) -> Request {
        let request = Request::new(method, self.remote_target.as_str())
            .from(self.local.as_str())
            .to(self.remote.as_str())
            .call_id(self.id.call_id.as_str())
            .cseq(number);
        self.routes
            .iter()
            .fold(request, |r, route| r.header(HeaderName::Route, route))
    }
}

/// A dialog as text, so that one that outlives its owner can still be ended: a line a field, the routes last.
impl Dialog {
    pub fn to_text(&self) -> String {
        let cseq = self.local_cseq.to_string();
        let invite = self.invite_cseq.to_string();
        let fields = [
            &self.id.call_id,
            &self.id.local_tag,
            &self.id.remote_tag,
            &self.local,
            &self.remote,
            &self.remote_target,
            &cseq,
            &invite,
        ];
        let lines: Vec<&str> = fields
            .into_iter()
            .chain(&self.routes)
            .map(String::as_str)
            .collect();
        lines.join("\n")
    }

    /// The other way, of a dialog that may have gone on after it was written: its requests go on well above the CSeq in the text, as a
    /// peer refuses one below what it has seen (RFC 3261, 12.2.2). `None`: it is no such text.
    pub fn from_text(text: &str) -> Option<Dialog> {
        let mut lines = text.split('\n').map(str::to_owned);
        let mut next = || lines.next();
        let id = DialogId {
            call_id: next()?,
            local_tag: next()?,
            remote_tag: next()?,
        };
        let (local, remote, remote_target) = (next()?, next()?, next()?);
        let local_cseq = next()?.parse::<u32>().ok()?.checked_add(WRITTEN_BEHIND)?;
        let invite_cseq = next()?.parse().ok()?;
        Some(Dialog {
            id,
            local,
            remote,
            remote_target,
            routes: lines.take(SIP_ROUTES_MAX).collect(),
            local_cseq,
            remote_cseq: None,
            invite_cseq,
        })
    }
}

/// The peer's Contact, else its address.
fn target(message: &Message, peer: &NameAddr<'_>) -> String {
    match message.contact() {
        Ok(contact) if contact.parse_uri().is_ok() => text(contact.uri),
        Ok(_) | Err(_) => text(peer.uri),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::sip::message::Carrier;

    fn message(text: &str) -> Message {
        Message::parse(Bytes::from(text.replace('\n', "\r\n")), Carrier::Datagram)
            .expect("well-formed")
    }

    const OK: &str = "SIP/2.0 200 OK\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\nRecord-Route: <sip:p2;lr>, <sip:p1;lr>\n\
        From: <sip:us@h>;tag=a\nTo: <sip:cam@h>;tag=b\nCall-ID: c\nCSeq: 20 INVITE\n\
        Contact: <sip:cam@192.168.1.64:5060>\n\n";

    #[test]
    fn the_caller_side() {
        let mut dialog = Dialog::from_answer(&message(OK)).expect("complete");
        let mut again = Dialog::from_text(&dialog.to_text()).expect("our own text");
        assert_eq!(again.local_cseq, dialog.local_cseq + WRITTEN_BEHIND);
        again.local_cseq = dialog.local_cseq;
        assert_eq!(again, dialog);
        assert_eq!(Dialog::from_text("a\nb"), None);
        assert_eq!(dialog.remote_target, "sip:cam@192.168.1.64:5060");
        assert_eq!(dialog.routes, ["<sip:p1;lr>", "<sip:p2;lr>"]);
        let ack = dialog.ack();
        assert_eq!((ack.method, ack.cseq), (Method::Ack, Some(20)));
        let bye = dialog.request(Method::Bye);
        assert_eq!(
            (bye.uri.as_str(), bye.cseq),
            ("sip:cam@192.168.1.64:5060", Some(21))
        );
        let theirs = |tags: (&str, &str), number: u32| {
            message(&format!(
                "BYE sip:us@h SIP/2.0\nVia: SIP/2.0/UDP h;branch=z9hG4bK2\nFrom: <sip:cam@h>;tag={}\n\
                 To: <sip:us@h>;tag={}\nCall-ID: c\nCSeq: {number} BYE\n\n",
                tags.0, tags.1
            ))
        };
        assert!(dialog.matches(&theirs(("b", "a"), 1)));
        assert!(!dialog.matches(&theirs(("a", "b"), 1)));
        assert!(dialog.accept_cseq(&theirs(("b", "a"), 5)));
        assert!(!dialog.accept_cseq(&theirs(("b", "a"), 5)));
        assert!(dialog.accept_cseq(&theirs(("b", "a"), 6)));
    }

    #[test]
    fn the_called_side() {
        let invite = message(
            "INVITE sip:cam@h SIP/2.0\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\nRecord-Route: <sip:p1;lr>\n\
             From: <sip:us@h>;tag=a\nTo: <sip:cam@h>\nCall-ID: c\nCSeq: 20 INVITE\n\n",
        );
        let mut dialog = Dialog::from_request(&invite, "b").expect("complete");
        // Without Contact the caller's address is the target.
        assert_eq!(dialog.remote_target, "sip:us@h");
        let bye = dialog.request(Method::Bye);
        assert_eq!(
            (bye.from.as_str(), bye.cseq),
            ("<sip:cam@h>;tag=b", Some(1))
        );
        assert_eq!(bye.to, "<sip:us@h>;tag=a");
    }

    #[test]
    fn a_route_set_is_bounded_from_both_sides() {
        let with = |n: usize| {
            let line = format!("Record-Route: {}\n", vec!["<sip:p;lr>"; n].join(","));
            Dialog::from_answer(&message(&OK.replace("From:", &format!("{line}From:"))))
        };
        assert!(with(SIP_ROUTES_MAX - 2).is_ok());
        assert_eq!(with(SIP_ROUTES_MAX - 1), Err(ErrorKind::TooManyHeaders));
    }
}
