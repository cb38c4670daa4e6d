//! Streams of a media thread: opening, the datagrams that are theirs, closing.

use std::net::SocketAddr;
use std::time::Instant;

use slab::Slab;

use super::report::{add, add_errors};
use super::{Shard, ShardMessage, guarded};
use crate::gb28181::MediaTransport;
use crate::id::{Ssrc, StreamId};
use crate::limits;
use crate::media::ingest::Pace;
use crate::media::rtp;
use crate::net::conn::Conn;
use crate::net::stream::Stream;
use crate::session::intake;
use crate::session::port::{IngestOptions, MediaEvent, Progress};

impl Shard {
    pub(super) fn take_datagrams(&mut self, now: Instant) {
        loop {
            let n = match self.batch.recv(&self.rtp) {
                Ok(n) => n,
                Err(e) => {
                    tracing::warn!(shard = self.index, error = %e, "cannot receive RTP");
                    return;
                }
            };
            if let Some(dropped) = self.batch.kernel_dropped_now() {
                self.rtp_dropped = dropped;
            }
            for i in 0..n {
                let Some((from, packet)) = self.batch.get(i) else {
                    continue;
                };
                self.received_bytes += packet.len() as u64;
                // Some devices write a wrong version: whose SSRC is expected is known by that.
                let of_another_version =
                    || rtp::peek_ssrc_any_version(packet).filter(|s| self.by_ssrc.contains_key(s));
                let Some(ssrc) = rtp::peek_ssrc(packet).or_else(of_another_version) else {
                    self.counters.malformed.inc();
                    continue;
                };
                let found = self
                    .by_ssrc
                    .get(&ssrc)
                    .copied()
                    .or_else(|| claim(&self.streams, from, rtp::is_rtcp(packet)));
                let Some(key) = found else {
                    self.counters.unclaimed.inc();
                    continue;
                };
                let Some(stream) = self.streams.get_mut(key) else {
                    continue;
                };
                if stream.ssrc.is_none() {
                    stream.set_ssrc(ssrc);
                    self.by_ssrc.insert(ssrc, key);
                }
                let taken = guarded(&self.counters, || stream.push_datagram(now, from, packet));
                if taken.is_none() {
                    self.broken.push(stream.id);
                    continue;
                }
                touch(&mut self.touched, key, stream, &mut self.reordering);
            }
            if n < limits::UDP_BATCH_PACKETS {
                return;
            }
        }
    }

    pub(super) fn open_ingest(
        &mut self,
        id: StreamId,
        ssrc: Option<Ssrc>,
        transport: MediaTransport,
        options: IngestOptions,
    ) {
        let ring_bytes = self.budget.ring_bytes(self.ring_bytes);
        let own_port = match options.port.map(|port| self.open_port(id, port, transport)) {
            None => None,
            Some(Ok(key)) => {
                self.events.send(MediaEvent::Progress {
                    stream: id,
                    progress: Progress::PortOpen,
                });
                Some(key)
            }
            Some(Err(error)) => {
                tracing::warn!(shard = self.index, port = options.port, %error, "cannot open the port of a stream");
                return self.events.send(MediaEvent::Progress {
                    stream: id,
                    progress: Progress::PortTaken,
                });
            }
        };
        let mut stream = Stream::new(
            id,
            ssrc,
            transport,
            options,
            own_port,
            ring_bytes,
            self.sound.clone(),
        );
        stream.kernel_dropped_before = match own_port {
            Some(_) => 0,
            None => u64::from(self.rtp_dropped),
        };
        let key = self.streams.insert(stream);
        self.by_id.insert(id, key);
        if let Some(ssrc) = ssrc.filter(|_| own_port.is_none()) {
            self.by_ssrc.insert(ssrc, key);
        }
    }

    /// A device that plays back was ordered otherwise.
    pub(super) fn set_pace(
        &mut self,
        now: Instant,
        id: StreamId,
        pace: Pace,
        paused: bool,
        target_ms: Option<u64>,
    ) {
        let Some(stream) = self
            .by_id
            .get(&id)
            .and_then(|key| self.streams.get_mut(*key))
        else {
            return;
        };
        let (fans, holds) = (&mut self.fans, &self.holds);
        let done = guarded(&self.counters, || {
            stream.set_pace(now, pace, paused, target_ms, fans, holds);
        });
        if done.is_none() {
            self.broken.push(id);
        }
    }

