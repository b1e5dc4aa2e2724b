//! The operating figures of `docs/evidence.md`: every table there is made and checked here.
//!
//! Run with `UPDATE_DOCS=1` to write the tables anew.

use std::sync::Mutex;

use super::super::tally::quantile;
use super::*;
use crate::rollout::evidence::blocker::{Closed, Pool};
use crate::rollout::evidence::engine::{Engine, Metric, Params, Tick, Verdict};

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/evidence.md");
/// The tests write different parts of one page.
static WRITING: Mutex<()> = Mutex::new(());

/// Checks a table of the page against what was found now, or writes it.
fn check(name: &str, heads: &[&str], rows: &[Vec<String>]) {
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let owned: Vec<String> = heads.iter().map(|head| (*head).to_owned()).collect();
    let rule: Vec<String> = heads.iter().map(|_| "---".to_owned()).collect();
    let found = line(&owned) + &line(&rule) + &rows.iter().map(|row| line(row)).collect::<String>();
    let _writing = WRITING.lock().unwrap();
    let page = std::fs::read_to_string(PAGE).unwrap();
    let (begin, end) = (format!("<!-- {name} -->\n"), format!("<!-- /{name} -->"));
    let (before, rest) = page.split_once(&begin).unwrap_or_else(|| panic!("no {begin}"));
    let (kept, after) = rest.split_once(&end).unwrap_or_else(|| panic!("no {end}"));
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(PAGE, format!("{before}{begin}{found}{end}{after}")).unwrap();
        return;
    }
    // Logarithms differ in their last digit from one machine to the next, and now and then a stream
    // with them.
    let near = |a: &str, b: &str| {
        let number = |text: &str| text.trim_matches(['%', 's']).replace(',', "").parse::<f64>();
        match (number(a), number(b)) {
            (Ok(a), Ok(b)) => (a - b).abs() <= 3.0 + 0.2 * a.abs().max(b.abs()),
            _ => a == b,
        }
    };
    let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let (kept, now) = (words(kept), words(&found));
    let same = kept.len() == now.len() && kept.iter().zip(&now).all(|(a, b)| near(a, b));
    assert!(same, "docs/evidence.md is stale, run UPDATE_DOCS=1 cargo test:\n{found}");
}

fn share(found: usize, of: u64) -> String {
    format!("{:.1} %", 100.0 * found as f64 / of as f64)
}

/// A whole number with its thousands marked.
fn whole(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut out = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Median and 95th percentile of what was found in so many streams; those that found nothing are
/// beyond the end.
fn middle_and_late(found: &[Option<f64>]) -> String {
    let mut values: Vec<f64> = found.iter().map(|value| value.unwrap_or(f64::MAX)).collect();
    values.sort_by(f64::total_cmp);
    let shown = |level| match quantile(&values, level) {
        Some(value) if value < f64::MAX => whole(value),
        _ => "not found".to_owned(),
    };
    format!("{} / {}", shown(0.5), shown(0.95))
}

fn engine(metrics: &[Metric], guard: bool) -> Engine {
    Engine::new(Params { guard, cautious: true, ..Params::default() }, metrics)
}

/// A stream of one world, counted block by block.
struct Stream<'w> {
    traffic: Traffic<'w>,
    engine: Engine,
    at: f64,
    canary: u64,
}

impl<'w> Stream<'w> {
    /// One whose engine has seen ten minutes of the baseline.
    fn new(world: &'w World, engine: Engine, seed: u64) -> Self {
        let mut traffic = Traffic::new(world, seed);
        let mut engine = engine;
        (0..300).for_each(|_| engine.warm(&traffic.before(2.0), 2.0));
        Self { traffic, engine, at: 0.0, canary: 0 }
    }

    /// One block of so many seconds; its counts.
    fn block(&mut self, seconds: f64, share: f64) -> Tick {
        let ticks = self.traffic.tick(self.at, seconds, share, 1);
        self.at += seconds;
        let mut counts = Tick::default();
        ticks.values().for_each(|tick| counts.add(tick));
        self.canary += counts.canary.requests;
        self.engine.block(&Closed { counts: counts.clone(), seconds });
        counts
    }

    /// Canary requests until a verdict, looked for every second at first, and then at every
    /// hundredth more.
    fn until(mut self, verdict: Verdict, share: f64, max: u64) -> Option<f64> {
        while self.canary < max {
            self.block((self.at / 100.0).max(1.0), share);
            if self.engine.verdict() == verdict {
                return Some(self.canary as f64);
            }
        }
        None
    }
}

