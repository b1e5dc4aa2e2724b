//! The diff report as JSON.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

use crate::diff::report::{FieldSummary, Quantiles, RouteSummary, Summary};

/// What comparisons of a shadow with the primary say.
#[derive(Debug, Serialize, ToSchema)]
pub struct DiffsDto {
    pub service: String,
    /// The version that gets copies.
    pub shadow: String,
    pub secondary: Option<String>,
    /// RFC 3339: when counting began.
    pub since: String,
    pub compared: u64,
    pub matched: u64,
    pub mismatched: u64,
    /// Of the compared, 0 to 1.
    pub mismatch_rate: f64,
    /// How often two correct answers differ, 0 to 1; null without a secondary.
    pub noise_rate: Option<f64>,
    pub failed: u64,
    pub dropped: u64,
    /// By reason.
    pub skipped: BTreeMap<&'static str, u64>,
    /// Shadow minus primary; null before the first comparison.
    pub latency_delta_ms: Option<QuantilesDto>,
    /// Worst verdict first.
    pub fields: Vec<FieldDto>,
    pub routes: Vec<RouteDiffDto>,
}

/// Quantiles in milliseconds.
#[derive(Debug, Serialize, ToSchema)]
pub struct QuantilesDto {
    pub p50: f64,
    pub p95: f64,
    pub p99: f64,
}

/// A field that differs.
#[derive(Debug, Serialize, ToSchema)]
pub struct FieldDto {
    /// `status`, `header:NAME` or `body:JSON-POINTER`.
    pub field: String,
    pub differences: u64,
    /// Of the requests in which it was compared, 0 to 1.
    pub rate: f64,
    /// Requests in which two correct answers differ in it.
    pub noise: u64,
    /// Natural logarithm of the evidence that the shadow differs more often than it may.
    pub evidence: f64,
    /// `regressed`, `noise`, `blind` or `undecided`.
    pub verdict: &'static str,
}

/// A route's part.
#[derive(Debug, Serialize, ToSchema)]
pub struct RouteDiffDto {
    pub route: String,
    pub compared: u64,
    pub mismatched: u64,
}

/// Who is compared, and since when.
#[derive(Debug)]
pub struct Compared {
    pub service: String,
    pub shadow: String,
    pub secondary: Option<String>,
    pub since: String,
}

impl DiffsDto {
    /// From a summary.
    pub fn new(who: Compared, summary: Summary) -> Self {
        Self {
            service: who.service,
            shadow: who.shadow,
            secondary: who.secondary,
            since: who.since,
            compared: summary.compared,
            matched: summary.matched,
            mismatched: summary.mismatched,
            mismatch_rate: summary.mismatch_rate,
            noise_rate: summary.noise_rate,
            failed: summary.failed,
            dropped: summary.dropped,
            skipped: summary.skipped,
            latency_delta_ms: summary.latency_delta_ms.map(QuantilesDto::from),
            fields: summary.fields.into_iter().map(FieldDto::from).collect(),
            routes: summary.routes.into_iter().map(RouteDiffDto::from).collect(),
        }
    }
}

impl From<Quantiles> for QuantilesDto {
    fn from(quantiles: Quantiles) -> Self {
        Self { p50: quantiles.p50, p95: quantiles.p95, p99: quantiles.p99 }
    }
}

impl From<FieldSummary> for FieldDto {
    fn from(field: FieldSummary) -> Self {
        Self {
            field: field.field,
            differences: field.differences,
            rate: field.rate,
            noise: field.noise,
            evidence: field.evidence,
            verdict: field.verdict.as_str(),
        }
    }
}

impl From<RouteSummary> for RouteDiffDto {
    fn from(route: RouteSummary) -> Self {
        Self { route: route.route, compared: route.compared, mismatched: route.mismatched }
    }
}
