//! Frames to viewers on a media thread: renditions, their flushes, and the viewers that come and go.

use std::time::Instant;

use bytes::Bytes;
use mio::{Interest, Token};
use socket2::SockRef;

use super::ports::report_socket;
use super::report::send_rtcp;
use super::{NewIo, NewViewer, Order, Shard, ShardMessage, VIEWERS, guarded};
use crate::egress::Unit;
use crate::egress::fan::Framing;
use crate::id::SessionId;
use crate::limits;
use crate::net::sound::Made;
use crate::net::viewer::{Closed, Io, Viewer};
use crate::session::port::{MediaEvent, ViewerStats};

impl Shard {
    pub(super) fn deliver(&mut self, now: Instant) {
        for key in std::mem::take(&mut self.touched) {
            let Some(stream) = self.streams.get_mut(key) else {
                continue;
            };
            if !stream.has_output() {
                continue;
            }
            let id = stream.id;
            let events = &mut self.events;
            let (fans, holds) = (&mut self.fans, &self.holds);
            let done = guarded(&self.counters, || {
                stream.deliver(now, fans, holds, &mut |progress| {
                    events.send(MediaEvent::Progress {
                        stream: id,
                        progress,
                    })
                });
            });
            if done.is_none() {
                self.broken.push(id);
                continue;
            }
            if stream.wants_key_frame() {
                self.events.send(MediaEvent::KeyFrameWanted { stream: id });
                if let Some(to) = stream.write_rtcp(now, &mut self.rtcp_out) {
                    let socket = report_socket(&self.rtp, &self.own_ports, stream.own_port);
                    send_rtcp(socket, &mut self.conns, id, to, &self.rtcp_out);
                }
            }
            self.plan_flush(key);
        }
    }

    /// Gives converted sound to its stream's renditions.
    pub(super) fn take_sound(&mut self, now: Instant, made: Made) {
        let Some(&key) = self.by_id.get(&made.stream) else {
            return;
        };
        let Some(stream) = self.streams.get_mut(key) else {
            return;
        };
        let (id, fans, holds) = (stream.id, &mut self.fans, &self.holds);
        let done = guarded(&self.counters, || {
            stream.take_sound(made, fans, now, holds);
        });
        if done.is_none() {
            self.broken.push(id);
            return;
        }
        self.plan_flush(key);
    }

    fn plan_flush(&mut self, key: usize) {
        let Some(stream) = self.streams.get(key) else {
            return;
        };
        for fan in &stream.fans {
            let at = self.fans.get(*fan).and_then(|fan| fan.flush_at);
            self.next_flush = crate::time::earliest(self.next_flush, at);
        }
        let at = stream.rtp.as_ref().and_then(|rtp| rtp.flush_at);
        self.next_flush = crate::time::earliest(self.next_flush, at);
    }

    pub(super) fn flush_due(&mut self, now: Instant) {
        if self.next_flush.is_none_or(|at| at > now) {
            return;
        }
        let mut next = None;
        let mut due = Vec::new();
        for (key, fan) in &self.fans {
            match fan.flush_at {
                Some(at) if at <= now => due.push(key),
                at => next = crate::time::earliest(next, at),
            }
        }
        for key in due {
            self.flush_fan(now, key);
        }
        let rtp_next = self
            .peers
            .flush_due(now, &mut self.streams, &self.links, &self.counters);
        self.next_flush = crate::time::earliest(next, rtp_next);
    }

    /// Writes a rendition to its viewers here, and hands its new units to its mirrors.
    pub(super) fn flush_fan(&mut self, now: Instant, key: usize) {
        let Some(fan) = self.fans.get_mut(key) else {
            return;
        };
        fan.flush_at = None;
        let mut closed = Vec::new();
        self.shared.clear();
        for viewer in &fan.viewers {
            if let Some(v) = self.viewers.get_mut(*viewer)
                && let Err(why) = v.write(&fan.ring, &mut self.shared, now)
            {
                closed.push((*viewer, why));
            }
        }
        if fan.is_mirrored() {
            let units: Vec<Unit> = fan.ring.from(fan.mirrored).cloned().collect();
            fan.mirrored = fan.ring.end();
            let init = std::mem::take(&mut fan.init_changed).then(|| fan.init.clone());
            for (shard, n) in fan.mirrors.iter().enumerate() {
                if *n == 0 {
                    continue;
                }
                let message = ShardMessage::Units {
                    key: fan.key,
                    units: units.clone(),
                    init: init.clone(),
                };
                if !self.links[shard].send(Order::Shard(message)) {
                    self.counters.orders_refused.inc();
                }
            }
        }
        for (viewer, why) in closed {
            self.close_viewer(viewer, why);
        }
    }

