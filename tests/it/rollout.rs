//! Rollouts over real sockets: what moves the weight, and what moves it back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::rig::{Client, Rig, Script, says};

const ROLLOUT: &str = "/v1/services/shop/rollout";

async fn rig(green: Script) -> Rig {
    Rig::build()
        .version("blue", says("blue").fails_every(100))
        .version("green", green)
        .weights("blue = 100, green = 0")
        .service("rescue = false\nretries = { attempts = 0 }")
        .start()
        .await
}

/// Clients that ask as fast as they are answered, until told to stop.
struct Load {
    stop: Arc<AtomicBool>,
    clients: JoinSet<()>,
}

impl Load {
    async fn on(rig: &Rig) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let mut clients = JoinSet::new();
        for _ in 0..4 {
            let (stop, mut client) = (stop.clone(), Client::connect(rig.web).await);
            clients.spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    client.get("/").await;
                }
            });
        }
        Self { stop, clients }
    }

    async fn stop(mut self) {
        self.stop.store(true, Ordering::Relaxed);
        while let Some(ended) = self.clients.join_next().await {
            ended.unwrap();
        }
    }
}

async fn rollout(rig: &Rig) -> Value {
    rig.admin("GET", ROLLOUT, None).await.1
}

async fn reaches(rig: &Rig, state: &str) {
    rig.until(state, || async { rollout(rig).await["state"] == state }).await;
}

