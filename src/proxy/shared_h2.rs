//! Connections to upstreams over HTTP/2, which requests share: when another is opened, and what the
//! other side has said of itself.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::rc::Rc;
use std::task::Waker;
use std::time::{Duration, Instant};

use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::Notify;

use super::error::UpstreamFault;
use super::pool::{self, EndpointPool, VersionLoad};
use super::upstream_h2::UpBody;
use crate::clock;
use crate::limits::{POOL_IDLE_MAX, UPSTREAM_STREAMS_MAX, UPSTREAM_WINDOW_BYTES};
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
    pub send: RefCell<SendRequest<UpBody>>,
    told: Rc<Told>,
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
    /// Who looks for the settings, until they have come.
    looking: RefCell<Option<Waker>>,
}

impl Told {
    fn nothing() -> Self {
        let (streams_max, websockets) = (Cell::new(UNTOLD), Cell::new(false));
        Self { streams_max, websockets, came: Notify::new(), looking: RefCell::default() }
    }

    fn note(&self, streams_max: usize, websockets: bool) {
        self.websockets.set(websockets);
        if self.streams_max.replace(streams_max) != streams_max {
            self.came.notify_waiters();
        }
    }
}

/// Runs hyper's tasks of one connection. It is one of them that reads the settings, and the one that
/// can look at them would sleep on.
#[derive(Debug, Clone)]
struct Tasks(Rc<Told>);

impl<F: Future + 'static> hyper::rt::Executor<F> for Tasks {
    fn execute(&self, future: F) {
        let told = self.0.clone();
        // Boxed: the runtime moves what it runs six times from its beginning to its end.
        tokio::task::spawn_local(Box::pin(async move {
            let mut future = std::pin::pin!(future);
            let ran = std::future::poll_fn(|task| {
                let ran = future.as_mut().poll(task);
                if let Some(waker) = told.looking.take() {
                    waker.wake();
                }
                ran
            });
            ran.await;
        }));
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
        !self.sender.send.borrow().is_closed() && !self.sender.doubtful.get() && !idle
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
        let (send, told) = connect(endpoint, pool).await?;
        let send = RefCell::new(send);
        let (answers, doubtful) = (Cell::new(0), Cell::new(false));
        let load = pool::Open::new(load);
        let shared = Rc::new(Shared { send, told, answers, doubtful, _load: load });
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
) -> Result<(SendRequest<UpBody>, Rc<Told>), UpstreamFault> {
    let addresses = endpoint.addresses().clone();
    let turn = pool.turn.replace(pool.turn.get().wrapping_add(1));
    let stream = net::connect(&addresses, turn, endpoint.tls.as_ref(), b"").await;
    let stream = stream.map_err(UpstreamFault::Connect)?;
    if endpoint.tls.is_some() && stream.alpn() != Some(b"h2") {
        return Err(UpstreamFault::Connect(std::io::Error::other("no HTTP/2 was agreed on")));
    }
    let told = Rc::new(Told::nothing());
    let handshake = hyper::client::conn::http2::Builder::new(Tasks(told.clone()))
        .timer(TokioTimer::new())
        .initial_max_send_streams(UNTOLD)
        .initial_stream_window_size(UPSTREAM_WINDOW_BYTES)
        .initial_connection_window_size(UPSTREAM_WINDOW_BYTES * UPSTREAM_STREAMS_MAX as u32)
        .handshake(TokioIo::new(stream))
        .await;
    let unreachable = |error| UpstreamFault::Connect(std::io::Error::other(error));
    let (send, connection) = handshake.map_err(unreachable)?;
    let says = told.clone();
    tokio::task::spawn_local(async move {
        let mut connection = std::pin::pin!(connection);
        let ended = std::future::poll_fn(|task| {
            let ended = connection.as_mut().poll(task);
            if ended.is_pending() {
                let websockets = connection.is_extended_connect_protocol_enabled();
                says.note(connection.current_max_send_streams(), websockets);
                let is_untold = says.streams_max.get() == UNTOLD;
                says.looking.replace(is_untold.then(|| task.waker().clone()));
            }
            ended
        });
        if let Err(error) = ended.await {
            tracing::debug!(%error, "an upstream connection ended");
        }
        says.note(0, false);
    });
    Ok((send, told))
}
