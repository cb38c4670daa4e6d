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
    use crate::media::frame::TrackId;
    use crate::time::MediaTime;
    use std::sync::mpsc;
    use std::time::Instant;

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
            self.0.recv().expect("the test lives");
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
}
