//! One worker, real sockets, and upstreams that do what a case wants of them.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::name::VersionName;
use crate::net;
use crate::plan::{Address, ListenerPlan, Protocol, ServicePlan, ServicePolicy, VersionPlan};
use crate::proxy::listener::ListenerShared;
use crate::proxy::worker::{Command, Shared, WorkerHandle};
use crate::revision::store::{Revision, RevisionStore};
use crate::route::{Action, PathEdit, Route, RouteTable};
use crate::shadow::{ReportView, ShadowHub};
use crate::snapshot::Snapshot;
use crate::traffic::ShadowRule;
use crate::upstream::Registry;
use crate::weight::Weights;

/// Longer than any case takes; a case that hangs fails by it.
const PATIENCE: Duration = Duration::from_secs(20);

/// What an upstream does with each request.
#[derive(Debug, Clone)]
enum Does {
    /// Reads the whole request and answers with this body.
    Answer(&'static str),
    /// Answers with the request's body.
    Echo,
    /// Answers with a body that is never the same.
    Random,
    /// Accepts and neither reads nor answers.
    Hang,
    /// Says these bytes and closes.
    Say(&'static str),
    /// Says these bytes and no more.
    Stall(&'static str),
    /// Answers with a body that never ends.
    Flood,
}

/// Heads and bodies, in the order they came.
type Got = Arc<Mutex<Vec<(String, Vec<u8>)>>>;

/// An upstream that remembers the heads and bodies it got.
#[derive(Debug)]
struct Upstream {
    address: SocketAddr,
    got: Got,
}

impl Upstream {
    async fn start(does: Does) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let got = Arc::new(Mutex::new(Vec::new()));
        let kept = got.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(serve(stream, does.clone(), kept.clone()));
            }
        });
        Self { address, got }
    }

    fn got(&self) -> Vec<(String, Vec<u8>)> {
        self.got.lock().unwrap().clone()
    }
}

async fn serve(mut stream: TcpStream, does: Does, got: Got) {
    if matches!(does, Does::Hang) {
        return std::future::pending().await;
    }
    while let Some((head, body)) = read_message(&mut stream).await {
        got.lock().unwrap().push((head, body.clone()));
        let body = match &does {
            Does::Answer(body) => body.as_bytes().to_vec(),
            Does::Random => fastrand::u64(..).to_string().into_bytes(),
            Does::Say(bytes) => {
                let _ = stream.write_all(bytes.as_bytes()).await;
                return;
            }
            Does::Stall(bytes) => {
                let _ = stream.write_all(bytes.as_bytes()).await;
                return std::future::pending().await;
            }
            Does::Flood => {
                let head = b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n";
                let mut open = stream.write_all(head).await.is_ok();
                while open {
                    open = stream.write_all(&[b'x'; 4096]).await.is_ok();
                }
                return;
            }
            Does::Echo | Does::Hang => body,
        };
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
        let message = [head.into_bytes(), body].concat();
        if stream.write_all(&message).await.is_err() {
            return;
        }
    }
}

/// A message with a length; `None` when the connection ends before or in it.
async fn read_message(stream: &mut (impl AsyncRead + Unpin)) -> Option<(String, Vec<u8>)> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).ok()?.to_ascii_lowercase();
    let length = head.split("content-length: ").nth(1).and_then(|rest| rest.lines().next());
    let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
    stream.read_exact(&mut body).await.ok()?;
    Some((head, body))
}

/// A worker with the service `shop`: blue serves, green is the shadow.
struct Rig {
    shared: Arc<Shared>,
    worker: WorkerHandle,
    address: SocketAddr,
}

