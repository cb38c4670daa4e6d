//! A bad path between a WebRTC client and the node: one in twenty of the media datagrams towards the client is lost, by a
//! seeded choice.

use std::collections::HashMap;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Passes datagrams on and loses one in twenty of the media towards the browser.
pub struct Relay {
    at: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    node: Mutex<Option<SocketAddr>>,
    over: AtomicBool,
    passed: AtomicUsize,
    lost: AtomicUsize,
}

impl Relay {
    pub fn start() -> Relay {
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

    /// The node's answer with this path in place of its candidates.
    pub fn between(&self, answer: &str) -> String {
        let node = answer
            .lines()
            .filter(|l| l.starts_with("a=candidate:") && l.contains(" udp "))
            .find_map(|l| {
                let fields: Vec<&str> = l.split(' ').collect();
                format!("{}:{}", fields[4], fields[5]).parse().ok()
            });
        self.lead_to(node.expect("a candidate"));
        let port = self.at.port();
        let mut line = Some(format!(
            "a=candidate:1 1 udp 2130706431 127.0.0.1 {port} typ host"
        ));
        with_candidates(answer, |_| line.take())
    }

    /// Media datagrams that passed, and those that were lost.
    pub fn counts(&self) -> (usize, usize) {
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

/// The answer with other candidate lines.
pub fn with_candidates(answer: &str, mut keep: impl FnMut(&str) -> Option<String>) -> String {
    let lines = answer.lines().filter_map(|line| {
        if line.starts_with("a=candidate:") {
            keep(line)
        } else {
            Some(line.to_owned())
        }
    });
    lines.map(|line| line + "\r\n").collect()
}
