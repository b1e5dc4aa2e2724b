//! The section `[service.NAME.rollout]`: the plan that `rollout start` carries out.

use std::sync::Arc;
use std::time::Duration;

use super::error::Problem;
use super::read::Section;
use super::reference::{ANALYSIS, MAX_LATENCY, ROLLOUT};
use super::service::VersionNames;
use super::value;
use crate::limits::ROLLOUT_STEPS_MAX;
use crate::plan::{Advance, AnalysisPlan, OnRegression, Pace, RolloutPlan, Step};

/// Reads the rollout of a service, if it has one.
pub(super) fn read(service: &Section<'_>, versions: &VersionNames<'_>) -> Option<Arc<RolloutPlan>> {
    const PACES: [(&str, Pace); 2] = [("steps", Pace::Steps), ("evidence", Pace::Evidence)];
    const ADVANCES: [(&str, Advance); 2] =
        [("safe", Advance::Safe), ("not_regressed", Advance::NotRegressed)];
    const ENDS: [(&str, OnRegression); 2] =
        [("rollback", OnRegression::Rollback), ("pause", OnRegression::Pause)];
    let section = service.optional_section("rollout", ROLLOUT)?;
    let to = section.required("to", |node| versions.read(node));
    let steps = read_steps(&section);
    let pace: Pace = section.value("pace", value::word(&PACES));
    let advance = section.optional("advance", value::word(&ADVANCES));
    Some(Arc::new(RolloutPlan {
        step_duration: section.value("step_duration", value::duration),
        max_error_ppm: section.optional("max_error_rate", value::percent),
        max_mismatch_ppm: section.optional("max_mismatch", value::percent),
        max_latency: read_max_latency(&section.section("max_latency", MAX_LATENCY)),
        analysis: read_analysis(&section.section("analysis", ANALYSIS)),
        pace,
        advance: advance.unwrap_or(pace.usual_advance()),
        max_duration: section.value("max_duration", value::duration),
        on_regression: section.value("on_regression", value::word(&ENDS)),
        to: to?,
        steps: steps?,
    }))
}

fn read_steps(section: &Section<'_>) -> Option<Vec<Step>> {
    const KEY: &str = "steps";
    let steps = section.list(KEY, value::step)?;
    let findings = section.context.findings;
    if steps.is_empty() || steps.len() > ROLLOUT_STEPS_MAX {
        let problem = Problem::new(format!("a rollout has 1 to {ROLLOUT_STEPS_MAX} steps"));
        section.error(KEY, problem.help("e.g. `steps = [10, 25, 50, 75, 100]`"));
    }
    if let Some(zero) = steps.iter().find(|step| step.value.share_ppm == 0) {
        let problem = Problem::new("a step of 0% moves nothing");
        findings.error(zero.place, &zero.path, problem.help("begin with a share above 0"));
    }
    for pair in steps.windows(2) {
        if pair[0].value.share_ppm >= pair[1].value.share_ppm {
            let problem = Problem::new("the steps of a rollout must ascend")
                .related(pair[0].place, "this one is not lower");
            findings.error(pair[1].place, &pair[1].path, problem);
        }
    }
    Some(steps.into_iter().map(|step| step.value).collect())
}

fn read_max_latency(section: &Section<'_>) -> Vec<(u8, Duration)> {
    let percentiles = [("p50", 50), ("p90", 90), ("p95", 95), ("p99", 99)];
    let bound = |(key, percentile)| Some((percentile, section.optional(key, value::duration)?));
    percentiles.into_iter().filter_map(bound).collect()
}

fn read_analysis(section: &Section<'_>) -> AnalysisPlan {
    AnalysisPlan {
        alpha: section.value("alpha", |node| match value::decimal(0.0..=0.5)(node)? {
            alpha if alpha > 0.0 && alpha < 0.5 => Ok(alpha),
            alpha => Err(Problem::new(format!("{alpha} is out of range"))
                .help("use a number between 0 and 0.5, neither of the two")),
        }),
        error_ratio: section.value("error_ratio", value::decimal(1.0..=100.0)),
        error_margin_ppm: section.value("error_margin", value::percent),
        latency_ratio: section.value("latency_ratio", value::decimal(1.0..=100.0)),
        min_requests: section.value("min_requests", value::whole(0..=1_000_000_000u64)),
        warm_up: section.value("warm_up", value::duration_or_zero),
    }
}
