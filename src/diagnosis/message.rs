//! A SIP message as people may see it: without secrets, and as text.
//!
//! Masked, each with as many asterisks, so that lengths stay true: of Authorization and Proxy-Authorization (RFC 3261,
//! 20.7; RFC 7616, 3.4) every value but those that say who, where and by which method; credentials of another scheme than
//! Digest whole; `Note` of GB/T 28181-2022, annex H (signatures); what stands in XML elements and SDP attributes whose
//! name ends in "password". A challenge stays: without its response it is worth nothing.
//!
//! Text: head and body each in the charset that its bytes are in, GB 18030 or UTF-8.

use memchr::{memchr, memmem};

use crate::gb28181::manscdp::charset;

/// Values of a Digest that identify and do not prove.
const SHOWN: [&[u8]; 8] = [
    b"username",
    b"realm",
    b"uri",
    b"algorithm",
    b"qop",
    b"nc",
    b"opaque",
    b"userhash",
];
const SECRET: &[u8] = b"password";

/// The message without its secrets, byte for byte as long.
pub fn masked(raw: &[u8]) -> Vec<u8> {
    let mut out = raw.to_vec();
    let end = end_of_head(raw);
    let mut at = 0;
    let mut secret = false;
    while at < end {
        let line_end = memchr(b'\n', &raw[at..end]).map_or(end, |n| at + n);
        let line = &raw[at..line_end];
        let folded = line.starts_with(b" ") || line.starts_with(b"\t");
        let value = if folded {
            at
        } else {
            let colon = memchr(b':', line).map_or(line.len(), |n| n);
            let name = line[..colon].trim_ascii();
            secret = [&b"authorization"[..], b"proxy-authorization", b"note"]
                .iter()
                .any(|secret| name.eq_ignore_ascii_case(secret));
            at + (colon + 1).min(line.len())
        };
        if secret {
            mask_credentials(&mut out[value..line_end], folded);
        }
        at = line_end + 1;
    }
    mask_body(&mut out[end..]);
    out
}

/// The message without its secrets as text: head and body.
pub fn shown(raw: &[u8]) -> (String, String) {
    let masked = masked(raw);
    let (head, body) = masked.split_at(end_of_head(&masked));
    let text = |bytes| charset::decode(bytes).text.into_owned();
    (text(head), text(body))
}

/// Offset of the body: behind the first empty line.
fn end_of_head(raw: &[u8]) -> usize {
    let crlf = memmem::find(raw, b"\r\n\r\n").map(|at| at + 4);
    let lf = memmem::find(raw, b"\n\n").map(|at| at + 2);
    match (crlf, lf) {
        (Some(a), Some(b)) => a.min(b),
        (a, b) => a.or(b).unwrap_or(raw.len()),
    }
}

/// `rest` = a folded line of a Digest, which has no scheme.
fn mask_credentials(value: &mut [u8], rest: bool) {
    let from = value.iter().take_while(|b| b.is_ascii_whitespace()).count();
    let scheme = value[from..]
        .iter()
        .take_while(|b| b.is_ascii_alphanumeric())
        .count();
    let digest = value[from..from + scheme].eq_ignore_ascii_case(b"digest");
    if !rest && !digest {
        return stars(&mut value[from + scheme..]);
    }
    let mut at = if rest { 0 } else { from + scheme };
    while at < value.len() {
        let end = at + parameter_len(&value[at..]);
        let parameter = &value[at..end];
        let equals = memchr(b'=', parameter);
        let name = parameter[..equals.unwrap_or(0)].trim_ascii();
        if !SHOWN.iter().any(|shown| name.eq_ignore_ascii_case(shown)) {
            stars(&mut value[at + equals.map_or(0, |n| n + 1)..end]);
        }
        at = end + 1;
    }
}

/// Up to the next comma that is not quoted.
fn parameter_len(value: &[u8]) -> usize {
    let mut quoted = false;
    let end = value.iter().position(|b| {
        quoted ^= *b == b'"';
        *b == b',' && !quoted
    });
    end.unwrap_or(value.len())
}

