//! What the tests of this folder share: values in a few words, and any value at all.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::prelude::*;
use serde_json::json;

use super::history::History;
use super::*;
use crate::h1::head::Method;
use crate::limits::REVISIONS_KEPT;
use crate::name::{ServiceName, VersionName};
use crate::plan::{
    Address, ClientCert, HealthPlan, OutlierPlan, Protocol, RolloutPlan, ServicePlan,
    ServicePolicy, TlsPlan, VersionBounds, VersionPlan,
};
use crate::proxy_header::ProxyVersion;
use crate::rollout::machine::{Rollout, State};
use crate::split::BucketTable;
use crate::traffic::{CompareRule, Declared, HoldRule, ShadowRule, Traffic};
use crate::weight::Weights;

mod crash;
mod damage;
mod disk;
mod words;

fn service(text: &str) -> ServiceName {
    ServiceName::new(text).unwrap()
}

fn version(text: &str) -> VersionName {
    VersionName::new(text).unwrap()
}

fn address(port: u16) -> Address {
    Address { host: "127.0.0.1".into(), port }
}

/// `blue=90 green=10`.
fn weights(text: &str) -> Weights {
    let pair = |pair: &str| {
        let (name, weight) = pair.split_once('=').unwrap();
        (version(name), weight.parse().unwrap())
    };
    Weights::new(text.split_whitespace().map(pair).collect()).unwrap()
}

fn version_plan(port: u16) -> Arc<VersionPlan> {
    Arc::new(VersionPlan {
        endpoints: vec![address(port)],
        protocol: Protocol::Http1,
        tls: TlsPlan::default(),
        health: None,
        outlier: OutlierPlan::default(),
        bounds: VersionBounds::default(),
        proxy_protocol: None,
    })
}

/// A service `checkout` with the versions and weights of the text; each version on another port.
fn plan(text: &str) -> ServicePlan {
    let weights = weights(text);
    let ports = ["blue", "green", "red"];
    let port = |name: &VersionName| ports.iter().position(|known| *known == name.as_str()).unwrap();
    let versions =
        weights.iter().map(|(name, _)| (name.clone(), version_plan(port(name) as u16 + 1)));
    ServicePlan {
        name: service("checkout"),
        versions: versions.collect(),
        weights,
        shadow: None,
        sticky: None,
        pins: Vec::new(),
        rollout: None,
        policy: ServicePolicy::default(),
    }
}

fn traffic(text: &str) -> Traffic {
    Traffic::of(&plan(text))
}

fn map(of: &[(&str, Traffic)]) -> TrafficMap {
    of.iter().map(|(name, traffic)| (service(name), Arc::new(traffic.clone()))).collect()
}

/// The revision after another, or the first.
fn next(previous: Option<&Entry>, traffic: TrafficMap, cause: &str) -> Entry {
    let nothing = TrafficMap::new();
    let before = previous.map_or(&nothing, |previous| previous.traffic.as_ref());
    let number = previous.map_or(1, |previous| previous.number + 1);
    Entry {
        number,
        at: Timestamp::new(1_790_000_000 + number as i64, 123_456_789).unwrap(),
        author: "api:kim".to_owned(),
        cause: cause.to_owned(),
        reason: number.is_multiple_of(2).then(|| "it \"broke\"\n".to_owned()),
        changes: change::changes(before, &traffic),
        traffic: Arc::new(traffic),
    }
}

