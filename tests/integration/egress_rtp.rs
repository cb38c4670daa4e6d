//! RTP payloads of real streams, put together again by GStreamer's depayloaders and by a reassembler written from the RFCs.

use crate::media_files;

use std::path::Path;

use bytes::{BufMut, Bytes};
use gantry::egress::rtp::{Packetizer, RtpPayload};
use gantry::media::frame::{Codec, TrackId};
use gantry::time::MediaTime;
use media_files::{Folder, Source, has_tool, run, vector};

const PAYLOAD_MAX: usize = 1164;

fn packets(source: &Source) -> Vec<RtpPayload> {
    let mut packetizer = Packetizer::new(PAYLOAD_MAX);
    packetizer.set_tracks(std::slice::from_ref(&source.track));
    let mut out = Vec::new();
    for frame in &source.frames {
        packetizer.push(frame, &mut out);
    }
    out
}

/// A capture of UDP packets from port 5000 to 5004.
fn pcap(packets: &[RtpPayload], payload_type: u8) -> Vec<u8> {
    let mut out = Vec::new();
    out.put_u32(0xa1b2_c3d4);
    out.put_u16(2);
    out.put_u16(4);
    out.put_u64(0);
    out.put_u32(65_535);
    out.put_u32(1);
    for (sequence, packet) in packets.iter().enumerate() {
        let rtp_len = 12 + packet.len();
        let ip_len = 20 + 8 + rtp_len;
        // Time of capture: the packet's own, so that the reader sees a steady clock.
        out.put_u32(packet.timestamp / 90_000);
        out.put_u32(packet.timestamp % 90_000 * 100 / 9);
        out.put_u32(14 + ip_len as u32);
        out.put_u32(14 + ip_len as u32);
        out.put_slice(&[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0]);
        out.put_slice(&[0x45, 0]);
        out.put_u16(ip_len as u16);
        out.put_slice(&[0, 0, 0x40, 0, 64, 17, 0, 0, 127, 0, 0, 1, 127, 0, 0, 1]);
        out.put_u16(5000);
        out.put_u16(5004);
        out.put_u16(8 + rtp_len as u16);
        out.put_u16(0);
        out.put_slice(&[0x80, u8::from(packet.marker) << 7 | payload_type]);
        out.put_u16(sequence as u16);
        out.put_u32(packet.timestamp);
        out.put_u32(0x1234_5678);
        packet.put(&mut out);
    }
    out
}

fn decoded(path: &Path) -> Vec<String> {
    let (text, errors) = run(
        "ffmpeg",
        &[
            "-v",
            "error",
            "-i",
            path.to_str().expect("a plain path"),
            "-fps_mode",
            "passthrough",
            "-f",
            "framemd5",
            "-",
        ],
    );
    assert_eq!(errors, "");
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| Some(line.rsplit(',').next()?.trim().to_owned()))
        .collect()
}

fn gstreamer_gives_the_same_pictures(codec: Codec, name: &str) {
    let Some(path) = vector(name) else {
        println!("skipped: the vectors are not there");
        return;
    };
    if !has_tool("ffmpeg") || !has_tool("gst-launch-1.0") {
        println!("skipped: ffmpeg or GStreamer is not installed");
        return;
    }
    let folder = Folder::new(name);
    let source = media_files::video(codec, &path, 25);
    let capture = folder.write("rtp.pcap", &pcap(&packets(&source), 96));
    let (encoding, depay, form) = match codec {
        Codec::H264 => ("H264", "rtph264depay", "video/x-h264"),
        _ => ("H265", "rtph265depay", "video/x-h265"),
    };
    let out = folder.file(&format!("out.{name}"));
    let caps = format!(
        "application/x-rtp,media=video,clock-rate=90000,encoding-name={encoding},payload=96"
    );
    run(
        "gst-launch-1.0",
        &[
            "-q",
            "filesrc",
            &format!("location={}", capture.display()),
            "!",
            "pcapparse",
            "!",
            &caps,
            "!",
            depay,
            "!",
            &format!("{form},stream-format=byte-stream,alignment=au"),
            "!",
            "filesink",
            &format!("location={}", out.display()),
        ],
    );
    let pictures = decoded(&out);
    assert_eq!(pictures.len(), source.frames.len());
    assert_eq!(pictures, decoded(&path));
}

