//! Do honest clients notice hostile ones, and does memory stay flat?
//!
//! Hostile clients try one trick after another as long as the run lasts. Honest ones send at a fixed
//! rate, and none of their requests may fail. Memory is read every second; what it holds at most in
//! the last quarter may hardly be more than in the second: the first is for what is allocated once.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::json;

use super::{Context, promise_unharmed};
use crate::backend::Backends;
use crate::client::{Generator, Pace, Plan, request};
use crate::machine;
use crate::params;
use crate::proxies::tidegate::{Setup, Tidegate};
use crate::report::{Report, Table, grouped, progress};

/// The values of `scenarios/soak.toml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Params {
    seconds: f64,
    workers: usize,
    connections: usize,
    rate: u32,
    hostile: u32,
    growth_mb: f64,
}

/// How long a hostile client keeps a connection busy with nothing.
const DAWDLE: Duration = Duration::from_millis(300);
/// A hostile client gives up reading after this.
const PATIENCE: Duration = Duration::from_secs(2);

/// One thing that a hostile client does with a connection of its own; numbers drive its choices.
type Trick = fn(&mut TcpStream, u64) -> io::Result<()>;

const TRICKS: [(&str, Trick); 9] = [
    ("says nothing", |_, _| {
        std::thread::sleep(DAWDLE);
        Ok(())
    }),
    ("sends garbage", |stream, number| {
        let bytes: Vec<u8> = (0..4096).map(|at| mixed(number + at).to_le_bytes()[0]).collect();
        stream.write_all(&bytes)?;
        read_all(stream)
    }),
    ("smuggles", |stream, number| {
        let head = SMUGGLED[index(number, SMUGGLED.len())];
        stream.write_all(head.as_bytes())?;
        stream.write_all(&request("GET", "/bytes/64", 0, true))?;
        read_all(stream)
    }),
    ("sends a head slowly", |stream, _| {
        for byte in b"GET / HTTP/1.1\r\nHost: a\r\n".iter().take(20) {
            stream.write_all(&[*byte])?;
            std::thread::sleep(DAWDLE / 20);
        }
        Ok(())
    }),
    ("sends a head without end", |stream, _| {
        stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nX: ")?;
        stream.write_all(&vec![b'y'; 200_000])?;
        read_all(stream)
    }),
    ("leaves in the middle of its body", |stream, number| {
        let whole = request("POST", "/bytes/64", 500_000, false);
        stream.write_all(&whole[..index(number, whole.len())])
    }),
    ("leaves in the middle of the answer", |stream, _| {
        stream.write_all(&request("GET", "/bytes/4000000", 0, false))?;
        stream.read_exact(&mut [0; 1000])
    }),
    ("reads nothing", |stream, _| {
        stream.write_all(&request("GET", "/bytes/8000000", 0, false))?;
        std::thread::sleep(DAWDLE);
        Ok(())
    }),
    ("pipelines and hangs up", |stream, _| {
        stream.write_all(&request("GET", "/bytes/1024", 0, false).repeat(50))?;
        stream.shutdown(Shutdown::Write)?;
        read_all(stream)
    }),
];

const SMUGGLED: [&str; 6] = [
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcXX0\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551619\r\n\r\nabc",
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\nX: y\n z\r\n\r\n",
];