/// A history in which every feature comes and goes.
fn story() -> Vec<Entry> {
    let shop = traffic("blue=90 green=10");
    let mut rich = Traffic { declared: shop.declared.clone(), ..traffic("blue=50 green=50") };
    rich.shadow = Some(ShadowRule {
        secondary: Some(version("blue")),
        compare: CompareRule {
            ignore: vec!["header:date".into()],
            latency_budget: Some(Duration::from_micros(1500)),
        },
        ..ShadowRule::to(version("green"), 100_000)
    });
    rich.hold = Some(HoldRule { methods: vec![Method::Post], ..HoldRule::default() });
    let mut plan = RolloutPlan::to(version("green"));
    plan.max_error_ppm = Some(10_000);
    plan.max_mismatch_ppm = Some(20_000);
    plan.steps[1].duration = Some(Duration::from_millis(1500));
    plan.steps[2].manual = true;
    plan.max_latency = vec![(95, Duration::from_millis(1500))];
    plan.analysis.warm_up = Duration::from_millis(1500);
    let mut rollout = Rollout::start(plan, rich.weights.clone(), 4, 1_700_000_000_000);
    rollout.share_ppm = 900_000;
    let rollout = rollout.undone(State::RolledBack, "by hand", 1, 1_700_000_000_001);
    assert!(rollout.returning.is_some());
    rich.rollout = Some(Arc::new(rollout));
    rich.added.insert(version("red"), Arc::new(rich_version()));
    rich.draining.insert(version("blue"));
    rich.draining_endpoints.insert((version("green"), address(2)));
    let mut entries = vec![next(None, map(&[("checkout", shop.clone())]), "start")];
    let mut push = |traffic: &[(&str, Traffic)], cause: &str| {
        entries.push(next(entries.last(), map(traffic), cause));
    };
    push(&[("checkout", rich)], "everything");
    push(&[("checkout", shop.clone()), ("search", traffic("blue=0"))], "reload");
    push(&[("checkout", shop)], "reload");
    entries
}

fn rich_version() -> VersionPlan {
    VersionPlan {
        endpoints: vec![address(9), Address { host: "::1".into(), port: 443 }],
        protocol: Protocol::H2,
        tls: TlsPlan {
            ca: Some("/etc/ca.pem".into()),
            server_name: Some("shop".to_owned()),
            client: Some(ClientCert { cert: "/etc/us.pem".into(), key: "/etc/us.key".into() }),
        },
        health: Some(HealthPlan {
            path: "/ready".to_owned(),
            interval: Duration::from_secs(2),
            timeout: Duration::from_millis(500),
            healthy_after: 2,
            unhealthy_after: 3,
            expect: vec![("$.checks.database".to_owned(), json!({"ok": [1, null, "x", 0.5]}))],
        }),
        outlier: OutlierPlan { consecutive_failures: 0, eject_for: Duration::MAX },
        bounds: VersionBounds {
            max_in_flight: Some(100),
            max_in_flight_per_endpoint: Some(10),
            slow_start: Duration::from_secs(30),
        },
        proxy_protocol: Some(ProxyVersion::V2),
    }
}

fn any_weights() -> impl Strategy<Value = Weights> {
    let pairs = proptest::collection::btree_map(0..5u8, 0..1_000_001u32, 0..5);
    pairs.prop_map(|pairs| {
        let named = pairs.into_iter().map(|(n, weight)| (version(&format!("v{n}")), weight));
        Weights::new(named.collect()).unwrap()
    })
}

fn any_version() -> impl Strategy<Value = VersionName> {
    (0..5u8).prop_map(|n| version(&format!("v{n}")))
}

fn any_duration() -> impl Strategy<Value = Duration> {
    (any::<u64>(), 0..1_000_000_000u32).prop_map(|(seconds, nanos)| Duration::new(seconds, nanos))
}

fn any_methods() -> impl Strategy<Value = Vec<Method>> {
    use Method::*;
    let all = vec![Get, Head, Post, Put, Delete, Connect, Options, Trace, Patch, Other];
    proptest::sample::subsequence(all, 0..10)
}

fn any_shadow() -> impl Strategy<Value = ShadowRule> {
    let compare = (proptest::collection::vec(".{0,8}", 0..3), proptest::option::of(any_duration()));
    let compare =
        compare.prop_map(|(ignore, latency_budget)| CompareRule { ignore, latency_budget });
    let numbers = (0..1_000_001u32, any::<u64>(), any::<u32>());
    let names = (any_version(), proptest::option::of(any_version()));
    (names, numbers, any_methods(), compare).prop_map(
        |((version, secondary), (share_ppm, max_body, max_in_flight), methods, compare)| {
            ShadowRule { version, share_ppm, methods, max_body, max_in_flight, secondary, compare }
        },
    )
}

fn any_hold() -> impl Strategy<Value = HoldRule> {
    (any::<u32>(), any_duration(), any_methods())
        .prop_map(|(max_requests, max_wait, methods)| HoldRule { max_requests, max_wait, methods })
}

