//! What can be wrong with a SIP message, where, and whether an answer can be given.

use std::fmt;

/// A defect of a message and the byte at which it was found, counted from the first byte of the start line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParseError {
    pub kind: ErrorKind,
    pub offset: u32,
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at byte {}", self.kind.name(), self.offset)
    }
}

impl std::error::Error for ParseError {}

/// Kinds of defects. [`ErrorKind::answer`] separates those that a request can be answered with from those to drop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The first line is neither a request line nor a status line of SIP.
    NotSip,
    /// Start line and headers exceed [`crate::limits::SIP_HEAD_BYTES_MAX`].
    HeadTooLong,
    /// More lines than [`crate::limits::SIP_HEADER_LINES_MAX`].
    TooManyHeaders,
    /// Status outside 100 to 699, or not of three digits.
    BadStatus,
    /// Method that is no token, or white space in the Request-URI.
    BadRequestLine,
    /// A SIP version other than 2.0.
    BadVersion,
    /// A line without colon or without name.
    BadHeaderLine,
    /// Not a number, or two that differ.
    BadContentLength,
    /// Content-Length exceeds what came.
    BodyTooShort,
    /// One of Via, From, To, Call-ID and CSeq is absent (RFC 3261, 8.1.1).
    MissingHeader,
    /// A header that must stand once stands twice.
    RepeatedHeader,
    BadVia,
    /// From, To or Contact is neither `name-addr` nor `addr-spec`.
    BadAddress,
    BadCallId,
    BadCSeq,
    /// The method of CSeq is not that of the request line.
    MethodMismatch,
    BadMaxForwards,
    BadUri,
    /// A Request-URI that is not sip, sips or tel.
    UnsupportedScheme,
}

impl ErrorKind {
    /// All kinds, for tables of counters.
    pub const ALL: [ErrorKind; 19] = [
        ErrorKind::NotSip,
        ErrorKind::HeadTooLong,
        ErrorKind::TooManyHeaders,
        ErrorKind::BadStatus,
        ErrorKind::BadRequestLine,
        ErrorKind::BadVersion,
        ErrorKind::BadHeaderLine,
        ErrorKind::BadContentLength,
        ErrorKind::BodyTooShort,
        ErrorKind::MissingHeader,
        ErrorKind::RepeatedHeader,
        ErrorKind::BadVia,
        ErrorKind::BadAddress,
        ErrorKind::BadCallId,
        ErrorKind::BadCSeq,
        ErrorKind::MethodMismatch,
        ErrorKind::BadMaxForwards,
        ErrorKind::BadUri,
        ErrorKind::UnsupportedScheme,
    ];

    /// Status with which a request of this defect is refused; `None` = nothing can be answered, drop it.
    pub fn answer(self) -> Option<u16> {
        match self {
            ErrorKind::NotSip | ErrorKind::HeadTooLong | ErrorKind::BadStatus => None,
            ErrorKind::BadVersion => Some(505),
            ErrorKind::UnsupportedScheme => Some(416),
            ErrorKind::TooManyHeaders
            | ErrorKind::BadRequestLine
            | ErrorKind::BadHeaderLine
            | ErrorKind::BadContentLength
            | ErrorKind::BodyTooShort
            | ErrorKind::MissingHeader
            | ErrorKind::RepeatedHeader
            | ErrorKind::BadVia
            | ErrorKind::BadAddress
            | ErrorKind::BadCallId
            | ErrorKind::BadCSeq
            | ErrorKind::MethodMismatch
            | ErrorKind::BadMaxForwards
            | ErrorKind::BadUri => Some(400),
        }
    }

    /// Short stable name, for counters, logs and the reason phrase of the answer.
    pub fn name(self) -> &'static str {
        match self {
            ErrorKind::NotSip => "not SIP",
            ErrorKind::HeadTooLong => "head too long",
            ErrorKind::TooManyHeaders => "too many headers",
            ErrorKind::BadStatus => "bad status",
            ErrorKind::BadRequestLine => "bad request line",
            ErrorKind::BadVersion => "version not supported",
            ErrorKind::BadHeaderLine => "bad header line",
            ErrorKind::BadContentLength => "bad Content-Length",
            ErrorKind::BodyTooShort => "body shorter than Content-Length",
            ErrorKind::MissingHeader => "missing header",
            ErrorKind::RepeatedHeader => "repeated header",
            ErrorKind::BadVia => "bad Via",
            ErrorKind::BadAddress => "bad address",
            ErrorKind::BadCallId => "bad Call-ID",
            ErrorKind::BadCSeq => "bad CSeq",
            ErrorKind::MethodMismatch => "CSeq method differs",
            ErrorKind::BadMaxForwards => "bad Max-Forwards",
            ErrorKind::BadUri => "bad Request-URI",
            ErrorKind::UnsupportedScheme => "unsupported URI scheme",
        }
    }

    /// Place in [`ErrorKind::ALL`].
    pub fn index(self) -> usize {
        self as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_kinds_is_whole_and_in_order() {
        for (i, kind) in ErrorKind::ALL.iter().enumerate() {
            assert_eq!(kind.index(), i);
        }
    }
}
