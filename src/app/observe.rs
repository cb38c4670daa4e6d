//! What the node shows on `/metrics`, taken once a second from the counters that its parts keep.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::diagnosis::handshake::Failure;
use crate::gb28181::gb35114::Refusal;
use crate::gb28181::{Platform, gate};
use crate::media::ps::demux;
use crate::metrics::Metrics;
use crate::net::budget::Budget;
use crate::net::counters::ShardCounters;
use crate::session::shell::{Observer, SipCounters};
use crate::session::{Core, PathStats};
use crate::sip;
use crate::store::Store;

/// Copies counters into the metrics; called on the control thread.
pub(super) fn observer(
    metrics: Arc<Metrics>,
    shards: Vec<Arc<ShardCounters>>,
    budget: Arc<Budget>,
    store: Store,
) -> Observer {
    let since_epoch = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    metrics.start_time_seconds.set(&[], since_epoch.as_secs());
    metrics
        .ring_budget_bytes
        .set(&[], budget.total_bytes() as u64);
    Box::new(move |platform, core, sockets| {
        signalling(&metrics, platform, sockets);
        sessions(&metrics, core);
        for (index, counters) in shards.iter().enumerate() {
            media(&metrics, &index.to_string(), counters);
        }
        let written = store.stats();
        metrics.store_written.set(&[], written.written);
        metrics.store_failed.set(&[], written.failed);
        metrics.queue_depth.set(&["store"], written.pending);
        metrics.queue_dropped.set(&["store"], written.dropped);
    })
}

fn signalling(metrics: &Metrics, platform: &Platform, sockets: SipCounters) {
    let c = platform.counters();
    for (outcome, n) in [
        ("ok", c.registers_ok),
        ("challenged", c.registers_challenged),
        ("wrong password", c.registers_wrong),
        ("refused", c.registers_refused),
        ("no room", c.registers_no_room),
        ("unregistered", c.unregisters),
    ] {
        metrics.registers.set(&[outcome], n);
    }
    metrics.keepalives.set(&["known"], c.keepalives);
    metrics.keepalives.set(&["revived"], c.revived);
    metrics.keepalives.set(&["stranger"], c.strangers);
    for (kind, n) in [
        ("device id", c.malformed_id),
        ("xml", c.malformed_xml),
        ("sdp", c.malformed_sdp),
        ("charset", c.xml_charset_flaws),
        ("xml repaired", c.xml_repairs),
        ("catalog item", c.xml_unusable_items),
        ("unknown command", c.unknown_cmd_type),
        ("notification", c.malformed_notices),
        ("split over datagrams", platform.messages_joined()),
    ] {
        metrics.malformed.set(&[kind], n);
    }
    metrics.orders.set(&["done"], c.asks_answered);
    metrics.orders.set(&["failed"], c.asks_failed);
    metrics.orders.set(&["not sent"], c.asks_not_sent);
    let s = platform.sip_counters();
    for (kind, n) in sip::ErrorKind::ALL.iter().zip(s.malformed) {
        metrics.malformed.set(&[&format!("sip {}", kind.name())], n);
    }
    metrics.sip_messages.set(&["in"], sockets.received);
    metrics.sip_messages.set(&["out"], sockets.sent);
    metrics.sip_retransmissions.set(&["in"], s.repeated);
    metrics.sip_retransmissions.set(&["out"], s.retransmitted);
    metrics.kernel_drops.set(&["sip"], sockets.kernel_dropped);
    metrics.queue_dropped.set(&["sip out"], sockets.send_failed);
    for (limit, of_limit) in gate::Limit::ALL.iter().zip(platform.dropped()) {
        for (kind, n) in gate::Kind::ALL.iter().zip(of_limit) {
            metrics.sip_dropped.set(&[limit.name(), kind.name()], *n);
        }
    }
    metrics
        .connections_refused
        .set(&["sip"], sockets.connections_refused);
    metrics
        .connections_cut_off
        .set(&["sip"], sockets.connections_cut_off);
    for (why, n) in Refusal::ALL.iter().zip(c.gm_refused) {
        metrics.gb35114_refused.set(&[why.name()], n);
    }
    for (failure, n) in Failure::ALL.iter().zip(sockets.handshakes_failed) {
        metrics.sip_tls_failed.set(&[failure.name()], n);
    }
    let g = platform.gauges();
    metrics
        .subscriptions
        .set(&["active"], g.subscriptions_active as u64);
    metrics.subscriptions.set(
        &["wanted"],
        g.subscriptions.saturating_sub(g.subscriptions_active) as u64,
    );
    metrics.devices.set(&["online"], g.devices_online as u64);
    metrics.devices.set(
        &["offline"],
        g.devices_known.saturating_sub(g.devices_online) as u64,
    );
    metrics
        .queue_depth
        .set(&["device queries"], g.queries_waiting as u64);
}

