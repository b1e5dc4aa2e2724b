//! How many requests a caller may make on a route: one allowance for each key, shared by all workers
//! and kept when the configuration is read anew.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use governor::clock::{Clock, MonotonicClock};
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::StateStore;
use governor::{Quota, RateLimiter};
use rustc_hash::FxHashMap;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::context::RequestCx;
use super::crowd::one_client;
use super::error::{ProxyError, Reason};
use crate::clock;
use crate::h1::head::RequestHead;
use crate::limits::RATE_KEYS_MAX;
use crate::name::RouteName;
use crate::route::{RateKey, RatePlan, Route};

/// The allowances of every route that has some.
#[derive(Debug, Default)]
pub struct RateLimits(Mutex<FxHashMap<RouteName, Arc<RateLimit>>>);

impl RateLimits {
    /// The allowances of a route: those there are, or new ones when the rule is another.
    fn of(&self, route: &RouteName, plan: &RatePlan) -> Arc<RateLimit> {
        // Nothing panics while the lock is held, so that a poisoned one still holds whole values.
        let mut limits = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match limits.get(route) {
            Some(limit) if limit.plan == *plan => limit.clone(),
            _ => {
                let limit = Arc::new(RateLimit::new(plan, MonotonicClock));
                limits.insert(route.clone(), limit.clone());
                limit
            }
        }
    }
}

/// Takes a request off its caller's allowance, if its route has a limit.
pub fn check(cx: &RequestCx, route: &Route, head: &RequestHead) -> Result<(), ProxyError> {
    let Some(plan) = route.rate.as_deref() else { return Ok(()) };
    let worker = &cx.worker;
    let known = worker.rate_limits.borrow().get(&route.id).cloned();
    let limit = match known.filter(|limit| limit.plan == *plan) {
        Some(limit) => limit,
        None => {
            let limit = worker.shared.rate_limits.of(&route.name, plan);
            worker.rate_limits.borrow_mut().insert(route.id, limit.clone());
            limit
        }
    };
    let of_header = match &plan.key {
        RateKey::Header(name) => head.fields.find(name).filter(|value| !value.is_empty()),
        RateKey::ClientIp | RateKey::Route => None,
    };
    let taken = match (&plan.key, of_header) {
        (RateKey::Route, _) => limit.take(b""),
        (_, Some(value)) => limit.take(value),
        // Who leaves the header out must not be freer than who sends it.
        (_, None) => limit.take(one_client(cx.client).to_string().as_bytes()),
    };
    taken.map_err(|wait| ProxyError {
        retry_after: Some(wait),
        ..ProxyError::new(Reason::RateLimited)
    })
}

/// The allowances of one route.
#[derive(Debug)]
pub struct RateLimit<C: Clock = MonotonicClock> {
    plan: RatePlan,
    limiter: RateLimiter<u64, Keys, C, NoOpMiddleware<C::Instant>>,
    /// So that nobody can choose keys that are taken for each other.
    seed: u64,
}

impl<C: Clock> RateLimit<C> {
    fn new(plan: &RatePlan, clock: C) -> Self {
        let every = plan.per / plan.requests;
        let quota = Quota::with_period(every.max(Duration::from_nanos(1)));
        let quota = quota.unwrap_or_else(|| Quota::per_second(plan.burst));
        let limiter = RateLimiter::new(quota.allow_burst(plan.burst), Keys::default(), clock);
        Self { plan: plan.clone(), limiter, seed: clock::seed() }
    }

    /// Takes one request off the allowance of a key; else how long until there is one.
    fn take(&self, key: &[u8]) -> Result<(), Duration> {
        let taken = self.limiter.check_key(&xxh3_64_with_seed(key, self.seed));
        taken.map_err(|until| until.wait_time_from(self.limiter.clock().now()))
    }
}

/// What is known of keys, in two generations: when the young one is full, the old one is forgotten.
/// A key that is forgotten has its whole allowance again.
#[derive(Debug, Default)]
struct Keys(Mutex<Generations>);

#[derive(Debug, Default)]
struct Generations {
    young: FxHashMap<u64, u64>,
    old: FxHashMap<u64, u64>,
}

impl Keys {
    fn lock(&self) -> MutexGuard<'_, Generations> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Generations {
    fn keep(&mut self, key: u64, state: u64) {
        if self.young.len() >= RATE_KEYS_MAX / 2 && !self.young.contains_key(&key) {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, state);
    }
}

impl StateStore for Keys {
    type Key = u64;

    fn measure_and_replace<T, F, E>(&self, key: &u64, measure: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let mut keys = self.lock();
        let before = keys.young.get(key).or_else(|| keys.old.get(key)).copied();
        match measure(before.map(Nanos::from)) {
            Ok((found, after)) => {
                keys.keep(*key, after.as_u64());
                Ok(found)
            }
            Err(refused) => {
                // Whoever is refused goes on asking, and must not be forgotten for it.
                if let Some(before) = before {
                    keys.keep(*key, before);
                }
                Err(refused)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use governor::clock::FakeRelativeClock;

    use super::*;

    fn plan(requests: u32, per: Duration, burst: u32) -> RatePlan {
        let burst = NonZeroU32::new(burst).unwrap();
        RatePlan { requests, per, burst, key: RateKey::ClientIp }
    }

    #[test]
    fn each_key_has_its_burst_and_then_its_rate() {
        let clock = FakeRelativeClock::default();
        let limit = RateLimit::new(&plan(10, Duration::from_secs(1), 3), clock.clone());
        for key in [&b"one"[..], b"two"] {
            for _ in 0..3 {
                assert_eq!(limit.take(key), Ok(()));
            }
            assert_eq!(limit.take(key), Err(Duration::from_millis(100)));
        }
        clock.advance(Duration::from_millis(40));
        assert_eq!(limit.take(b"one"), Err(Duration::from_millis(60)));
        clock.advance(Duration::from_millis(60));
        assert_eq!(limit.take(b"one"), Ok(()));
        assert!(limit.take(b"one").is_err());
        clock.advance(Duration::from_secs(60));
        assert_eq!((0..9).filter(|_| limit.take(b"one").is_ok()).count(), 3);
    }

    #[test]
    fn keys_are_bounded_in_number_and_one_that_asks_on_is_not_forgotten() {
        let clock = FakeRelativeClock::default();
        let limit = RateLimit::new(&plan(1, Duration::from_secs(3600), 1), clock.clone());
        assert!(limit.take(b"loud").is_ok());
        let store = |limit: RateLimit<FakeRelativeClock>| limit.limiter.into_state_store();
        for number in 0..RATE_KEYS_MAX * 2 {
            assert!(limit.take(&number.to_le_bytes()).is_ok());
            if number % 1000 == 0 {
                assert!(limit.take(b"loud").is_err(), "after {number}");
            }
        }
        let store = store(limit);
        let keys = store.lock();
        assert!(keys.young.len() + keys.old.len() <= RATE_KEYS_MAX);
    }

    #[test]
    fn an_allowance_lives_as_long_as_its_rule() {
        let limits = RateLimits::default();
        let name = RouteName::new("api").unwrap();
        let (one, two) = (plan(1, Duration::from_secs(60), 1), plan(2, Duration::from_secs(60), 1));
        assert!(limits.of(&name, &one).take(b"a").is_ok());
        assert!(limits.of(&name, &one.clone()).take(b"a").is_err());
        assert!(limits.of(&name, &two).take(b"a").is_ok());
    }
}
