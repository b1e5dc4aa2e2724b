//! Does a version get the share it was given, and are all requests counted?

use std::io;
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::json;

use super::{Context, promise_unharmed};
use crate::admin::Admin;
use crate::backend::Backends;
use crate::client::{Generator, Plan};
use crate::params;
use crate::proxies::tidegate::{SERVICE, Setup, Tidegate};
use crate::report::{Report, Table, grouped, progress};
use crate::scenario::cutover::GREEN;
use crate::stats::{Observation, Stats};

/// How long counts may take to reach a scrape.
const SCRAPE_PATIENCE: Duration = Duration::from_secs(2);

/// The values of `scenarios/canary_ramp.toml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Params {
    workers: usize,
    seconds: f64,
    steps: Vec<u32>,
    sigmas: f64,
    connections: usize,
}

/// Requests of one step that began after its weights were acknowledged.
struct Step {
    percent: u32,
    requests: u64,
    green: u64,
}

impl Step {
    fn of(percent: u32, since: Instant, observations: &[Observation]) -> Step {
        let mut step = Step { percent, requests: 0, green: 0 };
        for seen in observations.iter().filter(|seen| seen.begun >= since) {
            step.requests += 1;
            step.green += u64::from(seen.version == GREEN);
        }
        step
    }

    /// How many standard deviations of a binomial the count lies from its mean.
    fn sigmas(&self) -> f64 {
        let (share, requests) = (f64::from(self.percent) / 100.0, self.requests as f64);
        let distance = (self.green as f64 - share * requests).abs();
        match (share * (1.0 - share) * requests).sqrt() {
            0.0 if distance > 0.0 => f64::INFINITY,
            0.0 => 0.0,
            deviation => distance / deviation,
        }
    }
}

/// Runs the scenario.
pub fn run(context: &Context) -> io::Result<Report> {
    let text = include_str!("../../scenarios/canary_ramp.toml");
    let params: Params = params::read(text, &context.wishes)?;
    let mut report = Report::new("canary_ramp");
    let backends = Backends::start(&["blue", "green"])?;
    let addresses = [backends.addresses("blue"), backends.addresses("green")];
    let setup = Setup::blue_green(params.workers, [100, 0], addresses);
    let tidegate = Tidegate::start(&context.tidegate, &setup, false)?;
    let mut plan = Plan::get(tidegate.listener, "/bytes/1024");
    plan.connections = params.connections;
    plan.observe = true;
    let generator = Generator::start(plan)?;
    let mut all = Stats::new(2);
    let mut steps = Vec::new();
    for percent in &params.steps {
        progress(&format!("green at {percent} %"));
        let weights = json!({ "blue": 100 - percent, "green": percent });
        let since = tidegate.admin.weights(SERVICE, &weights)?.arrived;
        std::thread::sleep(Duration::from_secs_f64(params.seconds));
        let mut window = generator.cut()?;
        steps.push(Step::of(*percent, since, &window.observations));
        window.observations.clear();
        all.add(window);
    }
    all.add(generator.stop()?);
    promise_unharmed(&mut report, &all);
    let worst = steps.iter().map(Step::sigmas).fold(0.0, f64::max);
    let text = format!("every share is within {} standard deviations", params.sigmas);
    report.promise(text, worst <= params.sigmas, format!("at most {worst:.2}"));
    promise_counts(&mut report, tidegate.admin, &all)?;
    let served = [backends.endpoint(0).served(), backends.endpoint(1).served()];
    let found = format!("served {served:?}, seen {:?}", all.by_version);
    let text = "backends served what clients saw";
    report.promise(text, served == all.by_version[..], found);
    report.tables.push(table(&steps));
    let step = |s: &Step| json!({"percent": s.percent, "requests": s.requests, "green": s.green});
    report.figures = json!({ "steps": steps.iter().map(step).collect::<Vec<_>>() });
    Ok(report)
}

/// What is scraped is what clients saw.
fn promise_counts(report: &mut Report, admin: Admin, seen: &Stats) -> io::Result<()> {
    let began = Instant::now();
    loop {
        let metrics = admin.metrics()?;
        let labels = |version| [("service", SERVICE), ("version", version), ("status", "200")];
        let scraped =
            ["blue", "green"].map(|v| metrics.sum("http_requests_total", &labels(v)) as u64);
        let equal = scraped == seen.by_version[..];
        if equal || began.elapsed() > SCRAPE_PATIENCE {
            let found = format!("scraped {scraped:?}, seen {:?}", seen.by_version);
            report.promise("counts by version are those that clients saw", equal, found);
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn table(steps: &[Step]) -> Table {
    let columns = ["green %", "requests", "green", "observed %", "sigmas"];
    let mut table = Table::new("Shares", &columns);
    for step in steps {
        let observed = step.green as f64 / (step.requests.max(1) as f64) * 100.0;
        table.row([
            step.percent.to_string(),
            grouped(step.requests as f64),
            grouped(step.green as f64),
            format!("{observed:.3}"),
            format!("{:.2}", step.sigmas()),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_judged_by_its_binomial() {
        let cases = [
            (50, 100, 50, 0.0),
            (50, 100, 60, 2.0),
            (10, 10_000, 1_000, 0.0),
            (10, 10_000, 1_120, 4.0),
            (100, 500, 500, 0.0),
            (100, 500, 499, f64::INFINITY),
        ];
        for (percent, requests, green, sigmas) in cases {
            let step = Step { percent, requests, green };
            assert!((step.sigmas() - sigmas).abs() < 1e-9 || step.sigmas() == sigmas, "{percent}");
        }
    }
}
