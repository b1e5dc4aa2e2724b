//! Rollouts as callers see and start them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::ChangeDto;
use super::request::{parse_duration, version_name};
use crate::admin::problem::Problem;
use crate::limits::ROLLOUT_STEPS_MAX;
use crate::plan::{Advance, OnRegression, Pace, RolloutPlan, Step};
use crate::rollout::driver::View;
use crate::rollout::evidence::engine::Evidence;
use crate::rollout::evidence::interval::Estimate;

/// A rollout, running or over.
#[derive(Debug, Serialize, ToSchema)]
pub struct RolloutDto {
    /// `running`, `paused`, `succeeded`, `rolled_back` or `aborted`.
    pub state: &'static str,
    /// The version that gets the traffic.
    pub to: String,
    /// The step it is in, from 1.
    pub step: usize,
    /// Percent.
    pub steps: Vec<f64>,
    /// `steps`, or `evidence`: as fast as the data can exclude harm, whatever the steps.
    pub pace: &'static str,
    /// Whether the step ends only when an operator resumes.
    pub manual: bool,
    /// The share of the version now.
    pub weight_percent: f64,
    /// `regressed`, `suspect`, `undecided` or `safe`.
    pub verdict: &'static str,
    /// What each metric says.
    pub evidence: BTreeMap<&'static str, EvidenceDto>,
    /// Why it stands where it stands.
    pub reason: String,
    /// Why the verdict says nothing, if so.
    pub void: Option<String>,
    /// What the plain gates wait for, if for anything.
    pub gate: Option<String>,
    /// What the next move waits for beside the clock: verdict, gates, an operator.
    pub waits_for: Vec<String>,
    /// The greatest share at which the excess of errors is excluded to be above a thousandth of all.
    pub max_weight_percent: f64,
    /// What to keep in mind when reading all this.
    pub notes: Vec<String>,
    /// RFC 3339.
    pub started_at: String,
    /// When the step may end; null when no clock decides it.
    pub next_step_at: Option<String>,
}

/// What one metric says.
#[derive(Debug, Serialize, ToSchema)]
pub struct EvidenceDto {
    /// Natural logarithm of the odds that the version is worse than tolerated.
    pub log_evidence: f64,
    /// The same for that it is within the bounds of a promotion.
    pub log_safety: f64,
    /// How strongly bad requests come in bursts; 1 is not at all.
    pub phi: f64,
    pub verdict: &'static str,
    /// The version's rate less the baseline's: low, estimate, high; null where there is none.
    pub difference: Option<[Option<f64>; 3]>,
    /// The version's rate over the baseline's.
    pub ratio: Option<[Option<f64>; 3]>,
    /// The quantile of the baseline and of the version, in milliseconds; of latency only.
    pub quantiles_ms: Option<[f64; 2]>,
    /// All of it in a sentence.
    pub text: String,
}

impl From<Evidence> for EvidenceDto {
    fn from(of: Evidence) -> Self {
        let finite = |value: f64| value.is_finite().then_some(value);
        let ends = |e: Estimate| [finite(e.low), finite(e.point), finite(e.high)];
        Self {
            log_evidence: of.log_evidence,
            log_safety: of.log_safety,
            phi: of.dispersion,
            verdict: of.verdict.as_str(),
            difference: of.difference.map(ends),
            ratio: of.ratio.map(ends),
            quantiles_ms: of.quantiles.map(|both| both.map(|micros| micros as f64 / 1e3)),
            text: of.text,
        }
    }
}

impl From<View> for RolloutDto {
    fn from(view: View) -> Self {
        let View { rollout, share, verdict, void, gate, waits_for, evidence, max_share, notes } =
            view;
        let percent = |ppm: u32| f64::from(ppm) / 1e4;
        let at = |ms: u64| {
            let at = jiff::Timestamp::from_millisecond(i64::try_from(ms).unwrap_or(i64::MAX));
            at.unwrap_or_default().to_string()
        };
        let named = |evidence: Evidence| (evidence.metric.as_str(), evidence.into());
        Self {
            state: rollout.state.as_str(),
            to: rollout.plan.to.to_string(),
            step: rollout.step + 1,
            steps: rollout.plan.steps.iter().map(|step| percent(step.share_ppm)).collect(),
            pace: rollout.plan.pace.as_str(),
            manual: rollout.waits_for_operator(),
            weight_percent: share,
            verdict: verdict.as_str(),
            evidence: evidence.into_iter().map(named).collect(),
            reason: rollout.reason.clone(),
            void,
            gate,
            waits_for,
            max_weight_percent: max_share * 100.0,
            notes,
            started_at: at(rollout.started_ms),
            next_step_at: rollout.next_step_at_ms().map(at),
        }
    }
}

