//! A lower platform with 100,000 cameras: its directory comes whole in time and in bounds, and a level of the tree at once.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::node::{Devices, Node, wait_until};

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
