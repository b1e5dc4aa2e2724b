//! After a 101, or a 200 to an extended CONNECT: bytes both ways until either side ends.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::io::poll_read_buf;

use super::attempt::Attempt;
use super::client::Client;
use super::context::RequestCx;
use super::http2::Duplex;
use super::respond;
use super::worker::Worker;
use crate::h1::head::{HttpVersion, ResponseHead};

/// Gives the 101 to the client and carries bytes until both directions have ended. There is no
/// time-out: upgraded connections are quiet for as long as they like.
pub async fn run(
    mut cx: RequestCx,
    client: &mut Client,
    attempt: Attempt,
    answer: &ResponseHead,
    out: &mut Vec<u8>,
) {
    out.clear();
    respond::head(out, &cx, answer, HttpVersion::Http11, false, true);
    let early = client.take_unread();
    open(&mut cx, (&mut client.stream, early), attempt, std::mem::take(out)).await;
    cx.close(101);
}

/// The same over a stream of HTTP/2, whose client was told already.
pub async fn run_stream(mut cx: RequestCx, mut client: Duplex, attempt: Attempt) {
    open(&mut cx, (&mut client, Vec::new()), attempt, Vec::new()).await;
    // What the client was told by HTTP/2, which has no 101.
    cx.close(200);
}

/// Opens the upstream's side and carries, `answer` before anything else down.
async fn open(
    cx: &mut RequestCx,
    client: (&mut (impl AsyncRead + AsyncWrite + Unpin), Vec<u8>),
    attempt: Attempt,
    mut answer: Vec<u8>,
) {
    match attempt {
        Attempt::H1(exchange) => {
            let Some((mut connection, _flight, late)) = exchange.into_tunnel() else { return };
            answer.extend_from_slice(&late);
            carry(cx, client, (&mut connection.stream, answer)).await;
        }
        Attempt::H2(mut exchange) => {
            let Some(mut upstream) = exchange.take_opening() else { return };
            carry(cx, client, (&mut upstream, answer)).await;
        }
    }
}

/// Carries what each side has sent already and what it sends, towards the other.
async fn carry(
    cx: &mut RequestCx,
    (client, early): (&mut (impl AsyncRead + AsyncWrite + Unpin), Vec<u8>),
    (upstream, late): (&mut (impl AsyncRead + AsyncWrite + Unpin), Vec<u8>),
) {
    let worker = cx.worker.clone();
    let mut up = Pipe { buffer: early, ..Pipe::default() };
    let mut down = Pipe { buffer: late, ..Pipe::default() };
    poll_fn(|task| {
        let upward = up.poll(task, &worker, client, upstream);
        let downward = down.poll(task, &worker, upstream, client);
        match (upward, downward) {
            // A client may stop sending and still listen; an upstream that has ended is the end.
            (_, Poll::Ready(_)) | (Poll::Ready(Err(_)), _) => Poll::Ready(()),
            _ => Poll::Pending,
        }
    })
    .await;
    cx.bytes_in = up.moved;
    cx.bytes_out = down.moved;
}

/// One direction of a tunnel; holds a buffer only while there is something in it.
#[derive(Debug, Default)]
struct Pipe {
    buffer: Vec<u8>,
    written: usize,
    moved: u64,
    ended: bool,
    shut: bool,
}

impl Pipe {
    fn poll(
        &mut self,
        task: &mut Context<'_>,
        worker: &Worker,
        from: &mut (impl AsyncRead + Unpin),
        to: &mut (impl AsyncWrite + Unpin),
    ) -> Poll<std::io::Result<()>> {
        loop {
            while self.written < self.buffer.len() {
                let rest = &self.buffer[self.written..];
                let count = std::task::ready!(Pin::new(&mut *to).poll_write(task, rest))?;
                if count == 0 {
                    return Poll::Ready(Err(std::io::ErrorKind::WriteZero.into()));
                }
                self.written += count;
                self.moved += count as u64;
            }
            std::task::ready!(Pin::new(&mut *to).poll_flush(task))?;
            self.buffer.clear();
            self.written = 0;
            if self.ended {
                if !self.shut {
                    std::task::ready!(Pin::new(&mut *to).poll_shutdown(task))?;
                    self.shut = true;
                }
                return Poll::Ready(Ok(()));
            }
            if self.buffer.capacity() == 0 {
                self.buffer = worker.buffers.take_client();
            }
            match poll_read_buf(Pin::new(&mut *from), task, &mut self.buffer) {
                Poll::Ready(Ok(0)) => self.ended = true,
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    worker.buffers.give_client(std::mem::take(&mut self.buffer));
                    return Poll::Pending;
                }
            }
        }
    }
}
