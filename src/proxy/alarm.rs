//! One coarse timer a connection.
//!
//! Arming a timer for every wait costs about a tenth of a microsecond; a deadline that only moves
//! later costs nothing here: the timer fires early, sees that it was moved, and sleeps on.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Instant;

use tokio::time::Sleep;

/// A timer that is set often and rings rarely.
#[derive(Debug, Default)]
pub struct Alarm {
    /// Made when first needed; moved only when it must ring earlier.
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Alarm {
    /// Ready once `at` has passed; otherwise wakes the task no later than then.
    pub fn poll(&mut self, cx: &mut Context<'_>, at: Instant) -> Poll<()> {
        let at = tokio::time::Instant::from_std(at);
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(at)));
        if at < sleep.deadline() {
            sleep.as_mut().reset(at);
        }
        while sleep.as_mut().poll(cx).is_ready() {
            if sleep.deadline() >= at {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(at);
        }
        Poll::Pending
    }

    /// Runs a future until a deadline; `None` when it has passed.
    pub async fn guard<F: Future>(&mut self, at: Instant, future: F) -> Option<F::Output> {
        let mut future = pin!(future);
        poll_fn(|cx| match future.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending => self.poll(cx, at).map(|()| None),
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_alarm_that_was_moved_later_rings_at_the_later_time() {
        let start = tokio::time::Instant::now();
        let mut alarm = Alarm::default();
        let (early, late) = (Duration::from_secs(1), Duration::from_secs(3));
        poll_fn(|cx| {
            assert!(alarm.poll(cx, start.into_std() + early).is_pending());
            Poll::Ready(())
        })
        .await;
        alarm.guard(start.into_std() + late, std::future::pending::<()>()).await;
        assert_eq!(start.elapsed(), late);
        alarm.guard(tokio::time::Instant::now().into_std(), std::future::pending::<()>()).await;
        assert_eq!(start.elapsed(), late);
    }
}
