//! Sound conversion beside a media thread, so that no encoder can hold a picture back.
//!
//! Each media thread has one of these. It is given sound, converts it in the order of each stream, and gives it back as an
//! order. It runs at a lower priority than media threads. What it cannot keep up with is dropped before it waits: sound that
//! comes late is worth nothing.
//!
//! Bounds: [`limits::SOUND_FRAMES_WAITING_MAX`] frames of one conversion, [`limits::SOUND_JOBS_MAX`] jobs in all. A defect
//! that panics in a codec ends that conversion alone.

use std::collections::HashMap;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use crate::id::StreamId;
use crate::limits;
use crate::media::frame::Frame;
use crate::media::transcode::AudioTranscoder;

/// How much nicer than media threads it is.
const NICENESS: libc::c_int = 5;

/// Turns frames of sound into others.
pub(super) trait Convert: Send {
    fn push(&mut self, frame: &Frame, out: &mut Vec<Frame>);
}

impl Convert for AudioTranscoder {
    fn push(&mut self, frame: &Frame, out: &mut Vec<Frame>) {
        AudioTranscoder::push(self, frame, out);
    }
}

/// Frames that a conversion made.
#[derive(Debug)]
pub(super) struct Made {
    pub stream: StreamId,
    pub conversion: u64,
    pub frames: Vec<Frame>,
}

/// Takes what was made; `false` = nobody can take it now, and it is lost.
pub(super) type Give = Box<dyn Fn(Made) -> bool + Send>;

enum Job {
    Start {
        conversion: u64,
        stream: StreamId,
        convert: Box<dyn Convert>,
        state: Arc<State>,
        /// Sound of the ring, for viewers that start behind.
        backlog: Vec<Frame>,
    },
    Convert {
        conversion: u64,
        frame: Frame,
    },
    /// A conversion ended.
    Sweep,
}

/// What both sides know of a conversion.
#[derive(Debug, Default)]
struct State {
    waiting: AtomicUsize,
    over: AtomicBool,
}

/// The way to a sound thread.
#[derive(Clone, Debug)]
pub(super) struct SoundLink {
    jobs: SyncSender<Job>,
    next: Arc<AtomicUsize>,
    dropped: Arc<AtomicUsize>,
}

impl std::fmt::Debug for Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Job::Start { .. } => "Start",
            Job::Convert { .. } => "Convert",
            Job::Sweep => "Sweep",
        })
    }
}

impl SoundLink {
    /// Starts the thread. It ends with the last link to it.
    pub fn spawn(name: &str, give: Give) -> io::Result<SoundLink> {
        let (jobs, taken) = sync_channel(limits::SOUND_JOBS_MAX);
        std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                // SAFETY: no memory is passed. On Linux it is the priority of this thread alone that changes; failing
                // leaves it as it was.
                unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, NICENESS) };
                run(&taken, &give);
            })?;
        Ok(SoundLink {
            jobs,
            next: Arc::default(),
            dropped: Arc::default(),
        })
    }

    /// Begins a conversion. `None`: the thread has too much to do, or is gone.
    pub fn start(
        &self,
        stream: StreamId,
        convert: Box<dyn Convert>,
        backlog: Vec<Frame>,
    ) -> Option<Conversion> {
        let conversion = self.next.fetch_add(1, Relaxed) as u64;
        let state = Arc::new(State::default());
        let job = Job::Start {
            conversion,
            stream,
            convert,
            state: Arc::clone(&state),
            backlog,
        };
        self.jobs.try_send(job).ok()?;
        Some(Conversion {
            id: conversion,
            link: self.clone(),
            state,
        })
    }

    /// Frames that were not converted because others waited.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Relaxed) as u64
    }
}

/// A conversion as its stream holds it. Dropping it ends it.
#[derive(Debug)]
pub(super) struct Conversion {
    id: u64,
    link: SoundLink,
    state: Arc<State>,
}

impl Conversion {
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Gives a frame to be converted. Never waits: `false` = it was dropped, since others wait before it.
    pub fn offer(&mut self, frame: &Frame) -> bool {
        let job = Job::Convert {
            conversion: self.id,
            frame: frame.clone(),
        };
        let room = self.state.waiting.load(Relaxed) < limits::SOUND_FRAMES_WAITING_MAX;
        let taken = room && {
            self.state.waiting.fetch_add(1, Relaxed);
            let sent = self.link.jobs.try_send(job).is_ok();
            if !sent {
                self.state.waiting.fetch_sub(1, Relaxed);
            }
            sent
        };
        if !taken {
            self.link.dropped.fetch_add(1, Relaxed);
        }
        taken
    }
}

impl Drop for Conversion {
    fn drop(&mut self) {
        self.state.over.store(true, Relaxed);
        // If there is no room for it the next one's start or end sweeps this one too.
        let _ = self.link.jobs.try_send(Job::Sweep);
    }
}

