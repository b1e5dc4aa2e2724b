//! What one request sees: routes and services compiled together, immutable.
//!
//! Whatever must agree for one request lives here and is replaced as one; whatever must not be
//! reset by a change lives in the registry. There is no third place.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;

use crate::diff::Rules;
use crate::name::{ServiceName, VersionName};
use crate::plan::{PinPlan, ServicePlan, VersionPlan};
use crate::route::{RouteTable, Routes};
use crate::split::Split;
use crate::traffic::{HoldRule, ShadowRule, Traffic, TrafficMap};
use crate::upstream::endpoint::Identity;
use crate::upstream::{Registry, Slot, Version};

/// The compiled state of all traffic.
#[derive(Debug, Clone)]
pub struct Snapshot {
    pub routes: Routes,
    /// In the order of names; routes hold places in it.
    pub services: Vec<Arc<Service>>,
    pub edge: Arc<EdgePolicy>,
}

/// What holds for every request, whatever its route.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EdgePolicy {
    /// Whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<ipnet::IpNet>,
    /// `X-Tidegate-Version` on responses.
    pub version_header: bool,
    /// `Forwarded` on requests.
    pub forwarded: bool,
    /// Bytes in buffers, over all workers; `None` is unlimited.
    pub buffered_bytes_max: Option<u64>,
}

/// A service ready to choose a version.
#[derive(Debug)]
pub struct Service {
    pub name: ServiceName,
    pub plan: Arc<ServicePlan>,
    pub traffic: Arc<Traffic>,
    /// In the order of names.
    pub versions: Vec<Arc<Version>>,
    pub pins: Vec<Pin>,
    pub split: Split,
    pub shadow: Option<Arc<Shadow>>,
    pub hold: Option<HoldRule>,
    /// The number of the weight under which requests are counted for a verdict; `None` when nobody
    /// will ask for one.
    pub trial: Option<u32>,
    /// Requests held now, on all workers and under all revisions.
    pub held: Arc<AtomicU32>,
}

/// A pin with the place of its version.
#[derive(Debug)]
pub struct Pin {
    pub plan: PinPlan,
    pub version: usize,
}

/// A shadow with the places of its versions.
#[derive(Debug)]
pub struct Shadow {
    pub rule: ShadowRule,
    pub rules: Arc<Rules>,
    pub version: usize,
    pub secondary: Option<usize>,
}

/// Why traffic does not fit its service. Displays as a sentence with the remedy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CompileError {
    /// A version is named that does not exist.
    UnknownVersion { service: ServiceName, version: VersionName, known: Vec<VersionName> },
    /// An endpoint cannot be made ready.
    Endpoint { service: ServiceName, version: VersionName, why: String },
}

impl std::fmt::Display for CompileError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::UnknownVersion { service, version, known } => {
                let known: Vec<_> = known.iter().map(VersionName::as_str).collect();
                write!(f, "service `{service}` has no version `{version}`")?;
                write!(f, "; it has {}", known.join(", "))
            }
            Self::Endpoint { service, version, why } => {
                write!(f, "version `{version}` of service `{service}`: {why}")
            }
        }
    }
}

impl std::error::Error for CompileError {}

impl Service {
    /// Compiles a service's traffic against its plan.
    pub fn compile(
        plan: &Arc<ServicePlan>,
        traffic: &Arc<Traffic>,
        registry: &Registry,
    ) -> Result<Self, CompileError> {
        let plans = version_plans(plan, traffic);
        let names: Vec<VersionName> = plans.keys().cloned().collect();
        let place = |version: &VersionName| {
            names.iter().position(|name| name == version).ok_or_else(|| {
                let (service, version) = (plan.name.clone(), version.clone());
                CompileError::UnknownVersion { service, version, known: names.clone() }
            })
        };
        for (version, _) in traffic.weights.iter() {
            place(version)?;
        }
        let pins = plan
            .pins
            .iter()
            .map(|pin| Ok(Pin { plan: pin.clone(), version: place(&pin.version)? }));
        let pins = pins.collect::<Result<_, CompileError>>()?;
        let shadow = traffic.shadow.as_ref().map(|rule| {
            let secondary = rule.secondary.as_ref().map(place).transpose()?;
            let version = place(&rule.version)?;
            let rules = Arc::new(rule.compare.rules());
            Ok(Arc::new(Shadow { rule: rule.clone(), rules, version, secondary }))
        });
        let shadow = shadow.transpose()?;
        let versions = plans
            .iter()
            .map(|(name, version)| compile_version(plan, traffic, name, version, registry))
            .collect::<Result<_, _>>()?;
        let table = traffic.table.as_ref().filter(|_| plan.sticky.is_some());
        Ok(Self {
            name: plan.name.clone(),
            plan: plan.clone(),
            traffic: traffic.clone(),
            versions,
            pins,
            split: Split::new(&names, &traffic.weights, traffic.salt, table),
            shadow,
            hold: traffic.hold.clone(),
            trial: trial(plan, traffic),
            held: registry.held(&plan.name),
        })
    }

