//! What does one stretch of load show: cost, rate, latency, memory?

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};

use crate::client::{Generator, Plan, h2load};
use crate::machine::{self, ProcessorUse, ProcessorWatch};
use crate::stats::{Spread, Stats};

/// How long a sample takes and when it is worth nothing.
#[derive(Debug, Clone, Copy)]
pub struct Sampling {
    /// Length of the window.
    pub seconds: f64,
    /// Load before it.
    pub warmup: f64,
    /// Share of a core that others may use during it.
    pub foreign_limit: f64,
    /// How often a disturbed one is taken again.
    pub redo: u32,
}

/// The load of a sample.
pub enum Load {
    /// By this program.
    Plan(Plan),
    /// HTTP/2 by `h2load`: target, path, connections and streams of each.
    Streams(SocketAddr, String, usize, usize),
}

/// One sample of one proxy.
pub struct Sample {
    /// Processor time for each answer, in microseconds.
    pub micros: f64,
    /// Share of a core that the proxy used.
    pub core_use: f64,
    /// Resident memory at the end.
    pub resident: u64,
    /// Share of a core that others used.
    pub foreign: f64,
    /// What the clients saw.
    pub stats: Stats,
}

impl Sampling {
    /// A sample during which others used little of the machine, or the least disturbed of the tries.
    pub fn undisturbed(&self, pids: &[u32], load: impl Fn() -> Load) -> io::Result<Sample> {
        let mut best = self.once(pids, load())?;
        for _ in 0..self.redo {
            if best.foreign <= self.foreign_limit {
                break;
            }
            let again = self.once(pids, load())?;
            // Failures are never thrown away with a disturbed sample.
            if again.foreign < best.foreign && best.stats.failed() == 0 {
                best = again;
            }
        }
        Ok(best)
    }

    fn once(&self, pids: &[u32], load: Load) -> io::Result<Sample> {
        let (used, stats, resident) = match load {
            Load::Plan(plan) => self.of_plan(pids, plan)?,
            Load::Streams(target, path, connections, streams) => {
                let run = |seconds: f64| {
                    let length = Duration::from_secs_f64(seconds);
                    h2load::run(target, &path, connections, streams, length)
                };
                let warmup = run(self.warmup)?;
                let watch = ProcessorWatch::start(pids);
                let mut stats = run(self.seconds)?;
                let used = watch.stop();
                stats.blame(warmup);
                (used, stats, machine::resident_bytes(pids))
            }
        };
        let micros = used.watched.as_secs_f64() * 1e6 / (stats.completed.max(1) as f64);
        let core_use = used.watched.as_secs_f64() / used.window.as_secs_f64();
        Ok(Sample { micros, core_use, resident, foreign: used.foreign, stats })
    }

    fn of_plan(&self, pids: &[u32], plan: Plan) -> io::Result<(ProcessorUse, Stats, u64)> {
        let generator = Generator::start(plan)?;
        std::thread::sleep(Duration::from_secs_f64(self.warmup));
        let warmup = generator.cut()?;
        let watch = ProcessorWatch::start(pids);
        std::thread::sleep(Duration::from_secs_f64(self.seconds));
        let used = watch.stop();
        let mut stats = generator.cut()?;
        let resident = machine::resident_bytes(pids);
        // The window's figures stand alone, but a failure counts whenever it happened.
        stats.blame(warmup);
        stats.blame(generator.stop()?);
        Ok((used, stats, resident))
    }
}

/// Samples of the same thing.
#[derive(Default)]
pub struct Samples(pub Vec<Sample>);

impl Samples {
    /// Middle and bounds of a figure.
    pub fn spread(&self, value: impl Fn(&Sample) -> f64) -> Spread {
        Spread::of(self.0.iter().map(value))
    }

    /// Processor time for each answer, in microseconds.
    pub fn micros(&self) -> Spread {
        self.spread(|sample| sample.micros)
    }

    /// A quantile of the latency in microseconds; `None` when latencies were not told apart.
    pub fn latency(&self, quantile: f64) -> Option<Spread> {
        let told = self.0.iter().any(|sample| !sample.stats.latency.is_empty());
        told.then(|| self.spread(|sample| sample.stats.latency_micros(quantile)))
    }

    /// Failed requests of all samples.
    pub fn failed(&self) -> u64 {
        self.0.iter().map(|sample| sample.stats.failed()).sum()
    }

    /// What failed, for people.
    pub fn failures_text(&self) -> String {
        let failed = self.0.iter().filter(|sample| sample.stats.failed() > 0);
        let texts: Vec<String> = failed.map(|sample| sample.stats.failures_text()).collect();
        if texts.is_empty() { "0 failed".to_owned() } else { texts.join("; ") }
    }

    /// All figures for programs.
    pub fn json(&self) -> Value {
        let spread = |s: Spread| json!({"median": s.median, "min": s.min, "max": s.max});
        let quantile = |q: f64| self.latency(q).map(spread);
        json!({
            "cpu_us_per_request": spread(self.micros()),
            "requests_per_second": spread(self.spread(|s| s.stats.rate())),
            "p50_us": quantile(0.5),
            "p99_us": quantile(0.99),
            "p999_us": quantile(0.999),
            "rss_bytes": spread(self.spread(|s| s.resident as f64)),
            "foreign": spread(self.spread(|s| s.foreign)),
            "failed": self.failed(),
        })
    }
}
