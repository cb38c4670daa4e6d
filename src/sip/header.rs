//! Light views of the headers that every message needs: Via, From, To, Contact, CSeq.
//!
//! RFC 3261, 20 and 25.1; RFC 3581 (`rport`). They borrow from the message, allocate nothing and take any bytes in
//! quoted strings and display names. [`super::typed`] gives the same headers as `rsip` types for code at the edge.
//!
//! Tolerated: display names that are not tokens and not quoted, white space within `<>`, `SIP / 2.0 / UDP`. In GBK text a
//! trail byte may equal a backslash, so a backslash behind a byte over 0x80 escapes nothing.

use super::error::ErrorKind;
use super::uri::{Uri, host_port};

/// Cuts white space off both ends.
pub(super) fn trim(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\t' | b'\r', rest @ ..] = text {
        text = rest;
    }
    while let [rest @ .., b' ' | b'\t' | b'\r'] = text {
        text = rest;
    }
    text
}

/// Place behind the closing quote of a string whose opening quote stands at `open`; `None` if it never closes.
fn quoted_end(text: &[u8], open: usize) -> Option<usize> {
    let mut i = open + 1;
    while let Some(b) = text.get(i) {
        match b {
            b'"' => return Some(i + 1),
            b'\\' if text[i - 1] < 0x80 => i += 2,
            _ => i += 1,
        }
    }
    None
}

/// The first of `wanted` outside quotes and `<>`; `Err` where a quote or bracket never closes.
fn find_outside(text: &[u8], wanted: u8) -> Result<Option<usize>, ErrorKind> {
    let mut i = 0;
    while let Some(&b) = text.get(i) {
        if b == wanted {
            return Ok(Some(i));
        }
        i = match b {
            b'"' => quoted_end(text, i).ok_or(ErrorKind::BadAddress)?,
            b'<' => i + memchr::memchr(b'>', &text[i..]).ok_or(ErrorKind::BadAddress)? + 1,
            _ => i + 1,
        };
    }
    Ok(None)
}

/// No empty parameter (`;;`) and no quote or bracket that never closes (RFC 4475, 3.1.2.1).
fn params_are_sound(params: &[u8]) -> bool {
    let empty = memchr::memchr_iter(b';', params).any(|at| params.get(at + 1) == Some(&b';'));
    let quoted = memchr::memchr2(b'"', b'<', params).is_some();
    !empty && (!quoted || find_outside(params, 0).is_ok())
}

/// The values of a header that is a comma list. Commas in quotes and `<>` do not count; an unclosed quote or bracket
/// makes the rest one value. Values come trimmed and may be empty.
pub fn split_list(text: &[u8]) -> Values<'_> {
    Values { rest: Some(text) }
}

/// See [`split_list`].
#[derive(Clone, Debug)]
pub struct Values<'a> {
    rest: Option<&'a [u8]>,
}

impl<'a> Iterator for Values<'a> {
    type Item = &'a [u8];
    fn next(&mut self) -> Option<&'a [u8]> {
        let text = self.rest.take()?;
        if memchr::memchr(b',', text).is_none() {
            return Some(trim(text));
        }
        match find_outside(text, b',') {
            Ok(Some(at)) => {
                self.rest = Some(&text[at + 1..]);
                Some(trim(&text[..at]))
            }
            Ok(None) | Err(_) => Some(trim(text)),
        }
    }
}

/// Header parameters: `;name=value;name`. Names are compared without case; values of quoted strings come without quotes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Params<'a>(pub &'a [u8]);

impl<'a> Params<'a> {
    /// The value of a parameter: `Some(b"")` for one without value.
    pub fn get(&self, name: &str) -> Option<&'a [u8]> {
        self.iter()
            .find_map(|(k, v)| k.eq_ignore_ascii_case(name.as_bytes()).then_some(v))
    }

    pub fn get_str(&self, name: &str) -> Option<&'a str> {
        self.get(name).and_then(|v| std::str::from_utf8(v).ok())
    }

    pub fn iter(&self) -> ParamsIter<'a> {
        ParamsIter { rest: self.0 }
    }
}

/// See [`Params::iter`].
#[derive(Clone, Debug)]
pub struct ParamsIter<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for ParamsIter<'a> {
    type Item = (&'a [u8], &'a [u8]);
    fn next(&mut self) -> Option<Self::Item> {
        let text = self.rest.strip_prefix(b";").unwrap_or(self.rest);
        if text.is_empty() {
            return None;
        }
        let end = find_outside(text, b';')
            .unwrap_or(None)
            .unwrap_or(text.len());
        let (one, rest) = text.split_at(end);
        self.rest = rest;
        let (name, value) = match memchr::memchr(b'=', one) {
            Some(at) => (trim(&one[..at]), trim(&one[at + 1..])),
            None => (trim(one), &b""[..]),
        };
        let value = match value {
            [b'"', inner @ .., b'"'] => inner,
            other => other,
        };
        Some((name, value))
    }
}

