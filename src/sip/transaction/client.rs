//! Client transactions.
//!
//! ```text
//! INVITE      Calling ──1xx──► Proceeding ──2xx──► Accepted (M) ──► gone       RFC 3261, figure 5; RFC 6026, figure 3
//!    (A, B)      │                 └────3xx-6xx──► Completed (D) ─► gone       (a final answer may come at Calling too)
//! others      Trying ──1xx──► Proceeding ──2xx-6xx──► Completed (K) ─► gone    RFC 3261, figure 6
//!    (E, F)
//! ```
//! Deviation: an INVITE that got a provisional answer is given up after [`Timers::proceeding`], and a cancelled one after
//! 64*T1 (RFC 3261, 9.1). Bound: [`SIP_CLIENT_TRANSACTIONS_MAX`].

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::{ConnId, Deadlines, KeyMap, Path, Timers, TransactionId};
use crate::limits::SIP_CLIENT_TRANSACTIONS_MAX;
use crate::sip::name::Method;
use crate::time::earliest;

/// Where a request of ours stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Sent, nothing heard. `Trying` of requests other than INVITE is the same state.
    Calling,
    Proceeding,
    /// A final answer came; repetitions are absorbed (and, for INVITE, acknowledged again).
    Completed,
    /// INVITE only: a 2xx came (RFC 6026).
    Accepted,
}

/// What a response does to a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnResponse {
    /// Tell the user.
    Deliver,
    /// Tell the user, and acknowledge: an INVITE was refused.
    DeliverAndAck,
    /// Send the same ACK again.
    RepeatAck,
    /// A repetition.
    Absorb,
}

/// What a timer does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OnTimer {
    Nothing,
    Resend(Path, Bytes),
    /// No final answer came; the transaction is gone.
    TimedOut,
    /// The transaction is over and gone.
    Gone,
}

/// Whether an INVITE is to be cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cancel {
    No,
    /// Asked for before a provisional answer came: CANCEL waits for that (RFC 3261, 9.1).
    Wanted,
    Sent,
}

/// One request of ours.
#[derive(Debug)]
pub struct Client {
    pub method: Method,
    pub path: Path,
    /// The request as it went out; empty once nothing needs it any more.
    pub request: Bytes,
    /// The ACK that goes out again with each repetition of the final answer.
    pub ack: Option<(Path, Bytes)>,
    /// To tag of the first 2xx.
    pub accepted_tag: String,
    pub cancel: Cancel,
    state: State,
    interval: Duration,
    resend_at: Option<Instant>,
    ends_at: Instant,
    armed: Instant,
}

impl Client {
    fn new(now: Instant, method: Method, path: Path, request: Bytes, timers: &Timers) -> Client {
        let resend_at = (!path.transport.is_reliable()).then_some(now + timers.t1);
        let ends_at = now + timers.giving_up();
        Client {
            method,
            path,
            request,
            ack: None,
            accepted_tag: String::new(),
            cancel: Cancel::No,
            state: State::Calling,
            interval: timers.t1,
            resend_at,
            ends_at,
            armed: earliest(resend_at, Some(ends_at)).unwrap_or(ends_at),
        }
    }

    pub fn state(&self) -> State {
        self.state
    }

    fn due(&self) -> Instant {
        earliest(self.resend_at, Some(self.ends_at)).unwrap_or(self.ends_at)
    }

