//! Records of devices played back end to end: simulated recorders, the real node, and ffprobe as the player.

use std::time::{Duration, Instant};

use gantry::limits;
use serde_json::{Value, json};

use super::node::{Devices, Node, tool, wait_until};
use super::player::HttpStream;

const ID: &str = "34020000001320000001";
const PUID: &str = "PU_34020000001320000001";
/// Longer than a source may be silent that has not been told to rest.
const RESTS: Duration = Duration::from_secs(limits::INGEST_SILENCE_S_MAX + 2);

/// A node with one recorder.
pub struct Rig {
    pub node: Node,
    _devices: Devices,
    pub token: String,
    /// Unix seconds at which a record begins that every device has.
    begin: u64,
}

impl Rig {
    pub fn new(arguments: &[&str], variables: &[(&str, &str)]) -> Rig {
        let node = Node::start(variables);
        let one = ["--count", "1", "--channels", "1", "--id-base", ID];
        let devices = Devices::start(&node, &[one.as_slice(), arguments].concat());
        let token = node.login();
        node.wait_for_device(&token, PUID, 1);
        let files = search(&node, &token, PUID);
        let begin = files[0]["beginTime"].as_u64().expect("a time");
        Rig {
            node,
            _devices: devices,
            token,
            begin,
        }
    }

    fn start(&self, seconds: u64, more: Value) -> (u16, Value) {
        let mut body = json!({"id": PUID, "index": 0, "beginTime": self.begin, "endTime": self.begin + seconds});
        for (key, value) in more.as_object().expect("an object") {
            body[key] = value.clone();
        }
        let answer = self.call("POST", "/gantry/v1/playback", &body);
        (answer.status, answer.json())
    }

    /// Plays so many seconds from where a record begins, and gives its id.
    pub fn play(&self, seconds: u64) -> String {
        let (status, state) = self.start(seconds, json!({}));
        assert_eq!(status, 200, "{state}");
        assert_eq!(state["state"], "playing");
        assert_eq!(state["range"][1], seconds as f64);
        state["dialogid"].as_str().expect("an id").to_owned()
    }

    pub fn call(&self, method: &str, path: &str, body: &Value) -> super::node::Response {
        let token = Some(self.token.as_str());
        self.node
            .request(method, path, token, "application/json", &body.to_string())
    }

    pub fn order(&self, play: &str, order: &Value) -> Value {
        let path = format!("/bvcsp/v1/dialog/playback/{play}");
        self.call("PUT", &path, order).json()
    }

    fn state(&self, play: &str) -> Value {
        let path = format!("/gantry/v1/playback/{play}");
        self.node.get(&path, Some(&self.token)).json()
    }

    /// Seconds into the record.
    pub fn position(&self, play: &str) -> f64 {
        self.state(play)["range"][0].as_f64().expect("seconds")
    }

    fn url(&self, path: &str) -> String {
        let mark = if path.contains('?') { '&' } else { '?' };
        format!("http://{}{path}{mark}token={}", self.node.http, self.token)
    }
}

/// Files of the last day of the simulated device, oldest first.
pub fn search(node: &Node, token: &str, puid: &str) -> Vec<Value> {
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .expect("after 1970")
        .as_secs();
    let body = json!({"page": 0, "pageSize": 1000,
        "filter": {"beginTime": now - 30 * 3600, "endTime": now, "channelIndex": 0}});
    let path = format!("/bvcsp/v1/pu/recordfile/filter/{puid}");
    let answer = node.post(&path, Some(token), &body);
    assert_eq!(answer["code"], 0, "{answer}");
    answer["data"].as_array().expect("files").clone()
}

