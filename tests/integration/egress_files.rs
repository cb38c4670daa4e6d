//! Renditions of real streams, judged from outside: ffprobe names codecs, size and rate, ffmpeg decodes without a word, and
//! the decoded pictures are those of the elementary stream.

use crate::media_files;

use std::path::Path;

use bytes::Bytes;
use gantry::egress::{AudioPolicy, Form, Mux, Sound, Unit};
use gantry::media::frame::{Codec, Frame, Track, TrackId};
use gantry::media::transcode::AudioTranscoder;
use media_files::{Folder, Source, has_tool, interleave, run, vector};

/// What a plain HTTP viewer is given.
fn http(units: &[Unit]) -> Vec<u8> {
    let mut out = Vec::new();
    for unit in units {
        out.extend_from_slice(&unit.head[usize::from(unit.ws_header_len)..]);
        out.extend_from_slice(&unit.body);
        out.extend_from_slice(&unit.tail);
    }
    out
}

/// What a WebSocket viewer is given, taken apart by RFC 6455, 5.2.
fn websocket(units: &[Unit]) -> Vec<u8> {
    let mut wire = Vec::new();
    for unit in units {
        for part in [&unit.head, &unit.body, &unit.tail] {
            wire.extend_from_slice(part);
        }
    }
    let mut out = Vec::new();
    let mut rest = &wire[..];
    while !rest.is_empty() {
        assert_eq!(rest[0], 0x82, "a final binary message");
        let (header, len) = match rest[1] {
            126 => (4, usize::from(u16::from_be_bytes([rest[2], rest[3]]))),
            127 => (
                10,
                u64::from_be_bytes(rest[2..10].try_into().expect("eight bytes")) as usize,
            ),
            short => (2, usize::from(short)),
        };
        out.extend_from_slice(&rest[header..header + len]);
        rest = &rest[header + len..];
    }
    out
}

/// A whole rendition: the initialisation, then a unit a frame.
fn rendition(form: Form, policy: AudioPolicy, video: &Source, audio: &Source) -> Vec<Unit> {
    let (track, frames) = heard(form, policy, audio);
    let tracks: Vec<Track> = [Some(video.track.clone()), track]
        .into_iter()
        .flatten()
        .collect();
    let mut mux = Mux::new(form, &tracks);
    let mut units = vec![mux.init()];
    for frame in interleave(&[&video.frames, &frames]) {
        mux.push(&frame, &mut units);
    }
    units
}

fn heard(form: Form, policy: AudioPolicy, audio: &Source) -> (Option<Track>, Vec<Frame>) {
    match form.sound(policy, audio.track.codec) {
        Sound::Drop => (None, Vec::new()),
        Sound::AsIs => (Some(audio.track.clone()), audio.frames.clone()),
        Sound::As(codec) => {
            let mut transcoder = AudioTranscoder::new(&audio.track, codec).expect("a pair it does");
            let mut out = Vec::new();
            for frame in &audio.frames {
                transcoder.push(frame, &mut out);
            }
            (Some(transcoder.track()), out)
        }
    }
}

/// `codec,width,height,rate,packets` of the picture and `codec,sample rate,packets` of the sound.
fn probe(path: &Path) -> (String, String) {
    let of = |select: &str, entries: &str| {
        let (text, errors) = run(
            "ffprobe",
            &[
                "-v",
                "error",
                "-count_packets",
                "-select_streams",
                select,
                "-show_entries",
                entries,
                "-of",
                "csv=p=0",
                path.to_str().expect("a plain path"),
            ],
        );
        assert_eq!(errors, "");
        text.trim().to_owned()
    };
    (
        of(
            "v",
            "stream=codec_name,width,height,r_frame_rate,avg_frame_rate,nb_read_packets",
        ),
        of("a", "stream=codec_name,sample_rate,nb_read_packets"),
    )
}

/// Decodes all of it; ffmpeg has nothing to say.
fn decodes(path: &Path) {
    let path = path.to_str().expect("a plain path");
    let (_, errors) = run("ffmpeg", &["-v", "error", "-i", path, "-f", "null", "-"]);
    assert_eq!(errors, "", "{path}");
}