fn any_version_plan() -> impl Strategy<Value = Arc<VersionPlan>> {
    let ports = proptest::collection::vec(1..u16::MAX, 0..3);
    (ports, any::<bool>(), 0..4usize, any::<u32>(), any_duration()).prop_map(
        |(ports, rich, protocol, consecutive_failures, eject_for)| {
            let protocols = [Protocol::Http1, Protocol::H2c, Protocol::Https, Protocol::H2];
            let base = if rich { rich_version() } else { version_plan(1).as_ref().clone() };
            Arc::new(VersionPlan {
                endpoints: ports.into_iter().map(address).collect(),
                protocol: protocols[protocol],
                outlier: OutlierPlan { consecutive_failures, eject_for },
                ..base
            })
        },
    )
}

fn any_traffic() -> impl Strategy<Value = Traffic> {
    let shares = (any_weights(), any_weights(), any_weights());
    let rules = (
        proptest::option::of(any_shadow()),
        proptest::option::of(any_shadow()),
        proptest::option::of(any_hold()),
    );
    let added = proptest::collection::btree_map(any_version(), any_version_plan(), 0..3);
    let draining = proptest::collection::btree_set(any_version(), 0..3);
    let endpoints = proptest::collection::btree_set((any_version(), 1..9u16), 0..3);
    (shares, rules, added, draining, endpoints, any::<u64>()).prop_map(
        |((first, live, base), (shadow, base_shadow, hold), added, draining, endpoints, salt)| {
            let endpoints = endpoints.into_iter().map(|(name, port)| (name, address(port)));
            let traffic = Traffic {
                table: BucketTable::new(&first),
                weights: first,
                salt,
                shadow,
                hold,
                added,
                draining,
                draining_endpoints: endpoints.collect(),
                rollout: None,
                declared: Declared { weights: base, shadow: base_shadow },
            };
            traffic.with_weights(live)
        },
    )
}

fn any_map() -> impl Strategy<Value = TrafficMap> {
    let traffic = any_traffic().prop_map(Arc::new);
    let names = (0..3u8).prop_map(|n| service(&format!("s{n}")));
    proptest::collection::btree_map(names, traffic, 0..3)
}

#[test]
fn the_history_keeps_the_newest() {
    let mut history = History::default();
    let mut last: Option<Arc<Entry>> = None;
    for _ in 0..=REVISIONS_KEPT {
        let entry = Arc::new(next(last.as_deref(), TrafficMap::new(), "x"));
        history.push(entry.clone());
        last = Some(entry);
    }
    assert_eq!(history.iter().count(), REVISIONS_KEPT);
    assert!(history.get(1).is_none());
    assert_eq!(history.get(2).unwrap().number, 2);
    assert_eq!(history.iter().next(), history.latest());
    assert_eq!(history.latest(), last.as_ref());
}

#[test]
fn a_rollback_goes_to_where_the_traffic_of_the_service_was_another() {
    let (blue, green) = (traffic("blue=100"), traffic("green=100"));
    let mut redeclared = green.clone();
    redeclared.declared = blue.declared.clone();
    let mut last: Option<Arc<Entry>> = None;
    let mut history = History::default();
    for traffic in [
        map(&[("search", green.clone())]),
        map(&[("checkout", blue.clone())]),
        map(&[("checkout", redeclared)]),
        map(&[("checkout", green.clone())]),
        map(&[("checkout", green.clone()), ("search", blue.clone())]),
    ] {
        let entry = Arc::new(next(last.as_deref(), traffic, "x"));
        history.push(entry.clone());
        last = Some(entry);
    }
    let found =
        |name: &str, now| history.previous_for(&service(name), now).map(|entry| entry.number);
    assert_eq!(found("checkout", &green), Some(2));
    assert_eq!(found("checkout", &blue), Some(5));
    assert_eq!(found("search", &blue), Some(1));
    assert_eq!(found("nothing", &blue), None);
}

/// Names that a set has, for tables.
fn names(set: &BTreeSet<VersionName>) -> Vec<&str> {
    set.iter().map(VersionName::as_str).collect()
}

fn plans(of: &[ServicePlan]) -> BTreeMap<ServiceName, Arc<ServicePlan>> {
    of.iter().map(|plan| (plan.name.clone(), Arc::new(plan.clone()))).collect()
}
