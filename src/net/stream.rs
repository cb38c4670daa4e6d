//! One stream on its media thread: ingest, the ring of its last frames, and its renditions.
//!
//! Work is done once per stream: a rendition is made when its first viewer comes, a sound is converted once for all
//! renditions that need it, and both end with the last viewer.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::egress::fan::UnitRing;
use crate::egress::rtp::{Packetizer, RtpPayload};
use crate::egress::{AudioPolicy, Form, Mux, Sound, Unit};
use crate::gb28181::MediaTransport;
use crate::id::{Ssrc, StreamId};
use crate::limits;
use crate::media::frame::{Codec, Frame, Track, TrackId};
use crate::media::hub::Hub;
use crate::media::ingest::{self, Ingest};
use crate::media::ps::demux;
use crate::media::transcode::AudioTranscoder;
use crate::session::port::Progress;
use crate::session::{IngestDetail, IngestStats};
use crate::time::{MediaTime, earliest};

/// Damage found in a program stream, in the order of [`demux::Error::ALL`].
pub(super) type PsErrors = [u64; demux::Error::ALL.len()];

/// Which rendition of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct FanKey {
    pub stream: StreamId,
    pub form: Form,
    pub audio: AudioPolicy,
}

/// A rendition as its media thread holds it. On another thread than the stream's it is a mirror: fed units, not frames.
pub(super) struct Fan {
    pub key: FanKey,
    pub init: Unit,
    pub ring: UnitRing,
    /// Keys of viewers in the shard.
    pub viewers: Vec<usize>,
    pub flush_at: Option<Instant>,
    /// The muxer, where the stream is at home.
    mux: Option<Mux>,
    /// Viewers on each other shard.
    pub mirrors: Vec<u32>,
    /// Units up to here were given to the mirrors.
    pub mirrored: u64,
    /// `init` changed since it was given to the mirrors.
    pub init_changed: bool,
}

impl Fan {
    pub fn mirror(key: FanKey, init: Unit, ring_bytes_max: usize) -> Self {
        Fan {
            key,
            init,
            ring: UnitRing::new(ring_bytes_max),
            viewers: Vec::new(),
            flush_at: None,
            mux: None,
            mirrors: Vec::new(),
            mirrored: 0,
            init_changed: false,
        }
    }

    pub fn is_mirrored(&self) -> bool {
        self.mirrors.iter().any(|n| *n > 0)
    }

    pub fn append(&mut self, units: &mut Vec<Unit>, now: Instant, hold: Duration) {
        if units.is_empty() {
            return;
        }
        for unit in units.drain(..) {
            self.ring.push(unit);
        }
        if self.flush_at.is_none() {
            self.flush_at = Some(now + hold);
        }
    }

    /// Which sound of the stream goes into it.
    fn sound(&self, audio: Option<&Track>) -> Sound {
        audio.map_or(Sound::Drop, |track| {
            self.key.form.sound(self.key.audio, track.codec)
        })
    }
}

/// A sound converted once for all renditions that want it.
struct Converted {
    codec: Codec,
    transcoder: AudioTranscoder,
    /// Frames since the start of the hub's ring, for renditions that are made later.
    recent: VecDeque<Frame>,
}

/// RTP payloads of a stream, made once for all WebRTC viewers of this thread.
#[derive(Default)]
pub(super) struct RtpFan {
    packetizer: Option<Packetizer>,
    pub video: PayloadRing,
    pub audio: PayloadRing,
    /// Slots of peers in the shard.
    pub peers: Vec<u32>,
    pub flush_at: Option<Instant>,
    /// Peers on each other shard.
    pub mirrors: Vec<u32>,
    /// Ends of the rings when they were last given to the mirrors.
    pub mirrored: (u64, u64),
    /// The newest frame's time of presentation, and when it came.
    pub newest: Option<(Instant, MediaTime)>,
}

impl RtpFan {
    pub fn is_mirrored(&self) -> bool {
        self.mirrors.iter().any(|n| *n > 0)
    }

