//! The part of a service that changes at run time: what a revision holds of it.
//!
//! Traffic is a value. Every change makes a new one, the journal keeps it, and a rollback puts an
//! old one back, users' versions included, because the bucket table is part of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::diff::Rules;
use crate::h1::head::Method;
use crate::name::{ServiceName, VersionName};
use crate::plan::{Address, SAFE_METHODS, ServicePlan, VersionPlan};
use crate::rollout::machine::Rollout;
use crate::split::{BucketTable, bucket};
use crate::weight::Weights;

/// The traffic of every service.
pub type TrafficMap = BTreeMap<ServiceName, Arc<Traffic>>;

/// Live traffic of one service.
#[derive(Debug, Clone, PartialEq)]
pub struct Traffic {
    pub weights: Weights,
    /// What cohorts are hashed with.
    pub salt: u64,
    /// Which version each bucket belongs to. Kept for every service, so that stickiness can be
    /// turned on later without a move; `None` until a weight was positive.
    pub table: Option<BucketTable>,
    pub shadow: Option<ShadowRule>,
    pub hold: Option<HoldRule>,
    /// Versions registered at run time; they win over the file's of the same name.
    pub added: BTreeMap<VersionName, Arc<VersionPlan>>,
    /// Versions that take no new cohorts.
    pub draining: BTreeSet<VersionName>,
    /// Endpoints that take no new requests.
    pub draining_endpoints: BTreeSet<(VersionName, Address)>,
    /// The rollout that moves the weights, or the last one that did.
    pub rollout: Option<Arc<Rollout>>,
    /// The file's own traffic keys when this traffic was made: the base of the three-way merge.
    pub declared: Declared,
}

/// The traffic keys of the file for one service.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Declared {
    pub weights: Weights,
    pub shadow: Option<ShadowRule>,
}

impl Declared {
    /// Those of a plan.
    pub fn of(plan: &ServicePlan) -> Self {
        Self { weights: plan.weights.clone(), shadow: plan.shadow.clone() }
    }
}

impl Traffic {
    /// The traffic of a service whose history is empty: what the file says.
    pub fn of(plan: &ServicePlan) -> Self {
        Self {
            weights: plan.weights.clone(),
            salt: bucket::first_salt(plan.name.as_str()),
            table: BucketTable::new(&plan.weights),
            shadow: plan.shadow.clone(),
            hold: None,
            added: BTreeMap::new(),
            draining: BTreeSet::new(),
            draining_endpoints: BTreeSet::new(),
            rollout: None,
            declared: Declared::of(plan),
        }
    }

    /// The same traffic with other weights: buckets move only as far as they must. A rollout that is
    /// under way stands still from here on.
    pub fn with_weights(&self, weights: Weights) -> Self {
        let table = match &self.table {
            Some(table) => Some(table.moved_to(&weights)),
            None => BucketTable::new(&weights),
        };
        let rollout = self.rollout.as_ref().map(|rollout| Arc::new(rollout.superseded()));
        Self { weights, table, rollout, ..self.clone() }
    }

    /// The same traffic with the weights that a rollout wants.
    pub fn with_rollout(&self, rollout: Rollout) -> Self {
        let next = match rollout.weights() {
            weights if weights.same_shares(&self.weights) => self.clone(),
            weights => self.with_weights(weights),
        };
        Self { rollout: Some(Arc::new(rollout)), ..next }
    }

    /// Whether its weights are those of a rollout that was on its way.
    pub fn is_step(&self) -> bool {
        let rollout = self.rollout.as_ref().filter(|rollout| rollout.is_under_way());
        rollout.is_some_and(|rollout| rollout.weights().same_shares(&self.weights))
    }

    /// Whether live traffic differs from what the file declares.
    pub fn drifts_from(&self, plan: &ServicePlan) -> bool {
        !self.weights.same_shares(&plan.weights) || self.shadow != plan.shadow
    }
}

/// Mirroring to a shadow version.
#[derive(Debug, Clone, PartialEq)]
pub struct ShadowRule {
    pub version: VersionName,
    /// Parts per million of the eligible requests.
    pub share_ppm: u32,
    pub methods: Vec<Method>,
    /// Bytes of a body that is still compared.
    pub max_body: u64,
    /// Copies in flight at once; more are dropped and counted.
    pub max_in_flight: u32,
    /// A trusted version that gets a second copy, to measure noise.
    pub secondary: Option<VersionName>,
    pub compare: CompareRule,
}

/// How answers are compared, as written.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct CompareRule {
    /// `status`, `header:NAME`, `body:/json/pointer/*`.
    pub ignore: Vec<String>,
    pub latency_budget: Option<Duration>,
}

impl CompareRule {
    /// The rules in the form that compares. They were checked when the rule was made.
    pub fn rules(&self) -> Rules {
        Rules::parse(&self.ignore, self.latency_budget).unwrap_or_default()
    }
}

impl ShadowRule {
    /// A shadow on `version` with the defaults of the configuration.
    pub fn to(version: VersionName, share_ppm: u32) -> Self {
        Self {
            version,
            share_ppm,
            methods: SAFE_METHODS.to_vec(),
            max_body: 256 * 1024,
            max_in_flight: 256,
            secondary: None,
            compare: CompareRule::default(),
        }
    }

    /// The share in percent.
    pub fn percent(&self) -> f64 {
        f64::from(self.share_ppm) / 10_000.0
    }
}

/// Requests wait at the proxy while a version restarts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HoldRule {
    pub max_requests: u32,
    pub max_wait: Duration,
    /// Which methods wait; empty is all. Others go through.
    pub methods: Vec<Method>,
}

impl Default for HoldRule {
    fn default() -> Self {
        Self { max_requests: 1000, max_wait: Duration::from_secs(30), methods: Vec::new() }
    }
}
