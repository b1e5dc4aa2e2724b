//! Who can take a request: active checks, ejections, drains, and what follows from them.

use serde_json::{Value, json};

use crate::rig::{Builder, Rig, says};

/// Checked often, so that a test waits for little.
const CHECKED: &str = "health = { path = \"/health\", interval = \"20ms\", timeout = \"500ms\", \
                       healthy_after = 2, unhealthy_after = 3 }";

fn checked() -> Builder {
    Rig::build().each_version(CHECKED)
}

/// The states of a version's endpoints.
async fn states(rig: &Rig, version: &str) -> Vec<String> {
    let shop = rig.shop().await;
    let endpoints = shop["versions"][version]["endpoints"].as_array().cloned().unwrap_or_default();
    endpoints.iter().map(|endpoint| endpoint["state"].as_str().unwrap().to_owned()).collect()
}

async fn becomes(rig: &Rig, version: &str, state: &str) {
    let what = format!("{version} is {state}");
    rig.until(&what, || async { states(rig, version).await == [state] }).await;
}

async fn healthy(rig: &Rig, version: &str) -> f64 {
    let label = format!("version=\"{version}\"");
    rig.metric("tidegate_endpoint_healthy", &[&label]).await
}

fn cutover_to(version: &str, force: bool) -> Option<Value> {
    Some(json!({ "to": version, "force": force }))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_is_taken_out_after_failures_and_back_after_passes() {
    let rig = checked().version("blue", says("blue").health(200, "")).start().await;
    assert_eq!(rig.get("/").await.text(), "blue", "checked before the first client");
    assert_eq!(
        (states(&rig, "blue").await, healthy(&rig, "blue").await),
        (vec!["healthy".into()], 1.0)
    );

    let before = rig.version("blue").health(500, "");
    becomes(&rig, "blue", "unhealthy").await;
    assert!(rig.version("blue").probes() >= before + 3, "three failures in a row");
    assert_eq!(healthy(&rig, "blue").await, 0.0);
    let answer = rig.get("/").await;
    assert_eq!(answer.status, 503);
    assert_eq!(answer.json()["type"], "urn:tidegate:reason:no_endpoint");
    assert!(answer.field("retry-after").is_some());

    let before = rig.version("blue").health(204, "");
    becomes(&rig, "blue", "healthy").await;
    assert!(rig.version("blue").probes() >= before + 2, "two passes in a row");
    assert_eq!(healthy(&rig, "blue").await, 1.0);
    assert_eq!(rig.get("/").await.text(), "blue");
    assert_eq!(rig.version("blue").requests(), 2, "checks are not requests");
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_endpoint_takes_requests_once_it_has_passed() {
    let rig = checked().version("blue", says("blue").health(503, "")).start().await;
    assert_ne!(states(&rig, "blue").await, ["healthy"]);
    assert_eq!(rig.get("/").await.status, 503);
    rig.version("blue").health(200, "");
    becomes(&rig, "blue", "healthy").await;
    assert_eq!(rig.get("/").await.status, 200);
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_version_is_checked_and_a_cutover_to_a_sick_one_is_refused() {
    let rig = checked()
        .version("blue", says("blue").health(200, ""))
        .version("green", says("green").health(500, ""))
        .weights("blue = 100, green = 0")
        .start()
        .await;
    becomes(&rig, "green", "unhealthy").await;
    let path = "/v1/services/shop/cutover";
    let (status, problem) = rig.admin("POST", path, cutover_to("green", false)).await;
    assert_eq!(status, 409, "{problem}");
    assert!(problem.to_string().contains("unhealthy"), "{problem}");
    assert_eq!(rig.get("/").await.text(), "blue");

    rig.version("green").health(200, "");
    becomes(&rig, "green", "healthy").await;
    rig.cutover("green").await;
    assert_eq!(rig.get("/").await.text(), "green");
    assert_eq!(rig.metric("tidegate_rollback_ready", &[]).await, 1.0);

    rig.version("blue").health(500, "");
    becomes(&rig, "blue", "unhealthy").await;
    assert_eq!(rig.metric("tidegate_rollback_ready", &[]).await, 0.0, "there is no way back");
    let (status, answer) = rig.admin("POST", path, cutover_to("blue", true)).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(rig.get("/").await.status, 503, "it was forced");
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_looks_at_the_values_that_it_is_told_to() {
    let keys = CHECKED.replace(
        " }",
        ", expect = { \"$.checks.database\" = \"ok\", \"$.ready\" = true, \"$.replicas[0]\" = 2 } }",
    );
    let good = r#"{"checks":{"database":"ok"},"ready":true,"replicas":[2]}"#;
    let rig = Rig::build()
        .each_version(&keys)
        .version("blue", says("blue").health(200, good))
        .start()
        .await;
    becomes(&rig, "blue", "healthy").await;
    let bad = [
        r#"{"checks":{"database":"down"},"ready":true,"replicas":[2]}"#,
        r#"{"checks":{"database":"ok"},"ready":"true","replicas":[2]}"#,
        r#"{"checks":{"database":"ok"},"ready":true,"replicas":[]}"#,
        r#"{"checks":{"database":"ok"},"ready":true,"replicas":[3]}"#,
        "ok",
        "",
    ];
    for body in bad {
        rig.version("blue").health(200, body);
        becomes(&rig, "blue", "unhealthy").await;
        rig.version("blue").health(200, good);
        becomes(&rig, "blue", "healthy").await;
    }
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_fails_in_a_row_is_left_alone_for_a_while() {
    for (eject_for, comes_back) in [("1h", false), ("50ms", true)] {
        let outlier =
            format!("outlier = {{ consecutive_failures = 3, eject_for = \"{eject_for}\" }}");
        let rig = Rig::build()
            .endpoints("blue", vec![says("").raw(b"").closing(), says("well")])
            .each_version(&outlier)
            .start()
            .await;
        let sick = || rig.version("blue/0").requests();
        rig.until("it was tried three times", || async {
            assert_eq!(rig.get("/").await.text(), "well");
            sick() >= 3
        })
        .await;
        if comes_back {
            rig.until("it is tried again", || async {
                assert_eq!(rig.get("/").await.text(), "well");
                sick() > 3
            })
            .await;
        } else {
            for _ in 0..100 {
                assert_eq!(rig.get("/").await.text(), "well");
            }
            assert_eq!(sick(), 3);
        }
        rig.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_endpoint_is_never_ejected() {
    let failing = || says("").raw(b"").closing();
    for scripts in [vec![failing()], vec![failing(), failing()]] {
        let rig = Rig::build()
            .endpoints("blue", scripts)
            .each_version("outlier = { consecutive_failures = 2, eject_for = \"1h\" }")
            .service("retries = { attempts = 0 }")
            .start()
            .await;
        for n in 0..20 {
            let answer = rig.get("/").await;
            assert_eq!(answer.status, 502, "request {n} is tried: {}", answer.text());
        }
        rig.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn users_of_a_sick_version_go_elsewhere_or_are_told() {
    for (word, elsewhere) in [("others", true), ("fail", false)] {
        let rig = checked()
            .version("blue", says("blue").health(200, ""))
            .version("green", says("green").health(500, ""))
            .weights("blue = 50, green = 50")
            .service(&format!("when_unavailable = \"{word}\""))
            .start()
            .await;
        becomes(&rig, "green", "unhealthy").await;
        let mut client = rig.client().await;
        let mut refused = 0;
        for _ in 0..100 {
            let answer = client.get("/").await;
            match answer.status {
                200 => assert_eq!(answer.text(), "blue"),
                503 => refused += 1,
                status => panic!("{word}: {status} {}", answer.text()),
            }
        }
        assert_eq!(refused == 0, elsewhere, "{word}: {refused} of 100 refused");
        assert!(refused < 100, "{word}");
        rig.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_drains_takes_no_new_requests() {
    let rig = Rig::build().endpoints("blue", vec![says("a"), says("b")]).start().await;
    let mut client = rig.client().await;
    rig.until("both are used", || async {
        rig.get("/").await;
        rig.version("blue/0").requests() > 0 && rig.version("blue/1").requests() > 0
    })
    .await;
    let endpoint = rig.version("blue/0").address.to_string();
    let path = "/v1/services/shop/versions/blue";
    rig.change("POST", &format!("{path}/drain"), json!({ "endpoint": endpoint })).await;
    let before = rig.version("blue/0").requests();
    for _ in 0..100 {
        assert_eq!(client.get("/").await.text(), "b");
    }
    assert_eq!(rig.version("blue/0").requests(), before);
    assert_eq!(states(&rig, "blue").await, ["draining", "healthy"]);
    assert_eq!(healthy(&rig, "blue").await, 2.0, "a drain is no illness");
    rig.change("POST", &format!("{path}/undrain"), json!({ "endpoint": endpoint })).await;
    rig.until("it is used again", || async { client_uses(&rig, before).await }).await;
    rig.finish().await;
}

async fn client_uses(rig: &Rig, before: u64) -> bool {
    rig.get("/").await;
    rig.version("blue/0").requests() > before
}

#[tokio::test(flavor = "multi_thread")]
async fn a_local_name_is_an_endpoint_too() {
    let rig = checked().version("blue", says("blue").health(200, "")).start().await;
    let port = rig.version("blue").address.port();
    rig.edit(|text| {
        text.replace(&format!("\"127.0.0.1:{port}\""), &format!("\"shop.localhost:{port}\""))
    });
    rig.until("it is named", || async { rig.shop().await.to_string().contains("shop.localhost") })
        .await;
    becomes(&rig, "blue", "healthy").await;
    assert_eq!(rig.get("/").await.text(), "blue");
    rig.finish().await;
}
