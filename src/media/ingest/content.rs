//! The elementary streams of one source and where their frames go: picture and sound on one time line.

use super::picture::{self, Origin, Picture, Times};
use super::sound::{self, Sound};
use super::{Fact, Output, Sink, Stats};
use crate::media::frame::{Codec, Frame, TrackId};
use crate::media::ps::demux::{self, Pes};
use crate::media::ps::{self, Coding, StreamMap, coding};
use crate::media::timeline::{Stamp, Timeline};

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

    fn lose_picture(&mut self, same_picture: bool) {
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
            tell_video(stream_type, &mut self.content.unsupported_video, self.sink);
        } else {
            tell_audio(stream_type, &mut self.content.unsupported_audio, self.sink);
        }
    }

    pub fn marker(&mut self, at_end_of_unit: bool) {
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

    pub fn finish(&mut self) {
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

    /// One access unit of AAC, the `n`th of its packet.
    pub fn aac_unit(&mut self, config: &[u8], origin: Origin, times: Times, n: usize, unit: &[u8]) {
        let Content {
            sound,
            timeline,
            stats,
            unsupported_audio,
            ..
        } = &mut *self.content;
        let sink = &mut *self.sink;
        let times = if n == 0 { times } else { Times::default() };
        sound.aac_unit(config, origin, times, unit, &mut |made| {
            give_sound(made, timeline, stats, unsupported_audio, sink);
        });
    }

    /// A packet of AAC frames with their headers.
    pub fn adts(&mut self, origin: Origin, times: Times, bytes: &[u8]) {
        let Content {
            sound,
            timeline,
            stats,
            unsupported_audio,
            ..
        } = &mut *self.content;
        let sink = &mut *self.sink;
        let mut put = |made| give_sound(made, timeline, stats, unsupported_audio, sink);
        sound.pes(times, u32::try_from(bytes.len()).ok());
        sound.payload(origin, bytes, &mut put);
        sound.pes_end(&mut put);
    }

    /// Sound in packets of its own.
    pub fn bare_sound(&mut self, codec: Codec, origin: Origin, times: Times, bytes: &[u8]) {
        let Content {
            sound,
            timeline,
            stats,
            unsupported_audio,
            ..
        } = &mut *self.content;
        let sink = &mut *self.sink;
        sound.bare(codec, origin, times, bytes, &mut |made| {
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
            tell_audio(stream_type, unsupported, sink);
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

fn tell_audio(stream_type: u8, told: &mut Option<u8>, sink: &mut impl Sink) {
    if *told != Some(stream_type) {
        *told = Some(stream_type);
        sink.put(Output::Fact(Fact::UnsupportedAudio { stream_type }));
    }
}

fn tell_video(stream_type: u8, told: &mut Option<u8>, sink: &mut impl Sink) {
    if *told != Some(stream_type) {
        *told = Some(stream_type);
        sink.put(Output::Fact(Fact::UnsupportedVideo { stream_type }));
    }
}
