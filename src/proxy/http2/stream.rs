//! One stream of an HTTP/2 connection: its request served, its answer sent.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Instant;

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{RecvStream, SendStream};
use http::{Request, Response, StatusCode, request};

use super::body::StreamBody;
use super::duplex::Duplex;
use super::streams::Streams;
use crate::clock;
use crate::h1::fields::Known;
use crate::h1::head::{Framing, HeadError, Method, RequestHead, ResponseHead};
use crate::h1::write::Section as _;
use crate::limits::H2_SMALL_BYTES;
use crate::proxy::alarm::Alarm;
use crate::proxy::attempt::Attempt;
use crate::proxy::buffers::Scratch;
use crate::proxy::context::RequestCx;
use crate::proxy::error::{ClientFault, Fault, ProxyError, Reason};
use crate::proxy::fields_h2::{introduce, map_of};
use crate::proxy::forward::{self, Outgoing};
use crate::proxy::listener::Seat;
use crate::proxy::respond::{self, Patience};
use crate::proxy::worker::Worker;
use crate::proxy::{Decision, VERSION_FIELD, decide, reply, tunnel, websocket, window};

/// Fields that an answer usually has more than its upstream sent.
const FIELDS_ADDED: usize = 4;

/// How the client is answered; shared by what reads the request, which may have an interim answer.
type Respond = RefCell<SendResponse<Bytes>>;

/// A stream whose request head was read.
#[derive(Debug)]
pub struct Incoming {
    pub worker: Rc<Worker>,
    seat: Rc<Seat>,
    scratch: Box<Scratch>,
    /// What follows the head.
    rest: RecvStream,
    respond: Respond,
}

impl Incoming {
    /// Reads the head of a request. One that cannot be read was answered.
    pub fn read(
        worker: &Rc<Worker>,
        seat: &Rc<Seat>,
        request: Request<RecvStream>,
        respond: SendResponse<Bytes>,
    ) -> Option<Self> {
        let respond = Respond::new(respond);
        let mut scratch = worker.buffers.take_scratch();
        let (parts, rest) = request.into_parts();
        if let Err(error) = read_head(&mut scratch.request, &parts, &rest, (worker, seat)) {
            let error = ProxyError::from(error);
            worker.counts.borrow_mut().local_reply(error.reason);
            let bare = parts.method == http::Method::HEAD;
            send_own(&respond, problem(&error, "", None), bare);
            worker.buffers.give_scratch(scratch);
            return None;
        }
        let (worker, seat) = (worker.clone(), seat.clone());
        Some(Self { worker, seat, scratch, rest, respond })
    }

    /// Serves it, as one of these.
    pub async fn serve(self, streams: Rc<Streams>, alarm: &mut Alarm) {
        let Self { worker, seat, mut scratch, rest, respond } = self;
        worker.turns.begin().await;
        let from = (&worker, &seat, &*streams);
        let answered = answer(from, &mut scratch, alarm, rest, &respond).await;
        if let Err(TakenBack(arrived)) = answered {
            streams.note_taken_back(arrived);
        }
        worker.buffers.give_scratch(scratch);
    }
}

async fn answer(
    (worker, seat, streams): (&Rc<Worker>, &Rc<Seat>, &Streams),
    scratch: &mut Scratch,
    alarm: &mut Alarm,
    rest: RecvStream,
    respond: &Respond,
) -> Result<(), TakenBack> {
    let limits = &seat.listener.plan.limits;
    let mut cx = RequestCx::open(worker, &scratch.request, seat);
    let held = worker.buffers.hold();
    let mut body = StreamBody::new(rest, &scratch.request, limits.max_body, respond, held);
    let exchanged = {
        let mut exchange = pin!(exchange(&mut cx, scratch, seat, &mut body, alarm));
        poll_fn(|task| match exchange.as_mut().poll(task) {
            // Wherever it waits, a client that has lost interest ends it.
            Poll::Pending => respond.borrow_mut().poll_reset(task).map(|_| None),
            Poll::Ready(exchanged) => Poll::Ready(Some(exchanged)),
        })
        .await
    };
    match exchanged {
        // The books close themselves.
        None => return Err(TakenBack(cx.arrived)),
        Some(Ok(Exchanged::Redirect(status, location))) => {
            cx.reason = Some(Reason::Redirect);
            cx.close(status);
            send_own(respond, redirect(status, &location, &cx), true);
        }
        Some(Ok(Exchanged::Answer)) if scratch.response.status == 101 => {
            let mut head = head_down(&cx, &scratch.response, seat.listener.is_tls());
            *head.status_mut() = StatusCode::OK;
            // It answers a key that the client knows nothing of.
            head.headers_mut().remove(websocket::ACCEPT);
            let opened = respond.borrow_mut().send_response(head, false);
            if let (Ok(send), Some(attempt)) = (opened, scratch.attempt.take()) {
                let stream = Duplex::new(body.into_incoming(), send);
                Box::pin(tunnel::run_stream(cx, stream, attempt)).await;
            }
        }
        Some(Ok(Exchanged::Answer)) => {
            let Some(attempt) = &mut scratch.attempt else { return Ok(()) };
            let mut head = head_down(&cx, &scratch.response, seat.listener.is_tls());
            if streams.is_first_answer() {
                introduce(head.headers_mut());
            }
            let read = cx.service().map(|service| service.plan.policy.read_timeout);
            let send = limits.send_timeout;
            let whole = cx.whole_deadline();
            let patience = Patience { read: read.unwrap_or(send), send, whole };
            let ResponseHead { status, framing, .. } = scratch.response;
            let is_small = matches!(framing, Framing::Length(length) if length <= H2_SMALL_BYTES);
            let (cx, body) = (&mut cx, &mut body);
            let mut down = Down { cx, body, attempt, status, is_small, alarm, patience };
            down.send(respond, head).await;
        }
        Some(Err(error)) => {
            cx.reason = Some(error.reason);
            cx.bytes_in = body.received;
            cx.close(reply::status(error.reason));
            let edge = &cx.entry.snapshot.edge;
            let version = cx.version().filter(|_| edge.version_header);
            let version = version.map(|version| version.name.as_str());
            let problem = problem(&error, cx.request_id.as_str(), version);
            send_own(respond, problem, cx.method == Method::Head);
        }
    }
    Ok(())
}

