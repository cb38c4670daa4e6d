//! The REST API over real sockets, with a stand-in for the control thread: envelope, codes, tokens, WebSocket rules.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use gantry::api::auth::Auth;
use gantry::api::{ApiState, openapi_document, router};
use gantry::config::Config;
use gantry::gb28181::notice::{Alarm, Position};
use gantry::gb28181::{CatalogItem, DeviceAuth, Persist, StoredDevice};
use gantry::id::{DeviceId, SessionId, Ssrc, StreamId, StreamKey};
use gantry::metrics::Metrics;
use gantry::net::MediaHandle;
use gantry::session::shell::{Call, Handle};
use gantry::session::{
    AlarmView, ChannelView, Command, DeviceView, Error, Event, MediaServiceView, Opened, Owner,
    PlacedPosition, Reply, SessionView, Stage, Target, ViewFailure, ViewKind,
};
use gantry::store::Store;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{broadcast, mpsc};

const ONLINE: &str = "34020000001110000001";
const OFFLINE: &str = "34020000001110000002";
/// A channel of the first.
const CAMERA: &str = "34020000001320000007";
const HASH: &str = "SHA256:6848d6405bf34bf9b2d82ed8822c756807632d3eaefedec90ac33cb32ac83671";

/// A media handle without media threads: every stream is gone.
fn media() -> MediaHandle {
    MediaHandle::default()
}

struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A node of which only the API is real.
struct Node {
    address: SocketAddr,
    commands: Arc<Mutex<Vec<String>>>,
    events: broadcast::Sender<Event>,
    token: String,
    _folder: Folder,
}

impl Node {
    async fn start(name: &str) -> Node {
        Node::start_with(name, |_| {}).await
    }

    async fn start_with(name: &str, adapt: impl FnOnce(&mut ApiState)) -> Node {
        let folder = std::env::temp_dir().join(format!("gantry-api-{name}-{}", std::process::id()));
        let folder = Folder(folder);
        let store = Store::open(&folder.0, "").await.expect("the store opens");
        let password = Some("123456".to_owned());
        let lifetime = Duration::from_secs(14_400);
        let (auth, _) = Auth::open(store.clone(), lifetime, password)
            .await
            .expect("users are read");
        for id in [OFFLINE, ONLINE] {
            let view = device(id);
            let known = view.device.expect("a device");
            store.persist(Persist::Device(StoredDevice {
                device: known,
                auth: DeviceAuth::Default,
                peer: view.peer,
                over_tcp: false,
                online: view.online,
                expires_unix_s: 0,
                last_seen_unix_s: view.last_seen_unix_s,
                gb_version: None,
            }));
            let item = |channel: &ChannelView| CatalogItem {
                id: channel.channel.to_string(),
                name: channel.name.clone(),
                ..CatalogItem::default()
            };
            store.save_channels(known, view.channels.iter().map(item).collect(), false);
        }
        let (calls, receiver) = mpsc::channel(16);
        let (events, _) = broadcast::channel(4);
        let commands = Arc::new(Mutex::new(Vec::new()));
        tokio::spawn(control_thread(receiver, Arc::clone(&commands)));
        let mut state = ApiState::new(
            Handle::new(calls, events.clone()),
            media(),
            store,
            auth,
            Arc::new(Metrics::new()),
            Arc::new(Config::default()),
        );
        adapt(&mut state);
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let app: Router = router(state);
        let service = app.into_make_service_with_connect_info::<SocketAddr>();
        tokio::spawn(async move { axum::serve(listener, service).await });
        let mut node = Node {
            address,
            commands,
            events,
            token: String::new(),
            _folder: folder,
        };
        let login = json!({"username": "admin", "password_encrypted": HASH});
        let answer = node.post("/bvcsp/v1/auth/login", login).await;
        node.token = answer["data"]["token"]
            .as_str()
            .expect("a token")
            .to_owned();
        node
    }

    async fn call(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut request =
            format!("{method} {path} HTTP/1.1\r\nHost: gantry.test:9780\r\nConnection: close\r\n");
        for (name, value) in headers {
            request += &format!("{name}: {value}\r\n");
        }
        request += &format!("Content-Length: {}\r\n\r\n{body}", body.len());
        let mut socket = TcpStream::connect(self.address).await.expect("it listens");
        socket.write_all(request.as_bytes()).await.expect("sent");
        let mut text = String::new();
        socket.read_to_string(&mut text).await.expect("answered");
        Answer::parse(&text)
    }

    /// With the token, expecting the envelope.
    async fn post(&self, path: &str, body: Value) -> Value {
        self.bvcsp("POST", path, &body.to_string()).await
    }

    async fn get(&self, path: &str) -> Value {
        self.bvcsp("GET", path, "").await
    }

    async fn bvcsp(&self, method: &str, path: &str, body: &str) -> Value {
        let answer = self
            .call(method, path, &[("Authorization", &self.token)], body)
            .await;
        assert_eq!(answer.status, 200, "{method} {path}: {answer:?}");
        assert_eq!(answer.header("content-type"), Some("application/json"));
        answer.json()
    }

