//! Pins, sticky users, splits, redirects and what is added to a request.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use crate::rig::{Rig, says};

fn cookie_of(answer: &crate::rig::Answer) -> Option<String> {
    let set = answer.field("set-cookie")?;
    set.split(';').next().map(str::to_owned)
}

#[tokio::test(flavor = "multi_thread")]
async fn testers_reach_the_new_version_by_a_header() {
    let rig = Rig::build()
        .version("blue", says("blue"))
        .version("green", says("green"))
        .weights("blue = 100, green = 0")
        .tables("[[service.shop.pin]]\nheaders = { x-canary = \"true\" }\nversion = \"green\"")
        .start()
        .await;
    let mut client = rig.client().await;
    assert_eq!(client.get_with("/", "X-Canary: true\r\n").await.text(), "green");
    assert_eq!(client.get_with("/", "X-Canary: false\r\n").await.text(), "blue");
    rig.change("PUT", "/v1/services/shop/weights", json!({ "blue": 90, "green": 0 })).await;
    assert_eq!(client.get_with("/", "X-Canary: true\r\n").await.text(), "green");
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_split_is_within_binomial_noise() {
    let rig = Rig::build()
        .version("blue", says("blue"))
        .version("green", says("green"))
        .weights("blue = 90, green = 10")
        .start()
        .await;
    let mut client = rig.client().await;
    let mut green = 0;
    for _ in 0..2000 {
        green += u32::from(client.get("/").await.text() == "green");
    }
    // 200 expected, sigma 13.4: five of them.
    assert!((133..=267).contains(&green), "{green}");
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_stays_and_moves_only_into_the_version_that_grows() {
    let rig = Rig::build()
        .version("blue", says("blue"))
        .version("green", says("green"))
        .version("red", says("red"))
        .weights("blue = 80, green = 10, red = 10")
        .service("sticky = { cookie = \"tg_shop\" }")
        .start()
        .await;
    let mut users = BTreeMap::new();
    let mut client = rig.client().await;
    for _ in 0..300 {
        let first = client.get("/").await;
        let cookie = cookie_of(&first).expect("a new user gets a cookie");
        let set = first.field("set-cookie").unwrap();
        assert!(set.contains("HttpOnly") && set.contains("SameSite=Lax") && set.contains("Path=/"));
        assert!(!cookie.contains("blue") && !cookie.contains("green"));
        assert!(first.field("cache-control").unwrap().contains("private"));
        users.insert(cookie, first.text());
    }
    for (cookie, version) in &users {
        let again = client.get_with("/", &format!("Cookie: a=b; {cookie}\r\n")).await;
        assert_eq!((&again.text(), cookie_of(&again)), (version, None));
    }
    let weights = json!({ "blue": 60, "green": 30, "red": 10 });
    rig.change("PUT", "/v1/services/shop/weights", weights).await;
    let mut moved = BTreeSet::new();
    for (cookie, before) in &users {
        let after = client.get_with("/", &format!("Cookie: {cookie}\r\n")).await.text();
        if &after != before {
            moved.insert((before.clone(), after));
        }
    }
    assert!(moved.iter().all(|(from, to)| from == "blue" && to == "green"), "{moved:?}");
    rig.change("POST", "/v1/services/shop/rollback", json!({})).await;
    for (cookie, before) in &users {
        let restored = client.get_with("/", &format!("Cookie: {cookie}\r\n")).await.text();
        assert_eq!(&restored, before);
    }
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_weights_zero_is_a_503_with_its_reason() {
    let rig = Rig::blue_green().await;
    rig.change("PUT", "/v1/services/shop/weights", json!({ "blue": 0, "green": 0 })).await;
    let answer = rig.get("/").await;
    assert_eq!((answer.status, answer.field("retry-after")), (503, Some("1")));
    assert_eq!(answer.json()["type"], "urn:tidegate:reason:no_weight");
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_told_who_it_came_from_and_nothing_it_claims_is_believed() {
    let rig = Rig::blue_green().await;
    let mut client = rig.client().await;
    let fields = "X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Proto: https\r\nForwarded: for=6.6.6.6\r\n\
                  Connection: X-Secret\r\nX-Secret: 1\r\nX-Request-Id: mine-1\r\nTE: gzip\r\n";
    let answer = client.get_with("/a?b=c", fields).await;
    assert_eq!(answer.field("x-request-id"), Some("mine-1"));
    let seen = rig.version("blue").seen().remove(0).to_ascii_lowercase();
    assert!(seen.starts_with("get /a?b=c http/1.1\r\n"), "{seen}");
    for line in ["x-forwarded-for: 127.0.0.1", "x-forwarded-proto: http", "x-request-id: mine-1"] {
        assert!(seen.contains(&format!("\r\n{line}\r\n")), "{line}: {seen}");
    }
    assert!(seen.contains("\r\ntraceparent: 00-") && seen.contains("\r\nvia: 1.1 tidegate\r\n"));
    assert!(seen.contains(&format!("\r\nx-forwarded-host: {}\r\n", rig.web)), "{seen}");
    for gone in ["6.6.6.6", "x-secret", "\r\nte:", "\r\nforwarded:", "\r\nconnection:"] {
        assert!(!seen.contains(gone), "{gone}: {seen}");
    }
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn routes_rewrite_redirect_and_end_in_404() {
    let rig = Rig::blue_green_with_routes().await;
    assert_eq!(rig.get("/api/items?x=1").await.text(), "blue");
    assert!(rig.version("blue").seen()[0].starts_with("GET /items?x=1 HTTP/1.1\r\n"));
    let moved = rig.get("/old/page").await;
    assert_eq!(
        (moved.status, moved.field("location")),
        (308, Some("https://shop.example.com/new/page"))
    );
    let nothing = rig.get("/nowhere").await;
    assert_eq!(nothing.status, 404);
    assert_eq!(nothing.json()["type"], "urn:tidegate:reason:no_route");
    rig.finish().await;
}

impl Rig {
    async fn blue_green_with_routes() -> Self {
        Rig::build()
            .version("blue", says("blue"))
            .tables(
                "[[route]]\npath = \"/api\"\nservice = \"shop\"\nstrip_prefix = true\n\
                 [[route]]\npath = \"/old\"\n\
                 redirect = { scheme = \"https\", host = \"shop.example.com\", path = \"/new\", status = 308 }",
            )
            .start()
            .await
    }
}
