//! Connections to upstreams over HTTP/2, which requests share: when another is opened, and what the
//! other side has said of itself.

use std::cell::{Cell, RefCell};
use std::future::{Future as _, poll_fn};
use std::io;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::SendStream;
use h2::client::{ResponseFuture, SendRequest};
use http::Request;
use tokio::sync::Notify;

use super::cork::Cork;
use super::error::UpstreamFault;
use super::pool::{self, EndpointPool, VersionLoad};
use crate::clock;
use crate::limits::{
    H2_SEND_BUFFER_BYTES, POOL_IDLE_MAX, RESPONSE_HEAD_BYTES_MAX, UPSTREAM_STREAMS_MAX,
    UPSTREAM_WINDOW_BYTES,
};
use crate::net;
use crate::upstream::Endpoint;

/// As many streams as nobody can say to take: a number of theirs has 32 bits.
const UNTOLD: usize = usize::MAX - 1;

/// An open connection that requests share.
#[derive(Debug)]
pub struct Connection {
    sender: Rc<Shared>,
    used: Instant,
}

/// The same connection as each of its streams holds it.
#[derive(Debug)]
pub struct Shared {
    send: RefCell<SendRequest<Bytes>>,
    told: Told,
    /// No stream can be begun any more.
    closed: Cell<bool>,
    /// Heads of answers that came over it.
    pub answers: Cell<u64>,
    /// Nothing came over it while a request waited in vain. What lies between may have forgotten the
    /// connection, and to ask by PING is held against clients by servers of gRPC.
    pub doubtful: Cell<bool>,
    /// Counted for its version as long as it is open.
    _load: pool::Open,
}

/// What the other side says of itself in its settings.
#[derive(Debug)]
struct Told {
    /// Streams that it takes at once; [`UNTOLD`] until its settings have come.
    streams_max: Cell<usize>,
    /// Whether a stream may carry a websocket.
    websockets: Cell<bool>,
    came: Notify,
}

impl Shared {
    fn new(send: SendRequest<Bytes>, load: Rc<VersionLoad>) -> Self {
        let (streams_max, websockets) = (Cell::new(UNTOLD), Cell::new(false));
        Self {
            send: RefCell::new(send),
            told: Told { streams_max, websockets, came: Notify::new() },
            closed: Cell::new(false),
            answers: Cell::new(0),
            doubtful: Cell::new(false),
            _load: pool::Open::new(load),
        }
    }

    /// Begins a stream for a request, which is made again if it must be.
    ///
    /// # Errors
    /// The connection takes no more of them, or the request is none that HTTP/2 can express. The other
    /// side has seen nothing of it.
    pub fn begin(
        &self,
        request: impl Fn() -> Option<Request<()>>,
        is_whole: bool,
    ) -> Result<(ResponseFuture, SendStream<Bytes>), UpstreamFault> {
        let mut send = self.send.borrow_mut();
        for _ in 0..2 {
            let Some(request) = request() else { break };
            if let Ok(begun) = send.send_request(request, is_whole) {
                return Ok(begun);
            }
            // A handle takes no stream while its last one still waits for leave to begin; a new one does,
            // as long as the connection takes any. How many may wait is seen to by `place`.
            let mut fresh = send.clone();
            let mut nobody = Context::from_waker(Waker::noop());
            if !matches!(fresh.poll_ready(&mut nobody), Poll::Ready(Ok(()))) {
                self.closed.set(true);
                return Err(UpstreamFault::Unprocessed);
            }
            *send = fresh;
        }
        Err(UpstreamFault::Malformed("request_not_expressible"))
    }

    /// Looks what the other side's settings say by now.
    fn note_settings(&self) {
        self.told.websockets.set(self.send.borrow().is_extended_connect_protocol_enabled());
        let streams_max = self.send.borrow().current_max_send_streams();
        if self.told.streams_max.replace(streams_max) != streams_max {
            self.told.came.notify_waiters();
        }
    }

    fn note_end(&self) {
        self.closed.set(true);
        self.told.websockets.set(false);
        self.told.streams_max.set(0);
        self.told.came.notify_waiters();
    }
}

/// Leave to begin one stream.
#[derive(Debug)]
pub struct Sender {
    pub shared: Rc<Shared>,
    pub is_tls: bool,
    /// Whether the connection has served others before.
    pub reused: bool,
}

impl Connection {
    /// Streams that may be open at once: what the other side says, within reason. More of them would
    /// wait for each other.
    fn streams_max(&self) -> usize {
        self.sender.told.streams_max.get().clamp(1, UPSTREAM_STREAMS_MAX)
    }