    pub fn ring(&self, track: TrackId) -> &PayloadRing {
        match track {
            TrackId::Video => &self.video,
            TrackId::Audio => &self.audio,
        }
    }

    pub fn append(&mut self, payloads: &mut Vec<RtpPayload>, now: Instant, hold: Duration) {
        if payloads.is_empty() {
            return;
        }
        for payload in payloads.drain(..) {
            let hold = match payload.track {
                TrackId::Video => {
                    self.video.push(payload);
                    hold
                }
                TrackId::Audio => {
                    self.audio.push(payload);
                    self.sound_hold(now).max(hold)
                }
            };
            self.flush_at = earliest(self.flush_at, Some(now + hold));
        }
    }

    /// How long sound may wait for the next picture, with which it costs no system call of its own. Without a picture in the
    /// last second it does not wait.
    fn sound_hold(&self, now: Instant) -> Duration {
        let picture_comes = self
            .newest
            .is_some_and(|(at, _)| now.saturating_duration_since(at) < Duration::from_secs(1));
        if picture_comes {
            Duration::from_millis(limits::SOUND_WITH_PICTURE_MS)
        } else {
            Duration::ZERO
        }
    }

    fn packetize(
        &mut self,
        frame: &Frame,
        payloads: &mut Vec<RtpPayload>,
        now: Instant,
        hold: Duration,
    ) {
        if frame.track == TrackId::Video {
            self.newest = Some((frame.received, frame.pts));
        }
        if let Some(packetizer) = &mut self.packetizer {
            packetizer.push(frame, payloads);
            self.append(payloads, now, hold);
        }
    }
}

/// The last RTP payloads of a track, numbered without gaps: what is to be sent, and what is sent again when a viewer
/// misses it.
#[derive(Debug, Default)]
pub(super) struct PayloadRing {
    payloads: VecDeque<RtpPayload>,
    first: u64,
    newest_key: Option<u64>,
    bytes: usize,
}

impl PayloadRing {
    pub fn push(&mut self, payload: RtpPayload) {
        if payload.key {
            self.newest_key = Some(self.end());
        }
        self.bytes += payload.len();
        self.payloads.push_back(payload);
        while self.payloads.len() > limits::RTP_RING_PACKETS_MAX
            || self.bytes > limits::RTP_RING_BYTES_MAX
        {
            let Some(old) = self.payloads.pop_front() else {
                break;
            };
            self.bytes -= old.len();
            if self.newest_key == Some(self.first) {
                self.newest_key = None;
            }
            self.first += 1;
        }
    }

    pub fn first(&self) -> u64 {
        self.first
    }

    pub fn end(&self) -> u64 {
        self.first + self.payloads.len() as u64
    }

    pub fn newest_key(&self) -> Option<u64> {
        self.newest_key
    }

    pub fn get(&self, index: u64) -> Option<&RtpPayload> {
        self.payloads
            .get(usize::try_from(index.checked_sub(self.first)?).ok()?)
    }

    pub fn from(&self, index: u64) -> impl Iterator<Item = &RtpPayload> {
        let skip = usize::try_from(index.saturating_sub(self.first)).unwrap_or(usize::MAX);
        self.payloads.iter().skip(skip)
    }
}

/// How long pieces may wait for others to be written with them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Holds {
    pub flv: Duration,
    pub fmp4: Duration,
    pub rtp: Duration,
}

impl Holds {
    pub fn of(&self, form: Form) -> Duration {
        match form {
            Form::Flv => self.flv,
            Form::Fmp4 => self.fmp4,
        }
    }
}

pub(super) struct Stream {
    pub id: StreamId,
    pub ssrc: Option<Ssrc>,
    pub transport: MediaTransport,
    /// Where the device said it sends from, or listens.
    pub remote: Option<SocketAddr>,
    /// Where the last packet came from.
    pub source: Option<SocketAddr>,
    /// Of this thread's port, when the stream was opened.
    pub kernel_dropped_before: u64,
    pub ingest: Ingest,
    pub hub: Hub,
    /// Keys of its renditions in the shard.
    pub fans: Vec<usize>,
    pub rtp: Option<RtpFan>,
    converted: Vec<Converted>,
    /// Reported as live with these tracks.
    live: Option<Vec<Track>>,
    pub stalled: bool,
    pub last_stats: IngestStats,
    pub last_ps_errors: PsErrors,
    outputs: Vec<ingest::Output>,
    units: Vec<Unit>,
    frames: Vec<Frame>,
    payloads: Vec<RtpPayload>,
    has_rtp_deadline: bool,
}

