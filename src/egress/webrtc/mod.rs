//! WebRTC output: a viewer's ICE, DTLS, SRTP, RTCP and SDP as cores without sockets.
//!
//! ```text
//!  datagram ─► demux::Router ─► viewer::Viewer ┬ ice::Agent     (STUN checks answered; who is nominated; consent)
//!                                              ├ dtls::Association  (keys; behind a trait, `dtls_rtc` is the one in use)
//!                                              ├ srtp::Opener ─► rtcp (reports, NACK, PLI, feedback)
//!  shared RTP payload ─► Viewer::seal_rtp ─────┴ srtp::Sealer ─► batch buffer of the caller
//! ```
//!
//! WHEP draft-ietf-wish-whep; ICE-lite RFC 8445; STUN RFC 8489; DTLS-SRTP RFC 5764; SRTP RFC 3711 and 7714; SDP RFC 8866,
//! 8829, 8839, 9143. The SDP answer carries all that the other side will ever be told: no trickle, no renegotiation.
//!
//! Not done: media from the browser (intercom offers are refused by name), data channels, simulcast.

mod congestion;
pub mod demux;
pub mod dtls;
#[cfg(feature = "node")]
pub mod dtls_rtc;
pub mod ice;
pub mod rtcp;
pub mod sdp;
mod sender;
pub mod srtp;
pub mod stun;
pub mod viewer;

use std::net::SocketAddr;

pub use demux::Router;
#[cfg(feature = "node")]
pub use dtls_rtc::Identity;
pub use viewer::{Offered, Viewer};

/// One end of a path. A TCP end is a connection whose frames (RFC 4571) the caller cuts and wraps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Address {
    Udp(SocketAddr),
    Tcp(SocketAddr),
}

impl Address {
    pub fn socket_addr(self) -> SocketAddr {
        match self {
            Address::Udp(a) | Address::Tcp(a) => a,
        }
    }
}

/// What a datagram on a WebRTC port is (RFC 7983, section 7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Stun,
    Dtls,
    /// SRTP or SRTCP.
    Srtp,
    Other,
}

/// Tells the protocols of one port apart by the first byte.
pub fn kind(datagram: &[u8]) -> Kind {
    match datagram.first() {
        Some(0..=3) => Kind::Stun,
        Some(20..=63) => Kind::Dtls,
        Some(128..=191) => Kind::Srtp,
        Some(_) | None => Kind::Other,
    }
}
