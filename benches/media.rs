//! Cost of taking a program stream in, per RTP packet, beside its floors: one scan and one copy of the same bytes.
//!
//! The shape is two seconds of a camera: a key frame of 200 kB, then 49 pictures of 2 to 8 kB, and G.711A every 40 ms, in
//! packets of 1,400 bytes. Divide a time by the packets of the group ("elem") for the cost of a packet.

use std::collections::VecDeque;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use gantry::id::Ssrc;
use gantry::media::codec::{annexb, g711};
use gantry::media::frame::{Codec, Frame, Params, Track, TrackId, VideoParams};
use gantry::media::ingest::{Config, Ingest, Output};
use gantry::media::ps::StreamMap;
use gantry::media::ps::demux::{Demux, Error, Pes, Sink};
use gantry::media::ps::mux::Mux;
use gantry::media::rtp::{self, Packet};
use gantry::media::ts;
use gantry::time::MediaTime;

const PICTURES: usize = 50;
const PAYLOAD_MAX: usize = 1400;
/// As many frames as the ring of a stream holds.
const RING: usize = 2 * PICTURES;

/// Bytes as an entropy coder makes them: any value, but no start code.
fn coded(len: usize, seed: &mut u64) -> Vec<u8> {
    let mut out: Vec<u8> = Vec::with_capacity(len);
    while out.len() < len {
        *seed ^= *seed << 13;
        *seed ^= *seed >> 7;
        *seed ^= *seed << 17;
        let byte = (*seed >> 24) as u8;
        let zeros = out.ends_with(&[0, 0]);
        out.push(if zeros && byte <= 3 { 9 } else { byte });
    }
    out
}

/// One group of pictures with its sound as RTP packets.
fn group() -> Vec<Vec<u8>> {
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
    let mut seed = 0x1234_5678_9abc_def1;
    let mut packets = Vec::new();
    for n in 0..PICTURES {
        let key = n == 0;
        let len = if key {
            200_000
        } else {
            2_000 + n * 7919 % 6_000
        };
        let mut nal = vec![if key { 0x65 } else { 0x41 }, 0x88];
        nal.extend(coded(len, &mut seed));
        let mut payload = (nal.len() as u32).to_be_bytes().to_vec();
        payload.extend(nal);
        let sound = coded(320, &mut seed);
        for (track, payload) in [(TrackId::Video, payload), (TrackId::Audio, sound)] {
            let time = MediaTime(n as i64 * 3600);
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
            writer.write(&ps, time.0 as u32, PAYLOAD_MAX, &mut |p| {
                packets.push(p.to_vec())
            });
        }
    }
    packets
}

/// The pictures of the group as a transport stream, seven packets to one of RTP. The counters go on from group to group.
fn transport_packets(packets: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut pictures = Pictures(Vec::new());
    let mut demux = Demux::new();
    for packet in packets {
        if let Ok(packet) = Packet::parse(packet) {
            demux.push(packet.payload(), &mut pictures);
        }
    }
    let mut out: Vec<u8> = Vec::new();
    let mut counter = 0u8;
    for pes in &mut pictures.0 {
        pes.resize(pes.len().next_multiple_of(184), 0);
        for (n, part) in pes.chunks(184).enumerate() {
            let start = if n == 0 { 0x41 } else { 1 };
            out.extend([ts::SYNC, start, 0, 0x10 | counter]);
            counter = (counter + 1) & 15;
            out.extend(part);
        }
    }
    // So many packets that the counters of the next round follow.
    while !(out.len() / ts::PACKET_BYTES).is_multiple_of(16) {
        let mut empty = [0xff; ts::PACKET_BYTES];
        empty[..5].copy_from_slice(&[ts::SYNC, 1, 0, 0x30 | counter, 183]);
        counter = (counter + 1) & 15;
        out.extend(empty);
    }
    let mut writer = rtp::Writer::new(Ssrc(1), 33, 0);
    let mut made = Vec::new();
    writer.write(&out, 0, 7 * ts::PACKET_BYTES, &mut |p| {
        made.push(p.to_vec())
    });
    println!(
        "as a transport stream: {} packets, {} bytes",
        made.len(),
        out.len()
    );
    made
}

/// The pictures' PES packets, joined where a picture has several.
struct Pictures(Vec<Vec<u8>>);

