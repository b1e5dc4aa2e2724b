//! Bytes in, bytes out: what a strict proxy refuses, strips and keeps.

use std::sync::Arc;

use tokio::sync::Notify;

use crate::rig::{Rig, says};

/// Sends bytes over a new connection and reads everything until the proxy closes it.
async fn exchange(rig: &Rig, bytes: &[u8]) -> String {
    let mut client = rig.client().await;
    client.send(bytes).await;
    String::from_utf8_lossy(&client.rest().await).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_could_be_smuggled_is_refused_and_ends_the_connection() {
    let rig = Rig::build().version("blue", says("blue")).start().await;
    let tail = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    let heads = [
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551619\r\n\r\nabc",
        "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        "GET / HTTP/1.1\nHost: a\n\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n z\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n",
    ];
    for head in heads {
        let answer = exchange(&rig, format!("{head}{tail}").as_bytes()).await;
        let refused = ["HTTP/1.1 400 ", "HTTP/1.1 501 "];
        assert!(refused.iter().any(|line| answer.starts_with(line)), "{head:?}: {answer}");
        assert!(answer.contains("\r\nconnection: close\r\n"), "{head:?}: {answer}");
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{head:?}: {answer}");
    }
    assert_eq!(rig.version("blue").requests(), 0, "nothing of it went up");
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_chunk_ends_the_connection_and_what_follows_is_not_run() {
    let rig = Rig::build().version("blue", says("blue")).start().await;
    let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    for body in ["5\r\nhelloX\r\n0\r\n\r\n", "z\r\n", "5;\n\r\nhello\r\n0\r\n\r\n", "-1\r\n"] {
        let sent = format!("{head}{body}GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n");
        let answer = exchange(&rig, sent.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{body:?}: {answer}");
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{body:?}: {answer}");
    }
    assert!(!rig.version("blue").seen().iter().any(|request| request.contains("smuggled")));
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pipelined_requests_are_answered_in_order() {
    let rig = Rig::build().version("blue", says("blue")).start().await;
    let mut client = rig.client().await;
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
    let post = "POST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc";
    client.send(format!("{}{post}{}", get("/1"), get("/3")).as_bytes()).await;
    for method in ["GET", "POST", "GET"] {
        assert_eq!(client.answer(method).await.status, 200);
    }
    let paths: Vec<_> = rig
        .version("blue")
        .seen()
        .iter()
        .map(|request| request.split(' ').nth(1).unwrap_or_default().to_owned())
        .collect();
    assert_eq!(paths, ["/1", "/2", "/3"]);
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_go_both_ways_with_trailers() {
    let raw = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nwiki\r\n5\r\npedia\r\n0\r\nX-Sum: 7\r\n\r\n";
    let rig = Rig::build().version("blue", says("").raw(raw)).start().await;
    let mut client = rig.client().await;
    let body = "3\r\nabc\r\n2\r\nde\r\n0\r\nX-Up: 1\r\n\r\n";
    let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    client.send(format!("{head}{body}").as_bytes()).await;
    let answer = client.answer("POST").await;
    assert_eq!(answer.text(), "wikipedia");
    assert_eq!(answer.trailers, [("X-Sum".to_owned(), "7".to_owned())]);
    let seen = rig.version("blue").seen().remove(0);
    assert!(seen.ends_with("0\r\nX-Up: 1\r\n\r\n") || seen.contains("X-Up: 1"), "{seen}");
    let large = "x".repeat(300_000);
    let head = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", large.len());
    client.send(format!("{head}{large}").as_bytes()).await;
    client.answer("POST").await;
    assert!(rig.version("blue").seen()[1].ends_with(&large));
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn head_204_304_and_interim_answers_have_no_body() {
    let rig = Rig::build().version("blue", says("hello")).start().await;
    let mut client = rig.client().await;
    client.send(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let head = client.answer("HEAD").await;
    assert_eq!((head.field("content-length"), head.body.len()), (Some("5"), 0));
    assert_eq!(client.get("/").await.text(), "hello");
    rig.finish().await;
    for status in ["204 No Content", "304 Not Modified"] {
        let raw = format!("HTTP/1.1 {status}\r\nETag: \"x\"\r\n\r\n");
        let rig = Rig::build().version("blue", says("").raw(raw.as_bytes())).start().await;
        let mut client = rig.client().await;
        for _ in 0..2 {
            let answer = client.get("/").await;
            assert!(status.starts_with(&answer.status.to_string()) && answer.body.is_empty());
        }
        rig.finish().await;
    }
    let (hints, gate) =
        (b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", Arc::new(Notify::new()));
    let script = says("ok").early(hints).behind(&gate);
    let rig = Rig::build().version("blue", script).start().await;
    let mut client = rig.client().await;
    client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(client.bytes(hints.len()).await, hints, "it does not wait for the answer");
    gate.notify_one();
    assert_eq!(client.answer("GET").await.text(), "ok");
    client.send(b"GET / HTTP/1.0\r\nHost: a\r\n\r\n").await;
    gate.notify_one();
    let all = String::from_utf8(client.rest().await).unwrap();
    assert!(all.starts_with("HTTP/1.1 200 OK"), "HTTP/1.0 knows no hints: {all}");
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_waits_for_100_gets_it() {
    let rig = Rig::build().version("blue", says("blue")).start().await;
    let mut client = rig.client().await;
    let head = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n";
    client.send(head.as_bytes()).await;
    let interim = client.bytes(25).await;
    assert_eq!(String::from_utf8_lossy(&interim), "HTTP/1.1 100 Continue\r\n\r\n");
    client.send(b"hello").await;
    assert_eq!(client.answer("POST").await.text(), "blue");
    let seen = rig.version("blue").seen().remove(0).to_ascii_lowercase();
    assert!(seen.ends_with("hello") && !seen.contains("expect"), "{seen}");
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_websocket_is_tunnelled_and_nothing_else_is_upgraded() {
    let raw = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nearly";
    let rig = Rig::build().version("blue", says("").raw(raw).closing()).start().await;
    let mut client = rig.client().await;
    let head = "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\n\r\n";
    client.send(head.as_bytes()).await;
    let all = String::from_utf8(client.rest().await).unwrap().to_ascii_lowercase();
    assert!(all.starts_with("http/1.1 101 switching protocols\r\n"), "{all}");
    assert!(all.contains("\r\nupgrade: websocket\r\n") && all.ends_with("\r\n\r\nearly"), "{all}");
    let seen = rig.version("blue").seen().remove(0).to_ascii_lowercase();
    assert!(seen.contains("connection: upgrade") && seen.contains("upgrade: websocket"), "{seen}");
    rig.finish().await;
    let rig = Rig::build().version("blue", says("plain")).start().await;
    let mut client = rig.client().await;
    let h2c = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\n";
    assert_eq!(client.get_with("/", h2c).await.text(), "plain");
    let seen = rig.version("blue").seen().remove(0).to_ascii_lowercase();
    assert!(!seen.contains("upgrade") && !seen.contains("http2-settings"), "{seen}");
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn http_10_is_spoken() {
    let raw = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nwiki\r\n0\r\n\r\n";
    let rig = Rig::build().version("blue", says("").raw(raw)).start().await;
    let answer = exchange(&rig, b"GET / HTTP/1.0\r\n\r\n").await;
    assert!(answer.ends_with("\r\n\r\nwiki") && !answer.contains("chunked"), "{answer}");
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_have_their_statuses() {
    let rig = Rig::build()
        .version("blue", says("blue"))
        .tables("[[listener]]\nname = \"small\"\naddress = \"127.0.0.1:0\"\n[listener.limits]\nmax_body = \"1KiB\"")
        .start()
        .await;
    let long = "x".repeat(70_000);
    let cases = [
        (format!("GET /{long} HTTP/1.1\r\nHost: a\r\n\r\n"), 414),
        (format!("GET / HTTP/1.1\r\nHost: a\r\nX: {long}\r\n\r\n"), 431),
        (format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "A: b\r\n".repeat(200)), 431),
        ("CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), 501),
        ("GET / HTTP/3.0\r\nHost: a\r\n\r\n".to_owned(), 505),
        ("GET / HTTP/1.1\r\nHost: a\r\nExpect: tea\r\n\r\n".to_owned(), 417),
    ];
    for (request, status) in cases {
        let answer = exchange(&rig, request.as_bytes()).await;
        let shown = &request[..request.len().min(40)];
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{shown:?}: {answer}");
        assert!(answer.contains("application/problem+json"), "{answer}");
    }
    assert_eq!(rig.version("blue").requests(), 0);
    rig.finish().await;
}
