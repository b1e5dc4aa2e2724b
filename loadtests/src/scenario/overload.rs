//! What happens when three times as much is asked as the proxy can serve?
//!
//! Load and backends have one core, the proxy another, and they cost about the same: three times its
//! peak could not be offered. So the proxy is given something to do that the others are not: every
//! request is tried against a thousand regular expressions before its route is found.

use std::io;
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::{Value, json};

use super::Context;
use crate::admin::Admin;
use crate::backend::Backends;
use crate::client::{Generator, Pace, Plan};
use crate::machine::{self, ProcessorWatch};
use crate::params;
use crate::proxies::tidegate::{SERVICE, Setup, Tidegate};
use crate::report::{Report, Table, grouped, progress};
use crate::stats::{Spread, Stats};

/// What the generator counts when it cannot send: with three times the peak it must not be able to.
const UNSENT: &str = "not sent in time";
/// Until connections are open and caches warm.
const WARMUP: Duration = Duration::from_millis(300);

/// The values of `scenarios/overload.toml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Params {
    seconds: f64,
    rounds: usize,
    expressions: usize,
    peak_connections: usize,
    connections: usize,
    factor: f64,
    calm: f64,
    foreign_limit: f64,
    goodput_ratio: f64,
    p99_factor: f64,
    recover_ms: u64,
    recover_factor: f64,
    recover_floor_us: f64,
    health_every_ms: u64,
    health_ms: f64,
    growth_mib: f64,
}

/// One stretch of load.
struct Phase {
    name: String,
    offered: Option<f64>,
    /// From the send to the last byte, what waits in the generator left out.
    p50_micros: f64,
    p99_micros: f64,
    core_use: f64,
    foreign: f64,
    resident: u64,
    stats: Stats,
    /// Answers of the admin API, and calls that got none.
    health: Vec<Duration>,
    unhealthy: u32,
}

/// One after the other, so that a machine that is slower for a while is so for all of them.
struct Round {
    peak: Phase,
    before: Phase,
    overload: Phase,
    after: Phase,
}

impl Round {
    fn phases(&self) -> [&Phase; 4] {
        [&self.peak, &self.before, &self.overload, &self.after]
    }
}

/// Runs the scenario.
pub fn run(context: &Context) -> io::Result<Report> {
    let text = include_str!("../../scenarios/overload.toml");
    let params: Params = params::read(text, &context.wishes)?;
    machine::pin_to(machine::LOAD_CORE);
    let backends = Backends::start(&["blue"])?;
    let mut setup = Setup::blue_green(1, [100, 0], [backends.addresses("blue"), Vec::new()]);
    setup.tables = expressions(params.expressions);
    let mut tidegate = Tidegate::start(&context.tidegate, &setup, true)?;
    let recovery = Duration::from_millis(params.recover_ms);
    let mut rounds: Vec<Round> = Vec::new();
    for number in 1..=params.rounds {
        let mut measure = |name, offered, settle| {
            phase(&params, &mut tidegate, &format!("{name} {number}"), offered, settle)
        };
        let peak = measure("peak", None, WARMUP)?;
        // All rounds are offered the same, whatever the machine is like by then.
        let rate = rounds.first().map_or(&peak, |first| &first.peak).stats.rate();
        let calm = Some(rate * params.calm);
        let before = measure("calm before", calm, WARMUP)?;
        let overload = measure("overload", Some(rate * params.factor), WARMUP)?;
        let after = measure("calm after", calm, recovery)?;
        rounds.push(Round { peak, before, overload, after });
    }
    machine::unpin();
    let mut report = Report::new("overload");
    judge_goodput(&params, &rounds, &mut report);
    judge_recovery(&params, &rounds, &mut report);
    judge_health(&params, &rounds, &mut report);
    judge_memory(&params, &rounds, &mut report);
    let phases: Vec<&Phase> = rounds.iter().flat_map(Round::phases).collect();
    report.tables.push(table(&params, &phases));
    report.figures = phases.into_iter().map(json_of).collect();
    Ok(report)
}

