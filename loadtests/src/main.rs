//! `tidegate-loadtests`: drives a built Tidegate with real load and says whether its promises hold.
//!
//! A scenario starts everything it needs on the loopback address (backends and clients inside this
//! process, the proxies as child processes with files of their own), prints a table and ends with exit
//! code 0 when every promise held, 1 when one was broken, 2 when it could not be run.

mod admin;
mod backend;
mod backend_h2;
mod certificate;
mod client;
mod http;
mod machine;
mod params;
mod plot;
mod proxies;
mod record;
mod report;
mod scenario;
mod stats;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

use params::Wishes;
use report::Report;
use scenario::{ALL, Context, Scenario};

/// Drives a built Tidegate with real load and says whether its promises hold.
#[derive(Debug, Parser)]
#[command(name = "tidegate-loadtests", version, after_help = scenario::overview())]
struct Arguments {
    /// What to run; `all` runs every scenario but the smoke test and the soak.
    #[arg(value_parser = selection, value_name = "SCENARIO", required_unless_present = "copy")]
    scenario: Option<Selection>,
    /// The Tidegate to test.
    #[arg(long, value_name = "PATH", default_value = "target/release/tidegate")]
    tidegate: PathBuf,
    /// Another build of Tidegate, measured beside the first by the baseline.
    #[arg(long, value_name = "PATH")]
    beside: Option<PathBuf>,
    /// Length of a sample or of a whole run, whichever the scenario has.
    #[arg(long, value_name = "N")]
    seconds: Option<f64>,
    /// Samples of each kind, or repetitions.
    #[arg(long, value_name = "N")]
    rounds: Option<u32>,
    /// Whom the baseline measures: direct, copier, tidegate, nginx, haproxy, envoy, caddy, h2o.
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    peers: Vec<String>,
    /// Which workloads the baseline measures; without this all of them, and memory.
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    workloads: Vec<String>,
    /// Also writes tables and a plot into this folder, named by date and commit.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Prints JSON.
    #[arg(long)]
    json: bool,
    /// Short runs: whether everything works, not how fast.
    #[arg(long)]
    quick: bool,
    /// Is what the baseline calls a copier, between these two addresses.
    #[arg(long, hide = true, num_args = 2, value_names = ["LISTENER", "BACKEND"])]
    copy: Option<Vec<SocketAddr>>,
}

#[derive(Debug, Clone)]
enum Selection {
    All,
    One(Scenario),
}

fn selection(text: &str) -> Result<Selection, String> {
    match text {
        "all" => Ok(Selection::All),
        name => clap::ValueEnum::from_str(name, false).map(Selection::One).map_err(|_| {
            let names: Vec<String> = Scenario::names().collect();
            format!("there is no scenario `{name}`; there are: {}, all", names.join(", "))
        }),
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    machine::raise_file_limit();
    if let Some([listener, to]) = arguments.copy.as_deref() {
        let Err(error) = proxies::copier::run(*listener, *to);
        eprintln!("tidegate-loadtests: {error}");
        return ExitCode::from(2);
    }
    let Arguments { tidegate, beside, peers, workloads, json, .. } = arguments;
    let Arguments { quick, seconds, rounds, .. } = arguments;
    let wishes = Wishes { quick, seconds, rounds };
    let context = Context { tidegate, beside, wishes, peers, workloads };
    let chosen = match arguments.scenario {
        Some(Selection::One(scenario)) => vec![scenario],
        Some(Selection::All) | None => ALL.to_vec(),
    };
    let mut reports = Vec::new();
    for scenario in chosen {
        match scenario.run(&context) {
            Ok(report) => {
                if !json {
                    println!("{}", report.text());
                }
                reports.push(report);
            }
            Err(error) => {
                eprintln!("tidegate-loadtests: {}: {error}", scenario.name());
                return ExitCode::from(2);
            }
        }
    }
    if json {
        print_json(&reports);
    }
    if let Some(folder) = arguments.out {
        match record::write(&folder, &reports) {
            Ok(files) => files.iter().for_each(|file| eprintln!("wrote {}", file.display())),
            Err(error) => {
                eprintln!("tidegate-loadtests: {}: {error}", folder.display());
                return ExitCode::from(2);
            }
        }
    }
    ExitCode::from(u8::from(!reports.iter().all(Report::holds)))
}

fn print_json(reports: &[Report]) {
    match serde_json::to_string_pretty(reports) {
        Ok(text) => println!("{text}"),
        Err(error) => eprintln!("tidegate-loadtests: {error}"),
    }
}
