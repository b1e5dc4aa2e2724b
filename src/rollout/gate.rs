//! Plain bounds on a version: its error ratio, its latency quantiles, its answers as a shadow. No data
//! never passes.

use super::evidence::engine::Arm;
use super::evidence::latency::quantile;
use crate::plan::RolloutPlan;

/// What a gate says, with words for the operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Gate {
    Passes,
    /// Too little is known yet.
    Waits(String),
    Fails(String),
}

/// What comparing the answers of a version as a shadow has found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compared {
    pub requests: u64,
    pub mismatched: u64,
}

/// Judges the counts of a version since its step began, and its answers as a shadow, if it is one.
pub fn judge(plan: &RolloutPlan, counts: &Arm, shadow: Option<Compared>) -> Gate {
    match judge_shadow(plan, shadow) {
        Gate::Passes => judge_counts(plan, counts),
        gate => gate,
    }
}

fn judge_shadow(plan: &RolloutPlan, shadow: Option<Compared>) -> Gate {
    let Some(max_ppm) = plan.max_mismatch_ppm else { return Gate::Passes };
    let to = &plan.to;
    let Some(Compared { requests, mismatched }) = shadow else {
        return Gate::Waits(format!("`{to}` is not compared as a shadow"));
    };
    let needed = plan.analysis.min_requests.max(1);
    if requests < needed {
        return Gate::Waits(format!("{requests} of {needed} answers of `{to}` as a shadow"));
    }
    let ppm = mismatched as f64 * 1e6 / requests as f64;
    match ppm > f64::from(max_ppm) {
        true => Gate::Fails(format!(
            "{:.2} % of the shadow's answers differ, above {} %",
            ppm / 1e4,
            f64::from(max_ppm) / 1e4
        )),
        false => Gate::Passes,
    }
}

fn judge_counts(plan: &RolloutPlan, counts: &Arm) -> Gate {
    if plan.max_error_ppm.is_none() && plan.max_latency.is_empty() {
        return match counts.requests {
            0 => Gate::Waits("a first request in this step".to_owned()),
            _ => Gate::Passes,
        };
    }
    let needed = plan.analysis.min_requests.max(1);
    if counts.requests < needed {
        return Gate::Waits(format!("{} of {needed} requests in this step", counts.requests));
    }
    if let Some(max_ppm) = plan.max_error_ppm {
        let ppm = counts.errors as f64 * 1e6 / counts.requests as f64;
        if ppm > f64::from(max_ppm) {
            let (found, max) = (ppm / 1e4, f64::from(max_ppm) / 1e4);
            return Gate::Fails(format!("the error rate is {found:.2} %, above {max} %"));
        }
    }
    for (percentile, bound) in &plan.max_latency {
        let Some(micros) = quantile(&counts.latency, f64::from(*percentile) / 100.0) else {
            return Gate::Waits(format!("no latency for p{percentile} in this step"));
        };
        if u128::from(micros) > bound.as_micros() {
            let found = micros as f64 / 1e3;
            let bound = bound.as_secs_f64() * 1e3;
            return Gate::Fails(format!("p{percentile} is {found:.1} ms, above {bound} ms"));
        }
    }
    Gate::Passes
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::rollout::evidence::latency::{BUCKETS, index};

    #[test]
    fn bounds_hold_only_over_enough_requests() {
        let mut plan = RolloutPlan::to("green".parse().unwrap());
        let arm = |requests, errors, micros: u64| {
            let mut latency = vec![0; BUCKETS];
            latency[index(micros)] = requests as u32;
            Arm { requests, errors, latency, ..Arm::default() }
        };
        let judge = |plan: &RolloutPlan, counts: &Arm| judge(plan, counts, None);
        assert_eq!(judge(&plan, &arm(1, 1, 1)), Gate::Passes, "without bounds");
        assert!(matches!(judge(&plan, &Arm::default()), Gate::Waits(_)), "no data never passes");
        plan.max_error_ppm = Some(10_000);
        plan.max_latency = vec![(95, Duration::from_millis(50))];
        let cases = [
            (arm(0, 0, 1), "waits"),
            (arm(499, 499, 1), "waits"),
            (arm(500, 5, 49_000), "passes"),
            (arm(500, 6, 1000), "1.20 %"),
            (arm(500, 0, 60_000), "p95 is"),
        ];
        for (counts, expect) in cases {
            let found = match judge(&plan, &counts) {
                Gate::Passes => "passes".to_owned(),
                Gate::Waits(_) => "waits".to_owned(),
                Gate::Fails(text) => text,
            };
            assert!(found.contains(expect), "{found} {expect}");
        }
    }

    #[test]
    fn a_shadow_that_is_asked_for_must_have_been_compared() {
        let mut plan = RolloutPlan::to("green".parse().unwrap());
        let one = Arm { requests: 1, ..Arm::default() };
        assert_eq!(judge(&plan, &one, None), Gate::Passes);
        plan.max_mismatch_ppm = Some(10_000);
        assert!(matches!(judge(&plan, &one, None), Gate::Waits(_)));
        let shadow = |requests, mismatched| Some(Compared { requests, mismatched });
        assert!(matches!(judge(&plan, &one, shadow(499, 0)), Gate::Waits(_)));
        assert_eq!(judge(&plan, &one, shadow(500, 5)), Gate::Passes);
        assert!(matches!(judge(&plan, &one, shadow(500, 6)), Gate::Fails(_)));
    }
}
