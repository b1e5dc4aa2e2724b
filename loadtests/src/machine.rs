//! What does the kernel say about processor time, memory and cores?
//!
//! Everything is read from `/proc`, so figures are the kernel's own accounting and not an estimate.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CpuSet, sched_setaffinity};

/// The core that load and backends share when cores are kept apart.
pub const LOAD_CORE: usize = 0;
/// The core that a proxy has to itself when cores are kept apart.
pub const PROXY_CORE: usize = 1;

/// Kernel ticks a second in `/proc/stat`; fixed at 100 by the Linux interface to user space.
const TICK: Duration = Duration::from_millis(10);

/// Cores this machine has, whatever this process is tied to.
pub fn cores() -> usize {
    let text = fs::read_to_string("/proc/stat").unwrap_or_default();
    text.lines().filter(|line| line.starts_with("cpu")).count().saturating_sub(1).max(1)
}

/// Ties the calling thread, and every thread and process it starts from now on, to one core. Does
/// nothing on a machine with a single core.
pub fn pin_to(core: usize) {
    let mut set = CpuSet::new();
    set.set(core);
    apply(&set);
}

/// Lets the calling thread run anywhere again.
pub fn unpin() {
    let mut set = CpuSet::new();
    for core in 0..CpuSet::MAX_CPU {
        set.set(core);
    }
    apply(&set);
}

/// A refusal (a container with fewer cores) leaves the thread where it was: figures get noisier, which
/// the foreign-time guard reports.
fn apply(set: &CpuSet) {
    let _ = sched_setaffinity(None, set);
}

/// Files wanted for 10 000 connections through a proxy that may hold two for each.
const FILES_WANTED: u64 = 65_536;

/// Raises the number of files this process and its children may hold: to what is wanted where that is
/// allowed, else to the hard limit.
pub fn raise_file_limit() {
    let hard = getrlimit(Resource::Nofile).maximum;
    let wanted = Some(hard.map_or(FILES_WANTED, |hard| hard.max(FILES_WANTED)));
    for limit in [wanted, hard] {
        if setrlimit(Resource::Nofile, Rlimit { current: limit, maximum: limit }).is_ok() {
            return;
        }
    }
}

/// Files this process may hold.
pub fn file_limit() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// Time that all threads of these processes have spent on a core.
pub fn processor_time(pids: &[u32]) -> Duration {
    Duration::from_nanos(pids.iter().map(|pid| process_nanos(*pid)).sum())
}

/// Time of this process and of the children it has seen end.
fn own_time() -> Duration {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after = stat.rsplit(')').next().unwrap_or_default();
    // cutime and cstime, the 16th and 17th fields; the command name is the second.
    let ticks = after.split_whitespace().skip(13).take(2).flat_map(str::parse::<u32>).sum::<u32>();
    processor_time(&[std::process::id()]) + TICK * ticks
}

fn process_nanos(pid: u32) -> u64 {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { return 0 };
    tasks
        .flatten()
        .filter_map(|task| fs::read_to_string(task.path().join("schedstat")).ok())
        .filter_map(|text| text.split_whitespace().next()?.parse::<u64>().ok())
        .sum()
}

/// Resident memory of these processes, in bytes.
pub fn resident_bytes(pids: &[u32]) -> u64 {
    pids.iter().filter_map(|pid| status_kib(*pid, "VmRSS:")).sum::<u64>() * 1024
}

fn status_kib(pid: u32, name: &str) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

/// A process and all its descendants.
pub fn family(root: u32) -> Vec<u32> {
    let parents: Vec<(u32, u32)> = fs::read_dir("/proc")
        .map(|entries| entries.flatten().filter_map(|e| parent_of(&e.file_name())).collect())
        .unwrap_or_default();
    let mut family = vec![root];
    let mut next = 0;
    while next < family.len() {
        let parent = family[next];
        family.extend(parents.iter().filter(|(_, p)| *p == parent).map(|(pid, _)| *pid));
        next += 1;
    }
    family
}

