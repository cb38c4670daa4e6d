//! What devices in the field do to signalling, by the numbers of `tests/FIELD-REPORTS.md`: raw messages into a platform
//! that lets its devices in without a password, and what it makes of them.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use gantry::gb28181::{
    CatalogItem, Command, Config, DeviceAuth, EndedBy, Event, Invite, InviteId, MediaTransport,
    OfflineReason, Output, Platform,
};
use gantry::id::{ChannelId, DeviceId, Ssrc};
use gantry::media::ingest::{self, Ingest};
use gantry::media::{rtcp, rtp};
use gantry::sip::{Carrier, ConnId, HeaderName, Message, Method, Path, Transport};
use gantry::time::WallClock;

use crate::media_allocations::bytes_held;

const KEEPALIVE: Duration = Duration::from_secs(60);

struct Bench {
    platform: Platform,
    now: Instant,
    sent: Vec<(SocketAddr, Message)>,
    events: Vec<Event>,
    calls: u32,
}

fn device(n: u32) -> DeviceId {
    let id = format!("340200000013200000{n:02}");
    DeviceId(id.parse().expect("20 digits"))
}

fn at(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

impl Bench {
    fn new() -> Bench {
        Bench::with_log(3, 0)
    }

    /// So many devices, and so many bytes for their last messages.
    fn with_log(devices: u32, sip_log_bytes: usize) -> Bench {
        let now = Instant::now();
        let wall = WallClock {
            at: now,
            unix_ms: 1_770_000_000_000,
        };
        let config = Config {
            query_on_register: false,
            keepalive: KEEPALIVE,
            sip_log_bytes,
            ..Config::new("34020000002000000001".parse().expect("a code"))
        };
        let mut bench = Bench {
            platform: Platform::new(config, [5; 32], now, wall),
            now,
            sent: Vec::new(),
            events: Vec::new(),
            calls: 0,
        };
        for n in 1..=devices {
            bench.command(Command::SetAuth {
                device: device(n),
                auth: DeviceAuth::NotNeeded,
            });
        }
        bench
    }

    fn drain(&mut self) {
        while let Some(output) = self.platform.poll_output() {
            match output {
                Output::Transmit(transmit) => {
                    let message = Message::parse(transmit.payload, Carrier::Datagram);
                    let message = message.expect("our own SIP");
                    self.sent.push((transmit.path.peer, message));
                }
                Output::Event(Event::Persist(_)) => {}
                Output::Event(event) => self.events.push(event),
            }
        }
    }

    fn command(&mut self, command: Command) {
        self.platform.handle_command(self.now, command);
        self.drain();
    }

    /// Gives bytes from an address; answers the final status that went back, if one did.
    fn give(&mut self, from: SocketAddr, raw: &[u8]) -> Option<u16> {
        let path = Path {
            peer: from,
            local: at("10.0.0.1:5060"),
            transport: Transport::Udp,
        };
        let before = self.sent.len();
        self.platform
            .handle_message(self.now, path, Bytes::copy_from_slice(raw));
        self.drain();
        let answers = self.sent[before..].iter().filter(|(to, _)| *to == from);
        answers
            .filter_map(|(_, m)| m.status())
            .filter(|s| *s >= 200)
            .last()
    }

    fn request(
        &mut self,
        method: &str,
        n: u32,
        from: SocketAddr,
        more: &str,
        body: &[u8],
    ) -> Vec<u8> {
        self.calls += 1;
        let (id, call) = (device(n), self.calls);
        let mut raw = format!(
            "{method} sip:34020000002000000001@3402000000 SIP/2.0\r\nVia: SIP/2.0/UDP {from};rport;branch=z9hG4bK{call}\r\n\
             From: <sip:{id}@3402000000>;tag=t{call}\r\nTo: <sip:{id}@3402000000>\r\nCall-ID: call-{call}\r\n\
             CSeq: {call} {method}\r\nMax-Forwards: 70\r\n{more}Content-Length: {}\r\n\r\n",
            body.len()
        )
        .into_bytes();
        raw.extend_from_slice(body);
        raw
    }

    fn register(&mut self, n: u32, from: SocketAddr) -> Option<u16> {
        let raw = self.request("REGISTER", n, from, "Expires: 3600\r\n", b"");
        self.give(from, &raw)
    }

    fn message(&mut self, n: u32, from: SocketAddr, body: &[u8]) -> Option<u16> {
        let more = "Content-Type: Application/MANSCDP+xml\r\n";
        let raw = self.request("MESSAGE", n, from, more, body);
        self.give(from, &raw)
    }

    fn keepalive(&mut self, n: u32, from: SocketAddr) -> Option<u16> {
        let body = format!(
            "<?xml version=\"1.0\"?>\r\n<Notify><CmdType>Keepalive</CmdType><SN>1</SN><DeviceID>{}</DeviceID>\
             <Status>OK</Status></Notify>",
            device(n)
        );
        self.message(n, from, body.as_bytes())
    }

    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(due) = self.platform.next_deadline().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            self.platform.handle_timeout(self.now);
            self.drain();
        }
        self.now = end;
    }

    /// Asks for the directory; answers the number of the question.
    fn ask_catalog(&mut self, n: u32) -> u32 {
        self.command(Command::QueryCatalog { device: device(n) });
        let (_, query) = self.sent.last().expect("a question").clone();
        let body = String::from_utf8_lossy(query.body()).into_owned();
        let (_, rest) = body.split_once("<SN>").expect("a number");
        let (sn, _) = rest.split_once("</SN>").expect("a number");
        sn.parse().expect("a number")
    }

    fn catalogs(&mut self) -> Vec<(Vec<CatalogItem>, bool)> {
        let events = std::mem::take(&mut self.events);
        let catalogs = events.into_iter().filter_map(|event| match event {
            Event::Catalog {
                channels, partial, ..
            } => Some((channels, partial)),
            _ => None,
        });
        catalogs.collect()
    }

    fn invite(&mut self, id: u64, n: u32, ssrc: u32) -> Message {
        self.command(Command::Invite(Invite {
            id: InviteId(id),
            device: device(n),
            channel: ChannelId(device(n).0),
            footage: gantry::gb28181::Footage::Live,
            ssrc: Ssrc(ssrc),
            transport: MediaTransport::Udp,
            media_port: 30_000,
            media_ip: None,
        }));
        let (_, invite) = self.sent.last().expect("an INVITE").clone();
        assert_eq!(invite.method(), Some(Method::Invite));
        invite
    }

    /// Answers an INVITE of ours with 200 and this SDP.
    fn accept(&mut self, invite: &Message, n: u32, from: SocketAddr, y: &str) {
        let sdp = format!(
            "v=0\r\no={} 0 0 IN IP4 10.0.0.9\r\ns=Play\r\nc=IN IP4 10.0.0.9\r\nt=0 0\r\nm=video 15060 RTP/AVP 96\r\n\
             a=sendonly\r\na=rtpmap:96 PS/90000\r\ny={y}\r\n",
            device(n)
        );
        let raw = answer_to(invite, n, &sdp);
        assert_eq!(self.give(from, &raw), None);
    }
}

