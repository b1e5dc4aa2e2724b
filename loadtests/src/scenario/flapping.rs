//! Do clients notice when endpoints, or a whole version, die and come back?

use std::io;
use std::path::Path;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};

use super::Context;
use crate::backend::Backends;
use crate::client::{Generator, Plan};
use crate::params;
use crate::proxies::tidegate::{SERVICE, Setup, Tidegate};
use crate::report::{Report, Table, grouped, progress};

/// The values of `scenarios/upstream_flapping.toml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Params {
    workers: usize,
    rounds: usize,
    down_ms: u64,
    up_ms: u64,
    connections: usize,
    version_keys: String,
}

/// Places of the endpoints in the list of backends: blue has two, green one.
const BLUE_ENDPOINTS: [usize; 2] = [0, 1];

/// Which endpoints die together, and what that is called.
struct Part {
    name: &'static str,
    weights: [u32; 2],
    /// The endpoints that die in a round.
    victims: fn(usize) -> Vec<usize>,
}

const PARTS: [Part; 2] = [
    Part {
        name: "one of two endpoints",
        weights: [100, 0],
        victims: |round| vec![BLUE_ENDPOINTS[round % 2]],
    },
    Part {
        name: "a whole version, others stand in",
        weights: [50, 50],
        victims: |_| BLUE_ENDPOINTS.to_vec(),
    },
];

/// Runs the scenario.
pub fn run(context: &Context) -> io::Result<Report> {
    let text = include_str!("../../scenarios/upstream_flapping.toml");
    let params: Params = params::read(text, &context.wishes)?;
    let mut report = Report::new("upstream_flapping");
    let columns = ["killed", "deaths", "requests", "failed", "retries", "rescues", "p99 us"];
    let mut table = Table::new("Deaths under load", &columns);
    let mut figures = serde_json::Map::new();
    for part in &PARTS {
        let (row, figure) = run_part(&context.tidegate, &params, part, &mut report)?;
        table.row(row);
        figures.insert(part.name.to_owned(), figure);
    }
    report.tables.push(table);
    report.figures = Value::Object(figures);
    Ok(report)
}

fn run_part(
    binary: &Path,
    params: &Params,
    part: &Part,
    report: &mut Report,
) -> io::Result<(Vec<String>, Value)> {
    let backends = Backends::start(&["blue", "blue", "green"])?;
    let addresses = [backends.addresses("blue"), backends.addresses("green")];
    let mut setup = Setup::blue_green(params.workers, part.weights, addresses);
    setup.service_keys = "when_unavailable = \"others\"\n".to_owned();
    for (_, _, keys) in &mut setup.versions {
        keys.clone_from(&params.version_keys);
    }
    let tidegate = Tidegate::start(binary, &setup, false)?;
    let mut plan = Plan::get(tidegate.listener, "/bytes/1024");
    plan.connections = params.connections;
    let generator = Generator::start(plan)?;
    for round in 0..params.rounds {
        progress(&format!("{}: death {} of {}", part.name, round + 1, params.rounds));
        std::thread::sleep(Duration::from_millis(params.up_ms));
        let victims = (part.victims)(round);
        victims.iter().try_for_each(|index| backends.kill(*index))?;
        std::thread::sleep(Duration::from_millis(params.down_ms));
        victims.iter().try_for_each(|index| backends.restart(*index))?;
    }
    let stats = generator.stop()?;
    let metrics = tidegate.admin.metrics()?;
    let retries = metrics.sum("tidegate_retries_total", &[("service", SERVICE)]);
    let rescues = metrics.sum("tidegate_rescues_total", &[("service", SERVICE)]);
    let text = format!("{}: no GET fails", part.name);
    let found = format!("failures: {}", stats.failures_text());
    report.promise(text, stats.failed() == 0 && stats.completed > 0, found);
    let row = vec![
        part.name.to_owned(),
        params.rounds.to_string(),
        grouped(stats.completed as f64),
        stats.failed().to_string(),
        grouped(retries),
        grouped(rescues),
        format!("{:.0}", stats.latency_micros(0.99)),
    ];
    let figure = json!({
        "requests": stats.completed,
        "failed": stats.failed(),
        "retries": retries,
        "rescues": rescues,
    });
    Ok((row, figure))
}
