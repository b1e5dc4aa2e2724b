//! The only file that names sockets: binding, accepting, connecting, and one stream type for all.

mod direct;

use std::io::{self, IoSlice};
use std::net::{SocketAddr, TcpListener as StdListener};
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use rustls::pki_types::CertificateDer;
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
pub use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};
use tokio_util::io::poll_read_buf;

use crate::upstream::tls::ClientTls;

/// Connections waiting to be accepted, per socket. The kernel caps it at `net.core.somaxconn`.
const BACKLOG: i32 = 4096;

/// A byte stream to a client or to an upstream.
#[derive(Debug)]
pub enum Stream {
    Tcp(TcpStream),
    /// Boxed: most connections are plain, and a session is large.
    Tls(Box<TlsStream<TcpStream>>),
}

impl Stream {
    /// Whether the peer has neither closed nor sent anything. Costs no system call while the
    /// socket is not readable.
    pub fn is_quiet(&mut self) -> bool {
        let mut byte = [0];
        match self {
            Self::Tcp(stream) => {
                let read = stream.try_read(&mut byte);
                read.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
            }
            Self::Tls(stream) => {
                let mut cx = Context::from_waker(Waker::noop());
                let stream = Pin::new(stream.as_mut());
                stream.poll_read(&mut cx, &mut ReadBuf::new(&mut byte)).is_pending()
            }
        }
    }

    /// Reads behind what `buffer` holds, as much as there is room for; 0 is the end of the stream. There
    /// must be room.
    pub fn poll_fill(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut Vec<u8>,
    ) -> Poll<io::Result<usize>> {
        match self {
            Self::Tcp(stream) => direct::poll_fill(stream, cx, buffer),
            Self::Tls(stream) => poll_read_buf(Pin::new(stream.as_mut()), cx, buffer),
        }
    }

    /// Whether the peer has sent something that was not read, be it that nobody was woken yet. A system call.
    pub fn has_arrived(&self) -> bool {
        match self {
            Self::Tcp(stream) => direct::has_arrived(stream),
            Self::Tls(stream) => direct::has_arrived(stream.get_ref().0),
        }
    }

    /// Whether there may be something to read, an end or an error among it; if not, whoever asks is woken.
    pub fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
        let socket = match self {
            Self::Tcp(stream) => stream,
            Self::Tls(stream) => match stream.get_ref() {
                // The session holds what was read along with something else.
                (_, session) if !session.wants_read() => return Poll::Ready(()),
                (socket, _) => socket,
            },
        };
        socket.poll_read_ready(cx).map(|_| ())
    }

    /// Writes `head` and behind it `body`, as much of both as is taken at once, and tells how much that
    /// was. One of them at least must not be empty.
    pub fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        head: &[u8],
        body: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self {
            Self::Tcp(stream) => direct::poll_send(stream, cx, head, body),
            Self::Tls(stream) => {
                let stream = Pin::new(stream.as_mut());
                match (head, body) {
                    (bytes, []) | ([], bytes) => stream.poll_write(cx, bytes),
                    both => {
                        let parts = [IoSlice::new(both.0), IoSlice::new(both.1)];
                        stream.poll_write_vectored(cx, &parts)
                    }
                }
            }
        }
    }

    /// The protocol that ALPN chose, if TLS did.
    pub fn alpn(&self) -> Option<&[u8]> {
        match self {
            Self::Tcp(_) => None,
            Self::Tls(stream) => stream.get_ref().1.alpn_protocol(),
        }
    }

    /// The certificate that the client showed, verified.
    pub fn client_cert(&self) -> Option<&CertificateDer<'static>> {
        match self {
            Self::Tls(stream) => match stream.as_ref() {
                TlsStream::Server(stream) => stream.get_ref().1.peer_certificates()?.first(),
                TlsStream::Client(_) => None,
            },
            Self::Tcp(_) => None,
        }
    }

    /// The name the client asked for by SNI.
    pub fn server_name(&self) -> Option<&str> {
        match self {
            Self::Tls(stream) => match stream.as_ref() {
                TlsStream::Server(stream) => stream.get_ref().1.server_name(),
                TlsStream::Client(_) => None,
            },
            Self::Tcp(_) => None,
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_write_vectored(cx, slices),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_shutdown(cx),
        }
    }
}

