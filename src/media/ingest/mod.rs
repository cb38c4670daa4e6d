//! Packets of one stream to frames: RTP, order, payload, access units, one time line.
//!
//! GB/T 28181-2016, annex C (PS in RTP) and annex D (RTP over TCP); RFC 3550.
//!
//! Packets are borrowed and in order go straight through: the one copy of payload is that into the access unit, and
//! nothing is allocated per packet. Frames come out as soon as they are known to be whole.
//!
//! What the packets hold (program stream, transport stream, H.264, H.265, AAC, G.711, G.722, G.726) their bytes decide, with
//! what was declared as a hint; each payload type by itself, so that sound may come in packets of its own beside the
//! picture. What is not supported is told by its number in a program stream map.
//!
//! Bounds: those of [`super::jitter`] and [`super::ps::demux`]; [`crate::limits::ACCESS_UNIT_BYTES_MAX`],
//! [`crate::limits::PARAMETER_SET_BYTES_MAX`], [`crate::limits::SOUND_FRAME_BYTES_MAX`].

mod content;
mod es;
mod lane;
mod payload;
mod picture;
mod reception;
mod sound;
#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

use self::content::Flow;
use self::lane::Stream;
pub use self::payload::{Kind, RtpMap, RtpMaps};
use self::reception::Reception;
use super::frame::{Frame, Track};
use super::jitter::Jitter;
use super::ps::demux;
use super::rtcp;
use super::rtp::{self, Packet};
pub use super::timeline::Pace;
use crate::id::Ssrc;
use crate::time::MediaTime;

/// How long the SSRC that was latched on must be silent before another one may take its place.
const LATCH_SILENCE: Duration = Duration::from_secs(2);
/// Over how long rates are taken.
const RATE_WINDOW: Duration = Duration::from_secs(1);
/// RTP clock of PS (GB/T 28181-2016, annex C.2).
const RTP_TICKS_PER_MS: f64 = 90.0;

/// What to expect.
#[derive(Clone, Copy, Debug, Default)]
pub struct Config {
    /// `None`: the first SSRC that comes.
    pub ssrc: Option<Ssrc>,
    /// The port is this stream's alone: another SSRC is taken while none of the right one comes, and left when it does.
    pub any_ssrc: bool,
    /// Packets come in order or not at all (TCP): a gap is not waited for.
    pub reliable: bool,
    /// What was said of the payload types. Without: their bytes decide.
    pub maps: RtpMaps,
    /// How the times run.
    pub pace: Pace,
}

/// What comes out, in order.
#[derive(Clone, Debug)]
pub enum Output {
    /// A track is known, or changed; frames after it belong to it.
    Track(Track),
    Frame(Frame),
    Fact(Fact),
}

/// How far a stream has come. Each is told at most once, an unsupported type once per type, unless it says otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fact {
    /// First RTP packet of the right SSRC.
    FirstRtp {
        ssrc: Ssrc,
    },
    /// RTP of another SSRC came while none of the right one had, or none comes any more. Told again for another SSRC, and
    /// each time that the right one fell silent.
    ForeignSsrc {
        seen: Ssrc,
    },
    /// The payload is known: the first unit of a program or transport stream was read, or an elementary stream recognised.
    FirstPs,
    /// [`crate::limits::NO_PS_PACKETS_MAX`] packets came and none held anything that is known.
    NoProgramStream,
    UnsupportedVideo {
        stream_type: u8,
    },
    UnsupportedAudio {
        stream_type: u8,
    },
}

/// Takes what comes out. Every `FnMut(Output)` is one.
pub trait Sink {
    fn put(&mut self, output: Output);
}

impl<F: FnMut(Output)> Sink for F {
    fn put(&mut self, output: Output) {
        self(output);
    }
}

