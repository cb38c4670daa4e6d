//! Records of a device that are played back or downloaded (GB/T 28181-2016, 9.8, 9.9): orders to the device, where in the
//! record it is, and how it ends.
//!
//! A playback is a stream like a live one, with a key of its own: each is a dialog of the device, and several of one channel
//! run beside each other. It is named by the session that opened it and can be watched by others too.
//!
//! ```text
//!  Open ─► (as a live view) ─► playing ──Pause──► paused ──Play──► playing ──MediaStatus 121──► drained, BYE ──► over
//!                                 └── BYE of the device: at the end of the record, or before it: both are told apart
//! ```
//!
//! An order is answered when the device has answered it. The media thread is told the new pace then, and of a new place
//! before: the jump in the times may overtake the answer.
//!
//! Bounds: [`limits::PLAYBACKS_PER_CHANNEL_MAX`], [`limits::PLAYBACKS_MAX`]; orders by those of questions to a device.

use std::time::{Duration, Instant};

use tracing::{info, warn};

use crate::gb28181::mansrtsp::{From, Order, Scale};
use crate::gb28181::{Answer, AskFailure, AskId, Command, Footage, InviteId};
use crate::id::{DeviceId, GbId, SessionId, StreamId, StreamKey};
use crate::limits;
use crate::media::ingest::Pace;

use super::core::{Core, Output, RequestId};
use super::counters::Ended;
use super::port::MediaCommand;
use super::stream::{Source, Stream};
use super::timers::Timer;
use super::types::{Error, PlayEnd, PlayOrder, PlayView, Reply};

/// How near to the end a BYE is the end, in milliseconds: records end with their last whole second, or key frame.
const END_MS: u64 = 2_500;

/// What is known of a record while it comes.
#[derive(Clone, Debug)]
pub(super) struct Playing {
    pub footage: Footage,
    pub scale: Scale,
    pub paused: bool,
    /// From `a=filesize`.
    pub file_bytes: Option<u64>,
    /// All has come, or no more will: what is under way is still taken.
    pub ending: Option<Ended>,
    pub end: Option<PlayEnd>,
}

/// An order that the device has not answered.
#[derive(Debug)]
pub(super) struct Ordered {
    request: RequestId,
    key: StreamKey,
    scale: Option<Scale>,
    target_ms: Option<u64>,
    /// Where it was, if the order is refused.
    before_ms: u64,
    pauses: bool,
    /// It was paused and is to be so again.
    pause_after: bool,
}

impl Playing {
    pub fn new(footage: Footage) -> Playing {
        Playing {
            footage,
            scale: Scale::NORMAL,
            paused: false,
            file_bytes: None,
            ending: None,
            end: None,
        }
    }

    /// How the times of the record are to be taken.
    pub fn pace(&self) -> Pace {
        match self.footage {
            Footage::Live => Pace::NORMAL,
            Footage::Playback(_) => Pace {
                milli: self.scale.milli(),
                keep: false,
            },
            Footage::Download { speed, .. } => Pace {
                milli: i32::from(speed) * 1_000,
                keep: true,
            },
        }
    }

    fn duration_ms(&self) -> u64 {
        let seconds = self.footage.span().map_or(0, |span| span.seconds());
        u64::from(seconds) * 1_000
    }

    pub fn view(&self, position_ms: u64) -> PlayView {
        let duration_ms = self.duration_ms();
        PlayView {
            footage: self.footage,
            scale: self.scale,
            paused: self.paused,
            // Records end with their last whole second, or key frame.
            position_ms: match self.end {
                Some(PlayEnd::EndOfFile) if position_ms + END_MS >= duration_ms => duration_ms,
                Some(_) | None => position_ms.min(duration_ms),
            },
            duration_ms,
            file_bytes: self.file_bytes,
            end: self.end.clone(),
        }
    }

    /// Why it is over, if the stream ended so. What was found out before stays.
    pub fn close(&mut self, why: Ended, position_ms: u64) {
        let (at_ms, of_ms) = (position_ms, self.duration_ms());
        let early = || PlayEnd::StoppedEarly { at_ms, of_ms };
        self.end.get_or_insert_with(|| match why {
            Ended::ByDevice if at_ms + END_MS >= of_ms => PlayEnd::EndOfFile,
            Ended::ByDevice => early(),
            Ended::Stalled => PlayEnd::NoMedia { at_ms, of_ms },
            Ended::DeviceLost | Ended::Revoked => PlayEnd::DeviceLost { at_ms, of_ms },
            Ended::Failed => PlayEnd::Failed,
            Ended::Unwatched | Ended::ByClient | Ended::Cancelled => PlayEnd::Closed,
            Ended::Shutdown => PlayEnd::Shutdown,
        });
    }
}

