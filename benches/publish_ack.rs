//! How long it takes from the swap of a revision until every worker has acknowledged it.
//!
//! The workers are real and idle, each on its thread: what is measured is a store, a wake and an
//! answer. The journal is not in it.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use tidegate::proxy::worker::{Command, Shared, WorkerHandle};
use tidegate::revision::store::{Revision, RevisionStore};
use tidegate::shadow::ShadowHub;
use tidegate::snapshot::Snapshot;
use tidegate::upstream::Registry;

const WORKERS: [usize; 2] = [1, 2];

/// Publishes `count` revisions one after the other, as `control` does.
async fn publish(shared: &Shared, workers: &[WorkerHandle], count: u64) -> Duration {
    let mut took = Duration::ZERO;
    for _ in 0..count {
        let number = shared.store.number() + 1;
        let revision = Revision { number, snapshot: Snapshot::empty() };
        let began = Instant::now();
        shared.store.swap(revision);
        for worker in workers {
            worker.send(Command::Install);
        }
        shared.store.all_acknowledged(number).await;
        took += began.elapsed();
    }
    took
}

fn acknowledge(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let mut group = criterion.benchmark_group("publish_ack");
    for count in WORKERS {
        let (shadows, _comparisons) = ShadowHub::new();
        let first = Revision { number: 1, snapshot: Snapshot::empty() };
        let shared = Arc::new(Shared {
            store: RevisionStore::new(first, count),
            registry: Arc::new(Registry::default()),
            duration_bounds: Vec::new(),
            access_log: None,
            shadows,
            rate_limits: Default::default(),
            recent: OnceLock::new(),
        });
        let start = |seat| WorkerHandle::start(shared.clone(), seat).expect("a thread");
        let workers: Vec<_> = (0..count).map(start).collect();
        group.bench_function(BenchmarkId::from_parameter(count), |bencher| {
            bencher.iter_custom(|times| runtime.block_on(publish(&shared, &workers, times)));
        });
        for worker in &workers {
            worker.send(Command::Stop);
        }
    }
    group.finish();
}

criterion_group!(benches, acknowledge);
criterion_main!(benches);
