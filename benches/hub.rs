//! Fan-out without sockets: what a stream costs for being given to many, beside its floors.
//!
//! - `walk`: a rendition's ring is given one unit after another, and each time 100 viewers are walked as a media thread
//!   walks them: settle, share the slices of viewers that stand at the same place, take note of what was written. One
//!   element is one viewer given one unit. Floors: the same number of plain counters moved on (what any walk must do), and
//!   a copy of the same bytes (what a fan-out by copying would do).
//! - `hub`: a frame put into the ring of its stream. Floor: the same frames kept in a plain queue.

#[path = "node/clip.rs"]
mod clip;

use std::collections::VecDeque;
use std::hint::black_box;
use std::io::IoSlice;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use gantry::egress::fan::{Cursor, Framing, UnitRing};
use gantry::egress::{Form, Mux, Unit};
use gantry::media::frame::TrackId;
use gantry::media::hub::Hub;

use clip::Clip;

const VIEWERS: usize = 100;
const RING_BYTES: usize = 16 << 20;
/// Slices offered to a socket in one call.
const PIECES_MAX: usize = 64;

fn units(clip: &Clip) -> Vec<Unit> {
    let mut mux = Mux::new(Form::Flv, std::slice::from_ref(&clip.video));
    let mut units = Vec::new();
    for frame in clip.frames.iter().filter(|f| f.track == TrackId::Video) {
        mux.push(frame, &mut units);
    }
    units
}

/// Gives every viewer what it has not yet got; their sockets take all. The bytes given.
fn walk(ring: &UnitRing, viewers: &mut [Cursor]) -> usize {
    let mut given = 0;
    let mut slices: Vec<IoSlice<'_>> = Vec::with_capacity(PIECES_MAX);
    let mut shared = None;
    for cursor in viewers {
        if !cursor.settle(ring) {
            continue;
        }
        let place = cursor
            .place()
            .expect("sockets that take all leave no unit open");
        if shared != Some(place) {
            slices.clear();
            ring.slices_from(place, Framing::Http, PIECES_MAX, &mut slices);
            shared = Some(place);
        }
        let n = slices.iter().map(|s| s.len()).sum();
        black_box(&slices);
        cursor.advance(ring, Framing::Http, n);
        given += n;
    }
    given
}

fn fan_out(c: &mut Criterion) {
    let clip = Clip::new(2);
    let units = units(&clip);
    let mut group = c.benchmark_group("hub/walk of 100 viewers");
    group.throughput(Throughput::Elements((units.len() * VIEWERS) as u64));
    group.bench_function("cursors over a ring", |b| {
        let mut ring = UnitRing::new(RING_BYTES);
        let mut viewers: Vec<Cursor> = (0..VIEWERS).map(|_| Cursor::default()).collect();
        let mut given = 0;
        let mut rounds = 0;
        b.iter(|| {
            for unit in &units {
                ring.push(unit.clone());
                given += walk(&ring, &mut viewers);
            }
            rounds += 1;
        });
        let each: usize = units.iter().map(Unit::len_http).sum();
        assert_eq!(given, each * VIEWERS * rounds, "everybody got everything");
    });
    group.bench_function("floor: a counter a viewer", |b| {
        let mut counters = vec![0usize; VIEWERS];
        b.iter(|| {
            for unit in &units {
                let n = black_box(unit).len_http();
                for counter in black_box(&mut counters) {
                    *counter += n;
                }
            }
        });
    });
    group.sample_size(10);
    group.bench_function("floor: copy of the same bytes", |b| {
        let mut out = Vec::with_capacity(1 << 20);
        b.iter(|| {
            for unit in &units {
                for _ in 0..VIEWERS {
                    out.clear();
                    for piece in [&unit.head, &unit.body, &unit.tail] {
                        out.extend_from_slice(black_box(piece));
                    }
                    black_box(&out);
                }
            }
        });
    });
    group.finish();
}

fn hub(c: &mut Criterion) {
    let clip = Clip::new(2);
    let mut group = c.benchmark_group("hub/frame");
    group.throughput(Throughput::Elements(clip.frames.len() as u64));
    group.bench_function("push", |b| {
        let mut hub = Hub::new(RING_BYTES);
        hub.set_track(clip.video.clone());
        hub.set_track(clip.audio.clone());
        b.iter(|| {
            for frame in &clip.frames {
                hub.push(black_box(frame).clone());
            }
        });
        assert_eq!(hub.frames().count(), clip.frames.len());
    });
    group.bench_function("floor: a plain queue", |b| {
        let mut queue = VecDeque::with_capacity(clip.frames.len());
        b.iter(|| {
            for frame in &clip.frames {
                if queue.len() == clip.frames.len() {
                    queue.pop_front();
                }
                queue.push_back(black_box(frame).clone());
            }
        });
    });
    group.finish();
}

criterion_group!(benches, fan_out, hub);
criterion_main!(benches);
