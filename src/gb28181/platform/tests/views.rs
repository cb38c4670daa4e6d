//! Views from INVITE to BYE, over every transport, with loss, refusals and bounds.

use super::*;

#[test]
fn a_view_runs_over_every_transport_and_ends_with_bye() {
    let mut net = Net::with_device(config(), 1);
    let transports = [
        MediaTransport::Udp,
        MediaTransport::TcpPassive,
        MediaTransport::TcpActive,
    ];
    for (id, transport) in (1..).zip(transports) {
        net.take_events();
        net.invite(id, transport);
        net.run(2 * S);
        let answer = net.events.iter().find_map(|(_, e)| match e {
            Event::InviteAnswered { answer, .. } => Some(answer.clone()),
            _ => None,
        });
        let answer = answer.expect("it is answered");
        assert_eq!(answer.transport, transport);
        assert_eq!(answer.ssrc, Some(Ssrc(100_000_000 + id as u32)));
        let payloads = answer.payloads.iter();
        let payloads: Vec<_> = payloads.map(|p| (p.payload_type, &*p.rtpmap)).collect();
        assert_eq!(payloads, [(96, "PS/90000")]);
        let port = if transport == MediaTransport::TcpPassive {
            9
        } else {
            40_000
        };
        assert_eq!(
            answer.remote,
            Some(SocketAddr::new(address_of(1).ip(), port))
        );
        let started = net.started();
        assert_eq!(started.len(), 1, "{transport:?}");
        assert_eq!(started[0].transport, transport);
        assert_eq!(started[0].channel, channel_id(1, 1));
        assert_eq!(started[0].ssrc, Ssrc(100_000_000 + id as u32));
        if transport != MediaTransport::TcpActive {
            assert_eq!(
                started[0].remote,
                SocketAddr::new(platform_address().ip(), 30_000)
            );
        }
        net.command(Command::EndInvite { id: InviteId(id) });
        net.run(2 * S);
        assert_eq!(
            net.told(id),
            [format!("answered {transport:?}"), "ended Us".into()]
        );
        assert_eq!(
            net.media_events(),
            [device::Event::StopMedia {
                id: started[0].id,
                by_us: false
            }]
        );
    }
    assert_eq!(net.platform.gauges().invites, 0);
    assert_eq!(net.platform.purposes.len(), 0);
    assert_eq!(net.platform.counters().answers_odd_ssrc, 0);
}

#[test]
fn views_come_and_go_through_heavy_loss() {
    let mut net = Net::with_device(config(), 1);
    net.loss = 300;
    for id in 1..=40 {
        net.invite(id, MediaTransport::Udp);
        net.run(10 * S);
        net.command(Command::EndInvite { id: InviteId(id) });
        net.run(20 * S);
        let told = net.told(id);
        assert!(told.len() >= 2, "{id} {told:?}");
        assert!(
            told[0].starts_with("answered") || told[0].starts_with("failed"),
            "{told:?}"
        );
        assert!(told[1].starts_with("ended"), "{told:?}");
        assert_eq!(told.len(), 2, "{told:?}");
    }
    net.run(60 * S);
    let events = net.media_events();
    let started = events
        .iter()
        .filter(|e| matches!(e, device::Event::StartMedia(_)))
        .count();
    assert!(started >= 30, "{started}");
    assert_eq!(net.platform.gauges().invites, 0);
    assert_eq!(net.platform.purposes.len(), 0);
}

#[test]
fn a_simulated_device_shows_only_so_many_views() {
    let mut net = Net::with_device(config(), 1);
    let max = crate::limits::SIM_MEDIA_MAX as u64;
    for id in 1..=max + 1 {
        net.invite(id, MediaTransport::Udp);
    }
    net.run(2 * S);
    assert_eq!(net.platform.gauges().invites, max as usize);
    let told = net.told(max + 1);
    assert!(
        told[0].starts_with("failed Rejected { status: 486"),
        "{told:?}"
    );
}

#[test]
fn the_device_may_hang_up() {
    let mut net = Net::with_device(config(), 1);
    net.invite(1, MediaTransport::Udp);
    net.run(2 * S);
    let media = net.started()[0].id;
    let now = net.now;
    net.device(1).end_media(now, media);
    net.run(2 * S);
    assert_eq!(net.told(1), ["answered Udp", "ended Device"]);
    assert_eq!(net.platform.counters().byes_from_device, 1);
    // Ending what has ended is no error.
    net.command(Command::EndInvite { id: InviteId(1) });
    assert_eq!(net.told(1), ["ended Us"]);
}

#[test]
fn a_view_that_is_not_answered_can_be_cancelled() {
    let mut net = Net::with_device(config(), 1);
    net.on_invite = OnInvite::Ignore;
    net.invite(1, MediaTransport::Udp);
    net.run(2 * S);
    net.command(Command::EndInvite { id: InviteId(1) });
    assert_eq!(net.told(1), ["failed Cancelled"]);
    net.run(2 * S);
    assert_eq!(net.told(1), ["ended Us"]);
    assert!(matches!(
        net.media_events()[..],
        [device::Event::StopMedia { .. }]
    ));
}

