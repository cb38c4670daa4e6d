//! The world: cameras, a node or none, and one queue of what happens when.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use gantry::gb28181::MediaTransport;
use gantry::gb28181::device::{self, MediaId, MediaOffer};
use gantry::id::{DeviceId, StreamId};
use gantry::session::{Command, DevicePolicy, RequestId};
use gantry::sip::{Path, Transport};
use gantry::time::WallClock;

use super::camera::Camera;
use super::clip::Clip;
use super::link::{Dice, Link, Quality};
use super::node::{Act, Node, Setup, Store, Watch};

/// How long a camera goes on sending when the platform has gone without a word.
const NOTICES_SILENCE: Duration = Duration::from_secs(30);
/// Pieces in which a connection's bytes arrive.
const PIECE_BYTES_MAX: u64 = 3_000;

enum What {
    ToNode {
        path: Path,
        bytes: Bytes,
    },
    ToCamera {
        peer: SocketAddr,
        bytes: Bytes,
    },
    Media {
        from: SocketAddr,
        to: u16,
        packet: Vec<u8>,
    },
    Connected {
        conn: u64,
    },
    Bytes {
        conn: u64,
        bytes: Vec<u8>,
    },
    Cut {
        conn: u64,
    },
    NodeWake,
    CameraWake(usize),
    Picture {
        camera: usize,
        view: MediaId,
        life: Instant,
    },
    /// The camera ends what nobody seems to watch.
    EndViews {
        camera: usize,
        life: Instant,
    },
}

/// A connection that carries media.
struct Conn {
    camera: usize,
    view: MediaId,
    peer: SocketAddr,
    /// The node made it, for this stream.
    stream: Option<StreamId>,
    /// The node's port, where the camera made it.
    to: u16,
    link: Link,
}

pub struct World {
    pub now: Instant,
    pub start: Instant,
    pub dice: Dice,
    pub node: Option<Node>,
    pub cameras: Vec<Camera>,
    /// How media of new connections is carried, and datagrams of media.
    pub media: Quality,
    pub presence: Presence,
    /// Bytes held by this thread, if the caller wants to know what the node holds: called before and after each of its
    /// turns. Messages are made on one side and dropped on the other, so the sum is off by what they take: right for a
    /// while and for what is large; [`World::weigh_node`] is exact.
    pub held: Option<fn() -> i64>,
    pub node_bytes: i64,
    pub node_bytes_max: i64,
    setup: Setup,
    store: Store,
    queue: BTreeMap<(Instant, u64), What>,
    next: u64,
    node_wake: Option<Instant>,
    node_since: Instant,
    by_address: HashMap<SocketAddr, usize>,
    by_id: HashMap<DeviceId, usize>,
    conns: BTreeMap<u64, Conn>,
    media_links: HashMap<usize, Link>,
    /// What happened so far, by kind.
    pub events: u64,
}

/// Who the node thinks is there, against who is.
#[derive(Default)]
pub struct Presence {
    offline_since: HashMap<DeviceId, Instant>,
    /// The longest time that a device that was there counted as offline.
    pub wrongly_offline_max: Duration,
}

impl World {
    pub fn new(seed: u64, transport: MediaTransport, keepalive: Duration, keep: bool) -> World {
        let now = Instant::now();
        let mut dice = Dice::new(seed);
        let setup = Setup {
            sip: SocketAddr::from(([203, 0, 113, 1], 5060)),
            transport,
            fallback: false,
            session_ports: None,
            keepalive,
            wall: WallClock {
                at: now,
                unix_ms: 1_770_000_000_000,
            },
            keep,
        };
        let mut store = Store::default();
        let node = Node::new(setup.clone(), &mut store, dice.seed(), now);
        World {
            now,
            start: now,
            dice,
            node: Some(node),
            cameras: Vec::new(),
            media: Quality::CLEAN,
            presence: Presence::default(),
            held: None,
            node_bytes: 0,
            node_bytes_max: 0,
            setup,
            store,
            queue: BTreeMap::new(),
            next: 0,
            node_wake: None,
            node_since: now,
            by_address: HashMap::new(),
            by_id: HashMap::new(),
            conns: BTreeMap::new(),
            media_links: HashMap::new(),
            events: 0,
        }
    }