/// Canary requests until a verdict, in so many streams.
fn until<const STREAMS: usize>(
    world: &World,
    metrics: &[Metric],
    verdict: Verdict,
    share: f64,
    max: u64,
) -> [Option<f64>; STREAMS] {
    std::array::from_fn(|seed| {
        Stream::new(world, engine(metrics, true), seed as u64).until(verdict, share, max)
    })
}

fn percent(rate: f64) -> String {
    format!("{} %", (rate * 1e4).round() / 100.0)
}

/// The test that looks at the sums as if it looked once: |z| above 2.58.
struct Naive(Tick);

impl Naive {
    fn fires(&mut self, counts: &Tick) -> bool {
        self.0.add(counts);
        let sum = |value: fn(&crate::rollout::evidence::engine::Arm) -> u64| {
            self.0.baseline.iter().map(value).sum::<u64>() as f64
        };
        let (n0, x0) = (sum(|arm| arm.requests), sum(|arm| arm.errors));
        let (n1, x1) = (self.0.canary.requests as f64, self.0.canary.errors as f64);
        let pooled = (x0 + x1) / (n0 + n1);
        let variance = pooled * (1.0 - pooled) * (1.0 / n0 + 1.0 / n1);
        variance > 0.0 && x0 + x1 >= 10.0 && (x1 / n1 - x0 / n0).abs() / variance.sqrt() > 2.576
    }
}

#[test]
fn equal_versions_are_hardly_ever_called_regressed_in_a_day() {
    const STREAMS: u64 = 100;
    let shocks = [(7_000.0, 30.0), (30_000.0, 60.0), (60_000.0, 120.0)];
    let mut rows = Vec::new();
    for errors in [0.001, 0.01, 0.05] {
        for outages in [&shocks[..0], &shocks[..]] {
            let outages: Vec<Outage> = outages
                .iter()
                .map(|(from, seconds)| Outage { from: *from, seconds: *seconds, errors: 0.3 })
                .collect();
            let shared = if outages.is_empty() { "none" } else { "three" };
            let world = World { outages, ..World::new(200.0, errors, Harm::NONE) };
            let (mut regressed, mut suspect, mut naive) = (0, 0, 0);
            for seed in 0..STREAMS {
                let mut stream = Stream::new(&world, engine(&[Metric::Errors], true), seed);
                let mut z = Naive(Tick::default());
                let (mut suspected, mut fired) = (false, false);
                while stream.at < 86_400.0 {
                    let share = [0.01, 0.1, 0.5][((stream.at / 3600.0) as usize).min(2)];
                    let counts = stream.block(60.0, share);
                    suspected |= stream.engine.verdict() == Verdict::Suspect;
                    fired |= z.fires(&counts);
                }
                regressed += usize::from(stream.engine.verdict() == Verdict::Regressed);
                suspect += usize::from(suspected);
                naive += usize::from(fired);
            }
            assert!(regressed <= 4, "{errors} {shared}: {regressed} of {STREAMS}");
            rows.push(vec![
                percent(errors),
                shared.to_owned(),
                share(regressed, STREAMS),
                share(suspect, STREAMS),
                share(naive, STREAMS),
            ]);
        }
    }
    let heads = [
        "errors of both",
        "shared outages",
        "`regressed`",
        "ever `suspect`",
        "a z-test at 1 %, looked at every minute",
    ];
    check("T1", &heads, &rows);
}

#[test]
fn errors_are_found_in_so_many_requests() {
    let effects = [
        ("×1.5", Harm { error_ratio: 1.5, ..Harm::NONE }),
        ("×2", Harm { error_ratio: 2.0, ..Harm::NONE }),
        ("×5", Harm { error_ratio: 5.0, ..Harm::NONE }),
        ("+1 pp", Harm { error_added: 0.01, ..Harm::NONE }),
    ];
    let mut rows = Vec::new();
    for errors in [0.001, 0.01, 0.05] {
        let cells = effects.iter().map(|(_, harm)| {
            let world = World::new(100.0, errors, *harm);
            let found: [_; 40] =
                until(&world, &[Metric::Errors], Verdict::Regressed, 0.1, 1_000_000);
            assert!(found.iter().all(Option::is_some), "{errors} {harm:?}");
            middle_and_late(&found)
        });
        rows.push([percent(errors)].into_iter().chain(cells).collect());
    }
    let heads: Vec<&str> =
        ["baseline's errors"].into_iter().chain(effects.iter().map(|(name, _)| *name)).collect();
    check("T2", &heads, &rows);
}

