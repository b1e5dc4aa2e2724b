//! The publication of a revision, compiled from the product's own source and run under loom, which
//! tries every interleaving of its threads and every value that the memory orders allow a load.
//!
//! `store.rs` is the product's file, unchanged. It takes its pieces from `super::sync`; here that is
//! a module of pieces that loom can see. The same file is compiled a second time over pieces that
//! ignore the memory orders asked for, to show that the orders in it are needed.
//!
//! What is mirrored by hand, in [`Worker`] and [`publish`], is the little around the store:
//! `proxy::worker::Worker::lease` and `install`, `proxy::worker::run` with its queue of commands,
//! and `control::Control::swap`.

pub mod faithful;
pub mod pieces;
pub mod relaxed;

/// The product's snapshot is a payload that the protocol never looks into.
pub mod snapshot {
    /// Nothing.
    #[derive(Debug)]
    pub struct Snapshot;
}
