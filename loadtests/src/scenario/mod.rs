//! What is put to the test?
//!
//! One file per scenario. Each takes the command line's [`Context`], starts what it needs, and returns a
//! report; a broken promise is in the report, an error means that the scenario could not be run.

mod baseline;
mod memory;

use std::io;
use std::path::PathBuf;

use clap::ValueEnum;

use crate::params::Wishes;
use crate::report::Report;

/// What every scenario is given.
#[derive(Debug)]
pub struct Context {
    /// The Tidegate under test.
    pub tidegate: PathBuf,
    /// Values from the command line.
    pub wishes: Wishes,
    /// Whom the baseline compares, by name; empty for all that are installed.
    pub peers: Vec<String>,
}

/// A scenario's name on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum Scenario {
    /// CPU per request, rate, latency and memory beside nginx and haproxy.
    Baseline,
}

/// The scenarios of `all`, in order.
pub const ALL: [Scenario; 1] = [Scenario::Baseline];

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
        }
    }
}
