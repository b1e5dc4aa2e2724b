//! `tidegate simulate`: how often and how fast a rollout would catch a regression.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use clap::Args;
use http::Method;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use super::client::{Admin, Failure};
use super::rollout::Wishes;
use super::table::{Cell, Table, number, text};
use crate::plan::{Pace, RolloutPlan};
use crate::rollout::simulation::play;
use crate::rollout::simulation::tally::{Tally, quantile};
use crate::rollout::simulation::world::{Harm, Latency, World};

/// The version of a plan that nobody has named.
const NEW: &str = "new";
/// What is assumed where nothing is said: requests a second and the share of them that fail.
const RATE: f64 = 100.0;
const ERRORS: f64 = 0.001;
const LATENCY: Latency = Latency { p50_ms: 50.0, p99_ms: 250.0 };
/// Traffic is called enough for what is caught at least as often.
const ENOUGH: f64 = 0.9;
/// Cells of a line of the plot, and how they are filled.
const CELLS: usize = 48;
const LEVELS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// What is played. Every run goes through the machine and the evidence of a real rollout, with
/// requests drawn at random.
#[derive(Debug, Args)]
pub struct Options {
    /// Take the plan and the rates of this service of the running proxy; with -c, its plan alone.
    service: Option<String>,
    /// The configuration that plans the rollout.
    #[arg(short, long, value_name = "PATH", requires = "service")]
    config: Option<PathBuf>,
    /// Requests a second, of both versions together [default: 100].
    #[arg(long, value_name = "N", value_parser = rate)]
    rps: Option<f64>,
    /// The share of requests that fail anyway [default: 0.1%].
    #[arg(long, value_name = "PERCENT", value_parser = percent)]
    error_rate: Option<f64>,
    /// The median latency [default: 50ms].
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    p50: Option<Duration>,
    /// The latency that one request in a hundred exceeds [default: 250ms].
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    p99: Option<Duration>,
    #[command(flatten)]
    plan: Box<Wishes>,
    /// Rollouts of each kind.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    runs: u32,
    /// The same seed gives the same answer.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
}

fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse::<f64>().ok().filter(|rate| *rate > 0.0 && *rate <= 1e7);
    rate.ok_or_else(|| "write requests a second, above 0 and at most 10000000".to_owned())
}

fn percent(text: &str) -> Result<f64, String> {
    let percent = text.trim().trim_end_matches('%').trim().parse::<f64>().ok();
    let sane = percent.filter(|percent| (0.0..=100.0).contains(percent));
    sane.map(|percent| percent / 100.0).ok_or_else(|| "write a percentage, e.g. 0.1%".to_owned())
}

/// One way in which the new version may differ.
struct Scenario {
    name: &'static str,
    harm: Harm,
    /// Whether it says nothing where no request fails anyway.
    multiplies_errors: bool,
}

/// What is played: no harm first.
const SCENARIOS: [Scenario; 7] = [
    Scenario { name: "is as good", harm: Harm::NONE, multiplies_errors: false },
    Scenario {
        name: "fails ×1.5",
        harm: Harm { error_ratio: 1.5, ..Harm::NONE },
        multiplies_errors: true,
    },
    Scenario {
        name: "fails ×2",
        harm: Harm { error_ratio: 2.0, ..Harm::NONE },
        multiplies_errors: true,
    },
    Scenario {
        name: "fails ×5",
        harm: Harm { error_ratio: 5.0, ..Harm::NONE },
        multiplies_errors: true,
    },
    Scenario {
        name: "fails +1 pp",
        harm: Harm { error_added: 0.01, ..Harm::NONE },
        multiplies_errors: false,
    },
    Scenario {
        name: "is slower ×1.5",
        harm: Harm { latency_ratio: 1.5, ..Harm::NONE },
        multiplies_errors: false,
    },
    Scenario {
        name: "has its p99 ×2",
        harm: Harm { tail_ratio: 2.0, ..Harm::NONE },
        multiplies_errors: false,
    },
];

/// What is known before anything is played.
struct Setting {
    plan: RolloutPlan,
    world: World,
    /// Where the rates come from.
    from: String,
}

/// Plays the plan and prints what came of it.
pub fn run(admin: &Admin, options: &Options) -> Result<u8, Failure> {
    let setting = Setting::of(admin, options)?;
    let played: Vec<&Scenario> = SCENARIOS
        .iter()
        .filter(|scenario| !scenario.multiplies_errors || setting.world.errors > 0.0)
        .collect();
    let tallies = play_all(&setting, &played, options);
    let rows: Vec<(&Scenario, Tally)> = played.into_iter().zip(tallies).collect();
    match admin.json {
        true => println!("{}", object(&setting, options, &rows)),
        false => anstream::print!("{}", render(&setting, options, &rows)),
    }
    Ok(0)
}

