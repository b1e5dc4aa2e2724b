//! Where answers that differ are compared and what was found is kept: on the control plane, bounded.
//!
//! Workers hand over without waiting. Reports and samples are in memory only.

use std::collections::{BTreeMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::AtomicU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;

use super::answer::Observed;
use super::gate::{Gate, Misses, Permit, Subject};
use super::runner::Told;
use super::{Miss, Outcome};
use crate::clock;
use crate::diff::redact::{redact_query, redact_value};
use crate::diff::report::{self, Report, Summary};
use crate::diff::{Comparison, Difference, Kinds, Rules, compare};
use crate::limits::{COMPARE_EVERY, DIFF_QUEUE_MAX, DIFF_SAMPLES_KEPT, PATH_TEXT_BYTES_MAX};
use crate::name::{RouteName, ServiceName, VersionName};
use crate::proxy::counters::fine_slot;

/// The answers to one request, to be compared under the rules of its own revision.
#[derive(Debug)]
pub struct Pair {
    pub gate: Arc<Gate>,
    /// Held until they are compared: so long their bodies take memory.
    pub permits: (Permit, Option<Permit>),
    pub rules: Arc<Rules>,
    pub told: Told,
    pub primary: Observed,
    pub shadow: Observed,
    pub secondary: Option<Observed>,
}

/// That the answers to one request are the same under its rules.
#[derive(Debug)]
pub struct Agreement {
    pub gate: Arc<Gate>,
    pub route: Option<RouteName>,
    /// The original's and the shadow's.
    pub latencies: (Duration, Duration),
}

/// What a worker hands over of one request.
#[derive(Debug)]
enum Finding {
    Agree(Agreement),
    Differ(Box<Pair>),
}

/// Findings that wait to be counted.
#[derive(Debug)]
pub struct Comparisons(mpsc::Receiver<Finding>);

/// Reports, samples and counts of every service that was ever mirrored.
#[derive(Debug)]
pub struct ShadowHub {
    findings: mpsc::Sender<Finding>,
    /// Locked by the control plane, and by a worker once for each new rule.
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    services: BTreeMap<ServiceName, Ledger>,
    /// Counts not yet taken for the metrics.
    counts: BTreeMap<(ServiceName, VersionName), ShadowCounts>,
}

/// What is kept of one service.
#[derive(Debug)]
struct Ledger {
    in_flight: Arc<AtomicU32>,
    /// Of every subject that somebody may still count on.
    gates: Vec<Arc<Gate>>,
    sheet: Sheet,
}

/// The findings on one subject.
#[derive(Debug)]
struct Sheet {
    gate: Arc<Gate>,
    /// The latest revision that is known to compare this.
    revision: u64,
    since: jiff::Timestamp,
    report: Report,
    misses: Misses,
    samples: VecDeque<Sample>,
}

/// A request whose answers differ. Secrets are hidden in all of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    pub at: jiff::Timestamp,
    pub route: String,
    pub method: String,
    /// Path and query.
    pub path: String,
    pub request_id: String,
    pub primary_status: u16,
    pub shadow_status: u16,
    pub differences: Vec<Difference>,
    /// Why the bodies could not be compared.
    pub incomparable: Option<&'static str>,
}

/// A service's report in numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct ReportView {
    pub service: ServiceName,
    pub shadow: VersionName,
    pub secondary: Option<VersionName>,
    pub since: jiff::Timestamp,
    /// With every miss in `failed`, `dropped` or, by its word, `skipped`.
    pub summary: Summary,
    /// What `failed` and `dropped` are made of, by word.
    pub misses: BTreeMap<&'static str, u64>,
}

/// Counts of one shadow since they were last taken.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ShadowCounts {
    pub outcomes: BTreeMap<Outcome, u64>,
    /// Mismatches by kind of what differs.
    pub kinds: BTreeMap<&'static str, u64>,
    /// By how much the shadow was later: pairs and their summed seconds, by the slot of
    /// [`fine_slot`]. A shadow that was faster counts as zero.
    pub delays: BTreeMap<u16, (u64, f64)>,
}

impl ShadowHub {
    /// A hub, and the findings that [`ShadowHub::run`] has to be given.
    pub fn new() -> (Self, Comparisons) {
        let (findings, waiting) = mpsc::channel(DIFF_QUEUE_MAX);
        (Self { findings, state: Mutex::default() }, Comparisons(waiting))
    }

    /// Compares and counts what comes, for as long as the process lives.
    pub async fn run(&self, mut findings: Comparisons) {
        let mut batch = Vec::new();
        while findings.0.recv_many(&mut batch, DIFF_QUEUE_MAX).await > 0 {
            for finding in batch.drain(..) {
                match finding {
                    Finding::Agree(agreement) => self.lock().agree(&agreement),
                    Finding::Differ(pair) => self.judge(&pair),
                }
            }
            // Who sleeps on a clock need not be woken by the workers: a wake for each pair cost them
            // as much as sending the copy.
            tokio::time::sleep(COMPARE_EVERY).await;
        }
    }

