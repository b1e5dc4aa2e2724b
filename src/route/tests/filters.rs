//! What pins take, and what happens to paths and targets once a route is found.

use std::net::IpAddr;

use proptest::prelude::*;

use super::{Request, with_part};
use crate::h1::fields::Fields;
use crate::route::matcher::cookie;
use crate::route::{PathEdit, PinMatch, Redirect, RouteMatch, ValueMatch};

// === Pins and cookies

#[test]
fn a_pin_holds_if_all_its_parts_do() {
    let RouteMatch { fields, query, .. } =
        with_part(with_part(RouteMatch::default(), "h:x-canary=true"), "q:beta");
    let cookies = vec![("tester".to_owned(), ValueMatch::Exact("1".into()))];
    let clients =
        vec!["10.0.0.0/8".parse().expect("a network"), "fd00::/8".parse().expect("a network")];
    let pin = PinMatch { fields, cookies, query, clients };

    let good = "GET h/?beta | x-canary: true | cookie: a=b; tester=1";
    for (request, client, takes) in [
        (good, "10.1.2.3", true),
        (good, "::ffff:10.1.2.3", true),
        (good, "fd00::1", true),
        (good, "192.0.2.1", false),
        ("GET h/ | x-canary: true | cookie: tester=1", "10.1.2.3", false),
        ("GET h/?beta | cookie: tester=1", "10.1.2.3", false),
        ("GET h/?beta | x-canary: true", "10.1.2.3", false),
        ("GET h/?beta | x-canary: true | cookie: tester=2", "10.1.2.3", false),
        ("GET h/?beta | x-canary: true | cookie: tester=2 | cookie: tester=1", "10.1.2.3", true),
    ] {
        let client: IpAddr = client.parse().expect("an address");
        assert_eq!(
            pin.matches(&Request::parse(request).view(), client),
            takes,
            "{request} {client}"
        );
    }
    let client: IpAddr = "192.0.2.1".parse().expect("an address");
    assert!(PinMatch::default().matches(&Request::parse("GET h/").view(), client));
}

#[test]
fn cookies_are_read_from_all_fields() {
    let request =
        Request::parse("GET h/ | cookie: a=1;b=2 ; c = 3 | Cookie: d=x=y; a=9; e=\"q\"; f; g=");
    for (name, value) in [
        ("a", Some("1")),
        ("b", Some("2")),
        ("d", Some("x=y")),
        ("e", Some("\"q\"")),
        ("g", Some("")),
        ("f", None),
        ("A", None),
        ("", None),
        ("d=x", Some("y")),
    ] {
        assert_eq!(cookie(&request.fields, name), value, "{name}");
    }
    let mut fields = Fields::default();
    fields.push(b"cookie", b"a=\xff; a=2");
    assert_eq!(cookie(&fields, "a"), Some("2"));
}

// === Filters

#[test]
fn a_prefix_is_stripped_or_replaced_without_double_slashes() {
    let replace = |new: &str| PathEdit::ReplacePrefix(new.into());
    for (edit, path, matched, expected) in [
        (PathEdit::Keep, "/api/x", 4, "/api/x"),
        (PathEdit::StripPrefix, "/api/x", 4, "/x"),
        (PathEdit::StripPrefix, "/api/", 4, "/"),
        (PathEdit::StripPrefix, "/api", 4, "/"),
        (PathEdit::StripPrefix, "/api//evil.test", 4, "/evil.test"),
        (PathEdit::StripPrefix, "/api/x//y/", 4, "/x//y/"),
        (PathEdit::StripPrefix, "/x", 0, "/x"),
        (PathEdit::StripPrefix, "//x", 0, "//x"),
        (PathEdit::StripPrefix, "*", 0, "*"),
        (replace("/new"), "/api/x", 4, "/new/x"),
        (replace("/new/"), "/api/x", 4, "/new/x"),
        (replace("new"), "/api/x", 4, "/new/x"),
        (replace("/new"), "/api//x", 4, "/new/x"),
        (replace("/new"), "/api/", 4, "/new/"),
        (replace("/new"), "/api", 4, "/new"),
        (replace("/new/"), "/api", 4, "/new/"),
        (replace("/new"), "/x", 0, "/new/x"),
        (replace("/"), "/api/x", 4, "/x"),
        (replace("/"), "/api", 4, "/"),
        (replace(""), "/api/x", 4, "/x"),
        (replace(""), "/api", 4, "/"),
        (replace("/new"), "*", 0, "*"),
        (replace("/new"), "/a", 99, "/new"),
    ] {
        assert_eq!(edit.rewrite(path, matched), expected, "{edit:?} of {path}");
    }
}

