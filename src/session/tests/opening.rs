//! How views start: one opening a key, the named failures, other transports, SSRCs.

use super::*;
use MediaTransport::{TcpActive, TcpPassive, Udp};

fn no_fallback() -> Rig {
    let mut rig = Rig::with(CoreConfig {
        fallback: false,
        ..config()
    });
    rig.come(device(1), 4);
    rig.events.clear();
    rig
}

#[test]
fn a_view_is_answered_with_its_first_key_frame() {
    let mut rig = Rig::new();
    let request = rig.open(0);
    let stream = rig.last_stream();
    let invite = rig.invite();
    assert_eq!(invite.device, device(1));
    assert_eq!(invite.channel.to_string(), camera(1).id);
    assert_eq!(invite.transport, Udp);
    assert_eq!(invite.media_port, [30000, 30001][usize::from(stream.shard)]);
    assert!(
        invite.ssrc.to_string().starts_with("020000"),
        "{}",
        invite.ssrc
    );
    assert!(matches!(
        rig.media[..],
        [MediaCommand::OpenIngest { ssrc: Some(s), transport: Udp, .. }] if s == invite.ssrc
    ));
    rig.pass(ms(120));
    rig.answer(invite.id, Some(invite.ssrc), Udp);
    assert!(
        matches!(
            rig.media[1..],
            [MediaCommand::UpdateIngest {
                ssrc: None,
                remote: Some(_),
                ..
            }]
        ),
        "the shard learns where packets of an SSRC that nobody knows would come from"
    );
    rig.pass(ms(80));
    rig.progress(stream, Progress::FirstRtp);
    rig.progress(stream, Progress::FirstPs);
    assert!(rig.replies.is_empty());
    rig.pass(ms(300));
    rig.progress(stream, Progress::Live { tracks: Vec::new() });
    let opened = rig.opened(request);
    assert_eq!(opened.stream, stream);
    let view = rig.show(opened.session);
    assert_eq!(view.stage, Stage::Live);
    assert_eq!(view.first_frame_ms, Some(500));
    assert_eq!(view.created_unix_s, UNIX_MS / 1000);
    assert_eq!(rig.core.counters().live, 1);
}

#[test]
fn two_openers_share_one_invite_and_later_ones_join_at_once() {
    let mut rig = Rig::new();
    let first = rig.open(2);
    rig.pass(ms(100));
    let second = rig.open(2);
    assert_eq!(rig.invites.len(), 1);
    let invite = rig.invite();
    rig.answer(invite.id, None, Udp);
    rig.pass(ms(100));
    rig.picture(rig.last_stream());
    let (a, b) = (rig.opened(first), rig.opened(second));
    assert_ne!(a.session, b.session);
    assert_eq!(a.stream, b.stream);
    assert_eq!(rig.show(b.session).first_frame_ms, Some(100));
    let third = rig.open(2);
    assert_eq!(rig.opened(third).stream, a.stream);
    assert_eq!(rig.invites.len(), 0);
    let counters = rig.core.counters();
    assert_eq!((counters.joined_opening, counters.joined_live), (1, 1));
}

#[test]
fn what_is_not_there_is_said_at_once() {
    let mut rig = Rig::new();
    let not_found = |what| Err::<(), _>(Error::NotFound { what });
    let unknown = rig.call(open_of(device(9), 0)).map(|_| ());
    assert_eq!(unknown, not_found("device"));
    assert_eq!(
        rig.call(open_of(device(1), 4)).map(|_| ()),
        not_found("channel")
    );
    rig.go(device(1));
    let offline = rig.call(open_of(device(1), 0)).map(|_| ());
    assert_eq!(offline, Err(Error::DeviceOffline));
    let name = "nobody".parse().expect("a name");
    let named = rig.call(Command::Open {
        target: Target::Named(name),
        kind: ViewKind::WsFlv,
        owner: Owner::default(),
    });
    assert_eq!(named.map(|_| ()), not_found("stream"));
    assert_eq!(rig.core.counters().failures["not found"], 3);
    rig.assert_empty();
}

#[test]
fn streams_go_to_the_shard_that_has_fewest() {
    let mut rig = Rig::new();
    let mut shards = Vec::new();
    for index in 0..4 {
        rig.open(index);
        shards.push(rig.last_stream().shard);
    }
    assert_eq!(shards, [0, 1, 0, 1]);
    let ssrcs: std::collections::HashSet<Ssrc> = rig.invites.iter().map(|i| i.ssrc).collect();
    assert_eq!(ssrcs.len(), 4);
}