fn answer_to(request: &Message, n: u32, sdp: &str) -> Vec<u8> {
    let mut out = "SIP/2.0 200 OK\r\n".to_owned();
    for (name, _, value) in request.headers() {
        let value = String::from_utf8_lossy(value);
        let tag = match name {
            HeaderName::Via | HeaderName::From | HeaderName::CallId | HeaderName::CSeq => "",
            HeaderName::To if value.contains(";tag=") => "",
            HeaderName::To => ";tag=dev",
            _ => continue,
        };
        out.push_str(&format!("{}: {value}{tag}\r\n", name.as_str()));
    }
    out.push_str(&format!(
        "Contact: <sip:{}@10.0.0.9:5060>\r\nContent-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{sdp}",
        device(n),
        sdp.len()
    ));
    out.into_bytes()
}

#[test]
fn field_05_a_report_that_comes_first_does_not_choose_the_stream() {
    let mut ingest = Ingest::new(ingest::Config::default());
    let now = Instant::now();
    let mut facts = Vec::new();
    let mut report = Vec::new();
    rtcp::write_sender_report(Ssrc(0xbad), &rtcp::SenderInfo::default(), &mut report);
    ingest.push(now, &report, &mut |output| facts.push(output));
    assert!(facts.is_empty() && ingest.is_silent());
    let mut writer = rtp::Writer::new(Ssrc(7), 96, 1);
    writer.write(&[0, 0, 1, 0xba], 0, 1_400, &mut |packet| {
        ingest.push(now, packet, &mut |output| facts.push(output));
    });
    assert!(matches!(
        facts[0],
        ingest::Output::Fact(ingest::Fact::FirstRtp { ssrc: Ssrc(7) })
    ));
}

