//! Assembly: a valid configuration becomes bound sockets, threads and tasks, and goes away cleanly.

mod reload;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{Mutex, broadcast, watch};
use tokio::task::JoinSet;

use crate::admin::{self, AdminState};
use crate::certs::CertStore;
use crate::clock;
use crate::config::{self, Config, Report};
use crate::control::{Author, Control, Event, Outcome};
use crate::limits::FIRST_LOOK_MAX;
use crate::name::{ListenerName, ServiceName, VersionName};
use crate::net;
use crate::operations::reload::ReloadError;
use crate::phase::Phase;
use crate::plan::ListenerPlan;
use crate::proxy::listener::ListenerShared;
use crate::proxy::record::AccessLog;
use crate::proxy::worker::{Command, Shared, WorkerHandle};
use crate::revision::change::changes;
use crate::revision::history::History;
use crate::revision::journal::Journal;
use crate::revision::store::{Revision, RevisionStore};
use crate::revision::{Entry, merge};
use crate::rollout::driver::Rollouts;
use crate::shadow::ShadowHub;
use crate::snapshot::Snapshot;
use crate::telemetry::collector::Telemetry;
use crate::telemetry::log::{self, LevelHandle};
use crate::traffic::Traffic;
use crate::upstream::endpoint::Status;
use crate::upstream::prober::Prober;
use crate::upstream::resolver::Resolver;
use crate::upstream::{Endpoint, Registry};
use crate::watch as files;

/// How often a drain looks whether it is done.
const DRAIN_LOOK: Duration = Duration::from_millis(20);

/// Why the proxy did not start. Displays as whole lines for a person.
#[derive(Debug)]
pub enum StartError {
    Config(Report),
    /// A sentence that names what failed and what to do.
    Failed(String),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(report) => write!(f, "{report}"),
            Self::Failed(text) => writeln!(f, "error: {text}"),
        }
    }
}

impl std::error::Error for StartError {}

/// Looks a variable of the environment up.
pub type Environment = fn(&str) -> Option<String>;

/// The running proxy.
pub struct App {
    inner: Arc<Inner>,
    phase: watch::Sender<Phase>,
    /// What runs until the end: the admin API, the watcher, the collector, the comparing.
    tasks: JoinSet<()>,
    rollouts: Arc<Rollouts>,
}

struct Inner {
    path: PathBuf,
    environment: Environment,
    control: Arc<Control>,
    telemetry: Arc<Telemetry>,
    prober: Prober,
    resolver: Resolver,
    level: LevelHandle,
    listeners: Mutex<BTreeMap<ListenerName, Open>>,
    /// Held by a reload: what was read first must not come into force last.
    reloading: Mutex<()>,
    /// The files that were read last, certificates among them: what the watcher looks at.
    sources: std::sync::Mutex<Vec<PathBuf>>,
    /// Of the content that was read last, and of that which is in force.
    fingerprint: std::sync::Mutex<u64>,
    adopted: std::sync::Mutex<u64>,
}

/// A listener that is bound.
struct Open {
    shared: Arc<ListenerShared>,
    certs: Option<Arc<CertStore>>,
}

