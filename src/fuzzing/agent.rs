//! Two SIP agents that call each other over a line that loses, repeats, mixes and damages messages.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::Script;
use crate::sip::endpoint::{Config, Endpoint, Event, Output};
use crate::sip::fuzzing::is_readable;
use crate::sip::{
    Dialog, Incoming, Method, Path, Request, Response, Timers, TransactionId, Transport,
};

/// Datagrams on their way at most: older ones are lost.
const LINE_MAX: usize = 64;
/// Longer than any transaction lives.
const FOREVER: Duration = Duration::from_secs(1_800);

/// What one side has asked and been asked.
struct Side {
    endpoint: Endpoint,
    address: SocketAddr,
    /// Requests of ours, with how often each came to its end.
    asked: HashMap<TransactionId, (Method, u32)>,
    invites: Vec<TransactionId>,
    incoming: Vec<Incoming>,
    /// Requests that were handed out, with when that was.
    seen: HashMap<(String, u32, Method, String), Instant>,
}

impl Side {
    fn new(n: u8) -> Side {
        Side {
            endpoint: Endpoint::new(Config::default(), [n; 32]),
            address: SocketAddr::from(([10, 0, 0, n], 5060)),
            asked: HashMap::new(),
            invites: Vec::new(),
            incoming: Vec::new(),
            seen: HashMap::new(),
        }
    }
}

struct Line {
    sides: [Side; 2],
    /// To whom, what, and when it was sent. It arrives within Timer T4 or never, which is what SIP's timers build on (RFC
    /// 3261, 17.1.1.1).
    waiting: Vec<(usize, Bytes, Instant)>,
    /// A byte was changed on the way: ids may not be what they were.
    damaged: bool,
    now: Instant,
}

impl Line {
    fn path(&self, of: usize) -> Path {
        Path {
            peer: self.sides[1 - of].address,
            local: self.sides[of].address,
            transport: Transport::Udp,
        }
    }

    fn drain(&mut self, of: usize) {
        while let Some(output) = self.sides[of].endpoint.poll_output() {
            match output {
                Output::Transmit(transmit) => {
                    assert!(is_readable(transmit.payload.clone()));
                    if self.waiting.len() >= LINE_MAX {
                        self.waiting.remove(0);
                    }
                    self.waiting.push((1 - of, transmit.payload, self.now));
                }
                Output::Event(event) => self.event(of, event),
            }
        }
    }

    fn event(&mut self, of: usize, event: Event) {
        let (now, path) = (self.now, self.path(of));
        let side = &mut self.sides[of];
        match event {
            Event::Request(incoming) => {
                let message = &incoming.message;
                let method = message
                    .method()
                    .expect("an unknown method is refused below");
                let number = message.cseq().expect("checked below").number;
                let branch = message
                    .via_top()
                    .map(|via| via.branch().unwrap_or_default().to_owned());
                let key = (
                    message.call_id().to_owned(),
                    number,
                    method,
                    branch.unwrap_or_default(),
                );
                let before = side.seen.insert(key, now);
                if method != Method::Ack {
                    // Later its transaction is over, and none of its copies can be on its way but the last.
                    let timers = Timers::default();
                    let fresh = before.is_none_or(|at| now - at >= timers.giving_up());
                    assert!(fresh || self.damaged, "a repetition is no new request");
                    side.incoming.push(incoming);
                }
            }
            Event::Response {
                id,
                method,
                message,
                ..
            } => {
                let status = message.status().expect("a response has a status");
                let Some((asked, ends)) = side.asked.get_mut(&id) else {
                    panic!("an answer to nothing that was asked");
                };
                assert_eq!(*asked, method);
                if status >= 200 {
                    *ends += 1;
                    let fork = method == Method::Invite && status < 300;
                    assert!(*ends == 1 || fork || self.damaged, "one end only");
                    if fork && let Ok(dialog) = Dialog::from_answer(&message) {
                        // It fails for what cannot be written; that too is an answer.
                        let _ = side.endpoint.send_ack(now, path, id, dialog.ack());
                    }
                }
            }
            Event::Timeout { id, .. } => {
                let (_, ends) = side.asked.get_mut(&id).expect("we asked");
                *ends += 1;
                assert_eq!(*ends, 1, "one end only");
            }
            Event::Cancelled { .. }
            | Event::AckMissing { .. }
            | Event::Ping { .. }
            | Event::Malformed { .. } => {}
        }
    }

