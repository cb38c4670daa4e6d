//! What Device Management sets by REST is what the device has from then on: set, asked back from the device by a question of
//! its own, read by the same call, and seen to be of that camera alone. And what only the platform keeps is there after a
//! restart.

use serde_json::{Value, json};

use super::management::{PUID, Site};
use super::node::{Devices, Node, wait_until};
use super::socket::EventSocket;

/// The configuration of the standard, by the name of its call with the places in it, and a body that changes something.
pub fn bodies() -> Vec<(&'static str, Value)> {
    let slice = |begin: &str, end: &str| json!({"begin": begin, "end": end});
    let mut week = vec![json!([]); 7];
    week[0] = json!([slice("00:00:00", "23:59:59")]);
    week[3] = json!([slice("08:00:00", "12:00:00"), slice("13:30:00", "18:00:00")]);
    let general = r#"{"name":"门口","expiration":7200,"heartBeatInterval":45,"heartBeatCount":4}"#;
    let stream = json!({"streamNumber": 0, "videoFormat": "2", "resolution": "6", "frameRate": "25",
        "bitRateType": "1", "videoBitRate": "2048"});
    let rect = json!({"left": 10, "top": 20, "right": 300, "bottom": 400});
    vec![
        ("general/{puid}", json!({ "config": general })),
        (
            "server/{puid}",
            json!({"keepalive": 30, "keepaliveCount": 5, "expires": 600}),
        ),
        ("encoder/{puid}/{index}", json!({"streams": [stream]})),
        (
            "videoin/{puid}/{index}",
            json!({"mirror": 2, "shelter": {"enable": true, "rects": [rect]}}),
        ),
        (
            "overlay/{puid}/{index}",
            json!({"width": 1920, "height": 1080, "timeX": 16, "timeY": 24, "timeEnable": true, "timeFormat": 1,
                "textEnable": true, "texts": [{"text": "东门", "x": 16, "y": 1000}]}),
        ),
        (
            "storage/schedule/{puid}/{index}",
            json!({"enable": true, "stream": 1, "week": week}),
        ),
        (
            "storage/rule/{puid}/{index}",
            json!({"alarmRecord": true, "alarmSeconds": 30, "preSeconds": 5, "stream": 0}),
        ),
        (
            "alertin/{puid}/{index}",
            json!({"motionDetection": true, "fieldDetection": false}),
        ),
    ]
}

/// The types of the standard that a call is made of, and a piece of what the device then answers to a question of its own.
fn of_standard(call: &str) -> &'static [(&'static str, &'static str)] {
    match call.split('/').next() {
        Some("general") => &[("BasicParam", "\"heartBeatInterval\":45")],
        Some("server") => &[("BasicParam", "\"expiration\":600")],
        Some("encoder") => &[("VideoParamAttribute", "\"videoBitRate\":\"2048\"")],
        Some("videoin") => &[
            ("FrameMirror", "\"mode\":2"),
            ("PictureMask", "\"point\":\"10,20,300,400\""),
        ],
        Some("overlay") => &[("OSDConfig", "东门")],
        Some("alertin") => &[("AlarmReport", "\"motionDetection\":1")],
        Some(_) | None if call.contains("schedule") => &[("VideoRecordPlan", "\"startHour\":13")],
        Some(_) | None => &[("VideoAlarmRecord", "\"preRecordTime\":5")],
    }
}

fn placed(path: &str, index: u32) -> String {
    path.replace("{puid}", PUID)
        .replace("{index}", &index.to_string())
}

/// Every field that was set is read again as it was set; what is read only stands beside it.
fn same(call: &str, set: &Value, read: &Value) {
    for (key, value) in set.as_object().expect("an object") {
        if call.starts_with("general") {
            let parse = |value: &Value| -> Value {
                serde_json::from_str(value.as_str().expect("text")).expect("JSON")
            };
            assert_eq!(parse(&read[key]), parse(value), "{call}: {key}");
        } else {
            assert_eq!(&read[key], value, "{call}: {key}");
        }
    }
}

