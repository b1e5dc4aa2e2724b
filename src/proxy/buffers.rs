//! The worker's buffers: taken while bytes flow, given back as soon as none do.
//!
//! An idle connection holds none, so that ten thousand of them cost kilobytes and not gigabytes.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use super::attempt::Attempt;
use super::context::RequestCx;
use crate::h1::head::{RequestHead, ResponseHead};
use crate::limits::{
    CLIENT_BUFFER_BYTES, HEAD_BUFFER_BYTES, HEAD_BUFFERS_KEPT, READ_BUFFER_BYTES, READ_BUFFERS_KEPT,
};

/// What one request needs while it is served.
#[derive(Debug, Default)]
pub struct Scratch {
    pub request: RequestHead,
    pub response: ResponseHead,
    /// The books of the request. They and the attempt are kept here because they are large: in the
    /// futures they would be moved from one to the next, and the allocator takes four times as long for
    /// a future of more than a KiB.
    pub cx: Option<RequestCx>,
    /// The attempt that is under way or was answered.
    pub attempt: Option<Attempt>,
    /// Bytes on their way to the client: a buffer of the pool while there are some.
    pub out: Vec<u8>,
}

/// Pools of one worker; last in, first out, so that what is taken is warm.
#[derive(Debug, Default)]
pub struct Buffers {
    client: RefCell<Vec<Vec<u8>>>,
    upstream: RefCell<Vec<Vec<u8>>>,
    heads: RefCell<Vec<Vec<u8>>>,
    outs: RefCell<Vec<Vec<u8>>>,
    #[expect(clippy::vec_box, reason = "lent out and taken back without moving it")]
    scratch: RefCell<Vec<Box<Scratch>>>,
    /// Bytes of what is lent out with something in it.
    held: Rc<Cell<u64>>,
}

/// The memory that one side of one exchange fills, in its worker's sum for as long as it does.
#[derive(Debug)]
pub struct Held {
    sum: Rc<Cell<u64>>,
    bytes: u64,
}

impl Held {
    /// It is so much now.
    pub fn set(&mut self, bytes: usize) {
        let bytes = bytes as u64;
        self.sum.set(self.sum.get() + bytes - self.bytes);
        self.bytes = bytes;
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.set(0);
    }
}

impl Buffers {
    /// A part of the sum, still empty.
    pub fn hold(&self) -> Held {
        Held { sum: self.held.clone(), bytes: 0 }
    }

    /// Bytes that are held in all.
    pub fn held(&self) -> u64 {
        self.held.get()
    }

    /// A buffer for a client's bytes.
    pub fn take_client(&self) -> Vec<u8> {
        let taken = self.client.borrow_mut().pop();
        taken.unwrap_or_else(|| Vec::with_capacity(CLIENT_BUFFER_BYTES))
    }

    /// Gives a client's buffer back. One that has grown is not kept.
    pub fn give_client(&self, buffer: Vec<u8>) {
        give(&self.client, buffer, CLIENT_BUFFER_BYTES, HEAD_BUFFERS_KEPT);
    }

    /// A buffer for an upstream's bytes.
    pub fn take_upstream(&self) -> Vec<u8> {
        let taken = self.upstream.borrow_mut().pop();
        taken.unwrap_or_else(|| Vec::with_capacity(READ_BUFFER_BYTES))
    }

    /// Gives an upstream's buffer back.
    pub fn give_upstream(&self, buffer: Vec<u8>) {
        give(&self.upstream, buffer, READ_BUFFER_BYTES, READ_BUFFERS_KEPT);
    }

    /// A buffer for a request head on its way up.
    pub fn take_head(&self) -> Vec<u8> {
        let taken = self.heads.borrow_mut().pop();
        taken.unwrap_or_else(|| Vec::with_capacity(HEAD_BUFFER_BYTES))
    }

    /// Gives a request head's buffer back. One that was joined by much of a body is not kept.
    pub fn give_head(&self, buffer: Vec<u8>) {
        give(&self.heads, buffer, HEAD_BUFFER_BYTES, HEAD_BUFFERS_KEPT);
    }

    /// A buffer for an answer on its way to a client.
    pub fn take_out(&self) -> Vec<u8> {
        self.outs.borrow_mut().pop().unwrap_or_default()
    }

    /// What one request needs while it is served.
    pub fn take_scratch(&self) -> Box<Scratch> {
        self.scratch.borrow_mut().pop().unwrap_or_default()
    }

    /// Gives a request's scratch back.
    pub fn give_scratch(&self, mut scratch: Box<Scratch>) {
        (scratch.attempt, scratch.cx) = (None, None);
        let mut out = std::mem::take(&mut scratch.out);
        let mut outs = self.outs.borrow_mut();
        if (1..=READ_BUFFER_BYTES).contains(&out.capacity()) && outs.len() < HEAD_BUFFERS_KEPT {
            out.clear();
            outs.push(out);
        }
        let mut kept = self.scratch.borrow_mut();
        if kept.len() < HEAD_BUFFERS_KEPT {
            scratch.request.clear();
            scratch.response.clear();
            kept.push(scratch);
        }
    }
}

fn give(pool: &RefCell<Vec<Vec<u8>>>, mut buffer: Vec<u8>, bytes: usize, kept: usize) {
    let mut pool = pool.borrow_mut();
    // A buffer of another capacity has been moved from or has grown: the pool holds one size.
    if buffer.capacity() >= bytes && buffer.capacity() < 2 * bytes && pool.len() < kept {
        buffer.clear();
        pool.push(buffer);
    }
}
