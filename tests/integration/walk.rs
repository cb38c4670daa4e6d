//! A walk over the calls of the API with a device that is there: one step a call, in an order in which each has what it
//! needs, with parameters that make sense. What is made is named by words, which stand in the paths and bodies of later steps.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use gantry::gb28181::gb35114::{CertificateRequest, Key};
use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::SeedableRng;
use serde_json::{Value, json};

use super::management::{PUID, Site};
use super::node::{ADMIN_PASSWORD, wait_until};
use super::socket::EventSocket;

/// An offer as browsers make it.
const OFFER: &str = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0 1\r\n\
    m=video 9 UDP/TLS/RTP/SAVPF 96\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\na=recvonly\r\na=rtcp-mux\r\na=ice-ufrag:walk\r\n\
    a=ice-pwd:abcdefghijklmnopqrstuvwx\r\na=setup:actpass\r\n\
    a=fingerprint:sha-256 00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF\r\n\
    a=rtpmap:96 H264/90000\r\na=fmtp:96 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f\r\n\
    m=audio 9 UDP/TLS/RTP/SAVPF 8\r\nc=IN IP4 0.0.0.0\r\na=mid:1\r\na=recvonly\r\na=rtcp-mux\r\na=ice-ufrag:walk\r\n\
    a=ice-pwd:abcdefghijklmnopqrstuvwx\r\na=setup:actpass\r\n\
    a=fingerprint:sha-256 00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF\r\n\
    a=rtpmap:8 PCMA/8000\r\n";
const TRICKLE: &str =
    "a=ice-ufrag:walk\r\na=ice-pwd:abcdefghijklmnopqrstuvwx\r\na=end-of-candidates\r\n";

/// What came of a call.
#[derive(Debug)]
pub struct Walked {
    pub method: &'static str,
    /// As the description has it, with names in braces.
    pub path: String,
    /// What stood in these places, with `/` between.
    pub target: String,
    pub status: u16,
    /// Of the envelope.
    pub code: Option<i64>,
    pub msg: String,
    pub body: String,
}

impl Walked {
    /// Code 0, or a status of success where no code is given.
    pub fn is_success(&self) -> bool {
        self.code.map_or(self.status < 300, |code| code == 0)
    }

    pub fn call(&self) -> String {
        format!("{} {}", self.method, self.path)
    }
}

/// Names in braces do not count: the description and the program call them differently.
pub fn plain(path: &str) -> String {
    let parts = path.split('/').map(|word| match word.starts_with('{') {
        true => "{}",
        false => word,
    });
    parts
        .collect::<Vec<_>>()
        .join("/")
        .trim_end_matches('/')
        .to_owned()
}

struct Walk {
    site: Site,
    words: BTreeMap<&'static str, String>,
    done: Vec<Walked>,
}

impl Walk {
    fn is(&mut self, word: &'static str, value: impl Into<String>) {
        self.words.insert(word, value.into());
    }

    /// A text with the words that stand in it as `<word>`.
    fn filled(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (word, value) in &self.words {
            text = text.replace(&format!("<{word}>"), value);
        }
        text
    }

    fn places(&self, path: &str) -> (String, String) {
        let mut target = Vec::new();
        let words = path.split('/').map(|part| {
            match part
                .strip_prefix('{')
                .and_then(|part| part.strip_suffix('}'))
            {
                None => part.to_owned(),
                Some(word) => {
                    let value = self.words.get(word);
                    let value = value.unwrap_or_else(|| panic!("{path}: no {word}")).clone();
                    target.push(value.clone());
                    value
                }
            }
        });
        (words.collect::<Vec<_>>().join("/"), target.join("/"))
    }

