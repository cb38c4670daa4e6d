//! A device seen from its own side: what a camera or recorder does with a platform, for simulations and tests.
//!
//! GB/T 28181-2016: 9.1 registration with digest and renewal, 9.6 Keepalive, 9.5 answers to Catalog, DeviceInfo and
//! DeviceStatus, 9.2 live view as the one that is invited, over UDP, with the platform listening (TCP passive) and with
//! the platform connecting (TCP active).
//!
//! ```text
//!  start() ─► Registering ──401: once more with digest──► Registering ──200──► Registered ──Keepalive…, renewal──┐
//!     ▲            │ refused, silence: after a pause                          │ ▲                               │
//!     └────────────┘                                                   stop() ▼ └───────────────────────────────┘
//!                                                                    Leaving ──200, silence──► Idle
//! ```
//!
//! The core opens no socket for media: [`Event::Invited`] asks the caller, [`Device::accept`] brings the address, and
//! [`Event::StartMedia`] says when to send.
//!
//! Not done: digest of other methods than REGISTER, subscriptions, alarms, playback, control.
//!
//! Bounds: [`SIM_MEDIA_MAX`] views of a device at a time, at which the platform gets 486. Shared descriptions stand
//! behind `Arc`, so that a thousand devices cost what their dialogs cost.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::manscdp::{self, Charset, CmdType, Root, encode};
use super::offer;
use super::types::{CatalogItem, DeviceInfo, MediaTransport};
use crate::id::{ChannelId, DeviceId, GbId, Ssrc};
use crate::limits::SIM_MEDIA_MAX;
use crate::sip::sdp::{Direction, MediaLine, Sdp, SdpBuilder, Setup};
use crate::sip::{
    ConnId, Dialog, Endpoint, HeaderName, Incoming, Message, Method, Path, Request, Response,
    ServerId, TransactionId, Transmit, digest, endpoint,
};
use crate::time::earliest;

/// What a device is and whom it talks to.
#[derive(Clone, Debug)]
pub struct Config {
    pub id: DeviceId,
    pub password: String,
    /// Code of the platform.
    pub server: GbId,
    /// SIP domain of the platform.
    pub realm: String,
    pub path: Path,
    /// Life of a registration; it is renewed after two thirds.
    pub expires: Duration,
    pub keepalive: Duration,
    /// Catalog items in one message.
    pub items_per_message: usize,
    pub charset: Charset,
    pub info: Arc<DeviceInfo>,
    pub channels: Arc<[CatalogItem]>,
}

/// Names one view of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MediaId(pub u64);

/// What a platform wants to see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MediaOffer {
    pub id: MediaId,
    pub channel: ChannelId,
    pub ssrc: Ssrc,
    /// As the platform names it: `TcpPassive` means that it listens and the device connects.
    pub transport: MediaTransport,
    /// Where the platform takes the media; without meaning for `TcpActive`.
    pub remote: SocketAddr,
    /// Payload type of the program stream.
    pub payload_type: u8,
}

#[derive(Debug)]
pub enum Output {
    Transmit(Transmit),
    Event(Event),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// For the first time since [`Device::start`] or since a failure.
    Registered,
    /// It is tried again after a pause. Status 0: no answer.
    RegisterFailed {
        status: u16,
    },
    /// To be answered with [`Device::accept`] or [`Device::refuse`].
    Invited(MediaOffer),
    /// The platform has acknowledged: send.
    StartMedia(MediaOffer),
    /// Send no more. Also for a view that was never started.
    StopMedia {
        id: MediaId,
        by_us: bool,
    },
    Unregistered,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Idle,
    Registering { answered_challenge: bool },
    Registered,
    Leaving { answered_challenge: bool },
}

/// What a request of ours was for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    Register,
    Keepalive,
    Answer,
    Bye,
}

struct Media {
    offer: MediaOffer,
    state: MediaState,
}

enum MediaState {
    Invited {
        incoming: Box<Incoming>,
    },
    /// 200 OK is sent, ACK is awaited.
    Accepted {
        server: ServerId,
        dialog: Box<Dialog>,
    },
    Running {
        dialog: Box<Dialog>,
    },
}

