//! Many played rollouts of one kind, summed up.

use super::{End, Outcome};

/// How many of so many rollouts ended how, and when.
#[derive(Debug, Clone, PartialEq)]
pub struct Tally {
    pub runs: usize,
    /// Seconds until it was caught, of those that were; ascending, as all of these are.
    pub caught: Vec<f64>,
    /// Seconds until everything was on the new version.
    pub promoted: Vec<f64>,
    /// Requests that a harmful version had.
    pub exposed: Vec<f64>,
    /// Failures that there would not have been without it.
    pub excess: Vec<f64>,
}

impl Tally {
    /// Sums outcomes up.
    pub fn of(outcomes: &[Outcome]) -> Self {
        let sorted = |values: Vec<f64>| {
            let mut values = values;
            values.sort_by(f64::total_cmp);
            values
        };
        let all = |value: fn(&Outcome) -> f64| sorted(outcomes.iter().map(value).collect());
        let ended = |end: End| {
            let those = outcomes.iter().filter(|outcome| outcome.end == end);
            sorted(those.map(|outcome| outcome.seconds).collect())
        };
        Self {
            runs: outcomes.len(),
            caught: ended(End::Caught),
            promoted: ended(End::Promoted),
            exposed: all(|outcome| outcome.exposed as f64),
            excess: all(|outcome| outcome.excess),
        }
    }

    /// The share of those that were caught.
    pub fn caught_share(&self) -> f64 {
        self.caught.len() as f64 / self.runs.max(1) as f64
    }

    /// The share of those that were promoted.
    pub fn promoted_share(&self) -> f64 {
        self.promoted.len() as f64 / self.runs.max(1) as f64
    }

    /// The share of those that were neither.
    pub fn undecided_share(&self) -> f64 {
        let decided = self.caught.len() + self.promoted.len();
        (self.runs - decided) as f64 / self.runs.max(1) as f64
    }

    /// The share of those that were caught within so many seconds.
    pub fn caught_by(&self, seconds: f64) -> f64 {
        self.caught.partition_point(|at| *at <= seconds) as f64 / self.runs.max(1) as f64
    }
}

/// A quantile of ascending values, by nearest rank; `None` of nothing.
pub fn quantile(ascending: &[f64], level: f64) -> Option<f64> {
    let rank = (level * ascending.len() as f64).ceil() as usize;
    ascending.get(rank.max(1) - 1).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_and_quantiles_are_of_all_runs() {
        let outcome = |end, seconds, exposed| Outcome { end, seconds, exposed, excess: -1.0 };
        let outcomes = [
            outcome(End::Caught, 30.0, 3),
            outcome(End::Promoted, 100.0, 9),
            outcome(End::Caught, 10.0, 1),
            outcome(End::Undecided, 500.0, 5),
        ];
        let tally = Tally::of(&outcomes);
        assert_eq!((tally.caught_share(), tally.promoted_share()), (0.5, 0.25));
        assert_eq!(tally.undecided_share(), 0.25);
        let by = [5.0, 10.0, 29.0, 30.0].map(|seconds| tally.caught_by(seconds));
        assert_eq!(by, [0.0, 0.25, 0.25, 0.5]);
        assert_eq!(quantile(&tally.exposed, 0.5), Some(3.0));
        assert_eq!(quantile(&tally.exposed, 1.0), Some(9.0));
        assert_eq!((quantile(&tally.caught, 0.0), quantile(&[], 0.5)), (Some(10.0), None));
    }
}
