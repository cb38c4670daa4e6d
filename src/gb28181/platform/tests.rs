//! The platform against simulated devices, wired in memory, in virtual time, with seeded loss.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use super::*;
use crate::gb28181::device::{self, Device, MediaOffer};
use crate::gb28181::manscdp::{Charset, encode};
use crate::gb28181::types::{
    CatalogItem, DeviceAuth, DeviceInfo, Footage, Invite, InviteId, MediaTransport, SipTransport,
    StoredDevice,
};
use crate::id::{ChannelId, Ssrc};
use crate::limits::{REGISTRATION_GRACE_S, WRONG_PASSWORDS_MAX, WRONG_PASSWORDS_PER_IP_MAX};
use crate::sip::{Carrier, Transport};

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
                Output::Transmit(t) => self.put(false, t),
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
        transport: SipTransport::Udp,
        online,
        expires_unix_s: now_s + expires_in_s,
        last_seen_unix_s: now_s - 30,
        gb_version: None,
    }
}

// ---- registration ----

#[test]
fn a_device_registers_and_its_channels_come() {
    let mut net = Net::with_device(config(), 5);
    assert_eq!(
        net.device_events,
        [(device_id(1), device::Event::Registered)]
    );
    assert_eq!(net.online(device_id(1)), [true]);
    assert_eq!(net.catalogs(), [(5, false)]);
    let c = *net.platform.counters();
    assert_eq!((c.registers_challenged, c.registers_ok), (1, 1));
    assert_eq!((c.queries_sent, c.queries_unanswered), (2, 0));
    let events = net.take_events();
    assert!(events.iter().any(|e| matches!(e, Event::DeviceInfo { info, .. } if info.name == "录像机" && info.channels == Some(5))));
    let persisted = events.iter().find_map(|e| match e {
        Event::Persist(Persist::Device(d)) => Some(d.clone()),
        _ => None,
    });
    let persisted = persisted.expect("it is stored");
    assert!(persisted.online);
    assert_eq!(persisted.peer, Some(address_of(1)));
    assert!((persisted.expires_unix_s - UNIX_MS / 1000 - 3600).abs() <= 1);
    let gauges = net.platform.gauges();
    assert_eq!((gauges.devices_known, gauges.devices_online), (1, 1));
    assert_eq!((gauges.queries_active, gauges.catalogs_coming), (0, 0));
}

#[test]
fn the_answer_to_register_has_date_expires_and_version() {
    let mut net = Net::new(config());
    net.command(Command::SetAuth {
        device: device_id(1),
        auth: DeviceAuth::NotNeeded,
    });
    let text = request(
        "REGISTER",
        &device_id(1).to_string(),
        address_of(1),
        "r1",
        "",
    )
    .replace(
        "CSeq: 1",
        "X-GB-Ver: 2.0\r\nExpires: 86400\r\nContact: <sip:a@192.168.1.5:5060>\r\nCSeq: 1",
    );
    let answer = net.raw(address_of(1), &text).expect("an answer");
    assert_eq!(answer.status(), Some(200));
    // 1,700,000,000 s is 2023-11-14T22:13:20Z, which is 06:13:20 on the 15th at UTC+8.
    assert_eq!(
        answer.header_str(HeaderName::Date),
        Some("2023-11-15T06:13:20.000")
    );
    assert_eq!(answer.header_str(HeaderName::Expires), Some("86400"));
    // Ours, not the device's again.
    assert_eq!(answer.header_named("X-GB-Ver"), Some(&b"3.0"[..]));
    assert!(
        answer
            .header_str(HeaderName::Contact)
            .is_some_and(|c| c.contains("192.168.1.5:5060") && c.contains("expires=86400"))
    );
    // What counts is where the packet came from.
    let online = net.take_events().into_iter().find_map(|e| match e {
        Event::Online { peer, .. } => Some(peer),
        _ => None,
    });
    assert_eq!(online, Some(address_of(1)));
}

#[test]
fn dates_are_of_the_gregorian_calendar() {
    assert_eq!(register::local_time(0), "1970-01-01T00:00:00.000");
    assert_eq!(
        register::local_time(951_782_400_000),
        "2000-02-29T00:00:00.000"
    );
    assert_eq!(
        register::local_time(4_107_542_399_999),
        "2100-02-28T23:59:59.999"
    );
    assert_eq!(register::local_time(-1), "1969-12-31T23:59:59.999");
}

