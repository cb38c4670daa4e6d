//! WebRTC viewers of a media thread: their cores, the shared port, and the sending of what all of them share.
//!
//! Every shard has a socket on the one WebRTC port; the kernel spreads peers over them by address. What comes in at the wrong
//! shard (checks, reports: little) is passed to the right one; what goes out leaves by the viewer's own shard.
//!
//! Sending: payloads are made once for the stream; a viewer costs a header, a seal and its place in a run of equal
//! datagrams that the kernel takes in one call ([`pump`]). A viewer that has much to catch up with is given
//! [`limits::PACE_PACKETS`] at a time.

mod intake;
mod path;
mod pump;

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ring::rand::SecureRandom as _;
use slab::Slab;
use tokio::sync::{mpsc, oneshot};

pub(super) use path::Arrival;
use path::Outlet;
pub(super) use path::Paths;
use pump::{Peer, Place, RUN_BYTES_MAX, pump, resend_one};

use super::counters::ShardCounters;
use super::shard::{EventSender, Order, ShardLink, ShardMessage, guarded};
use super::stream::{RtpFan, Stream};
use super::udp::{RecvBatch, Sender};
use super::{ViewerError, interfaces};
use crate::egress::rtp::RtpPayload;
use crate::egress::webrtc::demux::Router;
use crate::egress::webrtc::fragment::Restart;
use crate::egress::webrtc::viewer::Event;
use crate::egress::webrtc::{Address, Identity, Offered, Viewer};
use crate::id::{SessionId, StreamId};
use crate::limits;
use crate::media::frame::{Track, TrackId};
use crate::session::port::{MediaEvent, ViewerStats};
use crate::time::{WallClock, earliest};

/// What the WebRTC side of a media thread is made with.
pub(super) struct Setup {
    pub identity: Arc<Identity>,
    pub announced: Vec<IpAddr>,
    pub wall: WallClock,
    /// Where viewers may come by TCP. The listener itself is with one thread.
    pub tcp: bool,
}

/// A WebRTC viewer that has an open session.
pub(super) struct NewPeer {
    pub stream: StreamId,
    pub session: SessionId,
    pub offer: String,
    pub host: Option<String>,
    pub answer: oneshot::Sender<Result<String, ViewerError>>,
}

/// A restart of ICE that a viewer asks for. Only the thread that has its session answers.
#[derive(Clone)]
pub(super) struct RestartIce {
    pub session: SessionId,
    pub restart: Restart,
    pub host: Option<String>,
    /// New credentials as an SDP fragment.
    pub answer: mpsc::Sender<String>,
}

impl NewPeer {
    pub fn refuse(self, why: ViewerError) {
        // A caller that went away wants no answer.
        let _ = self.answer.send(Err(why));
    }
}

pub(super) struct Peers {
    shard: u8,
    socket: UdpSocket,
    out: Outlet,
    port: u16,
    bound: IpAddr,
    interfaces: Vec<IpAddr>,
    setup: Setup,
    batch: RecvBatch,
    router: Router,
    /// By slot of the router.
    peers: Vec<Option<Box<Peer>>>,
    count: usize,
    by_session: HashMap<SessionId, u32>,
    /// Streams that are at home on other shards.
    mirrors: HashMap<StreamId, RtpFan>,
    /// Peers that something happened to in this turn.
    attention: Vec<u32>,
    /// Peers that have more to send than one pace.
    behind: Vec<u32>,
    pace_at: Option<Instant>,
    next_timeout: Option<Instant>,
    /// What connections are read through.
    buffer: Box<[u8]>,
    random: ring::rand::SystemRandom,
    sent_bytes_gone: u64,
    skipped_gone: u64,
}

impl Peers {
    pub fn new(shard: u8, socket: UdpSocket, paths: Paths, setup: Setup) -> io::Result<Self> {
        let addr = socket.local_addr()?;
        Ok(Peers {
            shard,
            out: Outlet {
                sender: Sender::new(socket.try_clone()?)?,
                run: Vec::with_capacity(RUN_BYTES_MAX + limits::UDP_DATAGRAM_BYTES_MAX),
                paths,
            },
            buffer: vec![0; limits::ICE_TCP_READ_BYTES].into_boxed_slice(),
            port: addr.port(),
            bound: addr.ip(),
            interfaces: interfaces::addresses(),
            socket,
            setup,
            batch: RecvBatch::new(limits::UDP_DATAGRAM_BYTES_MAX),
            router: Router::new(shard),
            peers: Vec::new(),
            count: 0,
            by_session: HashMap::new(),
            mirrors: HashMap::new(),
            attention: Vec::new(),
            behind: Vec::new(),
            pace_at: None,
            next_timeout: None,
            random: ring::rand::SystemRandom::new(),
            sent_bytes_gone: 0,
            skipped_gone: 0,
        })
    }

