//! A flood of rubbish at the SIP port beside devices that are registered and a stream that plays: the devices stay online,
//! the stream loses nothing, memory has its bound.
//!
//! Short and gentle by default; `tests/load/flood.sh` runs it as long and as hard as a node has to stand
//! (`GANTRY_FLOOD_SECONDS`, `GANTRY_FLOOD_PER_S`).

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use gantry::net::outbox::Outbox;

use super::flv::Flv;
use super::node::{Devices, Node};
use super::player::HttpStream;

/// Between two pictures of the simulated devices.
const PICTURE_MS: u32 = 40;
/// How much of the rubbish that was asked for must have been sent, in percent: else nothing was shown.
const SENT_PERCENT_MIN: u64 = 95;
/// Memory that a flood may cost: tables of sources, transactions, and what the allocator keeps.
const GROWTH_BYTES_MAX: u64 = 64 << 20;

const DEVICES: usize = 10;

/// What strangers send, by number: random bytes, a SIP message cut short, REGISTERs of users who do not exist, calls, and
/// messages in the name of unknown devices.
fn rubbish(n: u64) -> Bytes {
    let mut state = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut random = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let tag = random();
    let head = |method: &str, user: &str, more: &str| {
        format!(
            "{method} sip:34020000002000000001@3402000000 SIP/2.0\r\n\
             Via: SIP/2.0/UDP 127.0.0.1:5060;rport;branch=z9hG4bK{tag:x}\r\n\
             From: <sip:{user}@3402000000>;tag={tag:x}\r\nTo: <sip:{user}@3402000000>\r\n\
             Call-ID: {tag:x}\r\nCSeq: 1 {method}\r\nMax-Forwards: 70\r\n{more}Content-Length: 0\r\n\r\n"
        )
    };
    let unknown = format!("3402000000132{:07}", tag % 9_000_000 + 1_000_000);
    let text = match n % 5 {
        0 => {
            return (0..64).flat_map(|_| random().to_le_bytes()).collect();
        }
        1 => {
            let whole = head("REGISTER", &unknown, "Expires: 3600\r\n");
            whole[..whole.len() / 2].to_owned()
        }
        2 => head("REGISTER", &unknown, "Expires: 3600\r\n"),
        3 => head("INVITE", "100", "Contact: <sip:100@127.0.0.1>\r\n"),
        _ => head("MESSAGE", &unknown, ""),
    };
    Bytes::from(text)
}

/// What a viewer was given: nothing may be missing between two pictures.
#[derive(Default)]
struct Played {
    flv: Flv,
    bytes: usize,
}

impl Played {
    fn take(&mut self, piece: &[u8]) {
        self.bytes += piece.len();
        self.flv.push(piece);
    }

    /// Times of the pictures, in milliseconds. The configuration in front of them is none.
    fn pictures(&self) -> Vec<u32> {
        let pictures = self.flv.tags(9).filter(|tag| match tag.body[0] & 0x80 {
            0 => tag.body[1] == 1,
            _ => tag.body[0] & 0x0f != 0,
        });
        pictures.map(|tag| tag.time_ms).collect()
    }
}

