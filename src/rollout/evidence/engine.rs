//! The verdict on a canary, from all its metrics, after every block.

use super::assignment::Assignment;
use super::blocker::{Blocker, Closed, Pool};
use super::dispersion::Halves;
use super::interval::{Estimate, max_weight};
use super::latency::{History, above, alarm_bucket, edge, quantile, safe_bucket};
use super::track::{Reading, Track};
use super::{Block, Tolerance, log_sum_exp, words};
use std::collections::BTreeMap;

/// Odds at which a canary is suspect, and at which it no longer is.
const SUSPECT: (f64, f64) = (10.0, 3.0);
/// The chance that a promotion's bounds are broken by a canary that was called safe.
const PROMOTE_ALPHA: f64 = 0.05;
/// Seconds of evidence before anything is safe.
const SAFE_SECONDS_MIN: f64 = 60.0;
/// What a promotion allows: half as many errors again, and a thousandth of all requests.
const SAFE_ERRORS: Tolerance = Tolerance { ratio: 1.5, margin: 0.001 };
/// What a promotion allows of latency: slower by a quarter, for a thousandth of all requests more.
const SAFE_LATENCY_RATIO: f64 = 1.25;
pub(super) const SAFE_LATENCY: Tolerance = Tolerance { ratio: 1.0, margin: 0.001 };
/// The share of all requests that a ramp may let fail beyond the baseline's rate.
const RAMP_BUDGET: f64 = 0.001;

/// What a verdict goes by.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Params {
    /// The chance of ever calling an equal version regressed.
    pub alpha: f64,
    /// How much worse errors may be.
    pub errors: Tolerance,
    /// How much worse errors may be for a promotion.
    pub safe_errors: Tolerance,
    /// How many times slower each quantile may be.
    pub latency_ratio: f64,
    /// Requests of the canary before anything is safe.
    pub requests_min: u64,
    /// Whether bursts are guarded against.
    pub guard: bool,
    /// Whether safety must also be earned as if bad requests came alone. The guard goes by the variance
    /// that it sees: where hardly any request is bad it sees none, and would believe too soon.
    pub cautious: bool,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            alpha: 0.01,
            errors: Tolerance { ratio: 1.1, margin: 0.0001 },
            safe_errors: SAFE_ERRORS,
            latency_ratio: 1.1,
            requests_min: 500,
            guard: true,
            cautious: false,
        }
    }
}

/// What is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Metric {
    Errors,
    P50,
    P90,
    P99,
    /// What the business told of requests.
    Outcomes,
}

impl Metric {
    /// Every metric, in the order of reports.
    pub const ALL: [Self; 5] = [Self::Errors, Self::P50, Self::P90, Self::P99, Self::Outcomes];

    /// The label `metric` and the key of reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Errors => "errors",
            Self::P50 => "p50",
            Self::P90 => "p90",
            Self::P99 => "p99",
            Self::Outcomes => "outcomes",
        }
    }

    fn weight(self) -> f64 {
        match self {
            Self::Errors | Self::Outcomes => 0.5,
            Self::P50 => 0.1,
            Self::P90 => 0.15,
            Self::P99 => 0.25,
        }
    }

    /// The quantile of a latency metric.
    pub(super) fn level(self) -> Option<f64> {
        match self {
            Self::Errors | Self::Outcomes => None,
            Self::P50 => Some(0.5),
            Self::P90 => Some(0.9),
            Self::P99 => Some(0.99),
        }
    }
}

/// What is said of a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Regressed,
    Suspect,
    Undecided,
    Safe,
}

impl Verdict {
    /// The word of reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Regressed => "regressed",
            Self::Suspect => "suspect",
            Self::Undecided => "undecided",
            Self::Safe => "safe",
        }
    }

    /// The value of `tidegate_verdict`.
    pub fn number(self) -> i8 {
        match self {
            Self::Regressed => -2,
            Self::Suspect => -1,
            Self::Undecided => 0,
            Self::Safe => 1,
        }
    }

    /// The verdict of a word.
    pub fn of_word(word: &str) -> Option<Self> {
        let all = [Self::Regressed, Self::Suspect, Self::Undecided, Self::Safe];
        all.into_iter().find(|verdict| verdict.as_str() == word)
    }
}

