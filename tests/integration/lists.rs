//! Every list has pages and an order, and says so when it is asked for an order that it does not have: those of the store and
//! those of what lives in memory alike.

use serde_json::{Value, json};

use super::management::{PUID, Site};
use super::node::Node;

/// Lists with pages that cannot be sorted, and why.
const UNSORTED: &[(&str, &str)] = &[];

/// A schema with what it refers to, as text.
fn whole(document: &Value, schema: &Value) -> String {
    let mut text = schema.to_string();
    while let Some(at) = text.find("\"$ref\":\"#/components/schemas/") {
        let name = &text[at + 29..];
        let end = name.find('"').expect("a whole text");
        let name = name[..end].to_owned();
        let found = document["components"]["schemas"][&name].to_string();
        text = text.replace(
            &format!("\"$ref\":\"#/components/schemas/{name}\""),
            &format!("\"of\":{found}"),
        );
    }
    text
}

#[test]
fn every_list_is_sorted_or_says_why_not() {
    let site = Site::start();
    let document = site.node.get("/openapi.json", None).json();
    let mut sorted = Vec::new();
    let mut wrong = Vec::new();
    for (path, calls) in document["paths"].as_object().expect("paths") {
        let body = &calls["post"]["requestBody"]["content"]["application/json"]["schema"];
        if !body.is_object() {
            continue;
        }
        let text = whole(&document, body);
        if !text.contains("\"pageSize\"") {
            continue;
        }
        if !text.contains("\"sort\"") {
            if !UNSORTED.iter().any(|(known, _)| known == path) {
                wrong.push(format!("{path} has pages and no order"));
            }
            continue;
        }
        let words = path.split('/').map(|word| match word {
            "{puid}" => PUID,
            "{platformid}" | "{id}" => PUID.trim_start_matches("PU_"),
            word => word,
        });
        let real = words.collect::<Vec<_>>().join("/");
        if real.contains('{') {
            // Lists of what is made first.
            continue;
        }
        let filter =
            json!({"beginTime": 1_792_000_000, "endTime": 1_792_000_060, "channelIndex": 0});
        let ask = json!({"page": 0, "pageSize": 2, "sort": "colour", "filter": filter});
        let answer = site.answer("POST", &real, ask);
        let msg = answer["msg"].as_str().unwrap_or_default().to_owned();
        if answer["code"] == 4 && (msg.contains("sort") || msg.contains("fileId")) {
            sorted.push(path.clone());
        } else {
            wrong.push(format!("{path}: {answer}"));
        }
    }
    println!("{} lists: {sorted:#?}", sorted.len());
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(sorted.len() > 20, "{sorted:#?}");
    for path in [
        format!("/gantry/v1/devices/{PUID}/sip"),
        "/gantry/v1/sip/handshakes".to_owned(),
    ] {
        let refused = site
            .node
            .get(&format!("{path}?sort=colour"), Some(&site.token));
        assert_eq!(refused.status, 400, "{path}");
        assert_eq!(refused.json()["code"], 4);
        let unread = site.node.get(&format!("{path}?page=x"), Some(&site.token));
        assert_eq!(unread.status, 400, "{path}");
    }
}

/// Messages of a device live in memory.
#[test]
fn messages_are_searched_sorted_and_paged() {
    let site = Site::start();
    let list = |query: &str| -> Value {
        let path = format!("/gantry/v1/devices/{PUID}/sip?{query}");
        site.node.get(&path, Some(&site.token)).json()
    };
    let times = |list: &Value| -> Vec<i64> {
        let list = list["messages"].as_array().expect("a list").iter();
        list.map(|message| message["time"].as_i64().expect("a time"))
            .collect()
    };
    let up = list("sort=time");
    let down = list("sort=-time");
    assert!(times(&up).is_sorted() && times(&up).len() > 3);
    assert!(times(&down).is_sorted_by(|a, b| a >= b));
    let catalog = list("keyword=cAtAlOg&pageSize=1");
    assert_eq!(catalog["messages"].as_array().map(Vec::len), Some(1));
    let all = catalog["pageInfo"]["totalCount"].as_u64().expect("a count");
    assert!(all > 1 && all < times(&up).len() as u64, "{catalog}");
    assert!(catalog.to_string().contains("Catalog"));
}

/// Keys of this node lie in a sealed record.
#[test]
fn certificates_are_searched_sorted_and_put_out_of_use() {
    let node = Node::start(&[]);
    let token = node.login();
    let call = |method: &str, path: &str, body: Value| -> Value {
        let body = body.to_string();
        node.request(method, path, Some(&token), "application/json", &body)
            .json()
    };
    let of = |path: &str| format!("/bvcsp/v1/28181in/cert/server/{path}");
    let mut ids = Vec::new();
    for name in ["North", "south", "Middle"] {
        let made = call("POST", &of("csr"), json!({"name": name}));
        ids.push(made["data"]["id"].as_str().expect("an id").to_owned());
    }
    for id in &ids[..2] {
        assert_eq!(
            call("POST", &of(&format!("selfsign/{id}")), json!({}))["code"],
            0
        );
    }
    let names = |body: Value| -> Vec<String> {
        let list = call("POST", &of("list"), body);
        let list = list["data"].as_array().expect("a list").iter();
        list.map(|one| one["name"].as_str().expect("a name").to_owned())
            .collect()
    };
    assert_eq!(names(json!({})), ["North", "south", "Middle"]);
    assert_eq!(names(json!({"sort": "name"})), ["Middle", "North", "south"]);
    assert_eq!(
        names(json!({"sort": "-id", "pageSize": 1, "page": 1})),
        ["south"]
    );
    assert_eq!(names(json!({"filter": {"keyword": "OR"}})), ["North"]);
    assert_eq!(names(json!({"filter": {"status": "inuse"}})), ["south"]);
    assert_eq!(names(json!({"filter": {"status": "request"}})), ["Middle"]);
    let wrong = call("POST", &of("list"), json!({"filter": {"status": "lost"}}));
    assert_eq!(wrong["code"], 4);

    let put = |certid: Value| {
        call(
            "PUT",
            "/gantry/v1/certificates/inuse",
            json!({"certid": certid}),
        )
    };
    let delete = |id: &str| call("DELETE", &of(id), json!({}))["code"].clone();
    assert_eq!(put(json!(ids[0]))["code"], 0);
    assert_eq!(names(json!({"filter": {"status": "inuse"}})), ["North"]);
    assert_eq!(names(json!({"filter": {"status": "idle"}})), ["south"]);
    for (certid, code) in [
        (json!(ids[2]), 4),
        (json!("99"), 2),
        (json!("x"), 4),
        (json!(null), 4),
    ] {
        let answer = put(certid.clone());
        assert_eq!(answer["code"], code, "{certid}: {answer}");
    }
    assert_eq!(delete(&ids[0]), 7, "it is in use");
    assert_eq!(put(json!(""))["code"], 0);
    let crl = node.get("/gantry/v1/certificates/crl", Some(&token)).json();
    assert_eq!(crl["code"], 2, "nobody signs: {crl}");
    assert_eq!(delete(&ids[0]), 0);
    assert_eq!(names(json!({"filter": {"status": "inuse"}})), [""; 0]);
}
