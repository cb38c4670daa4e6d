//! Behaviour of the core in virtual time: one rig plays the clients, the devices and the media threads.

mod devices;
mod ending;
mod named;
mod opening;
mod path;
mod playback;
mod random;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::gb28181::{
    AnsweredPayload, CatalogItem, Command as GbCommand, EndedBy, Event as Gb, Invite,
    InviteFailure, InviteId, MediaAnswer, MediaTransport, OfflineReason,
};
use crate::id::{DeviceId, SessionId, Ssrc, StreamId};
use crate::time::WallClock;

use super::port::{MediaCommand, MediaEvent, Progress, ViewerStats};
use super::*;

const UNIX_MS: i64 = 1_800_000_000_000;

struct Rig {
    core: Core,
    now: Instant,
    start: Instant,
    requests: u64,
    /// What came out and no test has taken yet.
    invites: Vec<Invite>,
    ended: Vec<InviteId>,
    queries: Vec<DeviceId>,
    platform: Vec<GbCommand>,
    media: Vec<MediaCommand>,
    events: Vec<Event>,
    persist: Vec<Persist>,
    replies: HashMap<RequestId, Result<Reply, Error>>,
    /// Media threads can open the ports that they are told to.
    ports_open: bool,
}

fn config() -> CoreConfig {
    CoreConfig {
        shards: 2,
        rtp_ports: vec![30000, 30001],
        ssrc_realm: *b"20000",
        ..CoreConfig::default()
    }
}

fn device(n: u32) -> DeviceId {
    let id = format!("3402000000118{n:07}");
    DeviceId(id.parse().expect("20 digits"))
}

fn camera(n: u32) -> CatalogItem {
    CatalogItem {
        id: format!("3402000000132{n:07}"),
        online: true,
        ..CatalogItem::default()
    }
}

fn peer() -> SocketAddr {
    "192.0.2.7:5060".parse().expect("an address")
}

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

impl Rig {
    fn with(config: CoreConfig) -> Rig {
        let now = Instant::now();
        let wall = WallClock {
            at: now,
            unix_ms: UNIX_MS,
        };
        Rig {
            core: Core::new(config, [7; 32], now, wall),
            now,
            start: now,
            requests: 0,
            invites: Vec::new(),
            ended: Vec::new(),
            queries: Vec::new(),
            platform: Vec::new(),
            media: Vec::new(),
            events: Vec::new(),
            persist: Vec::new(),
            replies: HashMap::new(),
            ports_open: true,
        }
    }

    /// Device 1 is online with four cameras.
    fn new() -> Rig {
        let mut rig = Rig::with(config());
        rig.come(device(1), 4);
        rig.events.clear();
        rig
    }

    fn come(&mut self, device: DeviceId, cameras: u32) {
        self.gb(Gb::Online {
            device,
            peer: peer(),
            over_tcp: false,
            first: true,
        });
        self.gb(Gb::Catalog {
            device,
            channels: (1..=cameras).map(camera).collect(),
            partial: false,
        });
    }

    fn go(&mut self, device: DeviceId) {
        let why = OfflineReason::KeepaliveMissed;
        self.gb(Gb::Offline { device, why });
    }

    fn drain(&mut self) {
        let mut opened = Vec::new();
        while let Some(output) = self.core.poll_output() {
            match output {
                Output::Reply(request, result) => {
                    let before = self.replies.insert(request, result);
                    assert!(before.is_none(), "{request:?} was answered twice");
                }
                Output::Platform(GbCommand::Invite(invite)) => self.invites.push(invite),
                Output::Platform(GbCommand::EndInvite { id }) => {
                    assert!(!self.ended.contains(&id), "{id:?} was ended twice");
                    self.ended.push(id);
                }
                Output::Platform(GbCommand::QueryCatalog { device }) => self.queries.push(device),
                Output::Platform(command) => self.platform.push(command),
                Output::Media { shard, command } => {
                    if let MediaCommand::OpenIngest { stream, .. } = &command {
                        assert_eq!(shard, stream.shard);
                    }
                    if let MediaCommand::OpenIngest {
                        stream, options, ..
                    } = &command
                        && options.port.is_some()
                    {
                        let stream = *stream;
                        let progress = match self.ports_open {
                            true => Progress::PortOpen,
                            false => Progress::PortTaken,
                        };
                        opened.push(MediaEvent::Progress { stream, progress });
                    }
                    self.media.push(command);
                }
                Output::Event(event) => self.events.push(event),
                Output::Persist(persist) => self.persist.push(persist),
                Output::Messages { .. } => panic!("no test asks for messages"),
            }
        }
        for event in opened {
            self.media(event);
        }
    }

    fn gb(&mut self, event: Gb) {
        self.core.handle_platform(self.now, event);
        self.drain();
    }

    fn media(&mut self, event: MediaEvent) {
        self.core.handle_media(self.now, event);
        self.drain();
    }

    fn ask(&mut self, command: Command) -> RequestId {
        self.requests += 1;
        let request = RequestId(self.requests);
        self.core.handle_command(self.now, request, command);
        self.drain();
        request
    }

    /// Asks what is answered at once.
    fn call(&mut self, command: Command) -> Result<Reply, Error> {
        let request = self.ask(command);
        self.replies.remove(&request).expect("answered at once")
    }

    fn open(&mut self, index: u32) -> RequestId {
        self.ask(open_of(device(1), index))
    }

