//! Accepting clients: one loop a worker and listener, bounded, and gone without a lost client.

use std::cell::RefCell;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::task::JoinHandle;

use super::connection;
use super::crowd::{Crowd, Place};
use super::error::Refusal;
use super::greet::{self, Handshake};
use super::worker::Worker;
use crate::certs::CertStore;
use crate::client_cert;
use crate::h1::head::HeadLimits;
use crate::limits::TARGET_BYTES_MAX;
use crate::net::{self, Stream};
use crate::plan::ListenerPlan;

/// Wait after `accept` fails for want of descriptors or memory: trying at once would spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(10);

/// What the workers' sockets of one listener share.
#[derive(Debug)]
pub struct ListenerShared {
    pub plan: ListenerPlan,
    /// For a TLS listener.
    certs: Option<Arc<CertStore>>,
    /// Connections open on all workers, against `max_connections`.
    open: AtomicUsize,
    /// Handshakes in progress on all workers, against `max_handshakes`.
    handshakes: AtomicUsize,
    /// Against `max_connections_per_client`.
    crowd: Arc<Crowd>,
}

impl ListenerShared {
    /// A listener without connections.
    pub fn new(plan: ListenerPlan, certs: Option<Arc<CertStore>>) -> Self {
        let (open, handshakes) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Self { plan, certs, open, handshakes, crowd: Arc::default() }
    }

    /// What handshakes go by now, on a TLS listener.
    pub fn tls(&self) -> Option<Arc<rustls::ServerConfig>> {
        self.certs.as_ref().map(|certs| certs.server_config())
    }

    /// Whether connections are encrypted.
    pub fn is_tls(&self) -> bool {
        self.certs.is_some()
    }

    /// Whether a connection begins with the head of a request and nothing before it.
    fn is_plain(&self) -> bool {
        !self.is_tls() && !self.plan.proxy_protocol && !self.plan.h2c
    }

    /// Leave to begin a handshake, unless there are as many as there may be.
    pub fn handshake(self: &Arc<Self>) -> Option<Handshake> {
        let before = self.handshakes.fetch_add(1, Ordering::Relaxed);
        let turn = Handshake(self.clone());
        (before < self.plan.limits.max_handshakes).then_some(turn)
    }

    /// One handshake less.
    pub fn handshake_ended(&self) {
        self.handshakes.fetch_sub(1, Ordering::Relaxed);
    }

    /// The bounds of a request head.
    pub fn head_limits(&self) -> HeadLimits {
        let limits = &self.plan.limits;
        HeadLimits {
            bytes: limits.max_header_bytes,
            fields: limits.max_headers,
            target: TARGET_BYTES_MAX.min(limits.max_header_bytes),
        }
    }

    /// `https` or `http`.
    pub fn scheme(&self) -> &'static str {
        if self.is_tls() { "https" } else { "http" }
    }
}

/// One open connection; counted as long as it lives.
#[derive(Debug)]
pub struct Seat {
    worker: Rc<Worker>,
    pub listener: Arc<ListenerShared>,
    pub peer: SocketAddr,
    pub id: u64,
    /// What the client asked for by SNI.
    server_name: Option<Box<str>>,
    /// Who its certificate says the client is.
    client_cert: Option<Box<str>>,
    /// Its place among the connections of the same client, if those are counted.
    place: Option<Place>,
}

