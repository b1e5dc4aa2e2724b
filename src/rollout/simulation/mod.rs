//! A rollout played in an assumed world: the machine and the evidence of a live one, with drawn
//! instead of counted requests.

pub mod tally;
pub mod world;

use self::world::{Traffic, World};
use super::gate::Compared;
use super::keeper::{Keeper, Span, Surroundings};
use super::machine::{Rollout, State};
use crate::plan::RolloutPlan;
use crate::weight::Weights;

/// Seconds of traffic before the start, from which the baseline is learned.
const WARM_SECONDS: u32 = 600;
/// A rollout that takes long is looked at less often: after so many seconds every other second, after
/// twice as many every third. It saves a hundredfold over a day and hides little from its blocks.
const SECONDS_PER_SECOND: f64 = 1800.0;

/// How a played rollout ended.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Outcome {
    pub end: End,
    /// Seconds from its start.
    pub seconds: f64,
    /// Requests that the new version had, since it was harmful.
    pub exposed: u64,
    /// Its failures beyond those that the old one would have had.
    pub excess: f64,
}

/// The ways to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Called regressed; rolled back, or paused where the plan says so.
    Caught,
    /// Everything on the new version.
    Promoted,
    /// Time was over.
    Undecided,
}

/// Plays a plan in a world, with operators that end manual steps at once and a shadow without
/// mismatches; the same seed plays the same.
pub fn play(plan: &RolloutPlan, world: &World, seed: u64) -> Outcome {
    let mut traffic = Traffic::new(world, seed);
    let mut keeper = Keeper::new(plan);
    for _ in 0..WARM_SECONDS {
        keeper.warm(&traffic.before(1.0), 1.0);
    }
    let mut rollout = Rollout::start(plan.clone(), before(plan), 1, 0);
    let mut keeper = keeper.succeeded(&rollout, None);
    let shadow = Some(Compared { requests: u64::MAX, mismatched: 0 });
    let around = Surroundings { canary_usable: true, stable_endpoints: 1, shadow };
    let mut at = 0.0;
    while rollout.state == State::Running {
        let seconds = (at / SECONDS_PER_SECOND).floor().max(1.0);
        let share = f64::from(rollout.share_ppm) / 1e6;
        let ticks = traffic.tick(at, seconds, share, rollout.generation);
        at += seconds;
        let stragglers = world.failure_takes + seconds;
        keeper.count(&rollout, ticks, Span { seconds, stragglers, by_request: true });
        if rollout.waits_for_operator() {
            rollout = rollout.approved();
        }
        let judged = keeper.judge(&rollout, around);
        rollout = rollout.next((at * 1e3) as u64, &judged).unwrap_or(rollout);
    }
    let end = match rollout.state {
        State::Succeeded => End::Promoted,
        _ if rollout.has_caught() => End::Caught,
        _ => End::Undecided,
    };
    Outcome { end, seconds: at, exposed: traffic.exposed, excess: traffic.excess }
}

/// Everything on one version that is not the new one.
fn before(plan: &RolloutPlan) -> Weights {
    let names = ["before", "stable"].iter().filter_map(|name| name.parse().ok());
    let other = names.into_iter().find(|name| *name != plan.to).unwrap_or_else(|| plan.to.clone());
    Weights::all_to(other)
}

#[cfg(test)]
mod tests;
