//! What devices tell of their own accord, from outside: a lower platform whose directory changes while it is subscribed to, and
//! recorders that upload. A device of the simulator tells it; lists, trees and WebSockets show it.

use gantry::gb28181::CatalogItem;
use gantry::gb28181::notice::{Alarm, CatalogChange, ChannelEvent, Notice, VideoUpload};
use gantry::id::DeviceId;
use gantry::sim::{self, Act, Sim};
use serde_json::{Value, json};

use super::node::{Node, wait_until};
use super::player::WebSocket;

const PUID: &str = "PU_34020000002000000002";
const DISTRICT: &str = "34020000";
const GROUP: &str = "34020000002150000001";
const ORGANISATION: &str = "34020000002160000001";

/// A platform with 12 cameras in one organisation of one group of one district, its directory subscribed to.
struct Rig {
    node: Node,
    token: String,
    platform: Sim,
    status: WebSocket,
    notices: WebSocket,
}

/// Code of the camera at a place.
fn camera(place: u32) -> String {
    format!("3402000000132{:07}", place + 1)
}

fn item(id: &str) -> CatalogItem {
    CatalogItem {
        id: id.into(),
        ..CatalogItem::default()
    }
}

/// Something that channels hang on.
fn node_item(id: &str, name: &str, parent: &str) -> CatalogItem {
    CatalogItem {
        name: name.into(),
        parent_id: parent.into(),
        parental: true,
        ..item(id)
    }
}

fn camera_item(place: u32, name: &str, parent: &str) -> CatalogItem {
    CatalogItem {
        name: name.into(),
        parent_id: parent.into(),
        online: true,
        ..item(&camera(place))
    }
}

fn next(socket: &mut WebSocket) -> Value {
    let text = socket.message().expect("a message");
    serde_json::from_slice(&text).expect("JSON")
}

impl Rig {
    fn new() -> Rig {
        let node = Node::start(&[]);
        let id = DeviceId(PUID[3..].parse().expect("a code"));
        let server = "34020000002000000001".parse().expect("a code");
        let mut config = sim::Config::new(node.sip, server, "12345678".into());
        config.devices.push(sim::Plan {
            id,
            name: "Platform".into(),
            channels: 12,
            pictures: vec![sim::Picture::Yard],
            sound: sim::Sound::None,
            quirk: sim::Quirk::None,
        });
        let platform = sim::start(config, 5).expect("free ports");
        let token = node.login();
        node.wait_for_device(&token, PUID, 12);
        let socket =
            |path: &str| WebSocket::connect(node.http, &format!("{path}?token={token}"), false);
        let status = socket("/bvcsp/v1/ws/event/onlinestatus");
        let notices = socket("/gantry/v1/ws/notices");
        let rig = Rig {
            node,
            token,
            platform,
            status,
            notices,
        };
        let path = format!("/gantry/v1/devices/{PUID}/subscriptions");
        rig.call("PUT", &format!("{path}/catalog"), json!({}));
        wait_until("the directory is subscribed to", || {
            let all = rig.call("GET", &path, Value::Null);
            let all = all["data"].as_array()?.clone();
            let mut active = all.iter().filter(|one| one["state"] == "active");
            active.find(|one| one["topic"] == "catalog").map(|_| ())
        });
        rig
    }

    fn call(&self, method: &str, path: &str, body: Value) -> Value {
        let token = Some(self.token.as_str());
        let body = body.to_string();
        let answer = self
            .node
            .request(method, path, token, "application/json", &body);
        let answer = answer.json();
        assert_eq!(answer["code"], 0, "{method} {path}: {answer}");
        answer
    }

    fn act(&self, act: Act) {
        let id = DeviceId(PUID[3..].parse().expect("a code"));
        assert!(self.platform.act(id, act));
    }

    /// Lets the platform tell one change, and gives what the socket of notices says of it.
    fn tell(&mut self, event: ChannelEvent, item: CatalogItem) -> Value {
        self.act(Act::Directory(vec![CatalogChange { event, item }]));
        let told = next(&mut self.notices);
        assert_eq!(
            (&told["type"], &told["puid"]),
            (&json!("directory"), &json!(PUID))
        );
        told
    }

    /// The channel at a place, by the call of the device.
    fn channel(&self, place: u32) -> Option<Value> {
        let info = self.call("GET", &format!("/bvcsp/v1/pu/info/{PUID}"), Value::Null);
        of_place(&info["data"], place)
    }

