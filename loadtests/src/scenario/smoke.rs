//! Does nothing break in a few seconds of everything at once?

use std::io;
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::json;

use super::cutover::{BLUE, GREEN, Switch, promise_punctual};
use super::{Context, promise_unharmed};
use crate::backend::Backends;
use crate::client::{Generator, Plan, request};
use crate::params;
use crate::proxies::tidegate::{Setup, Tidegate};
use crate::report::{Report, Table, grouped, progress};

/// The values of `scenarios/smoke.toml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Params {
    workers: usize,
    seconds: f64,
    connections: usize,
    cutover_every_ms: u64,
    edit_every_ms: u64,
}

/// Runs the scenario.
pub fn run(context: &Context) -> io::Result<Report> {
    let params: Params = params::read(include_str!("../../scenarios/smoke.toml"), &context.wishes)?;
    let mut report = Report::new("smoke");
    let backends = Backends::start(&["blue", "green"])?;
    let addresses = [backends.addresses("blue"), backends.addresses("green")];
    let mut setup = Setup::blue_green(params.workers, [100, 0], addresses);
    let mut tidegate = Tidegate::start(&context.tidegate, &setup, false)?;
    let mut plan = Plan::get(tidegate.listener, "/bytes/1024");
    plan.connections = params.connections;
    plan.observe = true;
    plan.requests.push(request("GET", "/bytes/65536", 0, false));
    plan.requests.push(request("POST", "/bytes/64", 16_384, false));
    let generator = Generator::start(plan)?;
    progress("cutovers and edits under load");
    let (switches, edits) = operate(&params, &tidegate, &mut setup)?;
    let stats = generator.stop()?;
    promise_unharmed(&mut report, &stats);
    promise_punctual(&mut report, &switches, &stats.observations);
    let valid = tidegate.admin.metrics()?.sum("tidegate_config_valid", &[]);
    report.promise("the file is valid in the end", valid == 1.0, format!("{valid}"));
    let running = tidegate.process().is_running();
    report.promise("the proxy still runs", running, format!("{running}"));
    let mut table = Table::new("Mixed load", &["requests", "req/s", "p99 us", "cutovers", "edits"]);
    table.row([
        grouped(stats.completed as f64),
        grouped(stats.rate()),
        format!("{:.0}", stats.latency_micros(0.99)),
        switches.len().to_string(),
        edits.to_string(),
    ]);
    report.tables.push(table);
    report.figures = json!({
        "requests": stats.completed,
        "failed": stats.failed(),
        "cutovers": switches.len(),
        "edits": edits,
    });
    Ok(report)
}

/// Cuts over and edits the file in turn until the time is up; how often each was done.
fn operate(
    params: &Params,
    tidegate: &Tidegate,
    setup: &mut Setup,
) -> io::Result<(Vec<Switch>, u32)> {
    let end = Instant::now() + Duration::from_secs_f64(params.seconds);
    let mut next_cutover = Instant::now() + Duration::from_millis(params.cutover_every_ms);
    let mut next_edit = Instant::now() + Duration::from_millis(params.edit_every_ms);
    let mut switches: Vec<Switch> = Vec::new();
    let mut edits = 0;
    while Instant::now() < end {
        if Instant::now() >= next_cutover {
            next_cutover += Duration::from_millis(params.cutover_every_ms);
            let to = if switches.len().is_multiple_of(2) { GREEN } else { BLUE };
            switches.push(Switch::make(tidegate.admin, to)?);
        }
        if Instant::now() >= next_edit {
            next_edit += Duration::from_millis(params.edit_every_ms);
            edits += 1;
            // Not a traffic key: the cutovers made through the API stay in force.
            setup.service_keys = format!("timeout = \"{}s\"\n", 20 + edits % 20);
            match edits % 2 {
                0 => tidegate.replace_file(setup)?,
                _ => tidegate.overwrite_file(setup)?,
            }
        }
        std::thread::sleep(next_cutover.min(next_edit).saturating_duration_since(Instant::now()));
    }
    Ok((switches, edits))
}