/// Runs the scenario.
pub fn run(context: &Context) -> io::Result<Report> {
    let params: Params = params::read(include_str!("../../scenarios/soak.toml"), &context.wishes)?;
    let mut report = Report::new("soak");
    let backends = Backends::start(&["blue", "green"])?;
    let addresses = [backends.addresses("blue"), backends.addresses("green")];
    let setup = Setup::blue_green(params.workers, [50, 50], addresses);
    let mut tidegate = Tidegate::start(&context.tidegate, &setup, false)?;
    let mut plan = Plan::get(tidegate.listener, "/bytes/1024");
    plan.connections = params.connections;
    plan.pace = Pace::Rate(params.rate);
    plan.requests.push(request("POST", "/bytes/64", 16_384, false));
    plan.requests.push(request("GET", "/bytes/65536", 0, false));
    let generator = Generator::start(plan)?;
    let hostile = Hostile::start(tidegate.listener, params.hostile)?;
    let resident = watch(&mut tidegate, params.seconds)?;
    let tricks = hostile.stop();
    let stats = generator.stop()?;
    promise_unharmed(&mut report, &stats);
    report.promise(
        "hostile clients came",
        tricks > 0,
        format!("{} tricks", grouped(tricks as f64)),
    );
    let running = tidegate.process().is_running();
    report.promise("the proxy still runs", running, format!("{running}"));
    let quarter = (resident.len() / 4).max(1);
    let most = |part: &[u64]| part.iter().copied().max().unwrap_or_default() as f64 / 1e6;
    let (early, late) = (
        most(&resident[quarter.min(resident.len() - 1)..(2 * quarter).min(resident.len())]),
        most(&resident[resident.len().saturating_sub(quarter)..]),
    );
    let found = format!("{early:.1} MB, then {late:.1} MB");
    report.promise("memory is flat", late <= early + params.growth_mb, found);
    let mut table = Table::new("Soak", &["requests", "p99 us", "tricks", "early MB", "late MB"]);
    table.row([
        grouped(stats.completed as f64),
        format!("{:.0}", stats.latency_micros(0.99)),
        grouped(tricks as f64),
        format!("{early:.1}"),
        format!("{late:.1}"),
    ]);
    report.tables.push(table);
    report.figures = json!({
        "requests": stats.completed,
        "failed": stats.failed(),
        "tricks": tricks,
        "resident_early_mb": early,
        "resident_late_mb": late,
    });
    Ok(report)
}

/// Resident bytes, once a second.
fn watch(tidegate: &mut Tidegate, seconds: f64) -> io::Result<Vec<u64>> {
    let end = Instant::now() + Duration::from_secs_f64(seconds);
    let pids = tidegate.process().pids();
    let mut resident = Vec::new();
    while Instant::now() < end || resident.len() < 4 {
        std::thread::sleep(Duration::from_secs(1));
        resident.push(machine::resident_bytes(&pids));
        if resident.len() % 60 == 0 {
            progress(&format!("{} minutes", resident.len() / 60));
        }
    }
    Ok(resident)
}

/// Hostile clients, until they are stopped.
struct Hostile {
    over: Arc<AtomicBool>,
    tricks: Arc<AtomicU64>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

impl Hostile {
    fn start(to: SocketAddr, count: u32) -> io::Result<Self> {
        let mut hostile = Hostile { over: Arc::default(), tricks: Arc::default(), threads: vec![] };
        for number in 0..u64::from(count) {
            let (over, tricks) = (hostile.over.clone(), hostile.tricks.clone());
            let mut number = mixed(number);
            let thread = std::thread::Builder::new().name("hostile".into()).spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    number = mixed(number);
                    // However it ends: the honest clients tell whether it did harm.
                    let _ = play(to, number);
                    tricks.fetch_add(1, Ordering::Relaxed);
                }
            })?;
            hostile.threads.push(thread);
        }
        Ok(hostile)
    }

    /// Ends them; how many tricks were tried.
    fn stop(self) -> u64 {
        self.over.store(true, Ordering::Relaxed);
        for thread in self.threads {
            let _ = thread.join();
        }
        self.tricks.load(Ordering::Relaxed)
    }
}

fn play(to: SocketAddr, number: u64) -> io::Result<()> {
    let mut stream = TcpStream::connect(to)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let (_, trick) = TRICKS[index(number, TRICKS.len())];
    trick(&mut stream, mixed(number))
}

fn read_all(stream: &mut TcpStream) -> io::Result<()> {
    let mut piece = [0; 16_384];
    while stream.read(&mut piece)? > 0 {}
    Ok(())
}

/// A place in a list.
fn index(number: u64, length: usize) -> usize {
    usize::try_from(number % length as u64).unwrap_or_default()
}

/// The next of a row of numbers that look drawn (splitmix64).
fn mixed(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_trick_has_its_turn() {
        let mut number = 1;
        let mut seen = [false; TRICKS.len()];
        for _ in 0..1000 {
            number = mixed(number);
            seen[index(number, TRICKS.len())] = true;
        }
        assert_eq!(seen, [true; TRICKS.len()]);
    }
}