/// Each way to fail, walked to its end: the failure, and what was done to the device.
#[test]
fn every_failure_has_its_name() {
    type Play = fn(&mut Rig, &Invite, StreamId);
    let answered: Play = |rig, invite, _| rig.answer(invite.id, None, Udp);
    let rows: [(&str, Play, bool); 12] = [
        ("no answer", |_, _, _| {}, true),
        (
            "no answer",
            |rig, invite, _| {
                let failure = InviteFailure::NoAnswer;
                rig.gb(Gb::InviteFailed {
                    id: invite.id,
                    failure,
                });
            },
            false,
        ),
        (
            "rejected",
            |rig, invite, _| {
                let reason = "Busy Here".into();
                let failure = InviteFailure::Rejected {
                    status: 486,
                    reason,
                };
                rig.gb(Gb::InviteFailed {
                    id: invite.id,
                    failure,
                });
            },
            false,
        ),
        (
            "bad answer",
            |rig, invite, _| {
                let failure = InviteFailure::BadAnswer { what: "no m=" };
                rig.gb(Gb::InviteFailed {
                    id: invite.id,
                    failure,
                });
            },
            false,
        ),
        ("no RTP", answered, true),
        (
            "foreign SSRC",
            |rig, invite, stream| {
                rig.answer(invite.id, None, Udp);
                // Of our own numbering: a sender of an older dialog.
                let seen = Ssrc(invite.ssrc.0 ^ 1);
                rig.progress(stream, Progress::ForeignSsrc { seen });
            },
            true,
        ),
        (
            "no PS",
            |rig, invite, stream| {
                rig.answer(invite.id, None, Udp);
                rig.progress(stream, Progress::FirstRtp);
            },
            true,
        ),
        (
            "no PSM",
            |rig, invite, stream| {
                rig.answer(invite.id, None, Udp);
                rig.progress(stream, Progress::FirstRtp);
                rig.progress(stream, Progress::FirstPs);
            },
            true,
        ),
        (
            "no key frame",
            |rig, invite, stream| {
                rig.answer(invite.id, None, Udp);
                rig.progress(stream, Progress::FirstRtp);
                rig.progress(stream, Progress::FirstPs);
                let stats = Box::new(IngestStats {
                    psm_seen: true,
                    ..IngestStats::default()
                });
                rig.media(MediaEvent::Stats { stream, stats });
            },
            true,
        ),
        (
            "unsupported codec",
            |rig, invite, stream| {
                rig.answer(invite.id, None, Udp);
                rig.progress(stream, Progress::FirstRtp);
                rig.progress(stream, Progress::UnsupportedCodec { stream_type: 0x80 });
            },
            true,
        ),
        (
            "ended by device",
            |rig, invite, _| {
                rig.answer(invite.id, None, Udp);
                rig.gb(Gb::InviteEnded {
                    id: invite.id,
                    by: EndedBy::Device,
                });
            },
            false,
        ),
        ("device lost", |rig, _, _| rig.go(device(1)), true),
    ];
    for (stage, play, ends) in rows {
        let mut rig = no_fallback();
        let request = rig.open(0);
        let (invite, stream) = (rig.invite(), rig.last_stream());
        play(&mut rig, &invite, stream);
        rig.pass(Duration::from_secs(20));
        let failure = rig.failure(request);
        assert_eq!(failure.stage(), stage);
        assert_eq!(rig.ended == [invite.id], ends, "{stage}: BYE or CANCEL");
        assert_eq!(rig.core.counters().failures[stage], 1);
        let closed = rig.closed();
        assert_eq!(closed.len(), 1, "{stage}");
        let record = rig.show(closed[0]);
        assert_eq!(record.failure, Some(failure), "the record tells it too");
        assert!(record.closed_unix_s.is_some());
        rig.assert_empty();
    }
}

#[test]
fn the_record_of_a_failure_says_how_far_it_came() {
    let mut rig = no_fallback();
    rig.open(0);
    let (invite, stream) = (rig.invite(), rig.last_stream());
    rig.answer(invite.id, None, Udp);
    rig.progress(stream, Progress::FirstRtp);
    rig.pass(ms(6_000));
    let session = rig.closed()[0];
    assert_eq!(rig.show(session).stage, Stage::Receiving);
}

