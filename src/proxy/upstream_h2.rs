//! Attempts over HTTP/2: streams of shared connections, spoken by hyper.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Instant;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, Uri};
use http_body::{Body, Frame};
use hyper::body::Incoming;
use hyper::ext::Protocol;
use hyper::upgrade::OnUpgrade;

use super::body::{BodySource, Progress};
use super::buffers::Held;
use super::error::{Fault, UpstreamFault};
use super::fields_h2::map_of;
use super::pool::InFlight;
use super::shared_h2::{Sender, Shared};
use super::websocket;
use super::worker::Worker;
use crate::h1::fields::Fields;
use crate::h1::head::{Framing, Method, ResponseHead};
use crate::h1::write::Section as _;
use crate::limits::{UPSTREAM_FIELDS_MAX, UPSTREAM_WINDOW_BYTES};

/// The request body as hyper pulls it: one frame at a time through a slot.
#[derive(Debug)]
pub struct UpBody(Rc<RefCell<Slot>>);

#[derive(Debug, Default)]
struct Slot {
    frame: Option<Frame<Bytes>>,
    ended: bool,
    empty: bool,
    /// hyper has asked for the body: the stream was begun. Until then nothing is read from the
    /// client, so that a request that was never begun can be begun elsewhere.
    wanted: bool,
    pulled: Option<Waker>,
    filled: Option<Waker>,
    gone: bool,
}

impl Body for UpBody {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        let mut slot = self.0.borrow_mut();
        if !std::mem::replace(&mut slot.wanted, true)
            && let Some(waker) = slot.pulled.take()
        {
            waker.wake();
        }
        if let Some(frame) = slot.frame.take() {
            if let Some(waker) = slot.pulled.take() {
                waker.wake();
            }
            return Poll::Ready(Some(Ok(frame)));
        }
        if slot.ended {
            return Poll::Ready(None);
        }
        if slot.gone {
            // The exchange was dropped in the middle: the stream is reset, never ended.
            return Poll::Ready(Some(Err(std::io::ErrorKind::ConnectionAborted.into())));
        }
        slot.filled = Some(cx.waker().clone());
        Poll::Pending
    }

    fn is_end_stream(&self) -> bool {
        let slot = self.0.borrow();
        slot.empty || (slot.ended && slot.frame.is_none())
    }
}

type Answering = Pin<Box<dyn Future<Output = hyper::Result<Response<Incoming>>>>>;

/// An attempt in progress on one stream.
pub struct H2Exchange {
    worker: Rc<Worker>,
    _flight: InFlight,
    shared: Rc<Shared>,
    /// Answers that had come over the connection when this began.
    answers_before: u64,
    head: Vec<u8>,
    slot: Rc<RefCell<Slot>>,
    answering: Option<Answering>,
    /// What a websocket that is taken is answered with by HTTP/1.1, where one is asked for.
    accept: Option<String>,
    opening: Option<OnUpgrade>,
    incoming: Option<Incoming>,
    method: Method,
    piece: Bytes,
    /// What may wait behind it: hyper does not tell how much of the stream's window is in use.
    held: Held,
    trailers: Fields,
    sent: u64,
    /// Something of the request body was taken from the client.
    touched: bool,
    reused: bool,
    complete: bool,
}

impl std::fmt::Debug for H2Exchange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("H2Exchange").field("complete", &self.complete).finish_non_exhaustive()
    }
}

impl H2Exchange {
    /// Begins a stream with the head that `admit` wrote, as CONNECT where it asks for a websocket.
    pub fn new(
        worker: Rc<Worker>,
        sender: Sender,
        flight: InFlight,
        head: Vec<u8>,
        framing: Framing,
        method: Method,
        accept: Option<String>,
    ) -> Self {
        let empty = framing == Framing::None;
        let slot = Rc::new(RefCell::new(Slot { ended: empty, empty, ..Slot::default() }));
        let request = request_of(&head, sender.is_tls, UpBody(slot.clone()));
        let answering = request.map(|mut request| {
            if accept.is_some() {
                connects(&mut request);
            }
            let answering = sender.shared.send.borrow_mut().send_request(request);
            Box::pin(answering) as Answering
        });
        let held = worker.buffers.hold();
        Self {
            worker,
            held,
            _flight: flight,
            answers_before: sender.shared.answers.get(),
            shared: sender.shared,
            head,
            slot,
            answering,
            accept,
            opening: None,
            incoming: None,
            method,
            piece: Bytes::new(),
            trailers: Fields::default(),
            sent: 0,
            touched: false,
            reused: sender.reused,
            complete: false,
        }
    }

