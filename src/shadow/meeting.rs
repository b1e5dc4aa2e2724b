//! Where the answer of the original and that of its copy meet.
//!
//! Both sides of a meeting are tasks of one worker. The copy is mostly answered last: the original
//! leaves its answer and wakes nobody, unless the copy waits for it or is void without it.

use std::cell::RefCell;
use std::task::{Context, Poll, Waker};

use super::Miss;
use super::answer::Observed;

/// What the original leaves for its copy.
#[derive(Debug, Default)]
pub struct Meeting(RefCell<State>);

#[derive(Debug, Default)]
struct State {
    /// The original's answer as far as it has come.
    original: Option<Observed>,
    /// Whether it is complete, or why it will not be.
    left: Option<Result<(), Miss>>,
    /// The task of the copy, once it has looked in vain.
    copy: Option<Waker>,
    /// Whether the copy has its own answer and waits for nothing else.
    awaited: bool,
}

impl State {
    fn know(&mut self, cx: &Context<'_>) {
        if !self.copy.as_ref().is_some_and(|copy| copy.will_wake(cx.waker())) {
            self.copy = Some(cx.waker().clone());
        }
    }
}

impl Meeting {
    /// Notes the head of the original's answer.
    pub fn observe(&self, head: Observed) {
        self.0.borrow_mut().original = Some(head);
    }

    /// Notes a piece of its body.
    pub fn piece(&self, piece: &[u8]) {
        if let Some(original) = &mut self.0.borrow_mut().original {
            original.body.push(piece);
        }
    }

    /// The original's answer is complete.
    pub fn complete(&self) {
        let observed = self.0.borrow().original.is_some();
        self.leave(if observed { Ok(()) } else { Err(Miss::PrimaryIncomplete) });
    }

    /// There is nothing to compare the copy's answer with, unless all of it is there already.
    pub fn give_up(&self, miss: Miss) {
        self.leave(Err(miss));
    }

    fn leave(&self, left: Result<(), Miss>) {
        let mut state = self.0.borrow_mut();
        if state.left.is_some() {
            return;
        }
        state.left = Some(left);
        if (state.awaited || left.is_err())
            && let Some(copy) = state.copy.take()
        {
            copy.wake();
        }
    }

    /// Ready when the original has no answer to compare. The task is woken then.
    pub fn poll_given_up(&self, cx: &Context<'_>) -> Poll<Miss> {
        let mut state = self.0.borrow_mut();
        if let Some(Err(miss)) = state.left {
            return Poll::Ready(miss);
        }
        state.know(cx);
        Poll::Pending
    }

    /// Takes the original's answer. The task is woken when it is there.
    pub fn poll_answer(&self, cx: &Context<'_>) -> Poll<Result<Observed, Miss>> {
        let mut state = self.0.borrow_mut();
        match state.left {
            Some(Ok(())) => Poll::Ready(state.original.take().ok_or(Miss::PrimaryIncomplete)),
            Some(Err(miss)) => Poll::Ready(Err(miss)),
            None => {
                state.awaited = true;
                state.know(cx);
                Poll::Pending
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;
    use std::time::Duration;

    use super::*;
    use crate::h1::fields::Fields;
    use crate::shadow::answer::Kept;

    #[derive(Default)]
    struct Wakes(AtomicUsize);

    impl Wake for Wakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn head() -> Observed {
        let (fields, body) = (Fields::default(), Kept::new(8));
        Observed { status: 204, fields, body, latency: Duration::ZERO }
    }

    #[test]
    fn a_copy_is_woken_when_it_waits_for_the_answer_or_is_void_without_it() {
        // What was looked for, what the original left, and how often the copy was woken.
        let cases: [(bool, Result<(), Miss>, usize); 4] = [
            (false, Ok(()), 0),
            (false, Err(Miss::SameVersion), 1),
            (true, Ok(()), 1),
            (true, Err(Miss::SameVersion), 1),
        ];
        for (awaited, left, expect) in cases {
            let wakes = Arc::new(Wakes::default());
            let waker = Waker::from(wakes.clone());
            let cx = Context::from_waker(&waker);
            let meeting = Meeting::default();
            match awaited {
                true => assert!(meeting.poll_answer(&cx).is_pending()),
                false => assert!(meeting.poll_given_up(&cx).is_pending()),
            }
            meeting.observe(head());
            match left {
                Ok(()) => meeting.complete(),
                Err(miss) => meeting.give_up(miss),
            }
            // The end of a request gives up whatever is not complete.
            meeting.give_up(Miss::PrimaryIncomplete);
            assert_eq!(wakes.0.load(Ordering::Relaxed), expect, "{awaited} {left:?}");
            let given_up = meeting.poll_given_up(&cx);
            assert_eq!(given_up, left.map_or_else(Poll::Ready, |()| Poll::Pending));
            let Poll::Ready(answer) = meeting.poll_answer(&cx) else { panic!("{left:?} is lost") };
            assert_eq!(answer.map(|answer| answer.status), left.map(|()| 204));
        }
    }

    #[test]
    fn an_answer_without_a_head_is_none() {
        let cx = Context::from_waker(Waker::noop());
        let meeting = Meeting::default();
        meeting.piece(b"lost");
        meeting.complete();
        assert_eq!(meeting.poll_given_up(&cx), Poll::Ready(Miss::PrimaryIncomplete));
    }
}