/// Counters since the start or [`Ingest::reset_stats`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    pub packets: u64,
    pub bytes: u64,
    pub lost: u64,
    pub reordered: u64,
    pub duplicate: u64,
    /// Came after they had been given up.
    pub late: u64,
    /// Packets of an SSRC that is not this stream's.
    pub foreign: u64,
    /// Neither RTP nor RTCP.
    pub invalid: u64,
    pub rtcp_packets: u64,
    pub rtcp_errors: u64,
    pub ps_errors: u64,
    /// The same by kind, in the order of [`demux::Error::ALL`].
    pub ps_errors_by_kind: [u64; demux::Error::ALL.len()],
    /// Pictures.
    pub frames: u64,
    pub key_frames: u64,
    /// Frames with packets missing in or just before them.
    pub damaged_frames: u64,
    /// Pictures left out: before the first parameter sets, or too long.
    pub dropped_frames: u64,
    /// Times that the time line was re-anchored.
    pub time_jumps: u64,
    /// Times that the sender started its sequence numbers anew.
    pub restarts: u64,
    /// How far into a record that is played back, in milliseconds.
    pub position_ms: u64,
    /// How much faster the device's clock runs than ours, in parts per million, once it is known.
    pub drift_ppm: Option<i64>,
    /// Over the last second or so.
    pub bits_per_s: u64,
    /// Pictures per 1,000 seconds over the last second or so.
    pub fps_milli: u32,
    /// A program stream map was seen.
    pub psm_seen: bool,
}

/// One stream coming in.
#[derive(Debug)]
pub struct Ingest {
    config: Config,
    /// The SSRC whose packets are taken.
    ssrc: Option<Ssrc>,
    jitter: Jitter,
    stream: Stream,
    reception: Reception,
    /// The foreign SSRC told last.
    foreign_told: Option<Ssrc>,
    last_packet: Option<Instant>,
    window: Option<Window>,
}

#[derive(Clone, Copy, Debug)]
struct Window {
    start: Instant,
    bytes: u64,
    pictures: u64,
    bits_per_s: u64,
    fps_milli: u32,
}

impl Ingest {
    pub fn new(config: Config) -> Ingest {
        let mut stream = Stream::new(config.maps);
        stream.content.timeline.begin(config.pace);
        Ingest {
            config,
            ssrc: config.ssrc,
            jitter: Jitter::new(!config.reliable),
            stream,
            reception: Reception::default(),
            foreign_told: None,
            last_packet: None,
            window: None,
        }
    }

    /// What plays back was ordered to another pace or place, or to go on. `target`: ticks into the record.
    pub fn set_pace(&mut self, now: Instant, pace: Pace, target: Option<i64>) {
        self.config.pace = pace;
        self.stream.content.timeline.set_pace(now, pace, target);
    }

    pub fn pace(&self) -> Pace {
        self.config.pace
    }

    /// Another SSRC was agreed. Packets of it are taken from now on; the time line goes on.
    pub fn set_ssrc(&mut self, ssrc: Option<Ssrc>) {
        self.config.ssrc = ssrc;
        // On a port of its own what comes already is followed until the right one shows.
        let waits = self.config.any_ssrc && self.last_packet.is_some();
        if ssrc.is_some() && ssrc != self.ssrc && !waits {
            self.follow(ssrc);
        }
    }

    /// What somebody says of the payload types who need not know: believed of a type that is not yet decided when its packets
    /// do not look like anything else, as static types are.
    pub fn set_hints(&mut self, hints: RtpMaps) {
        self.stream.set_hints(hints);
    }

    /// The SSRC whose packets are taken.
    pub fn ssrc(&self) -> Option<Ssrc> {
        self.ssrc
    }

    /// Whether an RTP packet of an SSRC would be taken now: the one that is followed, or one that may take its place.
    pub fn fits(&self, now: Instant, seen: Ssrc) -> bool {
        self.ssrc == Some(seen) || self.may_follow(now, seen)
    }

    /// Nothing of the right SSRC has come yet.
    pub fn is_silent(&self) -> bool {
        self.last_packet.is_none()
    }

    /// What is to come: `Some(true)` = a picture was declared or has begun, `Some(false)` = the map names none, `None` = no
    /// map has come.
    pub fn has_picture(&self) -> Option<bool> {
        let content = &self.stream.content;
        let known = content.stats.psm_seen || content.video_id.is_some();
        known.then_some(content.video_id.is_some())
    }