    fn send(&mut self, method: &'static str, path: &str, kind: &str, body: &str) -> &Walked {
        let path = match path.starts_with("/gantry") || path.starts_with("/whep") {
            true => path.to_owned(),
            false => format!("/bvcsp/v1{path}"),
        };
        let (real, target) = self.places(&path);
        let response = self
            .site
            .node
            .request(method, &real, Some(&self.site.token), kind, body);
        let answer: Value = serde_json::from_slice(&response.body).unwrap_or_default();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        if let Some(location) = response.header("location") {
            self.words.insert("location", location.to_owned());
        }
        self.done.push(Walked {
            method,
            path,
            target,
            status: response.status,
            // A problem document has a code too, and a status that says more.
            code: answer["code"]
                .as_i64()
                .filter(|_| response.status == 200 || response.status == 202),
            msg: text(&answer["msg"]) + &text(&answer["detail"]),
            body: String::from_utf8_lossy(&response.body).into_owned(),
        });
        self.done.last().expect("just put there")
    }

    /// One call; the answer.
    fn call(&mut self, method: &'static str, path: &str, body: Value) -> Value {
        let body = self.filled(&body.to_string());
        let walked = self.send(method, path, "application/json", &body);
        serde_json::from_str(&walked.body).unwrap_or_default()
    }

    fn get(&mut self, path: &str) -> Value {
        self.call("GET", path, json!({}))
    }

    /// One call that makes something, whose id is a word from then on.
    fn make(
        &mut self,
        method: &'static str,
        path: &str,
        body: Value,
        word: &'static str,
        at: &str,
    ) {
        let answer = self.call(method, path, body);
        let id = answer.pointer(at).and_then(Value::as_str);
        let id = id
            .unwrap_or_else(|| panic!("{method} {path}: {answer}"))
            .to_owned();
        self.is(word, id);
    }

    /// Asks until a field is as wanted.
    fn await_field(&mut self, path: &str, at: &str, wanted: Value) {
        let (real, _) = self.places(&format!("/bvcsp/v1{path}"));
        let site = &self.site;
        wait_until(&format!("{path}: {at} is {wanted}"), || {
            let answer = site.answer("GET", &real, Value::Null);
            (answer.pointer(at) == Some(&wanted)).then_some(())
        });
    }

    fn socket(&mut self, path: &str) {
        let full = format!("/bvcsp/v1{path}");
        // It holds that it was upgraded.
        drop(EventSocket::open(&self.site.node, &full, &self.site.token));
        self.done.push(Walked {
            method: "GET",
            path: full,
            target: String::new(),
            status: 101,
            code: Some(0),
            msg: String::new(),
            body: String::new(),
        });
    }
}

/// An hour that the simulated device has recorded: it records all day.
fn recorded() -> u64 {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("after 1970");
    (now.as_secs() - 3 * 3_600) / 3_600 * 3_600 + 60
}

/// Walks. The site is still there, with a device that drives.
pub fn walk() -> (Site, Vec<Walked>) {
    let site = Site::with(&["--driving"]);
    let mut walk = Walk {
        site,
        words: BTreeMap::new(),
        done: Vec::new(),
    };
    walk.is("puid", PUID);
    walk.is("index", "0");
    walk.is("code", PUID.trim_start_matches("PU_"));
    groups_and_devices(&mut walk);
    configuration(&mut walk);
    orders(&mut walk);
    plans(&mut walk);
    gimbal(&mut walk);
    registrants(&mut walk);
    records(&mut walk);
    certificates(&mut walk);
    access(&mut walk);
    dialogs(&mut walk);
    history(&mut walk);
    own_calls(&mut walk);
    unsupported(&mut walk);
    removals(&mut walk);
    login(&mut walk);
    (walk.site, walk.done)
}