impl Seat {
    fn take(worker: &Rc<Worker>, listener: &Arc<ListenerShared>, peer: SocketAddr) -> Option<Self> {
        let open = listener.open.fetch_add(1, Ordering::Relaxed);
        if open >= listener.plan.limits.max_connections {
            listener.open.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        let mut connections = worker.connections.borrow_mut();
        *connections.entry(listener.plan.name.clone()).or_default() += 1;
        drop(connections);
        let id = worker.connection_id();
        let (worker, listener) = (worker.clone(), listener.clone());
        let (server_name, client_cert, place) = (None, None, None);
        Some(Self { worker, listener, peer, id, server_name, client_cert, place })
    }

    /// Takes the place among the connections of this client.
    pub fn share(&mut self) -> Result<(), Refusal> {
        if let Some(max) = self.listener.plan.limits.max_connections_per_client {
            let place = self.listener.crowd.enter(self.peer.ip(), max);
            self.place = Some(place.ok_or(Refusal::MaxConnectionsPerClient)?);
        }
        Ok(())
    }

    /// Counts why the connection ends.
    pub fn refused(&self, refusal: Refusal) {
        let mut counts = self.worker.counts.borrow_mut();
        counts.refusal(&self.listener.plan.name, refusal);
    }

    /// Keeps what the handshake told.
    pub fn name_from(&mut self, stream: &Stream) {
        self.server_name = stream.server_name().map(Box::from);
        let told = stream.client_cert().and_then(client_cert::describe);
        self.client_cert = told.map(String::into_boxed_str);
    }

    /// Who the client is by the certificate that it showed.
    pub fn client_cert(&self) -> Option<&str> {
        self.client_cert.as_deref()
    }

    /// Whether a request for `host` belongs on this connection: the certificate that the client was
    /// shown is for it. A client that named nobody in its handshake has said nothing to contradict,
    /// unless the listener is strict.
    pub fn is_for(&self, host: &str) -> bool {
        if self.listener.plan.tls.as_ref().is_some_and(|tls| tls.strict_host) {
            return self.server_name.as_deref().is_some_and(|name| name.eq_ignore_ascii_case(host));
        }
        let (Some(name), Some(certs)) = (&self.server_name, &self.listener.certs) else {
            return true;
        };
        host.is_empty() || name.eq_ignore_ascii_case(host) || certs.covers(name, host)
    }

    /// The client's address, an IPv4 one also when it came by an IPv6 socket.
    pub fn peer_ip(&self) -> IpAddr {
        self.peer.ip().to_canonical()
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.listener.open.fetch_sub(1, Ordering::Relaxed);
        if let Some(open) = self.worker.connections.borrow_mut().get_mut(&self.listener.plan.name) {
            *open -= 1;
        }
        self.worker.forget(self.id);
    }
}

/// A listener on one worker, as long as it accepts.
pub struct Accepting {
    worker: Rc<Worker>,
    socket: Rc<net::TcpListener>,
    /// What new connections are served by.
    rules: Rc<RefCell<Arc<ListenerShared>>>,
    task: JoinHandle<()>,
}

impl Accepting {
    /// Accepts on this socket.
    pub fn begin(
        worker: &Rc<Worker>,
        socket: TcpListener,
        rules: Arc<ListenerShared>,
    ) -> std::io::Result<Self> {
        let (worker, socket) = (worker.clone(), Rc::new(net::listen(socket)?));
        let rules = Rc::new(RefCell::new(rules));
        let task = run(worker.clone(), socket.clone(), rules.clone());
        let task = tokio::task::spawn_local(task);
        Ok(Self { worker, socket, rules, task })
    }

    /// Serves new connections by these rules.
    pub fn follow(&self, rules: Arc<ListenerShared>) {
        self.rules.replace(rules);
    }

    /// Accepts no more. Who has connected by now is still served: closing the socket would reset them.
    pub async fn end(self) {
        let Self { worker, socket, rules, task } = self;
        task.abort();
        // It holds the socket too: between the last look and the closing of it must lie nothing.
        let _ = task.await;
        for (stream, peer) in net::waiting(&socket) {
            serve(&worker, &rules.borrow(), stream, peer);
        }
    }
}

async fn run(
    worker: Rc<Worker>,
    socket: Rc<net::TcpListener>,
    rules: Rc<RefCell<Arc<ListenerShared>>>,
) {
    loop {
        match net::accept(&socket).await {
            Ok((stream, peer)) => serve(&worker, &rules.borrow(), stream, peer),
            Err(error) if is_of_one_client(&error) => {}
            Err(error) => {
                let name = rules.borrow().plan.name.clone();
                tracing::warn!(%error, listener = %name, "cannot accept for now");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Gives a client a task of its own, or closes at once: a queue of clients that nobody serves helps
/// nobody.
fn serve(worker: &Rc<Worker>, listener: &Arc<ListenerShared>, stream: Stream, peer: SocketAddr) {
    let Some(mut seat) = Seat::take(worker, listener, peer) else {
        let mut counts = worker.counts.borrow_mut();
        return counts.refusal(&listener.plan.name, Refusal::MaxConnections);
    };
    // Behind a PROXY header the client is not known yet.
    if !listener.plan.proxy_protocol
        && let Err(refusal) = seat.share()
    {
        return seat.refused(refusal);
    }
    // A task is as large as the largest thing it may do: those of plain connections, which may be
    // many and idle, do not carry TLS and HTTP/2.
    let worker = worker.clone();
    if listener.is_plain() {
        tokio::task::spawn_local(connection::serve(worker, seat, stream, Vec::new()));
    } else {
        tokio::task::spawn_local(greet::serve(worker, seat, stream));
    }
}

fn is_of_one_client(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted, InvalidInput};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted | InvalidInput)
}