/// Times of presentation of the pictures, and the number of pieces of sound, as ffprobe reads them.
fn packets(url: &str) -> Option<(Vec<f64>, usize)> {
    let output = tool(
        "ffprobe",
        &[
            "-v",
            "error",
            "-rw_timeout",
            "60000000",
            "-analyzeduration",
            "500000",
            "-show_entries",
            "packet=codec_type,pts_time",
            "-of",
            "json",
            url,
        ],
    )?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    let found: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let packets = found["packets"]
        .as_array()
        .unwrap_or_else(|| panic!("{url}: {stderr}"));
    let of = |kind: &'static str| packets.iter().filter(move |p| p["codec_type"] == kind);
    let times = of("video").filter_map(|p| p["pts_time"].as_str()?.parse().ok());
    Some((times.collect(), of("audio").count()))
}

/// The longest time between two pictures, and from the first to the last.
fn rhythm(times: &[f64]) -> (f64, f64) {
    let longest = times.windows(2).map(|w| w[1] - w[0]).fold(0.0, f64::max);
    (longest, times[times.len() - 1] - times[0])
}

#[test]
fn records_are_listed_as_the_device_says() {
    let rig = Rig::new(&[], &[]);
    let files = search(&rig.node, &rig.token, PUID);
    assert_eq!(files.len(), 24, "a file an hour");
    let file = &files[3];
    let (begin, end) = (&file["beginTime"], &file["endTime"]);
    assert_eq!(file["id"], format!("0-{begin}-{end}"));
    assert_eq!(file["puID"], PUID);
    assert_eq!(file["fileType"], "video");
    let bad = json!({"filter": {"beginTime": 5, "endTime": 4}});
    let path = format!("/bvcsp/v1/28181in/recordfile/filter/{ID}");
    let answer = rig.node.post(&path, Some(&rig.token), &bad);
    assert_eq!(answer["code"], 4, "{answer}");
    assert!(
        answer["msg"]
            .as_str()
            .is_some_and(|m| m.contains("endTime"))
    );
    let path = "/bvcsp/v1/pu/recordfile/filter/PU_34020000009990000001";
    let answer = rig.node.post(
        path,
        Some(&rig.token),
        &json!({"filter": {"beginTime": 5, "endTime": 9}}),
    );
    assert_eq!(answer["code"], 2, "{answer}");
}

/// At each speed the pictures come in real time, evenly, and those of the whole record; sound at its own speed alone.
#[test]
fn field_27_each_speed_plays_smoothly_in_every_form() {
    let rig = Rig::new(&[], &[]);
    std::thread::scope(|scope| {
        for (scale, form, seconds) in [
            (0.5, "flv", 4),
            (1.0, "mp4", 6),
            (1.0, "flv", 6),
            (2.0, "mp4", 12),
            (4.0, "flv", 20),
            (8.0, "mp4", 40),
        ] {
            let rig = &rig;
            scope.spawn(move || {
                let (begin, end) = (rig.begin, rig.begin + seconds);
                let url = format!("/playback/{PUID}/0.{form}?begin={begin}&end={end}&scale={scale}");
                let began = Instant::now();
                let Some((times, sounds)) = packets(&rig.url(&url)) else {
                    return;
                };
                let took = began.elapsed().as_secs_f64();
                let (longest, length) = rhythm(&times);
                let what = format!(
                    "{scale} {form}: {} pictures over {length:.2} s, longest step {longest:.3}, {sounds} sounds, took {took:.1} s",
                    times.len()
                );
                println!("{what}");
                let want = seconds as f64 / scale;
                // The device begins at its own speed and is ordered when the first picture is there.
                assert!(length > want * 0.75 - 0.5 && length < want + 1.5, "{what}");
                let step = if scale >= 8.0 { 0.5 } else { 0.3 };
                assert!(longest < step, "{what}");
                assert!(times.windows(2).all(|w| w[0] < w[1]), "{what}");
                assert_eq!(sounds > 20, scale == 1.0, "{what}");
            });
        }
    });
}