#[test]
fn field_11_two_calls_with_one_ssrc_are_two_calls() {
    let mut bench = Bench::new();
    let from = at("10.0.0.9:5060");
    bench.register(1, from);
    bench.register(2, from);
    for (id, n) in [(1, 1), (2, 2)] {
        let invite = bench.invite(id, n, 200_000_001);
        bench.accept(&invite, n, from, "0200000001");
    }
    let answered = |e: &&Event| matches!(e, Event::InviteAnswered { .. });
    assert_eq!(bench.events.iter().filter(answered).count(), 2);
    bench.events.clear();
    bench.command(Command::EndInvite { id: InviteId(1) });
    let (_, bye) = bench.sent.last().expect("a BYE").clone();
    assert_eq!(bye.method(), Some(Method::Bye));
    let raw = answer_to(&bye, 1, "");
    bench.give(from, &raw);
    let ended: Vec<&Event> = bench.events.iter().collect();
    assert!(
        matches!(
            ended[..],
            [Event::InviteEnded {
                id: InviteId(1),
                by: EndedBy::Us
            }]
        ),
        "{ended:?}"
    );
    assert_eq!(bench.platform.gauges().invites, 1, "the other call goes on");
}

fn item(n: u32, name: &[u8], address: &[u8]) -> Vec<u8> {
    let id = format!("<Item><DeviceID>3402000000131000{n:04}</DeviceID><Name>");
    let mut item = id.into_bytes();
    item.extend_from_slice(name);
    item.extend_from_slice(b"</Name><Address>");
    item.extend_from_slice(address);
    item.extend_from_slice(b"</Address><Status>ON</Status></Item>");
    item
}

fn catalog(n: u32, sn: u32, total: u32, items: &[Vec<u8>]) -> Vec<u8> {
    let mut body = format!(
        "<?xml version=\"1.0\" encoding=\"GB2312\"?>\r\n<Response><CmdType>Catalog</CmdType><SN>{sn}</SN>\
         <DeviceID>{}</DeviceID><SumNum>{total}</SumNum><DeviceList Num=\"{}\">",
        device(n),
        items.len()
    )
    .into_bytes();
    body.extend(items.concat());
    body.extend_from_slice(b"</DeviceList></Response>");
    body
}

#[test]
fn field_32_bad_bytes_in_one_place_cost_that_place_alone() {
    let mut bench = Bench::new();
    let from = at("10.0.0.9:5060");
    bench.register(1, from);
    let sn = bench.ask_catalog(1);
    let (gbk, rare) = (&[0xc3, 0xc5, 0xbf, 0xda][..], &[0x81, 0x30, 0x81, 0x30][..]);
    let items = [
        item(1, gbk, b"A & B"),
        item(2, "门口".as_bytes(), &[0xff, 0xfe, 0, 0x80]),
        item(3, rare, b"1 < 2"),
        item(4, b"plain", b""),
    ];
    let status = bench.message(1, from, &catalog(1, sn, 4, &items));
    assert_eq!(status, Some(200));
    let catalogs = bench.catalogs();
    let [(channels, false)] = &catalogs[..] else {
        panic!("{catalogs:?}");
    };
    let names: Vec<&str> = channels.iter().map(|c| c.name.as_str()).collect();
    assert_eq!(
        (names.len(), names[0], names[1], names[3]),
        (4, "门口", "门口", "plain")
    );
}