    pub(super) fn update_ingest(
        &mut self,
        now: Instant,
        id: StreamId,
        ssrc: Option<Ssrc>,
        remote: Option<SocketAddr>,
    ) {
        let Some(&key) = self.by_id.get(&id) else {
            return;
        };
        let Some(stream) = self.streams.get_mut(key) else {
            return;
        };
        if let Some(new) = ssrc {
            if stream.own_port.is_none() {
                if let Some(old) = stream.ssrc {
                    self.by_ssrc.remove(&old);
                }
                self.by_ssrc.insert(new, key);
            }
            stream.set_ssrc(new);
        }
        let Some(remote) = remote else { return };
        stream.remote = Some(remote);
        if stream.transport == MediaTransport::TcpActive {
            match Conn::connect(remote, id, now) {
                Ok(conn) => self.add_conn(conn),
                Err(_) => self.events.send(MediaEvent::Progress {
                    stream: id,
                    progress: Progress::ConnectFailed,
                }),
            }
        }
    }

    pub(super) fn close_ingest(&mut self, now: Instant, id: StreamId) {
        let Some(key) = self.by_id.remove(&id) else {
            return;
        };
        let Some(mut stream) = self.streams.try_remove(key) else {
            return;
        };
        let dropped = u64::from(self.rtp_dropped);
        self.ingest_gone = add(self.ingest_gone, &stream.stats(now, dropped));
        self.ps_errors_gone = add_errors(self.ps_errors_gone, &stream.last_ps_errors);
        match (stream.own_port, stream.ssrc) {
            (Some(port), _) => self.close_port(port),
            (None, Some(ssrc)) => {
                self.by_ssrc.remove(&ssrc);
            }
            (None, None) => {}
        }
        self.ring_overflows_gone += stream.hub.overflows();
        self.touched.retain(|k| *k != key);
        self.reordering.retain(|k| *k != key);
        for fan in std::mem::take(&mut stream.fans) {
            self.remove_fan(fan);
        }
        if let Some(rtp) = stream.rtp.take() {
            self.peers.close_stream(now, &rtp.peers, &mut self.events);
            for (shard, n) in rtp.mirrors.iter().enumerate() {
                if *n > 0 {
                    self.tell(shard, ShardMessage::PayloadsEnd { stream: id });
                }
            }
        }
        let conns: Vec<usize> = self
            .conns
            .iter()
            .filter(|(_, c)| c.stream() == Some(id))
            .map(|(k, _)| k)
            .collect();
        for conn in conns {
            self.remove_conn(conn);
        }
    }

    /// A defect ends the stream that showed it, not the thread: the session core is told that it stalled.
    pub(super) fn close_broken(&mut self, now: Instant) {
        for stream in std::mem::take(&mut self.broken) {
            tracing::error!(
                stream = stream.number,
                shard = self.index,
                "a stream is closed because of a defect of this program"
            );
            self.close_ingest(now, stream);
            self.events.send(MediaEvent::Progress {
                stream,
                progress: Progress::Stalled,
            });
        }
    }
}

/// The stream that a packet of an SSRC that nobody has can only be for.
pub(super) fn claim(streams: &Slab<Stream>, from: SocketAddr, is_rtcp: bool) -> Option<usize> {
    let all = streams.iter();
    let all = all.filter_map(|(key, stream)| Some((key, stream.claimant()?)));
    intake::claim(all, from, is_rtcp)
}

pub(super) fn touch(
    touched: &mut Vec<usize>,
    key: usize,
    stream: &Stream,
    reordering: &mut Vec<usize>,
) {
    if touched.last() != Some(&key) && stream.has_output() && !touched.contains(&key) {
        touched.push(key);
    }
    if stream.next_deadline().is_some() && !reordering.contains(&key) {
        reordering.push(key);
    }
}
