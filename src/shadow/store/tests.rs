use std::time::Duration;

use super::*;
use crate::h1::fields::Fields;
use crate::shadow::answer::Kept;

const KEPT: u64 = 1024;
const PATH: &str = "/orders/7?page=2&token=abc123";

fn service() -> ServiceName {
    "shop".parse().unwrap()
}

fn subject(shadow: &str) -> Subject {
    Subject { service: service(), shadow: shadow.parse().unwrap(), secondary: None }
}

fn observed(status: u16, body: &str, millis: u64) -> Observed {
    let mut fields = Fields::default();
    fields.push(b"content-type", b"text/plain");
    let mut kept = Kept::new(KEPT);
    kept.push(body.as_bytes());
    Observed { status, fields, body: kept, latency: Duration::from_millis(millis) }
}

fn pair(gate: &Arc<Gate>, primary: Observed, shadow: Observed) -> Pair {
    let told = Told::new("all".parse().ok(), "GET", PATH, "id-1");
    let permits = (gate.try_acquire(u32::MAX).unwrap(), None);
    let rules = Arc::default();
    Pair { gate: gate.clone(), permits, rules, told, primary, shadow, secondary: None }
}

fn counted(hub: &ShadowHub, shadow: &str) -> String {
    let counts = hub.take_counts();
    let key = (service(), shadow.parse().unwrap());
    let outcomes = counts.get(&key).map(|counts| counts.outcomes.clone()).unwrap_or_default();
    let texts: Vec<_> =
        outcomes.iter().map(|(outcome, count)| format!("{} {count}", outcome.as_str())).collect();
    texts.join(", ")
}

#[test]
fn pairs_are_counted_by_what_they_say() {
    let (hub, _pairs) = ShadowHub::new();
    let gate = hub.gate(subject("green"), 1);
    hub.judge(&pair(&gate, observed(200, "a", 10), observed(200, "a", 25)));
    hub.judge(&pair(&gate, observed(200, "a", 10), observed(500, "a", 5)));
    let long = "x".repeat(KEPT as usize + 1);
    hub.judge(&pair(&gate, observed(200, "a", 10), observed(200, &long, 10)));
    let report = hub.report(&service()).unwrap();
    let summary = &report.summary;
    assert_eq!((summary.compared, summary.matched, summary.mismatched), (2, 1, 1));
    assert_eq!(summary.skipped.get("body_too_big"), Some(&1));
    assert_eq!(report.shadow.as_str(), "green");
    let counts = hub.take_counts();
    let counts = counts.values().next().unwrap();
    assert_eq!(counts.kinds, [("status", 1)].into());
    let (pairs, seconds) =
        counts.delays.values().fold((0, 0.0), |sum, delay| (sum.0 + delay.0, sum.1 + delay.1));
    assert_eq!(pairs, 3);
    assert!((seconds - 0.015).abs() < 1e-9, "{seconds}");
    assert!(hub.take_counts().is_empty(), "counts are taken once");
}

#[test]
fn every_miss_is_in_the_report_and_in_the_metrics() {
    let (hub, _pairs) = ShadowHub::new();
    let gate = hub.gate(subject("green"), 1);
    for miss in Miss::ALL {
        gate.count(miss);
    }
    let report = hub.report(&service()).unwrap();
    assert_eq!((report.summary.failed, report.summary.dropped), (5, 5));
    assert_eq!(report.summary.skipped.len(), 5);
    assert_eq!(report.misses.values().sum::<u64>(), 10);
    assert_eq!(counted(&hub, "green"), "failed 5, dropped 5, skipped 5");
    assert_eq!(hub.report(&service()).unwrap().summary.failed, 5, "taking them keeps the report");
}

#[test]
fn a_new_rule_begins_a_new_report_and_an_old_copy_does_not_bring_the_old_one_back() {
    let (hub, _pairs) = ShadowHub::new();
    let green = hub.gate(subject("green"), 1);
    hub.judge(&pair(&green, observed(200, "a", 1), observed(200, "a", 1)));
    let red = hub.gate(subject("red"), 2);
    assert_eq!(hub.report(&service()).unwrap().summary.compared, 0);
    // A worker that has not heard of the rule yet, and a copy that was in flight.
    let late = hub.gate(subject("green"), 1);
    assert!(Arc::ptr_eq(&green, &late));
    late.count(Miss::Timeout);
    hub.judge(&pair(&green, observed(200, "a", 1), observed(404, "a", 1)));
    hub.judge(&pair(&red, observed(200, "a", 1), observed(200, "a", 1)));
    let report = hub.report(&service()).unwrap();
    assert_eq!(report.shadow.as_str(), "red");
    assert_eq!((report.summary.compared, report.summary.mismatched), (1, 0));
    assert_eq!(report.summary.failed, 0);
    assert!(hub.samples(&service()).is_empty());
    let counts = hub.take_counts();
    let green = &counts[&(service(), "green".parse().unwrap())].outcomes;
    let expect = [(Outcome::Matched, 1), (Outcome::Mismatched, 1), (Outcome::Failed, 1)];
    assert_eq!(*green, expect.into(), "metrics have all of it");
}

