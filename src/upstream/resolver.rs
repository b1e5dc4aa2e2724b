//! Names of endpoints: resolved, and again as their records' time ends.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::JoinHandle;

use super::Endpoint;
use crate::snapshot::Snapshot;

/// Bounds on how long an answer is used.
const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(300);
/// After a name could not be resolved; its last addresses stay in use.
const AGAIN: Duration = Duration::from_secs(5);

/// Keeps a task for every endpoint with a name.
#[derive(Debug, Default)]
pub struct Resolver {
    tasks: Mutex<HashMap<u32, JoinHandle<()>>>,
}

impl Resolver {
    /// Nothing is resolved yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Resolves the names of a snapshot, and no longer those that it does not name.
    pub fn reconcile(&self, snapshot: &Snapshot) {
        let named: HashMap<u32, Arc<Endpoint>> = endpoints(snapshot)
            .filter(|endpoint| endpoint.identity.address.literal().is_none())
            .map(|endpoint| (endpoint.id, endpoint))
            .collect();
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        tasks.retain(|id, task| {
            let stays = named.contains_key(id);
            if !stays {
                task.abort();
            }
            stays
        });
        for (id, endpoint) in named {
            tasks.entry(id).or_insert_with(|| tokio::spawn(follow(endpoint)));
        }
    }

    /// Waits until every name was resolved, for at most `bound`.
    pub async fn first_round(&self, snapshot: &Snapshot, bound: Duration) {
        let all = async {
            while endpoints(snapshot).any(|endpoint| endpoint.addresses().is_empty()) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        if tokio::time::timeout(bound, all).await.is_err() {
            tracing::warn!("some names are not resolved yet");
        }
    }
}

fn endpoints(snapshot: &Snapshot) -> impl Iterator<Item = Arc<Endpoint>> {
    let versions = snapshot.services.iter().flat_map(|service| &service.versions);
    versions.flat_map(|version| &version.endpoints).map(|slot| slot.endpoint.clone())
}

async fn follow(endpoint: Arc<Endpoint>) {
    let mut warned = false;
    loop {
        let wait = match look_up(&endpoint).await {
            Ok(ttl) => {
                warned = false;
                ttl.clamp(SHORTEST, LONGEST)
            }
            Err(error) => {
                if !std::mem::replace(&mut warned, true) {
                    tracing::warn!(%error, endpoint = endpoint.label, "cannot resolve the name");
                }
                AGAIN
            }
        };
        tokio::time::sleep(wait).await;
    }
}

async fn look_up(endpoint: &Endpoint) -> Result<Duration, String> {
    let address = &endpoint.identity.address;
    let builder = hickory_resolver::Resolver::builder_tokio().map_err(|error| error.to_string())?;
    let resolver = builder.build().map_err(|error| error.to_string())?;
    let found =
        resolver.lookup_ip(address.host.as_ref()).await.map_err(|error| error.to_string())?;
    let mut addresses: Vec<_> =
        found.iter().map(|ip| std::net::SocketAddr::new(ip, address.port)).collect();
    addresses.sort();
    if addresses.is_empty() {
        return Err("the name has no address".into());
    }
    endpoint.set_addresses(addresses);
    let until = found.valid_until();
    Ok(until.saturating_duration_since(crate::clock::now()))
}
