//! Registration with digest: time per device for both round trips (REGISTER, 401, REGISTER with credentials, 200) in the
//! platform core, beside the floor of parsing the two requests, and memory per registered device.
//!
//! The device's own work (writing, hashing) is not in the figures.

use std::hint::black_box;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use criterion::{Criterion, criterion_group, criterion_main};
use gantry::gb28181::{Config, Output, Platform};
use gantry::sip::digest::Client;
use gantry::sip::{Carrier, Message, Method, Path, Transport};
use gantry::time::WallClock;

const URI: &str = "sip:34020000002000000001@3402000000";

fn platform(now: Instant) -> Platform {
    let config = Config {
        default_password: Some("12345678".into()),
        query_on_register: false,
        ..Config::new("34020000002000000001".parse().expect("a code"))
    };
    let wall = WallClock {
        at: now,
        unix_ms: 1_700_000_000_000,
    };
    Platform::new(config, [3; 32], now, wall)
}

fn path(n: u32) -> Path {
    Path {
        peer: SocketAddr::from(([10, (n >> 16) as u8, (n >> 8) as u8, n as u8], 5060)),
        local: SocketAddr::from(([10, 255, 0, 1], 5060)),
        transport: Transport::Udp,
    }
}

fn register(n: u32, cseq: u32, authorization: &str) -> Bytes {
    let peer = path(n).peer;
    let id = format!("3402000000132{n:07}");
    Bytes::from(format!(
        "REGISTER {URI} SIP/2.0\r\nVia: SIP/2.0/UDP {peer};rport;branch=z9hG4bK{n}x{cseq}\r\n\
         From: <sip:{id}@3402000000>;tag={n}\r\nTo: <sip:{id}@3402000000>\r\nCall-ID: c{n}@{peer}\r\n\
         CSeq: {cseq} REGISTER\r\nContact: <sip:{id}@{peer}>\r\n{authorization}Max-Forwards: 70\r\n\
         User-Agent: IP Camera\r\nExpires: 3600\r\nContent-Length: 0\r\n\r\n"
    ))
}

/// Registers device `n`; gives the time spent in the platform.
fn one(platform: &mut Platform, now: Instant, n: u32) -> Duration {
    let first = register(n, 1, "");
    let start = Instant::now();
    platform.handle_message(now, path(n), first);
    let answer = next_transmit(platform);
    let mut spent = start.elapsed();
    let challenge = Message::parse(answer, Carrier::Datagram).expect("our own SIP");
    assert_eq!(challenge.status(), Some(401));
    let mut client = Client::new(format!("3402000000132{n:07}"), "12345678");
    let (name, value) = client
        .answer(&challenge, Method::Register, URI, u64::from(n))
        .expect("a challenge");
    let second = register(n, 2, &format!("{}: {value}\r\n", name.as_str()));
    let start = Instant::now();
    platform.handle_message(now, path(n), second);
    let answer = next_transmit(platform);
    while platform.poll_output().is_some() {}
    spent += start.elapsed();
    let answer = Message::parse(answer, Carrier::Datagram).expect("our own SIP");
    assert_eq!(answer.status(), Some(200));
    spent
}

fn next_transmit(platform: &mut Platform) -> Bytes {
    loop {
        match platform.poll_output() {
            Some(Output::Transmit(t)) => return t.payload,
            Some(Output::Event(event)) => drop(black_box(event)),
            None => panic!("no answer"),
        }
    }
}

/// Resident bytes of this process, where the system tells them.
fn resident() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = text.split(' ').nth(1)?.parse().ok()?;
    Some(pages * 4096)
}

fn memory() {
    const DEVICES: u32 = 20_000;
    let before = resident();
    let mut now = Instant::now();
    let mut platform = platform(now);
    for n in 0..DEVICES {
        // 5,000 registrations in a second.
        now += Duration::from_micros(200);
        while platform.next_deadline().is_some_and(|at| at <= now) {
            platform.handle_timeout(now);
        }
        one(&mut platform, now, n);
    }
    let storm = resident();
    now += Duration::from_secs(60);
    while platform.next_deadline().is_some_and(|at| at <= now) {
        platform.handle_timeout(now);
    }
    if let (Some(before), Some(storm), Some(idle)) = (before, storm, resident()) {
        let per = |bytes: u64| bytes.saturating_sub(before) / u64::from(DEVICES);
        println!(
            "memory per device: {} B at the end of a storm of {DEVICES}, {} B idle a minute later (resident; the allocator \
             may keep what is free)",
            per(storm),
            per(idle)
        );
    }
    assert_eq!(platform.gauges().devices_online, DEVICES as usize);
}

fn registration(c: &mut Criterion) {
    memory();
    let mut group = c.benchmark_group("register");
    group.bench_function("both round trips", |b| {
        b.iter_custom(|iterations| {
            let mut now = Instant::now();
            let mut platform = platform(now);
            let mut spent = Duration::ZERO;
            for n in 0..iterations {
                now += Duration::from_micros(200);
                let start = Instant::now();
                while platform.next_deadline().is_some_and(|at| at <= now) {
                    platform.handle_timeout(now);
                }
                spent += start.elapsed();
                spent += one(&mut platform, now, (n % 50_000) as u32);
            }
            spent
        });
    });
    let requests = [
        register(1, 1, ""),
        register(
            1,
            2,
            "Authorization: Digest username=\"34020000001320000001\", realm=\"3402000000\", nonce=\"0123456789abcdef0123456789abcdef\", uri=\"sip:34020000002000000001@3402000000\", response=\"0123456789abcdef0123456789abcdef\", algorithm=MD5, qop=auth, nc=00000001, cnonce=\"0123456789abcdef\"\r\n",
        ),
    ];
    group.bench_function("floor: parse both requests", |b| {
        b.iter(|| {
            for raw in &requests {
                black_box(Message::parse(raw.clone(), Carrier::Datagram)).expect("our own SIP");
            }
        });
    });
    group.finish();
}

criterion_group!(benches, registration);
criterion_main!(benches);