/// Counts of one version, or of a half of one.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Arm {
    pub requests: u64,
    pub errors: u64,
    /// Requests and bad ones as the business sees them.
    pub outcomes: (u64, u64),
    /// Requests by latency bucket: answers, and what was not answered in time. Failures that came
    /// fast are left out, lest a failing version look fast. Empty, or all buckets.
    pub latency: Vec<u32>,
}

impl Arm {
    /// Adds another's counts.
    pub fn add(&mut self, other: &Self) {
        self.requests += other.requests;
        self.errors += other.errors;
        self.outcomes.0 += other.outcomes.0;
        self.outcomes.1 += other.outcomes.1;
        if self.latency.len() < other.latency.len() {
            self.latency.resize(other.latency.len(), 0);
        }
        for (sum, more) in self.latency.iter_mut().zip(&other.latency) {
            *sum += more;
        }
    }
}

/// Counts of both versions under one weight; the baseline in two halves that are equal by chance.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Tick {
    pub baseline: [Arm; 2],
    pub canary: Arm,
}

impl Pool for Tick {
    fn requests(&self) -> (u64, u64) {
        (self.baseline.iter().map(|half| half.requests).sum(), self.canary.requests)
    }

    fn add(&mut self, other: &Self) {
        for (half, more) in self.baseline.iter_mut().zip(&other.baseline) {
            half.add(more);
        }
        self.canary.add(&other.canary);
    }
}

/// What was told of requests of both versions: all and bad ones.
#[derive(Debug, Clone, PartialEq, Default)]
struct Told {
    baseline: [(u64, u64); 2],
    canary: (u64, u64),
}

impl Told {
    fn read(&self) -> Reading {
        let [a, b] = self.baseline;
        Reading::of_counts(a, b, self.canary)
    }
}

impl Pool for Told {
    fn requests(&self) -> (u64, u64) {
        (self.baseline.iter().map(|half| half.0).sum(), self.canary.0)
    }

    fn add(&mut self, other: &Self) {
        let mine = self.baseline.iter_mut().chain([&mut self.canary]);
        for (sum, more) in mine.zip(other.baseline.iter().chain([&other.canary])) {
            sum.0 += more.0;
            sum.1 += more.1;
        }
    }
}

/// What is known of one metric, for people.
#[derive(Debug, Clone, PartialEq)]
pub struct Evidence {
    pub metric: Metric,
    pub log_evidence: f64,
    pub log_safety: f64,
    /// How strongly its bad requests come in bursts.
    pub dispersion: f64,
    /// Canary less baseline; of errors and outcomes only.
    pub difference: Option<Estimate>,
    pub ratio: Option<Estimate>,
    /// Microseconds of the quantile: baseline's and canary's; of latency only.
    pub quantiles: Option<[u64; 2]>,
    /// What this metric alone says.
    pub verdict: Verdict,
    pub text: String,
}

/// The verdict engine of one rollout.
#[derive(Debug, Clone, PartialEq)]
pub struct Engine {
    params: Params,
    tracks: Vec<Track>,
    history: History,
    /// Open blocks by the number of their weight.
    open: BTreeMap<u32, Blocker<Tick>>,
    /// The same of outcomes: they come long after their requests, and fewer.
    told: BTreeMap<u32, Blocker<Told>>,
    /// Seconds and canary requests of all blocks.
    age: f64,
    requests: u64,
    state: Verdict,
    blamed: Option<Metric>,
    assignment: Assignment,
}

impl Engine {
    /// An engine that has seen nothing, over these metrics.
    pub fn new(params: Params, metrics: &[Metric]) -> Self {
        Self {
            params,
            tracks: metrics.iter().map(|metric| Track::new(*metric, &params)).collect(),
            history: History::default(),
            open: BTreeMap::new(),
            told: BTreeMap::new(),
            age: 0.0,
            requests: 0,
            state: Verdict::Undecided,
            blamed: None,
            assignment: Assignment::default(),
        }
    }

