//! Simulated devices against the real platform and session cores, over loopback sockets on ports that were free.

use std::collections::HashMap;
use std::io::{self, Read};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::*;
use crate::gb28181::{self, MediaTransport, Platform};
use crate::id::{DeviceId, GbId, Ssrc, StreamId};
use crate::media::frame::{Codec, Frame, Track, TrackId};
use crate::media::ingest::{self, Fact, Ingest};
use crate::media::rfc4571::Framer;
use crate::media::rtp;
use crate::net::udp;
use crate::session::port::{MediaCommand, MediaEvent, Progress};
use crate::session::{
    self, Command, Core, CoreConfig, DeviceView, Error, Event, IngestStats, Opened, Owner, Reply,
    RequestId, Target, ViewFailure, ViewKind,
};
use crate::sip::{Path, Transport};
use crate::time::WallClock;

const PASSWORD: &str = "not a secret of anyone";
/// Longest time that anything here may take; all of it takes far less.
const PATIENCE: Duration = Duration::from_secs(30);

fn server_id() -> GbId {
    "34020000002000000001".parse().expect("20 digits")
}

/// One stream as a media thread has it.
struct Feed {
    ssrc: Option<Ssrc>,
    transport: MediaTransport,
    ingest: Ingest,
    tracks: Vec<Track>,
    frames: Vec<Frame>,
    live: bool,
    connection: Option<(TcpStream, Framer)>,
}

/// A node of one thread: cores that are real, a media thread that is not.
struct Node {
    platform: Platform,
    core: Core,
    sip: UdpSocket,
    rtp: UdpSocket,
    listener: TcpListener,
    feeds: HashMap<StreamId, Feed>,
    /// Connections whose first packet has not come.
    unknown: Vec<(TcpStream, Framer)>,
    requests: u64,
    replies: HashMap<RequestId, Result<Reply, Error>>,
    events: Vec<Event>,
}

/// A UDP and a TCP socket on one port.
fn rtp_sockets() -> (UdpSocket, TcpListener) {
    for _ in 0..50 {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
        let address = listener.local_addr().expect("bound");
        let options = udp::Options {
            reuse_port: false,
            // A test that has no processor for a second loses nothing.
            receive_buffer_bytes: 4 << 20,
            send_buffer_bytes: 64 << 10,
        };
        if let Ok((udp, _)) = udp::bind(address, options) {
            udp.set_nonblocking(false).expect("a socket");
            return (udp, listener);
        }
    }
    panic!("no port is free for both");
}

impl Node {
    fn new(config: CoreConfig) -> Node {
        let now = Instant::now();
        let wall = WallClock {
            at: now,
            unix_ms: 1_800_000_000_000,
        };
        let sip = UdpSocket::bind("127.0.0.1:0").expect("loopback");
        let (rtp, listener) = rtp_sockets();
        sip.set_nonblocking(true).expect("a socket");
        rtp.set_read_timeout(Some(Duration::from_millis(2)))
            .expect("a socket");
        listener.set_nonblocking(true).expect("a socket");
        let mut gb = gb28181::Config::new(server_id());
        gb.default_password = Some(PASSWORD.to_owned());
        let core = CoreConfig {
            rtp_ports: vec![rtp.local_addr().expect("bound").port()],
            ssrc_realm: CoreConfig::realm_of(server_id()),
            ..config
        };
        Node {
            platform: Platform::new(gb, [1; 32], now, wall),
            core: Core::new(core, [2; 32], now, wall),
            sip,
            rtp,
            listener,
            feeds: HashMap::new(),
            unknown: Vec::new(),
            requests: 0,
            replies: HashMap::new(),
            events: Vec::new(),
        }
    }

    fn address(&self) -> SocketAddr {
        self.sip.local_addr().expect("bound")
    }

