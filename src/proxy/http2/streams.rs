//! The streams of one connection: how many are open, and how many its client took back.
//!
//! To begin a stream and take it back costs a client next to nothing, and a version as much as to answer
//! it. Versions of HTTP/2 guard themselves by ending the connection, which others share.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Instant;

use crate::clock;
use crate::limits::{H2_TAKEN_BACK_MAX, H2_TAKEN_BACK_SOON};

/// Held by the connection, and by each of its streams as long as it is open.
#[derive(Debug, Default)]
pub struct Streams {
    begun: Cell<u32>,
    /// Those that were taken back soon after.
    taken_back: Cell<u32>,
    answered: Cell<bool>,
}

impl Streams {
    /// Another one, open for as long as this is held.
    pub fn open(self: &Rc<Self>) -> Rc<Self> {
        self.begun.set(self.begun.get().saturating_add(1));
        self.clone()
    }

    /// Whether any is open.
    pub fn any_open(self: &Rc<Self>) -> bool {
        Rc::strong_count(self) > 1
    }

    /// Whether this is the first answer of an upstream's that goes over the connection.
    pub fn is_first_answer(&self) -> bool {
        !self.answered.replace(true)
    }

    /// One that began then was taken back before it was answered.
    pub fn note_taken_back(&self, began: Instant) {
        if clock::now().saturating_duration_since(began) < H2_TAKEN_BACK_SOON {
            self.taken_back.set(self.taken_back.get().saturating_add(1));
        }
    }

    /// Whether the client does little else than taking streams back.
    pub fn is_flood(&self) -> bool {
        let taken_back = self.taken_back.get();
        taken_back > H2_TAKEN_BACK_MAX && taken_back > self.begun.get() / 2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_takes_most_of_many_streams_back_at_once_floods() {
        let flooding = |begun: u32, taken_back: u32, began: Instant| {
            let streams = Rc::new(Streams::default());
            (0..begun).for_each(|_| drop(streams.open()));
            (0..taken_back).for_each(|_| streams.note_taken_back(began));
            assert!(!streams.any_open());
            streams.is_flood()
        };
        let (now, many) = (clock::now(), H2_TAKEN_BACK_MAX + 1);
        assert!(flooding(many, many, now));
        assert!(!flooding(many, many - 1, now));
        assert!(!flooding(2 * many, many, now), "as many were waited for");
        let before = now.checked_sub(H2_TAKEN_BACK_SOON);
        assert!(
            before.is_none_or(|before| !flooding(many, many, before)),
            "deadlines are no flood"
        );
    }
}
