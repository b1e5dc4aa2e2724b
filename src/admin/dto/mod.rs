//! The only types of the API that are JSON, and their conversions from the domain.
//!
//! What goes out is here; what comes in is in [`request`], comparisons are in [`diffs`].

pub mod diffs;
pub mod explain;
pub mod request;
pub mod rollout;

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

use self::rollout::RolloutDto;
use crate::control::{Control, Outcome};
use crate::operations::{CutoverOutcome, Move, moves};
use crate::plan::{ServicePlan, VersionPlan};
use crate::revision::Entry;
use crate::revision::change::Change;
use crate::rollout::driver::Rollouts;
use crate::snapshot::Service;
use crate::telemetry::collector::{Gauges, Telemetry};
use crate::traffic::{HoldRule, ShadowRule, Traffic};
use crate::upstream::{Slot, Version};
use crate::weight::Weights;

/// Weights by version.
pub type WeightMap = BTreeMap<String, u32>;

/// All weights as they stand.
pub fn weights(weights: &Weights) -> WeightMap {
    weights.iter().map(|(name, weight)| (name.to_string(), weight)).collect()
}

/// Who has traffic, and how much.
fn positive(traffic: Option<&Traffic>) -> WeightMap {
    let all = traffic.map(|traffic| weights(&traffic.weights)).unwrap_or_default();
    all.into_iter().filter(|(_, weight)| *weight > 0).collect()
}

/// A duration as the configuration writes it.
pub fn duration(duration: std::time::Duration) -> String {
    humantime::format_duration(duration).to_string().replace(' ', "")
}

/// What a change did, or in a dry run would do.
#[derive(Debug, Serialize, ToSchema)]
pub struct ChangeDto {
    /// The revision in force afterwards.
    pub revision: u64,
    /// Whether nothing was changed because only the answer was wanted.
    pub dry_run: bool,
    /// Whether all was as wanted already.
    pub unchanged: bool,
    /// Whether the history on disk holds it.
    pub persisted: bool,
    /// From the swap until every worker used it, in microseconds.
    pub switched_in_us: Option<u64>,
    pub changes: Vec<ChangeLineDto>,
    /// Which share of the users moves from where to where.
    pub moves: Vec<MoveDto>,
}

/// What changed in one service.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ChangeLineDto {
    pub service: String,
    /// The positive weights before; null when the service was not there.
    pub from: Option<WeightMap>,
    /// The positive weights after; null when the service is not there any more.
    pub to: Option<WeightMap>,
    /// All of the change in one line.
    pub text: String,
}

/// A share of the users that moves.
#[derive(Debug, Serialize, ToSchema)]
pub struct MoveDto {
    pub from: String,
    pub to: String,
    /// Of the service's users, or, when it is not sticky, of its requests.
    pub percent: f64,
}

impl ChangeDto {
    /// From an outcome; `dry_run` as it was asked.
    pub fn new(outcome: &Outcome, dry_run: bool) -> Self {
        let unchanged = match (&outcome.before, &outcome.after) {
            (Some(before), Some(after)) => before == after,
            _ => outcome.switched_in.is_none(),
        };
        let both = outcome.before.as_ref().zip(outcome.after.as_ref());
        let moves = both.map(|(before, after)| moves(before, after)).unwrap_or_default();
        let micros = outcome.switched_in.map(|time| time.as_micros() as u64);
        Self {
            revision: outcome.revision,
            dry_run,
            unchanged,
            persisted: outcome.persisted,
            switched_in_us: micros.or((unchanged && !dry_run).then_some(0)),
            changes: outcome.changes.iter().map(ChangeLineDto::from).collect(),
            moves: moves.into_iter().map(MoveDto::from).collect(),
        }
    }
}

impl From<&Change> for ChangeLineDto {
    fn from(change: &Change) -> Self {
        Self {
            service: change.service.to_string(),
            from: change.from.as_deref().map(|traffic| positive(Some(traffic))),
            to: change.to.as_deref().map(|traffic| positive(Some(traffic))),
            text: change.to_string(),
        }
    }
}

impl From<Move> for MoveDto {
    fn from(step: Move) -> Self {
        Self { from: step.from.to_string(), to: step.to.to_string(), percent: step.percent }
    }
}

