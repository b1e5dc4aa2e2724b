//! Tasks that serve one stream after another.
//!
//! To begin a task and to end it takes two dozen atomic steps and some kilobytes of memory, which is a tenth of what
//! a small request over HTTP/2 costs. One that has served a stream is there for the next, its timer armed.

use std::cell::RefCell;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};

use super::stream::Incoming;
use super::streams::Streams;
use crate::limits::CREW_KEPT;
use crate::proxy::alarm::Alarm;

/// The tasks of one worker that wait for a stream, whatever connection it is of. The last to rest is the first to
/// be called: what it worked with is in the cache.
#[derive(Debug, Default)]
pub struct Crew(RefCell<Vec<Rc<Member>>>);

/// A task, as seen by who calls it.
#[derive(Debug, Default)]
struct Member {
    next: RefCell<Option<Work>>,
    waker: RefCell<Option<Waker>>,
}

type Work = (Incoming, Rc<Streams>);

/// Serves a stream as one of these, in a task of its own.
pub fn serve(stream: Incoming, streams: Rc<Streams>) {
    let resting = stream.worker.crew.0.borrow_mut().pop();
    let work = (stream, streams);
    match resting {
        Some(member) => member.call(work),
        // Boxed: the runtime moves what it runs six times from its beginning to its end.
        None => drop(tokio::task::spawn_local(Box::pin(Rc::<Member>::default().work(work)))),
    }
}

impl Member {
    fn call(&self, work: Work) {
        self.next.replace(Some(work));
        if let Some(waker) = &*self.waker.borrow() {
            waker.wake_by_ref();
        }
    }

    /// Serves what comes, until there are enough others who wait.
    async fn work(self: Rc<Self>, first: Work) {
        let mut alarm = Alarm::default();
        let mut work = first;
        loop {
            let (stream, streams) = work;
            let worker = stream.worker.clone();
            stream.serve(streams, &mut alarm).await;
            if !worker.crew.rest(&self) {
                return;
            }
            drop(worker);
            work = self.next().await;
        }
    }

    async fn next(&self) -> Work {
        poll_fn(|task| {
            if let Some(work) = self.next.take() {
                return Poll::Ready(work);
            }
            let mut waker = self.waker.borrow_mut();
            if waker.as_ref().is_none_or(|waker| !waker.will_wake(task.waker())) {
                *waker = Some(task.waker().clone());
            }
            Poll::Pending
        })
        .await
    }
}

impl Crew {
    /// False when there is no room for another.
    fn rest(&self, member: &Rc<Member>) -> bool {
        let mut resting = self.0.borrow_mut();
        let has_room = resting.len() < CREW_KEPT;
        if has_room {
            resting.push(member.clone());
        }
        has_room
    }
}
