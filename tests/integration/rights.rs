//! Who is no administrator: every changing call of the API description is either refused by code 16 (403 where HTTP
//! statuses speak) or is one that everybody may make. A call that is in neither list fails the test. And a device that
//! must prove itself by GB 35114 gets no password by another door.

use std::time::{SystemTime, UNIX_EPOCH};

use gantry::gb28181::gb35114::{CertificateRequest, Key};
use gantry::store::{Store, User};
use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::SeedableRng;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::node::{Node, Response};

const PLAIN: &str = "guard";
const PASSWORD: &str = "a password of the guard";

/// Calls that need no administrator, as beginnings or whole texts of `METHOD path`: what a user does with devices that he
/// may see, and with what is his own.
const FOR_ALL: &[&str] = &[
    "PUT /bvcsp/v1/alarm/handle",
    "POST /bvcsp/v1/alarm",
    "POST /bvcsp/v1/auth/",
    "POST /bvcsp/v1/28181in/recordfile/",
    "POST /bvcsp/v1/dialog/close/",
    "POST /bvcsp/v1/dialog/device/",
    "POST /bvcsp/v1/dialog/playback",
    "PUT /bvcsp/v1/dialog/playback/",
    "POST /bvcsp/v1/pu/ptz/",
    "PUT /bvcsp/v1/pu/ptz/",
    "DELETE /bvcsp/v1/pu/ptz/",
    "POST /bvcsp/v1/pu/record/",
    "POST /bvcsp/v1/pu/recordfile/del/",
    "POST /bvcsp/v1/pu/snapshot/",
    "PUT /bvcsp/v1/recordfile/info/",
    "POST /bvcsp/v1/recordfile/timeline/",
    "DELETE /bvcsp/v1/recordfile/timeline/",
    "POST /bvcsp/v1/pu/gpsdata/",
    "POST /bvcsp/v1/pu/upgrade/batch/status",
    "POST /bvcsp/v1/statistics/",
    "POST /bvcsp/v1/log/",
    "POST /bvcsp/v1/recordfile/",
    "POST /gantry/v1/device/control/",
    "POST /gantry/v1/device/query/",
    "POST /gantry/v1/devices/{puid}/tree",
    "DELETE /gantry/v1/downloads/",
    "POST /gantry/v1/downloads/",
    "POST /gantry/v1/ingest",
    "DELETE /gantry/v1/ingest/",
    "POST /gantry/v1/playback",
    "PUT /gantry/v1/playback/",
    "DELETE /gantry/v1/playback/",
    "POST /gantry/v1/snapshots/",
    "POST /whep/",
    "DELETE /whep/",
    "PATCH /whep/",
];

/// A node with a user who is no administrator, and the tokens of both.
pub fn start() -> (Node, String, String) {
    let folder = Node::start(&[]).terminate().dir;
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.expect("after 1970").as_secs() as i64;
    let hash = Sha256::digest(format!("{PLAIN}_{PASSWORD}"));
    let user = User {
        name: PLAIN.into(),
        proof: hash.iter().map(|byte| format!("{byte:02x}")).collect(),
        admin: false,
        enabled: true,
        created_unix_s: now,
        password_unix_s: now,
    };
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let store = Store::open(&folder, "").await.expect("opens");
        store.put_user(&user).await.expect("written");
    });
    drop(runtime);
    let node = Node::start_in(folder, &[]);
    let admin = node.login();
    let body = json!({"username": PLAIN, "password": PASSWORD});
    let answer = node.post("/bvcsp/v1/auth/login", None, &body);
    assert_eq!(answer["code"], 0, "{answer}");
    let plain = answer["data"]["token"].as_str().expect("a token");
    let plain = plain.to_owned();
    (node, admin, plain)
}

fn ask(node: &Node, token: &str, method: &str, path: &str, body: &Value) -> Response {
    node.request(
        method,
        path,
        Some(token),
        "application/json",
        &body.to_string(),
    )
}

