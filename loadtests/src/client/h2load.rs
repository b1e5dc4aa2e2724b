//! HTTP/2 load over TLS, by the program `h2load` of nghttp2.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::{FIELDS, HOST};
use crate::stats::Stats;

/// The program's name.
pub const PROGRAM: &str = "h2load";

/// Whether it is installed.
pub fn is_installed() -> bool {
    let output = Command::new(PROGRAM).arg("--version").stdin(Stdio::null()).output();
    output.is_ok_and(|output| output.status.success())
}

/// Asks for `path` in a closed loop over these connections with that many streams each, for this long,
/// on the core of the calling thread. Latencies are not told apart.
pub fn run(
    target: SocketAddr,
    path: &str,
    connections: usize,
    streams: usize,
    length: Duration,
) -> io::Result<Stats> {
    let mut command = Command::new(PROGRAM);
    command
        .arg("--threads=1")
        .arg(format!("--clients={connections}"))
        .arg(format!("--max-concurrent-streams={streams}"))
        .arg(format!("--duration={}ms", length.as_millis()))
        .arg(format!("--connect-to={target}"));
    for (name, value) in FIELDS {
        command.arg(format!("--header={name}: {value}"));
    }
    command.arg(format!("https://{HOST}:{}{path}", target.port())).stdin(Stdio::null());
    let output = command.output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let said = || io::Error::other(format!("{PROGRAM} said:\n{}", text.trim()));
    let mut stats = Stats::new(0);
    stats.window = length;
    (stats.completed, stats.failures) = counts(&text).ok_or_else(said)?;
    Ok(stats)
}

/// Answers with 2xx, and failures by what went wrong.
fn counts(text: &str) -> Option<(u64, BTreeMap<String, u64>)> {
    let lines = |start: &str| text.lines().find_map(|line| line.strip_prefix(start).map(parts));
    let (requests, statuses) = (lines("requests: ")?, lines("status codes: ")?);
    let of = |parts: &[(u64, String)], name: &str| {
        parts.iter().find(|(_, found)| found == name).map(|(count, _)| *count)
    };
    let mut failures = BTreeMap::new();
    for (parts, name) in [
        (&requests, "failed"),
        (&requests, "timeout"),
        (&statuses, "3xx"),
        (&statuses, "4xx"),
        (&statuses, "5xx"),
    ] {
        let count = of(parts, name)?;
        if count > 0 {
            failures.insert(name.to_owned(), count);
        }
    }
    Some((of(&statuses, "2xx")?, failures))
}

/// `1 a, 2 b` as pairs.
fn parts(line: &str) -> Vec<(u64, String)> {
    let pair = |part: &str| {
        let (count, name) = part.trim().split_once(' ')?;
        Some((count.parse().ok()?, name.to_owned()))
    };
    line.split(',').filter_map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_it_prints_is_counted() {
        let text = "finished in 1.20s, 97338.00 req/s, 110MB/s\n\
            requests: 116805 total, 116933 started, 116805 done, 116800 succeeded, 5 failed, \
            0 errored, 0 timeout\nstatus codes: 116800 2xx, 0 3xx, 0 4xx, 5 5xx\n";
        let (completed, failures) = counts(text).expect("counts");
        assert_eq!(completed, 116_800);
        let failures: Vec<_> = failures.into_iter().collect();
        assert_eq!(failures, [("5xx".to_owned(), 5), ("failed".to_owned(), 5)]);
        assert!(counts("could not connect\n").is_none());
    }
}
