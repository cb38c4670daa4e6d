//! Every call of the API description that belongs to GB/T 28181 devices answers, or says by name that it is not supported:
//! a walk over `bvcsp_endpoints.csv`, with the real node and a simulated device.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::node::{Devices, Node};

/// Groups of the description, with the names of those rows that count; no names: all of them.
const GROUPS: &[(&str, &[&str])] = &[
    ("Authentication", &[]),
    ("device", &[]),
    ("Device Management", &[]),
    ("Gimbal", &[]),
    ("28181in", &[]),
    ("black and white list", &[]),
    ("media streaming operation", &[]),
    ("websocket", &[]),
    (
        "historical data",
        &[
            "handle alarm",
            "alarm records",
            "Delete alarm records in batches",
            "Device GPS trajectory",
            "Device File Retrieval",
            "Download device files",
            "Delete device files",
            "Device offline log",
            "User offline log",
            "Device offline log (extend)",
            "User offline log (extend)",
            "operation log",
            "channel log",
            "System alarm record",
            "Basic data statistics",
            "Channel log statistics",
            "Offline data statistics",
        ],
    ),
];

fn description() -> Option<Vec<[String; 4]>> {
    let folder = std::env::var_os("GANTRY_API_DESCRIPTION").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/api"),
        PathBuf::from,
    );
    let text = std::fs::read_to_string(folder.join("bvcsp_endpoints.csv")).ok()?;
    Some(text.lines().skip(1).filter_map(columns).collect())
}

/// Group, name, method and path of a line.
fn columns(line: &str) -> Option<[String; 4]> {
    let mut columns = vec![String::new()];
    let mut quoted = false;
    for c in line.chars() {
        match c {
            '"' => quoted = !quoted,
            ',' if !quoted => columns.push(String::new()),
            c => columns.last_mut()?.push(c),
        }
    }
    columns.truncate(4);
    columns.try_into().ok()
}

#[test]
fn every_call_of_the_description_answers() {
    let Some(rows) = description() else {
        println!("skipped: there is no ../shared/api/bvcsp_endpoints.csv");
        return;
    };
    let node = Node::start(&[]);
    let device = "34020000001180000001";
    let _devices = Devices::start(
        &node,
        &["--count", "1", "--channels", "3", "--id-base", device],
    );
    let token = node.login();
    node.wait_for_device(&token, &format!("PU_{device}"), 2);
    let mut found = BTreeMap::<&str, Vec<String>>::new();
    let mut wrong = Vec::new();
    for [group, name, method, path] in rows {
        let wanted = GROUPS.iter().find(|(known, _)| *known == group);
        if !wanted.is_some_and(|(_, names)| names.is_empty() || names.contains(&name.as_str())) {
            continue;
        }
        let row = format!("{group}: {name} ({method} {path})");
        if path.ends_with("/auth/logout") {
            // It would end the walk; other tests use it.
            found.entry("answers").or_default().push(row);
            continue;
        }
        let words = path.split('/').map(|word| match word {
            "{puid}" => "PU_34020000009990000009",
            "{index}" => "0",
            other if other.starts_with('{') => "1",
            other => other,
        });
        let real = words.collect::<Vec<_>>().join("/");
        let response = node.request(&method, &real, Some(&token), "application/json", "{}");
        let is_json = response.header("content-type") == Some("application/json");
        let body = if is_json {
            response.json()
        } else {
            serde_json::Value::Null
        };
        let msg = body["msg"].as_str().unwrap_or_default();
        let verdict = if response.status >= 500 {
            wrong.push(format!("{row}: HTTP {}", response.status));
            "fails"
        } else if body["code"] == 8 && msg.starts_with("there is no call") {
            wrong.push(row.clone());
            "missing"
        } else if body["code"] == 8 && msg.starts_with("not supported: ") {
            "says code 8 by name"
        } else if is_json && !(0..=17).contains(&body["code"].as_i64().unwrap_or(-1)) {
            wrong.push(format!("{row}: {body}"));
            "fails"
        } else {
            "answers"
        };
        found.entry(verdict).or_default().push(row);
    }
    for (verdict, rows) in &found {
        println!("{verdict}: {}", rows.len());
        if *verdict != "answers" {
            for row in rows {
                println!("    {row}");
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
