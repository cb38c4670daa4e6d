//! The session core under any order of commands, answers, media events and pauses.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use super::Script;
use crate::gb28181::{
    AnsweredPayload, CatalogItem, Command as GbCommand, EndedBy, Event as Gb, Invite,
    InviteFailure, InviteId, MediaAnswer, MediaTransport, OfflineReason, SipTransport,
};
use crate::id::{DeviceId, SessionId, Ssrc, StreamId};
use crate::session::port::{MediaCommand, MediaEvent, Progress, ViewerStats};
use crate::session::{
    Command, Core, CoreConfig, Error, LossChoice, Output, Owner, Reply, RequestId, Target, ViewKind,
};
use crate::time::WallClock;

const TRANSPORTS: [MediaTransport; 3] = [
    MediaTransport::Udp,
    MediaTransport::TcpPassive,
    MediaTransport::TcpActive,
];

struct Rig {
    core: Core,
    now: Instant,
    asked: u64,
    replies: HashMap<RequestId, bool>,
    invites: Vec<Invite>,
    ended: HashSet<InviteId>,
    streams: Vec<StreamId>,
    open: HashSet<StreamId>,
    sessions: Vec<SessionId>,
}

fn device(n: usize) -> DeviceId {
    let id = format!("3402000000132000000{}", n % 10);
    DeviceId(id.parse().expect("20 digits"))
}

impl Rig {
    fn drain(&mut self) {
        while let Some(output) = self.core.poll_output() {
            match output {
                Output::Reply(request, reply) => {
                    let again = self.replies.insert(request, true);
                    assert_eq!(again, Some(false), "one reply for each request");
                    if let Ok(Reply::Opened(opened)) = reply {
                        self.sessions.push(opened.session);
                    }
                }
                Output::Platform(GbCommand::Invite(invite)) => {
                    assert!(self.invites.iter().all(|i| i.id != invite.id));
                    self.invites.push(invite);
                }
                Output::Platform(GbCommand::EndInvite { id }) => {
                    assert!(self.invites.iter().any(|i| i.id == id));
                    assert!(self.ended.insert(id), "an INVITE is ended once");
                }
                Output::Media { shard, command } => self.media(shard, command),
                Output::Platform(_)
                | Output::Event(_)
                | Output::Persist(_)
                | Output::Messages { .. } => {}
            }
        }
        let gauges = self.core.gauges();
        assert_eq!(gauges.streams, self.open.len(), "a stream has one ingest");
    }

    fn media(&mut self, shard: u8, command: MediaCommand) {
        match command {
            MediaCommand::OpenIngest { stream, .. } => {
                assert_eq!(shard, stream.shard);
                assert!(!self.streams.contains(&stream), "an id is never used twice");
                self.streams.push(stream);
                self.open.insert(stream);
            }
            MediaCommand::CloseIngest { stream } => {
                assert!(self.open.remove(&stream), "only what is open is closed");
            }
            MediaCommand::UpdateIngest { stream, .. } => assert!(self.open.contains(&stream)),
            _ => {}
        }
    }

    fn ask(&mut self, command: Command) {
        self.asked += 1;
        let request = RequestId(self.asked);
        self.replies.insert(request, false);
        self.core.handle_command(self.now, request, command);
        self.drain();
    }

    fn gb(&mut self, event: Gb) {
        self.core.handle_platform(self.now, event);
        self.drain();
    }

    fn come(&mut self, n: usize, cameras: usize) {
        let device = device(n);
        self.gb(Gb::Online {
            device,
            peer: "192.0.2.7:5060".parse().expect("an address"),
            transport: SipTransport::ALL[n % 3],
            first: true,
        });
        let channels = (0..cameras).map(|n| CatalogItem {
            id: format!("3402000000131000000{n}"),
            online: true,
            ..CatalogItem::default()
        });
        self.gb(Gb::Catalog {
            device,
            channels: channels.collect(),
            partial: cameras == 1,
        });
    }

