//! A client's request body as it comes over HTTP/2, and the interim answers that go against it.

use std::cell::RefCell;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::RecvStream;
use h2::server::SendResponse;
use http::{Response, StatusCode};

use super::stream::status_of;
use crate::h1::fields::Fields;
use crate::h1::head::{Framing, RequestHead, ResponseHead};
use crate::h1::write::Section as _;
use crate::limits::H2_STREAM_WINDOW_BYTES;
use crate::proxy::body::{BodySource, Progress};
use crate::proxy::buffers::Held;
use crate::proxy::error::ClientFault;

/// The body of one stream.
#[derive(Debug)]
pub struct StreamBody<'a> {
    incoming: RecvStream,
    respond: &'a RefCell<SendResponse<Bytes>>,
    data: Bytes,
    trailers: Fields,
    state: State,
    /// Bytes that came.
    pub received: u64,
    max: u64,
    /// The length that its head declared.
    declared: Option<u64>,
    /// The client waits for `100 Continue`; it is told before the first read.
    waits: bool,
    /// What it may have sent that nobody has taken yet.
    held: Held,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Data,
    Trailers,
    Ended,
}

impl<'a> StreamBody<'a> {
    /// The body behind a head, not yet begun.
    pub fn new(
        incoming: RecvStream,
        head: &RequestHead,
        max: Option<u64>,
        respond: &'a RefCell<SendResponse<Bytes>>,
        held: Held,
    ) -> Self {
        let declared = match head.framing {
            Framing::Length(length) => Some(length),
            _ => None,
        };
        let is_empty = head.framing == Framing::None || incoming.is_end_stream();
        Self {
            incoming,
            respond,
            data: Bytes::new(),
            trailers: Fields::default(),
            state: if is_empty { State::Ended } else { State::Data },
            received: 0,
            max: max.unwrap_or(u64::MAX),
            declared,
            waits: head.expect_continue,
            held,
        }
    }

    /// What comes after the head, for a tunnel.
    pub fn into_incoming(self) -> RecvStream {
        self.incoming
    }

    /// Bytes that the client may have sent ahead: as much as the window lets it, or all of the body.
    fn ahead(&self) -> usize {
        let window = u64::from(H2_STREAM_WINDOW_BYTES);
        self.declared.map_or(window, |length| length.min(window)) as usize
    }

    /// Whether what is there may be given on. The last piece of a declared length waits for the end:
    /// a body that goes on behind it is refused, and must not have looked whole to anybody.
    fn is_settled(&self) -> bool {
        let ended = self.state == State::Ended;
        !self.data.is_empty() && (ended || self.declared != Some(self.received))
    }

    /// Sends an interim answer. A client that has gone is noticed elsewhere.
    fn tell(&self, interim: Response<()>) {
        let _ = self.respond.borrow_mut().send_informational(interim);
    }

    fn take(&mut self, data: Bytes) -> Result<(), ClientFault> {
        self.received += data.len() as u64;
        if self.received > self.max {
            return Err(ClientFault::TooLarge);
        }
        if !data.is_empty() {
            self.data = data;
        }
        Ok(())
    }
}

impl BodySource for StreamBody<'_> {
    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Result<Progress, ClientFault>> {
        let gone = |_| ClientFault::Gone;
        if std::mem::take(&mut self.waits) && self.state == State::Data {
            let mut go_on = Response::new(());
            *go_on.status_mut() = StatusCode::CONTINUE;
            self.tell(go_on);
        }
        loop {
            if self.is_settled() {
                return Poll::Ready(Ok(Progress::Data));
            }
            match self.state {
                State::Data => {
                    // From here on, and not before: what asks to be let in must not stand in its own way.
                    self.held.set(self.ahead());
                    match ready!(self.incoming.poll_data(cx)) {
                        Some(data) => self.take(data.map_err(gone)?)?,
                        None => self.state = State::Trailers,
                    }
                }
                State::Trailers => {
                    let trailers = ready!(self.incoming.poll_trailers(cx)).map_err(gone)?;
                    for (name, value) in trailers.iter().flatten() {
                        self.trailers.push(name.as_str().as_bytes(), value.as_bytes());
                    }
                    self.state = State::Ended;
                }
                State::Ended => {
                    self.held.set(0);
                    return Poll::Ready(Ok(Progress::End));
                }
            }
        }
    }

    fn data(&self) -> &[u8] {
        // What waits for the end is still to come, as far as anybody is concerned.
        if self.is_settled() { &self.data } else { &[] }
    }

    fn consume(&mut self, count: usize) {
        drop(self.data.split_to(count));
        // The client may send as much more. Of a stream that has ended nobody wants to know.
        let _ = self.incoming.flow_control().release_capacity(count);
    }

    fn trailers(&self) -> Option<&Fields> {
        Some(&self.trailers).filter(|fields| !fields.is_empty())
    }

    fn interim(&mut self, head: &ResponseHead) {
        let mut interim = Response::new(());
        *interim.status_mut() = status_of(head.status);
        interim.headers_mut().lines(&head.fields, |field| !field.hop);
        self.tell(interim);
    }
}
