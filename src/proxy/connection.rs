//! One HTTP/1.1 client connection: read a head, have it served, carry bodies, keep alive.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;
use std::time::Instant;

use tokio::io::AsyncWriteExt;

use super::alarm::Alarm;
use super::attempt::Attempt;
use super::body::BodySource as _;
use super::buffers::Scratch;
use super::client::{Client, ClientBody, Upload};
use super::context::RequestCx;
use super::error::{ClientFault, ProxyError, Reason, Refusal};
use super::forward::{self, Outgoing};
use super::listener::Seat;
use super::respond::{self, Down, Patience};
use super::worker::Worker;
use super::{Decision, reply, tunnel, turn};
use crate::clock;
use crate::h1::head::{Framing, Method, ResponseHead};
use crate::h1::write;
use crate::limits::{LINGER_BYTES_MAX, LINGER_MAX};
use crate::net::Stream;

/// What happens to the connection after a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum After {
    Keep,
    Close,
    /// The client may still be sending.
    Linger,
}

/// A client connection between two requests. Small: ten thousand of these may be waiting.
struct Connection {
    worker: Rc<Worker>,
    seat: Rc<Seat>,
    client: Client,
    alarm: Alarm,
    /// Whether the worker knows how to wake it when it drains.
    known: bool,
}

/// Serves a connection until either side ends it.
pub async fn serve(worker: Rc<Worker>, seat: Seat, stream: Stream, begun: Vec<u8>) {
    let held = worker.buffers.hold();
    let mut connection = Connection {
        worker,
        seat: Rc::new(seat),
        client: Client::new(stream, begun, held),
        alarm: Alarm::default(),
        known: false,
    };
    let mut first = true;
    loop {
        let mut scratch = match connection.next_head(first).await {
            Some(scratch) => scratch,
            None => break,
        };
        // Boxed: the state of serving a request is large, and an idle connection must not hold it.
        let after = Box::pin(connection.exchange(&mut scratch)).await;
        connection.worker.buffers.give_scratch(scratch);
        match after {
            After::Keep => first = false,
            After::Close => break,
            After::Linger => {
                Box::pin(connection.linger()).await;
                break;
            }
        }
    }
}

impl Connection {
    /// Waits for the next request head. `None` when the connection is over; what had to be said to
    /// the client has been said.
    async fn next_head(&mut self, first: bool) -> Option<Box<Scratch>> {
        let limits = &self.seat.listener.plan.limits;
        let head_limits = self.seat.listener.head_limits();
        // A new connection has as long as a head may take; a kept one as long as it may be idle.
        let patience = if first { limits.header_timeout } else { limits.idle_timeout };
        let header_timeout = limits.header_timeout;
        // The clock is read only when there is something to wait for.
        let (mut patience, mut deadline) = (patience, None);
        let mut begun: Option<Box<Scratch>> = None;
        let Self { worker, seat, client, alarm, known } = self;
        if !client.unread().is_empty() {
            begun = Some(worker.buffers.take_scratch());
        }
        loop {
            if let Some(scratch) = &mut begun {
                match scratch.request.parse(client.unread(), &head_limits) {
                    Ok(Some(consumed)) => {
                        client.consume(consumed);
                        return begun;
                    }
                    Ok(None) if !worker.has_room() => {
                        let full = ProxyError::new(Reason::BuffersFull);
                        Box::pin(self.refuse(&full)).await;
                        return None;
                    }
                    Ok(None) => {}
                    Err(error) => {
                        Box::pin(self.refuse(&error.into())).await;
                        return None;
                    }
                }
            }
            let is_idle = client.unread().is_empty();
            let mut waits = false;
            let filled = poll_fn(|task| {
                // Before it is read, a request costs nothing but what the kernel keeps of it.
                if is_idle
                    && client.stream.poll_readable(task).is_ready()
                    && worker.turns.poll_begin(task, &mut waits).is_pending()
                {
                    return Poll::Pending;
                }
                match client.poll_fill(task, &worker.buffers) {
                    Poll::Ready(Ok(count)) => Poll::Ready(Some(count)),
                    Poll::Ready(Err(_)) => Poll::Ready(Some(0)),
                    Poll::Pending => {
                        // Who has asked already gets an answer.
                        if is_idle && worker.is_draining() && !client.stream.has_arrived() {
                            return Poll::Ready(None);
                        }
                        if is_idle && !std::mem::replace(known, true) {
                            worker.wake_on_drain(seat.id, task.waker());
                        }
                        let until = *deadline.get_or_insert_with(|| clock::now() + patience);
                        alarm.poll(task, until).map(|()| None)
                    }
                }
            });
            match filled.await {
                Some(0) => return None,
                Some(_) if begun.is_none() => {
                    (patience, deadline) = (header_timeout, None);
                    begun = Some(worker.buffers.take_scratch());
                }
                Some(_) => {}
                None if is_idle => {
                    if !worker.is_draining() {
                        seat.refused(if first { Refusal::Silent } else { Refusal::Idle });
                    }
                    return None;
                }
                None => {
                    Box::pin(self.refuse(&ProxyError::new(Reason::SlowClient))).await;
                    return None;
                }
            }
        }
    }

