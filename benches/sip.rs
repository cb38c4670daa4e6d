//! Time per SIP message, beside the floors it is compared with: a search for the end of the head (`memchr`) and a copy of
//! the same bytes (`memcpy`).
//!
//! `register/whole` is what a registration costs the stack: parse, transaction, digest check, answer written and queued;
//! no socket.

use std::cell::RefCell;
use std::hint::black_box;
use std::time::{Duration, Instant};

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use gantry::sip::digest::{self, Authenticator, Credentials, Verdict};
use gantry::sip::{
    Carrier, Config, Endpoint, Event, HeaderName, Message, Method, Output, Path, Request, Response,
    Sdp, Transport,
};

const DEVICE: &str = "34020000001320000001";
const SERVER: &str = "sip:34020000002000000001@3402000000";

fn register() -> Vec<u8> {
    format!(
        "REGISTER {SERVER} SIP/2.0\r\nVia: SIP/2.0/UDP 192.168.1.64:5060;rport;branch=z9hG4bK1371463273\r\n\
         From: <sip:{DEVICE}@3402000000>;tag=2043466181\r\nTo: <sip:{DEVICE}@3402000000>\r\nCall-ID: 1011047669\r\n\
         CSeq: 2 REGISTER\r\nContact: <sip:{DEVICE}@192.168.1.64:5060>\r\nAuthorization: Digest username=\"{DEVICE}\", \
         realm=\"3402000000\", nonce=\"000000000000000100000000000000000000000000\", uri=\"{SERVER}\", \
         response=\"00000000000000000000000000000000\", algorithm=MD5, qop=auth, nc=00000001, cnonce=\"0a4f113b\"\r\n\
         Max-Forwards: 70\r\nUser-Agent: IP Camera\r\nExpires: 3600\r\nContent-Length: 0\r\n\r\n"
    )
    .into_bytes()
}

