//! The store as it is.

mod sync {
    pub use crate::pieces::{Arc, ArcSwap, AtomicU64, Notify, Ordering};
}
#[path = "../../src/revision/store.rs"]
pub mod store;
