//! The ring of a stream's last frames: from the newest key frame on, so that whoever comes late starts at once.
//!
//! The writer knows no reader: renditions are fed the frames as they come and, when they are made, the ring. At a key frame
//! everything before it goes. A group of pictures that outgrows the bound is given up whole: late comers then wait for the
//! next key frame, and it is counted.
//!
//! Bounds: bytes by the caller's budget, frames by [`limits::HUB_FRAMES_MAX`].

use std::collections::VecDeque;

use super::frame::{Frame, Track, TrackId};
use crate::limits;

/// Tracks and last frames of one stream.
#[derive(Debug)]
pub struct Hub {
    video: Option<Track>,
    audio: Option<Track>,
    ring: VecDeque<Frame>,
    bytes: usize,
    bytes_max: usize,
    /// The ring starts with a key frame (or holds sound alone).
    whole: bool,
    /// Bytes of the group of pictures that is open, held or not, and of the one before.
    group: usize,
    last_group: usize,
    /// Groups of pictures given up because they outgrew the ring.
    overflows: u64,
}

impl Hub {
    /// `bytes_max`: payload bytes the ring may hold.
    pub fn new(bytes_max: usize) -> Self {
        Hub {
            video: None,
            audio: None,
            ring: VecDeque::new(),
            bytes: 0,
            bytes_max,
            whole: false,
            group: 0,
            last_group: 0,
            overflows: 0,
        }
    }

    /// Sets or replaces a track. A new picture track empties the ring: its frames need the old parameters.
    pub fn set_track(&mut self, track: Track) {
        match track.id {
            TrackId::Video => {
                if self.video.as_ref() != Some(&track) {
                    self.clear();
                }
                self.video = Some(track);
            }
            TrackId::Audio => self.audio = Some(track),
        }
    }

    /// There is no sound any more: its frames go too.
    pub fn drop_audio(&mut self) -> Option<Track> {
        let audio = self.audio.take()?;
        self.ring.retain(|frame| frame.track != TrackId::Audio);
        self.bytes = self.ring.iter().map(|frame| frame.payload.len()).sum();
        Some(audio)
    }

    /// Who comes late does not begin with what is held, but with the next key frame.
    pub fn forget(&mut self) {
        self.clear();
    }

    pub fn video(&self) -> Option<&Track> {
        self.video.as_ref()
    }

    pub fn audio(&self) -> Option<&Track> {
        self.audio.as_ref()
    }

    /// Picture first.
    pub fn tracks(&self) -> impl Iterator<Item = &Track> {
        self.video.iter().chain(self.audio.iter())
    }

    pub fn push(&mut self, frame: Frame) {
        let starts = match frame.track {
            TrackId::Video => frame.key && !frame.damaged,
            // Without a picture any sound is a start; the ring then keeps the last second or so.
            TrackId::Audio => false,
        };
        if starts {
            self.clear();
            self.whole = true;
            self.last_group = std::mem::take(&mut self.group);
        }
        self.group = self.group.saturating_add(frame.payload.len());
        if self.video.is_none() {
            self.whole = true;
            while self.ring.len() >= limits::HUB_SOUND_FRAMES {
                self.pop();
            }
        }
        if !self.whole {
            return;
        }
        if self.bytes + frame.payload.len() > self.bytes_max
            || self.ring.len() >= limits::HUB_FRAMES_MAX
        {
            self.overflows += 1;
            self.clear();
            return;
        }
        self.bytes += frame.payload.len();
        self.ring.push_back(frame);
    }

    /// Frames from the newest key frame on, oldest first. Empty while there is no place to start.
    pub fn frames(&self) -> impl Iterator<Item = &Frame> {
        self.ring.iter()
    }

    /// A late comer can start now.
    pub fn can_start(&self) -> bool {
        !self.ring.is_empty()
    }

    /// Payload bytes held.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Payload bytes that a whole group of pictures needs, by the last two. Sound alone needs what it holds.
    pub fn need(&self) -> usize {
        match self.video {
            Some(_) => self.group.max(self.last_group),
            None => self.bytes,
        }
    }

