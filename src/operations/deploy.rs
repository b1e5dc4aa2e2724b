//! Versions that come and go at run time.
//!
//! A new version is registered with no weight, and stays only if all of its endpoints are healthy
//! in time: a deploy that fails leaves the service as it was.

use std::sync::Arc;
use std::time::Duration;

use super::{Ask, endpoint_states, find_version};
use crate::control::{Control, Outcome, Refusal, Terms};
use crate::name::VersionName;
use crate::plan::{Address, HealthPlan, OutlierPlan, Protocol, TlsPlan, VersionPlan};
use crate::snapshot::Service;
use crate::traffic::Traffic;
use crate::upstream::Version;

/// How often the gate looks whether the endpoints are healthy.
const HEALTH_LOOK: Duration = Duration::from_millis(20);

/// A version as it is asked for. What is `None` is as in the version that has most of the traffic,
/// so that a deploy is gated by the same health checks as what it replaces.
#[derive(Debug, Clone)]
pub struct VersionOrder {
    pub name: VersionName,
    pub endpoints: Vec<Address>,
    pub protocol: Option<Protocol>,
    /// `Some(None)` is no active checks.
    pub health: Option<Option<HealthPlan>>,
    pub outlier: Option<OutlierPlan>,
    /// How long all endpoints may take to become healthy.
    pub wait: Duration,
}

impl VersionOrder {
    fn plan(&self, service: &Service) -> VersionPlan {
        let weight = |version: &&Arc<Version>| service.traffic.weights.of(&version.name);
        let same = service.version(&self.name).map(|(_, version)| version);
        let model = same.or_else(|| service.versions.iter().max_by_key(weight));
        let model = model.map(|version| version.plan.as_ref());
        let protocol = self.protocol.or(model.map(|plan| plan.protocol));
        let protocol = protocol.unwrap_or(Protocol::Http1);
        let tls = model.filter(|plan| protocol.is_tls() && plan.protocol.is_tls());
        let health = || model.and_then(|plan| plan.health.clone());
        let proxy_protocol = model.and_then(|plan| plan.proxy_protocol);
        let outlier = || model.map(|plan| plan.outlier.clone()).unwrap_or_default();
        VersionPlan {
            endpoints: self.endpoints.clone(),
            protocol,
            tls: tls.map_or_else(TlsPlan::default, |plan| plan.tls.clone()),
            health: self.health.clone().unwrap_or_else(health),
            outlier: self.outlier.clone().unwrap_or_else(outlier),
            bounds: model.map(|plan| plan.bounds.clone()).unwrap_or_default(),
            proxy_protocol: proxy_protocol.filter(|_| !protocol.is_h2()),
        }
    }
}

/// Registers a version and waits until every endpoint of it is healthy. When that fails, what was
/// there before is put back.
pub async fn register(
    control: &Control,
    ask: Ask<'_>,
    order: &VersionOrder,
) -> Result<Outcome, Refusal> {
    let name = &order.name;
    let outcome = ask
        .change(control, "deploy", |service| {
            let plan = Arc::new(order.plan(service));
            let mut next = service.traffic.as_ref().clone();
            if let Some((_, version)) = service.version(name) {
                if *version.plan == *plan {
                    return Ok(next);
                }
                keeps_serving(service, version, &plan)?;
            }
            next.added.insert(name.clone(), plan);
            Ok(next)
        })
        .await?;
    if ask.terms.dry_run {
        return Ok(outcome);
    }
    let healthy = tokio::time::timeout(order.wait, all_healthy(control, ask, name)).await;
    let Err(_late) = healthy else { return Ok(outcome) };
    let states = states_now(control, ask, name);
    if outcome.before != outcome.after {
        undo(control, ask, name, outcome.before.as_deref()).await?;
    }
    Err(Refusal::Conflict(format!(
        "version `{name}` was not healthy within {}: {}; nothing was kept",
        humantime::format_duration(order.wait),
        states.join(", ")
    )))
}

