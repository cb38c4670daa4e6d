//! The node itself against Chromium: with AES-GCM and AES-CM, with a twentieth of the packets lost, and over ICE-TCP alone.
//!
//! The browser's page is the one of `webrtc_chromium`; its offers go to the node's WHEP resource. Loss is made by a relay
//! between the two, from a seed. What counts is what the browser says it has decoded. Without Chromium the tests say that
//! they were skipped.

use std::collections::HashMap;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use super::node::PATIENCE;
use super::webrtc_chromium::{Chromium, Request, http};
use super::whep::{PUID, stage_with};

/// What the browser said, as pairs of a name and a number or word.
struct Said(String);

impl Said {
    fn number(&self, name: &str) -> i64 {
        let mut words = self.0.split(' ');
        words.by_ref().find(|w| *w == name);
        words.next().and_then(|w| w.parse().ok()).unwrap_or(-1)
    }
}

/// Plays the node's camera in Chromium; `answer` may change the node's answer on its way.
fn play(variables: &[(&str, &str)], answer: impl Fn(String) -> String) -> Option<Said> {
    let (node, _devices, token, _runtime) = stage_with(variables);
    let web = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}/", web.local_addr().expect("bound"));
    let (tx, requests) = mpsc::channel();
    std::thread::spawn(move || http(web, tx));
    let Some(_browser) = Chromium::start(&url) else {
        println!("skipped: no Chromium");
        return None;
    };
    loop {
        match requests
            .recv_timeout(PATIENCE)
            .expect("the browser goes on")
        {
            Request::Offer(offer, reply) => {
                let path = format!("/whep/{PUID}/0");
                let opened = node.request("POST", &path, Some(&token), "application/sdp", &offer);
                let text = String::from_utf8(opened.body).expect("SDP is text");
                assert_eq!(opened.status, 201, "{text}");
                reply.send(answer(text)).expect("the browser waits");
            }
            Request::Result(text) => {
                println!("{text}");
                let said = Said(text);
                assert!(said.number("frames") >= 100, "{}", said.0);
                assert_eq!(said.number("streams"), 1);
                return Some(said);
            }
        }
    }
}

/// The answer with other candidate lines.
fn with_candidates(answer: &str, keep: impl Fn(&str) -> Option<String>) -> String {
    let lines = answer.lines().filter_map(|line| {
        if line.starts_with("a=candidate:") {
            keep(line)
        } else {
            Some(line.to_owned())
        }
    });
    lines.map(|line| line + "\r\n").collect()
}

#[test]
fn chromium_plays_from_the_node_over_gcm() {
    let Some(said) = play(&[], |a| a) else { return };
    assert!(said.0.contains("srtp SRTP_AEAD_AES_128_GCM transport udp"));
}

#[test]
fn chromium_plays_from_the_node_over_aes_cm() {
    let Some(said) = play(&[("GANTRY_WEBRTC_AES_GCM", "false")], |a| a) else {
        return;
    };
    assert!(
        said.0
            .contains("srtp SRTP_AES128_CM_HMAC_SHA1_80 transport udp")
    );
}

#[test]
fn chromium_plays_from_the_node_over_ice_tcp_alone() {
    let only_tcp = |answer: String| {
        with_candidates(&answer, |line| {
            line.contains(" tcp ").then(|| line.to_owned())
        })
    };
    let Some(said) = play(&[], only_tcp) else {
        return;
    };
    assert!(said.0.contains("srtp SRTP_AEAD_AES_128_GCM transport tcp"));
}

#[test]
fn chromium_plays_from_the_node_through_a_path_that_loses_five_percent() {
    let relay = Relay::start();
    let through = |answer: String| {
        let node = answer
            .lines()
            .filter(|l| l.starts_with("a=candidate:") && l.contains(" udp "))
            .find_map(|l| {
                let fields: Vec<&str> = l.split(' ').collect();
                format!("{}:{}", fields[4], fields[5]).parse().ok()
            });
        relay.lead_to(node.expect("a candidate"));
        let line = format!(
            "a=candidate:1 1 udp 2130706431 127.0.0.1 {} typ host",
            relay.at.port()
        );
        let line = std::cell::RefCell::new(Some(line));
        with_candidates(&answer, |_| line.borrow_mut().take())
    };
    let Some(said) = play(&[], through) else {
        return;
    };
    let (passed, lost) = relay.counts();
    println!("{passed} packets passed, {lost} lost");
    assert!(lost * 100 > passed * 3, "the relay loses");
    assert!(
        said.number("nack") > 0 && said.number("rtx") > 0,
        "{}",
        said.0
    );
}

/// Passes datagrams on and loses one in twenty of the media towards the browser.
struct Relay {
    at: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    node: std::sync::Mutex<Option<SocketAddr>>,
    over: AtomicBool,
    passed: AtomicUsize,
    lost: AtomicUsize,
}

impl Relay {
    fn start() -> Relay {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
        let at = socket.local_addr().expect("bound");
        // The wait for a datagram is the clock of the loop.
        socket
            .set_read_timeout(Some(Duration::from_millis(1)))
            .expect("a socket");
        let shared = Arc::new(Shared::default());
        let relay = shared.clone();
        std::thread::spawn(move || run(&socket, &relay));
        Relay { at, shared }
    }

    fn lead_to(&self, node: SocketAddr) {
        *self.shared.node.lock().expect("nothing panics in it") = Some(node);
    }

    fn counts(&self) -> (usize, usize) {
        let of = |count: &AtomicUsize| count.load(Ordering::Relaxed);
        (of(&self.shared.passed), of(&self.shared.lost))
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::Relaxed);
    }
}

fn run(socket: &UdpSocket, shared: &Shared) {
    // One socket towards the node for each address of the browser.
    let mut ways: HashMap<SocketAddr, UdpSocket> = HashMap::new();
    let mut random = 5u64;
    let mut buffer = [0; 2048];
    while !shared.over.load(Ordering::Relaxed) {
        let node = *shared.node.lock().expect("nothing panics in it");
        if let (Ok((n, from)), Some(node)) = (socket.recv_from(&mut buffer), node) {
            let way = ways.entry(from).or_insert_with(|| {
                let way = UdpSocket::bind("127.0.0.1:0").expect("a port");
                way.set_nonblocking(true).expect("a socket");
                way.connect(node).expect("loopback");
                way
            });
            // What is refused is lost like on any way.
            let _ = way.send(&buffer[..n]);
        }
        for (to, way) in &ways {
            while let Ok(n) = way.recv(&mut buffer) {
                random = random
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                let is_media = (128..192).contains(&buffer[0]) && !(192..224).contains(&buffer[1]);
                if is_media && (random >> 33).is_multiple_of(20) {
                    shared.lost.fetch_add(1, Ordering::Relaxed);
                    continue;
                }
                shared.passed.fetch_add(1, Ordering::Relaxed);
                let _ = socket.send_to(&buffer[..n], to);
            }
        }
    }
}
