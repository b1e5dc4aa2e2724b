//! Is a version worse than its baseline, safe, or not yet known?
//!
//! Counts of both versions come in ticks; a [`blocker::Blocker`] pools them into blocks; for each
//! block and metric an e-process is multiplied by one factor ([`increment`]); the [`engine`] combines
//! the metrics into a verdict that holds however often anybody looks. [`interval`] estimates for
//! people, [`words`] says it. All of it is pure: time comes in as durations.
//!
//! The construction, its constants and its operating figures are described in `docs/evidence.md`.

mod assignment;
pub mod blocker;
pub mod dispersion;
pub mod engine;
pub mod increment;
pub mod interval;
pub mod latency;
pub mod process;
#[cfg(test)]
mod tests;
mod track;
pub mod words;

/// The odds ratios that evidence is a mixture over: from a trace to fifty times the rate.
pub const RATIOS: [f64; 11] = [1.02, 1.05, 1.1, 1.2, 1.4, 1.8, 2.5, 4.0, 8.0, 20.0, 50.0];
/// Their prior weights, in parts of 31.
pub const PRIOR_OF_31: [f64; 11] = [1.0, 1.0, 2.0, 3.0, 4.0, 5.0, 5.0, 4.0, 3.0, 2.0, 1.0];

/// Counts of both arms over the same moment: requests, and those of them that failed or were slow.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Block {
    /// Requests to the baseline.
    pub n0: f64,
    /// Of these, the bad ones; never more than `n0`.
    pub x0: f64,
    /// Requests to the canary.
    pub n1: f64,
    /// Of these, the bad ones.
    pub x1: f64,
}

impl Block {
    /// A block of whole counts; more bad ones than requests are taken as all of them.
    pub fn new(n0: u64, x0: u64, n1: u64, x1: u64) -> Self {
        let (n0, n1) = (n0 as f64, n1 as f64);
        Self { n0, x0: (x0 as f64).min(n0), n1, x1: (x1 as f64).min(n1) }
    }
}

/// By how much the canary may be worse: its rate is within bounds up to `ratio * baseline + margin`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tolerance {
    /// Factor on the baseline's rate.
    pub ratio: f64,
    /// Added to it, a share of all requests (0.0001 is 0.01 %).
    pub margin: f64,
}

/// Logarithm of a sum of exponentials, with the greatest taken out; of none it is minus infinity.
pub fn log_sum_exp(values: impl Iterator<Item = f64> + Clone) -> f64 {
    let greatest = values.clone().fold(f64::NEG_INFINITY, f64::max);
    if greatest == f64::NEG_INFINITY {
        return greatest;
    }
    greatest + values.map(|value| (value - greatest).exp()).sum::<f64>().ln()
}

/// Logarithm of the prior weight of a ratio, by its place.
fn log_prior(place: usize) -> f64 {
    (PRIOR_OF_31[place] / 31.0).ln()
}
