//! What people do with devices by REST, with the real node and simulated devices: names and groups, lists of who may come
//! in, configuration, pictures, new software, subscriptions, and the log of it all.

use serde_json::{Value, json};

use super::node::{Devices, Node, wait_until};

const CODE: &str = "34020000001180000001";
pub const PUID: &str = "PU_34020000001180000001";

/// A node with one simulated recorder of two cameras, and an administrator.
pub struct Site {
    pub node: Node,
    pub devices: Devices,
    pub token: String,
}

impl Site {
    pub fn start() -> Site {
        Site::with(&[])
    }

    /// The same with more arguments of `gantry simulate`.
    pub fn with(more: &[&str]) -> Site {
        let node = Node::start(&[]);
        let arguments = [
            "--count",
            "1",
            "--channels",
            "3",
            "--id-base",
            CODE,
            "--keepalive",
            "5",
        ];
        let devices = Devices::start(&node, &[&arguments, more].concat());
        let token = node.login();
        node.wait_for_device(&token, PUID, 2);
        Site {
            node,
            devices,
            token,
        }
    }

    pub fn answer(&self, method: &str, path: &str, body: Value) -> Value {
        let body = body.to_string();
        self.node
            .request(method, path, Some(&self.token), "application/json", &body)
            .json()
    }

    /// The data of a call that goes well.
    pub fn data(&self, method: &str, path: &str, body: Value) -> Value {
        let answer = self.answer(method, path, body);
        assert_eq!(answer["code"], 0, "{method} {path}: {answer}");
        answer["data"].clone()
    }

    pub fn code(&self, method: &str, path: &str, body: Value) -> Value {
        self.answer(method, path, body)["code"].clone()
    }
}

#[test]
fn devices_are_named_sorted_and_removed() {
    let site = Site::start();
    let above = site.data(
        "POST",
        "/bvcsp/v1/pu/group/create",
        json!({"name": "North"}),
    );
    let above = above["id"].as_str().expect("an id").to_owned();
    let below = site.data(
        "POST",
        "/bvcsp/v1/pu/group/create",
        json!({"name": "Gate", "parent": above}),
    );
    let below = below["id"].as_str().expect("an id").to_owned();
    let moved = json!({"parent": below});
    assert_eq!(
        site.code("PUT", &format!("/bvcsp/v1/pu/group/{above}"), moved),
        4,
        "under itself"
    );
    assert_eq!(
        site.code("DELETE", &format!("/bvcsp/v1/pu/group/{above}"), json!({})),
        7,
        "not empty"
    );
    let class = site.data(
        "POST",
        "/bvcsp/v1/pu/class/create",
        json!({"name": "Recorder"}),
    );
    let change = json!({"name": "大门", "gid": below, "classID": class["id"], "tags": ["a", "b"]});
    site.data("PUT", &format!("/bvcsp/v1/pu/info/{PUID}"), change);
    site.data(
        "PUT",
        &format!("/bvcsp/v1/pu/channel/{PUID}/1"),
        json!({"name": "东", "lng": 117.5, "lat": 31.5}),
    );
    let list = |filter: Value| {
        site.data(
            "POST",
            "/bvcsp/v1/pu/list",
            json!({"needStatus": true, "filter": filter}),
        )
    };
    let found = list(json!({"gid": below, "keyword": "大"}));
    assert_eq!(found[0]["id"], PUID, "{found}");
    assert_eq!(
        (&found[0]["name"], &found[0]["tags"]),
        (&json!("大门"), &json!(["a", "b"]))
    );
    assert_eq!(found[0]["channels"][1]["name"], "东");
    assert_eq!(found[0]["channels"][1]["gps"]["lng"], 117.5);
    assert_eq!(list(json!({"gid": above})), json!([]));
    assert_eq!(
        site.data("POST", "/bvcsp/v1/pu/ungrouped/list", json!({})),
        json!([])
    );

    let made = json!({"id": "PU_34020000001320000077", "name": "later", "password": "gate-7"});
    site.data("POST", "/bvcsp/v1/pu/create", made.clone());
    assert_eq!(site.code("POST", "/bvcsp/v1/pu/create", made), 3);
    let found = list(json!({"status": 0}));
    assert_eq!(
        (&found[0]["name"], &found[1]),
        (&json!("later"), &Value::Null)
    );
    site.data("DELETE", "/bvcsp/v1/pu/PU_34020000001320000077", json!({}));
    assert_eq!(
        site.code(
            "GET",
            "/bvcsp/v1/pu/info/PU_34020000001320000077",
            Value::Null
        ),
        2
    );
    site.data("DELETE", &format!("/bvcsp/v1/pu/group/{below}"), json!({}));
    let left = site.data("GET", &format!("/bvcsp/v1/pu/info/{PUID}"), Value::Null);
    assert_eq!((&left["gid"], &left["name"]), (&json!(""), &json!("大门")));

    let log = json!({"filter": {"keyword": "pu/info"}});
    let log = site.data("POST", "/bvcsp/v1/log/operate", log);
    let row = &log[0];
    assert_eq!(
        (&row["userId"], &row["method"], &row["target"]),
        (&json!("admin"), &json!("PUT"), &json!(PUID))
    );
    assert_eq!(
        (
            &row["result"],
            row["address"].as_str().map(|a| a.starts_with("127.0.0.1:"))
        ),
        (&json!(0), Some(true))
    );
    let made = site.data(
        "POST",
        "/bvcsp/v1/log/operate",
        json!({"filter": {"keyword": "pu/create"}}),
    );
    assert!(
        !made.to_string().contains("gate-7"),
        "no password is kept: {made}"
    );
    assert_eq!(
        made[0]["result"], 3,
        "what failed is written down too, newest first"
    );
}

