//! SIP over TLS on the real binary: devices of `gantry simulate`, OpenSSL as a client that shares nothing with us, and what
//! goes wrong at the door.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use super::node::{Node, PATIENCE, fresh_folder, wait_until};

/// `gantry simulate` beside a node, until it is dropped.
struct Cameras(Child);

impl Cameras {
    fn start(arguments: &[&str]) -> Cameras {
        let child = Command::new(env!("CARGO_BIN_EXE_gantry"))
            .args([
                "simulate",
                "--password",
                "12345678",
                "--count",
                "1",
                "--channels",
                "1",
            ])
            .args(arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the binary starts");
        Cameras(child)
    }
}

impl Drop for Cameras {
    fn drop(&mut self) {
        // Ended already, or ended now.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The failed handshake of a kind, as the API shows it.
fn failed(node: &Node, token: &str, kind: &str) -> Value {
    wait_until(&format!("a failed handshake {kind}"), || {
        let list = node.get("/gantry/v1/sip/handshakes", Some(token)).json();
        list.as_array()?.iter().find(|l| l["kind"] == kind).cloned()
    })
}

/// `openssl s_client` with a message on its standard input; gives what came back.
fn openssl(node: &Node, arguments: &[&str], message: &str) -> String {
    let mut client = Command::new("openssl")
        .args(["s_client", "-quiet", "-connect", &node.sips.to_string()])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("openssl is there");
    let mut stdin = client.stdin.take().expect("piped");
    // A client that was refused is gone.
    let _ = stdin.write_all(message.as_bytes());
    let mut stdout = client.stdout.take().expect("piped");
    let mut answer = Vec::new();
    let mut piece = [0; 4096];
    while !answer.windows(4).any(|w| w == b"\r\n\r\n") {
        match stdout.read(&mut piece) {
            Ok(0) | Err(_) => break,
            Ok(n) => answer.extend_from_slice(&piece[..n]),
        }
    }
    drop(stdin);
    let _ = client.kill();
    let _ = client.wait();
    String::from_utf8_lossy(&answer).into_owned()
}

const OPTIONS: &str = "OPTIONS sips:34020000002000000001@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/TLS 127.0.0.1:5061;rport;branch=z9hG4bKo1\r\n\
    From: <sip:34020000001320000009@3402000000>;tag=a\r\nTo: <sip:34020000002000000001@3402000000>\r\nCall-ID: o1\r\nCSeq: 1 OPTIONS\r\n\
    Max-Forwards: 70\r\nContent-Length: 0\r\n\r\n";

#[test]
fn a_device_registers_streams_and_comes_back_over_tls() {
    let node = Node::start(&[]);
    let token = node.login();
    let server = node.sips.to_string();
    let cameras = Cameras::start(&["--transport", "tls", "--server", &server]);
    let puid = "PU_34020000001180000001";
    let pu = node.wait_for_device(&token, puid, 1);
    assert_eq!(pu["id"], puid);
    let messages = node
        .get(
            "/gantry/v1/devices/PU_34020000001180000001/sip",
            Some(&token),
        )
        .json();
    let all = messages.to_string();
    assert!(all.contains("\"tls\"") && !all.contains("\"tcp\""), "{all}");
    let info = "/bvcsp/v1/28181in/device/info/34020000001180000001";
    let info = node.get(info, Some(&token)).json();
    assert_eq!(info["data"]["transport"], "TLS", "{info}");
    // What we send says by which transport, and where the answer is to go.
    let port = node.sips.port();
    assert!(
        all.contains(&format!("Via: SIP/2.0/TLS 127.0.0.1:{port}")),
        "{all}"
    );
    // Media comes by whatever the device takes; here UDP.
    let mut live = TcpStream::connect(node.http).expect("the node listens");
    live.set_read_timeout(Some(PATIENCE)).expect("a valid time");
    let request = format!("GET /live/{puid}/0.flv?token={token} HTTP/1.1\r\nHost: x\r\n\r\n");
    live.write_all(request.as_bytes()).expect("taken");
    let mut flv = vec![0; 64 << 10];
    live.read_exact(&mut flv)
        .expect("a live picture of a device whose SIP is encrypted");
    assert!(flv.starts_with(b"HTTP/1.1 200") && flv.windows(3).any(|w| w == b"FLV"));
    drop(cameras);
    let _again = Cameras::start(&["--transport", "tls", "--server", &server]);
    node.wait_for_metric("gantry_registers_total", "outcome=\"ok\"", |n| n >= 2.0);
}

#[test]
fn openssl_is_answered_over_tls() {
    let node = Node::start(&[]);
    let ca = node.dir().join("sip.crt");
    let ca = ca.to_str().expect("text");
    for version in ["-tls1_2", "-tls1_3"] {
        let answer = openssl(
            &node,
            &[version, "-CAfile", ca, "-verify_return_error"],
            OPTIONS,
        );
        assert!(answer.starts_with("SIP/2.0 200"), "{version}: {answer}");
        assert!(
            answer.contains("Via: SIP/2.0/TLS 127.0.0.1:5061"),
            "{answer}"
        );
    }
}

#[test]
fn what_fails_at_the_door_is_counted_and_named() {
    let node = Node::start(&[]);
    let token = node.login();
    let mut plain = TcpStream::connect(node.sips).expect("the node listens");
    plain
        .set_read_timeout(Some(PATIENCE))
        .expect("a valid time");
    plain.write_all(OPTIONS.as_bytes()).expect("taken");
    let mut rest = Vec::new();
    let _ = plain.read_to_end(&mut rest);
    let line = failed(&node, &token, "not-tls");
    assert!(line["en"].as_str().is_some_and(|t| t.contains("TLS")));
    assert_eq!(line["address"], "127.0.0.1");
    // A client that does not trust the certificate breaks off.
    let server = node.sips.to_string();
    let strange = fresh_folder();
    std::fs::create_dir_all(&strange).expect("a folder");
    make_authority(&strange);
    let ca = strange.join("ca.crt");
    let _cameras = Cameras::start(&[
        "--transport",
        "tls",
        "--server",
        &server,
        "--tls-ca",
        ca.to_str().expect("text"),
    ]);
    failed(&node, &token, "refused-by-peer");
    node.wait_for_metric("gantry_sip_tls_failed_total", "kind=\"not-tls\"", |n| {
        n >= 1.0
    });
    node.wait_for_metric(
        "gantry_sip_tls_failed_total",
        "kind=\"refused-by-peer\"",
        |n| n >= 1.0,
    );
    assert!(node.log().contains("a TLS handshake of SIP failed"));
    // It goes on for others.
    let answer = openssl(&node, &[], OPTIONS);
    assert!(answer.starts_with("SIP/2.0 200"), "{answer}");
    let _ = std::fs::remove_dir_all(strange);
}

/// An authority, and a device's certificate that it signed.
fn make_authority(dir: &Path) {
    let run = |arguments: &[&str]| {
        let done = Command::new("openssl")
            .args(arguments)
            .current_dir(dir)
            .stderr(Stdio::null())
            .status();
        assert!(done.expect("openssl is there").success(), "{arguments:?}");
    };
    std::fs::write(dir.join("device.ext"), "extendedKeyUsage=clientAuth\n").expect("written");
    run(&[
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-keyout",
        "ca.key",
        "-out",
        "ca.crt",
        "-subj",
        "/CN=devices",
        "-days",
        "30",
    ]);
    run(&[
        "req",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-keyout",
        "device.key",
        "-out",
        "device.csr",
        "-subj",
        "/CN=34020000001180000001",
    ]);
    run(&[
        "x509",
        "-req",
        "-in",
        "device.csr",
        "-CA",
        "ca.crt",
        "-CAkey",
        "ca.key",
        "-CAcreateserial",
        "-out",
        "device.crt",
        "-days",
        "30",
        "-extfile",
        "device.ext",
    ]);
}

#[test]
fn with_an_authority_only_devices_that_it_signed_come_in() {
    let (ours, theirs) = (fresh_folder(), fresh_folder());
    for dir in [&ours, &theirs] {
        std::fs::create_dir_all(dir).expect("a folder");
        make_authority(dir);
    }
    let file = |dir: &Path, name: &str| dir.join(name).to_str().expect("text").to_owned();
    let ca = file(&ours, "ca.crt");
    let node = Node::start(&[("GANTRY_SIP_TLS_CLIENT_CA", &ca)]);
    let token = node.login();
    let server = node.sips.to_string();
    let base = ["--transport", "tls", "--server", &server];
    {
        let _nothing_shown = Cameras::start(&base);
        failed(&node, &token, "no-certificate");
    }
    {
        let (cert, key) = (file(&theirs, "device.crt"), file(&theirs, "device.key"));
        let _wrong =
            Cameras::start(&[&base[..], &["--tls-cert", &cert, "--tls-key", &key]].concat());
        failed(&node, &token, "wrong-certificate");
    }
    assert_eq!(
        node.metric_where("gantry_registers_total", "outcome=\"ok\""),
        0.0
    );
    let (cert, key) = (file(&ours, "device.crt"), file(&ours, "device.key"));
    let _right = Cameras::start(&[&base[..], &["--tls-cert", &cert, "--tls-key", &key]].concat());
    node.wait_for_device(&token, "PU_34020000001180000001", 1);
    for dir in [ours, theirs] {
        let _ = std::fs::remove_dir_all(dir);
    }
}