#[test]
fn field_29_a_record_ends_where_the_device_says_so() {
    for quirk in ["none", "silent-end", "end-outside"] {
        let rig = Rig::new(&["--quirk", quirk], &[]);
        let play = rig.play(5);
        let mut viewer = HttpStream::open(
            rig.node.http,
            &format!("/playback/{play}.flv?token={}", rig.token),
        );
        while viewer.next().is_some() {}
        let state = wait_until("it is over", || {
            let state = rig.state(&play);
            (state["state"] == "ended").then_some(state)
        });
        assert_eq!(state["end"], "end of file", "{quirk}");
        assert_eq!(state["range"], json!([5.0, 5.0]));
        let refused = rig.order(&play, &json!({"cmd": "PLAY", "range": [1]}));
        assert_eq!(refused["code"], 2, "{refused}");
        assert!(
            refused["msg"]
                .as_str()
                .is_some_and(|m| m.contains("end of file"))
        );
        let info = rig
            .node
            .get(&format!("/bvcsp/v1/dialog/info/{play}"), Some(&rig.token))
            .json();
        assert_eq!(info["data"]["end"], "end of file", "{info}");
    }
}

#[test]
fn a_device_that_hangs_up_early_is_named() {
    let rig = Rig::new(&["--quirk", "stops-early"], &[]);
    let play = rig.play(8);
    let mut viewer = HttpStream::open(
        rig.node.http,
        &format!("/playback/{play}.mp4?token={}", rig.token),
    );
    while viewer.next().is_some() {}
    let end = wait_until("it is over", || {
        let state = rig.state(&play);
        state["end"].as_str().map(str::to_owned)
    });
    assert!(
        end.starts_with("stopped early: the device sent BYE at 3.")
            || end.starts_with("stopped early: the device sent BYE at 4."),
        "{end}"
    );
    assert!(end.ends_with("of 8.0 s"), "{end}");
}

#[test]
fn a_playback_rests_goes_on_and_elsewhere() {
    let rig = Rig::new(&[], &[]);
    let play = rig.play(600);
    let path = format!("/playback/{play}.flv?token={}", rig.token);
    let mut viewer = HttpStream::open(rig.node.http, &path);
    viewer.some();
    std::thread::scope(|scope| {
        let watching = scope.spawn(move || while viewer.next().is_some() {});
        wait_until("it plays", || (rig.position(&play) > 1.0).then_some(()));
        let paused = rig.order(&play, &json!({"cmd": "PAUSE"}));
        assert_eq!(paused["code"], 0, "{paused}");
        assert_eq!(rig.state(&play)["state"], "paused");
        // What was under way comes; then it stands, longer than a silent stream would live.
        let frames = || {
            let info = rig
                .node
                .get(&format!("/bvcsp/v1/dialog/info/{play}"), Some(&rig.token))
                .json();
            info["data"]["ingest"]["frames"].as_u64().expect("frames")
        };
        let (mut count, mut since) = (frames(), Instant::now());
        wait_until("nothing comes while it rests", || {
            let came = frames();
            if came != count {
                (count, since) = (came, Instant::now());
            }
            (since.elapsed() > RESTS).then_some(())
        });
        let at = rig.position(&play);
        let goes_on = rig.order(&play, &json!({"cmd": "PLAY"}));
        assert_eq!(goes_on["code"], 0, "{goes_on}");
        wait_until("it goes on", || {
            (rig.position(&play) > at + 1.0).then_some(())
        });
        assert!(rig.position(&play) < at + 6.0, "from where it was");
        for target in [300.0, 20.0] {
            let gone = rig.order(&play, &json!({"cmd": "SEEK", "range": [target, 600.0]}));
            assert_eq!(gone["data"]["range"], json!([target, 600.0]), "{gone}");
            let there = |p: f64| p > target + 1.0 && p < target + 8.0;
            wait_until("it plays there", || {
                there(rig.position(&play)).then_some(())
            });
        }
        let faster = rig.order(&play, &json!({"cmd": "PLAY", "scale": 4}));
        assert_eq!(faster["data"]["scale"], 4.0, "{faster}");
        let (from, since) = (rig.position(&play), Instant::now());
        wait_until("four times as fast", || {
            (rig.position(&play) > from + 16.0).then_some(())
        });
        let took = since.elapsed().as_secs_f64();
        assert!((2.5..9.0).contains(&took), "16 s took {took:.1} s");
        let refused = rig.order(&play, &json!({"cmd": "PLAY", "scale": -2}));
        assert_eq!(refused["code"], 8, "{refused}");
        assert!(
            refused["msg"]
                .as_str()
                .is_some_and(|m| m.contains("INFO PLAY: 488")),
            "{refused}"
        );
        for bad in [
            json!({"cmd": "STOP"}),
            json!({"cmd": "PLAY", "scale": 99}),
            json!({"cmd": "SEEK", "range": [-3]}),
        ] {
            assert_eq!(rig.order(&play, &bad)["code"], 4);
        }
        let closed = rig.call("DELETE", &format!("/gantry/v1/playback/{play}"), &json!({}));
        assert_eq!(closed.status, 204);
        watching.join().expect("the viewer ends with it");
    });
    assert_eq!(rig.state(&play)["end"], "closed");
}

