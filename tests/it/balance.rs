//! The books: what clients saw is what is scraped, to the last request.

use serde_json::json;

use crate::rig::{Rig, says};

#[tokio::test(flavor = "multi_thread")]
async fn counts_are_exactly_what_clients_saw() {
    let rig = Rig::build()
        .version("blue", says("blue"))
        .version("green", says("broken").status(500))
        .weights("blue = 60, green = 40")
        .start()
        .await;
    let mut client = rig.client().await;
    let (mut blue, mut green) = (0.0, 0.0);
    for _ in 0..200 {
        let answer = client.get("/").await;
        match answer.status {
            200 => blue += 1.0,
            _ => green += 1.0,
        }
    }
    client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi").await;
    let posted = client.answer("POST").await.version().to_owned();
    *if posted == "blue" { &mut blue } else { &mut green } += 1.0;
    let name = "http_requests_total";
    assert_eq!(rig.metric(name, &["version=\"blue\"", "status=\"200\""]).await, blue);
    assert_eq!(rig.metric(name, &["version=\"green\"", "status=\"500\""]).await, green);
    assert_eq!(rig.metric(name, &["method=\"POST\"", "route=\"all\""]).await, 1.0);
    assert_eq!(rig.metric("http_errors_total", &["status_code=\"500\""]).await, green);
    let seconds = "http_request_duration_seconds_count";
    assert_eq!(rig.metric(seconds, &["version=\"blue\""]).await, blue);
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn local_replies_and_versions_add_up_to_all_requests() {
    let rig = Rig::build()
        .version("blue", says("blue"))
        .tables("[[route]]\npath = \"/shop\"\nservice = \"shop\"")
        .start()
        .await;
    for path in ["/shop", "/shop/a", "/other", "/shop"] {
        rig.get(path).await;
    }
    let mut broken = rig.client().await;
    broken.send(b"GET / HTTP/1.1\r\n\r\n").await;
    assert_eq!(broken.answer("GET").await.status, 400);
    rig.change("PUT", "/v1/services/shop/weights", json!({ "blue": 0 })).await;
    rig.get("/shop").await;
    assert_eq!(rig.metric("http_requests_total", &[]).await, 3.0);
    let replies = "tidegate_local_replies_total";
    assert_eq!(rig.metric(replies, &["reason=\"no_route\""]).await, 1.0);
    assert_eq!(rig.metric(replies, &["reason=\"malformed_request\""]).await, 1.0);
    assert_eq!(rig.metric(replies, &["reason=\"no_weight\""]).await, 1.0);
    assert_eq!(rig.metric(replies, &[]).await, 3.0);
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn labels_are_a_closed_set_and_gauges_show_the_state() {
    let rig = Rig::blue_green().await;
    let mut client = rig.client().await;
    client.send(b"BREW / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(client.answer("BREW").await.status, 200);
    assert_eq!(rig.metric("http_requests_total", &["method=\"OTHER\""]).await, 1.0);
    assert_eq!(rig.metric("tidegate_traffic_weight", &["version=\"blue\""]).await, 100.0);
    assert_eq!(rig.metric("tidegate_revision", &[]).await, 1.0);
    assert_eq!(rig.metric("tidegate_config_valid", &[]).await, 1.0);
    assert_eq!(rig.metric("tidegate_endpoint_healthy", &[]).await, 2.0);
    assert_eq!(rig.metric("tidegate_connections", &["listener=\"web\""]).await, 1.0);
    rig.cutover("green").await;
    assert_eq!(rig.metric("tidegate_traffic_weight", &["version=\"blue\""]).await, 0.0);
    assert_eq!(rig.metric("tidegate_rollback_ready", &["service=\"shop\""]).await, 1.0);
    rig.finish().await;
}
