//! What a media thread does once a second: statistics, budgets, and closing what is stuck or idle.

use std::time::{Duration, Instant};

use slab::Slab;

use super::Shard;
use super::ports::report_socket;
use crate::egress::Form;
use crate::id::StreamId;
use crate::limits;
use crate::net::budget::Needs;
use crate::net::conn::Conn;
use crate::net::counters::Snapshot;
use crate::net::stream::{PsErrors, ReportTo};
use crate::net::udp::Sender;
use crate::net::viewer::Viewer;
use crate::session::intake;
use crate::session::port::{MediaEvent, Progress};
use crate::session::{IngestStats, MediaServiceView, PathStats};

impl Shard {
    pub(super) fn each_second(&mut self, now: Instant) {
        self.next_second = now + Duration::from_secs(1);
        let kernel_dropped = u64::from(self.rtp_dropped);
        let (mut ring_bytes, mut needs) = (0, Needs::default());
        let ring_bytes_max = self.budget.ring_bytes(self.ring_bytes);
        for (_, stream) in &mut self.streams {
            stream.hub.set_bytes_max(ring_bytes_max);
            ring_bytes += stream.hub.bytes();
            needs.add(stream.hub.need().min(self.ring_bytes));
            let own = stream.own_port.and_then(|key| self.own_ports.get(key));
            let dropped = own.map_or(kernel_dropped, |own| u64::from(own.kernel_dropped));
            let stats = Box::new(stream.stats(now, dropped));
            self.events.send(MediaEvent::Stats {
                stream: stream.id,
                stats,
            });
            stream.renew_key_frame_wish();
            if stream.wants_key_frame() {
                self.events
                    .send(MediaEvent::KeyFrameWanted { stream: stream.id });
            }
            if let Some(to) = stream.write_rtcp(now, &mut self.rtcp_out) {
                let socket = report_socket(&self.rtp, &self.own_ports, stream.own_port);
                send_rtcp(socket, &mut self.conns, stream.id, to, &self.rtcp_out);
            }
            let heard = stream.heard();
            if intake::fell_silent(now, heard, &mut stream.stalled) {
                self.events.send(MediaEvent::Progress {
                    stream: stream.id,
                    progress: Progress::Stalled,
                });
            }
        }
        self.budget.needs(&self.needs, &needs);
        self.needs = needs;
        self.ring_bytes_reported = ring_bytes;
        let mut closed = Vec::new();
        for (key, viewer) in &mut self.viewers {
            let Some(fan) = self.fans.get(viewer.fan) else {
                continue;
            };
            if let Err(why) = viewer.check(&fan.ring, now) {
                closed.push((key, why));
            }
            self.events.send(MediaEvent::Viewer {
                session: viewer.session,
                stats: viewer.stats(),
            });
        }
        for (key, why) in closed {
            self.close_viewer(key, why);
        }
        self.peers
            .each_second(&self.streams, &self.by_id, &mut self.events);
        let idle: Vec<usize> = self
            .conns
            .iter()
            .filter(|(_, c)| c.is_idle(now) && !self.rests(c, now))
            .map(|(key, _)| key)
            .collect();
        for key in idle {
            if let Some(stream) = self.conns.get(key).and_then(Conn::connecting) {
                self.events.send(MediaEvent::Progress {
                    stream,
                    progress: Progress::ConnectFailed,
                });
            }
            self.counters.conns_idle.inc();
            self.remove_conn(key);
        }
        self.report_service(now);
    }

    pub(super) fn sent_bytes(&self) -> u64 {
        self.sent_bytes_gone
            + self.viewers.iter().map(|(_, v)| v.sent_bytes).sum::<u64>()
            + self.peers.sent_bytes()
    }

