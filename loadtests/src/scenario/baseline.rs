//! What does a proxied request cost, and what do others pay for it?
//!
//! The proxy has a core to itself, load and backends share another. Every proxy is sampled once a round,
//! in an order that rotates, so that drift of the machine meets all of them alike.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Context, memory};
use crate::backend::Backends;
use crate::client::{Generator, Pace, Plan, request};
use crate::machine::{self, ProcessorWatch};
use crate::params;
use crate::proxies::peers::{Peer, RunningPeer, Tuning, Upstreams};
use crate::proxies::tidegate::{Setup, Tidegate};
use crate::report::{Report, Table, grouped, progress};
use crate::stats::{Spread, Stats};

/// The values of `scenarios/baseline.toml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Params {
    seconds: f64,
    warmup: f64,
    rounds: usize,
    connections: usize,
    foreign_limit: f64,
    redo: u32,
    idle: Vec<usize>,
    workload: Vec<Workload>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Workload {
    name: String,
    #[serde(default = "get")]
    method: String,
    path: String,
    #[serde(default)]
    body: usize,
    #[serde(default)]
    reconnect: bool,
    #[serde(default)]
    large: bool,
    rate: Option<u32>,
    target_ratio: Option<f64>,
}

fn get() -> String {
    "GET".to_owned()
}

/// Who is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// The backend without a proxy: what load and backends could do at most.
    Direct,
    /// Tidegate.
    Tidegate,
    /// Another proxy.
    Peer(Peer),
}

impl Who {
    const ALL: [Who; 4] =
        [Who::Direct, Who::Tidegate, Who::Peer(Peer::Nginx), Who::Peer(Peer::Haproxy)];

    /// The name in tables and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Who::Direct => "direct",
            Who::Tidegate => "tidegate",
            Who::Peer(peer) => peer.name(),
        }
    }

    /// Starts it with one worker on a core of its own, 90 to blue and 10 to green.
    pub fn start(
        self,
        context: &Context,
        backends: &Backends,
        tuning: Tuning,
    ) -> io::Result<Subject> {
        let (blue, green) = (backends.endpoint(0).address, backends.endpoint(1).address);
        match self {
            Who::Direct => Ok(Subject::Direct(blue)),
            Who::Tidegate => {
                let setup = Setup::blue_green(1, [90, 10], [vec![blue], vec![green]]);
                Tidegate::start(&context.tidegate, &setup, true).map(Subject::Tidegate)
            }
            Who::Peer(peer) => {
                let upstreams = Upstreams { blue: (blue, 90), green: (green, 10) };
                peer.start(&upstreams, 1, tuning, true).map(Subject::Peer)
            }
        }
    }
}

/// Something running that takes requests.
pub enum Subject {
    /// A backend.
    Direct(SocketAddr),
    /// Tidegate.
    Tidegate(Tidegate),
    /// Another proxy.
    Peer(RunningPeer),
}

impl Subject {
    /// Where it takes requests.
    pub fn listener(&self) -> SocketAddr {
        match self {
            Subject::Direct(address) => *address,
            Subject::Tidegate(tidegate) => tidegate.listener,
            Subject::Peer(peer) => peer.listener,
        }
    }

    /// Its processes; none for a backend, which lives in this one.
    pub fn pids(&mut self) -> Vec<u32> {
        match self {
            Subject::Direct(_) => Vec::new(),
            Subject::Tidegate(tidegate) => tidegate.process().pids(),
            Subject::Peer(peer) => peer.process.pids(),
        }
    }
}

/// Runs the scenario.
pub fn run(context: &Context) -> io::Result<Report> {
    let params: Params =
        params::read(include_str!("../../scenarios/baseline.toml"), &context.wishes)?;
    let whom = whom(context)?;
    machine::pin_to(machine::LOAD_CORE);
    let mut report = Report::new("baseline");
    let mut figures = serde_json::Map::new();
    for workload in &params.workload {
        let results = measure(context, &params, workload, &whom)?;
        report.tables.push(table(workload, &results));
        judge(workload, &results, &mut report);
        figures.insert(workload.name.clone(), json_of(&results));
    }
    let memory = memory::measure(context, &params.idle, &whom, &mut report)?;
    figures.insert("memory".to_owned(), memory);
    let versions: Vec<Value> = Peer::ALL.iter().map(|peer| json!(peer.version())).collect();
    figures.insert("peers".to_owned(), Value::Array(versions));
    report.figures = Value::Object(figures);
    machine::unpin();
    Ok(report)
}

