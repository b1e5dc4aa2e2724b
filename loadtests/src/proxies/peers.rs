//! nginx and haproxy as an operator would set them up for the same work.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use super::{Process, accepts};
use crate::machine;

/// A proxy to compare with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// nginx with `split_clients` over two upstreams that keep connections.
    Nginx,
    /// haproxy with weighted servers and `http-reuse always`.
    Haproxy,
}

/// For which bodies a peer is tuned; each is measured with what suits it best.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tuning {
    /// Defaults.
    Small,
    /// Buffers that hold a 64 KiB answer; splicing in haproxy.
    Large,
}

/// What stands behind a peer: addresses and weights that add up to 100.
pub struct Upstreams {
    /// Of blue.
    pub blue: (SocketAddr, u32),
    /// Of green.
    pub green: (SocketAddr, u32),
}

impl Peer {
    /// Both, in the order in which they are shown.
    pub const ALL: [Peer; 2] = [Peer::Nginx, Peer::Haproxy];

    /// The program's name.
    pub fn name(self) -> &'static str {
        match self {
            Peer::Nginx => "nginx",
            Peer::Haproxy => "haproxy",
        }
    }

    /// Its version line; `None` when it is not installed.
    pub fn version(self) -> Option<String> {
        let output = Command::new(self.name()).arg("-v").stdin(Stdio::null()).output().ok()?;
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text);
        let line = text.lines().find(|line| line.contains("ersion"))?;
        Some(line.split(" - ").next().unwrap_or(line).trim().to_owned())
    }

    /// Starts it in a directory of its own.
    pub fn start(
        self,
        upstreams: &Upstreams,
        workers: usize,
        tuning: Tuning,
        pinned: bool,
    ) -> io::Result<RunningPeer> {
        let home = tempfile::tempdir()?;
        let listener = machine::free_address()?;
        let file = home.path().join("proxy.conf");
        let text = match self {
            Peer::Nginx => nginx(upstreams, workers, tuning, listener, home.path()),
            Peer::Haproxy => haproxy(upstreams, workers, tuning, listener),
        };
        fs::write(&file, text)?;
        let mut command = Command::new(self.name());
        match self {
            Peer::Nginx => command.arg("-p").arg(home.path()).arg("-c").arg(&file),
            Peer::Haproxy => command.arg("-db").arg("-f").arg(&file),
        };
        let output = home.path().join("output.log");
        let mut process = Process::start(&mut command, &output, pinned)?;
        process.wait_until(&output, || accepts(listener))?;
        Ok(RunningPeer { process, listener, _home: home })
    }
}

/// A running peer.
pub struct RunningPeer {
    /// Its process.
    pub process: Process,
    /// Where it takes traffic.
    pub listener: SocketAddr,
    _home: TempDir,
}

fn nginx(
    upstreams: &Upstreams,
    workers: usize,
    tuning: Tuning,
    listener: SocketAddr,
    home: &Path,
) -> String {
    let home = home.display();
    let buffers = match tuning {
        Tuning::Small => "",
        Tuning::Large => {
            "proxy_buffer_size 128k; proxy_buffers 4 128k; proxy_busy_buffers_size 128k;"
        }
    };
    let ((blue, _), (green, share)) = (upstreams.blue, upstreams.green);
    format!(
        "daemon off;
user root;
worker_processes {workers};
worker_rlimit_nofile {files};
pid {home}/nginx.pid;
error_log {home}/error.log crit;
events {{ worker_connections {connections}; }}
http {{
    access_log off;
    client_body_temp_path {home}/body;
    proxy_temp_path {home}/proxy;
    fastcgi_temp_path {home}/fastcgi;
    uwsgi_temp_path {home}/uwsgi;
    scgi_temp_path {home}/scgi;
    keepalive_requests 1000000000;
    keepalive_timeout 300s;
    client_body_buffer_size 128k;
    tcp_nodelay on;
    upstream blue {{ server {blue}; keepalive 256; keepalive_requests 1000000000; }}
    upstream green {{ server {green}; keepalive 256; keepalive_requests 1000000000; }}
    split_clients $request_id $version {{ {share}% green; * blue; }}
    server {{
        listen {listener} backlog=4096;
        location / {{
            proxy_pass http://$version;
            proxy_http_version 1.1;
            proxy_set_header Connection \"\";
            proxy_set_header Host $host;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            {buffers}
        }}
    }}
}}
",
        files = machine::file_limit(),
        connections = machine::file_limit() / 2 + machine::file_limit() / 4,
    )
}

fn haproxy(upstreams: &Upstreams, workers: usize, tuning: Tuning, listener: SocketAddr) -> String {
    let (tune, splice) = match tuning {
        Tuning::Small => ("", ""),
        Tuning::Large => ("    tune.bufsize 131072\n", "    option splice-response\n"),
    };
    let ((blue, much), (green, little)) = (upstreams.blue, upstreams.green);
    format!(
        "global
    nbthread {workers}
    maxconn {maxconn}
    no strict-limits
{tune}
defaults
    mode http
    timeout client 300s
    timeout server 60s
    timeout connect 1s
    timeout http-keep-alive 300s
    option http-keep-alive
    option forwardfor
{splice}
frontend web
    bind {listener} backlog 4096
    default_backend shop

backend shop
    http-reuse always
    server blue {blue} weight {much} pool-max-conn 256
    server green {green} weight {little} pool-max-conn 256
",
        // An idle client holds one file, not the two that haproxy reckons with.
        maxconn = machine::file_limit() / 4 * 3,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::Backends;
    use crate::client::{Generator, Plan};

    /// Both run where they are installed, which a developer's machine need not have.
    #[test]
    fn an_installed_peer_serves_both_versions() {
        for peer in Peer::ALL.into_iter().filter(|peer| peer.version().is_some()) {
            let backends = Backends::start(&["blue", "green"]).expect("backends");
            let address = |index| backends.endpoint(index).address;
            let upstreams = Upstreams { blue: (address(0), 50), green: (address(1), 50) };
            let running = peer.start(&upstreams, 1, Tuning::Large, false).expect("a running peer");
            let mut plan = Plan::get(running.listener, "/bytes/1024");
            plan.connections = 4;
            let generator = Generator::start(plan).expect("load");
            let mut all = generator.cut().expect("running");
            while all.by_version.contains(&0) && all.failed() == 0 {
                std::thread::yield_now();
                all.add(generator.cut().expect("running"));
            }
            all.add(generator.stop().expect("stopped"));
            assert_eq!(all.failures_text(), "none", "{}", peer.name());
            assert_eq!(all.by_version[0], backends.endpoint(0).served(), "{}", peer.name());
        }
    }
}
