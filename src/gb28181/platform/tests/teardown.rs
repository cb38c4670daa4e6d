//! How a playback ends that is ended here: TEARDOWN, then BYE (GB/T 28181-2016, B.2.5 and 9.8).

use super::*;
use crate::gb28181::answer::FileRecord;
use crate::gb28181::device::Abilities;
use crate::gb28181::mansrtsp::Order;
use crate::gb28181::quirk::{Quirks, TeardownPolicy};
use crate::gb28181::types::{EndedBy, Span};

const FIRST: InviteId = InviteId(1);

/// A record of a device that plays, with what the device was asked so far left out.
fn playing(abilities: Abilities, footage: Footage) -> Net {
    let records = vec![FileRecord {
        start_time: Some("2020-01-01T00:00:00".into()),
        end_time: Some("2030-01-01T00:00:00".into()),
        ..FileRecord::default()
    }];
    let mut net = Net::new(config());
    net.add(device::Config {
        abilities: Arc::new(Abilities {
            records,
            ..abilities
        }),
        ..device_config(1, 2)
    });
    net.run(5 * S);
    net.command(Command::Invite(Invite {
        id: FIRST,
        device: device_id(1),
        channel: channel_id(1, 1),
        footage,
        ssrc: Ssrc(1_100_000_001),
        transport: MediaTransport::Udp,
        media_port: 30_000,
        media_ip: None,
    }));
    net.run(5 * S);
    assert_eq!(net.started().len(), 1);
    net.take_events();
    net.said.clear();
    net
}

fn a_record() -> Footage {
    Footage::Playback(Span::new(1_690_000_000, 1_690_000_060).expect("a minute"))
}

impl Net {
    /// The requests that were sent to the device: the method, and the first word of the body.
    fn asked(&self) -> Vec<String> {
        let said = self.said.iter().cloned();
        let messages = said.filter_map(|raw| Message::parse(raw, Carrier::Datagram).ok());
        let requests = messages.filter(Message::is_request);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let line = |m: Message| {
            let body = text(m.body());
            let first = body.split_whitespace().next().unwrap_or_default();
            format!("{} {first}", text(m.method_text()))
        };
        requests.map(line).collect()
    }

    /// How often, and by whom, a view was said to have ended.
    fn ends(&mut self) -> Vec<EndedBy> {
        let events = self.take_events().into_iter();
        let ends = events.filter_map(|event| match event {
            Event::InviteEnded { by, .. } => Some(by),
            _ => None,
        });
        ends.collect()
    }
}

#[test]
fn a_playback_that_is_ended_here_is_torn_down_and_hung_up() {
    let mut net = playing(Abilities::default(), a_record());
    net.command(Command::EndInvite { id: FIRST });
    assert_eq!(
        net.asked(),
        ["INFO TEARDOWN", "BYE "],
        "without waiting for an answer"
    );
    net.run(5 * S);
    assert_eq!(net.asked().len(), 2, "both were answered");
    assert_eq!(net.ends(), [EndedBy::Us]);
    let ordered = net.device_events.iter().any(|(_, event)| {
        matches!(event, device::Event::Ordered { order, .. } if *order == Order::Teardown)
    });
    assert!(ordered, "the device read it");
    assert_eq!(net.platform.counters().teardowns_sent, 1);
    assert_eq!(net.platform.gauges().invites, 0);
}

#[test]
fn live_views_downloads_and_records_that_have_ended_are_hung_up_alone() {
    let span = Span::new(1_690_000_000, 1_690_000_060).expect("a minute");
    for footage in [Footage::Live, Footage::Download { span, speed: 4 }] {
        let mut net = playing(Abilities::default(), footage);
        net.command(Command::EndInvite { id: FIRST });
        net.run(5 * S);
        assert_eq!(net.asked(), ["BYE "], "{footage:?}");
    }
    let mut net = playing(Abilities::default(), a_record());
    let now = net.now;
    net.device(1).end_of_file(now, device::MediaId(0), true);
    net.run(S);
    net.command(Command::EndInvite { id: FIRST });
    net.run(5 * S);
    assert_eq!(net.asked(), ["BYE "], "its file is at its end");
    assert_eq!(net.platform.counters().teardowns_sent, 0);
}

/// Such a device hangs up before our BYE has come to it, and answers that with 481.
#[test]
fn a_device_that_hangs_up_at_teardown_has_ended_the_view_as_well() {
    let abilities = Abilities {
        hangs_up: true,
        ..Abilities::default()
    };
    let mut net = playing(abilities, a_record());
    net.command(Command::EndInvite { id: FIRST });
    net.run(40 * S);
    assert_eq!(net.ends(), [EndedBy::Us]);
    assert_eq!(net.platform.counters().byes_unanswered, 0);
    assert_eq!(net.platform.gauges().invites, 0);
}

#[test]
fn a_device_that_refuses_teardown_or_hears_nothing_is_hung_up_all_the_same() {
    let mut net = playing(Abilities::default(), a_record());
    // It knows nothing of that dialog any more: INFO and BYE get 481.
    net.devices.clear();
    net.command(Command::EndInvite { id: FIRST });
    net.run(40 * S);
    let asked = net.asked();
    assert!(asked.iter().any(|a| a == "BYE "), "{asked:?}");
    assert_eq!(net.ends(), [EndedBy::Lost], "nobody answered");
    assert_eq!(net.platform.gauges().invites, 0);
}

#[test]
fn a_device_that_takes_teardown_ill_is_spared_it() {
    let mut net = playing(Abilities::default(), a_record());
    let quirks = Quirks {
        teardown: TeardownPolicy::Skip,
        ..Quirks::default()
    };
    let device = device_id(1);
    net.command(Command::ForceQuirks { device, quirks });
    net.command(Command::EndInvite { id: FIRST });
    net.run(5 * S);
    assert_eq!(net.asked(), ["BYE "]);
}
