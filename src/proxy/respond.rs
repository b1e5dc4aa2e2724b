//! The answer on its way to an HTTP/1.1 client: its head made anew, its body carried.

use std::future::poll_fn;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use super::VERSION_FIELD;
use super::alarm::Alarm;
use super::assign::id_text;
use super::attempt::Attempt;
use super::client::{Client, ClientBody, Upload};
use super::context::RequestCx;
use super::error::{ClientFault, Fault, UpstreamFault};
use crate::clock;
use crate::h1::body::Encoder;
use crate::h1::fields::{Field, Known};
use crate::h1::head::{Framing, HttpVersion, Method, ResponseHead};
use crate::h1::write::{self, Section};
use crate::limits::JOIN_BYTES_MAX;
use crate::route::FieldEdits;
use crate::split::CohortKey;

/// How long a cohort's cookie lasts, in seconds: thirty days, longer than rollouts take.
const COHORT_SECONDS: u32 = 30 * 24 * 3600;

/// The framing towards an HTTP/1.1 client.
pub fn framing_down(answer: &ResponseHead, client: HttpVersion) -> Framing {
    match answer.framing {
        Framing::Chunked | Framing::UntilClose if client == HttpVersion::Http10 => {
            Framing::UntilClose
        }
        Framing::Chunked | Framing::UntilClose => Framing::Chunked,
        known => known,
    }
}

/// Appends every field of the answer as the client gets it, framing and `Connection` left out:
/// those differ by protocol.
pub fn fields_down(cx: &RequestCx, answer: &ResponseHead, is_tls: bool, out: &mut impl Section) {
    let edge = &cx.entry.snapshot.edge;
    let none = FieldEdits::default();
    let route = cx.route.map(|place| &cx.entry.snapshot.routes.routes()[place]);
    let edits = route.map_or(&none, |route| &route.response_fields);
    let cookie = cohort_cookie(cx, is_tls);
    out.lines(&answer.fields, |field| {
        let replaced = cookie.is_some() && field.known == Known::CacheControl;
        !field.hop && !replaced && passes_down(field) && !edits.drops(field.name())
    });
    if let Some(cookie) = cookie {
        out.line(b"cache-control", private(answer).as_bytes());
        out.line(b"set-cookie", cookie.as_bytes());
    }
    if !edits.drops(b"x-request-id") {
        out.line(b"x-request-id", cx.request_id.as_bytes());
    }
    if edge.version_header
        && let Some(version) = cx.version()
    {
        out.line(VERSION_FIELD.as_bytes(), version.name.as_str().as_bytes());
    }
    for (name, value) in edits.set.iter().chain(&edits.add) {
        out.line(name.as_bytes(), value.as_bytes());
    }
}

fn passes_down(field: &Field<'_>) -> bool {
    !matches!(field.known, Known::ContentLength | Known::XRequestId | Known::XTidegateVersion)
}

/// The cookie of a cohort that was made for this request.
pub fn cohort_cookie(cx: &RequestCx, is_tls: bool) -> Option<String> {
    let id = cx.new_cohort?;
    let Some(CohortKey::Cookie(name)) = &cx.service()?.plan.sticky else { return None };
    let secure = if is_tls { "; Secure" } else { "" };
    Some(format!(
        "{name}={}; Path=/; Max-Age={COHORT_SECONDS}; HttpOnly; SameSite=Lax{secure}",
        id_text(id)
    ))
}

/// The answer's `Cache-Control` made private: a shared cache that kept the cookie would put
/// everyone behind it into one cohort.
fn private(answer: &ResponseHead) -> String {
    let mut kept = String::from("private");
    for value in answer.fields.all(Known::CacheControl) {
        let text = String::from_utf8_lossy(value);
        for directive in text.split(',').map(str::trim).filter(|text| !text.is_empty()) {
            let name = directive.split('=').next().unwrap_or_default().to_ascii_lowercase();
            if !["public", "private", "s-maxage"].contains(&name.as_str()) {
                kept.push_str(", ");
                kept.push_str(directive);
            }
        }
    }
    kept
}

