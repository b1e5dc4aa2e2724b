//! An endpoint: its identity and its health machine.
//!
//! Live state is kept by identity and outlives revisions: a weight edit during an incident must
//! not bring an ejected endpoint back. Workers read it and never wait for it.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;

use super::tls::ClientTls;
use crate::clock;
use crate::plan::{Address, HealthPlan, OutlierPlan, Protocol, TlsPlan};
use crate::proxy_header::{self, ProxyVersion};

/// The share of an endpoint that takes part as the others do.
pub const FULL_SHARE: u64 = 1024;
/// The share of one that has just come back: enough to see whether it answers.
const LEAST_SHARE: u64 = 32;

/// What makes an endpoint the same one: weights, services and versions are not part of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Identity {
    pub address: Address,
    pub protocol: Protocol,
    pub tls: TlsPlan,
    /// Two versions that check the same address differently have two opinions of it.
    pub health_path: Option<String>,
    pub proxy_protocol: Option<ProxyVersion>,
}

/// Whether an endpoint is well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Status {
    /// New and not yet checked: takes no requests.
    Adding = 0,
    Healthy = 1,
    Unhealthy = 2,
}

impl Status {
    /// The word of the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Adding => "adding",
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
        }
    }

    fn from_code(code: u8) -> Self {
        match code {
            1 => Self::Healthy,
            2 => Self::Unhealthy,
            _ => Self::Adding,
        }
    }

    /// The status after one more probe, given the passes (positive) or failures (negative) in a
    /// row. The first pass of a new endpoint is enough: it has no bad record to outlive.
    pub fn after(self, streak: i64, plan: &HealthPlan) -> Self {
        let passes = i64::from(plan.healthy_after);
        let failures = i64::from(plan.unhealthy_after);
        match self {
            Self::Adding if streak > 0 => Self::Healthy,
            Self::Adding | Self::Healthy if -streak >= failures => Self::Unhealthy,
            Self::Unhealthy if streak >= passes => Self::Healthy,
            same => same,
        }
    }
}

/// One `host:port` that serves a version, shared by every revision that names it.
#[derive(Debug)]
pub struct Endpoint {
    /// Dense number of the identity; what workers keep pools by.
    pub id: u32,
    pub identity: Identity,
    /// The address as it is shown.
    pub label: String,
    /// For `https` and `h2`.
    pub tls: Option<ClientTls>,
    status: AtomicU8,
    failures_in_a_row: AtomicU32,
    /// Milliseconds of the process clock until which it is ejected; 0 is never.
    ejected_until: AtomicU64,
    /// Milliseconds of the process clock when it came back from being unhealthy; 0 is never.
    back_since: AtomicU64,
    /// Requests of versions with bounds, on all workers.
    pub in_flight: AtomicU32,
    addresses: ArcSwap<Vec<SocketAddr>>,
}

impl Endpoint {
    /// A new endpoint. Without active checks it is healthy from the start.
    pub fn new(id: u32, identity: Identity, tls: Option<ClientTls>) -> Self {
        let status = match identity.health_path {
            Some(_) => Status::Adding,
            None => Status::Healthy,
        };
        let addresses = identity.address.literal().into_iter().collect::<Vec<_>>();
        Self {
            id,
            label: identity.address.to_string(),
            identity,
            tls,
            status: AtomicU8::new(status as u8),
            failures_in_a_row: AtomicU32::new(0),
            ejected_until: AtomicU64::new(0),
            back_since: AtomicU64::new(0),
            in_flight: AtomicU32::new(0),
            addresses: ArcSwap::from_pointee(addresses),
        }
    }

    /// What active checks say.
    pub fn status(&self) -> Status {
        Status::from_code(self.status.load(Ordering::Acquire))
    }

    /// Sets what active checks say; returns what they said before. One that was down by them and
    /// comes back has been restarted or mended: what its former self was ejected for is over.
    pub fn set_status(&self, status: Status) -> Status {
        let before = Status::from_code(self.status.swap(status as u8, Ordering::AcqRel));
        if before == Status::Unhealthy && status == Status::Healthy {
            self.ejected_until.store(0, Ordering::Relaxed);
            self.failures_in_a_row.store(0, Ordering::Relaxed);
            let now = clock::process_ms(clock::now());
            self.back_since.store(now.max(1), Ordering::Relaxed);
        }
        before
    }

    /// Whether active checks allow requests.
    pub fn is_healthy(&self) -> bool {
        self.status() == Status::Healthy
    }

    /// Whether it is taken out for failing, at `now_ms` of the process clock.
    pub fn is_ejected(&self, now_ms: u64) -> bool {
        self.ejected_until.load(Ordering::Relaxed) > now_ms
    }

    /// The share of its requests that it gets at `now_ms`, of [`FULL_SHARE`]: less while it starts
    /// slowly after it came back.
    pub fn share(&self, now_ms: u64, slow_start: Duration) -> u64 {
        if slow_start.is_zero() {
            return FULL_SHARE;
        }
        let ejected = self.ejected_until.load(Ordering::Relaxed);
        match self.back_since.load(Ordering::Relaxed).max(ejected) {
            0 => FULL_SHARE,
            since => {
                let passed = u128::from(now_ms.saturating_sub(since));
                let share = passed * u128::from(FULL_SHARE) / slow_start.as_millis().max(1);
                u64::try_from(share).unwrap_or(FULL_SHARE).clamp(LEAST_SHARE, FULL_SHARE)
            }
        }
    }

