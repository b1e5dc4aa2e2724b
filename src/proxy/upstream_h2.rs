//! Attempts over HTTP/2: streams of shared connections, spoken by hyper.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, Uri};
use http_body::{Body, Frame};
use hyper::body::Incoming;
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioIo, TokioTimer};

use super::body::{BodySource, Progress};
use super::error::{Fault, UpstreamFault};
use super::pool::{self, EndpointPool, InFlight, VersionLoad};
use super::worker::Worker;
use crate::clock;
use crate::h1::fields::{Field, Fields};
use crate::h1::head::{Framing, Method, ResponseHead};
use crate::h1::write::Section;
use crate::limits::{POOL_IDLE_MAX, UPSTREAM_FIELDS_MAX};
use crate::net;
use crate::upstream::Endpoint;

/// Streams on one connection before another is opened.
const STREAMS_PER_CONNECTION: usize = 100;

/// Runs hyper's tasks on this worker.
#[derive(Debug, Clone, Copy)]
pub struct LocalExecutor;

impl<F: Future + 'static> hyper::rt::Executor<F> for LocalExecutor {
    fn execute(&self, future: F) {
        tokio::task::spawn_local(async move {
            future.await;
        });
    }
}

/// An open connection that requests share.
#[derive(Debug)]
pub struct Connection {
    sender: Rc<Shared>,
    used: Instant,
}

#[derive(Debug)]
struct Shared {
    send: RefCell<SendRequest<UpBody>>,
    /// Streams that the other side takes at once, as far as it has said.
    streams_max: Rc<Cell<usize>>,
    /// Counted for its version as long as it is open.
    _load: pool::Open,
}

/// Leave to begin one stream.
#[derive(Debug)]
pub struct Sender {
    shared: Rc<Shared>,
    is_tls: bool,
    /// Whether the connection has served others before.
    reused: bool,
}

impl Connection {
    /// Streams that may be open at once: what the other side says, within reason. More of them would
    /// wait for each other.
    fn streams_max(&self) -> usize {
        self.sender.streams_max.get().clamp(1, STREAMS_PER_CONNECTION)
    }

    /// Whether new streams can be begun, and it is not idle for too long.
    pub fn is_open(&self, now: Instant) -> bool {
        let idle = Rc::strong_count(&self.sender) == 1
            && now.saturating_duration_since(self.used) > POOL_IDLE_MAX;
        !self.sender.send.borrow().is_closed() && !idle
    }
}

/// A place on an open connection, or on a new one, in `timeout`.
pub async fn sender(
    endpoint: &Endpoint,
    pool: &EndpointPool,
    load: Rc<VersionLoad>,
    timeout: Duration,
) -> Result<Sender, UpstreamFault> {
    let is_tls = endpoint.tls.is_some();
    if let Some(sender) = place(pool, is_tls) {
        return Ok(sender);
    }
    let connecting = async {
        let _turn = pool.h2_connecting.lock().await;
        // Whoever had the turn before may have made one that serves this request too.
        if let Some(sender) = place(pool, is_tls) {
            return Ok(sender);
        }
        let (send, streams_max) = connect(endpoint, pool).await?;
        let send = RefCell::new(send);
        let shared = Rc::new(Shared { send, streams_max, _load: pool::Open::new(load) });
        pool.h2.borrow_mut().push(Connection { sender: shared.clone(), used: clock::now() });
        Ok(Sender { shared, is_tls, reused: false })
    };
    let connected = Box::pin(tokio::time::timeout(timeout, connecting)).await;
    connected.unwrap_or(Err(UpstreamFault::ConnectTimeout))
}

/// A place on the least busy connection that is open.
fn place(pool: &EndpointPool, is_tls: bool) -> Option<Sender> {
    let now = clock::now();
    let mut open = pool.h2.borrow_mut();
    open.retain(|connection| connection.is_open(now));
    let busy = |connection: &Connection| Rc::strong_count(&connection.sender);
    let least = open.iter_mut().min_by_key(|connection| busy(connection));
    let connection = least.filter(|connection| busy(connection) <= connection.streams_max())?;
    connection.used = now;
    Some(Sender { shared: connection.sender.clone(), is_tls, reused: true })
}

