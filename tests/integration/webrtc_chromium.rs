//! A WebRTC viewer of ours against Chromium: over UDP and ICE-TCP, with AES-GCM and AES-CM, with packets lost on purpose.
//!
//! ffmpeg makes H.264 (High) and G.711A, a page of its own asks for them, and what counts is what the browser says it has
//! decoded. Without ffmpeg or Chromium the tests say that they were skipped.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use gantry::egress::webrtc::demux::Route;
use gantry::egress::webrtc::srtp::Profile;
use gantry::egress::webrtc::viewer::{Event, Packet, Viewer};
use gantry::egress::webrtc::{Address, Identity, Offered, Router};
use gantry::limits::RTP_PAYLOAD_BYTES_MAX;
use gantry::media::frame::{AudioParams, Codec, Params, Track, TrackId, VideoParams};
use gantry::time::{MediaTime, WallClock};

const PAGE: &str = r#"<!doctype html><video autoplay playsinline></video><script>
const post = (path, body) => fetch(path, {method: 'POST', body});
(async () => {
  try {
    const pc = new RTCPeerConnection({}), began = performance.now();
    let first = 0;
    const video = document.querySelector('video');
    const streams = new Set();
    pc.ontrack = e => { streams.add(e.streams[0].id); video.srcObject = e.streams[0]; };
    video.requestVideoFrameCallback(() => first = performance.now() - began);
    pc.addTransceiver('audio', {direction: 'recvonly'});
    pc.addTransceiver('video', {direction: 'recvonly'});
    await pc.setLocalDescription();
    await pc.setRemoteDescription({type: 'answer', sdp: await (await post('/offer', pc.localDescription.sdp)).text()});
    for (let n = 0; n < 150; n++) {
      await new Promise(done => setTimeout(done, 100));
      const all = [...(await pc.getStats()).values()];
      const of = kind => all.find(s => s.type == 'inbound-rtp' && s.kind == kind) || {};
      const v = of('video'), a = of('audio'), t = all.find(s => s.type == 'transport') || {};
      if ((v.framesDecoded || 0) < 100 && n < 149) continue;
      const pair = all.find(s => s.id == t.selectedCandidatePairId) || {};
      const local = all.find(s => s.id == pair.localCandidateId) || {};
      pc.close();
      return post('/result', ['frames', v.framesDecoded, 'width', v.frameWidth, 'lost', v.packetsLost, 'nack', v.nackCount, 'pli', v.pliCount,
        'freeze', v.freezeCount, 'rtx', v.retransmittedPacketsReceived, 'energy', Math.round(1000 * (a.totalAudioEnergy || 0)),
        'audio', a.packetsReceived, 'streams', streams.size, 'first_ms', Math.round(first), 'srtp', t.srtpCipher,
        'transport', local.protocol].join(' '));
    }
  } catch (error) { post('/result', 'error ' + error); }
})();
</script>"#;

/// A payload of the shared ring.
struct Payload {
    track: TrackId,
    prefix: Vec<u8>,
    body: Vec<u8>,
    marker: bool,
    timestamp: u32,
}

impl Payload {
    fn packet(&self) -> Packet<'_> {
        Packet {
            track: self.track,
            prefix: &self.prefix,
            body: &self.body,
            padding: 0,
            marker: self.marker,
            timestamp: self.timestamp,
        }
    }
}

fn ffmpeg(args: &[&str]) -> Option<Vec<u8>> {
    let out = Command::new("ffmpeg")
        .args(["-v", "error"])
        .args(args)
        .arg("-")
        .output()
        .ok()?;
    out.status.success().then_some(out.stdout)
}

/// NAL units of a byte stream.
fn nals(stream: &[u8]) -> Vec<&[u8]> {
    let starts: Vec<usize> = stream
        .windows(3)
        .enumerate()
        .filter(|(_, w)| *w == [0, 0, 1])
        .map(|(at, _)| at + 3)
        .collect();
    let ends = starts.iter().skip(1).map(|s| s - 3).chain([stream.len()]);
    let mut found = Vec::new();
    for (start, end) in starts.iter().zip(ends) {
        let mut nal = &stream[*start..end];
        while let [rest @ .., 0] = nal {
            nal = rest;
        }
        found.push(nal);
    }
    found
}