/// Every scenario so many times, on every core, with a bar on a terminal.
fn play_all(setting: &Setting, scenarios: &[&Scenario], options: &Options) -> Vec<Tally> {
    let runs = options.runs as usize;
    let style = ProgressStyle::with_template("{bar:32} {pos}/{len} rollouts, {eta} left");
    let bar = ProgressBar::new((scenarios.len() * runs) as u64)
        .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    let worlds: Vec<World> = scenarios
        .iter()
        .map(|scenario| World { harm: scenario.harm, ..setting.world.clone() })
        .collect();
    let next = AtomicUsize::new(0);
    let work = || {
        let mut mine = Vec::new();
        loop {
            let job = next.fetch_add(1, Ordering::Relaxed);
            let Some(world) = worlds.get(job / runs) else { return mine };
            // Every run has a stream of its own, whoever plays it.
            let seed = options.seed.wrapping_mul(1 << 32).wrapping_add(job as u64);
            mine.push((job, play(&setting.plan, world, seed)));
            bar.inc(1);
        }
    };
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let mut outcomes = thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let ended = workers.into_iter().filter_map(|worker| worker.join().ok());
        ended.flatten().collect::<Vec<_>>()
    });
    bar.finish_and_clear();
    outcomes.sort_by_key(|(job, _)| *job);
    let outcomes: Vec<_> = outcomes.into_iter().map(|(_, outcome)| outcome).collect();
    outcomes.chunks(runs).map(Tally::of).collect()
}

impl Setting {
    fn of(admin: &Admin, options: &Options) -> Result<Self, Failure> {
        let (declared, live) = match (&options.service, &options.config) {
            (None, _) => (None, None),
            (Some(service), Some(path)) => (declared(path, service)?, None),
            (Some(service), None) => {
                let status = admin.call(Method::GET, "/v1/status", None)?;
                let live = admin.call(Method::GET, &format!("/v1/services/{service}"), None)?;
                let path = status["config"]["path"].as_str().map(Path::new);
                let declared = path.map(|path| declared(path, service)).transpose()?;
                (declared.flatten(), Some(live))
            }
        };
        let mut wishes = options.plan.body();
        if declared.is_none() && wishes["to"].is_null() {
            wishes["to"] = NEW.into();
        }
        let plan = crate::admin::plan_offline(wishes, declared.as_ref()).map_err(usage)?;
        let known = live.as_ref().map(rates);
        if let (Some(service), Some(known)) = (&options.service, &known)
            && known.rate == 0.0
            && options.rps.is_none()
        {
            return Err(usage(format!("{service} has no traffic to learn from; give --rps N")));
        }
        let from = match (&options.service, &known) {
            (Some(service), Some(_)) => format!(", the rates of {service} now"),
            _ => String::new(),
        };
        let known = known.unwrap_or(Known { rate: RATE, errors: ERRORS, latency: LATENCY });
        let ms = |given: Option<Duration>, otherwise: f64| {
            given.map_or(otherwise, |given| given.as_secs_f64() * 1e3)
        };
        let p50_ms = ms(options.p50, known.latency.p50_ms);
        let p99_ms = ms(options.p99, known.latency.p99_ms.max(p50_ms));
        if p50_ms <= 0.0 || p99_ms < p50_ms {
            return Err(usage("--p50 must be above zero and not above --p99".to_owned()));
        }
        let errors = options.error_rate.unwrap_or(known.errors);
        let world = World {
            latency: Some(Latency { p50_ms, p99_ms }),
            ..World::new(options.rps.unwrap_or(known.rate), errors, Harm::NONE)
        };
        Ok(Self { plan, world, from })
    }
}

fn usage(text: String) -> Failure {
    Failure::Unreachable(text)
}

/// The rollout that a configuration plans for a service.
fn declared(path: &Path, service: &str) -> Result<Option<RolloutPlan>, Failure> {
    let loaded = crate::config::load(path, &super::environment);
    let config = loaded.map_err(|report| usage(report.to_string()))?.config;
    let found = config.services.iter().find(|(name, _)| name.as_str() == service);
    let (_, found) = found
        .ok_or_else(|| usage(format!("{} declares no service `{service}`", path.display())))?;
    Ok(found.rollout.as_deref().cloned())
}

