//! How long it takes to assign a cohort: its bucket, and the bucket's version.

use std::collections::BTreeMap;
use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use tidegate::name::VersionName;
use tidegate::split::bucket::first_salt;
use tidegate::split::{BucketTable, Split};
use tidegate::weight::Weights;

const VERSIONS: [usize; 2] = [2, 8];
const COHORTS: usize = 1024;

/// A sticky split over versions of unequal weights.
fn split(count: usize) -> (Split, BucketTable, Weights) {
    let name = |number| VersionName::new(&format!("v{number}")).expect("a good name");
    let names: Vec<_> = (0..count).map(name).collect();
    let weights: BTreeMap<_, _> = names.iter().cloned().zip(1..).collect();
    let weights = Weights::new(weights).expect("weights within their bounds");
    let table = BucketTable::new(&weights).expect("weights that are not all zero");
    (Split::new(&names, &weights, first_salt("shop"), Some(&table)), table, weights)
}

fn assign(criterion: &mut Criterion) {
    let cohorts: Vec<_> = (0..COHORTS).map(|number| format!("{number:032x}")).collect();
    let mut group = criterion.benchmark_group("cohort_assign");
    for count in VERSIONS {
        let (split, _, _) = split(count);
        let of = |cohort: &str| split.version_of_bucket(split.bucket(cohort.as_bytes()));
        assert!(cohorts.iter().all(|cohort| of(cohort).is_some()));
        group.bench_function(BenchmarkId::new("cookie", count), |bencher| {
            let mut next = cohorts.iter().cycle();
            bencher.iter(|| next.next().and_then(|cohort| of(black_box(cohort))));
        });
        group.bench_function(BenchmarkId::new("draw", count), |bencher| {
            let mut entropy = 0_u64;
            bencher.iter(|| {
                entropy = entropy.wrapping_add(0x9E37_79B9_7F4A_7C15);
                split.draw(black_box(entropy), |_| true)
            });
        });
    }
    group.finish();
}

/// What a change of weights costs once, not what a request pays.
fn reweigh(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("cohort_reweigh");
    for count in VERSIONS {
        let (_, table, weights) = split(count);
        let (heaviest, _) = weights.iter().last().expect("a version");
        let other = Weights::all_to(heaviest.clone());
        group.bench_function(BenchmarkId::from_parameter(count), |bencher| {
            bencher.iter(|| black_box(&table).moved_to(&other));
        });
    }
    group.finish();
}

criterion_group!(benches, assign, reweigh);
criterion_main!(benches);
