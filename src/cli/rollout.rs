//! `tidegate rollout`: progressive delivery from a shell.

use std::collections::BTreeMap;
use std::thread;
use std::time::Duration;

use clap::{Args, Subcommand};
use http::Method;
use serde_json::{Map, Value, json};

use super::change::{done, path};
use super::client::{Admin, Failure};
use super::table::{Table, number, percent, text};
use crate::rollout::evidence::words;

/// How often is looked at a rollout that is waited for.
const LOOK: Duration = Duration::from_secs(1);
/// What the numbers mean; the same words stand at `odds`.
const MEANING: &str = "\
Evidence of 4,000 : 1 that a version is worse than tolerated means: if it were within the tolerance,
the chance of ever seeing evidence this strong, however often you look, is at most 1 in 4,000. It is
not the chance that the version is bad. Intervals are 95 % and hold at every moment.";

/// What to do with the rollout of a service.
#[derive(Debug, Args)]
#[command(after_help = MEANING)]
pub struct Options {
    /// The service.
    service: String,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Begin the rollout that the file plans, or another.
    Start(Start),
    /// Step, time left and what each metric says.
    Status(Status),
    /// Let it stand still.
    Pause,
    /// Let it go on.
    Resume,
    /// Everything to the new version, without asking gates and evidence.
    Promote,
    /// Back to the weights before it.
    Abort,
}

#[derive(Debug, Args)]
struct Status {
    /// Wait until it no longer runs; exit 1 unless it has succeeded.
    #[arg(long)]
    wait: bool,
}

#[derive(Debug, Args)]
struct Start {
    #[command(flatten)]
    plan: Box<Wishes>,
    /// Go on although the last rollout was rolled back.
    #[arg(long)]
    acknowledge: bool,
    /// Print what would happen, and change nothing.
    #[arg(long)]
    dry_run: bool,
}

/// What of a plan is to be otherwise than in the file.
#[derive(Debug, Args)]
pub struct Wishes {
    /// The version that gets the traffic.
    #[arg(long, value_name = "VERSION")]
    to: Option<String>,
    /// Its share at each step in percent, e.g. 10,25,50,100, perhaps with terms: '10% for 1h manual'.
    #[arg(long, value_name = "PERCENTS", value_delimiter = ',')]
    steps: Option<Vec<String>>,
    /// The time of a step, at least.
    #[arg(long, value_name = "DURATION", value_parser = super::duration)]
    step_duration: Option<String>,
    /// The plain gate on errors, e.g. 1%.
    #[arg(long, value_name = "PERCENT")]
    max_error_rate: Option<String>,
    /// The plain gate on latency, e.g. p95=1s; several by commas.
    #[arg(long, value_name = "PERCENTILE=DURATION", value_delimiter = ',', value_parser = bound)]
    max_latency: Option<Vec<(String, String)>>,
    /// The plain gate on the answers of the version as a shadow, e.g. 1%.
    #[arg(long, value_name = "PERCENT")]
    max_mismatch: Option<String>,
    /// Requests of the version before a gate or `safe` says anything.
    #[arg(long, value_name = "N")]
    min_requests: Option<u64>,
    /// Neither version is judged for so long after the start.
    #[arg(long, value_name = "DURATION", value_parser = super::duration)]
    warm_up: Option<String>,
    /// `steps` or `evidence`.
    #[arg(long, value_name = "PACE")]
    pace: Option<String>,
    /// What a raise needs: `safe` or `not_regressed`.
    #[arg(long, value_name = "WHAT")]
    advance: Option<String>,
    /// If it is still undecided after this, it pauses.
    #[arg(long, value_name = "DURATION", value_parser = super::duration)]
    max_duration: Option<String>,
    /// What a regression leads to: `rollback` or `pause`.
    #[arg(long, value_name = "WHAT")]
    on_regression: Option<String>,
    /// The chance of ever calling a version regressed that is within the tolerance, e.g. 0.01.
    #[arg(long, value_name = "CHANCE")]
    alpha: Option<f64>,
}

/// `p95=1s` as a pair.
fn bound(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned()));
    pair.ok_or_else(|| "write e.g. p95=1s".to_owned())
}

/// Runs the verb.
pub fn run(admin: &Admin, options: &Options) -> Result<u8, Failure> {
    let service = options.service.as_str();
    let steer = |verb: &str, what: &str| {
        let path = path(service, &format!("rollout/{verb}"), false);
        let answer = admin.call(Method::POST, &path, None)?;
        Ok(done(admin, &answer, &format!("the rollout of {service} is {what}")))
    };
    match &options.verb {
        Verb::Start(start) => {
            let path = path(service, "rollout", start.dry_run);
            let answer = admin.call(Method::PUT, &path, Some(&start.body()))?;
            Ok(done(admin, &answer, &format!("the rollout of {service} has begun")))
        }
        Verb::Status(options) => status(admin, service, options.wait),
        Verb::Pause => steer("pause", "paused"),
        Verb::Resume => steer("resume", "running"),
        Verb::Promote => steer("promote", "promoted"),
        Verb::Abort => steer("abort", "aborted"),
    }
}

