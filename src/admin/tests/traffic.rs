//! Weights, cutover, rollback, shadow, hold, drain.

use serde_json::json;

use super::Rig;
use crate::upstream::endpoint::Status;

const WEIGHTS: &str = "/v1/services/shop/weights";
const CUTOVER: &str = "/v1/services/shop/cutover";
const ROLLBACK: &str = "/v1/services/shop/rollback";
const SHADOW: &str = "/v1/services/shop/shadow";

#[tokio::test(flavor = "multi_thread")]
async fn weights_are_set_and_those_not_named_become_0() {
    let rig = Rig::start();
    let answer = rig.put(WEIGHTS, r#"{"green": 10}"#).await;
    assert_eq!(answer.headers["etag"], "\"2\"");
    let json = answer.expect(200);
    assert_eq!((&json["revision"], &json["persisted"]), (&json!(2), &json!(true)));
    assert_eq!(json["changes"][0]["service"], "shop");
    assert_eq!(json["changes"][0]["from"], json!({"blue": 100}));
    assert_eq!(json["changes"][0]["to"], json!({"green": 10}));
    assert_eq!(json["moves"], json!([{"from": "blue", "to": "green", "percent": 100.0}]));
    assert_eq!(rig.weights("shop").await, json!({"blue": 0, "green": 10}));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_weights_make_no_revision() {
    let rig = Rig::start();
    for body in [r#"{"blue": 100}"#, r#"{"green": 0, "blue": 100}"#] {
        let json = rig.put(WEIGHTS, body).await.expect(200);
        assert_eq!((&json["revision"], &json["unchanged"]), (&json!(1), &json!(true)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn weights_that_cannot_be_are_refused() {
    let rig = Rig::start();
    let cases = [
        (r#"{"blue": -1}"#, 422, "-1"),
        (r#"{"blue": 0.5}"#, 422, "0.5"),
        (r#"{"blue": 1000001}"#, 422, "1000001"),
        (r#"{"blue": 99999999999}"#, 422, "whole number"),
        (r#"{"blue": "90"}"#, 422, "a text"),
        (r#"{"blue": null}"#, 422, "null"),
        (r#"{"grene": 1}"#, 422, "did you mean `green`?"),
        (r#"{"blue": 1, "blue": 2}"#, 422, "twice"),
        (r#"{"": 1}"#, 422, "empty"),
        ("{}", 422, "no weight is given"),
        ("[]", 422, "write a JSON object"),
        ("7", 422, "an object of weights"),
        ("", 400, "required"),
        ("{", 400, "no JSON"),
    ];
    for (body, status, text) in cases {
        let json = rig.put(WEIGHTS, body).await.expect(status);
        let detail = json["detail"].as_str().unwrap();
        assert!(detail.contains(text), "{body}: {detail}");
    }
    rig.put("/v1/services/shoe/weights", r#"{"blue": 1}"#).await.expect(404);
    assert_eq!(rig.control.current().number, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn all_weights_may_be_0() {
    let rig = Rig::start();
    rig.put(WEIGHTS, r#"{"blue": 0}"#).await.expect(200);
    assert_eq!(rig.weights("shop").await, json!({"blue": 0, "green": 0}));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_tells_the_plan_and_changes_nothing() {
    let rig = Rig::start();
    let path = format!("{WEIGHTS}?dry_run=true");
    let json = rig.put(&path, r#"{"blue": 90, "green": 10}"#).await.expect(200);
    assert_eq!(json["moves"], json!([{"from": "blue", "to": "green", "percent": 10.0}]));
    assert_eq!((&json["revision"], &json["dry_run"]), (&json!(1), &json!(true)));
    assert_eq!(json["changes"][0]["to"], json!({"blue": 90, "green": 10}));
    assert_eq!(rig.control.current().number, 1);
    rig.put(&format!("{WEIGHTS}?dry_run=perhaps"), r#"{"blue": 1}"#).await.expect(400);
}

#[tokio::test(flavor = "multi_thread")]
async fn if_match_makes_a_change_conditional() {
    let rig = Rig::start();
    let set = async |expected: &str, body: &str| {
        rig.send("PUT", WEIGHTS, &[("if-match", expected)], body).await
    };
    let json = set("\"7\"", r#"{"green": 1}"#).await.expect(412);
    assert_eq!(json["revision"], 1);
    set("\"nonsense\"", r#"{"green": 1}"#).await.expect(412);
    set("\"1\"", r#"{"green": 1}"#).await.expect(200);
    set("\"1\"", r#"{"green": 2}"#).await.expect(412);
    set("*", r#"{"green": 2}"#).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_reason_is_kept() {
    let rig = Rig::start();
    let fields = [("x-reason", "ticket 12")];
    rig.send("PUT", WEIGHTS, &fields, r#"{"green": 1}"#).await.expect(200);
    let list = rig.get("/v1/revisions").await.expect(200);
    assert_eq!(list[0]["reason"], "ticket 12");
    assert_eq!((&list[0]["author"], &list[0]["cause"]), (&json!("api"), &json!("weights")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cutover_moves_everything_and_says_how() {
    let rig = Rig::start();
    let json = rig.post(CUTOVER, r#"{"to": "green", "drain": "1s"}"#).await.expect(200);
    assert_eq!(json["from"], json!({"blue": 100}));
    assert_eq!(json["to"], json!({"green": 100}));
    assert_eq!((&json["in_flight_on_old"], &json["drained"]), (&json!(0), &json!(true)));
    assert!(json["switched_in_us"].is_u64());
    let again = rig.post(CUTOVER, r#"{"to": "green"}"#).await.expect(200);
    assert_eq!((&again["revision"], &again["unchanged"]), (&json!(2), &json!(true)));
    assert_eq!(again["drained"], json!(null));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cutover_needs_a_healthy_endpoint_or_force() {
    let rig = Rig::start();
    rig.set_health("shop", "green", Status::Unhealthy);
    let json = rig.post(CUTOVER, r#"{"to": "green"}"#).await.expect(409);
    let detail = json["detail"].as_str().unwrap();
    assert!(detail.contains("127.0.0.1:9002 is unhealthy"), "{detail}");
    rig.post(CUTOVER, r#"{"to": "green", "force": true}"#).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cutover_that_makes_no_sense_is_refused() {
    let rig = Rig::start();
    let cases = [
        (r#"{"to": "gren"}"#, 404),
        (r#"{"to": "a b"}"#, 422),
        (r#"{}"#, 422),
        (r#"{"to": "green", "drain": "soon"}"#, 422),
        (r#"{"to": "green", "when": "now"}"#, 422),
        ("", 400),
    ];
    for (body, status) in cases {
        rig.post(CUTOVER, body).await.expect(status);
    }
    rig.post("/v1/services/none/cutover", r#"{"to": "green"}"#).await.expect(404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cutover_ends_the_drain_of_its_target() {
    let rig = Rig::start();
    rig.post("/v1/services/shop/versions/green/drain", "").await.expect(200);
    rig.post(CUTOVER, r#"{"to": "green"}"#).await.expect(200);
    let json = rig.get("/v1/services/shop").await.expect(200);
    assert_eq!(json["versions"]["green"]["draining"], false);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_restores_every_users_version() {
    let rig = Rig::start();
    rig.put(WEIGHTS, r#"{"blue": 70, "green": 30}"#).await.expect(200);
    let before = rig.control.state().await.traffic.clone();
    rig.put(WEIGHTS, r#"{"blue": 20, "green": 80}"#).await.expect(200);
    rig.post("/v1/services/shop/hold", "").await.expect(200);
    let json = rig.post(ROLLBACK, r#"{"to": 2}"#).await.expect(200);
    assert_eq!(json["revision"], 5);
    assert_eq!(rig.control.state().await.traffic, before, "buckets included, and the hold is over");
    let again = rig.post(ROLLBACK, r#"{"to": 2}"#).await.expect(200);
    assert_eq!(again["unchanged"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_without_a_number_goes_to_what_was_before() {
    let rig = Rig::start();
    rig.post(ROLLBACK, "").await.expect(409);
    rig.post(CUTOVER, r#"{"to": "green"}"#).await.expect(200);
    rig.put("/v1/services/plain/weights", r#"{"b": 1}"#).await.expect(200);
    rig.post(ROLLBACK, "").await.expect(200);
    assert_eq!(rig.weights("shop").await, json!({"blue": 100, "green": 0}));
    assert_eq!(rig.weights("plain").await, json!({"a": 0, "b": 1}), "another service stays");
    rig.post(ROLLBACK, r#"{"to": 99}"#).await.expect(404);
}

#[tokio::test(flavor = "multi_thread")]
async fn housekeeping_does_not_stand_in_the_way_of_a_rollback() {
    let rig = Rig::start();
    rig.post(CUTOVER, r#"{"to": "green"}"#).await.expect(200);
    rig.put(SHADOW, r#"{"version": "blue"}"#).await.expect(200);
    rig.post("/v1/services/shop/hold", "").await.expect(200);
    let new = r#"{"endpoints": ["127.0.0.1:9100"]}"#;
    rig.put("/v1/services/shop/versions/v3", new).await.expect(200);
    rig.post(ROLLBACK, "").await.expect(200);
    assert_eq!(rig.weights("shop").await, json!({"blue": 100, "green": 0, "v3": 0}));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_brings_registered_versions_back() {
    let rig = Rig::start();
    let new = r#"{"endpoints": ["127.0.0.1:9100"], "cutover": true}"#;
    rig.put("/v1/services/shop/versions/v3", new).await.expect(200);
    rig.post(CUTOVER, r#"{"to": "blue"}"#).await.expect(200);
    rig.delete("/v1/services/shop/versions/v3").await.expect(200);
    rig.post(ROLLBACK, r#"{"to": 3}"#).await.expect(200);
    assert_eq!(rig.weights("shop").await["v3"], 100, "a registration comes back with its traffic");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shadow_is_started_shown_and_stopped() {
    let rig = Rig::start();
    let body = r#"{"version": "green", "percent": 12.5, "max_body": "64KiB", "secondary": "blue",
        "compare": {"ignore": ["header:date"], "latency_budget": "100ms"}}"#;
    rig.put(SHADOW, body).await.expect(200);
    assert_eq!(rig.put(SHADOW, body).await.expect(200)["unchanged"], true);
    let json = rig.get("/v1/services/shop").await.expect(200);
    let shadow = &json["live"]["shadow"];
    assert_eq!((&shadow["version"], &shadow["percent"]), (&json!("green"), &json!(12.5)));
    assert_eq!(shadow["max_body"], 65536);
    assert_eq!(shadow["compare"]["latency_budget"], "100ms");
    assert_eq!(json["drift"], true);
    let report = rig.get("/v1/services/shop/diffs").await.expect(200);
    assert_eq!((&report["shadow"], &report["compared"]), (&json!("green"), &json!(0)));
    assert_eq!(rig.get("/v1/services/shop/diffs/samples").await.expect(200), json!([]));
    rig.delete("/v1/services/shop/diffs").await.expect(200);
    rig.delete(SHADOW).await.expect(200);
    assert_eq!(rig.delete(SHADOW).await.expect(200)["unchanged"], true);
    rig.get("/v1/services/shop/diffs").await.expect(404);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_shadow_leaves_out_is_as_the_file_declares_it() {
    let rig = Rig::with(
        "[service.plain.shadow]\nversion = \"b\"\npercent = 50.0\nsecondary = \"a\"\n\
         compare = { ignore = [\"header:date\"], latency_budget = \"100ms\" }",
    );
    let path = "/v1/services/plain/shadow";
    let shown = async || rig.get("/v1/services/plain").await.expect(200)["live"]["shadow"].take();
    let declared = shown().await;
    assert_eq!(declared["compare"]["ignore"], json!(["header:date"]));
    rig.delete(path).await.expect(200);
    rig.put(path, r#"{"version": "b", "percent": 5}"#).await.expect(200);
    let mut expect = declared.clone();
    expect["percent"] = json!(5.0);
    assert_eq!(shown().await, expect);
    let bare = r#"{"version": "b", "secondary": null, "compare": {"latency_budget": null}}"#;
    rig.put(path, bare).await.expect(200);
    let mut expect = declared;
    expect["secondary"] = json!(null);
    expect["compare"]["latency_budget"] = json!(null);
    assert_eq!(shown().await, expect);
    // Of another version as the shadow the file says nothing.
    rig.put(path, r#"{"version": "a"}"#).await.expect(200);
    assert_eq!(shown().await["compare"]["ignore"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parameter_that_is_misspelt_changes_nothing() {
    let rig = Rig::start();
    let answer = rig.put(&format!("{WEIGHTS}?dryrun=true"), r#"{"blue": 1}"#).await.expect(400);
    assert!(answer["detail"].as_str().unwrap().contains("dry_run"), "{answer}");
    assert_eq!(rig.control.current().number, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shadow_that_cannot_be_is_refused() {
    let rig = Rig::start();
    let cases = [
        r#"{"version": "gren"}"#,
        r#"{"version": "green", "percent": 101}"#,
        r#"{"version": "green", "percent": -1}"#,
        r#"{"version": "green", "methods": ["FETCH"]}"#,
        r#"{"version": "green", "secondary": "green"}"#,
        r#"{"version": "green", "secondary": "red"}"#,
        r#"{"version": "green", "max_body": "much"}"#,
        r#"{"version": "green", "compare": {"ignore": ["nonsense"]}}"#,
        r#"{"version": "green", "compare": {"latency_budget": "x"}}"#,
        r#"{"percent": 10}"#,
    ];
    for body in cases {
        rig.put(SHADOW, body).await.expect(422);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_are_held_and_released() {
    let rig = Rig::start();
    let body = r#"{"max_wait": "5s", "max_requests": 10, "methods": ["get"]}"#;
    rig.post("/v1/services/shop/hold", body).await.expect(200);
    let json = rig.get("/v1/services/shop").await.expect(200);
    let expect = json!({"max_requests": 10, "max_wait": "5s", "methods": ["GET"], "waiting": 0});
    assert_eq!(json["live"]["hold"], expect);
    rig.post("/v1/services/shop/release", "").await.expect(200);
    assert_eq!(rig.post("/v1/services/shop/release", "").await.expect(200)["unchanged"], true);
    rig.post("/v1/services/shop/hold", r#"{"max_wait": "long"}"#).await.expect(422);
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_and_endpoints_are_drained() {
    let rig = Rig::start();
    let path = "/v1/services/shop/versions/green";
    rig.post(&format!("{path}/drain"), r#"{"endpoint": "127.0.0.1:9003"}"#).await.expect(200);
    let json = rig.get("/v1/services/shop").await.expect(200);
    let endpoints = &json["versions"]["green"]["endpoints"];
    let state = |n: usize| endpoints[n]["state"].clone();
    assert_eq!((state(0), state(1)), (json!("healthy"), json!("draining")));
    rig.post(&format!("{path}/undrain"), r#"{"endpoint": "127.0.0.1:9003"}"#).await.expect(200);
    rig.post(&format!("{path}/drain"), r#"{"endpoint": "127.0.0.1:1"}"#).await.expect(404);
    rig.post(&format!("{path}/drain"), r#"{"endpoint": "nowhere"}"#).await.expect(422);
    rig.post("/v1/services/shop/versions/red/drain", "").await.expect(404);
    let weights = rig.weights("shop").await;
    rig.post("/v1/services/shop/versions/blue/drain", "").await.expect(200);
    assert_eq!(rig.weights("shop").await, weights, "a drain moves nobody");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replaced_revision_is_freed_by_the_control_plane_once_no_request_holds_it() {
    let rig = Rig::start();
    let lease = rig.control.current();
    let revision = std::sync::Arc::downgrade(&lease);
    rig.put("/v1/services/plain/weights", r#"{"b": 1}"#).await.expect(200);
    rig.control.free_retired();
    drop(lease);
    assert!(revision.upgrade().is_some(), "whoever lets it go last does not have to free it");
    rig.control.free_retired();
    assert!(revision.upgrade().is_none());
}
