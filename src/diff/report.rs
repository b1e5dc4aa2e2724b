//! What do many comparisons say together?
//!
//! A [`Report`] adds up: how many requests agreed, which fields differ, which of them would differ
//! between two correct servers too. It is bounded whatever it is fed, keeps no values and reads no
//! clock. What is kept of single requests for people to look at is not its business.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use super::evidence::{REGRESSED, against_noise, against_tolerance};
use super::{Comparison, FieldPath, Kind, Kinds, OTHER};
use crate::limits::DIFF_FIELDS_MAX;

/// Requests needed before a field is called noise or blind.
const NOISE_REQUESTS_MIN: u64 = 20;
/// The share of requests with noise from which nothing can be seen in a field.
const BLIND_RATE: f64 = 0.5;
/// Differences needed before a field is called regressed without a secondary: one accident in the
/// first few requests is not a pattern, however rare it ought to be.
const DIFFERENCES_MIN: u64 = 3;

/// Sums over the comparisons of one service since it was made.
#[derive(Debug, Clone, Default)]
pub struct Report {
    matched: u64,
    mismatched: u64,
    failed: u64,
    dropped: u64,
    skipped: BTreeMap<&'static str, u64>,
    /// Requests whose heads were compared, those with incomparable bodies included.
    heads: u64,
    /// Requests whose bodies were compared too.
    bodies: u64,
    /// Of these, the requests that a secondary answered comparably.
    paired_heads: u64,
    paired_bodies: u64,
    /// Requests in which primary and secondary differed.
    noisy: u64,
    fields: BTreeMap<String, FieldCount>,
    routes: BTreeMap<String, RouteCount>,
    latency: Deltas,
}

#[derive(Debug, Clone, Copy)]
struct FieldCount {
    kind: Kind,
    differences: u64,
    noise: u64,
    /// Among the requests with a secondary: only the shadow differed.
    only_shadow: u64,
    /// Only the secondary differed.
    only_noise: u64,
}

#[derive(Debug, Clone, Copy, Default)]
struct RouteCount {
    compared: u64,
    mismatched: u64,
}

/// What one request counted as; the first three are outcomes of `tidegate_shadow_requests_total`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Matched,
    /// With the kinds of the differences that noise does not explain.
    Mismatched(Kinds),
    /// The bodies could not be compared, and nothing else differs. Not a match: nobody knows.
    Skipped(&'static str),
}

/// What the counts of a field say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// It differs more often than two correct servers do: the evidence is at least ln 100.
    Regressed,
    /// Not enough data, or data that lean neither way.
    Undecided,
    /// Two correct servers differ in it in more than half of all requests.
    Blind,
    /// Two correct servers differ in it just as often.
    Noise,
}

impl Verdict {
    /// The word of reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Regressed => "regressed",
            Self::Undecided => "undecided",
            Self::Blind => "blind",
            Self::Noise => "noise",
        }
    }
}

/// A report in numbers, named as in `GET /v1/services/{s}/diffs`.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    /// `matched` and `mismatched` together.
    pub compared: u64,
    pub matched: u64,
    pub mismatched: u64,
    /// Share of the compared, 0 to 1; 0 when there is none.
    pub mismatch_rate: f64,
    /// Share of the requests with a secondary in which it differed from the primary, 0 to 1. `None`
    /// without such requests.
    pub noise_rate: Option<f64>,
    pub failed: u64,
    pub dropped: u64,
    pub skipped: BTreeMap<&'static str, u64>,
    /// Shadow minus primary. `None` before the first request.
    pub latency_delta_ms: Option<Quantiles>,
    /// Worst verdict first, then by evidence.
    pub fields: Vec<FieldSummary>,
    /// In the order of names.
    pub routes: Vec<RouteSummary>,
}

/// Quantiles in milliseconds, to about 3 %.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Quantiles {
    pub p50: f64,
    pub p95: f64,
    pub p99: f64,
}

/// One field of a [`Summary`].
#[derive(Debug, Clone, PartialEq)]
pub struct FieldSummary {
    pub field: String,
    /// Requests in which primary and shadow differ in it.
    pub differences: u64,
    /// Share of the requests in which it was compared, 0 to 1.
    pub rate: f64,
    /// Requests in which primary and secondary differ in it; 0 without a secondary.
    pub noise: u64,
    /// Natural logarithm of the evidence that the shadow differs more often than it may; see
    /// [`super::evidence`].
    pub evidence: f64,
    pub verdict: Verdict,
}

/// One route of a [`Summary`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteSummary {
    pub route: String,
    pub compared: u64,
    pub mismatched: u64,
}