    /// See [`super::exchange::Exchange::take_head`].
    pub fn take_head(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.head)
    }

    /// See [`super::exchange::Exchange::uploaded`].
    pub fn uploaded(&self) -> u64 {
        self.sent
    }

    /// See [`super::exchange::Exchange::waits_for`].
    pub fn waits_for(&self, _: &dyn BodySource) -> bool {
        let slot = self.slot.borrow();
        !slot.ended && slot.wanted && slot.frame.is_none()
    }

    /// See [`super::exchange::Exchange::is_sent`].
    pub fn is_sent(&self) -> bool {
        self.slot.borrow().ended
    }

    /// See [`super::exchange::Exchange::poll_upload`].
    pub fn poll_upload(
        &mut self,
        cx: &mut Context<'_>,
        body: &mut dyn BodySource,
    ) -> Poll<Result<(), Fault>> {
        loop {
            let mut slot = self.slot.borrow_mut();
            if slot.ended {
                return Poll::Ready(Ok(()));
            }
            if slot.frame.is_some() || !slot.wanted {
                slot.pulled = Some(cx.waker().clone());
                return Poll::Pending;
            }
            let came = ready!(body.poll_data(cx)).map_err(Fault::from)?;
            self.touched = true;
            match came {
                Progress::Data => {
                    let data = Bytes::copy_from_slice(body.data());
                    body.consume(data.len());
                    self.sent += data.len() as u64;
                    slot.frame = Some(Frame::data(data));
                }
                Progress::End => {
                    slot.frame = body.trailers().map(|fields| Frame::trailers(map_of(fields)));
                    slot.ended = true;
                }
            }
            if let Some(waker) = slot.filled.take() {
                waker.wake();
            }
        }
    }

    /// See [`super::exchange::Exchange::poll_head`].
    pub fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        head: &mut ResponseHead,
    ) -> Poll<Result<(), UpstreamFault>> {
        let Some(answering) = &mut self.answering else {
            return Poll::Ready(Err(UpstreamFault::Malformed("request_not_expressible")));
        };
        let mut response = match ready!(answering.as_mut().poll(cx)) {
            Ok(response) => response,
            Err(error) => return Poll::Ready(Err(self.fault_of(&error))),
        };
        self.answering = None;
        self.shared.answers.set(self.shared.answers.get() + 1);
        if let Some(accept) = self.accept.take_if(|_| response.status() == StatusCode::OK) {
            self.opening = Some(hyper::upgrade::on(&mut response));
            switching(head, response.headers(), &accept);
            return Poll::Ready(Ok(()));
        }
        let (parts, incoming) = response.into_parts();
        if parts.status.is_informational() {
            return Poll::Ready(Err(UpstreamFault::Malformed("upgrade_unasked")));
        }
        head.begin(parts.status.as_u16());
        for (name, value) in &parts.headers {
            head.fields.push(name.as_str().as_bytes(), value.as_bytes());
        }
        let length = parts.headers.get(http::header::CONTENT_LENGTH);
        let length = length.and_then(|value| value.to_str().ok()?.parse().ok());
        let bodiless = self.method == Method::Head || matches!(head.status, 204 | 304);
        head.framing = match length {
            _ if bodiless => Framing::None,
            Some(length) => Framing::Length(length),
            None if incoming.is_end_stream() => Framing::Length(0),
            None => Framing::Chunked,
        };
        self.complete = bodiless || incoming.is_end_stream();
        if !self.complete {
            self.held.set(UPSTREAM_WINDOW_BYTES as usize);
        }
        self.incoming = Some(incoming);
        Poll::Ready(Ok(()))
    }

    /// Notes that this was waited for in vain: new streams begin on another connection, unless others
    /// of this one were answered meanwhile.
    pub fn doubt(&self) {
        if self.shared.answers.get() == self.answers_before {
            self.shared.doubtful.set(true);
        }
    }

    /// The bytes of a websocket that was taken.
    pub fn take_opening(&mut self) -> Option<OnUpgrade> {
        self.opening.take()
    }

    /// What a stream that ended without an answer says about a second try.
    fn fault_of(&self, error: &hyper::Error) -> UpstreamFault {
        let cause = std::error::Error::source(error).and_then(|cause| cause.downcast_ref());
        let is_reset = cause.is_some_and(h2::Error::is_reset);
        let unprocessed = error.is_canceled()
            || cause.is_some_and(|cause: &h2::Error| {
                let refused = cause.reason() == Some(h2::Reason::REFUSED_STREAM);
                cause.is_remote() && (cause.is_go_away() || (cause.is_reset() && refused))
            });
        match (unprocessed, is_reset) {
            (true, _) if !self.touched => UpstreamFault::Unprocessed,
            (_, false) if self.reused => UpstreamFault::Stale,
            _ => UpstreamFault::Broken("stream_failed"),
        }
    }

    /// See [`super::exchange::Exchange::poll_piece`].
    pub fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, UpstreamFault>> {
        self.piece = Bytes::new();
        loop {
            if self.complete {
                return Poll::Ready(Ok(false));
            }
            let Some(incoming) = &mut self.incoming else { return Poll::Ready(Ok(false)) };
            let came = Pin::new(&mut *incoming).poll_frame(cx);
            let waits = matches!(&came, Poll::Ready(Some(Ok(frame))) if frame.is_data());
            self.held.set(if waits { UPSTREAM_WINDOW_BYTES as usize } else { 0 });
            match ready!(came) {
                // hyper takes a reset without an error for the end.
                None if !incoming.is_end_stream() => {
                    return Poll::Ready(Err(UpstreamFault::Broken("stream_reset")));
                }
                None => self.complete = true,
                Some(Err(_)) => return Poll::Ready(Err(UpstreamFault::Broken("stream_reset"))),
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) if data.is_empty() => {}
                    Ok(data) => {
                        self.piece = data;
                        return Poll::Ready(Ok(true));
                    }
                    Err(frame) => {
                        for (name, value) in frame.trailers_ref().into_iter().flatten() {
                            self.trailers.push(name.as_str().as_bytes(), value.as_bytes());
                        }
                    }
                },
            }
        }
    }

    /// The piece that was read.
    pub fn piece(&self) -> &[u8] {
        &self.piece
    }

    /// Whether the answer's body is complete.
    pub fn is_complete(&self) -> bool {
        self.complete
    }

    /// Trailer fields of a complete answer.
    pub fn trailers(&self) -> Option<&Fields> {
        Some(&self.trailers).filter(|fields| !fields.is_empty())
    }

    /// Ends the attempt; the connection stays for others.
    pub fn finish(&mut self, _: Instant) {
        debug_assert!(self.worker.shared.store.number() > 0, "a request has a revision");
        self.incoming = None;
        self.held.set(0);
    }
}