#[test]
fn gstreamer_depayloads_h264() {
    gstreamer_gives_the_same_pictures(Codec::H264, "avatar.h264");
}

#[test]
fn gstreamer_depayloads_h265() {
    gstreamer_gives_the_same_pictures(Codec::H265, "avatar.h265");
}

/// NAL units of packets, by RFC 6184, 5.6 to 5.8, and RFC 7798, 4.4.1 to 4.4.3.
fn reassemble(codec: Codec, packets: &[RtpPayload]) -> Vec<Vec<u8>> {
    let mut nals: Vec<Vec<u8>> = Vec::new();
    for packet in packets {
        let mut bytes = Vec::new();
        packet.put(&mut bytes);
        let (kind, header) = match codec {
            Codec::H264 => (bytes[0] & 0x1f, 1),
            _ => (bytes[0] >> 1 & 0x3f, 2),
        };
        match (codec, kind) {
            (Codec::H264, 24) | (Codec::H265, 48) => {
                let mut rest = &bytes[header..];
                while !rest.is_empty() {
                    let len = usize::from(u16::from_be_bytes([rest[0], rest[1]]));
                    nals.push(rest[2..2 + len].to_vec());
                    rest = &rest[2 + len..];
                }
            }
            (Codec::H264, 28) | (Codec::H265, 49) => {
                let fu = bytes[header];
                if fu & 0x80 != 0 {
                    nals.push(match codec {
                        Codec::H264 => vec![bytes[0] & 0xe0 | fu & 0x1f],
                        _ => vec![bytes[0] & 0x81 | (fu & 0x3f) << 1, bytes[1]],
                    });
                }
                let nal = nals.last_mut().expect("a fragment has a start");
                nal.extend_from_slice(&bytes[header + 1..]);
            }
            _ => nals.push(bytes),
        }
    }
    nals
}

#[test]
fn every_nal_unit_comes_back_with_its_sets_before_each_key_frame() {
    for (codec, name) in [(Codec::H264, "avatar.h264"), (Codec::H265, "avatar.h265")] {
        let (Some(path), true) = (vector(name), has_tool("ffprobe")) else {
            println!("skipped: no vectors or no ffprobe");
            return;
        };
        let source = media_files::video(codec, &path, 25);
        let params = source.track.video().expect("a picture").clone();
        let mut packetizer = Packetizer::new(PAYLOAD_MAX);
        packetizer.set_tracks(std::slice::from_ref(&source.track));
        for frame in &source.frames {
            let mut out = Vec::new();
            packetizer.push(frame, &mut out);
            let mut want: Vec<Vec<u8>> = Vec::new();
            if frame.key {
                want.extend(params.vps.iter().map(|set| set.to_vec()));
                want.push(params.sps.to_vec());
                want.push(params.pps.to_vec());
            }
            want.extend(gantry::media::frame::nals(&frame.payload).map(<[u8]>::to_vec));
            assert_eq!(reassemble(codec, &out), want);
            assert!(out.iter().all(|p| p.len() <= PAYLOAD_MAX));
            assert!(out.iter().all(|p| p.timestamp == frame.pts.0 as u32));
            let markers: Vec<bool> = out.iter().map(|p| p.marker).collect();
            assert!(markers[markers.len() - 1]);
            assert_eq!(markers.iter().filter(|m| **m).count(), 1);
            assert_eq!(out[0].key, frame.key);
            assert!(out[1..].iter().all(|p| !p.key));
        }
    }
}

