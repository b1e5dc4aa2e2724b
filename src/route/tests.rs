//! Which route is found: precedence, each kind of condition, and what can never be found.
//!
//! Routes and requests are written on one line each; [`route`] and [`Request::parse`] read them.

mod filters;
mod properties;

use std::sync::Arc;

use regex::Regex;

use super::*;
use crate::h1::fields::Fields;
use crate::h1::head::Method;

/// Reads a route such as `host:*.example.com prefix:/api GET,POST h:x-a=1 h:!x-b q:v~^2`.
fn route(text: &str) -> Arc<Route> {
    Arc::new(Route {
        id: 0,
        name: RouteName::new("route").expect("a good name"),
        matches: text.split_whitespace().fold(RouteMatch::default(), with_part),
        action: Action::Redirect(Redirect {
            scheme: None,
            host: None,
            path: None,
            port: None,
            status: 308,
        }),
        request_fields: FieldEdits::default(),
        response_fields: FieldEdits::default(),
        rate: None,
    })
}

fn with_part(mut matches: RouteMatch, part: &str) -> RouteMatch {
    match part.split_once(':') {
        Some(("host", text)) => matches.hosts.push(match text.strip_prefix('*') {
            Some(suffix) => HostPattern::Wildcard(suffix.into()),
            None => HostPattern::Exact(text.into()),
        }),
        Some(("exact", text)) => matches.path = PathPattern::Exact(text.into()),
        Some(("prefix", text)) => matches.path = PathPattern::Prefix(text.into()),
        Some(("regex", text)) => matches.path = PathPattern::Regex(regex(text)),
        Some(("h", text)) => {
            let (name, value) = condition(text);
            matches.fields.push(FieldMatch { name, value });
        }
        Some(("q", text)) => {
            let (name, value) = condition(text);
            matches.query.push(QueryMatch { name, value });
        }
        _ => matches.methods = part.split(',').map(method_match).collect(),
    }
    matches
}

fn condition(text: &str) -> (String, ValueMatch) {
    if let Some((name, value)) = text.split_once('=') {
        return (name.into(), ValueMatch::Exact(value.into()));
    }
    if let Some((name, value)) = text.split_once('~') {
        return (name.into(), ValueMatch::Regex(regex(value)));
    }
    match text.strip_prefix('!') {
        Some(name) => (name.into(), ValueMatch::Present(false)),
        None => (text.into(), ValueMatch::Present(true)),
    }
}

fn regex(text: &str) -> Regex {
    Regex::new(text).expect("a good expression")
}

fn method(text: &str) -> Method {
    match text {
        "GET" => Method::Get,
        "POST" => Method::Post,
        "OPTIONS" => Method::Options,
        _ => Method::Other,
    }
}

fn method_match(text: &str) -> MethodMatch {
    match method(text) {
        Method::Other => MethodMatch::Other(text.into()),
        standard => MethodMatch::Standard(standard),
    }
}

#[derive(Debug)]
struct Request {
    method: String,
    host: String,
    path: String,
    query: Option<String>,
    fields: Fields,
}

impl Request {
    /// Reads a request such as `GET a.example.com/path?query | x-a: 1 | x-b: 2`.
    fn parse(text: &str) -> Self {
        let mut parts = text.split(" | ");
        let (method, target) =
            parts.next().and_then(|p| p.split_once(' ')).expect("METHOD host/path");
        let (target, query) = match target.split_once('?') {
            Some((target, query)) => (target, Some(query.into())),
            None => (target, None),
        };
        let path_start = target.find(['/', '*']).expect("a path");
        let (host, path) = target.split_at(path_start);
        let mut fields = Fields::default();
        for part in parts {
            let (name, value) = part.split_once(": ").expect("name: value");
            fields.push(name.as_bytes(), value.as_bytes());
        }
        Self { method: method.into(), host: host.into(), path: path.into(), query, fields }
    }

    fn view(&self) -> RequestView<'_> {
        RequestView {
            method: method(&self.method),
            method_text: &self.method,
            host: &self.host,
            path: &self.path,
            query: self.query.as_deref(),
            fields: &self.fields,
        }
    }
}

fn table(routes: &[&str]) -> RouteTable {
    RouteTable::new(routes.iter().map(|text| route(text)).collect())
}

#[track_caller]
fn check_found(routes: &[&str], request: &str, expected: Option<usize>) {
    let table = table(routes);
    let found = table.find(&Request::parse(request).view()).map(|found| found.index);
    assert_eq!(found, expected, "{request} in {routes:?}");
}

/// Asserts for each request whether the only route takes it.
#[track_caller]
fn check_takes(route: &str, requests: &[(&str, bool)]) {
    for (request, takes) in requests {
        check_found(&[route], request, takes.then_some(0));
    }
}

// === Precedence

