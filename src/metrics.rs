//! What a node counts, for Prometheus: one table of names, labels and meanings.
//!
//! Cores count in plain integers; their shells publish snapshots here about once a second ([`Count::set`]), so nothing on
//! a packet's way touches this registry. Names start with `gantry_`; counters end in `_total` when written.
//!
//! Not done: histograms; labels by device or stream (the API has those; here they would grow without end).
//!
//! Bounds: the values of every label are fixed by the code (a shard, a protocol, a kind), never by input.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::encoding::{EncodeLabel, EncodeLabelSet, LabelSetEncoder, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// Media type of [`Metrics::encode`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The values of a metric's labels, in the order of its keys.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Labels {
    keys: &'static [&'static str],
    values: Vec<String>,
}

impl EncodeLabelSet for Labels {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> Result<(), fmt::Error> {
        for (key, value) in self.keys.iter().zip(&self.values) {
            (*key, value.as_str()).encode(encoder.encode_label())?;
        }
        Ok(())
    }
}

impl Labels {
    fn new(keys: &'static [&'static str], values: &[&str]) -> Labels {
        debug_assert_eq!(keys.len(), values.len(), "a value for each of {keys:?}");
        Labels {
            keys,
            values: values.iter().map(|value| (*value).to_owned()).collect(),
        }
    }
}

/// A number that only grows.
#[derive(Clone, Debug)]
pub struct Count {
    keys: &'static [&'static str],
    family: Family<Labels, Counter<u64, AtomicU64>>,
}

impl Count {
    /// Takes a snapshot of a counter kept elsewhere. `values`: one for each label of the metric, in its order.
    pub fn set(&self, values: &[&str], count: u64) {
        self.family
            .get_or_create(&Labels::new(self.keys, values))
            .inner()
            .store(count, Ordering::Relaxed);
    }

    pub fn add(&self, values: &[&str], count: u64) {
        self.family
            .get_or_create(&Labels::new(self.keys, values))
            .inc_by(count);
    }

    pub fn get(&self, values: &[&str]) -> u64 {
        self.family
            .get_or_create(&Labels::new(self.keys, values))
            .get()
    }
}

/// A number that goes up and down.
#[derive(Clone, Debug)]
pub struct Level {
    keys: &'static [&'static str],
    family: Family<Labels, Gauge<i64>>,
}

impl Level {
    /// `values`: one for each label of the metric, in its order.
    pub fn set(&self, values: &[&str], level: u64) {
        self.family
            .get_or_create(&Labels::new(self.keys, values))
            .set(i64::try_from(level).unwrap_or(i64::MAX));
    }
}

/// A kind of metric that the table can hold.
trait Metric: Sized {
    fn register(
        registry: &mut Registry,
        name: &'static str,
        help: &'static str,
        keys: &'static [&'static str],
    ) -> Self;
}

impl Metric for Count {
    fn register(
        registry: &mut Registry,
        name: &'static str,
        help: &'static str,
        keys: &'static [&'static str],
    ) -> Self {
        let family = Family::default();
        registry.register(name, help, family.clone());
        Count { keys, family }
    }
}

impl Metric for Level {
    fn register(
        registry: &mut Registry,
        name: &'static str,
        help: &'static str,
        keys: &'static [&'static str],
    ) -> Self {
        let family = Family::default();
        registry.register(name, help, family.clone());
        Level { keys, family }
    }
}

macro_rules! metrics {
    ($($name:ident: $kind:ident [$($label:literal),*] $help:literal;)+) => {
        /// Every metric of a node. The labels of each, in the order of its values, stand in its doc.
        #[derive(Debug)]
        pub struct Metrics {
            registry: Registry,
            $(
                #[doc = concat!($help, ". Labels: ", stringify!([$($label),*]))]
                pub $name: $kind,
            )+
        }

        impl Metrics {
            pub fn new() -> Metrics {
                let mut registry = Registry::with_prefix("gantry");
                $(let $name = $kind::register(&mut registry, stringify!($name), $help, &[$($label),*]);)+
                Metrics { registry, $($name,)+ }
            }

            /// Names with their labels and meanings.
            pub fn table() -> &'static [(&'static str, &'static [&'static str], &'static str)] {
                &[$((stringify!($name), &[$($label),*], $help),)+]
            }
        }
    };
}

