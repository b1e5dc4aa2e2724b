//! Why a request cannot be served as asked: side, phase, and whether it is safe to try again.

use std::io;
use std::time::Duration;

use crate::h1::body::BodyError;
use crate::h1::head::HeadError;

/// Why the proxy answers a request itself, or why nobody answers it. The text of each is stable:
/// metrics, logs and the `type` of a problem document use it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    BodyMalformed,
    BodyTooLarge,
    BuffersFull,
    ClientGone,
    ExpectationUnknown,
    HeaderTooLarge,
    HoldOverflow,
    HoldTimeout,
    MalformedRequest,
    Misdirected,
    NoEndpoint,
    NoRoute,
    NoWeight,
    NotImplemented,
    Overloaded,
    RateLimited,
    Redirect,
    RequestTimeout,
    ShuttingDown,
    SlowClient,
    TargetTooLong,
    UpstreamBroken,
    UpstreamMalformed,
    UpstreamTimeout,
    UpstreamUnreachable,
    VersionUnsupported,
}

impl Reason {
    /// Every reason, for the docs and the tests.
    pub const ALL: [Self; 26] = [
        Self::BodyMalformed,
        Self::BodyTooLarge,
        Self::BuffersFull,
        Self::ClientGone,
        Self::ExpectationUnknown,
        Self::HeaderTooLarge,
        Self::HoldOverflow,
        Self::HoldTimeout,
        Self::MalformedRequest,
        Self::Misdirected,
        Self::NoEndpoint,
        Self::NoRoute,
        Self::NoWeight,
        Self::NotImplemented,
        Self::Overloaded,
        Self::RateLimited,
        Self::Redirect,
        Self::RequestTimeout,
        Self::ShuttingDown,
        Self::SlowClient,
        Self::TargetTooLong,
        Self::UpstreamBroken,
        Self::UpstreamMalformed,
        Self::UpstreamTimeout,
        Self::UpstreamUnreachable,
        Self::VersionUnsupported,
    ];

    /// The stable word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BodyMalformed => "body_malformed",
            Self::BodyTooLarge => "body_too_large",
            Self::BuffersFull => "buffers_full",
            Self::ClientGone => "client_gone",
            Self::ExpectationUnknown => "expectation_unknown",
            Self::HeaderTooLarge => "header_too_large",
            Self::HoldOverflow => "hold_overflow",
            Self::HoldTimeout => "hold_timeout",
            Self::MalformedRequest => "malformed_request",
            Self::Misdirected => "misdirected",
            Self::NoEndpoint => "no_endpoint",
            Self::NoRoute => "no_route",
            Self::NoWeight => "no_weight",
            Self::NotImplemented => "not_implemented",
            Self::Overloaded => "overloaded",
            Self::RateLimited => "rate_limited",
            Self::Redirect => "redirect",
            Self::RequestTimeout => "request_timeout",
            Self::ShuttingDown => "shutting_down",
            Self::SlowClient => "slow_client",
            Self::TargetTooLong => "target_too_long",
            Self::UpstreamBroken => "upstream_broken",
            Self::UpstreamMalformed => "upstream_malformed",
            Self::UpstreamTimeout => "upstream_timeout",
            Self::UpstreamUnreachable => "upstream_unreachable",
            Self::VersionUnsupported => "version_unsupported",
        }
    }
}

/// Why a connection was never taken, or was ended for a reason that is no request's; a label of
/// `tidegate_connections_refused_total`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Refusal {
    Flood,
    Handshake,
    HandshakeTimeout,
    Idle,
    Malformed,
    MaxConnections,
    MaxConnectionsPerClient,
    MaxHandshakes,
    ProxyHeader,
    ProxyHeaderTimeout,
    Silent,
}

impl Refusal {
    /// Every refusal, for the docs.
    pub const ALL: [Self; 11] = [
        Self::Flood,
        Self::Handshake,
        Self::HandshakeTimeout,
        Self::Idle,
        Self::Malformed,
        Self::MaxConnections,
        Self::MaxConnectionsPerClient,
        Self::MaxHandshakes,
        Self::ProxyHeader,
        Self::ProxyHeaderTimeout,
        Self::Silent,
    ];

    /// The stable word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Flood => "flood",
            Self::Handshake => "handshake",
            Self::HandshakeTimeout => "handshake_timeout",
            Self::Idle => "idle",
            Self::Malformed => "malformed",
            Self::MaxConnections => "max_connections",
            Self::MaxConnectionsPerClient => "max_connections_per_client",
            Self::MaxHandshakes => "max_handshakes",
            Self::ProxyHeader => "proxy_header",
            Self::ProxyHeaderTimeout => "proxy_header_timeout",
            Self::Silent => "silent",
        }
    }

    /// What it means, for a person.
    pub fn title(self) -> &'static str {
        match self {
            Self::Flood => "The client sent more of what costs it nothing than HTTP/2 allows",
            Self::Handshake => "The TLS handshake failed",
            Self::HandshakeTimeout => "The TLS handshake took too long",
            Self::Idle => "The client asked for nothing more for as long as it may be idle",
            Self::Malformed => "The client broke the rules of HTTP/2",
            Self::MaxConnections => "The listener has as many connections as it may",
            Self::MaxConnectionsPerClient => "The client has as many connections as it may",
            Self::MaxHandshakes => "As many TLS handshakes are in progress as may be",
            Self::ProxyHeader => "A trusted proxy sent no PROXY header, or a damaged one",
            Self::ProxyHeaderTimeout => "A trusted proxy's PROXY header took too long",
            Self::Silent => {
                "The client sent no byte of a request, or of what tells which HTTP it speaks"
            }
        }
    }
}

