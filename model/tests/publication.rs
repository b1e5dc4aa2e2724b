//! A revision is published while workers take leases, acknowledge and end.
//!
//! Run with `RUSTFLAGS="--cfg loom"`; without it there is nothing here.
#![cfg(loom)]

use std::sync::Arc;

use loom::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use loom::thread;
use tidegate_model::pieces::Mailbox;
use tidegate_model::snapshot::Snapshot;

/// What the control plane tells a worker.
enum Command {
    Install,
    Stop,
}

/// The way a worker of the model goes wrong, if it does.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wrong {
    Nothing,
    /// It acknowledges and goes on with the lease it has.
    KeepsItsLease,
    /// It ends without a word.
    EndsSilently,
    /// It does not look at the store for a command.
    IgnoresCommands,
}

/// The model over one of the two compilations of the store.
macro_rules! model_over {
    ($name:ident, $store:path) => {
        mod $name {
            use super::*;
            use store::{Revision, RevisionStore};
            use $store as store;

            /// What is in force and what the tests look at.
            pub struct World {
                pub store: RevisionStore,
                /// The publisher has returned: no older lease may be chosen by from here on.
                pub returned: AtomicBool,
                /// Choices that were made by the first revision.
                pub by_first: AtomicU64,
            }

            impl World {
                pub fn new(workers: usize) -> Arc<Self> {
                    let first = Revision { number: 1, snapshot: Snapshot };
                    Arc::new(Self {
                        store: RevisionStore::new(first, workers),
                        returned: AtomicBool::new(false),
                        by_first: AtomicU64::new(0),
                    })
                }
            }

            /// Mirrors `proxy::worker::Worker`.
            pub struct Worker {
                world: Arc<World>,
                seat: usize,
                lease: Arc<Revision>,
                wrong: Wrong,
            }

            impl Worker {
                pub fn new(world: &Arc<World>, seat: usize, wrong: Wrong) -> Self {
                    let lease = world.store.install(seat);
                    Self { world: world.clone(), seat, lease, wrong }
                }

                fn lease(&mut self) -> Arc<Revision> {
                    let current = self.world.store.number();
                    if current > self.lease.number {
                        let installed = self.world.store.install(self.seat);
                        assert!(installed.number >= current, "an older one than was announced");
                        if self.wrong != Wrong::KeepsItsLease {
                            self.lease = installed;
                        }
                    }
                    self.lease.clone()
                }

                /// A request comes: its version is chosen by the lease, without a pause.
                pub fn choose(&mut self) -> u64 {
                    let over = self.world.returned.load(Ordering::Acquire);
                    let lease = self.lease();
                    assert!(!over || lease.number > 1, "chosen by the old after the return");
                    if lease.number == 1 {
                        self.world.by_first.fetch_add(1, Ordering::Relaxed);
                    }
                    lease.number
                }

                /// Mirrors `proxy::worker::run`.
                pub fn run(mut self, inbox: &Mailbox<Command>, requests: usize) {
                    for _ in 0..requests {
                        self.choose();
                    }
                    while let Command::Install = inbox.receive() {
                        if self.wrong != Wrong::IgnoresCommands {
                            drop(self.lease());
                        }
                    }
                    // What it does last is one more request, so that there is one after the return.
                    if self.wrong != Wrong::EndsSilently {
                        self.choose();
                    }
                    if self.wrong != Wrong::EndsSilently {
                        self.world.store.leave(self.seat);
                    }
                }
            }

            /// Mirrors `control::Control::swap`.
            pub fn publish(world: &World, workers: &[Arc<Mailbox<Command>>], number: u64) {
                world.store.swap(Revision { number, snapshot: Snapshot });
                for worker in workers {
                    worker.send(Command::Install);
                }
                loom::future::block_on(world.store.all_acknowledged(number));
            }

            /// One publication to workers that take some requests before they look at their queue.
            pub fn publication(workers: usize, requests: usize, wrong: Wrong) {
                let world = World::new(workers);
                let start = |seat| {
                    let commands = Arc::new(Mailbox::new());
                    let (worker, inbox) = (Worker::new(&world, seat, wrong), commands.clone());
                    (commands, thread::spawn(move || worker.run(&inbox, requests)))
                };
                let (commands, threads): (Vec<_>, Vec<_>) = (0..workers).map(start).unzip();
                publish(&world, &commands, 2);
                // Everything that was done by the old one happened before the return.
                let by_first = world.by_first.load(Ordering::Relaxed);
                world.returned.store(true, Ordering::Release);
                for commands in &commands {
                    commands.send(Command::Stop);
                }
                for thread in threads {
                    thread.join().expect("a worker that ends well");
                }
                assert_eq!(
                    world.by_first.load(Ordering::Relaxed),
                    by_first,
                    "chosen by the old after the return"
                );
            }
        }
    };
}

