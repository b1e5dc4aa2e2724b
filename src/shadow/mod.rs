//! Copies that may never hurt the original: which requests get one, and why others do not.
//!
//! This file decides and counts words only. `tap` stands in the request path, `tee` holds the
//! bytes of a request body for the copy, `runner` sends it, `meeting` brings it together with the
//! original's `answer`, [`gate`] bounds and counts, `mirror` is what a worker has of it, and
//! [`store`] compares on the control plane and keeps what was found.

mod answer;
pub mod gate;
mod meeting;
mod mirror;
mod runner;
pub mod store;
pub mod tap;
mod tee;

use crate::h1::head::Method;
use crate::snapshot::Shadow;

pub use self::mirror::Mirrors;
pub use self::store::{Comparisons, ReportView, Sample, ShadowCounts, ShadowHub};
pub use self::tap::{Tap, tap};

/// The field that tells a shadow that its answer reaches nobody.
pub const MARK: &str = "x-tidegate-shadow";

/// Why a request has no comparison. Each is counted by its own word and by its outcome.
///
/// A request that was not drawn by the sampling is none of these: it was never wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Miss {
    /// Its method is not mirrored.
    Method,
    /// It asks for another protocol.
    Upgrade,
    /// The shadow served it itself.
    SameVersion,
    /// The shadow has no endpoint that can take a copy.
    NoEndpoint,
    /// The original has no complete answer, or was answered before all of it was read.
    PrimaryIncomplete,
    /// As many copies as allowed are in flight.
    InFlight,
    /// The shadow could not be reached several times in a row and is left alone for a moment.
    Resting,
    /// The shadow takes the request body too slowly.
    TeeOverflow,
    /// As many comparisons as allowed wait for the control plane.
    QueueFull,
    /// The copy was given up by us: a fault of ours, or the process ends.
    Abandoned,
    /// The shadow cannot be reached.
    Unreachable,
    /// The shadow did not answer in time.
    Timeout,
    /// The shadow broke off.
    Broken,
    /// The shadow's answer is not HTTP.
    Malformed,
    /// Comparing failed by a fault of ours.
    CompareFailed,
}

impl Miss {
    /// Every miss, in the order of their numbers.
    pub const ALL: [Self; 15] = [
        Self::Method,
        Self::Upgrade,
        Self::SameVersion,
        Self::NoEndpoint,
        Self::PrimaryIncomplete,
        Self::InFlight,
        Self::Resting,
        Self::TeeOverflow,
        Self::QueueFull,
        Self::Abandoned,
        Self::Unreachable,
        Self::Timeout,
        Self::Broken,
        Self::Malformed,
        Self::CompareFailed,
    ];

    /// The stable word of reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Method => "method",
            Self::Upgrade => "upgrade",
            Self::SameVersion => "same_version",
            Self::NoEndpoint => "no_endpoint",
            Self::PrimaryIncomplete => "primary_incomplete",
            Self::InFlight => "max_in_flight",
            Self::Resting => "resting",
            Self::TeeOverflow => "tee_overflow",
            Self::QueueFull => "queue_full",
            Self::Abandoned => "abandoned",
            Self::Unreachable => "unreachable",
            Self::Timeout => "timeout",
            Self::Broken => "broken",
            Self::Malformed => "malformed",
            Self::CompareFailed => "compare_failed",
        }
    }

    /// What it counts as in `tidegate_shadow_requests_total`.
    pub fn outcome(self) -> Outcome {
        match self {
            Self::Method | Self::Upgrade | Self::SameVersion => Outcome::Skipped,
            Self::NoEndpoint | Self::PrimaryIncomplete => Outcome::Skipped,
            Self::InFlight | Self::Resting | Self::TeeOverflow => Outcome::Dropped,
            Self::QueueFull | Self::Abandoned => Outcome::Dropped,
            Self::Unreachable | Self::Timeout | Self::Broken => Outcome::Failed,
            Self::Malformed | Self::CompareFailed => Outcome::Failed,
        }
    }
}

/// The values of the label `outcome`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    Matched,
    Mismatched,
    Failed,
    Dropped,
    Skipped,
}

impl Outcome {
    /// The label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Matched => "matched",
            Self::Mismatched => "mismatched",
            Self::Failed => "failed",
            Self::Dropped => "dropped",
            Self::Skipped => "skipped",
        }
    }
}

/// Whether a request that was assigned to the version at place `assigned` may be copied at all.
fn eligible(
    shadow: &Shadow,
    method: Method,
    is_upgrade: bool,
    assigned: usize,
) -> Result<(), Miss> {
    if is_upgrade {
        return Err(Miss::Upgrade);
    }
    if !shadow.rule.methods.contains(&method) {
        return Err(Miss::Method);
    }
    if assigned == shadow.version {
        return Err(Miss::SameVersion);
    }
    Ok(())
}

/// Whether an eligible request is drawn. `entropy` is uniform.
fn is_drawn(share_ppm: u32, entropy: u64) -> bool {
    // The high half of the product is uniform below a million.
    (u128::from(entropy) * 1_000_000) >> 64 < u128::from(share_ppm)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::traffic::ShadowRule;

    fn shadow() -> Shadow {
        let rule = ShadowRule::to("green".parse().unwrap(), 1_000_000);
        Shadow { rule, rules: Arc::default(), version: 1, secondary: None }
    }

    #[test]
    fn only_what_may_be_repeated_elsewhere_is_copied() {
        let cases = [
            (Method::Get, false, 0, Ok(())),
            (Method::Head, false, 2, Ok(())),
            (Method::Post, false, 0, Err(Miss::Method)),
            (Method::Other, false, 0, Err(Miss::Method)),
            (Method::Get, true, 0, Err(Miss::Upgrade)),
            (Method::Get, false, 1, Err(Miss::SameVersion)),
        ];
        for (method, upgrade, assigned, expect) in cases {
            let found = eligible(&shadow(), method, upgrade, assigned);
            assert_eq!(found, expect, "{method:?} {upgrade} {assigned}");
        }
    }

    #[test]
    fn none_is_never_and_a_million_is_always() {
        for entropy in [0, 1, u64::MAX / 2, u64::MAX] {
            assert!(!is_drawn(0, entropy));
            assert!(is_drawn(1_000_000, entropy));
        }
    }

    #[test]
    fn a_share_is_drawn_that_often() {
        let mut random = fastrand::Rng::with_seed(7);
        for share in [1_000, 250_000, 999_000] {
            let drawn = (0..200_000).filter(|_| is_drawn(share, random.u64(..))).count();
            let expect = f64::from(share) / 5.0;
            let error = (drawn as f64 - expect).abs();
            // Five standard deviations at the widest.
            assert!(error < 5.0 * 224.0, "{share} {drawn}");
        }
    }

    #[test]
    fn misses_are_numbered_in_their_order() {
        for (number, miss) in Miss::ALL.into_iter().enumerate() {
            assert_eq!(miss as usize, number, "{}", miss.as_str());
        }
    }
}
