//! Along which axes is growth measured, and what runs at each size?

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::Params;
use crate::backend::Backends;
use crate::client::{Pace, Plan};
use crate::machine;
use crate::proxies::tidegate::{SERVICE, Setup, Tidegate};
use crate::report::grouped;
use crate::scenario::Context;
use crate::scenario::sample::Samples;
use crate::stats::Spread;

const PATH: &str = "/bytes/1024";
/// Files of a process that are no connection's: logs, listeners, probes, what is being closed.
const FILES_BESIDE: u64 = 500;

/// One axis with a running Tidegate for each size.
pub struct Axis {
    /// What it is called in promises and figures.
    pub name: &'static str,
    /// What its sizes count.
    pub column: &'static str,
    /// What its table shows.
    pub title: String,
    /// From the least size to the greatest.
    pub cases: Vec<Case>,
    _backends: Backends,
}

impl Axis {
    /// CPU per request of a case as a share of the first one's: the median over the rounds, in each of
    /// which both met the same pace of the machine.
    pub fn ratio(&self, case: &Case) -> f64 {
        let first = self.cases.iter().take(1).flat_map(|first| &first.samples.0);
        let rounds = case.samples.0.iter().zip(first);
        Spread::of(rounds.map(|(own, first)| own.micros / first.micros)).median
    }
}

/// One size.
pub struct Case {
    /// The size, for people.
    pub label: String,
    /// What runs.
    pub tidegate: Tidegate,
    /// What it is asked.
    pub plan: Plan,
    /// What is published meanwhile.
    pub publishing: Option<Publishing>,
    /// Revisions published a second, by sample.
    pub published: Vec<f64>,
    /// What was seen.
    pub samples: Samples,
}

impl Case {
    fn start(context: &Context, label: String, setup: &Setup, pinned: bool) -> io::Result<Self> {
        let tidegate = Tidegate::start(&context.tidegate, setup, pinned)?;
        let plan = Plan::get(tidegate.listener, PATH);
        let (publishing, published) = (None, Vec::new());
        Ok(Case { label, tidegate, plan, publishing, published, samples: Samples::default() })
    }
}

/// A file that is edited again and again.
pub struct Publishing {
    /// What is put in its place in turn, written before: writing ten thousand routes would hold up the
    /// load, on whose core that is done.
    files: [PathBuf; 2],
    turn: AtomicUsize,
    /// How often.
    pub every: Duration,
}

impl Publishing {
    fn of(case: &Case, setup: &Setup, every: Duration) -> io::Result<Self> {
        let prepare = |timeout: &str| {
            let service_keys = format!("timeout = \"{timeout}\"\n");
            let setup = Setup { service_keys, ..setup.clone() };
            case.tidegate.prepare_file(timeout, &setup)
        };
        let files = [prepare("20s")?, prepare("21s")?];
        Ok(Self { files, turn: AtomicUsize::new(0), every })
    }

    /// The file after the one before.
    pub fn next(&self) -> &Path {
        &self.files[self.turn.fetch_add(1, Ordering::Relaxed) % self.files.len()]
    }
}

/// What builds an axis.
type Build = fn(&Context, &Params) -> io::Result<Axis>;

/// All axes, in the order in which they are measured.
pub const ALL: [Build; 7] =
    [routes, versions, endpoints, connections, workers, reloads, publications];

fn routes(context: &Context, params: &Params) -> io::Result<Axis> {
    let backends = Backends::start(&["blue"])?;
    let blue = backends.endpoint(0).address;
    let mut cases = Vec::new();
    for count in &params.routes {
        let setup = many_routes(*count, blue);
        let mut case = Case::start(context, grouped(*count as f64), &setup, true)?;
        case.plan = to_last_route(&case, *count, params);
        cases.push(case);
    }
    let title = "Routes, requests to the last one, closed loop".to_owned();
    Ok(Axis { name: "routes", column: "routes", title, cases, _backends: backends })
}

/// That many routes by path prefix, and the one for everything else that every setup has.
pub fn many_routes(count: usize, endpoint: SocketAddr) -> Setup {
    let mut setup = Setup::blue_green(1, [100, 0], [vec![endpoint], Vec::new()]);
    setup.tables = (0..count)
        .map(|number| {
            format!("[[route]]\npath = \"{}\"\nservice = \"{SERVICE}\"\n", prefix(number))
        })
        .collect();
    setup
}

/// All are of the same length: what is compared is the number of routes.
fn prefix(number: usize) -> String {
    format!("/api/v1/things{number:05}")
}

fn to_last_route(case: &Case, count: usize, params: &Params) -> Plan {
    let path = prefix(count.saturating_sub(1)) + "/list";
    let mut plan = Plan::get(case.tidegate.listener, &path);
    plan.connections = params.connections;
    plan
}