/// See the [module](self).
pub struct Device {
    config: Config,
    endpoint: Endpoint,
    digest: digest::Client,
    state: State,
    register_call_id: String,
    register_cseq: u32,
    requests: Vec<(TransactionId, Purpose)>,
    register_at: Option<Instant>,
    keepalive_at: Option<Instant>,
    sn: u32,
    media: Vec<Media>,
    next_media: u64,
    /// Whether [`Event::Registered`] is to be reported.
    announced: bool,
    output: VecDeque<Output>,
}

/// Pause after a REGISTER that failed.
const RETRY: Duration = Duration::from_secs(10);

impl Device {
    /// Nothing is sent before [`Device::start`].
    pub fn new(config: Config, seed: [u8; 32]) -> Device {
        let mut endpoint = Endpoint::new(endpoint::Config::default(), seed);
        let register_call_id = endpoint.new_call_id();
        Device {
            digest: digest::Client::new(config.id.to_string(), config.password.clone()),
            endpoint,
            state: State::Idle,
            register_call_id,
            register_cseq: 0,
            requests: Vec::new(),
            register_at: None,
            keepalive_at: None,
            sn: 0,
            media: Vec::new(),
            next_media: 0,
            announced: false,
            output: VecDeque::new(),
            config,
        }
    }

    pub fn id(&self) -> DeviceId {
        self.config.id
    }

    pub fn is_registered(&self) -> bool {
        self.state == State::Registered
    }

    /// Registers, and stays registered until [`Device::stop`].
    pub fn start(&mut self, now: Instant) {
        self.announced = false;
        self.register(now);
        self.pump(now);
    }

    /// BYE to every view, then REGISTER with Expires 0; ends with [`Event::Unregistered`].
    pub fn stop(&mut self, now: Instant) {
        while let Some(media) = self.media.first() {
            let id = media.offer.id;
            self.end_media(now, id);
        }
        self.keepalive_at = None;
        self.register_at = None;
        self.state = State::Leaving {
            answered_challenge: false,
        };
        self.send_register(now, None);
        self.pump(now);
    }

    /// Another way to the platform: after a TCP connection was made again, or NAT changed the address.
    pub fn set_path(&mut self, path: Path) {
        self.config.path = path;
    }

    pub fn handle_message(&mut self, now: Instant, path: Path, raw: Bytes) {
        self.endpoint.handle_message(now, path, raw);
        self.pump(now);
    }

    /// The TCP connection is gone. With a new one: [`Device::set_path`], then [`Device::start`].
    pub fn handle_closed(&mut self, now: Instant, conn: ConnId) {
        self.endpoint.handle_closed(now, conn);
        self.pump(now);
    }

    pub fn handle_timeout(&mut self, now: Instant) {
        self.endpoint.handle_timeout(now);
        self.pump(now);
        if self.register_at.is_some_and(|at| at <= now) {
            self.register(now);
        }
        if self.keepalive_at.is_some_and(|at| at <= now) {
            self.keepalive_at = Some(now + self.config.keepalive);
            self.sn += 1;
            let body = encode::keepalive(self.sn, self.config.id.0, self.config.charset);
            self.send_message(now, body, Purpose::Keepalive);
        }
        self.pump(now);
    }

    pub fn poll_output(&mut self) -> Option<Output> {
        self.output.pop_front()
    }

    pub fn next_deadline(&self) -> Option<Instant> {
        earliest(
            self.endpoint.next_deadline(),
            earliest(self.register_at, self.keepalive_at),
        )
    }

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

    fn event(&mut self, event: Event) {
        self.output.push_back(Output::Event(event));
    }

    fn pump(&mut self, now: Instant) {
        while let Some(output) = self.endpoint.poll_output() {
            match output {
                endpoint::Output::Transmit(t) => self.output.push_back(Output::Transmit(t)),
                endpoint::Output::Event(event) => self.sip_event(now, event),
            }
        }
    }

