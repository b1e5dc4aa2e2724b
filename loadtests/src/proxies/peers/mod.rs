//! Other proxies, as an operator would set them up for the same work: one worker, connections kept to
//! the upstreams, the same weights, `X-Forwarded-For`, an access log where the work asks for one.

mod caddy;
mod envoy;
mod h2o;
mod haproxy;
mod nginx;

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use super::work::Work;
use super::{Process, accepts};
use crate::machine;

/// A proxy to compare with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// nginx.
    Nginx,
    /// haproxy.
    Haproxy,
    /// Envoy.
    Envoy,
    /// Caddy.
    Caddy,
    /// h2o.
    H2o,
}

impl Peer {
    /// All, in the order in which they are shown.
    pub const ALL: [Peer; 5] = [Peer::Nginx, Peer::Haproxy, Peer::Envoy, Peer::Caddy, Peer::H2o];

    /// The program's name.
    pub fn name(self) -> &'static str {
        match self {
            Peer::Nginx => "nginx",
            Peer::Haproxy => "haproxy",
            Peer::Envoy => "envoy",
            Peer::Caddy => "caddy",
            Peer::H2o => "h2o",
        }
    }

    /// Its version number; `None` when it is not installed.
    pub fn version(self) -> Option<String> {
        let flag = match self {
            Peer::Nginx | Peer::Haproxy => "-v",
            Peer::Envoy | Peer::H2o => "--version",
            Peer::Caddy => "version",
        };
        let output = Command::new(self.name()).arg(flag).stdin(Stdio::null()).output().ok()?;
        let text = [output.stdout, output.stderr].concat();
        version_number(&String::from_utf8_lossy(&text))
    }

    /// Whether it can send a copy of every request to a shadow.
    pub fn mirrors(self) -> bool {
        matches!(self, Peer::Nginx | Peer::Envoy)
    }

    /// Whether it speaks HTTP/2 to upstreams.
    pub fn speaks_streams_up(self) -> bool {
        self != Peer::H2o
    }

    /// Starts it in a directory of its own; on a core of its own when `pinned`.
    pub fn start(self, work: &Work<'_>, pinned: bool) -> io::Result<RunningPeer> {
        let home = tempfile::tempdir()?;
        let listener = machine::free_address()?;
        let file = home.path().join("proxy.conf");
        let text = match self {
            Peer::Nginx => nginx::file(work, listener, home.path()),
            Peer::Haproxy => haproxy::file(work, listener),
            Peer::Envoy => envoy::file(work, listener, home.path()),
            Peer::Caddy => caddy::file(work, listener, home.path()),
            Peer::H2o => h2o::file(work, listener, home.path()),
        };
        fs::write(&file, &text)?;
        let mut command = Command::new(self.name());
        match self {
            Peer::Nginx => command.arg("-p").arg(home.path()).arg("-c").arg(&file),
            Peer::Haproxy => command.arg("-db").arg("-f").arg(&file),
            Peer::Envoy => command
                .args(["--concurrency", "1", "--disable-hot-restart", "--log-level", "error"])
                .args(["--config-yaml", &text]),
            Peer::Caddy => command
                .env("GOMAXPROCS", "1")
                .env("HOME", home.path())
                .args(["run", "--adapter", "caddyfile", "--config"])
                .arg(&file),
            Peer::H2o => command.arg("-m").arg("worker").arg("-c").arg(&file),
        };
        let output = home.path().join("output.log");
        let mut process = Process::start(&mut command, &output, pinned)?;
        process.wait_until(&output, || accepts(listener))?;
        Ok(RunningPeer { process, listener, _home: home })
    }
}

/// The first number with a dot behind the last word `version`, or in all of the text.
fn version_number(text: &str) -> Option<String> {
    let from = text.rfind("ersion").unwrap_or(0);
    let words = text[from..].split(|c: char| c.is_whitespace() || c == '/');
    let mut numbers = words.map(|word| word.trim_start_matches('v')).filter(|word| {
        word.contains('.') && word.starts_with(|first: char| first.is_ascii_digit())
    });
    numbers.next().map(str::to_owned)
}

/// A running peer.
pub struct RunningPeer {
    /// Its process.
    pub process: Process,
    /// Where it takes traffic.
    pub listener: SocketAddr,
    _home: TempDir,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::Backends;
    use crate::certificate::Certificate;
    use crate::client::{Generator, Plan};
    use crate::proxies::work::VERSIONS;

    /// Each runs where it is installed, which a developer's machine need not have.
    #[test]
    fn an_installed_peer_serves_both_versions_plain_and_logged_or_encrypted() {
        let certificate = Certificate::make().expect("a certificate");
        for peer in Peer::ALL.into_iter().filter(|peer| peer.version().is_some()) {
            for certificate in [None, Some(&certificate)] {
                let backends = Backends::start(&VERSIONS).expect("backends");
                let shadow = peer.mirrors().then(|| backends.endpoint(2).address);
                let logged = certificate.is_none();
                let work = Work { certificate, shadow, logged, ..Work::of(&backends) };
                let running = peer.start(&work, false).expect("a running peer");
                let mut plan = Plan::get(running.listener, "/bytes/1024");
                plan.trust = certificate.map(Certificate::trust);
                plan.connections = 4;
                let generator = Generator::start(plan).expect("load");
                let mut all = generator.cut().expect("running");
                let served = |seen: &crate::stats::Stats| match peer {
                    Peer::H2o => seen.by_version[0] > 0,
                    _ => !seen.by_version.contains(&0),
                };
                while !served(&all) && all.failed() == 0 {
                    std::thread::yield_now();
                    all.add(generator.cut().expect("running"));
                }
                all.add(generator.stop().expect("stopped"));
                assert_eq!(all.failures_text(), "none", "{}", peer.name());
                assert_eq!(all.by_version[0], backends.endpoint(0).served(), "{}", peer.name());
            }
        }
    }

    #[test]
    fn a_version_is_found_in_what_programs_print() {
        let cases = [
            ("nginx version: nginx/1.22.1\n", Some("1.22.1")),
            ("HAProxy version 2.6.12-1 2026/10/17 - https://haproxy.org/\n", Some("2.6.12-1")),
            ("/opt/versions/3.11.7/envoy  version: 9e55/1.40.0/Clean/RELEASE\n", Some("1.40.0")),
            ("v2.11.7 h1:yj0Y4fYZGPkSvibBJ1sTWE33xC0fx=\n", Some("2.11.7")),
            ("no such thing\n", None),
        ];
        for (text, number) in cases {
            assert_eq!(version_number(text).as_deref(), number, "{text}");
        }
    }
}