    pub fn len(&self) -> usize {
        self.count
    }

    pub fn sent_bytes(&self) -> u64 {
        self.sent_bytes_gone
            + self
                .peers
                .iter()
                .flatten()
                .map(|p| p.sent_bytes)
                .sum::<u64>()
    }

    pub fn skipped(&self) -> u64 {
        self.skipped_gone
            + self
                .peers
                .iter()
                .flatten()
                .map(|p| u64::from(p.skipped))
                .sum::<u64>()
    }

    pub fn next_deadline(&self) -> Option<Instant> {
        earliest(
            earliest(self.pace_at, self.next_timeout),
            self.out.paths.next_deadline(),
        )
    }

    // ---- coming and going ----

    /// Brings a viewer to a stream of this shard, here or on a shard with fewer of them.
    pub fn add(
        &mut self,
        now: Instant,
        new: NewPeer,
        stream: &mut Stream,
        events: &mut EventSender,
        links: &[ShardLink],
        counters: &ShardCounters,
    ) {
        let tracks = stream.rtp_tracks();
        if stream.rtp.is_none() {
            stream.make_rtp(links.len(), now);
        }
        let Some(fan) = stream.rtp.as_mut() else {
            return;
        };
        let (here, me) = (fan.peers.len(), usize::from(self.shard));
        let other = (0..links.len())
            .filter(|i| *i != me)
            .min_by_key(|i| fan.mirrors[*i]);
        if let Some(other) = other
            && here >= limits::PEERS_BEFORE_SPREAD
            && (fan.mirrors[other] as usize) < here
        {
            let session = new.session;
            if !fan.is_mirrored() {
                fan.mirrored = (fan.video.end(), fan.audio.end());
            }
            let snapshot = (fan.mirrors[other] == 0).then(|| snapshot(fan));
            let message = ShardMessage::AddMirroredPeer {
                new: Box::new(new),
                tracks,
                snapshot,
                newest: fan.newest,
            };
            if links[other].send(Order::Shard(message)) {
                fan.mirrors[other] += 1;
            } else {
                counters.orders_refused.inc();
                events.send(MediaEvent::ViewerClosed { session });
            }
            return;
        }
        match self.place(now, new, &tracks, events) {
            Some(slot) => fan.peers.push(slot),
            None => end_unwatched(stream),
        }
    }

