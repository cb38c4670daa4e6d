//! The door of the SIP stack: bytes in, requests and responses out.
//!
//! RFC 3261, 8.1, 8.2, 16 (not: no proxy), 17, 18; RFC 3581; RFC 6026. A request that is malformed or that nobody here
//! understands is answered by itself (400, 415, 416, 420, 481, 501, 503, 505); everything else is an [`Event`].
//!
//! Answers always go back the way the request came. Requests go where their [`Path`] says: nothing is resolved here.
//! An INVITE is answered with 100 at once.
//!
//! A request is known again by branch, sent-by, Call-ID, CSeq, From tag and the address it came from: cameras of one make
//! behind two NATs send the same private sent-by and, with a poor generator, the same branch. One without the cookie
//! `z9hG4bK` is known by its Request-URI as well (RFC 3261, 17.2.3, with the To tag left to the dialog).
//!
//! Refusals of malformed requests are stateless: a repetition is refused again. The tag of an answer is a keyed hash of
//! its transaction, so it needs no memory.
//!
//! Bounds: those of [`super::transaction`]. The queue of outputs grows by at most three per call of
//! [`Endpoint::handle_message`] and by [`SIP_TIMERS_PER_TURN_MAX`] per call of [`Endpoint::handle_timeout`]; drain it after
//! each call.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hasher};
use std::time::Instant;

use bytes::Bytes;
use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use super::error::{ErrorKind, ParseError};
use super::header::NameAddr;
use super::message::{Carrier, Message};
use super::name::{HeaderName, Method};
use super::transaction::client::{Cancel, Clients, OnResponse, OnTimer, State};
use super::transaction::server::{self, Invites, NoAnswer, OnAck, OnRequest, Plains};
use super::transaction::{ConnId, Path, ServerId, ServerKind, Timers, TransactionId, Transport};
use super::uri::Uri;
use super::write::{Request, Response, write_after_invite};
use crate::limits::SIP_TIMERS_PER_TURN_MAX;
use crate::time::earliest;

/// How an endpoint behaves.
#[derive(Clone, Debug)]
pub struct Config {
    /// Written as User-Agent and Server; empty writes neither.
    pub product: String,
    pub timers: Timers,
    /// Option tags we understand; a request that requires others is refused with 420.
    pub supported: Vec<String>,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            product: "Gantry".to_owned(),
            timers: Timers::default(),
            supported: Vec::new(),
        }
    }
}

/// A request of a peer. Keep it until it is answered.
#[derive(Clone, Debug)]
pub struct Incoming {
    pub id: ServerId,
    pub path: Path,
    pub message: Message,
}

/// Bytes to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transmit {
    pub path: Path,
    pub payload: Bytes,
}

/// What the user of the stack has to know.
#[derive(Clone, Debug)]
pub enum Event {
    /// A request that is no repetition. Never CANCEL and never an unknown method. ACK of a 2xx comes here too and is not
    /// to be answered.
    Request(Incoming),
    /// A CANCEL came and was answered: answer its INVITE with 487.
    Cancelled { invite: ServerId },
    /// Each provisional answer, and the final one once; for INVITE also a 2xx of another To tag (a fork).
    Response {
        id: TransactionId,
        method: Method,
        path: Path,
        message: Message,
    },
    /// No final answer came in 64*T1 (INVITE: after the last provisional one, [`Timers::proceeding`]), or the connection
    /// is gone.
    Timeout { id: TransactionId, method: Method },
    /// Our 2xx was never acknowledged: end the dialog with BYE.
    AckMissing { invite: ServerId },
    /// An empty or stub datagram: a sign of life of that address.
    Ping { path: Path },
    /// A message that could not be read, and what it was answered with.
    Malformed {
        error: ParseError,
        path: Path,
        answered: Option<u16>,
    },
}

/// See [`Endpoint::poll_output`].
#[expect(
    clippy::large_enum_variant,
    reason = "an event is moved twice; a box would cost an allocation for every message"
)]
#[derive(Clone, Debug)]
pub enum Output {
    Transmit(Transmit),
    Event(Event),
}

/// Why something was not sent. Nothing changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendError {
    /// At [`crate::limits::SIP_CLIENT_TRANSACTIONS_MAX`].
    TooMany,
    /// It is over, or never was.
    UnknownTransaction,
    /// It has its final answer.
    AlreadyAnswered,
    /// The request lacks something or may not be sent this way.
    Incomplete(&'static str),
}

