//! A restart is not an event: what the node knew it knows again, and whoever is connected is told when it goes.

use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use gantry::id::DeviceId;
use gantry::sim;
use serde_json::{Value, json};

use super::node::{Devices, Node, wait_until};
use super::player::{HttpStream, WebSocket};

/// A port that is free for UDP and TCP now, for a node that must come back to the same one.
fn free_sip_port() -> SocketAddr {
    wait_until("a port that is free for UDP and TCP", || {
        let udp = UdpSocket::bind("127.0.0.1:0").expect("a free port");
        let addr = udp.local_addr().expect("bound");
        TcpListener::bind(addr).is_ok().then_some(addr)
    })
}

fn device_of(node: &Node, token: &str, puid: &str) -> Value {
    let list = node.post(
        "/bvcsp/v1/pu/list",
        Some(token),
        &json!({ "page": 0, "pageSize": 1000, "needStatus": true }),
    );
    let list = list["data"]
        .as_array()
        .unwrap_or_else(|| panic!("{list}"))
        .clone();
    list.into_iter()
        .find(|pu| pu["id"] == puid)
        .unwrap_or_else(|| panic!("{puid} is known"))
}

#[test]
fn a_node_goes_on_after_a_restart() {
    let sip = free_sip_port().to_string();
    let variables = [("GANTRY_SIP_LISTEN", sip.as_str())];
    let node = Node::start(&variables);
    let devices = Devices::start(
        &node,
        &["--count", "1", "--channels", "4", "--keepalive", "5"],
    );
    let token = node.login();
    let puid = "PU_34020000001180000001";
    let before = node.wait_for_device(&token, puid, 3);
    let ended = node.terminate();
    assert_eq!(ended.code, Some(0));

    let mut variables = variables.to_vec();
    variables.push((
        "GANTRY_ADMIN_PASSWORD",
        "not for a user who is there already",
    ));
    let node = Node::start_in(ended.dir, &variables);
    let after = device_of(&node, &token, puid);
    for field in ["name", "channels", "manufacturer", "status"] {
        assert_eq!(after[field], before[field], "{field}");
    }
    assert_ne!(
        node.login(),
        token,
        "the password of the first start holds, and gives a token of its own"
    );
    node.wait_for_metric("gantry_keepalives_total", "", |n| n >= 1.0);
    assert_eq!(
        node.metric_where("gantry_keepalives_total", "stranger"),
        0.0
    );
    assert_eq!(
        node.metric_where("gantry_registers_total", "outcome=\"ok\""),
        0.0,
        "its registration still holds"
    );
    assert_eq!(device_of(&node, &token, puid)["status"], 1);

    // It can be invited as before, by the route that its keepalive showed.
    let picture = HttpStream::open(node.http, &format!("/live/{puid}/0.flv?token={token}"));
    assert_eq!(picture.status, 200, "{}", picture.head);
    drop(picture);

    let logout = node.post("/bvcsp/v1/auth/logout", Some(&token), &json!({}));
    assert_eq!(logout["code"], 0, "{logout}");
    let ended = node.terminate();
    let node = Node::start_in(ended.dir, &variables);
    let refused = node.post("/bvcsp/v1/pu/list", Some(&token), &json!({}));
    assert_ne!(refused["code"], 0, "a token that was logged out stays so");
    drop(devices);
}

#[test]
fn a_node_that_stops_says_goodbye_to_devices_and_viewers() {
    let node = Node::start(&[]);
    let mut config = sim::Config::new(
        node.sip,
        "34020000002000000001".parse().expect("a code"),
        "12345678".into(),
    );
    config.devices.push(sim::Plan {
        id: DeviceId("34020000001320000001".parse().expect("a code")),
        name: "Camera".into(),
        channels: 1,
        pictures: vec![sim::Picture::Yard],
        sound: sim::Sound::G711a,
        quirk: sim::Quirk::None,
    });
    let camera = sim::start(config, 7).expect("free ports");
    let token = node.login();
    let puid = "PU_34020000001320000001";
    node.wait_for_device(&token, puid, 1);
    let mut over_http = HttpStream::open(node.http, &format!("/live/{puid}/0.flv?token={token}"));
    let mut over_websocket = WebSocket::connect(
        node.http,
        &format!("/live/{puid}/0.mp4?token={token}"),
        false,
    );
    let mut routed = WebSocket::connect(
        node.http,
        &format!("/live/{puid}/0.flv?token={token}"),
        true,
    );
    over_http.some();
    over_websocket.message().expect("a first message");
    routed.message().expect("a first message");
    assert_eq!(camera.stats().streaming.load(Relaxed), 1);

    let ended = node.terminate();
    assert_eq!(ended.code, Some(0));
    assert!(ended.took < Duration::from_secs(5), "{:?}", ended.took);
    // The device learned it from a BYE, within the time that the node took: it does not watch whether its packets arrive.
    assert_eq!(camera.stats().streaming.load(Relaxed), 0);
    while over_http.next().is_some() {}
    while over_websocket.message().is_some() {}
    while routed.message().is_some() {}
    camera.stop();
    let _ = std::fs::remove_dir_all(ended.dir);
}