/// A conversion as the thread holds it.
struct Running {
    stream: StreamId,
    convert: Box<dyn Convert>,
    state: Arc<State>,
}

fn run(jobs: &Receiver<Job>, give: &Give) {
    let mut running: HashMap<u64, Running> = HashMap::new();
    while let Ok(job) = jobs.recv() {
        match job {
            Job::Start {
                conversion,
                stream,
                convert,
                state,
                backlog,
            } => {
                running.retain(|_, one| !one.state.over.load(Relaxed));
                let mut one = Running {
                    stream,
                    convert,
                    state,
                };
                if one.convert(conversion, &backlog, give) {
                    running.insert(conversion, one);
                }
            }
            Job::Convert { conversion, frame } => {
                let Some(one) = running.get_mut(&conversion) else {
                    continue;
                };
                let works = one.convert(conversion, std::slice::from_ref(&frame), give);
                one.state.waiting.fetch_sub(1, Relaxed);
                if !works {
                    running.remove(&conversion);
                }
            }
            Job::Sweep => running.retain(|_, one| !one.state.over.load(Relaxed)),
        }
    }
}

impl Running {
    /// `false`: the codec broke, and the conversion is over.
    fn convert(&mut self, conversion: u64, frames: &[Frame], give: &Give) -> bool {
        if self.state.over.load(Relaxed) {
            return true;
        }
        let mut made = Vec::new();
        let done = catch_unwind(AssertUnwindSafe(|| {
            for frame in frames {
                self.convert.push(frame, &mut made);
            }
        }));
        if done.is_err() {
            tracing::error!(stream = ?self.stream, "a defect in the conversion of sound: this stream goes on without it");
            return false;
        }
        if !made.is_empty() {
            give(Made {
                stream: self.stream,
                conversion,
                frames: made,
            });
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::egress::{AudioPolicy, Form};
    use crate::gb28181::MediaTransport;
    use crate::id::Ssrc;
    use crate::media::codec::g711;
    use crate::media::frame::{Codec, Params, Track, TrackId, VideoParams};
    use crate::media::ps::mux::Mux;
    use crate::media::rtp;
    use crate::net::stream::{Fan, FanKey, Holds, Stream};
    use crate::session::port::IngestOptions;
    use crate::time::MediaTime;
    use bytes::Bytes;
    use std::sync::mpsc;
    use std::time::{Duration, Instant};

    fn frame(n: i64) -> Frame {
        Frame {
            track: TrackId::Audio,
            dts: MediaTime(n),
            pts: MediaTime(n),
            key: true,
            damaged: false,
            payload: vec![n as u8].into(),
            received: Instant::now(),
        }
    }

    fn stream() -> StreamId {
        StreamId {
            shard: 0,
            number: 7,
        }
    }

    /// Gives frames back as they are, each when it is told to.
    struct Gated(mpsc::Receiver<()>);

    impl Convert for Gated {
        fn push(&mut self, frame: &Frame, out: &mut Vec<Frame>) {
            // With the gate gone it is open.
            let _ = self.0.recv();
            out.push(frame.clone());
        }
    }

    fn thread() -> (SoundLink, mpsc::Receiver<Made>) {
        let (sender, made) = mpsc::channel();
        let link = SoundLink::spawn("sound test", Box::new(move |m| sender.send(m).is_ok()));
        (link.expect("a thread"), made)
    }

    #[test]
    fn a_slow_encoder_holds_nobody_back_and_late_sound_is_dropped() {
        let (link, made) = thread();
        let (gate, gated) = mpsc::channel();
        let mut slow = link
            .start(stream(), Box::new(Gated(gated)), Vec::new())
            .expect("room");
        // The encoder does not move at all; giving to it never waits.
        let taken = (0..1_000).filter(|n| slow.offer(&frame(*n))).count();
        assert_eq!(taken, limits::SOUND_FRAMES_WAITING_MAX);
        assert_eq!(link.dropped(), 1_000 - taken as u64);
        assert!(made.try_recv().is_err());
        // It wakes up: what waited comes out in order, and there is room again.
        for _ in 0..taken {
            gate.send(()).expect("it lives");
        }
        let times: Vec<i64> = made.iter().take(taken).map(|m| m.frames[0].dts.0).collect();
        assert!(times.iter().copied().eq(0..taken as i64));
        gate.send(()).expect("it lives");
        while !slow.offer(&frame(5_000)) {
            std::thread::yield_now();
        }
        assert_eq!(made.recv().expect("one more").frames[0].dts.0, 5_000);
    }

    #[test]
    fn a_codec_that_panics_ends_alone_and_a_dropped_conversion_is_let_go() {
        struct Broken;
        impl Convert for Broken {
            fn push(&mut self, _: &Frame, _: &mut Vec<Frame>) {
                panic!("on purpose");
            }
        }
        struct Held {
            _token: Arc<()>,
        }
        impl Convert for Held {
            fn push(&mut self, frame: &Frame, out: &mut Vec<Frame>) {
                out.push(frame.clone());
            }
        }
        let (link, made) = thread();
        let mut broken = link
            .start(stream(), Box::new(Broken), Vec::new())
            .expect("room");
        assert!(broken.offer(&frame(1)));
        let token = Arc::new(());
        let held = Box::new(Held {
            _token: Arc::clone(&token),
        });
        let good = link
            .start(stream(), held, vec![frame(2), frame(3)])
            .expect("room");
        let first = made.recv().expect("the thread lives");
        assert_eq!((first.conversion, first.frames.len()), (good.id(), 2));
        drop(good);
        // The next one's start comes after the sweep.
        let mut next = link
            .start(
                stream(),
                Box::new(Held {
                    _token: Arc::default(),
                }),
                Vec::new(),
            )
            .expect("room");
        assert!(next.offer(&frame(4)));
        made.recv().expect("converted");
        assert_eq!(Arc::strong_count(&token), 1);
    }

    /// Packets of pictures of H.264, each with 40 ms of PCMA behind it.
    fn packets(pictures: i64) -> Vec<Vec<Vec<u8>>> {
        let video = Track {
            id: TrackId::Video,
            codec: Codec::H264,
            params: Arc::new(Params::Video(VideoParams {
                // x264, 768x320 at 25 fps.
                sps: Bytes::from_static(&[
                    0x67, 0x64, 0x00, 0x20, 0xac, 0xd9, 0x40, 0xc0, 0x29, 0xb0, 0x11, 0x00, 0x00,
                    0x03, 0x00, 0x01, 0x00, 0x00, 0x03, 0x00, 0x32, 0x0f, 0x18, 0x31, 0x96,
                ]),
                pps: Bytes::from_static(&[0x68, 0xeb, 0xe3, 0xcb, 0x22, 0xc0]),
                ..VideoParams::default()
            })),
        };
        let mut mux = Mux::new(Some(&video), Some(&g711::track(Codec::G711A)));
        let mut writer = rtp::Writer::new(Ssrc(1), 96, 0);
        let one = |n: i64| {
            let mut out = Vec::new();
            let key = n % 25 == 0;
            let picture = [
                &[0, 0, 0, 9, if key { 0x65 } else { 0x41 }, 0x88][..],
                &[7; 7],
            ]
            .concat();
            for (track, payload) in [(TrackId::Video, picture), (TrackId::Audio, vec![0xd5; 320])] {
                let mut ps = Vec::new();
                let frame = Frame {
                    track,
                    key: key || track == TrackId::Audio,
                    payload: payload.into(),
                    ..frame(n * 3600)
                };
                mux.push(&frame, &mut ps);
                writer.write(&ps, n as u32 * 3600, 1400, &mut |p| out.push(p.to_vec()));
            }
            out
        };
        (0..pictures).map(one).collect()
    }

    #[test]
    fn pictures_go_on_while_the_sound_thread_is_stuck() {
        let (link, made) = thread();
        let (gate, gated) = mpsc::channel();
        // The thread's only job, and it does not end.
        let _stuck = link.start(stream(), Box::new(Gated(gated)), vec![frame(0)]);
        let mut source = Stream::new(
            stream(),
            Some(Ssrc(1)),
            MediaTransport::Udp,
            IngestOptions::default(),
            None,
            8 << 20,
            link.clone(),
        );
        let holds = Holds {
            flv: Duration::ZERO,
            fmp4: Duration::ZERO,
            rtp: Duration::ZERO,
        };
        let mut fans = slab::Slab::new();
        let key = FanKey {
            stream: stream(),
            form: Form::Flv,
            audio: AudioPolicy::Playable,
        };
        let mut now = Instant::now();
        let all = packets(200);
        let feed = |source: &mut Stream, fans: &mut slab::Slab<Fan>, now, packets: &[Vec<u8>]| {
            for packet in packets {
                source.push_packet(now, packet);
            }
            source.deliver(now, fans, &holds, &mut |_| {});
        };
        feed(&mut source, &mut fans, now, &all[0]);
        let fan = source.make_fan(key, 8 << 20, 1, now);
        let at = fans.insert(fan);
        source.fans.push(at);
        for (n, packets) in all.iter().enumerate().skip(1) {
            now += Duration::from_millis(40);
            let before = fans[at].ring.end();
            feed(&mut source, &mut fans, now, packets);
            assert_eq!(
                fans[at].ring.end(),
                before + 1,
                "picture {n} and nothing else, at once"
            );
        }
        assert!(
            link.dropped() >= 100,
            "sound that came too late: {}",
            link.dropped()
        );
        // The thread comes free: the sound that waited is there, and goes to the same rendition.
        gate.send(()).expect("it lives");
        drop(gate);
        let before = fans[at].ring.end();
        made.recv().expect("what was stuck");
        while fans[at].ring.end() < before + 10 {
            let made = made.recv().expect("the sound that waited");
            source.take_sound(made, &mut fans, now, &holds);
        }
    }
}