    /// A level of the tree, as pairs of code and name.
    fn level(&self, parent: &str) -> Vec<(String, String)> {
        let path = format!("/gantry/v1/devices/{PUID}/tree");
        let body = json!({"page": 0, "pageSize": 100, "filter": {"parent": parent}});
        let answer = self.call("POST", &path, body);
        let items = answer["data"].as_array().expect("a list").clone();
        let text = |item: &Value, name: &str| item[name].as_str().expect("text").to_owned();
        let pairs = items.iter().map(|one| (text(one, "id"), text(one, "name")));
        pairs.collect()
    }

    /// Waits until a level of the tree is so: the store is written to behind what is told.
    fn wait_for_level(
        &self,
        what: &str,
        parent: &str,
        right: impl Fn(&[(String, String)]) -> bool,
    ) {
        wait_until(what, || right(&self.level(parent)).then_some(()));
    }
}

fn of_place(device: &Value, place: u32) -> Option<Value> {
    let channels = device["channels"].as_array().expect("channels").clone();
    channels.into_iter().find(|c| c["index"] == place)
}

fn has(level: &[(String, String)], id: &str) -> bool {
    level.iter().any(|(one, _)| one == id)
}

#[test]
fn channels_go_on_and_off_and_say_why_in_lists_and_on_sockets() {
    let mut rig = Rig::new();
    for (event, status, condition) in [
        (ChannelEvent::Off, 0, Value::Null),
        (ChannelEvent::VideoLost, 0, json!("videoLost")),
        (ChannelEvent::Defect, 0, json!("defect")),
        (ChannelEvent::On, 1, Value::Null),
    ] {
        let told = rig.tell(event, item(&camera(3)));
        let data = &told["data"];
        assert_eq!(
            (&told["index"], &data["id"], &data["gone"]),
            (&json!(3), &json!(camera(3)), &json!(false)),
            "{event:?}: {told}"
        );
        let seen = |one: &Value| (one["status"].clone(), one["condition"].clone());
        let wanted = (json!(status), condition);
        assert_eq!(seen(data), wanted, "{event:?}: {told}");
        // The device itself is there all the time.
        let message = next(&mut rig.status);
        assert_eq!(
            (&message["type"], &message["status"]),
            (&json!("PU"), &json!(1))
        );
        let of_message = of_place(&message["device"], 3).expect("the channel");
        assert_eq!(seen(&of_message), wanted, "{event:?}: {message}");
        let listed = rig.channel(3).expect("the channel");
        assert_eq!(seen(&listed), wanted, "{event:?}: {listed}");
        assert_eq!(rig.channel(4).expect("its neighbour")["status"], 1);
        let path = format!("/gantry/v1/devices/{PUID}/tree");
        let body = json!({"page": 0, "pageSize": 100, "filter": {"parent": ORGANISATION}});
        wait_until("the tree shows it", || {
            let level = rig.call("POST", &path, body.clone());
            (seen(&level["data"][3]) == wanted).then_some(())
        });
    }

    // What it already is changes nothing and is told to nobody: the next thing that is told is the next change.
    rig.act(Act::Directory(vec![CatalogChange {
        event: ChannelEvent::On,
        item: item(&camera(3)),
    }]));
    let told = rig.tell(ChannelEvent::Off, item(&camera(5)));
    assert_eq!(told["index"], 5, "{told}");
}