    fn commands(&self) -> Vec<String> {
        self.commands.lock().expect("no panic elsewhere").clone()
    }
}

#[derive(Debug)]
struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: String,
}

impl Answer {
    fn parse(text: &str) -> Answer {
        let (head, body) = text.split_once("\r\n\r\n").expect("a head");
        let mut lines = head.split("\r\n");
        let status = lines
            .next()
            .and_then(|l| l.split(' ').nth(1))
            .expect("a status");
        let headers = lines.filter_map(|line| line.split_once(": "));
        let headers = headers.map(|(n, v)| (n.to_ascii_lowercase(), v.to_owned()));
        Answer {
            status: status.parse().expect("a number"),
            headers: headers.collect(),
            body: body.to_owned(),
        }
    }

    fn header(&self, name: &str) -> Option<&str> {
        let mut found = self.headers.iter().filter(|(n, _)| n == name);
        found.next().map(|(_, value)| value.as_str())
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.body))
    }
}

/// Answers as the facade would for two devices, one of them online.
async fn control_thread(mut calls: mpsc::Receiver<Call>, seen: Arc<Mutex<Vec<String>>>) {
    while let Some((command, answer)) = calls.recv().await {
        seen.lock()
            .expect("no panic elsewhere")
            .push(format!("{command:?}"));
        let _ = answer.send(reply(command));
    }
}

fn device(id: &str) -> DeviceView {
    let channel = |n: u32| ChannelView {
        channel: gantry::id::ChannelId(
            format!("340200000013100000{n:02}").parse().expect("a code"),
        ),
        name: format!("大门 {n}"),
        online: true,
        ptz: n == 1,
        longitude: Some(120.5),
        latitude: Some(30.25),
        parent_id: id.to_owned(),
        condition: gantry::gb28181::Condition::Described,
    };
    DeviceView {
        device: Some(DeviceId(id.parse().expect("a code"))),
        online: id == ONLINE,
        peer: Some("192.168.1.64:5060".parse().expect("an address")),
        last_seen_unix_s: 1_792_000_000,
        channels: vec![channel(0), channel(1)],
        ..DeviceView::default()
    }
}

fn session(number: u64, user: &str) -> SessionView {
    let live = StreamKey::Live {
        device: DeviceId(ONLINE.parse().expect("a code")),
        channel: gantry::id::ChannelId("34020000001310000000".parse().expect("a code")),
    };
    SessionView {
        playing: None,
        session: SessionId(number),
        key: live,
        index: 0,
        kind: ViewKind::WebRtc,
        owner: Owner {
            user: user.into(),
            ..Owner::default()
        },
        stage: Stage::Receiving,
        created_unix_s: 1_792_000_000,
        first_frame_ms: None,
        tracks: Vec::new(),
        ingest: Default::default(),
        sent_bytes: 7,
        skipped: 0,
        congested: 0,
        is_congested: false,
        failure: (number == 2).then_some(ViewFailure::NoPsm),
        ended: (number == 2).then_some("failed"),
        closed_unix_s: (number == 2).then_some(1_792_000_010),
        attempts: Vec::new(),
        opened: std::time::Instant::now(),
        first_byte: None,
        sip_peer: None,
    }
}

fn reply(command: Command) -> Result<Reply, Error> {
    let known = |device: DeviceId| [ONLINE, OFFLINE].contains(&device.0.as_str());
    match command {
        Command::Open { target, .. } => match target {
            Target::Channel { device, .. } if !known(device) => {
                Err(Error::NotFound { what: "device" })
            }
            Target::Channel { device, .. } if device.0.as_str() == OFFLINE => {
                Err(Error::DeviceOffline)
            }
            Target::Channel { index: 9, .. } => Err(Error::View(ViewFailure::NoRtp, None)),
            Target::Channel { .. } => Ok(Reply::Opened(Opened {
                session: SessionId(31),
                stream: StreamId {
                    shard: 0,
                    number: 1,
                },
                tracks: Vec::new(),
            })),
            Target::Named(_) => Err(Error::NotFound { what: "stream" }),
            Target::Record { .. } | Target::Playback(_) => {
                Err(Error::NotFound { what: "playback" })
            }
        },
        Command::Messages { .. } => Ok(Reply::Messages(Vec::new())),
        Command::Sessions => Ok(Reply::Sessions(vec![
            session(2, "other"),
            session(1, "admin"),
        ])),
        Command::Session { session: id } if id.0 < 3 => {
            Ok(Reply::Session(Box::new(session(id.0, "admin"))))
        }
        Command::Session { .. } => Err(Error::NotFound { what: "dialog" }),
        Command::Devices => Ok(Reply::Devices(vec![device(OFFLINE), device(ONLINE)])),
        Command::DevicesOf { devices } => {
            let known = devices.into_iter().filter(|id| known(*id));
            Ok(Reply::Devices(
                known.map(|id| device(id.0.as_str())).collect(),
            ))
        }
        Command::Device { device: id } if known(id) => {
            Ok(Reply::Device(Box::new(device(id.0.as_str()))))
        }
        Command::Device { .. } => Err(Error::NotFound { what: "device" }),
        Command::OpenIngest { ssrc, .. } => Ok(Reply::Ingest {
            port: 30_000,
            ssrc: ssrc.or(Some(Ssrc(5))),
        }),
        Command::MediaServices => Ok(Reply::MediaServices(vec![
            MediaServiceView {
                shard: 0,
                viewers: 2,
                sent_bytes_per_s: 5_000,
                ..Default::default()
            },
            MediaServiceView {
                shard: 1,
                viewers: 3,
                sent_bytes_per_s: 6_000,
                ..Default::default()
            },
        ])),
        _ => Ok(Reply::Done),
    }
}

