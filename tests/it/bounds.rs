//! Bounds on what callers and versions are given: rates, requests in flight, time, memory.

use std::sync::Arc;

use serde_json::json;
use tokio::sync::Notify;

use crate::rig::{Builder, Client, H2Client, H2Version, Identity, Rig, connect_tls, says, text};

const REASONS: &str = "tidegate_reasons_total";

async fn reasons(rig: &Rig, reason: &str) -> f64 {
    rig.metric(REASONS, &[&format!("reason=\"{reason}\"")]).await
}

fn limited(keys: &str) -> Builder {
    Rig::build().version("blue", says("blue")).server("trusted_proxies = [\"127.0.0.0/8\"]").tables(
        &format!("[[route]]\nname = \"all\"\nservice = \"shop\"\nrate_limit = {{ {keys} }}"),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_above_its_rate_is_told_when_to_come_again() {
    let rig = limited("requests = 1, per = \"1h\", burst = 3").start().await;
    let from = async |address: &str| {
        let field = format!("X-Forwarded-For: {address}\r\n");
        // A connection each: all workers count together.
        rig.client().await.get_with("/", &field).await
    };
    for _ in 0..3 {
        assert_eq!(from("192.0.2.1").await.status, 200);
    }
    let refused = from("192.0.2.1").await;
    assert_eq!(refused.status, 429);
    assert_eq!(refused.json()["type"], "urn:tidegate:reason:rate_limited");
    let wait: u64 = refused.field("retry-after").unwrap().parse().unwrap();
    assert!((3000..=3600).contains(&wait), "{wait}");
    assert_eq!(from("192.0.2.2").await.status, 200);
    assert_eq!(rig.version("blue").requests(), 4);
    let replies = "tidegate_local_replies_total";
    assert_eq!(rig.metric(replies, &["reason=\"rate_limited\""]).await, 1.0);
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_makes_a_caller_is_chosen() {
    let cases = [
        ("{ header = \"x-api-key\" }", ["X-Api-Key: a\r\n", "X-Api-Key: b\r\n"], [200, 429, 200]),
        ("{ header = \"x-api-key\" }", ["", "X-Api-Key: b\r\n"], [200, 429, 200]),
        ("\"route\"", ["X-Forwarded-For: 192.0.2.1\r\n", ""], [200, 429, 429]),
    ];
    for (key, [one, two], expect) in cases {
        let keys = format!("requests = 1, per = \"1h\", key = {key}");
        let rig = limited(&keys).start().await;
        let mut client = rig.client().await;
        for (fields, status) in [one, one, two].into_iter().zip(expect) {
            assert_eq!(client.get_with("/", fields).await.status, status, "{key} {fields}");
        }
        rig.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_allowance_outlives_a_reload_that_does_not_change_it() {
    let rig = limited("requests = 1, per = \"1h\"").start().await;
    assert_eq!(rig.get("/").await.status, 200);
    assert_eq!(rig.get("/").await.status, 429);
    rig.edit(|text| text + "\n[[route]]\nname = \"more\"\npath = \"/more\"\nservice = \"shop\"\n");
    rig.until("the edit is in force", || async { rig.get("/more").await.status == 200 }).await;
    assert_eq!(rig.get("/").await.status, 429);
    rig.edit(|text| text.replace("per = \"1h\"", "per = \"1h\", burst = 2"));
    rig.until("the new rule is in force", || async { rig.get("/").await.status == 200 }).await;
    rig.finish().await;
}

/// Blue answers when the gate opens, and may have one request in flight.
fn narrow(gate: &Arc<Notify>, keys: &str) -> Builder {
    Rig::build()
        .version("blue", says("blue").behind(gate))
        .version("green", says("green"))
        .weights("blue = 100, green = 0")
        .each_version(keys)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_version_is_answered_for_with_503() {
    for keys in ["max_in_flight = 1", "max_in_flight_per_endpoint = 1"] {
        let gate = Arc::new(Notify::new());
        let rig = narrow(&gate, keys).start().await;
        let mut first = rig.client().await;
        first.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        rig.until("it is in flight", || async { rig.version("blue").requests() == 1 }).await;
        for _ in 0..4 {
            let refused = rig.get("/").await;
            assert_eq!(refused.status, 503, "{keys}");
            assert_eq!(refused.field("retry-after"), Some("1"));
            assert_eq!(refused.json()["type"], "urn:tidegate:reason:overloaded");
        }
        gate.notify_one();
        assert_eq!(first.answer("GET").await.text(), "blue");
        gate.notify_one();
        rig.until("there is room again", || async { rig.get("/").await.status == 200 }).await;
        rig.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_full_version_cannot_take_goes_to_the_others_or_fails() {
    for (unavailable, status) in [("others", 200), ("fail", 503)] {
        let gate = Arc::new(Notify::new());
        let rig = narrow(&gate, "max_in_flight = 1")
            .weights("blue = 100, green = 0")
            .service(&format!("when_unavailable = \"{unavailable}\""))
            .start()
            .await;
        let mut first = rig.client().await;
        first.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        rig.until("it is in flight", || async { rig.version("blue").requests() == 1 }).await;
        let weights = json!({ "blue": 999_999, "green": 1 });
        rig.change("PUT", "/v1/services/shop/weights", weights).await;
        let answer = rig.get("/").await;
        assert_eq!(answer.status, status, "{unavailable}");
        if status == 200 {
            assert_eq!(answer.text(), "green");
        }
        gate.notify_one();
        assert_eq!(first.answer("GET").await.text(), "blue");
        rig.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_comes_back_begins_with_little() {
    let rig = Rig::build()
        .endpoints("blue", vec![says("one"), says("two")])
        .each_version(
            "slow_start = \"1h\"\nhealth = { path = \"/health\", interval = \"20ms\", \
             healthy_after = 1, unhealthy_after = 1 }",
        )
        .start()
        .await;
    let healthy = "tidegate_endpoint_healthy";
    rig.until("both are healthy", || async { rig.metric(healthy, &[]).await == 2.0 }).await;
    rig.version("blue/1").health(500, "");
    rig.until("one is out", || async { rig.metric(healthy, &[]).await == 1.0 }).await;
    rig.version("blue/1").health(200, "");
    rig.until("it is back", || async { rig.metric(healthy, &[]).await == 2.0 }).await;
    let mut client = rig.client().await;
    for _ in 0..400 {
        assert_eq!(client.get("/").await.status, 200);
    }
    let (old, back) = (rig.version("blue/0").requests(), rig.version("blue/1").requests());
    // A 32nd part of half of them is expected; as good as never an eighth.
    assert!(back < 50 && old + back == 400, "{old} {back}");
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_as_a_whole_has_a_bound_where_its_service_says_so() {
    let bounded = |builder: Builder| builder.service("request_timeout = \"300ms\"");
    let never = bounded(Rig::build().version("blue", says("blue").silent())).start().await;
    assert_eq!(never.get("/").await.status, 504);
    assert_eq!(reasons(&never, "upstream_timeout").await, 1.0);

    // Each byte moves something; all of it takes too long.
    let mut slow = never.client().await;
    slow.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n").await;
    let dripping = async {
        loop {
            slow.send(b"x").await;
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::select! {
        () = dripping => {}
        () = never.until("it is given up", async || reasons(&never, "slow_client").await == 1.0) => {}
    }
    never.finish().await;

    let gate = Arc::new(Notify::new());
    let begun = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc";
    let script = says("").early(begun).behind(&gate);
    let rig = bounded(Rig::build().version("blue", script))
        .identity("a", &Identity::of(&["a.test"]))
        .listener("tls = { cert = \"a.pem\", key = \"a.key\" }")
        .start()
        .await;
    let stream = connect_tls(rig.web, Some("a.test"), &[b"http/1.1"]).await;
    assert!(Client::over(stream, "a.test").ask("GET", "/", "").await.is_none(), "it breaks off");
    let stream = connect_tls(rig.web, Some("a.test"), &[b"h2"]).await;
    let client = H2Client::over(stream, "a.test").await;
    let answer = client.begin("GET", "/", &[], text("")).await.unwrap();
    let body = http_body_util::BodyExt::collect(answer.into_body()).await;
    assert!(body.is_err(), "it is reset");
    assert_eq!(reasons(&rig, "request_timeout").await, 2.0);
    drop(client);
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_reads_nothing_is_told_from_one_that_went_away() {
    let large = "x".repeat(16 * 1024 * 1024);
    let rig = Rig::build()
        .version("blue", says(&large))
        .listener("limits.send_timeout = \"200ms\"")
        .start()
        .await;
    let mut still = rig.client().await;
    still.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    rig.until("it is given up", async || reasons(&rig, "slow_client").await == 1.0).await;
    let mut gone = rig.client().await;
    gone.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    drop(gone);
    rig.until("it is missed", async || reasons(&rig, "client_gone").await == 1.0).await;
    assert_eq!(rig.metric("http_errors_total", &[]).await, 0.0);
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_to_be_taken_has_a_bound_in_sum() {
    let large = "x".repeat(16 * 1024 * 1024);
    let over_h1 = Rig::build().version("blue", says(&large)).server("max_buffered = \"256KiB\"");
    fills(over_h1.start().await, "/").await;
    let upstream = H2Version::start(None);
    let over_h2 = Rig::build().at("blue", upstream.address).each_version("protocol = \"h2c\"");
    fills(over_h2.server("max_buffered = \"1MiB\"").start().await, "/large").await;
}

/// Asks for what is not taken until nothing more is answered, then goes away.
async fn fills(rig: Rig, path: &str) {
    let mut still = Vec::new();
    let head = async || rig.client().await.ask("HEAD", "/", "").await.unwrap();
    while head().await.status == 200 {
        assert!(still.len() < 32, "it is never full");
        let mut client = rig.client().await;
        client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).await;
        still.push(client);
        let count = still.len() as f64;
        rig.until("it is in flight", || async {
            let in_flight = rig.metric("tidegate_requests_in_flight", &[]).await;
            in_flight == count || reasons(&rig, "buffers_full").await > 0.0
        })
        .await;
    }
    assert!(reasons(&rig, "buffers_full").await >= 1.0);
    let mut half = rig.client().await;
    half.send(b"GET / HTTP/1.1\r\nHost: a\r\n").await;
    still.push(half);
    still.clear();
    for _ in 0..8 {
        rig.until("there is room again", async || head().await.status == 200).await;
    }
    rig.finish().await;
}
