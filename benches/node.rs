//! The whole node under load: the real binary as a process of its own, devices and viewers in this one, all on loopback
//! and on the same cores. Prints a table as text and then one JSON object.
//!
//! ```text
//! cargo bench --bench node               the full table, about four minutes; run nothing else meanwhile
//! cargo bench --bench node -- --quick    a few streams and viewers for two seconds each: that it works, not how well
//! cargo bench --bench node -- flv        only the rows whose part is named: ingest, flv, merged, whep, first,
//!                                        tls, crowd, slow; and, only when named, scale or scale-ingest, scale-flv, scale-whep,
//!                                        and floors, the bare loops without a node
//! ```
//!
//! Figures are processor time, user and system, by the scheduler's accounting (`schedstat`) of all threads of the node
//! over a window, so they hold when others use the machine too, though a busy cache and short batches make them worse.
//! The stream is that of `node/clip.rs`: 2.0 Mbit/s, about 216 packets a second, G.711A beside H.264.
//!
//! | part | row | what is counted | floor, and how it is made |
//! |---|---|---|---|
//! | ingest | RTP/PS over UDP, N streams | CPU of the node / (N x seconds) | one thread that takes the same senders' packets by `recvmmsg` and copies each once: as they come, and every 5 ms (with few wake-ups this is the lower one; a node may gather packets too) |
//! | ingest | memory of a stream | growth of the resident set / N, after every ring is full | one group of pictures (a ring holds half of one in the mean) |
//! | flv | HTTP-FLV, one stream to M players | CPU / (M x seconds), the one ingest included | one thread that writes the same bytes to as many sockets, 50 and 25 times a second |
//! | flv | memory of a player | growth of the resident set / M | |
//! | merged | the same with `flv.merge_ms` = 350 | | the same bytes in 1000 / 350 writes a second |
//! | whep | WHEP, one stream to M players | CPU / (M x seconds) | one thread that seals as many packets of the same size by AES-128-GCM and sends a picture's worth by `UDP_SEGMENT` |
//! | whep | memory of a player | growth of the resident set / M | |
//! | first | first RTP packet to first key frame tag | time at an FLV player that waited before the stream began, median | the sender's own time from the first to the last packet of that picture (20 ms of pacing) |
//! | crowd | FLV and WHEP players of one stream, other streams beside | what the slowest player lacks of the mean rate | |
//! | tls | HTTPS-FLV by rustls, one stream to M players | CPU / (M x seconds) | one thread that seals the same bytes by AES-256-GCM and writes them 25 times a second; and the node's own cost without TLS |
//! | slow | a viewer that reads nothing, one at half the rate, and one over WebRTC that loses a twentieth | p99 added latency of those beside them | the same without the slow ones |
//! | scale | more and more streams or players | cost of each size; the largest with no loss and p99 added latency under 50 ms | |
//!
//! Below the table stand the facts that make a figure credible: packets lost, the rate that arrived, the slowest viewer as
//! a part of the mean. A figure with losses is a figure of less work.

#[path = "node/clip.rs"]
mod clip;
#[path = "node/crowd.rs"]
mod crowd;
#[path = "node/datagrams.rs"]
mod datagrams;
#[path = "node/floor.rs"]
mod floor;
#[path = "node/players.rs"]
mod players;
#[path = "node/probe.rs"]
mod probe;
#[path = "node/process.rs"]
mod process;
#[path = "node/source.rs"]
mod source;
#[path = "node/sys.rs"]
mod sys;
#[path = "node/table.rs"]
mod table;
#[path = "node/tls.rs"]
mod tls;
#[path = "node/whep.rs"]
mod whep;

use std::sync::Arc;
use std::time::{Duration, Instant};

use datagrams::{Count, Receivers};
use players::Players;
use process::{Node, PATIENCE};
use source::{GROUP_SECONDS, Script, Senders, Source};
use table::Row;
use whep::Joiner;