impl Sink for Pictures {
    fn map(&mut self, _: &StreamMap) {}
    fn pes(&mut self, pes: Pes) {
        if let (0xe0, Some(pts)) = (pes.stream_id, pes.pts) {
            let mut head = vec![0, 0, 1, 0xe0, 0, 0, 0x80, 0x80, 5];
            head.extend([
                0x21 | (pts >> 29) as u8 & 0x0e,
                (pts >> 22) as u8,
                (pts >> 14) as u8 | 1,
                (pts >> 7) as u8,
                (pts << 1) as u8 | 1,
            ]);
            self.0.push(head);
        }
    }
    fn payload(&mut self, stream_id: u8, bytes: &[u8]) {
        if let (0xe0, Some(last)) = (stream_id, self.0.last_mut()) {
            last.extend_from_slice(bytes);
        }
    }
    fn pes_end(&mut self, _: u8) {}
    fn hole(&mut self, _: u8) {}
    fn error(&mut self, error: Error) {
        panic!("{error:?} in a sound stream");
    }
}

/// Takes everything and does nothing with it.
struct Nothing;

impl Sink for Nothing {
    fn map(&mut self, _: &StreamMap) {}
    fn pes(&mut self, _: Pes) {}
    fn payload(&mut self, stream_id: u8, bytes: &[u8]) {
        black_box((stream_id, bytes));
    }
    fn pes_end(&mut self, _: u8) {}
    fn hole(&mut self, _: u8) {}
    fn error(&mut self, error: Error) {
        panic!("{error:?} in a sound stream");
    }
}

fn ingest(c: &mut Criterion) {
    let mut packets = group();
    let mut bench = c.benchmark_group("media");
    bench.throughput(Throughput::Elements(packets.len() as u64));
    let size: usize = packets.iter().map(Vec::len).sum();
    println!(
        "a group of pictures: {} packets, {size} bytes, {PICTURES} pictures, {PICTURES} pieces of sound",
        packets.len()
    );

    bench.bench_function("ingest", |b| {
        let mut ingest = Ingest::new(Config::default());
        let mut ring = VecDeque::with_capacity(RING);
        let mut sequence = 0u16;
        let mut now = Instant::now();
        b.iter(|| {
            for packet in &mut packets {
                packet[2..4].copy_from_slice(&sequence.to_be_bytes());
                sequence = sequence.wrapping_add(1);
                ingest.push(now, packet, &mut |output| {
                    if let Output::Frame(frame) = output {
                        if ring.len() == RING {
                            ring.pop_front();
                        }
                        ring.push_back(frame);
                    }
                });
            }
            now += Duration::from_secs(2);
        });
        let stats = ingest.stats(now);
        assert_eq!(
            (stats.lost, stats.ps_errors, stats.dropped_frames),
            (0, 0, 0)
        );
        assert_eq!(ring.len(), RING);
    });

    let ts = transport_packets(&packets);
    bench.bench_function("ingest_ts", |b| {
        let mut ingest = Ingest::new(Config::default());
        let mut frames = 0;
        let mut sequence = 0u16;
        let mut now = Instant::now();
        let mut ts = ts.clone();
        b.iter(|| {
            for packet in &mut ts {
                packet[2..4].copy_from_slice(&sequence.to_be_bytes());
                sequence = sequence.wrapping_add(1);
                ingest.push(now, packet, &mut |output| {
                    frames += usize::from(matches!(output, Output::Frame(_)));
                });
            }
            now += Duration::from_secs(2);
        });
        let stats = ingest.stats(now);
        assert_eq!((stats.lost, stats.dropped_frames), (0, 0));
        assert!(frames > 0);
    });

    bench.bench_function("ps_demux", |b| {
        let mut demux = Demux::new();
        b.iter(|| {
            for packet in &packets {
                if let Ok(packet) = Packet::parse(packet) {
                    demux.push(packet.payload(), &mut Nothing);
                }
            }
        });
    });

    bench.bench_function("floor_scan_for_start_codes", |b| {
        b.iter(|| {
            for packet in &packets {
                black_box(annexb::find_start_code(&packet[rtp::HEADER_BYTES..]));
            }
        });
    });

    bench.bench_function("floor_copy", |b| {
        let mut out = vec![0u8; size];
        b.iter(|| {
            let mut at = 0;
            for packet in &packets {
                out[at..at + packet.len()].copy_from_slice(packet);
                at += packet.len();
            }
            black_box(&mut out);
        });
    });
}

criterion_group!(benches, ingest);
criterion_main!(benches);
