//! Server transactions.
//!
//! ```text
//! INVITE   Proceeding ──2xx──► Accepted (L) ──► gone                           RFC 6026, figure 4
//!              └──3xx-6xx──► Completed (G, H) ──ACK──► Confirmed (I) ──► gone  RFC 3261, figure 7
//! others   Trying ──1xx──► Proceeding ──2xx-6xx──► Completed (J) ──► gone      RFC 3261, figure 8
//! ```
//! Deviations: Timer J runs from the arrival of the request instead of from its answer; the client's Timer F began before
//! that, so nothing can be retransmitted after it, and all of them end in the order in which they began: one queue in
//! place of a heap. A 2xx to INVITE is retransmitted here until its ACK comes, where RFC 3261, 13.3.1.4 leaves that to the
//! user. An INVITE that nobody answers is forgotten after [`Timers::proceeding`].
//!
//! A registration leaves two entries (under 150 bytes each with their places in map and queue) and two answers behind for
//! 64*T1.
//! Bounds: [`SIP_SERVER_TRANSACTIONS_MAX`], [`SIP_RESPONSE_CACHE_BYTES_MAX`] (both: the oldest is forgotten),
//! [`SIP_INVITE_SERVER_TRANSACTIONS_MAX`] (refused).

use std::collections::VecDeque;
use std::collections::hash_map::Entry;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::{Deadlines, KeyMap, Path, Timers};
use crate::limits::{
    SIP_INVITE_SERVER_TRANSACTIONS_MAX, SIP_RESPONSE_CACHE_BYTES_MAX, SIP_SERVER_TRANSACTIONS_MAX,
};
use crate::time::earliest;

/// What a request means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OnRequest {
    /// It came for the first time: tell the user.
    New,
    /// A repetition; nothing can be said yet, or any more.
    Absorb,
    /// A repetition: send this again.
    Repeat(Bytes),
    /// No room.
    Full,
}

/// Why an answer cannot be given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoAnswer {
    /// No such transaction, or forgotten.
    Unknown,
    /// It has its final answer.
    Answered,
}

/// A request other than INVITE. Empty `response` = Trying; a provisional one = Proceeding; a final one = Completed.
#[derive(Debug)]
struct Plain {
    response: Bytes,
    answered: bool,
}

/// Requests other than INVITE.
#[derive(Debug, Default)]
pub struct Plains {
    map: KeyMap<u64, Plain>,
    /// In order of expiry.
    queue: VecDeque<(Instant, u64)>,
    bytes: usize,
    evicted: u64,
}

impl Plains {
    pub fn on_request(&mut self, now: Instant, key: u64, timers: &Timers) -> OnRequest {
        match self.map.entry(key) {
            Entry::Occupied(entry) if entry.get().response.is_empty() => OnRequest::Absorb,
            Entry::Occupied(entry) => OnRequest::Repeat(entry.get().response.clone()),
            Entry::Vacant(entry) => {
                entry.insert(Plain {
                    response: Bytes::new(),
                    answered: false,
                });
                self.queue.push_back((now + timers.giving_up(), key));
                while self.queue.len() > SIP_SERVER_TRANSACTIONS_MAX {
                    self.forget_oldest();
                    self.evicted += 1;
                }
                OnRequest::New
            }
        }
    }

    /// `keep`: over an unreliable transport the answer stays for retransmissions of the request.
    pub fn answer(
        &mut self,
        key: u64,
        status: u16,
        response: &Bytes,
        keep: bool,
    ) -> Result<(), NoAnswer> {
        let plain = self.map.get_mut(&key).ok_or(NoAnswer::Unknown)?;
        if plain.answered {
            return Err(NoAnswer::Answered);
        }
        plain.answered = status >= 200;
        self.bytes -= plain.response.len();
        if keep {
            plain.response = response.clone();
            self.bytes += response.len();
        } else if plain.answered {
            // The entry stays so that a second answer is told; its queue place ends it.
            plain.response = Bytes::new();
        }
        while self.bytes > SIP_RESPONSE_CACHE_BYTES_MAX {
            self.forget_oldest();
            self.evicted += 1;
        }
        Ok(())
    }

