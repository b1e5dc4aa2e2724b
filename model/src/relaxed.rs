//! The store with every memory order in it relaxed.

mod sync {
    pub use crate::pieces::{Arc, ArcSwap, Notify, Ordering, RelaxedU64 as AtomicU64};
}
#[path = "../../src/revision/store.rs"]
pub mod store;
