//! Held requests: they wait at the proxy while a version restarts, and leave in order.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::atomic::Ordering;

use tokio::sync::oneshot;

use super::error::{ProxyError, Reason};
use super::worker::{Lease, Worker};
use crate::h1::head::Method;
use crate::limits::{RELEASE_AT_ONCE, RELEASE_PAUSE};
use crate::name::ServiceName;
use crate::snapshot::Service;

/// The requests one worker holds, by service, in the order they came.
#[derive(Debug, Default)]
pub struct Holds {
    waiting: RefCell<Vec<(ServiceName, VecDeque<oneshot::Sender<()>>)>>,
}

impl Holds {
    fn join(&self, service: &ServiceName) -> oneshot::Receiver<()> {
        let (go, wait) = oneshot::channel();
        let mut waiting = self.waiting.borrow_mut();
        match waiting.iter_mut().find(|(name, _)| name == service) {
            Some((_, queue)) => queue.push_back(go),
            None => waiting.push((service.clone(), VecDeque::from([go]))),
        }
        wait
    }

    fn next(&self, service: &ServiceName) -> Option<oneshot::Sender<()>> {
        let mut waiting = self.waiting.borrow_mut();
        let (_, queue) = waiting.iter_mut().find(|(name, _)| name == service)?;
        queue.pop_front()
    }

    /// Lets go what a new revision does not hold any more.
    pub fn released_by(&self, worker: &Rc<Worker>, lease: &Lease) {
        let held =
            |name: &ServiceName| lease.snapshot.service(name).is_some_and(|s| s.hold.is_some());
        let mut waiting = self.waiting.borrow_mut();
        waiting.retain(|(_, queue)| !queue.is_empty());
        let free = waiting.iter().filter(|(name, _)| !held(name));
        for (name, _) in free {
            tokio::task::spawn_local(release(worker.clone(), name.clone()));
        }
    }
}

async fn release(worker: Rc<Worker>, service: ServiceName) {
    loop {
        for _ in 0..RELEASE_AT_ONCE {
            match worker.holds.next(&service) {
                // Whoever gave up waiting has dropped its end.
                Some(go) => drop(go.send(())),
                None => return,
            }
        }
        tokio::time::sleep(RELEASE_PAUSE).await;
        let again = worker.lease().snapshot.service(&service).is_some_and(|s| s.hold.is_some());
        if again {
            return;
        }
    }
}

/// Waits while the service holds requests of this method. The caller takes a new lease after it.
pub async fn wait(
    worker: &Rc<Worker>,
    service: &Service,
    method: Method,
) -> Result<(), ProxyError> {
    let Some(rule) = &service.hold else { return Ok(()) };
    if !rule.methods.is_empty() && !rule.methods.contains(&method) {
        return Ok(());
    }
    let seat = Seat::take(service, rule.max_requests)?;
    let wait = worker.holds.join(&service.name);
    let released = tokio::time::timeout(rule.max_wait, wait).await;
    drop(seat);
    match released {
        Ok(_) => Ok(()),
        Err(_) => Err(ProxyError::new(Reason::HoldTimeout)),
    }
}

/// One of the service's places to wait, on whichever worker.
struct Seat<'a>(&'a Service);

impl<'a> Seat<'a> {
    fn take(service: &'a Service, max: u32) -> Result<Self, ProxyError> {
        let held = service.held.fetch_add(1, Ordering::Relaxed);
        let seat = Self(service);
        match held < max {
            true => Ok(seat),
            false => Err(ProxyError::new(Reason::HoldOverflow)),
        }
    }
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        self.0.held.fetch_sub(1, Ordering::Relaxed);
    }
}