#[test]
fn slowness_is_found_in_so_many_requests() {
    const STREAMS: u64 = 12;
    let metrics = [Metric::P50, Metric::P90, Metric::P99];
    let mut rows = Vec::new();
    for ratio in [1.2, 1.5, 2.0] {
        let shapes =
            [Harm { latency_ratio: ratio, ..Harm::NONE }, Harm { tail_ratio: ratio, ..Harm::NONE }];
        let cells = shapes.map(|harm| {
            let world = world(100.0, 0.0, harm);
            let found: Vec<_> = (0..STREAMS)
                .map(|seed| {
                    let stream = Stream::new(&world, engine(&metrics, true), seed);
                    stream.until(Verdict::Regressed, 0.1, 100_000)
                })
                .collect();
            assert!(found.iter().all(Option::is_some), "{harm:?} {found:?}");
            middle_and_late(&found)
        });
        rows.push([format!("×{ratio}")].into_iter().chain(cells).collect());
    }
    check("T3", &["slower", "every quantile", "the p99 alone"], &rows);
}

#[test]
fn safety_is_earned_in_so_many_requests_and_not_at_the_margin() {
    let mut rows = Vec::new();
    for errors in [0.0, 0.0001, 0.001, 0.01, 0.05] {
        // What is tolerated for a promotion: half as many again, and a thousandth.
        let margin = Harm { error_ratio: 1.5, error_added: 0.001, ..Harm::NONE };
        let runs = |harm, max| {
            let world = World::new(100.0, errors, harm);
            until::<200>(&world, &[Metric::Errors], Verdict::Safe, 0.1, max)
        };
        let equal = runs(Harm::NONE, 100_000);
        assert!(equal.iter().all(Option::is_some), "{errors}: {equal:?}");
        let at_margin = runs(margin, 50_000).iter().flatten().count();
        assert!(at_margin <= 15, "{errors}: {at_margin} of 200");
        rows.push(vec![percent(errors), middle_and_late(&equal), share(at_margin, 200)]);
    }
    check("T4", &["errors of both", "requests until `safe`", "`safe` at the very margin"], &rows);
}

#[test]
fn a_baseline_without_errors_is_enough() {
    let mut rows = Vec::new();
    for added in [0.001, 0.01, 0.05, 1.0] {
        let cells = [0.01, 0.1, 0.5].map(|share| {
            let world = World::new(1000.0, 0.0, Harm { error_added: added, ..Harm::NONE });
            let found: [_; 40] =
                until(&world, &[Metric::Errors], Verdict::Regressed, share, 1_000_000);
            assert!(found.iter().all(Option::is_some), "{added} {share}");
            middle_and_late(&found)
        });
        rows.push([percent(added)].into_iter().chain(cells).collect());
    }
    check("T5", &["the new version's errors", "1 % of traffic", "10 %", "50 %"], &rows);
}

#[test]
fn bursts_raise_no_alarm_and_cost_time() {
    const STREAMS: u64 = 40;
    let mut rows = Vec::new();
    for burst in [1.0, 2.0, 5.0, 20.0] {
        let world = World { burst, ..World::new(2000.0, 0.0005, Harm::NONE) };
        let alarms = |guard| {
            let fires = |seed: &u64| {
                let mut stream = Stream::new(&world, engine(&[Metric::Errors], guard), *seed);
                while stream.at < 7200.0 && stream.engine.verdict() != Verdict::Regressed {
                    stream.block(5.0, 0.1);
                }
                stream.engine.verdict() == Verdict::Regressed
            };
            (0..STREAMS).filter(fires).count()
        };
        let (without, with) = (alarms(false), alarms(true));
        assert!(with <= 3, "{burst}: {with}");
        let harm = Harm { error_ratio: 3.0, ..Harm::NONE };
        let worse = World { harm, ..world.clone() };
        let found: [_; 40] = until(&worse, &[Metric::Errors], Verdict::Regressed, 0.1, 3_000_000);
        rows.push(vec![
            format!("{burst}"),
            share(without, STREAMS),
            share(with, STREAMS),
            middle_and_late(&found),
        ]);
    }
    let heads = [
        "errors that come together",
        "false alarms in 2 h without the guard",
        "with it",
        "requests until ×3 is found",
    ];
    check("T6", &heads, &rows);
}