impl Stream {
    pub fn new(
        id: StreamId,
        ssrc: Option<Ssrc>,
        transport: MediaTransport,
        ring_bytes: usize,
    ) -> Self {
        let reliable = match transport {
            MediaTransport::Udp => false,
            MediaTransport::TcpPassive | MediaTransport::TcpActive => true,
        };
        let ingest = Ingest::new(ingest::Config { ssrc, reliable });
        Stream {
            id,
            ssrc,
            transport,
            remote: None,
            source: None,
            kernel_dropped_before: 0,
            ingest,
            hub: Hub::new(ring_bytes),
            fans: Vec::new(),
            rtp: None,
            converted: Vec::new(),
            live: None,
            stalled: false,
            last_stats: IngestStats::default(),
            last_ps_errors: PsErrors::default(),
            outputs: Vec::new(),
            units: Vec::new(),
            frames: Vec::new(),
            payloads: Vec::new(),
            has_rtp_deadline: false,
        }
    }

    /// Takes one RTP or RTCP packet. What it completes waits until [`Stream::deliver`].
    pub fn push_packet(&mut self, now: Instant, packet: &[u8]) {
        let outputs = &mut self.outputs;
        self.ingest
            .push(now, packet, &mut |output| outputs.push(output));
        self.has_rtp_deadline = self.ingest.next_deadline().is_some();
    }

    pub fn handle_timeout(&mut self, now: Instant) {
        let outputs = &mut self.outputs;
        self.ingest
            .handle_timeout(now, &mut |output| outputs.push(output));
        self.has_rtp_deadline = self.ingest.next_deadline().is_some();
    }

    /// The source is over: what is complete comes out.
    pub fn finish(&mut self) {
        let outputs = &mut self.outputs;
        self.ingest.finish(&mut |output| outputs.push(output));
    }

    pub fn next_deadline(&self) -> Option<Instant> {
        if self.has_rtp_deadline {
            self.ingest.next_deadline()
        } else {
            None
        }
    }

    pub fn has_output(&self) -> bool {
        !self.outputs.is_empty()
    }

    /// Gives what ingest completed to the hub and the renditions. `progress` is told what the session core wants to know.
    pub fn deliver(
        &mut self,
        now: Instant,
        fans: &mut slab::Slab<Fan>,
        holds: &Holds,
        progress: &mut impl FnMut(Progress),
    ) {
        let mut outputs = std::mem::take(&mut self.outputs);
        for output in outputs.drain(..) {
            match output {
                ingest::Output::Track(track) => {
                    self.set_track(track, fans, now, holds);
                    if self.live.is_none() {
                        let tracks = self.hub.tracks().cloned().collect();
                        progress(Progress::Tracks { tracks });
                    }
                }
                ingest::Output::Frame(frame) => self.put_frame(frame, fans, now, holds),
                ingest::Output::Fact(fact) => match fact {
                    ingest::Fact::FirstRtp { .. } => progress(Progress::FirstRtp),
                    ingest::Fact::ForeignSsrc { seen } => progress(Progress::ForeignSsrc { seen }),
                    ingest::Fact::FirstPs => progress(Progress::FirstPs),
                    ingest::Fact::UnsupportedVideo { stream_type } => {
                        progress(Progress::UnsupportedCodec { stream_type })
                    }
                    ingest::Fact::NoProgramStream | ingest::Fact::UnsupportedAudio { .. } => {}
                },
            }
        }
        self.outputs = outputs;
        self.report_live(now, progress);
    }

