//! Plans played against verdicts: a table of what is decided when.

use std::time::Duration;

use super::*;
use crate::plan::Step;

fn weights(text: &str) -> Weights {
    let pairs = text.split_whitespace().filter_map(|pair| pair.split_once('='));
    Weights::new(pairs.map(|(n, w)| (n.parse().unwrap(), w.parse().unwrap())).collect()).unwrap()
}

fn plan() -> RolloutPlan {
    let mut plan = RolloutPlan::to("green".parse().unwrap());
    plan.steps = [100_000, 500_000, 1_000_000].map(Step::to).into();
    plan.step_duration = Duration::from_secs(60);
    plan
}

fn judged(verdict: Verdict) -> Judged {
    Judged {
        verdict,
        blamed: "errors".into(),
        void: None,
        gate: Gate::Passes,
        max_share: 0.0,
        canary_usable: true,
        stable_endpoints: 2,
    }
}

#[test]
fn shares_keep_the_proportions_of_the_others() {
    let cases = [
        ("blue=100 green=0", 100_000, "blue=90 green=10"),
        ("blue=1", 250_000, "blue=75 green=25"),
        ("blue=60 red=30 green=10", 100_000, "blue=60 green=10 red=30"),
        ("blue=2 red=1", 500_000, "blue=333333 green=500000 red=166667"),
        ("blue=1", 1_000_000, "blue=0 green=100"),
        ("blue=100", 15_000, "blue=985 green=15"),
    ];
    for (before, ppm, expect) in cases {
        let found = split(&weights(before), &"green".parse().unwrap(), ppm);
        assert_eq!(found, weights(expect), "{before} {ppm}: {found}");
    }
}

#[test]
fn a_step_ends_by_the_clock_when_the_verdict_allows_it() {
    let start = Rollout::start(plan(), weights("blue=100"), 2, 0);
    let cases = [
        (59_999, Verdict::Safe, None),
        (60_000, Verdict::Undecided, None),
        (60_000, Verdict::Suspect, None),
        (60_000, Verdict::Safe, Some((State::Running, 500_000))),
        (1, Verdict::Regressed, Some((State::RolledBack, 0))),
        (86_400_000, Verdict::Undecided, Some((State::Paused, 100_000))),
    ];
    for (now, verdict, expect) in cases {
        let next = start.next(now, &judged(verdict));
        assert_eq!(next.map(|next| (next.state, next.share_ppm)), expect, "{now} {verdict:?}");
    }
}

#[test]
fn a_healthy_version_goes_all_the_way() {
    let mut rollout = Rollout::start(plan(), weights("blue=100"), 2, 0);
    let mut seen = vec![rollout.weights().to_string()];
    for second in 1..=300 {
        if let Some(next) = rollout.next(second * 1000, &judged(Verdict::Safe)) {
            assert!(next.generation > rollout.generation);
            rollout = next;
            seen.push(rollout.weights().to_string());
        }
    }
    assert_eq!(rollout.state, State::Succeeded);
    let expect = ["blue=90 green=10", "blue=50 green=50", "blue=0 green=100", "blue=0 green=100"];
    assert_eq!(seen, expect);
}

#[test]
fn what_can_go_wrong_is_undone_or_paused_as_the_plan_says() {
    let rollout = Rollout::start(plan(), weights("blue=100"), 2, 0);
    let of = |change: &dyn Fn(&mut Judged)| {
        let mut judged = judged(Verdict::Safe);
        change(&mut judged);
        rollout.next(60_000, &judged).map(|next| (next.state, next.reason))
    };
    let (state, reason) = of(&|j| j.gate = Gate::Fails("p95 is 2 s".into())).unwrap();
    assert_eq!((state, reason.as_str()), (State::RolledBack, "gate failed: p95 is 2 s"));
    assert_eq!(of(&|j| j.canary_usable = false).unwrap().0, State::RolledBack);
    let lost = of(&|j| (j.canary_usable, j.stable_endpoints) = (false, 0)).unwrap();
    assert_eq!(lost.0, State::Paused);
    assert!(lost.1.contains("go back to"), "{}", lost.1);
    assert_eq!(of(&|j| j.gate = Gate::Waits(String::new())), None);
    assert_eq!(of(&|j| j.void = Some("void".into())), None);
    let void = Judged { void: Some("void".into()), ..judged(Verdict::Regressed) };
    assert_eq!(rollout.next(60_000, &void), None);
    let mut careful = rollout.clone();
    careful.plan.on_regression = OnRegression::Pause;
    let paused = careful.next(1, &judged(Verdict::Regressed)).unwrap();
    assert_eq!((paused.state, paused.share_ppm), (State::Paused, 100_000));
    assert_eq!(paused.resumed(5).epoch, 1, "its evidence begins anew");
}