    fn sip_event(&mut self, now: Instant, event: endpoint::Event) {
        match event {
            endpoint::Event::Request(incoming) => self.request(now, incoming),
            endpoint::Event::Response { id, message, .. } => self.response(now, id, &message),
            endpoint::Event::Timeout { id, .. } => {
                if let Some(purpose) = self.take_purpose(id) {
                    self.failed(now, purpose, 0);
                }
            }
            endpoint::Event::Cancelled { invite } => self.cancelled(now, invite),
            endpoint::Event::AckMissing { invite } => {
                let unconfirmed = self.media.iter().find(
                    |m| matches!(m.state, MediaState::Accepted { server, .. } if server == invite),
                );
                if let Some(id) = unconfirmed.map(|m| m.offer.id) {
                    self.end_media(now, id);
                }
            }
            endpoint::Event::Ping { .. } | endpoint::Event::Malformed { .. } => {}
        }
    }

    // ---- registration ----

    fn register(&mut self, now: Instant) {
        self.register_at = None;
        self.state = State::Registering {
            answered_challenge: false,
        };
        self.send_register(now, None);
    }

    fn send_register(&mut self, now: Instant, authorization: Option<(HeaderName, String)>) {
        let expires = match self.state {
            State::Leaving { .. } => 0,
            State::Idle | State::Registering { .. } | State::Registered => {
                self.config.expires.as_secs()
            }
        };
        let config = &self.config;
        let own = format!("<sip:{}@{}>", config.id, config.realm);
        self.register_cseq += 1;
        let mut request = Request::new(Method::Register, self.register_uri())
            .from(own.as_str())
            .to(own.as_str())
            .call_id(self.register_call_id.as_str())
            .cseq(self.register_cseq)
            .contact(format!("<sip:{}@{}>", config.id, config.path.local))
            .header(HeaderName::Expires, expires.to_string());
        if let Some((name, value)) = authorization {
            request = request.header(name, value);
        }
        self.send(now, request, Purpose::Register);
    }

    fn register_uri(&self) -> String {
        format!("sip:{}@{}", self.config.server, self.config.realm)
    }

    fn register_answered(&mut self, now: Instant, status: u16, message: &Message) {
        let (leaving, answered_challenge) = match self.state {
            State::Registering { answered_challenge } => (false, answered_challenge),
            State::Leaving { answered_challenge } => (true, answered_challenge),
            State::Idle | State::Registered => return,
        };
        match status {
            200..300 if leaving => self.left(),
            200..300 => {
                self.state = State::Registered;
                let granted = message
                    .expires()
                    .map_or(self.config.expires, |s| Duration::from_secs(s.into()));
                self.register_at = Some(now + granted * 2 / 3);
                if self.keepalive_at.is_none() {
                    self.keepalive_at = Some(now + self.config.keepalive);
                }
                if !std::mem::replace(&mut self.announced, true) {
                    self.event(Event::Registered);
                }
            }
            401 | 407 if !answered_challenge => {
                let cnonce = self.endpoint.random_u64();
                let uri = self.register_uri();
                let answer = self.digest.answer(message, Method::Register, &uri, cnonce);
                if answer.is_none() {
                    return self.failed(now, Purpose::Register, status);
                }
                self.state = if leaving {
                    State::Leaving {
                        answered_challenge: true,
                    }
                } else {
                    State::Registering {
                        answered_challenge: true,
                    }
                };
                self.send_register(now, answer);
            }
            _ => self.failed(now, Purpose::Register, status),
        }
    }

    fn left(&mut self) {
        self.state = State::Idle;
        self.event(Event::Unregistered);
    }

    fn failed(&mut self, now: Instant, purpose: Purpose, status: u16) {
        match (purpose, self.state) {
            (Purpose::Register, State::Leaving { .. }) => self.left(),
            (Purpose::Register, _) => {
                self.announced = false;
                self.keepalive_at = None;
                self.register_at = Some(now + RETRY);
                self.event(Event::RegisterFailed { status });
            }
            // The platform does not know us any more, or is not there.
            (Purpose::Keepalive, State::Registered) => self.register(now),
            (Purpose::Keepalive | Purpose::Answer | Purpose::Bye, _) => {}
        }
    }

    // ---- requests of ours ----

