//! One attempt, over whichever protocol the version speaks.

use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Instant;

use super::body::BodySource;
use super::error::{ClientFault, Fault, UpstreamFault};
use super::exchange::Exchange;
use super::forward::Outgoing;
use super::pool::{Connection, InFlight};
use super::shared_h2::Sender;
use super::upstream_h2::H2Exchange;
use super::websocket;
use super::worker::Worker;
use crate::h1::fields::Fields;
use crate::h1::head::ResponseHead;

/// An attempt in progress; see [`Exchange`] for what each step does.
#[derive(Debug)]
pub enum Attempt {
    H1(Exchange),
    H2(H2Exchange),
}

/// Calls the same method on whichever exchange this is.
macro_rules! either {
    ($self:ident, $exchange:ident => $call:expr) => {
        match $self {
            Attempt::H1($exchange) => $call,
            Attempt::H2($exchange) => $call,
        }
    };
}

impl Attempt {
    /// Over a connection of its own.
    pub fn h1(
        worker: &Rc<Worker>,
        connection: Connection,
        flight: InFlight,
        outgoing: &mut Outgoing<'_>,
    ) -> Self {
        let head = std::mem::take(&mut outgoing.bytes);
        let (framing, method) = (outgoing.framing, outgoing.head.method);
        let upgrade = outgoing.head.websocket;
        Self::H1(Exchange::new(worker.clone(), connection, flight, head, framing, method, upgrade))
    }

    /// Over a stream of a shared connection.
    pub fn h2(
        worker: &Rc<Worker>,
        sender: Sender,
        flight: InFlight,
        outgoing: &mut Outgoing<'_>,
    ) -> Self {
        let head = std::mem::take(&mut outgoing.bytes);
        let (framing, method) = (outgoing.framing, outgoing.head.method);
        let key = outgoing.head.fields.find(websocket::KEY);
        let accept = key.filter(|_| outgoing.head.websocket).map(websocket::accept);
        let exchange =
            H2Exchange::new(worker.clone(), sender, flight, head, framing, method, accept);
        Self::H2(exchange)
    }

    /// Moves the request body up; see [`Exchange::poll_upload`].
    pub fn poll_upload(
        &mut self,
        cx: &mut Context<'_>,
        body: &mut dyn BodySource,
    ) -> Poll<Result<(), Fault>> {
        either!(self, exchange => exchange.poll_upload(cx, body))
    }

    /// Reads the next head; see [`Exchange::poll_head`].
    pub fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        head: &mut ResponseHead,
    ) -> Poll<Result<(), UpstreamFault>> {
        either!(self, exchange => exchange.poll_head(cx, head))
    }

    /// Reads the next piece of the body; see [`Exchange::poll_piece`].
    pub fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, UpstreamFault>> {
        either!(self, exchange => exchange.poll_piece(cx))
    }

    /// The piece that was read.
    pub fn piece(&self) -> &[u8] {
        either!(self, exchange => exchange.piece())
    }

    /// Whether the whole request was sent.
    pub fn is_sent(&self) -> bool {
        either!(self, exchange => exchange.is_sent())
    }

    /// Whether it is the client that holds the request up; see [`Exchange::waits_for`].
    pub fn waits_for(&self, body: &dyn BodySource) -> bool {
        either!(self, exchange => exchange.waits_for(body))
    }

    /// What a wait that was too long is put down to: to whoever holds the exchange up.
    pub fn overdue(&self, body: &dyn BodySource) -> Fault {
        match self.waits_for(body) {
            true => ClientFault::Slow.into(),
            false => UpstreamFault::Timeout.into(),
        }
    }

    /// Bytes of the request that were sent.
    pub fn uploaded(&self) -> u64 {
        either!(self, exchange => exchange.uploaded())
    }

    /// Whether the answer's body is complete.
    pub fn is_complete(&self) -> bool {
        either!(self, exchange => exchange.is_complete())
    }

    /// Trailer fields of a complete answer.
    pub fn trailers(&self) -> Option<&Fields> {
        either!(self, exchange => exchange.trailers())
    }

    /// Notes that it was waited for in vain. A connection of its own ends with it anyway.
    pub fn doubt(&self) {
        if let Self::H2(exchange) = self {
            exchange.doubt();
        }
    }

    /// The request head's bytes, to send them again.
    pub fn take_head(&mut self) -> Vec<u8> {
        either!(self, exchange => exchange.take_head())
    }

    /// Ends the attempt and keeps its connection if it is clean.
    pub fn finish(&mut self, now: Instant) {
        either!(self, exchange => exchange.finish(now));
    }
}
