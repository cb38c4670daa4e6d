//! What callers are told when it does not go well, call by call: a wrong parameter, something that is not there, a device that is
//! offline, refuses, or is silent, and a user who may not. The real node, and a simulated camera that is made to behave so.

use gantry::id::DeviceId;
use gantry::sim::{self, Act, Sim};
use serde_json::{Value, json};

use super::node::{Node, Response, wait_until};
use super::player::HttpStream;
use super::rights;

const PUID: &str = "PU_34020000001320000777";
const NOBODY: &str = "PU_34020000001320000778";
/// Of a record that every simulated device has: some hours ago.
const AGO_S: u64 = 5 * 3_600;

/// A call to a device: the method, the path with `{puid}` and `{index}`, the body, and the name of what the device is sent.
type Call = (&'static str, &'static str, Value, &'static str);

/// Calls that are questions: the device takes them, and then answers.
fn questions() -> Vec<Call> {
    let now = now();
    let span = json!({"filter": {"beginTime": now - AGO_S, "endTime": now, "channelIndex": 0}});
    let query = "/gantry/v1/device/query/{puid}/{index}";
    vec![
        (
            "GET",
            "/bvcsp/v1/pu/ptz/preset/list/{puid}/{index}",
            Value::Null,
            "PresetQuery",
        ),
        (
            "GET",
            "/bvcsp/v1/pu/ptz/cruise/list/{puid}/{index}",
            Value::Null,
            "CruiseTrackListQuery",
        ),
        (
            "GET",
            "/bvcsp/v1/pu/storage/format/{puid}/{index}",
            Value::Null,
            "SDCardStatus",
        ),
        (
            "POST",
            "/bvcsp/v1/pu/recordfile/filter/{puid}",
            span,
            "RecordInfo",
        ),
        (
            "GET",
            "/gantry/v1/ptz/{puid}/{index}",
            Value::Null,
            "PTZPosition",
        ),
        (
            "POST",
            query,
            json!({"query": "deviceStatus"}),
            "DeviceStatus",
        ),
        (
            "POST",
            query,
            json!({"query": "homePosition"}),
            "HomePositionQuery",
        ),
        (
            "POST",
            query,
            json!({"query": "config", "types": ["BasicParam"]}),
            "ConfigDownload",
        ),
    ]
}

/// Calls that are orders.
fn orders() -> Vec<Call> {
    let left = json!({"operate": "left", "hSpeed": 40});
    let control = "/gantry/v1/device/control/{puid}/{index}";
    let settings = "/gantry/v1/device/settings/{puid}/{index}";
    vec![
        (
            "POST",
            "/bvcsp/v1/pu/ptz/camera/{puid}/{index}",
            left,
            "PTZCmd",
        ),
        (
            "PUT",
            "/bvcsp/v1/pu/ptz/preset/go/{puid}/{index}/1",
            json!({}),
            "PTZCmd",
        ),
        (
            "POST",
            "/bvcsp/v1/pu/record/start/{puid}/{index}",
            json!({}),
            "RecordCmd",
        ),
        (
            "POST",
            control,
            json!({"order": "guard", "set": true}),
            "GuardCmd",
        ),
        ("POST", control, json!({"order": "keyFrame"}), "IFrameCmd"),
        (
            "PUT",
            settings,
            json!({"FrameMirror": {"mode": 1}}),
            "FrameMirror",
        ),
    ]
}

/// The span of a record is put in by [`Rig::ask`].
fn playback() -> Call {
    ("POST", "/gantry/v1/playback", json!({}), "INVITE")
}

fn now() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.expect("after 1970").as_secs()
}

struct Rig {
    node: Node,
    token: String,
    camera: Option<Sim>,
}

/// How a call failed: the code of the table, and what it says.
#[derive(Debug)]
struct Failed {
    code: i64,
    msg: String,
}

impl Failed {
    fn of(response: &Response) -> Failed {
        let body = response.json();
        let text = |name: &str| body[name].as_str().map(str::to_owned);
        assert!(response.status < 500, "{}: {body}", response.head);
        Failed {
            code: body["code"].as_i64().unwrap_or(-1),
            msg: text("msg").or_else(|| text("detail")).unwrap_or_default(),
        }
    }
}

impl Rig {
    fn new() -> Rig {
        let node = Node::start(&[]);
        let server = "34020000002000000001".parse().expect("a code");
        let mut config = sim::Config::new(node.sip, server, "12345678".into());
        config.devices.push(sim::Plan {
            id: camera(),
            name: "Camera".into(),
            channels: 1,
            pictures: vec![sim::Picture::Yard],
            sound: sim::Sound::None,
            quirk: sim::Quirk::None,
        });
        let camera = sim::start(config, 3).expect("free ports");
        let token = node.login();
        node.wait_for_device(&token, PUID, 1);
        Rig {
            node,
            token,
            camera: Some(camera),
        }
    }

