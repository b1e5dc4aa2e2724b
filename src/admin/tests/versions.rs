//! Versions at run time.

use serde_json::json;

use super::Rig;
use crate::upstream::endpoint::Status;

const NEW: &str = "/v1/services/shop/versions/v3";

#[tokio::test(flavor = "multi_thread")]
async fn a_version_comes_without_weight_and_goes_again() {
    let rig = Rig::start();
    rig.put(NEW, r#"{"endpoints": ["127.0.0.1:9100"]}"#).await.expect(200);
    let json = rig.get("/v1/services/shop").await.expect(200);
    assert_eq!(json["live"]["weights"], json!({"blue": 100, "green": 0, "v3": 0}));
    assert_eq!(json["versions"]["v3"]["origin"], "api");
    let again = rig.put(NEW, r#"{"endpoints": ["127.0.0.1:9100"]}"#).await.expect(200);
    assert_eq!(again["unchanged"], true);
    rig.delete(NEW).await.expect(200);
    rig.delete(NEW).await.expect(404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_may_take_over_once_it_is_healthy() {
    let rig = Rig::start();
    let body = r#"{"endpoints": ["127.0.0.1:9100"], "cutover": true}"#;
    let json = rig.put(NEW, body).await.expect(200);
    assert_eq!((&json["from"], &json["to"]), (&json!({"blue": 100}), &json!({"v3": 100})));
    assert_eq!(json["revision"], 3);
    rig.delete(NEW).await.expect(409);
    rig.post("/v1/services/shop/rollback", "").await.expect(200);
    rig.delete(NEW).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_does_not_become_healthy_is_taken_back() {
    let rig = Rig::start();
    let body = r#"{"endpoints": ["127.0.0.1:9100"], "health": {"path": "/up"}, "wait": "50ms"}"#;
    let json = rig.put(NEW, body).await.expect(409);
    let detail = json["detail"].as_str().unwrap();
    assert!(detail.contains("127.0.0.1:9100 is adding"), "{detail}");
    let json = rig.get("/v1/services/shop").await.expect(200);
    assert_eq!(json["versions"]["v3"], json!(null));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_answer_waits_for_health() {
    let rig = Rig::start();
    let body = r#"{"endpoints": ["127.0.0.1:9100"], "health": {"path": "/up"}}"#;
    let prober = async {
        let mut revisions = rig.control.subscribe();
        while rig.control.current().number == 1 {
            revisions.recv().await.unwrap();
        }
        rig.set_health("shop", "v3", Status::Healthy);
    };
    let (answer, ()) = tokio::join!(rig.put(NEW, body), prober);
    answer.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_in_use_is_not_pulled_away() {
    let rig = Rig::start();
    rig.put(NEW, r#"{"endpoints": ["127.0.0.1:9100"]}"#).await.expect(200);
    rig.put("/v1/services/shop/shadow", r#"{"version": "v3"}"#).await.expect(200);
    rig.delete(NEW).await.expect(409);
    rig.delete("/v1/services/shop/shadow").await.expect(200);
    rig.put("/v1/services/shop/weights", r#"{"v3": 1}"#).await.expect(200);
    rig.delete(NEW).await.expect(409);
    let other = r#"{"endpoints": ["127.0.0.1:9101"]}"#;
    rig.put(NEW, other).await.expect(409);
    let more = r#"{"endpoints": ["127.0.0.1:9100", "127.0.0.1:9101"]}"#;
    rig.put(NEW, more).await.expect(200);
    rig.delete("/v1/services/shop/versions/blue").await.expect(409);
    rig.delete("/v1/services/shop/versions/none").await.expect(404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_cannot_be_is_refused() {
    let rig = Rig::start();
    let cases = [
        r#"{"endpoints": []}"#,
        r#"{"endpoints": ["nowhere"]}"#,
        r#"{"endpoints": ["h:1", "h:1"]}"#,
        r#"{"endpoints": ["h:1"], "protocol": "http9"}"#,
        r#"{"endpoints": ["h:1"], "health": {"path": "up"}}"#,
        r#"{"endpoints": ["h:1"], "health": {"path": "/up", "interval": "0s"}}"#,
        r#"{"endpoints": ["h:1"], "wait": "x"}"#,
        r#"{"endpoints": ["h:1"], "color": "red"}"#,
        r#"{}"#,
    ];
    for body in cases {
        rig.put(NEW, body).await.expect(422);
    }
    rig.put("/v1/services/shop/versions/a%20b", r#"{"endpoints": ["h:1"]}"#).await.expect(422);
    assert_eq!(rig.control.current().number, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_registers_nothing() {
    let rig = Rig::start();
    let path = format!("{NEW}?dry_run=true");
    let body = r#"{"endpoints": ["127.0.0.1:9100"], "health": {"path": "/up"}, "cutover": true}"#;
    let json = rig.put(&path, body).await.expect(200);
    assert_eq!((&json["revision"], &json["dry_run"]), (&json!(1), &json!(true)));
    assert_eq!(json["unchanged"], false);
}