#[test]
fn a_wrong_password_gets_401_again_then_403_and_a_pause() {
    let mut net = Net::new(config());
    let mut wrong = device_config(1, 0);
    wrong.password = "wrong".into();
    net.add(wrong);
    net.run(5 * S);
    // The device tries every 10 s; the last of the wrong ones allowed gets 403 instead of 401.
    net.run(10 * S * (WRONG_PASSWORDS_MAX - 1));
    let c = *net.platform.counters();
    assert_eq!(c.registers_wrong, u64::from(WRONG_PASSWORDS_MAX - 1));
    assert_eq!(c.registers_refused, 1);
    assert!(net.offline().is_empty() && net.online(device_id(1)).is_empty());
    // In the pause not even the question is heard.
    net.run(10 * S);
    let c = *net.platform.counters();
    assert_eq!((c.registers_wrong, c.registers_refused), (2, 2));
    let failures: Vec<_> = net.device_events.iter().map(|(_, e)| *e).collect();
    assert_eq!(
        failures,
        [401, 401, 403, 403].map(|status| device::Event::RegisterFailed { status })
    );
    // Another device behind the same address pays nothing.
    let mut sibling = device_config(2, 0);
    sibling.path.local = SocketAddr::new(address_of(1).ip(), 5062);
    net.add(sibling);
    net.run(2 * S);
    assert_eq!(net.online(device_id(2)), [true]);
    // The right password counts at once when the operator sets it.
    net.command(Command::SetAuth {
        device: device_id(1),
        auth: DeviceAuth::Password("wrong".into()),
    });
    net.run(15 * S);
    assert_eq!(net.online(device_id(1)), [true]);
}

#[test]
fn a_source_that_guesses_for_many_devices_is_paused_as_a_whole_but_who_is_in_stays() {
    let mut net = Net::new(config());
    let ip = address_of(1).ip();
    let now = net.now;
    let mut inside = device_config(1, 0);
    inside.expires = 90 * S;
    net.add(inside);
    net.run(2 * S);
    for n in 0..WRONG_PASSWORDS_PER_IP_MAX {
        net.platform.suspects.wrong(now, ip, device_id(100 + n));
    }
    let suspects = &net.platform.suspects;
    assert!(suspects.is_paused(now, ip, device_id(999), false));
    assert!(!suspects.is_paused(now, ip, device_id(1), true));
    net.run(50 * S);
    assert_eq!(net.platform.counters().registers_ok, 1);
    net.run(30 * S);
    assert_eq!(net.platform.counters().registers_ok, 2);
}

#[test]
fn without_a_password_nobody_unknown_comes_in() {
    let mut net = Net::new(Config {
        default_password: None,
        ..config()
    });
    net.add(device_config(1, 0));
    net.add(device_config(2, 0));
    net.command(Command::SetAuth {
        device: device_id(2),
        auth: DeviceAuth::NotNeeded,
    });
    net.run(3 * S);
    assert!(net.online(device_id(1)).is_empty());
    assert_eq!(net.online(device_id(2)), [true]);
    assert_eq!(net.platform.gauges().devices_known, 1);
}

#[test]
fn a_register_without_a_code_is_answered_with_400() {
    let mut net = Net::new(config());
    let text = request("REGISTER", "camera", address_of(1), "r1", "")
        .replace(&format!("To: <sip:{PLATFORM_ID}"), "To: <sip:camera");
    assert_eq!(net.status(address_of(1), &text), 400);
    assert_eq!(net.platform.counters().malformed_id, 1);
}

#[test]
fn leaving_comes_first_and_under_a_new_call_id_too() {
    let mut net = Net::new(config());
    net.command(Command::SetAuth {
        device: device_id(1),
        auth: DeviceAuth::NotNeeded,
    });
    let leave = |call_id: &str| {
        request(
            "REGISTER",
            &device_id(1).to_string(),
            address_of(1),
            call_id,
            "",
        )
        .replace("CSeq: 1", "Expires: 0\r\nContact: *\r\nCSeq: 1")
    };
    let come = |call_id: &str| {
        leave(call_id)
            .replace("Expires: 0", "Expires: 60")
            .replace("*", "<sip:x@1.1.1.1>")
    };
    assert_eq!(net.status(address_of(1), &leave("a")), 200);
    assert!(net.offline().is_empty());
    assert_eq!(net.status(address_of(1), &come("b")), 200);
    assert_eq!(net.status(address_of(1), &leave("c")), 200);
    assert_eq!(net.offline(), [(device_id(1), OfflineReason::Unregistered)]);
    // It has to register again: a keepalive is not enough.
    assert_eq!(keepalive(&mut net, 1, address_of(1), "k"), 403);
}

#[test]
fn a_registration_ends_when_it_is_not_renewed() {
    let mut net = Net::new(config());
    net.command(Command::SetAuth {
        device: device_id(1),
        auth: DeviceAuth::NotNeeded,
    });
    let text = request(
        "REGISTER",
        &device_id(1).to_string(),
        address_of(1),
        "a",
        "",
    )
    .replace("CSeq: 1", "Expires: 100\r\nCSeq: 1");
    assert_eq!(net.status(address_of(1), &text), 200);
    let end = 100 + REGISTRATION_GRACE_S as u32;
    for n in 0..(end / 40) {
        net.run(40 * S - Duration::from_millis(100));
        assert_eq!(keepalive(&mut net, 1, address_of(1), &format!("k{n}")), 200);
    }
    assert!(net.offline().is_empty());
    net.run(12 * S);
    assert_eq!(
        net.offline(),
        [(device_id(1), OfflineReason::RegistrationExpired)]
    );
    assert_eq!(keepalive(&mut net, 1, address_of(1), "k9"), 403);
}

