//! Can a shadow hurt the original?
//!
//! Four Tidegates run on the same core in turn: without a shadow, and with a healthy, a stalled and a
//! dead one that is to receive every request.

use std::io;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};

use super::Context;
use crate::backend::Backends;
use crate::client::{Generator, Plan};
use crate::machine::{self, ProcessorUse, ProcessorWatch};
use crate::params;
use crate::proxies::tidegate::{SERVICE, Setup, Tidegate};
use crate::report::{Report, Table, grouped, progress};
use crate::stats::{Spread, Stats};

/// The values of `scenarios/shadow_saturated.toml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Params {
    seconds: f64,
    warmup: f64,
    rounds: usize,
    connections: usize,
    percent: f64,
    foreign_limit: f64,
    redo: u32,
    min_rate_ratio: f64,
    max_p99_ratio: f64,
}

/// What the shadow does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    None,
    Healthy,
    Stalled,
    Dead,
}

impl Kind {
    const ALL: [Kind; 4] = [Kind::None, Kind::Healthy, Kind::Stalled, Kind::Dead];

    fn name(self) -> &'static str {
        match self {
            Kind::None => "no shadow",
            Kind::Healthy => "healthy",
            Kind::Stalled => "stalled",
            Kind::Dead => "dead",
        }
    }
}

/// One Tidegate with its shadow and what was seen of it.
struct Case {
    kind: Kind,
    tidegate: Tidegate,
    _backends: Backends,
    windows: Vec<Stats>,
    micros: Vec<f64>,
    /// The greatest share of a core that others used during a sample.
    foreign: f64,
    /// GETs answered, warm-up included.
    sent: u64,
    failures: Vec<String>,
}

impl Case {
    fn start(context: &Context, kind: Kind, percent: f64) -> io::Result<Case> {
        let backends = Backends::start(&["blue", "green"])?;
        match kind {
            Kind::None | Kind::Healthy => {}
            Kind::Stalled => backends.endpoint(1).stall(true),
            Kind::Dead => backends.kill(1)?,
        }
        let addresses = [backends.addresses("blue"), backends.addresses("green")];
        let mut setup = Setup::blue_green(1, [100, 0], addresses);
        if kind != Kind::None {
            setup.tables =
                format!("[service.{SERVICE}.shadow]\nversion = \"green\"\npercent = {percent:?}\n");
        }
        let tidegate = Tidegate::start(&context.tidegate, &setup, true)?;
        let (windows, micros, failures) = (Vec::new(), Vec::new(), Vec::new());
        let (sent, foreign) = (0, 0.0);
        let _backends = backends;
        Ok(Case { kind, tidegate, _backends, windows, micros, foreign, sent, failures })
    }

    /// Adds a sample; one that others disturbed is taken again.
    fn sample(&mut self, params: &Params) -> io::Result<()> {
        let mut used = self.try_sample(params)?;
        for _ in 0..params.redo {
            if used.foreign <= params.foreign_limit {
                break;
            }
            self.windows.pop();
            self.micros.pop();
            used = self.try_sample(params)?;
        }
        self.foreign = self.foreign.max(used.foreign);
        Ok(())
    }

    fn try_sample(&mut self, params: &Params) -> io::Result<ProcessorUse> {
        let mut plan = Plan::get(self.tidegate.listener, "/bytes/1024");
        plan.connections = params.connections;
        let pids = self.tidegate.process().pids();
        let generator = Generator::start(plan)?;
        std::thread::sleep(Duration::from_secs_f64(params.warmup));
        let warmup = generator.cut()?;
        let watch = ProcessorWatch::start(&pids);
        std::thread::sleep(Duration::from_secs_f64(params.seconds));
        let used = watch.stop();
        let window = generator.cut()?;
        let rest = generator.stop()?;
        for stats in [&warmup, &window, &rest] {
            self.sent += stats.completed;
            if stats.failed() > 0 {
                self.failures.push(stats.failures_text());
            }
        }
        self.micros.push(used.watched.as_secs_f64() * 1e6 / (window.completed.max(1) as f64));
        self.windows.push(window);
        Ok(used)
    }

    fn rate(&self) -> Spread {
        Spread::of(self.windows.iter().map(Stats::rate))
    }

