//! A request body on its way up, wherever it comes from, and what is said to its sender meanwhile.

use std::task::{Context, Poll};

use super::error::ClientFault;
use crate::h1::fields::Fields;
use crate::h1::head::ResponseHead;

/// What a source has now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Bytes, by [`BodySource::data`].
    Data,
    /// Nothing any more.
    End,
}

/// Gives a request body piece by piece, without copying it.
pub trait BodySource {
    /// Ready when there are bytes or none will come. Pulls from the client only when asked, so
    /// that an upstream that does not read slows the client down.
    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Result<Progress, ClientFault>>;

    /// The bytes that are there.
    fn data(&self) -> &[u8];

    /// Marks the first bytes as used.
    fn consume(&mut self, count: usize);

    /// Trailer fields, once the end was reached.
    fn trailers(&self) -> Option<&Fields>;

    /// Takes an interim head (1xx) for the sender of the body. One that cannot be told is left out.
    fn interim(&mut self, _head: &ResponseHead) {}

    /// Ready when every interim head was told.
    fn poll_interim(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), ClientFault>> {
        Poll::Ready(Ok(()))
    }
}

/// A request without a body.
#[derive(Debug)]
pub struct NoBody;

impl BodySource for NoBody {
    fn poll_data(&mut self, _: &mut Context<'_>) -> Poll<Result<Progress, ClientFault>> {
        Poll::Ready(Ok(Progress::End))
    }

    fn data(&self) -> &[u8] {
        &[]
    }

    fn consume(&mut self, _: usize) {}

    fn trailers(&self) -> Option<&Fields> {
        None
    }
}