#[test]
fn field_33_a_directory_split_over_datagrams_that_are_no_sip_is_put_together() {
    let mut bench = Bench::new();
    let from = at("10.0.0.9:5060");
    bench.register(1, from);
    let sn = bench.ask_catalog(1);
    let items: Vec<Vec<u8>> = (1..=10).map(|n| item(n, b"camera", b"")).collect();
    let body = catalog(1, sn, 10, &items);
    let more = "Content-Type: Application/MANSCDP+xml\r\n";
    let raw = bench.request("MESSAGE", 1, from, more, &body);
    let pieces: Vec<&[u8]> = raw.chunks(700).collect();
    assert!(pieces.len() > 2);
    let answers: Vec<Option<u16>> = pieces.iter().map(|p| bench.give(from, p)).collect();
    assert_eq!(
        answers.last(),
        Some(&Some(200)),
        "answered when it is whole"
    );
    assert!(answers[..answers.len() - 1].iter().all(Option::is_none));
    // Our answer was lost: the same once more is answered, and changes nothing.
    let again: Vec<Option<u16>> = pieces.iter().map(|p| bench.give(from, p)).collect();
    assert_eq!(again.last(), Some(&Some(200)));
    assert_eq!(bench.keepalive(1, from), Some(200));
    bench.pass(Duration::from_secs(60));
    let catalogs = bench.catalogs();
    let (channels, partial) = catalogs.last().expect("an end");
    assert_eq!((channels.len(), *partial), (10, false));
    let counters = bench.platform.counters();
    assert_eq!(
        (counters.malformed_sip, bench.platform.messages_joined()),
        (0, 2)
    );
    assert_eq!(bench.platform.gauges().catalogs_coming, 0);
}

#[test]
fn field_33_a_split_directory_of_which_a_datagram_is_lost_keeps_what_came_and_says_it_is_partial() {
    // What lies before the hole is read; of the first datagram alone that is no whole channel.
    for lost in 2..4 {
        let mut bench = Bench::new();
        let from = at("10.0.0.9:5060");
        bench.register(1, from);
        let sn = bench.ask_catalog(1);
        let items: Vec<Vec<u8>> = (1..=30).map(|n| item(n, b"camera", b"")).collect();
        let body = catalog(1, sn, 30, &items);
        let more = "Content-Type: Application/MANSCDP+xml\r\n";
        let raw = bench.request("MESSAGE", 1, from, more, &body);
        assert!(raw.len() > 4 * 700);
        for (n, piece) in raw.chunks(700).enumerate() {
            if n != lost {
                bench.give(from, piece);
            }
        }
        // The next message of the same device works, and does not wait for the rest.
        assert_eq!(bench.keepalive(1, from), Some(200));
        bench.pass(Duration::from_secs(60));
        let catalogs = bench.catalogs();
        // It is asked for again, and this device says nothing more.
        let (channels, partial) = catalogs.first().expect("an end");
        assert!(*partial && channels.len() < 30, "{} of 30", channels.len());
        assert!(!channels.is_empty(), "what came is kept");
        assert_eq!(bench.platform.gauges().catalogs_coming, 0);
    }
}

#[test]
fn field_35_an_unknown_command_is_answered_with_200() {
    let mut bench = Bench::new();
    let from = at("10.0.0.9:5060");
    bench.register(1, from);
    let body = format!(
        "<?xml version=\"1.0\"?><Notify><CmdType>DataTransfer</CmdType><SN>7</SN><DeviceID>{}</DeviceID><Blob>x</Blob></Notify>",
        device(1)
    );
    assert_eq!(bench.message(1, from, body.as_bytes()), Some(200));
    assert_eq!(bench.platform.counters().unknown_cmd_type, 1);
}

#[test]
fn field_38_status_codes_that_do_not_exist_disturb_nobody() {
    let mut bench = Bench::new();
    let from = at("10.0.0.9:5060");
    bench.register(1, from);
    let held = bytes_held();
    for n in 0..5_000u32 {
        let code = [0, 7, 99, 700, 999, 1_000, 65_536][n as usize % 7];
        let raw = format!(
            "SIP/2.0 {code} Odd\r\nVia: SIP/2.0/UDP 10.0.0.1:5060;branch=z9hG4bKx{n}\r\nFrom: <sip:a@b>;tag=1\r\n\
             To: <sip:b@b>;tag=2\r\nCall-ID: {n}\r\nCSeq: 1 MESSAGE\r\nContent-Length: 0\r\n\r\n"
        );
        assert_eq!(bench.give(from, raw.as_bytes()), None);
    }
    assert!(bytes_held() - held < 64 << 10, "nothing is kept of them");
    assert_eq!(bench.keepalive(1, from), Some(200));
}