impl Report {
    /// A report of nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one request, and says what it counted as.
    ///
    /// `noise` compares the primary with the secondary on the same request: a field that differs
    /// there too is forgiven here; where the secondary's body could not be compared, none is. Past the bounds of a comparison fields cannot be told apart, so
    /// [`OTHER`] is never forgiven. `latency_delta_ms` is the shadow's latency minus the primary's;
    /// what is not a number is left out.
    pub fn record(
        &mut self,
        route: &str,
        comparison: &Comparison,
        noise: Option<&Comparison>,
        latency_delta_ms: f64,
    ) -> Outcome {
        self.latency.record(latency_delta_ms);
        self.count_fields(comparison, noise);
        let forgiven = |field: &FieldPath| {
            field.as_str() != OTHER && noise.is_some_and(|noise| noise.differs_in(field))
        };
        let mut kinds = Kinds::default();
        for difference in &comparison.differences {
            if !forgiven(&difference.field) {
                kinds.insert(difference.field.kind());
            }
        }
        let outcome = match comparison.incomparable {
            _ if !kinds.is_empty() => Outcome::Mismatched(kinds),
            Some(reason) => Outcome::Skipped(reason),
            None => Outcome::Matched,
        };
        self.count_outcome(route, outcome);
        outcome
    }

    /// Counts a copy that got no answer to compare.
    pub fn failed(&mut self) {
        self.failed += 1;
    }

    /// Counts a copy that was not sent, or an answer not compared, for want of room.
    pub fn dropped(&mut self) {
        self.dropped += 1;
    }

    /// Counts a request that was not compared for a reason of its own; reasons are a closed set.
    pub fn skipped(&mut self, reason: &'static str) {
        *self.skipped.entry(reason).or_default() += 1;
    }

    /// The numbers and what they say.
    pub fn summary(&self) -> Summary {
        let compared = self.matched + self.mismatched;
        let mut fields: Vec<_> =
            self.fields.iter().map(|(name, count)| self.summarize(name, count)).collect();
        fields.sort_by(|a, b| {
            let by_evidence = b.evidence.partial_cmp(&a.evidence).unwrap_or(Ordering::Equal);
            a.verdict.cmp(&b.verdict).then(by_evidence).then_with(|| a.field.cmp(&b.field))
        });
        let routes = self.routes.iter().map(|(route, count)| RouteSummary {
            route: route.clone(),
            compared: count.compared,
            mismatched: count.mismatched,
        });
        Summary {
            compared,
            matched: self.matched,
            mismatched: self.mismatched,
            mismatch_rate: share(self.mismatched, compared),
            noise_rate: (self.paired_heads > 0).then(|| share(self.noisy, self.paired_heads)),
            failed: self.failed,
            dropped: self.dropped,
            skipped: self.skipped.clone(),
            latency_delta_ms: self.latency.quantiles(),
            fields,
            routes: routes.collect(),
        }
    }

    fn count_outcome(&mut self, route: &str, outcome: Outcome) {
        if let Outcome::Skipped(reason) = outcome {
            self.skipped(reason);
            return;
        }
        let mismatched = u64::from(matches!(outcome, Outcome::Mismatched(_)));
        self.mismatched += mismatched;
        self.matched += 1 - mismatched;
        // Routes that are gone stay in the report, so their names need a bound too.
        let count = match self.routes.get_mut(route) {
            Some(count) => count,
            None => {
                let route = if self.routes.len() < DIFF_FIELDS_MAX { route } else { OTHER };
                self.routes.entry(route.into()).or_default()
            }
        };
        count.compared += 1;
        count.mismatched += mismatched;
    }

    fn count_fields(&mut self, comparison: &Comparison, noise: Option<&Comparison>) {
        let bodies = comparison.incomparable.is_none();
        let paired_bodies = bodies && noise.is_some_and(|noise| noise.incomparable.is_none());
        self.heads += 1;
        self.bodies += u64::from(bodies);
        self.paired_heads += u64::from(noise.is_some());
        self.paired_bodies += u64::from(paired_bodies);
        self.noisy += u64::from(noise.is_some_and(|noise| !noise.differences.is_empty()));
        let both = [Some(comparison), noise];
        for difference in both.into_iter().flatten().flat_map(|side| &side.differences) {
            self.admit(&difference.field);
        }
        let from_shadow = self.names(comparison);
        let from_noise = noise.map(|noise| self.names(noise)).unwrap_or_default();
        let all: BTreeSet<_> = from_shadow.union(&from_noise).collect();
        for name in all {
            let (by_shadow, by_noise) = (from_shadow.contains(name), from_noise.contains(name));
            let Some(count) = self.fields.get_mut(name) else { continue };
            let paired = if count.kind == Kind::Body { paired_bodies } else { noise.is_some() };
            count.differences += u64::from(by_shadow);
            count.noise += u64::from(paired && by_noise);
            count.only_shadow += u64::from(paired && by_shadow && !by_noise);
            count.only_noise += u64::from(paired && by_noise && !by_shadow);
        }
    }