#[test]
fn a_shorter_registration_is_noticed_in_time() {
    let mut net = Net::new(config());
    net.command(Command::SetAuth {
        device: device_id(1),
        auth: DeviceAuth::NotNeeded,
    });
    for (call_id, expires) in [("a", 3600), ("b", 10)] {
        let text = request(
            "REGISTER",
            &device_id(1).to_string(),
            address_of(1),
            call_id,
            "",
        )
        .replace("CSeq: 1", &format!("Expires: {expires}\r\nCSeq: 1"));
        assert_eq!(net.status(address_of(1), &text), 200);
    }
    net.run(39 * S);
    assert!(net.offline().is_empty());
    net.run(2 * S);
    assert_eq!(
        net.offline(),
        [(device_id(1), OfflineReason::RegistrationExpired)]
    );
}

#[test]
fn a_silent_device_is_offline_after_the_misses_and_comes_back_with_a_keepalive() {
    let mut net = Net::with_device(config(), 1);
    net.take_events();
    net.run(60 * S);
    net.loss = 1000;
    let since = net.now;
    net.run(170 * S);
    assert!(net.offline().is_empty());
    net.run(12 * S);
    assert_eq!(
        net.offline(),
        [(device_id(1), OfflineReason::KeepaliveMissed)]
    );
    let at = net
        .events
        .iter()
        .find(|(_, e)| matches!(e, Event::Offline { .. }))
        .map(|(at, _)| *at);
    let silent = at.expect("an event").duration_since(since);
    assert!((170..=182).contains(&silent.as_secs()), "{silent:?}");
    net.loss = 0;
    assert_eq!(keepalive(&mut net, 1, address_of(1), "k"), 200);
    assert_eq!(net.online(device_id(1)), [true]);
    assert_eq!(net.platform.counters().revived, 1);
}

#[test]
fn any_packet_counts_as_life() {
    let mut net = Net::new(config());
    net.command(Command::SetAuth {
        device: device_id(1),
        auth: DeviceAuth::NotNeeded,
    });
    let text = request(
        "REGISTER",
        &device_id(1).to_string(),
        address_of(1),
        "a",
        "",
    );
    assert_eq!(net.status(address_of(1), &text), 200);
    let path = Path {
        peer: address_of(1),
        local: platform_address(),
        transport: Transport::Udp,
    };
    // The stub datagram by which some cameras keep a NAT open.
    for _ in 0..5 {
        net.run(100 * S);
        net.platform
            .handle_message(net.now, path, Bytes::from_static(b"jaK\0"));
        net.drain();
    }
    assert!(net.offline().is_empty());
    net.run(200 * S);
    assert_eq!(net.offline().len(), 1);
}

#[test]
fn after_our_restart_nobody_is_offline_and_a_keepalive_is_welcome() {
    let mut net = Net::new(config());
    for (n, online, expires) in [
        (1, true, 3000),
        (2, true, -50),
        (3, true, 3000),
        (4, false, -50),
        (5, false, 3000),
    ] {
        let stored = stored(n, &net, online, expires);
        net.command(Command::Restore(stored));
    }
    assert_eq!(net.platform.gauges().devices_online, 3);
    net.run(60 * S);
    assert!(net.take_events().is_empty());
    // Its registration has ended while we were away, but it cannot know.
    assert_eq!(keepalive(&mut net, 1, address_of(1), "k1"), 200);
    assert_eq!(keepalive(&mut net, 2, address_of(2), "k2"), 200);
    assert_eq!(net.online(device_id(1)), [false]);
    assert_eq!(net.online(device_id(2)), [false]);
    // It had left before: it must register. The other was only silent.
    assert_eq!(keepalive(&mut net, 4, address_of(4), "k4"), 403);
    assert_eq!(keepalive(&mut net, 5, address_of(5), "k5"), 200);
    assert_eq!(net.online(device_id(5)), [true]);
    // Nobody knows this one.
    assert_eq!(keepalive(&mut net, 6, address_of(6), "k6"), 403);
    assert_eq!(net.platform.counters().strangers, 2);
    net.run(118 * S);
    assert!(net.offline().is_empty());
    net.run(4 * S);
    assert_eq!(
        net.offline(),
        [(device_id(3), OfflineReason::KeepaliveMissed)]
    );
}

#[test]
fn a_restored_device_can_be_invited_before_it_speaks() {
    let mut net = Net::new(config());
    let stored = stored(1, &net, true, 3000);
    net.command(Command::Restore(stored));
    let config = device_config(1, 1);
    let address = config.path.local;
    net.devices.insert(address, Device::new(config, [9; 32]));
    net.invite(1, MediaTransport::Udp);
    net.run(2 * S);
    assert_eq!(net.told(1), ["answered Udp"]);
}

#[test]
fn nat_may_change_the_port_but_not_the_address() {
    let mut net = Net::with_device(config(), 1);
    let moved = SocketAddr::new(address_of(1).ip(), 61_000);
    assert_eq!(keepalive(&mut net, 1, moved, "k1"), 200);
    assert_eq!(
        net.platform
            .registrar
            .get(net.platform.registrar.find(device_id(1)).expect("known"))
            .path
            .map(|p| p.peer),
        Some(moved)
    );
    assert_eq!(keepalive(&mut net, 1, address_of(77), "k2"), 403);
    assert_eq!(net.platform.counters().impostors, 1);
}