    pub(super) fn add_viewer(&mut self, now: Instant, new: NewViewer) {
        let Some(&stream_key) = self.by_id.get(&new.stream) else {
            return self.events.send(MediaEvent::ViewerClosed {
                session: new.session,
            });
        };
        let key = new.key();
        let shards = self.links.len();
        let fan_key = match self.fan_by_key.get(&key) {
            Some(fan_key) => *fan_key,
            None => {
                let Some(stream) = self.streams.get_mut(stream_key) else {
                    return;
                };
                let fan = stream.make_fan(key, self.ring_bytes * limits::FAN_RINGS, shards, now);
                let fan_key = self.fans.insert(fan);
                stream.fans.push(fan_key);
                self.fan_by_key.insert(key, fan_key);
                fan_key
            }
        };
        let Some(fan) = self.fans.get_mut(fan_key) else {
            return;
        };
        let here = fan.viewers.len();
        let me = usize::from(self.index);
        let other = (0..shards)
            .filter(|i| *i != me)
            .min_by_key(|i| fan.mirrors[*i]);
        if here >= limits::VIEWERS_BEFORE_SPREAD
            && let Some(other) = other
            && (fan.mirrors[other] as usize) < here
        {
            let session = new.session;
            if !fan.is_mirrored() {
                fan.mirrored = fan.ring.end();
            }
            let snapshot = (fan.mirrors[other] == 0).then(|| {
                let from = fan.ring.newest_key().unwrap_or(fan.mirrored);
                let n = usize::try_from(fan.mirrored.saturating_sub(from)).unwrap_or(0);
                (
                    fan.init.clone(),
                    fan.ring.from(from).take(n).cloned().collect(),
                )
            });
            fan.mirrors[other] += 1;
            let message = ShardMessage::AddMirrored {
                new: Box::new(new),
                snapshot,
            };
            if !self.links[other].send(Order::Shard(message)) {
                fan.mirrors[other] -= 1;
                self.counters.orders_refused.inc();
                self.events.send(MediaEvent::ViewerClosed { session });
            }
            return;
        }
        self.place_viewer(now, fan_key, new);
    }

    /// Puts a viewer on a rendition of this shard and writes it its start.
    pub(super) fn place_viewer(&mut self, now: Instant, fan_key: usize, new: NewViewer) {
        let Some(fan) = self.fans.get_mut(fan_key) else {
            return;
        };
        let session = new.session;
        let io = match new.io {
            NewIo::Socket(socket) => {
                // Where it is refused the kernel's own bound holds.
                let _ =
                    SockRef::from(&socket).set_tcp_notsent_lowat(limits::VIEWER_UNSENT_BYTES_MAX);
                Io::Socket(mio::net::TcpStream::from_std(socket))
            }
            NewIo::Channel(channel, cutoff) => Io::Channel(channel, cutoff),
        };
        let init: &[u8] = match (new.framing, &io) {
            (Framing::WebSocket, Io::Socket(_)) => &fan.init.head,
            (Framing::Http, _) | (_, Io::Channel(..)) => {
                &fan.init.head[usize::from(fan.init.ws_header_len)..]
            }
        };
        let preface = match &fan.preface {
            Some(made) if is_joined(made, &new.preface, init) => made.clone(),
            _ => {
                let made: Bytes = [&new.preface, init].concat().into();
                fan.preface = Some(made.clone());
                made
            }
        };
        let entry = self.viewers.vacant_entry();
        let key = entry.key();
        let viewer = entry.insert(Viewer::new(session, fan_key, io, new.framing, preface, now));
        if let Some(socket) = viewer.socket_mut()
            && self
                .poll
                .registry()
                .register(
                    socket,
                    Token(VIEWERS | key),
                    Interest::READABLE | Interest::WRITABLE,
                )
                .is_err()
        {
            self.viewers.remove(key);
            return self.events.send(MediaEvent::ViewerClosed { session });
        }
        fan.viewers.push(key);
        self.viewer_by_session.insert(session, key);
        self.events.send(MediaEvent::Viewer {
            session,
            stats: ViewerStats::default(),
        });
        self.write_viewer(now, key);
        // Most have their first bytes now: told at once, so that it is known when a picture left.
        if let Some(viewer) = self.viewers.get(key)
            && viewer.sent_bytes > 0
        {
            self.events.send(MediaEvent::Viewer {
                session,
                stats: viewer.stats(),
            });
        }
    }