fn whom(context: &Context) -> io::Result<Vec<Who>> {
    if context.peers.is_empty() {
        let installed = |who: &Who| match who {
            Who::Direct => false,
            Who::Tidegate => true,
            Who::Peer(peer) => peer.version().is_some(),
        };
        return Ok(Who::ALL.into_iter().filter(installed).collect());
    }
    let named = |name: &String| {
        let found = Who::ALL.into_iter().find(|who| who.name() == name);
        found.ok_or_else(|| io::Error::other(format!("there is no peer `{name}`")))
    };
    context.peers.iter().map(named).collect()
}

/// One sample of one proxy.
struct Sample {
    micros: f64,
    core_use: f64,
    resident: u64,
    foreign: f64,
    stats: Stats,
}

/// All samples of one proxy in one workload.
struct Results {
    who: Who,
    samples: Vec<Sample>,
}

impl Results {
    fn spread(&self, value: impl Fn(&Sample) -> f64) -> Spread {
        Spread::of(self.samples.iter().map(value))
    }

    fn micros(&self) -> Spread {
        self.spread(|sample| sample.micros)
    }

    fn failed(&self) -> u64 {
        self.samples.iter().map(|sample| sample.stats.failed()).sum()
    }
}

fn measure(
    context: &Context,
    params: &Params,
    workload: &Workload,
    whom: &[Who],
) -> io::Result<Vec<Results>> {
    let backends = Backends::start(&["blue", "green"])?;
    let tuning = if workload.large { Tuning::Large } else { Tuning::Small };
    let mut subjects = Vec::new();
    for who in whom {
        subjects.push(who.start(context, &backends, tuning)?);
    }
    let mut results: Vec<Results> =
        whom.iter().map(|who| Results { who: *who, samples: Vec::new() }).collect();
    for round in 0..params.rounds {
        for turn in 0..whom.len() {
            let index = (round + turn) % whom.len();
            let name = whom[index].name();
            progress(&format!(
                "{} round {} of {}: {name}",
                workload.name,
                round + 1,
                params.rounds
            ));
            let sample = undisturbed(params, workload, &mut subjects[index])?;
            results[index].samples.push(sample);
        }
    }
    Ok(results)
}

/// A sample during which others used little of the machine, or the least disturbed of the tries.
fn undisturbed(params: &Params, workload: &Workload, subject: &mut Subject) -> io::Result<Sample> {
    let mut best = sample(params, workload, subject)?;
    for _ in 0..params.redo {
        if best.foreign <= params.foreign_limit {
            break;
        }
        let again = sample(params, workload, subject)?;
        // Failures are never thrown away with a disturbed sample.
        if again.foreign < best.foreign && best.stats.failed() == 0 {
            best = again;
        }
    }
    Ok(best)
}

fn sample(params: &Params, workload: &Workload, subject: &mut Subject) -> io::Result<Sample> {
    let close = workload.reconnect;
    let bytes = request(&workload.method, &workload.path, workload.body, close);
    let mut plan = Plan::get(subject.listener(), &workload.path);
    plan.requests = vec![bytes];
    plan.connections = params.connections;
    plan.reconnect = close;
    plan.pace = workload.rate.map_or(Pace::Closed, Pace::Rate);
    let pids = subject.pids();
    let generator = Generator::start(plan)?;
    std::thread::sleep(Duration::from_secs_f64(params.warmup));
    let warmup = generator.cut()?;
    let watch = ProcessorWatch::start(&pids);
    std::thread::sleep(Duration::from_secs_f64(params.seconds));
    let used = watch.stop();
    let mut stats = generator.cut()?;
    let resident = machine::resident_bytes(&pids);
    let rest = generator.stop()?;
    let micros = used.watched.as_secs_f64() * 1e6 / (stats.completed.max(1) as f64);
    // The window's figures stand alone, but a failure counts whenever it happened.
    for (why, count) in warmup.failures.into_iter().chain(rest.failures) {
        *stats.failures.entry(why).or_default() += count;
    }
    let core_use = used.watched.as_secs_f64() / used.window.as_secs_f64();
    Ok(Sample { micros, core_use, resident, foreign: used.foreign, stats })
}

