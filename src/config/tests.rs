//! What a configuration means and what is said of a wrong one, without sockets.
//!
//! Error texts are cases in `tests/it/config_errors/*.txt`: a configuration, a line `----`, the
//! report. `UPDATE_EXPECT=1` writes the reports anew.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::plan::{Advance, ListenerLimits, OutlierPlan, ServicePolicy};
use crate::route::{HostPattern, PathEdit, PathPattern};
use crate::snapshot::Snapshot;
use crate::split::CohortKey;
use crate::traffic::{ShadowRule, TrafficMap};
use crate::upstream::Registry;

fn no_env(_: &str) -> Option<String> {
    None
}

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

#[track_caller]
fn valid(text: &str) -> Config {
    match parse(text, Path::new("etc/tidegate.toml"), &no_env) {
        Ok(parsed) => parsed.config,
        Err(report) => panic!("{report}"),
    }
}

fn render(text: &str) -> String {
    match parse(text, Path::new("tidegate.toml"), &no_env) {
        Ok(Parsed { warnings, .. }) => warnings.render(false),
        Err(report) => report.render(false),
    }
}

/// A service with one version, for texts that are about something else.
const SHOP: &str = "service.shop.version.v1.endpoints = [\"127.0.0.1:9001\"]\n";

#[test]
fn every_example_is_free_of_warnings() {
    let examples =
        ["minimal", "container", "blue-green", "canary", "header-match", "shadow", "sticky-ab"];
    for example in examples {
        let path = repository(&format!("config/{example}.toml"));
        let loaded = load(&path, &no_env).unwrap_or_else(|report| panic!("{report}"));
        assert!(loaded.warnings.is_empty(), "{}", loaded.warnings);
        assert_eq!(loaded.sources, [path]);
        let (config, registry) = (loaded.config, Registry::default());
        let snapshot = Snapshot::compile(
            config.route_table(&registry),
            &config.services,
            &TrafficMap::new(),
            Arc::new(config.edge.clone()),
            &registry,
        );
        let services = snapshot.map(|snapshot| snapshot.services.len());
        assert_eq!(services.ok(), Some(config.services.len()), "{example}");
    }
}

#[test]
fn the_full_example_warns_of_nothing() {
    let text = fs::read_to_string(repository("config/full.toml")).unwrap();
    let parsed = parse(&text, Path::new("full.toml"), &no_env);
    let parsed = parsed.unwrap_or_else(|report| panic!("{report}"));
    let titles: Vec<_> = parsed.warnings.diagnostics.iter().map(Diagnostic::title).collect();
    assert!(titles.is_empty(), "{titles:?}");
}

#[test]
fn the_full_example_has_every_key() {
    let text = fs::read_to_string(repository("config/full.toml")).unwrap();
    for about in reference::ALL {
        for key in about.keys.iter().filter(|key| !NOT_IN_FULL.contains(&key.name)) {
            assert!(text.contains(key.name), "`{}` of [{}] is missing", key.name, about.title);
        }
    }
}

/// Not supported, or one of several spellings.
const NOT_IN_FULL: [&str; 5] = ["etcd", "p50", "p90", "p99", "port"];

#[test]
fn the_reference_is_up_to_date() {
    let path = repository("docs/config-reference.md");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, reference()).unwrap();
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    assert!(written == reference(), "run `UPDATE_DOCS=1 cargo test config::` and commit it");
}

