//! What a rollout forbids.

use serde_json::json;

use super::Rig;

const ROLLOUT: &str = "/v1/services/shop/rollout";
const CUTOVER: &str = "/v1/services/shop/cutover";
const WEIGHTS: &str = "/v1/services/shop/weights";
const ROLLBACK: &str = "/v1/services/shop/rollback";

#[tokio::test(flavor = "multi_thread")]
async fn nothing_begins_while_the_last_one_is_on_its_way_back() {
    let rig = Rig::start();
    rig.post(CUTOVER, r#"{"to": "green"}"#).await.expect(200);
    rig.put(ROLLOUT, r#"{"to": "blue", "steps": [80]}"#).await.expect(200);
    let drain = "/v1/services/shop/versions/green/drain";
    rig.post(drain, r#"{"endpoint": "127.0.0.1:9002"}"#).await.expect(200);
    let aborted = rig.post(&format!("{ROLLOUT}/abort"), "").await.expect(200);
    assert_eq!(aborted["rollout"]["state"], "aborted");
    assert_eq!(rig.weights("shop").await, json!({"blue": 50, "green": 50}));
    let waits = aborted["rollout"]["waits_for"][0].as_str().unwrap();
    assert!(waits.contains("the last 50% follow"), "{waits}");
    let refused = rig.put(ROLLOUT, r#"{"to": "blue", "acknowledge": true}"#).await.expect(409);
    assert!(refused["detail"].as_str().unwrap().contains("on its way back"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_begins_after_the_last_is_over_or_was_superseded() {
    let rig = Rig::start();
    rig.put(ROLLOUT, r#"{"to": "green", "steps": [50, 100]}"#).await.expect(200);
    for verb in ["pause", "resume"] {
        let refused = rig.put(ROLLOUT, r#"{"to": "green"}"#).await.expect(409);
        assert!(refused["detail"].as_str().unwrap().contains("abort or promote it"), "{refused}");
        rig.post(&format!("{ROLLOUT}/{verb}"), "").await.expect(200);
    }
    rig.post(CUTOVER, r#"{"to": "green"}"#).await.expect(200);
    let back = rig.put(ROLLOUT, r#"{"to": "blue", "steps": [10, 100]}"#).await.expect(200);
    assert_eq!(back["rollout"]["state"], "running");
    rig.post(&format!("{ROLLOUT}/abort"), "").await.expect(200);
    assert_eq!(rig.weights("shop").await, json!({"blue": 0, "green": 100}));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_undoes_a_whole_rollout() {
    let rig = Rig::start();
    let both = json!({"blue": 70, "green": 30});
    rig.put(WEIGHTS, &both.to_string()).await.expect(200);
    let plan = r#"{"to": "green", "steps": [50, 100]}"#;
    rig.put(ROLLOUT, plan).await.expect(200);
    rig.post(ROLLBACK, "").await.expect(200);
    assert_eq!(rig.weights("shop").await, both, "under way");
    rig.post(&format!("{ROLLOUT}/abort"), "").await.expect(200);
    rig.put(ROLLOUT, plan).await.expect(200);
    rig.post(&format!("{ROLLOUT}/pause"), "").await.expect(200);
    rig.post(&format!("{ROLLOUT}/promote"), "").await.expect(200);
    rig.post(ROLLBACK, "").await.expect(200);
    assert_eq!(rig.weights("shop").await, both, "over");
    // Weights that somebody else gave meanwhile are no step of it.
    rig.put(ROLLOUT, plan).await.expect(200);
    rig.put(WEIGHTS, r#"{"blue": 60, "green": 40}"#).await.expect(200);
    rig.put(WEIGHTS, r#"{"green": 1}"#).await.expect(200);
    rig.post(ROLLBACK, "").await.expect(200);
    assert_eq!(rig.weights("shop").await, json!({"blue": 60, "green": 40}));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_it_may_go_back_to_stays() {
    let rig = Rig::start();
    let new = "/v1/services/shop/versions/v3";
    let body = r#"{"endpoints": ["127.0.0.1:9100"], "cutover": true}"#;
    rig.put(new, body).await.expect(200);
    rig.put(ROLLOUT, r#"{"to": "green", "steps": [100]}"#).await.expect(200);
    assert_eq!(rig.weights("shop").await["v3"], 0);
    let refused = rig.delete(new).await.expect(409);
    assert!(refused["detail"].as_str().unwrap().contains("may go back to"), "{refused}");
    rig.post(&format!("{ROLLOUT}/promote"), "").await.expect(200);
    rig.delete(new).await.expect(200);
}
