//! Mirrored requests: compared, counted, and never in the way.

use serde_json::json;

use crate::rig::{Rig, says};

async fn outcome(rig: &Rig, outcome: &str) -> f64 {
    let label = format!("outcome=\"{outcome}\"");
    rig.metric("tidegate_shadow_requests_total", &[&label]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shadow_with_a_bug_is_found_and_no_client_sees_it() {
    let json_field = "Content-Type: application/json\r\n";
    let rig = Rig::build()
        .version("blue", says(r#"{"price":10,"at":1}"#).fields(json_field))
        .version("green", says(r#"{"price":11,"at":2}"#).fields(json_field))
        .weights("blue = 1, green = 0")
        .tables("[service.shop.shadow]\nversion = \"green\"\ncompare = { ignore = [\"body:/at\"] }")
        .start()
        .await;
    let mut client = rig.client().await;
    for _ in 0..20 {
        assert_eq!(client.get("/item").await.json()["price"], 10);
    }
    rig.until("all copies are compared", || async { outcome(&rig, "mismatched").await == 20.0 })
        .await;
    let (_, report) = rig.admin("GET", "/v1/services/shop/diffs", None).await;
    assert_eq!((&report["compared"], &report["mismatched"]), (&json!(20), &json!(20)), "{report}");
    assert_eq!(report["fields"][0]["field"], "body:/price");
    let copy = rig.version("green").seen().remove(0).to_ascii_lowercase();
    assert!(copy.contains("\r\nx-tidegate-shadow: true\r\n"), "{copy}");
    assert_eq!(rig.metric("http_requests_total", &["version=\"green\""]).await, 0.0);
    let (_, samples) = rig.admin("GET", "/v1/services/shop/diffs/samples", None).await;
    assert!(samples.to_string().contains("body:/price"), "{samples}");
    rig.change("DELETE", "/v1/services/shop/diffs", json!({})).await;
    assert_eq!(rig.admin("GET", "/v1/services/shop/diffs", None).await.1["compared"], 0);
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stalled_shadow_drops_copies_and_keeps_nobody_waiting() {
    let rig = Rig::build()
        .version("blue", says("blue"))
        .version("green", says("").silent())
        .weights("blue = 1, green = 0")
        .service("timeout = \"2s\"")
        .tables("[service.shop.shadow]\nversion = \"green\"\nmax_in_flight = 4")
        .start()
        .await;
    let mut client = rig.client().await;
    for _ in 0..50 {
        assert_eq!(client.get("/").await.text(), "blue");
    }
    assert_eq!(outcome(&rig, "dropped").await, 46.0);
    rig.until("what was sent has failed", || async { outcome(&rig, "failed").await == 4.0 }).await;
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_safe_methods_are_copied_unless_told() {
    let rig = Rig::build()
        .version("blue", says("same"))
        .version("green", says("same"))
        .weights("blue = 1, green = 0")
        .tables("[service.shop.shadow]\nversion = \"green\"")
        .start()
        .await;
    let mut client = rig.client().await;
    client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi").await;
    client.answer("POST").await;
    client.get("/").await;
    rig.until("the GET is compared", || async { outcome(&rig, "matched").await == 1.0 }).await;
    assert_eq!(rig.version("green").requests(), 1);
    let body = json!({ "version": "green", "percent": 100, "methods": ["POST"] });
    rig.change("PUT", "/v1/services/shop/shadow", body).await;
    client
        .send(
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
        )
        .await;
    client.answer("POST").await;
    rig.until("the POST is copied", || async { rig.version("green").requests() == 2 }).await;
    assert!(rig.version("green").seen()[1].contains("hi"));
    rig.change("DELETE", "/v1/services/shop/shadow", json!({})).await;
    client.get("/").await;
    assert_eq!(rig.version("green").requests(), 2);
    rig.finish().await;
}