#[test]
fn channels_come_change_and_go_and_the_others_keep_their_places() {
    let mut rig = Rig::new();
    let renamed = camera_item(2, "南门", ORGANISATION);
    let told = rig.tell(ChannelEvent::Update, renamed);
    assert_eq!(
        (&told["index"], &told["data"]["name"]),
        (&json!(2), &json!("南门"))
    );
    assert_eq!(rig.channel(2).expect("the channel")["name"], "南门");

    let told = rig.tell(ChannelEvent::Add, camera_item(40, "New", ORGANISATION));
    assert_eq!(told["index"], 12, "at the end: {told}");
    assert_eq!(rig.channel(12).expect("the channel")["id"], camera(40));
    rig.wait_for_level("it hangs in the tree", ORGANISATION, |level| {
        has(level, &camera(40)) && level.contains(&(camera(2), "南门".into()))
    });

    let told = rig.tell(ChannelEvent::Delete, item(&camera(0)));
    assert_eq!(
        (&told["index"], &told["data"]["gone"]),
        (&json!(0), &json!(true))
    );
    assert!(rig.channel(0).is_none());
    assert_eq!(rig.channel(1).expect("the next")["id"], camera(1));
    rig.wait_for_level("it is out of the tree", ORGANISATION, |level| {
        !has(level, &camera(0))
    });
    let path = format!("/bvcsp/v1/pu/ptz/preset/list/{PUID}/0");
    let gone = rig.node.get(&path, Some(&rig.token)).json();
    assert_eq!(gone["code"], 2, "nothing is asked of it any more: {gone}");

    // Asked for the whole directory again, the platform says what it told.
    for (place, id) in [(1, camera(1)), (2, camera(2)), (12, camera(40))] {
        assert_eq!(rig.channel(place).expect("a channel")["id"], id);
    }
    let told = rig.tell(ChannelEvent::Add, camera_item(0, "Back", ORGANISATION));
    assert_eq!(told["index"], 0, "its place was kept: {told}");
    assert_eq!(rig.channel(0).expect("the channel")["name"], "Back");
}

#[test]
fn nodes_of_the_tree_come_change_and_go() {
    let mut rig = Rig::new();
    rig.wait_for_level("the directory is written", GROUP, |level| {
        has(level, ORGANISATION)
    });
    let (other, district) = ("34020000002160000009", "34020099");
    let group = "34020000002150000009";
    for (id, name, parent) in [
        (district, "District 99", &PUID[3..]),
        (group, "Group 9", district),
        (other, "Organisation 9", group),
    ] {
        let told = rig.tell(ChannelEvent::Add, node_item(id, name, parent));
        let data = &told["data"];
        assert_eq!((&told["index"], &data["id"]), (&json!(-1), &json!(id)));
        assert!(
            data.get("status").is_none(),
            "a node is not on or off: {told}"
        );
    }
    rig.wait_for_level("the district is there", "", |level| has(level, district));
    rig.wait_for_level("the group is there", district, |level| has(level, group));
    rig.wait_for_level("the organisation is there", group, |level| {
        has(level, other)
    });

    // A camera moves into it, and it gets another name.
    rig.tell(ChannelEvent::Update, camera_item(4, "Moved", other));
    rig.tell(ChannelEvent::Update, node_item(other, "北区", group));
    rig.wait_for_level("the camera moved", other, |level| has(level, &camera(4)));
    rig.wait_for_level("the old one lacks it", ORGANISATION, |level| {
        !has(level, &camera(4))
    });
    rig.wait_for_level("the name changed", group, |level| {
        level.contains(&(other.into(), "北区".into()))
    });

    // Events that mean nothing of a node leave it as it is, and are told to nobody.
    for event in [
        ChannelEvent::On,
        ChannelEvent::Off,
        ChannelEvent::VideoLost,
        ChannelEvent::Defect,
    ] {
        let item = item(other);
        rig.act(Act::Directory(vec![CatalogChange { event, item }]));
    }
    let told = rig.tell(ChannelEvent::Delete, item(other));
    assert_eq!(
        (&told["data"]["id"], &told["data"]["gone"]),
        (&json!(other), &json!(true))
    );
    rig.wait_for_level("the organisation is gone", group, |level| {
        !has(level, other)
    });
    rig.wait_for_level("its camera hangs on its business group", GROUP, |level| {
        has(level, &camera(4))
    });
    rig.tell(ChannelEvent::Delete, item(group));
    rig.tell(ChannelEvent::Delete, item(district));
    rig.wait_for_level("the district is gone", "", |level| {
        !has(level, district) && has(level, DISTRICT)
    });
    assert_eq!(rig.channel(4).expect("the camera")["status"], 1);
}

