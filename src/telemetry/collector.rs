//! The control plane's books: what workers counted, added up, and what a scrape shows of it.
//!
//! Workers keep their sums until somebody asks, and asking takes them away. So there is one who
//! asks, a few times a second and whenever somebody wants gauges that are true now.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::metrics::{
    Alive, CONFIG_RELOADS, CONFIG_VALID, CONNECTIONS, HEALTHY, IN_FLIGHT, Metrics, REVISION,
    ROLLBACK_READY, SHADOW_LATENCY_DELTA, SHADOW_MISMATCH, SHADOW_REQUESTS, UPSTREAM_CONNECTIONS,
    WEIGHT,
};
use super::outcomes::{Outcomes, Rates};
use crate::clock;
use crate::control::Control;
use crate::limits::COLLECT_EVERY;
use crate::name::ListenerName;
use crate::operations;
use crate::proxy::counters::Counts;
use crate::rollout::evidence::engine::Arm;
use crate::snapshot::{Service, Snapshot};

/// What is open or in flight right now, on all workers together.
#[derive(Debug, Clone, Default)]
pub struct Gauges {
    /// Requests by number of version.
    pub in_flight: HashMap<u32, u64>,
    /// Requests by number of endpoint.
    pub endpoint_in_flight: HashMap<u32, u64>,
    /// Connections to upstreams by number of version.
    pub upstream_connections: HashMap<u32, u64>,
    /// Connections of clients by listener.
    pub connections: BTreeMap<ListenerName, u64>,
}

impl Gauges {
    fn add(&mut self, counts: &Counts) {
        let sum = |into: &mut HashMap<u32, u64>, (id, count): (&u32, &u32)| {
            *into.entry(*id).or_default() += u64::from(*count);
        };
        counts.in_flight.iter().for_each(|one| sum(&mut self.in_flight, one));
        counts.endpoint_in_flight.iter().for_each(|one| sum(&mut self.endpoint_in_flight, one));
        counts.upstream_connections.iter().for_each(|one| sum(&mut self.upstream_connections, one));
        for (listener, count) in &counts.connections {
            *self.connections.entry(listener.clone()).or_default() += u64::from(*count);
        }
    }
}

/// Metrics and recent outcomes.
#[derive(Debug)]
pub struct Telemetry {
    /// Held from asking the workers until what they gave is in the books: whoever reads the books
    /// in between would miss it.
    collecting: tokio::sync::Mutex<()>,
    books: Mutex<Books>,
}

#[derive(Debug)]
struct Books {
    metrics: Metrics,
    outcomes: Outcomes,
    /// What verdicts go by, until the rollout driver takes it.
    trials: HashMap<(u32, u32), [Arm; 2]>,
}

impl Telemetry {
    /// Empty books. `bounds` are the duration buckets in seconds.
    pub fn new(bounds: &[f64], now: Instant) -> Self {
        let (metrics, outcomes) = (Metrics::new(bounds), Outcomes::new(now));
        let books = Books { metrics, outcomes, trials: HashMap::new() };
        Self { collecting: tokio::sync::Mutex::default(), books: Mutex::new(books) }
    }

