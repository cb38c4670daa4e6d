//! A device seen from its own side: what a camera or recorder does with a platform, for simulations and tests.
//!
//! GB/T 28181-2016 and 2022: 9.1 registration with digest and renewal (here), 9.6 Keepalive (here), 9.2 live view as the
//! one that is invited, over UDP, with the platform listening (TCP passive) and with the platform connecting (TCP
//! active), 9.8 playback and 9.9 download with the orders and the end of the file (`media`), 9.3 orders and 9.5 questions (`answer`, with `camera` and `head` for what they do), 9.4 alarms
//! and 9.11 subscriptions (`tell`).
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
//! With [`Security`], it proves itself by GB 35114 in place of a digest, and signs what it sends.
//!
//! Not done: digest of other methods than REGISTER, the upload of pictures.
//!
//! Bounds: [`SIM_MEDIA_MAX`](crate::limits::SIM_MEDIA_MAX) views of a device at a time, at which the platform gets 486;
//! [`SIM_SUBSCRIPTIONS_MAX`](crate::limits::SIM_SUBSCRIPTIONS_MAX), [`SIM_JOBS_MAX`](crate::limits::SIM_JOBS_MAX). Shared descriptions stand
//! behind `Arc`, so that a thousand devices cost what their dialogs cost.

mod answer;
mod camera;
mod head;
mod media;
mod tell;

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::SeedableRng;

use super::answer::{FileRecord, SdCard};
use super::edition::Edition;
use super::gb35114;
use super::manscdp::{Charset, encode};
use super::mansrtsp::Order;
use super::notice::Alarm;
use super::platform::local_time;
use super::types::{CatalogItem, DeviceInfo, Footage, MediaTransport};
use crate::id::{ChannelId, DeviceId, GbId, Ssrc};
use crate::sip::{
    ConnId, Dialog, Endpoint, HeaderName, Incoming, Message, Method, Path, Request, Response,
    ServerId, TransactionId, Transmit, digest, endpoint,
};
use crate::time::{WallClock, earliest};

pub use answer::LOCAL_OFFSET_S;
use answer::{Job, Recorder};
use tell::Subscribed;

pub use camera::{CRUISE_POINTS_MAX, Camera};
pub use head::{Place, TRAVEL};

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
    pub abilities: Arc<Abilities>,
}

/// What a device can do and has, beyond pictures.
#[derive(Clone, Debug)]
pub struct Abilities {
    /// It says so when it registers, and knows no later command.
    pub edition: Edition,
    /// Takes every question and answers none.
    pub silent: bool,
    /// Plays back backwards.
    pub reverse: bool,
    /// Hangs up by itself when a playback is torn down.
    pub hangs_up: bool,
    /// All of its cameras; one without a `device_id` is every camera's.
    pub records: Vec<FileRecord>,
    pub cards: Vec<SdCard>,
    /// How it proves itself by GB 35114. `None`: with its password.
    pub security: Option<Security>,
    /// Longitude and latitude from which it drives east. `None`: it does not know where it is.
    pub start: Option<(f64, f64)>,
}

/// GB 35114 on the device's side.
#[derive(Clone, Debug)]
pub struct Security {
    pub camera: gb35114::Camera,
    /// For the Date of what it sends.
    pub wall: WallClock,
    /// Seconds by which its clock is ahead of UTC, local time as platforms expect it.
    pub utc_offset_s: i32,
}

impl Security {
    fn date(&self, now: Instant) -> String {
        local_time(self.wall.unix_ms(now) + i64::from(self.utc_offset_s) * 1000)
    }
}

/// Names one view of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MediaId(pub u64);

