//! What a WebSocket viewer says (RFC 6455): ping and close, found in bytes cut anywhere.
//!
//! Viewers send nothing but control messages; whatever else comes is read over. The frames that they are given are
//! [`super::unit`]'s. Bounds: a control message holds at most 125 bytes (5.5), so nothing else is ever kept.

use bytes::Bytes;

const OPCODE_CLOSE: u8 = 8;
const OPCODE_PING: u8 = 9;
const CONTROL_BYTES_MAX: usize = 125;

/// What the peer said.
#[derive(Debug, PartialEq, Eq)]
pub enum Said {
    Nothing,
    /// The pong to answer with, framed.
    Ping(Bytes),
    Close,
}

/// Follows the frames of a client across reads.
#[derive(Debug, Default)]
pub struct Incoming {
    /// Header bytes so far: 2, up to 8 of length, 4 of mask.
    header: Vec<u8>,
    /// Payload bytes of the current frame still to come.
    rest: u64,
    opcode: u8,
    mask: [u8; 4],
    /// Payload of a control frame.
    control: Vec<u8>,
}

impl Incoming {
    /// Takes bytes as they come. Of several pings in one read the last is answered (5.5.3 allows it).
    pub fn push(&mut self, mut bytes: &[u8]) -> Said {
        let mut said = Said::Nothing;
        while !bytes.is_empty() {
            if self.rest == 0 {
                let (first, after) = (bytes[0], &bytes[1..]);
                self.header.push(first);
                bytes = after;
                if !self.header_is_complete() {
                    continue;
                }
            } else {
                let n = bytes
                    .len()
                    .min(usize::try_from(self.rest).unwrap_or(usize::MAX));
                if self.is_control() {
                    self.control.extend_from_slice(&bytes[..n]);
                }
                self.rest -= n as u64;
                bytes = &bytes[n..];
            }
            if self.rest == 0 {
                match self.end_frame() {
                    Said::Nothing => {}
                    Said::Close => return Said::Close,
                    ping @ Said::Ping(_) => said = ping,
                }
            }
        }
        said
    }

    /// Bytes that wait for the rest of their frame.
    pub fn kept_bytes(&self) -> usize {
        self.header.len() + self.control.len()
    }

    fn is_control(&self) -> bool {
        self.opcode & 8 != 0
    }

    /// Reads the header once it is whole. A control frame that is too long or a frame without mask ends the connection
    /// (5.1, 5.5): it is turned into a close.
    fn header_is_complete(&mut self) -> bool {
        let [b0, b1, ..] = self.header[..] else {
            return false;
        };
        let length_bytes = match b1 & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        if self.header.len() < 2 + length_bytes + 4 {
            return false;
        }
        let long = self.header[2..2 + length_bytes]
            .iter()
            .fold(0u64, |n, b| n << 8 | u64::from(*b));
        self.rest = if length_bytes == 0 {
            u64::from(b1 & 0x7f)
        } else {
            long
        };
        self.opcode = b0 & 0x0f;
        self.mask.copy_from_slice(&self.header[2 + length_bytes..]);
        let masked = b1 & 0x80 != 0;
        if !masked || (self.is_control() && self.rest > CONTROL_BYTES_MAX as u64) {
            self.opcode = OPCODE_CLOSE;
            self.rest = 0;
        }
        self.header.clear();
        true
    }

    fn end_frame(&mut self) -> Said {
        let mut payload = std::mem::take(&mut self.control);
        match self.opcode {
            OPCODE_CLOSE => Said::Close,
            OPCODE_PING => {
                for (i, byte) in payload.iter_mut().enumerate() {
                    *byte ^= self.mask[i % 4];
                }
                let mut pong = vec![0x8a, payload.len() as u8];
                pong.append(&mut payload);
                Said::Ping(pong.into())
            }
            _ => Said::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6455, 5.7: a masked frame; the payload "Hello" under mask 37 fa 21 3d.
    const MASKED_HELLO: [u8; 9] = [0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];

    #[test]
    fn a_ping_is_answered_with_its_payload_however_it_is_cut() {
        let ping = [&[0x89, 0x85][..], &MASKED_HELLO].concat();
        for cut in 0..ping.len() {
            let mut incoming = Incoming::default();
            assert_eq!(incoming.push(&ping[..cut]), Said::Nothing);
            assert_eq!(
                incoming.push(&ping[cut..]),
                Said::Ping(b"\x8a\x05Hello"[..].into())
            );
        }
    }

    #[test]
    fn text_is_read_over_and_close_is_heard() {
        let mut bytes = [&[0x81, 0x85][..], &MASKED_HELLO].concat();
        bytes.extend([0x82, 0xfe, 0x01, 0x00, 1, 2, 3, 4]);
        bytes.extend([0; 256]);
        bytes.extend([0x88, 0x80, 1, 2, 3, 4]);
        assert_eq!(Incoming::default().push(&bytes), Said::Close);
        bytes.truncate(bytes.len() - 6);
        assert_eq!(Incoming::default().push(&bytes), Said::Nothing);
    }

    #[test]
    fn an_unmasked_frame_and_a_long_ping_end_it() {
        assert_eq!(
            Incoming::default().push(&[0x81, 0x05, 1, 2, 3, 4, 5]),
            Said::Close
        );
        assert_eq!(
            Incoming::default().push(&[0x89, 0xfe, 0x00, 0x7e, 1, 2, 3, 4]),
            Said::Close
        );
    }
}
