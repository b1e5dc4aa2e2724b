//! What is put to the test?
//!
//! One file per scenario. Each takes the command line's [`Context`], starts what it needs, and returns a
//! report; a broken promise is in the report, an error means that the scenario could not be run.

mod baseline;
mod cutover;
mod flapping;
mod growth;
mod kills;
mod memory;
mod overload;
mod ramp;
mod reload;
mod sample;
mod shadow;
mod smoke;
mod soak;
mod sticky;
mod subject;

use std::io;
use std::path::PathBuf;

use clap::ValueEnum;

use crate::params::Wishes;
use crate::report::Report;
use crate::stats::Stats;

/// What every scenario is given.
#[derive(Debug)]
pub struct Context {
    /// The Tidegate under test.
    pub tidegate: PathBuf,
    /// Another build of it, to be measured beside it.
    pub beside: Option<PathBuf>,
    /// Values from the command line.
    pub wishes: Wishes,
    /// Whom the baseline compares, by name; empty for all that are installed.
    pub peers: Vec<String>,
    /// Which workloads the baseline measures, by name; empty for all of them and the memory.
    pub workloads: Vec<String>,
}

/// A scenario's name on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum Scenario {
    /// CPU per request, rate, latency and memory beside the other proxies that are installed.
    Baseline,
    /// 60 cutovers under saturating load: none served by the old version after the answer.
    CutoverUnderLoad,
    /// 100 edits of the file under load: each live within a second.
    ReloadStorm,
    /// Rate and latency without, with a healthy, a stalled and a dead shadow.
    ShadowSaturated,
    /// Endpoints and whole versions die and come back under load.
    UpstreamFlapping,
    /// Weights raised step by step: shares and counts are right.
    CanaryRamp,
    /// 10,000 users with a cookie through raises, a rollback and a `kill -9`: each stays where they belong.
    StickyCohorts,
    /// `kill -9` during a storm of writes: no acknowledged one is lost.
    KillStorm,
    /// Cost against the number of routes, versions, endpoints, connections, workers and reloads.
    Growth,
    /// Three times what the proxy can serve: goodput, latency of the admitted, recovery, memory.
    Overload,
    /// A short mix of everything, for every change of the code.
    Smoke,
    /// Hostile clients beside honest ones: nobody honest sees an error, memory stays flat.
    Soak,
}

/// The scenarios of `all`, in order.
pub const ALL: [Scenario; 10] = [
    Scenario::Baseline,
    Scenario::CutoverUnderLoad,
    Scenario::ReloadStorm,
    Scenario::ShadowSaturated,
    Scenario::UpstreamFlapping,
    Scenario::CanaryRamp,
    Scenario::StickyCohorts,
    Scenario::KillStorm,
    Scenario::Growth,
    Scenario::Overload,
];

impl Scenario {
    /// The name on the command line.
    pub fn name(self) -> String {
        self.to_possible_value().map_or(String::new(), |value| value.get_name().to_owned())
    }

    /// All names.
    pub fn names() -> impl Iterator<Item = String> {
        Self::value_variants().iter().map(|scenario| scenario.name())
    }

    /// Runs the scenario.
    pub fn run(self, context: &Context) -> io::Result<Report> {
        match self {
            Scenario::Baseline => baseline::run(context),
            Scenario::CutoverUnderLoad => cutover::run(context),
            Scenario::ReloadStorm => reload::run(context),
            Scenario::ShadowSaturated => shadow::run(context),
            Scenario::UpstreamFlapping => flapping::run(context),
            Scenario::CanaryRamp => ramp::run(context),
            Scenario::StickyCohorts => sticky::run(context),
            Scenario::KillStorm => kills::run(context),
            Scenario::Growth => growth::run(context),
            Scenario::Overload => overload::run(context),
            Scenario::Smoke => smoke::run(context),
            Scenario::Soak => soak::run(context),
        }
    }
}

/// All scenarios with a line on each, for the help text.
pub fn overview() -> String {
    let line = |scenario: &Scenario| {
        let value = scenario.to_possible_value()?;
        Some(format!("  {:<19} {}", value.get_name(), value.get_help()?))
    };
    let lines: Vec<String> = Scenario::value_variants().iter().filter_map(line).collect();
    format!("Scenarios:\n{}", lines.join("\n"))
}

/// No request failed, and no keep-alive connection was closed by the proxy.
fn promise_unharmed(report: &mut Report, stats: &Stats) {
    let answered = crate::report::grouped(stats.completed as f64);
    let found = format!("{answered} answered, failures: {}", stats.failures_text());
    report.promise("no request fails", stats.failed() == 0 && stats.completed > 0, found);
    let found = format!("{} closed", stats.closed);
    report.promise("no connection is closed", stats.closed == 0, found);
}
