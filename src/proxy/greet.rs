//! What stands before HTTP on a connection: the PROXY header, the client's share, the TLS handshake,
//! and which HTTP it is.

use std::rc::Rc;
use std::sync::Arc;

use super::error::Refusal;
use super::listener::Seat;
use super::worker::Worker;
use super::{admit, connection, http2};
use crate::limits::PROXY_HEADER_BYTES_MAX;
use crate::net::{self, Stream};
use crate::proxy_header::{self, Source};

/// What a client of HTTP/2 begins with (RFC 9113 §3.4).
const H2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A connection on which HTTP begins.
struct Greeted {
    stream: Stream,
    is_h2: bool,
    /// Bytes of HTTP that were read already.
    begun: Vec<u8>,
}

/// Serves a connection of a listener that asks for more than plain HTTP/1.
pub async fn serve(worker: Rc<Worker>, mut seat: Seat, stream: Stream) {
    // Boxed: the handshake's state is large and needed once.
    match Box::pin(greet(&worker, &mut seat, stream)).await {
        Ok(Greeted { stream, is_h2: true, begun }) => {
            Box::pin(http2::serve(worker, seat, stream, begun)).await;
        }
        Ok(Greeted { stream, begun, .. }) => connection::serve(worker, seat, stream, begun).await,
        Err(refusal) => seat.refused(refusal),
    }
}

async fn greet(
    worker: &Rc<Worker>,
    seat: &mut Seat,
    mut stream: Stream,
) -> Result<Greeted, Refusal> {
    let listener = seat.listener.clone();
    let limits = &listener.plan.limits;
    if listener.plan.proxy_protocol {
        let edge = worker.lease();
        if admit::is_trusted(&edge.snapshot.edge, seat.peer_ip()) {
            let header = net::take_prefix(&mut stream, PROXY_HEADER_BYTES_MAX, proxy_header::parse);
            match tokio::time::timeout(limits.header_timeout, header).await {
                Ok(Ok(Source::Client(client))) => seat.peer = client,
                Ok(Ok(Source::Own)) => {}
                Ok(Err(_)) => return Err(Refusal::ProxyHeader),
                Err(_) => return Err(Refusal::ProxyHeaderTimeout),
            }
        }
        seat.share()?;
    }
    if let Some(config) = listener.tls() {
        let _turn = listener.handshake().ok_or(Refusal::MaxHandshakes)?;
        let handshake = net::accept_tls(stream, config);
        let stream = match tokio::time::timeout(limits.handshake_timeout, handshake).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(_)) => return Err(Refusal::Handshake),
            Err(_) => return Err(Refusal::HandshakeTimeout),
        };
        seat.name_from(&stream);
        let is_h2 = stream.alpn() == Some(b"h2");
        return Ok(Greeted { stream, is_h2, begun: Vec::new() });
    }
    if !listener.plan.h2c {
        return Ok(Greeted { stream, is_h2: false, begun: Vec::new() });
    }
    let sniffed = net::sniff(&mut stream, H2_PREFACE);
    match tokio::time::timeout(limits.header_timeout, sniffed).await {
        Ok(Ok((is_h2, begun))) => Ok(Greeted { stream, is_h2, begun }),
        Ok(Err(_)) | Err(_) => Err(Refusal::Silent),
    }
}

/// One handshake in progress; counted as long as it lives.
#[derive(Debug)]
pub struct Handshake(pub Arc<super::listener::ListenerShared>);

impl Drop for Handshake {
    fn drop(&mut self) {
        self.0.handshake_ended();
    }
}
