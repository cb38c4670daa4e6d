//! One WebRTC viewer: from its offer to sealed packets.
//!
//! ```text
//! answer ─► waiting ──keys and nomination──► ready ──silence, DTLS close or failure, close()──► closed
//! ```
//!
//! The hot path is [`Viewer::seal_rtp`]: header, copy of the shared payload, one AEAD in the caller's batch buffer; no
//! allocation once that buffer has grown. Nothing is kept of what was sent: the caller numbers its payloads (one growing
//! index per track), and the viewer remembers at which index which sequence number began, so that a NACK becomes an index
//! into the caller's shared ring by arithmetic. A lost packet that is sent again without RTX is made again bit for bit
//! (same header, same payload), as SRTP demands.
//! Not done: pacing and dropping (the caller's, with the figures of [`Viewer::path`]), media from the viewer.
//!
//! Bounds: [`RESENDS_PENDING_MAX`], [`RESENDS_PER_S_MAX`], [`KEY_FRAME_REQUEST_MS_MIN`]; those of the parts.

use std::collections::VecDeque;
use std::fmt;
use std::time::{Duration, Instant};

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use super::congestion::Congestion;
use super::dtls::{self, Associate, DtlsError, Identify};
use super::ice::{Agent, Checked, Credentials};
use super::rtcp::{self, Arrival, Feedback, SenderReport};
use super::sdp::{self, Local, Ssrcs, Stream};
use super::sender::Sender;
use super::srtp::{Opener, Sealer};
use super::{Address, Kind, kind};
use crate::limits::{KEY_FRAME_REQUEST_MS_MIN, RESENDS_PENDING_MAX, RESENDS_PER_S_MAX};
use crate::media::frame::TrackId;
use crate::time::{MediaTime, WallClock, earliest};

pub use super::sdp::{AnswerError, Offered};
pub use super::sender::Packet;

const REPORT_INTERVAL: Duration = Duration::from_secs(1);
/// From the NTP epoch (1900) to that of Unix (1970).
const NTP_UNIX_S: u64 = 2_208_988_800;

/// What a viewer tells its shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Keys are there and an address is nominated: media can go. Once.
    Ready,
    /// The viewer cannot decode what it has.
    KeyFrameRequest,
    /// Its path does not take the stream: no picture before that time, and then a key frame first.
    Congested(Instant),
    Resend(Resend),
}

/// A packet the viewer has lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resend {
    pub track: TrackId,
    /// Index of its payload, as it was given to [`Viewer::seal_rtp`].
    pub index: u64,
    sequence: u64,
}

/// What a datagram changed for the demultiplexer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Handled {
    /// An address that now belongs to this viewer.
    pub learned: Option<Address>,
    /// One that no longer does.
    pub forgotten: Option<Address>,
}

/// Why a viewer is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// No verified check for [`crate::limits::ICE_SILENCE_S_MAX`]: never came, or went without a word.
    Silence,
    /// It said close_notify.
    PeerClosed,
    Dtls(DtlsError),
    /// We ended it.
    Local,
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CloseReason::Silence => f.write_str("no ICE check"),
            CloseReason::PeerClosed => f.write_str("closed by the viewer"),
            CloseReason::Dtls(e) => write!(f, "DTLS: {e}"),
            CloseReason::Local => f.write_str("closed here"),
        }
    }
}

/// What is known of the way to the viewer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Path {
    /// 256ths of the picture (else the sound) lost, by the last receiver report.
    pub fraction_lost: u8,
    /// Round trip by the last receiver report.
    pub rtt: Option<Duration>,
    /// The receiver's own estimate in bit/s.
    pub bandwidth: Option<u64>,
    /// Totals of transport-wide feedback.
    pub transport_received: u64,
    pub transport_lost: u64,
    /// Times that the path could not take the stream.
    pub congested: u32,
    /// Resends that were not granted because of [`RESENDS_PER_S_MAX`] or because nobody knows the packet any more.
    pub resends_refused: u64,
    /// SRTCP packets that did not open.
    pub rtcp_refused: u64,
}

struct Keys {
    sealer: Sealer,
    opener: Opener,
}

/// The viewer.
pub struct Viewer {
    agent: Agent,
    dtls: Box<dyn Associate>,
    /// Where the DTLS client was last heard.
    dtls_peer: Option<Address>,
    keys: Option<Box<Keys>>,
    video: Option<Box<Sender>>,
    audio: Option<Box<Sender>>,
    /// Next transport-wide sequence number.
    transport_sequence: u16,
    congestion: Box<Congestion>,
    pending_pause: Option<Instant>,
    cname: Box<str>,
    clock: Option<Clock>,
    report_at: Option<Instant>,
    ready_told: bool,
    key_frame_asked: Option<Instant>,
    pending_key_frame: bool,
    resends: VecDeque<Resend>,
    allowance: Allowance,
    path: Path,
    closed: Option<CloseReason>,
}

impl fmt::Debug for Viewer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Viewer")
            .field("agent", &self.agent)
            .field("path", &self.path)
            .field("closed", &self.closed)
            .finish_non_exhaustive()
    }
}