fn groups_and_devices(walk: &mut Walk) {
    walk.make(
        "POST",
        "/pu/group/create",
        json!({"name": "North"}),
        "groupid",
        "/data/id",
    );
    walk.get("/pu/group/root");
    walk.call("POST", "/pu/group/list", json!({}));
    walk.get("/pu/group/info/{groupid}");
    walk.call("PUT", "/pu/group/{groupid}", json!({"name": "South"}));
    walk.make(
        "POST",
        "/pu/class/create",
        json!({"name": "Recorder"}),
        "classid",
        "/data/id",
    );
    walk.call("POST", "/pu/class/list", json!({}));
    walk.get("/pu/class/info/{classid}");
    walk.call("PUT", "/pu/class/{classid}", json!({"name": "Dome"}));
    let made = json!({"id": "PU_34020000001320000077", "password": "gate-7-camera"});
    walk.call("POST", "/pu/create", made);
    walk.call(
        "PUT",
        "/pu/info/{puid}",
        json!({"name": "Gate", "tags": ["a"]}),
    );
    walk.call("PUT", "/pu/channel/{puid}/{index}", json!({"name": "East"}));
    walk.call(
        "PUT",
        "/pu/batch/group",
        json!({"ids": [PUID], "gid": "<groupid>"}),
    );
    walk.call(
        "PUT",
        "/pu/batch/class",
        json!({"ids": [PUID], "classID": "<classid>"}),
    );
    for path in ["/pu/list", "/pu/ungrouped/list"] {
        walk.call("POST", path, json!({"needStatus": true}));
    }
    for path in [
        "/pu/info/{puid}",
        "/pu/onlinestatus/{puid}",
        "/pu/gpsdata/{puid}",
    ] {
        walk.get(path);
    }
}

fn configuration(walk: &mut Walk) {
    for (path, body) in super::configuration::bodies() {
        let path = format!("/pu/config/{path}");
        walk.call("PUT", &path, body);
        walk.get(&path);
    }
    for (name, body) in [
        ("snapshot", json!({"picCount": 2})),
        ("gps", json!({"enable": true, "interval": 1})),
    ] {
        let path = format!("/pu/config/{name}/{{puid}}/{{index}}");
        walk.call("PUT", &path, body);
        walk.get(&path);
    }
    walk.get("/pu/config/storage/media/{puid}/{index}");
    walk.get("/pu/storage/status/{puid}");
}

fn orders(walk: &mut Walk) {
    for path in [
        "/pu/record/start/{puid}/{index}",
        "/pu/record/stop/{puid}/{index}",
        "/pu/snapshot/{puid}/{index}",
        "/pu/storage/format/{puid}/{index}",
        "/pu/reboot/{puid}",
    ] {
        walk.call("POST", path, json!({}));
    }
    walk.site
        .node
        .wait_for_device(&walk.site.token.clone(), PUID, 2);
    walk.get("/pu/storage/format/{puid}/{index}");
    let software = json!({"firmware": "V9", "fileUrl": "http://127.0.0.1/v9.bin"});
    walk.call("POST", "/pu/upgrade/{puid}", software);
    walk.get("/pu/upgrade/status/{puid}");
    walk.call("POST", "/pu/upgrade/batch/status", json!({"ids": [PUID]}));
}

fn plans(walk: &mut Walk) {
    let night = json!({"name": "Night", "settings": [{"FrameMirror": {"mode": 1}}]});
    walk.make("POST", "/configplan/create", night, "planid", "/data/id");
    walk.call("PUT", "/configplan/{planid}", json!({"desc": "dark"}));
    walk.get("/configplan/info/{planid}");
    walk.call("POST", "/configplan/list", json!({}));
    walk.call(
        "POST",
        "/configplan/pu/add/{planid}",
        json!({"ids": [PUID]}),
    );
    walk.call("POST", "/configplan/pu/list/{planid}", json!({}));
    walk.get("/configplan/pu/info/{puid}");
    walk.call("POST", "/configplan/pu/unassociated/list", json!({}));
    walk.call(
        "POST",
        "/configplan/pu/del/{planid}",
        json!({"ids": [PUID]}),
    );
    walk.call("DELETE", "/configplan/{planid}", json!({}));
}

