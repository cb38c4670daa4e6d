//! The elementary streams of one source and where their frames go: picture and sound on one time line.

use super::picture::{self, Origin, Picture, Times};
use super::sound::{self, Sound};
use super::{Fact, Output, Sink, Stats};
use crate::media::frame::{Codec, Frame, TrackId};
use crate::media::ps::demux::{self, Pes};
use crate::media::ps::{self, Coding, StreamMap, coding};
use crate::media::timeline::{Stamp, Timeline};
use crate::time::MediaTime;

/// Stream id under which a picture without a container is kept.
const ELEMENTARY_VIDEO: u8 = 0xe0;

/// The elementary streams.
#[derive(Debug)]
pub(super) struct Content {
    pub picture: Picture,
    pub sound: Sound,
    pub timeline: Timeline,
    pub stats: Stats,
    pub origin: Option<Origin>,
    /// The packet at hand held bytes of the picture.
    pub picture_touched: bool,
    pub video_id: Option<u8>,
    pub audio_id: Option<u8>,
    pub unsupported_video: Option<u8>,
    pub unsupported_audio: Option<u8>,
}

impl Content {
    /// The rest of the picture at hand will not come.
    pub fn cut_off(&mut self) {
        self.picture.lose(true, &mut |_| {});
    }

    pub fn new() -> Content {
        Content {
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
        }
    }
}

/// The elementary streams and where their frames go, for the time of one packet.
pub(super) struct Flow<'a, S> {
    pub content: &'a mut Content,
    pub sink: &'a mut S,
}

impl<S: Sink> Flow<'_, S> {
    pub fn lose(&mut self, same_picture: bool) {
        self.lose_picture(same_picture);
        self.content.sound.lose();
    }

    /// The elementary streams, and beside them the way out for what they make.
    fn split(&mut self) -> (&mut Picture, &mut Sound, Out<'_, S>) {
        let content = &mut *self.content;
        let out = Out {
            timeline: &mut content.timeline,
            stats: &mut content.stats,
            unsupported_video: &mut content.unsupported_video,
            unsupported_audio: &mut content.unsupported_audio,
            sink: &mut *self.sink,
        };
        (&mut content.picture, &mut content.sound, out)
    }

    fn lose_picture(&mut self, same_picture: bool) {
        let (picture, _, mut out) = self.split();
        picture.lose(same_picture, &mut |made| out.picture(made));
    }

    /// A packet of an elementary picture begins.
    pub fn picture(&mut self, times: Times) {
        self.content.video_id.get_or_insert(ELEMENTARY_VIDEO);
        self.content.picture.pes(times);
    }

    /// A piece of it.
    pub fn picture_piece(&mut self, bytes: &[u8]) {
        if let Some(stream_id) = self.content.video_id {
            demux::Sink::payload(self, stream_id, bytes);
        }
    }

    /// The payload is known and not supported, by its number in a program stream map.
    pub fn unsupported(&mut self, stream_type: u8) {
        if ps::is_video_type(stream_type) {
            self.content.video_id.get_or_insert(ELEMENTARY_VIDEO);
            self.split().2.unsupported_video(stream_type);
        } else {
            self.split().2.unsupported_audio(stream_type);
        }
    }

    pub fn marker(&mut self, at_end_of_unit: bool) {
        let (picture, _, mut out) = self.split();
        if at_end_of_unit {
            picture.marker(&mut |made| out.picture(made));
        } else {
            picture.distrust_marker();
        }
    }

    pub fn finish(&mut self) {
        let (picture, sound, mut out) = self.split();
        picture.finish(&mut |made| out.picture(made));
        sound.pes_end(&mut |made| out.sound(made));
    }

    /// One access unit of AAC, the `n`th of its packet.
    pub fn aac_unit(&mut self, config: &[u8], origin: Origin, times: Times, n: usize, unit: &[u8]) {
        let (_, sound, mut out) = self.split();
        let times = if n == 0 { times } else { Times::default() };
        sound.aac_unit(config, origin, times, unit, &mut |made| out.sound(made));
    }

    /// A packet of AAC frames with their headers.
    pub fn adts(&mut self, origin: Origin, times: Times, bytes: &[u8]) {
        let (_, sound, mut out) = self.split();
        let mut put = |made| out.sound(made);
        sound.pes(times, u32::try_from(bytes.len()).ok());
        sound.payload(origin, bytes, &mut put);
        sound.pes_end(&mut put);
    }

    /// Sound in packets of its own.
    pub fn bare_sound(&mut self, codec: Codec, origin: Origin, times: Times, bytes: &[u8]) {
        let (_, sound, mut out) = self.split();
        sound.bare(codec, origin, times, bytes, &mut |made| out.sound(made));
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
                    self.split().2.unsupported_video(stream_type);
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
        let Some(origin) = self.content.origin else {
            return;
        };
        let is_video = ps::is_video(stream_id);
        self.content.picture_touched |= is_video;
        let (picture, sound, mut out) = self.split();
        if is_video {
            picture.payload(origin, bytes, &mut |made| out.picture(made));
        } else {
            sound.payload(origin, bytes, &mut |made| out.sound(made));
        }
    }

    fn hole(&mut self, stream_id: u8) {
        if ps::is_video(stream_id) {
            self.lose_picture(true);
        } else {
            self.content.sound.lose();
        }
    }

    fn pes_end(&mut self, stream_id: u8) {
        if ps::is_video(stream_id) || !self.follows(stream_id) {
            return;
        }
        let (_, sound, mut out) = self.split();
        sound.pes_end(&mut |made| out.sound(made));
    }

    fn error(&mut self, error: demux::Error) {
        self.content.stats.ps_errors += 1;
        self.content.stats.ps_errors_by_kind[error as usize] += 1;
    }
}