    fn step(&mut self, script: &mut Script<'_>) {
        let op = script.byte();
        let of = usize::from(op >> 7);
        match op % 10 {
            0 | 1 => self.ask(of, script),
            2 | 3 => self.answer(of, script),
            4 => {
                if let Some(id) = script.pick(&self.sides[of].invites) {
                    // Over already, or not yet answered by 100: both are said.
                    let _ = self.sides[of].endpoint.cancel(self.now, id);
                }
            }
            5 => {
                self.now += Duration::from_millis(u64::from(script.byte()) * 40);
                let (now, stay) = (self.now, Timers::default().t4);
                self.waiting.retain(|(_, _, sent)| now - *sent <= stay);
            }
            6 => {
                let n = script.below(self.waiting.len().max(1));
                if n < self.waiting.len() {
                    self.waiting.remove(n);
                }
            }
            _ => self.arrive(script, op % 10),
        }
        for side in 0..2 {
            let now = self.now;
            self.sides[side].endpoint.handle_timeout(now);
            self.drain(side);
        }
    }

    fn ask(&mut self, of: usize, script: &mut Script<'_>) {
        let methods = [
            Method::Register,
            Method::Message,
            Method::Invite,
            Method::Bye,
            Method::Options,
            Method::Subscribe,
            Method::Notify,
            Method::Info,
        ];
        let method = script.pick(&methods).expect("eight");
        let (path, now) = (self.path(of), self.now);
        let mut request = Request::new(method, "sip:b@10.0.0.9")
            .from("<sip:a@10.0.0.8>")
            .to("<sip:b@10.0.0.9>");
        if script.chance(3) {
            request = request.body("text/plain", script.bytes(9).to_vec());
        }
        let side = &mut self.sides[of];
        if let Ok(id) = side.endpoint.send_request(now, path, request) {
            side.asked.insert(id, (method, 0));
            if method == Method::Invite {
                side.invites.push(id);
            }
        }
    }

    fn answer(&mut self, of: usize, script: &mut Script<'_>) {
        let statuses = [100, 180, 183, 200, 200, 302, 404, 486, 487, 500, 603];
        let status = script.pick(&statuses).expect("eleven");
        let n = script.below(self.sides[of].incoming.len().max(1));
        let Some(incoming) = self.sides[of].incoming.get(n).cloned() else {
            return;
        };
        let response = Response::new(status).contact("<sip:b@10.0.0.9>");
        let done = self.sides[of]
            .endpoint
            .respond(self.now, &incoming, response);
        if status >= 200 && done.is_ok() {
            let again = Response::new(status);
            let twice = self.sides[of].endpoint.respond(self.now, &incoming, again);
            assert!(twice.is_err(), "a final answer is given once");
        }
    }

    fn arrive(&mut self, script: &mut Script<'_>, how: u8) {
        let n = script.below(self.waiting.len().max(1));
        let Some((to, bytes, _)) = self.waiting.get(n).cloned() else {
            return;
        };
        let bytes = match how {
            // Once, or again and again.
            7 | 8 => bytes,
            _ => {
                self.damaged = true;
                let mut changed = bytes.to_vec();
                let at = usize::from(script.word()) % changed.len().max(1);
                changed[at] = script.byte();
                changed.into()
            }
        };
        if how == 7 {
            self.waiting.remove(n);
        }
        let (path, now) = (self.path(to), self.now);
        self.sides[to].endpoint.handle_message(now, path, bytes);
        self.drain(to);
    }
}

/// Every request ends once, a repetition is no new request, what is written can be read, and in the end nothing is left.
pub fn sip_agent(data: &[u8]) {
    let mut script = Script::new(data);
    let mut line = Line {
        sides: [Side::new(1), Side::new(2)],
        waiting: Vec::new(),
        damaged: false,
        now: Instant::now(),
    };
    while !script.is_over() {
        line.step(&mut script);
    }
    let end = line.now + FOREVER;
    for of in 0..2 {
        for incoming in std::mem::take(&mut line.sides[of].incoming) {
            // Those that have their answer refuse another.
            let _ = line.sides[of]
                .endpoint
                .respond(line.now, &incoming, Response::new(500));
        }
        line.drain(of);
    }
    loop {
        let next = line
            .sides
            .iter()
            .filter_map(|s| s.endpoint.next_deadline())
            .min();
        let Some(at) = next.filter(|at| *at <= end) else {
            break;
        };
        line.now = line.now.max(at);
        for of in 0..2 {
            let now = line.now;
            line.sides[of].endpoint.handle_timeout(now);
            line.drain(of);
        }
        // Nothing arrives any more.
        line.waiting.clear();
    }
    for side in &line.sides {
        assert!(side.endpoint.next_deadline().is_none(), "timers end");
        assert_eq!(side.endpoint.sizes(), [0; 4], "nothing is left");
        assert!(
            side.asked.values().all(|(_, ends)| *ends >= 1),
            "every request ends"
        );
    }
}
