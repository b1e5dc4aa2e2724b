//! Attempts over HTTP/2: streams of shared connections.
//!
//! The `h2` crate speaks the protocol, as it does with clients. hyper's client above it would add queues
//! and tasks between a request and its stream, flush every frame and keep interim answers to itself: a
//! request cost a fifth more.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::Bytes;
use h2::client::ResponseFuture;
use h2::ext::Protocol;
use h2::{RecvStream, SendStream};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, Request, Response, StatusCode, Uri, uri};

use super::body::{BodySource, Progress};
use super::buffers::Held;
use super::error::{Fault, UpstreamFault};
use super::fields_h2::{introduce, map_of};
use super::http2::Duplex;
use super::memo::Memo;
use super::pool::InFlight;
use super::shared_h2::{Sender, Shared};
use super::worker::Worker;
use super::{websocket, window};
use crate::h1::fields::{Fields, Known};
use crate::h1::head::{Framing, Method, ResponseHead};
use crate::h1::write;
use crate::limits::{INTERIM_ANSWERS_MAX, UPSTREAM_WINDOW_BYTES};

/// An attempt in progress on one stream.
pub struct H2Exchange {
    worker: Rc<Worker>,
    _flight: InFlight,
    shared: Rc<Shared>,
    /// Answers that had come over the connection when this began.
    answers_before: u64,
    head: Vec<u8>,
    uplink: Uplink,
    answer: Answer,
    interim: u32,
    /// What a websocket that is taken is answered with by HTTP/1.1, where one is asked for.
    accept: Option<String>,
    method: Method,
    piece: Bytes,
    /// What may wait behind it.
    held: Held,
    trailers: Fields,
    reused: bool,
    complete: bool,
}

/// The answer as far as it has come.
enum Answer {
    /// The stream was not begun; why, until that was told.
    Refused(Option<UpstreamFault>),
    Awaited(ResponseFuture),
    Body(RecvStream),
    Opening(Duplex),
    Taken,
}

