//! Bodies of the fuzz targets, here so that a normal build checks their types. They assert what must hold for any input.
#![doc(hidden)]

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::edition::Edition;
use super::manscdp::{Body, Charset, Flaws, encode, parse};
use super::mansrtsp::{self, Order};
use super::split::Splits;
use crate::fuzzing::Script;
use crate::limits::{
    MANSCDP_ITEMS_MAX, MANSCDP_VALUE_BYTES_MAX, SIP_SPLIT_MESSAGES_MAX, SIP_SPLIT_WAIT_MS,
};
use crate::sip::{Path, Transport};

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
            &item.business_group_id,
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

/// An order to a playback, or the answer to one: what was read is read again from what we write of it, in every edition.
pub fn mansrtsp(data: &[u8]) {
    let _ = mansrtsp::status(data);
    let Ok(order) = Order::read(data) else {
        return;
    };
    let editions = [Edition::Y2011, Edition::Y2016, Edition::Y2022];
    for edition in editions.into_iter().map(Some).chain([None]) {
        assert_eq!(Order::read(&order.write(7, edition)), Ok(order));
    }
}

/// Messages cut into datagrams, mixed, repeated and lost on the way: nothing is held for long, and no byte is made or lost.
pub fn sip_split(data: &[u8]) {
    let mut script = Script::new(data);
    let mut now = Instant::now();
    let mut splits = Splits::default();
    let (mut taken, mut given) = (0, 0);
    while !script.is_over() {
        let peer = SocketAddr::from(([10, 0, 0, script.byte() % 3], 5060));
        let path = Path {
            peer,
            local: SocketAddr::from(([10, 9, 0, 1], 5060)),
            transport: Transport::Udp,
        };
        let raw = match script.below(4) {
            0 => {
                now += Duration::from_millis(u64::from(script.byte()) * 4);
                while let Some((_, raw)) = splits.poll_expired(now) {
                    given += raw.len();
                }
                continue;
            }
            1 => script.bytes(40).to_vec(),
            2 => b"<Item><DeviceID>1</DeviceID></Item></DeviceList></Response>".to_vec(),
            _ => {
                let mut raw = format!(
                    "MESSAGE sip:a@b SIP/2.0\r\nContent-Length: {}\r\n\r\n<Response><DeviceList>",
                    script.word()
                )
                .into_bytes();
                raw.extend_from_slice(script.bytes(20));
                raw
            }
        };
        taken += raw.len();
        for (_, raw) in splits.take(now, path, Bytes::from(raw)) {
            given += raw.len();
        }
    }
    let long_after = now + Duration::from_millis(SIP_SPLIT_WAIT_MS) + Duration::from_secs(1);
    let mut waited = 0;
    while let Some((_, raw)) = splits.poll_expired(long_after) {
        waited += 1;
        given += raw.len();
    }
    assert!(waited <= SIP_SPLIT_MESSAGES_MAX);
    assert_eq!((given, splits.next_deadline()), (taken, None));
}