#[tokio::test]
async fn a_login_takes_every_form_and_key_case() {
    let node = Node::start("login").await;
    let login = |body: Value| async { node.post("/bvcsp/v1/auth/login", body).await };
    let answer = login(json!({"Username": "admin", "Password_Encrypted": HASH})).await;
    assert_eq!(answer["code"], 0);
    assert_eq!(answer["data"]["timeout"], 14_400);
    let answer = login(json!({"username": "admin", "password": "123456"})).await;
    assert_eq!(answer["code"], 0);
    let old = json!({"username": "admin", "password_encrypted": "SHA256_T:00", "timestamp": 1});
    assert_eq!(login(old).await["code"], 4);
    assert_eq!(login(json!({"username": "admin"})).await["code"], 4);
    assert_eq!(login(json!({"password": "123456"})).await["code"], 4);
    let wrong = json!({"username": "admin", "password": "654321"});
    for _ in 0..5 {
        assert_eq!(login(wrong.clone()).await["code"], 14);
    }
    let answer = login(json!({"username": "admin", "password": "123456"})).await;
    assert_eq!(answer["code"], 17, "{answer}");
    let text = node.call("GET", "/metrics", &[], "").await.body;
    assert!(
        text.contains("gantry_logins_total{outcome=\"wrong\"} 5"),
        "{text}"
    );
    assert!(
        text.contains("gantry_logins_total{outcome=\"paused\"} 1"),
        "{text}"
    );
}

#[tokio::test]
async fn a_token_may_stand_in_header_cookie_and_query() {
    let node = Node::start("token").await;
    let path = "/bvcsp/v1/auth/info";
    let bearer = format!("Bearer {}", node.token);
    let cookie = format!("a=b; Authorization={}", node.token);
    for headers in [
        ("Authorization", &bearer),
        ("Authorization", &node.token),
        ("Cookie", &cookie),
    ] {
        let answer = node
            .call("GET", path, &[(headers.0, headers.1)], "")
            .await
            .json();
        assert_eq!(answer["data"]["id"], "admin");
    }
    let query = format!("{path}?token={}", node.token);
    assert_eq!(node.call("GET", &query, &[], "").await.json()["code"], 0);
    for headers in [vec![], vec![("Authorization", "x")]] {
        let answer = node.call("GET", path, &headers, "").await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.json()["code"], 9);
    }
}

#[tokio::test]
async fn logout_ends_the_token_and_its_dialogs() {
    let node = Node::start("logout").await;
    let refreshed = node.bvcsp("POST", "/bvcsp/v1/auth/refresh", "{}").await;
    let fresh = refreshed["data"]["token"]
        .as_str()
        .expect("a token")
        .to_owned();
    assert_eq!(
        node.bvcsp("POST", "/bvcsp/v1/auth/logout", "").await["code"],
        0
    );
    assert!(node.commands().iter().any(|c| c.starts_with("CloseOwner")));
    assert_eq!(node.get("/bvcsp/v1/auth/info").await["code"], 9);
    let headers = [("Authorization", fresh.as_str())];
    let answer = node.call("GET", "/bvcsp/v1/auth/info", &headers, "").await;
    assert_eq!(
        answer.json()["code"],
        9,
        "the refreshed token is of the same login"
    );
}

#[tokio::test]
async fn devices_are_listed_by_page_and_filter() {
    let node = Node::start("devices").await;
    let list = |body: Value| async { node.post("/bvcsp/v1/pu/list", body).await };
    let answer = list(json!({"page": 1, "pageSize": 1})).await;
    assert_eq!(answer["data"][0]["id"], format!("PU_{OFFLINE}"));
    assert_eq!(
        answer["pageInfo"],
        json!({"page": 1, "pageSize": 1, "totalCount": 2})
    );
    assert!(
        answer["data"][0].get("status").is_none(),
        "only with needStatus"
    );
    let filter = json!({"page": 0, "pageSize": 10, "needStatus": true, "filter": {"status": 1, "keyword": "大门"}});
    let answer = list(filter).await;
    assert_eq!(answer["pageInfo"]["totalCount"], 1);
    let device = &answer["data"][0];
    assert_eq!(
        (&device["id"], &device["status"]),
        (&json!(format!("PU_{ONLINE}")), &json!(1))
    );
    let channel = &device["channels"][1];
    assert_eq!(channel["index"], 1);
    assert_eq!(channel["mediaDir"], 5);
    assert_eq!(channel["ptz"], 1);
    assert_eq!(device["channels"][0]["ptz"], -1);
    assert_eq!(device["gps"]["lng"], 120.5);
    assert_eq!(list(json!({})).await["code"], 0, "paging may be left out");

    let info = node.get(&format!("/bvcsp/v1/pu/info/PU_{ONLINE}")).await;
    assert_eq!(info["data"]["channels"][0]["name"], "大门 0");
    let status = node
        .get(&format!("/bvcsp/v1/pu/onlinestatus/PU_{OFFLINE}"))
        .await;
    assert_eq!(status["data"]["status"], 0);
    assert_eq!(status["data"]["network"]["TCP1OrUDP2"], 2);
    assert_eq!(node.get("/bvcsp/v1/pu/info/PU_1").await["code"], 2);
    assert_eq!(node.get("/bvcsp/v1/pu/info/PU_x").await["code"], 4);
}

