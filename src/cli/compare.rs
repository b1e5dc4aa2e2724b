//! `tidegate compare`: the same requests to two addresses, and what differs, without a proxy.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use bytes::Bytes;
use clap::Args;
use http::{Request, Uri};
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};

use super::client::Failure;
use super::diffs::{self, Gate};
use crate::clock;
use crate::diff::report::Report;
use crate::diff::{Answer, Body, Rules, compare};
use crate::h1::fields::Fields;
use crate::net;

/// One request may take so long.
const PATIENCE: Duration = Duration::from_secs(30);

/// What is compared.
#[derive(Debug, Args)]
pub struct Options {
    /// The version that is trusted, e.g. http://127.0.0.1:9001.
    #[arg(long, value_name = "URL")]
    baseline: String,
    /// The version that is judged.
    #[arg(long, value_name = "URL")]
    candidate: String,
    /// A second copy of the trusted version, to measure noise.
    #[arg(long, value_name = "URL")]
    secondary: Option<String>,
    /// A file of paths, one a line; without it, `/`.
    #[arg(long, value_name = "FILE")]
    requests: Option<PathBuf>,
    /// What is not compared: status, header:NAME, body:/json/pointer.
    #[arg(long, value_name = "RULE")]
    ignore: Vec<String>,
    /// The greatest share of mismatches, e.g. 1%; more exits 1.
    #[arg(long, value_name = "PERCENT")]
    max_mismatch: Option<String>,
}

/// What one address answered.
struct Seen {
    status: u16,
    fields: Fields,
    body: Bytes,
    latency: Duration,
}

impl Seen {
    fn answer(&self) -> Answer<'_> {
        let body = Body::Whole(&self.body);
        Answer { status: self.status, fields: &self.fields, body, latency: self.latency }
    }
}

/// Sends the requests and prints the report; exits 1 when the bound is broken.
pub fn run(options: &Options, json: bool) -> Result<u8, Failure> {
    let usage = |text: String| Failure::Unreachable(text);
    let rules = Rules::parse(&options.ignore, None).map_err(|error| usage(error.message))?;
    let paths = match &options.requests {
        None => vec!["/".to_owned()],
        Some(file) => std::fs::read_to_string(file)
            .map_err(|error| usage(format!("cannot read {}: {error}", file.display())))?
            .lines()
            .map(|line| line.trim().trim_start_matches("GET ").to_owned())
            .filter(|line| line.starts_with('/'))
            .collect(),
    };
    if paths.is_empty() {
        return Err(usage("no requests: write one path a line, beginning with `/`".into()));
    }
    for url in [Some(&options.baseline), Some(&options.candidate), options.secondary.as_ref()] {
        url.map_or(Ok(()), |url| check(url)).map_err(usage)?;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| usage(error.to_string()))?;
    let (report, failure) = runtime.block_on(play(options, &rules, &paths));
    let report = to_json(&report);
    let gate = Gate { max_mismatch: options.max_mismatch.clone(), min_samples: 1 };
    let ruling = gate.rule(&report)?;
    if json {
        println!("{report}");
    } else {
        diffs::print(&report, ["candidate", "baseline"]);
        if let Some(ruling) = &ruling {
            anstream::println!("{}", ruling.text);
        }
    }
    if let Some(failure) = failure {
        anstream::eprintln!("first failure: {failure}");
    }
    let nothing = report["compared"] == 0;
    Ok(if nothing || ruling.is_some_and(|ruling| !ruling.passes) { super::NO } else { 0 })
}

fn check(url: &str) -> Result<(), String> {
    let uri: Result<Uri, _> = url.parse();
    let plain = uri.ok().filter(|uri| uri.scheme_str() == Some("http") && uri.host().is_some());
    plain.map(drop).ok_or_else(|| format!("`{url}` is no http:// URL"))
}

/// The report, and why the first request that failed did.
async fn play(options: &Options, rules: &Rules, paths: &[String]) -> (Report, Option<String>) {
    let mut report = Report::new();
    let mut failure = None;
    for path in paths {
        let secondary = async {
            match &options.secondary {
                Some(base) => ask(base, path).await.ok(),
                None => None,
            }
        };
        // All at once: an order would warm caches for whoever comes second.
        let asked =
            tokio::join!(ask(&options.baseline, path), ask(&options.candidate, path), secondary);
        let (baseline, candidate, secondary) = match asked {
            (Ok(baseline), Ok(candidate), secondary) => (baseline, candidate, secondary),
            (Err(error), ..) => {
                report.failed();
                failure.get_or_insert(format!("{path} of the baseline: {error}"));
                continue;
            }
            (_, Err(error), _) => {
                report.failed();
                failure.get_or_insert(format!("{path} of the candidate: {error}"));
                continue;
            }
        };
        let found = compare(&baseline.answer(), &candidate.answer(), rules);
        let noise = secondary.map(|other| compare(&baseline.answer(), &other.answer(), rules));
        let delta = candidate.latency.as_secs_f64() - baseline.latency.as_secs_f64();
        report.record(path, &found, noise.as_ref(), delta * 1e3);
    }
    (report, failure)
}

async fn ask(base: &str, path: &str) -> Result<Seen, String> {
    let asking = tokio::time::timeout(PATIENCE, get(base, path));
    asking.await.map_err(|_| "no answer in time".to_owned())?
}

async fn get(base: &str, path: &str) -> Result<Seen, String> {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let uri: Uri = base.parse().map_err(|error: http::uri::InvalidUri| text(&error))?;
    let host = uri.authority().ok_or("the URL has no host")?.to_string();
    let address = if uri.port().is_some() { host.clone() } else { format!("{host}:80") };
    let began: Instant = clock::now();
    let stream = net::connect_name(&address).await.map_err(|error| text(&error))?;
    let pair = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
    let (mut send, connection) = pair.map_err(|error| text(&error))?;
    tokio::spawn(connection);
    let prefix = uri.path().trim_end_matches('/');
    let request = Request::get(format!("{prefix}{path}")).header("host", host);
    let request = request.body(Empty::<Bytes>::new()).map_err(|error| text(&error))?;
    let response = send.send_request(request).await.map_err(|error| text(&error))?;
    let latency = began.elapsed();
    let (head, body) = response.into_parts();
    let body = body.collect().await.map_err(|error| text(&error))?.to_bytes();
    let mut fields = Fields::default();
    for (name, value) in &head.headers {
        fields.push(name.as_str().as_bytes(), value.as_bytes());
    }
    Ok(Seen { status: head.status.as_u16(), fields, body, latency })
}

fn to_json(report: &Report) -> Value {
    let summary = report.summary();
    let fields: Vec<_> = summary
        .fields
        .iter()
        .map(|field| {
            json!({
                "field": field.field, "differences": field.differences, "rate": field.rate,
                "noise": field.noise, "evidence": field.evidence,
                "verdict": field.verdict.as_str(),
            })
        })
        .collect();
    json!({
        "compared": summary.compared, "matched": summary.matched,
        "mismatched": summary.mismatched, "mismatch_rate": summary.mismatch_rate,
        "noise_rate": summary.noise_rate, "failed": summary.failed, "dropped": summary.dropped,
        "latency_delta_ms": summary.latency_delta_ms.map(|delta| {
            json!({ "p50": delta.p50, "p95": delta.p95, "p99": delta.p99 })
        }),
        "fields": fields,
    })
}
