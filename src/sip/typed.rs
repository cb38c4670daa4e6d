//! The same headers as `rsip` types, for code at the edge that wants owned, typed values.
//!
//! `rsip` 0.4 reads text that [`super::message`] has found, unfolded and split, so its own weaknesses (compact forms,
//! folding, comma lists, bytes that are not UTF-8) do not show. What it still refuses is an `Err`: an IPv6 sent-by, `tel:`,
//! `SIP / 2.0`, `;` in a user part; [`super::header`] and [`super::uri`] read those. Each call takes microseconds: nothing
//! that is done for every message goes through here.

use rsip::headers::UntypedHeader;
use rsip::typed;

use super::error::ErrorKind;
use super::header::split_list;
use super::message::Message;
use super::name::HeaderName;

fn first(message: &Message, name: HeaderName) -> Result<String, ErrorKind> {
    let line = message.header(name).ok_or(ErrorKind::MissingHeader)?;
    let value = split_list(line).next().unwrap_or(b"");
    std::str::from_utf8(value)
        .map(str::to_owned)
        .map_err(|_| ErrorKind::BadAddress)
}

/// The topmost Via.
pub fn via(message: &Message) -> Result<typed::Via, ErrorKind> {
    use rsip::headers::ToTypedHeader;
    rsip::headers::Via::new(first(message, HeaderName::Via)?)
        .typed()
        .map_err(|_| ErrorKind::BadVia)
}

/// The first Contact.
pub fn contact(message: &Message) -> Result<typed::Contact, ErrorKind> {
    use rsip::headers::ToTypedHeader;
    rsip::headers::Contact::new(first(message, HeaderName::Contact)?)
        .typed()
        .map_err(|_| ErrorKind::BadAddress)
}

/// The Request-URI.
pub fn request_uri(message: &Message) -> Result<rsip::Uri, ErrorKind> {
    let text = std::str::from_utf8(message.uri()).map_err(|_| ErrorKind::BadUri)?;
    rsip::Uri::try_from(text).map_err(|_| ErrorKind::BadUri)
}

/// Authorization as sent, in whatever order its parameters stand.
pub fn authorization(message: &Message) -> Result<typed::Authorization, ErrorKind> {
    use rsip::headers::ToTypedHeader;
    let line = message
        .header_str(HeaderName::Authorization)
        .ok_or(ErrorKind::MissingHeader)?;
    rsip::headers::Authorization::new(line)
        .typed()
        .map_err(|_| ErrorKind::BadHeaderLine)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::sip::message::Carrier;

    #[test]
    fn what_rsip_cannot_read_from_the_wire_it_reads_from_here() {
        let text = "REGISTER sip:34020000002000000001@3402000000 SIP/2.0\r\n\
             v: SIP/2.0/UDP 192.168.1.64:5060;rport;branch=z9hG4bK1, SIP/2.0/UDP b;branch=z9hG4bK2\r\n\
             f: <sip:1@h>;tag=a\r\nTo : <sip:1@h>\r\ni: c\r\nCSeq: 1\r\n REGISTER\r\n\
             m: <sip:1@192.168.1.64:5060>;expires=60,\r\n <sip:2@h>\r\n\
             Authorization: Digest username=\"1\", realm=\"3402000000\", nonce=\"n\", uri=\"sip:h\", response=\"r\", algorithm=MD5\r\n\r\n";
        let m = Message::parse(Bytes::from(text), Carrier::Datagram).expect("well-formed");
        let via = via(&m).expect("typed");
        assert_eq!(
            via.branch().map(|b| b.to_string()),
            Some("z9hG4bK1".to_owned())
        );
        let contact = contact(&m).expect("typed");
        assert_eq!(contact.uri.port(), Some(&rsip::Port::from(5060)));
        let uri = request_uri(&m).expect("typed");
        assert_eq!(uri.user(), Some("34020000002000000001"));
        assert_eq!(authorization(&m).expect("typed").realm, "3402000000");
    }

    #[test]
    fn what_it_refuses_is_an_error_and_our_own_view_reads_it() {
        let text = "OPTIONS tel:+861 SIP/2.0\r\nVia: SIP / 2.0 / UDP [2001:db8::1]:5060;branch=z9hG4bK1\r\n\
             From: <sip:1@h>;tag=a\r\nTo: <sip:1@h>\r\nCall-ID: c\r\nCSeq: 1 OPTIONS\r\n\r\n";
        let m = Message::parse(Bytes::from(text), Carrier::Datagram).expect("well-formed");
        assert!(via(&m).is_err());
        assert_eq!(m.via_top().map(|v| v.host), Ok("2001:db8::1"));
        assert!(contact(&m).is_err());
    }
}
