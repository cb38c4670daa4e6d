//! fMP4 in the strictest player there is: Chromium's Media Source Extensions take every fragment, show every picture, and
//! see one unbroken range, also where pictures and sound are missing.

use crate::media_files;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::time::Duration;

use gantry::egress::{Form, Mux, Unit};
use gantry::media::frame::{Codec, Frame, Track};
use gantry::media::transcode::AudioTranscoder;
use media_files::{Folder, Source, has_tool, interleave};

const PAGE: &str = r#"<!doctype html><video muted></video><script>
const say = text => fetch('/result', {method: 'POST', body: text});
(async () => {
  try {
    const mime = await (await fetch('/mime')).text();
    if (!MediaSource.isTypeSupported(mime)) return say('unsupported ' + mime);
    const all = new DataView(await (await fetch('/units')).arrayBuffer());
    const video = document.querySelector('video');
    const source = new MediaSource();
    video.src = URL.createObjectURL(source);
    await new Promise(done => source.onsourceopen = done);
    const buffer = source.addSourceBuffer(mime);
    let failed = '';
    buffer.onerror = () => failed = 'buffer error';
    video.onerror = () => failed = video.error.message;
    for (let at = 0; at < all.byteLength && !failed;) {
      const len = all.getUint32(at);
      buffer.appendBuffer(all.buffer.slice(at + 4, at + 4 + len));
      await new Promise(done => buffer.onupdateend = done);
      at += 4 + len;
    }
    source.endOfStream();
    const ranges = buffer.buffered.length;
    const start = buffer.buffered.start(0), end = buffer.buffered.end(ranges - 1);
    video.currentTime = start;
    video.playbackRate = 4;
    video.play();
    await new Promise(done => { video.onended = done; setTimeout(done, 25000); });
    const shown = video.getVideoPlaybackQuality().totalVideoFrames;
    say([failed || 'ok', ranges, (end - start).toFixed(1), shown, video.videoWidth, video.ended].join(' '));
  } catch (error) { say('' + error); }
})();
</script>"#;

/// Serves the page and what it plays until it tells its result.
fn serve(listener: &TcpListener, mime: &str, units: &[u8]) -> String {
    for stream in listener.incoming() {
        let stream = stream.expect("a connection of the browser");
        if let Some(result) = answer(stream, mime, units) {
            return result;
        }
    }
    unreachable!("incoming() does not end")
}

fn answer(mut stream: TcpStream, mime: &str, units: &[u8]) -> Option<String> {
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut request = String::new();
    reader.read_line(&mut request).ok()?;
    let mut len = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let line = line.trim().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(value) = line.strip_prefix("content-length:") {
            len = value.trim().parse().ok()?;
        }
    }
    let mut body = vec![0; len];
    reader.read_exact(&mut body).ok()?;
    let (kind, content) = match request.split(' ').nth(1)? {
        "/" => ("text/html", PAGE.as_bytes()),
        "/mime" => ("text/plain", mime.as_bytes()),
        "/units" => ("application/octet-stream", units),
        _ => ("text/plain", &b""[..]),
    };
    write!(
        stream,
        "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        content.len()
    )
    .ok()?;
    stream.write_all(content).ok()?;
    (request.starts_with("POST /result")).then(|| String::from_utf8_lossy(&body).into_owned())
}

fn played(tracks: &[Track], frames: &[Frame]) -> String {
    let mut mux = Mux::new(Form::Fmp4, tracks);
    let mut units: Vec<Unit> = vec![mux.init()];
    for frame in frames {
        mux.push(frame, &mut units);
    }
    let mut content = Vec::new();
    for unit in &units {
        content.extend_from_slice(&(unit.len_http() as u32).to_be_bytes());
        content.extend_from_slice(&unit.head[usize::from(unit.ws_header_len)..]);
        content.extend_from_slice(&unit.body);
    }
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    let profile = Folder::new(&format!("chromium-{}", address.port()));
    let mut browser = Command::new("chromium")
        .args([
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--no-first-run",
            "--autoplay-policy=no-user-gesture-required",
        ])
        .arg(format!("--user-data-dir={}", profile.file("p").display()))
        .arg(format!("http://{address}/"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("chromium starts");
    let result = serve(&listener, mux.mime(), &content);
    let _ = browser.kill();
    let _ = browser.wait();
    result
}

fn ready() -> bool {
    let ready = has_tool("chromium") && has_tool("ffmpeg") && has_tool("ffprobe");
    if !ready {
        println!("skipped: chromium or ffmpeg is not installed");
    }
    ready
}

/// Eight seconds of a camera: H.264 and G.711A made playable.
fn camera(folder: &Folder) -> (Source, Source) {
    let made = media_files::make_video(folder, Codec::H264, 8, "320x240", 25);
    let video = media_files::video(Codec::H264, &made, 25);
    let alaw = media_files::g711(Codec::G711A, vec![0xd5; 64_000].into(), 320);
    let mut transcoder = AudioTranscoder::new(&alaw.track, Codec::Aac).expect("a pair it does");
    let mut frames = Vec::new();
    for frame in &alaw.frames {
        transcoder.push(frame, &mut frames);
    }
    let audio = Source {
        track: transcoder.track(),
        frames,
    };
    (video, audio)
}

#[test]
fn every_picture_is_shown_in_one_range() {
    if !ready() {
        return;
    }
    let folder = Folder::new("mse-whole");
    let (video, audio) = camera(&folder);
    let frames = interleave(&[&video.frames, &audio.frames]);
    let result = played(&[video.track.clone(), audio.track.clone()], &frames);
    assert_shown(&result, 200);
}

#[test]
fn holes_in_picture_and_sound_cost_no_other_picture() {
    if !ready() {
        return;
    }
    let folder = Folder::new("mse-holes");
    let (mut video, mut audio) = camera(&folder);
    // 200 ms of picture within a group, 320 ms of sound elsewhere, and the end of a group.
    let lost = |n: usize| (60..65).contains(&n) || (120..125).contains(&n);
    let mut n = 0;
    video.frames.retain(|_| {
        n += 1;
        !lost(n - 1)
    });
    audio.frames.drain(90..100);
    let frames = interleave(&[&video.frames, &audio.frames]);
    let result = played(&[video.track.clone(), audio.track.clone()], &frames);
    assert_shown(&result, 190);
}

/// One range of eight seconds, played to its end, every picture shown. Chromium counts some twice: those that it shows
/// before it begins to play.
fn assert_shown(result: &str, pictures: u32) {
    let fields: Vec<&str> = result.split(' ').collect();
    let [state, ranges, seconds, shown, width, ended] = fields[..] else {
        panic!("{result}");
    };
    assert_eq!(
        (state, ranges, seconds, width, ended),
        ("ok", "1", "8.0", "320", "true"),
        "{result}"
    );
    let shown: u32 = shown.parse().expect("a count");
    assert!((pictures..pictures + 10).contains(&shown), "{result}");
}