#[test]
fn a_day_passes_without_anybody_falling_out() {
    let mut net = Net::new(config());
    net.loss = 50;
    for n in 1..=50 {
        let mut config = device_config(n, 1);
        config.expires = 1800 * S;
        net.add(config);
    }
    net.run(86_400 * S);
    assert!(net.offline().is_empty());
    for n in 1..=50 {
        assert!(net.online(device_id(n))[0], "{n}");
    }
    let seen = net
        .events
        .iter()
        .filter(|(_, e)| matches!(e, Event::Persist(Persist::Seen { .. })))
        .count();
    assert!(seen <= 50 * 1440, "{seen}");
    let c = net.platform.counters();
    assert!(c.registers_ok >= 50 * 60, "{c:?}");
    assert!(c.keepalives >= 50 * 1400, "{c:?}");
    assert_eq!(net.platform.purposes.len(), 0);
}

// ---- queries ----

#[test]
fn directories_come_whole_through_heavy_loss() {
    let mut net = Net::new(config());
    net.loss = 300;
    for n in 1..=20 {
        net.add(device_config(n, 9));
    }
    net.run(180 * S);
    let whole = net.catalogs().iter().filter(|c| **c == (9, false)).count();
    assert!(whole >= 20, "{:?}", net.catalogs());
}

#[test]
fn a_lost_page_makes_a_partial_directory_that_is_asked_for_again() {
    let mut net = Net::with_device(config(), 0);
    net.take_events();
    net.command(Command::QueryCatalog {
        device: device_id(1),
    });
    let sn = net.platform.queries.get(
        net.platform.registrar.find(device_id(1)).expect("known"),
        QueryKind::Catalog,
    );
    let sn = sn.expect("a query").sn;
    let items: Vec<CatalogItem> = device_config(1, 2).channels.to_vec();
    let page = |sn, item: &CatalogItem| {
        String::from_utf8_lossy(&encode::catalog(
            sn,
            device_id(1).0,
            3,
            std::slice::from_ref(item),
            Charset::Utf8,
        ))
        .into_owned()
    };
    for (n, item) in items.iter().enumerate() {
        let text = request(
            "MESSAGE",
            &device_id(1).to_string(),
            address_of(1),
            &format!("p{n}"),
            &page(sn, item),
        );
        // The simulated device is not asked: it would answer with an empty directory.
        assert_eq!(net.status(address_of(1), &text), 200);
    }
    assert_eq!(net.platform.gauges().catalogs_coming, 1);
    net.wire.clear();
    let progress: Vec<_> = net
        .take_events()
        .into_iter()
        .filter(|e| matches!(e, Event::CatalogProgress { total: 3, .. }))
        .collect();
    assert_eq!(progress.len(), 2);
    net.run(6 * S);
    assert_eq!(net.catalogs()[0], (2, true));
    // Asked again; this time the simulated device says that it has none.
    assert_eq!(net.catalogs()[1..], [(0, false)]);
    assert_eq!(net.platform.gauges().catalogs_coming, 0);
    assert_eq!(net.platform.catalog_items, 0);
}

#[test]
fn whoever_asks_a_device_that_is_not_there_is_told() {
    let mut net = Net::new(config());
    net.command(Command::QueryCatalog {
        device: device_id(1),
    });
    assert_eq!(net.catalogs(), [(0, true)]);
}

#[test]
fn a_device_that_never_answers_is_given_up_and_holds_up_nobody() {
    let mut net = Net::new(Config {
        queries_at_once: 1,
        ..config()
    });
    net.command(Command::SetAuth {
        device: device_id(1),
        auth: DeviceAuth::NotNeeded,
    });
    let text = request(
        "REGISTER",
        &device_id(1).to_string(),
        address_of(1),
        "a",
        "",
    );
    assert_eq!(net.status(address_of(1), &text), 200);
    net.add(device_config(2, 3));
    net.run(15 * S);
    assert!(net.catalogs().contains(&(3, false)), "{:?}", net.catalogs());
    net.run(60 * S);
    assert!(net.catalogs().contains(&(0, true)));
    assert_eq!(net.platform.gauges().queries_active, 0);
}

#[test]
fn questions_are_few_at_a_time_when_many_register_at_once() {
    let mut net = Net::new(config());
    for n in 1..=300 {
        net.add(device_config(n, 1));
    }
    let mut most = 0;
    for _ in 0..400 {
        net.run(Duration::from_millis(10));
        most = most.max(net.platform.queries.active());
    }
    assert!(most <= 64, "{most}");
    assert_eq!(net.catalogs().len(), 300);
    assert!(net.catalogs().iter().all(|c| *c == (1, false)));
}

/// Lets devices in without the network in between, and gives their places.
fn crowd(net: &mut Net, count: u32) -> Vec<Slot> {
    let now = net.now;
    (0..count)
        .map(|n| {
            let path = Path {
                peer: address_of(n),
                local: platform_address(),
                transport: Transport::Udp,
            };
            let registrar = &mut net.platform.registrar;
            let registered = registrar.register(now, device_id(n), path, 3600 * S, None);
            registered.expect("there is room").0
        })
        .collect()
}