/// Digests of the decoded pictures, in order of presentation.
fn pictures(path: &Path) -> Vec<String> {
    let (text, _) = run(
        "ffmpeg",
        &[
            "-v",
            "error",
            "-i",
            path.to_str().expect("a plain path"),
            "-map",
            "0:v",
            "-fps_mode",
            "passthrough",
            "-f",
            "framemd5",
            "-",
        ],
    );
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| Some(line.rsplit(',').next()?.trim().to_owned()))
        .collect()
}

fn ready(names: &[&str]) -> bool {
    if !has_tool("ffmpeg") || !has_tool("ffprobe") {
        println!("skipped: ffmpeg is not installed");
        return false;
    }
    if names.iter().any(|name| vector(name).is_none()) {
        println!("skipped: the vectors are not there");
        return false;
    }
    true
}

fn file(name: &str) -> std::path::PathBuf {
    vector(name).expect("ready() has looked")
}

fn suffix(form: Form) -> &'static str {
    match form {
        Form::Flv => "flv",
        Form::Fmp4 => "mp4",
    }
}

#[test]
fn h264_with_reordered_pictures_and_aac() {
    if !ready(&["avatar.h264", "avatar.aac"]) {
        return;
    }
    let folder = Folder::new("h264-aac");
    let video = media_files::video(Codec::H264, &file("avatar.h264"), 25);
    let audio = media_files::aac(&file("avatar.aac"));
    let want = pictures(&file("avatar.h264"));
    for form in Form::ALL {
        let units = rendition(form, AudioPolicy::Playable, &video, &audio);
        let path = folder.write(&format!("a.{}", suffix(form)), &http(&units));
        let (picture, sound) = probe(&path);
        assert_eq!(
            picture,
            format!("h264,768,320,25/1,25/1,{}", video.frames.len()),
            "{form:?}"
        );
        assert_eq!(sound, format!("aac,44100,{}", audio.frames.len()));
        decodes(&path);
        assert_eq!(pictures(&path), want, "{form:?}");
        assert_eq!(
            websocket(&units),
            http(&units),
            "the same bytes over WebSocket"
        );
    }
}

#[test]
fn h264_with_g711_made_playable_and_copied() {
    if !ready(&["ringback.pcma"]) {
        return;
    }
    let folder = Folder::new("h264-g711");
    let made = media_files::make_video(&folder, Codec::H264, 10, "640x360", 25);
    let video = media_files::video(Codec::H264, &made, 25);
    let bytes = Bytes::from(std::fs::read(file("ringback.pcma")).expect("a readable file"));
    let audio = media_files::g711(Codec::G711A, bytes.slice(..80_000), 320);
    for form in Form::ALL {
        for policy in [AudioPolicy::Playable, AudioPolicy::Copy, AudioPolicy::None] {
            let units = rendition(form, policy, &video, &audio);
            let path = folder.write(&format!("g.{}", suffix(form)), &http(&units));
            let (picture, sound) = probe(&path);
            assert_eq!(picture, "h264,640,360,25/1,25/1,250", "{form:?} {policy:?}");
            let want = match policy {
                // Ten seconds of 32 ms.
                AudioPolicy::Playable => "aac,32000,312",
                AudioPolicy::Copy => "pcm_alaw,8000,250",
                AudioPolicy::None => "",
            };
            assert_eq!(sound, want, "{form:?} {policy:?}");
            decodes(&path);
        }
    }
}

#[test]
fn h265_in_fmp4() {
    if !ready(&["avatar.h265", "avatar.aac"]) {
        return;
    }
    let folder = Folder::new("h265-fmp4");
    let video = media_files::video(Codec::H265, &file("avatar.h265"), 25);
    let audio = media_files::aac(&file("avatar.aac"));
    let units = rendition(Form::Fmp4, AudioPolicy::Playable, &video, &audio);
    let path = folder.write("h.mp4", &http(&units));
    let (picture, _) = probe(&path);
    assert_eq!(
        picture,
        format!("hevc,768,320,25/1,25/1,{}", video.frames.len())
    );
    decodes(&path);
    assert_eq!(pictures(&path), pictures(&file("avatar.h265")));
}