fn plan(steps: &[u32]) -> Value {
    json!({ "to": "green", "steps": steps, "step_duration": "1s", "advance": "not_regressed" })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_fails_more_often_is_rolled_back_and_stays_back() {
    let mut rig = rig(says("green").fails_every(5)).await;
    let load = Load::on(&rig).await;
    let mut plan = plan(&[20, 100]);
    plan["step_duration"] = json!("1h");
    let started = rig.change("PUT", ROLLOUT, plan.clone()).await;
    assert_eq!(started["rollout"]["state"], "running");
    assert_eq!(rig.shop().await["live"]["weights"], json!({ "blue": 80, "green": 20 }));
    reaches(&rig, "rolled_back").await;
    load.stop().await;
    let after = rollout(&rig).await;
    assert_eq!((&after["verdict"], &after["weight_percent"]), (&json!("regressed"), &json!(0.0)));
    assert_eq!(rig.shop().await["live"]["weights"], json!({ "blue": 100, "green": 0 }));
    let reason = after["reason"].as_str().unwrap();
    assert!(reason.contains("green has more errors") && reason.contains(": 1"), "{reason}");
    assert_eq!(after["evidence"]["errors"]["verdict"], "regressed");
    let verdict = ["service=\"shop\"", "metric=\"errors\""];
    assert_eq!(rig.metric("tidegate_verdict", &verdict).await, -2.0);
    assert_eq!(rig.metric("tidegate_rollout_weight_percent", &[]).await, 0.0);
    let (_, revisions) = rig.admin("GET", "/v1/revisions", None).await;
    assert_eq!(revisions[0]["author"], "rollout:green");
    let (status, refused) = rig.admin("PUT", ROLLOUT, Some(plan.clone())).await;
    assert_eq!(status, 409, "{refused}");
    rig.restart().await;
    rig.until("why it was rolled back is known after a restart", || async {
        rollout(&rig).await["evidence"]["errors"]["verdict"] == "regressed"
    })
    .await;
    assert_eq!(rollout(&rig).await["verdict"], "regressed");
    plan["acknowledge"] = json!(true);
    rig.change("PUT", ROLLOUT, plan).await;
    rig.change("POST", &format!("{ROLLOUT}/abort"), json!({})).await;
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_healthy_version_gets_everything_step_by_step() {
    let rig = rig(says("green").fails_every(100)).await;
    let load = Load::on(&rig).await;
    rig.change("PUT", ROLLOUT, plan(&[10, 50, 100])).await;
    reaches(&rig, "succeeded").await;
    load.stop().await;
    assert_eq!(rig.shop().await["live"]["weights"], json!({ "blue": 0, "green": 100 }));
    let (_, revisions) = rig.admin("GET", "/v1/revisions", None).await;
    let shares = revisions
        .as_array()
        .unwrap()
        .iter()
        .rev()
        .map(|entry| entry["changes"][0]["to"]["green"].as_u64().unwrap_or(0));
    assert_eq!(shares.collect::<Vec<_>>(), [0, 10, 50, 100, 100]);
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_rollout_begins_with_what_was_learned_of_the_last_ones_version() {
    let rig = rig(says("green").fails_every(20)).await;
    let load = Load::on(&rig).await;
    rig.change("PUT", ROLLOUT, plan(&[100])).await;
    reaches(&rig, "succeeded").await;
    let mut back = plan(&[10, 100]);
    back["to"] = json!("blue");
    rig.until("a rollout that begins now has seen errors of green", || async {
        let begun = rig.change("PUT", ROLLOUT, back.clone()).await;
        rig.change("POST", &format!("{ROLLOUT}/abort"), json!({})).await;
        begun["rollout"]["evidence"]["errors"]["phi"] != 2.0
    })
    .await;
    load.stop().await;
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ramp_by_evidence_rises_as_the_requests_come_in() {
    let rig = rig(says("green").fails_every(100)).await;
    rig.change("PUT", ROLLOUT, json!({ "to": "green", "pace": "evidence" })).await;
    assert_eq!(rollout(&rig).await["weight_percent"], 1.0);
    let load = Load::on(&rig).await;
    rig.until("it was raised more than once", || async {
        let now = rollout(&rig).await;
        assert_eq!((&now["state"], &now["next_step_at"]), (&json!("running"), &json!(null)));
        now["weight_percent"].as_f64().is_some_and(|share| share > 2.0)
    })
    .await;
    load.stop().await;
    rig.change("POST", &format!("{ROLLOUT}/promote"), json!({})).await;
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_a_busy_version_passes_on_make_its_verdict_void() {
    let rig = Rig::build()
        .version("blue", says("blue"))
        .version("green", says("green").slow_every(1, Duration::from_millis(20)))
        .each_version("max_in_flight = 2")
        .weights("blue = 100, green = 0")
        .start()
        .await;
    let load = Load::on(&rig).await;
    rig.change("PUT", ROLLOUT, plan(&[50, 100])).await;
    rig.until("the verdict is void", || async {
        let void = &rollout(&rig).await["void"];
        void.as_str().is_some_and(|text| text.contains("requests of the new version were counted"))
    })
    .await;
    load.stop().await;
    let now = rollout(&rig).await;
    assert_eq!((&now["state"], &now["step"]), (&json!("running"), &json!(1)));
    assert_eq!(now["waits_for"], json!(["requests to go where the weights send them"]));
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_data_raises_nothing() {
    let rig = rig(says("green")).await;
    rig.change("PUT", ROLLOUT, plan(&[10, 100])).await;
    rig.until("a second step would be due", || async {
        let now = rollout(&rig).await;
        let due = now["next_step_at"].as_str().and_then(|at| at.parse::<jiff::Timestamp>().ok());
        due.is_some_and(|due| jiff::Timestamp::now() > due + jiff::SignedDuration::from_secs(2))
    })
    .await;
    let now = rollout(&rig).await;
    assert_eq!((&now["state"], &now["step"]), (&json!("running"), &json!(1)));
    assert_eq!(now["weight_percent"], 10.0);
    assert_eq!(now["waits_for"], json!(["a first request in this step"]));
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_changes_the_weights_meanwhile_stops_it() {
    let rig = rig(says("green")).await;
    rig.change("PUT", ROLLOUT, plan(&[10, 100])).await;
    let weights = json!({ "blue": 50, "green": 50 });
    rig.change("PUT", "/v1/services/shop/weights", weights.clone()).await;
    let now = rollout(&rig).await;
    assert_eq!(now["state"], "paused");
    let reason = now["reason"].as_str().unwrap();
    assert!(reason.contains("superseded") && reason.contains("brings 10% back"), "{now}");
    assert_eq!(now["weight_percent"], 50.0, "what is, not what it wants");
    assert_eq!(rig.shop().await["live"]["weights"], weights);
    rig.change("POST", &format!("{ROLLOUT}/resume"), json!({})).await;
    assert_eq!(rig.shop().await["live"]["weights"], json!({ "blue": 90, "green": 10 }));
    rig.change("POST", &format!("{ROLLOUT}/promote"), json!({})).await;
    assert_eq!(rig.shop().await["live"]["weights"], json!({ "blue": 0, "green": 100 }));
    let (status, refused) = rig.admin("POST", &format!("{ROLLOUT}/pause"), None).await;
    assert_eq!(status, 409, "{refused}");
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_forgets_neither_position_nor_evidence() {
    let mut rig = rig(says("green").fails_every(100)).await;
    let mut plan = plan(&[30, 100]);
    plan["step_duration"] = json!("1h");
    rig.change("PUT", ROLLOUT, plan).await;
    let load = Load::on(&rig).await;
    let evidence = |now: &Value| now["evidence"]["errors"]["log_evidence"].as_f64().unwrap();
    rig.until("some evidence", || async { evidence(&rollout(&rig).await) != 0.0 }).await;
    load.stop().await;
    rig.change("POST", &format!("{ROLLOUT}/pause"), json!({})).await;
    // The last seconds of the load are still being counted.
    let before = loop {
        let seen = rollout(&rig).await;
        tokio::time::sleep(Duration::from_secs(3)).await;
        if evidence(&rollout(&rig).await) == evidence(&seen) {
            break seen;
        }
    };
    rig.restart().await;
    rig.until("what was kept is taken over", || async {
        (evidence(&rollout(&rig).await) - evidence(&before)).abs() < 1e-9
    })
    .await;
    let now = rollout(&rig).await;
    assert_eq!((&now["state"], &now["step"]), (&json!("paused"), &json!(1)));
    assert_eq!(now["weight_percent"], 30.0);
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_started_is_refused_and_changes_nothing() {
    let rig = rig(says("green")).await;
    let cases = [
        (json!({}), 422, "`to` is missing"),
        (json!({ "to": "red" }), 404, "no version `red`"),
        (json!({ "to": "blue" }), 409, "has all the weight"),
        (json!({ "to": "green", "steps": [50, 10] }), 422, "ascend"),
        (json!({ "to": "green", "steps": [0, 10] }), 422, "above 0"),
        (json!({ "to": "green", "steps": ["many"] }), 422, "many"),
        (json!({ "to": "green", "pace": "fast" }), 422, "`steps` or `evidence`"),
        (json!({ "to": "green", "analysis": { "alpha": 2 } }), 422, "alpha"),
        (json!({ "to": "green", "colour": 1 }), 422, "colour"),
    ];
    for (body, status, words) in cases {
        let (found, problem) = rig.admin("PUT", ROLLOUT, Some(body.clone())).await;
        assert_eq!(found, status, "{body}: {problem}");
        assert!(problem["detail"].as_str().unwrap().contains(words), "{body}: {problem}");
    }
    assert_eq!(rig.shop().await["revision"], 1);
    assert_eq!(rig.admin("GET", ROLLOUT, None).await.0, 404);
    let dry = format!("{ROLLOUT}?dry_run=true");
    let answer = rig.change("PUT", &dry, json!({ "to": "green" })).await;
    assert_eq!(answer["changes"][0]["to"], json!({ "blue": 90, "green": 10 }));
    assert_eq!(rig.shop().await["revision"], 1);
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_business_tells_is_one_more_metric() {
    let rig = rig(says("green")).await;
    let tell = async |version: &str, ok: bool, count: u64| {
        let body = json!({ "service": "shop", "version": version, "ok": ok, "count": count });
        rig.change("POST", "/v1/outcomes", body).await
    };
    let early = tell("blue", true, 7).await;
    let why = json!("no rollout is under way");
    assert_eq!((&early["noted"], &early["why"]), (&json!(0), &why));
    let mut plan = plan(&[50, 100]);
    plan["step_duration"] = json!("1h");
    rig.change("PUT", ROLLOUT, plan).await;
    assert_eq!(tell("blue", true, 7).await["noted"], 7);
    let load = Load::on(&rig).await;
    rig.until("orders fail on green alone", || async {
        for (version, bad) in [("blue", 5), ("green", 40)] {
            tell(version, true, 100 - bad).await;
            tell(version, false, bad).await;
        }
        rollout(&rig).await["state"] == "rolled_back"
    })
    .await;
    load.stop().await;
    let after = rollout(&rig).await;
    let reason = after["reason"].to_string();
    assert!(reason.contains("worse outcomes"), "{reason}");
    let burst = &after["evidence"]["outcomes"]["phi"];
    assert_eq!(*burst, 2.0, "good and bad ones told apart are no bursts");
    let (status, _) = rig.admin("POST", "/v1/outcomes", Some(json!({ "service": "no" }))).await;
    assert_eq!(status, 422);
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_of_both_versions_is_not_blamed_on_the_new_one() {
    let outage = Arc::new(AtomicBool::new(false));
    let script = |name: &str| says(name).fails_every(100).fails_during(&outage);
    let rig = Rig::build()
        .version("blue", script("blue"))
        .version("green", script("green"))
        .weights("blue = 100, green = 0")
        .service("rescue = false\nretries = { attempts = 0 }")
        .start()
        .await;
    let load = Load::on(&rig).await;
    rig.change("PUT", ROLLOUT, plan(&[20, 50, 100])).await;
    outage.store(true, Ordering::SeqCst);
    rig.until("both fail and the rollout goes on", || async {
        let versions = &rig.shop().await["versions"];
        let fails = |name: &str| versions[name]["error_rate"].as_f64().is_some_and(|r| r > 0.2);
        assert_eq!(rollout(&rig).await["state"], "running");
        fails("blue") && fails("green")
    })
    .await;
    outage.store(false, Ordering::SeqCst);
    reaches(&rig, "succeeded").await;
    load.stop().await;
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_with_only_its_slowest_answers_slower_is_rolled_back() {
    let script = |name: &str, ms| says(name).slow_every(33, Duration::from_millis(ms));
    let rig = Rig::build()
        .version("blue", script("blue", 60))
        .version("green", script("green", 120))
        .weights("blue = 100, green = 0")
        .service("rescue = false\nretries = { attempts = 0 }")
        .start()
        .await;
    let load = Load::on(&rig).await;
    let mut plan = plan(&[40, 100]);
    plan["step_duration"] = json!("1h");
    rig.change("PUT", ROLLOUT, plan).await;
    reaches(&rig, "rolled_back").await;
    load.stop().await;
    let reason = rollout(&rig).await["reason"].to_string();
    assert!(reason.contains("slower") && reason.contains("p99"), "{reason}");
    assert!(reason.contains(" ms beside "), "both quantiles are told: {reason}");
    let (_, revisions) = rig.admin("GET", "/v1/revisions", None).await;
    assert_eq!(format!("{}", revisions[0]["reason"]), reason, "the journal says why");
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outcome_can_be_told_by_the_id_of_its_request() {
    let rig = Rig::build()
        .version("blue", says("blue"))
        .version("green", says("green"))
        .weights("blue = 100, green = 0")
        .tables("[[service.shop.pin]]\nheaders = { x-tester = \"1\" }\nversion = \"green\"")
        .start()
        .await;
    let tell = async |id: &str, ok: bool| {
        let body = json!({ "request_id": id, "ok": ok });
        rig.change("POST", "/v1/outcomes", body).await
    };
    let mut client = Client::connect(rig.web).await;
    let ask = async |client: &mut Client| {
        let answer = client.get("/").await;
        (answer.field("x-request-id").unwrap().to_owned(), answer.version() == "green")
    };
    let (id, _) = ask(&mut client).await;
    assert_eq!(tell(&id, true).await["noted"], 0, "no rollout counts it");
    let mut plan = plan(&[50, 100]);
    plan["step_duration"] = json!("1h");
    rig.change("PUT", ROLLOUT, plan).await;
    let (id, _) = ask(&mut client).await;
    assert_eq!(tell(&id, true).await["noted"], 1, "the first request of a rollout is remembered");
    client.send(b"GET / HTTP/1.1\r\nHost: a\r\nX-Tester: 1\r\n\r\n").await;
    let tester = client.answer("GET").await;
    assert_eq!(tester.version(), "green");
    let told = tell(tester.field("x-request-id").unwrap(), true).await;
    assert_eq!(told["noted"], 0, "testers are left out: {told}");
    rig.until("orders fail on green alone", || async {
        let mut client = Client::connect(rig.web).await;
        for _ in 0..50 {
            let (id, green) = ask(&mut client).await;
            let answer = tell(&id, !green).await;
            if answer["noted"] == 0 {
                // It is over: nothing is counted any more.
                assert_eq!(answer["revision"], 3, "{answer}");
                break;
            }
            assert_eq!(tell(&id, !green).await["noted"], 0, "it counts once");
        }
        rollout(&rig).await["state"] == "rolled_back"
    })
    .await;
    let reason = rollout(&rig).await["reason"].to_string();
    assert!(reason.contains("worse outcomes"), "{reason}");
    for wrong in [
        json!({ "ok": true }),
        json!({ "request_id": "a", "ok": true, "count": 2 }),
        json!({ "request_id": "a", "service": "shop", "version": "blue", "ok": true }),
    ] {
        assert_eq!(rig.admin("POST", "/v1/outcomes", Some(wrong)).await.0, 422);
    }
    rig.finish().await;
}
