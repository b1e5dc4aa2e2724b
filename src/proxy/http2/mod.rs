//! HTTP/2 clients: the `h2` crate speaks the protocol, the request path is the same.
//!
//! hyper's server would add a layer of bodies and tasks between `h2` and the request path that costs
//! more than the path itself, and has no way to pass interim answers on.

mod body;
mod crew;
mod duplex;
mod stream;
mod streams;

use std::future::{Future as _, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::{Ping, PingPong};

pub use self::crew::Crew;
pub use self::duplex::Duplex;
use self::stream::Incoming;
use self::streams::Streams;
use crate::clock;
use crate::limits::{
    CLIENT_STREAMS_MAX, H2_CONNECTION_WINDOW_BYTES, H2_LEAVE_MAX, H2_RESETS_MAX,
    H2_SEND_BUFFER_BYTES, H2_STREAM_WINDOW_BYTES,
};
use crate::net::Stream;
use crate::plan::ListenerLimits;
use crate::proxy::alarm::Alarm;
use crate::proxy::cork::{Cork, Dry};
use crate::proxy::error::Refusal;
use crate::proxy::listener::Seat;
use crate::proxy::worker::Worker;

/// A client with open streams that began none for so long is asked whether it is there, and answers within as
/// much.
const PING_EVERY: Duration = Duration::from_secs(30);

type Connection = h2::server::Connection<Cork, Bytes>;

/// Serves a connection until either side ends it.
pub async fn serve(worker: Rc<Worker>, seat: Seat, stream: Stream, begun: Vec<u8>) {
    let seat = Rc::new(seat);
    let mut alarm = Alarm::default();
    let mut cork = Cork::new(stream, begun);
    let dry = cork.ask_once();
    let ended = match Box::pin(greet(&worker, &seat, cork, &dry, &mut alarm)).await {
        Some(Ok(mut connection)) => run(&worker, &seat, &mut connection, dry, alarm).await,
        Some(Err(error)) => Err(error),
        None => return,
    };
    if let Err(error) = ended {
        if let Some(refusal) = refusal_of(&error) {
            seat.refused(refusal);
        }
        tracing::debug!(%error, "an HTTP/2 connection ended");
    }
}

/// Exchanges prefaces. `None` when the client said nothing in time, or the worker drains before it did.
async fn greet(
    worker: &Worker,
    seat: &Seat,
    cork: Cork,
    dry: &Dry,
    alarm: &mut Alarm,
) -> Option<Result<Connection, h2::Error>> {
    let limits = &seat.listener.plan.limits;
    let until = clock::now() + limits.header_timeout;
    let mut handshake = pin!(protocol(limits).handshake(cork));
    poll_fn(|task| {
        dry.clear();
        worker.wake_on_drain(seat.id, task.waker());
        if let Poll::Ready(greeted) = handshake.as_mut().poll(task) {
            return Poll::Ready(Some(greeted));
        }
        if worker.is_draining() {
            return Poll::Ready(None);
        }
        ready!(alarm.poll(task, until));
        seat.refused(Refusal::Silent);
        Poll::Ready(None)
    })
    .await
}

/// HTTP/2 within the listener's limits.
fn protocol(limits: &ListenerLimits) -> h2::server::Builder {
    // Twice of what a head may have: one that is somewhat too large gets its answer, and its count,
    // from the request path. A larger one is refused by the library.
    let header_list = limits.max_header_bytes.saturating_mul(2);
    let mut builder = h2::server::Builder::new();
    builder
        .initial_window_size(H2_STREAM_WINDOW_BYTES)
        .initial_connection_window_size(H2_CONNECTION_WINDOW_BYTES)
        .max_send_buffer_size(H2_SEND_BUFFER_BYTES)
        .max_concurrent_streams(CLIENT_STREAMS_MAX)
        .enable_connect_protocol()
        .max_header_list_size(u32::try_from(header_list).unwrap_or(u32::MAX))
        .max_pending_accept_reset_streams(H2_RESETS_MAX)
        .max_local_error_reset_streams(Some(64));
    builder
}

/// Begins a task for each stream until the connection has ended.
async fn run(
    worker: &Rc<Worker>,
    seat: &Rc<Seat>,
    connection: &mut Connection,
    dry: Dry,
    mut alarm: Alarm,
) -> Result<(), h2::Error> {
    let limits = &seat.listener.plan.limits;
    let mut pulse = Pulse::default();
    let streams = Rc::new(Streams::default());
    let opened = clock::now();
    let mut any_begun = false;
    let mut leaving = false;
    let mut flooded: Option<Instant> = None;
    let mut quiet: Option<Instant> = None;
    poll_fn(|task| {
        dry.clear();
        loop {
            if worker.is_draining() && !leaving {
                leaving = true;
                connection.graceful_shutdown();
            }
            while let Poll::Ready(came) = pin!(connection.accept()).poll(task) {
                let Some(came) = came else { return Poll::Ready(Ok(())) };
                let (request, respond) = came?;
                any_begun = true;
                pulse.felt();
                if flooded.is_some() {
                    continue;
                }
                let Some(stream) = Incoming::read(worker, seat, request, respond) else { continue };
                crew::serve(stream, streams.open());
            }
            if flooded.is_none() && streams.is_flood() {
                flooded = Some(clock::now());
                seat.refused(Refusal::Flood);
                connection.abrupt_shutdown(h2::Reason::ENHANCE_YOUR_CALM);
                continue;
            }
            if let Some(since) = flooded {
                ready!(alarm.poll(task, since + H2_LEAVE_MAX));
                return Poll::Ready(Ok(()));
            }
            if streams.any_open() {
                quiet = None;
                ready!(pulse.poll(task, connection, &mut alarm));
                tracing::debug!("an HTTP/2 client does not answer any more");
                return Poll::Ready(Ok(()));
            }
            pulse.rest();
            let since = match any_begun {
                true => *quiet.get_or_insert_with(clock::now),
                false => opened,
            };
            let limit = match (any_begun, leaving) {
                (true, false) => limits.idle_timeout,
                (true, true) => H2_LEAVE_MAX,
                // As with HTTP/1: a new connection has as long as a head may take, and none when
                // it must go.
                (false, false) => limits.header_timeout,
                (false, true) => return Poll::Ready(Ok(())),
            };
            ready!(alarm.poll(task, since + limit));
            if leaving {
                return Poll::Ready(Ok(()));
            }
            seat.refused(if any_begun { Refusal::Idle } else { Refusal::Silent });
            leaving = true;
            quiet = None;
            connection.graceful_shutdown();
        }
    })
    .await
}

/// What it was that this side ended a connection for, if it did.
fn refusal_of(error: &h2::Error) -> Option<Refusal> {
    let reason = error.reason().filter(|_| error.is_library())?;
    Some(match reason {
        h2::Reason::ENHANCE_YOUR_CALM => Refusal::Flood,
        _ => Refusal::Malformed,
    })
}

/// Whether the client is still there while its streams are open: a peer that has vanished says nothing.
#[derive(Default)]
struct Pulse {
    /// Taken when first needed: once they are, the library does more each time that it is polled.
    pings: Option<PingPong>,
    /// When the next ping is due, or the answer to the last.
    due: Option<Instant>,
    /// The client has begun a stream since.
    felt: bool,
    asked: bool,
}

impl Pulse {
    /// The client is there.
    fn felt(&mut self) {
        self.felt = true;
    }

    /// Without open streams the idle timeout tells.
    fn rest(&mut self) {
        self.due = None;
    }

    /// Ready when a ping was not answered.
    fn poll(
        &mut self,
        task: &mut Context<'_>,
        connection: &mut Connection,
        alarm: &mut Alarm,
    ) -> Poll<()> {
        loop {
            if self.asked
                && let Some(pings) = &mut self.pings
                && pings.poll_pong(task).is_ready()
            {
                self.asked = false;
                self.due = None;
            }
            let due = *self.due.get_or_insert_with(|| clock::now() + PING_EVERY);
            ready!(alarm.poll(task, due));
            if self.asked {
                return Poll::Ready(());
            }
            self.due = None;
            if std::mem::take(&mut self.felt) {
                continue;
            }
            if self.pings.is_none() {
                self.pings = connection.ping_pong();
            }
            let Some(pings) = &mut self.pings else { return Poll::Pending };
            self.asked = pings.send_ping(Ping::opaque()).is_ok();
            // Of pings that were taken just now the connection learns when it is polled again.
            task.waker().wake_by_ref();
        }
    }
}