#[test]
fn nothing_moves_but_a_running_rollout() {
    let rollout = Rollout::start(plan(), weights("blue=100"), 2, 0);
    let ends = [
        rollout.paused("by hand"),
        rollout.superseded(),
        rollout.promoted("by hand"),
        rollout.undone(State::Aborted, "by hand", 2, 0),
    ];
    for end in ends {
        assert_eq!(end.next(1 << 40, &judged(Verdict::Regressed)), None, "{:?}", end.state);
        if !end.state.is_live() {
            assert_eq!(end.superseded(), end);
        }
    }
}

#[test]
fn a_ramp_by_evidence_goes_as_far_as_the_data_allow() {
    let mut plan = plan();
    plan.pace = Pace::Evidence;
    plan.advance = Advance::NotRegressed;
    let rollout = Rollout::start(plan, weights("blue=100"), 2, 0);
    assert_eq!(rollout.share_ppm, FIRST_PPM);
    let at = |max_share| {
        let judged = Judged { max_share, ..judged(Verdict::Undecided) };
        rollout.next(1000, &judged).map(|next| next.share_ppm)
    };
    assert_eq!(at(0.01), None);
    assert_eq!(at(0.011), None, "too little for a revision");
    assert_eq!(at(0.31239), Some(312_300), "weights that can be read");
    assert_eq!(at(0.98), Some(500_000), "what it is compared with keeps its half");
    assert_eq!(at(1.0), Some(WHOLE_PPM));
}

#[test]
fn a_step_of_its_own_time_and_one_that_an_operator_ends() {
    let mut plan = plan();
    plan.steps[0].duration = Some(Duration::from_secs(5));
    plan.steps[1].manual = true;
    let first = Rollout::start(plan, weights("blue=100"), 2, 0);
    assert_eq!(first.next(4_999, &judged(Verdict::Safe)), None);
    let second = first.next(5_000, &judged(Verdict::Safe)).unwrap();
    assert_eq!((second.share_ppm, second.next_step_at_ms()), (500_000, None));
    assert!(second.waits_for_operator());
    assert_eq!(second.next(1_000_000, &judged(Verdict::Safe)), None);
    let harmed = second.next(1_000_000, &judged(Verdict::Regressed)).unwrap();
    assert_eq!(harmed.state, State::RolledBack, "it is judged all the same");
    let approved = second.approved();
    assert_eq!(approved.next(64_999, &judged(Verdict::Safe)), None, "its time is not over");
    let third = approved.next(65_000, &judged(Verdict::Safe)).unwrap();
    assert_eq!((third.share_ppm, third.approved), (1_000_000, false));
}