/// A request that ends without an upstream's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProxyError {
    pub reason: Reason,
    /// What was wrong, for the caller; never an upstream's address.
    pub detail: &'static str,
    /// When a repetition may be served, if that is known.
    pub retry_after: Option<Duration>,
}

impl ProxyError {
    /// An error without more to say than its reason.
    pub fn new(reason: Reason) -> Self {
        Self::with(reason, "")
    }

    /// An error with a detail for the caller.
    pub fn with(reason: Reason, detail: &'static str) -> Self {
        Self { reason, detail, retry_after: None }
    }
}

impl From<HeadError> for ProxyError {
    fn from(error: HeadError) -> Self {
        match error {
            HeadError::Bad("expect_unknown") => Self::new(Reason::ExpectationUnknown),
            HeadError::Bad(detail) => Self::with(Reason::MalformedRequest, detail),
            HeadError::TargetTooLong => Self::new(Reason::TargetTooLong),
            HeadError::TooLarge => Self::new(Reason::HeaderTooLarge),
            HeadError::NotImplemented(detail) => Self::with(Reason::NotImplemented, detail),
            HeadError::Version => Self::new(Reason::VersionUnsupported),
        }
    }
}

/// What went wrong on the client's side while a body flowed.
#[derive(Debug)]
pub enum ClientFault {
    /// It closed or reset.
    Gone,
    /// Its body could not be read.
    Body(BodyError),
    /// Its body is longer than the listener allows.
    TooLarge,
    /// It sent or read nothing for too long.
    Slow,
    /// Whoever held it up, the request as a whole took too long.
    Overdue,
}

impl From<ClientFault> for ProxyError {
    fn from(fault: ClientFault) -> Self {
        match fault {
            ClientFault::Gone => Self::new(Reason::ClientGone),
            ClientFault::Body(error) => Self::with(Reason::BodyMalformed, error.reason()),
            ClientFault::TooLarge => Self::new(Reason::BodyTooLarge),
            ClientFault::Slow => Self::new(Reason::SlowClient),
            ClientFault::Overdue => Self::new(Reason::RequestTimeout),
        }
    }
}

/// What went wrong with one attempt.
#[derive(Debug)]
pub enum UpstreamFault {
    /// The version's last usable endpoint went away after the version was chosen.
    NoEndpoint,
    /// The version or its endpoints have as many requests as they may.
    Overloaded,
    /// No connection came about: nothing was sent.
    Connect(io::Error),
    /// No connection came about in time: nothing was sent.
    ConnectTimeout,
    /// A kept connection was closed by the other side before any of its answer.
    Stale,
    /// The other side refused to look at the request, or closed the connection before it did.
    Unprocessed,
    /// The connection broke.
    Broken(&'static str),
    /// The answer is not HTTP, or lies about its length.
    Malformed(&'static str),
    /// It took too long.
    Timeout,
}

impl UpstreamFault {
    /// Whether the endpoint certainly has seen nothing of the request.
    pub fn is_unsent(&self) -> bool {
        use UpstreamFault::{Connect, ConnectTimeout, NoEndpoint, Overloaded, Unprocessed};
        matches!(self, Connect(_) | ConnectTimeout | NoEndpoint | Overloaded | Unprocessed)
    }

    /// The stable word for metrics and logs.
    pub fn reason(&self) -> Reason {
        match self {
            Self::NoEndpoint => Reason::NoEndpoint,
            Self::Overloaded => Reason::Overloaded,
            Self::Connect(_) => Reason::UpstreamUnreachable,
            Self::ConnectTimeout | Self::Timeout => Reason::UpstreamTimeout,
            Self::Stale | Self::Unprocessed | Self::Broken(_) => Reason::UpstreamBroken,
            Self::Malformed(_) => Reason::UpstreamMalformed,
        }
    }
}

/// Either side of an exchange.
#[derive(Debug)]
pub enum Fault {
    Client(ClientFault),
    Upstream(UpstreamFault),
}

impl From<ClientFault> for Fault {
    fn from(fault: ClientFault) -> Self {
        Self::Client(fault)
    }
}

impl From<UpstreamFault> for Fault {
    fn from(fault: UpstreamFault) -> Self {
        Self::Upstream(fault)
    }
}

impl From<Fault> for ProxyError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Client(fault) => fault.into(),
            Fault::Upstream(fault) => Self::new(fault.reason()),
        }
    }
}