impl std::fmt::Display for SendError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            SendError::TooMany => f.write_str("too many requests without an answer"),
            SendError::UnknownTransaction => f.write_str("the transaction is over"),
            SendError::AlreadyAnswered => f.write_str("the request has its answer"),
            SendError::Incomplete(what) => write!(f, "incomplete request: {what}"),
        }
    }
}

impl std::error::Error for SendError {}

/// What happened since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    pub requests: u64,
    pub responses: u64,
    /// Requests and responses that were repetitions.
    pub repeated: u64,
    /// Messages we sent again by a timer.
    pub retransmitted: u64,
    pub timeouts: u64,
    /// Responses to nothing we asked.
    pub stray: u64,
    /// By [`ErrorKind::index`].
    pub malformed: [u64; ErrorKind::ALL.len()],
    /// Requests refused here: unknown method, extension or content, no transaction, no room.
    pub refused: u64,
}

/// SIP for one user agent over any number of sockets. See the [module](self).
#[derive(Debug)]
pub struct Endpoint {
    config: Config,
    rng: ChaCha12Rng,
    secret: [u64; 2],
    clients: Clients,
    plains: Plains,
    invites: Invites,
    output: VecDeque<Output>,
    counters: Counters,
    /// Reused for every message that is written.
    scratch: Vec<u8>,
    /// A request went out over TCP, so a lost connection can have lost one.
    tcp_used: bool,
}

const ALLOW: &str = "REGISTER, INVITE, ACK, BYE, CANCEL, MESSAGE, OPTIONS, INFO, SUBSCRIBE, NOTIFY";

impl Endpoint {
    /// `seed` gives every tag, branch and Call-ID: it must be unpredictable, and differ from start to start.
    pub fn new(config: Config, seed: [u8; 32]) -> Endpoint {
        let mut rng = ChaCha12Rng::from_seed(seed);
        let secret = [rng.next_u64(), rng.next_u64()];
        Endpoint {
            config,
            rng,
            secret,
            clients: Clients::default(),
            plains: Plains::default(),
            invites: Invites::default(),
            output: VecDeque::new(),
            counters: Counters::default(),
            scratch: Vec::new(),
            tcp_used: false,
        }
    }

    /// Takes a datagram, or one message that [`super::framing`] cut out of a stream. Never fails: what cannot be read is
    /// [`Event::Malformed`].
    pub fn handle_message(&mut self, now: Instant, path: Path, raw: Bytes) {
        if is_ping(&raw) {
            self.event(Event::Ping { path });
            return;
        }
        let carrier = match path.transport {
            Transport::Udp => Carrier::Datagram,
            Transport::Tcp(_) | Transport::Tls(_) => Carrier::Stream,
        };
        match Message::scan(raw, carrier) {
            Err(error) => self.malformed(error, path, None),
            Ok((message, Some(defect))) => self.malformed(defect, path, Some(message)),
            Ok((message, None)) => match message.check() {
                Err(error) => self.malformed(error, path, Some(message)),
                Ok(()) if message.is_request() => self.on_request(now, path, message),
                Ok(()) => self.on_response(now, path, message),
            },
        }
    }

    /// Runs the timers that are due, at most [`SIP_TIMERS_PER_TURN_MAX`]; [`Endpoint::next_deadline`] stays in the past
    /// while there are more.
    pub fn handle_timeout(&mut self, now: Instant) {
        let timers = self.config.timers;
        for _ in 0..SIP_TIMERS_PER_TURN_MAX {
            if let Some((id, method, what)) = self.clients.pop_due(now, &timers) {
                self.on_client_timer(id, method, what);
            } else if let Some((key, what)) = self.invites.pop_due(now, &timers) {
                self.on_invite_timer(key, what);
            } else {
                break;
            }
        }
        // Forgetting makes no output, so it needs no bound per turn.
        while self.plains.pop_due(now) {}
    }

    fn on_client_timer(&mut self, id: TransactionId, method: Method, what: OnTimer) {
        match what {
            OnTimer::Nothing | OnTimer::Gone => {}
            OnTimer::Resend(path, payload) => {
                self.counters.retransmitted += 1;
                self.transmit(path, payload);
            }
            OnTimer::TimedOut => self.timed_out(id, method),
        }
    }