    fn act(&self, act: Act) {
        let camera_is_there = self.camera.as_ref().is_some_and(|c| c.act(camera(), act));
        assert!(camera_is_there);
    }

    fn ask(&self, (method, path, body, _): &Call, puid: &str, index: &str) -> Failed {
        let mut body = body.clone();
        if *path == "/gantry/v1/playback" {
            let begin = now() - AGO_S;
            body = json!({"id": puid, "index": index.parse::<u32>().expect("a number"),
                "beginTime": begin, "endTime": begin + 60});
        }
        if path.ends_with("recordfile/filter/{puid}") {
            body["filter"]["channelIndex"] = json!(index.parse::<u32>().expect("a number"));
        }
        let path = path.replace("{puid}", puid).replace("{index}", index);
        let token = Some(self.token.as_str());
        let body = body.to_string();
        let response = self
            .node
            .request(method, &path, token, "application/json", &body);
        assert!(
            response
                .header("content-type")
                .is_some_and(|kind| kind.contains("json")),
            "{method} {path}: {}",
            response.head
        );
        Failed::of(&response)
    }

    /// Each call at the same time, with how it failed.
    fn ask_all(&self, calls: Vec<Call>) -> Vec<(Call, Failed)> {
        std::thread::scope(|scope| {
            let asked = calls.into_iter().map(|call| {
                let handle = scope.spawn({
                    let call = call.clone();
                    move || self.ask(&call, PUID, "0")
                });
                (call, handle)
            });
            let asked: Vec<_> = asked.collect();
            let answers = asked.into_iter().map(|(call, handle)| {
                let failed = handle.join().expect("a call answers");
                (call, failed)
            });
            answers.collect()
        })
    }

    /// A live view, refused.
    fn watch(&self) -> Failed {
        let path = format!("/live/{PUID}/0.flv?token={}", self.token);
        let mut stream = HttpStream::open(self.node.http, &path);
        let status = stream.status;
        let body: Value = serde_json::from_str(&stream.rest()).expect("JSON");
        assert!((400..500).contains(&status), "{status}: {body}");
        Failed {
            code: body["code"].as_i64().unwrap_or(-1),
            msg: body["detail"].as_str().unwrap_or_default().to_owned(),
        }
    }
}

fn camera() -> DeviceId {
    DeviceId(PUID[3..].parse().expect("a code"))
}

/// Seconds that a message says were waited.
fn waited(msg: &str) -> f64 {
    let before = msg.rsplit_once(" s").expect("seconds").0;
    let number = before.rsplit([' ', '(']).next().expect("a word");
    number
        .parse()
        .unwrap_or_else(|_| panic!("no seconds in {msg}"))
}

/// Code 6 of a device that takes what it is sent (SIP 200) and never answers: what that was, and how long was waited.
#[test]
fn who_asks_a_silent_device_hears_what_was_sent_and_how_long_was_waited() {
    let rig = Rig::new();
    rig.act(Act::Silence(true));
    for ((method, path, _, sent), failed) in rig.ask_all(questions()) {
        assert_eq!(failed.code, 6, "{method} {path}: {failed:?}");
        let says = format!("the device took {sent} but did not answer within");
        assert!(failed.msg.contains(&says), "{method} {path}: {failed:?}");
        let seconds = waited(&failed.msg);
        assert!(
            (9.0..=11.0).contains(&seconds),
            "{method} {path}: {failed:?}"
        );
    }
}

/// Code 6 of a device that hears nothing: not even SIP answers.
#[test]
fn who_asks_a_device_that_hears_nothing_is_told_so_too() {
    let rig = Rig::new();
    rig.act(Act::Deafness(true));
    let mut calls = orders();
    calls.extend(questions().into_iter().take(2));
    calls.push(playback());
    for ((method, path, _, sent), failed) in rig.ask_all(calls) {
        assert_eq!(failed.code, 6, "{method} {path}: {failed:?}");
        assert!(failed.msg.contains(sent), "{method} {path}: {failed:?}");
        let seconds = waited(&failed.msg);
        assert!(
            (7.0..=40.0).contains(&seconds),
            "{method} {path}: {failed:?}"
        );
    }
    let failed = rig.watch();
    assert_eq!(failed.code, 6, "{failed:?}");
    assert!(
        failed.msg.contains("INVITE") && waited(&failed.msg) > 7.0,
        "{failed:?}"
    );
    // It hears again, and nothing of it is lost.
    rig.act(Act::Deafness(false));
    let (method, path, body, _) = &questions()[0];
    let path = path.replace("{puid}", PUID).replace("{index}", "0");
    wait_until("it answers", || {
        let token = Some(rig.token.as_str());
        let answer = rig
            .node
            .request(method, &path, token, "application/json", &body.to_string());
        (answer.json()["code"] == 0).then_some(())
    });
}