#[tokio::test]
async fn opening_fails_with_code_and_stage() {
    let node = Node::start("open").await;
    let open = |id: &str, index: u32, sdp: &str| {
        let body = json!({"id": format!("PU_{id}"), "index": index, "sdp": sdp, "host": "a:1"});
        let node = &node;
        async move { node.post("/bvcsp/v1/dialog/device/webrtc", body).await }
    };
    assert_eq!(open(OFFLINE, 0, "v=0\r\n").await["code"], 5);
    assert_eq!(open("1", 0, "v=0\r\n").await["code"], 2);
    let answer = open(ONLINE, 9, "v=0\r\n").await;
    assert_eq!(answer["code"], 6);
    assert!(
        answer["msg"]
            .as_str()
            .is_some_and(|m| m.starts_with("no RTP: ")),
        "{answer}"
    );
    assert!(answer.get("data").is_none());
    let opens = |node: &Node| {
        node.commands()
            .iter()
            .filter(|c| c.starts_with("Open {"))
            .count()
    };
    let before = opens(&node);
    assert_eq!(open(ONLINE, 0, "no sdp").await["code"], 4);
    assert_eq!(
        opens(&node),
        before,
        "a device is not woken for a bad offer"
    );
    // The stand-in has no media threads: the session that was opened must be closed again.
    assert_eq!(open(ONLINE, 0, "v=0\r\n").await["code"], 1);
    assert!(
        node.commands()
            .contains(&"Close { session: SessionId(31) }".to_owned())
    );
    let answer = node.post("/bvcsp/v1/dialog/device/bvrtc", json!({})).await;
    assert_eq!(answer["code"], 8);
    assert!(answer["msg"].as_str().is_some_and(|m| m.contains("webrtc")));
}

#[tokio::test]
async fn dialogs_are_listed_shown_and_closed_twice() {
    let node = Node::start("dialogs").await;
    let list = node
        .post("/bvcsp/v1/dialog/list", json!({"page": 0, "pageSize": 10}))
        .await;
    assert_eq!(
        list["pageInfo"]["totalCount"], 2,
        "an administrator sees all"
    );
    assert_eq!(list["data"][0]["dialogid"], "D1");
    let filter = json!({"page": 0, "pageSize": 10, "filter": {"userid": "other", "puid": format!("PU_{ONLINE}")}});
    let list = node.post("/bvcsp/v1/dialog/list", filter).await;
    assert_eq!(list["data"][0]["dialogid"], "D2");
    let info = node.get("/bvcsp/v1/dialog/info/D1").await;
    assert_eq!(info["data"]["stage"], "receiving");
    assert_eq!(info["data"]["state"], "opening");
    assert_eq!(info["data"]["sentBytes"], 7);
    assert!(info["data"].get("failure").is_none());
    let info = node.get("/bvcsp/v1/dialog/info/D2").await;
    assert_eq!(info["data"]["state"], "closed");
    assert_eq!(info["data"]["stage"], "receiving", "how far it had come");
    let failure = info["data"]["failure"].as_str().expect("it failed");
    assert!(failure.starts_with("no PSM: "), "{failure}");
    assert_eq!(node.get("/bvcsp/v1/dialog/info/D77").await["code"], 2);
    for (id, body) in [("D1", "{}"), ("D1", ""), ("D77", ""), ("from%20before", "")] {
        let path = format!("/bvcsp/v1/dialog/close/{id}");
        assert_eq!(node.bvcsp("POST", &path, body).await["code"], 0, "{id}");
    }
    let services = node.get("/bvcsp/v1/dialog/vtdu/list").await;
    assert_eq!(services["data"][0]["dialogCount"], 5);
    assert_eq!(services["data"][0]["usedUp"], 11);
    let id = services["data"][0]["id"]
        .as_str()
        .expect("an id")
        .to_owned();
    assert_eq!(
        node.post(&format!("/bvcsp/v1/dialog/vtdu/reset/{id}"), json!({}))
            .await["code"],
        0
    );
    assert_eq!(
        node.post("/bvcsp/v1/dialog/vtdu/reset/VTDU_x", json!({}))
            .await["code"],
        2
    );
    assert_eq!(
        node.commands()
            .iter()
            .filter(|c| *c == "ResetStatistics")
            .count(),
        1
    );
}

