//! Carries rollouts out: once a second, counts become evidence, and what the machine decides is
//! published like any other change.
//!
//! There is one keeper a service. Its position is in the journal, its evidence is kept beside it, so
//! that a restart neither forgets nor counts twice: counts of the last seconds before a kill are lost,
//! with their requests.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::evidence::Tolerance;
use super::evidence::engine::{Arm, Engine, Evidence, Metric, Params, Tick, Verdict};
use super::gate::{self, Gate};
use super::kept;
use super::machine::{Judged, Rollout, State};
use crate::clock;
use crate::control::{Author, Control, Event, Terms};
use crate::limits::{ROLLOUT_KEEP, ROLLOUT_TICK, ROLLOUT_UNUSABLE_MAX};
use crate::name::{ServiceName, VersionName};
use crate::operations::{Ask, rollout as verbs};
use crate::plan::RolloutPlan;
use crate::snapshot::Service;
use crate::telemetry::collector::Telemetry;
use crate::telemetry::metrics::{ROLLOUT_STATE, ROLLOUT_WEIGHT, VERDICT};

/// Requests of a weight that has ended may still come in for so long beyond their time-out.
const STRAGGLERS: Duration = Duration::from_secs(5);

/// What is known of every rollout; shared with those who show it.
#[derive(Debug, Default)]
pub struct Rollouts {
    keepers: Mutex<BTreeMap<ServiceName, Keeper>>,
    /// What the business told of requests and no tick has taken yet: all and bad ones.
    outcomes: Mutex<BTreeMap<(ServiceName, VersionName), (u64, u64)>>,
}

/// The evidence on one service.
#[derive(Debug)]
struct Keeper {
    engine: Engine,
    /// What is learned of the baseline for the next rollout.
    learned: Engine,
    /// The rollout that the engine judges; `None` before the first.
    of: Option<(u64, u32)>,
    /// Counts of the new version since its step began.
    step: (u32, Arm),
    /// Weights that have ended and may still get stragglers, and until when.
    ending: BTreeMap<u32, Instant>,
    generation: u32,
    share_ppm: u32,
    unusable: u32,
    verdict: Verdict,
    kept_at: Option<Instant>,
}

/// A rollout as it is shown.
#[derive(Debug, Clone)]
pub struct View {
    pub rollout: Arc<Rollout>,
    pub verdict: Verdict,
    pub void: Option<String>,
    /// What the plain gates say, if they hold it back.
    pub gate: Option<String>,
    pub evidence: Vec<Evidence>,
    /// The greatest share that the data allow.
    pub max_share: f64,
}

