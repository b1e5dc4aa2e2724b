//! HTTP/2 writes, corked: one write to the socket per turn of the scheduler instead of one a frame.
//!
//! hyper flushes after every frame it has. On a TLS connection each flush is a record and a system
//! call; collecting them halves the cost of a small answer.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::net::Stream;

/// Bytes collected before writing at once: beyond it the writer waits for the socket.
const COLLECT_BYTES: usize = 64 * 1024;

/// A stream whose writes wait for the end of the turn.
#[derive(Debug)]
pub struct Cork {
    stream: Stream,
    waiting: Vec<u8>,
    written: usize,
    /// Whether the task was asked to come again, so that what waits is written.
    woken: bool,
}

impl Cork {
    /// Collects writes to `stream`.
    pub fn new(stream: Stream) -> Self {
        Self { stream, waiting: Vec::new(), written: 0, woken: false }
    }

    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.written < self.waiting.len() {
            let rest = &self.waiting[self.written..];
            match ready!(Pin::new(&mut self.stream).poll_write(cx, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => self.written += count,
            }
        }
        self.waiting.clear();
        self.written = 0;
        if self.waiting.capacity() > 2 * COLLECT_BYTES {
            self.waiting = Vec::new();
        }
        Pin::new(&mut self.stream).poll_flush(cx)
    }
}

impl AsyncRead for Cork {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Cork {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.waiting.len() >= COLLECT_BYTES {
            ready!(self.poll_drain(cx))?;
        }
        self.waiting.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.waiting.is_empty() {
            return Pin::new(&mut self.stream).poll_flush(cx);
        }
        // The first flush of a turn asks to be called again after the other tasks that are ready,
        // which may write more; the second one writes it all.
        if !self.woken {
            self.woken = true;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        ready!(self.poll_drain(cx))?;
        self.woken = false;
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_drain(cx))?;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
