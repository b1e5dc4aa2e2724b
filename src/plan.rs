//! What the operator declared, checked: services, versions and their policies as plain values.
//!
//! A plan cannot be wrong in itself: every number is within its bound and every name is known. It
//! is made by `config` from the file, or by the admin API for a version registered at run time.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::h1::head::Method;
use crate::name::{ListenerName, ServiceName, VersionName};
use crate::proxy_header::ProxyVersion;
use crate::route::matcher::PinMatch;
use crate::split::CohortKey;
use crate::traffic::ShadowRule;
use crate::weight::Weights;

/// A service as the file declares it.
#[derive(Debug, Clone)]
pub struct ServicePlan {
    pub name: ServiceName,
    /// Traffic keys: what the API may change later.
    pub weights: Weights,
    pub shadow: Option<ShadowRule>,
    pub sticky: Option<CohortKey>,
    pub pins: Vec<PinPlan>,
    pub versions: BTreeMap<VersionName, Arc<VersionPlan>>,
    pub policy: ServicePolicy,
    pub rollout: Option<Arc<RolloutPlan>>,
}

/// How a service treats its requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServicePolicy {
    pub when_unavailable: WhenUnavailable,
    /// Whether a safe-to-repeat request that failed on a version is tried once on another.
    pub rescue: bool,
    /// Whether upstreams are told which version they were chosen as.
    pub upstream_version_header: bool,
    /// Until the response head, retries included.
    pub timeout: Duration,
    /// Between two pieces of a response body.
    pub read_timeout: Duration,
    pub connect_timeout: Duration,
    /// From the request's head to the last byte of its answer; `None` is no bound.
    pub request_timeout: Option<Duration>,
    pub retries: Retries,
}

impl Default for ServicePolicy {
    fn default() -> Self {
        Self {
            when_unavailable: WhenUnavailable::Others,
            rescue: true,
            upstream_version_header: false,
            timeout: Duration::from_secs(30),
            read_timeout: Duration::from_secs(60),
            connect_timeout: Duration::from_secs(1),
            request_timeout: None,
            retries: Retries { attempts: 1, budget_percent: 20 },
        }
    }
}

/// What happens to a request whose version has no usable endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenUnavailable {
    /// It goes to another version of positive weight.
    Others,
    /// It is answered with 503.
    Fail,
}

/// Retries of safe-to-repeat requests within a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retries {
    /// Attempts after the first, at most [`crate::limits::RETRIES_MAX`].
    pub attempts: u32,
    /// Retries as a share of all requests, so that a broken version is not beaten further.
    pub budget_percent: u32,
}

/// A pin: a match that fixes the version before the split.
#[derive(Debug, Clone)]
pub struct PinPlan {
    pub matches: PinMatch,
    pub version: VersionName,
}

/// A version: how to reach it and how to tell whether it is well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionPlan {
    pub endpoints: Vec<Address>,
    pub protocol: Protocol,
    /// Only for `https` and `h2`.
    pub tls: TlsPlan,
    pub health: Option<HealthPlan>,
    pub outlier: OutlierPlan,
    pub bounds: VersionBounds,
    /// What connections begin with, so that endpoints learn who the client is.
    pub proxy_protocol: Option<ProxyVersion>,
}

/// How much a version is given at a time.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct VersionBounds {
    /// Requests in flight, on all workers.
    pub max_in_flight: Option<u32>,
    /// Requests in flight to one endpoint, on all workers.
    pub max_in_flight_per_endpoint: Option<u32>,
    /// How long an endpoint that comes back gets less than its share; zero is not at all.
    pub slow_start: Duration,
}

/// A host, by name or address, and a port.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    /// In lower case; an IPv6 address without brackets.
    pub host: Arc<str>,
    pub port: u16,
}

impl Address {
    /// Parses `host:port` or `[v6]:port`. The error is a sentence fragment with the remedy.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = |why: &str| format!("`{}` {why}; write `host:port`", text.escape_debug());
        let (host, port) = text.rsplit_once(':').ok_or_else(|| wrong("has no port"))?;
        let port: u16 = port.parse().map_err(|_| wrong("has no valid port"))?;
        if port == 0 {
            return Err(wrong("has port 0"));
        }
        let bare = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
            Some(inside) if inside.parse::<std::net::Ipv6Addr>().is_ok() => inside,
            Some(_) => return Err(wrong("has brackets around what is no IPv6 address")),
            None => host,
        };
        let label = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        let is_v6 = bare != host;
        if bare.is_empty() || bare.len() > 253 || !(is_v6 || bare.chars().all(label)) {
            return Err(wrong("has no valid host"));
        }
        Ok(Self { host: bare.to_ascii_lowercase().into(), port })
    }

    /// The socket address, when the host is an address and not a name.
    pub fn literal(&self) -> Option<SocketAddr> {
        Some(SocketAddr::new(self.host.parse().ok()?, self.port))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

/// What is spoken to an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    Http1,
    H2c,
    Https,
    H2,
}

