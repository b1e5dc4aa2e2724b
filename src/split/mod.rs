//! Which version serves it?
//!
//! A split is the weighted choice of a version. Without stickiness it is a draw by exact weights;
//! with it, a cohort's bucket decides, and the table from buckets to versions travels in the
//! revision. Whether a version has a usable endpoint is not asked here.

pub mod bucket;
pub mod cohort;
#[cfg(test)]
mod tests;

pub use self::bucket::BucketTable;
pub use self::cohort::{Cohort, CohortKey};

use crate::name::VersionName;
use crate::weight::Weights;

/// Why a request was given its version. The text is the access log's `assigned_by`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// A pin matched; its place in the service.
    Pin(u16),
    /// A draw by weights.
    Split,
    /// The bucket of its cohort.
    Sticky(u16),
    /// Its version had no usable endpoint, so that another of positive weight was taken.
    Fallback,
    /// An attempt failed on one version and was made again on this one.
    Rescue,
}

impl Cause {
    /// The stable word of the access log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pin(_) => "pin",
            Self::Split => "split",
            Self::Sticky(_) => "sticky",
            Self::Fallback => "fallback",
            Self::Rescue => "rescue",
        }
    }
}

/// A compiled split over the versions of one service, by their places in it.
#[derive(Debug, Clone)]
pub struct Split {
    /// Upper bounds of the draw, exclusive, with the version each belongs to.
    bounds: Vec<(u32, u16)>,
    total: u32,
    salt: u64,
    /// The version of every bucket; only for sticky services.
    slots: Option<Box<[u8]>>,
}

impl Split {
    /// Compiles weights, and for a sticky service the bucket table, over `versions`.
    pub fn new(
        versions: &[VersionName],
        weights: &Weights,
        salt: u64,
        table: Option<&BucketTable>,
    ) -> Self {
        let mut total = 0;
        let mut bounds = Vec::new();
        for (index, version) in versions.iter().enumerate() {
            let weight = weights.of(version);
            if weight > 0 {
                total += weight;
                bounds.push((total, index as u16));
            }
        }
        let slots = table.filter(|_| total > 0).map(|table| table.compile(versions));
        Self { bounds, total, salt, slots }
    }

    /// Whether any version has a positive weight.
    pub fn has_weight(&self) -> bool {
        self.total > 0
    }

    /// Whether this version has a positive weight.
    pub fn weighs(&self, version: usize) -> bool {
        self.bounds.iter().any(|(_, index)| usize::from(*index) == version)
    }

    /// Draws a version by weight among those that `usable` allows. `entropy` is uniform.
    pub fn draw(&self, entropy: u64, usable: impl Fn(usize) -> bool) -> Option<usize> {
        // The whole split is tried first: that is every request of a healthy service.
        let point = scale(entropy, self.total);
        let hit = self.bounds.iter().find(|(bound, _)| point < *bound)?;
        if usable(usize::from(hit.1)) {
            return Some(usize::from(hit.1));
        }
        let weight = |n: usize| self.bounds[n].0 - if n == 0 { 0 } else { self.bounds[n - 1].0 };
        let open = |n: &usize| usable(usize::from(self.bounds[*n].1));
        let total = (0..self.bounds.len()).filter(open).map(weight).sum();
        let mut point = scale(entropy.rotate_left(32), total);
        for n in (0..self.bounds.len()).filter(open) {
            if point < weight(n) {
                return Some(usize::from(self.bounds[n].1));
            }
            point -= weight(n);
        }
        None
    }

    /// The bucket of a cohort under this split's salt.
    pub fn bucket(&self, cohort: &[u8]) -> u16 {
        bucket::bucket_of(self.salt, cohort)
    }

    /// The version of a bucket; none when the service is not sticky or all weights are zero.
    pub fn version_of_bucket(&self, bucket: u16) -> Option<usize> {
        Some(usize::from(*self.slots.as_ref()?.get(usize::from(bucket))?))
    }
}

/// Maps 64 uniform bits to `0..total` without the bias or the cost of a remainder.
fn scale(entropy: u64, total: u32) -> u32 {
    (((entropy >> 32) * u64::from(total)) >> 32) as u32
}