#[test]
fn slow_failures_mislead_only_who_counts_them_late() {
    const STREAMS: u64 = 40;
    let world = World { failure_takes: 10.0, ..World::new(200.0, 0.02, Harm::NONE) };
    let alarms = |by_weight: bool| {
        let fires = |seed: &u64| {
            let mut traffic = Traffic::new(&world, *seed);
            let mut engine = engine(&[Metric::Errors], true);
            (0..300).for_each(|_| engine.warm(&traffic.before(2.0), 2.0));
            for second in 0..3600u32 {
                let weight = second / 120;
                let share = if weight.is_multiple_of(2) { 0.5 } else { 0.1 };
                for (generation, tick) in traffic.tick(f64::from(second), 1.0, share, weight) {
                    let (generation, seconds) = match by_weight {
                        true => (generation, f64::from(u8::from(generation == weight))),
                        false => (0, f64::from(u8::from(generation == weight))),
                    };
                    engine.tick(generation, &tick, seconds);
                }
            }
            engine.verdict() == Verdict::Regressed
        };
        (0..STREAMS).filter(fires).count()
    };
    let (by_end, by_weight) = (alarms(false), alarms(true));
    assert!(by_weight <= 2 && by_end >= STREAMS as usize / 2, "{by_weight} {by_end}");
    let rows = [
        vec!["when they end".to_owned(), share(by_end, STREAMS)],
        vec!["by the weight they were assigned under".to_owned(), share(by_weight, STREAMS)],
    ];
    check("T7", &["failures are counted", "false alarms in an hour"], &rows);
}

#[test]
fn late_harm_and_harm_in_an_outage_are_found() {
    let mut rows = Vec::new();
    for (onset, outage) in [(0.0, 0.0), (3600.0, 0.0), (21_600.0, 0.0), (0.0, 10.0), (0.0, 30.0)] {
        let harm = Harm { error_ratio: if outage > 0.0 { 2.0 } else { 3.0 }, onset, ..Harm::NONE };
        let shared = Outage { from: 60.0, seconds: outage, errors: 0.5 };
        let world = World { outages: vec![shared], ..World::new(100.0, 0.01, harm) };
        let found: Vec<_> = (0..40)
            .map(|seed| {
                let mut stream = Stream::new(&world, engine(&[Metric::Errors], true), seed);
                while stream.at < onset {
                    stream.block(10.0, 0.1);
                }
                let before = stream.canary as f64;
                while stream.engine.verdict() != Verdict::Regressed && stream.at < onset + 7200.0 {
                    stream.block(5.0, 0.1);
                }
                let found = stream.engine.verdict() == Verdict::Regressed;
                found.then_some(stream.canary as f64 - before)
            })
            .collect();
        assert!(found.iter().filter(|found| found.is_some()).count() >= 38, "{onset} {outage}");
        rows.push(vec![
            format!("×{}", harm.error_ratio),
            format!("{} h", onset / 3600.0),
            if outage > 0.0 { format!("{outage} s of 50 % errors") } else { "none".to_owned() },
            middle_and_late(&found),
        ]);
    }
    let heads = ["errors", "begin after", "shared outage", "requests until `regressed`"];
    check("T8", &heads, &rows);
}

#[test]
fn a_ramp_paced_by_evidence_is_quicker_for_good_versions() {
    const STREAMS: u64 = 12;
    let fixed = RolloutPlan {
        steps: [10_000, 100_000, 250_000, 500_000, 1_000_000].map(Step::to).into(),
        advance: Advance::NotRegressed,
        ..plan()
    };
    let paced = RolloutPlan { pace: Pace::Evidence, ..fixed.clone() };
    let mut rows = Vec::new();
    for (errors, worse) in
        [(0.001, 0.001), (0.01, 0.01), (0.001, 0.003), (0.001, 0.011), (0.01, 0.05), (0.01, 0.5)]
    {
        let harm = Harm { error_ratio: worse / errors, ..Harm::NONE };
        let world = world(1000.0, errors, harm);
        for (plan, name) in [(&fixed, "steps of 5 min"), (&paced, "evidence")] {
            let outcomes: Vec<_> = (0..STREAMS).map(|seed| play(plan, &world, seed)).collect();
            let tally = super::super::tally::Tally::of(&outcomes);
            let good = worse == errors;
            let right = if good { tally.promoted.len() } else { tally.caught.len() };
            assert!(right >= STREAMS as usize - 1, "{errors} {worse} {name}: {tally:?}");
            let ended = if good { &tally.promoted } else { &tally.caught };
            let middle = |values: &[f64]| whole(quantile(values, 0.5).unwrap_or(0.0).max(0.0));
            rows.push(vec![
                format!("{} → {}", percent(errors), percent(worse)),
                name.to_owned(),
                share(tally.caught.len(), STREAMS),
                format!("{} s", middle(ended)),
                middle(&tally.excess),
            ]);
        }
    }
    let heads =
        ["errors", "pace", "rolled back", "median time to the end", "median excess failures"];
    check("T9", &heads, &rows);
}
