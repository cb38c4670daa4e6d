//! One stream of a recording, through the same ingest as a live one, and what came of it.

use std::time::{Duration, Instant};

use serde::Serialize;

use crate::diagnosis::sentence::Facts;
use crate::diagnosis::track::TrackFacts;
use crate::id::Ssrc;
use crate::media::frame::TrackId;
use crate::media::ingest::{self, Ingest};
use crate::media::ps::demux;
use crate::media::rtp;
use crate::session::{IngestStats, Stage, ViewFailure};

/// Bytes of a program or transport stream in one made-up packet: seven packets of a transport stream.
const PAYLOAD_BYTES: usize = 7 * 188;
/// A file has no times of arrival: as much apart as packets of 10 Mbit/s are.
const FILE_PACKET_US: i64 = 1_000;
/// As devices number it.
const PAYLOAD_TYPE_PS: u8 = 96;

/// One packet with its time in the recording.
#[derive(Clone, Debug)]
pub struct Timed {
    /// Microseconds since any moment, the same for all of a recording.
    pub us: i64,
    pub packet: bytes::Bytes,
}

/// What came of a stream.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StreamFacts {
    pub ssrc: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// `udp`, `tcp` or `file`.
    pub carrier: &'static str,
    /// Milliseconds from its first packet to its last.
    pub duration_ms: i64,
    pub packets: u64,
    pub bytes: u64,
    pub lost: u64,
    pub reordered: u64,
    pub duplicate: u64,
    pub late: u64,
    pub restarts: u64,
    pub time_jumps: u64,
    pub frames: u64,
    pub key_frames: u64,
    pub sound_frames: u64,
    pub damaged_frames: u64,
    pub dropped_frames: u64,
    /// Errors of the program stream by kind; kinds without one are left out.
    pub ps_errors: std::collections::BTreeMap<&'static str, u64>,
    pub psm_seen: bool,
    pub tracks: Vec<TrackFacts>,
    /// Milliseconds from its first packet to each step that was reached.
    pub steps: Steps,
}

#[derive(Clone, Copy, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Steps {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ps: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tracks: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_frame: Option<i64>,
}

/// A stream run through ingest.
#[derive(Clone, Debug)]
pub struct Run {
    pub shown: StreamFacts,
    stats: IngestStats,
    unsupported: Option<u8>,
    no_ps: bool,
    first_ps: bool,
    tracks: Vec<crate::media::frame::Track>,
}

impl Run {
    /// Runs packets of one SSRC. `epoch` is any moment: time is counted from it.
    pub fn of(epoch: Instant, ssrc: Ssrc, reliable: bool, packets: &[Timed]) -> Run {
        let mut ingest = Ingest::new(ingest::Config {
            ssrc: Some(ssrc),
            reliable,
            ..ingest::Config::default()
        });
        let first = packets.iter().map(|p| p.us).min().unwrap_or(0);
        let last = packets.iter().map(|p| p.us).max().unwrap_or(0);
        let moment = |us: i64| epoch + Duration::from_micros((us - first).max(0) as u64);
        let mut seen = Seen::default();
        let mut now = epoch;
        for Timed { us, packet } in packets {
            // A capture may hold packets out of order of time; a clock does not go back.
            now = now.max(moment(*us));
            let ms = (*us - first) / 1000;
            while let Some(at) = ingest.next_deadline()
                && at <= now
            {
                ingest.handle_timeout(at, &mut |output| seen.take(output, ms));
            }
            ingest.push(now, packet, &mut |output| seen.take(output, ms));
        }
        ingest.finish(&mut |output| seen.take(output, (last - first) / 1000));
        let stats = ingest.stats(now);
        let tracks: Vec<_> = ingest.tracks().cloned().collect();
        let kinds = demux::Error::ALL.iter().zip(stats.ps_errors_by_kind);
        let shown = StreamFacts {
            ssrc: ssrc.to_string(),
            from: None,
            to: None,
            carrier: if reliable { "tcp" } else { "udp" },
            duration_ms: (last - first) / 1000,
            packets: stats.packets,
            bytes: stats.bytes,
            lost: stats.lost,
            reordered: stats.reordered,
            duplicate: stats.duplicate,
            late: stats.late,
            restarts: stats.restarts,
            time_jumps: stats.time_jumps,
            frames: stats.frames,
            key_frames: stats.key_frames,
            sound_frames: seen.sounds,
            damaged_frames: stats.damaged_frames,
            dropped_frames: stats.dropped_frames,
            ps_errors: kinds
                .filter(|(_, n)| *n > 0)
                .map(|(kind, n)| (kind.name(), n))
                .collect(),
            psm_seen: stats.psm_seen,
            tracks: tracks.iter().map(TrackFacts::of).collect(),
            steps: seen.steps,
        };
        Run {
            shown,
            stats: IngestStats {
                packets: stats.packets,
                bytes: stats.bytes,
                lost: stats.lost,
                reordered: stats.reordered,
                duplicate: stats.duplicate,
                ps_errors: stats.ps_errors,
                frames: stats.frames,
                key_frames: stats.key_frames,
                psm_seen: stats.psm_seen,
                ..IngestStats::default()
            },
            unsupported: seen.unsupported,
            no_ps: seen.no_ps,
            first_ps: seen.steps.ps.is_some(),
            tracks,
        }
    }

