//! Packets in their place to the elementary streams: what each payload type holds, and its way there.
//!
//! A *lane* is one payload type of the source. What it holds is decided from its packets ([`super::payload`]) and decided
//! anew when they begin to look otherwise. Until a lane is decided its packets are searched for a program stream, which is
//! what nearly every source sends.
//!
//! A source may send its picture in one lane and its sound in another: G.711 beside a program stream is the usual case.
//! All lanes share one run of sequence numbers.
//!
//! Bounds: [`limits::PAYLOAD_TYPES_MAX`] lanes; looks until a decision [`limits::PAYLOAD_LOOKS_MIN`], until another one
//! [`limits::PAYLOAD_LOOKS_TO_CHANGE_MIN`].

use smallvec::SmallVec;

use super::content::{Content, Flow};
use super::es::{AacUnits, Nals};
use super::payload::{Kind, Look, RtpMap, RtpMaps, look};
use super::picture::{Origin, Times};
use super::{Fact, Output, Sink};
use crate::limits;
use crate::media::codec::g722;
use crate::media::frame::Codec;
use crate::media::jitter::Delivery;
use crate::media::ps::demux::Demux;
use crate::media::rtp::Packet;
use crate::media::ts;
use crate::time::TICKS_PER_SECOND;

/// Packets without a new unit after which a program stream's packets are looked at again: usual pictures are shorter.
const QUIET_PACKETS: u8 = 8;
/// Packets of a static payload type that must not look like a container before the type is believed.
const STATIC_LOOKS_MIN: u8 = 3;
/// Bytes of a packet of sound, at most: half a second of G.711 and no packet of a container.
const SOUND_PACKET_BYTES_MAX: usize = 1_200;
/// A sure look counts as so many likely ones.
const SURE: u8 = 8;
const TIME_MASK: u64 = (1 << 33) - 1;

/// Everything behind the reordering.
#[derive(Debug)]
pub(super) struct Stream {
    pub content: Content,
    maps: RtpMaps,
    /// The same from one who may be wrong.
    hints: RtpMaps,
    lanes: SmallVec<[Lane; limits::PAYLOAD_TYPES_MAX]>,
    ps: Demux,
    ts: ts::Demux,
    nals: Nals,
    aac: AacUnits,
    /// RTP time of the last packet that was not of a lane of sound.
    rtp: Option<u32>,
    packets: u64,
    /// The next packet is the first of another sender: what is open, and what refers to it, misses something.
    sender_changed: bool,
    first_unit_told: bool,
    unknown_told: bool,
}

/// One payload type.
#[derive(Debug)]
struct Lane {
    payload_type: u8,
    kind: Option<Kind>,
    /// What the type says by itself, or was hinted at.
    by_type: Option<RtpMap>,
    /// What its packets looked like lately, against what is believed, and how much that weighs.
    candidate: Option<Kind>,
    weight: u8,
    /// Packets since the program stream's last unit, or since the lane began.
    quiet: u8,
    clock: Clock,
}

/// What to do with a packet.
#[derive(Clone, Copy, Debug)]
enum Take {
    As(Kind),
    /// Its lane is not decided: a program stream is searched in it.
    Search,
    /// It is empty, or looks like what is not decided yet and must not be searched.
    Nothing,
}

/// A lane's RTP time as 33-bit time at 90 kHz.
#[derive(Debug, Default)]
struct Clock {
    hz: u32,
    last: Option<(u16, u32)>,
    ticks: u64,
    /// How long the sound of the last packet lasts, in ticks of 1/90,000 s.
    lasts: i64,
    /// Packets in a row that lie apart as those of G.722.1 do, were they G.722.
    slow: u8,
}

impl Stream {
    /// The stream ends here: a picture in whose PES it ends misses the rest.
    pub fn cut_off(&mut self) {
        if self.ps.is_inside_pes() {
            self.content.cut_off();
        }
    }

