//! Does a cutover hold from the instant of its answer?
//!
//! Every request's beginning and end are kept. One that began after the answer to a cutover came back and
//! ended before the next was asked for can only have been served by the new version.

use std::io;
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Context, promise_unharmed};
use crate::admin::{Admin, Reply};
use crate::backend::Backends;
use crate::client::{Generator, Plan};
use crate::params;
use crate::proxies::tidegate::{SERVICE, Setup, Tidegate};
use crate::report::{Report, Table, grouped, progress};
use crate::stats::{Observation, Spread};

/// The values of `scenarios/cutover_under_load.toml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Params {
    workers: usize,
    rounds: usize,
    pause_ms: u64,
    connections: usize,
    target_ack_us: f64,
}

/// The plan's indices of the two versions.
pub const BLUE: u8 = 0;
/// See [`BLUE`].
pub const GREEN: u8 = 1;

/// One cutover as its caller saw it.
#[derive(Debug, Clone)]
pub struct Switch {
    /// Before the call was made.
    pub asked: Instant,
    /// After its answer was read.
    pub answered: Instant,
    /// The version that has all weight since.
    pub to: u8,
    /// What the answer says of its own duration, in microseconds.
    pub switched_in_us: Option<f64>,
}

impl Switch {
    /// Cuts over to a version.
    pub fn make(admin: Admin, to: u8) -> io::Result<Switch> {
        let name = if to == BLUE { "blue" } else { "green" };
        let path = format!("/v1/services/{SERVICE}/cutover");
        let asked = Instant::now();
        let reply: Reply = admin.expect("POST", &path, Some(&json!({ "to": name })))?;
        let switched_in_us = reply.json()["switched_in_us"].as_f64();
        Ok(Switch { asked, answered: reply.arrived, to, switched_in_us })
    }
}

/// Requests that began after a cutover's answer and were served by the version it left, and the number
/// of requests of which that could be said.
pub fn late(switches: &[Switch], observations: &[Observation]) -> (u64, u64) {
    let (mut late, mut judged) = (0, 0);
    for seen in observations {
        let after = switches.partition_point(|switch| switch.answered <= seen.begun);
        let Some(last) = after.checked_sub(1).map(|index| &switches[index]) else { continue };
        let before_next = switches.get(after).is_none_or(|next| seen.ended < next.asked);
        if before_next {
            judged += 1;
            late += u64::from(seen.version != last.to);
        }
    }
    (late, judged)
}

/// Puts the cutover promise into a report.
pub fn promise_punctual(report: &mut Report, switches: &[Switch], seen: &[Observation]) {
    let (late, judged) = late(switches, seen);
    let found = format!("{late} of {} judged", grouped(judged as f64));
    let text = "no request that began after a cutover's answer reaches the old version";
    report.promise(text, late == 0 && judged > 0, found);
}

/// Runs the scenario.
pub fn run(context: &Context) -> io::Result<Report> {
    let text = include_str!("../../scenarios/cutover_under_load.toml");
    let params: Params = params::read(text, &context.wishes)?;
    let mut report = Report::new("cutover_under_load");
    let backends = Backends::start(&["blue", "green"])?;
    let addresses = [backends.addresses("blue"), backends.addresses("green")];
    let setup = Setup::blue_green(params.workers, [100, 0], addresses);
    let tidegate = Tidegate::start(&context.tidegate, &setup, false)?;
    let mut plan = Plan::get(tidegate.listener, "/bytes/1024");
    plan.connections = params.connections;
    plan.observe = true;
    let generator = Generator::start(plan)?;
    let mut switches = Vec::new();
    for round in 0..params.rounds {
        std::thread::sleep(Duration::from_millis(params.pause_ms));
        progress(&format!("cutover {} of {}", round + 1, params.rounds));
        let to = if round % 2 == 0 { GREEN } else { BLUE };
        switches.push(Switch::make(tidegate.admin, to)?);
    }
    std::thread::sleep(Duration::from_millis(params.pause_ms));
    let stats = generator.stop()?;
    promise_unharmed(&mut report, &stats);
    promise_punctual(&mut report, &switches, &stats.observations);
    let inside = Spread::of(switches.iter().filter_map(|switch| switch.switched_in_us));
    let told = switches.iter().all(|switch| switch.switched_in_us.is_some());
    report.promise("every answer says how long the switch took", told, format!("{told}"));
    let found = format!("median {:.0} us", inside.median);
    let text = format!("a switch takes at most {} us in the median", params.target_ack_us);
    report.target(text, inside.median <= params.target_ack_us, found);
    let calls = |switch: &Switch| (switch.answered - switch.asked).as_secs_f64() * 1e6;
    let calls = Spread::of(switches.iter().map(calls));
    let title = format!("{} cutovers under {} req/s", switches.len(), grouped(stats.rate()));
    let mut table = Table::new(title, &["", "p50", "min", "max"]);
    for (name, spread) in [("switched_in_us", inside), ("call, us", calls)] {
        let cells = [spread.median, spread.min, spread.max].map(|v| format!("{v:.0}"));
        table.row(std::iter::once(name.to_owned()).chain(cells));
    }
    report.tables.push(table);
    report.figures = figures(&switches, inside, calls, stats.rate());
    Ok(report)
}

fn figures(switches: &[Switch], inside: Spread, calls: Spread, rate: f64) -> Value {
    json!({
        "cutovers": switches.len(),
        "switched_in_us": { "p50": inside.median, "max": inside.max },
        "call_us": { "p50": calls.median, "max": calls.max },
        "requests_per_second": rate,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_requests_between_an_answer_and_the_next_call_are_judged() {
        let origin = Instant::now();
        let at = |millis: u64| origin + Duration::from_millis(millis);
        let switch = |asked, answered, to| Switch {
            asked: at(asked),
            answered: at(answered),
            to,
            switched_in_us: None,
        };
        let switches = [switch(10, 12, GREEN), switch(20, 22, BLUE)];
        // (began, ended, served by, judged, late)
        let cases = [
            (5, 6, BLUE, 0, 0),
            (11, 13, BLUE, 0, 0),
            (12, 13, GREEN, 1, 0),
            (12, 13, BLUE, 1, 1),
            (12, 20, BLUE, 0, 0),
            (19, 21, BLUE, 0, 0),
            (23, 90, GREEN, 1, 1),
            (23, 90, u8::MAX, 1, 1),
        ];
        for (begun, ended, version, judged, expected) in cases {
            let seen = [Observation { begun: at(begun), ended: at(ended), version }];
            assert_eq!(late(&switches, &seen), (expected, judged), "{begun}..{ended} {version}");
        }
    }
}
