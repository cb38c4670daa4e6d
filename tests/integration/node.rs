//! The real binary, on free ports and a folder of its own, for tests that talk to it as its users do.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// How long anything may take before a test says what did not come. Generous: machines that run tests are busy.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub const ADMIN_PASSWORD: &str = "a password of the tests";

/// The program under test: that of this build, or another one (a release build, for load).
pub fn binary() -> PathBuf {
    std::env::var_os("GANTRY_TEST_BINARY").map_or_else(
        || PathBuf::from(env!("CARGO_BIN_EXE_gantry")),
        PathBuf::from,
    )
}

/// A running node. Dropping it ends the process and removes its folder.
pub struct Node {
    child: Child,
    dir: PathBuf,
    pub http: SocketAddr,
    pub https: SocketAddr,
    pub sip: SocketAddr,
    pub sips: SocketAddr,
    /// UDP and TCP, one a media thread.
    pub rtp_ports: Vec<u16>,
    pub webrtc_port: u16,
    log: Arc<Mutex<Vec<String>>>,
}

/// A process that stands still.
pub struct Rest(u32);

impl Rest {
    fn signal(process: u32, signal: &str) {
        let done = Command::new("kill")
            .args([signal, &process.to_string()])
            .status();
        assert!(done.is_ok_and(|status| status.success()), "{signal}");
    }
}

impl Drop for Rest {
    fn drop(&mut self) {
        Rest::signal(self.0, "-CONT");
    }
}

/// How a node ended.
pub struct Ended {
    pub dir: PathBuf,
    pub code: Option<i32>,
    pub took: Duration,
}

impl Node {
    /// Starts a node with extra environment variables and waits until it says that it runs.
    pub fn start(variables: &[(&str, &str)]) -> Node {
        let dir = fresh_folder();
        Node::start_in(dir, variables)
    }