#[test]
fn what_is_set_by_rest_is_what_the_device_has() {
    let site = Site::start();
    let question = |index: u32, kind: &str| {
        let path = format!("/gantry/v1/device/query/{PUID}/{index}");
        let body = json!({"query": "config", "types": [kind]}).to_string();
        let response =
            site.node
                .request("POST", &path, Some(&site.token), "application/json", &body);
        String::from_utf8_lossy(&response.body).into_owned()
    };
    for (call, body) in bodies() {
        let path = format!("/bvcsp/v1/pu/config/{}", placed(call, 0));
        let of_channel = call.contains("{index}");
        let before = site.answer("GET", &path, Value::Null);
        site.data("PUT", &path, body.clone());
        let read = site.data("GET", &path, Value::Null);
        same(call, &body, &read);
        assert_ne!(before["data"], read, "{call} changes something");
        if !of_channel {
            continue;
        }
        for (kind, piece) in of_standard(call) {
            let told = question(0, kind);
            assert!(told.contains(piece), "{call}: {kind}: {told}");
            let other = question(1, kind);
            assert!(
                !other.contains(piece),
                "{call}: another camera has it too: {other}"
            );
        }
        let wrong = placed(call, 99);
        let answer = site.answer("PUT", &format!("/bvcsp/v1/pu/config/{wrong}"), body);
        assert_eq!(answer["code"], 2, "{call}: no such channel: {answer}");
    }
    // The two calls of the device itself share what they set.
    let told = question_of_device(&site);
    for (_, piece) in of_standard("server") {
        assert!(told.contains(piece), "{told}");
    }
}

/// The basic parameters as the device tells them when it is asked by another call.
fn question_of_device(site: &Site) -> String {
    let general = site.data(
        "GET",
        &format!("/bvcsp/v1/pu/config/general/{PUID}"),
        Value::Null,
    );
    general["config"].as_str().expect("text").to_owned()
}

/// A wrong value is code 4 and names its field, and leaves the device as it was.
#[test]
fn what_the_standard_does_not_have_is_refused_before_it_is_sent() {
    let site = Site::start();
    let put = |call: &str, body: Value| {
        let path = format!("/bvcsp/v1/pu/config/{}", placed(call, 0));
        site.answer("PUT", &path, body)
    };
    for (call, body, field) in [
        (
            "server/{puid}",
            json!({"keepalive": 1}),
            "heartBeatInterval",
        ),
        (
            "general/{puid}",
            json!({"config": "{\"colour\":1}"}),
            "colour",
        ),
        ("general/{puid}", json!({}), "config"),
        ("encoder/{puid}/{index}", json!({"streams": 7}), "streams"),
        (
            "storage/schedule/{puid}/{index}",
            json!({"enable": true, "week": []}),
            "week",
        ),
        (
            "alertin/{puid}/{index}",
            json!({"motionDetection": true}),
            "fieldDetection",
        ),
        (
            "gps/{puid}/{index}",
            json!({"enable": true, "interval": 0}),
            "interval",
        ),
        (
            "snapshot/{puid}/{index}",
            json!({"picCount": 11}),
            "picCount",
        ),
    ] {
        let answer = put(call, body);
        let msg = answer["msg"].as_str().unwrap_or_default().to_lowercase();
        assert_eq!(answer["code"], 4, "{call}: {answer}");
        let word = field.to_lowercase();
        assert!(msg.contains(&word), "{call}: {msg} names {field}");
    }
}