#[test]
fn a_device_that_can_plays_backwards() {
    let rig = Rig::new(&["--quirk", "reverse"], &[]);
    let play = rig.play(600);
    let mut viewer = HttpStream::open(
        rig.node.http,
        &format!("/playback/{play}.flv?token={}", rig.token),
    );
    std::thread::scope(|scope| {
        scope.spawn(move || while viewer.next().is_some() {});
        let back = rig.order(&play, &json!({"cmd": "PLAY", "scale": -2, "range": [100]}));
        assert_eq!(back["code"], 0, "{back}");
        wait_until("it runs back", || {
            (rig.position(&play) < 94.0).then_some(())
        });
        assert!(rig.position(&play) > 60.0);
        rig.call("DELETE", &format!("/gantry/v1/playback/{play}"), &json!({}));
    });
}

#[test]
fn several_records_of_one_channel_play_at_once_and_have_a_bound() {
    let rig = Rig::new(&[], &[]);
    let plays: Vec<String> = (0..8).map(|_| rig.play(600)).collect();
    let (status, ninth) = rig.start(600, json!({}));
    assert_eq!(status, 429, "{ninth}");
    assert_eq!(ninth["code"], 7, "{ninth}");
    assert!(
        ninth["detail"]
            .as_str()
            .is_some_and(|d| d.contains("playbacks")),
        "{ninth}"
    );
    let to = |play: &str, at: f64| rig.order(play, &json!({"cmd": "SEEK", "range": [at]}));
    for (n, play) in plays.iter().enumerate() {
        assert_eq!(to(play, 50.0 * n as f64)["code"], 0);
    }
    wait_until("each plays where it was sent", || {
        let there = plays.iter().enumerate().all(|(n, play)| {
            let at = rig.position(play) - 50.0 * n as f64;
            (0.5..20.0).contains(&at)
        });
        there.then_some(())
    });
    for play in &plays {
        rig.call("DELETE", &format!("/gantry/v1/playback/{play}"), &json!({}));
    }
    let (status, again) = rig.start(600, json!({}));
    assert_eq!(status, 200, "{again}");
}

