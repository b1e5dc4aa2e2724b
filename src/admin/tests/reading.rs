//! Status, history, explain, health, metrics, events, and what is refused at the door.

use axum::body::Body;
use axum::http::Request;
use http_body_util::BodyExt;
use serde_json::json;

use super::Rig;
use crate::limits::ADMIN_BODY_BYTES_MAX;
use crate::phase::Phase;
use crate::upstream::endpoint::Status;

#[tokio::test(flavor = "multi_thread")]
async fn a_service_is_shown_as_the_contract_says() {
    let rig = Rig::start();
    let answer = rig.get("/v1/services/plain").await;
    assert_eq!(answer.headers["etag"], "\"1\"");
    let json = answer.expect(200);
    assert_eq!((&json["service"], &json["revision"]), (&json!("plain"), &json!(1)));
    assert_eq!(json["live"], json!({"weights": {"a": 3, "b": 1}, "shadow": null, "hold": null}));
    assert_eq!(json["declared"]["weights"], json!({"a": 3, "b": 1}));
    assert_eq!((&json["drift"], &json["rollout"]), (&json!(false), &json!(null)));
    let b = &json["versions"]["b"];
    let endpoint = &b["endpoints"][0];
    assert_eq!(
        (&endpoint["address"], &endpoint["healthy"]),
        (&json!("127.0.0.1:9005"), &json!(false))
    );
    assert_eq!((&endpoint["state"], &endpoint["in_flight"]), (&json!("adding"), &json!(0)));
    assert_eq!((&b["requests_per_second"], &b["error_rate"]), (&json!(0.0), &json!(0.0)));
    assert_eq!((&b["p50_ms"], &b["p99_ms"]), (&json!(null), &json!(null)));
    rig.get("/v1/services/none").await.expect(404);
    let list = rig.get("/v1/services").await.expect(200);
    assert_eq!((&list[0]["service"], &list[1]["service"]), (&json!("plain"), &json!("shop")));
}

