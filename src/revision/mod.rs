//! What is in force, since when, and who made it so.
//!
//! A revision is one state of all traffic with a number. `store` holds the one in force, `journal`
//! keeps all of them on disk in the form that `persist` gives them, `history` holds them in
//! memory, `change` tells what lies between two, `merge` what a new file means for live traffic.
//! Nothing here decides that a change is made: that is `control`.

pub mod change;
mod disk;
pub mod history;
pub mod journal;
pub mod merge;
mod persist;
mod replay;
pub mod store;
mod sync;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use jiff::Timestamp;

use crate::traffic::TrafficMap;
use change::Change;

/// One revision as the history keeps it.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// 1, 2, 3 …; each revision has the number after that of the one before it.
    pub number: u64,
    pub at: Timestamp,
    /// `api`, `api:NAME`, `file`, `start` or `rollout:NAME`.
    pub author: String,
    /// The verb, e.g. `cutover to green` or `reload`.
    pub cause: String,
    /// What the author said of it: `X-Reason`.
    pub reason: Option<String>,
    /// What differs from the revision before.
    pub changes: Vec<Change>,
    /// The traffic of every service. Services that did not change share theirs with the revision
    /// before.
    pub traffic: Arc<TrafficMap>,
}