#[test]
fn who_is_on_the_black_list_goes_and_stays_away() {
    let site = Site::start();
    let item = json!({"items": [{"black": true, "objType": 1, "objId": PUID}]});
    site.data("POST", "/bvcsp/v1/bwlist/add", item.clone());
    let online = || {
        let info = site.data("GET", &format!("/bvcsp/v1/pu/info/{PUID}"), Value::Null);
        info["status"] == 1
    };
    assert!(online(), "the list does not count yet");
    site.data("PUT", "/bvcsp/v1/bwlist/config", json!({"mode": 1}));
    wait_until("it is sent away", || (!online()).then_some(()));
    let refused = || site.node.metric_where("gantry_registers_total", "refused");
    wait_until("its registration is refused", || {
        (refused() >= 1.0).then_some(())
    });
    assert!(!online());
    site.data("POST", "/bvcsp/v1/bwlist/del", item);
    wait_until("it is back", || online().then_some(()));
    // It is written behind.
    wait_until("the log has both stays", || {
        let filter = json!({"filter": {"puId": PUID}});
        let log = site.data("POST", "/bvcsp/v1/log/pu/login", filter);
        (log[1]["offlineTime"].is_i64() && log[0]["offlineTime"].is_null()).then_some(())
    });
    let sums = site.data("POST", "/bvcsp/v1/log/pu/login/extend", json!({}));
    assert_eq!(
        (&sums[0]["onlineCount"], &sums[0]["offlineCount"]),
        (&json!(2), &json!(1)),
        "{sums}"
    );

    let user = json!({"items": [{"black": false, "objType": 2, "objId": "somebody"}]});
    site.data("POST", "/bvcsp/v1/bwlist/add", user);
    site.data("PUT", "/bvcsp/v1/bwlist/config", json!({"mode": 2}));
    assert!(!site.node.login().is_empty(), "admin is never locked out");
    wait_until("no device is on the white list", || {
        (!online()).then_some(())
    });
    assert_eq!(
        site.code("PUT", "/bvcsp/v1/bwlist/config", json!({"mode": 3})),
        4
    );
}

