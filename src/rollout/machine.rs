//! What a rollout does next: a value and its transitions, with time as an argument.
//!
//! A rollout is part of its service's traffic, so that weight and position change in one revision
//! and a restart finds both. Times are milliseconds of the wall clock: they outlive the process.

use std::collections::BTreeMap;
use std::time::Duration;

use super::evidence::engine::Verdict;
use super::gate::Gate;
use crate::name::VersionName;
use crate::plan::{Advance, OnRegression, Pace, RolloutPlan};
use crate::weight::Weights;

/// Everything, in parts per million.
pub const WHOLE_PPM: u32 = 1_000_000;
/// What a ramp paced by evidence begins with: before any data, this is what may be risked.
const FIRST_PPM: u32 = 10_000;
/// What it has at most until everything may be moved: from equal shares is learned most.
const COMPARED_PPM: u32 = 500_000;
/// A ramp paced by evidence is raised when it may grow by this much: each raise is a revision.
const RAISE_MIN: f64 = 1.2;
/// When the versions it goes back to have lost endpoints, all the traffic is theirs after this.
const RETURN_BOUND: Duration = Duration::from_secs(30);
/// In so many moves: each is a revision.
const RETURN_MOVES: u64 = 6;
/// Shares that no plan names are whole hundredths of a percent: weights are there to be read.
const ROUND_PPM: u32 = 100;
/// What the reasons of a regression and of a gate begin with.
const REGRESSED: &str = "regressed";
const GATE_FAILED: &str = "gate failed";

/// Where a rollout stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Running,
    Paused,
    Succeeded,
    RolledBack,
    Aborted,
}

impl State {
    /// Every state, in the order of their numbers.
    pub const ALL: [Self; 5] =
        [Self::Running, Self::Paused, Self::Succeeded, Self::RolledBack, Self::Aborted];

    /// The word of reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Succeeded => "succeeded",
            Self::RolledBack => "rolled_back",
            Self::Aborted => "aborted",
        }
    }

    /// The value of `tidegate_rollout_state`.
    pub fn number(self) -> f64 {
        match self {
            Self::Running => 1.0,
            Self::Paused => 2.0,
            Self::Succeeded => 3.0,
            Self::RolledBack => 4.0,
            Self::Aborted => 5.0,
        }
    }

    /// Whether it may still move weight.
    pub fn is_live(self) -> bool {
        matches!(self, Self::Running | Self::Paused)
    }
}

/// A rollout as it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Rollout {
    pub plan: RolloutPlan,
    pub state: State,
    /// The step it is in, from 0.
    pub step: usize,
    /// The share of the new version.
    pub share_ppm: u32,
    /// The weights before it began, and after it was undone.
    pub before: Weights,
    /// The number of the present weight; counts belong to the one they were assigned under.
    pub generation: u32,
    /// How often its evidence was begun anew.
    pub epoch: u32,
    pub started_ms: u64,
    /// When an operator resumed it last: whoever does gives it all of its time again.
    pub resumed_ms: Option<u64>,
    pub step_began_ms: u64,
    /// Why it stands where it stands.
    pub reason: String,
    /// Whether an operator has ended the step it is in, which ends only so.
    pub approved: bool,
    /// Usable endpoints of the versions with weight when it began.
    pub stable_endpoints: u32,
    /// A way back that is not over yet.
    pub returning: Option<Return>,
}

/// A way back that is taken bit by bit, for the sake of those who get the traffic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Return {
    pub began_ms: u64,
    /// The share of the new version when it began.
    pub from_ppm: u32,
}

/// What is known when it is decided.
#[derive(Debug, Clone, PartialEq)]
pub struct Judged {
    pub verdict: Verdict,
    /// What a regression is put down to, in words.
    pub blamed: String,
    /// Why the verdict says nothing.
    pub void: Option<String>,
    pub gate: Gate,
    /// The greatest share that the data allow.
    pub max_share: f64,
    /// Whether the new version has an endpoint to serve with.
    pub canary_usable: bool,
    /// Usable endpoints of the versions that it would go back to.
    pub stable_endpoints: u32,
}

impl Rollout {
    /// One that begins now, with so many usable endpoints of the versions that have the traffic.
    pub fn start(plan: RolloutPlan, before: Weights, stable_endpoints: u32, now_ms: u64) -> Self {
        let first = plan.steps.first().map_or(WHOLE_PPM, |step| step.share_ppm);
        let share_ppm = match plan.pace {
            Pace::Steps => first,
            Pace::Evidence => first.min(FIRST_PPM),
        };
        Self {
            state: State::Running,
            step: 0,
            share_ppm,
            before,
            generation: 1,
            epoch: 0,
            started_ms: now_ms,
            resumed_ms: None,
            step_began_ms: now_ms,
            reason: "started".to_owned(),
            approved: false,
            stable_endpoints,
            returning: None,
            plan,
        }
    }

