//! HTTP/2 clients: hyper speaks the protocol, the request path is the same.

use std::cell::RefCell;
use std::convert::Infallible;
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::{Body, Frame};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};

use super::VERSION_FIELD;
use super::alarm::Alarm;
use super::attempt::Attempt;
use super::body::{BodySource, Progress};
use super::buffers::{Held, Scratch};
use super::context::RequestCx;
use super::cork::Cork;
use super::error::{ClientFault, Fault, ProxyError, Reason, Refusal};
use super::forward::{self, Outgoing};
use super::listener::Seat;
use super::streams::{Flowing, OpenStream, Streams};
use super::upstream_h2::{LocalExecutor, map_of};
use super::worker::Worker;
use super::{Decision, reply, respond, tunnel, websocket};
use crate::clock;
use crate::h1::fields::{Fields, Known};
use crate::h1::head::{Framing, HeadError, Method, RequestHead, ResponseHead};
use crate::h1::write::Section as _;
use crate::limits::{CLIENT_STREAMS_MAX, H2_LEAVE_MAX};
use crate::net::Stream;
use crate::plan::ListenerLimits;

/// A keep-alive ping is sent to a client that was silent for so long, and answered within.
const PING_EVERY: Duration = Duration::from_secs(30);

/// Fields that an answer usually has more than its upstream sent.
const FIELDS_ADDED: usize = 4;

/// Serves a connection until either side ends it.
pub async fn serve(worker: Rc<Worker>, seat: Seat, stream: Stream, begun: Vec<u8>) {
    let seat = Rc::new(seat);
    let limits = &seat.listener.plan.limits;
    let streams = Streams::default();
    let service = {
        let (worker, seat, streams) = (worker.clone(), seat.clone(), streams.clone());
        service_fn(move |request| {
            let (worker, seat, stream) = (worker.clone(), seat.clone(), streams.begin());
            async move {
                // Boxed: hyper moves what it runs several times before it is first polled.
                Ok::<_, Infallible>(Box::pin(answer(worker, seat, request, stream)).await)
            }
        })
    };
    let io = TokioIo::new(Cork::new(stream, begun));
    let mut connection = std::pin::pin!(protocol(limits).serve_connection(io, service));
    let mut alarm = Alarm::default();
    let mut leaving = false;
    // Since when there is no stream, or when the open ones were last looked at.
    let mut quiet: Option<Instant> = None;
    let mut looked: Option<Instant> = None;
    let ended = poll_fn(|task| {
        loop {
            if worker.is_draining() && !leaving {
                leaving = true;
                connection.as_mut().graceful_shutdown();
            }
            worker.wake_on_drain(seat.id, task.waker());
            if let Poll::Ready(ended) = connection.as_mut().poll(task) {
                return Poll::Ready(ended);
            }
            if streams.open() > 0 {
                quiet = None;
                let since = *looked.get_or_insert_with(clock::now);
                ready!(alarm.poll(task, since + limits.send_timeout));
                // What was handed over before the last look has waited for the whole timeout.
                streams.give_up(since);
                looked = None;
                continue;
            }
            let since = *quiet.get_or_insert_with(clock::now);
            let limit = match (streams.any_begun(), leaving) {
                (true, false) => limits.idle_timeout,
                (true, true) => H2_LEAVE_MAX,
                // As with HTTP/1: a new connection has as long as a head may take, and none when
                // it must go. hyper would wait for its first bytes for ever.
                (false, false) => limits.header_timeout,
                (false, true) => return Poll::Ready(Ok(())),
            };
            ready!(alarm.poll(task, since + limit));
            if leaving {
                return Poll::Ready(Ok(()));
            }
            seat.refused(if streams.any_begun() { Refusal::Idle } else { Refusal::Silent });
            leaving = true;
            quiet = None;
            connection.as_mut().graceful_shutdown();
        }
    });
    if let Err(error) = ended.await {
        if let Some(refusal) = refusal_of(&error) {
            seat.refused(refusal);
        }
        tracing::debug!(%error, "an HTTP/2 connection ended");
    }
}

