//! Tidegate as the proxy under test.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::Process;
use super::work::{GREEN_PERCENT, Work};
use crate::admin::Admin;
use crate::machine;

/// The one service that scenarios configure.
pub const SERVICE: &str = "shop";

/// What a scenario's configuration file says.
#[derive(Debug, Clone)]
pub struct Setup {
    /// Worker threads.
    pub workers: usize,
    /// Weights by version.
    pub weights: Vec<(String, u32)>,
    /// Endpoints by version, with further keys of the version as TOML.
    pub versions: Vec<(String, Vec<SocketAddr>, String)>,
    /// Whether every request is logged.
    pub logged: bool,
    /// Further keys of the listener as TOML.
    pub listener_keys: String,
    /// Further keys of the service as TOML.
    pub service_keys: String,
    /// Further tables as TOML.
    pub tables: String,
}

impl Setup {
    /// Two versions, blue and green, with these weights and addresses.
    pub fn blue_green(workers: usize, weights: [u32; 2], addresses: [Vec<SocketAddr>; 2]) -> Self {
        let names = ["blue", "green"];
        let versions = names.iter().zip(addresses);
        Setup {
            workers,
            weights: names.iter().zip(weights).map(|(n, w)| ((*n).to_owned(), w)).collect(),
            versions: versions.map(|(n, a)| ((*n).to_owned(), a, String::new())).collect(),
            logged: false,
            listener_keys: String::new(),
            service_keys: String::new(),
            tables: String::new(),
        }
    }

    /// One worker for this work.
    pub fn of(work: &Work<'_>) -> Self {
        let weights = [100 - GREEN_PERCENT, GREEN_PERCENT];
        let mut setup = Setup::blue_green(1, weights, [vec![work.blue], vec![work.green]]);
        setup.logged = work.logged;
        if let Some(shadow) = work.shadow {
            setup.versions.push(("shadow".to_owned(), vec![shadow], String::new()));
            // Answers tell which version they are of; all else must be equal.
            setup.tables = format!(
                "[service.{SERVICE}.shadow]\nversion = \"shadow\"\n\
                 compare = {{ ignore = [\"header:x-backend\"] }}\n"
            );
        }
        if work.streams {
            for (_, _, keys) in &mut setup.versions {
                keys.push_str("protocol = \"h2c\"\n");
            }
        }
        if let Some(certificate) = work.certificate {
            let (chain, key) = (certificate.chain(), certificate.key());
            setup.listener_keys = format!("tls = {{ cert = {chain:?}, key = {key:?} }}\n");
        }
        setup
    }

    /// The configuration file.
    pub fn render(&self, listener: SocketAddr, admin: SocketAddr) -> String {
        let weights: Vec<String> =
            self.weights.iter().map(|(version, weight)| format!("{version} = {weight}")).collect();
        let mut text = format!(
            "[server]\nworkers = {}\n\n[admin]\naddress = \"{admin}\"\n\n[state]\ndir = \"state\"\n\n\
             [log]\nlevel = \"warn\"\naccess = {}\n\n\
             [[listener]]\nname = \"web\"\naddress = \"{listener}\"\n{}\n\
             [service.{SERVICE}]\nweights = {{ {} }}\n{}\n",
            self.workers,
            self.logged,
            self.listener_keys,
            weights.join(", "),
            self.service_keys
        );
        for (name, endpoints, keys) in &self.versions {
            let endpoints: Vec<String> = endpoints.iter().map(|a| format!("\"{a}\"")).collect();
            let endpoints = endpoints.join(", ");
            // Writing into a string cannot fail.
            let _ = write!(
                text,
                "[service.{SERVICE}.version.{name}]\nendpoints = [{endpoints}]\n{keys}\n"
            );
        }
        text.push_str(&self.tables);
        let _ = write!(text, "\n[[route]]\npath = \"/\"\nservice = \"{SERVICE}\"\n");
        text
    }
}

/// A running Tidegate with its file and its state in a directory of its own.
pub struct Tidegate {
    binary: PathBuf,
    home: TempDir,
    process: Process,
    pinned: bool,
    /// The listener for traffic.
    pub listener: SocketAddr,
    /// Its admin API.
    pub admin: Admin,
}