    pub fn new(maps: RtpMaps) -> Stream {
        Stream {
            content: Content::new(),
            maps,
            hints: RtpMaps::default(),
            lanes: SmallVec::new(),
            ps: Demux::new(),
            ts: ts::Demux::new(),
            nals: Nals::default(),
            aac: AacUnits::default(),
            rtp: None,
            packets: 0,
            sender_changed: false,
            first_unit_told: false,
            unknown_told: false,
        }
    }

    /// Hints count for types whose packets are still to come, or are not decided.
    pub fn set_hints(&mut self, hints: RtpMaps) {
        self.hints = hints;
        for lane in self.lanes.iter_mut().filter(|l| l.kind.is_none()) {
            if let Some(hint) = find(&hints, lane.payload_type) {
                lane.by_type = Some(*hint);
                lane.clock.hz = hint.clock_hz;
            }
        }
    }

    /// Another sender's packets follow.
    pub fn change_sender(&mut self) {
        self.lose(false);
        self.content.sound.lose();
        self.rtp = None;
        self.sender_changed = true;
        for lane in &mut self.lanes {
            lane.clock.last = None;
        }
    }

    fn lose(&mut self, same_picture: bool) {
        self.ps.lose(same_picture);
        self.ts.lose();
        self.nals.lose();
        self.aac.lose();
    }

    /// Takes a packet in its place.
    pub fn take(&mut self, delivery: &Delivery<'_>, sink: &mut impl Sink) {
        let Ok(packet) = Packet::parse_any_version(delivery.packet) else {
            return;
        };
        self.packets += 1;
        let changed = std::mem::take(&mut self.sender_changed);
        if delivery.lost > 0 || changed {
            let same = !delivery.restart && !changed && self.rtp == Some(packet.timestamp());
            self.lose(same);
            self.flow(sink).lose(same);
        }
        let at = self.lane(packet.payload_type());
        let take = self.decide(at, packet.payload(), sink);
        let origin = Origin {
            received: delivery.received,
            rtp: Some(packet.timestamp()),
        };
        match take {
            Take::As(kind) if kind.is_sound() => self.take_sound(at, kind, &packet, origin, sink),
            Take::As(Kind::Unsupported(stream_type)) => self.flow(sink).unsupported(stream_type),
            Take::Nothing => {}
            Take::As(_) | Take::Search => {
                self.rtp = Some(packet.timestamp());
                self.content.origin = Some(origin);
                self.content.picture_touched = false;
                self.take_picture(at, take, &packet, sink);
            }
        }
        if !self.first_unit_told {
            self.tell_first(take, sink);
        }
    }

    fn flow<'a, S: Sink>(&'a mut self, sink: &'a mut S) -> Flow<'a, S> {
        Flow {
            content: &mut self.content,
            sink,
        }
    }

    /// The place of a payload type's lane. One too many takes the place of the oldest that is not decided, or of the oldest.
    #[inline]
    fn lane(&mut self, payload_type: u8) -> usize {
        match self
            .lanes
            .iter()
            .position(|l| l.payload_type == payload_type)
        {
            Some(at) => at,
            None => self.add_lane(payload_type),
        }
    }

    #[cold]
    fn add_lane(&mut self, payload_type: u8) -> usize {
        if self.lanes.len() == limits::PAYLOAD_TYPES_MAX {
            let undecided = self.lanes.iter().position(|l| l.kind.is_none());
            self.lanes.remove(undecided.unwrap_or(0));
        }
        let declared = find(&self.maps, payload_type);
        let hint = find(&self.hints, payload_type).copied();
        let by_type = hint.or_else(|| RtpMap::of_type(payload_type));
        let clock_hz = declared
            .or(by_type.as_ref())
            .map_or(TICKS_PER_SECOND as u32, |m| m.clock_hz);
        self.lanes.push(Lane {
            payload_type,
            kind: declared.map(|m| m.kind),
            by_type: declared.is_none().then_some(by_type).flatten(),
            candidate: None,
            weight: 0,
            quiet: 0,
            clock: Clock {
                hz: clock_hz,
                ..Clock::default()
            },
        });
        let at = self.lanes.len() - 1;
        if let Some(kind) = self.lanes[at].kind {
            self.declare(kind);
        }
        at
    }