#[tokio::test]
async fn bad_bodies_and_unknown_calls_get_the_envelope() {
    let node = Node::start("bad").await;
    for body in ["{", "[]", "\"x\"", "{\"page\": -1}"] {
        let answer = node.bvcsp("POST", "/bvcsp/v1/pu/list", body).await;
        assert_eq!(answer["code"], 4, "{body}");
    }
    let large = " ".repeat(gantry::limits::API_BODY_BYTES_MAX);
    assert_eq!(
        node.bvcsp("POST", "/bvcsp/v1/pu/list", &large).await["code"],
        0,
        "at the bound"
    );
    let answer = node
        .bvcsp("POST", "/bvcsp/v1/pu/list", &format!("{large} "))
        .await;
    assert_eq!(answer["code"], 4, "over the bound");
    let answer = node.post("/bvcsp/v1/pu/shutdown/PU_1", json!({})).await;
    assert_eq!(answer["code"], 8, "there is no such call");
    let answer = node.post("/bvcsp/v1/pu/ptz/camera/PU_1/x", json!({})).await;
    assert_eq!(answer["code"], 4, "no number in the path");
    assert_eq!(node.get("/bvcsp/v1/pu/list").await["code"], 8);
}

#[tokio::test]
async fn another_origin_may_call() {
    let node = Node::start("cors").await;
    let preflight = [
        ("Origin", "http://page.test"),
        ("Access-Control-Request-Method", "POST"),
        (
            "Access-Control-Request-Headers",
            "authorization,content-type",
        ),
    ];
    let answer = node
        .call("OPTIONS", "/bvcsp/v1/dialog/device/webrtc", &preflight, "")
        .await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
    let headers = answer
        .header("access-control-allow-headers")
        .unwrap_or_default();
    assert_eq!(headers, "authorization,content-type");
    assert!(
        answer
            .header("access-control-allow-methods")
            .is_some_and(|m| m.contains("POST"))
    );
    let answer = node
        .call("GET", "/healthz", &[("Origin", "http://page.test")], "")
        .await;
    assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
    let answer = node.call("OPTIONS", "/whep/cam1", &[], "").await;
    assert_eq!(
        (answer.status, answer.header("accept-post")),
        (200, Some("application/sdp"))
    );
}

#[tokio::test]
async fn whep_speaks_http() {
    let node = Node::start("whep").await;
    let bearer = format!("Bearer {}", node.token);
    let sdp = ("Content-Type", "application/sdp");
    let auth = ("Authorization", bearer.as_str());
    let path = |id: &str, index: &str| format!("/whep/PU_{id}/{index}");
    for (path, headers, status) in [
        (path(ONLINE, "0"), vec![sdp], 401),
        (path(ONLINE, "0"), vec![auth], 415),
        (path("1", "0"), vec![auth, sdp], 404),
        (path("x", "0"), vec![auth, sdp], 400),
        (path(ONLINE, "x"), vec![auth, sdp], 400),
        (path(OFFLINE, "0"), vec![auth, sdp], 409),
        (path(ONLINE, "9"), vec![auth, sdp], 424),
        ("/whep/cam1".into(), vec![auth, sdp], 404),
        (format!("/whep/cam1?token={}", node.token), vec![sdp], 404),
    ] {
        let answer = node.call("POST", &path, &headers, "v=0\r\n").await;
        assert_eq!(answer.status, status, "{path}");
        assert_eq!(
            answer.header("content-type"),
            Some("application/problem+json")
        );
        assert_eq!(answer.json()["status"], status);
        assert_eq!(answer.header("www-authenticate").is_some(), status == 401);
        assert_eq!(answer.header("retry-after").is_some(), status == 409);
        if status == 424 {
            assert_eq!(answer.json()["stage"], "no RTP");
        }
    }
    assert_eq!(
        node.call("POST", &path(ONLINE, "0"), &[auth, sdp], "x")
            .await
            .status,
        400
    );
    let resource = "/whep/dialog/D1f";
    assert_eq!(node.call("DELETE", resource, &[], "").await.status, 401);
    assert_eq!(
        node.call("DELETE", &format!("{resource}?key=00"), &[], "")
            .await
            .status,
        401
    );
    assert_eq!(
        node.call("PATCH", resource, &[auth], "a=end-of-candidates")
            .await
            .status,
        204
    );
    assert_eq!(node.call("DELETE", resource, &[auth], "").await.status, 200);
    assert!(
        node.commands()
            .contains(&"Close { session: SessionId(31) }".to_owned())
    );
}

