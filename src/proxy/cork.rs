//! HTTP/2 writes, corked: one write to the socket per turn of the scheduler instead of one a frame.
//!
//! The library flushes whenever it has no room for another frame. On a TLS connection each flush is a
//! record and a system call; collecting them halves the cost of a small answer.

use std::cell::Cell;
use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker, ready};

use futures_util::task::AtomicWaker;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::net::Stream;

/// Bytes collected before writing at once: beyond it the writer waits for the socket.
const COLLECT_BYTES: usize = 64 * 1024;

/// Whether there was nothing to read when the stream was asked last. The library asks again for each stream of HTTP/2
/// that it hands over.
#[derive(Debug, Clone, Default)]
pub struct Dry(Rc<Cell<bool>>);

impl Dry {
    /// Another poll of the task begins.
    pub fn clear(&self) {
        self.0.set(false);
    }
}

/// A stream whose writes wait for the end of the turn.
#[derive(Debug)]
pub struct Cork {
    stream: Stream,
    /// Bytes that were read already and come first.
    begun: Vec<u8>,
    dry: Option<Dry>,
    waiting: Vec<u8>,
    written: usize,
    /// Whom the end of the turn wakes, when what waits is to be written then.
    held: Option<Waker>,
    turn: Arc<Turn>,
}

/// The end of a turn of the scheduler: all tasks that were ready have run, and the sockets were asked
/// for more. The task itself is woken before that by each stream that has something to say, so that
/// being polled again tells nothing.
#[derive(Debug, Default)]
struct Turn {
    ended: AtomicBool,
    task: AtomicWaker,
}

impl Turn {
    /// Wakes the task once at the end of this turn.
    fn begin(self: &Arc<Self>, cx: &Context<'_>) {
        self.ended.store(false, Ordering::Relaxed);
        self.task.register(cx.waker());
        let waker = Waker::from(self.clone());
        // The runtime keeps the waker until the turn ends, whatever becomes of the future.
        let _ = pin!(tokio::task::yield_now()).poll(&mut Context::from_waker(&waker));
    }

    fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }
}

impl Wake for Turn {
    fn wake(self: Arc<Self>) {
        self.ended.store(true, Ordering::Relaxed);
        self.task.wake();
    }
}

impl Cork {
    /// Collects writes to `stream`.
    pub fn new(stream: Stream, begun: Vec<u8>) -> Self {
        let turn = Arc::default();
        Self { stream, begun, dry: None, waiting: Vec::new(), written: 0, held: None, turn }
    }

    /// Has the socket asked once in each poll, which begins with this being cleared.
    pub fn ask_once(&mut self) -> Dry {
        self.dry.get_or_insert_default().clone()
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
        if !self.begun.is_empty() {
            let count = self.begun.len().min(buf.remaining());
            buf.put_slice(&self.begun[..count]);
            self.begun.drain(..count);
            return Poll::Ready(Ok(()));
        }
        // The task was told of when it was asked before.
        if self.dry.as_ref().is_some_and(|dry| dry.0.get()) {
            return Poll::Pending;
        }
        let came = Pin::new(&mut self.stream).poll_read(cx, buf);
        if let Some(dry) = &self.dry {
            dry.0.set(came.is_pending());
        }
        came
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

    /// Ready as long as what waits is held back: a caller that had to wait would hand over no more.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.waiting.is_empty() {
            return Pin::new(&mut self.stream).poll_flush(cx);
        }
        // To tell the turn again what it knows would cost two atomic steps a frame.
        if !self.held.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            match self.held {
                None => self.turn.begin(cx),
                Some(_) => self.turn.task.register(cx.waker()),
            }
            self.held = Some(cx.waker().clone());
        }
        if !self.turn.has_ended() {
            return Poll::Ready(Ok(()));
        }
        ready!(self.poll_drain(cx))?;
        self.held = None;
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_drain(cx))?;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    async fn pair() -> (Cork, tokio::net::TcpStream) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = tokio::net::TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (Cork::new(Stream::Tcp(listener.accept().await.unwrap().0), Vec::new()), client)
    }

    #[tokio::test]
    async fn what_is_written_in_one_turn_goes_out_at_its_end() {
        let (mut cork, mut client) = pair().await;
        cork.write_all(b"one ").await.unwrap();
        cork.write_all(b"two").await.unwrap();
        assert_eq!((cork.waiting.as_slice(), cork.written), (&b"one two"[..], 0));
        // Whoever flushes may go on writing.
        cork.flush().await.unwrap();
        assert!(cork.held.is_some());
        cork.write_all(b" three").await.unwrap();
        cork.flush().await.unwrap();
        assert_eq!(cork.waiting, b"one two three");
        tokio::task::yield_now().await;
        tokio::task::yield_now().await;
        cork.flush().await.unwrap();
        assert!(cork.waiting.is_empty() && cork.held.is_none());
        let mut came = [0; 13];
        client.read_exact(&mut came).await.unwrap();
        assert_eq!(&came, b"one two three");
    }

    #[tokio::test]
    async fn a_reader_that_is_slow_is_waited_for_and_nothing_is_lost() {
        let (mut cork, mut client) = pair().await;
        let sent: Vec<u8> = (0..8 * 1024 * 1024_u32).map(|n| (n % 251) as u8).collect();
        let expect = sent.clone();
        let write = async move {
            for piece in sent.chunks(10_000) {
                cork.write_all(piece).await.unwrap();
                assert!(cork.waiting.len() < COLLECT_BYTES + 10_000, "memory is bounded");
            }
            // The end writes what still waits.
            cork.shutdown().await.unwrap();
        };
        let mut came = Vec::new();
        let (_, read) = tokio::join!(write, client.read_to_end(&mut came));
        read.unwrap();
        assert!(came == expect);
    }

    #[tokio::test]
    async fn a_socket_that_had_nothing_is_asked_again_in_the_next_poll() {
        let (mut cork, mut client) = pair().await;
        let dry = cork.ask_once();
        let mut read = async |is_new: bool| {
            let mut room = [0; 8];
            let mut buf = ReadBuf::new(&mut room);
            if is_new {
                dry.clear();
            }
            let asked = poll_fn(|cx| Poll::Ready(Pin::new(&mut cork).poll_read(cx, &mut buf)));
            asked.await.is_ready().then(|| buf.filled().to_vec())
        };
        assert_eq!(read(true).await, None);
        client.write_all(b"here").await.unwrap();
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        assert_eq!(read(false).await, None, "not twice in a poll");
        let came = loop {
            tokio::task::yield_now().await;
            if let Some(came) = read(true).await {
                break came;
            }
        };
        assert_eq!(came, b"here");
    }
}
