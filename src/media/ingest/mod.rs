//! Packets of one stream to frames: RTP, order, program stream, access units, one time line.
//!
//! GB/T 28181-2016, annex C (PS in RTP) and annex D (RTP over TCP); RFC 3550.
//!
//! Packets are borrowed and in order go straight through: the one copy of payload is that into the access unit, and
//! nothing is allocated per packet. Frames come out as soon as they are known to be whole.
//!
//! Bare G.711 in RTP packets of payload type 0 or 8 beside the program stream is taken as its sound: some devices send
//! it so. Not done: elementary video in RTP (RFC 6184, 7798); such a stream ends as [`Fact::NoProgramStream`].
//!
//! Bounds: those of [`super::jitter`] and [`super::ps::demux`]; [`crate::limits::ACCESS_UNIT_BYTES_MAX`],
//! [`crate::limits::PARAMETER_SET_BYTES_MAX`], [`crate::limits::SOUND_FRAME_BYTES_MAX`].

mod picture;
mod sound;
#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

use self::picture::{Origin, Picture, Times};
use self::sound::Sound;
use super::frame::{Codec, Frame, Track, TrackId};
use super::jitter::{Delivery, Jitter};
use super::ps::demux::{self, Demux, Pes};
use super::ps::{self, Coding, StreamMap, coding};
use super::rtcp;
use super::rtp::{self, Packet};
use super::timeline::{Stamp, Timeline};
use crate::id::Ssrc;
use crate::limits;

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
    /// First unit of a program stream was read.
    FirstPs,
    /// [`crate::limits::NO_PS_PACKETS_MAX`] packets came and none held a unit of a program stream.
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

/// Everything behind the reordering.
#[derive(Debug)]
struct Stream {
    demux: Demux,
    content: Content,
    /// RTP time of the last packet.
    rtp: Option<u32>,
    /// Payload type in which the program stream comes.
    ps_payload_type: Option<u8>,
    packets: u64,
    first_ps_told: bool,
    no_ps_told: bool,
}

/// The elementary streams.
#[derive(Debug)]
struct Content {
    picture: Picture,
    sound: Sound,
    timeline: Timeline,
    stats: Stats,
    origin: Option<Origin>,
    /// The packet at hand held bytes of the picture.
    picture_touched: bool,
    video_id: Option<u8>,
    audio_id: Option<u8>,
    unsupported_video: Option<u8>,
    unsupported_audio: Option<u8>,
}

/// What receiver reports tell (RFC 3550, 6.4.1 and A.8).
#[derive(Debug, Default)]
struct Reception {
    base: Option<u32>,
    received: u64,
    transit: Option<f64>,
    jitter: f64,
    start: Option<Instant>,
    expected_before: u64,
    received_before: u64,
    last_sr: Option<(u32, Instant)>,
    /// Of the sender, as known at the last report.
    restarts: u64,
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
        Ingest {
            config,
            ssrc: config.ssrc,
            jitter: Jitter::new(!config.reliable),
            stream: Stream {
                demux: Demux::new(),
                content: Content {
                    picture: Picture::new(),
                    sound: Sound::new(),
                    timeline: Timeline::new(),
                    stats: Stats::default(),
                    origin: None,
                    picture_touched: false,
                    video_id: None,
                    audio_id: None,
                    unsupported_video: None,
                    unsupported_audio: None,
                },
                rtp: None,
                ps_payload_type: None,
                packets: 0,
                first_ps_told: false,
                no_ps_told: false,
            },
            reception: Reception::default(),
            foreign_told: None,
            last_packet: None,
            window: None,
        }
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