impl fmt::Debug for H2Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
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
        let Sender { shared, is_tls, reused } = sender;
        let is_empty = framing == Framing::None;
        let request = || {
            let mut request = request_of(&head, is_tls, &worker.requests)?;
            if !reused {
                introduce(request.headers_mut());
            }
            if accept.is_some() {
                connects(&mut request);
            }
            Some(request)
        };
        let (answer, stream) = match shared.begin(request, is_empty && accept.is_none()) {
            Ok((answering, stream)) => (Answer::Awaited(answering), Some(stream)),
            Err(fault) => (Answer::Refused(Some(fault)), None),
        };
        let held = worker.buffers.hold();
        Self {
            worker,
            _flight: flight,
            answers_before: shared.answers.get(),
            shared,
            head,
            uplink: Uplink { stream, ended: is_empty, ..Uplink::default() },
            answer,
            interim: 0,
            accept,
            method,
            piece: Bytes::new(),
            held,
            trailers: Fields::default(),
            reused,
            complete: false,
        }
    }

    /// See [`super::exchange::Exchange::take_head`].
    pub fn take_head(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.head)
    }

    /// See [`super::exchange::Exchange::uploaded`].
    pub fn uploaded(&self) -> u64 {
        self.uplink.sent
    }

    /// See [`super::exchange::Exchange::waits_for`].
    pub fn waits_for(&self, _: &dyn BodySource) -> bool {
        self.uplink.waits
    }

    /// See [`super::exchange::Exchange::is_sent`].
    pub fn is_sent(&self) -> bool {
        self.uplink.ended
    }

    /// See [`super::exchange::Exchange::poll_upload`].
    pub fn poll_upload(
        &mut self,
        cx: &mut Context<'_>,
        body: &mut dyn BodySource,
    ) -> Poll<Result<(), Fault>> {
        self.uplink.poll(cx, body)
    }

    /// See [`super::exchange::Exchange::poll_head`].
    pub fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        head: &mut ResponseHead,
    ) -> Poll<Result<(), UpstreamFault>> {
        let answering = match &mut self.answer {
            Answer::Awaited(answering) => answering,
            Answer::Refused(fault) => {
                let fault = fault.take().unwrap_or(UpstreamFault::Broken("stream_failed"));
                return Poll::Ready(Err(fault));
            }
            _ => return Poll::Ready(Err(UpstreamFault::Broken("stream_failed"))),
        };
        // Ready with nothing when the final answer is there, or nothing is to come.
        while let Some(came) = ready!(answering.poll_informational(cx)) {
            let Ok(interim) = came else { break };
            self.interim += 1;
            if self.interim > INTERIM_ANSWERS_MAX {
                return Poll::Ready(Err(UpstreamFault::Malformed("interim_answers")));
            }
            // HTTP/2 has no such answer.
            if interim.status() != StatusCode::SWITCHING_PROTOCOLS {
                begin(head, &interim);
                return Poll::Ready(Ok(()));
            }
        }
        let response = match ready!(Pin::new(answering).poll(cx)) {
            Ok(response) => response,
            Err(error) => return Poll::Ready(Err(self.fault_of(&error))),
        };
        self.shared.answers.set(self.shared.answers.get() + 1);
        Poll::Ready(self.head_came(head, response))
    }

    fn head_came(
        &mut self,
        head: &mut ResponseHead,
        response: Response<RecvStream>,
    ) -> Result<(), UpstreamFault> {
        if let Some(accept) = self.accept.take_if(|_| response.status() == StatusCode::OK) {
            switching(head, response.headers(), &accept);
            let stream = self.uplink.stream.take();
            let opening = stream.map(|stream| Duplex::new(response.into_body(), stream));
            self.answer = opening.map_or(Answer::Taken, Answer::Opening);
            return Ok(());
        }
        if response.status().is_informational() {
            return Err(UpstreamFault::Malformed("upgrade_unasked"));
        }
        begin(head, &response);
        let length = response.headers().get(http::header::CONTENT_LENGTH);
        let length = length.and_then(|value| value.to_str().ok()?.parse().ok());
        let bodiless = self.method == Method::Head || matches!(head.status, 204 | 304);
        let incoming = response.into_body();
        let is_whole = incoming.is_end_stream();
        head.framing = match length {
            _ if bodiless => Framing::None,
            Some(length) => Framing::Length(length),
            None if is_whole => Framing::Length(0),
            None => Framing::Chunked,
        };
        self.complete = bodiless || is_whole;
        if !self.complete {
            self.held.set(UPSTREAM_WINDOW_BYTES as usize);
        }
        self.answer = Answer::Body(incoming);
        Ok(())
    }

    /// Notes that this was waited for in vain: new streams begin on another connection, unless others
    /// of this one were answered meanwhile.
    pub fn doubt(&self) {
        if self.shared.answers.get() == self.answers_before {
            self.shared.doubtful.set(true);
        }
    }

    /// The bytes of a websocket that was taken.
    pub fn take_opening(&mut self) -> Option<Duplex> {
        match std::mem::replace(&mut self.answer, Answer::Taken) {
            Answer::Opening(opening) => Some(opening),
            _ => None,
        }
    }

    /// What a stream that ended without an answer says about a second try.
    fn fault_of(&self, error: &h2::Error) -> UpstreamFault {
        let refused = error.is_reset() && error.reason() == Some(h2::Reason::REFUSED_STREAM);
        let unprocessed = error.is_remote() && (error.is_go_away() || refused);
        let is_stale = !error.is_reset() && self.reused && self.interim == 0;
        match unprocessed && !self.uplink.touched && self.interim == 0 {
            true => UpstreamFault::Unprocessed,
            false if is_stale => UpstreamFault::Stale,
            false => UpstreamFault::Broken("stream_failed"),
        }
    }

    /// See [`super::exchange::Exchange::poll_piece`].
    pub fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, UpstreamFault>> {
        let Answer::Body(incoming) = &mut self.answer else { return Poll::Ready(Ok(false)) };
        if self.complete {
            self.piece = Bytes::new();
            return Poll::Ready(Ok(false));
        }
        if !self.piece.is_empty() {
            // The upstream may send as much more. Of a stream that has ended nobody wants to know.
            let _ = incoming.flow_control().release_capacity(self.piece.len());
            self.piece = Bytes::new();
        }
        self.held.set(0);
        let reset = |_| UpstreamFault::Broken("stream_reset");
        while let Some(came) = ready!(incoming.poll_data(cx)) {
            let data = came.map_err(reset)?;
            if data.is_empty() {
                continue;
            }
            self.complete = incoming.is_end_stream();
            let waiting = if self.complete { data.len() } else { UPSTREAM_WINDOW_BYTES as usize };
            self.held.set(waiting);
            self.piece = data;
            return Poll::Ready(Ok(true));
        }
        let trailers = ready!(incoming.poll_trailers(cx)).map_err(reset)?;
        for (name, value) in trailers.iter().flatten() {
            self.trailers.push(name.as_str().as_bytes(), value.as_bytes());
        }
        self.complete = true;
        Poll::Ready(Ok(false))
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

    /// Ends the attempt; the connection stays for others. What was not sent or read of the stream is
    /// given up.
    pub fn finish(&mut self, _: Instant) {
        self.answer = Answer::Taken;
        self.uplink.stream = None;
        self.held.set(0);
    }
}

