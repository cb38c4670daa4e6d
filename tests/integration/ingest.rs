//! Sources without SIP: whoever sends RTP with a program stream can be watched under a name of its own.

use std::io::Write as _;
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use bytes::Bytes;
use gantry::id::Ssrc;
use gantry::media::frame::{Codec, Frame};
use gantry::media::ps::mux::Mux;
use gantry::media::{rfc4571, rtp};
use gantry::time::MediaTime;
use serde_json::{Value, json};

use super::media_files::{Source, g711, has_tool, interleave, video};
use super::node::Node;
use super::player::{Flv, HttpStream};

/// Payload bytes of one packet.
const PAYLOAD_BYTES: usize = 1_300;

/// How the packets of a source go out.
enum Sender {
    Udp(UdpSocket),
    Tcp(TcpStream),
}

impl Sender {
    /// Whether the node took it.
    fn send(&mut self, packet: &[u8]) -> bool {
        match self {
            Sender::Udp(socket) => socket.send(packet).is_ok(),
            Sender::Tcp(socket) => {
                let mut framed = Vec::new();
                rfc4571::write_frame(packet, &mut framed);
                socket.write_all(&framed).is_ok()
            }
        }
    }
}

/// Picture and sound of the package's clip.
fn sources() -> (Source, Source) {
    let clips = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/sim/clips");
    let picture = video(Codec::H264, &clips.join("yard.h264"), 25);
    let sound = std::fs::read(clips.join("melody.alaw")).expect("a clip of the package");
    (picture, g711(Codec::G711A, Bytes::from(sound), 320))
}

/// Sends the clip again and again, in real time, until it is told to stop or the node hangs up. Gives the packets sent.
fn send(picture: &Source, sound: &Source, ssrc: u32, mut sender: Sender, stop: &AtomicBool) -> u64 {
    let mut mux = Mux::new(Some(&picture.track), Some(&sound.track));
    let mut writer = rtp::Writer::new(Ssrc(ssrc), 96, 65_530);
    let span = picture.frames.len() as i64 * 3_600;
    let fits = |frame: &&Frame| frame.dts.0 < span;
    let sound: Vec<Frame> = sound.frames.iter().filter(fits).cloned().collect();
    let frames = interleave(&[&picture.frames, &sound]);
    let (began, mut packets) = (Instant::now(), 0);
    for round in 0.. {
        for frame in &frames {
            let later = |time: MediaTime| MediaTime(time.0 + round * span);
            let frame = Frame {
                dts: later(frame.dts),
                pts: later(frame.pts),
                ..frame.clone()
            };
            let due = Duration::from_millis((frame.dts.0 / 90) as u64);
            std::thread::park_timeout(due.saturating_sub(began.elapsed()));
            let mut bytes = Vec::new();
            mux.push(&frame, &mut bytes);
            let mut taken = true;
            writer.write(&bytes, frame.pts.0 as u32, PAYLOAD_BYTES, &mut |packet| {
                taken &= sender.send(packet);
                packets += 1;
            });
            if !taken || stop.load(Relaxed) {
                return packets;
            }
        }
    }
    packets
}

fn open(node: &Node, token: &str, body: Value) -> (u16, Value) {
    let answer = node.request(
        "POST",
        "/gantry/v1/ingest",
        Some(token),
        "application/json",
        &body.to_string(),
    );
    (answer.status, answer.json())
}

fn watch(node: &Node, token: &str, name: &str) -> HttpStream {
    let mut stream = HttpStream::open(node.http, &format!("/live/{name}.flv?token={token}"));
    assert_eq!(stream.status, 200, "{name}: {}", stream.head);
    let mut flv = Flv::default();
    while flv.tags(9).count() < 30 || flv.tags(8).count() < 10 {
        flv.push(&stream.some());
    }
    let codec = flv.tags(9).next().expect("counted").body[0];
    assert_eq!(codec, 0x17, "{name}: a key frame of H.264");
    stream
}

