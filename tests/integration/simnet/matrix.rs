//! Loss, order, transport and codec in every combination: what viewers get can always be decoded, and the picture is back
//! within one group of pictures after the trouble ends.

use std::time::{Duration, Instant};

use gantry::gb28181::MediaTransport;
use gantry::limits;
use gantry::media::frame::Codec;
use gantry::session::RequestId;

use super::clip::Clip;
use super::link::Quality;
use super::node::{RING_BYTES, Sizes, Watch};
use super::world::World;
use crate::media_allocations::bytes_held;
use crate::media_files::{Folder, has_tool};

const LOSS: [f64; 4] = [0.0, 0.01, 0.05, 0.2];
const REORDER: [f64; 3] = [0.0, 0.05, 0.3];
const TRANSPORTS: [MediaTransport; 2] = [MediaTransport::Udp, MediaTransport::TcpPassive];
const CODECS: [Codec; 2] = [Codec::H264, Codec::H265];
const GOP: Duration = Duration::from_secs(1);
/// The clean time before the trouble, the trouble, and the time after it.
const BEFORE: Duration = Duration::from_millis(600);
const TROUBLE: Duration = Duration::from_secs(3);
const AFTER: Duration = Duration::from_secs(2);
/// Transit, reordering and a new INVITE.
const SLACK: Duration = Duration::from_millis(250);

#[derive(Clone, Copy, Debug)]
struct Cell {
    loss: f64,
    reorder: f64,
    transport: MediaTransport,
    codec: Codec,
}

impl Cell {
    fn quality(&self) -> Quality {
        Quality {
            loss: self.loss,
            burst: 3.0,
            reorder: self.reorder,
            duplicate: if self.reorder > 0.0 { 0.01 } else { 0.0 },
            jitter: Duration::from_millis(5),
            ..Quality::CLEAN
        }
    }

    /// Connections are cut in every cell; what a link loses is sent again on them.
    fn is_cut(&self) -> bool {
        self.transport != MediaTransport::Udp
    }

    fn name(&self) -> String {
        format!(
            "{:?} {} loss {} % reordering {} %",
            self.transport,
            self.codec.name(),
            self.loss * 100.0,
            self.reorder * 100.0
        )
    }
}

/// A camera, somebody who watches it and comes back whenever the picture goes, and trouble on the way.
struct Run {
    world: World,
    camera: usize,
    requests: Vec<RequestId>,
    trouble_ended: Instant,
}

impl Run {
    fn new(cell: Cell, keep: bool) -> Run {
        let seed = (cell.loss * 1000.0 + cell.reorder * 100_000.0) as u64;
        let mut world = World::new(seed, cell.transport, Duration::from_secs(60), keep);
        world.held = Some(bytes_held);
        let camera = world.add_camera(&Clip::of(cell.codec), Quality::CLEAN);
        world.power_on(camera);
        world.run_for(Duration::from_secs(2));
        let request = world.watch(camera).expect("a node");
        let mut run = Run {
            trouble_ended: world.now,
            world,
            camera,
            requests: vec![request],
        };
        run.pass(BEFORE);
        run.world.set_media(cell.quality());
        let half = TROUBLE / 2;
        for _ in 0..2 {
            if cell.is_cut() {
                for conn in run.world.conns_of(camera) {
                    run.world.cut(conn);
                }
            }
            run.pass(half);
        }
        run.trouble_ended = run.world.now;
        run.world.set_media(Quality::CLEAN);
        run.pass(AFTER);
        run
    }

    fn watch(&self, request: RequestId) -> &Watch {
        let node = self.world.node.as_ref().expect("a node");
        &node.watches[&request]
    }

    /// Time passes; a viewer whose session was closed asks again, as a page does.
    fn pass(&mut self, time: Duration) {
        let step = Duration::from_millis(50);
        for _ in 0..time.as_millis() / step.as_millis() {
            self.world.run_for(step);
            let last = self.watch(*self.requests.last().expect("one"));
            if last.closed_at.is_some() || last.failed.is_some() {
                self.requests.extend(self.world.watch(self.camera));
            }
        }
    }
}

/// What nobody changed and everybody can decode: whole pictures, from a key frame on, none left out before the next one.
/// Answers when each came, and whether it follows the one before.
fn check(cell: Cell, clip: &Clip, watch: &Watch) -> Vec<(Instant, bool)> {
    let mut before: Option<usize> = None;
    let mut seen = Vec::new();
    for picture in &watch.pictures {
        let place = clip.place(&picture.frame.payload);
        let place = place.unwrap_or_else(|| panic!("{}: a picture was changed", cell.name()));
        assert!(!picture.frame.damaged, "{}", cell.name());
        let follows = before.is_some_and(|b| (b + 1) % clip.pictures.len() == place);
        assert!(
            follows || clip.pictures[place].key,
            "{}: picture {place} after {before:?} cannot be decoded",
            cell.name()
        );
        before = Some(place);
        seen.push((picture.at, follows));
    }
    seen
}