impl Protocol {
    /// The word of the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http1 => "http1",
            Self::H2c => "h2c",
            Self::Https => "https",
            Self::H2 => "h2",
        }
    }

    /// Whether the connection is encrypted.
    pub fn is_tls(self) -> bool {
        matches!(self, Self::Https | Self::H2)
    }

    /// Whether requests share a connection.
    pub fn is_h2(self) -> bool {
        matches!(self, Self::H2c | Self::H2)
    }
}

/// How an upstream's certificate is verified, and what is shown to it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct TlsPlan {
    /// PEM file of the roots to trust instead of the system's.
    pub ca: Option<PathBuf>,
    /// The name to verify and to send as SNI; by default the endpoint's host.
    pub server_name: Option<String>,
    /// What is shown to an upstream that asks who we are.
    pub client: Option<ClientCert>,
}

/// A certificate chain of our own and its key, both PEM.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClientCert {
    pub cert: PathBuf,
    pub key: PathBuf,
}

/// Active health checks.
#[derive(Debug, Clone, PartialEq)]
pub struct HealthPlan {
    pub path: String,
    pub interval: Duration,
    pub timeout: Duration,
    /// Passes in a row until an unhealthy endpoint is healthy again.
    pub healthy_after: u32,
    /// Failures in a row until a healthy endpoint is unhealthy.
    pub unhealthy_after: u32,
    /// JSON pointers into the probe's body, and the values they must hold.
    pub expect: Vec<(String, serde_json::Value)>,
}

impl Eq for HealthPlan {}

/// Passive ejection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutlierPlan {
    /// Failed attempts in a row; 0 turns ejection off.
    pub consecutive_failures: u32,
    pub eject_for: Duration,
}

impl Default for OutlierPlan {
    fn default() -> Self {
        Self { consecutive_failures: 5, eject_for: Duration::from_secs(30) }
    }
}

/// Moving weight to a version step by step, with gates between the steps.
#[derive(Debug, Clone, PartialEq)]
pub struct RolloutPlan {
    pub to: VersionName,
    /// At least one, their shares ascending.
    pub steps: Vec<Step>,
    /// The time of a step that says none itself, at least.
    pub step_duration: Duration,
    /// The plain gate on errors, in parts per million of requests.
    pub max_error_ppm: Option<u32>,
    /// The plain gate on latency: percentiles with their bounds.
    pub max_latency: Vec<(u8, Duration)>,
    /// The plain gate on the shadow's answers, in parts per million of those compared.
    pub max_mismatch_ppm: Option<u32>,
    pub analysis: AnalysisPlan,
    pub pace: Pace,
    pub advance: Advance,
    /// If it is still undecided after this, it pauses.
    pub max_duration: Duration,
    pub on_regression: OnRegression,
}

impl RolloutPlan {
    /// A rollout to a version with the defaults of the configuration.
    pub fn to(version: VersionName) -> Self {
        Self {
            to: version,
            steps: [100_000, 250_000, 500_000, 750_000, 1_000_000].map(Step::to).into(),
            step_duration: Duration::from_secs(300),
            max_error_ppm: None,
            max_latency: Vec::new(),
            max_mismatch_ppm: None,
            analysis: AnalysisPlan {
                alpha: 0.01,
                error_ratio: 1.1,
                error_margin_ppm: 100,
                latency_ratio: 1.1,
                min_requests: 500,
                warm_up: Duration::ZERO,
            },
            pace: Pace::Steps,
            advance: Advance::Safe,
            max_duration: Duration::from_secs(24 * 3600),
            on_regression: OnRegression::Rollback,
        }
    }
}

/// One step of a rollout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// Parts per million.
    pub share_ppm: u32,
    /// Its time, if it is not that of all.
    pub duration: Option<Duration>,
    /// Whether an operator ends it, beside time, gates and verdict.
    pub manual: bool,
}

impl Step {
    /// A step to a share like all others.
    pub fn to(share_ppm: u32) -> Self {
        Self { share_ppm, duration: None, manual: false }
    }

    /// What comes behind the share in a text like `25% for 10m, manual`.
    ///
    /// # Errors
    /// What of it is not understood.
    pub fn with_terms(self, terms: &str) -> Result<Self, String> {
        let mut step = self;
        let mut words = terms.split([' ', ',']).filter(|word| !word.is_empty());
        while let Some(word) = words.next() {
            match word {
                "manual" => step.manual = true,
                "for" => {
                    let text = words.next().unwrap_or_default();
                    let duration = humantime::parse_duration(text).ok();
                    let duration = duration.filter(|duration| !duration.is_zero());
                    step.duration = Some(duration.ok_or_else(|| text.to_owned())?);
                }
                _ => return Err(word.to_owned()),
            }
        }
        Ok(step)
    }
}

