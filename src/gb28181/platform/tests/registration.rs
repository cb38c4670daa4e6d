//! Who comes in, stays and goes: REGISTER, keepalives, restarts, addresses that change.

use super::*;

#[test]
fn a_device_registers_and_its_channels_come() {
    let mut net = Net::with_device(config(), 5);
    assert_eq!(
        net.device_events,
        [(device_id(1), device::Event::Registered)]
    );
    assert_eq!(net.online(device_id(1)), [true]);
    assert_eq!(net.catalogs(), [(5, false)]);
    let c = *net.platform.counters();
    assert_eq!((c.registers_challenged, c.registers_ok), (1, 1));
    assert_eq!((c.queries_sent, c.queries_unanswered), (2, 0));
    let events = net.take_events();
    assert!(events.iter().any(|e| matches!(e, Event::DeviceInfo { info, .. } if info.name == "录像机" && info.channels == Some(5))));
    let persisted = events.iter().find_map(|e| match e {
        Event::Persist(Persist::Device(d)) => Some(d.clone()),
        _ => None,
    });
    let persisted = persisted.expect("it is stored");
    assert!(persisted.online);
    assert_eq!(persisted.peer, Some(address_of(1)));
    assert!((persisted.expires_unix_s - UNIX_MS / 1000 - 3600).abs() <= 1);
    let gauges = net.platform.gauges();
    assert_eq!((gauges.devices_known, gauges.devices_online), (1, 1));
    assert_eq!((gauges.queries_active, gauges.catalogs_coming), (0, 0));
}

#[test]
fn the_answer_to_register_has_date_expires_and_version() {
    let mut net = Net::new(config());
    net.command(Command::SetAuth {
        device: device_id(1),
        auth: DeviceAuth::NotNeeded,
    });
    let text = request(
        "REGISTER",
        &device_id(1).to_string(),
        address_of(1),
        "r1",
        "",
    )
    .replace(
        "CSeq: 1",
        "X-GB-Ver: 2.0\r\nExpires: 86400\r\nContact: <sip:a@192.168.1.5:5060>\r\nCSeq: 1",
    );
    let answer = net.raw(address_of(1), &text).expect("an answer");
    assert_eq!(answer.status(), Some(200));
    // 1,700,000,000 s is 2023-11-14T22:13:20Z, which is 06:13:20 on the 15th at UTC+8.
    assert_eq!(
        answer.header_str(HeaderName::Date),
        Some("2023-11-15T06:13:20.000")
    );
    assert_eq!(answer.header_str(HeaderName::Expires), Some("86400"));
    // Ours, not the device's again.
    assert_eq!(answer.header_named("X-GB-Ver"), Some(&b"3.0"[..]));
    assert!(
        answer
            .header_str(HeaderName::Contact)
            .is_some_and(|c| c.contains("192.168.1.5:5060") && c.contains("expires=86400"))
    );
    // What counts is where the packet came from.
    let online = net.take_events().into_iter().find_map(|e| match e {
        Event::Online { peer, .. } => Some(peer),
        _ => None,
    });
    assert_eq!(online, Some(address_of(1)));
}

#[test]
fn dates_are_of_the_gregorian_calendar() {
    assert_eq!(register::local_time(0), "1970-01-01T00:00:00.000");
    assert_eq!(
        register::local_time(951_782_400_000),
        "2000-02-29T00:00:00.000"
    );
    assert_eq!(
        register::local_time(4_107_542_399_999),
        "2100-02-28T23:59:59.999"
    );
    assert_eq!(register::local_time(-1), "1969-12-31T23:59:59.999");
}