    /// Learns from the baseline alone, before the rollout: how bursty its errors and how slow its
    /// answers are.
    pub fn warm(&mut self, baseline: &[Arm; 2], seconds: f64) {
        let tick = Tick { baseline: baseline.clone(), canary: Arm::default() };
        for place in 0..self.tracks.len() {
            if let Some(reading) = self.read(self.tracks[place].metric, &tick) {
                self.learn(place, reading.halves);
            }
        }
        self.remember(&tick, seconds);
    }

    /// Takes what a tick counted under the weight of that number.
    pub fn tick(&mut self, generation: u32, counts: &Tick, seconds: f64) {
        let closed = self.open.entry(generation).or_default().add(counts, seconds);
        if let Some(closed) = closed {
            self.block(&closed);
        }
    }

    /// Takes what was told of requests that were assigned under the weight of that number, in so many
    /// seconds.
    pub fn tell(&mut self, generation: u32, counts: &Tick, seconds: f64) {
        let told = Told {
            baseline: counts.baseline.each_ref().map(|half| half.outcomes),
            canary: counts.canary.outcomes,
        };
        let is_open = self.told.contains_key(&generation);
        if !is_open && told.requests() == (0, 0) {
            return;
        }
        let closed = self.told.entry(generation).or_default().add(&told, seconds);
        let outcomes = self.tracks.iter_mut().find(|track| track.metric == Metric::Outcomes);
        if let Some((closed, track)) = closed.zip(outcomes) {
            let reading = closed.counts.read();
            track.add(&reading, closed.seconds);
            if self.params.guard {
                track.dispersion.add(reading.halves);
            }
            self.decide();
        }
    }

    /// Nothing more comes of that weight but outcomes.
    pub fn end(&mut self, generation: u32) {
        let closed = self.open.remove(&generation).and_then(|mut blocker| blocker.end());
        if let Some(closed) = closed {
            self.block(&closed);
        }
    }

    /// A higher load begins, which must earn its own evidence of safety.
    pub fn raised(&mut self) {
        self.tracks.iter_mut().for_each(Track::raised);
        if self.state == Verdict::Safe {
            self.state = Verdict::Undecided;
        }
    }

    /// The canary's share of the requests by the weights in force, or `None` when assignment is by
    /// user and need not match request by request.
    pub fn expect_share(&mut self, share: Option<f64>) {
        self.assignment.expect(share);
    }

    /// Takes a whole block in.
    pub fn block(&mut self, closed: &Closed<Tick>) {
        let tick = &closed.counts;
        for place in 0..self.tracks.len() {
            let Some(reading) = self.read(self.tracks[place].metric, tick) else { continue };
            self.tracks[place].add(&reading, closed.seconds);
            self.learn(place, reading.halves);
        }
        self.remember(tick, closed.seconds);
        let (n0, n1) = tick.requests();
        self.assignment.add(n0 as f64, n1 as f64);
        self.age += closed.seconds;
        self.requests += n1;
        self.decide();
    }

    fn learn(&mut self, place: usize, halves: Halves) {
        if self.params.guard {
            self.tracks[place].dispersion.add(halves);
        }
    }

    fn remember(&mut self, tick: &Tick, seconds: f64) {
        let [mut all, other] = tick.baseline.clone();
        all.add(&other);
        if !all.latency.is_empty() {
            self.history.add(&all.latency, seconds);
        }
    }