fn gimbal(walk: &mut Walk) {
    let turn = |stop: bool| json!({"operate": "left", "hSpeed": 50, "stop": stop});
    walk.call("POST", "/pu/ptz/camera/{puid}/{index}", turn(false));
    walk.call("POST", "/pu/ptz/camera/{puid}/{index}", turn(true));
    walk.is("id", "1");
    walk.call(
        "POST",
        "/pu/ptz/preset/{puid}/{index}",
        json!({"id": 1, "name": "door"}),
    );
    walk.call(
        "PUT",
        "/pu/ptz/preset/{puid}/{index}/{id}",
        json!({"name": "gate"}),
    );
    walk.get("/pu/ptz/preset/list/{puid}/{index}");
    walk.call("PUT", "/pu/ptz/preset/go/{puid}/{index}/{id}", json!({}));
    let cruise =
        json!({"id": 1, "name": "round", "points": [{"preset": 1, "speed": 100, "duration": 2}]});
    walk.call("POST", "/pu/ptz/cruise/{puid}/{index}", cruise);
    walk.get("/pu/ptz/cruise/list/{puid}/{index}");
    for path in ["start", "stop"] {
        walk.call(
            "PUT",
            &format!("/pu/ptz/cruise/{path}/{{puid}}/{{index}}/{{id}}"),
            json!({}),
        );
    }
    walk.call("DELETE", "/pu/ptz/cruise/{puid}/{index}/{id}", json!({}));
    walk.call("DELETE", "/pu/ptz/preset/{puid}/{index}/{id}", json!({}));
}

fn registrants(walk: &mut Walk) {
    walk.get("/28181in/config");
    for (kind, place, code) in [
        ("device", "id", "34020000001320000088"),
        ("platform", "platformid", "34020000002000000088"),
    ] {
        walk.is(place, code);
        let made = json!({"id": code, "name": "later", "password": "gate-7-camera"});
        walk.call("POST", &format!("/28181in/{kind}/create"), made);
        walk.call("POST", &format!("/28181in/{kind}/list"), json!({}));
        walk.get(&format!("/28181in/{kind}/info/{{{place}}}"));
        let path = format!("/28181in/{kind}/{{{place}}}");
        walk.call("PUT", &path, json!({"name": "sooner"}));
        if kind == "platform" {
            walk.call(
                "POST",
                "/28181in/platform/group/list/{platformid}",
                json!({}),
            );
            walk.call("POST", "/28181in/platform/push/{platformid}", json!({}));
        }
        walk.call("DELETE", &path, json!({}));
    }
    walk.is("id", walk.words["code"].clone());
    walk.call(
        "PUT",
        "/28181in/channel/{id}/{index}",
        json!({"name": "West"}),
    );
}

fn records(walk: &mut Walk) {
    let begin = recorded();
    let filter = json!({"filter": {"beginTime": begin, "endTime": begin + 600, "channelIndex": 0}});
    walk.call("POST", "/pu/recordfile/filter/{puid}", filter.clone());
    walk.call("POST", "/28181in/recordfile/filter/{id}", filter);
    walk.call("POST", "/pu/recordfile/del/{puid}", json!({}));
    let task = |begin: u64| json!({"id": PUID, "index": 0, "beginTime": begin, "endTime": begin + 4, "speed": 8});
    walk.make(
        "POST",
        "/28181in/recordfile/task/create",
        task(begin),
        "taskid",
        "/data/taskid",
    );
    walk.await_field(
        "/28181in/recordfile/progress/{taskid}",
        "/data/progress",
        json!(100),
    );
    walk.get("/28181in/recordfile/progress/{taskid}");
    walk.get("/28181in/recordfile/download/{taskid}");
    walk.is("fileid", walk.words["taskid"].clone());
    walk.call("POST", "/recordfile/filter", json!({"sort": "-beginTime"}));
    walk.get("/recordfile/info/{fileid}");
    walk.call(
        "PUT",
        "/recordfile/info/{fileid}",
        json!({"fileName": "Gate"}),
    );
    let marks = json!({"timelines": [{"time": 1.5, "data": "a car"}]});
    walk.call("POST", "/recordfile/timeline/{fileid}", marks);
    walk.call(
        "POST",
        "/recordfile/timeline/filter",
        json!({"filter": {"fileId": "<fileid>"}, "sort": "-addTime"}),
    );
    walk.call(
        "DELETE",
        "/recordfile/timeline/{fileid}",
        json!({"idList": ["1"]}),
    );
    walk.is("fileid", format!("0-{begin}-{}", begin + 3));
    walk.get("/pu/download/{puid}/{fileid}");
    // Nothing was recorded then: it fails, and can be taken up again.
    walk.make(
        "POST",
        "/28181in/recordfile/task/create",
        task(1_000_000_000),
        "failed",
        "/data/taskid",
    );
}

