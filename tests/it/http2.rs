//! HTTP/2 on both sides: streams instead of connections, the same promises.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::BodyExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::Notify;

use crate::rig::{Builder, H2Client, H2Version, Identity, Rig, connect_tls, fed, says, text};
use crate::suite::frames::{
    ACK, DATA, END_STREAM, GOAWAY, HEADERS, Op, PING, PREFACE, RST_STREAM, frame, written,
};

pub fn tls(builder: Builder) -> Builder {
    builder
        .identity("a", &Identity::of(&["a.test", "b.test"]))
        .listener("tls = { cert = \"a.pem\", key = \"a.key\" }")
}

pub async fn connect(rig: &Rig) -> H2Client {
    let stream = connect_tls(rig.web, Some("a.test"), &[b"h2"]).await;
    H2Client::over(stream, "a.test").await
}

/// A service whose only version speaks HTTP/2 in clear text.
async fn before(upstream: &H2Version) -> Rig {
    tls(Rig::build().at("blue", upstream.address).each_version("protocol = \"h2c\"")).start().await
}

pub async fn in_flight(rig: &Rig) -> f64 {
    rig.metric("tidegate_requests_in_flight", &[]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_of_every_kind_are_answered() {
    let rig = tls(Rig::build().version("blue", says("blue").fields("X-Own: 1\r\n"))).start().await;
    let client = connect(&rig).await;
    let (status, fields, body) = client.get("/a?b").await;
    assert_eq!((status, body.as_str()), (200, "blue"));
    assert_eq!(fields["x-own"], "1");
    assert_eq!(fields["x-tidegate-version"], "blue");
    assert!(fields.contains_key("x-request-id"));
    let head = client.begin("HEAD", "/", &[], text("")).await.unwrap();
    assert_eq!(head.headers()["content-length"], "4");
    assert!(head.into_body().collect().await.unwrap().to_bytes().is_empty());
    let post = client.begin("POST", "/p", &[("content-length", "5")], text("hello")).await;
    assert_eq!(post.unwrap().status(), 200);
    let post = client.begin("POST", "/c", &[], text("chunk")).await;
    assert_eq!(post.unwrap().status(), 200);
    let seen = rig.version("blue").seen();
    let starts = ["GET /a?b HTTP/1.1\r\nhost: a.test\r\n", "HEAD / ", "POST /p ", "POST /c "];
    for (request, start) in seen.iter().zip(starts) {
        assert!(request.starts_with(start), "{request}");
        assert!(request.contains("via: 2.0 tidegate\r\n"), "{request}");
        assert!(request.contains("x-forwarded-proto: https\r\n"), "{request}");
    }
    assert!(seen[2].contains("content-length: 5\r\n") && seen[2].ends_with("\r\n\r\nhello"));
    assert!(seen[3].contains("transfer-encoding: chunked\r\n") && seen[3].contains("chunk\r\n"));
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_of_another_certificate_is_misdirected() {
    let rig = tls(Rig::build().version("blue", says("blue"))).start().await;
    for (host, status) in [("a.test", 200), ("b.test", 200), ("c.test", 421)] {
        let stream = connect_tls(rig.web, Some("a.test"), &[b"h2"]).await;
        let client = H2Client::over(stream, host).await;
        assert_eq!(client.get("/").await.0, status, "{host}");
    }
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_stream_both_ways_at_once() {
    let upstream = H2Version::start(None);
    let rig = before(&upstream).await;
    let client = connect(&rig).await;
    let (feed, body) = fed();
    feed.data("first");
    let mut answer = client.begin("POST", "/echo", &[], body).await.unwrap().into_body();
    for piece in ["first", "second", "third"] {
        if piece != "first" {
            feed.data(piece);
        }
        let frame = answer.frame().await.unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), piece);
    }
    feed.trailers("x-sum", "3");
    drop(feed);
    let frame = answer.frame().await.unwrap().unwrap();
    assert_eq!(frame.into_trailers().unwrap()["x-sum"], "3");
    assert!(answer.frame().await.is_none());
    assert_eq!(upstream.aborted(), 0);
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn interim_answers_reach_the_client() {
    let (hints, gate) =
        (b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", Arc::new(Notify::new()));
    let script = says("ok").early(hints).behind(&gate);
    let rig = tls(Rig::build().version("blue", script)).start().await;
    // hyper's client would throw them away.
    let stream = connect_tls(rig.web, Some("a.test"), &[b"h2"]).await;
    let (mut send, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let request = http::Request::post("https://a.test/").header("expect", "100-continue");
    let (mut answer, mut body) = send.send_request(request.body(()).unwrap(), false).unwrap();
    let mut interim = async || {
        let interim = poll_fn(|task| answer.poll_informational(task)).await.unwrap().unwrap();
        let link = interim.headers().get("link").cloned();
        (interim.status().as_u16(), link)
    };
    assert_eq!(interim().await, (100, None), "the body is waited for");
    body.send_data("body".into(), true).unwrap();
    let hint = Some("</a>".parse().unwrap());
    assert_eq!(interim().await, (103, hint), "it does not wait for the answer");
    gate.notify_one();
    assert_eq!(answer.await.unwrap().status(), 200);
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn grpc_passes_with_its_trailers() {
    let upstream = H2Version::start(None);
    let rig = before(&upstream).await;
    let client = connect(&rig).await;
    let fields = [("te", "trailers"), ("content-type", "application/grpc")];
    let answer = client.begin("POST", "/grpc/0", &fields, text("message")).await.unwrap();
    let whole = answer.into_body().collect().await.unwrap();
    assert_eq!(whole.trailers().unwrap()["grpc-status"], "0");
    assert_eq!(whole.to_bytes(), "message");
    assert_eq!(upstream.field("te").as_deref(), Some("trailers"));
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_streams_of_one_connection_are_answered_and_counted_once() {
    let rig = tls(Rig::build().version("blue", says("blue"))).start().await;
    let client = connect(&rig).await;
    let streams: Vec<_> = (0..200)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { client.get("/").await })
        })
        .collect();
    for stream in streams {
        let (status, _, body) = stream.await.unwrap();
        assert_eq!((status, body.as_str()), (200, "blue"));
    }
    assert_eq!(rig.metric("http_requests_total", &["status=\"200\""]).await, 200.0);
    assert_eq!(rig.metric("http_requests_total", &[]).await, 200.0);
    assert_eq!(rig.version("blue").requests(), 200);
    assert_eq!(rig.metric("tidegate_connections", &[]).await, 1.0);
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cutover_moves_the_next_stream_of_an_open_connection() {
    let gate = Arc::new(Notify::new());
    let builder = Rig::build()
        .version("blue", says("blue").behind(&gate))
        .version("green", says("green"))
        .weights("blue = 100, green = 0");
    let rig = tls(builder).start().await;
    let client = connect(&rig).await;
    let old = tokio::spawn(client.begin("GET", "/", &[], text("")));
    rig.until("the stream is at blue", || async { rig.version("blue").requests() == 1 }).await;
    rig.cutover("green").await;
    for _ in 0..50 {
        assert_eq!(client.get("/").await.2, "green");
    }
    gate.notify_one();
    let old = old.await.unwrap().unwrap().into_body().collect().await.unwrap();
    assert_eq!(old.to_bytes(), "blue", "what was begun is ended where it began");
    assert_eq!(rig.version("blue").requests(), 1);
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_its_client_resets_is_reset_upstream_too() {
    let upstream = H2Version::start(None);
    let rig = before(&upstream).await;
    let client = connect(&rig).await;

    let waiting = tokio::spawn(client.begin("GET", "/wait", &[], text("")));
    rig.until("it is upstream", || async { upstream.requests() == 1 }).await;
    waiting.abort();
    rig.until("its abort is seen", || async { upstream.aborted() == 1 }).await;
    rig.until("it is counted", || async {
        rig.metric("http_requests_total", &["status=\"499\""]).await == 1.0
    })
    .await;

    let (feed, body) = fed();
    feed.data("half");
    let mut answer = client.begin("POST", "/echo", &[], body).await.unwrap().into_body();
    assert_eq!(answer.frame().await.unwrap().unwrap().into_data().unwrap(), "half");
    feed.abort();
    rig.until("its abort is seen", || async { upstream.aborted() == 2 }).await;
    assert!(answer.frame().await.unwrap().is_err());

    let mut answer = client.begin("GET", "/endless", &[], text("")).await.unwrap().into_body();
    assert_eq!(answer.frame().await.unwrap().unwrap().into_data().unwrap(), "piece");
    drop(answer);
    rig.until("its abort is seen", || async { upstream.aborted() == 3 }).await;
    rig.until("nothing is in flight", || async { in_flight(&rig).await == 0.0 }).await;
    assert_eq!(rig.metric("http_errors_total", &[]).await, 0.0, "no version is charged for it");
    assert_eq!(client.get("/next").await.2, "/next", "the connection goes on");
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_stream_ends_the_http_1_connection_upstream() {
    let gate = Arc::new(Notify::new());
    let rig = tls(Rig::build().version("blue", says("blue").behind(&gate))).start().await;
    let client = connect(&rig).await;
    let waiting = tokio::spawn(client.begin("GET", "/", &[], text("")));
    rig.until("it is upstream", || async { rig.version("blue").requests() == 1 }).await;
    waiting.abort();
    rig.until("its connection is gone", || async {
        rig.metric("tidegate_upstream_connections", &["version=\"blue\""]).await == 0.0
    })
    .await;
    assert_eq!(rig.metric("http_requests_total", &["status=\"499\""]).await, 1.0);
    assert_eq!(in_flight(&rig).await, 0.0);
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_clients_share_few_connections_to_an_upstream() {
    let upstream = H2Version::start(None);
    let rig =
        Rig::build().at("blue", upstream.address).each_version("protocol = \"h2c\"").start().await;
    let mut clients = Vec::new();
    for _ in 0..80 {
        let mut client = rig.client().await;
        clients.push(tokio::spawn(async move { client.get("/wait").await }));
    }
    rig.until("all are upstream", || async { upstream.requests() == 80 }).await;
    let connections = rig.metric("tidegate_upstream_connections", &["version=\"blue\""]).await;
    // At most one for each of the two workers.
    assert!(connections <= 2.0, "{connections}");
    assert_eq!(upstream.connections(), connections as u64);
    upstream.gate.notify_waiters();
    for client in clients {
        assert_eq!(client.await.unwrap().text(), "/wait");
    }
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_request_waits_for_another_where_an_upstream_takes_few_streams() {
    let upstream = H2Version::narrow(5);
    let rig =
        Rig::build().at("blue", upstream.address).each_version("protocol = \"h2c\"").start().await;
    for _ in 0..16 {
        assert_eq!(rig.get("/").await.status, 200);
    }
    let mut clients = Vec::new();
    for _ in 0..40 {
        let mut client = rig.client().await;
        clients.push(tokio::spawn(async move { client.get("/wait").await }));
    }
    rig.until("all are upstream", || async { upstream.requests() == 56 }).await;
    assert!((8..=10).contains(&upstream.connections()), "{}", upstream.connections());
    upstream.gate.notify_waiters();
    for client in clients {
        assert_eq!(client.await.unwrap().text(), "/wait");
    }
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_goes_away_fails_no_request() {
    let upstream = H2Version::start(None);
    let rig =
        Rig::build().at("blue", upstream.address).each_version("protocol = \"h2c\"").start().await;
    let mut clients = Vec::new();
    for _ in 0..8 {
        let mut client = rig.client().await;
        clients.push(tokio::spawn(async move {
            for n in 0..100 {
                let answer = client.get("/").await;
                assert_eq!(answer.status, 200, "request {n}: {}", answer.text());
            }
        }));
    }
    while clients.iter().any(|client| !client.is_finished()) {
        let before = upstream.requests();
        upstream.go_away();
        rig.until("requests flow on", || async {
            upstream.requests() > before + 10 || clients.iter().all(|client| client.is_finished())
        })
        .await;
    }
    for client in clients {
        client.await.unwrap();
    }
    assert!(upstream.connections() > 2);
    assert_eq!(rig.metric("http_requests_total", &["status=\"200\""]).await, 800.0);
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_by_tls_and_http_2_is_verified() {
    let identity = Identity::of(&["up.test"]);
    let cases: [(&[&[u8]], u16); 2] = [(&[b"h2"], 200), (&[b"http/1.1"], 502)];
    for (alpn, status) in cases {
        let upstream = H2Version::start(Some(identity.server(alpn)));
        let rig = Rig::build()
            .at("blue", upstream.address)
            .each_version("protocol = \"h2\"\ntls = { ca = \"up.pem\", server_name = \"up.test\" }")
            .service("retries = { attempts = 0 }")
            .identity("up", &identity)
            .start()
            .await;
        let answer = rig.get("/name").await;
        assert_eq!(answer.status, status, "{}", answer.text());
        rig.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_finishes_open_streams() {
    let upstream = H2Version::start(None);
    let mut rig = before(&upstream).await;
    let client = connect(&rig).await;
    let streams: Vec<_> =
        (0..5).map(|_| tokio::spawn(client.begin("GET", "/wait", &[], text("")))).collect();
    rig.until("all are upstream", || async { upstream.requests() == 5 }).await;
    let (gate, web) = (upstream.gate.clone(), rig.web);
    let opener = tokio::spawn(async move {
        while tokio::net::TcpStream::connect(web).await.is_ok() {
            tokio::task::yield_now().await;
        }
        gate.notify_waiters();
    });
    rig.stop().await;
    opener.await.unwrap();
    for stream in streams {
        let answer = stream.await.unwrap().expect("an answer");
        assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "/wait");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_without_streams_is_closed_after_a_while() {
    let builder = Rig::build().version("blue", says("blue"));
    let rig = tls(builder)
        .listener("limits.idle_timeout = \"100ms\"\nlimits.header_timeout = \"100ms\"")
        .start()
        .await;
    // This one agrees on HTTP/2 and says nothing; the other has its answer and goes quiet.
    let silent = connect_tls(rig.web, Some("a.test"), &[b"h2"]).await;
    let client = connect(&rig).await;
    assert_eq!(client.get("/").await.0, 200);
    rig.until("both are closed", || async { rig.metric("tidegate_connections", &[]).await == 0.0 })
        .await;
    assert!(client.is_over());
    drop(silent);
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_connection_does_not_delay_a_shutdown() {
    let mut rig = tls(Rig::build().version("blue", says("blue"))).start().await;
    let silent = connect_tls(rig.web, Some("a.test"), &[b"h2"]).await;
    let idle = connect(&rig).await;
    assert_eq!(idle.get("/").await.0, 200);
    rig.until("both are counted", || async {
        rig.metric("tidegate_connections", &[]).await == 2.0
    })
    .await;
    rig.stop().await;
    drop(silent);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_reads_nothing_keeps_no_upstream() {
    // More than all windows on the way.
    let large = "x".repeat(32 * 1024 * 1024);
    let builder = Rig::build().version("blue", says(&large));
    let rig = tls(builder).listener("limits.send_timeout = \"100ms\"").start().await;
    let client = connect(&rig).await;
    let answer = client.begin("GET", "/", &[], text("")).await.unwrap();
    assert_eq!(answer.status(), 200);
    rig.until("it is given up", || async { in_flight(&rig).await == 0.0 }).await;
    rig.until("its connection is gone", || async {
        rig.metric("tidegate_upstream_connections", &[]).await == 0.0
    })
    .await;
    assert!(answer.into_body().collect().await.is_err(), "it is reset, never ended");
    let head = client.begin("HEAD", "/", &[], text("")).await.unwrap();
    assert_eq!(head.status(), 200, "other streams go on");
    assert_eq!(rig.metric("http_errors_total", &[]).await, 0.0);
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_nobody_takes_does_not_stop_the_others_of_its_connection() {
    let stuck = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let builder =
        Rig::build().version("blue", says("blue")).at("green", stuck.local_addr().unwrap());
    let pin = "[[service.shop.pin]]\nheaders = { x-to = \"green\" }\nversion = \"green\"\n";
    let rig = tls(builder.weights("blue = 1, green = 0").tables(pin)).start().await;
    let client = connect(&rig).await;
    let piece = "x".repeat(64 * 1024);
    // More than all buffers on the way.
    let (feed, body) = fed();
    (0..512).for_each(|_| feed.data(&piece));
    let stuck_upload = client.begin("POST", "/", &[("x-to", "green")], body);
    rig.until("it is under way", || async { in_flight(&rig).await == 1.0 }).await;
    for _ in 0..4 {
        let (feed, body) = fed();
        (0..4).for_each(|_| feed.data(&piece));
        drop(feed);
        let answer = client.begin("POST", "/", &[], body);
        let answer = tokio::time::timeout(Duration::from_secs(30), answer).await;
        assert_eq!(answer.expect("room for others").unwrap().status(), 200);
    }
    drop(stuck_upload);
    rig.until("it is over", || async { in_flight(&rig).await == 0.0 }).await;
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_does_not_stand_in_its_own_way() {
    let builder = Rig::build().version("blue", says("blue")).server("max_buffered = \"128KiB\"");
    let rig = tls(builder).start().await;
    let client = connect(&rig).await;
    for _ in 0..3 {
        let (feed, body) = fed();
        feed.data(&"x".repeat(64 * 1024));
        drop(feed);
        assert_eq!(client.begin("POST", "/", &[], body).await.unwrap().status(), 200);
    }
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_went_silent_is_not_asked_again() {
    let upstream = H2Version::start(None);
    let rig = tls(Rig::build().at("blue", upstream.address)).service("timeout = \"1s\"");
    let rig = rig.each_version("protocol = \"h2c\"").start().await;
    // One connection, and so one worker.
    let client = connect(&rig).await;
    assert_eq!(client.get("/other").await.0, 200);
    assert_eq!(client.get("/wait").await.0, 504);
    assert_eq!(client.get("/other").await.0, 200);
    assert_eq!(upstream.connections(), 2);
    // Where others are answered meanwhile, it is the request that is slow.
    let waiting = client.begin("GET", "/wait", &[], text(""));
    rig.until("it waits", || async { upstream.requests() == 4 }).await;
    assert_eq!(client.get("/other").await.0, 200);
    assert_eq!(waiting.await.unwrap().status(), 504);
    assert_eq!(client.get("/other").await.0, 200);
    assert_eq!(upstream.connections(), 2);
    drop(client);
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_read_nothing_hold_up_nobody_on_the_connection_they_share() {
    let upstream = H2Version::start(None);
    let rig = Rig::build().at("blue", upstream.address);
    let rig = rig.each_version("protocol = \"h2c\"").service("timeout = \"2s\"").start().await;
    let mut still = Vec::new();
    for count in 1..=20 {
        let mut client = rig.client().await;
        client.send(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n").await;
        still.push(client);
        rig.until("it is in flight", || async { in_flight(&rig).await == f64::from(count) }).await;
    }
    assert_eq!(rig.get("/other").await.text(), "/other");
    // One of each worker.
    assert!(upstream.connections() <= 2, "{}", upstream.connections());
    still.clear();
    rig.until("they are gone", || async { in_flight(&rig).await == 0.0 }).await;
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_cut_fails_only_what_cannot_be_repeated() {
    let upstream = H2Version::start(None);
    let rig = before(&upstream).await;
    let client = connect(&rig).await;
    assert_eq!(client.get("/warm").await.0, 200);
    let safe = tokio::spawn(client.begin("GET", "/wait", &[], text("")));
    let unsafe_one = tokio::spawn(client.begin("POST", "/wait", &[], text("order")));
    rig.until("both are upstream", || async { upstream.requests() == 3 }).await;
    upstream.cut();
    let refused = unsafe_one.await.unwrap().unwrap();
    assert_eq!(refused.status(), 502, "it may have been served");
    rig.until("the other is tried again", || async { upstream.requests() == 4 }).await;
    upstream.gate.notify_waiters();
    let answer = safe.await.unwrap().unwrap();
    assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "/wait");
    assert_eq!(upstream.connections(), 2);
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_in_the_trailers_of_grpc_is_one_of_its_version() {
    let upstream = H2Version::start(None);
    let rig = before(&upstream).await;
    let client = connect(&rig).await;
    let statuses = ["0", "5", "14", "13", "4", "99"];
    for status in statuses {
        let path = format!("/grpc/{status}");
        let answer = client.begin("POST", &path, &[("te", "trailers")], text("message")).await;
        let whole = answer.unwrap().into_body().collect().await.unwrap();
        assert_eq!(whole.trailers().unwrap()["grpc-status"], status, "it passes as it is");
    }
    let counted = async |name: &str, label: &str| rig.metric(name, &[label]).await;
    assert_eq!(counted("http_requests_total", "status=\"200\"").await, 6.0);
    for (status, count) in
        [("0", 1.0), ("5", 1.0), ("14", 1.0), ("13", 1.0), ("4", 1.0), ("2", 1.0)]
    {
        let label = format!("grpc_status=\"{status}\"");
        assert_eq!(counted("tidegate_grpc_responses_total", &label).await, count, "{status}");
    }
    for (status, count) in [("500", 2.0), ("503", 1.0), ("504", 1.0)] {
        let label = format!("status_code=\"{status}\"");
        assert_eq!(counted("http_errors_total", &label).await, count, "{status}");
    }
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_is_told_from_a_mistake() {
    let resets: &[Op] = &[Op::Get(1, true, &[]), Op::Frame(RST_STREAM, 0, 1, "\0\0\0\x08")];
    let cases: [(&[Op], &str); 2] =
        [(&[Op::Many(2000, resets)], "flood"), (&[Op::Frame(PING, 0, 0, "1234")], "malformed")];
    let rig = tls(Rig::build().version("blue", says("blue"))).start().await;
    for (ops, reason) in cases {
        let mut stream = connect_tls(rig.web, Some("a.test"), &[b"h2"]).await;
        // The proxy may end it in the middle.
        let _ = stream.write_all(&written(ops, 0)).await;
        let label = format!("reason=\"{reason}\"");
        rig.until(reason, || async {
            rig.metric("tidegate_connections_refused_total", &[&label]).await == 1.0
        })
        .await;
    }
    rig.until("nothing is in flight", || async { in_flight(&rig).await == 0.0 }).await;
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_takes_nearly_all_back_is_shown_the_door() {
    let upstream = H2Version::start(None);
    let rig = before(&upstream).await;
    let floods = "reason=\"flood\"";
    let (client, other) = (connect(&rig).await, connect(&rig).await);
    // On a slow machine some are taken back too late to count: those that follow do.
    let mut rounds = 0;
    loop {
        rounds += 1;
        let begin = |_| tokio::spawn(client.begin("GET", "/wait", &[], text("")));
        let waiting: Vec<_> = (0..100).map(begin).collect();
        rig.until("all are upstream", || async { upstream.requests() >= rounds * 101 - 1 }).await;
        waiting.iter().for_each(|stream| stream.abort());
        rig.until("all are taken back", || async { in_flight(&rig).await == 0.0 }).await;
        // It is seen with the next that comes.
        if client.begin("GET", "/next", &[], text("")).await.is_err() {
            break;
        }
    }
    assert!(rounds > 5, "{rounds} hundred are no flood");
    rig.until("the flood is counted", || async {
        rig.metric("tidegate_connections_refused_total", &[floods]).await == 1.0
    })
    .await;
    assert!(client.begin("GET", "/again", &[], text("")).await.is_err(), "it was closed");
    assert_eq!(other.get("/next").await.2, "/next", "others are served");
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_reset_without_an_error_never_looks_whole() {
    let rig = tls(Rig::build().version("blue", says("blue"))).start().await;
    let mut stream = connect_tls(rig.web, Some("a.test"), &[b"h2"]).await;
    let half = written(&[Op::Post(1, false, &[]), Op::Data(1, false, "half")], 0);
    stream.write_all(&half).await.unwrap();
    let open = || async { rig.metric("tidegate_upstream_connections", &[]).await };
    rig.until("it goes up", || async { open().await == 1.0 }).await;
    let mut reset = Vec::new();
    frame(&mut reset, RST_STREAM, 0, 1, &[0; 4]);
    stream.write_all(&reset).await.unwrap();
    rig.until("it is over", || async { in_flight(&rig).await == 0.0 && open().await == 0.0 }).await;
    assert_eq!(rig.version("blue").requests(), 0);
    drop(stream);
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_goes_on_behind_its_length_never_looks_whole() {
    let rig = tls(Rig::build().version("blue", says("blue"))).start().await;
    let mut stream = connect_tls(rig.web, Some("a.test"), &[b"h2"]).await;
    let begun = |id| [Op::Post(id, false, &[("content-length", "2")]), Op::Data(id, false, "hi")];
    stream.write_all(&written(&begun(1), 0)).await.unwrap();
    rig.until("it has begun", || async { in_flight(&rig).await == 1.0 }).await;
    let mut out = Vec::new();
    frame(&mut out, DATA, END_STREAM, 1, b"x");
    stream.write_all(&out).await.unwrap();
    rig.until("it is over", || async { in_flight(&rig).await == 0.0 }).await;
    assert_eq!(rig.version("blue").requests(), 0);

    let mut out = written(&begun(3), 0);
    out.drain(..PREFACE.len());
    stream.write_all(&out).await.unwrap();
    rig.until("another has begun", || async { in_flight(&rig).await == 1.0 }).await;
    out.clear();
    frame(&mut out, DATA, END_STREAM, 3, b"");
    stream.write_all(&out).await.unwrap();
    rig.until("it is whole", || async { rig.version("blue").requests() == 1 }).await;
    drop(stream);
    rig.until("nothing is in flight", || async { in_flight(&rig).await == 0.0 }).await;
    rig.finish().await;
}

/// The length of the next frame's payload.
async fn length(stream: &mut (impl AsyncReadExt + Unpin)) -> Option<usize> {
    let mut bytes = [0; 4];
    stream.read_exact(&mut bytes[1..]).await.ok()?;
    usize::try_from(u32::from_be_bytes(bytes)).ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_says_goodbye_twice_and_finishes_what_came_between() {
    let gate = Arc::new(Notify::new());
    let mut rig = tls(Rig::build().version("blue", says("blue").behind(&gate))).start().await;
    let mut stream = connect_tls(rig.web, Some("a.test"), &[b"h2"]).await;
    stream.write_all(&written(&[Op::Get(1, true, &[])], 0)).await.unwrap();
    rig.until("it is upstream", || async { rig.version("blue").requests() == 1 }).await;
    let draining = tokio::spawn(async move {
        rig.stop().await;
        rig
    });
    let (mut goodbyes, mut answered) = (Vec::new(), Vec::new());
    while let Some(length) = length(&mut stream).await {
        let (kind, flags) = (stream.read_u8().await.unwrap(), stream.read_u8().await.unwrap());
        let id = stream.read_u32().await.unwrap();
        let mut payload = vec![0; length];
        stream.read_exact(&mut payload).await.unwrap();
        let mut out = Vec::new();
        match kind {
            PING if flags & ACK == 0 => {
                // What was on its way when the first goodbye was said is served too.
                if !goodbyes.is_empty() {
                    out = written(&[Op::Get(3, true, &[])], 0);
                    out.drain(..PREFACE.len() + 9 + 6);
                }
                frame(&mut out, PING, ACK, 0, &payload);
            }
            GOAWAY => {
                goodbyes.push(u32::from_be_bytes(payload[..4].try_into().unwrap()));
            }
            HEADERS => answered.push(id),
            _ => {}
        }
        // The proxy may have closed meanwhile.
        let _ = stream.write_all(&out).await;
        if goodbyes.len() == 2 {
            gate.notify_one();
        }
    }
    assert_eq!(goodbyes, [0x7fff_ffff, 3]);
    answered.sort_unstable();
    assert_eq!(answered, [1, 3]);
    draining.await.unwrap();
}