impl Drop for H2Exchange {
    fn drop(&mut self) {
        let mut slot = self.slot.borrow_mut();
        slot.gone = true;
        if let Some(waker) = slot.filled.take() {
            waker.wake();
        }
    }
}

/// The HTTP/2 request of a head that this proxy has written itself.
fn request_of(head: &[u8], tls: bool, body: UpBody) -> Option<Request<UpBody>> {
    let mut fields = vec![httparse::EMPTY_HEADER; UPSTREAM_FIELDS_MAX];
    let mut parsed = httparse::Request::new(&mut fields);
    parsed.parse(head).ok()?;
    let host = parsed.headers.iter().find(|field| field.name.eq_ignore_ascii_case("host"));
    let host = host.and_then(|field| std::str::from_utf8(field.value).ok()).unwrap_or("localhost");
    let uri = Uri::builder()
        .scheme(if tls { "https" } else { "http" })
        .authority(host)
        .path_and_query(parsed.path?)
        .build()
        .ok()?;
    let mut request = Request::builder().method(parsed.method?).uri(uri).body(body).ok()?;
    for field in parsed.headers.iter() {
        let skipped = ["host", "transfer-encoding", "connection", "upgrade"];
        if !skipped.iter().any(|name| field.name.eq_ignore_ascii_case(name)) {
            request.headers_mut().line(field.name.as_bytes(), field.value);
        }
    }
    Some(request)
}

/// Makes the handshake of HTTP/1.1 that of HTTP/2 (RFC 8441 §5).
fn connects(request: &mut Request<UpBody>) {
    *request.method_mut() = http::Method::CONNECT;
    request.headers_mut().remove(websocket::KEY);
    request.extensions_mut().insert(Protocol::from_static("websocket"));
}

/// The answer of HTTP/1.1 that stands for a stream which was opened.
fn switching(head: &mut ResponseHead, fields: &HeaderMap, accept: &str) {
    head.begin(101);
    head.websocket = true;
    head.framing = Framing::None;
    let of_streams = |name: &str| name != "content-length" && name != websocket::ACCEPT;
    for (name, value) in fields.iter().filter(|(name, _)| of_streams(name.as_str())) {
        head.fields.push(name.as_str().as_bytes(), value.as_bytes());
    }
    head.fields.push(websocket::ACCEPT.as_bytes(), accept.as_bytes());
}