/// One socket a worker for one address. Fails when any other process listens there.
///
/// SO_REUSEPORT alone would join another process of the same user in silence, so that the address
/// is first bound without it.
pub fn bind(address: SocketAddr, count: usize) -> io::Result<Vec<StdListener>> {
    let probe = socket(address)?;
    probe.bind(&address.into())?;
    let address = probe.local_addr()?.as_socket().unwrap_or(address);
    drop(probe);
    (0..count)
        .map(|_| {
            let socket = socket(address)?;
            socket.set_reuse_port(true)?;
            // Accepted sockets inherit it: a system call less for each connection.
            socket.set_tcp_nodelay(true)?;
            defer_accept(&socket);
            socket.bind(&address.into())?;
            socket.listen(BACKLOG)?;
            Ok(socket.into())
        })
        .collect()
}

/// Has the kernel hold a connection back until the client has said something, or for a second: whoever
/// speaks HTTP or TLS speaks first. Accepting and reading are then one turn of the worker instead of two:
/// a new connection for each request cost 0.89 of what it did (1.05 of nginx's before, 0.94 after), a
/// handshake 0.92. httpd and h2o do so too. Where a system does not know of it, all works without.
#[cfg(target_os = "linux")]
#[allow(unsafe_code, reason = "no safe function for it in std, socket2, nix or rustix")]
fn defer_accept(socket: &Socket) {
    use std::os::fd::AsRawFd;
    // The least there is.
    let seconds: libc::c_int = 1;
    // SAFETY: the descriptor is open while `socket` is borrowed; the kernel reads as many bytes as it is
    // told, those of `seconds`, and keeps no pointer to them.
    unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_DEFER_ACCEPT,
            (&raw const seconds).cast(),
            size_of_val(&seconds) as libc::socklen_t,
        );
    }
}

#[cfg(not(target_os = "linux"))]
fn defer_accept(_: &Socket) {}

fn socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    Ok(socket)
}

/// Hands a bound socket to the runtime of this thread.
pub fn listen(socket: StdListener) -> io::Result<TcpListener> {
    TcpListener::from_std(socket)
}

/// Takes the next client.
pub async fn accept(listener: &TcpListener) -> io::Result<(Stream, SocketAddr)> {
    let (stream, peer) = listener.accept().await?;
    Ok((Stream::Tcp(stream), peer))
}

/// The clients that have connected and that nobody has taken yet, whatever the runtime knows of them by now.
pub fn waiting(listener: &TcpListener) -> impl Iterator<Item = (Stream, SocketAddr)> {
    let next = move || {
        let (socket, peer) = SockRef::from(listener).accept().ok()?;
        socket.set_nonblocking(true).ok()?;
        let stream = TcpStream::from_std(socket.into()).ok()?;
        Some((Stream::Tcp(stream), peer.as_socket()?))
    };
    // However many more come meanwhile.
    std::iter::from_fn(next).take(BACKLOG as usize)
}