    /// Collects until the process ends, so that workers' sums stay small and rates stay fresh.
    pub async fn run(self: Arc<Self>, control: Arc<Control>) {
        let mut tick = tokio::time::interval(COLLECT_EVERY);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            self.collect(&control).await;
            control.free_retired();
        }
    }

    /// Takes every worker's sums into the books; returns the gauges as they are now.
    pub async fn collect(&self, control: &Control) -> Gauges {
        let _turn = self.collecting.lock().await;
        let all = control.collect().await;
        let mut gauges = Gauges::default();
        let now = clock::now();
        let mut books = self.books();
        for counts in &all {
            gauges.add(counts);
            books.metrics.absorb(counts, &control.shared.registry);
            books.outcomes.absorb(counts, now);
            for (key, halves) in &counts.trials {
                let sums = books.trials.entry(*key).or_default();
                sums.iter_mut().zip(halves).for_each(|(sum, half)| sum.add(half));
            }
        }
        absorb_shadows(&mut books.metrics, control);
        gauges
    }

    /// What verdicts go by, since it was last taken: by the number of the version and that of the
    /// weight.
    pub fn take_trials(&self) -> HashMap<(u32, u32), [Arm; 2]> {
        std::mem::take(&mut self.books().trials)
    }

    /// Notes how a request went, by its id.
    ///
    /// # Errors
    /// Why nothing is known of it.
    pub fn note_request(
        &self,
        control: &Control,
        request_id: &[u8],
        ok: bool,
    ) -> Result<(), &'static str> {
        let mut workers = control.shared.recent.get().into_iter().flatten();
        let trial = workers
            .find_map(|worker| worker.take(request_id))
            .ok_or("no rollout has counted it, it was told of, or it is too old")?;
        let mut books = self.books();
        let halves = books.trials.entry((trial.version, trial.generation)).or_default();
        let outcomes = &mut halves[usize::from(trial.half)].outcomes;
        outcomes.0 += 1;
        outcomes.1 += u64::from(!ok);
        Ok(())
    }

    /// What a version did lately, by its number.
    pub fn rates(&self, version: u32) -> Rates {
        self.books().outcomes.rates(version, clock::now())
    }

    /// Counts a reading of the configuration: `applied`, `unchanged` or `invalid`.
    pub fn note_reload(&self, result: &'static str) {
        self.books().metrics.count(&CONFIG_RELOADS, &[result], 1);
    }

    /// Calls `then` with the metrics, for those who count on the control plane.
    pub fn with_metrics<T>(&self, then: impl FnOnce(&mut Metrics) -> T) -> T {
        then(&mut self.books().metrics)
    }

    /// The text of a scrape, true now.
    pub async fn scrape(&self, control: &Control) -> String {
        let gauges = self.collect(control).await;
        let (current, valid, listeners, ready) = {
            let state = control.state().await;
            let current = control.current();
            let ready: Vec<bool> = current
                .snapshot
                .services
                .iter()
                .map(|service| operations::is_rollback_ready(service, &state.history))
                .collect();
            let names = state.config.listeners.iter().map(|plan| plan.name.clone());
            let listeners: Vec<_> = names.collect();
            (current, state.invalid.is_none(), listeners, ready)
        };
        let mut books = self.books();
        let metrics = &mut books.metrics;
        metrics.set(&REVISION, &[], current.number as f64);
        metrics.set(&CONFIG_VALID, &[], flag(valid));
        for (service, ready) in current.snapshot.services.iter().zip(ready) {
            metrics.set(&ROLLBACK_READY, &[service.name.as_str()], flag(ready));
            set_service(metrics, service, &gauges);
        }
        for listener in &listeners {
            let open = gauges.connections.get(listener).copied().unwrap_or(0);
            metrics.set(&CONNECTIONS, &[listener.as_str()], open as f64);
        }
        let mut alive = alive(&current.snapshot);
        alive.listeners = listeners.iter().map(ToString::to_string).collect();
        metrics.render(&alive)
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        // Whoever panicked while counting has left at most a count out.
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes what shadows did into the metrics.
fn absorb_shadows(metrics: &mut Metrics, control: &Control) {
    for ((service, version), counts) in control.shared.shadows.take_counts() {
        let labels = [service.as_str(), version.as_str()];
        for (outcome, count) in counts.outcomes {
            let labels = [labels[0], labels[1], outcome.as_str()];
            metrics.count(&SHADOW_REQUESTS, &labels, count);
        }
        for (kind, count) in counts.kinds {
            metrics.count(&SHADOW_MISMATCH, &[labels[0], labels[1], kind], count);
        }
        for (count, seconds) in counts.delays.into_values().filter(|(count, _)| *count > 0) {
            // The mean lies in the slot it was counted in, so that counts and sum are exact.
            metrics.record(&SHADOW_LATENCY_DELTA, &labels, seconds / count as f64, count);
        }
    }
}

fn flag(on: bool) -> f64 {
    f64::from(u8::from(on))
}

fn set_service(metrics: &mut Metrics, service: &Service, gauges: &Gauges) {
    let name = service.name.as_str();
    let total = service.traffic.weights.total().max(1) as f64;
    for version in &service.versions {
        let labels = [name, version.name.as_str()];
        let of = |gauge: &HashMap<u32, u64>| gauge.get(&version.id).copied().unwrap_or(0) as f64;
        let weight = f64::from(service.traffic.weights.of(&version.name));
        metrics.set(&WEIGHT, &labels, weight * 100.0 / total);
        metrics.set(&IN_FLIGHT, &labels, of(&gauges.in_flight));
        metrics.set(&UPSTREAM_CONNECTIONS, &labels, of(&gauges.upstream_connections));
        for slot in &version.endpoints {
            let labels = [name, version.name.as_str(), &slot.endpoint.label];
            metrics.set(&HEALTHY, &labels, flag(slot.endpoint.is_healthy()));
        }
    }
}

/// The series that are shown: those of what this state names.
fn alive(snapshot: &Snapshot) -> Alive {
    let mut alive = Alive::default();
    for service in &snapshot.services {
        let to = service.traffic.rollout.as_ref().map(|rollout| rollout.plan.to.to_string());
        alive.judged.extend(to.map(|to| (service.name.to_string(), to)));
        for version in &service.versions {
            alive.versions.insert((service.name.to_string(), version.name.to_string()));
            let labels = version.endpoints.iter().map(|slot| slot.endpoint.label.clone());
            alive.endpoints.extend(labels);
        }
    }
    alive
}