    /// Whether it may still change weights by itself.
    pub fn moves(&self) -> bool {
        self.state == State::Running || self.returning.is_some()
    }

    /// Whether its weights are not its last.
    pub fn is_under_way(&self) -> bool {
        self.state.is_live() || self.returning.is_some()
    }

    /// Whether its step ends only when an operator resumes it.
    pub fn waits_for_operator(&self) -> bool {
        let manual = self.plan.steps.get(self.step).is_some_and(|step| step.manual);
        self.state == State::Running && self.plan.pace == Pace::Steps && manual && !self.approved
    }

    /// The same, its step ended by an operator: time, gates and verdict still hold it.
    pub fn approved(&self) -> Self {
        Self { approved: true, reason: "resumed".to_owned(), ..self.clone() }
    }

    /// Whether it was stopped because of what the new version did.
    pub fn has_caught(&self) -> bool {
        [REGRESSED, GATE_FAILED].iter().any(|word| self.reason.starts_with(word))
    }

    /// The weights that it wants now.
    pub fn weights(&self) -> Weights {
        match self.state {
            State::RolledBack | State::Aborted if self.returning.is_none() => self.before.clone(),
            _ => split(&self.before, &self.plan.to, self.share_ppm),
        }
    }

    /// The same, standing still until somebody resumes it.
    pub fn paused(&self, reason: &str) -> Self {
        Self { state: State::Paused, reason: reason.to_owned(), ..self.clone() }
    }

    /// What becomes of it when somebody else changes the weights: it never fights.
    pub fn superseded(&self) -> Self {
        match self.state {
            State::Running | State::Paused => {
                let share = f64::from(self.share_ppm) / 1e4;
                let text = format!(
                    "superseded: the weights were changed by another; `resume` brings {share}% back"
                );
                Self { generation: self.generation + 1, ..self.paused(&text) }
            }
            _ => Self { returning: None, ..self.clone() },
        }
    }

    /// Goes on with its step from its beginning. After a regression the evidence begins anew: whoever
    /// resumes has seen it.
    pub fn resumed(&self, now_ms: u64) -> Self {
        let anew = u32::from(self.reason.starts_with(REGRESSED));
        Self {
            state: State::Running,
            reason: "resumed".to_owned(),
            resumed_ms: Some(now_ms),
            step_began_ms: now_ms,
            generation: self.generation + 1,
            epoch: self.epoch + anew,
            ..self.clone()
        }
    }

    /// Everything to the new version, at once.
    pub fn promoted(&self, reason: &str) -> Self {
        Self {
            state: State::Succeeded,
            share_ppm: WHOLE_PPM,
            step: self.plan.steps.len().saturating_sub(1),
            generation: self.generation + 1,
            reason: reason.to_owned(),
            ..self.clone()
        }
    }

    /// Back to the weights before it: at once, or, if those who had the traffic have lost endpoints
    /// since, as far as they can bear at once and the rest within half a minute.
    pub fn undone(&self, state: State, reason: &str, stable_endpoints: u32, now_ms: u64) -> Self {
        let (stable, had) = (stable_endpoints, self.stable_endpoints);
        let bearable = f64::from(stable) / f64::from(had.max(1));
        let last_ppm = self.before_ppm();
        let at_once = ((1.0 - bearable).max(0.0) * f64::from(WHOLE_PPM)).round() as u32;
        let share_ppm = rounded(at_once).clamp(last_ppm.min(self.share_ppm), self.share_ppm);
        let is_whole = bearable >= 1.0 || share_ppm <= last_ppm;
        let bound = RETURN_BOUND.as_secs();
        let reason = match is_whole {
            true => reason.to_owned(),
            false => format!(
                "{reason}; what it goes back to has {stable} of {had} endpoints left, so that the \
                 last of the traffic follows within {bound} s"
            ),
        };
        Self {
            state,
            share_ppm: if is_whole { last_ppm } else { share_ppm },
            generation: self.generation + 1,
            reason,
            returning: (!is_whole).then_some(Return { began_ms: now_ms, from_ppm: share_ppm }),
            ..self.clone()
        }
    }