impl Viewer {
    /// Answers an offer. `ufrag` comes from [`super::Router::reserve`]; `seed` makes password, SSRCs and first numbers.
    ///
    /// Errors: [`AnswerError`], with which the caller tells the client what is wrong with its offer or its wish.
    pub fn answer(
        identity: &dyn Identify,
        offer: &str,
        media: Offered<'_>,
        candidates: &[Address],
        ufrag: String,
        seed: [u8; 32],
        now: Instant,
    ) -> Result<(Viewer, String), AnswerError> {
        let mut random = ChaCha20Rng::from_seed(seed);
        let credentials = Credentials {
            ufrag: ufrag.into(),
            password: password(&mut random),
        };
        let mut ssrcs = || Ssrcs {
            media: random.next_u32() | 1,
            // Never equal to the other: it is even.
            rtx: random.next_u32() & !1,
        };
        let (video, audio) = (ssrcs(), ssrcs());
        let cname: Box<str> = format!("{:016x}", random.next_u64()).into();
        let answer = sdp::answer(
            offer,
            media,
            &Local {
                credentials: &credentials,
                fingerprint: identity.fingerprint(),
                candidates,
                session: random.next_u64() >> 2,
                cname: &cname,
                video,
                audio,
            },
        )?;
        let mut sender = |stream: Option<Stream>, ssrcs: Ssrcs| {
            stream.map(|s| Box::new(Sender::new(s, ssrcs, &mut random)))
        };
        let (video, audio) = (sender(answer.video, video), sender(answer.audio, audio));
        let transport_sequence = random.next_u32() as u16;
        let viewer = Viewer {
            agent: Agent::new(credentials, &answer.remote_ufrag, now),
            dtls: identity.accept(answer.fingerprints, now),
            dtls_peer: None,
            keys: None,
            video,
            audio,
            transport_sequence,
            congestion: Box::new(Congestion::new(now, transport_sequence)),
            pending_pause: None,
            cname,
            clock: None,
            report_at: None,
            ready_told: false,
            key_frame_asked: None,
            pending_key_frame: false,
            resends: VecDeque::new(),
            allowance: Allowance::new(now),
            path: Path::default(),
            closed: None,
        };
        Ok((viewer, answer.text))
    }

    /// Takes one datagram (or one RFC 4571 frame) and answers through `out`. SRTCP is opened in place.
    pub fn handle_datagram(
        &mut self,
        now: Instant,
        from: Address,
        datagram: &mut [u8],
        out: &mut impl FnMut(Address, &[u8]),
    ) -> Handled {
        if self.closed.is_some() {
            return Handled::default();
        }
        match kind(datagram) {
            Kind::Stun => return self.handle_stun(now, from, datagram, out),
            // Anybody can send from an address; one whose check verified is the peer's.
            Kind::Dtls if self.agent.knows(from) => self.handle_dtls(now, from, datagram, out),
            Kind::Srtp if self.agent.knows(from) => self.handle_srtp(now, datagram),
            Kind::Dtls | Kind::Srtp | Kind::Other => {}
        }
        Handled::default()
    }

    fn handle_stun(
        &mut self,
        now: Instant,
        from: Address,
        datagram: &[u8],
        out: &mut impl FnMut(Address, &[u8]),
    ) -> Handled {
        match self.agent.handle_datagram(now, from, datagram, out) {
            Checked::Answered {
                new_address,
                forgotten,
                nominated: _,
            } => Handled {
                learned: new_address.then_some(from),
                forgotten,
            },
            Checked::Refused(_) | Checked::Dropped(_) => Handled::default(),
        }
    }

    fn handle_dtls(
        &mut self,
        now: Instant,
        from: Address,
        datagram: &[u8],
        out: &mut impl FnMut(Address, &[u8]),
    ) {
        self.dtls_peer = Some(from);
        match self
            .dtls
            .handle_datagram(now, datagram, &mut |d| out(from, d))
        {
            Ok(Some(dtls::Event::Keys { profile, masters })) => {
                self.keys = Some(Box::new(Keys {
                    sealer: Sealer::new(profile, &masters.server),
                    opener: Opener::new(profile, &masters.client),
                }));
            }
            Ok(Some(dtls::Event::PeerClosed)) => self.closed = Some(CloseReason::PeerClosed),
            Ok(None) => {}
            Err(e) => self.closed = Some(CloseReason::Dtls(e)),
        }
    }

    fn handle_srtp(&mut self, now: Instant, datagram: &mut [u8]) {
        // RFC 5761, 4: RTCP has 192 to 223 where RTP has marker and payload type.
        if !matches!(datagram.get(1), Some(192..=223)) {
            return;
        }
        let Some(keys) = &mut self.keys else {
            return;
        };
        let Ok(compound) = keys.opener.open_rtcp(datagram) else {
            self.path.rtcp_refused += 1;
            return;
        };
        self.dtls.confirmed();
        let mut feedback = FeedbackSink {
            now,
            video: self.video.as_deref(),
            audio: self.audio.as_deref(),
            clock: self.clock,
            path: &mut self.path,
            resends: &mut self.resends,
            allowance: &mut self.allowance,
            congestion: &mut self.congestion,
            key_frame: false,
            pause: None,
        };
        rtcp::read(compound, |f| feedback.take(f));
        let (key_frame, pause) = (feedback.key_frame, feedback.pause);
        if let Some(until) = pause {
            self.pending_pause = Some(until);
            self.path.congested += 1;
        }
        if key_frame {
            let pause = Duration::from_millis(KEY_FRAME_REQUEST_MS_MIN);
            if self.key_frame_asked.is_none_or(|at| now - at >= pause) {
                self.key_frame_asked = Some(now);
                self.pending_key_frame = true;
            }
        }
    }

    /// Sends what is due: DTLS retransmissions and sender reports; notices silence.
    pub fn handle_timeout(&mut self, now: Instant, out: &mut impl FnMut(Address, &[u8])) {
        if self.closed.is_some() {
            return;
        }
        if now >= self.agent.silence_deadline() {
            self.closed = Some(CloseReason::Silence);
            return;
        }
        if let Some(to) = self.dtls_peer
            && self.dtls.next_deadline().is_some_and(|at| now >= at)
            && let Err(e) = self.dtls.handle_timeout(now, &mut |d| out(to, d))
        {
            self.closed = Some(CloseReason::Dtls(e));
            return;
        }
        if self.report_at.is_some_and(|at| now >= at) {
            self.report_at = Some(now + REPORT_INTERVAL);
            self.report(now, out);
        }
    }