    /// Hands a pair over to be compared; never waits.
    pub fn submit(&self, pair: Pair) -> Result<(), Miss> {
        self.hand_over(Finding::Differ(Box::new(pair)))
    }

    /// Hands over that nothing differs; never waits.
    pub fn agreed(&self, agreement: Agreement) -> Result<(), Miss> {
        self.hand_over(Finding::Agree(agreement))
    }

    fn hand_over(&self, finding: Finding) -> Result<(), Miss> {
        self.findings.try_send(finding).map_err(|_| Miss::QueueFull)
    }

    /// The gate of a subject that is compared under this revision. One that is newer than the
    /// service's report begins a new report.
    pub fn gate(&self, subject: Subject, revision: u64) -> Arc<Gate> {
        let mut state = self.lock();
        state.settle();
        let service = subject.service.clone();
        let Some(ledger) = state.services.get_mut(&service) else {
            let ledger = Ledger::new(subject, revision);
            let gate = ledger.sheet.gate.clone();
            state.services.insert(service, ledger);
            return gate;
        };
        let gate = ledger.gate(subject);
        let sheet = &mut ledger.sheet;
        if Arc::ptr_eq(&sheet.gate, &gate) {
            sheet.revision = sheet.revision.max(revision);
        } else if revision > sheet.revision {
            *sheet = Sheet::new(gate.clone(), revision);
        }
        gate
    }

    /// The report of a service; `None` while nothing was mirrored.
    pub fn report(&self, service: &ServiceName) -> Option<ReportView> {
        let mut state = self.lock();
        state.settle();
        state.services.get(service).map(|ledger| ledger.sheet.view())
    }

    /// The requests whose answers differed, the latest first.
    pub fn samples(&self, service: &ServiceName) -> Vec<Sample> {
        let state = self.lock();
        let ledger = state.services.get(service);
        ledger.into_iter().flat_map(|ledger| ledger.sheet.samples.iter().rev().cloned()).collect()
    }

    /// Begins the report of a service anew; false when there is none.
    pub fn reset(&self, service: &ServiceName) -> bool {
        let mut state = self.lock();
        state.settle();
        let Some(ledger) = state.services.get_mut(service) else { return false };
        ledger.sheet = Sheet::new(ledger.sheet.gate.clone(), ledger.sheet.revision);
        true
    }

    /// The counts of every shadow since they were last taken.
    pub fn take_counts(&self) -> BTreeMap<(ServiceName, VersionName), ShadowCounts> {
        let mut state = self.lock();
        state.settle();
        std::mem::take(&mut state.counts)
    }

    fn judge(&self, pair: &Pair) {
        let verdict = catch_unwind(AssertUnwindSafe(|| {
            let primary = pair.primary.answer();
            let against = |other: &Observed| compare(&primary, &other.answer(), &pair.rules);
            (against(&pair.shadow), pair.secondary.as_ref().map(against))
        }));
        match verdict {
            Ok((found, noise)) => self.lock().record(pair, &found, noise.as_ref()),
            Err(_) => pair.gate.count(Miss::CompareFailed),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // What a panic may have left half counted is no reason to lose the rest.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Moves what was counted at the gates to where it is read, and forgets gates that only this
    /// list holds: nobody counts on them any more.
    fn settle(&mut self) {
        let Self { services, counts } = self;
        for Ledger { gates, sheet, .. } in services.values_mut() {
            gates.retain(|gate| {
                // Looked at before the counts are taken: who has let go of it by now has counted.
                let is_held = Arc::strong_count(gate) > 1;
                let misses = gate.take_misses();
                if misses.iter().any(|count| *count > 0) {
                    let counts = counts_of(counts, gate);
                    for (miss, count) in Miss::ALL.into_iter().zip(misses) {
                        counts.add(miss.outcome(), count);
                    }
                    if Arc::ptr_eq(gate, &sheet.gate) {
                        for (sum, more) in sheet.misses.iter_mut().zip(misses) {
                            *sum += more;
                        }
                    }
                }
                is_held
            });
        }
    }

    fn agree(&mut self, agreement: &Agreement) {
        let Agreement { gate, route, latencies } = agreement;
        let route = route.as_ref().map_or("", RouteName::as_str);
        self.count(gate, route, *latencies, (&Comparison::default(), None), |_| {});
    }

    fn record(&mut self, pair: &Pair, found: &Comparison, noise: Option<&Comparison>) {
        let latencies = (pair.primary.latency, pair.shadow.latency);
        self.count(&pair.gate, pair.told.route(), latencies, (found, noise), |sheet| {
            sheet.keep(Sample::of(pair, found));
        });
    }

    /// Counts one request. `keep` keeps a sample of it if it counts as a mismatch.
    fn count(
        &mut self,
        gate: &Arc<Gate>,
        route: &str,
        (primary, shadow): (Duration, Duration),
        (found, noise): (&Comparison, Option<&Comparison>),
        keep: impl FnOnce(&mut Sheet),
    ) {
        let delta_ms = (shadow.as_secs_f64() - primary.as_secs_f64()) * 1e3;
        let sheet = self.services.get_mut(&gate.subject.service).map(|ledger| &mut ledger.sheet);
        let outcome = match sheet.filter(|sheet| Arc::ptr_eq(&sheet.gate, gate)) {
            Some(sheet) => {
                let outcome = sheet.report.record(route, found, noise, delta_ms);
                if matches!(outcome, report::Outcome::Mismatched(_)) {
                    keep(sheet);
                }
                outcome
            }
            // A report on something else has begun meanwhile: this one is only counted.
            None => Report::new().record("", found, noise, delta_ms),
        };
        let counts = counts_of(&mut self.counts, gate);
        match outcome {
            report::Outcome::Matched => counts.add(Outcome::Matched, 1),
            report::Outcome::Skipped(_) => counts.add(Outcome::Skipped, 1),
            report::Outcome::Mismatched(kinds) => {
                counts.add(Outcome::Mismatched, 1);
                counts.add_kinds(kinds);
            }
        }
        let later = shadow.saturating_sub(primary);
        let delay = counts.delays.entry(fine_slot(later)).or_default();
        *delay = (delay.0 + 1, delay.1 + later.as_secs_f64());
    }
}

fn counts_of<'a>(
    counts: &'a mut BTreeMap<(ServiceName, VersionName), ShadowCounts>,
    gate: &Gate,
) -> &'a mut ShadowCounts {
    let subject = &gate.subject;
    counts.entry((subject.service.clone(), subject.shadow.clone())).or_default()
}