/// Single NAL units and FU-A (RFC 6184, 5.6 and 5.8).
fn packetize(nal: &[u8], timestamp: u32, marker: bool, out: &mut Vec<Payload>) {
    let mut put = |prefix: Vec<u8>, body: &[u8], marker| {
        out.push(Payload {
            track: TrackId::Video,
            prefix,
            body: body.to_vec(),
            marker,
            timestamp,
        });
    };
    if nal.len() <= RTP_PAYLOAD_BYTES_MAX {
        return put(vec![], nal, marker);
    }
    let chunks: Vec<&[u8]> = nal[1..].chunks(RTP_PAYLOAD_BYTES_MAX - 2).collect();
    for (i, chunk) in chunks.iter().enumerate() {
        let last = i + 1 == chunks.len();
        let flags = u8::from(i == 0) << 7 | u8::from(last) << 6;
        put(
            vec![nal[0] & 0xe0 | 28, flags | nal[0] & 0x1f],
            chunk,
            marker && last,
        );
    }
}

/// The clip: pictures (payload lists) at 25 Hz, the sound at 40 ms, and the SPS.
struct Clip {
    pictures: Vec<Vec<Payload>>,
    sounds: Vec<Payload>,
    sps: Vec<u8>,
}

fn clip() -> Option<Clip> {
    let video = ffmpeg(&[
        "-f",
        "lavfi",
        "-i",
        "testsrc2=size=640x360:rate=25",
        "-t",
        "4",
        "-c:v",
        "libx264",
        "-preset",
        "veryfast",
        "-profile:v",
        "high",
        "-x264-params",
        "keyint=25:scenecut=0:bframes=0:slices=1",
        "-pix_fmt",
        "yuv420p",
        "-f",
        "h264",
    ])?;
    let sound = ffmpeg(&[
        "-f",
        "lavfi",
        "-i",
        "sine=frequency=440:sample_rate=8000",
        "-t",
        "4",
        "-f",
        "alaw",
    ])?;
    let (mut pictures, mut sps, mut before) = (Vec::new(), Vec::new(), Vec::new());
    for nal in nals(&video) {
        let timestamp = pictures.len() as u32 * 3600;
        match nal[0] & 0x1f {
            1 | 5 => {
                let mut packets = Vec::new();
                for set in before.drain(..) {
                    packetize(set, timestamp, false, &mut packets);
                }
                packetize(nal, timestamp, true, &mut packets);
                pictures.push(packets);
            }
            kind @ (7 | 8) => {
                if kind == 7 {
                    sps = nal.to_vec();
                }
                before.push(nal);
            }
            _ => {}
        }
    }
    let sounds = sound.chunks_exact(320).enumerate();
    let sounds = sounds
        .map(|(i, chunk)| Payload {
            track: TrackId::Audio,
            prefix: vec![],
            body: chunk.to_vec(),
            marker: false,
            timestamp: i as u32 * 320,
        })
        .collect();
    Some(Clip {
        pictures,
        sounds,
        sps,
    })
}

/// Removes its folder and ends its process when the test is over.
struct Chromium(Child, std::path::PathBuf);

impl Drop for Chromium {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
        let _ = std::fs::remove_dir_all(&self.1);
    }
}

impl Chromium {
    fn start(url: &str) -> Option<Self> {
        let profile = std::env::temp_dir().join(format!(
            "gantry-webrtc-{}-{}",
            std::process::id(),
            port_of(url)
        ));
        ["chromium", "chromium-browser", "google-chrome"]
            .iter()
            .find_map(|name| {
                let child = Command::new(name)
                    .args([
                        "--headless=new",
                        "--no-sandbox",
                        "--disable-gpu",
                        "--disable-dev-shm-usage",
                        "--no-first-run",
                    ])
                    .args([
                        "--autoplay-policy=no-user-gesture-required",
                        "--disable-background-networking",
                    ])
                    .arg(format!("--user-data-dir={}", profile.display()))
                    .arg(url)
                    .stdout(Stdio::null())
                    .stderr(Stdio::null())
                    .spawn();
                child.ok().map(|c| Chromium(c, profile.clone()))
            })
    }
}

fn port_of(url: &str) -> u16 {
    url.rsplit([':', '/'])
        .find_map(|p| p.parse().ok())
        .unwrap_or(0)
}

enum Request {
    Offer(String, mpsc::Sender<String>),
    Result(String),
}

