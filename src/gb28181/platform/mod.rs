//! The platform: all of GB/T 28181 behind one door. Bytes, commands and time in; bytes, events and one deadline out.
//!
//! ```text
//!  sockets ──handle_message──► sip::Endpoint ──Event──► register · message · invite ──► Output::Event ──► session
//!          ◄───── Output::Transmit ─────────────────────────────┘    ▲
//!  session ──handle_command──────────────────────────────────────────┘
//! ```
//!
//! GB/T 28181-2016: 9.1 registration, 9.2 live view, 9.8 playback, 9.9 download, 9.5 queries, 9.6 status. Each has its file here; what they decide
//! upon without SIP stands beside this folder ([`registrar`](super::registrar), [`catalog`](super::catalog),
//! [`query`](super::query), [`offer`](super::offer)).
//!
//! | request | answer |
//! |---|---|
//! | REGISTER | 200, 401, 403 (wrong password, pause, black or white list), 400 (no device code), 503 (table full) |
//! | MESSAGE | 200, also for an unknown CmdType; 400 for no MANSCDP; 403 for who is not registered |
//! | NOTIFY | 200; 481 of a subscription that a newer one has taken the place of; 403 for who is not registered |
//! | OPTIONS | 200 with `Allow` |
//! | BYE, INFO | 200 in a dialog of ours, else 481 |
//! | INVITE, SUBSCRIBE, UPDATE, PRACK, REFER, PUBLISH | 405 with `Allow` (unknown methods get 501 below, in `sip`) |
//!
//! Not done: broadcast, cascading.
//!
//! Bounds: those of the parts, and [`INVITES_MAX`](crate::limits::INVITES_MAX),
//! [`CATALOGS_COMING_MAX`](crate::limits::CATALOGS_COMING_MAX). Transactions are bounded below, in `sip`.

mod ask;
mod invite;
mod message;
mod register;
mod secure;
mod subscribe;
mod trace;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::catalog::Assembly;
use super::counters::{Counters, Gauges};
use super::gate::{Dropped, Gate};
use super::gb35114;
use super::query::{Queries, QueryKind};
use super::quirk::Quirks;
use super::registrar::{Registrar, Sender, Slot, Suspects, Touched};
use super::split::Splits;
use super::subscribe::{Subject, Subscriptions, Wanted};
use super::types::{Access, AskId, Command, Event, InviteId, OfflineReason, Persist};
use crate::id::{DeviceId, GbId};
use crate::limits::PLATFORM_DRAIN_S;
use crate::sip::digest::{self, Authenticator};
use crate::sip::log::{Direction, Log};
use crate::sip::{
    ConnId, Endpoint, HeaderName, Incoming, Message, Method, Path, Request, Response,
    TransactionId, Transmit, Transport, endpoint,
};
use crate::time::{WallClock, earliest};

use ask::Asks;
use invite::Invites;
use secure::Secure;

pub(crate) use register::local_time;

/// How the platform behaves. [`Config::new`] gives every default.
#[derive(Clone, Debug)]
pub struct Config {
    /// Our own code.
    pub id: GbId,
    /// SIP domain, and realm of the digest. Default: the first ten digits of `id`.
    pub realm: String,
    /// Where devices reach us. Used for devices known from the store alone, until their first message.
    pub address: SocketAddr,
    /// For devices without a password of their own. `None`: they are refused.
    pub default_password: Option<String>,
    /// How often devices are expected to send Keepalive.
    pub keepalive: Duration,
    /// Keepalives that may be missing before a device counts as offline.
    pub keepalive_misses: u32,
    /// Life of a registration that names none.
    pub expires_default: Duration,
    /// Longest life of a registration; longer ones are shortened.
    pub expires_max: Duration,
    /// Seconds east of UTC, for the Date header, which is local time (GB/T 28181-2016, 9.10).
    pub utc_offset_s: i32,
    /// Whether a device that comes online is asked for DeviceInfo and Catalog.
    pub query_on_register: bool,
    pub queries_at_once: usize,
    pub queries_per_second: u32,
    /// Silence after which a directory counts as partial.
    pub catalog_quiet: Duration,
    /// Longest wait for the final answer to INVITE.
    pub invite_timeout: Duration,
    /// What every device that comes online is subscribed to for.
    pub subscriptions: Vec<Wanted>,
    /// Policies for all devices; `Auto` asks the table of deviations.
    pub quirks: Quirks,
    pub sip: endpoint::Config,
    /// Bytes of the last messages of all devices, kept to be looked at; 0 = none.
    pub sip_log_bytes: usize,
}

