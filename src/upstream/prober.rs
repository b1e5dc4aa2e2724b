//! Active health checks, on the control plane. Standby versions are checked too.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::Endpoint;
use super::endpoint::Status;
use crate::limits::PROBE_BODY_BYTES_MAX;
use crate::name::{ServiceName, VersionName};
use crate::net;
use crate::plan::HealthPlan;
use crate::snapshot::Snapshot;

/// How soon a name that had no address is looked at again: nobody can say yet how it does.
const UNRESOLVED: Duration = Duration::from_millis(20);
/// How soon a new endpoint is looked at again: it should be live at once.
const ADDING: Duration = Duration::from_millis(200);

/// Hears of an endpoint whose status has changed.
pub type Hear = Arc<dyn Fn(&ServiceName, &VersionName, &Endpoint, Status) + Send + Sync>;

/// Keeps a probe for every endpoint with a health plan.
pub struct Prober {
    hear: Hear,
    probes: Mutex<HashMap<(u32, ServiceName, VersionName), Probe>>,
}

impl std::fmt::Debug for Prober {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Prober").finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct Probe {
    endpoint: Arc<Endpoint>,
    plan: HealthPlan,
    task: JoinHandle<()>,
    /// Whether it has looked once.
    looked: watch::Receiver<bool>,
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Prober {
    /// A prober without probes.
    pub fn new(hear: Hear) -> Self {
        Self { hear, probes: Mutex::default() }
    }

    /// Probes the endpoints of a snapshot. Probes whose plan is the same go on undisturbed.
    pub fn reconcile(&self, snapshot: &Snapshot) {
        let mut wanted = HashMap::new();
        for service in &snapshot.services {
            for version in &service.versions {
                let Some(plan) = &version.plan.health else { continue };
                for slot in &version.endpoints {
                    let key = (slot.endpoint.id, service.name.clone(), version.name.clone());
                    wanted.insert(key, (slot.endpoint.clone(), plan.clone()));
                }
            }
        }
        let mut probes = self.probes.lock().unwrap_or_else(PoisonError::into_inner);
        probes.retain(|key, probe| wanted.get(key).is_some_and(|(_, plan)| *plan == probe.plan));
        for (key, (endpoint, plan)) in wanted {
            probes.entry(key.clone()).or_insert_with(|| {
                let (tell, looked) = watch::channel(false);
                let (hear, kept) = (self.hear.clone(), plan.clone());
                let probed = endpoint.clone();
                let task = tokio::spawn(async move {
                    let hear = |endpoint: &Endpoint, status| hear(&key.1, &key.2, endpoint, status);
                    follow(&probed, &plan, hear, tell).await;
                });
                Probe { endpoint, plan: kept, task, looked }
            });
        }
    }

    /// Waits until every probe has looked once, for at most `bound`; not for names that have no
    /// address by now.
    pub async fn first_round(&self, bound: Duration) {
        let all: Vec<_> = {
            let probes = self.probes.lock().unwrap_or_else(PoisonError::into_inner);
            let resolved = |probe: &&Probe| !probe.endpoint.addresses().is_empty();
            probes.values().filter(resolved).map(|probe| probe.looked.clone()).collect()
        };
        let wait = async {
            for mut looked in all {
                // A probe that is gone has nothing to wait for.
                let _ = looked.wait_for(|looked| *looked).await;
            }
        };
        if tokio::time::timeout(bound, wait).await.is_err() {
            tracing::warn!("some endpoints were not checked yet");
        }
    }
}

async fn follow(
    endpoint: &Endpoint,
    plan: &HealthPlan,
    hear: impl Fn(&Endpoint, Status),
    looked: watch::Sender<bool>,
) {
    let mut random = fastrand::Rng::with_seed(crate::clock::seed());
    let mut streak = 0i64;
    loop {
        if endpoint.addresses().is_empty() {
            tokio::time::sleep(UNRESOLVED).await;
            continue;
        }
        let probe = tokio::time::timeout(plan.timeout, probe(endpoint, plan)).await;
        let passed = matches!(probe, Ok(Ok(())));
        streak = match passed {
            true => streak.max(0) + 1,
            false => streak.min(0) - 1,
        };
        let before = endpoint.status();
        let after = before.after(streak, plan);
        if after != before {
            endpoint.set_status(after);
            let why = match &probe {
                Ok(Ok(())) => "passed".to_owned(),
                Ok(Err(why)) => why.clone(),
                Err(_) => "no answer in time".to_owned(),
            };
            tracing::info!(endpoint = endpoint.label, status = after.as_str(), why, "health");
            hear(endpoint, after);
        }
        looked.send_replace(true);
        let interval = match after {
            Status::Adding => plan.interval.min(ADDING),
            _ => plan.interval,
        };
        tokio::time::sleep(interval.mul_f64(0.9 + 0.2 * random.f64())).await;
    }
}

/// One probe over a fresh connection; the error says what was wrong.
async fn probe(endpoint: &Endpoint, plan: &HealthPlan) -> Result<(), String> {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let addresses = endpoint.addresses().clone();
    let stream = net::connect(&addresses, 0, endpoint.tls.as_ref(), &endpoint.own_header()).await;
    let io = TokioIo::new(stream.map_err(|error| text(&error))?);
    let scheme = if endpoint.tls.is_some() { "https" } else { "http" };
    let h2 = endpoint.identity.protocol.is_h2();
    let target = match h2 {
        true => format!("{scheme}://{}{}", endpoint.label, plan.path),
        false => plan.path.clone(),
    };
    let mut request = Request::get(target).header("user-agent", "tidegate-health");
    if !h2 {
        request = request.header("host", &endpoint.label).header("connection", "close");
    }
    let request = request.body(Empty::<Bytes>::new()).map_err(|error| text(&error))?;
    let response = if h2 {
        let pair = hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await;
        let (mut send, connection) = pair.map_err(|error| text(&error))?;
        tokio::spawn(connection);
        send.send_request(request).await
    } else {
        let pair = hyper::client::conn::http1::handshake(io).await;
        let (mut send, connection) = pair.map_err(|error| text(&error))?;
        tokio::spawn(connection);
        send.send_request(request).await
    };
    let response = response.map_err(|error| text(&error))?;
    if !response.status().is_success() {
        return Err(format!("status {}", response.status().as_u16()));
    }
    if plan.expect.is_empty() {
        return Ok(());
    }
    let body = Limited::new(response.into_body(), PROBE_BODY_BYTES_MAX).collect().await;
    let body = body.map_err(|error| text(&error))?.to_bytes();
    let value: serde_json::Value =
        serde_json::from_slice(&body).map_err(|_| "the body is no JSON".to_owned())?;
    match plan.expect.iter().find(|(pointer, want)| value.pointer(pointer) != Some(want)) {
        Some((pointer, want)) => Err(format!("{pointer} is not {want}")),
        None => Ok(()),
    }
}
