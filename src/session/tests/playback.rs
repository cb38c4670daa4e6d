//! Records that are played back and downloaded: a dialog each, orders, and how they end.

use super::*;
use crate::gb28181::mansrtsp::{From, Order, Scale};
use crate::gb28181::{Answer, AskFailure, AskId, Footage, Span};
use crate::limits;
use MediaTransport::Udp;

fn span(seconds: u32) -> Span {
    Span::new(1_781_402_400, 1_781_402_400 + seconds).expect("it ends later")
}

fn record(index: u32, footage: Footage) -> Command {
    Command::Open {
        target: Target::Record {
            device: device(1),
            index,
            footage,
        },
        kind: ViewKind::HttpFlv,
        owner: Owner::default(),
    }
}

impl Rig {
    /// A record that plays: its session, its stream and its INVITE.
    fn plays(&mut self, footage: Footage) -> (SessionId, StreamId, Invite) {
        let request = self.ask(record(0, footage));
        let stream = self.last_stream();
        let invite = self.invites.last().expect("an INVITE").clone();
        self.answer(invite.id, Some(invite.ssrc), Udp);
        self.progress(stream, Progress::FirstRtp);
        self.progress(stream, Progress::FirstPs);
        self.progress(stream, Progress::Live { tracks: Vec::new() });
        (self.opened(request).session, stream, invite)
    }

    fn stands(&mut self, play: SessionId) -> PlayView {
        match self.call(Command::Playback { play }) {
            Ok(Reply::Playback(view)) => *view,
            other => panic!("{other:?}"),
        }
    }

    fn at(&mut self, stream: StreamId, position_ms: u64) {
        let stats = Box::new(IngestStats {
            position_ms,
            ..IngestStats::default()
        });
        self.media(MediaEvent::Stats { stream, stats });
    }

    fn order(&mut self, play: SessionId, order: PlayOrder) -> RequestId {
        self.ask(Command::Play { play, order })
    }

    /// The last order that went out.
    fn ordered(&mut self) -> Option<(AskId, Order)> {
        self.platform
            .drain(..)
            .rev()
            .find_map(|command| match command {
                GbCommand::Control { ask, order, .. } => Some((ask, order)),
                _ => None,
            })
    }

    fn obeys(&mut self, ask: AskId) {
        let outcome = Box::new(Ok(Answer::Done));
        self.gb(Gb::AskEnded { id: ask, outcome });
    }

    fn file_ends(&mut self, invite: Option<InviteId>, about: Option<crate::id::GbId>) {
        let device = device(1);
        self.gb(Gb::FileEnded {
            device,
            invite,
            about,
        });
    }
}

fn play(times: Option<f64>, from_ms: Option<u64>) -> PlayOrder {
    PlayOrder::Play {
        scale: times.map(|t| Scale::new(t).expect("in range")),
        from_ms,
        keep_paused: false,
    }
}

#[test]
fn each_record_is_a_dialog_of_its_own_and_not_the_live_view() {
    let mut rig = Rig::new();
    let (first, _, invite) = rig.plays(Footage::Playback(span(60)));
    assert_eq!(invite.footage, Footage::Playback(span(60)));
    assert!(invite.ssrc.to_string().starts_with('1'), "{}", invite.ssrc);
    let (second, _, other) = rig.plays(Footage::Playback(span(60)));
    assert_ne!(invite.id, other.id);
    rig.open(0);
    assert_eq!(rig.invites.len(), 3, "and the live view a third");
    assert_ne!(first, second);
    // Who comes to watch what plays already waits for nothing.
    let target = Target::Playback(first);
    let request = rig.ask(Command::Open {
        target,
        kind: ViewKind::HttpFmp4,
        owner: Owner::default(),
    });
    rig.opened(request);
    assert_eq!(rig.invites.len(), 3);
}

#[test]
fn an_order_is_answered_when_the_device_has_obeyed() {
    let mut rig = Rig::new();
    let (id, stream, _) = rig.plays(Footage::Playback(span(600)));
    rig.at(stream, 5_000);
    rig.media.clear();
    let request = rig.order(id, play(Some(2.0), Some(120_900)));
    assert!(!rig.replies.contains_key(&request));
    let (ask, order) = rig.ordered().expect("an order");
    let want = Order::Play {
        scale: Scale::new(2.0),
        from: Some(From::At(120)),
    };
    assert_eq!(order, want);
    // The media thread knows of the place before, and of the pace after.
    assert!(matches!(
        rig.media[..],
        [MediaCommand::SetPace { target_ms: Some(120_000), pace, .. }] if pace.milli == 1_000
    ));
    rig.obeys(ask);
    assert!(matches!(
        rig.media[1..],
        [MediaCommand::SetPace { target_ms: None, pace, .. }] if pace.milli == 2_000
    ));
    let Some(Ok(Reply::Playback(view))) = rig.replies.remove(&request) else {
        panic!("a reply");
    };
    assert_eq!((view.position_ms, view.scale.times()), (120_000, 2.0));
    // The same again is nothing to order.
    let request = rig.order(id, play(Some(2.0), None));
    assert!(matches!(
        rig.replies.remove(&request),
        Some(Ok(Reply::Playback(_)))
    ));
    assert_eq!(rig.ordered(), None);
}