#[test]
fn orders_move_the_device() {
    let site = Site::start();
    let status = |index: u32| {
        let path = format!("/gantry/v1/device/query/{PUID}/{index}");
        let body = json!({"query": "deviceStatus"}).to_string();
        let response =
            site.node
                .request("POST", &path, Some(&site.token), "application/json", &body);
        String::from_utf8_lossy(&response.body).into_owned()
    };
    let records = |index: u32| status(index).contains("\"record\":\"ON\"");
    assert!(!records(0), "{}", status(0));
    site.data(
        "POST",
        &format!("/bvcsp/v1/pu/record/start/{PUID}/0"),
        json!({}),
    );
    assert!(records(0) && !records(1), "one camera of two records");
    let storage = format!("/bvcsp/v1/pu/storage/status/{PUID}");
    let of = |index: u32| site.data("GET", &format!("{storage}?index={index}"), Value::Null);
    assert_eq!(
        (&of(0)["recordVideo"], &of(1)["recordVideo"]),
        (&json!(true), &json!(false))
    );
    assert_eq!(
        site.code("GET", &format!("{storage}?index=x"), Value::Null),
        4
    );
    site.data(
        "POST",
        &format!("/bvcsp/v1/pu/record/stop/{PUID}/0"),
        json!({}),
    );
    assert!(!records(0));

    let medium = format!("/bvcsp/v1/pu/config/storage/media/{PUID}/0");
    let format = format!("/bvcsp/v1/pu/storage/format/{PUID}/0");
    let before = site.data("GET", &medium, Value::Null);
    assert!(
        before["free"].as_u64() < before["total"].as_u64(),
        "{before}"
    );
    assert_eq!(site.data("GET", &format, Value::Null)["action"], 0);
    // The order has no answer but that it came (A.2.3): a card that is not there shows by what does not happen.
    let none = format!("/bvcsp/v1/pu/storage/format/{PUID}/7");
    site.data("POST", &none, json!({}));
    assert_eq!(site.data("GET", &format, Value::Null)["action"], 0);
    assert_eq!(site.code("GET", &none, Value::Null), 2);
    site.data("POST", &format, json!({}));
    let under_way = site.data("GET", &format, Value::Null);
    assert_eq!(under_way["action"], 1, "{under_way}");
    let after = site.data("GET", &medium, Value::Null);
    assert_eq!(after["status"], "formatting", "{after}");
    assert_eq!(after["free"], after["total"], "{after}");
    let registered = || {
        site.node
            .metric_where("gantry_registers_total", "outcome=\"ok\"")
    };
    let before = registered();
    site.data("POST", &format!("/bvcsp/v1/pu/reboot/{PUID}"), json!({}));
    wait_until("it comes up anew", || (registered() > before).then_some(()));
}

/// A recorder that drives: where it is and where its cameras are comes by WebSocket, stands in its track, and is told when it
/// is asked.
#[test]
fn positions_of_a_device_and_of_its_channels_arrive() {
    let site = Site::with(&["--driving"]);
    let mut socket = EventSocket::open(&site.node, "/bvcsp/v1/ws/gpsdata", &site.token);
    socket.send(&json!({"badd": true, "puid": [PUID]}));
    let config = format!("/bvcsp/v1/pu/config/gps/{PUID}/0");
    site.data("PUT", &config, json!({"enable": true, "interval": 1}));
    let read = site.data("GET", &config, Value::Null);
    assert_eq!(read, json!({"enable": true, "interval": 1}));
    let (mut device, mut camera) = (None, None);
    while device.is_none() || camera.is_none() {
        let message = socket.next();
        assert_eq!(message["devId"], PUID);
        match message["subDevIdx"].as_i64() {
            Some(-1) => device = Some(message),
            Some(1) => camera = Some(message),
            Some(_) | None => {}
        }
    }
    let (device, camera) = (device.expect("found"), camera.expect("found"));
    assert!(device.get("channelId").is_none(), "{device}");
    let info = site.data("GET", &format!("/bvcsp/v1/pu/info/{PUID}"), Value::Null);
    assert_eq!(camera["channelId"], info["channels"][1]["id"], "{camera}");
    assert!(camera["lat"].as_f64() > device["lat"].as_f64());

    let path = format!("/bvcsp/v1/pu/gpsdata/filter/{PUID}");
    let track = wait_until("the track has moved", || {
        let filter = json!({"filter": {"index": 1}, "sort": "-lng"});
        let track = site.data("POST", &path, filter);
        let points = track.as_array().expect("a list");
        (points.len() > 1).then(|| points.clone())
    });
    assert!(track[0]["lng"].as_f64() > track[1]["lng"].as_f64(), "east");
    assert!(
        track
            .iter()
            .all(|point| point["place"] == 1 && point["channel"] == camera["channelId"])
    );
    for (query, index) in [("", -1), ("?index=0", 0)] {
        let path = format!("/bvcsp/v1/pu/gpsdata/{PUID}{query}");
        let told = site.data("GET", &path, Value::Null);
        assert_eq!(
            (&told["devId"], &told["subDevIdx"]),
            (&json!(PUID), &json!(index))
        );
    }
    site.data("PUT", &config, json!({"enable": false}));
    assert_eq!(site.data("GET", &config, Value::Null)["enable"], false);
}