/// Routes that are tried in turn and take nothing.
fn expressions(count: usize) -> String {
    let route = |number| {
        format!("[[route]]\npath_regex = \"^/[a-z]+/no{number}$\"\nservice = \"{SERVICE}\"\n")
    };
    (0..count).map(route).collect()
}

/// Load at this rate, without one in a closed loop; measured once it has settled.
fn phase(
    params: &Params,
    tidegate: &mut Tidegate,
    name: &str,
    offered: Option<f64>,
    settle: Duration,
) -> io::Result<Phase> {
    progress(name);
    let pids = tidegate.process().pids();
    let mut plan = Plan::get(tidegate.listener, "/bytes/1024");
    plan.connections = params.peak_connections;
    plan.observe = true;
    if let Some(rate) = offered {
        plan.connections = params.connections;
        plan.pace = Pace::Rate(rate as u32);
    }
    let generator = Generator::start(plan)?;
    std::thread::sleep(settle);
    let settled = generator.cut()?;
    let watch = ProcessorWatch::start(&pids);
    let (health, unhealthy) = watch_health(params, tidegate.admin);
    let used = watch.stop();
    let mut stats = generator.cut()?;
    let resident = machine::resident_bytes(&pids);
    let times = stats.observations.iter().map(|seen| (seen.ended - seen.begun).as_nanos() as u64);
    let mut latency = Stats::new(0).latency;
    times.for_each(|time| latency.saturating_record(time));
    let quantile = |q| latency.value_at_quantile(q) as f64 / 1000.0;
    // What came while it settled and at the end counts as far as it failed.
    stats.blame(settled);
    stats.blame(generator.stop()?);
    Ok(Phase {
        name: name.to_owned(),
        offered,
        p50_micros: quantile(0.5),
        p99_micros: quantile(0.99),
        core_use: used.watched.as_secs_f64() / used.window.as_secs_f64(),
        foreign: used.foreign,
        resident,
        stats,
        health,
        unhealthy,
    })
}

/// Asks whether the proxy is ready until the phase is over.
fn watch_health(params: &Params, admin: Admin) -> (Vec<Duration>, u32) {
    let end = Instant::now() + Duration::from_secs_f64(params.seconds);
    let (mut answered, mut unanswered) = (Vec::new(), 0);
    while Instant::now() < end {
        let asked = Instant::now();
        match admin.call("GET", "/health/ready", None) {
            Ok(reply) if reply.status == 200 => answered.push(reply.arrived - asked),
            _ => unanswered += 1,
        }
        let next = asked + Duration::from_millis(params.health_every_ms);
        std::thread::sleep(next.min(end).saturating_duration_since(Instant::now()));
    }
    (answered, unanswered)
}

/// A figure that decides while nobody else uses the machine, and is shown otherwise.
fn judge(
    params: &Params,
    rounds: &[Round],
    text: String,
    held: bool,
    found: String,
    report: &mut Report,
) {
    let phases = rounds.iter().flat_map(Round::phases);
    let foreign = phases.map(|phase| phase.foreign).fold(0.0, f64::max);
    if foreign <= params.foreign_limit {
        report.promise(text, held, found);
    } else {
        let found = format!("{found}, while others used {foreign:.2} of a core: not judged");
        report.target(text, held, found);
    }
}

/// What one of the phases came to, in all rounds.
fn spread(rounds: &[Round], of: impl Fn(&Round) -> f64) -> Spread {
    Spread::of(rounds.iter().map(of))
}