impl ShadowCounts {
    fn add(&mut self, outcome: Outcome, more: u64) {
        if more > 0 {
            *self.outcomes.entry(outcome).or_default() += more;
        }
    }

    fn add_kinds(&mut self, kinds: Kinds) {
        for kind in kinds.iter() {
            *self.kinds.entry(kind.as_str()).or_default() += 1;
        }
    }
}

impl Ledger {
    fn new(subject: Subject, revision: u64) -> Self {
        let in_flight = Arc::new(AtomicU32::new(0));
        let gate = Arc::new(Gate::new(subject, in_flight.clone()));
        let sheet = Sheet::new(gate.clone(), revision);
        Self { in_flight, gates: vec![gate], sheet }
    }

    fn gate(&mut self, subject: Subject) -> Arc<Gate> {
        if let Some(gate) = self.gates.iter().find(|gate| gate.subject == subject) {
            return gate.clone();
        }
        let gate = Arc::new(Gate::new(subject, self.in_flight.clone()));
        self.gates.push(gate.clone());
        gate
    }
}

impl Sheet {
    fn new(gate: Arc<Gate>, revision: u64) -> Self {
        Self {
            gate,
            revision,
            since: clock::timestamp(),
            report: Report::new(),
            misses: [0; Miss::ALL.len()],
            samples: VecDeque::new(),
        }
    }

    fn keep(&mut self, sample: Sample) {
        if self.samples.len() == DIFF_SAMPLES_KEPT {
            self.samples.pop_front();
        }
        self.samples.push_back(sample);
    }

    fn view(&self) -> ReportView {
        let Subject { service, shadow, secondary } = self.gate.subject.clone();
        let mut summary = self.report.summary();
        let mut misses = BTreeMap::new();
        let counted = Miss::ALL.into_iter().zip(self.misses).filter(|(_, count)| *count > 0);
        for (miss, count) in counted {
            let sum = match miss.outcome() {
                Outcome::Failed => &mut summary.failed,
                Outcome::Dropped => &mut summary.dropped,
                Outcome::Skipped | Outcome::Matched | Outcome::Mismatched => {
                    *summary.skipped.entry(miss.as_str()).or_default() += count;
                    continue;
                }
            };
            *sum += count;
            misses.insert(miss.as_str(), count);
        }
        ReportView { service, shadow, secondary, since: self.since, summary, misses }
    }
}

impl Sample {
    fn of(pair: &Pair, found: &Comparison) -> Self {
        let told = &pair.told;
        let (method, target, id) = told.request();
        let (path, query) = match target.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (target, None),
        };
        Self {
            at: clock::timestamp(),
            route: told.route().to_owned(),
            method: method.to_owned(),
            path: shown_path(path, query),
            request_id: id.to_owned(),
            primary_status: pair.primary.status,
            shadow_status: pair.shadow.status,
            differences: found.differences.clone(),
            incomparable: found.incomparable,
        }
    }
}

/// Path and query without secrets, and short. Secrets are looked for before it is cut.
fn shown_path(path: &str, query: Option<&str>) -> String {
    let segments = path.split('/').map(|segment| redact_value("", segment));
    let mut shown = segments.collect::<Vec<_>>().join("/");
    if let Some(query) = query {
        shown.push('?');
        shown.push_str(&redact_query(query));
    }
    if shown.len() > PATH_TEXT_BYTES_MAX {
        let cut = (0..=PATH_TEXT_BYTES_MAX).rev().find(|at| shown.is_char_boundary(*at));
        shown.truncate(cut.unwrap_or_default());
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests;
