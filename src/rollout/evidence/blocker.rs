//! Ticks are pooled into blocks that are large enough to say something.
//!
//! A block holds requests that were assigned under one and the same weight, and is never closed
//! because of how they ended.

/// Requests of each arm that close a block.
const REQUESTS_MIN: u64 = 10;
/// Seconds after which a block with any request of both arms is closed.
const SECONDS_ENOUGH: f64 = 30.0;

/// Something that is counted per arm and can be added up.
pub trait Pool: Default {
    /// Requests of baseline and canary.
    fn requests(&self) -> (u64, u64);
    /// Adds another's counts.
    fn add(&mut self, other: &Self);
}

/// A closed block: what was counted, and in how many seconds.
#[derive(Debug, Clone, PartialEq)]
pub struct Closed<T> {
    pub counts: T,
    pub seconds: f64,
}

/// The open block of one weight.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Blocker<T> {
    open: T,
    seconds: f64,
}

impl<T: Pool> Blocker<T> {
    /// Takes what a tick of so many seconds counted; the block, if that closes it.
    pub fn add(&mut self, counts: &T, seconds: f64) -> Option<Closed<T>> {
        self.open.add(counts);
        self.seconds += seconds;
        let (n0, n1) = self.open.requests();
        let full = n0 >= REQUESTS_MIN && n1 >= REQUESTS_MIN;
        let old = self.seconds >= SECONDS_ENOUGH && n0 >= 1 && n1 >= 1;
        (full || old).then(|| self.close())
    }

    /// Ends the block because its weight has ended; dropped when an arm is missing.
    pub fn end(&mut self) -> Option<Closed<T>> {
        let (n0, n1) = self.open.requests();
        let closed = self.close();
        (n0 >= 1 && n1 >= 1).then_some(closed)
    }

    fn close(&mut self) -> Closed<T> {
        Closed {
            counts: std::mem::take(&mut self.open),
            seconds: std::mem::take(&mut self.seconds),
        }
    }
}
