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

    /// Restarts ICE (RFC 8445, 9): `ufrag` comes from [`super::Router::restart`], `seed` makes the password. The old
    /// credentials hold until a check shows the new ones; keys and streams stay as they are.
    pub fn restart(&mut self, ufrag: String, remote_ufrag: &str, seed: [u8; 32]) -> Credentials {
        let credentials = Credentials {
            ufrag: ufrag.into(),
            password: password(&mut ChaCha20Rng::from_seed(seed)),
        };
        self.agent.restart(credentials.clone(), remote_ufrag);
        credentials
    }

    /// Whether no check has shown the credentials of the last restart yet.
    pub fn is_restarting(&self) -> bool {
        self.agent.is_restarting()
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
mod tests;
