//! MANSCDP: time per body, beside the floor of looking at each of its bytes once.
//!
//! Floor: `memchr` for every `<` of the body (what any reader of markup must do), and for GB bodies the decoding into
//! UTF-8 by `encoding_rs`.

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use gantry::gb28181::CatalogItem;
use gantry::gb28181::manscdp::{self, Charset, encode};
use gantry::id::GbId;
use std::hint::black_box;

fn bodies() -> Vec<(&'static str, Vec<u8>)> {
    let device: GbId = "34020000001110000001".parse().expect("a code");
    let item = |n: u32| CatalogItem {
        id: format!("3402000000132000{n:04}"),
        name: format!("东大门出入口摄像机{n}"),
        manufacturer: "Gantry".into(),
        model: "IPC-4M".into(),
        owner: "3402000000".into(),
        civil_code: "340200".into(),
        address: "滨江大道一百二十三号".into(),
        parent_id: device.to_string(),
        online: true,
        longitude: Some(117.28),
        latitude: Some(31.86),
        ptz_type: 1,
        ..CatalogItem::default()
    };
    let items: Vec<CatalogItem> = (0..100).map(item).collect();
    vec![
        ("keepalive", encode::keepalive(1, device, Charset::Gb2312)),
        (
            "catalog of 1, UTF-8",
            encode::catalog(1, device, 1, &items[..1], Charset::Utf8),
        ),
        (
            "catalog of 1, GB 18030",
            encode::catalog(1, device, 1, &items[..1], Charset::Gb2312),
        ),
        (
            "catalog of 100, GB 18030",
            encode::catalog(1, device, 100, &items, Charset::Gb2312),
        ),
    ]
}

fn parse(c: &mut Criterion) {
    let mut group = c.benchmark_group("manscdp");
    for (name, body) in bodies() {
        group.throughput(Throughput::Bytes(body.len() as u64));
        group.bench_function(format!("parse {name}"), |b| {
            b.iter(|| manscdp::parse(black_box(&body)));
        });
        group.bench_function(format!("floor {name}"), |b| {
            b.iter_batched(
                || (),
                |()| {
                    let tags = memchr::memchr_iter(b'<', black_box(&body)).count();
                    let text = if body.is_ascii() {
                        None
                    } else {
                        Some(encoding_rs::GB18030.decode_without_bom_handling(&body))
                    };
                    black_box((tags, text.map(|t| t.0.len())))
                },
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

criterion_group!(benches, parse);
criterion_main!(benches);