#[tokio::test]
async fn media_urls_need_a_token_unless_opened() {
    let node = Node::start("live").await;
    let url = format!("/live/PU_{ONLINE}/9.flv");
    assert_eq!(node.call("GET", &url, &[], "").await.status, 401);
    let with_token = format!("{url}?token={}", node.token);
    let answer = node.call("GET", &with_token, &[], "").await;
    assert_eq!(
        (answer.status, &answer.json()["stage"]),
        (424, &json!("no RTP"))
    );
    assert!(node.commands().iter().any(|c| c.contains("kind: HttpFlv")));
    let mp4 = format!("/live/PU_{ONLINE}/9.mp4?token={}", node.token);
    let answer = Socket::open(&node, &mp4, &[])
        .await
        .expect_err("no upgrade");
    assert_eq!(answer.status, 424);
    assert!(node.commands().iter().any(|c| c.contains("kind: WsFmp4")));
    assert_eq!(node.call("GET", "/live/cam1.ts", &[], "").await.status, 404);
    assert_eq!(node.call("POST", &with_token, &[], "").await.status, 405);
    let opens = node
        .commands()
        .iter()
        .filter(|c| c.starts_with("Open {"))
        .count();
    let head = node.call("HEAD", &with_token, &[], "").await;
    assert_eq!(
        (head.status, head.header("content-type")),
        (200, Some("video/x-flv"))
    );
    let after = node
        .commands()
        .iter()
        .filter(|c| c.starts_with("Open {"))
        .count();
    assert_eq!(opens, after, "HEAD opens nothing");

    let node = Node::start_with("open-live", |state| {
        let mut config = Config::default();
        config.http.open_media = true;
        config.http.open_metrics = false;
        state.config = Arc::new(config);
    })
    .await;
    assert_eq!(
        node.call("GET", &url, &[], "").await.status,
        424,
        "no token is needed"
    );
    assert!(node.commands().iter().any(|c| c.contains("token_id: 0")));
    assert_eq!(node.call("GET", "/metrics", &[], "").await.status, 401);
}

#[tokio::test]
async fn sources_without_sip_are_opened_and_closed() {
    let node = Node::start("ingest").await;
    let auth = [("Authorization", node.token.as_str())];
    let open = |body: Value| {
        let (node, auth) = (&node, &auth);
        async move {
            node.call("POST", "/gantry/v1/ingest", auth, &body.to_string())
                .await
        }
    };
    let answer = open(json!({"stream": "cam1", "ssrc": 1234567890u32, "transport": "udp"})).await;
    assert_eq!(
        (answer.status, answer.json()),
        (200, json!({"port": 30000, "ssrc": 1234567890u32}))
    );
    let active =
        json!({"stream": "cam2", "transport": "tcp-active", "host": "127.0.0.1", "port": 9000});
    assert_eq!(open(active).await.status, 200);
    assert!(
        node.commands()
            .iter()
            .any(|c| c.contains("remote: Some(127.0.0.1:9000)"))
    );
    for body in [
        json!({"stream": "cam2", "transport": "tcp-active"}),
        json!({"stream": "a/b", "transport": "udp"}),
        json!({"stream": "a", "transport": "sctp"}),
        json!({"stream": "a", "transport": "udp", "sssrc": 1}),
    ] {
        assert_eq!(open(body.clone()).await.status, 400, "{body}");
    }
    assert_eq!(
        node.call("POST", "/gantry/v1/ingest", &[], "{}")
            .await
            .status,
        401
    );
    assert_eq!(
        node.call("DELETE", "/gantry/v1/ingest/cam1", &auth, "")
            .await
            .status,
        204
    );
    assert_eq!(
        node.call("DELETE", "/gantry/v1/ingest/cam1", &[], "")
            .await
            .status,
        401
    );
}

#[tokio::test]
async fn every_documented_route_is_there() {
    let node = Node::start("openapi").await;
    let answer = node.call("GET", "/openapi.json", &[], "").await;
    assert_eq!(answer.body, openapi_document());
    let document = answer.json();
    let paths = document["paths"].as_object().expect("paths");
    assert!(paths.len() >= 20);
    let methods = paths.values().filter_map(Value::as_object);
    let ids = methods
        .flat_map(|m| m.values())
        .map(|call| call["operationId"].as_str());
    let ids: Vec<_> = ids.map(|id| id.expect("each has an id")).collect();
    let unique: std::collections::HashSet<_> = ids.iter().collect();
    assert_eq!(unique.len(), ids.len(), "{ids:?}");
    for (path, methods) in paths {
        let path = path.replace(['{', '}'], "");
        for method in methods.as_object().expect("methods").keys() {
            let method = method.to_ascii_uppercase();
            let answer = node
                .call(&method, &path, &[("Authorization", &node.token)], "")
                .await;
            assert_ne!(answer.status, 405, "{method} {path}");
            let unknown = answer.body.contains("there is no call")
                || answer.body.is_empty() && answer.status == 404;
            assert!(!unknown, "{method} {path}: {answer:?}");
        }
    }
}

/// The client's side of a WebSocket, as far as these tests need it.
#[derive(Debug)]
struct Socket(TcpStream);

