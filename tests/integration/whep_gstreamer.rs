//! WebRTC by GStreamer's webrtcbin, which stands on libnice, OpenSSL and libsrtp and decodes H.265, as no browser here does.
//!
//! The client is `whep_gstreamer.py` beside this file. It takes AES-CM, so it also shows that a client without AES-GCM is served.

use std::process::Command;

use serde_json::{Value, json};

use super::node::{Devices, Node};

/// Debian's own Python: the GStreamer module belongs to it, and a Python that stands before it in the path has none.
const PYTHON: &str = "/usr/bin/python3";
const CLIENT: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/integration/whep_gstreamer.py"
);
/// Two seconds of picture: two key frames of the simulated cameras.
const PICTURES: &str = "50";
const PATIENCE_S: &str = "60";

fn plays(codec: &str, id: &str, encoding_name: &str) {
    let node = Node::start(&[("GANTRY_HTTP_OPEN_MEDIA", "true")]);
    let arguments = ["--count", "1", "--channels", "1", "--id-base", id];
    let coded = ["--codec", codec, "--audio", "g711a"];
    let _devices = Devices::start(&node, &[arguments.as_slice(), &coded].concat());
    let puid = format!("PU_{id}");
    node.wait_for_device(&node.login(), &puid, 1);

    let url = format!("http://{}/whep/{puid}/0", node.http);
    let output = Command::new(PYTHON)
        .args([CLIENT, &url, encoding_name, PICTURES, PATIENCE_S])
        .output();
    let skipped = |why: &str| {
        assert!(!crate::vectors::is_ci(), "missing: {why}");
        eprintln!("SKIPPED: {why}");
    };
    let output = match output {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return skipped(PYTHON),
        other => other.expect("Python starts"),
    };
    let said = String::from_utf8_lossy(&output.stderr);
    if output.status.code() == Some(77) {
        return skipped(&said);
    }
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{printed}\n{said}");
    let seen: Value = serde_json::from_str(&printed).expect("one JSON object");
    assert_eq!(seen["size"], json!([1280, 720]), "{seen}");
    let mut codecs: Vec<_> = seen["codecs"].as_array().expect("an array").to_vec();
    codecs.sort_by_key(Value::to_string);
    assert_eq!(codecs, [json!(encoding_name), json!("PCMA")], "{seen}");
    assert!(seen["audio"].as_u64() > Some(0), "{seen}");
}

#[test]
fn gstreamer_decodes_h265_over_webrtc() {
    plays("h265", "34020000001320000021", "H265");
}

#[test]
fn gstreamer_decodes_h264_over_webrtc() {
    plays("h264", "34020000001320000001", "H264");
}
