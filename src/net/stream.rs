//! One stream on its media thread: ingest, the ring of its last frames, and its renditions.
//!
//! Work is done once per stream: a rendition is made when its first viewer comes, a sound is converted once for all
//! renditions that need it, and both end with the last viewer. Sound is converted on a thread of its own ([`super::sound`]),
//! so that no encoder holds a picture back.

mod fan;
mod payloads;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::egress::rtp::{Packetizer, RtpPayload};
use crate::egress::{Mux, Sound, Unit};
use crate::gb28181::MediaTransport;
use crate::id::{Ssrc, StreamId};
use crate::limits;
use crate::media::frame::{Codec, Frame, Track, TrackId};
use crate::media::hold::{HoldBack, Verdict};
use crate::media::hub::Hub;
use crate::media::ingest::{self, Ingest, Pace};
use crate::media::ps::demux;
use crate::media::report::Reporter;
use crate::media::source::{Admit, SourceGuard};
use crate::media::transcode::AudioTranscoder;
use crate::media::{rtcp, rtp};
use crate::net::sound::{Conversion, Made, SoundLink};
use crate::session::intake::{self, Claimant, Liveness};
use crate::session::port::{IngestOptions, Progress};
use crate::session::{IngestDetail, IngestStats, PathStats};
use crate::time::{MediaTime, TICKS_PER_SECOND};
pub(super) use fan::{Fan, FanKey, Holds};
pub(super) use payloads::{PayloadRing, RtpFan};

/// Damage found in a program stream, in the order of [`demux::Error::ALL`].
pub(super) type PsErrors = [u64; demux::Error::ALL.len()];

/// What becomes of the sound that a ring holds when its conversion begins.
#[derive(Clone, Copy, Debug)]
enum Backlog {
    Take,
    /// It may be of the track before.
    Leave,
}

/// A sound converted once for all renditions that want it.
struct Converted {
    codec: Codec,
    /// What it makes.
    track: Track,
    conversion: Conversion,
    /// Frames since the start of the hub's ring, for renditions that are made later.
    recent: VecDeque<Frame>,
}

impl Converted {
    fn forget_before(&mut self, oldest: MediaTime) {
        while self.recent.front().is_some_and(|old| old.dts < oldest)
            || self.recent.len() >= limits::HUB_FRAMES_MAX
        {
            self.recent.pop_front();
        }
    }
}

/// Where RTCP for a device goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReportTo {
    Address(SocketAddr),
    /// The connection that its media comes over.
    Connection,
}

pub(super) struct Stream {
    pub id: StreamId,
    pub ssrc: Option<Ssrc>,
    pub transport: MediaTransport,
    /// Where the device said it sends from, or listens.
    pub remote: Option<SocketAddr>,
    /// Other end of the connection that it comes over.
    pub tcp_peer: Option<SocketAddr>,
    /// Of its port, when the stream was opened.
    pub kernel_dropped_before: u64,
    /// Key of its own port in the shard; `None` = it shares that of the thread.
    pub own_port: Option<usize>,
    pub ingest: Ingest,
    /// A device that plays back was told to rest.
    pub paused: bool,
    /// When it was last ordered.
    pub paced_at: Option<Instant>,
    /// The sound that is left out, as it plays at another speed than it was recorded.
    muted: Option<Option<Track>>,
    source: SourceGuard,
    hold: HoldBack,
    reporter: Reporter,
    /// Where the device's RTCP comes from.
    rtcp_peer: Option<SocketAddr>,
    /// Pictures are held back, and the session core does not know it yet.
    key_frame_wanted: bool,
    /// The same, for RTCP.
    picture_loss_due: bool,
    /// Wishes for a key frame, by which a repeated one is known (RFC 5104, 4.3.1.1).
    intra_requests: u8,
    /// The device sends RTCP over its connection, so it reads what comes back there.
    rtcp_over_tcp: bool,
    key_frames_asked: u64,
    reports_sent: u64,
    pub hub: Hub,
    /// Keys of its renditions in the shard.
    pub fans: Vec<usize>,
    pub rtp: Option<RtpFan>,
    sound: SoundLink,
    converted: Vec<Converted>,
    liveness: Liveness,
    pub stalled: bool,
    pub last_stats: IngestStats,
    pub last_ps_errors: PsErrors,
    outputs: Vec<ingest::Output>,
    units: Vec<Unit>,
    payloads: Vec<RtpPayload>,
    has_rtp_deadline: bool,
}

