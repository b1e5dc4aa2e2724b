//! What operators type: one file a verb or a family of verbs.
//!
//! Exit codes: 0 done; 1 the answer is no; 2 wrong usage or unreachable admin.

mod analyze;
mod change;
mod check;
mod client;
mod compare;
mod diffs;
mod events;
mod explain;
mod export;
mod rollout;
mod run;
mod simulate;
mod status;
pub mod table;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use self::client::{Admin, Failure};

/// A traffic-shifting reverse proxy: blue/green, canary, header-matched and shadow releases.
#[derive(Debug, Parser)]
#[command(name = "tidegate", version, arg_required_else_help = true, max_term_width = 100)]
struct Arguments {
    #[command(flatten)]
    admin: Admin,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the proxy.
    Run {
        /// A TOML file, or a directory whose *.toml are merged.
        #[arg(short, long, value_name = "PATH")]
        config: PathBuf,
    },
    /// Validate a configuration: prints every error with its place and a remedy.
    Check {
        /// A TOML file, or a directory whose *.toml are merged.
        #[arg(short, long, value_name = "PATH")]
        config: PathBuf,
    },
    /// A proxy, a sample shop in two versions and live traffic, in one process and without files.
    Demo {
        /// Stop after so many seconds; otherwise at Ctrl-C.
        #[arg(long, value_name = "N")]
        seconds: Option<u64>,
    },
    /// Weights, health, rates and drift of every service.
    Status {
        /// One service; all unless named.
        service: Option<String>,
    },
    /// Set the weights of a service; versions that are not named get 0.
    Weights {
        /// The service.
        service: String,
        /// VERSION=NUMBER, e.g. blue=90 green=10.
        #[arg(required = true, value_name = "VERSION=WEIGHT")]
        weights: Vec<String>,
        /// Print which share of users would move, and change nothing.
        #[arg(long)]
        dry_run: bool,
    },
    /// Move everything to one version, at once and completely.
    Cutover {
        /// The service.
        service: String,
        /// The version that gets everything.
        version: String,
        /// Wait until the old version's requests are done, for at most so long.
        #[arg(long, value_name = "DURATION", value_parser = duration)]
        drain: Option<String>,
        /// Also to a version without a healthy endpoint.
        #[arg(long)]
        force: bool,
        /// Print what would happen, and change nothing.
        #[arg(long)]
        dry_run: bool,
    },
    /// Put the previous traffic back, or that of a revision.
    Rollback {
        /// The service.
        service: String,
        /// The revision whose traffic is put back; the one before the last change unless named.
        #[arg(long, value_name = "REVISION")]
        to: Option<u64>,
        /// Print what would happen, and change nothing.
        #[arg(long)]
        dry_run: bool,
    },
    /// The history: number, time, who, why, what changed.
    Revisions {
        /// Only what changed this service.
        service: Option<String>,
        /// Read it from a state directory, without a running proxy.
        #[arg(long, value_name = "DIR")]
        state: Option<PathBuf>,
    },
    /// Mirror a share of the requests to a version, or `off`.
    Shadow {
        /// The service.
        service: String,
        /// A version, or `off`.
        version: String,
        /// The share of the requests, 0 to 100; as in the file unless given, else all.
        #[arg(long, value_name = "PERCENT", allow_negative_numbers = true)]
        percent: Option<f64>,
        /// A trusted version that gets a second copy, to measure noise.
        #[arg(long, value_name = "VERSION")]
        secondary: Option<String>,
    },
    /// What the shadow answered differently; with a bound, a gate that exits 1.
    Diffs {
        /// The service.
        service: String,
        /// The greatest share of mismatches, e.g. 1%.
        #[arg(long, value_name = "PERCENT")]
        max_mismatch: Option<String>,
        /// Fewer comparisons than this never pass the gate.
        #[arg(long, value_name = "N", default_value_t = 100)]
        min_samples: u64,
        /// Print the latest mismatches too.
        #[arg(long)]
        samples: bool,
        /// Begin the report anew.
        #[arg(long)]
        reset: bool,
    },
    /// Move weight step by step, on evidence.
    Rollout(rollout::Options),
    /// Let requests wait at the proxy.
    Hold {
        /// The service.
        service: String,
        /// No request waits longer; 30s unless given.
        #[arg(long, value_name = "DURATION", value_parser = duration)]
        max_wait: Option<String>,
        /// No more requests wait; 1000 unless given.
        #[arg(long, value_name = "N")]
        max_requests: Option<u32>,
    },
    /// Let held requests go.
    Release {
        /// The service.
        service: String,
    },
    /// Register a version, wait until it is healthy, and perhaps cut over to it.
    Deploy {
        /// The service.
        service: String,
        /// The version's name, new or known.
        version: String,
        /// Where it answers; several may follow.
        #[arg(long = "endpoint", required = true, value_name = "HOST:PORT", num_args = 1..)]
        endpoints: Vec<String>,
        /// Cut over once it is healthy.
        #[arg(long)]
        cutover: bool,
        /// The path to probe.
        #[arg(long, value_name = "PATH")]
        health: Option<String>,
        /// How long to wait for its health; 30s unless given.
        #[arg(long, value_name = "DURATION", value_parser = duration)]
        wait: Option<String>,
    },
    /// A version takes no new cohorts; an endpoint of it takes no new requests.
    Drain {
        /// The service.
        service: String,
        /// The version.
        version: String,
        /// One endpoint of it, `host:port`; the whole version unless named.
        endpoint: Option<String>,
    },
    /// Ends a drain.
    Undrain {
        /// The service.
        service: String,
        /// The version.
        version: String,
        /// One endpoint of it, `host:port`; the whole version unless named.
        endpoint: Option<String>,
    },
    /// Which route, pin, version and endpoint a request would take, and why.
    Explain {
        /// The method.
        method: String,
        /// An http:// URL, or a path alone.
        url: String,
        /// A field of the request, `name: value`.
        #[arg(short = 'H', long = "header", value_name = "NAME: VALUE")]
        headers: Vec<String>,
        /// The client's address.
        #[arg(long, value_name = "IP")]
        client: Option<String>,
        /// Against a configuration instead of the running proxy.
        #[arg(short, long, value_name = "PATH")]
        config: Option<PathBuf>,
    },
    /// Send the same requests to two addresses and print what differs.
    Compare(compare::Options),
    /// How often and how fast a rollout would catch a regression, by playing it many times.
    Simulate(simulate::Options),
    /// Evidence and verdict over recorded counts: is the canary worse?
    Analyze(analyze::Options),
    /// The configuration with the live traffic in it, comments kept.
    Export {
        /// The file; the one that the proxy runs unless named.
        #[arg(short, long, value_name = "PATH")]
        config: Option<PathBuf>,
        /// Write it back instead of printing it.
        #[arg(long)]
        write: bool,
    },
    /// Have the running proxy read its configuration now.
    Reload,
    /// Follow revisions, health changes and reloads.
    Events,
    /// Exit 0 if the proxy is ready: for a container's health check.
    Ready,
}