fn sessions(metrics: &Metrics, core: &Core) {
    let c = core.counters();
    metrics.invites.set(&["live"], c.live);
    for (outcome, n) in &c.failures {
        metrics.invites.set(&[outcome], *n);
    }
    let g = core.gauges();
    metrics.sessions.set(&[], g.sessions as u64);
    metrics.session_ports.set(&[], g.ports_in_use as u64);
    metrics
        .queue_depth
        .set(&["sessions waiting"], g.sessions_waiting as u64);
}

fn media(metrics: &Metrics, shard: &str, counters: &ShardCounters) {
    let s = counters.snapshot();
    let of_shard = [shard];
    metrics.streams.set(&of_shard, s.streams);
    metrics.rtp_packets.set(&of_shard, s.ingest.packets);
    metrics.rtp_bytes.set(&of_shard, s.received_bytes);
    metrics.rtp_lost.set(&of_shard, s.ingest.lost);
    metrics.rtp_reordered.set(&of_shard, s.ingest.reordered);
    metrics.rtp_duplicate.set(&of_shard, s.ingest.duplicate);
    metrics
        .rtp_foreign
        .set(&of_shard, s.ingest.foreign + counters.unclaimed.get());
    metrics.frames.set(&of_shard, s.ingest.frames);
    transport(metrics, shard, &s.ingest.path);
    metrics.rtp_resyncs.set(&of_shard, counters.resyncs.get());
    for (outcome, n) in [
        ("refused", counters.conns_refused.get()),
        ("replaced", counters.conns_replaced.get()),
        ("idle", counters.conns_idle.get()),
    ] {
        metrics.media_connections.set(&[shard, outcome], n);
    }
    let (slowest, fastest) = s.drift_ppm;
    metrics
        .clock_ahead_ppm
        .set(&of_shard, fastest.unsigned_abs());
    metrics
        .clock_behind_ppm
        .set(&of_shard, slowest.unsigned_abs());
    metrics.sent_bytes.set(&of_shard, s.sent_bytes);
    metrics.viewers_skipped.set(&of_shard, s.skipped);
    metrics.webrtc_resent.set(&of_shard, counters.resent.get());
    metrics
        .webrtc_congested
        .set(&of_shard, counters.congested.get());
    metrics
        .viewers_too_slow
        .set(&of_shard, counters.too_slow.get());
    metrics.ring_bytes.set(&of_shard, s.ring_bytes);
    metrics.ring_overflows.set(&of_shard, s.ring_overflows);
    for (kind, n) in demux::Error::ALL.iter().zip(s.ps_errors) {
        metrics.ps_errors.set(&[shard, kind.name()], n);
    }
    for (protocol, n) in [
        ("flv", s.flv_viewers),
        ("fmp4", s.fmp4_viewers),
        ("webrtc", s.webrtc_viewers),
    ] {
        metrics.viewers.set(&[shard, protocol], n);
    }
    metrics
        .kernel_drops
        .set(&[&format!("rtp {shard}")], s.kernel_dropped);
    metrics
        .kernel_drops
        .set(&[&format!("ports {shard}")], s.ports_kernel_dropped);
    metrics
        .kernel_drops
        .set(&[&format!("webrtc {shard}")], s.webrtc_kernel_dropped);
    metrics
        .queue_depth
        .set(&[&format!("media events {shard}")], s.events_waiting);
    metrics
        .queue_dropped
        .set(&[&format!("media events {shard}")], s.events_dropped);
    metrics
        .queue_dropped
        .set(&[&format!("sound {shard}")], s.sound_dropped);
    metrics.queue_dropped.set(
        &[&format!("media orders {shard}")],
        counters.orders_refused.get(),
    );
    metrics
        .malformed
        .set(&[&format!("rtp {shard}")], counters.malformed.get());
    metrics
        .connections_refused
        .set(&[&format!("rtp {shard}")], counters.conns_refused.get());
    metrics
        .connections_cut_off
        .set(&[&format!("viewers {shard}")], counters.too_slow.get());
    metrics.panics.set(&of_shard, counters.panics.get());
    metrics.malformed.set(
        &[&format!("webrtc {shard}")],
        counters.stray_datagrams.get(),
    );
}

/// What the ways from the devices of one media thread did.
fn transport(metrics: &Metrics, shard: &str, path: &PathStats) {
    let of_shard = [shard];
    metrics.rtp_late.set(&of_shard, path.late);
    metrics.rtp_source_moves.set(&of_shard, path.source_moves);
    metrics
        .rtp_source_refused
        .set(&of_shard, path.source_refused);
    metrics.rtp_restarts.set(&of_shard, path.restarts);
    metrics.rtcp_reports.set(&of_shard, path.reports_sent);
    metrics.frames_damaged.set(&of_shard, path.damaged_frames);
    metrics.frames_held.set(&of_shard, path.held_frames);
    metrics
        .key_frames_asked
        .set(&of_shard, path.key_frames_asked);
    metrics.time_jumps.set(&of_shard, path.time_jumps);
}
