//! Media over TCP on a media thread: connections accepted and made, and whose packets they carry.

use std::time::Instant;

use mio::{Interest, Token};

use super::ingest::{claim, touch};
use super::{CONNS, KEY_MASK, Shard, guarded};
use crate::limits;
use crate::media::rtp;
use crate::net::conn::Conn;
use crate::session::port::{MediaEvent, Progress};

impl Shard {
    pub(super) fn accept(&mut self, now: Instant) {
        while let Ok((socket, from)) = self.rtp_tcp.accept() {
            let same_source = self
                .conns
                .iter()
                .filter(|(_, c)| c.peer().ip() == from.ip())
                .count();
            if self.conns.len() >= limits::MEDIA_CONNS_MAX
                || same_source >= limits::MEDIA_CONNS_PER_SOURCE_MAX
            {
                self.counters.conns_refused.inc();
                continue;
            }
            self.add_conn(Conn::accepted(socket, from, now));
        }
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
        let mut received = 0u64;
        let mut bound = conn.stream();
        let mut newly_bound = None;
        let open = conn.read(now, &mut self.read_buffer, |packet| {
            received += packet.len() as u64;
            let Some(ssrc) = rtp::peek_ssrc(packet) else {
                counters.malformed.inc();
                return;
            };
            let found = match bound {
                Some(id) => by_id.get(&id).copied(),
                None => by_ssrc
                    .get(&ssrc)
                    .copied()
                    .or_else(|| claim(streams, peer, rtp::is_rtcp(packet))),
            };
            let Some((found, stream)) = found.and_then(|k| Some((k, streams.get_mut(k)?))) else {
                counters.unclaimed.inc();
                return;
            };
            if bound.is_none() {
                bound = Some(stream.id);
                newly_bound = Some(stream.id);
            }
            if stream.ssrc.is_none() {
                stream.ssrc = Some(ssrc);
                stream.ingest.set_ssrc(Some(ssrc));
                by_ssrc.insert(ssrc, found);
            }
            stream.source = Some(peer);
            if guarded(counters, || stream.push_packet(now, packet)).is_none() {
                broken.push(stream.id);
                return;
            }
            touch(touched, found, stream, reordering);
        });
        self.received_bytes += received;
        if let Some(id) = newly_bound {
            if let Some(conn) = self.conns.get_mut(key) {
                conn.bind(id);
            }
            self.events.send(MediaEvent::Progress {
                stream: id,
                progress: Progress::Connected,
            });
        }
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
}