/// `name-addr` or `addr-spec` with its parameters (RFC 3261, 20.10, 20.20, 20.39).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NameAddr<'a> {
    /// Without quotes, in whatever charset; empty if there is none.
    pub display: &'a [u8],
    /// The URI as text, without `<>`.
    pub uri: &'a [u8],
    /// Parameters of the header, not of the URI.
    pub params: Params<'a>,
}

impl<'a> NameAddr<'a> {
    /// Parses one value (see [`split_list`]).
    ///
    /// Errors: [`ErrorKind::BadAddress`] where a quote or `<` never closes, where anything but parameters follows, or
    /// where there is no URI.
    pub fn parse(text: &'a [u8]) -> Result<NameAddr<'a>, ErrorKind> {
        let text = trim(text);
        let (display, from_bracket) = if text.first() == Some(&b'"') {
            let end = quoted_end(text, 0).ok_or(ErrorKind::BadAddress)?;
            let rest = trim(&text[end..]);
            if rest.first() != Some(&b'<') {
                return Err(ErrorKind::BadAddress);
            }
            (&text[1..end - 1], Some(rest))
        } else {
            match memchr::memchr(b'<', text) {
                Some(at) => (trim(&text[..at]), Some(&text[at..])),
                None => (&b""[..], None),
            }
        };
        let (uri, params) = match from_bracket {
            Some(rest) => {
                let close = memchr::memchr(b'>', rest).ok_or(ErrorKind::BadAddress)?;
                (trim(&rest[1..close]), trim(&rest[close + 1..]))
            }
            // Without brackets every parameter belongs to the header (RFC 3261, 20).
            None => text.split_at(memchr::memchr(b';', text).unwrap_or(text.len())),
        };
        let uri = trim(uri);
        let ends_well = params.is_empty() || params[0] == b';';
        if memchr::memchr(b':', uri).is_none() || !ends_well {
            return Err(ErrorKind::BadAddress);
        }
        if !params_are_sound(params) {
            return Err(ErrorKind::BadAddress);
        }
        Ok(NameAddr {
            display,
            uri,
            params: Params(params),
        })
    }

    pub fn parse_uri(&self) -> Result<Uri<'a>, ErrorKind> {
        Uri::parse(self.uri)
    }

    pub fn tag(&self) -> Option<&'a str> {
        self.params.get_str("tag").filter(|t| !t.is_empty())
    }
}

/// One value of Via (RFC 3261, 20.42).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Via<'a> {
    /// `UDP`, `TCP`, `TLS` or whatever was sent.
    pub transport: &'a str,
    /// IPv6 addresses stand without brackets.
    pub host: &'a str,
    pub port: Option<u16>,
    pub params: Params<'a>,
}

impl<'a> Via<'a> {
    /// Parses one value (see [`split_list`]). Errors: [`ErrorKind::BadVia`].
    pub fn parse(text: &'a [u8]) -> Result<Via<'a>, ErrorKind> {
        let bad = ErrorKind::BadVia;
        let end = memchr::memchr(b';', text).unwrap_or(text.len());
        let (head, params) = text.split_at(end);
        let head = std::str::from_utf8(head).map_err(|_| bad)?;
        let (name, rest) = head.split_once('/').ok_or(bad)?;
        let (version, rest) = rest.split_once('/').ok_or(bad)?;
        if !name.trim().eq_ignore_ascii_case("SIP") || version.trim() != "2.0" {
            return Err(bad);
        }
        let rest = rest.trim_start_matches([' ', '\t']);
        let (transport, sent_by) = rest.split_once([' ', '\t']).ok_or(bad)?;
        if transport.is_empty() {
            return Err(bad);
        }
        let (host, port) = host_port(sent_by).ok_or(bad)?;
        if !params_are_sound(params) {
            return Err(bad);
        }
        Ok(Via {
            transport,
            host,
            port,
            params: Params(params),
        })
    }

    pub fn branch(&self) -> Option<&'a str> {
        self.params.get_str("branch")
    }

    /// `Some(None)`: the client asks for it; `Some(Some(port))`: a server filled it in (RFC 3581).
    pub fn rport(&self) -> Option<Option<u16>> {
        self.params.get_str("rport").map(|v| v.parse::<u16>().ok())
    }

    pub fn received(&self) -> Option<&'a str> {
        self.params
            .get_str("received")
            .map(|v| v.trim_matches(['[', ']']))
    }
}

