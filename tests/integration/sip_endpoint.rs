//! Two endpoints, a network between them that delays and loses what it is told to, and a clock that jumps.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use gantry::sip::{
    Carrier, Config, ConnId, Dialog, Endpoint, Event, HeaderName, Incoming, Message, Method,
    Output, Path, Request, Response, SendError, Transport,
};

const PLATFORM: usize = 0;
const DEVICE: usize = 1;
const DELAY: Duration = Duration::from_millis(10);

/// A platform and a device. Each side's events wait in `events`.
struct Pair {
    ends: [Endpoint; 2],
    addresses: [SocketAddr; 2],
    transport: Transport,
    now: Instant,
    start: Instant,
    wire: VecDeque<(Instant, usize, Bytes)>,
    events: [VecDeque<Event>; 2],
    /// First lines of all that was sent, by side, with the millisecond.
    sent: Vec<(usize, u128, String)>,
    /// What does not arrive: side that sent it, and start of its first line.
    lose: Vec<(usize, &'static str)>,
}

impl Pair {
    fn new(transport: Transport) -> Pair {
        let now = Instant::now();
        Pair {
            ends: [1, 2].map(|n| Endpoint::new(Config::default(), [n; 32])),
            addresses: ["10.0.0.1:5060", "10.0.0.2:5060"].map(|a| a.parse().expect("an address")),
            transport,
            now,
            start: now,
            wire: VecDeque::new(),
            events: Default::default(),
            sent: Vec::new(),
            lose: Vec::new(),
        }
    }

    fn udp() -> Pair {
        Pair::new(Transport::Udp)
    }

    fn path(&self, side: usize) -> Path {
        Path {
            peer: self.addresses[1 - side],
            local: self.addresses[side],
            transport: self.transport,
        }
    }

    fn drain(&mut self) {
        for side in [PLATFORM, DEVICE] {
            while let Some(output) = self.ends[side].poll_output() {
                match output {
                    Output::Event(event) => self.events[side].push_back(event),
                    Output::Transmit(t) => {
                        let line = t.payload.split(|b| *b == b'\r').next().unwrap_or(b"");
                        let line = String::from_utf8_lossy(line).into_owned();
                        let ms = (self.now - self.start).as_millis();
                        let lost = self
                            .lose
                            .iter()
                            .any(|(s, l)| *s == side && line.starts_with(l));
                        self.sent.push((side, ms, line));
                        if !lost {
                            self.wire.push_back((self.now + DELAY, 1 - side, t.payload));
                        }
                    }
                }
            }
        }
    }

    /// Runs until nothing moves any more or an event waits, at most until `until` from now.
    fn run(&mut self, until: Duration) {
        let end = self.now + until;
        loop {
            self.drain();
            if self.events.iter().any(|e| !e.is_empty()) {
                return;
            }
            let arrival = self.wire.front().map(|(at, _, _)| *at);
            let timers = self.ends.iter().filter_map(Endpoint::next_deadline);
            let Some(next) = timers.chain(arrival).min().filter(|at| *at <= end) else {
                self.now = end;
                return;
            };
            self.now = self.now.max(next);
            if arrival == Some(next) {
                let (_, side, bytes) = self.wire.pop_front().expect("it was seen a moment ago");
                let path = self.path(side);
                self.ends[side].handle_message(self.now, path, bytes);
            } else {
                for end in &mut self.ends {
                    end.handle_timeout(self.now);
                }
            }
        }
    }

    /// The next event of a side; the other side must have none before.
    fn next(&mut self, side: usize) -> Event {
        self.run(Duration::from_secs(300));
        assert!(
            self.events[1 - side].is_empty(),
            "{:?}",
            self.events[1 - side]
        );
        self.events[side].pop_front().expect("something happens")
    }

    fn request(&mut self, side: usize) -> Incoming {
        match self.next(side) {
            Event::Request(incoming) => incoming,
            other => panic!("unexpected {other:?}"),
        }
    }

    fn response(&mut self, side: usize) -> Message {
        match self.next(side) {
            Event::Response { message, .. } => message,
            other => panic!("unexpected {other:?}"),
        }
    }

    fn quiet(&mut self) {
        self.run(Duration::from_secs(300));
        assert!(
            self.events.iter().all(VecDeque::is_empty),
            "{:?}",
            self.events
        );
        let sizes = [PLATFORM, DEVICE].map(|side| self.ends[side].sizes());
        assert_eq!(sizes, [[0; 4]; 2], "nothing is left behind");
    }

