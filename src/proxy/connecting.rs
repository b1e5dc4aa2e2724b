//! How many connections to an endpoint are made at a time.
//!
//! After a cutover, or when a crowd of clients comes, thousands of requests find no kept connection at once. If all
//! of them connected at once, they would overflow the queue in which the listener keeps whom it has not taken yet,
//! of 128 in small servers: the kernel asks again after a second, and by then it is late.

use std::future::Future;
use std::pin::pin;

use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::limits::{CONNECTING_LEAST, CONNECTING_MAX, CONNECTING_TURN_MAX};

/// One worker's turns to make a connection to one endpoint.
#[derive(Debug)]
pub struct Connecting(Semaphore);

impl Default for Connecting {
    fn default() -> Self {
        Self(Semaphore::new(CONNECTING_MAX))
    }
}

impl Connecting {
    /// Does `make` when it is its turn, in the order of asking, on one of so many workers. The turn ends when that
    /// is done, or after [`CONNECTING_TURN_MAX`]: what is far away, or does not answer, keeps nobody waiting.
    /// Dropped, it gives up its place.
    pub async fn turn<T>(&self, workers: usize, make: impl Future<Output = T>) -> T {
        // Workers do not ask each other: each has its share of the places.
        let taken = workers.clamp(1, CONNECTING_MAX / CONNECTING_LEAST);
        let turn = self.0.acquire_many(taken as u32).await;
        let mut make = pin!(make);
        match timeout(CONNECTING_TURN_MAX, make.as_mut()).await {
            Ok(made) => made,
            Err(_) => {
                drop(turn);
                make.await
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::future::pending;

    use futures_util::future::{FutureExt as _, join_all};
    use tokio::time::{Instant, sleep};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn so_many_are_made_at_a_time_and_all_in_the_end() {
        for (workers, expect) in
            [(1, CONNECTING_MAX), (2, CONNECTING_MAX / 2), (100, CONNECTING_LEAST)]
        {
            let (connecting, making, most) = (Connecting::default(), Cell::new(0), Cell::new(0));
            let make = || {
                connecting.turn(workers, async {
                    making.set(making.get() + 1);
                    most.set(most.get().max(making.get()));
                    sleep(CONNECTING_TURN_MAX / 4).await;
                    making.set(making.get() - 1);
                })
            };
            join_all((0..5 * CONNECTING_MAX).map(|_| make())).await;
            assert_eq!((making.get(), most.get()), (0, expect), "{workers} workers");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_takes_long_keeps_its_turn_no_longer_than_it_may() {
        let connecting = Connecting::default();
        let long = join_all((0..CONNECTING_MAX).map(|_| connecting.turn(1, pending::<()>())));
        let next = async {
            let start = Instant::now();
            connecting.turn(1, async {}).await;
            start.elapsed()
        };
        let mut long = pin!(long);
        assert!(long.as_mut().now_or_never().is_none());
        tokio::select! {
            _ = long => unreachable!("they never end"),
            waited = next => assert_eq!(waited, CONNECTING_TURN_MAX),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_gives_up_leaves_its_turn_to_others() {
        let connecting = Connecting::default();
        let mut long =
            pin!(join_all((0..CONNECTING_MAX).map(|_| connecting.turn(1, pending::<()>()))));
        assert!(long.as_mut().now_or_never().is_none());
        assert!(
            connecting.turn(1, async {}).now_or_never().is_none(),
            "it gave up while it waited"
        );
        long.set(join_all(Vec::new()));
        assert!(connecting.turn(1, async {}).now_or_never().is_some());
    }
}