impl App {
    /// Starts everything, in an order in which a failure leaves nothing behind.
    pub async fn start(path: &Path, environment: Environment) -> Result<Self, StartError> {
        let loaded = config::load(path, &environment).map_err(StartError::Config)?;
        let config = loaded.config;
        let json = config.log.format.is_json();
        let level = log::start(json, config.log.level.as_str());
        for line in loaded.warnings.lines() {
            tracing::warn!("{line}");
        }
        let workers = config.server.workers.unwrap_or_else(available_cores);
        let registry = Arc::new(Registry::default());
        let start = restore(&config, &registry)?;
        let bound = bind_all(&config.listeners, workers)?;
        let admin = admin::bind(&config.admin).await.map_err(StartError::Failed)?;
        let failed = |what: &str| {
            let what = what.to_owned();
            move |error: std::io::Error| StartError::Failed(format!("cannot {what}: {error}"))
        };
        let access_log = match config.log.access {
            true => {
                let log = AccessLog::start(json, std::io::stdout());
                Some(log.map_err(failed("start the access log"))?)
            }
            false => None,
        };
        let (shadows, comparisons) = ShadowHub::new();
        let shared = Arc::new(Shared {
            store: RevisionStore::new(start.revision, workers),
            registry,
            duration_bounds: config.duration_buckets.clone(),
            access_log,
            shadows,
            rate_limits: Default::default(),
            recent: OnceLock::new(),
        });
        let handles: Result<Vec<_>, _> =
            (0..workers).map(|seat| WorkerHandle::start(shared.clone(), seat)).collect();
        let handles = handles.map_err(failed("start a worker"))?;
        let telemetry = Arc::new(Telemetry::new(&config.duration_buckets, clock::now()));
        let sources = with_certs(loaded.sources, &config);
        let config = Arc::new(config);
        let control = Arc::new(Control::new(
            shared.clone(),
            handles,
            config.clone(),
            start.traffic,
            start.history,
            start.journal,
        ));
        let tell = {
            let control = Arc::downgrade(&control);
            move |service: &_, version: &_, endpoint: &Endpoint, status: Status| {
                if let Some(control) = control.upgrade() {
                    control.tell(Event::Health {
                        service: ServiceName::clone(service),
                        version: VersionName::clone(version),
                        endpoint: endpoint.label.clone(),
                        status: status.as_str(),
                    });
                }
            }
        };
        let inner = Arc::new(Inner {
            path: path.to_owned(),
            environment,
            control: control.clone(),
            telemetry: telemetry.clone(),
            prober: Prober::new(Arc::new(tell)),
            resolver: Resolver::new(),
            level,
            listeners: Mutex::default(),
            reloading: Mutex::default(),
            sources: std::sync::Mutex::new(sources),
            fingerprint: std::sync::Mutex::new(loaded.fingerprint),
            adopted: std::sync::Mutex::new(loaded.fingerprint),
        });
        let (phase, watched) = watch::channel(Phase::Starting);
        let mut tasks = JoinSet::new();
        tasks.spawn(shadows_task(shared.clone(), comparisons));
        tasks.spawn(telemetry.run(control.clone()));
        let reload = inner.clone();
        let rollouts = Arc::new(Rollouts::default());
        tasks.spawn(rollouts.clone().run(control.clone(), inner.telemetry.clone()));
        let state = AdminState::new(
            control.clone(),
            rollouts.clone(),
            inner.telemetry.clone(),
            watched,
            Arc::new(move |author: Author| {
                let inner = reload.clone();
                Box::pin(async move { inner.reload(&author).await })
            }),
            &std::path::absolute(path).unwrap_or_else(|_| path.to_owned()),
            &config.admin,
        )
        .map_err(StartError::Failed)?;
        tasks.spawn(admin::serve(admin, state));
        inner.look_at_endpoints().await;
        inner.listen(bound).await;
        phase.send_replace(Phase::Running);
        tasks.spawn(follow_revisions(inner.clone(), control.subscribe()));
        tasks.spawn(follow_files(inner.clone()));
        let number = control.current().number;
        let services = config.services.len();
        tracing::info!(revision = number, workers, services, "tidegate is running");
        Ok(Self { inner, phase, tasks, rollouts })
    }

    /// The control plane, for those who run in the same process.
    pub fn control(&self) -> &Arc<Control> {
        &self.inner.control
    }

    /// Metrics and rates, for those who run in the same process.
    pub fn telemetry(&self) -> &Arc<Telemetry> {
        &self.inner.telemetry
    }

    /// Rereads the configuration.
    pub async fn reload(&self, author: &Author) -> Result<Outcome, ReloadError> {
        self.inner.reload(author).await
    }

    /// Finishes what is in flight, for at most `shutdown_grace`; returns whether all of it was.
    pub async fn shutdown(mut self) -> bool {
        self.phase.send_replace(Phase::Draining);
        let control = &self.inner.control;
        let grace = control.state().await.config.server.shutdown_grace;
        tracing::info!(grace_s = grace.as_secs_f64(), "draining");
        for worker in &control.workers {
            worker.send(Command::Drain);
        }
        let done = async {
            while !control.workers.iter().all(WorkerHandle::is_finished) {
                tokio::time::sleep(DRAIN_LOOK).await;
            }
        };
        let drained = tokio::time::timeout(grace, done).await.is_ok();
        for worker in &control.workers {
            worker.send(Command::Stop);
        }
        self.tasks.shutdown().await;
        self.rollouts.keep_all(control).await;
        control.close().await;
        match drained {
            true => tracing::info!("drained"),
            false => tracing::warn!("requests in flight were cut off at the end of the grace"),
        }
        drained
    }
}