/// What it was that this side ended a connection for, if it did.
fn refusal_of(error: &hyper::Error) -> Option<Refusal> {
    let cause = std::error::Error::source(error)?.downcast_ref::<h2::Error>()?;
    let reason = cause.reason().filter(|_| cause.is_library())?;
    Some(match reason {
        h2::Reason::ENHANCE_YOUR_CALM => Refusal::Flood,
        _ => Refusal::Malformed,
    })
}

/// HTTP/2 within the listener's limits.
fn protocol(limits: &ListenerLimits) -> hyper::server::conn::http2::Builder<LocalExecutor> {
    let mut builder = hyper::server::conn::http2::Builder::new(LocalExecutor);
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(CLIENT_STREAMS_MAX)
        .enable_connect_protocol()
        // Twice as much as may be: what is beyond the limit is answered and counted as with HTTP/1.
        .max_header_list_size(u32::try_from(2 * limits.max_header_bytes).unwrap_or(u32::MAX))
        .max_pending_accept_reset_streams(20)
        .max_local_error_reset_streams(64)
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_EVERY);
    builder
}

async fn answer(
    worker: Rc<Worker>,
    seat: Rc<Seat>,
    mut request: Request<Incoming>,
    stream: OpenStream,
) -> Response<DownBody> {
    let mut scratch = worker.buffers.take_scratch();
    let opening =
        (request.method() == http::Method::CONNECT).then(|| hyper::upgrade::on(&mut request));
    let (parts, incoming) = request.into_parts();
    let limits = &seat.listener.plan.limits;
    let mut body = StreamBody::new(incoming, limits.max_body);
    if let Err(error) = read_head(&mut scratch.request, &parts, &body, (&worker, &seat)) {
        let error = ProxyError::from(error);
        worker.counts.borrow_mut().local_reply(error.reason);
        return ending(stream, problem(&error, "", None));
    }
    let mut cx = RequestCx::open(&worker, &scratch.request, &seat);
    let mut alarm = worker.alarms.take();
    let exchanged = exchange(&mut cx, &mut scratch, &seat, &mut body, &mut alarm).await;
    match exchanged {
        Ok(Exchanged::Redirect(status, location)) => {
            cx.reason = Some(Reason::Redirect);
            cx.close(status);
            let mut response = Response::new(DownBody::empty());
            *response.status_mut() = status_of(status);
            if let Ok(location) = http::HeaderValue::from_str(&location) {
                response.headers_mut().insert(http::header::LOCATION, location);
            }
            ending(stream, response)
        }
        Ok(Exchanged::Answer(attempt)) if scratch.response.status == 101 => {
            let mut response = head_down(&cx, &scratch.response, seat.listener.is_tls());
            *response.status_mut() = StatusCode::OK;
            // It answers a key that the client knows nothing of.
            response.headers_mut().remove(websocket::ACCEPT);
            worker.buffers.give_scratch(scratch);
            if let Some(opening) = opening {
                tunnel::start(cx, opening, *attempt, stream);
            }
            response.map(|()| DownBody::empty())
        }
        Ok(Exchanged::Answer(attempt)) => {
            let is_tls = seat.listener.is_tls();
            let response = head_down(&cx, &scratch.response, is_tls);
            let read = cx.service().map(|service| service.plan.policy.read_timeout);
            let streaming = Streaming {
                status: scratch.response.status,
                cx,
                attempt: *attempt,
                body,
                alarm,
                waiting: None,
                // A client may have room for nothing at all.
                handed: Some(clock::now()),
                patience: read.unwrap_or(limits.send_timeout),
                trailers_sent: false,
                held: worker.buffers.hold(),
            };
            worker.buffers.give_scratch(scratch);
            let streaming = Rc::new(RefCell::new(Some(streaming)));
            ending(stream, response.map(|()| DownBody::of(Kind::Stream(streaming))))
        }
        Err(error) => {
            cx.reason = Some(error.reason);
            cx.close(reply::status(error.reason));
            let edge = &cx.entry.snapshot.edge;
            let version = cx.version().filter(|_| edge.version_header);
            let version = version.map(|version| version.name.as_str());
            ending(stream, problem(&error, cx.request_id.as_str(), version))
        }
    }
}

/// The answer that a stream ends with.
fn ending(stream: OpenStream, mut response: Response<DownBody>) -> Response<DownBody> {
    response.body_mut().belongs_to(stream);
    response
}

