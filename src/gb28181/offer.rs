//! The SDP of a view: what we offer, and whether the answer fits (GB/T 28181-2016, 9.2, 9.8, 9.9, annex F and G; RFC 3264).
//!
//! Offered: `s=Play`, or `s=Playback` and `s=Download` with `u=` and `t=` of what was recorded and, for a download, its
//! speed; one video line with PS (96), MPEG-4 (97), H.264 (98) and H.265 (99), `a=recvonly`, for TCP the
//! roles of RFC 4145, and `y=` as the very last line: some devices answer 415 otherwise.
//!
//! Answers deviate. Tolerated: another SSRC, none or one of 20 digits; payload types the device renumbered; copied
//! `a=setup` lines; `c=` of 0.0.0.0; extra attributes; payload types that are not ours, as long as they have a name: what it
//! means is for the media side to know. Refused, each with its reason: no SDP, no video line, a port of 0,
//! payload types that are neither ours nor named, UDP where TCP was offered and the other way round, no place to connect to.

use std::net::{IpAddr, SocketAddr};

use super::counters::Counters;
use super::quirk::Quirks;
use super::types::{AnsweredPayload, Footage, MediaAnswer, MediaTransport};
use crate::id::{ChannelId, GbId, Ssrc};
use crate::limits;
use crate::sip::sdp::{Direction, MediaLine, MediaView, Sdp, SdpBuilder, Setup};

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
    pub footage: Footage,
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
        let attributes = match self.footage {
            Footage::Live | Footage::Playback(_) => Vec::new(),
            Footage::Download { speed, .. } => {
                vec![("downloadspeed".to_owned(), Some(speed.to_string()))]
            }
        };
        let mut builder = SdpBuilder::new(owner.as_str(), self.media.ip(), self.footage.name());
        if let Some(span) = self.footage.span() {
            // Parameter 0: recorded for whatever reason.
            builder = builder
                .uri(&format!("{}:0", self.channel))
                .times(span.begin_unix_s.into(), span.end_unix_s.into());
        }
        builder
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
                attributes,
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
                payloads: Vec::new(),
                file_bytes: None,
            });
        }
        let sdp = Sdp::parse(body).map_err(|_| "SDP that cannot be read")?;
        let video = sdp.first("video").ok_or("SDP without a video line")?;
        if video.port() == 0 {
            return Err("the video line is refused (port 0)");
        }
        self.check_role(video.is_tcp(), video.setup(), quirks, counters)?;
        let mut payloads = payloads(video);
        if !payloads.is_empty() && !payloads.iter().any(may_be_known) {
            return Err(NO_PAYLOAD_OF_OURS);
        }
        // Devices that answer with a sound of its own do so whether it was offered or not.
        payloads.extend(sdp.first("audio").into_iter().flat_map(self::payloads));
        payloads.truncate(limits::ANSWER_PAYLOADS_MAX);
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
            payloads,
            file_bytes: video
                .attribute("filesize")
                .and_then(|bytes| bytes.trim().parse().ok())
                .filter(|bytes| *bytes > 0),
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

/// What an answer lacks in which no payload type can be one of ours.
pub const NO_PAYLOAD_OF_OURS: &str = "no payload type of our offer in the answer";

/// The payload types of a media line, in its order.
fn payloads(line: MediaView<'_>) -> Vec<AnsweredPayload> {
    let types = line.payload_types().take(limits::ANSWER_PAYLOADS_MAX);
    let payload = |payload_type| AnsweredPayload {
        payload_type,
        rtpmap: line.rtpmap(payload_type).map_or_else(String::new, |map| {
            let channels = map.channels.map(|n| format!("/{n}")).unwrap_or_default();
            format!("{}/{}{channels}", map.name, map.clock)
        }),
        fmtp: line.fmtp(payload_type).unwrap_or_default().to_owned(),
    };
    types.map(payload).collect()
}

/// A name may be known to whoever reads the media; a number without one is one of ours or nothing.
fn may_be_known(payload: &AnsweredPayload) -> bool {
    !payload.rtpmap.is_empty() || is_offered_number(payload.payload_type)
}

/// Whether a payload type is one of our offer by its number.
pub fn is_offered_number(payload_type: u8) -> bool {
    PAYLOADS
        .iter()
        .any(|(offered, _, _)| *offered == payload_type)
}

