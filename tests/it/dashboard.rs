//! The dashboard, in a browser.

use serde_json::json;

use crate::rig::{Browser, Rig, says};

const SERVICE: &str = "#service-shop";

fn row(version: &str) -> String {
    format!("#version-shop-{version}")
}

fn button(act: &str) -> String {
    format!("{SERVICE} button[data-act={act}]")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_may_run_only_its_own_code_and_stands_in_no_frame() {
    let rig = Rig::blue_green().await;
    for (path, kind) in
        [("/", "text/html"), ("/dashboard.css", "text/css"), ("/dashboard.js", "text/javascript")]
    {
        let answer = rig.admin_raw("GET", path, None, "").await;
        assert_eq!(answer.status, 200, "{path}");
        assert!(answer.field("content-type").unwrap().starts_with(kind), "{path}");
        let policy = answer.field("content-security-policy").unwrap();
        for word in ["default-src 'none'", "script-src 'self'", "frame-ancestors 'none'"] {
            assert!(policy.contains(word), "{policy}");
        }
        assert!(
            !answer.text().contains("http://") || path == "/dashboard.js",
            "{path} calls nobody"
        );
    }
    assert_eq!(rig.admin_raw("POST", "/", None, "").await.status, 405);
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_cuts_over_and_back_and_sees_what_others_do() {
    let Some(browser) = Browser::open().await else { return };
    let rig = Rig::blue_green().await;
    browser.visit(&format!("http://{}/", rig.admin)).await;
    browser.shows(&row("blue"), "100 %").await;
    browser.shows(&row("green"), "1/1 up").await;

    browser.press(&format!("{} button", row("green"))).await;
    browser.shows("#plan", "blue → green").await;
    assert_eq!(rig.get("/").await.version(), "blue", "what is only shown changes nothing");
    browser.write("#reason", "für 42 → <b id=injected>43</b>").await;
    browser.press("#confirm").await;
    browser.shows(&row("green"), "100 %").await;
    assert_eq!(rig.get("/").await.version(), "green");
    browser.shows("#revisions", "für 42 → <b id=injected>43</b>").await;
    assert_eq!(browser.says("document.getElementById('injected')").await, json!(null));

    browser.press(&button("rollback")).await;
    browser.shows("#plan", "green → blue").await;
    browser.press("#confirm").await;
    browser.shows(&row("blue"), "100 %").await;
    assert_eq!(rig.get("/").await.version(), "blue");

    let weights = json!({ "blue": 70, "green": 30 });
    rig.change("PUT", "/v1/services/shop/weights", weights).await;
    browser.shows(&row("green"), "30 %").await;
    browser.shows(SERVICE, "not as in the file").await;
    assert_eq!(browser.complaints().await, [""; 0]);
    browser.close().await;
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_else_changed_meanwhile_is_shown_before_it_is_overwritten() {
    let Some(browser) = Browser::open().await else { return };
    let rig = Rig::blue_green().await;
    browser.visit(&format!("http://localhost:{}/", rig.admin.port())).await;
    browser.shows(&row("blue"), "100 %").await;
    browser.press(&button("weights")).await;
    browser.write("#fields input[data-version=green]", "100").await;
    browser.shows("#plan", "50 % of the users: blue → green").await;
    rig.cutover("green").await;
    browser.press("#confirm").await;
    browser.shows("#plan", "Somebody changed something meanwhile").await;
    browser.shows("#plan", "green → blue").await;
    assert_eq!(rig.get("/").await.version(), "green");
    browser.press("#confirm").await;
    browser.shows(&row("blue"), "50 %").await;
    browser.close().await;
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_is_said_and_what_is_broken_is_seen() {
    let Some(browser) = Browser::open().await else { return };
    let rig = Rig::build()
        .version("blue", says("blue"))
        .version("green", says("green"))
        .weights("blue = 100, green = 0")
        .each_version("health = { path = \"/health\", interval = \"50ms\" }")
        .start()
        .await;
    browser.visit(&format!("http://{}/", rig.admin)).await;
    browser.shows(&row("green"), "1/1 up").await;
    rig.version("green").kill().await;
    browser.shows(&row("green"), "0/1 up").await;
    browser.press(&format!("{} button", row("green"))).await;
    browser.shows("#plan", "healthy").await;
    assert_eq!(browser.says("document.getElementById('confirm').disabled").await, json!(true));
    browser.press("#cancel").await;
    assert_eq!(rig.get("/").await.version(), "blue");

    rig.edit(|text| format!("{text}\nthis is no configuration"));
    browser.shows("#invalid", "this is no configuration").await;
    browser.close().await;
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_asked_for_and_kept_by_the_tab_alone() {
    let Some(browser) = Browser::open().await else { return };
    let mut rig = Rig::blue_green().await;
    rig.stop().await;
    std::fs::write(rig.place.path().join("tokens"), "ci: s3cret-of-ci\n").unwrap();
    rig.edit(|text| text.replace("[admin]\n", "[admin]\ntoken_file = \"tokens\"\n"));
    rig.restart().await;
    browser.visit(&format!("http://{}/", rig.admin)).await;
    for token in ["wrong", "s3cret-of-ci"] {
        browser.shows("#entry", "asks for a token").await;
        assert_eq!(browser.text(SERVICE).await, "", "nothing is shown without one");
        browser.write("#token", token).await;
        browser.press("#entry button").await;
    }
    browser.shows(&row("blue"), "100 %").await;
    browser.press(&format!("{} button", row("green"))).await;
    browser.shows("#plan", "blue → green").await;
    browser.press("#confirm").await;
    browser.shows("#revisions", "api:ci").await;
    assert_eq!(browser.says("document.cookie + Object.keys(localStorage)").await, json!(""));
    browser.close().await;
    rig.finish().await;
}