    fn timed_out(&mut self, id: TransactionId, method: Method) {
        if !id.is_cancel() {
            self.counters.timeouts += 1;
            self.event(Event::Timeout { id, method });
        }
    }

    fn on_invite_timer(&mut self, key: u64, what: server::OnTimer) {
        match what {
            server::OnTimer::Nothing | server::OnTimer::Gone => {}
            server::OnTimer::Resend(path, payload) => {
                self.counters.retransmitted += 1;
                self.transmit(path, payload);
            }
            server::OnTimer::AckMissing => {
                let kind = ServerKind::Invite;
                self.event(Event::AckMissing {
                    invite: ServerId { key, kind },
                });
            }
        }
    }

    /// A TCP connection is gone: requests that wait on it time out now.
    pub fn handle_closed(&mut self, _now: Instant, conn: ConnId) {
        if self.tcp_used && !self.clients.is_empty() {
            for (id, method) in self.clients.on(conn) {
                self.timed_out(id, method);
            }
        }
    }

    /// When [`Endpoint::handle_timeout`] is to be called next; `None` = not before the next input.
    pub fn next_deadline(&self) -> Option<Instant> {
        let servers = earliest(self.plains.next_deadline(), self.invites.next_deadline());
        earliest(self.clients.next_deadline(), servers)
    }

