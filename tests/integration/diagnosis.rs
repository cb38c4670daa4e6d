//! What a node tells of itself when a picture does not come: messages, stages, sentences and capture files.

use serde_json::{Value, json};

use super::node::{Devices, Node, fresh_folder, tool, wait_until};
use super::player::HttpStream;

const ID: &str = "34020000001320000001";
const PUID: &str = "PU_34020000001320000001";

/// A node with one camera that does something wrong, and a login.
fn camera(quirk: &str, variables: &[(&str, &str)]) -> (Node, Devices, String) {
    let node = Node::start(&[&[("GANTRY_MEDIA_FALLBACK", "false")], variables].concat());
    let arguments = [
        "--count",
        "1",
        "--channels",
        "1",
        "--id-base",
        ID,
        "--quirk",
        quirk,
    ];
    let devices = Devices::start(&node, &arguments);
    let token = node.login();
    node.wait_for_device(&token, PUID, 1);
    (node, devices, token)
}

/// Asks for the picture; the status and the stage that failed.
fn view(node: &Node, token: &str) -> (u16, Value) {
    let path = format!("/live/{PUID}/0.flv?token={token}");
    let answer = node.get(&path, None);
    let stage = if answer.status == 200 {
        Value::Null
    } else {
        answer.json()["stage"].clone()
    };
    (answer.status, stage)
}

fn sip(node: &Node, token: &str) -> Vec<Value> {
    let answer = node.get(&format!("/gantry/v1/devices/{PUID}/sip"), Some(token));
    assert_eq!(answer.status, 200, "{}", answer.head);
    let page = answer.json();
    assert_eq!(page["pageInfo"]["page"], 0);
    page["messages"].as_array().expect("a list").clone()
}

fn starts(messages: &[Value]) -> Vec<&str> {
    messages
        .iter()
        .map(|m| m["start"].as_str().expect("a line"))
        .collect()
}

#[test]
fn the_messages_of_a_device_are_there_without_its_secrets() {
    let (node, _devices, token) = camera("tcp-only", &[]);
    let (status, stage) = view(&node, &token);
    assert_eq!((status, stage), (424, json!("rejected")));

    let messages = sip(&node, &token);
    let lines = starts(&messages);
    let has = |start: &str| lines.iter().any(|line| line.starts_with(start));
    for start in [
        "REGISTER ",
        "SIP/2.0 401",
        "SIP/2.0 200",
        "MESSAGE ",
        "INVITE ",
        "SIP/2.0 488",
        "ACK ",
    ] {
        assert!(has(start), "{start} in {lines:?}");
    }
    let times: Vec<i64> = messages.iter().filter_map(|m| m["time"].as_i64()).collect();
    assert!(times.is_sorted() && times[0] > 1_600_000_000_000);
    let invite = messages
        .iter()
        .find(|m| {
            m["start"]
                .as_str()
                .is_some_and(|s| s.starts_with("INVITE "))
        })
        .expect("it was sent");
    assert_eq!(invite["direction"], "out");
    assert_eq!(invite["local"], node.sip.to_string());
    assert!(
        invite["body"]
            .as_str()
            .is_some_and(|b| b.contains("\r\ny="))
    );
    let login = messages
        .iter()
        .find(|m| {
            m["head"]
                .as_str()
                .is_some_and(|h| h.contains("Authorization: Digest"))
        })
        .expect("it logged in");
    let head = login["head"].as_str().expect("text");
    assert!(head.contains(&format!("username=\"{ID}\"")), "{head}");
    assert!(
        head.contains("response=\"********************************\""),
        "{head}"
    );
    // Catalogs come as GB 2312 and are shown as text.
    let directory = messages.iter().filter_map(|m| m["body"].as_str());
    assert!(
        directory
            .clone()
            .any(|b| b.contains("<CmdType>Catalog</CmdType>"))
    );

    let page = node.get(
        &format!("/gantry/v1/devices/{PUID}/sip?page=1&pageSize=2"),
        Some(&token),
    );
    let page = page.json();
    assert_eq!(page["messages"].as_array().map(Vec::len), Some(2));
    assert_eq!(page["pageInfo"]["totalCount"], messages.len());
}