/// The page, and what it posts.
fn http(listener: TcpListener, requests: mpsc::Sender<Request>) {
    for stream in listener.incoming().flatten() {
        let requests = requests.clone();
        std::thread::spawn(move || serve(stream, &requests));
    }
}

fn serve(mut stream: TcpStream, requests: &mpsc::Sender<Request>) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let path = line.split(' ').nth(1)?.to_owned();
    let mut len = 0;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok()?;
        let (name, value) = header.trim().split_once(':').unwrap_or((header.trim(), ""));
        if name.is_empty() {
            break;
        }
        if name.eq_ignore_ascii_case("content-length") {
            len = value.trim().parse().ok()?;
        }
    }
    let mut body = vec![0; len];
    reader.read_exact(&mut body).ok()?;
    let body = String::from_utf8(body).ok()?;
    let (kind, answer) = match path.as_str() {
        "/offer" => {
            let (tx, rx) = mpsc::channel();
            requests.send(Request::Offer(body, tx)).ok()?;
            ("application/sdp", rx.recv().ok()?)
        }
        "/result" => {
            requests.send(Request::Result(body)).ok()?;
            ("text/plain", String::new())
        }
        _ => ("text/html", PAGE.to_owned()),
    };
    write!(
        stream,
        "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{answer}",
        answer.len()
    )
    .ok()
}

/// The server of one viewer.
struct Server {
    start: Instant,
    candidate: Address,
    udp: UdpSocket,
    tcp_listener: TcpListener,
    tcp: Vec<(TcpStream, SocketAddr, Vec<u8>)>,
    router: Router,
    viewer: Option<(u32, Viewer)>,
    /// Every n-th picture packet is not sent the first time.
    lose_every: usize,
    sent: usize,
    resent: usize,
    /// Picture and packet of every payload so far, by index.
    video: Vec<(usize, usize)>,
    audio: usize,
}

impl Server {
    fn new(case: Case) -> Self {
        let udp = UdpSocket::bind("127.0.0.1:0").expect("a port");
        // The wait for a datagram is the clock of the loop.
        udp.set_read_timeout(Some(Duration::from_millis(1)))
            .expect("a socket");
        let tcp_listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        tcp_listener.set_nonblocking(true).expect("a socket");
        let candidate = if case.tcp {
            Address::Tcp(tcp_listener.local_addr().expect("bound"))
        } else {
            Address::Udp(udp.local_addr().expect("bound"))
        };
        Server {
            start: Instant::now(),
            candidate,
            udp,
            tcp_listener,
            tcp: Vec::new(),
            router: Router::new(0),
            viewer: None,
            lose_every: case.lose_every,
            sent: 0,
            resent: 0,
            video: Vec::new(),
            audio: 0,
        }
    }

    fn accept(
        &mut self,
        now: Instant,
        identity: &Arc<Identity>,
        (video, audio): &(Track, Track),
        offer: &str,
    ) -> String {
        let (slot, ufrag) = self.router.reserve(0x1234).expect("room");
        let media = Offered {
            video: Some(video),
            audio: Some(audio),
        };
        let candidates = [self.candidate];
        let (viewer, answer) =
            Viewer::answer(identity, offer, media, &candidates, ufrag, [9; 32], now)
                .expect("an answer");
        self.viewer = Some((slot, viewer));
        answer
    }

    fn pump(&mut self, now: Instant) {
        let mut buf = [0; 2048];
        match self.udp.recv_from(&mut buf) {
            Ok((n, from)) => self.take(now, Address::Udp(from), &mut buf[..n]),
            Err(e) => assert!(
                matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
                "{e}"
            ),
        }
        while let Ok((stream, from)) = self.tcp_listener.accept() {
            stream.set_nonblocking(true).expect("a socket");
            stream.set_nodelay(true).expect("a socket");
            self.tcp.push((stream, from, Vec::new()));
        }
        let mut frames = Vec::new();
        for (stream, from, held) in &mut self.tcp {
            while let Ok(n @ 1..) = stream.read(&mut buf) {
                held.extend_from_slice(&buf[..n]);
            }
            while let Some(len) = held
                .first_chunk()
                .map(|l| usize::from(u16::from_be_bytes(*l)))
                && held.len() >= len + 2
            {
                frames.push((*from, held[2..len + 2].to_vec()));
                held.drain(..len + 2);
            }
        }
        for (from, mut frame) in frames {
            self.take(now, Address::Tcp(from), &mut frame);
        }
        let (udp, tcp) = (&self.udp, &mut self.tcp);
        if let Some((_, viewer)) = &mut self.viewer {
            viewer.handle_timeout(now, &mut |to, d| send(udp, tcp, to, d));
        }
    }

