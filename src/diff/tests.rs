//! Pairs of answers and what is said of them.

mod properties;

use expect_test::{Expect, expect};

use super::report::{Outcome, Report, Verdict};
use super::*;
use crate::limits::{DIFF_FIELDS_MAX, JSON_DEPTH_MAX, JSON_NODES_MAX};

const JSON: &str = "Content-Type: application/json";

fn rules(ignore: &str) -> Rules {
    let ignore: Vec<String> = ignore.split_whitespace().map(str::to_owned).collect();
    Rules::parse(&ignore, Some(Duration::from_millis(100))).unwrap()
}

/// An answer written down: status, fields one a line, an empty line, the body.
struct Written {
    status: u16,
    fields: Fields,
    body: Vec<u8>,
    latency_ms: u64,
}

impl Written {
    fn new(text: &str) -> Self {
        let (head, body) = text.split_once("\n\n").unwrap_or((text, ""));
        let mut lines = head.lines();
        let status = lines.next().unwrap().parse().unwrap();
        let mut fields = Fields::default();
        for line in lines {
            let (name, value) = line.split_once(": ").unwrap();
            fields.push(name.as_bytes(), value.as_bytes());
        }
        fields.nominate_from_connection();
        Self { status, fields, body: body.into(), latency_ms: 0 }
    }

    fn answer(&self) -> Answer<'_> {
        Answer {
            status: self.status,
            fields: &self.fields,
            body: Body::Whole(&self.body),
            latency: Duration::from_millis(self.latency_ms),
        }
    }
}

/// As the one that is tested. That two answers agree is never said when something differs.
fn compare(primary: &Answer, shadow: &Answer, rules: &Rules) -> Comparison {
    let found = super::compare(primary, shadow, rules);
    assert!(found.is_match() || !agree(primary, shadow, rules), "{found:?}");
    found
}

fn render(found: &Comparison) -> String {
    let mut lines: Vec<_> = found
        .differences
        .iter()
        .map(|Difference { field, primary, shadow }| format!("{field}: {primary} -> {shadow}"))
        .collect();
    lines.extend(found.incomparable.map(|reason| format!("incomparable: {reason}")));
    lines.join("\n")
}

#[track_caller]
fn check(primary: &str, shadow: &str, ignore: &str, expect: Expect) {
    let (primary, shadow) = (Written::new(primary), Written::new(shadow));
    expect.assert_eq(&render(&compare(&primary.answer(), &shadow.answer(), &rules(ignore))));
}

#[track_caller]
fn check_json(primary: &str, shadow: &str, ignore: &str, expect: Expect) {
    let answer = |body| format!("200\n{JSON}\n\n{body}");
    check(&answer(primary), &answer(shadow), ignore, expect);
}

#[test]
fn a_status_differs() {
    check("200", "500", "", expect!["status: 200 -> 500"]);
    check("200", "500", "status", expect![""]);
}