#[test]
fn field_39_a_storm_of_registers_is_one_device() {
    let mut bench = Bench::new();
    let from = at("10.0.0.9:5060");
    for _ in 0..1_000 {
        assert_eq!(bench.register(1, from), Some(200));
    }
    let news = |e: &&Event| matches!(e, Event::Online { first: true, .. });
    assert_eq!(bench.events.iter().filter(news).count(), 1);
    let gauges = bench.platform.gauges();
    assert_eq!((gauges.devices_online, gauges.queries_active), (1, 0));
    // Two Via headers, and hosts in From and Contact that are nobody's.
    let raw = bench.request(
        "REGISTER",
        2,
        from,
        "Expires: 60\r\nContact: <sip:x@0.0.0.0:0>\r\n",
        b"",
    );
    let raw = String::from_utf8(raw).expect("text").replace(
        "Max-Forwards",
        "Via: SIP/2.0/UDP 198.51.100.3:5060;branch=z9hG4bKproxy\r\nMax-Forwards",
    );
    assert_eq!(bench.give(from, raw.as_bytes()), Some(200));
    let vias = bench
        .sent
        .last()
        .map(|(_, m)| m.values(HeaderName::Via).count());
    assert_eq!(vias, Some(2), "all Vias come back");
}

#[test]
fn field_42_any_packet_is_a_heartbeat_and_only_silence_is_none() {
    let mut bench = Bench::new();
    let from = at("10.0.0.9:5060");
    bench.register(1, from);
    for _ in 0..20 {
        bench.pass(KEEPALIVE * 2);
        // No Keepalive at all: a position, an alarm, an unknown word.
        let body = format!(
            "<?xml version=\"1.0\"?><Notify><CmdType>Odd</CmdType><SN>1</SN><DeviceID>{}</DeviceID></Notify>",
            device(1)
        );
        assert_eq!(bench.message(1, from, body.as_bytes()), Some(200));
    }
    assert_eq!(bench.platform.gauges().devices_online, 1);
    bench.pass(KEEPALIVE * 4);
    let gone = |e: &Event| {
        matches!(
            e,
            Event::Offline {
                why: OfflineReason::KeepaliveMissed,
                ..
            }
        )
    };
    assert_eq!(bench.events.iter().filter(|e| gone(e)).count(), 1);
}

#[test]
fn field_45_after_a_router_comes_back_questions_go_to_the_new_address() {
    let mut bench = Bench::new();
    let (old, port, new) = (
        at("198.51.100.7:5060"),
        at("198.51.100.7:61000"),
        at("203.0.113.9:5060"),
    );
    bench.register(1, old);
    // Another port of the same router: a Keepalive is enough.
    assert_eq!(bench.keepalive(1, port), Some(200));
    bench.ask_catalog(1);
    assert_eq!(bench.sent.last().map(|(to, _)| *to), Some(port));
    // Another address: it registers anew, as it does when its Keepalive is refused.
    assert_eq!(bench.keepalive(1, new), Some(403));
    assert_eq!(bench.register(1, new), Some(200));
    assert_eq!(bench.keepalive(1, new), Some(200));
    bench.pass(Duration::from_secs(40));
    bench.ask_catalog(1);
    assert_eq!(bench.sent.last().map(|(to, _)| *to), Some(new));
}

#[test]
fn field_44_a_request_whose_answer_was_lost_with_its_connection_is_answered_on_the_next() {
    let mut bench = Bench::new();
    let from = at("10.0.0.9:40000");
    let raw = bench.request("REGISTER", 1, from, "Expires: 3600\r\n", b"");
    for conn in 1..=2 {
        let path = Path {
            peer: from,
            local: at("10.0.0.1:5060"),
            transport: Transport::Tcp(ConnId(conn)),
        };
        bench.sent.clear();
        for _ in 0..2 {
            // Twice on one connection is a repetition.
            let raw = Bytes::copy_from_slice(&raw);
            bench.platform.handle_message(bench.now, path, raw);
            bench.drain();
        }
        let answers: Vec<_> = bench.sent.iter().filter_map(|(_, m)| m.status()).collect();
        assert_eq!(answers, [200u16], "connection {conn}");
    }
}