async fn connect(
    endpoint: &Endpoint,
    pool: &EndpointPool,
) -> Result<(SendRequest<UpBody>, Rc<Cell<usize>>), UpstreamFault> {
    let addresses = endpoint.addresses().clone();
    let turn = pool.turn.replace(pool.turn.get().wrapping_add(1));
    let stream = net::connect(&addresses, turn, endpoint.tls.as_ref(), b"").await;
    let stream = stream.map_err(UpstreamFault::Connect)?;
    if endpoint.tls.is_some() && stream.alpn() != Some(b"h2") {
        return Err(UpstreamFault::Connect(std::io::Error::other("no HTTP/2 was agreed on")));
    }
    let handshake = hyper::client::conn::http2::Builder::new(LocalExecutor)
        .timer(TokioTimer::new())
        .handshake(TokioIo::new(stream))
        .await;
    let unreachable = |error| UpstreamFault::Connect(std::io::Error::other(error));
    let (send, connection) = handshake.map_err(unreachable)?;
    let streams_max = Rc::new(Cell::new(STREAMS_PER_CONNECTION));
    let said = streams_max.clone();
    tokio::task::spawn_local(async move {
        let mut connection = std::pin::pin!(connection);
        let ended = std::future::poll_fn(|task| {
            let ended = connection.as_mut().poll(task);
            if ended.is_pending() {
                said.set(connection.current_max_send_streams());
            }
            ended
        });
        if let Err(error) = ended.await {
            tracing::debug!(%error, "an upstream connection ended");
        }
    });
    Ok((send, streams_max))
}

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
    _shared: Rc<Shared>,
    head: Vec<u8>,
    slot: Rc<RefCell<Slot>>,
    answering: Option<Answering>,
    incoming: Option<Incoming>,
    method: Method,
    piece: Bytes,
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
    /// Begins a stream with the head that `admit` wrote.
    pub fn new(
        worker: Rc<Worker>,
        sender: Sender,
        flight: InFlight,
        head: Vec<u8>,
        framing: Framing,
        method: Method,
    ) -> Self {
        let empty = framing == Framing::None;
        let slot = Rc::new(RefCell::new(Slot { ended: empty, empty, ..Slot::default() }));
        let request = request_of(&head, sender.is_tls, UpBody(slot.clone()));
        let answering = request.map(|request| {
            let answering = sender.shared.send.borrow_mut().send_request(request);
            Box::pin(answering) as Answering
        });
        Self {
            worker,
            _flight: flight,
            _shared: sender.shared,
            head,
            slot,
            answering,
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
        let response = match ready!(answering.as_mut().poll(cx)) {
            Ok(response) => response,
            Err(error) => return Poll::Ready(Err(self.fault_of(&error))),
        };
        self.answering = None;
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
        self.incoming = Some(incoming);
        Poll::Ready(Ok(()))
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
            match ready!(Pin::new(incoming).poll_frame(cx)) {
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
    let mut request = Request::builder().method(parsed.method?).uri(uri);
    for field in parsed.headers.iter() {
        let skipped = ["host", "transfer-encoding", "connection", "upgrade"];
        if !skipped.iter().any(|name| field.name.eq_ignore_ascii_case(name)) {
            request = request.header(field.name, field.value);
        }
    }
    request.body(body).ok()
}

/// Fields as hyper holds them.
pub fn map_of(fields: &Fields) -> HeaderMap {
    let mut map = HeaderMap::new();
    map.lines(fields, |_| true);
    map
}

/// What hyper does not take is left out.
impl Section for HeaderMap {
    fn line(&mut self, name: &[u8], value: &[u8]) {
        let name = http::HeaderName::from_bytes(name);
        let value = http::HeaderValue::from_bytes(value);
        if let (Ok(name), Ok(value)) = (name, value) {
            self.append(name, value);
        }
    }

    fn once(&mut self, name: &'static str, value: &[u8]) {
        if let Ok(mut value) = http::HeaderValue::from_bytes(value) {
            // In the table of HPACK it would only drive out what is sent again.
            value.set_sensitive(true);
            self.append(name, value);
        }
    }

    fn lines(&mut self, fields: &Fields, passes: impl FnMut(&Field<'_>) -> bool) {
        fields.iter().filter(passes).for_each(|field| self.line(field.name, field.value));
    }
}