    /// Answers what could not be read as a request, and ends the connection.
    async fn refuse(&mut self, error: &ProxyError) {
        self.worker.counts.borrow_mut().local_reply(error.reason);
        let mut out = Vec::new();
        reply::write_h1(&mut out, error, &reply::Shown::default());
        if self.write(&out).await.is_ok() {
            self.linger().await;
        }
    }

    /// Serves one request from its head to the last byte of its answer.
    async fn exchange(&mut self, scratch: &mut Scratch) -> After {
        let Scratch { request, response, cx, attempt, out } = scratch;
        let seat = self.seat.clone();
        let listener = &seat.listener;
        let cx = cx.insert(RequestCx::open(&self.worker, request, &seat));
        let limits = &listener.plan.limits;
        let mut upload = Upload::new(request, limits.max_body);
        let answered = match super::decide(cx, request, &self.seat, limits.max_body).await {
            Ok(Decision::Redirect { status, location }) => {
                cx.reason = Some(Reason::Redirect);
                *out = self.worker.buffers.take_out();
                self.redirect(cx, &mut upload, (status, &location), out, request.keep_alive).await;
                return self.after(&upload, request.keep_alive);
            }
            Ok(Decision::Forward { bytes, framing }) => {
                let mut outgoing = Outgoing::new(request, bytes, framing, limits.body_timeout);
                turn::pass().await;
                self.forward(cx, &mut outgoing, &mut upload, (attempt, response)).await
            }
            Err(error) => Err(error),
        };
        *out = self.worker.buffers.take_out();
        let attempt = match answered {
            Ok(attempt) => attempt,
            Err(error) => {
                // Whoever takes its time with an error's answer keeps no upstream waiting.
                scratch.attempt = None;
                let keep = request.keep_alive;
                return Box::pin(self.give_error(cx, &error, &upload, keep, out)).await;
            }
        };
        if response.status == 101 {
            if let Some((cx, attempt)) = scratch.cx.take().zip(scratch.attempt.take()) {
                Box::pin(tunnel::run(cx, &mut self.client, attempt, response, out)).await;
            }
            return After::Close;
        }
        let framing = respond::framing_down(response, request.version);
        let keep = request.keep_alive
            && !self.worker.is_draining()
            && !matches!(framing, Framing::UntilClose)
            && !upload.is_unbegun();
        respond::head(out, cx, response, request.version, listener.is_tls(), keep);
        let patience = Patience {
            read: cx.service().map_or(limits.send_timeout, |s| s.plan.policy.read_timeout),
            send: limits.send_timeout,
            whole: cx.whole_deadline(),
        };
        let framing = if request.method == Method::Head { Framing::None } else { framing };
        let mut down = Down {
            cx,
            client: &mut self.client,
            upload: &mut upload,
            attempt,
            alarm: &mut self.alarm,
            out,
            patience,
        };
        match down.carry(response.status, framing).await {
            Ok(()) => {
                attempt.finish(cx.ended());
                self.after(&upload, keep)
            }
            Err(fault) => {
                cx.break_off(fault, response.status);
                After::Close
            }
        }
    }

