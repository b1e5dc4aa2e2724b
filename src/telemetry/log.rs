//! The log of the control plane: tracing to standard error, its level changeable while running.

use std::io::IsTerminal;

use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::reload::{self, Handle};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Registry};

/// Changes the level of a running log.
#[derive(Debug, Clone)]
pub struct LevelHandle(Handle<EnvFilter, Registry>);

impl LevelHandle {
    /// Sets the level, e.g. `info`; a level that cannot be read changes nothing.
    pub fn set(&self, level: &str) {
        if let Ok(filter) = EnvFilter::try_new(level) {
            // The subscriber lives as long as the process.
            let _ = self.0.reload(filter);
        }
    }
}

/// Sets the log up; called once.
pub fn start(json: bool, level: &str) -> LevelHandle {
    let filter = EnvFilter::try_new(level).unwrap_or_else(|_| EnvFilter::new("info"));
    let (filter, handle) = reload::Layer::new(filter);
    let registry = tracing_subscriber::registry().with(filter);
    let mut layer =
        tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_target(false);
    // On a terminal the environment may still say NO_COLOR.
    if !std::io::stderr().is_terminal() {
        layer.set_ansi(false);
    }
    // A second start, as tests make, keeps the first log.
    let _ = match json {
        true => registry.with(layer.json().flatten_event(true)).try_init(),
        false => registry.with(layer).try_init(),
    };
    LevelHandle(handle)
}