#[test]
fn without_rtp_the_next_transport_is_tried_within_ten_seconds() {
    let mut rig = Rig::new();
    let request = rig.open(0);
    let mut seen = Vec::new();
    for _ in 0..3 {
        let invite = rig.invite();
        seen.push((invite.transport, invite.media_port == 9));
        rig.pass(ms(50));
        rig.answer(invite.id, None, invite.transport);
        rig.pass(ms(3_000));
    }
    assert_eq!(seen, [(Udp, false), (TcpPassive, false), (TcpActive, true)]);
    assert_eq!(rig.failure(request), ViewFailure::NoRtp);
    assert!(rig.now - rig.start < Duration::from_secs(10));
    assert_eq!(rig.ended.len(), 3);
    assert_eq!(rig.core.counters().fallbacks, 2);
    assert_eq!(
        rig.core.counters().failures["no RTP"],
        1,
        "one opening, one failure"
    );
    rig.assert_empty();
}

#[test]
fn an_opening_ends_before_web_players_give_up() {
    let mut rig = Rig::new();
    let request = rig.open(0);
    let invite = rig.invite();
    rig.pass(ms(7_900));
    rig.answer(invite.id, None, Udp);
    rig.progress(rig.last_stream(), Progress::FirstRtp);
    rig.pass(ms(1_599));
    assert!(rig.replies.is_empty());
    rig.pass(ms(1));
    assert_eq!(rig.failure(request), ViewFailure::NoProgramStream);
    rig.assert_empty();
}

#[test]
fn what_worked_is_tried_first_the_next_time() {
    let mut rig = Rig::new();
    let request = rig.open(0);
    let invite = rig.invite();
    rig.answer(invite.id, None, Udp);
    rig.pass(ms(3_000));
    let invite = rig.invite();
    assert_eq!(invite.transport, TcpPassive);
    let stream = rig.last_stream();
    rig.answer(invite.id, None, TcpPassive);
    rig.progress(stream, Progress::Connected);
    rig.picture(stream);
    let opened = rig.opened(request);
    assert_eq!(opened.stream, stream);
    assert_eq!(rig.show(opened.session).first_frame_ms, Some(3_000));
    assert_eq!(rig.core.counters().fallbacks_live, 1);
    rig.open(1);
    assert_eq!(rig.invite().transport, TcpPassive);
    let kept = |p: &&Persist| matches!(p, Persist::Transport { .. });
    assert!(matches!(
        rig.persist.iter().filter(kept).collect::<Vec<_>>()[..],
        [Persist::Transport {
            transport: TcpPassive,
            ..
        }]
    ));
}

#[test]
fn a_refusal_of_the_transport_falls_back_at_once_and_others_do_not() {
    for (status, falls_back) in [
        (488, true),
        (415, true),
        (606, true),
        (486, false),
        (404, false),
    ] {
        let mut rig = Rig::new();
        let request = rig.open(0);
        let id = rig.invite().id;
        let failure = InviteFailure::Rejected {
            status,
            reason: "no".into(),
        };
        rig.gb(Gb::InviteFailed { id, failure });
        assert_eq!(rig.invites.len() == 1, falls_back, "{status}");
        assert_eq!(rig.replies.contains_key(&request), !falls_back, "{status}");
    }
}

#[test]
fn the_failure_that_came_furthest_is_reported() {
    let mut rig = Rig::new();
    let request = rig.open(0);
    let id = rig.invite().id;
    rig.answer(id, None, Udp);
    rig.pass(ms(3_000));
    let id = rig.invite().id;
    let failure = InviteFailure::Rejected {
        status: 400,
        reason: "TCP?".into(),
    };
    rig.gb(Gb::InviteFailed { id, failure });
    assert_eq!(rig.failure(request), ViewFailure::NoRtp);
    rig.assert_empty();
}

#[test]
fn tcp_active_connects_where_the_answer_says() {
    let mut rig = Rig::with(CoreConfig {
        transport: TcpActive,
        ..config()
    });
    rig.come(device(1), 1);
    let request = rig.open(0);
    let (invite, stream) = (rig.invite(), rig.last_stream());
    assert_eq!(invite.media_port, 9);
    rig.answer(invite.id, None, TcpActive);
    let Some(MediaCommand::UpdateIngest {
        stream: s,
        ssrc: None,
        remote: Some(to),
    }) = rig.media.last()
    else {
        panic!("{:?}", rig.media)
    };
    assert_eq!((*s, to.port()), (stream, 15060));
    rig.progress(stream, Progress::ConnectFailed);
    assert_eq!(rig.ended, [invite.id]);
    let second = rig.invite();
    assert_eq!(second.transport, TcpPassive);
    rig.answer(second.id, None, TcpPassive);
    rig.picture(rig.last_stream());
    rig.opened(request);
}