#[test]
fn a_camera_takes_its_configuration() {
    let site = Site::start();
    let config = |name: &str| format!("/bvcsp/v1/pu/config/{name}/{PUID}/0");
    let mirror = json!({"mirror": 2, "shelter": {"enable": true, "rects": [{"left": 1, "top": 2, "right": 3, "bottom": 4}]}});
    site.data("PUT", &config("videoin"), mirror.clone());
    assert_eq!(site.data("GET", &config("videoin"), Value::Null), mirror);
    let answer = site.answer("PUT", &config("videoin"), json!({"mirror": 9}));
    assert_eq!(answer["code"], 4, "{answer}");
    assert!(
        answer["msg"]
            .as_str()
            .is_some_and(|msg| msg.contains("mode")),
        "{answer}"
    );
    let unknown = format!("/bvcsp/v1/pu/config/videoin/{PUID}/99");
    assert_eq!(site.code("GET", &unknown, Value::Null), 2);
    let plan = json!({"name": "Night", "settings": [{"FrameMirror": {"mode": 1}}]});
    let plan = site.data("POST", "/bvcsp/v1/configplan/create", plan);
    let plan = plan["id"].as_str().expect("an id").to_owned();
    site.data(
        "POST",
        &format!("/bvcsp/v1/configplan/pu/add/{plan}"),
        json!({"ids": [PUID]}),
    );
    wait_until("the plan is done", || {
        let row = site.data(
            "GET",
            &format!("/bvcsp/v1/configplan/pu/info/{PUID}"),
            Value::Null,
        );
        (row["state"] == "done").then_some(())
    });
    assert_eq!(
        site.data(
            "POST",
            "/bvcsp/v1/configplan/pu/unassociated/list",
            json!({})
        ),
        json!([])
    );
}

#[test]
fn pictures_come_by_http_with_a_token_of_their_own() {
    let site = Site::start();
    let order = site.data(
        "POST",
        &format!("/bvcsp/v1/pu/snapshot/{PUID}/0"),
        json!({"picCount": 2}),
    );
    let id = order["id"].as_str().expect("an id").to_owned();
    let info = format!("/gantry/v1/snapshots/{id}");
    wait_until("both pictures are there and the device says so", || {
        let row = site.data("GET", &info, Value::Null);
        (row["received"] == 2 && row["state"] == "done").then_some(())
    });
    let picture = site.node.get(&format!("{info}/2"), Some(&site.token));
    assert_eq!(
        (picture.status, picture.header("content-type")),
        (200, Some("image/jpeg"))
    );
    assert_eq!(
        site.node
            .get(&format!("{info}/3"), Some(&site.token))
            .status,
        404
    );
    assert_eq!(site.node.get(&format!("{info}/1"), None).status, 401);
    let upload = format!("{info}/upload/00112233445566778899aabbccddeeff");
    assert_eq!(
        site.node
            .request("POST", &upload, None, "image/jpeg", "x")
            .status,
        403
    );
}

#[test]
fn new_software_is_followed_to_its_end() {
    let site = Site::start();
    let path = format!("/bvcsp/v1/pu/upgrade/status/{PUID}");
    assert_eq!(site.data("GET", &path, Value::Null)["percent"], -1);
    let order = json!({"firmware": "V9", "fileUrl": "http://127.0.0.1/v9.bin"});
    site.data("POST", &format!("/bvcsp/v1/pu/upgrade/{PUID}"), order);
    wait_until("it is installed", || {
        let status = site.data("GET", &path, Value::Null);
        (status["percent"] == 100 && status["version"] == "V9").then_some(())
    });
}

