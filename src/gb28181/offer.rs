//! The SDP of a live view: what we offer, and whether the answer fits (GB/T 28181-2016, 9.2, annex F and G; RFC 3264).
//!
//! Offered: `s=Play`, one video line with PS (96), MPEG-4 (97), H.264 (98) and H.265 (99), `a=recvonly`, for TCP the
//! roles of RFC 4145, and `y=` as the very last line: some devices answer 415 otherwise.
//!
//! Answers deviate. Tolerated: another SSRC, none or one of 20 digits; payload types the device renumbered; copied
//! `a=setup` lines; `c=` of 0.0.0.0; extra attributes. Refused, each with its reason: no SDP, no video line, a port of 0,
//! no payload type of ours, UDP where TCP was offered and the other way round, no place to connect to.

use std::net::{IpAddr, SocketAddr};

use super::counters::Counters;
use super::quirk::Quirks;
use super::types::{MediaAnswer, MediaTransport};
use crate::id::{ChannelId, GbId, Ssrc};
use crate::sip::sdp::{Direction, MediaLine, Sdp, SdpBuilder, Setup};

/// Payload types that we offer and what they are (GB/T 28181-2016, annex C, table C.1, and 2022 for H.265).
pub const PAYLOADS: [(u8, &str, u32); 4] = [
    (96, "PS", 90_000),
    (97, "MPEG4", 90_000),
    (98, "H264", 90_000),
    (99, "H265", 90_000),
];

/// What is offered to a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offer {
    pub platform: GbId,
    pub channel: ChannelId,
    pub ssrc: Ssrc,
    pub transport: MediaTransport,
    /// Where we take the media.
    pub media: SocketAddr,
}

impl Offer {
    /// The SDP body.
    pub fn write(&self, quirks: Quirks) -> Vec<u8> {
        let owner = if quirks.owner_is_channel() {
            self.channel.0
        } else {
            self.platform
        };
        let setup = match self.transport {
            MediaTransport::Udp => None,
            MediaTransport::TcpPassive => Some(Setup::Passive),
            MediaTransport::TcpActive => Some(Setup::Active),
        };
        SdpBuilder::new(owner.as_str(), self.media.ip(), "Play")
            .media(MediaLine {
                kind: "video",
                port: self.media.port(),
                tcp: is_tcp(self.transport),
                direction: Direction::RecvOnly,
                payloads: PAYLOADS
                    .iter()
                    .map(|(pt, name, clock)| (*pt, (*name).to_owned(), *clock))
                    .collect(),
                setup,
                connection_new: setup.is_some(),
                attributes: Vec::new(),
            })
            .y(self.ssrc.0)
            .build()
            .write()
    }

    /// `Subject`: media sender and its stream, media receiver and its stream (GB/T 28181-2016, annex K).
    pub fn subject(&self) -> String {
        format!("{}:{},{}:0", self.channel, self.ssrc, self.platform)
    }

    /// Checks the body of a 2xx. `peer` is where SIP comes from, for answers without a usable address.
    ///
    /// Errors: what the device answered that cannot be used, for people to read.
    pub fn check(
        &self,
        body: &[u8],
        quirks: Quirks,
        peer: IpAddr,
        counters: &mut Counters,
    ) -> Result<MediaAnswer, &'static str> {
        if body.iter().all(u8::is_ascii_whitespace) {
            let needs_nothing = self.transport != MediaTransport::TcpActive;
            if !(quirks.missing_sdp_is_assent() && needs_nothing) {
                return Err("200 OK without SDP");
            }
            counters.answers_without_sdp += 1;
            return Ok(MediaAnswer {
                ssrc: None,
                remote: None,
                transport: self.transport,
                payload_type: None,
            });
        }
        let sdp = Sdp::parse(body).map_err(|_| "SDP that cannot be read")?;
        let video = sdp.first("video").ok_or("SDP without a video line")?;
        if video.port() == 0 {
            return Err("the video line is refused (port 0)");
        }
        self.check_role(video.is_tcp(), video.setup(), quirks, counters)?;
        let payload_type = pick_payload(
            video
                .payload_types()
                .map(|pt| (pt, video.rtpmap(pt).map(|map| map.name))),
        )?;
        let ip = video
            .ip()
            .or_else(|| sdp.connection_ip())
            .filter(|ip| !ip.is_unspecified())
            .unwrap_or(peer);
        let ssrc = sdp.ssrc().map(Ssrc);
        counters.answers_odd_ssrc += u64::from(ssrc != Some(self.ssrc));
        Ok(MediaAnswer {
            ssrc,
            remote: Some(SocketAddr::new(ip, video.port())),
            transport: self.transport,
            payload_type,
        })
    }

    fn check_role(
        &self,
        tcp: bool,
        setup: Option<Setup>,
        quirks: Quirks,
        counters: &mut Counters,
    ) -> Result<(), &'static str> {
        match (self.transport, tcp, setup) {
            // `a=setup` on a UDP line means nothing; some cameras write it always.
            (MediaTransport::Udp, false, _) => Ok(()),
            (MediaTransport::Udp, true, _) => Err("TCP answered to an offer of UDP"),
            (MediaTransport::TcpPassive | MediaTransport::TcpActive, false, None) => {
                Err("UDP answered to an offer of TCP")
            }
            // The line says UDP, the role says TCP: the role is meant.
            (MediaTransport::TcpPassive, _, Some(Setup::Active | Setup::ActPass))
            | (MediaTransport::TcpActive, _, Some(Setup::Passive | Setup::ActPass))
            | (MediaTransport::TcpPassive | MediaTransport::TcpActive, true, None) => Ok(()),
            (MediaTransport::TcpPassive | MediaTransport::TcpActive, _, Some(Setup::HoldConn)) => {
                Err("the device wants no connection (a=setup:holdconn)")
            }
            (MediaTransport::TcpPassive, _, Some(Setup::Passive))
            | (MediaTransport::TcpActive, _, Some(Setup::Active)) => {
                if !quirks.both_may_listen() {
                    return Err("the device takes the TCP role that is ours");
                }
                counters.answers_odd_role += 1;
                Ok(())
            }
        }
    }
}

/// Whether the media line says `TCP/RTP/AVP`.
pub fn is_tcp(transport: MediaTransport) -> bool {
    match transport {
        MediaTransport::Udp => false,
        MediaTransport::TcpPassive | MediaTransport::TcpActive => true,
    }
}

/// The payload type to expect, program stream first. A type is known by its rtpmap, else by our number for it.
fn pick_payload<'a>(
    answered: impl Iterator<Item = (u8, Option<&'a str>)>,
) -> Result<Option<u8>, &'static str> {
    let mut any = false;
    let mut best: Option<(usize, u8)> = None;
    for (pt, name) in answered {
        any = true;
        let rank = match name {
            Some(name) => PAYLOADS
                .iter()
                .position(|(_, offered, _)| name.eq_ignore_ascii_case(offered)),
            None => PAYLOADS.iter().position(|(offered, _, _)| *offered == pt),
        };
        if let Some(rank) = rank
            && best.is_none_or(|(r, _)| rank < r)
        {
            best = Some((rank, pt));
        }
    }
    match best {
        Some((_, pt)) => Ok(Some(pt)),
        None if any => Err("no payload type of our offer in the answer"),
        None => Ok(None),
    }
}
