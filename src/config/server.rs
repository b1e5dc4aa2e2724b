//! The sections about the process: `[server]`, `[admin]`, `[state]`, `[log]`, `[metrics]`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::error::Problem;
use super::read::Section;
use super::reference::{ADMIN, LOG, METRICS, SERVER, STATE};
use super::value;
use crate::limits::DURATION_BOUNDS_MAX;
use crate::snapshot::EdgePolicy;

/// The process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerSettings {
    /// Threads that serve requests; by default the cores there are.
    pub workers: Option<usize>,
    /// How long what is in flight may take to finish after SIGTERM.
    pub shutdown_grace: Duration,
}

/// The admin API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdminSettings {
    /// Loopback, unless there is a token file.
    pub address: SocketAddr,
    pub token_file: Option<PathBuf>,
    /// A unix socket to listen on as well.
    pub socket: Option<PathBuf>,
}

/// The log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogSettings {
    pub format: LogFormat,
    pub level: LogLevel,
    /// Whether every request is logged.
    pub access: bool,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    Json,
    Text,
}

impl LogFormat {
    /// Whether lines are JSON.
    pub fn is_json(self) -> bool {
        self == Self::Json
    }
}

/// How much is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
    Off,
}

impl LogLevel {
    /// The word of the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
            Self::Off => "off",
        }
    }
}

/// Reads `[server]`: the process, and what holds for every request.
pub(super) fn read_server(root: &Section<'_>) -> (ServerSettings, EdgePolicy) {
    let section = root.section("server", SERVER);
    let trusted = section.list("trusted_proxies", value::network).unwrap_or_default();
    let settings = ServerSettings {
        workers: section.optional("workers", value::whole(1..=1024)),
        shutdown_grace: section.value("shutdown_grace", value::duration_or_zero),
    };
    let edge = EdgePolicy {
        trusted_proxies: trusted.into_iter().map(|found| found.value).collect(),
        version_header: section.value("version_header", value::boolean),
        forwarded: section.value("forwarded", value::boolean),
        buffered_bytes_max: section.value("max_buffered", value::size_or_unlimited),
    };
    (settings, edge)
}

/// Reads `[admin]`.
pub(super) fn read_admin(root: &Section<'_>) -> AdminSettings {
    let section = root.section("admin", ADMIN);
    let settings = AdminSettings {
        address: section.value("address", value::socket_address),
        token_file: section.readable_file("token_file"),
        socket: section.file("socket"),
    };
    if !settings.address.ip().is_loopback() && settings.token_file.is_none() {
        let problem = Problem::new(format!("{} can be reached by others", settings.address))
            .help("add `token_file = \"admin.token\"` to [admin], or listen on 127.0.0.1");
        section.error("address", problem);
    }
    settings
}

/// Reads `[state]`.
pub(super) fn read_state(root: &Section<'_>) -> PathBuf {
    let section = root.section("state", STATE);
    if section.node("etcd").is_some() {
        let problem = Problem::new("a shared state in etcd is not supported by this release");
        section.error("etcd", problem.help("take `etcd` out; the state is kept in `state.dir`"));
    }
    section.context.base.join(section.value("dir", value::path))
}

/// Reads `[log]`.
pub(super) fn read_log(root: &Section<'_>) -> LogSettings {
    const FORMATS: [(&str, LogFormat); 2] = [("json", LogFormat::Json), ("text", LogFormat::Text)];
    const LEVELS: [LogLevel; 6] = [
        LogLevel::Error,
        LogLevel::Warn,
        LogLevel::Info,
        LogLevel::Debug,
        LogLevel::Trace,
        LogLevel::Off,
    ];
    let section = root.section("log", LOG);
    LogSettings {
        format: section.value("format", value::word(&FORMATS)),
        level: section.value("level", value::word(&LEVELS.map(|level| (level.as_str(), level)))),
        access: section.value("access", value::boolean),
    }
}

/// Reads `[metrics]`: the upper bounds of duration buckets, in seconds.
pub(super) fn read_buckets(root: &Section<'_>) -> Vec<f64> {
    const KEY: &str = "duration_buckets";
    let section = root.section("metrics", METRICS);
    let bounds = section.list(KEY, value::duration).unwrap_or_default();
    if bounds.len() > DURATION_BOUNDS_MAX {
        let problem = Problem::new(format!("{} buckets are too many", bounds.len()));
        section.error(KEY, problem.help(format!("use at most {DURATION_BOUNDS_MAX}")));
    } else if section.is_empty_list(KEY) {
        section.error(KEY, Problem::new("there is no bucket").help("leave the key out"));
    }
    for pair in bounds.windows(2) {
        if pair[0].value >= pair[1].value {
            let problem = Problem::new("the bounds of buckets must ascend");
            let (one, two) = (pair[0].place, pair[1].place);
            let problem = problem.related(one, "this one is not shorter");
            section.context.findings.error(two, &section.path_of(KEY), problem);
        }
    }
    bounds.iter().map(|bound| bound.value.as_secs_f64()).collect()
}
