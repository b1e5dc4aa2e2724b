//! Which requests were counted under which weight, for those who tell later how they went.
//!
//! Nothing is remembered, and nothing is paid for, until a rollout begins. From then on each worker notes
//! the requests that a rollout counts in a table of its own, in which a later one takes the place of an
//! earlier.

use std::sync::atomic::{AtomicU64, Ordering, fence};

use xxhash_rust::xxh3::xxh3_64;

use super::counters::Trial;
use crate::limits::RECENT_REQUESTS;

/// The requests that one worker counted lately.
#[derive(Debug)]
pub struct Recent {
    slots: Box<[Slot]>,
}

/// A request and what it was counted under; two words, so that the worker never waits for a reader.
#[derive(Debug, Default)]
struct Slot {
    /// The hash of its id; 0 while there is none.
    key: AtomicU64,
    trial: AtomicU64,
}

impl Default for Recent {
    fn default() -> Self {
        Self { slots: (0..RECENT_REQUESTS).map(|_| Slot::default()).collect() }
    }
}

/// Never 0.
fn key(request_id: &[u8]) -> u64 {
    xxh3_64(request_id).max(1)
}

impl Recent {
    fn slot(&self, key: u64) -> &Slot {
        // A power of two, so that this is a mask.
        &self.slots[(key >> 32) as usize % RECENT_REQUESTS]
    }

    /// Notes a request. Only the worker that it belongs to may call this.
    pub fn note(&self, request_id: &[u8], trial: Trial) {
        let key = key(request_id);
        let slot = self.slot(key);
        // A reader that sees any of the new trial sees that the old key is gone.
        slot.key.store(0, Ordering::Relaxed);
        fence(Ordering::Release);
        slot.trial.store(packed(trial), Ordering::Relaxed);
        slot.key.store(key, Ordering::Release);
    }

    /// What a request was counted under; it is forgotten by this, so that it is told of once.
    pub fn take(&self, request_id: &[u8]) -> Option<Trial> {
        let key = key(request_id);
        let slot = self.slot(key);
        if slot.key.load(Ordering::Acquire) != key {
            return None;
        }
        let trial = slot.trial.load(Ordering::Acquire);
        fence(Ordering::Acquire);
        let taken = slot.key.compare_exchange(key, 0, Ordering::AcqRel, Ordering::Relaxed);
        taken.ok().map(|_| unpacked(trial))
    }
}

fn packed(trial: Trial) -> u64 {
    u64::from(trial.version) << 32 | u64::from(trial.generation) << 1 | u64::from(trial.half)
}

fn unpacked(word: u64) -> Trial {
    Trial { version: (word >> 32) as u32, generation: (word as u32) >> 1, half: word & 1 == 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_known_once_until_another_takes_its_place() {
        let recent = Recent::default();
        let trial = |version, half| Trial { version, generation: 0x7fff_fffe, half };
        recent.note(b"one", trial(7, true));
        recent.note(b"two", trial(u32::MAX, false));
        assert_eq!(recent.take(b"three"), None);
        assert_eq!(recent.take(b"one"), Some(trial(7, true)));
        assert_eq!(recent.take(b"one"), None);
        assert_eq!(recent.take(b"two"), Some(trial(u32::MAX, false)));
        let many = 4 * RECENT_REQUESTS as u32;
        (0..many).for_each(|n| recent.note(&n.to_le_bytes(), trial(n, false)));
        let known = (0..many).filter(|n| {
            let found = recent.take(&n.to_le_bytes());
            assert!(found.is_none_or(|found| found == trial(*n, false)));
            found.is_some()
        });
        let known = known.count();
        assert!((RECENT_REQUESTS * 9 / 10..=RECENT_REQUESTS).contains(&known), "{known}");
    }
}