    pub fn set_bytes_max(&mut self, bytes_max: usize) {
        self.bytes_max = bytes_max;
    }

    pub fn overflows(&self) -> u64 {
        self.overflows
    }

    fn clear(&mut self) {
        self.ring.clear();
        self.bytes = 0;
        self.whole = false;
    }

    fn pop(&mut self) {
        if let Some(old) = self.ring.pop_front() {
            self.bytes -= old.payload.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use bytes::Bytes;

    use super::*;
    use crate::media::frame::{AudioParams, Codec, Params, VideoParams};
    use crate::time::MediaTime;

    fn track(id: TrackId) -> Track {
        match id {
            TrackId::Video => Track {
                id,
                codec: Codec::H264,
                params: Params::Video(VideoParams::default()).into(),
            },
            TrackId::Audio => {
                let params = AudioParams {
                    sample_rate: 8000,
                    channels: 1,
                    config: Bytes::new(),
                };
                Track {
                    id,
                    codec: Codec::G711A,
                    params: Params::Audio(params).into(),
                }
            }
        }
    }

    fn frame(track: TrackId, key: bool, dts: i64, len: usize) -> Frame {
        let payload = Bytes::from(vec![0; len]);
        Frame {
            track,
            dts: MediaTime(dts),
            pts: MediaTime(dts),
            key,
            damaged: false,
            payload,
            received: Instant::now(),
        }
    }

    fn hub(bytes_max: usize) -> Hub {
        let mut hub = Hub::new(bytes_max);
        hub.set_track(track(TrackId::Video));
        hub.set_track(track(TrackId::Audio));
        hub
    }

    #[test]
    fn the_ring_starts_at_the_newest_key_frame() {
        let mut hub = hub(1000);
        hub.push(frame(TrackId::Video, false, 0, 10));
        hub.push(frame(TrackId::Audio, true, 0, 10));
        assert!(!hub.can_start());
        for dts in 0..6 {
            hub.push(frame(TrackId::Video, dts % 3 == 0, dts, 10));
            hub.push(frame(TrackId::Audio, true, dts, 1));
        }
        let dts: Vec<i64> = hub
            .frames()
            .filter(|f| f.track == TrackId::Video)
            .map(|f| f.dts.0)
            .collect();
        assert_eq!(dts, [3, 4, 5]);
        assert_eq!(hub.bytes(), 33);
    }

    #[test]
    fn a_group_that_outgrows_the_ring_is_given_up_whole() {
        let mut hub = hub(100);
        hub.push(frame(TrackId::Video, true, 0, 60));
        hub.push(frame(TrackId::Video, false, 1, 40));
        assert_eq!(hub.bytes(), 100);
        hub.push(frame(TrackId::Video, false, 2, 1));
        assert!(!hub.can_start());
        assert_eq!((hub.bytes(), hub.overflows()), (0, 1));
        hub.push(frame(TrackId::Video, false, 3, 1));
        assert!(!hub.can_start());
        assert_eq!(hub.need(), 102, "what it would take");
        hub.push(frame(TrackId::Video, true, 4, 100));
        assert!(hub.can_start());
    }

    #[test]
    fn a_damaged_key_frame_is_no_start() {
        let mut hub = hub(100);
        hub.push(Frame {
            damaged: true,
            ..frame(TrackId::Video, true, 0, 1)
        });
        assert!(!hub.can_start());
    }

    #[test]
    fn sound_alone_keeps_its_last_frames() {
        let mut hub = Hub::new(1 << 20);
        hub.set_track(track(TrackId::Audio));
        for dts in 0..200 {
            hub.push(frame(TrackId::Audio, true, dts, 1));
        }
        assert_eq!(hub.frames().count(), limits::HUB_SOUND_FRAMES);
    }

    #[test]
    fn new_parameters_empty_the_ring() {
        let mut hub = hub(100);
        hub.push(frame(TrackId::Video, true, 0, 1));
        let params = Params::Video(VideoParams {
            width: 640,
            ..VideoParams::default()
        });
        hub.set_track(Track {
            id: TrackId::Video,
            codec: Codec::H264,
            params: params.into(),
        });
        assert!(!hub.can_start());
    }
}