#[test]
fn a_wrong_password_gets_401_again_then_403_and_a_pause() {
    let mut net = Net::new(config());
    let mut wrong = device_config(1, 0);
    wrong.password = "wrong".into();
    net.add(wrong);
    net.run(5 * S);
    // The device tries every 10 s; the last of the wrong ones allowed gets 403 instead of 401.
    net.run(10 * S * (WRONG_PASSWORDS_MAX - 1));
    let c = *net.platform.counters();
    assert_eq!(c.registers_wrong, u64::from(WRONG_PASSWORDS_MAX - 1));
    assert_eq!(c.registers_refused, 1);
    assert!(net.offline().is_empty() && net.online(device_id(1)).is_empty());
    // In the pause not even the question is heard.
    net.run(10 * S);
    let c = *net.platform.counters();
    assert_eq!((c.registers_wrong, c.registers_refused), (2, 2));
    let failures: Vec<_> = net.device_events.iter().map(|(_, e)| *e).collect();
    assert_eq!(
        failures,
        [401, 401, 403, 403].map(|status| device::Event::RegisterFailed { status })
    );
    // Another device behind the same address pays nothing.
    let mut sibling = device_config(2, 0);
    sibling.path.local = SocketAddr::new(address_of(1).ip(), 5062);
    net.add(sibling);
    net.run(2 * S);
    assert_eq!(net.online(device_id(2)), [true]);
    // The right password counts at once when the operator sets it.
    net.command(Command::SetAuth {
        device: device_id(1),
        auth: DeviceAuth::Password("wrong".into()),
    });
    net.run(15 * S);
    assert_eq!(net.online(device_id(1)), [true]);
}

#[test]
fn a_source_that_guesses_for_many_devices_is_paused_as_a_whole_but_who_is_in_stays() {
    let mut net = Net::new(config());
    let ip = address_of(1).ip();
    let now = net.now;
    let mut inside = device_config(1, 0);
    inside.expires = 90 * S;
    net.add(inside);
    net.run(2 * S);
    for n in 0..WRONG_PASSWORDS_PER_IP_MAX {
        net.platform.suspects.wrong(now, ip, device_id(100 + n));
    }
    let suspects = &net.platform.suspects;
    assert!(suspects.is_paused(now, ip, device_id(999), false));
    assert!(!suspects.is_paused(now, ip, device_id(1), true));
    net.run(50 * S);
    assert_eq!(net.platform.counters().registers_ok, 1);
    net.run(30 * S);
    assert_eq!(net.platform.counters().registers_ok, 2);
}

#[test]
fn without_a_password_nobody_unknown_comes_in() {
    let mut net = Net::new(Config {
        default_password: None,
        ..config()
    });
    net.add(device_config(1, 0));
    net.add(device_config(2, 0));
    net.command(Command::SetAuth {
        device: device_id(2),
        auth: DeviceAuth::NotNeeded,
    });
    net.run(3 * S);
    assert!(net.online(device_id(1)).is_empty());
    assert_eq!(net.online(device_id(2)), [true]);
    assert_eq!(net.platform.gauges().devices_known, 1);
}

#[test]
fn a_register_without_a_code_is_answered_with_400() {
    let mut net = Net::new(config());
    let text = request("REGISTER", "camera", address_of(1), "r1", "")
        .replace(&format!("To: <sip:{PLATFORM_ID}"), "To: <sip:camera");
    assert_eq!(net.status(address_of(1), &text), 400);
    assert_eq!(net.platform.counters().malformed_id, 1);
}

#[test]
fn leaving_comes_first_and_under_a_new_call_id_too() {
    let mut net = Net::new(config());
    net.command(Command::SetAuth {
        device: device_id(1),
        auth: DeviceAuth::NotNeeded,
    });
    let leave = |call_id: &str| {
        request(
            "REGISTER",
            &device_id(1).to_string(),
            address_of(1),
            call_id,
            "",
        )
        .replace("CSeq: 1", "Expires: 0\r\nContact: *\r\nCSeq: 1")
    };
    let come = |call_id: &str| {
        leave(call_id)
            .replace("Expires: 0", "Expires: 60")
            .replace("*", "<sip:x@1.1.1.1>")
    };
    assert_eq!(net.status(address_of(1), &leave("a")), 200);
    assert!(net.offline().is_empty());
    assert_eq!(net.status(address_of(1), &come("b")), 200);
    assert_eq!(net.status(address_of(1), &leave("c")), 200);
    assert_eq!(net.offline(), [(device_id(1), OfflineReason::Unregistered)]);
    // It has to register again: a keepalive is not enough.
    assert_eq!(keepalive(&mut net, 1, address_of(1), "k"), 403);
}