    fn take(&mut self, now: Instant, from: Address, datagram: &mut [u8]) {
        let Some((slot, viewer)) = &mut self.viewer else {
            return;
        };
        if self.router.route(from, datagram) != Route::Viewer(*slot) {
            return;
        }
        let (udp, tcp) = (&self.udp, &mut self.tcp);
        let handled =
            viewer.handle_datagram(now, from, datagram, &mut |to, d| send(udp, tcp, to, d));
        if let Some(address) = handled.learned {
            self.router.bind(address, *slot);
        }
    }

    /// Seals one payload and sends it, unless it is to be lost.
    fn media(&mut self, index: u64, payload: &Payload) {
        let Some((_, viewer)) = &mut self.viewer else {
            return;
        };
        let mut out = Vec::new();
        viewer.seal_rtp(index, &payload.packet(), &mut out);
        assert!(out.len() <= 1200);
        self.sent += 1;
        let lost = payload.track == TrackId::Video
            && self.lose_every > 0
            && self.sent.is_multiple_of(self.lose_every);
        if let (Some(to), false) = (viewer.remote(), lost) {
            send(&self.udp, &mut self.tcp, to, &out);
        }
    }

    fn events(&mut self, clip: &Clip) {
        let Some((_, viewer)) = &mut self.viewer else {
            return;
        };
        while let Some(event) = viewer.poll_event() {
            if let Event::Resend(resend) = event {
                let (picture, packet) = self.video[resend.index as usize];
                let payload = &clip.pictures[picture % clip.pictures.len()][packet];
                let mut again = payload.packet();
                again.timestamp = picture as u32 * 3600;
                let mut out = Vec::new();
                viewer.seal_resend(resend, &again, &mut out);
                self.resent += 1;
                if let Some(to) = viewer.remote() {
                    send(&self.udp, &mut self.tcp, to, &out);
                }
            }
        }
    }
}

fn send(
    udp: &UdpSocket,
    tcp: &mut [(TcpStream, SocketAddr, Vec<u8>)],
    to: Address,
    datagram: &[u8],
) {
    match to {
        Address::Udp(to) => {
            let _ = udp.send_to(datagram, to);
        }
        Address::Tcp(to) => {
            if let Some((stream, _, _)) = tcp.iter_mut().find(|(_, from, _)| *from == to) {
                let mut frame = (datagram.len() as u16).to_be_bytes().to_vec();
                frame.extend_from_slice(datagram);
                let _ = stream.write_all(&frame);
            }
        }
    }
}

#[derive(Clone, Copy)]
struct Case {
    profiles: &'static [Profile],
    tcp: bool,
    lose_every: usize,
}

/// What the browser said, and how much was sent again.
struct Seen {
    said: String,
    resent: usize,
    /// From the answer to keys and nomination.
    ready_ms: u128,
    /// The viewer's end, as the server saw it.
    end: String,
}

impl Seen {
    fn number(&self, name: &str) -> i64 {
        let mut words = self.said.split(' ');
        words.by_ref().find(|w| *w == name);
        words.next().and_then(|w| w.parse().ok()).unwrap_or(-1)
    }
}

fn play(case: Case) -> Option<Seen> {
    let Some(clip) = clip() else {
        println!("skipped: no ffmpeg with libx264");
        return None;
    };
    let tracks = tracks(&clip);
    let identity = Arc::new(Identity::with_profiles(case.profiles).expect("an identity"));
    let mut server = Server::new(case);
    let web = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}/", web.local_addr().expect("bound"));
    let (tx, requests) = mpsc::channel();
    std::thread::spawn(move || http(web, tx));
    let Some(_browser) = Chromium::start(&url) else {
        println!("skipped: no Chromium");
        return None;
    };
    let start = Instant::now();
    let (mut picture, mut answered, mut ready, mut said) = (0, start, None, None);
    while start.elapsed() < Duration::from_secs(60) {
        let now = Instant::now();
        match requests.try_recv() {
            Ok(Request::Offer(offer, reply)) => {
                answered = now;
                let answer = server.accept(now, &identity, &tracks, &offer);
                reply.send(answer).expect("the browser waits");
            }
            Ok(Request::Result(text)) => said = Some(text),
            Err(_) => {}
        }
        server.pump(now);
        server.events(&clip);
        let Some((_, viewer)) = &server.viewer else {
            continue;
        };
        if let (Some(said), Some(end)) = (&said, viewer.closed()) {
            return Some(Seen {
                said: said.clone(),
                resent: server.resent,
                ready_ms: ready.map_or(0, |r: Instant| (r - answered).as_millis()),
                end: end.to_string(),
            });
        }
        if viewer.is_ready() && said.is_none() {
            let began = *ready.get_or_insert(now);
            while picture as u128 * 40 <= (now - began).as_millis() {
                send_picture(&mut server, &clip, picture, now);
                picture += 1;
            }
        }
    }
    panic!("the browser said {said:?} and the viewer did not end in 60 s");
}