/// What a change did, and the rollout afterwards.
#[derive(Debug, Serialize, ToSchema)]
pub struct RolloutChangeDto {
    #[serde(flatten)]
    pub change: ChangeDto,
    pub rollout: Option<RolloutDto>,
}

/// A percentage: a number, or a text like `1%`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum PercentBody {
    Number(f64),
    Text(String),
}

impl PercentBody {
    /// A step of a rollout: a percentage, and as a text its terms behind it.
    fn step(&self) -> Result<Step, Problem> {
        let Self::Text(text) = self else { return self.ppm("steps").map(Step::to) };
        let end = text.find('%').map_or(text.len(), |place| place + 1);
        let share = Self::Text(text[..end].to_owned()).ppm("steps")?;
        Step::to(share).with_terms(&text[end..]).map_err(|word| {
            Problem::invalid(format!(
                "`{}` is no term of a step; write e.g. `25% for 10m, manual`",
                word.escape_debug()
            ))
        })
    }

    fn ppm(&self, key: &str) -> Result<u32, Problem> {
        let (percent, shown) = match self {
            Self::Number(number) => (Some(*number), number.to_string()),
            Self::Text(text) => {
                (text.trim().trim_end_matches('%').trim().parse().ok(), text.clone())
            }
        };
        let sane = percent.filter(|percent| (0.0..=100.0).contains(percent));
        let shown = shown.escape_debug();
        let wrong = || {
            Problem::invalid(format!("`{key}` is `{shown}`; write a percentage, e.g. `1%` or 1"))
        };
        sane.map(|percent| (percent * 1e4).round() as u32).ok_or_else(wrong)
    }
}

/// How a rollout is started; what is left out is as the file says, or, without it, the default.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RolloutBody {
    /// The version that gets the traffic; required unless the file plans a rollout.
    to: Option<String>,
    /// Its share at each step, in percent, ascending; as a text with its terms:
    /// `25% for 10m, manual`.
    steps: Option<Vec<PercentBody>>,
    /// E.g. `5m`.
    step_duration: Option<String>,
    /// E.g. `1%`.
    max_error_rate: Option<PercentBody>,
    /// E.g. `1%`.
    max_mismatch: Option<PercentBody>,
    /// By percentile, e.g. {"p95": "1s"}.
    max_latency: Option<BTreeMap<String, String>>,
    analysis: Option<AnalysisBody>,
    /// `steps` or `evidence`.
    pace: Option<String>,
    /// `safe` or `not_regressed`; if only `pace` is given, what is usual for it.
    advance: Option<String>,
    max_duration: Option<String>,
    /// `rollback` or `pause`.
    on_regression: Option<String>,
    /// Go on although the last rollout was rolled back.
    #[serde(default)]
    pub acknowledge: bool,
}

/// The bounds of the sequential analysis.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AnalysisBody {
    alpha: Option<f64>,
    error_ratio: Option<f64>,
    error_margin: Option<PercentBody>,
    latency_ratio: Option<f64>,
    min_requests: Option<u64>,
    /// How long neither version is judged after the start, e.g. `30s`.
    warm_up: Option<String>,
}

impl RolloutBody {
    /// The plan, over that of the file.
    pub fn plan(&self, file: Option<&RolloutPlan>) -> Result<RolloutPlan, Problem> {
        let to = self.to.as_deref().map(version_name).transpose()?;
        let mut plan = match (to, file) {
            (Some(to), Some(file)) => RolloutPlan { to, ..file.clone() },
            (None, Some(file)) => file.clone(),
            (Some(to), None) => RolloutPlan::to(to),
            (None, None) => {
                return Err(Problem::invalid(
                    "`to` is missing, and the file plans no rollout; write e.g. {\"to\": \"green\"}",
                ));
            }
        };
        if let Some(steps) = &self.steps {
            plan.steps = read_steps(steps)?;
        }
        let duration = |key: &str, text: &Option<String>| {
            text.as_deref().map(|text| parse_duration(key, text)).transpose()
        };
        plan.step_duration =
            duration("step_duration", &self.step_duration)?.unwrap_or(plan.step_duration);
        plan.max_duration =
            duration("max_duration", &self.max_duration)?.unwrap_or(plan.max_duration);
        if let Some(rate) = &self.max_error_rate {
            plan.max_error_ppm = Some(rate.ppm("max_error_rate")?);
        }
        if let Some(rate) = &self.max_mismatch {
            plan.max_mismatch_ppm = Some(rate.ppm("max_mismatch")?);
        }
        if let Some(bounds) = &self.max_latency {
            let bound = |(key, text): (&String, &String)| {
                let percentile = percentile(key)?;
                Ok((percentile, parse_duration(&format!("max_latency.{key}"), text)?))
            };
            plan.max_latency = bounds.iter().map(bound).collect::<Result<_, Problem>>()?;
        }
        let choose = |key: &str, text: &Option<String>, words: [&str; 2]| match text.as_deref() {
            None => Ok(None),
            Some(word) => match words.iter().position(|known| *known == word) {
                Some(place) => Ok(Some(place)),
                None => Err(Problem::invalid(format!(
                    "`{key}` is `{}`; write `{}` or `{}`",
                    word.escape_debug(),
                    words[0],
                    words[1]
                ))),
            },
        };
        if let Some(place) = choose("pace", &self.pace, ["steps", "evidence"])? {
            plan.pace = [Pace::Steps, Pace::Evidence][place];
            plan.advance = plan.pace.usual_advance();
        }
        if let Some(place) = choose("advance", &self.advance, ["safe", "not_regressed"])? {
            plan.advance = [Advance::Safe, Advance::NotRegressed][place];
        }
        if let Some(place) = choose("on_regression", &self.on_regression, ["rollback", "pause"])? {
            plan.on_regression = [OnRegression::Rollback, OnRegression::Pause][place];
        }
        self.analysis.as_ref().map_or(Ok(()), |analysis| analysis.apply(&mut plan))?;
        Ok(plan)
    }
}