fn table(workload: &Workload, results: &[Results]) -> Table {
    let pace = workload.rate.map_or("closed loop".to_owned(), |rate| format!("{rate} req/s"));
    let title = format!(
        "{}: {} {}, {pace}; medians [min-max] of {} samples",
        workload.name,
        workload.method,
        workload.path,
        results.first().map_or(0, |r| r.samples.len())
    );
    let columns = [
        "peer",
        "CPU us/req",
        "of nginx",
        "of haproxy",
        "req/s",
        "core",
        "p50 us",
        "p99 us",
        "p99.9 us",
        "RSS MB",
        "foreign",
        "failed",
    ];
    let mut table = Table::new(title, &columns);
    for result in results {
        let median = |value: &dyn Fn(&Sample) -> f64| result.spread(value).median;
        let quantile = |q: f64| format!("{:.0}", median(&|s| s.stats.latency_micros(q)));
        table.row([
            result.who.name().to_owned(),
            result.micros().text(2),
            ratio_text(result, results, Peer::Nginx),
            ratio_text(result, results, Peer::Haproxy),
            grouped(median(&|s| s.stats.rate())),
            format!("{:.2}", median(&|s| s.core_use)),
            quantile(0.5),
            quantile(0.99),
            quantile(0.999),
            format!("{:.1}", median(&|s| s.resident as f64) / 1e6),
            format!("{:.2}", result.spread(|s| s.foreign).max),
            result.failed().to_string(),
        ]);
    }
    table
}

/// CPU per request as a share of a peer's; `None` when either was not measured.
fn ratio(result: &Results, results: &[Results], peer: Peer) -> Option<f64> {
    let other = results.iter().find(|other| other.who == Who::Peer(peer))?.micros().median;
    (result.who != Who::Direct && other > 0.0).then(|| result.micros().median / other)
}

fn ratio_text(result: &Results, results: &[Results], peer: Peer) -> String {
    ratio(result, results, peer).map_or("-".to_owned(), |ratio| format!("{ratio:.2}"))
}

fn judge(workload: &Workload, results: &[Results], report: &mut Report) {
    let Some(own) = results.iter().find(|result| result.who == Who::Tidegate) else { return };
    let failures: Vec<String> = own
        .samples
        .iter()
        .filter(|sample| sample.stats.failed() > 0)
        .map(|sample| sample.stats.failures_text())
        .collect();
    let found = if failures.is_empty() { "0 failed".to_owned() } else { failures.join("; ") };
    let name = &workload.name;
    report.promise(format!("{name}: no request fails"), failures.is_empty(), found);
    let ratios = Peer::ALL.into_iter().filter_map(|peer| ratio(own, results, peer));
    if let (Some(target), Some(worst)) = (workload.target_ratio, ratios.reduce(f64::max)) {
        let text = format!("{name}: CPU per request at most {target} of every peer's");
        report.target(text, worst <= target, format!("{worst:.2}"));
    }
}

fn json_of(results: &[Results]) -> Value {
    let spread = |s: Spread| json!({"median": s.median, "min": s.min, "max": s.max});
    let one = |result: &Results| {
        let quantile = |q: f64| spread(result.spread(|s| s.stats.latency_micros(q)));
        let figures = json!({
            "cpu_us_per_request": spread(result.micros()),
            "of_nginx": ratio(result, results, Peer::Nginx),
            "of_haproxy": ratio(result, results, Peer::Haproxy),
            "requests_per_second": spread(result.spread(|s| s.stats.rate())),
            "p50_us": quantile(0.5),
            "p99_us": quantile(0.99),
            "p999_us": quantile(0.999),
            "rss_bytes": spread(result.spread(|s| s.resident as f64)),
            "foreign": spread(result.spread(|s| s.foreign)),
            "failed": result.failed(),
        });
        (result.who.name().to_owned(), figures)
    };
    Value::Object(results.iter().map(one).collect())
}