#[test]
fn subscriptions_are_changed_at_run_time() {
    let site = Site::start();
    let all = format!("/gantry/v1/devices/{PUID}/subscriptions");
    let state = |topic: &str| {
        let all = site.data("GET", &all, Value::Null);
        let all = all.as_array().expect("a list").clone();
        all.into_iter()
            .find(|one| one["topic"] == topic)
            .expect("a topic")
    };
    assert_eq!(state("alarm")["state"], "none");
    site.data("PUT", &format!("{all}/alarm"), json!({"expires": 600}));
    wait_until("the device agreed", || {
        (state("alarm")["state"] == "active").then_some(())
    });
    assert_eq!(
        (&state("alarm")["own"], &state("alarm")["expires"]),
        (&json!(true), &json!(600))
    );
    site.data(
        "PUT",
        &format!("/bvcsp/v1/pu/config/gps/{PUID}/0"),
        json!({"enable": true, "interval": 1}),
    );
    wait_until("positions are subscribed to", || {
        (state("position")["state"] == "active").then_some(())
    });
    site.data("DELETE", &format!("{all}/alarm"), json!({}));
    assert_eq!(
        (&state("alarm")["state"], &state("alarm")["own"]),
        (&json!("none"), &json!(false))
    );
    assert_eq!(site.code("PUT", &format!("{all}/weather"), json!({})), 4);
    assert_eq!(
        site.code("PUT", &format!("{all}/alarm"), json!({"expires": 1})),
        4
    );
    let unknown = "/gantry/v1/devices/PU_34020000009990000009/subscriptions/alarm";
    assert_eq!(site.code("PUT", unknown, json!({})), 2);
}

/// Every list of devices is in the order that is asked for, or says that there is no such order.
#[test]
fn lists_of_devices_are_sorted_or_say_why_not() {
    let site = Site::start();
    for n in [8, 9] {
        let made = json!({"id": format!("PU_340200000011800000{n:02}")});
        site.data("POST", "/bvcsp/v1/pu/create", made);
    }
    for path in [
        "/bvcsp/v1/pu/list",
        "/bvcsp/v1/28181in/device/list",
        "/bvcsp/v1/pu/ungrouped/list",
        "/bvcsp/v1/configplan/pu/unassociated/list",
    ] {
        let ids = |sort: &str| -> Vec<String> {
            let list = site.data("POST", path, json!({"sort": sort}));
            let list = list.as_array().expect("a list").iter();
            list.map(|one| one["id"].as_str().expect("an id").to_owned())
                .collect()
        };
        let mut up = ids("id");
        assert_eq!(up.len(), 3, "{path}");
        assert!(up.is_sorted(), "{path}: {up:?}");
        up.reverse();
        assert_eq!(ids("-id"), up, "{path}");
        // The one that is online comes last.
        assert!(ids("status")[2].contains(CODE), "{path}");
        assert_eq!(site.code("POST", path, json!({"sort": "colour"})), 4);
    }
    let tree = format!("/gantry/v1/devices/{PUID}/tree");
    let names = |sort: &str| -> Vec<String> {
        let list = site.data("POST", &tree, json!({"sort": sort}));
        let list = list.as_array().expect("a list").iter();
        list.filter(|one| one["index"].is_u64())
            .map(|one| one["name"].as_str().expect("a name").to_owned())
            .collect()
    };
    let mut up = names("name");
    assert_eq!(up.len(), 2);
    up.reverse();
    assert_eq!(names("-name"), up);
    assert_eq!(site.code("POST", &tree, json!({"sort": "colour"})), 4);

    // Records of any channel are those of each.
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let now = now.expect("after 1970").as_secs();
    let records = |index: i64| {
        let filter = json!({"beginTime": now - 30 * 3_600, "endTime": now, "channelIndex": index});
        let path = format!("/bvcsp/v1/pu/recordfile/filter/{PUID}");
        let body = json!({"page": 0, "pageSize": 1000, "filter": filter});
        let list = site.data("POST", &path, body);
        list.as_array().expect("a list").clone()
    };
    let (all, first, second) = (records(-1), records(0), records(1));
    assert!(!first.is_empty() && !second.is_empty());
    assert_eq!(all.len(), first.len() + second.len());
    assert!(
        all.iter()
            .all(|file| first.contains(file) || second.contains(file))
    );
}
