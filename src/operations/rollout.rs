//! The verbs of a rollout: start, pause, resume, promote, abort.
//!
//! Steps are taken by the driver, as another author of the same kind of change.

use std::sync::Arc;

use super::{Ask, find_version};
use crate::clock;
use crate::control::{Control, Outcome, Refusal};
use crate::plan::RolloutPlan;
use crate::rollout::machine::{Rollout, State};
use crate::snapshot::Service;
use crate::split::bucket;
use crate::traffic::Traffic;
use crate::upstream::Version;
use crate::weight::Weights;

/// Milliseconds of the wall clock, which outlive the process.
pub fn now_ms() -> u64 {
    u64::try_from(clock::timestamp().as_millisecond()).unwrap_or(0)
}

/// Starts a rollout. After one that was rolled back, only if that is acknowledged.
pub async fn start(
    control: &Control,
    ask: Ask<'_>,
    plan: RolloutPlan,
    acknowledge: bool,
) -> Result<Outcome, Refusal> {
    ask.change(control, "rollout start", |service| {
        let traffic = service.traffic.as_ref();
        let target = find_version(service, &plan.to)?;
        may_start(traffic, &plan, acknowledge)?;
        if !target.is_usable() {
            return Err(Refusal::Conflict(format!(
                "version `{}` has no healthy endpoint: {}; a rollout needs one",
                plan.to,
                super::endpoint_states(target).join(", ")
            )));
        }
        let now = now_ms();
        let stable = stable_endpoints(service, &traffic.weights);
        // Numbered on, lest stragglers of the last one count for this one.
        let last = traffic.rollout.as_ref().map_or(0, |last| last.generation);
        let rollout = Rollout {
            generation: last + 1,
            ..Rollout::start(plan, traffic.weights.clone(), stable, now)
        };
        // Other users than last time are the first to see the new version.
        let drawn = Traffic { salt: bucket::next_salt(traffic.salt, now), ..traffic.clone() };
        Ok(drawn.with_rollout(rollout))
    })
    .await
}

/// Usable endpoints of the versions that have weight.
pub fn stable_endpoints(service: &Service, weights: &Weights) -> u32 {
    let versions = weights.iter().filter(|(_, weight)| *weight > 0);
    let versions = versions.filter_map(|(name, _)| service.version(name));
    let usable = |version: &Version| {
        version.endpoints.iter().filter(|slot| !slot.draining && slot.endpoint.is_healthy()).count()
    };
    versions.map(|(_, version)| usable(version) as u32).sum()
}

fn may_start(traffic: &Traffic, plan: &RolloutPlan, acknowledge: bool) -> Result<(), Refusal> {
    if let Some(last) = &traffic.rollout {
        let (to, state) = (&last.plan.to, last.state);
        // One whose weights somebody else has changed stands in nobody's way.
        if state.is_live() && traffic.is_step() {
            return Err(Refusal::Conflict(format!(
                "a rollout to `{to}` is {}; abort or promote it first",
                state.as_str()
            )));
        }
        if last.returning.is_some() {
            return Err(Refusal::Conflict(format!(
                "the last rollout, to `{to}`, is still on its way back; start when that is over"
            )));
        }
        if state == State::RolledBack && !acknowledge {
            return Err(Refusal::Conflict(format!(
                "the last rollout, to `{to}`, was rolled back ({}); start with `acknowledge` to go \
                 on all the same",
                last.reason
            )));
        }
    }
    let mut others = traffic.weights.iter().filter(|(name, _)| **name != plan.to);
    match others.any(|(_, weight)| weight > 0) {
        true => Ok(()),
        false => Err(Refusal::Conflict(format!(
            "version `{}` has all the weight already, or nothing has any",
            plan.to
        ))),
    }
}

/// What is done to a rollout that is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    Pause,
    Resume,
    Promote,
    Abort,
}

impl Verb {
    /// The cause that the history shows.
    fn cause(self) -> &'static str {
        match self {
            Self::Pause => "rollout pause",
            Self::Resume => "rollout resume",
            Self::Promote => "rollout promote",
            Self::Abort => "rollout abort",
        }
    }
}

/// Pauses, resumes, promotes or aborts the rollout of a service.
pub async fn steer(control: &Control, ask: Ask<'_>, verb: Verb) -> Result<Outcome, Refusal> {
    let author = ask.author.name.clone();
    ask.change(control, verb.cause(), |service| {
        let rollout = live(service)?;
        let by = |what: &str| format!("{what} by {author}");
        Ok(match (verb, rollout.state) {
            (Verb::Resume, State::Running) if rollout.waits_for_operator() => {
                service.traffic.with_rollout(rollout.approved())
            }
            (Verb::Pause, State::Paused) | (Verb::Resume, State::Running) => {
                service.traffic.as_ref().clone()
            }
            (Verb::Pause, _) => service.traffic.with_rollout(rollout.paused(&by("paused"))),
            (Verb::Resume, _) => service.traffic.with_rollout(rollout.resumed(now_ms())),
            (Verb::Promote, _) => {
                let target = find_version(service, &rollout.plan.to)?;
                if !target.is_usable() {
                    return Err(Refusal::Conflict(format!(
                        "version `{}` has no healthy endpoint",
                        rollout.plan.to
                    )));
                }
                service.traffic.with_rollout(rollout.promoted(&by("promoted")))
            }
            (Verb::Abort, _) => {
                let stable = stable_endpoints(service, &rollout.before);
                if stable == 0 && rollout.before != service.traffic.weights {
                    return Err(Refusal::Conflict(
                        "what it would go back to has no usable endpoint".to_owned(),
                    ));
                }
                let aborted = rollout.undone(State::Aborted, &by("aborted"), stable, now_ms());
                service.traffic.with_rollout(aborted)
            }
        })
    })
    .await
}

fn live(service: &Service) -> Result<Arc<Rollout>, Refusal> {
    let rollout = service.traffic.rollout.as_ref();
    let name = &service.name;
    match rollout {
        Some(rollout) if rollout.state.is_live() => Ok(rollout.clone()),
        Some(rollout) => Err(Refusal::Conflict(format!(
            "the rollout of `{name}` is over: it is {}",
            rollout.state.as_str().replace('_', " ")
        ))),
        None => Err(Refusal::Conflict(format!("service `{name}` has no rollout"))),
    }
}

/// Puts the next state of a rollout in force, unless it is not the one it was decided for any more.
pub async fn advance(
    control: &Control,
    ask: Ask<'_>,
    from: &Arc<Rollout>,
    next: Rollout,
) -> Result<Outcome, Refusal> {
    ask.change(control, "rollout", |service| match &service.traffic.rollout {
        Some(now) if now == from => Ok(service.traffic.with_rollout(next)),
        _ => Err(Refusal::Conflict("the rollout was changed meanwhile".to_owned())),
    })
    .await
}
