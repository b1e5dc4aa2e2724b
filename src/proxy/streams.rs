//! The open streams of an HTTP/2 connection: how many there are, and which of them nobody takes.
//!
//! hyper asks for an answer's next piece only when the client has room for it. A client that reads
//! nothing would keep an upstream's connection for as long as it likes; here it is found out.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::time::Instant;

use rustc_hash::{FxHashMap, FxHashSet};

/// An answer on its way down that can be ended from outside.
pub trait Flowing: std::fmt::Debug {
    /// Ends it if its last piece was handed over before `then` and nobody has come for another;
    /// whether that was so.
    fn give_up(&self, then: Instant) -> bool;
}

/// The open streams of one connection; clones share them.
#[derive(Debug, Clone, Default)]
pub struct Streams(Rc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    open: Cell<usize>,
    begun: Cell<u64>,
    flowing: RefCell<FxHashMap<u64, Weak<dyn Flowing>>>,
    /// Those that were ended and are open still: hyper asks no more of what a client has no room for.
    stuck: RefCell<FxHashSet<u64>>,
}

/// One open stream; ends when dropped.
#[derive(Debug)]
pub struct OpenStream {
    streams: Streams,
    number: u64,
}

impl Streams {
    /// Begins a stream.
    pub fn begin(&self) -> OpenStream {
        let number = self.0.begun.get() + 1;
        self.0.begun.set(number);
        self.0.open.set(self.0.open.get() + 1);
        OpenStream { streams: self.clone(), number }
    }

    /// How many are open and were not given up.
    pub fn open(&self) -> usize {
        self.0.open.get() - self.0.stuck.borrow().len()
    }

    /// Whether there was any.
    pub fn any_begun(&self) -> bool {
        self.0.begun.get() > 0
    }

    /// Ends the answers that nobody has come for since `then`.
    pub fn give_up(&self, then: Instant) {
        let alive = |(number, answer): (&u64, &Weak<_>)| Some((*number, answer.upgrade()?));
        // Ending one may end its stream, which changes the map.
        let flowing: Vec<_> = self.0.flowing.borrow().iter().filter_map(alive).collect();
        for (number, answer) in flowing {
            if answer.give_up(then) {
                self.0.stuck.borrow_mut().insert(number);
            }
        }
    }
}

impl OpenStream {
    /// Notes the answer of this stream.
    pub fn flows(&self, answer: Weak<dyn Flowing>) {
        self.streams.0.flowing.borrow_mut().insert(self.number, answer);
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        let inner = &self.streams.0;
        inner.open.set(inner.open.get() - 1);
        inner.flowing.borrow_mut().remove(&self.number);
        inner.stuck.borrow_mut().remove(&self.number);
    }
}