#[test]
fn a_way_back_goes_as_fast_as_it_can_be_borne() {
    let mut rollout = Rollout::start(plan(), weights("blue=100"), 4, 0);
    rollout.share_ppm = 800_000;
    let with = |stable| Judged { stable_endpoints: stable, ..judged(Verdict::Regressed) };
    let whole = rollout.next(1000, &with(4)).unwrap();
    assert_eq!((whole.share_ppm, whole.moves()), (0, false));
    // Half of the endpoints are gone: half of the traffic at once, the rest in 30 s.
    let half = rollout.next(1000, &with(2)).unwrap();
    assert_eq!((half.state, half.share_ppm), (State::RolledBack, 500_000));
    assert!(half.reason.contains("2 of 4 endpoints"), "{}", half.reason);
    assert_eq!(half.weights().to_string(), "blue=50 green=50");
    assert_eq!(half.next(5_999, &with(2)), None);
    let on = half.next(6_000, &with(2)).unwrap();
    assert_eq!((on.share_ppm, on.moves()), (416_600, true));
    let waits = on.waits_for(&with(2), &[]).join("; ");
    assert!(waits.contains("the last 41.66% follow bit by bit"), "{waits}");
    for end in [on.next(31_000, &with(1)), on.next(7_000, &with(4))] {
        let end = end.unwrap();
        assert_eq!((end.share_ppm, end.moves(), end.weights()), (0, false, weights("blue=100")));
    }
    // Nothing is spared for a version that cannot serve, and nobody's change is fought.
    let dead = Judged { canary_usable: false, ..with(2) };
    assert_eq!(half.next(2_000, &dead).unwrap().share_ppm, 0);
    assert!(!half.superseded().moves());
    // What it has is never taken from it.
    rollout.share_ppm = 100_000;
    assert_eq!(rollout.next(1000, &with(1)).unwrap().share_ppm, 100_000);
}

#[test]
fn whoever_resumes_it_gives_it_all_of_its_time_again() {
    let hour = 3_600_000;
    let mut plan = plan();
    plan.max_duration = Duration::from_secs(3600);
    let start = Rollout::start(plan, weights("blue=100"), 2, 0);
    let late = start.next(hour, &judged(Verdict::Undecided)).unwrap();
    assert_eq!(late.state, State::Paused);
    let again = late.resumed(2 * hour);
    assert_eq!(again.next(3 * hour - 1, &judged(Verdict::Undecided)), None);
    let late = again.next(3 * hour, &judged(Verdict::Undecided)).unwrap();
    assert_eq!(late.state, State::Paused);
}

#[test]
fn it_says_what_it_waits_for() {
    let start = Rollout::start(plan(), weights("blue=100"), 2, 0);
    let says = |rollout: &Rollout, judged: &Judged, unsure: &[&str]| {
        rollout.waits_for(judged, unsure).join("; ")
    };
    let undecided = judged(Verdict::Undecided);
    assert_eq!(says(&start, &undecided, &["errors", "p99"]), "errors, p99 to be safe");
    assert_eq!(says(&start, &undecided, &[]), "more requests and more time at this weight");
    assert_eq!(says(&start, &judged(Verdict::Suspect), &["p99"]), "the suspicion to clear");
    assert_eq!(says(&start, &judged(Verdict::Safe), &[]), "");
    let gated = Judged { gate: Gate::Waits("3 of 500 requests".into()), ..judged(Verdict::Safe) };
    assert_eq!(says(&start, &gated, &[]), "3 of 500 requests");
    let void = Judged { void: Some("void".into()), ..judged(Verdict::Safe) };
    assert_eq!(says(&start, &void, &[]), "requests to go where the weights send them");
    assert_eq!(says(&start.paused("by me"), &undecided, &["p99"]), "an operator to resume it");
    assert_eq!(says(&start.promoted("by me"), &undecided, &["p99"]), "");
    let mut by_hand = plan();
    by_hand.steps[0].manual = true;
    let by_hand = Rollout::start(by_hand, weights("blue=100"), 2, 0);
    let safe = judged(Verdict::Safe);
    assert_eq!(says(&by_hand, &safe, &[]), "an operator to end the step with `resume`");
    let mut by_evidence = plan();
    (by_evidence.pace, by_evidence.advance) = (Pace::Evidence, Advance::NotRegressed);
    let by_evidence = Rollout::start(by_evidence, weights("blue=100"), 2, 0);
    let allows = Judged { max_share: 0.0113, ..judged(Verdict::Undecided) };
    let words = "evidence that allows a greater share; now it is 1.1%";
    assert_eq!(says(&by_evidence, &allows, &["errors"]), words);
}
