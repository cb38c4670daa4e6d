//! RTP payloads of a stream for its WebRTC viewers: the rendition, and the rings from which it is sent and sent again.
//!
//! Bounds: [`limits::RTP_RING_PACKETS_MAX`], [`limits::RTP_RING_BYTES_MAX`], [`limits::RTP_SOUND_PACKETS_MAX`].

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::egress::rtp::{Packetizer, RtpPayload};
use crate::limits;
use crate::media::frame::{Frame, TrackId};
use crate::time::{MediaTime, TICKS_PER_SECOND, earliest};

/// RTP payloads of a stream, made once for all WebRTC viewers of this thread.
#[derive(Default)]
pub(in crate::net) struct RtpFan {
    pub(super) packetizer: Option<Packetizer>,
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

    pub(super) fn packetize(
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
/// misses it. Of pictures the newest group, and [`limits::RTP_SLACK_MS`] before the newest packet.
#[derive(Debug, Default)]
pub(in crate::net) struct PayloadRing {
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
        let (track, newest) = (payload.track, payload.timestamp);
        self.bytes += payload.len();
        self.payloads.push_back(payload);
        while let Some(oldest) = self.payloads.front() {
            let over = match track {
                TrackId::Video => {
                    self.payloads.len() > limits::RTP_RING_PACKETS_MAX
                        || self.bytes > limits::RTP_RING_BYTES_MAX
                }
                TrackId::Audio => self.payloads.len() > limits::RTP_SOUND_PACKETS_MAX,
            };
            if !over && !self.is_past(oldest, newest) {
                return;
            }
            self.bytes -= oldest.len();
            self.payloads.pop_front();
            if self.newest_key == Some(self.first) {
                self.newest_key = None;
            }
            self.first += 1;
        }
    }

    /// Nobody starts at the oldest picture any more, and nobody asks for it again.
    fn is_past(&self, oldest: &RtpPayload, newest: u32) -> bool {
        const SLACK: i32 = (limits::RTP_SLACK_MS * TICKS_PER_SECOND as u64 / 1000) as i32;
        // The clock of pictures is that of the time line, in 32 bits that wrap.
        oldest.track == TrackId::Video
            && newest.wrapping_sub(oldest.timestamp).cast_signed() > SLACK
            && self.newest_key.is_none_or(|key| self.first < key)
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

    fn picture(timestamp: u32, key: bool) -> RtpPayload {
        let mut one = payload(TrackId::Video).remove(0);
        (one.timestamp, one.key) = (timestamp, key);
        one
    }

    #[test]
    fn pictures_are_kept_for_who_starts_and_for_who_misses_one() {
        const STEP: u32 = 3_600;
        let in_slack = (limits::RTP_SLACK_MS * 90 / u64::from(STEP)) as usize;
        // The time stamps wrap on the way.
        let start = u32::MAX - 40 * STEP;
        let mut ring = PayloadRing::default();
        let push = |ring: &mut PayloadRing, n: u32, key| {
            ring.push(picture(start.wrapping_add(n * STEP), key));
        };
        push(&mut ring, 0, true);
        (1..100).for_each(|n| push(&mut ring, n, false));
        assert_eq!((ring.first(), ring.newest_key()), (0, Some(0)), "its group");
        push(&mut ring, 100, true);
        assert_eq!(ring.payloads.len(), in_slack + 1);
        assert_eq!(ring.newest_key(), Some(100));
        (101..300).for_each(|n| push(&mut ring, n, false));
        assert_eq!(ring.first(), 100);
        assert_eq!(ring.bytes, 200 * 320);

        let mut sound = PayloadRing::default();
        for _ in 0..limits::RTP_SOUND_PACKETS_MAX + 1 {
            sound.push(payload(TrackId::Audio).remove(0));
        }
        assert_eq!(
            (sound.first(), sound.payloads.len()),
            (1, limits::RTP_SOUND_PACKETS_MAX)
        );
    }

    #[test]
    fn a_group_that_outgrows_the_ring_is_cut_at_its_start() {
        let mut ring = PayloadRing::default();
        ring.push(picture(0, true));
        for n in 1..=limits::RTP_RING_PACKETS_MAX as u32 {
            ring.push(picture(n, false));
        }
        assert_eq!((ring.first(), ring.newest_key()), (1, None));
        let mut large = picture(0, true);
        large.body = vec![0; limits::RTP_RING_BYTES_MAX / 2].into();
        (0..3).for_each(|_| ring.push(large.clone()));
        assert_eq!(ring.payloads.len(), 2);
        ring.push(picture(0, false));
        assert_eq!(
            ring.payloads.len(),
            2,
            "the bytes of both and one more do not fit"
        );
    }
}
