//! How does traffic reach the proxy, and what comes back?
//!
//! One thread drives all connections over non-blocking sockets. In a closed loop every connection sends
//! its next request when the answer to the last one is whole. At a fixed rate, requests are due at fixed
//! instants whether or not earlier ones were answered, and latency counts from the instant a request was
//! due: a stall of the proxy is not hidden by a generator that politely waits (coordinated omission).

mod connection;
mod engine;
pub mod h2load;
mod wire;

use std::io;
use std::net::SocketAddr;
use std::sync::mpsc::{self, Sender};
use std::thread::JoinHandle;

use mio::Waker;

use crate::certificate::Trust;
use crate::stats::Stats;
use engine::Engine;

/// The host that requests name and that certificates are for.
pub const HOST: &str = "shop.example.com";

/// What clients accept and send beside method, path and host: the fields of a browser.
pub const FIELDS: [(&str, &str); 5] = [
    ("User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"),
    ("Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
    ("Accept-Language", "en-GB,en;q=0.7"),
    ("Accept-Encoding", "gzip, deflate"),
    ("Cookie", "session=5b1c0f6e2a7d4f39"),
];

/// When the next request is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// As soon as the connection's last one is answered.
    Closed,
    /// This many a second over all connections, whatever the answers do.
    Rate(u32),
}

/// What to send, where and how fast.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The listener of the proxy under test.
    pub target: SocketAddr,
    /// Speaks TLS and accepts this certificate; plain HTTP without one.
    pub trust: Option<Trust>,
    /// Connections held; at a fixed rate, the most requests in flight.
    pub connections: usize,
    /// Whole requests as bytes, sent in turn.
    pub requests: Vec<Vec<u8>>,
    /// When the next request is sent.
    pub pace: Pace,
    /// A new connection for every request; the requests should then say `Connection: close`.
    pub reconnect: bool,
    /// Values of `x-backend` to count separately.
    pub versions: Vec<String>,
    /// Whether every answer is kept as an observation.
    pub observe: bool,
}

impl Plan {
    /// A closed loop of one GET over 64 connections, counting blue and green.
    pub fn get(target: SocketAddr, path: &str) -> Self {
        Plan {
            target,
            trust: None,
            connections: 64,
            requests: vec![request("GET", path, 0, false)],
            pace: Pace::Closed,
            reconnect: false,
            versions: vec!["blue".to_owned(), "green".to_owned()],
            observe: false,
        }
    }
}

/// A request of about 300 bytes with six fields, and a body of that many bytes.
pub fn request(method: &str, path: &str, body: usize, close: bool) -> Vec<u8> {
    let connection = if close { "Connection: close\r\n" } else { "" };
    let length = match body {
        0 => String::new(),
        bytes => {
            format!("Content-Type: application/octet-stream\r\nContent-Length: {bytes}\r\n")
        }
    };
    let fields: String =
        FIELDS.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let head =
        format!("{method} {path} HTTP/1.1\r\nHost: {HOST}\r\n{fields}{length}{connection}\r\n");
    let mut request = head.into_bytes();
    request.resize(request.len() + body, b'p');
    request
}

enum Command {
    Cut(Sender<Stats>),
    Stop(Sender<Stats>),
}

/// Running load. [`Generator::stop`] ends it; a dropped generator ends too, without waiting for answers.
pub struct Generator {
    commands: Sender<Command>,
    waker: Waker,
    thread: Option<JoinHandle<()>>,
}

impl Generator {
    /// Opens the connections and starts sending.
    pub fn start(plan: Plan) -> io::Result<Self> {
        let (commands, inbox) = mpsc::channel();
        let (mut engine, waker) = Engine::new(plan, inbox)?;
        let thread = std::thread::Builder::new().name("load".into()).spawn(move || {
            if let Err(error) = engine.run() {
                eprintln!("the load generator stopped: {error}");
            }
        })?;
        Ok(Generator { commands, waker, thread: Some(thread) })
    }

    /// What happened since the start or the last cut; the load goes on.
    pub fn cut(&self) -> io::Result<Stats> {
        self.ask(Command::Cut)
    }

    /// Sends no more requests, waits for the answers under way (at most five seconds; what is missing
    /// then counts as failed), and returns what happened since the start or the last cut.
    pub fn stop(self) -> io::Result<Stats> {
        self.ask(Command::Stop)
    }

    fn ask(&self, command: impl FnOnce(Sender<Stats>) -> Command) -> io::Result<Stats> {
        let gone = || io::Error::other("the load generator has stopped");
        let (reply, answer) = mpsc::channel();
        self.commands.send(command(reply)).map_err(|_| gone())?;
        self.waker.wake()?;
        answer.recv().map_err(|_| gone())
    }
}

impl Drop for Generator {
    fn drop(&mut self) {
        // The engine ends when its inbox has no sender left.
        let (nobody, _) = mpsc::channel();
        drop(std::mem::replace(&mut self.commands, nobody));
        let _ = self.waker.wake();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::Backends;
    use std::time::Duration;

    /// Runs load until that many requests are done.
    fn until(generator: &Generator, completed: u64) -> Stats {
        let mut all = generator.cut().expect("running");
        while all.completed < completed && all.failed() == 0 {
            std::thread::yield_now();
            all.add(generator.cut().expect("running"));
        }
        all
    }

    #[test]
    fn clients_and_backends_count_the_same() {
        let plans: [fn(&mut Plan); 4] = [
            |_| {},
            |plan| plan.pace = Pace::Rate(2_000),
            |plan| {
                plan.requests = vec![request("GET", "/bytes/10", 0, true)];
                plan.reconnect = true;
            },
            |plan| {
                plan.requests = vec![
                    request("POST", "/bytes/0", 100_000, false),
                    request("GET", "/", 0, false),
                ];
            },
        ];
        for (case, change) in plans.into_iter().enumerate() {
            let backends = Backends::start(&["green"]).expect("backends");
            let mut plan = Plan::get(backends.endpoint(0).address, "/bytes/70000");
            plan.connections = 4;
            plan.observe = true;
            change(&mut plan);
            let generator = Generator::start(plan).expect("load");
            let mut all = until(&generator, 50);
            all.add(generator.stop().expect("stopped"));
            assert_eq!(all.failures_text(), "none", "case {case}");
            assert_eq!(all.completed, backends.endpoint(0).served(), "case {case}");
            assert_eq!(all.by_version, [0, all.completed], "case {case}");
            assert_eq!(all.observations.len() as u64, all.completed, "case {case}");
        }
    }

    #[test]
    fn a_death_under_way_is_a_failure_and_a_refused_connection_too() {
        let backends = Backends::start(&["blue"]).expect("backends");
        let plan = Plan::get(backends.endpoint(0).address, "/");
        let generator = Generator::start(plan).expect("load");
        until(&generator, 50);
        backends.kill(0).expect("killed");
        let mut seen = Stats::new(2);
        while !seen.failures.contains_key("connect") {
            std::thread::sleep(Duration::from_millis(1));
            seen.add(generator.cut().expect("running"));
        }
        assert!(seen.failed() > 0);
    }

    #[test]
    fn a_request_is_as_long_as_real_ones() {
        let length = request("GET", "/bytes/1024", 0, false).len();
        assert!((280..=360).contains(&length), "{length}");
    }
}
