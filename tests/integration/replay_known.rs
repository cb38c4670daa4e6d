//! Other people's messages at the real sockets, from devices that have registered: each is taken, and what it says shows.
//!
//! Registered is whoever speaks in them, with the password of the tests; addresses are rewritten as in `replay`. Branches and
//! Call-IDs are made new, as the set has some of them twice. Where the node waits for the answer to its own question, the
//! message gets the number of that question.

use std::collections::BTreeSet;

use gantry::id::GbId;
use gantry::sip::{Carrier, Message};
use serde_json::{Value, json};

use super::digest::log_in;
use super::node::{Node, wait_until};
use super::replay::{Udp, Wanted, judge, messages};
use crate::vectors;

/// What of a message is changed before it is sent.
#[derive(Default)]
struct Change<'a> {
    /// Who it is from.
    from: Option<&'a str>,
    /// The number of the question that it answers.
    sn: Option<&'a str>,
}

/// Gives a message a branch and a Call-ID of its own, and what else is to be changed.
fn rewrite(raw: &[u8], n: u32, change: &Change<'_>) -> Vec<u8> {
    let at = memchr::memmem::find(raw, b"\r\n\r\n").expect("an end of the head") + 4;
    let head = std::str::from_utf8(&raw[..at]).expect("a head is text");
    let mut body = raw[at..].to_vec();
    if let Some(sn) = change.sn {
        let find = |what: &[u8]| memchr::memmem::find(&body, what).expect("a number");
        let (from, until) = (find(b"<SN>") + 4, find(b"</SN>"));
        body.splice(from..until, sn.bytes());
    }
    let mut out = String::new();
    for line in head.trim_end().split("\r\n") {
        let name = line.split(':').next().unwrap_or("").to_ascii_lowercase();
        let line = match (name.as_str(), change.from) {
            ("via" | "v", _) => line.replace("branch=z9hG4bK", &format!("branch=z9hG4bKnew{n}-")),
            ("call-id" | "i", _) => format!("{line}-new{n}"),
            ("from" | "f", Some(from)) => {
                let (before, rest) = line.split_once("sip:").expect("a SIP address");
                let (_, after) = rest.split_once('@').expect("a host");
                format!("{before}sip:{from}@{after}")
            }
            ("content-length" | "l", _) if change.sn.is_some() => {
                format!("Content-Length: {}", body.len())
            }
            _ => line.to_owned(),
        };
        out.push_str(&line);
        out.push_str("\r\n");
    }
    out.push_str("\r\n");
    let mut out = out.into_bytes();
    out.extend(body);
    out
}

fn sender_of(raw: &[u8]) -> Option<String> {
    let raw = bytes::Bytes::copy_from_slice(raw);
    let message = Message::parse(raw, Carrier::Datagram).ok()?;
    let sender = message.from_user().filter(|_| message.is_request())?;
    sender.parse::<GbId>().is_ok().then(|| sender.to_owned())
}

#[test]
fn messages_of_registered_devices_are_taken() {
    let Some(folder) = vectors::needed("gb28181") else {
        return;
    };
    let node = Node::start(&[("GANTRY_SIP_QUERY_ON_REGISTER", "false")]);
    let mut udp = Udp::new(&node);
    // Of a datagram whose length says more than came nothing is believed, not even who sent it.
    let told: Vec<_> = messages(&folder)
        .into_iter()
        .filter(|(_, kind, _, _)| kind.starts_with("MESSAGE ") || kind.starts_with("NOTIFY"))
        .map(|(file, kind, length, raw)| (sender_of(&raw), file, kind, length, raw))
        .collect();
    let senders: BTreeSet<&str> = told.iter().filter_map(|t| t.0.as_deref()).collect();
    for sender in &senders {
        log_in(&udp.socket, sender);
    }
    let (mut taken, mut keepalives) = (0, 0);
    for (n, (sender, file, kind, length, raw)) in (1..).zip(&told) {
        let raw = rewrite(raw, n, &Change::default());
        let answers = udp.exchange(&raw);
        if sender.is_none() {
            judge(file, Wanted::Anything, &raw, &answers);
            continue;
        }
        // A length that is too short may cut what is said in two.
        if length.contains("body=") {
            judge(file, Wanted::Status(&[200, 400]), &raw, &answers);
        } else {
            judge(file, Wanted::Status(&[200]), &raw, &answers);
        }
        let is_taken = answers.iter().any(|a| a.status() == Some(200));
        taken += u32::from(is_taken);
        keepalives += u32::from(is_taken && kind.ends_with("Notify:Keepalive"));
    }
    println!(
        "{taken} of {} messages of {} senders, {keepalives} keepalives",
        told.len(),
        senders.len()
    );
    assert!(taken >= 45 && senders.len() >= 8 && keepalives >= 7);
    node.wait_for_metric("gantry_keepalives_total", "known", |heard| {
        heard == f64::from(keepalives)
    });
    node.wait_for_metric("gantry_devices", "state=\"online\"", |online| {
        online == senders.len() as f64
    });
    // An alarm is acknowledged by a message of its own.
    udp.wait_for_request("the answer to the alarm", is_answer_to_alarm);
    assert_eq!(node.get("/healthz", None).status, 200);
    assert_eq!(node.metric("gantry_panics_total"), 0.0);
}