    /// When [`Viewer::handle_timeout`] has something to do. `None` once closed.
    pub fn next_deadline(&self) -> Option<Instant> {
        if self.closed.is_some() {
            return None;
        }
        let dtls = self.dtls_peer.and(self.dtls.next_deadline());
        earliest(
            Some(self.agent.silence_deadline()),
            earliest(dtls, self.report_at),
        )
    }

    /// The next thing to be told; `None` = nothing.
    pub fn poll_event(&mut self) -> Option<Event> {
        if self.closed.is_some() {
            return None;
        }
        if !self.ready_told && self.is_ready() {
            self.ready_told = true;
            return Some(Event::Ready);
        }
        if let Some(until) = self.pending_pause.take() {
            return Some(Event::Congested(until));
        }
        if std::mem::take(&mut self.pending_key_frame) {
            return Some(Event::KeyFrameRequest);
        }
        self.resends.pop_front().map(Event::Resend)
    }

    /// Whether media can go.
    pub fn is_ready(&self) -> bool {
        self.keys.is_some() && self.agent.nominated().is_some() && self.closed.is_none()
    }

    /// Where media goes.
    pub fn remote(&self) -> Option<Address> {
        self.agent.nominated()
    }

    /// Whether a verified check came from there.
    pub fn knows(&self, address: Address) -> bool {
        self.agent.knows(address)
    }

    /// A connection of the viewer has ended. Without another path it gets nothing until it nominates a new one.
    pub fn forget(&mut self, address: Address) {
        self.agent.forget(address);
        if self.dtls_peer == Some(address) {
            self.dtls_peer = None;
        }
    }

    pub fn closed(&self) -> Option<&CloseReason> {
        self.closed.as_ref()
    }

    /// Whether the viewer takes a track.
    pub fn wants(&self, track: TrackId) -> bool {
        self.sender(track).is_some()
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Ties media time to the wall clock for sender reports: `media` is played out at `now`. One pair for both tracks, so
    /// that players bring their sound under the picture. Call it with each newest frame, or now and then.
    pub fn set_clock(&mut self, now: Instant, wall: &WallClock, media: MediaTime) {
        if self.clock.is_none() {
            self.report_at = Some(now);
        }
        self.clock = Some(Clock {
            at: now,
            ntp: ntp(wall.unix_ms(now)),
            media,
        });
    }

    /// Appends one sealed packet to `out` and gives its length. 0: the track was not agreed, or there are no keys yet.
    ///
    /// `index` is the payload's number on its track: growing, and the same at every viewer of the ring. Packets of one
    /// index must not be given twice; [`Viewer::seal_resend`] does that.
    pub fn seal_rtp(&mut self, index: u64, packet: &Packet<'_>, out: &mut Vec<u8>) -> usize {
        let sender = match packet.track {
            TrackId::Video => self.video.as_deref_mut(),
            TrackId::Audio => self.audio.as_deref_mut(),
        };
        let (Some(sender), Some(keys)) = (sender, self.keys.as_deref()) else {
            return 0;
        };
        let sequence = sender.begin(index);
        sender.packets = sender.packets.wrapping_add(1);
        let octets = (packet.prefix.len() + packet.body.len()) as u32;
        sender.octets = sender.octets.wrapping_add(octets);
        let number = sender
            .stream
            .transport_cc
            .map(|id| (id, next(&mut self.transport_sequence)));
        sender.seal_media(&keys.sealer, sequence, number, packet, out)
    }

    /// What was sealed so far leaves now. Its feedback is measured from here.
    pub fn sent(&mut self, now: Instant) {
        self.congestion.sent(now, self.transport_sequence);
    }

    /// Appends a lost packet once more, as RTX if that was agreed. `packet` is the payload at [`Resend::index`].
    pub fn seal_resend(&mut self, resend: Resend, packet: &Packet<'_>, out: &mut Vec<u8>) -> usize {
        let sender = match resend.track {
            TrackId::Video => self.video.as_deref_mut(),
            TrackId::Audio => self.audio.as_deref_mut(),
        };
        let (Some(sender), Some(keys)) = (sender, self.keys.as_deref()) else {
            return 0;
        };
        match sender.stream.rtx {
            Some(payload_type) => {
                let number = sender
                    .stream
                    .transport_cc
                    .map(|id| (id, next(&mut self.transport_sequence)));
                sender.seal_rtx(
                    &keys.sealer,
                    payload_type,
                    resend.sequence,
                    number,
                    packet,
                    out,
                )
            }
            // No number of its own: see `sdp::Stream::transport_cc`.
            None => sender.seal_media(&keys.sealer, resend.sequence, None, packet, out),
        }
    }

    /// Says goodbye (RTCP BYE, close_notify) and ends.
    pub fn close(&mut self, now: Instant, out: &mut impl FnMut(Address, &[u8])) {
        if self.closed.is_some() {
            return;
        }
        self.closed = Some(CloseReason::Local);
        let Some(to) = self.agent.nominated().or(self.dtls_peer) else {
            return;
        };
        if let Some(keys) = self.keys.as_deref_mut() {
            let ssrcs: smallvec::SmallVec<[u32; 2]> = [&self.video, &self.audio]
                .into_iter()
                .flatten()
                .map(|s| s.ssrcs.media)
                .collect();
            let mut bye = Vec::with_capacity(64);
            rtcp::put_goodbye(&mut bye, &ssrcs);
            keys.sealer.seal_rtcp(&mut bye, 0, ssrcs[0]);
            out(to, &bye);
        }
        self.dtls.close(now, &mut |d| out(to, d));
    }

    fn sender(&self, track: TrackId) -> Option<&Sender> {
        match track {
            TrackId::Video => self.video.as_deref(),
            TrackId::Audio => self.audio.as_deref(),
        }
    }

    /// One compound: an SR for each track that has sent, and their CNAME.
    fn report(&mut self, now: Instant, out: &mut impl FnMut(Address, &[u8])) {
        let (Some(keys), Some(to), Some(clock)) =
            (self.keys.as_deref_mut(), self.agent.nominated(), self.clock)
        else {
            return;
        };
        let mut buf = Vec::with_capacity(160);
        let mut ssrcs = smallvec::SmallVec::<[u32; 2]>::new();
        for sender in [&self.video, &self.audio].into_iter().flatten() {
            if sender.packets == 0 {
                continue;
            }
            ssrcs.push(sender.ssrcs.media);
            rtcp::put_sender_report(
                &mut buf,
                &SenderReport {
                    ssrc: sender.ssrcs.media,
                    ntp: clock.ntp_at(now),
                    timestamp: sender.timestamp(clock.media_at(now)),
                    packets: sender.packets,
                    octets: sender.octets,
                },
            );
        }
        if let Some(first) = ssrcs.first() {
            rtcp::put_source_description(&mut buf, &ssrcs, &self.cname);
            keys.sealer.seal_rtcp(&mut buf, 0, *first);
            out(to, &buf);
        }
    }
}

/// Where a viewer's feedback lands.
struct FeedbackSink<'a> {
    now: Instant,
    video: Option<&'a Sender>,
    audio: Option<&'a Sender>,
    clock: Option<Clock>,
    path: &'a mut Path,
    resends: &'a mut VecDeque<Resend>,
    allowance: &'a mut Allowance,
    congestion: &'a mut Congestion,
    key_frame: bool,
    pause: Option<Instant>,
}

