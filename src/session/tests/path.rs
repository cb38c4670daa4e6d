//! Ports, SSRCs, addresses and key frames: what the core decides of the way from a device.

use super::*;
use MediaTransport::{TcpActive, TcpPassive, Udp};

/// Streams have ports of their own.
fn with_ports(first: u16, last: u16) -> Rig {
    let mut rig = Rig::with(CoreConfig {
        session_ports: Some((first, last)),
        ..config()
    });
    rig.come(device(1), 4);
    rig
}

fn options(rig: &Rig) -> port::IngestOptions {
    let opened = rig.media.iter().rev().find_map(|command| match command {
        MediaCommand::OpenIngest { options, .. } => Some(*options),
        MediaCommand::UpdateIngest { .. }
        | MediaCommand::DescribeIngest { .. }
        | MediaCommand::SetPace { .. }
        | MediaCommand::CloseIngest { .. }
        | MediaCommand::CloseViewer { .. }
        | MediaCommand::ResetStatistics => None,
    });
    opened.expect("an ingest was opened")
}

fn force(rig: &mut Rig, key: &str, word: &str) {
    let mut policy = DevicePolicy::default();
    policy.set(key, word).expect("a policy");
    let device = device(1);
    let set = Command::SetDevicePolicy { device, policy };
    assert!(matches!(rig.call(set), Ok(Reply::Done)));
}

fn key_frames_asked(rig: &Rig) -> usize {
    let asked = rig.platform.iter();
    asked
        .filter(|c| matches!(c, GbCommand::RequestKeyFrame { .. }))
        .count()
}

#[test]
fn a_stream_has_a_port_of_its_own_until_it_is_over() {
    let mut rig = with_ports(40_000, 40_007);
    let (opened, invite) = rig.view(0);
    assert_eq!(invite.media_port, 40_000);
    let chosen = options(&rig);
    assert_eq!((chosen.port, chosen.any_ssrc), (Some(40_000), true));
    assert_eq!(rig.core.gauges().ports_in_use, 1);
    rig.call(Command::Close {
        session: opened.session,
    })
    .expect("closed");
    rig.pass(Duration::from_secs(11));
    assert_eq!(rig.core.gauges().ports_in_use, 0);
    // It rests, so the next view has another.
    let (_, invite) = rig.view(1);
    assert_eq!(invite.media_port, 40_002);
}

#[test]
fn every_attempt_has_a_fresh_port_and_tcp_active_has_none() {
    let mut rig = with_ports(40_000, 40_007);
    let request = rig.open(0);
    let mut ports = Vec::new();
    for _ in 0..3 {
        let invite = rig.invite();
        ports.push((invite.transport, invite.media_port));
        rig.answer(invite.id, None, invite.transport);
        rig.pass(ms(3_000));
    }
    assert_eq!(ports, [(Udp, 40_000), (TcpPassive, 40_002), (TcpActive, 9)]);
    assert_eq!(rig.failure(request), ViewFailure::NoRtp);
    assert_eq!(rig.core.gauges().ports_in_use, 0);
    rig.assert_empty();
}

#[test]
fn without_a_free_port_a_view_is_refused_and_nothing_leaks() {
    let mut rig = with_ports(40_000, 40_003);
    rig.view(0);
    rig.view(1);
    let busy = rig.call(open_of(device(1), 2)).map(|_| ());
    let limit = "media ports";
    assert_eq!(busy, Err(Error::Busy { limit }));
    let gauges = rig.core.gauges();
    assert_eq!((gauges.ports_in_use, gauges.ssrcs_in_use), (2, 2));
}