impl Config {
    pub fn new(id: GbId) -> Config {
        let realm = &id.as_str()[..id.as_str().len().min(10)];
        Config {
            id,
            realm: realm.to_owned(),
            address: SocketAddr::from(([127, 0, 0, 1], 5060)),
            default_password: None,
            keepalive: Duration::from_secs(60),
            keepalive_misses: 3,
            expires_default: Duration::from_secs(3600),
            expires_max: Duration::from_secs(7 * 86_400),
            utc_offset_s: 8 * 3600,
            query_on_register: true,
            queries_at_once: 64,
            queries_per_second: 500,
            catalog_quiet: Duration::from_secs(5),
            invite_timeout: Duration::from_secs(15),
            subscriptions: Vec::new(),
            quirks: Quirks::default(),
            sip: endpoint::Config::default(),
            sip_log_bytes: 0,
        }
    }
}

/// What comes out.
#[derive(Debug)]
pub enum Output {
    Transmit(Transmit),
    Event(Event),
}

/// What a request of ours was for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    Query(Slot, QueryKind),
    Ask(AskId),
    Subscribe(Slot, Subject),
    Unsubscribe,
    /// `Result` of an alarm, which nobody waits for.
    Acknowledgement,
    Invite(super::types::InviteId),
    Bye(super::types::InviteId),
    KeyFrame(Slot),
    /// TEARDOWN of a playback that ends by the BYE after it; its answer changes nothing.
    Teardown,
    /// BYE to a dialog that nobody wants; its answer changes nothing.
    StrayBye,
}

/// See the [module](self).
pub struct Platform {
    config: Config,
    wall: WallClock,
    endpoint: Endpoint,
    authenticator: Authenticator,
    registrar: Registrar,
    gate: Gate,
    /// What the message in hand pays back: see [`Gate::settle`].
    earned: u8,
    suspects: Suspects,
    access: Access,
    queries: Queries,
    catalogs: HashMap<Slot, Assembly>,
    catalog_deadlines: BTreeSet<(Instant, Slot)>,
    /// Items in all of `catalogs`.
    catalog_items: usize,
    invites: Invites,
    /// Call-IDs of the dialogs that the store knows.
    kept_dialogs: HashMap<InviteId, String>,
    asks: Asks,
    subscriptions: Subscriptions,
    /// The last number given to a question or subscription.
    sn: u32,
    purposes: HashMap<TransactionId, Purpose>,
    counters: Counters,
    output: VecDeque<Output>,
    drain: Drain,
    log: Log,
    splits: Splits,
    secure: Secure,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Drain {
    No,
    Until(Instant),
    Done,
}

/// The methods that devices may use, for `Allow` (RFC 3261, 20.5).
const ALLOW: &str = "REGISTER, MESSAGE, NOTIFY, OPTIONS, ACK, BYE, CANCEL, INFO";

impl Platform {
    /// `seed` decides every tag, nonce and number: the same seed and input give the same output.
    pub fn new(config: Config, seed: [u8; 32], now: Instant, wall: WallClock) -> Platform {
        let mut endpoint = Endpoint::new(config.sip.clone(), seed);
        let mut secret = [0; 32];
        for chunk in secret.chunks_exact_mut(8) {
            chunk.copy_from_slice(&endpoint.random_u64().to_le_bytes());
        }
        let first_sn = (endpoint.random_u64() % 1_000_000_000) as u32;
        let digest = digest::Config::new(config.realm.as_str());
        Platform {
            authenticator: Authenticator::new(digest, secret, now),
            registrar: Registrar::new(config.keepalive * config.keepalive_misses.max(1)),
            gate: Gate::new(now),
            earned: 0,
            suspects: Suspects::default(),
            access: Access::All,
            queries: Queries::new(
                config.queries_at_once,
                config.queries_per_second,
                first_sn,
                now,
            ),
            catalogs: HashMap::new(),
            catalog_deadlines: BTreeSet::new(),
            catalog_items: 0,
            invites: Invites::default(),
            kept_dialogs: HashMap::new(),
            asks: Asks::default(),
            subscriptions: Subscriptions::new(config.queries_per_second),
            sn: 1_000_000_000 + first_sn,
            purposes: HashMap::new(),
            counters: Counters::default(),
            output: VecDeque::new(),
            drain: Drain::No,
            log: Log::new(config.sip_log_bytes),
            splits: Splits::default(),
            secure: Secure::new(&mut endpoint),
            endpoint,
            config,
            wall,
        }
    }

