//! The published vectors, exact enumeration, and what must hold over many seeded streams.

use serde_json::Value;

use super::blocker::{Blocker, Closed, Pool};
use super::dispersion::{Dispersion, Halves};
use super::engine::{Arm, Engine, Metric, Params, Tick, Verdict};
use super::increment::{guarded, plain};
use super::interval::{Sums, max_weight};
use super::process::{Safe, Worse};
use super::{Block, RATIOS, Tolerance, latency, words};

fn vectors() -> Value {
    serde_json::from_str(include_str!("../../../tests/vectors/evidence.json")).expect("JSON")
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn float(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is not a number"))
}

fn whole(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is not a whole number"))
}

fn near(found: f64, expected: f64, tolerance: f64, what: &str) {
    let error = (found - expected).abs();
    assert!(
        error <= tolerance.max(tolerance * expected.abs()),
        "{what}: {found} instead of {expected}"
    );
}

fn block(values: &[Value]) -> Block {
    Block::new(whole(&values[0]), whole(&values[1]), whole(&values[2]), whole(&values[3]))
}

fn named(case: &Value) -> (Block, Tolerance, f64) {
    let of = |name: &str| float(&case[name]);
    let block = Block { n0: of("n0"), x0: of("x0"), n1: of("n1"), x1: of("x1") };
    (block, Tolerance { ratio: of("R0"), margin: of("delta") }, of("rho"))
}

#[test]
fn increments_are_those_of_the_vectors() {
    let all = vectors();
    for case in list(&all["block_increment"]) {
        let (block, tolerance, odds) = named(case);
        near(plain(block, tolerance, odds), float(&case["log_e"]), 1e-9, &case.to_string());
    }
    for case in list(&all["guarded_increment"]) {
        let (block, tolerance, odds) = named(case);
        let found = guarded(block, tolerance, odds, float(&case["phi"]));
        near(found, float(&case["log_e"]), 1e-9, &case.to_string());
    }
}

#[test]
fn streams_have_the_evidence_and_the_intervals_of_the_vectors() {
    let tolerance = |value: &Value| Tolerance { ratio: float(&value[0]), margin: float(&value[1]) };
    for stream in list(&vectors()["streams"]) {
        let worse = list(&stream["worse_params"]).iter();
        let mut worse: Vec<Worse> = worse.map(|params| Worse::new(tolerance(params))).collect();
        let mut safe = Safe::new(tolerance(&stream["safe_params"]));
        let mut sums = Sums::default();
        let mut checkpoints = list(&stream["checkpoints"]).iter().peekable();
        for (place, values) in list(&stream["blocks"]).iter().enumerate() {
            let (counts, seconds) = (block(list(values)), float(&values[4]));
            worse.iter_mut().for_each(|worse| worse.add(counts, seconds, 1.0));
            safe.add(counts, 1.0);
            sums.add(counts);
            let here = |point: &&Value| whole(&point["after_block"]) == place as u64;
            let Some(point) = checkpoints.next_if(here) else { continue };
            let what = format!("{} after {place}", stream["name"]);
            for (worse, expected) in worse.iter().zip(list(&point["worse"])) {
                near(worse.log_evidence(), float(expected), 1e-9, &what);
            }
            near(safe.log_evidence(), float(&point["safe"]), 1e-9, &what);
            if !point["estimate"].is_null() {
                check_estimate(&sums, &point["estimate"], &what);
            }
        }
        assert!(checkpoints.peek().is_none(), "a checkpoint was not reached");
    }
}

fn check_estimate(sums: &Sums, expected: &Value, what: &str) {
    let (ratio, difference) = (sums.ratio(1.0), sums.difference(1.0));
    let found = [
        ("ratio", ratio.point),
        ("ratio_lo", ratio.low),
        ("ratio_hi", ratio.high),
        ("diff", difference.point),
        ("diff_lo", difference.low),
        ("diff_hi", difference.high),
        ("max_weight", max_weight(difference.high, 0.001)),
    ];
    for (name, found) in found {
        match expected[name].as_f64() {
            Some(expected) => near(found, expected, 1e-6, &format!("{what}: {name}")),
            None => assert!(!found.is_finite(), "{what}: {name} {found} {}", expected[name]),
        }
    }
}

#[test]
fn latency_buckets_and_thresholds_are_those_of_the_vectors() {
    let all = vectors();
    let latency = &all["latency"];
    for case in list(&latency["bucket_index"]) {
        assert_eq!(latency::index(whole(&case["value"])) as u64, whole(&case["index"]), "{case}");
    }
    for case in list(&latency["bucket_low"]) {
        assert_eq!(latency::edge(whole(&case["index"]) as usize), whole(&case["low"]), "{case}");
    }
    for case in list(&latency["pick_threshold"]) {
        let mut counts = vec![0.0; latency::BUCKETS];
        for pair in list(&case["hist"]) {
            counts[whole(&pair[0]) as usize] = float(&pair[1]);
        }
        for (name, level) in [("p50", 0.5), ("p90", 0.9), ("p99", 0.99)] {
            let found = latency::threshold(&counts, level).map(|place| place as u64);
            assert_eq!(found, case["picks"][name].as_u64(), "{name}");
        }
    }
    for case in list(&latency["canary_threshold"]) {
        let (place, ratio) = (whole(&case["i"]) as usize, float(&case["ratio"]));
        assert_eq!(latency::alarm_bucket(place, ratio) as u64, whole(&case["alarm"]), "{case}");
        assert_eq!(latency::safe_bucket(place, ratio) as u64, whole(&case["safe"]), "{case}");
    }
}

#[derive(Debug, Clone, PartialEq, Default)]
struct Four([u64; 4]);

impl Pool for Four {
    fn requests(&self) -> (u64, u64) {
        (self.0[0], self.0[2])
    }

    fn add(&mut self, other: &Self) {
        self.0.iter_mut().zip(other.0).for_each(|(sum, more)| *sum += more);
    }
}

#[test]
fn ticks_are_pooled_as_in_the_vectors() {
    for case in list(&vectors()["blocker"]) {
        let (mut blocker, mut weight) = (Blocker::<Four>::default(), 0);
        let mut found = Vec::new();
        for (at, tick) in list(&case["ticks"]).iter().enumerate() {
            let counts = Four(std::array::from_fn(|place| whole(&tick[place + 1])));
            let changed = whole(&tick[0]) != weight;
            weight = whole(&tick[0]);
            let closed = [
                changed.then(|| std::mem::take(&mut blocker).end()).flatten(),
                blocker.add(&counts, 1.0),
            ];
            found.extend(closed.into_iter().flatten().map(|closed| (at as u64, closed)));
        }
        let expected = list(&case["closed"]).iter().map(|closed| {
            let counts = Four(std::array::from_fn(|place| whole(&closed["block"][place])));
            (whole(&closed["at_tick"]), Closed { counts, seconds: float(&closed["dur"]) })
        });
        assert_eq!(found, expected.collect::<Vec<_>>());
    }
}

#[test]
fn dispersion_is_that_of_the_vectors() {
    for case in list(&vectors()["dispersion"]) {
        let mut dispersion = Dispersion::default();
        for (row, before) in list(&case["rows"]).iter().zip(list(&case["phi_before"])) {
            near(dispersion.value(), float(before), 1e-9, &row.to_string());
            let half = |at: usize| (float(&row[at]), float(&row[at + 1]));
            dispersion.add(Halves { a: half(0), b: half(2) });
        }
        near(dispersion.value(), float(&case["phi_final"]), 1e-9, "final");
    }
}

fn errors_only(guard: bool) -> Engine {
    Engine::new(Params { guard, ..Params::default() }, &[Metric::Errors])
}

fn closed(counts: [u64; 4], seconds: f64) -> Closed<Tick> {
    let [n0, x0, n1, x1] = counts;
    let arm = |requests, errors| Arm { requests, errors, ..Arm::default() };
    let baseline = [arm(n0, x0), Arm::default()];
    Closed { counts: Tick { baseline, canary: arm(n1, x1) }, seconds }
}

#[test]
fn verdicts_are_those_of_the_vectors() {
    for case in list(&vectors()["engine"]) {
        let mut engine = errors_only(false);
        let word = |verdict: &Value| match verdict.as_str() {
            Some("regression") => Verdict::Regressed,
            Some("hold") => Verdict::Suspect,
            Some(word) => Verdict::of_word(word).expect("a verdict"),
            None => panic!("no verdict"),
        };
        let mut changes: Vec<(u64, Verdict)> = Vec::new();
        let mut evidence = list(&case["evidence"]).iter().peekable();
        for (place, row) in list(&case["blocks"]).iter().enumerate() {
            let counts = std::array::from_fn(|at| whole(&row["block"]["errors"][at]));
            engine.block(&closed(counts, float(&case["dur"])));
            if changes.last().is_none_or(|(_, verdict)| *verdict != engine.verdict()) {
                changes.push((place as u64, engine.verdict()));
            }
            let here = |point: &&Value| whole(&point["block"]) == place as u64;
            if let Some(point) = evidence.next_if(here) {
                near(engine.log_evidence(), float(&point["log_e_bad"]), 1e-9, "evidence");
                let safety = engine.evidence("the canary", &[])[0].log_safety;
                near(safety, float(&point["log_e_safe"]["errors"]), 1e-9, "safety");
            }
        }
        let expected = list(&case["verdict_changes"]).iter();
        let expected = expected.map(|at| (whole(&at["block"]), word(&at["verdict"])));
        assert_eq!(changes, expected.collect::<Vec<_>>(), "{}", case["name"]);
        assert_eq!(engine.verdict(), word(&case["final"]));
        assert_eq!(engine.blamed().map(Metric::as_str), case["blamed"].as_str());
        let text = &engine.evidence("the canary", &[])[0];
        let (odds, estimate) = (words::odds(text.log_evidence), text.difference.unwrap());
        let line = format!(
            "evidence {odds} that the canary has more errors; est. {}",
            words::difference(estimate)
        );
        assert_eq!(line, case["operator_line"].as_str().unwrap());
    }
}

/// The probability of `bad` among `requests` that fail independently.
fn binomial(requests: u64, bad: u64, rate: f64) -> f64 {
    let choose: f64 = (0..bad).map(|k| (requests - k) as f64 / (bad - k) as f64).product();
    choose * rate.powi(bad as i32) * (1.0 - rate).powi((requests - bad) as i32)
}

#[test]
fn the_expected_factor_is_at_most_one_exactly() {
    let tolerances = [(1.0, 0.0), (1.1, 0.0001), (1.5, 0.001), (1.0, 0.05)];
    for (n0, n1) in [(1, 1), (3, 2), (7, 1), (2, 8), (6, 6)] {
        for rate in [0.01, 0.2, 0.5, 0.8] {
            for (ratio, margin) in tolerances {
                let canary = ratio * rate + margin;
                if canary > 1.0 {
                    continue;
                }
                for odds in RATIOS.into_iter().chain(RATIOS.map(|odds| 1.0 / odds)) {
                    let mut expected = 0.0;
                    for (x0, x1) in (0..=n0).flat_map(|x0| (0..=n1).map(move |x1| (x0, x1))) {
                        let chance = binomial(n0, x0, rate) * binomial(n1, x1, canary);
                        let tolerance = Tolerance { ratio, margin };
                        expected +=
                            chance * plain(Block::new(n0, x0, n1, x1), tolerance, odds).exp();
                    }
                    assert!(expected <= 1.0 + 1e-9, "{n0} {n1} {rate} {ratio} {odds}: {expected}");
                }
            }
        }
    }
}

fn draw(random: &mut fastrand::Rng, requests: u64, rate: f64) -> u64 {
    (0..requests).filter(|_| random.f64() < rate).count() as u64
}

/// How many of 200 streams end in a verdict of regressed.
fn regressed(streams: u64, blocks: usize, rate: f64, canary: f64) -> usize {
    (0..streams)
        .filter(|seed| {
            let mut random = fastrand::Rng::with_seed(*seed);
            let mut engine = errors_only(false);
            (0..blocks).any(|_| {
                let (x0, x1) = (draw(&mut random, 90, rate), draw(&mut random, 10, canary));
                engine.block(&closed([90, x0, 10, x1], 1.0));
                engine.verdict() == Verdict::Regressed
            })
        })
        .count()
}

#[test]
fn of_200_equal_versions_at_most_6_are_called_regressed() {
    let found = regressed(200, 600, 0.01, 0.01);
    assert!(found <= 6, "{found}");
}

#[test]
fn a_version_that_fails_five_times_as_often_is_found_every_time() {
    assert_eq!(regressed(40, 600, 0.01, 0.05), 40);
}

#[test]
fn slow_errors_belong_to_the_weight_that_they_were_assigned_under() {
    // Time-outs of ten seconds while the weight goes up and down: both arms are equal.
    let (slow, period, rate) = (10, 40, 200);
    let alarms = (0..40).filter(|seed| {
        let mut random = fastrand::Rng::with_seed(*seed);
        let mut engine = errors_only(false);
        let mut late: Vec<(usize, u32, Tick)> = Vec::new();
        for second in 0..400 {
            let weight = (second / period) as u32;
            let share = if weight.is_multiple_of(2) { 0.5 } else { 0.1 };
            let canary = draw(&mut random, rate, share);
            let counts = [rate - canary, canary].map(|n| (n, draw(&mut random, n, 0.02)));
            let [(n0, x0), (n1, x1)] = counts;
            engine.tick(weight, &closed([n0 - x0, 0, n1 - x1, 0], 1.0).counts, 1.0);
            late.push((second + slow, weight, closed([x0, x0, x1, x1], 0.0).counts));
            late.retain(|(due, weight, counts)| {
                if *due == second {
                    engine.tick(*weight, counts, 0.0);
                }
                *due > second
            });
        }
        engine.verdict() == Verdict::Regressed
    });
    assert!(alarms.count() <= 2);
}

#[test]
fn what_was_kept_goes_on_as_if_nothing_had_happened() {
    let mut random = fastrand::Rng::with_seed(7);
    let mut whole = Engine::new(Params::default(), &Metric::ALL);
    let mut kept = whole.clone();
    for second in 0..200 {
        let mut arm = |rate: f64, slow: u64, n: u64| {
            let mut latency = vec![0; latency::BUCKETS];
            (0..n).for_each(|_| latency[latency::index(random.u64(1000..slow))] += 1);
            Arm { requests: n, errors: draw(&mut random, n, rate), latency, outcomes: (0, 0) }
        };
        let baseline = [arm(0.01, 9000, 45), arm(0.01, 9000, 45)];
        let tick = Tick { baseline, canary: arm(0.02, 9500, 12) };
        let closed = Closed { counts: tick, seconds: 1.0 };
        whole.block(&closed);
        kept.block(&closed);
        if second % 50 == 0 {
            let exported = kept.export();
            kept = Engine::new(Params::default(), &Metric::ALL);
            kept.restore(&exported);
        }
        assert_eq!(whole.log_evidence(), kept.log_evidence(), "{second}");
        assert_eq!(whole.verdict(), kept.verdict(), "{second}");
    }
}

#[test]
fn a_canary_with_only_its_tail_doubled_is_found_by_its_tail() {
    let mut random = fastrand::Rng::with_seed(3);
    let mut engine = Engine::new(Params::default(), &Metric::ALL);
    let mut arm = |n: u64, tail: u64| {
        let mut latency = vec![0; latency::BUCKETS];
        for _ in 0..n {
            let micros = if random.f64() < 0.03 { random.u64(40_000..60_000) * tail } else { 5000 };
            latency[latency::index(micros)] += 1;
        }
        Arm { requests: n, latency, ..Arm::default() }
    };
    for _ in 0..60 {
        engine.warm(&[arm(200, 1), arm(200, 1)], 1.0);
    }
    for second in 0..600 {
        let tick = Tick { baseline: [arm(150, 1), arm(150, 1)], canary: arm(60, 2) };
        engine.tick(1, &tick, 1.0);
        if engine.verdict() == Verdict::Regressed {
            assert_eq!(engine.blamed(), Some(Metric::P99), "after {second} s");
            return;
        }
    }
    panic!("not found: {:?}", engine.evidence("green", &[]));
}

#[test]
fn requests_that_went_elsewhere_than_the_weights_say_make_a_verdict_void() {
    let mut engine = errors_only(true);
    engine.expect_share(Some(0.1));
    (0..100).for_each(|_| engine.block(&closed([90, 1, 10, 0], 1.0)));
    assert_eq!(engine.void(), None);
    (0..200).for_each(|_| engine.block(&closed([90, 1, 20, 0], 1.0)));
    let text = engine.void().unwrap();
    assert!(text.contains("5000 requests of the new version were counted where 3200"), "{text}");
    let mut after = errors_only(true);
    after.restore(&engine.export());
    assert_eq!(after.void(), Some(text), "a restart does not forget it");
}
