//! A control plane without a data plane, and calls to its API.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request};
use http_body_util::BodyExt;
use serde_json::Value;
use tokio::sync::watch;
use tower::ServiceExt;

use crate::admin::{AdminState, router};
use crate::clock;
use crate::config::{self, Config};
use crate::control::Control;
use crate::name::{ServiceName, VersionName};
use crate::operations::reload::ReloadError;
use crate::phase::Phase;
use crate::proxy::worker::Shared;
use crate::revision::Entry;
use crate::revision::change::changes;
use crate::revision::history::History;
use crate::revision::journal::Journal;
use crate::revision::store::{Revision, RevisionStore};
use crate::shadow::ShadowHub;
use crate::snapshot::Snapshot;
use crate::telemetry::collector::Telemetry;
use crate::telemetry::metrics::DURATION_BOUNDS;
use crate::traffic::{Traffic, TrafficMap};
use crate::upstream::Registry;
use crate::upstream::endpoint::Status;

/// Two services: `shop` is sticky and on blue; `plain` is not sticky and split.
const CONFIG: &str = r#"
[[listener]]
name = "web"
address = "127.0.0.1:8080"

[service.shop]
weights = { blue = 100, green = 0 }
sticky = { cookie = "tg_shop" }

[service.shop.version.blue]
endpoints = ["127.0.0.1:9001"]

[service.shop.version.green]
endpoints = ["127.0.0.1:9002", "127.0.0.1:9003"]

[[service.shop.pin]]
headers = { x-canary = "true" }
version = "green"

[service.plain]
weights = { a = 3, b = 1 }

[service.plain.version.a]
endpoints = ["127.0.0.1:9004"]

[service.plain.version.b]
endpoints = ["127.0.0.1:9005"]
health = { path = "/ready" }

[[route]]
name = "plain"
path = "/plain"
service = "plain"
strip_prefix = true

[[route]]
name = "old"
path = "/old"
redirect = { path = "/new", status = 308 }

[[route]]
name = "shop"
hosts = ["shop.example.com"]
service = "shop"
"#;

/// A running API.
pub struct Rig {
    pub control: Arc<Control>,
    pub phase: watch::Sender<Phase>,
    router: Router,
    _dir: tempfile::TempDir,
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub text: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or(Value::Null)
    }

    #[track_caller]
    pub fn expect(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text);
        if status >= 400 {
            assert_eq!(self.headers["content-type"], "application/problem+json");
            assert_eq!(self.json()["status"], status);
        }
        self.json()
    }
}

impl Rig {
    pub fn start() -> Self {
        Self::with("")
    }

    /// With more in its configuration.
    pub fn with(more: &str) -> Self {
        let parsed =
            config::parse(&format!("{CONFIG}\n{more}"), Path::new("tidegate.toml"), &|_| None);
        let config = Arc::new(parsed.map_err(|report| report.to_string()).unwrap().config);
        let dir = tempfile::tempdir().unwrap();
        let registry = Arc::new(Registry::default());
        let (mut journal, _) = Journal::open(dir.path()).unwrap();
        let traffic: TrafficMap = config
            .services
            .iter()
            .map(|(name, plan)| (name.clone(), Arc::new(Traffic::of(plan))))
            .collect();
        let entry = Entry {
            number: 1,
            at: clock::timestamp(),
            author: "start".into(),
            cause: "start".into(),
            reason: None,
            changes: changes(&TrafficMap::new(), &traffic),
            traffic: Arc::new(traffic.clone()),
        };
        journal.append(&entry).unwrap();
        let snapshot = compile(&config, &traffic, &registry);
        let (shadows, _) = ShadowHub::new();
        let shared = Arc::new(Shared {
            store: RevisionStore::new(Revision { number: 1, snapshot }, 0),
            registry,
            duration_bounds: DURATION_BOUNDS.to_vec(),
            access_log: None,
            rate_limits: Default::default(),
            shadows,
            recent: OnceLock::new(),
        });
        let history = History::new(vec![Arc::new(entry)]);
        let admin = config.admin.clone();
        let control = Control::new(shared, Vec::new(), config, traffic, history, journal);
        let control = Arc::new(control);
        let telemetry = Arc::new(Telemetry::new(&DURATION_BOUNDS, clock::now()));
        let (phase, watched) = watch::channel(Phase::Running);
        let refuse = |_| -> futures_util::future::BoxFuture<'static, _> {
            Box::pin(async { Err(ReloadError::Refused("no file here".into())) })
        };
        let state = AdminState::new(
            control.clone(),
            Arc::default(),
            telemetry,
            watched,
            Arc::new(refuse),
            "tidegate.toml".as_ref(),
            &admin,
        )
        .unwrap();
        Self { control, phase, router: router(state), _dir: dir }
    }

    /// Sends a request with more fields than the host.
    pub async fn send(
        &self,
        method: &str,
        path: &str,
        fields: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        let mut request = Request::builder().method(method).uri(path).header("host", "localhost");
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::from(body.to_owned())).unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        Answer { status: parts.status.as_u16(), headers: parts.headers, text }
    }

    /// Sends a request whose answer does not end.
    pub async fn open(&self, request: Request<Body>) -> Body {
        self.router.clone().oneshot(request).await.unwrap().into_body()
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[], "").await
    }

    pub async fn put(&self, path: &str, body: &str) -> Answer {
        self.send("PUT", path, &[], body).await
    }

    pub async fn post(&self, path: &str, body: &str) -> Answer {
        self.send("POST", path, &[], body).await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        self.send("DELETE", path, &[], "").await
    }

    /// The live weights of a service.
    pub async fn weights(&self, service: &str) -> Value {
        self.get(&format!("/v1/services/{service}")).await.expect(200)["live"]["weights"].take()
    }

    /// Makes every endpoint of a version so, as its probes would.
    pub fn set_health(&self, service: &str, version: &str, status: Status) {
        let current = self.control.current();
        let service = current.snapshot.service(&ServiceName::new(service).unwrap()).unwrap();
        let (_, version) = service.version(&VersionName::new(version).unwrap()).unwrap();
        for slot in &version.endpoints {
            slot.endpoint.set_status(status);
        }
    }
}

fn compile(config: &Config, traffic: &TrafficMap, registry: &Registry) -> Snapshot {
    let routes = config.route_table(registry);
    let edge = Arc::new(config.edge.clone());
    Snapshot::compile(routes, &config.services, traffic, edge, registry).unwrap()
}