/// A duration, as it was written: who asks reads it again.
fn duration(text: &str) -> Result<String, String> {
    let read = humantime::parse_duration(text.trim());
    read.map(|_| text.to_owned()).map_err(|_| "write a duration, e.g. 30s".to_owned())
}

/// Exit code for a refused or failed command.
const NO: u8 = 1;
/// Exit code for wrong usage and an unreachable admin API.
const USAGE: u8 = 2;

/// Parses the arguments and runs the command.
pub fn main() -> ExitCode {
    // clap ends the process with 2 on wrong usage.
    let Arguments { admin, command } = Arguments::parse();
    let json = admin.json;
    let code = dispatch(&admin, command).unwrap_or_else(|failure| failure.report(json));
    ExitCode::from(code)
}

/// Whether a command line, without the program's name, is right; if not, what is wrong with it.
pub fn check_usage(arguments: &[String]) -> Result<(), String> {
    let program = std::iter::once("tidegate".to_owned());
    let parsed = Arguments::try_parse_from(program.chain(arguments.iter().cloned()));
    parsed.map(drop).map_err(|error| error.to_string())
}

fn dispatch(admin: &Admin, command: Command) -> Result<u8, Failure> {
    let end = |endpoint: &Option<String>| endpoint.clone();
    match command {
        Command::Run { config } => Ok(run::run(&config)),
        Command::Check { config } => Ok(check::run(&config, admin.json)),
        Command::Demo { seconds } => Ok(crate::demo::run(seconds)),
        Command::Status { service } => status::status(admin, service.as_deref()),
        Command::Weights { service, weights, dry_run } => {
            change::weights(admin, &service, &weights, dry_run)
        }
        Command::Cutover { service, version, drain, force, dry_run } => {
            change::cutover(admin, (&service, &version), drain.as_deref(), force, dry_run)
        }
        Command::Rollback { service, to, dry_run } => {
            change::rollback(admin, &service, to, dry_run)
        }
        Command::Revisions { service, state: Some(state) } => {
            export::revisions(&state, service.as_deref(), admin.json)
        }
        Command::Revisions { service, state: None } => status::revisions(admin, service.as_deref()),
        Command::Shadow { service, version, percent, secondary } => {
            change::shadow(admin, &service, &version, percent, secondary.as_deref())
        }
        Command::Diffs { service, max_mismatch, min_samples, samples, reset } => {
            let gate = diffs::Gate { max_mismatch, min_samples };
            diffs::run(admin, &service, &gate, samples, reset)
        }
        Command::Rollout(options) => rollout::run(admin, &options),
        Command::Hold { service, max_wait, max_requests } => {
            change::hold(admin, &service, max_wait.as_deref(), max_requests)
        }
        Command::Release { service } => change::release(admin, &service),
        Command::Deploy { service, version, endpoints, cutover, health, wait } => change::deploy(
            admin,
            (&service, &version),
            &endpoints,
            cutover,
            (health.as_deref(), wait.as_deref()),
        ),
        Command::Drain { service, version, endpoint } => {
            change::drain(admin, (&service, &version), end(&endpoint).as_deref(), "drain")
        }
        Command::Undrain { service, version, endpoint } => {
            change::drain(admin, (&service, &version), end(&endpoint).as_deref(), "undrain")
        }
        Command::Explain { method, url, headers, client, config } => {
            explain::run(admin, &method, &url, &headers, client.as_deref(), config.as_deref())
        }
        Command::Compare(options) => compare::run(&options, admin.json),
        Command::Simulate(options) => simulate::run(admin, &options),
        Command::Analyze(options) => analyze::run(&options, admin.json),
        Command::Export { config, write } => export::run(admin, config.as_deref(), write),
        Command::Reload => change::reload(admin),
        Command::Events => events::run(admin),
        Command::Ready => status::ready(admin),
    }
}

/// Looks a variable of the environment up, for `${NAME}` in the configuration.
fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn bare(command: &clap::Command, found: &mut Vec<String>) {
        let silent = command.get_arguments().filter(|argument| argument.get_help().is_none());
        found
            .extend(silent.map(|argument| format!("{} {}", command.get_name(), argument.get_id())));
        command.get_subcommands().for_each(|command| bare(command, found));
    }

    #[test]
    fn every_argument_says_what_it_is() {
        let mut found = Vec::new();
        bare(&Arguments::command(), &mut found);
        assert!(found.is_empty(), "{found:?}");
    }
}
