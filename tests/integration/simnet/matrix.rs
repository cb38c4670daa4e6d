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
use crate::flv::{Flv, hevc_of_flv};
use crate::media_allocations::bytes_held;
use crate::media_files::{Folder, has_tool};
use crate::vectors::is_ci;

const LOSS: [f64; 4] = [0.0, 0.01, 0.05, 0.2];
const REORDER: [f64; 3] = [0.0, 0.05, 0.3];
const TRANSPORTS: [MediaTransport; 2] = [MediaTransport::Udp, MediaTransport::TcpPassive];
const CODECS: [Codec; 2] = [Codec::H264, Codec::H265];
pub(super) const GOP: Duration = Duration::from_secs(1);
/// The clean time before the trouble, the trouble, and the time after it.
const BEFORE: Duration = Duration::from_millis(600);
const TROUBLE: Duration = Duration::from_secs(3);
const AFTER: Duration = Duration::from_secs(2);
/// Transit, reordering and a new INVITE.
pub(super) const SLACK: Duration = Duration::from_millis(250);

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
pub(super) fn check(name: &str, clip: &Clip, watch: &Watch) -> Vec<(Instant, bool)> {
    let mut before: Option<usize> = None;
    let mut seen = Vec::new();
    for picture in &watch.pictures {
        let place = clip.place(&picture.frame.payload);
        let place = place.unwrap_or_else(|| panic!("{name}: a picture was changed"));
        assert!(!picture.frame.damaged, "{name}");
        let follows = before.is_some_and(|b| (b + 1) % clip.pictures.len() == place);
        assert!(
            follows || clip.pictures[place].key,
            "{name}: picture {place} after {before:?} cannot be decoded"
        );
        before = Some(place);
        seen.push((picture.at, follows));
    }
    seen
}

/// An ffmpeg, and whether it reads H.265 in FLV: from 6.1 on, which `GANTRY_TEST_FFMPEG` may name.
struct Ffmpeg {
    program: String,
    reads_enhanced: bool,
    folder: Folder,
}

impl Ffmpeg {
    /// None where there is none, which CI does not accept.
    fn find(name: &str) -> Option<Ffmpeg> {
        let newer = std::env::var("GANTRY_TEST_FFMPEG").ok();
        let newer = newer.filter(|path| !path.is_empty());
        if newer.is_none() && !has_tool("ffmpeg") {
            assert!(!is_ci(), "ffmpeg is missing");
            println!("SKIPPED: ffmpeg is not there, nothing is decoded");
            return None;
        }
        Some(Ffmpeg {
            reads_enhanced: newer.is_some(),
            program: newer.unwrap_or_else(|| "ffmpeg".to_owned()),
            folder: Folder::new(name),
        })
    }

    /// Decodes the FLV that a viewer was given: without a word, and every picture. An ffmpeg that is too old for H.265 in FLV
    /// gets what lies in the tags.
    fn decode(&self, cell: Cell, watch: &Watch) {
        let mut flv = Flv::default();
        flv.push(&watch.flv);
        let tags: Vec<_> = flv.tags(9).collect();
        // What is no picture says how to decode: AVC and HEVC packet type 0.
        let told = |kind: u8, head: u8| match cell.codec {
            Codec::H265 => head & 0x0f == 0,
            _ => kind == 0,
        };
        let settings = tags.iter().filter(|t| told(t.body[1], t.body[0])).count();
        assert_eq!(
            tags.len() - settings,
            watch.pictures.len(),
            "{}",
            cell.name()
        );
        let bare = cell.codec == Codec::H265 && !self.reads_enhanced;
        let file = if bare {
            self.folder.write("cell.h265", &hevc_of_flv(&tags))
        } else {
            self.folder.write("cell.flv", &watch.flv)
        };
        let output = std::process::Command::new(&self.program)
            .args(["-v", "warning", "-nostats", "-progress", "pipe:1"])
            .args(["-threads", "1", "-i"])
            .arg(file)
            .args(["-fps_mode", "passthrough", "-f", "null", "-"])
            .output()
            .expect("ffmpeg");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: {said}", cell.name());
        assert_eq!(said.trim(), "", "{}", cell.name());
        let progress = String::from_utf8_lossy(&output.stdout);
        let last = progress
            .lines()
            .rev()
            .find_map(|l| l.strip_prefix("frame="));
        let decoded: Option<usize> = last.and_then(|n| n.trim().parse().ok());
        assert_eq!(decoded, Some(watch.pictures.len()), "{}", cell.name());
    }
}

fn judge(cell: Cell, run: &Run, ffmpeg: Option<&Ffmpeg>) -> usize {
    let clip = &run.world.cameras[run.camera].clip;
    let mut came: Vec<(Instant, bool)> = Vec::new();
    let mut pictures = 0;
    for (n, request) in run.requests.iter().enumerate() {
        let watch = run.watch(*request);
        let seen = check(&cell.name(), clip, watch);
        if n == 0 && cell.loss == 0.0 && !cell.is_cut() {
            let broken = seen.iter().skip(1).filter(|(_, follows)| !follows).count();
            assert_eq!(broken, 0, "{}: nothing was lost", cell.name());
            assert_eq!(run.requests.len(), 1, "{}: nothing was cut", cell.name());
        }
        pictures += seen.len();
        came.extend(seen);
        if let (Some(ffmpeg), true) = (ffmpeg, watch.pictures.len() > 1) {
            ffmpeg.decode(cell, watch);
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
    let ffmpeg = Ffmpeg::find("matrix");
    let cells = cells();
    assert_eq!(cells.len(), 48);
    let mut pictures = 0;
    for cell in &cells {
        let run = Run::new(*cell, true);
        pictures += judge(*cell, &run, ffmpeg.as_ref());
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
/// The same when nothing goes on: what is known of a device and of views that are over.
const REST_BYTES: i64 = 1 << 20;

#[test]
fn memory_keeps_to_its_bound_in_the_worst_of_networks() {
    let (mut most_of_all, mut left_of_all) = (0, 0);
    for cell in cells() {
        let name = cell.name();
        let mut run = Run::new(cell, false);
        let most = run.world.node_bytes_max;
        assert!(most < STREAM_BYTES + CORES_BYTES, "{name}: {most} bytes");
        assert!(run.world.node.as_ref().expect("a node").ring_bytes() <= RING_BYTES);
        for request in run.requests.clone() {
            run.world.forget(request);
        }
        run.world.run_for(Duration::from_secs(90));
        let node = run.world.node.as_ref().expect("a node");
        assert_eq!(node.sizes(), Sizes::default(), "{name}");
        let left = run.world.weigh_node();
        assert!(left < REST_BYTES, "{name}: {left} bytes at rest");
        most_of_all = most.max(most_of_all);
        left_of_all = left.max(left_of_all);
    }
    println!(
        "at most {most_of_all} bytes of {}, {left_of_all} at rest",
        STREAM_BYTES + CORES_BYTES
    );
}
