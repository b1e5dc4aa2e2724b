//! What operators do to the traffic of a service: each verb is one function, and each ends in
//! [`Control::change`].
//!
//! Whoever asks (the admin API, a rollout, the demo) gets the same checks and the same words. No
//! function may be dropped half-way: callers that can be cut off run these in a task of their own.

pub mod deploy;
pub mod reload;
pub mod rollout;

use std::sync::Arc;
use std::time::Duration;

use crate::control::{Author, Control, Outcome, Refusal, Terms};
use crate::name::{ServiceName, VersionName};
use crate::plan::Address;
use crate::revision::history::History;
use crate::snapshot::{CompileError, Service, version_plans};
use crate::telemetry::collector::Telemetry;
use crate::traffic::{HoldRule, ShadowRule, Traffic};
use crate::weight::Weights;

/// How often a drain looks whether the last request is done.
const DRAIN_LOOK: Duration = Duration::from_millis(10);

/// Who asks for a change of which service, and under which conditions.
#[derive(Debug, Clone, Copy)]
pub struct Ask<'a> {
    pub service: &'a ServiceName,
    pub author: &'a Author,
    pub terms: &'a Terms,
}

impl Ask<'_> {
    /// Makes one change; `cause` is the verb that the history shows.
    pub async fn change(
        &self,
        control: &Control,
        cause: &str,
        change: impl FnOnce(&Service) -> Result<Traffic, Refusal>,
    ) -> Result<Outcome, Refusal> {
        let make = |service: &Service, _: &_| change(service);
        control.change(self.service, self.author, cause, self.terms, make).await
    }
}

/// A share of the users that moves from one version to another.
#[derive(Debug, Clone, PartialEq)]
pub struct Move {
    pub from: VersionName,
    pub to: VersionName,
    /// Of all users or requests of the service.
    pub percent: f64,
}

/// Who moves where between two states of a service's traffic. With a bucket table these are exactly
/// the cohorts that move; without one, the requests that are drawn differently.
pub fn moves(before: &Traffic, after: &Traffic) -> Vec<Move> {
    let (Some(old), Some(new)) = (&before.table, &after.table) else { return Vec::new() };
    if after.weights.total() == 0 || before.weights.total() == 0 {
        return Vec::new();
    }
    let percent = |buckets: u16| f64::from(buckets) / 100.0;
    let moved = old.moves_to(new).into_iter();
    moved.map(|((from, to), count)| Move { from, to, percent: percent(count) }).collect()
}

/// The version of a service, or the refusal that names those there are.
pub fn find_version<'a>(
    service: &'a Service,
    name: &VersionName,
) -> Result<&'a crate::upstream::Version, Refusal> {
    let found = service.version(name).map(|(_, version)| version.as_ref());
    found.ok_or_else(|| Refusal::Unknown(no_version(service, name)))
}

fn must_have(service: &Service, name: &VersionName) -> Result<(), Refusal> {
    match service.version(name) {
        Some(_) => Ok(()),
        None => Err(Refusal::Invalid(no_version(service, name))),
    }
}

fn no_version(service: &Service, name: &VersionName) -> String {
    let known: Vec<VersionName> = service.versions.iter().map(|v| v.name.clone()).collect();
    let closest = known
        .iter()
        .map(|other| (strsim::damerau_levenshtein(other.as_str(), name.as_str()), other))
        .min_by_key(|(distance, _)| *distance)
        .filter(|(distance, _)| *distance <= 2);
    let hint = closest.map(|(_, other)| format!("; did you mean `{other}`?")).unwrap_or_default();
    let (service, version) = (service.name.clone(), name.clone());
    format!("{}{hint}", CompileError::UnknownVersion { service, version, known })
}

/// Sets the weights; versions that are not named get 0.
pub async fn set_weights(
    control: &Control,
    ask: Ask<'_>,
    weights: Weights,
) -> Result<Outcome, Refusal> {
    ask.change(control, "weights", |service| {
        for (version, _) in weights.iter() {
            must_have(service, version)?;
        }
        let old = &service.traffic;
        let same = |version: &crate::upstream::Version| {
            old.weights.of(&version.name) == weights.of(&version.name)
        };
        if service.versions.iter().all(|version| same(version)) {
            return Ok(old.as_ref().clone());
        }
        Ok(old.with_weights(weights))
    })
    .await
}

/// What a cutover is to do.
#[derive(Debug, Clone)]
pub struct CutoverOrder {
    pub to: VersionName,
    /// Wait for the old versions' requests in flight, for at most this long.
    pub drain: Option<Duration>,
    /// Go on without a healthy endpoint.
    pub force: bool,
}

/// What a cutover did.
#[derive(Debug, Clone)]
pub struct CutoverOutcome {
    pub outcome: Outcome,
    /// Requests that the old versions still serve, at the end.
    pub in_flight_on_old: u64,
    /// Whether they were done in time; `None` without a drain.
    pub drained: Option<bool>,
}