    /// Puts up a camera. It has no power yet.
    pub fn add_camera(&mut self, clip: &Arc<Clip>, signalling: Quality) -> usize {
        let n = self.cameras.len();
        let link = Link::new(signalling);
        let keepalive = self.setup.keepalive;
        let camera = Camera::new(n as u32, clip, link, keepalive, self.now);
        self.by_address.insert(camera.public, n);
        self.by_id.insert(camera.id, n);
        self.presence.offline_since.insert(camera.id, self.now);
        self.cameras.push(camera);
        n
    }

    /// Streams have ports of their own from now on: the node starts anew.
    pub fn give_ports(&mut self, first: u16, last: u16) {
        self.setup.session_ports = Some((first, last));
        self.stop_node(false);
        self.start_node();
    }

    /// Sets a policy of a device, for this node and those after it.
    pub fn force(&mut self, camera: usize, key: &str, word: &str) {
        let device = self.cameras[camera].id;
        let mut policy = DevicePolicy::default();
        policy.set(key, word).expect("a policy");
        self.store.set_policy(device, policy);
        let command = Command::SetDevicePolicy { device, policy };
        self.with_node(|node, now| node.ask(now, command));
    }

    pub fn power_on(&mut self, n: usize) {
        let seed = self.dice.seed();
        let (now, sip) = (self.now, self.setup.sip);
        self.cameras[n].start(now, sip, seed);
        self.camera_turn(n);
    }

    pub fn power_off(&mut self, n: usize) {
        self.cameras[n].stop(self.now);
        let gone: Vec<u64> = self.conns_of(n);
        for conn in gone {
            self.cut(conn);
        }
    }

    pub fn rebind(&mut self, n: usize) {
        self.by_address.remove(&self.cameras[n].public);
        self.cameras[n].rebind();
        self.by_address.insert(self.cameras[n].public, n);
        // What was behind the old mapping is cut off; the camera's connections with it.
        for conn in self.conns_of(n) {
            self.cut(conn);
        }
    }

    pub fn conns_of(&self, n: usize) -> Vec<u64> {
        let of = self.conns.iter().filter(|(_, c)| c.camera == n);
        of.map(|(id, _)| *id).collect()
    }

    /// A connection breaks: what is on its way is lost, and both ends learn of it.
    pub fn cut(&mut self, conn: u64) {
        let Some(gone) = self.conns.remove(&conn) else {
            return;
        };
        let at = self.now + gone.link.quality.delay;
        self.push(at, What::Cut { conn });
        let now = self.now;
        let camera = &mut self.cameras[gone.camera];
        camera.views.retain(|v| v.offer.id != gone.view);
        if let Some(device) = &mut camera.device {
            device.end_media(now, gone.view);
        }
        self.camera_turn(gone.camera);
    }

    /// The node ends: with notice to everybody, or without.
    pub fn stop_node(&mut self, gracefully: bool) {
        if gracefully {
            self.with_node(|node, now| node.ask(now, Command::Shutdown));
            let patience = self.now + Duration::from_secs(10);
            while self.node.as_ref().is_some_and(|n| !n.shut_down) && self.now < patience {
                self.run_for(Duration::from_millis(100));
            }
        }
        self.node = None;
        self.node_wake = None;
        self.node_bytes = 0;
        let conns: Vec<u64> = self.conns.keys().copied().collect();
        for conn in conns {
            self.cut(conn);
        }
        let at = self.now + NOTICES_SILENCE;
        for camera in 0..self.cameras.len() {
            if !self.cameras[camera].views.is_empty() {
                let life = self.cameras[camera].up_since;
                self.push(at, What::EndViews { camera, life });
            }
        }
    }

    pub fn start_node(&mut self) {
        let seed = self.dice.seed();
        self.node_since = self.now;
        let setup = self.setup.clone();
        let before = self.held.map(|f| f());
        self.node = Some(Node::new(setup, &mut self.store, seed, self.now));
        self.account(before);
        self.node_turn();
    }

    /// What the node alone holds, by what comes back when it goes. A new one takes its place.
    pub fn weigh_node(&mut self) -> i64 {
        let held = self.held.expect("a counter of bytes");
        let before = held();
        drop(self.node.take().expect("a node"));
        let weight = before - held();
        self.stop_node(false);
        self.start_node();
        weight
    }

    pub fn watch(&mut self, camera: usize) -> Option<RequestId> {
        let id = self.cameras[camera].id;
        self.with_node(|node, now| node.watch(now, id, 0))
    }

    pub fn leave(&mut self, request: RequestId) {
        self.with_node(|node, now| node.leave(now, request));
    }