/// Alarms, comings and goings and answers to commands come by WebSocket as they happen, and stand in the lists afterwards.
#[test]
fn what_happens_is_told_by_websocket_and_kept() {
    let site = Site::with(&["--alarming"]);
    let open = |topic: &str| {
        let path = format!("/bvcsp/v1/ws/event/{topic}");
        EventSocket::open(&site.node, &path, &site.token)
    };
    let (mut alarms, mut comings) = (open("alarm"), open("onlinestatus"));
    let alarm = alarms.next();
    assert_eq!(
        (&alarm["devID"], &alarm["status"]),
        (&json!(PUID), &json!(1)),
        "{alarm}"
    );
    let key = alarm["key"].as_str().expect("a key");
    // It is written behind.
    let kept = wait_until("the alarm is in the list", || {
        let list = site.data("POST", "/bvcsp/v1/alarm", json!({"sort": "key"}));
        list.as_array()?
            .iter()
            .find(|row| row["key"] == key)
            .cloned()
    });
    for field in ["type", "devID", "subDevIdx", "desc", "time", "payload"] {
        assert_eq!(kept[field], alarm[field], "{field}");
    }
    let seen = json!({"keys": [key], "desc": "a cat"});
    site.data("PUT", "/bvcsp/v1/alarm/handle", seen);
    let handled = json!({"filter": {"status": 2}});
    let handled = site.data("POST", "/bvcsp/v1/alarm", handled);
    assert_eq!(
        (&handled[0]["key"], &handled[0]["processerID"]),
        (&json!(key), &json!("admin"))
    );

    let Site {
        node,
        devices,
        token,
    } = site;
    devices.leave();
    let left = comings.next();
    assert_eq!(
        (&left["status"], &left["device"]["id"]),
        (&json!(0), &json!(PUID)),
        "{left}"
    );
    let code = PUID.trim_start_matches("PU_");
    let _devices = Devices::start(
        &node,
        &["--count", "1", "--channels", "3", "--id-base", code],
    );
    let came = comings.next();
    assert_eq!(
        (&came["status"], &came["device"]["id"]),
        (&json!(1), &json!(PUID)),
        "{came}"
    );

    let unanswered = node.post(
        "/gantry/v1/command/admin",
        Some(&token),
        &json!({"cmd": "blink"}),
    );
    assert_eq!(unanswered["code"], 5, "nobody listens: {unanswered}");
    let mut client = EventSocket::open(&node, "/bvcsp/v1/ws/event/command", &token);
    let client = std::thread::spawn(move || {
        let order = client.next();
        client.send(
            &json!({"seq": order["seq"], "code": 0, "msg": "", "data": {"did": order["cmd"]}}),
        );
        client
    });
    // The socket is counted a moment after its upgrade is answered.
    let answer = wait_until("the client answers", || {
        let answer = node.post(
            "/gantry/v1/command/admin",
            Some(&token),
            &json!({"cmd": "blink"}),
        );
        (answer["code"] != 5).then_some(answer)
    });
    assert_eq!(answer["data"]["data"]["did"], "blink", "{answer}");
    drop(client.join().expect("it was asked"));
}