fn mask_body(body: &mut [u8]) {
    let mut at = 0;
    while let Some(found) = find_secret(&body[at..]) {
        let after = at + found;
        let (from, until): (usize, &[u8]) = match body.get(after) {
            Some(b'>') => (after + 1, b"<"),
            Some(b':' | b'=') => (after + 1, b"\r\n"),
            // Attributes of the element: its text begins behind them.
            Some(b' ' | b'\t') => {
                let end = memchr(b'>', &body[after..]).map_or(body.len(), |n| after + n + 1);
                (end.min(body.len()), b"<")
            }
            _ => (after, b""),
        };
        let len = body[from..]
            .iter()
            .position(|b| until.is_empty() || until.contains(b))
            .unwrap_or(body.len() - from);
        stars(&mut body[from..from + len]);
        at = from + len;
    }
}

/// Offset behind the next "password".
fn find_secret(body: &[u8]) -> Option<usize> {
    let windows = body.windows(SECRET.len());
    let mut places = windows
        .enumerate()
        .filter(|(_, w)| w.eq_ignore_ascii_case(SECRET));
    places.next().map(|(at, _)| at + SECRET.len())
}

/// Line ends stay.
fn stars(bytes: &mut [u8]) {
    for byte in bytes {
        if !matches!(byte, b'\r' | b'\n' | b' ' | b'\t' | b'"') {
            *byte = b'*';
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(message: &str) -> String {
        let masked = masked(message.as_bytes());
        assert_eq!(masked.len(), message.len());
        String::from_utf8(masked).expect("stars are ASCII")
    }

    #[test]
    fn what_proves_is_masked_and_what_identifies_stays() {
        let out = text(
            "REGISTER sip:a SIP/2.0\r\nAuthorization: Digest username=\"3402\", realm=\"3402000000\", nonce=\"n,1\", \
             uri=\"sip:a\", response=\"6629fae49393a05397450978507c4ef1\", algorithm=MD5, cnonce=\"0a4f\", qop=auth, nc=00000001\r\n\
             Content-Length: 0\r\n\r\n",
        );
        assert!(
            out.contains("username=\"3402\", realm=\"3402000000\", nonce=\"***\", uri=\"sip:a\"")
        );
        assert!(out.contains("response=\"********************************\", algorithm=MD5"));
        assert!(out.contains("cnonce=\"****\", qop=auth, nc=00000001\r\nContent-Length: 0"));
    }

    #[test]
    fn credentials_in_any_shape_are_masked() {
        for (line, secret) in [
            ("Authorization: Basic dXNlcjpwYXNz", "dXNl"),
            ("proxy-authorization:Digest response=abcd", "abcd"),
            (
                "Authorization: Digest username=\"a\",\r\n response=\"abcd\"",
                "abcd",
            ),
            ("Authorization : DIGEST response = \"abcd\"", "abcd"),
            ("Authorization: abcd", "\0"),
            ("Authorization: Capability algorithm=\"abcd\"", "abcd"),
            ("Note: Digest nonce=\"abcd\",algorithm=SM3", "abcd"),
            ("Authorization: Digest abcd", "abcd"),
            ("Authorization:", "\0"),
        ] {
            let out = text(&format!(
                "REGISTER sip:a SIP/2.0\r\n{line}\r\nTo: <sip:b@c>\r\n\r\n"
            ));
            assert!(!out.contains(secret), "{out}");
            assert!(out.ends_with("\r\nTo: <sip:b@c>\r\n\r\n"), "{out}");
        }
    }

    #[test]
    fn passwords_in_bodies_are_masked() {
        let out = text(
            "MESSAGE sip:a SIP/2.0\r\n\r\n<Item><Password>geheim</Password><UserPassword a=\"1\">geheim</UserPassword>\
             <Name>Gate</Name></Item>\r\na=username:34\r\na=password:geheim\r\ny=0100000001\r\n",
        );
        assert!(!out.contains("geheim"), "{out}");
        assert!(out.contains("<Name>Gate</Name>") && out.contains("<Password>******</Password>"));
        assert!(out.contains("a=username:34\r\na=password:******\r\ny=0100000001"));
        for odd in ["password", "<password", "<Password>", "password =", ""] {
            text(&format!("M\r\n\r\n{odd}"));
        }
    }

    #[test]
    fn chinese_bodies_are_text() {
        let mut raw = b"MESSAGE sip:a SIP/2.0\r\nSubject: x\r\n\r\n<Name>".to_vec();
        raw.extend_from_slice(&charset::encode("大门", charset::Charset::Gb2312));
        raw.extend_from_slice(b"</Name>");
        let (head, body) = shown(&raw);
        assert!(head.starts_with("MESSAGE sip:a") && head.ends_with("\r\n\r\n"));
        assert_eq!(body, "<Name>大门</Name>");
    }
}
