//! What many do to each other: a crowd on one stream beside other streams, viewers that do not keep up, and how many of a
//! kind two cores carry.

use std::io::Read;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::datagrams::Receivers;
use crate::players::Players;
use crate::probe::Probes;
use crate::process::Node;
use crate::source::{Script, Senders};
use crate::table::Row;
use crate::whep::{Joiner, Lossy};
use crate::{CPU_PER_STREAM, CPU_PER_VIEWER, KIB, Plan, STREAM};
use crate::{late_ms, mean_and_slowest, node_with_stream, open, progress};

/// Least part of the mean rate that the slowest viewer of a crowd must get, percent.
const SLOWEST_PERCENT_MIN: f64 = 99.0;
/// Added latency with which a size still counts as carried.
const P99_MS_MAX: f64 = 50.0;
/// Senders that are as late as this have no processor left: the machine is full.
const LATE_MS_MAX: f64 = 100.0;
const PROBES: usize = 4;

fn live_path() -> String {
    format!("/live/{STREAM}.flv")
}

/// FLV and WHEP players of one stream at once, with other streams coming in beside it.
pub fn crowd(plan: &Plan, script: &Arc<Script>, rows: &mut Vec<Row>) {
    let (flv, whep, beside) = plan.crowd;
    let (node, _senders) = node_with_stream(script, &[]);
    let others = Senders::start(script, &open(&node, 0, beside));
    let mut players = Players::new(flv);
    (0..flv).for_each(|_| players.open(node.http, &live_path()));
    let joiner = Joiner::new();
    let mut receivers = Receivers::new(whep);
    for n in 0..whep {
        joiner
            .join(&node, STREAM, &mut receivers)
            .unwrap_or_else(|e| panic!("player {n} could not join: {e}"));
    }
    std::thread::sleep(plan.settle);
    let (bytes_before, counts_before) = (players.bytes(), receivers.counts());
    let before = node.usage();
    std::thread::sleep(2 * plan.window);
    let (bytes, counts) = (players.bytes(), receivers.counts());
    let (cpu, wall) = before.until(&node.usage());
    let of_flv: Vec<f64> = bytes
        .iter()
        .zip(bytes_before)
        .map(|(b, a)| (b - a) as f64)
        .collect();
    let of_whep: Vec<f64> = counts
        .iter()
        .zip(&counts_before)
        .map(|(b, a)| (b.packets - a.packets) as f64)
        .collect();
    let (_, slowest_flv) = mean_and_slowest(&of_flv);
    let (_, slowest_whep) = mean_and_slowest(&of_whep);
    let starved = 100.0 - slowest_flv.min(slowest_whep);
    rows.push(Row {
        work: format!(
            "{flv} FLV and {whep} WHEP players of one stream, {beside} streams beside: what the slowest lacks of the mean"
        ),
        unit: "%",
        value: starved.max(0.0),
        floors: Vec::new(),
        must_reach: plan.promise(100.0 - SLOWEST_PERCENT_MIN),
        notes: vec![
            ("slowest FLV player, % of the mean", slowest_flv),
            ("slowest WHEP player, % of the mean", slowest_whep),
            ("cores used by the node", cpu / wall),
            ("closed", players.closed() as f64),
            (
                "skipped forward",
                node.metric("gantry_viewers_skipped_total", ""),
            ),
            (
                "packets lost on the way in",
                node.metric("gantry_rtp_lost_total", ""),
            ),
            ("latest packet of the senders, ms", late_ms(&[others])),
        ],
    });
    progress(rows);
}

/// A player that reads `bytes_per_second`, or nothing at all.
struct Slow {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Slow {
    const TURN: Duration = Duration::from_millis(50);

