//! The admin API under callers who are slow, many, or led here by a page.

use std::time::Duration;

use tidegate::limits::ADMIN_CONNECTIONS_MAX;

use crate::rig::{Client, Rig, says};

/// Connections that were opened and say so much.
async fn crowd(rig: &Rig, count: usize, bytes: &[u8]) -> Vec<Client> {
    let mut crowd = Vec::new();
    for _ in 0..count {
        let mut client = Client::connect(rig.admin).await;
        client.send(bytes).await;
        crowd.push(client);
    }
    crowd
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_for_nothing_keeps_nobody_out() {
    let rig = Rig::build().version("blue", says("blue")).start().await;
    let begun =
        "PUT /v1/services/shop/weights HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{";
    for bytes in ["", "GET /v1/status HTTP/1.1\r\nHost: loc", begun] {
        let bytes = bytes.as_bytes();
        let crowd = crowd(&rig, 2 * ADMIN_CONNECTIONS_MAX, bytes).await;
        for _ in 0..3 {
            // Long before a slow head is given up.
            let asked = tokio::time::timeout(Duration::from_secs(5), rig.shop()).await;
            assert_eq!(asked.expect("an answer")["service"], "shop", "{bytes:?}");
        }
        drop(crowd);
    }
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_somebody_else_gets_nothing_and_changes_nothing() {
    let rig = Rig::blue_green().await;
    let (before, cutover) = (rig.shop().await["revision"].clone(), "/v1/services/shop/cutover");
    let asked = [
        "Host: evil.test\r\n".to_owned(),
        format!("Host: {}\r\nOrigin: http://evil.test\r\n", rig.admin),
        format!("Host: {}\r\nOrigin: null\r\n", rig.admin),
    ];
    for fields in asked {
        let mut client = Client::connect(rig.admin).await;
        let head = format!("POST {cutover} HTTP/1.1\r\n{fields}Content-Length: 14\r\n\r\n");
        client.send(format!("{head}{{\"to\":\"green\"}}").as_bytes()).await;
        let answer = client.answer("POST").await;
        assert_eq!(answer.status, 403, "{fields}");
        assert_eq!(answer.field("access-control-allow-origin"), None, "{fields}");
    }
    let mut preflight = Client::connect(rig.admin).await;
    let fields = "Origin: http://evil.test\r\nAccess-Control-Request-Method: POST\r\n";
    preflight
        .send(
            format!("OPTIONS {cutover} HTTP/1.1\r\nHost: {}\r\n{fields}\r\n", rig.admin).as_bytes(),
        )
        .await;
    let answer = preflight.answer("OPTIONS").await;
    assert!(answer.status >= 400, "{}", answer.status);
    assert_eq!(answer.field("access-control-allow-origin"), None);
    assert_eq!(rig.shop().await["revision"], before);
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_has_its_bounds() {
    let rig = Rig::blue_green().await;
    let weights = "/v1/services/shop/weights";
    let deep = format!("{{\"blue\":{}1{}}}", "[".repeat(100_000), "]".repeat(100_000));
    let long = format!("{{\"blue\":1{}}}", " ".repeat(2 * 1024 * 1024));
    for (body, status) in [(deep, 400), (long, 413)] {
        let mut client = Client::connect(rig.admin).await;
        let answer = client.ask("PUT", weights, &body).await.expect("an answer");
        assert_eq!(answer.status, status, "{}", answer.text());
    }
    assert_eq!(rig.shop().await["live"]["weights"]["blue"], 100);
    rig.finish().await;
}