#[test]
fn what_rests_goes_on_and_a_place_beyond_the_end_is_its_last_second() {
    let mut rig = Rig::new();
    let (id, _, _) = rig.plays(Footage::Playback(span(60)));
    rig.order(id, PlayOrder::Pause);
    let (ask, order) = rig.ordered().expect("an order");
    assert_eq!(order, Order::Pause);
    rig.obeys(ask);
    assert!(rig.stands(id).paused);
    let last = rig.media.last();
    assert!(matches!(
        last,
        Some(MediaCommand::SetPace { paused: true, .. })
    ));
    // Sought while it rests: it goes there and rests again.
    let sought = rig.order(
        id,
        PlayOrder::Play {
            scale: None,
            from_ms: Some(9_999_000),
            keep_paused: true,
        },
    );
    let (ask, order) = rig.ordered().expect("an order");
    let from = Some(From::At(59));
    assert_eq!(order, Order::Play { scale: None, from });
    rig.obeys(ask);
    let (ask, order) = rig.ordered().expect("a second order");
    assert_eq!(order, Order::Pause);
    rig.obeys(ask);
    assert!(matches!(rig.replies.remove(&sought), Some(Ok(Reply::Playback(view))) if view.paused));
    rig.order(id, play(None, None));
    let (ask, order) = rig.ordered().expect("an order");
    let from = Some(From::Now);
    assert_eq!(order, Order::Play { scale: None, from });
    rig.obeys(ask);
    assert!(!rig.stands(id).paused);
}

#[test]
fn a_device_that_does_not_obey_is_told_and_nothing_changes() {
    let mut rig = Rig::new();
    let (id, stream, _) = rig.plays(Footage::Playback(span(60)));
    rig.at(stream, 7_000);
    let request = rig.order(id, play(Some(-2.0), Some(30_000)));
    let (ask, _) = rig.ordered().expect("an order");
    let failure = AskFailure::Refused {
        sent: "INFO PLAY",
        status: 488,
        reason: "Not Acceptable Here".into(),
        too_new: None,
    };
    let outcome = Box::new(Err(failure.clone()));
    rig.gb(Gb::AskEnded { id: ask, outcome });
    assert_eq!(
        rig.replies.remove(&request).map(Result::err),
        Some(Some(Error::Ask(failure)))
    );
    let last = rig.media.last();
    assert!(matches!(
        last,
        Some(MediaCommand::SetPace { target_ms: Some(7_000), pace, .. }) if pace.milli == 1_000
    ));
    assert_eq!(rig.stands(id).scale, Scale::NORMAL);
}

#[test]
fn the_end_of_a_file_ends_its_view_and_no_other() {
    let mut rig = Rig::new();
    let (first, early, invite) = rig.plays(Footage::Playback(span(60)));
    let (second, late, other) = rig.plays(Footage::Playback(span(60)));
    rig.at(early, 10_000);
    rig.at(late, 58_000);
    // Outside of a dialog the one that lacks least is meant.
    rig.file_ends(None, Some(invite.channel.0));
    assert_eq!(rig.stands(second).end, Some(PlayEnd::EndOfFile));
    assert_eq!(rig.stands(first).end, None);
    assert!(rig.ended.is_empty(), "what is under way is still taken");
    rig.pass(ms(limits::PLAYBACK_DRAIN_MS + 10));
    assert_eq!(rig.ended, [other.id]);
    assert_eq!(rig.stands(second).position_ms, 60_000);
    let refused = rig.call(Command::Play {
        play: second,
        order: PlayOrder::Pause,
    });
    let end = PlayEnd::EndOfFile;
    assert_eq!(refused.err(), Some(Error::PlaybackOver { end }));
    rig.file_ends(Some(invite.id), None);
    rig.pass(ms(limits::PLAYBACK_DRAIN_MS + 10));
    assert_eq!(rig.ended, [other.id, invite.id]);
    // One that nobody plays.
    rig.file_ends(None, None);
    assert_eq!(rig.core.counters().file_ends_foreign, 1);
}