/// Writes the head of the answer for an HTTP/1.1 or 1.0 client.
pub fn head(
    out: &mut Vec<u8>,
    cx: &RequestCx,
    answer: &ResponseHead,
    client: HttpVersion,
    is_tls: bool,
    keep: bool,
) {
    write::status_line(out, answer.status);
    fields_down(cx, answer, is_tls, out);
    let bodiless = cx.method == Method::Head || answer.status == 304;
    match answer.fields.get(Known::ContentLength).filter(|_| bodiless) {
        Some(length) => write::field(out, b"content-length", length),
        None => write::framing(out, framing_down(answer, client)),
    }
    if answer.websocket {
        out.extend_from_slice(b"connection: upgrade\r\nupgrade: websocket\r\n");
    } else if !keep {
        out.extend_from_slice(b"connection: close\r\n");
    } else if client == HttpVersion::Http10 {
        out.extend_from_slice(b"connection: keep-alive\r\n");
    }
    write::end(out);
}

/// The limits on carrying a body.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// Between two pieces from the upstream.
    pub read: Duration,
    /// While the client takes nothing.
    pub send: Duration,
    /// When all of it must be over, if it has a bound.
    pub whole: Option<Instant>,
}

impl Patience {
    /// Whether there is time left as a whole: to be asked now and then by whoever need not wait.
    pub fn check(&self) -> Result<(), Fault> {
        match self.whole.is_some_and(|at| at <= clock::now()) {
            true => Err(ClientFault::Overdue.into()),
            false => Ok(()),
        }
    }

    /// Ready once a wait has lasted until `limit`, with the fault that `late` puts it down to, or once
    /// there is no time left as a whole.
    pub fn poll<T>(
        &self,
        alarm: &mut Alarm,
        task: &mut Context<'_>,
        limit: Instant,
        late: impl FnOnce() -> Fault,
    ) -> Poll<Result<T, Fault>> {
        let overdue = self.whole.filter(|at| *at < limit);
        ready!(alarm.poll(task, overdue.unwrap_or(limit)));
        Poll::Ready(Err(if overdue.is_some() { ClientFault::Overdue.into() } else { late() }))
    }
}

/// An answer on its way down, with both sides of its exchange.
#[derive(Debug)]
pub struct Down<'a> {
    pub cx: &'a mut RequestCx,
    pub client: &'a mut Client,
    pub upload: &'a mut Upload,
    pub attempt: &'a mut Attempt,
    pub alarm: &'a mut Alarm,
    /// What waits to be written: at first the head.
    pub out: &'a mut Vec<u8>,
    pub patience: Patience,
}