#[test]
fn a_device_that_is_not_let_in_has_its_messages_too() {
    let node = Node::start(&[]);
    let arguments = ["--count", "1", "--channels", "1", "--id-base", ID];
    let _devices = Devices::with_password(&node, "wrong", &arguments);
    let token = node.login();
    node.wait_for_metric("gantry_registers_total", "wrong password", |n| n >= 1.0);
    let messages = sip(&node, &token);
    let lines = starts(&messages);
    assert!(
        lines.iter().any(|l| l.starts_with("REGISTER ")),
        "{lines:?}"
    );
    assert!(
        lines.iter().any(|l| l.starts_with("SIP/2.0 401")),
        "{lines:?}"
    );
    let nobody = node.get(
        "/gantry/v1/devices/PU_34020000001320009999/sip",
        Some(&token),
    );
    assert_eq!(nobody.status, 404);
    assert_eq!(
        node.get(&format!("/gantry/v1/devices/{PUID}/sip"), None)
            .status,
        401
    );
    assert_eq!(
        node.get("/gantry/v1/devices/gate/sip", Some(&token)).status,
        400
    );
}

#[test]
fn nothing_is_kept_when_the_log_is_off() {
    let (node, _devices, token) = camera("none", &[("GANTRY_SIP_LOG_BYTES", "0")]);
    assert!(sip(&node, &token).is_empty());
}

#[test]
fn tshark_reads_the_capture_file() {
    let (node, _devices, token) = camera("tcp-only", &[]);
    view(&node, &token);
    let answer = node.get(&format!("/gantry/v1/devices/{PUID}/sip.pcap"), Some(&token));
    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.header("content-type"),
        Some("application/vnd.tcpdump.pcap")
    );
    let dir = fresh_folder();
    let file = dir.join("device.pcap");
    std::fs::write(&file, &answer.body).expect("the folder can be written");
    let file = file.display().to_string();
    let port = format!("udp.port=={},sip", node.sip.port());
    let fields = [
        "-T",
        "fields",
        "-e",
        "sip.Request-Line",
        "-e",
        "sip.Status-Line",
        "-e",
        "udp.checksum.status",
        "-e",
        "_ws.malformed",
    ];
    let arguments = [
        &["-r", &file, "-d", &port, "-o", "udp.check_checksum:TRUE"][..],
        &fields,
    ]
    .concat();
    let Some(output) = tool("tshark", &arguments) else {
        return;
    };
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let rows: Vec<Vec<&str>> = text.lines().map(|l| l.split('\t').collect()).collect();
    assert_eq!(rows.len(), sip(&node, &token).len(), "{text}");
    for row in &rows {
        assert!(!row[0].is_empty() || !row[1].is_empty(), "SIP: {row:?}");
        assert_eq!(row[2], "1", "a good checksum: {row:?}");
        assert_eq!(row.get(3).copied().unwrap_or_default(), "", "{row:?}");
    }
    let has = |column: usize, start: &str| rows.iter().any(|row| row[column].starts_with(start));
    assert!(
        has(0, "INVITE sip:") && has(1, "SIP/2.0 488") && has(0, "ACK sip:"),
        "{text}"
    );
    let _ = std::fs::remove_dir_all(dir);
}

/// Short times to fail in.
const IMPATIENT: [(&str, &str); 2] = [
    ("GANTRY_MEDIA_RTP_TIMEOUT_MS", "1500"),
    ("GANTRY_MEDIA_PICTURE_TIMEOUT_MS", "2500"),
];

