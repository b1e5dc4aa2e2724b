//! The only reader of the clocks, and the only source of seeds.

use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

struct Origin {
    monotonic: Instant,
    wall: Duration,
}

fn origin() -> &'static Origin {
    static ORIGIN: OnceLock<Origin> = OnceLock::new();
    ORIGIN.get_or_init(|| Origin {
        monotonic: Instant::now(),
        wall: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default(),
    })
}

/// The monotonic clock.
pub fn now() -> Instant {
    Instant::now()
}

/// Milliseconds of the process clock at an instant: small numbers that fit an atomic. Never 0.
pub fn process_ms(at: Instant) -> u64 {
    at.saturating_duration_since(origin().monotonic).as_millis() as u64 + 1
}

/// Wall time at an instant of the monotonic clock, since 1970. One clock read serves both.
pub fn wall_at(at: Instant) -> Duration {
    origin().wall + at.saturating_duration_since(origin().monotonic)
}

/// The wall clock now, for records that people read.
pub fn timestamp() -> jiff::Timestamp {
    jiff::Timestamp::now()
}

/// A seed that no client can guess.
pub fn seed() -> u64 {
    uuid::Uuid::new_v4().as_u64_pair().0
}
