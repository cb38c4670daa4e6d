//! Bodies of the REST API in the words of bvcsp (1.3, 1.4, 2.27, 2.28) beside those of GB/T 28181, with the real node and a
//! simulated device.

use serde_json::{Value, json};

use super::node::{Devices, Node};

const CODE: &str = "34020000001180000001";
const PUID: &str = "PU_34020000001180000001";

struct Site {
    node: Node,
    _devices: Devices,
    token: String,
}

impl Site {
    fn start() -> Site {
        let node = Node::start(&[]);
        let arguments = ["--count", "1", "--channels", "4", "--id-base", CODE];
        let devices = Devices::start(&node, &arguments);
        let token = node.login();
        node.wait_for_device(&token, PUID, 3);
        Site {
            node,
            _devices: devices,
            token,
        }
    }

    fn call(&self, method: &str, path: &str, body: Value) -> Value {
        let path = format!("/bvcsp/v1/{path}");
        let token = Some(self.token.as_str());
        let body = body.to_string();
        let response = self
            .node
            .request(method, &path, token, "application/json", &body);
        response.json()
    }

    fn data(&self, method: &str, path: &str, body: Value) -> Value {
        let answer = self.call(method, path, body);
        assert_eq!(answer["code"], 0, "{method} {path}: {answer}");
        answer["data"].clone()
    }

    /// A call that is refused with this code and names this field.
    fn refused(&self, method: &str, path: &str, body: Value, code: u8, field: &str) {
        let answer = self.call(method, path, body);
        assert_eq!(answer["code"], code, "{method} {path}: {answer}");
        let msg = answer["msg"].as_str().unwrap_or_default();
        assert!(msg.contains(field), "{path}: {msg} names {field}");
    }
}

/// Nobody has to set a device before it can be read.
#[test]
fn a_fresh_device_tells_its_whole_configuration_in_both_words() {
    let site = Site::start();
    let get = |path: &str| site.data("GET", &format!("pu/config/{path}"), Value::Null);
    let general = get(&format!("general/{PUID}"));
    assert!(
        general["config"]
            .as_str()
            .is_some_and(|text| text.contains("heartBeatInterval"))
    );
    let server = get(&format!("server/{PUID}"));
    assert_eq!(server["register"]["port"], site.node.sip.port(), "{server}");
    assert_eq!(server["register"]["addr"], "127.0.0.1");
    assert_eq!(
        (&server["register"]["proto"], &server["register"]["user"]),
        (&json!("UDP"), &json!(CODE))
    );
    assert_eq!(server["register"]["keepalive"], server["keepalive"]);
    for name in [
        "videoin",
        "overlay",
        "storage/schedule",
        "storage/rule",
        "alertin",
    ] {
        get(&format!("{name}/{PUID}/1"));
    }
    let path = format!("encoder/{PUID}/0");
    let encoder = get(&path);
    let main = &encoder["streams"][0];
    let video = &main["params"][0]["video"];
    assert_eq!(
        (&main["videoFormat"], &video["codecs"][1]),
        (&json!("2"), &json!("H.264"))
    );
    assert_eq!(video["codecIndex"], 1);

    // What is set in one word is read in the other.
    let video = json!({"codecIndex": 4, "rateControl": 0, "fps": 15_000, "sizes": [{"w": 1280, "h": 720}],
        "sizeIndex": 0, "kbpsCustom": 1500});
    let streams = json!({"streams": [{"streamType": 0, "params": [{"video": video}]}]});
    let put = format!("pu/config/{path}");
    site.data("PUT", &put, streams);
    let main = get(&path)["streams"][0].clone();
    for (word, value) in [
        ("videoFormat", "5"),
        ("bitRateType", "1"),
        ("frameRate", "15"),
        ("resolution", "5"),
        ("videoBitRate", "1500"),
    ] {
        assert_eq!(main[word], value, "{main}");
    }
    let with = |format: &str| json!({"streams": [{"streamNumber": 0, "videoFormat": format, "resolution": "6", "frameRate": "25", "bitRateType": "1"}]});
    site.refused("PUT", &put, with("99"), 4, "videoFormat");
    let mut gop = with("2");
    gop["streams"][0]["params"] = json!([{"video": {"gop": 50}}]);
    site.refused("PUT", &put, gop, 8, "gop");
    let elsewhere = json!({"register": {"addr": "192.0.2.1"}});
    site.refused(
        "PUT",
        &format!("pu/config/server/{PUID}"),
        elsewhere,
        8,
        "addr",
    );
    let path = format!("pu/config/storage/media/{PUID}/0");
    let medium = site.data("GET", &path, Value::Null);
    assert_eq!(
        (medium.get("fs"), medium.get("disable")),
        (Some(&Value::Null), Some(&Value::Null))
    );
    let upgrade = format!("pu/upgrade/{PUID}");
    site.refused(
        "POST",
        &upgrade,
        json!({"firmware": "V2", "fileUrl": "x"}),
        4,
        "fileUrl",
    );
}

