//! The built program as a process: what it prints and how it ends.

use std::fs::File;
use std::io::{Read, Seek};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::PATIENCE;

/// A running `tidegate`. It is killed when the test ends before it does.
pub struct Process {
    child: Child,
    out: File,
    err: File,
}

/// How a process ended.
#[derive(Debug)]
pub struct Ended {
    /// The exit code; `None` when a signal killed it.
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

/// Runs the program to its end, with nothing of this process's environment that concerns it.
pub async fn tidegate(arguments: &[&str]) -> Ended {
    Process::start(arguments, &[]).ended().await
}

impl Process {
    /// Starts the program with further variables.
    pub fn start(arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        // Files and not pipes: nobody has to read them for the process to go on.
        let (out, err) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
        let child = Command::new(env!("CARGO_BIN_EXE_tidegate"))
            .args(arguments)
            .env_remove("TIDEGATE_ADMIN")
            .env_remove("TIDEGATE_TOKEN")
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(out.try_clone().unwrap())
            .stderr(err.try_clone().unwrap())
            .spawn()
            .unwrap();
        Self { child, out, err }
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits for the end.
    pub async fn ended(mut self) -> Ended {
        let waiting = async {
            loop {
                if let Some(status) = self.child.try_wait().unwrap() {
                    return status.code();
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        let code = tokio::time::timeout(PATIENCE, waiting).await;
        let (out, err) = (text(&mut self.out), text(&mut self.err));
        let code = code.unwrap_or_else(|_| panic!("it never ended\n{out}{err}"));
        Ended { code, out, err }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn text(file: &mut File) -> String {
    let mut bytes = Vec::new();
    file.rewind().unwrap();
    file.read_to_end(&mut bytes).unwrap();
    String::from_utf8(bytes).unwrap()
}

impl Ended {
    /// It ended with this code and said these words on either output.
    #[track_caller]
    pub fn says(&self, code: i32, words: &[&str]) -> &Self {
        assert_eq!(self.code, Some(code), "{self}");
        let all = format!("{}{}", self.out, self.err);
        for word in words {
            assert!(all.contains(word), "`{word}` is missing\n{self}");
        }
        assert!(!all.contains('\u{1b}'), "escape codes outside a terminal\n{self}");
        assert!(!all.contains("panicked"), "{self}");
        self
    }

    /// What it printed, as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}\n{self}"))
    }
}

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "code {:?}\nstdout: {}\nstderr: {}", self.code, self.out, self.err)
    }
}