impl Drop for H2Exchange {
    fn drop(&mut self) {
        self.worker.buffers.give_head(std::mem::take(&mut self.head));
    }
}

/// The request body on its way up. A stream that is given up before its end is reset by the library, so
/// that it never looks whole.
#[derive(Default)]
struct Uplink {
    stream: Option<SendStream<Bytes>>,
    /// All of it was handed over.
    ended: bool,
    /// It is the client that has to send more.
    waits: bool,
    /// Bytes of it.
    sent: u64,
    /// Something of it was taken from the client.
    touched: bool,
}

impl Uplink {
    /// Nothing is read from the client before the stream was begun, so that a request which was not
    /// can be begun elsewhere.
    fn poll(&mut self, cx: &mut Context<'_>, body: &mut dyn BodySource) -> Poll<Result<(), Fault>> {
        while !self.ended {
            self.waits = false;
            let Some(stream) = &mut self.stream else { return Poll::Pending };
            // An upstream that wants no more of it may have answered: that is told by the answer.
            if !ready!(window::poll_open(stream, cx)) {
                return Poll::Pending;
            }
            self.waits = true;
            let came = ready!(body.poll_data(cx)).map_err(Fault::from)?;
            self.waits = false;
            self.touched = true;
            let data = match came {
                Progress::Data => Bytes::copy_from_slice(body.data()),
                Progress::End => Bytes::new(),
            };
            body.consume(data.len());
            self.sent += data.len() as u64;
            // The end usually comes with the last of it, and can be told in the same frame.
            let next = match came {
                Progress::Data => body.poll_data(cx),
                Progress::End => Poll::Ready(Ok(Progress::End)),
            };
            self.ended = matches!(next, Poll::Ready(Ok(Progress::End)));
            let trailers = body.trailers().filter(|_| self.ended);
            let is_last = self.ended && trailers.is_none();
            // Of a stream that was reset meanwhile the answer tells, too.
            if is_last || !data.is_empty() {
                let _ = stream.send_data(data, is_last);
            }
            if let Some(trailers) = trailers {
                let _ = stream.send_trailers(map_of(trailers));
            }
            if let Poll::Ready(Err(fault)) = next {
                return Poll::Ready(Err(fault.into()));
            }
        }
        Poll::Ready(Ok(()))
    }
}

/// The HTTP/2 request of a head that this proxy has written itself.
fn request_of(head: &[u8], is_tls: bool, memo: &Memo) -> Option<Request<()>> {
    let head = write::Apart::of(head)?;
    let path = PathAndQuery::try_from(head.target).ok()?;
    let mut request = Request::new(());
    *request.method_mut() = http::Method::from_bytes(head.method).ok()?;
    let mut fields = memo.draft(head.lines());
    let mut host = None;
    for (name, value) in head {
        match Known::of(name) {
            Known::Host => host = host.or(Some(value)),
            Known::Connection | Known::TransferEncoding | Known::Upgrade => {}
            known => fields.add(name, value, known),
        }
    }
    *request.headers_mut() = fields.finish();
    let mut target = uri::Parts::default();
    target.scheme = Some(if is_tls { Scheme::HTTPS } else { Scheme::HTTP });
    target.authority = Some(Authority::try_from(host.unwrap_or(b"localhost")).ok()?);
    target.path_and_query = Some(path);
    *request.uri_mut() = Uri::from_parts(target).ok()?;
    Some(request)
}

/// Makes the handshake of HTTP/1.1 that of HTTP/2 (RFC 8441 §5).
fn connects(request: &mut Request<()>) {
    *request.method_mut() = http::Method::CONNECT;
    request.headers_mut().remove(websocket::KEY);
    request.extensions_mut().insert(Protocol::from_static("websocket"));
}

/// Makes it the head of an answer, interim or final, whose framing is still to be told.
fn begin<T>(head: &mut ResponseHead, response: &Response<T>) {
    head.begin(response.status().as_u16());
    for (name, value) in response.headers() {
        head.fields.push(name.as_str().as_bytes(), value.as_bytes());
    }
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
