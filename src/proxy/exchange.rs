//! One attempt over HTTP/1.1: the request goes up while the answer comes down, in one task.
//!
//! The exchange owns the upstream connection. Whoever drives it polls the upload and the answer in
//! turn; nothing is spawned and nothing is queued.

use std::ops::Range;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use tokio::io::AsyncWrite;

use super::body::{BodySource, Progress};
use super::buffers::Held;
use super::error::{Fault, UpstreamFault};
use super::pool::{Connection, InFlight};
use super::worker::Worker;
use crate::h1::body::{Decoder, Encoder};
use crate::h1::fields::Fields;
use crate::h1::head::{Framing, HeadLimits, Method, ResponseHead};
use crate::limits::{
    BODY_BUFFER_BYTES, INTERIM_ANSWERS_MAX, JOIN_BYTES_MAX, RESPONSE_FIELDS_MAX,
    RESPONSE_HEAD_BYTES_MAX,
};
use crate::net::Stream;

const LIMITS: HeadLimits =
    HeadLimits { bytes: RESPONSE_HEAD_BYTES_MAX, fields: RESPONSE_FIELDS_MAX, target: 0 };

/// An attempt in progress.
#[derive(Debug)]
pub struct Exchange {
    worker: Rc<Worker>,
    /// Gone once it was given back or handed to a tunnel.
    connection: Option<Connection>,
    flight: Option<InFlight>,
    upload: Uplink,
    method: Method,
    /// Whether a websocket was asked for; no other 101 is one.
    upgrade: bool,
    /// Interim heads that came.
    interim: u32,
    buffer: Vec<u8>,
    held: Held,
    start: usize,
    decoder: Option<Decoder>,
    piece: Range<usize>,
    reusable: bool,
}

/// The request on its way up.
#[derive(Debug)]
struct Uplink {
    /// Head bytes, and body bytes that need a chunk's frame around them.
    out: Vec<u8>,
    written: usize,
    encoder: Encoder,
    state: UplinkState,
    /// Bytes of it that reached the socket.
    sent: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum UplinkState {
    Flowing,
    /// All of the body is in `out`.
    Ended,
    Done,
    /// The upstream does not take any more; it may have answered.
    Broken,
}

impl Exchange {
    /// Begins an attempt: `head` is the whole request head as bytes, `framing` its body's, `upgrade`
    /// whether it asks for a websocket.
    pub fn new(
        worker: Rc<Worker>,
        connection: Connection,
        flight: InFlight,
        head: Vec<u8>,
        framing: Framing,
        method: Method,
        upgrade: bool,
    ) -> Self {
        let upload = Uplink {
            out: head,
            written: 0,
            encoder: Encoder::new(framing),
            state: UplinkState::Flowing,
            sent: 0,
        };
        let held = worker.buffers.hold();
        Self {
            worker,
            held,
            connection: Some(connection),
            flight: Some(flight),
            upload,
            method,
            upgrade,
            interim: 0,
            buffer: Vec::new(),
            start: 0,
            decoder: None,
            piece: 0..0,
            reusable: false,
        }
    }

    /// Takes the request head's bytes back, to send them again elsewhere.
    pub fn take_head(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.upload.out)
    }

    /// Moves the request body up as far as it goes. Ready when nothing is left to move; a broken
    /// upstream ends it without an error, because its answer may already be on the way.
    pub fn poll_upload(
        &mut self,
        cx: &mut Context<'_>,
        body: &mut dyn BodySource,
    ) -> Poll<Result<(), Fault>> {
        let Some(connection) = &mut self.connection else { return Poll::Ready(Ok(())) };
        loop {
            match self.upload.state {
                UplinkState::Done | UplinkState::Broken => return Poll::Ready(Ok(())),
                UplinkState::Flowing | UplinkState::Ended => {}
            }
            if self.upload.is_small() && self.upload.state == UplinkState::Flowing {
                match body.poll_data(cx)? {
                    Poll::Ready(Progress::End) => {
                        let ended =
                            self.upload.encoder.finish(&mut self.upload.out, body.trailers());
                        ended.map_err(|_| Fault::Client(super::error::ClientFault::Gone))?;
                        self.upload.state = UplinkState::Ended;
                    }
                    Poll::Ready(Progress::Data) => self.upload.take(body)?,
                    Poll::Pending if self.upload.is_empty() => return Poll::Pending,
                    Poll::Pending => {}
                }
            }
            if self.upload.poll_write(cx, &mut connection.stream, body).is_pending() {
                return Poll::Pending;
            }
            if self.upload.is_empty() && self.upload.state == UplinkState::Ended {
                self.upload.state = UplinkState::Done;
            }
        }
    }

