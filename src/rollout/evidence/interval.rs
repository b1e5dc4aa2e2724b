//! How much worse? Estimates and intervals for people and for the pace of a ramp; verdicts do not
//! come from here.
//!
//! The intervals cover the truth with 95 %, at every moment at once.

use std::collections::BTreeMap;

use super::{Block, RATIOS, log_prior, log_sum_exp};

/// Width of a bin of the logarithm of the arms' ratio.
const BIN: f64 = 0.02;
/// The chance that an interval ever misses.
const MISS: f64 = 0.05;
/// Halvings of a search: more than a number can tell apart.
const HALVINGS: usize = 60;
/// Ratios are looked for between `e^-10` and `e^10`.
const LOG_RATIO_END: f64 = 10.0;

/// An estimate between the ends of its interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    pub low: f64,
    /// Not a number when there is nothing to estimate from.
    pub point: f64,
    /// May be infinite for a ratio.
    pub high: f64,
}

/// Sums over all blocks, by how the arms were split.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Sums {
    bins: BTreeMap<i64, Block>,
    /// Mantel-Haenszel sums, which changing weights leave alone.
    difference: (f64, f64),
    ratio: (f64, f64),
}

impl Sums {
    /// Takes a block in; one without both arms says nothing.
    pub fn add(&mut self, block: Block) {
        let Block { n0, x0, n1, x1 } = block;
        if n0 == 0.0 || n1 == 0.0 {
            return;
        }
        let n = n0 + n1;
        let bin = ((n1 / n0).ln() / BIN + 0.5).floor() as i64;
        let sum = self.bins.entry(bin).or_default();
        *sum = Block { n0: sum.n0 + n0, x0: sum.x0 + x0, n1: sum.n1 + n1, x1: sum.x1 + x1 };
        self.difference.0 += (x1 * n0 - x0 * n1) / n;
        self.difference.1 += n0 * n1 / n;
        self.ratio.0 += x1 * n0 / n;
        self.ratio.1 += x0 * n1 / n;
    }

    /// The canary's rate over the baseline's.
    pub fn ratio(&self, dispersion: f64) -> Estimate {
        let enough = (2.0 / MISS).ln();
        let is_enough = |log: f64, above| {
            log_evidence(&self.lines(log.exp(), above, false), 0.0, dispersion) >= enough
        };
        let more = |log: f64| is_enough(log, true);
        let less = |log: f64| is_enough(log, false);
        let low = match (more(-LOG_RATIO_END), more(LOG_RATIO_END)) {
            (false, _) => 0.0,
            (true, true) => LOG_RATIO_END.exp(),
            (true, false) => bisect(-LOG_RATIO_END, LOG_RATIO_END, more).exp(),
        };
        let high = match (less(-LOG_RATIO_END), less(LOG_RATIO_END)) {
            (_, false) => f64::INFINITY,
            (true, true) => (-LOG_RATIO_END).exp(),
            (false, true) => bisect(-LOG_RATIO_END, LOG_RATIO_END, |log| !less(log)).exp(),
        };
        Estimate { low, point: self.ratio.0 / self.ratio.1, high }
    }

    /// The canary's rate less the baseline's, a share of its requests.
    pub fn difference(&self, dispersion: f64) -> Estimate {
        let (low, high) =
            (self.difference_low(false, dispersion), self.difference_high(dispersion));
        Estimate { low, point: self.difference.0 / self.difference.1, high }
    }

    /// The upper end of that difference alone.
    pub fn difference_high(&self, dispersion: f64) -> f64 {
        -self.difference_low(true, dispersion)
    }

    /// The lower end of "canary less baseline", or of "baseline less canary".
    fn difference_low(&self, swapped: bool, dispersion: f64) -> f64 {
        let enough = (2.0 / MISS).ln();
        let lines = self.lines(1.0, true, swapped);
        let above = |by: f64| log_evidence(&lines, by, dispersion) >= enough;
        if above(0.0) {
            return if above(1.0) { 1.0 } else { bisect(0.0, 1.0, above) };
        }
        // Not known to be above: how far below may it be? That is the upper end of the reverse.
        let lines = self.lines(1.0, false, !swapped);
        let below = |by: f64| log_evidence(&lines, by, dispersion) >= enough;
        match (below(0.0), below(1.0)) {
            (_, false) => -1.0,
            (true, true) => 0.0,
            (false, true) => -bisect(0.0, 1.0, |by| !below(by)),
        }
    }

    /// Evidence against "the rate is at most `ratio` times the other's plus a margin" (`above`), or
    /// against "at least", for each of the odds: without a margin, and what a margin takes from it.
    fn lines(&self, ratio: f64, above: bool, swapped: bool) -> [(f64, f64); RATIOS.len()] {
        RATIOS.map(|odds| {
            let odds = if above { odds } else { 1.0 / odds };
            let (mut without, mut taken) = (0.0, 0.0);
            for (bin, block) in &self.bins {
                let split = (BIN * *bin as f64).exp();
                let (split, x0, n1, x1) = match swapped {
                    false => (split, block.x0, block.n1, block.x1),
                    true => (1.0 / split, block.x1, block.n0, block.x0),
                };
                let per_baseline = ((1.0 + ratio * split) / (1.0 + odds * ratio * split)).ln();
                let per_canary = odds.ln() + per_baseline;
                without += x1 * per_canary + x0 * per_baseline;
                taken += n1 * (per_canary.exp() - 1.0);
            }
            (without, taken)
        })
    }

    /// All sums as numbers.
    pub fn export(&self) -> Vec<f64> {
        let heads = [self.difference.0, self.difference.1, self.ratio.0, self.ratio.1];
        let bins = self.bins.iter();
        let bins = bins.flat_map(|(bin, b)| [*bin as f64, b.n0, b.x0, b.n1, b.x1]);
        heads.into_iter().chain(bins).collect()
    }

    /// Goes on from where [`Self::export`] was; false, and unchanged, if that was something else.
    pub fn restore(&mut self, numbers: &[f64]) -> bool {
        let [d0, d1, r0, r1, bins @ ..] = numbers else { return false };
        let (rows, rest) = bins.as_chunks::<5>();
        if !rest.is_empty() {
            return false;
        }
        let bin = |&[bin, n0, x0, n1, x1]: &[f64; 5]| (bin as i64, Block { n0, x0, n1, x1 });
        *self = Self {
            bins: rows.iter().map(bin).collect(),
            difference: (*d0, *d1),
            ratio: (*r0, *r1),
        };
        true
    }
}

/// The evidence of all the odds together, with a margin.
fn log_evidence(lines: &[(f64, f64)], margin: f64, dispersion: f64) -> f64 {
    let of = |(place, (without, taken)): (usize, &(f64, f64))| {
        log_prior(place) + (without - margin * taken) / dispersion
    };
    log_sum_exp(lines.iter().enumerate().map(of))
}

/// Where a condition that holds at `low` ceases to hold before `high`.
fn bisect(mut low: f64, mut high: f64, holds: impl Fn(f64) -> bool) -> f64 {
    for _ in 0..HALVINGS {
        let middle = (low + high) / 2.0;
        if holds(middle) { low = middle } else { high = middle }
    }
    (low + high) / 2.0
}

/// The greatest share of traffic whose excess errors stay within `budget` of all requests, given the
/// upper end of the difference; never below a hundredth.
pub fn max_weight(difference_high: f64, budget: f64) -> f64 {
    if difference_high <= budget { 1.0 } else { (budget / difference_high).max(0.01) }
}
