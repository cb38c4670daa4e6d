//! RFC 4475 and RFC 5118: each message gets the answer that its index names.
//!
//! The index says `accept`, `reject <status>`, `discard`, and where a receiver may be liberal. What we do in each case
//! stands in [`OURS`]; a message that is not listed there is accepted, and the test checks that against the index.

use std::net::IpAddr;
use std::path::Path;
use std::time::Instant;

use bytes::Bytes;
use gantry::sip;
use gantry::sip::digest;
use gantry::sip::{
    Carrier, Config, Endpoint, ErrorKind, Event, HeaderName, Message, Output, Transport,
};

use crate::vectors;

/// What the endpoint did with a message.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Outcome {
    /// A request was handed to the user.
    Request,
    /// A response was well-formed; it is none of ours.
    Stray,
    Refused(u16),
    Dropped(ErrorKind),
}

/// Messages that are not simply accepted.
const OURS: &[(&str, Outcome)] = &[
    // Unknown methods are answered by the endpoint itself.
    ("intmeth.dat", Outcome::Refused(501)),
    ("esc02.dat", Outcome::Refused(501)),
    ("unreason.dat", Outcome::Stray),
    ("noreason.dat", Outcome::Stray),
    ("bcast.dat", Outcome::Stray),
    ("badinv01.dat", Outcome::Refused(400)),
    ("clerr.dat", Outcome::Refused(400)),
    ("ncl.dat", Outcome::Refused(400)),
    ("scalar02.dat", Outcome::Refused(400)),
    ("scalarlg.dat", Outcome::Dropped(ErrorKind::BadCSeq)),
    ("quotbal.dat", Outcome::Refused(400)),
    ("ltgtruri.dat", Outcome::Refused(400)),
    ("lwsruri.dat", Outcome::Refused(400)),
    ("escruri.dat", Outcome::Refused(400)),
    ("badvers.dat", Outcome::Refused(505)),
    ("mismatch01.dat", Outcome::Refused(400)),
    ("mismatch02.dat", Outcome::Refused(400)),
    ("bigcode.dat", Outcome::Dropped(ErrorKind::BadStatus)),
    ("insuf.dat", Outcome::Refused(400)),
    ("unkscm.dat", Outcome::Refused(416)),
    ("novelsc.dat", Outcome::Refused(416)),
    ("bext01.dat", Outcome::Refused(420)),
    ("invut.dat", Outcome::Refused(415)),
    ("multi01.dat", Outcome::Refused(400)),
    ("mcl01.dat", Outcome::Refused(400)),
    ("sdp01.dat", Outcome::Refused(406)),
    ("ipv6-bad.dat", Outcome::Refused(400)),
];

/// Where the index leaves the choice and we are liberal.
const LIBERAL: &[(&str, &str)] = &[
    ("lwsstart.dat", "the parts of the request line are clear"),
    ("trws.dat", "the parts of the request line are clear"),
    ("baddate.dat", "the Date of a request is not used"),
    (
        "regbadct.dat",
        "Contact is read as the RFC says for an address without <>: all parameters are the header's",
    ),
    ("badaspec.dat", "white space within <> is cut off"),
    (
        "baddn.dat",
        "a display name need not be made of tokens: devices send any charset",
    ),
];

fn path() -> sip::Path {
    sip::Path {
        peer: "192.0.2.77:40000".parse().expect("an address"),
        local: "192.0.2.1:5060".parse().expect("an address"),
        transport: Transport::Udp,
    }
}

