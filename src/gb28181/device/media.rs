//! Views of a device, as the one that is invited, with the orders of a playback (GB/T 28181-2016, 9.2, 9.8, 9.9).

use std::net::SocketAddr;
use std::time::Instant;

use super::{Device, Event, Media, MediaId, MediaOffer, MediaState, Purpose};
use crate::gb28181::manscdp::{CmdType, Root, encode};
use crate::gb28181::mansrtsp::{self, Order};
use crate::gb28181::notice::{FILE_ENDED, Notice};
use crate::gb28181::offer;
use crate::gb28181::types::{Footage, MediaTransport, Span};
use crate::id::{ChannelId, GbId, Ssrc};
use crate::limits::SIM_MEDIA_MAX;
use crate::sip::sdp::{Direction, MediaLine, Sdp, SdpBuilder, Setup};
use crate::sip::{Dialog, Incoming, Message, Method, Response, ServerId};

impl Device {
    /// Accepts a view. `media` is where the device sends from (UDP) or listens (`TcpActive`); its port is not used when
    /// the device connects.
    pub fn accept(&mut self, now: Instant, id: MediaId, media: SocketAddr) {
        let Some(at) = self.media.iter().position(|m| m.offer.id == id) else {
            return;
        };
        let MediaState::Invited { incoming } = &self.media[at].state else {
            return;
        };
        let incoming = incoming.clone();
        let offer = self.media[at].offer;
        let tag = self.endpoint.local_tag(&incoming);
        let Ok(dialog) = Dialog::from_request(&incoming.message, &tag) else {
            return self.refuse(now, id, 400);
        };
        let contact = format!("<sip:{}@{}>", self.config.id, self.config.path.local);
        let response = Response::new(200)
            .contact(contact)
            .body("application/sdp", answer_sdp(&offer, media));
        if self.endpoint.respond(now, &incoming, response).is_err() {
            self.media.remove(at);
            return self.event(Event::StopMedia { id, by_us: true });
        }
        self.media[at].state = MediaState::Accepted {
            server: incoming.id,
            dialog: Box::new(dialog),
        };
        self.pump(now);
    }

    pub fn refuse(&mut self, now: Instant, id: MediaId, status: u16) {
        let Some(at) = self.media.iter().position(|m| m.offer.id == id) else {
            return;
        };
        if let MediaState::Invited { incoming } = &self.media[at].state {
            // It fails only for an INVITE that was cancelled and answered in between.
            _ = self.endpoint.respond(now, incoming, Response::new(status));
            self.media.remove(at);
        }
        self.pump(now);
    }

    /// All of a record was sent: MediaStatus 121, inside of the dialog by the standard. The platform hangs up.
    pub fn end_of_file(&mut self, now: Instant, id: MediaId, inside: bool) {
        let Some(media) = self.media.iter_mut().find(|m| m.offer.id == id) else {
            return;
        };
        let MediaState::Running { dialog } = &mut media.state else {
            return;
        };
        self.sn += 1;
        let notice = Notice::MediaStatus {
            notify_type: FILE_ENDED,
        };
        let (channel, charset) = (media.offer.channel, self.config.charset);
        let body = encode::document(
            Root::Notify,
            CmdType::MediaStatus,
            self.sn,
            channel.0,
            charset,
            |out| notice.write(out),
        );
        if inside {
            let request = dialog.request(Method::Message);
            let request = request.body("Application/MANSCDP+xml", body);
            self.send(now, request, Purpose::Notify);
        } else {
            self.send_message(now, body, Purpose::Notify);
        }
        self.pump(now);
    }

    /// INFO: an order to a playback.
    pub(super) fn ordered_to_play(&mut self, now: Instant, incoming: &Incoming) {
        let message = &incoming.message;
        let found = self.media.iter().find(|media| match &media.state {
            MediaState::Running { dialog } => dialog.matches(message),
            MediaState::Invited { .. } | MediaState::Accepted { .. } => false,
        });
        let reverse = self.config.abilities.reverse;
        let checked = match found.map(|media| media.offer) {
            None => Err(481),
            Some(offer) if offer.footage == Footage::Live => Err(488),
            Some(offer) => match Order::read(message.body()) {
                Err(_) => Err(400),
                Ok(Order::Play {
                    scale: Some(scale), ..
                }) if scale.milli() < 0 && !reverse => Err(488),
                Ok(order) => Ok((offer.id, order)),
            },
        };
        let response = match &checked {
            Ok(_) => Response::new(200).body(mansrtsp::CONTENT_TYPE, mansrtsp::write_answer(1)),
            Err(status) => Response::new(*status),
        };
        _ = self.endpoint.respond(now, incoming, response);
        if let Ok((id, order)) = checked {
            self.event(Event::Ordered { id, order });
            if order == Order::Teardown && self.config.abilities.hangs_up {
                self.end_media(now, id);
            }
        }
    }

    /// Ends a view from the device's side.
    pub fn end_media(&mut self, now: Instant, id: MediaId) {
        let Some(at) = self.media.iter().position(|m| m.offer.id == id) else {
            return;
        };
        let media = self.media.remove(at);
        match media.state {
            MediaState::Invited { incoming } => {
                _ = self.endpoint.respond(now, &incoming, Response::new(480));
            }
            MediaState::Accepted { mut dialog, .. } | MediaState::Running { mut dialog } => {
                let request = dialog.request(Method::Bye);
                self.send(now, request, Purpose::Bye);
            }
        }
        self.event(Event::StopMedia { id, by_us: true });
        self.pump(now);
    }

