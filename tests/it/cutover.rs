//! Blue/green: everything moves at once, and back.

use std::sync::Arc;

use serde_json::json;
use tokio::sync::Notify;

use crate::rig::{Rig, says};

#[tokio::test(flavor = "multi_thread")]
async fn a_cutover_moves_every_request_and_a_rollback_moves_them_back() {
    let rig = Rig::blue_green().await;
    let mut client = rig.client().await;
    assert_eq!(client.get("/").await.text(), "blue");
    let answer = rig.cutover("green").await;
    assert_eq!(answer["revision"], 2);
    assert_eq!(answer["from"], json!({ "blue": 100 }));
    assert_eq!(answer["to"], json!({ "green": 100 }));
    assert!(answer["switched_in_us"].is_u64() && answer["drained"].is_null(), "{answer}");
    let moved = client.get("/").await;
    assert_eq!((moved.text().as_str(), moved.version()), ("green", "green"));
    let back = rig.change("POST", "/v1/services/shop/rollback", json!({})).await;
    assert_eq!(back["revision"], 3);
    assert_eq!(client.get("/").await.text(), "blue");
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cutover_with_a_drain_waits_for_the_old_version() {
    let gate = Arc::new(Notify::new());
    let rig = Rig::build()
        .version("blue", says("blue").behind(&gate))
        .version("green", says("green"))
        .weights("blue = 1, green = 0")
        .start()
        .await;
    let mut slow = rig.client().await;
    slow.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    rig.until("blue has the request", || async { rig.version("blue").requests() == 1 }).await;
    let cut =
        rig.change("POST", "/v1/services/shop/cutover", json!({ "to": "green", "drain": "10s" }));
    let answered = async {
        rig.until("the switch is live", || async {
            rig.shop().await["live"]["weights"]["green"] == 100
        })
        .await;
        assert_eq!(rig.get("/").await.text(), "green");
        gate.notify_one();
        slow.answer("GET").await.text()
    };
    let (cut, text) = tokio::join!(cut, answered);
    assert_eq!((cut["drained"].as_bool(), text.as_str()), (Some(true), "blue"));
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_without_a_healthy_endpoint_is_refused_unless_forced() {
    let rig = Rig::build()
        .version("blue", says("blue"))
        .version("green", says("no").status(500))
        .weights("blue = 1, green = 0")
        .each_version("health = { path = \"/health\", interval = \"50ms\", unhealthy_after = 1 }")
        .start()
        .await;
    let path = "/v1/services/shop/cutover";
    rig.until("green is seen to be ill", || async {
        rig.shop().await["versions"]["green"]["endpoints"][0]["state"] == "unhealthy"
    })
    .await;
    let (status, problem) = rig.admin("POST", path, Some(json!({ "to": "green" }))).await;
    assert_eq!(status, 409, "{problem}");
    assert_eq!(rig.get("/").await.text(), "blue");
    assert_eq!(rig.shop().await["revision"], 1, "a refusal changes nothing");
    rig.change("POST", path, json!({ "to": "green", "force": true })).await;
    assert_eq!(rig.get("/").await.status, 503);
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stale_expectation_is_refused_and_changes_nothing() {
    let rig = Rig::blue_green().await;
    rig.cutover("green").await;
    let body = json!({ "blue": 50, "green": 50 });
    let stale = rig
        .admin_raw("PUT", "/v1/services/shop/weights", Some(body.clone()), "If-Match: \"1\"\r\n")
        .await;
    assert_eq!(stale.status, 412, "{}", stale.text());
    assert_eq!(stale.field("content-type"), Some("application/problem+json"));
    let fresh = rig
        .admin_raw("PUT", "/v1/services/shop/weights", Some(body.clone()), "If-Match: \"2\"\r\n")
        .await;
    assert_eq!((fresh.status, fresh.field("etag")), (200, Some("\"3\"")));
    let again = rig.change("PUT", "/v1/services/shop/weights", body).await;
    assert_eq!(again["revision"], 3, "what is already so makes no revision");
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_changes_are_refused_with_words() {
    let rig = Rig::blue_green().await;
    let cases = [
        ("PUT", "/v1/services/shop/weights", json!({ "grene": 1 }), 404),
        ("PUT", "/v1/services/shop/weights", json!({ "green": -1 }), 422),
        ("PUT", "/v1/services/shop/weights", json!({ "green": 1.5 }), 422),
        ("PUT", "/v1/services/shop/weights", json!({ "green": 1_000_001 }), 422),
        ("PUT", "/v1/services/nope/weights", json!({ "green": 1 }), 404),
        ("POST", "/v1/services/shop/cutover", json!({ "to": "nope" }), 404),
        ("POST", "/v1/services/shop/rollback", json!({}), 409),
        ("POST", "/v1/services/shop/rollback", json!({ "to": 99 }), 404),
    ];
    for (method, path, body, expect) in cases {
        let (status, problem) = rig.admin(method, path, Some(body.clone())).await;
        let fine = status == expect || (expect == 404 && status == 422);
        assert!(fine, "{method} {path} {body}: {status} {problem}");
        assert!(problem["title"].is_string(), "{problem}");
    }
    assert_eq!(rig.shop().await["revision"], 1);
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_says_what_would_happen_and_does_nothing() {
    let rig = Rig::blue_green().await;
    let path = "/v1/services/shop/weights?dry_run=true";
    let answer = rig.change("PUT", path, json!({ "blue": 50, "green": 50 })).await;
    assert_eq!(answer["dry_run"], true, "{answer}");
    assert_eq!(rig.shop().await["live"]["weights"], json!({ "blue": 100, "green": 0 }));
    assert_eq!(rig.shop().await["revision"], 1);
    rig.finish().await;
}