fn read_head(
    head: &mut RequestHead,
    parts: &http::request::Parts,
    body: &StreamBody,
    (worker, seat): (&Worker, &Seat),
) -> Result<(), HeadError> {
    let is_websocket = websocket::is_asked(parts)?;
    let scheme = parts.uri.scheme_str().unwrap_or("https");
    if !["http", "https"].iter().any(|known| scheme.eq_ignore_ascii_case(known)) {
        return Err(HeadError::Bad("scheme"));
    }
    let target = parts.uri.path_and_query().map_or("/", |target| target.as_str());
    let authority = parts.uri.authority().map_or("", |authority| authority.as_str());
    let limits = seat.listener.head_limits();
    let method = if is_websocket { "GET" } else { parts.method.as_str() };
    head.begin_h2(method, target, authority, &limits)?;
    for (name, value) in &parts.headers {
        head.fields.push(name.as_str().as_bytes(), value.as_bytes());
    }
    if is_websocket {
        let random = (u128::from(worker.entropy()) << 64) | u128::from(worker.entropy());
        websocket::ask(head, random);
    }
    let length = head.fields.get(Known::ContentLength);
    let length = length.and_then(|value| std::str::from_utf8(value).ok()?.parse().ok());
    let framing = match length {
        Some(length) => Framing::Length(length),
        None if body.incoming.is_end_stream() => Framing::None,
        None => Framing::Chunked,
    };
    head.finish_h2(framing)
}

enum Exchanged {
    Answer(Box<Attempt>),
    Redirect(u16, String),
}

async fn exchange(
    cx: &mut RequestCx,
    scratch: &mut Scratch,
    seat: &Seat,
    body: &mut StreamBody,
    alarm: &mut Alarm,
) -> Result<Exchanged, ProxyError> {
    let limits = &seat.listener.plan.limits;
    match super::decide(cx, &scratch.request, seat, limits.max_body).await? {
        Decision::Redirect { status, location } => Ok(Exchanged::Redirect(status, location)),
        Decision::Forward { bytes, framing } => {
            let head = &scratch.request;
            let outgoing = Outgoing::new(head, bytes, framing, limits.body_timeout);
            let answer = &mut scratch.response;
            let body = &mut cx.tap.tee(body);
            let attempt = forward::answer(cx, outgoing, body, answer, alarm).await?;
            // Any success would tell the client that its websocket is open (RFC 8441 §5).
            if head.websocket && (200..300).contains(&answer.status) {
                return Err(ProxyError::with(Reason::NotImplemented, "websocket"));
            }
            Ok(Exchanged::Answer(Box::new(attempt)))
        }
    }
}

fn status_of(status: u16) -> StatusCode {
    StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY)
}

fn head_down(cx: &RequestCx, answer: &ResponseHead, is_tls: bool) -> Response<()> {
    let mut response = Response::new(());
    *response.status_mut() = status_of(answer.status);
    let fields = response.headers_mut();
    fields.reserve(answer.fields.len() + FIELDS_ADDED);
    respond::fields_down(cx, answer, is_tls, fields);
    let bodiless = cx.method == Method::Head || answer.status == 304;
    match (answer.framing, answer.fields.get(Known::ContentLength)) {
        (_, Some(length)) if bodiless => fields.line(b"content-length", length),
        (Framing::Length(length), _) => {
            fields.insert(http::header::CONTENT_LENGTH, length.into());
        }
        _ => {}
    }
    response
}