/// ffmpeg reads the FourCC form from 6.1 on, so the tags are taken apart here and their content is judged.
#[test]
fn h265_in_enhanced_flv() {
    if !ready(&["avatar.h265", "avatar.aac"]) {
        return;
    }
    let folder = Folder::new("h265-flv");
    let video = media_files::video(Codec::H265, &file("avatar.h265"), 25);
    let audio = media_files::aac(&file("avatar.aac"));
    let units = rendition(Form::Flv, AudioPolicy::Playable, &video, &audio);
    let flv = http(&units);
    let mut annexb = Vec::new();
    let mut frames = video.frames.iter();
    for tag in Tags::of(&flv).filter(|tag| tag.kind == 9) {
        assert_eq!(&tag.data[1..5], b"hvc1");
        match tag.data[0] & 0x0f {
            0 => {
                assert_eq!(tag.data[0] >> 4 & 7, 1);
                put_hvcc_sets(&tag.data[5..], &mut annexb);
            }
            packet => {
                let frame = frames.next().expect("no more tags than frames");
                let (composition, data) = match packet {
                    1 => (
                        u32::from_be_bytes([0, tag.data[5], tag.data[6], tag.data[7]]),
                        &tag.data[8..],
                    ),
                    3 => (0, &tag.data[5..]),
                    other => panic!("packet type {other}"),
                };
                assert_eq!(i64::from(tag.timestamp), frame.dts.as_ms());
                assert_eq!(i64::from(tag.timestamp + composition), frame.pts.as_ms());
                assert_eq!(tag.data[0] & 0x70, if frame.key { 0x10 } else { 0x20 });
                put_annexb(data, &mut annexb);
            }
        }
    }
    assert_eq!(frames.count(), 0, "each frame has its tag");
    let path = folder.write("h.h265", &annexb);
    decodes(&path);
    assert_eq!(pictures(&path), pictures(&file("avatar.h265")));
}

#[test]
fn time_stamps_beyond_24_bits_use_the_extension() {
    let mut source = small_video();
    let hours_5 = 5 * 3600 * 90_000;
    for frame in &mut source.frames {
        frame.dts.0 += hours_5;
        frame.pts.0 += hours_5;
    }
    let mut mux = Mux::new(Form::Flv, &[source.track.clone()]);
    let mut units = vec![mux.init()];
    mux.push(&source.frames[0], &mut units);
    let flv = http(&units);
    let last = Tags::of(&flv).last().expect("there is a frame");
    assert_eq!(last.timestamp, 5 * 3600 * 1000);
}

#[test]
fn a_new_parameter_set_is_told_to_running_viewers() {
    let source = small_video();
    for form in Form::ALL {
        let mut mux = Mux::new(form, std::slice::from_ref(&source.track));
        let before = mux.init();
        let mut units = Vec::new();
        assert!(!mux.set_tracks(std::slice::from_ref(&source.track), &mut units));
        assert!(units.is_empty(), "the same tracks say nothing");
        let sound = media_files::audio_track(Codec::Aac, 16_000, 1, Bytes::from_static(&[0x14, 8]));
        assert!(mux.set_tracks(&[source.track.clone(), sound], &mut units));
        assert_eq!(units.len(), 1);
        assert_ne!(mux.init().head, before.head);
        let told = http(&units);
        let config = told.windows(2).filter(|w| w == &[0x14, 8]).count();
        assert_eq!(
            config, 1,
            "{form:?}: the sound's configuration is in the unit"
        );
    }
}

#[test]
fn what_is_not_in_the_rendition_is_ignored() {
    let source = small_video();
    let opus = media_files::audio_track(Codec::Opus, 48_000, 1, Bytes::new());
    for form in Form::ALL {
        let mut mux = Mux::new(form, &[source.track.clone(), opus.clone()]);
        let mut units = Vec::new();
        let frame = media_files::sound(
            source.frames[0].dts,
            Bytes::from_static(&[1]),
            source.frames[0].received,
        );
        mux.push(&frame, &mut units);
        assert!(units.is_empty());
        mux.push(&source.frames[0], &mut units);
        assert_eq!(units.len(), 1);
        assert!(units[0].key);
        assert_eq!(
            units[0].body.as_ptr(),
            source.frames[0].payload.as_ptr(),
            "the payload is shared"
        );
    }
}

