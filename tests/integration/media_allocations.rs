//! What taking a stream in allocates: nothing per packet, and less than one buffer a frame.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use gantry::id::Ssrc;
use gantry::media::codec::g711;
use gantry::media::frame::{Codec, Frame, Params, Track, TrackId, VideoParams};
use gantry::media::ingest::{Config, Ingest, Output};
use gantry::media::ps::mux::Mux;
use gantry::media::rtp;
use gantry::time::MediaTime;

/// Counts the allocations of each thread, so that tests beside this one do not matter.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
    static BYTES_HELD: Cell<i64> = const { Cell::new(0) };
}

/// Bytes that this thread has taken and not given back.
pub fn bytes_held() -> i64 {
    BYTES_HELD.with(Cell::get)
}

fn count(allocations: u64, bytes: i64) {
    // A thread that is ending has no counter any more.
    let _ = ALLOCATIONS.try_with(|n| n.set(n.get() + allocations));
    let _ = BYTES_HELD.try_with(|n| n.set(n.get() + bytes));
}

// SAFETY: every call goes to the system's allocator with the arguments it was given.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(1, layout.size() as i64);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        count(0, -(layout.size() as i64));
        unsafe { System.dealloc(place, layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(1, size as i64 - layout.size() as i64);
        unsafe { System.realloc(place, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const PICTURES: i64 = 50;

fn payload(head: &[u8], len: usize) -> Vec<u8> {
    let mut nal = head.to_vec();
    nal.extend((0..len).map(|n| (n % 255) as u8 + 1));
    nal
}

/// One group of pictures: a key frame of 200 kB, then 2 to 8 kB, and sound every 40 ms: half a megabyte.
fn group(writer: &mut rtp::Writer, mux: &mut Mux, from: i64) -> Vec<Vec<u8>> {
    let mut packets = Vec::new();
    for n in from..from + PICTURES {
        let key = n == from;
        let len = if key {
            200_000
        } else {
            2_000 + (n * 7919 % 6_000) as usize
        };
        let nal = payload(&[if key { 0x65 } else { 0x41 }, 0x88], len);
        let mut picture = (nal.len() as u32).to_be_bytes().to_vec();
        picture.extend(nal);
        for (track, payload) in [
            (TrackId::Video, picture),
            (TrackId::Audio, payload(&[], 320)),
        ] {
            let time = MediaTime(n * 3600);
            let frame = Frame {
                track,
                dts: time,
                pts: time,
                key: key || track == TrackId::Audio,
                damaged: false,
                payload: payload.into(),
                received: Instant::now(),
            };
            let mut ps = Vec::new();
            mux.push(&frame, &mut ps);
            writer.write(&ps, time.0 as u32, 1400, &mut |p| packets.push(p.to_vec()));
        }
    }
    packets
}

#[test]
fn ingest_allocates_less_than_one_buffer_in_four_frames_and_holds_little_more_than_the_frames() {
    let video = Track {
        id: TrackId::Video,
        codec: Codec::H264,
        params: Arc::new(Params::Video(VideoParams {
            // x264, 768x320 at 25 fps.
            sps: Bytes::from_static(&[
                0x67, 0x64, 0x00, 0x20, 0xac, 0xd9, 0x40, 0xc0, 0x29, 0xb0, 0x11, 0x00, 0x00, 0x03,
                0x00, 0x01, 0x00, 0x00, 0x03, 0x00, 0x32, 0x0f, 0x18, 0x31, 0x96,
            ]),
            pps: Bytes::from_static(&[0x68, 0xeb, 0xe3, 0xcb, 0x22, 0xc0]),
            width: 768,
            height: 320,
            ..VideoParams::default()
        })),
    };
    let mut mux = Mux::new(Some(&video), Some(&g711::track(Codec::G711A)));
    let mut writer = rtp::Writer::new(Ssrc(1), 96, 0);
    let groups: Vec<_> = (0..6)
        .map(|n| group(&mut writer, &mut mux, n * PICTURES))
        .collect();
    let held_before = BYTES_HELD.get();
    let mut ingest = Ingest::new(Config::default());
    let mut ring: Vec<Frame> = Vec::with_capacity(4 * PICTURES as usize);
    let now = Instant::now();
    let mut before = 0;
    let mut frames = 0u64;
    let mut packets = 0u64;
    for (n, group) in groups.iter().enumerate() {
        // The first two groups teach it how large pictures are.
        if n == 2 {
            before = ALLOCATIONS.get();
            (frames, packets) = (0, 0);
        }
        ring.clear();
        for packet in group {
            packets += 1;
            ingest.push(now, packet, &mut |output| {
                if let Output::Frame(frame) = output {
                    frames += 1;
                    ring.push(frame);
                }
            });
        }
    }
    let allocations = ALLOCATIONS.get() - before;
    assert_eq!(frames, 4 * 2 * PICTURES as u64);
    assert!(packets > 3 * frames);
    println!("{allocations} allocations for {frames} frames in {packets} packets");
    assert!(allocations * 4 < frames, "{allocations} for {frames}");
    // Two allocations a buffer: the key frame's, and of 64 kB for a dozen other pictures; 8 kB for two dozen sounds.
    assert!(allocations <= 4 * 2 * (1 + 5 + 3), "{allocations}");

    let content: usize = ring.iter().map(|f| f.payload.len()).sum();
    let held = BYTES_HELD.get() - held_before;
    println!("{held} bytes are held for a group of pictures of {content}");
    assert!(content > 450_000);
    assert!(
        held < 800_000,
        "with its group of pictures a stream holds {held} bytes"
    );
}