metrics! {
    registers: Count ["outcome"] "REGISTER requests by how they ended";
    keepalives: Count ["outcome"] "Keepalives by whether their device was known";
    devices: Level ["state"] "Known devices, online and offline";
    sip_messages: Count ["direction"] "SIP messages on the wire";
    sip_retransmissions: Count ["direction"] "SIP messages that came or went again";
    sip_dropped: Count ["limit", "kind"] "SIP messages dropped unread, by whose rate was used up and what they looked like";
    connections_refused: Count ["door"] "Connections closed at once because there were too many";
    connections_cut_off: Count ["door"] "Connections closed because they took too long or too much";
    gb35114_refused: Count ["reason"] "Messages that GB 35114 refused, by why";
    sip_tls_failed: Count ["kind"] "TLS handshakes of SIP that failed, by why";
    orders: Count ["outcome"] "Orders and questions to devices, by how they ended";
    subscriptions: Level ["state"] "Subscriptions at devices";
    malformed: Count ["kind"] "Input that could not be read, by kind";
    invites: Count ["outcome"] "Live views by how they ended: live, or the name of the failure";
    sessions: Level [] "Open sessions";
    session_ports: Level [] "Pairs of ports that streams have to themselves";
    streams: Level ["shard"] "Running streams";
    rtp_packets: Count ["shard"] "RTP packets received";
    rtp_bytes: Count ["shard"] "Bytes of RTP received";
    rtp_lost: Count ["shard"] "RTP packets that never came";
    rtp_reordered: Count ["shard"] "RTP packets that came late but in time";
    rtp_duplicate: Count ["shard"] "RTP packets that came twice";
    rtp_foreign: Count ["shard"] "RTP packets of an SSRC that nobody waits for";
    rtp_late: Count ["shard"] "RTP packets that came after they had been given up";
    rtp_source_moves: Count ["shard"] "Times that the packets of a stream began to come from another address";
    rtp_source_refused: Count ["shard"] "RTP packets of a right SSRC from an address that is not the sender's";
    rtp_restarts: Count ["shard"] "Times that a sender started its numbers anew";
    rtp_resyncs: Count ["shard"] "Times that the framing of a media connection was lost and found again";
    rtcp_reports: Count ["shard"] "Receiver reports sent to devices";
    media_connections: Count ["shard", "outcome"] "Media connections closed by us: refused, replaced by a newer one, or idle";
    frames_damaged: Count ["shard"] "Frames with packets missing in or just before them";
    frames_held: Count ["shard"] "Pictures held back because of loss until the next key frame";
    key_frames_asked: Count ["shard"] "Times that loss made us ask a device for a key frame";
    time_jumps: Count ["shard"] "Times that a device's clock jumped and a time line was anchored anew";
    clock_ahead_ppm: Level ["shard"] "How much faster than ours the fastest device's clock runs, in parts per million";
    clock_behind_ppm: Level ["shard"] "How much slower than ours the slowest device's clock runs, in parts per million";
    ps_errors: Count ["shard", "kind"] "Damage found in program streams, by kind";
    frames: Count ["shard"] "Access units and audio frames";
    viewers: Level ["shard", "protocol"] "Viewers that watch now";
    sent_bytes: Count ["shard"] "Bytes sent to viewers";
    viewers_skipped: Count ["shard"] "Times a viewer was moved forward because it was too slow";
    webrtc_congested: Count ["shard"] "Times the path of a WebRTC viewer could not take its stream, so that it got no picture for a while";
    webrtc_resent: Count ["shard"] "RTP packets that WebRTC viewers missed and were sent again";
    viewers_too_slow: Count ["shard"] "Viewers closed because they fell behind again and again, or took nothing";
    kernel_drops: Count ["socket"] "Datagrams that the kernel dropped because a socket was full";
    queue_depth: Level ["queue"] "Items that wait in a queue";
    queue_dropped: Count ["queue"] "Items dropped at the bound of a queue";
    ring_bytes: Level ["shard"] "Bytes of frames kept for late joiners";
    ring_overflows: Count ["shard"] "Groups of pictures given up because they outgrew their share of the budget";
    ring_budget_bytes: Level [] "Bytes of frames that the process may keep";
    panics: Count ["shard"] "Defects of the program that ended one stream or viewer";
    logins: Count ["outcome"] "Logins by how they ended";
    store_written: Count [] "Devices written to the database";
    store_failed: Count [] "Transactions that the database refused";
    start_time_seconds: Level [] "When the node started, seconds since the Unix epoch";
}

impl Default for Metrics {
    fn default() -> Self {
        Metrics::new()
    }
}

impl Metrics {
    /// OpenMetrics text, which Prometheus reads.
    pub fn encode(&self) -> String {
        let mut out = String::new();
        text::encode(&mut out, &self.registry).expect("writing to a String does not fail");
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn snapshots_and_levels_are_written_with_their_labels() {
        let metrics = Metrics::new();
        metrics.registers.add(&["ok"], 2);
        metrics.registers.add(&["ok"], 3);
        metrics.rtp_packets.set(&["0"], 70);
        metrics.rtp_packets.set(&["0"], 75);
        metrics.viewers.set(&["1", "webrtc"], 4);
        let text = metrics.encode();
        for line in [
            "# TYPE gantry_registers counter",
            "gantry_registers_total{outcome=\"ok\"} 5",
            "gantry_rtp_packets_total{shard=\"0\"} 75",
            "gantry_viewers{shard=\"1\",protocol=\"webrtc\"} 4",
            "# EOF",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} in {text}");
        }
    }

    #[test]
    fn names_are_plain_and_stand_once() {
        let table = Metrics::table();
        for (name, _, help) in table {
            assert!(
                name.bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_'),
                "{name}"
            );
            assert!(!name.ends_with("_total") && !help.ends_with('.'), "{name}");
            assert_eq!(
                table.iter().filter(|(other, _, _)| other == name).count(),
                1
            );
        }
    }
}
