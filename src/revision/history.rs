//! The revisions that are kept, in memory.

use std::collections::VecDeque;
use std::sync::Arc;

use super::Entry;
use crate::limits::REVISIONS_KEPT;
use crate::name::ServiceName;
use crate::traffic::Traffic;

/// The last [`REVISIONS_KEPT`] revisions.
#[derive(Debug, Clone, Default)]
pub struct History {
    /// Oldest first, numbers rising.
    entries: VecDeque<Arc<Entry>>,
}

impl History {
    /// What the journal held, oldest first.
    pub fn new(entries: Vec<Arc<Entry>>) -> Self {
        let mut history = Self::default();
        entries.into_iter().for_each(|entry| history.push(entry));
        history
    }

    /// Adds the newest revision; the oldest falls out when there are too many.
    pub fn push(&mut self, entry: Arc<Entry>) {
        debug_assert!(self.latest().is_none_or(|last| last.number < entry.number));
        if self.entries.len() == REVISIONS_KEPT {
            self.entries.pop_front();
        }
        self.entries.push_back(entry);
    }

    /// The newest revision.
    pub fn latest(&self) -> Option<&Arc<Entry>> {
        self.entries.back()
    }

    /// A revision by number, if it is still kept.
    pub fn get(&self, number: u64) -> Option<&Arc<Entry>> {
        let place = self.entries.binary_search_by_key(&number, |entry| entry.number).ok()?;
        self.entries.get(place)
    }

    /// Newest first.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Entry>> {
        self.entries.iter().rev()
    }

    /// The newest revision in which the traffic of a service was another than `now`: where a
    /// rollback without a number goes. What the file declared is not traffic and does not count.
    pub fn previous_for(&self, service: &ServiceName, now: &Traffic) -> Option<&Arc<Entry>> {
        let differs = |entry: &&Arc<Entry>| {
            let then = entry.traffic.get(service);
            then.is_some_and(|then| {
                !std::ptr::eq(then.as_ref(), now)
                    && Traffic { declared: now.declared.clone(), ..then.as_ref().clone() } != *now
            })
        };
        self.iter().find(differs)
    }
}