    /// What a lane's packet is to be taken for.
    #[inline]
    fn decide(&mut self, at: usize, payload: &[u8], sink: &mut impl Sink) -> Take {
        let lane = &self.lanes[at];
        match lane.kind {
            Some(kind @ Kind::Ps { .. }) if lane.quiet < QUIET_PACKETS => Take::As(kind),
            Some(_) | None if payload.is_empty() => Take::Nothing,
            Some(_) | None => self.reconsider(at, payload, sink),
        }
    }

    fn reconsider(&mut self, at: usize, payload: &[u8], sink: &mut impl Sink) -> Take {
        let look = look(payload);
        let has_container = self
            .lanes
            .iter()
            .any(|l| matches!(l.kind, Some(Kind::Ps { .. } | Kind::Ts)));
        let lane = &mut self.lanes[at];
        let verdict = match (look, lane.kind) {
            (Look::Sure(kind) | Look::Likely(kind), Some(old)) if kind.is_like(old) => {
                (lane.candidate, lane.weight) = (None, 0);
                None
            }
            (Look::Sure(kind @ Kind::Ps { .. }), _) => Some(kind),
            // Sound has no sign of its own, so that anything may look like a picture.
            (_, Some(Kind::Samples(_) | Kind::Unsupported(_))) => None,
            // Packets of a program stream may begin at the NAL units of a long picture.
            (Look::Sure(Kind::AnnexB) | Look::Likely(Kind::AnnexB), Some(Kind::Ps { .. }))
                if lane.quiet < u8::MAX =>
            {
                None
            }
            (Look::Sure(kind), None) if lane.by_type.is_none() => Some(kind),
            (Look::Sure(kind), old) => lane.weigh(kind, SURE, old),
            (Look::Likely(kind), old) => lane.weigh(kind, 1, old),
            (Look::Nothing, _) => {
                (lane.candidate, lane.weight) = (None, 0);
                None
            }
        };
        let verdict = verdict.or_else(|| lane.trust_type(look, payload, has_container));
        if let Some(kind) = verdict {
            self.settle(at, kind, sink);
        }
        let lane = &self.lanes[at];
        match (lane.kind, lane.candidate) {
            (Some(kind), _) => Take::As(kind),
            // The packets of a transport stream hold start codes, so that they would be taken for a program stream.
            (None, Some(Kind::Ts)) => Take::Nothing,
            (None, Some(_) | None) => Take::Search,
        }
    }

    /// A lane is something from now on. What was open of what it was ends.
    #[cold]
    fn settle(&mut self, at: usize, kind: Kind, sink: &mut impl Sink) {
        let lane = &mut self.lanes[at];
        let old = lane.kind.replace(kind);
        (lane.candidate, lane.weight, lane.quiet) = (None, 0, 0);
        if old.is_some_and(|old| !old.is_sound()) {
            self.flow(sink).lose(false);
            self.lose(false);
            self.ts = ts::Demux::new();
            self.content.video_id = None;
            self.content.audio_id = None;
            self.content.sound.declare(0);
        }
        self.declare(kind);
    }

    fn declare(&mut self, kind: Kind) {
        if kind == Kind::Adts {
            self.content.sound.declare(0x0f);
        }
    }