    /// When [`Ingest::handle_timeout`] wants to be called.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.jitter.next_deadline()
    }

    /// When the last packet of this stream came.
    pub fn last_packet(&self) -> Option<Instant> {
        self.last_packet
    }

    /// The tracks known so far, picture first.
    pub fn tracks(&self) -> impl Iterator<Item = &Track> {
        let content = &self.stream.content;
        content
            .picture
            .track()
            .into_iter()
            .chain(content.sound.track())
    }

    /// Takes one RTP or RTCP packet.
    pub fn push(&mut self, now: Instant, packet: &[u8], sink: &mut impl Sink) {
        if rtp::is_rtcp(packet) {
            self.push_rtcp(now, packet);
            return;
        }
        let Some(rtp) = self.parse(packet) else {
            self.stream.content.stats.invalid += 1;
            return;
        };
        if self.ssrc != Some(rtp.ssrc()) && !self.admit(now, rtp.ssrc(), sink) {
            return;
        }
        if self.reception.start.is_none() {
            sink.put(Output::Fact(Fact::FirstRtp { ssrc: rtp.ssrc() }));
        }
        self.last_packet = Some(now);
        self.foreign_told = None;
        self.reception.count(now, rtp.timestamp());
        let stats = &mut self.stream.content.stats;
        stats.packets += 1;
        stats.bytes += packet.len() as u64;
        self.roll(now);
        let stream = &mut self.stream;
        self.jitter
            .push(now, rtp.sequence(), packet, &mut |delivery| {
                stream.take(&delivery, sink);
            });
        if self.reception.base.is_none() {
            self.reception.base = Some(self.jitter.highest_sequence());
        }
    }

    /// An RTP packet. A wrong version is forgiven whoever has the right SSRC.
    fn parse<'a>(&self, packet: &'a [u8]) -> Option<Packet<'a>> {
        match Packet::parse(packet) {
            Ok(rtp) => Some(rtp),
            Err(rtp::Error::Version(_)) => Packet::parse_any_version(packet)
                .ok()
                .filter(|rtp| self.ssrc == Some(rtp.ssrc())),
            Err(rtp::Error::Short | rtp::Error::Padding) => None,
        }
    }

    /// Gives up on packets that have been missing too long.
    pub fn handle_timeout(&mut self, now: Instant, sink: &mut impl Sink) {
        let stream = &mut self.stream;
        self.jitter.handle_timeout(now, &mut |delivery| {
            stream.take(&delivery, sink);
        });
    }

    /// No more will come: gives out what is still held. A picture whose end is known to be missing is marked as damaged: a
    /// connection may break anywhere.
    pub fn finish(&mut self, sink: &mut impl Sink) {
        let stream = &mut self.stream;
        self.jitter.flush(&mut |delivery| {
            stream.take(&delivery, sink);
        });
        stream.cut_off();
        let mut flow = Flow {
            content: &mut stream.content,
            sink,
        };
        flow.finish();
    }

    pub fn stats(&mut self, now: Instant) -> Stats {
        self.roll(now);
        let jitter = self.jitter.counters();
        let window = self.window;
        Stats {
            lost: jitter.lost,
            reordered: jitter.reordered,
            duplicate: jitter.duplicate,
            late: jitter.late,
            restarts: jitter.restarts,
            time_jumps: self.stream.content.timeline.jumps(),
            position_ms: MediaTime(self.stream.content.timeline.position()).as_ms() as u64,
            drift_ppm: self.stream.content.timeline.drift_ppm(),
            bits_per_s: window.map_or(0, |w| w.bits_per_s),
            fps_milli: window.map_or(0, |w| w.fps_milli),
            ..self.stream.content.stats
        }
    }

    pub fn reset_stats(&mut self) {
        self.jitter.set_counters(super::jitter::Counters::default());
        let stats = &mut self.stream.content.stats;
        *stats = Stats {
            psm_seen: stats.psm_seen,
            ..Stats::default()
        };
        self.stream.content.timeline.reset_jumps();
        self.window = None;
    }

    /// Appends a receiver report and a source description (RFC 3550, 6.1). `false`: nothing was received yet.
    pub fn receiver_report(&mut self, now: Instant, own: Ssrc, out: &mut Vec<u8>) -> bool {
        let (Some(ssrc), Some(base)) = (self.ssrc, self.reception.base) else {
            return false;
        };
        let highest = self.jitter.highest_received();
        let restarts = self.jitter.counters().restarts;
        if self.reception.restarts != restarts {
            // The old numbers mean nothing any more: counting begins anew.
            self.reception = Reception {
                base: Some(highest),
                received: 1,
                restarts,
                start: self.reception.start,
                last_sr: self.reception.last_sr,
                ..Reception::default()
            };
        }
        let base = self.reception.base.unwrap_or(base);
        let block = self.reception.report(now, ssrc, base, highest);
        rtcp::write_receiver_report(own, &block, out);
        rtcp::write_source_description(own, "gantry", out);
        true
    }

    /// Whether packets of an SSRC that is not followed are taken from now on.
    #[cold]
    fn admit(&mut self, now: Instant, seen: Ssrc, sink: &mut impl Sink) -> bool {
        if self.may_follow(now, seen) {
            self.follow(Some(seen));
            return true;
        }
        self.stream.content.stats.foreign += 1;
        if self.fell_silent(now) && self.foreign_told != Some(seen) {
            self.foreign_told = Some(seen);
            sink.put(Output::Fact(Fact::ForeignSsrc { seen }));
        }
        false
    }

    /// Whether an SSRC that is not followed may be from now on: where any may come while none of the right one does, and the
    /// right one always.
    fn may_follow(&self, now: Instant, seen: Ssrc) -> bool {
        let any = self.config.ssrc.is_none() || self.config.any_ssrc;
        any && (self.fell_silent(now) || self.config.ssrc == Some(seen))
    }

    /// Nothing of the SSRC that is followed comes, or none has come.
    fn fell_silent(&self, now: Instant) -> bool {
        self.last_packet
            .is_none_or(|at| now.saturating_duration_since(at) >= LATCH_SILENCE)
    }

    fn follow(&mut self, ssrc: Option<Ssrc>) {
        if self.last_packet.is_some() {
            self.stream.change_sender();
        }
        let counters = self.jitter.counters();
        self.jitter = Jitter::new(!self.config.reliable);
        self.jitter.set_counters(counters);
        self.reception = Reception {
            start: self.reception.start,
            restarts: counters.restarts,
            ..Reception::default()
        };
        self.ssrc = ssrc;
    }

    fn push_rtcp(&mut self, now: Instant, packet: &[u8]) {
        let stats = &mut self.stream.content.stats;
        stats.rtcp_packets += 1;
        for item in rtcp::Packets::new(packet) {
            match item {
                Ok(rtcp::Packet::SenderReport { ssrc, info, .. }) if Some(ssrc) == self.ssrc => {
                    self.reception.last_sr = Some(((info.ntp >> 16) as u32, now));
                }
                Ok(_) => {}
                Err(_) => stats.rtcp_errors += 1,
            }
        }
    }

    /// Takes the rates once a window.
    fn roll(&mut self, now: Instant) {
        let stats = &self.stream.content.stats;
        let pictures = self.stream.content.stats.frames;
        let window = self.window.get_or_insert(Window {
            start: now,
            bytes: stats.bytes,
            pictures,
            bits_per_s: 0,
            fps_milli: 0,
        });
        let passed = now.saturating_duration_since(window.start);
        if passed < RATE_WINDOW {
            return;
        }
        let ms = passed.as_millis() as u64;
        *window = Window {
            start: now,
            bytes: stats.bytes,
            pictures,
            bits_per_s: (stats.bytes - window.bytes) * 8 * 1000 / ms,
            fps_milli: ((pictures - window.pictures) * 1_000_000 / ms) as u32,
        };
    }
}