    /// Adds what the stream says to what is known of its view. The whole recording was seen: what is not there now does
    /// not come.
    pub fn add_to(&self, facts: &mut Facts) {
        let codec = |id| self.tracks.iter().find(|t| t.id == id).map(|t| t.codec);
        facts.stats = self.stats;
        facts.video = codec(TrackId::Video);
        facts.audio = codec(TrackId::Audio);
        let sound_alone = facts.video.is_none() && self.shown.sound_frames > 0;
        let plays = self.shown.key_frames > 0 || sound_alone;
        if plays {
            facts.stage = Stage::Live;
            return;
        }
        let (stage, failure) = if let Some(stream_type) = self.unsupported {
            (Stage::Parsed, ViewFailure::UnsupportedCodec { stream_type })
        } else if self.no_ps || !self.first_ps {
            (Stage::Receiving, ViewFailure::NoProgramStream)
        } else if !self.stats.psm_seen && self.stats.frames == 0 {
            (Stage::Parsed, ViewFailure::NoPsm)
        } else {
            (Stage::Parsed, ViewFailure::NoKeyFrame)
        };
        facts.stage = stage;
        facts.failure = Some(failure);
    }
}

/// What ingest gave.
#[derive(Default)]
struct Seen {
    steps: Steps,
    sounds: u64,
    unsupported: Option<u8>,
    no_ps: bool,
}

impl Seen {
    fn take(&mut self, output: ingest::Output, ms: i64) {
        match output {
            ingest::Output::Track(_) => _ = self.steps.tracks.get_or_insert(ms),
            ingest::Output::Frame(frame) => {
                if frame.track == TrackId::Audio {
                    self.sounds += 1;
                } else if frame.key {
                    self.steps.key_frame.get_or_insert(ms);
                }
            }
            ingest::Output::Fact(fact) => match fact {
                ingest::Fact::FirstPs => _ = self.steps.ps.get_or_insert(ms),
                ingest::Fact::NoProgramStream => self.no_ps = true,
                ingest::Fact::UnsupportedVideo { stream_type } => {
                    self.unsupported = Some(stream_type);
                }
                ingest::Fact::FirstRtp { .. }
                | ingest::Fact::ForeignSsrc { .. }
                | ingest::Fact::UnsupportedAudio { .. } => {}
            },
        }
    }
}

/// A program or transport stream as packets, so that it goes through the same door.
pub fn packets_of_file(file: &[u8], ssrc: Ssrc) -> Vec<Timed> {
    let mut packets = Vec::with_capacity(file.len() / PAYLOAD_BYTES + 1);
    rtp::Writer::new(ssrc, PAYLOAD_TYPE_PS, 0).write(file, 0, PAYLOAD_BYTES, &mut |packet| {
        packets.push(Timed {
            us: packets.len() as i64 * FILE_PACKET_US,
            packet: bytes::Bytes::copy_from_slice(packet),
        });
    });
    packets
}