    /// Brings a viewer to a stream that is at home elsewhere.
    #[expect(
        clippy::too_many_arguments,
        reason = "they are one message, taken apart"
    )]
    pub fn add_mirrored(
        &mut self,
        now: Instant,
        new: NewPeer,
        tracks: &[Track],
        snapshot: Option<Vec<RtpPayload>>,
        newest: Option<(Instant, crate::time::MediaTime)>,
        events: &mut EventSender,
        links: &[ShardLink],
    ) {
        let stream = new.stream;
        let fan = self.mirrors.entry(stream).or_default();
        if let Some(mut payloads) = snapshot {
            let peers = std::mem::take(&mut fan.peers);
            *fan = RtpFan::default();
            fan.peers = peers;
            fan.append(&mut payloads, now, Duration::ZERO);
        }
        fan.newest = newest;
        match self.place(now, new, tracks, events) {
            Some(slot) => self.mirrors.entry(stream).or_default().peers.push(slot),
            None => self.tell(
                links,
                stream.shard,
                ShardMessage::PeerLeft {
                    stream,
                    from: self.shard,
                },
            ),
        }
    }

    /// Answers the offer and keeps the viewer. `None` = refused, and said so.
    fn place(
        &mut self,
        now: Instant,
        new: NewPeer,
        tracks: &[Track],
        events: &mut EventSender,
    ) -> Option<u32> {
        let session = new.session;
        let refuse = |new: NewPeer, why: ViewerError, events: &mut EventSender| {
            new.refuse(why);
            events.send(MediaEvent::ViewerClosed { session });
            None
        };
        let mut random = [0; 36];
        self.random
            .fill(&mut random)
            .expect("the system gives random bytes");
        let (mark, seed) = random.split_first_chunk::<4>().expect("36 bytes hold 4");
        let seed: [u8; 32] = seed.try_into().expect("36 bytes less 4");
        let Ok((slot, ufrag)) = self.router.reserve(u32::from_be_bytes(*mark)) else {
            return refuse(
                new,
                ViewerError::Busy {
                    limit: "WebRTC viewers",
                },
                events,
            );
        };
        let offered = Offered {
            video: tracks.iter().find(|t| t.id == TrackId::Video),
            audio: tracks.iter().find(|t| t.id == TrackId::Audio),
        };
        let candidates = self.candidates(new.host.as_deref());
        match Viewer::answer(
            &self.setup.identity,
            &new.offer,
            offered,
            &candidates,
            ufrag,
            seed,
            now,
        ) {
            Err(e) => {
                self.router.release(slot);
                refuse(new, ViewerError::Offer(e.to_string()), events)
            }
            Ok((viewer, answer)) => {
                // A caller that went away: the viewer ends by silence.
                let _ = new.answer.send(Ok(answer));
                self.next_timeout = earliest(self.next_timeout, viewer.next_deadline());
                let stream = new.stream;
                let (video, audio) = (Place::New, Place::New);
                let peer = Peer {
                    viewer,
                    stream,
                    session,
                    video,
                    audio,
                    sent_bytes: 0,
                    first_byte: None,
                    skipped: 0,
                    congested: 0,
                    blocked: false,
                    paused_until: None,
                    broken: false,
                };
                let at = slot as usize;
                if self.peers.len() <= at {
                    self.peers.resize_with(at + 1, || None);
                }
                self.peers[at] = Some(Box::new(peer));
                self.count += 1;
                self.by_session.insert(session, slot);
                events.send(MediaEvent::Viewer {
                    session,
                    stats: ViewerStats::default(),
                });
                Some(slot)
            }
        }
    }

    /// Gives a viewer new credentials. A session that is not here is for others to answer.
    pub fn restart_ice(&mut self, asked: RestartIce) {
        let Some(slot) = self.by_session.get(&asked.session).copied() else {
            return;
        };
        let mut random = [0; 36];
        self.random
            .fill(&mut random)
            .expect("the system gives random bytes");
        let (mark, seed) = random.split_first_chunk::<4>().expect("36 bytes hold 4");
        let seed: [u8; 32] = seed.try_into().expect("36 bytes less 4");
        let candidates = self.candidates(asked.host.as_deref());
        let Some(peer) = self.peers.get_mut(slot as usize).and_then(Option::as_mut) else {
            return;
        };
        let taken_up = !peer.viewer.is_restarting();
        let mark = u32::from_be_bytes(*mark);
        if let Some(ufrag) = self.router.restart(slot, mark, taken_up) {
            let credentials = peer.viewer.restart(ufrag, &asked.restart.ufrag, seed);
            // A caller that went away asks again.
            let _ = asked
                .answer
                .try_send(asked.restart.answer(&credentials, &candidates));
        }
    }

    /// Where the viewer may reach us, best first: as it reached the API, as the config says, as the machine is known.
    fn candidates(&self, host: Option<&str>) -> Vec<Address> {
        let host = host.and_then(host_ip);
        let mut ips: Vec<IpAddr> = Vec::new();
        let own: &[IpAddr] = if self.bound.is_unspecified() {
            &self.interfaces
        } else {
            std::slice::from_ref(&self.bound)
        };
        for ip in host.iter().chain(&self.setup.announced).chain(own) {
            if !ips.contains(ip) && ips.len() < limits::CANDIDATES_MAX {
                ips.push(*ip);
            }
        }
        let at = |ip: &IpAddr| SocketAddr::new(*ip, self.port);
        let udp = ips.iter().map(|ip| Address::Udp(at(ip)));
        let tcp = ips.iter().map(|ip| Address::Tcp(at(ip)));
        udp.chain(tcp.filter(|_| self.setup.tcp)).collect()
    }

    /// The viewers of a stream that ended.
    pub fn close_stream(&mut self, now: Instant, slots: &[u32], events: &mut EventSender) {
        for slot in slots {
            self.remove(now, *slot, events);
        }
    }

    /// `false` = the session has no viewer here.
    pub fn close_session(
        &mut self,
        now: Instant,
        session: SessionId,
        streams: &mut Slab<Stream>,
        by_id: &HashMap<StreamId, usize>,
        events: &mut EventSender,
        links: &[ShardLink],
    ) -> bool {
        let Some(slot) = self.by_session.get(&session).copied() else {
            return false;
        };
        self.leave(now, slot, streams, by_id, events, links);
        true
    }

    pub fn close_all(&mut self, now: Instant, events: &mut EventSender) {
        for slot in 0..self.peers.len() {
            self.remove(now, slot as u32, events);
        }
    }

    /// A viewer is over: its stream is told.
    fn leave(
        &mut self,
        now: Instant,
        slot: u32,
        streams: &mut Slab<Stream>,
        by_id: &HashMap<StreamId, usize>,
        events: &mut EventSender,
        links: &[ShardLink],
    ) {
        let Some(id) = self.remove(now, slot, events) else {
            return;
        };
        if id.shard != self.shard {
            if let Some(fan) = self.mirrors.get_mut(&id) {
                fan.peers.retain(|s| *s != slot);
            }
            return self.tell(
                links,
                id.shard,
                ShardMessage::PeerLeft {
                    stream: id,
                    from: self.shard,
                },
            );
        }
        let Some(stream) = by_id.get(&id).and_then(|key| streams.get_mut(*key)) else {
            return;
        };
        if let Some(fan) = &mut stream.rtp {
            fan.peers.retain(|s| *s != slot);
        }
        end_unwatched(stream);
    }

    fn remove(&mut self, now: Instant, slot: u32, events: &mut EventSender) -> Option<StreamId> {
        let mut peer = self.peers.get_mut(slot as usize)?.take()?;
        let out = &mut self.out;
        if !peer.broken {
            peer.viewer
                .close(now, &mut |to, datagram| out.send(to, datagram));
        }
        for address in self.router.addresses(slot) {
            if let Address::Tcp(from) = address {
                out.paths.close_address(*from);
            }
        }
        self.router.release(slot);
        self.count -= 1;
        self.by_session.remove(&peer.session);
        self.sent_bytes_gone += peer.sent_bytes;
        self.skipped_gone += u64::from(peer.skipped);
        events.send(MediaEvent::ViewerClosed {
            session: peer.session,
        });
        Some(peer.stream)
    }

    fn tell(&self, links: &[ShardLink], shard: u8, message: ShardMessage) {
        if let Some(link) = links.get(usize::from(shard))
            && !link.send(Order::Shard(message))
        {
            tracing::warn!(
                from = self.shard,
                to = shard,
                "a media thread's queue is full: a WebRTC message is lost"
            );
        }
    }

    // ---- mirrors ----

    /// A viewer on another shard left a stream of this one.
    pub fn mirrored_left(&mut self, stream: &mut Stream, from: u8, links: &[ShardLink]) {
        let id = stream.id;
        let Some(n) = stream
            .rtp
            .as_mut()
            .and_then(|fan| fan.mirrors.get_mut(usize::from(from)))
        else {
            return;
        };
        *n = n.saturating_sub(1);
        if *n == 0 {
            self.tell(links, from, ShardMessage::PayloadsEnd { stream: id });
        }
        end_unwatched(stream);
    }

    pub fn mirror_payloads(
        &mut self,
        now: Instant,
        stream: StreamId,
        mut payloads: Vec<RtpPayload>,
        newest: Option<(Instant, crate::time::MediaTime)>,
    ) {
        let Some(mut fan) = self.mirrors.remove(&stream) else {
            return;
        };
        fan.newest = newest;
        fan.append(&mut payloads, now, Duration::ZERO);
        fan.flush_at = None;
        self.send_to_all(now, &fan);
        self.mirrors.insert(stream, fan);
    }

    pub fn mirror_end(&mut self, now: Instant, stream: StreamId, events: &mut EventSender) {
        if let Some(fan) = self.mirrors.remove(&stream) {
            self.close_stream(now, &fan.peers, events);
        }
    }

    /// The address of a viewer here was verified by (or is gone from) another shard.
    pub fn bind_foreign(&mut self, address: SocketAddr, shard: u8, bound: bool) {
        if bound {
            self.router.bind_foreign(Address::Udp(address), shard);
        } else {
            self.router.unbind_foreign(Address::Udp(address), shard);
        }
    }

    /// Datagrams that the kernel dropped on this shard's socket, as it last said.
    pub fn kernel_dropped(&self) -> u32 {
        self.batch.kernel_dropped()
    }

    // ---- each turn ----

    /// Timers, events of viewers, and what paces.
    pub fn turn(
        &mut self,
        now: Instant,
        streams: &mut Slab<Stream>,
        by_id: &HashMap<StreamId, usize>,
        events: &mut EventSender,
        links: &[ShardLink],
        counters: &ShardCounters,
    ) {
        if self.next_timeout.is_some_and(|at| at <= now) {
            self.handle_timeouts(now);
        }
        self.out.paths.handle_timeout(now);
        for slot in std::mem::take(&mut self.attention) {
            let Some(peer) = self.peers.get_mut(slot as usize).and_then(Option::as_mut) else {
                continue;
            };
            if peer.broken || peer.viewer.closed().is_some() {
                self.leave(now, slot, streams, by_id, events, links);
                continue;
            }
            let id = peer.stream;
            let fan = match self.mirrors.get(&id) {
                Some(fan) => Some(fan),
                None => by_id
                    .get(&id)
                    .and_then(|key| streams.get(*key))
                    .and_then(|s| s.rtp.as_ref()),
            };
            let Some(fan) = fan else { continue };
            let mut start = false;
            while let Some(event) = peer.viewer.poll_event() {
                match event {
                    Event::Ready => start = true,
                    Event::KeyFrameRequest => peer.want_key(fan),
                    Event::Congested(until) => {
                        counters.congested.inc();
                        peer.pause(until);
                    }
                    Event::Resend(resend) => {
                        counters.resent.inc();
                        resend_one(peer, fan.ring(resend.track), resend, &mut self.out);
                    }
                }
            }
            if start {
                if let Some((at, media)) = fan.newest {
                    peer.viewer.set_clock(at, &self.setup.wall, media);
                }
                if pump(now, peer, fan, &mut self.out) {
                    self.behind.push(slot);
                }
            }
        }
        if self.pace_at.is_some_and(|at| at <= now) {
            for slot in std::mem::take(&mut self.behind) {
                let Some(peer) = self.peers.get_mut(slot as usize).and_then(Option::as_mut) else {
                    continue;
                };
                let fan = match self.mirrors.get(&peer.stream) {
                    Some(fan) => Some(fan),
                    None => by_id
                        .get(&peer.stream)
                        .and_then(|key| streams.get(*key))
                        .and_then(|s| s.rtp.as_ref()),
                };
                if fan.is_some_and(|fan| pump(now, peer, fan, &mut self.out)) {
                    self.behind.push(slot);
                }
            }
        }
        self.pace_at = if self.behind.is_empty() {
            None
        } else {
            Some(now + Duration::from_millis(limits::PACE_MS))
        };
    }

    fn handle_timeouts(&mut self, now: Instant) {
        self.next_timeout = None;
        let out = &mut self.out;
        for (slot, peer) in self.peers.iter_mut().enumerate() {
            let Some(peer) = peer else { continue };
            if peer.viewer.next_deadline().is_some_and(|at| at <= now) {
                peer.viewer
                    .handle_timeout(now, &mut |to, data| out.send(to, data));
            }
            if peer.viewer.closed().is_some() {
                self.attention.push(slot as u32);
            }
            // A grid of 20 ms: many viewers, few wake-ups.
            let next = peer
                .viewer
                .next_deadline()
                .map(|at| at.max(now + Duration::from_millis(limits::PEER_TIMER_MS)));
            self.next_timeout = earliest(self.next_timeout, next);
        }
    }

    /// Sends the streams that are due, and hands their payloads to mirrors. The next time one is due.
    pub fn flush_due(
        &mut self,
        now: Instant,
        streams: &mut Slab<Stream>,
        links: &[ShardLink],
        counters: &ShardCounters,
    ) -> Option<Instant> {
        let mut next = None;
        for (_, stream) in streams.iter_mut() {
            let id = stream.id;
            let Some(fan) = stream.rtp.as_mut() else {
                continue;
            };
            match fan.flush_at {
                None => continue,
                Some(at) if at > now => {
                    next = earliest(next, Some(at));
                    continue;
                }
                Some(_) => fan.flush_at = None,
            }
            self.send_to_all(now, fan);
            if !fan.is_mirrored() {
                continue;
            }
            let new = fan
                .video
                .from(fan.mirrored.0)
                .chain(fan.audio.from(fan.mirrored.1));
            let payloads: Vec<RtpPayload> = new.cloned().collect();
            fan.mirrored = (fan.video.end(), fan.audio.end());
            for (shard, n) in fan.mirrors.iter().enumerate() {
                let message = || ShardMessage::Payloads {
                    stream: id,
                    payloads: payloads.clone(),
                    newest: fan.newest,
                };
                if *n > 0 && !links[shard].send(Order::Shard(message())) {
                    counters.orders_refused.inc();
                }
            }
        }
        next
    }

    fn send_to_all(&mut self, now: Instant, fan: &RtpFan) {
        for slot in &fan.peers {
            let Some(peer) = self.peers.get_mut(*slot as usize).and_then(Option::as_mut) else {
                continue;
            };
            if peer.viewer.is_ready()
                && pump(now, peer, fan, &mut self.out)
                && !self.behind.contains(slot)
            {
                self.behind.push(*slot);
            }
        }
        if !self.behind.is_empty() && self.pace_at.is_none() {
            self.pace_at = Some(now + Duration::from_millis(limits::PACE_MS));
        }
    }

    pub fn each_second(
        &mut self,
        streams: &Slab<Stream>,
        by_id: &HashMap<StreamId, usize>,
        events: &mut EventSender,
    ) {
        for peer in self.peers.iter_mut().flatten() {
            let home = || {
                by_id
                    .get(&peer.stream)
                    .and_then(|key| streams.get(*key))
                    .and_then(|s| s.rtp.as_ref())
            };
            let newest = self
                .mirrors
                .get(&peer.stream)
                .or_else(home)
                .and_then(|fan| fan.newest);
            if let Some((at, media)) = newest {
                peer.viewer.set_clock(at, &self.setup.wall, media);
            }
            events.send(MediaEvent::Viewer {
                session: peer.session,
                stats: peer.stats(),
            });
        }
    }
}