fn versions(context: &Context, params: &Params) -> io::Result<Axis> {
    let most = params.versions.iter().copied().max().unwrap_or(1);
    let names: Vec<String> = (0..most).map(|number| format!("v{number}")).collect();
    let backends = Backends::start(&names.iter().map(String::as_str).collect::<Vec<_>>())?;
    let mut cases = Vec::new();
    for count in &params.versions {
        let mut setup = Setup::blue_green(1, [1, 1], [Vec::new(), Vec::new()]);
        setup.weights = names[..*count].iter().map(|name| (name.clone(), 1)).collect();
        setup.versions = names[..*count]
            .iter()
            .map(|name| (name.clone(), backends.addresses(name), String::new()))
            .collect();
        let mut case = Case::start(context, count.to_string(), &setup, true)?;
        case.plan.connections = params.connections;
        cases.push(case);
    }
    let title = "Versions of equal weight, closed loop".to_owned();
    Ok(Axis { name: "versions", column: "versions", title, cases, _backends: backends })
}

fn endpoints(context: &Context, params: &Params) -> io::Result<Axis> {
    let most = params.endpoints.iter().copied().max().unwrap_or(1);
    let backends = Backends::start(&vec!["blue"; most])?;
    let all = backends.addresses("blue");
    let mut cases = Vec::new();
    for count in &params.endpoints {
        let setup = Setup::blue_green(1, [100, 0], [all[..*count].to_vec(), Vec::new()]);
        let mut case = Case::start(context, grouped(*count as f64), &setup, true)?;
        case.plan.connections = params.connections;
        cases.push(case);
    }
    let title = "Endpoints of one version, closed loop".to_owned();
    Ok(Axis { name: "endpoints", column: "endpoints", title, cases, _backends: backends })
}

fn connections(context: &Context, params: &Params) -> io::Result<Axis> {
    let backends = Backends::start(&["blue"])?;
    let setup = Setup::blue_green(1, [100, 0], [backends.addresses("blue"), Vec::new()]);
    let mut cases = Vec::new();
    // Through the proxy each is two files, and two here: the client's end and the backend's.
    let most = (machine::file_limit().saturating_sub(FILES_BESIDE) / 2) as usize;
    for count in &params.held {
        let connections = most.min(*count);
        let mut case = Case::start(context, grouped(connections as f64), &setup, true)?;
        case.plan.connections = connections;
        cases.push(case);
    }
    let mut title = "Connections, each with a request under way, closed loop".to_owned();
    if params.held.iter().any(|count| *count > most) {
        title.push_str("; no more than a process may hold files for here");
    }
    Ok(Axis { name: "connections", column: "connections", title, cases, _backends: backends })
}

fn workers(context: &Context, params: &Params) -> io::Result<Axis> {
    // Everybody goes where the kernel puts them: load and backends leave most of two cores free.
    machine::unpin();
    let backends = Backends::start(&["blue"])?;
    let mut cases = Vec::new();
    for count in params.workers.iter().copied() {
        let rate = params.workers_rate * count as u32;
        // One alone at the rate of all is shown too: the busier a worker, the more it does at a time.
        let whole: &[usize] = if count > 1 { &[1, count] } else { &[1] };
        for count in whole.iter().copied() {
            let setup =
                Setup::blue_green(count, [100, 0], [backends.addresses("blue"), Vec::new()]);
            let label = format!("{count} at {}", grouped(f64::from(rate)));
            let mut case = Case::start(context, label, &setup, false)?;
            case.plan.connections = params.connections;
            case.plan.pace = Pace::Rate(rate);
            cases.push(case);
        }
    }
    let rate = grouped(f64::from(params.workers_rate));
    let title = format!("Workers, {rate} req/s each, on any core");
    Ok(Axis { name: "workers", column: "workers", title, cases, _backends: backends })
}

fn reloads(context: &Context, params: &Params) -> io::Result<Axis> {
    let backends = Backends::start(&["blue"])?;
    let setup = Setup::blue_green(1, [100, 0], [backends.addresses("blue"), Vec::new()]);
    let mut cases = Vec::new();
    for reloads in [0, params.reloads] {
        let mut case = Case::start(context, reloads.to_string(), &setup, true)?;
        case.plan.connections = params.connections;
        case.plan.pace = Pace::Rate(params.reload_rate);
        if reloads > 0 {
            let every = Duration::from_secs(1) / reloads;
            case.publishing = Some(Publishing::of(&case, &setup, every)?);
        }
        cases.push(case);
    }
    let rate = grouped(f64::from(params.reload_rate));
    let title = format!("Reloads a second, {rate} req/s");
    Ok(Axis { name: "reloads", column: "reloads", title, cases, _backends: backends })
}

fn publications(context: &Context, params: &Params) -> io::Result<Axis> {
    let backends = Backends::start(&["blue"])?;
    let count = params.most_routes();
    let setup = many_routes(count, backends.endpoint(0).address);
    let every = Duration::from_millis(params.publish_every_ms);
    let mut cases = Vec::new();
    for label in ["quiet", "published"] {
        let mut case = Case::start(context, label.to_owned(), &setup, true)?;
        case.plan = to_last_route(&case, count, params);
        case.plan.pace = Pace::Rate(params.publish_rate);
        if label == "published" {
            case.publishing = Some(Publishing::of(&case, &setup, every)?);
        }
        cases.push(case);
    }
    let title = format!(
        "Publishing a file of {} routes, {} req/s",
        grouped(count as f64),
        grouped(f64::from(params.publish_rate))
    );
    Ok(Axis { name: "publish", column: "file", title, cases, _backends: backends })
}
