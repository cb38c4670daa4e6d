//! A lower platform with 100,000 cameras: its directory comes whole in time and in bounds, and a level of the tree at once.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::node::{Devices, Node, wait_until};
use super::player::HttpStream;

const CAMERAS: u64 = 100_000;
const PUID: &str = "PU_34020000002000000002";

#[test]
fn a_platform_of_100_000_channels_is_read_whole_and_shown_by_level() {
    // Figures hold for a release build; one for debugging gets the time that it needs and no verdict on it.
    let release = std::env::var_os("GANTRY_TEST_BINARY").is_some();
    let node = Node::start(&[]);
    let token = node.login();
    let statistics = || {
        let answer = node.post("/bvcsp/v1/statistics/base", Some(&token), &json!({}));
        answer["data"].clone()
    };
    statistics();
    let before = node.resident_bytes();
    let begun = Instant::now();
    let count = CAMERAS.to_string();
    let arguments = ["--platform", &count, "--id-base", "34020000002000000002"];
    let _platform = Devices::start(&node, &arguments);
    let mut most = before;
    let patience = Instant::now() + Duration::from_secs(240);
    while statistics()["channelCount"] != CAMERAS {
        most = most.max(node.resident_bytes());
        assert!(Instant::now() < patience, "{}", statistics());
        std::thread::park_timeout(Duration::from_millis(100));
    }
    let took = begun.elapsed();
    let grown = most.max(node.resident_bytes()) - before;
    println!("{CAMERAS} channels: {took:?}, {} MiB more", grown >> 20);
    let info = node
        .get(
            &format!("/bvcsp/v1/28181in/platform/info/{}", &PUID[3..]),
            Some(&token),
        )
        .json();
    assert_eq!(
        (&info["data"]["channelCount"], &info["data"]["kind"]),
        (&json!(CAMERAS), &json!("platform"))
    );

    let path = format!("/gantry/v1/devices/{PUID}/tree");
    let mut slowest = Duration::ZERO;
    let mut level = |parent: &str, page: u32| {
        let body = json!({"page": page, "pageSize": 100, "filter": {"parent": parent}});
        let asked = Instant::now();
        let answer = node.post(&path, Some(&token), &body);
        slowest = slowest.max(asked.elapsed());
        assert_eq!(answer["code"], 0, "{answer}");
        answer
    };
    let districts = level("", 0);
    assert_eq!(districts["pageInfo"]["totalCount"], 10, "{districts}");
    let first =
        |answer: &Value, n: usize| answer["data"][n]["id"].as_str().expect("an id").to_owned();
    let groups = level(&first(&districts, 3), 0);
    let organisations = level(&first(&groups, 0), 0);
    assert_eq!(organisations["pageInfo"]["totalCount"], 40);
    let cameras = level(&first(&organisations, 39), 2);
    assert_eq!(cameras["pageInfo"]["totalCount"], 250);
    assert_eq!(
        cameras["data"].as_array().map(Vec::len),
        Some(50),
        "the last page"
    );
    assert!(cameras["data"][0]["index"].is_u64());
    println!("slowest level: {slowest:?}");
    if release {
        assert!(took < Duration::from_secs(30), "{took:?}");
        assert!(grown < 200 << 20, "{} MiB", grown >> 20);
        assert!(slowest < Duration::from_millis(200), "{slowest:?}");
    }
    // The node lives on: one of its cameras is known by its index.
    wait_until("a list still answers", || {
        let answer = node.post("/bvcsp/v1/pu/list", Some(&token), &json!({}));
        (answer["data"][0]["channelCount"] == CAMERAS).then_some(())
    });
}

