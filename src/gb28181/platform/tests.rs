//! The platform against simulated devices, wired in memory, in virtual time, with seeded loss. A module a subject.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use super::*;
use crate::gb28181::device::{self, Device, MediaOffer};
use crate::gb28181::manscdp::{Charset, encode};
use crate::gb28181::types::{
    CatalogItem, DeviceAuth, DeviceInfo, Footage, Invite, InviteId, MediaTransport, StoredDevice,
};
use crate::id::{ChannelId, Ssrc};
use crate::limits::{REGISTRATION_GRACE_S, WRONG_PASSWORDS_MAX, WRONG_PASSWORDS_PER_IP_MAX};
use crate::sip::{Carrier, Transport};

mod asks;
mod by_hand;
mod edition;
mod left_over;
mod queries;
mod registration;
mod requests;
mod teardown;
mod views;

const S: Duration = Duration::from_secs(1);
const PLATFORM_ID: &str = "34020000002000000001";
const UNIX_MS: i64 = 1_700_000_000_000;

fn platform_address() -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 1], 5060))
}

fn device_id(n: u32) -> DeviceId {
    DeviceId(format!("3402000000111{n:07}").parse().expect("a code"))
}

fn channel_id(n: u32, channel: u32) -> ChannelId {
    ChannelId(
        format!("34020000{:02}132{:03}{:04}", n / 1000, n % 1000, channel)
            .parse()
            .expect("a code"),
    )
}

fn address_of(n: u32) -> SocketAddr {
    let n = n + 2;
    SocketAddr::new(
        IpAddr::V4(Ipv4Addr::new(10, 1, (n / 250) as u8, (n % 250) as u8)),
        5060,
    )
}

fn config() -> Config {
    Config {
        default_password: Some("12345678".into()),
        address: platform_address(),
        ..Config::new(PLATFORM_ID.parse().expect("a code"))
    }
}

fn device_config(n: u32, channels: u32) -> device::Config {
    device::Config {
        id: device_id(n),
        password: "12345678".into(),
        server: PLATFORM_ID.parse().expect("a code"),
        realm: "3402000000".into(),
        path: Path {
            peer: platform_address(),
            local: address_of(n),
            transport: Transport::Udp,
        },
        expires: 3600 * S,
        keepalive: 60 * S,
        items_per_message: 2,
        charset: Charset::Gb2312,
        info: Arc::new(DeviceInfo {
            name: "录像机".into(),
            manufacturer: "G".into(),
            model: "M".into(),
            firmware: "1".into(),
            channels: Some(channels),
        }),
        abilities: Arc::default(),
        channels: (1..=channels)
            .map(|c| CatalogItem {
                id: channel_id(n, c).to_string(),
                name: format!("通道{c}"),
                online: true,
                ..CatalogItem::default()
            })
            .collect(),
    }
}

/// What an acting device does with an INVITE.
#[derive(Clone, Copy, PartialEq, Eq)]
enum OnInvite {
    Accept,
    Refuse(u16),
    Ignore,
}

/// A packet under way.
struct Packet {
    to_platform: bool,
    /// As the receiver sees it.
    path: Path,
    payload: Bytes,
}

struct Net {
    now: Instant,
    platform: Platform,
    devices: BTreeMap<SocketAddr, Device>,
    wire: BTreeMap<(Instant, u64), Packet>,
    sent: u64,
    /// Packets lost of 1,000.
    loss: u64,
    random: u64,
    on_invite: OnInvite,
    events: Vec<(Instant, Event)>,
    device_events: Vec<(DeviceId, device::Event)>,
    /// Responses that went to addresses without a device.
    answers: Vec<Message>,
    /// All that the platform sent.
    said: Vec<Bytes>,
}

