//! How sessions and streams end: linger, claims, BYE, stall, offline, shutdown, races.

use super::*;
use MediaTransport::Udp;

#[test]
fn the_last_viewer_leaves_and_the_stream_lingers() {
    let mut rig = Rig::new();
    let (opened, invite) = rig.view(0);
    rig.claim(opened.session);
    rig.media(MediaEvent::ViewerClosed {
        session: opened.session,
    });
    assert_eq!(rig.closed(), [opened.session]);
    rig.pass(ms(9_999));
    assert!(rig.ended.is_empty());
    rig.pass(ms(1));
    assert_eq!(rig.ended, [invite.id]);
    assert_eq!(rig.core.counters().streams_ended[&Ended::Unwatched], 1);
    rig.assert_empty();
    // Its SSRC rests.
    for index in 0..4 {
        rig.open(index);
        assert_ne!(rig.invite().ssrc, invite.ssrc);
    }
}

#[test]
fn a_viewer_who_comes_back_in_time_finds_the_stream() {
    let mut rig = Rig::new();
    let (opened, _) = rig.view(0);
    rig.claim(opened.session);
    rig.media(MediaEvent::ViewerClosed {
        session: opened.session,
    });
    rig.pass(ms(5_000));
    let request = rig.open(0);
    let again = rig.opened(request);
    assert_eq!(again.stream, opened.stream);
    rig.claim(again.session);
    rig.pass(Duration::from_secs(3_600));
    assert!(rig.ended.is_empty() && rig.invites.is_empty());
    assert_eq!(rig.core.counters().linger_joined, 1);
}

#[test]
fn a_session_without_a_viewer_is_closed() {
    let mut rig = Rig::new();
    let (opened, _) = rig.view(0);
    rig.pass(ms(9_999));
    assert!(rig.closed().is_empty());
    rig.pass(ms(1));
    assert_eq!(rig.closed(), [opened.session]);
    assert_eq!(rig.core.counters().sessions_closed[&Closed::Unclaimed], 1);
    rig.pass(ms(10_000));
    rig.assert_empty();
}

#[test]
fn a_viewer_that_comes_after_the_close_is_sent_away() {
    let mut rig = Rig::new();
    let (opened, _) = rig.view(0);
    let session = opened.session;
    let closes = |rig: &Rig| {
        let all = rig.media.iter();
        all.filter(|c| matches!(c, MediaCommand::CloseViewer { session: s, .. } if *s == session))
            .count()
    };
    assert!(rig.call(Command::Close { session }).is_ok());
    assert_eq!(closes(&rig), 1);
    rig.claim(session);
    assert_eq!(closes(&rig), 2);
}

#[test]
fn closing_is_idempotent() {
    let mut rig = Rig::new();
    let (opened, _) = rig.view(0);
    let session = opened.session;
    for _ in 0..3 {
        assert!(matches!(
            rig.call(Command::Close { session }),
            Ok(Reply::Done)
        ));
    }
    let session = SessionId(1);
    assert!(matches!(
        rig.call(Command::Close { session }),
        Ok(Reply::Done)
    ));
    assert_eq!(rig.closed(), [opened.session]);
    assert_eq!(rig.show(opened.session).stage, Stage::Closed);
    rig.media(MediaEvent::ViewerClosed {
        session: opened.session,
    });
    assert_eq!(rig.closed(), []);
}

