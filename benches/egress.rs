//! Cost of making units and RTP payloads, a frame at a time, beside the floor: one copy of the same bytes.
//!
//! The shape is a real group of pictures of a 4 Mbit/s camera: a key frame of 300 kB, then 2 to 8 kB. Sound: milliseconds of
//! CPU a second are the time of a bench divided by the seconds it converts.

#[path = "../tests/integration/media_files.rs"]
mod media_files;

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use gantry::egress::rtp::Packetizer;
use gantry::egress::{Form, Mux};
use gantry::media::frame::{Codec, Frame, Params, Track, TrackId, VideoParams};
use gantry::media::transcode::AudioTranscoder;
use gantry::time::MediaTime;

const FRAMES: usize = 50;

fn picture() -> Track {
    Track {
        id: TrackId::Video,
        codec: Codec::H264,
        params: Arc::new(Params::Video(VideoParams {
            sps: Bytes::from_static(&[0x67, 0x42, 0xc0, 0x1e, 0xd9]),
            pps: Bytes::from_static(&[0x68, 0xce, 0x3c, 0x80]),
            width: 1920,
            height: 1080,
            ..VideoParams::default()
        })),
    }
}

fn group_of_pictures() -> Vec<Frame> {
    let received = Instant::now();
    (0..FRAMES)
        .map(|n| {
            let len = if n == 0 {
                300_000
            } else {
                2_000 + n * 7919 % 6_000
            };
            let mut nal = vec![0xa5; len];
            nal[0] = if n == 0 { 0x65 } else { 0x61 };
            Frame {
                track: TrackId::Video,
                dts: MediaTime(n as i64 * 3600),
                pts: MediaTime(n as i64 * 3600),
                key: n == 0,
                damaged: false,
                payload: media_files::canonical(&[nal.into()]),
                received,
            }
        })
        .collect()
}

fn video(c: &mut Criterion) {
    let frames = group_of_pictures();
    let track = picture();
    let mut group = c.benchmark_group("egress/frame");
    group.throughput(Throughput::Elements(FRAMES as u64));
    group.bench_function("floor: copy of the payload", |b| {
        let mut copy = Vec::with_capacity(400_000);
        b.iter(|| {
            for frame in &frames {
                copy.clear();
                copy.extend_from_slice(black_box(&frame.payload));
            }
        });
    });
    for form in Form::ALL {
        group.bench_function(format!("{form:?} mux"), |b| {
            let mut mux = Mux::new(form, std::slice::from_ref(&track));
            let mut units = Vec::with_capacity(FRAMES);
            b.iter(|| {
                units.clear();
                for frame in &frames {
                    mux.push(black_box(frame), &mut units);
                }
            });
        });
    }
    group.finish();

    let mut packetizer = Packetizer::new(1164);
    packetizer.set_tracks(std::slice::from_ref(&track));
    let mut packets = Vec::new();
    for frame in &frames {
        packetizer.push(frame, &mut packets);
    }
    let count = packets.len() as u64;
    let mut group = c.benchmark_group("egress/packet");
    group.throughput(Throughput::Elements(count));
    group.bench_function("floor: copy of each payload", |b| {
        let mut copy = Vec::with_capacity(1500);
        b.iter(|| {
            for packet in &packets {
                copy.clear();
                packet.put(black_box(&mut copy));
            }
        });
    });
    group.bench_function("RTP packetise", |b| {
        let mut out = Vec::with_capacity(count as usize);
        b.iter(|| {
            out.clear();
            for frame in &frames {
                packetizer.push(black_box(frame), &mut out);
            }
        });
    });
    group.finish();
}

fn sound(c: &mut Criterion) {
    const SECONDS: usize = 10;
    // Something like a voice: three tones that swell.
    let bytes: Vec<u8> = (0..SECONDS * 8000)
        .map(|n| {
            let t = n as f64 / 8000.0;
            let tone = |hz: f64| (std::f64::consts::TAU * hz * t).sin();
            let sample =
                8000.0 * (0.6 + 0.4 * tone(3.0)) * (tone(210.0) + tone(730.0) + tone(2100.0)) / 2.0;
            gantry::media::transcode::g711::to_alaw(sample as i16)
        })
        .collect();
    let source = media_files::g711(Codec::G711A, bytes.into(), 320);
    let mut group = c.benchmark_group("transcode");
    group.throughput(Throughput::Elements(SECONDS as u64));
    group.sample_size(10);
    let mut aac = Vec::new();
    let mut aac_track = None;
    for to in [Codec::Aac, Codec::Opus] {
        group.bench_function(format!("10 s of PCMA to {}", to.name()), |b| {
            b.iter(|| {
                let mut transcoder =
                    AudioTranscoder::new(&source.track, to).expect("a pair it does");
                let mut out = Vec::new();
                for frame in &source.frames {
                    transcoder.push(frame, &mut out);
                }
                if to == Codec::Aac {
                    aac_track = Some(transcoder.track());
                    aac = out.clone();
                }
                black_box(out.len())
            });
        });
    }
    if let Some(track) = aac_track {
        group.bench_function("10 s of AAC to opus", |b| {
            b.iter(|| {
                let mut transcoder =
                    AudioTranscoder::new(&track, Codec::Opus).expect("a pair it does");
                let mut out = Vec::new();
                for frame in &aac {
                    transcoder.push(frame, &mut out);
                }
                black_box(out.len())
            });
        });
    }
    group.finish();
}

criterion_group!(benches, video, sound);
criterion_main!(benches);