fn parent_of(name: &std::ffi::OsStr) -> Option<(u32, u32)> {
    let pid: u32 = name.to_str()?.parse().ok()?;
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The command name may hold spaces and brackets, so fields are counted from its last bracket.
    let after = &stat[stat.rfind(')')? + 1..];
    Some((pid, after.split_whitespace().nth(1)?.parse().ok()?))
}

/// Processor time used by the whole machine, by these processes and by this one with its ended children,
/// since a start.
pub struct ProcessorWatch {
    pids: Vec<u32>,
    began: Instant,
    machine: Duration,
    own: Duration,
    watched: Duration,
}

/// What a [`ProcessorWatch`] saw.
#[derive(Debug, Clone, Copy)]
pub struct ProcessorUse {
    /// Length of the window.
    pub window: Duration,
    /// On-core time of the watched processes.
    pub watched: Duration,
    /// On-core time of everybody but the watched processes and this one, as a share of one core.
    pub foreign: f64,
}

impl ProcessorWatch {
    /// Starts a window over the processes `pids`.
    pub fn start(pids: &[u32]) -> Self {
        ProcessorWatch {
            pids: pids.to_vec(),
            began: Instant::now(),
            machine: machine_time(),
            own: own_time(),
            watched: processor_time(pids),
        }
    }

    /// Ends the window.
    pub fn stop(self) -> ProcessorUse {
        let watched = processor_time(&self.pids).saturating_sub(self.watched);
        let own = own_time().saturating_sub(self.own);
        let machine = machine_time().saturating_sub(self.machine);
        let window = self.began.elapsed();
        let foreign = machine.saturating_sub(own + watched).as_secs_f64() / window.as_secs_f64();
        ProcessorUse { window, watched, foreign }
    }
}

/// Busy time of all cores, in steps of a tick.
fn machine_time() -> Duration {
    let text = fs::read_to_string("/proc/stat").unwrap_or_default();
    let ticks = |fields: &str| -> u32 {
        // user nice system (idle iowait) irq softirq
        let values: Vec<u32> = fields.split_whitespace().flat_map(str::parse).collect();
        [0, 1, 2, 5, 6].iter().filter_map(|i| values.get(*i)).sum()
    };
    let total = text.lines().find_map(|line| line.strip_prefix("cpu ")).map_or(0, ticks);
    TICK * total
}

/// A free port on the loopback address, below the range from which the kernel takes ports for outgoing
/// connections: a dead backend's port must not be taken by a connection meanwhile, nor connect to itself.
pub fn free_address() -> io::Result<SocketAddr> {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    const FIRST: u16 = 12_000;
    const COUNT: u16 = 20_000;
    let start = (std::process::id() % u32::from(COUNT)) as u16;
    for _ in 0..COUNT {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = FIRST + (u32::from(start) + u32::from(step)).rem_euclid(u32::from(COUNT)) as u16;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        if TcpListener::bind(address).is_ok() {
            return Ok(address);
        }
    }
    Err(io::Error::other("no free port on the loopback address"))
}

/// One line about machine and kernel, for the head of a report.
pub fn describe() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let cpu = read("/proc/cpuinfo");
    let model = cpu.lines().find(|line| line.starts_with("model name"));
    let model = model.and_then(|line| line.split(": ").nth(1)).unwrap_or("unknown processor");
    let kernel = read("/proc/sys/kernel/osrelease");
    format!("{model}, {} cores, Linux {}", cores(), kernel.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_uses_time_and_memory() {
        let own = [std::process::id()];
        assert!(processor_time(&own) > Duration::ZERO);
        assert!(resident_bytes(&own) > 100_000);
        assert_eq!(family(own[0])[0], own[0]);
    }

    #[test]
    fn free_addresses_differ() {
        let first = free_address().expect("a port");
        let second = free_address().expect("a port");
        assert_ne!(first, second);
    }
}