    /// Time passes from deadline to deadline.
    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(at) = self.core.next_deadline().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.core.handle_timeout(self.now);
            self.drain();
        }
        self.now = end;
    }

    fn invite(&mut self) -> Invite {
        assert!(!self.invites.is_empty(), "an INVITE is expected");
        self.invites.remove(0)
    }

    /// The stream that was opened last.
    fn last_stream(&self) -> StreamId {
        let opened = self.media.iter().rev().find_map(|c| match c {
            MediaCommand::OpenIngest { stream, .. } => Some(*stream),
            MediaCommand::UpdateIngest { .. }
            | MediaCommand::DescribeIngest { .. }
            | MediaCommand::SetPace { .. }
            | MediaCommand::CloseIngest { .. }
            | MediaCommand::CloseViewer { .. }
            | MediaCommand::ResetStatistics => None,
        });
        opened.expect("an ingest was opened")
    }

    fn answer(&mut self, id: InviteId, ssrc: Option<Ssrc>, transport: MediaTransport) {
        let answer = MediaAnswer {
            file_bytes: None,
            ssrc,
            remote: Some("192.0.2.7:15060".parse().expect("an address")),
            transport,
            payloads: Vec::new(),
        };
        self.gb(Gb::InviteAnswered { id, answer });
    }

    fn progress(&mut self, stream: StreamId, progress: Progress) {
        self.media(MediaEvent::Progress { stream, progress });
    }

    fn picture(&mut self, stream: StreamId) {
        self.progress(stream, Progress::FirstRtp);
        self.progress(stream, Progress::FirstPs);
        self.progress(stream, Progress::Live { tracks: Vec::new() });
    }

    /// Opens channel `index` up to the picture.
    fn view(&mut self, index: u32) -> (Opened, Invite) {
        let request = self.open(index);
        let invite = self.invite();
        self.answer(invite.id, None, invite.transport);
        self.picture(self.last_stream());
        (self.opened(request), invite)
    }

    fn opened(&mut self, request: RequestId) -> Opened {
        match self.replies.remove(&request) {
            Some(Ok(Reply::Opened(opened))) => opened,
            other => panic!("not opened: {other:?}"),
        }
    }

    fn error(&mut self, request: RequestId) -> Error {
        match self.replies.remove(&request) {
            Some(Err(error)) => error,
            other => panic!("not an error: {other:?}"),
        }
    }

    fn failure(&mut self, request: RequestId) -> ViewFailure {
        match self.error(request) {
            Error::View(failure, _) => failure,
            other => panic!("not a view failure: {other:?}"),
        }
    }

    fn claim(&mut self, session: SessionId) {
        self.media(MediaEvent::Viewer {
            session,
            stats: ViewerStats::default(),
        });
    }

    fn show(&mut self, session: SessionId) -> SessionView {
        match self.call(Command::Session { session }) {
            Ok(Reply::Session(view)) => *view,
            other => panic!("no session: {other:?}"),
        }
    }

    /// Sessions that events named as closed.
    fn closed(&mut self) -> Vec<SessionId> {
        let events = std::mem::take(&mut self.events);
        let closed = events.into_iter().filter_map(|event| match event {
            Event::SessionClosed { session } => Some(session),
            Event::DeviceOnline { .. }
            | Event::DeviceOffline { .. }
            | Event::DeviceChanged { .. }
            | Event::DirectoryChanged { .. }
            | Event::Alarm(_)
            | Event::SnapShots { .. }
            | Event::Upgraded { .. }
            | Event::SessionOpened { .. }
            | Event::PtzPosition { .. }
            | Event::VideoUploaded { .. }
            | Event::Positions { .. } => None,
        });
        closed.collect()
    }

    /// Ingests that are open by what the shards were told.
    fn open_ingests(&self) -> Vec<StreamId> {
        let mut open = Vec::new();
        for command in &self.media {
            match command {
                MediaCommand::OpenIngest { stream, .. } => open.push(*stream),
                MediaCommand::CloseIngest { stream } => {
                    let place = open.iter().position(|s| s == stream);
                    open.remove(place.expect("only an open ingest is closed"));
                }
                MediaCommand::UpdateIngest { stream, .. }
                | MediaCommand::DescribeIngest { stream, .. }
                | MediaCommand::SetPace { stream, .. } => assert!(open.contains(stream)),
                MediaCommand::CloseViewer { .. } | MediaCommand::ResetStatistics => {}
            }
        }
        open
    }

    /// Nothing is left of any stream or session.
    fn assert_empty(&self) {
        let gauges = self.core.gauges();
        assert_eq!(
            (gauges.streams, gauges.sessions, gauges.ssrcs_in_use),
            (0, 0, 0)
        );
        assert!(self.core.by_stream.is_empty());
        assert!(self.core.by_invite.is_empty());
        assert!(self.core.expected.is_empty());
        assert!(
            self.core.load.iter().all(|n| *n == 0),
            "{:?}",
            self.core.load
        );
        assert_eq!(self.core.timers.len(), 0, "{:?}", self.core.timers);
        assert_eq!(self.open_ingests(), []);
    }
}

fn open_of(device: DeviceId, index: u32) -> Command {
    Command::Open {
        target: Target::Channel { device, index },
        kind: ViewKind::WebRtc,
        owner: Owner::default(),
    }
}
