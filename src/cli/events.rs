//! `tidegate events`: what happens, as it happens.

use std::io::Write;

use serde_json::{Value, json};

use super::client::{Admin, Failure};
use crate::clock;

/// Follows events until the connection ends, or nobody reads them any more.
pub fn run(admin: &Admin) -> Result<u8, Failure> {
    let mut name = String::new();
    admin.follow("/v1/events", |line| {
        if let Some(event) = line.strip_prefix("event:") {
            event.trim().clone_into(&mut name);
        }
        let Some(data) = line.strip_prefix("data:") else { return true };
        let data: Value = serde_json::from_str(data.trim()).unwrap_or_default();
        let line = match admin.json {
            true => with_name(&name, data).to_string(),
            false => sentence(&name, &data),
        };
        writeln!(anstream::stdout(), "{line}").is_ok()
    })?;
    Ok(0)
}

/// The event with its kind among its keys.
fn with_name(name: &str, mut data: Value) -> Value {
    data["event"] = json!(name);
    data
}

/// The event on one line: when, what kind, and what it says.
fn sentence(name: &str, data: &Value) -> String {
    let word = |key: &str| data[key].as_str().unwrap_or_default();
    let at = data["at"].as_str().and_then(|at| at.parse().ok());
    let at: jiff::Timestamp = at.unwrap_or_else(clock::timestamp);
    let what = match name {
        "revision" => revision(data),
        "verdict" => {
            let (service, version) = (word("service"), word("version"));
            format!("{version} of {service} is {}: {}", word("verdict"), word("text"))
        }
        "health" => {
            let (service, version) = (word("service"), word("version"));
            format!("{} of {service}/{version} is {}", word("endpoint"), word("status"))
        }
        "reload" if word("detail").is_empty() => word("result").to_owned(),
        "reload" => format!("{}: {}", word("result"), word("detail")),
        "missed" => format!("{} events came too fast for this reader", data["count"]),
        _ => data.to_string(),
    };
    format!("{}  {name:<8}  {}", at.strftime("%F %T"), what.trim_end())
}

fn revision(data: &Value) -> String {
    let changes = data["changes"].as_array().into_iter().flatten();
    let changes: Vec<_> = changes.filter_map(|change| change["text"].as_str()).collect();
    let mut what = changes.join("; ");
    let reason = data["reason"].as_str().filter(|reason| !what.contains(reason));
    if let Some(reason) = reason {
        what += &format!(" ({reason})");
    }
    let author = data["author"].as_str().unwrap_or_default();
    format!("{} by {author}: {what}", data["revision"])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_a_line() {
        let cases = [
            (
                "revision",
                json!({
                    "revision": 7, "at": "2026-11-28T08:07:25.8Z", "author": "api:alice",
                    "reason": "first tenth", "changes": [{"text": "shop: blue=9 green=1 → blue=1"}],
                }),
                "2026-11-28 08:07:25  revision  7 by api:alice: shop: blue=9 green=1 → blue=1 \
                 (first tenth)",
            ),
            (
                "health",
                json!({
                    "service": "shop", "version": "blue", "endpoint": "127.0.0.1:9001",
                    "status": "unhealthy",
                }),
                "health    127.0.0.1:9001 of shop/blue is unhealthy",
            ),
            (
                "verdict",
                json!({
                    "service": "shop", "version": "green", "verdict": "suspect", "text": "evidence",
                }),
                "verdict   green of shop is suspect: evidence",
            ),
            ("reload", json!({ "result": "applied", "detail": "" }), "reload    applied"),
            ("missed", json!({ "count": 3 }), "missed    3 events came too fast for this reader"),
        ];
        for (name, data, expect) in cases {
            let line = sentence(name, &data);
            assert!(line.ends_with(expect), "{line}");
        }
        assert_eq!(
            with_name("missed", json!({ "count": 3 })),
            json!({ "count": 3, "event": "missed" })
        );
    }
}