    /// The viewer goes, and what it was given with it.
    pub fn forget(&mut self, request: RequestId) -> Option<Watch> {
        self.leave(request);
        let watch = self.with_node(|node, _| node.watches.remove(&request));
        watch.flatten()
    }

    /// A packet of media arrives from anywhere.
    pub fn inject(&mut self, from: SocketAddr, to: u16, packet: Vec<u8>) {
        let at = self.now;
        self.push(at, What::Media { from, to, packet });
    }

    /// Datagrams of media of a camera that its link lost.
    pub fn media_lost(&self, camera: usize) -> u64 {
        self.media_links.get(&camera).map_or(0, |link| link.lost)
    }

    pub fn run_for(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(entry) = self.queue.first_entry() {
            if entry.key().0 > end {
                break;
            }
            let ((at, _), what) = entry.remove_entry();
            self.now = self.now.max(at);
            self.events += 1;
            self.happen(what);
        }
        self.now = end;
    }

    /// Sets how media is carried from now on.
    pub fn set_media(&mut self, quality: Quality) {
        self.media = quality;
        for link in self.media_links.values_mut() {
            link.quality = quality;
        }
        for conn in self.conns.values_mut() {
            conn.link.quality = quality;
        }
    }

    /// Longest time so far that a device which is there has counted as offline.
    pub fn wrongly_offline_max(&mut self) -> Duration {
        if self.node.is_some() {
            let ids: Vec<DeviceId> = self.presence.offline_since.keys().copied().collect();
            for id in ids {
                self.weigh(id);
            }
        }
        self.presence.wrongly_offline_max
    }

    /// Cameras without power for so long that still count as online.
    pub fn wrongly_online(&self, patience: Duration) -> usize {
        let gone = self.cameras.iter().filter(|c| {
            let down = c.down_since.map(|at| at.max(self.node_since));
            down.is_some_and(|at| self.now - at > patience)
                && !self.presence.offline_since.contains_key(&c.id)
        });
        gone.count()
    }

    fn weigh(&mut self, id: DeviceId) {
        let camera = &self.cameras[self.by_id[&id]];
        if camera.device.is_none() {
            return;
        }
        if let Some(since) = self.presence.offline_since.get(&id) {
            let since = (*since).max(camera.up_since).max(self.node_since);
            let time = self.now.saturating_duration_since(since);
            self.presence.wrongly_offline_max = self.presence.wrongly_offline_max.max(time);
        }
    }

    fn push(&mut self, at: Instant, what: What) {
        self.next += 1;
        self.queue.insert((at, self.next), what);
    }

    fn happen(&mut self, what: What) {
        let now = self.now;
        match what {
            // One that was overtaken by an earlier one changes nothing.
            What::NodeWake if self.node_wake != Some(now) => {}
            What::NodeWake => {
                self.node_wake = None;
                self.with_node(|node, now| node.handle_timeout(now));
            }
            What::ToNode { path, bytes } => {
                self.with_node(|node, now| node.platform.handle_message(now, path, bytes));
            }
            What::Media { from, to, packet } => {
                self.with_node(|node, now| node.media_datagram(now, from, to, &packet));
            }
            What::Connected { conn } => {
                if let Some(known) = self.conns.get(&conn) {
                    let (peer, stream, to) = (known.peer, known.stream, known.to);
                    self.with_node(|node, _| node.conn_opened(conn, peer, stream, to));
                }
            }
            What::Bytes { conn, bytes } => {
                if self.conns.contains_key(&conn) {
                    self.with_node(|node, now| node.conn_data(now, conn, &bytes));
                    if self.node.as_ref().is_some_and(|n| !n.has_conn(conn)) {
                        self.cut(conn);
                    }
                }
            }
            What::Cut { conn } => {
                self.with_node(|node, _| node.conn_closed(conn));
            }
            What::ToCamera { peer, bytes } => {
                let Some(n) = self.by_address.get(&peer).copied() else {
                    return;
                };
                let local = SocketAddr::from(([192, 168, 1, 64], 5060));
                let path = Path {
                    peer: self.setup.sip,
                    local,
                    transport: Transport::Udp,
                };
                if let Some(device) = &mut self.cameras[n].device {
                    device.handle_message(now, path, bytes);
                    self.camera_turn(n);
                }
            }
            What::CameraWake(n) if self.cameras[n].wake != Some(now) => {}
            What::CameraWake(n) => {
                self.cameras[n].wake = None;
                if let Some(device) = &mut self.cameras[n].device {
                    device.handle_timeout(now);
                }
                self.camera_turn(n);
            }
            What::Picture { camera, view, life } => {
                if self.cameras[camera].up_since == life {
                    self.picture(camera, view);
                }
            }
            What::EndViews { camera, life } => self.end_views(camera, life),
        }
    }