/// What GB/T 28181 has no word for is the platform's own, and outlives it.
#[test]
fn what_the_platform_keeps_is_there_after_a_restart() {
    let site = Site::start();
    let made = |path: &str, body: Value| {
        let made = site.data("POST", path, body);
        made["id"].as_str().expect("an id").to_owned()
    };
    let group = made("/bvcsp/v1/pu/group/create", json!({"name": "North"}));
    let class = made("/bvcsp/v1/pu/class/create", json!({"name": "Dome"}));
    let settings = json!([{"FrameMirror": {"mode": 1}}]);
    let plan = made(
        "/bvcsp/v1/configplan/create",
        json!({"name": "Night", "settings": settings}),
    );
    let order = json!({"firmware": "V9", "fileUrl": "http://127.0.0.1/v9.bin"});
    let item = json!({"black": true, "objType": 1, "objId": "PU_34020000001320000099"});
    for (method, path, body) in [
        (
            "PUT",
            format!("pu/info/{PUID}"),
            json!({"name": "Gate", "gid": group, "classID": class, "tags": ["a"]}),
        ),
        (
            "PUT",
            format!("pu/channel/{PUID}/1"),
            json!({"name": "East", "lng": 117.5, "lat": 31.5}),
        ),
        (
            "PUT",
            format!("pu/config/snapshot/{PUID}/0"),
            json!({"picCount": 3, "interval": 2_000}),
        ),
        (
            "PUT",
            format!("pu/config/gps/{PUID}/0"),
            json!({"enable": true, "interval": 7}),
        ),
        (
            "POST",
            format!("configplan/pu/add/{plan}"),
            json!({"ids": [PUID]}),
        ),
        ("POST", format!("pu/upgrade/{PUID}"), order),
        ("POST", "bwlist/add".into(), json!({"items": [item]})),
        ("PUT", "bwlist/config".into(), json!({"mode": 1})),
        (
            "POST",
            "pu/create".into(),
            json!({"id": "PU_34020000001320000077", "name": "later"}),
        ),
    ] {
        site.data(method, &format!("/bvcsp/v1/{path}"), body);
    }
    wait_until("the plan is done", || {
        let path = format!("/bvcsp/v1/configplan/pu/info/{PUID}");
        (site.data("GET", &path, Value::Null)["state"] == "done").then_some(())
    });
    let kept = |node: &Node, token: &str| -> Vec<(String, Value)> {
        let gets = [
            format!("pu/group/info/{group}"),
            format!("pu/class/info/{class}"),
            format!("configplan/info/{plan}"),
            format!("configplan/pu/info/{PUID}"),
            format!("pu/config/snapshot/{PUID}/0"),
            "bwlist/config".into(),
        ];
        let mut all: Vec<(String, Value)> = gets
            .into_iter()
            .map(|path| {
                let answer = node.get(&format!("/bvcsp/v1/{path}"), Some(token)).json();
                assert_eq!(answer["code"], 0, "{path}: {answer}");
                (path, answer["data"].clone())
            })
            .collect();
        let list = node.post("/bvcsp/v1/bwlist/list", Some(token), &json!({}));
        all.push(("bwlist/list".into(), list["data"].clone()));
        for (puid, fields) in [
            (PUID, &["name", "gid", "classID", "tags"][..]),
            ("PU_34020000001320000077", &["name"]),
        ] {
            let path = format!("/bvcsp/v1/pu/info/{puid}");
            let info = node.get(&path, Some(token)).json()["data"].clone();
            all.extend(
                fields
                    .iter()
                    .map(|field| (format!("{puid} {field}"), info[field].clone())),
            );
            if puid == PUID {
                let channel = &info["channels"][1];
                all.push((
                    "channel".into(),
                    json!([channel["name"], channel["gps"]["lng"]]),
                ));
            }
        }
        let gps = format!("/bvcsp/v1/pu/config/gps/{PUID}/0");
        let gps = node.get(&gps, Some(token)).json()["data"].clone();
        all.push(("gps interval".into(), gps["interval"].clone()));
        let upgrade = format!("/bvcsp/v1/pu/upgrade/status/{PUID}");
        let upgrade = node.get(&upgrade, Some(token)).json()["data"].clone();
        all.push(("upgrade".into(), upgrade["version"].clone()));
        all
    };
    let before = kept(&site.node, &site.token);
    assert!(
        before.iter().all(|(_, value)| !value.is_null()),
        "{before:#?}"
    );
    site.devices.leave();
    let folder = site.node.terminate().dir;
    let node = Node::start_in(folder, &[]);
    let token = node.login();
    let after = kept(&node, &token);
    for (before, after) in before.iter().zip(&after) {
        assert_eq!(before, after);
    }
}
