//! The assumed traffic of a simulated rollout: what both versions would be counted with.

use std::collections::BTreeMap;

use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};
use rand_distr::{Binomial, Distribution, Geometric, Poisson};

use crate::rollout::evidence::engine::{Arm, Tick};
use crate::rollout::evidence::latency::{BUCKETS, NEVER, index};

/// Points that stand for a continuous latency, from so many standard deviations to so many.
const POINTS: usize = 96;
const DEVIATIONS: (f64, f64) = (-3.5, 4.5);
/// The standard normal quantile of 0.99.
const NORMAL_P99: f64 = 2.326_347_874;

/// What is assumed of a service's requests.
#[derive(Debug, Clone, PartialEq)]
pub struct World {
    /// Requests a second, of both versions together.
    pub rate: f64,
    /// The share of the baseline's requests that fail.
    pub errors: f64,
    /// How many fail together, on average.
    pub burst: f64,
    /// Seconds after which a failure is known.
    pub failure_takes: f64,
    /// Of answers; `None` if it is not looked at.
    pub latency: Option<Latency>,
    pub harm: Harm,
    /// What befalls both versions.
    pub outages: Vec<Outage>,
}

/// A lognormal latency.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Latency {
    pub p50_ms: f64,
    pub p99_ms: f64,
}

/// What is worse with the new version.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Harm {
    /// Its error rate as a multiple of the baseline's.
    pub error_ratio: f64,
    /// What comes to that, as a share of its requests.
    pub error_added: f64,
    /// Every quantile of its latency as a multiple.
    pub latency_ratio: f64,
    /// Its p99 as a multiple, while its p50 is the same.
    pub tail_ratio: f64,
    /// Seconds after the start at which it begins.
    pub onset: f64,
}

impl Harm {
    /// A version like the one before it.
    pub const NONE: Self = Self {
        error_ratio: 1.0,
        error_added: 0.0,
        latency_ratio: 1.0,
        tail_ratio: 1.0,
        onset: 0.0,
    };
}

/// A time in which requests fail, whichever version they go to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Outage {
    /// Seconds after the start.
    pub from: f64,
    pub seconds: f64,
    /// The share of requests that fail.
    pub errors: f64,
}

impl World {
    /// One without latency, bursts and outages.
    pub fn new(rate: f64, errors: f64, harm: Harm) -> Self {
        Self {
            rate,
            errors,
            burst: 1.0,
            failure_takes: 0.0,
            latency: None,
            harm,
            outages: Vec::new(),
        }
    }

    /// The error rates of baseline and new version at a time.
    fn rates(&self, at: f64) -> (f64, f64) {
        let harm = if at >= self.harm.onset { self.harm } else { Harm::NONE };
        let within = |outage: &&Outage| at >= outage.from && at < outage.from + outage.seconds;
        let shared = self.outages.iter().find(within).map_or(0.0, |outage| outage.errors);
        let canary = (self.errors * harm.error_ratio + harm.error_added).min(1.0);
        (self.errors.max(shared), canary.max(shared))
    }
}

/// A latency as the buckets it falls in, each with its chance among those not before it.
#[derive(Debug)]
struct Points(Vec<(usize, f64)>);

impl Points {
    fn of(latency: Latency, ratio: f64, tail: f64) -> Self {
        let middle = (latency.p50_ms * 1e3).ln();
        let deviation = (latency.p99_ms * tail / latency.p50_ms).ln().max(0.0) / NORMAL_P99;
        let step = (DEVIATIONS.1 - DEVIATIONS.0) / POINTS as f64;
        let points = (0..POINTS).map(|place| {
            let normal = DEVIATIONS.0 + (place as f64 + 0.5) * step;
            let micros = (middle + deviation * normal).exp() * ratio;
            (index(micros as u64).min(NEVER), (-normal * normal / 2.0).exp())
        });
        let points: Vec<(usize, f64)> = points.collect();
        let mut left: f64 = points.iter().map(|(_, weight)| weight).sum();
        let conditional = points.into_iter().map(|(bucket, weight)| {
            let chance = (weight / left).min(1.0);
            left -= weight;
            (bucket, chance)
        });
        Self(conditional.collect())
    }
}

/// Failures that are not known yet.
#[derive(Debug)]
struct Late {
    due: f64,
    generation: u32,
    counts: Tick,
}

/// A stream of such requests: the same for the same seed.
#[derive(Debug)]
pub struct Traffic<'w> {
    world: &'w World,
    random: Xoshiro256PlusPlus,
    /// Of the baseline, and of the new version since its harm began.
    baseline: Option<Points>,
    canary: Option<Points>,
    late: Vec<Late>,
    /// Requests that the new version had since its harm began.
    pub exposed: u64,
    /// Its failures beyond those that the baseline would have had.
    pub excess: f64,
}

