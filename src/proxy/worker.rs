//! One thread of the data plane: its runtime, lease, pools, buffers and counters.
//!
//! Nothing here is shared with another worker. The control plane talks to it by messages, which it
//! answers between two polls of its tasks.

use std::cell::{Cell, RefCell};
use std::net::TcpListener;
use std::ops::Deref;
use std::rc::Rc;
use std::sync::{Arc, OnceLock};
use std::task::Waker;
use std::time::Duration;

use rustc_hash::FxHashMap;
use tokio::sync::{mpsc, oneshot};

use super::alarm::Alarms;
use super::budget::Budgets;
use super::buffers::Buffers;
use super::counters::{Counts, Trial};
use super::hold::Holds;
use super::http2::Crew;
use super::listener::{Accepting, ListenerShared};
use super::memo::Memo;
use super::pool::Pools;
use super::rate::{RateLimit, RateLimits};
use super::recent::Recent;
use super::record::{AccessLog, Lines};
use super::turn::Turns;
use crate::clock;
use crate::name::ListenerName;
use crate::revision::store::{Revision, RevisionStore};
use crate::shadow::{Mirrors, ShadowHub};
use crate::snapshot::BEFORE_ROLLOUT;
use crate::upstream::Registry;

/// How often a worker closes upstream connections that nobody used and hands its log over.
const TICK: Duration = Duration::from_millis(100);

/// What all workers and the control plane hold together.
#[derive(Debug)]
pub struct Shared {
    pub store: RevisionStore,
    pub registry: Arc<Registry>,
    /// Upper bounds of the duration histogram, in seconds.
    pub duration_bounds: Vec<f64>,
    /// Where access records go; `None` when they are off.
    pub access_log: Option<AccessLog>,
    pub shadows: ShadowHub,
    pub rate_limits: RateLimits,
    /// The requests that each worker counted lately; made before the first rollout counts any.
    pub recent: OnceLock<Box<[Recent]>>,
}

/// What the control plane tells a worker.
#[derive(Debug)]
pub enum Command {
    /// Look at the store: there is a new revision.
    Install,
    /// Serve on this socket, or, without one, by these rules on the socket there is.
    Listen(Option<TcpListener>, Arc<ListenerShared>),
    /// Stop accepting on this listener; its connections go on.
    Unlisten(ListenerName),
    /// Hand the sums over.
    Collect(oneshot::Sender<Counts>),
    /// Stop accepting; close idle connections and the others after their answer.
    Drain,
    /// End now, whatever is in flight.
    Stop,
}

/// The current revision, taken for one request. Cloning costs no shared memory.
#[derive(Debug, Clone)]
pub struct Lease(
    #[expect(clippy::redundant_allocation, reason = "counted within the worker, not across cores")]
    Rc<Arc<Revision>>,
);

impl Deref for Lease {
    type Target = Revision;
    fn deref(&self) -> &Revision {
        &self.0
    }
}

/// A worker's state; everything on its thread holds it.
#[derive(Debug)]
pub struct Worker {
    pub shared: Arc<Shared>,
    seat: usize,
    lease: RefCell<Lease>,
    pub buffers: Buffers,
    pub alarms: Alarms,
    pub crew: Crew,
    /// Heads of answers to clients over HTTP/2.
    pub answers: Memo,
    /// Heads of requests to upstreams over HTTP/2.
    pub requests: Memo,
    pub turns: Turns,
    pub pools: Pools,
    /// Connections of copies: a shadow that hangs takes none of the others.
    pub shadow_pools: Pools,
    pub mirrors: Mirrors,
    pub counts: RefCell<Counts>,
    pub holds: Holds,
    pub budgets: Budgets,
    /// The allowances of routes by number, as they were last looked up.
    pub rate_limits: RefCell<FxHashMap<u32, Arc<RateLimit>>>,
    random: RefCell<fastrand::Rng>,
    draining: Cell<bool>,
    idle: RefCell<FxHashMap<u64, Waker>>,
    /// Open client connections by listener.
    pub connections: RefCell<FxHashMap<ListenerName, u32>>,
    connection_ids: Cell<u64>,
    /// Access records not yet handed over.
    pub lines: RefCell<Lines>,
}

impl Worker {
    fn new(shared: Arc<Shared>, seat: usize) -> Rc<Self> {
        let lease = Lease(Rc::new(shared.store.install(seat)));
        Rc::new(Self {
            shared,
            seat,
            lease: RefCell::new(lease),
            buffers: Buffers::default(),
            alarms: Alarms::default(),
            crew: Crew::default(),
            answers: Memo::default(),
            requests: Memo::default(),
            turns: Turns::default(),
            pools: Pools::default(),
            shadow_pools: Pools::default(),
            mirrors: Mirrors::default(),
            counts: RefCell::default(),
            holds: Holds::default(),
            budgets: Budgets::default(),
            rate_limits: RefCell::default(),
            random: RefCell::new(fastrand::Rng::with_seed(clock::seed())),
            draining: Cell::new(false),
            idle: RefCell::default(),
            connections: RefCell::default(),
            connection_ids: Cell::new(0),
            lines: RefCell::default(),
        })
    }

    /// Notes a request that a rollout counts, for those who tell later how it went.
    pub fn remember(&self, request_id: &[u8], trial: Trial) {
        let mine = self.shared.recent.get().and_then(|all| all.get(self.seat));
        // Before a rollout nobody is compared.
        if let Some(mine) = mine.filter(|_| trial.generation > BEFORE_ROLLOUT) {
            mine.note(request_id, trial);
        }
    }

    /// The revision in force. Installs a new one first if there is one: whoever calls this chooses
    /// by what is current, and must choose without awaiting.
    pub fn lease(self: &Rc<Self>) -> Lease {
        if self.shared.store.number() > self.lease.borrow().number {
            self.install();
        }
        self.lease.borrow().clone()
    }

