//! The one write path: every change of traffic, whoever wants it, ends here.
//!
//! 1. compile: what is wanted becomes a snapshot, or a refusal that has touched nothing;
//! 2. register: endpoints and listeners that are new are made ready, outside any lock;
//! 3. compare: under the single writer's lock, the expected revision against the one in force;
//! 4. persist: the journal has it on disk;
//! 5. swap: one store, and every worker has acknowledged;
//! 6. record: history, event, metrics.
//!
//! Everything that can fail happens before the swap, so that there is no undo to be wrong. One
//! exception on purpose: a rollback goes on when the disk refuses, because a full disk must not
//! keep anyone in an incident.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Mutex, MutexGuard, broadcast};

use crate::background::Background;
use crate::clock;
use crate::config::{Config, Report};
use crate::limits::{ACKNOWLEDGE_WARN, EVENTS_KEPT, LARGE_ROUTES};
use crate::name::{ServiceName, VersionName};
use crate::proxy::counters::Counts;
use crate::proxy::recent::Recent;
use crate::proxy::worker::{Command, Shared, WorkerHandle};
use crate::revision::change::{Change, changes};
use crate::revision::history::History;
use crate::revision::journal::Journal;
use crate::revision::store::Revision;
use crate::revision::{Entry, merge};
use crate::route::Routes;
use crate::snapshot::{BEFORE_ROLLOUT, CompileError, Service, Snapshot};
use crate::traffic::{Traffic, TrafficMap};

/// Who wants a change, and what they say of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Author {
    /// `api`, `api:NAME`, `file`, `start` or `rollout:NAME`.
    pub name: String,
    /// `X-Reason`.
    pub reason: Option<String>,
}

impl Author {
    /// An author who gives no reason.
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), reason: None }
    }
}

/// Why a change was refused. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// There is no such thing: 404.
    Unknown(String),
    /// The revision in force is not the one that was expected: 412.
    Stale { expected: u64, current: u64 },
    /// The state of the service forbids it: 409.
    Conflict(String),
    /// What is wanted cannot be: 422.
    Invalid(String),
    /// It could not be kept: 503.
    NotPersisted(String),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(text) | Self::Conflict(text) | Self::Invalid(text) => f.write_str(text),
            Self::Stale { expected, current } => {
                write!(f, "revision {expected} was expected, but revision {current} is in force")
            }
            Self::NotPersisted(text) => write!(f, "the change could not be kept: {text}"),
        }
    }
}

impl std::error::Error for Refusal {}

impl From<CompileError> for Refusal {
    fn from(error: CompileError) -> Self {
        Self::Invalid(error.to_string())
    }
}

/// What a change did, or, in a dry run, would do.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The revision in force afterwards.
    pub revision: u64,
    pub changes: Vec<Change>,
    /// From the swap to the last worker's acknowledgement; `None` when nothing changed.
    pub switched_in: Option<Duration>,
    /// Whether the journal holds it; only a rollback goes on without.
    pub persisted: bool,
    /// The traffic of the service before and after.
    pub before: Option<Arc<Traffic>>,
    pub after: Option<Arc<Traffic>>,
}

/// Conditions on a change.
#[derive(Debug, Clone, Default)]
pub struct Terms {
    /// The revision that must be in force.
    pub expected: Option<u64>,
    /// Answer what would happen and change nothing.
    pub dry_run: bool,
    /// Go on when the disk refuses.
    pub even_unpersisted: bool,
}

/// Something that operators want to know of.
#[derive(Debug, Clone)]
pub enum Event {
    Revision(Arc<Entry>),
    Health {
        service: ServiceName,
        version: VersionName,
        endpoint: String,
        status: &'static str,
    },
    Verdict {
        service: ServiceName,
        version: VersionName,
        /// Of the rollout to this version.
        verdict: &'static str,
        state: &'static str,
        /// The loudest metric, in words; or why the verdict is void.
        text: String,
    },
    Reload {
        result: &'static str,
        detail: String,
    },
}

/// The state behind the writer's lock.
#[derive(Debug)]
pub struct State {
    pub config: Arc<Config>,
    pub traffic: TrafficMap,
    pub history: History,
    /// Gone once the proxy has ended: its directory is free for the next.
    journal: Option<Journal>,
    /// What is wrong with the file now; the running state is that of the last valid one.
    pub invalid: Option<Report>,
}