    /// The SSRC whose packets are taken.
    pub fn ssrc(&self) -> Option<Ssrc> {
        self.ssrc
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
        let Ok(rtp) = Packet::parse(packet) else {
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

    /// Gives up on packets that have been missing too long.
    pub fn handle_timeout(&mut self, now: Instant, sink: &mut impl Sink) {
        let stream = &mut self.stream;
        self.jitter.handle_timeout(now, &mut |delivery| {
            stream.take(&delivery, sink);
        });
    }

    /// No more will come: gives out what is still held.
    pub fn finish(&mut self, sink: &mut impl Sink) {
        let stream = &mut self.stream;
        self.jitter.flush(&mut |delivery| {
            stream.take(&delivery, sink);
        });
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
        let highest = self.jitter.highest_sequence();
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
        let silent = self
            .last_packet
            .is_none_or(|at| now.saturating_duration_since(at) >= LATCH_SILENCE);
        let any = self.config.ssrc.is_none() || self.config.any_ssrc;
        if any && (silent || self.config.ssrc == Some(seen)) {
            self.follow(Some(seen));
            return true;
        }
        self.stream.content.stats.foreign += 1;
        if silent && self.foreign_told != Some(seen) {
            self.foreign_told = Some(seen);
            sink.put(Output::Fact(Fact::ForeignSsrc { seen }));
        }
        false
    }

    fn follow(&mut self, ssrc: Option<Ssrc>) {
        if self.last_packet.is_some() {
            self.stream.demux.lose(false);
            self.stream.content.sound.lose();
            self.stream.rtp = None;
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

impl Stream {
    /// Takes a packet in its place.
    fn take(&mut self, delivery: &Delivery<'_>, sink: &mut impl Sink) {
        let Ok(packet) = Packet::parse(delivery.packet) else {
            return;
        };
        self.packets += 1;
        let payload = packet.payload();
        let origin = Origin {
            received: delivery.received,
            rtp: Some(packet.timestamp()),
        };
        let mut flow = Flow {
            content: &mut self.content,
            sink,
        };
        if delivery.lost > 0 {
            let same = !delivery.restart && self.rtp == Some(packet.timestamp());
            self.demux.lose(same);
            flow.lose(same);
        }
        if let Some(codec) = bare_sound(&packet, self.ps_payload_type) {
            flow.bare_sound(codec, origin, payload);
            return;
        }
        self.rtp = Some(packet.timestamp());
        flow.content.origin = Some(origin);
        flow.content.picture_touched = false;
        self.demux.push(payload, &mut flow);
        if packet.marker() && flow.content.picture_touched {
            flow.marker(self.demux.at_end_of_unit());
        }
        if !self.first_ps_told {
            self.look_for_ps(packet.payload_type(), sink);
        }
    }

    #[cold]
    fn look_for_ps(&mut self, payload_type: u8, sink: &mut impl Sink) {
        if self.demux.units() > 0 {
            self.first_ps_told = true;
            self.ps_payload_type = Some(payload_type);
            sink.put(Output::Fact(Fact::FirstPs));
        } else if self.packets >= limits::NO_PS_PACKETS_MAX && !self.no_ps_told {
            self.no_ps_told = true;
            sink.put(Output::Fact(Fact::NoProgramStream));
        }
    }
}

/// G.711 in packets of its own, beside a program stream of another payload type.
fn bare_sound(packet: &Packet<'_>, ps_payload_type: Option<u8>) -> Option<Codec> {
    let codec = match packet.payload_type() {
        0 => Codec::G711U,
        8 => Codec::G711A,
        _ => return None,
    };
    let beside = ps_payload_type.is_some_and(|ps| ps != packet.payload_type());
    (beside && !packet.payload().starts_with(&[0, 0, 1])).then_some(codec)
}

/// The elementary streams and where their frames go, for the time of one packet.
struct Flow<'a, S> {
    content: &'a mut Content,
    sink: &'a mut S,
}

impl<S: Sink> Flow<'_, S> {
    fn lose(&mut self, same_picture: bool) {
        let Content {
            picture,
            timeline,
            stats,
            unsupported_video,
            ..
        } = &mut *self.content;
        let sink = &mut *self.sink;
        picture.lose(same_picture, &mut |made| {
            give_picture(made, timeline, stats, unsupported_video, sink);
        });
        self.content.sound.lose();
    }

    fn marker(&mut self, at_end_of_unit: bool) {
        let Content {
            picture,
            timeline,
            stats,
            unsupported_video,
            ..
        } = &mut *self.content;
        if !at_end_of_unit {
            picture.distrust_marker();
            return;
        }
        let sink = &mut *self.sink;
        picture.marker(&mut |made| give_picture(made, timeline, stats, unsupported_video, sink));
    }

    fn finish(&mut self) {
        let Content {
            picture,
            sound,
            timeline,
            stats,
            unsupported_video,
            unsupported_audio,
            ..
        } = &mut *self.content;
        let sink = &mut *self.sink;
        picture.finish(&mut |made| give_picture(made, timeline, stats, unsupported_video, sink));
        sound.pes_end(&mut |made| give_sound(made, timeline, stats, unsupported_audio, sink));
    }

    fn bare_sound(&mut self, codec: Codec, origin: Origin, bytes: &[u8]) {
        // Its RTP clock is the sound's own, so it lies where it comes and then by its samples.
        let origin = Origin {
            rtp: None,
            ..origin
        };
        let Content {
            sound,
            timeline,
            stats,
            unsupported_audio,
            ..
        } = &mut *self.content;
        let sink = &mut *self.sink;
        sound.bare(codec, origin, bytes, &mut |made| {
            give_sound(made, timeline, stats, unsupported_audio, sink);
        });
    }

    /// Whether a stream id is the one followed. The first of its kind is, until a map names another.
    fn follows(&mut self, stream_id: u8) -> bool {
        let followed = if ps::is_video(stream_id) {
            &mut self.content.video_id
        } else {
            &mut self.content.audio_id
        };
        *followed.get_or_insert(stream_id) == stream_id
    }
}

impl<S: Sink> demux::Sink for Flow<'_, S> {
    fn map(&mut self, map: &StreamMap) {
        self.content.stats.psm_seen = true;
        if let Some(entry) = map.find(ps::is_video) {
            self.content.video_id = Some(entry.stream_id);
            match coding(entry.stream_type) {
                Coding::Supported(_) => {}
                Coding::Unsupported(stream_type) => {
                    tell_video(stream_type, &mut self.content.unsupported_video, self.sink);
                }
            }
        }
        if let Some(entry) = map.find(ps::is_audio) {
            self.content.audio_id = Some(entry.stream_id);
            self.content.sound.declare(entry.stream_type);
        }
    }

    fn pes(&mut self, pes: Pes) {
        if !self.follows(pes.stream_id) {
            return;
        }
        let times = Times {
            pts: pes.pts,
            dts: pes.dts,
        };
        if ps::is_video(pes.stream_id) {
            self.content.picture.pes(times);
        } else {
            self.content.sound.pes(times, pes.payload_bytes);
        }
    }

    #[inline]
    fn payload(&mut self, stream_id: u8, bytes: &[u8]) {
        if !self.follows(stream_id) {
            return;
        }
        let Content {
            picture,
            sound,
            timeline,
            stats,
            origin: Some(origin),
            picture_touched,
            unsupported_video,
            unsupported_audio,
            ..
        } = &mut *self.content
        else {
            return;
        };
        let sink = &mut *self.sink;
        if ps::is_video(stream_id) {
            *picture_touched = true;
            picture.payload(*origin, bytes, &mut |made| {
                give_picture(made, timeline, stats, unsupported_video, sink);
            });
        } else {
            sound.payload(*origin, bytes, &mut |made| {
                give_sound(made, timeline, stats, unsupported_audio, sink);
            });
        }
    }

    fn pes_end(&mut self, stream_id: u8) {
        if ps::is_video(stream_id) || !self.follows(stream_id) {
            return;
        }
        let Content {
            sound,
            timeline,
            stats,
            unsupported_audio,
            ..
        } = &mut *self.content;
        let sink = &mut *self.sink;
        sound.pes_end(&mut |made| give_sound(made, timeline, stats, unsupported_audio, sink));
    }

    fn error(&mut self, error: demux::Error) {
        self.content.stats.ps_errors += 1;
        self.content.stats.ps_errors_by_kind[error as usize] += 1;
    }
}

fn give_picture(
    made: picture::Made,
    timeline: &mut Timeline,
    stats: &mut Stats,
    unsupported: &mut Option<u8>,
    sink: &mut impl Sink,
) {
    match made {
        picture::Made::Track(track) => sink.put(Output::Track(track)),
        picture::Made::Dropped => stats.dropped_frames += 1,
        picture::Made::Foreign(stream_type) => tell_video(stream_type, unsupported, sink),
        picture::Made::Unit(unit) => {
            stats.frames += 1;
            stats.key_frames += u64::from(unit.key);
            stats.damaged_frames += u64::from(unit.damaged);
            let (dts, pts) = timeline.place(
                TrackId::Video,
                &Stamp {
                    pts: unit.times.pts,
                    dts: unit.times.dts,
                    rtp: unit.origin.rtp,
                    received: unit.origin.received,
                    duration: None,
                },
            );
            sink.put(Output::Frame(Frame {
                track: TrackId::Video,
                dts,
                pts,
                key: unit.key,
                damaged: unit.damaged,
                payload: unit.payload,
                received: unit.origin.received,
            }));
        }
    }
}

fn give_sound(
    made: sound::Made,
    timeline: &mut Timeline,
    stats: &mut Stats,
    unsupported: &mut Option<u8>,
    sink: &mut impl Sink,
) {
    match made {
        sound::Made::Track(track) => sink.put(Output::Track(track)),
        sound::Made::Unsupported(stream_type) => {
            if *unsupported != Some(stream_type) {
                *unsupported = Some(stream_type);
                sink.put(Output::Fact(Fact::UnsupportedAudio { stream_type }));
            }
        }
        sound::Made::Piece(piece) => {
            stats.damaged_frames += u64::from(piece.damaged);
            let (dts, pts) = timeline.place(
                TrackId::Audio,
                &Stamp {
                    pts: piece.times.pts,
                    dts: piece.times.dts,
                    rtp: piece.origin.rtp,
                    received: piece.origin.received,
                    duration: Some(piece.duration),
                },
            );
            sink.put(Output::Frame(Frame {
                track: TrackId::Audio,
                dts,
                pts,
                key: true,
                damaged: piece.damaged,
                payload: piece.payload,
                received: piece.origin.received,
            }));
        }
    }
}

fn tell_video(stream_type: u8, told: &mut Option<u8>, sink: &mut impl Sink) {
    if *told != Some(stream_type) {
        *told = Some(stream_type);
        sink.put(Output::Fact(Fact::UnsupportedVideo { stream_type }));
    }
}

impl Reception {
    #[inline]
    fn count(&mut self, now: Instant, timestamp: u32) {
        let start = *self.start.get_or_insert(now);
        self.received += 1;
        let arrival =
            now.saturating_duration_since(start).as_secs_f64() * 1000.0 * RTP_TICKS_PER_MS;
        let transit = arrival - f64::from(timestamp);
        if let Some(last) = self.transit {
            let d = (transit - last).abs();
            // A wrap or a jump of the sender's clock is not jitter.
            if d < RTP_TICKS_PER_MS * 10_000.0 {
                self.jitter += (d - self.jitter) / 16.0;
            }
        }
        self.transit = Some(transit);
    }

    fn report(&mut self, now: Instant, ssrc: Ssrc, base: u32, highest: u32) -> rtcp::ReportBlock {
        let expected = u64::from(highest.wrapping_sub(base)) + 1;
        let expected_since = expected.saturating_sub(self.expected_before);
        let received_since = self.received.saturating_sub(self.received_before);
        let lost_since = expected_since.saturating_sub(received_since);
        self.expected_before = expected;
        self.received_before = self.received;
        let (last_sr, delay) = self.last_sr.map_or((0, 0), |(ntp, at)| {
            let delay = now.saturating_duration_since(at).as_micros() * 65_536 / 1_000_000;
            (ntp, delay.min(u128::from(u32::MAX)) as u32)
        });
        let lost = expected as i64 - self.received as i64;
        rtcp::ReportBlock {
            ssrc: ssrc.0,
            fraction_lost: (lost_since * 256)
                .checked_div(expected_since)
                .map_or(0, |f| f.min(255) as u8),
            lost: lost.clamp(-0x80_0000, 0x7f_ffff) as i32,
            highest_sequence: highest,
            jitter: self.jitter as u32,
            last_sr,
            delay_since_last_sr: delay,
        }
    }
}