fn decode(cell: Cell, folder: &Folder, watch: &Watch) {
    let (suffix, bytes) = match cell.codec {
        // FFmpeg before 6.1 knows no H.265 in FLV; the pictures are the same.
        Codec::H265 => ("h265", &watch.elementary),
        _ => ("flv", &watch.flv),
    };
    let file = folder.write(&format!("cell.{suffix}"), bytes);
    let output = std::process::Command::new("ffmpeg")
        .args(["-v", "warning", "-threads", "1", "-i"])
        .arg(file)
        .args(["-f", "null", "-"])
        .output()
        .expect("ffmpeg");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {said}", cell.name());
    assert_eq!(said.trim(), "", "{}", cell.name());
}

fn judge(cell: Cell, run: &Run, folder: Option<&Folder>) -> usize {
    let clip = &run.world.cameras[run.camera].clip;
    let mut came: Vec<(Instant, bool)> = Vec::new();
    let mut pictures = 0;
    for (n, request) in run.requests.iter().enumerate() {
        let watch = run.watch(*request);
        let seen = check(cell, clip, watch);
        if n == 0 && cell.loss == 0.0 && !cell.is_cut() {
            let broken = seen.iter().skip(1).filter(|(_, follows)| !follows).count();
            assert_eq!(broken, 0, "{}: nothing was lost", cell.name());
            assert_eq!(run.requests.len(), 1, "{}: nothing was cut", cell.name());
        }
        pictures += seen.len();
        came.extend(seen);
        if let (Some(folder), true) = (folder, watch.pictures.len() > 1) {
            decode(cell, folder, watch);
        }
    }
    let after: Vec<_> = came
        .iter()
        .filter(|(at, _)| *at > run.trouble_ended + GOP + SLACK)
        .collect();
    let wanted = (AFTER - GOP - SLACK).as_millis() as usize / 40;
    assert!(
        after.len() + 2 >= wanted && after.iter().all(|(_, follows)| *follows),
        "{}: {} of {wanted} pictures after the trouble",
        cell.name(),
        after.len()
    );
    pictures
}

fn cells() -> Vec<Cell> {
    let mut cells = Vec::new();
    for codec in CODECS {
        for transport in TRANSPORTS {
            for loss in LOSS {
                for reorder in REORDER {
                    cells.push(Cell {
                        loss,
                        reorder,
                        transport,
                        codec,
                    });
                }
            }
        }
    }
    cells
}

#[test]
fn what_viewers_get_can_be_decoded_whatever_the_network_does() {
    let folder = has_tool("ffmpeg").then(|| Folder::new("matrix"));
    if folder.is_none() {
        println!("ffmpeg is not there: nothing is decoded");
    }
    let cells = cells();
    assert_eq!(cells.len(), 48);
    let mut pictures = 0;
    for cell in &cells {
        let run = Run::new(*cell, true);
        pictures += judge(*cell, &run, folder.as_ref());
    }
    println!("{} cells, {pictures} pictures", cells.len());
}

/// What a stream may hold by its bounds: its ring, a picture that is coming in, and packets that wait for others.
const STREAM_BYTES: i64 = (RING_BYTES
    + 2 * limits::ACCESS_UNIT_BYTES_MAX
    + limits::REORDER_BYTES_MAX
    + limits::PS_STASH_BYTES_MAX
    + (1 << 16)) as i64;
/// Platform, session core and what one device is to them.
const CORES_BYTES: i64 = 4 << 20;

#[test]
fn memory_keeps_to_its_bound_in_the_worst_of_networks() {
    for transport in TRANSPORTS {
        let cell = Cell {
            loss: 0.2,
            reorder: 0.3,
            transport,
            codec: Codec::H264,
        };
        let mut run = Run::new(cell, false);
        let (held, most) = (run.world.node_bytes, run.world.node_bytes_max);
        assert!(most < STREAM_BYTES + CORES_BYTES, "{most} bytes");
        assert!(run.world.node.as_ref().expect("a node").ring_bytes() <= RING_BYTES);
        for request in run.requests.clone() {
            run.world.leave(request);
        }
        run.world.run_for(Duration::from_secs(90));
        let node = run.world.node.as_ref().expect("a node");
        assert_eq!(node.sizes(), Sizes::default(), "{}", cell.name());
        let left = run.world.node_bytes;
        println!(
            "{}: at most {most} bytes, {held} with the picture, {left} after it",
            cell.name()
        );
    }
}