fn available_cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// What the process begins with.
struct Start {
    revision: Revision,
    traffic: crate::traffic::TrafficMap,
    history: History,
    journal: Journal,
}

/// Merges the file with what the journal says was live, and journals the result if it is new.
fn restore(config: &Config, registry: &Registry) -> Result<Start, StartError> {
    let failed = |error: String| StartError::Failed(error);
    let opened = Journal::open(&config.state_dir);
    let (mut journal, entries) = opened.map_err(|error| failed(error.to_string()))?;
    let last = entries.last().cloned();
    let live = last.as_ref().map(|entry| entry.traffic.as_ref().clone()).unwrap_or_default();
    let merged = merge::merge(&config.services, &live);
    for note in &merged.notes {
        tracing::info!("{note}");
    }
    let snapshot = Snapshot::compile(
        config.route_table(registry),
        &config.services,
        &merged.traffic,
        Arc::new(config.edge.clone()),
        registry,
    );
    let snapshot = snapshot.map_err(|error| failed(error.to_string()))?;
    let mut history = History::new(entries);
    let mut number = last.as_ref().map_or(0, |entry| entry.number);
    if last.is_none() || merged.traffic != live {
        number += 1;
        let entry = Entry {
            number,
            at: clock::timestamp(),
            author: "start".to_owned(),
            cause: "start".to_owned(),
            reason: None,
            changes: changes(&live, &merged.traffic),
            traffic: Arc::new(merged.traffic.clone()),
        };
        journal.append(&entry).map_err(|error| failed(error.to_string()))?;
        history.push(Arc::new(entry));
    }
    let revision = Revision { number, snapshot };
    Ok(Start { revision, traffic: merged.traffic, history, journal })
}

/// A listener's sockets, one a worker, and what they share.
struct Bound {
    sockets: Vec<std::net::TcpListener>,
    open: Open,
}

fn bind_all(plans: &[ListenerPlan], workers: usize) -> Result<Vec<Bound>, StartError> {
    plans.iter().map(|plan| bind(plan, workers).map_err(StartError::Failed)).collect()
}

fn bind(plan: &ListenerPlan, workers: usize) -> Result<Bound, String> {
    let open = open(plan)?;
    let sockets = net::bind(plan.address, workers).map_err(|error| {
        let (name, address) = (&plan.name, plan.address);
        match error.kind() {
            std::io::ErrorKind::AddrInUse => format!(
                "listener `{name}` cannot listen on {address}: another process does; \
                 stop it or choose another address"
            ),
            std::io::ErrorKind::PermissionDenied => format!(
                "listener `{name}` may not listen on {address}: ports below 1024 need a \
                 privilege; choose another port or grant CAP_NET_BIND_SERVICE"
            ),
            _ => format!("listener `{name}` cannot listen on {address}: {error}"),
        }
    })?;
    Ok(Bound { sockets, open })
}

fn open(plan: &ListenerPlan) -> Result<Open, String> {
    let certs = plan.tls.as_ref().map(CertStore::open).transpose()?.map(Arc::new);
    Ok(Open { shared: Arc::new(ListenerShared::new(plan.clone(), certs.clone())), certs })
}

/// What a start would still stumble over in a valid configuration, in sentences: what the files that
/// it names hold. Certificates, keys, roots and tokens are read, and nothing is kept.
pub fn rehearse(config: &Config) -> Vec<String> {
    let certificates = config.listeners.iter().filter_map(|plan| {
        let error = open(plan).err()?;
        Some(format!("listener `{}`: {error}", plan.name))
    });
    let registry = Registry::default();
    let traffic = config.services.iter();
    let traffic = traffic.map(|(name, plan)| (name.clone(), Arc::new(Traffic::of(plan)))).collect();
    let routes = config.route_table(&registry);
    let edge = Arc::new(config.edge.clone());
    let roots = Snapshot::compile(routes, &config.services, &traffic, edge, &registry).err();
    let tokens = config.admin.token_file.as_deref().and_then(|file| admin::read_tokens(file).err());
    certificates.chain(roots.map(|error| error.to_string())).chain(tokens).collect()
}

async fn shadows_task(shared: Arc<Shared>, comparisons: crate::shadow::Comparisons) {
    shared.shadows.run(comparisons).await;
}

/// Looks at the endpoints of every new revision, whoever made it.
async fn follow_revisions(inner: Arc<Inner>, mut events: broadcast::Receiver<Event>) {
    loop {
        match events.recv().await {
            Ok(Event::Revision(_)) | Err(RecvError::Lagged(_)) => inner.reconcile(),
            Ok(_) => {}
            Err(RecvError::Closed) => return,
        }
    }
}

