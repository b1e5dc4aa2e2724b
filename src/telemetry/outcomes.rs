//! Recent outcomes by version: what `status` shows.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use crate::proxy::counters::{Counts, FINE_SLOTS, VersionSeries, fine_value};

/// How far back `status` looks.
pub const WINDOW: Duration = Duration::from_secs(10);
/// Sums are kept in slices of this length.
const SLICE: Duration = Duration::from_millis(500);

/// What a version did lately.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Rates {
    pub requests_per_second: f64,
    /// Errors as a share of requests and of attempts that failed and were made again; 0 without any.
    pub error_rate: f64,
    /// Milliseconds; `None` without requests.
    pub p50_ms: Option<f64>,
    pub p99_ms: Option<f64>,
}

/// Sums of the last [`WINDOW`].
#[derive(Debug)]
pub struct Outcomes {
    since: Instant,
    slices: VecDeque<Slice>,
}

#[derive(Debug)]
struct Slice {
    began: Instant,
    versions: HashMap<u32, Sums>,
}

#[derive(Debug, Clone)]
struct Sums {
    requests: u64,
    attempts_again: u64,
    errors: u64,
    fine: Vec<u32>,
}

impl Outcomes {
    /// Nothing was seen before `now`.
    pub fn new(now: Instant) -> Self {
        Self { since: now, slices: VecDeque::new() }
    }

    /// Adds what workers handed over.
    pub fn absorb(&mut self, counts: &Counts, now: Instant) {
        let fresh = self.slices.back().is_none_or(|slice| now.duration_since(slice.began) >= SLICE);
        if fresh {
            self.slices.push_back(Slice { began: now, versions: HashMap::new() });
        }
        while self.slices.front().is_some_and(|slice| now.duration_since(slice.began) > WINDOW) {
            self.slices.pop_front();
        }
        if let Some(slice) = self.slices.back_mut() {
            for (version, series) in &counts.versions {
                slice.versions.entry(*version).or_insert_with(Sums::new).add(series);
            }
        }
    }

    /// The rates of a version by its number.
    pub fn rates(&self, version: u32, now: Instant) -> Rates {
        let mut sum = Sums::new();
        for slice in self.slices.iter().filter(|s| now.duration_since(s.began) <= WINDOW) {
            if let Some(sums) = slice.versions.get(&version) {
                sum.merge(sums);
            }
        }
        let seconds = now.duration_since(self.since).min(WINDOW).as_secs_f64().max(0.5);
        let tried = sum.requests + sum.attempts_again;
        Rates {
            requests_per_second: sum.requests as f64 / seconds,
            error_rate: (sum.errors as f64 / tried.max(1) as f64).min(1.0),
            p50_ms: sum.quantile(0.50),
            p99_ms: sum.quantile(0.99),
        }
    }
}

impl Sums {
    fn new() -> Self {
        Self { requests: 0, attempts_again: 0, errors: 0, fine: vec![0; FINE_SLOTS] }
    }

    fn add(&mut self, series: &VersionSeries) {
        self.requests += series.requests;
        self.attempts_again += series.attempts_again;
        self.errors += series.errors;
        self.fine.iter_mut().zip(&series.fine).for_each(|(sum, more)| *sum += more);
    }

    fn merge(&mut self, other: &Self) {
        self.requests += other.requests;
        self.attempts_again += other.attempts_again;
        self.errors += other.errors;
        self.fine.iter_mut().zip(&other.fine).for_each(|(sum, more)| *sum += more);
    }

    fn quantile(&self, share: f64) -> Option<f64> {
        let total: u64 = self.fine.iter().map(|count| u64::from(*count)).sum();
        let rank = (share * total as f64).ceil().max(1.0) as u64;
        let mut seen = 0;
        let slot = self.fine.iter().position(|count| {
            seen += u64::from(*count);
            seen >= rank && total > 0
        })?;
        Some(fine_value(slot as u16) * 1e3)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::h1::head::Method;

    #[test]
    fn rates_are_those_of_the_window() {
        let start = Instant::now();
        let mut outcomes = Outcomes::new(start);
        let mut counts = Counts::default();
        for n in 0..100u64 {
            let status = if n < 10 { 500 } else { 200 };
            counts.request((0, 7), Method::Get, status, Duration::from_millis(n + 1), &[0.1]);
        }
        outcomes.absorb(&counts, start + Duration::from_secs(5));
        let rates = outcomes.rates(7, start + Duration::from_secs(10));
        assert_eq!((rates.requests_per_second, rates.error_rate), (10.0, 0.1));
        let near = |value: Option<f64>, of: f64| (value.unwrap() / of - 1.0).abs() < 0.07;
        assert!(near(rates.p50_ms, 50.0) && near(rates.p99_ms, 99.0), "{rates:?}");
        // A version whose every request is served by another fails all the same, and never more often
        // than it was tried.
        let mut counts = Counts::default();
        (0..30).for_each(|_| counts.failed_attempt(8, 502));
        counts.failed_attempt(9, 502);
        counts.request((0, 9), Method::Get, 502, Duration::from_millis(1), &[0.1]);
        outcomes.absorb(&counts, start + Duration::from_secs(11));
        let rates = |version| outcomes.rates(version, start + Duration::from_secs(12));
        assert_eq!((rates(8).requests_per_second, rates(8).error_rate), (0.0, 1.0));
        assert_eq!(rates(9).error_rate, 1.0);
        let later = outcomes.rates(7, start + Duration::from_secs(60));
        assert_eq!(later, Rates::default());
    }
}
