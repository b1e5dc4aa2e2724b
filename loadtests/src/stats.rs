//! What did the clients see?

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

/// The longest latency that is told apart, in nanoseconds; slower answers count as this.
const LONGEST_NANOS: u64 = 120_000_000_000;

/// One answered request, kept when a scenario must know which version answered when.
#[derive(Debug, Clone, Copy)]
pub struct Observation {
    /// Just before the first byte was sent.
    pub begun: Instant,
    /// When the last byte of the answer had arrived.
    pub ended: Instant,
    /// Index into the plan's versions, `u8::MAX` for an answer that names none of them.
    pub version: u8,
}

/// Counts of one window.
#[derive(Debug, Clone)]
pub struct Stats {
    /// Length of the window.
    pub window: Duration,
    /// Whole answers with status 200.
    pub completed: u64,
    /// Failed requests by what went wrong. A request is in here or in `completed`, never in both.
    pub failures: BTreeMap<String, u64>,
    /// Connections that were opened.
    pub opened: u64,
    /// Keep-alive connections that the other side closed between two requests.
    pub closed: u64,
    /// Whole answers with status 200 by version, in the order of the plan's versions.
    pub by_version: Vec<u64>,
    /// Whole answers with status 200 that name none of the plan's versions.
    pub by_nobody: u64,
    /// Nanoseconds from the send (closed loop) or from the intended send (fixed rate) to the last byte.
    pub latency: Histogram<u64>,
    /// Every answer in order of arrival, when the plan asks for it.
    pub observations: Vec<Observation>,
}

impl Stats {
    /// An empty window over that many versions.
    pub fn new(versions: usize) -> Self {
        let latency = Histogram::new_with_bounds(1, LONGEST_NANOS, 2);
        Stats {
            window: Duration::ZERO,
            completed: 0,
            failures: BTreeMap::new(),
            opened: 0,
            closed: 0,
            by_version: vec![0; versions],
            by_nobody: 0,
            latency: latency.expect("the bounds are constants that the histogram accepts"),
            observations: Vec::new(),
        }
    }

    /// Counts one whole answer with status 200.
    pub fn complete(&mut self, version: u8, latency: Duration) {
        self.completed += 1;
        match self.by_version.get_mut(usize::from(version)) {
            Some(count) => *count += 1,
            None => self.by_nobody += 1,
        }
        self.latency.saturating_record(latency.as_nanos() as u64);
    }

    /// Counts one failed request.
    pub fn fail(&mut self, why: &str) {
        *self.failures.entry(why.to_owned()).or_default() += 1;
    }

    /// Failed requests.
    pub fn failed(&self) -> u64 {
        self.failures.values().sum()
    }

    /// What failed, for people; `none` when nothing did.
    pub fn failures_text(&self) -> String {
        if self.failures.is_empty() {
            return "none".to_owned();
        }
        let parts: Vec<String> =
            self.failures.iter().map(|(why, count)| format!("{count} × {why}")).collect();
        parts.join(", ")
    }

    /// Completed requests a second.
    pub fn rate(&self) -> f64 {
        self.completed as f64 / self.window.as_secs_f64().max(1e-9)
    }

    /// A latency quantile in microseconds; `quantile` is between 0 and 1.
    pub fn latency_micros(&self, quantile: f64) -> f64 {
        self.latency.value_at_quantile(quantile) as f64 / 1000.0
    }

    /// Adds the failures of another window, and nothing else of it.
    pub fn blame(&mut self, other: Stats) {
        for (why, count) in other.failures {
            *self.failures.entry(why).or_default() += count;
        }
    }

    /// Adds a later window of the same plan.
    pub fn add(&mut self, later: Stats) {
        self.window += later.window;
        self.completed += later.completed;
        self.opened += later.opened;
        self.closed += later.closed;
        for (sum, count) in self.by_version.iter_mut().zip(&later.by_version) {
            *sum += count;
        }
        self.by_nobody += later.by_nobody;
        self.latency.add(&later.latency).expect("both windows have the same bounds");
        self.observations.extend_from_slice(&later.observations);
        self.blame(later);
    }
}

/// Middle, least and greatest of a handful of samples.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spread {
    /// The median.
    pub median: f64,
    /// The least.
    pub min: f64,
    /// The greatest.
    pub max: f64,
}

impl Spread {
    /// Of these samples; all zero when there are none.
    pub fn of(samples: impl IntoIterator<Item = f64>) -> Self {
        let mut sorted: Vec<f64> = samples.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        let (Some(min), Some(max)) = (sorted.first(), sorted.last()) else {
            return Spread { median: 0.0, min: 0.0, max: 0.0 };
        };
        let middle = sorted.len() / 2;
        let median = match sorted.len() % 2 {
            1 => sorted[middle],
            _ => f64::midpoint(sorted[middle - 1], sorted[middle]),
        };
        Spread { median, min: *min, max: *max }
    }

    /// `median [min-max]` with that many decimals.
    pub fn text(&self, decimals: usize) -> String {
        format!("{:.decimals$} [{:.decimals$}-{:.decimals$}]", self.median, self.min, self.max)
    }
}

/// How likely it is that at least so many of `all` are above what is no different from them (the sign test).
pub fn chance_of(above: usize, all: usize) -> f64 {
    let mut ways = 1.0;
    let mut sum = 0.0;
    for count in 0..=all {
        if count >= above {
            sum += ways;
        }
        ways *= (all - count) as f64 / (count + 1) as f64;
    }
    sum / 2f64.powi(all as i32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_has_its_median_in_the_middle() {
        let cases: [(&[f64], f64, f64, f64); 4] = [
            (&[], 0.0, 0.0, 0.0),
            (&[3.0], 3.0, 3.0, 3.0),
            (&[9.0, 1.0, 2.0], 2.0, 1.0, 9.0),
            (&[4.0, 1.0, 2.0, 3.0], 2.5, 1.0, 4.0),
        ];
        for (samples, median, min, max) in cases {
            assert_eq!(Spread::of(samples.iter().copied()), Spread { median, min, max });
        }
    }

    #[test]
    fn chance_is_that_of_a_coin() {
        let cases = [
            (0, 0, 1.0),
            (0, 5, 1.0),
            (5, 5, 1.0 / 32.0),
            (4, 5, 6.0 / 32.0),
            (9, 12, 299.0 / 4096.0),
        ];
        for (above, all, chance) in cases {
            assert!((chance_of(above, all) - chance).abs() < 1e-12, "{above} of {all}");
        }
    }

    #[test]
    fn windows_add_up() {
        let mut first = Stats::new(2);
        first.complete(0, Duration::from_micros(10));
        first.fail("closed");
        let mut second = Stats::new(2);
        second.complete(1, Duration::from_micros(20));
        second.complete(9, Duration::from_micros(20));
        first.add(second);
        assert_eq!((first.completed, first.failed(), first.by_nobody), (3, 1, 1));
        assert_eq!(first.by_version, [1, 1]);
        assert_eq!(first.latency.len(), 3);
    }
}