    fn end_views(&mut self, n: usize, life: Instant) {
        let now = self.now;
        let before = now - NOTICES_SILENCE;
        let camera = &mut self.cameras[n];
        let Some(device) = camera.device.as_mut().filter(|_| camera.up_since == life) else {
            return;
        };
        let old = |v: &super::camera::View| v.started.is_none_or(|at| at <= before);
        for view in camera.views.iter().filter(|v| old(v)) {
            device.end_media(now, view.offer.id);
        }
        camera.views.retain(|v| !old(v));
        self.camera_turn(n);
    }

    fn account(&mut self, before: Option<i64>) {
        if let (Some(held), Some(before)) = (self.held, before) {
            self.node_bytes += held() - before;
            self.node_bytes_max = self.node_bytes_max.max(self.node_bytes);
        }
    }

    /// One turn of the node, if there is one: whatever is done to it is done here, so that its bytes are counted.
    fn with_node<T>(&mut self, act: impl FnOnce(&mut Node, Instant) -> T) -> Option<T> {
        let (now, before) = (self.now, self.held.map(|f| f()));
        let node = self.node.as_mut()?;
        let answer = act(node, now);
        node.drain(now, &mut self.store);
        self.account(before);
        self.node_turn();
        Some(answer)
    }

    /// Carries what the node wants, and notes when it is to be woken.
    fn node_turn(&mut self) {
        let now = self.now;
        let Some(node) = &mut self.node else { return };
        let acts = std::mem::take(&mut node.acts);
        let presence = std::mem::take(&mut node.presence);
        let deadline = node.next_deadline();
        for act in acts {
            self.act(act);
        }
        for (id, online) in presence {
            if online {
                self.weigh(id);
                self.presence.offline_since.remove(&id);
            } else {
                self.presence.offline_since.insert(id, now);
            }
        }
        if let Some(at) = deadline.map(|at| at.max(now))
            && self.node_wake.is_none_or(|wake| at < wake)
        {
            self.node_wake = Some(at);
            self.push(at, What::NodeWake);
        }
    }

    fn act(&mut self, act: Act) {
        match act {
            Act::Transmit(transmit) => {
                let peer = transmit.path.peer;
                // To an address that NAT has given up nothing goes.
                let Some(n) = self.by_address.get(&peer).copied() else {
                    return;
                };
                let (now, bytes) = (self.now, transmit.payload);
                let link = &mut self.cameras[n].down;
                let arrivals = link.datagram(now, bytes.len(), &mut self.dice);
                for at in arrivals.into_iter().flatten() {
                    let bytes = bytes.clone();
                    self.push(at, What::ToCamera { peer, bytes });
                }
            }
            Act::Connect { stream, remote } => {
                let there = self.cameras.iter().enumerate().find_map(|(n, c)| {
                    let view = c.views.iter().find(|v| v.from == remote)?;
                    (c.device.is_some()).then_some((n, view.offer.id))
                });
                match there {
                    Some((camera, view)) => self.connect(camera, view, Some(stream)),
                    None => {
                        self.with_node(|node, _| node.conn_failed(stream));
                    }
                }
            }
        }
    }

    fn connect(&mut self, camera: usize, view: MediaId, stream: Option<StreamId>) {
        self.next += 1;
        let conn = self.next;
        let known = self.cameras[camera].view_mut(view);
        let Some(known) = known else { return };
        known.conn = Some(conn);
        let mut link = Link::new(self.media);
        let at = self.now + link.quality.delay * 2;
        link.open_at(at);
        let (peer, to) = (known.from, known.offer.remote.port());
        self.conns.insert(
            conn,
            Conn {
                camera,
                view,
                peer,
                stream,
                to,
                link,
            },
        );
        self.push(at, What::Connected { conn });
    }

