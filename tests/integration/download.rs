//! Records of devices downloaded end to end: simulated recorders, the real node, and ffmpeg, which must decode the file.

use std::path::PathBuf;
use std::time::Instant;

use serde_json::{Value, json};

use super::node::{Devices, Node, tool, wait_until};

const ID: &str = "34020000001320000001";
const PUID: &str = "PU_34020000001320000001";

fn start(node: &Node, arguments: &[&str]) -> Devices {
    let one = ["--count", "1", "--channels", "1", "--id-base", ID];
    Devices::start(node, &[one.as_slice(), arguments].concat())
}

/// Unix seconds of the beginning of an hour that every device has recorded.
fn recorded_hour() -> u64 {
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .expect("after 1970")
        .as_secs();
    now - now % 3_600 - 2 * 3_600
}

fn create(node: &Node, token: &str, begin: u64, seconds: u64, speed: u32) -> Value {
    let body = json!({"id": PUID, "index": 0, "beginTime": begin, "endTime": begin + seconds, "speed": speed});
    node.post(
        "/bvcsp/v1/28181in/recordfile/task/create",
        Some(token),
        &body,
    )
}

fn made(answer: &Value) -> String {
    assert_eq!(answer["code"], 0, "{answer}");
    answer["data"]["taskid"].as_str().expect("an id").to_owned()
}

fn progress(node: &Node, token: &str, task: &str) -> Value {
    let path = format!("/bvcsp/v1/28181in/recordfile/progress/{task}");
    let answer = node.get(&path, Some(token)).json();
    assert_eq!(answer["code"], 0, "{answer}");
    answer["data"].clone()
}

fn fetch(node: &Node, token: &str, task: &str) -> PathBuf {
    let path = format!("/bvcsp/v1/28181in/recordfile/download/{task}");
    let response = node.get(&path, Some(token));
    assert_eq!(response.status, 200);
    assert_eq!(response.header("content-type"), Some("video/mp4"));
    let file = node.dir().join(format!("fetched-{task}.mp4"));
    std::fs::write(&file, &response.body).expect("the folder can be written");
    file
}

/// Seconds of a file by its index, its pictures and pieces of sound as ffmpeg decodes them, without a word of complaint.
fn decode(file: &std::path::Path) -> Option<(f64, u64, u64)> {
    let file = file.to_str().expect("UTF-8");
    let count = [
        "-v",
        "error",
        "-count_frames",
        "-show_entries",
        "stream=codec_type,nb_read_frames:format=duration",
        "-of",
        "json",
        file,
    ];
    let output = tool("ffprobe", &count)?;
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(complaints.is_empty(), "{complaints}");
    let found: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let frames = |kind: &str| {
        let streams = found["streams"].as_array().expect("streams");
        let stream = streams.iter().find(|s| s["codec_type"] == kind);
        stream.map_or(0, |s| {
            s["nb_read_frames"]
                .as_str()
                .expect("a number")
                .parse()
                .expect("a number")
        })
    };
    let duration = found["format"]["duration"].as_str().expect("a duration");
    Some((
        duration.parse().expect("seconds"),
        frames("video"),
        frames("audio"),
    ))
}

#[test]
fn field_30_a_download_tells_how_far_it_is_and_is_a_file_that_plays() {
    let node = Node::start(&[]);
    let _devices = start(&node, &[]);
    let token = node.login();
    node.wait_for_device(&token, PUID, 1);
    let task = made(&create(&node, &token, recorded_hour(), 40, 4));
    let early = node
        .get(
            &format!("/bvcsp/v1/28181in/recordfile/download/{task}"),
            Some(&token),
        )
        .json();
    assert_eq!(early["code"], 7, "{early}");
    let mut seen = Vec::new();
    let began = Instant::now();
    let done = wait_until("it is done", || {
        let info = progress(&node, &token, &task);
        assert_ne!(info["state"], "failed", "{info}");
        seen.push(info["progress"].as_u64().expect("a number"));
        (info["state"] == "done").then_some(info)
    });
    let took = began.elapsed().as_secs_f64();
    assert_eq!(done["progress"], 100);
    assert!(seen.windows(2).all(|w| w[0] <= w[1]), "{seen:?}");
    let on_the_way = seen.iter().filter(|p| (10..95).contains(*p)).count();
    assert!(on_the_way >= 5, "{seen:?}");
    println!("40 s in {took:.1} s");
    let file = fetch(&node, &token, &task);
    let bytes = std::fs::read(&file).expect("it was written");
    assert_eq!(done["fileSize"], bytes.len());
    if let Some((seconds, pictures, sounds)) = decode(&file) {
        assert!((39.5..40.6).contains(&seconds), "{seconds}");
        assert!((995..=1_000).contains(&pictures), "{pictures} of 1000");
        assert!(sounds > 1_000, "{sounds}");
    }
    let path = format!("/bvcsp/v1/28181in/recordfile/download/{task}?download=true");
    let ranged = |range: &str| {
        // The content type is the one header that a caller of `request` chooses; the range goes behind it.
        let and_range = format!("application/json\r\nRange: {range}");
        node.request("GET", &path, Some(&token), &and_range, "")
    };
    let part = ranged("bytes=100-199");
    assert_eq!((part.status, &part.body[..]), (206, &bytes[100..200]));
    let total = bytes.len();
    assert_eq!(
        part.header("content-range"),
        Some(format!("bytes 100-199/{total}").as_str())
    );
    assert!(
        part.header("content-disposition")
            .is_some_and(|v| v.contains(".mp4"))
    );
    assert_eq!(ranged(&format!("bytes={total}-")).status, 416);
    let removed = node.request(
        "DELETE",
        &format!("/gantry/v1/downloads/{task}"),
        Some(&token),
        "",
        "",
    );
    assert_eq!(removed.status, 204);
    let left = std::fs::read_dir(node.dir().join("downloads"))
        .expect("the folder")
        .count();
    assert_eq!(left, 0, "nothing is left on the disk");
}

