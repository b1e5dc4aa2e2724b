//! What the proxy tells about itself: metrics, recent rates, logs.

pub mod collector;
pub mod log;
pub mod metrics;
pub mod outcomes;