/// Control, live view, playback and subscriptions reach a channel through the platform that has it.
#[test]
fn a_channel_of_a_lower_platform_is_steered_watched_played_back_and_subscribed_to() {
    let node = Node::start(&[]);
    let token = node.login();
    let arguments = ["--platform", "12", "--id-base", "34020000002000000002"];
    let _platform = Devices::start(&node, &arguments);
    node.wait_for_device(&token, PUID, 12);
    let (camera, other) = (7, 8);
    let ask = |method: &str, path: &str, body: Value| {
        let body = body.to_string();
        node.request(method, path, Some(&token), "application/json", &body)
    };
    let done = |method: &str, path: &str, body: Value| {
        let answer = ask(method, path, body).json();
        assert_eq!(answer["code"], 0, "{method} {path}: {answer}");
        answer["data"].clone()
    };
    let pan = |index: u32| {
        let answer = node.get(&format!("/gantry/v1/ptz/{PUID}/{index}"), Some(&token));
        answer.json()["pan"].as_f64().expect("degrees")
    };

    // Where one of its cameras looks is told, and not where the others do.
    let subscription = format!("/gantry/v1/devices/{PUID}/subscriptions/ptz");
    let of_camera = format!("{subscription}?channel={camera}");
    done("PUT", &of_camera, json!({}));
    let state = || {
        let list = done(
            "GET",
            &format!("/gantry/v1/devices/{PUID}/subscriptions"),
            Value::Null,
        );
        let list = list.as_array().expect("a list").clone();
        list.into_iter().find(|one| one["channel"] == camera)
    };
    wait_until("the subscription is active", || {
        state().filter(|one| one["state"] == "active" && one["own"] == true)
    });
    for (query, code) in [("99", 2), ("x", 4)] {
        let path = format!("{subscription}?channel={query}");
        assert_eq!(ask("PUT", &path, json!({})).json()["code"], code);
    }
    let catalog = format!("/gantry/v1/devices/{PUID}/subscriptions/catalog?channel=1");
    assert_eq!(ask("PUT", &catalog, json!({})).json()["code"], 4);

    // It turns, and the one beside it stands.
    let (from, beside) = (pan(camera), pan(other));
    let turn = |index: u32, body: Value| {
        done(
            "POST",
            &format!("/bvcsp/v1/pu/ptz/camera/{PUID}/{index}"),
            body,
        );
    };
    turn(
        other,
        json!({"operate": "right", "hSpeed": 0, "stop": true}),
    );
    turn(camera, json!({"operate": "right", "hSpeed": 80}));
    wait_until("it has turned", || (pan(camera) > from + 5.0).then_some(()));
    turn(camera, json!({"operate": "right", "stop": true}));
    assert_eq!(pan(other), beside);
    let notices = format!("/gantry/v1/devices/{PUID}/notices/list");
    let told = wait_until("it told where it looks", || {
        let list = done("POST", &notices, json!({"filter": {"kind": "ptzPosition"}}));
        list.as_array().filter(|list| !list.is_empty()).cloned()
    });
    assert!(
        told.iter().all(|notice| notice["place"] == camera),
        "{told:?}"
    );
    let payload = told[0]["payload"].as_str().expect("JSON");
    assert!(payload.contains("\"pan\":"), "{payload}");

    // A picture, live and of a record.
    let live = format!("/live/{PUID}/{camera}.flv?token={token}");
    assert_eq!(HttpStream::open(node.http, &live).status, 200);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let now = now.expect("after 1970").as_secs();
    let record = json!({"page": 0, "pageSize": 1000,
        "filter": {"beginTime": now - 30 * 3_600, "endTime": now, "channelIndex": camera}});
    let files = done(
        "POST",
        &format!("/bvcsp/v1/pu/recordfile/filter/{PUID}"),
        record,
    );
    let begin = files[0]["beginTime"].as_u64().expect("a time");
    let body = json!({"id": PUID, "index": camera, "beginTime": begin, "endTime": begin + 30});
    let play = ask("POST", "/gantry/v1/playback", body);
    assert_eq!(play.status, 200, "{}", String::from_utf8_lossy(&play.body));
    let play = play.json()["dialogid"].as_str().expect("an id").to_owned();
    let path = format!("/gantry/v1/playback/{play}");
    wait_until("it plays", || {
        let state = node.get(&path, Some(&token)).json();
        state["range"][0]
            .as_f64()
            .filter(|position| *position > 1.0)
    });
    assert_eq!(ask("DELETE", &path, json!({})).status, 204);

    done("DELETE", &of_camera, Value::Null);
    wait_until("the subscription is gone", || {
        state().is_none().then_some(())
    });
}