    /// One metric's counts in a tick; `None` while there is nothing to compare with, and of outcomes.
    fn read(&self, metric: Metric, tick: &Tick) -> Option<Reading> {
        if metric == Metric::Outcomes {
            return None;
        }
        let Some(level) = metric.level() else {
            let counts = |arm: &Arm| (arm.requests, arm.errors);
            let [a, b] = tick.baseline.each_ref().map(counts);
            return Some(Reading::of_counts(a, b, counts(&tick.canary)));
        };
        let slow = self.history.threshold(level)?;
        let safe_ratio = self.params.latency_ratio.max(SAFE_LATENCY_RATIO);
        let for_alarm = alarm_bucket(slow, self.params.latency_ratio);
        let for_safe = safe_bucket(slow, safe_ratio);
        let half = |arm: &Arm| (above(&arm.latency, 0), above(&arm.latency, slow));
        let [a, b] = [half(&tick.baseline[0]), half(&tick.baseline[1])];
        let n1 = above(&tick.canary.latency, 0);
        let block = |from| Block::new(a.0 + b.0, a.1 + b.1, n1, above(&tick.canary.latency, from));
        let float = |(n, x): (u64, u64)| (n as f64, x as f64);
        Some(Reading {
            alarm: block(for_alarm),
            safe: block(for_safe),
            halves: Halves { a: float(a), b: float(b) },
        })
    }

    fn decide(&mut self) {
        if self.blamed.is_some() {
            return;
        }
        let bad = self.log_evidence();
        if bad >= (1.0 / self.params.alpha).ln() {
            self.blamed = self.loudest();
            self.state = Verdict::Regressed;
            return;
        }
        let suspect = match self.state {
            Verdict::Suspect => bad >= SUSPECT.1.ln(),
            _ => bad >= SUSPECT.0.ln(),
        };
        let all = |bound: f64| {
            let mut present = self.present().peekable();
            present.peek().is_some() && present.all(|track| track.log_safety() >= bound)
        };
        self.state = match self.state {
            _ if suspect => Verdict::Suspect,
            Verdict::Safe if all(0.0) => Verdict::Safe,
            Verdict::Undecided
                if all((1.0 / PROMOTE_ALPHA).ln())
                    && self.requests >= self.params.requests_min
                    && self.age >= SAFE_SECONDS_MIN =>
            {
                Verdict::Safe
            }
            _ => Verdict::Undecided,
        };
    }

    /// The metrics that count: all but those that nobody reports.
    fn present(&self) -> impl Iterator<Item = &Track> + Clone {
        self.tracks.iter().filter(|track| track.seen || track.metric != Metric::Outcomes)
    }

    /// Natural logarithm of the evidence that the canary is worse, all metrics together.
    pub fn log_evidence(&self) -> f64 {
        let sum: f64 = self.present().map(|track| track.metric.weight()).sum();
        log_sum_exp(
            self.present()
                .map(|track| (track.metric.weight() / sum).ln() + track.worse.log_evidence()),
        )
    }

    fn loudest(&self) -> Option<Metric> {
        let loud = |track: &&Track| track.metric.weight().ln() + track.worse.log_evidence();
        let loudest = self.present().max_by(|a, b| loud(a).total_cmp(&loud(b)));
        loudest.map(|track| track.metric)
    }

    /// What is said now. Regressed is for good.
    pub fn verdict(&self) -> Verdict {
        self.state
    }

    /// The metric that a regression is put down to.
    pub fn blamed(&self) -> Option<Metric> {
        self.blamed
    }

    /// Why nothing can be said: requests did not go where the weights sent them.
    pub fn void(&self) -> Option<String> {
        self.assignment.void()
    }

    /// What each metric alone says, without the estimates; also of those that nobody reports.
    pub fn verdicts(&self) -> Vec<(Metric, Verdict)> {
        self.tracks.iter().map(|track| (track.metric, self.verdict_on(track))).collect()
    }

    fn verdict_on(&self, track: &Track) -> Verdict {
        match () {
            () if self.blamed == Some(track.metric) => Verdict::Regressed,
            () if track.worse.log_evidence() >= SUSPECT.0.ln() => Verdict::Suspect,
            () if track.log_safety() >= (1.0 / PROMOTE_ALPHA).ln() => Verdict::Safe,
            () => Verdict::Undecided,
        }
    }