impl Stream {
    /// What is played back, if anything is.
    pub fn playing(&self) -> Option<&Playing> {
        match &self.source {
            Source::Device(dialog) => dialog.playing.as_ref(),
            Source::Named { .. } => None,
        }
    }

    pub fn playing_mut(&mut self) -> Option<&mut Playing> {
        match &mut self.source {
            Source::Device(dialog) => dialog.playing.as_mut(),
            Source::Named { .. } => None,
        }
    }

    /// No more is to come; what is under way is still taken.
    pub fn is_ending(&self) -> bool {
        self.playing().is_some_and(|p| p.ending.is_some())
    }

    pub fn is_download(&self) -> bool {
        let footage = self.playing().map(|p| p.footage);
        matches!(footage, Some(Footage::Download { .. }))
    }

    pub fn play_view(&self) -> Option<PlayView> {
        self.playing().map(|p| p.view(self.stats.position_ms))
    }
}

impl Core {
    /// The key of a playback, by the session that opened it or by any that watches it.
    pub(super) fn play_key(&self, id: SessionId) -> Option<StreamKey> {
        let named = |key: &&StreamKey| matches!(key, StreamKey::Record { play, .. } if *play == id);
        let watched = || {
            let session = self.sessions.get(&id)?;
            matches!(session.key, StreamKey::Record { .. }).then(|| session.key.clone())
        };
        watched().or_else(|| self.streams.keys().find(named).cloned())
    }

    /// Whether one more may be played.
    pub(super) fn room_to_play(&self, key: &StreamKey) -> Result<(), Error> {
        let StreamKey::Record {
            device, channel, ..
        } = key
        else {
            return Ok(());
        };
        let (mut all, mut of_channel) = (0, 0);
        for key in self.streams.keys() {
            if let StreamKey::Record {
                device: d,
                channel: c,
                ..
            } = key
            {
                all += 1;
                of_channel += usize::from((d, c) == (device, channel));
            }
        }
        if of_channel >= limits::PLAYBACKS_PER_CHANNEL_MAX {
            let limit = "playbacks and downloads of one channel";
            return Err(Error::Busy { limit });
        }
        if all >= limits::PLAYBACKS_MAX {
            let limit = "playbacks and downloads";
            return Err(Error::Busy { limit });
        }
        Ok(())
    }

    /// `Playback`: how it stands, also when it is over.
    pub(super) fn show_playback(&self, id: SessionId) -> Result<Reply, Error> {
        let running = self.play_key(id);
        let running = running.and_then(|key| self.streams.get(&key)?.play_view());
        running
            .or_else(|| self.history.get(id)?.view.playing.clone())
            .map(|view| Reply::Playback(Box::new(view)))
            .ok_or(Error::NotFound { what: "playback" })
    }

    /// `ClosePlayback`: ends it for everybody.
    pub(super) fn close_playback(&mut self, now: Instant, id: SessionId) {
        if let Some(key) = self.play_key(id) {
            self.end_stream(now, &key, Ended::ByClient);
        }
    }