#[test]
fn field_57_broken_reports_and_packets_leave_nothing_behind() {
    let mut ingest = Ingest::new(ingest::Config::default());
    let now = Instant::now();
    let mut seed = 1u32;
    let mut push = |ingest: &mut Ingest, rounds: u32| {
        for n in 0..rounds {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let mut packet = vec![
                0x80 | (seed >> 9) as u8 & 0x1f,
                200 + (seed >> 20) as u8 % 6,
            ];
            packet.extend((0..seed % 200).map(|i| (seed >> (i % 24)) as u8));
            let at = now + Duration::from_millis(u64::from(n));
            ingest.push(at, &packet, &mut |_| {});
            packet[1] = 96;
            ingest.push(at, &packet, &mut |_| {});
            ingest.handle_timeout(at, &mut |_| {});
        }
    };
    push(&mut ingest, 20_000);
    let held = bytes_held();
    push(&mut ingest, 50_000);
    assert!(
        bytes_held() - held < 512 << 10,
        "{} bytes more",
        bytes_held() - held
    );
}

#[test]
fn field_d01_headers_in_any_order_and_spacing_are_read() {
    let mut bench = Bench::new();
    let from = at("10.0.0.9:5060");
    let raw = format!(
        "REGISTER sip:34020000002000000001@3402000000 SIP/2.0\r\nCSeq:1 REGISTER\r\nCall-ID:a1\r\n\
         Contact:<sip:x@10.0.0.9:5060>\r\nContent-Length:   0\r\nExpires:3600\r\nFrom:<sip:{id}@3402000000>;tag=1\r\n\
         Max-Forwards:70\r\nTo:<sip:{id}@3402000000>\r\nUser-Agent:x\r\n\
         Via:SIP/2.0/UDP 10.0.0.9:5060;rport;branch=z9hG4bKa\r\n\r\n",
        id = device(1)
    );
    assert_eq!(bench.give(from, raw.as_bytes()), Some(200));
    assert_eq!(bench.platform.gauges().devices_online, 1);
}

#[test]
fn field_d02_branches_without_the_cookie_and_vias_on_one_line_are_answered() {
    let mut bench = Bench::new();
    let from = at("10.0.0.9:5060");
    let id = device(1);
    let raw = format!(
        "REGISTER sip:34020000002000000001@3402000000 SIP/2.0\r\n\
         Via: SIP/2.0/UDP 10.0.0.9:5060;branch=z3hG9bK77, SIP/2.0/UDP 10.9.9.9:5060;branch=x\r\n\
         From: <sip:{id}@x>;tag=1\r\nTo: <sip:{id}@x>\r\nCall-ID: a\r\nCSeq: 1 REGISTER\r\nExpires: 60\r\nContent-Length: 0\r\n\r\n"
    );
    assert_eq!(bench.give(from, raw.as_bytes()), Some(200));
    // Sent again it is known again, though nothing marks it.
    let before = bench.platform.counters().registers_ok;
    assert_eq!(bench.give(from, raw.as_bytes()), Some(200));
    assert_eq!(bench.platform.counters().registers_ok, before);
}

#[test]
fn field_d03_hosts_and_codes_of_other_forms_register() {
    let mut bench = Bench::new();
    let from = at("10.0.0.9:5060");
    let id = device(1);
    for (n, (from_host, to)) in [
        ("10.0.0.9", format!("{id}@10.0.0.9")),
        ("3402000000.spvmn.cn", format!("{id}@3402000000.spvmn.cn")),
        ("3402000000", "3402000000@3402000000".to_owned()),
    ]
    .into_iter()
    .enumerate()
    {
        let raw = format!(
            "REGISTER sip:34020000002000000001@3402000000 SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.9:5060;rport;branch=z9hG4bKd{n}\r\n\
             Route: <sip:34020000002000000001@10.0.0.1:5060;lr>\r\nFrom: <sip:{id}@{from_host}>;tag=1\r\nTo: <sip:{to}>\r\n\
             Call-ID: d{n}\r\nCSeq: {} REGISTER\r\nExpires: 60\r\nContent-Length: 0\r\n\r\n",
            n + 1
        );
        assert_eq!(bench.give(from, raw.as_bytes()), Some(200), "{to}");
    }
    let short = DeviceId("340200000013200099".parse().expect("18 digits"));
    bench.command(Command::SetAuth {
        device: short,
        auth: DeviceAuth::NotNeeded,
    });
    let raw = bench.request("REGISTER", 1, from, "Expires: 60\r\n", b"");
    let text = String::from_utf8(raw).expect("text");
    let raw = text.replace(&id.to_string(), &short.to_string());
    assert_eq!(bench.give(from, raw.as_bytes()), Some(200));
    assert_eq!(bench.platform.gauges().devices_online, 2);
}

