//! What a node tells of itself when a picture does not come: messages, stages, sentences and capture files.

use serde_json::{Value, json};

use super::node::{Devices, Node, fresh_folder, tool};

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
    assert_eq!((status, stage), (502, json!("rejected")));

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