    /// `Play`. The reply comes when the device has obeyed; `Ok(Some)`: there is nothing to order.
    pub(super) fn play(
        &mut self,
        request: RequestId,
        id: SessionId,
        order: PlayOrder,
    ) -> Result<Option<Reply>, Error> {
        let Some(key) = self.play_key(id) else {
            let ended = self.history.get(id).and_then(|r| r.view.playing.as_ref());
            return Err(match ended.and_then(|p| p.end.clone()) {
                Some(end) => Error::PlaybackOver { end },
                None => Error::NotFound { what: "playback" },
            });
        };
        let not_yet = Error::BadParameter {
            what: "the playback has not begun",
        };
        let Some(stream) = self.streams.get(&key) else {
            return Err(not_yet);
        };
        let (Source::Device(dialog), Some(playing)) = (&stream.source, stream.playing()) else {
            return Err(not_yet);
        };
        if let Some(end) = playing.end.clone() {
            return Err(Error::PlaybackOver { end });
        }
        match playing.footage {
            Footage::Playback(_) if stream.phase.is_live() => {}
            Footage::Playback(_) => return Err(not_yet),
            Footage::Live | Footage::Download { .. } => {
                let what = "a download cannot be paused or moved; close it";
                return Err(Error::BadParameter { what });
            }
        }
        let here = || {
            Ok(Some(Reply::Playback(Box::new(
                playing.view(stream.stats.position_ms),
            ))))
        };
        let last = u64::from(playing.footage.span().map_or(0, |s| s.seconds() - 1));
        let mut ordered = Ordered {
            request,
            key: key.clone(),
            scale: None,
            target_ms: None,
            before_ms: stream.stats.position_ms,
            pauses: false,
            pause_after: false,
        };
        let wire = match order {
            PlayOrder::Pause if playing.paused => return here(),
            PlayOrder::Pause => {
                ordered.pauses = true;
                Order::Pause
            }
            PlayOrder::Play {
                scale,
                from_ms,
                keep_paused,
            } => {
                let second = from_ms.map(|ms| (ms / 1_000).min(last) as u32);
                ordered.scale = scale.filter(|s| *s != playing.scale);
                ordered.target_ms = second.map(|s| u64::from(s) * 1_000);
                ordered.pause_after = keep_paused && playing.paused;
                let from = match second {
                    Some(second) => Some(From::At(second)),
                    None if playing.paused => Some(From::Now),
                    None => None,
                };
                if from.is_none() && ordered.scale.is_none() {
                    return here();
                }
                // A device may take the scale of an order that names none for 1.
                let scale = scale.unwrap_or(playing.scale);
                let named = ordered.scale.is_some() || scale != Scale::NORMAL;
                Order::Play {
                    scale: named.then_some(scale),
                    from,
                }
            }
        };
        let (invite, stream_id) = (dialog.invite, stream.id);
        let (pace, paused) = (playing.pace(), playing.paused);
        let target_ms = ordered.target_ms;
        if target_ms.is_some() {
            self.set_pace(stream_id, pace, paused, target_ms);
        }
        let ask = self.new_ask_id();
        self.orders.insert(ask, ordered);
        self.push(Output::Platform(Command::Control {
            ask,
            invite,
            order: wire,
        }));
        Ok(None)
    }

    /// The device has answered an order, or has not. False: it was no order.
    pub(super) fn order_ended(&mut self, ask: AskId, outcome: &Result<Answer, AskFailure>) -> bool {
        let Some(ordered) = self.orders.remove(&ask) else {
            return false;
        };
        let request = ordered.request;
        let found = self.streams.get_mut(&ordered.key);
        let Some((stream, stats)) = found.map(|s| (s.id, s.stats)) else {
            self.reply(request, Err(Error::NotFound { what: "playback" }));
            return true;
        };
        let invite = match self.streams.get(&ordered.key).map(|s| &s.source) {
            Some(Source::Device(dialog)) => dialog.invite,
            Some(Source::Named { .. }) | None => return true,
        };
        let Some(playing) = self
            .streams
            .get_mut(&ordered.key)
            .and_then(Stream::playing_mut)
        else {
            return true;
        };
        if let Err(failure) = outcome {
            let (pace, paused) = (playing.pace(), playing.paused);
            warn!(key = %ordered.key, %failure, "a playback does not obey");
            if ordered.target_ms.is_some() {
                self.set_pace(stream, pace, paused, Some(ordered.before_ms));
            }
            self.reply(request, Err(Error::Ask(failure.clone())));
            return true;
        }
        playing.scale = ordered.scale.unwrap_or(playing.scale);
        playing.paused = ordered.pauses;
        let (pace, paused) = (playing.pace(), playing.paused);
        let position_ms = ordered.target_ms.unwrap_or(stats.position_ms);
        let view = playing.view(position_ms);
        // Of a new place the media thread knows already, unless the pace is another too.
        if ordered.target_ms.is_none() || ordered.scale.is_some() || !paused {
            self.set_pace(stream, pace, paused, None);
        }
        if let Some(stream) = self.streams.get_mut(&ordered.key) {
            stream.stats.position_ms = position_ms;
        }
        if ordered.pause_after {
            let again = self.new_ask_id();
            let key = ordered.key;
            let pause = Ordered {
                request,
                key,
                scale: None,
                target_ms: None,
                before_ms: position_ms,
                pauses: true,
                pause_after: false,
            };
            self.orders.insert(again, pause);
            self.push(Output::Platform(Command::Control {
                ask: again,
                invite,
                order: Order::Pause,
            }));
            return true;
        }
        self.reply(request, Ok(Reply::Playback(Box::new(view))));
        true
    }

