//! Weights: relative whole numbers from the operator, turned into exact shares of 10 000 buckets.
//!
//! The rounding is a divisor method (Webster's, with at least one bucket for a positive weight),
//! not largest remainders: only a divisor method never gives one version a bucket *because*
//! another version's weight was raised, which stickiness promises.

use std::collections::BTreeMap;
use std::fmt;

use crate::limits::{BUCKETS, WEIGHT_MAX};
use crate::name::VersionName;

/// The weights of a service's versions. Each is at most [`WEIGHT_MAX`]; all may be zero.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Weights(BTreeMap<VersionName, u32>);

/// A weight that is out of bounds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WeightError {
    /// The version it was given for.
    pub version: VersionName,
    /// What was found.
    pub found: String,
}

impl fmt::Display for WeightError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { version, found } = self;
        write!(f, "the weight of `{version}` is {found}; use a whole number from 0 to {WEIGHT_MAX}")
    }
}

impl std::error::Error for WeightError {}

impl Weights {
    /// Checks every weight against [`WEIGHT_MAX`].
    pub fn new(weights: BTreeMap<VersionName, u32>) -> Result<Self, WeightError> {
        match weights.iter().find(|(_, weight)| **weight > WEIGHT_MAX) {
            Some((version, weight)) => {
                Err(WeightError { version: version.clone(), found: weight.to_string() })
            }
            None => Ok(Self(weights)),
        }
    }

    /// All of the traffic to one version.
    pub fn all_to(version: VersionName) -> Self {
        Self(BTreeMap::from([(version, 100)]))
    }

    /// The same weights without a version.
    pub fn without(&self, version: &VersionName) -> Self {
        let mut weights = self.0.clone();
        weights.remove(version);
        Self(weights)
    }

    /// The weight of a version; a version that is not named has none.
    pub fn of(&self, version: &VersionName) -> u32 {
        self.0.get(version).copied().unwrap_or(0)
    }

    /// The sum of all weights.
    pub fn total(&self) -> u64 {
        self.0.values().map(|weight| u64::from(*weight)).sum()
    }

    /// Versions and weights in the order of names, those of weight zero included.
    pub fn iter(&self) -> impl Iterator<Item = (&VersionName, u32)> {
        self.0.iter().map(|(version, weight)| (version, *weight))
    }

    /// Whether both give every version the same share, whatever the unit and the zeros written.
    pub fn same_shares(&self, other: &Self) -> bool {
        let (mine, theirs) = (self.total(), other.total());
        let names = self.0.keys().chain(other.0.keys());
        (mine == 0) == (theirs == 0)
            && names.into_iter().all(|name| {
                u64::from(self.of(name)) * theirs.max(1) == u64::from(other.of(name)) * mine.max(1)
            })
    }

    /// The share of a version in percent, 0 when all weights are zero.
    pub fn percent(&self, version: &VersionName) -> f64 {
        match self.total() {
            0 => 0.0,
            total => f64::from(self.of(version)) * 100.0 / total as f64,
        }
    }

    /// How many of the [`BUCKETS`] each version of positive weight gets. Empty when all are zero.
    pub fn buckets(&self) -> BTreeMap<VersionName, u16> {
        let total = self.total();
        let positive: Vec<_> = self.iter().filter(|(_, weight)| *weight > 0).collect();
        let mut seats: Vec<u64> = positive
            .iter()
            .map(|(_, weight)| (u64::from(*weight) * u64::from(BUCKETS) / total).max(1))
            .collect();
        // Floors are a feasible start for a divisor method: from there the next seat goes to the
        // greatest weight per divisor, or, when the lone buckets overshot, the last one is given back.
        loop {
            let given: u64 = seats.iter().sum();
            if given == u64::from(BUCKETS) || seats.is_empty() {
                break;
            }
            let index = 0..seats.len();
            if given < u64::from(BUCKETS) {
                let next = index.max_by(|a, b| {
                    let left = u64::from(positive[*a].1) * (2 * seats[*b] + 1);
                    let right = u64::from(positive[*b].1) * (2 * seats[*a] + 1);
                    left.cmp(&right).then(b.cmp(a))
                });
                seats[next.unwrap_or(0)] += 1;
            } else {
                let next = index.filter(|a| seats[*a] > 1).min_by(|a, b| {
                    let left = u64::from(positive[*a].1) * (2 * seats[*b] - 1);
                    let right = u64::from(positive[*b].1) * (2 * seats[*a] - 1);
                    left.cmp(&right).then(b.cmp(a))
                });
                seats[next.unwrap_or(0)] -= 1;
            }
        }
        positive
            .iter()
            .zip(seats)
            .map(|((version, _), count)| ((*version).clone(), count as u16))
            .collect()
    }
}

impl fmt::Display for Weights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, (version, weight)) in self.0.iter().enumerate() {
            let gap = if n == 0 { "" } else { " " };
            write!(f, "{gap}{version}={weight}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn weights(of: &[(&str, u32)]) -> Weights {
        let map = of.iter().map(|(name, weight)| (VersionName::new(name).unwrap(), *weight));
        Weights::new(map.collect()).unwrap()
    }

    #[track_caller]
    fn check(of: &[(&str, u32)], expect: &[(&str, u16)]) {
        let found: Vec<_> = weights(of).buckets().into_iter().collect();
        let found: Vec<_> = found.iter().map(|(name, n)| (name.as_str(), *n)).collect();
        assert_eq!(found, expect);
    }

    #[test]
    fn zero_means_never() {
        check(&[("candidate", 0), ("stable", 100)], &[("stable", 10_000)]);
    }

    #[test]
    fn shares_are_relative() {
        check(&[("candidate", 2), ("stable", 1)], &[("candidate", 6667), ("stable", 3333)]);
    }

    #[test]
    fn a_positive_weight_is_never_rounded_to_nothing() {
        check(&[("candidate", 1), ("stable", 1_000_000)], &[("candidate", 1), ("stable", 9999)]);
    }

    #[test]
    fn all_zero_is_nobody() {
        check(&[("candidate", 0), ("stable", 0)], &[]);
    }

    #[test]
    fn too_much_is_refused() {
        let name = VersionName::new("blue").unwrap();
        assert!(Weights::new(BTreeMap::from([(name, WEIGHT_MAX + 1)])).is_err());
    }

    proptest! {
        #[test]
        fn buckets_add_up_and_raising_one_never_raises_another(
            of in proptest::collection::vec(0u32..5000, 1..6), who in 0usize..6, more in 1u32..3000
        ) {
            let named: Vec<_> = of.iter().enumerate().map(|(n, w)| (format!("v{n}"), *w)).collect();
            let before: Vec<_> = named.iter().map(|(n, w)| (n.as_str(), *w)).collect();
            let who = who % before.len();
            let mut after = before.clone();
            after[who].1 += more;
            let (old, new) = (weights(&before).buckets(), weights(&after).buckets());
            if !old.is_empty() {
                prop_assert_eq!(old.values().map(|n| u32::from(*n)).sum::<u32>(), 10_000);
                for (name, count) in &new {
                    if name.as_str() != after[who].0 {
                        prop_assert!(*count <= old[name], "{} grew", name);
                    }
                }
            }
        }
    }
}
