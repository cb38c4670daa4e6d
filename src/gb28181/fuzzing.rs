//! Body of the fuzz target, here so that a normal build checks its types. It asserts what must hold for any input.
#![doc(hidden)]

use super::manscdp::{Body, Charset, Flaws, encode, parse};
use crate::limits::{MANSCDP_ITEMS_MAX, MANSCDP_VALUE_BYTES_MAX};

/// A MANSCDP body: bounds hold, and the items read can be written and read again as they are.
pub fn manscdp(data: &[u8]) {
    let Ok(message) = parse(data) else {
        return;
    };
    let Body::Catalog(page) = message.body else {
        return;
    };
    assert!(page.items.len() <= MANSCDP_ITEMS_MAX);
    for item in &page.items {
        assert!(!item.id.is_empty());
        for value in [&item.id, &item.name, &item.address, &item.owner] {
            assert!(value.len() <= MANSCDP_VALUE_BYTES_MAX);
        }
        assert!(item.longitude.is_none_or(|d| d.abs() <= 180.0));
        assert!(item.latitude.is_none_or(|d| d.abs() <= 90.0));
    }
    // Control characters are not written; positions come in pairs or not at all.
    let plain = |text: &str| text.chars().all(|c| !c.is_control() && c != '\u{fffd}');
    let kept = page.items.into_iter().filter(|item| {
        [
            &item.id,
            &item.name,
            &item.manufacturer,
            &item.model,
            &item.owner,
            &item.civil_code,
            &item.address,
            &item.parent_id,
        ]
        .into_iter()
        .all(|text| plain(text))
            && item.longitude.is_some() == item.latitude.is_some()
    });
    let kept: Vec<_> = kept.take(8).collect();
    let device = "34020000001110000001".parse().expect("a code");
    let written = encode::catalog(1, device, 8, &kept, Charset::Utf8);
    let again = parse(&written).expect("our own writing");
    assert_eq!(again.flaws, Flaws::default());
    let Body::Catalog(page) = again.body else {
        panic!("a Catalog came back as something else");
    };
    assert_eq!(page.items, kept);
}