impl Start {
    fn body(&self) -> Value {
        let mut body = self.plan.body();
        if self.acknowledge {
            body["acknowledge"] = json!(true);
        }
        body
    }
}

impl Wishes {
    /// As the admin API takes them.
    pub fn body(&self) -> Value {
        let mut body = Map::new();
        let texts = [
            ("to", &self.to),
            ("step_duration", &self.step_duration),
            ("max_error_rate", &self.max_error_rate),
            ("max_mismatch", &self.max_mismatch),
            ("pace", &self.pace),
            ("advance", &self.advance),
            ("max_duration", &self.max_duration),
            ("on_regression", &self.on_regression),
        ];
        for (key, value) in texts {
            if let Some(value) = value {
                body.insert(key.to_owned(), json!(value));
            }
        }
        if let Some(steps) = &self.steps {
            body.insert("steps".to_owned(), json!(steps));
        }
        if let Some(bounds) = &self.max_latency {
            let bounds: BTreeMap<_, _> = bounds.iter().cloned().collect();
            body.insert("max_latency".to_owned(), json!(bounds));
        }
        let alpha = self.alpha.map(|alpha| ("alpha", json!(alpha)));
        let min_requests = self.min_requests.map(|count| ("min_requests", json!(count)));
        let warm_up = self.warm_up.as_ref().map(|text| ("warm_up", json!(text)));
        let analysis: BTreeMap<_, _> =
            [alpha, min_requests, warm_up].into_iter().flatten().collect();
        if !analysis.is_empty() {
            body.insert("analysis".to_owned(), json!(analysis));
        }
        Value::Object(body)
    }
}

fn status(admin: &Admin, service: &str, wait: bool) -> Result<u8, Failure> {
    let look = || admin.call(Method::GET, &format!("/v1/services/{service}/rollout"), None);
    let mut rollout = look()?;
    while wait && rollout["state"] == "running" {
        thread::sleep(LOOK);
        rollout = look()?;
    }
    match admin.json {
        true => println!("{rollout}"),
        false => anstream::print!("{}", render(&rollout)),
    }
    Ok(if wait && rollout["state"] != "succeeded" { super::NO } else { 0 })
}

/// A rollout for people.
fn render(rollout: &Value) -> String {
    let word = |key: &str| rollout[key].as_str().unwrap_or_default();
    let steps: Vec<_> = rollout["steps"].as_array().into_iter().flatten().map(percent).collect();
    let way = match (word("pace"), word("state")) {
        ("evidence", "running" | "paused") => "as far as the evidence allows, ".to_owned(),
        ("evidence", _) => String::new(),
        _ => format!("step {} of {} ({}), ", rollout["step"], steps.len(), steps.join(" ")),
    };
    let state = word("state").replace('_', " ");
    let now = percent(&rollout["weight_percent"]);
    let mut out = format!("rollout to {}: {state}, {way}now {now}\n", word("to"));
    out += &format!("because    {}\n", word("reason"));
    out += &format!("verdict    {}\n", word("verdict"));
    if let Some(void) = rollout["void"].as_str() {
        out += &format!("           {void}\n");
    }
    let clock = left(rollout).map(|left| format!("{left} of the step"));
    let others = rollout["waits_for"].as_array().into_iter().flatten();
    let others = others.filter_map(|wait| wait.as_str().map(str::to_owned));
    let waits: Vec<String> = clock.into_iter().chain(others).collect();
    if !waits.is_empty() {
        out += &format!("waits for  {}\n", waits.join("; "));
    }
    for note in rollout["notes"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        out += &format!("note       {note}\n");
    }
    let mut table = Table::new(&["metric", "verdict", "safe", "phi", "what is known"]);
    for (metric, evidence) in rollout["evidence"].as_object().into_iter().flatten() {
        let verdict = text(evidence["verdict"].as_str().unwrap_or_default());
        let verdict = match evidence["verdict"].as_str() {
            Some("regressed") => verdict.bad(),
            Some("suspect") => verdict.warn(),
            Some("safe") => verdict.good(),
            _ => verdict,
        };
        let of = |key: &str| evidence[key].as_f64().unwrap_or_default();
        table.row(vec![
            text(metric),
            verdict,
            number(words::odds(of("log_safety"))),
            number(format!("{:.1}", of("phi"))),
            text(evidence["text"].as_str().unwrap_or_default()),
        ]);
    }
    out + "\n" + &table.render()
}

fn left(rollout: &Value) -> Option<String> {
    let at: jiff::Timestamp = rollout["next_step_at"].as_str()?.parse().ok()?;
    let seconds = at.as_second() - crate::clock::timestamp().as_second();
    let left = Duration::from_secs(u64::try_from(seconds).ok()?);
    (!left.is_zero()).then(|| humantime::format_duration(left).to_string())
}
