//! Cuts messages out of a stream.
//!
//! RFC 3261, 18.3 and 7.5 (Content-Length, empty lines before a start line); RFC 5626, 4.4.1 (keep-alive by CRLF CRLF, to
//! be answered with CRLF).
//!
//! Bytes may be cut anywhere. Nothing can be searched for after a wrong length, so every error is final: the connection
//! is to be closed. A message without Content-Length has no body, as [`Carrier::Stream`](super::message::Carrier) reads it.
//!
//! Bounds: [`SIP_HEAD_BYTES_MAX`] until the end of a head is seen, [`SIP_MESSAGE_BYTES_MAX`] for head and body; the buffer
//! holds one message and what came behind it in the same `push`.

use bytes::{Buf, Bytes, BytesMut};
use memchr::memchr;

use super::header::{number, trim};
use super::name::HeaderName;
use crate::limits::{SIP_HEAD_BYTES_MAX, SIP_MESSAGE_BYTES_MAX};

/// What a stream holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// One message, head and body.
    Message(Bytes),
    /// CRLF CRLF: answer with CRLF.
    Ping,
}

/// Why a stream cannot be read on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FramingError {
    /// No empty line within [`SIP_HEAD_BYTES_MAX`].
    HeadTooLong,
    /// Head and body exceed [`SIP_MESSAGE_BYTES_MAX`].
    MessageTooLong,
    /// Not a number, or two that differ.
    BadContentLength,
}

impl FramingError {
    pub fn name(self) -> &'static str {
        match self {
            FramingError::HeadTooLong => "head too long",
            FramingError::MessageTooLong => "message too long",
            FramingError::BadContentLength => "bad Content-Length",
        }
    }
}

impl std::fmt::Display for FramingError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SIP stream: {}", self.name())
    }
}

impl std::error::Error for FramingError {}

/// One direction of a connection.
#[derive(Debug, Default)]
pub struct Framer {
    buffer: BytesMut,
    /// Offset up to which lines were looked at; what lies before is not looked at again.
    seen: usize,
    /// Length of head and body, once the head is whole.
    whole: Option<usize>,
    /// A CRLF came between messages; with the next one it is a ping.
    half_ping: bool,
    content_length: Option<u32>,
    failed: Option<FramingError>,
}

impl Framer {
    pub fn new() -> Framer {
        Framer::default()
    }

    /// Takes bytes. Call [`Framer::next`] until it gives `None` before the next push.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.failed.is_none() {
            self.buffer.extend_from_slice(bytes);
        }
    }

    /// Bytes that wait for more.
    pub fn buffered(&self) -> usize {
        self.buffer.len()
    }

    /// The next frame; `None` = more bytes are needed. After an error it gives the same error for ever.
    #[expect(clippy::should_implement_trait, reason = "`None` is not the end")]
    pub fn next(&mut self) -> Option<Result<Frame, FramingError>> {
        if let Some(error) = self.failed {
            return Some(Err(error));
        }
        match self.cut() {
            Ok(frame) => frame.map(Ok),
            Err(error) => {
                self.failed = Some(error);
                self.buffer = BytesMut::new();
                Some(Err(error))
            }
        }
    }

    fn cut(&mut self) -> Result<Option<Frame>, FramingError> {
        if self.seen == 0 && self.whole.is_none() {
            if self.empty_lines() {
                return Ok(Some(Frame::Ping));
            }
            if matches!(self.buffer[..], [] | [b'\r']) {
                return Ok(None);
            }
        }
        if self.whole.is_none() {
            self.whole = self.head()?;
        }
        let Some(whole) = self.whole.filter(|n| *n <= self.buffer.len()) else {
            return Ok(None);
        };
        self.whole = None;
        self.seen = 0;
        self.half_ping = false;
        self.content_length = None;
        Ok(Some(Frame::Message(self.buffer.split_to(whole).freeze())))
    }

    /// Takes empty lines off; `true` at the second of a pair.
    fn empty_lines(&mut self) -> bool {
        loop {
            let len = match self.buffer[..] {
                [b'\r', b'\n', ..] => 2,
                [b'\n', ..] => 1,
                _ => return false,
            };
            self.buffer.advance(len);
            self.half_ping = !self.half_ping;
            if !self.half_ping {
                return true;
            }
        }
    }

    /// Reads lines up to the empty one; the length of the whole message once that is known.
    fn head(&mut self) -> Result<Option<usize>, FramingError> {
        while let Some(n) = memchr(b'\n', &self.buffer[self.seen..]) {
            let from = self.seen;
            let next = from + n + 1;
            let line = &self.buffer[from..next - 1];
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if next > SIP_HEAD_BYTES_MAX {
                return Err(FramingError::HeadTooLong);
            }
            if line.is_empty() {
                let body = self.content_length.unwrap_or(0) as usize;
                let whole = next + body;
                if whole > SIP_MESSAGE_BYTES_MAX {
                    return Err(FramingError::MessageTooLong);
                }
                return Ok(Some(whole));
            }
            if let Some(value) = content_length(line) {
                // A folded value is rare enough to be refused.
                let length = number(value).ok_or(FramingError::BadContentLength)?;
                if self.content_length.is_some_and(|l| l != length) {
                    return Err(FramingError::BadContentLength);
                }
                self.content_length = Some(length);
            }
            self.seen = next;
        }
        if self.buffer.len() >= SIP_HEAD_BYTES_MAX {
            return Err(FramingError::HeadTooLong);
        }
        Ok(None)
    }
}