#[test]
fn a_registration_ends_when_it_is_not_renewed() {
    let mut net = Net::new(config());
    net.command(Command::SetAuth {
        device: device_id(1),
        auth: DeviceAuth::NotNeeded,
    });
    let text = request(
        "REGISTER",
        &device_id(1).to_string(),
        address_of(1),
        "a",
        "",
    )
    .replace("CSeq: 1", "Expires: 100\r\nCSeq: 1");
    assert_eq!(net.status(address_of(1), &text), 200);
    let end = 100 + REGISTRATION_GRACE_S as u32;
    for n in 0..(end / 40) {
        net.run(40 * S - Duration::from_millis(100));
        assert_eq!(keepalive(&mut net, 1, address_of(1), &format!("k{n}")), 200);
    }
    assert!(net.offline().is_empty());
    net.run(12 * S);
    assert_eq!(
        net.offline(),
        [(device_id(1), OfflineReason::RegistrationExpired)]
    );
    assert_eq!(keepalive(&mut net, 1, address_of(1), "k9"), 403);
}

#[test]
fn a_shorter_registration_is_noticed_in_time() {
    let mut net = Net::new(config());
    net.command(Command::SetAuth {
        device: device_id(1),
        auth: DeviceAuth::NotNeeded,
    });
    for (call_id, expires) in [("a", 3600), ("b", 10)] {
        let text = request(
            "REGISTER",
            &device_id(1).to_string(),
            address_of(1),
            call_id,
            "",
        )
        .replace("CSeq: 1", &format!("Expires: {expires}\r\nCSeq: 1"));
        assert_eq!(net.status(address_of(1), &text), 200);
    }
    net.run(39 * S);
    assert!(net.offline().is_empty());
    net.run(2 * S);
    assert_eq!(
        net.offline(),
        [(device_id(1), OfflineReason::RegistrationExpired)]
    );
}

#[test]
fn a_silent_device_is_offline_after_the_misses_and_comes_back_with_a_keepalive() {
    let mut net = Net::with_device(config(), 1);
    net.take_events();
    net.run(60 * S);
    net.loss = 1000;
    let since = net.now;
    net.run(170 * S);
    assert!(net.offline().is_empty());
    net.run(12 * S);
    assert_eq!(
        net.offline(),
        [(device_id(1), OfflineReason::KeepaliveMissed)]
    );
    let at = net
        .events
        .iter()
        .find(|(_, e)| matches!(e, Event::Offline { .. }))
        .map(|(at, _)| *at);
    let silent = at.expect("an event").duration_since(since);
    assert!((170..=182).contains(&silent.as_secs()), "{silent:?}");
    net.loss = 0;
    assert_eq!(keepalive(&mut net, 1, address_of(1), "k"), 200);
    assert_eq!(net.online(device_id(1)), [true]);
    assert_eq!(net.platform.counters().revived, 1);
}

#[test]
fn any_packet_counts_as_life() {
    let mut net = Net::new(config());
    net.command(Command::SetAuth {
        device: device_id(1),
        auth: DeviceAuth::NotNeeded,
    });
    let text = request(
        "REGISTER",
        &device_id(1).to_string(),
        address_of(1),
        "a",
        "",
    );
    assert_eq!(net.status(address_of(1), &text), 200);
    let path = Path {
        peer: address_of(1),
        local: platform_address(),
        transport: Transport::Udp,
    };
    // The stub datagram by which some cameras keep a NAT open.
    for _ in 0..5 {
        net.run(100 * S);
        net.platform
            .handle_message(net.now, path, Bytes::from_static(b"jaK\0"));
        net.drain();
    }
    assert!(net.offline().is_empty());
    net.run(200 * S);
    assert_eq!(net.offline().len(), 1);
}