fn page_of(items: usize) -> crate::gb28181::manscdp::CatalogPage {
    crate::gb28181::manscdp::CatalogPage {
        total: Some(u32::MAX),
        items: (0..items)
            .map(|n| CatalogItem {
                id: n.to_string(),
                ..CatalogItem::default()
            })
            .collect(),
        unusable: 0,
    }
}

#[test]
fn directories_that_come_at_the_same_time_have_a_bound() {
    let mut net = Net::new(config());
    let max = crate::limits::CATALOGS_COMING_MAX;
    let slots = crowd(&mut net, max as u32 + 1);
    let now = net.now;
    for slot in &slots {
        net.platform.catalog_page(now, *slot, Some(1), page_of(1));
        let coming = net.platform.gauges().catalogs_coming;
        assert!(coming <= max);
    }
    assert_eq!(net.platform.gauges().catalogs_coming, max);
    assert_eq!(net.platform.counters().catalog_pages_foreign, 1);
    // Silence ends them all, and room is made.
    net.now += 10 * S;
    net.platform.handle_timeout(net.now);
    assert_eq!(net.platform.gauges().catalogs_coming, 0);
    assert_eq!(net.platform.catalog_items, 0);
}

#[test]
fn items_of_all_directories_together_have_a_bound() {
    let mut net = Net::new(config());
    let max = crate::limits::CATALOG_ITEMS_HELD_MAX;
    let page = crate::limits::MANSCDP_ITEMS_MAX;
    let slots = crowd(&mut net, (max / page) as u32 + 1);
    let now = net.now;
    let (last, full) = slots.split_last().expect("some");
    for slot in full {
        net.platform
            .catalog_page(now, *slot, Some(1), page_of(page));
    }
    assert_eq!(net.platform.catalog_items, max);
    assert_eq!(net.platform.counters().xml_truncated, 0);
    net.platform.catalog_page(now, *last, Some(1), page_of(1));
    assert_eq!(net.platform.catalog_items, max);
    assert_eq!(net.platform.counters().xml_truncated, 1);
}

// ---- views ----

#[test]
fn a_view_runs_over_every_transport_and_ends_with_bye() {
    let mut net = Net::with_device(config(), 1);
    let transports = [
        MediaTransport::Udp,
        MediaTransport::TcpPassive,
        MediaTransport::TcpActive,
    ];
    for (id, transport) in (1..).zip(transports) {
        net.take_events();
        net.invite(id, transport);
        net.run(2 * S);
        let answer = net.events.iter().find_map(|(_, e)| match e {
            Event::InviteAnswered { answer, .. } => Some(answer.clone()),
            _ => None,
        });
        let answer = answer.expect("it is answered");
        assert_eq!(answer.transport, transport);
        assert_eq!(answer.ssrc, Some(Ssrc(100_000_000 + id as u32)));
        let payloads = answer.payloads.iter();
        let payloads: Vec<_> = payloads.map(|p| (p.payload_type, &*p.rtpmap)).collect();
        assert_eq!(payloads, [(96, "PS/90000")]);
        let port = if transport == MediaTransport::TcpPassive {
            9
        } else {
            40_000
        };
        assert_eq!(
            answer.remote,
            Some(SocketAddr::new(address_of(1).ip(), port))
        );
        let started = net.started();
        assert_eq!(started.len(), 1, "{transport:?}");
        assert_eq!(started[0].transport, transport);
        assert_eq!(started[0].channel, channel_id(1, 1));
        assert_eq!(started[0].ssrc, Ssrc(100_000_000 + id as u32));
        if transport != MediaTransport::TcpActive {
            assert_eq!(
                started[0].remote,
                SocketAddr::new(platform_address().ip(), 30_000)
            );
        }
        net.command(Command::EndInvite { id: InviteId(id) });
        net.run(2 * S);
        assert_eq!(
            net.told(id),
            [format!("answered {transport:?}"), "ended Us".into()]
        );
        assert_eq!(
            net.media_events(),
            [device::Event::StopMedia {
                id: started[0].id,
                by_us: false
            }]
        );
    }
    assert_eq!(net.platform.gauges().invites, 0);
    assert_eq!(net.platform.purposes.len(), 0);
    assert_eq!(net.platform.counters().answers_odd_ssrc, 0);
}

#[test]
fn views_come_and_go_through_heavy_loss() {
    let mut net = Net::with_device(config(), 1);
    net.loss = 300;
    for id in 1..=40 {
        net.invite(id, MediaTransport::Udp);
        net.run(10 * S);
        net.command(Command::EndInvite { id: InviteId(id) });
        net.run(20 * S);
        let told = net.told(id);
        assert!(told.len() >= 2, "{id} {told:?}");
        assert!(
            told[0].starts_with("answered") || told[0].starts_with("failed"),
            "{told:?}"
        );
        assert!(told[1].starts_with("ended"), "{told:?}");
        assert_eq!(told.len(), 2, "{told:?}");
    }
    net.run(60 * S);
    let events = net.media_events();
    let started = events
        .iter()
        .filter(|e| matches!(e, device::Event::StartMedia(_)))
        .count();
    assert!(started >= 30, "{started}");
    assert_eq!(net.platform.gauges().invites, 0);
    assert_eq!(net.platform.purposes.len(), 0);
}