fn content_length(line: &[u8]) -> Option<&[u8]> {
    if !matches!(line.first(), Some(b'c' | b'C' | b'l' | b'L')) {
        return None;
    }
    let colon = memchr(b':', line)?;
    let name = HeaderName::from_bytes(trim(&line[..colon]));
    (name == HeaderName::ContentLength).then(|| trim(&line[colon + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &[u8] = b"MESSAGE sip:a@b SIP/2.0\r\nl : 3\r\nX: y\r\n\r\nabc";
    const TWO: &[u8] = b"BYE sip:a@b SIP/2.0\nX: y\n\n";

    fn frames(framer: &mut Framer) -> Vec<Result<Frame, FramingError>> {
        let mut out = Vec::new();
        while let Some(frame) = framer.next() {
            let stop = frame.is_err();
            out.push(frame);
            if stop {
                break;
            }
        }
        out
    }

    #[test]
    fn messages_and_pings_come_out_however_the_bytes_are_cut() {
        let stream = [b"\r\n", ONE, TWO, b"\r\n\r\n", ONE, b"\r\n\r\n\r\n", TWO].concat();
        let message = |m: &'static [u8]| Ok(Frame::Message(Bytes::from_static(m)));
        let expected = [
            message(ONE),
            message(TWO),
            Ok(Frame::Ping),
            message(ONE),
            Ok(Frame::Ping),
            message(TWO),
        ];
        for step in 1..stream.len() {
            let mut framer = Framer::new();
            let mut got = Vec::new();
            for piece in stream.chunks(step) {
                framer.push(piece);
                got.extend(frames(&mut framer));
            }
            assert_eq!(got, expected, "step {step}");
            assert_eq!(framer.buffered(), 0);
        }
    }

    #[test]
    fn a_wrong_length_ends_the_stream() {
        for bad in ["x", "-1", "99999999999", "", "1\r\nl: 2"] {
            let mut framer = Framer::new();
            framer.push(format!("BYE sip:a@b SIP/2.0\r\nContent-Length: {bad}\r\n\r\n").as_bytes());
            let error = Some(Err(FramingError::BadContentLength));
            assert_eq!(framer.next(), error, "{bad}");
            framer.push(TWO);
            assert_eq!(framer.next(), error);
            assert_eq!(framer.buffered(), 0);
        }
    }

    #[test]
    fn head_and_message_are_bounded_from_both_sides() {
        let head = |n: usize| {
            let mut text = b"BYE sip:a@b SIP/2.0\r\nX: ".to_vec();
            text.resize(n - 4, b'y');
            text.extend_from_slice(b"\r\n\r\n");
            text
        };
        let mut framer = Framer::new();
        framer.push(&head(SIP_HEAD_BYTES_MAX));
        assert!(matches!(framer.next(), Some(Ok(Frame::Message(_)))));
        framer.push(&head(SIP_HEAD_BYTES_MAX + 1));
        assert_eq!(framer.next(), Some(Err(FramingError::HeadTooLong)));

        let sized = |body: usize| format!("BYE sip:a@b SIP/2.0\r\nl: {body}\r\n\r\n");
        let room = SIP_MESSAGE_BYTES_MAX - sized(1_000_000).len();
        let mut framer = Framer::new();
        framer.push(sized(room).as_bytes());
        assert_eq!(framer.next(), None);
        framer.push(&vec![0; room]);
        assert!(matches!(framer.next(), Some(Ok(Frame::Message(_)))));
        framer.push(sized(room + 1).as_bytes());
        assert_eq!(framer.next(), Some(Err(FramingError::MessageTooLong)));
    }
}
