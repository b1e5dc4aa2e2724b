//! Serving the API: TCP and, if there is one, a unix socket; one task a connection.
//!
//! A caller that sends or reads slowly costs its own task and nobody else's time: heads, bodies and
//! writes each have their deadline, and connections are bounded, by socket; when they are all taken,
//! those that ask for nothing make room.

use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;

use super::auth::Entrance;
use super::lobby::{Lobby, Visit};
use super::patience::Patient;
use super::{AdminState, router};
use crate::config::AdminSettings;
use crate::limits::ADMIN_CONNECTIONS_MAX;
use crate::net::{self, TcpListener, UnixListener, UnixStream};
use crate::phase::Phase;

/// From the first byte of a head to its last, and between two requests.
const HEAD_WAIT: Duration = Duration::from_secs(30);
/// A caller may read nothing for this long.
const WRITE_WAIT: Duration = Duration::from_secs(30);
/// Wait after `accept` fails for want of descriptors or memory: trying at once would spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);

/// The sockets of the API.
#[derive(Debug)]
pub struct Bound {
    tcp: StdListener,
    unix: Option<(UnixListener, PathBuf)>,
}

impl Bound {
    /// The address of the TCP socket, with the port that port 0 became.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.tcp.local_addr()
    }
}

/// Binds the sockets. The error is a sentence with the remedy.
pub async fn bind(settings: &AdminSettings) -> Result<Bound, String> {
    let address = settings.address;
    let sockets = net::bind(address, 1).map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => format!(
            "the admin API cannot listen on {address}: another process does; stop it or choose \
             another `admin.address`"
        ),
        _ => format!("the admin API cannot listen on {address}: {error}"),
    })?;
    let tcp = sockets.into_iter().next().ok_or("the admin API has no socket")?;
    let unix = match &settings.socket {
        Some(path) => Some((bind_unix(path).await?, path.clone())),
        None => None,
    };
    Ok(Bound { tcp, unix })
}

async fn bind_unix(path: &Path) -> Result<UnixListener, String> {
    let failed = |error: io::Error| {
        let path = path.display();
        match error.kind() {
            io::ErrorKind::AddrInUse => format!(
                "the admin API cannot listen on {path}: another process does; stop it or choose \
                 another `admin.socket`"
            ),
            _ => format!("the admin API cannot listen on {path}: {error}"),
        }
    };
    net::bind_unix(path).await.map_err(failed)
}

/// Serves until the proxy ends: when the sender of the phase is gone, idle connections close and
/// the others after their answer.
pub async fn serve(bound: Bound, state: AdminState) {
    let tcp = serve_tcp(bound.tcp, state.clone());
    match bound.unix {
        None => tcp.await,
        Some((listener, path)) => {
            tokio::join!(tcp, serve_unix(listener, state));
            // Whoever starts next would replace it anyway; a file that leads nowhere confuses.
            let _ = std::fs::remove_file(path);
        }
    }
}

async fn serve_tcp(socket: StdListener, state: AdminState) {
    let address = socket.local_addr();
    let (listener, address) = match (net::listen(socket), address) {
        (Ok(listener), Ok(address)) => (listener, address),
        (Err(error), _) | (_, Err(error)) => {
            tracing::error!(%error, "the admin API cannot be served");
            return;
        }
    };
    accept_all(listener, accept_tcp, Entrance::Tcp(address), state).await;
}

async fn serve_unix(listener: UnixListener, state: AdminState) {
    accept_all(listener, accept_unix, Entrance::Unix, state).await;
}

fn accept_tcp(listener: &TcpListener) -> Accepting<'_, net::Stream> {
    async { net::accept(listener).await.map(|(stream, _)| stream) }.boxed()
}

fn accept_unix(listener: &UnixListener) -> Accepting<'_, UnixStream> {
    net::accept_unix(listener).boxed()
}

/// The next connection, whatever the kind of the socket.
type Accepting<'a, S> = BoxFuture<'a, io::Result<S>>;

async fn accept_all<L, S>(
    listener: L,
    accept: for<'a> fn(&'a L) -> Accepting<'a, S>,
    entrance: Entrance,
    state: AdminState,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut phase = state.phase.clone();
    let app = router(state).layer(Extension(entrance));
    let lobby = Lobby::new(ADMIN_CONNECTIONS_MAX);
    loop {
        let accepted = tokio::select! {
            accepted = accept(&listener) => accepted,
            () = proxy_end(&mut phase) => return,
        };
        match accepted {
            Ok(stream) => {
                let Some(visit) = lobby.enter().await else { return };
                tokio::spawn(connection(stream, app.clone(), visit, phase.clone()));
            }
            Err(error) => {
                tracing::warn!(%error, "the admin API cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Waits until the sender of the phase is gone: the proxy has ended.
pub(super) async fn proxy_end(phase: &mut watch::Receiver<Phase>) {
    while phase.changed().await.is_ok() {}
}

async fn connection<S>(
    stream: S,
    app: axum::Router,
    visit: Arc<Visit>,
    mut phase: watch::Receiver<Phase>,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let app = TowerToHyperService::new(app);
    let visiting = visit.clone();
    // Not a layer, which would make every route anew for each connection.
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(visiting.clone());
        app.call(request)
    });
    let io = TokioIo::new(Patient::new(stream, WRITE_WAIT));
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD_WAIT);
    let connection = builder.serve_connection(io, service);
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = visit.must_leave() => return,
        () = proxy_end(&mut phase) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "an admin connection ended early");
    }
}
