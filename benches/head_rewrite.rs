//! How long it takes to read a request's head and to write the one that goes up.

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tidegate::h1::head::{HeadLimits, RequestHead};
use tidegate::name::{RouteName, ServiceName};
use tidegate::proxy::{Arrival, upstream_head};
use tidegate::route::matcher::RequestView;
use tidegate::route::{
    Action, FieldEdits, HostPattern, PathEdit, PathPattern, Route, RouteMatch, RouteTable,
};
use tidegate::snapshot::EdgePolicy;

const LIMITS: HeadLimits = HeadLimits { bytes: 65_536, fields: 100, target: 8192 };

/// The least a client sends.
const SMALL: &str = "GET /api/items HTTP/1.1\r\nHost: shop.example.com\r\n\r\n";

/// What a browser sends.
const BROWSER: &str = "GET /api/items?page=2&sort=price HTTP/1.1\r\nHost: shop.example.com\r\n\
    Connection: keep-alive\r\nCache-Control: max-age=0\r\nUpgrade-Insecure-Requests: 1\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n\
    Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n\
    Accept-Language: en-GB,en;q=0.5\r\nAccept-Encoding: gzip, deflate, br, zstd\r\n\
    Referer: https://shop.example.com/api/items\r\nSec-Fetch-Dest: document\r\n\
    Sec-Fetch-Mode: navigate\r\nSec-Fetch-Site: same-origin\r\n\
    Cookie: tidegate_shop=0af7651916cd43dd8448eb211c80319c; basket=7; theme=dark\r\n\r\n";

fn table() -> RouteTable {
    let service = ServiceName::new("shop").expect("a good name");
    RouteTable::new(vec![Arc::new(Route {
        id: 0,
        name: RouteName::new("api").expect("a good name"),
        matches: RouteMatch {
            hosts: vec![HostPattern::Exact("shop.example.com".into())],
            path: PathPattern::Prefix("/api".into()),
            methods: Vec::new(),
            fields: Vec::new(),
            query: Vec::new(),
        },
        action: Action::Forward { service, index: 0, path: PathEdit::Keep },
        request_fields: FieldEdits::default(),
        response_fields: FieldEdits::default(),
        rate: None,
    })])
}

fn rewrite(criterion: &mut Criterion) {
    let (table, edge) = (table(), EdgePolicy::default());
    let arrival = Arrival {
        edge: &edge,
        peer: [192, 0, 2, 7].into(),
        scheme: "https",
        request_id: b"01890a5d-ac96-774b-bcce-b302099a8057",
        client_cert: None,
        random: &|| 0x9E37_79B9_7F4A_7C15,
    };
    for (name, text) in [("small", SMALL), ("browser", BROWSER)] {
        let mut head = RequestHead::new();
        let parsed = head.parse(text.as_bytes(), &LIMITS);
        assert_eq!(parsed.expect("a valid head"), Some(text.len()));
        let mut group = criterion.benchmark_group(format!("head_rewrite/{name}"));
        group.throughput(Throughput::Bytes(text.len() as u64));
        group.bench_function("write", |bencher| {
            let found = table.find(&RequestView::from(&head)).expect("the route");
            let mut out = Vec::with_capacity(2048);
            bencher.iter(|| {
                out.clear();
                upstream_head(&mut out, arrival, black_box(&head), &found, head.framing);
                out.len()
            });
        });
        group.bench_function("parse_find_write", |bencher| {
            let (mut head, mut out) = (RequestHead::new(), Vec::with_capacity(2048));
            bencher.iter(|| {
                let parsed = head.parse(black_box(text.as_bytes()), &LIMITS);
                assert!(parsed.is_ok());
                let found = table.find(&RequestView::from(&head)).expect("the route");
                out.clear();
                upstream_head(&mut out, arrival, &head, &found, head.framing);
                out.len()
            });
        });
        group.finish();
    }
}

criterion_group!(benches, rewrite);
criterion_main!(benches);
