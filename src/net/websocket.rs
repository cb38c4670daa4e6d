//! Accepting a WebSocket (RFC 6455), and ending it. What a viewer says on it is read by [`crate::egress::websocket`].

use base64::Engine as _;
use sha1::{Digest as _, Sha1};

pub(super) use crate::egress::websocket::{Incoming, Said};

/// Close, status 1001 "going away" (7.4.1), unmasked as servers send it.
pub(super) const CLOSE_GOING_AWAY: [u8; 4] = [0x88, 0x02, 0x03, 0xe9];

/// `Sec-WebSocket-Accept` for a `Sec-WebSocket-Key` (4.2.2).
pub(super) fn accept_key(key: &str) -> String {
    let mut sha = Sha1::new();
    sha.update(key.as_bytes());
    sha.update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    base64::engine::general_purpose::STANDARD.encode(sha.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_of_rfc_6455_gives_its_accept() {
        assert_eq!(
            accept_key("dGhlIHNhbXBsZSBub25jZQ=="),
            "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        );
    }
}