    /// Whether the whole request was sent.
    pub fn is_sent(&self) -> bool {
        self.upload.state == UplinkState::Done
    }

    /// Whether all that came of the request went up, and the next of it has to come from the client.
    pub fn waits_for(&self, body: &dyn BodySource) -> bool {
        let flowing = self.upload.state == UplinkState::Flowing;
        flowing && self.upload.is_empty() && body.data().is_empty()
    }

    /// Bytes of the request that reached the socket.
    pub fn uploaded(&self) -> u64 {
        self.upload.sent
    }

    /// Reads the next head of the answer: an interim one (1xx), or the final one.
    pub fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        head: &mut ResponseHead,
    ) -> Poll<Result<(), UpstreamFault>> {
        loop {
            let parsed = head.parse(&self.buffer[self.start..], self.method, &LIMITS);
            match parsed.map_err(|error| UpstreamFault::Malformed(error.reason()))? {
                Some(consumed) => {
                    self.start += consumed;
                    return Poll::Ready(self.head_came(head));
                }
                None => match ready!(self.poll_fill(cx)) {
                    Ok(0) | Err(_) => return Poll::Ready(Err(self.broke_before_head())),
                    Ok(_) => {}
                },
            }
        }
    }

    fn head_came(&mut self, head: &ResponseHead) -> Result<(), UpstreamFault> {
        if head.status == 101 && !(head.websocket && self.upgrade) {
            return Err(UpstreamFault::Malformed("upgrade_unasked"));
        }
        if head.status < 200 {
            self.interim += 1;
            if self.interim > INTERIM_ANSWERS_MAX {
                return Err(UpstreamFault::Malformed("interim_answers"));
            }
        } else {
            self.reusable = head.keep_alive;
            self.decoder = Some(Decoder::new(head.framing));
        }
        Ok(())
    }

    fn broke_before_head(&self) -> UpstreamFault {
        let reused = self.connection.as_ref().is_some_and(|connection| connection.reused);
        match reused && self.interim == 0 && self.buffer.is_empty() {
            true => UpstreamFault::Stale,
            false => UpstreamFault::Broken("closed_before_head"),
        }
    }

    /// Looks for the next piece of the answer's body: true when [`Exchange::piece`] has bytes,
    /// false at the end.
    pub fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, UpstreamFault>> {
        self.piece = 0..0;
        loop {
            let Some(decoder) = &mut self.decoder else { return Poll::Ready(Ok(false)) };
            if decoder.is_done() {
                return Poll::Ready(Ok(false));
            }
            let step = decoder.decode(&self.buffer[self.start..]);
            let step = step.map_err(|error| UpstreamFault::Malformed(error.reason()))?;
            let at = self.start;
            self.start += step.consumed;
            if !step.data.is_empty() {
                self.piece = at + step.data.start..at + step.data.end;
                return Poll::Ready(Ok(true));
            }
            if step.consumed > 0 {
                continue;
            }
            match ready!(self.poll_fill(cx)) {
                Ok(0) => self.ended()?,
                Ok(_) => {}
                Err(_) => return Poll::Ready(Err(UpstreamFault::Broken("reset_in_body"))),
            }
        }
    }

    fn ended(&mut self) -> Result<(), UpstreamFault> {
        self.reusable = false;
        let ended = self.decoder.as_mut().map_or(Ok(()), Decoder::on_eof);
        ended.map_err(|_| UpstreamFault::Broken("closed_in_body"))
    }

    /// The bytes that [`Exchange::poll_piece`] found.
    pub fn piece(&self) -> &[u8] {
        &self.buffer[self.piece.clone()]
    }

    /// Whether the answer's body is complete.
    pub fn is_complete(&self) -> bool {
        self.decoder.as_ref().is_none_or(Decoder::is_done)
    }

    /// Trailer fields of a complete answer.
    pub fn trailers(&self) -> Option<&Fields> {
        self.decoder.as_ref()?.trailers()
    }

    /// Ends the attempt: the connection is kept when both sides of it are clean.
    pub fn finish(&mut self, now: Instant) {
        let clean = self.is_complete() && self.is_sent() && self.start == self.buffer.len();
        if let (Some(connection), Some(flight)) = (self.connection.take(), self.flight.take())
            && clean
            && self.reusable
        {
            flight.endpoint.give(connection, now);
        }
        self.rest();
    }

    /// Hands the connection over after a 101, with the bytes that came behind it.
    pub fn into_tunnel(mut self) -> Option<(Connection, InFlight, Vec<u8>)> {
        let early = self.buffer[self.start..].to_vec();
        Some((self.connection.take()?, self.flight.take()?, early))
    }

    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<std::io::Result<usize>> {
        let Some(connection) = &mut self.connection else { return Poll::Ready(Ok(0)) };
        if self.buffer.capacity() == 0 {
            self.buffer = self.worker.buffers.take_upstream();
        }
        if self.start == self.buffer.len() {
            self.buffer.clear();
            self.start = 0;
        } else if self.start > 0 {
            self.buffer.drain(..self.start);
            self.start = 0;
        }
        if self.buffer.len() == self.buffer.capacity() {
            self.buffer.reserve(BODY_BUFFER_BYTES);
        }
        let read = connection.stream.poll_fill(cx, &mut self.buffer);
        if read.is_pending() && self.buffer.is_empty() {
            self.rest();
        }
        self.held.set(self.buffer.capacity());
        read
    }

    fn rest(&mut self) {
        if self.buffer.capacity() > 0 {
            self.worker.buffers.give_upstream(std::mem::take(&mut self.buffer));
            self.held.set(0);
        }
        self.start = 0;
        self.piece = 0..0;
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.rest();
        self.worker.buffers.give_head(std::mem::take(&mut self.upload.out));
    }
}