/// The client took a stream back, which had come then, before there was an answer.
struct TakenBack(Instant);

fn read_head(
    head: &mut RequestHead,
    parts: &request::Parts,
    incoming: &RecvStream,
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
        // What follows the head of a websocket is no body.
        None if incoming.is_end_stream() || is_websocket => Framing::None,
        None => Framing::Chunked,
    };
    head.finish_h2(framing)
}

enum Exchanged {
    /// The head was read; the body follows.
    Answer,
    Redirect(u16, String),
}

async fn exchange(
    cx: &mut RequestCx,
    scratch: &mut Scratch,
    seat: &Seat,
    body: &mut StreamBody<'_>,
    alarm: &mut Alarm,
) -> Result<Exchanged, ProxyError> {
    let limits = &seat.listener.plan.limits;
    match decide(cx, &scratch.request, seat, limits.max_body).await? {
        Decision::Redirect { status, location } => Ok(Exchanged::Redirect(status, location)),
        Decision::Forward { bytes, framing } => {
            let head = &scratch.request;
            let mut outgoing = Outgoing::new(head, bytes, framing, limits.body_timeout);
            let answer = &mut scratch.response;
            let into = (&mut scratch.attempt, &mut *answer);
            forward::answer(cx, &mut outgoing, &mut cx.tap.tee(body), into, alarm).await?;
            // Any success would tell the client that its websocket is open (RFC 8441 §5).
            if head.websocket && (200..300).contains(&answer.status) {
                return Err(ProxyError::with(Reason::NotImplemented, "websocket"));
            }
            Ok(Exchanged::Answer)
        }
    }
}

/// An upstream's answer on its way to the client.
struct Down<'a, 'b> {
    cx: &'a mut RequestCx,
    body: &'a mut StreamBody<'b>,
    attempt: &'a mut Attempt,
    status: u16,
    /// All of it may go before the client takes any: to ask takes four atomic steps.
    is_small: bool,
    alarm: &'a mut Alarm,
    patience: Patience,
}

impl Down<'_, '_> {
    /// Sends all of it. The books are closed just before the last of it is handed over, so that a
    /// client that has it all finds itself counted.
    async fn send(&mut self, respond: &Respond, head: Response<()>) {
        let is_whole = self.attempt.is_complete() && self.attempt.trailers().is_none();
        if is_whole {
            self.finish();
        }
        let sent = respond.borrow_mut().send_response(head, is_whole);
        // Of a client that has gone the books tell by themselves.
        let Ok(mut stream) = sent else { return };
        if !is_whole && let Err(fault) = self.carry(&mut stream).await {
            self.cx.break_off(fault, self.status);
            // Reset, never ended: it must not look whole.
            stream.send_reset(h2::Reason::INTERNAL_ERROR);
        }
    }

    async fn carry(&mut self, stream: &mut SendStream<Bytes>) -> Result<(), Fault> {
        let gone = |_| Fault::from(ClientFault::Gone);
        let mut held = self.cx.worker.buffers.hold();
        loop {
            let more = self.next_piece(stream).await?;
            let piece = if more { self.attempt.piece() } else { &[] };
            let data = Bytes::copy_from_slice(piece);
            self.cx.tap.piece(piece);
            self.cx.bytes_out += data.len() as u64;
            held.set(data.len());
            if more && !self.attempt.is_complete() {
                stream.send_data(data, false).map_err(gone)?;
                continue;
            }
            self.finish();
            return match self.attempt.trailers().map(map_of) {
                None => stream.send_data(data, true).map_err(gone),
                Some(trailers) => {
                    stream.send_data(data, false).map_err(gone)?;
                    stream.send_trailers(trailers).map_err(gone)
                }
            };
        }
    }