#[tokio::test(flavor = "multi_thread")]
async fn status_is_the_whole() {
    let rig = Rig::start();
    let json = rig.get("/v1/status").await.expect(200);
    assert_eq!((&json["revision"], &json["phase"]), (&json!(1), &json!("running")));
    assert_eq!((&json["config"]["valid"], &json["config"]["errors"]), (&json!(true), &json!([])));
    assert_eq!(json["services"].as_array().unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_history_is_newest_first() {
    let rig = Rig::start();
    rig.post("/v1/services/shop/cutover", r#"{"to": "green"}"#).await.expect(200);
    rig.put("/v1/services/plain/weights", r#"{"a": 1}"#).await.expect(200);
    let list = rig.get("/v1/revisions").await.expect(200);
    let numbers: Vec<_> = list.as_array().unwrap().iter().map(|r| r["revision"].clone()).collect();
    assert_eq!(numbers, [3, 2, 1]);
    assert_eq!(list[1]["cause"], "cutover");
    assert_eq!(list[1]["changes"][0]["to"], json!({"green": 100}));
    assert_eq!(list[2]["author"], "start");
    let of_shop = rig.get("/v1/revisions?service=shop&limit=1").await.expect(200);
    assert_eq!((&of_shop[0]["revision"], &of_shop[1]), (&json!(2), &json!(null)));
    let one = rig.get("/v1/revisions/2").await.expect(200);
    assert_eq!(one["services"]["shop"]["buckets"], json!({"green": 10000}));
    rig.get("/v1/revisions/9").await.expect(404);
    rig.get("/v1/revisions/last").await.expect(404);
    rig.get("/v1/revisions?limit=x").await.expect(400);
}

#[tokio::test(flavor = "multi_thread")]
async fn health_follows_the_phase_and_the_endpoints() {
    let rig = Rig::start();
    for (phase, status) in [(Phase::Starting, 503), (Phase::Running, 200), (Phase::Draining, 503)] {
        rig.phase.send_replace(phase);
        assert_eq!(rig.get("/health/ready").await.status, status, "{phase:?}");
        assert_eq!(rig.get("/health").await.status, 200);
        assert_eq!(rig.get("/health/live").await.status, 200);
    }
    let json = rig.get("/health/detailed").await.expect(200);
    assert_eq!((&json["status"], &json["phase"]), (&json!("degraded"), &json!("draining")));
    assert_eq!(json["services"]["plain"]["b"][0]["state"], "adding");
    rig.set_health("plain", "b", Status::Healthy);
    assert_eq!(rig.get("/health/detailed").await.expect(200)["status"], "ok");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scrape_shows_what_is_in_force() {
    let rig = Rig::start();
    let ready = "tidegate_rollback_ready{service=\"shop\"}";
    let before = rig.get("/metrics").await.text;
    assert!(before.contains(&format!("{ready} 0")), "{before}");
    rig.post("/v1/services/shop/cutover", r#"{"to": "green"}"#).await.expect(200);
    let text = rig.get("/metrics").await.text;
    for line in [
        "tidegate_revision 2",
        "tidegate_config_valid 1",
        "tidegate_traffic_weight{service=\"plain\",version=\"a\"} 75",
        "tidegate_traffic_weight{service=\"shop\",version=\"blue\"} 0",
        "tidegate_endpoint_healthy{service=\"plain\",version=\"b\",endpoint=\"127.0.0.1:9005\"} 0",
        "tidegate_requests_in_flight{service=\"shop\",version=\"green\"} 0",
        "tidegate_connections{listener=\"web\"} 0",
        &format!("{ready} 1"),
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn explain_tells_route_version_and_why() {
    let rig = Rig::start();
    rig.put("/v1/services/shop/weights", r#"{"blue": 50, "green": 50}"#).await.expect(200);
    let ask = async |body: &str| rig.post("/v1/explain", body).await.expect(200);

    let pinned =
        r#"{"method": "GET", "url": "http://shop.example.com/x", "headers": {"X-Canary": "true"}}"#;
    let json = ask(pinned).await;
    assert_eq!((&json["route"], &json["service"]), (&json!("shop"), &json!("shop")));
    assert_eq!((&json["assigned_by"], &json["pin"]), (&json!("pin"), &json!(1)));
    assert_eq!(json["version"], "green");
    assert_eq!(json["endpoints"], json!(["127.0.0.1:9002", "127.0.0.1:9003"]));

    let sticky =
        r#"{"url": "shop.example.com/", "headers": [["cookie", "tg_shop=0123456789abcdef"]]}"#;
    let json = ask(sticky).await;
    assert_eq!(json["assigned_by"], "sticky");
    assert!(json["bucket"].is_u64() && json["version"].is_string(), "{json}");

    let drawn = ask(r#"{"url": "https://shop.example.com/"}"#).await;
    assert_eq!(
        (&drawn["version"], &drawn["shares"]),
        (&json!(null), &json!({"blue": 50.0, "green": 50.0}))
    );

    let plain = ask(r#"{"url": "/plain/a/b?c=d", "client": "10.0.0.1"}"#).await;
    assert_eq!(plain["upstream_path"], "/a/b?c=d");
    assert_eq!(plain["version"], "a", "b has no healthy endpoint");

    let redirect = ask(r#"{"url": "/old"}"#).await;
    assert_eq!(redirect["reply"], json!({"status": 308, "detail": "http://localhost/new"}));

    let nothing = ask(r#"{"url": "http://other.example/"}"#).await;
    assert_eq!(nothing["reply"], json!({"status": 404, "detail": "no_route"}));
    assert_eq!(nothing["routes"][2], json!({"route": "shop", "outcome": "host"}));

    for wrong in [
        r#"{"url": "ftp://x/"}"#,
        r#"{"url": "/a b"}"#,
        r#"{"url": "/", "client": "me"}"#,
        r#"{"url": "/", "headers": {"a\nb": "c"}}"#,
        r#"{"url": "/", "method": "G T"}"#,
    ] {
        rig.post("/v1/explain", wrong).await.expect(422);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_door_is_guarded() {
    let rig = Rig::start();
    let foreign = [("origin", "http://evil.example")];
    rig.send("GET", "/v1/status", &foreign, "").await.expect(403);
    let two_hosts = [("host", "evil.example")];
    rig.send("GET", "/v1/status", &two_hosts, "").await.expect(403);
    let found = rig.get("/v1/nothing").await.expect(404);
    assert_eq!(found["type"], "urn:tidegate:problem:unknown");
    let wrong_method = rig.post("/v1/status", "").await;
    assert_eq!(wrong_method.headers["allow"], "GET,HEAD");
    wrong_method.expect(405);
    let nested = rig.send("GET", "/v1/services/shop/weights", &[], "").await;
    assert_eq!(nested.headers["allow"], "PUT");
    nested.expect(405);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_is_bounded() {
    let rig = Rig::start();
    let big = format!("{{\"to\": \"{}\"}}", "x".repeat(ADMIN_BODY_BYTES_MAX));
    rig.post("/v1/services/shop/cutover", &big).await.expect(413);
    let deep = format!("{}1{}", "[".repeat(10_000), "]".repeat(10_000));
    rig.put("/v1/services/shop/weights", &format!("{{\"blue\": {deep}}}")).await.expect(400);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_that_is_refused_says_why() {
    let rig = Rig::start();
    let json = rig.post("/v1/reload", "").await.expect(422);
    assert_eq!(json["detail"], "no file here");
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_followed_from_where_the_reader_was() {
    let rig = Rig::start();
    rig.post("/v1/services/shop/cutover", r#"{"to": "green"}"#).await.expect(200);
    let request =
        Request::get("/v1/events").header("host", "localhost").header("last-event-id", "1");
    let mut body = rig.open(request.body(Body::empty()).unwrap()).await;
    let mut next = async || {
        let frame = body.frame().await.unwrap().unwrap();
        String::from_utf8(frame.into_data().unwrap().to_vec()).unwrap()
    };
    let missed = next().await;
    assert!(missed.starts_with("event: revision\ndata: {\"revision\":2,"), "{missed}");
    assert!(missed.ends_with("\nid: 2\n\n"), "{missed}");
    rig.post("/v1/services/shop/rollback", "").await.expect(200);
    assert!(next().await.contains("\"cause\":\"rollback\""));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_openapi_document_names_every_call() {
    let rig = Rig::start();
    let json = rig.get("/v1/openapi.json").await.expect(200);
    let put = &json["paths"]["/v1/services/{service}/weights"]["put"];
    assert_eq!(put["tags"], json!(["traffic"]));
}