fn is_refused(response: &Response) -> bool {
    let is_json = response.header("content-type") == Some("application/json");
    response.status == 403 || (is_json && response.json()["code"] == 16)
}

fn is_unsupported(response: &Response) -> bool {
    response.header("content-type") == Some("application/json") && response.json()["code"] == 8
}

#[test]
fn who_is_no_administrator_changes_only_what_everybody_may() {
    let (node, admin, plain) = start();
    let document = node.get("/openapi.json", Some(&admin)).json();
    let paths = document["paths"].as_object().expect("paths");
    let (mut refused, mut wrong) = (0, Vec::new());
    for (path, operations) in paths {
        for method in operations.as_object().expect("operations").keys() {
            let call = format!("{} {path}", method.to_ascii_uppercase());
            let reads = path.split('/').any(|word| word == "list");
            if method == "get" || reads || path.ends_with("/auth/logout") {
                continue;
            }
            let words = path.split('/').map(|word| match word {
                "{puid}" => "PU_34020000009990000009",
                "{id}" | "{platformid}" if path.contains("28181in") => "34020000009990000009",
                "{topic}" => "alarm",
                "{index}" => "0",
                word if word.starts_with('{') => "1",
                word => word,
            });
            let real = words.collect::<Vec<_>>().join("/");
            let method = method.to_ascii_uppercase();
            let response = ask(&node, &plain, &method, &real, &json!({}));
            let is_for_all = FOR_ALL.iter().any(|known| call.starts_with(known));
            match (is_refused(&response), is_for_all) {
                (true, false) => refused += 1,
                (false, true) => {}
                (false, false) if is_unsupported(&response) => {}
                (found, _) => wrong.push(format!(
                    "{call}: refused: {found}: {} {}",
                    response.status,
                    String::from_utf8_lossy(&response.body)
                )),
            }
        }
    }
    // What everybody may read, but not all.
    for (method, path) in [
        ("POST", "/bvcsp/v1/log/operate"),
        ("POST", "/bvcsp/v1/28181in/cert/server/list"),
        ("GET", "/gantry/v1/certificates/crl"),
    ] {
        let response = ask(&node, &plain, method, path, &json!({}));
        if !is_refused(&response) {
            wrong.push(format!("{method} {path} is open"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(refused > 50, "only {refused} calls need an administrator");
    println!("{refused} calls are refused to who is no administrator");

    // Of the orders that have one call together, some need the right.
    let control = "/gantry/v1/device/control/PU_34020000009990000009/0";
    for (order, status) in [
        (json!({"order": "teleBoot"}), 403),
        (json!({"order": "formatSdCard", "card": 1}), 403),
        (json!({"order": "guard", "set": true}), 404),
    ] {
        let response = ask(&node, &plain, "POST", control, &order);
        assert_eq!(response.status, status, "{order}");
    }
    // A body that would be right is refused too, and changes nothing.
    let puid = "PU_34020000001320000044";
    let made = json!({"id": puid, "password": "gate-7-camera"});
    assert_eq!(
        node.post("/bvcsp/v1/pu/create", Some(&admin), &made)["code"],
        0
    );
    let auth = format!("/gantry/v1/devices/{puid}/auth");
    let none = json!({"kind": "none"});
    assert_eq!(ask(&node, &plain, "PUT", &auth, &none).status, 403);
    assert_eq!(ask(&node, &admin, "PUT", &auth, &none).status, 204);
    let policy = format!("/gantry/v1/devices/{puid}/policy");
    let forced = json!({"moved": "any-ip"});
    assert_eq!(ask(&node, &plain, "PUT", &policy, &forced).status, 403);
    let shown = node.get(&policy, Some(&plain)).json();
    assert_eq!(shown["moved"], "auto");
}

#[test]
fn a_device_that_must_prove_itself_gets_no_password_by_another_door() {
    let (code, puid) = ("34020000001320000035", "PU_34020000001320000035");
    let node = Node::start(&[]);
    let token = node.login();
    let call = |method: &str, path: &str, body: Value| {
        let path = format!("/bvcsp/v1/{path}");
        ask(&node, &token, method, &path, &body).json()
    };
    let data = |method: &str, path: &str, body: Value| {
        let answer = call(method, path, body);
        assert_eq!(answer["code"], 0, "{method} {path}: {answer}");
        answer["data"].clone()
    };
    let made = data("POST", "28181in/cert/server/csr", json!({"name": "ours"}));
    let id = made["id"].as_str().expect("an id");
    data(
        "POST",
        &format!("28181in/cert/server/selfsign/{id}"),
        json!({}),
    );
    let key = Key::new(&mut ChaCha12Rng::from_seed([5; 32]));
    let request = json!({"pem": CertificateRequest::make(&key, code).pem()});
    let asked = data("POST", "28181in/cert/device/csr", request);
    let id = asked["id"].as_str().expect("an id");
    data(
        "POST",
        &format!("28181in/cert/device/issue/{id}"),
        json!({}),
    );
    data("POST", "28181in/gmdevice/create", json!({"id": code}));

    let password = json!({"id": code, "password": "gate-7-camera"});
    assert_eq!(call("POST", "pu/create", password.clone())["code"], 3);
    data("POST", "28181in/device/create", json!({"id": code}));
    let device = format!("28181in/device/{code}");
    assert_eq!(call("PUT", &device, password.clone())["code"], 3);
    assert_eq!(call("PUT", &device, json!({"password": ""}))["code"], 3);
    data("PUT", &device, json!({"name": "Gate"}));
    let auth = format!("/gantry/v1/devices/{puid}/auth");
    let none = json!({"kind": "none"});
    assert_eq!(ask(&node, &token, "PUT", &auth, &none).status, 409);
    let status = |status: i32| json!({ "status": status });
    let shown = data("GET", &format!("28181in/gmdevice/info/{code}"), Value::Null);
    assert_eq!(shown["status"], 1);

    // Once it need not, the doors are open; and with the device goes its entry.
    data("PUT", &format!("28181in/gmdevice/{code}"), status(0));
    assert_eq!(ask(&node, &token, "PUT", &auth, &none).status, 204);
    data("PUT", &device, password);
    data("DELETE", &device, Value::Null);
    let gone = call("GET", &format!("28181in/gmdevice/info/{code}"), Value::Null);
    assert_eq!(gone["code"], 2);
}

/// Who is on the black list, or not on the white one, is put out and does not come in.
#[test]
fn a_listed_user_is_put_out_and_stays_out() {
    let (node, admin, plain) = start();
    let set = |method: &str, path: &str, body: Value| {
        let path = format!("/bvcsp/v1/bwlist/{path}");
        let answer = ask(&node, &admin, method, &path, &body).json();
        assert_eq!(answer["code"], 0, "{path}: {answer}");
    };
    let entry = |black: bool| json!({"items": [{"black": black, "objType": 2, "objId": PLAIN}]});
    let login = || {
        let body = json!({"username": PLAIN, "password": PASSWORD});
        node.post("/bvcsp/v1/auth/login", None, &body)["code"].clone()
    };
    let info = || ask(&node, &plain, "GET", "/bvcsp/v1/auth/info", &json!({})).json();
    set("POST", "add", entry(true));
    assert_eq!((login(), info()["code"].clone()), (json!(0), json!(0)));
    set("PUT", "config", json!({"mode": 1}));
    assert_eq!(login(), 16);
    assert_eq!(info()["code"], 9, "its token ended");
    set("POST", "del", entry(true));
    assert_eq!(login(), 0);

    set("PUT", "config", json!({"mode": 2}));
    assert_eq!(login(), 16, "it is on no white list");
    set("POST", "add", entry(false));
    assert_eq!(login(), 0);
}