    /// One turn: what has come, what is due, what follows from it.
    fn turn(&mut self) {
        let mut datagram = [0; 65_535];
        while let Ok((length, peer)) = self.sip.recv_from(&mut datagram) {
            let path = Path {
                peer,
                local: self.address(),
                transport: Transport::Udp,
            };
            let raw = Bytes::copy_from_slice(&datagram[..length]);
            self.platform.handle_message(Instant::now(), path, raw);
        }
        let now = Instant::now();
        if self.platform.next_deadline().is_some_and(|at| at <= now) {
            self.platform.handle_timeout(now);
        }
        if self.core.next_deadline().is_some_and(|at| at <= now) {
            self.core.handle_timeout(now);
        }
        self.settle();
        // The one place that waits, two milliseconds at most.
        let mut length = self.rtp.recv(&mut datagram);
        while let Ok(n) = length {
            self.packet(&datagram[..n], None);
            length = match self.rtp.set_nonblocking(true) {
                Ok(()) => self.rtp.recv(&mut datagram),
                Err(e) => Err(e),
            };
        }
        self.rtp.set_nonblocking(false).expect("a socket");
        self.connections();
        self.stats();
        self.settle();
    }

    /// What the session needs to know of the counters: oftener than a media thread tells it.
    fn stats(&mut self) {
        let now = Instant::now();
        for (stream, feed) in &mut self.feeds {
            let counted = feed.ingest.stats(now);
            let stats = IngestStats {
                packets: counted.packets,
                frames: counted.frames,
                psm_seen: counted.psm_seen,
                ..IngestStats::default()
            };
            let stream = *stream;
            self.core.handle_media(
                now,
                MediaEvent::Stats {
                    stream,
                    stats: Box::new(stats),
                },
            );
        }
    }

    fn settle(&mut self) {
        loop {
            let now = Instant::now();
            let mut idle = true;
            while let Some(output) = self.platform.poll_output() {
                idle = false;
                match output {
                    gb28181::Output::Transmit(t) => {
                        self.sip
                            .send_to(&t.payload, t.path.peer)
                            .expect("loopback takes it");
                    }
                    gb28181::Output::Event(event) => self.core.handle_platform(now, event),
                }
            }
            while let Some(output) = self.core.poll_output() {
                idle = false;
                match output {
                    session::Output::Reply(request, result) => {
                        self.replies.insert(request, result);
                    }
                    session::Output::Platform(command) => {
                        self.platform.handle_command(now, command);
                    }
                    session::Output::Media { command, .. } => self.media(command),
                    session::Output::Event(event) => self.events.push(event),
                    session::Output::Persist(_) | session::Output::Messages { .. } => {}
                }
            }
            if idle {
                return;
            }
        }
    }

    fn media(&mut self, command: MediaCommand) {
        match command {
            MediaCommand::OpenIngest {
                stream,
                ssrc,
                transport,
                ..
            } => {
                let config = ingest::Config {
                    ssrc,
                    any_ssrc: false,
                    reliable: transport != MediaTransport::Udp,
                    ..Default::default()
                };
                let feed = Feed {
                    ssrc,
                    transport,
                    ingest: Ingest::new(config),
                    tracks: Vec::new(),
                    frames: Vec::new(),
                    live: false,
                    connection: None,
                };
                self.feeds.insert(stream, feed);
            }
            MediaCommand::UpdateIngest {
                stream,
                ssrc,
                remote,
            } => {
                let feed = self.feeds.get_mut(&stream).expect("an open ingest");
                if ssrc.is_some() {
                    feed.ssrc = ssrc;
                    feed.ingest.set_ssrc(ssrc);
                }
                if let Some(remote) = remote
                    && feed.transport == MediaTransport::TcpActive
                {
                    let connected = TcpStream::connect(remote).expect("the device listens");
                    connected.set_nonblocking(true).expect("a socket");
                    feed.connection = Some((connected, Framer::new()));
                    self.progress(stream, Progress::Connected);
                }
            }
            MediaCommand::CloseIngest { stream } => {
                self.feeds.remove(&stream);
            }
            MediaCommand::DescribeIngest { stream, hints } => {
                let feed = self.feeds.get_mut(&stream).expect("an open ingest");
                feed.ingest.set_hints(hints);
            }
            MediaCommand::SetPace { .. }
            | MediaCommand::CloseViewer { .. }
            | MediaCommand::ResetStatistics => {}
        }
    }