impl Rollouts {
    /// Drives every rollout for as long as the process lives.
    pub async fn run(self: Arc<Self>, control: Arc<Control>, telemetry: Arc<Telemetry>) {
        let mut tick = tokio::time::interval(ROLLOUT_TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut last = clock::now();
        loop {
            tick.tick().await;
            telemetry.collect(&control).await;
            let mut trials = telemetry.take_trials();
            let now = clock::now();
            let seconds = now.saturating_duration_since(last).as_secs_f64();
            last = now;
            let folder = control.state().await.config.state_dir.clone();
            let services = control.current().snapshot.services.clone();
            let names: Vec<_> = services.iter().map(|service| service.name.clone()).collect();
            self.keepers().retain(|name, _| names.contains(name));
            for service in &services {
                let Some(decided) = self.look(service, &mut trials, seconds, now, &folder) else {
                    continue;
                };
                let (from, next) = decided;
                self.publish(&control, &service.name, &from, next).await;
            }
            self.report(&control, &telemetry, &control.current().snapshot.services);
        }
    }

    /// Keeps the evidence of every rollout, for the process that comes after this one.
    pub async fn keep_all(&self, control: &Control) {
        let folder = control.state().await.config.state_dir.clone();
        let now = clock::now();
        for service in &control.current().snapshot.services {
            let Some(rollout) = &service.traffic.rollout else { continue };
            if let Some(keeper) = self.keepers().get_mut(&service.name)
                && keeper.of == Some(identity(rollout))
            {
                keeper.keep(rollout, &service.name, &folder, now);
            }
        }
    }

    /// What the business told of requests of a version.
    pub fn note_outcomes(&self, service: ServiceName, version: VersionName, count: u64, bad: u64) {
        let mut outcomes = self.outcomes.lock().unwrap_or_else(PoisonError::into_inner);
        let sums = outcomes.entry((service, version)).or_default();
        sums.0 = sums.0.saturating_add(count);
        sums.1 = sums.1.saturating_add(bad);
    }

    /// The rollout of a service, running or over, with what is known of it.
    pub fn view(&self, service: &Service) -> Option<View> {
        let rollout = service.traffic.rollout.clone()?;
        let judged = {
            let keepers = self.keepers();
            let keeper = keepers.get(&service.name);
            let keeper = keeper.filter(|keeper| keeper.of == Some(identity(&rollout)));
            keeper.map(|keeper| (keeper.engine.clone(), keeper.step.1.clone()))
        };
        // Without the lock: intervals take a while.
        let (engine, step) = judged
            .unwrap_or_else(|| (Engine::new(params(&rollout.plan), &Metric::ALL), Arm::default()));
        let gate = match gate::judge(&rollout.plan, &step) {
            Gate::Passes => None,
            Gate::Waits(text) | Gate::Fails(text) => Some(text),
        };
        Some(View {
            verdict: engine.verdict(),
            void: engine.void(),
            gate,
            evidence: engine.evidence(rollout.plan.to.as_str()),
            max_share: engine.max_weight(),
            rollout,
        })
    }

    /// The verdict on each metric of a service's rollout, for the gauges.
    pub fn verdicts(&self, service: &Service) -> Vec<(&'static str, i8)> {
        let Some(rollout) = &service.traffic.rollout else { return Vec::new() };
        let keepers = self.keepers();
        let keeper = keepers.get(&service.name);
        let Some(keeper) = keeper.filter(|keeper| keeper.of == Some(identity(rollout))) else {
            return Vec::new();
        };
        let metrics = keeper.engine.verdicts().into_iter();
        metrics.map(|(metric, verdict)| (metric.as_str(), verdict.number())).collect()
    }

    fn keepers(&self) -> MutexGuard<'_, BTreeMap<ServiceName, Keeper>> {
        self.keepers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One tick of one service: its counts become evidence; what is to be published, if anything.
    fn look(
        &self,
        service: &Service,
        trials: &mut HashMap<(u32, u32), [Arm; 2]>,
        seconds: f64,
        now: Instant,
        folder: &Path,
    ) -> Option<(Arc<Rollout>, Rollout)> {
        let rollout = service.traffic.rollout.clone();
        let live = rollout.filter(|rollout| rollout.state.is_live());
        let plan =
            live.as_ref().map(|rollout| &rollout.plan).or(service.plan.rollout.as_deref())?;
        let mut ticks = ticks(service, plan, trials);
        let mut keepers = self.keepers();
        let keeper = keepers.entry(service.name.clone()).or_insert_with(|| Keeper::new(plan));
        let Some(rollout) = live else {
            let baseline = ticks.remove(&0).unwrap_or_default().baseline;
            keeper.learned.warm(&baseline, seconds);
            return None;
        };
        keeper.take_over(&rollout, service, folder);
        self.add_outcomes(service, &rollout, &mut ticks);
        keeper.count(&rollout, service, ticks, seconds, now);
        if keeper.kept_at.is_none_or(|at| now.saturating_duration_since(at) >= ROLLOUT_KEEP) {
            keeper.keep(&rollout, &service.name, folder, now);
        }
        if rollout.state != State::Running {
            return None;
        }
        let next = rollout.next(verbs::now_ms(), &keeper.judge(&rollout, service))?;
        keeper.keep(&rollout, &service.name, folder, now);
        Some((rollout, next))
    }

    fn add_outcomes(&self, service: &Service, rollout: &Rollout, ticks: &mut BTreeMap<u32, Tick>) {
        let mut outcomes = self.outcomes.lock().unwrap_or_else(PoisonError::into_inner);
        for version in &service.versions {
            let key = (service.name.clone(), version.name.clone());
            let Some((count, bad)) = outcomes.remove(&key) else { continue };
            let tick = ticks.entry(rollout.generation).or_default();
            let arm = match version.name == rollout.plan.to {
                true => &mut tick.canary,
                false => &mut tick.baseline[0],
            };
            arm.outcomes.0 += count;
            arm.outcomes.1 += bad;
        }
    }

    async fn publish(
        &self,
        control: &Control,
        service: &ServiceName,
        from: &Arc<Rollout>,
        next: Rollout,
    ) {
        let author = Author { name: format!("rollout:{}", next.plan.to), reason: None };
        // Going back must not wait for a disk.
        let even_unpersisted = next.state == State::RolledBack;
        let terms = Terms { even_unpersisted, ..Terms::default() };
        let ask = Ask { service, author: &author, terms: &terms };
        if let Err(refusal) = verbs::advance(control, ask, from, next).await {
            tracing::warn!(%service, %refusal, "the rollout could not move on");
        }
    }

    /// Tells those who follow events of verdicts that are new, and sets the gauges.
    fn report(&self, control: &Control, telemetry: &Telemetry, services: &[Arc<Service>]) {
        for service in services {
            let Some(rollout) = &service.traffic.rollout else { continue };
            let changed = {
                let mut keepers = self.keepers();
                let keeper = keepers.get_mut(&service.name);
                let keeper = keeper.filter(|keeper| keeper.of == Some(identity(rollout)));
                keeper.and_then(|keeper| {
                    let verdict = keeper.engine.verdict();
                    let before = std::mem::replace(&mut keeper.verdict, verdict);
                    (before != verdict).then_some(verdict.as_str())
                })
            };
            if let Some(verdict) = changed {
                let (service, version) = (service.name.clone(), rollout.plan.to.clone());
                tracing::info!(%service, %version, verdict, "the verdict changed");
                let state = rollout.state.as_str();
                control.tell(Event::Verdict { service, version, verdict, state });
            }
            let verdicts = self.verdicts(service);
            telemetry.with_metrics(|metrics| {
                let name = service.name.as_str();
                let percent = f64::from(rollout.share_ppm) / 1e4;
                metrics.set(&ROLLOUT_WEIGHT, &[name], percent);
                metrics.set(&ROLLOUT_STATE, &[name], rollout.state.number());
                let version = rollout.plan.to.as_str();
                for (metric, verdict) in verdicts {
                    metrics.set(&VERDICT, &[name, version, metric], f64::from(verdict));
                }
            });
        }
    }
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
    }
}

