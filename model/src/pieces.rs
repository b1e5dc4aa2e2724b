//! The store's pieces in terms of loom: atomics, a pointer that is swapped, and a notification.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Mutex as Unseen;
use std::task::{Context, Poll, Waker};

pub use std::sync::Arc;

use loom::sync::atomic::AtomicUsize;
pub use loom::sync::atomic::{AtomicU64, Ordering};
use loom::sync::{Condvar, Mutex};

/// An `AtomicU64` that ignores the order it is asked for.
#[derive(Debug, Default)]
pub struct RelaxedU64(AtomicU64);

impl RelaxedU64 {
    /// Holds `value`.
    pub fn new(value: u64) -> Self {
        Self(AtomicU64::new(value))
    }

    /// A relaxed load.
    pub fn load(&self, _: Ordering) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// A relaxed store.
    pub fn store(&self, value: u64, _: Ordering) {
        self.0.store(value, Ordering::Relaxed);
    }
}

/// A pointer that is replaced as a whole. What it has pointed to is kept until it is dropped, and
/// the place of the current one is an atomic with the orders that `arc-swap` promises at least:
/// a load acquires, a store releases.
#[derive(Debug)]
pub struct ArcSwap<T> {
    place: AtomicUsize,
    /// Not seen by loom: it orders nothing that `place` does not order.
    all: Unseen<Vec<Arc<T>>>,
}

impl<T> ArcSwap<T> {
    /// Points to `first`.
    pub fn from_pointee(first: T) -> Self {
        Self { place: AtomicUsize::new(0), all: Unseen::new(vec![Arc::new(first)]) }
    }

    /// What it points to.
    pub fn load_full(&self) -> Arc<T> {
        let place = self.place.load(Ordering::Acquire);
        self.all.lock().expect("no panic inside")[place].clone()
    }

    /// Points to `next` from now on.
    pub fn store(&self, next: Arc<T>) {
        let place = {
            let mut all = self.all.lock().expect("no panic inside");
            all.push(next);
            all.len() - 1
        };
        self.place.swap(place, Ordering::AcqRel);
    }
}

/// A notification of all who wait, with the promise of `tokio::sync::Notify`: what was asked for
/// before the call is told of it, whether or not it was polled before.
#[derive(Debug)]
pub struct Notify {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    calls: u64,
    waiting: Vec<Waker>,
}

impl Notify {
    /// Nobody waits.
    pub fn new() -> Self {
        Self { state: Mutex::new(State::default()) }
    }

    /// Completes with the next call of [`Notify::notify_waiters`].
    pub fn notified(&self) -> Notified<'_> {
        let since = self.state.lock().expect("no panic inside").calls;
        Notified { notify: self, since }
    }

    /// Wakes all.
    pub fn notify_waiters(&self) {
        let waiting = {
            let mut state = self.state.lock().expect("no panic inside");
            state.calls += 1;
            std::mem::take(&mut state.waiting)
        };
        for waker in waiting {
            waker.wake();
        }
    }
}

impl Default for Notify {
    fn default() -> Self {
        Self::new()
    }
}

/// See [`Notify::notified`].
#[derive(Debug)]
pub struct Notified<'a> {
    notify: &'a Notify,
    since: u64,
}

impl Future for Notified<'_> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.notify.state.lock().expect("no panic inside");
        if state.calls != self.since {
            return Poll::Ready(());
        }
        state.waiting.push(cx.waker().clone());
        Poll::Pending
    }
}

/// A queue of messages to one thread, as the workers' queue of commands is.
#[derive(Debug)]
pub struct Mailbox<T> {
    messages: Mutex<VecDeque<T>>,
    came: Condvar,
}

impl<T> Mailbox<T> {
    /// An empty one.
    pub fn new() -> Self {
        Self { messages: Mutex::new(VecDeque::new()), came: Condvar::new() }
    }

    /// Leaves a message, whether or not it will ever be read.
    pub fn send(&self, message: T) {
        self.messages.lock().expect("no panic inside").push_back(message);
        self.came.notify_one();
    }

    /// Waits for the next message.
    pub fn receive(&self) -> T {
        let mut messages = self.messages.lock().expect("no panic inside");
        loop {
            match messages.pop_front() {
                Some(message) => return message,
                None => messages = self.came.wait(messages).expect("no panic inside"),
            }
        }
    }
}

impl<T> Default for Mailbox<T> {
    fn default() -> Self {
        Self::new()
    }
}
