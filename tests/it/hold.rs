//! Held requests: a version restarts and nobody sees an error.

use serde_json::json;

use crate::rig::{Rig, says};

#[tokio::test(flavor = "multi_thread")]
async fn held_requests_wait_and_are_answered_after_the_release() {
    let rig = Rig::blue_green().await;
    rig.change("POST", "/v1/services/shop/hold", json!({ "max_wait": "10s" })).await;
    assert!(!rig.shop().await["live"]["hold"].is_null());
    let mut waiting = Vec::new();
    for _ in 0..20 {
        let mut client = rig.client().await;
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        waiting.push(client);
    }
    // While they wait, the version they will meet changes.
    rig.cutover("green").await;
    assert_eq!(rig.version("blue").requests() + rig.version("green").requests(), 0);
    rig.change("POST", "/v1/services/shop/release", json!({})).await;
    for mut client in waiting {
        assert_eq!(client.answer("GET").await.text(), "green");
    }
    assert_eq!(rig.version("blue").requests(), 0, "a held request obeys the cutover");
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_is_bounded_in_requests_and_in_time() {
    let rig = Rig::build().version("blue", says("blue")).start().await;
    let body = json!({ "max_wait": "300ms", "max_requests": 1 });
    rig.change("POST", "/v1/services/shop/hold", body).await;
    let mut first = rig.client().await;
    first.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let mut answers = Vec::new();
    for _ in 0..2 {
        answers.push(rig.get("/").await);
    }
    answers.push(first.answer("GET").await);
    let mut reasons: Vec<_> = answers
        .iter()
        .map(|answer| {
            assert_eq!((answer.status, answer.field("retry-after")), (503, Some("1")));
            answer.json()["type"].as_str().unwrap_or_default().replace("urn:tidegate:reason:", "")
        })
        .collect();
    reasons.sort();
    assert!(reasons.contains(&"hold_overflow".to_owned()), "{reasons:?}");
    assert!(reasons.contains(&"hold_timeout".to_owned()), "{reasons:?}");
    rig.finish().await;
}
