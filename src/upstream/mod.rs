//! Reaching a version's endpoints: who they are, whether they are well, which one to take.

pub mod endpoint;
pub mod pick;
pub mod prober;
pub mod registry;
pub mod resolver;
pub mod tls;

use std::sync::Arc;

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
}
