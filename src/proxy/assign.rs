//! Choosing the version of a request: pins, then the cohort's bucket, then the draw.
//!
//! Synchronous on purpose: between taking the lease and choosing there is no await, which is what
//! makes a cutover complete once every worker has acknowledged it.

use std::net::IpAddr;

use uuid::Uuid;

use super::error::Reason;
use super::worker::Worker;
use crate::limits::COHORT_DRAWS_MAX;
use crate::plan::WhenUnavailable;
use crate::route::matcher::RequestView;
use crate::snapshot::Service;
use crate::split::{Cause, CohortKey, cohort::Cohort};
use crate::upstream::Version;

/// A choice, and the cookie id that was made for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Choice {
    pub version: usize,
    pub cause: Cause,
    /// Whether an endpoint of it can take the request; if not, see `unusable`.
    pub usable: bool,
    /// The id of a new cohort, to be set as a cookie.
    pub new_cohort: Option<Uuid>,
}

/// Why a version that was chosen cannot take a request.
pub fn unusable(version: &Version) -> Reason {
    if version.is_usable() { Reason::Overloaded } else { Reason::NoEndpoint }
}

/// Chooses a version of `service`. `kept` is the id that was made for this very request when it was
/// first assigned.
pub fn choose(
    worker: &Worker,
    service: &Service,
    view: &RequestView<'_>,
    client: IpAddr,
    kept: Option<Uuid>,
) -> Result<Choice, Reason> {
    choose_by(&|| worker.entropy(), service, view, client, kept)
}

/// The same with any source of uniform bits.
pub fn choose_by(
    random: &impl Fn() -> u64,
    service: &Service,
    view: &RequestView<'_>,
    client: IpAddr,
    kept: Option<Uuid>,
) -> Result<Choice, Reason> {
    let usable = |version: usize| service.versions[version].can_take();
    if let Some(place) = service.pins.iter().position(|pin| pin.plan.matches.matches(view, client))
    {
        // A tester who asked for a version must not be shown another in its place.
        let version = service.pins[place].version;
        let cause = Cause::Pin(place as u16);
        return Ok(Choice { version, cause, usable: usable(version), new_cohort: None });
    }
    if !service.split.has_weight() {
        return Err(Reason::NoWeight);
    }
    let (bucket, new_cohort) = bucket(random, service, view, client, kept);
    let sticky = bucket.and_then(|bucket| service.split.version_of_bucket(bucket));
    let sticky = sticky.filter(|version| service.split.weighs(*version));
    // The fallback of a sticky user is drawn by the bucket, so that it is the same each time.
    let entropy = match bucket {
        Some(bucket) => u64::from(bucket).wrapping_mul(0x9E37_79B9_7F4A_7C15),
        None => random(),
    };
    let first = match (sticky, bucket) {
        (Some(version), Some(bucket)) => Some((version, Cause::Sticky(bucket))),
        _ => {
            let open = |version: usize| !service.versions[version].draining;
            let drawn = service.split.draw(entropy, open);
            drawn.or_else(|| service.split.draw(entropy, |_| true)).map(|v| (v, Cause::Split))
        }
    };
    let (version, cause) = first.ok_or(Reason::NoWeight)?;
    if usable(version) {
        return Ok(Choice { version, cause, usable: true, new_cohort });
    }
    let other = match service.plan.policy.when_unavailable {
        WhenUnavailable::Others => service.split.draw(entropy.rotate_left(17), usable),
        WhenUnavailable::Fail => None,
    };
    Ok(match other {
        Some(version) => Choice { version, cause: Cause::Fallback, usable: true, new_cohort },
        None => Choice { version, cause, usable: false, new_cohort },
    })
}

/// The bucket of the request's cohort, and the id of a cohort that was made for it.
fn bucket(
    random: &impl Fn() -> u64,
    service: &Service,
    view: &RequestView<'_>,
    client: IpAddr,
    kept: Option<Uuid>,
) -> (Option<u16>, Option<Uuid>) {
    let Some(key) = &service.plan.sticky else { return (None, None) };
    let hash = |cohort: Cohort<'_>| cohort.with_bytes(|bytes| service.split.bucket(bytes));
    if let Some(cohort) = key.read(view.fields, client) {
        return (Some(hash(cohort)), None);
    }
    if !matches!(key, CohortKey::Cookie(_)) {
        return (None, None);
    }
    let of = |id: Uuid| hash(Cohort::Text(id_text(id).as_bytes()));
    if let Some(id) = kept {
        return (Some(of(id)), Some(id));
    }
    let takes_new = |bucket: u16| {
        let version = service.split.version_of_bucket(bucket);
        version.is_some_and(|version| !service.versions.get(version).is_some_and(|v| v.draining))
    };
    let mut id = fresh_id(random);
    for _ in 0..COHORT_DRAWS_MAX {
        if takes_new(of(id)) {
            break;
        }
        id = fresh_id(random);
    }
    (Some(of(id)), Some(id))
}

fn fresh_id(random: &impl Fn() -> u64) -> Uuid {
    Uuid::from_u64_pair(random(), random())
}

/// The text of a cohort's id, as the cookie holds it and as it is hashed.
pub fn id_text(id: Uuid) -> String {
    id.simple().to_string()
}
