//! `tidegate analyze`: evidence and verdict over recorded counts, without a proxy.

use std::io::{BufRead, BufReader, Write as _};
use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};

use super::client::Failure;
use super::table::{Cell, Table, number, text};
use crate::rollout::evidence::blocker::Closed;
use crate::rollout::evidence::engine::{Arm, Engine, Evidence, Metric, Params, Tick, Verdict};
use crate::rollout::evidence::interval::Estimate;
use crate::rollout::evidence::{Tolerance, words};

/// What is analysed, and how.
#[derive(Debug, Args)]
pub struct Options {
    /// One JSON object a line: {"n0": 90, "x0": 1, "n1": 10, "x1": 0, "seconds": 1.0}, requests and
    /// errors of baseline and canary in one block; `-` is standard input.
    file: PathBuf,
    /// The alarm's tolerance: the canary may have RATIO times the baseline's error rate plus MARGIN.
    #[arg(long, value_name = "RATIO,MARGIN", value_parser = tolerance, default_value = "1.1,0.0001")]
    alarm: Tolerance,
    /// What still counts as safe.
    #[arg(long, value_name = "RATIO,MARGIN", value_parser = tolerance, default_value = "1.5,0.001")]
    safe: Tolerance,
    /// The chance of ever calling an equal version regressed.
    #[arg(long, value_name = "CHANCE", value_parser = chance, default_value = "0.01")]
    alpha: f64,
    /// Canary requests before anything is safe.
    #[arg(long, value_name = "N", default_value_t = 500)]
    min_requests: u64,
    /// Count errors as independent: no guard against bursts.
    #[arg(long)]
    plain: bool,
    /// Exit 1 when the verdict is `regressed`.
    #[arg(long)]
    gate: bool,
}

fn tolerance(text: &str) -> Result<Tolerance, String> {
    let wrong = || {
        "write RATIO,MARGIN: a ratio of 0 or more and a share of requests from 0 to 1, \
                    e.g. 1.1,0.0001"
            .to_owned()
    };
    let (ratio, margin) = text.split_once(',').ok_or_else(wrong)?;
    let number = |text: &str| text.trim().parse::<f64>().map_err(|_| wrong());
    let tolerance = Tolerance { ratio: number(ratio)?, margin: number(margin)? };
    let sane = (0.0..1e6).contains(&tolerance.ratio) && (0.0..=1.0).contains(&tolerance.margin);
    if sane { Ok(tolerance) } else { Err(wrong()) }
}

fn chance(text: &str) -> Result<f64, String> {
    let chance = text.parse::<f64>().ok().filter(|chance| *chance > 0.0 && *chance < 0.5);
    chance.ok_or_else(|| "write a number between 0 and 0.5, neither of the two".to_owned())
}

/// Reads the counts and prints the evidence; exits 1 for a regression when it is a gate.
pub fn run(options: &Options, json: bool) -> Result<u8, Failure> {
    let wrong = Failure::Unreachable;
    let name = options.file.display().to_string();
    let input: Box<dyn BufRead> = match name.as_str() {
        "-" => Box::new(std::io::stdin().lock()),
        _ => {
            let file = std::fs::File::open(&options.file);
            Box::new(BufReader::new(file.map_err(|e| wrong(format!("cannot read {name}: {e}")))?))
        }
    };
    let params = Params {
        alpha: options.alpha,
        errors: options.alarm,
        safe_errors: options.safe,
        requests_min: options.min_requests,
        guard: !options.plain,
        ..Params::default()
    };
    let mut engine = Engine::new(params, &[Metric::Errors]);
    let mut shown = Shown::default();
    let mut blocks = 0;
    for (place, line) in input.lines().enumerate() {
        let at = |what: String| wrong(format!("{name}:{}: {what}", place + 1));
        let line = line.map_err(|error| at(error.to_string()))?;
        if line.trim().is_empty() {
            continue;
        }
        let closed = read(&line).map_err(at)?;
        let dispersion = engine.dispersion(Metric::Errors);
        engine.block(&closed);
        blocks += 1;
        if json {
            let object = object(blocks, &engine, dispersion);
            // A reader that has gone away has seen enough.
            if writeln!(std::io::stdout(), "{object}").is_err() {
                return Ok(0);
            }
        } else {
            shown.note(blocks, &engine);
        }
    }
    if blocks == 0 {
        return Err(wrong(format!("{name} holds no counts: write one JSON object a line")));
    }
    if !json {
        shown.print(blocks, &engine);
    }
    let regressed = engine.verdict() == Verdict::Regressed;
    Ok(if options.gate && regressed { super::NO } else { 0 })
}