impl FeedbackSink<'_> {
    fn take(&mut self, feedback: Feedback<'_>) {
        match feedback {
            Feedback::Report(block) => {
                let main = self.video.or(self.audio);
                if main.is_some_and(|s| s.ssrcs.media == block.ssrc) {
                    self.path.fraction_lost = block.fraction_lost;
                    self.path.rtt = self.clock.and_then(|c| c.round_trip(self.now, &block));
                    if main.is_some_and(|s| s.stream.transport_cc.is_none()) {
                        let pause = self.congestion.report(self.now, block.fraction_lost);
                        self.pause = self.pause.max(pause);
                    }
                }
            }
            Feedback::Nack { ssrc, lost } => {
                if let Some(sender) = self
                    .video
                    .filter(|s| s.ssrcs.media == ssrc && s.stream.nack)
                {
                    lost.iter()
                        .for_each(|n| self.resend(TrackId::Video, sender, n));
                }
            }
            Feedback::KeyFrame { ssrc } => {
                self.key_frame |= self.video.is_some_and(|s| s.ssrcs.media == ssrc);
            }
            Feedback::Transport(transport) => {
                let path = &mut *self.path;
                transport.each(|_, arrival| match arrival {
                    Arrival::Lost => path.transport_lost += 1,
                    Arrival::At(_) | Arrival::Untimed => path.transport_received += 1,
                });
                let pause = self.congestion.feedback(self.now, &transport);
                self.pause = self.pause.max(pause);
            }
            Feedback::Bandwidth(bits) => self.path.bandwidth = Some(bits),
        }
    }

    fn resend(&mut self, track: TrackId, sender: &Sender, number: u16) {
        let found = sender.find(number);
        match found {
            Some((sequence, index))
                if self.resends.len() < RESENDS_PENDING_MAX && self.allowance.take(self.now) =>
            {
                self.resends.push_back(Resend {
                    track,
                    index,
                    sequence,
                });
            }
            Some(_) | None => self.path.resends_refused += 1,
        }
    }
}

/// How many resends a viewer may still cause: a bucket that holds those of one second.
#[derive(Debug)]
struct Allowance {
    left: u32,
    filled: Instant,
}

impl Allowance {
    fn new(now: Instant) -> Self {
        Allowance {
            left: RESENDS_PER_S_MAX,
            filled: now,
        }
    }

    fn take(&mut self, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.filled);
        let gained = (passed.as_millis() * u128::from(RESENDS_PER_S_MAX) / 1000)
            .min(u128::from(RESENDS_PER_S_MAX)) as u32;
        if gained > 0 {
            self.filled = now;
            self.left = (self.left + gained).min(RESENDS_PER_S_MAX);
        }
        let granted = self.left > 0;
        self.left -= u32::from(granted);
        granted
    }
}

/// A point that media time and wall time share.
#[derive(Clone, Copy, Debug)]
struct Clock {
    at: Instant,
    ntp: u64,
    media: MediaTime,
}

impl Clock {
    fn ntp_at(&self, now: Instant) -> u64 {
        let passed = now.saturating_duration_since(self.at);
        let fraction = (u64::from(passed.subsec_nanos()) << 32) / 1_000_000_000;
        self.ntp
            .wrapping_add(passed.as_secs() << 32)
            .wrapping_add(fraction)
    }

    fn media_at(&self, now: Instant) -> MediaTime {
        let passed = now.saturating_duration_since(self.at);
        MediaTime(self.media.0 + crate::time::ticks(passed))
    }