/// Sends `per_s` datagrams a second from `ports` ports until `stop`; counts them.
fn flood(to: SocketAddr, per_s: u64, ports: usize, stop: &AtomicBool, sent: &AtomicU64) {
    let sockets: Vec<UdpSocket> = (0..ports)
        .map(|_| UdpSocket::bind("127.0.0.1:0").expect("a free port"))
        .collect();
    let local = sockets[0].local_addr().expect("bound");
    let pieces: Vec<Bytes> = (0..5_000).map(rubbish).collect();
    let mut outbox = Outbox::new(local);
    let began = Instant::now();
    let mut n = 0_u64;
    while !stop.load(Ordering::Relaxed) {
        let due = (began.elapsed().as_secs_f64() * per_s as f64) as u64;
        while n < due {
            n += 1;
            let piece = pieces[n as usize % pieces.len()].clone();
            if outbox.push(to, piece) {
                let socket = &sockets[(n / 16) as usize % ports];
                let (lost, _) = outbox.flush(socket);
                sent.fetch_add(16 - lost as u64, Ordering::Relaxed);
            }
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(default)
}

fn lost(node: &Node) -> f64 {
    node.metric("gantry_rtp_lost_total")
}

#[test]
fn devices_and_streams_stand_a_flood_of_rubbish() {
    let seconds = number("GANTRY_FLOOD_SECONDS", 2);
    let per_s = number("GANTRY_FLOOD_PER_S", 5_000);
    // A device is given up after 5 s of silence here, so that a flood of ten would show it.
    let node = Node::start(&[
        ("GANTRY_SIP_KEEPALIVE_S", "5"),
        ("GANTRY_SIP_KEEPALIVE_MISSES", "1"),
        ("GANTRY_LOG_FILTER", "info"),
    ]);
    let count = DEVICES.to_string();
    let devices = Devices::start(&node, &["--count", &count, "--keepalive", "2"]);
    let token = node.login();
    node.wait_for_metric("gantry_devices", "state=\"online\"", |n| {
        n == DEVICES as f64
    });
    let list = node.post(
        "/bvcsp/v1/pu/list",
        Some(&token),
        &serde_json::json!({ "page": 0, "pageSize": 20, "needStatus": true }),
    );
    let puid = list["data"][0]["id"].as_str().expect("a device").to_owned();
    node.wait_for_device(&token, &puid, 1);
    let mut picture = HttpStream::open(node.http, &format!("/live/{puid}/0.flv?token={token}"));
    assert_eq!(picture.status, 200, "{}", picture.head);
    let mut shown = Played::default();
    while shown.pictures().is_empty() {
        shown.take(&picture.some());
    }
    let stop = Arc::new(AtomicBool::new(false));
    let watcher = {
        let stop = stop.clone();
        std::thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                shown.take(&picture.some());
            }
            shown
        })
    };

    let keepalives = node.metric_where("gantry_keepalives_total", "known");
    let frames = node.metric("gantry_frames_total");
    let (rss, lost_before) = (node.resident_bytes(), lost(&node));
    let sent = Arc::new(AtomicU64::new(0));
    let began = Instant::now();
    // Half of it from one port, half from many.
    let senders: Vec<_> = [1, 200]
        .into_iter()
        .map(|ports| {
            let (stop, sent, to) = (stop.clone(), sent.clone(), node.sip);
            std::thread::spawn(move || flood(to, per_s / 2, ports, &stop, &sent))
        })
        .collect();
    let mut peak = rss;
    while began.elapsed() < Duration::from_secs(seconds) {
        std::thread::sleep(Duration::from_millis(250));
        peak = peak.max(node.resident_bytes());
        let online = node.metric_where("gantry_devices", "state=\"online\"");
        assert_eq!(online, DEVICES as f64, "after {:?}", began.elapsed());
    }
    let took = began.elapsed().as_secs_f64();
    stop.store(true, Ordering::Relaxed);
    for sender in senders {
        sender.join().expect("it does not panic");
    }
    let shown = watcher.join().expect("the stream goes on");
    let pictures = shown.pictures();
    let heard = node.wait_for_metric("gantry_keepalives_total", "known", |n| n > keepalives);
    let sent = sent.load(Ordering::Relaxed);
    let played = node.metric("gantry_frames_total") - frames;
    println!(
        "flood: {sent} datagrams in {took:.1} s ({:.0}/s), {} dropped unread, {} dropped by the kernel; {} keepalives, \
         {played} frames, {} RTP packets lost, {} pictures and {} bytes shown; memory {} KiB, at most {} KiB",
        sent as f64 / took,
        node.metric("gantry_sip_dropped_total"),
        node.metric_where("gantry_kernel_drops_total", "socket=\"sip\""),
        heard - keepalives,
        lost(&node) - lost_before,
        pictures.len(),
        shown.bytes,
        rss >> 10,
        peak >> 10,
    );
    let wanted = (took * per_s as f64) as u64;
    assert!(
        sent * 100 >= wanted * SENT_PERCENT_MIN,
        "{sent} of {wanted} datagrams were sent"
    );
    let steps = pictures.windows(2).map(|two| two[1] - two[0]);
    let holes: Vec<u32> = steps.filter(|ms| *ms != PICTURE_MS).collect();
    assert!(
        holes.is_empty(),
        "pictures are missing: steps of {holes:?} ms"
    );
    // It kept up: the sender has its own clock, and half of the time is far from what a busy machine makes of it.
    let shown_ms = pictures.last().expect("it began") - pictures[0];
    assert!(
        u64::from(shown_ms) >= seconds * 500,
        "{shown_ms} ms of pictures in {took:.1} s"
    );
    assert_eq!(lost(&node), lost_before, "the stream loses nothing");
    assert!(played > 0.0);
    assert!(node.metric("gantry_sip_dropped_total") > 0.0);
    assert!(peak - rss < GROWTH_BYTES_MAX, "{} KiB", (peak - rss) >> 10);
    drop(devices);
}