    fn report_service(&mut self, now: Instant) {
        let (received, sent) = (self.received_bytes, self.sent_bytes());
        let (at, received_then, sent_then) =
            std::mem::replace(&mut self.last_service, (now, received, sent));
        let seconds = now.saturating_duration_since(at).as_secs_f64().max(0.001);
        let rate = |new: u64, old: u64| (new.saturating_sub(old) as f64 / seconds) as u64;
        let of = |form: Form| {
            self.viewers
                .iter()
                .filter(|(_, v)| self.form_of(v) == Some(form))
                .count() as u64
        };
        self.counters.publish(Snapshot {
            received_bytes: received,
            sent_bytes: sent,
            kernel_dropped: u64::from(self.rtp_dropped),
            ports_kernel_dropped: self.own_kernel_dropped(),
            webrtc_kernel_dropped: u64::from(self.peers.kernel_dropped()),
            drift_ppm: self.drift_ppm(),
            streams: self.streams.len() as u64,
            flv_viewers: of(Form::Flv),
            fmp4_viewers: of(Form::Fmp4),
            webrtc_viewers: self.peers.len() as u64,
            skipped: self.skipped_gone
                + self
                    .viewers
                    .iter()
                    .map(|(_, v)| u64::from(v.skipped()))
                    .sum::<u64>()
                + self.peers.skipped(),
            ring_bytes: self.ring_bytes_reported as u64,
            ring_overflows: self.ring_overflows_gone
                + self
                    .streams
                    .iter()
                    .map(|(_, s)| s.hub.overflows())
                    .sum::<u64>(),
            events_waiting: self.events.waiting.len() as u64,
            events_dropped: self.events.dropped,
            sound_dropped: self.sound.dropped(),
            ps_errors: self
                .streams
                .iter()
                .fold(self.ps_errors_gone, |sum, (_, s)| {
                    add_errors(sum, &s.last_ps_errors)
                }),
            ingest: self
                .streams
                .iter()
                .fold(self.ingest_gone, |sum, (_, s)| add(sum, &s.last_stats)),
        });
        self.events.send(MediaEvent::Service(MediaServiceView {
            shard: self.index,
            streams: self.streams.len() as u32,
            viewers: (self.viewers.len() + self.peers.len()) as u32,
            received_bytes: received.saturating_sub(self.statistics_from.0),
            sent_bytes: sent.saturating_sub(self.statistics_from.1),
            received_bytes_per_s: rate(received, received_then),
            sent_bytes_per_s: rate(sent, sent_then),
            rtp_port: self.rtp_port,
        }));
    }

    /// A connection of a playback that was told to rest, or was until just now, brings nothing and is kept.
    fn rests(&self, conn: &Conn, now: Instant) -> bool {
        let silence = Duration::from_secs(limits::INGEST_SILENCE_S_MAX);
        let ordered = |at: Instant| now.saturating_duration_since(at) < silence;
        let stream = conn.stream().and_then(|id| self.by_id.get(&id));
        let stream = stream.and_then(|key| self.streams.get(*key));
        stream.is_some_and(|s| s.paused || s.paced_at.is_some_and(ordered))
    }

    /// The slowest and the fastest clock of the streams.
    fn drift_ppm(&self) -> (i64, i64) {
        self.streams
            .iter()
            .filter_map(|(_, s)| s.last_stats.path.drift_ppm)
            .fold((0, 0), |(low, high), ppm| (low.min(ppm), high.max(ppm)))
    }

    fn form_of(&self, viewer: &Viewer) -> Option<Form> {
        self.fans.get(viewer.fan).map(|fan| fan.key.form)
    }
}

/// Sends RTCP of a stream. What cannot be sent is as good as lost on the way: reports are sent again and wishes renewed.
pub(super) fn send_rtcp(
    socket: &Sender,
    conns: &mut Slab<Conn>,
    stream: StreamId,
    to: ReportTo,
    compound: &[u8],
) {
    match to {
        ReportTo::Address(to) => {
            let _ = socket.send(to, compound);
        }
        ReportTo::Connection => {
            let conn = conns.iter_mut().find(|(_, c)| c.stream() == Some(stream));
            if let Some((_, conn)) = conn {
                conn.send(compound);
            }
        }
    }
}

pub(super) fn add_errors(sum: PsErrors, more: &PsErrors) -> PsErrors {
    std::array::from_fn(|kind| sum[kind] + more[kind])
}

pub(super) fn add(sum: IngestStats, more: &IngestStats) -> IngestStats {
    IngestStats {
        packets: sum.packets + more.packets,
        bytes: sum.bytes + more.bytes,
        lost: sum.lost + more.lost,
        reordered: sum.reordered + more.reordered,
        duplicate: sum.duplicate + more.duplicate,
        foreign: sum.foreign + more.foreign,
        ps_errors: sum.ps_errors + more.ps_errors,
        frames: sum.frames + more.frames,
        key_frames: sum.key_frames + more.key_frames,
        path: add_path(sum.path, &more.path),
        ..sum
    }
}

fn add_path(sum: PathStats, more: &PathStats) -> PathStats {
    PathStats {
        late: sum.late + more.late,
        damaged_frames: sum.damaged_frames + more.damaged_frames,
        held_frames: sum.held_frames + more.held_frames,
        key_frames_asked: sum.key_frames_asked + more.key_frames_asked,
        restarts: sum.restarts + more.restarts,
        time_jumps: sum.time_jumps + more.time_jumps,
        source_moves: sum.source_moves + more.source_moves,
        source_refused: sum.source_refused + more.source_refused,
        reports_sent: sum.reports_sent + more.reports_sent,
        rtcp_received: sum.rtcp_received + more.rtcp_received,
        // A clock is a device's own; there is no sum of clocks.
        drift_ppm: None,
    }
}