    /// A response of this transaction came. `same_tag`: its To tag is that of the first 2xx.
    fn on_response(
        &mut self,
        now: Instant,
        status: u16,
        same_tag: bool,
        timers: &Timers,
    ) -> OnResponse {
        let invite = self.method == Method::Invite;
        match self.state {
            State::Calling | State::Proceeding if status < 200 => {
                if invite {
                    // Timers A and B stop.
                    self.resend_at = None;
                    if self.cancel != Cancel::Sent {
                        self.ends_at = now + timers.proceeding;
                    }
                } else if self.resend_at.is_some() {
                    // Timer E goes on at its longest interval.
                    self.interval = timers.t2;
                }
                self.state = State::Proceeding;
                OnResponse::Deliver
            }
            State::Calling | State::Proceeding if invite && status < 300 => {
                self.state = State::Accepted;
                self.end_in(now, timers.giving_up());
                OnResponse::Deliver
            }
            State::Calling | State::Proceeding if invite => {
                self.state = State::Completed;
                let timer_d = Duration::from_secs(32).max(timers.giving_up());
                self.end_in(now, self.unreliable(timer_d));
                OnResponse::DeliverAndAck
            }
            State::Calling | State::Proceeding => {
                self.state = State::Completed;
                self.request = Bytes::new();
                self.end_in(now, self.unreliable(timers.t4));
                OnResponse::Deliver
            }
            State::Completed if invite && status >= 300 => OnResponse::RepeatAck,
            State::Accepted if (200..300).contains(&status) && same_tag => OnResponse::RepeatAck,
            // Another 2xx from another branch of a fork: each has its own dialog (RFC 3261, 13.2.2.4).
            State::Accepted if (200..300).contains(&status) => OnResponse::Deliver,
            State::Completed | State::Accepted => OnResponse::Absorb,
        }
    }

    fn unreliable(&self, time: Duration) -> Duration {
        if self.path.transport.is_reliable() {
            Duration::ZERO
        } else {
            time
        }
    }

    fn end_in(&mut self, now: Instant, time: Duration) {
        self.resend_at = None;
        self.ends_at = now + time;
    }

    fn on_timer(&mut self, now: Instant, timers: &Timers) -> OnTimer {
        if now >= self.ends_at {
            return match self.state {
                State::Calling | State::Proceeding => OnTimer::TimedOut,
                State::Completed | State::Accepted => OnTimer::Gone,
            };
        }
        if self.resend_at.is_none_or(|at| at > now) {
            return OnTimer::Nothing;
        }
        self.interval *= 2;
        if self.method != Method::Invite {
            self.interval = self.interval.min(timers.t2);
        }
        self.resend_at = Some(now + self.interval);
        OnTimer::Resend(self.path, self.request.clone())
    }

    /// CANCEL went out: the INVITE is given up if no final answer comes.
    pub fn cancel_sent(&mut self, now: Instant, timers: &Timers) {
        self.cancel = Cancel::Sent;
        self.ends_at = now + timers.giving_up();
    }
}

/// All requests of ours that are not over.
#[derive(Debug, Default)]
pub struct Clients {
    map: KeyMap<TransactionId, Client>,
    deadlines: Deadlines<TransactionId>,
}

impl Clients {
    /// `false`: at the bound, nothing was stored.
    pub fn insert(
        &mut self,
        now: Instant,
        id: TransactionId,
        method: Method,
        path: Path,
        request: Bytes,
        timers: &Timers,
    ) -> bool {
        if self.map.len() >= SIP_CLIENT_TRANSACTIONS_MAX {
            return false;
        }
        let client = Client::new(now, method, path, request, timers);
        self.deadlines.arm(client.armed, id);
        self.map.insert(id, client);
        true
    }

    pub fn len(&self) -> usize {
        self.map.len()
    }

    pub fn is_empty(&self) -> bool {
        self.map.is_empty()
    }

    pub fn get_mut(&mut self, id: TransactionId) -> Option<&mut Client> {
        self.map.get_mut(&id)
    }

    /// `None`: no such transaction, or of another method.
    pub fn on_response(
        &mut self,
        now: Instant,
        id: TransactionId,
        method: &[u8],
        status: u16,
        to_tag: &str,
        timers: &Timers,
    ) -> Option<(OnResponse, &mut Client)> {
        let client = self.map.get_mut(&id)?;
        if client.method.as_str().as_bytes() != method {
            return None;
        }
        let same_tag = client.accepted_tag == to_tag;
        let first = client.state != State::Accepted;
        let what = client.on_response(now, status, same_tag, timers);
        if first && client.state == State::Accepted {
            client.accepted_tag = to_tag.to_owned();
        }
        let due = client.due();
        if due < client.armed {
            client.armed = due;
            self.deadlines.arm(due, id);
        }
        Some((what, client))
    }