#[test]
fn h265_and_other_sounds_become_files_too() {
    let node = Node::start(&[]);
    let _devices = start(&node, &["--codec", "h265", "--audio", "aac"]);
    let token = node.login();
    node.wait_for_device(&token, PUID, 1);
    let begin = recorded_hour();
    let path = format!("/bvcsp/v1/pu/download/{PUID}/0-{begin}-{}", begin + 10);
    let response = wait_until("the file is there", || {
        let response = node.get(&path, Some(&token));
        assert!(matches!(response.status, 200 | 202));
        (response.status == 200).then_some(response)
    });
    let file = node.dir().join("h265.mp4");
    std::fs::write(&file, &response.body).expect("the folder can be written");
    if let Some((seconds, pictures, sounds)) = decode(&file) {
        assert!((9.5..10.6).contains(&seconds), "{seconds}");
        assert!((245..=250).contains(&pictures), "{pictures} of 250");
        assert!(sounds > 100, "{sounds}");
    }
}

/// The program is killed in the middle of a download, and the device is not there when it starts again: the task waits for
/// it, goes on by itself where it was, and the file is whole.
#[test]
fn a_download_goes_on_by_itself_after_a_kill() {
    let node = Node::start(&[]);
    let devices = start(&node, &[]);
    let token = node.login();
    node.wait_for_device(&token, PUID, 1);
    let task = made(&create(&node, &token, recorded_hour(), 60, 4));
    wait_until("half of it is here", || {
        let position = progress(&node, &token, &task)["position"].as_f64();
        position.filter(|p| *p > 32.0)
    });
    let folder = node.kill();
    drop(devices);
    // While it is away it is asked in vain: what waits for an answer must not wait long here.
    let node = Node::start_in(folder, &[("GANTRY_MEDIA_ANSWER_TIMEOUT_MS", "500")]);
    let token = node.login();
    let before = progress(&node, &token, &task)["position"]
        .as_f64()
        .expect("seconds");
    assert!(before > 15.0, "what was here is known: {before}");
    wait_until("it waits for the device", || {
        let info = progress(&node, &token, &task);
        assert_ne!(info["state"], "failed", "{info}");
        let reason = info["reason"].as_str().unwrap_or_default();
        reason.starts_with("waiting for the device").then_some(())
    });
    let _devices = start(&node, &[]);
    let after = wait_until("it is done", || {
        let info = progress(&node, &token, &task);
        assert_ne!(info["state"], "failed", "{info}");
        (info["state"] == "done").then_some(info)
    });
    assert_eq!(after["progress"], 100);
    if let Some((seconds, pictures, _)) = decode(&fetch(&node, &token, &task)) {
        assert!((59.0..60.8).contains(&seconds), "{seconds}");
        assert!((1_470..=1_500).contains(&pictures), "{pictures} of 1500");
    }
}

