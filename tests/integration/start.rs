//! What keeps a node from starting is one clear line and exit code 2; what keeps a device from registering is a status.

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::{TcpListener, UdpSocket};
use std::path::Path;
use std::process::{Command, Stdio};

use md5::Digest as _;

use super::node::{Node, PATIENCE, fresh_folder};

/// What `gantry serve` says when it cannot start: its one line.
fn refusal(dir: &Path, config: Option<&Path>, variables: &[(&str, &str)]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gantry"));
    command.args(["serve", "--data"]).arg(dir);
    if let Some(config) = config {
        command.arg("--config").arg(config);
    }
    for name in [
        "HTTP_LISTEN",
        "HTTP_TLS_LISTEN",
        "SIP_LISTEN",
        "SIP_TLS_LISTEN",
        "WEBRTC_LISTEN",
    ] {
        command.env(format!("GANTRY_{name}"), "127.0.0.1:0");
    }
    let mut node = command
        .env("GANTRY_MEDIA_RTP_PORT", "0")
        .envs(variables.iter().copied())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    // A node that starts after all says so, and is not waited for.
    let mut said = [0];
    let mut stdout = node.stdout.take().expect("piped");
    if stdout.read(&mut said).expect("a pipe can be read") > 0 {
        let _ = node.kill();
    }
    let output = node.wait_with_output().expect("a child can be waited for");
    let line = String::from_utf8(output.stderr).expect("text");
    assert_eq!(output.status.code(), Some(2), "{line}");
    assert_eq!(line.lines().count(), 1, "one line: {line}");
    assert!(line.starts_with("gantry: "), "{line}");
    line
}

#[test]
fn a_port_in_use_is_named() {
    let dir = fresh_folder();
    let tcp = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let tcp = (tcp.local_addr().expect("bound"), tcp);
    let udp = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    let udp = (udp.local_addr().expect("bound"), udp);
    for (variable, addr) in [
        ("GANTRY_HTTP_LISTEN", tcp.0),
        ("GANTRY_HTTP_TLS_LISTEN", tcp.0),
        ("GANTRY_SIP_LISTEN", tcp.0),
        ("GANTRY_SIP_LISTEN", udp.0),
        ("GANTRY_SIP_TLS_LISTEN", tcp.0),
        ("GANTRY_WEBRTC_LISTEN", udp.0),
    ] {
        let line = refusal(&dir, None, &[(variable, &addr.to_string())]);
        assert!(
            line.contains(&addr.port().to_string()),
            "{variable}: {line}"
        );
        assert!(
            line.contains("another program has this port"),
            "{variable}: {line}"
        );
    }
    let port = udp.0.port().to_string();
    let line = refusal(
        &dir,
        None,
        &[
            ("GANTRY_MEDIA_RTP_PORT", &port),
            ("GANTRY_MEDIA_SHARDS", "1"),
        ],
    );
    assert!(
        line.contains(&port) && line.contains("another program has this port"),
        "{line}"
    );
    // Every start so far has failed; the password of the first that does not is still shown.
    let mut node = Command::new(env!("CARGO_BIN_EXE_gantry"));
    node.args(["serve", "--data"]).arg(&dir);
    for name in [
        "HTTP_LISTEN",
        "HTTP_TLS_LISTEN",
        "SIP_LISTEN",
        "WEBRTC_LISTEN",
    ] {
        node.env(format!("GANTRY_{name}"), "127.0.0.1:0");
    }
    node.env("GANTRY_MEDIA_RTP_PORT", "0")
        .stderr(Stdio::null())
        .stdout(Stdio::piped());
    let mut node = node.spawn().expect("the binary starts");
    let mut said = BufReader::new(node.stdout.take().expect("piped"))
        .lines()
        .map_while(Result::ok);
    let shown = said.any(|line| line.contains("sign in as admin with password"));
    let _ = node.kill();
    let _ = node.wait();
    assert!(shown, "the first password is shown");
    let _ = std::fs::remove_dir_all(dir);
}

