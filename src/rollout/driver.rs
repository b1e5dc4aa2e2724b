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

use super::evidence::engine::{Arm, Evidence, Tick, Verdict};
use super::gate::{Compared, Gate};
use super::keeper::{Keeper, Span, Surroundings};
use super::kept;
use super::machine::{Rollout, State};
use crate::clock;
use crate::control::{Author, Control, Event, Terms};
use crate::limits::{ROLLOUT_KEEP, ROLLOUT_TICK};
use crate::name::{ServiceName, VersionName};
use crate::operations::{Ask, rollout as verbs};
use crate::snapshot::{BEFORE_ROLLOUT, Service};
use crate::telemetry::collector::Telemetry;
use crate::telemetry::metrics::{ROLLOUT_STATE, ROLLOUT_WEIGHT, VERDICT};

/// Requests of a weight that has ended may still come in for so long beyond their time-out.
const STRAGGLERS: Duration = Duration::from_secs(5);

/// What is known of every rollout; shared with those who show it.
#[derive(Debug, Default)]
pub struct Rollouts {
    keepers: Mutex<BTreeMap<ServiceName, Kept>>,
    /// What the business told of versions and no tick has taken yet.
    outcomes: Mutex<Outcomes>,
}

/// Requests and bad ones of versions.
type Outcomes = BTreeMap<(ServiceName, VersionName), (u64, u64)>;

/// A keeper, and when its evidence was put on disk.
#[derive(Debug)]
struct Kept {
    keeper: Keeper,
    at: Option<Instant>,
}