/// The newest dialog of the camera, open or over.
fn newest(node: &Node, token: &str, closed: bool) -> Option<String> {
    let body = json!({ "filter": { "puid": PUID, "closed": closed } });
    let answer = node.post("/bvcsp/v1/dialog/list", Some(token), &body);
    let list = answer["data"].as_array().expect("a list");
    let one = if closed { list.first() } else { list.last() };
    Some(one?["dialogid"].as_str()?.to_owned())
}

fn info(node: &Node, token: &str, dialog: &str, query: &str) -> Value {
    let path = format!("/bvcsp/v1/dialog/info/{dialog}{query}");
    let answer = node.get(&path, Some(token)).json();
    assert_eq!(answer["code"], 0, "{answer}");
    answer["data"].clone()
}

/// Steps by their state, in order.
fn steps(diagnosis: &Value) -> Vec<&str> {
    let steps = diagnosis["steps"].as_array().expect("a list");
    steps.iter().filter_map(|s| s["state"].as_str()).collect()
}

/// What the node says of a view that fails.
fn fails(quirk: &str, kind: &str, stage: &str, reached: usize) -> Value {
    let (node, _devices, token) = camera(quirk, &IMPATIENT);
    let (status, _) = view(&node, &token);
    assert_ne!(status, 200, "{quirk}");
    let dialog = newest(&node, &token, true).expect("it is on record");
    let info = info(&node, &token, &dialog, "");
    let diagnosis = &info["diagnosis"];
    assert_eq!(diagnosis["kind"], kind, "{info:#}");
    assert_eq!(diagnosis["healthy"], false);
    assert_eq!(info["stage"], stage, "{info:#}");
    let states = steps(diagnosis);
    let mut expected = vec!["done"; reached];
    expected.push("failed");
    expected.resize(7, "open");
    assert_eq!(states, expected, "{quirk}: {diagnosis:#}");
    let en = diagnosis["en"].as_str().expect("words");
    assert_eq!(
        info["failure"]
            .as_str()
            .map(|failure| en.starts_with(failure)),
        Some(true),
        "{info:#}"
    );
    assert!(
        diagnosis["zh"]
            .as_str()
            .is_some_and(|zh| zh.chars().any(|c| c > '\u{4e00}'))
    );
    let messages = diagnosis["messages"].as_array().expect("a list");
    let lines = starts(messages);
    assert!(lines[0].starts_with("INVITE "), "{lines:?}");
    assert!(
        lines.iter().all(|line| !line.starts_with("REGISTER")),
        "{lines:?}"
    );
    info["diagnosis"].clone()
}

#[test]
fn a_refused_invite_is_shown_with_the_message() {
    let diagnosis = fails("tcp-only", "rejected", "inviting", 1);
    let en = diagnosis["en"].as_str().expect("words");
    assert!(en.contains("SIP/2.0 488"), "{en}");
    assert_eq!(diagnosis["attempts"][0]["transport"], "udp");
}

#[test]
fn a_camera_that_sends_nothing_is_told_where_it_was_to_send() {
    let diagnosis = fails("silent", "no-rtp", "answered", 2);
    let offered = diagnosis["path"]["offered"].as_str().expect("an address");
    assert!(offered.starts_with("127.0.0.1:"), "{offered}");
    for words in ["en", "zh"] {
        let words = diagnosis[words].as_str().expect("words");
        assert!(words.contains(offered), "{offered} in {words}");
    }
    assert_eq!(diagnosis["path"]["source"], Value::Null);
}

#[test]
fn a_camera_without_key_frames_is_told_so() {
    let diagnosis = fails("no-key-frame", "no-key-frame", "parsed", 5);
    assert!(
        diagnosis["path"]["source"]
            .as_str()
            .is_some_and(|s| s.starts_with("127.0.0.1:"))
    );
}