#[test]
fn headers_are_compared_by_name_whatever_their_order_and_case() {
    check("200\nETag: 1\nX-A: a", "200\nx-a: a\netag: 1", "", expect![""]);
    check(
        "200\nETag: 1\nX-A: a\nX-A: b",
        "200\nX-A: b\nX-A: a\nX-New: n",
        "",
        expect![[r#"
            header:etag: 1 -> (missing)
            header:x-a: a, b -> b, a
            header:x-new: (missing) -> n"#]],
    );
    check("200\nETag: 1\nX-A: a", "200\nX-A: b", "header:ETag", expect!["header:x-a: a -> b"]);
    check("200\nETag: 1\nX-A: a", "200", "header:*", expect![""]);
}

#[test]
fn some_headers_never_count() {
    check(
        "200\nDate: 1\nAge: 1\nVia: 1\nServer: 1\nX-Request-Id: 1\nTraceparent: 1\nContent-Length: 1",
        "200\nX-Tidegate-Version: green\nConnection: close, X-Hop\nX-Hop: 1\nKeep-Alive: 1",
        "",
        expect![""],
    );
}

#[test]
fn of_a_cookie_name_and_attributes_count() {
    let blue = "200\nSet-Cookie: sid=abc; Path=/; Expires=Mon";
    check(
        blue,
        "200\nSet-Cookie: sid=xyz; Path=/; expires=Tue",
        "",
        expect![["header:set-cookie: sid=*; Path=/; Expires=* -> sid=*; Path=/; expires=*"]],
    );
    check(blue, "200\nSet-Cookie: sid=xyz; Path=/; Expires=Tue", "", expect![""]);
    check(
        blue,
        "200\nSet-Cookie: sid=; Path=/; Expires=Tue",
        "",
        expect![["header:set-cookie: sid=*; Path=/; Expires=* -> sid=; Path=/; Expires=*"]],
    );
}

#[test]
fn secrets_are_found_but_not_shown() {
    check(
        "200\nX-Api-Key: one",
        "200\nX-Api-Key: two",
        "",
        expect!["header:x-api-key: [redacted] -> [redacted]"],
    );
    check_json(
        r#"{"user": {"password": "one"}, "session": {"id": 1}}"#,
        r#"{"user": {"password": "two"}, "session": {"id": 2}}"#,
        "",
        expect![[r#"
            body:/session/id: [redacted] -> [redacted]
            body:/user/password: "[redacted]" -> "[redacted]""#]],
    );
    let deep = |value| {
        let key = "k".repeat(300);
        format!(r#"{{"{key}": {{"token": "{value}"}}}}"#)
    };
    let (primary, shadow) = (deep("one"), deep("two"));
    let answers = (json(&primary), json(&shadow));
    let found = compare(&answers.0.answer(), &answers.1.answer(), &rules(""));
    assert_eq!(found.differences[0].primary, "\"[redacted]\"", "the name is cut, the value hidden");
    assert!(found.differences[0].field.as_str().len() <= FIELD_TEXT_BYTES_MAX);
}

fn json(body: &str) -> Written {
    Written::new(&format!("200\n{JSON}\n\n{body}"))
}

#[test]
fn json_is_compared_by_meaning() {
    check_json(r#"{"a": 1, "b": "A"}"#, r#"{"b":"\u0041","a":1.0}"#, "", expect![""]);
    check_json("[1, 2]", "[2, 1]", "", expect!["body:/*: 1 -> 2"]);
    check_json(
        r#"{"id": 18446744073709551617}"#,
        r#"{"id": 18446744073709551616}"#,
        "",
        expect!["body:/id: 18446744073709551617 -> 18446744073709551616"],
    );
    check_json("1", "\"1\"", "", expect![[r#"body: 1 -> "1""#]]);
}

#[test]
fn indices_are_folded_and_each_field_is_told_once() {
    check_json(
        r#"{"items": [{"price": 1, "n": 1}, {"price": 2, "n": 2}, {"price": 3, "n": 3}]}"#,
        r#"{"items": [{"price": 1, "n": 1}, {"price": 9, "n": 2}, {"price": 8, "n": 3}]}"#,
        "",
        expect!["body:/items/*/price: 2 -> 9"],
    );
    check_json(
        r#"{"items": [1, 2, 3, 4]}"#,
        r#"{"items": [1, 2]}"#,
        "",
        expect!["body:/items/*: [4 items] -> [2 items]"],
    );
}

#[test]
fn missing_extra_and_changed_types_are_differences_where_they_are() {
    check_json(
        r#"{"a": {"b": 1}, "c": [1], "d": null, "e": "(missing)", "x/y~z": true}"#,
        r#"{"a": [], "c": {"k": 1}, "e": "", "f": "new", "x/y~z": false}"#,
        "",
        expect![[r#"
            body:/a: {1 keys} -> [0 items]
            body:/c: [1 items] -> {1 keys}
            body:/d: null -> (missing)
            body:/e: "(missing)" -> ""
            body:/f: (missing) -> "new"
            body:/x~1y~0z: true -> false"#]],
    );
}

#[test]
fn a_rule_ignores_what_it_names_and_what_lies_below() {
    let (blue, green) = (
        r#"{"at": 1, "items": [{"id": 1, "p": 1}, {"id": 2, "p": 2}], "m": {"x": {"at": 1}}}"#,
        r#"{"at": 2, "items": [{"id": 3, "p": 1}, {"id": 4, "p": 7}], "m": {"x": {"at": 2}}}"#,
    );
    check_json(
        blue,
        green,
        "body:/at body:/items/*/id body:/m/*/at",
        expect!["body:/items/*/p: 2 -> 7"],
    );
    check_json(blue, green, "body:/at body:/items/1 body:/m", expect!["body:/items/*/id: 1 -> 3"]);
    check_json(blue, green, "body", expect![""]);
    check_json(r#"[1, 2]"#, "[1]", "body:/1", expect![""]);
    check_json(r#"{"a~/b": 1}"#, r#"{"a~/b": 2}"#, "body:/a~0~1b", expect![""]);
}

#[test]
fn what_is_not_json_on_both_sides_is_compared_as_bytes() {
    let html = "200\nContent-Type: text/html\n\n";
    check(
        &format!("{html}<p>\nHello\n</p>"),
        &format!("{html}<p>\nHallo\n</p>"),
        "",
        expect!["body: 14 bytes: Hello -> 14 bytes: Hallo"],
    );
    check(
        &format!("{html}{{\"a\": 1}}"),
        &format!("{html}{{\"a\":1}}"),
        "",
        expect![[r#"body: 8 bytes: {"a": 1} -> 7 bytes: {"a":1}"#]],
    );
    check_json("{\"a\": 1}", "oops", "", expect![[r#"body: 8 bytes: {"a": 1} -> 4 bytes: oops"#]]);
    check(
        "200\n\npassword=one",
        "200\n\npassword=two",
        "",
        expect!["body: 12 bytes: [redacted] -> 12 bytes: [redacted]"],
    );
}

#[test]
fn an_encoded_body_is_compared_only_when_the_bytes_are_the_same() {
    let gzip = "200\nContent-Encoding: gzip\n\n";
    check(&format!("{gzip}abc"), &format!("{gzip}abc"), "", expect![""]);
    check(&format!("{gzip}abc"), &format!("{gzip}abd"), "", expect!["incomparable: body_encoded"]);
    check(
        &format!("{gzip}abc"),
        "200\n\nabd",
        "",
        expect![[r#"
        header:content-encoding: gzip -> (missing)
        incomparable: body_encoded_differently"#]],
    );
    check("200\nContent-Encoding: Identity\n\n1", "200\n\n1", "header:*", expect![""]);
}

#[test]
fn what_cannot_be_compared_has_a_reason() {
    let fields = Fields::default();
    let answer = |body| Answer { status: 200, fields: &fields, body, latency: Duration::ZERO };
    let reason = |a, b| compare(&answer(a), &answer(b), &rules("")).incomparable;
    assert_eq!(reason(Body::Cut, Body::Whole(b"")), Some("body_too_big"));
    assert_eq!(reason(Body::Cut, Body::Failed), Some("body_failed"));
    let cut = compare(&answer(Body::Cut), &answer(Body::Cut), &rules("body"));
    assert!(cut.is_match(), "an ignored body is not missed");

    let deep = format!("{}1", "[".repeat(JSON_DEPTH_MAX + 1));
    check_json(&deep, "1", "", expect!["incomparable: json_too_deep"]);
    let big = format!("[{}1]", "1,".repeat(JSON_NODES_MAX));
    check_json("1", &big, "", expect!["incomparable: json_too_big"]);
}

#[test]
fn latency_counts_from_the_budget_on() {
    let mut slow = Written::new("200");
    let fast = Written::new("200");
    slow.latency_ms = 100;
    assert!(compare(&fast.answer(), &slow.answer(), &rules("")).is_match());
    slow.latency_ms = 101;
    let found = compare(&fast.answer(), &slow.answer(), &rules(""));
    assert_eq!(render(&found), "latency: 0.0 ms -> 101.0 ms");
    assert!(compare(&slow.answer(), &fast.answer(), &rules("")).is_match(), "faster is fine");
    assert!(compare(&fast.answer(), &slow.answer(), &rules("latency")).is_match());
}

#[test]
fn differences_are_bounded_and_the_rest_has_a_name() {
    let map = |value| {
        let keys: Vec<_> = (0..200).map(|n| format!("\"k{n}\": {value}")).collect();
        json(&format!("{{{}}}", keys.join(",")))
    };
    let found = compare(&map(1).answer(), &map(2).answer(), &rules(""));
    assert_eq!(found.differences.len(), DIFFERENCES_MAX + 1);
    let last = &found.differences[DIFFERENCES_MAX].field;
    assert_eq!((last.as_str(), last.kind()), (OTHER, Kind::Body));
}

#[track_caller]
fn check_rule(rule: &str, expect: Expect) {
    let error = Rules::parse(&["status".into(), rule.into()], None).unwrap_err();
    assert_eq!(error.index, 1);
    expect.assert_eq(&error.message);
}

#[test]
fn a_rule_that_cannot_be_read_is_refused_with_a_remedy() {
    check_rule(
        "date",
        expect![
            "`date` names no field; write `status`, `latency`, `header:NAME`, `body` or `body:/json/pointer`"
        ],
    );
    check_rule(
        "query:a",
        expect![
            "`query:a` names no field; write `status`, `latency`, `header:NAME`, `body` or `body:/json/pointer`"
        ],
    );
    check_rule("header:", expect!["`` is no header name; write for example `header:etag`"]);
    check_rule(
        "header: date",
        expect!["` date` is no header name; write for example `header:etag`"],
    );
    check_rule(
        "body:items",
        expect![
            "`items` is no JSON pointer: it must begin with `/`; for the whole body write `body`"
        ],
    );
    check_rule(
        "body:/a~b",
        expect!["`~` in `/a~b` must be written `~0`, and a `/` within a key `~1`"],
    );
}

/// A comparison that differs in these fields.
fn differing(fields: &str) -> Comparison {
    let mut found = Comparison::default();
    for name in fields.split_whitespace() {
        let kind = match name.split(':').next() {
            Some("status") => Kind::Status,
            Some("header") => Kind::Header,
            _ => Kind::Body,
        };
        found.add(FieldPath::new(kind, name), "1".into(), "2".into());
    }
    found
}

/// Plays `times × (shadow's differences | secondary's differences)`; no `|` means no secondary.
fn played(script: &[(usize, &str)]) -> Report {
    let mut report = Report::new();
    for (times, fields) in script {
        for _ in 0..*times {
            match fields.split_once('|') {
                Some((shadow, noise)) => {
                    let noise = differing(noise);
                    report.record("shop", &differing(shadow), Some(&noise), 0.0);
                }
                None => {
                    report.record("shop", &differing(fields), None, 0.0);
                }
            }
        }
    }
    report
}

#[track_caller]
fn check_report(script: &[(usize, &str)], expect: Expect) {
    let summary = played(script).summary();
    let mut lines = vec![format!(
        "{} of {} mismatched, noise {:?}",
        summary.mismatched, summary.compared, summary.noise_rate
    )];
    lines.extend(summary.fields.iter().map(|field| {
        format!(
            "{} {} ({}), noise {}, evidence {:.2}: {}",
            field.field,
            field.differences,
            field.rate,
            field.noise,
            field.evidence,
            field.verdict.as_str()
        )
    }));
    expect.assert_eq(&lines.join("\n"));
}

#[test]
fn without_a_secondary_a_field_may_differ_in_a_thousandth() {
    check_report(
        &[(1, "status")],
        expect![[r#"
        1 of 1 mismatched, noise None
        status 1 (1), noise 0, evidence 6.22: undecided"#]],
    );
    check_report(
        &[(97, ""), (3, "status")],
        expect![[r#"
        3 of 100 mismatched, noise None
        status 3 (0.03), noise 0, evidence 4.21: undecided"#]],
    );
    check_report(
        &[(96, ""), (4, "status")],
        expect![[r#"
        4 of 100 mismatched, noise None
        status 4 (0.04), noise 0, evidence 7.93: regressed"#]],
    );
    check_report(
        &[(99_990, ""), (10, "status")],
        expect![[r#"
        10 of 100000 mismatched, noise None
        status 10 (0.0001), noise 0, evidence -11.41: undecided"#]],
    );
}

#[test]
fn with_a_secondary_noise_is_forgiven_and_a_regression_is_not() {
    check_report(
        &[
            (60, "|"),
            (20, "body:/at|body:/at"),
            (10, "|body:/at"),
            (10, "body:/at|"),
            (15, "body:/at body:/price|body:/at"),
        ],
        expect![[r#"
            25 of 115 mismatched, noise Some(0.391304347826087)
            body:/price 15 (0.13043478260869565), noise 0, evidence 8.32: regressed
            body:/at 45 (0.391304347826087), noise 45, evidence -1.31: noise"#]],
    );
}

#[test]
fn a_field_that_nearly_always_differs_is_blind() {
    check_report(
        &[(80, "body:/id|body:/id"), (20, "|")],
        expect![[r#"
        0 of 100 mismatched, noise Some(0.8)
        body:/id 80 (0.8), noise 80, evidence 0.00: blind"#]],
    );
    check_report(
        &[(8, "body:/id|body:/id"), (2, "|")],
        expect![[r#"
        0 of 10 mismatched, noise Some(0.8)
        body:/id 8 (0.8), noise 8, evidence 0.00: undecided"#]],
    );
}

#[test]
fn an_incomparable_body_is_neither_match_nor_mismatch() {
    let mut report = Report::new();
    let mut found = Comparison { incomparable: Some("body_too_big"), ..Comparison::default() };
    assert_eq!(report.record("shop", &found, None, 1.0), Outcome::Skipped("body_too_big"));
    found.differences = differing("status").differences;
    let outcome = report.record("shop", &found, None, 1.0);
    assert!(matches!(outcome, Outcome::Mismatched(kinds) if kinds.contains(Kind::Status)));
    let summary = report.summary();
    assert_eq!((summary.compared, summary.matched, summary.mismatched), (1, 0, 1));
    assert_eq!(summary.skipped["body_too_big"], 1);
    assert_eq!(summary.fields[0].rate, 0.5, "the status was compared twice");
}

#[test]
fn what_cannot_be_told_apart_is_not_forgiven() {
    let mut report = Report::new();
    let outcome = report.record("shop", &differing(OTHER), Some(&differing(OTHER)), 0.0);
    assert!(matches!(outcome, Outcome::Mismatched(_)));
}

#[test]
fn a_report_is_bounded_whatever_it_is_fed() {
    let mut report = Report::new();
    for n in 0..3 * DIFF_FIELDS_MAX {
        let (shadow, noise) = (differing(&format!("body:/{n}")), differing(&format!("header:{n}")));
        report.record(&format!("route-{n}"), &shadow, Some(&noise), 0.0);
    }
    let summary = report.summary();
    assert_eq!(summary.fields.len(), DIFF_FIELDS_MAX);
    assert_eq!(summary.fields.iter().map(|field| field.differences).sum::<u64>(), 3000);
    assert!(summary.routes.len() <= DIFF_FIELDS_MAX + 1);
    assert_eq!(summary.routes.iter().map(|route| route.compared).sum::<u64>(), 3000);
}

#[test]
fn latency_deltas_have_a_sign_and_bounded_error() {
    assert_eq!(Report::new().summary().latency_delta_ms, None);
    let mut report = Report::new();
    for n in -50..50 {
        report.record("shop", &Comparison::default(), None, f64::from(n) + 0.5);
    }
    report.record("shop", &Comparison::default(), None, f64::NAN);
    let found = report.summary().latency_delta_ms.unwrap();
    for (found, exact) in [(found.p50, -0.5), (found.p95, 44.5), (found.p99, 48.5)] {
        assert!((found / exact - 1.0).abs() < 0.03, "{found} is not {exact}");
    }
    let mut report = Report::new();
    for delta in [f64::NEG_INFINITY, f64::INFINITY, 0.0, -0.0] {
        report.record("shop", &Comparison::default(), None, delta);
    }
    assert_eq!(report.summary().latency_delta_ms.unwrap().p50, 0.0);
}

#[test]
fn summaries_add_up() {
    let mut report = played(&[(3, ""), (1, "status")]);
    report.failed();
    report.dropped();
    report.skipped("method");
    let summary = report.summary();
    assert_eq!((summary.matched, summary.mismatched, summary.mismatch_rate), (3, 1, 0.25));
    assert_eq!((summary.failed, summary.dropped, summary.skipped["method"]), (1, 1, 1));
    assert_eq!((summary.routes[0].compared, summary.routes[0].mismatched), (4, 1));
    assert_eq!(summary.noise_rate, None);
    assert_eq!(summary.fields[0].verdict, Verdict::Undecided);
}
