//! Devices: online, offline, lists, queries, what is stored and restored.

use super::*;
use crate::gb28181::notice::{CatalogChange, ChannelEvent, Notice, Position};
use crate::gb28181::{DeviceAuth, DeviceInfo, Persist as GbPersist, StoredDevice};
use crate::limits::EVENT_CHANNELS_MAX;

fn online(n: u32, first: bool) -> Gb {
    Gb::Online {
        device: device(n),
        peer: peer(),
        over_tcp: true,
        first,
    }
}

fn stored(n: u32, online: bool) -> StoredDevice {
    StoredDevice {
        device: device(n),
        auth: DeviceAuth::Default,
        peer: Some(peer()),
        over_tcp: false,
        online,
        expires_unix_s: 0,
        last_seen_unix_s: 3,
        gb_version: None,
    }
}

fn show(rig: &mut Rig, n: u32) -> DeviceView {
    match rig.call(Command::Device { device: device(n) }) {
        Ok(Reply::Device(view)) => *view,
        other => panic!("no device: {other:?}"),
    }
}

/// A position is of whom its item names, else of whom the message is about; what is no channel has no place.
#[test]
fn positions_are_of_the_device_or_of_its_channels() {
    let mut rig = Rig::with(config());
    rig.gb(online(1, true));
    let channels = vec![camera(1), camera(2)];
    rig.gb(Gb::Catalog {
        device: device(1),
        channels,
        partial: false,
    });
    let mut told = |about: Option<&str>, items: &[Option<&str>]| {
        rig.events.clear();
        let items = items.iter().map(|id| Position {
            device_id: id.map(str::to_owned),
            ..Position::default()
        });
        rig.gb(Gb::Notified {
            device: device(1),
            about: about.map(|id| id.parse().expect("a code")),
            notice: Box::new(Notice::Positions(items.collect())),
        });
        let Some(Event::Positions { positions, .. }) = rig.events.first() else {
            panic!("no positions");
        };
        let told = positions.iter().map(|p| (p.about.to_string(), p.index));
        told.collect::<Vec<_>>()
    };
    let own = device(1).to_string();
    let (first, second) = (camera(1).id, camera(2).id);
    let stranger = "34020000001310009999";
    assert_eq!(told(None, &[None]), [(own.clone(), None)]);
    assert_eq!(told(Some(&second), &[None]), [(second.clone(), Some(1))]);
    let items = [Some(&*own), Some(&*first), Some(stranger), Some("?")];
    assert_eq!(
        told(Some(&own), &items),
        [
            (own.clone(), None),
            (first, Some(0)),
            (stranger.to_owned(), None),
            (own, None)
        ]
    );
}

#[test]
fn a_device_that_comes_is_told_and_stored() {
    let mut rig = Rig::with(config());
    rig.gb(online(1, true));
    assert!(matches!(&rig.events[..], [Event::DeviceOnline { device }] if device.online));
    assert!(rig.queries.is_empty(), "the platform asks who registers");
    let info = DeviceInfo {
        name: "gate".into(),
        ..DeviceInfo::default()
    };
    for _ in 0..2 {
        let info = info.clone();
        rig.gb(Gb::DeviceInfo {
            device: device(1),
            info,
        });
    }
    let channels = vec![camera(1), camera(2)];
    rig.gb(Gb::Catalog {
        device: device(1),
        channels,
        partial: false,
    });
    let told = rig.events.iter();
    assert_eq!(
        told.filter(|e| matches!(e, Event::DeviceChanged { .. }))
            .count(),
        2
    );
    assert!(matches!(
        &rig.persist[..],
        [Persist::Info { .. }, Persist::Channels { channels, partial: false, .. }]
            if *channels == [camera(1), camera(2)]
    ));
    let view = show(&mut rig, 1);
    assert_eq!(view.info.name, "gate");
    assert_eq!(view.channels.len(), 2);
    assert!(view.online && view.over_tcp);
    assert_eq!(rig.core.timers.len(), 0);
}

#[test]
fn a_reregistration_is_no_news() {
    let mut rig = Rig::new();
    rig.queries.clear();
    rig.gb(online(1, false));
    assert!(rig.events.is_empty() && rig.queries.is_empty());
    rig.go(device(1));
    rig.go(device(1));
    assert!(matches!(&rig.events[..], [Event::DeviceOffline { device }] if !device.online));
    rig.gb(online(1, true));
    assert!(matches!(
        rig.events.last(),
        Some(Event::DeviceOnline { .. })
    ));
    assert!(rig.queries.is_empty());
}

#[test]
fn a_refresh_asks_who_is_online() {
    let mut rig = Rig::new();
    rig.queries.clear();
    let refresh = |n| Command::RefreshCatalog { device: device(n) };
    assert!(rig.call(refresh(1)).is_ok());
    assert_eq!(rig.queries, [device(1)]);
    let unknown = rig.call(refresh(2)).map(|_| ());
    assert_eq!(unknown, Err(Error::NotFound { what: "device" }));
    rig.go(device(1));
    let offline = rig.call(refresh(1)).map(|_| ());
    assert_eq!(offline, Err(Error::DeviceOffline));
}