    /// Makes room for a field, or for [`OTHER`] when there is none left.
    fn admit(&mut self, field: &FieldPath) {
        let name = field.as_str();
        if self.fields.contains_key(name) {
            return;
        }
        // The last place is for those that find none.
        let name = if self.fields.len() + 1 < DIFF_FIELDS_MAX { name } else { OTHER };
        self.fields.entry(name.to_owned()).or_insert(FieldCount::of(field.kind()));
    }

    /// The names that a comparison's differences are counted under, each once.
    fn names(&self, comparison: &Comparison) -> BTreeSet<String> {
        let name = |field: &FieldPath| match self.fields.contains_key(field.as_str()) {
            true => field.as_str().to_owned(),
            false => OTHER.to_owned(),
        };
        comparison.differences.iter().map(|difference| name(&difference.field)).collect()
    }

    fn summarize(&self, name: &str, count: &FieldCount) -> FieldSummary {
        let (observed, paired) = match count.kind {
            Kind::Body => (self.bodies, self.paired_bodies),
            Kind::Status | Kind::Header | Kind::Latency => (self.heads, self.paired_heads),
        };
        let evidence = if paired > 0 {
            against_noise(count.only_shadow, count.only_noise)
        } else {
            against_tolerance(count.differences, observed.saturating_sub(count.differences))
        };
        FieldSummary {
            field: name.to_owned(),
            differences: count.differences,
            rate: share(count.differences, observed),
            noise: count.noise,
            evidence,
            verdict: count.verdict(evidence, paired),
        }
    }
}

impl FieldCount {
    fn of(kind: Kind) -> Self {
        Self { kind, differences: 0, noise: 0, only_shadow: 0, only_noise: 0 }
    }

    fn verdict(&self, evidence: f64, paired: u64) -> Verdict {
        if evidence >= REGRESSED && self.differences >= DIFFERENCES_MIN {
            return Verdict::Regressed;
        }
        if paired < NOISE_REQUESTS_MIN || self.noise == 0 {
            return Verdict::Undecided;
        }
        if share(self.noise, paired) > BLIND_RATE {
            return Verdict::Blind;
        }
        // Evidence above 0 leans towards a regression: too early to explain it away.
        if evidence <= 0.0 { Verdict::Noise } else { Verdict::Undecided }
    }
}

fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

/// Steps of the scale on either side of zero: from [`DELTA_MIN_MS`] to about 9 minutes.
const STEPS: usize = 320;
/// Each step of the scale is this much greater than the one before.
const GROWTH: f64 = 1.06;
/// What is nearer to zero than this counts as zero.
const DELTA_MIN_MS: f64 = 0.005;

/// A histogram of signed milliseconds on a scale that is logarithmic on either side of zero.
#[derive(Debug, Clone)]
struct Deltas {
    /// From the most negative to the most positive; zero in the middle.
    counts: Vec<u64>,
    total: u64,
}

impl Default for Deltas {
    fn default() -> Self {
        Self { counts: vec![0; 2 * STEPS + 1], total: 0 }
    }
}

impl Deltas {
    fn record(&mut self, delta_ms: f64) {
        if delta_ms.is_nan() {
            return;
        }
        let size = (delta_ms.abs() / DELTA_MIN_MS).max(1.0);
        // Casts of floats saturate, so an infinite delta ends in the last step.
        let step = ((size.ln() / GROWTH.ln()).ceil() as usize).min(STEPS);
        let slot = if delta_ms < 0.0 { STEPS - step } else { STEPS + step };
        self.counts[slot] += 1;
        self.total += 1;
    }

    fn quantiles(&self) -> Option<Quantiles> {
        let at = |q| self.quantile(q);
        Some(Quantiles { p50: at(0.5)?, p95: at(0.95)?, p99: at(0.99)? })
    }

    /// The middle of the step that holds the value of this rank. `None` when there is no value.
    fn quantile(&self, q: f64) -> Option<f64> {
        let rank = ((q * self.total as f64).ceil() as u64).max(1);
        let mut below = 0;
        let slot = self.counts.iter().position(|count| {
            below += count;
            below >= rank
        })?;
        let middle = |step: usize| DELTA_MIN_MS * GROWTH.powf(step as f64 - 0.5);
        Some(match slot.cmp(&STEPS) {
            Ordering::Less => -middle(STEPS - slot),
            Ordering::Equal => 0.0,
            Ordering::Greater => middle(slot - STEPS),
        })
    }
}
