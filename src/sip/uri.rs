//! SIP URIs as borrowed parts.
//!
//! RFC 3261, 19.1.1 and 25.1; RFC 3966 for `tel:`. Nothing is unescaped: `%00` and `sips%3A` stay as they are (RFC 4475,
//! 3.1.1.3 and 3.1.1.4). Of other schemes only the scheme is told.
//!
//! Tolerated: a `@` in the user part (`domain@domain@host` is sent by some devices): the last one counts.

use super::error::ErrorKind;

/// A URI in parts, borrowed from its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Uri<'a> {
    /// As sent; compare with `eq_ignore_ascii_case`.
    pub scheme: &'a str,
    /// Before `@`, without password. For `tel:` the number.
    pub user: Option<&'a str>,
    pub password: Option<&'a str>,
    /// IPv6 addresses stand without brackets. Empty for schemes other than sip and sips.
    pub host: &'a str,
    pub port: Option<u16>,
    /// What follows the first `;` after the host, without it.
    pub params: &'a str,
    /// What follows `?`, without it.
    pub headers: &'a str,
}

impl<'a> Uri<'a> {
    /// Parses a URI without `<>` around it.
    ///
    /// Errors: [`ErrorKind::BadUri`] where the scheme is missing, where text is not UTF-8 or holds white space or `<>`,
    /// and where host or port of a sip or sips URI are malformed.
    pub fn parse(text: &'a [u8]) -> Result<Uri<'a>, ErrorKind> {
        let text = std::str::from_utf8(text).map_err(|_| ErrorKind::BadUri)?;
        if text
            .bytes()
            .any(|b| b <= b' ' || matches!(b, b'<' | b'>' | b'"' | 0x7f))
        {
            return Err(ErrorKind::BadUri);
        }
        let (scheme, rest) = text.split_once(':').ok_or(ErrorKind::BadUri)?;
        let scheme_ok = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'));
        if !scheme_ok || rest.is_empty() {
            return Err(ErrorKind::BadUri);
        }
        if scheme.eq_ignore_ascii_case("tel") {
            let (number, params) = rest.split_once(';').unwrap_or((rest, ""));
            return Ok(Uri {
                scheme,
                user: Some(number),
                password: None,
                host: "",
                port: None,
                params,
                headers: "",
            });
        }
        let uri = Uri {
            scheme,
            user: None,
            password: None,
            host: "",
            port: None,
            params: "",
            headers: "",
        };
        if uri.is_sip() {
            uri.with_sip_parts(rest)
        } else {
            Ok(uri)
        }
    }

    fn with_sip_parts(mut self, rest: &'a str) -> Result<Uri<'a>, ErrorKind> {
        let mut rest = rest;
        // A user part may hold ';', '?' and '/', so it is taken off first.
        if let Some((user, after)) = rest.rsplit_once('@') {
            let (user, password) = match user.split_once(':') {
                Some((user, password)) => (user, Some(password)),
                None => (user, None),
            };
            self.user = Some(user);
            self.password = password;
            rest = after;
        }
        if let Some((before, headers)) = rest.split_once('?') {
            self.headers = headers;
            rest = before;
        }
        if let Some((before, params)) = rest.split_once(';') {
            self.params = params;
            rest = before;
        }
        (self.host, self.port) = host_port(rest).ok_or(ErrorKind::BadUri)?;
        Ok(self)
    }

    /// sip or sips.
    pub fn is_sip(&self) -> bool {
        self.scheme.eq_ignore_ascii_case("sip") || self.scheme.eq_ignore_ascii_case("sips")
    }

    /// A URI parameter: `Some("")` for one without value. Names are case-insensitive.
    pub fn param(&self, name: &str) -> Option<&'a str> {
        self.params.split(';').find_map(|p| {
            let (key, value) = p.split_once('=').unwrap_or((p, ""));
            key.eq_ignore_ascii_case(name).then_some(value)
        })
    }
}

/// Splits `host[:port]`; IPv6 addresses need brackets and come back without them. White space around the colon is
/// allowed, as Via has it (RFC 4475, 3.1.1.1).
pub(super) fn host_port(text: &str) -> Option<(&str, Option<u16>)> {
    let text = text.trim_matches([' ', '\t']);
    let (host, after) = if let Some(rest) = text.strip_prefix('[') {
        let (host, after) = rest.split_once(']')?;
        let v6 = !host.is_empty()
            && host
                .bytes()
                .all(|b| b.is_ascii_hexdigit() || matches!(b, b':' | b'.' | b'%'));
        (v6.then_some(host)?, after.trim_start_matches([' ', '\t']))
    } else {
        let end = text.find(':').unwrap_or(text.len());
        let host = text[..end].trim_end_matches([' ', '\t']);
        // Underscores are in no host name by the RFC, and in many by their owners.
        let name = !host.is_empty()
            && host
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_'));
        (name.then_some(host)?, &text[end..])
    };
    if after.is_empty() {
        return Some((host, None));
    }
    let digits = after.strip_prefix(':')?.trim_start_matches([' ', '\t']);
    let port = digits.bytes().all(|b| b.is_ascii_digit());
    Some((host, Some(port.then_some(digits)?.parse().ok()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_a_device_uri() {
        let uri = Uri::parse(b"sip:34020000001320000001@192.168.1.64:5060;transport=tcp;lr")
            .expect("well-formed");
        assert_eq!(uri.user, Some("34020000001320000001"));
        assert_eq!((uri.host, uri.port), ("192.168.1.64", Some(5060)));
        assert_eq!(uri.param("Transport"), Some("tcp"));
        assert_eq!(uri.param("lr"), Some(""));
        assert_eq!(uri.param("ttl"), None);
    }

    #[test]
    fn a_user_part_keeps_its_semicolons_and_escapes() {
        let uri = Uri::parse(b"sip:user;par=u%40example.net@example.com").expect("well-formed");
        assert_eq!(uri.user, Some("user;par=u%40example.net"));
        assert_eq!(uri.host, "example.com");
        let uri = Uri::parse(b"sip:sips%3Auser%40example.com@example.net").expect("well-formed");
        assert_eq!(uri.scheme, "sip");
        let uri = Uri::parse(b"sip:3402000000@3402000000@10.0.0.1").expect("tolerated");
        assert_eq!(uri.user, Some("3402000000@3402000000"));
    }

    #[test]
    fn ipv6_needs_brackets() {
        let uri = Uri::parse(b"sip:[2001:db8::10]:5070").expect("well-formed");
        assert_eq!((uri.host, uri.port), ("2001:db8::10", Some(5070)));
        assert_eq!(Uri::parse(b"sip:2001:db8::10"), Err(ErrorKind::BadUri));
    }

    #[test]
    fn other_schemes_are_told_and_malformed_ones_refused() {
        assert_eq!(
            Uri::parse(b"tel:+861234;phone-context=x").map(|u| u.user),
            Ok(Some("+861234"))
        );
        assert_eq!(
            Uri::parse(b"soap.beep://192.0.2.103:3002").map(|u| u.scheme),
            Ok("soap.beep")
        );
        for bad in [
            &b"sip:"[..],
            b"sip:a b@c",
            b"<sip:a@b>",
            b"sip:a@",
            b"sip:a@b:70000",
            b"a@b",
            b"sip:\xff@b",
        ] {
            assert_eq!(Uri::parse(bad), Err(ErrorKind::BadUri), "{bad:?}");
        }
    }
}
