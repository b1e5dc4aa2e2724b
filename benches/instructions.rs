//! How many instructions the request path takes, against a budget that is part of the repository.
//!
//! `cargo bench --bench instructions` runs itself under callgrind, which counts the same on a busy
//! machine as on a quiet one, and fails when a count leaves its budget by more than the tolerance,
//! above or below: a gain is written down too, or it could be lost again unseen.
//! `UPDATE_BUDGET=1` writes `benches/budget.toml` anew.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::hint::black_box;
use std::net::IpAddr;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tidegate::config;
use tidegate::h1::head::{HeadLimits, Method, RequestHead, ResponseHead};
use tidegate::h1::write;
use tidegate::proxy::record::{AccessLog, Closing, Lines, Opening};
use tidegate::proxy::{Arrival, choose_by, client_of, upstream_head};
use tidegate::route::Action;
use tidegate::route::matcher::RequestView;
use tidegate::snapshot::Snapshot;
use tidegate::upstream::Registry;
use tidegate::upstream::endpoint::Status;

const BUDGET: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/budget.toml");
/// Runs before counting begins and runs that are counted: what is made once drops out.
const RUNS: [u64; 2] = [200, 1_200];
const LIMITS: HeadLimits = HeadLimits { bytes: 65_536, fields: 100, target: 8192 };
const PEER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 7));

/// The least a client sends.
const SMALL: &str = "GET /api/items HTTP/1.1\r\nHost: shop.example.com\r\n\r\n";

/// What a browser sends.
const BROWSER: &str = "GET /api/items?page=2&sort=price HTTP/1.1\r\nHost: shop.example.com\r\n\
    Connection: keep-alive\r\nCache-Control: max-age=0\r\nUpgrade-Insecure-Requests: 1\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n\
    Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n\
    Accept-Language: en-GB,en;q=0.5\r\nAccept-Encoding: gzip, deflate, br, zstd\r\n\
    Referer: https://shop.example.com/api/items\r\nSec-Fetch-Dest: document\r\n\
    Sec-Fetch-Mode: navigate\r\nSec-Fetch-Site: same-origin\r\n\
    Cookie: tidegate_shop=0af7651916cd43dd8448eb211c80319c; basket=7; theme=dark\r\n\r\n";

/// What a small service answers.
const ANSWER: &str = "HTTP/1.1 200 OK\r\nServer: shop/1.0\r\n\
    Content-Type: text/plain; charset=utf-8\r\nContent-Length: 1024\r\n\
    Cache-Control: private, max-age=0\r\nETag: \"5f3c-61a7\"\r\n\
    Date: Tue, 15 Nov 1994 08:12:31 GMT\r\n\r\n";

/// What another one answers.
const OTHER_ANSWER: &str = "HTTP/1.1 200 OK\r\nDate: Tue, 15 Nov 1994 08:12:31 GMT\r\n\
    Server: cart/2.0\r\nContent-Type: application/json\r\nContent-Length: 512\r\n\
    Vary: Accept\r\nETag: \"61a7-5f3c\"\r\n\r\n";

/// What is counted, by name. Heads that are like the one before are read for less: `others` are not.
const CASES: [(&str, Case); 7] = [
    ("request_small_one_route", Case::Request { texts: &[SMALL], routes: 1, sticky: false }),
    ("request_browser_one_route", Case::Request { texts: &[BROWSER], routes: 1, sticky: false }),
    (
        "request_browser_sticky_1000_routes",
        Case::Request { texts: &[BROWSER], routes: 1000, sticky: true },
    ),
    ("request_others", Case::Request { texts: &[SMALL, BROWSER], routes: 1, sticky: false }),
    ("answer_head", Case::Answer { texts: &[ANSWER] }),
    ("answer_head_others", Case::Answer { texts: &[ANSWER, OTHER_ANSWER] }),
    ("access_record", Case::Record),
];

