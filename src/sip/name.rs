//! Names of methods and headers.
//!
//! RFC 3261, 7.1 (methods), 7.3.3 (compact forms), 20 (header fields); RFC 3262, 3265, 3311, 3428, 3515, 3903, 6086 for
//! the methods beyond. A name that is not listed is `None` (methods) or [`HeaderName::Other`] (headers); its text stays
//! in the message.

/// A method we know. Methods are case-sensitive (RFC 3261, 7.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Method {
    Register,
    Invite,
    Ack,
    Bye,
    Cancel,
    Message,
    Options,
    Info,
    Subscribe,
    Notify,
    Prack,
    Update,
    Refer,
    Publish,
}

impl Method {
    pub const ALL: [Method; 14] = [
        Method::Register,
        Method::Invite,
        Method::Ack,
        Method::Bye,
        Method::Cancel,
        Method::Message,
        Method::Options,
        Method::Info,
        Method::Subscribe,
        Method::Notify,
        Method::Prack,
        Method::Update,
        Method::Refer,
        Method::Publish,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Method::Register => "REGISTER",
            Method::Invite => "INVITE",
            Method::Ack => "ACK",
            Method::Bye => "BYE",
            Method::Cancel => "CANCEL",
            Method::Message => "MESSAGE",
            Method::Options => "OPTIONS",
            Method::Info => "INFO",
            Method::Subscribe => "SUBSCRIBE",
            Method::Notify => "NOTIFY",
            Method::Prack => "PRACK",
            Method::Update => "UPDATE",
            Method::Refer => "REFER",
            Method::Publish => "PUBLISH",
        }
    }

    /// `None`: a method we do not know.
    pub fn from_bytes(text: &[u8]) -> Option<Method> {
        Method::ALL
            .into_iter()
            .find(|m| m.as_str().as_bytes() == text)
    }
}

impl std::fmt::Display for Method {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

macro_rules! header_names {
    ($($variant:ident $text:literal $(/ $compact:literal)?,)*) => {
        /// A header we know, by its long or compact name; names are case-insensitive (RFC 3261, 7.3.1).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum HeaderName {
            $($variant,)*
            /// Any other; its text is in the message.
            Other,
        }

        const LONG: &[(&str, HeaderName)] = &[$(($text, HeaderName::$variant),)*];
        const COMPACT: &[(u8, HeaderName)] = &[$($(($compact, HeaderName::$variant),)?)*];

        impl HeaderName {
            /// The long form; empty for [`HeaderName::Other`].
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(HeaderName::$variant => $text,)*
                    HeaderName::Other => "",
                }
            }
        }
    };
}

header_names! {
    Via "Via" / b'v',
    From "From" / b'f',
    To "To" / b't',
    CallId "Call-ID" / b'i',
    CSeq "CSeq",
    Contact "Contact" / b'm',
    MaxForwards "Max-Forwards",
    ContentLength "Content-Length" / b'l',
    ContentType "Content-Type" / b'c',
    Expires "Expires",
    UserAgent "User-Agent",
    Authorization "Authorization",
    WwwAuthenticate "WWW-Authenticate",
    ProxyAuthenticate "Proxy-Authenticate",
    ProxyAuthorization "Proxy-Authorization",
    Route "Route",
    RecordRoute "Record-Route",
    Server "Server",
    Subject "Subject" / b's',
    Event "Event" / b'o',
    SubscriptionState "Subscription-State",
    Date "Date",
    Allow "Allow",
    Supported "Supported" / b'k',
    Require "Require",
    ProxyRequire "Proxy-Require",
    Unsupported "Unsupported",
    Accept "Accept",
    ContentEncoding "Content-Encoding" / b'e',
    MinExpires "Min-Expires",
    RetryAfter "Retry-After",
    ReferTo "Refer-To" / b'r',
    AllowEvents "Allow-Events" / b'u',
}

/// First place in [`LONG`] to look at for each length of a name, so that a look-up compares one to four names.
const BY_LENGTH: [([u8; 6], u8); 20] = by_length();

const fn by_length() -> [([u8; 6], u8); 20] {
    let mut table = [([0u8; 6], 0u8); 20];
    let mut i = 0;
    while i < LONG.len() {
        let row = LONG[i].0.len();
        let n = table[row].1;
        // A seventh name of one length fails here, at compile time.
        table[row].0[n as usize] = i as u8;
        table[row].1 = n + 1;
        i += 1;
    }
    table
}

impl HeaderName {
    /// By long or compact form, in any case.
    pub fn from_bytes(text: &[u8]) -> HeaderName {
        if let [one] = text {
            let one = one.to_ascii_lowercase();
            return COMPACT
                .iter()
                .find(|(c, _)| *c == one)
                .map_or(HeaderName::Other, |(_, name)| *name);
        }
        let Some((places, count)) = BY_LENGTH.get(text.len()) else {
            return HeaderName::Other;
        };
        for place in &places[..usize::from(*count)] {
            let (long, name) = LONG[usize::from(*place)];
            if long.as_bytes().eq_ignore_ascii_case(text) {
                return name;
            }
        }
        HeaderName::Other
    }

    /// One bit per name, for sets.
    pub(super) const fn bit(self) -> u64 {
        1 << self as u8
    }

    /// Headers of which a message has one at most (RFC 3261, 7.3.1 and 20).
    pub(super) const SINGLE: u64 = HeaderName::From.bit()
        | HeaderName::To.bit()
        | HeaderName::CallId.bit()
        | HeaderName::CSeq.bit()
        | HeaderName::MaxForwards.bit()
        | HeaderName::ContentType.bit()
        | HeaderName::Expires.bit()
        | HeaderName::Date.bit()
        | HeaderName::Event.bit();

    /// Headers that every message has (RFC 3261, 8.1.1; Max-Forwards is missing in RFC 2543 and in many devices).
    pub(super) const REQUIRED: u64 = HeaderName::Via.bit()
        | HeaderName::From.bit()
        | HeaderName::To.bit()
        | HeaderName::CallId.bit()
        | HeaderName::CSeq.bit();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_found_by_long_and_compact_name_in_any_case() {
        for (text, name) in LONG {
            assert_eq!(HeaderName::from_bytes(text.as_bytes()), *name);
            assert_eq!(
                HeaderName::from_bytes(text.to_ascii_uppercase().as_bytes()),
                *name
            );
        }
        assert_eq!(HeaderName::from_bytes(b"V"), HeaderName::Via);
        assert_eq!(HeaderName::from_bytes(b"i"), HeaderName::CallId);
        assert_eq!(HeaderName::from_bytes(b"X-GB-Ver"), HeaderName::Other);
        assert_eq!(HeaderName::from_bytes(b""), HeaderName::Other);
        assert_eq!(HeaderName::from_bytes(&[b'x'; 300]), HeaderName::Other);
    }

    #[test]
    fn methods_are_case_sensitive() {
        for method in Method::ALL {
            assert_eq!(Method::from_bytes(method.as_str().as_bytes()), Some(method));
        }
        assert_eq!(Method::from_bytes(b"register"), None);
    }
}