    fn open(http: SocketAddr, bytes_per_second: usize) -> Slow {
        let (mut socket, _): (TcpStream, _) = crate::players::get(http, &live_path());
        // What the kernel buffers for it is small, so that its slowness shows at the node soon.
        let _ = socket2::SockRef::from(&socket).set_recv_buffer_size(64 << 10);
        let stop = Arc::new(AtomicBool::new(false));
        let seen = stop.clone();
        let mut buffer = vec![0; bytes_per_second * Self::TURN.as_millis() as usize / 1000];
        let thread = std::thread::spawn(move || {
            while !seen.load(Ordering::Relaxed) {
                std::thread::sleep(Self::TURN);
                if !buffer.is_empty() && matches!(socket.read(&mut buffer), Ok(0) | Err(_)) {
                    return;
                }
            }
        });
        Slow {
            stop,
            thread: Some(thread),
        }
    }
}

impl Drop for Slow {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has said so.
            let _ = thread.join();
        }
    }
}

/// What a viewer that reads nothing, one at half the rate and one that loses a twentieth do to those beside them.
pub fn slow(plan: &Plan, script: &Arc<Script>, rows: &mut Vec<Row>) {
    let (node, _senders) = node_with_stream(script, &[]);
    let probes = Probes::open(node.http, &vec![live_path(); PROBES]);
    std::thread::sleep(plan.settle);
    let window = plan.slow_window;
    probes.begin();
    std::thread::sleep(window);
    let (alone, _) = probes.p99();
    let memory_before = node.memory();
    let half = script.bits_per_second() as usize / 8 / 2;
    let slow = [Slow::open(node.http, 0), Slow::open(node.http, half)];
    let lossy = Lossy::open(&Joiner::new(), &node, STREAM);
    probes.begin();
    std::thread::sleep(window);
    let (beside, pictures) = probes.p99();
    let memory = node.memory() - memory_before;
    rows.push(Row {
        work: "p99 added latency beside viewers that read nothing, read at half the rate, and lose 5 % over WebRTC"
            .to_owned(),
        unit: "ms",
        value: beside,
        floors: vec![("the same viewers without them".to_owned(), alone)],
        must_reach: plan.promise(P99_MS_MAX),
        notes: vec![
            ("pictures timed", pictures as f64),
            (
                "skipped forward",
                node.metric("gantry_viewers_skipped_total", ""),
            ),
            (
                "closed as too slow",
                node.metric("gantry_viewers_too_slow_total", ""),
            ),
            ("packets that the lossy one got", lossy.counts().0 as f64),
            ("packets that it lost", lossy.counts().1 as f64),
            (
                "packets sent again",
                node.metric("gantry_webrtc_resent_total", ""),
            ),
            ("growth of the node, KiB", memory / KIB),
        ],
    });
    drop((slow, lossy));
    progress(rows);
}

/// One size of a search.
struct Carried {
    cost: f64,
    p99: f64,
    lost: f64,
    late: f64,
}

impl Carried {
    fn is_well(&self) -> bool {
        self.lost == 0.0 && self.p99 < P99_MS_MAX
    }
}

/// Adds a row for each size until one is not carried any more.
fn climb(
    rows: &mut Vec<Row>,
    what: &str,
    unit: &'static str,
    sizes: &[usize],
    mut measure: impl FnMut(usize) -> Carried,
) {
    let mut largest = 0;
    for n in sizes {
        let carried = measure(*n);
        let well = carried.is_well();
        rows.push(Row {
            work: format!("{what}, {n}"),
            unit,
            value: carried.cost,
            floors: Vec::new(),
            must_reach: None,
            notes: vec![
                ("p99 added latency, ms", carried.p99),
                ("lost or skipped", carried.lost),
                ("latest packet of the senders, ms", carried.late),
            ],
        });
        progress(rows);
        if !well || carried.late > LATE_MS_MAX {
            break;
        }
        largest = *n;
    }
    rows.push(Row {
        work: format!("{what}: most without loss and with p99 under {P99_MS_MAX} ms"),
        unit: "of them",
        value: largest as f64,
        floors: Vec::new(),
        must_reach: None,
        notes: Vec::new(),
    });
    progress(rows);
}