#[test]
fn groups_lists_and_registrants_have_the_words_of_bvcsp() {
    let site = Site::start();
    let north = json!({"name": "North", "desc": "beyond the river"});
    let north = site.data("POST", "pu/group/create", north)["id"].clone();
    let gate = site.data(
        "POST",
        "pu/group/create",
        json!({"name": "Gate", "parentId": north}),
    );
    let listed = site.data(
        "POST",
        "pu/group/list",
        json!({"filter": {"parentId": north}}),
    );
    assert_eq!(listed[0]["id"], gate["id"]);
    assert_eq!(
        (&listed[0]["parentId"], &listed[0]["parent"]),
        (&north, &north)
    );
    let path = format!("pu/group/info/{}", north.as_str().expect("an id"));
    let info = site.data("GET", &path, Value::Null);
    assert_eq!(
        (&info["desc"], &info["description"]),
        (&json!("beyond the river"), &json!("beyond the river"))
    );
    let both = json!({"name": "x", "parent": "", "parentId": north});
    site.refused("POST", "pu/group/create", both, 4, "parentId");

    let far = "PU_34020000001320000099";
    let items = |item: Value| json!({"items": [item]});
    site.data(
        "POST",
        "bwlist/add",
        items(json!({"black": 1, "objType": 1, "objID": far})),
    );
    let listed = site.data(
        "POST",
        "bwlist/list",
        json!({"filter": {"black": 1}, "sort": "objID"}),
    );
    assert_eq!(
        (
            &listed[0]["black"],
            &listed[0]["objID"],
            &listed[0]["objId"]
        ),
        (&json!(1), &json!(far), &json!(far))
    );
    site.refused(
        "POST",
        "bwlist/add",
        items(json!({"black": 2, "objType": 1, "objID": far})),
        4,
        "0, 1",
    );
    site.data("POST", "bwlist/del", items(json!({"id": listed[0]["id"]})));
    assert_eq!(site.data("POST", "bwlist/list", json!({})), json!([]));

    let path = format!("28181in/device/info/{CODE}");
    let info = site.data("GET", &path, Value::Null);
    assert_eq!(
        (&info["ip"], &info["transport"], &info["user"]),
        (&json!("127.0.0.1"), &json!("UDP"), &json!(CODE))
    );
    assert_eq!(info["channels"].as_array().map(Vec::len), Some(3), "{info}");
    assert_eq!(
        (&info["streamMode"], &info["charset"]),
        (&json!("auto"), &json!("auto"))
    );
    let config = site.data("GET", "28181in/config", Value::Null);
    for (here, there) in [
        ("realm", "realm"),
        ("expires", "expires"),
        ("heartbeat", "keepalive"),
    ] {
        assert_eq!(info[here], config[there], "{here}");
    }
    let change = format!("28181in/device/{CODE}");
    site.data(
        "PUT",
        &change,
        json!({"streamMode": "tcp-passive", "charset": "utf8", "realm": config["realm"]}),
    );
    let list = site.data("POST", "28181in/device/list", json!({}));
    assert_eq!(
        (&list[0]["streamMode"], &list[0]["charset"]),
        (&json!("tcp-passive"), &json!("utf8"))
    );
    site.refused(
        "PUT",
        &change,
        json!({"streamMode": "carrier pigeon"}),
        4,
        "streamMode",
    );
    site.refused("PUT", &change, json!({"ip": "192.0.2.1"}), 8, "ip");

    let hardware = site.data("GET", &format!("pu/info/{PUID}"), Value::Null)["hardware"].clone();
    assert_eq!(
        (&hardware["videoIn"], &hardware["WIFI"]),
        (&json!(3), &json!(-1)),
        "{hardware}"
    );
    let user = site.data("GET", "auth/info", Value::Null);
    assert_eq!(
        (&user["idcard"], &user["validity_time"]),
        (&json!(""), &json!(0))
    );
    let csr = json!({"name": "ours", "subject": "CN=34020000002000000001"});
    let csr = site.data("POST", "28181in/cert/server/csr", csr);
    assert_eq!(csr["subject"], "34020000002000000001");
    site.refused(
        "POST",
        "28181in/cert/server/csr",
        json!({"subject": "CN=x,O=y"}),
        4,
        "subject",
    );
}