#[test]
fn every_error_text_is_as_expected() {
    let update = std::env::var_os("UPDATE_EXPECT").is_some();
    let mut cases = 0;
    let mut wrong = Vec::new();
    for entry in fs::read_dir(repository("tests/it/config_errors")).unwrap() {
        let path = entry.unwrap().path();
        let case = fs::read_to_string(&path).unwrap();
        let (input, expected) = case.split_once("----\n").unwrap_or((&case, ""));
        let found = render(input);
        cases += 1;
        if update {
            fs::write(&path, format!("{input}----\n{found}")).unwrap();
        } else if found != expected {
            wrong.push(format!("{}:\n{found}", path.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(cases >= 30, "{cases} cases");
}

#[test]
fn nothing_written_means_the_defaults() {
    let config = valid(&format!("{SHOP}[[listener]]\naddress = \"0.0.0.0:80\"\n"));
    assert_eq!(config.listeners[0].name.as_str(), "listener-1");
    assert_eq!(config.listeners[0].limits, ListenerLimits::default());
    let shop = &config.services["shop"];
    assert_eq!(shop.policy, ServicePolicy::default());
    assert_eq!(shop.weights.to_string(), "v1=100");
    assert_eq!(shop.versions["v1"].outlier, OutlierPlan::default());
    assert_eq!(shop.versions["v1"].health, None);
    assert_eq!(config.server.workers, None);
    assert_eq!(config.server.shutdown_grace, Duration::from_secs(30));
    assert!(config.edge.version_header && config.edge.trusted_proxies.is_empty());
    assert_eq!(config.admin.address.to_string(), "127.0.0.1:9900");
    assert_eq!(config.state_dir, Path::new("etc/state"));
    assert_eq!(config.log.level.as_str(), "info");
    assert!(config.log.format.is_json() && config.log.access);
    assert_eq!(config.duration_buckets.len(), 16);
    assert_eq!(config.duration_buckets[1], 0.0025);
}

#[test]
fn a_shadow_has_the_defaults_of_the_api() {
    let config = valid(&format!("{SHOP}service.shop.shadow.version = \"v1\"\n"));
    let shadow = config.services["shop"].shadow.clone().unwrap();
    assert_eq!(shadow, ShadowRule::to(shadow.version.clone(), 1_000_000));
}

#[test]
fn what_a_raise_needs_follows_the_pace() {
    let cases = [
        ("", Advance::Safe),
        ("pace = \"evidence\"", Advance::NotRegressed),
        ("pace = \"evidence\"\nadvance = \"safe\"", Advance::Safe),
    ];
    for (keys, expect) in cases {
        let config = valid(&format!(
            "[service.s]\nweights = {{ a = 1, b = 0 }}\n\
             [service.s.version.a]\nendpoints = [\"127.0.0.1:1\"]\n\
             [service.s.version.b]\nendpoints = [\"127.0.0.1:2\"]\n\
             [service.s.rollout]\nto = \"b\"\n{keys}"
        ));
        let service = config.services.values().next().unwrap();
        assert_eq!(service.rollout.as_ref().unwrap().advance, expect, "{keys}");
    }
}

#[test]
fn the_contract_is_read() {
    let text = fs::read_to_string(repository("config/full.toml")).unwrap();
    let config = valid(&text);
    assert_eq!(config.admin.token_file.as_deref(), Some(Path::new("etc/admin.token")));
    assert_eq!(config.listeners[1].tls.as_ref().unwrap().certs.len(), 2);
    let checkout = &config.services["checkout"];
    assert_eq!(checkout.weights.to_string(), "blue=90 green=10");
    assert_eq!(checkout.sticky, Some(CohortKey::Cookie("tg_checkout".into())));
    assert_eq!(checkout.policy.retries.budget_percent, 20);
    let health = checkout.versions["blue"].health.as_ref().unwrap();
    assert_eq!(health.expect, [("/checks/database".to_owned(), "ok".into())]);
    assert_eq!(checkout.versions["green"].endpoints[0].to_string(), "localhost:9003");
    let pin = &checkout.pins[0];
    assert_eq!(pin.version.as_str(), "green");
    assert_eq!((pin.matches.fields.len(), pin.matches.cookies.len()), (1, 1));
    let shadow = checkout.shadow.as_ref().unwrap();
    assert_eq!(shadow.percent(), 100.0);
    assert_eq!(shadow.compare.ignore.len(), 3);
    let rollout = checkout.rollout.as_ref().unwrap();
    let shares: Vec<_> = rollout.steps.iter().map(|step| step.share_ppm).collect();
    assert_eq!(shares, [100_000, 250_000, 500_000, 750_000, 1_000_000]);
    assert_eq!(rollout.max_latency, [(95, Duration::from_secs(1))]);
    assert_eq!(rollout.analysis.error_margin_ppm, 100);
    let names: Vec<_> = config.routes.iter().map(|route| route.name.as_str()).collect();
    assert_eq!(names, ["api", "route-2", "route-3", "route-4"]);
    let api = &config.routes[0];
    assert_eq!(api.matches.hosts[1], HostPattern::Wildcard(".shop.example.com".into()));
    assert!(matches!(&api.matches.path, PathPattern::Prefix(path) if path == "/api"));
    let (service, path) = match &api.target {
        Target::Forward { service, path } => (service.as_str(), path),
        Target::Redirect(_) => panic!("forwarded"),
    };
    assert_eq!((service, path), ("checkout", &PathEdit::StripPrefix));
    let Target::Redirect(redirect) = &config.routes[3].target else { panic!("redirected") };
    assert_eq!((redirect.status, redirect.scheme.as_deref()), (308, Some("https")));
}

#[test]
fn routes_get_numbers_and_places() {
    let text = "service.b.version.v1 = {}\nservice.a.version.v1 = {}\n\
                [[route]]\nservice = \"b\"\npath = \"/b\"\n\
                [[route]]\nservice = \"a\"\npath = \"/a/\"\n";
    let config = valid(text);
    let registry = Registry::default();
    let routes = config.routes(&registry);
    let places: Vec<_> = routes
        .iter()
        .map(|route| match &route.action {
            crate::route::Action::Forward { index, .. } => (route.id, *index),
            crate::route::Action::Redirect(_) => (route.id, usize::MAX),
        })
        .collect();
    assert_eq!(places, [(0, 1), (1, 0)]);
    assert_eq!(config.route_table(&registry).routes().len(), 2);
}

#[test]
fn the_environment_is_read() {
    let env = |name: &str| (name == "PORT").then(|| "8081".to_owned());
    let text = "[[listener]]\naddress = \"127.0.0.1:${PORT}\"\n\
                [log]\nlevel = \"${LEVEL:-warn}\"\n";
    let config = parse(text, Path::new("tidegate.toml"), &env).unwrap().config;
    assert_eq!(config.listeners[0].address.port(), 8081);
    assert_eq!(config.log.level, LogLevel::Warn);
}

#[test]
fn a_directory_is_read_as_one_file() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
    write(
        "20-shop.toml",
        "[service.shop.version.v1]\nendpoints = [\"a:1\"]\n\
         [[route]]\npath = \"/b\"\nservice = \"shop\"\n",
    );
    write(
        "10-web.toml",
        "[[listener]]\naddress = \"127.0.0.1:0\"\n\
         [[route]]\npath = \"/a\"\nservice = \"shop\"\n",
    );
    write("30-shop.toml", "[service.shop]\ntimeout = \"5s\"\n");
    write(".hidden.toml", "not = valid = toml");
    write("notes.txt", "not TOML either");
    let loaded = load(dir.path(), &no_env).unwrap_or_else(|report| panic!("{report}"));
    assert!(loaded.warnings.is_empty(), "{}", loaded.warnings);
    let names: Vec<_> = loaded.sources.iter().map(|path| path.file_name().unwrap()).collect();
    assert_eq!(names, ["10-web.toml", "20-shop.toml", "30-shop.toml"]);
    assert_eq!(loaded.config.services["shop"].policy.timeout, Duration::from_secs(5));
    assert_eq!(loaded.config.state_dir, dir.path().join("state"));
    let prefixes = loaded.config.routes.iter().map(|route| match &route.matches.path {
        PathPattern::Prefix(prefix) => prefix.as_str(),
        other => panic!("{other:?}"),
    });
    assert_eq!(prefixes.collect::<Vec<_>>(), ["/a", "/b"]);

    assert_eq!(fingerprint(dir.path()), Some(loaded.fingerprint));
    write("30-shop.toml", "[service.shop]\ntimeout = \"6s\"\n");
    assert_ne!(fingerprint(dir.path()), Some(loaded.fingerprint));

    write("40-shop.toml", "[service.shop]\ntimeout = \"7s\"\nweights = {v2 = 1}\n");
    let report = load(dir.path(), &no_env).unwrap_err();
    let shown = report.to_string().replace(&*dir.path().to_string_lossy(), "DIR");
    expect_test::expect![[r#"
        error: `timeout` is set in two files
         --> DIR/30-shop.toml:2:1
          |
        2 | timeout = "6s"
          | ------- first set here
          |
         ::: DIR/40-shop.toml:2:1
          |
        2 | timeout = "7s"
          | ^^^^^^^
          |
          = help: keep one of the two

        error: service.shop.weights: there is no version `v2`
         --> DIR/40-shop.toml:3:12
          |
        3 | weights = {v2 = 1}
          |            ^^
          |
          = help: did you mean `v1`?
    "#]]
    .assert_eq(&shown);
}

#[test]
fn what_cannot_be_read_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("tidegate.toml");
    let told = || {
        let report = load(&file, &no_env).unwrap_err();
        assert!(report.has_errors());
        report.to_string().replace(&*dir.path().to_string_lossy(), "DIR")
    };
    let missing = told();
    assert!(missing.contains("No such file"), "{missing}");
    assert!(load(dir.path(), &no_env).unwrap_err().to_string().contains("no `*.toml`"));
    fs::write(&file, b"a = 1\nb = \"\xff\"\n").unwrap();
    assert!(told().contains("line 2 is not UTF-8"));
    fs::write(&file, "[admin]\ntoken_file = \"admin.token\"\n").unwrap();
    expect_test::expect![[r#"
        error: admin.token_file: cannot read `DIR/admin.token`: No such file or directory (os error 2)
         --> DIR/tidegate.toml:2:14
          |
        2 | token_file = "admin.token"
          |              ^^^^^^^^^^^^^
          |
          = help: relative paths begin at the directory of the configuration
    "#]]
    .assert_eq(&told());
    fs::write(dir.path().join("admin.token"), "ops: secret\n").unwrap();
    assert!(load(&file, &no_env).is_ok());
}

#[test]
fn programs_can_read_a_report() {
    let report = parse("[server]\nworker = 2\n", Path::new("tidegate.toml"), &no_env).unwrap_err();
    let expected = serde_json::json!({
        "valid": false,
        "diagnostics": [{
            "severity": "error",
            "file": "tidegate.toml",
            "line": 2,
            "column": 1,
            "length": 6,
            "key": "server",
            "message": "unknown key `worker`",
            "found": null,
            "help": "did you mean `workers`?",
        }],
    });
    assert_eq!(report.to_json(false), expected);
    let lines: Vec<_> = report.lines().collect();
    assert_eq!(
        lines,
        ["error: server: unknown key `worker` (did you mean `workers`?) — tidegate.toml:2:1"]
    );
}

#[test]
fn a_long_report_ends_with_a_count() {
    let text: String = (0..150).map(|n| format!("key{n} = 1\n")).collect();
    let shown = render(&text);
    assert!(shown.ends_with("and 50 more\n"), "{shown}");
}

#[test]
fn ten_thousand_routes_are_read() {
    let route = |n| format!("[[route]]\npath = \"/r{n}\"\nservice = \"shop\"\n");
    let text: String = std::iter::once(SHOP.to_owned()).chain((0..10_000).map(route)).collect();
    let config = valid(&text);
    let names: BTreeSet<_> = config.routes.iter().map(|route| route.name.clone()).collect();
    assert_eq!(names.len(), 10_000);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_is_too_strange(text in "\\PC{0,200}|[\\[\\]{}=\"'.,#a-z0-9\n\r\t $-]{0,200}") {
        let _ = render(&text);
    }

    #[test]
    fn no_change_of_a_valid_file_is_too_strange(
        at in any::<prop::sample::Index>(),
        length in 0usize..40,
        with in "\\PC{0,3}|[\\[\\]{}=\"'.,#\n$0-9-]{0,6}|-1|\"|true|1.5|\"99d\"|\"x\"",
    ) {
        let mut text = fs::read_to_string(repository("config/full.toml")).unwrap();
        let start = at.index(text.len());
        let start = (0..=start).rev().find(|at| text.is_char_boundary(*at)).unwrap();
        let end = (start + length..).find(|at| *at >= text.len() || text.is_char_boundary(*at));
        text.replace_range(start..end.unwrap().min(text.len()), &with);
        let _ = render(&text);
    }

    #[test]
    fn no_value_is_too_strange(
        at in any::<prop::sample::Index>(),
        with in prop::sample::select(vec![
            "-1", "0", "1.5", "nan", "true", "\"\"", "\"x\"", "[]", "{}", "[[]]", "{ x = 1 }",
            "1979-05-27", "99999999999999999999999999999999999999999", "\"0s\"", "[1, \"a\", {}]",
        ]),
    ) {
        let text = fs::read_to_string(repository("config/full.toml")).unwrap();
        let places: Vec<_> = text.match_indices(" = ").map(|(at, _)| at + 3).collect();
        let start = places[at.index(places.len())];
        let end = start + text[start..].find(['\n', ',', '}', '#']).unwrap();
        let text = format!("{}{with}{}", &text[..start], &text[end..]);
        let _ = render(&text);
    }
}
