//! Body of the fuzz target, here so that a normal build checks its types. It asserts what must hold for any input.
#![doc(hidden)]

use super::manscdp::{Body, Charset, Flaws, encode, parse};
use crate::limits::{MANSCDP_ITEMS_MAX, MANSCDP_VALUE_BYTES_MAX};

/// A header value, certificate, request or revocation list of GB 35114: nothing panics, and what is written from what was read
/// is read again as the same.
pub fn gb35114(data: &[u8]) {
    use super::gb35114::{Certificate, CertificateRequest, Scheme, Value, header, x509};
    if let Some(value) = Value::read(data) {
        let names = [
            "random1", "random2", "serverid", "deviceid", "sign1", "cryptkey",
        ];
        let held: Vec<(&str, &str)> = names
            .into_iter()
            .filter_map(|name| Some((name, value.get(name)?)))
            .collect();
        // A value without quotes can hold one, which cannot be written back.
        if held.iter().all(|(_, v)| !v.contains('"')) {
            let written = header::write(value.scheme, &held);
            if let Some(again) = Value::read(written.as_bytes()) {
                assert!(held.iter().all(|(name, v)| again.get(name) == Some(v)));
                assert_eq!(again.scheme, value.scheme);
            }
        }
        assert!(
            [
                Scheme::Capability,
                Scheme::Unidirection,
                Scheme::Bidirection
            ]
            .contains(&value.scheme)
        );
    }
    if let Some(nonce) = header::read_note(data) {
        assert!(nonce.len() <= crate::limits::GM_HEADER_BYTES_MAX);
    }
    if let Ok(certificate) = Certificate::read(data) {
        let again = Certificate::read(certificate.pem().as_bytes()).expect("our own writing");
        assert_eq!(again, certificate);
    }
    if let Ok(request) = CertificateRequest::read(data) {
        assert_eq!(CertificateRequest::read(&request.der), Ok(request));
    }
    // No list is signed by this key.
    assert!(x509::read_revocation_list(data, b"none").is_err());
}

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
