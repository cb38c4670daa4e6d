//! A muxed piece of a rendition.

use bytes::Bytes;

use crate::time::MediaTime;

/// What a rendition does with the sound of its stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum AudioPolicy {
    /// What the form's players can play: AAC in FLV and fMP4 (G.711 is encoded once per stream while somebody watches).
    #[default]
    Playable,
    /// As the device sent it.
    Copy,
    None,
}

/// One piece of a rendition, in writing order: `head`, `body`, `tail`.
///
/// `head` starts with the header of a WebSocket binary message (RFC 6455, 5.2) over the whole unit; plain HTTP viewers
/// leave out those first `ws_header_len` bytes. `body` is the payload of the frame, shared with the hub.
#[derive(Clone, Debug)]
pub struct Unit {
    pub ws_header_len: u8,
    pub head: Bytes,
    pub body: Bytes,
    pub tail: Bytes,
    /// A viewer can start here: a key frame, or any unit of a stream without picture.
    pub key: bool,
    pub dts: MediaTime,
}

impl Unit {
    /// Bytes a WebSocket viewer is given.
    pub fn len_ws(&self) -> usize {
        self.head.len() + self.body.len() + self.tail.len()
    }

    /// Bytes a plain HTTP viewer is given.
    pub fn len_http(&self) -> usize {
        self.len_ws() - usize::from(self.ws_header_len)
    }
}

/// Writes the header of an unmasked, final binary message of `payload_len` bytes (RFC 6455, 5.2). 2, 4 or 10 bytes.
pub fn put_ws_header(out: &mut Vec<u8>, payload_len: usize) -> u8 {
    const FINAL_BINARY: u8 = 0x82;
    out.push(FINAL_BINARY);
    match payload_len {
        0..=125 => {
            out.push(payload_len as u8);
            2
        }
        126..=0xffff => {
            out.push(126);
            out.extend_from_slice(&(payload_len as u16).to_be_bytes());
            4
        }
        _ => {
            out.push(127);
            out.extend_from_slice(&(payload_len as u64).to_be_bytes());
            10
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ws_header_sizes_change_at_126_and_65536() {
        for (len, want) in [(0, 2), (125, 2), (126, 4), (65_535, 4), (65_536, 10)] {
            let mut out = Vec::new();
            assert_eq!(put_ws_header(&mut out, len), want);
            assert_eq!(out.len(), usize::from(want));
        }
    }
}