    async fn forward<'a>(
        &mut self,
        cx: &mut RequestCx,
        outgoing: &mut Outgoing<'_>,
        upload: &mut Upload,
        into: (&'a mut Option<Attempt>, &mut ResponseHead),
    ) -> Result<&'a mut Attempt, ProxyError> {
        let worker = self.worker.clone();
        let mut body = ClientBody { client: &mut self.client, upload, buffers: &worker.buffers };
        let mut body = cx.tap.tee(&mut body);
        let answered = forward::answer(cx, outgoing, &mut body, into, &mut self.alarm).await;
        let patience = self.seat.listener.plan.limits.send_timeout;
        let mut deadline = None;
        let told = poll_fn(|task| {
            let told = body.poll_interim(task);
            if told.is_ready() {
                return told;
            }
            let until = *deadline.get_or_insert_with(|| clock::now() + patience);
            self.alarm.poll(task, until).map(|()| Err(ClientFault::Slow))
        });
        told.await.map_err(ProxyError::from)?;
        answered
    }

    /// The connection after a complete answer.
    fn after(&self, upload: &Upload, keep: bool) -> After {
        match (upload.is_done(), keep && !self.worker.is_draining()) {
            (true, true) => After::Keep,
            (true, false) => After::Close,
            (false, _) => After::Linger,
        }
    }

    async fn give_error(
        &mut self,
        cx: &mut RequestCx,
        error: &ProxyError,
        upload: &Upload,
        keep: bool,
        out: &mut Vec<u8>,
    ) -> After {
        cx.reason = Some(error.reason);
        let status = reply::status(error.reason);
        if error.reason == Reason::ClientGone {
            cx.close(status);
            return After::Close;
        }
        let keep = keep && upload.is_done() && !self.worker.is_draining();
        out.clear();
        let version = cx.version().filter(|_| cx.entry.snapshot.edge.version_header);
        let shown = reply::Shown {
            request_id: cx.request_id.as_str(),
            version: version.map(|version| version.name.as_str()),
            bare: cx.method == Method::Head,
            keep,
        };
        reply::write_h1(out, error, &shown);
        cx.bytes_in = upload.received;
        cx.bytes_out = out.len() as u64;
        cx.close(status);
        match self.write(out).await {
            Ok(()) => self.after(upload, keep),
            Err(_) => After::Close,
        }
    }

    async fn redirect(
        &mut self,
        cx: &mut RequestCx,
        upload: &mut Upload,
        (status, location): (u16, &str),
        out: &mut Vec<u8>,
        keep: bool,
    ) {
        write::status_line(out, status);
        write::field(out, b"location", location.as_bytes());
        write::field(out, b"content-length", b"0");
        write::field(out, b"x-request-id", cx.request_id.as_str().as_bytes());
        if !keep || !upload.is_done() || self.worker.is_draining() {
            write::field(out, b"connection", b"close");
        }
        write::end(out);
        cx.bytes_out = out.len() as u64;
        cx.close(status);
        // A client that does not take it is noticed by the next read.
        let _ = self.write(out).await;
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), ClientFault> {
        let deadline = clock::now() + self.seat.listener.plan.limits.send_timeout;
        let Self { client, alarm, .. } = self;
        let mut written = 0;
        let write = poll_fn(|task| client.poll_write(task, bytes, &[], &mut written));
        alarm.guard(deadline, write).await.unwrap_or(Err(ClientFault::Slow))
    }

    /// Says that no more will come, and reads what is still on its way.
    async fn linger(&mut self) {
        let deadline: Instant = clock::now() + LINGER_MAX;
        let Self { worker, client, alarm, .. } = self;
        let mut thrown = 0;
        let lingering = async {
            if client.stream.shutdown().await.is_err() {
                return;
            }
            while thrown < LINGER_BYTES_MAX {
                client.consume(client.unread().len());
                match poll_fn(|task| client.poll_fill(task, &worker.buffers)).await {
                    Ok(0) | Err(_) => return,
                    Ok(count) => thrown += count as u64,
                }
            }
        };
        alarm.guard(deadline, lingering).await;
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.client.consume(self.client.unread().len());
        self.client.rest(&self.worker.buffers);
    }
}