impl Socket {
    async fn open(
        node: &Node,
        path: &str,
        headers: &[(&str, &str)],
    ) -> Result<(Socket, Answer), Answer> {
        let mut request = format!(
            "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
        );
        for (name, value) in headers {
            request += &format!("{name}: {value}\r\n");
        }
        request += "\r\n";
        let mut socket = TcpStream::connect(node.address).await.expect("it listens");
        socket.write_all(request.as_bytes()).await.expect("sent");
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(socket.read_u8().await.expect("a whole head"));
        }
        let answer = Answer::parse(&String::from_utf8(head).expect("ASCII"));
        if answer.status == 101 {
            Ok((Socket(socket), answer))
        } else {
            Err(answer)
        }
    }

    /// An unfragmented, masked frame with the mask 0.
    async fn send(&mut self, opcode: u8, payload: &[u8]) {
        let mut frame = vec![0x80 | opcode, 0x80 | payload.len() as u8, 0, 0, 0, 0];
        frame.extend_from_slice(payload);
        self.0.write_all(&frame).await.expect("sent");
    }

    /// Opcode and payload of the next frame.
    async fn next(&mut self) -> (u8, Vec<u8>) {
        let opcode = self.0.read_u8().await.expect("a frame") & 0x0f;
        let length = match self.0.read_u8().await.expect("a length") {
            126 => usize::from(self.0.read_u16().await.expect("a length")),
            length => usize::from(length),
        };
        let mut payload = vec![0; length];
        self.0.read_exact(&mut payload).await.expect("a payload");
        (opcode, payload)
    }

    async fn close_code(&mut self) -> u16 {
        loop {
            let (opcode, payload) = self.next().await;
            if opcode == 8 {
                return u16::from_be_bytes([payload[0], payload[1]]);
            }
        }
    }
}

const EVENTS: &str = "/bvcsp/v1/ws/event/onlinestatus";

#[tokio::test]
async fn a_socket_without_a_valid_token_is_not_upgraded() {
    let node = Node::start("ws-token").await;
    for (path, headers) in [
        (EVENTS.to_owned(), vec![]),
        (format!("{EVENTS}?token=x"), vec![]),
        (EVENTS.to_owned(), vec![("Sec-WebSocket-Protocol", "x")]),
    ] {
        let answer = Socket::open(&node, &path, &headers)
            .await
            .expect_err("no upgrade");
        assert_eq!(answer.status, 401);
    }
    let path = format!("{EVENTS}?token={}", node.token);
    let (_, answer) = Socket::open(&node, &path, &[]).await.expect("upgraded");
    assert_eq!(answer.header("sec-websocket-protocol"), None);
    let offered = [("Sec-WebSocket-Protocol", node.token.as_str())];
    let (_, answer) = Socket::open(&node, EVENTS, &offered)
        .await
        .expect("upgraded");
    assert_eq!(
        answer.header("sec-websocket-protocol"),
        Some(node.token.as_str()),
        "echoed"
    );
}

#[tokio::test]
async fn devices_that_come_and_go_are_told_whatever_is_sent_up() {
    let node = Node::start("ws-events").await;
    let path = format!("{EVENTS}/?token={}", node.token);
    let (mut socket, _) = Socket::open(&node, &path, &[]).await.expect("upgraded");
    for payload in [&b""[..], b"{}", b"hello", b"{\"a\":"] {
        socket.send(1, payload).await;
    }
    socket.send(2, &[0xff, 0]).await;
    let events = &node.events;
    events
        .send(Event::DeviceOnline {
            device: device(ONLINE),
        })
        .expect("subscribed");
    let (opcode, payload) = socket.next().await;
    let message: Value = serde_json::from_slice(&payload).expect("JSON");
    assert_eq!(
        (opcode, &message["type"], &message["status"]),
        (1, &json!("PU"), &json!(1))
    );
    assert_eq!(message["device"]["id"], format!("PU_{ONLINE}"));
    assert_eq!(message["network"]["protocol"], "GB28181");
    events
        .send(Event::DeviceChanged {
            device: DeviceId(ONLINE.parse().expect("a code")),
        })
        .expect("subscribed");
    events
        .send(Event::DeviceOffline {
            device: device(OFFLINE),
        })
        .expect("subscribed");
    let message: Value = serde_json::from_slice(&socket.next().await.1).expect("JSON");
    assert_eq!(
        (&message["status"], &message["device"]["status"]),
        (&json!(0), &json!(0))
    );
}

#[tokio::test]
async fn a_silent_socket_is_closed() {
    let idle = Duration::from_millis(300);
    let node = Node::start_with("ws-idle", |state| state.event_idle = idle).await;
    let path = format!("{EVENTS}?token={}", node.token);
    let (mut socket, _) = Socket::open(&node, &path, &[]).await.expect("upgraded");
    let start = std::time::Instant::now();
    assert_eq!(socket.close_code().await, 1000);
    assert!(start.elapsed() >= idle - Duration::from_millis(50));
}

#[tokio::test]
async fn a_socket_that_falls_behind_is_closed_with_1013() {
    // The stand-in's queue holds 4 events; none is taken while more of them come in one go.
    let node = Node::start("ws-slow").await;
    let path = format!("{EVENTS}?token={}", node.token);
    let (mut socket, _) = Socket::open(&node, &path, &[]).await.expect("upgraded");
    for _ in 0..64 {
        node.events
            .send(Event::DeviceOnline {
                device: device(ONLINE),
            })
            .expect("subscribed");
    }
    assert_eq!(socket.close_code().await, 1013);
}