    /// Forgets a request that came a moment ago and was not answered. Does nothing for any other.
    pub fn forget_newest(&mut self, key: u64) {
        if self.queue.back().is_some_and(|(_, newest)| *newest == key) {
            self.queue.pop_back();
            if let Some(plain) = self.map.remove(&key) {
                self.bytes -= plain.response.len();
            }
        }
    }

    fn forget_oldest(&mut self) {
        if let Some((_, key)) = self.queue.pop_front()
            && let Some(plain) = self.map.remove(&key)
        {
            self.bytes -= plain.response.len();
        }
    }

    pub fn next_deadline(&self) -> Option<Instant> {
        self.queue.front().map(|(at, _)| *at)
    }

    /// Forgets one that is over; `false`: none is.
    pub fn pop_due(&mut self, now: Instant) -> bool {
        let due = self.next_deadline().is_some_and(|at| at <= now);
        if due {
            self.forget_oldest();
        }
        due
    }

    pub fn len(&self) -> usize {
        self.map.len()
    }

    pub fn is_empty(&self) -> bool {
        self.map.is_empty()
    }

    /// Bytes of answers kept.
    pub fn cached_bytes(&self) -> usize {
        self.bytes
    }

    /// Transactions forgotten before their time, at a bound.
    pub fn evicted(&self) -> u64 {
        self.evicted
    }
}

/// Where an INVITE to us stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Proceeding,
    /// Refused, ACK awaited.
    Completed,
    Confirmed,
    /// 2xx sent.
    Accepted,
}

/// What a timer does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OnTimer {
    Nothing,
    Resend(Path, Bytes),
    /// Gone; our 2xx was never acknowledged.
    AckMissing,
    Gone,
}

/// What an ACK did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnAck {
    /// Of a refusal: the user need not know.
    Absorb,
    /// Of our 2xx, for the first time: tell the user.
    Deliver,
    /// Of nothing that is known here.
    Unknown,
}

#[derive(Debug)]
struct Invite {
    state: State,
    path: Path,
    response: Bytes,
    /// Names the dialog, because the ACK of a 2xx has another branch.
    ack_key: u64,
    acknowledged: bool,
    cancelled: bool,
    interval: Duration,
    resend_at: Option<Instant>,
    ends_at: Instant,
    armed: Instant,
}

impl Invite {
    fn due(&self) -> Instant {
        earliest(self.resend_at, Some(self.ends_at)).unwrap_or(self.ends_at)
    }

    fn answer(&mut self, now: Instant, status: u16, response: Bytes, timers: &Timers) {
        self.response = response;
        if status < 200 {
            return;
        }
        let accepted = status < 300;
        self.state = if accepted {
            State::Accepted
        } else {
            State::Completed
        };
        self.interval = timers.t1;
        // A 2xx is repeated on every transport: its ACK comes end to end (RFC 3261, 13.3.1.4).
        let repeats = accepted || !self.path.transport.is_reliable();
        self.resend_at = repeats.then_some(now + timers.t1);
        self.ends_at = now + timers.giving_up();
    }

    fn on_timer(&mut self, now: Instant, timers: &Timers) -> OnTimer {
        if now >= self.ends_at {
            return match self.state {
                State::Accepted if !self.acknowledged => OnTimer::AckMissing,
                State::Proceeding | State::Completed | State::Confirmed | State::Accepted => {
                    OnTimer::Gone
                }
            };
        }
        if self.resend_at.is_none_or(|at| at > now) {
            return OnTimer::Nothing;
        }
        self.interval = (self.interval * 2).min(timers.t2);
        self.resend_at = Some(now + self.interval);
        OnTimer::Resend(self.path, self.response.clone())
    }
}

