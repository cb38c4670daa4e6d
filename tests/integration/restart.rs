//! A restart is not an event: what the node knew it knows again, and whoever is connected is told when it goes.

use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use gantry::gb28181::CatalogItem;
use gantry::gb28181::notice::{Alarm, CatalogChange, ChannelEvent};
use gantry::id::DeviceId;
use gantry::sim;
use serde_json::{Value, json};

use super::node::{Devices, Node, wait_until};
use super::path::offers;
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

/// A device that takes TCP only costs a refused INVITE once, not once after each restart.
#[test]
fn the_transport_that_worked_for_a_device_is_offered_first_after_a_restart() {
    let sip = free_sip_port().to_string();
    let variables = [("GANTRY_SIP_LISTEN", sip.as_str())];
    let node = Node::start(&variables);
    let id = "34020000001320000371";
    let puid = format!("PU_{id}");
    let one = ["--count", "1", "--channels", "1", "--id-base", id];
    let more = ["--keepalive", "5", "--quirk", "tcp-only"];
    let _devices = Devices::start(&node, &[one.as_slice(), &more].concat());
    let token = node.login();
    node.wait_for_device(&token, &puid, 1);
    let watch = |node: &Node| {
        let stream = HttpStream::open(node.http, &format!("/live/{puid}/0.flv?token={token}"));
        assert_eq!(stream.status, 200, "{}", stream.head);
        let offers = offers(node, &token, &puid);
        let over_tcp = |sdp: &String| sdp.contains(" TCP/RTP/AVP ");
        offers.iter().map(over_tcp).collect::<Vec<_>>()
    };
    assert_eq!(
        watch(&node),
        [false, true],
        "UDP, which it refuses, then TCP"
    );
    let ended = node.terminate();
    assert_eq!(ended.code, Some(0));
    let node = Node::start_in(ended.dir, &variables);
    // Its keepalive shows where it is.
    node.wait_for_metric("gantry_keepalives_total", "", |n| n >= 1.0);
    assert_eq!(watch(&node), [true], "what worked");
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

/// A thousand devices, fifty of them streaming and fifty subscribed to; the node is killed and comes back.
#[test]
fn a_crash_is_no_event_for_a_thousand_devices() {
    const DEVICES: u64 = 1_000;
    const WATCHED: usize = 50;
    let sip = free_sip_port().to_string();
    let variables = [
        ("GANTRY_SIP_LISTEN", sip.as_str()),
        ("GANTRY_SIP_KEEPALIVE_S", "5"),
    ];
    let node = Node::start(&variables);
    let mut config = sim::Config::new(
        node.sip,
        "34020000002000000001".parse().expect("a code"),
        "12345678".into(),
    );
    config.keepalive = Duration::from_secs(5);
    config.devices = (1..=DEVICES)
        .map(|n| sim::Plan {
            id: DeviceId(format!("3402000000132{n:07}").parse().expect("a code")),
            name: format!("Camera {n}"),
            channels: 1,
            pictures: vec![sim::Picture::Yard],
            sound: sim::Sound::None,
            quirk: sim::Quirk::None,
        })
        .collect();
    let puids: Vec<String> = config.devices.iter().map(|plan| plan.id.pu_id()).collect();
    let cameras = sim::start(config, 11).expect("free ports");
    let token = node.login();
    let online = |node: &Node| {
        let answer = node.post("/bvcsp/v1/statistics/base", Some(&token), &json!({}));
        let count = |name: &str| answer["data"][name].as_u64().unwrap_or(0);
        (count("deviceOnline"), count("channelCount"))
    };
    wait_until("all have registered and sent their directory", || {
        (online(&node) == (DEVICES, DEVICES)).then_some(())
    });
    let viewers: Vec<HttpStream> = puids[..WATCHED]
        .iter()
        .map(|puid| {
            let mut stream =
                HttpStream::open(node.http, &format!("/live/{puid}/0.flv?token={token}"));
            assert_eq!(stream.status, 200, "{}", stream.head);
            stream.some();
            stream
        })
        .collect();
    let subscriptions = |puid: &str| format!("/gantry/v1/devices/{puid}/subscriptions");
    let alarm_state = |node: &Node, puid: &str| {
        let all = node.get(&subscriptions(puid), Some(&token)).json();
        let all = all["data"].as_array().expect("a list").clone();
        let alarm = all.into_iter().find(|one| one["topic"] == "alarm");
        alarm.expect("a topic")["state"].clone()
    };
    let subscribed = &puids[WATCHED..2 * WATCHED];
    for puid in subscribed {
        let path = format!("{}/alarm", subscriptions(puid));
        let answer = node
            .request("PUT", &path, Some(&token), "application/json", "{}")
            .json();
        assert_eq!(answer["code"], 0, "{answer}");
    }
    wait_until("all subscriptions are there", || {
        subscribed
            .iter()
            .all(|puid| alarm_state(&node, puid) == "active")
            .then_some(())
    });
    wait_until("all stream", || {
        (cameras.stats().streaming.load(Relaxed) == WATCHED as u64).then_some(())
    });

    let dir = node.kill();
    drop(viewers);
    let node = Node::start_in(dir, &variables);
    assert_eq!(online(&node), (DEVICES, DEVICES), "right after the start");
    wait_until("the dialogs that were left over have ended", || {
        (cameras.stats().streaming.load(Relaxed) == 0).then_some(())
    });
    wait_until("subscriptions go on", || {
        subscribed
            .iter()
            .all(|puid| alarm_state(&node, puid) == "active")
            .then_some(())
    });
    let asked = Instant::now();
    let mut back = HttpStream::open(
        node.http,
        &format!("/live/{}/0.flv?token={token}", puids[0]),
    );
    assert_eq!(back.status, 200, "{}", back.head);
    back.some();
    let took = asked.elapsed();
    println!("first bytes of a returning viewer after {took:?}");
    assert!(took < Duration::from_secs(2), "{took:?}");
    // Three keepalives of every device, and nobody was offline at any time.
    node.wait_for_metric("gantry_keepalives_total", "", |n| n >= 3.0 * DEVICES as f64);
    assert_eq!(online(&node), (DEVICES, DEVICES));
    let log = json!({"filter": {"beginTime": 0}, "sort": "-offlineTime"});
    let log = node.post("/bvcsp/v1/log/pu/login", Some(&token), &log);
    assert!(
        log["data"][0]["offlineTime"].is_null(),
        "nobody went: {log}"
    );
    assert_eq!(
        node.metric_where("gantry_registers_total", "outcome=\"ok\""),
        0.0
    );
    cameras.stop();
}

/// A view that ran when the node was killed is in the log afterwards, with why it ended.
#[test]
fn a_dialog_that_a_kill_cut_off_is_in_the_log() {
    let node = Node::start(&[]);
    let token = node.login();
    let puid = "PU_34020000001320000001";
    let arguments = ["--count", "1", "--channels", "1", "--id-base", &puid[3..]];
    let _devices = Devices::start(&node, &arguments);
    node.wait_for_device(&token, puid, 1);
    let live = format!("/live/{puid}/0.flv?token={token}");
    let picture = HttpStream::open(node.http, &live);
    assert_eq!(picture.status, 200);
    let dialogs = |node: &Node, token: &str| {
        let filter = json!({"filter": {"puId": puid}});
        node.post("/bvcsp/v1/log/dialog", Some(token), &filter)["data"].clone()
    };
    let open = wait_until("the dialog is in the log", || {
        let list = dialogs(&node, &token);
        list.get(0).cloned()
    });
    assert_eq!(
        (&open["closeTime"], &open["failure"]),
        (&Value::Null, &json!(""))
    );
    let node = Node::start_in(node.kill(), &[]);
    let token = node.login();
    let closed = dialogs(&node, &token);
    assert_eq!(closed[0]["id"], open["id"], "{closed}");
    assert_eq!(closed[0]["failure"], "node restart");
    assert!(closed[0]["closeTime"].as_i64() >= open["time"].as_i64());
    assert_eq!(closed.as_array().map(Vec::len), Some(1));
}

/// One camera of the simulator, with what is otherwise than usual.
fn one_camera(node: &Node, id: &str, change: impl FnOnce(&mut sim::Config)) -> sim::Sim {
    let server = "34020000002000000001".parse().expect("a code");
    let mut config = sim::Config::new(node.sip, server, "12345678".into());
    config.keepalive = Duration::from_secs(1);
    config.devices.push(sim::Plan {
        id: DeviceId(id.parse().expect("a code")),
        name: "Camera".into(),
        channels: 1,
        pictures: vec![sim::Picture::Yard],
        sound: sim::Sound::None,
        quirk: sim::Quirk::None,
    });
    change(&mut config);
    sim::start(config, 17).expect("free ports")
}

/// A device's connection ends with the node, and its sending does not: once it is back, it is told to stop.
#[test]
fn a_dialog_left_over_at_a_device_over_tcp_ends_when_it_is_back() {
    let sip = free_sip_port().to_string();
    let variables = [("GANTRY_SIP_LISTEN", sip.as_str())];
    let node = Node::start(&variables);
    let id = "34020000001320000411";
    let camera = one_camera(&node, id, |config| config.carrier = sim::Carrier::Tcp);
    let token = node.login();
    let puid = format!("PU_{id}");
    node.wait_for_device(&token, &puid, 1);
    let live = format!("/live/{puid}/0.flv?token={token}");
    let mut picture = HttpStream::open(node.http, &live);
    assert_eq!(picture.status, 200, "{}", picture.head);
    picture.some();
    let streaming = || camera.stats().streaming.load(Relaxed);
    assert_eq!(streaming(), 1);
    let dir = node.kill();
    drop(picture);
    let node = Node::start_in(dir, &variables);
    assert_eq!(streaming(), 1, "nobody has told it yet");
    wait_until("it was told to stop", || (streaming() == 0).then_some(()));
    let mut back = HttpStream::open(node.http, &live);
    assert_eq!(back.status, 200, "{}", back.head);
    back.some();
    assert_eq!(streaming(), 1);
    // It was asked once more, and nothing is left over for a third start.
    let dir = node.terminate().dir;
    assert_eq!(streaming(), 0);
    let _ = std::fs::remove_dir_all(dir);
    camera.stop();
}

/// Subscriptions of the config, of a call and of one channel are there again after a kill, and what the device tells by them is told
/// once, though it holds those of the run before as well.
#[test]
fn what_was_subscribed_to_is_told_once_after_a_kill() {
    let sip = free_sip_port().to_string();
    let variables = [("GANTRY_SIP_LISTEN", sip.as_str())];
    let node = Node::start(&variables);
    let id = "34020000001320000412";
    let camera = one_camera(&node, id, |_| {});
    let token = node.login();
    let puid = format!("PU_{id}");
    node.wait_for_device(&token, &puid, 1);
    let path = format!("/gantry/v1/devices/{puid}/subscriptions");
    for topic in ["alarm", "catalog", "ptz?channel=0"] {
        let path = format!("{path}/{topic}");
        let answer = node.request("PUT", &path, Some(&token), "application/json", "{}");
        assert_eq!(answer.json()["code"], 0, "{topic}");
    }
    let active = |node: &Node| {
        let all = node.get(&path, Some(&token)).json();
        let all = all["data"].as_array().expect("a list").clone();
        let active = all.iter().filter(|one| one["state"] == "active");
        let known = ["alarm", "catalog", "ptz"];
        let of = |one: &&Value| known.iter().any(|topic| one["topic"] == *topic);
        active.filter(of).count()
    };
    wait_until("all three are active", || {
        (active(&node) == 3).then_some(())
    });
    let node = Node::start_in(node.kill(), &variables);
    wait_until("all three are active again", || {
        (active(&node) == 3).then_some(())
    });
    let device = DeviceId(id.parse().expect("a code"));
    let socket = |path: &str| {
        let path = format!("{path}?token={token}");
        WebSocket::connect(node.http, &path, false)
    };
    let mut alarms = socket("/bvcsp/v1/ws/event/alarm");
    let mut notices = socket("/gantry/v1/ws/notices");
    let next = |socket: &mut WebSocket| -> Value {
        let text = socket.message().expect("a message");
        serde_json::from_slice(&text).expect("JSON")
    };
    for n in 1..=3 {
        let alarm = Box::new(Alarm {
            priority: 1,
            method: 5,
            time: "2026-06-14T12:00:00".into(),
            description: Some(format!("alarm {n}")),
            ..Alarm::default()
        });
        let about = device.0;
        assert!(camera.act(device, sim::Act::Alarm { about, alarm }));
        // Each once: the next message is the next alarm.
        assert_eq!(next(&mut alarms)["desc"], format!("alarm {n}"));
    }
    for (event, status) in [(ChannelEvent::Off, 0), (ChannelEvent::On, 1)] {
        let item = CatalogItem {
            id: id.into(),
            ..CatalogItem::default()
        };
        let change = CatalogChange { event, item };
        assert!(camera.act(device, sim::Act::Directory(vec![change])));
        assert_eq!(next(&mut notices)["data"]["status"], status);
    }
    let left = json!({"operate": "left", "hSpeed": 60});
    let turn = format!("/bvcsp/v1/pu/ptz/camera/{puid}/0");
    assert_eq!(node.post(&turn, Some(&token), &left)["code"], 0);
    let told = next(&mut notices);
    assert_eq!(
        (&told["type"], &told["index"]),
        (&json!("ptzPosition"), &json!(0))
    );
    camera.stop();
}

/// A device that was there at the kill and never speaks again is offline after three keepalives that it misses, counted from the
/// start and not from when it spoke last.
#[test]
fn a_device_that_is_gone_is_offline_three_keepalives_after_the_start() {
    const KEEPALIVE: Duration = Duration::from_secs(5);
    let sip = free_sip_port().to_string();
    let variables = [
        ("GANTRY_SIP_LISTEN", sip.as_str()),
        ("GANTRY_SIP_KEEPALIVE_S", "5"),
    ];
    let node = Node::start(&variables);
    let token = node.login();
    let puid = "PU_34020000001320000413";
    let arguments = ["--count", "1", "--channels", "1", "--id-base", &puid[3..]];
    let devices = Devices::start(&node, &[&arguments[..], &["--keepalive", "5"]].concat());
    node.wait_for_device(&token, puid, 1);
    // Both at once, without a word.
    drop(devices);
    let dir = node.kill();
    // The store was written to before; time that passes while the node is down counts for nothing.
    std::thread::park_timeout(KEEPALIVE);
    let node = Node::start_in(dir, &variables);
    let started = Instant::now();
    let status = || {
        let path = format!("/bvcsp/v1/pu/onlinestatus/{puid}");
        node.get(&path, Some(&token)).json()["data"]["status"].clone()
    };
    assert_eq!(status(), 1);
    wait_until("it is offline", || (status() == 0).then_some(()));
    let after = started.elapsed();
    println!("offline {after:?} after the start");
    assert!(after > 3 * KEEPALIVE - Duration::from_secs(2), "{after:?}");
    assert!(after < 3 * KEEPALIVE + Duration::from_secs(20), "{after:?}");
}
