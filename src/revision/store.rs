//! The revision in force, and the promise that goes with replacing it.
//!
//! A worker takes a lease of the current revision in one load and uses it synchronously. Publishing
//! stores the new revision, then its number; a worker that sees a higher number than its own installs
//! the new revision before it does anything else and acknowledges. Because a worker is one thread
//! and chooses a version without awaiting, after its acknowledgement it cannot choose by the old
//! revision. When all workers have acknowledged, nobody can.

use super::sync::{Arc, ArcSwap, AtomicU64, Notify, Ordering};
use crate::snapshot::Snapshot;

/// One immutable state of all traffic with its number.
#[derive(Debug)]
pub struct Revision {
    pub number: u64,
    pub snapshot: Snapshot,
}

/// The current revision and who has seen it.
#[derive(Debug)]
pub struct RevisionStore {
    current: ArcSwap<Revision>,
    number: AtomicU64,
    seats: Box<[Seat]>,
    acknowledged: Notify,
}

/// A worker's place. Alone on its cache line: it is written by its worker only.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Seat {
    seen: AtomicU64,
}

impl RevisionStore {
    /// A store for so many workers, at `first`.
    pub fn new(first: Revision, workers: usize) -> Self {
        let number = first.number;
        let seats = (0..workers).map(|_| Seat::default()).collect();
        Self {
            current: ArcSwap::from_pointee(first),
            number: AtomicU64::new(number),
            seats,
            acknowledged: Notify::new(),
        }
    }

    /// How many workers there are.
    pub fn workers(&self) -> usize {
        self.seats.len()
    }

    /// The revision in force, for the control plane.
    pub fn current(&self) -> Arc<Revision> {
        self.current.load_full()
    }

    /// The number that was announced: one load, what a worker compares with its lease. A lease may be
    /// newer for a moment, never older once the worker has looked.
    pub fn number(&self) -> u64 {
        self.number.load(Ordering::Acquire)
    }

    /// Makes a revision current. Only `control` calls this, under its lock. Workers must be woken
    /// by the caller, and [`RevisionStore::all_acknowledged`] awaited.
    pub fn swap(&self, next: Revision) {
        let number = next.number;
        debug_assert!(number > self.number(), "revisions only go forward");
        self.current.store(Arc::new(next));
        self.number.store(number, Ordering::Release);
    }

    /// A worker takes the current revision and promises not to use an older one again.
    pub fn install(&self, seat: usize) -> Arc<Revision> {
        let revision = self.current.load_full();
        self.seats[seat].seen.store(revision.number, Ordering::Release);
        self.acknowledged.notify_waiters();
        revision
    }

    /// A worker that has ended holds no lease any more.
    pub fn leave(&self, seat: usize) {
        self.seats[seat].seen.store(u64::MAX, Ordering::Release);
        self.acknowledged.notify_waiters();
    }

    /// Waits until no worker can use a revision older than `number`.
    pub async fn all_acknowledged(&self, number: u64) {
        loop {
            let changed = self.acknowledged.notified();
            let seen = |seat: &Seat| seat.seen.load(Ordering::Acquire) >= number;
            if self.seats.iter().all(seen) {
                return;
            }
            changed.await;
        }
    }
}
