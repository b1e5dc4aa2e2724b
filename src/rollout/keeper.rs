//! What is known of one rollout: its counts become evidence here, and evidence a judgement.

use std::collections::BTreeMap;

use super::evidence::Tolerance;
use super::evidence::engine::{Arm, Engine, Evidence, Metric, Params, Tick, Verdict};
use super::gate::{self, Compared, Gate};
use super::machine::{Judged, Rollout, State};
use crate::limits::ROLLOUT_UNUSABLE_MAX;
use crate::plan::{Pace, RolloutPlan};

/// Numbers that outlive the process, by name.
pub type Numbers = BTreeMap<String, Vec<f64>>;

/// The evidence on one service.
#[derive(Debug, Clone)]
pub struct Keeper {
    pub engine: Engine,
    /// What is learned of the baseline for the next rollout.
    learned: Engine,
    /// The rollout that the engine judges; `None` before the first.
    of: Option<(u64, u32)>,
    /// Counts of the new version since its step began.
    pub step: Arm,
    /// Seconds of all that was counted.
    age: f64,
    /// Weights that have ended and may still get stragglers, and until which age.
    ending: BTreeMap<u32, f64>,
    /// The first weight of the rollout: what was assigned before it says nothing of it.
    first: u32,
    generation: u32,
    share_ppm: u32,
    unusable: u32,
    /// The verdict that was told of last, and whether it was void.
    pub told: (Verdict, bool),
}

/// How a tick was counted.
#[derive(Debug, Clone, Copy)]
pub struct Span {
    pub seconds: f64,
    /// How long requests of a weight that has ended may still come in.
    pub stragglers: f64,
    /// Whether requests, not users, are shared out: then the share can be checked.
    pub by_request: bool,
}

/// What is known of the versions beside their counts.
#[derive(Debug, Clone, Copy)]
pub struct Surroundings {
    pub canary_usable: bool,
    pub stable_endpoints: u32,
    pub shadow: Option<Compared>,
}

/// Which rollout a piece of evidence is about.
fn identity(rollout: &Rollout) -> (u64, u32) {
    (rollout.started_ms, rollout.epoch)
}

fn params(plan: &RolloutPlan) -> Params {
    let analysis = &plan.analysis;
    let margin = f64::from(analysis.error_margin_ppm) / 1e6;
    let usual = Params::default();
    let safe = usual.safe_errors;
    Params {
        alpha: analysis.alpha,
        errors: Tolerance { ratio: analysis.error_ratio, margin },
        // What is tolerated cannot stand in the way of a promotion.
        safe_errors: Tolerance {
            ratio: safe.ratio.max(analysis.error_ratio),
            margin: safe.margin.max(margin),
        },
        latency_ratio: analysis.latency_ratio,
        requests_min: analysis.min_requests,
        guard: true,
        cautious: true,
    }
}

impl Keeper {
    /// One that has seen nothing.
    pub fn new(plan: &RolloutPlan) -> Self {
        Self {
            engine: Engine::new(params(plan), &Metric::ALL),
            learned: Engine::new(params(plan), &Metric::ALL),
            of: None,
            step: Arm::default(),
            age: 0.0,
            ending: BTreeMap::new(),
            first: 0,
            generation: 0,
            share_ppm: 0,
            unusable: 0,
            told: (Verdict::Undecided, false),
        }
    }

    /// Whether it judges this rollout.
    pub fn is_of(&self, rollout: &Rollout) -> bool {
        self.of == Some(identity(rollout))
    }

    /// Whether it was never given a rollout to judge.
    pub fn has_judged_nothing(&self) -> bool {
        self.of.is_none()
    }

    /// Learns from the baseline alone, before a rollout.
    pub fn warm(&mut self, baseline: &[Arm; 2], seconds: f64) {
        self.learned.warm(baseline, seconds);
    }