/// Several changes in one message, the first of which nobody can use.
#[test]
fn a_message_with_many_changes_changes_all_of_them() {
    let mut rig = Rig::new();
    let change = |event, item| CatalogChange { event, item };
    rig.act(Act::Directory(vec![
        change(ChannelEvent::Off, item("34020000001329999999")),
        change(ChannelEvent::Off, item(&camera(1))),
        change(ChannelEvent::Update, node_item(ORGANISATION, "One", GROUP)),
        change(ChannelEvent::Delete, item(&camera(2))),
    ]));
    let told = [(); 3].map(|()| next(&mut rig.notices)["index"].clone());
    assert_eq!(told, [json!(1), json!(-1), json!(2)]);
    let message = next(&mut rig.status);
    assert_eq!(of_place(&message["device"], 1).expect("it")["status"], 0);
    assert!(
        of_place(&message["device"], 2).is_none(),
        "one message for all of it"
    );
    rig.wait_for_level("the node has its name", GROUP, |level| {
        level.contains(&(ORGANISATION.into(), "One".into()))
    });
}

#[test]
fn an_upload_is_told_on_the_socket_and_kept_in_the_list() {
    let mut rig = Rig::new();
    let upload = VideoUpload {
        time: "2026-06-14T12:00:00".into(),
        longitude: Some(121.5),
        latitude: Some(31.25),
    };
    rig.act(Act::Tell {
        about: camera(6).parse().expect("a code"),
        notice: Box::new(Notice::VideoUpload(upload.clone())),
    });
    let told = next(&mut rig.notices);
    assert_eq!(
        (&told["type"], &told["puid"], &told["index"]),
        (&json!("videoUpload"), &json!(PUID), &json!(6)),
        "{told}"
    );
    let data = serde_json::to_value(&upload).expect("JSON");
    assert_eq!(told["data"], data);
    let path = format!("/gantry/v1/devices/{PUID}/notices/list");
    let kept = wait_until("it is kept", || {
        let list = rig.call("POST", &path, json!({"filter": {"kind": "videoUpload"}}));
        list["data"].get(0).cloned()
    });
    assert_eq!(kept["place"], 6, "{kept}");
    let payload = kept["payload"].as_str().expect("JSON");
    let payload: Value = serde_json::from_str(payload).expect("JSON");
    assert_eq!(payload, data);
}

/// An alarm that a platform raises for one of its channels names that channel.
#[test]
fn an_alarm_of_a_channel_names_its_place() {
    let rig = Rig::new();
    let path = format!("/bvcsp/v1/ws/event/alarm?token={}", rig.token);
    let mut alarms = WebSocket::connect(rig.node.http, &path, false);
    for (about, index) in [(camera(5), json!(5)), (PUID[3..].to_owned(), json!(-1))] {
        rig.act(Act::Alarm {
            about: about.parse().expect("a code"),
            alarm: Box::new(Alarm {
                priority: 2,
                method: 5,
                time: "2026-06-14T12:00:00".into(),
                ..Alarm::default()
            }),
        });
        let told = next(&mut alarms);
        assert_eq!(
            (&told["devID"], &told["subDevIdx"]),
            (&json!(PUID), &index),
            "{told}"
        );
    }
}

/// A node that was killed knows the directory as it was told last, with every place as it was, before the platform says a word.
#[test]
fn a_directory_outlives_a_kill_as_it_was_told_last() {
    let mut rig = Rig::new();
    rig.tell(ChannelEvent::Delete, item(&camera(0)));
    rig.tell(ChannelEvent::VideoLost, item(&camera(1)));
    rig.tell(ChannelEvent::Off, item(&camera(2)));
    rig.tell(ChannelEvent::Update, camera_item(3, "北门", GROUP));
    rig.tell(ChannelEvent::Add, camera_item(40, "New", ORGANISATION));
    rig.tell(
        ChannelEvent::Add,
        node_item("34020000002160000009", "Nine", GROUP),
    );
    rig.wait_for_level("all of it is in the store", GROUP, |level| {
        has(level, "34020000002160000009") && has(level, &camera(3))
    });
    let places = |rig: &Rig| (0..14).map(|n| rig.channel(n)).collect::<Vec<_>>();
    let levels = |rig: &Rig| ["", DISTRICT, GROUP, ORGANISATION].map(|node| rig.level(node));
    let before = (places(&rig), levels(&rig));
    assert_eq!(before.0[1].as_ref().expect("it")["condition"], "videoLost");
    let Rig {
        node,
        token,
        platform,
        status,
        notices,
    } = rig;
    let node = Node::start_in(node.kill(), &[]);
    let rig = Rig {
        node,
        token,
        platform,
        status,
        notices,
    };
    assert_eq!((places(&rig), levels(&rig)), before);
}
