//! How many copies may be in flight, and what became of those that were not compared.
//!
//! A gate is shared by all workers and is nothing but atomic numbers: taking a permit never waits.
//! Only requests of services with a shadow touch one.

use std::array;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::Miss;
use crate::limits::{SHADOW_REST, SHADOW_UNREACHED_MAX};
use crate::name::{ServiceName, VersionName};
use crate::traffic::ShadowRule;

/// Misses by their number.
pub type Misses = [u64; Miss::ALL.len()];

/// What is compared: a service's answers with those of a shadow, and maybe of a secondary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    pub service: ServiceName,
    pub shadow: VersionName,
    pub secondary: Option<VersionName>,
}

impl Subject {
    /// That of a rule.
    pub fn of(service: &ServiceName, rule: &ShadowRule) -> Self {
        Self {
            service: service.clone(),
            shadow: rule.version.clone(),
            secondary: rule.secondary.clone(),
        }
    }
}

/// The permits of a service and the misses of one subject of it.
#[derive(Debug)]
pub struct Gate {
    pub subject: Subject,
    /// Shared by all gates of the service: a new rule does not double the copies.
    in_flight: Arc<AtomicU32>,
    /// Copies in a row that did not reach the shadow.
    unreached: AtomicU32,
    /// Milliseconds of the process clock until which it is left alone.
    rests_until: AtomicU64,
    misses: [AtomicU64; Miss::ALL.len()],
}

impl Gate {
    /// A gate with nothing counted.
    pub fn new(subject: Subject, in_flight: Arc<AtomicU32>) -> Self {
        Self {
            subject,
            in_flight,
            unreached: AtomicU32::new(0),
            rests_until: AtomicU64::new(0),
            misses: array::from_fn(|_| AtomicU64::new(0)),
        }
    }

    /// Notes whether a copy reached the shadow, at `now_ms` of the process clock. A try to connect
    /// costs as much as a request: one that is dead must not be tried for each of them.
    pub fn note_reached(&self, reached: bool, now_ms: u64) {
        if reached {
            if self.unreached.load(Ordering::Relaxed) != 0 {
                self.unreached.store(0, Ordering::Relaxed);
            }
        } else if self.unreached.fetch_add(1, Ordering::Relaxed) + 1 >= SHADOW_UNREACHED_MAX {
            let until = now_ms.saturating_add(SHADOW_REST.as_millis() as u64);
            self.rests_until.store(until, Ordering::Relaxed);
        }
    }

    /// Whether the shadow is left alone for now.
    pub fn is_resting(&self, now_ms: u64) -> bool {
        self.rests_until.load(Ordering::Relaxed) > now_ms
    }

    /// Counts a miss.
    pub fn count(&self, miss: Miss) {
        self.misses[miss as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// The misses since they were last taken.
    pub fn take_misses(&self) -> Misses {
        array::from_fn(|place| self.misses[place].swap(0, Ordering::Relaxed))
    }

    /// Leave for one copy, unless `max` are in flight.
    pub fn try_acquire(&self, max: u32) -> Option<Permit> {
        let more = |in_flight: u32| (in_flight < max).then_some(in_flight + 1);
        let taken = self.in_flight.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        taken.is_ok().then(|| Permit(self.in_flight.clone()))
    }
}

/// Leave for one copy, given back when dropped: after its comparison, because until then its
/// answer takes memory.
#[derive(Debug)]
pub struct Permit(Arc<AtomicU32>);

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject(shadow: &str) -> Subject {
        let service = "shop".parse().unwrap();
        Subject { service, shadow: shadow.parse().unwrap(), secondary: None }
    }

    #[test]
    fn permits_are_bounded_over_all_gates_of_a_service_and_come_back() {
        let in_flight = Arc::new(AtomicU32::new(0));
        let old = Gate::new(subject("green"), in_flight.clone());
        let new = Gate::new(subject("red"), in_flight);
        let first = old.try_acquire(2);
        let second = new.try_acquire(2);
        assert!(first.is_some() && second.is_some());
        assert!(old.try_acquire(2).is_none());
        assert!(new.try_acquire(2).is_none());
        drop(first);
        assert!(new.try_acquire(2).is_some());
        assert!(new.try_acquire(0).is_none());
    }

    #[test]
    fn a_shadow_that_cannot_be_reached_is_left_alone_for_a_while() {
        let (gate, rest) =
            (Gate::new(subject("green"), Arc::default()), SHADOW_REST.as_millis() as u64);
        (1..SHADOW_UNREACHED_MAX).for_each(|_| gate.note_reached(false, 1000));
        gate.note_reached(true, 0);
        gate.note_reached(false, 1000);
        assert!(!gate.is_resting(1000), "not in a row");
        (1..SHADOW_UNREACHED_MAX).for_each(|_| gate.note_reached(false, 1000));
        assert!(gate.is_resting(1000 + rest - 1));
        assert!(!gate.is_resting(1000 + rest), "the next copy tries again");
        gate.note_reached(false, 2000);
        assert!(gate.is_resting(2000), "one try that fails is enough");
    }

    #[test]
    fn misses_are_taken_once() {
        let gate = Gate::new(subject("green"), Arc::default());
        gate.count(Miss::Method);
        gate.count(Miss::Method);
        gate.count(Miss::Timeout);
        let taken = gate.take_misses();
        assert_eq!(taken[Miss::Method as usize], 2);
        assert_eq!(taken[Miss::Timeout as usize], 1);
        assert_eq!(taken.iter().sum::<u64>(), 3);
        assert_eq!(gate.take_misses(), [0; Miss::ALL.len()]);
    }
}