    fn progress(&mut self, stream: StreamId, progress: Progress) {
        let event = MediaEvent::Progress { stream, progress };
        self.core.handle_media(Instant::now(), event);
    }

    /// Gives a packet to the feed that wants it; one that nobody wants to the only one that is there.
    fn packet(&mut self, packet: &[u8], of: Option<StreamId>) {
        let Some(ssrc) = rtp::peek_ssrc(packet) else {
            return;
        };
        let ids: Vec<StreamId> = self.feeds.keys().copied().collect();
        let wanted = self.feeds.iter().find(|(_, f)| f.ssrc == Some(ssrc));
        let wanted = wanted.map(|(id, _)| *id);
        let Some(id) = of.or(wanted).or_else(|| ids.first().copied()) else {
            return;
        };
        let Some(feed) = self.feeds.get_mut(&id) else {
            return;
        };
        let mut told = Vec::new();
        let mut sink = |output: ingest::Output| match output {
            ingest::Output::Track(track) => {
                feed.tracks.retain(|t| t.id != track.id);
                feed.tracks.push(track);
            }
            ingest::Output::Frame(frame) => feed.frames.push(frame),
            ingest::Output::Fact(Fact::FirstRtp { .. }) => told.push(Progress::FirstRtp),
            ingest::Output::Fact(Fact::ForeignSsrc { seen }) => {
                told.push(Progress::ForeignSsrc { seen });
            }
            ingest::Output::Fact(Fact::FirstPs) => told.push(Progress::FirstPs),
            ingest::Output::Fact(
                Fact::NoProgramStream
                | Fact::UnsupportedVideo { .. }
                | Fact::UnsupportedAudio { .. },
            ) => {}
        };
        feed.ingest.push(Instant::now(), packet, &mut sink);
        let key = |f: &Frame| f.track == TrackId::Video && f.key;
        if !feed.live && feed.frames.iter().any(key) {
            feed.live = true;
            let tracks = feed.tracks.clone();
            told.push(Progress::Live { tracks });
        }
        for progress in told {
            self.progress(id, progress);
        }
    }

    fn connections(&mut self) {
        while let Ok((stream, _)) = self.listener.accept() {
            stream.set_nonblocking(true).expect("a socket");
            self.unknown.push((stream, Framer::new()));
        }
        for (mut stream, mut framer) in std::mem::take(&mut self.unknown) {
            let mut packets = Vec::new();
            let open = read(&mut stream, &mut framer, &mut packets);
            for packet in packets {
                self.packet(&packet, None);
            }
            if open {
                self.unknown.push((stream, framer));
            }
        }
        let ids: Vec<StreamId> = self.feeds.keys().copied().collect();
        for id in ids {
            let mut packets = Vec::new();
            if let Some((stream, framer)) = self
                .feeds
                .get_mut(&id)
                .and_then(|feed| feed.connection.as_mut())
            {
                read(stream, framer, &mut packets);
            }
            for packet in packets {
                self.packet(&packet, Some(id));
            }
        }
    }

    fn until(&mut self, what: &str, done: impl Fn(&Node) -> bool) {
        let by = Instant::now() + PATIENCE;
        while !done(self) {
            assert!(Instant::now() < by, "{what}: did not come");
            self.turn();
        }
    }

    fn ask(&mut self, command: Command) -> RequestId {
        self.requests += 1;
        let request = RequestId(self.requests);
        self.core.handle_command(Instant::now(), request, command);
        request
    }

    fn call(&mut self, command: Command) -> Result<Reply, Error> {
        let request = self.ask(command);
        self.until("a reply", |node| node.replies.contains_key(&request));
        self.replies.remove(&request).expect("it is there")
    }

    fn open(&mut self, device: DeviceId, index: u32) -> Result<Opened, Error> {
        let command = Command::Open {
            target: Target::Channel { device, index },
            kind: ViewKind::WsFlv,
            owner: Owner::default(),
        };
        match self.call(command)? {
            Reply::Opened(opened) => Ok(opened),
            other => panic!("not opened: {other:?}"),
        }
    }

