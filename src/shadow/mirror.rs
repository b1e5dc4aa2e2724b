//! What a worker keeps at hand of a service that is mirrored.
//!
//! A copy holds on to one of these, and so neither looks for its gate nor counts on anything that
//! workers share but its permit.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::ShadowHub;
use super::gate::{Gate, Subject};
use crate::name::ServiceName;
use crate::snapshot::{Service, Shadow, Snapshot};

/// A service as one revision has it, with what becomes of its copies.
#[derive(Debug)]
pub struct Mirror {
    pub service: Arc<Service>,
    pub shadow: Arc<Shadow>,
    pub gate: Arc<Gate>,
}

/// The mirrors that one worker has met, so that it asks the hub only when a service is new.
#[derive(Debug, Default)]
pub struct Mirrors(RefCell<FxHashMap<ServiceName, Rc<Mirror>>>);

impl Mirrors {
    /// That of a service under a revision.
    pub fn get(
        &self,
        hub: &ShadowHub,
        service: &Arc<Service>,
        shadow: &Arc<Shadow>,
        revision: u64,
    ) -> Rc<Mirror> {
        let mut mirrors = self.0.borrow_mut();
        let known = mirrors.get(&service.name);
        if let Some(mirror) = known.filter(|mirror| Arc::ptr_eq(&mirror.service, service)) {
            return mirror.clone();
        }
        let gate = hub.gate(Subject::of(&service.name, &shadow.rule), revision);
        let (service, shadow) = (service.clone(), shadow.clone());
        let mirror = Rc::new(Mirror { service, shadow, gate });
        mirrors.insert(mirror.service.name.clone(), mirror.clone());
        mirror
    }

    /// Lets go of services that were changed or taken away since: they live no longer than their
    /// requests. The others stay, or a worker would ask the hub, and wait for its lock, again.
    pub fn sweep(&self, current: &Snapshot) {
        self.0.borrow_mut().retain(|name, mirror| {
            let place = current.place_of(name);
            place.is_some_and(|place| Arc::ptr_eq(&current.services[place], &mirror.service))
        });
    }
}
