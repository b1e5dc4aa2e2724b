//! What is a proxy under test set up to do?

use std::net::SocketAddr;

use crate::backend::Backends;
use crate::certificate::Certificate;

/// Share of the requests that go to green, in percent; the rest goes to blue.
pub const GREEN_PERCENT: u32 = 10;
/// Idle connections that a peer keeps to an upstream: as many as any workload has in flight.
pub const UPSTREAMS_KEPT: usize = 2048;
/// The versions behind a proxy, in the order in which [`Work::of`] expects their endpoints.
pub const VERSIONS: [&str; 3] = ["blue", "green", "shadow"];

/// The same work for every proxy of a comparison.
#[derive(Clone, Copy)]
pub struct Work<'a> {
    /// Where blue answers.
    pub blue: SocketAddr,
    /// Where green answers.
    pub green: SocketAddr,
    /// Where a copy of every request goes, if any.
    pub shadow: Option<SocketAddr>,
    /// Speaks TLS 1.3 to clients and shows this; plain HTTP without one.
    pub certificate: Option<&'a Certificate>,
    /// Whether the versions speak HTTP/2, by prior knowledge.
    pub streams: bool,
    /// What it is tuned for.
    pub tuning: Tuning,
    /// Writes a line for every request to a file.
    pub logged: bool,
}

impl<'a> Work<'a> {
    /// Plain HTTP and small bodies, no copies, no access log; [`VERSIONS`] stand behind it.
    pub fn of(backends: &Backends) -> Work<'a> {
        let (blue, green) = (backends.endpoint(0).address, backends.endpoint(1).address);
        let (shadow, certificate, tuning) = (None, None, Tuning::Small);
        Work { blue, green, shadow, certificate, streams: false, tuning, logged: false }
    }
}

/// For which bodies a proxy is tuned; each is measured with what suits it best.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tuning {
    /// Defaults.
    Small,
    /// Buffers that hold a 64 KiB answer; splicing in haproxy.
    Large,
}