impl Stream {
    pub fn new(
        id: StreamId,
        ssrc: Option<Ssrc>,
        transport: MediaTransport,
        options: IngestOptions,
        own_port: Option<usize>,
        ring_bytes: usize,
        sound: SoundLink,
    ) -> Self {
        let ingest = Ingest::new(intake::ingest_config(ssrc, transport, &options));
        Stream {
            id,
            ssrc,
            transport,
            remote: None,
            tcp_peer: None,
            kernel_dropped_before: 0,
            own_port,
            ingest,
            paused: false,
            paced_at: None,
            muted: is_mute(options.pace).then_some(None),
            source: SourceGuard::default(),
            hold: HoldBack::new(options.loss),
            reporter: Reporter::new(u64::from(id.number) << 8 | u64::from(id.shard)),
            rtcp_peer: None,
            key_frame_wanted: false,
            picture_loss_due: false,
            intra_requests: 0,
            rtcp_over_tcp: false,
            key_frames_asked: 0,
            reports_sent: 0,
            hub: Hub::new(ring_bytes),
            fans: Vec::new(),
            rtp: None,
            sound,
            converted: Vec::new(),
            liveness: Liveness::default(),
            stalled: false,
            last_stats: IngestStats::default(),
            last_ps_errors: PsErrors::default(),
            outputs: Vec::new(),
            units: Vec::new(),
            payloads: Vec::new(),
            has_rtp_deadline: false,
        }
    }

    /// Takes one RTP or RTCP packet that came as a datagram. RTP of the stream's SSRC is taken from one address at a time.
    #[inline]
    pub fn push_datagram(&mut self, now: Instant, from: SocketAddr, packet: &[u8]) {
        if rtp::is_rtcp(packet) {
            self.push_rtcp_datagram(now, from, packet);
            return;
        }
        let follows = self.ingest.ssrc();
        match self.source.admit_packet(now, from, follows, packet) {
            Admit::Same => {}
            Admit::Moved { from: before } => {
                tracing::info!(stream = self.id.number, %before, %from, "packets come from another address now");
                self.rtcp_peer = None;
            }
            Admit::Refused => return,
        }
        self.push_packet(now, packet);
    }

    /// RTCP from a stranger's address is not read: it could turn our reports elsewhere.
    fn push_rtcp_datagram(&mut self, now: Instant, from: SocketAddr, packet: &[u8]) {
        let known = self.source.address().or(self.remote);
        if known.is_some_and(|known| known.ip() != from.ip()) {
            return;
        }
        self.rtcp_peer = Some(from);
        self.push_packet(now, packet);
    }

    /// As it stands beside others on the port of its thread; `None` = it has a port of its own.
    pub fn claimant(&self) -> Option<Claimant> {
        self.own_port.is_none().then(|| Claimant {
            ssrc: self.ssrc,
            remote: self.remote,
            silent: self.ingest.is_silent(),
        })
    }

    /// Another SSRC was agreed or adopted: its sender may be elsewhere.
    pub fn set_ssrc(&mut self, ssrc: Ssrc) {
        self.ssrc = Some(ssrc);
        self.ingest.set_ssrc(Some(ssrc));
        self.source = SourceGuard::default();
    }

