//! The diff report as JSON.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

use crate::diff::Difference;
use crate::diff::report::{FieldSummary, Quantiles, RouteSummary};
use crate::shadow::{ReportView, Sample};

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
    /// What `failed` and `dropped` are made of, by reason.
    pub misses: BTreeMap<&'static str, u64>,
    /// Shadow minus primary.
    pub latency_delta_ms: QuantilesDto,
    /// Worst verdict first.
    pub fields: Vec<FieldDto>,
    pub routes: Vec<RouteDiffDto>,
}

/// Quantiles in milliseconds; null before the first comparison.
#[derive(Debug, Default, Serialize, ToSchema)]
pub struct QuantilesDto {
    pub p50: Option<f64>,
    pub p95: Option<f64>,
    pub p99: Option<f64>,
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

impl From<ReportView> for DiffsDto {
    fn from(view: ReportView) -> Self {
        let summary = view.summary;
        let quantiles = summary.latency_delta_ms;
        Self {
            service: view.service.to_string(),
            shadow: view.shadow.to_string(),
            secondary: view.secondary.as_ref().map(ToString::to_string),
            since: view.since.to_string(),
            compared: summary.compared,
            matched: summary.matched,
            mismatched: summary.mismatched,
            mismatch_rate: summary.mismatch_rate,
            noise_rate: summary.noise_rate,
            failed: summary.failed,
            dropped: summary.dropped,
            skipped: summary.skipped,
            misses: view.misses,
            latency_delta_ms: quantiles.map(QuantilesDto::from).unwrap_or_default(),
            fields: summary.fields.into_iter().map(FieldDto::from).collect(),
            routes: summary.routes.into_iter().map(RouteDiffDto::from).collect(),
        }
    }
}

/// A request whose answers differ; secrets are redacted.
#[derive(Debug, Serialize, ToSchema)]
pub struct SampleDto {
    /// RFC 3339.
    pub at: String,
    pub route: String,
    pub method: String,
    /// Path and query.
    pub path: String,
    pub request_id: String,
    pub primary_status: u16,
    pub shadow_status: u16,
    pub differences: Vec<DifferenceDto>,
    /// Why the bodies could not be compared.
    pub incomparable: Option<&'static str>,
}

/// One field that differs, with both values.
#[derive(Debug, Serialize, ToSchema)]
pub struct DifferenceDto {
    pub field: String,
    pub primary: String,
    pub shadow: String,
}

impl From<Sample> for SampleDto {
    fn from(sample: Sample) -> Self {
        Self {
            at: sample.at.to_string(),
            route: sample.route,
            method: sample.method,
            path: sample.path,
            request_id: sample.request_id,
            primary_status: sample.primary_status,
            shadow_status: sample.shadow_status,
            differences: sample.differences.into_iter().map(DifferenceDto::from).collect(),
            incomparable: sample.incomparable,
        }
    }
}

impl From<Difference> for DifferenceDto {
    fn from(difference: Difference) -> Self {
        Self {
            field: difference.field.as_str().to_owned(),
            primary: difference.primary,
            shadow: difference.shadow,
        }
    }
}

impl From<Quantiles> for QuantilesDto {
    fn from(quantiles: Quantiles) -> Self {
        Self { p50: Some(quantiles.p50), p95: Some(quantiles.p95), p99: Some(quantiles.p99) }
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

/// A report that begins anew.
#[derive(Debug, Serialize, ToSchema)]
pub struct ResetDto {
    /// The revision in force.
    pub revision: u64,
    /// Whether there was nothing to forget.
    pub unchanged: bool,
}