    fn install(self: &Rc<Self>) {
        let lease = Lease(Rc::new(self.shared.store.install(self.seat)));
        self.lease.replace(lease.clone());
        self.holds.released_by(self, &lease);
    }

    /// 64 uniform bits.
    pub fn entropy(&self) -> u64 {
        self.random.borrow_mut().u64(..)
    }

    /// Random bytes for ids.
    pub fn fill_random(&self, bytes: &mut [u8]) {
        self.random.borrow_mut().fill(bytes);
    }

    /// Whether buffers take more: what this worker holds is below its share of what all may.
    pub fn has_room(&self) -> bool {
        let max = self.lease.borrow().snapshot.edge.buffered_bytes_max;
        max.is_none_or(|max| self.buffers.held() < max / self.shared.store.workers() as u64)
    }

    /// Whether connections should end after what they are doing.
    pub fn is_draining(&self) -> bool {
        self.draining.get()
    }

    /// A number for a connection, to be woken by.
    pub fn connection_id(&self) -> u64 {
        self.connection_ids.set(self.connection_ids.get() + 1);
        self.connection_ids.get()
    }

    /// Remembers how to wake a connection when the worker begins to drain.
    pub fn wake_on_drain(&self, connection: u64, waker: &Waker) {
        self.idle.borrow_mut().insert(connection, waker.clone());
    }

    /// Forgets a connection that has ended.
    pub fn forget(&self, connection: u64) {
        self.idle.borrow_mut().remove(&connection);
    }

    fn drain(&self) {
        self.draining.set(true);
        for (_, waker) in self.idle.borrow_mut().drain() {
            waker.wake();
        }
    }

    fn take_counts(&self) -> Counts {
        let mut counts = self.counts.take();
        self.pools.gauges(&mut counts);
        counts.connections = self.connections.borrow().clone();
        counts
    }

    /// Hands access records to the log.
    pub fn flush_log(&self) {
        if let Some(log) = &self.shared.access_log {
            self.lines.borrow_mut().hand_over(log);
        }
    }
}

/// A worker's thread as the control plane holds it.
#[derive(Debug)]
pub struct WorkerHandle {
    commands: mpsc::UnboundedSender<Command>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl WorkerHandle {
    /// Starts a worker on a thread of its own.
    pub fn start(shared: Arc<Shared>, seat: usize) -> std::io::Result<Self> {
        let (commands, inbox) = mpsc::unbounded_channel();
        let thread = std::thread::Builder::new()
            .name(format!("tidegate-worker-{seat}"))
            .spawn(move || run(shared, seat, inbox))?;
        Ok(Self { commands, thread: Some(thread) })
    }

    /// Sends a command; a worker that has ended takes none.
    pub fn send(&self, command: Command) {
        let _ = self.commands.send(command);
    }

    /// The worker's sums since they were last asked for.
    pub async fn collect(&self) -> Option<Counts> {
        let (answer, counts) = oneshot::channel();
        self.send(Command::Collect(answer));
        counts.await.ok()
    }

    /// Whether the thread has ended.
    pub fn is_finished(&self) -> bool {
        self.thread.as_ref().is_none_or(std::thread::JoinHandle::is_finished)
    }
}

fn run(shared: Arc<Shared>, seat: usize, inbox: mpsc::UnboundedReceiver<Command>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        // Commands come from other threads: look for them often, so that a revision is
        // acknowledged in microseconds under full load.
        .global_queue_interval(5)
        .build_local(tokio::runtime::LocalOptions::default());
    match runtime {
        Ok(runtime) => runtime.block_on(serve(Worker::new(shared.clone(), seat), inbox)),
        Err(error) => tracing::error!(%error, seat, "a worker has no runtime"),
    }
    shared.store.leave(seat);
}

async fn serve(worker: Rc<Worker>, mut inbox: mpsc::UnboundedReceiver<Command>) {
    let mut listeners: FxHashMap<ListenerName, Accepting> = FxHashMap::default();
    let mut tick = tokio::time::interval(TICK);
    let kept = worker.clone();
    tokio::task::spawn_local(async move { kept.turns.keep().await });
    loop {
        let command = tokio::select! {
            command = inbox.recv() => command,
            _ = tick.tick() => {
                worker.pools.sweep(clock::now());
                worker.shadow_pools.sweep(clock::now());
                worker.mirrors.sweep(&worker.lease().snapshot);
                worker.flush_log();
                if worker.is_draining() && worker.connections.borrow().values().all(|open| *open == 0) {
                    break;
                }
                continue;
            }
        };
        match command {
            Some(Command::Install) => drop(worker.lease()),
            Some(Command::Listen(Some(socket), shared)) => {
                let name = shared.plan.name.clone();
                match Accepting::begin(&worker, socket, shared) {
                    Ok(accepting) => drop(listeners.insert(name, accepting)),
                    Err(error) => tracing::error!(%error, listener = %name, "cannot accept"),
                }
            }
            Some(Command::Listen(None, shared)) => {
                if let Some(accepting) = listeners.get(&shared.plan.name) {
                    accepting.follow(shared);
                }
            }
            Some(Command::Unlisten(name)) => {
                if let Some(accepting) = listeners.remove(&name) {
                    accepting.end().await;
                }
            }
            Some(Command::Collect(answer)) => {
                worker.flush_log();
                let _ = answer.send(worker.take_counts());
            }
            Some(Command::Drain) => {
                for (_, accepting) in listeners.drain() {
                    accepting.end().await;
                }
                worker.drain();
            }
            Some(Command::Stop) | None => break,
        }
    }
    worker.flush_log();
}