    fn go(&mut self, n: usize) {
        let why = OfflineReason::KeepaliveMissed;
        let device = device(n);
        self.gb(Gb::Offline { device, why });
    }

    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(at) = self.core.next_deadline().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.core.handle_timeout(self.now);
            self.drain();
            let next = self.core.next_deadline();
            assert!(
                next.is_none_or(|next| next > self.now),
                "what is due is done"
            );
        }
        self.now = end;
    }

    fn command(&mut self, script: &mut Script<'_>) {
        let names = ["a", "b", "c"];
        let name = script.pick(&names).expect("three").parse().expect("a name");
        let owner = Owner {
            token_id: script.below(3) as u64,
            ..Owner::default()
        };
        let command = match script.below(8) {
            0..3 => Command::Open {
                target: Target::Channel {
                    device: device(script.below(3)),
                    index: script.below(4) as u32,
                },
                kind: ViewKind::WebRtc,
                owner,
            },
            3 => Command::Open {
                target: Target::Named(name),
                kind: ViewKind::HttpFmp4,
                owner,
            },
            4 => Command::Close {
                session: script.pick(&self.sessions).unwrap_or(SessionId(1)),
            },
            5 => Command::CloseOwner {
                token_id: owner.token_id,
            },
            6 => Command::OpenIngest {
                name,
                ssrc: script.chance(2).then(|| Ssrc(script.below(3) as u32)),
                transport: script.pick(&TRANSPORTS).expect("three"),
                remote: Some("192.0.2.7:9000".parse().expect("an address")),
                payloads: Default::default(),
                loss: LossChoice::Auto,
            },
            _ => Command::CloseIngest { name },
        };
        self.ask(command);
    }

    fn invite_event(&mut self, script: &mut Script<'_>) {
        let n = script.below(self.invites.len().max(1));
        let Some(invite) = self.invites.get(n).cloned() else {
            return;
        };
        let id = invite.id;
        self.gb(match script.below(4) {
            0 | 1 => Gb::InviteAnswered {
                id,
                answer: MediaAnswer {
                    file_bytes: None,
                    ssrc: script.chance(3).then(|| Ssrc(script.below(4) as u32)),
                    remote: Some("192.0.2.7:15060".parse().expect("an address")),
                    transport: invite.transport,
                    payloads: match script.below(3) {
                        0 => Vec::new(),
                        n => vec![AnsweredPayload {
                            payload_type: 96,
                            rtpmap: ["PS/90000", "SVAC/90000"][n - 1].to_owned(),
                            fmtp: String::new(),
                        }],
                    },
                },
            },
            2 => Gb::InviteFailed {
                id,
                failure: match script.below(4) {
                    0 => InviteFailure::NoAnswer,
                    1 => InviteFailure::BadAnswer { what: "script" },
                    2 => InviteFailure::DeviceOffline,
                    _ => InviteFailure::Rejected {
                        status: 488,
                        reason: String::new(),
                    },
                },
            },
            _ => Gb::InviteEnded {
                id,
                by: [EndedBy::Us, EndedBy::Device, EndedBy::Lost][script.below(3)],
            },
        });
    }

    fn media_event(&mut self, script: &mut Script<'_>) {
        let session = script.pick(&self.sessions).unwrap_or(SessionId(7));
        let stream = script.pick(&self.streams);
        let event = match (script.below(12), stream) {
            (0, _) | (_, None) => MediaEvent::ViewerClosed { session },
            (1, _) => MediaEvent::Viewer {
                session,
                stats: ViewerStats {
                    sent_bytes: 1,
                    ..ViewerStats::default()
                },
            },
            (n, Some(stream)) => MediaEvent::Progress {
                stream,
                progress: match n {
                    2 => Progress::Connected,
                    3 => Progress::ConnectFailed,
                    4 => Progress::ForeignSsrc {
                        seen: Ssrc(u32::from(script.byte()) + 200_000_000),
                    },
                    5 => Progress::FirstRtp,
                    6 => Progress::FirstPs,
                    7 => Progress::UnsupportedCodec { stream_type: 0x80 },
                    8 => Progress::Stalled,
                    _ => Progress::Live { tracks: Vec::new() },
                },
            },
        };
        self.core.handle_media(self.now, event);
        self.drain();
    }
}

/// Every request is answered once, ids are not used twice, a stream has one ingest while it is there, and nothing is left
/// in the end.
pub fn session(data: &[u8]) {
    let mut script = Script::new(data);
    let now = Instant::now();
    let wall = WallClock {
        at: now,
        unix_ms: 1_700_000_000_000,
    };
    let config = CoreConfig {
        shards: 2,
        rtp_ports: vec![30_000, 30_001],
        streams_max: 4,
        sessions_max: 8,
        transport: script.pick(&TRANSPORTS).expect("three"),
        ..CoreConfig::default()
    };
    let mut rig = Rig {
        core: Core::new(config, [3; 32], now, wall),
        now,
        asked: 0,
        replies: HashMap::new(),
        invites: Vec::new(),
        ended: HashSet::new(),
        streams: Vec::new(),
        open: HashSet::new(),
        sessions: Vec::new(),
    };
    rig.come(0, 3);
    while !script.is_over() {
        match script.below(8) {
            0 | 1 => rig.command(&mut script),
            2 | 3 => rig.invite_event(&mut script),
            4 | 5 => rig.media_event(&mut script),
            6 => {
                let n = script.below(6);
                if n < 3 {
                    rig.come(n, 1 + n)
                } else {
                    rig.go(n - 3)
                }
            }
            _ => rig.pass(Duration::from_millis(u64::from(script.byte()) * 30)),
        }
    }
    for name in ["a", "b", "c"] {
        let name = name.parse().expect("a name");
        rig.ask(Command::CloseIngest { name });
    }
    (0..3).for_each(|n| rig.go(n));
    rig.pass(Duration::from_secs(60));
    assert!(
        rig.replies.values().all(|done| *done),
        "every request is answered"
    );
    let gauges = rig.core.gauges();
    let left = (gauges.streams, gauges.sessions, gauges.ssrcs_in_use);
    assert_eq!(left, (0, 0, 0), "nothing is left");
    rig.ask(Command::Shutdown);
    rig.gb(Gb::Drained);
    assert!(rig.replies.values().all(|done| *done));
    rig.asked += 1;
    let request = RequestId(rig.asked);
    rig.core.handle_command(rig.now, request, Command::Sessions);
    assert!(matches!(
        rig.core.poll_output(),
        Some(Output::Reply(r, Err(Error::ShuttingDown))) if r == request
    ));
}
