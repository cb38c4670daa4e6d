//! The node under test: the real binary on free loopback ports with a folder of its own, its API, and what the kernel says
//! of it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// How long anything may take before the bench gives up.
pub const PATIENCE: Duration = Duration::from_secs(30);
const ADMIN_PASSWORD: &str = "a password of the bench";

/// A running node. Dropping it ends the process and removes its folder.
pub struct Node {
    child: Child,
    dir: PathBuf,
    pub http: SocketAddr,
    /// If it was asked for by `GANTRY_HTTP_TLS_LISTEN`.
    pub https: Option<SocketAddr>,
    token: String,
}

/// What a node has used up to a moment.
#[derive(Clone, Copy)]
pub struct Usage {
    pub at: Instant,
    /// Processor time of all its threads that are alive.
    pub cpu: Duration,
}

impl Usage {
    /// Processor time and wall time from here to `later`, in seconds.
    pub fn until(&self, later: &Usage) -> (f64, f64) {
        let cpu = later.cpu.saturating_sub(self.cpu);
        (cpu.as_secs_f64(), (later.at - self.at).as_secs_f64())
    }
}

impl Node {
    /// Starts a node with extra environment variables and waits until it says that it runs.
    pub fn start(variables: &[(&str, &str)]) -> Node {
        static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let n = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("gantry-bench-{}-{n}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("the temporary folder can be written");
        let mut child = Command::new(env!("CARGO_BIN_EXE_gantry"))
            .args(["serve", "--data"])
            .arg(&dir)
            .env("GANTRY_HTTP_LISTEN", "127.0.0.1:0")
            .env("GANTRY_HTTP_TLS_LISTEN", "")
            .env("GANTRY_SIP_TLS_LISTEN", "")
            .env("GANTRY_HTTP_OPEN_MEDIA", "true")
            .env("GANTRY_SIP_LISTEN", "127.0.0.1:0")
            .env("GANTRY_MEDIA_RTP_PORT", "0")
            .env("GANTRY_WEBRTC_LISTEN", "127.0.0.1:0")
            .env("GANTRY_LOG_FORMAT", "json")
            .env("GANTRY_LOG_FILTER", "warn,gantry::app=info")
            .env("GANTRY_ADMIN_PASSWORD", ADMIN_PASSWORD)
            .envs(variables.iter().copied())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let stderr = BufReader::new(child.stderr.take().expect("piped"));
        let (started, wait) = mpsc::channel();
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                let event: Value = serde_json::from_str(&line).unwrap_or_default();
                if event["fields"]["message"] == "node started" {
                    let text = |name: &str| event["fields"][name].as_str().unwrap_or_default();
                    let https = text("https_addr").strip_prefix("Some(");
                    let https = https.and_then(|a| a.strip_suffix(')')?.parse().ok());
                    let http = text("http_addr").parse::<SocketAddr>();
                    // The bench may have given up waiting.
                    let _ = started.send(http.map(|http| (http, https)));
                } else if event["level"] != "INFO" {
                    eprintln!("node: {line}");
                }
            }
        });
        let Ok(Ok((http, https))) = wait.recv_timeout(PATIENCE) else {
            let _ = child.kill();
            panic!("the node did not start");
        };
        let mut node = Node {
            child,
            dir,
            http,
            https,
            token: String::new(),
        };
        let login = json!({ "username": "admin", "password": ADMIN_PASSWORD });
        let (_, answer) = node.request(
            "POST",
            "/bvcsp/v1/auth/login",
            "application/json",
            &login.to_string(),
        );
        let answer: Value = serde_json::from_str(&answer).expect("JSON");
        node.token = answer["data"]["token"]
            .as_str()
            .expect("a token")
            .to_owned();
        node
    }

    /// Opens a source; where to send to.
    pub fn open_ingest(&self, stream: &str, ssrc: u32) -> SocketAddr {
        let body = json!({ "stream": stream, "ssrc": ssrc, "transport": "udp" });
        let (status, answer) = self.request(
            "POST",
            "/gantry/v1/ingest",
            "application/json",
            &body.to_string(),
        );
        assert_eq!(status, 200, "{answer}");
        let answer: Value = serde_json::from_str(&answer).expect("JSON");
        let port = answer["port"].as_u64().and_then(|p| u16::try_from(p).ok());
        SocketAddr::from(([127, 0, 0, 1], port.expect("a port")))
    }

    pub fn close_ingest(&self, stream: &str) {
        let (status, answer) = self.request(
            "DELETE",
            &format!("/gantry/v1/ingest/{stream}"),
            "application/json",
            "",
        );
        assert_eq!(status, 204, "{answer}");
    }

    /// The value of a metric, summed over its labels that contain `label`.
    pub fn metric(&self, name: &str, label: &str) -> f64 {
        let (_, text) = self.request("GET", "/metrics", "application/json", "");
        text.lines()
            .filter(|l| {
                l.strip_prefix(name)
                    .is_some_and(|rest| rest.starts_with(['{', ' ']))
            })
            .filter(|l| l.contains(label))
            .filter_map(|l| l.rsplit_once(' ')?.1.parse::<f64>().ok())
            .sum()
    }

    /// Status and body.
    pub fn request(
        &self,
        method: &str,
        path: &str,
        content_type: &str,
        body: &str,
    ) -> (u16, String) {
        let mut socket = TcpStream::connect(self.http).expect("the node listens");
        socket
            .set_read_timeout(Some(PATIENCE))
            .expect("a valid time");
        let token = match self.token.as_str() {
            "" => String::new(),
            token => format!("Authorization: {token}\r\n"),
        };
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Type: {content_type}\r\n{token}\
             Content-Length: {}\r\n\r\n{body}",
            self.http,
            body.len()
        );
        socket
            .write_all(request.as_bytes())
            .expect("the node reads");
        let mut bytes = Vec::new();
        socket.read_to_end(&mut bytes).expect("the node answers");
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let (head, body) = text.split_once("\r\n\r\n").expect("a head");
        let status = head.split(' ').nth(1).and_then(|s| s.parse().ok());
        (status.expect("a status"), body.to_owned())
    }

    /// Processor time by the scheduler's own accounting (`/proc/PID/task/TID/schedstat`, nanoseconds).
    pub fn usage(&self) -> Usage {
        let mut ns = 0;
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.child.id()));
        for task in tasks.expect("the node runs").flatten() {
            let stat = std::fs::read_to_string(task.path().join("schedstat"));
            // A thread may end between the listing and the reading.
            let used = stat
                .ok()
                .and_then(|s| s.split(' ').next()?.parse::<u64>().ok());
            ns += used.unwrap_or(0);
        }
        assert_ne!(ns, 0, "this kernel has no schedstat");
        Usage {
            at: Instant::now(),
            cpu: Duration::from_nanos(ns),
        }
    }

    /// Resident bytes.
    pub fn memory(&self) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()));
        let status = status.expect("the node runs");
        let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"));
        let kib = line.and_then(|l| l.split_whitespace().next()?.parse::<f64>().ok());
        kib.expect("Linux has VmRSS") * 1024.0
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // It may have ended by itself; either way nothing is left running.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}