#[test]
fn an_answer_that_crosses_the_cancel_is_hung_up() {
    let mut net = Net::with_device(config(), 1);
    net.take_events();
    net.invite(1, MediaTransport::Udp);
    // Long enough for the INVITE to arrive and be accepted, too short for the answer to be back.
    net.run(Duration::from_millis(15));
    net.command(Command::EndInvite { id: InviteId(1) });
    net.run(5 * S);
    assert_eq!(net.told(1), ["failed Cancelled", "ended Us"]);
    assert!(matches!(
        net.media_events()[..],
        [
            device::Event::StartMedia(_),
            device::Event::StopMedia { by_us: false, .. }
        ]
    ));
    assert_eq!(net.platform.counters().answers_unclaimed, 1);
}

#[test]
fn refusals_and_silence_are_named() {
    let mut net = Net::with_device(config(), 1);
    net.on_invite = OnInvite::Refuse(486);
    net.invite(1, MediaTransport::Udp);
    net.run(2 * S);
    let told = net.told(1);
    assert!(
        told[0].starts_with("failed Rejected { status: 486"),
        "{told:?}"
    );
    assert_eq!(told[1], "ended Device");

    net.on_invite = OnInvite::Ignore;
    net.invite(2, MediaTransport::Udp);
    net.run(20 * S);
    assert_eq!(net.told(2), ["failed NoAnswer", "ended Us"]);

    net.loss = 1000;
    net.invite(3, MediaTransport::Udp);
    net.run(30 * S);
    assert_eq!(net.told(3), ["failed NoAnswer", "ended Lost"]);
    net.run(200 * S);
    net.invite(4, MediaTransport::Udp);
    assert_eq!(net.told(4), ["failed DeviceOffline", "ended Us"]);
    assert_eq!(net.platform.purposes.len(), 0);
}

#[test]
fn a_device_that_falls_silent_loses_its_views() {
    let mut net = Net::with_device(config(), 1);
    net.invite(1, MediaTransport::Udp);
    net.run(2 * S);
    net.loss = 1000;
    net.run(300 * S);
    assert_eq!(net.told(1), ["answered Udp", "ended Lost"]);
    assert_eq!(net.platform.gauges().invites, 0);
}

#[test]
fn a_view_of_somebody_unknown_is_refused_at_once() {
    let mut net = Net::new(config());
    net.invite(1, MediaTransport::Udp);
    assert_eq!(net.told(1), ["failed DeviceUnknown", "ended Us"]);
}

#[test]
fn views_have_a_bound() {
    let mut net = Net::with_device(config(), 1);
    net.on_invite = OnInvite::Ignore;
    let max = crate::limits::INVITES_MAX as u64;
    for id in 0..max {
        let invite = Invite {
            id: InviteId(id),
            device: device_id(1),
            channel: channel_id(1, 1),
            footage: Footage::Live,
            ssrc: Ssrc(1),
            transport: MediaTransport::Udp,
            media_port: 1,
            media_ip: None,
        };
        net.platform.invite(net.now, invite);
    }
    assert_eq!(net.platform.counters().invites_sent, max);
    net.invite(max, MediaTransport::Udp);
    assert!(net.told(max).contains(&"failed TooMany".into()));
}

#[test]
fn shutting_down_hangs_up_everywhere() {
    let mut net = Net::with_device(config(), 1);
    for id in 1..=3 {
        net.invite(id, MediaTransport::Udp);
    }
    net.run(2 * S);
    net.take_events();
    net.command(Command::Shutdown);
    net.run(S);
    assert!(net.events.iter().any(|(_, e)| matches!(e, Event::Drained)));
    let stops = net
        .media_events()
        .iter()
        .filter(|e| matches!(e, device::Event::StopMedia { .. }))
        .count();
    assert_eq!(stops, 3);
    net.take_events();
    net.invite(9, MediaTransport::Udp);
    assert_eq!(net.told(9), ["failed Cancelled", "ended Us"]);
}

#[test]
fn shutting_down_does_not_wait_for_the_dead() {
    let mut net = Net::with_device(config(), 1);
    net.invite(1, MediaTransport::Udp);
    net.run(2 * S);
    net.loss = 1000;
    net.command(Command::Shutdown);
    net.run(Duration::from_secs(PLATFORM_DRAIN_S) - S);
    assert!(!net.events.iter().any(|(_, e)| matches!(e, Event::Drained)));
    net.run(S);
    let drained = net
        .events
        .iter()
        .filter(|(_, e)| matches!(e, Event::Drained))
        .count();
    assert_eq!(drained, 1);
}