    /// The keeper of a rollout that begins or goes on: with what was kept of it, or with what was
    /// learned before it.
    pub fn succeeded(&self, rollout: &Rollout, kept: Option<Numbers>) -> Self {
        let mut next = Self::new(&rollout.plan);
        if kept.is_some() {
            next.age = rollout.plan.analysis.warm_up.as_secs_f64();
        }
        next.engine.restore(&kept.unwrap_or_else(|| self.learned.export()));
        Self {
            // Evidence that is begun anew later begins with it again.
            learned: self.learned.clone(),
            of: Some(identity(rollout)),
            told: (next.engine.verdict(), next.engine.void().is_some()),
            first: rollout.generation,
            generation: rollout.generation,
            share_ppm: rollout.share_ppm,
            ..next
        }
    }

    /// Takes what was counted under each weight.
    pub fn count(&mut self, rollout: &Rollout, mut ticks: BTreeMap<u32, Tick>, span: Span) {
        self.age += span.seconds;
        if rollout.generation != self.generation {
            self.ending.insert(self.generation, self.age + span.stragglers);
            if rollout.share_ppm > self.share_ppm {
                self.engine.raised();
            }
            (self.generation, self.share_ppm) = (rollout.generation, rollout.share_ppm);
            self.step = Arm::default();
        }
        ticks.entry(rollout.generation).or_default();
        let nominal = span.by_request && rollout.state == State::Running;
        let share = f64::from(rollout.share_ppm) / 1e6;
        for (generation, tick) in ticks {
            if generation < self.first || self.is_cold(rollout) {
                continue;
            }
            self.engine.tell(generation, &tick, span.seconds);
            let current = generation == rollout.generation;
            self.engine.expect_share((nominal && current).then_some(share));
            if current {
                self.step.add(&tick.canary);
            } else if !self.ending.contains_key(&generation) {
                continue;
            }
            self.engine.tick(generation, &tick, if current { span.seconds } else { 0.0 });
        }
        let age = self.age;
        let over: Vec<u32> =
            self.ending.iter().filter(|(_, until)| **until <= age).map(|(g, _)| *g).collect();
        for generation in over {
            self.ending.remove(&generation);
            self.engine.end(generation);
        }
    }

    /// What all of it says now.
    pub fn judge(&mut self, rollout: &Rollout, around: Surroundings) -> Judged {
        self.unusable = if around.canary_usable { 0 } else { self.unusable + 1 };
        let verdict = self.engine.verdict();
        Judged {
            verdict,
            blamed: match verdict {
                Verdict::Regressed => self.sentence(rollout),
                _ => String::new(),
            },
            void: self.engine.void(),
            gate: self.gate(rollout, around.shadow),
            // It takes a while, and only one pace asks for it.
            max_share: match rollout.plan.pace {
                Pace::Evidence => self.engine.max_weight(),
                Pace::Steps => 1.0,
            },
            canary_usable: self.unusable < ROLLOUT_UNUSABLE_MAX,
            stable_endpoints: around.stable_endpoints,
        }
    }

    /// What the plain gates say.
    pub fn gate(&self, rollout: &Rollout, shadow: Option<Compared>) -> Gate {
        if self.is_cold(rollout) {
            let warm_up = humantime::format_duration(rollout.plan.analysis.warm_up);
            return Gate::Waits(format!("the first {warm_up}, which are not judged"));
        }
        gate::judge(&rollout.plan, &self.step, shadow)
    }

    /// Whether it has just begun and is not to be judged yet.
    fn is_cold(&self, rollout: &Rollout) -> bool {
        self.age < rollout.plan.analysis.warm_up.as_secs_f64()
    }

    /// What is known of every metric, in words too.
    pub fn evidence(&self, rollout: &Rollout) -> Vec<Evidence> {
        self.engine.evidence(rollout.plan.to.as_str(), &self.step.latency)
    }

    /// What speaks against the version most, in words: what a regression is put down to.
    pub fn sentence(&self, rollout: &Rollout) -> String {
        let blamed = self.engine.blamed();
        let loudness = |evidence: &Evidence| match Some(evidence.metric) == blamed {
            true => f64::INFINITY,
            false => evidence.log_evidence,
        };
        let loudest =
            self.evidence(rollout).into_iter().max_by(|a, b| loudness(a).total_cmp(&loudness(b)));
        loudest.map(|evidence| evidence.text).unwrap_or_default()
    }
}