#[tokio::test]
async fn a_socket_ends_with_its_login() {
    let node = Node::start("ws-logout").await;
    let path = format!("{EVENTS}?token={}", node.token);
    let (mut socket, _) = Socket::open(&node, &path, &[]).await.expect("upgraded");
    node.bvcsp("POST", "/bvcsp/v1/auth/logout", "").await;
    node.events
        .send(Event::DeviceOnline {
            device: device(ONLINE),
        })
        .expect("subscribed");
    assert_eq!(socket.close_code().await, 1008);
}

/// A position of a device or of a channel of it.
fn placed(about: &str, index: Option<u32>, longitude: f64) -> PlacedPosition {
    PlacedPosition {
        about: about.parse().expect("a code"),
        index,
        position: Position {
            longitude,
            latitude: 30.25,
            ..Position::default()
        },
    }
}

#[tokio::test]
async fn alarms_are_kept_and_acknowledged() {
    let mut kept = None;
    let node = Node::start_with("alarms", |state| {
        tokio::spawn(gantry::api::chronicle::run(state.clone()));
        kept = Some(state.store.clone());
    })
    .await;
    let store = kept.expect("a store");
    // The writer listens from its first turn on.
    tokio::task::yield_now().await;
    let device = DeviceId(ONLINE.parse().expect("a code"));
    for (id, unix_s) in [(4_096, 1_792_000_000), (8_192, 1_792_000_060)] {
        let view = AlarmView {
            id,
            device,
            name: "Gate".into(),
            index: Some(1),
            again: false,
            unix_s,
            alarm: Alarm {
                priority: 2,
                method: 5,
                time: "2026-10-01T00:00:00".into(),
                ..Alarm::default()
            },
        };
        node.events
            .send(Event::Alarm(Box::new(view)))
            .expect("somebody listens");
    }
    node.events
        .send(Event::Positions {
            device,
            positions: vec![placed(ONLINE, None, 120.5), placed(CAMERA, Some(2), 99.5)],
        })
        .expect("somebody listens");
    let listed = loop {
        store.chronicle().flush().await;
        let listed = node
            .post("/bvcsp/v1/alarm", json!({"filter": {"status": 1}}))
            .await;
        if listed["pageInfo"]["totalCount"] == 2 {
            break listed;
        }
        tokio::task::yield_now().await;
    };
    let newest = &listed["data"][0];
    assert_eq!(
        (&newest["key"], &newest["devID"]),
        (&json!("8192"), &json!(format!("PU_{ONLINE}")))
    );
    assert_eq!(
        (&newest["subDevIdx"], &newest["desc"]),
        (&json!(1), &json!("video"))
    );
    let handled = node
        .bvcsp(
            "PUT",
            "/bvcsp/v1/alarm/handle",
            r#"{"keys": ["8192"], "desc": "a cat"}"#,
        )
        .await;
    assert_eq!(handled["data"]["count"], 1, "{handled}");
    let open = node
        .post("/bvcsp/v1/alarm", json!({"filter": {"status": 2}}))
        .await;
    let row = &open["data"][0];
    assert_eq!(
        (&row["processerID"], &row["processerDesc"]),
        (&json!("admin"), &json!("a cat"))
    );
    for wrong in [r#"{"keys": ["x"]}"#, r#"{"keys": []}"#, "{}"] {
        let answer = node.bvcsp("PUT", "/bvcsp/v1/alarm/handle", wrong).await;
        assert_eq!(answer["code"], 4, "{wrong}");
    }
    let gone = json!({"keys": ["4096"]});
    assert_eq!(
        node.post("/bvcsp/v1/alarm/del", gone.clone()).await["data"]["count"],
        1
    );
    assert_eq!(node.post("/bvcsp/v1/alarm/del", gone).await["code"], 2);
    let path = format!("/bvcsp/v1/pu/gpsdata/filter/PU_{ONLINE}");
    let track = node.post(&path, json!({})).await;
    assert_eq!(track["data"][0]["lng"], 120.5, "{track}");
    assert_eq!(track["data"][0]["channel"], "", "the device itself");
    let sorted = node.post(&path, json!({"sort": "lng"})).await;
    assert_eq!(sorted["data"][0]["lng"], 99.5, "as a number: {sorted}");
    for (index, lng) in [(-1, 120.5), (2, 99.5)] {
        let filter = json!({"filter": {"index": index}});
        let track = node.post(&path, filter).await;
        assert_eq!(track["pageInfo"]["totalCount"], 1, "{track}");
        assert_eq!(track["data"][0]["lng"], lng);
    }
    let of_camera = node.post(&path, json!({"filter": {"index": 2}})).await;
    assert_eq!(
        (
            &of_camera["data"][0]["channel"],
            &of_camera["data"][0]["place"]
        ),
        (&json!(CAMERA), &json!(2))
    );
    let sorted = node
        .post("/bvcsp/v1/alarm", json!({"sort": "nothing"}))
        .await;
    assert_eq!(sorted["code"], 4);
}