/// The INVITE waits for the port, so nothing has to be taken back when another program has it.
#[test]
fn field_08_a_port_that_another_program_has_is_changed_for_another() {
    let mut rig = with_ports(40_000, 40_031);
    rig.ports_open = false;
    let request = rig.open(0);
    assert!(rig.invites.is_empty() && rig.ended.is_empty());
    let limit = "media ports";
    assert_eq!(rig.error(request), Error::Busy { limit });
    let tried = u64::from(crate::limits::PORT_TRIES);
    assert_eq!(rig.core.counters().ports_taken, tried);
    rig.assert_empty();
    assert_eq!(rig.core.gauges().ports_in_use, 0);
    rig.ports_open = true;
    let (_, invite) = rig.view(0);
    assert_eq!(u64::from(invite.media_port), 40_000 + 2 * tried);
}

/// The SSRC of the answer is taken on the port that is open; nothing is closed and opened again.
#[test]
fn field_02_the_ssrc_of_the_answer_is_taken_on_the_live_port() {
    let mut rig = Rig::new();
    let request = rig.open(0);
    let (invite, stream) = (rig.invite(), rig.last_stream());
    let other = Ssrc(100_009_999);
    rig.answer(invite.id, Some(other), Udp);
    assert!(rig.media.iter().any(|command| matches!(
        command,
        MediaCommand::UpdateIngest { ssrc: Some(seen), .. } if *seen == other
    )));
    rig.picture(stream);
    assert_eq!(rig.opened(request).stream, stream);
}

#[test]
fn field_03_nothing_is_closed_and_opened_again_while_a_view_begins() {
    let mut rig = Rig::new();
    rig.open(0);
    let (invite, stream) = (rig.invite(), rig.last_stream());
    rig.answer(invite.id, Some(Ssrc(100_009_999)), Udp);
    let seen = Ssrc(3_000_000_000);
    rig.progress(stream, Progress::ForeignSsrc { seen });
    rig.picture(stream);
    let opened = rig.media.iter();
    let opened = opened.filter(|c| matches!(c, MediaCommand::OpenIngest { .. }));
    assert_eq!(opened.count(), 1);
    assert_eq!(rig.open_ingests(), [stream]);
}

#[test]
fn field_04_a_device_that_sends_another_ssrc_than_agreed_is_followed() {
    let mut rig = Rig::new();
    let request = rig.open(0);
    let (invite, stream) = (rig.invite(), rig.last_stream());
    rig.answer(invite.id, None, Udp);
    let seen = Ssrc(3_000_000_000);
    rig.progress(stream, Progress::ForeignSsrc { seen });
    rig.picture(stream);
    rig.opened(request);
    assert_eq!(rig.core.counters().ssrc_adopted, 1);
    // And when it is restarted in the middle of the view.
    let seen = Ssrc(3_000_000_001);
    rig.progress(stream, Progress::ForeignSsrc { seen });
    assert_eq!(rig.core.counters().ssrc_adopted, 2);
}

#[test]
fn a_foreign_ssrc_is_switched_to_or_refused_as_the_device_s_policy_says() {
    // One of our numbering may be an old sender's: only a user can know better.
    let ours = Ssrc(200_000_123);
    let theirs = Ssrc(3_000_000_000);
    for (word, seen, taken) in [
        ("auto", theirs, true),
        ("auto", ours, false),
        ("switch", ours, true),
        ("refuse", theirs, false),
    ] {
        let mut rig = Rig::new();
        force(&mut rig, "foreign_ssrc", word);
        rig.open(0);
        let (invite, stream) = (rig.invite(), rig.last_stream());
        rig.answer(invite.id, None, Udp);
        rig.progress(stream, Progress::ForeignSsrc { seen });
        let adopted = rig.core.counters().ssrc_adopted == 1;
        assert_eq!(adopted, taken, "{word} {seen}");
    }
    let mut rig = with_ports(40_000, 40_031);
    force(&mut rig, "foreign_ssrc", "refuse");
    rig.open(0);
    assert!(!options(&rig).any_ssrc);
}

