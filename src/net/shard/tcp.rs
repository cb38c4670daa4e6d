//! Media over TCP on a media thread: connections accepted and made, and whose packets they carry.

use std::net::IpAddr;
use std::time::Instant;

use mio::{Interest, Token};

use super::ingest::{claim, touch};
use super::{CONNS, KEY_MASK, Shard, guarded};
use crate::id::StreamId;
use crate::limits;
use crate::media::rtp;
use crate::net::conn::Conn;
use crate::session::port::{MediaEvent, Progress};

impl Shard {
    pub(super) fn accept(&mut self, now: Instant) {
        while let Ok((socket, from)) = self.rtp_tcp.accept() {
            if self.has_room_for(from.ip()) {
                self.add_conn(Conn::accepted(socket, from, None, now));
            }
        }
    }

    /// Whether one more media connection of an address is taken; a refused one is counted.
    pub(super) fn has_room_for(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        let all = self.conns.len();
        let same_source = self.conns.iter().filter(|(_, c)| c.peer().ip() == ip);
        let room = all < limits::MEDIA_CONNS_MAX
            && same_source.count() < limits::MEDIA_CONNS_PER_SOURCE_MAX;
        if !room {
            self.counters.conns_refused.inc();
        }
        room
    }

    pub(super) fn add_conn(&mut self, conn: Conn) {
        let entry = self.conns.vacant_entry();
        let token = Token(CONNS | entry.key());
        let conn = entry.insert(conn);
        if let Err(e) = self.poll.registry().register(
            conn.socket_mut(),
            token,
            Interest::READABLE | Interest::WRITABLE,
        ) {
            tracing::warn!(shard = self.index, error = %e, "cannot watch a media connection");
            self.conns.remove(token.0 & KEY_MASK);
        }
    }

    pub(super) fn remove_conn(&mut self, key: usize) {
        if let Some(mut conn) = self.conns.try_remove(key) {
            // The socket is closed on drop, which ends the registration as well.
            let _ = self.poll.registry().deregister(conn.socket_mut());
        }
    }

    pub(super) fn on_conn(&mut self, now: Instant, key: usize, readable: bool, writable: bool) {
        let Some(conn) = self.conns.get_mut(key) else {
            return;
        };
        if writable && let Some((stream, connected)) = conn.connected() {
            let progress = if connected {
                Progress::Connected
            } else {
                Progress::ConnectFailed
            };
            self.events.send(MediaEvent::Progress { stream, progress });
            if !connected {
                return self.remove_conn(key);
            }
        }
        if !readable {
            return;
        }
        let (streams, by_id, by_ssrc) = (&mut self.streams, &self.by_id, &mut self.by_ssrc);
        let (touched, reordering, counters) =
            (&mut self.touched, &mut self.reordering, &self.counters);
        let broken = &mut self.broken;
        let peer = conn.peer();
        let resyncs_before = conn.resyncs();
        let mut received = 0u64;
        let mut bound = conn.stream();
        let port_of = conn.port_of();
        let mut newly_bound = None;
        let open = conn.read(now, &mut self.read_buffer, |packet| {
            received += packet.len() as u64;
            let Some(ssrc) = rtp::peek_ssrc(packet) else {
                counters.malformed.inc();
                return;
            };
            // RTCP says nothing of whose connection it is: its SSRC need not be that of the media.
            let is_rtcp = rtp::is_rtcp(packet);
            let found = match (bound, port_of) {
                (Some(id), _) => by_id.get(&id).copied(),
                (None, _) if is_rtcp => None,
                (None, Some(id)) => by_id.get(&id).copied(),
                (None, None) => by_ssrc
                    .get(&ssrc)
                    .copied()
                    .or_else(|| claim(streams, peer, is_rtcp)),
            };
            let Some((found, stream)) = found.and_then(|k| Some((k, streams.get_mut(k)?))) else {
                counters.unclaimed.inc();
                return;
            };
            // Until a packet fits it is a stranger's connection: what it brings is judged by its SSRC, and nobody makes way.
            if bound.is_none() && stream.ingest.fits(now, ssrc) {
                bound = Some(stream.id);
                newly_bound = Some(stream.id);
            }
            if stream.ssrc.is_none() && !is_rtcp && stream.own_port.is_none() {
                stream.set_ssrc(ssrc);
                by_ssrc.insert(ssrc, found);
            }
            if bound.is_some() {
                stream.tcp_peer = Some(peer);
            }
            if guarded(counters, || stream.push_framed(now, packet)).is_none() {
                broken.push(stream.id);
                return;
            }
            touch(touched, found, stream, reordering);
        });
        self.received_bytes += received;
        if let Some(id) = newly_bound {
            self.replace_conns(id, key);
            if let Some(conn) = self.conns.get_mut(key) {
                conn.bind(id);
            }
            self.events.send(MediaEvent::Progress {
                stream: id,
                progress: Progress::Connected,
            });
        }
        let resyncs = self.conns.get(key).map_or(0, Conn::resyncs);
        self.counters.resyncs.add(resyncs - resyncs_before);
        if !open {
            let stream = self.conns.get(key).and_then(Conn::stream);
            self.remove_conn(key);
            let other = |c: &Conn| c.stream() == stream;
            if let Some(id) = stream
                && !self.conns.iter().any(|(_, c)| other(c))
                && let Some(stream) = self.by_id.get(&id).and_then(|k| self.streams.get_mut(*k))
            {
                stream.finish();
                stream.stalled = true;
                self.events.send(MediaEvent::Progress {
                    stream: id,
                    progress: Progress::Stalled,
                });
            }
        }
    }

    /// A newer connection has brought a packet of a stream: the older ones of that stream are closed, so that two do not
    /// interleave. Devices open a second one when they think that the first is gone.
    fn replace_conns(&mut self, stream: StreamId, newer: usize) {
        let older: Vec<usize> = self
            .conns
            .iter()
            .filter(|(key, conn)| *key != newer && conn.stream() == Some(stream))
            .map(|(key, _)| key)
            .collect();
        for key in older {
            tracing::info!(
                stream = stream.number,
                "a newer media connection takes the place of one"
            );
            self.counters.conns_replaced.inc();
            self.remove_conn(key);
        }
    }
}
