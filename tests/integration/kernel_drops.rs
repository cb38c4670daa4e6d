//! Datagrams that the kernel drops because a socket is full, at every kind of socket of the real program: each is counted, and
//! the size that each buffer really has is in the log.

use std::net::{SocketAddr, UdpSocket};

use super::node::{Node, wait_until};
use super::path::{cameras, invited, port_range};
use super::player::HttpStream;

/// Neither RTP nor SIP nor STUN, so that nobody has work with it.
const RUBBISH: [u8; 1_000] = [0xff; 1_000];

/// Sends more than fits while the node stands, then single datagrams, with which the kernel tells its count.
fn overrun(node: &Node, to: SocketAddr, count: usize, label: &str) {
    let name = "gantry_kernel_drops_total";
    assert_eq!(node.metric_where(name, label), 0.0, "{label}");
    let socket = UdpSocket::bind((to.ip(), 0)).expect("loopback");
    let resting = node.rest();
    for _ in 0..count {
        socket.send_to(&RUBBISH, to).expect("loopback");
    }
    drop(resting);
    let dropped = wait_until(label, || {
        socket.send_to(&RUBBISH, to).expect("loopback");
        Some(node.metric_where(name, label)).filter(|n| *n > 0.0)
    });
    assert!(dropped < count as f64, "{label}: {dropped} of {count}");
    println!("{label}: {dropped} of {count} dropped");
}

#[test]
fn what_the_kernel_drops_is_counted_at_every_kind_of_socket() {
    let (first, last) = port_range();
    let node = Node::start(&[
        ("GANTRY_MEDIA_SHARDS", "1"),
        ("GANTRY_MEDIA_TRANSPORT", "udp"),
        ("GANTRY_MEDIA_SESSION_PORT_FIRST", &first),
        ("GANTRY_MEDIA_SESSION_PORT_LAST", &last),
    ]);
    let token = node.login();
    let id = "34020000001320000361";
    let puid = format!("PU_{id}");
    let _devices = cameras(&node, id, "1", &[]);
    node.wait_for_device(&token, &puid, 1);
    let mut stream = HttpStream::open(node.http, &format!("/live/{puid}/0.flv?token={token}"));
    assert_eq!(stream.status, 200, "{}", stream.head);
    let (rtp, _) = invited(&node, &token, &puid);
    let at = |port: u16| SocketAddr::new(node.sip.ip(), port);
    // RTCP of the session first: its drops stand in one sum with those of its RTP.
    overrun(&node, at(rtp + 1), 2_000, "socket=\"ports 0\"");
    overrun(&node, at(node.webrtc_port), 30_000, "socket=\"webrtc 0\"");
    overrun(&node, node.sip, 50_000, "socket=\"sip\"");
    stream.some();
    let log = node.log();
    for socket in [
        "RTP",
        "RTP of one stream",
        "RTCP of one stream",
        "WebRTC",
        "SIP",
    ] {
        let line = format!("\"socket\":\"{socket}\"");
        let said: Vec<&str> = log.lines().filter(|l| l.contains(&line)).collect();
        let sizes = said.iter().filter(|l| l.contains("\"receive buffer\""));
        assert_eq!(sizes.count(), 1, "{socket}: {said:?}");
    }
}