    /// The share of the new version before it began.
    fn before_ppm(&self) -> u32 {
        (self.before.percent(&self.plan.to) * 1e4).round() as u32
    }

    /// The next move of a way back that is taken bit by bit.
    fn returned(&self, way: Return, now_ms: u64, judged: &Judged) -> Option<Self> {
        let bound = RETURN_BOUND.as_millis() as u64;
        let passed = now_ms.saturating_sub(way.began_ms);
        // There is nothing to spare it for where the other side cannot serve, or is whole again.
        let is_last = passed >= bound
            || !judged.canary_usable
            || judged.stable_endpoints >= self.stable_endpoints;
        let last_ppm = self.before_ppm();
        let moves =
            u64::from(way.from_ppm.saturating_sub(last_ppm)) * (passed * RETURN_MOVES / bound);
        let share_ppm = match is_last {
            true => last_ppm,
            false => rounded(way.from_ppm - (moves / RETURN_MOVES) as u32).max(last_ppm),
        };
        (is_last || share_ppm < self.share_ppm).then(|| Self {
            share_ppm,
            generation: self.generation + 1,
            returning: self.returning.filter(|_| !is_last),
            ..self.clone()
        })
    }

    /// Milliseconds at which the step may end, if it has an end by the clock.
    pub fn next_step_at_ms(&self) -> Option<u64> {
        let by_clock = self.state == State::Running && self.plan.pace == Pace::Steps;
        (by_clock && !self.waits_for_operator()).then(|| self.step_ends_ms())
    }

    fn step_ends_ms(&self) -> u64 {
        let own = self.plan.steps.get(self.step).and_then(|step| step.duration);
        self.step_began_ms + own.unwrap_or(self.plan.step_duration).as_millis() as u64
    }

    /// What comes next, or `None` to wait.
    pub fn next(&self, now_ms: u64, judged: &Judged) -> Option<Self> {
        if let Some(way) = self.returning {
            return self.returned(way, now_ms, judged);
        }
        if self.state != State::Running {
            return None;
        }
        if let Some(harm) = self.harm(judged) {
            return Some(self.undo(&harm, judged, now_ms));
        }
        let elapsed = now_ms.saturating_sub(self.resumed_ms.unwrap_or(self.started_ms));
        if u128::from(elapsed) >= self.plan.max_duration.as_millis() {
            return Some(self.paused("max_duration is over and nothing is decided"));
        }
        let whole = self.share_ppm == WHOLE_PPM;
        // With everything on the new version there is nothing to compare it with.
        let vouched = whole || self.is_vouched(judged);
        if !vouched || judged.gate != Gate::Passes {
            return None;
        }
        match self.plan.pace {
            Pace::Steps if self.waits_for_operator() || now_ms < self.step_ends_ms() => None,
            Pace::Steps => Some(self.raised(now_ms)),
            Pace::Evidence => self.paced(now_ms, judged),
        }
    }

    /// What its next move waits for beside the clock, in words; `unsure` are the metrics that are not
    /// known to be safe.
    pub fn waits_for(&self, judged: &Judged, unsure: &[&str]) -> Vec<String> {
        if self.returning.is_some() {
            let (bound, share) = (RETURN_BOUND.as_secs(), f64::from(self.share_ppm) / 1e4);
            return vec![format!(
                "what it goes back to: it has lost endpoints, so that the last {share}% follow bit \
                 by bit, within {bound} s"
            )];
        }
        match self.state {
            State::Running => {}
            State::Paused => return vec!["an operator to resume it".to_owned()],
            State::Succeeded | State::RolledBack | State::Aborted => return Vec::new(),
        }
        let mut waits = Vec::new();
        if self.share_ppm != WHOLE_PPM && !self.is_vouched(judged) {
            waits.push(match judged.verdict {
                _ if judged.void.is_some() => {
                    "requests to go where the weights send them".to_owned()
                }
                Verdict::Suspect | Verdict::Regressed => "the suspicion to clear".to_owned(),
                _ if unsure.is_empty() => "more requests and more time at this weight".to_owned(),
                _ => format!("{} to be safe", unsure.join(", ")),
            });
        } else if self.share_ppm != WHOLE_PPM && self.plan.pace == Pace::Evidence {
            let allowed = judged.max_share * 100.0;
            waits.push(format!("evidence that allows a greater share; now it is {allowed:.1}%"));
        }
        if let Gate::Waits(text) | Gate::Fails(text) = &judged.gate {
            waits.push(text.clone());
        }
        if self.waits_for_operator() {
            waits.push("an operator to end the step with `resume`".to_owned());
        }
        waits
    }

