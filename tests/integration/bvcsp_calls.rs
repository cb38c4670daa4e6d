//! Every call of the API description that belongs to GB/T 28181 devices answers, or says by name that it is not supported:
//! a walk over `bvcsp_endpoints.csv`, with the real node and a simulated device. And every change is written down.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::walk::{Walked, plain, walk};

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

/// Calls that are answered neither with code 0 nor with code 8 though everything they need is there, and why.
const OTHERWISE: &[(&str, &str)] = &[];

/// Every row of the description is called with a device that is there: an answer is code 0, or code 8 with what it is that
/// is not supported.
#[test]
fn every_call_of_the_description_answers() {
    let Some(rows) = description() else {
        println!("skipped: there is no ../shared/api/bvcsp_endpoints.csv");
        return;
    };
    let (_site, walked) = walk();
    let mut found = BTreeMap::<&str, Vec<String>>::new();
    let mut wrong = Vec::new();
    for [group, name, method, path] in rows {
        let wanted = GROUPS.iter().find(|(known, _)| *known == group);
        if !wanted.is_some_and(|(_, names)| names.is_empty() || names.contains(&name.as_str())) {
            continue;
        }
        let mut row = format!("{group}: {name} ({method} {path})");
        let same = |one: &&Walked| one.method == method && plain(&one.path) == plain(&path);
        let verdict = match walked.iter().find(same) {
            None => "missing",
            Some(one) if one.code == Some(8) && !one.msg.starts_with("there is no call") => {
                row = format!("{row}: {}", one.msg);
                "says code 8 by name"
            }
            Some(one) if one.is_success() => "answers with code 0",
            Some(one) if OTHERWISE.iter().any(|(call, _)| *call == one.call()) => {
                "answers otherwise, with a reason"
            }
            Some(one) => {
                wrong.push(format!("{row}: HTTP {} {}", one.status, one.body));
                "fails"
            }
        };
        if verdict == "missing" {
            wrong.push(format!("{row}: is not walked"));
        }
        found.entry(verdict).or_default().push(row);
    }
    for (verdict, rows) in &found {
        println!("{verdict}: {}", rows.len());
        if *verdict != "answers with code 0" {
            for row in rows {
                println!("    {row}");
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Calls of `/openapi.json` that change something and are not walked, and why.
const NOT_WALKED: &[(&str, &str)] = &[
    (
        "POST /gantry/v1/snapshots/{id}/upload/{token}",
        "a device uploads by a token of its own; the order for it is in the log",
    ),
    (
        "POST /whep/{stream}",
        "needs a source that sends: `whep`; the walk opens a viewer of a device by the same code",
    ),
];

/// Calls by POST that only read: lists with filters, questions, logs. And logins, which have a log of their own.
fn reads(path: &str) -> bool {
    const WORDS: [&str; 6] = ["list", "filter", "query", "log", "statistics", "tree"];
    const WHOLE: [&str; 4] = [
        "/bvcsp/v1/alarm",
        "/bvcsp/v1/pu/upgrade/batch/status",
        "/bvcsp/v1/auth/login",
        "/bvcsp/v1/auth/refresh",
    ];
    WHOLE.contains(&path) || path.split('/').any(|word| WORDS.contains(&word))
}

/// Each call that changes something leaves a row: who, from where, what, on which device, and what came of it.
#[test]
fn every_change_is_in_the_operation_log() {
    let (site, walked) = walk();
    let mut rows = Vec::new();
    for page in 0.. {
        let body = json!({"page": page, "pageSize": 1000});
        let found = site.data("POST", "/bvcsp/v1/log/operate", body);
        let found = found.as_array().expect("a list").clone();
        if found.is_empty() {
            break;
        }
        rows.extend(found);
    }
    let mut wrong = Vec::new();
    let mut held = 0;
    for one in &walked {
        if one.method == "GET" || reads(&one.path) {
            continue;
        }
        let result = one.code.unwrap_or(i64::from(one.status));
        let is_of = |row: &&Value| {
            row["method"] == one.method
                && row["path"].as_str().map(plain) == Some(plain(&one.path))
                && row["target"] == one.target.as_str()
                && row["result"] == result
                && row["userId"] == "admin"
                && row["address"]
                    .as_str()
                    .is_some_and(|from| from.starts_with("127.0.0.1:"))
        };
        match rows.iter().find(is_of) {
            Some(_) => held += 1,
            None => wrong.push(format!(
                "{} {}: no row with {result}",
                one.call(),
                one.target
            )),
        }
    }
    let document = site.node.get("/openapi.json", None).json();
    for (path, calls) in document["paths"].as_object().expect("paths") {
        for method in calls.as_object().expect("methods").keys() {
            let method = method.to_ascii_uppercase();
            let call = format!("{method} {path}");
            let known = walked
                .iter()
                .find(|one| one.method == method && plain(&one.path) == plain(path));
            let why = NOT_WALKED.iter().any(|(other, _)| *other == call);
            if method == "GET" || reads(path) || why {
                continue;
            }
            match known {
                None => wrong.push(format!("{call}: is not walked")),
                Some(one) if one.is_success() || one.code == Some(8) => {}
                Some(one) => wrong.push(format!("{call}: HTTP {} {}", one.status, one.body)),
            }
        }
    }
    println!(
        "{held} changes, each with its row; {} rows in all",
        rows.len()
    );
    assert!(wrong.is_empty(), "{wrong:#?}");
    let text = serde_json::to_string(&rows).expect("text");
    for secret in ["gate-7-camera", "another password of the tests"] {
        assert!(!text.contains(secret), "{secret} is in the log");
    }
}
