//! Reaching a version's endpoints: who they are, whether they are well, which one to take.

pub mod endpoint;
pub mod pick;
pub mod prober;
pub mod registry;
pub mod resolver;
pub mod tls;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::name::VersionName;
use crate::plan::VersionPlan;

pub use self::endpoint::Endpoint;
pub use self::registry::Registry;

/// A version of a service, ready to be asked.
#[derive(Debug)]
pub struct Version {
    /// Dense number of (service, version), stable over revisions; what counters are kept by.
    pub id: u32,
    pub name: VersionName,
    pub plan: Arc<VersionPlan>,
    pub endpoints: Vec<Slot>,
    /// Whether it takes no new cohorts.
    pub draining: bool,
    /// Requests in flight on all workers, counted only while one of its bounds is set.
    pub in_flight: Arc<AtomicU32>,
}

/// An endpoint's place in a version.
#[derive(Debug, Clone)]
pub struct Slot {
    pub endpoint: Arc<Endpoint>,
    /// Whether it takes no new requests.
    pub draining: bool,
}

impl Version {
    /// Whether any endpoint can take a request. An ejection never takes the last one.
    pub fn is_usable(&self) -> bool {
        self.endpoints.iter().any(|slot| !slot.draining && slot.endpoint.is_healthy())
    }

    /// Whether it can take one more request now: it is usable, and neither it nor all its endpoints
    /// have as many as they may.
    pub fn can_take(&self) -> bool {
        let bounds = &self.plan.bounds;
        let in_flight = || self.in_flight.load(Ordering::Relaxed);
        let open = |slot: &Slot| !slot.draining && slot.endpoint.is_healthy() && self.fits(slot);
        bounds.max_in_flight.is_none_or(|max| in_flight() < max) && self.endpoints.iter().any(open)
    }

    /// Whether an endpoint may be given one more request.
    pub fn fits(&self, slot: &Slot) -> bool {
        let max = self.plan.bounds.max_in_flight_per_endpoint;
        max.is_none_or(|max| slot.endpoint.in_flight.load(Ordering::Relaxed) < max)
    }

    /// Counts one more request to the endpoint at `place`; `None` when it or the version has as many
    /// as it may. Costs nothing while there are no bounds.
    pub fn enter(&self, place: usize) -> Option<Permit> {
        let bounds = &self.plan.bounds;
        if bounds.max_in_flight.is_none() && bounds.max_in_flight_per_endpoint.is_none() {
            return Some(Permit(None));
        }
        let endpoint = &self.endpoints[place].endpoint;
        let of_version = self.in_flight.fetch_add(1, Ordering::Relaxed);
        let of_endpoint = endpoint.in_flight.fetch_add(1, Ordering::Relaxed);
        let permit = Permit(Some((self.in_flight.clone(), endpoint.clone())));
        let fits = bounds.max_in_flight.is_none_or(|max| of_version < max)
            && bounds.max_in_flight_per_endpoint.is_none_or(|max| of_endpoint < max);
        fits.then_some(permit)
    }
}

/// One request within a version's bounds; ends when dropped.
#[derive(Debug)]
pub struct Permit(Option<(Arc<AtomicU32>, Arc<Endpoint>)>);

impl Permit {
    /// For a request that no bound is about.
    pub fn unbounded() -> Self {
        Self(None)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some((version, endpoint)) = &self.0 {
            version.fetch_sub(1, Ordering::Relaxed);
            endpoint.in_flight.fetch_sub(1, Ordering::Relaxed);
        }
    }
}