/// INVITEs to us.
#[derive(Debug, Default)]
pub struct Invites {
    map: KeyMap<u64, Invite>,
    /// From the key of the dialog to that of the transaction.
    by_ack: KeyMap<u64, u64>,
    deadlines: Deadlines<u64>,
}

impl Invites {
    pub fn on_request(
        &mut self,
        now: Instant,
        key: u64,
        ack_key: u64,
        path: Path,
        timers: &Timers,
    ) -> OnRequest {
        if let Some(invite) = self.map.get_mut(&key) {
            return match invite.state {
                State::Proceeding | State::Completed if !invite.response.is_empty() => {
                    OnRequest::Repeat(invite.response.clone())
                }
                State::Proceeding | State::Completed | State::Confirmed | State::Accepted => {
                    OnRequest::Absorb
                }
            };
        }
        if self.map.len() >= SIP_INVITE_SERVER_TRANSACTIONS_MAX {
            return OnRequest::Full;
        }
        let ends_at = now + timers.proceeding;
        let invite = Invite {
            state: State::Proceeding,
            path,
            response: Bytes::new(),
            ack_key,
            acknowledged: false,
            cancelled: false,
            interval: timers.t1,
            resend_at: None,
            ends_at,
            armed: ends_at,
        };
        self.deadlines.arm(ends_at, key);
        self.map.insert(key, invite);
        OnRequest::New
    }

    pub fn answer(
        &mut self,
        now: Instant,
        key: u64,
        status: u16,
        response: Bytes,
        timers: &Timers,
    ) -> Result<(), NoAnswer> {
        let invite = self.map.get_mut(&key).ok_or(NoAnswer::Unknown)?;
        if invite.state != State::Proceeding {
            return Err(NoAnswer::Answered);
        }
        invite.answer(now, status, response, timers);
        if invite.state == State::Accepted {
            self.by_ack.insert(invite.ack_key, key);
        }
        self.rearm(key);
        Ok(())
    }

    fn rearm(&mut self, key: u64) {
        if let Some(invite) = self.map.get_mut(&key) {
            let due = invite.due();
            if due < invite.armed {
                invite.armed = due;
                self.deadlines.arm(due, key);
            }
        }
    }

    /// `key` is that of the INVITE with the same branch, `ack_key` that of the dialog.
    pub fn on_ack(&mut self, now: Instant, key: u64, ack_key: u64, timers: &Timers) -> OnAck {
        if let Some(invite) = self.map.get_mut(&key)
            && matches!(invite.state, State::Completed | State::Confirmed)
        {
            if invite.state == State::Completed {
                invite.state = State::Confirmed;
                invite.resend_at = None;
                let reliable = invite.path.transport.is_reliable();
                invite.ends_at = now + if reliable { Duration::ZERO } else { timers.t4 };
                self.rearm(key);
            }
            return OnAck::Absorb;
        }
        let accepted = self.by_ack.get(&ack_key).and_then(|k| self.map.get_mut(k));
        match accepted {
            Some(invite) if invite.acknowledged => OnAck::Absorb,
            Some(invite) => {
                invite.acknowledged = true;
                invite.resend_at = None;
                OnAck::Deliver
            }
            None => OnAck::Unknown,
        }
    }

    /// Forgets an INVITE that was not answered with a final answer. Its timer finds nothing.
    pub fn forget(&mut self, key: u64) {
        self.map.remove(&key);
    }

    /// A CANCEL came: `None` = no such INVITE; `Some(true)` = tell the user.
    pub fn on_cancel(&mut self, key: u64) -> Option<bool> {
        let invite = self.map.get_mut(&key)?;
        let first = invite.state == State::Proceeding && !invite.cancelled;
        invite.cancelled = true;
        Some(first)
    }