#[test]
fn what_cannot_be_played_says_why() {
    let rig = Rig::new(&[], &[]);
    let year = 365 * 86_400;
    for (more, status) in [
        (json!({"scale": 0}), 400),
        (json!({"endTime": rig.begin}), 400),
        (json!({"endTime": rig.begin + 90_000}), 400),
        (json!({"beginTime": "soon"}), 400),
        (json!({"id": "PU_x"}), 400),
        (json!({"id": "PU_34020000009990000001"}), 404),
        (json!({"index": 7}), 404),
        // The device has nothing of that time.
        (
            json!({"beginTime": rig.begin - year, "endTime": rig.begin - year + 60}),
            404,
        ),
    ] {
        let (got, answer) = rig.start(60, more.clone());
        assert_eq!(got, status, "{more}: {answer}");
    }
    let token = Some(rig.token.as_str());
    let open = |body: Value| rig.node.post("/bvcsp/v1/dialog/playback", token, &body);
    let vendor = open(json!({"id": PUID, "sdp": "v=0\nm=video 0 WSBV/RTP/AVP 102\n"}));
    assert_eq!(vendor["code"], 8, "{vendor}");
    let file = format!("0-{}-{}", rig.begin, rig.begin + 60);
    let none = open(json!({"id": PUID, "sdp": "no sdp", "fileid": file}));
    assert_eq!(none["code"], 4, "{none}");
    assert_eq!(rig.order("D1f", &json!({"cmd": "PLAY"}))["code"], 2);
}

/// What was sent to the device to end its playbacks: the method, and the first word of the body.
fn farewells(rig: &Rig) -> Vec<String> {
    let path = format!("/gantry/v1/devices/{PUID}/sip");
    let page = rig.node.get(&path, Some(&rig.token)).json();
    let messages = page["messages"].as_array().expect("a list").clone();
    let text = |m: &Value, name: &str| m[name].as_str().unwrap_or_default().to_owned();
    let first = |text: String| text.split(' ').next().unwrap_or_default().to_owned();
    let sent = messages.iter().filter(|m| m["direction"] == "out");
    let words = sent.map(|m| (first(text(m, "start")), first(text(m, "body"))));
    words
        .filter(|(method, _)| method == "INFO" || method == "BYE")
        .map(|(method, order)| format!("{method} {order}").trim_end().to_owned())
        .collect()
}

/// Who ends a playback ends it at the device too: by TEARDOWN and BYE, at most devices, and by BYE alone where that is forced.
#[test]
fn a_playback_that_is_closed_is_torn_down_at_the_device() {
    for quirk in ["none", "hangs-up"] {
        let rig = Rig::new(&["--quirk", quirk], &[]);
        let close = |play: &str| {
            let path = format!("/gantry/v1/playback/{play}");
            assert_eq!(rig.call("DELETE", &path, &json!({})).status, 204);
            wait_until("it is over", || {
                (rig.state(play)["state"] == "ended").then_some(())
            });
        };
        close(&rig.play(60));
        wait_until("both were sent", || {
            (farewells(&rig) == ["INFO TEARDOWN", "BYE"]).then_some(())
        });
        // A viewer who goes ends it likewise, and what the device does then disturbs no other playback.
        let other = rig.play(60);
        let play = rig.play(60);
        let path = format!("/gantry/v1/playback/{play}");
        let flv = format!("/playback/{play}.flv?token={}", rig.token);
        let viewer = HttpStream::open(rig.node.http, &flv);
        assert_eq!(viewer.status, 200, "{}", viewer.head);
        drop(viewer);
        rig.call("DELETE", &path, &json!({}));
        wait_until("it was told too", || {
            let told = farewells(&rig);
            (told == ["INFO TEARDOWN", "BYE", "INFO TEARDOWN", "BYE"]).then_some(())
        });
        assert_eq!(rig.state(&other)["state"], "playing", "{quirk}");
        let policy = format!("/gantry/v1/devices/{PUID}/policy");
        let forced = rig.call("PUT", &policy, &json!({"teardown": "skip"}));
        assert_eq!(
            forced.status,
            200,
            "{}",
            String::from_utf8_lossy(&forced.body)
        );
        close(&other);
        wait_until("BYE alone", || {
            let told = farewells(&rig);
            (told.len() == 5 && told[4] == "BYE").then_some(())
        });
        rig.node.wait_for_metric("gantry_streams", "", |n| n == 0.0);
    }
}
