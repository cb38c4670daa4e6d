//! What the session core is told at its start: shards, SDP facts, and how long each step of an opening may take.

use std::time::Duration;

use crate::gb28181::MediaTransport;
use crate::id::GbId;
use crate::limits;
use crate::media::hold::LossPolicy;

use super::address::MediaAddress;
use super::policy::TransportPolicy;

/// Settings of a [`crate::session::Core`].
#[derive(Clone, Debug)]
pub struct CoreConfig {
    /// Media threads; at least 1.
    pub shards: u8,
    /// Port of each shard, by its index; as long as `shards`.
    pub rtp_ports: Vec<u16>,
    /// Second to sixth digit of every SSRC of ours, in ASCII; see [`CoreConfig::realm_of`].
    pub ssrc_realm: [u8; 5],
    /// First and last port of streams that each have their own; `None` = they share that of their shard.
    pub session_ports: Option<(u16, u16)>,
    /// Address in our SDP.
    pub media_address: MediaAddress,
    /// How a device is asked to send at first.
    pub transport: MediaTransport,
    /// Whether the other transports are tried when the first brings no packet.
    pub fallback: bool,
    /// How long a stream goes on after its last viewer: a reloaded page or a switched layout comes back within seconds,
    /// and a new INVITE would cost it the time to the next key frame.
    pub linger: Duration,
    /// From INVITE to the final answer.
    pub invite_timeout: Duration,
    /// From the answer to the first RTP packet, for one attempt.
    pub rtp_timeout: Duration,
    /// From the first RTP packet to the first key frame.
    pub picture_timeout: Duration,
    /// No further attempt begins when the opening is older than this.
    pub fallback_window: Duration,
    /// From the first INVITE to the picture, whatever the steps would still allow: the field's web players give up after
    /// ten seconds and then hear no reason.
    pub opening_timeout: Duration,
    /// Takes the SSRC that a device really sends when it is neither the one asked for nor the one answered, if it cannot
    /// be anything else (field reports 2 and 4).
    pub adopt_foreign_ssrc: bool,
    /// What becomes of pictures with loss, where a device has no policy of its own.
    pub loss: LossPolicy,
    /// How long a session waits for its viewer.
    pub claim: Duration,
    pub streams_max: usize,
    pub sessions_max: usize,
    pub devices_max: usize,
}

impl Default for CoreConfig {
    /// One shard without a port: `shards`, `rtp_ports` and `ssrc_realm` are the caller's to fill.
    fn default() -> Self {
        CoreConfig {
            shards: 1,
            rtp_ports: vec![0],
            ssrc_realm: *b"00000",
            session_ports: None,
            media_address: MediaAddress::default(),
            transport: MediaTransport::Udp,
            fallback: true,
            linger: Duration::from_secs(10),
            invite_timeout: Duration::from_secs(8),
            rtp_timeout: Duration::from_secs(3),
            picture_timeout: Duration::from_secs(6),
            fallback_window: Duration::from_secs(7),
            opening_timeout: Duration::from_millis(9_500),
            adopt_foreign_ssrc: true,
            loss: LossPolicy::HoldBack,
            claim: Duration::from_secs(limits::SESSION_CLAIM_S_MAX),
            streams_max: limits::STREAMS_MAX,
            sessions_max: limits::SESSIONS_MAX,
            devices_max: limits::DEVICES_MAX,
        }
    }
}

impl CoreConfig {
    /// Digits 4 to 8 of the platform's code (GB/T 28181-2016, annex F); zeros where the code is shorter.
    pub fn realm_of(platform: GbId) -> [u8; 5] {
        let mut realm = *b"00000";
        let digits = platform.as_str().as_bytes();
        for (to, from) in realm.iter_mut().zip(digits.iter().skip(3)) {
            *to = *from;
        }
        realm
    }

    /// The transports to try for one device, in order. `known` is what worked for it before; a forced one is the only one.
    pub(super) fn attempts(
        &self,
        forced: TransportPolicy,
        known: Option<MediaTransport>,
    ) -> Vec<MediaTransport> {
        use MediaTransport::{TcpActive, TcpPassive, Udp};
        match forced {
            TransportPolicy::Auto => {}
            TransportPolicy::Udp => return vec![Udp],
            TransportPolicy::TcpPassive => return vec![TcpPassive],
            TransportPolicy::TcpActive => return vec![TcpActive],
        }
        let usual = match self.transport {
            Udp => [Udp, TcpPassive, TcpActive],
            TcpPassive => [TcpPassive, TcpActive, Udp],
            TcpActive => [TcpActive, TcpPassive, Udp],
        };
        let first = known.unwrap_or(self.transport);
        let mut order = vec![first];
        if self.fallback {
            order.extend(usual.into_iter().filter(|t| *t != first));
        }
        order
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_realm_is_digits_4_to_8() {
        let id = "34020000002000000001".parse().expect("a code");
        assert_eq!(&CoreConfig::realm_of(id), b"20000");
        let short = "440106".parse().expect("a code");
        assert_eq!(&CoreConfig::realm_of(short), b"10600");
    }

    #[test]
    fn what_worked_comes_first_and_nothing_twice() {
        use MediaTransport::{TcpActive, TcpPassive, Udp};
        let mut config = CoreConfig::default();
        let auto = TransportPolicy::Auto;
        assert_eq!(config.attempts(auto, None), [Udp, TcpPassive, TcpActive]);
        assert_eq!(
            config.attempts(auto, Some(TcpActive)),
            [TcpActive, Udp, TcpPassive]
        );
        let forced = TransportPolicy::TcpPassive;
        assert_eq!(config.attempts(forced, Some(TcpActive)), [TcpPassive]);
        config.fallback = false;
        assert_eq!(config.attempts(auto, None), [Udp]);
    }
}
