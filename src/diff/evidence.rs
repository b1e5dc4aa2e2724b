//! How strongly do counts say that something happens more often than it may?
//!
//! One number answers, good at every moment: the logarithm of an e-process. Of *hits* among trials
//! whose chance is at most `p0`, a hypothesis, we bet that the chance is some `p > p0`, all of them
//! equally likely:
//!
//! ```text
//!             1      1   p^h (1−p)^m
//! E(h, m) = ──────  ∫    ───────────────── dp
//!           1 − p0   p0  p0^h (1−p0)^m
//! ```
//!
//! after `h` hits and `m` misses. While the hypothesis holds, E is expected to be at most 1 whenever
//! one looks, and the probability that it *ever* reaches 100 is at most 1 % (Ville's inequality). So
//! a report may be read as often as one likes. The promise is for one field: of a hundred fields
//! watched, one may be accused wrongly.
//!
//! Two hypotheses are of use here:
//! - with a secondary, [`against_noise`]: among requests where a field differs *either* from the
//!   shadow *or* from the secondary but not from both, the shadow's share is at most one half;
//! - without one, [`against_tolerance`]: a field differs in at most [`TOLERATED_RATE`] of requests.

/// The share of requests in which a field of a correct shadow may differ when there is no secondary
/// to learn the noise from.
pub const TOLERATED_RATE: f64 = 0.001;

/// The natural logarithm of the evidence from which a field counts as regressed, ln 100.
pub const REGRESSED: f64 = 4.605_170_185_988_092;

/// ln E that a field differs from the shadow more often than from the secondary, out of the
/// requests in which it differed from only one of them.
pub fn against_noise(only_shadow: u64, only_noise: u64) -> f64 {
    log_evidence(only_shadow, only_noise, 0.5)
}

/// ln E that a field differs in more than [`TOLERATED_RATE`] of requests.
pub fn against_tolerance(differences: u64, agreements: u64) -> f64 {
    log_evidence(differences, agreements, TOLERATED_RATE)
}

/// ln E(h, m) as above, for `0 < p0 < 1`.
///
/// The integral is an incomplete beta function of whole arguments, which is a binomial tail. Divided
/// by the denominator it becomes a sum of positive terms, so nothing cancels:
///
/// ```text
///                1    h        h! (m+1)!      1−p0
/// E(h, m)  =    ───   Σ    ────────────────  (────)^j
///               m+1  j=0   (h−j)! (m+1+j)!     p0
/// ```
///
/// The terms rise to one greatest and fall from there, so it is found first, its logarithm taken,
/// and the sum made outward from it until what is left is below a double's precision: about the
/// square root of `h + m` steps.
fn log_evidence(hits: u64, misses: u64, p0: f64) -> f64 {
    let (h, m) = (hits as f64, misses as f64);
    let odds = (1.0 - p0) / p0;
    // Term j+1 over term j.
    let ratio = |j: f64| (h - j) / (m + 2.0 + j) * odds;
    let peak = ((1.0 - p0) * h - p0 * (m + 2.0)).floor().clamp(0.0, h);
    let log_peak = ln_factorial(h) - ln_factorial(h - peak) + ln_factorial(m + 1.0)
        - ln_factorial(m + 1.0 + peak)
        + peak * odds.ln();
    let mut sum = 1.0;
    let (mut term, mut j) = (1.0, peak);
    while j < h && term > sum * f64::EPSILON {
        term *= ratio(j);
        sum += term;
        j += 1.0;
    }
    (term, j) = (1.0, peak);
    while j > 0.0 && term > sum * f64::EPSILON {
        j -= 1.0;
        term /= ratio(j);
        sum += term;
    }
    log_peak + sum.ln() - (m + 1.0).ln()
}