/// Binds a unix socket that only this user may use. A file that an earlier process left there is
/// replaced; one that somebody listens on is not.
pub async fn bind_unix(path: &Path) -> io::Result<UnixListener> {
    use std::os::unix::fs::{FileTypeExt, PermissionsExt};
    let is_socket = std::fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket());
    if is_socket {
        match UnixStream::connect(path).await {
            Ok(_) => return Err(io::ErrorKind::AddrInUse.into()),
            Err(_) => std::fs::remove_file(path)?,
        }
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Takes the next caller on a unix socket.
pub async fn accept_unix(listener: &UnixListener) -> io::Result<UnixStream> {
    Ok(listener.accept().await?.0)
}

/// Takes what `parse` finds at the beginning of a plain stream; what follows it stays in the socket,
/// so that TLS can begin there. Fails when it is damaged or longer than `max` bytes.
pub async fn take_prefix<T, E>(
    stream: &mut Stream,
    max: usize,
    parse: impl Fn(&[u8]) -> Result<Option<(T, usize)>, E>,
) -> io::Result<T> {
    let Stream::Tcp(stream) = stream else { return Err(io::ErrorKind::Unsupported.into()) };
    let mut taken = Vec::new();
    let mut ahead = vec![0; max];
    loop {
        let before = taken.len();
        let count = stream.peek(&mut ahead[..max - before]).await?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        taken.extend_from_slice(&ahead[..count]);
        match parse(&taken).map_err(|_| io::Error::from(io::ErrorKind::InvalidData))? {
            Some((found, length)) => {
                stream.read_exact(&mut ahead[..length - before]).await?;
                return Ok(found);
            }
            None if taken.len() == max => return Err(io::ErrorKind::InvalidData.into()),
            // All of it belongs to what is not whole yet.
            None => drop(stream.read_exact(&mut ahead[..count]).await?),
        }
    }
}

/// Whether a plain stream begins with `first`; also what was taken from it while that was not sure.
pub async fn sniff(stream: &mut Stream, first: &[u8]) -> io::Result<(bool, Vec<u8>)> {
    let Stream::Tcp(stream) = stream else { return Ok((false, Vec::new())) };
    let mut taken = Vec::new();
    let mut ahead = vec![0; first.len()];
    loop {
        let rest = &first[taken.len()..];
        let count = stream.peek(&mut ahead[..rest.len()]).await?;
        match rest.starts_with(&ahead[..count]) {
            _ if count == 0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            false => return Ok((false, taken)),
            true if count == rest.len() => return Ok((true, taken)),
            true => {
                stream.read_exact(&mut ahead[..count]).await?;
                taken.extend_from_slice(&ahead[..count]);
            }
        }
    }
}

/// Speaks TLS with a client.
pub async fn accept_tls(stream: Stream, config: Arc<rustls::ServerConfig>) -> io::Result<Stream> {
    match stream {
        Stream::Tcp(stream) => {
            let stream = TlsAcceptor::from(config).accept(stream).await?;
            Ok(Stream::Tls(Box::new(stream.into())))
        }
        tls => Ok(tls),
    }
}

/// Connects to the first address that answers, beginning at `turn` so that load is spread. What is
/// `first` is sent before TLS.
pub async fn connect(
    addresses: &[SocketAddr],
    turn: usize,
    tls: Option<&ClientTls>,
    first: &[u8],
) -> io::Result<Stream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name is not resolved");
    for step in 0..addresses.len() {
        match TcpStream::connect(addresses[(turn + step) % addresses.len()]).await {
            Ok(mut stream) => {
                stream.set_nodelay(true)?;
                if !first.is_empty() {
                    stream.write_all(first).await?;
                }
                return connect_tls(stream, tls).await;
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

async fn connect_tls(stream: TcpStream, tls: Option<&ClientTls>) -> io::Result<Stream> {
    let Some(tls) = tls else { return Ok(Stream::Tcp(stream)) };
    let connector = TlsConnector::from(tls.config.clone());
    let stream = connector.connect(tls.server_name.clone(), stream).await?;
    Ok(Stream::Tls(Box::new(stream.into())))
}

/// Connects to `host:port` by name, for clients of the admin API.
pub async fn connect_name(host: &str) -> io::Result<TcpStream> {
    TcpStream::connect(host).await
}

/// Connects to a unix socket, for clients of the admin API.
pub async fn connect_unix(path: &std::path::Path) -> io::Result<tokio::net::UnixStream> {
    tokio::net::UnixStream::connect(path).await
}