#[test]
fn tcp_active_without_an_address_is_a_bad_answer() {
    let mut rig = Rig::with(CoreConfig {
        transport: TcpActive,
        fallback: false,
        ..config()
    });
    rig.come(device(1), 1);
    let request = rig.open(0);
    let id = rig.invite().id;
    let answer = MediaAnswer {
        file_bytes: None,
        ssrc: None,
        remote: None,
        transport: TcpActive,
        payloads: Vec::new(),
    };
    rig.gb(Gb::InviteAnswered { id, answer });
    assert_eq!(rig.failure(request).stage(), "bad answer");
    assert_eq!(rig.ended, [id], "the device answered: it needs a BYE");
    rig.assert_empty();
}

#[test]
fn the_ssrc_of_the_answer_counts_unless_another_stream_has_it() {
    let mut rig = Rig::new();
    rig.open(0);
    let (invite, stream) = (rig.invite(), rig.last_stream());
    let other = Ssrc(100_000_001);
    rig.answer(invite.id, Some(other), Udp);
    assert!(matches!(
        rig.media.last(),
        Some(MediaCommand::UpdateIngest { stream: s, ssrc: Some(n), .. }) if *s == stream && *n == other
    ));
    // The third stream is on the same shard, and its answer names the same SSRC.
    rig.open(1);
    rig.invite();
    rig.open(2);
    let invite = rig.invite();
    assert_eq!(rig.last_stream().shard, stream.shard);
    rig.answer(invite.id, Some(other), Udp);
    assert!(matches!(
        rig.media.last(),
        Some(MediaCommand::UpdateIngest { ssrc: None, .. })
    ));
    // Zero is no SSRC.
    rig.open(3);
    let invite = rig.invite();
    rig.answer(invite.id, Some(Ssrc(0)), Udp);
    assert!(matches!(
        rig.media.last(),
        Some(MediaCommand::UpdateIngest { ssrc: None, .. })
    ));
    assert_eq!(rig.core.counters().ssrc_changed, 1);
}

/// An answer of payload types with these rtpmaps.
fn answer_of(payloads: &[(u8, &str)]) -> MediaAnswer {
    let payload = |(payload_type, rtpmap): &(u8, &str)| AnsweredPayload {
        payload_type: *payload_type,
        rtpmap: (*rtpmap).to_owned(),
        fmtp: "config=1408".to_owned(),
    };
    MediaAnswer {
        file_bytes: None,
        ssrc: None,
        remote: Some("192.0.2.7:15060".parse().expect("an address")),
        transport: Udp,
        payloads: payloads.iter().map(payload).collect(),
    }
}

#[test]
fn what_an_answer_says_of_its_sound_is_told_to_the_media_thread() {
    let mut rig = Rig::new();
    rig.open(0);
    let id = rig.invite().id;
    let answer = answer_of(&[(96, "PS/90000"), (97, "MPEG4-GENERIC/16000/1")]);
    rig.gb(Gb::InviteAnswered { id, answer });
    let told = rig.media.iter().find_map(|command| match command {
        MediaCommand::DescribeIngest { stream, hints } => Some((*stream, hints)),
        _ => None,
    });
    let (stream, hints) = told.expect("it is told");
    assert_eq!(stream, rig.last_stream());
    let types: Vec<u8> = hints.iter().flatten().map(|m| m.payload_type).collect();
    assert_eq!(types, [97]);
}

#[test]
fn an_answer_that_offers_only_what_cannot_be_played_fails_by_its_name() {
    for (rtpmap, stage) in [
        ("SVAC/90000", "unsupported codec"),
        ("JPEG/90000", "bad answer"),
    ] {
        let mut rig = Rig::with(CoreConfig {
            fallback: false,
            ..config()
        });
        rig.come(device(1), 1);
        let request = rig.open(0);
        let id = rig.invite().id;
        let answer = answer_of(&[(99, rtpmap)]);
        rig.gb(Gb::InviteAnswered { id, answer });
        let failure = rig.failure(request);
        assert_eq!(failure.stage(), stage, "{rtpmap}");
        let svac = ViewFailure::UnsupportedCodec { stream_type: 0x80 };
        assert_eq!(failure == svac, rtpmap.starts_with("SVAC"));
        assert_eq!(rig.ended, [id], "the device answered: it needs a BYE");
        rig.assert_empty();
    }
}