    /// A version and its place by name.
    pub fn version(&self, name: &VersionName) -> Option<(usize, &Arc<Version>)> {
        self.versions.iter().enumerate().find(|(_, version)| &version.name == name)
    }
}

/// The number under which the baseline is learned before a rollout; those of a rollout are greater.
pub const BEFORE_ROLLOUT: u32 = 0;

/// Under which number requests are counted: before a rollout only if the file announces one, or if it
/// will not be the first.
fn trial(plan: &ServicePlan, traffic: &Traffic) -> Option<u32> {
    match &traffic.rollout {
        Some(rollout) if rollout.state.is_live() => Some(rollout.generation),
        last => (last.is_some() || plan.rollout.is_some()).then_some(BEFORE_ROLLOUT),
    }
}

/// The versions a service has now: the file's, and over them those registered at run time.
pub fn version_plans(
    plan: &ServicePlan,
    traffic: &Traffic,
) -> BTreeMap<VersionName, Arc<VersionPlan>> {
    let mut plans = plan.versions.clone();
    plans.extend(traffic.added.iter().map(|(name, plan)| (name.clone(), plan.clone())));
    plans
}

fn compile_version(
    service: &ServicePlan,
    traffic: &Traffic,
    name: &VersionName,
    plan: &Arc<VersionPlan>,
    registry: &Registry,
) -> Result<Arc<Version>, CompileError> {
    let slot = |address: &crate::plan::Address| {
        let identity = Identity {
            address: address.clone(),
            protocol: plan.protocol,
            tls: plan.tls.clone(),
            health_path: plan.health.as_ref().map(|health| health.path.clone()),
            proxy_protocol: plan.proxy_protocol,
        };
        let draining = traffic.draining_endpoints.contains(&(name.clone(), address.clone()));
        let endpoint = registry.endpoint(identity).map_err(|why| CompileError::Endpoint {
            service: service.name.clone(),
            version: name.clone(),
            why,
        })?;
        Ok(Slot { endpoint, draining })
    };
    let id = registry.version(&service.name, name);
    Ok(Arc::new(Version {
        id,
        in_flight: registry.in_flight(id),
        name: name.clone(),
        plan: plan.clone(),
        endpoints: plan.endpoints.iter().map(slot).collect::<Result<_, _>>()?,
        draining: traffic.draining.contains(name),
    }))
}

impl Snapshot {
    /// Compiles everything. `routes` hold places of services in the order of names.
    pub fn compile(
        routes: Routes,
        plans: &BTreeMap<ServiceName, Arc<ServicePlan>>,
        traffic: &TrafficMap,
        edge: Arc<EdgePolicy>,
        registry: &Registry,
    ) -> Result<Self, CompileError> {
        let services = plans.values().map(|plan| {
            let of_file = || Arc::new(Traffic::of(plan));
            let traffic = traffic.get(&plan.name).cloned().unwrap_or_else(of_file);
            Service::compile(plan, &traffic, registry).map(Arc::new)
        });
        Ok(Self { routes, services: services.collect::<Result<_, _>>()?, edge })
    }

    /// The same state with other traffic for one service; everything else is shared.
    pub fn with_traffic(
        &self,
        service: &ServiceName,
        traffic: &Arc<Traffic>,
        registry: &Registry,
    ) -> Result<Self, CompileError> {
        let mut next = self.clone();
        if let Some(place) = self.services.iter().position(|other| &other.name == service) {
            let plan = &self.services[place].plan;
            next.services[place] = Arc::new(Service::compile(plan, traffic, registry)?);
        }
        Ok(next)
    }

    /// A service by name.
    pub fn service(&self, name: &ServiceName) -> Option<&Arc<Service>> {
        self.services.get(self.place_of(name)?)
    }

    /// The place of a service by name.
    pub fn place_of(&self, name: &ServiceName) -> Option<usize> {
        self.services.binary_search_by(|service| service.name.cmp(name)).ok()
    }

    /// An empty state: what a proxy has before its first revision.
    pub fn empty() -> Self {
        let routes = Arc::new(RouteTable::new(Vec::new()));
        Self { routes, services: Vec::new(), edge: Arc::default() }
    }
}
