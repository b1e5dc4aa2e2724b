//! How do cost and latency grow with routes, versions, endpoints, connections, workers and reloads?
//!
//! Only Tidegate is measured, against itself. All sizes of an axis run at the same time and are sampled
//! in turn. The proxy has a core to itself; only for the number of workers is placement left to the
//! kernel, because two workers need two cores.

mod axes;

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::{Value, json};

use super::Context;
use super::sample::{Load, Sample, Sampling};
use crate::machine;
use crate::params;
use crate::report::{Report, Table, grouped, progress};
use crate::stats::Spread;
use axes::{Axis, Case, Publishing};

/// The values of `scenarios/growth.toml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Params {
    seconds: f64,
    warmup: f64,
    rounds: usize,
    connections: usize,
    foreign_limit: f64,
    redo: u32,
    routes: Vec<usize>,
    versions: Vec<usize>,
    endpoints: Vec<usize>,
    held: Vec<usize>,
    workers: Vec<usize>,
    workers_rate: u32,
    reloads: u32,
    reload_rate: u32,
    publish_every_ms: u64,
    publish_rate: u32,
    flat_ratio: f64,
    scale_ratio: f64,
    compile_ms: f64,
    publish_p99_ratio: f64,
}

impl Params {
    fn most_routes(&self) -> usize {
        self.routes.iter().copied().max().unwrap_or(1)
    }
}

/// Runs the scenario.
pub fn run(context: &Context) -> io::Result<Report> {
    let params: Params =
        params::read(include_str!("../../../scenarios/growth.toml"), &context.wishes)?;
    let mut report = Report::new("growth");
    let mut figures = serde_json::Map::new();
    for build in axes::ALL {
        machine::pin_to(machine::LOAD_CORE);
        let mut axis = build(context, &params)?;
        measure(&params, &mut axis)?;
        report.tables.push(table(&axis));
        judge(&params, &axis, &mut report);
        figures.insert(axis.name.to_owned(), json_of(&axis));
    }
    let compile = compile(context, &params, &mut report)?;
    figures.insert("compile_ms".to_owned(), compile);
    report.figures = Value::Object(figures);
    machine::unpin();
    Ok(report)
}

fn measure(params: &Params, axis: &mut Axis) -> io::Result<()> {
    let Params { seconds, warmup, foreign_limit, redo, .. } = *params;
    let sampling = Sampling { seconds, warmup, foreign_limit, redo };
    let count = axis.cases.len();
    for round in 0..params.rounds {
        for turn in 0..count {
            let case = &mut axis.cases[(round + turn) % count];
            let (name, label) = (axis.name, &case.label);
            progress(&format!("{name}, round {} of {}: {label}", round + 1, params.rounds));
            let sample = sample(&sampling, case)?;
            case.samples.0.push(sample);
        }
    }
    Ok(())
}

/// A sample of a case, while revisions are published if it asks for that.
fn sample(sampling: &Sampling, case: &mut Case) -> io::Result<Sample> {
    let pids = case.tidegate.process().pids();
    let load = || Load::Plan(case.plan.clone());
    let Some(publishing) = &case.publishing else { return sampling.undisturbed(&pids, load) };
    let done = AtomicBool::new(false);
    let count = AtomicU64::new(0);
    let began = Instant::now();
    let (sample, published) = std::thread::scope(|scope| {
        let publisher = scope.spawn(|| publish(case, publishing, &done, &count));
        let sample = sampling.undisturbed(&pids, load);
        done.store(true, Ordering::Relaxed);
        (sample, publisher.join())
    });
    published.map_err(|_| io::Error::other("the publisher panicked"))??;
    let rate = count.load(Ordering::Relaxed) as f64 / began.elapsed().as_secs_f64();
    case.published.push(rate);
    sample
}

/// Edits the file and asks for a reload, again and again. Each edit changes something.
fn publish(
    case: &Case,
    publishing: &Publishing,
    done: &AtomicBool,
    count: &AtomicU64,
) -> io::Result<()> {
    let mut next = Instant::now() + publishing.every;
    while !done.load(Ordering::Relaxed) {
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
        // One that took longer than its time is not made up for.
        next = (next + publishing.every).max(Instant::now());
        count.fetch_add(1, Ordering::Relaxed);
        case.tidegate.replace_by(publishing.next())?;
        case.tidegate.admin.expect("POST", "/v1/reload", None)?;
    }
    Ok(())
}