/// From the most to the least specific; the request below matches them all.
const LADDER: &[&str] = &[
    "host:a.b.example.com exact:/api/v1",
    "host:a.b.example.com regex:^/api GET",
    "host:a.b.example.com regex:v1$",
    "host:a.b.example.com prefix:/api/v1 GET h:x-one",
    "host:a.b.example.com prefix:/api/v1 GET q:one q:two",
    "host:a.b.example.com prefix:/api/v1 GET q:one",
    "host:a.b.example.com prefix:/api/v1 GET",
    "host:a.b.example.com prefix:/api/v1 h:x-one h:x-two",
    "host:a.b.example.com prefix:/api/v1 h:x-one q:one",
    "host:a.b.example.com prefix:/api/v1 h:x-one",
    "host:a.b.example.com prefix:/api/v1 q:one q:two",
    "host:a.b.example.com prefix:/api/v1 q:one",
    "host:a.b.example.com prefix:/api/v1",
    "host:a.b.example.com prefix:/api GET h:x-one h:x-two q:one q:two",
    "host:a.b.example.com",
    "host:*.b.example.com exact:/api/v1 GET h:x-one h:x-two q:one q:two",
    "host:*.b.example.com regex:.",
    "host:*.b.example.com prefix:/api/v1",
    "host:*.example.com exact:/api/v1",
    "host:*.example.com prefix:/api",
    "host:*.com exact:/api/v1",
    "exact:/api/v1",
    "regex:/api/",
    "prefix:/api/v1 GET",
    "prefix:/api/v1",
    "prefix:/api",
    "prefix:/",
];

#[test]
fn precedence_is_a_ladder_whatever_the_order_of_the_file() {
    let request = "GET a.b.example.com/api/v1?one=1&two=2 | x-one: 1 | x-two: 2";
    for (place, winner) in LADDER.iter().enumerate() {
        for loser in &LADDER[place + 1..] {
            check_found(&[winner, loser], request, Some(0));
            check_found(&[loser, winner], request, Some(1));
        }
    }
    for start in 0..LADDER.len() {
        let upside_down: Vec<&str> = LADDER[start..].iter().rev().copied().collect();
        check_found(&upside_down, request, Some(upside_down.len() - 1));
    }
}

#[test]
fn equals_go_by_the_order_of_the_file() {
    let request = "GET shop.example.com/api | x-a: 1 | x-b: 1";
    check_found(&["prefix:/api h:x-a", "prefix:/api h:x-b"], request, Some(0));
    check_found(&["prefix:/api h:x-b", "prefix:/api h:x-a"], request, Some(0));
    check_found(&["regex:^/a", "regex:^/api$"], request, Some(0));
    check_found(&["prefix:/", ""], request, Some(0));
    check_found(&["", "prefix:/"], request, Some(0));
}

#[test]
fn a_route_that_does_not_match_makes_way_for_the_next_best() {
    let routes = [
        "host:shop.example.com exact:/api POST",
        "host:shop.example.com regex:^/api h:x-canary",
        "host:shop.example.com prefix:/api/v1",
        "host:shop.example.com prefix:/api q:beta",
        "host:*.example.com prefix:/api",
        "prefix:/health",
    ];
    for (request, expected) in [
        ("POST shop.example.com/api", Some(0)),
        ("GET shop.example.com/api | x-canary: 1", Some(1)),
        ("GET shop.example.com/api?beta", Some(3)),
        ("GET shop.example.com/api/v1", Some(2)),
        ("GET shop.example.com/api/v2", Some(4)),
        ("GET shop.example.com/health/live", Some(5)),
        ("GET shop.example.com/", None),
    ] {
        check_found(&routes, request, expected);
    }
}

// === One condition at a time

#[test]
fn a_wildcard_stands_for_one_or_more_labels() {
    check_takes(
        "host:*.example.com",
        &[
            ("GET a.example.com/", true),
            ("GET a.b.example.com/", true),
            ("GET example.com/", false),
            ("GET .example.com/", false),
            ("GET badexample.com/", false),
            ("GET a.example.com.evil.test/", false),
            ("GET example.org/", false),
            ("GET /", false),
        ],
    );
}

#[test]
fn an_exact_host_is_no_other() {
    check_takes(
        "host:example.com host:example.org",
        &[
            ("GET example.com/", true),
            ("GET example.org/", true),
            ("GET a.example.com/", false),
            ("GET example.co/", false),
        ],
    );
    check_takes("", &[("GET any.test/", true), ("GET /", true), ("OPTIONS *", true)]);
}

