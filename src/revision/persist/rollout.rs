//! The form of a rollout in a record.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Span, Wrong, version_name, weights, weights_doc};
use crate::plan::{Advance, AnalysisPlan, OnRegression, Pace, RolloutPlan, Step};
use crate::rollout::machine::{Return, Rollout, State, WHOLE_PPM};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RolloutDoc {
    to: String,
    steps: Vec<(u32, Option<Span>, bool)>,
    step_duration: Span,
    max_error_ppm: Option<u32>,
    max_latency: Vec<(u8, Span)>,
    max_mismatch_ppm: Option<u32>,
    alpha: f64,
    error_ratio: f64,
    error_margin_ppm: u32,
    latency_ratio: f64,
    min_requests: u64,
    #[serde(default)]
    warm_up: Option<Span>,
    by_evidence: bool,
    needs_safe: bool,
    max_duration: Span,
    pauses: bool,
    state: String,
    step: usize,
    share_ppm: u32,
    before: BTreeMap<String, u32>,
    generation: u32,
    epoch: u32,
    started_ms: u64,
    #[serde(default)]
    resumed_ms: Option<u64>,
    step_began_ms: u64,
    reason: String,
    approved: bool,
    stable_endpoints: u32,
    returning: Option<(u64, u32)>,
}

impl From<&Rollout> for RolloutDoc {
    fn from(of: &Rollout) -> Self {
        let plan = &of.plan;
        Self {
            to: plan.to.to_string(),
            steps: plan.steps.iter().map(step_doc).collect(),
            step_duration: plan.step_duration.into(),
            max_error_ppm: plan.max_error_ppm,
            max_latency: plan.max_latency.iter().map(|(p, bound)| (*p, (*bound).into())).collect(),
            max_mismatch_ppm: plan.max_mismatch_ppm,
            alpha: plan.analysis.alpha,
            error_ratio: plan.analysis.error_ratio,
            error_margin_ppm: plan.analysis.error_margin_ppm,
            latency_ratio: plan.analysis.latency_ratio,
            min_requests: plan.analysis.min_requests,
            warm_up: Some(plan.analysis.warm_up.into()),
            by_evidence: plan.pace == Pace::Evidence,
            needs_safe: plan.advance == Advance::Safe,
            max_duration: plan.max_duration.into(),
            pauses: plan.on_regression == OnRegression::Pause,
            state: of.state.as_str().to_owned(),
            step: of.step,
            share_ppm: of.share_ppm,
            before: weights_doc(&of.before),
            generation: of.generation,
            epoch: of.epoch,
            started_ms: of.started_ms,
            resumed_ms: of.resumed_ms,
            step_began_ms: of.step_began_ms,
            reason: of.reason.clone(),
            approved: of.approved,
            stable_endpoints: of.stable_endpoints,
            returning: of.returning.map(|returning| (returning.began_ms, returning.from_ppm)),
        }
    }
}

impl TryFrom<RolloutDoc> for Rollout {
    type Error = Wrong;

    fn try_from(doc: RolloutDoc) -> Result<Self, Wrong> {
        let state = State::ALL.into_iter().find(|state| state.as_str() == doc.state);
        let unknown = || format!("`{}` is no state of a rollout", doc.state.escape_debug());
        let state = state.ok_or_else(unknown)?;
        let shares = doc.steps.iter().map(|(share, ..)| share);
        if shares.chain([&doc.share_ppm]).any(|ppm| *ppm > WHOLE_PPM) {
            return Err("a rollout has a share above everything".into());
        }
        let bound = |(percentile, bound): (u8, Span)| Ok((percentile, bound.try_into()?));
        let plan = RolloutPlan {
            to: version_name(&doc.to)?,
            steps: doc.steps.into_iter().map(step).collect::<Result<_, _>>()?,
            step_duration: doc.step_duration.try_into()?,
            max_error_ppm: doc.max_error_ppm,
            max_latency: doc.max_latency.into_iter().map(bound).collect::<Result<_, Wrong>>()?,
            max_mismatch_ppm: doc.max_mismatch_ppm,
            analysis: AnalysisPlan {
                alpha: doc.alpha,
                error_ratio: doc.error_ratio,
                error_margin_ppm: doc.error_margin_ppm,
                latency_ratio: doc.latency_ratio,
                min_requests: doc.min_requests,
                warm_up: doc.warm_up.map(Span::try_into).transpose()?.unwrap_or_default(),
            },
            pace: if doc.by_evidence { Pace::Evidence } else { Pace::Steps },
            advance: if doc.needs_safe { Advance::Safe } else { Advance::NotRegressed },
            max_duration: doc.max_duration.try_into()?,
            on_regression: if doc.pauses { OnRegression::Pause } else { OnRegression::Rollback },
        };
        Ok(Self {
            plan,
            state,
            step: doc.step,
            share_ppm: doc.share_ppm,
            before: weights(doc.before)?,
            generation: doc.generation,
            epoch: doc.epoch,
            started_ms: doc.started_ms,
            resumed_ms: doc.resumed_ms,
            step_began_ms: doc.step_began_ms,
            reason: doc.reason,
            approved: doc.approved,
            stable_endpoints: doc.stable_endpoints,
            returning: doc.returning.map(|(began_ms, from_ppm)| Return { began_ms, from_ppm }),
        })
    }
}

fn step_doc(of: &Step) -> (u32, Option<Span>, bool) {
    (of.share_ppm, of.duration.map(Span::from), of.manual)
}

fn step((share_ppm, duration, manual): (u32, Option<Span>, bool)) -> Result<Step, Wrong> {
    let duration = duration.map(Span::try_into).transpose()?;
    Ok(Step { share_ppm, duration, manual })
}