    pub fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.next()
    }

    /// The next INVITE whose timer fires; [`OnTimer::AckMissing`] and [`OnTimer::Gone`] have been taken out.
    pub fn pop_due(&mut self, now: Instant, timers: &Timers) -> Option<(u64, OnTimer)> {
        let key = self.deadlines.pop_due(now)?;
        let Some(invite) = self.map.get_mut(&key) else {
            return Some((key, OnTimer::Nothing));
        };
        let what = invite.on_timer(now, timers);
        match what {
            OnTimer::Nothing | OnTimer::Resend(..) => {
                invite.armed = invite.due();
                self.deadlines.arm(invite.armed, key);
            }
            OnTimer::AckMissing | OnTimer::Gone => {
                let ack_key = invite.ack_key;
                if self.by_ack.get(&ack_key) == Some(&key) {
                    self.by_ack.remove(&ack_key);
                }
                self.map.remove(&key);
            }
        }
        Some((key, what))
    }

    pub fn len(&self) -> usize {
        self.map.len()
    }

    pub fn is_empty(&self) -> bool {
        self.map.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::transaction::{ConnId, Transport};

    fn path(transport: Transport) -> Path {
        Path {
            peer: "10.0.0.2:5060".parse().expect("an address"),
            local: "10.0.0.1:5060".parse().expect("an address"),
            transport,
        }
    }

    const OK: Bytes = Bytes::from_static(b"200");
    const NO: Bytes = Bytes::from_static(b"404");

    #[test]
    fn a_plain_request_is_answered_once_and_repeated_until_timer_j() {
        let now = Instant::now();
        let timers = Timers::default();
        let mut table = Plains::default();
        assert_eq!(table.on_request(now, 1, &timers), OnRequest::New);
        assert_eq!(table.on_request(now, 1, &timers), OnRequest::Absorb);
        assert_eq!(table.answer(1, 200, &OK, true), Ok(()));
        assert_eq!(table.answer(1, 200, &OK, true), Err(NoAnswer::Answered));
        assert_eq!(table.answer(2, 200, &OK, true), Err(NoAnswer::Unknown));
        assert_eq!(table.on_request(now, 1, &timers), OnRequest::Repeat(OK));
        assert!(!table.pop_due(now + Duration::from_millis(31_999)));
        assert!(table.pop_due(now + Duration::from_millis(32_000)));
        assert_eq!((table.len(), table.cached_bytes()), (0, 0));
        assert_eq!(table.on_request(now, 1, &timers), OnRequest::New);
    }

    #[test]
    fn the_oldest_plain_request_is_forgotten_at_each_bound() {
        let now = Instant::now();
        let timers = Timers::default();
        let mut table = Plains::default();
        for key in 0..=SIP_SERVER_TRANSACTIONS_MAX as u64 {
            assert_eq!(table.evicted(), 0);
            table.on_request(now, key, &timers);
        }
        assert_eq!(
            (table.len(), table.evicted()),
            (SIP_SERVER_TRANSACTIONS_MAX, 1)
        );
        assert_eq!(table.answer(0, 200, &OK, true), Err(NoAnswer::Unknown));

        let mut table = Plains::default();
        let half = Bytes::from(vec![0; SIP_RESPONSE_CACHE_BYTES_MAX / 2]);
        for key in 0..3 {
            table.on_request(now, key, &timers);
            assert_eq!(table.answer(key, 200, &half, true), Ok(()));
            assert_eq!(table.evicted(), u64::from(key == 2));
        }
        assert_eq!(table.cached_bytes(), SIP_RESPONSE_CACHE_BYTES_MAX);
    }

    /// Runs an INVITE's timers from its answer on: ms of retransmissions, ms and kind of the end.
    fn run(table: &mut Invites, start: Instant) -> (Vec<u128>, u128, OnTimer) {
        let timers = Timers::default();
        let mut sent = Vec::new();
        loop {
            let now = table.next_deadline().expect("a timer runs");
            let ms = (now - start).as_millis();
            match table.pop_due(now, &timers).expect("it is due").1 {
                OnTimer::Nothing => {}
                OnTimer::Resend(..) => sent.push(ms),
                end @ (OnTimer::AckMissing | OnTimer::Gone) => return (sent, ms, end),
            }
        }
    }

    #[test]
    fn a_refusal_is_repeated_until_ack_or_timer_h() {
        let now = Instant::now();
        let timers = Timers::default();
        let mut table = Invites::default();
        assert_eq!(
            table.on_request(now, 1, 9, path(Transport::Udp), &timers),
            OnRequest::New
        );
        assert_eq!(table.answer(now, 1, 404, NO, &timers), Ok(()));
        let (sent, end, what) = run(&mut table, now);
        assert_eq!(
            sent,
            [
                500, 1500, 3500, 7500, 11500, 15500, 19500, 23500, 27500, 31500
            ]
        );
        assert_eq!((end, what), (32_000, OnTimer::Gone));

        table.on_request(now, 1, 9, path(Transport::Udp), &timers);
        assert_eq!(table.answer(now, 1, 404, NO, &timers), Ok(()));
        assert_eq!(
            table.on_request(now, 1, 9, path(Transport::Udp), &timers),
            OnRequest::Repeat(NO)
        );
        assert_eq!(table.on_ack(now, 1, 9, &timers), OnAck::Absorb);
        assert_eq!(
            table.on_request(now, 1, 9, path(Transport::Udp), &timers),
            OnRequest::Absorb
        );
        assert_eq!(run(&mut table, now), (vec![], 5_000, OnTimer::Gone));
        assert!(table.is_empty());
    }

    #[test]
    fn a_reliable_transport_repeats_no_refusal() {
        let now = Instant::now();
        let timers = Timers::default();
        let mut table = Invites::default();
        table.on_request(now, 1, 9, path(Transport::Tcp(ConnId(1))), &timers);
        assert_eq!(table.answer(now, 1, 404, NO, &timers), Ok(()));
        assert_eq!(run(&mut table, now), (vec![], 32_000, OnTimer::Gone));
    }

    #[test]
    fn a_2xx_is_repeated_until_its_ack_on_every_transport() {
        let now = Instant::now();
        let timers = Timers::default();
        for transport in [Transport::Udp, Transport::Tcp(ConnId(1))] {
            let mut table = Invites::default();
            table.on_request(now, 1, 9, path(transport), &timers);
            assert_eq!(table.answer(now, 1, 180, NO, &timers), Ok(()));
            assert_eq!(table.answer(now, 1, 200, OK, &timers), Ok(()));
            assert_eq!(
                table.answer(now, 1, 200, OK, &timers),
                Err(NoAnswer::Answered)
            );
            let (sent, end, what) = run(&mut table, now);
            assert_eq!((sent.len(), end, what), (10, 32_000, OnTimer::AckMissing));

            table.on_request(now, 1, 9, path(transport), &timers);
            assert_eq!(table.answer(now, 1, 200, OK, &timers), Ok(()));
            assert_eq!(table.on_ack(now, 2, 8, &timers), OnAck::Unknown);
            assert_eq!(table.on_ack(now, 2, 9, &timers), OnAck::Deliver);
            assert_eq!(table.on_ack(now, 2, 9, &timers), OnAck::Absorb);
            assert_eq!(run(&mut table, now), (vec![], 32_000, OnTimer::Gone));
            assert_eq!(table.on_ack(now, 2, 9, &timers), OnAck::Unknown);
        }
    }

    #[test]
    fn invites_are_bounded_and_forgotten_if_nobody_answers() {
        let now = Instant::now();
        let timers = Timers::default();
        let mut table = Invites::default();
        let max = SIP_INVITE_SERVER_TRANSACTIONS_MAX as u64;
        for key in 0..max {
            let what = table.on_request(now, key, key, path(Transport::Udp), &timers);
            assert_eq!(what, OnRequest::New);
        }
        assert_eq!(
            table.on_request(now, max, max, path(Transport::Udp), &timers),
            OnRequest::Full
        );
        assert_eq!(run(&mut table, now), (vec![], 200_000, OnTimer::Gone));
    }
}
