//! Websockets, over either HTTP on either side of the proxy.

use hyper::StatusCode;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::client::TlsStream;

use crate::http2::{connect, in_flight, tls};
use crate::rig::{H2Version, Rig, connect_tls, says};

/// A server of HTTP/1.1 that takes every websocket and sends back what comes over it; asked for
/// anything else, it answers with nothing.
async fn echo() -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(stream.read_u8().await?);
                }
                let head = String::from_utf8(head).unwrap();
                let asks = ["upgrade: websocket\r\n", "sec-websocket-version: 13\r\n"];
                let key = head.split_once("sec-websocket-key: ").map(|(_, rest)| &rest[22..26]);
                if !asks.iter().all(|line| head.contains(line)) || key != Some("==\r\n") {
                    return stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await;
                }
                let taken = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\n\
                             Upgrade: websocket\r\nSec-WebSocket-Accept: x\r\n\r\nhello";
                stream.write_all(taken.as_bytes()).await?;
                let (mut from, mut to) = stream.split();
                tokio::io::copy(&mut from, &mut to).await?;
                to.shutdown().await
            });
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread")]
async fn a_websocket_is_carried_by_a_stream() {
    let rig =
        tls(Rig::build().at("blue", echo().await)).listener("limits.idle_timeout = \"100ms\"");
    let rig = rig.start().await;
    let client = connect(&rig).await;
    assert_eq!(client.get("/").await.0, 204);
    let answer = client.connect("websocket", "/chat").await;
    assert_eq!(answer.status(), 200);
    assert!(!answer.headers().contains_key("sec-websocket-accept"), "{:?}", answer.headers());
    let mut socket = TokioIo::new(hyper::upgrade::on(answer).await.unwrap());
    let mut came = [0; 5];
    socket.read_exact(&mut came).await.unwrap();
    assert_eq!(&came, b"hello");
    // Longer than a connection without streams may be idle.
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    socket.write_all(b"there").await.unwrap();
    socket.read_exact(&mut came).await.unwrap();
    assert_eq!(&came, b"there");
    assert_eq!(in_flight(&rig).await, 1.0);
    socket.shutdown().await.unwrap();
    assert_eq!(socket.read(&mut came).await.unwrap(), 0);
    rig.until("it is over", || async { in_flight(&rig).await == 0.0 }).await;
    assert_eq!(rig.metric("http_requests_total", &["status=\"200\""]).await, 1.0);
    drop(socket);
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_else_is_carried_by_a_stream() {
    let rig = tls(Rig::build().version("blue", says("blue"))).start().await;
    let client = connect(&rig).await;
    assert_eq!(client.get("/").await.0, 200);
    assert_eq!(client.connect("connect-udp", "/").await.status(), 501);
    // A version that takes it for a plain GET: its 200 must not say that a websocket is open.
    assert_eq!(client.connect("websocket", "/").await.status(), 501);
    assert_eq!(rig.version("blue").requests(), 2);
    drop(client);
    rig.finish().await;
}

/// A client of HTTP/1.1 that asks for a websocket and says something at once.
async fn asks_by_http_1(rig: &Rig, path: &str) -> (String, TlsStream<TcpStream>) {
    let mut stream = connect_tls(rig.web, Some("a.test"), &[b"http/1.1"]).await;
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\nearly"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    (String::from_utf8(head).unwrap().to_ascii_lowercase(), stream)
}

async fn before(upstream: &H2Version) -> Rig {
    let rig = tls(Rig::build().at("blue", upstream.address));
    rig.each_version("protocol = \"h2c\"").start().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_of_the_upstream_carries_a_websocket_of_http_1() {
    let upstream = H2Version::with_websockets();
    let rig = before(&upstream).await;
    let (head, mut socket) = asks_by_http_1(&rig, "/socket").await;
    assert!(head.starts_with("http/1.1 101 "), "{head}");
    for line in [
        "\r\nconnection: upgrade\r\n",
        "\r\nupgrade: websocket\r\n",
        // The answer to that key (RFC 6455 §1.3), which a browser insists on.
        "\r\nsec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=\r\n",
        "\r\nx-own: 1\r\n",
        "\r\nx-tidegate-version: blue\r\n",
    ] {
        assert_eq!(head.matches(line).count(), 1, "{line}: {head}");
    }
    assert_eq!(upstream.field("sec-websocket-version").as_deref(), Some("13"));
    for stays in ["sec-websocket-key", "upgrade", "connection"] {
        assert_eq!(upstream.field(stays), None, "{stays}");
    }
    let mut came = [0; 5];
    socket.read_exact(&mut came).await.unwrap();
    assert_eq!(&came, b"early");
    socket.write_all(b"there").await.unwrap();
    socket.read_exact(&mut came).await.unwrap();
    assert_eq!(&came, b"there");
    assert_eq!(in_flight(&rig).await, 1.0);
    // The end of the one side is told to the other, which ends then too.
    socket.shutdown().await.unwrap();
    assert_eq!(socket.read(&mut came).await.unwrap(), 0);
    rig.until("it is over", || async { in_flight(&rig).await == 0.0 }).await;
    assert_eq!(rig.metric("http_requests_total", &["status=\"101\""]).await, 1.0);
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_of_the_upstream_carries_a_websocket_of_http_2() {
    let upstream = H2Version::with_websockets();
    let rig = before(&upstream).await;
    let client = connect(&rig).await;
    for turn in 1..=2 {
        let answer = client.connect("websocket", "/socket").await;
        assert_eq!(answer.status(), 200);
        assert!(!answer.headers().contains_key("sec-websocket-accept"), "{:?}", answer.headers());
        let mut socket = TokioIo::new(hyper::upgrade::on(answer).await.unwrap());
        let mut came = [0; 5];
        socket.write_all(b"hello").await.unwrap();
        socket.read_exact(&mut came).await.unwrap();
        assert_eq!(&came, b"hello");
        if turn == 1 {
            socket.shutdown().await.unwrap();
            assert_eq!(socket.read(&mut came).await.unwrap(), 0);
        }
        // The second goes away without a word.
        drop(socket);
        rig.until("it is over", || async { in_flight(&rig).await == 0.0 }).await;
    }
    assert_eq!(upstream.connections(), 1);
    assert_eq!(rig.metric("http_requests_total", &["status=\"200\""]).await, 2.0);
    drop(client);
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_ends_a_websocket_that_it_carries_by_a_stream() {
    let upstream = H2Version::with_websockets();
    let rig = before(&upstream).await;
    let (_, mut socket) = asks_by_http_1(&rig, "/socket/bye").await;
    let mut rest = String::new();
    socket.read_to_string(&mut rest).await.unwrap();
    assert_eq!(rest, "bye");
    rig.until("it is over", || async { in_flight(&rig).await == 0.0 }).await;
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_carried_by_a_stream_that_was_refused() {
    let upstream = H2Version::with_websockets();
    let rig = before(&upstream).await;
    let (head, mut stream) = asks_by_http_1(&rig, "/no-socket").await;
    assert!(head.starts_with("http/1.1 403 "), "{head}");
    // What stood behind the request is taken for another one, as of any client.
    let mut rest = String::new();
    stream.write_all(b"\r\n\r\n").await.unwrap();
    stream.read_to_string(&mut rest).await.unwrap();
    assert!(rest.contains("no\r\n") && rest.contains("HTTP/1.1 400 "), "{rest}");
    let client = connect(&rig).await;
    assert_eq!(client.connect("websocket", "/no-socket").await.status(), StatusCode::FORBIDDEN);
    assert_eq!(upstream.requests(), 2);
    drop(client);
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_whose_streams_carry_nothing_is_not_asked_to() {
    let upstream = H2Version::start(None);
    let rig = before(&upstream).await;
    let client = connect(&rig).await;
    for _ in 0..10 {
        let (head, _) = asks_by_http_1(&rig, "/socket").await;
        assert!(head.starts_with("http/1.1 501 "), "{head}");
        assert_eq!(client.connect("websocket", "/socket").await.status(), 501);
    }
    assert_eq!(upstream.requests(), 0);
    // It is nobody's failure: the version serves on, and nothing was tried again.
    assert_eq!(client.get("/other").await.0, 200);
    assert_eq!(rig.metric("tidegate_endpoint_healthy", &[]).await, 1.0);
    assert_eq!(rig.metric("tidegate_retries_total", &[]).await, 0.0);
    drop(client);
    rig.finish().await;
}