#[test]
fn the_same_rule_under_a_later_revision_goes_on() {
    let (hub, _pairs) = ShadowHub::new();
    let gate = hub.gate(subject("green"), 1);
    gate.count(Miss::Method);
    assert!(Arc::ptr_eq(&gate, &hub.gate(subject("green"), 9)));
    assert_eq!(hub.report(&service()).unwrap().summary.skipped.get("method"), Some(&1));
    // Under a revision in between something else was compared: too old to begin a report.
    hub.gate(subject("red"), 5);
    assert_eq!(hub.report(&service()).unwrap().shadow.as_str(), "green");
}

#[test]
fn a_reset_forgets_all_but_what_the_metrics_have_not_taken() {
    let (hub, _pairs) = ShadowHub::new();
    assert!(!hub.reset(&service()));
    assert!(hub.report(&service()).is_none());
    let gate = hub.gate(subject("green"), 1);
    gate.count(Miss::InFlight);
    hub.judge(&pair(&gate, observed(200, "a", 1), observed(404, "a", 1)));
    assert!(hub.reset(&service()));
    let report = hub.report(&service()).unwrap();
    assert_eq!((report.summary.compared, report.summary.dropped), (0, 0));
    assert!(hub.samples(&service()).is_empty());
    assert_eq!(counted(&hub, "green"), "mismatched 1, dropped 1");
    gate.count(Miss::InFlight);
    assert_eq!(hub.report(&service()).unwrap().summary.dropped, 1);
}

#[test]
fn samples_are_the_latest_differences_without_secrets() {
    let (hub, _pairs) = ShadowHub::new();
    let gate = hub.gate(subject("green"), 1);
    for number in 0..DIFF_SAMPLES_KEPT + 5 {
        let mut pair = pair(&gate, observed(200, "a", 1), observed(404, "a", 1));
        pair.told = Told::new("all".parse().ok(), "GET", PATH, &number.to_string());
        hub.judge(&pair);
    }
    let samples = hub.samples(&service());
    assert_eq!(samples.len(), DIFF_SAMPLES_KEPT);
    assert_eq!(samples[0].request_id, (DIFF_SAMPLES_KEPT + 4).to_string());
    assert_eq!(samples[0].differences[0].field.as_str(), "status");
    assert_eq!((samples[0].primary_status, samples[0].shadow_status), (200, 404));
    assert!(samples[0].path.starts_with("/orders/7?page=2&token="), "{}", samples[0].path);
    assert!(!samples[0].path.contains("abc123"), "{}", samples[0].path);
}

#[test]
fn the_queue_is_bounded_and_waits_for_nobody() {
    let (hub, pairs) = ShadowHub::new();
    let gate = hub.gate(subject("green"), 1);
    let submit = || hub.submit(pair(&gate, observed(200, "a", 1), observed(200, "a", 1)));
    for _ in 0..DIFF_QUEUE_MAX {
        assert_eq!(submit(), Ok(()));
    }
    assert_eq!(submit(), Err(Miss::QueueFull));
    drop(pairs);
    assert!(gate.try_acquire(1).is_some(), "permits of what is never compared come back");
}

#[test]
fn gates_that_nobody_counts_on_are_forgotten() {
    let (hub, _pairs) = ShadowHub::new();
    for revision in 1..50 {
        let gate = hub.gate(subject(&format!("v{revision}")), revision);
        gate.count(Miss::Method);
    }
    hub.report(&service());
    assert_eq!(hub.lock().services[&service()].gates.len(), 1);
    assert_eq!(hub.take_counts().len(), 49);
}

#[test]
fn a_long_path_is_cut_after_its_secrets_are_hidden() {
    let path = format!("/{}", "é".repeat(PATH_TEXT_BYTES_MAX));
    let shown = shown_path(&path, Some("q=1"));
    assert!(shown.len() <= PATH_TEXT_BYTES_MAX + '…'.len_utf8());
    assert!(shown.ends_with('…'));
}
