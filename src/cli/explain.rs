//! `tidegate explain`: which route, version and endpoint a request would take, and why.

use std::path::Path;

use http::Method;
use serde_json::{Value, json};

use super::client::{Admin, Failure};

/// Prints the explanation; exits 1 when the request would be refused.
pub fn run(
    admin: &Admin,
    method: &str,
    url: &str,
    headers: &[String],
    client: Option<&str>,
    config: Option<&Path>,
) -> Result<u8, Failure> {
    let pairs = headers.iter().map(|header| {
        let wrong = || Failure::Unreachable(format!("`{header}` is no field; write 'name: value'"));
        let (name, value) = header.split_once(':').ok_or_else(wrong)?;
        Ok((name.trim().to_owned(), value.trim().to_owned()))
    });
    let pairs = pairs.collect::<Result<Vec<_>, Failure>>()?;
    let mut question = json!({ "method": method, "url": url, "headers": pairs });
    if let Some(client) = client {
        question["client"] = client.into();
    }
    let answer = match config {
        None => admin.call(Method::POST, "/v1/explain", Some(&question))?,
        Some(path) => offline(path, &question)?,
    };
    if admin.json {
        println!("{answer}");
    } else {
        print(&answer);
    }
    Ok(if is_refused(&answer) { super::NO } else { 0 })
}

/// Whether the proxy would answer by itself, and not to send the client elsewhere.
fn is_refused(answer: &Value) -> bool {
    answer["reply"]["status"].as_u64().is_some_and(|status| !(300..400).contains(&status))
}

fn print(answer: &Value) {
    for (label, key) in [
        ("route", "route"),
        ("service", "service"),
        ("version", "version"),
        ("because", "assigned_by"),
        ("goes up as", "upstream_path"),
    ] {
        if let Some(text) = answer[key].as_str() {
            anstream::println!("{label:<11} {text}");
        }
    }
    let endpoints: Vec<_> =
        answer["endpoints"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    if !endpoints.is_empty() {
        anstream::println!("{:<11} {}", "endpoints", endpoints.join(", "));
    }
    for sentence in answer["why"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        anstream::println!("  {sentence}");
    }
}

/// Against a configuration, without a proxy: every endpoint is taken to be well.
fn offline(path: &Path, question: &Value) -> Result<Value, Failure> {
    let usage = Failure::Unreachable;
    let loaded = crate::config::load(path, &super::environment);
    let config = loaded.map_err(|report| usage(report.to_string()))?.config;
    crate::admin::explain_offline(&config, question).map_err(usage)
}