    pub fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.next()
    }

    /// The next transaction whose timer fires; [`OnTimer::TimedOut`] and [`OnTimer::Gone`] have been taken out.
    pub fn pop_due(
        &mut self,
        now: Instant,
        timers: &Timers,
    ) -> Option<(TransactionId, Method, OnTimer)> {
        let id = self.deadlines.pop_due(now)?;
        let Some(client) = self.map.get_mut(&id) else {
            return Some((id, Method::Options, OnTimer::Nothing));
        };
        let what = client.on_timer(now, timers);
        let method = client.method;
        match what {
            OnTimer::Nothing | OnTimer::Resend(..) => {
                client.armed = client.due();
                self.deadlines.arm(client.armed, id);
            }
            OnTimer::TimedOut | OnTimer::Gone => {
                self.map.remove(&id);
            }
        }
        Some((id, method, what))
    }

    /// Takes out the unanswered requests of a connection that is gone. Walks the table: connections of peers that wait
    /// for nothing are the rule, and a table without requests over TCP is told by the caller.
    pub fn on(&mut self, conn: ConnId) -> Vec<(TransactionId, Method)> {
        let lost: Vec<_> = self
            .map
            .iter()
            .filter(|(_, c)| c.path.transport.connection() == Some(conn))
            .filter(|(_, c)| matches!(c.state, State::Calling | State::Proceeding))
            .map(|(id, c)| (*id, c.method))
            .collect();
        for (id, _) in &lost {
            self.map.remove(id);
        }
        lost
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::Transport;

    fn client(method: Method, transport: Transport, now: Instant) -> Client {
        let path = Path {
            peer: "10.0.0.2:5060".parse().expect("an address"),
            local: "10.0.0.1:5060".parse().expect("an address"),
            transport,
        };
        Client::new(
            now,
            method,
            path,
            Bytes::from_static(b"x"),
            &Timers::default(),
        )
    }

    const TCP: Transport = Transport::Tcp(ConnId(1));

    /// Milliseconds at which a lone request is sent again, then the one at which it is given up.
    fn unanswered(method: Method, transport: Transport) -> (Vec<u128>, u128) {
        let start = Instant::now();
        let timers = Timers::default();
        let mut c = client(method, transport, start);
        let mut sent = Vec::new();
        loop {
            let now = c.due();
            match c.on_timer(now, &timers) {
                OnTimer::Resend(..) => sent.push((now - start).as_millis()),
                OnTimer::TimedOut => return (sent, (now - start).as_millis()),
                OnTimer::Nothing | OnTimer::Gone => panic!("a timer fired for nothing"),
            }
        }
    }

    #[test]
    fn an_unanswered_invite_doubles_its_interval_until_timer_b() {
        assert_eq!(
            unanswered(Method::Invite, Transport::Udp),
            (vec![500, 1500, 3500, 7500, 15500, 31500], 32000)
        );
        assert_eq!(unanswered(Method::Invite, TCP), (vec![], 32000));
    }

    #[test]
    fn other_requests_are_capped_at_t2_until_timer_f() {
        assert_eq!(
            unanswered(Method::Message, Transport::Udp),
            (
                vec![
                    500, 1500, 3500, 7500, 11500, 15500, 19500, 23500, 27500, 31500
                ],
                32000
            )
        );
        assert_eq!(unanswered(Method::Message, TCP), (vec![], 32000));
    }

    /// The transition table: state before, status, what is done, state after, ms until it is gone if nothing follows.
    #[test]
    fn the_transition_table() {
        use OnResponse::{Absorb, Deliver, DeliverAndAck, RepeatAck};
        use State::{Accepted, Calling, Completed, Proceeding};
        let invite = [
            (Calling, 100, Deliver, Proceeding, 200_000),
            (Calling, 200, Deliver, Accepted, 32_000),
            (Calling, 404, DeliverAndAck, Completed, 32_000),
            (Proceeding, 183, Deliver, Proceeding, 200_000),
            (Proceeding, 200, Deliver, Accepted, 32_000),
            (Proceeding, 603, DeliverAndAck, Completed, 32_000),
            (Completed, 180, Absorb, Completed, 32_000),
            (Completed, 404, RepeatAck, Completed, 32_000),
            (Completed, 200, Absorb, Completed, 32_000),
            (Accepted, 180, Absorb, Accepted, 32_000),
            (Accepted, 200, RepeatAck, Accepted, 32_000),
            (Accepted, 404, Absorb, Accepted, 32_000),
        ];
        let plain = [
            (Calling, 100, Deliver, Proceeding, 32_000),
            (Calling, 200, Deliver, Completed, 5_000),
            (Proceeding, 401, Deliver, Completed, 5_000),
            (Completed, 200, Absorb, Completed, 5_000),
            (Completed, 100, Absorb, Completed, 5_000),
        ];
        let rows = invite
            .map(|row| (Method::Invite, row))
            .into_iter()
            .chain(plain.map(|row| (Method::Message, row)));
        let timers = Timers::default();
        for (method, (before, status, done, after, ms)) in rows {
            let now = Instant::now();
            let mut c = client(method, Transport::Udp, now);
            let lead_in = match before {
                Calling => None,
                Proceeding => Some(100),
                Completed => Some(404),
                Accepted => Some(200),
            };
            if let Some(status) = lead_in {
                c.on_response(now, status, true, &timers);
            }
            assert_eq!(c.state, before);
            let row = (method, before, status);
            assert_eq!(c.on_response(now, status, true, &timers), done, "{row:?}");
            assert_eq!(c.state, after, "{row:?}");
            assert_eq!((c.ends_at - now).as_millis(), ms, "{row:?}");
        }
    }

    #[test]
    fn a_provisional_answer_slows_a_plain_request_and_stops_an_invite() {
        let now = Instant::now();
        let timers = Timers::default();
        let mut c = client(Method::Message, Transport::Udp, now);
        c.on_response(now, 100, false, &timers);
        let at = c.due();
        assert!(matches!(c.on_timer(at, &timers), OnTimer::Resend(..)));
        assert_eq!(c.due() - at, timers.t2);
        let mut c = client(Method::Invite, Transport::Udp, now);
        c.on_response(now, 100, false, &timers);
        assert_eq!(c.due() - now, timers.proceeding);
    }

    #[test]
    fn a_reliable_transport_forgets_a_final_answer_at_once() {
        let now = Instant::now();
        let timers = Timers::default();
        for method in [Method::Invite, Method::Message] {
            let mut c = client(method, TCP, now);
            c.on_response(now, 404, false, &timers);
            assert_eq!(c.on_timer(now, &timers), OnTimer::Gone);
        }
    }

    #[test]
    fn a_fork_is_told_apart_by_its_tag() {
        let now = Instant::now();
        let timers = Timers::default();
        let mut table = Clients::default();
        let id = TransactionId::new(2);
        let path = client(Method::Invite, Transport::Udp, now).path;
        assert!(table.insert(now, id, Method::Invite, path, Bytes::new(), &timers));
        let mut what = |tag| {
            table
                .on_response(now, id, b"INVITE", 200, tag, &timers)
                .map(|(what, _)| what)
        };
        assert_eq!(what("a"), Some(OnResponse::Deliver));
        assert_eq!(what("a"), Some(OnResponse::RepeatAck));
        assert_eq!(what("b"), Some(OnResponse::Deliver));
        assert!(
            table
                .on_response(now, id, b"BYE", 200, "a", &timers)
                .is_none()
        );
    }

    #[test]
    fn the_table_is_bounded_and_empties_itself() {
        let now = Instant::now();
        let timers = Timers::default();
        let mut table = Clients::default();
        let path = client(Method::Message, Transport::Udp, now).path;
        for n in 0..=SIP_CLIENT_TRANSACTIONS_MAX as u64 {
            let id = TransactionId::new(n << 1);
            let fits = table.insert(now, id, Method::Message, path, Bytes::new(), &timers);
            assert_eq!(fits, n < SIP_CLIENT_TRANSACTIONS_MAX as u64);
        }
        let late = now + timers.giving_up();
        let mut timed_out = 0;
        while let Some((_, _, what)) = table.pop_due(late, &timers) {
            timed_out += usize::from(what == OnTimer::TimedOut);
        }
        assert_eq!(timed_out, SIP_CLIENT_TRANSACTIONS_MAX);
        assert!(table.is_empty() && table.next_deadline().is_none());
    }
}