/// The payloads from the newest key frame on, for a mirror that starts.
fn snapshot(fan: &RtpFan) -> Vec<RtpPayload> {
    let from = fan.video.newest_key().unwrap_or(fan.mirrored.0);
    let n = usize::try_from(fan.mirrored.0.saturating_sub(from)).unwrap_or(0);
    fan.video.from(from).take(n).cloned().collect()
}

/// Ends the payloads of a stream that no WebRTC viewer watches on any shard.
fn end_unwatched(stream: &mut Stream) {
    if stream
        .rtp
        .as_ref()
        .is_some_and(|fan| fan.peers.is_empty() && !fan.is_mirrored())
    {
        stream.rtp = None;
    }
}

/// The address in `host:port` or `host`, if it is one; `localhost` is.
fn host_ip(host: &str) -> Option<IpAddr> {
    if let Ok(addr) = host.parse::<SocketAddr>() {
        return Some(addr.ip());
    }
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    if name == "localhost" {
        return Some(std::net::Ipv4Addr::LOCALHOST.into());
    }
    name.trim_matches(['[', ']']).parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_of_a_request_is_an_address_or_not() {
        let ip = |s: &str| host_ip(s).map(|ip| ip.to_string());
        assert_eq!(ip("10.0.0.7:9780").as_deref(), Some("10.0.0.7"));
        assert_eq!(ip("10.0.0.7").as_deref(), Some("10.0.0.7"));
        assert_eq!(ip("[::1]:9780").as_deref(), Some("::1"));
        assert_eq!(ip("localhost:9780").as_deref(), Some("127.0.0.1"));
        assert_eq!(ip("cameras.example:9780"), None);
    }
}
