//! An explanation as JSON.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

use crate::explain::Explanation;

/// What would become of a request.
#[derive(Debug, Serialize, ToSchema)]
pub struct ExplanationDto {
    /// The revision in force.
    pub revision: u64,
    pub route: Option<String>,
    pub service: Option<String>,
    /// The place of the pin that matched, from 1.
    pub pin: Option<usize>,
    /// The cohort's slot of 10 000.
    pub bucket: Option<u16>,
    /// Null where a draw decides, or where there is none.
    pub version: Option<String>,
    /// `pin`, `sticky`, `split` or `fallback`.
    pub assigned_by: Option<&'static str>,
    /// Where a draw decides: the chance of each version in percent.
    pub shares: BTreeMap<String, f64>,
    /// Endpoints of the version that can take it.
    pub endpoints: Vec<String>,
    /// Path and query as they go up.
    pub upstream_path: Option<String>,
    /// What the proxy answers itself.
    pub reply: Option<ReplyDto>,
    /// Whether it waits first because the service is held.
    pub held: bool,
    /// The story, a sentence each.
    pub why: Vec<String>,
    /// Every route in the order of the file, and what became of it.
    pub routes: Vec<RouteTraceDto>,
}

/// An answer of the proxy's own.
#[derive(Debug, Serialize, ToSchema)]
pub struct ReplyDto {
    pub status: u16,
    /// The reason, or where a redirect leads.
    pub detail: String,
}

/// What became of a route.
#[derive(Debug, Serialize, ToSchema)]
pub struct RouteTraceDto {
    pub route: String,
    /// `matched`, `outranked`, or the part that did not match.
    pub outcome: &'static str,
}

impl ExplanationDto {
    /// An explanation under a revision.
    pub fn new(revision: u64, told: Explanation) -> Self {
        let shares = told.shares.into_iter();
        let routes = told.routes.into_iter();
        Self {
            revision,
            route: told.route.map(|name| name.to_string()),
            service: told.service.map(|name| name.to_string()),
            pin: told.pin.map(|place| place + 1),
            bucket: told.bucket,
            version: told.version.map(|name| name.to_string()),
            assigned_by: told.assigned_by,
            shares: shares.map(|(name, share)| (name.to_string(), share)).collect(),
            endpoints: told.endpoints,
            upstream_path: told.upstream_path,
            reply: told.reply.map(|(status, detail)| ReplyDto { status, detail }),
            held: told.held,
            why: told.why,
            routes: routes
                .map(|(name, outcome)| RouteTraceDto { route: name.to_string(), outcome })
                .collect(),
        }
    }
}