/// The counts of a service's versions as ticks by the number of their weight.
fn ticks(
    service: &Service,
    plan: &RolloutPlan,
    trials: &mut HashMap<(u32, u32), [Arm; 2]>,
) -> BTreeMap<u32, Tick> {
    let mut ticks: BTreeMap<u32, Tick> = BTreeMap::new();
    for version in &service.versions {
        let keys: Vec<_> = trials.keys().filter(|(id, _)| *id == version.id).copied().collect();
        for key in keys {
            let Some(halves) = trials.remove(&key) else { continue };
            let tick = ticks.entry(key.1).or_default();
            match version.name == plan.to {
                true => halves.iter().for_each(|half| tick.canary.add(half)),
                false => {
                    tick.baseline.iter_mut().zip(&halves).for_each(|(sum, half)| sum.add(half));
                }
            }
        }
    }
    ticks
}

impl Keeper {
    fn new(plan: &RolloutPlan) -> Self {
        Self {
            engine: Engine::new(params(plan), &Metric::ALL),
            learned: Engine::new(params(plan), &Metric::ALL),
            of: None,
            step: (0, Arm::default()),
            ending: BTreeMap::new(),
            generation: 0,
            share_ppm: 0,
            unusable: 0,
            verdict: Verdict::Undecided,
            kept_at: None,
        }
    }