    /// Writes a compound of RTCP for the device if a report is due or a key frame is to be asked for, and says where to. Over
    /// TCP only to a device that sends RTCP there itself: the others know what arrived, and many do not read their
    /// connection. A key frame is only asked for this way if the device speaks RTCP itself, by both names that there are.
    pub fn write_rtcp(&mut self, now: Instant, out: &mut Vec<u8>) -> Option<ReportTo> {
        out.clear();
        let device = self.ingest.ssrc()?;
        let (to, speaks) = match self.transport {
            MediaTransport::Udp => (self.rtcp_address(), self.rtcp_peer.is_some()),
            MediaTransport::TcpPassive | MediaTransport::TcpActive => {
                let to = self.rtcp_over_tcp.then_some(ReportTo::Connection);
                (to, self.rtcp_over_tcp)
            }
        };
        let asks = speaks && std::mem::take(&mut self.picture_loss_due);
        if !self.reporter.is_due(now) && !asks {
            return None;
        }
        let to = to?;
        // Not the device's own, whatever that is.
        let own = Ssrc(!device.0);
        if !self.ingest.receiver_report(now, own, out) {
            return None;
        }
        if asks {
            rtcp::write_picture_loss(own, device, out);
            rtcp::write_full_intra_request(own, device, self.intra_requests, out);
        }
        self.reports_sent += 1;
        Some(to)
    }

    /// By convention RTCP has the port after that of RTP (RFC 3550, 11), unless its own has shown itself.
    fn rtcp_address(&self) -> Option<ReportTo> {
        let after_media = || {
            let source = self.source.address()?;
            Some(SocketAddr::new(source.ip(), source.port().checked_add(1)?))
        };
        self.rtcp_peer.or_else(after_media).map(ReportTo::Address)
    }

