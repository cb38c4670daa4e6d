//! The platform with three devices over a line that loses, repeats, mixes and damages messages.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::Script;
use crate::gb28181::device::{self, Device};
use crate::gb28181::manscdp::Charset;
use crate::gb28181::{
    CatalogItem, Command, Config, DeviceAuth, DeviceInfo, Event, Invite, InviteId, MediaTransport,
    Output, Platform,
};
use crate::id::{ChannelId, DeviceId, Ssrc};
use crate::sip::{Path, Transport};
use crate::time::WallClock;

const DEVICES: usize = 3;
/// Datagrams on their way at most: older ones are lost.
const LINE_MAX: usize = 64;
const PASSWORD: &str = "12345678";

/// How far an INVITE has come.
#[derive(Default)]
struct Asked {
    decided: u32,
    ended: u32,
}

struct Rig {
    platform: Platform,
    devices: Vec<Device>,
    /// To a device, or (`DEVICES` and more) from one.
    line: Vec<(usize, Bytes)>,
    now: Instant,
    online: HashSet<DeviceId>,
    invites: HashMap<InviteId, Asked>,
    drained: bool,
}

fn server() -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 1], 5060))
}

fn address(n: usize) -> SocketAddr {
    SocketAddr::from(([10, 0, 1, n as u8], 5060))
}

fn id(n: usize) -> DeviceId {
    let text = format!("3402000000132000000{n}");
    DeviceId(text.parse().expect("20 digits"))
}

fn camera(n: usize) -> Device {
    let item = |k: usize| CatalogItem {
        id: format!("34020000001310000{n:02}{k}"),
        name: "门".to_owned(),
        online: true,
        ..CatalogItem::default()
    };
    let config = device::Config {
        id: id(n),
        password: PASSWORD.to_owned(),
        server: "34020000002000000001".parse().expect("a code"),
        realm: "3402000000".to_owned(),
        path: Path {
            peer: server(),
            local: address(n),
            transport: Transport::Udp,
        },
        expires: Duration::from_secs(300),
        keepalive: Duration::from_secs(20),
        items_per_message: 2,
        charset: Charset::Gb2312,
        info: Arc::new(DeviceInfo::default()),
        channels: (0..n + 1).map(item).collect(),
        abilities: Arc::default(),
    };
    Device::new(config, [n as u8 + 1; 32])
}

impl Rig {
    fn new() -> Rig {
        let now = Instant::now();
        let wall = WallClock {
            at: now,
            unix_ms: 1_700_000_000_000,
        };
        let config = Config {
            default_password: Some(PASSWORD.to_owned()),
            keepalive: Duration::from_secs(20),
            ..Config::new("34020000002000000001".parse().expect("a code"))
        };
        Rig {
            platform: Platform::new(config, [9; 32], now, wall),
            devices: (0..DEVICES).map(camera).collect(),
            line: Vec::new(),
            now,
            online: HashSet::new(),
            invites: HashMap::new(),
            drained: false,
        }
    }

    fn put(&mut self, to: usize, bytes: Bytes) {
        if self.line.len() >= LINE_MAX {
            self.line.remove(0);
        }
        self.line.push((to, bytes));
    }

