//! A request body that goes two ways: to the original as ever, and into a bounded queue.
//!
//! The original sets the pace and never waits. A copy that falls behind by more than the queue
//! holds is given up.

use std::cell::RefCell;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use super::Miss;
use crate::clock;
use crate::h1::fields::Fields;
use crate::h1::head::ResponseHead;
use crate::proxy::body::{BodySource, Progress};
use crate::proxy::error::ClientFault;

/// The bytes that one copy has still to send.
#[derive(Debug)]
pub struct Queue {
    bytes_max: usize,
    state: RefCell<State>,
}

#[derive(Debug, Default)]
struct State {
    bytes: Vec<u8>,
    /// Bytes here and in the hands of the reader.
    waiting: usize,
    ended: Option<Instant>,
    trailers: Option<Fields>,
    miss: Option<Miss>,
    reader: Option<Waker>,
}

impl State {
    fn wake(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }
}

impl Queue {
    /// An empty queue for at most so many bytes.
    pub fn new(bytes_max: usize) -> Self {
        Self { bytes_max, state: RefCell::default() }
    }

    fn push(&self, bytes: &[u8]) {
        let mut state = self.state.borrow_mut();
        if state.miss.is_some() {
            return;
        }
        if state.waiting + bytes.len() > self.bytes_max {
            drop(state);
            return self.give_up(Miss::TeeOverflow);
        }
        state.waiting += bytes.len();
        state.bytes.extend_from_slice(bytes);
        state.wake();
    }

    fn end(&self, trailers: Option<&Fields>, at: Instant) {
        let mut state = self.state.borrow_mut();
        if state.ended.is_none() {
            state.ended = Some(at);
            state.trailers = trailers.cloned();
            state.wake();
        }
    }

    /// When the original had sent all of its body.
    pub fn ended(&self) -> Option<Instant> {
        self.state.borrow().ended
    }

    /// Nothing more comes: the copy is void, unless it has everything already.
    pub fn give_up(&self, miss: Miss) {
        let mut state = self.state.borrow_mut();
        if state.ended.is_none() && state.miss.is_none() {
            state.miss = Some(miss);
            state.bytes = Vec::new();
            state.wake();
        }
    }

    /// Ready when the copy was given up. The task is woken then, and by every byte.
    pub fn poll_given_up(&self, cx: &Context<'_>) -> Poll<Miss> {
        let mut state = self.state.borrow_mut();
        if let Some(miss) = state.miss {
            return Poll::Ready(miss);
        }
        let same = state.reader.as_ref().is_some_and(|reader| reader.will_wake(cx.waker()));
        if !same {
            state.reader = Some(cx.waker().clone());
        }
        Poll::Pending
    }
}

/// The queues that a request body is copied into; none when there is no copy or no body.
pub type Queues = Option<Rc<[Rc<Queue>]>>;

/// A body source that copies what its user takes.
pub struct Tee<'a> {
    source: &'a mut dyn BodySource,
    queues: Queues,
}

impl<'a> Tee<'a> {
    /// Copies from `source` into `queues`.
    pub fn new(source: &'a mut dyn BodySource, queues: Queues) -> Self {
        Self { source, queues }
    }
}

impl BodySource for Tee<'_> {
    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Result<Progress, ClientFault>> {
        let came = self.source.poll_data(cx);
        if let (Some(queues), Poll::Ready(Ok(Progress::End))) = (&self.queues, &came) {
            let now = clock::now();
            for queue in queues.iter() {
                queue.end(self.source.trailers(), now);
            }
        }
        came
    }

    fn data(&self) -> &[u8] {
        self.source.data()
    }

    fn consume(&mut self, count: usize) {
        for queue in self.queues.iter().flat_map(|queues| queues.iter()) {
            queue.push(&self.source.data()[..count]);
        }
        self.source.consume(count);
    }

    fn trailers(&self) -> Option<&Fields> {
        self.source.trailers()
    }

    fn interim(&mut self, head: &ResponseHead) {
        self.source.interim(head);
    }

    fn poll_interim(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ClientFault>> {
        self.source.poll_interim(cx)
    }
}

/// The body of a copy: what the queue has.
#[derive(Debug)]
pub struct CopyBody {
    queue: Rc<Queue>,
    data: Vec<u8>,
    used: usize,
    trailers: Option<Fields>,
}

impl CopyBody {
    /// The only reader of a queue.
    pub fn new(queue: Rc<Queue>) -> Self {
        Self { queue, data: Vec::new(), used: 0, trailers: None }
    }
}