#[test]
fn field_d09_what_nobody_asked_for_is_answered_and_harms_nothing() {
    let mut bench = Bench::new();
    let from = at("10.0.0.9:5060");
    // A Keepalive before any REGISTER of somebody unknown is refused, so that it registers.
    assert_eq!(bench.keepalive(1, from), Some(403));
    bench.register(1, from);
    let alarm = "<?xml version=\"1.0\"?><Notify><CmdType>Alarm</CmdType><SN>1</SN>\
                 <DeviceID>34020000001340000007</DeviceID><AlarmPriority>1</AlarmPriority></Notify>";
    assert_eq!(bench.message(1, from, alarm.as_bytes()), Some(200));
    let unasked = catalog(1, 99, 1, &[item(1, b"camera", b"")]);
    assert_eq!(bench.message(1, from, &unasked), Some(200));
    let position = "<?xml version=\"1.0\"?><Notify><CmdType>MobilePosition</CmdType><SN>1</SN>\
                    <DeviceID>34020000001320000001</DeviceID><Longitude>1.0</Longitude><Latitude>2.0</Latitude></Notify>";
    let more = "Event: Catalog;id=55\r\nSubscription-State: active\r\nContent-Type: Application/MANSCDP+xml\r\n";
    let raw = bench.request("NOTIFY", 1, from, more, position.as_bytes());
    assert!(matches!(bench.give(from, &raw), Some(200 | 481)));
    assert_eq!(bench.platform.gauges().devices_online, 1);
}

/// What the log of messages costs in real memory is what it was given, whatever comes: exchanges of every kind, over UDP and
/// refused, long bodies and short ones.
#[test]
fn the_log_of_messages_costs_no_more_memory_than_it_was_given() {
    const LOG_BYTES: usize = 2 << 20;
    const DEVICES: u32 = 90;
    let held = |log: usize| {
        let before = bytes_held();
        let mut bench = Bench::with_log(DEVICES, log);
        for round in 0..30 {
            for n in 1..=DEVICES {
                let from = SocketAddr::from(([10, 0, 1, n as u8], 5060));
                assert_eq!(bench.register(n, from), Some(200));
                assert_eq!(bench.keepalive(n, from), Some(200));
                let long = "x".repeat(200 + (round * 97 % 40) * 100);
                let body = format!(
                    "<?xml version=\"1.0\"?><Notify><CmdType>DataTransfer</CmdType><SN>7</SN><DeviceID>{}</DeviceID><Blob>{long}</Blob></Notify>",
                    device(n)
                );
                assert_eq!(bench.message(n, from, body.as_bytes()), Some(200));
                let raw = bench.request("INVITE", n, from, "", b"");
                assert_eq!(bench.give(from, &raw), Some(405));
                bench.sent.clear();
                bench.events.clear();
            }
            bench.pass(KEEPALIVE / 2);
            bench.sent.clear();
            bench.events.clear();
        }
        // The answers kept for retransmissions are gone by now.
        bench.pass(KEEPALIVE);
        bytes_held() - before
    };
    let (with, without) = (held(LOG_BYTES), held(0));
    let log = (with - without) as usize;
    println!("{log} bytes for a log of {LOG_BYTES}");
    assert!(log <= LOG_BYTES + LOG_BYTES / 4, "{log} of {LOG_BYTES}");
    assert!(log >= LOG_BYTES / 4, "{log}: it was used");
}