fn certificates(walk: &mut Walk) {
    let mut rng = ChaCha12Rng::from_seed([7; 32]);
    let device = "34020000001320000044";
    let request = CertificateRequest::make(&Key::new(&mut rng), device).pem();
    walk.make(
        "POST",
        "/28181in/cert/server/csr",
        json!({"name": "ours"}),
        "certid",
        "/data/id",
    );
    walk.call("POST", "/28181in/cert/server/list", json!({"sort": "-id"}));
    walk.get("/28181in/cert/server/info/{certid}");
    walk.call(
        "PUT",
        "/28181in/cert/server/{certid}",
        json!({"name": "mine"}),
    );
    walk.call(
        "POST",
        "/28181in/cert/server/selfsign/{certid}",
        json!({"days": 30}),
    );
    walk.make(
        "POST",
        "/28181in/cert/device/csr",
        json!({"name": "gate", "pem": request}),
        "csrid",
        "/data/id",
    );
    walk.call(
        "POST",
        "/28181in/cert/device/csr/list",
        json!({"filter": {"status": "pending"}}),
    );
    walk.get("/28181in/cert/device/csr/info/{csrid}");
    walk.call(
        "POST",
        "/28181in/cert/device/issue/{csrid}",
        json!({"days": 30}),
    );
    walk.is("id", device);
    walk.call(
        "POST",
        "/28181in/gmdevice/create",
        json!({"id": device, "name": "gate"}),
    );
    walk.call("POST", "/28181in/gmdevice/list", json!({}));
    walk.get("/28181in/gmdevice/info/{id}");
    walk.call("PUT", "/28181in/gmdevice/{id}", json!({"status": 0}));
    walk.call("DELETE", "/28181in/gmdevice/{id}", json!({}));
    walk.call(
        "PUT",
        "/28181in/cert/device/csr/{csrid}",
        json!({"status": "revoked"}),
    );
    let mut other = json!({"name": "gate", "pem": request});
    other["deviceId"] = json!("34020000001320000045");
    walk.make(
        "POST",
        "/28181in/cert/device/csr",
        other,
        "csrid",
        "/data/id",
    );
    walk.call("DELETE", "/28181in/cert/device/csr/{csrid}", json!({}));
    walk.call(
        "PUT",
        "/gantry/v1/certificates/inuse",
        json!({"certid": ""}),
    );
    walk.call("DELETE", "/28181in/cert/server/{certid}", json!({}));
}

fn access(walk: &mut Walk) {
    let somebody =
        json!({"items": [{"black": true, "objType": 1, "objId": "PU_34020000001320000099"}]});
    walk.get("/bwlist/config");
    walk.call("PUT", "/bwlist/config", json!({"mode": 1}));
    walk.call("POST", "/bwlist/add", somebody.clone());
    walk.call("POST", "/bwlist/list", json!({}));
    walk.call("POST", "/bwlist/del", somebody);
}

fn dialogs(walk: &mut Walk) {
    let place = json!({"id": PUID, "index": 0, "sdp": OFFER});
    walk.make(
        "POST",
        "/dialog/device/webrtc",
        place,
        "dialogid",
        "/data/dialogid",
    );
    walk.call("POST", "/dialog/list", json!({"sort": "-createTime"}));
    walk.get("/dialog/info/{dialogid}");
    walk.call("POST", "/dialog/close/{dialogid}", json!({}));
    let begin = recorded();
    let record =
        json!({"id": PUID, "index": 1, "beginTime": begin, "endTime": begin + 600, "sdp": OFFER});
    walk.make(
        "POST",
        "/dialog/playback",
        record,
        "dialogid",
        "/data/dialogid",
    );
    walk.call(
        "PUT",
        "/dialog/playback/{dialogid}",
        json!({"cmd": "PAUSE"}),
    );
    walk.call("POST", "/dialog/close/{dialogid}", json!({}));
    let services = walk.get("/dialog/vtdu/list");
    walk.is("vtduid", services["data"][0]["id"].as_str().expect("an id"));
    walk.call("POST", "/dialog/vtdu/reset/{vtduid}", json!({}));
    for path in [
        "/ws/event/onlinestatus",
        "/ws/event/alarm",
        "/ws/gpsdata",
        "/ws/event/command",
    ] {
        walk.socket(path);
    }
}