impl<'w> Traffic<'w> {
    /// A stream that begins.
    pub fn new(world: &'w World, seed: u64) -> Self {
        let points = |ratio, tail| world.latency.map(|latency| Points::of(latency, ratio, tail));
        Self {
            world,
            random: Xoshiro256PlusPlus::seed_from_u64(seed),
            baseline: points(1.0, 1.0),
            canary: points(world.harm.latency_ratio, world.harm.tail_ratio),
            late: Vec::new(),
            exposed: 0,
            excess: 0.0,
        }
    }

    /// What the baseline alone is counted with in so many seconds before the start.
    pub fn before(&mut self, seconds: f64) -> [Arm; 2] {
        let requests = poisson(&mut self.random, self.world.rate * seconds);
        let [a, b] = self.halves(requests, self.world.errors);
        [a.0, b.0]
    }

    /// What becomes known in so many seconds from `at` on, by the number of the weight that it was
    /// assigned under; now the new version has this share, under the weight of that number.
    pub fn tick(
        &mut self,
        at: f64,
        seconds: f64,
        share: f64,
        generation: u32,
    ) -> BTreeMap<u32, Tick> {
        let (rate, canary_rate) = self.world.rates(at);
        let requests = poisson(&mut self.random, self.world.rate * seconds);
        let to_canary = binomial(&mut self.random, requests, share);
        let [a, b] = self.halves(requests - to_canary, rate);
        let harmed = at >= self.world.harm.onset;
        let points = if harmed { &self.canary } else { &self.baseline };
        let c = arm(&mut self.random, self.world, points.as_ref(), to_canary, canary_rate);
        self.excess += c.1 as f64 - to_canary as f64 * rate;
        self.exposed += if harmed { to_canary } else { 0 };
        let mut now = Tick { baseline: [a.0, b.0], canary: c.0 };
        let failed = |count| Arm { requests: count, errors: count, ..Arm::default() };
        let failures = Tick { baseline: [failed(a.1), failed(b.1)], canary: failed(c.1) };
        let mut ticks = BTreeMap::new();
        if self.world.failure_takes <= 0.0 {
            add(&mut now, &failures);
        } else {
            let due = at + self.world.failure_takes;
            self.late.push(Late { due, generation, counts: failures });
        }
        ticks.insert(generation, now);
        let due = self.late.partition_point(|late| late.due < at + seconds);
        for late in self.late.drain(..due) {
            add(ticks.entry(late.generation).or_default(), &late.counts);
        }
        ticks
    }

    /// So many requests of the baseline in two halves: their answers, and how many failed.
    fn halves(&mut self, requests: u64, rate: f64) -> [(Arm, u64); 2] {
        let first = binomial(&mut self.random, requests, 0.5);
        [first, requests - first]
            .map(|n| arm(&mut self.random, self.world, self.baseline.as_ref(), n, rate))
    }
}

fn add(sum: &mut Tick, more: &Tick) {
    sum.baseline.iter_mut().zip(&more.baseline).for_each(|(half, more)| half.add(more));
    sum.canary.add(&more.canary);
}

/// The answers among so many requests, and how many of them failed.
fn arm(
    random: &mut Xoshiro256PlusPlus,
    world: &World,
    points: Option<&Points>,
    requests: u64,
    rate: f64,
) -> (Arm, u64) {
    let failed = match world.burst > 1.0 {
        true => bursts(random, requests as f64 * rate, world.burst).min(requests),
        false => binomial(random, requests, rate),
    };
    let answered = requests - failed;
    let mut latency = Vec::new();
    if let Some(Points(points)) = points
        && answered > 0
    {
        latency.resize(BUCKETS, 0);
        let mut left = answered;
        for (bucket, chance) in points {
            let here = binomial(random, left, *chance);
            latency[*bucket] += here as u32;
            left -= here;
            if left == 0 {
                break;
            }
        }
    }
    (Arm { requests: answered, latency, ..Arm::default() }, failed)
}

/// Failures that come together, so many on average in all and in each burst.
fn bursts(random: &mut Xoshiro256PlusPlus, expected: f64, size: f64) -> u64 {
    let bursts = poisson(random, expected / size);
    let Ok(more) = Geometric::new(1.0 / size) else { return bursts };
    (0..bursts).map(|_| 1 + more.sample(random)).sum()
}

fn poisson(random: &mut Xoshiro256PlusPlus, mean: f64) -> u64 {
    Poisson::new(mean).map_or(0, |poisson| poisson.sample(random) as u64)
}