fn problem(error: &ProxyError, request_id: &str, version: Option<&str>) -> Response<DownBody> {
    let mut response = Response::new(DownBody::text(reply::body(error, request_id)));
    *response.status_mut() = status_of(reply::status(error.reason));
    let retry = reply::retry_after(error).map(|seconds| seconds.to_string());
    let fields = [
        ("content-type", Some("application/problem+json")),
        ("retry-after", retry.as_deref()),
        ("x-request-id", Some(request_id).filter(|id| !id.is_empty())),
        (VERSION_FIELD, version),
    ];
    for (name, value) in fields {
        if let Some(value) = value.and_then(|value| http::HeaderValue::from_str(value).ok()) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

/// A client's request body as it comes over HTTP/2.
#[derive(Debug)]
struct StreamBody {
    incoming: Incoming,
    data: Bytes,
    trailers: Fields,
    ended: bool,
    received: u64,
    max: u64,
    /// The length that its head declared.
    declared: Option<u64>,
}

impl StreamBody {
    fn new(incoming: Incoming, max: Option<u64>) -> Self {
        let (data, trailers) = (Bytes::new(), Fields::default());
        let (max, declared) = (max.unwrap_or(u64::MAX), incoming.size_hint().exact());
        Self { incoming, data, trailers, ended: false, received: 0, max, declared }
    }

    /// Whether what is there may be given on. The last piece of a declared length waits for the end:
    /// a body that goes on behind it is refused, and must not have looked whole to anybody.
    fn is_settled(&self) -> bool {
        !self.data.is_empty() && (self.ended || self.declared != Some(self.received))
    }

    fn take(&mut self, frame: Frame<Bytes>) -> Result<(), ClientFault> {
        match frame.into_data() {
            Ok(data) => {
                self.received += data.len() as u64;
                if self.received > self.max {
                    return Err(ClientFault::TooLarge);
                }
                if !data.is_empty() {
                    self.data = data;
                }
            }
            Err(frame) => {
                for (name, value) in frame.trailers_ref().into_iter().flatten() {
                    self.trailers.push(name.as_str().as_bytes(), value.as_bytes());
                }
            }
        }
        Ok(())
    }
}

impl BodySource for StreamBody {
    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Result<Progress, ClientFault>> {
        loop {
            if self.is_settled() {
                return Poll::Ready(Ok(Progress::Data));
            }
            if self.ended {
                return Poll::Ready(Ok(Progress::End));
            }
            match ready!(Pin::new(&mut self.incoming).poll_frame(cx)) {
                // hyper takes a reset without an error for the end.
                None if !self.incoming.is_end_stream() => {
                    return Poll::Ready(Err(ClientFault::Gone));
                }
                None => self.ended = true,
                Some(Err(_)) => return Poll::Ready(Err(ClientFault::Gone)),
                Some(Ok(frame)) => self.take(frame)?,
            }
        }
    }

    fn data(&self) -> &[u8] {
        // What waits for the end is still to come, as far as anybody is concerned.
        if self.is_settled() { &self.data } else { &[] }
    }

    fn consume(&mut self, count: usize) {
        drop(self.data.split_to(count));
    }

    fn trailers(&self) -> Option<&Fields> {
        Some(&self.trailers).filter(|fields| !fields.is_empty())
    }
}

/// An answer that ends in its middle: the stream is reset, never ended.
#[derive(Debug)]
pub struct BrokenOff(Reason);

impl fmt::Display for BrokenOff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(reply::title(self.0))
    }
}

impl std::error::Error for BrokenOff {}

/// The answer's body as hyper pulls it.
#[derive(Debug)]
pub struct DownBody {
    kind: Kind,
    _stream: Option<OpenStream>,
}

#[derive(Debug)]
enum Kind {
    Text(Option<Bytes>),
    /// None once it was given up.
    Stream(Rc<RefCell<Option<Streaming>>>),
}

#[derive(Debug)]
struct Streaming {
    cx: RequestCx,
    status: u16,
    attempt: Attempt,
    body: StreamBody,
    alarm: Alarm,
    /// Since when the upstream is waited for. While the client takes nothing, nobody waits.
    waiting: Option<Instant>,
    /// When the last piece was handed over, while nobody has come for another.
    handed: Option<Instant>,
    patience: Duration,
    trailers_sent: bool,
    /// What was handed over last, which the client may not have taken yet.
    held: Held,
}

impl DownBody {
    fn of(kind: Kind) -> Self {
        Self { kind, _stream: None }
    }

    fn belongs_to(&mut self, stream: OpenStream) {
        if let Kind::Stream(streaming) = &self.kind {
            let streaming: Weak<RefCell<Option<Streaming>>> = Rc::downgrade(streaming);
            stream.flows(streaming);
        }
        self._stream = Some(stream);
    }

    fn empty() -> Self {
        Self::of(Kind::Text(None))
    }

    fn text(text: String) -> Self {
        Self::of(Kind::Text(Some(text.into())))
    }
}