impl Net {
    fn new(config: Config) -> Net {
        let now = Instant::now();
        let wall = WallClock {
            at: now,
            unix_ms: UNIX_MS,
        };
        Net {
            now,
            platform: Platform::new(config, [7; 32], now, wall),
            devices: BTreeMap::new(),
            wire: BTreeMap::new(),
            sent: 0,
            loss: 0,
            random: 0x9e37_79b9_7f4a_7c15,
            on_invite: OnInvite::Accept,
            events: Vec::new(),
            device_events: Vec::new(),
            answers: Vec::new(),
            said: Vec::new(),
        }
    }

    fn with_device(config: Config, channels: u32) -> Net {
        let mut net = Net::new(config);
        net.add(device_config(1, channels));
        net.run(5 * S);
        net
    }

    fn add(&mut self, config: device::Config) {
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&(self.devices.len() as u64 + 1).to_le_bytes());
        let address = config.path.local;
        let mut device = Device::new(config, seed);
        device.start(self.now);
        self.devices.insert(address, device);
    }

    fn device(&mut self, n: u32) -> &mut Device {
        self.devices.get_mut(&address_of(n)).expect("a device")
    }

    fn command(&mut self, command: Command) {
        self.platform.handle_command(self.now, command);
        self.drain();
    }

    fn lost(&mut self) -> bool {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % 1000 < self.loss
    }

    fn put(&mut self, to_platform: bool, t: Transmit) {
        let reliable = t.path.transport.is_reliable();
        if !reliable && self.lost() {
            return;
        }
        let path = Path {
            peer: t.path.local,
            local: t.path.peer,
            transport: t.path.transport,
        };
        self.sent += 1;
        self.wire.insert(
            (self.now + Duration::from_millis(10), self.sent),
            Packet {
                to_platform,
                path,
                payload: t.payload,
            },
        );
    }

    fn drain(&mut self) {
        while let Some(output) = self.platform.poll_output() {
            match output {
                Output::Transmit(t) => {
                    self.said.push(t.payload.clone());
                    self.put(false, t);
                }
                Output::Event(event) => self.events.push((self.now, event)),
            }
        }
        let addresses: Vec<SocketAddr> = self.devices.keys().copied().collect();
        for address in addresses {
            self.drain_device(address);
        }
    }

    fn drain_device(&mut self, address: SocketAddr) {
        loop {
            let device = self.devices.get_mut(&address).expect("it is in the map");
            let id = device.id();
            match device.poll_output() {
                None => return,
                Some(device::Output::Transmit(t)) => self.put(true, t),
                Some(device::Output::Upload { .. }) => {}
                Some(device::Output::Event(event)) => {
                    self.device_events.push((id, event));
                    if let device::Event::Invited(offer) = event {
                        match self.on_invite {
                            OnInvite::Accept => {
                                device.accept(
                                    self.now,
                                    offer.id,
                                    SocketAddr::new(address.ip(), 40_000),
                                );
                            }
                            OnInvite::Refuse(status) => device.refuse(self.now, offer.id, status),
                            OnInvite::Ignore => {}
                        }
                    }
                }
            }
        }
    }

    fn run(&mut self, span: Duration) {
        let end = self.now + span;
        self.drain();
        loop {
            let device = self
                .devices
                .iter()
                .filter_map(|(a, d)| Some((d.next_deadline()?, *a)))
                .min();
            let packet = self.wire.keys().next().map(|(at, _)| *at);
            let platform = self.platform.next_deadline();
            let next = [packet, platform, device.map(|d| d.0)]
                .into_iter()
                .fold(None, earliest);
            let Some(at) = next.filter(|at| *at <= end) else {
                self.now = end;
                return;
            };
            self.now = self.now.max(at);
            if packet == Some(at) {
                let (_, packet) = self.wire.pop_first().expect("its key was seen");
                self.deliver(packet);
            } else if platform == Some(at) {
                self.platform.handle_timeout(self.now);
            } else if let Some((_, address)) = device {
                let device = self.devices.get_mut(&address).expect("a device");
                device.handle_timeout(self.now);
                self.drain_device(address);
                continue;
            }
            self.drain();
        }
    }

    fn deliver(&mut self, packet: Packet) {
        if packet.to_platform {
            self.platform
                .handle_message(self.now, packet.path, packet.payload);
        } else if let Some(device) = self.devices.get_mut(&packet.path.local) {
            device.handle_message(self.now, packet.path, packet.payload);
        } else {
            let message = Message::parse(packet.payload, Carrier::Datagram).expect("our own SIP");
            self.answers.push(message);
        }
    }

    /// Sends a message made by hand and gives the answer to it.
    fn raw(&mut self, from: SocketAddr, text: &str) -> Option<Message> {
        let held = self.devices.remove(&from);
        self.answers.clear();
        let path = Path {
            peer: from,
            local: platform_address(),
            transport: Transport::Udp,
        };
        self.platform
            .handle_message(self.now, path, Bytes::copy_from_slice(text.as_bytes()));
        self.drain();
        self.run(Duration::from_millis(100));
        if let Some(device) = held {
            self.devices.insert(from, device);
        }
        self.answers.drain(..).find(|m| !m.is_request())
    }

    fn status(&mut self, from: SocketAddr, text: &str) -> u16 {
        self.raw(from, text)
            .and_then(|m| m.status())
            .expect("an answer")
    }

    fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
            .into_iter()
            .map(|(_, e)| e)
            .collect()
    }

    fn online(&self, device: DeviceId) -> Vec<bool> {
        self.events
            .iter()
            .filter_map(|(_, e)| match e {
                Event::Online {
                    device: d, first, ..
                } if *d == device => Some(*first),
                _ => None,
            })
            .collect()
    }

    fn offline(&self) -> Vec<(DeviceId, OfflineReason)> {
        self.events
            .iter()
            .filter_map(|(_, e)| match e {
                Event::Offline { device, why } => Some((*device, *why)),
                _ => None,
            })
            .collect()
    }

    fn catalogs(&self) -> Vec<(usize, bool)> {
        self.events
            .iter()
            .filter_map(|(_, e)| match e {
                Event::Catalog {
                    channels, partial, ..
                } => Some((channels.len(), *partial)),
                _ => None,
            })
            .collect()
    }

    fn invite(&mut self, id: u64, transport: MediaTransport) {
        self.command(Command::Invite(Invite {
            id: InviteId(id),
            device: device_id(1),
            channel: channel_id(1, 1),
            footage: Footage::Live,
            ssrc: Ssrc(100_000_000 + id as u32),
            transport,
            media_port: if transport == MediaTransport::TcpActive {
                9
            } else {
                30_000
            },
            media_ip: None,
        }));
    }

    /// What became of a view, in order.
    fn told(&mut self, id: u64) -> Vec<String> {
        self.take_events()
            .into_iter()
            .filter_map(|event| match event {
                Event::InviteAnswered { id: i, answer } if i.0 == id => {
                    Some(format!("answered {:?}", answer.transport))
                }
                Event::InviteFailed { id: i, failure } if i.0 == id => {
                    Some(format!("failed {failure:?}"))
                }
                Event::InviteEnded { id: i, by } if i.0 == id => Some(format!("ended {by:?}")),
                _ => None,
            })
            .collect()
    }

    fn media_events(&mut self) -> Vec<device::Event> {
        let events = std::mem::take(&mut self.device_events);
        events
            .into_iter()
            .map(|(_, e)| e)
            .filter(|e| {
                matches!(
                    e,
                    device::Event::StartMedia(_) | device::Event::StopMedia { .. }
                )
            })
            .collect()
    }

    fn started(&mut self) -> Vec<MediaOffer> {
        self.media_events()
            .into_iter()
            .filter_map(|e| match e {
                device::Event::StartMedia(offer) => Some(offer),
                _ => None,
            })
            .collect()
    }
}

