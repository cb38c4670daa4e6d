//! The calls that turn a camera, from outside: the real node and simulated devices that really turn.

use serde_json::{Value, json};

use super::node::{Devices, Node, wait_until};

const PUID: &str = "PU_34020000001320000001";

fn turning_camera() -> (Node, Devices, String) {
    let node = Node::start(&[]);
    let devices = Devices::start(
        &node,
        &[
            "--count",
            "1",
            "--channels",
            "1",
            "--id-base",
            "34020000001320000001",
        ],
    );
    let token = node.login();
    node.wait_for_device(&token, PUID, 1);
    (node, devices, token)
}

struct Calls<'a> {
    node: &'a Node,
    token: &'a str,
}

impl Calls<'_> {
    fn call(&self, method: &str, path: &str, body: Value) -> Value {
        let path = format!("/bvcsp/v1/pu/ptz/{path}");
        let response = self.node.request(
            method,
            &path,
            Some(self.token),
            "application/json",
            &body.to_string(),
        );
        response.json()
    }

    fn done(&self, method: &str, path: &str, body: Value) -> Value {
        let answer = self.call(method, path, body);
        assert_eq!(answer["code"], 0, "{method} {path}: {answer}");
        answer["data"].clone()
    }

    fn code(&self, method: &str, path: &str, body: Value) -> (i64, String) {
        let answer = self.call(method, path, body);
        let msg = answer["msg"].as_str().unwrap_or_default().to_owned();
        (answer["code"].as_i64().expect("a code"), msg)
    }

    fn position(&self) -> (f64, f64, f64) {
        let path = format!("/gantry/v1/ptz/{PUID}/0");
        let answer = self.node.get(&path, Some(self.token)).json();
        let of = |name: &str| answer[name].as_f64().expect("a number");
        (of("pan"), of("tilt"), of("zoom"))
    }
}

#[test]
fn a_camera_turns_and_keeps_presets_and_cruises() {
    let (node, _devices, token) = turning_camera();
    let calls = Calls {
        node: &node,
        token: &token,
    };
    let camera = format!("camera/{PUID}/0");
    let from = calls.position();
    calls.done(
        "POST",
        &camera,
        json!({"operate": "righttop", "hSpeed": 60, "vSpeed": 60}),
    );
    wait_until("it has turned", || {
        let now = calls.position();
        (now.0 > from.0 + 5.0 && now.1 > from.1 + 5.0).then_some(())
    });
    calls.done(
        "POST",
        &camera,
        json!({"operate": "righttop", "stop": true}),
    );
    let stood = calls.position();
    assert_eq!(calls.position(), stood);

    let presets = format!("preset/{PUID}/0");
    let list = format!("preset/list/{PUID}/0");
    let set = calls.done("POST", &presets, json!({"name": "东门"}));
    assert_eq!(set["id"], 1, "the first free one");
    calls.done(
        "POST",
        &camera,
        json!({"operate": "zoominc", "hSpeed": 100}),
    );
    wait_until("it is closer", || {
        (calls.position().2 > stood.2 + 1.0).then_some(())
    });
    calls.done("POST", &camera, json!({"operate": "zoominc", "stop": true}));
    calls.done("POST", &presets, json!({"id": 5}));
    let told = calls.done("GET", &list, Value::Null);
    assert_eq!(
        told,
        json!([{"id": 1, "name": "东门"}, {"id": 5, "name": null}])
    );
    calls.done("PUT", &format!("preset/go/{PUID}/0/1"), json!({}));
    wait_until("it is back", || (calls.position() == stood).then_some(()));

    let cruise = json!({"id": 2, "name": "夜", "points": [
        {"preset": 1, "speed": 300, "duration": 1}, {"preset": 5, "speed": 300, "duration": 1}]});
    calls.done("POST", &format!("cruise/{PUID}/0"), cruise.clone());
    let told = calls.done("GET", &format!("cruise/list/{PUID}/0"), Value::Null);
    assert_eq!(told, json!([cruise]));
    calls.done("PUT", &format!("cruise/start/{PUID}/0/2"), json!({}));
    wait_until("it is under way", || {
        (calls.position() != stood).then_some(())
    });
    calls.done("PUT", &format!("cruise/stop/{PUID}/0/2"), json!({}));
    let stopped = calls.position();
    assert_eq!(calls.position(), stopped);
    calls.done("DELETE", &format!("cruise/{PUID}/0/2"), Value::Null);
    calls.done("DELETE", &format!("preset/{PUID}/0/5"), Value::Null);
    let told = calls.done("GET", &list, Value::Null);
    assert_eq!(told, json!([{"id": 1, "name": "东门"}]));
}

