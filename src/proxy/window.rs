//! The window of a stream of HTTP/2: whether the other side takes more.

use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::SendStream;

/// Ready when the other side takes at least a byte; false when it has gone. The library keeps what goes
/// beyond.
pub fn poll_open(stream: &mut SendStream<Bytes>, task: &mut Context<'_>) -> Poll<bool> {
    stream.reserve_capacity(1);
    while stream.capacity() == 0 {
        match ready!(stream.poll_capacity(task)) {
            Some(Ok(_)) => {}
            Some(Err(_)) | None => return Poll::Ready(false),
        }
    }
    Poll::Ready(true)
}
