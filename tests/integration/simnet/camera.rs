//! A camera: the device core of the library, and the pictures that it sends when it is invited.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use gantry::gb28181::device::{self, Device, MediaId, MediaOffer};
use gantry::gb28181::manscdp::Charset;
use gantry::gb28181::{CatalogItem, DeviceInfo};
use gantry::id::DeviceId;
use gantry::media::frame::{Frame, TrackId};
use gantry::media::ps::mux::Mux;
use gantry::media::rtp;
use gantry::sip::{Path, Transport};
use gantry::time::MediaTime;

use super::clip::Clip;
use super::link::Link;

pub const PASSWORD: &str = "12345678";
/// Bytes of program stream in a packet.
const PAYLOAD_BYTES: usize = 1_388;

pub struct Camera {
    pub id: DeviceId,
    /// `None`: it has no power.
    pub device: Option<Device>,
    /// Where the world sees its SIP come from. NAT changes it.
    pub public: SocketAddr,
    pub up: Link,
    pub down: Link,
    pub views: Vec<View>,
    pub clip: Arc<Clip>,
    /// The next time it is to be woken.
    pub wake: Option<Instant>,
    /// Since when it has power.
    pub up_since: Instant,
    pub down_since: Option<Instant>,
    keepalive: Duration,
    expires: Duration,
    /// Counted up by every change of the NAT, so that ports are new.
    rebinds: u16,
}

/// Something that it sends.
pub struct View {
    pub offer: MediaOffer,
    pub started: Option<Instant>,
    /// Where the world sees its packets come from.
    pub from: SocketAddr,
    pub conn: Option<u64>,
    /// Number of its first packet.
    pub first_sequence: u16,
    sent: u64,
    writer: rtp::Writer,
    mux: Mux,
}

impl Camera {
    pub fn new(n: u32, clip: &Arc<Clip>, link: Link, keepalive: Duration, now: Instant) -> Camera {
        let id = format!("340200000013{:08}", 20_000_000 + n);
        Camera {
            id: DeviceId(id.parse().expect("20 digits")),
            device: None,
            public: address(n, 0),
            up: link.clone(),
            down: link,
            views: Vec::new(),
            clip: clip.clone(),
            wake: None,
            up_since: now,
            down_since: None,
            keepalive,
            expires: Duration::from_secs(3_600),
            rebinds: 0,
        }
    }

    /// Has power from now on, and registers.
    pub fn start(&mut self, now: Instant, server: SocketAddr, seed: [u8; 32]) {
        let private = SocketAddr::from(([192, 168, 1, 64], 5060));
        let item = CatalogItem {
            id: self.id.to_string(),
            name: "门口 camera".to_owned(),
            parent_id: self.id.to_string(),
            online: true,
            ..CatalogItem::default()
        };
        let config = device::Config {
            id: self.id,
            password: PASSWORD.to_owned(),
            server: super::node::PLATFORM.parse().expect("a code"),
            realm: super::node::PLATFORM[..10].to_owned(),
            path: Path {
                peer: server,
                local: private,
                transport: Transport::Udp,
            },
            expires: self.expires,
            keepalive: self.keepalive,
            items_per_message: 2,
            charset: Charset::Gb2312,
            info: Arc::new(DeviceInfo::default()),
            channels: Arc::new([item]),
            abilities: Arc::default(),
        };
        let mut device = Device::new(config, seed);
        device.start(now);
        self.device = Some(device);
        self.up_since = now;
        self.down_since = None;
    }

    /// Loses power: nothing is said to anybody.
    pub fn stop(&mut self, now: Instant) {
        self.device = None;
        self.views.clear();
        self.down_since = Some(now);
    }

    /// The NAT forgets: what it sends comes from other ports from now on.
    pub fn rebind(&mut self) {
        self.rebinds = self.rebinds % 1_000 + 1;
        self.public.set_port(5_060 + self.rebinds);
        for (n, view) in (0..16).zip(&mut self.views) {
            view.from.set_port(30_000 + self.rebinds * 16 + n);
        }
    }

    /// Agrees to send. Answers the address that goes into its SDP.
    pub fn accept(&mut self, offer: MediaOffer, first_sequence: u16) -> SocketAddr {
        let port = 20_000 + (offer.id.0 % 5_000) as u16 * 2;
        let from = SocketAddr::new(self.public.ip(), port);
        self.views.push(View {
            from,
            offer,
            started: None,
            conn: None,
            first_sequence,
            sent: 0,
            writer: rtp::Writer::new(offer.ssrc, offer.payload_type, first_sequence),
            mux: Mux::new(Some(&self.clip.track), None),
        });
        from
    }

    pub fn view_mut(&mut self, id: MediaId) -> Option<&mut View> {
        self.views.iter_mut().find(|v| v.offer.id == id)
    }
}

impl View {
    /// Gives `put` the packets of the next picture, and says when the one after it is due.
    pub fn send(&mut self, clip: &Clip, put: &mut impl FnMut(&[u8])) -> Option<Instant> {
        let started = self.started?;
        let picture = clip.picture(self.sent);
        let time = MediaTime(self.sent as i64 * clip.step());
        let frame = Frame {
            track: TrackId::Video,
            dts: time,
            pts: time,
            key: picture.key,
            damaged: false,
            payload: picture.payload.clone(),
            received: started,
        };
        let mut ps = Vec::new();
        self.mux.push(&frame, &mut ps);
        self.writer
            .write(&ps, time.0 as u32, PAYLOAD_BYTES, &mut |packet| put(packet));
        self.sent += 1;
        Some(started + Duration::from_micros(self.sent * 1_000_000 / clip.per_second))
    }
}

/// Each camera is alone behind its NAT.
fn address(n: u32, rebinds: u16) -> SocketAddr {
    let [_, a, b, c] = n.to_be_bytes();
    let ip = IpAddr::V4(Ipv4Addr::new(100, 64 + a, b, c));
    SocketAddr::new(ip, 5_060 + rebinds)
}
