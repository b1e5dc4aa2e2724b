//! How long it takes to find a route among ten, a thousand and ten thousand, and to make the table.

use std::hint::black_box;
use std::sync::Arc;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use tidegate::h1::fields::Fields;
use tidegate::h1::head::Method;
use tidegate::name::{RouteName, ServiceName};
use tidegate::route::{
    Action, FieldEdits, FieldMatch, HostPattern, MethodMatch, PathEdit, PathPattern, RequestView,
    Route, RouteMatch, RouteTable, ValueMatch,
};

const SIZES: [usize; 3] = [10, 1_000, 10_000];

/// Routes of a shop with a hundred hosts: prefixes and exact paths, some with more conditions.
fn routes(count: usize) -> Vec<Arc<Route>> {
    let service = ServiceName::new("shop").expect("a good name");
    let route = |number: usize| {
        let host = match number % 10 {
            9 => HostPattern::Wildcard(format!(".h{}.example.com", number % 100)),
            _ => HostPattern::Exact(format!("h{}.example.com", number % 100)),
        };
        let path = match number % 3 {
            0 => PathPattern::Exact(format!("/api/v1/things{number}/list")),
            _ => PathPattern::Prefix(format!("/api/v1/things{number}")),
        };
        let canary = FieldMatch { name: "x-canary".into(), value: ValueMatch::Present(true) };
        Arc::new(Route {
            id: number as u32,
            name: RouteName::new(&format!("route-{number}")).expect("a good name"),
            matches: RouteMatch {
                hosts: vec![host],
                path,
                methods: vec![MethodMatch::Standard(Method::Get)],
                fields: if number.is_multiple_of(7) { vec![canary] } else { Vec::new() },
                query: Vec::new(),
            },
            action: Action::Forward { service: service.clone(), index: 0, path: PathEdit::Keep },
            request_fields: FieldEdits::default(),
            response_fields: FieldEdits::default(),
            rate: None,
        })
    };
    (0..count).map(route).collect()
}

fn find(criterion: &mut Criterion) {
    let mut fields = Fields::default();
    fields.push(b"accept", b"*/*");
    fields.push(b"x-canary", b"1");
    let mut group = criterion.benchmark_group("route_find");
    for size in SIZES {
        let table = RouteTable::new(routes(size));
        let last = (0..size).rev().find(|number| number % 10 != 9).unwrap_or_default();
        let (host, path) =
            (format!("h{}.example.com", last % 100), format!("/api/v1/things{last}/list"));
        let found = RequestView {
            method: Method::Get,
            method_text: "GET",
            host: &host,
            path: &path,
            query: None,
            fields: &fields,
        };
        let missed = RequestView { path: "/api/v1/nothing/here", ..found };
        assert!(table.find(&found).is_some() && table.find(&missed).is_none());
        group.bench_with_input(BenchmarkId::new("found", size), &found, |bencher, request| {
            bencher.iter(|| table.find(black_box(request)).map(|found| found.index));
        });
        group.bench_with_input(BenchmarkId::new("missed", size), &missed, |bencher, request| {
            bencher.iter(|| table.find(black_box(request)).map(|found| found.index));
        });
    }
    group.finish();
}

fn build(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("route_table_build");
    for size in SIZES {
        let routes = routes(size);
        group.bench_with_input(BenchmarkId::from_parameter(size), &routes, |bencher, routes| {
            bencher.iter(|| RouteTable::new(black_box(routes.clone())));
        });
    }
    group.finish();
}

criterion_group!(benches, find, build);
criterion_main!(benches);