/// A version that takes requests must keep an endpoint that can take them now: a new one takes none
/// until its first check.
fn keeps_serving(service: &Service, old: &Version, new: &VersionPlan) -> Result<(), Refusal> {
    let same_way = old.plan.protocol == new.protocol
        && old.plan.tls == new.tls
        && old.plan.proxy_protocol == new.proxy_protocol
        && old.plan.health.as_ref().map(|health| &health.path)
            == new.health.as_ref().map(|health| &health.path);
    let stays = |address: &Address| new.endpoints.contains(address);
    let kept = old.endpoints.iter().any(|slot| {
        same_way && slot.endpoint.is_healthy() && stays(&slot.endpoint.identity.address)
    });
    match uses(service, &old.name) {
        Some(what) if !kept => Err(Refusal::Conflict(format!(
            "version `{}` {what} and would have no endpoint that is known to be healthy; deploy \
             under another name and cut over",
            old.name
        ))),
        _ => Ok(()),
    }
}

/// What a version is needed for, if it is.
fn uses(service: &Service, name: &VersionName) -> Option<&'static str> {
    let traffic = &service.traffic;
    if traffic.weights.of(name) > 0 {
        return Some("has weight");
    }
    if service.plan.pins.iter().any(|pin| &pin.version == name) {
        return Some("is what a pin leads to");
    }
    let live = traffic.rollout.as_ref().filter(|rollout| rollout.state.is_live());
    if live.is_some_and(|rollout| rollout.before.of(name) > 0) {
        return Some("is what a rollout may go back to");
    }
    let shadow = traffic.shadow.as_ref()?;
    if &shadow.version == name {
        return Some("is the shadow");
    }
    (shadow.secondary.as_ref() == Some(name)).then_some("is the shadow's secondary")
}

async fn all_healthy(control: &Control, ask: Ask<'_>, name: &VersionName) {
    loop {
        let current = control.current();
        let version = current.snapshot.service(ask.service).and_then(|s| s.version(name));
        let healthy =
            |version: &Version| version.endpoints.iter().all(|slot| slot.endpoint.is_healthy());
        if version.is_some_and(|(_, version)| healthy(version)) {
            return;
        }
        tokio::time::sleep(HEALTH_LOOK).await;
    }
}

fn states_now(control: &Control, ask: Ask<'_>, name: &VersionName) -> Vec<String> {
    let current = control.current();
    let version = current.snapshot.service(ask.service).and_then(|s| s.version(name));
    version.map(|(_, version)| endpoint_states(version)).unwrap_or_default()
}

/// Takes back what a failed deploy registered.
async fn undo(
    control: &Control,
    ask: Ask<'_>,
    name: &VersionName,
    before: Option<&Traffic>,
) -> Result<(), Refusal> {
    let terms = Terms::default();
    let ask = Ask { terms: &terms, ..ask };
    let earlier = before.and_then(|traffic| traffic.added.get(name)).cloned();
    ask.change(control, "deploy failed", |service| {
        let mut next = service.traffic.as_ref().clone();
        match &earlier {
            Some(plan) => next.added.insert(name.clone(), plan.clone()),
            // Somebody who gave it weight meanwhile has decided otherwise.
            None if uses(service, name).is_none() => next.added.remove(name),
            None => None,
        };
        Ok(next)
    })
    .await?;
    Ok(())
}

/// Removes a version that was registered at run time and is not used.
pub async fn remove(
    control: &Control,
    ask: Ask<'_>,
    name: &VersionName,
) -> Result<Outcome, Refusal> {
    ask.change(control, "remove", |service| {
        find_version(service, name)?;
        if !service.traffic.added.contains_key(name) {
            return Err(Refusal::Conflict(format!(
                "version `{name}` is declared in the file; remove it there"
            )));
        }
        if let Some(what) = uses(service, name) {
            let text = format!("version `{name}` {what}; take that away first");
            return Err(Refusal::Conflict(text));
        }
        Ok(without(service, name))
    })
    .await
}

/// The traffic of a service without a version that has no weight.
fn without(service: &Service, name: &VersionName) -> Traffic {
    let mut next = service.traffic.as_ref().clone();
    next.added.remove(name);
    next.draining.remove(name);
    next.draining_endpoints.retain(|(version, _)| version != name);
    if !service.plan.versions.contains_key(name) {
        next.weights = next.weights.without(name);
    }
    next
}