    /// Live once a viewer could start: a key frame is there, and the sound had a moment to show up. Sound alone is enough
    /// where the source has no picture.
    fn report_live(&mut self, now: Instant, progress: &mut impl FnMut(Progress)) {
        if !self.hub.can_start() {
            return;
        }
        if self.live.is_none() {
            let waited = now.saturating_duration_since(self.first_held_at(now));
            let sound_may_come =
                self.hub.audio().is_none() && waited < Duration::from_millis(limits::SOUND_WAIT_MS);
            let picture_may_come = self.hub.video().is_none()
                && match self.ingest.has_picture() {
                    Some(has) => has,
                    None => waited < Duration::from_millis(limits::PICTURE_WAIT_MS),
                };
            if sound_may_come || picture_may_come {
                return;
            }
        }
        let same = self
            .live
            .as_ref()
            .is_some_and(|live| live.iter().eq(self.hub.tracks()));
        if !same {
            let tracks: Vec<Track> = self.hub.tracks().cloned().collect();
            self.live = Some(tracks.clone());
            progress(Progress::Live { tracks });
        }
    }

    /// When the first frame of the ring came.
    fn first_held_at(&self, now: Instant) -> Instant {
        self.hub.frames().next().map_or(now, |f| f.received)
    }

    fn set_track(&mut self, track: Track, fans: &mut slab::Slab<Fan>, now: Instant, holds: &Holds) {
        if track.id == TrackId::Audio {
            self.converted.clear();
        }
        self.hub.set_track(track);
        for i in 0..self.fans.len() {
            let Some(sound) = fans
                .get(self.fans[i])
                .map(|fan| fan.sound(self.hub.audio()))
            else {
                continue;
            };
            let tracks = self.tracks_for(sound);
            let Some(fan) = fans.get_mut(self.fans[i]) else {
                continue;
            };
            let Some(mux) = &mut fan.mux else { continue };
            if mux.set_tracks(&tracks, &mut self.units) {
                fan.init = mux.init();
                fan.init_changed = true;
            }
            fan.append(&mut self.units, now, holds.of(fan.key.form));
        }
        if self.rtp.is_some() {
            let sound = rtp_sound(self.hub.audio());
            let tracks = self.tracks_for(sound);
            if let Some(packetizer) = self.rtp.as_mut().and_then(|rtp| rtp.packetizer.as_mut()) {
                packetizer.set_tracks(&tracks);
            }
        }
    }

    fn put_frame(&mut self, frame: Frame, fans: &mut slab::Slab<Fan>, now: Instant, holds: &Holds) {
        self.hub.push(frame.clone());
        let oldest = self.hub.frames().next().map_or(frame.dts, |f| f.dts);
        if frame.track == TrackId::Audio {
            for converted in &mut self.converted {
                converted.transcoder.push(&frame, &mut self.frames);
                while converted.recent.front().is_some_and(|old| old.dts < oldest)
                    || converted.recent.len() >= limits::HUB_FRAMES_MAX
                {
                    converted.recent.pop_front();
                }
                let codec = converted.codec;
                for made in self.frames.drain(..) {
                    Self::give(
                        &made,
                        Sound::As(codec),
                        &self.fans,
                        fans,
                        &mut self.units,
                        now,
                        holds,
                        self.hub.audio(),
                    );
                    if let Some(rtp) = &mut self.rtp
                        && rtp_sound(self.hub.audio()) == Sound::As(codec)
                    {
                        rtp.packetize(&made, &mut self.payloads, now, holds.rtp);
                    }
                    converted.recent.push_back(made);
                }
            }
        }
        Self::give(
            &frame,
            Sound::AsIs,
            &self.fans,
            fans,
            &mut self.units,
            now,
            holds,
            self.hub.audio(),
        );
        if let Some(rtp) = &mut self.rtp
            && (frame.track == TrackId::Video || rtp_sound(self.hub.audio()) == Sound::AsIs)
        {
            rtp.packetize(&frame, &mut self.payloads, now, holds.rtp);
        }
    }