#[test]
fn a_config_that_cannot_be_used_is_named_with_its_place() {
    let dir = fresh_folder();
    let config = dir.join("gantry.toml");
    let with = |text: &str| {
        std::fs::write(&config, text).expect("the temporary folder can be written");
        refusal(&dir, Some(&config), &[])
    };
    let line = with("[sip]\n# a comment\npassphrase = \"x\"\n");
    assert!(
        line.contains("passphrase") && line.contains("gantry.toml:3:"),
        "{line}"
    );
    let line = with("[sip]\nkeepalive_s = \"often\"\n");
    assert!(
        line.contains("keepalive_s") && line.contains("gantry.toml:2:"),
        "{line}"
    );
    let line = with("[sip]\nkeepalive_s = 1\n");
    assert!(line.contains("keepalive_s"), "{line}");
    let line = with("[sip\n");
    assert!(line.contains("gantry.toml:1:"), "{line}");
    let line = with("[sound]\nloud = true\n");
    assert!(line.contains("sound"), "{line}");
    let line = refusal(&dir, Some(&dir.join("nothing.toml")), &[]);
    assert!(line.contains("nothing.toml"), "{line}");
    let line = refusal(&dir, Some(&dir), &[]);
    assert!(line.contains(&*dir.to_string_lossy()), "{line}");
    let _ = std::fs::remove_dir_all(dir);
}

#[test]
fn a_certificate_that_cannot_be_used_is_named() {
    let dir = fresh_folder();
    let (cert, key) = (dir.join("site.pem"), dir.join("site.key"));
    std::fs::write(
        &cert,
        "-----BEGIN CERTIFICATE-----\nnot base64 at all!\n-----END CERTIFICATE-----\n",
    )
    .expect("writable");
    std::fs::write(&key, "no key").expect("writable");
    let name = |path: &Path| path.to_string_lossy().into_owned();
    let line = refusal(
        &dir,
        None,
        &[
            ("GANTRY_HTTP_TLS_CERT", &name(&cert)),
            ("GANTRY_HTTP_TLS_KEY", &name(&key)),
        ],
    );
    assert!(line.contains("site.pem"), "{line}");
    let gone = name(&dir.join("gone.pem"));
    let line = refusal(
        &dir,
        None,
        &[
            ("GANTRY_HTTP_TLS_CERT", &gone),
            ("GANTRY_HTTP_TLS_KEY", &name(&key)),
        ],
    );
    assert!(line.contains("gone.pem"), "{line}");
    let _ = std::fs::remove_dir_all(dir);
}

#[test]
fn a_data_folder_has_one_node() {
    let node = Node::start(&[]);
    let line = refusal(node.dir(), None, &[]);
    assert!(line.contains("another node uses the data folder"), "{line}");
    assert_eq!(node.get("/healthz", None).json()["status"], "ok");
    let line = refusal(Path::new("/dev/null/data"), None, &[]);
    assert!(line.contains("/dev/null/data"), "{line}");
}

/// A device made of a socket and a password.
struct Registrant {
    socket: UdpSocket,
    device: &'static str,
    sequence: u32,
}

impl Registrant {
    fn new(node: &Node, device: &'static str) -> Registrant {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
        socket.connect(node.sip).expect("the loopback");
        socket
            .set_read_timeout(Some(PATIENCE))
            .expect("a valid time");
        Registrant {
            socket,
            device,
            sequence: 0,
        }
    }