impl Body for DownBody {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        match &mut self.kind {
            Kind::Text(text) => Poll::Ready(text.take().map(|text| Ok(Frame::data(text)))),
            Kind::Stream(streaming) => match streaming.borrow_mut().as_mut() {
                Some(streaming) => streaming.poll_frame(cx),
                None => Poll::Ready(Some(Err(BrokenOff(Reason::SlowClient)))),
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Text(text) => text.is_none(),
            Kind::Stream(streaming) => streaming.borrow().as_ref().is_some_and(|streaming| {
                streaming.attempt.is_complete() && streaming.attempt.trailers().is_none()
            }),
        }
    }
}

impl Flowing for RefCell<Option<Streaming>> {
    fn give_up(&self, then: Instant) -> bool {
        let Ok(mut slot) = self.try_borrow_mut() else { return false };
        let late = slot.as_mut().filter(|s| s.handed.is_some_and(|at| at <= then));
        if let Some(streaming) = late {
            streaming.cx.reason = Some(Reason::SlowClient);
            *slot = None;
            return true;
        }
        false
    }
}

impl Streaming {
    fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        self.handed = None;
        self.held.set(0);
        let whole = self.cx.whole_deadline();
        if whole.is_some_and(|at| at <= clock::now()) {
            return Poll::Ready(Some(Err(self.broke(ClientFault::Overdue.into()))));
        }
        if !self.attempt.is_sent()
            && let Poll::Ready(Err(fault)) =
                self.attempt.poll_upload(cx, &mut self.cx.tap.tee(&mut self.body))
        {
            return Poll::Ready(Some(Err(self.broke(fault))));
        }
        let came = self.attempt.poll_piece(cx);
        if came.is_ready() {
            self.waiting = None;
        }
        match came {
            Poll::Ready(Ok(true)) => {
                let data = Bytes::copy_from_slice(self.attempt.piece());
                self.cx.tap.piece(&data);
                self.cx.bytes_out += data.len() as u64;
                self.held.set(data.len());
                if self.attempt.is_complete() && self.attempt.trailers().is_none() {
                    self.finish();
                    self.handed = Some(self.cx.ended());
                } else {
                    self.handed = Some(clock::now());
                }
                Poll::Ready(Some(Ok(Frame::data(data))))
            }
            Poll::Ready(Ok(false)) => {
                self.finish();
                let trailers = self.attempt.trailers().filter(|_| !self.trailers_sent);
                let frame = trailers.map(|fields| Ok(Frame::trailers(map_of(fields))));
                self.trailers_sent = true;
                Poll::Ready(frame)
            }
            Poll::Ready(Err(fault)) => Poll::Ready(Some(Err(self.broke(fault.into())))),
            Poll::Pending => {
                let since = *self.waiting.get_or_insert_with(clock::now);
                let limit = since + self.patience;
                ready!(self.alarm.poll(cx, whole.map_or(limit, |at| at.min(limit))));
                let fault = match whole.is_some_and(|at| at < limit) {
                    true => ClientFault::Overdue.into(),
                    false => self.attempt.overdue(&self.body),
                };
                Poll::Ready(Some(Err(self.broke(fault))))
            }
        }
    }

    fn finish(&mut self) {
        self.cx.bytes_in = self.body.received;
        self.cx.grpc.ends(self.attempt.trailers());
        self.cx.close(self.status);
        self.cx.tap.complete();
        self.attempt.finish(self.cx.ended());
    }

    fn broke(&mut self, fault: Fault) -> BrokenOff {
        let of_upstream = matches!(fault, Fault::Upstream(_));
        let reason = ProxyError::from(fault).reason;
        match of_upstream {
            true => self.cx.charge(reason),
            false => self.cx.reason = Some(reason),
        }
        self.cx.close(self.status);
        BrokenOff(reason)
    }
}

impl Drop for Streaming {
    fn drop(&mut self) {
        // hyper drops a body whose end it knows of without asking again.
        match self.attempt.is_complete() {
            true => self.finish(),
            false => {
                self.cx.reason = self.cx.reason.or(Some(Reason::ClientGone));
                self.cx.close(self.status);
            }
        }
        self.cx.worker.alarms.give(std::mem::take(&mut self.alarm));
    }
}