    /// Whether new streams can be begun, it is trusted to carry them, and not idle for too long.
    pub fn is_open(&self, now: Instant) -> bool {
        let idle = Rc::strong_count(&self.sender) == 1
            && now.saturating_duration_since(self.used) > POOL_IDLE_MAX;
        !self.sender.closed.get() && !self.sender.doubtful.get() && !idle
    }
}

impl Sender {
    /// Whether the stream may carry a websocket (RFC 8441 §3). On a new connection that is known only
    /// once the other side's settings have come.
    pub async fn takes_websockets(&self, timeout: Duration) -> bool {
        let told = &self.shared.told;
        let waiting = async {
            loop {
                let came = told.came.notified();
                if told.streams_max.get() != UNTOLD {
                    return told.websockets.get();
                }
                came.await;
            }
        };
        tokio::time::timeout(timeout, waiting).await.unwrap_or(false)
    }
}

/// A place on an open connection, or on a new one, in `timeout`.
pub async fn sender(
    endpoint: &Endpoint,
    pool: &EndpointPool,
    load: Rc<VersionLoad>,
    (now, timeout): (Instant, Duration),
) -> Result<Sender, UpstreamFault> {
    let is_tls = endpoint.tls.is_some();
    if let Some(sender) = place(pool, is_tls, now) {
        return Ok(sender);
    }
    let connecting = async {
        let _turn = pool.h2_connecting.lock().await;
        // Whoever had the turn before may have made one that serves this request too.
        if let Some(sender) = place(pool, is_tls, clock::now()) {
            return Ok(sender);
        }
        let shared = connect(endpoint, pool, load).await?;
        pool.h2.borrow_mut().push(Connection { sender: shared.clone(), used: clock::now() });
        Ok(Sender { shared, is_tls, reused: false })
    };
    let connected = Box::pin(tokio::time::timeout(timeout, connecting)).await;
    connected.unwrap_or(Err(UpstreamFault::ConnectTimeout))
}

/// A place on the least busy connection that is open.
fn place(pool: &EndpointPool, is_tls: bool, now: Instant) -> Option<Sender> {
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
    load: Rc<VersionLoad>,
) -> Result<Rc<Shared>, UpstreamFault> {
    let addresses = endpoint.addresses().clone();
    let turn = pool.turn.replace(pool.turn.get().wrapping_add(1));
    let stream = net::connect(&addresses, turn, endpoint.tls.as_ref(), b"").await;
    let stream = stream.map_err(UpstreamFault::Connect)?;
    if endpoint.tls.is_some() && stream.alpn() != Some(b"h2") {
        return Err(UpstreamFault::Connect(io::Error::other("no HTTP/2 was agreed on")));
    }
    let handshake = protocol().handshake(Cork::new(stream, Vec::new())).await;
    let unreachable = |error| UpstreamFault::Connect(io::Error::other(error));
    let (send, connection) = handshake.map_err(unreachable)?;
    let shared = Rc::new(Shared::new(send, load));
    // Boxed: the runtime moves what it runs six times from its beginning to its end.
    tokio::task::spawn_local(Box::pin(run(connection, Rc::downgrade(&shared))));
    Ok(shared)
}

/// HTTP/2 within our limits.
fn protocol() -> h2::client::Builder {
    let mut builder = h2::client::Builder::new();
    builder
        .enable_push(false)
        .initial_max_send_streams(UNTOLD)
        .initial_window_size(UPSTREAM_WINDOW_BYTES)
        .initial_connection_window_size(UPSTREAM_WINDOW_BYTES * UPSTREAM_STREAMS_MAX as u32)
        .max_header_list_size(RESPONSE_HEAD_BYTES_MAX as u32)
        .max_send_buffer_size(H2_SEND_BUFFER_BYTES);
    builder
}

/// Reads and writes frames until either side ends the connection. It ends by itself once nobody holds it.
async fn run(connection: h2::client::Connection<Cork, Bytes>, shared: Weak<Shared>) {
    let mut connection = std::pin::pin!(connection);
    let ended = poll_fn(|task| {
        let ended = connection.as_mut().poll(task);
        if let Some(shared) = shared.upgrade() {
            shared.note_settings();
        }
        ended
    });
    if let Err(error) = ended.await {
        tracing::debug!(%error, "an upstream connection ended");
    }
    if let Some(shared) = shared.upgrade() {
        shared.note_end();
    }
}
