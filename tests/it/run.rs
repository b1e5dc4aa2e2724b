//! The program as an operator's process: how it starts, why it does not, and how it ends.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;

use rustix::process::Signal;
use tokio::sync::Notify;

use crate::rig::binary::{Process, tidegate};
use crate::rig::{Client, Version, free_port, patiently, says};

/// A proxy of its own process, with one version behind it.
struct Place {
    folder: tempfile::TempDir,
    web: SocketAddr,
    admin: SocketAddr,
}

impl Place {
    /// Writes a configuration.
    fn new(version: &Version) -> Self {
        let (folder, web, admin) = (tempfile::tempdir().unwrap(), free_port(), free_port());
        let text = format!(
            "[server]\nworkers = 1\n[admin]\naddress = \"{admin}\"\n[log]\nformat = \"text\"\n\
             [[listener]]\nname = \"web\"\naddress = \"{web}\"\n\
             [service.shop.version.blue]\nendpoints = [\"{}\"]\n[[route]]\nservice = \"shop\"\n",
            version.address
        );
        std::fs::write(folder.path().join("tidegate.toml"), text).unwrap();
        Self { folder, web, admin }
    }

    fn file(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    fn edit(&self, from: &str, to: &str) {
        let text = std::fs::read_to_string(self.file("tidegate.toml")).unwrap();
        assert!(text.contains(from), "{text}");
        std::fs::write(self.file("tidegate.toml"), text.replace(from, to)).unwrap();
    }

    fn spawn(&self) -> Process {
        Process::start(&["run", "-c", &self.file("tidegate.toml")], &[])
    }

    /// Starts it and waits until it is ready.
    async fn ready(&self) -> Process {
        let process = self.spawn();
        patiently("it is ready", || self.answers("/health/ready", 200)).await;
        process
    }

    async fn answers(&self, path: &str, status: u16) -> bool {
        let Some(mut admin) = Client::try_connect(self.admin).await else { return false };
        admin.ask("GET", path, "").await.is_some_and(|answer| answer.status == status)
    }

    /// A request that has come to the version and is not answered.
    async fn waiting(&self, version: &Version) -> Client {
        let mut client = Client::connect(self.web).await;
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        patiently("the version has it", || async { version.requests() == 1 }).await;
        client
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_asked_before_a_sigterm_is_answered() {
    let blue = Version::start(says("blue"));
    let place = Place::new(&blue);
    let process = place.ready().await;
    let mut crowd = Vec::new();
    for _ in 0..300 {
        let mut client = Client::connect(place.web).await;
        assert_eq!(client.get("/").await.status, 200);
        crowd.push(client);
    }
    // All of it before the worker can have looked at any, and more than begin in one of its turns.
    process.signal(Signal::STOP);
    for client in &mut crowd {
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    }
    // Some connect only now.
    for _ in 0..100 {
        let mut client = Client::connect(place.web).await;
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        crowd.push(client);
    }
    process.signal(Signal::TERM);
    process.signal(Signal::CONT);
    for (place, client) in crowd.iter_mut().enumerate() {
        let answer = client.try_answer("GET").await;
        assert_eq!(answer.map(|answer| answer.status), Some(200), "client {place}");
    }
    process.ended().await.says(0, &["draining", "drained"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sigterm_finishes_what_is_in_flight() {
    let gate = Arc::new(Notify::new());
    let blue = Version::start(says("blue").behind(&gate));
    let place = Place::new(&blue);
    let process = place.ready().await;
    let mut client = place.waiting(&blue).await;
    process.signal(Signal::TERM);
    patiently("it is draining", || place.answers("/health/ready", 503)).await;
    gate.notify_one();
    assert_eq!(client.answer("GET").await.text(), "blue");
    process.ended().await.says(0, &["tidegate is running", "draining", "drained"]);
    let state = place.file("state");
    tidegate(&["revisions", "--state", &state]).await.says(0, &["start", "shop: new"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_ends_it_at_once() {
    for (first, second) in [(Signal::TERM, Signal::TERM), (Signal::INT, Signal::INT)] {
        let blue = Version::start(says("").silent());
        let place = Place::new(&blue);
        let process = place.ready().await;
        let _client = place.waiting(&blue).await;
        process.signal(first);
        patiently("it is draining", || place.answers("/health/ready", 503)).await;
        process.signal(second);
        process.ended().await.says(1, &["draining"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_grace_is_bounded() {
    let blue = Version::start(says("").silent());
    let place = Place::new(&blue);
    place.edit("workers = 1", "workers = 1\nshutdown_grace = \"50ms\"");
    let process = place.ready().await;
    let _client = place.waiting(&blue).await;
    process.signal(Signal::TERM);
    process.ended().await.says(1, &["cut off at the end of the grace"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sighup_rereads_the_file() {
    let blue = Version::start(says("blue"));
    let place = Place::new(&blue);
    let process = place.ready().await;
    place.edit("[[route]]", "[[route]]\npath = \"/shop\"");
    process.signal(Signal::HUP);
    let status = || async {
        let answer = Client::connect(place.web).await.get("/").await;
        (answer.status == 404, Client::connect(place.web).await.get("/shop").await.status == 200)
    };
    patiently("the route is the new one", || async { status().await == (true, true) }).await;
    process.signal(Signal::TERM);
    process.ended().await.says(0, &["result=\"applied\" revision=2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_fails_names_what_it_needs() {
    let blue = Version::start(says("blue"));
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let tls = "tls = { cert = \"shop.pem\", key = \"shop.key\" }";
    let web = |place: &Place| format!("address = \"{}\"", place.web);
    let write = |place: &Place, name: &str, text: &str| {
        std::fs::write(place.folder.path().join(name), text).unwrap();
    };
    type Break<'a> = &'a dyn Fn(&Place);
    let cases: &[(&str, Break<'_>, &[&str])] = &[
        (
            "listener's port",
            &|p| p.edit(&p.web.to_string(), &taken),
            &["`web`", &taken, "another process"],
        ),
        (
            "admin's port",
            &|p| p.edit(&p.admin.to_string(), &taken),
            &["admin.address", &taken, "another process"],
        ),
        (
            "no certificate",
            &|p| p.edit(&web(p), &format!("{}\n{tls}", web(p))),
            &["shop.pem", "tidegate.toml:"],
        ),
        (
            "a certificate that is none",
            &|p| {
                write(p, "shop.pem", "nonsense");
                write(p, "shop.key", "nonsense");
                p.edit(&web(p), &format!("{}\n{tls}", web(p)));
            },
            &["shop.pem"],
        ),
        (
            "a state directory that cannot be made",
            &|p| {
                write(p, "plain", "");
                p.edit("[log]", "[state]\ndir = \"plain/state\"\n[log]");
            },
            &["plain/state"],
        ),
        (
            "no token file",
            &|p| p.edit("[log]", "token_file = \"tokens\"\n[log]"),
            &["tokens", "tidegate.toml:"],
        ),
        (
            "an unknown key",
            &|p| p.edit("workers", "wrokers"),
            &["wrokers", "workers", "tidegate.toml:2", "^"],
        ),
        ("no TOML", &|p| write(p, "tidegate.toml", "[server"), &["tidegate.toml:1"]),
    ];
    let mut wrong = Vec::new();
    for (what, spoil, words) in cases {
        let place = Place::new(&blue);
        spoil(&place);
        let ended = place.spawn().ended().await;
        let missing = words.iter().any(|word| !ended.err.contains(word));
        if ended.code != Some(1) || missing || ended.err.contains("panicked") {
            wrong.push(format!("{what}: expected 1 and {words:?}\n{ended}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let missing = tidegate(&["run", "-c", "/nowhere.toml"]).await;
    missing.says(1, &["/nowhere.toml"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_share_neither_a_history_nor_a_port() {
    let blue = Version::start(says("blue"));
    let place = Place::new(&blue);
    let process = place.ready().await;
    let other = Place::new(&blue);
    other.edit("[log]", &format!("[state]\ndir = \"{}\"\n[log]", place.file("state")));
    other.spawn().ended().await.says(1, &[&place.file("state")]);
    // Nor do they share a port, which the system would allow them.
    let other = Place::new(&blue);
    other.edit(&other.web.to_string(), &place.web.to_string());
    other.spawn().ended().await.says(1, &[&place.web.to_string(), "another process"]);
    assert!(place.answers("/health/ready", 200).await, "the first goes on");
    process.signal(Signal::INT);
    process.ended().await.says(0, &[]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_history_is_named_and_left_as_it_is() {
    let blue = Version::start(says("blue"));
    let place = Place::new(&blue);
    let process = place.ready().await;
    let admin = format!("http://{}", place.admin);
    for (verb, revision) in [("drain", "revision 2"), ("undrain", "revision 3")] {
        tidegate(&["--admin", &admin, verb, "shop", "blue"]).await.says(0, &[revision]);
    }
    process.signal(Signal::KILL);
    assert_eq!(process.ended().await.code, None);
    let journal = place.folder.path().join("state/revisions.journal");
    let mut bytes = std::fs::read(&journal).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&journal, &bytes).unwrap();
    place.spawn().ended().await.says(1, &["revisions.journal", "damaged"]);
    let state = place.file("state");
    tidegate(&["revisions", "--state", &state]).await.says(2, &["revisions.journal"]);
    assert_eq!(std::fs::read(&journal).unwrap(), bytes, "a repair is the operator's decision");
    let nowhere = place.file("nowhere");
    tidegate(&["revisions", "--state", &nowhere]).await.says(2, &[&nowhere]);
    assert!(!Path::new(&nowhere).exists(), "reading makes nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_access_record_tells_which_version_was_drawn() {
    let blue = Version::start(says("blue"));
    let place = Place::new(&blue);
    place.edit("format = \"text\"", "format = \"json\"\naccess = true");
    place.edit(
        "[service.shop.version.blue]",
        "[[service.shop.pin]]\nheaders = { x-tester = \"1\" }\nversion = \"blue\"\n\
         [service.shop.version.blue]",
    );
    let process = place.ready().await;
    let mut client = Client::connect(place.web).await;
    assert_eq!(client.get("/drawn").await.status, 200);
    client.send(b"GET /pinned HTTP/1.1\r\nHost: a\r\nX-Tester: 1\r\n\r\n").await;
    assert_eq!(client.answer("GET").await.status, 200);
    process.signal(Signal::TERM);
    let ended = process.ended().await;
    let records: Vec<serde_json::Value> =
        ended.out.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let of = |path: &str| {
        let record = records.iter().find(|record| record["path"] == path);
        record.map(|record| (record["exposure"].clone(), record["assigned_by"].clone())).unwrap()
    };
    assert_eq!(of("/drawn"), ("blue".into(), "split".into()), "{ended}");
    assert_eq!(of("/pinned"), (serde_json::Value::Null, "pin".into()), "{ended}");
}
