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
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| usage(error.to_string()))?;
    let report = runtime.block_on(play(options, &rules, &paths));
    let report = to_json(&report);
    if json {
        println!("{report}");
    } else {
        diffs::print(&report);
    }
    let gate = Gate { max_mismatch: options.max_mismatch.clone(), min_samples: 1 };
    Ok(if gate.passes(&report)? == Some(false) { super::NO } else { 0 })
}

async fn play(options: &Options, rules: &Rules, paths: &[String]) -> Report {
    let mut report = Report::new();
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
        let (Ok(baseline), Ok(candidate), secondary) = asked else {
            report.failed();
            continue;
        };
        let found = compare(&baseline.answer(), &candidate.answer(), rules);
        let noise = secondary.map(|other| compare(&baseline.answer(), &other.answer(), rules));
        let delta = candidate.latency.as_secs_f64() - baseline.latency.as_secs_f64();
        report.record(path, &found, noise.as_ref(), delta * 1e3);
    }
    report
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