    /// Carries what a camera wants, and notes when it is to be woken.
    fn camera_turn(&mut self, n: usize) {
        let now = self.now;
        while let Some(output) = self.cameras[n]
            .device
            .as_mut()
            .and_then(|device| device.poll_output())
        {
            match output {
                device::Output::Transmit(transmit) => {
                    let camera = &mut self.cameras[n];
                    let path = Path {
                        peer: camera.public,
                        local: self.setup.sip,
                        transport: Transport::Udp,
                    };
                    let bytes = transmit.payload;
                    let arrivals = camera.up.datagram(now, bytes.len(), &mut self.dice);
                    for at in arrivals.into_iter().flatten() {
                        let bytes = bytes.clone();
                        self.push(at, What::ToNode { path, bytes });
                    }
                }
                device::Output::Upload { .. } => {}
                device::Output::Event(event) => self.camera_event(n, event),
            }
        }
        let camera = &mut self.cameras[n];
        let deadline = camera.device.as_ref().and_then(|d| d.next_deadline());
        if let Some(at) = deadline.map(|at| at.max(now))
            && camera.wake.is_none_or(|wake| at < wake)
        {
            camera.wake = Some(at);
            self.push(at, What::CameraWake(n));
        }
    }

    fn camera_event(&mut self, n: usize, event: device::Event) {
        let now = self.now;
        match event {
            device::Event::Invited(offer) => {
                let first = self.dice.below(65_536) as u16;
                let camera = &mut self.cameras[n];
                let media = camera.accept(offer, first);
                if let Some(device) = &mut camera.device {
                    device.accept(now, offer.id, media);
                }
            }
            device::Event::StartMedia(offer) => self.start_media(n, offer),
            device::Event::Ordered { .. } => {}
            device::Event::StopMedia { id, .. } => {
                let camera = &mut self.cameras[n];
                let conn = camera.view_mut(id).and_then(|v| v.conn);
                camera.views.retain(|v| v.offer.id != id);
                if let Some(conn) = conn {
                    self.conns.remove(&conn);
                    self.push(now, What::Cut { conn });
                }
            }
            device::Event::Registered
            | device::Event::RegisterFailed { .. }
            | device::Event::Unregistered => {}
        }
    }

    fn start_media(&mut self, camera: usize, offer: MediaOffer) {
        let view = offer.id;
        if offer.transport == MediaTransport::TcpPassive {
            self.connect(camera, view, None);
        }
        let (now, life) = (self.now, self.cameras[camera].up_since);
        let Some(known) = self.cameras[camera].view_mut(view) else {
            return;
        };
        known.started = Some(now);
        self.push(now, What::Picture { camera, view, life });
    }

    fn picture(&mut self, n: usize, view: MediaId) {
        let now = self.now;
        let camera = &mut self.cameras[n];
        let clip = camera.clip.clone();
        let Some(known) = camera.view_mut(view) else {
            return;
        };
        let (from, to, conn, tcp) = (
            known.from,
            known.offer.remote.port(),
            known.conn,
            known.offer.transport != MediaTransport::Udp,
        );
        let mut packets = Vec::new();
        let due = known.send(&clip, &mut |packet| packets.push(packet.to_vec()));
        if tcp {
            self.write(conn, &packets);
        } else {
            let quality = self.media;
            let link = self
                .media_links
                .entry(n)
                .or_insert_with(|| Link::new(quality));
            let mut arrivals = Vec::new();
            for packet in packets {
                let at = link.datagram(now, packet.len(), &mut self.dice);
                arrivals.extend(at.into_iter().flatten().map(|at| (at, packet.clone())));
            }
            for (at, packet) in arrivals {
                self.push(at, What::Media { from, to, packet });
            }
        }
        let life = self.cameras[n].up_since;
        if let Some(due) = due {
            let what = What::Picture {
                camera: n,
                view,
                life,
            };
            self.push(due, what);
        }
    }

    /// Sends packets over a connection, cut anywhere.
    fn write(&mut self, conn: Option<u64>, packets: &[Vec<u8>]) {
        let now = self.now;
        let Some(id) = conn else { return };
        let Some(conn) = self.conns.get_mut(&id) else {
            return;
        };
        let mut bytes = Vec::new();
        for packet in packets {
            bytes.extend((packet.len() as u16).to_be_bytes());
            bytes.extend(packet);
        }
        let mut pieces = Vec::new();
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let len = (1 + self.dice.below(PIECE_BYTES_MAX) as usize).min(rest.len());
            let (piece, after) = rest.split_at(len);
            let at = conn.link.bytes(now, len, &mut self.dice);
            pieces.push((at, piece.to_vec()));
            rest = after;
        }
        for (at, bytes) in pieces {
            self.push(at, What::Bytes { conn: id, bytes });
        }
    }
}