    /// Starts a node on a data folder that may have been used before.
    pub fn start_in(dir: PathBuf, variables: &[(&str, &str)]) -> Node {
        let mut child = Command::new(binary())
            .args(["serve", "--data"])
            .arg(&dir)
            .env("GANTRY_HTTP_LISTEN", "127.0.0.1:0")
            .env("GANTRY_HTTP_TLS_LISTEN", "127.0.0.1:0")
            .env("GANTRY_SIP_LISTEN", "127.0.0.1:0")
            .env("GANTRY_SIP_TLS_LISTEN", "127.0.0.1:0")
            .env("GANTRY_MEDIA_RTP_PORT", "0")
            .env("GANTRY_WEBRTC_LISTEN", "127.0.0.1:0")
            .env("GANTRY_SIP_DEVICE_PASSWORD", "12345678")
            .env("GANTRY_LOG_FORMAT", "json")
            .env("GANTRY_ADMIN_PASSWORD", ADMIN_PASSWORD)
            .envs(variables.iter().copied())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let stderr = BufReader::new(child.stderr.take().expect("piped"));
        let log = Arc::new(Mutex::new(Vec::new()));
        let (started, wait) = std::sync::mpsc::channel();
        let kept = log.clone();
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                if let Ok(event) = serde_json::from_str::<Value>(&line)
                    && event["fields"]["message"] == "node started"
                {
                    // The test may have given up waiting.
                    let _ = started.send(event["fields"].clone());
                }
                kept.lock()
                    .expect("no test panics while it holds this")
                    .push(line);
            }
        });
        let Ok(facts) = wait.recv_timeout(PATIENCE) else {
            let _ = child.kill();
            panic!(
                "the node did not start:\n{}",
                log.lock().expect("as above").join("\n")
            );
        };
        let text = |name: &str| facts[name].as_str().unwrap_or_default();
        let addr = |name: &str| {
            text(name)
                .trim_start_matches("Some(")
                .trim_end_matches(')')
                .parse()
                .expect("an address")
        };
        let ports = text("rtp_ports").trim_matches(['[', ']']).split(", ");
        Node {
            http: addr("http_addr"),
            https: addr("https_addr"),
            sip: addr("sip"),
            sips: addr("sips_addr"),
            rtp_ports: ports.map(|port| port.parse().expect("a port")).collect(),
            webrtc_port: facts["webrtc_port"]
                .as_u64()
                .and_then(|port| port.try_into().ok())
                .expect("a port"),
            child,
            dir,
            log,
        }
    }

    /// Lets the process stand, with its sockets open, until the guard is dropped.
    pub fn rest(&self) -> Rest {
        Rest::signal(self.child.id(), "-STOP");
        Rest(self.child.id())
    }

    /// All log lines so far.
    pub fn log(&self) -> String {
        self.log
            .lock()
            .expect("no test panics while it holds this")
            .join("\n")
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Ends the node as a service manager would. Its folder stays.
    pub fn terminate(mut self) -> Ended {
        let began = Instant::now();
        let pid = self.child.id().to_string();
        let sent = Command::new("kill")
            .args(["-TERM", &pid])
            .status()
            .expect("kill is there");
        assert!(sent.success());
        let status = wait_until("the node ends", || {
            self.child.try_wait().expect("a child can be waited for")
        });
        let dir = std::mem::take(&mut self.dir);
        Ended {
            dir,
            code: status.code(),
            took: began.elapsed(),
        }
    }

    /// Kills it as a crash would, and gives its folder back.
    pub fn kill(mut self) -> PathBuf {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it was started here");
        std::mem::take(&mut self.dir)
    }

    pub fn login(&self) -> String {
        let body = json!({ "username": "admin", "password": ADMIN_PASSWORD });
        let answer = self.post("/bvcsp/v1/auth/login", None, &body);
        assert_eq!(answer["code"], 0, "{answer}");
        answer["data"]["token"]
            .as_str()
            .expect("a token")
            .to_string()
    }

    pub fn post(&self, path: &str, token: Option<&str>, body: &Value) -> Value {
        self.request("POST", path, token, "application/json", &body.to_string())
            .json()
    }

    pub fn get(&self, path: &str, token: Option<&str>) -> Response {
        self.request("GET", path, token, "application/json", "")
    }

    pub fn request(
        &self,
        method: &str,
        path: &str,
        token: Option<&str>,
        content_type: &str,
        body: &str,
    ) -> Response {
        let mut socket = TcpStream::connect(self.http).expect("the node listens");
        socket
            .set_read_timeout(Some(PATIENCE))
            .expect("a valid time");
        let token = token
            .map(|t| format!("Authorization: {t}\r\n"))
            .unwrap_or_default();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Type: {content_type}\r\n{token}Content-Length: {}\r\n\r\n",
            self.http,
            body.len()
        );
        socket.write_all(head.as_bytes()).expect("the node reads");
        socket.write_all(body.as_bytes()).expect("the node reads");
        let mut bytes = Vec::new();
        socket.read_to_end(&mut bytes).expect("the node answers");
        Response::parse(&bytes)
    }

    /// Waits until a device is online with at least so many channels, and gives its entry of `/pu/list`.
    pub fn wait_for_device(&self, token: &str, puid: &str, channels: usize) -> Value {
        wait_until(
            &format!("{puid} is online with {channels} channels"),
            || {
                let answer = self.post(
                    "/bvcsp/v1/pu/list",
                    Some(token),
                    &json!({ "page": 0, "pageSize": 1000, "needStatus": true }),
                );
                let list = answer["data"].as_array()?.clone();
                list.into_iter().find(|pu| {
                    pu["id"] == puid
                        && pu["status"] == 1
                        && pu["channels"]
                            .as_array()
                            .is_some_and(|c| c.len() >= channels)
                })
            },
        )
    }

    /// Memory of the process that lies in RAM.
    pub fn resident_bytes(&self) -> u64 {
        let path = format!("/proc/{}/status", self.child.id());
        let text = std::fs::read_to_string(path).expect("it runs");
        let line = text.lines().find(|line| line.starts_with("VmRSS"));
        let kib = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
        kib.expect("VmRSS in kB") << 10
    }

    /// Sockets that the process has open.
    pub fn open_sockets(&self) -> usize {
        let folder = format!("/proc/{}/fd", self.child.id());
        let files = std::fs::read_dir(folder).expect("it runs");
        let targets = files.filter_map(|file| std::fs::read_link(file.ok()?.path()).ok());
        targets
            .filter(|target| target.to_string_lossy().starts_with("socket:"))
            .count()
    }

    /// The value of a metric, summed over its labels.
    pub fn metric(&self, name: &str) -> f64 {
        self.metric_where(name, "")
    }

    /// The same over the series whose labels hold a text, such as `outcome="ok"`.
    pub fn metric_where(&self, name: &str, label: &str) -> f64 {
        let text = String::from_utf8(self.get("/metrics", None).body).expect("text");
        text.lines()
            .filter(|line| {
                line.strip_prefix(name)
                    .is_some_and(|rest| rest.starts_with(['{', ' ']))
            })
            .filter(|line| line.contains(label))
            .filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok())
            .sum()
    }

    /// Waits until a metric, which is refreshed once a second, is what it should be.
    pub fn wait_for_metric(&self, name: &str, label: &str, right: impl Fn(f64) -> bool) -> f64 {
        wait_until(&format!("{name} {label}"), || {
            let value = self.metric_where(name, label);
            right(value).then_some(value)
        })
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // Already ended by `terminate`, or ended now: either way nothing is left running.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if !self.dir.as_os_str().is_empty() {
            let _ = std::fs::remove_dir_all(&self.dir);
        }
        if std::thread::panicking() {
            eprintln!("--- log of the node ---\n{}", self.log());
        }
    }
}