    fn take_picture(&mut self, at: usize, take: Take, packet: &Packet<'_>, sink: &mut impl Sink) {
        let payload = packet.payload();
        let before = self.ps.units();
        match take {
            Take::Nothing => {}
            Take::Search => {
                // Beside a container that is known a lane that is not would only disturb it.
                if !self.lanes.iter().any(|l| l.kind.is_some()) {
                    self.take_ps(payload, packet.marker(), sink);
                }
                if self.ps.units() > before {
                    self.lanes[at].kind = Some(Kind::Ps { private: false });
                }
            }
            Take::As(Kind::Ps { private }) => {
                let skip = usize::from(private && payload.first() == Some(&0x0d));
                self.take_ps(&payload[skip..], packet.marker(), sink);
            }
            Take::As(Kind::Ts) => {
                let mut flow = Flow {
                    content: &mut self.content,
                    sink,
                };
                self.ts.push(payload, &mut flow);
            }
            Take::As(kind) => self.take_nals(at, kind, packet, sink),
        }
        let lane = &mut self.lanes[at];
        lane.quiet = if self.ps.units() > before {
            0
        } else {
            lane.quiet.saturating_add(1)
        };
    }

    fn take_ps(&mut self, payload: &[u8], marker: bool, sink: &mut impl Sink) {
        let mut flow = Flow {
            content: &mut self.content,
            sink,
        };
        self.ps.push(payload, &mut flow);
        if marker && flow.content.picture_touched {
            flow.marker(self.ps.at_end_of_unit());
        }
    }

    fn take_nals(&mut self, at: usize, kind: Kind, packet: &Packet<'_>, sink: &mut impl Sink) {
        let pts = self.lanes[at].clock.pts(packet, 0);
        let mut flow = Flow {
            content: &mut self.content,
            sink,
        };
        flow.picture(Times { pts, dts: None });
        let payload = packet.payload();
        let mut put = |bytes: &[u8]| flow.picture_piece(bytes);
        let ends = match kind {
            Kind::H264 => self.nals.push_h264(payload, &mut put),
            Kind::H265 => self.nals.push_h265(payload, &mut put),
            _ => {
                put(payload);
                true
            }
        };
        if packet.marker() && ends {
            flow.marker(true);
        }
    }

    fn take_sound(
        &mut self,
        at: usize,
        kind: Kind,
        packet: &Packet<'_>,
        origin: Origin,
        sink: &mut impl Sink,
    ) {
        let payload = packet.payload();
        // A sound's RTP clock is its own: its times are made of it here, and the picture's are not.
        let origin = Origin {
            rtp: None,
            ..origin
        };
        let lasts = match kind {
            Kind::Samples(codec) => super::sound::duration_ticks(codec, payload.len()),
            _ => 0,
        };
        let times = Times {
            pts: self.lanes[at].clock.pts(packet, lasts),
            dts: None,
        };
        let lane = &self.lanes[at];
        if lane.by_type.is_some()
            && kind == Kind::Samples(Codec::G722)
            && lane.clock.slow >= STATIC_LOOKS_MIN
        {
            self.settle(at, Kind::Unsupported(0x92), sink);
            return;
        }
        let mut flow = Flow {
            content: &mut self.content,
            sink,
        };
        match kind {
            Kind::Samples(codec) => flow.bare_sound(codec, origin, times, payload),
            Kind::Aac(format) => {
                self.aac
                    .push(&format, payload, packet.marker(), &mut |n, unit| {
                        flow.aac_unit(format.config(), origin, times, n, unit);
                    });
            }
            _ => flow.adts(origin, times, payload),
        }
    }

    #[cold]
    fn tell_first(&mut self, take: Take, sink: &mut impl Sink) {
        let found = match take {
            Take::As(Kind::Ps { .. }) | Take::Search => self.ps.units() > 0,
            Take::As(Kind::Ts) => self.ts.packets() > 0,
            Take::As(Kind::Unsupported(_)) | Take::Nothing => false,
            Take::As(_) => true,
        };
        if found {
            self.first_unit_told = true;
            sink.put(Output::Fact(Fact::FirstPs));
        } else if self.packets >= limits::NO_PS_PACKETS_MAX && !self.unknown_told {
            self.unknown_told = true;
            sink.put(Output::Fact(Fact::NoProgramStream));
        }
    }
}

fn find(maps: &RtpMaps, payload_type: u8) -> Option<&RtpMap> {
    let mut maps = maps.iter().flatten();
    maps.find(|map| map.payload_type == payload_type)
}