    fn harm(&self, judged: &Judged) -> Option<String> {
        if judged.verdict == Verdict::Regressed && judged.void.is_none() {
            return Some(format!("{REGRESSED}: {}", judged.blamed));
        }
        if !judged.canary_usable {
            return Some(format!("{REGRESSED}: version `{}` has no usable endpoint", self.plan.to));
        }
        match &judged.gate {
            Gate::Fails(text) => Some(format!("{GATE_FAILED}: {text}")),
            Gate::Passes | Gate::Waits(_) => None,
        }
    }

    fn undo(&self, reason: &str, judged: &Judged, now_ms: u64) -> Self {
        match self.plan.on_regression {
            OnRegression::Pause => self.paused(reason),
            OnRegression::Rollback if judged.stable_endpoints == 0 => {
                let text = "what it would go back to has no usable endpoint";
                self.paused(&format!("{reason}; {text}"))
            }
            OnRegression::Rollback => {
                self.undone(State::RolledBack, reason, judged.stable_endpoints, now_ms)
            }
        }
    }

    fn is_vouched(&self, judged: &Judged) -> bool {
        let safe = match self.plan.advance {
            Advance::Safe => judged.verdict == Verdict::Safe,
            Advance::NotRegressed => {
                matches!(judged.verdict, Verdict::Safe | Verdict::Undecided)
            }
        };
        safe && judged.void.is_none()
    }

    /// The next step; after the last one it has succeeded.
    fn raised(&self, now_ms: u64) -> Self {
        match self.plan.steps.get(self.step + 1) {
            None => self.promoted("every step was passed"),
            Some(step) => Self {
                step: self.step + 1,
                share_ppm: step.share_ppm,
                generation: self.generation + 1,
                step_began_ms: now_ms,
                approved: false,
                reason: "raised".to_owned(),
                ..self.clone()
            },
        }
    }

    /// As far as the data can exclude harm already.
    fn paced(&self, now_ms: u64, judged: &Judged) -> Option<Self> {
        if self.share_ppm == WHOLE_PPM {
            return Some(self.promoted("everything was moved as the evidence allowed"));
        }
        let share_ppm = match rounded((judged.max_share.min(1.0) * f64::from(WHOLE_PPM)) as u32) {
            WHOLE_PPM => WHOLE_PPM,
            allowed => allowed.min(COMPARED_PPM),
        };
        if share_ppm < WHOLE_PPM && f64::from(share_ppm) < f64::from(self.share_ppm) * RAISE_MIN {
            return None;
        }
        let step = self.plan.steps.iter().rposition(|step| step.share_ppm <= share_ppm);
        Some(Self {
            step: step.unwrap_or(0),
            share_ppm,
            generation: self.generation + 1,
            step_began_ms: now_ms,
            reason: "raised: the evidence allows it".to_owned(),
            ..self.clone()
        })
    }
}

/// Never more than what it is made of.
fn rounded(ppm: u32) -> u32 {
    ppm - ppm % ROUND_PPM
}

/// `ppm` of the traffic to one version, the rest to the others in the proportions that they had.
fn split(before: &Weights, to: &VersionName, ppm: u32) -> Weights {
    let others: Vec<(&VersionName, u32)> =
        before.iter().filter(|(name, weight)| *name != to && *weight > 0).collect();
    let total: u64 = others.iter().map(|(_, weight)| u64::from(*weight)).sum();
    let rest = u64::from(WHOLE_PPM - ppm.min(WHOLE_PPM));
    let mut weights: BTreeMap<VersionName, u32> =
        before.iter().map(|(n, _)| (n.clone(), 0)).collect();
    let mut left = rest;
    for (place, (name, weight)) in others.iter().enumerate() {
        let share = match place + 1 == others.len() {
            true => left,
            false => rest * u64::from(*weight) / total.max(1),
        };
        left -= share;
        weights.insert((*name).clone(), share as u32);
    }
    weights.insert(to.clone(), ppm);
    // Shares of a hundred are what people expect to read, or else of the next power of ten.
    let is_whole = |unit: &u32| weights.values().all(|weight| weight % unit == 0);
    let unit = [10_000, 1000, 100, 10].into_iter().find(is_whole).unwrap_or(1);
    weights.values_mut().for_each(|weight| *weight /= unit);
    Weights::new(weights).unwrap_or_else(|_| before.clone())
}

#[cfg(test)]
mod tests;