impl Rig {
    /// `versions` are blue, green and so on; `edit` changes the rule from the default.
    fn start(versions: &[SocketAddr], edit: impl FnOnce(&mut ShadowRule)) -> Self {
        let names: [VersionName; 3] = ["blue", "green", "red"].map(|name| name.parse().unwrap());
        let plans = names.iter().cloned().zip(versions).map(|(name, address)| {
            let plan = VersionPlan {
                endpoints: vec![Address::parse(&address.to_string()).unwrap()],
                protocol: Protocol::Http1,
                tls: Default::default(),
                health: None,
                outlier: Default::default(),
                bounds: Default::default(),
                proxy_protocol: None,
            };
            (name, Arc::new(plan))
        });
        let mut rule = ShadowRule::to(names[1].clone(), 1_000_000);
        edit(&mut rule);
        let plan = ServicePlan {
            name: "shop".parse().unwrap(),
            weights: Weights::all_to(names[0].clone()),
            shadow: Some(rule),
            sticky: None,
            pins: Vec::new(),
            rollout: None,
            versions: plans.collect(),
            policy: ServicePolicy { timeout: Duration::from_secs(2), ..Default::default() },
        };
        let registry = Arc::new(Registry::default());
        let route = Route {
            id: registry.route(&"all".parse().unwrap()),
            name: "all".parse().unwrap(),
            matches: Default::default(),
            action: Action::Forward { service: plan.name.clone(), index: 0, path: PathEdit::Keep },
            request_fields: Default::default(),
            response_fields: Default::default(),
            rate: None,
        };
        let routes = Arc::new(RouteTable::new(vec![Arc::new(route)]));
        let plans = [(plan.name.clone(), Arc::new(plan))].into();
        let edge = Arc::default();
        let snapshot = Snapshot::compile(routes, &plans, &Default::default(), edge, &registry);
        let (shadows, comparisons) = ShadowHub::new();
        let shared = Arc::new(Shared {
            store: RevisionStore::new(Revision { number: 1, snapshot: snapshot.unwrap() }, 1),
            registry,
            duration_bounds: vec![1.0],
            access_log: None,
            rate_limits: Default::default(),
            shadows,
            recent: OnceLock::new(),
        });
        let comparing = shared.clone();
        tokio::spawn(async move { comparing.shadows.run(comparisons).await });
        let socket = net::bind("127.0.0.1:0".parse().unwrap(), 1).unwrap().remove(0);
        let address = socket.local_addr().unwrap();
        let plan = ListenerPlan {
            name: "main".parse().unwrap(),
            address,
            tls: None,
            proxy_protocol: false,
            h2c: false,
            limits: Default::default(),
        };
        let worker = WorkerHandle::start(shared.clone(), 0).unwrap();
        worker.send(Command::Listen(Some(socket), Arc::new(ListenerShared::new(plan, None))));
        Self { shared, worker, address }
    }

