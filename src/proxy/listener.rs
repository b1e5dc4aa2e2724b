//! Accepting clients: one loop a worker and listener, bounded, and gone without a lost client.

use std::cell::RefCell;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::connection;
use super::worker::Worker;
use crate::certs::CertStore;
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
    /// For a TLS listener; its certificates are looked up for each handshake.
    pub tls: Option<Arc<rustls::ServerConfig>>,
    certs: Option<Arc<CertStore>>,
    /// Connections open on all workers, against `max_connections`.
    open: AtomicUsize,
}

impl ListenerShared {
    /// A listener without connections.
    pub fn new(plan: ListenerPlan, certs: Option<Arc<CertStore>>) -> Self {
        let tls = certs.as_ref().map(|certs| certs.server_config());
        Self { plan, tls, certs, open: AtomicUsize::new(0) }
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
        if self.tls.is_some() { "https" } else { "http" }
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
        Some(Self { worker, listener, peer, id, server_name: None })
    }

    /// Whether a request for `host` belongs on this connection: the certificate that the client was
    /// shown is for it. A client that named nobody in its handshake has said nothing to contradict.
    pub fn is_for(&self, host: &str) -> bool {
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

/// Accepts until the task is aborted.
pub async fn run(worker: Rc<Worker>, socket: TcpListener, rules: Rc<RefCell<Arc<ListenerShared>>>) {
    let name = rules.borrow().plan.name.clone();
    let listener = match net::listen(socket) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, listener = %name, "cannot accept"),
    };
    loop {
        match net::accept(&listener).await {
            Ok((stream, peer)) => match Seat::take(&worker, &rules.borrow(), peer) {
                // A task is as large as the largest thing it may do: those of plain connections,
                // which may be many and idle, do not carry TLS and HTTP/2.
                Some(seat) => drop(match &seat.listener.tls {
                    None => {
                        tokio::task::spawn_local(connection::serve(worker.clone(), seat, stream))
                    }
                    Some(tls) => {
                        let tls = tls.clone();
                        tokio::task::spawn_local(serve_tls(worker.clone(), seat, stream, tls))
                    }
                }),
                // Closed at once: a queue of clients that nobody serves helps nobody.
                None => drop(stream),
            },
            Err(error) if is_of_one_client(&error) => {}
            Err(error) => {
                tracing::warn!(%error, listener = %name, "cannot accept for now");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn is_of_one_client(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted, InvalidInput};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted | InvalidInput)
}

async fn serve_tls(
    worker: Rc<Worker>,
    mut seat: Seat,
    stream: Stream,
    config: Arc<rustls::ServerConfig>,
) {
    let patience = seat.listener.plan.limits.handshake_timeout;
    // Boxed: the handshake's state is large and needed once.
    let handshake = Box::pin(tokio::time::timeout(patience, net::accept_tls(stream, config)));
    let Ok(Ok(stream)) = handshake.await else { return };
    seat.server_name = stream.server_name().map(Box::from);
    if stream.alpn() == Some(b"h2") {
        return Box::pin(super::http2::serve(worker, seat, stream)).await;
    }
    connection::serve(worker, seat, stream).await;
}