    pub(super) fn invited(&mut self, now: Instant, incoming: Incoming) {
        let id = MediaId(self.next_media);
        let answer = if let Some(status) = self.refuses {
            Err(status)
        } else if self.media.len() >= SIM_MEDIA_MAX {
            Err(486)
        } else {
            self.read_offer(id, &incoming.message)
        };
        match answer {
            Ok(offer) => {
                self.next_media += 1;
                self.media.push(Media {
                    offer,
                    state: MediaState::Invited {
                        incoming: Box::new(incoming),
                    },
                });
                self.event(Event::Invited(offer));
            }
            Err(status) => {
                _ = self.endpoint.respond(now, &incoming, Response::new(status));
            }
        }
    }

    /// Errors: the status that refuses the INVITE.
    fn read_offer(&self, id: MediaId, message: &Message) -> Result<MediaOffer, u16> {
        let channel: GbId = message
            .uri_user()
            .and_then(|user| user.parse().ok())
            .ok_or(400u16)?;
        let known = channel == self.config.id.0
            || self
                .config
                .channels
                .iter()
                .any(|item| item.id == channel.as_str());
        if !known {
            return Err(404);
        }
        let sdp = Sdp::parse(message.body()).map_err(|_| 400u16)?;
        let video = sdp.first("video").ok_or(488u16)?;
        let payload_type = video
            .payload_types()
            .find(|pt| {
                video
                    .rtpmap(*pt)
                    .is_some_and(|map| map.name.eq_ignore_ascii_case("PS"))
            })
            .ok_or(488u16)?;
        let transport = match (video.is_tcp(), video.setup()) {
            (false, _) => MediaTransport::Udp,
            (true, Some(Setup::Active)) => MediaTransport::TcpActive,
            (true, Some(Setup::Passive | Setup::ActPass) | None) => MediaTransport::TcpPassive,
            (true, Some(Setup::HoldConn)) => return Err(488),
        };
        let ip = video.ip().or_else(|| sdp.connection_ip()).ok_or(488u16)?;
        let footage = self.read_footage(channel, &sdp)?;
        Ok(MediaOffer {
            id,
            channel: ChannelId(channel),
            footage,
            ssrc: Ssrc(sdp.ssrc().ok_or(488u16)?),
            transport,
            remote: SocketAddr::new(ip, video.port()),
            payload_type,
        })
    }

    /// What is wanted; of a record there must be something. Errors: the status that refuses the INVITE.
    fn read_footage(&self, channel: GbId, sdp: &Sdp) -> Result<Footage, u16> {
        let speed = match sdp.name() {
            "Playback" => None,
            "Download" => {
                let wanted = sdp
                    .first("video")
                    .and_then(|v| v.attribute("downloadspeed"));
                Some(
                    wanted
                        .and_then(|s| s.trim().parse().ok())
                        .unwrap_or(1u8)
                        .max(1),
                )
            }
            _ => return Ok(Footage::Live),
        };
        let (begin, end) = sdp.times().ok_or(400u16)?;
        let second = |at: u64| u32::try_from(at).map_err(|_| 400u16);
        let span = Span::new(second(begin)?, second(end)?).ok_or(400u16)?;
        if !self.has_recorded(channel, span) {
            return Err(404);
        }
        Ok(match speed {
            None => Footage::Playback(span),
            Some(speed) => Footage::Download { span, speed },
        })
    }

    pub(super) fn acknowledged(&mut self, message: &Message) {
        let started = self.media.iter_mut().find_map(|media| {
            let MediaState::Accepted { dialog, .. } = &media.state else {
                return None;
            };
            if !dialog.matches(message) {
                return None;
            }
            let dialog = dialog.clone();
            media.state = MediaState::Running { dialog };
            Some(media.offer)
        });
        if let Some(offer) = started {
            self.event(Event::StartMedia(offer));
        }
    }

    /// Answers the status for a BYE.
    pub(super) fn bye(&mut self, message: &Message) -> u16 {
        let ended = self.media.iter().position(|media| match &media.state {
            MediaState::Invited { .. } => false,
            MediaState::Accepted { dialog, .. } | MediaState::Running { dialog } => {
                dialog.matches(message)
            }
        });
        match ended {
            Some(at) => {
                let id = self.media.remove(at).offer.id;
                self.event(Event::StopMedia { id, by_us: false });
                200
            }
            None => 481,
        }
    }

    pub(super) fn cancelled(&mut self, now: Instant, invite: ServerId) {
        let waiting = self.media.iter().position(|media| {
            matches!(&media.state, MediaState::Invited { incoming } if incoming.id == invite)
        });
        if let Some(at) = waiting {
            let media = self.media.remove(at);
            if let MediaState::Invited { incoming } = media.state {
                _ = self.endpoint.respond(now, &incoming, Response::new(487));
            }
            self.event(Event::StopMedia {
                id: media.offer.id,
                by_us: false,
            });
        }
    }
}

/// The SDP of a 200 OK to `offer`.
fn answer_sdp(offer: &MediaOffer, media: SocketAddr) -> Vec<u8> {
    let (setup, port) = match offer.transport {
        MediaTransport::Udp => (None, media.port()),
        // The discard port, as RFC 4145, 4.1 has it for the side that connects.
        MediaTransport::TcpPassive => (Some(Setup::Active), 9),
        MediaTransport::TcpActive => (Some(Setup::Passive), media.port()),
    };
    SdpBuilder::new(offer.channel.0.as_str(), media.ip(), offer.footage.name())
        .media(MediaLine {
            kind: "video",
            port,
            tcp: offer::is_tcp(offer.transport),
            direction: Direction::SendOnly,
            payloads: vec![(offer.payload_type, "PS".to_owned(), 90_000)],
            setup,
            connection_new: setup.is_some(),
            attributes: Vec::new(),
        })
        .y(offer.ssrc.0)
        .build()
        .write()
}