#[derive(Clone, Copy)]
enum Case {
    /// Read the heads in turn, find the route, assign a version, write the head that goes up.
    Request { texts: &'static [&'static str], routes: usize, sticky: bool },
    /// Read the heads in turn, write the head that goes down.
    Answer { texts: &'static [&'static str] },
    /// Write a line of the access log.
    Record,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [mode, name, times] = arguments.as_slice()
        && mode == "--count"
    {
        let case = CASES.iter().find(|(other, _)| other == name).expect("a case of that name");
        case.1.run(times.parse().expect("a number of runs"));
        return ExitCode::SUCCESS;
    }
    if !arguments.iter().any(|argument| argument == "--bench") {
        // `cargo test`: whether everything runs.
        CASES.iter().for_each(|(_, case)| case.run(1));
        return ExitCode::SUCCESS;
    }
    if Command::new("valgrind").arg("--version").stdout(Stdio::null()).status().is_err() {
        println!("instructions: SKIPPED, valgrind is not installed");
        return ExitCode::SUCCESS;
    }
    let counts: BTreeMap<&str, u64> = CASES.iter().map(|(name, _)| (*name, count(name))).collect();
    if std::env::var_os("UPDATE_BUDGET").is_some() {
        write_budget(&counts);
    }
    compare(&counts)
}

impl Case {
    fn run(self, times: u64) {
        match self {
            Case::Request { texts, routes, sticky } => run_request(texts, routes, sticky, times),
            Case::Answer { texts } => run_answer(texts, times),
            Case::Record => run_record(times),
        }
    }
}

fn run_request(texts: &[&str], routes: usize, sticky: bool, times: u64) {
    let (snapshot, _registry) = snapshot(routes, sticky);
    let random = || 0x9E37_79B9_7F4A_7C15;
    let arrival = Arrival {
        client_cert: None,
        edge: &snapshot.edge,
        peer: PEER,
        scheme: "https",
        request_id: b"01890a5d-ac96-774b-bcce-b302099a8057",
        random: &random,
    };
    let (mut head, mut out) = (RequestHead::new(), Vec::with_capacity(2048));
    for (text, _) in texts.iter().cycle().zip(0..times) {
        let parsed = head.parse(black_box(text.as_bytes()), &LIMITS);
        assert!(matches!(parsed, Ok(Some(_))));
        let view = RequestView::from(&head);
        let found = snapshot.routes.find(&view).expect("the route");
        let Action::Forward { index, .. } = &found.route.action else { unreachable!() };
        let client = client_of(&snapshot.edge, PEER, &head.fields);
        let choice = choose_by(&random, &snapshot.services[*index], &view, client, None);
        assert!(black_box(choice).is_ok_and(|choice| choice.usable));
        out.clear();
        upstream_head(&mut out, arrival, &head, &found, head.framing);
        black_box(&out);
    }
}

/// A shop with two versions and healthy endpoints; its last route takes the requests.
fn snapshot(routes: usize, sticky: bool) -> (Snapshot, Registry) {
    let mut text = "[[listener]]\naddress = \"127.0.0.1:8080\"\n\n[service.shop]\n\
        weights = { blue = 90, green = 10 }\n"
        .to_owned();
    if sticky {
        text.push_str("sticky = { cookie = \"tidegate_shop\" }\n");
    }
    for (version, port) in [("blue", 9001), ("green", 9002)] {
        // Writing into a string cannot fail.
        let _ = writeln!(text, "version.{version}.endpoints = [\"127.0.0.1:{port}\"]");
    }
    for number in 1..routes {
        let _ = writeln!(text, "[[route]]\npath = \"/api/things{number}\"\nservice = \"shop\"");
    }
    text.push_str(
        "[[route]]\nhosts = [\"shop.example.com\"]\npath = \"/api\"\nservice = \"shop\"\n",
    );
    let parsed = config::parse(&text, Path::new("bench.toml"), &|_| None);
    let config = parsed.unwrap_or_else(|report| panic!("{report}")).config;
    let registry = Registry::default();
    let (table, edge) = (config.route_table(&registry), Arc::new(config.edge.clone()));
    let snapshot = Snapshot::compile(table, &config.services, &BTreeMap::new(), edge, &registry);
    for endpoint in registry.living() {
        endpoint.set_status(Status::Healthy);
    }
    (snapshot.expect("a snapshot"), registry)
}

fn run_answer(texts: &[&str], times: u64) {
    let (mut head, mut out) = (ResponseHead::new(), Vec::with_capacity(2048));
    for (text, _) in texts.iter().cycle().zip(0..times) {
        let parsed = head.parse(black_box(text.as_bytes()), Method::Get, &LIMITS);
        assert!(matches!(parsed, Ok(Some(_))));
        out.clear();
        write::status_line(&mut out, head.status);
        head.fields.write(&mut out, |field| !field.hop);
        write::framing(&mut out, head.framing);
        write::end(&mut out);
        black_box(&out);
    }
}