#[test]
fn a_source_plays_under_its_name_until_it_is_closed() {
    // The splitter of the tests asks ffprobe for the order of the pictures.
    if !has_tool("ffprobe") {
        assert!(!crate::vectors::is_ci(), "ffprobe is missing");
        eprintln!("SKIPPED: ffprobe is not installed");
        return;
    }
    let node = Node::start(&[]);
    let token = node.login();
    let (picture, sound) = sources();
    let stop = AtomicBool::new(false);

    let (status, udp) = open(
        &node,
        &token,
        json!({ "stream": "door", "ssrc": 71, "transport": "udp" }),
    );
    assert_eq!((status, &udp["ssrc"]), (200, &json!(71)), "{udp}");
    let (status, again) = open(
        &node,
        &token,
        json!({ "stream": "door", "transport": "udp" }),
    );
    assert_eq!(status, 409, "{again}");
    assert!(
        again["detail"]
            .as_str()
            .is_some_and(|d| d.contains("exists already")),
        "{again}"
    );
    let (status, tcp) = open(
        &node,
        &token,
        json!({ "stream": "gate.2", "ssrc": 72, "transport": "tcp-passive" }),
    );
    assert_eq!(status, 200, "{tcp}");
    let listener = std::net::TcpListener::bind((node.http.ip(), 0)).expect("a free port");
    let here = listener.local_addr().expect("bound");
    let active = json!({ "stream": "yard", "transport": "tcp-active", "host": here.ip(), "port": here.port() });
    let (status, called) = open(&node, &token, active);
    assert_eq!(status, 200, "{called}");
    let unauthorised = node.request("POST", "/gantry/v1/ingest", None, "application/json", "{}");
    assert_eq!(unauthorised.status, 401);

    let addr = |answer: &Value| {
        let port = answer["port"]
            .as_u64()
            .and_then(|port| port.try_into().ok());
        SocketAddr::new(node.http.ip(), port.expect("a port"))
    };
    std::thread::scope(|scope| {
        let socket = UdpSocket::bind((node.http.ip(), 0)).expect("a free port");
        socket.connect(addr(&udp)).expect("the loopback");
        let (picture, sound, stop) = (&picture, &sound, &stop);
        let door = scope.spawn(move || send(picture, sound, 71, Sender::Udp(socket), stop));
        let socket = TcpStream::connect(addr(&tcp)).expect("the node listens");
        let gate = scope.spawn(move || send(picture, sound, 72, Sender::Tcp(socket), stop));
        let (socket, _) = listener.accept().expect("the node calls");
        let yard = scope.spawn(move || send(picture, sound, 73, Sender::Tcp(socket), stop));

        // A test that fails must not wait for senders that nobody stops.
        let watched = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let mut viewers = ["door", "gate.2", "yard"].map(|name| watch(&node, &token, name));
            assert_eq!(node.metric("gantry_ps_errors_total"), 0.0);
            for name in ["door", "gate.2", "yard"] {
                let path = format!("/gantry/v1/ingest/{name}");
                let closed = node.request("DELETE", &path, Some(&token), "application/json", "");
                assert_eq!(closed.status, 204, "{name}");
                let gone = node.request("DELETE", &path, Some(&token), "application/json", "");
                assert_eq!(gone.status, 404, "{name}");
            }
            for viewer in &mut viewers {
                while viewer.next().is_some() {}
            }
        }));
        stop.store(true, Relaxed);
        for sender in [door, gate, yard] {
            assert!(sender.join().expect("the sender ends") > 0);
        }
        if let Err(failure) = watched {
            std::panic::resume_unwind(failure);
        }
    });
    node.wait_for_metric("gantry_streams", "", |streams| streams == 0.0);
    // The name is free again.
    let (status, answer) = open(
        &node,
        &token,
        json!({ "stream": "door", "transport": "udp" }),
    );
    assert_eq!(status, 200, "{answer}");
}