/// Rereads the configuration whenever its files change.
async fn follow_files(inner: Arc<Inner>) {
    let look = inner.clone();
    let mut changed = files::start(move || look.watched_files());
    loop {
        // Looked at before waiting too: an edit may have come since the file was read.
        inner.reload_certs().await;
        inner.reload_if_edited().await;
        if changed.recv().await.is_none() {
            return;
        }
    }
}

impl Inner {
    fn watched_files(&self) -> Vec<PathBuf> {
        let mut files = vec![self.path.clone()];
        let sources = lock(&self.sources);
        files.extend(sources.iter().cloned());
        files
    }

    async fn look_at_endpoints(&self) {
        let current = self.control.current();
        self.resolver.reconcile(&current.snapshot);
        // At once: a name that is slow to resolve does not keep the others from being checked.
        self.prober.reconcile(&current.snapshot);
        let began = clock::now();
        self.resolver.first_round(FIRST_LOOK_MAX).await;
        let spent = clock::now().saturating_duration_since(began);
        self.prober.first_round(FIRST_LOOK_MAX.saturating_sub(spent)).await;
    }

    /// Probes and resolves what the revision in force names, and nothing else.
    fn reconcile(&self) {
        let current = self.control.current();
        self.resolver.reconcile(&current.snapshot);
        self.prober.reconcile(&current.snapshot);
    }

    async fn listen(&self, bound: Vec<Bound>) {
        let mut listeners = self.listeners.lock().await;
        for Bound { sockets, open } in bound {
            for (worker, socket) in self.control.workers.iter().zip(sockets) {
                worker.send(Command::Listen(Some(socket), open.shared.clone()));
            }
            listeners.insert(open.shared.plan.name.clone(), open);
        }
    }

    /// Binds what is new, before anything is changed.
    async fn prepare_listeners(&self, config: &Config) -> Result<Vec<Bound>, String> {
        let listeners = self.listeners.lock().await;
        let mut bound = Vec::new();
        for plan in &config.listeners {
            let same_address = listeners
                .get(&plan.name)
                .is_some_and(|open| open.shared.plan.address == plan.address);
            if !same_address {
                bound.push(bind(plan, self.control.workers.len())?);
            } else if let Some(tls) = &plan.tls {
                CertStore::check(tls)?;
            }
        }
        Ok(bound)
    }

    async fn replace_listeners(&self, plans: &[ListenerPlan], bound: Vec<Bound>) {
        let fresh: Vec<ListenerName> =
            bound.iter().map(|bound| bound.open.shared.plan.name.clone()).collect();
        let mut listeners = self.listeners.lock().await;
        let gone: Vec<ListenerName> = listeners
            .keys()
            .filter(|name| fresh.contains(name) || !plans.iter().any(|plan| &plan.name == *name))
            .cloned()
            .collect();
        for name in gone {
            for worker in &self.control.workers {
                worker.send(Command::Unlisten(name.clone()));
            }
            listeners.remove(&name);
        }
        for plan in plans {
            let Some(old) = listeners.get_mut(&plan.name) else { continue };
            if old.shared.plan == *plan {
                continue;
            }
            // The files were read a moment ago; if they are gone now, the old state serves on.
            if let Ok(new) = open(plan) {
                *old = new;
                for worker in &self.control.workers {
                    worker.send(Command::Listen(None, old.shared.clone()));
                }
            }
        }
        drop(listeners);
        self.listen(bound).await;
    }

    async fn reload_certs(&self) {
        for open in self.listeners.lock().await.values() {
            if let Some(certs) = &open.certs {
                certs.reload();
            }
        }
    }
}

/// The files of a configuration and of its listeners' certificates.
fn with_certs(mut sources: Vec<PathBuf>, config: &Config) -> Vec<PathBuf> {
    let tls = config.listeners.iter().filter_map(|listener| listener.tls.as_ref());
    for tls in tls {
        for cert in &tls.certs {
            sources.extend([cert.cert.clone(), cert.key.clone()]);
            sources.extend(cert.ocsp.clone());
        }
        if let Some(clients) = &tls.clients {
            sources.push(clients.ca.clone());
            sources.extend(clients.crl.clone());
        }
    }
    sources
}

/// Nothing panics while one of these is held, so that a poisoned one still holds a whole value.
fn lock<T>(mutex: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
