//! How a split changes over time: a plan carried out step by step, with gates between the steps.
//!
//! [`machine`] decides what comes next, [`keeper`] with [`gate`] and [`evidence`] what the
//! counts say; these are pure. [`driver`] ticks them, and publishes what they decide like any other author.

pub mod driver;
pub mod evidence;
pub mod gate;
pub mod keeper;
mod kept;
pub mod machine;
pub mod simulation;