    /// Notes a good attempt. Writes only after a failure, so that the line stays shared.
    pub fn note_success(&self) {
        if self.failures_in_a_row.load(Ordering::Relaxed) != 0 {
            self.failures_in_a_row.store(0, Ordering::Relaxed);
        }
    }

    /// Notes a failed attempt; returns whether it was just ejected. One that is, and is used all the same
    /// because there is no other, stays so for longer, and is not ejected anew: under load it would be
    /// thousands of times a second.
    pub fn note_failure(&self, now_ms: u64, plan: &OutlierPlan) -> bool {
        if plan.consecutive_failures == 0 {
            return false;
        }
        let failures = self.failures_in_a_row.fetch_add(1, Ordering::Relaxed) + 1;
        if failures < plan.consecutive_failures {
            return false;
        }
        self.failures_in_a_row.store(0, Ordering::Relaxed);
        let until = now_ms.saturating_add(plan.eject_for.as_millis() as u64);
        self.ejected_until.swap(until, Ordering::Relaxed) <= now_ms
    }

    /// What a connection begins with that is made for no client: a probe's, or a copy's.
    pub fn own_header(&self) -> Vec<u8> {
        let version = self.identity.proxy_protocol;
        version.map_or_else(Vec::new, |version| proxy_header::write(version, None))
    }

    /// Where to connect; empty while a name is not resolved.
    pub fn addresses(&self) -> arc_swap::Guard<std::sync::Arc<Vec<SocketAddr>>> {
        self.addresses.load()
    }

    /// Sets where to connect, as a name's records change.
    pub fn set_addresses(&self, addresses: Vec<SocketAddr>) {
        self.addresses.store(addresses.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan() -> HealthPlan {
        HealthPlan {
            path: "/".into(),
            interval: Duration::from_secs(1),
            timeout: Duration::from_secs(1),
            healthy_after: 2,
            unhealthy_after: 3,
            expect: vec![],
        }
    }

    #[test]
    fn status_follows_streaks() {
        let cases = [
            (Status::Adding, 1, Status::Healthy),
            (Status::Adding, -1, Status::Adding),
            (Status::Adding, -3, Status::Unhealthy),
            (Status::Healthy, -2, Status::Healthy),
            (Status::Healthy, -3, Status::Unhealthy),
            (Status::Unhealthy, 1, Status::Unhealthy),
            (Status::Unhealthy, 2, Status::Healthy),
        ];
        for (from, streak, to) in cases {
            assert_eq!(from.after(streak, &plan()), to, "{from:?} {streak}");
        }
    }

    fn endpoint() -> Endpoint {
        let identity = Identity {
            address: Address::parse("127.0.0.1:1").unwrap(),
            protocol: Protocol::Http1,
            tls: TlsPlan::default(),
            health_path: None,
            proxy_protocol: None,
        };
        Endpoint::new(0, identity, None)
    }

    #[test]
    fn failures_in_a_row_eject_for_a_while() {
        let endpoint = endpoint();
        let outlier = OutlierPlan { consecutive_failures: 2, eject_for: Duration::from_millis(10) };
        assert!(!endpoint.note_failure(5, &outlier));
        endpoint.note_success();
        assert!(!endpoint.note_failure(5, &outlier));
        assert!(endpoint.note_failure(5, &outlier));
        assert!(endpoint.is_ejected(14) && !endpoint.is_ejected(15));
        let again = [8, 8, 18, 18].map(|now| endpoint.note_failure(now, &outlier));
        assert_eq!(again, [false, false, false, true], "ejected anew only once it was back");
        assert!(endpoint.is_ejected(27) && !endpoint.is_ejected(28));
        let endpoint = self::endpoint();
        assert!([5, 5].map(|now| endpoint.note_failure(now, &outlier))[1]);
        endpoint.set_status(Status::Healthy);
        assert!(
            endpoint.is_ejected(14),
            "checks that never failed say nothing of requests that do"
        );
        endpoint.set_status(Status::Unhealthy);
        endpoint.set_status(Status::Healthy);
        assert!(!endpoint.is_ejected(14));
    }

    #[test]
    fn one_that_comes_back_gets_its_share_bit_by_bit() {
        let endpoint = endpoint();
        let slow = Duration::from_millis(1000);
        assert_eq!(endpoint.share(5, slow), FULL_SHARE, "it was never away");
        let outlier = OutlierPlan { consecutive_failures: 1, eject_for: Duration::from_millis(10) };
        assert!(endpoint.note_failure(100, &outlier));
        for (now, share) in [(110, LEAST_SHARE), (360, 256), (610, 512), (1110, FULL_SHARE)] {
            assert_eq!(endpoint.share(now, slow), share, "{now}");
            assert_eq!(endpoint.share(now, Duration::ZERO), FULL_SHARE, "{now}");
        }
    }
}