/// What a cutover did.
#[derive(Debug, Serialize, ToSchema)]
pub struct CutoverDto {
    #[serde(flatten)]
    pub change: ChangeDto,
    /// The weights before.
    pub from: WeightMap,
    /// The weights after.
    pub to: WeightMap,
    /// Requests that the old versions still serve.
    pub in_flight_on_old: u64,
    /// Whether those were done in time; null without `drain`.
    pub drained: Option<bool>,
}

impl CutoverDto {
    /// From an outcome; `dry_run` as it was asked.
    pub fn new(cutover: &CutoverOutcome, dry_run: bool) -> Self {
        Self {
            change: ChangeDto::new(&cutover.outcome, dry_run),
            from: positive(cutover.outcome.before.as_deref()),
            to: positive(cutover.outcome.after.as_deref()),
            in_flight_on_old: cutover.in_flight_on_old,
            drained: cutover.drained,
        }
    }
}

/// A service: what was declared, what is live, and how it is.
#[derive(Debug, Serialize, ToSchema)]
pub struct ServiceDto {
    pub service: String,
    /// The revision in force.
    pub revision: u64,
    pub live: LiveDto,
    pub declared: DeclaredDto,
    /// Whether live traffic differs from what the file declares.
    pub drift: bool,
    /// Whether a rollback would work now.
    pub rollback_ready: bool,
    pub versions: BTreeMap<String, VersionDto>,
    /// The rollout in progress, or the last one.
    pub rollout: Option<RolloutDto>,
}

/// Live traffic.
#[derive(Debug, Serialize, ToSchema)]
pub struct LiveDto {
    /// Of every version there is.
    pub weights: WeightMap,
    pub shadow: Option<ShadowDto>,
    pub hold: Option<HoldDto>,
}

/// The file's traffic.
#[derive(Debug, Serialize, ToSchema)]
pub struct DeclaredDto {
    pub weights: WeightMap,
    pub shadow: Option<ShadowDto>,
}

/// Mirroring.
#[derive(Debug, Serialize, ToSchema)]
pub struct ShadowDto {
    pub version: String,
    pub percent: f64,
    pub methods: Vec<&'static str>,
    /// Bytes.
    pub max_body: u64,
    pub max_in_flight: u32,
    pub secondary: Option<String>,
    pub compare: CompareDto,
}

/// How answers are compared.
#[derive(Debug, Serialize, ToSchema)]
pub struct CompareDto {
    pub ignore: Vec<String>,
    pub latency_budget: Option<String>,
}

impl From<&ShadowRule> for ShadowDto {
    fn from(rule: &ShadowRule) -> Self {
        Self {
            version: rule.version.to_string(),
            percent: rule.percent(),
            methods: rule.methods.iter().map(|method| method.as_label()).collect(),
            max_body: rule.max_body,
            max_in_flight: rule.max_in_flight,
            secondary: rule.secondary.as_ref().map(ToString::to_string),
            compare: CompareDto {
                ignore: rule.compare.ignore.clone(),
                latency_budget: rule.compare.latency_budget.map(duration),
            },
        }
    }
}

/// A hold.
#[derive(Debug, Serialize, ToSchema)]
pub struct HoldDto {
    pub max_requests: u32,
    pub max_wait: String,
    /// Empty is all.
    pub methods: Vec<&'static str>,
    /// Requests that wait now.
    pub waiting: Option<u32>,
}

impl HoldDto {
    fn new(rule: &HoldRule, waiting: Option<u32>) -> Self {
        Self {
            max_requests: rule.max_requests,
            max_wait: duration(rule.max_wait),
            methods: rule.methods.iter().map(|method| method.as_label()).collect(),
            waiting,
        }
    }
}

/// A version.
#[derive(Debug, Serialize, ToSchema)]
pub struct VersionDto {
    /// Its share of the split.
    pub weight_percent: f64,
    pub endpoints: Vec<EndpointDto>,
    pub protocol: &'static str,
    /// Whether it takes no new cohorts.
    pub draining: bool,
    /// `file`, or `api` for one that was registered at run time.
    pub origin: &'static str,
    pub in_flight: u64,
    pub requests_per_second: f64,
    /// Of the last seconds' requests, 0 to 1.
    pub error_rate: f64,
    pub p50_ms: Option<f64>,
    pub p99_ms: Option<f64>,
}