fn judge_goodput(params: &Params, rounds: &[Round], report: &mut Report) {
    let share = spread(rounds, |round| round.overload.stats.rate() / round.peak.stats.rate());
    let text = format!("goodput at least {:.2} of the peak", params.goodput_ratio);
    let held = share.median >= params.goodput_ratio;
    judge(params, rounds, text, held, share.text(2), report);
    // In a fair queue everybody waits for about as many as there are connections.
    let share = spread(rounds, |round| {
        let fair = params.connections as f64 / round.peak.stats.rate() * 1e6;
        round.overload.p99_micros / fair
    });
    let text = format!(
        "p99 of the admitted at most {:.1} times what {} connections take at the peak",
        params.p99_factor, params.connections
    );
    let held = share.median <= params.p99_factor;
    judge(params, rounds, text, held, share.text(2), report);
    let overloads = || rounds.iter().map(|round| &round.overload);
    let lost = |phase: &&Phase| phase.stats.failures.keys().any(|why| why != UNSENT);
    let failed: Vec<String> =
        overloads().filter(lost).map(|phase| phase.stats.failures_text()).collect();
    let found = if failed.is_empty() { "0 failed".to_owned() } else { failed.join("; ") };
    report.promise("no admitted request fails", failed.is_empty(), found);
}

fn judge_recovery(params: &Params, rounds: &[Round], report: &mut Report) {
    let before = spread(rounds, |round| round.before.p99_micros);
    let after = spread(rounds, |round| round.after.p99_micros);
    let bound = (before.median * params.recover_factor).max(params.recover_floor_us);
    let text = format!(
        "{} ms after an overload p99 is at most {:.1} times what it was before",
        params.recover_ms, params.recover_factor
    );
    let found = format!("{} us of {bound:.0}, before {}", after.text(0), before.text(0));
    judge(params, rounds, text, after.median <= bound, found, report);
    let calm = rounds.iter().flat_map(|round| [&round.before, &round.after]);
    let failed: u64 = calm.map(|phase| phase.stats.failed()).sum();
    report.promise("no request fails before or after", failed == 0, format!("{failed} failed"));
}

fn judge_health(params: &Params, rounds: &[Round], report: &mut Report) {
    let overloads = || rounds.iter().map(|round| &round.overload);
    let unanswered: u32 = overloads().map(|phase| phase.unhealthy).sum();
    let slowest = overloads().flat_map(|phase| &phase.health).max().copied();
    let slowest = slowest.unwrap_or_default().as_secs_f64() * 1e3;
    let text = format!("the admin API answers throughout, within {} ms", params.health_ms);
    let found = format!("{unanswered} unanswered, slowest {slowest:.1} ms");
    report.promise(text, unanswered == 0 && slowest <= params.health_ms, found);
}

fn judge_memory(params: &Params, rounds: &[Round], report: &mut Report) {
    let first = rounds.first().map_or(0, |round| round.before.resident);
    let last = rounds.last().map_or(0, |round| round.overload.resident);
    let mib = (last as f64 - first as f64) / f64::from(1 << 20);
    let text = format!("memory grows by at most {} MiB", params.growth_mib);
    report.promise(text, mib <= params.growth_mib, format!("{mib:.1} MiB"));
}

fn table(params: &Params, phases: &[&Phase]) -> Table {
    let columns = [
        "phase",
        "offered req/s",
        "answered req/s",
        "core",
        "p50 us",
        "p99 us",
        "health ms, median [min-max]",
        "RSS MB",
        "foreign",
    ];
    let title = format!(
        "{} times the peak over {} connections; latency from the send",
        params.factor, params.connections
    );
    let mut table = Table::new(title, &columns);
    for phase in phases {
        let health = phase.health.iter().map(|time| time.as_secs_f64() * 1e3);
        table.row([
            phase.name.clone(),
            phase.offered.map_or("closed loop".to_owned(), grouped),
            grouped(phase.stats.rate()),
            format!("{:.2}", phase.core_use),
            format!("{:.0}", phase.p50_micros),
            format!("{:.0}", phase.p99_micros),
            Spread::of(health).text(1),
            format!("{:.1}", phase.resident as f64 / 1e6),
            format!("{:.2}", phase.foreign),
        ]);
    }
    table
}

fn json_of(phase: &Phase) -> Value {
    json!({
        "phase": phase.name,
        "offered_per_second": phase.offered,
        "answered_per_second": phase.stats.rate(),
        "core": phase.core_use,
        "p50_us": phase.p50_micros,
        "p99_us": phase.p99_micros,
        "rss_bytes": phase.resident,
        "foreign": phase.foreign,
    })
}