/// What a device refuses bears its SIP status.
#[test]
fn who_is_refused_by_the_device_hears_its_sip_status() {
    let rig = Rig::new();
    for (status, code) in [(403, 1), (486, 7), (488, 8)] {
        rig.act(Act::Refuse(Some(status)));
        let mut calls = orders();
        calls.extend(questions());
        calls.push(playback());
        for ((method, path, _, sent), failed) in rig.ask_all(calls) {
            assert_eq!(failed.code, code, "{status} {method} {path}: {failed:?}");
            let names = failed.msg.contains(sent) && failed.msg.contains(&status.to_string());
            assert!(names, "{method} {path}: {failed:?}");
        }
        let failed = rig.watch();
        assert!(
            failed.msg.contains(&format!("rejected {status} ")),
            "{failed:?}"
        );
        assert_eq!(failed.code, code, "{failed:?}");
    }
    rig.act(Act::Refuse(None));
    let (method, path, body, _) = &orders()[0];
    let path = path.replace("{puid}", PUID).replace("{index}", "0");
    let token = Some(rig.token.as_str());
    let answer = rig
        .node
        .request(method, &path, token, "application/json", &body.to_string());
    assert_eq!(answer.json()["code"], 0, "it obeys again");
}

/// Code 2: no such device, and no such channel of one that is there.
#[test]
fn what_is_not_there_is_code_2() {
    let rig = Rig::new();
    let mut calls = orders();
    calls.extend(questions());
    calls.push(playback());
    for call in &calls {
        let (method, path, ..) = call;
        let failed = rig.ask(call, NOBODY, "0");
        assert_eq!(failed.code, 2, "{method} {path}: {failed:?}");
        assert!(failed.msg.contains("device"), "{method} {path}: {failed:?}");
        let failed = rig.ask(call, PUID, "9");
        assert_eq!(failed.code, 2, "{method} {path}: {failed:?}");
        // There the index is that of a card.
        let of_card = path.contains("/storage/");
        let what = if of_card { "card" } else { "channel" };
        assert!(failed.msg.contains(what), "{method} {path}: {failed:?}");
    }
    for path in ["info", "onlinestatus"] {
        let answer = rig
            .node
            .get(&format!("/bvcsp/v1/pu/{path}/{NOBODY}"), Some(&rig.token));
        assert_eq!(answer.json()["code"], 2, "{path}");
    }
}

/// Code 5, once the camera has left.
#[test]
fn a_device_that_is_offline_is_code_5() {
    let mut rig = Rig::new();
    rig.camera.take().expect("it runs").stop();
    let path = format!("/bvcsp/v1/pu/onlinestatus/{PUID}");
    wait_until("it is offline", || {
        let answer = rig.node.get(&path, Some(&rig.token)).json();
        (answer["data"]["status"] == 0).then_some(())
    });
    let mut calls = orders();
    calls.extend(questions());
    calls.push(playback());
    for ((method, path, ..), failed) in rig.ask_all(calls) {
        assert_eq!(failed.code, 5, "{method} {path}: {failed:?}");
        assert!(
            failed.msg.contains("offline"),
            "{method} {path}: {failed:?}"
        );
    }
    let failed = rig.watch();
    assert_eq!(failed.code, 5, "{failed:?}");
}