fn is_answer_to_alarm(body: &str) -> bool {
    body.contains("<Response>") && body.contains("<CmdType>Alarm</CmdType>")
}

const DEVICE: &str = "34020000001320000001";
const PUID: &str = "PU_34020000001320000001";

/// A device whose words are those of the vectors.
struct Device {
    udp: Udp,
    folder: std::path::PathBuf,
    sent: u32,
}

impl Device {
    fn says(&mut self, file: &str, sn: Option<&str>) {
        let all = messages(&self.folder);
        let (_, _, _, raw) = all.iter().find(|(name, ..)| name == file).expect(file);
        self.sent += 1;
        let change = Change {
            from: Some(DEVICE),
            sn,
        };
        let raw = rewrite(raw, self.sent, &change);
        let answers = self.udp.exchange(&raw);
        judge(file, Wanted::Status(&[200]), &raw, &answers);
    }

    /// Waits for a question and answers it with what another device answered.
    fn answers(&mut self, cmd: &str, file: &str) {
        let name = format!("<CmdType>{cmd}</CmdType>");
        let question = self.udp.wait_for_request(cmd, |body| body.contains(&name));
        let (_, rest) = question.split_once("<SN>").expect("a number");
        let (sn, _) = rest.split_once("</SN>").expect("a number");
        self.says(file, Some(sn));
    }

    /// Calls the API, and answers what that makes the node ask.
    fn asked_by(&mut self, call: impl FnOnce() -> Value + Send, cmd: &str, file: &str) -> Value {
        std::thread::scope(|scope| {
            let called = scope.spawn(call);
            self.answers(cmd, file);
            called.join().expect("the API answers")
        })
    }
}

#[test]
fn what_devices_of_others_say_shows_in_the_api() {
    let Some(folder) = vectors::needed("gb28181") else {
        return;
    };
    let node = Node::start(&[]);
    let udp = Udp::new(&node);
    log_in(&udp.socket, DEVICE);
    let mut device = Device {
        udp,
        folder,
        sent: 0,
    };
    device.answers("DeviceInfo", "gmv-reference/tc-05-015.sip");
    device.answers("Catalog", "gmv-reference/tc-04-011.sip");
    let token = node.login();
    let shown = node.wait_for_device(&token, PUID, 1);
    assert_eq!(shown["manufacturer"], "GMV", "{shown}");
    assert_eq!(
        shown["channels"][0]["id"], "34020000001320000002",
        "{shown}"
    );
    assert_eq!(shown["channels"][0]["name"], "IPC-Channel-1", "{shown}");

    let before = node.metric_where("gantry_keepalives_total", "known");
    device.says("gmv-reference/tc-03-007.sip", None);
    node.wait_for_metric("gantry_keepalives_total", "known", |n| n == before + 1.0);

    let filter = format!("/bvcsp/v1/pu/recordfile/filter/{PUID}");
    // 13 to 15 June 2026.
    let body = json!({"page": 0, "pageSize": 100,
        "filter": {"beginTime": 1_781_308_800, "endTime": 1_781_481_600, "channelIndex": 0}});
    let found = device.asked_by(
        || node.post(&filter, Some(&token), &body),
        "RecordInfo",
        "gmv-reference/tc-13-047.sip",
    );
    let files = found["data"].as_array().expect("files");
    assert_eq!(files.len(), 1, "{found}");
    let second = |name: &str| files[0][name].as_i64().expect("a time");
    // Ten to eleven by the clock of the device, which is that of Beijing.
    assert_eq!(
        (second("beginTime"), second("endTime")),
        (1_781_402_400, 1_781_406_000)
    );

    let presets = format!("/bvcsp/v1/pu/ptz/preset/list/{PUID}/0");
    let told = device.asked_by(
        || node.get(&presets, Some(&token)).json(),
        "PresetQuery",
        "gmv-reference/tc-07-023.sip",
    );
    let named = json!([{"id": 1, "name": "Gate"}, {"id": 2, "name": "Yard"}]);
    assert_eq!(told["data"], named, "{told}");

    device.says("gmv-reference/tc-12-043.sip", None);
    device
        .udp
        .wait_for_request("the answer to the alarm", is_answer_to_alarm);
    let alarm = wait_until("the alarm is listed", || {
        let body = json!({"page": 0, "pageSize": 10});
        let list = node.post("/bvcsp/v1/alarm", Some(&token), &body);
        list["data"].as_array()?.first().cloned()
    });
    assert_eq!(
        (&alarm["devID"], &alarm["priority"]),
        (&json!(PUID), &json!(1)),
        "{alarm}"
    );
    assert_eq!(alarm["desc"], "VideoLost", "{alarm}");
    assert_eq!(node.metric("gantry_panics_total"), 0.0);
}
