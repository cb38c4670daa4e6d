//! FLV players over HTTPS beside those without: a real handshake and request, after which the connection is handed over for
//! counting. What comes is not decrypted: a player that decrypts would be measured as a slow node.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use gantry::sim::TlsFiles;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{CipherSuite, ClientConfig, ClientConnection, Stream};

use crate::players::Players;
use crate::process::PATIENCE;
use crate::source::Script;
use crate::table::Row;
use crate::{CPU_PER_VIEWER, KIB, Plan, STREAM};
use crate::{floor, mean_and_slowest, node_with_stream, progress};

/// What the floor seals with.
const SUITE: CipherSuite = CipherSuite::TLS13_AES_256_GCM_SHA384;
/// Writes a second of the floors: sound goes with the pictures.
const WRITES: f64 = 25.0;

/// A connection over which a path is being answered with 200.
fn open(config: &Arc<ClientConfig>, https: SocketAddr, path: &str) -> TcpStream {
    let mut socket = TcpStream::connect(https).expect("the node listens");
    socket
        .set_read_timeout(Some(PATIENCE))
        .expect("a valid time");
    let name = ServerName::from(https.ip());
    let mut tls = ClientConnection::new(config.clone(), name).expect("a configuration");
    let mut stream = Stream::new(&mut tls, &mut socket);
    let request = format!("GET {path} HTTP/1.1\r\nHost: {https}\r\n\r\n");
    stream
        .write_all(request.as_bytes())
        .expect("the node reads");
    let mut head = [0; 12];
    stream.read_exact(&mut head).expect("the node answers");
    assert_eq!(&head, b"HTTP/1.1 200");
    let suite = tls.negotiated_cipher_suite().map(|s| s.suite());
    assert_eq!(suite, Some(SUITE), "the floor is of another one");
    socket
}

/// Cost and memory of a player, bytes that it got a second, and the slowest as a percentage of the mean.
struct Measured {
    cost: f64,
    memory: f64,
    rate: f64,
    slowest: f64,
}

fn measure(plan: &Plan, script: &Arc<Script>, m: usize, tls: bool) -> Measured {
    let listen = [("GANTRY_HTTP_TLS_LISTEN", "127.0.0.1:0")];
    let (node, senders) = node_with_stream(script, if tls { &listen } else { &[] });
    let config = TlsFiles::default().config().expect("nothing is read");
    let path = format!("/live/{STREAM}.flv");
    let memory_before = node.memory();
    let mut players = Players::new(m);
    for _ in 0..m {
        match node.https.filter(|_| tls) {
            Some(https) => players.adopt(open(&config, https, &path)),
            None => players.open(node.http, &path),
        }
    }
    std::thread::sleep(plan.settle);
    let bytes_before = players.bytes();
    let before = node.usage();
    std::thread::sleep(plan.window);
    let (cpu, wall) = before.until(&node.usage());
    let bytes = players.bytes().into_iter().zip(bytes_before);
    let got: Vec<f64> = bytes.map(|(b, a)| (b - a) as f64).collect();
    let (mean, slowest) = mean_and_slowest(&got);
    let memory = (node.memory() - memory_before) / KIB / m as f64;
    drop((players, senders));
    Measured {
        cost: cpu * 1e3 / (m as f64 * wall),
        memory,
        rate: mean / wall,
        slowest,
    }
}

/// One stream to players over TLS, beside as many without.
pub fn tls(plan: &Plan, script: &Arc<Script>, rows: &mut Vec<Row>) {
    for m in &plan.tls {
        let plain = measure(plan, script, *m, false);
        let tls = measure(plan, script, *m, true);
        let floor = floor::seal_and_write(
            *m,
            WRITES,
            plain.rate,
            Duration::from_secs(1),
            plan.floor_window,
        );
        rows.push(Row {
            work: format!("HTTPS-FLV by rustls, 1 stream to players, M={m}"),
            unit: CPU_PER_VIEWER,
            value: tls.cost,
            floors: vec![
                (format!("AES-256-GCM, {WRITES} writes/s"), floor),
                ("the node without TLS".to_owned(), plain.cost),
            ],
            must_reach: None,
            notes: vec![
                ("Mbit/s per player", tls.rate * 8e-6),
                ("slowest player, % of the mean", tls.slowest),
                ("KiB of memory a player", tls.memory),
                ("the same without TLS", plain.memory),
            ],
        });
        progress(rows);
    }
}