#[test]
fn a_download_that_ends_early_says_why_and_is_taken_up_again() {
    let node = Node::start(&[]);
    let devices = start(&node, &["--quirk", "stops-early"]);
    let token = node.login();
    node.wait_for_device(&token, PUID, 1);
    let task = made(&create(&node, &token, recorded_hour(), 40, 4));
    let failed = wait_until("it fails", || {
        let info = progress(&node, &token, &task);
        (info["state"] == "failed").then_some(info)
    });
    let reason = failed["reason"].as_str().expect("a reason");
    assert!(
        reason.starts_with("stopped early: the device sent BYE at"),
        "{reason}"
    );
    let position = failed["position"].as_f64().expect("seconds");
    assert!((17.0..23.0).contains(&position), "{position}");
    drop(devices);
    let _devices = start(&node, &[]);
    let path = format!("/gantry/v1/downloads/{task}/resume");
    wait_until("the device is there again", || {
        let resumed = node.request("POST", &path, Some(&token), "", "");
        assert!(matches!(resumed.status, 200 | 409), "{}", resumed.status);
        let info = progress(&node, &token, &task);
        (info["state"] == "done").then_some(())
    });
    if let Some((seconds, pictures, _)) = decode(&fetch(&node, &token, &task)) {
        assert!((39.0..40.8).contains(&seconds), "{seconds}");
        assert!((975..=1_000).contains(&pictures), "{pictures} of 1000");
    }
}

#[test]
fn downloads_have_bounds_and_what_is_wrong_is_named() {
    let node = Node::start(&[("GANTRY_DOWNLOAD_DISK_BYTES", "1048576")]);
    let _devices = start(&node, &[]);
    let token = node.login();
    node.wait_for_device(&token, PUID, 1);
    let begin = recorded_hour();
    let task = made(&create(&node, &token, begin, 60, 8));
    let failed = wait_until("the disk is full", || {
        let info = progress(&node, &token, &task);
        (info["state"] == "failed").then_some(info)
    });
    assert!(
        failed["reason"]
            .as_str()
            .is_some_and(|r| r.contains("download.disk_bytes")),
        "{failed}"
    );
    let full = create(&node, &token, begin, 60, 8);
    assert_eq!(full["code"], 7, "{full}");
    for (body, code, field) in [
        (
            json!({"id": PUID, "beginTime": begin, "endTime": begin}),
            4,
            "endTime",
        ),
        (
            json!({"id": PUID, "beginTime": begin, "endTime": begin + 9, "speed": 99}),
            4,
            "speed",
        ),
        (
            json!({"id": "x", "beginTime": begin, "endTime": begin + 9}),
            4,
            "puid",
        ),
        (
            json!({"id": "PU_34020000009990000001", "beginTime": begin, "endTime": begin + 9}),
            2,
            "device",
        ),
        (
            json!({"id": PUID, "index": 9, "beginTime": begin, "endTime": begin + 9}),
            2,
            "channel",
        ),
    ] {
        let answer = node.post(
            "/bvcsp/v1/28181in/recordfile/task/create",
            Some(&token),
            &body,
        );
        assert_eq!(answer["code"], code, "{body}: {answer}");
        assert!(
            answer["msg"].as_str().is_some_and(|m| m.contains(field)),
            "{answer}"
        );
    }
    let none = node
        .get("/bvcsp/v1/28181in/recordfile/progress/T99", Some(&token))
        .json();
    assert_eq!(none["code"], 2);
    let list = node.post(
        "/gantry/v1/downloads/list",
        Some(&token),
        &json!({"filter": {"state": "failed"}}),
    );
    assert_eq!(list["pageInfo"]["totalCount"], 1, "{list}");
}

/// A user sees and fetches what is his; a file that a GET made is in the log.
#[test]
fn a_download_is_its_owners() {
    let (node, admin, guard) = super::rights::start();
    let _devices = start(&node, &[]);
    node.wait_for_device(&admin, PUID, 1);
    let begin = recorded_hour();
    let path = format!("/bvcsp/v1/pu/download/{PUID}/0-{begin}-{}", begin + 5);
    let task_of = |token: &str, user: &str| {
        let first = node.get(&path, Some(token));
        assert_eq!(first.status, 202);
        let info = first.json()["data"].clone();
        assert_eq!(info["userid"], user, "{info}");
        info["taskid"].as_str().expect("an id").to_owned()
    };
    let theirs = task_of(&admin, "admin");
    let own = task_of(&guard, "guard");
    assert_ne!(theirs, own);
    let at = |task: &str| format!("/bvcsp/v1/28181in/recordfile/progress/{task}");
    assert_eq!(node.get(&at(&theirs), Some(&guard)).json()["code"], 2);
    assert_eq!(node.get(&at(&own), Some(&admin)).json()["code"], 0);
    for token in [&admin, &guard] {
        wait_until("the file is there", || {
            (node.get(&path, Some(token)).status == 200).then_some(())
        });
    }
    let filter = json!({"filter": {"keyword": "pu/download"}});
    let log = node.post("/bvcsp/v1/log/operate", Some(&admin), &filter);
    let rows = log["data"].as_array().expect("rows");
    let users: Vec<&str> = rows
        .iter()
        .filter_map(|row| row["userId"].as_str())
        .collect();
    assert_eq!(users.len(), 2, "one row a task, none for what reads: {log}");
    assert!(
        users.contains(&"admin") && users.contains(&"guard"),
        "{log}"
    );
}