    fn drain(&mut self) {
        while let Some(output) = self.platform.poll_output() {
            match output {
                Output::Transmit(transmit) => {
                    let to = (0..DEVICES).find(|n| address(*n) == transmit.path.peer);
                    if let Some(to) = to {
                        self.put(to, transmit.payload);
                    }
                }
                Output::Event(event) => self.event(event),
            }
        }
        for n in 0..DEVICES {
            while let Some(output) = self.devices[n].poll_output() {
                match output {
                    device::Output::Transmit(transmit) => self.put(DEVICES + n, transmit.payload),
                    device::Output::Upload { .. } => {}
                    device::Output::Event(event) => self.device_event(n, event),
                }
            }
        }
        let gauges = self.platform.gauges();
        assert_eq!(
            gauges.devices_online,
            self.online.len(),
            "events say who is there"
        );
        assert!(gauges.devices_online <= gauges.devices_known);
        let open = self.invites.values().filter(|i| i.ended == 0).count();
        assert!(gauges.invites <= open, "an INVITE that ended is forgotten");
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::Online { device, .. } => {
                self.online.insert(device);
            }
            Event::Offline { device, .. } => {
                assert!(self.online.remove(&device), "who goes was there");
            }
            Event::InviteAnswered { id, .. } | Event::InviteFailed { id, .. } => {
                let invite = self.invites.get_mut(&id).expect("we asked");
                invite.decided += 1;
                assert_eq!(
                    (invite.decided, invite.ended),
                    (1, 0),
                    "decided once, then ended"
                );
            }
            Event::InviteEnded { id, .. } => {
                let invite = self.invites.get_mut(&id).expect("we asked");
                invite.ended += 1;
                assert_eq!(invite.ended, 1, "an INVITE ends once");
            }
            Event::Drained => {
                assert!(!self.drained);
                self.drained = true;
            }
            _ => {}
        }
    }

    fn device_event(&mut self, n: usize, event: device::Event) {
        if let device::Event::Invited(offer) = event {
            let media = SocketAddr::new(address(n).ip(), 20_000);
            self.devices[n].accept(self.now, offer.id, media);
        }
    }

    fn arrive(&mut self, to: usize, bytes: Bytes) {
        let now = self.now;
        if to < DEVICES {
            let path = Path {
                peer: server(),
                local: address(to),
                transport: Transport::Udp,
            };
            self.devices[to].handle_message(now, path, bytes);
        } else {
            let path = Path {
                peer: address(to - DEVICES),
                local: server(),
                transport: Transport::Udp,
            };
            self.platform.handle_message(now, path, bytes);
        }
        self.drain();
    }

    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            let devices = self.devices.iter().filter_map(Device::next_deadline);
            let next = devices.chain(self.platform.next_deadline()).min();
            let Some(at) = next.filter(|at| *at <= end) else {
                break;
            };
            self.now = self.now.max(at);
            self.platform.handle_timeout(self.now);
            for device in &mut self.devices {
                device.handle_timeout(self.now);
            }
            self.drain();
        }
        self.now = end;
    }

    /// Everything on the line arrives, in order, until there is nothing more.
    fn settle(&mut self) {
        for _ in 0..400 {
            if self.line.is_empty() {
                return;
            }
            let (to, bytes) = self.line.remove(0);
            self.arrive(to, bytes);
        }
    }

    fn command(&mut self, script: &mut Script<'_>) {
        let device = id(script.below(DEVICES + 1));
        let command = match script.below(6) {
            0 => Command::QueryCatalog { device },
            1 => Command::QueryDeviceInfo { device },
            2 => Command::QueryDeviceStatus { device },
            3 => {
                let n = self.invites.len() as u64;
                self.invites.insert(InviteId(n), Asked::default());
                let transports = [
                    MediaTransport::Udp,
                    MediaTransport::TcpPassive,
                    MediaTransport::TcpActive,
                ];
                Command::Invite(Invite {
                    id: InviteId(n),
                    device,
                    channel: ChannelId(device.0),
                    footage: crate::gb28181::Footage::default(),
                    ssrc: Ssrc(200_000_000 + n as u32),
                    transport: script.pick(&transports).expect("three"),
                    media_port: 30_000,
                    media_ip: None,
                })
            }
            4 => {
                let mut going: Vec<InviteId> = self
                    .invites
                    .iter()
                    .filter(|(_, asked)| asked.ended == 0)
                    .map(|(id, _)| *id)
                    .collect();
                going.sort();
                // Who ends a call has not been told that it is over.
                let Some(id) = script.pick(&going) else {
                    return;
                };
                Command::EndInvite { id }
            }
            _ => Command::SetAuth {
                device,
                auth: match script.below(3) {
                    0 => DeviceAuth::Default,
                    1 => DeviceAuth::NotNeeded,
                    _ => DeviceAuth::Password("another".to_owned()),
                },
            },
        };
        self.platform.handle_command(self.now, command);
        self.drain();
    }

    fn step(&mut self, script: &mut Script<'_>) {
        let now = self.now;
        match script.below(12) {
            0 => {
                let n = script.below(DEVICES);
                self.devices[n].start(now);
            }
            1 => {
                let n = script.below(DEVICES);
                self.devices[n] = camera(n);
            }
            2 => {
                let n = script.below(DEVICES);
                self.devices[n].stop(now);
            }
            3 | 4 => self.command(script),
            5 => self.pass(Duration::from_millis(u64::from(script.byte()) * 200)),
            6 if !self.line.is_empty() => {
                let n = script.below(self.line.len());
                self.line.remove(n);
            }
            7 if !self.line.is_empty() => {
                let n = script.below(self.line.len());
                let (to, bytes) = self.line[n].clone();
                let mut changed = bytes.to_vec();
                let at = usize::from(script.word()) % changed.len().max(1);
                changed[at] = script.byte();
                self.arrive(to, changed.into());
            }
            8 if !self.line.is_empty() => {
                let n = script.below(self.line.len());
                let (to, bytes) = self.line[n].clone();
                self.arrive(to, bytes);
            }
            9 => {
                let n = 1 + script.below(40);
                let bytes = Bytes::copy_from_slice(script.bytes(n));
                self.arrive(DEVICES, bytes);
            }
            _ if !self.line.is_empty() => {
                let (to, bytes) = self.line.remove(0);
                self.arrive(to, bytes);
            }
            _ => {}
        }
        self.drain();
    }
}

/// Who is there is told rightly, every INVITE is decided at most once and ends once, and after the end nothing is left.
pub fn gb_platform(data: &[u8]) {
    let mut script = Script::new(data);
    let mut rig = Rig::new();
    rig.devices[0].start(rig.now);
    rig.drain();
    rig.settle();
    while !script.is_over() {
        rig.step(&mut script);
    }
    rig.platform.handle_command(rig.now, Command::Shutdown);
    rig.drain();
    rig.settle();
    rig.devices = (0..DEVICES).map(camera).collect();
    rig.line.clear();
    rig.pass(Duration::from_secs(1_800));
    assert!(rig.drained, "the end comes");
    assert!(rig.online.is_empty(), "nobody is there any more");
    let gauges = rig.platform.gauges();
    let left = (
        gauges.invites,
        gauges.queries_active,
        gauges.catalogs_coming,
    );
    assert_eq!(left, (0, 0, 0));
    assert!(
        rig.invites.values().all(|i| i.ended == 1),
        "every INVITE ends"
    );
}