impl AnalysisBody {
    fn apply(&self, plan: &mut RolloutPlan) -> Result<(), Problem> {
        let analysis = &mut plan.analysis;
        let within = |key: &str, value: Option<f64>, low: f64, high: f64| match value {
            Some(value) if !(low..=high).contains(&value) => Err(Problem::invalid(format!(
                "`analysis.{key}` is {value}; write a number from {low} to {high}"
            ))),
            value => Ok(value),
        };
        if let Some(alpha) = within("alpha", self.alpha, 1e-9, 0.499)? {
            analysis.alpha = alpha;
        }
        if let Some(ratio) = within("error_ratio", self.error_ratio, 1.0, 100.0)? {
            analysis.error_ratio = ratio;
        }
        if let Some(ratio) = within("latency_ratio", self.latency_ratio, 1.0, 100.0)? {
            analysis.latency_ratio = ratio;
        }
        if let Some(margin) = &self.error_margin {
            analysis.error_margin_ppm = margin.ppm("analysis.error_margin")?;
        }
        analysis.min_requests = self.min_requests.unwrap_or(analysis.min_requests);
        if let Some(text) = &self.warm_up {
            analysis.warm_up = parse_duration("analysis.warm_up", text)?;
        }
        Ok(())
    }
}

fn read_steps(bodies: &[PercentBody]) -> Result<Vec<Step>, Problem> {
    let steps: Vec<Step> = bodies.iter().map(PercentBody::step).collect::<Result<_, _>>()?;
    let ascending = steps.windows(2).all(|pair| pair[0].share_ppm < pair[1].share_ppm);
    let begins = steps.first().is_some_and(|step| step.share_ppm > 0);
    if steps.len() > ROLLOUT_STEPS_MAX || !begins || !ascending {
        let text = format!(
            "`steps` must be 1 to {ROLLOUT_STEPS_MAX} percentages above 0 that ascend, e.g. \
             [10, 25, 50, 75, 100]"
        );
        return Err(Problem::invalid(text));
    }
    Ok(steps)
}

fn percentile(key: &str) -> Result<u8, Problem> {
    let known = [("p50", 50), ("p90", 90), ("p95", 95), ("p99", 99)];
    let found = known.into_iter().find(|(name, _)| *name == key);
    found.map(|(_, percentile)| percentile).ok_or_else(|| {
        let key = key.escape_debug();
        Problem::invalid(format!("`max_latency.{key}` is unknown; write p50, p90, p95 or p99"))
    })
}

/// What the business tells of requests: of one by its id, or of some of a version.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OutcomeBody {
    /// The `X-Request-Id` of a request.
    pub request_id: Option<String>,
    pub service: Option<String>,
    pub version: Option<String>,
    /// Whether these requests went well.
    pub ok: bool,
    /// How many; one unless told otherwise.
    pub count: Option<u64>,
}

/// That it was noted.
#[derive(Debug, Serialize, ToSchema)]
pub struct OutcomeDto {
    /// The revision in force.
    pub revision: u64,
    /// How many were noted.
    pub noted: u64,
    /// Why it was none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<&'static str>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pace_brings_what_is_usual_for_it() {
        let file = RolloutPlan::to("green".parse().unwrap());
        let cases = [
            ("{}", Advance::Safe),
            (r#"{"pace": "evidence"}"#, Advance::NotRegressed),
            (r#"{"pace": "evidence", "advance": "safe"}"#, Advance::Safe),
            (r#"{"pace": "steps"}"#, Advance::Safe),
        ];
        for (text, expect) in cases {
            let body: RolloutBody = serde_json::from_str(text).unwrap();
            let plan = body.plan(Some(&file)).unwrap_or_else(|problem| panic!("{problem}"));
            assert_eq!(plan.advance, expect, "{text}");
        }
    }
}