    /// What GB 35114 refused since this was asked last: the device, why, and when in Unix ms.
    pub fn take_refusals(&mut self) -> Vec<(DeviceId, gb35114::Refusal, i64)> {
        std::mem::take(&mut self.secure.refusals)
    }

    /// Whether a message that came is to be read at all: see [`gate`](super::gate). To be asked right before
    /// [`Platform::handle_message`].
    pub fn admits(&mut self, now: Instant, path: &Path, raw: &[u8]) -> bool {
        let device = self.registrar.by_path(path);
        self.gate.admit(now, path.peer.ip(), device, raw)
    }

    /// Whether a device is known at this address or connection.
    pub fn knows(&self, path: &Path) -> bool {
        self.registrar.by_path(path).is_some()
    }

    /// Messages that [`Platform::admits`] refused.
    pub fn dropped(&self) -> &Dropped {
        self.gate.dropped()
    }

    /// Takes a datagram, or one message of a stream as [`crate::sip::framing`] cuts them. What a device cut over several
    /// datagrams is put together first.
    pub fn handle_message(&mut self, now: Instant, path: Path, raw: Bytes) {
        if path.transport != Transport::Udp || !self.knows(&path) {
            return self.read(now, path, raw);
        }
        for (path, raw) in self.splits.take(now, path, raw) {
            self.read(now, path, raw);
        }
    }

    fn read(&mut self, now: Instant, path: Path, raw: Bytes) {
        self.earned = 0;
        self.note(now, Direction::In, path, &raw);
        self.endpoint.handle_message(now, path, raw);
        self.pump(now);
        self.gate.settle(self.earned);
    }

    /// Takes a CRLF of a stream (RFC 5626, 3.5.1): a sign of life. The shell answers it.
    pub fn handle_ping(&mut self, now: Instant, path: Path) {
        self.sign_of_life(now, path);
        self.pump(now);
    }

    /// A TCP connection is gone.
    pub fn handle_closed(&mut self, now: Instant, conn: ConnId) {
        self.registrar.closed(conn);
        self.endpoint.handle_closed(now, conn);
        self.pump(now);
    }

    pub fn handle_command(&mut self, now: Instant, command: Command) {
        match command {
            Command::QueryCatalog { device } => self.ask(now, device, QueryKind::Catalog),
            Command::QueryDeviceInfo { device } => self.ask(now, device, QueryKind::DeviceInfo),
            Command::QueryDeviceStatus { device } => {
                self.ask(now, device, QueryKind::DeviceStatus);
            }
            Command::RequestKeyFrame { device, channel } => {
                self.request_key_frame(now, device, channel);
            }
            Command::Ask {
                id,
                device,
                target,
                ask,
            } => self.ask_device(now, id, device, target, &ask),
            Command::Control { ask, invite, order } => {
                self.order_playback(now, ask, invite, order);
            }
            Command::Subscribe { device, wanted } => self.subscribe(now, device, wanted),
            Command::Unsubscribe { device, subject } => self.unsubscribe(now, device, subject),
            Command::Invite(invite) => self.invite(now, invite),
            Command::EndInvite { id } => self.end_invite(now, id),
            Command::Restore(stored) => {
                let address = self.config.address;
                let restored = self.registrar.restore(now, &stored, address, &self.wall);
                self.counters.registers_no_room += u64::from(restored.is_err());
            }
            Command::ForceQuirks { device, quirks } => {
                if let Some(slot) = self.registrar.find(device) {
                    self.registrar.force_quirks(slot, quirks);
                }
            }
            Command::EndLeftOver { device, dialog } => self.end_left_over(now, device, &dialog),
            Command::Kick { device } => self.kick(now, device),
            Command::Forget { device } => self.forget(now, device),
            Command::SetAccess(access) => self.set_access(now, access),
            Command::SetAuth { device, auth } => self.set_auth(now, device, auth),
            Command::RestoreKey { device, key } => self.restore_key(now, device, key),
            Command::SetIdentity(identity) => self.secure.identity = identity,
            Command::Shutdown => self.shutdown(now),
        }
        self.pump(now);
    }