/// Reads the changed parts of a redirect, such as `scheme=https port=8443`.
fn redirect(text: &str) -> Redirect {
    let part = |name: &str| {
        let mut parts = text.split(' ').filter_map(|part| part.split_once('='));
        parts.find(|(found, _)| *found == name).map(|(_, value)| value.to_owned())
    };
    let port = part("port").map(|port| port.parse().expect("a port"));
    Redirect { scheme: part("scheme"), host: part("host"), path: part("path"), port, status: 308 }
}

#[test]
fn a_redirect_changes_what_it_names_and_keeps_the_rest() {
    let http = "http://shop.test";
    for (change, target, expected) in [
        ("", "http://shop.test", "http://shop.test/old/x?q=1"),
        ("", "http://shop.test:8080", "http://shop.test:8080/old/x?q=1"),
        ("scheme=https", http, "https://shop.test/old/x?q=1"),
        ("scheme=https", "http://shop.test:8080", "https://shop.test/old/x?q=1"),
        ("scheme=https", "https://shop.test:8443", "https://shop.test:8443/old/x?q=1"),
        ("scheme=https port=8443", http, "https://shop.test:8443/old/x?q=1"),
        ("scheme=https port=443", http, "https://shop.test/old/x?q=1"),
        ("port=443", http, "http://shop.test:443/old/x?q=1"),
        ("port=80", "http://shop.test:8080", "http://shop.test/old/x?q=1"),
        ("host=new.test", http, "http://new.test/old/x?q=1"),
        ("host=new.test", "http://shop.test:8080", "http://new.test:8080/old/x?q=1"),
        ("host=new.test", "http://", "http://new.test/old/x?q=1"),
        ("path=/new", http, "http://shop.test/new/x?q=1"),
        ("path=/", http, "http://shop.test/x?q=1"),
        ("scheme=https", "http://[::1]:8080", "https://[::1]/old/x?q=1"),
        ("", "http://[::1]:8080", "http://[::1]:8080/old/x?q=1"),
        ("", "http://[::1]", "http://[::1]/old/x?q=1"),
        ("", "http://shop.test:", "http://shop.test/old/x?q=1"),
        ("path=/new", "http://", "/new/x?q=1"),
    ] {
        let (scheme, authority) = target.split_once("://").expect("scheme://authority");
        let location = redirect(change).location(scheme, authority, "/old/x", Some("q=1"), 4);
        assert_eq!(location, expected, "{change} of {target}");
    }
}

#[test]
fn a_redirect_never_leaves_for_a_host_named_in_the_path() {
    let plain = redirect("");
    assert_eq!(plain.location("http", "", "//evil.test/x", None, 0), "/evil.test/x");
    assert_eq!(
        plain.location("http", "a.test", "//evil.test", None, 0),
        "http://a.test//evil.test"
    );
    assert_eq!(plain.location("http", "a.test", "*", None, 0), "http://a.test/");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_rewritten_path_begins_with_one_slash(rest in "(/[/a-c]{0,6})?", new in "/?[a-c/]{0,4}") {
        let path = format!("/api{rest}");
        for edit in [PathEdit::StripPrefix, PathEdit::ReplacePrefix(new.clone())] {
            let rewritten = edit.rewrite(&path, 4);
            prop_assert!(rewritten.starts_with('/'), "{} {:?}", path, edit);
            prop_assert!(new.starts_with("//") || !rewritten.starts_with("//"), "{} {:?}", path, edit);
        }
    }
}
