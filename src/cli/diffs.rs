//! `tidegate diffs`: what a shadow answered differently, and whether that is too much.

use http::Method;
use serde_json::Value;

use super::client::{Admin, Failure};
use super::table::{Table, number, text};

/// A bound that the report must keep.
#[derive(Debug, Clone)]
pub struct Gate {
    pub max_mismatch: Option<String>,
    pub min_samples: u64,
}

/// What a gate says, and why.
#[derive(Debug, PartialEq, Eq)]
pub struct Ruling {
    pub passes: bool,
    pub text: String,
}

impl Gate {
    /// What it says of a report; no data never passes. `None` without a bound.
    pub fn rule(&self, report: &Value) -> Result<Option<Ruling>, Failure> {
        let Some(text) = &self.max_mismatch else { return Ok(None) };
        let number: Result<f64, _> = text.trim_end_matches('%').parse();
        let percent =
            number.ok().filter(|percent| (0.0..=100.0).contains(percent)).ok_or_else(|| {
                Failure::Unreachable(format!("`{text}` is no percentage; write e.g. 1% or 0.5%"))
            })?;
        let compared = report["compared"].as_u64().unwrap_or(0);
        let rate = report["mismatch_rate"].as_f64().unwrap_or(1.0) * 100.0;
        let needed = self.min_samples.max(1);
        let (passes, text) = match () {
            () if compared < needed => {
                (false, format!("too few comparisons: {compared} of at least {needed}"))
            }
            () if rate > percent => {
                (false, format!("too many mismatches: {rate:.2}% of {compared}, above {percent}%"))
            }
            () => (true, format!("{rate:.2}% of {compared} differ, at most {percent}% may")),
        };
        let word = if passes { "passed" } else { "not passed" };
        Ok(Some(Ruling { passes, text: format!("gate {word}: {text}") }))
    }
}

/// Prints the report; exits 1 when the gate is not passed.
pub fn run(
    admin: &Admin,
    service: &str,
    gate: &Gate,
    samples: bool,
    reset: bool,
) -> Result<u8, Failure> {
    let path = format!("/v1/services/{service}/diffs");
    if reset {
        admin.call(Method::DELETE, &path, None)?;
    }
    let report = admin.call(Method::GET, &path, None)?;
    let ruling = gate.rule(&report)?;
    if admin.json {
        println!("{report}");
    } else {
        print(&report, ["shadow", "primary"]);
        if samples {
            let samples = admin.call(Method::GET, &format!("{path}/samples"), None)?;
            print_samples(&samples);
        }
        if let Some(ruling) = &ruling {
            anstream::println!("{}", ruling.text);
        }
    }
    Ok(if ruling.is_some_and(|ruling| !ruling.passes) { super::NO } else { 0 })
}

/// The report for people; `sides` are whose answers are judged, and by whose.
pub fn print(report: &Value, [judged, trusted]: [&str; 2]) {
    let of = |key: &str| report[key].as_u64().unwrap_or(0);
    let percent = |value: &Value| {
        value.as_f64().map_or("-".to_owned(), |rate| format!("{:.2}%", rate * 100.0))
    };
    anstream::println!(
        "{} compared, {} matched, {} mismatched ({}), noise {}, {} failed, {} dropped",
        of("compared"),
        of("matched"),
        of("mismatched"),
        percent(&report["mismatch_rate"]),
        percent(&report["noise_rate"]),
        of("failed"),
        of("dropped"),
    );
    let skipped = report["skipped"].as_object().into_iter().flatten();
    let skipped: Vec<_> = skipped.map(|(reason, count)| format!("{count} {reason}")).collect();
    if !skipped.is_empty() {
        anstream::println!("not copied: {}", skipped.join(", ").replace('_', " "));
    }
    let delta = &report["latency_delta_ms"];
    if delta["p50"].is_number() {
        anstream::println!(
            "latency of the {judged} less that of the {trusted}: p50 {:+.1} ms, p95 {:+.1} ms, \
             p99 {:+.1} ms",
            delta["p50"].as_f64().unwrap_or(0.0),
            delta["p95"].as_f64().unwrap_or(0.0),
            delta["p99"].as_f64().unwrap_or(0.0),
        );
    }
    let fields = report["fields"].as_array().map(Vec::as_slice).unwrap_or_default();
    if fields.is_empty() {
        return;
    }
    // Without a second copy to the trusted side nobody knows how often two good answers differ.
    let paired = report["noise_rate"].is_number();
    let mut table = Table::new(&["field", "differences", "rate", "noise", "verdict"]);
    for field in fields {
        let verdict = text(field["verdict"].as_str().unwrap_or_default());
        table.row(vec![
            text(field["field"].as_str().unwrap_or_default()),
            number(field["differences"].to_string()),
            number(percent(&field["rate"])),
            number(if paired { field["noise"].to_string() } else { "-".to_owned() }),
            if field["verdict"] == "regressed" { verdict.bad() } else { verdict },
        ]);
    }
    table.print();
}

fn print_samples(samples: &Value) {
    let list = samples.as_array().or_else(|| samples["samples"].as_array());
    for sample in list.into_iter().flatten() {
        let of = |key: &str| sample[key].as_str().unwrap_or_default().to_owned();
        anstream::println!("\n{} {} ({})", of("method"), of("path"), of("request_id"));
        for difference in sample["differences"].as_array().into_iter().flatten() {
            let of = |key: &str| difference[key].as_str().unwrap_or_default();
            anstream::println!("  {}: {} → {}", of("field"), of("primary"), of("shadow"));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn no_data_never_passes() {
        let gate = |max: &str| Gate { max_mismatch: Some(max.into()), min_samples: 100 };
        let report =
            |compared: u64, rate: f64| json!({ "compared": compared, "mismatch_rate": rate });
        let says = |max: &str, report: &Value| match gate(max).rule(report) {
            Ok(Some(ruling)) => (ruling.passes, ruling.text),
            other => panic!("{other:?}"),
        };
        let (passes, text) = says("1%", &report(1000, 0.01));
        assert_eq!(
            (passes, text.as_str()),
            (true, "gate passed: 1.00% of 1000 differ, at most 1% may")
        );
        let (passes, text) = says("1", &report(1000, 0.011));
        assert!(
            !passes && text.ends_with("too many mismatches: 1.10% of 1000, above 1%"),
            "{text}"
        );
        let (passes, text) = says("1%", &report(99, 0.0));
        assert!(!passes && text.ends_with("too few comparisons: 99 of at least 100"), "{text}");
        assert!(!says("1%", &json!({})).0);
        assert!(gate("lots").rule(&json!({})).is_err());
    }
}