/// Whether the value of an rtpmap is one of our offer by its name.
pub fn is_offered_name(rtpmap: &str) -> bool {
    let name = rtpmap.split('/').next().unwrap_or_default();
    let mut ours = PAYLOADS.iter();
    ours.any(|(_, offered, _)| name.trim().eq_ignore_ascii_case(offered))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gb28181::quirk::{MissingSdpPolicy, TcpRolePolicy};

    const PEER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 9));

    fn offer(transport: MediaTransport) -> Offer {
        Offer {
            platform: "34020000002000000001".parse().expect("a code"),
            channel: ChannelId("34020000001320000001".parse().expect("a code")),
            footage: Footage::Live,
            ssrc: Ssrc(100_000_001),
            transport,
            media: SocketAddr::from(([192, 0, 2, 1], 30_000)),
        }
    }

    fn check(transport: MediaTransport, body: &str) -> Result<MediaAnswer, &'static str> {
        offer(transport).check(
            body.as_bytes(),
            Quirks::default(),
            PEER,
            &mut Counters::default(),
        )
    }

    /// A device's answer with the given lines behind `t=`.
    fn answer(lines: &str) -> String {
        format!(
            "v=0\r\no=34020000001320000001 0 0 IN IP4 192.0.2.7\r\ns=Play\r\nc=IN IP4 192.0.2.7\r\nt=0 0\r\n{}",
            lines.replace('|', "\r\n")
        )
    }

    #[test]
    fn an_offer_is_written_as_the_standard_has_it_with_y_last() {
        let text = String::from_utf8(offer(MediaTransport::TcpPassive).write(Quirks::default()));
        assert_eq!(
            text.expect("ASCII"),
            "v=0\r\no=34020000001320000001 0 0 IN IP4 192.0.2.1\r\ns=Play\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n\
             m=video 30000 TCP/RTP/AVP 96 97 98 99\r\na=recvonly\r\na=rtpmap:96 PS/90000\r\na=rtpmap:97 MPEG4/90000\r\n\
             a=rtpmap:98 H264/90000\r\na=rtpmap:99 H265/90000\r\na=setup:passive\r\na=connection:new\r\ny=0100000001\r\n"
        );
        let text = String::from_utf8(offer(MediaTransport::Udp).write(Quirks::default()));
        let text = text.expect("ASCII");
        assert!(text.contains("m=video 30000 RTP/AVP 96 97 98 99\r\n"));
        assert!(!text.contains("a=setup"));
        assert_eq!(
            offer(MediaTransport::Udp).subject(),
            "34020000001320000001:0100000001,34020000002000000001:0"
        );
    }

    #[test]
    fn an_offer_for_a_record_names_it_and_its_time() {
        let span = crate::gb28181::Span::new(1_781_402_400, 1_781_406_000).expect("an hour");
        let text = |footage| {
            let offer = Offer {
                footage,
                ..offer(MediaTransport::Udp)
            };
            String::from_utf8(offer.write(Quirks::default())).expect("ASCII")
        };
        let playback = text(Footage::Playback(span));
        assert!(playback.contains(
            "\r\ns=Playback\r\nu=34020000001320000001:0\r\nc=IN IP4 192.0.2.1\r\nt=1781402400 1781406000\r\n"
        ), "{playback}");
        assert!(!playback.contains("downloadspeed"));
        let download = text(Footage::Download { span, speed: 4 });
        assert!(download.contains("\r\ns=Download\r\nu=34020000001320000001:0\r\n"));
        assert!(download.contains("\r\na=downloadspeed:4\r\n"));
        assert!(download.ends_with("y=0100000001\r\n"));
    }

    #[test]
    fn the_size_of_a_download_is_read() {
        let bytes = |lines: &str| {
            check(MediaTransport::Udp, &answer(lines))
                .expect("it fits")
                .file_bytes
        };
        let video = "m=video 9 RTP/AVP 96|a=rtpmap:96 PS/90000|";
        assert_eq!(
            bytes(&format!("{video}a=filesize:1048576|")),
            Some(1_048_576)
        );
        assert_eq!(bytes(&format!("{video}a=filesize:0|")), None);
        assert_eq!(bytes(&format!("{video}a=filesize:big|")), None);
        assert_eq!(bytes(video), None);
    }

    #[test]
    fn answers_of_real_devices_are_understood() {
        let ok = |ssrc, port, payloads: &[(u8, &str)]| {
            let payload = |(payload_type, rtpmap): &(u8, &str)| AnsweredPayload {
                payload_type: *payload_type,
                rtpmap: (*rtpmap).to_owned(),
                fmtp: String::new(),
            };
            Ok(MediaAnswer {
                ssrc,
                remote: Some(SocketAddr::from(([192, 0, 2, 7], port))),
                transport: MediaTransport::Udp,
                payloads: payloads.iter().map(payload).collect(),
                file_bytes: None,
            })
        };
        let only_ps: &[(u8, &str)] = &[(96, "PS/90000")];
        let ours = Some(Ssrc(100_000_001));
        let ps = "m=video 15060 RTP/AVP 96|a=sendonly|a=rtpmap:96 PS/90000|";
        for (lines, expected) in [
            (format!("{ps}y=0100000001|f=|"), ok(ours, 15_060, only_ps)),
            // As a camera writes it: a TCP role on a UDP line, and a password.
            (
                format!("{ps}a=setup:active|a=username:34|a=password:1|a=filesize:0|y=0100000001|f=v/0/0/0a/0/0/0|"),
                ok(ours, 15_060, only_ps),
            ),
            // y= shortened, another one, of 20 digits, missing.
            (format!("{ps}y=100000001|"), ok(ours, 15_060, only_ps)),
            (format!("{ps}y=0200000001|"), ok(Some(Ssrc(200_000_001)), 15_060, only_ps)),
            (format!("{ps}y=34020000001320000001|"), ok(None, 15_060, only_ps)),
            (ps.to_owned(), ok(None, 15_060, only_ps)),
            // Several payload types, the program stream not first; without rtpmap; renumbered.
            (
                "m=video 9 RTP/AVP 98 96|a=rtpmap:98 H264/90000|a=rtpmap:96 PS/90000|y=0100000001|".into(),
                ok(ours, 9, &[(98, "H264/90000"), (96, "PS/90000")]),
            ),
            ("m=video 9 RTP/AVP 98|y=0100000001|".into(), ok(ours, 9, &[(98, "")])),
            (
                "m=video 9 RTP/AVP 100|a=rtpmap:100 ps/90000|y=0100000001|".into(),
                ok(ours, 9, &[(100, "ps/90000")]),
            ),
            // Not of our offer, but named.
            (
                "m=video 9 RTP/AVP 96|a=rtpmap:96 MP2T/90000|y=0100000001|".into(),
                ok(ours, 9, &[(96, "MP2T/90000")]),
            ),
            // An address of its own in the media description; recvonly copied from us.
            (
                "m=video 9 RTP/AVP 96|c=IN IP4 192.0.2.7|a=recvonly|a=rtpmap:96 PS/90000|y=0100000001|".into(),
                ok(ours, 9, only_ps),
            ),
        ] {
            assert_eq!(check(MediaTransport::Udp, &answer(&lines)), expected, "{lines}");
        }
    }

    #[test]
    fn sound_comes_with_its_parameters_whatever_line_it_stands_on() {
        let payloads = |lines: &str| {
            let answer = check(MediaTransport::Udp, &answer(lines)).expect("it fits");
            let plain = answer.payloads.into_iter();
            plain
                .map(|p| (p.payload_type, p.rtpmap, p.fmtp))
                .collect::<Vec<_>>()
        };
        let aac = (
            97,
            "MPEG4-GENERIC/16000/1".to_owned(),
            "sizelength=13;config=1408".to_owned(),
        );
        let ps = (96, "PS/90000".to_owned(), String::new());
        let maps =
            "a=rtpmap:97 MPEG4-GENERIC/16000/1|a=fmtp:96 x=1|a=fmtp:97 sizelength=13;config=1408|";
        let one = format!("m=video 9 RTP/AVP 97|{maps}");
        assert_eq!(payloads(&one), std::slice::from_ref(&aac));
        let two = format!("m=video 9 RTP/AVP 96|a=rtpmap:96 PS/90000|m=audio 9 RTP/AVP 97|{maps}");
        assert_eq!(payloads(&two), [ps, aac]);
        // Both lines are read up to the bound, what is on the first one first.
        let many: Vec<String> = (96..=127).map(|pt| pt.to_string()).collect();
        let most = limits::ANSWER_PAYLOADS_MAX;
        let long = format!("m=video 9 RTP/AVP {}|", many.join(" "));
        assert_eq!(payloads(&long).len(), most);
        let full = format!("m=video 9 RTP/AVP {}|", many[..most - 1].join(" "));
        let both = format!("{full}m=audio 9 RTP/AVP 97 98|{maps}");
        let found = payloads(&both);
        assert_eq!((found.len(), found[most - 1].0), (most, 97));
    }

    #[test]
    fn an_answer_without_an_address_means_where_sip_comes_from() {
        let body = answer("m=video 15060 RTP/AVP 96|a=rtpmap:96 PS/90000|")
            .replace("c=IN IP4 192.0.2.7", "c=IN IP4 0.0.0.0");
        let answer = check(MediaTransport::Udp, &body).expect("it fits");
        assert_eq!(answer.remote, Some(SocketAddr::new(PEER, 15_060)));
    }

    #[test]
    fn answers_that_cannot_be_used_are_named() {
        let udp = MediaTransport::Udp;
        for (lines, expected) in [
            ("m=audio 15060 RTP/AVP 8|", "SDP without a video line"),
            (
                "m=video 0 RTP/AVP 96|",
                "the video line is refused (port 0)",
            ),
            (
                "m=video 9 RTP/AVP 26|",
                "no payload type of our offer in the answer",
            ),
            (
                "m=video 9 TCP/RTP/AVP 96|",
                "TCP answered to an offer of UDP",
            ),
        ] {
            assert_eq!(check(udp, &answer(lines)), Err(expected), "{lines}");
        }
        assert_eq!(check(udp, "no sdp"), Err("SDP that cannot be read"));
        assert_eq!(check(udp, "\r\n"), Err("200 OK without SDP"));
    }

    #[test]
    fn tcp_roles_are_checked() {
        let line = |proto: &str, setup: &str| {
            answer(&format!(
                "m=video 15060 {proto} 96|a=rtpmap:96 PS/90000|{setup}y=0100000001|"
            ))
        };
        use MediaTransport::{TcpActive, TcpPassive};
        for (transport, proto, setup, fits) in [
            (TcpPassive, "TCP/RTP/AVP", "a=setup:active|", true),
            (TcpPassive, "TCP/RTP/AVP", "a=setup:actpass|", true),
            (TcpPassive, "TCP/RTP/AVP", "", true),
            (TcpPassive, "RTP/AVP", "a=setup:active|", true),
            (TcpPassive, "RTP/AVP", "", false),
            (TcpPassive, "TCP/RTP/AVP", "a=setup:holdconn|", false),
            // Our own line copied; it connects all the same.
            (TcpPassive, "TCP/RTP/AVP", "a=setup:passive|", true),
            (TcpActive, "TCP/RTP/AVP", "a=setup:passive|", true),
            (TcpActive, "TCP/RTP/AVP", "a=setup:active|", true),
            (TcpActive, "RTP/AVP", "", false),
        ] {
            let body = line(proto, setup);
            assert_eq!(
                check(transport, &body).is_ok(),
                fits,
                "{transport:?} {proto} {setup}"
            );
        }
        let strict = Quirks {
            tcp_role: TcpRolePolicy::Refuse,
            ..Quirks::default()
        };
        let body = line("TCP/RTP/AVP", "a=setup:passive|");
        let mut counters = Counters::default();
        let checked = offer(TcpPassive).check(body.as_bytes(), strict, PEER, &mut counters);
        assert_eq!(checked, Err("the device takes the TCP role that is ours"));
        let lenient =
            offer(TcpPassive).check(body.as_bytes(), Quirks::default(), PEER, &mut counters);
        assert!(lenient.is_ok());
        assert_eq!(counters.answers_odd_role, 1);
    }

    #[test]
    fn no_sdp_is_assent_only_where_a_policy_says_so_and_nothing_is_missing() {
        let assume = Quirks {
            missing_sdp: MissingSdpPolicy::Assume,
            ..Quirks::default()
        };
        let mut counters = Counters::default();
        for (transport, fits) in [
            (MediaTransport::Udp, true),
            (MediaTransport::TcpPassive, true),
            (MediaTransport::TcpActive, false),
        ] {
            let checked = offer(transport).check(b"", assume, PEER, &mut counters);
            assert_eq!(checked.is_ok(), fits, "{transport:?}");
        }
        assert_eq!(counters.answers_without_sdp, 2);
    }
}