#[test]
fn closing_the_only_one_who_waits_cancels_the_invite() {
    let mut rig = Rig::new();
    let first = rig.open(0);
    let second = rig.open(0);
    let invite = rig.invite();
    let Ok(Reply::Sessions(list)) = rig.call(Command::Sessions) else {
        panic!("a list")
    };
    assert!(list.iter().all(|s| s.stage == Stage::Inviting));
    let ids: Vec<SessionId> = list.iter().map(|s| s.session).collect();
    assert!(rig.call(Command::Close { session: ids[0] }).is_ok());
    assert_eq!(rig.error(first), Error::NotFound { what: "session" });
    assert!(rig.ended.is_empty(), "another waits");
    assert!(rig.call(Command::Close { session: ids[1] }).is_ok());
    assert_eq!(rig.error(second), Error::NotFound { what: "session" });
    assert_eq!(rig.ended, [invite.id]);
    assert_eq!(rig.core.counters().streams_ended[&Ended::Cancelled], 1);
    // The 200 OK crossed the CANCEL.
    rig.answer(invite.id, None, Udp);
    rig.gb(Gb::InviteEnded {
        id: invite.id,
        by: EndedBy::Us,
    });
    rig.assert_empty();
    // At once again: a fresh dialog.
    rig.open(0);
    assert_ne!(rig.invite().id, invite.id);
}

#[test]
fn a_logout_closes_its_sessions_alone() {
    let mut rig = Rig::new();
    let open = |token_id| Command::Open {
        target: Target::Channel {
            device: device(1),
            index: 0,
        },
        kind: ViewKind::HttpFlv,
        owner: Owner {
            token_id,
            ..Owner::default()
        },
    };
    let requests: Vec<RequestId> = [0, 5, 6, 5].map(|t| rig.ask(open(t))).into();
    let invite = rig.invite();
    rig.answer(invite.id, None, Udp);
    rig.picture(rig.last_stream());
    let ids: Vec<SessionId> = requests.iter().map(|r| rig.opened(*r).session).collect();
    assert!(rig.call(Command::CloseOwner { token_id: 0 }).is_ok());
    assert_eq!(rig.closed(), []);
    assert!(rig.call(Command::CloseOwner { token_id: 5 }).is_ok());
    assert_eq!(rig.closed(), [ids[1], ids[3]]);
}

#[test]
fn a_live_stream_ends_with_its_dialog_its_device_or_its_media() {
    type Play = fn(&mut Rig, &Opened, &Invite);
    let rows: [(Ended, bool, Play); 4] = [
        (Ended::ByDevice, false, |rig, _, invite| {
            rig.gb(Gb::InviteEnded {
                id: invite.id,
                by: EndedBy::Device,
            });
        }),
        (Ended::DeviceLost, false, |rig, _, invite| {
            rig.gb(Gb::InviteEnded {
                id: invite.id,
                by: EndedBy::Lost,
            });
        }),
        (Ended::DeviceLost, true, |rig, _, _| rig.go(device(1))),
        (Ended::Stalled, true, |rig, opened, _| {
            rig.progress(opened.stream, Progress::Stalled);
        }),
    ];
    for (why, bye, play) in rows {
        let mut rig = Rig::new();
        let (opened, invite) = rig.view(0);
        rig.claim(opened.session);
        let request = rig.open(0);
        let second = rig.opened(request);
        play(&mut rig, &opened, &invite);
        assert_eq!(rig.closed(), [opened.session, second.session], "{why:?}");
        assert_eq!(rig.ended == [invite.id], bye, "{why:?}");
        assert_eq!(rig.core.counters().streams_ended[&why], 1);
        assert_eq!(rig.core.counters().sessions_closed[&Closed::StreamEnded], 2);
        // Whatever comes late.
        rig.media(MediaEvent::ViewerClosed {
            session: opened.session,
        });
        rig.progress(opened.stream, Progress::Live { tracks: Vec::new() });
        rig.gb(Gb::InviteEnded {
            id: invite.id,
            by: EndedBy::Lost,
        });
        rig.assert_empty();
    }
}

#[test]
fn a_lingering_stream_can_end_before_its_time() {
    let mut rig = Rig::new();
    let (opened, _) = rig.view(0);
    assert!(
        rig.call(Command::Close {
            session: opened.session
        })
        .is_ok()
    );
    rig.progress(opened.stream, Progress::Stalled);
    rig.assert_empty();
}