    fn write_viewer(&mut self, now: Instant, key: usize) {
        let Some(viewer) = self.viewers.get_mut(key) else {
            return;
        };
        let Some(fan) = self.fans.get(viewer.fan) else {
            return;
        };
        self.shared.clear();
        if let Err(why) = viewer.write(&fan.ring, &mut self.shared, now) {
            self.close_viewer(key, why);
        }
    }

    pub(super) fn on_viewer(&mut self, now: Instant, key: usize, readable: bool, writable: bool) {
        let Some(viewer) = self.viewers.get_mut(key) else {
            return;
        };
        if readable && let Err(why) = viewer.read() {
            return self.close_viewer(key, why);
        }
        // An edge: the socket takes bytes again after it had refused some.
        if writable {
            self.write_viewer(now, key);
        }
    }

    /// A viewer is over by its own doing: its rendition is told.
    pub(super) fn close_viewer(&mut self, key: usize, why: Closed) {
        let Some(viewer) = self.viewers.get(key) else {
            return;
        };
        let fan_key = viewer.fan;
        if why == Closed::TooSlow {
            viewer.cut_off();
            self.counters.too_slow.inc();
        }
        self.drop_viewer(key);
        let Some(fan) = self.fans.get_mut(fan_key) else {
            return;
        };
        fan.viewers.retain(|v| *v != key);
        let fan = &self.fans[fan_key];
        if fan.key.stream.shard != self.index {
            let message = ShardMessage::ViewerLeft {
                key: fan.key,
                from: self.index,
            };
            return self.tell(usize::from(fan.key.stream.shard), message);
        }
        self.end_unwatched(fan_key);
    }

    /// Ends a rendition that nobody watches on any shard.
    pub(super) fn end_unwatched(&mut self, fan_key: usize) {
        let Some(fan) = self.fans.get(fan_key) else {
            return;
        };
        if !fan.viewers.is_empty() || fan.is_mirrored() {
            return;
        }
        let stream = self.by_id.get(&fan.key.stream).copied();
        self.remove_fan(fan_key);
        if let Some(stream) = stream.and_then(|key| self.streams.get_mut(key)) {
            stream.fans.retain(|f| *f != fan_key);
            stream.drop_unused_conversions(&self.fans);
        }
    }

    fn drop_viewer(&mut self, key: usize) {
        let Some(mut viewer) = self.viewers.try_remove(key) else {
            return;
        };
        self.viewer_by_session.remove(&viewer.session);
        self.sent_bytes_gone += viewer.sent_bytes;
        self.skipped_gone += u64::from(viewer.skipped());
        viewer.close();
        if let Some(socket) = viewer.socket_mut() {
            // The socket is closed on drop, which ends the registration as well.
            let _ = self.poll.registry().deregister(socket);
        }
        self.events.send(MediaEvent::ViewerClosed {
            session: viewer.session,
        });
    }

    /// `ask_others`: the viewer may be on another shard.
    pub(super) fn close_session(&mut self, now: Instant, session: SessionId, ask_others: bool) {
        if let Some(key) = self.viewer_by_session.get(&session).copied() {
            return self.close_viewer(key, Closed::ByPeer);
        }
        if self.peers.close_session(
            now,
            session,
            &mut self.streams,
            &self.by_id,
            &mut self.events,
            &self.links,
        ) || !ask_others
        {
            return;
        }
        let me = usize::from(self.index);
        for shard in 0..self.links.len() {
            if shard != me {
                self.tell(shard, ShardMessage::CloseSession(session));
            }
        }
    }

    /// Closes a rendition's viewers here and on the other shards.
    pub(super) fn remove_fan(&mut self, key: usize) {
        let Some(mut fan) = self.fans.try_remove(key) else {
            return;
        };
        self.fan_by_key.remove(&fan.key);
        for viewer in std::mem::take(&mut fan.viewers) {
            self.drop_viewer(viewer);
        }
        for (shard, n) in fan.mirrors.iter().enumerate() {
            if *n > 0 {
                self.tell(shard, ShardMessage::MirrorEnd { key: fan.key });
            }
        }
    }

    pub(super) fn close_all(&mut self) {
        let keys: Vec<usize> = self.viewers.iter().map(|(key, _)| key).collect();
        for key in keys {
            self.drop_viewer(key);
        }
        self.peers.close_all(Instant::now(), &mut self.events);
    }
}

/// `whole` is `head` and then `rest`.
fn is_joined(whole: &[u8], head: &[u8], rest: &[u8]) -> bool {
    whole.strip_prefix(head).is_some_and(|tail| tail == rest)
}