#[test]
fn a_frame_too_long_for_a_tag_is_left_out_of_flv() {
    let source = small_video();
    let mut mux = Mux::new(Form::Flv, std::slice::from_ref(&source.track));
    let max = gantry::limits::FLV_FRAME_BYTES_MAX;
    for (len, want) in [(max, 1), (max + 1, 0)] {
        let mut frame = source.frames[0].clone();
        frame.payload = vec![0; len].into();
        let mut units = Vec::new();
        mux.push(&frame, &mut units);
        assert_eq!(units.len(), want, "{len}");
    }
}

#[test]
fn mime_names_the_codecs() {
    let source = small_video();
    let sound = media_files::audio_track(Codec::Aac, 16_000, 1, Bytes::from_static(&[0x14, 8]));
    let of = |tracks: &[Track]| Mux::new(Form::Fmp4, tracks).mime().to_owned();
    assert_eq!(
        of(&[source.track.clone(), sound.clone()]),
        "video/mp4; codecs=\"avc1.42c01e,mp4a.40.2\""
    );
    assert_eq!(of(&[sound]), "audio/mp4; codecs=\"mp4a.40.2\"");
}

/// Two pictures that no decoder would take, for what needs no decoder.
fn small_video() -> Source {
    use gantry::media::frame::{Params, VideoParams};
    let received = std::time::Instant::now();
    let frames = (0..2)
        .map(|n| Frame {
            track: TrackId::Video,
            dts: gantry::time::MediaTime(n * 3600),
            pts: gantry::time::MediaTime(n * 3600),
            key: n == 0,
            damaged: false,
            payload: media_files::canonical(&[Bytes::from_static(&[0x65, 0x88, 1, 2, 3])]),
            received,
        })
        .collect();
    Source {
        track: Track {
            id: TrackId::Video,
            codec: Codec::H264,
            params: std::sync::Arc::new(Params::Video(VideoParams {
                sps: Bytes::from_static(&[0x67, 0x42, 0xc0, 0x1e, 0xd9]),
                pps: Bytes::from_static(&[0x68, 0xce, 0x3c, 0x80]),
                width: 640,
                height: 360,
                ..VideoParams::default()
            })),
        },
        frames,
    }
}

/// The tags of an FLV file, each checked against the size behind it.
struct Tags<'a>(&'a [u8]);

struct Tag<'a> {
    kind: u8,
    timestamp: u32,
    data: &'a [u8],
}

impl<'a> Tags<'a> {
    fn of(flv: &'a [u8]) -> Tags<'a> {
        assert_eq!(&flv[..4], b"FLV\x01");
        assert_eq!(&flv[5..13], [0, 0, 0, 9, 0, 0, 0, 0]);
        Tags(&flv[13..])
    }
}

impl<'a> Iterator for Tags<'a> {
    type Item = Tag<'a>;
    fn next(&mut self) -> Option<Tag<'a>> {
        let tag = self.0;
        if tag.is_empty() {
            return None;
        }
        let len = u32::from_be_bytes([0, tag[1], tag[2], tag[3]]) as usize;
        let size = &tag[11 + len..15 + len];
        assert_eq!(size, ((11 + len) as u32).to_be_bytes());
        self.0 = &tag[15 + len..];
        Some(Tag {
            kind: tag[0],
            timestamp: u32::from_be_bytes([tag[7], tag[4], tag[5], tag[6]]),
            data: &tag[11..11 + len],
        })
    }
}

fn put_hvcc_sets(record: &[u8], annexb: &mut Vec<u8>) {
    let mut rest = &record[23..];
    for _ in 0..record[22] {
        assert_eq!(rest[1..3], [0, 1], "one set of a kind");
        let len = usize::from(u16::from_be_bytes([rest[3], rest[4]]));
        annexb.extend_from_slice(&[0, 0, 0, 1]);
        annexb.extend_from_slice(&rest[5..5 + len]);
        rest = &rest[5 + len..];
    }
    assert!(rest.is_empty());
}

fn put_annexb(mut payload: &[u8], annexb: &mut Vec<u8>) {
    while !payload.is_empty() {
        let len = u32::from_be_bytes(payload[..4].try_into().expect("four bytes")) as usize;
        annexb.extend_from_slice(&[0, 0, 0, 1]);
        annexb.extend_from_slice(&payload[4..4 + len]);
        payload = &payload[4 + len..];
    }
}