/// Feeds one datagram; also checks what holds for every answer.
fn outcome(raw: &[u8]) -> (Outcome, Vec<Message>, Vec<Message>) {
    let mut endpoint = Endpoint::new(Config::default(), [3; 32]);
    endpoint.handle_message(Instant::now(), path(), Bytes::copy_from_slice(raw));
    let (mut outcome, mut requests, mut answers) = (None, Vec::new(), Vec::new());
    while let Some(output) = endpoint.poll_output() {
        match output {
            Output::Transmit(t) => {
                assert_eq!(t.path, path(), "answers go back the way the request came");
                let (answer, status) = match Message::parse(t.payload.clone(), Carrier::Stream) {
                    Ok(m) => {
                        let status = m.status();
                        (Some(m), status)
                    }
                    // The answer to a request without From, To or Call-ID has none either.
                    Err(e) => {
                        assert!(e.kind != ErrorKind::NotSip && e.kind != ErrorKind::BadHeaderLine);
                        let code = std::str::from_utf8(&t.payload[8..11]).expect("digits");
                        (None, code.parse().ok())
                    }
                };
                if let Some(status) = status.filter(|s| *s >= 200) {
                    outcome = Some(Outcome::Refused(status));
                }
                answers.extend(answer);
            }
            Output::Event(Event::Request(incoming)) => {
                outcome = Some(Outcome::Request);
                requests.push(incoming.message);
            }
            Output::Event(Event::Malformed {
                error, answered, ..
            }) => match answered {
                Some(status) => assert_eq!(outcome, Some(Outcome::Refused(status))),
                None => outcome = Some(Outcome::Dropped(error.kind)),
            },
            Output::Event(other) => panic!("unexpected {other:?}"),
        }
    }
    if endpoint.counters().stray == 1 {
        outcome = Some(Outcome::Stray);
    }
    (outcome.expect("something came of it"), requests, answers)
}

/// Whether the index allows an outcome.
fn allowed(file: &str, expected: &str, outcome: &Outcome) -> bool {
    let liberal = expected.contains("be liberal") && LIBERAL.iter().any(|(f, _)| *f == file);
    match outcome {
        Outcome::Request => {
            liberal
                || expected.starts_with("accept")
                || expected.starts_with("well-formed")
                || expected.starts_with("ignore/401")
                || expected.starts_with("reject 406") && expected.contains("or process")
        }
        Outcome::Stray => {
            expected.starts_with("discard") || expected.starts_with("accept; response")
        }
        Outcome::Refused(501) => expected.contains("501/405"),
        Outcome::Refused(status) => {
            let list = expected
                .strip_prefix("reject ")
                .or(expected.strip_prefix("accept or reject"));
            list.is_some_and(|l| l.split([' ', '/', ';']).any(|w| w == status.to_string()))
        }
        Outcome::Dropped(_) => expected.starts_with("discard"),
    }
}

fn walk(folder: &Path, count: usize) {
    let rows = vectors::table(&folder.join("INDEX.tsv"));
    assert_eq!(rows.len(), count);
    for row in rows {
        let (file, expected) = (row[0].as_str(), row[3].as_str());
        let raw = std::fs::read(folder.join(file)).expect("a file of the index");
        let (outcome, _, _) = outcome(&raw);
        let ours = OURS.iter().find(|(f, _)| *f == file);
        let ours = ours.map_or(Outcome::Request, |(_, o)| o.clone());
        assert_eq!(outcome, ours, "{file}: {expected}");
        assert!(
            allowed(file, expected, &outcome),
            "{file}: {outcome:?}, but {expected}"
        );
    }
}

#[test]
fn the_49_messages_of_rfc_4475() {
    if let Some(folder) = vectors::folder("sip-torture/rfc4475") {
        walk(&folder, 49);
    }
}

#[test]
fn the_12_messages_of_rfc_5118() {
    if let Some(folder) = vectors::folder("sip-torture/rfc5118") {
        walk(&folder, 12);
    }
}

/// One message of a folder, what the user got of it, and what was answered.
fn one(folder: &str, file: &str) -> Option<(Vec<u8>, Vec<Message>, Vec<Message>)> {
    let folder = vectors::folder(folder)?;
    let raw = std::fs::read(folder.join(file)).expect("a file of the index");
    let (_, requests, answers) = outcome(&raw);
    Some((raw, requests, answers))
}

#[test]
fn a_second_message_in_a_datagram_is_dropped_and_on_a_stream_it_is_the_next() {
    let Some((raw, requests, _)) = one("sip-torture/rfc4475", "dblreq.dat") else {
        return;
    };
    assert_eq!(requests.len(), 1);
    assert_eq!(requests[0].body(), b"");
    let mut framer = sip::Framer::new();
    framer.push(&raw);
    let mut methods = Vec::new();
    // The body of the INVITE is longer than it says; what is left of it is not looked at here.
    while methods.len() < 2
        && let Some(Ok(sip::framing::Frame::Message(bytes))) = framer.next()
    {
        let message = Message::parse(bytes, Carrier::Stream).expect("well-formed");
        methods.push(message.method().map(|m| m.as_str()));
    }
    assert_eq!(methods, [Some("REGISTER"), Some("INVITE")]);
}