/// A device calls the end of file what we have ended: that is no end of what another viewer plays of the same channel.
#[test]
fn an_end_of_file_of_a_playback_that_was_ended_here_ends_no_other() {
    let mut rig = Rig::new();
    let (first, _, gone) = rig.plays(Footage::Playback(span(60)));
    let (second, stream, invite) = rig.plays(Footage::Playback(span(60)));
    rig.at(stream, 30_000);
    assert!(rig.call(Command::ClosePlayback { play: first }).is_ok());
    assert_eq!(rig.ended, [gone.id]);
    rig.file_ends(Some(gone.id), None);
    rig.file_ends(None, None);
    assert_eq!(rig.stands(second).end, None);
    assert_eq!(rig.core.counters().file_ends_foreign, 2);
    // It was told once; the next one is that of the other, and so is one that comes late.
    rig.file_ends(None, None);
    assert_eq!(rig.stands(second).end, Some(PlayEnd::EndOfFile));
    rig.pass(ms(limits::PLAYBACK_DRAIN_MS + 10));
    assert_eq!(rig.ended, [gone.id, invite.id]);
    let (third, _, _) = rig.plays(Footage::Playback(span(60)));
    let (fourth, ..) = rig.plays(Footage::Playback(span(60)));
    assert!(rig.call(Command::ClosePlayback { play: third }).is_ok());
    rig.pass(ms(limits::TORN_DOWN_MS));
    rig.file_ends(None, None);
    assert_eq!(rig.stands(fourth).end, Some(PlayEnd::EndOfFile));
}

#[test]
fn playbacks_that_were_ended_are_remembered_up_to_a_bound() {
    let mut rig = Rig::new();
    rig.plays(Footage::Playback(span(60)));
    let key = rig.core.streams.keys().next().expect("it plays").clone();
    for n in 1..=limits::PLAYBACKS_MAX {
        rig.core.note_torn_down(rig.now, &key);
        assert_eq!(rig.core.torn_down.len(), n);
    }
    rig.core.note_torn_down(rig.now, &key);
    assert_eq!(rig.core.torn_down.len(), limits::PLAYBACKS_MAX);
}

#[test]
fn a_bye_is_the_end_only_where_the_record_ends() {
    for (position_ms, end) in [
        (58_500, PlayEnd::EndOfFile),
        (
            30_000,
            PlayEnd::StoppedEarly {
                at_ms: 30_000,
                of_ms: 60_000,
            },
        ),
    ] {
        let mut rig = Rig::new();
        let (id, stream, invite) = rig.plays(Footage::Playback(span(60)));
        rig.at(stream, position_ms);
        let by = EndedBy::Device;
        rig.gb(Gb::InviteEnded { id: invite.id, by });
        rig.pass(ms(limits::PLAYBACK_DRAIN_MS + 10));
        assert_eq!(rig.stands(id).end, Some(end));
        assert!(rig.ended.is_empty(), "its dialog is over already");
    }
}

#[test]
fn a_download_is_not_paused_and_ends_with_who_writes_it() {
    let mut rig = Rig::new();
    let footage = Footage::Download {
        span: span(60),
        speed: 4,
    };
    let (id, _, invite) = rig.plays(footage);
    let paced = rig.media.iter().find_map(|command| match command {
        MediaCommand::OpenIngest { options, .. } => Some(options.pace),
        _ => None,
    });
    assert!(
        paced.is_some_and(|pace| pace.keep),
        "the times of the record are kept"
    );
    let refused = rig.call(Command::Play {
        play: id,
        order: PlayOrder::Pause,
    });
    assert!(matches!(refused, Err(Error::BadParameter { .. })));
    rig.media(MediaEvent::ViewerClosed { session: id });
    assert_eq!(rig.ended, [invite.id], "without a linger");
    assert_eq!(rig.stands(id).end, Some(PlayEnd::Closed));
}

#[test]
fn records_have_a_bound_of_each_channel() {
    let mut rig = Rig::new();
    for _ in 0..limits::PLAYBACKS_PER_CHANNEL_MAX {
        rig.ask(record(0, Footage::Playback(span(60))));
    }
    let busy = |rig: &mut Rig, index| {
        let request = rig.ask(record(index, Footage::Playback(span(60))));
        matches!(rig.replies.remove(&request), Some(Err(Error::Busy { .. })))
    };
    assert!(busy(&mut rig, 0));
    assert!(!busy(&mut rig, 1), "another channel has its own");
    rig.go(device(1));
    rig.pass(ms(60_000));
    rig.assert_empty();
    let live = rig.call(record(0, Footage::Live));
    assert!(live.is_err(), "the device is gone");
}
