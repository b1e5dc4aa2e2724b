//! What holds for any table and any request, drawn from small pools so that they often meet.

use proptest::prelude::*;

use super::{Request, route, table};
use crate::route::{RequestView, RouteTable};

fn some_of(pool: Vec<&'static str>, most: usize) -> impl Strategy<Value = Vec<&'static str>> {
    proptest::collection::vec(proptest::sample::select(pool), 0..=most)
}

const HOSTS: &[&str] = &[
    "host:a.example.com",
    "host:example.com",
    "host:*.example.com",
    "host:*.a.example.com",
    "host:*.com",
];
const PATHS: &[&str] = &[
    "",
    "prefix:/",
    "prefix:/a",
    "prefix:/a/b",
    "prefix:/a/b/c",
    "prefix:/b",
    "exact:/",
    "exact:/a",
    "exact:/a/b",
    "exact:/a/",
    "regex:^/a",
    "regex:b",
    "regex:.*",
    "regex:^/.*",
    "exact:*",
];
const METHODS: &[&str] = &["", "", "GET", "POST", "GET,POST", "PURGE"];
const CONDITIONS: &[&str] = &[
    "h:x=1", "h:x=2", "h:x", "h:!x", "h:x~^1", "h:y=1", "h:y", "q:p=1", "q:p=2", "q:p", "q:!p",
    "q:r=1", "q:r~1",
];

/// A route made of these parts.
fn route_of(
    hosts: Vec<&'static str>,
    paths: Vec<&'static str>,
    methods: Vec<&'static str>,
    conditions: Vec<&'static str>,
) -> impl Strategy<Value = String> {
    let hosts = some_of(hosts, 2);
    let (path, method) = (proptest::sample::select(paths), proptest::sample::select(methods));
    (hosts, path, method, some_of(conditions, 3)).prop_map(|(hosts, path, method, rest)| {
        format!("{} {path} {method} {}", hosts.join(" "), rest.join(" "))
    })
}

fn any_route() -> impl Strategy<Value = String> {
    route_of(HOSTS.to_vec(), PATHS.to_vec(), METHODS.to_vec(), CONDITIONS.to_vec())
}

fn any_request() -> impl Strategy<Value = String> {
    let method = proptest::sample::select(&["GET", "POST", "PURGE", "HEAD"][..]);
    let host = ["a.example.com", "b.a.example.com", "example.com", "x.com", "com", "", "x.org"];
    let host = proptest::sample::select(host.to_vec());
    let path = ["/", "/a", "/a/", "/a/b", "/a/b/c/d", "/ab", "/b", "//", "/c", "*", "/a//b"];
    let path = proptest::sample::select(path.to_vec());
    let query = some_of(vec!["p=1", "p=2", "r=1", "p", "%70=%31"], 2);
    let fields = some_of(vec!["x: 1", "x: 2", "y: 1", "X: 12"], 3);
    (method, host, path, query, fields).prop_map(|(method, host, path, query, fields)| {
        let fields: String = fields.iter().map(|field| format!(" | {field}")).collect();
        format!("{method} {host}{path}?{}{fields}", query.join("&"))
    })
}

/// Routes that share a few parts, so that many match one request and some hide others.
fn any_table() -> impl Strategy<Value = RouteTable> {
    let few = |pool: &[&'static str]| proptest::sample::subsequence(pool.to_vec(), 1..=3);
    let parts = (few(HOSTS), few(PATHS), few(METHODS), few(CONDITIONS));
    let routes = parts.prop_flat_map(|(hosts, paths, methods, conditions)| {
        proptest::collection::vec(route_of(hosts, paths, methods, conditions), 0..12)
    });
    routes.prop_map(|texts| RouteTable::new(texts.iter().map(|text| route(text)).collect()))
}

/// Asks every route and takes the most specific.
fn slow_find(table: &RouteTable, request: &RequestView<'_>) -> Option<usize> {
    let ranked = table.routes().iter().enumerate().filter_map(|(index, route)| {
        route.matches.specificity(index, request).map(|specificity| (specificity, index))
    });
    ranked.max().map(|(_, index)| index)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn find_is_the_most_specific_of_all_that_match(
        table in any_table(),
        requests in proptest::collection::vec(any_request(), 1..12),
    ) {
        for text in &requests {
            let request = Request::parse(text);
            let found = table.find(&request.view()).map(|found| found.index);
            prop_assert_eq!(found, slow_find(&table, &request.view()), "{}", text);

            let trace = table.trace(&request.view());
            let matched = trace.iter().find(|(_, outcome)| *outcome == "matched");
            prop_assert_eq!(matched.map(|(index, _)| *index), found);
            for (index, outcome) in trace {
                let route = &table.routes()[index].matches;
                let matches = route.specificity(index, &request.view()).is_some();
                prop_assert_eq!(matches, matches!(outcome, "matched" | "outranked"));
            }
        }
    }

    #[test]
    fn a_hidden_route_is_never_found(
        table in any_table(),
        requests in proptest::collection::vec(any_request(), 1..40),
    ) {
        let hidden = table.never_match();
        for text in &requests {
            let request = Request::parse(text);
            let rank = |index: usize| {
                table.routes()[index].matches.specificity(index, &request.view())
            };
            for (index, by) in &hidden {
                let is_outranked = rank(*index).is_none() || rank(*by) > rank(*index);
                prop_assert!(is_outranked, "{}: {} by {}", text, index, by);
            }
        }
    }

    #[test]
    fn a_copy_is_always_hidden(text in any_route()) {
        prop_assert_eq!(table(&[&text, &text]).never_match(), [(1, 0)]);
    }
}