impl Tidegate {
    /// Writes the file, starts the program and waits until it is ready.
    pub fn start(binary: &Path, setup: &Setup, pinned: bool) -> io::Result<Self> {
        let home = tempfile::tempdir()?;
        let listener = machine::free_address()?;
        let admin = Admin { address: machine::free_address()? };
        fs::write(home.path().join("tidegate.toml"), setup.render(listener, admin.address))?;
        let process = launch(binary, home.path(), admin, pinned)?;
        Ok(Tidegate { binary: binary.to_owned(), home, process, pinned, listener, admin })
    }

    /// The configuration file.
    pub fn file(&self) -> PathBuf {
        self.home.path().join("tidegate.toml")
    }

    /// Replaces the file by renaming another over it, as careful editors do.
    pub fn replace_file(&self, setup: &Setup) -> io::Result<()> {
        let fresh = self.home.path().join(".tidegate.toml.new");
        fs::write(&fresh, setup.render(self.listener, self.admin.address))?;
        fs::rename(fresh, self.file())
    }

    /// Writes a file beside the one in use, to be put in its place by [`Self::replace_by`].
    pub fn prepare_file(&self, name: &str, setup: &Setup) -> io::Result<PathBuf> {
        let prepared = self.home.path().join(format!(".tidegate.toml.{name}"));
        fs::write(&prepared, setup.render(self.listener, self.admin.address))?;
        Ok(prepared)
    }

    /// Replaces the file by a prepared one, which stays: it costs no more than two names.
    pub fn replace_by(&self, prepared: &Path) -> io::Result<()> {
        let fresh = self.home.path().join(".tidegate.toml.new");
        fs::hard_link(prepared, &fresh)?;
        fs::rename(fresh, self.file())
    }

    /// Writes into the file in place.
    pub fn overwrite_file(&self, setup: &Setup) -> io::Result<()> {
        fs::write(self.file(), setup.render(self.listener, self.admin.address))
    }

    /// The running process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Copies sent to the shadow, by what became of them; copies that could not be sent are among them.
    pub fn copies(&self) -> io::Result<Vec<(&'static str, f64)>> {
        let metrics = self.admin.metrics()?;
        let outcomes = ["matched", "mismatched", "failed", "dropped", "skipped"];
        let count = |outcome| {
            let labels = [("service", SERVICE), ("outcome", outcome)];
            (outcome, metrics.sum("tidegate_shadow_requests_total", &labels))
        };
        Ok(outcomes.into_iter().map(count).collect())
    }

    /// Starts it again over the same file and state, after it was killed.
    pub fn restart(&mut self) -> io::Result<()> {
        self.process = launch(&self.binary, self.home.path(), self.admin, self.pinned)?;
        Ok(())
    }
}

fn launch(binary: &Path, home: &Path, admin: Admin, pinned: bool) -> io::Result<Process> {
    let output = home.join("output.log");
    let mut command = Command::new(binary);
    command.arg("run").arg("-c").arg(home.join("tidegate.toml"));
    let mut process = Process::start(&mut command, &output, pinned)?;
    process.wait_until(&output, || {
        admin.call("GET", "/health/ready", None).is_ok_and(|reply| reply.status == 200)
    })?;
    Ok(process)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rendered_file_is_toml_with_all_parts() {
        let address = |port: u16| SocketAddr::from(([127, 0, 0, 1], port));
        let mut setup = Setup::blue_green(2, [90, 10], [vec![address(1)], vec![address(2)]]);
        setup.service_keys = "timeout = \"5s\"\n".to_owned();
        let file: toml::Table = setup.render(address(3), address(4)).parse().expect("TOML");
        let service = &file["service"]["shop"];
        assert_eq!(service["weights"]["green"].as_integer(), Some(10));
        assert_eq!(service["version"]["green"]["endpoints"][0].as_str(), Some("127.0.0.1:2"));
        assert_eq!(service["timeout"].as_str(), Some("5s"));
        assert_eq!(file["listener"][0]["address"].as_str(), Some("127.0.0.1:3"));
    }
}