/// An HTTP response, read whole.
pub struct Response {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Response {
    fn parse(bytes: &[u8]) -> Response {
        let at = bytes
            .windows(4)
            .position(|w| w == b"\r\n\r\n")
            .expect("a head");
        let head = String::from_utf8_lossy(&bytes[..at]).into_owned();
        let status = head
            .split(' ')
            .nth(1)
            .and_then(|s| s.parse().ok())
            .expect("a status");
        let mut body = bytes[at + 4..].to_vec();
        if head
            .to_ascii_lowercase()
            .contains("transfer-encoding: chunked")
        {
            body = dechunk(&body);
        }
        Response { status, head, body }
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| {
            panic!(
                "{e}: {}\n{}",
                self.head,
                String::from_utf8_lossy(&self.body)
            )
        })
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|l| l.split_once(':'));
        lines
            .find(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, v)| v.trim())
    }
}

fn dechunk(mut bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    while let Some(at) = bytes.windows(2).position(|w| w == b"\r\n") {
        let size = std::str::from_utf8(&bytes[..at])
            .ok()
            .and_then(|s| usize::from_str_radix(s.trim(), 16).ok());
        let Some(size) = size.filter(|n| *n > 0) else {
            break;
        };
        out.extend_from_slice(&bytes[at + 2..at + 2 + size]);
        bytes = &bytes[at + 4 + size..];
    }
    out
}

/// Asks again and again until there is an answer.
pub fn wait_until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(
            began.elapsed() < PATIENCE,
            "waited {PATIENCE:?} in vain: {what}"
        );
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

/// An empty folder that no other test has.
pub fn fresh_folder() -> PathBuf {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let n = NEXT.fetch_add(1, Ordering::Relaxed);
    let dir = std::env::temp_dir().join(format!("gantry-test-{}-{n}", std::process::id()));
    std::fs::create_dir_all(&dir).expect("the temporary folder can be written");
    dir
}

/// Simulated devices as a process of their own. Dropping it ends them.
pub struct Devices(Child);

impl Devices {
    /// `gantry simulate` with these arguments against a node.
    pub fn start(node: &Node, arguments: &[&str]) -> Devices {
        Devices::with_password(node, "12345678", arguments)
    }

    pub fn with_password(node: &Node, password: &str, arguments: &[&str]) -> Devices {
        let server = node.sip.to_string();
        let at = ["--server", &server, "--password", password];
        Devices::at(&[at.as_slice(), arguments].concat())
    }

    /// `gantry simulate` with these arguments and nothing else.
    pub fn at(arguments: &[&str]) -> Devices {
        let child = Command::new(binary())
            .arg("simulate")
            .args(arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the binary starts");
        Devices(child)
    }

    /// Lets them end their views and unregister, as a user who stops them does, and waits for it.
    pub fn leave(mut self) {
        let sent = Command::new("kill")
            .args(["-TERM", &self.0.id().to_string()])
            .status();
        assert!(sent.expect("kill is there").success());
        wait_until("the devices leave", || {
            self.0.try_wait().expect("a child can be waited for")
        });
    }
}

impl Drop for Devices {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs a tool; `None` if it is not on this machine (which CI does not accept).
pub fn tool(name: &str, arguments: &[&str]) -> Option<std::process::Output> {
    match Command::new(name)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
    {
        Ok(output) => Some(output),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            assert!(!crate::vectors::is_ci(), "{name} is missing");
            eprintln!("SKIPPED: {name} is not installed");
            None
        }
        Err(e) => panic!("{name}: {e}"),
    }
}
