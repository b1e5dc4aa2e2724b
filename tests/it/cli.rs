//! The binary as operators and their scripts meet it: output, exit codes, refusals, signals.

use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::rig::{Rig, free_port};

/// Nothing here takes as long; waiting longer is a failure with a name.
const PATIENCE: Duration = Duration::from_secs(20);

/// What a command said.
#[derive(Debug)]
struct Said {
    code: i32,
    out: String,
    err: String,
}

impl Said {
    #[track_caller]
    fn expect(self, code: i32, words: &[&str]) -> Self {
        let all = format!("{}{}", self.out, self.err);
        assert_eq!(self.code, code, "{all}");
        words.iter().for_each(|word| assert!(all.contains(word), "`{word}` is not in:\n{all}"));
        self
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {}", self.out))
    }
}

impl From<Output> for Said {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        let code = output.status.code().unwrap_or(-1);
        Self { code, out: text(output.stdout), err: text(output.stderr) }
    }
}

fn program(admin: &str, line: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    command.args(line.split_whitespace());
    command.env("TIDEGATE_ADMIN", admin).env_remove("TIDEGATE_TOKEN");
    command
}

fn run(admin: &str, line: &str) -> Said {
    program(admin, line).output().unwrap().into()
}

impl Rig {
    /// Runs a command against this proxy, from a thread that may wait.
    async fn cli(&self, line: &str) -> Said {
        let (admin, line) = (format!("http://{}", self.admin), line.to_owned());
        tokio::task::spawn_blocking(move || run(&admin, &line)).await.unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_changes_traffic_and_takes_it_back() {
    let rig = Rig::blue_green().await;
    let status = rig.cli("status").await.expect(0, &["blue", "100%", "green", "1/1"]);
    assert!(!status.out.contains('\x1b'), "escape codes in a pipe: {:?}", status.out);
    let json = rig.cli("status shop --json").await.expect(0, &[]).json();
    assert_eq!(json["live"]["weights"]["blue"], 100);

    let plan = rig.cli("weights shop blue=90 green=10 --dry-run").await;
    plan.expect(0, &["dry run", "blue=100 green=0 → blue=90 green=10", "10.00%"]);
    assert_eq!(rig.shop().await["live"]["weights"]["blue"], 100);
    rig.cli("weights shop blue=90 green=10 --reason ticket-7").await.expect(0, &["revision 2"]);
    rig.cli("cutover shop green")
        .await
        .expect(0, &["shop is on green", "switched on every worker"]);
    assert_eq!(rig.get("/").await.version(), "green");
    rig.cli("rollback shop").await.expect(0, &["green=100 → blue=90 green=10"]);
    rig.cli("rollback shop --to 1").await.expect(0, &["blue=100"]);
    let revisions = rig.cli("revisions shop").await;
    revisions.expect(0, &["ticket-7", "cutover", "rollback", "start"]);
    let list = rig.cli("revisions --json").await.json();
    assert_eq!(list[0]["revision"], 5);
    assert_eq!(list[0]["author"], "api");
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_makes_no_sense_is_refused_in_words_and_changes_nothing() {
    let rig = Rig::blue_green().await;
    let before = rig.shop().await["revision"].clone();
    let cases = [
        ("weights shop purple=1", 1, "it has blue, green"),
        ("weights shop blue=-1", 2, "VERSION=NUMBER"),
        ("weights shop blue=99999999999", 2, "is no weight"),
        ("weights shop blue=1000001", 1, "1000000"),
        ("weights shop blue", 2, "VERSION=NUMBER"),
        ("weights shop", 2, "VERSION=WEIGHT"),
        ("cutover shop nowhere", 1, "it has blue, green"),
        ("cutover nope blue", 1, "there are: shop"),
        ("rollback shop --to 99", 1, "not in the history"),
        ("drain shop blue 127.0.0.1:1", 1, "no endpoint"),
        ("shadow shop green --percent 200", 1, "percent"),
        ("frobnicate", 2, "unrecognized subcommand"),
    ];
    for (line, code, word) in cases {
        rig.cli(line).await.expect(code, &[word]);
    }
    assert_eq!(rig.shop().await["revision"], before);
    rig.finish().await;
    let nobody = free_port();
    run(&format!("http://{nobody}"), "status").expect(2, &[&nobody.to_string(), "--admin"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_other_verb_does_what_it_says() {
    let rig = Rig::blue_green().await;
    rig.cli("hold shop --max-wait 5s").await.expect(0, &["shop is held"]);
    rig.cli("release shop").await.expect(0, &["shop is released"]);
    rig.cli("drain shop green").await.expect(0, &["draining green"]);
    rig.cli("undrain shop green").await.expect(0, &["no longer draining green"]);
    rig.cli("shadow shop green --percent 50").await.expect(0, &["mirrored to green"]);
    rig.cli("diffs shop").await.expect(0, &["0 compared"]);
    rig.cli("diffs shop --max-mismatch 1%").await.expect(1, &["too few comparisons"]);
    rig.cli("shadow shop off").await.expect(0, &["no shadow"]);
    let third = rig.version("green").address;
    let deploy = rig.cli(&format!("deploy shop v3 --endpoint {third} --cutover")).await;
    deploy.expect(0, &["v3 of shop is deployed", "v3=100"]);
    rig.cli("explain GET http://a/x").await.expect(0, &["route", "v3"]);
    rig.cli("weights shop blue=70 green=30").await.expect(0, &[]);
    rig.cli("explain GET http://a/x").await.expect(0, &["70.00 %"]);
    rig.cli("reload").await.expect(0, &["unchanged"]);
    rig.cli("ready").await.expect(0, &[]);
    rig.edit(|text| text.replacen("weights", "# mine\nweights", 1));
    rig.cli("export").await.expect(0, &["# mine", "blue = 70, green = 30", &third.to_string()]);
    rig.cli("export --write").await.expect(0, &["traffic of shop written"]);
    let written = std::fs::read_to_string(rig.config()).unwrap();
    assert!(written.contains("# mine") && written.contains("blue = 70"), "{written}");
    rig.until("the file and the traffic agree", || async { rig.shop().await["drift"] == false })
        .await;
    rig.finish().await;
}

#[test]
fn every_verb_explains_itself() {
    let help = run("", "help").expect(0, &["run", "cutover"]).out;
    let verbs = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let verbs: Vec<_> = verbs
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.strip_prefix("  ")?.split_whitespace().next())
        .filter(|word| *word != "help" && help.contains(&format!("\n  {word} ")))
        .collect();
    assert!(verbs.len() > 15, "{verbs:?}");
    for verb in verbs {
        run("", &format!("{verb} --help")).expect(0, &["Usage: tidegate"]);
    }
}

/// A configuration with its own ports in a folder of its own.
fn place(rest: &str) -> (tempfile::TempDir, String) {
    let place = tempfile::tempdir().unwrap();
    let (web, admin) = (free_port(), free_port());
    let text = format!(
        "[[listener]]\nname = \"web\"\naddress = \"{web}\"\n{rest}\n[admin]\naddress = \"{admin}\"\n\
         [service.shop.version.blue]\nendpoints = [\"127.0.0.1:1\"]\n[[route]]\nservice = \"shop\"\n"
    );
    std::fs::write(place.path().join("tidegate.toml"), text).unwrap();
    (place, format!("http://{admin}"))
}

fn run_in(place: &Path) -> Said {
    let config = place.join("tidegate.toml").display().to_string();
    run("", &format!("run -c {config}"))
}

#[test]
fn an_invalid_file_is_shown_with_its_place_and_a_remedy() {
    let (place, _) = place("limits = { header_timout = \"10s\" }");
    let config = place.path().join("tidegate.toml").display().to_string();
    let words = ["header_timout", "^", "header_timeout", "tidegate.toml:4"];
    run("", &format!("check -c {config}")).expect(1, &words);
    run_in(place.path()).expect(1, &words);
    run("", "check -c /nowhere/at/all.toml").expect(1, &["/nowhere/at/all.toml"]);
}

#[test]
fn what_keeps_it_from_starting_is_named() {
    let (busy, _) = place("");
    let text = std::fs::read_to_string(busy.path().join("tidegate.toml")).unwrap();
    let web = text.split('"').nth(3).unwrap();
    let taken = std::net::TcpListener::bind(web).unwrap();
    run_in(busy.path()).expect(1, &[web, "another process"]);
    drop(taken);

    let (bad_cert, _) = place("tls = { cert = \"no.pem\", key = \"no.key\" }");
    run_in(bad_cert.path()).expect(1, &["no.pem"]);
    std::fs::write(bad_cert.path().join("no.pem"), "nothing").unwrap();
    std::fs::write(bad_cert.path().join("no.key"), "nothing").unwrap();
    run_in(bad_cert.path()).expect(1, &["no.pem", "certificate"]);

    // What stands in the way is a file: that also stops a user whom no permission stops.
    let (no_state, _) = place("");
    std::fs::write(no_state.path().join("state"), "in the way").unwrap();
    run_in(no_state.path()).expect(1, &["state"]);
}

#[test]
fn a_damaged_history_is_refused_by_name_and_left_as_it_is() {
    let (place, admin) = place("");
    let mut proxy = Running::start(place.path(), &admin);
    run(&admin, "drain shop blue").expect(0, &["revision 2"]);
    run(&admin, "undrain shop blue").expect(0, &["revision 3"]);
    proxy.signal("-KILL");
    proxy.end();
    let state = place.path().join("state");
    let journal = std::fs::read_dir(&state).unwrap().map(|entry| entry.unwrap().path());
    let journal = journal.max_by_key(|path| path.metadata().unwrap().len()).unwrap();
    let mut bytes = std::fs::read(&journal).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&journal, &bytes).unwrap();
    run_in(place.path()).expect(1, &[&journal.display().to_string(), "damaged"]);
    assert_eq!(std::fs::read(&journal).unwrap(), bytes);
}

/// A running proxy that does not outlive the test.
struct Running(Child);

impl Running {
    fn start(place: &Path, admin: &str) -> Self {
        let config = place.join("tidegate.toml").display().to_string();
        let mut command = program(admin, &format!("run -c {config}"));
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let running = Self(child);
        let begun = Instant::now();
        while run(admin, "ready").code != 0 {
            assert!(begun.elapsed() < PATIENCE, "it did not become ready");
        }
        running
    }

    fn signal(&self, name: &str) {
        let id = self.0.id().to_string();
        assert!(Command::new("kill").args([name, &id]).status().unwrap().success());
    }

    fn end(&mut self) -> Option<i32> {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.0.try_wait().unwrap() {
                return status.code();
            }
            assert!(begun.elapsed() < PATIENCE, "it did not end");
            std::thread::yield_now();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn signals_end_it_as_operators_expect() {
    for signal in ["-TERM", "-INT"] {
        let (place, admin) = place("");
        let mut proxy = Running::start(place.path(), &admin);
        proxy.signal(signal);
        assert_eq!(proxy.end(), Some(0), "{signal}");
    }
}

#[test]
fn what_is_in_flight_is_waited_for_but_not_past_the_grace_or_a_second_signal() {
    for (grace, signals) in [("100ms", 1), ("1h", 2)] {
        let upstream = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let (place, admin) = place(&format!("[server]\nshutdown_grace = \"{grace}\"\n"));
        let config = place.path().join("tidegate.toml");
        let text = std::fs::read_to_string(&config).unwrap();
        let address = upstream.local_addr().unwrap().to_string();
        std::fs::write(&config, text.replace("127.0.0.1:1\"", &format!("{address}\""))).unwrap();
        let mut proxy = Running::start(place.path(), &admin);
        let mut client = std::net::TcpStream::connect(text.split('"').nth(3).unwrap()).unwrap();
        client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        // The request has come to its version, which never answers.
        let (mut served, _) = upstream.accept().unwrap();
        served.read_exact(&mut [0; 16]).unwrap();
        proxy.signal("-TERM");
        let begun = Instant::now();
        while signals == 2 && run(&admin, "ready").code != 1 {
            assert!(begun.elapsed() < PATIENCE, "it does not say that it drains");
        }
        (1..signals).for_each(|_| proxy.signal("-TERM"));
        assert_eq!(proxy.end(), Some(1), "{grace}");
    }
}

#[test]
fn a_hangup_rereads_the_file_and_history_is_readable_without_a_proxy() {
    let (place, admin) = place("");
    let mut proxy = Running::start(place.path(), &admin);
    let before = run(&admin, "revisions --json").json();
    run(&admin, "drain shop blue").expect(0, &["revision 2"]);
    proxy.signal("-HUP");
    run(&admin, "ready").expect(0, &[]);
    proxy.signal("-TERM");
    assert_eq!(proxy.end(), Some(0));
    let state = place.path().join("state").display().to_string();
    let offline = run("", &format!("revisions --state {state} --json")).expect(0, &[]).json();
    assert_eq!(offline[0]["revision"], 2);
    assert_eq!(offline[1]["revision"], before[0]["revision"]);
}