#[test]
fn the_extensions_we_lack_are_listed() {
    let Some((_, _, answers)) = one("sip-torture/rfc4475", "bext01.dat") else {
        return;
    };
    assert_eq!(
        answers[0].header(HeaderName::Unsupported),
        Some(&b"nothingSupportsThis, nothingSupportsThisEither"[..])
    );
}

#[test]
fn folded_headers_give_up_their_values() {
    let Some((_, requests, _)) = one("sip-torture/rfc4475", "wsinv.dat") else {
        return;
    };
    let m = &requests[0];
    assert_eq!(m.cseq().map(|c| c.number), Some(9));
    assert_eq!(m.header(HeaderName::MaxForwards), Some(&b"0068"[..]));
    assert_eq!(m.to_tag(), Some("1918181833n"));
    assert_eq!(m.via_top().map(|v| v.host), Ok("192.0.2.2"));
    let hosts: Vec<_> = m
        .values(HeaderName::Via)
        .map(|v| sip::header::Via::parse(v).expect("well-formed").host)
        .collect();
    assert_eq!(
        hosts,
        ["192.0.2.2", "spindle.example.com", "192.168.255.111"]
    );
}

#[test]
fn escapes_are_left_as_they_are() {
    let Some((_, requests, _)) = one("sip-torture/rfc4475", "escnull.dat") else {
        return;
    };
    let contacts: Vec<_> = requests[0].values(HeaderName::Contact).collect();
    assert_eq!(contacts.len(), 2);
    assert_ne!(contacts[0], contacts[1]);
    let Some((_, requests, _)) = one("sip-torture/rfc4475", "esc01.dat") else {
        return;
    };
    assert_eq!(requests[0].uri_user(), Some("sips%3Auser%40example.com"));
}

#[test]
fn many_vias_come_back_in_the_answer() {
    let Some((raw, requests, _)) = one("sip-torture/rfc4475", "longreq.dat") else {
        return;
    };
    let count = requests[0].values(HeaderName::Via).count();
    assert_eq!(count, 34);
    let mut endpoint = Endpoint::new(Config::default(), [3; 32]);
    let now = Instant::now();
    endpoint.handle_message(now, path(), Bytes::from(raw));
    let mut last = None;
    while let Some(output) = endpoint.poll_output() {
        match output {
            Output::Event(Event::Request(incoming)) => {
                let answered = endpoint.respond(now, &incoming, sip::Response::new(486));
                assert_eq!(answered, Ok(()));
            }
            Output::Transmit(t) => last = Some(t.payload),
            Output::Event(other) => panic!("unexpected {other:?}"),
        }
    }
    let answer = Message::parse(last.expect("an answer"), Carrier::Stream).expect("well-formed");
    assert_eq!(
        (answer.status(), answer.values(HeaderName::Via).count()),
        (Some(486), count)
    );
}

#[test]
fn an_unknown_authorization_scheme_counts_as_none() {
    let Some((_, requests, _)) = one("sip-torture/rfc4475", "regaut01.dat") else {
        return;
    };
    assert!(requests[0].header(HeaderName::Authorization).is_some());
    assert_eq!(digest::Credentials::of(&requests[0]), None);
}

#[test]
fn ipv6_in_via_and_sdp() {
    let v6: IpAddr = "2001:db8::9:255".parse().expect("an address");
    for file in [
        "via-received-param-with-delim.dat",
        "via-received-param-no-delim.dat",
    ] {
        let Some((_, requests, _)) = one("sip-torture/rfc5118", file) else {
            return;
        };
        let via = requests[0].via_top().expect("well-formed");
        assert_eq!(
            via.received().and_then(|r| r.parse().ok()),
            Some(v6),
            "{file}"
        );
    }
    for file in [
        "ipv6-in-sdp.dat",
        "mult-ip-in-sdp.dat",
        "ipv4-mapped-ipv6.dat",
    ] {
        let Some((_, requests, _)) = one("sip-torture/rfc5118", file) else {
            return;
        };
        let sdp = sip::Sdp::parse(requests[0].body()).expect("SDP");
        assert!(sdp.media().all(|m| m.ip().is_some()), "{file}");
        assert!(
            sdp.media().any(|m| m.ip().is_some_and(|ip| ip.is_ipv6())),
            "{file}"
        );
        assert!(sdp.defects.is_empty(), "{file}: {:?}", sdp.defects);
    }
}