const CPU_PER_STREAM: &str = "CPU ms per stream-second";
const CPU_PER_VIEWER: &str = "CPU ms per viewer-second";
const MIB: f64 = 1024.0 * 1024.0;
const KIB: f64 = 1024.0;
const MERGE_MS: f64 = 350.0;
const STREAM: &str = "bench";

/// A number of streams or viewers, and the most it may cost.
type Size = (usize, Option<f64>);

/// How much is done.
struct Plan {
    quick: bool,
    window: Duration,
    /// Between the start of a load and the window: every phase has begun, every ring is full.
    settle: Duration,
    floor_window: Duration,
    ingest: Vec<Size>,
    flv: Vec<Size>,
    merged: Vec<Size>,
    whep: Vec<Size>,
    first_rounds: usize,
    tls: Vec<usize>,
    /// FLV players, WHEP players, and streams beside theirs.
    crowd: (usize, usize, usize),
    slow_window: Duration,
    scale_ingest: Vec<usize>,
    scale_flv: Vec<usize>,
    scale_whep: Vec<usize>,
}

impl Plan {
    fn full() -> Plan {
        Plan {
            quick: false,
            window: Duration::from_secs(10),
            settle: Duration::from_secs(2 * GROUP_SECONDS + 1),
            floor_window: Duration::from_secs(4),
            ingest: vec![(100, Some(0.9)), (200, Some(0.7)), (400, Some(0.6))],
            flv: vec![(500, Some(0.25)), (1000, Some(0.22))],
            merged: vec![(500, Some(0.10)), (1000, Some(0.09))],
            whep: vec![(100, Some(0.6)), (200, Some(0.6))],
            first_rounds: 9,
            tls: vec![100, 500],
            crowd: (1000, 200, 50),
            slow_window: Duration::from_secs(40),
            scale_ingest: vec![50, 100, 200, 400, 600, 800, 1000],
            scale_flv: vec![50, 100, 250, 500, 1000, 2000, 3000, 4000],
            scale_whep: vec![50, 100, 200, 400, 600, 800],
        }
    }

    fn quick() -> Plan {
        Plan {
            quick: true,
            window: Duration::from_secs(2),
            settle: Duration::from_millis(GROUP_SECONDS * 1000 + 500),
            floor_window: Duration::from_secs(1),
            ingest: vec![(8, None)],
            flv: vec![(16, None)],
            merged: vec![(16, None)],
            whep: vec![(16, None)],
            first_rounds: 1,
            tls: vec![16],
            crowd: (16, 4, 4),
            slow_window: Duration::from_secs(2),
            scale_ingest: vec![4, 8],
            scale_flv: vec![4, 8],
            scale_whep: vec![2, 4],
        }
    }

    /// A promise that holds for the full table only.
    fn promise(&self, most: f64) -> Option<f64> {
        (!self.quick).then_some(most)
    }
}

