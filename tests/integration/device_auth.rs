//! How single devices log in, set by REST: their own password, none at all, the common one again.

use serde_json::{Value, json};

use super::node::{Devices, Node, wait_until};

const PUID: &str = "PU_34020000001180000001";

fn set(node: &Node, token: &str, body: &Value) -> u16 {
    let path = format!("/gantry/v1/devices/{PUID}/auth");
    put(node, &path, token, body)
}

fn put(node: &Node, path: &str, token: &str, body: &Value) -> u16 {
    let body = body.to_string();
    node.request("PUT", path, Some(token), "application/json", &body)
        .status
}

fn wrong(node: &Node) -> f64 {
    node.metric_where("gantry_registers_total", "outcome=\"wrong password\"")
}

fn ok(node: &Node) -> f64 {
    node.metric_where("gantry_registers_total", "outcome=\"ok\"")
}

#[test]
fn a_device_logs_in_with_its_own_password_or_none() {
    let node = Node::start(&[]);
    let token = node.login();
    let own = json!({ "kind": "password", "password": "gate-7-camera" });
    assert_eq!(set(&node, &token, &own), 204);
    let camera = |password| Devices::with_password(&node, password, &["--count", "1"]);

    // The common password counts no more.
    let before = ok(&node);
    let device = camera("12345678");
    node.wait_for_metric("gantry_registers_total", "wrong password", |n| n >= 1.0);
    assert_eq!(ok(&node), before);
    drop(device);

    // Its own one does, also after a restart, and lies encrypted in the store. Setting it lifts the pause.
    assert_eq!(set(&node, &token, &own), 204);
    let ended = node.terminate();
    let stored = std::fs::read_dir(&ended.dir)
        .expect("a folder")
        .filter_map(|entry| std::fs::read(entry.ok()?.path()).ok())
        .collect::<Vec<_>>();
    let shown = |text: &[u8]| {
        let holds = |file: &Vec<u8>| memchr::memmem::find(file, text).is_some();
        stored.iter().any(holds)
    };
    assert!(shown(b"34020000001180000001") && !shown(b"gate-7-camera"));
    let node = Node::start_in(ended.dir, &[]);
    let token = node.login();
    let device = Devices::with_password(&node, "gate-7-camera", &["--count", "1"]);
    node.wait_for_device(&token, PUID, 1);
    assert_eq!(wrong(&node), 0.0);
    device.leave();

    // None is needed: whatever it says is right.
    assert_eq!(set(&node, &token, &json!({ "kind": "none" })), 204);
    let before = ok(&node);
    let device = Devices::with_password(&node, "anything", &["--count", "1"]);
    wait_until("it is let in", || (ok(&node) > before).then_some(()));
    device.leave();

    assert_eq!(set(&node, &token, &json!({ "kind": "default" })), 204);
    let before = ok(&node);
    let device = Devices::with_password(&node, "12345678", &["--count", "1"]);
    wait_until("it is let in", || (ok(&node) > before).then_some(()));
    drop(device);
}

#[test]
fn what_is_not_understood_changes_nothing() {
    let node = Node::start(&[]);
    let token = node.login();
    for body in [
        json!({ "kind": "password" }),
        json!({ "kind": "password", "password": "" }),
        json!({ "kind": "password", "password": "x".repeat(65) }),
        json!({ "kind": "none", "password": "x" }),
        json!({ "kind": "open" }),
        json!({}),
    ] {
        assert_eq!(set(&node, &token, &body), 400, "{body}");
    }
    assert_eq!(set(&node, "no token", &json!({ "kind": "none" })), 401);
    let path = "/gantry/v1/devices/34020000001180000001x/auth";
    assert_eq!(put(&node, path, &token, &json!({ "kind": "none" })), 400);
}