#[test]
fn a_simulated_device_shows_only_so_many_views() {
    let mut net = Net::with_device(config(), 1);
    let max = crate::limits::SIM_MEDIA_MAX as u64;
    for id in 1..=max + 1 {
        net.invite(id, MediaTransport::Udp);
    }
    net.run(2 * S);
    assert_eq!(net.platform.gauges().invites, max as usize);
    let told = net.told(max + 1);
    assert!(
        told[0].starts_with("failed Rejected { status: 486"),
        "{told:?}"
    );
}

#[test]
fn the_device_may_hang_up() {
    let mut net = Net::with_device(config(), 1);
    net.invite(1, MediaTransport::Udp);
    net.run(2 * S);
    let media = net.started()[0].id;
    let now = net.now;
    net.device(1).end_media(now, media);
    net.run(2 * S);
    assert_eq!(net.told(1), ["answered Udp", "ended Device"]);
    assert_eq!(net.platform.counters().byes_from_device, 1);
    // Ending what has ended is no error.
    net.command(Command::EndInvite { id: InviteId(1) });
    assert_eq!(net.told(1), ["ended Us"]);
}

#[test]
fn a_view_that_is_not_answered_can_be_cancelled() {
    let mut net = Net::with_device(config(), 1);
    net.on_invite = OnInvite::Ignore;
    net.invite(1, MediaTransport::Udp);
    net.run(2 * S);
    net.command(Command::EndInvite { id: InviteId(1) });
    assert_eq!(net.told(1), ["failed Cancelled"]);
    net.run(2 * S);
    assert_eq!(net.told(1), ["ended Us"]);
    assert!(matches!(
        net.media_events()[..],
        [device::Event::StopMedia { .. }]
    ));
}

#[test]
fn an_answer_that_crosses_the_cancel_is_hung_up() {
    let mut net = Net::with_device(config(), 1);
    net.take_events();
    net.invite(1, MediaTransport::Udp);
    // Long enough for the INVITE to arrive and be accepted, too short for the answer to be back.
    net.run(Duration::from_millis(15));
    net.command(Command::EndInvite { id: InviteId(1) });
    net.run(5 * S);
    assert_eq!(net.told(1), ["failed Cancelled", "ended Us"]);
    assert!(matches!(
        net.media_events()[..],
        [
            device::Event::StartMedia(_),
            device::Event::StopMedia { by_us: false, .. }
        ]
    ));
    assert_eq!(net.platform.counters().answers_unclaimed, 1);
}

#[test]
fn refusals_and_silence_are_named() {
    let mut net = Net::with_device(config(), 1);
    net.on_invite = OnInvite::Refuse(486);
    net.invite(1, MediaTransport::Udp);
    net.run(2 * S);
    let told = net.told(1);
    assert!(
        told[0].starts_with("failed Rejected { status: 486"),
        "{told:?}"
    );
    assert_eq!(told[1], "ended Device");

    net.on_invite = OnInvite::Ignore;
    net.invite(2, MediaTransport::Udp);
    net.run(20 * S);
    assert_eq!(net.told(2), ["failed NoAnswer", "ended Us"]);

    net.loss = 1000;
    net.invite(3, MediaTransport::Udp);
    net.run(30 * S);
    assert_eq!(net.told(3), ["failed NoAnswer", "ended Lost"]);
    net.run(200 * S);
    net.invite(4, MediaTransport::Udp);
    assert_eq!(net.told(4), ["failed DeviceOffline", "ended Us"]);
    assert_eq!(net.platform.purposes.len(), 0);
}

#[test]
fn a_device_that_falls_silent_loses_its_views() {
    let mut net = Net::with_device(config(), 1);
    net.invite(1, MediaTransport::Udp);
    net.run(2 * S);
    net.loss = 1000;
    net.run(300 * S);
    assert_eq!(net.told(1), ["answered Udp", "ended Lost"]);
    assert_eq!(net.platform.gauges().invites, 0);
}

#[test]
fn a_view_of_somebody_unknown_is_refused_at_once() {
    let mut net = Net::new(config());
    net.invite(1, MediaTransport::Udp);
    assert_eq!(net.told(1), ["failed DeviceUnknown", "ended Us"]);
}

#[test]
fn views_have_a_bound() {
    let mut net = Net::with_device(config(), 1);
    net.on_invite = OnInvite::Ignore;
    let max = crate::limits::INVITES_MAX as u64;
    for id in 0..max {
        let invite = Invite {
            id: InviteId(id),
            device: device_id(1),
            channel: channel_id(1, 1),
            footage: Footage::Live,
            ssrc: Ssrc(1),
            transport: MediaTransport::Udp,
            media_port: 1,
            media_ip: None,
        };
        net.platform.invite(net.now, invite);
    }
    assert_eq!(net.platform.counters().invites_sent, max);
    net.invite(max, MediaTransport::Udp);
    assert!(net.told(max).contains(&"failed TooMany".into()));
}