fn binomial(random: &mut Xoshiro256PlusPlus, count: u64, chance: f64) -> u64 {
    // Single draws are cheaper than setting a distribution up.
    if count <= 4 {
        return (0..count).filter(|_| random.random::<f64>() < chance).count() as u64;
    }
    Binomial::new(count, chance.clamp(0.0, 1.0)).map_or(0, |binomial| binomial.sample(random))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rollout::evidence::engine::Metric;
    use crate::rollout::evidence::latency::{above, edge};

    fn world() -> World {
        let latency = Some(Latency { p50_ms: 50.0, p99_ms: 250.0 });
        World { latency, ..World::new(1000.0, 0.01, Harm::NONE) }
    }

    fn sum(traffic: &mut Traffic<'_>, seconds: u32, share: f64) -> Tick {
        let mut all = Tick::default();
        for second in 0..seconds {
            let ticks = traffic.tick(f64::from(second), 1.0, share, 1);
            ticks.values().for_each(|tick| add(&mut all, tick));
        }
        all
    }

    #[track_caller]
    fn near(found: f64, expected: f64, deviations: f64) {
        assert!((found - expected).abs() < 5.0 * deviations, "{found} instead of {expected}");
    }

    #[test]
    fn rates_shares_and_quantiles_are_those_assumed() {
        let world = world();
        let all = sum(&mut Traffic::new(&world, 1), 100, 0.2);
        near(all.canary.requests as f64, 20_000.0, 20_000f64.sqrt());
        near(all.canary.errors as f64, 200.0, 200f64.sqrt());
        for half in &all.baseline {
            near(half.requests as f64, 40_000.0, 40_000f64.sqrt());
            near(half.errors as f64, 400.0, 400f64.sqrt());
        }
        let answered: u32 = all.canary.latency.iter().sum();
        assert_eq!(u64::from(answered), all.canary.requests - all.canary.errors);
        let slower = |ms: f64| above(&all.canary.latency, index((ms * 1e3) as u64)) as f64;
        // The points are a twelfth of a deviation apart.
        near(slower(50.0) / f64::from(answered), 0.5, 0.02);
        near(slower(250.0) / f64::from(answered), 0.01, 0.001);
    }

    #[test]
    fn harm_is_the_new_version_s_alone_and_begins_at_its_time() {
        let harm = Harm { error_ratio: 3.0, tail_ratio: 2.0, onset: 50.0, ..Harm::NONE };
        let world = World { harm, ..world() };
        let mut traffic = Traffic::new(&world, 2);
        let before = sum(&mut traffic, 50, 0.5);
        assert_eq!(traffic.exposed, 0);
        near(before.canary.errors as f64, 250.0, 250f64.sqrt());
        let mut after = Tick::default();
        for second in 50..100 {
            traffic.tick(f64::from(second), 1.0, 0.5, 1).values().for_each(|t| add(&mut after, t));
        }
        near(after.canary.errors as f64, 750.0, 750f64.sqrt());
        near(traffic.excess, 500.0, 1000f64.sqrt());
        assert_eq!(traffic.exposed, after.canary.requests);
        let p99 = |arm: &Arm| {
            let total = above(&arm.latency, 0);
            (0..BUCKETS).rev().find(|b| above(&arm.latency, *b) * 100 >= total).map(edge).unwrap()
        };
        let ratio = p99(&after.canary) as f64 / p99(&after.baseline[0]) as f64;
        assert!((1.7..2.3).contains(&ratio), "{ratio}");
        near(before.baseline[0].errors as f64, 125.0, 125f64.sqrt());
    }

    #[test]
    fn an_outage_is_shared_bursts_come_together_and_slow_failures_later() {
        let outage = Outage { from: 10.0, seconds: 10.0, errors: 0.5 };
        let world = World { outages: vec![outage], failure_takes: 5.0, ..world() };
        let mut traffic = Traffic::new(&world, 3);
        let early = sum(&mut traffic, 5, 0.5);
        assert_eq!(early.canary.errors, 0, "{:?}", Metric::Errors);
        let ticks = (5..30).map(|at| traffic.tick(f64::from(at), 1.0, 0.5, 2));
        let mut by_weight = [Tick::default(), Tick::default()];
        for (generation, tick) in ticks.flatten() {
            add(&mut by_weight[generation as usize - 1], &tick);
        }
        near(by_weight[0].canary.errors as f64, 25.0, 5.0);
        near(by_weight[1].canary.errors as f64, 2550.0, 2550f64.sqrt());
        let one = World { burst: 20.0, ..World::new(1000.0, 0.01, Harm::NONE) };
        let mut traffic = Traffic::new(&one, 4);
        let counts = (0..400).map(|at| traffic.tick(f64::from(at), 1.0, 0.5, 1)[&1].canary.errors);
        let counts: Vec<f64> = counts.map(|count| count as f64).collect();
        let mean = counts.iter().sum::<f64>() / 400.0;
        let variance = counts.iter().map(|count| (count - mean).powi(2)).sum::<f64>() / 400.0;
        near(mean, 5.0, (5.0 * 39.0 / 400f64).sqrt());
        assert!(variance > 15.0 * mean, "{variance} {mean}");
    }
}
