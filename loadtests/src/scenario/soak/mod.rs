//! Do honest clients notice hostile ones, and does memory stay flat?
//!
//! Hostile clients try one trick after another as long as the run lasts, over plain HTTP/1.1, TLS and
//! HTTP/2. Honest ones send over each of the three, and none of their requests may fail. Memory is read
//! every second; what it usually holds in the last quarter may hardly be more than in the second: the
//! first is for what is allocated once.

mod h2;
mod tricks;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::json;

use self::tricks::Target;
use super::{Context, promise_unharmed};
use crate::backend::Backends;
use crate::certificate::Certificate;
use crate::client::{Generator, Pace, Plan, request};
use crate::machine;
use crate::params;
use crate::proxies::tidegate::{Setup, Tidegate};
use crate::report::{Report, Table, grouped, progress};

/// The values of `scenarios/soak.toml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Params {
    seconds: f64,
    workers: usize,
    connections: usize,
    rate: u32,
    streams: u64,
    hostile: u64,
    growth_mb: f64,
}

/// Runs the scenario.
pub fn run(context: &Context) -> io::Result<Report> {
    let params: Params =
        params::read(include_str!("../../../scenarios/soak.toml"), &context.wishes)?;
    let mut report = Report::new("soak");
    let backends = Backends::start(&["blue", "green"])?;
    let addresses = [backends.addresses("blue"), backends.addresses("green")];
    let mut setup = Setup::blue_green(params.workers, [50, 50], addresses);
    let (certificate, tls) = (Certificate::make()?, machine::free_address()?);
    let (chain, key) = (certificate.chain(), certificate.key());
    // The honest send over whichever connection was idle last: the others may rest for minutes.
    let limits = "limits = { idle_timeout = \"2h\" }\n";
    setup.listener_keys = limits.to_owned();
    setup.tables = format!(
        "[[listener]]\nname = \"tls\"\naddress = \"{tls}\"\n\
         tls = {{ cert = {chain:?}, key = {key:?} }}\n{limits}"
    );
    let mut tidegate = Tidegate::start(&context.tidegate, &setup, false)?;
    let mut plan = Plan::get(tidegate.listener, "/bytes/1024");
    plan.connections = params.connections;
    plan.pace = Pace::Rate(params.rate);
    plan.requests.push(request("POST", "/bytes/64", 16_384, false));
    plan.requests.push(request("GET", "/bytes/65536", 0, false));
    let by_tls = Plan { target: tls, trust: Some(certificate.trust()), ..plan.clone() };
    let target = Target { plain: plan.target, tls, trust: certificate.trust().of_http_2() };
    let by_h2 = target.clone();
    let generators = [Generator::start(plan)?, Generator::start(by_tls)?];
    let streams = Crowd::start("honest", params.streams, move |_, over| h2::ask(&by_h2, over))?;
    let hostile = Crowd::start("hostile", params.hostile, move |number, over| {
        tricks::play_all(&target, number, over)
    })?;
    let resident = watch(&mut tidegate, params.seconds)?;
    let tricks: u64 = hostile.stop().into_iter().sum();
    let streams: Result<Vec<u64>, io::Error> = streams.stop().into_iter().collect();
    let [plain, by_tls] = generators;
    let mut stats = plain.stop()?;
    stats.add(by_tls.stop()?);
    promise_unharmed(&mut report, &stats);
    let streams = streams.map(|answered| answered.iter().sum::<u64>());
    let found = match &streams {
        Ok(answered) => format!("{} answered", grouped(*answered as f64)),
        Err(error) => error.to_string(),
    };
    report.promise("no stream of HTTP/2 fails", streams.as_ref().is_ok_and(|n| *n > 0), found);
    report.promise(
        "hostile clients came",
        tricks > 0,
        format!("{} tricks", grouped(tricks as f64)),
    );
    let running = tidegate.process().is_running();
    report.promise("the proxy still runs", running, format!("{running}"));
    let quarter = (resident.len() / 4).max(1);
    let (early, late) = (
        middle(&resident[quarter.min(resident.len() - 1)..(2 * quarter).min(resident.len())]),
        middle(&resident[resident.len().saturating_sub(quarter)..]),
    );
    let found = format!("{early:.1} MB, then {late:.1} MB");
    report.promise("memory is flat", late <= early + params.growth_mb, found);
    let streams = streams.unwrap_or_default();
    let heads = ["requests", "p99 us", "streams", "tricks", "early MB", "late MB"];
    let mut table = Table::new("Soak", &heads);
    table.row([
        grouped(stats.completed as f64),
        format!("{:.0}", stats.latency_micros(0.99)),
        grouped(streams as f64),
        grouped(tricks as f64),
        format!("{early:.1}"),
        format!("{late:.1}"),
    ]);
    report.tables.push(table);
    report.figures = json!({
        "requests": stats.completed,
        "failed": stats.failed(),
        "streams": streams,
        "tricks": tricks,
        "resident_early_mb": early,
        "resident_late_mb": late,
    });
    Ok(report)
}

/// The middle one of what was read, in MB: hostile clients make it go up and down by a quarter.
fn middle(part: &[u64]) -> f64 {
    let mut sorted = part.to_vec();
    sorted.sort_unstable();
    sorted.get(sorted.len() / 2).copied().unwrap_or_default() as f64 / 1e6
}

/// Resident bytes, once a second.
fn watch(tidegate: &mut Tidegate, seconds: f64) -> io::Result<Vec<u64>> {
    let end = Instant::now() + Duration::from_secs_f64(seconds);
    let pids = tidegate.process().pids();
    let mut resident = Vec::new();
    while Instant::now() < end || resident.len() < 4 {
        std::thread::sleep(Duration::from_secs(1));
        resident.push(machine::resident_bytes(&pids));
        if resident.len() % 60 == 0 {
            progress(&format!("{} minutes", resident.len() / 60));
        }
    }
    Ok(resident)
}

/// Clients with a thread each, until they are stopped.
struct Crowd<T> {
    over: Arc<AtomicBool>,
    threads: Vec<std::thread::JoinHandle<T>>,
}

impl<T: Send + 'static> Crowd<T> {
    /// Each does what it should until it is told that the run is over.
    fn start(
        name: &str,
        count: u64,
        does: impl Fn(u64, &AtomicBool) -> T + Send + Clone + 'static,
    ) -> io::Result<Self> {
        let over = Arc::<AtomicBool>::default();
        let threads = (0..count).map(|number| {
            let (over, does) = (over.clone(), does.clone());
            let thread = std::thread::Builder::new().name(name.into());
            thread.spawn(move || does(number, &over))
        });
        Ok(Crowd { threads: threads.collect::<io::Result<_>>()?, over })
    }

    /// Ends them; what each came to.
    fn stop(self) -> Vec<T> {
        self.over.store(true, Ordering::Relaxed);
        self.threads.into_iter().filter_map(|thread| thread.join().ok()).collect()
    }
}