    fn set_pace(&mut self, stream: StreamId, pace: Pace, paused: bool, target_ms: Option<u64>) {
        let command = MediaCommand::SetPace {
            stream,
            pace,
            paused,
            target_ms,
        };
        self.media(stream.shard, command);
    }

    /// MediaStatus 121: the view that it belongs to has come to its end.
    pub(super) fn file_ended(
        &mut self,
        now: Instant,
        device: DeviceId,
        invite: Option<InviteId>,
        about: Option<GbId>,
    ) {
        let key = match invite {
            // Of a dialog that has ended it says nothing of another one.
            Some(invite) => self.by_invite.get(&invite).cloned(),
            None if self.was_torn_down(now, device, about) => None,
            None => self.nearest_to_its_end(device, about),
        };
        let Some(key) = key else {
            self.counters.file_ends_foreign += 1;
            return;
        };
        if let Some(playing) = self.streams.get_mut(&key).and_then(Stream::playing_mut) {
            info!(%key, "end of file");
            playing.end.get_or_insert(PlayEnd::EndOfFile);
            self.end_soon(now, &key, Ended::ByDevice);
        }
    }

    /// Notes that a playback is ended here before its file is: the device may call that the end of the file.
    pub(super) fn note_torn_down(&mut self, now: Instant, key: &StreamKey) {
        let StreamKey::Record {
            device, channel, ..
        } = key
        else {
            return;
        };
        if self.torn_down.len() >= limits::PLAYBACKS_MAX {
            self.torn_down.pop_front();
        }
        self.torn_down.push_back((now, *device, *channel));
    }

    /// Whether an end of file that is told outside of a dialog is that of a playback which was ended here a moment ago. Each
    /// accounts for one.
    fn was_torn_down(&mut self, now: Instant, device: DeviceId, about: Option<GbId>) -> bool {
        let grace = Duration::from_millis(limits::TORN_DOWN_MS);
        while let Some((at, ..)) = self.torn_down.front()
            && *at + grace <= now
        {
            self.torn_down.pop_front();
        }
        let place = self.torn_down.iter().position(|(_, d, channel)| {
            *d == device && about.is_none_or(|id| id == channel.0 || id == device.0)
        });
        place.is_some_and(|place| self.torn_down.remove(place).is_some())
    }

    /// Of the records that a channel sends the one that lacks least: outside of a dialog nothing else tells them apart.
    fn nearest_to_its_end(&self, device: DeviceId, about: Option<GbId>) -> Option<StreamKey> {
        let mut best: Option<(u64, &StreamKey)> = None;
        for (key, stream) in &self.streams {
            let StreamKey::Record {
                device: d, channel, ..
            } = key
            else {
                continue;
            };
            let meant = about.is_none_or(|id| id == channel.0 || id == device.0);
            let Some(playing) = stream.playing().filter(|p| p.end.is_none()) else {
                continue;
            };
            if *d != device || !meant {
                continue;
            }
            let rest = playing
                .duration_ms()
                .saturating_sub(stream.stats.position_ms);
            if best.is_none_or(|(least, _)| rest < least) {
                best = Some((rest, key));
            }
        }
        best.map(|(_, key)| key.clone())
    }

    /// Ends a stream when what is under way has come.
    pub(super) fn end_soon(&mut self, now: Instant, key: &StreamKey, why: Ended) {
        let Some(stream) = self.streams.get_mut(key) else {
            return;
        };
        let id = stream.id;
        if let Some(playing) = stream.playing_mut() {
            playing.ending.get_or_insert(why);
        }
        let drain = Duration::from_millis(limits::PLAYBACK_DRAIN_MS);
        self.timers.set(Timer::Stream(id), now + drain);
    }
}