/// Where whole frames go: counted, placed on the one time line, and on to the sink.
struct Out<'a, S> {
    timeline: &'a mut Timeline,
    stats: &'a mut Stats,
    unsupported_video: &'a mut Option<u8>,
    unsupported_audio: &'a mut Option<u8>,
    sink: &'a mut S,
}

impl<S: Sink> Out<'_, S> {
    fn picture(&mut self, made: picture::Made) {
        match made {
            picture::Made::Track(track) => {
                let rate = track.video().and_then(|video| video.fps_milli);
                self.timeline.set_frame_rate(rate);
                self.sink.put(Output::Track(track));
            }
            picture::Made::Dropped => self.stats.dropped_frames += 1,
            picture::Made::Foreign(stream_type) => self.unsupported_video(stream_type),
            picture::Made::Unit(unit) => {
                self.stats.frames += 1;
                self.stats.key_frames += u64::from(unit.key);
                self.stats.damaged_frames += u64::from(unit.damaged);
                let (dts, pts) = self.place(TrackId::Video, unit.times, unit.origin, None);
                self.sink.put(Output::Frame(Frame {
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

    fn sound(&mut self, made: sound::Made) {
        match made {
            sound::Made::Track(track) => self.sink.put(Output::Track(track)),
            sound::Made::Unsupported(stream_type) => self.unsupported_audio(stream_type),
            sound::Made::Piece(piece) => {
                self.stats.damaged_frames += u64::from(piece.damaged);
                let duration = Some(piece.duration);
                let (dts, pts) = self.place(TrackId::Audio, piece.times, piece.origin, duration);
                self.sink.put(Output::Frame(Frame {
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

    /// Decoding and presentation time. `duration`: ticks of 1/90,000 s, where the content tells it.
    fn place(
        &mut self,
        track: TrackId,
        times: Times,
        origin: Origin,
        duration: Option<i64>,
    ) -> (MediaTime, MediaTime) {
        let stamp = Stamp {
            pts: times.pts,
            dts: times.dts,
            rtp: origin.rtp,
            received: origin.received,
            duration,
        };
        self.timeline.place(track, &stamp)
    }

    /// Tells it once, until another one comes.
    fn unsupported_video(&mut self, stream_type: u8) {
        if self.unsupported_video.replace(stream_type) != Some(stream_type) {
            let fact = Fact::UnsupportedVideo { stream_type };
            self.sink.put(Output::Fact(fact));
        }
    }

    /// Tells it once, until another one comes.
    fn unsupported_audio(&mut self, stream_type: u8) {
        if self.unsupported_audio.replace(stream_type) != Some(stream_type) {
            let fact = Fact::UnsupportedAudio { stream_type };
            self.sink.put(Output::Fact(fact));
        }
    }
}
