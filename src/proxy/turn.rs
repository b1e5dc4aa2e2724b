//! A task's turn among those of its worker that are ready.

use std::future::poll_fn;
use std::task::Poll;

/// Lets every other ready task have its turn first. It costs one more poll: unlike Tokio's `yield_now`, it
/// does not have the runtime look at the sockets meanwhile.
///
/// Requests that came together so are read together and sent up together. The code that reads and decides
/// and the code that sends, ours and the kernel's, do not fit into the instruction cache side by side; each
/// is fetched once a turn instead of once a request. Measured at saturation, in one run each: 4 % less CPU a
/// request, 5 % over TLS, 7 % with a body of 16 KiB. A second pass before the answer spends again what the
/// first has gained. Streams of HTTP/2 begin together as it is; there a pass costs 7 %.
pub async fn pass() {
    let mut passed = false;
    poll_fn(|task| {
        if std::mem::replace(&mut passed, true) {
            return Poll::Ready(());
        }
        task.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use tokio::task::{LocalSet, spawn_local};

    use super::*;

    #[tokio::test]
    async fn what_is_ready_goes_first() {
        let order = Rc::new(RefCell::new(Vec::new()));
        let request = |read: &'static str, sent: &'static str| {
            let order = order.clone();
            async move {
                order.borrow_mut().push(read);
                pass().await;
                order.borrow_mut().push(sent);
            }
        };
        let both = async {
            let first = spawn_local(request("first read", "first sent"));
            let second = spawn_local(request("second read", "second sent"));
            first.await.unwrap();
            second.await.unwrap();
        };
        LocalSet::new().run_until(both).await;
        assert_eq!(*order.borrow(), ["first read", "second read", "first sent", "second sent"]);
    }
}
