//! Bounds on what callers and versions are given: rates, requests in flight, slow starts.

use std::sync::Arc;

use serde_json::json;
use tokio::sync::Notify;

use crate::rig::{Builder, Rig, says};

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