/// What a running proxy tells of a service.
struct Known {
    rate: f64,
    errors: f64,
    latency: Latency,
}

/// The rates of all its versions together; the latency of the one with most requests.
fn rates(service: &Value) -> Known {
    let versions = || service["versions"].as_object().into_iter().flatten();
    let of = |version: &Value, key: &str| version[key].as_f64().unwrap_or(0.0);
    let requests = |version: &Value| of(version, "requests_per_second");
    let rate: f64 = versions().map(|(_, version)| requests(version)).sum();
    let failed = versions().map(|(_, version)| requests(version) * of(version, "error_rate"));
    let errors = if rate > 0.0 { failed.sum::<f64>() / rate } else { 0.0 };
    let busiest = versions().max_by(|a, b| requests(a.1).total_cmp(&requests(b.1)));
    let quantile = |key: &str, otherwise: f64| {
        busiest.and_then(|(_, version)| version[key].as_f64()).unwrap_or(otherwise)
    };
    let latency = Latency {
        p50_ms: quantile("p50_ms", LATENCY.p50_ms),
        p99_ms: quantile("p99_ms", LATENCY.p99_ms),
    };
    Known { rate, errors, latency }
}

fn render(setting: &Setting, options: &Options, rows: &[(&Scenario, Tally)]) -> String {
    let Setting { plan, world, from } = setting;
    let way = match plan.pace {
        Pace::Evidence => "as far as the evidence allows".to_owned(),
        Pace::Steps => {
            let steps: Vec<_> = plan.steps.iter().map(ToString::to_string).collect();
            format!("{}; {} each", steps.join("; "), clock(plan.step_duration.as_secs_f64()))
        }
    };
    let manual = match plan.pace == Pace::Steps && plan.steps.iter().any(|step| step.manual) {
        true => "; an operator ends manual steps as soon as they may end",
        false => "",
    };
    let latency = world.latency.unwrap_or(LATENCY);
    let mut out = format!(
        "plan      to {}: {way}, alpha {}{manual}\nassumed   {} req/s, {} errors, p50 {} ms, p99 {} ms{from}\n\
         played    {} rollouts of each kind, seed {}\n\n",
        plan.to,
        plan.analysis.alpha,
        rounded(world.rate),
        share(world.errors),
        rounded(latency.p50_ms),
        rounded(latency.p99_ms),
        options.runs,
        options.seed,
    );
    let mut table = Table::new(&[
        "the new version",
        "caught",
        "promoted",
        "undecided",
        "caught after (p95)",
        "promoted after (p95)",
        "requests exposed",
        "excess failures",
    ]);
    rows.iter().for_each(|(scenario, tally)| table.row(row(scenario, tally)));
    out += &table.render();
    out += &plot(rows);
    out + "\n" + &sentence(rows) + "\n"
}

fn row(scenario: &Scenario, tally: &Tally) -> Vec<Cell> {
    let harmless = scenario.harm == Harm::NONE;
    let caught = number(share(tally.caught_share()));
    let caught = match (harmless, tally.caught_share()) {
        (true, share) if share > 0.05 => caught.bad(),
        (true, _) => caught,
        (false, share) if share >= ENOUGH => caught.good(),
        (false, _) => caught.warn(),
    };
    let times = |values: &[f64]| match (quantile(values, 0.5), quantile(values, 0.95)) {
        (Some(median), Some(late)) => format!("{} ({})", clock(median), clock(late)),
        _ => "-".to_owned(),
    };
    let middle = |values: &[f64]| match harmless {
        true => "-".to_owned(),
        false => quantile(values, 0.5).map_or("-".to_owned(), |v| format!("{:.0}", v.max(0.0))),
    };
    vec![
        text(scenario.name),
        caught,
        number(share(tally.promoted_share())),
        number(share(tally.undecided_share())),
        number(times(&tally.caught)),
        number(times(&tally.promoted)),
        number(middle(&tally.exposed)),
        number(middle(&tally.excess)),
    ]
}

