//! Endpoints by identity, and the dense numbers of routes and versions: what outlives revisions.

use std::collections::HashMap;
use std::sync::atomic::AtomicU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::endpoint::{Endpoint, Identity};
use super::tls::ClientTls;
use crate::name::{RouteName, ServiceName, VersionName};

/// Hands out endpoints and numbers. Used by the control plane when it compiles, never by a request.
#[derive(Debug, Default)]
pub struct Registry {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    endpoints: HashMap<Identity, Weak<Endpoint>>,
    endpoints_ever: u32,
    /// Shared with whoever looks many of them up.
    routes: Arc<HashMap<RouteName, u32>>,
    versions: HashMap<(ServiceName, VersionName), u32>,
    route_names: Vec<RouteName>,
    version_names: Vec<(ServiceName, VersionName)>,
    in_flight: HashMap<u32, Arc<AtomicU32>>,
    held: HashMap<ServiceName, Arc<AtomicU32>>,
}

impl Registry {
    /// The endpoint of this identity: the living one if any revision names it, else a new one.
    /// Fails when the roots for its TLS cannot be read.
    pub fn endpoint(&self, identity: Identity) -> Result<Arc<Endpoint>, String> {
        if let Some(endpoint) = self.lock().endpoints.get(&identity).and_then(Weak::upgrade) {
            return Ok(endpoint);
        }
        let tls = ClientTls::of(&identity)?;
        let mut inner = self.lock();
        let id = inner.endpoints_ever;
        inner.endpoints_ever += 1;
        let endpoint = Arc::new(Endpoint::new(id, identity.clone(), tls));
        inner.endpoints.retain(|_, endpoint| endpoint.strong_count() > 0);
        inner.endpoints.insert(identity, Arc::downgrade(&endpoint));
        Ok(endpoint)
    }

    /// Every endpoint that some revision names.
    pub fn living(&self) -> Vec<Arc<Endpoint>> {
        self.lock().endpoints.values().filter_map(Weak::upgrade).collect()
    }

    /// The number of a route.
    pub fn route(&self, name: &RouteName) -> u32 {
        let mut inner = self.lock();
        if let Some(id) = inner.routes.get(name) {
            return *id;
        }
        let id = inner.route_names.len() as u32;
        inner.route_names.push(name.clone());
        Arc::make_mut(&mut inner.routes).insert(name.clone(), id);
        id
    }

    /// The numbers that routes have by now: to look up thousands, and nobody waits meanwhile.
    pub fn known_routes(&self) -> Arc<HashMap<RouteName, u32>> {
        self.lock().routes.clone()
    }

    /// The number of a version.
    pub fn version(&self, service: &ServiceName, version: &VersionName) -> u32 {
        let mut inner = self.lock();
        let key = (service.clone(), version.clone());
        if let Some(id) = inner.versions.get(&key) {
            return *id;
        }
        let id = inner.version_names.len() as u32;
        inner.version_names.push(key.clone());
        inner.versions.insert(key, id);
        id
    }

    /// How many requests of a version are in flight, by its number.
    pub fn in_flight(&self, version: u32) -> Arc<AtomicU32> {
        self.lock().in_flight.entry(version).or_default().clone()
    }

    /// The name of a route by its number.
    pub fn route_name(&self, id: u32) -> Option<RouteName> {
        self.lock().route_names.get(id as usize).cloned()
    }

    /// The service and version of a number.
    pub fn version_name(&self, id: u32) -> Option<(ServiceName, VersionName)> {
        self.lock().version_names.get(id as usize).cloned()
    }

    /// How many requests of a service are held.
    pub fn held(&self, service: &ServiceName) -> Arc<AtomicU32> {
        self.lock().held.entry(service.clone()).or_default().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing panics while the lock is held, so that a poisoned one still holds whole values.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
