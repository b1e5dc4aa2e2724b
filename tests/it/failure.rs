//! Upstreams that die, stall and lie.

use serde_json::json;

use crate::rig::{Rig, says};

#[tokio::test(flavor = "multi_thread")]
async fn one_of_two_endpoints_dies_and_no_safe_request_fails() {
    let rig = Rig::build().endpoints("blue", vec![says("a"), says("b")]).start().await;
    let mut client = rig.client().await;
    for n in 0..300 {
        if n == 100 {
            rig.version("blue/0").kill().await;
        }
        let answer = client.get("/").await;
        assert_eq!(answer.status, 200, "request {n}: {}", answer.text());
    }
    assert!(rig.metric("tidegate_retries_total", &[]).await >= 1.0);
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_version_dies_and_its_users_are_rescued() {
    let rig = Rig::build()
        .version("blue", says("blue"))
        .version("green", says("green"))
        .weights("blue = 50, green = 50")
        .start()
        .await;
    let mut client = rig.client().await;
    for n in 0..200 {
        if n == 50 {
            rig.version("green").kill().await;
        }
        let answer = client.get("/").await;
        assert_eq!(answer.status, 200, "request {n}: {}", answer.text());
    }
    let rescues = rig.metric("tidegate_rescues_total", &["from=\"green\"", "to=\"blue\""]).await;
    assert!(rescues >= 1.0);
    let charged = rig.metric("http_errors_total", &["version=\"green\""]).await;
    assert!(charged >= rescues, "{charged} {rescues}");
    let rate = rig.shop().await["versions"]["green"]["error_rate"].as_f64().unwrap();
    assert!(rate > 0.0 && rate <= 1.0, "{rate}");
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_post_that_was_sent_is_never_sent_again() {
    let rig = Rig::build()
        .version("blue", says("").raw(b"").closing())
        .version("green", says("green"))
        .weights("blue = 1, green = 0")
        .start()
        .await;
    let mut client = rig.client().await;
    client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi").await;
    let answer = client.answer("POST").await;
    assert_eq!(answer.status, 502);
    assert_eq!(answer.json()["type"], "urn:tidegate:reason:upstream_broken");
    assert_eq!(rig.version("blue").requests(), 1);
    assert!(!answer.text().contains(&rig.version("blue").address.to_string()));
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_have_their_statuses() {
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n";
    let cases: Vec<(&str, crate::rig::Script, u16, &str)> = vec![
        ("garbage", says("").raw(b"SSH-2.0-hello\r\n\r\n"), 502, "upstream_malformed"),
        ("closes", says("").raw(b"").closing(), 502, "upstream_broken"),
        ("half a head", says("").raw(b"HTTP/1.1 200 OK\r\nX: ").closing(), 502, "upstream_broken"),
        (
            "two lengths",
            says("").raw(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab"),
            502,
            "upstream_malformed",
        ),
        (
            "two framings",
            says("").raw(format!("{chunked}Content-Length: 3\r\n\r\n0\r\n\r\n").as_bytes()),
            502,
            "upstream_malformed",
        ),
        (
            "unasked upgrade",
            says("").raw(b"HTTP/1.1 101 X\r\nUpgrade: h2c\r\n\r\n"),
            502,
            "upstream_malformed",
        ),
        ("stalls", says("").silent(), 504, "upstream_timeout"),
    ];
    for (name, script, status, reason) in cases {
        let rig = Rig::build()
            .version("blue", script)
            .service("timeout = \"300ms\"\nretries = { attempts = 0 }")
            .start()
            .await;
        let answer = rig.get("/").await;
        assert_eq!(answer.status, status, "{name}: {}", answer.text());
        let found = answer.json()["type"].as_str().unwrap_or_default().to_owned();
        assert_eq!(found, format!("urn:tidegate:reason:{reason}"), "{name}");
        assert_eq!(answer.version(), "blue", "{name}");
        let status = format!("status=\"{status}\"");
        assert_eq!(rig.metric("http_requests_total", &[&status]).await, 1.0, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_breaks_off_is_an_abort_and_never_an_end() {
    let cases: [&[u8]; 4] = [
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloXX0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ];
    for raw in cases {
        let rig = Rig::build().version("blue", says("").raw(raw).closing()).start().await;
        let mut client = rig.client().await;
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        let text = String::from_utf8_lossy(raw);
        assert!(client.try_answer("GET").await.is_none(), "{text:?}");
        assert_eq!(
            rig.metric("http_errors_total", &["status_code=\"502\""]).await,
            1.0,
            "{text:?}"
        );
        rig.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn upstreams_are_told_which_version_they_were_chosen_as() {
    let rig = Rig::build()
        .version("blue", says("blue"))
        .version("green", says("green").raw(b"").closing())
        .weights("blue = 0, green = 100")
        .service("upstream_version_header = true\nretries = { attempts = 0 }")
        .start()
        .await;
    let mut client = rig.client().await;
    client.send(b"GET / HTTP/1.1\r\nHost: a\r\nX-Tidegate-Version: mine\r\n\r\n").await;
    assert_eq!(client.answer("GET").await.status, 502, "blue has no weight to rescue by");
    rig.change("PUT", "/v1/services/shop/weights", json!({ "blue": 1, "green": 99 })).await;
    rig.until("a request is rescued", || async {
        let mut client = rig.client().await;
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\nX-Tidegate-Version: mine\r\n\r\n").await;
        assert_eq!(client.answer("GET").await.text(), "blue");
        rig.metric("tidegate_rescues_total", &["from=\"green\"", "to=\"blue\""]).await >= 1.0
    })
    .await;
    for name in ["blue", "green"] {
        let told = format!("x-tidegate-version: {name}\r\n\r\n");
        for request in rig.version(name).seen() {
            assert!(request.ends_with(&told), "{name}: {request}");
            assert_eq!(request.to_lowercase().matches("x-tidegate-version").count(), 1);
        }
    }
    rig.finish().await;
}