/// The chance of having been caught, over time on a logarithmic scale.
fn plot(rows: &[(&Scenario, Tally)]) -> String {
    let harmful = || rows.iter().filter(|(scenario, _)| scenario.harm != Harm::NONE);
    let at = |level: f64| harmful().filter_map(move |(_, tally)| quantile(&tally.caught, level));
    let (first, last) = (at(0.0).fold(f64::MAX, f64::min), at(1.0).fold(0.0, f64::max));
    if last == 0.0 {
        return String::new();
    }
    let wide = harmful().map(|(scenario, _)| scenario.name.chars().count()).max().unwrap_or(0);
    let time = |place: usize| first * (last / first).powf(place as f64 / (CELLS - 1) as f64);
    let mut out = "\nchance of having been caught by then\n".to_owned();
    for (Scenario { name, .. }, tally) in harmful() {
        let cell = |place: usize| {
            // The last point is the last catch, whatever rounding makes of it.
            let by = tally.caught_by(time(place) * (1.0 + 1e-9));
            LEVELS[(by * (LEVELS.len() - 1) as f64).ceil() as usize]
        };
        let line: String = (0..CELLS).map(cell).collect();
        out += &format!("{name:<wide$} │{line}│ {}\n", share(tally.caught_share()));
    }
    let [begin, middle, end] = [0, CELLS / 2, CELLS - 1].map(|place| clock(time(place)));
    let half = CELLS / 2;
    out + &format!("{:wide$}  {begin:<half$}{middle:<1$}{end}\n", "", half - end.len().min(half))
}

/// Whether the traffic is enough, in words.
fn sentence(rows: &[(&Scenario, Tally)]) -> String {
    let harmful = rows.iter().filter(|(scenario, _)| scenario.harm != Harm::NONE);
    let (found, missed): (Vec<_>, Vec<_>) =
        harmful.partition(|(_, tally)| tally.caught_share() >= ENOUGH);
    let names = |of: &[&(&Scenario, Tally)]| {
        let named = of.iter().map(|(scenario, tally)| {
            format!("{} ({})", scenario.name, share(tally.caught_share()))
        });
        named.collect::<Vec<_>>().join(", ")
    };
    let mut out = match (found.is_empty(), missed.is_empty()) {
        (false, true) => "This traffic is enough: all of these harms are caught.".to_owned(),
        (true, _) => "This traffic is not enough to catch any of these harms reliably.".to_owned(),
        (false, false) => format!(
            "This traffic is not enough for a version that {}. It is enough for one that {}.",
            names(&missed),
            names(&found)
        ),
    };
    if let Some((_, tally)) = rows.iter().find(|(scenario, _)| scenario.harm == Harm::NONE)
        && tally.promoted_share() < ENOUGH
    {
        out += &format!(
            " A version that is as good gets everything in {} of rollouts only: longer steps, more \
             traffic or `--advance not_regressed` would let more of them through.",
            share(tally.promoted_share())
        );
    }
    out
}

fn object(setting: &Setting, options: &Options, rows: &[(&Scenario, Tally)]) -> Value {
    let Setting { plan, world, .. } = setting;
    let latency = world.latency.unwrap_or(LATENCY);
    let ends =
        |values: &[f64]| json!({ "p50": quantile(values, 0.5), "p95": quantile(values, 0.95) });
    let scenarios = rows.iter().map(|(Scenario { name, harm, .. }, tally)| {
        json!({
            "scenario": name,
            "error_ratio": harm.error_ratio,
            "error_added": harm.error_added,
            "latency_ratio": harm.latency_ratio,
            "tail_ratio": harm.tail_ratio,
            "caught": tally.caught_share(),
            "promoted": tally.promoted_share(),
            "undecided": tally.undecided_share(),
            "seconds_to_catch": ends(&tally.caught),
            "seconds_to_promote": ends(&tally.promoted),
            "requests_exposed": ends(&tally.exposed),
            "excess_failures": ends(&tally.excess),
            "caught_at_seconds": tally.caught,
        })
    });
    json!({
        "steps": plan.steps.iter().map(|step| f64::from(step.share_ppm) / 1e4).collect::<Vec<_>>(),
        "step_duration_seconds": plan.step_duration.as_secs_f64(),
        "alpha": plan.analysis.alpha,
        "requests_per_second": world.rate,
        "error_rate": world.errors,
        "p50_ms": latency.p50_ms,
        "p99_ms": latency.p99_ms,
        "runs": options.runs,
        "seed": options.seed,
        "scenarios": scenarios.collect::<Vec<_>>(),
        "summary": sentence(rows),
    })
}

fn share(share: f64) -> String {
    format!("{}%", rounded(share * 100.0))
}

/// Three digits at most where they say something.
fn rounded(value: f64) -> String {
    let digits = if value.abs() >= 99.95 { 0 } else { 2 - (value.abs().max(1.0).log10() as usize) };
    let shown = format!("{value:.digits$}");
    match shown.contains('.') {
        true => shown.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => shown,
    }
}

fn clock(seconds: f64) -> String {
    humantime::format_duration(Duration::from_secs(seconds as u64)).to_string().replace(' ', "")
}