/// An endpoint.
#[derive(Debug, Serialize, ToSchema)]
pub struct EndpointDto {
    pub address: String,
    pub healthy: bool,
    /// `healthy`, `unhealthy`, `adding` or `draining`.
    pub state: &'static str,
    /// Whether it is left out for a while because attempts failed.
    pub ejected: bool,
    pub in_flight: u64,
}

impl EndpointDto {
    /// From a slot; `now_ms` is the process clock.
    pub fn new(slot: &Slot, gauges: &Gauges, now_ms: u64) -> Self {
        let endpoint = &slot.endpoint;
        Self {
            address: endpoint.label.clone(),
            healthy: endpoint.is_healthy(),
            state: if slot.draining { "draining" } else { endpoint.status().as_str() },
            ejected: endpoint.is_ejected(now_ms),
            in_flight: gauges.endpoint_in_flight.get(&endpoint.id).copied().unwrap_or(0),
        }
    }
}

/// What a service is shown with.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    pub revision: u64,
    pub telemetry: &'a Telemetry,
    pub rollouts: &'a Rollouts,
    pub control: &'a Control,
    pub gauges: &'a Gauges,
    pub now_ms: u64,
}

impl ServiceDto {
    /// A service as it is under a revision.
    pub fn new(service: &Service, view: View<'_>, rollback_ready: bool) -> Self {
        let traffic = &service.traffic;
        let waiting = service.held.load(std::sync::atomic::Ordering::Relaxed);
        let of = |version: &std::sync::Arc<Version>| {
            (version.name.to_string(), VersionDto::new(service, version, view))
        };
        let weight = |version: &std::sync::Arc<Version>| {
            (version.name.to_string(), traffic.weights.of(&version.name))
        };
        Self {
            service: service.name.to_string(),
            revision: view.revision,
            live: LiveDto {
                weights: service.versions.iter().map(weight).collect(),
                shadow: traffic.shadow.as_ref().map(ShadowDto::from),
                hold: traffic.hold.as_ref().map(|rule| HoldDto::new(rule, Some(waiting))),
            },
            declared: DeclaredDto::from(service.plan.as_ref()),
            drift: traffic.drifts_from(&service.plan),
            rollback_ready,
            versions: service.versions.iter().map(of).collect(),
            rollout: view.rollouts.view(service, view.control).map(RolloutDto::from),
        }
    }
}

impl From<&ServicePlan> for DeclaredDto {
    fn from(plan: &ServicePlan) -> Self {
        let shadow = plan.shadow.as_ref().map(ShadowDto::from);
        Self { weights: weights(&plan.weights), shadow }
    }
}

impl VersionDto {
    fn new(service: &Service, version: &Version, view: View<'_>) -> Self {
        let View { telemetry, gauges, now_ms, .. } = view;
        let traffic = &service.traffic;
        let total = traffic.weights.total().max(1) as f64;
        let rates = telemetry.rates(version.id);
        let endpoint = |slot| EndpointDto::new(slot, gauges, now_ms);
        Self {
            weight_percent: f64::from(traffic.weights.of(&version.name)) * 100.0 / total,
            endpoints: version.endpoints.iter().map(endpoint).collect(),
            protocol: version.plan.protocol.as_str(),
            draining: version.draining,
            origin: origin(traffic, version),
            in_flight: gauges.in_flight.get(&version.id).copied().unwrap_or(0),
            requests_per_second: rates.requests_per_second,
            error_rate: rates.error_rate,
            p50_ms: rates.p50_ms,
            p99_ms: rates.p99_ms,
        }
    }
}

fn origin(traffic: &Traffic, version: &Version) -> &'static str {
    if traffic.added.contains_key(&version.name) { "api" } else { "file" }
}

/// One revision of the history.
#[derive(Debug, Serialize, ToSchema)]
pub struct RevisionDto {
    pub revision: u64,
    /// RFC 3339.
    pub at: String,
    /// `api`, `api:NAME`, `file`, `start` or `rollout:NAME`.
    pub author: String,
    /// The verb.
    pub cause: String,
    /// What the author said of it.
    pub reason: Option<String>,
    pub changes: Vec<ChangeLineDto>,
}

