//! What a new file means for live traffic: the three-way merge of file, live and base.
//!
//! The base is what the file declared when live traffic was made ([`Traffic::declared`]). A key
//! that the file still declares as then keeps its live value; one that it declares otherwise is
//! the operator's newer intention and takes the file's. Weights are compared as shares: writing
//! the same split in other units, or naming a version with zero, is no new intention.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::change::shadow_words;
use crate::name::{ServiceName, VersionName};
use crate::plan::{ServicePlan, VersionPlan};
use crate::traffic::{Declared, ShadowRule, Traffic, TrafficMap};
use crate::weight::Weights;

/// The traffic after a merge and what an operator should know of it.
#[derive(Debug, Clone)]
pub struct Merged {
    /// Exactly the services of the file. Those that did not change share their traffic with the
    /// live state.
    pub traffic: TrafficMap,
    pub notes: Vec<Note>,
}

/// Something live that a merge replaced or dropped, in words, with both values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    pub service: ServiceName,
    pub text: String,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "service `{}`: {}", self.service, self.text)
    }
}

/// Merges the plans of a file with live traffic. A hold survives: it was acknowledged.
pub fn merge(plans: &BTreeMap<ServiceName, Arc<ServicePlan>>, live: &TrafficMap) -> Merged {
    let mut merged = Merged { traffic: TrafficMap::new(), notes: Vec::new() };
    for (name, plan) in plans {
        let traffic = match live.get(name) {
            None => Arc::new(Traffic::of(plan)),
            Some(old) => {
                let mut service = Service { plan, traffic: old.as_ref().clone(), notes: vec![] };
                service.merge();
                let note = |text| Note { service: name.clone(), text };
                merged.notes.extend(service.notes.into_iter().map(note));
                if service.traffic == **old { old.clone() } else { Arc::new(service.traffic) }
            }
        };
        merged.traffic.insert(name.clone(), traffic);
    }
    for (name, old) in live.iter().filter(|(name, _)| !plans.contains_key(*name)) {
        let text = format!("is no longer in the file; its traffic ({}) is dropped", old.weights);
        merged.notes.push(Note { service: name.clone(), text });
    }
    merged
}

struct Service<'a> {
    plan: &'a ServicePlan,
    /// Live at first, merged at the end.
    traffic: Traffic,
    notes: Vec<String>,
}

impl Service<'_> {
    /// Versions come first: what they leave over bounds everything after.
    fn merge(&mut self) {
        self.merge_versions();
        self.merge_weights();
        self.merge_shadow();
        self.merge_draining();
        self.traffic.declared = Declared::of(self.plan);
    }

    /// The file does not say when it got a version, so there is no telling which plan is newer;
    /// the file wins because it is what a restart elsewhere would read.
    fn merge_versions(&mut self) {
        let Self { plan, traffic, notes } = self;
        traffic.added.retain(|name, added| match plan.versions.get(name) {
            None => true,
            Some(declared) if declared == added => false,
            Some(_) => {
                notes.push(format!(
                    "version `{name}` is in the file now, otherwise than it was registered at run \
                     time; the file's is used"
                ));
                false
            }
        });
    }

    fn merge_weights(&mut self) {
        let (file, live) = (&self.plan.weights, &self.traffic.weights);
        if !file.same_shares(&self.traffic.declared.weights) {
            if live != file {
                if !file.same_shares(live) {
                    self.notes.push(format!(
                        "weights are now {file} as the file says; live were {live}, and the file \
                         said {}",
                        self.traffic.declared.weights
                    ));
                }
                self.traffic = self.traffic.with_weights(file.clone());
            }
            return;
        }
        let lost = live.iter().find(|(version, weight)| *weight > 0 && !self.has(version));
        if let Some((version, _)) = lost {
            self.notes.push(format!(
                "weights are now {file} as the file says; live were {live}, but there is no \
                 version `{version}` any more"
            ));
            self.traffic = self.traffic.with_weights(file.clone());
        } else if live.iter().any(|(version, _)| !self.has(version)) {
            // What is gone had no weight: nobody moves.
            let kept = live.iter().filter(|(version, _)| self.has(version));
            let kept = kept.map(|(version, weight)| (version.clone(), weight)).collect();
            if let Ok(weights) = Weights::new(kept) {
                self.traffic = self.traffic.with_weights(weights);
            }
        }
    }

    fn merge_shadow(&mut self) {
        let (file, live) = (&self.plan.shadow, &self.traffic.shadow);
        let words = |rule: &Option<ShadowRule>| shadow_words(rule.as_ref());
        if *file != self.traffic.declared.shadow {
            if live != file {
                self.notes.push(format!(
                    "the shadow is now {} as the file says; live was {}, and the file said {}",
                    words(file),
                    words(live),
                    words(&self.traffic.declared.shadow)
                ));
            }
            self.traffic.shadow = file.clone();
            return;
        }
        let named = live.iter().flat_map(|rule| [Some(&rule.version), rule.secondary.as_ref()]);
        let lost = named.flatten().find(|version| !self.has(version));
        if let Some(version) = lost {
            self.notes.push(format!(
                "the shadow is now {} as the file says; live was {}, but there is no version \
                 `{version}` any more",
                words(file),
                words(live)
            ));
            self.traffic.shadow = file.clone();
        }
    }

    fn merge_draining(&mut self) {
        let kept: Vec<_> = self.traffic.draining.iter().filter(|name| self.has(name)).collect();
        let kept = kept.into_iter().cloned().collect();
        let before = std::mem::replace(&mut self.traffic.draining, kept);
        for version in before.difference(&self.traffic.draining) {
            self.notes.push(format!("version `{version}` was draining and is gone"));
        }
        let has = |version: &VersionName, address| {
            self.version(version).is_some_and(|plan| plan.endpoints.contains(address))
        };
        let kept = self.traffic.draining_endpoints.iter();
        let kept: Vec<_> = kept.filter(|(version, address)| has(version, address)).collect();
        let kept = kept.into_iter().cloned().collect();
        let before = std::mem::replace(&mut self.traffic.draining_endpoints, kept);
        for (version, address) in before.difference(&self.traffic.draining_endpoints) {
            self.notes.push(format!("endpoint {address} of `{version}` was draining and is gone"));
        }
    }

    fn version(&self, name: &VersionName) -> Option<&Arc<VersionPlan>> {
        self.traffic.added.get(name).or_else(|| self.plan.versions.get(name))
    }

    fn has(&self, name: &VersionName) -> bool {
        self.version(name).is_some()
    }
}