#[test]
fn after_our_restart_nobody_is_offline_and_a_keepalive_is_welcome() {
    let mut net = Net::new(config());
    for (n, online, expires) in [
        (1, true, 3000),
        (2, true, -50),
        (3, true, 3000),
        (4, false, -50),
        (5, false, 3000),
    ] {
        let stored = stored(n, &net, online, expires);
        net.command(Command::Restore(stored));
    }
    assert_eq!(net.platform.gauges().devices_online, 3);
    net.run(60 * S);
    assert!(net.take_events().is_empty());
    // Its registration has ended while we were away, but it cannot know.
    assert_eq!(keepalive(&mut net, 1, address_of(1), "k1"), 200);
    assert_eq!(keepalive(&mut net, 2, address_of(2), "k2"), 200);
    assert_eq!(net.online(device_id(1)), [false]);
    assert_eq!(net.online(device_id(2)), [false]);
    // It had left before: it must register. The other was only silent.
    assert_eq!(keepalive(&mut net, 4, address_of(4), "k4"), 403);
    assert_eq!(keepalive(&mut net, 5, address_of(5), "k5"), 200);
    assert_eq!(net.online(device_id(5)), [true]);
    // Nobody knows this one.
    assert_eq!(keepalive(&mut net, 6, address_of(6), "k6"), 403);
    assert_eq!(net.platform.counters().strangers, 2);
    net.run(118 * S);
    assert!(net.offline().is_empty());
    net.run(4 * S);
    assert_eq!(
        net.offline(),
        [(device_id(3), OfflineReason::KeepaliveMissed)]
    );
}

#[test]
fn a_restored_device_can_be_invited_before_it_speaks() {
    let mut net = Net::new(config());
    let stored = stored(1, &net, true, 3000);
    net.command(Command::Restore(stored));
    let config = device_config(1, 1);
    let address = config.path.local;
    net.devices.insert(address, Device::new(config, [9; 32]));
    net.invite(1, MediaTransport::Udp);
    net.run(2 * S);
    assert_eq!(net.told(1), ["answered Udp"]);
}

#[test]
fn nat_may_change_the_port_but_not_the_address() {
    let mut net = Net::with_device(config(), 1);
    let moved = SocketAddr::new(address_of(1).ip(), 61_000);
    assert_eq!(keepalive(&mut net, 1, moved, "k1"), 200);
    assert_eq!(
        net.platform
            .registrar
            .get(net.platform.registrar.find(device_id(1)).expect("known"))
            .path
            .map(|p| p.peer),
        Some(moved)
    );
    assert_eq!(keepalive(&mut net, 1, address_of(77), "k2"), 403);
    assert_eq!(net.platform.counters().impostors, 1);
}

#[test]
fn a_day_passes_without_anybody_falling_out() {
    let mut net = Net::new(config());
    net.loss = 50;
    for n in 1..=50 {
        let mut config = device_config(n, 1);
        config.expires = 1800 * S;
        net.add(config);
    }
    net.run(86_400 * S);
    assert!(net.offline().is_empty());
    for n in 1..=50 {
        assert!(net.online(device_id(n))[0], "{n}");
    }
    let seen = net
        .events
        .iter()
        .filter(|(_, e)| matches!(e, Event::Persist(Persist::Seen { .. })))
        .count();
    assert!(seen <= 50 * 1440, "{seen}");
    let c = net.platform.counters();
    assert!(c.registers_ok >= 50 * 60, "{c:?}");
    assert!(c.keepalives >= 50 * 1400, "{c:?}");
    assert_eq!(net.platform.purposes.len(), 0);
}