#[test]
fn a_restart_is_no_event() {
    let mut before = Rig::new();
    let kept = before.persist.iter().rev().find_map(|p| match p {
        Persist::Channels { channels, .. } => Some(channels.clone()),
        Persist::Platform(_)
        | Persist::Info { .. }
        | Persist::Directory { .. }
        | Persist::Channel { .. }
        | Persist::Node { .. }
        | Persist::Transport { .. } => None,
    });
    let (opened, _) = before.view(0);
    let mut rig = Rig::with(config());
    rig.core.restore(vec![
        RestoredDevice {
            stored: stored(1, true),
            info: DeviceInfo {
                name: "gate".into(),
                ..DeviceInfo::default()
            },
            transport: None,
            channels: kept.expect("channels were stored"),
            partial: false,
            policy: Default::default(),
        },
        RestoredDevice {
            stored: stored(2, false),
            info: DeviceInfo::default(),
            transport: None,
            channels: Vec::new(),
            partial: false,
            policy: Default::default(),
        },
    ]);
    rig.drain();
    assert!(rig.events.is_empty());
    let restored = rig.platform.iter();
    assert_eq!(
        restored
            .filter(|c| matches!(c, GbCommand::Restore(_)))
            .count(),
        2
    );
    rig.gb(online(1, false));
    assert!(rig.events.is_empty() && rig.queries.is_empty());
    let view = show(&mut rig, 1);
    assert_eq!((view.info.name.as_str(), view.channels.len()), ("gate", 4));
    rig.gb(online(2, false));
    assert_eq!(
        rig.queries,
        [device(2)],
        "known, but never heard of its channels"
    );
    rig.view(3);
    assert_eq!(rig.core.gauges().devices_online, 2);
    // A session of the run before is not one of this run, once the clock has gone on.
    let old = opened.session;
    assert!(old.0 >> 20 == (UNIX_MS / 1000) as u64);
}

#[test]
fn facts_of_the_platform_pass_through() {
    let mut rig = Rig::new();
    rig.persist.clear();
    let seen = GbPersist::Seen {
        device: device(1),
        unix_s: 99,
    };
    rig.gb(Gb::Persist(seen));
    rig.gb(Gb::Persist(GbPersist::Offline { device: device(1) }));
    assert_eq!(rig.persist.len(), 2);
    let view = show(&mut rig, 1);
    assert_eq!(view.last_seen_unix_s, 99);
    assert!(view.online, "the event says when it goes");
}

#[test]
fn devices_have_a_bound() {
    let mut rig = Rig::with(CoreConfig {
        devices_max: 2,
        ..config()
    });
    for n in 1..=3 {
        rig.gb(online(n, true));
    }
    let Ok(Reply::Devices(list)) = rig.call(Command::Devices) else {
        panic!("a list")
    };
    assert_eq!(list.len(), 2);
    assert_eq!(rig.core.counters().devices_refused, 1);
}

#[test]
fn media_services_are_listed_and_reset_everywhere() {
    let mut rig = Rig::new();
    rig.media(MediaEvent::Service(MediaServiceView {
        shard: 1,
        viewers: 7,
        rtp_port: 30001,
        ..MediaServiceView::default()
    }));
    rig.media(MediaEvent::Service(MediaServiceView {
        shard: 9,
        ..MediaServiceView::default()
    }));
    let Ok(Reply::MediaServices(list)) = rig.call(Command::MediaServices) else {
        panic!("a list")
    };
    let shown: Vec<_> = list
        .iter()
        .map(|s| (s.shard, s.viewers, s.rtp_port))
        .collect();
    assert_eq!(shown, [(0, 0, 30000), (1, 7, 30001)]);
    assert!(rig.call(Command::ResetStatistics).is_ok());
    assert_eq!(rig.media.len(), 2);
}

/// A device is told whole when a part of it changes, unless it is large.
#[test]
fn a_change_of_a_large_directory_is_told_alone() {
    for (channels, is_whole) in [(EVENT_CHANNELS_MAX, true), (EVENT_CHANNELS_MAX + 1, false)] {
        let mut rig = Rig::with(config());
        rig.gb(online(1, true));
        rig.gb(Gb::Catalog {
            device: device(1),
            channels: (1..=channels as u32).map(camera).collect(),
            partial: false,
        });
        rig.events.clear();
        let changes = vec![CatalogChange {
            event: ChannelEvent::Off,
            item: camera(3),
        }];
        rig.gb(Gb::Notified {
            device: device(1),
            about: None,
            notice: Box::new(Notice::Catalog(changes)),
        });
        let [Event::DirectoryChanged { changes, view, .. }] = &rig.events[..] else {
            panic!("{:?}", rig.events);
        };
        assert_eq!(changes.len(), 1);
        assert_eq!((changes[0].index, changes[0].online), (Some(2), false));
        let whole = view.as_ref().map(|view| view.channels.len());
        assert_eq!(whole, is_whole.then_some(channels));
    }
}
