//! The client's side of an HTTP/1.1 connection: bytes in and out, and the body between them.

use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::AsyncWrite;

use super::body::{BodySource, Progress};
use super::buffers::{Buffers, Held};
use super::error::ClientFault;
use crate::h1::body::Decoder;
use crate::h1::fields::Fields;
use crate::h1::head::{HttpVersion, RequestHead, ResponseHead};
use crate::h1::write;
use crate::limits::CLIENT_BUFFER_BYTES;
use crate::net::Stream;

/// A client's stream with the bytes that were read and not yet used.
#[derive(Debug)]
pub struct Client {
    pub stream: Stream,
    buffer: Vec<u8>,
    start: usize,
    held: Held,
}

impl Client {
    /// A client from which so much was read already.
    pub fn new(stream: Stream, begun: Vec<u8>, held: Held) -> Self {
        Self { stream, buffer: begun, start: 0, held }
    }

    /// Bytes that were read and not used.
    pub fn unread(&self) -> &[u8] {
        &self.buffer[self.start..]
    }

    /// Marks the first bytes as used.
    pub fn consume(&mut self, count: usize) {
        self.start += count;
        if self.start == self.buffer.len() {
            self.buffer.clear();
            self.start = 0;
        }
    }

    /// Takes all unread bytes, for a tunnel.
    pub fn take_unread(&mut self) -> Vec<u8> {
        let unread = self.unread().to_vec();
        self.consume(unread.len());
        unread
    }

    /// Gives the buffer back while there is nothing in it.
    pub fn rest(&mut self, buffers: &Buffers) {
        if self.buffer.is_empty() && self.buffer.capacity() > 0 {
            buffers.give_client(std::mem::take(&mut self.buffer));
            self.start = 0;
            self.held.set(0);
        }
    }

    /// Reads more; 0 is the end of the stream. Holds a buffer only while there is something in it.
    pub fn poll_fill(
        &mut self,
        cx: &mut Context<'_>,
        buffers: &Buffers,
    ) -> Poll<io::Result<usize>> {
        if self.buffer.capacity() == 0 {
            self.buffer = buffers.take_client();
        }
        if self.buffer.len() == self.buffer.capacity() {
            match self.start {
                0 => self.buffer.reserve(CLIENT_BUFFER_BYTES),
                start => {
                    self.buffer.drain(..start);
                    self.start = 0;
                }
            }
        }
        let read = self.stream.poll_fill(cx, &mut self.buffer);
        if read.is_pending() {
            self.rest(buffers);
        }
        self.held.set(self.buffer.capacity());
        read
    }

    /// Writes `head` and then `body` from `done` on, in one call where it can.
    pub fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        head: &[u8],
        body: &[u8],
        done: &mut usize,
    ) -> Poll<Result<(), ClientFault>> {
        while *done < head.len() + body.len() {
            let of_head = head.len().min(*done);
            let (head, body) = (&head[of_head..], &body[*done - of_head..]);
            match ready!(self.stream.poll_send(cx, head, body)) {
                Ok(0) | Err(_) => return Poll::Ready(Err(ClientFault::Gone)),
                Ok(count) => *done += count,
            }
        }
        // A plain socket has nothing to flush; TLS may hold a record that did not fit.
        Pin::new(&mut self.stream).poll_flush(cx).map_err(|_| ClientFault::Gone)
    }
}

/// The state of reading one request body.
#[derive(Debug)]
pub struct Upload {
    decoder: Decoder,
    /// Where in the client's buffer the body bytes that were found lie.
    piece: Range<usize>,
    pub received: u64,
    max: u64,
    /// The client waits for `100 Continue`; it is told before the first read.
    waits: bool,
    /// Interim heads still to be sent.
    interim: Vec<u8>,
    told: usize,
    speaks_interim: bool,
}

impl Upload {
    /// The body of a request, not yet begun.
    pub fn new(head: &RequestHead, max: Option<u64>) -> Self {
        Self {
            decoder: Decoder::new(head.framing),
            piece: 0..0,
            received: 0,
            max: max.unwrap_or(u64::MAX),
            waits: head.expect_continue,
            interim: Vec::new(),
            told: 0,
            // A client of HTTP/1.0 knows none (RFC 9110 §15.2).
            speaks_interim: head.version == HttpVersion::Http11,
        }
    }

    /// Whether all of the body was read and used.
    pub fn is_done(&self) -> bool {
        self.piece.is_empty() && self.decoder.is_done()
    }

    /// Whether the client still waits for leave to send its body.
    pub fn is_unbegun(&self) -> bool {
        self.waits
    }
}

/// A client and its upload, seen as a source of body bytes.
pub struct ClientBody<'a> {
    pub client: &'a mut Client,
    pub upload: &'a mut Upload,
    pub buffers: &'a Buffers,
}

impl BodySource for ClientBody<'_> {
    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Result<Progress, ClientFault>> {
        loop {
            if !self.upload.piece.is_empty() {
                return Poll::Ready(Ok(Progress::Data));
            }
            if self.upload.decoder.is_done() {
                return Poll::Ready(Ok(Progress::End));
            }
            let at = self.client.start;
            let step = self.upload.decoder.decode(&self.client.buffer[at..]);
            let step = step.map_err(ClientFault::Body)?;
            if !step.data.is_empty() {
                self.upload.piece = at + step.data.start..at + step.data.end;
                self.upload.received += step.data.len() as u64;
                if self.upload.received > self.upload.max {
                    return Poll::Ready(Err(ClientFault::TooLarge));
                }
            }
            // What was found stays in the buffer until it is used: `start` moves, bytes do not.
            self.client.start += step.consumed;
            if step.consumed > 0 {
                self.upload.waits = false;
                if step.data.is_empty() {
                    self.client.consume(0);
                }
                continue;
            }
            if std::mem::take(&mut self.upload.waits) {
                write::status_line(&mut self.upload.interim, 100);
                write::end(&mut self.upload.interim);
            }
            ready!(self.poll_interim(cx))?;
            match ready!(self.client.poll_fill(cx, self.buffers)) {
                Ok(0) => {
                    self.upload.decoder.on_eof().map_err(|_| ClientFault::Gone)?;
                    return Poll::Ready(Err(ClientFault::Gone));
                }
                Ok(_) => {}
                Err(_) => return Poll::Ready(Err(ClientFault::Gone)),
            }
        }
    }

    fn data(&self) -> &[u8] {
        &self.client.buffer[self.upload.piece.clone()]
    }

    fn consume(&mut self, count: usize) {
        self.upload.piece.start += count;
        if self.upload.piece.is_empty() {
            self.upload.piece = 0..0;
            self.client.consume(0);
        }
    }

    fn trailers(&self) -> Option<&Fields> {
        self.upload.decoder.trailers()
    }

    fn interim(&mut self, head: &ResponseHead) {
        if self.upload.speaks_interim {
            let out = &mut self.upload.interim;
            write::status_line(out, head.status);
            head.fields.write(out, |field| !field.hop);
            write::end(out);
        }
    }

    fn poll_interim(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ClientFault>> {
        let Upload { interim, told, .. } = &mut *self.upload;
        if interim.is_empty() {
            return Poll::Ready(Ok(()));
        }
        ready!(self.client.poll_write(cx, interim, &[], told))?;
        interim.clear();
        *told = 0;
        Poll::Ready(Ok(()))
    }
}