fn message() -> Vec<u8> {
    let mut body = b"<?xml version=\"1.0\" encoding=\"GB2312\"?>\r\n<Response>\r\n<CmdType>Catalog</CmdType>\r\n".to_vec();
    body.extend_from_slice(&b"<Item><Name>\xc9\xe3\xcf\xf1\xcd\xb7</Name></Item>\r\n".repeat(12));
    body.extend_from_slice(b"</Response>\r\n");
    let mut text = format!(
        "MESSAGE {SERVER} SIP/2.0\r\nVia: SIP/2.0/UDP 192.168.1.64:5060;rport;branch=z9hG4bK1371463274\r\n\
         From: <sip:{DEVICE}@3402000000>;tag=2043466182\r\nTo: <sip:34020000002000000001@3402000000>\r\n\
         Call-ID: 1011047670\r\nCSeq: 20 MESSAGE\r\nContent-Type: Application/MANSCDP+xml\r\nMax-Forwards: 70\r\n\
         User-Agent: IP Camera\r\nContent-Length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    text.extend_from_slice(&body);
    text
}

const SDP: &str = "v=0\r\no=34020000002000000001 0 0 IN IP4 192.168.1.10\r\ns=Play\r\nc=IN IP4 192.168.1.10\r\nt=0 0\r\n\
    m=video 30000 TCP/RTP/AVP 96 98 97\r\na=recvonly\r\na=rtpmap:96 PS/90000\r\na=rtpmap:98 H264/90000\r\n\
    a=rtpmap:97 MPEG4/90000\r\na=setup:passive\r\na=connection:new\r\ny=0100000001\r\n";

fn invite() -> Vec<u8> {
    format!(
        "INVITE sip:{DEVICE}@192.168.1.64:5060 SIP/2.0\r\nVia: SIP/2.0/UDP 192.168.1.10:5060;rport;branch=z9hG4bK8f2a\r\n\
         From: <{SERVER}>;tag=71f2\r\nTo: <sip:{DEVICE}@3402000000>\r\nCall-ID: 1f0c77@192.168.1.10\r\n\
         CSeq: 1 INVITE\r\nContact: <sip:34020000002000000001@192.168.1.10:5060>\r\nMax-Forwards: 70\r\n\
         Subject: {DEVICE}:0100000001,34020000002000000001:0\r\nContent-Type: application/sdp\r\n\
         Content-Length: {}\r\n\r\n{SDP}",
        SDP.len()
    )
    .into_bytes()
}

fn parse(c: &mut Criterion) {
    let mut group = c.benchmark_group("sip/parse");
    for (name, raw) in [
        ("register", register()),
        ("message", message()),
        ("invite", invite()),
    ] {
        let raw = Bytes::from(raw);
        group.throughput(Throughput::Bytes(raw.len() as u64));
        group.bench_function(BenchmarkId::new("message", name), |b| {
            b.iter(|| Message::parse(black_box(raw.clone()), Carrier::Datagram));
        });
        group.bench_function(BenchmarkId::new("floor-memchr", name), |b| {
            b.iter(|| memchr::memmem::find(black_box(&raw), b"\r\n\r\n"));
        });
        let mut copy = vec![0; raw.len()];
        group.bench_function(BenchmarkId::new("floor-memcpy", name), |b| {
            b.iter(|| black_box(&mut copy).copy_from_slice(black_box(&raw)));
        });
    }
    group.finish();
    c.bench_function("sip/sdp", |b| {
        b.iter(|| Sdp::parse(black_box(SDP.as_bytes())))
    });
}

fn path() -> Path {
    Path {
        peer: "192.168.1.64:5060".parse().expect("an address"),
        local: "192.168.1.10:5060".parse().expect("an address"),
        transport: Transport::Udp,
    }
}

/// The second round trip of a registration as a device sends it, for an endpoint that challenged it.
fn authorized(
    server: &mut Authenticator,
    client: &mut digest::Client,
    now: Instant,
    n: u64,
) -> Bytes {
    let challenge = &server.challenge(now, path().peer.ip(), false)[0];
    let refusal = format!(
        "SIP/2.0 401 Unauthorized\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:a@b>;tag=2\r\n\
         Call-ID: c\r\nCSeq: 1 REGISTER\r\nWWW-Authenticate: {challenge}\r\n\r\n"
    );
    let refusal = Message::parse(Bytes::from(refusal), Carrier::Datagram).expect("well-formed");
    let (_, value) = client
        .answer(&refusal, Method::Register, SERVER, n)
        .expect("a challenge");
    let mut device = Endpoint::new(Config::default(), [(n % 251) as u8; 32]);
    let mut request = Request::new(Method::Register, SERVER)
        .from(format!("<sip:{DEVICE}@3402000000>;tag={n:x}"))
        .call_id(format!("{n:x}"))
        .header(HeaderName::Authorization, value);
    request = request.contact(format!("<sip:{DEVICE}@192.168.1.64:5060>"));
    device.send_request(now, path(), request).expect("room");
    match device.poll_output() {
        Some(Output::Transmit(t)) => t.payload,
        other => panic!("unexpected {other:?}"),
    }
}

fn whole(c: &mut Criterion) {
    let now = Instant::now();
    let mut config = digest::Config::new("3402000000");
    config.nonce_lifetime = Duration::from_secs(3600);
    let server = RefCell::new(Authenticator::new(config, [5; 32], now));
    let mut client = digest::Client::new(DEVICE, "12345678");
    let mut endpoint = Endpoint::new(Config::default(), [9; 32]);
    let mut n = 0;
    c.bench_function("sip/register/whole", |b| {
        b.iter_batched(
            || {
                n += 1;
                authorized(&mut server.borrow_mut(), &mut client, now, n)
            },
            |raw| {
                endpoint.handle_message(now, path(), raw);
                let Some(Output::Event(Event::Request(incoming))) = endpoint.poll_output() else {
                    panic!("no request");
                };
                let credentials = Credentials::of(&incoming.message).expect("Digest");
                let method = incoming.message.method_text();
                let peer = incoming.path.peer.ip();
                let verdict =
                    server
                        .borrow_mut()
                        .verify(now, peer, method, &credentials, "12345678");
                assert_eq!(verdict, Verdict::Accepted);
                let response = Response::new(200)
                    .header(HeaderName::Date, "2026-11-21T10:00:00.000")
                    .header(HeaderName::Expires, "3600");
                endpoint
                    .respond(now, &incoming, response)
                    .expect("a live transaction");
                endpoint.poll_output()
            },
            criterion::BatchSize::SmallInput,
        );
    });
    let mut server = server.into_inner();
    let ip = path().peer.ip();
    c.bench_function("sip/digest/challenge", |b| {
        b.iter(|| server.challenge(now, ip, false))
    });
    let raw = authorized(&mut server, &mut client, now, 1);
    let message = Message::parse(raw, Carrier::Datagram).expect("well-formed");
    c.bench_function("sip/digest/verify", |b| {
        b.iter(|| {
            let credentials = Credentials::of(&message).expect("Digest");
            let verdict = server.verify(now, ip, b"REGISTER", &credentials, "12345678");
            assert!(matches!(verdict, Verdict::Accepted | Verdict::Replayed));
        });
    });
}

criterion_group!(benches, parse, whole);
criterion_main!(benches);
