//! Is an acknowledged change there after `kill -9`?
//!
//! Writers set weights as fast as they are answered. The process is killed in between and started over the
//! same state: the revision has not gone back, and what is live is the last acknowledged change or one
//! whose answer the kill swallowed.

use std::collections::BTreeSet;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};

use super::Context;
use crate::admin::Admin;
use crate::backend::Backends;
use crate::params;
use crate::proxies::tidegate::{SERVICE, Setup, Tidegate};
use crate::report::{Report, Table, grouped, progress};
use crate::stats::Spread;

/// The values of `scenarios/kill_storm.toml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Params {
    rounds: u64,
    writers: u64,
    storm_ms: [u64; 2],
}

/// What one writer knows after a kill.
#[derive(Debug, Default)]
struct Written {
    /// Revision and weights of the acknowledged changes, in order.
    acknowledged: Vec<(u64, Value)>,
    /// The change that was asked for and not answered.
    unanswered: Option<Value>,
    /// Answers that were refusals.
    refused: Vec<String>,
}

/// What a start over the same state shows.
#[derive(Debug)]
struct Found {
    revision: u64,
    weights: Value,
    listed: BTreeSet<u64>,
}

/// Runs the scenario.
pub fn run(context: &Context) -> io::Result<Report> {
    let text = include_str!("../../scenarios/kill_storm.toml");
    let params: Params = params::read(text, &context.wishes)?;
    let backends = Backends::start(&["blue", "green"])?;
    let addresses = [backends.addresses("blue"), backends.addresses("green")];
    let setup = Setup::blue_green(1, [100, 0], addresses);
    let mut tidegate = Tidegate::start(&context.tidegate, &setup, false)?;
    let mut faults = Vec::new();
    let mut refused = Vec::new();
    let mut restarts = Vec::new();
    let (mut acknowledged, mut revision, mut weights) = (0, 0, json!({"blue": 100, "green": 0}));
    for round in 0..params.rounds {
        progress(&format!("kill {} of {}", round + 1, params.rounds));
        let written = storm(&mut tidegate, &params, round)?;
        let began = std::time::Instant::now();
        tidegate.restart()?;
        restarts.push(began.elapsed().as_secs_f64() * 1e3);
        let found = look(tidegate.admin)?;
        let fault = verdict(&written, &found, revision, &weights);
        faults.extend(fault.map(|fault| format!("kill {}: {fault}", round + 1)));
        acknowledged += written.iter().map(|w| w.acknowledged.len()).sum::<usize>();
        refused.extend(written.into_iter().flat_map(|w| w.refused));
        (revision, weights) = (found.revision, found.weights);
    }
    let mut report = Report::new("kill_storm");
    let shown = if faults.is_empty() { "none lost".to_owned() } else { faults.join("; ") };
    let found = format!("{} acknowledged, {shown}", grouped(acknowledged as f64));
    let held = faults.is_empty() && acknowledged > 0;
    report.promise("no acknowledged change is lost, no revision goes back", held, found);
    let found = refused.first().cloned().unwrap_or("0 refused".to_owned());
    report.promise("no change is refused", refused.is_empty(), found);
    let restarts = Spread::of(restarts);
    let mut table = Table::new(format!("{} kills", params.rounds), &["", "value"]);
    table.row(["acknowledged changes".to_owned(), grouped(acknowledged as f64)]);
    table.row(["last revision".to_owned(), revision.to_string()]);
    table.row(["ready again after ms".to_owned(), restarts.text(0)]);
    report.tables.push(table);
    report.figures = json!({
        "kills": params.rounds,
        "acknowledged": acknowledged,
        "revision": revision,
        "restart_ms": { "median": restarts.median, "max": restarts.max },
    });
    Ok(report)
}

/// Lets the writers write, kills the process in between, and collects what they know.
fn storm(tidegate: &mut Tidegate, params: &Params, round: u64) -> io::Result<Vec<Written>> {
    let stop = AtomicBool::new(false);
    let [least, most] = params.storm_ms;
    // Spread over the range without chance, so that a run can be repeated.
    let length = least + round * 37 % (most - least).max(1);
    std::thread::scope(|scope| {
        let admin = tidegate.admin;
        let stop = &stop;
        let writer = |number| scope.spawn(move || write(admin, number, round, stop));
        let writers: Vec<_> = (0..params.writers).map(writer).collect();
        std::thread::sleep(Duration::from_millis(length));
        let killed = tidegate.process().kill();
        stop.store(true, Ordering::Relaxed);
        let written = writers
            .into_iter()
            .map(|writer| writer.join().map_err(|_| io::Error::other("a writer broke")));
        let written = written.collect();
        killed.and(written)
    })
}

