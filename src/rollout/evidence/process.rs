//! Evidence that grows block by block: that the canary is worse, and that it is safe.

use super::increment::guarded;
use super::{Block, PRIOR_OF_31, RATIOS, Tolerance, log_prior, log_sum_exp};

/// The share of the prior that is kept for a regression that begins later.
const LATER: f64 = 0.5;
/// Seconds after which half of the late regressions have begun.
const LATER_SCALE: f64 = 3600.0;

/// Evidence that the canary is worse than its tolerance, from the beginning or from some later time.
#[derive(Debug, Clone, PartialEq)]
pub struct Worse {
    tolerance: Tolerance,
    log_waiting: f64,
    log_weights: [f64; RATIOS.len()],
    /// Seconds of all blocks.
    age: f64,
}

impl Worse {
    /// None yet: the evidence is 1.
    pub fn new(tolerance: Tolerance) -> Self {
        Self {
            tolerance,
            log_waiting: LATER.ln(),
            log_weights: std::array::from_fn(|place| (1.0 - LATER).ln() + log_prior(place)),
            age: 0.0,
        }
    }

    /// Takes a block of so many seconds in.
    pub fn add(&mut self, block: Block, seconds: f64, dispersion: f64) {
        let age = self.age + seconds;
        // Predictable: the chance that it begins in this block depends on durations alone.
        let begins = seconds / (age + LATER_SCALE);
        for (place, weight) in self.log_weights.iter_mut().enumerate() {
            let beginning = self.log_waiting + begins.ln() + log_prior(place);
            *weight = log_sum_exp([*weight, beginning].into_iter())
                + guarded(block, self.tolerance, RATIOS[place], dispersion);
        }
        self.log_waiting += (1.0 - begins).ln();
        self.age = age;
    }

    /// Natural logarithm of the evidence.
    pub fn log_evidence(&self) -> f64 {
        log_sum_exp(self.log_weights.iter().copied().chain([self.log_waiting]))
    }

    /// Everything it knows, as numbers.
    pub fn export(&self) -> Vec<f64> {
        [self.log_waiting, self.age].into_iter().chain(self.log_weights).collect()
    }

    /// Goes on from where [`Self::export`] was; false, and unchanged, if that was something else.
    pub fn restore(&mut self, numbers: &[f64]) -> bool {
        let [log_waiting, age, weights @ ..] = numbers else { return false };
        let Ok(log_weights) = weights.try_into() else { return false };
        (self.log_waiting, self.age, self.log_weights) = (*log_waiting, *age, log_weights);
        true
    }
}

/// Evidence that the canary is within the tolerance of a promotion, at the present weight.
#[derive(Debug, Clone, PartialEq)]
pub struct Safe {
    tolerance: Tolerance,
    log_weights: [f64; RATIOS.len()],
}

impl Safe {
    /// None yet.
    pub fn new(tolerance: Tolerance) -> Self {
        Self { tolerance, log_weights: std::array::from_fn(log_prior) }
    }

    /// Takes a block in.
    pub fn add(&mut self, block: Block, dispersion: f64) {
        for (weight, odds) in self.log_weights.iter_mut().zip(RATIOS) {
            *weight += guarded(block, self.tolerance, 1.0 / odds, dispersion);
        }
    }

    /// Forgets everything: a higher load must earn its own evidence.
    pub fn reset(&mut self) {
        *self = Self::new(self.tolerance);
    }

    /// Natural logarithm of the evidence.
    pub fn log_evidence(&self) -> f64 {
        log_sum_exp(self.log_weights.iter().copied())
    }

    /// Everything it knows, as numbers.
    pub fn export(&self) -> Vec<f64> {
        self.log_weights.to_vec()
    }

    /// Goes on from where [`Self::export`] was; false, and unchanged, if that was something else.
    pub fn restore(&mut self, numbers: &[f64]) -> bool {
        let Ok(log_weights) = numbers.try_into() else { return false };
        self.log_weights = log_weights;
        true
    }
}

const _: () = assert!(PRIOR_OF_31.len() == RATIOS.len());