    /// What is to be done next; `None` = drained.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.output.pop_front()
    }

    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Transactions in memory: ours, of others, INVITEs of others; and bytes of answers kept.
    pub fn sizes(&self) -> [usize; 4] {
        [
            self.clients.len(),
            self.plains.len(),
            self.invites.len(),
            self.plains.cached_bytes(),
        ]
    }

    /// Sends a request of its own or, with what [`super::dialog`] made, in a dialog.
    ///
    /// Errors: [`SendError::TooMany`]; [`SendError::Incomplete`] without a From, To and Request-URI that can be read back,
    /// and for ACK and CANCEL, which have [`Endpoint::send_ack`] and [`Endpoint::cancel`].
    pub fn send_request(
        &mut self,
        now: Instant,
        path: Path,
        mut request: Request,
    ) -> Result<TransactionId, SendError> {
        if matches!(request.method, Method::Ack | Method::Cancel) {
            return Err(SendError::Incomplete("ACK and CANCEL go their own ways"));
        }
        self.complete(&mut request)?;
        let id = TransactionId::new(self.rng.next_u64());
        let bytes = self.written(|out, product| request.write(out, &path, &id.branch(), product));
        let (method, timers) = (request.method, self.config.timers);
        if !self
            .clients
            .insert(now, id, method, path, bytes.clone(), &timers)
        {
            return Err(SendError::TooMany);
        }
        self.tcp_used |= path.transport.is_reliable();
        self.transmit(path, bytes);
        Ok(id)
    }

    /// Adds what the user left out: From tag, Call-ID. [`Endpoint::send_request`] does it too; this is for who has to know
    /// them before, to sign the request.
    pub fn complete(&mut self, request: &mut Request) -> Result<(), SendError> {
        let from = NameAddr::parse(request.from.as_bytes())
            .map_err(|_| SendError::Incomplete("no From"))?;
        if from.tag().is_none() {
            request.from = format!("{};tag={}", request.from, self.new_tag());
        }
        let uri = Uri::parse(request.uri.as_bytes());
        if !uri.is_ok_and(|uri| uri.is_sip() || uri.scheme.eq_ignore_ascii_case("tel")) {
            return Err(SendError::Incomplete("no Request-URI"));
        }
        if NameAddr::parse(request.to.as_bytes()).is_err() {
            return Err(SendError::Incomplete("no To"));
        }
        if request.call_id.as_deref().is_none_or(str::is_empty) {
            request.call_id = Some(self.new_call_id());
        }
        Ok(())
    }

    /// Answers a request. Final answers of INVITE are repeated until their ACK; others for each repetition of the request.
    ///
    /// Errors: [`SendError::UnknownTransaction`] (over, or forgotten at a bound, or ACK), [`SendError::AlreadyAnswered`].
    pub fn respond(
        &mut self,
        now: Instant,
        incoming: &Incoming,
        response: Response,
    ) -> Result<(), SendError> {
        let (path, id) = (incoming.path, incoming.id);
        let tag = self.local_tag(incoming);
        let message = &incoming.message;
        let bytes = self.written(|out, product| response.write(out, message, &path, &tag, product));
        let status = response.status;
        let done = match id.kind {
            ServerKind::Plain => {
                let keep = !path.transport.is_reliable();
                self.plains.answer(id.key, status, &bytes, keep)
            }
            ServerKind::Invite => {
                let timers = self.config.timers;
                self.invites
                    .answer(now, id.key, status, bytes.clone(), &timers)
            }
            ServerKind::Ack => Err(NoAnswer::Unknown),
        };
        done.map_err(|e| match e {
            NoAnswer::Unknown => SendError::UnknownTransaction,
            NoAnswer::Answered => SendError::AlreadyAnswered,
        })?;
        self.transmit(path, bytes);
        Ok(())
    }

    /// Refuses a request and forgets it: its repetition comes as a new request, to be refused again (RFC 3261, 8.2.7). So
    /// nobody without a password fills the table of transactions, and a challenge costs no memory. The refusal of an
    /// INVITE is not repeated by timer either (17.2.1 would), because that multiplies a flood.
    pub fn refuse_request(&mut self, incoming: &Incoming, response: Response) {
        self.plains.forget_newest(incoming.id.key);
        if incoming.id.kind == ServerKind::Invite {
            self.invites.forget(incoming.id.key);
        }
        if incoming.id.kind != ServerKind::Ack {
            let (path, tag) = (incoming.path, self.local_tag(incoming));
            let message = &incoming.message;
            let bytes =
                self.written(|out, product| response.write(out, message, &path, &tag, product));
            self.transmit(path, bytes);
        }
    }

    /// Acknowledges a 2xx to our INVITE; the same ACK goes out for each repetition of the 2xx.
    ///
    /// Errors: [`SendError::Incomplete`] if it is no ACK of a dialog.
    pub fn send_ack(
        &mut self,
        _now: Instant,
        path: Path,
        invite: TransactionId,
        ack: Request,
    ) -> Result<(), SendError> {
        if ack.method != Method::Ack || ack.from.is_empty() || ack.call_id.is_none() {
            return Err(SendError::Incomplete("not an ACK of a dialog"));
        }
        let branch = TransactionId::new(self.rng.next_u64()).branch();
        let bytes = self.written(|out, product| ack.write(out, &path, &branch, product));
        let to_tag = NameAddr::parse(ack.to.as_bytes())
            .ok()
            .and_then(|a| a.tag());
        if let Some(client) = self.clients.get_mut(invite)
            && client.state() == State::Accepted
            && to_tag.unwrap_or("") == client.accepted_tag
        {
            client.ack = Some((path, bytes.clone()));
        }
        self.transmit(path, bytes);
        Ok(())
    }

    /// Cancels our INVITE: now, or as soon as a provisional answer has come (RFC 3261, 9.1). It ends as it would have,
    /// with 487, a 2xx that was faster (acknowledge it and send BYE) or [`Event::Timeout`].
    ///
    /// Errors: [`SendError::UnknownTransaction`] if it is over, has its final answer, or is no INVITE.
    pub fn cancel(&mut self, now: Instant, invite: TransactionId) -> Result<(), SendError> {
        let client = self
            .clients
            .get_mut(invite)
            .filter(|c| c.method == Method::Invite)
            .ok_or(SendError::UnknownTransaction)?;
        match (client.state(), client.cancel) {
            (State::Completed | State::Accepted, _) => Err(SendError::UnknownTransaction),
            (State::Calling, _) => {
                client.cancel = Cancel::Wanted;
                Ok(())
            }
            (State::Proceeding, Cancel::Sent) => Ok(()),
            (State::Proceeding, Cancel::No | Cancel::Wanted) => self.send_cancel(now, invite),
        }
    }

    fn send_cancel(&mut self, now: Instant, invite: TransactionId) -> Result<(), SendError> {
        let timers = self.config.timers;
        let client = self
            .clients
            .get_mut(invite)
            .ok_or(SendError::UnknownTransaction)?;
        client.cancel_sent(now, &timers);
        let (path, sent) = (client.path, client.request.clone());
        let message = Message::parse(sent, Carrier::Stream)
            .map_err(|_| SendError::Incomplete("the INVITE cannot be read back"))?;
        let to = message.header(HeaderName::To).unwrap_or(b"");
        let bytes = self.written(|out, _| write_after_invite(out, &message, Method::Cancel, to));
        let id = invite.of_cancel();
        if !self
            .clients
            .insert(now, id, Method::Cancel, path, bytes.clone(), &timers)
        {
            return Err(SendError::TooMany);
        }
        self.transmit(path, bytes);
        Ok(())
    }

    /// The tag that [`Endpoint::respond`] writes to To, and so our tag in the dialog; that of the request if it has one.
    pub fn local_tag(&self, incoming: &Incoming) -> String {
        match incoming.message.to_tag() {
            Some(tag) => tag.to_owned(),
            None => self.tag_of(incoming.id.key),
        }
    }

    fn tag_of(&self, key: u64) -> String {
        let mut hash = self.keyed();
        hash.write(b"tag");
        hash.write_u64(key);
        format!("{:016x}", hash.finish())
    }

    pub fn new_tag(&mut self) -> String {
        format!("{:016x}", self.rng.next_u64())
    }

    pub fn new_call_id(&mut self) -> String {
        format!("{:016x}{:016x}", self.rng.next_u64(), self.rng.next_u64())
    }

    pub fn random_u64(&mut self) -> u64 {
        self.rng.next_u64()
    }

    fn on_request(&mut self, now: Instant, path: Path, message: Message) {
        self.counters.requests += 1;
        let Some(method) = message.method() else {
            let refusal = Response::new(501).header(HeaderName::Allow, ALLOW);
            self.refuse(&message, path, refusal);
            return;
        };
        let key = self.key(&message, &path, method);
        match method {
            Method::Ack => self.on_ack(now, path, message, key),
            Method::Cancel => self.on_cancel(path, message, key),
            Method::Invite => self.on_invite(now, path, message, key),
            Method::Register
            | Method::Bye
            | Method::Message
            | Method::Options
            | Method::Info
            | Method::Subscribe
            | Method::Notify
            | Method::Prack
            | Method::Update
            | Method::Refer
            | Method::Publish => self.on_plain(now, path, message, key),
        }
    }

    fn on_plain(&mut self, now: Instant, path: Path, message: Message, key: u64) {
        let timers = self.config.timers;
        match self.plains.on_request(now, key, &timers) {
            OnRequest::New => {
                let kind = ServerKind::Plain;
                self.deliver(now, path, message, ServerId { key, kind });
            }
            other => self.repeat(path, &message, other),
        }
    }

    fn on_invite(&mut self, now: Instant, path: Path, message: Message, key: u64) {
        let timers = self.config.timers;
        let ack_key = self.dialog_key(&message, &path);
        match self.invites.on_request(now, key, ack_key, path, &timers) {
            OnRequest::New => {
                let kind = ServerKind::Invite;
                self.deliver(now, path, message, ServerId { key, kind });
            }
            other => self.repeat(path, &message, other),
        }
    }

    fn repeat(&mut self, path: Path, message: &Message, what: OnRequest) {
        match what {
            OnRequest::New => {}
            OnRequest::Absorb => self.counters.repeated += 1,
            OnRequest::Repeat(bytes) => {
                self.counters.repeated += 1;
                self.transmit(path, bytes);
            }
            OnRequest::Full => {
                let refusal = Response::new(503).header(HeaderName::RetryAfter, "10");
                self.refuse(message, path, refusal);
            }
        }
    }

    /// Hands a new request to the user, unless it asks for what nobody here understands.
    fn deliver(&mut self, now: Instant, path: Path, message: Message, id: ServerId) {
        let incoming = Incoming { id, path, message };
        let refusal = self.unsupported(&incoming.message);
        let first = match (&refusal, id.kind) {
            (Some(refusal), _) => {
                self.counters.refused += 1;
                Some(refusal.clone())
            }
            (None, ServerKind::Invite) => Some(Response::new(100)),
            (None, ServerKind::Plain | ServerKind::Ack) => None,
        };
        if let Some(response) = first {
            self.respond(now, &incoming, response)
                .expect("the transaction was made a moment ago and has no answer");
        }
        if refusal.is_none() {
            self.event(Event::Request(incoming));
        }
    }

    /// RFC 3261, 8.2.2.3 (Require) and 8.2.3 (content). Only an INVITE must be SDP: bodies of MESSAGE are the user's.
    fn unsupported(&self, message: &Message) -> Option<Response> {
        let unknown: Vec<&[u8]> = message
            .values(HeaderName::Require)
            .filter(|tag| !tag.is_empty())
            .filter(|tag| {
                let known = |s: &String| s.as_bytes().eq_ignore_ascii_case(tag);
                !self.config.supported.iter().any(known)
            })
            .collect();
        if !unknown.is_empty() {
            let list = unknown.join(&b", "[..]);
            return Some(Response::new(420).header(HeaderName::Unsupported, list));
        }
        if message.method() != Some(Method::Invite) {
            return None;
        }
        let sdp = "application/sdp";
        if !message.body().is_empty() && !message.content_is(sdp) {
            return Some(Response::new(415).header(HeaderName::Accept, sdp));
        }
        let takes_sdp = |v: &[u8]| {
            let end = memchr::memchr(b';', v).unwrap_or(v.len());
            let v = v[..end].trim_ascii();
            v.is_empty()
                || v == b"*/*"
                || v.eq_ignore_ascii_case(b"application/*")
                || v.eq_ignore_ascii_case(sdp.as_bytes())
        };
        let refuses_sdp = message.header(HeaderName::Accept).is_some()
            && !message.values(HeaderName::Accept).any(takes_sdp);
        refuses_sdp.then(|| Response::new(406))
    }

    fn on_ack(&mut self, now: Instant, path: Path, message: Message, key: u64) {
        let dialog = self.dialog_key(&message, &path);
        let timers = self.config.timers;
        match self.invites.on_ack(now, key, dialog, &timers) {
            OnAck::Absorb => {}
            OnAck::Deliver | OnAck::Unknown => {
                let kind = ServerKind::Ack;
                self.event(Event::Request(Incoming {
                    id: ServerId { key, kind },
                    path,
                    message,
                }));
            }
        }
    }

    fn on_cancel(&mut self, path: Path, message: Message, key: u64) {
        let Some(first) = self.invites.on_cancel(key) else {
            self.refuse(&message, path, Response::new(481));
            return;
        };
        let tag = self.tag_of(key);
        let bytes = self
            .written(|out, product| Response::new(200).write(out, &message, &path, &tag, product));
        self.transmit(path, bytes);
        if first {
            let kind = ServerKind::Invite;
            self.event(Event::Cancelled {
                invite: ServerId { key, kind },
            });
        }
    }

    /// Answers without a transaction.
    fn refuse(&mut self, message: &Message, path: Path, response: Response) {
        self.counters.refused += 1;
        self.answer_stateless(message, path, &response);
    }

    fn answer_stateless(&mut self, message: &Message, path: Path, response: &Response) {
        let mut hash = self.keyed();
        for name in [HeaderName::Via, HeaderName::From, HeaderName::CallId] {
            hash.write(message.header(name).unwrap_or(b""));
        }
        let tag = self.tag_of(hash.finish());
        let bytes = self.written(|out, product| response.write(out, message, &path, &tag, product));
        self.transmit(path, bytes);
    }

    /// A response is never answered, an ACK neither, and a request without Via cannot be.
    fn malformed(&mut self, error: ParseError, path: Path, message: Option<Message>) {
        self.counters.malformed[error.kind.index()] += 1;
        let answer = error.kind.answer().filter(|_| {
            message.as_ref().is_some_and(|m| {
                m.is_request() && m.method_text() != b"ACK" && m.header(HeaderName::Via).is_some()
            })
        });
        if let (Some(status), Some(message)) = (answer, &message) {
            let mut response = Response::new(status);
            if status == 400 {
                response = response.reason(format!("Bad Request - {}", error.kind.name()));
            }
            self.answer_stateless(message, path, &response);
        }
        self.event(Event::Malformed {
            error,
            path,
            answered: answer,
        });
    }

    fn on_response(&mut self, now: Instant, path: Path, message: Message) {
        self.counters.responses += 1;
        let (Some(cseq), Some(status)) = (message.cseq(), message.status()) else {
            return;
        };
        let timers = self.config.timers;
        let to_tag = message.to_tag().unwrap_or("");
        let id = message
            .via_top()
            .ok()
            .and_then(|via| TransactionId::from_branch(via.branch()?, cseq.method == b"CANCEL"));
        let found = id.and_then(|id| {
            let hit = self
                .clients
                .on_response(now, id, cseq.method, status, to_tag, &timers)?;
            Some((id, hit))
        });
        let Some((id, (what, client))) = found else {
            self.counters.stray += 1;
            return;
        };
        let method = client.method;
        match what {
            OnResponse::Absorb => self.counters.repeated += 1,
            OnResponse::RepeatAck => {
                self.counters.repeated += 1;
                if let Some((path, ack)) = client.ack.clone() {
                    self.transmit(path, ack);
                }
            }
            OnResponse::Deliver | OnResponse::DeliverAndAck => {
                let wanted = client.cancel == Cancel::Wanted && status < 200;
                if what == OnResponse::DeliverAndAck {
                    self.acknowledge_refusal(id, &message);
                }
                if wanted {
                    // It is Proceeding now; at the bound of transactions the INVITE runs into its own end.
                    let _ = self.send_cancel(now, id);
                }
                if !id.is_cancel() {
                    self.event(Event::Response {
                        id,
                        method,
                        path,
                        message,
                    });
                }
            }
        }
    }

    fn acknowledge_refusal(&mut self, id: TransactionId, response: &Message) {
        let Some(client) = self.clients.get_mut(id) else {
            return;
        };
        let path = client.path;
        let sent = std::mem::take(&mut client.request);
        let Ok(invite) = Message::parse(sent, Carrier::Stream) else {
            return;
        };
        let to = response.header(HeaderName::To).unwrap_or(b"");
        let bytes = self.written(|out, _| write_after_invite(out, &invite, Method::Ack, to));
        if let Some(client) = self.clients.get_mut(id) {
            client.ack = Some((path, bytes.clone()));
        }
        self.transmit(path, bytes);
    }

    fn keyed(&self) -> DefaultHasher {
        let mut hash = DefaultHasher::new();
        hash.write_u64(self.secret[0]);
        hash.write_u64(self.secret[1]);
        hash
    }

    /// The transaction of a request; ACK and CANCEL give that of their INVITE.
    fn key(&self, message: &Message, path: &Path, method: Method) -> u64 {
        let mut hash = self.keyed();
        let of = match method {
            Method::Ack | Method::Cancel => Method::Invite,
            other => other,
        };
        field(&mut hash, of.as_str().as_bytes());
        if let Ok(via) = message.via_top() {
            let branch = via.branch().unwrap_or("");
            field(&mut hash, branch.as_bytes());
            field(&mut hash, via.host.as_bytes());
            hash.write_u16(via.port.unwrap_or(5060));
            if !branch.starts_with("z9hG4bK") || branch.len() == 7 {
                field(&mut hash, message.uri());
            }
        }
        // A connection delivers each request once. What comes again on another one comes because the answer was lost with
        // the first, and is answered anew (RFC 3261, 17.2.2: over a reliable transport timer J is zero).
        if let (Some(conn), false) = (path.transport.connection(), of == Method::Invite) {
            hash.write_u64(conn.0);
        }
        hash.write_u64(self.dialog_key(message, path));
        hash.finish()
    }

    /// What an INVITE and the ACK of its 2xx have in common.
    fn dialog_key(&self, message: &Message, path: &Path) -> u64 {
        let mut hash = self.keyed();
        field(&mut hash, message.call_id().as_bytes());
        field(&mut hash, message.from_tag().unwrap_or("").as_bytes());
        hash.write_u32(message.cseq().map_or(0, |c| c.number));
        match path.peer.ip().to_canonical() {
            std::net::IpAddr::V4(ip) => hash.write_u32(ip.to_bits()),
            std::net::IpAddr::V6(ip) => hash.write_u128(ip.to_bits()),
        }
        hash.finish()
    }

    fn written(&mut self, write: impl FnOnce(&mut Vec<u8>, &str)) -> Bytes {
        let mut out = std::mem::take(&mut self.scratch);
        out.clear();
        write(&mut out, &self.config.product);
        let bytes = Bytes::copy_from_slice(&out);
        self.scratch = out;
        bytes
    }

    fn transmit(&mut self, path: Path, payload: Bytes) {
        self.output
            .push_back(Output::Transmit(Transmit { path, payload }));
    }

    fn event(&mut self, event: Event) {
        self.output.push_back(Output::Event(event));
    }
}

/// Keeps neighbouring fields of a key apart.
fn field(hash: &mut DefaultHasher, bytes: &[u8]) {
    hash.write_usize(bytes.len());
    hash.write(bytes);
}

/// RFC 5626 keep-alives, and the four bytes that some devices send (`jaK\0`).
fn is_ping(raw: &[u8]) -> bool {
    raw.len() <= 4 || raw.iter().all(|b| matches!(b, b'\r' | b'\n' | 0 | b' '))
}
