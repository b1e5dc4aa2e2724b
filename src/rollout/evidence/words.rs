//! What an operator reads of the evidence.
//!
//! "4,000 : 1" means: if the version were within its tolerance, the chance of ever seeing evidence this
//! strong, however often one looks, would be at most 1 in 4,000. It is not the chance that the
//! version is bad.

use super::Tolerance;
use super::engine::Metric;
use super::interval::Estimate;

/// Odds above this are shown as this.
const ODDS_SHOWN: f64 = 1e9;

/// What a sentence is made of.
#[derive(Debug, Clone, Copy)]
pub struct Said<'a> {
    /// The version's name.
    pub canary: &'a str,
    pub metric: Metric,
    pub log_evidence: f64,
    pub tolerance: Tolerance,
    pub latency_ratio: f64,
    pub difference: Option<Estimate>,
    pub ratio: Option<Estimate>,
    /// Microseconds, the baseline's and the canary's.
    pub quantiles: Option<[u64; 2]>,
    pub dispersion: f64,
}

/// The evidence as odds, `4,000 : 1`; no evidence is `1 : 1`.
pub fn odds(log_evidence: f64) -> String {
    let odds = log_evidence.exp().clamp(1.0, ODDS_SHOWN).round() as u64;
    let digits = odds.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text + " : 1"
}

/// The estimate of a difference, in percentage points.
pub fn difference(estimate: Estimate) -> String {
    let points = |share: f64| match share.is_nan() {
        true => "?".to_owned(),
        false => format!("{:+.2}", share * 100.0),
    };
    let Estimate { low, point, high } = estimate;
    format!("{} pp [{}, {}]", points(point), points(low), points(high))
}

/// The estimate of a ratio.
pub fn ratio(estimate: Estimate) -> String {
    let times = |value: f64| match value {
        value if value.is_nan() => "?".to_owned(),
        value if value.is_infinite() || value > 9999.0 => "∞".to_owned(),
        value if value >= 100.0 => format!("{value:.0}"),
        value => format!("{value:.1}"),
    };
    let Estimate { low, point, high } = estimate;
    format!("×{} [{}, {}]", times(point), times(low), times(high))
}

/// Both quantiles of a latency.
fn quantiles([baseline, canary]: [u64; 2]) -> String {
    let millis = |micros: u64| match micros as f64 / 1e3 {
        millis if millis < 10.0 => format!("{millis:.1} ms"),
        millis => format!("{millis:.0} ms"),
    };
    format!("{} beside {}", millis(canary), millis(baseline))
}

/// The whole sentence on one metric.
pub fn sentence(said: &Said<'_>) -> String {
    let odds = odds(said.log_evidence);
    let Said { canary, tolerance, .. } = said;
    let what = match said.metric {
        Metric::Errors => "has more errors",
        Metric::Outcomes => "has worse outcomes",
        Metric::P50 => "is slower at p50",
        Metric::P90 => "is slower at p90",
        Metric::P99 => "is slower at p99",
    };
    let bound = match said.difference {
        Some(_) => format!("{:.2}× + {:.2} pp", tolerance.ratio, tolerance.margin * 100.0),
        None => format!("{:.2}×", said.latency_ratio),
    };
    let mut text = format!("evidence {odds} that {canary} {what} (worse than {bound})");
    if let Some(estimate) = said.difference.filter(|estimate| !estimate.point.is_nan()) {
        text += &format!("; est. {}", difference(estimate));
        if let Some(estimate) = said.ratio.filter(|estimate| !estimate.point.is_nan()) {
            text += &format!(", {}", ratio(estimate));
        }
    }
    if let Some(both) = said.quantiles {
        text += &format!("; {}", quantiles(both));
    }
    if said.dispersion > super::increment::BURSTS_FROM {
        text += &format!("; bad requests count as bursts of {:.1}", said.dispersion);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_latency_both_quantiles_are_told() {
        let said = Said {
            canary: "green",
            metric: Metric::P99,
            log_evidence: 694f64.ln(),
            tolerance: Tolerance { ratio: 1.1, margin: 0.0001 },
            latency_ratio: 1.1,
            difference: None,
            ratio: None,
            quantiles: Some([5_730, 81_400]),
            dispersion: 2.0,
        };
        assert_eq!(
            sentence(&said),
            "evidence 694 : 1 that green is slower at p99 (worse than 1.10×); 81 ms beside 5.7 ms; \
             bad requests count as bursts of 2.0"
        );
    }
}