    /// Sends a request and returns the body of its answer; `None` when it breaks off.
    async fn ask(&self, method: &str, body: &[u8]) -> Option<Vec<u8>> {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let head = format!(
            "{method} /cart?id=1 HTTP/1.1\r\nhost: shop.test\r\nx-request-id: r-1\r\n\
             x-tidegate-shadow: true\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let (mut reading, mut writing) = stream.into_split();
        let body = body.to_vec();
        tokio::spawn(async move {
            let _ = writing.write_all(&body).await;
            // Not dropped before the answer: a half-closed client is another case.
            std::future::pending::<()>().await;
            drop(writing);
        });
        let message = tokio::time::timeout(PATIENCE, read_message(&mut reading)).await;
        message.expect("the client waits for the shadow").map(|(_, body)| body)
    }

    /// The report as soon as it has so many requests in it, whatever became of them.
    async fn report(&self, requests: u64) -> ReportView {
        let mut looks = tokio::time::interval(Duration::from_millis(2));
        let waiting = async {
            loop {
                if let Some(report) = self.shared.shadows.report(&"shop".parse().unwrap()) {
                    let summary = &report.summary;
                    let missed = summary.failed + summary.dropped;
                    let skipped = summary.skipped.values().sum::<u64>();
                    if summary.compared + missed + skipped >= requests {
                        return report;
                    }
                }
                looks.tick().await;
            }
        };
        tokio::time::timeout(PATIENCE, waiting).await.expect("copies end")
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.worker.send(Command::Stop);
    }
}

#[tokio::test]
async fn a_copy_is_the_same_request_with_a_mark() {
    let (blue, green) = (Upstream::start(Does::Echo).await, Upstream::start(Does::Echo).await);
    let rig = Rig::start(&[blue.address, green.address], |rule| rule.methods = vec![Method::Put]);
    assert_eq!(rig.ask("PUT", b"two shirts").await.unwrap(), b"two shirts");
    let report = rig.report(1).await;
    assert_eq!((report.summary.matched, report.summary.compared), (1, 1));
    assert_eq!(report.summary.routes[0].route, "all");
    let (original, copy) = (&blue.got()[0], &green.got()[0]);
    assert_eq!(original.1, copy.1);
    assert!(!original.0.contains(super::super::MARK), "a client cannot mark: {}", original.0);
    let unmarked = copy.0.replace("x-tidegate-shadow: true\r\n", "");
    assert_eq!(unmarked, original.0, "the copy has one mark and is else the same");
}

#[tokio::test]
async fn copies_are_no_requests() {
    let (blue, green) = (Upstream::start(Does::Answer("a")), Upstream::start(Does::Answer("b")));
    let (blue, green) = (blue.await, green.await);
    let rig = Rig::start(&[blue.address, green.address], |_| {});
    rig.ask("GET", b"").await.unwrap();
    let report = rig.report(1).await;
    assert_eq!(report.summary.mismatched, 1);
    let samples = rig.shared.shadows.samples(&"shop".parse().unwrap());
    assert_eq!((samples[0].method.as_str(), samples[0].path.as_str()), ("GET", "/cart?id=1"));
    assert_eq!(samples[0].request_id, "r-1");
    let counts = rig.worker.collect().await.unwrap();
    assert_eq!(counts.series.values().map(|series| series.requests.len()).sum::<usize>(), 1);
    assert_eq!(counts.versions.values().map(|version| version.requests).sum::<u64>(), 1);
}

/// The table of harm: whatever the shadow does, the client gets the original's bytes.
#[tokio::test]
async fn a_bad_shadow_hurts_nobody() {
    let cases = [
        ("broken", Does::Say("")),
        ("broken", Does::Say("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf")),
        ("malformed", Does::Say("rubbish\r\n\r\n")),
        ("malformed", Does::Say("HTTP/1.1 101 x\r\nupgrade: websocket\r\n\r\n")),
        ("timeout", Does::Hang),
        ("timeout", Does::Stall("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf")),
        ("timeout", Does::Stall("HTTP/1.1 103 Early Hints\r\n\r\n")),
    ];
    for (word, does) in cases {
        let blue = Upstream::start(Does::Answer("from blue")).await;
        let green = Upstream::start(does.clone()).await;
        let rig = Rig::start(&[blue.address, green.address], |_| {});
        assert_eq!(rig.ask("GET", b"").await.unwrap(), b"from blue", "{does:?}");
        let report = rig.report(1).await;
        assert_eq!(report.misses, [(word, 1)].into(), "{does:?}");
        assert_eq!(report.summary.failed, 1, "{does:?}");
        assert_eq!(rig.ask("GET", b"").await.unwrap(), b"from blue", "{does:?}");
    }
}

#[tokio::test]
async fn a_shadow_that_is_not_there_is_counted_as_failed() {
    let blue = Upstream::start(Does::Answer("from blue")).await;
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nobody = closed.local_addr().unwrap();
    drop(closed);
    let rig = Rig::start(&[blue.address, nobody], |_| {});
    for asked in 1..=8 {
        assert_eq!(rig.ask("GET", b"").await.unwrap(), b"from blue");
        let report = rig.report(asked).await;
        assert_eq!(report.misses, [("unreachable", asked)].into(), "and it is never ejected");
    }
}

#[tokio::test]
async fn an_answer_without_end_is_left() {
    let blue = Upstream::start(Does::Answer("from blue")).await;
    let green = Upstream::start(Does::Flood).await;
    let rig = Rig::start(&[blue.address, green.address], |_| {});
    assert_eq!(rig.ask("GET", b"").await.unwrap(), b"from blue");
    let report = rig.report(1).await;
    assert_eq!(report.summary.failed, 0);
    assert_eq!(report.summary.skipped, [("body_too_big", 1)].into());
}

#[tokio::test]
async fn the_original_does_not_wait_for_a_shadow_that_reads_nothing() {
    let (blue, green) = (Upstream::start(Does::Echo).await, Upstream::start(Does::Hang).await);
    let rig = Rig::start(&[blue.address, green.address], |rule| rule.methods = vec![Method::Post]);
    let body: Vec<u8> = (0..24 * 1024 * 1024).map(|n: u32| (n >> 8) as u8).collect();
    assert!(rig.ask("POST", &body).await.unwrap() == body, "the original has every byte");
    let report = rig.report(1).await;
    assert_eq!(report.misses, [("tee_overflow", 1)].into());
    assert_eq!(report.summary.dropped, 1);
}

#[tokio::test]
async fn no_more_copies_are_in_flight_than_allowed() {
    let blue = Upstream::start(Does::Answer("from blue")).await;
    let green = Upstream::start(Does::Hang).await;
    let rig = Rig::start(&[blue.address, green.address], |rule| rule.max_in_flight = 2);
    for _ in 0..5 {
        assert_eq!(rig.ask("GET", b"").await.unwrap(), b"from blue");
    }
    let report = rig.report(5).await;
    assert_eq!(report.misses, [("max_in_flight", 3), ("timeout", 2)].into());
    assert_eq!(rig.ask("GET", b"").await.unwrap(), b"from blue");
    assert_eq!(rig.report(6).await.misses["timeout"], 3, "permits come back");
}

#[tokio::test]
async fn an_original_that_breaks_off_is_not_compared() {
    let half = Does::Say("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf");
    let (blue, green) = (Upstream::start(half).await, Upstream::start(Does::Hang).await);
    let rig = Rig::start(&[blue.address, green.address], |_| {});
    assert_eq!(rig.ask("GET", b"").await, None);
    let report = rig.report(1).await;
    assert_eq!(report.summary.skipped, [("primary_incomplete", 1)].into());
}

#[tokio::test]
async fn what_is_not_copied_is_counted_by_its_reason() {
    let (blue, green) = (Upstream::start(Does::Echo).await, Upstream::start(Does::Echo).await);
    let versions = [blue.address, green.address];
    let rig = Rig::start(&versions, |_| {});
    rig.ask("POST", b"once").await.unwrap();
    assert_eq!(rig.report(1).await.summary.skipped, [("method", 1)].into());
    let own = Rig::start(&versions, |rule| rule.version = "blue".parse().unwrap());
    own.ask("GET", b"").await.unwrap();
    assert_eq!(own.report(1).await.summary.skipped, [("same_version", 1)].into());
    assert!(green.got().is_empty());
}

#[tokio::test]
async fn a_secondary_shows_what_is_noise() {
    let (blue, green) = (Upstream::start(Does::Random).await, Upstream::start(Does::Random).await);
    let red = Upstream::start(Does::Random).await;
    let versions = [blue.address, green.address, red.address];
    let rig = Rig::start(&versions, |rule| {
        rule.secondary = Some("red".parse().unwrap());
    });
    for _ in 0..3 {
        rig.ask("GET", b"").await.unwrap();
    }
    let report = rig.report(3).await;
    assert_eq!((report.summary.matched, report.summary.noise_rate), (3, Some(1.0)));
    assert_eq!(red.got().len(), 3);
    assert!(red.got().iter().all(|(head, _)| head.contains(super::super::MARK)));
}