/// How many streams come in.
pub fn scale_ingest(plan: &Plan, script: &Arc<Script>, rows: &mut Vec<Row>) {
    let node = Node::start(&[]);
    let mut senders: Vec<Senders> = Vec::new();
    let mut probes = None;
    let mut opened = 0;
    let what = "scale: streams in";
    climb(rows, what, CPU_PER_STREAM, &plan.scale_ingest, |n| {
        senders.push(Senders::start(script, &open(&node, opened, n)));
        opened = n;
        std::thread::sleep(plan.settle);
        let probes = probes.get_or_insert_with(|| {
            let paths: Vec<String> = (0..PROBES)
                .map(|i| format!("/live/{STREAM}{i}.flv"))
                .collect();
            Probes::open(node.http, &paths)
        });
        let lost = |node: &Node| {
            node.metric("gantry_rtp_lost_total", "")
                + node.metric("gantry_kernel_drops_total", "rtp")
        };
        let lost_before = lost(&node);
        probes.begin();
        let before = node.usage();
        std::thread::sleep(plan.window / 2);
        let (cpu, wall) = before.until(&node.usage());
        Carried {
            cost: cpu * 1e3 / (n as f64 * wall),
            p99: probes.p99().0,
            lost: lost(&node) - lost_before,
            late: late_ms(&senders),
        }
    });
}

/// How many FLV players watch one stream.
pub fn scale_flv(plan: &Plan, script: &Arc<Script>, rows: &mut Vec<Row>) {
    let (node, senders) = node_with_stream(script, &[]);
    let senders = [senders];
    let probes = Probes::open(node.http, &vec![live_path(); PROBES]);
    let mut players = Players::new(plan.scale_flv.iter().copied().max().unwrap_or(0));
    let what = "scale: FLV players of one stream";
    climb(rows, what, CPU_PER_VIEWER, &plan.scale_flv, |m| {
        while players.bytes().len() < m {
            players.open(node.http, &live_path());
        }
        std::thread::sleep(plan.settle / 2);
        let skipped = node.metric("gantry_viewers_skipped_total", "");
        probes.begin();
        let before = node.usage();
        std::thread::sleep(plan.window / 2);
        let (cpu, wall) = before.until(&node.usage());
        Carried {
            cost: cpu * 1e3 / (m as f64 * wall),
            p99: probes.p99().0,
            lost: node.metric("gantry_viewers_skipped_total", "") - skipped
                + players.closed() as f64,
            late: late_ms(&senders),
        }
    });
}

/// How many WHEP players watch one stream. Latency is that of FLV players beside them on the same threads.
pub fn scale_whep(plan: &Plan, script: &Arc<Script>, rows: &mut Vec<Row>) {
    let (node, senders) = node_with_stream(script, &[]);
    let senders = [senders];
    let probes = Probes::open(node.http, &vec![live_path(); PROBES]);
    let joiner = Joiner::new();
    let mut receivers = Receivers::new(plan.scale_whep.iter().copied().max().unwrap_or(0));
    let mut joined = 0;
    let what = "scale: WHEP players of one stream";
    climb(rows, what, CPU_PER_VIEWER, &plan.scale_whep, |m| {
        while joined < m {
            joiner
                .join(&node, STREAM, &mut receivers)
                .unwrap_or_else(|e| panic!("player {joined} could not join: {e}"));
            joined += 1;
        }
        std::thread::sleep(plan.settle / 2);
        let lost = |r: &Receivers| r.counts().iter().map(|c| c.lost).sum::<u64>();
        let lost_before = lost(&receivers);
        probes.begin();
        let before = node.usage();
        std::thread::sleep(plan.window / 2);
        let (cpu, wall) = before.until(&node.usage());
        Carried {
            cost: cpu * 1e3 / (m as f64 * wall),
            p99: probes.p99().0,
            lost: (lost(&receivers) - lost_before) as f64,
            late: late_ms(&senders),
        }
    });
}