impl RevisionDto {
    /// An entry; with `service`, only that service's changes.
    pub fn new(entry: &Entry, service: Option<&str>) -> Self {
        let concerns =
            |change: &&Change| service.is_none_or(|name| change.service.as_str() == name);
        Self {
            revision: entry.number,
            at: entry.at.to_string(),
            author: entry.author.clone(),
            cause: entry.cause.clone(),
            reason: entry.reason.clone(),
            changes: entry.changes.iter().filter(concerns).map(ChangeLineDto::from).collect(),
        }
    }
}

/// One revision with all of its traffic.
#[derive(Debug, Serialize, ToSchema)]
pub struct RevisionDetailDto {
    #[serde(flatten)]
    pub revision: RevisionDto,
    pub services: BTreeMap<String, TrafficDto>,
}

/// The traffic of a service in a revision.
#[derive(Debug, Serialize, ToSchema)]
pub struct TrafficDto {
    pub weights: WeightMap,
    /// What cohorts are hashed with, as hexadecimal text: numbers of that size are not safe in JSON.
    pub salt: String,
    /// Buckets of 10 000 by version.
    pub buckets: BTreeMap<String, u16>,
    pub shadow: Option<ShadowDto>,
    pub hold: Option<HoldDto>,
    /// Versions registered at run time, with their endpoints.
    pub added: BTreeMap<String, Vec<String>>,
    pub draining: Vec<String>,
    /// `VERSION/HOST:PORT`.
    pub draining_endpoints: Vec<String>,
}

impl From<&Traffic> for TrafficDto {
    fn from(traffic: &Traffic) -> Self {
        let mut buckets = BTreeMap::new();
        for (version, count) in traffic.table.iter().flat_map(|table| table.runs()) {
            *buckets.entry(version.to_string()).or_default() += count;
        }
        let addresses =
            |plan: &VersionPlan| plan.endpoints.iter().map(ToString::to_string).collect();
        let added = traffic.added.iter();
        let drained = traffic.draining_endpoints.iter();
        Self {
            weights: weights(&traffic.weights),
            salt: format!("{:016x}", traffic.salt),
            buckets,
            shadow: traffic.shadow.as_ref().map(ShadowDto::from),
            hold: traffic.hold.as_ref().map(|rule| HoldDto::new(rule, None)),
            added: added.map(|(name, plan)| (name.to_string(), addresses(plan))).collect(),
            draining: traffic.draining.iter().map(ToString::to_string).collect(),
            draining_endpoints: drained.map(|(name, at)| format!("{name}/{at}")).collect(),
        }
    }
}

impl From<&Entry> for RevisionDetailDto {
    fn from(entry: &Entry) -> Self {
        let services = entry.traffic.iter();
        let of = |traffic: &std::sync::Arc<Traffic>| TrafficDto::from(traffic.as_ref());
        Self {
            revision: RevisionDto::new(entry, None),
            services: services.map(|(name, traffic)| (name.to_string(), of(traffic))).collect(),
        }
    }
}

/// The proxy as a whole.
#[derive(Debug, Serialize, ToSchema)]
pub struct StatusDto {
    pub revision: u64,
    /// `starting`, `running` or `draining`.
    pub phase: &'static str,
    /// Of the program.
    pub version: &'static str,
    pub config: ConfigDto,
    pub services: Vec<ServiceDto>,
}

/// Whether the configuration file is valid now.
#[derive(Debug, Serialize, ToSchema)]
pub struct ConfigDto {
    /// The file or folder it is read from.
    pub path: String,
    pub valid: bool,
    /// What is wrong with it: `severity`, `file`, `line`, `column`, `message`, `help` …
    pub errors: serde_json::Value,
    /// The same for a terminal.
    pub rendered: Option<String>,
}

/// Health in detail.
#[derive(Debug, Serialize, ToSchema)]
pub struct HealthDto {
    /// `ok`; `degraded` when the file is invalid or a version with traffic has no usable endpoint.
    pub status: &'static str,
    pub phase: &'static str,
    pub revision: u64,
    pub version: &'static str,
    pub config: ConfigDto,
    /// Endpoint states by service and version.
    pub services: BTreeMap<String, BTreeMap<String, Vec<EndpointDto>>>,
}