    fn device(&mut self, device: DeviceId) -> DeviceView {
        match self.call(Command::Device { device }) {
            Ok(Reply::Device(view)) => *view,
            other => panic!("no device: {other:?}"),
        }
    }

    /// Registered, and its directory is here.
    fn until_listed(&mut self, device: DeviceId) {
        let changed = |e: &Event| matches!(e, Event::DeviceChanged { device: d } if *d == device);
        // Info and catalog.
        self.until("a directory", |node| {
            node.events.iter().filter(|e| changed(e)).count() >= 2
        });
    }

    /// Frames of the only stream.
    fn frames(&self) -> &[Frame] {
        self.feeds.values().next().map_or(&[], |feed| &feed.frames)
    }
}

/// Reads what is there into whole packets. False: the connection is over.
fn read(stream: &mut TcpStream, framer: &mut Framer, packets: &mut Vec<Vec<u8>>) -> bool {
    let mut buffer = [0; 65_536];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return false,
            Ok(n) => framer
                .push(&buffer[..n], &mut |packet: &[u8]| {
                    packets.push(packet.to_vec())
                })
                .expect("framing holds"),
            Err(e) => return e.kind() == io::ErrorKind::WouldBlock,
        }
    }
}

/// Deadlines short enough for a test and long enough for a slow machine.
fn quick() -> CoreConfig {
    CoreConfig {
        rtp_timeout: Duration::from_millis(600),
        picture_timeout: Duration::from_millis(1_500),
        linger: Duration::ZERO,
        ..CoreConfig::default()
    }
}

fn recorder(node: &Node, sound: Sound, quirk: Quirk) -> (Config, DeviceId) {
    let mut config = Config::new(node.address(), server_id(), PASSWORD.to_owned());
    let id = DeviceId("34020000001180000001".parse().expect("20 digits"));
    config.devices.push(Plan {
        id,
        name: "Recorder".to_owned(),
        channels: 4,
        pictures: vec![Picture::Yard, Picture::Hall],
        sound,
        quirk,
    });
    (config, id)
}

/// A node and one device that has registered.
fn pair(config: CoreConfig, quirk: Quirk) -> (Node, Sim, DeviceId) {
    let mut node = Node::new(config);
    let (config, device) = recorder(&node, Sound::G711a, quirk);
    let sim = start(config, 1).expect("loopback");
    node.until_listed(device);
    (node, sim, device)
}

#[test]
fn devices_register_are_listed_and_say_goodbye() {
    let mut node = Node::new(quick());
    let mut config = Config::demo(node.address(), server_id(), PASSWORD.to_owned());
    config.threads = 2;
    let ids: Vec<DeviceId> = config.devices.iter().map(|p| p.id).collect();
    let sim = start(config, 3).expect("loopback");
    for id in &ids {
        node.until_listed(*id);
        let view = node.device(*id);
        assert!(view.online);
        assert_eq!(view.channels.len(), 1, "a camera is its own channel");
        assert_eq!(view.info.model, "simulated");
    }
    node.until("the counter", |_| sim.stats().registered.load(Relaxed) == 4);
    let leaving = std::thread::spawn(move || sim.stop());
    let gone = |e: &&Event| matches!(e, Event::DeviceOffline { .. });
    node.until("goodbyes", |node| {
        node.events.iter().filter(gone).count() == 4
    });
    leaving.join().expect("it stops");
}

#[test]
fn a_directory_has_its_node_left_out_and_its_names_right() {
    let (mut node, _sim, device) = pair(quick(), Quirk::None);
    let view = node.device(device);
    assert_eq!(view.channels.len(), 3);
    assert_eq!(
        view.channels[0].name, "Recorder 1 号",
        "GB2312 there and back"
    );
    assert!(!view.partial);
}