impl BodySource for CopyBody {
    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Result<Progress, ClientFault>> {
        if self.used < self.data.len() {
            return Poll::Ready(Ok(Progress::Data));
        }
        self.data.clear();
        self.used = 0;
        if self.queue.poll_given_up(cx).is_ready() {
            return Poll::Ready(Err(ClientFault::Gone));
        }
        let mut state = self.queue.state.borrow_mut();
        if !state.bytes.is_empty() {
            std::mem::swap(&mut self.data, &mut state.bytes);
            return Poll::Ready(Ok(Progress::Data));
        }
        if state.ended.is_some() {
            self.trailers = self.trailers.take().or_else(|| state.trailers.take());
            return Poll::Ready(Ok(Progress::End));
        }
        Poll::Pending
    }

    fn data(&self) -> &[u8] {
        &self.data[self.used..]
    }

    fn consume(&mut self, count: usize) {
        self.used += count;
        self.queue.state.borrow_mut().waiting -= count;
    }

    fn trailers(&self) -> Option<&Fields> {
        self.trailers.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A client that sends these pieces, one after each time it is found to have sent nothing.
    struct Pieces {
        pieces: Vec<Vec<u8>>,
        place: usize,
        used: usize,
        pauses: bool,
    }

    impl Pieces {
        fn new(pieces: &[Vec<u8>]) -> Self {
            let pieces = pieces.iter().filter(|piece| !piece.is_empty()).cloned().collect();
            Self { pieces, place: 0, used: 0, pauses: false }
        }
    }

    impl BodySource for Pieces {
        fn poll_data(&mut self, _: &mut Context<'_>) -> Poll<Result<Progress, ClientFault>> {
            self.pauses = !self.pauses;
            match self.pieces.get(self.place) {
                Some(_) if self.pauses && self.used == 0 => Poll::Pending,
                Some(_) => Poll::Ready(Ok(Progress::Data)),
                None => Poll::Ready(Ok(Progress::End)),
            }
        }

        fn data(&self) -> &[u8] {
            self.pieces.get(self.place).map_or(&[], |piece| &piece[self.used..])
        }

        fn consume(&mut self, count: usize) {
            self.used += count;
            if self.used == self.pieces[self.place].len() {
                (self.place, self.used) = (self.place + 1, 0);
            }
        }

        fn trailers(&self) -> Option<&Fields> {
            None
        }
    }

    /// Takes at most `count` bytes; true at the end or when the source has failed.
    fn take(source: &mut dyn BodySource, count: usize, into: &mut Vec<u8>) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        match source.poll_data(&mut cx) {
            Poll::Pending => false,
            Poll::Ready(Ok(Progress::Data)) => {
                let count = count.clamp(1, source.data().len());
                into.extend_from_slice(&source.data()[..count]);
                source.consume(count);
                false
            }
            Poll::Ready(Ok(Progress::End) | Err(_)) => true,
        }
    }

    proptest! {
        /// Whatever the chunks, the bound and the pace of the copy, the original gets every byte;
        /// the copy gets every byte or is given up, and never holds more than the bound.
        #[test]
        fn the_original_gets_every_byte(
            pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..12),
            bytes_max in 0usize..200,
            steps in prop::collection::vec((1usize..30, prop::option::of(1usize..30)), 1..8),
        ) {
            let whole = pieces.concat();
            let mut source = Pieces::new(&pieces);
            let queue = Rc::new(Queue::new(bytes_max));
            let mut copy = CopyBody::new(queue.clone());
            let (mut sent, mut copied) = (Vec::new(), Vec::new());
            let mut steps = steps.iter().cycle();
            loop {
                let (by_original, by_copy) = steps.next().unwrap();
                let mut tee = Tee::new(&mut source, Some(Rc::new([queue.clone()])));
                let ended = take(&mut tee, *by_original, &mut sent);
                if let Some(count) = by_copy {
                    take(&mut copy, *count, &mut copied);
                }
                let held = queue.state.borrow().bytes.len() + copy.data().len();
                prop_assert!(held <= bytes_max);
                if ended {
                    break;
                }
            }
            prop_assert_eq!(&sent, &whole);
            while !take(&mut copy, usize::MAX, &mut copied) {}
            match queue.state.borrow().miss {
                None => prop_assert_eq!(&copied, &whole),
                Some(miss) => {
                    prop_assert_eq!(miss, Miss::TeeOverflow);
                    prop_assert!(whole.len() > bytes_max);
                    prop_assert!(whole.starts_with(&copied));
                }
            }
        }
    }

    #[test]
    fn a_copy_that_has_everything_is_not_given_up() {
        let cx = Context::from_waker(Waker::noop());
        let queue = Queue::new(10);
        queue.end(None, clock::now());
        queue.give_up(Miss::PrimaryIncomplete);
        assert!(queue.poll_given_up(&cx).is_pending());
        let cut = Queue::new(10);
        cut.push(b"half");
        cut.give_up(Miss::PrimaryIncomplete);
        assert_eq!(cut.poll_given_up(&cx), Poll::Ready(Miss::PrimaryIncomplete));
        assert!(cut.state.borrow().bytes.is_empty());
    }
}
