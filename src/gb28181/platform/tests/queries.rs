//! Questions about directories: whole, in parts, lost, and many at a time.

use super::*;

#[test]
fn directories_come_whole_through_heavy_loss() {
    let mut net = Net::new(config());
    net.loss = 300;
    for n in 1..=20 {
        net.add(device_config(n, 9));
    }
    net.run(180 * S);
    let whole = net.catalogs().iter().filter(|c| **c == (9, false)).count();
    assert!(whole >= 20, "{:?}", net.catalogs());
}

#[test]
fn a_lost_page_makes_a_partial_directory_that_is_asked_for_again() {
    let mut net = Net::with_device(config(), 0);
    net.take_events();
    net.command(Command::QueryCatalog {
        device: device_id(1),
    });
    let sn = net.platform.queries.get(
        net.platform.registrar.find(device_id(1)).expect("known"),
        QueryKind::Catalog,
    );
    let sn = sn.expect("a query").sn;
    let items: Vec<CatalogItem> = device_config(1, 2).channels.to_vec();
    let page = |sn, item: &CatalogItem| {
        String::from_utf8_lossy(&encode::catalog(
            sn,
            device_id(1).0,
            3,
            std::slice::from_ref(item),
            Charset::Utf8,
        ))
        .into_owned()
    };
    for (n, item) in items.iter().enumerate() {
        let text = request(
            "MESSAGE",
            &device_id(1).to_string(),
            address_of(1),
            &format!("p{n}"),
            &page(sn, item),
        );
        // The simulated device is not asked: it would answer with an empty directory.
        assert_eq!(net.status(address_of(1), &text), 200);
    }
    assert_eq!(net.platform.gauges().catalogs_coming, 1);
    net.wire.clear();
    let progress: Vec<_> = net
        .take_events()
        .into_iter()
        .filter(|e| matches!(e, Event::CatalogProgress { total: 3, .. }))
        .collect();
    assert_eq!(progress.len(), 2);
    net.run(6 * S);
    assert_eq!(net.catalogs()[0], (2, true));
    // Asked again; this time the simulated device says that it has none.
    assert_eq!(net.catalogs()[1..], [(0, false)]);
    assert_eq!(net.platform.gauges().catalogs_coming, 0);
    assert_eq!(net.platform.catalog_items, 0);
}

#[test]
fn whoever_asks_a_device_that_is_not_there_is_told() {
    let mut net = Net::new(config());
    net.command(Command::QueryCatalog {
        device: device_id(1),
    });
    assert_eq!(net.catalogs(), [(0, true)]);
}

#[test]
fn a_device_that_never_answers_is_given_up_and_holds_up_nobody() {
    let mut net = Net::new(Config {
        queries_at_once: 1,
        ..config()
    });
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
    net.add(device_config(2, 3));
    net.run(15 * S);
    assert!(net.catalogs().contains(&(3, false)), "{:?}", net.catalogs());
    net.run(60 * S);
    assert!(net.catalogs().contains(&(0, true)));
    assert_eq!(net.platform.gauges().queries_active, 0);
}

#[test]
fn questions_are_few_at_a_time_when_many_register_at_once() {
    let mut net = Net::new(config());
    for n in 1..=300 {
        net.add(device_config(n, 1));
    }
    let mut most = 0;
    for _ in 0..400 {
        net.run(Duration::from_millis(10));
        most = most.max(net.platform.queries.active());
    }
    assert!(most <= 64, "{most}");
    assert_eq!(net.catalogs().len(), 300);
    assert!(net.catalogs().iter().all(|c| *c == (1, false)));
}

/// Lets devices in without the network in between, and gives their places.
fn crowd(net: &mut Net, count: u32) -> Vec<Slot> {
    let now = net.now;
    (0..count)
        .map(|n| {
            let path = Path {
                peer: address_of(n),
                local: platform_address(),
                transport: Transport::Udp,
            };
            let registrar = &mut net.platform.registrar;
            let registered = registrar.register(now, device_id(n), path, 3600 * S, None);
            registered.expect("there is room").0
        })
        .collect()
}

fn page_of(items: usize) -> crate::gb28181::manscdp::CatalogPage {
    crate::gb28181::manscdp::CatalogPage {
        total: Some(u32::MAX),
        items: (0..items)
            .map(|n| CatalogItem {
                id: n.to_string(),
                ..CatalogItem::default()
            })
            .collect(),
        unusable: 0,
    }
}

#[test]
fn directories_that_come_at_the_same_time_have_a_bound() {
    let mut net = Net::new(config());
    let max = crate::limits::CATALOGS_COMING_MAX;
    let slots = crowd(&mut net, max as u32 + 1);
    let now = net.now;
    for slot in &slots {
        net.platform.catalog_page(now, *slot, Some(1), page_of(1));
        let coming = net.platform.gauges().catalogs_coming;
        assert!(coming <= max);
    }
    assert_eq!(net.platform.gauges().catalogs_coming, max);
    assert_eq!(net.platform.counters().catalog_pages_foreign, 1);
    // Silence ends them all, and room is made.
    net.now += 10 * S;
    net.platform.handle_timeout(net.now);
    assert_eq!(net.platform.gauges().catalogs_coming, 0);
    assert_eq!(net.platform.catalog_items, 0);
}

#[test]
fn items_of_all_directories_together_have_a_bound() {
    let mut net = Net::new(config());
    let max = crate::limits::CATALOG_ITEMS_HELD_MAX;
    let page = crate::limits::MANSCDP_ITEMS_MAX;
    let slots = crowd(&mut net, (max / page) as u32 + 1);
    let now = net.now;
    let (last, full) = slots.split_last().expect("some");
    for slot in full {
        net.platform
            .catalog_page(now, *slot, Some(1), page_of(page));
    }
    assert_eq!(net.platform.catalog_items, max);
    assert_eq!(net.platform.counters().xml_truncated, 0);
    net.platform.catalog_page(now, *last, Some(1), page_of(1));
    assert_eq!(net.platform.catalog_items, max);
    assert_eq!(net.platform.counters().xml_truncated, 1);
}
