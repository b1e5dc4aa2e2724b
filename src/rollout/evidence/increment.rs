//! One block's factor on the evidence, as a logarithm.
//!
//! The expected factor is at most 1 whatever the baseline's rate, the split of the block and the past,
//! as long as the canary is within its tolerance: that is what makes looking at any time harmless.

use super::{Block, Tolerance};

/// From which over-dispersion on errors count as bursts.
pub const BURSTS_FROM: f64 = 1.25;

/// The factor of independent requests. `odds` above 1 tests "no worse than the tolerance", below 1
/// "at least as bad as the tolerance". A block without both arms says nothing.
pub fn plain(block: Block, tolerance: Tolerance, odds: f64) -> f64 {
    let Block { n0, x0, n1, x1 } = block;
    if n0 == 0.0 || n1 == 0.0 {
        return 0.0;
    }
    let Tolerance { ratio, margin } = tolerance;
    if ratio == 1.0 && margin == 0.0 {
        return given_the_total(block, odds);
    }
    let per_baseline = ((n0 + ratio * n1) / (n0 + odds * ratio * n1)).ln();
    let per_canary = odds.ln() + per_baseline;
    x1 * per_canary + x0 * per_baseline - n1 * margin * (per_canary.exp() - 1.0)
}

/// The sharper form for equal rates: given the bad ones of both arms together, the canary's share of
/// them is hypergeometric, which four binomials bound.
fn given_the_total(Block { n0, x0, n1, x1 }: Block, odds: f64) -> f64 {
    let (n, x) = (n0 + n1, x0 + x1);
    let (share, rate) = (n1 / n, x / n);
    let (more, less) = (odds - 1.0, 1.0 / odds - 1.0);
    let log_odds = odds.ln();
    let bounds = [
        x * (share * more).ln_1p(),
        n1 * (rate * more).ln_1p(),
        n1 * log_odds + (n - x) * (share * less).ln_1p(),
        x * log_odds + n0 * (rate * less).ln_1p(),
    ];
    x1 * log_odds - bounds.into_iter().fold(f64::INFINITY, f64::min)
}

/// The factor when bad requests come in bursts: only mean and variance are used, and a single burst
/// adds only logarithmically. `dispersion` is how many times the variance exceeds that of
/// independent requests; up to [`BURSTS_FROM`] they count as independent.
pub fn guarded(block: Block, tolerance: Tolerance, odds: f64, dispersion: f64) -> f64 {
    if dispersion <= BURSTS_FROM {
        return plain(block, tolerance, odds);
    }
    let Block { n0, x0, n1, x1 } = block;
    if n0 == 0.0 || n1 == 0.0 {
        return 0.0;
    }
    let Tolerance { ratio, margin } = tolerance;
    let share = ratio * n1 / (n0 + ratio * n1);
    let x = x0 + x1;
    let excess = x1 - share * x - (1.0 - share) * n1 * margin;
    let bet = odds.ln() / dispersion;
    let y = bet * excess;
    let gain = if y >= 0.0 { (y + y * y / 2.0).ln_1p() } else { -(-y + y * y / 2.0).ln_1p() };
    gain - bet * bet * dispersion * x * share * (1.0 - share) / 2.0
}