/// ln n! for a whole number: exact products while they are small, then Stirling's series, whose
/// error from 20 on is below 1e-13.
fn ln_factorial(n: f64) -> f64 {
    if n < 20.0 {
        let product: f64 = (2..=n as u32).map(f64::from).product();
        return product.ln();
    }
    let square = n * n;
    let series = (1.0 / 12.0 - (1.0 / 360.0 - 1.0 / (1260.0 * square)) / square) / n;
    (n + 0.5) * n.ln() - n + 0.5 * std::f64::consts::TAU.ln() + series
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(found: f64, expect: f64) {
        assert!((found - expect).abs() < 1e-9 * expect.abs().max(1.0), "{found} is not {expect}");
    }

    #[test]
    fn small_counts_as_integrated_by_hand() {
        check(against_noise(0, 0), 0.0);
        // 4 ∫ p dp = 3/2, 4 ∫ (1−p) dp = 1/2, 8 ∫ p² dp = 7/3, 8 ∫ p (1−p) dp = 2/3.
        check(against_noise(1, 0), 1.5_f64.ln());
        check(against_noise(0, 1), 0.5_f64.ln());
        check(against_noise(2, 0), (7.0_f64 / 3.0).ln());
        check(against_noise(1, 1), (2.0_f64 / 3.0).ln());
        // (1/0.999) ∫ p/0.001 dp from 0.001 to 1 = (1 − 1e-6) / (2 · 0.999 · 0.001) = 500.5.
        check(against_tolerance(1, 0), 500.5_f64.ln());
    }

    #[test]
    fn agrees_with_a_plain_sum_over_a_grid() {
        for (h, m, p0) in [(3, 40, 0.001), (30, 7, 0.5), (7, 30, 0.5), (25, 900, 0.001)] {
            let steps = 200_000;
            let width = (1.0 - p0) / f64::from(steps);
            let mean: f64 = (0..steps)
                .map(|step| {
                    let p: f64 = p0 + (f64::from(step) + 0.5) * width;
                    (p / p0).powi(h) * ((1.0 - p) / (1.0 - p0)).powi(m)
                })
                .sum::<f64>()
                / f64::from(steps);
            let found = log_evidence(h as u64, m as u64, p0);
            assert!((found - mean.ln()).abs() < 1e-4, "{h} {m}: {found} is not {}", mean.ln());
        }
    }

    /// Exact: the mean over every sequence of `n` trials, each counted with its probability.
    #[test]
    fn under_the_hypothesis_the_mean_stays_at_one_and_below_it_falls() {
        for (p0, of) in [(0.5, 0.5), (0.5, 0.3), (0.001, 0.001), (0.001, 0.0002)] {
            for n in 0..=12u32 {
                let mean: f64 = (0..=n)
                    .map(|h| {
                        let ways =
                            (0..h).fold(1.0, |ways, i| ways * f64::from(n - i) / f64::from(i + 1));
                        let chance = f64::powi(of, h as i32) * f64::powi(1.0 - of, (n - h) as i32);
                        let e = log_evidence(u64::from(h), u64::from(n - h), p0).exp();
                        ways * chance * e
                    })
                    .sum();
                assert!(mean <= 1.0 + 1e-9, "{of} against {p0}, n = {n}: {mean}");
                if of == p0 {
                    check(mean, 1.0);
                }
            }
        }
    }

    /// Exact: of all paths of 400 fair coins, the share that ever reaches 100.
    #[test]
    fn whoever_keeps_looking_is_fooled_in_at_most_one_of_a_hundred() {
        let mut alive = vec![1.0];
        let mut fooled = 0.0;
        for n in 1..=400usize {
            let mut next = vec![0.0; n + 1];
            for (h, share) in alive.iter().enumerate() {
                next[h] += share / 2.0;
                next[h + 1] += share / 2.0;
            }
            for (h, share) in next.iter_mut().enumerate() {
                if against_noise(h as u64, (n - h) as u64) >= REGRESSED {
                    fooled += *share;
                    *share = 0.0;
                }
            }
            alive = next;
        }
        assert!(fooled > 0.0 && fooled <= 0.01, "{fooled}");
    }

    #[test]
    fn a_hit_never_lowers_it_and_a_miss_never_raises_it() {
        for p0 in [0.5, TOLERATED_RATE] {
            for h in 0..40 {
                for m in 0..40 {
                    let here = log_evidence(h, m, p0);
                    assert!(log_evidence(h + 1, m, p0) > here, "{h} {m}");
                    assert!(log_evidence(h, m + 1, p0) < here, "{h} {m}");
                }
            }
        }
    }

    #[test]
    fn great_counts_stay_finite() {
        for (h, m) in [(0, 1_000_000_000), (1_000_000_000, 0), (5_000_000, 5_000_000)] {
            for p0 in [0.5, TOLERATED_RATE] {
                assert!(log_evidence(h, m, p0).is_finite(), "{h} {m}");
            }
        }
        // All hits: E = (2^(n+1) − 1) / (n + 1) at one half.
        let n = 1_000_000.0_f64;
        check(against_noise(1_000_000, 0), (n + 1.0) * 2f64.ln() - (n + 1.0).ln());
    }
}