    /// Does what is due. Nothing happens before [`Platform::next_deadline`].
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some((path, raw)) = self.splits.poll_expired(now) {
            self.read(now, path, raw);
        }
        self.endpoint.handle_timeout(now);
        self.pump(now);
        while let Some((slot, why)) = self.registrar.poll_expired(now) {
            self.went_offline(now, slot, why);
        }
        while let Some(query) = self.queries.poll_expired(now) {
            self.unanswered(now, query);
        }
        while let Some(&(at, slot)) = self.catalog_deadlines.first() {
            if at > now {
                break;
            }
            self.finish_catalog(slot);
        }
        self.expire_invites(now);
        self.expire_asks(now);
        if let Drain::Until(at) = self.drain
            && at <= now
        {
            self.drain = Drain::Done;
            self.event(Event::Drained);
        }
        self.pump(now);
    }

    /// `None` = nothing left. To be drained after every `handle_*`.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.output.pop_front()
    }

    /// When [`Platform::handle_timeout`] is to be called; `None` = not before something else comes.
    pub fn next_deadline(&self) -> Option<Instant> {
        let drain = match self.drain {
            Drain::Until(at) => Some(at),
            Drain::No | Drain::Done => None,
        };
        [
            self.endpoint.next_deadline(),
            self.registrar.next_deadline(),
            self.queries.next_deadline(),
            self.catalog_deadlines.first().map(|(at, _)| *at),
            self.invites.next_deadline(),
            self.asks.next_deadline(),
            self.subscriptions.next_deadline(),
            self.splits.next_deadline(),
            drain,
        ]
        .into_iter()
        .fold(None, earliest)
    }

    /// Messages that came cut over several datagrams and were put together.
    pub fn messages_joined(&self) -> u64 {
        self.splits.joined()
    }

    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    pub fn sip_counters(&self) -> &endpoint::Counters {
        self.endpoint.counters()
    }

    pub fn gauges(&self) -> Gauges {
        Gauges {
            devices_known: self.registrar.len(),
            devices_online: self.registrar.online(),
            invites: self.invites.len(),
            queries_waiting: self.queries.waiting(),
            queries_active: self.queries.active(),
            catalogs_coming: self.catalogs.len(),
            asks: self.asks.len(),
            subscriptions: self.subscriptions.len(),
            subscriptions_active: self.subscriptions.active(),
        }
    }

    /// Lets the SIP layer and the queue of queries run dry.
    fn pump(&mut self, now: Instant) {
        loop {
            self.pump_subscriptions(now);
            while let Some(output) = self.endpoint.poll_output() {
                match output {
                    endpoint::Output::Transmit(t) => {
                        self.note(now, Direction::Out, t.path, &t.payload);
                        self.output.push_back(Output::Transmit(t));
                    }
                    endpoint::Output::Event(event) => self.sip_event(now, event),
                }
            }
            let Some(query) = self.queries.poll_start(now) else {
                break;
            };
            self.send_query(now, query);
        }
        if matches!(self.drain, Drain::Until(_)) && self.invites.len() == 0 {
            self.drain = Drain::Done;
            self.event(Event::Drained);
        }
    }

    fn sip_event(&mut self, now: Instant, event: endpoint::Event) {
        match event {
            endpoint::Event::Request(incoming) => self.request(now, &incoming),
            endpoint::Event::Response {
                id, path, message, ..
            } => self.response(now, id, path, &message),
            endpoint::Event::Timeout { id, .. } => self.request_timed_out(now, id),
            endpoint::Event::Ping { path } => self.sign_of_life(now, path),
            endpoint::Event::Malformed {
                error,
                path,
                answered,
            } => {
                self.counters.malformed_sip += 1;
                tracing::debug!(
                    peer = %path.peer,
                    kind = error.kind.name(),
                    offset = error.offset,
                    answered,
                    "malformed SIP"
                );
                self.sign_of_life(now, path);
            }
            // Requests that could be cancelled or lack an ACK are INVITEs, which are refused at once.
            endpoint::Event::Cancelled { .. } | endpoint::Event::AckMissing { .. } => {}
        }
    }

    fn request(&mut self, now: Instant, incoming: &Incoming) {
        match incoming.message.method() {
            Some(Method::Register) => self.on_register(now, incoming),
            Some(Method::Message) => self.on_message(now, incoming),
            Some(Method::Notify) => self.on_notify(now, incoming),
            Some(Method::Options) => {
                self.asked_for_options(now, incoming);
                let response = Response::new(200).header(HeaderName::Allow, ALLOW);
                self.respond(now, incoming, response);
            }
            Some(Method::Bye) => self.on_bye(now, incoming),
            Some(Method::Info) => self.on_info(now, incoming),
            Some(Method::Ack) => {}
            Some(
                Method::Invite
                | Method::Cancel
                | Method::Subscribe
                | Method::Prack
                | Method::Update
                | Method::Refer
                | Method::Publish,
            )
            | None => {
                self.counters.method_not_allowed += 1;
                let response = Response::new(405).header(HeaderName::Allow, ALLOW);
                self.refuse(incoming, response);
            }
        }
    }

    fn response(&mut self, now: Instant, id: TransactionId, path: Path, message: &Message) {
        let Some(status) = message.status() else {
            return;
        };
        let purpose = if status < 200 {
            self.purposes.get(&id).copied()
        } else {
            self.purposes.remove(&id)
        };
        if purpose.is_some() {
            self.earned = 1;
        }
        match purpose {
            Some(Purpose::Query(slot, kind)) => {
                self.heard_unsigned(now, slot, path);
                if status >= 300 {
                    tracing::debug!(device = %self.registrar.get(slot).id, ?kind, status, "query refused");
                    if let Some(query) = self.queries.take(slot, kind) {
                        self.unanswered(now, query);
                    }
                }
            }
            Some(Purpose::Invite(invite)) => {
                self.invite_response(now, id, invite, path, status, message);
            }
            Some(Purpose::Bye(invite)) => {
                if status >= 200 {
                    self.bye_answered(now, invite, path);
                }
            }
            Some(Purpose::KeyFrame(slot)) => {
                self.heard_unsigned(now, slot, path);
            }
            Some(Purpose::Ask(ask)) => {
                if let Some(slot) = self.registrar.by_path(&path) {
                    self.heard_unsigned(now, slot, path);
                }
                self.ask_taken(ask, status, message);
            }
            Some(Purpose::Subscribe(slot, subject)) => {
                self.heard_unsigned(now, slot, path);
                self.subscribe_answered(now, slot, subject, status, message);
            }
            Some(
                Purpose::StrayBye
                | Purpose::Teardown
                | Purpose::Unsubscribe
                | Purpose::Acknowledgement,
            ) => {}
            None => self.unclaimed_response(now, id, path, status, message),
        }
    }

    fn request_timed_out(&mut self, now: Instant, id: TransactionId) {
        match self.purposes.remove(&id) {
            Some(Purpose::Query(slot, kind)) => {
                if let Some(query) = self.queries.take(slot, kind) {
                    self.unanswered(now, query);
                }
            }
            Some(Purpose::Ask(ask)) => self.ask_unanswered(now, ask),
            Some(Purpose::Subscribe(slot, subject)) => {
                self.subscribe_unanswered(now, slot, subject)
            }
            Some(Purpose::Invite(invite)) => self.invite_timed_out(invite),
            Some(Purpose::Bye(invite)) => self.bye_timed_out(invite),
            Some(
                Purpose::StrayBye
                | Purpose::Teardown
                | Purpose::Unsubscribe
                | Purpose::Acknowledgement
                | Purpose::KeyFrame(_),
            )
            | None => {}
        }
    }

    /// Sends a request to the device that is at an address, and remembers what for. `None`: too many are under way.
    fn send(
        &mut self,
        now: Instant,
        path: Path,
        request: Request,
        purpose: Purpose,
    ) -> Option<TransactionId> {
        let slot = self.registrar.by_path(&path);
        self.send_to(now, slot, path, request, purpose)
    }

    /// The same to a device that may have gone: what it said of its edition and the key that was agreed still count.
    fn send_to(
        &mut self,
        now: Instant,
        slot: Option<Slot>,
        path: Path,
        request: Request,
        purpose: Purpose,
    ) -> Option<TransactionId> {
        let request = self.with_version(slot, request);
        let request = self.with_note(now, slot, request);
        match self.endpoint.send_request(now, path, request) {
            Ok(id) => {
                self.purposes.insert(id, purpose);
                Some(id)
            }
            Err(_) => {
                self.counters.send_refused += 1;
                None
            }
        }
    }

    /// Refuses without keeping anything: a repetition is refused again. Strangers must not fill our memory.
    fn refuse(&mut self, incoming: &Incoming, response: Response) {
        self.endpoint.refuse_request(incoming, response);
    }

    fn respond(&mut self, now: Instant, incoming: &Incoming, response: Response) {
        // Fails only for what is answered already or lies beyond the bounds of `sip`, which counts it.
        _ = self.endpoint.respond(now, incoming, response);
    }

    fn event(&mut self, event: Event) {
        self.output.push_back(Output::Event(event));
    }

    fn persist_device(&mut self, now: Instant, slot: Slot) {
        let stored = self.registrar.get(slot).stored(now, &self.wall);
        self.event(Event::Persist(Persist::Device(stored)));
    }

    /// Something without a name came from an address or connection.
    fn sign_of_life(&mut self, now: Instant, path: Path) {
        if let Some(slot) = self.registrar.by_path(&path) {
            self.heard_unsigned(now, slot, path);
        }
    }

    /// OPTIONS is answered whoever sends it; it is a sign of life of a device that it proves to be from.
    fn asked_for_options(&mut self, now: Instant, incoming: &Incoming) {
        if let Some(slot) = self.registrar.by_path(&incoming.path)
            && self.check_note(now, slot, &incoming.message).is_ok()
        {
            self.heard_from(now, slot, incoming.path);
        }
    }

    /// Something that carries no signature came from where a device is: an answer, or an empty line. Of a device of GB 35114
    /// it is no sign of life, nor does it say where the device is now: anybody could have sent it.
    fn heard_unsigned(&mut self, now: Instant, slot: Slot, path: Path) {
        if !self.must_prove(slot) {
            self.heard_from(now, slot, path);
        }
    }

    /// A message that belongs to a device. Answers whether it may be served.
    fn heard_from(&mut self, now: Instant, slot: Slot, path: Path) -> bool {
        if self.registrar.sender(slot, &path) == Sender::Impostor {
            return false;
        }
        let device = self.registrar.get(slot).id;
        match self.registrar.touch(now, slot, path) {
            Touched::Known { persist_seen } => {
                if persist_seen {
                    let unix_s = self.wall.unix_ms(now).div_euclid(1000);
                    self.event(Event::Persist(Persist::Seen { device, unix_s }));
                }
                true
            }
            Touched::Revived { first } => {
                self.counters.revived += 1;
                self.came_online(now, slot, first);
                true
            }
            Touched::Away => false,
        }
    }

    fn came_online(&mut self, now: Instant, slot: Slot, first: bool) {
        let device = self.registrar.get(slot);
        let (Some(peer), over_tcp, id) = (device.peer, device.over_tcp, device.id) else {
            return;
        };
        self.event(Event::Online {
            device: id,
            peer,
            over_tcp,
            first,
        });
        self.persist_device(now, slot);
        if let Some(path) = self.registrar.get(slot).path {
            self.hang_up_left_over(now, slot, path);
        }
        self.subscribe_all(now, slot);
        if first && self.config.query_on_register {
            self.queries.ask(slot, QueryKind::DeviceInfo, 0, false);
            self.queries.ask(slot, QueryKind::Catalog, 0, false);
        }
    }

    fn went_offline(&mut self, now: Instant, slot: Slot, why: OfflineReason) {
        match why {
            OfflineReason::Unregistered | OfflineReason::Kicked | OfflineReason::Revoked => {
                self.counters.offline_unregistered += 1
            }
            OfflineReason::RegistrationExpired => self.counters.offline_expired += 1,
            OfflineReason::KeepaliveMissed => self.counters.offline_missed += 1,
        }
        let device = self.registrar.get(slot).id;
        tracing::debug!(%device, ?why, "offline");
        self.lose_invites(now, slot, why);
        self.lose_asks(slot);
        self.subscriptions.lost(slot);
        self.event(Event::Offline { device, why });
        self.event(Event::Persist(Persist::Offline { device }));
    }

    fn ask(&mut self, now: Instant, device: DeviceId, kind: QueryKind) {
        let slot = self
            .registrar
            .find(device)
            .filter(|slot| self.registrar.get(*slot).is_online());
        let asked = slot.is_some_and(|slot| self.queries.ask(slot, kind, 0, true));
        if !asked {
            self.report_unanswered(now, device, kind);
        }
    }

    fn shutdown(&mut self, now: Instant) {
        if self.drain != Drain::No {
            return;
        }
        self.drain = Drain::Until(now + Duration::from_secs(PLATFORM_DRAIN_S));
        for id in self.invites.ids() {
            self.end_invite(now, id);
        }
    }

    fn is_draining(&self) -> bool {
        self.drain != Drain::No
    }

    /// `<sip:us@domain>`, the From of our requests.
    fn own_address(&self) -> String {
        format!("<sip:{}@{}>", self.config.id, self.config.realm)
    }
}

/// `sip:code@address`, where a device or channel is asked.
fn uri_at(id: GbId, peer: SocketAddr) -> String {
    format!("sip:{id}@{peer}")
}

#[cfg(test)]
mod tests;