fn picture_of(nal_len: usize) -> Source {
    let mut nal = vec![0x65; nal_len];
    nal[1] = 0x88;
    let mut source = Source {
        track: media_files::audio_track(Codec::G711A, 8000, 1, Bytes::new()),
        frames: Vec::new(),
    };
    source.track = gantry::media::frame::Track {
        id: TrackId::Video,
        codec: Codec::H264,
        params: std::sync::Arc::new(gantry::media::frame::Params::Video(
            gantry::media::frame::VideoParams {
                sps: Bytes::from_static(&[0x67, 0x42, 0xc0, 0x1e, 0xd9]),
                pps: Bytes::from_static(&[0x68, 0xce, 0x3c, 0x80]),
                ..Default::default()
            },
        )),
    };
    let mut frame = media_files::sound(
        MediaTime(0),
        media_files::canonical(&[nal.into()]),
        std::time::Instant::now(),
    );
    frame.track = TrackId::Video;
    source.frames.push(frame);
    source
}

#[test]
fn fragments_are_of_one_length_by_padding_of_the_last() {
    for len in [1165, 1166, 2326, 5000, 667_339] {
        let source = picture_of(len);
        let out = packets(&source);
        let fragments: Vec<usize> = out[1..]
            .iter()
            .map(|p| p.len() + usize::from(p.padding))
            .collect();
        let (last, others) = fragments.split_last().expect("there are some");
        assert!(others.iter().all(|l| *l == others[0]), "{len}");
        assert!(*last <= others[0] && others[0] <= PAYLOAD_MAX, "{len}");
        assert_eq!(fragments.len(), (len - 1).div_ceil(PAYLOAD_MAX - 2));
        let (last_one, others) = out[1..].split_last().expect("there are some");
        assert!(others.iter().all(|p| p.padding == 0), "{len}");
        // Padding has one byte for its length; a picture of hundreds of packets may lack it.
        let missing = others[0].len() - last_one.len();
        let padding = u8::try_from(missing).unwrap_or(0);
        assert_eq!(last_one.padding, padding, "{len}");
    }
    let whole = packets(&picture_of(PAYLOAD_MAX));
    assert_eq!(whole.len(), 2, "the sets, and a unit that fits");
    assert!(whole[1].prefix.is_empty());
}

fn sounds(pieces: &[(i64, usize)]) -> Vec<(u32, usize)> {
    let mut packetizer = Packetizer::new(PAYLOAD_MAX);
    packetizer.set_tracks(&[media_files::audio_track(
        Codec::G711A,
        8000,
        1,
        Bytes::new(),
    )]);
    let mut out = Vec::new();
    let now = std::time::Instant::now();
    for (ms, len) in pieces {
        let frame = media_files::sound(MediaTime(ms * 90), vec![0xd5; *len].into(), now);
        packetizer.push(&frame, &mut out);
    }
    out.iter().map(|p| (p.timestamp, p.len())).collect()
}

#[test]
fn g711_goes_in_packets_of_20_to_60_ms() {
    assert_eq!(sounds(&[(0, 320), (40, 320)]), [(0, 320), (320, 320)]);
    assert_eq!(
        sounds(&[(0, 80), (10, 80), (20, 80)]),
        [(0, 160)],
        "the third waits"
    );
    assert_eq!(sounds(&[(0, 160)]), [(0, 160)], "20 ms is enough");
    assert_eq!(sounds(&[(0, 480)]), [(0, 480)], "60 ms is not too much");
    assert_eq!(
        sounds(&[(0, 1024)]),
        [(0, 342), (342, 342), (684, 340)],
        "longer ones are split evenly"
    );
}

#[test]
fn g711_time_stamps_follow_the_samples_through_jitter_and_the_clock_through_a_hole() {
    assert_eq!(
        sounds(&[(0, 160), (23, 160), (38, 160)]),
        [(0, 160), (160, 160), (320, 160)]
    );
    assert_eq!(
        sounds(&[(0, 80), (500, 160)]),
        [(0, 80), (4000, 160)],
        "what waited is sent when a hole follows"
    );
}

#[test]
fn aac_is_not_sent() {
    let mut packetizer = Packetizer::new(PAYLOAD_MAX);
    let track = media_files::audio_track(Codec::Aac, 16_000, 1, Bytes::from_static(&[0x14, 8]));
    packetizer.set_tracks(&[track]);
    let mut out = Vec::new();
    let now = std::time::Instant::now();
    packetizer.push(
        &media_files::sound(MediaTime(0), Bytes::from_static(&[1]), now),
        &mut out,
    );
    assert!(out.is_empty());
}