fn main() {
    // `cargo test` runs benches without `--bench`, Criterion's way of saying that nothing need be measured.
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let has = |name: &str| arguments.iter().any(|a| a == name);
    let plan = if has("--bench") && !has("--quick") && !has("--test") {
        Plan::full()
    } else {
        Plan::quick()
    };
    let parts: Vec<&String> = arguments.iter().filter(|a| !a.starts_with('-')).collect();
    let wanted = |part: &str| parts.is_empty() || parts.iter().any(|p| p.as_str() == part);
    sys::raise_open_files();
    let script = Arc::new(Script::new());
    println!(
        "the stream: {:.2} Mbit/s of program stream, {:.0} RTP packets/s, groups of {:.0} kB",
        script.bits_per_second() / 1e6,
        script.packets_per_second(),
        script.group_bytes() / 1e3
    );
    if cfg!(debug_assertions) {
        println!("this build is not optimised: its figures mean nothing");
    }
    let mut rows = Vec::new();
    if wanted("ingest") {
        ingest(&plan, &script, &mut rows);
    }
    if wanted("flv") {
        flv(&plan, &script, None, &mut rows);
    }
    if wanted("merged") {
        flv(&plan, &script, Some(MERGE_MS), &mut rows);
    }
    if wanted("whep") {
        webrtc(&plan, &script, &mut rows);
    }
    if wanted("first") {
        first_picture(&plan, &script, &mut rows);
    }
    if wanted("tls") {
        tls::tls(&plan, &script, &mut rows);
    }
    if wanted("crowd") {
        crowd::crowd(&plan, &script, &mut rows);
    }
    if wanted("slow") {
        crowd::slow(&plan, &script, &mut rows);
    }
    if parts.iter().any(|p| *p == "floors") {
        floors(&plan, &script, &mut rows);
    }
    let scales = [
        ("scale-ingest", crowd::scale_ingest as fn(&Plan, &_, &mut _)),
        ("scale-flv", crowd::scale_flv),
        ("scale-whep", crowd::scale_whep),
    ];
    for (part, measure) in scales {
        // Long, and a search rather than a figure to hold: only when asked for.
        if parts.iter().any(|p| *p == part || *p == "scale") {
            measure(&plan, &script, &mut rows);
        }
    }
    println!("\n{}", table::text(&rows));
    println!("{}", table::json(&rows, plan.quick));
}

/// Streams `from` to `to` opened at a node.
fn open(node: &Node, from: usize, to: usize) -> Vec<Source> {
    let source = |n: usize| {
        let ssrc = 100_000_001 + n as u32;
        Source {
            to: node.open_ingest(&format!("{STREAM}{n}"), ssrc),
            ssrc,
            phase: source::phase(n),
        }
    };
    (from..to).map(source).collect()
}

/// More and more streams into one node, each size measured for a window.
fn ingest(plan: &Plan, script: &Arc<Script>, rows: &mut Vec<Row>) {
    const GATHER: Duration = Duration::from_millis(5);
    let settle = Duration::from_secs(GROUP_SECONDS);
    let floor = |n, gather| floor::receive(script, n, gather, settle, plan.floor_window);
    let floors = plan.ingest.iter().map(|(n, _)| {
        vec![
            ("recvmmsg and copy".to_owned(), floor(*n, None)),
            ("every 5 ms".to_owned(), floor(*n, Some(GATHER))),
        ]
    });
    let floors: Vec<Vec<(String, f64)>> = floors.collect();
    let node = Node::start(&[]);
    let memory_before = node.memory();
    let mut senders: Vec<Senders> = Vec::new();
    let mut opened = 0;
    for ((n, must_reach), floors) in plan.ingest.iter().zip(floors) {
        let sources = open(&node, opened, *n);
        opened = *n;
        senders.push(Senders::start(script, &sources));
        std::thread::sleep(plan.settle);
        let sent_before: u64 = senders.iter().map(Senders::packets).sum();
        let before = node.usage();
        std::thread::sleep(plan.window);
        let after = node.usage();
        let sent: u64 = senders.iter().map(Senders::packets).sum::<u64>() - sent_before;
        let (cpu, wall) = before.until(&after);
        rows.push(Row {
            work: format!("ingest RTP/PS over UDP, N={n}"),
            unit: CPU_PER_STREAM,
            value: cpu * 1e3 / (*n as f64 * wall),
            floors,
            must_reach: *must_reach,
            notes: vec![
                (
                    "packets lost so far",
                    node.metric("gantry_rtp_lost_total", ""),
                ),
                (
                    "dropped by the kernel",
                    node.metric("gantry_kernel_drops_total", "rtp"),
                ),
                (
                    "not sent",
                    senders.iter().map(Senders::refused).sum::<u64>() as f64,
                ),
                ("packets/s per stream", sent as f64 / (*n as f64 * wall)),
                ("latest packet of the senders, ms", late_ms(&senders)),
            ],
        });
        progress(rows);
    }
    rows.push(Row {
        work: format!("memory of an ingested stream, N={opened}"),
        unit: "MiB",
        value: (node.memory() - memory_before) / MIB / opened as f64,
        floors: vec![(
            "one group of pictures".to_owned(),
            script.group_bytes() / MIB,
        )],
        must_reach: plan.promise(0.8),
        notes: Vec::new(),
    });
    progress(rows);
}

