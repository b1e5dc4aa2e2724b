//! Retry budgets: retries as a share of requests, so that a broken version is not beaten further.

use std::cell::RefCell;

use rustc_hash::FxHashMap;

use crate::limits::RETRIES_SAVED_MAX;
use crate::name::ServiceName;

/// What each service may still spend on this worker.
#[derive(Debug, Default)]
pub struct Budgets {
    saved: RefCell<FxHashMap<ServiceName, Saved>>,
}

#[derive(Debug)]
struct Saved {
    tokens: f64,
    /// Requests begun since tokens were last earned.
    requests: u32,
}

impl Budgets {
    /// A request has begun.
    pub fn earn(&self, service: &ServiceName) {
        let mut saved = self.saved.borrow_mut();
        match saved.get_mut(service) {
            Some(saved) => saved.requests = saved.requests.saturating_add(1),
            None => drop(
                saved.insert(service.clone(), Saved { tokens: RETRIES_SAVED_MAX, requests: 1 }),
            ),
        }
    }

    /// Takes a retry from the budget, if there is one left.
    pub fn spend(&self, service: &ServiceName, percent: u32) -> bool {
        let mut all = self.saved.borrow_mut();
        let Some(saved) = all.get_mut(service) else { return false };
        let earned = f64::from(saved.requests) * f64::from(percent) / 100.0;
        saved.tokens = (saved.tokens + earned).min(RETRIES_SAVED_MAX);
        saved.requests = 0;
        if saved.tokens < 1.0 {
            return false;
        }
        saved.tokens -= 1.0;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retries_are_a_share_of_requests_once_the_savings_are_spent() {
        let (budgets, name) = (Budgets::default(), ServiceName::new("shop").unwrap());
        assert!(!budgets.spend(&name, 20), "nothing was asked yet");
        budgets.earn(&name);
        let burst = (0..5000).take_while(|_| budgets.spend(&name, 20)).count();
        assert_eq!(burst, RETRIES_SAVED_MAX as usize);
        (0..100).for_each(|_| budgets.earn(&name));
        let more = (0..100).take_while(|_| budgets.spend(&name, 20)).count();
        assert_eq!(more, 20);
    }
}