    /// Gives a frame to the renditions that want it: pictures to all, a sound to those that want this form of it.
    #[expect(
        clippy::too_many_arguments,
        reason = "the fields of the stream are borrowed apart"
    )]
    fn give(
        frame: &Frame,
        form_of_sound: Sound,
        keys: &[usize],
        fans: &mut slab::Slab<Fan>,
        units: &mut Vec<Unit>,
        now: Instant,
        holds: &Holds,
        audio: Option<&Track>,
    ) {
        for key in keys {
            let Some(fan) = fans.get_mut(*key) else {
                continue;
            };
            if frame.track == TrackId::Audio && fan.sound(audio) != form_of_sound {
                continue;
            }
            let Some(mux) = &mut fan.mux else { continue };
            mux.push(frame, units);
            fan.append(units, now, holds.of(fan.key.form));
        }
    }

    /// Makes a rendition and fills it from the ring.
    pub fn make_fan(&mut self, key: FanKey, ring_bytes: usize, shards: usize, now: Instant) -> Fan {
        let sound = self
            .hub
            .audio()
            .map_or(Sound::Drop, |track| key.form.sound(key.audio, track.codec));
        self.start_conversion(sound);
        let tracks = self.tracks_for(sound);
        let mut mux = Mux::new(key.form, &tracks);
        let init = mux.init();
        let mut fan = Fan::mirror(key, init, ring_bytes);
        fan.mirrors = vec![0; shards];
        for frame in self.ring_frames(sound) {
            mux.push(&frame, &mut self.units);
        }
        fan.mux = Some(mux);
        fan.append(&mut self.units, now, Duration::ZERO);
        fan
    }

    /// Makes the RTP payloads' rendition and fills it from the ring.
    pub fn make_rtp(&mut self, shards: usize, now: Instant) {
        let sound = rtp_sound(self.hub.audio());
        self.start_conversion(sound);
        let mut packetizer = Packetizer::new(limits::RTP_PAYLOAD_BYTES_MAX);
        packetizer.set_tracks(&self.tracks_for(sound));
        let mut rtp = RtpFan {
            packetizer: Some(packetizer),
            mirrors: vec![0; shards],
            ..RtpFan::default()
        };
        for frame in self.ring_frames(sound) {
            rtp.packetize(&frame, &mut self.payloads, now, Duration::ZERO);
        }
        self.rtp = Some(rtp);
    }

    /// Tracks that WebRTC viewers are given.
    pub fn rtp_tracks(&mut self) -> Vec<Track> {
        let sound = rtp_sound(self.hub.audio());
        self.start_conversion(sound);
        self.tracks_for(sound)
    }

    /// Ends conversions that no rendition wants any more.
    pub fn drop_unused_conversions(&mut self, fans: &slab::Slab<Fan>) {
        let audio = self.hub.audio().cloned();
        let wanted_by_rtp = self.rtp.is_some().then(|| rtp_sound(audio.as_ref()));
        self.converted.retain(|converted| {
            let this = Sound::As(converted.codec);
            wanted_by_rtp == Some(this)
                || self
                    .fans
                    .iter()
                    .filter_map(|key| fans.get(*key))
                    .any(|fan| fan.sound(audio.as_ref()) == this)
        });
    }

    /// `kernel_dropped` = datagrams that the kernel dropped at this thread's port since its start.
    pub fn stats(&mut self, now: Instant, kernel_dropped: u64) -> IngestStats {
        let kernel_dropped = kernel_dropped.saturating_sub(self.kernel_dropped_before);
        let s = self.ingest.stats(now);
        self.last_ps_errors = s.ps_errors_by_kind;
        self.last_stats = IngestStats {
            packets: s.packets,
            bytes: s.bytes,
            lost: s.lost,
            reordered: s.reordered,
            duplicate: s.duplicate,
            foreign: s.foreign,
            ps_errors: s.ps_errors,
            frames: s.frames,
            key_frames: s.key_frames,
            bits_per_s: s.bits_per_s,
            fps_milli: s.fps_milli,
            psm_seen: s.psm_seen,
            detail: IngestDetail {
                late: s.late,
                invalid: s.invalid,
                rtcp_packets: s.rtcp_packets,
                damaged_frames: s.damaged_frames,
                dropped_frames: s.dropped_frames,
                time_jumps: s.time_jumps,
                restarts: s.restarts,
                ps_errors_by_kind: s.ps_errors_by_kind,
                kernel_dropped,
                source: self.source,
            },
        };
        self.last_stats
    }

    pub fn reset_stats(&mut self) {
        self.ingest.reset_stats();
        self.last_stats = IngestStats::default();
        self.last_ps_errors = PsErrors::default();
    }

    fn start_conversion(&mut self, sound: Sound) {
        let Sound::As(codec) = sound else { return };
        if self.converted.iter().any(|c| c.codec == codec) {
            return;
        }
        let Some(track) = self.hub.audio() else {
            return;
        };
        let Ok(mut transcoder) = AudioTranscoder::new(track, codec) else {
            return;
        };
        let mut made = Vec::new();
        for frame in self.hub.frames().filter(|f| f.track == TrackId::Audio) {
            transcoder.push(frame, &mut made);
        }
        self.converted.push(Converted {
            codec,
            transcoder,
            recent: made.into(),
        });
    }

    fn tracks_for(&self, sound: Sound) -> Vec<Track> {
        let audio = match sound {
            Sound::Drop => None,
            Sound::AsIs => self.hub.audio().cloned(),
            Sound::As(codec) => self
                .converted
                .iter()
                .find(|c| c.codec == codec)
                .map(|c| c.transcoder.track()),
        };
        self.hub.video().cloned().into_iter().chain(audio).collect()
    }

    /// The ring's frames with the sound in the form wanted, in order of time.
    fn ring_frames(&self, sound: Sound) -> Vec<Frame> {
        let converted = self
            .converted
            .iter()
            .find(|c| sound == Sound::As(c.codec))
            .map(|c| &c.recent);
        let mut frames: Vec<Frame> = self
            .hub
            .frames()
            .filter(|f| f.track == TrackId::Video || sound == Sound::AsIs)
            .chain(converted.into_iter().flatten())
            .cloned()
            .collect();
        // The picture that a viewer starts with comes first, whatever the times of the sound around it.
        frames.sort_by_key(|f| (f.dts, f.track == TrackId::Audio));
        let start = frames
            .iter()
            .position(|f| f.track == TrackId::Video)
            .unwrap_or(0);
        frames.split_off(start)
    }
}

