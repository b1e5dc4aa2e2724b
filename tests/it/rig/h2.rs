//! HTTP/2 on both sides of the proxy: a client that controls its streams, and an upstream.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::client::conn::http2::SendRequest;
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::sync::{Notify, mpsc, watch};
use tokio_rustls::TlsAcceptor;

use super::client::Wire;

type Piece = std::io::Result<Frame<Bytes>>;

/// A body that a test feeds piece by piece.
pub struct Fed(mpsc::UnboundedReceiver<Piece>);

/// The hand that feeds it; the body ends when it is dropped.
pub struct Feed(mpsc::UnboundedSender<Piece>);

/// A body and its feed.
pub fn fed() -> (Feed, Fed) {
    let (feed, fed) = mpsc::unbounded_channel();
    (Feed(feed), Fed(fed))
}

/// A body of this text.
pub fn text(text: &str) -> Fed {
    let (feed, fed) = fed();
    if !text.is_empty() {
        feed.data(text);
    }
    fed
}

impl Feed {
    /// A piece of data. A body that nobody reads any more takes none.
    pub fn data(&self, text: &str) {
        let _ = self.0.send(Ok(Frame::data(Bytes::copy_from_slice(text.as_bytes()))));
    }

    /// Trailers, as the last piece.
    pub fn trailers(&self, name: &'static str, value: &str) {
        let mut fields = HeaderMap::new();
        fields.insert(name, value.parse().unwrap());
        let _ = self.0.send(Ok(Frame::trailers(fields)));
    }

    /// Breaks off: the stream is reset.
    pub fn abort(self) {
        let _ = self.0.send(Err(std::io::ErrorKind::ConnectionAborted.into()));
    }
}

impl Body for Fed {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Piece>> {
        self.0.poll_recv(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_closed() && self.0.is_empty()
    }
}

/// A client's connection; clones share it.
#[derive(Clone)]
pub struct H2Client {
    send: SendRequest<Fed>,
    host: String,
}

impl H2Client {
    /// Speaks HTTP/2 over a connection that is there.
    pub async fn over(stream: impl Wire + 'static, host: &str) -> Self {
        let io = TokioIo::new(stream);
        let made = hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await;
        let (send, connection) = made.expect("a proxy that speaks HTTP/2");
        tokio::spawn(connection);
        Self { send, host: host.to_owned() }
    }

    /// Begins a stream. Dropping what this returns resets it.
    pub fn begin(
        &self,
        method: &str,
        path: &str,
        fields: &[(&str, &str)],
        body: Fed,
    ) -> impl Future<Output = hyper::Result<Response<Incoming>>> + use<> {
        let uri = format!("https://{}{path}", self.host);
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        self.send.clone().send_request(request.body(body).unwrap())
    }

    /// Asks that a stream carry another protocol (RFC 8441).
    pub async fn connect(&self, protocol: &'static str, path: &str) -> Response<Incoming> {
        let uri = format!("https://{}{path}", self.host);
        let request = Request::builder().method("CONNECT").uri(uri);
        let request = request.extension(hyper::ext::Protocol::from_static(protocol));
        let request = request.header("sec-websocket-version", "13").body(text("")).unwrap();
        self.send.clone().send_request(request).await.expect("an answer")
    }

    /// A GET and its whole answer: status, fields, body.
    pub async fn get(&self, path: &str) -> (u16, HeaderMap, String) {
        let answer = self.begin("GET", path, &[], text("")).await.expect("an answer");
        let (parts, body) = answer.into_parts();
        let body = body.collect().await.expect("a whole body").to_bytes();
        (parts.status.as_u16(), parts.headers, String::from_utf8_lossy(&body).into_owned())
    }