#[test]
fn shutting_down_hangs_up_everywhere() {
    let mut net = Net::with_device(config(), 1);
    for id in 1..=3 {
        net.invite(id, MediaTransport::Udp);
    }
    net.run(2 * S);
    net.take_events();
    net.command(Command::Shutdown);
    net.run(S);
    assert!(net.events.iter().any(|(_, e)| matches!(e, Event::Drained)));
    let stops = net
        .media_events()
        .iter()
        .filter(|e| matches!(e, device::Event::StopMedia { .. }))
        .count();
    assert_eq!(stops, 3);
    net.take_events();
    net.invite(9, MediaTransport::Udp);
    assert_eq!(net.told(9), ["failed Cancelled", "ended Us"]);
}

#[test]
fn shutting_down_does_not_wait_for_the_dead() {
    let mut net = Net::with_device(config(), 1);
    net.invite(1, MediaTransport::Udp);
    net.run(2 * S);
    net.loss = 1000;
    net.command(Command::Shutdown);
    net.run(Duration::from_secs(PLATFORM_DRAIN_S) - S);
    assert!(!net.events.iter().any(|(_, e)| matches!(e, Event::Drained)));
    net.run(S);
    let drained = net
        .events
        .iter()
        .filter(|(_, e)| matches!(e, Event::Drained))
        .count();
    assert_eq!(drained, 1);
}

// ---- other requests ----

#[test]
fn every_method_has_its_answer() {
    let mut net = Net::with_device(config(), 1);
    let id = device_id(1).to_string();
    let from = address_of(1);
    for (method, status) in [
        ("OPTIONS", 200),
        ("NOTIFY", 200),
        ("BYE", 481),
        ("INFO", 481),
        ("SUBSCRIBE", 405),
        ("UPDATE", 405),
        ("PUBLISH", 405),
        ("NONSENSE", 501),
    ] {
        let text = request(method, &id, from, &format!("m-{method}"), "");
        // A BYE or INFO outside a dialog still has a To tag.
        let text = text.replace(
            &format!("{PLATFORM_ID}@3402000000>\r\nCall"),
            &format!("{PLATFORM_ID}@3402000000>;tag=x\r\nCall"),
        );
        assert_eq!(net.status(from, &text), status, "{method}");
    }
    assert_eq!(net.platform.counters().no_dialog, 2);
    let text = request("NOTIFY", &device_id(9).to_string(), address_of(9), "n9", "");
    assert_eq!(net.status(address_of(9), &text), 403);
}

#[test]
fn every_command_has_its_answer() {
    use crate::gb28181::manscdp::CmdType;
    let mut net = Net::with_device(config(), 1);
    let id = device_id(1).to_string();
    let from = address_of(1);
    for (n, cmd) in CmdType::ALL.iter().enumerate() {
        for root in ["Notify", "Response", "Query"] {
            let body = format!(
                "<{root}><CmdType>{}</CmdType><SN>1</SN><DeviceID>{id}</DeviceID></{root}>",
                cmd.name()
            );
            let text = request("MESSAGE", &id, from, &format!("c{n}{root}"), &body);
            assert_eq!(net.status(from, &text), 200, "{root} {cmd:?}");
        }
    }
    let body = "<Notify><CmdType>DataTransfer</CmdType></Notify>";
    let text = request("MESSAGE", &id, from, "dji", body);
    assert_eq!(net.status(from, &text), 200);
    assert_eq!(net.platform.counters().unknown_cmd_type, 1);
    for (n, body) in ["", "nonsense", "<Notify><SN>1</SN></Notify>"]
        .iter()
        .enumerate()
    {
        let text = request("MESSAGE", &id, from, &format!("bad{n}"), body);
        assert_eq!(net.status(from, &text), 400, "{body}");
    }
    assert_eq!(net.platform.counters().malformed_xml, 3);
}

#[test]
fn the_same_seed_and_input_give_the_same_output() {
    let trace = || {
        let mut net = Net::with_device(config(), 3);
        net.invite(1, MediaTransport::Udp);
        net.run(2 * S);
        let start = net.events[0].0;
        net.events
            .iter()
            .map(|(at, e)| format!("{:?} {e:?}", at.duration_since(start)))
            .collect::<Vec<_>>()
    };
    assert_eq!(trace(), trace());
}

#[test]
fn over_tcp_a_lost_connection_is_noticed_and_a_new_one_taken() {
    let mut net = Net::new(config());
    let mut tcp = device_config(1, 1);
    tcp.path.transport = Transport::Tcp(ConnId(5));
    net.add(tcp);
    net.run(5 * S);
    assert_eq!(net.catalogs(), [(1, false)]);
    net.invite(1, MediaTransport::TcpPassive);
    net.run(S);
    assert_eq!(net.told(1), ["answered TcpPassive"]);
    let now = net.now;
    net.platform.handle_closed(now, ConnId(5));
    net.invite(2, MediaTransport::Udp);
    assert_eq!(net.told(2), ["failed DeviceOffline", "ended Us"]);
    let path = Path {
        peer: platform_address(),
        local: address_of(1),
        transport: Transport::Tcp(ConnId(6)),
    };
    net.device(1).set_path(path);
    net.run(61 * S);
    net.invite(3, MediaTransport::Udp);
    net.run(S);
    assert_eq!(net.told(3), ["answered Udp"]);
    // The dialog goes on over the new connection.
    net.command(Command::EndInvite { id: InviteId(1) });
    net.run(S);
    assert_eq!(net.told(1), ["ended Us"]);
}