/// What a platform wants to see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MediaOffer {
    pub id: MediaId,
    pub channel: ChannelId,
    pub footage: Footage,
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
    /// So many pictures are to be sent there by HTTP, each in a request of its own.
    Upload {
        url: String,
        pictures: u32,
    },
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
    /// The platform orders a playback; it was answered.
    Ordered {
        id: MediaId,
        order: Order,
    },
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
    /// A page of the directory.
    Page,
    Notify,
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
    cameras: BTreeMap<GbId, Camera>,
    recorder: Recorder,
    security: Option<Security>,
    /// See [`Abilities::silent`].
    silent: bool,
    /// The status by which it refuses questions, orders and views.
    refuses: Option<u16>,
    subscriptions: Vec<Subscribed>,
    jobs: Vec<Job>,
    /// Directories that were asked for: number of the question, and how much of it has been sent.
    directories: VecDeque<(u32, usize)>,
    /// When it was started first.
    began: Option<Instant>,
    alarms_acknowledged: u32,
    /// Those that it raised, with what raised them, oldest first.
    raised: VecDeque<(GbId, Alarm)>,
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
            cameras: BTreeMap::new(),
            recorder: Recorder::new(),
            security: config.abilities.security.clone(),
            silent: config.abilities.silent,
            refuses: None,
            subscriptions: Vec::new(),
            jobs: Vec::new(),
            directories: VecDeque::new(),
            began: None,
            alarms_acknowledged: 0,
            raised: VecDeque::new(),
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
        self.began.get_or_insert(now);
        self.register(now);
        self.pump(now);
    }

    /// Whether alarms are armed.
    pub fn is_guarded(&self) -> bool {
        self.recorder.guard
    }

    /// Times it was started anew by order.
    pub fn boots(&self) -> u32 {
        self.recorder.boots
    }

    /// What it was upgraded to.
    pub fn firmware(&self) -> Option<&str> {
        self.recorder.firmware.as_deref()
    }

    /// Alarms that the platform has answered.
    pub fn alarms_acknowledged(&self) -> u32 {
        self.alarms_acknowledged
    }

    /// Subscriptions that platforms hold here.
    pub fn subscriptions(&self) -> usize {
        self.subscriptions.len()
    }

    /// From now on it takes every question and order and answers none, or answers them again.
    pub fn set_silent(&mut self, silent: bool) {
        self.silent = silent;
    }

    /// From now on it refuses questions, orders and views by this status, or takes them again.
    pub fn set_refusal(&mut self, status: Option<u16>) {
        self.refuses = status;
    }

    /// Forgets every subscription, as after a power cut.
    pub fn forget_subscriptions(&mut self) {
        self.subscriptions.clear();
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
        self.finish_jobs(now);
        self.tell_positions(now);
        self.drop_ended(now);
        self.pump(now);
    }

    pub fn poll_output(&mut self) -> Option<Output> {
        self.output.pop_front()
    }

    pub fn next_deadline(&self) -> Option<Instant> {
        earliest(
            self.endpoint.next_deadline(),
            earliest(
                self.next_telling(),
                earliest(self.register_at, self.keepalive_at),
            ),
        )
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
        let capability = self.capability(now);
        self.send_register(now, capability);
    }

    /// What the first REGISTER says of GB 35114.
    fn capability(&self, now: Instant) -> Option<(HeaderName, String)> {
        let security = self.security.as_ref()?;
        let value = security.camera.capability(&security.date(now));
        Some((HeaderName::Authorization, value))
    }

    /// The answer to a challenge: by GB 35114 if that is asked for and known, else by digest.
    fn answer_challenge(&mut self, message: &Message) -> Option<(HeaderName, String)> {
        if let Some(security) = &mut self.security {
            let mut seed = [0; 32];
            for chunk in seed.chunks_exact_mut(8) {
                chunk.copy_from_slice(&self.endpoint.random_u64().to_le_bytes());
            }
            let mut rng = ChaCha12Rng::from_seed(seed);
            let challenge = message.header(HeaderName::WwwAuthenticate)?;
            if let Some(answer) = security.camera.answer(challenge, &mut rng) {
                return Some((HeaderName::Authorization, answer));
            }
        }
        let cnonce = self.endpoint.random_u64();
        let uri = self.register_uri();
        self.digest.answer(message, Method::Register, &uri, cnonce)
    }

    /// Whether the platform that let us in is ours: by GB 35114 it has to show it.
    fn is_proven(&mut self, message: &Message) -> bool {
        match (&mut self.security, message.header_named("SecurityInfo")) {
            (None, _) => true,
            (Some(security), info) => security.camera.finish(info.unwrap_or_default()),
        }
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
            .header(HeaderName::Expires, expires.to_string())
            .header_named("X-GB-Ver", config.abilities.edition.version());
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
            200..300 if !self.is_proven(message) => self.failed(now, Purpose::Register, 0),
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
                let answer = self.answer_challenge(message);
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
            // Nobody takes them any more.
            (Purpose::Page, _) => self.directories.clear(),
            (Purpose::Keepalive | Purpose::Answer | Purpose::Notify | Purpose::Bye, _) => {}
        }
    }

    // ---- requests of ours ----

    /// Signs a request by GB 35114 once a key is agreed; a REGISTER proves itself otherwise.
    fn with_note(&mut self, now: Instant, mut request: Request) -> Request {
        let security = self.security.as_ref();
        let agreed = security.and_then(|s| Some((s.camera.vkek()?.to_vec(), s.date(now))));
        let Some((vkek, date)) = agreed.filter(|_| request.method() != Method::Register) else {
            return request;
        };
        if self.endpoint.complete(&mut request).is_err() {
            // It will not be sent either.
            return request;
        }
        let (from, to) = request.parties();
        let noted = gb35114::Noted {
            method: request.method().as_str().as_bytes(),
            from: from.as_bytes(),
            to: to.as_bytes(),
            call_id: request.call_id_text().unwrap_or_default().as_bytes(),
            date: date.as_bytes(),
            body: request.content(),
        };
        let note = gb35114::header::write_note(&noted.nonce(&vkek));
        request
            .header(HeaderName::Date, date)
            .header_named("Note", note)
    }

    fn send(&mut self, now: Instant, request: Request, purpose: Purpose) {
        let request = self.with_note(now, request);
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
            Some(Purpose::Notify) if status == 481 => self.notify_refused(message.call_id()),
            Some(purpose) if status >= 300 => self.failed(now, purpose, status),
            Some(Purpose::Page) => self.send_pages(now),
            Some(_) | None => {}
        }
    }

    // ---- requests of the platform ----

    fn request(&mut self, now: Instant, incoming: Incoming) {
        let status = match incoming.message.method() {
            Some(Method::Invite) => return self.invited(now, incoming),
            Some(Method::Message) => return self.asked(now, &incoming),
            Some(Method::Subscribe) => return self.subscribed(now, &incoming),
            Some(Method::Bye) => self.bye(&incoming.message),
            Some(Method::Ack) => return self.acknowledged(&incoming.message),
            Some(Method::Info) => return self.ordered_to_play(now, &incoming),
            Some(Method::Options) => 200,
            Some(
                Method::Register
                | Method::Cancel
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
}