    /// Begins to judge a rollout: with what was learned of the baseline before it, or, after a
    /// restart, with what was kept.
    fn take_over(&mut self, rollout: &Rollout, service: &Service, folder: &Path) {
        if self.of == Some(identity(rollout)) {
            return;
        }
        let learned = self.learned.export();
        *self = Self::new(&rollout.plan);
        self.of = Some(identity(rollout));
        let kept = kept::read(folder, &service.name, rollout);
        self.engine.restore(&kept.unwrap_or(learned));
        self.verdict = self.engine.verdict();
        self.generation = rollout.generation;
        self.share_ppm = rollout.share_ppm;
        self.step.0 = rollout.generation;
    }

    fn count(
        &mut self,
        rollout: &Rollout,
        service: &Service,
        mut ticks: BTreeMap<u32, Tick>,
        seconds: f64,
        now: Instant,
    ) {
        if rollout.generation != self.generation {
            self.ending.insert(self.generation, now + service.plan.policy.timeout + STRAGGLERS);
            if rollout.share_ppm > self.share_ppm {
                self.engine.raised();
            }
            (self.generation, self.share_ppm) = (rollout.generation, rollout.share_ppm);
            self.step = (rollout.generation, Arm::default());
        }
        ticks.entry(rollout.generation).or_default();
        // Users are shared out, not requests, where they stick to a version.
        let nominal = service.plan.sticky.is_none() && rollout.state == State::Running;
        let share = f64::from(rollout.share_ppm) / 1e6;
        for (generation, tick) in ticks {
            let current = generation == rollout.generation;
            self.engine.expect_share((nominal && current).then_some(share));
            if current {
                self.step.1.add(&tick.canary);
            } else if !self.ending.contains_key(&generation) {
                continue;
            }
            self.engine.tick(generation, &tick, if current { seconds } else { 0.0 });
        }
        let over: Vec<u32> =
            self.ending.iter().filter(|(_, until)| **until <= now).map(|(g, _)| *g).collect();
        for generation in over {
            self.ending.remove(&generation);
            self.engine.end(generation);
        }
    }

    fn judge(&mut self, rollout: &Rollout, service: &Service) -> Judged {
        let usable = |name: &VersionName| service.version(name).is_some_and(|(_, v)| v.is_usable());
        self.unusable = if usable(&rollout.plan.to) { 0 } else { self.unusable + 1 };
        let mut before = rollout.before.iter().filter(|(_, weight)| *weight > 0);
        let verdict = self.engine.verdict();
        let blamed = match verdict {
            Verdict::Regressed => self.blame(rollout),
            _ => String::new(),
        };
        Judged {
            verdict,
            blamed,
            void: self.engine.void(),
            gate: gate::judge(&rollout.plan, &self.step.1),
            max_share: self.engine.max_weight(),
            canary_usable: self.unusable < ROLLOUT_UNUSABLE_MAX,
            stable_usable: before.any(|(name, _)| usable(name)),
        }
    }

    fn blame(&self, rollout: &Rollout) -> String {
        let blamed = self.engine.blamed();
        let evidence = self.engine.evidence(rollout.plan.to.as_str());
        let found = evidence.into_iter().find(|evidence| Some(evidence.metric) == blamed);
        found.map_or("the evidence is against it".to_owned(), |evidence| evidence.text)
    }

    fn keep(&mut self, rollout: &Rollout, service: &ServiceName, folder: &Path, now: Instant) {
        self.kept_at = Some(now);
        let numbers = self.engine.export();
        let kept = tokio::task::block_in_place(|| kept::write(folder, service, rollout, numbers));
        if let Err(error) = kept {
            tracing::warn!(%service, %error, "the evidence of the rollout could not be kept");
        }
    }
}