// ---- answers made by hand ----

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

#[test]
fn provisional_answers_are_told_and_a_repeated_answer_is_acknowledged_again() {
    let mut net = by_hand("IP Camera");
    net.invite(1, MediaTransport::Udp);
    let invite = net.sent(Method::Invite);
    assert_eq!(
        invite.header_str(HeaderName::Subject),
        Some("34020000001320010001:0100000001,34020000002000000001:0")
    );
    net.answer(&invite, "100 Trying", "", "");
    net.answer(&invite, "101 Dialog Establishement", "a", "");
    net.answer(&invite, "200 OK", "a", ANSWER);
    let ack = net.sent(Method::Ack);
    assert_eq!(ack.to_tag(), Some("a"));
    net.answer(&invite, "200 OK", "a", ANSWER);
    assert_eq!(net.sent(Method::Ack).to_tag(), Some("a"));
    let progress: Vec<u16> = net
        .events
        .iter()
        .filter_map(|(_, e)| match e {
            Event::InviteProgress { status, .. } => Some(*status),
            _ => None,
        })
        .collect();
    assert_eq!(progress, [100, 101]);
    assert_eq!(net.told(1), ["answered Udp"]);
}

#[test]
fn a_second_branch_is_hung_up_and_the_first_stays() {
    let mut net = by_hand("IP Camera");
    net.invite(1, MediaTransport::Udp);
    let invite = net.sent(Method::Invite);
    net.answer(&invite, "200 OK", "a", ANSWER);
    assert_eq!(net.sent(Method::Ack).to_tag(), Some("a"));
    net.answer(&invite, "200 OK", "b", ANSWER);
    assert_eq!(net.sent(Method::Ack).to_tag(), Some("b"));
    assert_eq!(net.sent(Method::Bye).to_tag(), Some("b"));
    assert_eq!(net.told(1), ["answered Udp"]);
    assert_eq!(net.platform.gauges().invites, 1);
}

#[test]
fn an_answer_that_does_not_fit_is_acknowledged_and_hung_up() {
    let mut net = by_hand("IP Camera");
    for (id, body, what) in [
        (1, String::new(), "200 OK without SDP"),
        (
            2,
            // Neither ours nor named.
            ANSWER.replace("RTP/AVP 96", "RTP/AVP 26"),
            "no payload type of our offer in the answer",
        ),
        (3, "rubbish".into(), "SDP that cannot be read"),
    ] {
        net.invite(id, MediaTransport::Udp);
        let invite = net.sent(Method::Invite);
        net.answer(&invite, "200 OK", "a", &body);
        net.sent(Method::Ack);
        let bye = net.sent(Method::Bye);
        net.answer(&bye, "200 OK", "", "");
        let failed = format!("failed BadAnswer {{ what: \"{what}\" }}");
        assert_eq!(net.told(id), [failed, "ended Us".into()]);
    }
    assert_eq!(net.platform.counters().invites_bad_answer, 3);
    assert_eq!(net.platform.purposes.len(), 0);
}

#[test]
fn a_device_known_to_answer_without_sdp_and_tag_is_believed() {
    let mut net = by_hand("GoSIP");
    net.invite(1, MediaTransport::TcpPassive);
    let invite = net.sent(Method::Invite);
    net.answer(&invite, "200 OK", "", "");
    net.sent(Method::Ack);
    assert_eq!(net.told(1), ["answered TcpPassive"]);
    net.command(Command::EndInvite { id: InviteId(1) });
    let bye = net.sent(Method::Bye);
    net.answer(&bye, "200 OK", "", "");
    assert_eq!(net.told(1), ["ended Us"]);
}

#[test]
fn a_bye_ends_only_the_dialog_whose_tags_it_has() {
    let mut net = by_hand("IP Camera");
    net.invite(1, MediaTransport::Udp);
    let invite = net.sent(Method::Invite);
    net.answer(&invite, "200 OK", "a", ANSWER);
    net.sent(Method::Ack);
    let call_id = invite.call_id().to_owned();
    let ours = invite.from_tag().expect("a tag").to_owned();
    let bye = |from_tag: &str, to_tag: &str, branch: &str| {
        format!(
            "BYE sip:x@10.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP 10.1.0.3:5060;branch=z9hG4bK{branch}\r\n\
             From: <sip:{}@x>;tag={from_tag}\r\nTo: <sip:{PLATFORM_ID}@x>;tag={to_tag}\r\nCall-ID: {call_id}\r\n\
             CSeq: 2 BYE\r\nContent-Length: 0\r\n\r\n",
            channel_id(1, 1)
        )
    };
    let from = address_of(1);
    assert_eq!(net.status(from, &bye("a", "other", "1")), 481);
    assert_eq!(net.status(from, &bye("other", &ours, "2")), 481);
    assert_eq!(net.told(1), ["answered Udp"]);
    assert_eq!(net.status(from, &bye("a", &ours, "3")), 200);
    assert_eq!(net.told(1), ["ended Device"]);
    assert_eq!(net.status(from, &bye("a", &ours, "4")), 481);
}

mod asks;
