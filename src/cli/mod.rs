//! What operators type: one file a verb.
//!
//! Exit codes: 0 done; 1 the answer is no; 2 wrong usage or unreachable admin.

mod check;
mod run;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// A traffic-shifting reverse proxy: blue/green, canary, header-matched and shadow releases.
#[derive(Debug, Parser)]
#[command(name = "tidegate", version, arg_required_else_help = true)]
struct Arguments {
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
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}

/// Exit code for a refused or failed command.
const NO: u8 = 1;

/// Parses the arguments and runs the command.
pub fn main() -> ExitCode {
    // clap ends the process with 2 on wrong usage.
    let arguments = Arguments::parse();
    let code = match arguments.command {
        Command::Run { config } => run::run(&config),
        Command::Check { config, json } => check::run(&config, json),
    };
    ExitCode::from(code)
}

/// Looks a variable of the environment up, for `${NAME}` in the configuration.
fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