/// The control plane's hold on everything.
#[derive(Debug)]
pub struct Control {
    pub shared: Arc<Shared>,
    pub workers: Vec<WorkerHandle>,
    state: Mutex<State>,
    events: broadcast::Sender<Event>,
    /// Revisions that were replaced, as long as requests may still hold them.
    retired: std::sync::Mutex<Vec<Arc<Revision>>>,
    /// Where large configurations are compiled and freed.
    pub background: Background,
}

impl Control {
    /// Takes over from `app`, which has opened the journal and started the workers.
    pub fn new(
        shared: Arc<Shared>,
        workers: Vec<WorkerHandle>,
        config: Arc<Config>,
        traffic: TrafficMap,
        history: History,
        journal: Journal,
    ) -> Self {
        let journal = Some(journal);
        let state = State { config, traffic, history, journal, invalid: None };
        let (events, _) = broadcast::channel(EVENTS_KEPT);
        let retired = std::sync::Mutex::default();
        let (state, background) = (Mutex::new(state), Background::default());
        let control = Self { shared, workers, state, events, retired, background };
        control.make_room(&control.current().snapshot);
        control
    }

    /// The state for reading; writers wait meanwhile, so be short.
    pub async fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().await
    }

    /// The revision in force.
    pub fn current(&self) -> Arc<Revision> {
        self.shared.store.current()
    }

    /// Every event from now on.
    pub fn subscribe(&self) -> broadcast::Receiver<Event> {
        self.events.subscribe()
    }

    /// Tells those who listen.
    pub fn tell(&self, event: Event) {
        // Nobody listening is no error.
        let _ = self.events.send(event);
    }

    /// Changes the traffic of one service. `change` makes the new traffic from the old; what it
    /// refuses changes nothing, and what is equal makes no revision.
    pub async fn change(
        &self,
        service: &ServiceName,
        author: &Author,
        cause: &str,
        terms: &Terms,
        change: impl FnOnce(&Service, &State) -> Result<Traffic, Refusal>,
    ) -> Result<Outcome, Refusal> {
        let mut state = self.state.lock().await;
        let current = self.current();
        expect(terms, current.number)?;
        let compiled = current.snapshot.service(service);
        let compiled = compiled.ok_or_else(|| unknown_service(service, &current.snapshot))?;
        let before = compiled.traffic.clone();
        let after = Arc::new(change(compiled, &state)?);
        if before == after {
            return Ok(unchanged(&current, before));
        }
        let registry = &self.shared.registry;
        let snapshot = current.snapshot.with_traffic(service, &after, registry)?;
        let mut traffic = state.traffic.clone();
        traffic.insert(service.clone(), after.clone());
        let mut outcome = self.publish(&mut state, snapshot, traffic, author, cause, terms).await?;
        outcome.before = Some(before);
        outcome.after = Some(after);
        Ok(outcome)
    }

    /// Takes a new configuration over, with its route table: the three-way merge of file and live
    /// traffic.
    pub async fn adopt(
        &self,
        config: Arc<Config>,
        routes: Routes,
        author: &Author,
    ) -> Result<Outcome, Refusal> {
        let mut state = self.state.lock().await;
        let merged = merge::merge(&config.services, &state.traffic);
        for note in &merged.notes {
            tracing::info!("{note}");
        }
        let registry = &self.shared.registry;
        let snapshot = Snapshot::compile(
            routes,
            &config.services,
            &merged.traffic,
            Arc::new(config.edge.clone()),
            registry,
        )?;
        let terms = Terms::default();
        let outcome =
            self.publish(&mut state, snapshot, merged.traffic, author, "reload", &terms).await?;
        let before = std::mem::replace(&mut state.config, config);
        state.invalid = None;
        if before.is_large() {
            self.background.free(before);
        }
        Ok(outcome)
    }

    /// The file says what it said: nothing is changed, and what was wrong with it is mended.
    pub async fn keep(&self) -> Outcome {
        self.state.lock().await.invalid = None;
        let revision = self.current().number;
        let (changes, switched_in, persisted) = (Vec::new(), None, true);
        Outcome { revision, changes, switched_in, persisted, before: None, after: None }
    }

    /// Notes that the file is not valid now.
    pub async fn note_invalid(&self, report: Report) {
        self.state.lock().await.invalid = Some(report);
    }

    /// Ends all changes and frees the state directory.
    pub async fn close(&self) {
        self.state.lock().await.journal = None;
    }

    async fn publish(
        &self,
        state: &mut State,
        snapshot: Snapshot,
        traffic: TrafficMap,
        author: &Author,
        cause: &str,
        terms: &Terms,
    ) -> Result<Outcome, Refusal> {
        let current = self.current();
        let changes = changes(&state.traffic, &traffic);
        let number = current.number + 1;
        if terms.dry_run {
            let (switched_in, persisted) = (None, false);
            let revision = current.number;
            return Ok(Outcome {
                revision,
                changes,
                switched_in,
                persisted,
                before: None,
                after: None,
            });
        }
        let entry = Arc::new(Entry {
            number,
            at: clock::timestamp(),
            author: author.name.clone(),
            cause: cause.to_owned(),
            reason: author.reason.clone(),
            changes: changes.clone(),
            traffic: Arc::new(traffic.clone()),
        });
        let Some(journal) = &mut state.journal else {
            return Err(Refusal::NotPersisted("the proxy has ended".to_owned()));
        };
        let persisted = match tokio::task::block_in_place(|| journal.append(&entry)) {
            Ok(()) => true,
            Err(error) if terms.even_unpersisted => {
                tracing::error!(%error, revision = number, "a rollback goes on unpersisted");
                false
            }
            Err(error) => return Err(Refusal::NotPersisted(error.to_string())),
        };
        let switched_in = self.swap(Revision { number, snapshot }).await;
        state.traffic = traffic;
        state.history.push(entry.clone());
        for change in &changes {
            tracing::info!(
                revision = number,
                author = author.name,
                cause,
                reason = author.reason,
                "{change}"
            );
        }
        self.tell(Event::Revision(entry));
        let switched_in = Some(switched_in);
        Ok(Outcome { revision: number, changes, switched_in, persisted, before: None, after: None })
    }

    /// A rollout's requests are remembered from the first on, so the place for them comes before it.
    fn make_room(&self, snapshot: &Snapshot) {
        if snapshot.services.iter().any(|service| service.trial > Some(BEFORE_ROLLOUT)) {
            let each = || self.workers.iter().map(|_| Recent::default()).collect();
            self.shared.recent.get_or_init(each);
        }
    }

    /// The swap and its acknowledgement by every worker.
    async fn swap(&self, revision: Revision) -> Duration {
        let number = revision.number;
        self.make_room(&revision.snapshot);
        let began: Instant = clock::now();
        let replaced = self.current();
        self.shared.store.swap(revision);
        self.retired().push(replaced);
        for worker in &self.workers {
            worker.send(Command::Install);
        }
        let acknowledged = self.shared.store.all_acknowledged(number);
        tokio::pin!(acknowledged);
        loop {
            match tokio::time::timeout(ACKNOWLEDGE_WARN, &mut acknowledged).await {
                Ok(()) => return began.elapsed(),
                Err(_) => tracing::warn!(revision = number, "a worker is slow to acknowledge"),
            }
        }
    }

    /// Frees the revisions that no request holds any more. A worker that let the last hold of a large
    /// one go would stand still for milliseconds.
    pub fn free_retired(&self) {
        let is_free = |revision: &mut Arc<Revision>| Arc::strong_count(revision) == 1;
        let free: Vec<_> = self.retired().extract_if(.., is_free).collect();
        if free.iter().any(|revision| revision.snapshot.routes.routes().len() >= LARGE_ROUTES) {
            self.background.free(free);
        }
    }

    fn retired(&self) -> std::sync::MutexGuard<'_, Vec<Arc<Revision>>> {
        self.retired.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// The sums of every worker since they were last taken.
    pub async fn collect(&self) -> Vec<Counts> {
        let asked = self.workers.iter().map(WorkerHandle::collect);
        futures_util::future::join_all(asked).await.into_iter().flatten().collect()
    }
}

fn expect(terms: &Terms, current: u64) -> Result<(), Refusal> {
    match terms.expected {
        Some(expected) if expected != current => Err(Refusal::Stale { expected, current }),
        _ => Ok(()),
    }
}

fn unchanged(current: &Revision, traffic: Arc<Traffic>) -> Outcome {
    Outcome {
        revision: current.number,
        changes: Vec::new(),
        switched_in: None,
        persisted: true,
        before: Some(traffic.clone()),
        after: Some(traffic),
    }
}

/// The refusal for a service that does not exist, with those that do.
pub fn unknown_service(name: &ServiceName, snapshot: &Snapshot) -> Refusal {
    let known: Vec<_> = snapshot.services.iter().map(|service| service.name.as_str()).collect();
    Refusal::Unknown(format!("there is no service `{name}`; there are: {}", known.join(", ")))
}