impl Down<'_> {
    /// Carries the answer's body behind the head until its end. The books are closed just before the
    /// last bytes are written, so that a client that has them all finds itself counted.
    pub async fn carry(&mut self, status: u16, framing: Framing) -> Result<(), Fault> {
        let mut encoder = Encoder::new(framing);
        let mut more = true;
        loop {
            more = more && self.next_piece().await?;
            let Self { cx, upload, attempt, out, .. } = self;
            let piece = if more { attempt.piece() } else { &[] };
            cx.tap.piece(piece);
            let broken = |_| Fault::from(UpstreamFault::Malformed("body_length"));
            if !piece.is_empty() {
                encoder.begin_data(out, piece.len()).map_err(broken)?;
            }
            // A framed piece is joined with what is around it; a large plain one stays where it lies,
            // unless the request body still goes up: then both must move while the client reads.
            let joined = encoder.is_framed()
                || !attempt.is_sent()
                || out.len() + piece.len() <= JOIN_BYTES_MAX;
            if joined {
                out.extend_from_slice(piece);
                if !piece.is_empty() {
                    encoder.end_data(out);
                }
            }
            let complete = !more || attempt.is_complete();
            if complete {
                encoder.finish(out, attempt.trailers()).map_err(broken)?;
            }
            cx.bytes_out += (out.len() + if joined { 0 } else { piece.len() }) as u64;
            if complete {
                cx.bytes_in = upload.received;
                cx.grpc.ends(attempt.trailers());
                cx.close(status);
                cx.tap.complete();
            }
            if joined && !attempt.is_sent() {
                self.write_both_ways().await?;
            } else {
                self.write(joined).await?;
            }
            self.out.clear();
            if complete {
                return Ok(());
            }
            self.patience.check()?;
        }
    }

    /// Waits for a piece of the body: true when it is the attempt's, or nothing yet but what waits to
    /// be written; false at the end. Meanwhile the request body goes on.
    async fn next_piece(&mut self) -> Result<bool, Fault> {
        // The clock is read only once there is something to wait for.
        let mut since = None;
        poll_fn(|task| {
            if !self.attempt.is_sent()
                && let Poll::Ready(Err(fault)) = self.poll_upload(task)
            {
                return Poll::Ready(Err(fault));
            }
            match self.attempt.poll_piece(task) {
                Poll::Ready(came) => Poll::Ready(came.map_err(Fault::from)),
                // What was read so far goes out before waiting for more.
                Poll::Pending if !self.out.is_empty() => Poll::Ready(Ok(true)),
                Poll::Pending => {
                    let limit = *since.get_or_insert_with(clock::now) + self.patience.read;
                    let Self { cx, client, upload, attempt, alarm, patience, .. } = self;
                    let body = ClientBody { client, upload, buffers: &cx.worker.buffers };
                    patience.poll(alarm, task, limit, || attempt.overdue(&body))
                }
            }
        })
        .await
    }

    /// Writes what waits, and behind it the attempt's piece if that was not `joined`, for as long as
    /// the client takes some of it in time.
    async fn write(&mut self, joined: bool) -> Result<(), Fault> {
        let Self { client, attempt, alarm, out, patience, .. } = self;
        let body = if joined { &[] } else { attempt.piece() };
        let mut written = 0;
        let mut stalled: Option<(usize, Instant)> = None;
        poll_fn(|task| {
            let wrote = client.poll_write(task, out, body, &mut written);
            if wrote.is_ready() {
                return wrote.map_err(Fault::from);
            }
            let since = match stalled {
                Some((at, since)) if at == written => since,
                _ => clock::now(),
            };
            stalled = Some((written, since));
            patience.poll(alarm, task, since + patience.send, || ClientFault::Slow.into())
        })
        .await
    }

    /// Writes what waits while the request body goes on: a client that sends all before it reads, and
    /// an upstream that answers meanwhile, must not wait for each other.
    async fn write_both_ways(&mut self) -> Result<(), Fault> {
        let mut written = 0;
        let mut stalled: Option<(u64, Instant)> = None;
        poll_fn(|task| {
            let wrote = self.client.poll_write(task, self.out, &[], &mut written);
            if wrote.is_ready() {
                return wrote.map_err(Fault::from);
            }
            if let Poll::Ready(Err(fault)) = self.poll_upload(task) {
                return Poll::Ready(Err(fault));
            }
            let moved = written as u64 + self.attempt.uploaded();
            let since = match stalled {
                Some((at, since)) if at == moved => since,
                _ => clock::now(),
            };
            stalled = Some((moved, since));
            let limit = since + self.patience.send;
            self.patience.poll(self.alarm, task, limit, || ClientFault::Slow.into())
        })
        .await
    }

    fn poll_upload(&mut self, task: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        let Self { cx, client, upload, attempt, .. } = self;
        let mut body = ClientBody { client, upload, buffers: &cx.worker.buffers };
        attempt.poll_upload(task, &mut cx.tap.tee(&mut body))
    }
}
