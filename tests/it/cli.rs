//! The commands against a running proxy: what they print, and what their exit codes say.

use serde_json::json;

use crate::rig::binary::{Ended, Process, tidegate};
use crate::rig::{Rig, says};

impl Rig {
    /// A command against this proxy.
    async fn cli(&self, arguments: &[&str]) -> Ended {
        let admin = format!("http://{}", self.admin);
        let all: Vec<&str> = [&["--admin", &admin], arguments].concat();
        tidegate(&all).await
    }

    /// A command line without quotes.
    async fn run(&self, line: &str) -> Ended {
        self.cli(&line.split_whitespace().collect::<Vec<_>>()).await
    }

    async fn revision(&self) -> u64 {
        self.shop().await["revision"].as_u64().unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn status_is_a_table_for_people_and_json_for_machines() {
    let rig = Rig::blue_green().await;
    for line in ["status", "status shop"] {
        let table = rig.run(line).await;
        table.says(0, &["service", "weight", "shop", "blue", "100%", "1/1", "green"]);
        assert_eq!(table.out.lines().count(), 3, "{table}");
    }
    let all = rig.run("status --json").await.json();
    assert_eq!(all["services"][0]["service"], "shop");
    assert_eq!(rig.run("status shop --json").await.json()["drift"], false);
    rig.run("status nope").await.says(1, &["error: there is no service `nope`", "shop"]);
    rig.run("weights shop green=1").await.says(0, &["revision 2"]);
    rig.run("status").await.says(0, &["drift from the file"]);
    rig.run("ready").await.says(0, &["ready"]);
    assert_eq!(rig.run("ready --json").await.json()["phase"], "running");
    rig.edit(|text| text + "nonsense = 1\n");
    rig.run("reload").await.says(1, &["nonsense"]);
    rig.run("status")
        .await
        .says(0, &["warning: the configuration file is not valid", "unknown key `nonsense`"]);
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn weights_are_set_or_only_planned() {
    let rig = Rig::blue_green().await;
    let plan = rig.run("weights shop blue=90 green=10 --dry-run").await;
    plan.says(0, &["dry run, nothing was changed", "blue=100 green=0 → blue=90 green=10"]);
    plan.says(0, &["users move from", "10.00%"]);
    assert_eq!(rig.revision().await, 1, "a dry run changes nothing");

    let set = ["weights", "shop", "blue=90", "green=10", "--reason", "first tenth"];
    rig.cli(&set).await.says(0, &["weights set: revision 2", "10.00%"]);
    rig.cli(&set).await.says(0, &["unchanged at revision 2"]);
    rig.run("revisions").await.says(0, &["weights", "(first tenth)", "start"]);
    let json = rig.run("weights shop green=1 --json").await.json();
    assert_eq!(json["revision"], 3);
    rig.run("weights shop green=1 green=2").await.says(2, &["`green` is given twice"]);
    let live = rig.shop().await["live"]["weights"].clone();
    assert_eq!(live, json!({ "blue": 0, "green": 1 }), "who is not named gets nothing");
    let none = rig.run("weights shop green=0").await;
    none.says(0, &["no version of shop has weight: its requests are answered with 503"]);
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_says_what_is_wrong_and_changes_nothing() {
    let rig = Rig::blue_green().await;
    let cases: &[(&str, i32, &[&str])] = &[
        ("weights shop purple=1", 1, &["no version `purple`", "blue, green"]),
        ("weights nope blue=1", 1, &["no service `nope`", "shop"]),
        ("weights shop blue=4000000000", 1, &["blue", "4000000000", "1000000"]),
        ("weights shop blue=-1", 2, &["`blue=-1` is no weight", "blue=90"]),
        ("weights shop blue=99999999999", 2, &["`blue=99999999999` is no weight"]),
        ("weights shop blue=1.5", 2, &["`blue=1.5` is no weight"]),
        ("weights shop blue", 2, &["`blue` is no weight"]),
        ("weights shop", 2, &["VERSION=WEIGHT", "Usage"]),
        ("cutover shop purple", 1, &["no version `purple`", "blue, green"]),
        ("cutover shop green --drain soon", 2, &["--drain", "soon"]),
        ("rollback shop --to 99", 1, &["revision 99"]),
        ("rollback shop", 1, &["shop"]),
        ("shadow shop purple", 1, &["purple", "blue, green"]),
        ("shadow shop green --percent 101", 1, &["percent", "101"]),
        ("diffs shop", 1, &["no shadow"]),
        ("hold shop --max-wait banana", 2, &["--max-wait", "banana", "30s"]),
        ("hold nope", 1, &["no service `nope`"]),
        ("drain shop blue 192.0.2.1:1", 1, &["no endpoint `192.0.2.1:1`"]),
        ("deploy shop v2 --endpoint nonsense", 1, &["nonsense"]),
        ("deploy shop v2", 2, &["--endpoint"]),
        ("explain GET / -H nonsense", 2, &["`nonsense` is no field"]),
        ("explain GET / --client nobody", 1, &["nobody"]),
        ("frobnicate", 2, &["frobnicate"]),
    ];
    let mut wrong = Vec::new();
    for (line, code, words) in cases {
        let ended = rig.run(line).await;
        let all = format!("{}{}", ended.out, ended.err);
        if ended.code != Some(*code) || words.iter().any(|word| !all.contains(word)) {
            wrong.push(format!("tidegate {line}: expected {code} and {words:?}\n{ended}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(rig.revision().await, 1);
    let problem = rig.run("cutover shop purple --json").await;
    assert_eq!(problem.says(1, &[]).json()["status"], 404, "a refusal is JSON too");
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cutover_and_the_way_back() {
    let rig = Rig::blue_green().await;
    let plan = rig.run("cutover shop green --dry-run").await;
    plan.says(0, &["nothing was changed", "100.00%"]);
    assert_eq!(rig.get("/").await.text(), "blue");
    let cutover = rig.run("cutover shop green --drain 5s").await;
    cutover.says(0, &["shop is on green: revision 2", "switched on every worker in"]);
    cutover.says(0, &["all requests of the old version are done"]);
    assert_eq!(rig.get("/").await.text(), "green");
    rig.run("cutover shop green").await.says(0, &["unchanged at revision 2"]);
    rig.run("rollback shop --dry-run").await.says(0, &["nothing was changed"]);
    rig.run("rollback shop").await.says(0, &["shop rolled back: revision 3"]);
    assert_eq!(rig.get("/").await.text(), "blue");
    rig.run("rollback shop --to 2").await.says(0, &["revision 4"]);
    assert_eq!(rig.get("/").await.text(), "green");

    let history = rig.run("revisions --json").await.json();
    assert_eq!(history.as_array().unwrap().len(), 4);
    assert_eq!((&history[0]["revision"], &history[0]["cause"]), (&json!(4), &json!("rollback")));
    rig.run("revisions shop").await.says(0, &["at (UTC)", "green=100"]);
    let offline = rig.place.path().join("state").display().to_string();
    let offline = tidegate(&["revisions", "--state", &offline, "--json"]).await.json();
    let numbers = |list: &serde_json::Value| {
        let list = list.as_array().unwrap().iter();
        list.map(|entry| (entry["revision"].clone(), entry["cause"].clone())).collect::<Vec<_>>()
    };
    assert_eq!(numbers(&offline), numbers(&history), "the directory says what the proxy says");
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cutover_to_a_version_that_is_not_well_needs_force() {
    let rig = Rig::build()
        .version("blue", says("blue"))
        .version("green", says("green").status(503))
        .weights("blue = 1, green = 0")
        .each_version("health = { path = \"/health\", interval = \"50ms\", unhealthy_after = 1 }")
        .start()
        .await;
    let is_down =
        |shop: serde_json::Value| shop["versions"]["green"]["endpoints"][0]["healthy"] == false;
    rig.until("green is unhealthy", || async { is_down(rig.shop().await) }).await;
    rig.run("status").await.says(0, &["0/1"]);
    rig.run("cutover shop green").await.says(1, &["green", "healthy", "force"]);
    assert_eq!(rig.revision().await, 1);
    rig.run("cutover shop green --force").await.says(0, &["shop is on green"]);
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn explain_tells_which_version_and_why() {
    let rig = Rig::build()
        .version("blue", says("blue"))
        .version("green", says("green"))
        .weights("blue = 75, green = 25")
        .tables(
            "[[service.shop.pin]]\nheaders = { x-canary = \"true\" }\nversion = \"green\"\n\
             [[route]]\nname = \"all\"\npath = \"/shop\"\nservice = \"shop\"\n\
             [[route]]\npath = \"/old\"\nredirect = { path = \"/shop\" }",
        )
        .start()
        .await;
    let file = rig.config().display().to_string();
    let cases: &[(&[&str], i32, &[&str])] = &[
        (&["GET", "/shop/1"], 0, &["`blue` 75.00 %", "`green` 25.00 %", "all"]),
        (&["GET", "/shop", "-H", "x-canary: true"], 0, &["green", "pin 1"]),
        (&["GET", "http://any.example/old", "--client", "192.0.2.1"], 0, &["redirects"]),
        (&["GET", "/elsewhere"], 1, &["no route matches"]),
    ];
    for (question, code, words) in cases {
        rig.cli(&[&["explain"], *question].concat()).await.says(*code, words);
        // Against the file nobody is asked: this admin address has no listener.
        let offline = ["--admin", "http://127.0.0.1:1", "explain", "-c", &file];
        tidegate(&[&offline, *question].concat()).await.says(*code, words);
    }
    let json = rig.run("explain GET /shop --json").await.json();
    assert_eq!(json["shares"], json!({ "blue": 75.0, "green": 25.0 }));
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_is_the_file_with_the_live_traffic_in_it() {
    let rig = Rig::blue_green().await;
    rig.edit(|text| {
        let weights = "weights = { blue = 100, green = 0 }";
        assert!(text.contains(weights), "{text}");
        text.replace(weights, &format!("# who gets what\n{weights} # for now"))
    });
    rig.run("reload").await.says(0, &[]);
    let file = rig.config().display().to_string();
    let before = std::fs::read_to_string(&file).unwrap();
    let same = rig.cli(&["export", "-c", &file]).await;
    assert_eq!(same.says(0, &[]).out, before, "nothing drifted");

    rig.run("weights shop blue=3 green=1").await.says(0, &[]);
    let green = rig.version("green").address.to_string();
    rig.cli(&["deploy", "shop", "v2", "--endpoint", &green, "--cutover"]).await.says(0, &[]);
    rig.run("shadow shop green --percent 10 --secondary blue").await.says(0, &[]);
    let printed = rig.cli(&["export", "-c", &file]).await;
    printed.says(0, &["# who gets what\n", "v2 = ", "# for now\n", "percent = 10"]);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), before, "only printed");

    rig.run("export --write").await.says(0, &[&file, "traffic of shop written"]);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), printed.out);
    tidegate(&["check", "-c", &file]).await.says(0, &["is valid"]);
    rig.run("reload").await.says(0, &[]);
    assert_eq!(rig.shop().await["drift"], false);
    assert_eq!(rig.get("/").await.version(), "v2", "what was live is live");
    rig.cli(&["export", "-c", "/nowhere.toml"]).await.says(2, &["cannot read /nowhere.toml"]);
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn diffs_with_a_bound_are_a_gate() {
    let fields = "Content-Type: application/json\r\n";
    let rig = Rig::build()
        .version("blue", says(r#"{"price":10}"#).fields(fields))
        .version("green", says(r#"{"price":11}"#).fields(fields))
        .weights("blue = 1, green = 0")
        .start()
        .await;
    rig.run("shadow shop green").await.says(0, &["shop is mirrored to green: revision 2"]);
    rig.run("diffs shop --max-mismatch 1%").await.says(1, &["0 compared", "too few comparisons"]);
    let mut client = rig.client().await;
    for _ in 0..20 {
        client.get("/item").await;
    }
    rig.until("all copies are compared", || async {
        rig.admin("GET", "/v1/services/shop/diffs", None).await.1["compared"] == 20
    })
    .await;
    rig.run("diffs shop").await.says(0, &["20 compared", "20 mismatched", "body:/price"]);
    rig.run("diffs shop --samples").await.says(0, &["GET /item", "10 → 11"]);
    let gate = "diffs shop --min-samples 20 --max-mismatch";
    rig.run(&format!("{gate} 1%"))
        .await
        .says(1, &["gate not passed: too many mismatches: 100.00% of 20"]);
    rig.run(&format!("{gate} 100%")).await.says(0, &["gate passed"]);
    rig.run("diffs shop --max-mismatch 100% --min-samples 21").await.says(1, &["too few"]);
    let json = rig.run(&format!("{gate} 1% --json")).await;
    assert_eq!(json.says(1, &[]).json()["fields"][0]["field"], "body:/price");
    rig.run("diffs shop --max-mismatch lots").await.says(2, &["`lots` is no percentage"]);
    rig.run("diffs shop --reset").await.says(0, &["0 compared"]);
    rig.run("shadow shop off").await.says(0, &["shop has no shadow: revision 3"]);
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_is_released() {
    let rig = Rig::blue_green().await;
    rig.run("hold shop --max-wait 5s --max-requests 7").await.says(0, &["shop is held"]);
    let hold = rig.shop().await["live"]["hold"].clone();
    assert_eq!((&hold["max_wait"], &hold["max_requests"]), (&json!("5s"), &json!(7)));
    rig.run("status").await.says(0, &["held"]);
    rig.run("release shop").await.says(0, &["shop is released"]);
    rig.run("release shop").await.says(0, &["unchanged"]);
    assert_eq!(rig.get("/").await.text(), "blue");
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_is_deployed_drained_and_put_back() {
    let rig = Rig::blue_green().await;
    let green = rig.version("green").address.to_string();
    let deploy = rig
        .cli(&["deploy", "shop", "v2", "--endpoint", &green, "--health", "/health", "--cutover"])
        .await;
    deploy.says(0, &["v2 of shop is deployed", "version v2 registered", "v2=100"]);
    assert_eq!(rig.get("/").await.version(), "v2");

    rig.run("drain shop v2").await.says(0, &["drain of v2", "draining v2"]);
    assert_eq!(rig.shop().await["versions"]["v2"]["draining"], true);
    rig.run("status").await.says(0, &["draining, not in the file"]);
    rig.run("undrain shop v2").await.says(0, &["no longer draining v2"]);
    rig.cli(&["drain", "shop", "v2", &green]).await.says(0, &["draining v2", &green]);
    let state = rig.shop().await["versions"]["v2"]["endpoints"][0]["state"].clone();
    assert_eq!(state, "draining");
    rig.run("status").await.says(0, &["1 of 1 endpoints draining"]);
    rig.cli(&["undrain", "shop", "v2", &green]).await.says(0, &["no longer draining"]);
    assert_eq!(rig.get("/").await.version(), "v2");

    rig.version("blue").kill().await;
    let blue = rig.version("blue").address.to_string();
    let dead = ["deploy", "shop", "v3", "--endpoint", &blue, "--health", "/", "--wait", "200ms"];
    rig.cli(&[&dead[..], &["--cutover"]].concat()).await.says(1, &["v3", "healthy"]);
    assert_eq!(rig.get("/").await.version(), "v2", "a deploy that fails moves nobody");
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_asked_for_and_taken_from_file_and_environment() {
    let mut rig = Rig::blue_green().await;
    rig.stop().await;
    let tokens = rig.place.path().join("tokens");
    std::fs::write(&tokens, "ci: s3cret-of-ci\n").unwrap();
    rig.edit(|text| text.replace("[admin]\n", "[admin]\ntoken_file = \"tokens\"\n"));
    rig.restart().await;
    let refused = rig.run("cutover shop green").await;
    refused.says(1, &["TIDEGATE_TOKEN", "--token-file"]);
    let file = tokens.display().to_string();
    rig.cli(&["cutover", "shop", "green", "--token-file", &file]).await.says(0, &["shop is on"]);
    let admin = format!("http://{}", rig.admin);
    let variables = [("TIDEGATE_ADMIN", admin.as_str()), ("TIDEGATE_TOKEN", "s3cret-of-ci")];
    let list = Process::start(&["revisions"], &variables).ended().await;
    list.says(0, &["ci", "cutover"]);
    let wrong = [("TIDEGATE_ADMIN", admin.as_str()), ("TIDEGATE_TOKEN", "another")];
    let wrong = Process::start(&["rollback", "shop"], &wrong).ended().await;
    assert!(!wrong.says(1, &[]).err.contains("another"), "a token is printed nowhere");
    rig.cli(&["status", "--token-file", "/nowhere"]).await.says(2, &["/nowhere"]);
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreachable_proxy_is_another_answer_than_no() {
    let cases: &[(&str, &[&str])] = &[
        ("http://127.0.0.1:1", &["cannot reach", "127.0.0.1:1", "is tidegate running", "--admin"]),
        ("unix:/nowhere.sock", &["cannot reach", "/nowhere.sock", "is tidegate running"]),
        ("ftp://127.0.0.1", &["no http:// URL"]),
    ];
    for (admin, words) in cases {
        for line in ["status", "ready", "weights shop blue=1", "cutover shop blue", "events"] {
            let verb: Vec<_> = line.split_whitespace().collect();
            tidegate(&[&["--admin", admin], &verb[..]].concat()).await.says(2, words);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn check_points_at_what_is_wrong() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("bad.toml");
    let file = path.display().to_string();
    std::fs::write(&path, "[server]\nworkes = 2\n[admin]\naddress = \"nonsense\"\n").unwrap();
    let bad = tidegate(&["check", "-c", &file]).await;
    bad.says(1, &["error", "workes", "workers", "bad.toml:2", "^^^", "bad.toml:4", "nonsense"]);
    let json = tidegate(&["check", "-c", &file, "--json"]).await;
    assert_eq!(json.says(1, &[]).json()["valid"], false);
    tidegate(&["check", "-c", "/nowhere.toml"]).await.says(1, &["/nowhere.toml"]);

    // What is right as a text and would not start: a check that passes must mean that it does.
    let mut text = String::from("[admin]\ntoken_file = \"tokens\"\n[[listener]]\nname = \"web\"\n");
    text += "address = \"127.0.0.1:0\"\ntls = { cert = \"web.pem\", key = \"web.key\" }\n";
    text += "[service.s.version.v]\nendpoints = [\"127.0.0.1:1\"]\n[[route]]\nservice = \"s\"\n";
    std::fs::write(&path, text).unwrap();
    for name in ["tokens", "web.pem", "web.key"] {
        std::fs::write(place.path().join(name), "nonsense\n").unwrap();
    }
    let unusable = tidegate(&["check", "-c", &file]).await;
    unusable
        .says(1, &["listener `web`", "web.pem holds no certificate", "line 1 is no `name: token`"]);
    let json = tidegate(&["check", "-c", &file, "--json"]).await.says(1, &[]).json();
    assert_eq!((&json["valid"], json["diagnostics"].as_array().unwrap().len()), (&json!(false), 2));

    // Whom to refuse is known before any listener opens, so that this is an error with a place.
    let with_list = std::fs::read_to_string(&path).unwrap();
    let clients = "key = \"web.key\", clients = { ca = \"web.pem\", crl = \"web.key\" } }";
    std::fs::write(&path, with_list.replace("key = \"web.key\" }", clients)).unwrap();
    let bad = tidegate(&["check", "-c", &file]).await;
    bad.says(1, &["clients.crl", "web.key holds no list", "bad.toml:6", "^^^", "X509 CRL"]);

    let minimal = concat!(env!("CARGO_MANIFEST_DIR"), "/config/minimal.toml");
    let good = tidegate(&["check", "-c", minimal]).await;
    good.says(0, &["is valid: 1 listener, 1 service, 1 route"]);
    assert_eq!(tidegate(&["check", "-c", minimal, "--json"]).await.json()["valid"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_verb_explains_itself() {
    let help = tidegate(&["help"]).await;
    help.says(0, &["Usage: tidegate", "--admin", "--json"]);
    let verbs = help.out.lines().skip_while(|line| *line != "Commands:").skip(1);
    let verbs = verbs.take_while(|line| !line.is_empty()).filter(|line| !line.starts_with("   "));
    let verbs: Vec<_> = verbs.filter_map(|line| line.split_whitespace().next()).collect();
    assert!(verbs.len() > 20, "{verbs:?}");
    for verb in verbs.iter().filter(|verb| **verb != "help") {
        let told = tidegate(&[verb, "--help"]).await;
        told.says(0, &["Usage: tidegate", verb, "Options of every command:"]);
        tidegate(&[verb, "--frobnicate"]).await.says(2, &["--frobnicate"]);
    }
    tidegate(&[]).await.says(2, &["Usage: tidegate"]);
    tidegate(&["--version"]).await.says(0, &[env!("CARGO_PKG_VERSION")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollout_says_where_it_stands_and_what_it_waits_for() {
    let rig = Rig::blue_green().await;
    rig.run("rollout shop status").await.says(1, &["never had a rollout"]);
    let start = "rollout shop start --to green --steps 25,100 --step-duration 1h";
    rig.run(start).await.says(0, &["has begun", "blue=75 green=25"]);
    let running = rig.run("rollout shop status").await;
    let heading = "rollout to green: running, step 1 of 2 (25% 100%), now 25%";
    running.says(0, &[heading, "because    started", "note       `green` has one endpoint"]);
    running.says(0, &["verdict    undecided", "of the step; errors, p50, p90, p99 to be safe"]);
    rig.run("status").await.says(0, &["rollout running, step 1 of 2, undecided"]);
    rig.run("rollout shop pause --reason lunch").await.says(0, &["is paused"]);
    rig.run("rollout shop status").await.says(0, &["waits for  an operator to resume it"]);
    rig.run("rollout shop abort").await.says(0, &["is aborted"]);
    let over = rig.run("rollout shop status").await;
    rig.run("rollout shop status --wait").await.says(1, &["rollout to green: aborted"]);
    over.says(0, &["rollout to green: aborted", "because    aborted by api"]);
    assert!(!over.out.contains("waits for") && !over.out.contains("note"), "{over}");
    let gates = "rollout shop start --to green --pace evidence --max-error-rate 2% --max-latency \
                 p95=1s,p50=100ms --max-mismatch 1% --min-requests 50 --on-regression pause";
    rig.run(gates).await.says(0, &["blue=99 green=1"]);
    rig.run("rollout shop status").await.says(
        0,
        &["running, as far as the evidence allows, now 1%", "`green` is not compared as a shadow"],
    );
    rig.run("status").await.says(0, &["rollout running, paced by evidence, undecided"]);
    let (ended, ()) = tokio::join!(rig.run("rollout shop status --wait"), async {
        rig.run("rollout shop promote").await.says(0, &["is promoted"]);
    });
    ended.says(0, &["rollout to green: succeeded, now 100%"]);
    rig.run("rollout shop start --to blue --warm-up 30s").await.says(0, &["has begun"]);
    let cold = rig.run("rollout shop status").await;
    cold.says(0, &["the first 30s, which are not judged"]);
    rig.run("rollout shop start --max-latency 1s").await.says(2, &["p95=1s"]);
    rig.run("rollout shop start --step-duration soon").await.says(2, &["write a duration"]);
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn compare_needs_no_proxy_and_is_a_gate_too() {
    let rig = Rig::blue_green().await;
    let url = |name: &str| format!("http://{}", rig.version(name).address);
    let (blue, green) = (url("blue"), url("green"));
    let both = ["compare", "--baseline", &blue, "--candidate"];
    let gate = ["--max-mismatch", "1%"];
    tidegate(&[&both[..], &[&green], &gate].concat()).await.says(1, &["1 mismatched"]);
    let same = tidegate(&[&both[..], &[&blue], &gate].concat()).await;
    same.says(
        0,
        &["1 matched", "latency of the candidate less that of the baseline", "gate passed"],
    );
    let gone = tidegate(&[&both[..], &["http://127.0.0.1:1"]].concat()).await;
    gone.says(
        1,
        &["0 compared", "1 failed", "first failure: / of the candidate: Connection refused"],
    );
    let wrong = tidegate(&[&both[..], &["nonsense"]].concat()).await;
    wrong.says(2, &["`nonsense` is no http:// URL"]);
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_is_simulated_from_the_file_and_from_live_rates() {
    let rig = Rig::blue_green().await;
    rig.edit(|text| {
        text + "[service.shop.rollout]\nto = \"green\"\nsteps = [\"5% for 1m, manual\", 100]\n\
                step_duration = \"2m\"\nadvance = \"not_regressed\"\n"
    });
    let config = rig.config().display().to_string();
    let line = format!("simulate shop -c {config} --rps 500 --runs 3");
    let table = rig.run(&line).await;
    table.says(
        0,
        &[
            "to green: 5% for 1m, manual; 100%; 2m each",
            "an operator ends manual steps",
            "is as good",
            "fails ×5",
            "chance of having been",
        ],
    );
    table.says(0, &["500 req/s, 0.1% errors", "3 rollouts of each kind, seed 1"]);
    let one = rig.run(&format!("{line} --json")).await.json();
    let scenarios = one["scenarios"].as_array().unwrap();
    let found = |name: &str| scenarios.iter().find(|s| s["scenario"] == name).unwrap();
    assert_eq!(found("is as good")["promoted"], 1.0);
    assert_eq!(found("is as good")["seconds_to_promote"]["p50"], 180.0);
    assert_eq!(found("is slower ×1.5")["caught"], 1.0);
    assert_eq!(one, rig.run(&format!("{line} --json")).await.json(), "the same seed");

    rig.run("simulate shop").await.says(2, &["shop has no traffic to learn from; give --rps N"]);
    rig.run("simulate nope --rps 1").await.says(1, &["there is no service `nope`"]);
    rig.run(&format!("simulate nope -c {config}")).await.says(2, &["declares no service `nope`"]);
    let paced = rig.run("simulate --pace evidence --rps 500 --runs 1").await;
    paced.says(0, &["to new: as far as the evidence allows, alpha 0.01"]);
    rig.run("simulate --steps 20,10").await.says(2, &["ascend"]);
    let live = rig.run("simulate shop --rps 300 --error-rate 0 --runs 1").await;
    live.says(0, &["to green: 5% for 1m, manual; 100%", "the rates of shop now"]);
    assert!(!live.out.contains("fails ×2"), "there is nothing to multiply: {live}");
    rig.finish().await;
}