/// Looks to and fro between two edges that are set where it looked, and stops; the wiper is a switch of its own order.
#[test]
fn a_camera_scans_between_its_edges_and_wipes() {
    let (node, _devices, token) = turning_camera();
    let calls = Calls {
        node: &node,
        token: &token,
    };
    let tell = |order: Value| {
        let path = format!("/gantry/v1/device/control/{PUID}/0");
        let body = order.to_string();
        let answer = node.request("POST", &path, Some(&token), "application/json", &body);
        assert_eq!(answer.status, 204, "{order}");
    };
    let look = |pan: f64| {
        tell(json!({"order": "ptzPrecise", "pan": pan}));
        wait_until("it looks there", || {
            ((calls.position().0 - pan).abs() < 0.2).then_some(())
        });
    };
    let scan = |action: &str| tell(json!({"order": "scan", "scan": 3, "action": action}));
    let sent = |order: &str| {
        let path = format!("/gantry/v1/devices/{PUID}/sip.pcap");
        let sip = node.get(&path, Some(&token));
        let sip = String::from_utf8_lossy(&sip.body).into_owned();
        assert!(sip.contains(order), "{order}");
    };
    look(100.0);
    scan("left");
    look(120.0);
    scan("right");
    tell(json!({"order": "scan", "scan": 3, "action": "speed", "speed": 2000}));
    scan("start");
    // At once: every look at where it stands is a message too, and the log keeps the last ones.
    sent("A50F018903000041");
    for _ in 0..2 {
        wait_until("it is near the left edge", || {
            (calls.position().0 < 105.0).then_some(())
        });
        wait_until("it is near the right edge", || {
            (calls.position().0 > 115.0).then_some(())
        });
    }
    scan("stop");
    let stood = calls.position();
    assert!((99.0..=121.0).contains(&stood.0), "{stood:?}");
    assert_eq!(calls.position(), stood);

    tell(json!({"order": "wiper", "on": true}));
    tell(json!({"order": "auxiliary", "number": 1, "on": false}));
    sent("A50F018C01000042");
    sent("A50F018D01000043");
}

#[test]
fn wrong_calls_are_told_what_is_wrong() {
    let (node, devices, token) = turning_camera();
    let calls = Calls {
        node: &node,
        token: &token,
    };
    let up = || json!({"operate": "up"});
    let (code, msg) = calls.code(
        "POST",
        &format!("camera/{PUID}/0"),
        json!({"operate": "up", "vSpeed": 101}),
    );
    assert_eq!((code, msg.contains("vSpeed")), (4, true), "{msg}");
    let (code, msg) = calls.code(
        "POST",
        &format!("camera/{PUID}/0"),
        json!({"operate": "round"}),
    );
    assert_eq!((code, msg.contains("operate")), (4, true), "{msg}");
    assert_eq!(
        calls
            .code("POST", "camera/PU_34020000001320000099/0", up())
            .0,
        2
    );
    assert_eq!(calls.code("POST", &format!("camera/{PUID}/7"), up()).0, 2);
    assert_eq!(
        calls
            .code("PUT", &format!("preset/go/{PUID}/0/0"), json!({}))
            .0,
        4
    );
    devices.leave();
    wait_until("it is gone", || {
        (calls.code("POST", &format!("camera/{PUID}/0"), up()).0 == 5).then_some(())
    });
}