#[test]
fn a_foreign_ssrc_is_adopted_only_when_it_can_be_nothing_else() {
    let adopted = |rig: &Rig| rig.core.counters().ssrc_adopted;
    let foreign = Progress::ForeignSsrc {
        seen: Ssrc(4_000_000_000),
    };
    let mut rig = Rig::new();
    let request = rig.open(0);
    let (invite, stream) = (rig.invite(), rig.last_stream());
    // It overtakes the answer.
    rig.progress(stream, foreign.clone());
    assert_eq!(adopted(&rig), 0);
    rig.answer(invite.id, None, Udp);
    assert_eq!(adopted(&rig), 1);
    rig.picture(stream);
    rig.opened(request);
    // Two channels of the device wait: it could belong to either.
    rig.open(1);
    rig.open(2);
    let stream = rig.last_stream();
    let (_, second) = (rig.invite(), rig.invite());
    rig.answer(second.id, None, Udp);
    rig.progress(stream, Progress::ForeignSsrc { seen: Ssrc(5) });
    assert_eq!(adopted(&rig), 1);

    // The device answers with one SSRC and sends the one we asked for.
    let mut rig = Rig::new();
    rig.open(0);
    let (invite, stream) = (rig.invite(), rig.last_stream());
    rig.answer(invite.id, Some(Ssrc(9)), Udp);
    rig.progress(stream, Progress::ForeignSsrc { seen: invite.ssrc });
    assert_eq!(adopted(&rig), 1);

    let mut rig = Rig::with(CoreConfig {
        adopt_foreign_ssrc: false,
        ..config()
    });
    rig.come(device(1), 1);
    rig.open(0);
    let (invite, stream) = (rig.invite(), rig.last_stream());
    rig.answer(invite.id, None, Udp);
    rig.progress(stream, foreign);
    assert_eq!(adopted(&rig), 0);
}

#[test]
fn media_that_overtakes_the_answer_goes_live_with_it() {
    let mut rig = Rig::new();
    let request = rig.open(0);
    let (invite, stream) = (rig.invite(), rig.last_stream());
    rig.picture(stream);
    assert!(rig.replies.is_empty(), "no dialog yet");
    rig.answer(invite.id, None, Udp);
    assert_eq!(rig.opened(request).stream, stream);
}

#[test]
fn a_late_answer_changes_nothing() {
    let mut rig = no_fallback();
    let request = rig.open(0);
    let (invite, stream) = (rig.invite(), rig.last_stream());
    rig.pass(ms(8_000));
    assert_eq!(rig.failure(request), ViewFailure::NoAnswer);
    let media = rig.media.len();
    rig.answer(invite.id, Some(Ssrc(5)), Udp);
    rig.picture(stream);
    rig.gb(Gb::InviteFailed {
        id: invite.id,
        failure: InviteFailure::Cancelled,
    });
    rig.gb(Gb::InviteEnded {
        id: invite.id,
        by: EndedBy::Us,
    });
    assert_eq!(rig.media.len(), media);
    assert_eq!(rig.ended, [invite.id]);
    rig.assert_empty();
}

#[test]
fn a_repeated_answer_does_not_start_the_deadline_again() {
    let mut rig = no_fallback();
    let request = rig.open(0);
    let id = rig.invite().id;
    rig.answer(id, None, Udp);
    rig.pass(ms(2_000));
    rig.answer(id, None, Udp);
    rig.pass(ms(1_000));
    assert_eq!(rig.failure(request), ViewFailure::NoRtp);
}

#[test]
fn sessions_and_streams_have_bounds() {
    let mut rig = Rig::with(CoreConfig {
        streams_max: 2,
        sessions_max: 3,
        ..config()
    });
    rig.come(device(1), 4);
    rig.open(0);
    rig.open(1);
    let busy = |rig: &mut Rig, index| rig.call(open_of(device(1), index)).map(|_| ());
    assert_eq!(busy(&mut rig, 2), Err(Error::Busy { limit: "streams" }));
    rig.open(1);
    assert_eq!(busy(&mut rig, 0), Err(Error::Busy { limit: "sessions" }));
    assert_eq!(rig.core.gauges().sessions_waiting, 3);
}