/// Two streams with one SSRC, each on its port: what ends one does not touch the other.
#[test]
fn field_11_streams_are_known_by_their_dialog_not_by_their_ssrc() {
    let mut rig = with_ports(40_000, 40_031);
    let same = Some(Ssrc(7));
    let mut views = Vec::new();
    for index in 0..2 {
        let request = rig.open(index);
        let invite = rig.invite();
        rig.answer(invite.id, same, Udp);
        rig.picture(rig.last_stream());
        views.push((rig.opened(request), invite));
    }
    rig.gb(Gb::InviteEnded {
        id: views[0].1.id,
        by: EndedBy::Device,
    });
    assert_eq!(rig.closed(), [views[0].0.session]);
    assert_eq!(rig.show(views[1].0.session).stage, Stage::Live);
    assert_eq!(rig.open_ingests(), [views[1].0.stream]);
}

#[test]
fn field_48_a_stream_lives_as_long_as_one_watches_and_no_longer() {
    let mut rig = Rig::new();
    let (first, invite) = rig.view(0);
    let request = rig.open(0);
    let second = rig.opened(request);
    rig.claim(first.session);
    rig.claim(second.session);
    let close = |rig: &mut Rig, session| rig.call(Command::Close { session });
    close(&mut rig, first.session).expect("closed");
    rig.pass(Duration::from_secs(24 * 3_600));
    assert_eq!(rig.ended, []);
    close(&mut rig, second.session).expect("closed");
    rig.pass(ms(9_999));
    assert_eq!(rig.ended, []);
    rig.pass(ms(1));
    assert_eq!(rig.ended, [invite.id]);
    rig.assert_empty();
}

#[test]
fn a_device_is_asked_for_a_key_frame_and_not_too_often() {
    let mut rig = Rig::new();
    let (opened, _) = rig.view(0);
    let stream = opened.stream;
    for _ in 0..5 {
        rig.media(MediaEvent::KeyFrameWanted { stream });
        rig.pass(ms(100));
    }
    assert_eq!(key_frames_asked(&rig), 1);
    rig.pass(Duration::from_secs(crate::limits::KEY_FRAME_ASK_S));
    rig.media(MediaEvent::KeyFrameWanted { stream });
    assert_eq!(key_frames_asked(&rig), 2);
    // A stream that is over asks nobody.
    rig.go(device(1));
    rig.pass(Duration::from_secs(60));
    rig.media(MediaEvent::KeyFrameWanted { stream });
    assert_eq!(key_frames_asked(&rig), 2);
}

#[test]
fn a_forced_transport_is_the_only_one_and_what_worked_before_is_forgotten() {
    let mut rig = Rig::new();
    force(&mut rig, "transport", "tcp-active");
    let request = rig.open(0);
    let invite = rig.invite();
    assert_eq!(invite.transport, TcpActive);
    rig.answer(invite.id, None, TcpActive);
    rig.progress(rig.last_stream(), Progress::ConnectFailed);
    assert_eq!(rig.failure(request), ViewFailure::NoConnection);
    force(&mut rig, "transport", "auto");
    rig.open(0);
    assert_eq!(rig.invite().transport, Udp);
}

#[test]
fn loss_and_address_of_a_device_are_as_its_policy_says() {
    use crate::media::hold::LossPolicy;
    let mut rig = Rig::new();
    rig.open(0);
    assert_eq!(options(&rig).loss, LossPolicy::HoldBack);
    assert_eq!(rig.invite().media_ip, None);
    force(&mut rig, "loss", "show");
    rig.open(1);
    assert_eq!(options(&rig).loss, LossPolicy::Show);
    force(&mut rig, "media_ip", "2001:db8::1");
    rig.open(2);
    rig.invite();
    let told = rig.invite().media_ip.map(|ip| ip.to_string());
    assert_eq!(told.as_deref(), Some("2001:db8::1"));
}

#[test]
fn field_46_a_device_outside_is_told_the_public_address() {
    let public = "203.0.113.9".parse().ok();
    let mut rig = Rig::with(CoreConfig {
        media_address: MediaAddress {
            configured: None,
            public,
            private: Network::private(),
        },
        ..config()
    });
    rig.come(device(1), 1);
    rig.open(0);
    assert_eq!(
        rig.invite().media_ip,
        public,
        "192.0.2.7 is no private address"
    );
}