#[test]
fn other_tracks_reach_those_who_come_later() {
    let mut rig = Rig::new();
    let (opened, _) = rig.view(0);
    assert!(opened.tracks.is_empty());
    let params = crate::media::frame::Params::Video(Default::default());
    let track = crate::media::frame::Track {
        id: crate::media::frame::TrackId::Video,
        codec: crate::media::frame::Codec::H265,
        params: std::sync::Arc::new(params),
    };
    let tracks = vec![track.clone()];
    rig.progress(opened.stream, Progress::Live { tracks });
    let request = rig.open(0);
    assert_eq!(rig.opened(request).tracks, [track]);
}

#[test]
fn a_shutdown_ends_every_dialog_and_then_answers() {
    let mut rig = Rig::new();
    let (opened, live) = rig.view(0);
    let waiting = rig.open(1);
    let inviting = rig.invite();
    let shutdown = rig.ask(Command::Shutdown);
    assert_eq!(rig.error(waiting), Error::ShuttingDown);
    assert_eq!(rig.closed().len(), 2);
    assert_eq!(rig.ended, [live.id, inviting.id]);
    assert!(matches!(rig.platform.last(), Some(GbCommand::Shutdown)));
    assert!(!rig.replies.contains_key(&shutdown));
    let late = rig.call(open_of(device(1), 0)).map(|_| ());
    assert_eq!(late, Err(Error::ShuttingDown));
    rig.gb(Gb::InviteEnded {
        id: live.id,
        by: EndedBy::Us,
    });
    rig.media(MediaEvent::ViewerClosed {
        session: opened.session,
    });
    rig.gb(Gb::Drained);
    assert!(matches!(rig.replies[&shutdown], Ok(Reply::Done)));
    rig.gb(Gb::Drained);
    rig.assert_empty();
}

#[test]
fn a_shutdown_does_not_wait_for_devices_that_are_silent() {
    let mut rig = Rig::new();
    rig.view(0);
    let shutdown = rig.ask(Command::Shutdown);
    rig.pass(ms(3_999));
    assert!(!rig.replies.contains_key(&shutdown));
    rig.pass(ms(1));
    assert!(matches!(rig.replies[&shutdown], Ok(Reply::Done)));
    rig.assert_empty();
}

#[test]
fn records_of_closed_sessions_have_a_bound() {
    let mut rig = Rig::new();
    let (first, _) = rig.view(0);
    rig.claim(first.session);
    for _ in 0..crate::limits::SESSIONS_CLOSED_MAX {
        let request = rig.open(0);
        let session = rig.opened(request).session;
        assert!(rig.call(Command::Close { session }).is_ok());
    }
    assert_eq!(rig.core.history.len(), crate::limits::SESSIONS_CLOSED_MAX);
    let oldest = rig.closed()[0];
    rig.show(oldest);
    assert!(
        rig.call(Command::Close {
            session: first.session
        })
        .is_ok()
    );
    let gone = rig.call(Command::Session { session: oldest }).map(|_| ());
    assert_eq!(gone, Err(Error::NotFound { what: "session" }));
    assert_eq!(rig.core.history.len(), crate::limits::SESSIONS_CLOSED_MAX);
}

#[test]
fn a_record_keeps_what_the_viewer_was_given() {
    let mut rig = Rig::new();
    let (opened, _) = rig.view(3);
    let session = opened.session;
    rig.media(MediaEvent::Viewer {
        session,
        stats: ViewerStats {
            sent_bytes: 1_000,
            skipped: 2,
            congested: 1,
            ..ViewerStats::default()
        },
    });
    let stats = IngestStats {
        packets: 77,
        ..IngestStats::default()
    };
    rig.media(MediaEvent::Stats {
        stream: opened.stream,
        stats: Box::new(stats),
    });
    rig.pass(ms(5_000));
    rig.media(MediaEvent::ViewerClosed { session });
    let record = rig.show(session);
    assert_eq!(
        (
            record.index,
            record.sent_bytes,
            record.skipped,
            record.congested
        ),
        (3, 1_000, 2, 1)
    );
    assert_eq!(record.ingest.packets, 77);
    assert_eq!(record.closed_unix_s, Some(UNIX_MS / 1000 + 5));
    assert_eq!((record.stage, record.failure), (Stage::Closed, None));
}
