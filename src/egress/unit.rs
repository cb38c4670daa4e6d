//! A muxed piece of a rendition.

use bytes::{BufMut, Bytes, BytesMut};

use crate::limits;
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
pub fn put_ws_header(out: &mut impl BufMut, payload_len: usize) -> u8 {
    const FINAL_BINARY: u8 = 0x82;
    out.put_u8(FINAL_BINARY);
    match payload_len {
        0..=125 => {
            out.put_u8(payload_len as u8);
            2
        }
        126..=0xffff => {
            out.put_u8(126);
            out.put_u16(payload_len as u16);
            4
        }
        _ => {
            out.put_u8(127);
            out.put_u64(payload_len as u64);
            10
        }
    }
}

/// The longest header that [`put_ws_header`] writes.
pub(crate) const WS_HEADER_BYTES_MAX: usize = 10;

/// Cuts small pieces (heads, tails) from one buffer, so that a unit costs no allocation of its own: one in
/// [`limits::UNIT_CHUNK_BYTES`] bytes of pieces.
#[derive(Debug, Default)]
pub(crate) struct Carver {
    chunk: BytesMut,
}

impl Carver {
    /// The buffer to write the next piece to, with room for `len_max` bytes. [`Self::cut`] ends the piece.
    pub fn room(&mut self, len_max: usize) -> &mut BytesMut {
        if self.chunk.capacity() - self.chunk.len() < len_max {
            self.chunk = BytesMut::with_capacity(limits::UNIT_CHUNK_BYTES.max(len_max));
        }
        &mut self.chunk
    }

    /// What has been written since the last cut.
    pub fn cut(&mut self) -> Bytes {
        self.chunk.split().freeze()
    }
}

/// A unit of one piece, with the header of its WebSocket message.
pub(crate) fn whole(content: &[u8], dts: MediaTime) -> Unit {
    let mut head = Vec::with_capacity(content.len() + WS_HEADER_BYTES_MAX);
    let ws_header_len = put_ws_header(&mut head, content.len());
    head.extend_from_slice(content);
    Unit {
        ws_header_len,
        head: head.into(),
        body: Bytes::new(),
        tail: Bytes::new(),
        key: false,
        dts,
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