    /// Takes one packet that came over a connection.
    pub fn push_framed(&mut self, now: Instant, packet: &[u8]) {
        self.rtcp_over_tcp |= rtp::is_rtcp(packet);
        self.push_packet(now, packet);
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
                ingest::Output::Track(track)
                    if track.id == TrackId::Audio && self.muted.is_some() =>
                {
                    self.muted = Some(Some(track));
                }
                ingest::Output::Frame(frame)
                    if frame.track == TrackId::Audio && self.muted.is_some() => {}
                ingest::Output::Track(track) => {
                    self.set_track(track, fans, now, holds);
                    if let Some(found) = self.liveness.found(&self.hub) {
                        progress(found);
                    }
                }
                ingest::Output::Frame(frame) => match self.hold.judge(&frame) {
                    Verdict::Give => self.put_frame(frame, fans, now, holds),
                    Verdict::Hold { ask } => {
                        self.key_frame_wanted |= ask;
                        self.picture_loss_due |= ask;
                        self.intra_requests = self.intra_requests.wrapping_add(u8::from(ask));
                    }
                },
                ingest::Output::Fact(fact) => {
                    if let Some(told) = intake::progress_of(fact, self.ingest.has_picture()) {
                        progress(told);
                    }
                }
            }
        }
        self.outputs = outputs;
        let has_picture = self.ingest.has_picture();
        if let Some(live) = self
            .liveness
            .check(now, &self.hub, has_picture, self.muted.is_none())
        {
            progress(live);
        }
    }

    /// A device that plays back was ordered otherwise: at another speed than recorded there is no sound, which would be
    /// noise, and after a change of place nobody begins with what lies before it.
    pub fn set_pace(
        &mut self,
        now: Instant,
        pace: Pace,
        paused: bool,
        target_ms: Option<u64>,
        fans: &mut slab::Slab<Fan>,
        holds: &Holds,
    ) {
        self.paced_at = Some(now);
        if std::mem::replace(&mut self.paused, paused) == paused || !paused {
            let target = target_ms.map(|ms| ms as i64 * (TICKS_PER_SECOND / 1_000));
            self.ingest.set_pace(now, pace, target);
        }
        if target_ms.is_some() {
            self.hub.forget();
        }
        match (is_mute(pace), self.muted.take()) {
            (true, None) => {
                self.muted = Some(self.hub.drop_audio());
                self.converted.clear();
                self.renew_tracks(fans, now, holds);
            }
            (true, muted) => self.muted = muted,
            (false, Some(Some(audio))) => self.set_track(audio, fans, now, holds),
            (false, Some(None) | None) => {}
        }
    }

    /// When its sender was last heard, or was ordered to do otherwise; none while it has nothing to say.
    pub fn heard(&self) -> Option<Instant> {
        let last = self.ingest.last_packet()?;
        (!self.paused).then(|| last.max(self.paced_at.unwrap_or(last)))
    }

    /// Whether the device is to be asked for a key frame: true once when pictures begin to be held back.
    pub fn wants_key_frame(&mut self) -> bool {
        let wanted = std::mem::take(&mut self.key_frame_wanted);
        self.key_frames_asked += u64::from(wanted);
        wanted
    }

    /// Pictures are still held back: the key frame that was asked for did not come, so it is asked for again.
    pub fn renew_key_frame_wish(&mut self) {
        self.key_frame_wanted |= self.hold.is_holding();
        self.picture_loss_due |= self.hold.is_holding();
    }

    fn set_track(&mut self, track: Track, fans: &mut slab::Slab<Fan>, now: Instant, holds: &Holds) {
        if track.id == TrackId::Audio {
            self.converted.clear();
        }
        self.hub.set_track(track);
        self.renew_tracks(fans, now, holds);
    }

    /// Tells every rendition what tracks there are.
    fn renew_tracks(&mut self, fans: &mut slab::Slab<Fan>, now: Instant, holds: &Holds) {
        for i in 0..self.fans.len() {
            let Some(sound) = fans
                .get(self.fans[i])
                .map(|fan| fan.sound(self.hub.audio()))
            else {
                continue;
            };
            self.start_conversion(sound, Backlog::Leave);
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
            self.start_conversion(sound, Backlog::Leave);
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
                converted.conversion.offer(&frame);
                converted.forget_before(oldest);
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

    /// Gives converted sound to the renditions that want it. What a conversion made that is over is let go.
    pub fn take_sound(
        &mut self,
        made: Made,
        fans: &mut slab::Slab<Fan>,
        now: Instant,
        holds: &Holds,
    ) {
        let audio = self.hub.audio();
        let Some(converted) = self
            .converted
            .iter_mut()
            .find(|c| c.conversion.id() == made.conversion)
        else {
            return;
        };
        let form = Sound::As(converted.codec);
        for frame in made.frames {
            Self::give(
                &frame,
                form,
                &self.fans,
                fans,
                &mut self.units,
                now,
                holds,
                audio,
            );
            if let Some(rtp) = &mut self.rtp
                && rtp_sound(audio) == form
            {
                rtp.packetize(&frame, &mut self.payloads, now, holds.rtp);
            }
            converted.recent.push_back(frame);
        }
        let oldest = self.hub.frames().next().map(|f| f.dts);
        converted.forget_before(oldest.unwrap_or(MediaTime(i64::MIN)));
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
        self.start_conversion(sound, Backlog::Take);
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
        self.start_conversion(sound, Backlog::Take);
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
        self.start_conversion(sound, Backlog::Take);
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
            position_ms: s.position_ms,
            detail: IngestDetail {
                invalid: s.invalid,
                dropped_frames: s.dropped_frames,
                ps_errors_by_kind: s.ps_errors_by_kind,
                kernel_dropped,
                source: self.source.address().or(self.tcp_peer),
            },
            path: PathStats {
                late: s.late,
                damaged_frames: s.damaged_frames,
                held_frames: self.hold.held(),
                key_frames_asked: self.key_frames_asked,
                restarts: s.restarts,
                time_jumps: s.time_jumps,
                source_moves: self.source.moves(),
                source_refused: self.source.refused(),
                reports_sent: self.reports_sent,
                rtcp_received: s.rtcp_packets,
                drift_ppm: s.drift_ppm,
            },
        };
        self.last_stats
    }

    pub fn reset_stats(&mut self) {
        self.ingest.reset_stats();
        self.source.reset_counts();
        self.hold.reset_count();
        self.key_frames_asked = 0;
        self.reports_sent = 0;
        self.last_stats = IngestStats::default();
        self.last_ps_errors = PsErrors::default();
    }

    fn start_conversion(&mut self, sound: Sound, backlog: Backlog) {
        let Sound::As(codec) = sound else { return };
        if self.converted.iter().any(|c| c.codec == codec) {
            return;
        }
        let Some(track) = self.hub.audio() else {
            return;
        };
        let Ok(transcoder) = AudioTranscoder::new(track, codec) else {
            return;
        };
        let track = transcoder.track();
        let frames = self.hub.frames().filter(|f| f.track == TrackId::Audio);
        let backlog = match backlog {
            Backlog::Take => frames.cloned().collect(),
            Backlog::Leave => Vec::new(),
        };
        let started = self.sound.start(self.id, Box::new(transcoder), backlog);
        self.converted.extend(started.map(|conversion| Converted {
            codec,
            track,
            conversion,
            recent: VecDeque::new(),
        }));
    }

    fn tracks_for(&self, sound: Sound) -> Vec<Track> {
        let audio = match sound {
            Sound::Drop => None,
            Sound::AsIs => self.hub.audio().cloned(),
            Sound::As(codec) => self
                .converted
                .iter()
                .find(|c| c.codec == codec)
                .map(|c| c.track.clone()),
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

/// Whether sound is left out: at any speed but that of the record it has another pitch and no rhythm.
fn is_mute(pace: Pace) -> bool {
    !pace.keep && pace.milli != 1_000
}

/// Which sound WebRTC viewers get.
fn rtp_sound(audio: Option<&Track>) -> Sound {
    audio.map_or(Sound::Drop, |track| crate::egress::rtp::sound(track.codec))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SSRC: Ssrc = Ssrc(100_000_001);

    fn stream(ssrc: Option<Ssrc>, options: IngestOptions) -> Stream {
        let id = StreamId {
            shard: 0,
            number: 1,
        };
        let sound = SoundLink::spawn("sound test", Box::new(|_| true)).expect("a thread starts");
        Stream::new(id, ssrc, MediaTransport::Udp, options, None, 1 << 20, sound)
    }

    fn at(port: u16) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, 1], port))
    }

    fn packet(ssrc: Ssrc, sequence: u16) -> Vec<u8> {
        let mut out = Vec::new();
        let mut writer = rtp::Writer::new(ssrc, 96, sequence);
        writer.write(&[7; 100], 0, 1_400, &mut |p| out.extend_from_slice(p));
        out
    }

    /// The next view of a device has the SSRC of the last one, seconds later and from another port: it is another stream.
    #[test]
    fn field_01_an_address_is_held_per_view_not_per_ssrc() {
        let now = Instant::now();
        for port in [1_000, 2_000] {
            let mut stream = stream(Some(SSRC), IngestOptions::default());
            for n in 0..10 {
                stream.push_datagram(now, at(port), &packet(SSRC, 100 + n));
            }
            assert_eq!(stream.stats(now, 0).packets, 10, "from port {port}");
        }
    }

    #[test]
    fn field_05_rtcp_before_the_media_pins_no_ssrc() {
        let now = Instant::now();
        let mut report = Vec::new();
        let info = rtcp::SenderInfo::default();
        rtcp::write_sender_report(Ssrc(9), &info, &mut report);
        let mut stream = stream(None, IngestOptions::default());
        stream.push_datagram(now, at(1_001), &report);
        assert_eq!(stream.ingest.ssrc(), None);
        assert!(stream.ingest.is_silent());
        for n in 0..10 {
            stream.push_datagram(now, at(1_000), &packet(SSRC, n));
        }
        assert_eq!(stream.ingest.ssrc(), Some(SSRC));
        let stats = stream.stats(now, 0);
        assert_eq!((stats.packets, stats.foreign), (10, 0));
    }

    #[test]
    fn on_its_own_port_a_stream_takes_any_ssrc_but_never_two_at_once() {
        let mut now = Instant::now();
        let options = IngestOptions {
            port: Some(40_000),
            any_ssrc: true,
            ..IngestOptions::default()
        };
        let mut stream = stream(Some(SSRC), options);
        let other = Ssrc(9);
        stream.push_datagram(now, at(1_000), &packet(other, 1));
        assert_eq!(stream.ingest.ssrc(), Some(other), "nothing else comes");
        let third = Ssrc(10);
        stream.push_datagram(now, at(1_000), &packet(third, 1));
        assert_eq!(stream.ingest.ssrc(), Some(other), "one comes already");
        stream.push_datagram(now, at(1_000), &packet(SSRC, 1));
        assert_eq!(stream.ingest.ssrc(), Some(SSRC), "the agreed one always");
        stream.push_datagram(now, at(1_000), &packet(other, 2));
        assert_eq!(stream.ingest.ssrc(), Some(SSRC));
        now += Duration::from_secs(3);
        stream.push_datagram(now, at(1_000), &packet(third, 2));
        assert_eq!(stream.ingest.ssrc(), Some(third), "the old one fell silent");
        assert_eq!(stream.stats(now, 0).foreign, 2);
    }

    #[test]
    fn reports_go_to_the_port_after_the_media_s_until_another_shows() {
        let mut now = Instant::now();
        let mut stream = stream(Some(SSRC), IngestOptions::default());
        let mut out = Vec::new();
        let address = |port| Some(ReportTo::Address(at(port)));
        assert_eq!(stream.write_rtcp(now, &mut out), None, "to nobody");
        for n in 0..10 {
            stream.push_datagram(now, at(1_000), &packet(SSRC, n));
        }
        now += Duration::from_secs(8);
        assert_eq!(stream.write_rtcp(now, &mut out), address(1_001));
        let first = rtcp::Packets::new(&out).next();
        assert!(matches!(
            first,
            Some(Ok(rtcp::Packet::ReceiverReport { .. }))
        ));
        let mut report = Vec::new();
        rtcp::write_sender_report(SSRC, &rtcp::SenderInfo::default(), &mut report);
        let stranger = SocketAddr::from(([198, 51, 100, 1], 5));
        stream.push_datagram(now, stranger, &report);
        now += Duration::from_secs(8);
        assert_eq!(stream.write_rtcp(now, &mut out), address(1_001));
        stream.push_datagram(now, at(7_777), &report);
        now += Duration::from_secs(8);
        assert_eq!(stream.write_rtcp(now, &mut out), address(7_777));
    }

    /// Over TCP reports go to those alone that send some, and a damaged picture asks for a key frame by both names.
    #[test]
    fn over_tcp_reports_go_to_a_device_that_sends_its_own() {
        let mut now = Instant::now();
        let mut stream = stream(Some(SSRC), IngestOptions::default());
        stream.transport = MediaTransport::TcpPassive;
        let mut out = Vec::new();
        let mut hear = |stream: &mut Stream, wait: u64| {
            now += Duration::from_secs(wait);
            (stream.write_rtcp(now, &mut out), out.clone())
        };
        for n in 0..10 {
            stream.push_framed(Instant::now(), &packet(SSRC, n));
        }
        assert_eq!(hear(&mut stream, 0).0, None);
        assert_eq!(hear(&mut stream, 8).0, None, "it does not listen");
        let mut report = Vec::new();
        rtcp::write_sender_report(SSRC, &rtcp::SenderInfo::default(), &mut report);
        stream.push_framed(Instant::now(), &report);
        assert_eq!(hear(&mut stream, 8).0, Some(ReportTo::Connection));
        for (wish, number) in [(false, 0), (true, 0), (true, 1)] {
            stream.picture_loss_due = wish;
            stream.intra_requests = number;
            let (to, bytes) = hear(&mut stream, 8);
            assert_eq!(to, Some(ReportTo::Connection));
            let feedback: Vec<&[u8]> = rtcp::Packets::new(&bytes)
                .filter_map(|packet| match packet {
                    Ok(rtcp::Packet::Other {
                        packet_type: 206,
                        body,
                    }) => Some(body),
                    _ => None,
                })
                .collect();
            assert_eq!(feedback.len(), if wish { 2 } else { 0 });
            assert!(feedback.get(1).is_none_or(|fir| fir[12] == number));
        }
    }
}
