//! Where the process is in its life.

/// Readiness is true only while running.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Sockets are bound, endpoints are being looked at, nobody is served yet.
    Starting,
    Running,
    /// What is in flight is finished; nothing new is taken.
    Draining,
}

impl Phase {
    /// The word of the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Draining => "draining",
        }
    }
}