/// A rollout as it is shown.
#[derive(Debug, Clone)]
pub struct View {
    pub rollout: Arc<Rollout>,
    /// The share of its version now, whoever gave it; percent.
    pub share: f64,
    pub verdict: Verdict,
    pub void: Option<String>,
    /// What the plain gates say, if they hold it back.
    pub gate: Option<String>,
    /// What its next move waits for beside the clock.
    pub waits_for: Vec<String>,
    pub evidence: Vec<Evidence>,
    /// The greatest share that the data allow.
    pub max_share: f64,
    /// What to keep in mind when reading all this.
    pub notes: Vec<String>,
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
            self.outcomes().retain(|(name, _), _| names.contains(name));
            for service in &services {
                let counted = (seconds, now);
                let decided = self.look(service, &control, &mut trials, counted, &folder);
                if let Some((from, next)) = decided {
                    self.publish(&control, &service.name, &from, next).await;
                }
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
            if let Some(kept) = self.keepers().get_mut(&service.name)
                && kept.keeper.is_of(rollout)
            {
                kept.keep(rollout, &service.name, &folder, now);
            }
        }
    }

    /// What the business told of requests of a version.
    pub fn note_outcomes(&self, service: ServiceName, version: VersionName, count: u64, bad: u64) {
        let mut outcomes = self.outcomes();
        let told = outcomes.entry((service, version)).or_default();
        told.0 += count;
        told.1 += bad;
    }

    /// The rollout of a service, running or over, with what is known of it.
    pub fn view(&self, service: &Service, control: &Control) -> Option<View> {
        let rollout = service.traffic.rollout.clone()?;
        let known = self.keepers().get(&service.name).map(|kept| kept.keeper.clone());
        // Without the lock: intervals take a while.
        let mut keeper = match known {
            Some(keeper) if keeper.is_of(&rollout) => keeper,
            // It begins at the next tick, with what was learned before it.
            Some(keeper) => keeper.succeeded(&rollout, None),
            None => Keeper::new(&rollout.plan),
        };
        let judged = keeper.judge(&rollout, surroundings(&rollout, service, control));
        let evidence = keeper.evidence(&rollout);
        let unsure = evidence.iter().filter(|evidence| evidence.verdict != Verdict::Safe);
        let unsure: Vec<_> = unsure.map(|evidence| evidence.metric.as_str()).collect();
        Some(View {
            waits_for: rollout.waits_for(&judged, &unsure),
            verdict: judged.verdict,
            void: judged.void,
            gate: match judged.gate {
                Gate::Passes => None,
                Gate::Waits(text) | Gate::Fails(text) => Some(text),
            },
            max_share: keeper.engine.max_weight(),
            notes: notes(&rollout, service),
            share: service.traffic.weights.percent(&rollout.plan.to),
            evidence,
            rollout,
        })
    }

    /// The verdict on each metric of a service's rollout, for the gauges.
    pub fn verdicts(&self, service: &Service) -> Vec<(&'static str, i8)> {
        let Some(rollout) = &service.traffic.rollout else { return Vec::new() };
        let keepers = self.keepers();
        let kept = keepers.get(&service.name).filter(|kept| kept.keeper.is_of(rollout));
        let Some(kept) = kept else { return Vec::new() };
        let metrics = kept.keeper.engine.verdicts().into_iter();
        metrics.map(|(metric, verdict)| (metric.as_str(), verdict.number())).collect()
    }

    fn outcomes(&self) -> MutexGuard<'_, Outcomes> {
        self.outcomes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keepers(&self) -> MutexGuard<'_, BTreeMap<ServiceName, Kept>> {
        self.keepers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One tick of one service: its counts become evidence; what is to be published, if anything.
    fn look(
        &self,
        service: &Service,
        control: &Control,
        trials: &mut HashMap<(u32, u32), [Arm; 2]>,
        (seconds, now): (f64, Instant),
        folder: &Path,
    ) -> Option<(Arc<Rollout>, Rollout)> {
        let last = service.traffic.rollout.as_ref();
        let live = last.filter(|rollout| rollout.is_under_way()).cloned();
        let declared = service.plan.rollout.as_deref();
        let plan = live.as_ref().map(|rollout| &rollout.plan).or(declared);
        let plan = plan.or(last.map(|rollout| &rollout.plan))?;
        let mut ticks = ticks(service, live.as_ref().map(|rollout| &rollout.plan.to), trials);
        let mut keepers = self.keepers();
        let fresh = || Kept { keeper: Keeper::new(plan), at: None };
        let kept = keepers.entry(service.name.clone()).or_insert_with(fresh);
        if let Some(over) = last.filter(|_| live.is_none() && kept.keeper.has_judged_nothing()) {
            // After a restart: why it was ended is still of interest.
            kept.take_over(over, &service.name, folder);
        }
        let Some(rollout) = live else {
            // Nobody is compared: what was told now says nothing of a later rollout.
            self.outcomes().retain(|(name, _), _| *name != service.name);
            let baseline = ticks.remove(&BEFORE_ROLLOUT).unwrap_or_default().baseline;
            kept.keeper.warm(&baseline, seconds);
            return None;
        };
        kept.take_over(&rollout, &service.name, folder);
        self.add_outcomes(service, &rollout, &mut ticks);
        let span = Span {
            seconds,
            stragglers: (service.plan.policy.timeout + STRAGGLERS).as_secs_f64(),
            // Users are shared out, not requests, where they stick to a version.
            by_request: service.plan.sticky.is_none(),
        };
        kept.keeper.count(&rollout, ticks, span);
        if kept.at.is_none_or(|at| now.saturating_duration_since(at) >= ROLLOUT_KEEP) {
            kept.keep(&rollout, &service.name, folder, now);
        }
        if !rollout.moves() {
            return None;
        }
        let judged = kept.keeper.judge(&rollout, surroundings(&rollout, service, control));
        let next = rollout.next(verbs::now_ms(), &judged)?;
        kept.keep(&rollout, &service.name, folder, now);
        Some((rollout, next))
    }

    fn add_outcomes(&self, service: &Service, rollout: &Rollout, ticks: &mut BTreeMap<u32, Tick>) {
        let mut outcomes = self.outcomes();
        for version in &service.versions {
            let told = outcomes.remove(&(service.name.clone(), version.name.clone()));
            let Some((count, bad)) = told else { continue };
            let tick = ticks.entry(rollout.generation).or_default();
            // Sums cannot be halved by chance, so that nothing is learned of bursts among them: they
            // stay as bursty as is believed before anything was seen.
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
        // A way back that is taken bit by bit has told its reason with its first move.
        let reason = from.returning.is_none().then(|| next.reason.clone());
        let author = Author { name: format!("rollout:{}", next.plan.to), reason };
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
                let kept = keepers.get_mut(&service.name);
                kept.filter(|kept| kept.keeper.is_of(rollout)).and_then(|kept| {
                    let (verdict, void) = (kept.keeper.engine.verdict(), kept.keeper.engine.void());
                    let now = (verdict, void.is_some());
                    let before = std::mem::replace(&mut kept.keeper.told, now);
                    let text = || match (void, verdict) {
                        (Some(why), _) => why,
                        (None, Verdict::Safe) => {
                            "every metric is within the bounds of a promotion".to_owned()
                        }
                        (None, _) => kept.keeper.sentence(rollout),
                    };
                    (before != now).then(|| (now, text()))
                })
            };
            if let Some(((verdict, void), text)) = changed {
                let (service, version) = (service.name.clone(), rollout.plan.to.clone());
                let bad = void || verdict == Verdict::Regressed;
                let (verdict, told) = (verdict.as_str(), format!("the verdict changed: {text}"));
                match bad {
                    true => tracing::warn!(%service, %version, verdict, "{told}"),
                    false => tracing::info!(%service, %version, verdict, "{told}"),
                }
                let state = rollout.state.as_str();
                control.tell(Event::Verdict { service, version, verdict, state, text });
            }
            let verdicts = self.verdicts(service);
            telemetry.with_metrics(|metrics| {
                let name = service.name.as_str();
                let percent = service.traffic.weights.percent(&rollout.plan.to);
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

/// What is known of the versions of a rollout beside its counts.
fn surroundings(rollout: &Rollout, service: &Service, control: &Control) -> Surroundings {
    let to = &rollout.plan.to;
    Surroundings {
        canary_usable: service.version(to).is_some_and(|(_, version)| version.is_usable()),
        stable_endpoints: verbs::stable_endpoints(service, &rollout.before),
        shadow: compared(rollout, service, control),
    }
}

/// What to keep in mind when reading what is known.
fn notes(rollout: &Rollout, service: &Service) -> Vec<String> {
    let to = &rollout.plan.to;
    let is_alone = service.version(to).is_some_and(|(_, version)| version.endpoints.len() == 1);
    let note = || {
        format!(
            "`{to}` has one endpoint: a slow or broken machine cannot be told from a bad version"
        )
    };
    (rollout.state.is_live() && is_alone).then(note).into_iter().collect()
}

/// What comparing the version's answers has found, if it is or was the shadow.
fn compared(rollout: &Rollout, service: &Service, control: &Control) -> Option<Compared> {
    let report = control.shared.shadows.report(&service.name)?;
    let summary = (report.shadow == rollout.plan.to).then_some(report.summary)?;
    Some(Compared { requests: summary.compared, mismatched: summary.mismatched })
}

/// The counts of a service's versions as ticks by the number of their weight. Without a new version
/// all of them are the baseline: the one that comes next is perhaps not the one that came last.
fn ticks(
    service: &Service,
    to: Option<&VersionName>,
    trials: &mut HashMap<(u32, u32), [Arm; 2]>,
) -> BTreeMap<u32, Tick> {
    let mut ticks: BTreeMap<u32, Tick> = BTreeMap::new();
    for version in &service.versions {
        let keys: Vec<_> = trials.keys().filter(|(id, _)| *id == version.id).copied().collect();
        for key in keys {
            let Some(halves) = trials.remove(&key) else { continue };
            let tick = ticks.entry(key.1).or_default();
            match to == Some(&version.name) {
                true => halves.iter().for_each(|half| tick.canary.add(half)),
                false => {
                    tick.baseline.iter_mut().zip(&halves).for_each(|(sum, half)| sum.add(half));
                }
            }
        }
    }
    ticks
}

impl Kept {
    /// Begins to judge a rollout: with what was learned of the baseline before it, or, after a
    /// restart, with what was kept.
    fn take_over(&mut self, rollout: &Rollout, service: &ServiceName, folder: &Path) {
        if !self.keeper.is_of(rollout) {
            self.keeper = self.keeper.succeeded(rollout, kept::read(folder, service, rollout));
        }
    }

    fn keep(&mut self, rollout: &Rollout, service: &ServiceName, folder: &Path, now: Instant) {
        self.at = Some(now);
        let numbers = self.keeper.engine.export();
        let kept = tokio::task::block_in_place(|| kept::write(folder, service, rollout, numbers));
        if let Err(error) = kept {
            tracing::warn!(%service, %error, "the evidence of the rollout could not be kept");
        }
    }
}
