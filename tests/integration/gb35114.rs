//! GB 35114 on the real binary: a device that proves itself beside a plain one, and what is refused with which reason.

use std::net::{SocketAddr, UdpSocket};

use gantry::gb28181::gb35114::{Camera, CertificateRequest, Key, Noted, header};
use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::SeedableRng;
use serde_json::{Value, json};

use super::node::{Devices, Node, PATIENCE, fresh_folder, wait_until};
use super::player::{HttpStream, WebSocket};

const DEVICE: &str = "34020000001320000035";
const SERVER: &str = "34020000002000000001";

fn done(node: &Node, token: &str, method: &str, path: &str, body: &Value) -> Value {
    let path = format!("/bvcsp/v1/28181in/{path}");
    let answer = node
        .request(
            method,
            &path,
            Some(token),
            "application/json",
            &body.to_string(),
        )
        .json();
    assert_eq!(answer["code"], 0, "{method} {path}: {answer}");
    answer["data"].clone()
}

/// A server certificate in use, in PEM.
fn authority(node: &Node, token: &str) -> String {
    let made = done(
        node,
        token,
        "POST",
        "cert/server/csr",
        &json!({"name": "ours"}),
    );
    assert_eq!(made["status"], "request");
    let id = made["id"].as_str().expect("an id");
    let signed = done(
        node,
        token,
        "POST",
        &format!("cert/server/selfsign/{id}"),
        &json!({}),
    );
    assert_eq!(
        (signed["status"].as_str(), signed["subject"].as_str()),
        (Some("inuse"), Some(SERVER))
    );
    assert!(!signed.to_string().contains("PRIVATE") && signed.get("key").is_none());
    let gone = node.request(
        "DELETE",
        &format!("/bvcsp/v1/28181in/cert/server/{id}"),
        Some(token),
        "application/json",
        "",
    );
    assert_eq!(gone.json()["code"], 7);
    signed["pem"].as_str().expect("PEM").to_owned()
}

/// Issues a certificate for a request and switches GB 35114 on; gives the id of the request.
fn enrol(node: &Node, token: &str, device: &str, request: &str) -> String {
    let asked = done(
        node,
        token,
        "POST",
        "cert/device/csr",
        &json!({"pem": request, "name": "gate"}),
    );
    assert_eq!(
        (asked["status"].as_str(), asked["deviceId"].as_str()),
        (Some("pending"), Some(device))
    );
    let id = asked["id"].as_str().expect("an id").to_owned();
    let issued = done(
        node,
        token,
        "POST",
        &format!("cert/device/issue/{id}"),
        &json!({"days": 30}),
    );
    assert_eq!(issued["status"], "issued");
    done(
        node,
        token,
        "POST",
        "gmdevice/create",
        &json!({"id": device, "name": "gate"}),
    );
    id
}

fn refused(node: &Node, token: &str, device: &str, why: &str) {
    wait_until(&format!("{device} is refused: {why}"), || {
        let info = done(
            node,
            token,
            "GET",
            &format!("gmdevice/info/{device}"),
            &json!({}),
        );
        (info["refused"] == why).then_some(())
    });
}