fn table(axis: &Axis) -> Table {
    let first = format!("of {}", axis.cases.first().map_or("the first", |case| &case.label));
    let columns = [
        axis.column,
        "CPU us/req",
        &first,
        "req/s",
        "p50 us",
        "p99 us",
        "p99.9 us",
        "RSS MB",
        "foreign",
        "failed",
    ];
    let mut table = Table::new(axis.title.clone(), &columns);
    for case in &axis.cases {
        let samples = &case.samples;
        let median = |value: fn(&Sample) -> f64| samples.spread(value).median;
        let quantile = |q: f64| format!("{:.0}", tail(case, q));
        let label = match case.publishing {
            Some(_) => {
                let rate = Spread::of(case.published.iter().copied()).median;
                format!("{} ({rate:.1}/s done)", case.label)
            }
            None => case.label.clone(),
        };
        table.row([
            label,
            samples.micros().text(2),
            format!("{:.2}", axis.ratio(case)),
            grouped(median(|s| s.stats.rate())),
            quantile(0.5),
            quantile(0.99),
            quantile(0.999),
            format!("{:.1}", median(|s| s.resident as f64) / 1e6),
            format!("{:.2}", samples.spread(|s| s.foreign).max),
            samples.failed().to_string(),
        ]);
    }
    table
}

fn tail(case: &Case, quantile: f64) -> f64 {
    case.samples.latency(quantile).map_or(0.0, |found| found.median)
}

fn judge(params: &Params, axis: &Axis, report: &mut Report) {
    let failures: Vec<String> = axis
        .cases
        .iter()
        .filter(|case| case.samples.failed() > 0)
        .map(|case| format!("{}: {}", case.label, case.samples.failures_text()))
        .collect();
    let found = if failures.is_empty() { "0 failed".to_owned() } else { failures.join("; ") };
    report.promise(format!("{}: no request fails", axis.name), failures.is_empty(), found);
    let (Some(first), Some(last)) = (axis.cases.first(), axis.cases.last()) else { return };
    match axis.name {
        "routes" => {
            let (most, found) = (params.flat_ratio, axis.ratio(last));
            let text = format!("routes: {} cost at most {most:.2} of one", last.label);
            report.target(text, found <= most, format!("{found:.2}"));
        }
        "workers" => {
            // Cost for a request that does not rise with a worker more is capacity that rises with it.
            let found = params.workers.iter().copied().max().unwrap_or(1) as f64 / axis.ratio(last);
            let text = format!("workers: {} serve {:.1} times one", last.label, params.scale_ratio);
            let found_text =
                format!("{found:.2}, by the cost of a request at an equal rate a worker");
            report.target(text, found >= params.scale_ratio, found_text);
        }
        "publish" => {
            let (quiet, busy) = (tail(first, 0.99), tail(last, 0.99));
            let most = params.publish_p99_ratio;
            let text = format!("publish: p99 meanwhile at most {most:.1} of that without");
            report.target(text, busy <= most * quiet, format!("{busy:.0} us, else {quiet:.0} us"));
        }
        _ => {}
    }
}

/// How long the command line takes to check the file with the most routes.
fn compile(context: &Context, params: &Params, report: &mut Report) -> io::Result<Value> {
    let home = tempfile::tempdir()?;
    let file = home.path().join("tidegate.toml");
    let routes = params.most_routes();
    let (listener, admin) = (machine::free_address()?, machine::free_address()?);
    std::fs::write(&file, axes::many_routes(routes, listener).render(listener, admin))?;
    let mut times = Vec::new();
    for _ in 0..params.rounds.max(3) {
        let began = Instant::now();
        let output = std::process::Command::new(&context.tidegate)
            .arg("check")
            .arg("-c")
            .arg(&file)
            .output()?;
        times.push(began.elapsed());
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            return Err(io::Error::other(format!("check refused the file:\n{said}")));
        }
    }
    let millis = Spread::of(times.iter().map(|time: &Duration| time.as_secs_f64() * 1e3));
    let text = format!(
        "{} routes are checked within {} ms, the start of the program included",
        grouped(routes as f64),
        params.compile_ms
    );
    report.target(text, millis.median <= params.compile_ms, format!("{} ms", millis.text(0)));
    Ok(json!({ "median": millis.median, "min": millis.min, "max": millis.max }))
}

fn json_of(axis: &Axis) -> Value {
    let one = |case: &Case| {
        let mut figures = case.samples.json();
        figures["of_first"] = json!(axis.ratio(case));
        (case.label.clone(), figures)
    };
    Value::Object(axis.cases.iter().map(one).collect())
}