    /// RFC 3550, 6.4.1: arrival less LSR less DLSR, all in 1/65,536 s. `None` without an SR, or when the clocks disagree.
    fn round_trip(&self, now: Instant, block: &rtcp::Block) -> Option<Duration> {
        let middle = (self.ntp_at(now) >> 16) as u32;
        let passed = middle
            .wrapping_sub(block.last_sr)
            .wrapping_sub(block.delay_since_last_sr);
        (block.last_sr != 0 && passed < 1 << 31)
            .then(|| Duration::from_micros((u64::from(passed) * 1_000_000) >> 16))
    }
}

/// 32.32 fixed point since 1900.
fn ntp(unix_ms: i64) -> u64 {
    let ms = unix_ms.max(0) as u64;
    let seconds = (ms / 1000).wrapping_add(NTP_UNIX_S);
    (seconds << 32) | (((ms % 1000) << 32) / 1000)
}

fn next(counter: &mut u16) -> u16 {
    let n = *counter;
    *counter = n.wrapping_add(1);
    n
}

/// 24 ice-chars, 144 bits (RFC 8839, 5.4 wants at least 128).
fn password(random: &mut impl Rng) -> Box<str> {
    (0..24)
        .map(|_| char::from(super::demux::ICE_CHARS[random.next_u32() as usize % 64]))
        .collect::<String>()
        .into()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::dtls::{DtlsError, Event as DtlsEvent, Fingerprints};
    use super::super::srtp::{Masters, Profile};
    use super::super::stun::{Class, Message, Writer};
    use super::*;
    use crate::limits::{ICE_SILENCE_S_MAX, SEQUENCE_RUNS};
    use crate::media::frame::{AudioParams, Codec, Params, Track, VideoParams};

    /// Stands in for DTLS: the datagram [20, profile] ends the handshake, [21] is close_notify, [22] a failure.
    struct FakeIdentity;
    struct FakeAssociation;

    fn masters(profile: Profile) -> Masters {
        let material: Vec<u8> = (0..profile.material_len() as u8).collect();
        Masters::new(profile, &material).expect("the right length")
    }

    impl Identify for FakeIdentity {
        fn fingerprint(&self) -> &str {
            "sha-256 00"
        }
        fn accept(&self, _: Fingerprints, _: Instant) -> Box<dyn Associate> {
            Box::new(FakeAssociation)
        }
    }

    impl Associate for FakeAssociation {
        fn handle_datagram(
            &mut self,
            _: Instant,
            datagram: &[u8],
            out: &mut dyn FnMut(&[u8]),
        ) -> Result<Option<DtlsEvent>, DtlsError> {
            out(b"\x16answer");
            match datagram {
                [20, n] => {
                    let profile = if *n == 7 {
                        Profile::Gcm128
                    } else {
                        Profile::Cm80
                    };
                    Ok(Some(DtlsEvent::Keys {
                        profile,
                        masters: masters(profile),
                    }))
                }
                [21, ..] => Ok(Some(DtlsEvent::PeerClosed)),
                [22, ..] => Err(DtlsError::Fingerprint),
                _ => Ok(None),
            }
        }
        fn handle_timeout(
            &mut self,
            _: Instant,
            _: &mut dyn FnMut(&[u8]),
        ) -> Result<(), DtlsError> {
            Ok(())
        }
        fn next_deadline(&self) -> Option<Instant> {
            None
        }
        fn confirmed(&mut self) {}
        fn close(&mut self, _: Instant, out: &mut dyn FnMut(&[u8])) {
            out(b"\x15bye");
        }
    }

    fn at(port: u16) -> Address {
        Address::Udp(([192, 0, 2, 1], port).into())
    }

    fn tracks() -> (Track, Track) {
        let video = VideoParams {
            sps: vec![0x67, 0x42, 0xc0, 0x1e].into(),
            ..VideoParams::default()
        };
        let audio = AudioParams {
            sample_rate: 8000,
            channels: 1,
            config: bytes::Bytes::new(),
        };
        (
            Track {
                id: TrackId::Video,
                codec: Codec::H264,
                params: Arc::new(Params::Video(video)),
            },
            Track {
                id: TrackId::Audio,
                codec: Codec::G711A,
                params: Arc::new(Params::Audio(audio)),
            },
        )
    }

    /// An offer with H.264 at 102, RTX at 103 if wanted, and PCMA.
    fn offer(rtx: bool) -> String {
        let common = "c=IN IP4 0.0.0.0\r\na=ice-ufrag:them\r\na=setup:actpass\r\na=rtcp-mux\r\na=recvonly\r\na=fingerprint:sha-256 "
            .to_owned()
            + &["00"; 32].join(":");
        let (list, map) = if rtx {
            (
                "102 103",
                "a=rtpmap:103 rtx/90000\r\na=fmtp:103 apt=102\r\n",
            )
        } else {
            ("102", "")
        };
        format!(
            "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=group:BUNDLE v a\r\nm=video 9 UDP/TLS/RTP/SAVPF {list}\r\n{common}\r\n\
             a=mid:v\r\na=extmap:5 http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01\r\n\
             a=rtpmap:102 H264/90000\r\na=rtcp-fb:102 nack\r\na=rtcp-fb:102 transport-cc\r\n\
             a=fmtp:102 packetization-mode=1;profile-level-id=42e01f\r\n{map}m=audio 9 UDP/TLS/RTP/SAVPF 8\r\n{common}\r\na=mid:a\r\n\
             a=rtpmap:8 PCMA/8000\r\n"
        )
    }

    struct Bench {
        viewer: Viewer,
        answer: String,
        opener: Opener,
        sealer: Sealer,
        now: Instant,
    }

    impl Bench {
        fn new(rtx: bool) -> Self {
            let now = Instant::now();
            let (video, audio) = tracks();
            let media = Offered {
                video: Some(&video),
                audio: Some(&audio),
            };
            let (viewer, answer) = Viewer::answer(
                &FakeIdentity,
                &offer(rtx),
                media,
                &[at(9000)],
                "ours".to_owned(),
                [5; 32],
                now,
            )
            .expect("an answer");
            let m = masters(Profile::Gcm128);
            Bench {
                viewer,
                answer,
                opener: Opener::new(Profile::Gcm128, &m.server),
                sealer: Sealer::new(Profile::Gcm128, &m.client),
                now,
            }
        }

        fn feed(&mut self, from: Address, datagram: &[u8]) -> (Handled, Vec<Vec<u8>>) {
            let mut sent = Vec::new();
            let handled = self.viewer.handle_datagram(
                self.now,
                from,
                &mut datagram.to_vec(),
                &mut |to, d| {
                    assert_eq!(to, from);
                    sent.push(d.to_vec());
                },
            );
            (handled, sent)
        }

        fn check(&self, nominate: bool) -> Vec<u8> {
            let password = self
                .answer
                .lines()
                .find_map(|l| l.strip_prefix("a=ice-pwd:"))
                .expect("a password");
            Writer::new(Class::Request, &[1; 12])
                .check("ours:them", 1, true, nominate)
                .finish(password.as_bytes())
                .to_vec()
        }

        fn ready(rtx: bool) -> Self {
            let mut b = Bench::new(rtx);
            let check = b.check(true);
            b.feed(at(1), &check);
            b.feed(at(1), &[20, 7]);
            assert_eq!(b.viewer.poll_event(), Some(Event::Ready));
            b
        }

        fn ssrc(&self, track: TrackId) -> u32 {
            self.viewer.sender(track).expect("agreed").ssrcs.media
        }

        fn rtcp(&mut self, kind: u8, fmt: u8, ssrc: u32, rest: &[u8]) {
            let mut p = vec![0x80 | fmt, kind, 0, (2 + rest.len() / 4) as u8, 0, 0, 0, 9];
            p.extend_from_slice(&ssrc.to_be_bytes());
            p.extend_from_slice(rest);
            self.sealer.seal_rtcp(&mut p, 0, 9);
            self.feed(at(1), &p);
        }

        fn events(&mut self) -> Vec<Event> {
            std::iter::from_fn(|| self.viewer.poll_event()).collect()
        }
    }

    fn packet(track: TrackId, body: &[u8]) -> Packet<'_> {
        Packet {
            track,
            prefix: &[0x7c, 0x85],
            body,
            padding: 0,
            marker: true,
            timestamp: 90,
        }
    }

    fn sequence(packet: &[u8]) -> u16 {
        u16::from_be_bytes([packet[2], packet[3]])
    }

    #[test]
    fn it_is_ready_with_keys_and_a_nomination_in_either_order() {
        for nomination_first in [true, false] {
            let mut b = Bench::new(true);
            let (plain, nominating) = (b.check(false), b.check(true));
            // Nothing but STUN is heard from an address that has not verified.
            assert_eq!(b.feed(at(1), &[20, 7]), (Handled::default(), vec![]));
            let (handled, sent) = b.feed(
                at(1),
                if nomination_first {
                    &nominating
                } else {
                    &plain
                },
            );
            assert_eq!(handled.learned, Some(at(1)));
            assert!(Message::parse(&sent[0]).is_ok_and(|m| m.class == Class::Success));
            assert_eq!(b.feed(at(1), &[20, 7]).1, [b"\x16answer".to_vec()]);
            assert_eq!(b.viewer.is_ready(), nomination_first);
            b.feed(at(1), &nominating);
            assert_eq!(b.events(), [Event::Ready]);
            assert_eq!(b.viewer.remote(), Some(at(1)));
        }
    }

    #[test]
    fn a_packet_has_header_number_and_the_payload() {
        let mut b = Bench::ready(true);
        let mut out = vec![9; 5];
        let body = [3; 100];
        let len = b
            .viewer
            .seal_rtp(70, &packet(TrackId::Video, &body), &mut out);
        assert_eq!((len, out.len()), (20 + 2 + 100 + 16, 5 + len));
        let p = &out[5..];
        assert_eq!(p[..2], [0x90, 0x80 | 102]);
        assert_eq!(p[8..12], b.ssrc(TrackId::Video).to_be_bytes());
        assert_eq!(p[12..17], [0xbe, 0xde, 0, 1, 5 << 4 | 1]);
        assert!(
            sequence(p) < 1 << 15,
            "the roll-over counter starts at zero"
        );
        let len = b
            .viewer
            .seal_rtp(1, &packet(TrackId::Audio, &body), &mut out);
        let p = &out[out.len() - len..];
        assert_eq!((p[0], p[1] & 0x7f, len), (0x80, 8, 12 + 2 + 100 + 16));

        // With the keys of the other side it opens to what went in (RFC 7714, 8.2).
        let m = masters(Profile::Gcm128);
        let mut again = out[out.len() - len..][..12].to_vec();
        let sender = Sealer::new(Profile::Gcm128, &m.server);
        again.extend_from_slice(&[0x7c, 0x85]);
        again.extend_from_slice(&body);
        let (ssrc, index) = (b.ssrc(TrackId::Audio), u64::from(sequence(p)));
        sender.seal_rtp(&mut again, 0, 12, ssrc, index);
        assert_eq!(again, p);
    }

    #[test]
    fn nothing_is_sealed_without_keys_or_agreement() {
        let mut b = Bench::new(true);
        let mut out = Vec::new();
        assert_eq!(
            b.viewer
                .seal_rtp(0, &packet(TrackId::Video, &[1]), &mut out),
            0
        );
        assert!(out.is_empty());
    }

    #[test]
    fn a_nack_becomes_an_index_over_gaps_and_wraps() {
        let mut b = Bench::ready(true);
        let ssrc = b.ssrc(TrackId::Video);
        let mut sent = Vec::new();
        // Three runs, the first of which is longer than 16 bits can count.
        for index in (0..70_000).chain(80_000..80_010).chain(90_000..90_010) {
            let mut out = Vec::new();
            b.viewer
                .seal_rtp(index, &packet(TrackId::Video, &[7; 10]), &mut out);
            sent.push((index, sequence(&out)));
        }
        for &(index, number) in [
            &sent[sent.len() - 1],
            &sent[sent.len() - 10],
            &sent[sent.len() - 11],
            &sent[sent.len() - 500],
        ] {
            let [h, l] = number.to_be_bytes();
            b.rtcp(205, 1, ssrc, &[h, l, 0, 0]);
            let events = b.events();
            assert!(
                matches!(events[..], [Event::Resend(r)] if r.index == index && r.track == TrackId::Video),
                "{index}: {events:?}"
            );
        }
        // Not sent yet; of another source.
        let [h, l] = sent[sent.len() - 1].1.wrapping_add(1).to_be_bytes();
        b.rtcp(205, 1, ssrc, &[h, l, 0, 0]);
        b.rtcp(205, 1, ssrc ^ 2, &[h, l, 0, 0]);
        assert_eq!(b.events(), []);
        assert_eq!(b.viewer.path().resends_refused, 1);
    }

    #[test]
    fn old_runs_are_forgotten() {
        let mut b = Bench::ready(true);
        let mut numbers = Vec::new();
        for n in 0..=SEQUENCE_RUNS as u64 {
            let mut out = Vec::new();
            b.viewer
                .seal_rtp(n * 100, &packet(TrackId::Video, &[7; 10]), &mut out);
            numbers.push(sequence(&out));
        }
        let sender = b.viewer.sender(TrackId::Video).expect("agreed");
        assert_eq!(sender.find(numbers[0]), None);
        assert_eq!(sender.find(numbers[1]).map(|f| f.1), Some(100));
    }

    #[test]
    fn a_resend_is_rtx_or_the_same_packet_again() {
        for rtx in [true, false] {
            let mut b = Bench::ready(rtx);
            let ssrc = b.ssrc(TrackId::Video);
            let mut first = Vec::new();
            for index in 0..3 {
                first.clear();
                b.viewer.seal_rtp(
                    index,
                    &packet(TrackId::Video, &[index as u8; 10]),
                    &mut first,
                );
            }
            let [h, l] = sequence(&first).to_be_bytes();
            b.rtcp(205, 1, ssrc, &[h, l, 0, 0]);
            let Some(Event::Resend(resend)) = b.viewer.poll_event() else {
                panic!("no resend");
            };
            assert_eq!(resend.index, 2);
            let mut second = Vec::new();
            b.viewer
                .seal_resend(resend, &packet(TrackId::Video, &[2; 10]), &mut second);
            if rtx {
                assert_eq!(second.len(), first.len() + 2);
                assert_eq!(second[1] & 0x7f, 103);
                assert_eq!(second[4..8], first[4..8], "the timestamp of the original");
                assert_ne!(second[8..12], first[8..12]);
            } else {
                assert_eq!(second, first, "to the last bit, or the key is given away");
            }
        }
    }

    #[test]
    fn resends_have_a_bound_that_refills() {
        let mut b = Bench::ready(true);
        let ssrc = b.ssrc(TrackId::Video);
        let mut out = Vec::new();
        for index in 0..1000 {
            out.clear();
            b.viewer
                .seal_rtp(index, &packet(TrackId::Video, &[7; 10]), &mut out);
        }
        let last = sequence(&out);
        let ask = |b: &mut Bench| {
            for n in 0..40u16 {
                let [h, l] = last.wrapping_sub(n * 17 + 16).to_be_bytes();
                b.rtcp(205, 1, ssrc, &[h, l, 0xff, 0xff]);
            }
            b.events().len()
        };
        // More than may wait are not queued; then no more than a second's worth is left.
        assert_eq!(ask(&mut b), RESENDS_PENDING_MAX);
        assert_eq!(
            ask(&mut b),
            RESENDS_PER_S_MAX as usize - RESENDS_PENDING_MAX
        );
        assert_eq!(ask(&mut b), 0);
        assert_eq!(
            b.viewer.path().resends_refused,
            3 * 680 - u64::from(RESENDS_PER_S_MAX)
        );
        b.now += Duration::from_millis(100);
        assert_eq!(ask(&mut b), RESENDS_PER_S_MAX as usize / 10);
    }

    #[test]
    fn key_frame_requests_are_heard_now_and_then() {
        let mut b = Bench::ready(true);
        let ssrc = b.ssrc(TrackId::Video);
        b.rtcp(206, 1, ssrc, &[]);
        b.rtcp(206, 1, ssrc, &[]);
        assert_eq!(b.events(), [Event::KeyFrameRequest]);
        b.now += Duration::from_millis(KEY_FRAME_REQUEST_MS_MIN - 1);
        b.rtcp(206, 1, ssrc, &[]);
        assert_eq!(b.events(), []);
        b.now += Duration::from_millis(1);
        b.rtcp(206, 4, 0, &[ssrc.to_be_bytes(), [1, 0, 0, 0]].concat());
        assert_eq!(b.events(), [Event::KeyFrameRequest]);
    }

    #[test]
    fn reports_tie_both_tracks_to_one_clock() {
        let mut b = Bench::ready(true);
        let mut out = Vec::new();
        b.viewer
            .seal_rtp(0, &packet(TrackId::Video, &[7; 10]), &mut out);
        b.viewer
            .seal_rtp(0, &packet(TrackId::Audio, &[7; 10]), &mut out);
        let wall = WallClock {
            at: b.now,
            unix_ms: 1_000_500,
        };
        b.viewer.set_clock(b.now, &wall, MediaTime(90_000));
        let due = b.viewer.next_deadline().expect("a report is due");
        assert!(due <= b.now);
        b.now += Duration::from_millis(250);
        let mut sent = Vec::new();
        b.viewer.handle_timeout(b.now, &mut |to, d| {
            assert_eq!(to, at(1));
            sent.push(d.to_vec());
        });
        assert_eq!(b.viewer.next_deadline(), Some(b.now + REPORT_INTERVAL));
        let compound = b.opener.open_rtcp(&mut sent[0]).expect("ours").to_vec();
        let (video, audio) = (&compound[..28], &compound[28..56]);
        let word =
            |b: &[u8], at: usize| u32::from_be_bytes([b[at], b[at + 1], b[at + 2], b[at + 3]]);
        for (sr, track, media) in [
            (video, TrackId::Video, 112_500),
            (audio, TrackId::Audio, 10_000),
        ] {
            let sender = b.viewer.sender(track).expect("agreed");
            assert_eq!((sr[1], word(sr, 4)), (200, sender.ssrcs.media));
            assert_eq!(u64::from(word(sr, 8)), NTP_UNIX_S + 1000);
            assert_eq!(word(sr, 12) >> 30, 3, "a half and a quarter of a second");
            assert_eq!(word(sr, 16).wrapping_sub(sender.timestamp_offset), media);
            assert_eq!((word(sr, 20), word(sr, 24)), (1, 12));
        }
        assert_eq!(compound[57], 202);

        // The receiver's report gives the round trip: it answers that SR after 100 ms, 30 ms on the way.
        let middle = word(video, 8) << 16 | word(video, 12) >> 16;
        let mut rr = vec![0x81, 201, 0, 7, 0, 0, 0, 9];
        rr.extend_from_slice(&b.ssrc(TrackId::Video).to_be_bytes());
        rr.extend_from_slice(&[13, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
        rr.extend_from_slice(&middle.to_be_bytes());
        rr.extend_from_slice(&6554u32.to_be_bytes());
        b.sealer.seal_rtcp(&mut rr, 0, 9);
        b.now += Duration::from_millis(130);
        b.feed(at(1), &rr);
        let path = *b.viewer.path();
        assert_eq!(path.fraction_lost, 13);
        let rtt = path.rtt.expect("measured").as_micros();
        assert!((29_900..30_100).contains(&rtt), "{rtt}");
        // A replayed report is refused and counted.
        b.feed(at(1), &rr);
        assert_eq!(b.viewer.path().rtcp_refused, 1);
    }

    #[test]
    fn silence_ends_it() {
        let mut b = Bench::ready(true);
        let end = b.now + Duration::from_secs(ICE_SILENCE_S_MAX);
        assert_eq!(b.viewer.next_deadline(), Some(end));
        b.viewer
            .handle_timeout(end - Duration::from_millis(1), &mut |_, _| ());
        assert!(b.viewer.is_ready());
        b.viewer.handle_timeout(end, &mut |_, _| ());
        assert_eq!(b.viewer.closed(), Some(&CloseReason::Silence));
        assert_eq!(
            (b.viewer.next_deadline(), b.viewer.is_ready()),
            (None, false)
        );
    }

    #[test]
    fn dtls_can_end_it_and_so_can_we() {
        let mut b = Bench::ready(true);
        b.feed(at(1), &[21]);
        assert_eq!(b.viewer.closed(), Some(&CloseReason::PeerClosed));
        let mut b = Bench::ready(true);
        b.feed(at(1), &[22]);
        assert_eq!(
            b.viewer.closed(),
            Some(&CloseReason::Dtls(DtlsError::Fingerprint))
        );
        let mut b = Bench::ready(true);
        let mut sent = Vec::new();
        b.viewer.close(b.now, &mut |_, d| sent.push(d.to_vec()));
        assert_eq!(sent.len(), 2);
        let bye = b.opener.open_rtcp(&mut sent[0]).expect("ours");
        assert_eq!((bye[1], bye[9]), (201, 203));
        assert_eq!(sent[1], b"\x15bye");
        assert_eq!(b.viewer.closed(), Some(&CloseReason::Local));
        // Nothing more comes of it.
        b.viewer.close(b.now, &mut |_, _| panic!("closed"));
        let check = b.check(true);
        assert_eq!(b.feed(at(1), &check), (Handled::default(), vec![]));
    }

    #[test]
    fn noise_from_the_peers_address_changes_nothing() {
        let mut b = Bench::ready(true);
        let mut state = 9u64;
        let mut random = move || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 33) as u8
        };
        for len in (0..1500).step_by(7) {
            let mut noise: Vec<u8> = (0..len).map(|_| random()).collect();
            if let [first, second, ..] = &mut noise[..] {
                *first = 128 + (*first & 63);
                *second = 192 + (*second & 31);
            }
            let from = at(1 + u16::from(random() & 1));
            assert_eq!(b.feed(from, &noise), (Handled::default(), vec![]));
        }
        assert!(b.viewer.is_ready() && b.events().is_empty());
    }
}