#[test]
fn a_device_that_proves_itself_and_a_plain_one_stand_side_by_side() {
    let node = Node::start(&[]);
    let token = node.login();
    let folder = fresh_folder();
    std::fs::create_dir_all(&folder).expect("a folder");
    let pem = authority(&node, &token);
    std::fs::write(folder.join("platform.crt"), pem).expect("written");
    let keys = folder.to_str().expect("text");
    let one = [
        "--count",
        "1",
        "--channels",
        "1",
        "--keepalive",
        "1",
        "--id-base",
    ];
    let _proving = Devices::start(&node, &[&one[..], &[DEVICE, "--gb35114", keys]].concat());
    let _plain = Devices::start(&node, &[&one[..], &["34020000001320000036"]].concat());
    let request = wait_until("the request of the device", || {
        std::fs::read_to_string(folder.join(format!("{DEVICE}.csr"))).ok()
    });
    let id = enrol(&node, &token, DEVICE, &request);
    node.wait_for_device(&token, &format!("PU_{DEVICE}"), 1);
    node.wait_for_device(&token, "PU_34020000001320000036", 1);
    let sip = format!("/gantry/v1/devices/PU_{DEVICE}/sip");
    wait_until("a signed keepalive", || {
        let messages = node.get(&sip, Some(&token)).json().to_string();
        (messages.contains("SecurityInfo: Bidirection") && messages.contains("Note: Digest nonce="))
            .then_some(())
    });
    done(
        &node,
        &token,
        "PUT",
        &format!("cert/device/csr/{id}"),
        &json!({"status": "revoked"}),
    );
    refused(&node, &token, DEVICE, "certificate revoked");
    node.wait_for_metric(
        "gantry_gb35114_refused_total",
        "reason=\"certificate revoked\"",
        |n| n >= 1.0,
    );
    assert!(node.log().contains("certificate revoked"));
    let list = node.get("/gantry/v1/certificates/crl", Some(&token));
    assert!(String::from_utf8_lossy(&list.body).contains("BEGIN X509 CRL"));
    // Switched off, it logs in with its password again, and so does everybody else all the time.
    node.wait_for_device(&token, "PU_34020000001320000036", 1);
    let _ = std::fs::remove_dir_all(folder);
}

/// The device's certificate is revoked while somebody watches it: it is told to stop by a message that it believes, and is offline;
/// the viewer's stream ends with that reason, and nobody comes in by that certificate again.
#[test]
fn a_certificate_that_is_revoked_while_its_device_streams_ends_the_views() {
    let node = Node::start(&[]);
    let token = node.login();
    let folder = fresh_folder();
    std::fs::create_dir_all(&folder).expect("a folder");
    std::fs::write(folder.join("platform.crt"), authority(&node, &token)).expect("written");
    let keys = folder.to_str().expect("text");
    let one = ["--count", "1", "--channels", "1", "--keepalive", "1"];
    let more = ["--id-base", DEVICE, "--gb35114", keys];
    let _devices = Devices::start(&node, &[&one[..], &more].concat());
    let request = wait_until("the request of the device", || {
        std::fs::read_to_string(folder.join(format!("{DEVICE}.csr"))).ok()
    });
    let id = enrol(&node, &token, DEVICE, &request);
    let puid = format!("PU_{DEVICE}");
    // Before it is asked to prove itself it may have come in by its password.
    node.wait_for_metric("gantry_registers_total", "outcome=\"ok\"", |n| n >= 1.0);
    let sip = format!("/gantry/v1/devices/{puid}/sip");
    wait_until("a signed keepalive", || {
        let messages = node.get(&sip, Some(&token)).json().to_string();
        messages.contains("Note: Digest nonce=").then_some(())
    });
    node.wait_for_device(&token, &puid, 1);
    let live = format!("/live/{puid}/0.flv?token={token}");
    let mut picture = HttpStream::open(node.http, &live);
    assert_eq!(picture.status, 200, "{}", picture.head);
    picture.some();
    let events = format!("/bvcsp/v1/ws/event/onlinestatus?token={token}");
    let mut events = WebSocket::connect(node.http, &events, false);

    let path = format!("cert/device/csr/{id}");
    done(&node, &token, "PUT", &path, &json!({"status": "revoked"}));
    while picture.next().is_some() {}
    let told = events.message().expect("a message");
    let told: Value = serde_json::from_slice(&told).expect("JSON");
    assert_eq!(
        (&told["status"], &told["device"]["id"]),
        (&json!(0), &json!(puid))
    );
    let filter = json!({"filter": {"puid": puid, "closed": true}});
    let closed = node.post("/bvcsp/v1/dialog/list", Some(&token), &filter);
    assert_eq!(
        closed["data"][0]["ended"], "certificate revoked",
        "{closed}"
    );
    assert_eq!(closed["data"][0]["state"], "closed", "{closed}");
    // What told the device to stop was signed with the key that it knows.
    let messages = node.get(&sip, Some(&token)).json();
    let messages = messages["messages"].as_array().expect("a list").clone();
    let start = |m: &Value| m["start"].as_str().unwrap_or_default().to_owned();
    let bye = messages.iter().find(|m| start(m).starts_with("BYE "));
    let bye = bye.unwrap_or_else(|| panic!("no BYE: {messages:?}"));
    assert!(
        bye["head"]
            .as_str()
            .is_some_and(|head| head.contains("Note: Digest nonce=")),
        "{bye}"
    );
    refused(&node, &token, DEVICE, "certificate revoked");
    let again = HttpStream::open(node.http, &live);
    assert_eq!(again.status, 409, "{}", again.head);
    let status = node.get(&format!("/bvcsp/v1/pu/onlinestatus/{puid}"), Some(&token));
    assert_eq!(status.json()["data"]["status"], 0);
    node.wait_for_metric("gantry_streams", "", |n| n == 0.0);
    let _ = std::fs::remove_dir_all(folder);
}