#[test]
fn every_transport_that_was_tried_is_shown() {
    let (node, _devices, token) =
        camera("silent", &[IMPATIENT[0], ("GANTRY_MEDIA_FALLBACK", "true")]);
    view(&node, &token);
    let dialog = newest(&node, &token, true).expect("it is on record");
    let info = info(&node, &token, &dialog, "");
    let attempts = info["diagnosis"]["attempts"].as_array().expect("a list");
    let tried: Vec<&str> = attempts
        .iter()
        .filter_map(|a| a["transport"].as_str())
        .collect();
    assert_eq!(tried, ["udp", "tcp-passive", "tcp-active"], "{info:#}");
    assert!(
        attempts.iter().all(|a| a["failure"].is_string()),
        "{info:#}"
    );
}

#[test]
fn a_running_view_has_all_its_steps_and_is_well() {
    let (node, _devices, token) = camera("wrong-ssrc", &[]);
    let mut stream = HttpStream::open(node.http, &format!("/live/{PUID}/0.flv?token={token}"));
    assert_eq!(stream.status, 200, "{}", stream.head);
    stream.some();
    let dialog = newest(&node, &token, false).expect("it is open");
    let info = wait_until("packets are counted", || {
        let info = info(&node, &token, &dialog, "");
        (info["ingest"]["packets"].as_u64()? > 0).then_some(info)
    });
    let diagnosis = &info["diagnosis"];
    assert_eq!(
        (&diagnosis["kind"], &diagnosis["healthy"]),
        (&json!("well"), &json!(true)),
        "{info:#}"
    );
    assert_eq!(steps(diagnosis), ["done"; 7], "{info:#}");
    let times: Vec<u64> = diagnosis["steps"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|s| s["ms"].as_u64())
        .collect();
    assert!(times.len() == 7 && times.is_sorted(), "{times:?}");
    // This camera puts another SSRC into its packets, which was taken over.
    assert!(
        diagnosis["attempts"][0]["foreignSsrc"].is_string(),
        "{info:#}"
    );
    assert_ne!(
        diagnosis["attempts"][0]["foreignSsrc"],
        diagnosis["path"]["ssrc"]
    );
    let track = &diagnosis["tracks"][0];
    assert_eq!(
        (&track["kind"], &track["codec"]),
        (&json!("video"), &json!("H264"))
    );
    assert!(
        track["profile"].is_string() && track["level"].is_string(),
        "{track}"
    );
    assert!(
        track["sps"]
            .as_str()
            .is_some_and(|sps| sps.starts_with("67") || sps.starts_with("27"))
    );
    let lines = starts(diagnosis["messages"].as_array().expect("a list")).len();
    assert!(lines >= 3, "INVITE, 200 and ACK");

    // Closed, it stays on record with its counters.
    drop(stream);
    let closed = wait_until("the viewer is gone", || newest(&node, &token, true));
    assert_eq!(closed, dialog);
    let info = self::info(&node, &token, &dialog, "");
    assert_eq!(info["stage"], "closed");
    assert_eq!(info["diagnosis"]["kind"], "well", "{info:#}");
}

#[test]
fn h265_is_named_for_a_viewer_that_cannot_decode_it() {
    let node = Node::start(&[]);
    let arguments = [
        "--count",
        "1",
        "--channels",
        "1",
        "--id-base",
        ID,
        "--codec",
        "h265",
    ];
    let _devices = Devices::start(&node, &arguments);
    let token = node.login();
    node.wait_for_device(&token, PUID, 1);
    let mut stream = HttpStream::open(node.http, &format!("/live/{PUID}/0.mp4?token={token}"));
    stream.some();
    let dialog = newest(&node, &token, false).expect("it is open");
    for (query, kind) in [
        ("?decodes=h264", "browser-codec"),
        ("?decodes=h264,h265", "well"),
        ("", "well"),
    ] {
        let info = info(&node, &token, &dialog, query);
        assert_eq!(info["diagnosis"]["kind"], kind, "{query}");
    }
}