    fn send(&mut self, now: Instant, request: Request, purpose: Purpose) {
        match self.endpoint.send_request(now, self.config.path, request) {
            Ok(id) => self.requests.push((id, purpose)),
            Err(_) => self.failed(now, purpose, 0),
        }
    }

    fn send_message(&mut self, now: Instant, body: Vec<u8>, purpose: Purpose) {
        let config = &self.config;
        let server = format!("sip:{}@{}", config.server, config.realm);
        let request = Request::new(Method::Message, server.as_str())
            .from(format!("<sip:{}@{}>", config.id, config.realm))
            .to(format!("<{server}>"))
            .body("Application/MANSCDP+xml", body);
        self.send(now, request, purpose);
    }

    fn take_purpose(&mut self, id: TransactionId) -> Option<Purpose> {
        let at = self.requests.iter().position(|(t, _)| *t == id)?;
        Some(self.requests.swap_remove(at).1)
    }

    fn response(&mut self, now: Instant, id: TransactionId, message: &Message) {
        let Some(status) = message.status().filter(|s| *s >= 200) else {
            return;
        };
        match self.take_purpose(id) {
            Some(Purpose::Register) => self.register_answered(now, status, message),
            Some(purpose) if status >= 300 => self.failed(now, purpose, status),
            Some(_) | None => {}
        }
    }

    // ---- requests of the platform ----

    fn request(&mut self, now: Instant, incoming: Incoming) {
        let status = match incoming.message.method() {
            Some(Method::Invite) => return self.invited(now, incoming),
            Some(Method::Message) => return self.asked(now, &incoming),
            Some(Method::Bye) => self.bye(&incoming.message),
            Some(Method::Ack) => return self.acknowledged(&incoming.message),
            Some(Method::Options) => 200,
            Some(
                Method::Register
                | Method::Cancel
                | Method::Info
                | Method::Subscribe
                | Method::Notify
                | Method::Prack
                | Method::Update
                | Method::Refer
                | Method::Publish,
            )
            | None => 405,
        };
        _ = self.endpoint.respond(now, &incoming, Response::new(status));
    }

    fn asked(&mut self, now: Instant, incoming: &Incoming) {
        let Ok(message) = manscdp::parse(incoming.message.body()) else {
            _ = self.endpoint.respond(now, incoming, Response::new(400));
            return;
        };
        _ = self.endpoint.respond(now, incoming, Response::new(200));
        if message.root != Root::Query {
            return;
        }
        let config = &self.config;
        let (id, charset, sn) = (config.id.0, config.charset, message.sn.unwrap_or(0));
        match message.cmd {
            CmdType::Catalog => {
                let channels = Arc::clone(&config.channels);
                let total = channels.len() as u32;
                let size = config.items_per_message.max(1);
                if channels.is_empty() {
                    let body = encode::catalog(sn, id, 0, &[], charset);
                    self.send_message(now, body, Purpose::Answer);
                }
                for items in channels.chunks(size) {
                    let body = encode::catalog(sn, id, total, items, charset);
                    self.send_message(now, body, Purpose::Answer);
                }
            }
            CmdType::DeviceInfo => {
                let body = encode::device_info(sn, id, &config.info, charset);
                self.send_message(now, body, Purpose::Answer);
            }
            CmdType::DeviceStatus => {
                let body = encode::device_status(sn, id, true, false, charset);
                self.send_message(now, body, Purpose::Answer);
            }
            _ => {}
        }
    }

    fn invited(&mut self, now: Instant, incoming: Incoming) {
        let id = MediaId(self.next_media);
        let answer = if self.media.len() >= SIM_MEDIA_MAX {
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
        Ok(MediaOffer {
            id,
            channel: ChannelId(channel),
            ssrc: Ssrc(sdp.ssrc().ok_or(488u16)?),
            transport,
            remote: SocketAddr::new(ip, video.port()),
            payload_type,
        })
    }

    fn acknowledged(&mut self, message: &Message) {
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
    fn bye(&mut self, message: &Message) -> u16 {
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

    fn cancelled(&mut self, now: Instant, invite: ServerId) {
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
    SdpBuilder::new(offer.channel.0.as_str(), media.ip(), "Play")
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