    /// Asks to be registered, with what stands in `authorization`; gives status and response.
    fn ask(&mut self, authorization: &str) -> (u16, String) {
        self.sequence += 1;
        let (n, id, from) = (
            self.sequence,
            self.device,
            self.socket.local_addr().expect("bound"),
        );
        let request = format!(
            "REGISTER sip:34020000002000000001@3402000000 SIP/2.0\r\nVia: SIP/2.0/UDP {from};rport;branch=z9hG4bK{id}{n}\r\n\
             From: <sip:{id}@3402000000>;tag=t{id}\r\nTo: <sip:{id}@3402000000>\r\nCall-ID: {id}\r\nCSeq: {n} REGISTER\r\n\
             Contact: <sip:{id}@{from}>\r\nMax-Forwards: 70\r\nExpires: 3600\r\n{authorization}Content-Length: 0\r\n\r\n"
        );
        self.socket
            .send(request.as_bytes())
            .expect("the loopback takes it");
        let mut datagram = [0; 4096];
        loop {
            let len = self.socket.recv(&mut datagram).expect("an answer");
            let text = String::from_utf8_lossy(&datagram[..len]).into_owned();
            // Queries of the platform are not what is waited for here.
            if let Some(rest) = text.strip_prefix("SIP/2.0 ")
                && text.contains(&format!("CSeq: {n} REGISTER"))
            {
                return (rest[..3].parse().expect("a status"), text);
            }
        }
    }

    /// One round: a challenge is asked for and answered with a password.
    fn register(&mut self, password: &str) -> u16 {
        let (status, challenge) = self.ask("");
        if status != 401 {
            return status;
        }
        self.answer(&challenge, password).0
    }

    fn answer(&mut self, challenge: &str, password: &str) -> (u16, String) {
        let line = challenge
            .lines()
            .find(|l| l.starts_with("WWW-Authenticate:"))
            .expect("a challenge");
        let value = |name: &str| {
            let from = line.find(&format!("{name}=\"")).expect(name) + name.len() + 2;
            line[from..].split('"').next().expect("a value").to_string()
        };
        let (realm, nonce) = (value("realm"), value("nonce"));
        let hash = |text: String| {
            md5::Md5::digest(text)
                .iter()
                .map(|b| format!("{b:02x}"))
                .collect::<String>()
        };
        let uri = "sip:34020000002000000001@3402000000";
        let id = self.device;
        let secret = hash(format!("{id}:{realm}:{password}"));
        let request = hash(format!("REGISTER:{uri}"));
        // RFC 2617, 3.2.2.1, without qop, as most cameras do it.
        let response = hash(format!("{secret}:{nonce}:{request}"));
        self.ask(&format!(
            "Authorization: Digest username=\"{id}\", realm=\"{realm}\", nonce=\"{nonce}\", uri=\"{uri}\", \
             response=\"{response}\", algorithm=MD5\r\n"
        ))
    }
}

#[test]
fn a_wrong_password_is_asked_for_again_and_then_refused_for_a_while() {
    let node = Node::start(&[]);
    let mut thief = Registrant::new(&node, "34020000001320000066");
    let (status, mut said) = thief.ask("");
    assert_eq!(status, 401);
    let mut statuses = Vec::new();
    for _ in 0..4 {
        let (status, again) = thief.answer(&said, "a guess");
        statuses.push(status);
        if status == 401 {
            said = again;
        }
    }
    assert_eq!(statuses[0], 401, "one mistake is forgiven: {statuses:?}");
    let refused = statuses
        .iter()
        .position(|s| *s == 403)
        .unwrap_or_else(|| panic!("{statuses:?}"));
    assert!(
        statuses[refused..].iter().all(|s| *s == 403),
        "{statuses:?}"
    );
    assert_eq!(
        thief.register("12345678"),
        403,
        "in the pause the right password does not help either"
    );
    // A device beside it is not punished for it.
    assert_eq!(
        Registrant::new(&node, "34020000001320000067").register("12345678"),
        200
    );
    node.wait_for_metric(
        "gantry_registers_total",
        "outcome=\"wrong password\"",
        |n| n >= 2.0,
    );
    node.wait_for_metric("gantry_registers_total", "outcome=\"refused\"", |n| {
        n >= 1.0
    });
    node.wait_for_metric("gantry_devices", "state=\"online\"", |n| n == 1.0);
}