#[test]
fn a_wrong_password_registers_nobody() {
    let mut node = Node::new(quick());
    let (mut config, _) = recorder(&node, Sound::None, Quirk::None);
    config.password = "wrong".to_owned();
    let sim = start(config, 1).expect("loopback");
    node.until("a refusal", |_| {
        sim.stats().register_failures.load(Relaxed) > 0
    });
    assert_eq!(sim.stats().registered.load(Relaxed), 0);
}

#[test]
fn a_view_comes_over_every_transport() {
    for transport in [
        MediaTransport::Udp,
        MediaTransport::TcpPassive,
        MediaTransport::TcpActive,
    ] {
        let config = CoreConfig {
            transport,
            fallback: false,
            rtp_timeout: Duration::from_secs(10),
            ..quick()
        };
        let (mut node, sim, device) = pair(config, Quirk::None);
        let opened = node.open(device, 0).expect("a picture");
        let first = node.frames().first().expect("a frame");
        assert!(first.key, "{transport:?}: the first frame is a key frame");
        let codecs: Vec<Codec> = opened.tracks.iter().map(|t| t.codec).collect();
        assert!(codecs.contains(&Codec::H264), "{codecs:?}");
        node.until("half a second of it", |node| {
            let pictures = node.frames().iter();
            pictures.filter(|f| f.track == TrackId::Video).count() > 12
        });
        assert!(node.frames().iter().any(|f| f.track == TrackId::Audio));
        assert!(node.frames().iter().all(|f| !f.damaged));
        assert_eq!(sim.stats().streaming.load(Relaxed), 1);
        let session = opened.session;
        node.call(Command::Close { session }).expect("closed");
        node.until("BYE", |_| sim.stats().streaming.load(Relaxed) == 0);
    }
}

#[test]
fn another_channel_shows_another_clip() {
    let (mut node, _sim, device) = pair(quick(), Quirk::None);
    let opened = node.open(device, 1).expect("a picture");
    let codecs = opened.tracks.iter().map(|t| t.codec);
    assert!(codecs.into_iter().any(|c| c == Codec::H265));
}

#[test]
fn where_udp_is_lost_or_refused_tcp_takes_over() {
    for quirk in [Quirk::UdpLost, Quirk::TcpOnly] {
        let (mut node, _sim, device) = pair(quick(), quirk);
        node.open(device, 0).expect("a picture over TCP");
        assert_eq!(node.core.counters().fallbacks_live, 1, "{quirk:?}");
    }
}

#[test]
fn what_a_device_does_wrong_has_its_name() {
    let strict = || CoreConfig {
        fallback: false,
        adopt_foreign_ssrc: false,
        ..quick()
    };
    for (quirk, stage) in [
        (Quirk::Silent, "no RTP"),
        (Quirk::WrongSsrc, "foreign SSRC"),
        (Quirk::NoKeyFrame, "no key frame"),
    ] {
        let mut config = strict();
        if quirk != Quirk::Silent {
            // Long enough for what comes to come on a slow machine.
            config.rtp_timeout = Duration::from_secs(3);
        }
        let (mut node, _sim, device) = pair(config, quirk);
        let failure = match node.open(device, 0) {
            Err(Error::View(failure, _)) => failure,
            other => panic!("{quirk:?}: {other:?}"),
        };
        assert_eq!(ViewFailure::stage(&failure), stage);
    }
    let config = CoreConfig {
        rtp_timeout: Duration::from_secs(10),
        ..quick()
    };
    let (mut node, _sim, device) = pair(config, Quirk::WrongSsrc);
    node.open(device, 0).expect("its SSRC is adopted");
    assert_eq!(node.core.counters().ssrc_adopted, 1);
}

#[test]
fn a_device_that_leaves_ends_its_views() {
    let (mut node, sim, device) = pair(quick(), Quirk::None);
    let opened = node.open(device, 0).expect("a picture");
    let leaving = std::thread::spawn(move || sim.stop());
    let closed =
        |e: &Event| matches!(e, Event::SessionClosed { session } if *session == opened.session);
    node.until("the end of the session", |node| {
        node.events.iter().any(closed)
    });
    leaving.join().expect("it stops");
}
