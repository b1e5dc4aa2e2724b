//! Plans played in worlds: what must come out of nearly every one of them.

use std::time::Duration;

mod operating;

use super::world::{Harm, Latency, Outage};
use super::*;
use crate::plan::{Advance, OnRegression, Pace, Step};

fn plan() -> RolloutPlan {
    RolloutPlan::to("green".parse().unwrap())
}

fn world(rate: f64, errors: f64, harm: Harm) -> World {
    let latency = Some(Latency { p50_ms: 50.0, p99_ms: 250.0 });
    World { latency, ..World::new(rate, errors, harm) }
}

fn ends(plan: &RolloutPlan, world: &World) -> Vec<Outcome> {
    (0..8).map(|seed| play(plan, world, seed)).collect()
}

#[track_caller]
fn all_end(outcomes: &[Outcome], end: End) {
    assert!(outcomes.iter().all(|outcome| outcome.end == end), "{outcomes:?}");
}

#[test]
fn the_same_seed_plays_the_same() {
    let world = world(200.0, 0.01, Harm { error_ratio: 2.0, ..Harm::NONE });
    assert_eq!(play(&plan(), &world, 7), play(&plan(), &world, 7));
    assert_ne!(play(&plan(), &world, 7), play(&plan(), &world, 8));
}

#[test]
fn harm_is_caught_early_and_its_absence_promoted_by_the_clock() {
    let healthy = ends(&plan(), &world(500.0, 0.01, Harm::NONE));
    all_end(&healthy, End::Promoted);
    assert!(healthy.iter().all(|outcome| outcome.seconds >= 1500.0), "{healthy:?}");
    let harm = Harm { error_ratio: 5.0, ..Harm::NONE };
    let worse = ends(&plan(), &world(500.0, 0.01, harm));
    all_end(&worse, End::Caught);
    assert!(worse.iter().all(|o| o.seconds < 300.0 && o.excess > 1.0 && o.exposed > 50));
}

#[test]
fn what_is_slow_at_first_is_not_judged_while_it_warms_up() {
    let mut plan = plan();
    plan.on_regression = OnRegression::Pause;
    let world = world(200.0, 0.01, Harm { error_added: 1.0, ..Harm::NONE });
    let at_once = play(&plan, &world, 1);
    plan.analysis.warm_up = Duration::from_secs(60);
    let later = play(&plan, &world, 1);
    assert!((at_once.end, later.end) == (End::Caught, End::Caught));
    assert!(at_once.seconds < 60.0 && later.seconds > 60.0, "{at_once:?} {later:?}");
}

#[test]
fn a_shared_outage_is_not_blamed_on_the_new_version() {
    let outage = Outage { from: 100.0, seconds: 120.0, errors: 0.5 };
    let world = World { outages: vec![outage], ..world(300.0, 0.01, Harm::NONE) };
    all_end(&ends(&plan(), &world), End::Promoted);
}

#[test]
fn a_plain_gate_ends_a_rollout_that_a_shared_outage_meets() {
    let plan = RolloutPlan { max_error_ppm: Some(20_000), ..plan() };
    let outage = Outage { from: 100.0, seconds: 120.0, errors: 0.5 };
    let world = World { outages: vec![outage], ..world(300.0, 0.01, Harm::NONE) };
    all_end(&ends(&plan, &world), End::Caught);
}

#[test]
fn a_doubled_tail_alone_is_caught() {
    let harm = Harm { tail_ratio: 2.0, ..Harm::NONE };
    all_end(&ends(&plan(), &world(200.0, 0.001, harm)), End::Caught);
}

#[test]
fn too_little_traffic_decides_nothing_and_an_operator_s_pause_is_a_catch() {
    let short = RolloutPlan { max_duration: Duration::from_secs(1800), ..plan() };
    all_end(&ends(&short, &world(0.5, 0.01, Harm::NONE)), End::Undecided);
    let pauses = RolloutPlan { on_regression: OnRegression::Pause, ..plan() };
    let harm = Harm { error_added: 0.2, ..Harm::NONE };
    all_end(&ends(&pauses, &world(100.0, 0.01, harm)), End::Caught);
}

#[test]
fn manual_steps_and_evidence_pace_come_to_their_end() {
    let manual = Step { manual: true, duration: Some(Duration::from_secs(5)), share_ppm: 100_000 };
    let steps = vec![manual, Step::to(1_000_000)];
    let plan = RolloutPlan {
        steps,
        step_duration: Duration::from_secs(10),
        advance: Advance::NotRegressed,
        ..plan()
    };
    let ends_manual = ends(&plan, &world(200.0, 0.01, Harm::NONE));
    all_end(&ends_manual, End::Promoted);
    assert!(ends_manual.iter().all(|outcome| outcome.seconds == 15.0), "{ends_manual:?}");
    let paced = RolloutPlan { pace: Pace::Evidence, ..plan };
    all_end(&ends(&paced, &world(1000.0, 0.001, Harm::NONE)), End::Promoted);
}