    /// Waits until the client takes more, and there is more: true when it is the attempt's piece,
    /// false at the end. Meanwhile the request body goes on.
    async fn next_piece(&mut self, stream: &mut SendStream<Bytes>) -> Result<bool, Fault> {
        let Self { cx, body, attempt, is_small, alarm, patience, .. } = self;
        patience.check()?;
        let mut waiting: Option<(bool, Instant)> = None;
        poll_fn(|task| {
            if !attempt.is_sent()
                && let Poll::Ready(Err(fault)) = attempt.poll_upload(task, &mut cx.tap.tee(*body))
            {
                return Poll::Ready(Err(fault));
            }
            let opened =
                if *is_small { Poll::Ready(true) } else { window::poll_open(stream, task) };
            let is_taking = match opened {
                Poll::Ready(true) => true,
                Poll::Ready(false) => return Poll::Ready(Err(ClientFault::Gone.into())),
                Poll::Pending => false,
            };
            if is_taking && let Poll::Ready(came) = attempt.poll_piece(task) {
                return Poll::Ready(came.map_err(Fault::from));
            }
            if stream.poll_reset(task).is_ready() {
                return Poll::Ready(Err(ClientFault::Gone.into()));
            }
            let since = match waiting {
                Some((before, since)) if before == is_taking => since,
                _ => clock::now(),
            };
            waiting = Some((is_taking, since));
            let limit = since + if is_taking { patience.read } else { patience.send };
            patience.poll(alarm, task, limit, || match is_taking {
                true => attempt.overdue(*body),
                false => ClientFault::Slow.into(),
            })
        })
        .await
    }

    fn finish(&mut self) {
        self.cx.bytes_in = self.body.received;
        self.cx.grpc.ends(self.attempt.trailers());
        self.cx.close(self.status);
        self.cx.tap.complete();
        self.attempt.finish(self.cx.ended());
    }
}

/// A status as the library has it.
pub fn status_of(status: u16) -> StatusCode {
    StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY)
}

fn head_down(cx: &RequestCx, answer: &ResponseHead, is_tls: bool) -> Response<()> {
    let mut fields = cx.worker.answers.draft(answer.fields.len() + FIELDS_ADDED);
    respond::fields_down(cx, answer, is_tls, &mut fields);
    let bodiless = cx.method == Method::Head || answer.status == 304;
    match (answer.framing, answer.fields.get(Known::ContentLength)) {
        (_, Some(length)) if bodiless => fields.line(b"content-length", length),
        (Framing::Length(length), _) => {
            let mut digits = itoa::Buffer::new();
            fields.line(b"content-length", digits.format(length).as_bytes());
        }
        _ => {}
    }
    let mut response = Response::new(());
    *response.status_mut() = status_of(answer.status);
    *response.headers_mut() = fields.finish();
    response
}

fn redirect(status: u16, location: &str, cx: &RequestCx) -> Response<String> {
    let mut response = Response::new(String::new());
    *response.status_mut() = status_of(status);
    response.headers_mut().line(b"location", location.as_bytes());
    response.headers_mut().line(b"x-request-id", cx.request_id.as_bytes());
    response
}

fn problem(error: &ProxyError, request_id: &str, version: Option<&str>) -> Response<String> {
    let body = reply::body(error, request_id);
    let length = body.len();
    let mut response = Response::new(body);
    *response.status_mut() = status_of(reply::status(error.reason));
    let retry = reply::retry_after(error).map(|seconds| seconds.to_string());
    let fields = response.headers_mut();
    fields.insert(http::header::CONTENT_LENGTH, length.into());
    fields.line(b"content-type", b"application/problem+json");
    let named = [
        ("retry-after", retry.as_deref()),
        ("x-request-id", Some(request_id).filter(|id| !id.is_empty())),
        (VERSION_FIELD, version),
    ];
    for (name, value) in named {
        if let Some(value) = value {
            fields.line(name.as_bytes(), value.as_bytes());
        }
    }
    response
}

/// Sends an answer of the proxy's own, without its body where there must be none. A client that has
/// gone does not get it.
fn send_own(respond: &Respond, response: Response<String>, bare: bool) {
    let (parts, text) = response.into_parts();
    let is_whole = bare || text.is_empty();
    let sent = respond.borrow_mut().send_response(Response::from_parts(parts, ()), is_whole);
    if let Ok(mut stream) = sent
        && !is_whole
    {
        let _ = stream.send_data(text.into(), true);
    }
}