    /// How strongly the bad requests of a metric come in bursts, as far as is known; 1 is not at all.
    pub fn dispersion(&self, metric: Metric) -> f64 {
        let track = self.tracks.iter().find(|track| track.metric == metric);
        track.map_or(1.0, |track| track.dispersion.value())
    }

    /// The greatest share of traffic that the data allow, by the budget of the ramp.
    pub fn max_weight(&self) -> f64 {
        let errors = self.tracks.iter().find(|track| track.metric == Metric::Errors);
        let high = errors.map_or(1.0, |track| track.sums.difference_high(track.dispersion.value()));
        max_weight(high, RAMP_BUDGET)
    }

    /// Requests of the canary in closed blocks.
    pub fn requests(&self) -> u64 {
        self.requests
    }

    /// Every metric's evidence, in words too; `canary` is the version's name, `latency` its requests by
    /// bucket as far as they are at hand.
    pub fn evidence(&self, canary: &str, latency: &[u32]) -> Vec<Evidence> {
        self.present().map(|track| self.evidence_of(track, canary, latency)).collect()
    }

    fn evidence_of(&self, track: &Track, canary: &str, latency: &[u32]) -> Evidence {
        let dispersion = track.dispersion.value();
        let (log_evidence, log_safety) = (track.worse.log_evidence(), track.log_safety());
        let quantiles = self.quantiles(track.metric, latency);
        let counts = track.metric.level().is_none();
        // In bursts the interval widens as the evidence slows; up to the guard's bound it does not.
        let spread = if dispersion > super::increment::BURSTS_FROM { dispersion } else { 1.0 };
        let difference = counts.then(|| track.sums.difference(spread));
        let ratio = counts.then(|| track.sums.ratio(spread));
        let verdict = self.verdict_on(track);
        let text = words::sentence(&words::Said {
            canary,
            metric: track.metric,
            log_evidence,
            tolerance: self.params.errors,
            latency_ratio: self.params.latency_ratio,
            difference,
            ratio,
            quantiles,
            dispersion,
        });
        Evidence {
            metric: track.metric,
            log_evidence,
            log_safety,
            dispersion,
            difference,
            ratio,
            quantiles,
            verdict,
            text,
        }
    }

    fn quantiles(&self, metric: Metric, canary: &[u32]) -> Option<[u64; 2]> {
        let level = metric.level()?;
        Some([edge(self.history.threshold(level)?), quantile(canary, level)?])
    }

    /// Everything that must outlive a restart, by name. Open blocks are left out: they are a few
    /// seconds of requests, and losing them cannot count anything twice.
    pub fn export(&self) -> BTreeMap<String, Vec<f64>> {
        let mut all = BTreeMap::new();
        for track in &self.tracks {
            track.export(&mut all);
        }
        let blamed = Metric::ALL.iter().position(|metric| Some(*metric) == self.blamed);
        let blamed = blamed.map_or(-1.0, |place| place as f64);
        let state = f64::from(self.state.number());
        all.insert("engine".into(), vec![self.age, self.requests as f64, state, blamed]);
        all.insert("assignment".into(), self.assignment.export());
        all.insert("history".into(), self.history.export());
        all
    }

    /// Goes on from where [`Self::export`] was. What is missing or damaged begins anew.
    pub fn restore(&mut self, all: &BTreeMap<String, Vec<f64>>) {
        let of = |name: &str| all.get(name).map_or(&[][..], Vec::as_slice);
        for track in &mut self.tracks {
            track.restore(all);
        }
        if let &[age, requests, state, blamed] = of("engine") {
            let states = [Verdict::Regressed, Verdict::Suspect, Verdict::Undecided, Verdict::Safe];
            let state = states.into_iter().find(|verdict| f64::from(verdict.number()) == state);
            self.age = age;
            self.requests = requests as u64;
            self.state = state.unwrap_or(Verdict::Undecided);
            let blamed = (blamed >= 0.0).then(|| Metric::ALL.get(blamed as usize).copied());
            self.blamed = blamed.flatten();
        }
        self.assignment.restore(of("assignment"));
        self.history.restore(of("history"));
    }
}