fn history(walk: &mut Walk) {
    walk.call("POST", "/alarm", json!({"sort": "-devName"}));
    walk.call(
        "PUT",
        "/alarm/handle",
        json!({"filter": {}, "desc": "seen"}),
    );
    walk.call("POST", "/alarm/del", json!({"filter": {}}));
    walk.call(
        "POST",
        "/pu/gpsdata/filter/{puid}",
        json!({"sort": "-time"}),
    );
    for path in [
        "/log/pu/login",
        "/log/user/login",
        "/log/pu/login/extend",
        "/log/user/login/extend",
        "/log/operate",
        "/log/dialog",
        "/log/alarm",
        "/statistics/base",
        "/statistics/dialog",
        "/statistics/offline",
    ] {
        walk.call("POST", path, json!({}));
    }
}

/// What bvcsp has no call for.
fn own_calls(walk: &mut Walk) {
    let control = "/gantry/v1/device/control/{puid}/{index}";
    walk.call("POST", control, json!({"order": "guard", "set": true}));
    walk.call(
        "POST",
        "/gantry/v1/device/query/{puid}/{index}",
        json!({"query": "presets"}),
    );
    walk.call(
        "PUT",
        "/gantry/v1/device/settings/{puid}/{index}",
        json!({"FrameMirror": {"mode": 2}}),
    );
    walk.call(
        "PUT",
        "/gantry/v1/devices/{puid}/auth",
        json!({"kind": "default"}),
    );
    walk.call(
        "PUT",
        "/gantry/v1/devices/{puid}/policy",
        json!({"loss": "show"}),
    );
    walk.is("topic", "alarm");
    let subscription = "/gantry/v1/devices/{puid}/subscriptions/{topic}";
    walk.call("PUT", subscription, json!({"expires": 600}));
    walk.call("DELETE", subscription, json!({}));
    walk.call("POST", "/gantry/v1/devices/{puid}/notices/list", json!({}));
    walk.call("POST", "/gantry/v1/devices/{puid}/tree", json!({}));
    walk.call("POST", "/gantry/v1/snapshots/list", json!({}));
    walk.call(
        "POST",
        "/gantry/v1/downloads/list",
        json!({"sort": "-progress"}),
    );
    walk.is("taskid", walk.words["failed"].clone());
    walk.await_field(
        "/28181in/recordfile/progress/{taskid}",
        "/data/state",
        json!("failed"),
    );
    walk.call("POST", "/gantry/v1/downloads/{taskid}/resume", json!({}));
    walk.call("DELETE", "/gantry/v1/downloads/{taskid}", json!({}));
    let (node, token) = (&walk.site.node, &walk.site.token);
    let mut client = EventSocket::open(node, "/bvcsp/v1/ws/event/command", token);
    let client = std::thread::spawn(move || {
        for _ in 0..2 {
            let order = client.next();
            client.send(&json!({"seq": order["seq"], "code": 0, "msg": "", "data": "done"}));
        }
    });
    // The socket is counted a moment after its upgrade is answered.
    wait_until("the client answers", || {
        let order = json!({"cmd": "blink"});
        let answer = walk.site.answer("POST", "/gantry/v1/command/admin", order);
        (answer["code"] == 0).then_some(())
    });
    walk.is("userid", "admin");
    walk.call(
        "POST",
        "/gantry/v1/command/{userid}",
        json!({"cmd": "blink"}),
    );
    client.join().expect("it was asked");
    walk.is("stream", "cam1");
    walk.call(
        "POST",
        "/gantry/v1/ingest",
        json!({"stream": "cam1", "transport": "udp"}),
    );
    walk.call("DELETE", "/gantry/v1/ingest/{stream}", json!({}));
    let begin = recorded();
    let record = json!({"id": PUID, "index": 1, "beginTime": begin, "endTime": begin + 600});
    walk.make(
        "POST",
        "/gantry/v1/playback",
        record,
        "dialogid",
        "/dialogid",
    );
    walk.call(
        "PUT",
        "/gantry/v1/playback/{dialogid}",
        json!({"cmd": "PLAY", "scale": 2.0}),
    );
    walk.send(
        "POST",
        "/whep/playback/{dialogid}",
        "application/sdp",
        OFFER,
    );
    walk.call("DELETE", "/gantry/v1/playback/{dialogid}", json!({}));
    walk.send("POST", "/whep/{puid}/{index}", "application/sdp", OFFER);
    // The key in it is for players without a token.
    let place = walk.words.get("location").expect("a place");
    let at = place.rsplit('/').next().expect("an end");
    let at = at.split('?').next().expect("a beginning");
    walk.is("dialogid", at.to_owned());
    walk.send(
        "PATCH",
        "/whep/dialog/{dialogid}",
        "application/trickle-ice-sdpfrag",
        TRICKLE,
    );
    walk.call("DELETE", "/whep/dialog/{dialogid}", json!({}));
}