impl Uplink {
    fn is_empty(&self) -> bool {
        self.written == self.out.len()
    }

    /// Whether what waits is little enough to be joined with what comes.
    fn is_small(&self) -> bool {
        self.out.len() - self.written < JOIN_BYTES_MAX
    }

    /// Moves what the source has behind the bytes that wait, when it must be framed or fits beside
    /// them. Anything else is written from where it lies: growing the buffer would cost more than
    /// writing from two places.
    fn take(&mut self, body: &mut dyn BodySource) -> Result<(), Fault> {
        let data = body.data();
        let framed = self.encoder.is_framed();
        if !framed && data.len() > self.out.capacity() - self.out.len() {
            return Ok(());
        }
        let count = data.len();
        let too_much = |_| Fault::Client(super::error::ClientFault::Gone);
        self.encoder.begin_data(&mut self.out, count).map_err(too_much)?;
        self.out.extend_from_slice(data);
        self.encoder.end_data(&mut self.out);
        body.consume(count);
        Ok(())
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut Stream,
        body: &mut dyn BodySource,
    ) -> Poll<()> {
        // A body of known length follows what waits, from where it lies.
        let plain = self.state == UplinkState::Flowing && !self.encoder.is_framed();
        loop {
            let waiting = &self.out[self.written..];
            let data = if plain { body.data() } else { &[] };
            if waiting.is_empty() && data.is_empty() {
                break;
            }
            let wrote = ready!(stream.poll_send(cx, waiting, data));
            let (Ok(count @ 1..), waited) = (wrote, waiting.len()) else {
                return self.broke();
            };
            self.sent += count as u64;
            // What waits is kept: another attempt may need the head. Body bytes are not.
            self.written += count.min(waited);
            let of_body = count.saturating_sub(waited);
            if of_body > 0 {
                if self.encoder.begin_data(&mut Vec::new(), of_body).is_err() {
                    return self.broke();
                }
                body.consume(of_body);
            }
        }
        if self.out.len() > BODY_BUFFER_BYTES {
            self.out.clear();
            self.written = 0;
        }
        match ready!(Pin::new(stream).poll_flush(cx)) {
            Ok(()) => Poll::Ready(()),
            Err(_) => self.broke(),
        }
    }

    fn broke(&mut self) -> Poll<()> {
        self.state = UplinkState::Broken;
        Poll::Ready(())
    }
}
