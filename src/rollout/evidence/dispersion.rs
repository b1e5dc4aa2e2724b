//! Do bad requests come alone or in bursts? Measured between two halves of the baseline, which are
//! equal by construction.
//!
//! Without it a version whose errors come in pairs would be called worse than itself within hours.

/// What is believed before anything was seen: a dispersion of two, worth twenty.
const PRIOR: (f64, f64) = (40.0, 20.0);

/// Requests and bad ones of the two halves of the baseline in one block.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Halves {
    pub a: (f64, f64),
    pub b: (f64, f64),
}

/// How many times the variance of the bad ones exceeds that of independent ones.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Dispersion {
    observed: f64,
    expected: f64,
}

impl Default for Dispersion {
    fn default() -> Self {
        Self { observed: PRIOR.0, expected: PRIOR.1 }
    }
}

impl Dispersion {
    /// A belief of `dispersion` worth twenty, as before anything was seen.
    pub fn believed(dispersion: f64) -> Self {
        Self { observed: dispersion * PRIOR.1, expected: PRIOR.1 }
    }

    /// The estimate so far, at least 1. To be read before the block that it is used for is added.
    pub fn value(&self) -> f64 {
        (self.observed / self.expected).max(1.0)
    }

    /// Takes the halves of one block in.
    pub fn add(&mut self, halves: Halves) {
        let ((na, xa), (nb, xb)) = (halves.a, halves.b);
        let (n, x) = (na + nb, xa + xb);
        if x <= 0.0 || n <= 1.0 {
            return;
        }
        let share = na / n;
        self.observed += (xa - share * x).powi(2);
        self.expected += x * share * (1.0 - share) * (n - x) / (n - 1.0);
    }

    /// Both sums, to be kept.
    pub fn export(&self) -> [f64; 2] {
        [self.observed, self.expected]
    }

    /// Goes on from kept sums; false, and unchanged, if they are none.
    pub fn restore(&mut self, numbers: &[f64]) -> bool {
        let &[observed, expected] = numbers else { return false };
        *self = Self { observed, expected };
        expected > 0.0
    }
}