fn tracks(clip: &Clip) -> (Track, Track) {
    let video = VideoParams {
        sps: clip.sps.clone().into(),
        ..VideoParams::default()
    };
    let audio = AudioParams {
        sample_rate: 8000,
        channels: 1,
        config: bytes::Bytes::new(),
    };
    (
        Track {
            id: TrackId::Video,
            codec: Codec::H264,
            params: Arc::new(Params::Video(video)),
        },
        Track {
            id: TrackId::Audio,
            codec: Codec::G711A,
            params: Arc::new(Params::Audio(audio)),
        },
    )
}

/// One picture and the sound beside it.
fn send_picture(server: &mut Server, clip: &Clip, picture: usize, now: Instant) {
    let wall = WallClock {
        at: server.start,
        unix_ms: 1_790_000_000_000,
    };
    if let Some((_, viewer)) = &mut server.viewer {
        viewer.set_clock(now, &wall, MediaTime(picture as i64 * 3600));
    }
    let packets = &clip.pictures[picture % clip.pictures.len()];
    for (n, payload) in packets.iter().enumerate() {
        let index = server.video.len() as u64;
        server.video.push((picture, n));
        let payload = Payload {
            timestamp: picture as u32 * 3600,
            prefix: payload.prefix.clone(),
            body: payload.body.clone(),
            ..*payload
        };
        server.media(index, &payload);
    }
    let sound = &clip.sounds[server.audio % clip.sounds.len()];
    let sound = Payload {
        timestamp: server.audio as u32 * 320,
        prefix: vec![],
        body: sound.body.clone(),
        ..*sound
    };
    server.media(server.audio as u64, &sound);
    server.audio += 1;
}

/// Picture and sound came, whole, in one stream, and the browser's goodbye was heard.
fn check(seen: &Seen) {
    println!(
        "{} resent {} ready_ms {} end: {}",
        seen.said, seen.resent, seen.ready_ms, seen.end
    );
    assert!(seen.number("frames") >= 100);
    assert_eq!(seen.number("width"), 640);
    assert_eq!(seen.number("streams"), 1);
    assert!(seen.number("energy") > 0 && seen.number("audio") >= 90);
    assert_eq!(seen.number("pli"), 0);
    assert_eq!(seen.end, "closed by the viewer");
}

#[test]
fn chromium_plays_over_udp_with_gcm_and_gets_lost_packets_again() {
    let case = Case {
        profiles: &Profile::BEST_FIRST,
        tcp: false,
        lose_every: 25,
    };
    let Some(seen) = play(case) else { return };
    check(&seen);
    assert!(
        seen.said
            .contains("srtp SRTP_AEAD_AES_128_GCM transport udp")
    );
    assert!(seen.resent > 0 && seen.number("rtx") > 0);
}

#[test]
fn chromium_plays_with_aes_cm() {
    let case = Case {
        profiles: &[Profile::Cm80],
        tcp: false,
        lose_every: 0,
    };
    let Some(seen) = play(case) else { return };
    check(&seen);
    assert!(
        seen.said
            .contains("srtp SRTP_AES128_CM_HMAC_SHA1_80 transport udp")
    );
    assert_eq!((seen.number("lost"), seen.resent), (0, 0));
}

#[test]
fn chromium_plays_over_ice_tcp() {
    let case = Case {
        profiles: &Profile::BEST_FIRST,
        tcp: true,
        lose_every: 0,
    };
    let Some(seen) = play(case) else { return };
    check(&seen);
    assert!(
        seen.said
            .contains("srtp SRTP_AEAD_AES_128_GCM transport tcp")
    );
}
