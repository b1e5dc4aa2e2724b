//! What comparing two answers costs: JSON of about 10 KiB, equal bytes, equal values, one difference.

use std::fmt::Write;
use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tidegate::diff::{Answer, Body, Rules, compare};
use tidegate::h1::fields::Fields;

/// A page of a shop's orders; `space` goes between tokens, `price` into the last order.
fn document(space: &str, price: &str) -> String {
    let mut text = format!("{{\"page\":{space}1,\"generated_at\":{space}1700000000,\"items\":[");
    for n in 0..60 {
        let comma = if n == 0 { "" } else { "," };
        let price = if n == 59 { price } else { "19.90" };
        write!(
            text,
            "{comma}{{\"id\":{space}{n},\"name\":{space}\"Article number {n}, in a box\",\
             \"price\":{space}{price},\"tags\":[\"new\",{space}\"outdoor\"],\
             \"stock\":{{\"berlin\":{space}{n},\"paris\":null}},\"sale\":{space}false}}"
        )
        .expect("writing to a string does not fail");
    }
    text.push_str("]}");
    text
}

fn response_diff(c: &mut Criterion) {
    let mut fields = Fields::default();
    fields.push(b"Content-Type", b"application/json");
    fields.push(b"ETag", b"\"1\"");
    fields.push(b"Cache-Control", b"no-store");
    let ignore = ["body:/generated_at".to_owned(), "body:/items/*/id".to_owned()];
    let rules = Rules::parse(&ignore, Some(Duration::from_millis(100))).expect("rules are valid");
    let primary = document("", "19.90");
    let cases = [
        ("equal_bytes", document("", "19.90")),
        ("equal_values", document(" ", "19.9")),
        ("one_difference", document("", "20.90")),
    ];
    let mut group = c.benchmark_group("response_diff");
    group.throughput(Throughput::Bytes(primary.len() as u64));
    for (name, shadow) in &cases {
        let answer = |text| {
            let body = Body::Whole(str::as_bytes(text));
            Answer { status: 200, fields: &fields, body, latency: Duration::ZERO }
        };
        let (primary, shadow) = (answer(&primary), answer(shadow));
        group.bench_function(*name, |b| {
            b.iter(|| compare(black_box(&primary), black_box(&shadow), black_box(&rules)));
        });
    }
    group.finish();
}

criterion_group!(benches, response_diff);
criterion_main!(benches);