    /// Whether the connection takes no more streams.
    pub fn is_over(&self) -> bool {
        self.send.is_closed()
    }
}

/// An upstream that speaks HTTP/2. By path: `/echo` gives the body back as it comes, trailers
/// included; `/grpc/N` answers with the status N in its trailers, `/wait` once the gate is opened, `/endless` never
/// ends, `/large` has 16 MiB; every other path is answered with its own name. A websocket at `/socket` gives back what it
/// is sent, one at `/socket/bye` says that and ends, one at any other path is refused.
pub struct H2Version {
    pub address: SocketAddr,
    /// Lets those go that wait.
    pub gate: Arc<Notify>,
    books: Arc<Books>,
    leave: watch::Sender<u64>,
    cut: watch::Sender<u64>,
}

/// What an upstream says of itself.
#[derive(Clone, Copy, Default)]
struct Manners {
    streams: Option<u32>,
    websockets: bool,
}

#[derive(Default)]
struct Books {
    connections: AtomicU64,
    requests: AtomicU64,
    aborted: AtomicU64,
    heads: Mutex<Vec<http::request::Parts>>,
}

/// Counts streams that end before they were answered.
struct Aborts(Option<Arc<Books>>);

impl Aborts {
    fn none(mut self) {
        self.0 = None;
    }
}

impl Drop for Aborts {
    fn drop(&mut self) {
        if let Some(books) = &self.0 {
            books.aborted.fetch_add(1, Ordering::SeqCst);
        }
    }
}

impl H2Version {
    /// Starts on a free port, in clear text or by TLS.
    pub fn start(tls: Option<Arc<rustls::ServerConfig>>) -> Self {
        Self::start_with(tls, Manners::default())
    }

    /// Starts in clear text; its streams carry websockets (RFC 8441).
    pub fn with_websockets() -> Self {
        Self::start_with(None, Manners { websockets: true, ..Manners::default() })
    }

    /// Starts in clear text and takes so many streams at once on a connection.
    pub fn narrow(streams: u32) -> Self {
        Self::start_with(None, Manners { streams: Some(streams), ..Manners::default() })
    }

    fn start_with(tls: Option<Arc<rustls::ServerConfig>>, manners: Manners) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        listener.set_nonblocking(true).unwrap();
        let listener = TcpListener::from_std(listener).unwrap();
        let (gate, books, leave) = (Arc::default(), Arc::default(), watch::Sender::new(0));
        let version = Self { address, gate, books, leave, cut: watch::Sender::new(0) };
        let (gate, books) = (version.gate.clone(), version.books.clone());
        let (leave, cut) = (version.leave.clone(), version.cut.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (gate, books, tls) = (gate.clone(), books.clone(), tls.clone());
                let (leave, mut cut) = (leave.subscribe(), cut.subscribe());
                tokio::spawn(async move {
                    let serving = async {
                        match tls {
                            None => serve(stream, manners, gate, books, leave).await,
                            Some(config) => {
                                let shaken = TlsAcceptor::from(config).accept(stream).await;
                                if let Ok(stream) = shaken {
                                    serve(stream, manners, gate, books, leave).await;
                                }
                            }
                        }
                    };
                    tokio::select! {
                        () = serving => {}
                        _ = cut.changed() => {}
                    }
                });
            }
        });
        version
    }

    /// Connections that ever came.
    pub fn connections(&self) -> u64 {
        self.books.connections.load(Ordering::SeqCst)
    }

    /// Requests that came.
    pub fn requests(&self) -> u64 {
        self.books.requests.load(Ordering::SeqCst)
    }

    /// Streams that were reset before they ended.
    pub fn aborted(&self) -> u64 {
        self.books.aborted.load(Ordering::SeqCst)
    }

    /// A field of the latest request.
    pub fn field(&self, name: &str) -> Option<String> {
        let heads = self.books.heads.lock().unwrap();
        let value = heads.last()?.headers.get(name)?;
        Some(value.to_str().unwrap().to_owned())
    }

    /// Says GOAWAY on every open connection.
    pub fn go_away(&self) {
        self.leave.send_modify(|times| *times += 1);
    }
}