/// The floors alone, for figures of the node that were taken by other tools: what they cost at the rates of this stream.
fn floors(plan: &Plan, script: &Arc<Script>, rows: &mut Vec<Row>) {
    /// Writes a second: pictures and sound apart, sound with the pictures, and merged.
    const WRITES: [f64; 3] = [50.0, 25.0, 1000.0 / MERGE_MS];
    /// What of a program stream is not picture or sound is about what RTP, SRTP and its padding add for WebRTC.
    const WHEP_PACKET_BYTES: usize = 1_050;
    let settle = Duration::from_secs(1);
    let bytes_per_second = script.bits_per_second() / 8.0;
    let mut add = |work: String, unit, value| {
        rows.push(Row {
            work: format!("floor: {work}"),
            unit,
            value,
            floors: Vec::new(),
            must_reach: None,
            notes: Vec::new(),
        });
        progress(rows);
    };
    for (n, _) in &plan.ingest {
        for (gather, name) in [(None, ""), (Some(Duration::from_millis(5)), " every 5 ms")] {
            let cost = floor::receive(script, *n, gather, settle, plan.floor_window);
            add(
                format!("recvmmsg and copy{name}, N={n}"),
                CPU_PER_STREAM,
                cost,
            );
        }
    }
    for (m, _) in &plan.flv {
        for writes in WRITES {
            let cost = floor::write(*m, writes, bytes_per_second, settle, plan.floor_window);
            add(
                format!("write, {writes:.1} a second, M={m}"),
                CPU_PER_VIEWER,
                cost,
            );
        }
    }
    for (m, _) in &plan.whep {
        let packets = bytes_per_second / WHEP_PACKET_BYTES as f64;
        let cost = floor::seal(*m, packets, WHEP_PACKET_BYTES, settle, plan.floor_window);
        add(
            format!("AES-128-GCM and UDP_SEGMENT, M={m}"),
            CPU_PER_VIEWER,
            cost,
        );
    }
}

fn late_ms(senders: &[Senders]) -> f64 {
    let latest = senders.iter().map(Senders::late_max).max();
    latest.unwrap_or_default().as_secs_f64() * 1e3
}

/// A node with one running stream that can be watched.
fn node_with_stream(script: &Arc<Script>, variables: &[(&str, &str)]) -> (Node, Senders) {
    let node = Node::start(variables);
    let to = node.open_ingest(STREAM, 1);
    let source = Source {
        to,
        ssrc: 1,
        phase: Duration::ZERO,
    };
    let senders = Senders::start(script, &[source]);
    // Its ring is full and all that a first viewer makes the node allocate is there: it counts for no viewer.
    players::first_key_frame(node.http, &format!("/live/{STREAM}.flv"));
    std::thread::sleep(Duration::from_secs(GROUP_SECONDS));
    (node, senders)
}