/// Calls that say by name what GB/T 28181 has no command for.
fn unsupported(walk: &mut Walk) {
    for (both, path) in [
        (false, "power/{puid}"),
        (true, "ethernet/{puid}/{index}"),
        (true, "wifi/{puid}/{index}"),
        (true, "radio/{puid}/{index}"),
        (true, "audioin/{puid}/{index}"),
        (true, "audioout/{puid}/{index}"),
        (false, "storage/media/{puid}/{index}"),
        (true, "upload/{puid}"),
        (true, "zfy/{puid}"),
        (true, "sensor/{puid}"),
        (true, "onlinecontrol/{puid}"),
        (true, "language/{puid}"),
    ] {
        let path = format!("/pu/config/{path}");
        if both {
            walk.get(&path);
        }
        walk.call("PUT", &path, json!({}));
    }
    walk.get("/pu/battery/{puid}");
    for path in ["/ws/event/im", "/ws/event/conference"] {
        walk.get(path);
    }
    for path in [
        "/pu/transparent/{puid}",
        "/pu/shutdown/{puid}",
        "/dialog/device/bvrtc",
        "/dialog/conference/webrtc",
        "/dialog/conference/bvrtc",
        "/dialog/conference/bvwsc",
        "/dialog/push/webrtc",
        "/ws/push",
        "/auth/qrcode",
        "/auth/qrcode/batch",
    ] {
        walk.call("POST", path, json!({}));
    }
}

fn removals(walk: &mut Walk) {
    let free = json!({"ids": [PUID], "gid": ""});
    walk.call("PUT", "/pu/batch/group", free);
    walk.call(
        "PUT",
        "/pu/batch/class",
        json!({"ids": [PUID], "classID": ""}),
    );
    walk.call("DELETE", "/pu/group/{groupid}", json!({}));
    walk.call("DELETE", "/pu/class/{classid}", json!({}));
    walk.is("puid", "PU_34020000001320000077");
    walk.call("DELETE", "/pu/{puid}", json!({}));
    walk.is("puid", PUID);
    walk.call("POST", "/pu/kickout/{puid}", json!({}));
}

fn login(walk: &mut Walk) {
    const NEW: &str = "another password of the tests";
    walk.get("/auth/info");
    walk.call("POST", "/auth/refresh", json!({}));
    walk.call(
        "POST",
        "/auth/password",
        json!({"password": ADMIN_PASSWORD, "new_password": NEW}),
    );
    let login = json!({"username": "admin", "password": NEW});
    let answer = walk.call("POST", "/auth/login", login);
    walk.call("POST", "/auth/logout", json!({}));
    let token = answer["data"]["token"].as_str().expect("a token");
    walk.site.token = token.to_owned();
}