/// A request as a device at `from` would write it.
fn request(method: &str, device: &str, from: SocketAddr, call_id: &str, body: &str) -> String {
    format!(
        "{method} sip:{PLATFORM_ID}@3402000000 SIP/2.0\r\nVia: SIP/2.0/UDP {from};rport;branch=z9hG4bK{call_id}\r\n\
         From: <sip:{device}@3402000000>;tag=t1\r\nTo: <sip:{PLATFORM_ID}@3402000000>\r\nCall-ID: {call_id}\r\n\
         CSeq: 1 {method}\r\nMax-Forwards: 70\r\nContent-Type: Application/MANSCDP+xml\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn keepalive_of(n: u32) -> String {
    String::from_utf8(encode::keepalive(1, device_id(n).0, Charset::Gb2312)).expect("ASCII")
}

fn keepalive(net: &mut Net, n: u32, from: SocketAddr, call_id: &str) -> u16 {
    let text = request(
        "MESSAGE",
        &device_id(n).to_string(),
        from,
        call_id,
        &keepalive_of(n),
    );
    net.status(from, &text)
}

fn stored(n: u32, net: &Net, online: bool, expires_in_s: i64) -> StoredDevice {
    let now_s = UNIX_MS / 1000 + net.now.duration_since(net.now).as_secs() as i64;
    StoredDevice {
        device: device_id(n),
        auth: DeviceAuth::Default,
        peer: Some(address_of(n)),
        over_tcp: false,
        online,
        expires_unix_s: now_s + expires_in_s,
        last_seen_unix_s: now_s - 30,
        gb_version: None,
    }
}

/// A device without a stack of its own, let in without a password.
fn by_hand(agent: &str) -> Net {
    let mut net = Net::new(Config {
        query_on_register: false,
        ..config()
    });
    net.command(Command::SetAuth {
        device: device_id(1),
        auth: DeviceAuth::NotNeeded,
    });
    let id = device_id(1).to_string();
    let text = request("REGISTER", &id, address_of(1), "r", "")
        .replace("CSeq: 1", &format!("User-Agent: {agent}\r\nCSeq: 1"));
    assert_eq!(net.status(address_of(1), &text), 200);
    net
}

impl Net {
    /// The next request of this method that went to the address without a device.
    fn sent(&mut self, method: Method) -> Message {
        self.run(Duration::from_millis(50));
        let at = self
            .answers
            .iter()
            .position(|m| m.is_request() && m.method() == Some(method))
            .unwrap_or_else(|| panic!("no {method:?} was sent"));
        self.answers.remove(at)
    }

    /// Answers a request of the platform.
    fn answer(&mut self, to: &Message, status: &str, tag: &str, body: &str) {
        let header = |name| to.header_str(name).unwrap_or_default().to_owned();
        let tag = if tag.is_empty() {
            String::new()
        } else {
            format!(";tag={tag}")
        };
        let text = format!(
            "SIP/2.0 {status}\r\nVia: {}\r\nFrom: {}\r\nTo: {}{tag}\r\nCall-ID: {}\r\nCSeq: {}\r\n\
             Contact: <sip:x@10.1.0.3:5060>\r\nContent-Length: {}\r\n\r\n{body}",
            header(HeaderName::Via),
            header(HeaderName::From),
            header(HeaderName::To),
            header(HeaderName::CallId),
            header(HeaderName::CSeq),
            body.len()
        );
        let path = Path {
            peer: address_of(1),
            local: platform_address(),
            transport: Transport::Udp,
        };
        self.platform
            .handle_message(self.now, path, Bytes::from(text));
        self.drain();
    }
}

const ANSWER: &str = "v=0\r\no=1 0 0 IN IP4 10.1.0.3\r\ns=Play\r\nc=IN IP4 10.1.0.3\r\nt=0 0\r\nm=video 40000 RTP/AVP 96\r\n\
                      a=rtpmap:96 PS/90000\r\ny=0100000001\r\n";