#[test]
fn a_prefix_ends_at_a_segment() {
    check_takes(
        "prefix:/abc",
        &[
            ("GET h/abc", true),
            ("GET h/abc/", true),
            ("GET h/abc/def", true),
            ("GET h/abc//def", true),
            ("GET h/abcd", false),
            ("GET h/ABC", false),
            ("GET h/ab", false),
            ("GET h/", false),
            ("OPTIONS *", false),
        ],
    );
    check_takes(
        "prefix:/abc/",
        &[("GET h/abc", true), ("GET h/abc/d", true), ("GET h/abcd", false)],
    );
    check_takes("prefix:/", &[("GET h/", true), ("GET h/x", true), ("OPTIONS *", true)]);
}

#[test]
fn a_path_is_compared_as_it_was_sent() {
    check_takes(
        "prefix:/a/b",
        &[("GET h/a%2Fb", false), ("GET h/a/%62", false), ("GET h//a/b", false)],
    );
    check_takes("exact:/a", &[("GET h/a", true), ("GET h/a/", false), ("GET h/a/b", false)]);
    check_takes("exact:/a/", &[("GET h/a/", true), ("GET h/a", false)]);
}

#[test]
fn an_expression_is_unanchored() {
    check_takes(
        "regex:/v[0-9]+/",
        &[("GET h/api/v12/x", true), ("GET h/api/v12", false), ("GET h/api/vx/", false)],
    );
}

#[test]
fn methods_are_told_apart_by_their_text() {
    check_takes(
        "GET,PURGE",
        &[
            ("GET h/", true),
            ("PURGE h/", true),
            ("POST h/", false),
            ("HEAD h/", false),
            ("PURGEX h/", false),
            ("purge h/", false),
        ],
    );
}

#[test]
fn any_one_of_several_fields_is_enough() {
    check_takes(
        "h:x-tenant=a",
        &[
            ("GET h/ | x-tenant: a", true),
            ("GET h/ | X-Tenant: a", true),
            ("GET h/ | x-tenant: b | x-tenant: a", true),
            ("GET h/ | x-tenant: A", false),
            ("GET h/ | x-tenant: a, b", false),
            ("GET h/", false),
        ],
    );
    check_takes("h:x-beta", &[("GET h/ | x-beta: 0", true), ("GET h/", false)]);
    check_takes("h:!x-beta", &[("GET h/ | x-beta: 0", false), ("GET h/", true)]);
    check_takes(
        "h:x-ua~^Moz",
        &[
            ("GET h/ | x-ua: Mozilla", true),
            ("GET h/ | x-ua: curl | x-ua: Moz", true),
            ("GET h/ | x-ua: curl Moz", false),
            ("GET h/", false),
        ],
    );
    check_takes(
        "h:x-a=1 h:x-b=2",
        &[
            ("GET h/ | x-a: 1 | x-b: 2", true),
            ("GET h/ | x-a: 1", false),
            ("GET h/ | x-b: 2", false),
        ],
    );
}

#[test]
fn an_unreadable_byte_is_no_way_around_an_expression() {
    let mut request = Request::parse("GET h/");
    request.fields.push(b"user-agent", b"Mozilla \xff bot");
    let found = |text: &str| table(&[text]).find(&request.view()).is_some();
    assert!(found("h:user-agent~^Mozilla"));
    assert!(found("h:user-agent~bot$"));
}

#[test]
fn query_parameters_are_compared_decoded() {
    check_takes(
        "q:version=2",
        &[
            ("GET h/?version=2", true),
            ("GET h/?a=1&version=2", true),
            ("GET h/?version=1&version=2", true),
            ("GET h/?%76ersion=%32", true),
            ("GET h/?version=22", false),
            ("GET h/?version", false),
            ("GET h/?Version=2", false),
            ("GET h/?xversion=2", false),
            ("GET h/?version=%2", false),
            ("GET h/", false),
        ],
    );
    check_takes(
        "q:q~^a.b$",
        &[
            ("GET h/?q=a+b", true),
            ("GET h/?q=a%20b", true),
            ("GET h/?q=a%2Bb", true),
            ("GET h/?q=a%2bb", true),
            ("GET h/?q=a%C3%A4b", true),
            ("GET h/?q=a%FFb", true),
            ("GET h/?q=ab", false),
        ],
    );
    check_takes("q:pct=100%", &[("GET h/?pct=100%25", true), ("GET h/?pct=100%", true)]);
    check_takes("q:odd=%zz", &[("GET h/?odd=%zz", true), ("GET h/?odd=%25zz", true)]);
    check_takes(
        "q:flag",
        &[
            ("GET h/?flag", true),
            ("GET h/?flag=", true),
            ("GET h/?&&flag&", true),
            ("GET h/?other", false),
            ("GET h/?", false),
            ("GET h/", false),
        ],
    );
    check_takes("q:!flag", &[("GET h/?other", true), ("GET h/", true), ("GET h/?flag=1", false)]);
    check_takes("q:empty=", &[("GET h/?empty", true), ("GET h/?empty=", true), ("GET h/", false)]);
}