/// One stream to more and more FLV players.
fn flv(plan: &Plan, script: &Arc<Script>, merge_ms: Option<f64>, rows: &mut Vec<Row>) {
    let (sizes, name) = match merge_ms {
        None => (&plan.flv, "HTTP-FLV, 1 stream to players".to_owned()),
        Some(ms) => (&plan.merged, format!("HTTP-FLV merged over {ms} ms")),
    };
    let merge = merge_ms.map(|ms| ms.to_string());
    let variables = merge.as_deref().map(|ms| ("GANTRY_FLV_MERGE_MS", ms));
    let mut measured = Vec::new();
    let (node, senders) = node_with_stream(script, variables.as_slice());
    let memory_before = node.memory();
    let most = sizes.iter().map(|(m, _)| *m).max().unwrap_or(0);
    let mut players = Players::new(most);
    for (m, must_reach) in sizes {
        while players.bytes().len() < *m {
            players.open(node.http, &format!("/live/{STREAM}.flv"));
        }
        std::thread::sleep(plan.settle);
        let bytes_before = players.bytes();
        let before = node.usage();
        std::thread::sleep(plan.window);
        let after = node.usage();
        let bytes = players.bytes();
        let (cpu, wall) = before.until(&after);
        let got: Vec<f64> = bytes
            .iter()
            .zip(bytes_before)
            .map(|(b, a)| (b - a) as f64)
            .collect();
        let (mean, slowest) = mean_and_slowest(&got);
        let skipped = node.metric("gantry_viewers_skipped_total", "");
        let notes = vec![
            ("Mbit/s per player", mean * 8e-6 / wall),
            ("slowest player, % of the mean", slowest),
            ("closed", players.closed() as f64),
            ("skipped forward", skipped),
        ];
        measured.push((
            *m,
            *must_reach,
            cpu * 1e3 / (*m as f64 * wall),
            mean / wall,
            notes,
        ));
    }
    let memory = (node.memory() - memory_before) / KIB / most as f64;
    drop((players, senders, node));
    for (m, must_reach, value, bytes_per_second, notes) in measured {
        let writes = match merge_ms {
            None => vec![50.0, 25.0],
            Some(ms) => vec![1000.0 / ms],
        };
        let floors = writes.into_iter().map(|writes| {
            let cost = floor::write(
                m,
                writes,
                bytes_per_second,
                Duration::from_secs(1),
                plan.floor_window,
            );
            (format!("{writes:.3} writes/s").replace(".000", ""), cost)
        });
        rows.push(Row {
            work: format!("{name}, M={m}"),
            unit: CPU_PER_VIEWER,
            value,
            floors: floors.collect(),
            must_reach,
            notes,
        });
        progress(rows);
    }
    rows.push(Row {
        work: format!("{name}: memory of a player, M={most}"),
        unit: "KiB",
        value: memory,
        floors: Vec::new(),
        must_reach: plan.promise(4.0),
        notes: Vec::new(),
    });
    progress(rows);
}

/// One stream to more and more WHEP players.
fn webrtc(plan: &Plan, script: &Arc<Script>, rows: &mut Vec<Row>) {
    let (node, senders) = node_with_stream(script, &[]);
    let joiner = Joiner::new();
    let memory_before = node.memory();
    let most = plan.whep.iter().map(|(m, _)| *m).max().unwrap_or(0);
    let mut receivers = Receivers::new(most);
    let (mut joined, mut resent) = (0, 0);
    let mut measured = Vec::new();
    for (m, must_reach) in &plan.whep {
        while joined < *m {
            resent += joiner
                .join(&node, STREAM, &mut receivers)
                .unwrap_or_else(|e| panic!("player {joined} could not join: {e}"));
            joined += 1;
        }
        std::thread::sleep(plan.settle);
        let counts_before = receivers.counts();
        let before = node.usage();
        std::thread::sleep(plan.window);
        let after = node.usage();
        let counts = receivers.counts();
        let (cpu, wall) = before.until(&after);
        let sum = |of: fn(&Count) -> u64| {
            let sum = |counts: &[Count]| counts.iter().map(of).sum::<u64>();
            (sum(&counts) - sum(&counts_before)) as f64
        };
        let (packets, bytes, lost) = (sum(|c| c.packets), sum(|c| c.bytes), sum(|c| c.lost));
        let got: Vec<f64> = counts
            .iter()
            .zip(&counts_before)
            .map(|(b, a)| (b.packets - a.packets) as f64)
            .collect();
        let notes = vec![
            ("packets/s per player", packets / (*m as f64 * wall)),
            ("Mbit/s per player", bytes * 8e-6 / (*m as f64 * wall)),
            ("slowest player, % of the mean", mean_and_slowest(&got).1),
            ("packets lost", lost),
            ("flights sent again while joining", resent as f64),
        ];
        let rate = packets / (*m as f64 * wall);
        measured.push((
            *m,
            *must_reach,
            cpu * 1e3 / (*m as f64 * wall),
            rate,
            bytes / packets,
            notes,
        ));
    }
    let memory = (node.memory() - memory_before) / KIB / most as f64;
    drop((receivers, senders, node));
    for (m, must_reach, value, rate, size, notes) in measured {
        let settle = Duration::from_secs(1);
        let cost = floor::seal(m, rate, size as usize, settle, plan.floor_window);
        rows.push(Row {
            work: format!("WHEP, 1 stream to players, M={m}"),
            unit: CPU_PER_VIEWER,
            value,
            floors: vec![("AES-128-GCM and UDP_SEGMENT".to_owned(), cost)],
            must_reach,
            notes,
        });
        progress(rows);
    }
    rows.push(Row {
        work: format!("WHEP: memory of a player, M={most}"),
        unit: "KiB",
        value: memory,
        floors: Vec::new(),
        must_reach: plan.promise(40.0),
        notes: Vec::new(),
    });
    progress(rows);
}