/// Moves everything to one version. When it returns, no worker can choose another one.
pub async fn cutover(
    control: &Control,
    telemetry: &Telemetry,
    ask: Ask<'_>,
    order: &CutoverOrder,
) -> Result<CutoverOutcome, Refusal> {
    let outcome = ask.change(control, "cutover", |service| cut_over(service, order)).await?;
    let registry = &control.shared.registry;
    let old: Vec<u32> = outcome
        .before
        .iter()
        .flat_map(|traffic| traffic.weights.iter())
        .filter(|(version, weight)| *weight > 0 && **version != order.to)
        .map(|(version, _)| registry.version(ask.service, version))
        .collect();
    let in_flight = async || {
        let gauges = telemetry.collect(control).await;
        old.iter().map(|id| gauges.in_flight.get(id).copied().unwrap_or(0)).sum::<u64>()
    };
    let mut in_flight_on_old = if old.is_empty() { 0 } else { in_flight().await };
    let Some(limit) = order.drain.filter(|_| !ask.terms.dry_run) else {
        return Ok(CutoverOutcome { outcome, in_flight_on_old, drained: None });
    };
    let wait = async {
        while in_flight_on_old > 0 {
            tokio::time::sleep(DRAIN_LOOK).await;
            in_flight_on_old = in_flight().await;
        }
    };
    let drained = tokio::time::timeout(limit, wait).await.is_ok();
    Ok(CutoverOutcome { outcome, in_flight_on_old, drained: Some(drained) })
}

fn cut_over(service: &Service, order: &CutoverOrder) -> Result<Traffic, Refusal> {
    let target = find_version(service, &order.to)?;
    let old = service.traffic.as_ref();
    let weight = u64::from(old.weights.of(&order.to));
    let mut next = match weight > 0 && weight == old.weights.total() {
        true => old.clone(),
        false if target.is_usable() || order.force => {
            old.with_weights(Weights::all_to(order.to.clone()))
        }
        false => {
            return Err(Refusal::Conflict(format!(
                "version `{}` has no healthy endpoint: {}; wait for it or use force",
                order.to,
                endpoint_states(target).join(", ")
            )));
        }
    };
    next.draining.remove(&order.to);
    Ok(next)
}

/// Every endpoint of a version with its state, as refusals name them.
pub fn endpoint_states(version: &crate::upstream::Version) -> Vec<String> {
    let text = |slot: &crate::upstream::Slot| {
        let state = if slot.draining { "draining" } else { slot.endpoint.status().as_str() };
        format!("{} is {state}", slot.endpoint.label)
    };
    version.endpoints.iter().map(text).collect()
}

/// Puts earlier traffic back: that of revision `to`, or the newest that differs from what is live.
/// Goes on when the disk refuses.
pub async fn rollback(
    control: &Control,
    ask: Ask<'_>,
    to: Option<u64>,
) -> Result<Outcome, Refusal> {
    let terms = Terms { even_unpersisted: true, ..ask.terms.clone() };
    let make = |service: &Service, state: &crate::control::State| {
        let found = match to {
            Some(number) => traffic_of(service, &state.history, number)?,
            None => previous(service, &state.history).ok_or_else(|| {
                let name = &service.name;
                Refusal::Conflict(format!("service `{name}` has no earlier traffic to go back to"))
            })?,
        };
        match missing_versions(service, &found) {
            gone if gone.is_empty() => Ok(found),
            gone => Err(Refusal::Conflict(format!(
                "that traffic needs versions that `{}` does not have any more: {}",
                service.name,
                gone.join(", ")
            ))),
        }
    };
    control.change(ask.service, ask.author, "rollback", &terms, make).await
}

fn traffic_of(service: &Service, history: &History, number: u64) -> Result<Traffic, Refusal> {
    let name = &service.name;
    let entry = history.get(number).ok_or_else(|| {
        Refusal::Unknown(format!("revision {number} is not in the history that is kept"))
    })?;
    let then = entry.traffic.get(name).ok_or_else(|| {
        Refusal::Conflict(format!("service `{name}` did not exist at revision {number}"))
    })?;
    Ok(restored(service, then))
}

/// The newest earlier traffic that sends users elsewhere than what is live, or, without one, that
/// differs at all. A shadow, a drain or a hold since then must not stand between an operator and
/// the version that served before, and neither must the steps of a rollout: it is undone as a whole.
fn previous(service: &Service, history: &History) -> Option<Traffic> {
    let now = service.traffic.as_ref();
    let earlier = || {
        let of_service = history.iter().filter_map(|entry| entry.traffic.get(&service.name));
        of_service
            .filter(|then| !std::ptr::eq(then.as_ref(), now) && !then.is_step())
            .map(|then| restored(service, then))
    };
    let elsewhere = |then: &Traffic| {
        then.salt != now.salt || then.table != now.table || !then.weights.same_shares(&now.weights)
    };
    let same = |then: &Traffic| Traffic { rollout: now.rollout.clone(), ..then.clone() } == *now;
    earlier().find(elsewhere).or_else(|| earlier().find(|then| !same(then)))
}

