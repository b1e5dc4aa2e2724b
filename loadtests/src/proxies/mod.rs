//! How is a proxy under test started, watched and stopped?

pub mod copier;
pub mod peers;
pub mod tidegate;
pub mod work;

use std::fs::File;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::machine;

/// How long a proxy may take to come up.
const START_PATIENCE: Duration = Duration::from_secs(10);
/// How long a proxy may take to end when asked politely.
const STOP_PATIENCE: Duration = Duration::from_secs(3);
const POLL: Duration = Duration::from_millis(5);

/// A child process that ends, with its own children, when this value is dropped.
pub struct Process {
    child: Child,
}

impl Process {
    /// Starts a program whose output goes to a file; on a core of its own when `pinned`.
    pub fn start(command: &mut Command, output: &Path, pinned: bool) -> io::Result<Self> {
        let log = File::create(output)?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        // A child runs where its parent's thread runs at the time.
        if pinned {
            machine::pin_to(machine::PROXY_CORE);
        }
        let child = command.spawn();
        if pinned {
            machine::pin_to(machine::LOAD_CORE);
        }
        let child = child.map_err(|error| {
            let program = command.get_program().to_string_lossy();
            io::Error::new(error.kind(), format!("cannot start {program}: {error}"))
        })?;
        Ok(Process { child })
    }

    /// Waits until `ready` says so; a program that ends before is an error that shows its output.
    pub fn wait_until(&mut self, output: &Path, ready: impl Fn() -> bool) -> io::Result<()> {
        let began = Instant::now();
        while !ready() {
            let ended = self.child.try_wait()?;
            if ended.is_some() || began.elapsed() > START_PATIENCE {
                let what = ended.map_or("is not ready".to_owned(), |s| format!("ended: {s}"));
                let said = std::fs::read_to_string(output).unwrap_or_default();
                return Err(io::Error::other(format!("the proxy {what}\n{}", said.trim())));
            }
            std::thread::sleep(POLL);
        }
        Ok(())
    }

    /// The process and its descendants as of now: workers may come after their listener.
    pub fn pids(&self) -> Vec<u32> {
        machine::family(self.child.id())
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Ends it the hard way and waits until it is gone.
    pub fn kill(&mut self) -> io::Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.is_running() {
            return;
        }
        if let Some(pid) = Pid::from_raw(self.child.id() as i32) {
            let _ = kill_process(pid, Signal::TERM);
        }
        let began = Instant::now();
        while self.is_running() && began.elapsed() < STOP_PATIENCE {
            std::thread::sleep(POLL);
        }
        if self.is_running() {
            for pid in self.pids().into_iter().filter_map(|pid| Pid::from_raw(pid as i32)) {
                let _ = kill_process(pid, Signal::KILL);
            }
            let _ = self.child.wait();
        }
    }
}

/// Whether something accepts connections there.
pub fn accepts(address: SocketAddr) -> bool {
    TcpStream::connect_timeout(&address, Duration::from_millis(200)).is_ok()
}
