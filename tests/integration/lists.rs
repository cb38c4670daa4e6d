//! Every list has pages and an order, and says so when it is asked for an order that it does not have: those of the store and
//! those of what lives in memory alike.

use gantry::store::{DownloadRow, Note, Store};
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

/// Every word by which a list says that it can be sorted is one that the database knows, up and down.
#[test]
fn every_order_that_is_offered_is_there() {
    let site = Site::start();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let now = now.expect("after 1970").as_secs();
    let filter = json!({"beginTime": now - 7_200, "endTime": now, "channelIndex": 0});
    let track = format!("/bvcsp/v1/pu/gpsdata/filter/{PUID}");
    let records = format!("/bvcsp/v1/pu/recordfile/filter/{PUID}");
    for (path, words) in [
        (
            "/bvcsp/v1/alarm",
            "key type time devID devName subDevIdx status desc lat lng priority processerID processerDesc processTime",
        ),
        (&track, "time channel place lng lat height speed angle"),
        (
            &records,
            "id channelIndex filePath fileName fileSize beginTime endTime recordReason",
        ),
        (
            "/bvcsp/v1/recordfile/filter",
            "id fileID puID userID channelIndex fileSize beginTime endTime insertTime fileName",
        ),
        (
            "/gantry/v1/downloads/list",
            "taskid puid index beginTime endTime speed state progress position total fileSize reason userid createTime",
        ),
        (
            "/bvcsp/v1/dialog/list",
            "dialogid transport puid stream index userid peer stage createTime closeTime firstFrameMs sentBytes skipped congested",
        ),
        (
            "/bvcsp/v1/log/pu/login/extend",
            "name onlineCount offlineCount totalDuration lastTime",
        ),
        (
            "/bvcsp/v1/log/user/login/extend",
            "name onlineCount offlineCount totalDuration lastTime",
        ),
        ("/bvcsp/v1/statistics/dialog", "time count duration failed"),
        ("/bvcsp/v1/statistics/offline", "time count duration failed"),
    ] {
        for word in words.split(' ') {
            for sort in [word.to_owned(), format!("-{word}")] {
                let answer = site.answer("POST", path, json!({"sort": sort, "filter": filter}));
                assert_eq!(answer["code"], 0, "{path} by {sort}: {answer}");
            }
        }
    }
}

/// Downloads and files of a node are listed by the database, and a running one shows how far it is now.
#[test]
fn downloads_and_files_are_searched_sorted_and_paged_by_the_database() {
    let folder = Node::start(&[]).terminate().dir;
    let task = |id: i64, device: &str, state: &str, begin_s: i64, position_ms: i64| DownloadRow {
        id,
        owner: if id == 5 { "guard" } else { "admin" }.into(),
        device: device.into(),
        begin_s,
        end_s: begin_s + 100,
        speed: 1,
        state: state.into(),
        position_ms,
        bytes: 1_000 * id,
        created_s: 1_792_000_000 + id,
        ..DownloadRow::default()
    };
    let (one, two) = ("34020000001320000001", "34020000001320000002");
    let rows = [
        task(1, one, "done", 1_000, 100_000),
        task(2, two, "done", 3_000, 100_000),
        task(3, one, "done", 2_000, 100_000),
        task(4, two, "failed", 5_000, 42_000),
        task(5, one, "cancelled", 4_000, 7_000),
    ];
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let store = Store::open(&folder, "").await.expect("opens");
        for row in &rows {
            store.put(row).await.expect("written");
        }
        for (file, name) in [("T1", "Middle"), ("T2", "North"), ("T3", "A gate")] {
            let note = Note {
                file: file.into(),
                name: name.into(),
                ..Note::default()
            };
            store.put(&note).await.expect("written");
        }
    });
    let node = Node::start_in(folder, &[]);
    let token = node.login();
    let ids = |path: &str, field: &str, body: Value| -> String {
        let list = node.post(path, Some(&token), &body);
        assert_eq!(list["code"], 0, "{path}: {list}");
        let total = list["pageInfo"]["totalCount"].as_u64().expect("a count");
        let list = list["data"].as_array().expect("a list").iter();
        let ids: Vec<&str> = list
            .map(|one| one[field].as_str().expect("an id"))
            .collect();
        format!("{} of {total}", ids.join(" "))
    };
    let files = |body: Value| ids("/bvcsp/v1/recordfile/filter", "id", body);
    assert_eq!(files(json!({})), "T3 T2 T1 of 3");
    assert_eq!(files(json!({"sort": "fileName"})), "T3 T1 T2 of 3");
    assert_eq!(
        files(json!({"sort": "-beginTime", "pageSize": 1, "page": 1})),
        "T3 of 3"
    );
    assert_eq!(
        files(json!({"filter": {"puID": format!("PU_{one}")}})),
        "T3 T1 of 2"
    );
    assert_eq!(
        files(json!({"filter": {"beginTime": 1_100, "endTime": 3_000}})),
        "T3 of 1"
    );
    assert_eq!(
        files(json!({"filter": {"beginTime": 1_099, "endTime": 3_001}})),
        "T3 T2 T1 of 3"
    );
    assert_eq!(files(json!({"filter": {"fileType": ["gps"]}})), " of 0");
    let tasks = |body: Value| ids("/gantry/v1/downloads/list", "taskid", body);
    assert_eq!(tasks(json!({})), "T5 T4 T3 T2 T1 of 5");
    assert_eq!(
        tasks(json!({"sort": "progress", "pageSize": 2})),
        "T5 T4 of 5"
    );
    assert_eq!(tasks(json!({"sort": "-userid", "pageSize": 1})), "T5 of 5");
    assert_eq!(
        tasks(json!({"filter": {"state": "done", "puid": format!("PU_{two}")}})),
        "T2 of 1"
    );
    assert_eq!(
        tasks(json!({"sort": "beginTime", "page": 2, "pageSize": 2})),
        "T4 of 5"
    );
    let list = node.post(
        "/gantry/v1/downloads/list",
        Some(&token),
        &json!({"filter": {"state": "x"}}),
    );
    assert_eq!(list["code"], 4);
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