impl std::fmt::Display for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}%", f64::from(self.share_ppm) / 1e4)?;
        if let Some(duration) = self.duration {
            write!(f, " for {}", humantime::format_duration(duration))?;
        }
        f.write_str(if self.manual { ", manual" } else { "" })
    }
}

/// The bounds of the sequential analysis.
#[derive(Debug, Clone, PartialEq)]
pub struct AnalysisPlan {
    /// The chance of a false alarm, between 0 and 0.5.
    pub alpha: f64,
    /// Errors may be this many times those of the baseline, at least 1.
    pub error_ratio: f64,
    /// And more by this share of requests, in parts per million.
    pub error_margin_ppm: u32,
    /// Latency may be this many times that of the baseline, at least 1.
    pub latency_ratio: f64,
    /// Requests of the version before anything is said of it.
    pub min_requests: u64,
    /// What is not judged of a rollout, from its start on: a cold start is none of the version's faults.
    pub warm_up: Duration,
}

/// What sets the pace of a rollout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// The clock.
    Steps,
    /// The data: as fast as it can exclude harm.
    Evidence,
}

impl Pace {
    /// The word of the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Steps => "steps",
            Self::Evidence => "evidence",
        }
    }

    /// What a raise needs unless the plan says: by the clock a version that is known to be safe; by
    /// evidence the share itself is bounded by what the data exclude, and waiting for safety at each
    /// small raise would only hold it back.
    pub fn usual_advance(self) -> Advance {
        match self {
            Self::Steps => Advance::Safe,
            Self::Evidence => Advance::NotRegressed,
        }
    }
}

/// What a raise needs beside time and gates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Advance {
    Safe,
    NotRegressed,
}

/// What a regression leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnRegression {
    Rollback,
    Pause,
}

/// A listener as the file declares it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenerPlan {
    pub name: ListenerName,
    pub address: SocketAddr,
    pub tls: Option<ListenerTls>,
    /// Whether trusted proxies begin their connections with a PROXY header.
    pub proxy_protocol: bool,
    /// Whether a plain connection may begin with HTTP/2.
    pub h2c: bool,
    pub limits: ListenerLimits,
}

/// Certificates of a listener; the one that is used is chosen by SNI, the first is the default.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenerTls {
    pub certs: Vec<CertPlan>,
    /// Whether clients show certificates too.
    pub clients: Option<ClientCertsPlan>,
    /// Whether a request must be for the host that its handshake named.
    pub strict_host: bool,
}

/// What certificates clients show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCertsPlan {
    /// PEM file of the roots to trust.
    pub ca: PathBuf,
    /// PEM file of the lists of revoked certificates; with one, a client whose issuer has none fails.
    pub crl: Option<PathBuf>,
    /// Whether a handshake without a certificate fails.
    pub required: bool,
}

/// A certificate chain and its key, both PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertPlan {
    pub cert: PathBuf,
    pub key: PathBuf,
    /// An OCSP response for it, DER.
    pub ocsp: Option<PathBuf>,
}

/// Bounds on what a listener's clients may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenerLimits {
    /// From the first byte of a head to its last.
    pub header_timeout: Duration,
    /// A request body may stand still for this long.
    pub body_timeout: Duration,
    /// Between two requests.
    pub idle_timeout: Duration,
    /// A client may read nothing for this long.
    pub send_timeout: Duration,
    pub handshake_timeout: Duration,
    /// Bytes.
    pub max_header_bytes: usize,
    pub max_headers: usize,
    /// Bytes; `None` is unlimited.
    pub max_body: Option<u64>,
    pub max_connections: usize,
    /// Connections of one client; `None` is unlimited.
    pub max_connections_per_client: Option<u32>,
    /// TLS handshakes in progress.
    pub max_handshakes: usize,
}

impl Default for ListenerLimits {
    fn default() -> Self {
        Self {
            header_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(75),
            send_timeout: Duration::from_secs(30),
            handshake_timeout: Duration::from_secs(10),
            max_header_bytes: 64 * 1024,
            max_headers: 100,
            max_body: None,
            max_connections: 100_000,
            max_connections_per_client: None,
            max_handshakes: 1024,
        }
    }
}

/// The methods a shadow copies unless told otherwise: those that are safe to repeat.
pub const SAFE_METHODS: [Method; 3] = [Method::Get, Method::Head, Method::Options];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_checked() {
        for good in ["127.0.0.1:80", "shop.internal:9001", "[::1]:443", "a_b:1"] {
            assert_eq!(Address::parse(good).map(|a| a.to_string()), Ok(good.to_owned()));
        }
        for bad in ["", "a", "a:", "a:0", "a:65536", ":80", "a b:1", "::1:80", "[x]:1", "h/t:1"] {
            assert!(Address::parse(bad).is_err(), "{bad}");
        }
    }
}
