//! How large the receive buffers of sockets really are: said once a kind, as the kernel's bound may cut what was asked for, and a
//! node that loses datagrams there looks like a bad network.

use std::fmt;
use std::sync::Once;

/// Sockets that are given the same buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Buffered {
    /// The RTP port of a media thread.
    Rtp,
    /// The RTP port of one stream, and its RTCP port.
    SessionRtp,
    SessionRtcp,
    Webrtc,
    Sip,
}

impl fmt::Display for Buffered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Buffered::Rtp => "RTP",
            Buffered::SessionRtp => "RTP of one stream",
            Buffered::SessionRtcp => "RTCP of one stream",
            Buffered::Webrtc => "WebRTC",
            Buffered::Sip => "SIP",
        })
    }
}

/// Says it, the first time of its kind. `asked` and `got` in bytes; `got` is the kernel's figure, which counts its own
/// bookkeeping: it doubles what was asked for.
pub fn note(kind: Buffered, asked: usize, got: usize) {
    static SAID: [Once; 5] = [const { Once::new() }; 5];
    SAID[kind as usize].call_once(|| {
        tracing::info!(socket = %kind, asked, got, "receive buffer");
        if got < asked {
            tracing::warn!(
                socket = %kind,
                asked,
                got,
                "the kernel gave a smaller receive buffer: raise the sysctl net.core.rmem_max, or bursts will be lost"
            );
        }
    });
}
