//! Latency as counts: how many requests of each version were slower than a quantile of the baseline.
//!
//! Durations are whole microseconds in buckets, sixty-four to an octave. The threshold is set from
//! earlier traffic of the baseline, so that the block it is used for cannot move it.

use std::time::Duration;

/// Buckets to an octave.
const PARTS: u64 = 64;
/// Buckets in all: up to 67 seconds; what is slower counts as this.
pub const BUCKETS: usize = 21 * PARTS as usize + 1;
/// The bucket of a request that was never answered in time.
pub const NEVER: usize = BUCKETS - 1;
/// Seconds after which an observation of the baseline counts half.
const HALF_LIFE: f64 = 300.0;
/// Observations above a threshold that it takes to set one.
const ABOVE_MIN: f64 = 10.0;

/// The bucket of a number of microseconds, without an upper bound.
pub fn index(micros: u64) -> usize {
    if micros < PARTS {
        return micros as usize;
    }
    let octave = 64 - u64::from(micros.leading_zeros()) - 7;
    ((octave << 6) + (micros >> octave)) as usize
}

/// The least number of microseconds in a bucket.
pub fn edge(index: usize) -> u64 {
    let index = index as u64;
    if index < 2 * PARTS {
        return index;
    }
    let octave = (index >> 6) - 1;
    ((index & 63) + 64) << octave
}

/// The bucket that a duration is counted in.
pub fn bucket(duration: Duration) -> usize {
    index(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)).min(NEVER)
}

/// The first bucket with observations for which at most `1 - level` of all are in it or above, or the
/// one above them all; `None` when that are too few.
pub fn threshold(counts: &[f64], level: f64) -> Option<usize> {
    let total: f64 = counts.iter().sum();
    // What is one over the bound by rounding alone is within it.
    let allowed = (1.0 - level) * total + 1e-9;
    if allowed < ABOVE_MIN {
        return None;
    }
    let (mut tail, mut found) = (0.0, None);
    for (place, count) in counts.iter().enumerate().rev().filter(|(_, count)| **count > 0.0) {
        tail += count;
        if tail > allowed {
            return found.or(Some(place + 1));
        }
        found = Some(place);
    }
    found
}

/// The canary's bucket for an alarm: slower by `ratio` beyond doubt, rounded up.
pub fn alarm_bucket(threshold: usize, ratio: f64) -> usize {
    let bound = ratio * edge(threshold) as f64;
    let mut place = index(bound as u64);
    while (edge(place) as f64) < bound {
        place += 1;
    }
    place
}

/// The canary's bucket for a promotion: not slower by `ratio` beyond doubt, rounded down.
pub fn safe_bucket(threshold: usize, ratio: f64) -> usize {
    index((ratio * edge(threshold) as f64).floor() as u64)
}

/// Requests from a bucket on, the slowest included.
pub fn above(counts: &[u32], bucket: usize) -> u64 {
    counts.get(bucket.min(NEVER)..).unwrap_or_default().iter().map(|count| u64::from(*count)).sum()
}

/// Microseconds of a quantile, from the lower edge of its bucket.
pub fn quantile(counts: &[u32], level: f64) -> Option<u64> {
    let total: u64 = counts.iter().map(|count| u64::from(*count)).sum();
    let rank = ((level * total as f64).ceil() as u64).max(1);
    let mut below = 0;
    let place = counts.iter().position(|count| {
        below += u64::from(*count);
        below >= rank
    })?;
    Some(edge(place))
}

/// What the baseline's latency was lately.
#[derive(Debug, Clone, PartialEq)]
pub struct History {
    counts: Vec<f64>,
}

impl Default for History {
    fn default() -> Self {
        Self { counts: vec![0.0; BUCKETS] }
    }
}

impl History {
    /// Takes counts of the baseline in, that came in so many seconds.
    pub fn add(&mut self, counts: &[u32], seconds: f64) {
        let kept = 0.5f64.powf(seconds / HALF_LIFE);
        for (place, count) in self.counts.iter_mut().enumerate() {
            *count = *count * kept + counts.get(place).map_or(0.0, |more| f64::from(*more));
        }
    }

    /// The bucket of a quantile, from what was taken in so far.
    pub fn threshold(&self, level: f64) -> Option<usize> {
        threshold(&self.counts, level)
    }

    /// Pairs of a bucket and its count, those of zero left out.
    pub fn export(&self) -> Vec<f64> {
        let some = self.counts.iter().enumerate().filter(|(_, count)| **count > 0.0);
        some.flat_map(|(place, count)| [place as f64, *count]).collect()
    }

    /// Goes on from where [`Self::export`] was; false if that was something else.
    pub fn restore(&mut self, numbers: &[f64]) -> bool {
        let (pairs, rest) = numbers.as_chunks::<2>();
        self.counts.fill(0.0);
        for [place, count] in pairs {
            if let Some(slot) = self.counts.get_mut(*place as usize) {
                *slot = *count;
            }
        }
        rest.is_empty()
    }
}
