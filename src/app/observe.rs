//! What the node shows on `/metrics`, taken once a second from the counters that its parts keep.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::gb28181::Platform;
use crate::media::ps::demux;
use crate::metrics::Metrics;
use crate::net::budget::Budget;
use crate::net::counters::ShardCounters;
use crate::session::Core;
use crate::session::shell::{Observer, SipCounters};
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
    ] {
        metrics.malformed.set(&[kind], n);
    }
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
    let g = platform.gauges();
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
    metrics.sent_bytes.set(&of_shard, s.sent_bytes);
    metrics.viewers_skipped.set(&of_shard, s.skipped);
    metrics
        .webrtc_congested
        .set(&of_shard, counters.congested.get());
    metrics.ring_bytes.set(&of_shard, s.ring_bytes);
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
        .queue_depth
        .set(&[&format!("media events {shard}")], s.events_waiting);
    metrics
        .queue_dropped
        .set(&[&format!("media events {shard}")], s.events_dropped);
    metrics.queue_dropped.set(
        &[&format!("media orders {shard}")],
        counters.orders_refused.get(),
    );
    metrics
        .malformed
        .set(&[&format!("rtp {shard}")], counters.malformed.get());
    metrics.panics.set(&of_shard, counters.panics.get());
    metrics.malformed.set(
        &[&format!("webrtc {shard}")],
        counters.stray_datagrams.get(),
    );
}
