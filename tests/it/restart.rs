//! What survives the end of the process.

use serde_json::json;

use crate::rig::Rig;

#[tokio::test(flavor = "multi_thread")]
async fn acknowledged_traffic_is_there_after_a_restart() {
    let mut rig = Rig::blue_green().await;
    rig.cutover("green").await;
    rig.change("PUT", "/v1/services/shop/weights", json!({ "blue": 20, "green": 80 })).await;
    rig.restart().await;
    let shop = rig.shop().await;
    assert_eq!(shop["live"]["weights"], json!({ "blue": 20, "green": 80 }));
    assert_eq!(shop["revision"], 3, "an unchanged file makes no revision");
    let (_, revisions) = rig.admin("GET", "/v1/revisions", None).await;
    let numbers: Vec<_> =
        revisions.as_array().unwrap().iter().map(|e| e["revision"].clone()).collect();
    assert_eq!(numbers, [3, 2, 1]);
    rig.change("POST", "/v1/services/shop/rollback", json!({ "to": 1 })).await;
    assert_eq!(rig.get("/").await.text(), "blue");
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_was_edited_while_down_is_the_newer_intention() {
    let mut rig = Rig::blue_green().await;
    rig.cutover("green").await;
    rig.stop().await;
    rig.edit(|text| text.replace("blue = 100, green = 0", "blue = 3, green = 1"));
    rig.restart().await;
    let shop = rig.shop().await;
    assert_eq!(shop["live"]["weights"], json!({ "blue": 3, "green": 1 }));
    assert_eq!(shop["revision"], 3);
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_journal_is_refused_aloud() {
    let mut rig = Rig::blue_green().await;
    rig.cutover("green").await;
    rig.stop().await;
    let journal = rig.place.path().join("state/revisions.journal");
    let mut bytes = std::fs::read(&journal).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&journal, bytes).unwrap();
    let started = tidegate::app::App::start(&rig.config(), |_| None).await;
    let error = started.err().map(|error| error.to_string()).expect("a refusal");
    assert!(error.contains("revisions.journal"), "{error}");
}