    fn times(&self, side: usize, line: &str) -> Vec<u128> {
        let of = |s: &&(usize, u128, String)| s.0 == side && s.2.starts_with(line);
        self.sent.iter().filter(of).map(|(_, ms, _)| *ms).collect()
    }

    fn invite(&mut self) -> gantry::sip::TransactionId {
        let request = Request::new(Method::Invite, "sip:cam@10.0.0.2:5060")
            .from("<sip:us@h>")
            .body("application/sdp", "v=0\r\n");
        let path = self.path(PLATFORM);
        let sent = self.ends[PLATFORM].send_request(self.now, path, request);
        sent.expect("there is room")
    }

    fn respond(&mut self, side: usize, incoming: &Incoming, status: u16) {
        let done = self.ends[side].respond(self.now, incoming, Response::new(status));
        assert_eq!(done, Ok(()));
    }
}

fn keepalive() -> Request {
    Request::new(Method::Message, "sip:us@10.0.0.1")
        .from("<sip:cam@h>")
        .body("Application/MANSCDP+xml", "<Notify/>")
}

#[test]
fn a_lost_answer_is_repeated_from_memory() {
    let mut pair = Pair::udp();
    pair.lose.push((PLATFORM, "SIP/2.0 200"));
    let path = pair.path(DEVICE);
    let sent = pair.ends[DEVICE].send_request(pair.now, path, keepalive());
    assert!(sent.is_ok());
    let incoming = pair.request(PLATFORM);
    assert_eq!(incoming.message.body(), b"<Notify/>");
    pair.respond(PLATFORM, &incoming, 200);
    let twice = pair.ends[PLATFORM].respond(pair.now, &incoming, Response::new(200));
    assert_eq!(twice, Err(SendError::AlreadyAnswered));
    pair.run(Duration::from_millis(1_600));
    pair.lose.clear();
    assert_eq!(pair.response(DEVICE).status(), Some(200));
    assert_eq!(pair.times(DEVICE, "MESSAGE"), [0, 500, 1500, 3500]);
    assert_eq!(pair.times(PLATFORM, "SIP/2.0 200"), [10, 510, 1510, 3510]);
    assert_eq!(pair.ends[PLATFORM].counters().repeated, 3);
    pair.quiet();
}

#[test]
fn a_request_into_the_void_times_out_once() {
    let mut pair = Pair::udp();
    pair.lose.push((DEVICE, "MESSAGE"));
    let path = pair.path(DEVICE);
    let id = pair.ends[DEVICE]
        .send_request(pair.now, path, keepalive())
        .expect("there is room");
    match pair.next(DEVICE) {
        Event::Timeout { id: of, method } => assert_eq!((of, method), (id, Method::Message)),
        other => panic!("unexpected {other:?}"),
    }
    assert_eq!((pair.now - pair.start).as_millis(), 32_000);
    pair.quiet();
}

#[test]
fn a_call_over_udp_from_invite_to_bye() {
    let mut pair = Pair::udp();
    let id = pair.invite();
    let incoming = pair.request(DEVICE);
    assert_eq!(pair.response(PLATFORM).status(), Some(100));
    let tag = pair.ends[DEVICE].local_tag(&incoming);
    let mut called = Dialog::from_request(&incoming.message, &tag).expect("complete");
    // The first 200 is lost; the device sends another.
    pair.lose.push((DEVICE, "SIP/2.0 200"));
    pair.respond(DEVICE, &incoming, 200);
    pair.run(Duration::from_millis(100));
    pair.lose.clear();
    let answer = pair.response(PLATFORM);
    let mut caller = Dialog::from_answer(&answer).expect("complete");
    assert_eq!(caller.id().remote_tag, tag);
    assert_eq!(called.id().remote_tag, caller.id().local_tag);
    // The first ACK is lost; the next 200 draws another, without the user's help.
    pair.lose.push((PLATFORM, "ACK"));
    let path = pair.path(PLATFORM);
    let ack = caller.ack();
    assert_eq!(
        pair.ends[PLATFORM].send_ack(pair.now, path, id, ack),
        Ok(())
    );
    pair.run(Duration::from_millis(100));
    pair.lose.clear();
    let ack = pair.request(DEVICE);
    assert_eq!(ack.message.method(), Some(Method::Ack));
    assert!(called.matches(&ack.message));
    let refused = pair.ends[DEVICE].respond(pair.now, &ack, Response::new(200));
    assert_eq!(refused, Err(SendError::UnknownTransaction));
    // INFO one way, BYE the other.
    let info = caller.request(Method::Info);
    pair.ends[PLATFORM]
        .send_request(pair.now, path, info)
        .expect("there is room");
    let info = pair.request(DEVICE);
    assert!(called.matches(&info.message) && called.accept_cseq(&info.message));
    pair.respond(DEVICE, &info, 200);
    assert_eq!(pair.response(PLATFORM).to_tag(), Some(tag.as_str()));
    let bye = called.request(Method::Bye);
    let path = pair.path(DEVICE);
    pair.ends[DEVICE]
        .send_request(pair.now, path, bye)
        .expect("there is room");
    let bye = pair.request(PLATFORM);
    assert!(caller.matches(&bye.message) && caller.accept_cseq(&bye.message));
    pair.respond(PLATFORM, &bye, 200);
    assert_eq!(pair.response(DEVICE).status(), Some(200));
    pair.quiet();
}

#[test]
fn a_refusal_is_acknowledged_by_the_endpoint() {
    for transport in [Transport::Udp, Transport::Tcp(ConnId(7))] {
        let mut pair = Pair::new(transport);
        pair.invite();
        let incoming = pair.request(DEVICE);
        assert_eq!(pair.response(PLATFORM).status(), Some(100));
        pair.respond(DEVICE, &incoming, 488);
        assert_eq!(pair.response(PLATFORM).status(), Some(488));
        pair.quiet();
        assert_eq!(pair.times(PLATFORM, "ACK").len(), 1);
        assert_eq!(pair.times(DEVICE, "SIP/2.0 488").len(), 1);
    }
}

#[test]
fn an_acknowledgement_that_never_comes_is_told() {
    let mut pair = Pair::udp();
    pair.invite();
    let incoming = pair.request(DEVICE);
    assert_eq!(pair.response(PLATFORM).status(), Some(100));
    pair.respond(DEVICE, &incoming, 200);
    assert_eq!(pair.response(PLATFORM).status(), Some(200));
    match pair.next(DEVICE) {
        Event::AckMissing { invite } => assert_eq!(invite, incoming.id),
        other => panic!("unexpected {other:?}"),
    }
    pair.quiet();
}

#[test]
fn a_cancel_waits_for_the_first_answer() {
    let mut pair = Pair::udp();
    pair.lose.push((DEVICE, "SIP/2.0 100"));
    let id = pair.invite();
    assert_eq!(pair.ends[PLATFORM].cancel(pair.now, id), Ok(()));
    let incoming = pair.request(DEVICE);
    pair.run(Duration::from_millis(100));
    assert_eq!(pair.times(PLATFORM, "CANCEL").len(), 0);
    pair.lose.clear();
    assert_eq!(pair.response(PLATFORM).status(), Some(100));
    match pair.next(DEVICE) {
        Event::Cancelled { invite } => assert_eq!(invite, incoming.id),
        other => panic!("unexpected {other:?}"),
    }
    pair.respond(DEVICE, &incoming, 487);
    assert_eq!(pair.response(PLATFORM).status(), Some(487));
    assert_eq!(pair.times(PLATFORM, "CANCEL").len(), 1);
    let late = pair.ends[PLATFORM].cancel(pair.now, id);
    assert_eq!(late, Err(SendError::UnknownTransaction));
    pair.quiet();
}

#[test]
fn a_cancelled_invite_that_stays_silent_ends_by_itself() {
    let mut pair = Pair::udp();
    let id = pair.invite();
    let _never_answered = pair.request(DEVICE);
    assert_eq!(pair.response(PLATFORM).status(), Some(100));
    let asked = pair.now;
    assert_eq!(pair.ends[PLATFORM].cancel(pair.now, id), Ok(()));
    assert!(matches!(pair.next(DEVICE), Event::Cancelled { .. }));
    assert!(matches!(
        pair.next(PLATFORM),
        Event::Timeout {
            method: Method::Invite,
            ..
        }
    ));
    assert_eq!(pair.now - asked, Duration::from_secs(32));
    pair.quiet();
}

#[test]
fn a_connection_that_is_gone_ends_its_requests_at_once() {
    let mut pair = Pair::new(Transport::Tcp(ConnId(7)));
    let id = pair.invite();
    pair.ends[PLATFORM].handle_closed(pair.now, ConnId(8));
    pair.ends[PLATFORM].handle_closed(pair.now, ConnId(7));
    let mut events = Vec::new();
    while let Some(output) = pair.ends[PLATFORM].poll_output() {
        if let Output::Event(event) = output {
            events.push(event);
        }
    }
    assert!(matches!(events[..], [Event::Timeout { id: of, .. }] if of == id));
}

#[test]
fn a_request_that_could_not_be_read_back_is_not_sent() {
    let mut end = Endpoint::new(Config::default(), [1; 32]);
    let (now, path) = (Instant::now(), Pair::udp().path(DEVICE));
    let to = |uri: &str| Request::new(Method::Message, uri).from("<sip:cam@h>");
    for bad in [
        Request::new(Method::Message, "sip:us@h"),
        Request::new(Method::Ack, "sip:us@h").from("<sip:cam@h>"),
        Request::new(Method::Cancel, "sip:us@h").from("<sip:cam@h>"),
        to("sip:us@h SIP/2.0\r\nEvil: x"),
        to("http://h"),
        to(""),
        to("sip:us@h").to("nobody"),
    ] {
        let sent = end.send_request(now, path, bad);
        assert!(matches!(sent, Err(SendError::Incomplete(_))));
    }
    assert!(end.poll_output().is_none());
    assert!(end.send_request(now, path, to("sip:us@h")).is_ok());
}

#[test]
fn a_run_repeats_from_its_seed_and_seeds_differ() {
    let sent = |seed| {
        let mut end = Endpoint::new(Config::default(), [seed; 32]);
        let path = Pair::udp().path(DEVICE);
        end.send_request(Instant::now(), path, keepalive())
            .expect("there is room");
        match end.poll_output() {
            Some(Output::Transmit(t)) => t.payload,
            other => panic!("unexpected {other:?}"),
        }
    };
    assert_eq!(sent(1), sent(1));
    assert_ne!(sent(1), sent(2));
}

/// Feeds text to a fresh endpoint: first lines of its answers, and its events.
fn feed(text: &str) -> (Vec<Message>, Vec<Event>) {
    let mut end = Endpoint::new(Config::default(), [1; 32]);
    let path = Pair::udp().path(PLATFORM);
    let raw = Bytes::from(text.replace('\n', "\r\n"));
    end.handle_message(Instant::now(), path, raw);
    let (mut answers, mut events) = (Vec::new(), Vec::new());
    while let Some(output) = end.poll_output() {
        match output {
            Output::Transmit(t) => {
                // What answers a request that lacks something lacks it too, and is not read back.
                answers.extend(Message::parse(t.payload, Carrier::Stream));
            }
            Output::Event(event) => events.push(event),
        }
    }
    (answers, events)
}

const OPTIONS: &str = "OPTIONS sip:us@h SIP/2.0\nVia: SIP/2.0/UDP 192.168.1.64;rport;branch=z9hG4bK1\n\
    From: <sip:2@h>;tag=a\nTo: <sip:us@h>\nCall-ID: c\nCSeq: 7 OPTIONS\n\n";

#[test]
fn what_is_malformed_is_answered_with_its_defect_and_told() {
    let (answers, events) = feed(&OPTIONS.replace("7 OPTIONS", "7 INFO"));
    assert_eq!(answers[0].status(), Some(400));
    assert_eq!(answers[0].reason(), b"Bad Request - CSeq method differs");
    let via = answers[0].via_top().expect("well-formed");
    assert_eq!(
        (via.received(), via.rport()),
        (Some("10.0.0.2"), Some(Some(5060)))
    );
    match &events[..] {
        [
            Event::Malformed {
                error,
                answered,
                path,
            },
        ] => {
            assert_eq!(*answered, Some(400));
            assert!(error.offset > 100);
            assert_eq!(path.peer.port(), 5060);
        }
        other => panic!("unexpected {other:?}"),
    }
    // A response and an ACK are never answered, whatever is wrong with them.
    let ack = OPTIONS
        .replace("OPTIONS", "ACK")
        .replace("Call-ID: c", "Call-ID:");
    let response = OPTIONS
        .replace("OPTIONS sip:us@h SIP/2.0", "SIP/2.0 200 OK")
        .replace("a\nTo", "a\nTo\nTo");
    for text in [ack, response] {
        let (answers, events) = feed(&text);
        assert!(answers.is_empty());
        assert!(
            matches!(events[..], [Event::Malformed { answered: None, .. }]),
            "{events:?}"
        );
    }
}

#[test]
fn an_empty_call_id_is_refused_and_the_next_message_works() {
    let bye = OPTIONS.replace("OPTIONS", "BYE");
    let (_, events) = feed(&bye.replace("Call-ID: c", "Call-ID: "));
    let answered = Some(400);
    assert!(matches!(events[..], [Event::Malformed { answered: a, .. }] if a == answered));
    let (_, events) = feed(OPTIONS);
    assert!(matches!(events[..], [Event::Request(_)]));
}

#[test]
fn stubs_are_signs_of_life() {
    for stub in ["\n\n", "jaK\0", "", "\0\0\0\0\0\0\0\0"] {
        let (answers, events) = feed(stub);
        assert!(answers.is_empty());
        assert!(matches!(events[..], [Event::Ping { .. }]), "{stub:?}");
    }
}

#[test]
fn an_unknown_method_is_refused_with_a_list_and_a_lone_cancel_too() {
    let (answers, events) = feed(&OPTIONS.replace("OPTIONS", "DANCE"));
    assert_eq!(answers[0].status(), Some(501));
    assert!(answers[0].header(HeaderName::Allow).is_some() && events.is_empty());
    let (answers, events) = feed(&OPTIONS.replace("OPTIONS", "CANCEL"));
    assert_eq!(answers[0].status(), Some(481));
    assert!(events.is_empty());
}

#[test]
fn requests_that_differ_in_any_part_of_their_key_are_two() {
    let mut end = Endpoint::new(Config::default(), [1; 32]);
    let now = Instant::now();
    let mut path = Pair::udp().path(PLATFORM);
    let mut new = |text: &str, path: Path| {
        end.handle_message(now, path, Bytes::from(text.replace('\n', "\r\n")));
        matches!(end.poll_output(), Some(Output::Event(Event::Request(_))))
    };
    assert!(new(OPTIONS, path));
    assert!(!new(OPTIONS, path));
    // Behind another port of the same NAT it is still the same request.
    path.peer.set_port(40_000);
    assert!(!new(OPTIONS, path));
    path.peer.set_ip([10, 0, 0, 3].into());
    assert!(new(OPTIONS, path));
    for (from, to) in [
        ("z9hG4bK1", "z9hG4bK2"),
        ("192.168.1.64", "192.168.1.65"),
        ("Call-ID: c", "Call-ID: d"),
        ("CSeq: 7", "CSeq: 8"),
        ("tag=a", "tag=b"),
        ("OPTIONS", "INFO"),
        // Without the cookie the Request-URI counts (RFC 2543).
        ("z9hG4bK1", "1"),
    ] {
        let text = OPTIONS.replace(from, to);
        assert!(new(&text, path), "{from}");
        assert!(!new(&text, path), "{from}");
    }
    let old = OPTIONS.replace("z9hG4bK1", "1");
    assert!(new(
        &old.replace("OPTIONS sip:us@h", "OPTIONS sip:you@h"),
        path
    ));
}

#[test]
fn thousands_of_requests_run_out_in_order_and_leave_nothing() {
    let mut end = Endpoint::new(Config::default(), [1; 32]);
    let now = Instant::now();
    let mut path = Pair::udp().path(PLATFORM);
    for n in 0..20_000u32 {
        path.peer
            .set_ip(std::net::Ipv4Addr::from_bits(0x0a00_0000 + n).into());
        end.send_request(now, path, keepalive())
            .expect("there is room");
    }
    let (mut timeouts, mut sent) = (0, 0);
    let mut turns = 0;
    loop {
        while let Some(output) = end.poll_output() {
            match output {
                Output::Transmit(_) => sent += 1,
                Output::Event(Event::Timeout { .. }) => timeouts += 1,
                Output::Event(other) => panic!("unexpected {other:?}"),
            }
        }
        let Some(at) = end.next_deadline() else {
            break;
        };
        end.handle_timeout(at);
        turns += 1;
    }
    assert_eq!((sent, timeouts), (20_000 * 11, 20_000));
    // One turn runs a bounded number of timers.
    assert!(turns >= 20_000 * 11 / gantry::limits::SIP_TIMERS_PER_TURN_MAX);
    assert_eq!(end.sizes(), [0; 4]);
}