/// Which sound WebRTC viewers get.
fn rtp_sound(audio: Option<&Track>) -> Sound {
    audio.map_or(Sound::Drop, |track| crate::egress::rtp::sound(track.codec))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payload(track: TrackId) -> Vec<RtpPayload> {
        vec![RtpPayload {
            body: bytes::Bytes::from_static(&[1; 320]),
            timestamp: 0,
            prefix: crate::egress::rtp::Prefix::default(),
            padding: 0,
            marker: false,
            key: false,
            track,
        }]
    }

    #[test]
    fn sound_waits_for_the_next_picture_and_no_longer_than_its_bound() {
        let start = Instant::now();
        let ms = |n| start + Duration::from_millis(n);
        let mut fan = RtpFan::default();
        fan.append(&mut payload(TrackId::Audio), start, Duration::ZERO);
        assert_eq!(fan.flush_at, Some(start), "no picture has come");
        fan.flush_at = None;
        fan.newest = Some((start, MediaTime(0)));
        fan.append(&mut payload(TrackId::Audio), ms(20), Duration::ZERO);
        let bound = 20 + limits::SOUND_WITH_PICTURE_MS;
        assert_eq!(fan.flush_at, Some(ms(bound)));
        fan.append(&mut payload(TrackId::Audio), ms(50), Duration::ZERO);
        assert_eq!(fan.flush_at, Some(ms(bound)), "the first one's time counts");
        fan.append(&mut payload(TrackId::Video), ms(55), Duration::ZERO);
        assert_eq!(fan.flush_at, Some(ms(55)), "a picture takes it along");
        fan.flush_at = None;
        fan.append(&mut payload(TrackId::Audio), ms(1_000), Duration::ZERO);
        assert_eq!(fan.flush_at, Some(ms(1_000)), "pictures have ended");
    }
}