/// Code 4 names the field that is wrong.
#[test]
fn a_wrong_parameter_is_code_4_with_the_name_of_its_field() {
    let rig = Rig::new();
    let span = json!({"filter": {"beginTime": 9, "endTime": 8}});
    let begin = now() - AGO_S;
    for (method, path, body, field) in [
        (
            "POST",
            format!("/bvcsp/v1/pu/ptz/camera/{PUID}/0"),
            json!({"operate": "sideways"}),
            "operate",
        ),
        (
            "POST",
            format!("/bvcsp/v1/pu/ptz/camera/{PUID}/0"),
            json!({"operate": "left", "hSpeed": 101}),
            "hSpeed",
        ),
        (
            "PUT",
            format!("/bvcsp/v1/pu/ptz/preset/go/{PUID}/0/256"),
            json!({}),
            "id",
        ),
        (
            "POST",
            format!("/bvcsp/v1/pu/ptz/camera/{PUID}/x"),
            json!({"operate": "left"}),
            "index",
        ),
        (
            "POST",
            "/bvcsp/v1/pu/ptz/camera/PU_x/0".to_owned(),
            json!({"operate": "left"}),
            "puid",
        ),
        (
            "POST",
            format!("/bvcsp/v1/pu/recordfile/filter/{PUID}"),
            span,
            "endTime",
        ),
        (
            "POST",
            "/bvcsp/v1/pu/list".to_owned(),
            json!({"sort": "colour"}),
            "sort",
        ),
        (
            "POST",
            format!("/gantry/v1/devices/{PUID}/notices/list"),
            json!({"sort": "colour"}),
            "sort",
        ),
        (
            "PUT",
            format!("/gantry/v1/devices/{PUID}/subscriptions/weather"),
            json!({}),
            "topic",
        ),
        (
            "POST",
            "/bvcsp/v1/28181in/recordfile/task/create".to_owned(),
            json!({"id": PUID, "index": 0, "beginTime": begin, "endTime": begin - 1}),
            "endTime",
        ),
    ] {
        let token = Some(rig.token.as_str());
        let answer = rig
            .node
            .request(method, &path, token, "application/json", &body.to_string());
        let failed = Failed::of(&answer);
        assert_eq!(failed.code, 4, "{method} {path}: {failed:?}");
        assert!(
            failed.msg.contains(field),
            "{method} {path} {field}: {failed:?}"
        );
    }
    // Where HTTP statuses speak it is 400, with the field too.
    for (method, path, body, field) in [
        (
            "POST",
            "control",
            json!({"order": "scan", "scan": 1, "action": "speed", "speed": 5000}),
            "speed",
        ),
        (
            "POST",
            "query",
            json!({"query": "config", "types": ["Nothing"]}),
            "types",
        ),
        (
            "PUT",
            "settings",
            json!({"FrameMirror": {"mode": 99}}),
            "mode",
        ),
    ] {
        let path = format!("/gantry/v1/device/{path}/{PUID}/0");
        let token = Some(rig.token.as_str());
        let answer = rig
            .node
            .request(method, &path, token, "application/json", &body.to_string());
        let failed = Failed::of(&answer);
        assert_eq!(answer.status, 400, "{method} {path}: {failed:?}");
        assert!(
            failed.msg.contains(field),
            "{method} {path} {field}: {failed:?}"
        );
    }
}

/// Code 16, and 403 where HTTP statuses speak, for who is no administrator; each is done for who is one.
#[test]
fn who_may_not_is_told_code_16() {
    let (node, admin, plain) = rights::start();
    let ask = |token: &str, method: &str, path: &str, body: &Value| {
        node.request(
            method,
            path,
            Some(token),
            "application/json",
            &body.to_string(),
        )
    };
    for (method, path, body) in [
        ("POST", format!("/bvcsp/v1/pu/reboot/{NOBODY}"), json!({})),
        ("POST", format!("/bvcsp/v1/pu/kickout/{NOBODY}"), json!({})),
        ("DELETE", format!("/bvcsp/v1/pu/{NOBODY}"), json!({})),
        (
            "POST",
            "/bvcsp/v1/28181in/device/create".into(),
            json!({"id": &NOBODY[3..]}),
        ),
        ("POST", "/bvcsp/v1/bwlist/add".into(), json!({})),
        ("POST", format!("/bvcsp/v1/pu/upgrade/{NOBODY}"), json!({})),
    ] {
        let failed = Failed::of(&ask(&plain, method, &path, &body));
        assert_eq!(failed.code, 16, "{method} {path}: {failed:?}");
        assert!(
            failed.msg.contains("administrator"),
            "{method} {path}: {failed:?}"
        );
        let other = Failed::of(&ask(&admin, method, &path, &body));
        assert_ne!(other.code, 16, "{method} {path}: {other:?}");
    }
    for (method, path, body) in [
        ("PUT", "devices/{}/policy", json!({})),
        ("PUT", "devices/{}/auth", json!({})),
        ("POST", "device/control/{}/0", json!({"order": "teleBoot"})),
        (
            "PUT",
            "device/settings/{}/0",
            json!({"FrameMirror": {"mode": 1}}),
        ),
    ] {
        let path = format!("/gantry/v1/{}", path.replace("{}", NOBODY));
        assert_eq!(
            ask(&plain, method, &path, &body).status,
            403,
            "{method} {path}"
        );
        assert_ne!(
            ask(&admin, method, &path, &body).status,
            403,
            "{method} {path}"
        );
    }
}