fn run_record(times: u64) {
    let log = AccessLog::start(true, std::io::sink()).expect("a thread");
    let mut lines = Lines::default();
    let arrived = Instant::now();
    for _ in 0..times {
        let line = lines.begin(
            log.json,
            &Opening {
                arrived: black_box(arrived),
                request_id: "01890a5d-ac96-774b-bcce-b302099a8057",
                client: PEER,
                method: "GET",
                host: "shop.example.com",
                path: "/api/items",
                protocol: "HTTP/1.1",
            },
        );
        let closing = Closing {
            status: 200,
            bytes_in: 0,
            bytes_out: 1210,
            duration: Duration::from_micros(631),
            upstream: Some(Duration::from_micros(610)),
            listener: "web",
            route: Some("shop-example-com-api"),
            service: Some("shop"),
            version: Some("blue"),
            endpoint: Some("127.0.0.1:9001"),
            assigned_by: Some("weight"),
            exposure: Some("blue"),
            revision: 12,
            attempts: 1,
            reason: None,
            grpc_status: None,
        };
        lines.end(&log, line, black_box(&closing));
    }
}

/// Instructions of one run.
fn count(name: &str) -> u64 {
    let [before, all] = RUNS.map(|times| collected(name, times));
    (all - before) / (RUNS[1] - RUNS[0])
}

/// Instructions of a process that runs a case so many times.
fn collected(name: &str, times: u64) -> u64 {
    let program = std::env::current_exe().expect("the path of this program");
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(program)
        .args(["--count", name, &times.to_string()])
        .output()
        .expect("valgrind runs");
    let text = String::from_utf8_lossy(&output.stderr);
    let line = text.lines().find_map(|line| line.split("Collected :").nth(1));
    let collected =
        line.and_then(|rest| rest.trim().parse().ok()).filter(|_| output.status.success());
    collected.unwrap_or_else(|| panic!("callgrind did not count {name}:\n{text}"))
}

fn compiler() -> String {
    let output = Command::new("rustc").arg("--version").output().expect("rustc runs");
    let text = String::from_utf8_lossy(&output.stdout);
    text.split_whitespace().nth(1).unwrap_or("unknown").to_owned()
}

fn write_budget(counts: &BTreeMap<&str, u64>) {
    let mut text = format!(
        "# Instructions of the request path: see instructions.rs. Written by\n\
         # UPDATE_BUDGET=1 cargo bench --bench instructions\n\
         compiler = \"{}\"\ntolerance = 0.03\n\n[instructions]\n",
        compiler()
    );
    for (name, count) in counts {
        let _ = writeln!(text, "{name} = {count}");
    }
    std::fs::write(BUDGET, text).expect("the budget can be written");
}

fn compare(counts: &BTreeMap<&str, u64>) -> ExitCode {
    let text = std::fs::read_to_string(BUDGET).expect("benches/budget.toml");
    let budget: toml::Table = text.parse().expect("TOML");
    let tolerance = budget["tolerance"].as_float().expect("a tolerance");
    let mut within = true;
    for (name, count) in counts {
        let planned = budget["instructions"].get(name).and_then(toml::Value::as_integer);
        let Some(planned) = planned else {
            println!("{name}: {count} instructions, no budget");
            within = false;
            continue;
        };
        let change = *count as f64 / planned as f64 - 1.0;
        let mark = if change.abs() <= tolerance { "ok" } else { "OUTSIDE" };
        within &= change.abs() <= tolerance;
        println!("{name}: {count} instructions, budget {planned}, {:+.1} % {mark}", change * 100.0);
    }
    let planned_with = budget["compiler"].as_str().unwrap_or("unknown");
    if planned_with != compiler() {
        println!("not judged: the budget is that of compiler {planned_with}");
        return ExitCode::SUCCESS;
    }
    if !within {
        println!(
            "a count left its budget: make it faster again, or write it down with \
             UPDATE_BUDGET=1 cargo bench --bench instructions"
        );
    }
    ExitCode::from(u8::from(!within))
}
