//! Who is connected to the API, and who has to go when the places are taken: whoever asks for nothing.
//!
//! A caller that connects and says nothing, or reads an answer slowly, must not keep out one that has
//! something to say.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

/// The connections of one entrance.
#[derive(Debug, Clone)]
pub struct Lobby {
    permits: Arc<Semaphore>,
    /// In the order in which they came.
    seats: Arc<Mutex<VecDeque<Weak<Visit>>>>,
    /// Told whenever a request has its answer: its connection may have to go now.
    answered: Arc<Notify>,
}

/// One connection.
#[derive(Debug)]
pub struct Visit {
    /// Requests that were let in and have no answer yet.
    served: AtomicUsize,
    leave: Notify,
    answered: Arc<Notify>,
    _permit: OwnedSemaphorePermit,
}

impl Lobby {
    /// A lobby with so many places.
    pub fn new(places: usize) -> Self {
        let permits = Arc::new(Semaphore::new(places));
        Self { permits, seats: Arc::default(), answered: Arc::default() }
    }

    /// A place; the longest visit that is not being served ends for it if there is none. Waits while
    /// everybody is being served. `None` never comes: nobody closes the semaphore.
    pub async fn enter(&self) -> Option<Arc<Visit>> {
        let permit = loop {
            if let Ok(permit) = self.permits.clone().try_acquire_owned() {
                break permit;
            }
            self.make_room();
            tokio::select! {
                permit = self.permits.clone().acquire_owned() => break permit.ok()?,
                () = self.answered.notified() => {}
            }
        };
        let (served, leave, answered) = (AtomicUsize::new(0), Notify::new(), self.answered.clone());
        let visit = Arc::new(Visit { served, leave, answered, _permit: permit });
        let mut seats = self.seats.lock().unwrap_or_else(PoisonError::into_inner);
        seats.retain(|seat| seat.strong_count() > 0);
        seats.push_back(Arc::downgrade(&visit));
        Some(visit)
    }

    fn make_room(&self) {
        let seats = self.seats.lock().unwrap_or_else(PoisonError::into_inner);
        let mut visits = seats.iter().filter_map(Weak::upgrade);
        if let Some(visit) = visits.find(|visit| visit.served.load(Ordering::Relaxed) == 0) {
            visit.leave.notify_one();
        }
    }
}

impl Visit {
    /// Ready when the place is needed.
    pub async fn must_leave(&self) {
        self.leave.notified().await;
    }

    /// Keeps the place while a request is served: until what is returned is dropped.
    pub fn serve(self: &Arc<Self>) -> Served {
        self.served.fetch_add(1, Ordering::Relaxed);
        Served(self.clone())
    }
}

/// A request that is being served.
#[derive(Debug)]
pub struct Served(Arc<Visit>);

impl Drop for Served {
    fn drop(&mut self) {
        self.0.served.fetch_sub(1, Ordering::Relaxed);
        // Kept for who waits next if nobody does: one look too many costs nothing.
        self.0.answered.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_longest_visit_that_asks_for_nothing_makes_room() {
        let lobby = Lobby::new(3);
        let mut visits = Vec::new();
        for _ in 0..3 {
            visits.push(lobby.enter().await.unwrap());
        }
        let _served = visits[0].serve();
        let next = tokio::spawn({
            let lobby = lobby.clone();
            async move { lobby.enter().await }
        });
        visits[1].must_leave().await;
        drop(visits.remove(1));
        next.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn who_is_served_stays_until_the_answer() {
        let lobby = Lobby::new(1);
        let visit = lobby.enter().await.unwrap();
        let served = visit.serve();
        let mut next = std::pin::pin!(lobby.enter());
        assert!(futures_util::poll!(next.as_mut()).is_pending());
        drop(served);
        assert!(futures_util::poll!(next.as_mut()).is_pending());
        visit.must_leave().await;
        drop(visit);
        next.await.unwrap();
    }
}