/// CSeq (RFC 3261, 20.16).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CSeq<'a> {
    /// Below 2^31 (RFC 3261, 8.1.1.5).
    pub number: u32,
    pub method: &'a [u8],
}

impl<'a> CSeq<'a> {
    /// Errors: [`ErrorKind::BadCSeq`].
    pub fn parse(text: &'a [u8]) -> Result<CSeq<'a>, ErrorKind> {
        let end = text
            .iter()
            .position(|b| !b.is_ascii_digit())
            .ok_or(ErrorKind::BadCSeq)?;
        let (digits, rest) = text.split_at(end);
        let method = trim(rest);
        let number = number(digits).filter(|n| *n < 1 << 31);
        match number {
            Some(number) if !method.is_empty() && rest.len() > method.len() => {
                Ok(CSeq { number, method })
            }
            Some(_) | None => Err(ErrorKind::BadCSeq),
        }
    }
}

/// A decimal number of digits only that fits 32 bits; leading zeros are allowed.
pub(super) fn number(digits: &[u8]) -> Option<u32> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u32, |n, d| {
        let d = d.is_ascii_digit().then(|| u32::from(d - b'0'))?;
        n.checked_mul(10)?.checked_add(d)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_split_outside_quotes_and_brackets() {
        let text = br#""a, \"b" <sip:x,y@h>;q=1 , <sip:c@d>, "#;
        let values: Vec<_> = split_list(text).collect();
        assert_eq!(
            values,
            [&br#""a, \"b" <sip:x,y@h>;q=1"#[..], b"<sip:c@d>", b""]
        );
    }

    #[test]
    fn addresses_with_and_without_brackets() {
        let a = NameAddr::parse(b"\"Bell, A\" <sip:a@b;lr>;tag=88").expect("well-formed");
        assert_eq!((a.display, a.uri), (&b"Bell, A"[..], &b"sip:a@b;lr"[..]));
        assert_eq!(a.tag(), Some("88"));
        let a = NameAddr::parse(b"sip:a@b;tag=1").expect("well-formed");
        assert_eq!((a.uri, a.tag()), (&b"sip:a@b"[..], Some("1")));
        let a = NameAddr::parse(b"caller<sip:a@b>").expect("well-formed");
        assert_eq!(a.display, b"caller");
        assert!(NameAddr::parse(b"\"open <sip:a@b>").is_err());
        assert!(NameAddr::parse(b"<sip:a@b").is_err());
        assert!(NameAddr::parse(b"<sip:a@b>;;,").is_err());
        assert!(NameAddr::parse(b"").is_err());
    }

    #[test]
    fn a_gbk_display_name_may_end_in_a_backslash_byte() {
        // 0xB8 0x5C is one character of GBK.
        let a = NameAddr::parse(b"\"\xb8\x5c\" <sip:a@b>;tag=2").expect("well-formed");
        assert_eq!((a.display, a.tag()), (&b"\xb8\x5c"[..], Some("2")));
    }

    #[test]
    fn via_with_spaces_ipv6_and_rport() {
        let v = Via::parse(b"SIP / 2.0 / UDP  first.example.com : 4000;ttl=16 ;branch = z9hG4bK1")
            .expect("well-formed");
        assert_eq!((v.host, v.port), ("first.example.com", Some(4000)));
        assert_eq!(v.branch(), Some("z9hG4bK1"));
        assert_eq!(v.rport(), None);
        let v = Via::parse(b"SIP/2.0/TCP [2001:db8::9:1]:5061;rport;received=[::1]")
            .expect("well-formed");
        assert_eq!((v.host, v.rport()), ("2001:db8::9:1", Some(None)));
        assert_eq!(v.received(), Some("::1"));
        for bad in [
            &b""[..],
            b"SIP/2.0/UDP",
            b"SIP/2.0/UDP ",
            b"SIP/3.0/UDP h",
            b"SIP/2.0/UDP h;;",
            b";",
        ] {
            assert_eq!(Via::parse(bad), Err(ErrorKind::BadVia), "{bad:?}");
        }
    }

    #[test]
    fn cseq_is_bounded_and_has_a_method() {
        assert_eq!(
            CSeq::parse(b"0009\t INVITE").map(|c| (c.number, c.method)),
            Ok((9, &b"INVITE"[..]))
        );
        for bad in [
            &b"2147483648 X"[..],
            b"36893488147419103232 REGISTER",
            b"1",
            b"1INVITE",
            b" INVITE",
            b"-1 X",
        ] {
            assert_eq!(CSeq::parse(bad), Err(ErrorKind::BadCSeq), "{bad:?}");
        }
    }
}