/// How long a player that waits for a stream waits once the stream begins.
fn first_picture(plan: &Plan, script: &Arc<Script>, rows: &mut Vec<Row>) {
    /// Until the request of the player has surely been read: it must wait at the node, not in a buffer.
    const PLAYER_WAITS: Duration = Duration::from_millis(200);
    let node = Node::start(&[]);
    let mut waited = Vec::new();
    let mut paced = Vec::new();
    for n in 0..plan.first_rounds {
        let stream = format!("{STREAM}{n}");
        let ssrc = 1 + n as u32;
        let to = node.open_ingest(&stream, ssrc);
        let http = node.http;
        let path = format!("/live/{stream}.flv");
        let player = std::thread::spawn(move || players::first_key_frame(http, &path));
        std::thread::sleep(PLAYER_WAITS);
        let source = Source {
            to,
            ssrc,
            phase: Duration::ZERO,
        };
        let senders = Senders::start(script, &[source]);
        let seen = player.join().expect("the player got its key frame");
        let (first, last) = wait_for(|| senders.first_picture());
        waited.push((seen - first).as_secs_f64() * 1e3);
        paced.push((last - first).as_secs_f64() * 1e3);
        drop(senders);
        node.close_ingest(&stream);
    }
    waited.sort_by(f64::total_cmp);
    paced.sort_by(f64::total_cmp);
    rows.push(Row {
        work: "first RTP packet to first key frame tag, G.711A beside it".to_owned(),
        unit: "ms",
        value: waited[waited.len() / 2],
        floors: vec![("sending of that picture".to_owned(), paced[paced.len() / 2])],
        must_reach: plan.promise(50.0),
        notes: vec![
            ("shortest", waited[0]),
            ("longest", waited[waited.len() - 1]),
            ("rounds", waited.len() as f64),
        ],
    });
    progress(rows);
}

fn wait_for<T>(mut ask: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(began.elapsed() < PATIENCE, "waited in vain");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// The mean, and the smallest as a percentage of it.
fn mean_and_slowest(got: &[f64]) -> (f64, f64) {
    let mean = got.iter().sum::<f64>() / got.len() as f64;
    let least = got.iter().copied().fold(f64::INFINITY, f64::min);
    (mean, 100.0 * least / mean)
}

/// Says that a row is done: the full table takes minutes.
fn progress(rows: &[Row]) {
    if let Some(row) = rows.last() {
        eprintln!("{}: {:.3} {}", row.work, row.value, row.unit);
    }
}