model_over!(faithful, tidegate_model::faithful::store);
model_over!(relaxed, tidegate_model::relaxed::store);

/// Tries the interleavings in which threads are interrupted at most so often: where there are too
/// many to try them all, the faults that exist show with few.
fn bounded(interruptions: usize, run: impl Fn() + Sync + Send + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(interruptions);
    model.check(run);
}

#[test]
fn after_the_return_nobody_chooses_by_the_old() {
    loom::model(|| faithful::publication(1, 2, Wrong::Nothing));
}

#[test]
fn every_worker_is_waited_for() {
    bounded(2, || faithful::publication(2, 1, Wrong::Nothing));
}

#[test]
fn revisions_that_follow_each_other_never_go_back() {
    bounded(3, || {
        let world = faithful::World::new(1);
        let commands = Arc::new(Mailbox::new());
        let mut worker = faithful::Worker::new(&world, 0, Wrong::Nothing);
        let inbox = commands.clone();
        let thread = thread::spawn(move || {
            let seen = [worker.choose(), worker.choose()];
            assert!(seen[0] <= seen[1], "{seen:?}");
            worker.run(&inbox, 0);
        });
        let commands = [commands];
        faithful::publish(&world, &commands, 2);
        faithful::publish(&world, &commands, 3);
        commands[0].send(Command::Stop);
        thread.join().expect("a worker that ends well");
    });
}

#[test]
fn a_worker_that_ends_keeps_nobody_waiting() {
    loom::model(|| {
        let world = faithful::World::new(1);
        let commands = Arc::new(Mailbox::new());
        let worker = faithful::Worker::new(&world, 0, Wrong::Nothing);
        commands.send(Command::Stop);
        let inbox = commands.clone();
        let thread = thread::spawn(move || worker.run(&inbox, 1));
        faithful::publish(&world, &[commands], 2);
        thread.join().expect("a worker that ends well");
    });
}

#[test]
#[should_panic(expected = "an older one than was announced")]
fn a_number_that_comes_before_its_revision_is_refuted() {
    loom::model(|| relaxed::publication(1, 1, Wrong::Nothing));
}

#[test]
#[should_panic(expected = "chosen by the old after the return")]
fn an_acknowledgement_before_the_install_is_refuted() {
    loom::model(|| faithful::publication(1, 0, Wrong::KeepsItsLease));
}

#[test]
#[should_panic(expected = "deadlock")]
fn a_worker_that_ends_without_leaving_is_refuted() {
    loom::model(|| {
        let world = faithful::World::new(1);
        let commands = Arc::new(Mailbox::new());
        let worker = faithful::Worker::new(&world, 0, Wrong::EndsSilently);
        commands.send(Command::Stop);
        let inbox = commands.clone();
        let thread = thread::spawn(move || worker.run(&inbox, 0));
        faithful::publish(&world, &[commands], 2);
        thread.join().expect("a worker that ends well");
    });
}

#[test]
#[should_panic(expected = "deadlock")]
fn a_worker_that_is_not_woken_is_refuted() {
    loom::model(|| faithful::publication(1, 0, Wrong::IgnoresCommands));
}
