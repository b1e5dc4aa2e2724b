//! Which upstream endpoints behind the proxy under test speak HTTP/2?
//!
//! One thread serves all of them, without TLS and by prior knowledge. Answers are made once and sent from
//! memory, with the fields that the endpoints of HTTP/1.1 send.

use std::io;
use std::net::SocketAddr;
use std::thread::JoinHandle;

use bytes::Bytes;
use http::{Request, Response};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

use crate::machine;

/// Streams that a client may have open at once on one connection: what servers commonly say.
const STREAMS_MOST: u32 = 250;

/// All endpoints of HTTP/2 of a workload. Stops when dropped.
pub struct StreamBackends {
    /// Where each listens.
    pub addresses: Vec<SocketAddr>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl StreamBackends {
    /// Starts one endpoint for each version named; all answer with as many bytes.
    pub fn start(versions: &[&str], bytes: usize) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
        let mut addresses = Vec::new();
        let mut seats = Vec::new();
        for version in versions {
            let address = machine::free_address()?;
            let listener = runtime.block_on(TcpListener::bind(address))?;
            addresses.push(address);
            seats.push((listener, Answer::new(version, bytes)));
        }
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new().name("backends-h2".into()).spawn(move || {
            runtime.block_on(async {
                for (listener, answer) in seats {
                    tokio::spawn(accept(listener, answer));
                }
                // An error is the end of whoever would have said so.
                let _ = stopped.await;
            });
        })?;
        Ok(StreamBackends { addresses, stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for StreamBackends {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What an endpoint says to every request.
#[derive(Clone)]
struct Answer {
    head: Response<()>,
    body: Bytes,
}

impl Answer {
    fn new(version: &str, bytes: usize) -> Self {
        let mut head = Response::new(());
        let length = bytes.to_string();
        let fields = [
            ("server", "shop/1.0"),
            ("content-type", "text/plain; charset=utf-8"),
            ("content-length", &length),
            ("cache-control", "private, max-age=0"),
            ("etag", "\"5f3c-61a7\""),
            ("x-backend", version),
        ];
        for (name, value) in fields {
            let made = (name.parse::<http::HeaderName>().ok()).zip(value.parse().ok());
            head.headers_mut().extend(made);
        }
        Answer { head, body: vec![b'x'; bytes].into() }
    }
}

async fn accept(listener: TcpListener, answer: Answer) {
    while let Ok((stream, _)) = listener.accept().await {
        let answer = answer.clone();
        tokio::spawn(async move {
            if let Err(error) = serve(stream, answer).await
                && !error.is_io()
            {
                eprintln!("a backend's connection over HTTP/2 broke: {error}");
            }
        });
    }
}

async fn serve(stream: TcpStream, answer: Answer) -> Result<(), h2::Error> {
    stream.set_nodelay(true).map_err(|error| {
        eprintln!("a backend's socket: {error}");
        h2::Reason::INTERNAL_ERROR
    })?;
    let mut protocol = h2::server::Builder::new();
    // Whoever drives the load stops in the middle: then all that is open is taken back at once.
    protocol.max_concurrent_streams(STREAMS_MOST).max_pending_accept_reset_streams(1000);
    let mut connection = protocol.handshake(stream).await?;
    while let Some(came) = connection.accept().await {
        let (_, mut respond): (Request<h2::RecvStream>, _) = came?;
        // A stream that was taken back wants no answer.
        let Ok(mut body) = respond.send_response(answer.head.clone(), false) else { continue };
        // What the window does not take yet is kept by the library.
        let _ = body.send_data(answer.body.clone(), true);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_answers_with_its_version_and_as_many_bytes() {
        let backends = StreamBackends::start(&["blue", "green"], 5).expect("backends");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build();
        let (head, body) = runtime.expect("a runtime").block_on(async {
            let stream = TcpStream::connect(backends.addresses[1]).await.expect("a connection");
            let (mut send, connection) = h2::client::handshake(stream).await.expect("a handshake");
            tokio::spawn(connection);
            let request = Request::get("http://shop/bytes/5").body(()).expect("a request");
            let (answer, _) = send.send_request(request, true).expect("a stream");
            let (head, mut body) = answer.await.expect("an answer").into_parts();
            (head, body.data().await.expect("a body").expect("data"))
        });
        assert_eq!(
            (head.status.as_u16(), &head.headers["x-backend"]),
            (200, &"green".parse().expect("a value"))
        );
        assert_eq!(&body[..], b"xxxxx");
    }
}