/// Earlier traffic as it would be live again: nothing is held; versions registered since stay, for
/// one may want to go forward again; and what the file says *now* stays the base of the next merge,
/// so that a reload does not undo the rollback.
fn restored(service: &Service, then: &Traffic) -> Traffic {
    let now = &service.traffic;
    let mut next = Traffic {
        hold: None,
        declared: now.declared.clone(),
        rollout: now.rollout.as_ref().map(|rollout| Arc::new(rollout.superseded())),
        ..then.clone()
    };
    for (name, plan) in &now.added {
        next.added.entry(name.clone()).or_insert_with(|| plan.clone());
    }
    let known = version_plans(&service.plan, &next);
    let stale =
        next.weights.iter().filter(|(name, weight)| *weight == 0 && !known.contains_key(*name));
    let stale: Vec<VersionName> = stale.map(|(name, _)| name.clone()).collect();
    next.weights = stale.iter().fold(next.weights, |weights, name| weights.without(name));
    next.draining.retain(|version| known.contains_key(version));
    next.draining_endpoints.retain(|(version, _)| known.contains_key(version));
    next
}

/// The versions this traffic needs and the service does not have.
fn missing_versions(service: &Service, traffic: &Traffic) -> Vec<String> {
    let known = version_plans(&service.plan, traffic);
    let shadow = traffic.shadow.iter();
    let copies = shadow.flat_map(|rule| [Some(&rule.version), rule.secondary.as_ref()]).flatten();
    let pins = service.plan.pins.iter().map(|pin| &pin.version);
    let needed = traffic.weights.iter().map(|(name, _)| name).chain(copies).chain(pins);
    let mut missing: Vec<String> =
        needed.filter(|name| !known.contains_key(*name)).map(|name| format!("`{name}`")).collect();
    missing.sort();
    missing.dedup();
    missing
}

/// Whether going back to the previous traffic would work now: it is known, its versions are there,
/// and each that would take requests has a healthy endpoint.
pub fn is_rollback_ready(service: &Service, history: &History) -> bool {
    let Some(then) = previous(service, history) else { return false };
    let usable = |name: &VersionName| service.version(name).is_some_and(|(_, v)| v.is_usable());
    missing_versions(service, &then).is_empty()
        && then.weights.iter().all(|(name, weight)| weight == 0 || usable(name))
}

/// Starts, changes or (with `None`) stops mirroring.
pub async fn set_shadow(
    control: &Control,
    ask: Ask<'_>,
    rule: Option<ShadowRule>,
) -> Result<Outcome, Refusal> {
    ask.change(control, "shadow", |service| {
        for name in rule.iter().flat_map(|rule| [Some(&rule.version), rule.secondary.as_ref()]) {
            name.map_or(Ok(()), |name| must_have(service, name))?;
        }
        Ok(Traffic { shadow: rule, ..service.traffic.as_ref().clone() })
    })
    .await
}

/// Makes requests wait.
pub async fn hold(control: &Control, ask: Ask<'_>, rule: HoldRule) -> Result<Outcome, Refusal> {
    ask.change(control, "hold", |service| {
        Ok(Traffic { hold: Some(rule), ..service.traffic.as_ref().clone() })
    })
    .await
}

/// Lets requests go.
pub async fn release(control: &Control, ask: Ask<'_>) -> Result<Outcome, Refusal> {
    ask.change(control, "release", |service| {
        Ok(Traffic { hold: None, ..service.traffic.as_ref().clone() })
    })
    .await
}

/// Begins (`on`) or ends the drain of a version, or of one endpoint of it.
pub async fn set_drain(
    control: &Control,
    ask: Ask<'_>,
    version: &VersionName,
    endpoint: Option<&Address>,
    on: bool,
) -> Result<Outcome, Refusal> {
    let cause = if on { "drain" } else { "undrain" };
    ask.change(control, cause, |service| {
        let found = find_version(service, version)?;
        let mut next = service.traffic.as_ref().clone();
        let Some(address) = endpoint else {
            match on {
                true => next.draining.insert(version.clone()),
                false => next.draining.remove(version),
            };
            return Ok(next);
        };
        if !found.plan.endpoints.contains(address) {
            let known: Vec<_> = found.plan.endpoints.iter().map(Address::to_string).collect();
            let known = known.join(", ");
            let text = format!("version `{version}` has no endpoint `{address}`; it has {known}");
            return Err(Refusal::Unknown(text));
        }
        let key = (version.clone(), address.clone());
        match on {
            true => next.draining_endpoints.insert(key),
            false => next.draining_endpoints.remove(&key),
        };
        Ok(next)
    })
    .await
}