    /// Median of the rounds' rates as a share of another's in the same round: what drifts meets both.
    fn rate_against(&self, other: &Case) -> f64 {
        let pairs = self.windows.iter().zip(&other.windows);
        Spread::of(pairs.map(|(own, other)| own.rate() / other.rate().max(1.0))).median
    }

    fn p99(&self) -> Spread {
        Spread::of(self.windows.iter().map(|window| window.latency_micros(0.99)))
    }
}

/// Runs the scenario.
pub fn run(context: &Context) -> io::Result<Report> {
    let text = include_str!("../../scenarios/shadow_saturated.toml");
    let params: Params = params::read(text, &context.wishes)?;
    machine::pin_to(machine::LOAD_CORE);
    let mut cases = Vec::new();
    for kind in Kind::ALL {
        cases.push(Case::start(context, kind, params.percent)?);
    }
    for round in 0..params.rounds {
        for turn in 0..cases.len() {
            let index = (round + turn) % cases.len();
            let name = cases[index].kind.name();
            progress(&format!("round {} of {}: {name}", round + 1, params.rounds));
            cases[index].sample(&params)?;
        }
    }
    let mut report = Report::new("shadow_saturated");
    judge(&params, &cases, &mut report)?;
    machine::unpin();
    Ok(report)
}

fn judge(params: &Params, cases: &[Case], report: &mut Report) -> io::Result<()> {
    let columns = ["shadow", "req/s [min-max]", "p99 us [min-max]", "CPU us/req", "copies"];
    let title = format!("{} % of requests copied, one worker", params.percent);
    let mut table = Table::new(title, &columns);
    let mut figures = serde_json::Map::new();
    let plain = &cases[0];
    for case in cases {
        let copies = case.tidegate.copies()?;
        let shown = copies.iter().filter(|(_, count)| *count > 0.0);
        let shown: Vec<String> =
            shown.map(|(outcome, count)| format!("{} {outcome}", grouped(*count))).collect();
        let micros = Spread::of(case.micros.iter().copied());
        table.row([
            case.kind.name().to_owned(),
            case.rate().text(0),
            case.p99().text(0),
            format!("{:.2}", micros.median),
            if shown.is_empty() { "-".to_owned() } else { shown.join(", ") },
        ]);
        let copies_json: serde_json::Map<String, Value> =
            copies.iter().map(|(outcome, count)| ((*outcome).to_owned(), json!(count))).collect();
        let figure = json!({
            "requests_per_second": case.rate().median,
            "p99_us": case.p99().median,
            "cpu_us_per_request": micros.median,
            "copies": copies_json,
        });
        figures.insert(case.kind.name().to_owned(), figure);
        let found = case.failures.join("; ");
        let text = format!("{}: no request fails", case.kind.name());
        report.promise(text, found.is_empty(), if found.is_empty() { "0 failed" } else { &found });
        if matches!(case.kind, Kind::Stalled | Kind::Dead) {
            compare(params, plain, case, &copies, report);
        }
    }
    report.tables.push(table);
    report.figures = Value::Object(figures);
    Ok(())
}

/// A stalled or dead shadow against none.
fn compare(
    params: &Params,
    plain: &Case,
    case: &Case,
    copies: &[(&str, f64)],
    report: &mut Report,
) {
    let name = case.kind.name();
    let rate = case.rate_against(plain);
    let least = params.min_rate_ratio;
    let text = format!("{name}: rate at least {least} of that without a shadow");
    let foreign = case.foreign.max(plain.foreign);
    if foreign <= params.foreign_limit {
        report.promise(text, rate >= least, format!("{rate:.2}"));
    } else {
        let found = format!("{rate:.2}, while others used {foreign:.2} of a core: not judged");
        report.target(text, rate >= least, found);
    }
    let p99 = case.p99().median / plain.p99().median.max(1.0);
    let most = params.max_p99_ratio;
    let text = format!("{name}: p99 at most {most} of that without a shadow");
    report.target(text, p99 <= most, format!("{p99:.2}"));
    let of = |outcome| copies.iter().find(|(name, _)| *name == outcome).map_or(0.0, |(_, n)| *n);
    let lost = of("dropped") + of("failed") + of("skipped");
    let found = format!("{} of {} requests", grouped(lost), grouped(case.sent as f64));
    report.promise(format!("{name}: copies that were lost are counted"), lost > 0.0, found);
}
