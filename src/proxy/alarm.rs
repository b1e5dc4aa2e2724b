//! One coarse timer a connection.
//!
//! Arming a timer for every wait costs about a tenth of a microsecond; a deadline that only moves
//! later costs nothing here: the timer fires early, sees that it was moved, and sleeps on.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use tokio::task::coop;
use tokio::time::Sleep;

use crate::limits::ALARMS_KEPT;

/// A timer that is set often and rings rarely.
#[derive(Debug, Default)]
pub struct Alarm {
    /// Made when first needed; moved only when it must ring earlier.
    sleep: Option<Pin<Box<Sleep>>>,
    /// Whom it wakes, once the timer knows.
    wakes: Option<Waker>,
}

impl Alarm {
    /// Ready once `at` has passed; otherwise wakes the task no later than then.
    pub fn poll(&mut self, cx: &mut Context<'_>, at: Instant) -> Poll<()> {
        let at = tokio::time::Instant::from_std(at);
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(at)));
        if at < sleep.deadline() {
            sleep.as_mut().reset(at);
            self.wakes = None;
        }
        // A timer that has not rung and knows whom to wake need not be told again.
        if !sleep.is_elapsed() && self.wakes.as_ref().is_some_and(|it| it.will_wake(cx.waker())) {
            return Poll::Pending;
        }
        // A task that has done much is put off before the timer gets to know it.
        let mut told = coop::has_budget_remaining();
        while sleep.as_mut().poll(cx).is_ready() {
            if sleep.deadline() >= at {
                self.wakes = None;
                return Poll::Ready(());
            }
            sleep.as_mut().reset(at);
            told = coop::has_budget_remaining();
        }
        self.wakes = told.then(|| cx.waker().clone());
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

/// Alarms that are lent to what lives shortly, such as a stream: arming a timer and taking it down
/// again costs more than finding one that rings too early.
#[derive(Debug, Default)]
pub struct Alarms(RefCell<Vec<Alarm>>);

impl Alarms {
    /// One that may be armed already, for some other time.
    pub fn take(&self) -> Alarm {
        self.0.borrow_mut().pop().unwrap_or_default()
    }

    /// Takes one back, with its timer.
    pub fn give(&self, mut alarm: Alarm) {
        alarm.wakes = None;
        let mut kept = self.0.borrow_mut();
        if alarm.sleep.is_some() && kept.len() < ALARMS_KEPT {
            kept.push(alarm);
        }
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

    #[tokio::test(start_paused = true)]
    async fn an_alarm_rings_although_the_task_that_set_it_was_put_off() {
        let start = tokio::time::Instant::now();
        let at = start.into_std() + Duration::from_secs(1);
        let mut alarm = Alarm::default();
        poll_fn(|cx| {
            while coop::has_budget_remaining() {
                assert!(pin!(coop::consume_budget()).poll(cx).is_ready());
            }
            assert!(alarm.poll(cx, at).is_pending());
            Poll::Ready(())
        })
        .await;
        let ringing = poll_fn(|cx| alarm.poll(cx, at));
        tokio::time::timeout(Duration::from_secs(10), ringing).await.expect("it rings");
        assert_eq!(start.elapsed(), Duration::from_secs(1));
    }

    #[tokio::test(start_paused = true)]
    async fn an_alarm_wakes_whoever_waits_for_it_last() {
        let start = tokio::time::Instant::now();
        let at = start.into_std() + Duration::from_secs(1);
        let mut alarm = Alarm::default();
        let first = std::task::Waker::noop();
        assert!(alarm.poll(&mut Context::from_waker(first), at).is_pending());
        let ringing = poll_fn(|cx| alarm.poll(cx, at));
        tokio::time::timeout(Duration::from_secs(10), ringing).await.expect("it rings");
        assert_eq!(start.elapsed(), Duration::from_secs(1));
    }

    #[tokio::test(start_paused = true)]
    async fn an_alarm_that_was_lent_before_rings_at_its_new_time() {
        let start = tokio::time::Instant::now();
        let in_seconds = |seconds| start.into_std() + Duration::from_secs(seconds);
        let alarms = Alarms::default();
        let mut alarm = alarms.take();
        poll_fn(|cx| {
            assert!(alarm.poll(cx, in_seconds(2)).is_pending());
            Poll::Ready(())
        })
        .await;
        alarms.give(alarm);
        // Later than before, and, once it is lent again, earlier.
        for (until, seconds) in [(in_seconds(5), 5), (in_seconds(6), 6)] {
            let mut alarm = alarms.take();
            assert!(alarm.sleep.is_some(), "it is the same one");
            alarm.guard(until, std::future::pending::<()>()).await;
            assert_eq!(start.elapsed(), Duration::from_secs(seconds));
            poll_fn(|cx| {
                assert!(alarm.poll(cx, in_seconds(3600)).is_pending());
                Poll::Ready(())
            })
            .await;
            alarms.give(alarm);
        }
    }
}