/// One line of input as a block.
fn read(line: &str) -> Result<Closed<Tick>, String> {
    let object: Value = serde_json::from_str(line).map_err(|error| format!("not JSON: {error}"))?;
    if !object.is_object() {
        return Err("expected an object like {\"n0\": 90, \"x0\": 1, \"n1\": 10, \"x1\": 0, \
                    \"seconds\": 1.0}"
            .into());
    }
    let count = |key: &str| {
        let value = object.get(key).ok_or_else(|| format!("`{key}` is missing"))?;
        value.as_u64().ok_or_else(|| format!("`{key}` is {value}; expected a count of 0 or more"))
    };
    let seconds = match object.get("seconds") {
        None => 1.0,
        Some(value) => match value.as_f64() {
            Some(seconds) if seconds > 0.0 && seconds.is_finite() => seconds,
            _ => return Err(format!("`seconds` is {value}; expected a number above 0")),
        },
    };
    let arm = |requests, errors| Arm { requests, errors, ..Arm::default() };
    let baseline = [arm(count("n0")?, count("x0")?), Arm::default()];
    let canary = arm(count("n1")?, count("x1")?);
    Ok(Closed { counts: Tick { baseline, canary }, seconds })
}

fn object(block: u64, engine: &Engine, dispersion: f64) -> Value {
    let errors = &engine.evidence("the canary", &[])[0];
    let ends = |estimate: Option<Estimate>| {
        estimate.map(|estimate| json!([estimate.low, estimate.point, estimate.high]))
    };
    json!({
        "block": block,
        "log_evidence": engine.log_evidence(),
        "log_safety": errors.log_safety,
        "phi": dispersion,
        "verdict": engine.verdict().as_str(),
        "difference": ends(errors.difference),
        "ratio": ends(errors.ratio),
    })
}

/// The blocks at which the verdict changed.
#[derive(Default)]
struct Shown {
    last: Option<Verdict>,
    /// The block of the last row.
    block: u64,
    rows: Vec<Vec<Cell>>,
}

impl Shown {
    fn note(&mut self, block: u64, engine: &Engine) {
        if self.last != Some(engine.verdict()) {
            self.last = Some(engine.verdict());
            self.row(block, engine);
        }
    }

    fn row(&mut self, block: u64, engine: &Engine) {
        let Some(errors) = engine.evidence("the canary", &[]).into_iter().next() else { return };
        self.block = block;
        let Evidence { log_evidence, difference, ratio, .. } = errors;
        let verdict = text(engine.verdict().as_str());
        let verdict = match engine.verdict() {
            Verdict::Regressed => verdict.bad(),
            Verdict::Suspect => verdict.warn(),
            Verdict::Safe => verdict.good(),
            Verdict::Undecided => verdict,
        };
        self.rows.push(vec![
            number(block.to_string()),
            verdict,
            number(words::odds(log_evidence)),
            number(words::odds(errors.log_safety)),
            text(difference.map(words::difference).unwrap_or_default()),
            text(ratio.map(words::ratio).unwrap_or_default()),
        ]);
    }

    fn print(mut self, blocks: u64, engine: &Engine) {
        if self.block != blocks {
            self.row(blocks, engine);
        }
        let heads = ["block", "verdict", "worse", "safe", "difference", "ratio"];
        let mut table = Table::new(&heads);
        self.rows.into_iter().for_each(|row| table.row(row));
        table.print();
        for evidence in engine.evidence("the canary", &[]) {
            println!("\n{}", evidence.text);
        }
    }
}