impl H2Version {
    /// Cuts every open connection without a word.
    pub fn cut(&self) {
        self.cut.send_modify(|times| *times += 1);
    }
}

async fn serve(
    stream: impl Wire + 'static,
    manners: Manners,
    gate: Arc<Notify>,
    books: Arc<Books>,
    mut leave: watch::Receiver<u64>,
) {
    books.connections.fetch_add(1, Ordering::SeqCst);
    let service = service_fn(|request| answer(request, gate.clone(), books.clone()));
    let mut builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
    builder.max_concurrent_streams(manners.streams);
    if manners.websockets {
        builder.enable_connect_protocol();
    }
    let mut connection = std::pin::pin!(builder.serve_connection(TokioIo::new(stream), service));
    leave.mark_unchanged();
    tokio::select! {
        _ = connection.as_mut() => {}
        Ok(()) = leave.changed() => {
            connection.as_mut().graceful_shutdown();
            // How it ends is told by what the clients see.
            let _ = connection.await;
        }
    }
}

/// Carries what a websocket is sent, or refuses it.
fn socket(path: &str, opening: OnUpgrade) -> Response<Fed> {
    let says = match path {
        "/socket" => None,
        "/socket/bye" => Some("bye"),
        _ => return Response::builder().status(403).body(text("no")).unwrap(),
    };
    tokio::spawn(async move {
        let mut socket = TokioIo::new(opening.await?);
        match says {
            Some(text) => drop(socket.write_all(text.as_bytes()).await),
            None => {
                let (mut from, mut to) = tokio::io::split(&mut socket);
                drop(tokio::io::copy(&mut from, &mut to).await);
            }
        }
        // The client may have gone.
        drop(socket.shutdown().await);
        hyper::Result::Ok(())
    });
    Response::builder().header("x-own", "1").body(text("")).unwrap()
}

async fn answer(
    mut request: Request<Incoming>,
    gate: Arc<Notify>,
    books: Arc<Books>,
) -> Result<Response<Fed>, Infallible> {
    let opening = (request.method() == "CONNECT").then(|| hyper::upgrade::on(&mut request));
    let (parts, mut body) = request.into_parts();
    let path = parts.uri.path().to_owned();
    if path.starts_with("/health") {
        return Ok(Response::new(text("{}")));
    }
    books.heads.lock().unwrap().push(parts);
    books.requests.fetch_add(1, Ordering::SeqCst);
    if let Some(opening) = opening {
        return Ok(socket(&path, opening));
    }
    let aborts = Aborts(Some(books));
    match path.as_str() {
        "/echo" => {
            let (feed, fed) = fed();
            tokio::spawn(async move {
                while let Some(frame) = body.frame().await {
                    let Ok(frame) = frame else { return feed.abort() };
                    if feed.0.send(Ok(frame)).is_err() {
                        return;
                    }
                }
                aborts.none();
            });
            return Ok(Response::new(fed));
        }
        path if path.starts_with("/grpc/") => {
            let (feed, fed) = fed();
            feed.data("message");
            feed.trailers("grpc-status", &path["/grpc/".len()..]);
            aborts.none();
            let answer = Response::builder().header("content-type", "application/grpc");
            return Ok(answer.body(fed).unwrap());
        }
        "/endless" => {
            let (feed, fed) = fed();
            feed.data("piece");
            tokio::spawn(async move {
                feed.0.closed().await;
                drop(aborts);
            });
            return Ok(Response::new(fed));
        }
        "/large" => {
            let (feed, fed) = fed();
            (0..256).for_each(|_| feed.data(&"x".repeat(64 * 1024)));
            aborts.none();
            return Ok(Response::new(fed));
        }
        "/wait" => gate.notified().await,
        _ => {}
    }
    aborts.none();
    Ok(Response::new(text(&path)))
}
