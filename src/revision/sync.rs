//! What `store` builds its promise on. It has a name of its own so that the model in `model/` can
//! compile the store over other pieces, whose every interleaving is tried.

pub use std::sync::Arc;
pub use std::sync::atomic::{AtomicU64, Ordering};

pub use arc_swap::ArcSwap;
pub use tokio::sync::Notify;