impl Lane {
    /// Counts a look that speaks against what is believed. Gives what it is, once that is enough.
    fn weigh(&mut self, kind: Kind, weight: u8, old: Option<Kind>) -> Option<Kind> {
        if self.candidate.is_some_and(|c| c.is_like(kind)) {
            self.weight = self.weight.saturating_add(weight);
        } else {
            (self.candidate, self.weight) = (Some(kind), weight);
        }
        let enough = match old {
            None => limits::PAYLOAD_LOOKS_MIN,
            Some(_) => limits::PAYLOAD_LOOKS_TO_CHANGE_MIN,
        };
        (self.weight >= enough).then_some(kind)
    }

    /// A static payload type, or a hint, is believed when its packets do not look like a container: at once beside one, which is the
    /// picture then.
    fn trust_type(&mut self, look: Look, payload: &[u8], has_container: bool) -> Option<Kind> {
        let by_type = self.by_type.filter(|_| self.kind.is_none())?;
        let container = matches!(
            look,
            Look::Sure(Kind::Ps { .. } | Kind::Ts) | Look::Likely(Kind::Ps { .. } | Kind::Ts)
        );
        if container || payload.len() > SOUND_PACKET_BYTES_MAX {
            self.quiet = 0;
            return None;
        }
        let enough = has_container || self.quiet.saturating_add(1) >= STATIC_LOOKS_MIN;
        enough.then_some(by_type.kind)
    }
}

impl Kind {
    fn is_sound(self) -> bool {
        matches!(self, Kind::Samples(_) | Kind::Aac(_) | Kind::Adts)
    }

    /// The same way to take packets.
    fn is_like(self, other: Kind) -> bool {
        match (self, other) {
            (Kind::Ps { private: a }, Kind::Ps { private: b }) => a == b,
            (Kind::Aac(_), Kind::Aac(_)) => true,
            (a, b) => a == b,
        }
    }
}

impl Clock {
    /// The packet's time, 33 bits at 90 kHz. `lasts`: of its sound, 0 for a picture. Where consecutive packets of sound lie
    /// apart by 90,000 or 8,000 a second against what was thought, the clock is taken to be that.
    fn pts(&mut self, packet: &Packet<'_>, lasts: i64) -> Option<u64> {
        let (sequence, time) = (packet.sequence(), packet.timestamp());
        if self.hz == 0 {
            return None;
        }
        match self.last {
            None => self.ticks = (1 << 32) + u64::from(time),
            Some((before, last)) => {
                let step = time.wrapping_sub(last) as i32;
                if before.wrapping_add(1) == sequence && self.lasts > 0 && step > 0 {
                    self.learn(step);
                    self.compare(step);
                }
                self.ticks = self.ticks.wrapping_add_signed(i64::from(step));
            }
        }
        self.last = Some((sequence, time));
        self.lasts = lasts;
        let scaled = u128::from(self.ticks) * TICKS_PER_SECOND as u128 / u128::from(self.hz);
        Some(scaled as u64 & TIME_MASK)
    }

    /// G.722.1 at 24 or 32 kbit/s has an RTP clock of 16 kHz and 60 or 80 bytes in 320 ticks, where G.722 has 320 (RFC 5577,
    /// 3; GB/T 28181 gives both the same payload type).
    fn compare(&mut self, step: i32) {
        let bytes = self.lasts * i64::from(g722::BYTES_PER_S) / TICKS_PER_SECOND;
        let step = i64::from(step);
        let slow = bytes * 4 == step || bytes * 16 == step * 3;
        self.slow = if slow { self.slow.saturating_add(1) } else { 0 };
    }

    fn learn(&mut self, step: i32) {
        let fits = |hz: u32| i64::from(step) * TICKS_PER_SECOND == self.lasts * i64::from(hz);
        if !fits(self.hz)
            && let Some(hz) = [8_000, 16_000, TICKS_PER_SECOND as u32]
                .into_iter()
                .find(|hz| fits(*hz))
        {
            self.hz = hz;
        }
    }
}
