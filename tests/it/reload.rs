//! File edits while traffic flows.

use serde_json::json;

use tidegate::limits::LARGE_ROUTES;

use crate::rig::{Rig, says};

async fn weights_are(rig: &Rig, blue: u32, green: u32) -> bool {
    rig.shop().await["live"]["weights"] == json!({ "blue": blue, "green": green })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_valid_edit_is_live_and_closes_no_connection() {
    let rig = Rig::blue_green().await;
    let mut client = rig.client().await;
    assert_eq!(client.get("/").await.text(), "blue");
    rig.edit(|text| text.replace("blue = 100, green = 0", "blue = 0, green = 100"));
    rig.until("the edit is live", || weights_are(&rig, 0, 100)).await;
    assert_eq!(client.get("/").await.text(), "green");
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_many_routes_is_edited_like_a_small_one() {
    let routes = |count: usize| -> String {
        let route =
            |n| format!("[[route]]\npath = \"/many/{n}\"\nredirect = {{ path = \"/to/{n}\" }}\n");
        (0..count).map(route).collect()
    };
    let rig = Rig::blue_green().await;
    rig.edit(|text| text + &routes(2 * LARGE_ROUTES));
    rig.until("the routes are live", || async { rig.get("/many/599").await.status == 302 }).await;
    // From here on edits are compiled in the background.
    rig.edit(|text| text.replace("blue = 100, green = 0", "blue = 0, green = 100"));
    rig.until("the edit is live", || weights_are(&rig, 0, 100)).await;
    rig.edit(|text| text.replacen("/many/1\"", "/many\"", 1) + "[[route]]\npath = 7\n");
    let (status, problem) = rig.admin("POST", "/v1/reload", None).await;
    assert_eq!(status, 422, "{problem}");
    assert_eq!(rig.get("/many/1").await.status, 302, "what was refused has changed nothing");
    rig.edit(|text| text[..text.find("[[route]]\npath = \"/many/0\"").unwrap()].to_owned());
    rig.until("the routes are gone", || async { rig.get("/many/599").await.status == 200 }).await;
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_by_rename_is_seen() {
    let rig = Rig::blue_green().await;
    let text = std::fs::read_to_string(rig.config()).unwrap();
    let next = rig.place.path().join("next.tmp");
    std::fs::write(&next, text.replace("blue = 100, green = 0", "blue = 1, green = 1")).unwrap();
    std::fs::rename(&next, rig.config()).unwrap();
    rig.until("the edit is live", || weights_are(&rig, 1, 1)).await;
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_is_swapped_is_seen() {
    use std::os::unix::fs::symlink;
    let rig = Rig::blue_green().await;
    let place = rig.place.path();
    let text = std::fs::read_to_string(rig.config()).unwrap();
    let swap = |folder: &str, text: &str| {
        std::fs::create_dir(place.join(folder)).unwrap();
        std::fs::write(place.join(folder).join("tidegate.toml"), text).unwrap();
        symlink(folder, place.join("..next")).unwrap();
        std::fs::rename(place.join("..next"), place.join("..data")).unwrap();
    };
    // As Kubernetes mounts it: the file is a link through a link, and only the latter is replaced.
    swap("..1", &text);
    symlink("..data/tidegate.toml", place.join("link")).unwrap();
    std::fs::rename(place.join("link"), rig.config()).unwrap();
    for (n, green) in [(2, 1), (3, 7)] {
        let weights = format!("blue = 1, green = {green}");
        swap(&format!("..{n}"), &text.replace("blue = 100, green = 0", &weights));
        std::fs::remove_dir_all(place.join(format!("..{}", n - 1))).unwrap();
        rig.until("the edit is live", || weights_are(&rig, 1, green)).await;
    }
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_is_one_configuration_and_each_of_its_files_is_followed() {
    let rig = Rig::build()
        .version("blue", says("blue"))
        .version("green", says("green"))
        .weights("blue = 100, green = 0")
        .folder()
        .start()
        .await;
    let file = |name: &str| rig.config().join(name);
    let edit = |name: &str, from: &str, to: &str| {
        let text = std::fs::read_to_string(file(name)).unwrap();
        assert!(text.contains(from), "{text}");
        std::fs::write(file(name), text.replace(from, to)).unwrap();
    };
    let status_is = |path: &'static str, status: u16| {
        let rig = &rig;
        move || async move { rig.get(path).await.status == status }
    };
    assert_eq!(rig.get("/").await.text(), "blue");
    edit("base.toml", "blue = 100, green = 0", "blue = 0, green = 5");
    rig.until("one file's edit is live", || weights_are(&rig, 0, 5)).await;
    edit("routes.toml", "name = \"all\"", "name = \"all\"\npath = \"/a\"");
    rig.until("the other's is too", status_is("/b", 404)).await;
    let more = "[[route]]\nname = \"more\"\nservice = \"shop\"\npath = \"/b\"\n";
    std::fs::write(file("more.toml"), more).unwrap();
    rig.until("a file that comes is read", status_is("/b", 200)).await;
    std::fs::write(file("notes.txt"), "not = [toml").unwrap();
    std::fs::remove_file(file("more.toml")).unwrap();
    rig.until("a file that goes is forgotten", status_is("/b", 404)).await;
    assert_eq!(rig.get("/a").await.text(), "green");
    assert_eq!(rig.metric("tidegate_config_valid", &[]).await, 1.0);
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invalid_edit_changes_nothing_and_is_shown_until_mended() {
    let rig = Rig::blue_green().await;
    rig.edit(|text| text.replace("green = 0", "grene = 5"));
    rig.until("the file is seen to be invalid", || async {
        rig.metric("tidegate_config_valid", &[]).await == 0.0
    })
    .await;
    assert_eq!(rig.get("/").await.text(), "blue");
    assert_eq!(rig.shop().await["revision"], 1);
    let (_, health) = rig.admin("GET", "/health/detailed", None).await;
    assert_eq!(
        (&health["status"], &health["config"]["valid"]),
        (&json!("degraded"), &json!(false))
    );
    let (status, problem) = rig.admin("POST", "/v1/reload", None).await;
    assert_eq!(status, 422, "{problem}");
    assert!(problem.to_string().contains("grene"), "{problem}");
    rig.edit(|text| text.replace("grene = 5", "green = 5"));
    rig.until("the mended file is live", || weights_are(&rig, 100, 5)).await;
    assert_eq!(rig.metric("tidegate_config_valid", &[]).await, 1.0);
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn traffic_set_by_api_yields_only_to_an_edit_of_its_own_keys() {
    let rig = Rig::blue_green().await;
    rig.change("PUT", "/v1/services/shop/weights", json!({ "blue": 30, "green": 70 })).await;
    assert_eq!(rig.shop().await["drift"], true);
    rig.edit(|text| text.replace("[[route]]", "[[route]]\nmethods = [\"GET\"]"));
    rig.until("the other edit is live", || async {
        let mut client = rig.client().await;
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n").await;
        client.answer("POST").await.status == 404
    })
    .await;
    assert!(weights_are(&rig, 30, 70).await, "an edit elsewhere keeps live traffic");
    rig.edit(|text| text.replace("blue = 100, green = 0", "blue = 99, green = 1"));
    rig.until("the newer intention wins", || weights_are(&rig, 99, 1)).await;
    assert_eq!(rig.shop().await["drift"], false);
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_that_is_added_serves_and_one_that_goes_refuses() {
    let rig = Rig::build().version("blue", says("blue")).start().await;
    let port = crate::rig::free_port();
    let more = format!("[[listener]]\nname = \"more\"\naddress = \"{port}\"\n");
    rig.edit(|text| format!("{text}{more}"));
    rig.until("the new listener serves", || async {
        tokio::net::TcpStream::connect(port).await.is_ok()
    })
    .await;
    let mut client = crate::rig::Client::connect(port).await;
    assert_eq!(client.get("/").await.text(), "blue");
    rig.edit(|text| text.replace(&more, ""));
    rig.until("the listener is gone", || async {
        tokio::net::TcpStream::connect(port).await.is_err()
    })
    .await;
    assert_eq!(client.get("/").await.text(), "blue", "its connections go on");
    rig.finish().await;
}