#[test]
fn found_says_what_the_path_pattern_named() {
    for (route, path, bytes) in [
        ("", "/api/x", 0),
        ("prefix:/", "/api/x", 0),
        ("regex:api", "/api/x", 0),
        ("prefix:/api", "/api/x", 4),
        ("prefix:/api/", "/api/x", 4),
        ("exact:/api/x", "/api/x", 6),
    ] {
        let table = table(&[route]);
        let request = Request::parse(&format!("GET h{path}"));
        let found = table.find(&request.view()).expect("the route matches");
        assert_eq!(found.matched_prefix, bytes, "{route}");
        assert!(Arc::ptr_eq(found.route, &table.routes()[0]));
    }
}

#[test]
fn a_long_hostile_request_finds_its_way() {
    let routes = ["host:*.example.com prefix:/a", "prefix:/"];
    let dots = ".".repeat(60_000);
    let slashes = "/".repeat(60_000);
    check_found(&routes, &format!("GET x{dots}example.com/a{slashes}"), Some(0));
    check_found(&routes, &format!("GET ä{dots}ä{slashes}"), Some(1));
}

#[test]
fn trace_tells_what_became_of_every_route() {
    let routes = [
        "host:other.test",
        "prefix:/other",
        "prefix:/api POST",
        "prefix:/api h:x-canary",
        "prefix:/api q:beta",
        "prefix:/",
        "prefix:/api",
    ];
    let table = table(&routes);
    let trace = table.trace(&Request::parse("GET shop.test/api/x").view());
    let outcomes: Vec<&str> = trace.iter().map(|(_, outcome)| *outcome).collect();
    let expected = ["host", "path", "method", "header", "query", "outranked", "matched"];
    assert_eq!(outcomes, expected);
    assert!(trace.iter().enumerate().all(|(place, (index, _))| place == *index));
}

// === Routes that can never match

#[test]
fn hidden_routes_are_named_with_what_hides_them() {
    for (first, second, hidden) in [
        ("", "", Some((1, 0))),
        ("", "prefix:/", Some((1, 0))),
        ("prefix:/a", "prefix:/a/", Some((1, 0))),
        ("host:a.test host:b.test", "host:b.test", Some((1, 0))),
        ("host:b.test", "host:a.test host:b.test", None),
        ("host:a.test", "host:a.test host:b.test", None),
        ("", "host:a.test", None),
        ("host:*.test", "host:a.test", None),
        ("host:*.test", "host:*.a.test", None),
        ("prefix:/a", "prefix:/a/b", None),
        ("prefix:/a", "exact:/a", None),
        ("prefix:/a", "prefix:/a GET", None),
        ("prefix:/a GET,POST", "prefix:/a GET", Some((1, 0))),
        ("prefix:/a GET", "prefix:/a GET,POST", None),
        ("prefix:/a GET", "prefix:/a", None),
        ("h:x=1", "h:x=1", Some((1, 0))),
        ("h:x=1", "h:x=2", None),
        ("h:x", "h:x=1", Some((1, 0))),
        ("h:x=1", "h:x", None),
        ("h:x~^[0-9]", "h:x=1", Some((1, 0))),
        ("h:x~^[0-9]", "h:x=a", None),
        ("h:x~^1", "h:x~^1", Some((1, 0))),
        ("h:!x", "h:x=1", None),
        ("h:x=1", "h:x=1 h:y", None),
        ("q:x", "q:x=1", Some((1, 0))),
        ("q:x=1", "q:y=1", None),
        ("regex:^/a", "regex:^/a", Some((1, 0))),
        ("regex:^/a", "regex:^/ab", None),
        ("regex:.*", "regex:^/ab", Some((1, 0))),
        ("regex:^/.*", "regex:^/ab", None),
        // An expression outranks every prefix, wherever it stands.
        ("prefix:/a", "regex:^/.*", Some((0, 1))),
        ("prefix:/a h:x", "regex:.*", Some((0, 1))),
        ("", "regex:.*", Some((0, 1))),
        ("", "regex:^/.*", None),
        ("exact:/a", "regex:.*", None),
        ("prefix:/a", "regex:.* GET", None),
        // So do more conditions, if they say no more than the one.
        ("h:x=1", "h:x h:x~1", Some((0, 1))),
        ("h:x h:x~1", "h:x=1", Some((1, 0))),
        ("h:x=1", "h:x h:x~2", None),
    ] {
        let expected: Vec<(usize, usize)> = hidden.into_iter().collect();
        assert_eq!(table(&[first, second]).never_match(), expected, "{first:?}, {second:?}");
    }
}

#[test]
fn every_copy_is_hidden_by_the_first() {
    let copies = ["prefix:/x", "prefix:/a GET", "prefix:/a GET", "prefix:/a GET"];
    assert_eq!(table(&copies).never_match(), [(2, 1), (3, 1)]);
}