/// Sets weights until the process is gone; no two changes ask for the same.
fn write(admin: Admin, writer: u64, round: u64, stop: &AtomicBool) -> Written {
    let mut written = Written::default();
    for step in 0u64.. {
        let weights = json!({ "blue": round * 10 + writer + 1, "green": step + 1 });
        match admin.weights(SERVICE, &weights) {
            Ok(reply) => match reply.revision() {
                Some(revision) => written.acknowledged.push((revision, weights)),
                None => written.refused.push(format!("no revision in `{}`", reply.text)),
            },
            Err(error) if error.kind() == io::ErrorKind::Other => {
                written.refused.push(error.to_string());
            }
            Err(_) => {
                written.unanswered = Some(weights);
                break;
            }
        }
        if stop.load(Ordering::Relaxed) {
            break;
        }
    }
    written
}

fn look(admin: Admin) -> io::Result<Found> {
    let service = admin.service(SERVICE)?;
    let revisions = admin.expect("GET", "/v1/revisions", None)?.json();
    let listed = revisions.as_array().into_iter().flatten();
    Ok(Found {
        revision: service["revision"].as_u64().unwrap_or(0),
        weights: service["live"]["weights"].clone(),
        listed: listed.filter_map(|entry| entry["revision"].as_u64()).collect(),
    })
}

/// What is wrong after a start, when something is.
fn verdict(written: &[Written], found: &Found, before: u64, weights: &Value) -> Option<String> {
    let acknowledged = || written.iter().flat_map(|writer| &writer.acknowledged);
    let (last, expected) = acknowledged()
        .max_by_key(|(revision, _)| *revision)
        .map_or((before, weights), |(revision, weights)| (*revision, weights));
    if found.revision < last {
        return Some(format!("revision {} after {last} was acknowledged", found.revision));
    }
    let swallowed = || written.iter().filter_map(|writer| writer.unanswered.as_ref());
    let allowed = found.weights == *expected
        || (found.revision > last && swallowed().any(|weights| *weights == found.weights));
    if !allowed {
        return Some(format!("{} is live, acknowledged was {expected}", found.weights));
    }
    // The history is bounded: what is older than its oldest entry may be gone.
    let oldest = found.listed.first().copied().unwrap_or(0);
    let missing = acknowledged().map(|(revision, _)| *revision);
    let missing: Vec<u64> = missing.filter(|r| *r >= oldest && !found.listed.contains(r)).collect();
    (!missing.is_empty()).then(|| format!("the history lacks {missing:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weights(green: u64) -> Value {
        json!({ "blue": 1, "green": green })
    }

    #[test]
    fn a_start_is_judged_by_what_was_acknowledged() {
        let written = [Written {
            acknowledged: vec![(5, weights(5)), (6, weights(6))],
            unanswered: Some(weights(7)),
            refused: Vec::new(),
        }];
        // (revision, live, listed, right)
        let cases: [(u64, u64, &[u64], bool); 8] = [
            (6, 6, &[4, 5, 6], true),
            (7, 7, &[5, 6, 7], true),
            (7, 6, &[5, 6, 7], true),
            (6, 6, &[6], true),
            (6, 7, &[5, 6], false),
            (7, 5, &[5, 6, 7], false),
            (5, 5, &[5], false),
            (6, 6, &[4, 6], false),
        ];
        for (revision, live, listed, right) in cases {
            let listed = listed.iter().copied().collect();
            let found = Found { revision, weights: weights(live), listed };
            let verdict = verdict(&written, &found, 4, &weights(4));
            assert_eq!(verdict.is_none(), right, "{found:?}: {verdict:?}");
        }
    }

    #[test]
    fn without_an_acknowledged_change_the_state_before_counts() {
        let found = |revision, live| Found {
            revision,
            weights: weights(live),
            listed: BTreeSet::from([revision]),
        };
        assert_eq!(verdict(&[], &found(4, 4), 4, &weights(4)), None);
        assert!(verdict(&[], &found(3, 4), 4, &weights(4)).is_some());
        assert!(verdict(&[], &found(4, 9), 4, &weights(4)).is_some());
    }
}
