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

impl Gate {
    /// Whether a report passes; no data never does. `None` without a bound.
    pub fn passes(&self, report: &Value) -> Result<Option<bool>, Failure> {
        let Some(text) = &self.max_mismatch else { return Ok(None) };
        let number: Result<f64, _> = text.trim_end_matches('%').parse();
        let percent =
            number.ok().filter(|percent| (0.0..=100.0).contains(percent)).ok_or_else(|| {
                Failure::Unreachable(format!("`{text}` is no percentage; write e.g. 1% or 0.5%"))
            })?;
        let compared = report["compared"].as_u64().unwrap_or(0);
        let rate = report["mismatch_rate"].as_f64().unwrap_or(1.0) * 100.0;
        Ok(Some(compared >= self.min_samples.max(1) && rate <= percent))
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
    let passes = gate.passes(&report)?;
    if admin.json {
        println!("{report}");
    } else {
        print(&report);
        if samples {
            let samples = admin.call(Method::GET, &format!("{path}/samples"), None)?;
            print_samples(&samples);
        }
        if let Some(passes) = passes {
            let compared = report["compared"].as_u64().unwrap_or(0);
            let word = match passes {
                true => "gate passed",
                false if compared < gate.min_samples => "gate not passed: too few comparisons",
                false => "gate not passed: too many mismatches",
            };
            anstream::println!("{word}");
        }
    }
    Ok(if passes == Some(false) { super::NO } else { 0 })
}

/// The report for people.
pub fn print(report: &Value) {
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
    let delta = &report["latency_delta_ms"];
    if delta["p50"].is_number() {
        anstream::println!(
            "shadow slower by p50 {:.1} ms, p95 {:.1} ms, p99 {:.1} ms",
            delta["p50"].as_f64().unwrap_or(0.0),
            delta["p95"].as_f64().unwrap_or(0.0),
            delta["p99"].as_f64().unwrap_or(0.0),
        );
    }
    let fields = report["fields"].as_array().map(Vec::as_slice).unwrap_or_default();
    if fields.is_empty() {
        return;
    }
    let mut table = Table::new(&["field", "differences", "rate", "noise", "verdict"]);
    for field in fields {
        let verdict = text(field["verdict"].as_str().unwrap_or_default());
        table.row(vec![
            text(field["field"].as_str().unwrap_or_default()),
            number(field["differences"].to_string()),
            number(percent(&field["rate"])),
            number(percent(&field["noise"])),
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
        let passes = |max: &str, report: &Value| gate(max).passes(report).ok().flatten();
        assert_eq!(passes("1%", &report(1000, 0.01)), Some(true));
        assert_eq!(passes("1", &report(1000, 0.011)), Some(false));
        assert_eq!(passes("1%", &report(99, 0.0)), Some(false));
        assert_eq!(passes("1%", &json!({})), Some(false));
        assert!(gate("lots").passes(&json!({})).is_err());
    }
}
