//! Is an edit of the file live within a second, without harm to traffic?

use std::io;
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Context, promise_unharmed};
use crate::backend::Backends;
use crate::client::{Generator, Plan};
use crate::params;
use crate::proxies::tidegate::{SERVICE, Setup, Tidegate};
use crate::report::{Report, Table, grouped, progress};
use crate::stats::Spread;

/// How often the live weights are asked for.
const POLL: Duration = Duration::from_millis(4);

/// The values of `scenarios/reload_storm.toml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Params {
    workers: usize,
    rounds: u32,
    live_within_ms: u64,
    connections: usize,
    pause_ms: u64,
}

/// Runs the scenario.
pub fn run(context: &Context) -> io::Result<Report> {
    let text = include_str!("../../scenarios/reload_storm.toml");
    let params: Params = params::read(text, &context.wishes)?;
    let mut report = Report::new("reload_storm");
    let backends = Backends::start(&["blue", "green"])?;
    let addresses = [backends.addresses("blue"), backends.addresses("green")];
    let mut setup = Setup::blue_green(params.workers, [50, 50], addresses);
    let tidegate = Tidegate::start(&context.tidegate, &setup, false)?;
    let mut plan = Plan::get(tidegate.listener, "/bytes/1024");
    plan.connections = params.connections;
    let generator = Generator::start(plan)?;
    let mut renamed = Vec::new();
    let mut in_place = Vec::new();
    for round in 0..params.rounds {
        progress(&format!("edit {} of {}", round + 1, params.rounds));
        // No two edits in a row ask for the same weights.
        let green = 1 + round % 98;
        setup.weights = vec![("blue".to_owned(), 100 - green), ("green".to_owned(), green)];
        let edited = Instant::now();
        let times = if round % 2 == 0 {
            tidegate.replace_file(&setup)?;
            &mut renamed
        } else {
            tidegate.overwrite_file(&setup)?;
            &mut in_place
        };
        let wanted = json!({ "blue": 100 - green, "green": green });
        times.push(until_live(&tidegate, &wanted, edited, params.live_within_ms)?);
        std::thread::sleep(Duration::from_millis(params.pause_ms));
    }
    let stats = generator.stop()?;
    promise_unharmed(&mut report, &stats);
    let slow = renamed.iter().chain(&in_place).filter(|time| time.is_none()).count();
    let text = format!("every edit is live within {} ms", params.live_within_ms);
    report.promise(text, slow == 0, format!("{slow} of {} were not", params.rounds));
    let title = format!("{} edits under {} req/s", params.rounds, grouped(stats.rate()));
    let mut table = Table::new(title, &["edit", "live after ms, median [min-max]"]);
    let mut figures = serde_json::Map::new();
    for (name, times) in [("rename", &renamed), ("in place", &in_place)] {
        let millis = times.iter().flatten().map(|time| time.as_secs_f64() * 1e3);
        let spread = Spread::of(millis);
        table.row([name.to_owned(), spread.text(1)]);
        let value = json!({ "median_ms": spread.median, "max_ms": spread.max });
        figures.insert(name.replace(' ', "_"), value);
    }
    report.tables.push(table);
    report.figures = Value::Object(figures);
    Ok(report)
}

/// Time from the edit until its weights are live; `None` when they were not in time.
fn until_live(
    tidegate: &Tidegate,
    wanted: &Value,
    edited: Instant,
    within_ms: u64,
) -> io::Result<Option<Duration>> {
    loop {
        let service = tidegate.admin.service(SERVICE)?;
        let elapsed = edited.elapsed();
        if service["live"]["weights"] == *wanted {
            return Ok(Some(elapsed).filter(|time| time.as_millis() <= u128::from(within_ms)));
        }
        // Waits longer than promised, so that the next edit does not pay for this one.
        if elapsed > Duration::from_millis(3 * within_ms) {
            return Ok(None);
        }
        std::thread::sleep(POLL);
    }
}