/// A device written by hand, datagram by datagram.
struct Hand {
    socket: UdpSocket,
    local: String,
    number: u32,
    camera: Camera,
    rng: ChaCha12Rng,
}

impl Hand {
    fn at(server: SocketAddr, camera: Camera, rng: ChaCha12Rng) -> Hand {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
        socket
            .set_read_timeout(Some(PATIENCE))
            .expect("a valid time");
        let hand = Hand {
            local: socket.local_addr().expect("bound").to_string(),
            socket,
            number: 0,
            camera,
            rng,
        };
        hand.connect(server);
        hand
    }

    fn connect(&self, server: SocketAddr) {
        self.socket.connect(server).expect("an address");
    }

    fn ask(&mut self, head: &str, body: &str) -> String {
        self.number += 1;
        let (n, local) = (self.number, &self.local);
        let method = head.split(' ').next().expect("a method");
        let (line, rest) = head.split_once("\r\n").expect("a line");
        let text = format!(
            "{line}\r\nVia: SIP/2.0/UDP {local};rport;branch=z9hG4bKh{n}\r\nCSeq: {n} {method}\r\nMax-Forwards: 70\r\n{rest}Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        self.socket.send(text.as_bytes()).expect("sent");
        let mut answer = [0; 4096];
        loop {
            let n = self.socket.recv(&mut answer).expect("an answer");
            let text = String::from_utf8_lossy(&answer[..n]).into_owned();
            // Questions of the platform are not answered here.
            if text.starts_with("SIP/2.0 ")
                && text.contains(&format!("branch=z9hG4bKh{}", self.number))
            {
                return text;
            }
        }
    }

    fn register(&mut self, authorization: &str, more: &str) -> String {
        let head = format!(
            "REGISTER sip:{SERVER}@3402000000 SIP/2.0\r\nFrom: <sip:{DEVICE}@3402000000>;tag=t\r\nTo: <sip:{DEVICE}@3402000000>\r\n\
             Call-ID: hand\r\nContact: <sip:{DEVICE}@{}>\r\nExpires: 3600\r\nAuthorization: {authorization}\r\n{more}",
            self.local
        );
        self.ask(&head, "")
    }

    /// The answer to a fresh challenge.
    fn proof(&mut self) -> String {
        let answer = self.register(&self.camera.capability("2024-01-31T14:40:49.583"), "");
        assert!(answer.starts_with("SIP/2.0 401"), "{answer}");
        let challenge = field(&answer, "WWW-Authenticate");
        self.camera
            .answer(challenge.as_bytes(), &mut self.rng)
            .expect("a challenge")
    }

    fn keepalive(&mut self, call_id: &str, date: &str, signed: bool) -> String {
        let from = format!("<sip:{DEVICE}@3402000000>;tag=k");
        let to = format!("<sip:{SERVER}@3402000000>");
        let body = format!(
            "<?xml version=\"1.0\"?>\r\n<Notify>\r\n<CmdType>Keepalive</CmdType>\r\n<SN>1</SN>\r\n<DeviceID>{DEVICE}</DeviceID>\r\n<Status>OK</Status>\r\n</Notify>\r\n"
        );
        let noted = Noted {
            method: b"MESSAGE",
            from: from.as_bytes(),
            to: to.as_bytes(),
            call_id: call_id.as_bytes(),
            date: date.as_bytes(),
            body: body.as_bytes(),
        };
        let note = match (signed, self.camera.vkek()) {
            (true, Some(vkek)) => format!("Note: {}\r\n", header::write_note(&noted.nonce(vkek))),
            (false, _) | (_, None) => String::new(),
        };
        let head = format!(
            "MESSAGE sip:{SERVER}@3402000000 SIP/2.0\r\nFrom: {from}\r\nTo: {to}\r\nCall-ID: {call_id}\r\nDate: {date}\r\n{note}\
             Content-Type: Application/MANSCDP+xml\r\n"
        );
        self.ask(&head, &body)
    }
}

fn field(message: &str, name: &str) -> String {
    let mut lines = message.lines().filter_map(|l| l.split_once(": "));
    let found = lines.find(|(n, _)| n.eq_ignore_ascii_case(name));
    found
        .unwrap_or_else(|| panic!("no {name} in {message}"))
        .1
        .to_owned()
}

#[test]
fn replayed_late_and_wrongly_signed_messages_are_refused_with_their_reason() {
    let node = Node::start(&[]);
    let token = node.login();
    authority(&node, &token);
    let mut rng = ChaCha12Rng::from_seed([35; 32]);
    let (key, other) = (Key::new(&mut rng), Key::new(&mut rng));
    let request = CertificateRequest::make(&key, DEVICE).pem();
    let id = enrol(&node, &token, DEVICE, &request);
    let camera = Camera::new(key.clone(), None, DEVICE, SERVER);
    let mut hand = Hand::at(node.sip, camera, rng);
    let says = |answer: &str, why: &str| {
        assert!(
            answer.starts_with(&format!("SIP/2.0 403 GB 35114: {why}\r\n")),
            "{why}: {answer}"
        );
    };
    says(
        &hand.register(
            "Digest username=\"x\", realm=\"3402000000\", nonce=\"n\", uri=\"u\", response=\"r\"",
            "",
        ),
        "not signed",
    );
    hand.camera = Camera::new(other, None, DEVICE, SERVER);
    let forged = hand.proof();
    says(&hand.register(&forged, ""), "wrong signature");
    hand.camera = Camera::new(key, None, DEVICE, SERVER);
    let proof = hand.proof();
    says(
        &hand.register(&proof, "Date: 2020-01-01T00:00:00.000\r\n"),
        "late",
    );
    says(
        &hand.keepalive("c0", "2020-01-01T00:00:00.000", false),
        "no key agreed",
    );
    let answer = hand.register(&proof, "");
    assert!(answer.starts_with("SIP/2.0 200"), "{answer}");
    let date = field(&answer, "Date");
    assert!(
        hand.camera
            .finish(field(&answer, "SecurityInfo").as_bytes())
    );
    says(&hand.register(&proof, ""), "replayed");
    says(&hand.keepalive("c1", &date, false), "not signed");
    let answer = hand.keepalive("c2", &date, true);
    assert!(answer.starts_with("SIP/2.0 200"), "{answer}");
    says(&hand.keepalive("c2", &date, true), "replayed");
    says(
        &hand.keepalive("c3", "2020-01-01T00:00:00.000", true),
        "late",
    );
    let path = format!("cert/device/csr/{id}");
    done(&node, &token, "PUT", &path, &json!({"status": "revoked"}));
    // Its registration is over, and with it what it was let in for.
    wait_until("it is sent away", || {
        let path = format!("/bvcsp/v1/pu/onlinestatus/PU_{DEVICE}");
        let answer = node.get(&path, Some(&token)).json();
        (answer["data"]["status"] == 0).then_some(())
    });
    says(&hand.keepalive("c4", &date, true), "certificate revoked");
    says(&hand.register(&proof, ""), "certificate revoked");
    for why in [
        "not signed",
        "wrong signature",
        "late",
        "replayed",
        "certificate revoked",
        "no key agreed",
    ] {
        node.wait_for_metric(
            "gantry_gb35114_refused_total",
            &format!("reason=\"{why}\""),
            |n| n >= 1.0,
        );
    }
    refused(&node, &token, DEVICE, "certificate revoked");
    // The data folder holds no key in the clear.
    let plain = done(
        &node,
        &token,
        "PUT",
        &format!("gmdevice/{DEVICE}"),
        &json!({"status": 0}),
    );
    assert!(plain.is_null());
}

/// What is not signed neither keeps a device of GB 35114 online nor moves it; and a key that was agreed counts after a kill,
/// but not for what was said before it.
#[test]
fn only_signed_messages_count_and_the_agreed_key_outlives_a_kill() {
    let variables = [
        ("GANTRY_SIP_KEEPALIVE_S", "5"),
        ("GANTRY_SIP_KEEPALIVE_MISSES", "1"),
    ];
    let node = Node::start(&variables);
    let token = node.login();
    authority(&node, &token);
    let mut rng = ChaCha12Rng::from_seed([36; 32]);
    let key = Key::new(&mut rng);
    enrol(
        &node,
        &token,
        DEVICE,
        &CertificateRequest::make(&key, DEVICE).pem(),
    );
    let mut hand = Hand::at(node.sip, Camera::new(key, None, DEVICE, SERVER), rng);
    let proof = hand.proof();
    let answer = hand.register(&proof, "");
    assert!(answer.starts_with("SIP/2.0 200"), "{answer}");
    assert_eq!(field(&answer, "X-GB-Ver"), "3.0");
    let before = field(&answer, "Date");
    assert!(
        hand.camera
            .finish(field(&answer, "SecurityInfo").as_bytes())
    );
    let status = |node: &Node, token: &str| {
        let path = format!("/bvcsp/v1/pu/onlinestatus/PU_{DEVICE}");
        node.get(&path, Some(token)).json()["data"]["status"].clone()
    };
    let answer = hand.keepalive("k1", &before, true);
    assert!(answer.starts_with("SIP/2.0 200"), "{answer}");
    assert_eq!(status(&node, &token), 1);

    // The key is in the store when what came after it is.
    node.post("/bvcsp/v1/pu/list", Some(&token), &json!({}));
    let folder = node.kill();
    let shown = std::fs::read_dir(&folder).expect("a folder").flatten();
    let vkek = hand.camera.vkek().expect("agreed").to_vec();
    for file in shown.filter_map(|entry| std::fs::read(entry.path()).ok()) {
        assert!(memchr::memmem::find(&file, &vkek).is_none(), "it lies open");
    }
    let node = Node::start_in(folder, &variables);
    let token = node.login();
    hand.connect(node.sip);
    // The date of now, from an answer that needs no key.
    let answer = hand.register(&hand.camera.capability("2024-01-31T14:40:49.583"), "");
    let now = field(&answer, "Date");
    let answer = hand.keepalive("k2", &now, true);
    assert!(
        answer.starts_with("SIP/2.0 200"),
        "no new REGISTER: {answer}"
    );
    let answer = hand.keepalive("k1", &before, true);
    assert!(answer.starts_with("SIP/2.0 403 GB 35114: late"), "{answer}");

    // Packets without a signature go on coming, and it is offline all the same.
    let mut turn = 0;
    wait_until("it is offline", || {
        if turn % 50 == 0 {
            let head = format!(
                "OPTIONS sip:{SERVER}@3402000000 SIP/2.0\r\nFrom: <sip:{DEVICE}@3402000000>;tag=o\r\n\
                 To: <sip:{SERVER}@3402000000>\r\nCall-ID: o\r\n"
            );
            assert!(hand.ask(&head, "").starts_with("SIP/2.0 200"));
            hand.socket.send(b"\r\n\r\n").expect("sent");
        }
        turn += 1;
        (status(&node, &token) == 0).then_some(())
    });
}
